"""N environments stepped in one process, with true successor states and raw episode returns."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete, Space

from algorithms.core import envpool_backend
from algorithms.core.task import (
    Backend,
    Task,
    Transition,
    UnsupportedTask,
    action_parts,
    check_variants,
    close,
    make_env,
    time_limit_of,
)


class _Episode(NamedTuple):
    step: int
    return_: float
    length: int
    start: int


class Episode(_Episode):
    """An episode: the step it ended at, its raw return, its length, and how many steps were taken before its first.

    `step` and `start` count the steps of all environments; `length` counts the episode's own. Without a `start` it is
    `step` − `length`, as it is where a single environment is stepped.
    """

    __slots__ = ()

    def __new__(cls, step: int, return_: float, length: int, start: int | None = None) -> "Episode":
        """As above."""
        return super().__new__(cls, step, return_, length, max(step - length, 0) if start is None else start)


def check_task(task: Task) -> None:
    """Raise UnsupportedTask, with a sentence, where VectorEnv could not step the task."""
    envs = [make_env(task, variant) for variant in range(len(task.variants) or 1)]
    _check_same_spaces(task, envs)
    for env in envs:
        close(env)
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
    `cut` (bool [N]) says in which environments the last step was an episode's last because of `limit_episodes`.

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
        self.longest: int | None = None  # see limit_episodes
        self.cut = np.zeros(num_envs, bool)
        self._starts = [0] * num_envs  # steps of all environments before the first of each one's episode
        self._unstepped = list(range(num_envs))  # the environments whose episode has no step yet
        self._returns = np.zeros(num_envs)
        self._costs = np.zeros(num_envs)
        self._ticks = 0  # calls of step
        self._began = np.zeros(num_envs, np.int64)  # ticks before each environment's episode, and those it waited

    @property
    def action_masks(self) -> np.ndarray | None:
        """bool [N, A], True where an action is allowed now; None where the task has never masked."""
        return self.backend.action_masks

    def limit_episodes(self, longest: int | None) -> None:
        """From now on truncate episodes after `longest` steps (None: never), unless the task has its own time limit."""
        self.longest = longest if self.backend.time_limit is None else None

    def open_episodes(self) -> dict[int, Episode]:
        """The episodes that have begun and not ended, by environment, with what they have until now."""
        return {i: self._episode(i, self.steps) for i in range(self.num_envs) if i not in self._unstepped}

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
        if self._unstepped:
            self._begin(active)
        self._ticks += 1
        if self.longest is not None:
            too_long = self._ticks - self._began >= self.longest
            self.cut = too_long & ~(transition.terminated | transition.truncated)
            if active is not None:
                self.cut &= active
            transition = transition._replace(truncated=transition.truncated | self.cut)
        done = transition.terminated | transition.truncated
        if np.count_nonzero(done):
            order = np.arange(1, self.num_envs + 1) if active is None else active.cumsum()
            self._restart(done.nonzero()[0], self.steps + order)
        self.steps += stepped
        return transition

    def close(self) -> None:
        """Close every environment."""
        self.backend.close()

    def _begin(self, active: np.ndarray | None) -> None:
        """Note where the episodes begin whose first step is this one."""
        for i in self._unstepped:
            if active is None:
                self._starts[i] = self.steps + i
            elif active[i]:
                self._starts[i] = self.steps + int(np.count_nonzero(active[:i]))
        self._unstepped = [] if active is None else [i for i in self._unstepped if not active[i]]

    def _episode(self, i: int, step: int) -> Episode:
        """The episode of environment i, with `step` as its end."""
        return Episode._make((step, float(self._returns[i]), int(self._ticks - self._began[i]), self._starts[i]))

    def _restart(self, ended: np.ndarray, steps: np.ndarray) -> None:
        """List the episodes of the environments `ended`; `steps` [N] counts in the order of the environments."""
        for i in ended.tolist():
            self.episodes.append(self._episode(i, int(steps[i])))
            self.episode_envs.append(i)
            self.episode_costs.append(float(self._costs[i]))
        self.observations = self.observations.copy()  # it may be the transition's, which keeps the true successors
        self.observations[ended] = self.backend.reset(ended)
        self._returns[ended], self._costs[ended], self._began[ended] = 0.0, 0.0, self._ticks
        self._unstepped += ended.tolist()


class GymnasiumBackend:
    """N Gymnasium environments stepped in a plain loop; a Backend.

    Of an `info` it reads `action_mask` (of the next action; none: everything is allowed), `cost` (of this step; none:
    0) and, where actions have K parts, `part_rewards` (K numbers: at every step, or never).
    """

    def __init__(self, task: Task, seeds: Sequence[int]) -> None:
        self.task_id = task.id
        self.envs = [make_env(task, i % (len(task.variants) or 1)) for i in range(len(seeds))]
        _check_same_spaces(task, self.envs)
        self.time_limit = time_limit_of(self.envs[0])
        self.action_space: Space[Any] = self.envs[0].action_space
        self.parts = action_parts(self.action_space)
        space: Any = self.envs[0].observation_space
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
            observation, info = self.envs[i].reset(seed=self._seeds[i])
            self._seeds[i] = None
            observations[row] = self._one_hot[int(observation)] if self._one_hot else observation
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
        if self._part_starts is not None:
            actions = actions + self._part_starts
        for i in self._everyone if active is None else active.nonzero()[0].tolist():
            action = actions[i] if self._action_start is None else int(actions[i]) + self._action_start
            observation, reward, terminated[i], truncated[i], info = self.envs[i].step(action)
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
            close(env)

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


def _check_same_spaces(task: Task, envs: Sequence[gymnasium.Env[Any, Any]]) -> None:
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
