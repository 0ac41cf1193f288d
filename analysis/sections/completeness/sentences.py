"""What is there of what was asked for, and what few or diverged runs mean."""

from typing import Any

import pandas as pd

from policy_gradient_ladder.experiments.schema import STOPPED

from ...lacking import JOBS, MARK, finished, job_title, state_counts, unfinished
from ...reading.grid import Grid
from ...reading.jobs import STATES
from ...words import count, enumerate_text, plural

FEW_RUNS = 5
SPAN_COVERS = {2: "about half", 3: "about three quarters", 4: "about 88 %"}  # 1 − 2/2ⁿ
NO_WIDTH = "An interval of width zero means that these runs had equal scores; other runs may differ."


def page(grid: Grid, ledger: pd.DataFrame, ledger_jobs: pd.DataFrame) -> dict[str, Any]:
    """Counts of states: in all, and per task and algorithm; then every cell. Likewise of studies and probes."""
    counts = {
        (task, algorithm): group["state"].value_counts().to_dict()
        for (task, algorithm), group in ledger.groupby(["task", "algorithm"])
    }
    return {
        "total": totals(ledger),
        "requested": f"{len(grid.cells)} runs were requested: "
        + ", ".join(f"{n} {state}" for state, n in totals(ledger).items())
        + ".",
        "counts": counts,
        "cells": list(ledger.assign(note=ledger["note"].fillna("")).itertuples()),
        "jobs": {
            plural_of_kind: {
                "counts": rows["state"].value_counts().to_dict(),
                "rows": [
                    {"title": job_title(grid, row.directory), "state": row.state, "note": row.note}
                    for row in rows.assign(note=rows["note"].fillna("")).itertuples()
                ],
            }
            for kind, (plural_of_kind, _) in JOBS.items()
            if len(rows := ledger_jobs[ledger_jobs["kind"] == kind])
        },
    }


def headline(grid: Grid, ledger: pd.DataFrame, scores: pd.DataFrame) -> list[str]:
    """How many of the runs finished, and how many steps they took together."""
    return [
        f"{count(finished(ledger))} of {plural(len(grid.cells), 'run')} finished, "
        f"{count(scores['steps_taken'].sum())} environment steps in all."
    ]


def cautions(
    grid: Grid, ledger: pd.DataFrame, ledger_jobs: pd.DataFrame, scores: pd.DataFrame, summary: pd.DataFrame
) -> list[str]:
    """What has no result, what has diverged or was stopped, and what so few runs can say."""
    return [
        *incomplete(grid, ledger, ledger_jobs),
        *diverged(grid, scores),
        *stopped(grid, scores),
        *few_runs(summary[summary["n"] > 0]),
    ]


def incomplete(grid: Grid, ledger: pd.DataFrame, jobs: pd.DataFrame) -> list[str]:
    """What has no result: of the runs, of the studies, of the probes."""
    said = []
    absent = unfinished(ledger)
    if len(absent):
        pairs = absent[["task", "algorithm"]].drop_duplicates().itertuples(index=False)
        places = enumerate_text(f"{grid.title(algorithm)} on {task}" for task, algorithm in pairs)
        said.append(
            f"Incomplete: {len(absent)} of {len(ledger)} requested runs have no result ({state_counts(absent)}): "
            f"{places}. An average over fewer runs than requested is marked {MARK}; its n says how many."
        )
    for kind, (plural_of_kind, subject) in JOBS.items():
        asked = jobs[jobs["kind"] == kind]
        if len(absent := unfinished(asked)):
            said.append(
                f"Incomplete: {len(absent)} of {len(asked)} requested {plural_of_kind} "
                f"{'has' if len(absent) == 1 else 'have'} no result ({state_counts(absent)}): "
                f"{enumerate_text(job_title(grid, directory) for directory in absent['directory'])}. "
                f"Everything on this page about {subject} is without {'it' if len(absent) == 1 else 'them'}."
            )
    return said


def diverged(grid: Grid, scores: pd.DataFrame) -> list[str]:
    """A sentence that names the runs that diverged; none if none did."""
    runs = scores[scores["status"] == "diverged"]
    if runs.empty:
        return []
    verb = "run diverged and is" if len(runs) == 1 else "runs diverged and are"
    return [f"{len(runs)} {verb} counted at the random score: {places(grid, runs)}."]


def stopped(grid: Grid, scores: pd.DataFrame) -> list[str]:
    """A sentence that names the runs that were stopped by their task; none if none was."""
    runs = scores[scores["status"] == STOPPED]
    if runs.empty:
        return []
    verb = "run was stopped by its task and is" if len(runs) == 1 else "runs were stopped by their task and are"
    return [
        f"{len(runs)} {verb} counted at the random score, because a number of the task was not finite: "
        f"{places(grid, runs)}."
    ]


def places(grid: Grid, runs: pd.DataFrame) -> str:
    """The algorithm, task and seed of each run."""
    return enumerate_text(f"{grid.title(run.algorithm)} on {run.task} (seed {run.seed})" for run in runs.itertuples())


def few_runs(present: pd.DataFrame) -> list[str]:
    """What an interval is worth at this n (analysis.statistics has how the coverages were found)."""
    if present.empty:
        return ["No run has finished yet, so there is nothing to compare."]
    n = int(present["n"].min())
    if n == 1:
        return [
            "At least one average is a single run. A single run says nothing about the spread over seeds. It has no "
            "interval, and no order that depends on it should be trusted."
        ]
    if n > FEW_RUNS:
        return []
    meant = (
        f"Averages here are over as few as {n} runs, each with its own random seed. Brackets are 95 % intervals, which "
        f"should contain the true value 95 times in 100"
    )
    if n in SPAN_COVERS:
        return [
            f"{meant}. With {n} runs, the interval of a mean on one task is only the span from the lowest to the "
            f"highest run. It contains the true mean {SPAN_COVERS[n]} of the time, and less often where an algorithm "
            f"fails on a few seeds: read it as the range of what was seen. {NO_WIDTH}"
        ]
    return [
        f"{meant}. With {n} runs, the interval of a mean on one task does so about 92 times if scores are roughly "
        f"normal, and as few as 40 to 70 times where an algorithm fails on a few seeds. {NO_WIDTH}"
    ]


def totals(ledger: pd.DataFrame) -> dict[str, int]:
    """How many cells are in each state. That of a run which its task stopped is rare, and left out where none is."""
    counts = ledger["state"].value_counts()
    return {state: int(counts.get(state, 0)) for state in STATES if state != STOPPED or STOPPED in counts}
