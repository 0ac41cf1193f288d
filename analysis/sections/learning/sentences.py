"""Which runs reached their task's threshold."""

from typing import Any

import pandas as pd

from ...reading.grid import Grid
from ...words import enumerate_text


def page(grid: Grid, scores: pd.DataFrame, evaluation_curves: pd.DataFrame) -> dict[str, Any]:
    """What the section says beside its figures, and which of them have nothing to show."""
    return {
        "sentences": thresholds(grid, scores),
        "empty": [] if len(evaluation_curves) else ["evaluation_curves"],
    }


def thresholds(grid: Grid, scores: pd.DataFrame) -> list[str]:
    """A sentence on how many runs reached the threshold; none if no task has one."""
    counted = scores[scores["reached"].notna()]
    if counted.empty:
        return []
    tasks = [task for task in grid.tasks if grid.tasks[task]["threshold"] is not None]
    counts = [
        f"{grid.title(algorithm)} in {int(runs['reached'].sum())} of {len(runs)} runs"
        for algorithm in grid.algorithms
        if len(runs := counted[counted["algorithm"] == algorithm])
    ]
    threshold = "The task’s threshold" if len(tasks) == len(grid.tasks) else f"The threshold ({enumerate_text(tasks)})"
    return [f"{threshold} was reached during training by {enumerate_text(counts)}."]
