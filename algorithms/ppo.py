"""Proximal policy optimisation, clipped surrogate (Schulman et al., 2017, eq. 7).

L = E[ min( ρ_t Â_t, clip(ρ_t, 1 − ε, 1 + ε) Â_t ) ],   ρ_t = π(a_t|s_t) / π_old(a_t|s_t)
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .core.algorithm import setting
from .core.batch import Batch
from .core.estimators import generalized_advantages
from .core.policy_gradient import PolicyGradient
from .core.rollout import Floats, Rollout


@dataclass(frozen=True)
class PPO(PolicyGradient):
    """Proximal policy optimisation, clipped surrogate on generalised advantages (Schulman et al., 2017, eq. 7)."""

    title: ClassVar[str] = "PPO"
    equation: ClassVar[str] = "L = E[min(ρ_t Â_t, clip(ρ_t, 1 − ε, 1 + ε) Â_t)],  Â_t = Σ_l (γλ)^l δ_{t+l}"

    # Schulman et al. 2017, Table 3: horizon 2048, Adam 3e-4, 10 epochs, minibatches of 64, γ 0.99, λ 0.95, ε 0.2.
    # Annealing, advantage normalisation and one norm to clip: openai/baselines ppo2 and CleanRL.
    rollout_length: int = 256  # 8 environments × 256 = 2048 steps
    gae_lambda: float = setting(0.95, low=0, high=1)
    clip: float | None = setting(0.2, low=0)  # ε; null: no clipping, L = E[ρ_t Â_t]
    clip_values: float | None = setting(None, low=0)  # CleanRL and openai/baselines: 0.2
    policy_learning_rate: float = 3e-4
    value_learning_rate: float = 3e-4
    anneal_learning_rate: bool = True
    normalize_advantages: bool = True
    clip_together: bool = True
    epochs: int = 10
    minibatch_size: int | None = 64

    def advantages(self, rollout: Rollout) -> Floats:
        """Â_t = Σ_l (γλ)^l δ_{t+l}."""
        return generalized_advantages(rollout, self.gamma, self.gae_lambda)

    def policy_loss(self, log_prob: Tensor, batch: Batch) -> Tensor:
        """−E[ min( ρ_t Â_t, clip(ρ_t, 1 − ε, 1 + ε) Â_t ) ], or −E[ρ_t Â_t] without a clip."""
        ratio = torch.exp(log_prob - batch.log_probs)
        clipped = ratio if self.clip is None else torch.clamp(ratio, 1 - self.clip, 1 + self.clip)
        return -torch.min(ratio * batch.advantages, clipped * batch.advantages).mean()

    def value_loss(self, values: Tensor, batch: Batch) -> Tensor:
        """½ max( (V − R)², (V_old + clip(V − V_old, ±ε_V) − R)² ), or the plain squared error."""
        if self.clip_values is None:
            return super().value_loss(values, batch)
        near = batch.values + torch.clamp(values - batch.values, -self.clip_values, self.clip_values)
        return 0.5 * torch.max((values - batch.value_targets).square(), (near - batch.value_targets).square()).mean()

    def diagnostics(self, log_prob: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The share of steps whose ratio has left the clip range, where there is one."""
        change = (torch.exp(log_prob - batch.log_probs) - 1).abs()
        return {} if self.clip is None else {"clip_fraction": (change > self.clip).float().mean()}
