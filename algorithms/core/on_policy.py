"""The on-policy learner: a policy and perhaps a critic, updated on one rollout at a time."""

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from gymnasium.spaces import Space
from torch import Tensor

from algorithms.core.algorithm import Algorithm
from algorithms.core.batch import Batch, sum_over_parts
from algorithms.core.compiled import MachineCode
from algorithms.core.mlp import ValueFunction
from algorithms.core.normalizer import RunningNormalizer
from algorithms.core.optimizer import Optimizer, Trainable
from algorithms.core.policies import Policy
from algorithms.core.reward_scaler import RewardScaler
from algorithms.core.rollout import Rollout
from algorithms.core.task import Task

# Gradient steps, of all runs that share the compiled code, from which compiling repays: each of a network is 0.6 ms
# faster for it, and so many save what compiling takes once for all of these runs, some fifteen seconds.
STEPS_THAT_REPAY_COMPILING = 25_000


class InvalidCheckpoint(ValueError):
    """Arrays that are not those of this learner's networks."""


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
            if rollout.part_rewards is not None:
                rollout.part_rewards = self.reward_scaler(rollout.part_rewards)
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
        loss = sum_over_parts(a.policy_loss, distribution.log_prob(batch.actions), batch)
        entropy = distribution.entropy().mean()
        without = self.algorithm.entropy_coefficient == 0  # a number here, where `a`'s may be a tensor
        objective = loss if without else loss - a.entropy_coefficient * entropy
        return objective, {"policy_loss": loss, "entropy": entropy}

    def _value_loss(self, a: Algorithm, value_function: Callable, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        loss = a.value_loss(value_function(batch.observations), batch)
        return loss, {"value_loss": loss}


def approximate_kl(log_prob: Tensor, batch: Batch) -> float:
    """KL(π_old ‖ π) on the batch: mean of (ρ − 1) − log ρ, which is never negative (Schulman, 2020).

    Of actions with K parts, `log_prob` is [B, K], and the divergences of the parts are summed: they are independent.
    """
    log_ratio = log_prob - batch.log_probs
    divergence = torch.expm1(log_ratio) - log_ratio
    return float((divergence if divergence.ndim == 1 else divergence.sum(1)).mean())
