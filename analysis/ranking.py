"""Scores of all runs → the tables that rank the algorithms: aggregates, performance profiles, and every pair.

An algorithm's aggregates and profile are over the tasks on which it has a run, a pair's over the tasks on which both
have. Normalised scores throughout; every task counts equally, also where runs are missing.
"""

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from analysis import comparison, statistics
from analysis.results import TABLES, Grid

RANKED = {"score": "normalized", "auc": "normalized_auc"}  # measure: its column in the scores
ALL_TASKS = "all tasks"
PROFILE_STEP = 0.02
PROFILE_LIMITS = (-5.0, 5.0)

Strata = dict[str, np.ndarray]  # task: the scores [n_k] of its runs


def ranking_tables(grid: Grid, scores: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """aggregate: per algorithm. profiles: per algorithm and level τ. improvement: per pair. pairs: per pair, over all
    tasks and on each.
    """
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in ("aggregate", "profiles", "improvement", "pairs")}
    for measure, column in RANKED.items():
        runs = {
            algorithm: strata
            for algorithm in grid.algorithms
            if (strata := strata_of(scores[scores["algorithm"] == algorithm], column))
        }
        found = {
            "aggregate": aggregate_rows(grid, runs),
            "profiles": profile_rows(runs),
            "improvement": improvement_rows(runs),
            "pairs": pair_rows(grid, runs),
        }
        for name, own in found.items():
            rows[name] += [{"measure": measure, **row} for row in own]
    return {name: pd.DataFrame(found, columns=list(TABLES[name])) for name, found in rows.items()}


def strata_of(runs: pd.DataFrame, column: str) -> Strata:
    """One algorithm's runs by task, in the grid's order."""
    return {task: values.to_numpy() for task, values in runs.groupby("task", sort=False)[column]}


def aggregate_rows(grid: Grid, runs: dict[str, Strata]) -> list[dict[str, Any]]:
    """Per algorithm IQM, mean, median and optimality gap with 95 % intervals, over n of the requested runs."""
    rows = []
    for algorithm, by_task in runs.items():
        strata = list(by_task.values())
        requested = sum(len(grid.requested(task, algorithm)) for task in grid.tasks)
        row = {"algorithm": algorithm, "tasks": len(strata), "n": count(strata), "requested": requested}
        for name, statistic in statistics.AGGREGATES.items():
            low, high = statistics.stratified_interval(strata, statistic, statistics.new_rng())
            row |= {name: statistic(strata), f"{name}_low": low, f"{name}_high": high}
        rows.append(row)
    return rows


def profile_rows(runs: dict[str, Strata]) -> list[dict[str, Any]]:
    """Per algorithm and level τ the share of runs above it with pointwise 95 % bands."""
    if not runs:
        return []
    levels = profile_levels(np.concatenate([values for strata in runs.values() for values in strata.values()]))
    rows = []
    for algorithm, strata in runs.items():
        above = statistics.runs_above(list(strata.values()), levels)
        share = np.mean([runs.mean(axis=0) for runs in above], axis=0)
        low, high = statistics.stratified_mean_interval(above, statistics.new_rng())
        rows += [
            {"algorithm": algorithm, **dict(zip(("tau", "share", "low", "high"), point, strict=True))}
            for point in zip(levels, share, low, high, strict=True)
        ]
    return rows


def profile_levels(scores: np.ndarray) -> np.ndarray:
    """[P] multiples of a fixed step that reach from the lowest to the highest score, and at least from 0 to 1: another
    algorithm may lengthen them, but moves none.
    """
    lowest, highest = np.clip([min(scores.min(), 0), max(scores.max(), 1)], *PROFILE_LIMITS)
    return PROFILE_STEP * np.arange(np.floor(lowest / PROFILE_STEP), np.ceil(highest / PROFILE_STEP) + 1)


def improvement_rows(runs: dict[str, Strata]) -> list[dict[str, Any]]:
    """Per pair the probability that a run of the one, later in the grid's order, is above one of the other."""
    rows = []
    for other, algorithm in combinations(runs, 2):
        pair = shared_tasks(runs[algorithm], runs[other])
        if pair[0]:
            low, high = comparison.improvement_interval(*pair, statistics.new_rng())
            probability = comparison.probability_of_improvement(*pair)
            rows.append(pair_key(algorithm, other, pair) | {"probability": probability, "low": low, "high": high})
    return rows


def pair_rows(grid: Grid, runs: dict[str, Strata]) -> list[dict[str, Any]]:
    """Per pair the difference of means and its verdict: over all tasks, corrected for all pairs; then on every task,
    corrected for all pairs on all tasks.
    """
    pairs = [(algorithm, other) for other, algorithm in combinations(runs, 2)]
    together = [(ALL_TASKS, *names, shared_tasks(*(runs[name] for name in names))) for names in pairs]
    alone = [
        (task, *names, tuple([runs[name][task]] for name in names))
        for task in grid.tasks
        for names in pairs
        if all(task in runs[name] for name in names)
    ]
    return [*verdict_rows([found for found in together if found[3][0]]), *verdict_rows(alone)]


def verdict_rows(pairs: list[tuple[str, str, str, tuple[list[np.ndarray], list[np.ndarray]]]]) -> list[dict[str, Any]]:
    """Task, algorithm, other and both sides' strata of all pairs that stand side by side → their rows."""
    differences = [comparison.difference(*pair) for *_, pair in pairs]
    return [
        {"task": task, **pair_key(algorithm, other, pair)}
        | {"difference": found.value, "low": found.low, "high": found.high, "p": found.p}
        | {"p_adjusted": verdict.p, "verdict": verdict.verdict, "seeds_needed": verdict.seeds}
        for (task, algorithm, other, pair), found, verdict in zip(
            pairs, differences, comparison.verdicts(differences), strict=True
        )
    ]


def pair_key(algorithm: str, other: str, pair: tuple[list[np.ndarray], list[np.ndarray]]) -> dict[str, Any]:
    first, second = pair
    return {"algorithm": algorithm, "other": other, "tasks": len(first), "n": count(first), "n_other": count(second)}


def shared_tasks(first: Strata, second: Strata) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Both sides' runs on the tasks where both have some."""
    tasks = [task for task in first if task in second]
    return [first[task] for task in tasks], [second[task] for task in tasks]


def count(strata: list[np.ndarray]) -> int:
    return sum(len(runs) for runs in strata)
