"""Scores of all runs → the tables that rank the algorithms: aggregates, performance profiles, and every pair.

An algorithm's aggregates and profile are over the tasks on which it has a run, a pair's over the tasks on which both
have. Normalised scores throughout; every task counts equally, also where runs are missing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from analysis.reading.grid import Grid
from analysis.reading.tables import frame
from analysis.statistics import comparison
from analysis.statistics import scores as statistics

RANKED = {"score": "normalized", "auc": "normalized_auc"}  # measure: its column in the scores
ALL_TASKS = "all tasks"
PROFILE_STEP = 0.02
PROFILE_LIMITS = (-5.0, 5.0)
Strata = dict[str, np.ndarray]  # task: the scores [n_k] of its runs
Measured = dict[str, dict[str, Strata]]  # measure: algorithm: its scores


@dataclass(frozen=True)
class Comparison:
    """An algorithm and another on one task or on ALL_TASKS: of each task that both have, the scores of either."""

    task: str
    algorithm: str
    other: str
    tasks: dict[str, tuple[np.ndarray, np.ndarray]]

    def strata(self, without: str | None = None) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Either side's scores, task by task, but not of one that is left out."""
        kept = [sides for task, sides in self.tasks.items() if task != without]
        return [first for first, _ in kept], [second for _, second in kept]


def strata(grid: Grid, scores: pd.DataFrame) -> Measured:
    """Per measure and algorithm with a run: its scores by task, in the grid's order."""
    return {
        measure: {
            algorithm: by_task
            for algorithm in grid.algorithms
            if (by_task := strata_of(scores[scores["algorithm"] == algorithm], column))
        }
        for measure, column in RANKED.items()
    }


def aggregate(grid: Grid, strata: Measured) -> pd.DataFrame:
    """A row per measure and algorithm."""
    return ranked(strata, "aggregate", lambda runs: aggregate_rows(grid, runs))


def profiles(strata: Measured) -> pd.DataFrame:
    """A row per measure, algorithm and level τ."""
    return ranked(strata, "profiles", profile_rows)


def improvement(strata: Measured) -> pd.DataFrame:
    """A row per measure and pair of algorithms."""
    return ranked(strata, "improvement", improvement_rows)


def pairs(grid: Grid, strata: Measured) -> pd.DataFrame:
    """A row per measure and pair of algorithms, over all tasks and on each."""
    return ranked(strata, "pairs", lambda runs: pair_rows(grid, runs))


def ranked(strata: Measured, table: str, rows_of: Callable[[dict[str, Strata]], list[dict[str, Any]]]) -> pd.DataFrame:
    """The rows of every measure as the named table; `rows_of` makes them of one measure's scores by algorithm."""
    return frame([{"measure": measure, **row} for measure, runs in strata.items() for row in rows_of(runs)], table)


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
        pair = Comparison(ALL_TASKS, algorithm, other, shared_tasks(runs[algorithm], runs[other])).strata()
        if pair[0]:
            low, high = comparison.improvement_interval(*pair, statistics.new_rng())
            probability = comparison.probability_of_improvement(*pair)
            rows.append(pair_key(algorithm, other, pair) | {"probability": probability, "low": low, "high": high})
    return rows


def pair_rows(grid: Grid, runs: dict[str, Strata]) -> list[dict[str, Any]]:
    """Per pair the difference of means and its verdict: over all tasks, corrected for all pairs, with what it rests on
    and a second test; then on every task, corrected for all pairs on all tasks.
    """
    names = [(algorithm, other) for other, algorithm in combinations(runs, 2)]
    together = [Comparison(ALL_TASKS, *pair, shared_tasks(*(runs[name] for name in pair))) for pair in names]
    together = [found for found in together if found.tasks]
    alone = [
        Comparison(task, *pair, {task: tuple(runs[name][task] for name in pair)})
        for task in grid.tasks
        for pair in names
        if all(task in runs[name] for name in pair)
    ]
    rows = verdict_rows(together)
    additions = zip(what_verdicts_rest_on(grid, together, rows), permutation_tests(together), strict=True)
    return [*(row | more | test for row, (more, test) in zip(rows, additions, strict=True)), *verdict_rows(alone)]


def verdict_rows(pairs: list[Comparison]) -> list[dict[str, Any]]:
    """Of all pairs that stand side by side: their rows."""
    differences = [comparison.difference(*pair.strata()) for pair in pairs]
    return [
        {"task": pair.task, **pair_key(pair.algorithm, pair.other, pair.strata())}
        | {"difference": found.value, "low": found.low, "high": found.high, "p": found.p}
        | {"p_adjusted": verdict.p, "verdict": verdict.verdict, "seeds_needed": verdict.seeds}
        for pair, found, verdict in zip(pairs, differences, comparison.verdicts(differences), strict=True)
    ]


def what_verdicts_rest_on(grid: Grid, pairs: list[Comparison], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Per pair the single tasks without which its better or worse would not stand, by the same test and correction,
    and the difference without the first of them. First is the task without which the least is left of the difference.
    """
    without: list[dict[str, comparison.Difference]] = [{} for _ in pairs]
    for task in grid.tasks:
        left = [index for index, pair in enumerate(pairs) if pair.strata(without=task)[0]]
        found = [comparison.difference(*pairs[index].strata(without=task)) for index in left]
        for index, own, p in zip(left, found, comparison.holm([own.p for own in found]), strict=True):
            decided = task in pairs[index].tasks and rows[index]["verdict"] in comparison.DECIDED
            if decided and comparison.verdict_on(own.value, p) != rows[index]["verdict"]:
                without[index][task] = own
    return [rests_on(own, np.sign(row["difference"])) for own, row in zip(without, rows, strict=True)]


def rests_on(without: dict[str, comparison.Difference], sign: float) -> dict[str, Any]:
    """The columns about the tasks (by name, the difference without it) on which a verdict of this sign rests."""
    if not without:
        return {}
    tasks = sorted(without, key=lambda task: sign * without[task].value)
    first = without[tasks[0]]
    ends = {"difference_without": first.value, "low_without": first.low, "high_without": first.high}
    return {"rests_on": "; ".join(tasks), **ends}


def permutation_tests(pairs: list[Comparison]) -> list[dict[str, float]]:
    """Per pair the p-value of a permutation test within tasks, and corrected for all pairs. NaN where a sample has a
    single run, as of the other test, or where even the smallest p-value of so few runs would decide nothing.
    """
    p_values = [
        comparison.permutation_p(*pair.strata(), statistics.new_rng())
        if min(len(runs) for side in pair.strata() for runs in side) > 1
        and comparison.least_permutation_p(*pair.strata()) * len(pairs) <= 1 - statistics.CONFIDENCE
        else np.nan
        for pair in pairs
    ]
    return [
        {"p_permutation": p, "p_permutation_adjusted": adjusted}
        for p, adjusted in zip(p_values, comparison.holm(p_values), strict=True)
    ]


def pair_key(algorithm: str, other: str, pair: tuple[list[np.ndarray], list[np.ndarray]]) -> dict[str, Any]:
    first, second = pair
    return {"algorithm": algorithm, "other": other, "tasks": len(first), "n": count(first), "n_other": count(second)}


def shared_tasks(first: Strata, second: Strata) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Both sides' runs on each task where both have some."""
    return {task: (first[task], second[task]) for task in first if task in second}


def count(strata: list[np.ndarray]) -> int:
    return sum(len(runs) for runs in strata)
