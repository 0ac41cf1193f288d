"""The tables of true returns: the sums of info["true_reward"] over episodes.

True curve: the learning curve with the true returns in place of the returns. From the step on at which a run diverged,
or was stopped by its task, it has no points: nobody has measured the true return of random actions.
"""

import numpy as np
import pandas as pd

from policy_gradient_ladder.experiments.schema import TRUE_RETURN

from ...drawing.panels import rows
from ...reading.grid import Grid
from ...reading.jobs import Run, key
from ...reading.runs import open_episodes, read_episodes
from ...reading.tables import stack
from ...statistics import scores as statistics
from ..learning.tables import CURVE_POINTS


def true_curves(grid: Grid, runs: list[Run]) -> pd.DataFrame:
    """The table `true_curves`: per run and grid point, true returns, by the rules of learning curves.

    Of runs whose task reports no true reward there are no rows.
    """
    tables = []
    for cell, run in runs:
        episodes = pd.concat([read_episodes(grid.folder / cell["directory"], run), open_episodes(run)])
        if TRUE_RETURN not in episodes:
            continue
        steps = statistics.step_grid(cell["steps"], CURVE_POINTS)
        starts, ends, returns = (episodes[name].to_numpy(dtype=float) for name in ("start", "step", TRUE_RETURN))
        curve = statistics.carry_forward(statistics.means_while_running(starts, ends, returns, steps)[0])
        known = np.isfinite(curve) & (steps < (np.inf if run["status"] == "done" else run["diverged_at"]))
        columns = {
            "step": steps[known],
            "true_return": curve[known],
            "moving_average": statistics.moving_average(curve[known]),
        }
        tables.append(pd.DataFrame({**key(cell), **columns}))
    return stack(tables, "true_curves")


def true_intervals(grid: Grid, true_curves: pd.DataFrame) -> pd.DataFrame:
    """The table `true_intervals`: per task, algorithm and grid point that all of these runs have, the mean over runs of
    the true return's moving average and its 95 % interval.
    """
    tables = []
    for (task, algorithm), points in true_curves.groupby(["task", "algorithm"], sort=False):
        wide = points.pivot(index="seed", columns="step", values="moving_average").dropna(axis=1)
        values = wide.to_numpy(dtype=float)
        low, high = statistics.mean_interval(values, statistics.new_rng())
        columns = {"step": wide.columns, "n": len(values), "mean": values.mean(axis=0), "low": low, "high": high}
        tables.append(pd.DataFrame({"task": task, "algorithm": algorithm, **columns}))
    return stack(tables, "true_intervals")


def true_peaks(grid: Grid, true_intervals: pd.DataFrame, curve_intervals: pd.DataFrame) -> pd.DataFrame:
    """The table `true_peaks`: per task and algorithm, where the mean over runs of the true return is highest, and where
    training ends: the true return and the proxy, which is the return of the learning curve, at both.
    """
    found = []
    for (task, algorithm), true in true_intervals.groupby(["task", "algorithm"], sort=False):
        proxy = rows(curve_intervals, task=task, algorithm=algorithm).set_index("step")["mean"]
        peak, end = true.loc[true["mean"].idxmax()], true.iloc[-1]
        found.append(
            {
                **{"task": task, "algorithm": algorithm, "n": end["n"], "peak_step": peak["step"]},
                **{"peak_true": peak["mean"], "peak_proxy": proxy[peak["step"]]},
                **{"end_true": end["mean"], "end_proxy": proxy[end["step"]]},
            }
        )
    return stack([pd.DataFrame(found)] if found else [], "true_peaks")
