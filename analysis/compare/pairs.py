"""Finds what differs between two results folders, a and b: what was asked for, runs, scores and provenance."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from policy_gradient_ladder.experiments.schema import TASK_CODE

from ..reading.checks import differing as parts_differing
from ..reading.grid import Grid, read_grid
from ..reading.jobs import STATES, Run, key, state_of
from ..reading.runs import read_episodes
from ..reading.sources import made_of
from ..reading.task_code import check_task_code
from ..reading.winners import read_best
from ..sections.learning.tables import curves as curve_table
from ..sections.provenance.tables import provenance as provenance_table
from ..sections.ranking.tables import ALL_TASKS, RANKED, Strata, strata_of
from ..sections.scores.tables import scores as score_table
from ..statistics import comparison
from ..statistics import scores as statistics

SCALE = ("random_score", "reference_score")
NOT_ASKED = (
    "title",
    "equation",
    "summary",
    "reference_source",
)  # descriptions; another description is no other task or algorithm
MEASURES = {"score": "Final score", "auc": "AUC: mean of the learning curve"}
SAME, DIFFERENT, UNKNOWN = 0, 1, 2  # exit status


@dataclass(frozen=True)
class Side:
    """A results folder: its grid, and every cell with its state and its run.json, or None where it has no run."""

    grid: Grid
    states: list[tuple[dict[str, Any], str, dict[str, Any] | None]]

    @property
    def runs(self) -> list[Run]:
        """The cells that have a run, with it."""
        return [(cell, run) for cell, _, run in self.states if run is not None]


def read_side(folder: Path) -> Side:
    """Read a results folder. Raises ResultsError, also where runs of a task are of different code of the task."""
    grid = read_grid(folder)
    side = Side(grid, [(cell, *state_of(grid, cell)) for cell in grid.cells])
    check_task_code(made_of(grid, side.runs))
    return side


@dataclass(frozen=True)
class RunPair:
    """A cell that has a run in both folders.

    same_until: the step at which the last episode ended that both runs share; 0 if the first episode differs; None
    where all episodes are the same.
    """

    task: str
    algorithm: str
    seed: int
    identical: bool
    same_until: int | None


@dataclass(frozen=True)
class ScorePair:
    """One measure of an algorithm in both folders: on one task, or on all `tasks` that can be tested together.

    a, b: means of raw scores; over several tasks, of normalised scores. difference: b − a of normalised scores, with
    its interval from low to high. p_adjusted: p with Holm's correction. same_within: the smallest margin within which
    a and b are the same. asked: which of task, steps, algorithm and settings differ in b.

    verdict: identical; differs; same (within the margin); equal (all runs of both have the same score, so there is no
    spread to judge by); not told apart (no difference found, which does not mean that they are equal); too few runs.
    """

    measure: str
    task: str
    tasks: list[str]
    algorithm: str
    n_a: int
    n_b: int
    diverged_a: int  # runs scored as the random policy: diverged, or stopped by their task
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
    """A value that a and b ask for differently: of a task, an algorithm, a study, or a setting on some tasks.

    tuned: whether a study chose the value, in a and in b.
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
    """A whole comparison of two folders, in the order of the text."""

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
    """Every (task, algorithm) for which both grids ask for cells, in the order of a."""
    asked = [{(cell["task"], cell["algorithm"]): None for cell in grid.cells} for grid in (a, b)]
    return [
        (task, algorithm)
        for algorithm in a.algorithms
        for task in a.tasks
        if all((task, algorithm) in pairs for pairs in asked)
    ]


def about(side: Side) -> dict[str, Any]:
    """A folder: its name, its grid, its number of runs by state, and the cells without a run."""
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
    """Keys whose values differ, with the value in a and in b. None stands for a missing key."""
    names = [name for name in {**a, **b} if name not in NOT_ASKED]
    return [(name, a.get(name), b.get(name)) for name in names if a.get(name) != b.get(name)]


def section_changes(what: str, a: dict[str, dict[str, Any]], b: dict[str, dict[str, Any]]) -> list[Change]:
    """Changes of the tasks, or of the algorithms, that are in both. what: "task" or "algorithm"."""
    return [Change(what, name, *values) for name in a if name in b for values in differing(a[name], b[name])]


def code_changes(a: Side, b: Side) -> list[Change]:
    """Changes of what a task in both is made of, without the versions that `made_by` has of all runs."""
    ours, theirs = ({task: run for cell, run in side.runs for task in [cell["task"]]} for side in (a, b))
    return [
        Change("task", task, f"{TASK_CODE} {part}", *values)
        for task in ours
        if task in theirs and TASK_CODE in ours[task] and TASK_CODE in theirs[task]
        for part, *values in parts_differing(ours[task][TASK_CODE], theirs[task][TASK_CODE])
        if part not in {*ours[task]["versions"], *theirs[task]["versions"]}
    ]


