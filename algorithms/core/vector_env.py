"""N environments stepped in one process, with true successor states and raw episode returns."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiDiscrete, Space

from algorithms.core import envpool_backend
from algorithms.core.interface import check_reset, check_step, explain
from algorithms.core.task import (
    Backend,
    Task,
    Transition,
    UnsupportedTask,
    action_parts,
    check_variants,
    make_env,
)


class Episode(NamedTuple):
    """A finished episode: the step it ended at (counted over all environments), its raw return and its length."""

    step: int
    return_: float
    length: int


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

        Raises UnsupportedTask where the task gives a reward that is not a number, or an info that cannot be used: a
        cost that is not a number, rewards of the parts that are missing or not as many as the parts, an action mask for
        a Box.
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

    Of an `info` it reads `action_mask` (of the next action; none: everything is allowed), `cost` (of this step; none:
    0) and, where actions have K parts, `part_rewards` (K numbers: at every step, or never).
    """

    def __init__(self, task: Task, seeds: Sequence[int]) -> None:
        self.task_id = task.id
        self.envs = [make_env(task, i % (len(task.variants) or 1)) for i in range(len(seeds))]
        check_same_spaces(task, self.envs)
        self.action_space: Space[Any] = self.envs[0].action_space
        self.parts = action_parts(self.action_space)
        space: Any = self.envs[0].observation_space
        self.observation_space: Space[Any] = space
        self._box_shape = space.shape if isinstance(space, Box) else None  # another would fill a row all the same
        self._untried = True  # whether no step was taken yet; what the first ones return is looked at closely
        self._returned: Any = None  # by the latest step
        self._one_hot: dict[int, np.ndarray] | None = None
        if isinstance(space, Discrete):
            self._one_hot = dict(enumerate(np.eye(int(space.n), dtype=np.float32), start=int(space.start)))
        self.observation_size: int = len(self._one_hot) if self._one_hot else space.shape[0]
        self._action_start = int(self.action_space.start) if isinstance(self.action_space, Discrete) else None
        self._part_starts = self.action_space.start if isinstance(self.action_space, MultiDiscrete) else None
        self.action_masks: np.ndarray | None = None
        self._reports_costs = False  # whether any info had a cost until now
        self._reports_part_rewards: bool | None = None  # as the first info of a step did; None before that
        self._everyone = range(len(self.envs))
        self._seeds: list[int | None] = list(seeds)  # each is used once: later episodes continue its random numbers

    def reset(self, ids: np.ndarray) -> np.ndarray:
        """Begin an episode in the environments `ids` (int [k]); returns their first observations, float32 [k, D]."""
        observations = np.empty((len(ids), self.observation_size), np.float32)
        for row, i in enumerate(ids.tolist()):
            try:
                returned = self.envs[i].reset(seed=self._seeds[i])
            except Exception as error:
                explain(self.task_id, self.envs[i], error)
                raise
            if (
                self._seeds[i] is not None
                or type(returned) is not tuple
                or (self._box_shape and getattr(returned[0], "shape", None) != self._box_shape)
            ):
                check_reset(self.task_id, self.observation_space, returned)
            observation, info = returned
            self._seeds[i] = None
            observations[row] = self._one_hot[int(observation)] if self._one_hot else observation
            self._allow(i, info)
        return observations

    def step(self, actions: np.ndarray, active: np.ndarray | None) -> Transition:
        """As Backend.step.

        Raises UnsupportedTask where an environment returns what cannot be used, such as an observation of another
        shape than it declares.
        """
        try:
            transition = self._step(actions, active)
        except UnsupportedTask:
            raise
        except Exception as error:
            if not self._untried:
                check_step(self.task_id, self.observation_space, self._returned)
            explain(self.task_id, self.envs[0], error)
            raise
        self._untried = False
        return transition

    def _step(self, actions: np.ndarray, active: np.ndarray | None) -> Transition:
        next_observations = np.zeros((len(self.envs), self.observation_size), np.float32)
        rewards = np.zeros(len(self.envs))
        terminated = np.zeros(len(self.envs), bool)
        truncated = np.zeros(len(self.envs), bool)
        costs = np.zeros(len(self.envs)) if self._reports_costs else None
        part_rewards = np.zeros((len(self.envs), len(self.parts))) if self.parts else None
        if self.action_masks is not None:
            self.action_masks = self.action_masks.copy()
        if self._part_starts is not None:
            actions = actions + self._part_starts
        untried, shape = self._untried, self._box_shape
        for i in self._everyone if active is None else active.nonzero()[0].tolist():
            action = actions[i] if self._action_start is None else int(actions[i]) + self._action_start
            self._returned = returned = self.envs[i].step(action)
            if untried or (shape and getattr(returned[0], "shape", None) != shape):
                check_step(self.task_id, self.observation_space, returned)
            observation, reward, terminated[i], truncated[i], info = returned
            try:
                if reward is None or isinstance(reward, str):  # NumPy would read NaN, or the text as a number
                    raise TypeError
                rewards[i] = reward
            except (TypeError, ValueError):
                raise UnsupportedTask(
                    f"task {self.task_id!r} gives the reward {reward!r}, which is not a number"
                ) from None
            next_observations[i] = self._one_hot[int(observation)] if self._one_hot else observation
            if info or self.action_masks is not None:
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
        mask = info.get("action_mask")
        if self.action_masks is None:
            if mask is None:
                return
            self.action_masks = np.ones((len(self.envs), self._choices()), bool)
        if mask is not None and self.parts and isinstance(mask, (tuple, list)):
            mask = np.concatenate(mask)  # one mask for each part, as MultiDiscrete.sample takes them
        self.action_masks[i] = True if mask is None else mask  # no mask now: everything is allowed

    def _choices(self) -> int:
        """The width of an action mask: all choices, those of the first part first."""
        if self.parts:
            return sum(self.parts)
        if isinstance(self.action_space, Discrete):
            return int(self.action_space.n)
        raise UnsupportedTask(
            f"task {self.task_id!r} gives info['action_mask'], but its actions are in {self.action_space}; "
            "only actions in Discrete or MultiDiscrete can be masked"
        )

    def _cost(self, value: Any) -> float:
        """A step's cost; NaN and infinity pass, as they do in rewards: they end the run as diverged."""
        try:
            if isinstance(value, (str, bytes)):
                raise TypeError
            return float(value)
        except (TypeError, ValueError):
            raise UnsupportedTask(
                f"task {self.task_id!r} gives info['cost'] = {value!r}, which is not a number"
            ) from None

    def _read_part_rewards(self, info: Mapping[str, Any], row: np.ndarray) -> None:
        """Write info["part_rewards"] into `row` [K]."""
        given = "part_rewards" in info
        if self._reports_part_rewards is None:
            self._reports_part_rewards = given
        if given != self._reports_part_rewards:
            raise UnsupportedTask(
                f"task {self.task_id!r} gives info['part_rewards'] at some steps and not at others; "
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
        if rewards.shape != row.shape:
            raise UnsupportedTask(
                f"task {self.task_id!r} gives info['part_rewards'] = {value!r}; "
                f"its actions have {len(row)} parts, so it must give {len(row)} numbers"
            )
        row[:] = rewards


def check_same_spaces(task: Task, envs: Sequence[gymnasium.Env[Any, Any]]) -> None:
    """Raise UnsupportedTask where two variants have other actions, or observations of another kind or size."""
    if not task.variants:
        return

    def spaces(env: gymnasium.Env[Any, Any]) -> tuple[Any, ...]:
        observations = env.observation_space
        return env.action_space, observations if isinstance(observations, Discrete) else observations.shape

    for i, env in enumerate(envs):
        if spaces(env) != spaces(envs[0]):
            first, other = (dict(task.variants[k % len(task.variants)]) for k in (0, i))
            raise UnsupportedTask(
                f"task {task.id!r} has variants with different spaces: {first} has actions in {envs[0].action_space} "
                f"and observations in {envs[0].observation_space}, {other} has {env.action_space} and "
                f"{env.observation_space}; one policy must serve all variants"
            )
