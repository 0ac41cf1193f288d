"""N environments stepped in one process, with true successor states and raw episode returns."""

import logging
from dataclasses import dataclass
from typing import Literal, NamedTuple

import gymnasium
import mujoco
import numpy as np
from gymnasium.spaces import Box, Discrete

SUPPORTED_SPACES = (
    "supported are actions in Discrete or in a flat Box of floats, "
    "and observations in Discrete (one-hot) or in a flat Box"
)


@dataclass(frozen=True)
class Task:
    """A Gymnasium id and its preprocessing, which is the same for every algorithm."""

    id: str
    normalize_observations: bool = False  # subtract the running mean, divide by the running deviation, clip at ±10
    normalize_rewards: bool = False  # divide by the running deviation of the discounted return, clip at ±10
    action_bounds: Literal["clip", "squash"] = "clip"
    max_episode_steps: int | None = None  # a time limit instead of the registered one; needed where there is none


class UnsupportedTask(ValueError):
    """A task that cannot be made, or whose spaces are not supported."""


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


def send_mujoco_warnings_to_logging() -> None:
    """Let MuJoCo warn through Python's logging instead of a MUJOCO_LOG.TXT in the working directory.

    That Gymnasium's own model files use deprecated attributes is nothing that a user could act on: debug level.
    """
    logger = logging.getLogger("mujoco")

    def warn(message: str) -> None:
        logger.log(logging.DEBUG if "deprecated" in message else logging.WARNING, message.strip())

    mujoco.set_mju_user_warning(warn)


def make_env(task: Task) -> gymnasium.Env:
    """One environment of the task.

    Raises UnsupportedTask, with a sentence, where the id is unknown or a space is not supported.
    """
    send_mujoco_warnings_to_logging()
    try:
        env = gymnasium.make(task.id, max_episode_steps=task.max_episode_steps, disable_env_checker=True)
    except Exception as error:  # whatever its constructor does
        raise UnsupportedTask(f"task {task.id!r} cannot be made: {type(error).__name__}: {error}") from error
    actions, observations = env.action_space, env.observation_space
    flat_actions = isinstance(actions, Box) and len(actions.shape) == 1 and np.issubdtype(actions.dtype, np.floating)
    if not (isinstance(actions, Discrete) or flat_actions):
        raise UnsupportedTask(f"task {task.id!r} has actions in {actions}; {SUPPORTED_SPACES}")
    if not (isinstance(observations, Discrete) or (isinstance(observations, Box) and len(observations.shape) == 1)):
        raise UnsupportedTask(f"task {task.id!r} has observations in {observations}; {SUPPORTED_SPACES}")
    if task.action_bounds == "squash" and not (flat_actions and actions.is_bounded()):
        raise UnsupportedTask(
            f"task {task.id!r} has actions in {actions}: action_bounds "
            "'squash' needs a Box with finite bounds; use 'clip'"
        )
    return env


class VectorEnv:
    """Steps N environments in a plain loop and restarts each one when its episode ends.

    `observations` [N, D] are what the policy sees next: after an episode's end the first of the new episode, while the
    step that ended it returned the true successor. `episodes` lists every finished episode, `steps` counts every
    environment step.
    """

    def __init__(self, task: Task, num_envs: int, seed: np.random.SeedSequence):
        self.task = task
        self.num_envs = num_envs
        self.envs = [make_env(task) for _ in range(num_envs)]
        self.action_space = self.envs[0].action_space
        space = self.envs[0].observation_space
        self._one_hot = space if isinstance(space, Discrete) else None
        self.observation_size = int(space.n) if self._one_hot else space.shape[0]
        self._action_start = int(self.action_space.start) if isinstance(self.action_space, Discrete) else None
        self.observations = np.empty((num_envs, self.observation_size), np.float32)
        self.action_masks: np.ndarray | None = None
        self.steps = 0
        self.episodes: list[Episode] = []
        self._returns = [0.0] * num_envs
        self._lengths = [0] * num_envs
        for i, child in enumerate(seed.spawn(num_envs)):
            self._begin(i, seed=int(child.generate_state(1)[0]))

    def step(self, actions: np.ndarray, active: np.ndarray) -> Transition:
        """Step the environments where `active` (bool [N]) with `actions` (as the environment takes them, [N, …])."""
        next_observations = np.zeros_like(self.observations)
        rewards = np.zeros(self.num_envs)
        terminated = np.zeros(self.num_envs, bool)
        truncated = np.zeros(self.num_envs, bool)
        self.observations = self.observations.copy()
        if self.action_masks is not None:
            self.action_masks = self.action_masks.copy()
        for i in active.nonzero()[0].tolist():
            action = actions[i] if self._action_start is None else int(actions[i]) + self._action_start
            observation, reward, ended, cut, info = self.envs[i].step(action)
            self._observe(next_observations, i, observation)
            rewards[i], terminated[i], truncated[i] = reward, ended, cut
            self.steps += 1
            self._returns[i] += float(reward)
            self._lengths[i] += 1
            if ended or cut:
                self.episodes.append(Episode(self.steps, self._returns[i], self._lengths[i]))
                self._begin(i)
            else:
                self.observations[i] = next_observations[i]
                self._allow(i, info)
        return Transition(next_observations, rewards, terminated, truncated)

    def close(self) -> None:
        """Close every environment."""
        for env in self.envs:
            env.close()

    def _begin(self, i: int, seed: int | None = None) -> None:
        observation, info = self.envs[i].reset(seed=seed)
        self._observe(self.observations, i, observation)
        self._allow(i, info)
        self._returns[i], self._lengths[i] = 0.0, 0

    def _observe(self, rows: np.ndarray, i: int, observation) -> None:
        if self._one_hot:
            rows[i] = 0.0
            rows[i, int(observation) - int(self._one_hot.start)] = 1.0
        else:
            rows[i] = observation

    def _allow(self, i: int, info: dict) -> None:
        mask = info.get("action_mask")
        if self.action_masks is None:
            if mask is None:
                return
            self.action_masks = np.ones((self.num_envs, int(self.action_space.n)), bool)
        self.action_masks[i] = True if mask is None else mask  # no mask now: everything is allowed
