"""The table of scores by the privacy of the runs."""

import numpy as np
import pandas as pd

from ...reading.grid import Grid
from ...reading.jobs import Run
from ...reading.runs import read_updates
from ...statistics.scores import mean_interval, new_rng

COLUMNS = ["task", "algorithm", "epsilon", "delta", "n", "mean", "low", "high"]


def privacy(grid: Grid, runs: list[Run], scores: pd.DataFrame) -> pd.DataFrame:
    """The normalised final score of each algorithm on the tasks where some run is private, with ε and δ.

    ε is the largest that a run has recorded as `epsilon` in updates.csv, and δ is the run's setting. ε is infinite, and
    δ empty, where a run promises nothing. Empty where no run is private.
    """
    spent: dict[tuple[str, str], list[float]] = {}
    for cell, run in runs:
        updates = read_updates(grid.folder / cell["directory"], run)
        recorded = updates["epsilon"].max() if "epsilon" in updates else np.inf
        spent.setdefault((cell["task"], cell["algorithm"]), []).append(float(recorded))
    private = {task for (task, _), epsilons in spent.items() if min(epsilons) < np.inf}
    found = []
    for (task, algorithm), of in scores.groupby(["task", "algorithm"], sort=False):
        values = of["normalized"].dropna().to_numpy(float)
        if task in private and len(values):
            low, high = mean_interval(values, new_rng()) if len(values) > 1 else (np.nan, np.nan)
            epsilon = max(spent[task, algorithm])
            delta = grid.requested(task, algorithm)[0]["settings"]["delta"] if epsilon < np.inf else np.nan
            found.append((task, algorithm, epsilon, delta, len(values), values.mean(), low, high))
    return pd.DataFrame(found, columns=COLUMNS)
