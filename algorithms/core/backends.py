"""Chooses what steps a task: all environments at once where that is known to give Gymnasium's numbers, else a loop."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import gymnasium

from algorithms.core.batched import BatchedBackend
from algorithms.core.gymnasium_backend import GymnasiumBackend
from algorithms.core.task import Backend, Task, close, make_env

GYMNASIUM = "1.4.0"  # the version whose episodes the tests find to be the same, bit for bit

_one_by_one = False  # see one_by_one


def make_backend(task: Task, seeds: Sequence[int]) -> Backend:
    """The environments of a task, one for each of `seeds`; raises UnsupportedTask as `make_envs` does."""
    spec: Any = gymnasium.registry.get(task.id)
    if not _one_by_one and _is_gymnasiums_own(task, spec) and (batched := batched_backend(spec.entry_point)):
        env = make_env(task)
        made = type(env.unwrapped)
        if f"{made.__module__}:{made.__qualname__}" == spec.entry_point:
            return batched(env, seeds)
        close(env)
    return GymnasiumBackend(task, seeds)


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
        from algorithms.core import batched_classic

        return batched_classic.BATCHED.get(entry_point)
    if entry_point.startswith("gymnasium.envs.mujoco."):
        from algorithms.core import batched_contact, batched_mujoco

        return (batched_mujoco.BATCHED | batched_contact.BATCHED).get(entry_point)
    return None


def _is_gymnasiums_own(task: Task, spec: Any) -> bool:
    """Whether a task is registered as Gymnasium registers its own environments, and has no arguments of its own."""
    return (
        gymnasium.__version__ == GYMNASIUM
        and spec is not None
        and isinstance(spec.entry_point, str)
        and spec.order_enforce
        and not (spec.kwargs or spec.additional_wrappers or task.kwargs or task.variants)
    )
