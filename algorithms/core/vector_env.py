"""N environments stepped in one process, with true successor states and raw episode returns."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from gymnasium.spaces import Discrete

from algorithms.core import envpool_backend
from algorithms.core.task import Task, make_env


class Transition(NamedTuple):
    """What one step of all environments gave; the rows of environments that were not stepped are zero."""

    next_observations: np.ndarray  # float32 [N, D]
    rewards: np.ndarray  # float64 [N]
    terminated: np.ndarray  # bool [N]
    truncated: np.ndarray  # bool [N]


class Episode(NamedTuple):
    """A finished episode: when it ended (environment steps of all environments), its raw return, its length."""

    step: int
    return_: float
    length: int


def check_task(task: Task) -> None:
    """Refuse with a sentence, in UnsupportedTask, what VectorEnv could not step."""
    make_env(task).close()
    if task.backend == "envpool":
        envpool_backend.check(task)


class VectorEnv:
    """Steps N environments, restarts each one when its episode ends, and keeps account of steps and episodes.

    `observations` [N, D] are what the policy sees next: after an episode's end the first of the new episode, while the
    step that ended it returned the true successor. `action_masks` (bool [N, A], or None) are those of `observations`.
    `episodes` lists every finished episode, `steps` counts every environment step. `backend` holds the environments.
    """

    def __init__(self, task: Task, num_envs: int, seed: np.random.SeedSequence):
        self.task = task
        self.num_envs = num_envs
        seeds = [int(child.generate_state(1)[0]) for child in seed.spawn(num_envs)]
        make_backend = envpool_backend.EnvPoolBackend if task.backend == "envpool" else GymnasiumBackend
        self.backend = make_backend(task, seeds)
        self.action_space = self.backend.action_space
        self.observation_size = self.backend.observation_size
        self.observations = self.backend.reset(np.arange(num_envs))
        self.steps = 0
        self.episodes: list[Episode] = []
        self._returns = np.zeros(num_envs)
        self._ticks = 0  # calls of step
        self._began = np.zeros(num_envs, np.int64)  # ticks before each environment's episode, and those it waited

    @property
    def action_masks(self) -> np.ndarray | None:
        """bool [N, A], True where an action is allowed now; None where the task has never masked."""
        return self.backend.action_masks

    def step(self, actions: np.ndarray, active: np.ndarray | None = None) -> Transition:
        """Step the environments where `active` (bool [N]; None: all), with `actions` as they take them, [N, …]."""
        transition = Transition(*self.backend.step(actions, active))
        self._returns += transition.rewards
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
        self.observations = self.observations.copy()  # it may be the transition's, which keeps the true successors
        self.observations[ended] = self.backend.reset(ended)
        self._returns[ended], self._began[ended] = 0.0, self._ticks


class GymnasiumBackend:
    """N Gymnasium environments stepped in a plain loop."""

    def __init__(self, task: Task, seeds: Sequence[int]):
        self.envs = [make_env(task) for _ in seeds]
        self.action_space = self.envs[0].action_space
        space = self.envs[0].observation_space
        self._one_hot: dict[int, np.ndarray] | None = None
        if isinstance(space, Discrete):
            self._one_hot = dict(enumerate(np.eye(int(space.n), dtype=np.float32), start=int(space.start)))
        self.observation_size = len(self._one_hot) if self._one_hot else space.shape[0]
        self._action_start = int(self.action_space.start) if isinstance(self.action_space, Discrete) else None
        self.action_masks: np.ndarray | None = None
        self._everyone = range(len(self.envs))
        self._seeds: list[int | None] = list(seeds)  # each is used once: an environment's later episodes go on from it

    def reset(self, ids: np.ndarray) -> np.ndarray:
        """Begin an episode in the environments `ids` (int [k]); returns their first observations, float32 [k, D]."""
        observations = np.empty((len(ids), self.observation_size), np.float32)
        for row, i in enumerate(ids.tolist()):
            observation, info = self.envs[i].reset(seed=self._seeds[i])
            self._seeds[i] = None
            observations[row] = self._one_hot[int(observation)] if self._one_hot else observation
            self._allow(i, info)
        return observations

    def step(
        self, actions: np.ndarray, active: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The fields of a Transition; an environment whose episode has ended waits for its reset."""
        next_observations = np.zeros((len(self.envs), self.observation_size), np.float32)
        rewards = np.zeros(len(self.envs))
        terminated = np.zeros(len(self.envs), bool)
        truncated = np.zeros(len(self.envs), bool)
        if self.action_masks is not None:
            self.action_masks = self.action_masks.copy()
        for i in self._everyone if active is None else active.nonzero()[0].tolist():
            action = actions[i] if self._action_start is None else int(actions[i]) + self._action_start
            observation, rewards[i], terminated[i], truncated[i], info = self.envs[i].step(action)
            next_observations[i] = self._one_hot[int(observation)] if self._one_hot else observation
            if info or self.action_masks is not None:
                self._allow(i, info)
        return next_observations, rewards, terminated, truncated

    def close(self) -> None:
        """Close every environment."""
        for env in self.envs:
            env.close()

    def _allow(self, i: int, info: dict) -> None:
        mask = info.get("action_mask")
        if self.action_masks is None:
            if mask is None:
                return
            self.action_masks = np.ones((len(self.envs), int(self.action_space.n)), bool)
        self.action_masks[i] = True if mask is None else mask  # no mask now: everything is allowed
