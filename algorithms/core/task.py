"""A task: a Gymnasium id with its arguments and preprocessing, and what a backend gives at each of its steps."""

import ctypes
import logging
import math
import os
import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

import gymnasium
import mujoco
import numpy as np
import torch
from gymnasium.spaces import Space
from gymnasium.utils.passive_env_checker import check_action_space, check_observation_space

from .choices import Choices
from .spaces import action_problem, observation_problem, structure
from .wrapping import are_wrappers, wrapped

# Gymnasium's wrappers with running statistics, also under older modules' names, and the task's setting in their place.
SELF_NORMALISING = {"NormalizeReward": "normalize_rewards", "NormalizeObservation": "normalize_observations"}

WRAPPERS = "a tuple of mappings with 'wrapper', module:Class, and arguments of its constructor"
FLAGS = ("normalize_observations", "normalize_rewards", "allow_normalised", "joint_actions")  # of a Task
Snapshot: TypeAlias = dict[str, Any]  # by name: arrays, what JSON holds, and mappings and lists of these


class CannotResume(ValueError):
    """Raised where a training cannot go on from its middle with the numbers that it would have had; it says why."""


@dataclass(frozen=True)
class Task:
    """A Gymnasium id, its keyword arguments and its preprocessing, which is the same for every algorithm.

    `kwargs` are keyword arguments for `gymnasium.make`. `variants` makes it K variants of one environment (other
    dynamics, say): each is a mapping of further keyword arguments, which win over `kwargs`. Of N environments,
    environment i belongs to variant i mod K. All variants have the same spaces.

    `wrappers` are put around every environment, the first innermost: mappings with `wrapper`, module:Class, and the
    arguments of its constructor. `training_wrappers` are further ones, around the environments that are learned from
    alone: evaluations, saved policies and random scores are of the task without them.

    `name` tells tasks of one id apart; without it the id is the name. Raises UnsupportedTask for a value that is not
    one of those that a setting may have.
    """

    id: str
    _: KW_ONLY
    normalize_observations: bool = False  # subtract the running mean, divide by the running deviation, clip at ±10
    normalize_rewards: bool = False  # divide by the running deviation of the discounted return, clip at ±10
    reward_scale: float = 1.0  # multiplies rewards for learning alone, before they are normalised
    action_bounds: Literal["clip", "squash"] = "clip"
    max_episode_steps: int | None = None  # a time limit instead of the registered one; needed where there is none
    variants: tuple[Mapping[str, Any], ...] = field(default=(), hash=False)  # mappings have no hash; the rest has
    allow_normalised: bool = False  # accept an environment with running statistics of its own; see SELF_NORMALISING
    kwargs: Mapping[str, Any] = field(default_factory=dict, hash=False)
    action_bins: int | None = None  # each dimension of a Box as so many values from low to high: see choices.Choices
    joint_actions: bool = False  # the parts of an action as one choice of all their combinations
    name: str | None = None
    wrappers: tuple[Mapping[str, Any], ...] = field(default=(), hash=False)
    training_wrappers: tuple[Mapping[str, Any], ...] = field(default=(), hash=False)

    @property
    def in_training(self) -> "Task":
        """The task that is learned from: with the training's wrappers around the others."""
        if not self.training_wrappers:
            return self
        return replace(self, wrappers=(*self.wrappers, *self.training_wrappers), training_wrappers=())

    @property
    def label(self) -> str:
        """The task's name, as grids and messages have it."""
        return self.name or self.id

    def __post_init__(self) -> None:
        """Refuse what would pass for something else: other bounds for `clip`, say."""
        valid: dict[str, tuple[Any, ...]] = {"action_bounds": ("clip", "squash")}
        valid |= {name: (True, False) for name in FLAGS}
        for name, values in valid.items():
            if getattr(self, name) not in values:
                expected = " or ".join(map(repr, values))
                raise UnsupportedTask(f"task {self.label!r}: {name} must be {expected}, not {getattr(self, name)!r}")
        scale = self.reward_scale
        if type(scale) not in (int, float) or not (0 < scale < math.inf):
            raise UnsupportedTask(f"task {self.label!r}: reward_scale must be a finite number above 0, not {scale!r}")
        texts = (isinstance(self.id, str), self.name is None or isinstance(self.name, str))
        for name, valid_value, expected in (
            ("id", texts[0], "a Gymnasium id"),
            ("name", texts[1], "text, or None where the id is the name"),
            ("kwargs", _is_arguments(self.kwargs), "a mapping of keyword arguments"),
            (
                "variants",
                isinstance(self.variants, tuple | list) and all(map(_is_arguments, self.variants)),
                "a tuple of mappings of keyword arguments",
            ),
            *((name, are_wrappers(getattr(self, name)), WRAPPERS) for name in ("wrappers", "training_wrappers")),
        ):
            if not valid_value:
                raise UnsupportedTask(f"task {self.label!r}: {name} must be {expected}, not {getattr(self, name)!r}")
        limit = self.max_episode_steps
        if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
            raise UnsupportedTask(
                f"task {self.label!r}: max_episode_steps must be a whole number from 1, not {limit!r}"
            )
        bins = self.action_bins
        if bins is not None and (not isinstance(bins, int) or isinstance(bins, bool) or bins < 2):
            raise UnsupportedTask(f"task {self.label!r}: action_bins must be a whole number from 2, not {bins!r}")


