"""A learner whose N workers act and learn with copies of the parameters, which fall behind the shared ones.

Nothing runs at the same time: the algorithm's method `copied` says after every update which workers copy the shared
parameters, so a run is repeatable. Worker i is environment i.
"""

from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from .acting import Actor
from .batch import VALUE, Batch
from .fused import LossFunction, Module, Trainable
from .hooks import POLICY, Hooks
from .on_policy import Learner, key_of
from .policies import Policy
from .rollout import Rollout
from .task import Snapshot


class FallsBehind(Protocol):
    """What the learner asks of an algorithm beside the hooks."""

    def copied(self, rng: np.random.Generator) -> np.ndarray:
        """bool [N]: which workers copy the shared parameters before the next rollout."""


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


class AsynchronousLearner(Learner):
    """The on-policy learner with workers that fall behind: acting, Ψ_t and gradients are of their own parameters.

    The workers' gradients are averaged into one step of the shared parameters, which are `policy` and `critics` and are
    what is evaluated and kept. That is done in Torch, operation by operation; `compile` is not heeded. All steps of a
    rollout are one batch, learned from once: for other passes it is not known what a worker's own parameters are.
    """

    trainable = TrainableCopies

    def __init__(self, algorithm: Hooks, *arguments: Any, **options: Any) -> None:
        super().__init__(algorithm, *arguments, **options)
        self._compile = "never"
        self.lags = np.zeros(algorithm.num_envs, np.int64)  # [N], updates since each worker has copied
        for network in self._copied.values():
            network.copies = network.vector.repeat(algorithm.num_envs, 1)
        self._actor = Workers(self.policy, self._copied[POLICY])

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

    @torch.no_grad()
    def _acted(self, batch: Batch) -> Distribution:
        network = self._copied[POLICY]
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
