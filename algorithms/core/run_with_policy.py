"""A training whose run has its policy, as the on-policy and the off-policy algorithms train."""

from collections.abc import Callable
from typing import Any

from .run import LONGEST_EPISODE, Run
from .saved_policy import SavedPolicy
from .task import Task
from .training import Learner, Seeds, train
from .vector_env import VectorEnv


def train_and_keep(
    algorithm: Any,
    make_learner: Callable[[VectorEnv, Seeds], Learner],
    task: Task,
    seed: int,
    steps: int,
    **options: Any,
) -> Run:
    """As `train`, of a run that has its policy, unless it diverged; the algorithm says of which networks that is."""
    made: list[tuple[Learner, VectorEnv]] = []

    def make_and_remember(envs: VectorEnv, seeds: Seeds) -> Learner:
        made.append((make_learner(envs, seeds), envs))
        return made[0][0]

    run = train(algorithm, make_and_remember, task, seed, steps, **options)
    if run.diverged_at is None or run.stopped_by_task:
        ((learner, envs),) = made
        spaces = envs.backend.observation_space, envs.action_space
        run.policy = SavedPolicy.of(algorithm, task, spaces, learner.state(), min(steps, LONGEST_EPISODE))
    return run
