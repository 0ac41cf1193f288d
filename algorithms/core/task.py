"""A task: a Gymnasium id with its preprocessing and its variants, and what a backend gives at each of its steps."""

import logging
import warnings
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

import gymnasium
import mujoco
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiDiscrete, Space
from gymnasium.utils.passive_env_checker import check_action_space, check_observation_space

SUPPORTED_SPACES = (
    "supported are actions in Discrete, in MultiDiscrete with one row of parts, or in a flat Box of floats, "
    "and observations in Discrete (one-hot) or in a flat Box"
)

# Gymnasium's wrappers with running statistics, also under older modules' names, and the task's setting in their place.
SELF_NORMALISING = {"NormalizeReward": "normalize_rewards", "NormalizeObservation": "normalize_observations"}


@dataclass(frozen=True)
class Task:
    """A Gymnasium id and its preprocessing, which is the same for every algorithm.

    `variants` makes it K variants of one environment (other dynamics, say): each is a mapping of keyword arguments for
    `gymnasium.make`. Of N environments, environment i belongs to variant i mod K. All variants have the same spaces.
    Without variants there is one environment, which gets no keyword arguments. Raises UnsupportedTask for a value that
    is not one of those that a setting may have.
    """

    id: str
    _: KW_ONLY
    backend: Literal["gymnasium", "envpool"] = "gymnasium"  # what steps the environments
    normalize_observations: bool = False  # subtract the running mean, divide by the running deviation, clip at ±10
    normalize_rewards: bool = False  # divide by the running deviation of the discounted return, clip at ±10
    action_bounds: Literal["clip", "squash"] = "clip"
    max_episode_steps: int | None = None  # a time limit instead of the registered one; needed where there is none
    variants: tuple[Mapping[str, Any], ...] = field(default=(), hash=False)  # mappings have no hash; the rest has
    allow_normalised: bool = False  # accept an environment with running statistics of its own; see SELF_NORMALISING

    def __post_init__(self) -> None:
        """Refuse what would pass for something else: another backend for Gymnasium, other bounds for `clip`."""
        valid: dict[str, tuple[Any, ...]] = {"backend": ("gymnasium", "envpool"), "action_bounds": ("clip", "squash")}
        valid |= {name: (True, False) for name in ("normalize_observations", "normalize_rewards", "allow_normalised")}
        for name, values in valid.items():
            if getattr(self, name) not in values:
                expected = " or ".join(map(repr, values))
                raise UnsupportedTask(f"task {self.id!r}: {name} must be {expected}, not {getattr(self, name)!r}")
        limit = self.max_episode_steps
        if limit is not None and (not isinstance(limit, int) or limit < 1):
            raise UnsupportedTask(f"task {self.id!r}: max_episode_steps must be a whole number from 1, not {limit!r}")


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


class Backend(Protocol):
    """N environments that a VectorEnv steps and restarts."""

    action_space: Space[Any]
    observation_size: int  # D

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
        with warnings.catch_warnings(action="ignore"):  # of a Box with equal bounds, which can be acted in
            check_action_space(env.action_space)
            check_observation_space(env.observation_space)
    except Exception as error:  # an environment's constructor may raise anything
        name = f"task {task.id!r}" + (f" with the variant {dict(arguments)}" if task.variants else "")
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise UnsupportedTask(f"{name} cannot be made: {what}") from error
    _check_spaces(task, env.action_space, env.observation_space)
    if not task.allow_normalised:
        _check_not_normalised(task, env)
    return env


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


def _check_not_normalised(task: Task, env: Any) -> None:
    """Raise UnsupportedTask where an environment, or a wrapper in it, normalises by running statistics of its own.

    Each environment then has other statistics, a fresh one in evaluation has none, and returns are not raw returns. A
    fixed change of the reward (ClipReward, TransformReward) is part of what the task is.
    """
    seen: list[Any] = []
    while env is not None and not any(env is other for other in seen):
        seen.append(env)
        for cls in type(env).__mro__:
            if (setting := SELF_NORMALISING.get(cls.__name__)) is not None:
                raise UnsupportedTask(
                    f"task {task.id!r} normalises itself ({cls.__name__}), by statistics that change as it runs and "
                    f"differ between environments; register it without, and set '{setting}: true' for the task, or "
                    "say 'allow_normalised: true' for it, and scores are those of what it returns"
                )
        env = getattr(env, "__dict__", {}).get("env")


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
