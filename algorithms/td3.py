"""Twin delayed deep deterministic policy gradient (Fujimoto et al., 2018, alg. 1, app. D): DDPG and three changes.

y = r + γ (1 − terminated) min_c Q'_c(s', ã),   ã = clip(μ'(s') + clip(ε, ±c), ±1),  ε ~ N(0, σ²)
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .core.algorithm import setting
from .core.replay import Transitions
from .ddpg import DDPG


@dataclass(frozen=True)
class TD3(DDPG):
    """Twin delayed DDPG: the smaller of two critics, smoothed targets, a delayed policy (Fujimoto et al., 2018)."""

    title: ClassVar[str] = "TD3"
    equation: ClassVar[str] = "y = r + γ min_c Q'_c(s', clip(μ'(s') + clip(ε, ±c), ±1)),  ε ~ N(0, σ²)"

    critic_count: ClassVar[int] = 2

    # Fujimoto et al. 2018, section 6.1: policy and targets every 2 steps, σ = 0.2, c = 0.5.
    policy_delay: int = 2
    smoothing_noise: float = setting(0.2, low=0)  # σ, in the units of actions in [−1, 1]
    smoothing_clip: float = setting(0.5, low=0)  # c

    def target_actions(self, actions: Tensor, noise: Tensor, batch: Transitions) -> Tensor:
        """ã = clip(μ'(s') + clip(ε, −c, c), −1, 1)."""
        smoothing = torch.clamp(self.smoothing_noise * noise, -self.smoothing_clip, self.smoothing_clip)
        return torch.clamp(actions + smoothing, -1, 1)

    def targets(self, batch: Transitions, next_values: Tensor, next_log_probs: Tensor) -> Tensor:
        """y = r + γ (1 − terminated) min_c Q'_c(s', ã)."""
        return batch.rewards + self.gamma * (1 - batch.terminated) * next_values.amin(0)
