"""The tables of what was found: run by run, and how often by each algorithm on each task.

Only tasks count of which the grid says what a solution is (`solved`), and of each run only as many training episodes as
it says (`evaluations`), so that algorithms with short and with long episodes are compared at equal numbers of them.
"""

import numpy as np
import pandas as pd

from ...reading.grid import Grid
from ...reading.jobs import Run, key
from ...reading.runs import read_episodes
from ...reading.tables import frame
from ...statistics.scores import median_of_censored, normalize
from ...statistics.shares import share_interval


def discoveries(grid: Grid, runs: list[Run]) -> pd.DataFrame:
    """The table `discoveries`: the best training episode of each run, and the first one that is a solution.

    `episodes` counts those that count; `best_at` and `solved_at` are numbers of episodes from 1, the latter empty where
    no episode is a solution. `best_score` is the best return where random actions have 0 and the reference 1.
    `share_of_evaluations` is `solved_at` as a share of the episodes that may count, and 1 without a solution.
    """
    rows = []
    for cell, run in runs:
        task = grid.tasks[cell["task"]]
        if "solved" not in task:
            continue
        most = task["evaluations"]
        returns = read_episodes(grid.folder / cell["directory"], run)["return"].to_numpy(float)[:most]
        row = {**key(cell), "status": run["status"], "episodes": len(returns), "solved": 0, "share_of_evaluations": 1.0}
        if len(returns):
            best = returns.max()
            score = normalize(best, task["random_score"], task["reference_score"])
            row |= {"best": best, "best_at": int(returns.argmax()) + 1, "best_score": score}
            found = np.flatnonzero(returns >= task["solved"])
            if len(found):
                at = int(found[0]) + 1
                row |= {"solved": 1, "solved_at": at, "share_of_evaluations": at / most}
        rows.append(row)
    return frame(rows, "discoveries")


def discovery(grid: Grid, discoveries: pd.DataFrame) -> pd.DataFrame:
    """The table `discovery`: a row per task and algorithm, with how many runs found a solution.

    `share` has Wilson's 95 % interval, `low` and `high`. `median_evaluations` is the median number of episodes until
    the first solution, empty where fewer than half of the runs have one. `fewest_episodes` is the smallest number of
    episodes that a run had: fewer than the grid lets count where its budget of steps ended first.
    """
    rows = []
    for task, about in grid.tasks.items():
        for algorithm in grid.algorithms if "solved" in about else ():
            requested = len(grid.requested(task, algorithm))
            of = discoveries[(discoveries["task"] == task) & (discoveries["algorithm"] == algorithm)]
            if not requested:
                continue
            row = {"task": task, "algorithm": algorithm, "requested": requested, "n": len(of)}
            row["reference"] = about["reference_score"]
            if len(of):
                solved = of["solved"].to_numpy() == 1
                low, high = share_interval(int(solved.sum()), len(of))
                row |= {"fewest_episodes": of["episodes"].min(), "solved": solved.sum(), "share": solved.mean()}
                at = of["solved_at"].to_numpy(float)
                row |= {"low": low, "high": high, "median_evaluations": median_of_censored(at, solved)}
                row |= {"best_mean": of["best"].mean(), "best": of["best"].max()}
            rows.append(row)
    return frame(rows, "discovery")
