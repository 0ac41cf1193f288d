"""Whether the algorithms of a grid fit its tasks' actions and preprocessing, and its budgets."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from policy_gradient_ladder.core.task import close, make_env

from .cells import Grid
from .checks import GridError

SIZES = ("buffer_size", "batch_size", "learning_starts")  # the settings that have to fit


def check_fits(grid: Grid) -> None:
    """Raise GridError where an algorithm cannot act on a task, takes no statistics that the task or a study takes, or
    would learn nothing within a budget.

    What a study searches is checked as well: with every budget that it trains for, and with that of every task that it
    serves.
    """
    spaces: dict[str, Any] = {}
    for name, entry in grid.algorithms.items():
        for task, of in grid.tasks.items():
            if not entry.runs_on(task):
                continue
            algorithm = grid.resolved(name, task)
            study = grid.study_of(name, task)
            if (problem := algorithm.statistics_problem(of.task, study is not None)) is not None:
                raise GridError(f"{grid.path}: algorithm {name}: task {task} {problem}")
            if algorithm.depends_on_actions:
                if task not in spaces:
                    env = make_env(of.task)
                    spaces[task] = env.action_space
                    close(env)
                if (problem := algorithm.task_problem(spaces[task])) is not None:
                    raise GridError(
                        f"{grid.path}: algorithm {name}: task {task} {problem}; or say with only: on which it runs"
                    )
            if (problem := algorithm.budget_problem(of.steps)) is not None:
                raise GridError(f"{grid.path}: algorithm {name} on {task}: {problem}")
            for steps in () if study is None else {of.steps, *study.tasks.values()}:
                for sizes in _searched(study.space):
                    if (problem := replace(algorithm, **sizes).budget_problem(steps)) is not None:
                        raise GridError(f"{grid.path}: search_space of {name} on {task}: {problem}")


def _searched(space: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The settings of SIZES at the ends of what is searched, in every combination."""
    ends = {}
    for name in SIZES:
        if name in space:
            values = space[name].values()
            ends[name] = {min(values), max(values)}
    return (dict(zip(ends, values, strict=True)) for values in itertools.product(*ends.values()))
