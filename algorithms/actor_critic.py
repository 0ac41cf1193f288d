"""One-step actor-critic: the TD error is the advantage (Sutton & Barto, 2018, section 13.5), batched over environments.

∇J ≈ E[ ∇ log π(a_t|s_t) δ_t ],   δ_t = r_t + γ V(s_{t+1}) − V(s_t)
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .core.batch import Batch
from .core.estimators import td_errors
from .core.policy_gradient import PolicyGradient
from .core.rollout import Floats, Rollout


@dataclass(frozen=True)
class ActorCritic(PolicyGradient):
    """One-step actor-critic, batched over parallel environments (Sutton & Barto, 2018, section 13.5)."""

    title: ClassVar[str] = "Actor-critic"
    equation: ClassVar[str] = "Ψ_t = δ_t = r_t + γ V(s_{t+1}) − V(s_t)"

    num_envs: int = 16
    rollout_length: int = 1
    policy_learning_rate: float = 3e-4
    value_learning_rate: float = 1e-3

    def advantages(self, rollout: Rollout) -> Floats:
        """Ψ_t = δ_t = r_t + γ V(s_{t+1}) − V(s_t)."""
        return td_errors(rollout, self.gamma)

    def policy_loss(self, log_prob: Tensor, batch: Batch) -> Tensor:
        """−E[ log π(a_t|s_t) δ_t ]."""
        return -(log_prob * batch.advantages).mean()
