"""Scores of all runs → the tables that rank the algorithms: aggregates, performance profiles, and every pair.

An algorithm's aggregates and profile are over the tasks on which it has a run. A pair is compared on the tasks on which
both algorithms have a run. All scores are normalised. Every task counts equally, even where runs are missing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from ...reading.grid import Grid
from ...reading.tables import frame
from ...statistics import comparison
from ...statistics import scores as statistics

RANKED = {"score": "normalized", "auc": "normalized_auc"}  # by measure, its column in the table of scores
ALL_TASKS = "all tasks"  # stands in the column `task` for a comparison over all tasks
PROFILE_STEP = 0.02  # between the levels τ of a performance profile
PROFILE_LIMITS = (-5.0, 5.0)  # no level of a performance profile lies outside
Strata = dict[str, np.ndarray]  # by task, the scores [n_k] of an algorithm's runs
Measured = dict[str, dict[str, Strata]]  # by measure and algorithm, its scores


@dataclass(frozen=True)
class Comparison:
    """Two algorithms that are compared on one task or on ALL_TASKS."""

    task: str
    algorithm: str
    other: str
    tasks: dict[str, tuple[np.ndarray, np.ndarray]]  # by task, the scores [n] of `algorithm` and [m] of `other`

    def strata(self, without: str | None = None) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """The scores of both algorithms, each as a list with an array per task; the task `without` is left out."""
        kept = [sides for task, sides in self.tasks.items() if task != without]
        return [first for first, _ in kept], [second for _, second in kept]


def strata(grid: Grid, scores: pd.DataFrame) -> Measured:
    """By measure and by algorithm with a run, the scores of its runs by task, in the grid's order.

    `scores` is the table of this name.
    """
    return {
        measure: {
            algorithm: by_task
            for algorithm in grid.algorithms
            if (by_task := strata_of(scores[scores["algorithm"] == algorithm], column))
        }
        for measure, column in RANKED.items()
    }


def aggregate(grid: Grid, strata: Measured) -> pd.DataFrame:
    """The table `aggregate`: a row per measure and algorithm; `strata` as the function of this name returns them."""
    return ranked(strata, "aggregate", lambda runs: aggregate_rows(grid, runs))


def profiles(strata: Measured) -> pd.DataFrame:
    """The table `profiles`: a row per measure, algorithm and level τ."""
    return ranked(strata, "profiles", profile_rows)


def improvement(strata: Measured) -> pd.DataFrame:
    """The table `improvement`: a row per measure and pair of algorithms."""
    return ranked(strata, "improvement", improvement_rows)


def pairs(grid: Grid, strata: Measured) -> pd.DataFrame:
    """The table `pairs`: a row per measure and pair of algorithms over all tasks, and one on every task."""
    return ranked(strata, "pairs", lambda runs: pair_rows(grid, runs))


def ranked(strata: Measured, table: str, rows_of: Callable[[dict[str, Strata]], list[dict[str, Any]]]) -> pd.DataFrame:
    """The rows of every measure as the named table; `rows_of` makes them of one measure's scores by algorithm."""
    return frame([{"measure": measure, **row} for measure, runs in strata.items() for row in rows_of(runs)], table)


def strata_of(runs: pd.DataFrame, column: str) -> Strata:
    """The values in a column of one algorithm's runs, by task, in the grid's order."""
    return {task: values.to_numpy() for task, values in runs.groupby("task", sort=False)[column]}


def aggregate_rows(grid: Grid, runs: dict[str, Strata]) -> list[dict[str, Any]]:
    """A row per algorithm: IQM, mean, median and optimality gap with 95 % intervals (Agarwal et al., 2021).

    `runs` has the scores by algorithm. `n` counts the finished runs, `requested` the runs of the grid.
    """
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
    """A row per algorithm and level τ: the share of runs with a score above τ, with a pointwise 95 % band."""
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
    """The levels τ of a performance profile, [P]: multiples of PROFILE_STEP.

    They reach from the lowest to the highest score, and at least from 0 to 1. Because they are multiples of a fixed
    step, a further algorithm may add levels at the ends but changes no other level.
    """
    lowest, highest = np.clip([min(scores.min(), 0), max(scores.max(), 1)], *PROFILE_LIMITS)
    return PROFILE_STEP * np.arange(np.floor(lowest / PROFILE_STEP), np.ceil(highest / PROFILE_STEP) + 1)


def improvement_rows(runs: dict[str, Strata]) -> list[dict[str, Any]]:
    """A row per pair of algorithms: the probability that a run of `algorithm` has a higher score than one of `other`.

    `algorithm` comes later in the grid's order than `other`.
    """
    rows = []
    for other, algorithm in combinations(runs, 2):
        pair = Comparison(ALL_TASKS, algorithm, other, shared_tasks(runs[algorithm], runs[other])).strata()
        if pair[0]:
            low, high = comparison.improvement_interval(*pair, statistics.new_rng())
            probability = comparison.probability_of_improvement(*pair)
            rows.append(pair_key(algorithm, other, pair) | {"probability": probability, "low": low, "high": high})
    return rows


def pair_rows(grid: Grid, runs: dict[str, Strata]) -> list[dict[str, Any]]:
    """The rows of all pairs of algorithms: the difference of means with its verdict.

    The rows over all tasks come first. Their p-values are corrected for all pairs, and they have further columns: the
    tasks on which the verdict rests, and a second test. The rows on single tasks follow; their p-values are corrected
    for all pairs on all tasks.
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
    """A row per pair: the difference of means and its verdict, with p-values corrected for all of these pairs."""
    differences = [comparison.difference(*pair.strata()) for pair in pairs]
    return [
        {"task": pair.task, **pair_key(pair.algorithm, pair.other, pair.strata())}
        | {"difference": found.value, "low": found.low, "high": found.high, "p": found.p}
        | {"p_adjusted": verdict.p, "verdict": verdict.verdict, "seeds_needed": verdict.seeds}
        | {"untested": comparison.why_untested(*pair.strata()) or None}
        for pair, found, verdict in zip(pairs, differences, comparison.verdicts(differences), strict=True)
    ]


def what_verdicts_rest_on(grid: Grid, pairs: list[Comparison], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Per pair, the columns about the tasks on which its verdict rests; none for a pair that is not decided.

    A verdict rests on a task if, without this task, the same test with the same correction gives another verdict. The
    first of these tasks is the one without which the difference is smallest.
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
    """The columns about the tasks on which a verdict rests.

    `without` has these tasks with the difference without each; `sign` is 1 for "better" and −1 for "worse".
    """
    if not without:
        return {}
    tasks = sorted(without, key=lambda task: sign * without[task].value)
    first = without[tasks[0]]
    ends = {"difference_without": first.value, "low_without": first.low, "high_without": first.high}
    return {"rests_on": "; ".join(tasks), **ends}


def permutation_tests(pairs: list[Comparison]) -> list[dict[str, float]]:
    """Per pair, the p-value of a permutation test within tasks, as it is and corrected for all pairs.

    It is NaN where an algorithm has a single run on a task, and where there are so few runs that even the smallest
    possible p-value would not decide.
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
    """The columns that name a pair of algorithms and count its tasks and runs."""
    first, second = pair
    return {"algorithm": algorithm, "other": other, "tasks": len(first), "n": count(first), "n_other": count(second)}


def shared_tasks(first: Strata, second: Strata) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By task on which both algorithms have runs, the scores of both."""
    return {task: (first[task], second[task]) for task in first if task in second}


def count(strata: list[np.ndarray]) -> int:
    """The number of runs over all tasks."""
    return sum(len(runs) for runs in strata)
