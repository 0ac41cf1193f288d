"""Two results folders side by side: a reproduction against another, or one's own change against what was before.

Everything is computed from the runs themselves, so tables may be missing or stale. Cells are the same where task,
algorithm (by its name in the grid) and seed are; tuning's trainings, the gradient laboratory and the benchmark are not
compared. Differences are b − a.

Identical: a run has the same training episodes and the same evaluation in both. A pair (an algorithm on a task) is
identical where all its runs with the same seed are, after as many steps.

Of every other pair, and of an algorithm's other tasks together, the final scores and the AUCs are compared by
`analysis.comparison`: Welch's t-test of independent samples with Holm's correction over everything that is tested, both
measures together, so that the chance of a single false “differs” in the whole answer is at most 5 %. That two samples
are not told apart does not make them the same. The same within a margin: the 95 % interval of the difference lies
inside ± margin, which is two one-sided tests at 2.5 % each, of that pair alone; that all of several pairs are the same
needs no correction. A difference that is so small does not count as one, however sure it is. Normalised scores are made
with the random and the reference score of a, also where b has others.
"""

import argparse
import json
import sys
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis import comparison, statistics
from analysis.findings import count, enumerate_text, fixed, interval, number, plural
from analysis.published import MARGIN
from analysis.ranking import ALL_TASKS, RANKED, Strata, strata_of
from analysis.ranking_findings import p_text
from analysis.results import (
    STATES,
    Grid,
    ResultsError,
    read_best,
    read_episodes,
    read_grid,
    run_command,
    state_of,
    write_whole,
)
from analysis.summary import finite
from analysis.tables import Run, curve_table, key, provenance_table, score_table

WIDTH = 100  # columns of the text
SCALE = ("random_score", "reference_score")
NOT_ASKED = ("title", "equation", "summary", "reference_source")  # words about a thing, not the thing
NAMED = 8  # things that a sentence names before it says how many more there are
MEASURES = {"score": "Final score", "auc": "AUC: mean of the learning curve"}
SAME, DIFFERENT, UNKNOWN = 0, 1, 2  # exit status


# ------------------------------------------------------------------------------------------ what is compared


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


def compare(a: Side, b: Side, margin: float = MARGIN) -> Comparison:
    """Both folders compared; `margin` is the largest difference of normalised scores that is of no interest."""
    changes = [
        *section_changes("task", a.grid.tasks, b.grid.tasks),
        *section_changes("algorithm", a.grid.algorithms, b.grid.algorithms),
        *setting_changes(a.grid, b.grid),
        *study_changes(a.grid, b.grid),
    ]
    runs = run_pairs(a, b)
    scores = judged(paired_scores(a, b, runs, changes), margin)
    titles = {**b.grid.algorithms, **a.grid.algorithms}
    found = Comparison(
        verdict="",
        status=status_of(scores),
        margin=margin,
        folders={"a": about(a), "b": about(b)},
        titles={name: algorithm["title"] for name, algorithm in titles.items()},
        changes=changes,
        only={"a": only_in(a.grid, b.grid), "b": only_in(b.grid, a.grid)},
        runs=runs,
        scores=scores,
        made_by=made_by(a, b),
    )
    return replace(found, verdict=verdict_text(found))


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


# ----------------------------------------------------------------------------------------- what was asked for


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


# -------------------------------------------------------------------------------------------- run by run


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


# ------------------------------------------------------------------------------------------------ scores


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
    ours, theirs = (provenance_table(side.runs) for side in (a, b))
    names = pd.concat([ours, theirs])[["kind", "name"]].drop_duplicates()
    return [
        {"kind": kind, "name": name}
        | {
            side: {row.value: row.runs for row in table[(table["kind"] == kind) & (table["name"] == name)].itertuples()}
            for side, table in (("a", ours), ("b", theirs))
        }
        for kind, name in names.itertuples(index=False)
    ]


# -------------------------------------------------------------------------------------------------- text


