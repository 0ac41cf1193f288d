"""The tables of returns under changes: of every run, and averaged over runs."""

import math

import numpy as np
import pandas as pd

from policy_gradient_ladder.experiments.schema import PERTURBED

from ...reading.grid import Grid
from ...reading.jobs import Run, key
from ...reading.tables import frame
from ...statistics import scores as statistics


def robustness(grid: Grid, runs: list[Run]) -> pd.DataFrame:
    """The table `robustness`: a row per run, change and size, and one at the change's `nominal` size, of the run's own
    evaluation.

    `loss` is the run's normalised final score less `normalized`, that under the change. A run that is not done, and a
    changed task that gave unusable numbers, count as the random score. A run without a saved policy has no rows.
    """
    rows = []
    for cell, run in runs:
        task = grid.tasks[cell["task"]]
        done = run["status"] == "done"
        if "perturbations" not in task or (done and PERTURBED not in run):
            continue
        random, reference = task["random_score"], task["reference_score"]
        own = np.mean(run["evaluation"]["sampled"]["returns"]) if done else random
        returns = {(entry["change"], entry["size"]): entry["returns"] for entry in run.get(PERTURBED, ())}
        of_run = {"environment": task.get("id", cell["task"]), **key(cell)}
        for change, asked in task["perturbations"].items():
            for size in sorted({asked["nominal"], *asked["sizes"]}):
                found = returns.get((change, size))
                score = own if size == asked["nominal"] else np.mean(found) if found else random
                rows.append(
                    of_run
                    | {"change": change, "size": size, "nominal": asked["nominal"], "score": score}
                    | {"normalized": statistics.normalize(score, random, reference)}
                    | {"loss": (own - score) / (reference - random)}
                )
    return frame(rows, "robustness")


def robustness_summary(robustness: pd.DataFrame) -> pd.DataFrame:
    """The table `robustness_summary`: the mean score over runs with its 95 % bootstrap interval, and the mean loss."""
    keys = ["environment", "task", "algorithm", "change", "size", "nominal"]
    rows = []
    for names, of in robustness.groupby(keys, sort=False):
        scores = of["score"].to_numpy(float)
        several = len(scores) > 1
        low, high = statistics.mean_interval(scores, statistics.new_rng()) if several else (math.nan, math.nan)
        row = {"n": len(scores), "mean": scores.mean(), "low": low, "high": high, "lost": of["loss"].mean()}
        rows.append(dict(zip(keys, names, strict=True)) | row)
    return frame(rows, "robustness_summary")
