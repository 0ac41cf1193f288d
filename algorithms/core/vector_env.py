"""N environments stepped in one process, with true successor states and raw episode returns."""

from typing import NamedTuple

import numpy as np

from .backends import make_backend, why_not_resumable
from .batched import BatchedBackend
from .task import (
    Backend,
    CannotResume,
    Snapshot,
    StoppedByTask,
    Task,
    Transition,
    check_variants,
    seed_global_generators,
)

LARGEST = float(np.finfo(np.float32).max)  # what is learned from is in single precision
SUM_OF_SQUARES = LARGEST**2  # a sum of squares below it has no unusable number


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

    `episodes` lists every finished episode in the order of the ends. `episode_envs`, `episode_costs` and
    `episode_true_returns` are as long: the index of the environment, and the undiscounted sums of the costs and of the
    true rewards (0 where the task reports none; `reports_costs` and `reports_true_rewards` say whether it has reported
    any until now). `true_returns` (float64 [N]) are such sums of the episodes that have not ended.
    `variants` (int64 [N]) is the variant of each environment: i mod K, and 0 where the task has no variants.
    `cut` (bool [N]) says in which environments the last step was an episode's last because of `limit_episodes`.

    `seed` gives the seeds of the environments, and those of the global generators, which are seeded before
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
        self.episode_true_returns: list[float] = []
        self.reports_costs = self.reports_true_rewards = False
        self.longest: int | None = None  # see limit_episodes
        self.cut = np.zeros(num_envs, bool)
        self._starts = [0] * num_envs  # steps of all environments before the first of each one's episode
        self._unstepped = list(range(num_envs))  # the environments whose episode has no step yet
        self._returns = np.zeros(num_envs)
        self._costs = np.zeros(num_envs)
        self.true_returns = np.zeros(num_envs)
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
        space, an action mask that is none, or an info that cannot be used: a cost or a true reward that is not a
        number, a true reward that is missing, rewards of the parts that are missing or not as many as the parts.

        Raises StoppedByTask where a number cannot be learned from (`finite`): a reward, cost, true reward or
        observation of this step, the sum of an episode's until now, or an observation of a reset before this step.
        `steps` is then that of the number. An observation after a terminal state is not looked at: one that is not
        finite is returned as zeros.
        """
        if self._stopped is not None:
            raise self._stopped
        transition = self.backend.step(actions, active)
        next_observations, rewards, terminated, truncated, costs, part_rewards, true_rewards = transition
        self._returns += rewards
        if costs is not None:
            self._costs += costs
            self.reports_costs = True
        if true_rewards is not None:
            self.true_returns += true_rewards
            self.reports_true_rewards = True
        if not (
            self._returns.dot(self._returns) < SUM_OF_SQUARES  # no call of a function: this is every step
            and next_observations.ravel().dot(self._zeros) == 0  # 0 · NaN and 0 · inf are NaN
            and (costs is None or sum_of_squares(self._costs) < SUM_OF_SQUARES)
            and (part_rewards is None or sum_of_squares(part_rewards) < SUM_OF_SQUARES)
            and (true_rewards is None or sum_of_squares(self.true_returns) < SUM_OF_SQUARES)
        ):
            self._check_numbers(transition, active)
        if active is None:
            stepped = self.num_envs
            self.observations = next_observations
        else:
            stepped = int(np.count_nonzero(active))
            self._began += ~active
            self.observations = np.where(active[:, None], next_observations, self.observations)
        if self._unstepped:
            self._begin(active)
        self._ticks += 1
        if self.longest is not None:
            too_long = self._ticks - self._began >= self.longest
            self.cut = too_long & ~(terminated | truncated)
            if active is not None:
                self.cut &= active
            truncated = truncated | self.cut
            transition = transition._replace(truncated=truncated)
        done = terminated | truncated
        if np.count_nonzero(done):
            self._restart(done.nonzero()[0], self._steps_of_each(active))
        self.steps += stepped
        return transition

    def close(self) -> None:
        """Close every environment."""
        self.backend.close()

    def snapshot(self) -> Snapshot:
        """All that later steps and episodes depend on, but `episodes`.

        Raises CannotResume where the state of the task's environments cannot be read, or where the next step only says
        that the task has given an unusable number.
        """
        backend = self._batched()
        if self._stopped is not None:
            raise CannotResume(str(self._stopped))
        return {
            "backend": backend.snapshot(),
            "steps": self.steps,
            "observations": self.observations.copy(),
            "episode_envs": np.array(self.episode_envs, np.int64),
            "episode_costs": np.array(self.episode_costs),
            "episode_true_returns": np.array(self.episode_true_returns),
            "cut": self.cut.copy(),
            "starts": self._starts.copy(),
            "unstepped": self._unstepped.copy(),
            "returns": self._returns.copy(),
            "costs": self._costs.copy(),
            "true_returns": self.true_returns.copy(),
            "ticks": self._ticks,
            "began": self._began.copy(),
        }

    def restore(self, snapshot: Snapshot, episodes: list[Episode]) -> None:
        """Go on as the environments whose `snapshot` this is, and which had finished `episodes`.

        This one was made for the same task and number of environments. Raises CannotResume as `snapshot` does.
        """
        self._batched().restore(snapshot["backend"])
        self._stopped = None
        self.episodes = episodes
        self.episode_envs, self.episode_costs = snapshot["episode_envs"].tolist(), snapshot["episode_costs"].tolist()
        self.episode_true_returns = snapshot["episode_true_returns"].tolist()
        self._starts, self._unstepped = snapshot["starts"].copy(), snapshot["unstepped"].copy()
        self.observations, self.cut = snapshot["observations"].copy(), snapshot["cut"].copy()
        self._returns, self._costs = snapshot["returns"].copy(), snapshot["costs"].copy()
        self.true_returns = snapshot["true_returns"].copy()
        self.steps, self._ticks, self._began = snapshot["steps"], snapshot["ticks"], snapshot["began"].copy()

    def _batched(self) -> BatchedBackend:
        if isinstance(self.backend, BatchedBackend):
            return self.backend
        raise CannotResume(
            why_not_resumable(self.task) or f"task {self.task.label!r} is registered as another environment"
        )

    def _steps_of_each(self, active: np.ndarray | None) -> np.ndarray:
        """int [N]: the number of the step that each environment takes in this call."""
        return np.asarray(self.steps + (np.arange(1, self.num_envs + 1) if active is None else active.cumsum()))

    def _check_numbers(self, transition: Transition, active: np.ndarray | None) -> None:
        """As `step` says of numbers that cannot be learned from."""
        after = transition.next_observations
        after[transition.terminated & unusable(after).any(axis=1)] = 0.0
        if found := first_unusable(transition, self._returns, self._costs, self.true_returns):
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
        if active is None:
            for i in self._unstepped:
                self._starts[i] = self.steps + i
            self._unstepped = []
            return
        stepped = active.tolist()
        begin = [i for i in self._unstepped if stepped[i]]
        for i in begin:
            self._starts[i] = self.steps + sum(stepped[:i])
        if begin:
            self._unstepped = [i for i in self._unstepped if not stepped[i]]

    def _episode(self, i: int, step: int) -> Episode:
        """The episode of environment i, with `step` as its end."""
        return Episode._make((step, float(self._returns[i]), int(self._ticks - self._began[i]), self._starts[i]))

    def _restart(self, ended: np.ndarray, steps: np.ndarray) -> None:
        """List the episodes of the environments `ended`; `steps` [N] counts in the order of the environments."""
        for i in ended.tolist():
            self.episodes.append(self._episode(i, int(steps[i])))
            self.episode_envs.append(i)
            self.episode_costs.append(float(self._costs[i]))
            self.episode_true_returns.append(float(self.true_returns[i]))
        self.observations = self.observations.copy()  # it may be the transition's, which keeps the true successors
        self.observations[ended] = self._reset(ended, steps)
        self._returns[ended] = self._costs[ended] = self.true_returns[ended] = 0.0
        self._began[ended] = self._ticks
        self._unstepped += ended.tolist()


def sum_of_squares(numbers: np.ndarray) -> float:
    """The sum of the squares of all numbers. It takes half a microsecond."""
    flat = numbers.ravel()
    return float(flat.dot(flat))


def unusable(numbers: np.ndarray) -> np.ndarray:
    """bool, as `numbers`: NaN, infinite, or too large for single precision."""
    return np.asarray(~(np.abs(numbers) <= LARGEST))


def first_unusable(
    transition: Transition, returns: np.ndarray, costs: np.ndarray, true_returns: np.ndarray
) -> tuple[int, str] | None:
    """The first environment of a transition that gave an unusable number, and what it gave, such as "NaN as reward".

    `returns`, `costs` and `true_returns` (float64 [N]) are the sums over the episode until now. None where all numbers
    are usable.
    """
    found = []
    for name, given, sums in (
        ("reward", transition.rewards, returns),
        ("cost", transition.costs, costs),
        ("true reward", transition.true_rewards, true_returns),
        ("reward of a part", transition.part_rewards, None),
        ("observation", transition.next_observations, None),
    ):
        if given is not None:
            found += [(i, f"{value} as {name}") for i, value in _rows(given)]
        if given is not None and sums is not None:
            found += [(i, f"{name}s whose sum over an episode is {value}") for i, value in _rows(sums)]
    return min(found, key=lambda pair: pair[0], default=None)


def unusable_observation(observations: np.ndarray) -> tuple[int, str] | None:
    """The first row of the observations (float32 [k, D]) of a reset with an unusable number, and what it is."""
    return next(((i, f"{value} as observation at a reset") for i, value in _rows(observations)), None)


def _rows(numbers: np.ndarray) -> list[tuple[int, str]]:
    """Each row of [N] or [N, …] that has an unusable number, and the first such number of the row as text."""
    table = numbers.reshape(len(numbers), -1)
    wrong = unusable(table)
    return [(i, _as_text(float(table[i][wrong[i]][0]))) for i in np.flatnonzero(wrong.any(axis=1)).tolist()]


def _as_text(value: float) -> str:
    return "NaN" if np.isnan(value) else f"{value:g}"
