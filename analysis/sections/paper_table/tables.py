"""The paper's score of our runs, where the grid's `published_table` says which table of a paper it repeats.

A run's score is the mean return of its last training episodes within the budget, as many as the paper counts; a run
that diverged, or was stopped by its task, has the random score. On each task the scores are shifted and scaled: the
random policy has 0, and the best result 1. The paper says "the best result was set to 1" right after the score of a
run, so the best result is taken to be the best run of all algorithms on the task; `score_by_mean` has the best
algorithm's mean in its place. An algorithm's score is the mean over tasks of the mean over seeds, which is the mean
over runs where all are there. Where it has no run on a task, it has no score.

Everything is there for the first seeds of the grid, as many as the paper has, and for all of them. The interval is that
of a sum of means over seeds (Welch and Satterthwaite), with the scale held fixed.
"""

from typing import Any

import numpy as np
import pandas as pd

from ...reading.grid import Grid
from ...reading.jobs import Run, key
from ...reading.runs import read_episodes
from ...reading.tables import frame
from ...statistics.scores import interval_of_sum, mean_of_last


def paper_runs(grid: Grid, runs: list[Run]) -> pd.DataFrame:
    """The table `paper_runs`: the score of each run, and of how many episodes it is the mean; empty for other grids."""
    asked = grid.published_table
    rows = []
    for cell, run in runs if asked else ():
        if cell["algorithm"] in asked["scores"]:
            episodes = read_episodes(grid.folder / cell["directory"], run)
            within = episodes[episodes["step"] <= cell["steps"]]
            random, done = grid.tasks[cell["task"]]["random_score"], run["status"] == "done"
            steps, returns = within["step"].to_numpy(), within["return"].to_numpy()
            score = mean_of_last(steps, returns, cell["steps"], asked["last_episodes"], random) if done else random
            counted = min(len(within), asked["last_episodes"]) if done else 0
            rows.append({**key(cell), "status": run["status"], "episodes": counted, "score": score})
    return frame(rows, "paper_runs")


def seed_sets(grid: Grid) -> list[list[int]]:
    """The paper's number of seeds, the first of the grid, and all of the grid."""
    asked = grid.published_table
    return [grid.seeds[: asked["seeds"]], *([grid.seeds] if len(grid.seeds) > asked["seeds"] else [])] if asked else []


def paper_scale(grid: Grid, paper_runs: pd.DataFrame) -> pd.DataFrame:
    """The table `paper_scale`: what is 0 and what is 1 on each task, with so many seeds."""
    rows = []
    for seeds in seed_sets(grid):
        for task in grid.tasks:
            runs = paper_runs[(paper_runs["task"] == task) & paper_runs["seed"].isin(seeds)]
            if runs.empty:
                continue
            best, means = runs.loc[runs["score"].idxmax()], runs.groupby("algorithm", sort=False)["score"].mean()
            of_best = {"best": best["score"], "best_algorithm": best["algorithm"], "best_seed": best["seed"]}
            of_mean = {"best_mean": means.max(), "best_mean_algorithm": means.idxmax()}
            scale = {"seeds": len(seeds), "task": task, "random": grid.tasks[task]["random_score"]}
            rows.append(scale | of_best | of_mean)
    return frame(rows, "paper_scale")


def paper_scores(grid: Grid, paper_runs: pd.DataFrame, paper_scale: pd.DataFrame) -> pd.DataFrame:
    """The table `paper_scores`: each algorithm's number in the paper and ours, with the paper's seeds and with all."""
    rows = []
    for seeds in seed_sets(grid):
        scale = paper_scale[paper_scale["seeds"] == len(seeds)].set_index("task")
        for algorithm, published in grid.published_table["scores"].items():
            cells = [cell for cell in grid.cells if cell["algorithm"] == algorithm and cell["seed"] in seeds]
            runs = paper_runs[(paper_runs["algorithm"] == algorithm) & paper_runs["seed"].isin(seeds)]
            of_task = {task: runs.loc[runs["task"] == task, "score"].to_numpy(dtype=float) for task in grid.tasks}
            rows.append(
                {
                    "algorithm": algorithm,
                    "seeds": len(seeds),
                    "tasks": len(grid.tasks),
                    "requested": len(cells),
                    "n": len(runs),
                    "published": published,
                    **averaged({task: scaled(scale, task, of, "best") for task, of in of_task.items()}),
                    "score_by_mean": mean_over_tasks(
                        [scaled(scale, task, of, "best_mean") for task, of in of_task.items()]
                    ),
                }
            )
    return frame(rows, "paper_scores")


def scaled(scale: pd.DataFrame, task: str, scores: np.ndarray, best: str) -> np.ndarray:
    """Scores [n] on the scale where the random policy has 0 and the best result 1; NaN where that is no better than 0.

    scale: paper_scale by task. best: its column that has the best result.
    """
    if not len(scores):
        return scores
    random, top = scale.loc[task, "random"], scale.loc[task, best]
    return (scores - random) / (top - random) if top > random else np.full(len(scores), np.nan)


def mean_over_tasks(scores: list[np.ndarray]) -> float:
    """The mean over tasks of the mean over runs; NaN where a task has no run. scores: [n] of each task."""
    return float(np.mean([of.mean() for of in scores])) if all(map(len, scores)) else np.nan


def averaged(scores: dict[str, np.ndarray]) -> dict[str, Any]:
    """The score of an algorithm with its interval, and the task on which it is lowest. scores: task → [n]."""
    score = mean_over_tasks(list(scores.values()))
    if np.isnan(score):
        return {}
    means = {task: of.mean() for task, of in scores.items()}
    lowest = min(means, key=lambda task: means[task])
    low = high = np.nan
    if all(len(of) > 1 for of in scores.values()):
        errors = np.array([of.var(ddof=1) / len(of) for of in scores.values()]) / len(scores) ** 2
        low, high = interval_of_sum(score, errors, np.array([len(of) for of in scores.values()]))
    ends = {"score_low": low, "score_high": high}
    return {"score": score, **ends, "lowest_task": lowest, "lowest": means[lowest]}
