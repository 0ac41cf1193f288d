"""Parameters, optimisers and the two halves of an update: prepare a rollout's batch, then learn from it."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from gymnasium.spaces import Space
from torch import Tensor, nn
from torch.optim.adam import adam

from algorithms.core.algorithm import Algorithm, Batch
from algorithms.core.compiled import MachineCode
from algorithms.core.estimators import backward_sum
from algorithms.core.networks import SMALLEST_VARIANCE, Policy, RunningNormalizer, ValueFunction
from algorithms.core.rollout import Rollout
from algorithms.core.task import Task

ADAM_BETAS = (0.9, 0.999)
REWARD_DISCOUNT = 0.99  # of the discounted return whose deviation scales rewards, as in VecNormalize; the task's, not γ
REWARD_CLIP = 10.0
# Gradient steps, of all runs that share the compiled code, from which compiling repays: each of a network is 0.6 ms
# faster for it, and so many save what compiling takes once for all of these runs, some fifteen seconds.
STEPS_THAT_REPAY_COMPILING = 25_000


class InvalidCheckpoint(ValueError):
    """Arrays that are not those of this learner's networks."""


class RewardScaler:
    """Divides rewards by the running standard deviation of the discounted return (as VecNormalize), clipped at ±10."""

    def __init__(self, num_envs: int) -> None:
        self.statistics = RunningNormalizer(1)
        self._returns = np.zeros(num_envs)

    def update(self, rollout: Rollout) -> None:
        """Take a rollout into the statistics."""
        rewards = rollout.rewards.copy()
        rewards[0] += REWARD_DISCOUNT * self._returns
        discounts = np.zeros_like(rewards)
        discounts[1:] = REWARD_DISCOUNT * ~rollout.done[:-1]
        returns = backward_sum(rewards[::-1], discounts[::-1])[::-1]  # forward in time
        self._returns = returns[-1] * ~rollout.done[-1]
        self.statistics.update(returns[rollout.valid][:, None])

    def __call__(self, rewards: np.ndarray) -> np.ndarray:
        """Scaled rewards [...]."""
        scaled = rewards / np.sqrt(self.statistics.variance[0] + SMALLEST_VARIANCE)
        return np.clip(scaled, -REWARD_CLIP, REWARD_CLIP)


class Trainable:
    """A network's parameters as one vector [P], Adam's state of them, and the loss that they are to minimise.

    `loss(algorithm, module, batch)` returns the scalar to minimise and a dict of scalars to record.
    """

    def __init__(
        self,
        name: str,
        module: nn.Module,
        loss: Callable[[Algorithm, Callable, Batch], tuple[Tensor, dict[str, Tensor]]],
    ) -> None:
        self.name, self.module, self.loss = name, module, loss
        self.vector: Tensor = module.parameter_vector
        self.mean, self.square = torch.zeros_like(self.vector), torch.zeros_like(self.vector)
        self.step_count, self.learning_rate = torch.zeros(()), torch.zeros(())
        self._shapes = {name: p.shape for name, p in module.named_parameters()}

    def tensors(self) -> tuple[Tensor, ...]:
        """What a step reads and changes."""
        return self.vector, self.mean, self.square, self.step_count, self.learning_rate

    def module_with(self, vector: Tensor) -> Callable:
        """The module as a function of its inputs, with its parameters taken from `vector` [P]."""
        pieces = vector.split([shape.numel() for shape in self._shapes.values()])
        parameters = {n: x.view(shape) for (n, shape), x in zip(self._shapes.items(), pieces, strict=True)}
        return lambda *inputs: torch.func.functional_call(self.module, parameters, inputs)

    def state(self) -> dict[str, np.ndarray]:
        """The parameters by name."""
        return {name: p.detach().numpy().copy() for name, p in self.module.named_parameters()}

    def load(self, state: Mapping[str, np.ndarray]) -> None:
        """Take over parameters by name; those that act share their memory."""
        with torch.no_grad():
            for name, parameter in self.module.named_parameters():
                parameter.copy_(torch.from_numpy(state[name]))


