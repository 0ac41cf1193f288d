"""Counterfactual baselines: what would Q be, had this part of the action chosen otherwise? (Foerster et al., 2018)

    ∇J = E[ Σ_k ∇ log π_k(a_k|s_t) Ψ_k ],   Ψ_k = Q(s_t, a_t) − Σ_u π_k(u|s_t) Q(s_t, (u, a_−k))

The sum is over the choices u of part k, while all other parts do what they did: a baseline, since a_k is not in it. The
critic is central and sees all parts' actions. Ψ_k is the same for Q less a function of the state, so the critic learns
Q(s, a) − V(s), by k-step returns as V does in A2C (in the paper by TD(λ), with a target network):

    Q(s_t, a_t) − V(s_t) ← Σ_{i<k} γ^i r_{t+i} + γ^k V(s_{t+k}) − V(s_t)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from .core.batch import Batch
from .core.estimators import generalized_advantages
from .core.hooks import CriticKind
from .core.policy_gradient import PolicyGradient
from .core.rollout import Floats, Rollout


@dataclass(frozen=True)
class COMA(PolicyGradient):
    """Actor-critic with a counterfactual baseline for each part of an action (Foerster et al., 2018, eq. 4)."""

    title: ClassVar[str] = "COMA"
    equation: ClassVar[str] = "Ψ_k = Q(s_t, a_t) − Σ_u π_k(u|s_t) Q(s_t, (u, a_−k))"
    critics: ClassVar[Mapping[str, CriticKind]] = {"value": "state", "q": "choices"}

    rollout_length: int = 5  # this and what follows as in A2C, so that Ψ is the only difference
    policy_learning_rate: float = 7e-4
    value_learning_rate: float = 7e-4
    clip_together: bool = True

    def advantages(self, rollout: Rollout) -> Floats:
        """Ψ_k = Q(s_t, a_t) − Σ_u π_k(u|s_t) Q(s_t, (u, a_−k)), [T, N, K]."""
        q = rollout.critic_values["q"]  # [T, N, K, n]: of the n choices of part k, where the others do what they did
        taken = np.take_along_axis(q, rollout.actions[..., None], axis=-1)[..., 0]
        psi: Floats = taken - (rollout.probabilities * q).sum(-1)
        return psi

    def critic_targets(self, rollout: Rollout, advantages: np.ndarray) -> dict[str, np.ndarray]:
        """Σ_{i<k} γ^i r_{t+i} + γ^k V(s_{t+k}); for Q less V(s_t)."""
        above = generalized_advantages(rollout, self.gamma, gae_lambda=1.0)
        return {"value": rollout.values + above, "q": above}

    def policy_loss(self, log_prob: Tensor, batch: Batch) -> Tensor:
        """−E[ log π_k(a_k|s_t) Ψ_k ]."""
        return -(log_prob * batch.advantages).mean()
