"""Learners whose N workers act and learn with copies of the parameters, each with its own; worker i is environment i.

Nothing runs at the same time, so a run is repeatable. In an `AsynchronousLearner` the copies fall behind parameters
that all share: the algorithm's method `copied` says after every update which workers copy these. In an
`ExchangingLearner` each copy takes gradient steps of its own, and the algorithm's method `exchanged` says after every
update what the workers make of each other's.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from .acting import Actor
from .batch import VALUE, Batch
from .fused import LossFunction, Module, Trainable
from .hook_checks import checked_tensor
from .hooks import POLICY, Hooks
from .on_policy import Learner, key_of
from .policies import Policy
from .rollout import Rollout
from .task import Snapshot

BYTES = 4  # of a number, in float32


class FallsBehind(Protocol):
    """What the asynchronous learner asks of an algorithm beside the hooks."""

    def copied(self, rng: np.random.Generator) -> np.ndarray:
        """bool [N]: which workers copy the shared parameters before the next rollout."""


class Exchanges(Protocol):
    """What the exchanging learner asks of an algorithm beside the hooks."""

    def exchanged(self, copies: Tensor, updates: int) -> tuple[Tensor, int]:
        """What the workers make of each other's parameters of a network, float32 [N, P], after so many updates.

        With it comes the number of vectors [P], of parameters or gradients, that are sent for this.
        """


@dataclass(frozen=True)
class OneBatch:
    """Settings of an algorithm whose workers learn from all steps of a rollout at once, each from its own alone.

    A class inherits from this one before all others. An advantage is not normalised over the steps of several workers,
    and no norm is that of several gradients.
    """

    max_grad_norm: None = None
    clip_together: Literal[False] = False
    normalize_advantages: Literal[False] = False
    epochs: Literal[1] = 1
    minibatch_size: None = None
    value_epochs: None = None
    value_minibatch_size: None = None
    target_kl: None = None


class TrainableCopies(Trainable):
    """A network of which N workers have a copy each: `copies` are their parameters, float32 [N, P].

    The rows of a batch are those of a rollout, [T, N] in this order, so row r is of worker r mod N.
    """

    def __init__(self, name: str, module: Any, loss: LossFunction) -> None:
        super().__init__(name, module, loss)
        self.copies = self.vector[None].clone()

    def module_with(self, vector: Tensor) -> Module:
        """The module at each worker's own parameters θ_i; the gradient by `vector` is Σ_i ∂L/∂θ_i."""
        copies = self.copies + (vector - vector.detach())  # θ_i + 0
        return lambda observations, *masks: self.module.of_outputs(*self.outputs(copies, observations), *masks)  # type: ignore

    def outputs(self, copies: Tensor, observations: Tensor) -> tuple[Tensor, ...]:
        """What the network puts out at observations [B, D], and its parameters beside the layers' (if any): [B, …]."""
        pieces = torch.split(copies, [shape.numel() for shape in self._shapes.values()], dim=1)
        parameters = [x.view(-1, *shape) for x, shape in zip(pieces, self._shapes.values(), strict=True)]
        x = observations.view(-1, len(copies), observations.shape[1]).transpose(0, 1)  # [N, T, D]
        layers = parameters[1:] if self.extra else parameters
        for i, (weights, biases) in enumerate(zip(layers[::2], layers[1::2], strict=True)):
            if i > 0:
                x = torch.relu(x) if self.relu else torch.tanh(x)
            x = torch.baddbmm(biases[:, None], x, weights.mT)
        outputs = x.transpose(0, 1).flatten(0, 1)
        return (outputs, parameters[0].repeat(x.shape[1], 1)) if self.extra else (outputs,)


class Workers(Actor):
    """The policy by which N workers act, each at its own parameters."""

    def __init__(self, policy: Policy, network: TrainableCopies) -> None:
        for name in ("parts", "discrete", "squash", "_part_ends"):
            setattr(self, name, getattr(policy, name))
        if not self.discrete:
            self.low, self.high, self.dtype = policy.low, policy.high, policy.dtype
        self._network = network

    @torch.no_grad()
    def outputs(self, observations: np.ndarray) -> np.ndarray:
        """As Actor.outputs; row i of `observations` is of worker i."""
        outputs, *log_std = self._network.outputs(self._network.copies, torch.from_numpy(observations))
        if log_std:
            self._numpy_log_std = log_std[0].numpy()
        return outputs.numpy()


class OwnCopies(TrainableCopies):
    """A network of which N workers learn a copy each: `vector`, with its Adam state, is the N copies in a row.

    The parameters of `module` are the mean of the copies as of the last `settle`.
    """

    copies: Tensor  # float32 [N, P], a view of `vector`

    def __init__(self, name: str, module: Any, loss: LossFunction) -> None:
        super().__init__(name, module, loss)
        self.shared = self.vector

    def spread(self, workers: int) -> None:
        """Give each of so many workers a copy of the module's parameters."""
        self.vector = self.shared.repeat(workers)
        self.copies = self.vector.view(workers, -1)
        self.mean, self.square = torch.zeros_like(self.vector), torch.zeros_like(self.vector)

    def module_with(self, vector: Tensor) -> Module:
        """The module at each worker's own parameters, which are those of `vector` [N · P]."""
        copies = vector.view(self.copies.shape)
        return lambda observations, *masks: self.module.of_outputs(*self.outputs(copies, observations), *masks)  # type: ignore

    def settle(self) -> None:
        """Let the module have the mean of the copies, taken as of a first one and differences from it.

        So the mean of equal copies is each of them, to the bit.
        """
        self.shared.copy_(self.copies[0] + (self.copies - self.copies[0]).mean(0))

    def load(self, state: Mapping[str, np.ndarray]) -> None:
        """As Parameters.load; every worker has these parameters then."""
        super().load(state)
        self.copies.copy_(self.shared.expand_as(self.copies))