def setting_changes(a: Grid, b: Grid) -> list[Change]:
    """Every setting that differs. Tasks on which an algorithm has the same two values share one change."""
    found: dict[str, Change] = {}
    for task, algorithm in shared_pairs(a, b):
        cells = [grid.requested(task, algorithm)[0] for grid in (a, b)]
        tuned = [tuned_settings(grid, cell) for grid, cell in zip((a, b), cells, strict=True)]
        for name, *values in differing(*(cell["settings"] for cell in cells)):
            change = Change("setting", algorithm, name, *values, [], tuple(name in names for names in tuned))
            found.setdefault(repr(change), change).tasks.append(task)
    return list(found.values())


def tuned_settings(grid: Grid, cell: dict[str, Any]) -> dict[str, Any]:
    """The settings of a cell that a study chose."""
    best = [read_best(grid.folder, study) for study in grid.studies if study["directory"] == cell["tuned"]]
    return best[0]["settings"] if best and best[0] else {}


def study_changes(a: Grid, b: Grid) -> list[Change]:
    """Changes of the studies of all algorithms that are in both grids."""
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
    """What may move the scores of an algorithm on a task because b asks for something else: any of steps, task,
    algorithm and settings.
    """
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
    """Tasks, algorithms and seeds of `grid` that `other` lacks, and further cells that `other` lacks."""
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
    """Every cell that has a run in both, and whether these runs are identical."""
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
    """The step at which the last shared episode of two runs ended, 0 if the first differs, None if all are the same.

    a, b: a run's folder and its run.json.
    """
    if len({(folder / "episodes.csv").read_bytes() for folder, _ in (a, b)}) == 1:
        return None
    # without the start, which earlier versions did not write
    ours, theirs = (read_episodes(*side)[["step", "return", "length"]].to_numpy() for side in (a, b))
    both = min(len(ours), len(theirs))
    same = ((ours[:both] == theirs[:both]) | (np.isnan(ours[:both]) & np.isnan(theirs[:both]))).all(axis=1)
    if same.all() and len(ours) == len(theirs):
        return None
    parted = both if same.all() else int(np.argmin(same))
    return int(ours[parted - 1, 0]) if parted else 0


def paired_scores(a: Side, b: Side, runs: list[RunPair], changes: list[Change]) -> list[ScorePair]:
    """Final score and AUC of every algorithm and task with runs in both. p-values are not yet corrected, and there is
    no verdict yet but "identical".
    """
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
    """The scores of a folder, normalised with the random and reference scores of `grid` where it has the task."""
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
    """The score pairs of one algorithm: on each task, then on all tasks that can be tested together.

    a, b: for the measure, for its normalised column and for "status", the values of all runs by task. identical:
    (task, algorithm) whose runs are all identical. asked: what of each (task, algorithm) differs in b.
    """
    ours, theirs = (side[RANKED[measure]] for side in (a, b))
    shared = [task for task in ours if task in theirs]
    # Runs of earlier versions lack the episodes that were open at the end, so their AUC may be another one.
    moved = {task for task in shared if len(ours[task]) == len(theirs[task]) and (ours[task] != theirs[task]).any()}
    same = [task for task in shared if (task, algorithm) in identical and task not in moved]
    tested = [task for task in shared if task not in same and min(len(ours[task]), len(theirs[task])) > 1]
    together = [(ALL_TASKS, tested)] if len(tested) > 1 else []
    pairs = []
    for name, tasks in [*((task, [task]) for task in shared), *together]:
        found = comparison.difference([theirs[task] for task in tasks], [ours[task] for task in tasks])
        shown = RANKED[measure] if name == ALL_TASKS else measure
        means = [statistics.mean_over_tasks([side[shown][task] for task in tasks]) for side in (a, b)]
        n = [sum(len(side[shown][task]) for task in tasks) for side in (a, b)]
        diverged = [sum((side["status"][task] != "done").sum() for task in tasks) for side in (a, b)]
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
    """The pairs with verdicts. The p-values of all pairs and both measures are corrected together (Holm)."""
    adjusted = comparison.holm([pair.p for pair in pairs])
    return [judge(pair, float(p), margin) for pair, p in zip(pairs, adjusted, strict=True)]


def judge(pair: ScorePair, p: float, margin: float) -> ScorePair:
    """A pair with its verdict, from its adjusted p-value."""
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
    """The exit status: DIFFERENT where a score differs by more than chance, UNKNOWN where none could be tested."""
    verdicts = {pair.verdict for pair in scores}
    if "differs" in verdicts:
        return DIFFERENT
    return UNKNOWN if not verdicts or verdicts - {"identical"} == {"too few runs"} else SAME


def made_by(a: Side, b: Side) -> list[dict[str, Any]]:
    """Versions, commits and machines: for each, its values in a and in b with their numbers of runs."""
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
    """Whether all these runs are identical in both folders."""
    return all(run.identical for run in runs)


def grouped(items: Iterable[Any], name: Callable[[Any], Any]) -> dict[Any, list[Any]]:
    """Items by name. Names keep the order in which they first appear."""
    groups: dict[Any, list[Any]] = {}
    for item in items:
        groups.setdefault(name(item), []).append(item)
    return groups


def name_of(pair: RunPair | ScorePair) -> tuple[str, str]:
    """Task and algorithm."""
    return pair.task, pair.algorithm
