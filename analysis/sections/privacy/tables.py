"""The table of scores by the privacy of the runs."""

import numpy as np
import pandas as pd

from ...reading.grid import Grid
from ...statistics.scores import mean_interval, new_rng

COLUMNS = ["task", "algorithm", "epsilon", "delta", "n", "mean", "low", "high"]


def privacy(grid: Grid, scores: pd.DataFrame, diagnostics: pd.DataFrame) -> pd.DataFrame:
    """The normalised final score of each algorithm on the tasks where some run is private, with ε and δ.

    ε is the largest that a run recorded as `epsilon`. It is infinite, and δ empty, where a run promises nothing. Empty
    where no run is private.
    """
    if "epsilon" not in diagnostics:
        return pd.DataFrame(columns=COLUMNS)
    spent = diagnostics.groupby(["task", "algorithm"])["epsilon"].max().dropna()
    found = []
    for (task, algorithm), of in scores.groupby(["task", "algorithm"], sort=False):
        values = of["normalized"].dropna().to_numpy(float)
        if task in spent.index.get_level_values("task") and len(values):
            low, high = mean_interval(values, new_rng()) if len(values) > 1 else (np.nan, np.nan)
            epsilon = float(spent.get((task, algorithm), np.inf))
            delta = grid.requested(task, algorithm)[0]["settings"]["delta"] if np.isfinite(epsilon) else np.nan
            found.append((task, algorithm, epsilon, delta, len(values), values.mean(), low, high))
    return pd.DataFrame(found, columns=COLUMNS)
