"""The natural policy gradient (Kakade, 2001): the steepest ascent where distance is the policy's KL divergence.

    θ ← θ + α x,   F x = g,   g = E[∇ log π(a_t|s_t) Â_t],   F = E[∇ log π ∇ log πᵀ],   α = √(2 δ / xᵀ F x)
With this α, KL(π_old ‖ π) is δ to second order (Schulman et al., 2015, app. C). Kakade's α is a learning rate.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .core.algorithm import setting
from .core.batch import Batch
from .core.conjugate_gradient import conjugate_gradient
from .core.estimators import generalized_advantages
from .core.hooks import Networks, Objective
from .core.policy_gradient import PolicyGradient
from .core.rollout import Floats, Rollout


@dataclass(frozen=True)
class NaturalPolicyGradient(PolicyGradient):
    """The natural policy gradient on generalised advantages, a step of a given KL divergence (Kakade, 2001)."""

    title: ClassVar[str] = "Natural policy gradient"
    equation: ClassVar[str] = "θ ← θ + √(2δ / xᵀFx) x,  F x = E[∇ log π(a_t|s_t) Â_t]"
    own_steps: ClassVar[Networks] = "policy"

    # The defaults of sb3-contrib's TRPO: rollouts of 2,048 steps, δ, products, damping, and all of the critic's.
    rollout_length: int = 256  # 8 environments × 256 = 2,048 steps
    gae_lambda: float = setting(0.95, low=0, high=1)
    target_kl: float | None = setting(0.01, above=0)  # δ in nats; null: α is policy_learning_rate
    policy_learning_rate: float = 0.1  # α where target_kl is null; the value is that of Tianshou's MuJoCo script
    conjugate_gradient_steps: int = setting(15, low=1)  # products with F, at most
    damping: float = setting(0.1, low=0)  # is added to the diagonal of F
    fisher_every: int = setting(1, low=1)  # k: F is of every k-th step of the rollout
    normalize_advantages: bool = True
    max_grad_norm: float | None = None
    value_epochs: int | None = 10
    value_minibatch_size: int | None = 128

    def advantages(self, rollout: Rollout) -> Floats:
        """Â_t = Σ_l (γλ)^l δ_{t+l}."""
        return generalized_advantages(rollout, self.gamma, self.gae_lambda)

    def policy_loss(self, log_prob: Tensor, batch: Batch) -> Tensor:
        """−E[ log π(a_t|s_t) Â_t ]."""
        return -(log_prob * batch.advantages).mean()

    def step(self, objective: Objective, gradient: Tensor, batch: Batch) -> Tensor:
        """θ + α x."""
        return objective.parameters + self.natural_step(objective, gradient)

    def natural_step(self, objective: Objective, gradient: Tensor) -> Tensor:
        """α x [P], with (F + damping) x = g, by conjugate gradients."""
        fisher = objective.fisher(self.fisher_every)
        x, image = conjugate_gradient(lambda v: fisher(v) + self.damping * v, -gradient, self.conjugate_gradient_steps)
        if self.target_kl is None or x @ image < 1e-37:  # 0 where g = 0; float32 has no exact ones below
            return objective.learning_rate * x
        return (2 * self.target_kl / (x @ image)).sqrt() * x
