"""A2C in which each part of an action learns from a reward of its own, in place of the reward of all.

    ∇J ≈ E[ Σ_k ∇ log π_k(a_k|s_t) Ψ_k ],   Ψ_k = Σ_{i<m} γ^i r_k,t+i + γ^m V_k(s_{t+m}) − V_k(s_t)

r_k is the task's `info["part_rewards"]`: what happens near part k, or the difference that k makes (Wolpert & Tumer,
2002). By the former each part looks after itself alone. Without part rewards every part has the reward of all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from .core.batch import Batch
from .core.estimators import generalized_advantages, like
from .core.hooks import CriticKind
from .core.policy_gradient import PolicyGradient
from .core.rollout import Floats, Rollout


@dataclass(frozen=True)
class PartReturns(PolicyGradient):
    """A2C whose parts of an action have returns and values of their own (Wolpert & Tumer, 2002)."""

    title: ClassVar[str] = "A2C (returns of parts)"
    equation: ClassVar[str] = "Ψ_k = Σ_{i<m} γ^i r_k,t+i + γ^m V_k(s_{t+m}) − V_k(s_t)"
    critics: ClassVar[Mapping[str, CriticKind]] = {"parts": "parts"}

    rollout_length: int = 5  # this and what follows as in A2C, so that Ψ is the only difference
    policy_learning_rate: float = 7e-4
    value_learning_rate: float = 7e-4
    clip_together: bool = True

    def advantages(self, rollout: Rollout) -> Floats:
        """Ψ_k = Σ_{i<m} γ^i r_k,t+i + γ^m V_k(s_{t+m}) − V_k(s_t), [T, N, K]."""
        values, next_values = rollout.critic_values["parts"], rollout.critic_next_values["parts"]
        rewards = rollout.rewards if rollout.part_rewards is None else rollout.part_rewards
        of_parts = np.broadcast_to(like(values, rewards), values.shape)
        return generalized_advantages(rollout, self.gamma, 1.0, of_parts, values, next_values)

    def critic_targets(self, rollout: Rollout, advantages: np.ndarray) -> dict[str, np.ndarray]:
        """Ψ_k + V_k(s_t)."""
        return {"parts": advantages + rollout.critic_values["parts"]}

    def policy_loss(self, log_prob: Tensor, batch: Batch) -> Tensor:
        """−E[ log π_k(a_k|s_t) Ψ_k ]."""
        return -(log_prob * batch.advantages).mean()
