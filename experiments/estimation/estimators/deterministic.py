"""The deterministic policy gradient (Silver et al., 2014): Σ_t γ^t ∇_a Q(s_t, μ(s_t)) ∂μ(s_t)/∂θ, with the exact Q.

States and Q are those of the policy of width σ. Where σ is above 0 it is biased, unless Q is quadratic in the action.
"""

TITLE = "deterministic"


def gradients(batch):
    """[N, P]."""
    return batch.through_actions(batch.value_gradient(batch.means))
