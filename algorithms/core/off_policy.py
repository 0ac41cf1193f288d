"""Every algorithm that learns a deterministic or a reparameterised policy from a replay, by critics Q(s, a)."""

from dataclasses import dataclass

from .off_policy_hooks import OffPolicyHooks
from .off_policy_learner import OffPolicyLearner
from .with_learner import WithLearner


@dataclass(frozen=True)
class OffPolicy(OffPolicyHooks, WithLearner):
    """An algorithm with `targets` and a `policy_loss`; `OffPolicyHooks` lists its settings and what else it defines."""

    def learner(self) -> type[OffPolicyLearner]:
        """As `WithLearner.learner`."""
        return OffPolicyLearner
