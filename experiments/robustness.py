"""Evaluates a trained policy on tasks that differ from the one it was trained on, in one respect at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from policy_gradient_ladder.core.run import EVALUATION_EPISODES, KeptPolicy
from policy_gradient_ladder.core.task import StoppedByTask, Task

from .tasks.changes import Changed

WRAPPER = f"{Changed.__module__}:{Changed.__name__}"


def changed(task: Task, change: str, size: float) -> Task:
    """The task with one change, which is outermost."""
    return replace(task, wrappers=(*task.wrappers, {"wrapper": WRAPPER, change: size}), training_wrappers=())


def evaluate_changed(
    policy: KeptPolicy, task: Task, perturbations: Mapping[str, Sequence[float]], seed: int
) -> list[dict[str, Any]]:
    """The returns of a run's policy under each size of each change, with sampled actions, as they are recorded.

    Seeds, episodes and random numbers are those of the run's own evaluation, so that what differs is the task alone.
    Where the changed task gives a number that is not usable, the returns are None, and `because` says what it was.
    """
    found = []
    for change, sizes in perturbations.items():
        for size in sizes:
            entry: dict[str, Any] = {"change": change, "size": size}
            try:
                entry["returns"] = policy.evaluate(EVALUATION_EPISODES, changed(task, change, size), seed).tolist()
            except StoppedByTask as at:
                entry |= {"returns": None, "because": at.reason}
            found.append(entry)
    return found