class Optimizer:
    """Adam on networks that learn from the same minibatches, each with its own learning rate.

    Gradients are clipped by their norm: each network's own, or that of all together. On a batch of `compiled_size` the
    whole step (forward, gradients, clipping, Adam) runs as machine code, which is the same for all values of the
    algorithm's settings that are floats.
    """

    def __init__(
        self,
        networks: Sequence[Trainable],
        algorithm: Algorithm,
        epochs: int,
        minibatch_size: int | None,
        compiled_size: int | None,
    ) -> None:
        self.networks, self.epochs, self.minibatch_size = networks, epochs, minibatch_size
        self.recorded: tuple[str, ...] = ()
        self.code = MachineCode(
            f"{' and '.join(n.name for n in networks)} steps",
            partial(self._step, algorithm),
            compiled_size,
            general=lambda numbers, *tensors: self._step(algorithm.with_numbers(numbers), *tensors),
            numbers=algorithm.numbers(),
        )

    def step(self, batch: Batch) -> Tensor:
        """One gradient step; returns the scalars `recorded`: the losses', and the gradients' norms before clipping."""
        states = [tensor for network in self.networks for tensor in network.tensors()]
        return self.code(len(batch), *states, *batch.tensors())

    def _step(self, algorithm: Algorithm, *tensors: Tensor) -> Tensor:
        size = len(self.networks[0].tensors())
        states = [tensors[i * size : (i + 1) * size] for i in range(len(self.networks))]
        batch = Batch(*tensors[len(states) * size :])
        parameters = [vector.detach().requires_grad_() for vector, *_ in states]
        losses, record = [], {}
        for network, vector in zip(self.networks, parameters, strict=True):
            loss, scalars = network.loss(algorithm, network.module_with(vector), batch)
            losses.append(loss)
            record |= scalars
        gradients = torch.autograd.grad(losses, parameters)
        norms = [torch.linalg.vector_norm(gradient) for gradient in gradients]
        record |= {f"{n.name}_gradient_norm": norm for n, norm in zip(self.networks, norms, strict=True)}
        if algorithm.max_grad_norm is not None:
            if algorithm.clip_together:
                norms = [torch.linalg.vector_norm(torch.stack(norms))] * len(norms)
            scales = [torch.clamp(algorithm.max_grad_norm / (norm + 1e-6), max=1.0) for norm in norms]
            gradients = [gradient * scale for gradient, scale in zip(gradients, scales, strict=True)]
        with torch.no_grad():
            for (vector, mean, square, step_count, learning_rate), gradient in zip(states, gradients, strict=True):
                adam(
                    [vector],
                    [gradient],
                    [mean],
                    [square],
                    [],
                    [step_count],
                    foreach=False,
                    differentiable=True,  # computes with the step count as a tensor, which a compiler cannot know
                    amsgrad=False,
                    beta1=ADAM_BETAS[0],
                    beta2=ADAM_BETAS[1],
                    lr=learning_rate,
                    weight_decay=0.0,
                    eps=algorithm.adam_epsilon,
                    maximize=False,
                )
        self.recorded = tuple(record)
        return torch.stack([value.detach().float() for value in record.values()])


