"""Curves, scores and their intervals as pure functions of arrays (Agarwal et al., 2021)."""

from collections.abc import Callable

import numpy as np
from scipy.stats import t as t_distribution
from scipy.stats import trim_mean

RESAMPLES = 2000
CONFIDENCE = 0.95
BOOTSTRAP_SEED = 20211
MOVING_AVERAGE = 5


def normalize(score, random: float, reference: float):
    """(score − random) / (reference − random)."""
    return (score - random) / (reference - random)


# -------------------------------------------------------------------------------------------- curves


def step_grid(budget: int, points: int) -> np.ndarray:
    """[points] steps, budget/points to budget: where every curve of a task is read."""
    return budget * np.arange(1, points + 1) / points


def bin_means(steps: np.ndarray, values: np.ndarray, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of the values [E] whose step [E] lies in (grid[i−1], grid[i]], and how many: two arrays [P].

    The first bin begins after step 0. What happened after the last grid point is outside the budget and not
    counted. An empty bin is NaN.
    """
    index = np.searchsorted(grid, steps, side="left")
    known = (index < len(grid)) & ~np.isnan(values)
    counts = np.bincount(index[known], minlength=len(grid))
    sums = np.bincount(index[known], weights=values[known], minlength=len(grid))
    return np.divide(sums, counts, out=np.full(len(grid), np.nan), where=counts > 0), counts


def carry_forward(values: np.ndarray, before: float = np.nan) -> np.ndarray:
    """Fill each NaN of values [P] with the last value before it, or `before` where there is none."""
    last = np.maximum.accumulate(np.where(np.isnan(values), -1, np.arange(len(values))))
    return np.where(last < 0, before, values[last])


def moving_average(curve: np.ndarray, window: int = MOVING_AVERAGE) -> np.ndarray:
    """Mean of each point of curves [..., P] and up to window − 1 points before it."""
    padded = np.concatenate([np.full((*curve.shape[:-1], window - 1), np.nan), curve], axis=-1)
    return np.nanmean(np.lib.stride_tricks.sliding_window_view(padded, window, axis=-1), axis=-1)


def steps_to_threshold(smooth_curve: np.ndarray, grid: np.ndarray, threshold: float) -> tuple[float, bool]:
    """The first grid point at which the smoothed curve [P] is at or above the threshold, and True;
    or the whole budget and False: censored there.
    """
    reached = np.flatnonzero(smooth_curve >= threshold)
    return (float(grid[reached[0]]), True) if len(reached) else (float(grid[-1]), False)


def median_of_censored(steps: np.ndarray, reached: np.ndarray) -> float:
    """Median of steps [n] of which those not `reached` [n] lie beyond; NaN if the median does too."""
    median = np.median(np.where(reached, steps, np.inf)) if len(steps) else np.inf
    return float(median) if np.isfinite(median) else np.nan


# ----------------------------------------------------------------------------------------- intervals


def iqm(values: np.ndarray) -> np.ndarray:
    """Interquartile mean over the last axis: the mean without the lowest and the highest quarter."""
    return trim_mean(values, 0.25, axis=-1)


def resample(values: np.ndarray, rng: np.random.Generator, resamples: int = RESAMPLES) -> np.ndarray:
    """[resamples, n]: draws with replacement from values [n]."""
    return values[rng.integers(0, len(values), size=(resamples, len(values)))]


def percentiles(statistics: np.ndarray, confidence: float = CONFIDENCE) -> tuple[np.ndarray, np.ndarray]:
    """The ends of the percentile interval over the first axis of bootstrapped statistics [resamples, ...]."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(statistics, [tail, 1 - tail], axis=0)
    return low, high


def mean_interval(values: np.ndarray, rng: np.random.Generator, resamples: int = RESAMPLES) -> tuple:
    """Bootstrap interval of the mean over runs of values [n] or [n, P]; NaN with fewer than two runs.

    All P points use the same resampled runs, so the band belongs to whole curves.
    """
    n = len(values)
    if n < 2:
        unknown = np.full(np.shape(values)[1:], np.nan)
        return unknown, unknown
    draws = rng.integers(0, n, size=(resamples, n))
    weights = (draws[:, :, None] == np.arange(n)).mean(axis=1)
    return percentiles(weights @ values)


def mean_over_tasks(strata: list[np.ndarray]) -> np.ndarray:
    """Mean over tasks of the mean over runs: strata are [..., n_k] per task, the result [...]."""
    return np.mean([runs.mean(axis=-1) for runs in strata], axis=0)


def iqm_over_runs(strata: list[np.ndarray]) -> np.ndarray:
    """IQM of the runs of all tasks together: strata are [..., n_k] per task, the result [...]."""
    return iqm(np.concatenate(strata, axis=-1))


def stratified_interval(
    strata: list[np.ndarray],
    statistic: Callable[[list[np.ndarray]], np.ndarray],
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> tuple[float, float]:
    """Bootstrap interval of a statistic of several tasks' runs (a list of [n_k]), resampling within each
    task; NaN if a task has fewer than two runs, since its spread is then unknown.
    """
    if min(len(runs) for runs in strata) < 2:
        return np.nan, np.nan
    return percentiles(statistic([resample(runs, rng, resamples) for runs in strata]))


def t_interval(values: np.ndarray) -> tuple[float, float]:
    """Student's 95 % interval of the mean of a few independent values [n]; NaN where n is 1."""
    if len(values) < 2:
        return np.nan, np.nan
    half = quantile_of_t(len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return values.mean() - half, values.mean() + half


def welch_interval(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Welch's 95 % interval of the difference of the means of [n] and [m] independent values; NaN where n or m is 1."""
    if min(len(first), len(second)) < 2:
        return np.nan, np.nan
    difference = first.mean() - second.mean()
    a, b = (values.var(ddof=1) / len(values) for values in (first, second))
    if a + b == 0:
        return difference, difference
    freedom = (a + b) ** 2 / (a**2 / (len(first) - 1) + b**2 / (len(second) - 1))
    half = quantile_of_t(freedom) * np.sqrt(a + b)
    return difference - half, difference + half


def quantile_of_t(freedom: float) -> float:
    """What Student's t of these degrees of freedom exceeds in absolute value in 5 % of cases."""
    return float(t_distribution.ppf((1 + CONFIDENCE) / 2, freedom))