def text_of(found: Comparison) -> str:
    """Everything as Markdown that reads well in a terminal: the verdict first."""
    parts = ["# Two results compared", wrapped(f"**{found.verdict}**"), folders_text(found.folders, found.titles)]
    sections = {
        "What was asked for": asked_text(found),
        "Run by run": runs_text(found),
        "Scores": scores_text(found),
        "What made them": made_by_text(found.made_by),
    }
    for title, paragraphs in sections.items():
        parts += [f"## {title}", *paragraphs]
    return "\n\n".join(parts) + "\n"


def verdict_text(found: Comparison) -> str:
    """One sentence or two."""
    alone = [pair for pair in found.scores if pair.task != ALL_TASKS]
    verdicts = {name: [pair.verdict for pair in own] for name, own in grouped(alone, name_of).items()}
    pairs = f"{plural(len(verdicts), 'pair')} of an algorithm and a task"
    if not verdicts:
        return "Cannot be compared: no algorithm has runs on the same task in both."
    differ = [name for name, own in verdicts.items() if "differs" in own]
    untested = [name for name, own in verdicts.items() if "too few runs" in own]
    moved = [name for name, own in verdicts.items() if own[0] != "identical"]
    if found.status == DIFFERENT:
        names = names_text(differ, found.titles)
        said = f"Not the same: {len(differ)} of {pairs} {verb('differ', differ)} by more than chance: {names}."
        if not differ:
            together = dict.fromkeys(pair.algorithm for pair in found.scores if pair.verdict == "differs")
            names = enumerate_text(found.titles[algorithm] for algorithm in together)
            said = f"Not the same: no pair alone differs by more than chance, but with all tasks together: {names}."
        return f"{said} {asked_sentence(found, differ)}".strip()
    if not moved:
        whole = all(len(found.runs) == folder["requested"] for folder in found.folders.values())
        which = f"all {plural(len(found.runs), 'run')}{'' if whole else ' that are in both'}"
        return f"The same numbers: {which} {verb('have', found.runs)} identical episodes and evaluations."
    if found.status == UNKNOWN:
        return (
            f"Not the same numbers, and nothing says whether by more than chance: {plural(len(untested), 'pair')} "
            f"{verb('differ', untested)} and {verb('have', untested)} a single run in a or in b."
        )
    same = [name for name in moved if all(p.same_within <= found.margin for p in alone if name_of(p) == name)]
    most = f"{len(moved)} of {pairs} {verb('are', moved)} not identical"
    none = f"none of {pairs} is identical"
    parts = [most if len(moved) < len(verdicts) else none] if found.runs else [f"of {pairs}"]
    parts += [f"{len(same)} {verb('are', same)} the same within ± {found.margin:g}"] if same else []
    parts += [f"{len(untested)} cannot be tested"] if untested else []
    numbers = "Not the same numbers" if found.runs else "No run has the same seed in both"
    return f"{numbers}, but no score differs by more than chance: {', '.join(parts)}."


def asked_sentence(found: Comparison, differ: list[tuple[str, str]]) -> str:
    """Whether what differs is explained by what was asked for."""
    if not differ:
        return ""
    asked = {name_of(pair): pair.asked for pair in found.scores if pair.asked and name_of(pair) in differ}
    if not asked:
        return "What was asked for is the same there."
    kinds = ", ".join(dict.fromkeys(kind for own in asked.values() for kind in own))
    if len(asked) == len(differ):
        return f"What was asked for differs there too ({kinds})."
    return f"{len(asked)} of them {verb('were', asked)} asked for otherwise ({kinds})."


def folders_text(folders: dict[str, dict[str, Any]], titles: dict[str, str]) -> str:
    said = []
    for letter, folder in folders.items():
        present = folder["done"] + folder["diverged"]
        other = ", ".join(f"{count(folder[state])} {state}" for state in STATES[1:] if folder[state])
        runs = f"{count(present)} of {plural(folder['requested'], 'run')}{f' ({other})' if other else ''}"
        said.append(bullet(f"{letter}: `{folder['folder']}`, grid {folder['grid']}, {runs}"))
        if folder["absent"]:
            said.append(bullet(f"no run in {letter}: {cells_text(folder['absent'], titles)}"))
    return "\n".join(said)


