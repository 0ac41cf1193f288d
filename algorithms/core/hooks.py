"""What the on-policy learner asks of an algorithm: its settings, and methods of which most have a default."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from algorithms.core.algorithm import Algorithm, InvalidAlgorithm, InvalidSetting, setting, where
from algorithms.core.batch import VALUE, Batch, mean_over_parts
from algorithms.core.objective import Objective
from algorithms.core.rollout import Rollout

CriticKind = Literal["state", "actions"]  # V(s), or Q(s, ·) of all discrete actions


@dataclass(frozen=True)
class Hooks(Algorithm):
    """The settings of every on-policy algorithm, and the methods that make one different from another.

    An algorithm inherits from `PolicyGradient`, which adds `train`. It defines `advantages` and `policy_loss`; the
    others have defaults. Every method is a function of its arguments and the settings alone.

    Two of them run as machine code where that repays: `policy_loss`, `regularizer`, and the critics' losses are run
    once, compiled, and never run again. In that run the settings that are floats are 0-d tensors; where a method cannot
    do with those, they are floats there too.
    """

    whole_episodes: ClassVar[bool] = False  # collect complete episodes only
    value_function: ClassVar[bool] = True  # is there a critic
    # The critics by name. That of the name "value" is V(s): its values are `values` in a rollout and in a batch. Those
    # of the others are in `critic_values`, by name.
    critics: ClassVar[Mapping[str, CriticKind]] = {VALUE: "state"}

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
    normalize_advantages: bool = False  # per minibatch, to zero mean and unit deviation
    epochs: int = setting(1, low=1)  # passes of the policy over a rollout
    minibatch_size: int | None = setting(None, low=1)  # None: the whole rollout
    value_epochs: int | None = setting(None, low=1)  # passes of the critic; None: as many as the policy's
    value_minibatch_size: int | None = setting(None, low=1)  # None: as the policy's
    target_kl: float | None = setting(None, low=0)  # no further epoch of the policy once KL(π_old, π) is above this
    hidden_sizes: tuple[int, ...] = setting((64, 64), low=1)  # units of each hidden layer, of policy and critics
    activation: Literal["tanh", "relu"] = "tanh"  # after each hidden layer

    def advantages(self, rollout: Rollout) -> np.ndarray:
        """Ψ_t, float [T, N]; where an action has K parts also [T, N, K], which gives each part its own."""
        raise NotImplementedError(f"{where(self)} has no method advantages")

    def policy_loss(self, log_prob: Tensor, batch: Batch) -> Tensor:
        """The scalar whose gradient is minus the policy gradient; `log_prob` [B] is the current policy's log π(a|s).

        Where an action has K parts, it is called for each part with that part's log π_k(a_k|s), and the K scalars are
        summed: the same formula serves both (`batch.sum_over_parts`).
        """
        raise NotImplementedError(f"{where(self)} has no method policy_loss")

    def value_loss(self, values: Tensor, batch: Batch) -> Tensor:
        """½ (V(s_t) − target)², averaged: the scalar that the critic "value" minimises.

        `values` [B] are its values now, `batch.values` those before the update, `batch.value_targets` the targets.
        """
        return 0.5 * (values - batch.value_targets).square().mean()

    def critic_targets(self, rollout: Rollout, advantages: np.ndarray) -> dict[str, np.ndarray]:
        """What each critic is to learn, float [T, N], by its name; of a critic of actions [T, N] or [T, N, A].

        `advantages` are those of `advantages(rollout)`. By default the critic "value" learns Ψ_t + V(s_t), with V from
        before the update, and with the mean Ψ_t where each part of an action has its own; an algorithm with other
        critics says their targets too.
        """
        if VALUE not in self.critic_kinds():
            return {}
        psi = mean_over_parts(advantages, 2)
        return {VALUE: psi.astype(np.float32) + rollout.values.astype(np.float32)}

    def critic_loss(self, critic: str, values: Tensor, batch: Batch) -> Tensor:
        """½ (V(s_t) − target)², averaged: the scalar that a critic other than "value" minimises.

        `values` are its values now: [B], or [B, A] of a critic of actions, of which Q(s_t, a_t) counts alone where the
        targets `batch.critic_targets[critic]` are [B].
        """
        targets = batch.critic_targets[critic]
        if values.ndim > targets.ndim:
            values = values.gather(1, batch.actions[:, None])[:, 0]
        return 0.5 * (values - targets).square().mean()

    def regularizer(self, distribution: Distribution, batch: Batch) -> Tensor:
        """A scalar that is added to the policy loss: by default −entropy_coefficient · mean entropy.

        `distribution` has the current policy's actions at the batch's B steps; `log_prob` and `entropy` are [B]. Where
        an action has K parts, `log_prob` is [B, K] and `entropy` is the whole action's.
        `divergence.kl_from_old(distribution, batch)` [B] is its divergence from the policy that acted.
        """
        entropy: Tensor = distribution.entropy().mean()
        return -self.entropy_coefficient * entropy

    def diagnostics(self, log_prob: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Further scalars to record, by column name; `log_prob`, [B] or of K parts [B, K], is from after the update."""
        return {}

    def after_update(self, record: Mapping[str, float]) -> Self:
        """The algorithm of the next update; by default this one. Only settings that are floats may change.

        `record` says what the update did: everything that a row of `updates.csv` has, and

        - `kl`: KL(π_old ‖ π) on the update's batch, estimated from its actions
        - `mean_cost`: the mean of `info["cost"]` over the rollout's steps; 0 where the task names no cost
        - `progress`: the share of the step budget that is used, in [0, 1]

        An algorithm with this method compiles nothing that depends on a float's value, so nothing is compiled again.
        """
        return self

    def gradients(self, objective: Objective, batch: Batch, generator: torch.Generator) -> Tensor:
        """The gradient [P] of a network's loss, before its norm is clipped; called for each network and minibatch.

        `objective.network` is "policy" or a critic's name, `objective.parameters` [P] are where it stands;
        `objective.per_step` [B] are the pieces of the loss, whose episodes are `batch.episode_ids` [B]. `generator` is
        the run's own: noise from it is the same whenever the run is repeated. An algorithm with this method is not
        compiled.
        """
        return torch.autograd.grad(objective.loss, objective.parameters, retain_graph=True)[0]

    def step(self, objective: Objective, gradient: Tensor, batch: Batch) -> Tensor:
        """The network's parameters [P] after a step; by default Adam's, along `gradient` [P].

        `objective.loss_at(parameters)` and, of the policy, `objective.kl_at(parameters)` are the batch's loss and
        KL(π_old ‖ π) at other parameters [P], differentiable; the policy's loss has its regularizer. An algorithm with
        this method is not compiled.
        """
        return objective.adam(gradient)

    @classmethod
    def critic_kinds(cls) -> dict[str, CriticKind]:
        """The critics by name, in the order in which they are made; none where `value_function` is False."""
        return dict(cls.critics) if cls.value_function else {}

    @classmethod
    def overrides(cls, *names: str) -> bool:
        """Whether the class has any of the methods `names` of its own, in place of the default."""
        return any(getattr(cls, name) is not getattr(Hooks, name) for name in names)


