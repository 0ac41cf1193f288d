"""Says which runs, studies or probes a table, a figure or an average lacks."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from policy_gradient_ladder.experiments.schema import STOPPED

from .reading.grid import Grid
from .words import enumerate_text

MARK = "†"  # stands behind averages over fewer runs than were asked for
JOBS = {
    "study": ("studies", "tuning"),
    "probe": ("probes", "gradients"),
}  # kind → its plural, and the subject that its results belong to


def job_title(grid: Grid, directory: str) -> str:
    """The title of the study or probe that lies in this directory of the grid."""
    for study in grid.studies:
        if study["directory"] == directory:
            return f"{grid.title(study['algorithm'])} on {study['group']}"
    probe = next(probe for probe in grid.all_probes if probe["directory"] == directory)
    if probe["exact"]:
        return probe["task"]
    return f"{probe['task']} at {100 * probe['fraction']:g} % of training (seed {probe['seed']})"


def without_jobs(grid: Grid, jobs: pd.DataFrame, over: Iterable[dict[str, Any]]) -> str:
    """The note on a figure that lacks some studies or probes: "Without …: no result". Empty where it lacks none or all.

    jobs: the table ledger_jobs. over: the grid's entries of the studies or probes that the figure is made from.
    """
    asked = jobs[jobs["directory"].isin([entry["directory"] for entry in over])]
    absent = unfinished(asked)
    if len(absent) in (0, len(asked)):
        return ""
    titles = enumerate_text(job_title(grid, directory) for directory in absent["directory"])
    return f"Without {titles}: no result"


def unfinished(ledger: pd.DataFrame) -> pd.DataFrame:
    """The rows of a ledger that have no result: failed or missing; of probes also those that their task stopped.

    A run that its task stopped has one: the random score.
    """
    probes = ledger["kind"] == "probe" if "kind" in ledger else False
    return ledger[ledger["state"].isin(["failed", "missing"]) | (probes & (ledger["state"] == STOPPED))]


def finished(ledger: pd.DataFrame) -> int:
    """How many cells of the ledger have a result, be it that the run diverged or was stopped."""
    return len(ledger) - len(unfinished(ledger))


def state_counts(ledger: pd.DataFrame) -> str:
    """How many rows of a ledger have each state: "2 failed, 1 missing"."""
    return ", ".join(f"{count} {state}" for state, count in ledger["state"].value_counts().items())


def mark(row: Any) -> str:
    """The MARK for a row with fewer runs, n, than requested; else empty."""
    return f" {MARK}" if row.n < row.requested else ""


def shortfalls(summary: pd.DataFrame) -> pd.DataFrame:
    """The rows of the summary with fewer runs than were asked for. None of them where nothing has run at all."""
    return summary[(summary["n"] < summary["requested"]) & (summary["n"].sum() > 0)]


def shortfall_text(grid: Grid, summary: pd.DataFrame) -> str:
    """The note on averages that lack runs: "† fewer runs than asked for: PPO 3 of 5 on Hopper-v5"; else empty."""
    rows = list(shortfalls(summary).itertuples())
    if not rows:
        return ""
    places = enumerate_text(f"{grid.title(row.algorithm)} {row.n} of {row.requested} on {row.task}" for row in rows)
    return f"{MARK} fewer runs than asked for: {places}"
