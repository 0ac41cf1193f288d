"""The deterministic policy gradient (Silver et al., 2014): Σ_t γ^t ∇_a Q(s_t, μ(s_t)) ∂μ(s_t)/∂θ, with the exact Q.

It is the gradient of the policy whose width is 0, so at a width σ it is biased where Q is not quadratic.
"""

TITLE = "deterministic"


def gradients(batch):
    """[N, P]."""
    return batch.through_actions(batch.value_gradient(batch.means))
