"""Chooses what steps a task: all environments at once where that is known to give Gymnasium's numbers, else a loop."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Discrete, MultiBinary, MultiDiscrete, Space
from gymnasium.spaces.utils import flatdim

from .batched import BatchedBackend
from .interface import check_observation, check_reset, check_step, explain, shown
from .masks import MaskReader
from .spaces import action_parts, in_shape, row_writer
from .task import (
    Backend,
    Task,
    Transition,
    UnsupportedTask,
    close,
    make_env,
    make_envs,
    seed_spaces,
    time_limit_of,
)

GYMNASIUM = "1.4.0"  # the version whose episodes the tests find to be the same, bit for bit

_one_by_one = False  # see one_by_one


def make_backend(task: Task, seeds: Sequence[int]) -> Backend:
    """The environments of a task, one for each of `seeds`; raises UnsupportedTask as `make_envs` does."""
    if (batched := _steps_all_at_once(task)) is not None:
        spec: Any = gymnasium.registry.get(task.id)
        env = make_env(task)
        made = type(env.unwrapped)
        if f"{made.__module__}:{made.__qualname__}" == spec.entry_point:
            return batched(env, seeds)
        close(env)
    return GymnasiumBackend(task, seeds)


def why_not_resumable(task: Task) -> str | None:
    """A sentence that says why a training on a task cannot go on from its middle; None where it can."""
    if _steps_all_at_once(task) is not None:
        return None
    return (
        f"task {task.label!r} is stepped by its own environment, whose state within an episode cannot be read; only on "
        "Gymnasium's own MuJoCo (-v5) and classic control tasks, without kwargs, variants and wrappers, can a training "
        "go on from its middle"
    )


def _steps_all_at_once(task: Task) -> type[BatchedBackend] | None:
    """What steps all environments of a task at once, by what is registered; None where nothing does."""
    spec: Any = gymnasium.registry.get(task.id)
    return None if _one_by_one or not _is_gymnasiums_own(task, spec) else batched_backend(spec.entry_point)


@contextmanager
def one_by_one() -> Iterator[None]:
    """Within this context every task is stepped by Gymnasium itself, one environment after another, for comparison."""
    global _one_by_one
    before, _one_by_one = _one_by_one, True
    try:
        yield
    finally:
        _one_by_one = before


def batched_backend(entry_point: str) -> type[BatchedBackend] | None:
    """What steps all environments of a class at once, by the class's "module:Class"; None where nothing does."""
    # Imported here: each takes some milliseconds of a process, and few processes need more than one.
    if entry_point.startswith("gymnasium.envs.classic_control."):
        from . import batched_classic

        return batched_classic.BATCHED.get(entry_point)
    if entry_point.startswith("gymnasium.envs.mujoco."):
        from . import batched_mujoco

        return batched_mujoco.BATCHED.get(entry_point)
    return None


def _is_gymnasiums_own(task: Task, spec: Any) -> bool:
    """Whether a task is registered as Gymnasium registers its own environments, and has no arguments of its own."""
    return (
        gymnasium.__version__ == GYMNASIUM
        and spec is not None
        and isinstance(spec.entry_point, str)
        and spec.order_enforce
        and not (spec.kwargs or spec.additional_wrappers or task.kwargs or task.variants or task.wrappers)
    )


_NOTHING_YET = object()  # in place of what a step returns


class GymnasiumBackend:
    """N Gymnasium environments stepped in a plain loop; a Backend.

    Of an `info` it reads `action_mask` (of the next action, see `masks`; not looked at where an episode ends), `cost`
    (of this step; none: 0), `true_reward` (of this step, at every step or never: what is wanted, where rewards are only
    a proxy of it) and, where actions have K parts, `part_rewards` (K numbers: at every step, or never).
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
        self._reports: dict[str, bool] = {}  # whether the infos of steps have this key: as the first one did
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
        true_rewards = np.zeros(len(self.envs))
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
                    costs[i] = self._number(info, "cost")
                if self._reported(info, "true_reward"):
                    true_rewards[i] = self._number(info, "true_reward")
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
            part_rewards if self._reports.get("part_rewards") else None,
            true_rewards if self._reports.get("true_reward") else None,
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

    def _number(self, info: Mapping[str, Any], key: str) -> float:
        """A number of a step's info; NaN and infinity pass, as they do in rewards: VectorEnv.step stops at them."""
        value = info[key]
        try:
            if isinstance(value, (str, bytes)):
                raise TypeError
            return float(value)
        except (TypeError, ValueError):
            raise UnsupportedTask(
                f"task {self.task_name!r} gives info[{key!r}] = {value!r}, which is not a number"
            ) from None

    def _reported(self, info: Mapping[str, Any], key: str) -> bool:
        """Whether a step's info has the key. Raises UnsupportedTask where the first step's was another matter."""
        given = key in info
        if given != self._reports.setdefault(key, given):
            raise UnsupportedTask(
                f"task {self.task_name!r} gives info[{key!r}] at some steps and not at others; "
                "it must give them at every step, or never"
            )
        return given

    def _read_part_rewards(self, info: Mapping[str, Any], row: np.ndarray) -> None:
        """Write info["part_rewards"] into `row` [K]."""
        if not self._reported(info, "part_rewards"):
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
