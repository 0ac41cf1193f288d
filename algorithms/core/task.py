"""A task: a Gymnasium id, its preprocessing, and what steps it."""

import logging
from dataclasses import KW_ONLY, dataclass
from typing import Literal

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
    _: KW_ONLY
    backend: Literal["gymnasium", "envpool"] = "gymnasium"  # what steps the environments
    normalize_observations: bool = False  # subtract the running mean, divide by the running deviation, clip at ±10
    normalize_rewards: bool = False  # divide by the running deviation of the discounted return, clip at ±10
    action_bounds: Literal["clip", "squash"] = "clip"
    max_episode_steps: int | None = None  # a time limit instead of the registered one; needed where there is none


class UnsupportedTask(ValueError):
    """A task that cannot be made, or whose spaces or backend are not supported."""


def send_mujoco_warnings_to_logging() -> None:
    """Let MuJoCo warn through Python's logging instead of a MUJOCO_LOG.TXT in the working directory.

    That Gymnasium's own model files use deprecated attributes is nothing that a user could act on: debug level.
    """
    logger = logging.getLogger("mujoco")

    def warn(message: str) -> None:
        logger.log(logging.DEBUG if "deprecated" in message else logging.WARNING, message.strip())

    mujoco.set_mju_user_warning(warn)


def make_env(task: Task) -> gymnasium.Env:
    """One Gymnasium environment of the task, which also says what its spaces and its time limit are.

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