def next_algorithm(algorithm: Hooks, record: Mapping[str, float]) -> Hooks:
    """What `after_update` returned, checked.

    Raises InvalidAlgorithm, with a sentence that names file, class and setting, where it is of another class, a value
    is out of its bounds, or anything but a float has changed.
    """
    said = f"{where(algorithm)}.after_update"
    try:
        following: object = algorithm.after_update(record)
    except InvalidSetting as error:
        raise InvalidAlgorithm(f"{said}: {error}") from error
    if following is algorithm:
        return algorithm
    if type(following) is not type(algorithm):
        raise InvalidAlgorithm(f"{said} must return a {type(algorithm).__name__}, not a {type(following).__name__}")
    assert isinstance(following, Hooks)
    for f in dataclasses.fields(algorithm):
        before, after = getattr(algorithm, f.name), getattr(following, f.name)
        if before != after and not (type(before) is float and type(after) is float):
            raise InvalidAlgorithm(
                f"{said} changed {f.name} from {before!r} to {after!r}; while a run goes on, only a setting that is a "
                "float may change, and only to another float"
            )
    return following


def checked_scalar(value: object, algorithm: Hooks, method: str) -> Tensor:
    """`value`, which `method` returned. Raises InvalidAlgorithm where it is not a tensor of shape ()."""
    if not isinstance(value, Tensor) or value.ndim:
        found = f"of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        raise InvalidAlgorithm(f"{where(algorithm)}.{method} must return a scalar tensor; what it returned is {found}")
    return value
