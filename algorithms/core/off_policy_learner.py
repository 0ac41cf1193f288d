"""The off-policy learner: a policy and its critics, updated on transitions of a replay."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Space

from .acting import NoisyActor
from .algorithm import InvalidSetting
from .bounded_policy import BoundedPolicy
from .compiled import STEPS_THAT_REPAY_COMPILING, check_compile
from .fused_off_policy import FusedOffPolicyUpdate
from .hook_checks import RECORDED, checked_diagnostics
from .hooks import next_algorithm
from .learner_state import LEARNED, STATISTICS, check_code, checked_parts
from .normalizer import RunningNormalizer
from .off_policy_hooks import OffPolicyHooks
from .off_policy_update import Networks, Noise, OffPolicyUpdate
from .replay import Replay, Transitions
from .reward_scaler import RewardScaler
from .rollout import Rollout
from .run import means
from .task import CannotResume, Snapshot, Task

LARGEST_KEPT = 2**29  # bytes of a replay that is kept while a training goes on; larger ones would take too long
OF_STEPS = ("critic_loss", "value_mean", "policy_loss", "entropy")  # what gradient steps record


class Explorer(NoisyActor):
    """Acts while the replay is filled: uniformly at random at first, then by the policy, with noise added.

    Of a deterministic policy the noise is Gaussian with the deviation `noise`, in the units of actions in [−1, 1].
    """

    def __init__(self, policy: BoundedPolicy, noise: float, *, random: bool) -> None:
        super().__init__(policy, noise)
        self.action_size, self.random = policy.action_size, random

    def act(
        self,
        observations: np.ndarray,
        rng: np.random.Generator,
        action_masks: np.ndarray | None = None,
        *,
        mode: bool = False,
    ) -> np.ndarray:
        """Actions in [−1, 1], float32 [N, A]."""
        if self.random:
            return rng.uniform(-1, 1, (len(observations), self.action_size)).astype(np.float32)
        if self.noise == 0:
            return self.actor.act(observations, rng, mode=mode)
        actions = super().act(observations, rng, mode=mode)
        np.minimum(np.maximum(actions, -1.0, out=actions), 1.0, out=actions)
        return actions


class OffPolicyLearner:
    """The networks, statistics and replay of one run; the arguments are those of `on_policy.Learner`.

    Observations and rewards are in the replay as the task gives them, rewards times its `reward_scale`. Where the task
    says that they are normalised, that is done when they are sampled, with the statistics of that time.

    Raises UnsupportedTask and InvalidSetting, with a sentence, where the algorithm's `task_problem` and
    `budget_problem` have found one.
    """

    def __init__(
        self,
        algorithm: OffPolicyHooks,
        task: Task,
        observation_size: int,
        action_space: Space[Any],
        *,
        initialisation: np.random.SeedSequence,
        minibatches: np.random.SeedSequence,
        steps: int,
        compile: str = "never",
        runs: int = 5,
    ) -> None:
        check_compile(compile)
        algorithm.check_actions(task, action_space)
        if (problem := algorithm.budget_problem(steps)) is not None:
            raise InvalidSetting(problem)
        self.algorithm, self.task = algorithm, task
        generator = torch.Generator().manual_seed(int(initialisation.generate_state(1)[0]))
        self.networks = Networks(algorithm, observation_size, action_space, generator)
        self.policy = self.networks.policy
        self.behaviour = Explorer(self.policy, algorithm.exploration_noise, random=algorithm.learning_starts > 0)
        self.normalizer = RunningNormalizer(observation_size)
        self.reward_scaler = RewardScaler(algorithm.num_envs)
        per_update = algorithm.num_envs * algorithm.rollout_length
        longest = math.ceil(steps / per_update) * per_update  # the last rollout may go beyond the budget
        self.replay = Replay(min(algorithm.buffer_size, longest), observation_size, self.policy.action_size)
        updates = runs * (steps - algorithm.learning_starts) / per_update
        repays = updates * algorithm.gradient_steps >= STEPS_THAT_REPAY_COMPILING
        fused = compile == "always" or (compile == "auto" and repays)
        self.update_of = FusedOffPolicyUpdate(self.networks) if fused else OffPolicyUpdate(self.networks)
        self._expects_code: list[bool] | None = None  # of the learner as which this one goes on
        self.rng = np.random.default_rng(minibatches)
        self._gradient_steps = 0  # since the beginning of the run
        self._needs_next_noise = algorithm.stochastic or algorithm.overrides("target_actions")

    @property
    def compiled(self) -> bool:
        """Whether gradient steps run as machine code."""
        return self.update_of.compiled

    @property
    def compiling_seconds(self) -> float:
        """The seconds spent until now on compiling, or on loading code that was compiled before."""
        return self.update_of.seconds

    @property
    def adapts(self) -> bool:
        """False: `after_update` is called in `update`, after every gradient step."""
        return False

    def adapt(self, record: Mapping[str, float]) -> None:
        """Nothing, since `adapts` is False."""

    def prepare(self, rollout: Rollout, *, diagnosed: bool = True) -> Replay:
        """Add the rollout to the replay, with rewards times the task's `reward_scale`, and return that."""
        if self.task.reward_scale != 1:
            rollout.rewards = rollout.rewards * self.task.reward_scale
        if self.task.normalize_rewards:
            self.reward_scaler.update(rollout)
        self.replay.add(rollout)
        self.behaviour.random = self.replay.added < self.algorithm.learning_starts
        return self.replay

    def update(self, replay: Replay, progress: float) -> dict[str, float]:
        """Take the gradient steps of an update; none, and an empty record, before learning starts.

        `progress`, in [0, 1], is the share of the step budget that was used before the rollout. Returns means over the
        gradient steps, by name. What a step does not have, since it left the policy as it was, is not in its mean.
        """
        if self.behaviour.random:
            return {}
        a = self.algorithm
        rate = 1 - progress if a.anneal_learning_rate else 1.0
        self.networks.set_learning_rates(rate * a.policy_learning_rate, rate * a.value_learning_rate)
        records = [self._gradient_step(replay) for _ in range(a.gradient_steps)]
        if self._expects_code is not None:
            check_code(self._expects_code, [self.compiled])
            self._expects_code = None
        result = records[0] if len(records) == 1 else means(records)
        self.behaviour.noise = np.float32(self.algorithm.exploration_noise)
        result["learning_rate"] = rate * a.policy_learning_rate
        return result

    def _gradient_step(self, replay: Replay) -> dict[str, float]:
        a = self.algorithm
        batch = self._normalized(replay.sample(a.batch_size, self.rng))
        noise = Noise(
            self._noise(a.batch_size) if self._needs_next_noise else None,
            self._noise(a.batch_size) if a.stochastic else None,
        )
        self._gradient_steps += 1
        moves_policy = self._gradient_steps % a.policy_delay == 0
        record = self.update_of.step(a, batch, noise, moves_policy=moves_policy)
        self.algorithm = next_algorithm(a, record | {"action_size": float(self.policy.action_size)})
        return record

    def _normalized(self, batch: Transitions) -> Transitions:
        """A batch as the task says that observations and rewards are learned from."""
        if self.task.normalize_observations:
            states, successors = (
                torch.from_numpy(self.normalizer(x.numpy())) for x in (batch.observations, batch.next_observations)
            )
            batch = batch._replace(observations=states, next_observations=successors)
        if self.task.normalize_rewards:
            rewards = self.reward_scaler(batch.rewards.numpy())
            batch = batch._replace(rewards=torch.from_numpy(rewards.astype(np.float32)))
        return batch

    def _noise(self, rows: int) -> torch.Tensor:
        return torch.from_numpy(self.rng.standard_normal((rows, self.policy.action_size), np.float32))

    def diagnose(self, replay: Replay) -> dict[str, float]:
        """The algorithm's own diagnostics after the update."""
        return checked_diagnostics(self.algorithm.diagnostics(), self.algorithm, {*RECORDED, *OF_STEPS})

    def is_finite(self) -> bool:
        """Whether every parameter of policy and critics is finite."""
        return all(
            math.isfinite(float(network.vector.sum()))
            for network in (self.networks.of_policy, *self.networks.of_critics)
        )

    def observe(self, rollout: Rollout) -> None:
        """Add a rollout to the observation statistics; to be called after the update that it belongs to."""
        if self.task.normalize_observations:
            self.normalizer.update(rollout.of_steps(rollout.observations))

    def state(self) -> dict[str, np.ndarray]:
        """All that acting, evaluating and looking at the critics needs: parameters of all networks, and statistics."""
        parts = {network.name: network.state() for network in self.networks.all()}
        parts |= dict(zip(STATISTICS, (self.normalizer.state(), self.reward_scaler.statistics.state()), strict=True))
        return {f"{part}/{name}": array for part, arrays in parts.items() for name, array in arrays.items()}

    def load(self, state: Mapping[str, np.ndarray]) -> None:
        """Replace networks and statistics by the arrays of `state`, which the method `state` returned.

        Raises InvalidCheckpoint, with a sentence, where the arrays are of other networks or not finite.
        """
        parts = checked_parts(state, self.state())
        for network in self.networks.all():
            network.load(parts[network.name])
        self.normalizer.load(parts[STATISTICS[0]])
        self.reward_scaler.statistics.load(parts[STATISTICS[1]])

    def snapshot(self) -> Snapshot:
        """All that later updates depend on. Raises CannotResume where the replay is too large to be kept."""
        if self.replay.rows[: len(self.replay)].nbytes > LARGEST_KEPT:
            raise CannotResume(
                f"the replay has {len(self.replay):,} transitions of {self.replay.rows[0].nbytes:,} bytes, and at most "
                f"{LARGEST_KEPT:,} bytes are kept; a smaller buffer_size can be"
            )
        tensors = {
            network.name: dict(zip(LEARNED, (x.numpy().copy() for x in network.tensors()), strict=False))
            for network in self.networks.all()
        }
        return {
            "networks": tensors,
            "observation_statistics": self.normalizer.state(),
            "reward_scaler": self.reward_scaler.snapshot(),
            "replay": self.replay.snapshot(),
            "minibatches": self.rng.bit_generator.state,
            "numbers": self.algorithm.numbers().numpy().copy(),
            "gradient_steps": self._gradient_steps,
            "have_code": [self.compiled],
        }

    def restore(self, snapshot: Snapshot) -> None:
        """Go on as the learner whose `snapshot` this is; this one was made with the same arguments.

        The first gradient step raises CannotResume where machine code cannot be had that the other learner had.
        """
        with torch.no_grad():
            for network in self.networks.all():
                for of, tensor in zip(LEARNED, network.tensors(), strict=False):
                    tensor.copy_(torch.from_numpy(snapshot["networks"][network.name][of]))
        self.normalizer.load(snapshot["observation_statistics"])
        self.reward_scaler.restore(snapshot["reward_scaler"])
        self.replay.restore(snapshot["replay"])
        self.behaviour.random = self.replay.added < self.algorithm.learning_starts
        self.rng.bit_generator.state = snapshot["minibatches"]
        floats = [f.name for f in dataclasses.fields(self.algorithm) if type(getattr(self.algorithm, f.name)) is float]
        self.algorithm = self.algorithm.changed(**dict(zip(floats, snapshot["numbers"].tolist(), strict=True)))
        self._gradient_steps = snapshot["gradient_steps"]
        if self._gradient_steps:
            self._expects_code = snapshot["have_code"]
