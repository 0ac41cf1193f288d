"""N environments stepped in one process, with true successor states and raw episode returns."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Discrete, MultiBinary, MultiDiscrete, Space
from gymnasium.spaces.utils import flatdim

from algorithms.core import envpool_backend
from algorithms.core.finite import SUM_OF_SQUARES, first_unusable, sum_of_squares, unusable, unusable_observation
from algorithms.core.interface import check_observation, check_reset, check_step, explain, shown
from algorithms.core.masks import MaskReader
from algorithms.core.seeding import seed_global_generators, seed_spaces
from algorithms.core.spaces import action_parts, in_shape, row_writer
from algorithms.core.task import (
    Backend,
    StoppedByTask,
    Task,
    Transition,
    UnsupportedTask,
    check_variants,
    close,
    make_envs,
    time_limit_of,
)

_NOTHING_YET = object()  # in place of what a step returns


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


class VectorEnv:
    """Steps N environments, restarts each one when its episode ends, and counts steps and episodes.

    `observations` [N, D] are what the policy sees next. After the end of an episode that is the first observation of
    the new episode; the step that ended the old one returned the true successor. `action_masks` (bool [N, A], or None)
    are those of `observations`. `steps` counts every environment step. `backend` holds the environments.

    `episodes` lists every finished episode in the order of the ends. `episode_envs` and `episode_costs` are as long:
    the index of the environment, and the undiscounted sum of the costs (0 where the task reports none).
    `variants` (int64 [N]) is the variant of each environment: i mod K, and 0 where the task has no variants.
    `cut` (bool [N]) says in which environments the last step was an episode's last because of `limit_episodes`.

    `seed` gives the seeds of the environments, and those of the global generators (`seeding`), which are seeded before
    the environments are made.

    Raises UnsupportedTask where the task cannot be made, or where it has more variants than `num_envs`.
    """

    def __init__(self, task: Task, num_envs: int, seed: np.random.SeedSequence) -> None:
        check_variants(task, num_envs)
        self.task = task
        self.num_envs = num_envs
        self.variants = np.arange(num_envs) % (len(task.variants) or 1)
        *of_envs, of_global_generators = seed.spawn(num_envs + 1)
        seed_global_generators(of_global_generators)
        seeds = [int(child.generate_state(1)[0]) for child in of_envs]
        make_backend = envpool_backend.EnvPoolBackend if task.backend == "envpool" else GymnasiumBackend
        self.backend: Backend = make_backend(task, seeds)
        self.action_space = self.backend.action_space
        self.observation_size = self.backend.observation_size
        self._zeros = np.zeros(num_envs * self.observation_size, np.float32)
        self._stopped: StoppedByTask | None = None  # what the next step raises: a reset's observation is not finite
        self.steps = 0
        try:
            self.observations = self._reset(np.arange(num_envs), np.zeros(num_envs, np.int64))
        except BaseException:
            self.close()  # for there is nothing yet that whoever asked for it could close
            raise
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

        Raises UnsupportedTask where the task gives a reward that is not a number, an observation that is not in its
        space, an action mask that is none, or an info that cannot be used: a cost that is not a number, rewards of the
        parts that are missing or not as many as the parts.

        Raises StoppedByTask where a number cannot be learned from (`finite`): a reward, cost or observation of this
        step, the sum of an episode's rewards or costs until now, or an observation of a reset before this step. `steps`
        is then that of the number. An observation after a terminal state is not looked at: one that is not finite is
        returned as zeros.
        """
        if self._stopped is not None:
            raise self._stopped
        transition = self.backend.step(actions, active)
        self._returns += transition.rewards
        if transition.costs is not None:
            self._costs += transition.costs
        if not (
            self._returns.dot(self._returns) < SUM_OF_SQUARES  # no call of a function: this is every step
            and transition.next_observations.ravel().dot(self._zeros) == 0  # 0 · NaN and 0 · inf are NaN
            and (transition.costs is None or sum_of_squares(self._costs) < SUM_OF_SQUARES)
            and (transition.part_rewards is None or sum_of_squares(transition.part_rewards) < SUM_OF_SQUARES)
        ):
            self._check_numbers(transition, active)
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
            self._restart(done.nonzero()[0], self._steps_of_each(active))
        self.steps += stepped
        return transition

    def close(self) -> None:
        """Close every environment."""
        self.backend.close()

    def _steps_of_each(self, active: np.ndarray | None) -> np.ndarray:
        """int [N]: the number of the step that each environment takes in this call."""
        return np.asarray(self.steps + (np.arange(1, self.num_envs + 1) if active is None else active.cumsum()))

    def _check_numbers(self, transition: Transition, active: np.ndarray | None) -> None:
        """As `step` says of numbers that cannot be learned from."""
        after = transition.next_observations
        after[transition.terminated & unusable(after).any(axis=1)] = 0.0
        if found := first_unusable(transition, self._returns, self._costs):
            i, what = found
            self.steps = int(self._steps_of_each(active)[i])
            raise StoppedByTask(self.task.label, self.steps, what)

    def _reset(self, ids: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Begin an episode in the environments `ids` (int [k]), after `steps` [N]; returns float32 [k, D]."""
        observations = self.backend.reset(ids)
        if observations.ravel().dot(self._zeros[: observations.size]) != 0 and self._stopped is None:  # as in step
            found = unusable_observation(observations)
            assert found is not None  # only 0 · NaN and 0 · inf are not 0
            row, what = found
            self._stopped = StoppedByTask(self.task.label, int(steps[ids[row]]), what)
        return observations

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
        self.observations[ended] = self._reset(ended, steps)
        self._returns[ended], self._costs[ended], self._began[ended] = 0.0, 0.0, self._ticks
        self._unstepped += ended.tolist()


class GymnasiumBackend:
    """N Gymnasium environments stepped in a plain loop; a Backend.

    Of an `info` it reads `action_mask` (of the next action, see `masks`; not looked at where an episode ends), `cost`
    (of this step; none: 0) and, where actions have K parts, `part_rewards` (K numbers: at every step, or never).
    """

    def __init__(self, task: Task, seeds: Sequence[int]) -> None:
        self.task_name = task.label
        self.envs = make_envs(task, len(seeds))
        for env, seed in zip(self.envs, seeds, strict=True):
            seed_spaces(env, np.random.SeedSequence(seed))
        self.time_limit = time_limit_of(self.envs[0])
        self.action_space: Space[Any] = self.envs[0].action_space
        self.parts = action_parts(self.action_space)
        self.observation_space: Space[Any] = self.envs[0].observation_space
        self.observation_size: int = flatdim(self.observation_space)
        self._write_row = row_writer(self.observation_space)
        self._one_hot = isinstance(self.observation_space, Discrete)  # and its writer checks what it writes
        self._row_shape = (self.observation_size,) if self._write_row is None else None
        self._untried = True  # whether no step was taken yet; what the first ones return is looked at closely
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
            try:
                returned = self.envs[i].reset(seed=self._seeds[i])
            except Exception as error:
                explain(self.task_name, self.envs[i], error)
                raise
            if (
                self._seeds[i] is not None
                or type(returned) is not tuple
                or len(returned) != 2
                or getattr(returned[0], "shape", None) != self._row_shape
                or type(returned[1]) is not dict
            ):
                check_reset(self.task_name, self.observation_space, returned)
            observation, info = returned
            self._seeds[i] = None
            if self._write_row is None:
                observations[row] = observation
            else:
                self._write(observation, observations[row], "reset")
            if self._masks or "action_mask" in info:
                self._allow(i, info)
        return observations

    def step(self, actions: np.ndarray, active: np.ndarray | None) -> Transition:
        """As Backend.step.

        Raises UnsupportedTask where an environment returns what cannot be used, such as an observation of another
        shape than it declares.
        """
        next_observations = np.zeros((len(self.envs), self.observation_size), np.float32)
        rewards = np.zeros(len(self.envs))
        terminated = np.zeros(len(self.envs), bool)
        truncated = np.zeros(len(self.envs), bool)
        costs = np.zeros(len(self.envs)) if self._reports_costs else None
        part_rewards = np.zeros((len(self.envs), len(self.parts))) if self.parts else None
        if self.action_masks is not None:
            self.action_masks = self.action_masks.copy()
        self._ticks += 1
        untried, flat, size = self._untried, self._write_row is None, self.observation_size
        members = self._members(actions)
        returned: Any = _NOTHING_YET
        try:
            for i in self._everyone if active is None else active.nonzero()[0].tolist():
                returned = self.envs[i].step(members[i])
                if untried:
                    check_step(self.task_name, self.observation_space, returned)
                observation, reward, terminated[i], truncated[i], info = returned
                if reward is None or isinstance(reward, str):  # NumPy would read NaN, or the text as a number
                    raise TypeError
                rewards[i] = reward
                if flat and observation is not None and len(observation) == size:  # another would fill its row, too
                    next_observations[i] = observation
                else:
                    self._write(observation, next_observations[i], "step", unseen=bool(terminated[i]))
                masked = self._masks or (info and "action_mask" in info)
                # The mask of a state in which no action is taken is not looked at.
                if masked and not (terminated[i] or truncated[i]):
                    self._allow(i, info)
                if info and "cost" in info:
                    if costs is None:
                        costs, self._reports_costs = np.zeros(len(self.envs)), True
                    costs[i] = self._cost(info["cost"])
                if part_rewards is not None:
                    self._read_part_rewards(info, part_rewards[i])
        except UnsupportedTask:
            raise
        except Exception as error:
            if returned is not _NOTHING_YET:
                check_step(self.task_name, self.observation_space, returned)
            explain(self.task_name, self.envs[0], error)
            raise
        self._untried = False
        return Transition(
            next_observations,
            rewards,
            terminated,
            truncated,
            costs,
            part_rewards if self._reports_part_rewards else None,
        )

    def _members(self, actions: np.ndarray) -> list[Any] | np.ndarray:
        """The actions [N, …] as members of the action space."""
        if self._action_start is not None:
            members: list[int] = (actions + self._action_start if self._action_start else actions).tolist()
            return members
        return in_shape(self.action_space, actions) if self._shapes_actions else actions

    def close(self) -> None:
        """Close every environment."""
        for env in self.envs:
            close(env)

    def _allow(self, i: int, info: Mapping[str, Any]) -> None:
        reader = self._mask_readers[i]
        mask = reader.read(info, self._ticks)
        if self.action_masks is None:
            if mask is None:
                return
            self.action_masks, self._masks = np.ones((len(self.envs), reader.width), bool), True
        self.action_masks[i] = True if mask is None else mask  # no mask now: everything is allowed

    def _write(self, observation: Any, row: np.ndarray, by: str, *, unseen: bool = False) -> None:
        """Write what `by` (reset or step) returned into `row` [D], which is zero; what is `unseen` may be anything.

        Raises UnsupportedTask where it is not in the observation space.
        """
        said = f"task {self.task_name!r}: {by} returned"
        try:
            if self._write_row is not None:
                if not (unseen or self._one_hot):
                    check_observation(said, self.observation_space, observation)
                self._write_row(observation, row)
            elif np.shape(observation) == row.shape:
                row[:] = observation
            else:
                raise ValueError("its shape is another")
        except UnsupportedTask:
            raise
        except Exception as error:  # whatever an observation of another kind makes `flatten` raise
            row[:] = 0.0
            if not unseen:
                check_observation(said, self.observation_space, observation)
                raise UnsupportedTask(
                    f"{said} the observation {shown(observation)}; its observation_space is {self.observation_space}, "
                    "and one of the two has to change"
                ) from error

    def _cost(self, value: Any) -> float:
        """A step's cost; NaN and infinity pass, as they do in rewards: VectorEnv.step stops at them."""
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
