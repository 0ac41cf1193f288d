"""A compatible critic (Sutton et al., 2000): Σ_t γ^t ∇log π(a_t|s_t) f_w(s_t, a_t) with f_w = w · ∇log π(a_t|s_t).

w = F⁺ ∇J fits f_w to Q. f_w differs from Q, and the gradient is the same.
"""

TITLE = "compatible critic"


def gradients(batch):
    """[N, P]."""
    return batch.weighted_scores(batch.step_scores @ batch.problem.natural_truth)
