"""Training from a program or a notebook, without a grid."""

import inspect
from collections.abc import Sequence
from typing import Any

from .algorithm import Algorithm, OnUpdate
from .run import EVALUATIONS, Run
from .task import Task


def train(
    algorithm: Algorithm,
    task: str | Task,
    *,
    seed: int = 0,
    steps: int,
    checkpoints: Sequence[float] = (),
    evaluations: Sequence[str] = EVALUATIONS,
    on_update: OnUpdate = lambda steps, episodes: None,
    compile: str = "auto",
) -> Run:
    """Train an algorithm on a task, and evaluate it: what a cell of a grid does, with the same numbers.

    - `algorithm`: with its settings, such as PPO(clip=0.1)
    - `task`: a Gymnasium id, or a Task, which also says how observations and rewards are normalised
    - `seed`: of everything that is random, a whole number from 0; `steps`: the budget in environment steps
    - `checkpoints`: fractions of the budget, in [0, 1], at which the learner's arrays are kept
    - `evaluations`: with "sampled" actions, the "mode" action, both or neither
    - `on_update`: is told after every update how many steps were taken, and the episodes until then
    - `compile`: "auto", "always" or "never", see `on_policy.Learner`

    `run.policy` acts and is evaluated further, `run.to_pandas()` has an episode in each row, and `run.evaluation` the
    returns of the evaluation by kind. Raises ValueError, with a sentence, for an argument of the wrong type, and
    UnsupportedTask for a task that cannot be made or learned.
    """
    if inspect.isclass(algorithm) and issubclass(algorithm, Algorithm):
        raise ValueError(f"algorithm must be an object with settings, {algorithm.__name__}(), not the class itself")
    if not isinstance(algorithm, Algorithm):
        raise ValueError(f"algorithm must be an Algorithm, such as PPO(clip=0.1), not {algorithm!r}")
    if not isinstance(task, str | Task):
        raise ValueError(f"task must be a Gymnasium id, such as 'CartPole-v1', or a Task, not {_described(task)}")
    return algorithm.train(
        Task(task) if isinstance(task, str) else task,
        seed,
        steps,
        checkpoint_fractions=checkpoints,
        evaluations=evaluations,
        on_update=on_update,
        compile=compile,
        runs=1,
    )


def _described(value: Any) -> str:
    """A value, or its class where its `repr` is long."""
    return repr(value) if len(repr(value)) < 80 else f"a {type(value).__name__}"
