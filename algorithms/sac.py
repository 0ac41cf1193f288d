"""Soft actor-critic with an adapted temperature (Haarnoja et al., 2018b, algorithm 1).

y = r + γ (1 − terminated) (min_c Q'_c(s', a') − α log π(a'|s')),   L = E[ α log π(a|s) − min_c Q_c(s, a) ],  a ~ π
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from torch import Tensor

from .core.algorithm import memory, setting
from .core.off_policy import OffPolicy
from .core.optimizer import adam_of_number
from .core.replay import Transitions


@dataclass(frozen=True)
class SAC(OffPolicy):
    """Soft actor-critic: a reparameterised policy whose entropy a temperature keeps (Haarnoja et al., 2018b)."""

    title: ClassVar[str] = "SAC"
    equation: ClassVar[str] = "L = E[α log π(a|s) − min_c Q_c(s, a)],  y = r + γ (min_c Q'_c(s', a') − α log π(a'|s'))"
    stochastic: ClassVar[bool] = True
    critic_count: ClassVar[int] = 2
    temperature: float = setting(1.0, low=0)  # α, at the start
    temperature_learning_rate: float = setting(3e-4, low=0, high=1)  # of log α; 0: α is fixed. Haarnoja 2018b, Table 1
    target_entropy: float | None = None  # nats, of actions in [−1, 1]; None: −A. Haarnoja et al. 2018b, Table 1
    temperature_mean: float = memory(0.0)  # this and the next two: what Adam keeps of log α
    temperature_square: float = memory(0.0)
    temperature_steps: float = memory(0.0)

    def targets(self, batch: Transitions, next_values: Tensor, next_log_probs: Tensor) -> Tensor:
        """y = r + γ (1 − terminated) (min_c Q'_c(s', a') − α log π(a'|s')); eq. 3 and 5."""
        soft_values = next_values.amin(0) - self.temperature * next_log_probs
        return batch.rewards + self.gamma * (1 - batch.terminated) * soft_values

    def critic_loss(self, values: Tensor, targets: Tensor, batch: Transitions) -> Tensor:
        """Σ_c E[ ½ (Q_c(s, a) − y)² ]; eq. 5."""
        return 0.5 * (values - targets).square().mean(1).sum()

    def policy_loss(self, values: Tensor, log_probs: Tensor, batch: Transitions) -> Tensor:
        """E[ α log π(a|s) − min_c Q_c(s, a) ]; eq. 9."""
        return (self.temperature * log_probs - values.amin(0)).mean()

    def after_update(self, record: Mapping[str, float]) -> Self:
        """∇_{log α} = E[ −log π(a|s) ] − H̄, a step of Adam as in the authors' code; by α, the gradient of eq. 18."""
        if "entropy" not in record:  # the policy was not moved in this step
            return self
        target = -record["action_size"] if self.target_entropy is None else self.target_entropy
        moments = self.temperature_mean, self.temperature_square, self.temperature_steps
        direction, mean, square, steps = adam_of_number(record["entropy"] - target, *moments, self.adam_epsilon)
        temperature = self.temperature * math.exp(-self.temperature_learning_rate * direction)
        remembered = {"temperature_mean": mean, "temperature_square": square, "temperature_steps": steps}
        return self.changed(temperature=temperature, **remembered)

    def diagnostics(self) -> dict[str, float]:
        """The temperature."""
        return {"temperature": self.temperature}
