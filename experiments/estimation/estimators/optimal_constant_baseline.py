"""The constant baseline of least variance (Greensmith et al., 2004): b = E[g · S] / E[S · S].

g = Σ_t γ^t ∇log π(a_t|s_t) G_t and S = Σ_t γ^t ∇log π(a_t|s_t), so that g − b S is the estimate.
"""

TITLE = "optimal constant baseline"


def optimal_constant(batch):
    """b, from samples of its own."""
    returns = batch.returns_to_go
    estimates, scores = batch.weighted_scores(returns), batch.weighted_scores(0 * returns + 1)
    return (estimates * scores).sum() / (scores * scores).sum()


def gradients(batch):
    """[N, P]."""
    return batch.weighted_scores(batch.returns_to_go - batch.fitted(optimal_constant))
