"""Leave-one-out baseline (Kool et al., 2019): b_i = mean over j ≠ i of G_j, in Σ_t γ^t ∇log π(a_t|s_t) (G_t − b_t)."""

TITLE = "leave-one-out baseline"
LEAST_SAMPLES = 2
COMMON_NOISE = True


def gradients(batch):
    """[N, P]."""
    returns = batch.returns_to_go
    others = (returns.sum(0) - returns) / (len(batch) - 1)
    return batch.weighted_scores(returns - others)