def cells_text(cells: list[dict[str, Any]], titles: dict[str, str]) -> str:
    """PPO on Hopper-v5 (seeds 3, 4), and so on."""
    by_pair = grouped(cells, lambda cell: (cell["task"], cell["algorithm"]))
    return few(
        f"{titles[algorithm]} on {task} (seed{'s' if len(own) > 1 else ''} {', '.join(str(c['seed']) for c in own)})"
        for (task, algorithm), own in by_pair.items()
    )


def asked_text(found: Comparison) -> list[str]:
    """What both ask for otherwise, and what only one has."""
    said = []
    for letter, only in found.only.items():
        said += [
            f"only in {letter}, {what}: {few(map(str, only[what]))}"
            for what in ("tasks", "algorithms", "seeds")
            if only[what]
        ]
        if only["cells"]:
            said.append(f"only in {letter}, cells: {cells_text(only['cells'], found.titles)}")
    plain = [change for change in found.changes if change.kind != "setting"]
    for (kind, name), own in grouped(plain, lambda change: (change.kind, change.name)).items():
        title = f"tuning of {name.replace(' ', ' on ')}" if kind == "study" else name
        said.append(f"{title}: {changes_text(own)}")
    settings = [change for change in found.changes if change.kind == "setting"]
    shared = grouped([p for p in found.scores if p.task != ALL_TASKS], lambda pair: pair.algorithm)
    for (algorithm, *tasks), own in grouped(settings, lambda change: (change.name, *change.tasks)).items():
        every = {pair.task for pair in shared.get(algorithm, ())} == set(tasks) and len(tasks) > 1
        where = f"all {len(tasks)} tasks" if every else enumerate_text(tasks)
        said.append(f"{found.titles[algorithm]} on {where}: {changes_text(own)}")
    if not said:
        return [wrapped("The same of both: tasks, steps, preprocessing, algorithms, settings, seeds and tuning.")]
    return ["\n".join(bullet(line) for line in said)]


def changes_text(changes: list[Change]) -> str:
    """`clip` 0.2 → 0.1, `gamma` 0.99 → 0.98 (tuned)."""
    return ", ".join(f"`{change.key}` {change_text(change)}" for change in changes)


def change_text(change: Change) -> str:
    a, b = value_text(change.a), value_text(change.b)
    if a == b:
        a, b = repr(change.a), repr(change.b)
    if all(change.tuned):
        return f"{a} → {b} (tuned)"
    a, b = (f"{text} (tuned)" if tuned else text for text, tuned in zip((a, b), change.tuned, strict=True))
    return f"{a} → {b}"


def value_text(value: Any) -> str:
    """A value as a person would write it in the grid; a number that a study found, with five digits."""
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return count(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False).replace("null", "none")


def runs_text(found: Comparison) -> list[str]:
    """How many runs are the same in both, and until when the others were."""
    if not found.runs:
        return ["No task, algorithm and seed has a run in both."]
    same = [run for run in found.runs if run.identical]
    total = f"{plural(len(found.runs), 'run')} {verb('are', found.runs)} of the same task, algorithm and seed in both"
    if len(same) == len(found.runs):
        return [wrapped(f"{total}: all identical, to the last episode and evaluation.")]
    said = wrapped(
        f"{total}: {count(len(same))} identical to the last episode and evaluation, "
        f"{count(len(found.runs) - len(same))} not. How far these agree, in environment steps:"
    )
    rows = []
    for algorithm, own in grouped(found.runs, lambda run: run.algorithm).items():
        moved = {task: runs for task, runs in grouped(own, lambda run: run.task).items() if not all_identical(runs)}
        rows += [[f"**{found.titles[algorithm]}**", "", ""]] if moved else []
        rows += [
            [task, f"{sum(r.identical for r in runs)} of {len(runs)}", until_text(runs)] for task, runs in moved.items()
        ]
    return [said, table(["", "identical", "the others agree until step"], rows, "lrl")]