class Learner:
    """The networks, statistics and optimisers of one run.

    `compile` is "always", "never" or "auto": where the run is long enough to repay it. What cannot be compiled is run
    operation by operation, with a warning that gives the reason. `runs` is how many runs of this length will share the
    compiled code: the seeds of a grid's cell, the trials of a study.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        task: Task,
        observation_size: int,
        action_space: Space,
        *,
        initialisation: np.random.SeedSequence,
        minibatches: np.random.SeedSequence,
        steps: int = 0,
        compile: str = "never",
        runs: int = 5,
    ) -> None:
        self.algorithm, self.task = algorithm, task
        generator = torch.Generator().manual_seed(int(initialisation.generate_state(1)[0]))
        self.rng = np.random.default_rng(minibatches)
        self.policy = Policy(observation_size, action_space, task.action_bounds, generator)
        self.value_function = ValueFunction(observation_size, generator) if algorithm.value_function else None
        self.normalizer = RunningNormalizer(observation_size)
        self.reward_scaler = RewardScaler(algorithm.num_envs)
        a = algorithm
        self.networks = {"policy": Trainable("policy", self.policy, self._policy_loss)}
        passes = [(["policy"], a.epochs, a.minibatch_size)]
        if self.value_function is not None:
            self.networks["value_function"] = Trainable("value", self.value_function, self._value_loss)
            alone = (["value_function"], a.value_epochs or a.epochs, a.value_minibatch_size or a.minibatch_size)
            if alone[1:] == passes[0][1:] and a.target_kl is None:
                passes = [(["policy", "value_function"], *alone[1:])]
            else:
                passes.append(alone)
        self.optimizers = [
            Optimizer(
                [self.networks[name] for name in names],
                a,
                epochs,
                minibatch_size,
                self._compiled_size(minibatch_size, epochs, steps * runs, compile),
            )
            for names, epochs, minibatch_size in passes
        ]
        size = self._compiled_size(None, 1, steps * runs, compile)
        self._log_prob = MachineCode("log-probabilities", self._log_prob_with, size)

    @property
    def compiled(self) -> bool:
        """Whether gradient steps run as machine code."""
        return any(optimizer.code.compiled for optimizer in self.optimizers)

    @property
    def compiling_seconds(self) -> float:
        """Seconds that compiling, or loading what was compiled before, took until now."""
        return self._log_prob.seconds + sum(optimizer.code.seconds for optimizer in self.optimizers)

    def _compiled_size(self, minibatch_size: int | None, epochs: int, steps: int, compile: str) -> int | None:
        """The one batch size that is compiled, or None where compiling is not wanted or would not repay its cost.

        `steps` are environment steps, of all runs that share what is compiled.
        """
        a = self.algorithm
        rollout = None if a.whole_episodes else a.num_envs * a.rollout_length
        size = min(minibatch_size or math.inf, rollout or math.inf)
        if size == math.inf or compile == "never":
            return None
        repays = epochs * steps / size >= STEPS_THAT_REPAY_COMPILING
        return int(size) if repays or compile == "always" else None

    def prepare(self, rollout: Rollout) -> Batch:
        """Fill in the rollout's scaled rewards and values, and flatten its valid steps with their Ψ_t.

        Ψ and the log-probabilities are those of the parameters before the update.
        """
        if self.task.normalize_rewards:
            self.reward_scaler.update(rollout)
            rollout.rewards = self.reward_scaler(rollout.rewards)
        valid = rollout.valid
        observations = self.normalizer(rollout.observations[valid])
        rollout.values, rollout.next_values = np.zeros(valid.shape), np.zeros(valid.shape)
        if self.value_function is not None:
            rollout.values[valid] = self.value_function.values(observations)
            next_observations = self.normalizer(rollout.next_observations[valid])
            rollout.next_values[valid] = self.value_function.values(next_observations)
        batch = Batch.of(self.algorithm, rollout, observations, log_probs=torch.empty(0))
        batch.log_probs = self._log_probs(batch)
        return batch

    def update(self, batch: Batch, progress: float) -> dict[str, float]:
        """Learn from a batch; `progress` in [0, 1] is the share of the step budget that was used when it was collected.

        Returns means over the gradient steps. A value that is not finite says that the run has diverged.
        """
        a = self.algorithm
        rate = 1 - progress if a.anneal_learning_rate else 1.0
        rates = {"policy": a.policy_learning_rate, "value_function": a.value_learning_rate}
        for name, network in self.networks.items():
            network.learning_rate.fill_(rate * rates[name])
        result = {}
        for optimizer in self.optimizers:
            records = []
            for _ in range(optimizer.epochs):
                parts = batch.minibatches(optimizer.minibatch_size, self.rng)
                records += [optimizer.step(part) for part in parts]
                if a.target_kl is not None and optimizer is self.optimizers[0] and self.kl(batch) > a.target_kl:
                    break  # the policy's epochs; the critic's have an optimiser of their own
            means = torch.stack(records).mean(dim=0).tolist()
            result |= dict(zip(optimizer.recorded, means, strict=True))
        result["learning_rate"] = rate * a.policy_learning_rate
        return result

    def diagnose(self, batch: Batch) -> dict[str, float]:
        """What an update did, measured on its batch after it, and the spread of Ψ before any normalisation."""
        log_prob = self._log_probs(batch)
        targets, errors = batch.value_targets.numpy(), (batch.value_targets - batch.values).numpy()
        result = {
            "approx_kl": approximate_kl(log_prob, batch),
            "advantage_mean": float(batch.advantages.mean()),
            "advantage_std": float(batch.advantages.std(correction=0)),
            **{name: float(value) for name, value in self.algorithm.diagnostics(log_prob, batch).items()},
        }
        if self.value_function is not None and targets.var() > 0:
            result["explained_variance"] = float(1 - errors.var() / targets.var())
        return result

    def kl(self, batch: Batch) -> float:
        """KL of the current policy from the one that acted, estimated on the batch."""
        return approximate_kl(self._log_probs(batch), batch)

    def is_finite(self) -> bool:
        """Whether every parameter is a number."""
        return all(math.isfinite(float(network.vector.sum())) for network in self.networks.values())

    def observe(self, rollout: Rollout) -> None:
        """Take a rollout into the observation statistics; to be called after the update on it, not before."""
        if self.task.normalize_observations:
            self.normalizer.update(rollout.observations[rollout.valid])

    def state(self) -> dict[str, np.ndarray]:
        """Everything that acting and evaluating needs, as arrays by name: policy, critic, statistics."""
        parts = {name: network.state() for name, network in self.networks.items()}
        parts["observation_statistics"] = self.normalizer.state()
        parts["reward_statistics"] = self.reward_scaler.statistics.state()
        return {f"{part}/{name}": array for part, arrays in parts.items() for name, array in arrays.items()}

    def load(self, state: Mapping[str, np.ndarray]) -> None:
        """Take over policy, critic and statistics from what `state` gave.

        Raises InvalidCheckpoint, with a sentence, where that is of other networks or not finite.
        """
        expected = self.state()
        for name in [*expected, *state]:
            if name not in state or name not in expected:
                lacking = "the checkpoint" if name not in state else "this task's learner"
                raise InvalidCheckpoint(f"{lacking} has no {name!r}: it is of other networks")
            if state[name].shape != expected[name].shape:
                raise InvalidCheckpoint(
                    f"{name!r} of the checkpoint has the shape {state[name].shape}, not {expected[name].shape}: "
                    "it is of other networks"
                )
            if not (np.issubdtype(state[name].dtype, np.floating) and np.isfinite(state[name]).all()):
                raise InvalidCheckpoint(f"{name!r} of the checkpoint does not consist of finite numbers")
        parts: dict[str, dict[str, np.ndarray]] = {}
        for name, array in state.items():
            part, _, key = name.partition("/")
            parts.setdefault(part, {})[key] = array
        for name, network in self.networks.items():
            network.load(parts[name])
        self.normalizer.load(parts["observation_statistics"])
        self.reward_scaler.statistics.load(parts["reward_statistics"])

    def _log_probs(self, batch: Batch) -> Tensor:
        masks = [] if batch.action_masks is None else [batch.action_masks]
        return self._log_prob(len(batch), self.policy.parameter_vector, batch.actions, batch.observations, *masks)

    def _log_prob_with(self, vector: Tensor, actions: Tensor, *inputs: Tensor) -> Tensor:
        with torch.no_grad():
            return self.networks["policy"].module_with(vector)(*inputs).log_prob(actions)

    def _policy_loss(self, a: Algorithm, policy: Callable, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        if a.normalize_advantages:
            batch = batch.with_normalized_advantages()
        distribution = policy(batch.observations, batch.action_masks)
        loss = a.policy_loss(distribution.log_prob(batch.actions), batch)
        entropy = distribution.entropy().mean()
        without = self.algorithm.entropy_coefficient == 0  # a number here, where `a`'s may be a tensor
        objective = loss if without else loss - a.entropy_coefficient * entropy
        return objective, {"policy_loss": loss, "entropy": entropy}

    def _value_loss(self, a: Algorithm, value_function: Callable, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        loss = a.value_loss(value_function(batch.observations), batch)
        return loss, {"value_loss": loss}


def approximate_kl(log_prob: Tensor, batch: Batch) -> float:
    """KL(π_old ‖ π) on the batch: mean of (ρ − 1) − log ρ, which is never negative (Schulman, 2020)."""
    log_ratio = log_prob - batch.log_probs
    return float((torch.expm1(log_ratio) - log_ratio).mean())
