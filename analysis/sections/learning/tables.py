"""Learning curves and what happened inside training.

Learning curve: 100 grid points per task, budget/100 to budget. A point is the mean return of the training
episodes that ended in the bin before it. An empty bin carries the last value forward. Before the first
episode has ended the curve is the task's random score: nothing is known of the run yet, and an average over
the budget needs every run to have every point. Episodes that ended after the budget are not counted.

Diverged run: from the step at which it diverged its curve is the random score, and so is its final score
(normalised: 0).
"""

import numpy as np
import pandas as pd

from analysis.reading.grid import Grid
from analysis.reading.jobs import Run, key
from analysis.reading.runs import read_episodes, read_updates
from analysis.reading.tables import stack
from analysis.statistics import scores as statistics

CURVE_POINTS = 100


def curves(grid: Grid, runs: list[Run]) -> pd.DataFrame:
    """Per run, training returns on the task's common grid of steps; the module's docstring has the rules."""
    curves = []
    for cell, run in runs:
        task = grid.tasks[cell["task"]]
        steps = statistics.step_grid(cell["steps"], CURVE_POINTS)
        episodes = read_episodes(grid.folder / cell["directory"], run)
        means, counts = statistics.bin_means(episodes["step"].to_numpy(), episodes["return"].to_numpy(), steps)
        curve = statistics.carry_forward(means, before=task["random_score"])
        if run["status"] == "diverged":
            curve = np.where(steps >= run["diverged_at"], task["random_score"], curve)
        columns = {
            "step": steps,
            "return": curve,
            "moving_average": statistics.moving_average(curve),
            "normalized": statistics.normalize(curve, task["random_score"], task["reference_score"]),
            "episodes": counts,
        }
        curves.append(pd.DataFrame({**key(cell), **columns}))
    return stack(curves, "curves")


def curve_intervals(grid: Grid, curves: pd.DataFrame) -> pd.DataFrame:
    """Per task, algorithm and grid point, of the moving average: mean with interval and std over runs."""
    tables = []
    for task in grid.tasks:
        for algorithm in grid.algorithms:
            runs = curves[(curves["task"] == task) & (curves["algorithm"] == algorithm)]
            if len(runs):
                wide = runs.pivot(index="seed", columns="step", values="moving_average")
                values = wide.to_numpy()
                low, high = statistics.mean_interval(values, statistics.new_rng())
                columns = {
                    "step": wide.columns,
                    "n": len(values),
                    "mean": values.mean(axis=0),
                    "low": low,
                    "high": high,
                    "std": values.std(axis=0, ddof=1) if len(values) > 1 else np.nan,
                }
                tables.append(pd.DataFrame({"task": task, "algorithm": algorithm, **columns}))
    return stack(tables, "curve_intervals")


def efficiency(grid: Grid, curves: pd.DataFrame) -> pd.DataFrame:
    """Per algorithm and fraction of the budget, of the normalised moving average: IQM over all runs, interval."""
    fractions = np.arange(1, CURVE_POINTS + 1) / CURVE_POINTS
    efficiencies = []
    for algorithm in grid.algorithms:
        runs = curves[curves["algorithm"] == algorithm]
        strata = [
            # One row per run: the table holds each run's points together and in order.
            statistics.moving_average(group["normalized"].to_numpy().reshape(-1, CURVE_POINTS))
            for _, group in runs.groupby("task", sort=False)
        ]
        if strata:
            low, high = statistics.stratified_interval(strata, statistics.iqm_over_runs, statistics.new_rng())
            iqm = statistics.iqm_over_runs([values.T for values in strata])
            columns = {"fraction": fractions, "iqm": iqm, "low": low, "high": high}
            efficiencies.append(pd.DataFrame({"algorithm": algorithm, **columns}))
    return stack(efficiencies, "efficiency")


def diagnostics(grid: Grid, runs: list[Run]) -> pd.DataFrame:
    """Per run, updates.csv on the grid of the curves: means of each bin, the last value carried forward. What single
    algorithms record beside the diagnostics of all has columns behind these, empty for the others.

    Points before the first update, and from a divergence on, are absent.
    """
    tables = []
    for cell, run in runs:
        steps = statistics.step_grid(cell["steps"], CURVE_POINTS)
        updates = read_updates(grid.folder / cell["directory"], run).replace([np.inf, -np.inf], np.nan)
        columns = {
            name: statistics.carry_forward(
                statistics.bin_means(updates["step"].to_numpy(), updates[name].to_numpy(dtype=float), steps)[0]
            )
            for name in updates.columns.drop(["step", "updates"])
        }
        table = pd.DataFrame({**key(cell), "step": steps, **columns}).dropna(subset=list(columns), how="all")
        if run["status"] == "diverged":
            table = table[table["step"] < run["diverged_at"]]
        tables.append(table)
    return stack(tables, "diagnostics")
