"""Advantage actor-critic, synchronous: k-step advantages (Mnih et al., 2016).

    Ψ_t = Σ_{i<k} γ^i r_{t+i} + γ^k V(s_{t+k}) − V(s_t)

k runs to the rollout's end (or the episode's), which is generalised advantage estimation at λ = 1.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .core.batch import Batch
from .core.estimators import generalized_advantages
from .core.policy_gradient import PolicyGradient
from .core.rollout import Floats, Rollout


@dataclass(frozen=True)
class A2C(PolicyGradient):
    """Advantage actor-critic with k-step advantages (Mnih et al., 2016)."""

    title: ClassVar[str] = "A2C"
    equation: ClassVar[str] = "Ψ_t = Σ_{i<k} γ^i r_{t+i} + γ^k V(s_{t+k}) − V(s_t)"

    rollout_length: int = 5  # Mnih et al. 2016: t_max = 5
    policy_learning_rate: float = 7e-4
    value_learning_rate: float = 7e-4
    clip_together: bool = True  # Stable-Baselines3, openai/baselines

    def advantages(self, rollout: Rollout) -> Floats:
        """Ψ_t = Σ_{i<k} γ^i r_{t+i} + γ^k V(s_{t+k}) − V(s_t)."""
        return generalized_advantages(rollout, self.gamma, gae_lambda=1.0)

    def policy_loss(self, log_prob: Tensor, batch: Batch) -> Tensor:
        """−E[ log π(a_t|s_t) Ψ_t ]."""
        return -(log_prob * batch.advantages).mean()
