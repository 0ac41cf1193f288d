"""The table of what was sent until each point of a learning curve."""

import numpy as np
import pandas as pd

from policy_gradient_ladder.experiments.schema import SENT

from ...reading.grid import Grid
from ...reading.jobs import Run, key
from ...reading.runs import read_updates

COLUMNS = ["task", "algorithm", "step", *SENT, "n", "mean", "low", "high"]


def communication(grid: Grid, runs: list[Run], curve_intervals: pd.DataFrame) -> pd.DataFrame:
    """The rows of `curve_intervals` of algorithms that send something, with what was sent until there.

    `rounds` and `megabytes_sent` are sums since the start of a run, interpolated between the rows of updates.csv and
    averaged over runs. Empty where no algorithm sends anything.
    """
    found: dict[tuple[str, str], list[np.ndarray]] = {}
    steps = {task: rows["step"].unique() for task, rows in curve_intervals.groupby("task")}
    for cell, run in runs:
        updates = read_updates(grid.folder / cell["directory"], run)
        if set(SENT) <= set(updates):
            # A row has means over its updates. Before the first one nothing was sent.
            sums = (updates[list(SENT)].to_numpy(float) * updates[["updates"]].to_numpy(float)).cumsum(axis=0)
            ends = np.append(0.0, updates["step"].to_numpy(float))
            of_run = [np.interp(steps[cell["task"]], ends, np.append(0.0, of)) for of in sums.T]
            task, algorithm, _ = key(cell).values()
            found.setdefault((task, algorithm), []).append(np.array(of_run))
    tables = []
    for (task, algorithm), of_runs in found.items():
        rows = curve_intervals[(curve_intervals["task"] == task) & (curve_intervals["algorithm"] == algorithm)]
        sent = dict(zip(SENT, np.mean(of_runs, axis=0), strict=True))
        tables.append(rows.assign(**sent)[COLUMNS])
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS)