class UnsupportedTask(ValueError):
    """A task that cannot be made, whose spaces or variants are not supported, or that gives unusable infos."""


class StoppedByTask(ValueError):
    """A task gave a number that cannot be learned from: NaN, infinite, or too large for single precision.

    `step` counts the steps of all environments from 1; it is 0 for the first reset. `what` is such as "NaN as reward".
    `of` says in which part of a run, such as "of the evaluation with sampled actions"; empty in training.
    """

    def __init__(self, task_id: str, step: int, what: str, of: str = "") -> None:
        super().__init__(f"task {task_id!r} gave {what} at step {step:,}{of and f' {of}'}; let it give finite numbers")
        self.task_id, self.step, self.what, self.of = task_id, step, what, of

    @property
    def reason(self) -> str:
        """What the task gave and when, as it stands in a run's record."""
        return f"the task gave {self.what} at step {self.step:,}{self.of and f' {self.of}'}"

    def within(self, of: str) -> "StoppedByTask":
        """The same with another `of`."""
        return StoppedByTask(self.task_id, self.step, self.what, of)


class Transition(NamedTuple):
    """The result of one step of all environments; the rows of environments that were not stepped are zero."""

    next_observations: np.ndarray  # float32 [N, D]
    rewards: np.ndarray  # float64 [N]
    terminated: np.ndarray  # bool [N]
    truncated: np.ndarray  # bool [N]
    costs: np.ndarray | None = None  # float64 [N]; None as long as the task has reported no cost
    part_rewards: np.ndarray | None = None  # float64 [N, K]; None where the task reports none
    true_rewards: np.ndarray | None = None  # float64 [N]; None where the task reports none


class Closable(Protocol):
    """An environment, or several."""

    def close(self) -> None:
        """Free what they hold."""


class Backend(Protocol):
    """N environments that a VectorEnv steps and restarts."""

    action_space: Space[Any]
    observation_space: Space[Any]
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


def spare_mujocos_clock() -> None:
    """Let MuJoCo not read the clock in each part of a step, which costs 15 to 30 % of it; nobody reads its timers.

    MuJoCo (4.0) has no setting for it, but asks the function `mjcb_time` for the time, which must be one of C without
    arguments that returns a double, since batches of simulations call no Python. In the C library that is `drand48`.
    Whoever has set another function keeps it.
    """
    if os.name != "posix" or mujoco.get_mjcb_time() is not None:
        return
    if (function := getattr(ctypes.CDLL(None), "drand48", None)) is not None:
        address = ctypes.cast(function, ctypes.c_void_p).value
        assert address is not None
        mujoco.set_mjcb_time(ctypes.CFUNCTYPE(ctypes.c_double)(address))


def make_env(task: Task, variant: int = 0) -> gymnasium.Env[Any, Any]:
    """One Gymnasium environment of the task, which also has its spaces and its time limit.

    `variant` is an index of `task.variants`; it has no meaning where there are none. Raises UnsupportedTask, with a
    sentence, where the environment cannot be made (an unknown id, say) or one of its spaces is not supported.
    """
    send_mujoco_warnings_to_logging()
    spare_mujocos_clock()
    arguments = {**task.kwargs, **(task.variants[variant] if task.variants else {})}
    env = None
    try:
        env = gymnasium.make(task.id, max_episode_steps=task.max_episode_steps, disable_env_checker=True, **arguments)
        env = wrapped(env, task.wrappers)
        if task.action_bins is not None or task.joint_actions:
            env = _with_choices(task, env)
        if isinstance(env.action_space, Space) and isinstance(env.observation_space, Space):
            _check_spaces(task, env.action_space, env.observation_space)
        with warnings.catch_warnings(action="ignore"):  # of a Box with equal bounds, which can be acted in
            check_action_space(env.action_space)
            check_observation_space(env.observation_space)
        if not task.allow_normalised:
            _check_not_normalised(task, env)
    except Exception as error:  # an environment's constructor may raise anything
        if env is not None:
            close(env)
        if isinstance(error, UnsupportedTask):
            raise
        said = f" with the {'variant' if task.variants else 'kwargs'} {arguments}" if arguments else ""
        said += f" with the wrappers {[dict(about) for about in task.wrappers]}" if task.wrappers else ""
        what = " ".join(f"{type(error).__name__}: {error}".split())
        named = f" (its id is {task.id!r})" if task.name else ""
        raise UnsupportedTask(f"task {task.label!r}{said} cannot be made: {what}{named}") from error
    return env


