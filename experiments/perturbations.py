"""The key `perturbations` of a grid: the changes under which trained policies are evaluated."""

from collections.abc import Mapping
from typing import Any

from policy_gradient_ladder.core.algorithm import nearest_first
from policy_gradient_ladder.core.task import Task, close, make_env

from .checks import GridError
from .tasks.changes import CHANGES, why_not


def read_perturbations(path: str, where: str, data: Mapping[str, Any], task: Task) -> dict[str, tuple[float, ...]]:
    """The sizes of each change at which policies of a task are evaluated, ascending; changes in the order of CHANGES.

    `where` is the task, or the grid, as messages name it. Raises GridError where a change is unknown or none that the
    task can have, and where its sizes are no list of different numbers that it may have.
    """
    found: dict[str, tuple[float, ...]] = {}
    for change, sizes in data.items():
        if change not in CHANGES:
            raise GridError(
                f"{path}: perturbations of {where} has {change!r}; {nearest_first(str(change), list(CHANGES))}"
            )
        if not isinstance(sizes, list) or not sizes:
            raise GridError(f"{path}: {change} in perturbations of {where} must be a list of sizes, not {sizes!r}")
        for size in sizes:
            if not CHANGES[change].allows(size):
                raise GridError(
                    f"{path}: {change} in perturbations of {where} must be {CHANGES[change].expected}, not {size!r}"
                )
        numbers = sorted(map(float, sizes))
        if repeated := [x for i, x in enumerate(numbers) if x in numbers[:i]]:
            raise GridError(f"{path}: {change} in perturbations of {where} lists {repeated[0]:g} twice")
        found[change] = tuple(numbers)
    env = make_env(task) if found else None
    if env is not None:
        close(env)
        for change in found:
            if (reason := why_not(env, change)) is not None:
                raise GridError(f"{path}: perturbations of {where} has {change}, but of task {task.label} {reason}")
    return {change: found[change] for change in CHANGES if change in found}