class LearnerOfWorkers(Learner):
    """The on-policy learner with N workers: acting, Ψ_t and gradients are of their own parameters.

    What is done with the gradients is a subclass's. It is done in Torch, operation by operation; `compile` is not
    heeded. All steps of a rollout are one batch, learned from once: for other passes it is not known what a worker's
    own parameters are. `policy` and `critics` are what is evaluated and kept.
    """

    trainable = TrainableCopies

    def __init__(self, algorithm: Hooks, *arguments: Any, **options: Any) -> None:
        super().__init__(algorithm, *arguments, **options)
        self._compile = "never"
        self._actor = Workers(self.policy, cast(TrainableCopies, self.networks[POLICY]))

    @torch.no_grad()
    def _acted(self, batch: Batch) -> Distribution:
        network = self.networks[POLICY]
        distribution: Distribution = network.module_with(network.vector)(batch.observations, batch.action_masks)
        return distribution

    @torch.no_grad()
    def _add_values(self, rollout: Rollout, observations: np.ndarray) -> None:
        successors = self.normalizer(rollout.of_steps(rollout.next_observations))
        for name in self.critics:
            network = self.networks[key_of(name)]
            module = network.module_with(network.vector)
            values, next_values = (
                rollout.from_steps(module(torch.from_numpy(x)).numpy()) for x in (observations, successors)
            )
            next_values[rollout.terminated] = 0.0
            if name == VALUE:
                rollout.values, rollout.next_values = values, next_values
            else:
                rollout.critic_values[name], rollout.critic_next_values[name] = values, next_values


class AsynchronousLearner(LearnerOfWorkers):
    """The learner of workers that fall behind: their gradients are averaged into one step of the shared parameters.

    These are `policy` and `critics`.
    """

    def __init__(self, algorithm: Hooks, *arguments: Any, **options: Any) -> None:
        super().__init__(algorithm, *arguments, **options)
        self.lags = np.zeros(algorithm.num_envs, np.int64)  # [N], updates since each worker has copied
        for network in self._copied.values():
            network.copies = network.vector.repeat(algorithm.num_envs, 1)

    @property
    def _copied(self) -> dict[str, TrainableCopies]:
        return cast(dict[str, TrainableCopies], self.networks)

    def update(self, batch: Batch, progress: float) -> dict[str, float]:
        """As Learner.update, then some workers copy; the record has the mean lag of the gradients in updates."""
        record = super().update(batch, progress) | {"lag": float(self.lags.mean())}
        copied = cast(FallsBehind, self.algorithm).copied(self.rng)
        self.lags = np.where(copied, 0, self.lags + 1)
        for network in self._copied.values():
            network.copies[torch.from_numpy(copied)] = network.vector
        return record

    def snapshot(self) -> Snapshot:
        """As Learner.snapshot."""
        copies = {name: network.copies.numpy().copy() for name, network in self._copied.items()}
        return super().snapshot() | {"copies": copies, "lags": self.lags.copy()}

    def restore(self, snapshot: Snapshot) -> None:
        """As Learner.restore."""
        super().restore(snapshot)
        self.lags = snapshot["lags"].copy()
        for name, network in self._copied.items():
            network.copies.copy_(torch.from_numpy(snapshot["copies"][name]))


class ExchangingLearner(LearnerOfWorkers):
    """The learner of workers that learn: each copy takes steps of its own, then the workers exchange what they have.

    The algorithm's `gradients` and `step` get the N copies as one vector [N · P], whose loss is the mean over all steps
    of the batch. `policy` and `critics` are the mean of the copies.
    """

    trainable = OwnCopies

    def __init__(self, algorithm: Hooks, *arguments: Any, **options: Any) -> None:
        super().__init__(algorithm, *arguments, **options)
        self.updates = 0
        for network in self._own.values():
            network.spread(algorithm.num_envs)

    @property
    def _own(self) -> dict[str, OwnCopies]:
        return cast(dict[str, OwnCopies], self.networks)

    def update(self, batch: Batch, progress: float) -> dict[str, float]:
        """As Learner.update, then the workers exchange.

        The record has `rounds`, 1 where anything was sent and otherwise 0, and `megabytes_sent`, of all networks. The
        norm of a gradient in it is the root mean square over the workers.
        """
        record = super().update(batch, progress)
        self.updates += 1
        numbers = 0
        for network in self._own.values():
            copies, vectors = cast(Exchanges, self.algorithm).exchanged(network.copies.clone(), self.updates)
            network.copies.copy_(checked_tensor(copies, self.algorithm, "exchanged", network.copies.shape))
            network.settle()
            numbers += vectors * len(network.shared)
            record[f"{network.name}_gradient_norm"] /= math.sqrt(len(copies))
        return record | {"rounds": float(numbers > 0), "megabytes_sent": BYTES * numbers / 1e6}

    def snapshot(self) -> Snapshot:
        """As Learner.snapshot."""
        return super().snapshot() | {"updates": self.updates}

    def restore(self, snapshot: Snapshot) -> None:
        """As Learner.restore."""
        super().restore(snapshot)
        self.updates = snapshot["updates"]
        for network in self._own.values():
            network.settle()
