"""The tables of scores: the score of every run, and averages per task and algorithm."""

import math

import numpy as np
import pandas as pd

from policy_gradient_ladder.experiments.schema import LOOP_PHASES, SECONDS, STOPPED

from ...reading.grid import Grid
from ...reading.jobs import Run, key
from ...reading.tables import frame
from ...statistics import scores as statistics


def scores(grid: Grid, runs: list[Run], curves: pd.DataFrame) -> pd.DataFrame:
    """The table `scores`: one row per run.

    `curves` is the table of learning curves. `reached` is 1, 0 (the threshold was not reached within the budget) or
    empty (the task has no threshold). `episode_spread` is the standard deviation (n − 1) of the returns of the
    evaluation with sampled actions, as a share of the distance from the random to the reference score; empty where
    there are not two of them. `episode_cost` and `true_return` are the means of the costs and of the true returns of
    these episodes; empty where the task does not report them.
    """
    curve_of = dict(list(curves.groupby(["task", "algorithm", "seed"])))
    rows = []
    for cell, run in runs:
        task = grid.tasks[cell["task"]]
        random, reference = task["random_score"], task["reference_score"]
        curve = curve_of[tuple(key(cell).values())]
        done = run["status"] == "done"
        found = run["evaluation"] if done else {}
        score, mode_score = (
            np.mean(found[kind]["returns"]) if kind in found else math.nan if done else random
            for kind in ("sampled", "mode")
        )
        sampled = found.get("sampled", {})
        returns = sampled.get("returns", [])
        auc = curve["return"].mean()
        row = {
            **key(cell),
            "status": run["status"],
            "score": score,
            "mode_score": mode_score,
            "normalized": statistics.normalize(score, random, reference),
            "normalized_mode": statistics.normalize(mode_score, random, reference),
            "auc": auc,
            "normalized_auc": statistics.normalize(auc, random, reference),
            "steps": cell["steps"],
            "steps_taken": run["steps_taken"],
            "steps_per_second": run["steps_per_second"],
            **{f"seconds_{name}": run["seconds"][name] for name in SECONDS},
            "seconds_rest": run["seconds"]["training"] - sum(run["seconds"][phase] for phase in LOOP_PHASES),
            "peak_memory_mb": run["peak_memory_mb"],
            "episode_spread": np.std(returns, ddof=1) / abs(reference - random) if len(returns) > 1 else math.nan,
            "episode_cost": np.mean(costs) if (costs := sampled.get("costs")) else math.nan,
            "true_return": np.mean(true_returns) if (true_returns := sampled.get("true_returns")) else math.nan,
        }
        if task["threshold"] is not None:
            steps, reached = statistics.steps_to_threshold(
                curve["moving_average"].to_numpy(), curve["step"].to_numpy(), task["threshold"]
            )
            row |= {"steps_to_threshold": steps, "reached": int(reached)}
        rows.append(row)
    return frame(rows, "scores").astype({"steps_to_threshold": float, "reached": float})


def summary(grid: Grid, scores: pd.DataFrame) -> pd.DataFrame:
    """The table `summary`: a row per task and algorithm, with statistics over its runs.

    `requested` counts the runs of the grid and `n` the finished ones.
    """
    rows = []
    for task in grid.tasks:
        for algorithm in grid.algorithms:
            requested = len(grid.requested(task, algorithm))
            if requested:
                runs = scores[(scores["task"] == task) & (scores["algorithm"] == algorithm)]
                row = {"task": task, "algorithm": algorithm, "requested": requested, "n": len(runs)}
                rows.append(row | (summarize(runs) if len(runs) else {}))
    return frame(rows, "summary")


def summarize(runs: pd.DataFrame) -> dict[str, float]:
    """The statistics over the runs of one algorithm on one task.

    Intervals are 95 % intervals of the mean; the standard deviation is that of a sample (n − 1).
    """
    score, auc = runs["score"].to_numpy(), runs["auc"].to_numpy()
    low, high = statistics.mean_interval(score, statistics.new_rng())
    auc_low, auc_high = statistics.mean_interval(auc, statistics.new_rng())
    summary = {
        "diverged": (runs["status"] == "diverged").sum(),
        "stopped": (runs["status"] == STOPPED).sum(),
        "mean": score.mean(),
        "low": low,
        "high": high,
        "iqm": statistics.iqm(score),
        "std": score.std(ddof=1) if len(score) > 1 else np.nan,
        "min": score.min(),
        "max": score.max(),
        "mode_mean": runs["mode_score"].mean(),
        "normalized_mean": runs["normalized"].mean(),
        "auc_mean": auc.mean(),
        "auc_low": auc_low,
        "auc_high": auc_high,
    }
    if runs["reached"].notna().all():
        summary["reached"] = runs["reached"].sum()
        summary["median_steps_to_threshold"] = statistics.median_of_censored(
            runs["steps_to_threshold"].to_numpy(), runs["reached"].to_numpy() == 1
        )
    return summary