def all_identical(runs: list[RunPair]) -> bool:
    return all(run.identical for run in runs)


def until_text(runs: list[RunPair]) -> str:
    """The range of steps until which runs agree that do not in the end."""
    steps = sorted(run.same_until for run in runs if run.same_until is not None)
    evaluations = sum(not run.identical and run.same_until is None for run in runs)
    said = []
    if steps:
        first, last = steps[0], steps[-1]
        from_start = "0: the first episode differs"
        said.append((from_start if last == 0 else count(last)) if first == last else f"{count(first)} to {count(last)}")
    if evaluations:
        said.append(f"the end, {plural(evaluations, 'evaluation')} {'differs' if evaluations == 1 else 'differ'}")
    return ", ".join(said)


def scores_text(found: Comparison) -> list[str]:
    """Both measures, without the pairs that are identical."""
    if not found.scores:
        return ["No algorithm has runs on the same task in both."]
    shown = [pair for pair in found.scores if pair.verdict != "identical"]
    identical = len({name_of(pair) for pair in found.scores if pair.verdict == "identical"})
    if not shown:
        return [
            f"All {plural(identical, 'pair')} of an algorithm and a task are identical, so there is nothing to test."
        ]
    notes = scores_notes(found, shown, identical)
    said = [wrapped(how_to_read(found, shown)), *(["\n".join(map(bullet, notes))] if notes else [])]
    for measure, own in grouped(shown, lambda pair: pair.measure).items():
        said += [
            f"### {MEASURES[measure]}",
            table(["", "a", "b", "b − a [95 %]", "p", ""], score_rows(found, own), "lrrrrl"),
        ]
    return said


def how_to_read(found: Comparison, shown: list[ScorePair]) -> str:
    sizes = {n for pair in shown if pair.task != ALL_TASKS for n in (pair.n_a, pair.n_b)}
    fewer = ", or as many as stand in brackets," if len(sizes) > 1 else ""
    if sizes == {1}:
        return (
            "Means of raw scores in a and b, and b − a of normalised ones (random 0, reference 1). Every mean is a "
            "single run, whose spread is unknown: there is no interval and no test. More seeds give both."
        )
    tests = sum(not np.isnan(pair.p) for pair in shown)
    return (
        f"Means over {max(sizes)} runs{fewer} of raw scores in a and b (of several tasks: of normalised ones), and "
        f"b − a of normalised scores (random 0, reference 1) with Welch’s 95 % interval. p is corrected for all "
        f"{plural(tests, 'test')} in both tables (Holm): a single false “differs” has a chance of at most 5 %."
    )


def scores_notes(found: Comparison, shown: list[ScorePair], identical: int) -> list[str]:
    """What has to be known to read the tables of scores, where it is the case."""
    notes = []
    undecided = [pair.same_within for pair in shown if pair.verdict == "not told apart"]
    if undecided:
        notes.append(
            f"Not told apart is not the same: their intervals reach differences of "
            f"{fixed(float(np.median(undecided)))} at the median and {fixed(max(undecided))} at most. Same: the whole "
            f"interval, of this pair alone, is within ± {found.margin:g}."
        )
    together = [p for p in shown if (p.task, p.measure) == (ALL_TASKS, "score") and p.verdict != "differs"]
    if together:
        within = enumerate_text(f"± {fixed(pair.same_within)} ({found.titles[pair.algorithm]})" for pair in together)
        notes.append(f"With the tasks taken together, final scores are the same within {within}.")
    tested = {name_of(pair) for pair in shown if not np.isnan(pair.p)}
    if any(name_of(run) in tested for run in found.runs):
        notes.append(
            "The test takes all runs as independent. Runs of the same seed share their initial weights and the seeds "
            "of their environments; as far as that makes them alike, the intervals are wider than they need to be."
        )
    few_runs = {name_of(pair): None for pair in shown if pair.verdict == "too few runs"}
    if few_runs and tested:
        notes.append(
            f"Too few runs, one in a or in b, whose spread is unknown, so no interval and no test: "
            f"{names_text(list(few_runs), found.titles)}."
        )
    if any(pair.verdict == "equal" for pair in shown):
        notes.append(
            "Equal: every run of both has the same score, so there is no spread to judge by, and it says little."
        )
    diverged = [p for p in shown if p.measure == "score" and p.task != ALL_TASKS and p.diverged_a + p.diverged_b]
    if diverged:
        counts = few(
            f"{found.titles[p.algorithm]} on {p.task} ({p.diverged_a} of {p.n_a} in a, {p.diverged_b} of {p.n_b} in b)"
            for p in diverged
        )
        notes.append(f"Diverged runs, which are scored as the random policy: {counts}.")
    if any(pair.asked for pair in shown):
        notes.append("† What was asked for is not the same: see above.")
    scales = dict.fromkeys(change.name for change in found.changes if change.kind == "task" and change.key in SCALE)
    if scales:
        notes.append(
            f"{enumerate_text(scales)}: random or reference score is another in b. Everything here is normalised with "
            f"those of a, and what has no score yet or has diverged counts as a’s random score on both sides."
        )
    if identical:
        notes.append(f"Not shown, and not tested: {plural(identical, 'identical pair')}.")
    return notes


