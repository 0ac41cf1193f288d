"""N environments stepped in one process, with true successor states and raw episode returns."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium.spaces import Discrete, MultiBinary, MultiDiscrete, Space
from gymnasium.spaces.utils import flatdim

from algorithms.core import envpool_backend
from algorithms.core.masks import MaskReader
from algorithms.core.spaces import action_parts, in_shape, row_writer, structure
from algorithms.core.task import (
    Backend,
    Task,
    Transition,
    UnsupportedTask,
    check_variants,
    make_env,
)


class Episode(NamedTuple):
    """A finished episode: the step it ended at (counted over all environments), its raw return and its length."""

    step: int
    return_: float
    length: int


def check_task(task: Task) -> None:
    """Raise UnsupportedTask, with a sentence, where VectorEnv could not step the task."""
    envs = [make_env(task, variant) for variant in range(len(task.variants) or 1)]
    _check_same_spaces(task, envs)
    for env in envs:
        env.close()
    if task.backend == "envpool":
        envpool_backend.check(task)


class VectorEnv:
    """Steps N environments, restarts each one when its episode ends, and counts steps and episodes.

    `observations` [N, D] are what the policy sees next. After the end of an episode that is the first observation of
    the new episode; the step that ended the old one returned the true successor. `action_masks` (bool [N, A], or None)
    are those of `observations`. `steps` counts every environment step. `backend` holds the environments.

    `episodes` lists every finished episode in the order of the ends. `episode_envs` and `episode_costs` are as long:
    the index of the environment, and the undiscounted sum of the costs (0 where the task reports none).
    `variants` (int64 [N]) is the variant of each environment: i mod K, and 0 where the task has no variants.

    Raises UnsupportedTask where the task cannot be made, or where it has more variants than `num_envs`.
    """

    def __init__(self, task: Task, num_envs: int, seed: np.random.SeedSequence) -> None:
        check_variants(task, num_envs)
        self.task = task
        self.num_envs = num_envs
        self.variants = np.arange(num_envs) % (len(task.variants) or 1)
        seeds = [int(child.generate_state(1)[0]) for child in seed.spawn(num_envs)]
        make_backend = envpool_backend.EnvPoolBackend if task.backend == "envpool" else GymnasiumBackend
        self.backend: Backend = make_backend(task, seeds)
        self.action_space = self.backend.action_space
        self.observation_size = self.backend.observation_size
        self.observations = self.backend.reset(np.arange(num_envs))
        self.steps = 0
        self.episodes: list[Episode] = []
        self.episode_envs: list[int] = []
        self.episode_costs: list[float] = []
        self._returns = np.zeros(num_envs)
        self._costs = np.zeros(num_envs)
        self._ticks = 0  # calls of step
        self._began = np.zeros(num_envs, np.int64)  # ticks before each environment's episode, and those it waited

    @property
    def action_masks(self) -> np.ndarray | None:
        """bool [N, A], True where an action is allowed now; None where the task has never masked."""
        return self.backend.action_masks

    def step(self, actions: np.ndarray, active: np.ndarray | None = None) -> Transition:
        """Step the environments where `active` (bool [N]; None: all), with `actions` [N, …] within their bounds.

        Raises UnsupportedTask where the task gives a reward that is not a number, an observation that is not in its
        space, an action mask that is none, or an info that cannot be used: a cost that is not a number, rewards of the
        parts that are missing or not as many as the parts.
        """
        transition = self.backend.step(actions, active)
        self._returns += transition.rewards
        if transition.costs is not None:
            self._costs += transition.costs
        if active is None:
            stepped = self.num_envs
            self.observations = transition.next_observations
        else:
            stepped = int(np.count_nonzero(active))
            self._began += ~active
            self.observations = np.where(active[:, None], transition.next_observations, self.observations)
        self._ticks += 1
        done = transition.terminated | transition.truncated
        if np.count_nonzero(done):
            order = np.arange(1, self.num_envs + 1) if active is None else active.cumsum()
            self._restart(done.nonzero()[0], self.steps + order)
        self.steps += stepped
        return transition

    def close(self) -> None:
        """Close every environment."""
        self.backend.close()

    def _restart(self, ended: np.ndarray, steps: np.ndarray) -> None:
        """List the episodes of the environments `ended`; `steps` [N] counts in the order of the environments."""
        for i in ended.tolist():
            self.episodes.append(Episode(int(steps[i]), float(self._returns[i]), int(self._ticks - self._began[i])))
            self.episode_envs.append(i)
            self.episode_costs.append(float(self._costs[i]))
        self.observations = self.observations.copy()  # it may be the transition's, which keeps the true successors
        self.observations[ended] = self.backend.reset(ended)
        self._returns[ended], self._costs[ended], self._began[ended] = 0.0, 0.0, self._ticks


class GymnasiumBackend:
    """N Gymnasium environments stepped in a plain loop; a Backend.

    Of an `info` it reads `action_mask` (of the next action, see `masks`; not looked at where an episode ends), `cost`
    (of this step; none: 0) and, where actions have K parts, `part_rewards` (K numbers: at every step, or never).
    """

    def __init__(self, task: Task, seeds: Sequence[int]) -> None:
        self.task_name = task.label
        self.envs = [make_env(task, i % (len(task.variants) or 1)) for i in range(len(seeds))]
        _check_same_spaces(task, self.envs)
        self.action_space: Space[Any] = self.envs[0].action_space
        self.parts = action_parts(self.action_space)
        self.observation_size: int = flatdim(self.envs[0].observation_space)
        self._write_row = row_writer(self.envs[0].observation_space)
        self._action_start = int(self.action_space.start) if isinstance(self.action_space, Discrete) else None
        self._shapes_actions = isinstance(self.action_space, MultiDiscrete | MultiBinary) or (
            self._action_start is None and len(self.action_space.shape or ()) != 1
        )
        self.action_masks: np.ndarray | None = None
        self._mask_readers = [MaskReader(task, env, i) for i, env in enumerate(self.envs)]
        self._masks = any(reader.method is not None for reader in self._mask_readers)  # or an info had a mask
        self._ticks = 0  # calls of step
        self._reports_costs = False  # whether any info had a cost until now
        self._reports_part_rewards: bool | None = None  # as the first info of a step did; None before that
        self._everyone = range(len(self.envs))
        self._seeds: list[int | None] = list(seeds)  # each is used once: later episodes continue its random numbers

    def reset(self, ids: np.ndarray) -> np.ndarray:
        """Begin an episode in the environments `ids` (int [k]); returns their first observations, float32 [k, D]."""
        observations = np.zeros((len(ids), self.observation_size), np.float32)
        for row, i in enumerate(ids.tolist()):
            observation, info = self.envs[i].reset(seed=self._seeds[i])
            self._seeds[i] = None
            if self._write_row is None:
                observations[row] = observation
            else:
                self._write(observation, observations[row])
            if self._masks or "action_mask" in info:
                self._allow(i, info)
        return observations

    def step(self, actions: np.ndarray, active: np.ndarray | None) -> Transition:
        """As Backend.step."""
        next_observations = np.zeros((len(self.envs), self.observation_size), np.float32)
        rewards = np.zeros(len(self.envs))
        terminated = np.zeros(len(self.envs), bool)
        truncated = np.zeros(len(self.envs), bool)
        costs = np.zeros(len(self.envs)) if self._reports_costs else None
        part_rewards = np.zeros((len(self.envs), len(self.parts))) if self.parts else None
        if self.action_masks is not None:
            self.action_masks = self.action_masks.copy()
        members = in_shape(self.action_space, actions) if self._shapes_actions else actions
        self._ticks += 1
        for i in self._everyone if active is None else active.nonzero()[0].tolist():
            action = members[i] if self._action_start is None else int(members[i]) + self._action_start
            observation, reward, terminated[i], truncated[i], info = self.envs[i].step(action)
            try:
                if reward is None or isinstance(reward, str):  # NumPy would read NaN, or the text as a number
                    raise TypeError
                rewards[i] = reward
            except (TypeError, ValueError):
                raise UnsupportedTask(
                    f"task {self.task_name!r} gives the reward {reward!r}, which is not a number"
                ) from None
            if self._write_row is None:
                next_observations[i] = observation
            else:
                self._write(observation, next_observations[i])
            masked = self._masks or (info and "action_mask" in info)
            if masked and not (terminated[i] or truncated[i]):
                self._allow(i, info)
            if info and "cost" in info:
                if costs is None:
                    costs, self._reports_costs = np.zeros(len(self.envs)), True
                costs[i] = self._cost(info["cost"])
            if part_rewards is not None:
                self._read_part_rewards(info, part_rewards[i])
        return Transition(
            next_observations,
            rewards,
            terminated,
            truncated,
            costs,
            part_rewards if self._reports_part_rewards else None,
        )

    def close(self) -> None:
        """Close every environment."""
        for env in self.envs:
            env.close()

    def _allow(self, i: int, info: Mapping[str, Any]) -> None:
        reader = self._mask_readers[i]
        mask = reader.read(info, self._ticks)
        if self.action_masks is None:
            if mask is None:
                return
            self.action_masks, self._masks = np.ones((len(self.envs), reader.width), bool), True
        self.action_masks[i] = True if mask is None else mask  # no mask now: everything is allowed

    def _write(self, observation: Any, row: np.ndarray) -> None:
        """Write an observation into `row` [D], which is zero."""
        assert self._write_row is not None
        try:
            self._write_row(observation, row)
        except Exception as error:  # whatever an observation of another kind makes `flatten` raise
            raise UnsupportedTask(
                f"task {self.task_name!r} gives the observation {observation!r}, which is not in its observation "
                f"space, {self.envs[0].observation_space}: {error}"
            ) from error

    def _cost(self, value: Any) -> float:
        """A step's cost; NaN and infinity pass, as they do in rewards: they end the run as diverged."""
        try:
            if isinstance(value, (str, bytes)):
                raise TypeError
            return float(value)
        except (TypeError, ValueError):
            raise UnsupportedTask(
                f"task {self.task_name!r} gives info['cost'] = {value!r}, which is not a number"
            ) from None

    def _read_part_rewards(self, info: Mapping[str, Any], row: np.ndarray) -> None:
        """Write info["part_rewards"] into `row` [K]."""
        given = "part_rewards" in info
        if self._reports_part_rewards is None:
            self._reports_part_rewards = given
        if given != self._reports_part_rewards:
            raise UnsupportedTask(
                f"task {self.task_name!r} gives info['part_rewards'] at some steps and not at others; "
                "it must give them at every step, or never"
            )
        if not given:
            return
        value = info["part_rewards"]
        try:
            rewards = np.asarray(value)
            if rewards.dtype.kind in "SU":  # text, which NumPy would read as numbers
                raise TypeError
            rewards = rewards.astype(np.float64, copy=False)
        except (TypeError, ValueError):
            rewards = np.empty(0)
        if rewards.shape == self.action_space.shape:
            rewards = rewards.ravel()
        if rewards.shape != row.shape:
            raise UnsupportedTask(
                f"task {self.task_name!r} gives info['part_rewards'] = {value!r}; "
                f"its actions have {len(row)} parts, so it must give {len(row)} numbers"
            )
        row[:] = rewards


def _check_same_spaces(task: Task, envs: Sequence[gymnasium.Env[Any, Any]]) -> None:
    """Raise UnsupportedTask where two variants have other actions, or observations of another kind or size."""
    if not task.variants:
        return

    def spaces(env: gymnasium.Env[Any, Any]) -> tuple[Any, ...]:
        return env.action_space, structure(env.observation_space)

    for i, env in enumerate(envs):
        if spaces(env) != spaces(envs[0]):
            first, other = (dict(task.variants[k % len(task.variants)]) for k in (0, i))
            raise UnsupportedTask(
                f"task {task.label!r} has variants with different spaces: {first} has actions in "
                f"{envs[0].action_space} and observations in {envs[0].observation_space}, {other} has "
                f"{env.action_space} and {env.observation_space}; one policy must serve all variants"
            )
