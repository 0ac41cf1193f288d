"""The table of scores by the number of bins."""

import numpy as np
import pandas as pd

from ...reading.grid import Grid
from ...statistics.scores import mean_interval, new_rng

COLUMNS = ["environment", "algorithm", "bins", "task", "n", "mean", "low", "high"]


def bins(grid: Grid, scores: pd.DataFrame) -> pd.DataFrame:
    """The normalised score of the mode action of each algorithm on each task in bins, and on the same id without them.

    `bins` is 0 where actions are as the task has them. Empty where no task of the grid has actions in bins.
    """
    ids = {task: about.get("id", task) for task, about in grid.tasks.items()}
    binned = {ids[task] for task, about in grid.tasks.items() if about.get("action_bins")}
    found = []
    for task, about in grid.tasks.items():
        if ids[task] not in binned:
            continue
        for algorithm in grid.algorithms:
            of = scores[(scores["task"] == task) & (scores["algorithm"] == algorithm)]
            values = of["normalized_mode"].dropna().to_numpy(float)
            if len(values):
                low, high = mean_interval(values, new_rng()) if len(values) > 1 else (np.nan, np.nan)
                count = about.get("action_bins") or 0
                found.append((ids[task], algorithm, count, task, len(values), values.mean(), low, high))
    return pd.DataFrame(found, columns=COLUMNS)
