"""REINFORCE: the return of the episode weighs each action's log-probability (Williams, 1992).

    ∇J = E[ Σ_t ∇ log π(a_t|s_t) G_t ]

As nearly everywhere, the factor γ^t of the discounted objective's exact gradient is left out; at γ = 1 the estimate is
unbiased as it stands.

The gradient is not clipped, as in the REINFORCE of Tianshou and of Spinning Up. Its norm is 5 to 680 (medians of the
default grid's tasks), so a limit of 0.5 clips every update, and the length of a step no longer depends on the returns.
Measured untuned with five seeds, no task is better for it, and CartPole is worse: a normalised final score of 0.75
instead of 0.89. results/README.md has the table.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from .core.batch import Batch
from .core.estimators import discounted_returns
from .core.policy_gradient import PolicyGradient
from .core.rollout import Floats, Rollout


@dataclass(frozen=True)
class Reinforce(PolicyGradient):
    """Monte Carlo policy gradient (Williams, 1992)."""

    title: ClassVar[str] = "REINFORCE"
    equation: ClassVar[str] = "Ψ_t = G_t = Σ_{l≥0} γ^l r_{t+l}"
    whole_episodes: ClassVar[bool] = True  # G_t is only defined once the episode has ended
    value_function: ClassVar[bool] = False

    rollout_length: int = 1
    policy_learning_rate: float = 1e-3
    max_grad_norm: float | None = None  # not clipped, see above
    # "sum" over an episode's steps, mean over episodes: the equation above, hence the default. "mean" over all steps: a
    # scale that does not grow with the episodes, but short and long episodes no longer weigh as the equation says.
    steps_of_an_episode: Literal["sum", "mean"] = "sum"

    def advantages(self, rollout: Rollout) -> Floats:
        """Ψ_t = G_t."""
        return discounted_returns(rollout, self.gamma)

    def policy_loss(self, log_prob: Tensor, batch: Batch) -> Tensor:
        """−E[ Σ_t log π(a_t|s_t) Ψ_t ]."""
        if self.steps_of_an_episode == "mean":
            return -(log_prob * batch.advantages).mean()
        return -(log_prob * batch.advantages).sum() / batch.episodes
