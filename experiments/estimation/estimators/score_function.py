"""The score function, also called REINFORCE or likelihood ratio (Williams, 1992): Σ_t γ^t ∇log π(a_t|s_t) G_t."""

TITLE = "score function"
COMMON_NOISE = True


def gradients(batch):
    """[N, P]."""
    return batch.weighted_scores(batch.returns_to_go)
