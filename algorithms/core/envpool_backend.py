"""N environments stepped by EnvPool (Weng et al., 2022): the same tasks in C++, without Python between their steps.

EnvPool brings its own MuJoCo (EnvPool 1.2.5 brings MuJoCo 3.6). For the tasks in `TASKS`, the tests compare EnvPool
with Gymnasium from the same states and actions. The two agree to rounding, except that in about one step of 1,000
MuJoCo 4.0, which Gymnasium uses, stops its solver of contacts earlier; this changes an observation by up to 2e-5. The
random numbers differ, so the same seed gives other first states. Rewards are in single precision. Spaces and time
limits are Gymnasium's.
"""

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from algorithms.core.task import Task, Transition, UnsupportedTask, close, make_env, time_limit_of

TASKS = (
    "CartPole-v1",
    "Acrobot-v1",
    "MountainCar-v0",
    "MountainCarContinuous-v0",
    "Pendulum-v1",
    "InvertedPendulum-v5",
    "InvertedDoublePendulum-v5",
    "Reacher-v5",
    "Swimmer-v5",
    "Hopper-v5",
    "Walker2d-v5",
    "HalfCheetah-v5",
)


def check(task: Task) -> None:
    """Raise UnsupportedTask, with a sentence, where EnvPool cannot step the task.

    This is so for a task outside `TASKS`, for a task with kwargs or variants, and where EnvPool is not installed.
    """
    if task.id not in TASKS:
        raise UnsupportedTask(
            f"task {task.label!r} cannot have backend 'envpool', which supports only the tasks for which tests show "
            f"that EnvPool and Gymnasium agree: {', '.join(TASKS)}; use backend 'gymnasium'"
        )
    if task.variants or task.kwargs:
        what = "variants" if task.variants else "kwargs"
        raise UnsupportedTask(
            f"task {task.label!r} has {what}, whose keyword arguments EnvPool does not know; use backend 'gymnasium'"
        )
    if importlib.util.find_spec("envpool") is None:
        raise UnsupportedTask(
            f"task {task.label!r} has backend 'envpool', but EnvPool is not installed; "
            "install it with pip install -e '.[envpool]', or use backend 'gymnasium'"
        )


class EnvPoolBackend:
    """A Backend of N environments of one EnvPool pool, which steps them on one thread, since cells run in parallel.

    `seeds` has one seed per environment. EnvPool would restart an episode by itself at the step after its end, and
    would report an episode that terminates at its time limit as truncated only. So the pool gets a limit that no
    episode reaches, this class applies the time limit, and the caller asks for every restart.
    """

    action_masks: np.ndarray | None = None  # no task among `TASKS` masks actions

    def __init__(self, task: Task, seeds: Sequence[int]) -> None:
        check(task)
        import envpool  # not at the top of the file: the import takes most of a second, and few tasks need it

        env = make_env(task)
        observations, time_limit = env.observation_space, time_limit_of(env)
        assert observations.shape is not None  # every task among `TASKS` has a flat Box of observations
        assert time_limit is not None  # and a time limit
        self.action_space = env.action_space
        self.observation_size = observations.shape[0]
        self.time_limit: int | None = time_limit
        self._time_limit = time_limit
        close(env)
        self._num_envs = len(seeds)
        self.pool: Any = envpool.make_gymnasium(
            task.id,
            num_envs=len(seeds),
            num_threads=1,
            seed=np.array(seeds, np.uint32).view(np.int32),  # EnvPool takes signed seeds
            max_episode_steps=time_limit + 1,
        )

    def reset(self, ids: np.ndarray) -> np.ndarray:
        """Begin an episode in the environments `ids` (int [k]); returns their first observations, float32 [k, D]."""
        observations: np.ndarray = self.pool.reset(ids.astype(np.int32))[0].astype(np.float32)
        return observations

    def step(self, actions: np.ndarray, active: np.ndarray | None) -> Transition:
        """Step the environments of which `active` (bool [N]; None: all) is true, as Backend.step does."""
        if active is None:
            return self._step(actions)
        ids = active.nonzero()[0]
        return Transition(*(self._in_their_rows(ids, values) for values in self._step(actions[ids], ids)))

    def close(self) -> None:
        """End the pool's threads."""
        close(self.pool)
        del self.pool

    def _step(self, actions: np.ndarray, ids: np.ndarray | None = None) -> Transition:
        """The transition of the environments `ids` (int [k]; None: all) alone, in k rows."""
        observations, rewards, terminated, _, info = self.pool.step(actions, ids)
        truncated = info["elapsed_step"] >= self._time_limit
        return Transition(
            observations.astype(np.float32), rewards.astype(np.float64), terminated, truncated, costs_of(info)
        )

    def _in_their_rows(self, ids: np.ndarray, values: np.ndarray | None) -> Any:
        """`values` [k, …] of the environments `ids` in an array [N, …] that is zero elsewhere; None stays None."""
        if values is None:
            return None
        result = np.zeros((self._num_envs, *values.shape[1:]), values.dtype)
        result[ids] = values
        return result


def costs_of(info: Mapping[str, Any]) -> np.ndarray | None:
    """The costs info["cost"] of a vector environment, float64 [k]; None where the info has no costs.

    The cost of an environment is 0 where info["_cost"] (bool [k], optional) is false. By Gymnasium's convention,
    `_cost` says which environments have reported a cost.
    """
    if "cost" not in info:
        return None
    return np.where(info.get("_cost", True), np.asarray(info["cost"], np.float64), 0.0)
