"""Deep deterministic policy gradient (Silver et al., 2014, theorem 1; Lillicrap et al., 2016, algorithm 1).

∇_θ J = E[ ∇_a Q(s, a)|_{a = μ(s)} ∇_θ μ_θ(s) ],   y = r + γ (1 − terminated) Q'(s', μ'(s'))
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .core.off_policy import OffPolicy
from .core.replay import Transitions


@dataclass(frozen=True)
class DDPG(OffPolicy):
    """Deep deterministic policy gradient (Silver et al., 2014, theorem 1; Lillicrap et al., 2016, algorithm 1)."""

    title: ClassVar[str] = "DDPG"
    equation: ClassVar[str] = "∇J = E[∇_a Q(s, a)|_{a = μ(s)} ∇μ(s)],  y = r + γ Q'(s', μ'(s'))"

    stochastic: ClassVar[bool] = False
    critic_count: ClassVar[int] = 1
    target_policy: ClassVar[bool] = True

    # Fujimoto et al. 2018, Table 3: Adam 1e-3, no weight decay, as in Stable-Baselines3; section 6.1: Gaussian noise
    # N(0, 0.1) in place of an Ornstein–Uhlenbeck process.
    policy_learning_rate: float = 1e-3
    value_learning_rate: float = 1e-3
    exploration_noise: float = 0.1

    def targets(self, batch: Transitions, next_values: Tensor, next_log_probs: Tensor) -> Tensor:
        """y = r + γ (1 − terminated) Q'(s', μ'(s'))."""
        return batch.rewards + self.gamma * (1 - batch.terminated) * next_values[0]

    def policy_loss(self, values: Tensor, log_probs: Tensor, batch: Transitions) -> Tensor:
        """−E[ Q(s, μ(s)) ], whose gradient by the chain rule is minus that of theorem 1."""
        return -values[0].mean()
