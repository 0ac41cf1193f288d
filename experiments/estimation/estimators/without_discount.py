"""The score function as nearly all programs have it, without the factor γ^t (Thomas, 2014): Σ_t ∇log π(a_t|s_t) G_t."""

import numpy as np

from ..problem import NotApplicable

TITLE = "without γ^t"


def gradients(batch):
    """[N, P]."""
    if batch.problem.gamma == 1:
        raise NotApplicable(f"it needs a discount, and {batch.problem.name} has none")
    return np.einsum("ntp,nt->np", batch.step_scores, batch.returns_to_go)
