"""What the page says of what was found."""

from typing import Any

import pandas as pd

from ...reading.grid import Grid
from ...words import count, enumerate_text, percents, short_name


def page(grid: Grid, discovery: pd.DataFrame) -> dict[str, Any] | None:
    """A row for each task and algorithm; None where the grid does not say what counts as a solution."""
    if discovery.empty:
        return None
    return {
        "rows": [shown(grid, row) for _, row in discovery.iterrows()],
        "sentences": [*rules(grid), *short_runs(grid, discovery)],
    }


def shown(grid: Grid, row: pd.Series) -> dict[str, Any]:
    """A row of the page's table, as text."""
    about = grid.tasks[row["task"]]
    made = row["n"] > 0
    return {
        "task": row["task"],
        "algorithm": grid.title(row["algorithm"]),
        "solved": f"{row['solved']:.0f} of {row['n']:.0f}" if made else f"0 of {row['requested']:.0f} runs are there",
        "interval": f"{percents(row['low'])} to {percents(row['high'])}" if made else "–",
        "evaluations": "–" if pd.isna(row["median_evaluations"]) else count(row["median_evaluations"]),
        "best": digits(row["best"]),
        "best_mean": digits(row["best_mean"]),
        "reference": f"{digits(row['reference'])} ({about['reference_source']})",
    }


def digits(value: float) -> str:
    """Five significant digits, so that what is nearly a solution does not look like one. An en dash stands for NaN."""
    return "–" if pd.isna(value) else f"{value:.5g}".replace("-", "−")


def rules(grid: Grid) -> list[str]:
    """From which return on an episode is a solution on each task, and how many episodes count."""
    asked = {name: about for name, about in grid.tasks.items() if "solved" in about}
    said = enumerate_text(
        f"{about['solved']:.10g} on {short_name(name)}, among {about['evaluations']:,}" for name, about in asked.items()
    )
    return [
        f"A run has found a solution if one of its training episodes has at least this return, among so many: {said}.",
        "“Until found” is the median number of training episodes until the first solution, over all runs; it is left "
        "out where fewer than half of the runs have one. The intervals are Wilson’s 95 % intervals of a share.",
    ]


def short_runs(grid: Grid, discovery: pd.DataFrame) -> list[str]:
    """Which algorithms had fewer episodes than count, since their budget of steps ended first."""
    return [
        f"{grid.title(row.algorithm)} on {short_name(row.task)} had fewer in some runs, at least "
        f"{row.fewest_episodes:,.0f}, because its episodes took more steps of the budget."
        for row in discovery.itertuples()
        if row.fewest_episodes < grid.tasks[row.task]["evaluations"]
    ]
