"""The places of claims: on which of a grid's tasks each side of a comparison is.

A place is a task's name. Where a side says with `on` which values its task has, a place is a Gymnasium id: the side is
then on the grid's task with this id and these values.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from policy_gradient_ladder.core.task import Task

from .cells import GridAlgorithm, GridTask
from .checks import GridError
from .claims import Claim, Comparison, Side
from .metrics import SCALES

SCALE = ("random_score", "reference_score")  # what two tasks must share where their scores are compared


def placed(
    claims: tuple[Claim, ...], tasks: Mapping[str, GridTask], algorithms: Mapping[str, GridAlgorithm]
) -> tuple[Claim, ...]:
    """The claims, with the tasks of each side that has `on`.

    Raises GridError where two tasks fit a side, where none does at any place, and where the tasks of two sides cannot
    be compared. What names an algorithm that the grid does not have cannot be tested, and is not checked further.
    """
    return tuple(
        replace(
            claim,
            comparisons=tuple(
                _placed(f"{claim.file}: comparison {number} of claim {claim.id}", comparison, tasks, algorithms)
                for number, comparison in enumerate(claim.comparisons, start=1)
            ),
        )
        for claim in claims
    )


def _placed(
    where: str, comparison: Comparison, tasks: Mapping[str, GridTask], algorithms: Mapping[str, GridAlgorithm]
) -> Comparison:
    if all(side.on is None for side in comparison.singles()):
        _check_under(
            where, comparison, [name for name in tasks if comparison.tasks == "all" or name in comparison.tasks], tasks
        )
        return comparison
    ids = dict.fromkeys(task.task.id for task in tasks.values())
    places = list(ids) if isinstance(comparison.tasks, str) else comparison.tasks

    def with_tasks(side: Side) -> Side:
        if side.best_of:
            return replace(side, best_of=tuple(map(with_tasks, side.best_of)))
        if side.on is None:
            return side
        found = {place: name for place in places if (name := _task_at(where, place, side, tasks)) is not None}
        return replace(side, tasks=found)

    comparison = replace(comparison, sides=tuple(map(with_tasks, comparison.sides)))
    if any(side.algorithm not in algorithms for side in comparison.singles()):
        return comparison
    for side in comparison.singles():
        if side.on is not None and not side.tasks:
            raise GridError(
                f"{where} has {side.algorithm} on {_in_words(side)}, and the grid has no such task with the id "
                f"{' or '.join(places)}; a key that is not said has its default"
            )
    for place in places:
        names = list(_tasks_at(comparison, place, tasks))
        _check_scale(where, comparison, names, tasks)
        _check_under(where, comparison, names, tasks)
    return comparison


def _check_under(where: str, comparison: Comparison, names: list[str], tasks: Mapping[str, GridTask]) -> None:
    """Raise GridError where policies are not evaluated under the change that a comparison is about, on any of these."""
    for change, size in (comparison.under or {}).items():
        for name in names:
            if float(size) not in (sizes := tasks[name].perturbations.get(change, ())):
                listed = ", ".join(f"{one:g}" for one in sizes) or "nothing"
                raise GridError(
                    f"{where} is under {change} {size:g}, and perturbations of task {name} has {listed} for {change}"
                )


def _in_words(side: Side) -> str:
    return f"{{{', '.join(f'{key}: {value}' for key, value in (side.on or {}).items())}}}"


def _task_at(where: str, place: str, side: Side, tasks: Mapping[str, GridTask]) -> str | None:
    """The name of the task with the id `place` and the side's values; None where there is none."""
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in (side.on or {}).items()}
    wanted = Task(place, **values)
    # A name tells tasks apart and is nothing that a run depends on; so is the consent to a task of some kind.
    found = [name for name, of in tasks.items() if replace(of.task, name=None, allow_normalised=False) == wanted]
    if len(found) > 1:
        raise GridError(
            f"{where} has {side.algorithm} on {_in_words(side)}, and of the grid's tasks with the id {place} "
            f"{' and '.join(found)} are this; leave one out"
        )
    return found[0] if found else None


def _tasks_at(comparison: Comparison, place: str, tasks: Mapping[str, GridTask]) -> Iterator[str]:
    """The names of the tasks on which the sides are, those that are not there left out."""
    for side in comparison.singles():
        name = place if side.on is None else side.tasks.get(place)
        if name is not None and name in tasks:
            yield name


def _check_scale(where: str, comparison: Comparison, names: list[str], tasks: Mapping[str, GridTask]) -> None:
    """Raise GridError where scores on these tasks are not on one scale, or not after as many steps."""
    shared = (*SCALE, *SCALES.get(comparison.metric, ()))
    shared += () if "steps" in comparison.differing_in else ("steps",)
    for name in names[1:]:
        for key in shared:
            first, second = getattr(tasks[names[0]], key), getattr(tasks[name], key)
            if first != second:
                raise GridError(
                    f"{where} compares runs on {names[0]} and on {name}, whose {key} is {first} and {second}; give "
                    f"both tasks the same {key}"
                )
