"""PPO under a constraint, by Lagrangian relaxation (Ray et al., 2019, “PPO-Lagrangian”).

    max E[G] subject to C = E[Σ_t c_t] ≤ d,   as   min over λ ≥ 0 of max over π of E[G] − λ (C − d)

Ψ_t = Â_t − λ Â^c_t, and λ ← max(0, λ + α (C − d)) after updates with ends of episodes; α = 0 is a fixed penalty λ.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
from torch import Tensor, tensor

from .core.algorithm import setting
from .core.batch import Batch
from .core.estimators import generalized_advantages
from .core.hooks import CriticKind
from .core.rollout import Floats, Rollout
from .ppo import PPO


@dataclass(frozen=True)
class Lagrangian(PPO):
    """Proximal policy optimisation under a limit on costs, by dual ascent on a multiplier (Ray et al., 2019)."""

    title: ClassVar[str] = "PPO-Lagrangian"
    equation: ClassVar[str] = "Ψ_t = Â_t − λ Â^c_t,  λ ← max(0, λ + α (C − d))"
    critics: ClassVar[Mapping[str, CriticKind]] = {"value": "state", "cost": "state"}

    limit: float = setting(25.0, low=0)  # d, of an episode's cost; Ray et al. 2019, section 5
    multiplier: float = setting(0.0, low=0)  # λ, at the start where it adapts
    multiplier_rate: float = setting(0.01, low=0)  # α; 0: λ stays as it is
    clip_together: bool = False  # or the size of the costs would shorten the policy's step

    def advantages(self, rollout: Rollout) -> Floats:
        """Ψ_t = Â_t − λ Â^c_t."""
        return super().advantages(rollout) - self.multiplier * self.cost_advantages(rollout)

    def cost_advantages(self, rollout: Rollout) -> Floats:
        """Â^c_t: Â_t with the costs in place of the rewards, and their critic."""
        values = rollout.critic_values["cost"], rollout.critic_next_values["cost"]
        return generalized_advantages(rollout, self.gamma, self.gae_lambda, rollout.costs, *values)

    def critic_targets(self, rollout: Rollout, advantages: np.ndarray) -> dict[str, np.ndarray]:
        """Â_t + V(s_t), and Â^c_t + V^c(s_t)."""
        costs = self.cost_advantages(rollout) + rollout.critic_values["cost"]
        return super().critic_targets(rollout, super().advantages(rollout)) | {"cost": costs}

    def after_update(self, record: Mapping[str, float]) -> Self:
        """λ ← max(0, λ + α (C − d)); a run that ends above the limit says so."""
        above = record.get("episode_cost", self.limit) - self.limit
        if record["progress"] == 1 and above > 0 and self.multiplier_rate > 0:
            logging.getLogger(__name__).warning("the last episodes cost %g more than the limit, %g", above, self.limit)
        return replace(self, multiplier=max(0.0, self.multiplier + self.multiplier_rate * above))

    def diagnostics(self, log_prob: Tensor, batch: Batch) -> dict[str, Tensor]:
        """λ of this update."""
        return super().diagnostics(log_prob, batch) | {"multiplier": tensor(self.multiplier).double()}