def _with_choices(task: Task, env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    """The environment with actions as the task's `action_bins` and `joint_actions` say; raises UnsupportedTask."""
    try:
        return Choices(env, task.action_bins, task.joint_actions)
    except ValueError as error:
        raise UnsupportedTask(f"task {task.label!r} has actions in {env.action_space}, {error}") from error


def make_envs(task: Task, count: int) -> list[gymnasium.Env[Any, Any]]:
    """`count` environments of the task, environment i of variant i mod K, all with the same spaces.

    Raises UnsupportedTask as `make_env` does, and where the spaces of variants differ; then none stays open.
    """
    envs: list[gymnasium.Env[Any, Any]] = []
    try:
        while len(envs) < count:
            envs.append(make_env(task, len(envs) % (len(task.variants) or 1)))
        _check_same_spaces(task, envs)
    except UnsupportedTask as error:
        for env in envs:
            close(env)
        if 0 < len(envs) < count and not task.variants:
            raise UnsupportedTask(
                f"{error} (environment {len(envs) + 1} of {count}, while {len(envs)} are open; where only so many can "
                "be open at once, set num_envs to as many)"
            ) from error
        raise
    return envs


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
            f"task {task.label!r} has {len(task.variants)} variants, and num_envs is {num_envs}; each variant needs at "
            "least one environment"
        )


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


def _is_arguments(value: Any) -> bool:
    """Whether this is a mapping of keyword arguments."""
    return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)


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
                    f"task {task.label!r} normalises itself ({cls.__name__}), by statistics that change as it runs and "
                    f"differ between environments; register it without, and set '{setting}: true' for the task, or "
                    "say 'allow_normalised: true' for it, and scores are those of what it returns"
                )
        env = getattr(
            env, "env", None
        )  # not by vars(): CPython finds attributes more slowly once it was asked for them


def _check_spaces(task: Task, actions: Space[Any], observations: Space[Any]) -> None:
    """Raise UnsupportedTask, which says what to do, where no policy here can act in the task."""
    for kind, space, problem in (
        ("actions", actions, action_problem(actions, task.action_bounds)),
        ("observations", observations, observation_problem(observations)),
    ):
        if problem is not None:
            raise UnsupportedTask(f"task {task.label!r} has {kind} in {space}, {problem}")


def seed_global_generators(seed: np.random.SeedSequence) -> None:
    """Seed the global generators of `random`, NumPy and Torch, each from a child of `seed`."""
    of_python, of_numpy, of_torch = (int(child.generate_state(1)[0]) for child in seed.spawn(3))
    random.seed(of_python)
    np.random.seed(of_numpy)  # noqa: NPY002  # nothing here draws from it, but a task's code may
    torch.manual_seed(of_torch)


def global_generators() -> dict[str, Any]:
    """The states of the global generators of `random`, NumPy and Torch, as arrays and as what JSON holds."""
    version, numbers, gauss = random.getstate()
    return {
        "random": {"version": version, "numbers": np.array(numbers, np.uint64), "gauss": gauss},
        "numpy": np.random.get_state(legacy=False),  # noqa: NPY002  # as in seed_global_generators
        "torch": torch.get_rng_state().numpy(),
    }


def restore_global_generators(state: Mapping[str, Any]) -> None:
    """Give the global generators the states that `global_generators` returned."""
    of_python = state["random"]
    random.setstate((of_python["version"], tuple(of_python["numbers"].tolist()), of_python["gauss"]))
    np.random.set_state(state["numpy"])  # noqa: NPY002
    torch.set_rng_state(torch.from_numpy(state["torch"]))


@contextmanager
def global_generators_kept() -> Iterator[None]:
    """A context at whose end the global generators are as they were at its beginning."""
    before = global_generators()
    try:
        yield
    finally:
        restore_global_generators(before)


def seed_spaces(env: gymnasium.Env[Any, Any], seed: np.random.SeedSequence) -> None:
    """Seed the spaces of an environment, and those that its wrappers have replaced, each from a child of `seed`.

    A space that was never seeded draws from the system's random numbers.
    """
    spaces = [getattr(of, name) for of in (env, env.unwrapped) for name in ("observation_space", "action_space")]
    for space, child in zip(spaces, seed.spawn(len(spaces)), strict=True):
        space.seed(int(child.generate_state(1)[0]))
