"""REINFORCE with a learned baseline (Williams, 1992; Sutton & Barto, 2018, section 13.4).

    ∇J = E[ Σ_t ∇ log π(a_t|s_t) (G_t − V(s_t)) ]

V is from before the update, so it does not depend on the actions that it is subtracted from: no bias.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from .core.batch import Batch
from .core.estimators import discounted_returns
from .core.policy_gradient import PolicyGradient
from .core.rollout import Floats, Rollout


@dataclass(frozen=True)
class ReinforceBaseline(PolicyGradient):
    """Monte Carlo policy gradient with a learned state-value baseline (Williams, 1992)."""

    title: ClassVar[str] = "REINFORCE + baseline"
    equation: ClassVar[str] = "Ψ_t = G_t − V(s_t)"
    whole_episodes: ClassVar[bool] = True  # G_t is only defined once the episode has ended

    rollout_length: int = 1
    policy_learning_rate: float = 1e-3
    value_learning_rate: float = 1e-3  # Spinning Up's vpg: 1e-3 and many passes (80 over its whole batch)
    value_epochs: int | None = 10
    value_minibatch_size: int | None = 256
    max_grad_norm: float | None = None  # as in REINFORCE
    steps_of_an_episode: Literal["sum", "mean"] = "sum"  # as in REINFORCE, so that the baseline is the only difference

    def advantages(self, rollout: Rollout) -> Floats:
        """Ψ_t = G_t − V(s_t)."""
        return discounted_returns(rollout, self.gamma) - rollout.values

    def policy_loss(self, log_prob: Tensor, batch: Batch) -> Tensor:
        """−E[ Σ_t log π(a_t|s_t) Ψ_t ]."""
        if self.steps_of_an_episode == "mean":
            return -(log_prob * batch.advantages).mean()
        return -(log_prob * batch.advantages).sum() / batch.episodes
