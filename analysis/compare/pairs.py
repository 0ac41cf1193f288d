"""Two results folders side by side: what was asked for, runs, scores, provenance."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.reading.grid import Grid, read_best, read_grid
from analysis.reading.jobs import STATES, Run, key, state_of
from analysis.reading.runs import read_episodes
from analysis.sections.learning.tables import curves as curve_table
from analysis.sections.provenance.tables import provenance as provenance_table
from analysis.sections.ranking.tables import ALL_TASKS, RANKED, Strata, strata_of
from analysis.sections.scores.tables import scores as score_table
from analysis.statistics import comparison
from analysis.statistics import scores as statistics

SCALE = ("random_score", "reference_score")
NOT_ASKED = ("title", "equation", "summary", "reference_source")  # words about a thing, not the thing
MEASURES = {"score": "Final score", "auc": "AUC: mean of the learning curve"}
SAME, DIFFERENT, UNKNOWN = 0, 1, 2  # exit status


@dataclass(frozen=True)
class Side:
    """A results folder, with the state of every cell and the runs that are there."""

    grid: Grid
    states: list[tuple[dict[str, Any], str, dict[str, Any] | None]]

    @property
    def runs(self) -> list[Run]:
        return [(cell, run) for cell, _, run in self.states if run is not None]


def read_side(folder: Path) -> Side:
    grid = read_grid(folder)
    return Side(grid, [(cell, *state_of(grid, cell)) for cell in grid.cells])


@dataclass(frozen=True)
class RunPair:
    """A cell with a run in both. `same_until`: the step at which the last episode ended before they part, 0 if the
    first differs; None where all episodes are the same.
    """

    task: str
    algorithm: str
    seed: int
    identical: bool
    same_until: int | None


@dataclass(frozen=True)
class ScorePair:
    """One measure of an algorithm on a task, or on all `tasks` that can be tested together, in both folders.

    `a` and `b` are means of raw scores (over several tasks: of normalised ones); `difference` with its interval is
    b − a of normalised ones; `p_adjusted` is Holm's. `same_within`: the smallest margin within which they are the same.
    `verdict`: identical, differs, same, equal (every run of both has the same score: no spread to judge by), not told
    apart, or too few runs. `asked`: what of task, steps, algorithm and settings is another in b.
    """

    measure: str
    task: str
    tasks: list[str]
    algorithm: str
    n_a: int
    n_b: int
    diverged_a: int
    diverged_b: int
    a: float
    b: float
    difference: float
    low: float
    high: float
    p: float
    p_adjusted: float
    verdict: str
    same_within: float
    asked: list[str]


@dataclass(frozen=True)
class Change:
    """Something that was asked for and is another in b: of a task, an algorithm, a study, or a pair's settings.

    `tuned`: whether a study has chosen the value, in a and in b.
    """

    kind: str
    name: str
    key: str
    a: Any
    b: Any
    tasks: list[str] = field(default_factory=list)
    tuned: tuple[bool, bool] = (False, False)


@dataclass(frozen=True)
class Comparison:
    """Everything that is said about two folders, in the order in which it is said."""

    verdict: str
    status: int
    margin: float
    folders: dict[str, dict[str, Any]]
    titles: dict[str, str]
    changes: list[Change]
    only: dict[str, dict[str, list[Any]]]
    runs: list[RunPair]
    scores: list[ScorePair]
    made_by: list[dict[str, Any]]


def shared_pairs(a: Grid, b: Grid) -> list[tuple[str, str]]:
    """(task, algorithm) of which both ask for cells, in the order of a."""
    asked = [{(cell["task"], cell["algorithm"]): None for cell in grid.cells} for grid in (a, b)]
    return [
        (task, algorithm)
        for algorithm in a.algorithms
        for task in a.tasks
        if all((task, algorithm) in pairs for pairs in asked)
    ]


def about(side: Side) -> dict[str, Any]:
    """A folder's name, its grid, and how many runs are there; those that are not are named."""
    states = [state for _, state, _ in side.states]
    absent = [(cell, state) for cell, state, run in side.states if run is None]
    return {
        "folder": side.grid.folder.as_posix(),
        "grid": side.grid.name,
        "requested": len(states),
        **{state: states.count(state) for state in STATES},
        "absent": [{**key(cell), "state": state} for cell, state in absent],
    }