def score_rows(found: Comparison, pairs: list[ScorePair]) -> list[list[str]]:
    most = max(max(pair.n_a, pair.n_b) for pair in pairs if pair.task != ALL_TASKS)
    alone = [pair for pair in found.scores if pair.measure == pairs[0].measure and pair.task != ALL_TASKS]
    tasks = {algorithm: len(own) for algorithm, own in grouped(alone, lambda pair: pair.algorithm).items()}
    rows = []
    for algorithm, own in grouped(pairs, lambda pair: pair.algorithm).items():
        rows.append([f"**{found.titles[algorithm]}**", *5 * [""]])
        for pair in own:
            form: Callable[[float], str] = fixed if pair.task == ALL_TASKS else number
            difference = interval(pair.difference, pair.low, pair.high, fixed)
            every = pair.task != ALL_TASKS or len(pair.tasks) == tasks[algorithm]
            name = pair.task if every else f"{len(pair.tasks)} tasks together"
            name += f"{' †' if pair.asked else ''}{n_text(pair, most)}"
            rows.append([name, form(pair.a), form(pair.b), difference, p_text(pair.p_adjusted), judgement(pair, found)])
    return rows


def n_text(pair: ScorePair, most: int) -> str:
    """How many runs a and b have, where that is not the greatest number of the table."""
    return f" ({pair.n_a}, {pair.n_b})" if pair.task != ALL_TASKS and (pair.n_a, pair.n_b) != (most, most) else ""


def judgement(pair: ScorePair, found: Comparison) -> str:
    if pair.verdict == "differs":
        return "**differs**"
    return f"same (± {found.margin:g})" if pair.verdict == "same" else pair.verdict


def made_by_text(made_by: list[dict[str, Any]]) -> list[str]:
    """What is another first; then what is the same, in one line."""
    differ = [entry for entry in made_by if set(entry["a"]) != set(entry["b"])]
    same = [entry for entry in made_by if entry not in differ]
    said = []
    if differ:
        values = {side: [values_text(entry, side) for entry in differ] for side in ("a", "b")}
        lines = (
            bullet(f"{entry['name']}: {a} in a; {b} in b")
            for entry, a, b in zip(differ, values["a"], values["b"], strict=True)
        )
        said.append("\n".join(lines))
    if same:
        values = ", ".join(f"{entry['name']} {values_text(entry, 'a')}" for entry in same)
        said.append(wrapped(f"The same in both: {values}."))
    return said or ["No run has finished."]


def values_text(entry: dict[str, Any], side: str) -> str:
    """Every value; with its number of runs where there are several."""
    values = entry[side]
    short = {value[:10] if entry["name"] == "commit" else value: runs for value, runs in values.items()}
    if len(short) > 1:
        return enumerate_text(f"{value} ({plural(runs, 'run')})" for value, runs in short.items())
    return next(iter(short), "no" if entry["name"] == "uncommitted changes" else "not recorded")


