"""The natural gradient (Amari, 1998; Kakade, 2001): F⁺ Σ_t γ^t ∇log π(a_t|s_t) G_t, with F = E Σ_t γ^t ∇log π ∇log πᵀ.

F is exact, or estimated from the batch itself.
"""

import numpy as np

from ..problem import pseudo_inverse

TITLE = "natural"
SETTINGS = {"fisher": ("exact", "batch")}
TRUTH = "natural"


def gradients(batch):
    """[N, P]."""
    if batch.settings["fisher"] == "exact":
        fisher = batch.problem.fisher
    else:
        scores = np.sqrt(batch.discounts)[:, None] * batch.step_scores
        scores = scores.reshape(-1, scores.shape[-1])
        fisher = scores.T @ scores / len(batch)
    return batch.weighted_scores(batch.returns_to_go) @ pseudo_inverse(fisher)
