"""N environments stepped by EnvPool (Weng et al., 2022): the same tasks in C++, without Python between their steps.

EnvPool brings a MuJoCo of its own (1.2.5: MuJoCo 3.6). The tasks here are those for which the tests find that it gives
what Gymnasium gives from the same states and actions: to rounding, except that in about one step of 1,000 MuJoCo 4.0
stops its solver of contacts earlier, which moves an observation by up to 2e-5. Random numbers are others, so a seed has
other first states; rewards are in single precision. Spaces and time limits are taken from Gymnasium.
"""

import importlib.util
from collections.abc import Sequence

import numpy as np

from algorithms.core.task import Task, UnsupportedTask, make_env

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
    """Refuse with a sentence, in UnsupportedTask, a task that is not among `TASKS`, or any where EnvPool is missing."""
    if task.id not in TASKS:
        raise UnsupportedTask(
            f"task {task.id!r} cannot have backend 'envpool', which is for tasks that EnvPool has and that are tested "
            f"to be the same as Gymnasium's: {', '.join(TASKS)}; use backend 'gymnasium'"
        )
    if importlib.util.find_spec("envpool") is None:
        raise UnsupportedTask(
            f"task {task.id!r} has backend 'envpool', but EnvPool is not installed; "
            "install it with pip install -e '.[envpool]', or use backend 'gymnasium'"
        )


class EnvPoolBackend:
    """N environments of one pool, which steps them on one thread: parallelism is by cells.

    EnvPool restarts an episode by itself at the step after its end, and says of an episode that terminates at its time
    limit that it was truncated only. So the pool gets a limit that is never reached, the time limit is applied here,
    and every restart is asked for.
    """

    action_masks = None  # none of the tasks has any

    def __init__(self, task: Task, seeds: Sequence[int]):
        check(task)
        import envpool  # here, because it takes most of a second, and only for tasks that name it

        env = make_env(task)
        self.action_space = env.action_space
        self.observation_size = env.observation_space.shape[0]
        self.time_limit = env.spec.max_episode_steps
        env.close()
        self._num_envs = len(seeds)
        self.pool = envpool.make_gymnasium(
            task.id,
            num_envs=len(seeds),
            num_threads=1,
            seed=np.array(seeds, np.uint32).view(np.int32),  # EnvPool takes signed seeds
            max_episode_steps=self.time_limit + 1,
        )

    def reset(self, ids: np.ndarray) -> np.ndarray:
        """Begin an episode in the environments `ids` (int [k]); returns their first observations, float32 [k, D]."""
        observations, _ = self.pool.reset(ids.astype(np.int32))
        return observations.astype(np.float32)

    def step(
        self, actions: np.ndarray, active: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The fields of a Transition; an environment whose episode has ended waits for its reset."""
        if active is None:
            return self._step(actions)
        ids = active.nonzero()[0]
        fields = []
        for values in self._step(actions[ids], ids):
            field = np.zeros((self._num_envs, *values.shape[1:]), values.dtype)
            field[ids] = values
            fields.append(field)
        return tuple(fields)

    def close(self) -> None:
        """End the pool's threads."""
        self.pool.close()
        del self.pool

    def _step(self, actions: np.ndarray, ids: np.ndarray | None = None):
        observations, rewards, terminated, _, info = self.pool.step(actions, ids)
        truncated = info["elapsed_step"] >= self.time_limit
        return observations.astype(np.float32), rewards.astype(np.float64), terminated, truncated