# ------------------------------------------------------------------------------------------- text's tools


def grouped(items: Iterable[Any], name: Callable[[Any], Any]) -> dict[Any, list[Any]]:
    """Items by name, in the order in which names first appear."""
    groups: dict[Any, list[Any]] = {}
    for item in items:
        groups.setdefault(name(item), []).append(item)
    return groups


def name_of(pair: RunPair | ScorePair) -> tuple[str, str]:
    return pair.task, pair.algorithm


def names_text(names: list[tuple[str, str]], titles: dict[str, str]) -> str:
    """PPO on Hopper-v5 and Reacher-v5, A2C on Acrobot-v1."""
    shown = grouped(names[:NAMED], lambda name: name[1])
    said = [f"{titles[algorithm]} on {enumerate_text(task for task, _ in own)}" for algorithm, own in shown.items()]
    more = [f"{len(names) - NAMED} more"] if len(names) > NAMED else []
    return "; ".join([*said, *more])


def few(things: Iterable[str]) -> str:
    """All of a few things, or the first of many."""
    things = list(things)
    more = [f"{count(len(things) - NAMED)} more"] if len(things) > NAMED else []
    return enumerate_text([*things[:NAMED], *more])


def verb(plural_form: str, things: Any) -> str:
    """have, are, were or another verb, for so many things."""
    if len(things) != 1:
        return plural_form
    return {"have": "has", "are": "is", "were": "was"}.get(plural_form, f"{plural_form}s")


def wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def bullet(text: str) -> str:
    options = {"initial_indent": "- ", "subsequent_indent": "  "}
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False, **options)


def table(header: list[str], rows: list[list[str]], alignment: str) -> str:
    """Markdown with columns of even width; alignment: l or r of each column."""
    widths = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]
    lines = [
        [
            cell.rjust(width) if side == "r" else cell.ljust(width)
            for cell, width, side in zip(row, widths, alignment, strict=True)
        ]
        for row in (header, *rows)
    ]
    rule = [f"{'-' * (width - 1)}{':' if side == 'r' else '-'}" for width, side in zip(widths, alignment, strict=True)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:]))


# -------------------------------------------------------------------------------------------- command line


def main() -> None:
    arguments = parser().parse_args()
    if arguments.a.resolve() == arguments.b.resolve():
        raise ResultsError(
            f"{arguments.a} and {arguments.b} are the same folder; compare it with a copy kept from before."
        )
    if not arguments.margin >= 0:
        raise ResultsError(f"--margin is {arguments.margin:g}; expected a difference of normalised scores, 0 or more.")
    if arguments.json and arguments.json.is_dir():
        raise ResultsError(f"--json {arguments.json}: a folder; expected the name of a file.")
    found = compare(read_side(arguments.a), read_side(arguments.b), arguments.margin)
    if arguments.json:
        write_whole(arguments.json, json_of(found).encode())
    print(text_of(found), end="")
    sys.exit(found.status)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m analysis.compare",
        description="Compare two results folders: what was asked for, every run, and the scores, as b − a.",
        epilog="Exit status: 0 where nothing differs by more than chance (identical, the same within the margin, or "
        "not told apart); 1 where a score does; 2 where nothing could be compared or tested, or for a mistake.",
    )
    parser.add_argument("a", type=Path, help="a grid's folder, e.g. results/default_before")
    parser.add_argument("b", type=Path, help="the other, e.g. results/default")
    parser.add_argument(
        "--margin",
        type=float,
        default=MARGIN,
        help="the largest difference of normalised scores that is of no interest (%(default)s)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything as data")
    return parser


def json_of(found: Comparison) -> str:
    """Everything as JSON; null where there is no number."""
    return json.dumps(finite(asdict(found)), indent=1, ensure_ascii=False, default=int, allow_nan=False) + "\n"


if __name__ == "__main__":
    run_command(main, "analysis.compare")
