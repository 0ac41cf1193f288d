"""Chooses what steps a task: all environments at once where that is known to give Gymnasium's numbers, else a loop."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import gymnasium
from gymnasium.envs.classic_control import (
    AcrobotEnv,
    CartPoleEnv,
    Continuous_MountainCarEnv,
    MountainCarEnv,
    PendulumEnv,
)
from gymnasium.envs.mujoco.ant_v5 import AntEnv
from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv
from gymnasium.envs.mujoco.hopper_v5 import HopperEnv
from gymnasium.envs.mujoco.humanoid_v5 import HumanoidEnv
from gymnasium.envs.mujoco.humanoidstandup_v5 import HumanoidStandupEnv
from gymnasium.envs.mujoco.inverted_double_pendulum_v5 import InvertedDoublePendulumEnv
from gymnasium.envs.mujoco.inverted_pendulum_v5 import InvertedPendulumEnv
from gymnasium.envs.mujoco.pusher_v5 import PusherEnv
from gymnasium.envs.mujoco.reacher_v5 import ReacherEnv
from gymnasium.envs.mujoco.swimmer_v5 import SwimmerEnv
from gymnasium.envs.mujoco.walker2d_v5 import Walker2dEnv

from algorithms.core import batched_classic as classic
from algorithms.core import batched_contact as contact
from algorithms.core import batched_mujoco as simulated
from algorithms.core.batched import BatchedBackend
from algorithms.core.gymnasium_backend import GymnasiumBackend
from algorithms.core.task import Backend, Task, close, make_env

# The environments whose episodes, stepped at once, the tests find to be bit for bit those of this Gymnasium.
GYMNASIUM = "1.4.0"
BATCHED: dict[type, type[BatchedBackend]] = {
    CartPoleEnv: classic.CartPoles,
    AcrobotEnv: classic.Acrobots,
    PendulumEnv: classic.Pendulums,
    MountainCarEnv: classic.MountainCars,
    Continuous_MountainCarEnv: classic.ContinuousMountainCars,
    HalfCheetahEnv: simulated.Runners,
    SwimmerEnv: simulated.Runners,
    HopperEnv: simulated.Walkers,
    Walker2dEnv: simulated.Walkers,
    InvertedPendulumEnv: simulated.InvertedPendulums,
    InvertedDoublePendulumEnv: simulated.InvertedDoublePendulums,
    ReacherEnv: simulated.Reachers,
    PusherEnv: simulated.Pushers,
    AntEnv: contact.Ants,
    HumanoidEnv: contact.WalkingHumanoids,
    HumanoidStandupEnv: contact.Humanoids,
}
ENTRY_POINTS = {f"{env.__module__}:{env.__qualname__}" for env in BATCHED}

_one_by_one = False  # see one_by_one


def make_backend(task: Task, seeds: Sequence[int]) -> Backend:
    """The environments of a task, one for each of `seeds`; raises UnsupportedTask as `make_envs` does."""
    if not _one_by_one and _is_gymnasiums_own(task):
        env = make_env(task)
        if (batched := BATCHED.get(type(env.unwrapped))) is not None:
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


def _is_gymnasiums_own(task: Task) -> bool:
    """Whether a task is one of Gymnasium's own environments as they are registered there, without other arguments."""
    spec: Any = gymnasium.registry.get(task.id)
    return (
        gymnasium.__version__ == GYMNASIUM
        and spec is not None
        and isinstance(spec.entry_point, str)
        and spec.entry_point in ENTRY_POINTS
        and spec.order_enforce
        and not (spec.kwargs or spec.additional_wrappers or task.kwargs or task.variants)
    )
