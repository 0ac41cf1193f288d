"""A task: a Gymnasium id with its preprocessing and its variants, and what a backend gives at each of its steps."""

import logging
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

import gymnasium
import mujoco
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiDiscrete, Space

SUPPORTED_SPACES = (
    "supported are actions in Discrete, in MultiDiscrete with one row of parts, or in a flat Box of floats, "
    "and observations in Discrete (one-hot) or in a flat Box"
)


@dataclass(frozen=True)
class Task:
    """A Gymnasium id and its preprocessing, which is the same for every algorithm.

    `variants` makes it K variants of one environment (other dynamics, say): each is a mapping of keyword arguments for
    `gymnasium.make`. Of N environments, environment i belongs to variant i mod K. All variants have the same spaces.
    Without variants there is one environment, which gets no keyword arguments.
    """

    id: str
    _: KW_ONLY
    backend: Literal["gymnasium", "envpool"] = "gymnasium"  # what steps the environments
    normalize_observations: bool = False  # subtract the running mean, divide by the running deviation, clip at ±10
    normalize_rewards: bool = False  # divide by the running deviation of the discounted return, clip at ±10
    action_bounds: Literal["clip", "squash"] = "clip"
    max_episode_steps: int | None = None  # a time limit instead of the registered one; needed where there is none
    variants: tuple[Mapping[str, Any], ...] = field(default=(), hash=False)  # mappings have no hash; the rest has


class UnsupportedTask(ValueError):
    """A task that cannot be made, whose spaces, variants or backend are not supported, or that gives unusable infos."""


class Transition(NamedTuple):
    """The result of one step of all environments; the rows of environments that were not stepped are zero."""

    next_observations: np.ndarray  # float32 [N, D]
    rewards: np.ndarray  # float64 [N]
    terminated: np.ndarray  # bool [N]
    truncated: np.ndarray  # bool [N]
    costs: np.ndarray | None = None  # float64 [N]; None as long as the task has reported no cost
    part_rewards: np.ndarray | None = None  # float64 [N, K]; None where the task reports none


class Closable(Protocol):
    """An environment, or several."""

    def close(self) -> None:
        """Free what they hold."""


class Backend(Protocol):
    """N environments that a VectorEnv steps and restarts."""

    action_space: Space[Any]
    observation_size: int  # D
    time_limit: int | None  # steps after which the task truncates an episode; None where it has no limit

    @property
    def action_masks(self) -> np.ndarray | None:
        """bool [N, A], True where an action is allowed now; None where the task has never masked."""

    def reset(self, ids: np.ndarray) -> np.ndarray:
        """Begin an episode in the environments `ids` (int [k]); returns their first observations, float32 [k, D]."""

    def step(self, actions: np.ndarray, active: np.ndarray | None) -> Transition:
        """Step the environments where `active` (bool [N]; None: all) with `actions` [N, …].

        An environment whose episode has ended is not restarted: it waits for `reset`.
        """

    def close(self) -> None:
        """Close every environment."""


def send_mujoco_warnings_to_logging() -> None:
    """Let MuJoCo warn through Python's logging instead of a MUJOCO_LOG.TXT in the working directory.

    Gymnasium's own model files use deprecated attributes. A user cannot change that: those warnings have debug level.
    """
    logger = logging.getLogger("mujoco")

    def warn(message: str) -> None:
        logger.log(logging.DEBUG if "deprecated" in message else logging.WARNING, message.strip())

    mujoco.set_mju_user_warning(warn)


def make_env(task: Task, variant: int = 0) -> gymnasium.Env[Any, Any]:
    """One Gymnasium environment of the task, which also has its spaces and its time limit.

    `variant` is an index of `task.variants`; it has no meaning where there are none. Raises UnsupportedTask, with a
    sentence, where the environment cannot be made (an unknown id, say) or one of its spaces is not supported.
    """
    send_mujoco_warnings_to_logging()
    arguments = task.variants[variant] if task.variants else {}
    try:
        env = gymnasium.make(task.id, max_episode_steps=task.max_episode_steps, disable_env_checker=True, **arguments)
    except Exception as error:  # an environment's constructor may raise anything
        name = f"task {task.id!r}" + (f" with the variant {dict(arguments)}" if task.variants else "")
        raise UnsupportedTask(f"{name} cannot be made: {type(error).__name__}: {error}") from error
    _check_spaces(task, env.action_space, env.observation_space)
    return env


def time_limit_of(env: gymnasium.Env[Any, Any]) -> int | None:
    """The steps after which Gymnasium truncates an episode of `env`; None where it has no time limit."""
    return None if env.spec is None else env.spec.max_episode_steps


def close(environment: Closable) -> None:
    """Close an environment. Whatever its `close` raises is logged as a warning: its results do not depend on it."""
    try:
        environment.close()
    except Exception as error:  # an environment may raise anything
        logging.getLogger(__name__).warning(
            "an environment could not be closed, which changes no result: %s: %s", type(error).__name__, error
        )


def check_variants(task: Task, num_envs: int) -> None:
    """Raise UnsupportedTask where the task has more variants than there are environments, `num_envs`."""
    if num_envs < len(task.variants):
        raise UnsupportedTask(
            f"task {task.id!r} has {len(task.variants)} variants, but there are only {num_envs} environments "
            "(num_envs); each variant needs at least one"
        )


def action_parts(space: Space[Any]) -> tuple[int, ...] | None:
    """How many choices each part of an action has, (n_1, …, n_K); None where the action is not MultiDiscrete."""
    return tuple(int(n) for n in space.nvec) if isinstance(space, MultiDiscrete) else None


def _check_spaces(task: Task, actions: Space[Any], observations: Space[Any]) -> None:
    flat_box = isinstance(actions, Box) and len(actions.shape) == 1 and np.issubdtype(actions.dtype, np.floating)
    row_of_parts = isinstance(actions, MultiDiscrete) and actions.nvec.ndim == 1
    if not (isinstance(actions, Discrete) or row_of_parts or flat_box):
        raise UnsupportedTask(f"task {task.id!r} has actions in {actions}; {SUPPORTED_SPACES}")
    if not (isinstance(observations, Discrete) or (isinstance(observations, Box) and len(observations.shape) == 1)):
        raise UnsupportedTask(f"task {task.id!r} has observations in {observations}; {SUPPORTED_SPACES}")
    if task.action_bounds == "squash" and not (isinstance(actions, Box) and actions.is_bounded()):
        raise UnsupportedTask(
            f"task {task.id!r} has actions in {actions}, but action_bounds 'squash' needs a Box with finite bounds; "
            "use 'clip'"
        )
