"""Actor-critic whose critic gives values of actions, Q(s, a), in place of V(s) (Sutton et al., 2000, theorem 1).

    ∇J = E[ ∇ log π(a_t|s_t) Ψ_t ],   Ψ_t = Q(s_t, a_t) − Σ_a π(a|s_t) Q(s_t, a)

Nothing of what followed the action is in Ψ_t, but through Q. Q learns from k-step returns, as V does in A2C:

    Q(s_t, a_t) ← Σ_{i<k} γ^i r_{t+i} + γ^k Σ_a π(a|s_{t+k}) Q(s_{t+k}, a)
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
class QActorCritic(PolicyGradient):
    """Actor-critic with a critic of discrete actions (Sutton et al., 2000; Konda & Tsitsiklis, 2000)."""

    title: ClassVar[str] = "Q actor-critic"
    equation: ClassVar[str] = "Ψ_t = Q(s_t, a_t) − Σ_a π(a|s_t) Q(s_t, a)"
    critics: ClassVar[Mapping[str, CriticKind]] = {"q": "actions"}

    rollout_length: int = 5  # this and what follows as in A2C, so that the critic is the only difference
    policy_learning_rate: float = 7e-4
    value_learning_rate: float = 7e-4
    clip_together: bool = True
    subtract_mean: bool = True  # false: Ψ_t = Q(s_t, a_t), as the theorem has it

    def advantages(self, rollout: Rollout) -> Floats:
        """Ψ_t = Q(s_t, a_t) − Σ_a π(a|s_t) Q(s_t, a)."""
        q = rollout.critic_values["q"]
        taken: Floats = np.take_along_axis(q, rollout.actions[..., None], axis=-1)[..., 0]
        return taken - (rollout.probabilities * q).sum(-1) if self.subtract_mean else taken

    def critic_targets(self, rollout: Rollout, advantages: np.ndarray) -> dict[str, np.ndarray]:
        """Σ_{i<k} γ^i r_{t+i} + γ^k Σ_a π(a|s_{t+k}) Q(s_{t+k}, a)."""
        values = (rollout.probabilities * rollout.critic_values["q"]).sum(-1)
        next_values = (rollout.next_probabilities * rollout.critic_next_values["q"]).sum(-1)
        return {"q": values + generalized_advantages(rollout, self.gamma, 1.0, None, values, next_values)}

    def policy_loss(self, log_prob: Tensor, batch: Batch) -> Tensor:
        """−E[ log π(a_t|s_t) Ψ_t ]."""
        return -(log_prob * batch.advantages).mean()
