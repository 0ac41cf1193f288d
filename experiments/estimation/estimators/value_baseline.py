"""The value as baseline (Sutton et al., 2000): Σ_t γ^t ∇log π(a_t|s_t) (G_t − V(s_t)), with the exact V."""

TITLE = "value baseline"


def gradients(batch):
    """[N, P]."""
    return batch.weighted_scores(batch.returns_to_go - batch.values)
