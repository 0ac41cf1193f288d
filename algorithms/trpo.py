"""Trust region policy optimisation (Schulman et al., 2015, appendix C).

    maximise L(θ) = E[ρ_t Â_t]  with  E[KL(π_old ‖ π)] ≤ δ,   ρ_t = π(a_t|s_t) / π_old(a_t|s_t)

A natural-gradient step of KL δ to second order is shortened until L has grown and the divergence itself is below δ.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .core.algorithm import setting
from .core.batch import Batch
from .core.hooks import Objective
from .natural_policy_gradient import NaturalPolicyGradient


@dataclass(frozen=True)
class TRPO(NaturalPolicyGradient):
    """Trust region policy optimisation: the natural gradient with a line search (Schulman et al., 2015, app. C)."""

    title: ClassVar[str] = "TRPO"
    equation: ClassVar[str] = "max E[ρ_t Â_t]  with  E[KL(π_old ‖ π)] ≤ δ"

    target_kl: float = setting(0.01, above=0)  # δ in nats
    line_search_steps: int = setting(10, low=1)  # this and the next: Spinning Up, Tianshou, sb3-contrib
    line_search_shrinking: float = setting(0.8, above=0, high=1)

    def policy_loss(self, log_prob: Tensor, batch: Batch) -> Tensor:
        """−L(θ) = −E[ ρ_t Â_t ]."""
        return -(torch.exp(log_prob - batch.log_probs) * batch.advantages).mean()

    def step(self, objective: Objective, gradient: Tensor, batch: Batch) -> Tensor:
        """The first of θ + 0.8^i α x, i = 0, 1, …, with L above that of θ and KL(π_old ‖ π) below δ; else θ."""
        whole = self.natural_step(objective, gradient)
        objective.record.update(accepted=0.0, line_search_steps=self.line_search_steps, step_kl=0.0)
        for i in range(self.line_search_steps):
            after = objective.parameters + self.line_search_shrinking**i * whole
            loss, kl = objective.loss_and_kl_at(after)
            if loss < objective.loss and kl < self.target_kl:
                objective.record.update(accepted=1.0, line_search_steps=i + 1, step_kl=kl)
                return after
        return objective.parameters
