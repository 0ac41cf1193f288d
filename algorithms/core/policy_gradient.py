"""Every algorithm that learns on-policy from an advantage and a policy loss (Sutton et al., 2000)."""

from dataclasses import dataclass

from .hooks import Hooks
from .on_policy import Learner
from .with_learner import WithLearner


@dataclass(frozen=True)
class PolicyGradient(Hooks, WithLearner):
    """An algorithm with `advantages` and a `policy_loss`; `Hooks` lists its settings and what else it may define."""

    def learner(self) -> type[Learner]:
        """As `WithLearner.learner`."""
        return Learner
