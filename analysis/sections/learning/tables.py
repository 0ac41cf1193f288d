"""The tables of learning curves, of sample efficiency, and of the diagnostics of training.

Learning curve: 100 grid points per task, from budget/100 to the budget. A training episode counts over the steps during
which it ran: a point is the mean, over the environment steps in the bin before it, of the returns of the episodes to
which these steps belong. So long, good episodes are not late. Episodes that were open at the end of the budget have
been finished without learning, and count here alone. Every step of a run that ended normally belongs to an episode.
Where none is known (before a divergence, in runs of earlier versions and of other libraries), a bin has the value of
the bin before it, and the random score where there is none: an average over the budget needs a value at every point.

Evaluations in the middle of a training, where a grid asks for them, are no part of that curve. A point is the mean over
the episodes of one; `asked` is the multiple of evaluate_every that it is for, `step` where the training was.

Diverged run: from the step at which a run diverged, or at which its task stopped it, its curve is the random score, and
so is its final score (normalised: 0).
"""

import numpy as np
import pandas as pd

from policy_gradient_ladder.experiments.schema import EVALUATIONS

from ...reading.grid import Grid
from ...reading.jobs import Run, key
from ...reading.runs import open_episodes, read_episodes, read_evaluations, read_updates
from ...reading.tables import stack
from ...statistics import scores as statistics

CURVE_POINTS = 100  # of a learning curve, at equal distances over the budget


def curves(grid: Grid, runs: list[Run]) -> pd.DataFrame:
    """The table `curves`: per run and grid point, training returns by the rules in this module's docstring."""
    curves = []
    for cell, run in runs:
        task = grid.tasks[cell["task"]]
        steps = statistics.step_grid(cell["steps"], CURVE_POINTS)
        episodes = pd.concat([read_episodes(grid.folder / cell["directory"], run), open_episodes(run)])
        starts, ends, returns = (episodes[name].to_numpy(dtype=float) for name in ("start", "step", "return"))
        means, counts = statistics.means_while_running(starts, ends, returns, steps)
        curve = statistics.carry_forward(means, before=task["random_score"])
        if run["status"] != "done":
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
    """The table `curve_intervals`: per task, algorithm and grid point, statistics over runs of the moving average.

    The statistics are the mean, its 95 % interval and the standard deviation of a sample (n − 1).
    """
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


def evaluation_curves(grid: Grid, runs: list[Run]) -> pd.DataFrame:
    """The table `evaluation_curves`: per run, kind and evaluation in the middle of its training, the mean return.

    From the step on at which a run diverged, evaluations that it lacks have the random score and no episode.
    """
    tables = []
    for cell, run in runs:
        evaluations = read_evaluations(grid.folder / cell["directory"], run)
        every = run.get("evaluate_every")
        if every is None:
            continue
        points = evaluations.groupby(["kind", "step"], as_index=False).agg(
            **{"return": ("return", "mean"), "episodes": ("return", "size")}
        )
        points["asked"] = points["step"] // every * every
        if run["status"] != "done":
            asked = np.arange(every, cell["steps"] + 1, every)
            for kind in EVALUATIONS:
                had = points.loc[points["kind"] == kind, "asked"]
                lacking = asked[(asked > run["diverged_at"]) & ~np.isin(asked, had)]
                score = grid.tasks[cell["task"]]["random_score"]
                filled = {"kind": kind, "step": lacking, "asked": lacking, "return": score, "episodes": 0}
                points = pd.concat([points, pd.DataFrame(filled)]) if len(lacking) else points
        if len(points):
            tables.append(pd.DataFrame({**key(cell), **points}))
    return stack(tables, "evaluation_curves")


def evaluation_intervals(grid: Grid, evaluation_curves: pd.DataFrame) -> pd.DataFrame:
    """The table `evaluation_intervals`: per task, algorithm, kind and evaluation that all runs have, the mean over
    runs and its 95 % interval; `step` is the multiple of evaluate_every.
    """
    tables = []
    for (task, algorithm, kind), points in evaluation_curves.groupby(["task", "algorithm", "kind"], sort=False):
        wide = points.pivot(index="seed", columns="asked", values="return").dropna(axis=1)
        if wide.empty:
            continue
        values = wide.to_numpy(dtype=float)
        low, high = statistics.mean_interval(values, statistics.new_rng())
        columns = {"step": wide.columns, "n": len(values), "mean": values.mean(axis=0), "low": low, "high": high}
        tables.append(pd.DataFrame({"task": task, "algorithm": algorithm, "kind": kind, **columns}))
    return stack(tables, "evaluation_intervals")


def efficiency(grid: Grid, curves: pd.DataFrame) -> pd.DataFrame:
    """The table `efficiency`: per algorithm and fraction of the budget, the IQM of the normalised moving average.

    The IQM and its 95 % interval are over all runs of the algorithm, with equal weight for every task.
    """
    fractions = np.arange(1, CURVE_POINTS + 1) / CURVE_POINTS
    efficiencies = []
    for algorithm in grid.algorithms:
        runs = curves[curves["algorithm"] == algorithm]
        strata = [
            # [runs, points], because the table has each run's points together and in order
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
    """The table `diagnostics`: per run, the scalars of updates.csv at the grid points of the learning curves.

    A point is the mean over the updates in the bin before it; an empty bin has the value of the bin before. Scalars
    that only some algorithms record have further columns, empty for all other algorithms. There are no rows for points
    before the first update of a run, or from its divergence, or stop, on.
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
        if run["status"] != "done":
            table = table[table["step"] < run["diverged_at"]]
        tables.append(table)
    return stack(tables, "diagnostics")
