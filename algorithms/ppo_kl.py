"""PPO with a penalty on the KL divergence in place of the clip (Schulman et al., 2017, eq. 8 and section 4).

L = E[ ρ_t Â_t − β KL(π_old ‖ π) ],   ρ_t = π(a_t|s_t) / π_old(a_t|s_t)

β stays as it is, or follows the divergence d = E[KL(π_old ‖ π)] of every update towards a target. E[ρ_t Â_t] is PPO's
`policy_loss` without its clip.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor
from torch.distributions import Distribution

from .core.algorithm import setting
from .core.batch import Batch
from .core.divergence import kl_from_old
from .ppo import PPO


@dataclass(frozen=True)
class PPOKL(PPO):
    """Proximal policy optimisation with a fixed or an adaptive KL penalty (Schulman et al., 2017, eq. 8)."""

    title: ClassVar[str] = "PPO (KL penalty)"
    equation: ClassVar[str] = "L = E[ρ_t Â_t − β KL(π_old ‖ π)]"

    # Schulman et al. 2017, Table 1: β starts at 1; of the targets 0.003, 0.01 and 0.03, 0.01 scored best.
    clip: float | None = None
    penalty: float = setting(1.0, low=0)  # β, at the start where it adapts; 0 stays 0
    penalty_target: float | None = setting(0.01, above=0)  # d_targ in nats; null: β is fixed

    def regularizer(self, distribution: Distribution, batch: Batch) -> Tensor:
        """+ β E[ KL(π_old ‖ π) ], in closed form, beside the entropy bonus that every algorithm may have."""
        return super().regularizer(distribution, batch) + self.penalty * kl_from_old(distribution, batch).mean()

    def after_update(self, record: Mapping[str, float]) -> Self:
        """β ← β / 2 where d < d_targ / 1.5;  β ← 2 β where d > 1.5 d_targ."""
        if self.penalty_target is not None and record["kl"] < self.penalty_target / 1.5:
            return replace(self, penalty=self.penalty / 2)
        if self.penalty_target is not None and record["kl"] > 1.5 * self.penalty_target:
            return replace(self, penalty=2 * self.penalty)
        return self

    def diagnostics(self, log_prob: Tensor, batch: Batch) -> dict[str, Tensor]:
        """β of this update."""
        return super().diagnostics(log_prob, batch) | {"penalty": torch.tensor(self.penalty, dtype=torch.float64)}
