"""What the off-policy learner asks of an algorithm: settings, and methods that nearly all have a default."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Literal, Self

from gymnasium.spaces import Space
from torch import Tensor

from .algorithm import Algorithm, setting, where
from .policy_file import in_words
from .replay import Transitions
from .spaces import scaling_problem


@dataclass(frozen=True)
class OffPolicyHooks(Algorithm):
    """The settings of every off-policy algorithm, and the methods that make one different from another.

    An algorithm inherits from `OffPolicy`, which adds `train`. It says which networks it has, and defines `targets` and
    `policy_loss`; every other method has a default. A method depends on its arguments and on the settings alone: it
    keeps no state. Those with tensors are written in Torch, as functions of what the networks put out, and settings
    that are floats may be tensors without dimensions.

    In shapes, B is the transitions of a batch, A the size of an action, C the critics. Actions are in [−1, 1] in the
    replay and in all methods; the task's Box gets them scaled.
    """

    stochastic: ClassVar[bool]  # π is a tanh-Gaussian whose mean and log-std the network puts out, or deterministic
    critic_count: ClassVar[int]  # C critics Q_1(s, a), …, Q_C(s, a), each with a target that follows it
    target_policy: ClassVar[bool] = False  # the next action is that of a policy that follows π, or of π itself
    whole_episodes: ClassVar[bool] = False

    # Stable-Baselines3's defaults, unless another source is given.
    num_envs: int = setting(1, low=1)
    rollout_length: int = setting(1, low=1)  # steps of each environment between updates
    gradient_steps: int = setting(1, low=1)  # of an update
    buffer_size: int = setting(1_000_000, low=1)  # transitions in the replay; Lillicrap et al. 2016, section 7
    batch_size: int = setting(256, low=1)
    learning_starts: int = setting(100, low=0)  # steps with uniformly random actions before the first update
    gamma: float = setting(0.99, low=0, high=1)
    tau: float = setting(0.005, low=0, high=1)  # by which the targets move; Haarnoja et al. 2018b, Table 1
    policy_delay: int = setting(1, low=1)  # gradient steps of the critics for one of the policy and of the targets
    policy_learning_rate: float = setting(3e-4, low=0)
    value_learning_rate: float = setting(3e-4, low=0)
    anneal_learning_rate: bool = False  # both rates fall linearly to zero over the run
    adam_epsilon: float = setting(1e-8, low=0)  # Kingma & Ba, 2015, algorithm 1
    hidden_sizes: tuple[int, ...] = setting((256, 256), low=1)  # of policy and critics; Haarnoja et al. 2018b, Table 1
    activation: Literal["tanh", "relu"] = "relu"
    exploration_noise: float = setting(0.0, low=0)  # deviation of what is added to actions in [−1, 1] while training

    def target_actions(self, actions: Tensor, noise: Tensor, batch: Transitions) -> Tensor:
        """The actions a' at which the targets of the critics are computed, [B, A]; by default `actions`, π(s').

        `noise` [B, A] is standard normal.
        """
        return actions

    def targets(self, batch: Transitions, next_values: Tensor, next_log_probs: Tensor) -> Tensor:
        """What the critics learn, y [B]; no gradient flows through it.

        `next_values` [C, B] are those of the critics' targets at (s', a'), and `next_log_probs` [B] is log π(a'|s')
        of a' in [−1, 1], zero of a deterministic policy. `batch.terminated` alone says that nothing follows.
        """
        raise NotImplementedError(f"{where(self)} has no method targets")

    def critic_loss(self, values: Tensor, targets: Tensor, batch: Transitions) -> Tensor:
        """The scalar that the critics minimise; by default Σ_c of the mean of (Q_c(s, a) − y)². `values` is [C, B]."""
        return (values - targets).square().mean(1).sum()

    def policy_loss(self, values: Tensor, log_probs: Tensor, batch: Transitions) -> Tensor:
        """The scalar that the policy minimises through its actions a = π(s), [B, A].

        `values` [C, B] is Q_c(s, π(s)) of the critics, and `log_probs` [B] log π(a|s), zero of a deterministic policy.
        """
        raise NotImplementedError(f"{where(self)} has no method policy_loss")

    def after_update(self, record: Mapping[str, float]) -> Self:
        """The algorithm of the next gradient step; by default this one. It is called after every gradient step.

        `record` has `critic_loss` and `value_mean`, the mean of Q(s, a); where the policy moved in this step also
        `policy_loss` and, of a stochastic one, `entropy`, the mean of −log π(a|s); and `action_size`, A. The result
        may differ in settings that are floats, and in what is `memory`: `self.changed(temperature=…)`.
        """
        return self

    def diagnostics(self) -> dict[str, float]:
        """Further scalars to record, by the name of their column in updates.csv: letters, digits and _."""
        return {}

    def task_problem(self, action_space: Space[Any]) -> str | None:
        """As `Algorithm.task_problem`."""
        problem = scaling_problem(action_space)
        return problem and f"has actions in {in_words(action_space)}, {problem}"

    def budget_problem(self, steps: int) -> str | None:
        """As `Algorithm.budget_problem`."""
        cls = type(self).__name__
        if self.buffer_size < self.batch_size:
            return (
                f"buffer_size of {cls} is {self.buffer_size:,}, and a batch has {self.batch_size:,} transitions "
                "(batch_size); the replay must hold at least a batch"
            )
        if self.learning_starts >= steps:
            return (
                f"learning_starts of {cls} is {self.learning_starts:,}, and the budget has {steps:,} steps, so that "
                "nothing would be learned; it must be below the budget"
            )
        return None

    @classmethod
    @cache
    def overrides(cls, *names: str) -> bool:
        """Whether the class defines one of the methods `names`, in place of its default, or without there being one."""
        return any(getattr(cls, name, None) is not getattr(OffPolicyHooks, name, None) for name in names)