def differing(a: dict[str, Any], b: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """Keys whose values differ, with both; None where a side does not have it."""
    names = [name for name in {**a, **b} if name not in NOT_ASKED]
    return [(name, a.get(name), b.get(name)) for name in names if a.get(name) != b.get(name)]


def section_changes(what: str, a: dict[str, dict[str, Any]], b: dict[str, dict[str, Any]]) -> list[Change]:
    """What differs of the tasks, or of the algorithms, that are in both."""
    return [Change(what, name, *values) for name in a if name in b for values in differing(a[name], b[name])]


def setting_changes(a: Grid, b: Grid) -> list[Change]:
    """Every setting that differs, once for all tasks on which an algorithm has the same two values."""
    found: dict[str, Change] = {}
    for task, algorithm in shared_pairs(a, b):
        cells = [grid.requested(task, algorithm)[0] for grid in (a, b)]
        tuned = [tuned_settings(grid, cell) for grid, cell in zip((a, b), cells, strict=True)]
        for name, *values in differing(*(cell["settings"] for cell in cells)):
            change = Change("setting", algorithm, name, *values, [], tuple(name in names for names in tuned))
            found.setdefault(repr(change), change).tasks.append(task)
    return list(found.values())


def tuned_settings(grid: Grid, cell: dict[str, Any]) -> dict[str, Any]:
    """The settings of a cell that a study has chosen."""
    best = [read_best(grid.folder, study) for study in grid.studies if study["directory"] == cell["tuned"]]
    return best[0]["settings"] if best and best[0] else {}


def study_changes(a: Grid, b: Grid) -> list[Change]:
    """How algorithms were tuned that both have on any task."""
    ours, theirs = (
        {(study["algorithm"], study["group"]): study for study in grid.studies if study["algorithm"] in other}
        for grid, other in ((a, b.algorithms), (b, a.algorithms))
    )
    return [
        Change("study", " ".join(name), *change)
        for name in {**ours, **theirs}
        for change in (
            differing(ours[name], theirs[name])
            if name in ours and name in theirs
            else [("tuned", name in ours, name in theirs)]
        )
    ]


def asked_otherwise(task: str, algorithm: str, changes: list[Change]) -> list[str]:
    """What may move a pair's scores because b asks for something else: steps, task, algorithm, settings."""
    kinds = []
    for change in changes:
        if change.kind == "task" and change.name == task and change.key not in (*SCALE, "threshold"):
            kinds.append("steps" if change.key == "steps" else "task")
        elif change.kind == "algorithm" and change.name == algorithm:
            kinds.append("algorithm")
        elif change.kind == "setting" and change.name == algorithm and task in change.tasks:
            kinds.append("settings")
    return list(dict.fromkeys(kinds))


def only_in(grid: Grid, other: Grid) -> dict[str, list[Any]]:
    """Tasks, algorithms and seeds of `grid` that `other` does not have, and its pairs that are missing besides."""
    tasks = [task for task in grid.tasks if task not in other.tasks]
    algorithms = [algorithm for algorithm in grid.algorithms if algorithm not in other.algorithms]
    seeds = [seed for seed in grid.seeds if seed not in other.seeds]
    theirs = {tuple(key(cell).values()) for cell in other.cells}
    cells = [
        key(cell)
        for cell in grid.cells
        if tuple(key(cell).values()) not in theirs
        and not (cell["task"] in tasks or cell["algorithm"] in algorithms or cell["seed"] in seeds)
    ]
    return {"tasks": tasks, "algorithms": algorithms, "seeds": seeds, "cells": cells}


def run_pairs(a: Side, b: Side) -> list[RunPair]:
    """Every cell with a run in both, whether it is the same run."""
    theirs = {tuple(key(cell).values()): (cell, run) for cell, run in b.runs}
    found = []
    for cell, run in a.runs:
        if (name := tuple(key(cell).values())) in theirs:
            other, other_run = theirs[name]
            until = same_until(
                (a.grid.folder / cell["directory"], run), (b.grid.folder / other["directory"], other_run)
            )
            outcome = ("status", "diverged_at", "evaluation", "steps")
            identical = until is None and all(run[part] == other_run[part] for part in outcome)
            found.append(RunPair(*name, identical, until))
    return found


def same_until(a: tuple[Path, dict[str, Any]], b: tuple[Path, dict[str, Any]]) -> int | None:
    """The step at which the last episode ended before two runs part, 0 if the first differs; None if none does."""
    if len({(folder / "episodes.csv").read_bytes() for folder, _ in (a, b)}) == 1:
        return None
    ours, theirs = (read_episodes(*side).to_numpy() for side in (a, b))
    both = min(len(ours), len(theirs))
    same = ((ours[:both] == theirs[:both]) | (np.isnan(ours[:both]) & np.isnan(theirs[:both]))).all(axis=1)
    if same.all() and len(ours) == len(theirs):
        return None
    parted = both if same.all() else int(np.argmin(same))
    return int(ours[parted - 1, 0]) if parted else 0


def paired_scores(a: Side, b: Side, runs: list[RunPair], changes: list[Change]) -> list[ScorePair]:
    """Both measures of every pair with runs in both, not yet tested against each other."""
    ours, theirs = (scores_on_scale_of(a.grid, side) for side in (a, b))
    identical = {name for name, own in grouped(runs, name_of).items() if all_identical(own)}
    asked = {name: asked_otherwise(*name, changes) for name in shared_pairs(a.grid, b.grid)}
    pairs = []
    for measure, column in RANKED.items():
        for algorithm in a.grid.algorithms:
            rows = [side[side["algorithm"] == algorithm] for side in (ours, theirs)]
            values = [{name: strata_of(side, name) for name in (measure, column, "status")} for side in rows]
            pairs += score_pairs(measure, algorithm, *values, identical, asked)
    return pairs


def scores_on_scale_of(grid: Grid, side: Side) -> pd.DataFrame:
    """A folder's scores, with the random and reference scores of `grid` where it has the task."""
    tasks = {
        task: {**values, **{name: grid.tasks.get(task, values)[name] for name in SCALE}}
        for task, values in side.grid.tasks.items()
    }
    scaled = replace(side.grid, tasks=tasks)
    return score_table(scaled, side.runs, curve_table(scaled, side.runs))


def score_pairs(
    measure: str,
    algorithm: str,
    a: dict[str, Strata],
    b: dict[str, Strata],
    identical: set[tuple[str, str]],
    asked: dict[tuple[str, str], list[str]],
) -> list[ScorePair]:
    """One algorithm's pairs with their p-values: on each task, then on all that can be tested together. a and b: of the
    measure, of its normalised values and of the runs' status, by task.
    """
    ours, theirs = (side[RANKED[measure]] for side in (a, b))
    shared = [task for task in ours if task in theirs]
    same = [task for task in shared if (task, algorithm) in identical]
    tested = [task for task in shared if task not in same and min(len(ours[task]), len(theirs[task])) > 1]
    together = [(ALL_TASKS, tested)] if len(tested) > 1 else []
    pairs = []
    for name, tasks in [*((task, [task]) for task in shared), *together]:
        found = comparison.difference([theirs[task] for task in tasks], [ours[task] for task in tasks])
        shown = RANKED[measure] if name == ALL_TASKS else measure
        means = [statistics.mean_over_tasks([side[shown][task] for task in tasks]) for side in (a, b)]
        n = [sum(len(side[shown][task]) for task in tasks) for side in (a, b)]
        diverged = [sum((side["status"][task] == "diverged").sum() for task in tasks) for side in (a, b)]
        known = name not in same
        pairs.append(
            ScorePair(
                measure=measure,
                task=name,
                tasks=tasks,
                algorithm=algorithm,
                n_a=n[0],
                n_b=n[1],
                diverged_a=int(diverged[0]),
                diverged_b=int(diverged[1]),
                a=float(means[0]),
                b=float(means[1]),
                difference=found.value,
                low=found.low if known else np.nan,
                high=found.high if known else np.nan,
                p=found.p if known else np.nan,
                p_adjusted=np.nan,
                same_within=max(abs(found.low), abs(found.high)) if known else 0.0,
                verdict="" if known else "identical",
                asked=list(dict.fromkeys(kind for task in tasks for kind in asked[task, algorithm])),
            )
        )
    return pairs


def judged(pairs: list[ScorePair], margin: float) -> list[ScorePair]:
    """The pairs with adjusted p-values and verdicts: one family of tests, whatever its measures."""
    adjusted = comparison.holm([pair.p for pair in pairs])
    return [judge(pair, float(p), margin) for pair, p in zip(pairs, adjusted, strict=True)]


def judge(pair: ScorePair, p: float, margin: float) -> ScorePair:
    if pair.verdict == "identical":
        return pair
    if np.isnan(p):
        verdict = "too few runs"
    elif pair.low == pair.high == 0:
        verdict = "equal"
    elif pair.same_within <= margin:
        verdict = "same"
    else:
        verdict = "differs" if p <= 1 - statistics.CONFIDENCE else "not told apart"
    return replace(pair, p_adjusted=p, verdict=verdict)


def status_of(scores: list[ScorePair]) -> int:
    """The exit status: whether anything differs by more than chance, or nothing could be said about that."""
    verdicts = {pair.verdict for pair in scores}
    if "differs" in verdicts:
        return DIFFERENT
    return UNKNOWN if not verdicts or verdicts - {"identical"} == {"too few runs"} else SAME


def made_by(a: Side, b: Side) -> list[dict[str, Any]]:
    """What made the runs, by name: each value in a and in b with its number of runs."""
    ours, theirs = (provenance_table(side.runs, ()) for side in (a, b))
    names = pd.concat([ours, theirs])[["kind", "name"]].drop_duplicates()
    return [
        {"kind": kind, "name": name}
        | {
            side: {row.value: row.runs for row in table[(table["kind"] == kind) & (table["name"] == name)].itertuples()}
            for side, table in (("a", ours), ("b", theirs))
        }
        for kind, name in names.itertuples(index=False)
    ]


def all_identical(runs: list[RunPair]) -> bool:
    return all(run.identical for run in runs)


def grouped(items: Iterable[Any], name: Callable[[Any], Any]) -> dict[Any, list[Any]]:
    """Items by name, in the order in which names first appear."""
    groups: dict[Any, list[Any]] = {}
    for item in items:
        groups.setdefault(name(item), []).append(item)
    return groups


def name_of(pair: RunPair | ScorePair) -> tuple[str, str]:
    return pair.task, pair.algorithm
