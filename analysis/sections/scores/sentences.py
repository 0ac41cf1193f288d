"""Final scores in words."""

from typing import Any

import pandas as pd

from ...reading.grid import Grid
from ...statistics.scores import RUN_RESAMPLES
from ...words import count, enumerate_text, number

OF_COLUMNS = (
    "Final scores. Mean, IQM and standard deviation are over runs; the score of every run is listed in the order of "
    "the seeds. “mode”: mean score with the mode action. Brackets: 95 % percentile bootstrap interval of the mean, "
    f"widened for few runs ({count(RUN_RESAMPLES)} resamples, or all that there are). A single run has no interval, "
    "because its spread is not known. An interval of width zero means that these runs had equal scores; other runs "
    "may differ. “–”: does not exist."
)
MODE_GAP = 0.1  # of a normalised score, from which the two ways of acting are worth a sentence


def page(grid: Grid, scores: pd.DataFrame, summary: pd.DataFrame) -> dict[str, Any]:
    """What is remarkable, and per task a row per algorithm."""
    return {
        "of_columns": OF_COLUMNS,
        "sentences": [*below_random(grid, summary[summary["n"] > 0]), *mode_gap(grid, scores)],
        "tasks": {task: score_rows(grid, task, summary, scores) for task in grid.tasks},
    }


def below_random(grid: Grid, summary: pd.DataFrame) -> list[str]:
    rows = summary[summary["normalized_mean"] < 0]
    if rows.empty:
        return []
    places = (f"{grid.title(row.algorithm)} on {row.task} ({number(row.mean)})" for row in rows.itertuples())
    return [f"On average below the task’s random score, the 0 of the scale: {enumerate_text(places)}."]


def mode_gap(grid: Grid, scores: pd.DataFrame) -> list[str]:
    """The largest difference between acting by the policy's mode and sampling from it."""
    columns = ["normalized", "normalized_mode", "score", "mode_score"]
    means = scores.groupby(["task", "algorithm"], sort=False)[columns].mean()
    gap = (means["normalized_mode"] - means["normalized"]).dropna()  # nobody has evaluated the mode action elsewhere
    if gap.empty or gap.abs().max() < MODE_GAP:
        return []
    task, algorithm = gap.abs().idxmax()
    row = means.loc[(task, algorithm)]
    return [
        f"Taking the mode action instead of sampling matters most for {grid.title(algorithm)} on {task}: "
        f"mean score {number(row['mode_score'])} with the mode action, {number(row['score'])} with sampled actions."
    ]


def score_rows(grid: Grid, task: str, summary: pd.DataFrame, scores: pd.DataFrame) -> list[dict[str, Any]]:
    """Per algorithm: its row of the summary, and of every requested seed the run or None."""
    runs = {(run.algorithm, run.seed): run for run in scores[scores["task"] == task].itertuples()}
    return [
        {
            "summary": row,
            "runs": [runs.get((row.algorithm, cell["seed"])) for cell in grid.requested(task, row.algorithm)],
        }
        for row in summary[summary["task"] == task].itertuples()
    ]
