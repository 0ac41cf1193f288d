"""What the on-policy learner asks of an algorithm: settings, and methods that nearly all have a default."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, ClassVar, Literal, Self, TypeVar

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete, Space
from torch import Tensor
from torch.distributions import Distribution

from .algorithm import Algorithm, InvalidAlgorithm, InvalidSetting, setting, where
from .batch import VALUE, Batch, mean_over_parts
from .policy_file import in_words
from .rollout import Rollout

Adapting = TypeVar("Adapting", bound=Algorithm)  # an algorithm that has `after_update`
CriticKind = Literal["state", "actions", "parts", "choices"]  # see `Hooks.critics`
Networks = Literal["all", "policy", "critics"]
POLICY = "policy"  # the name of the policy among the networks


@dataclass(frozen=True)
class Objective:
    """The loss of one network on one minibatch of B steps, at the P parameters that it has now."""

    network: str  # "policy" or the name of a critic
    parameters: Tensor  # float32 [P], a leaf that requires its gradient
    loss: Tensor  # scalar: for the policy with its regularizer
    outputs: tuple[Tensor, ...]  # each [B, …]: what the network puts out at each step; the loss is a function of it
    loss_at: Callable[[Tensor], Tensor]  # the loss at other parameters [P]
    kl_at: Callable[[Tensor], Tensor]  # the batch's mean KL(π_old ‖ π) at other parameters [P]; a critic has none
    # The loss and that KL at other parameters [P], from one pass of the network, which no gradient goes through.
    loss_and_kl_at: Callable[[Tensor], tuple[float, float]]
    # v ↦ F v, both [P], of the policy's Fisher information at its parameters, from every k-th step of the batch, k ≥ 1;
    # a critic has none.
    fisher: Callable[[int], Callable[[Tensor], Tensor]]
    adam: Callable[[Tensor], Tensor]  # takes Adam's step along a gradient [P] and returns the parameters [P] after it
    learning_rate: float  # of the network in this update
    # Scalars of the step to record, by the name of their column in updates.csv; `step` may add some, always the same.
    record: dict[str, float] = field(default_factory=dict)

    @cached_property
    def per_step(self) -> Tensor:
        """The loss in pieces, one for each step, float32 [B]: the gradient of their sum is the gradient of the loss.

        The piece of step t is ∂L/∂y_t · y_t with ∂L/∂y_t held fixed, where y_t is the output of the network at step t.
        So the pieces are right for every loss, also where steps depend on each other (normalised advantages).
        """
        slopes = torch.autograd.grad(
            self.loss, self.outputs, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        products = [slope * output for slope, output in zip(slopes, self.outputs, strict=True)]
        return torch.stack([x.reshape(len(x), -1).sum(1) for x in products]).sum(0)

    def gradients_of(self, weights: Tensor) -> Tensor:
        """The gradients of weighted sums of the pieces, float32 [K, P]; `weights` is float32 [K, B]."""
        return torch.autograd.grad(self.per_step, self.parameters, weights, is_grads_batched=True, retain_graph=True)[0]

    def episode_gradients(self, episode_ids: Tensor) -> Tensor:
        """The gradient of each episode's pieces, float32 [E, P]; their sum is the gradient of the loss.

        `episode_ids` is int64 [B]; the rows are in the order of the numbers that occur in it.
        """
        _, rows = torch.unique(episode_ids, return_inverse=True)
        return self.gradients_of(torch.nn.functional.one_hot(rows).T.to(self.parameters.dtype))


@dataclass(frozen=True)
class Hooks(Algorithm):
    """The settings of every on-policy algorithm, and the methods that make one algorithm different from another.

    An algorithm inherits from `PolicyGradient`, which adds `train`. It defines `advantages` and `policy_loss`; every
    other method has a default. A method depends on its arguments and on the settings alone: it keeps no state.

    In shapes, T is the steps of a rollout, N the environments, B the steps of a batch, A the size of an action, K the
    parts of an action (MultiDiscrete), P the parameters of a network.

    `policy_loss`, `regularizer`, `value_loss` and `critic_loss` are written in Torch. Where a run is long enough, they
    are run a few times, compiled, and not run again. In these runs the settings that are floats are 0-d tensors. If a
    method cannot compute with those, it gets floats, and the machine code is for these values alone.
    """

    whole_episodes: ClassVar[bool] = False  # collect complete episodes only
    value_function: ClassVar[bool] = True  # False: no critic at all
    # The critics by name, each of a kind: "state" is V(s), "actions" is Q(s, ·) of all discrete actions; "parts" is
    # V_k(s), a value for each part of an action, and "choices" is Q_k(s, ·, a_−k), for each part the values of its
    # choices where the other parts do what they did. A Discrete action is a single part here: then these two are V(s)
    # and Q(s, ·). The critic "value" is of states; its values are `values` in a rollout and in a batch. Those of every
    # other critic are in `critic_values`, by its name.
    critics: ClassVar[Mapping[str, CriticKind]] = {VALUE: "state"}
    # The networks that the methods `gradients` and `step` are for, where the class has them. Any other network learns
    # by Adam along the gradient of its loss, compiled where that pays.
    own_steps: ClassVar[Networks] = "all"

    num_envs: int = setting(8, low=1)
    rollout_length: int = setting(128, low=1)  # per environment: steps, or complete episodes where `whole_episodes`
    gamma: float = setting(0.99, low=0, high=1)
    policy_learning_rate: float = setting(3e-4, low=0)
    value_learning_rate: float = setting(1e-3, low=0)  # of every critic
    anneal_learning_rate: bool = False  # both rates fall linearly to zero over the run
    adam_epsilon: float = setting(1e-5, low=0)
    max_grad_norm: float | None = setting(0.5, low=0)
    clip_together: bool = False  # the norm of policy's and critic's gradients as one, where they share minibatches
    entropy_coefficient: float = setting(0.0, low=0)
    # The deviation of Gaussian noise that training adds to a sampled continuous action, before the bounds. The action
    # with its noise is the one that is stored; its probability is the policy's, which does not know of the noise.
    exploration_noise: float = setting(0.0, low=0)
    normalize_advantages: bool = False  # per minibatch, to zero mean and unit deviation
    epochs: int = setting(1, low=1)  # passes of the policy over a rollout
    minibatch_size: int | None = setting(None, low=1)  # None: the whole rollout
    value_epochs: int | None = setting(None, low=1)  # passes of the critic; None: as many as the policy's
    value_minibatch_size: int | None = setting(None, low=1)  # None: as the policy's
    target_kl: float | None = setting(None, above=0)  # no further epoch of the policy once KL(π_old, π) is above this
    hidden_sizes: tuple[int, ...] = setting((64, 64), low=1)  # units of each hidden layer, of policy and critics
    activation: Literal["tanh", "relu"] = "tanh"  # after each hidden layer
    policy_gain: float = setting(0.01, low=0)  # of the policy's last layer at the start, whose weights are orthogonal

    def advantages(self, rollout: Rollout) -> np.ndarray:
        """Ψ_t, float [T, N]. Where an action has K parts, it may be [T, N, K]: each part has its own Ψ.

        `rollout` has rewards (scaled, if the task says so) and values from before the update.
        """
        raise NotImplementedError(f"{where(self)} has no method advantages")

    def policy_loss(self, log_prob: Tensor, batch: Batch) -> Tensor:
        """The scalar whose gradient is minus the policy gradient.

        `log_prob` [B] is log π(a|s) of the current policy, `batch.log_probs` [B] that of the policy that acted. Where
        an action has K parts, the method is called once for each part with that part's log π_k(a_k|s), and the K
        scalars are summed: one formula serves both (`batch.sum_over_parts`).
        """
        raise NotImplementedError(f"{where(self)} has no method policy_loss")

    def value_loss(self, values: Tensor, batch: Batch) -> Tensor:
        """The scalar that the critic "value" minimises; by default the mean of ½ (V(s_t) − target)².

        `values` [B] is V(s_t) of the current parameters, `batch.values` [B] that from before the update. The targets
        are `batch.value_targets` [B].
        """
        return 0.5 * (values - batch.value_targets).square().mean()

    def critic_targets(self, rollout: Rollout, advantages: np.ndarray) -> dict[str, np.ndarray]:
        """The target of every critic, by the critic's name: float [T, N], or as its values are, or [T, N, K] of parts.

        `advantages` is what `advantages(rollout)` returned. By default the critic "value" has the target Ψ_t + V(s_t),
        with V from before the update. Where each part of an action has its own Ψ_t, that is their mean. An algorithm
        with other critics adds their targets: `super().critic_targets(rollout, advantages) | {"cost": …}`.
        """
        if VALUE not in self.critic_kinds():
            return {}
        psi = mean_over_parts(advantages, 2)
        return {VALUE: psi.astype(np.float32) + rollout.values.astype(np.float32)}

    def critic_loss(self, critic: str, values: Tensor, batch: Batch) -> Tensor:
        """The scalar that a critic other than "value" minimises; by default the mean of ½ (V(s_t) − target)².

        `critic` is its name; `values` is what it says with the current parameters: [B] of kind "state", [B, A] of kind
        "actions", [B, K] of kind "parts", [B, K, max n_k] of kind "choices". The targets are
        `batch.critic_targets[critic]`. If they have no axis of choices and the values have one, the value of the action
        that was taken, Q(s_t, a_t), is compared with the target. A target [B] is that of every part.
        """
        targets = batch.critic_targets[critic]
        if values.ndim > targets.ndim and values.ndim > batch.actions.ndim:  # of "actions" and "choices" alone
            values = values.gather(-1, batch.actions[..., None])[..., 0]
        if values.ndim > targets.ndim:
            targets = targets[:, None]
        return 0.5 * (values - targets).square().mean()

    def regularizer(self, distribution: Distribution, batch: Batch) -> Tensor:
        """The scalar that is added to the policy loss; by default −entropy_coefficient · mean entropy.

        `distribution` is π(·|s) of the current policy at the B steps of the batch: `distribution.entropy()` is [B], and
        `divergence.kl_from_old(distribution, batch)` [B] is KL(π_old ‖ π) in closed form. Raises InvalidAlgorithm, when
        it is called, if what it returns is no scalar tensor.
        """
        entropy: Tensor = distribution.entropy().mean()
        return -self.entropy_coefficient * entropy

    def diagnostics(self, log_prob: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Further scalars to record, by the name of their column in updates.csv: letters, digits and _.

        A column that every algorithm has (`approx_kl`, say) needs another name. Raises nothing itself; what is no
        scalar is refused with InvalidAlgorithm.

        `log_prob` is log π(a|s) of the policy after the update, [B]; where an action has K parts, [B, K].
        """
        return {}

    def after_update(self, record: Mapping[str, float]) -> Self:
        """The algorithm of the next update; by default this one. It is called after every update.

        `record` has the scalars of the update by name: those of a row of updates.csv (without those that do not exist,
        such as the explained variance of no critic), and

        - `kl`: KL(π_old ‖ π) on the batch of the update, estimated from its actions
        - `mean_cost`: the mean of `info["cost"]` over the steps of the rollout; 0 where the task reports no cost
        - `episode_cost`: the mean over the episodes that ended in the rollout of the sum of their costs; it is there
          where some did and the task reports costs
        - `progress`: the share of the step budget that is used, in [0, 1]

        The result is of the same class, `dataclasses.replace(self, beta=…)`, and differs in settings that are floats.
        Any other change is refused with InvalidAlgorithm. Floats are inputs of the machine code, so nothing is compiled
        again.
        """
        return self

    def gradients(self, objective: Objective, batch: Batch, generator: torch.Generator) -> Tensor:
        """The gradient [P] that a network learns from; by default that of its loss.

        It is called for each network of `own_steps` and each minibatch. `objective.network` is "policy" or the name of
        a critic.
        `objective.per_step` [B] is the loss in pieces, one for each step, and `batch.episode_ids` [B] numbers the
        episodes that the steps belong to: `objective.episode_gradients(batch.episode_ids)` [E, P] has the gradient of
        each episode. Noise is drawn from `generator`, which is seeded by the run, so that the run can be repeated.

        What is returned is float32 (float64 is rounded), clipped by `max_grad_norm` like any gradient, and `step`
        moves along it. The steps of these networks are not compiled.
        """
        return torch.autograd.grad(objective.loss, objective.parameters, retain_graph=True)[0]

    def step(self, objective: Objective, gradient: Tensor, batch: Batch) -> Tensor:
        """The parameters [P] of a network after a step; by default after Adam's along `gradient` [P].

        It is called for each network of `own_steps` and each minibatch. `objective.parameters` [P] is where the network
        stands. `objective.loss_at(parameters)` is its loss on the batch at other parameters [P] (the policy's with the
        regularizer), and `objective.kl_at(parameters)` is the mean KL(π_old ‖ π), of the policy alone. Both are scalars
        that can be differentiated twice; `objective.loss_and_kl_at(parameters)` has both as numbers.
        `objective.fisher(1)` multiplies vectors [P] with the policy's Fisher information. What the method writes to
        `objective.record` becomes columns of updates.csv. `super().step(objective, gradient, batch)` is Adam's step,
        for a critic say. The result is float32 (float64 is rounded). The steps of these networks are not compiled.
        """
        return objective.adam(gradient)

    def task_problem(self, action_space: Space[Any]) -> str | None:
        """As `Algorithm.task_problem`: noise is for a Box alone; "actions" for a Discrete, "choices" not for a Box."""
        said, cls = f"has actions in {in_words(action_space)}", type(self).__name__
        if self.exploration_noise > 0 and not isinstance(action_space, Box):
            return (
                f"{said}, and exploration_noise of {cls} is {self.exploration_noise:g}; noise is added to continuous "
                "actions alone, so set it to 0"
            )
        for critic, kind in self.critic_kinds().items():
            if kind == "actions" and not isinstance(action_space, Discrete):
                return (
                    f"{said}, and the critic {critic!r} of {cls} is of the kind 'actions'; this kind needs a task with "
                    "discrete actions"
                )
            if kind == "choices" and isinstance(action_space, Box):
                return (
                    f"{said}, and the critic {critic!r} of {cls} is of the kind 'choices'; this kind needs "
                    "actions in Discrete, MultiDiscrete or MultiBinary"
                )
        return None

    @property
    def depends_on_actions(self) -> bool:
        """As `Algorithm.depends_on_actions`: nearly always False."""
        needs_some = self.exploration_noise > 0 or {"actions", "choices"} & set(self.critic_kinds().values())
        return bool(needs_some) or self.overrides("task_problem")

    @classmethod
    def critic_kinds(cls) -> dict[str, CriticKind]:
        """The kind of every critic by its name; none where `value_function` is False."""
        return dict(cls.critics) if cls.value_function else {}

    @classmethod
    @cache  # it is asked in every update
    def overrides(cls, *names: str) -> bool:
        """Whether the class defines one of the methods `names`, in place of its default."""
        return any(getattr(cls, name) is not getattr(Hooks, name) for name in names)

    @classmethod
    def has_own(cls, method: Literal["gradients", "step"], network: str) -> bool:
        """Whether the class defines `method` for a network, "policy" or the name of a critic: see `own_steps`."""
        among = "policy" if network == POLICY else "critics"
        return cls.overrides(method) and cls.own_steps in ("all", among)


def next_algorithm(algorithm: Adapting, record: Mapping[str, float]) -> Adapting:
    """What the `after_update` of `algorithm` makes of an update's record, checked.

    Raises InvalidAlgorithm, with a sentence that names the file, the class and the setting, if it is of another class,
    if a value is out of its bounds, or if another setting than a float has changed.
    """
    adapting: Any = algorithm
    try:
        following: object = adapting.after_update(record)
    except InvalidSetting as error:
        raise InvalidAlgorithm(f"{where(algorithm)}.after_update: {error}") from error
    if following is algorithm:
        return algorithm
    if type(following) is not type(algorithm):
        raise InvalidAlgorithm(
            f"{where(algorithm)}.after_update must return a {type(algorithm).__name__}, not a "
            f"{type(following).__name__}"
        )
    assert isinstance(following, type(algorithm))
    for name, after in vars(following).items():  # the settings; this may be after every gradient step
        before = getattr(algorithm, name)
        if after is not before and before != after and not (type(before) is float and type(after) is float):
            raise InvalidAlgorithm(
                f"{where(algorithm)}.after_update changed {name} from {before!r} to {after!r}; while a run goes on, "
                "only a setting that is a float may change, and only to another float"
            )
    return following
