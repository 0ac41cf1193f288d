"""What a table, a figure or an average lacks, and the words for it."""

from typing import Any

import pandas as pd

from analysis.reading.grid import Grid
from analysis.words import enumerate_text

MARK = "†"  # of averages over fewer runs than were asked for
JOBS = {"study": ("studies", "tuning"), "probe": ("probes", "gradients")}  # kind: plural, and what they tell of


def job_title(grid: Grid, directory: str) -> str:
    """The study or probe of the grid that lies there, in words."""
    for study in grid.studies:
        if study["directory"] == directory:
            return f"{grid.title(study['algorithm'])} on {study['group']}"
    probe = next(probe for probe in grid.probes if probe["directory"] == directory)
    if probe["exact"]:
        return probe["task"]
    return f"{probe['task']} at {100 * probe['fraction']:g} % of training (seed {probe['seed']})"


def without_jobs(grid: Grid, jobs: pd.DataFrame, kind: str, exact: bool | None = None) -> str:
    """Without …, which have no result: what a figure of studies or of probes (exact ones or others) lacks; empty where
    nothing is lacking, or everything.
    """
    problems = {probe["directory"] for probe in grid.probes if probe["exact"]}
    asked = jobs[(jobs["kind"] == kind) & (exact is None or jobs["directory"].isin(problems) == exact)]
    absent = unfinished(asked)
    if len(absent) in (0, len(asked)):
        return ""
    titles = enumerate_text(job_title(grid, directory) for directory in absent["directory"])
    return f"Without {titles}: no result"


def unfinished(ledger: pd.DataFrame) -> pd.DataFrame:
    return ledger[ledger["state"].isin(["failed", "missing"])]


def finished(ledger: pd.DataFrame) -> int:
    """How many cells of the ledger have a result, be it that the run diverged."""
    return len(ledger) - len(unfinished(ledger))


def state_counts(ledger: pd.DataFrame) -> str:
    """2 failed, 1 missing."""
    return ", ".join(f"{count} {state}" for state, count in ledger["state"].value_counts().items())


def mark(row: Any) -> str:
    """Of a row with n and requested: a dagger where runs are missing."""
    return f" {MARK}" if row.n < row.requested else ""


def shortfalls(summary: pd.DataFrame) -> pd.DataFrame:
    """The rows of the summary with fewer runs than were asked for; none where nothing has run at all."""
    return summary[(summary["n"] < summary["requested"]) & (summary["n"].sum() > 0)]


def shortfall_text(grid: Grid, summary: pd.DataFrame) -> str:
    """† fewer runs than asked for: PPO 3 of 5 on Hopper-v5; empty where no run is missing."""
    rows = list(shortfalls(summary).itertuples())
    if not rows:
        return ""
    places = enumerate_text(f"{grid.title(row.algorithm)} {row.n} of {row.requested} on {row.task}" for row in rows)
    return f"{MARK} fewer runs than asked for: {places}"
