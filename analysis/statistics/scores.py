"""Curves, scores and their intervals as pure functions of arrays (Agarwal et al., 2021)."""

from collections.abc import Callable, Iterable
from itertools import combinations_with_replacement, product
from math import comb, factorial, prod

import numpy as np
from scipy.stats import norm as normal
from scipy.stats import t as t_distribution

RUN_RESAMPLES = 10_000  # another generator moves stratified intervals by about 1 % of their width, with 2,000 by 2 %
CONFIDENCE = 0.95
TAIL = (1 - CONFIDENCE) / 2
BOOTSTRAP_SEED = 20211
MOVING_AVERAGE = 5


def normalize(score, random: float, reference: float):
    """(score − random) / (reference − random)."""
    return (score - random) / (reference - random)


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


#
# Scores of several tasks are `strata`: a list with one array of runs per task, [..., n_k] with its own n_k. Every task
# counts equally, whatever its number of runs: where runs are missing, an average must not move to the tasks that have
# more of them. With equal numbers of runs all of these are what rliable computes.


def iqm(values: np.ndarray) -> np.ndarray:
    """Interquartile mean over the last axis: the mean without the lowest and the highest quarter."""
    cut = values.shape[-1] // 4
    return np.sort(values, axis=-1)[..., cut : values.shape[-1] - cut].mean(axis=-1)


def iqm_over_runs(strata: list[np.ndarray]) -> np.ndarray:
    """IQM of the runs of all tasks together: strata are [..., n_k] per task, the result [...].

    Of N runs the ⌊N/4⌋ lowest and as many of the highest are left out. Where the n_k differ, a run weighs 1/n_k, and
    the same share of the whole weight is left out at either end.
    """
    values = np.concatenate(strata, axis=-1)
    sizes = sizes_of(strata)
    if len(set(sizes)) == 1:
        return iqm(values)
    runs = sum(sizes)
    weights = np.repeat([1 / (len(sizes) * size) for size in sizes], sizes)
    order = np.argsort(values, axis=-1)
    cut = runs // 4 / runs
    inside = np.clip(np.cumsum(weights[order], axis=-1), cut, 1 - cut)
    kept = np.diff(inside, prepend=cut, axis=-1)
    return (np.take_along_axis(values, order, axis=-1) * kept).sum(axis=-1) / (1 - 2 * cut)


def mean_over_tasks(strata: list[np.ndarray]) -> np.ndarray:
    """Mean over tasks of the mean over runs: strata are [..., n_k] per task, the result [...]."""
    return np.mean([runs.mean(axis=-1) for runs in strata], axis=0)


def median_over_tasks(strata: list[np.ndarray]) -> np.ndarray:
    """Median over tasks of the mean over runs: strata are [..., n_k] per task, the result [...]."""
    return np.median([runs.mean(axis=-1) for runs in strata], axis=0)


def optimality_gap(strata: list[np.ndarray], target: float = 1.0) -> np.ndarray:
    """How far runs fall short of the target on average, what is above it counting as at it: [..., n_k] → [...]."""
    return target - mean_over_tasks([np.minimum(runs, target) for runs in strata])


AGGREGATES: dict[str, Callable[[list[np.ndarray]], np.ndarray]] = {
    "iqm": iqm_over_runs,
    "mean": mean_over_tasks,
    "median": median_over_tasks,
    "optimality_gap": optimality_gap,
}


def runs_above(strata: list[np.ndarray], levels: np.ndarray) -> list[np.ndarray]:
    """Which runs [n_k] have a score above each level τ [P]: 1 or 0, [n_k, P] per task. The mean over tasks of the mean
    over runs of it is the performance profile: the share of runs above τ (Agarwal et al.'s run-score distribution).
    """
    return [(runs[:, None] > levels).astype(float) for runs in strata]


def sizes_of(strata: list[np.ndarray]) -> list[int]:
    return [runs.shape[-1] for runs in strata]


#
# Percentile bootstrap: runs are resampled with replacement within each task, as in rliable. Where there are no more
# resamples than would be drawn, every one is taken, with its probability (`resampled`): the tails of few runs are too
# thin to be found by drawing. From the 2.5 % to the
# 97.5 % quantile of what the resamples give, such an interval is too short for few runs, for two reasons: resamples
# spread as Σ(x − x̄)²/n, without bias it were n − 1, and the quantiles are those of a known spread, not Student's. Both
# fade with n and with the number of tasks. So the quantiles lie further out, by as much as both amount to for a mean
# (`expanded_tail`; Hesterberg, 2015, arXiv 1411.5279). With `tail=TAIL` intervals are rliable's.
#
# How often they cover in simulations with normal scores, plain → expanded: on one task 84 → 92 % with 5 runs, 90 → 94 %
# with 10; IQM, mean and optimality gap over seven tasks of unequal spread 88–90 → 93–94 % with 5, 93–94 → 94–96 % with
# 10; the median over tasks 86 → 90 and 90 → 92 %. No resample lies beyond the lowest and the highest run, so of fewer
# than 5 runs on one task the interval is the span between these, and covers 1 − 2/2ⁿ: 50, 75, 88 % with 2, 3, 4.
#
# All that is with normal scores. Where an algorithm fails on 10 or 20 % of seeds (0 instead of 1), 5 runs on one task
# often hold no failure at all, and the interval covers 44 and 66 %.


def percentiles(
    statistics: np.ndarray, tail: float = TAIL, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The ends of the interval over the first axis of bootstrapped statistics [resamples, ...], a share `tail` of them
    beyond either end; with `weights` [resamples], their probabilities, the outermost values with at least `tail` of it
    at or beyond them.
    """
    if weights is None:
        low, high = np.quantile(statistics, [tail, 1 - tail], axis=0)
        return low, high
    order = np.argsort(statistics, axis=0)
    ordered = np.take_along_axis(statistics, order, axis=0)
    ends = []
    for values, own in ((ordered, weights[order]), (ordered[::-1], weights[order[::-1]])):
        enough = np.cumsum(own, axis=0) >= tail
        ends.append(np.take_along_axis(values, enough.argmax(axis=0)[None], axis=0)[0])
    return ends[0], ends[1]


def expanded_tail(sizes: Iterable[int]) -> float:
    """The tail at which a stratified percentile interval of a mean is as long as Student's, for tasks of these numbers
    of runs and equal spread: Φ(−√(Σ n_k / Σ (n_k − 1)) · t), with Σ (n_k − 1) degrees of freedom. NaN where all are 1.
    """
    sizes = list(sizes)
    freedom = sum(sizes) - len(sizes)
    return float(normal.cdf(-np.sqrt(sum(sizes) / freedom) * quantile_of_t(freedom))) if freedom else np.nan


def resampled(
    sizes: list[int], rng: np.random.Generator, resamples: int = RUN_RESAMPLES
) -> tuple[list[np.ndarray], np.ndarray | None]:
    """Resamples of each task's n_k runs with replacement: indices [R, n_k] per task, and their probabilities [R]. All
    that there are, up to their order, where these are at most `resamples`; else so many at random, and None.
    """
    if prod(comb(2 * n - 1, n) for n in sizes) > resamples:
        return [draws(n, rng, resamples) for n in sizes], None
    by_task = [np.array(list(combinations_with_replacement(range(n), n))) for n in sizes]
    places = np.array(list(product(*(range(len(of_task)) for of_task in by_task))))
    drawn = [of_task[place] for of_task, place in zip(by_task, places.T, strict=True)]
    return drawn, np.prod([probabilities(indices) for indices in drawn], axis=0)


def probabilities(drawn: np.ndarray) -> np.ndarray:
    """[R] that n runs drawn with replacement are those of a row of `drawn` [R, n], in any order."""
    n = drawn.shape[1]
    factorials = np.array([factorial(times) for times in range(n + 1)])
    return factorial(n) / factorials[times_drawn(drawn)].prod(axis=1) / n**n


def draws(n: int, rng: np.random.Generator, resamples: int) -> np.ndarray:
    """[resamples, n] indices of n runs, drawn with replacement."""
    return rng.integers(0, n, size=(resamples, n))


def times_drawn(drawn: np.ndarray) -> np.ndarray:
    """[R, n] how often each of n runs is in a resample [R, n]."""
    return (drawn[:, :, None] == np.arange(drawn.shape[1])).sum(axis=1)


def mean_interval(
    values: np.ndarray, rng: np.random.Generator, resamples: int = RUN_RESAMPLES, tail: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Bootstrap interval of the mean over runs of values [n] or [n, P]; NaN with fewer than two runs. The tail is the
    expanded one unless another is given.

    All P points use the same resampled runs, so the band belongs to whole curves.
    """
    return stratified_mean_interval([values], rng, resamples, tail)


def stratified_mean_interval(
    strata: list[np.ndarray], rng: np.random.Generator, resamples: int = RUN_RESAMPLES, tail: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Bootstrap interval of the mean over tasks of the mean over runs, [n_k] or [n_k, P] per task; NaN if a task has
    fewer than two runs, since its spread is then unknown. The tail is the expanded one unless another is given.
    """
    sizes = [len(runs) for runs in strata]
    if min(sizes) < 2:
        unknown = np.full(np.shape(strata[0])[1:], np.nan)[()]
        return unknown, unknown
    drawn, weights = resampled(sizes, rng, resamples)
    means = [times_drawn(indices) @ runs / len(runs) for indices, runs in zip(drawn, strata, strict=True)]
    return percentiles(np.mean(means, axis=0), expanded_tail(sizes) if tail is None else tail, weights)


def stratified_interval(
    strata: list[np.ndarray],
    statistic: Callable[[list[np.ndarray]], np.ndarray],
    rng: np.random.Generator,
    resamples: int = RUN_RESAMPLES,
    tail: float | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Bootstrap interval of a statistic of several tasks' runs, [n_k] or [n_k, P] per task, resampling within each
    task; NaN if a task has fewer than two runs, since its spread is then unknown. The tail is the expanded one unless
    another is given.

    The statistic takes [resamples, n_k] per task. All P points use the same resampled runs.
    """
    shape = np.shape(strata[0])[1:]
    sizes = [len(runs) for runs in strata]
    if min(sizes) < 2:
        unknown = np.full(shape, np.nan)[()]
        return unknown, unknown
    tail = expanded_tail(sizes) if tail is None else tail
    drawn, weights = resampled(sizes, rng, resamples)
    points = [runs.reshape(len(runs), -1) for runs in strata]
    ends = np.empty((2, points[0].shape[1]))
    for point in range(points[0].shape[1]):
        at_point = [runs[:, point][draw] for runs, draw in zip(points, drawn, strict=True)]
        ends[:, point] = percentiles(statistic(at_point), tail, weights)
    low, high = ends.reshape(2, *shape)
    return low, high


def t_interval(values: np.ndarray) -> tuple[float, float]:
    """Student's 95 % interval of the mean of a few independent values [n]; NaN where n is 1."""
    if len(values) < 2:
        return np.nan, np.nan
    half = quantile_of_t(len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return values.mean() - half, values.mean() + half


def interval_of_sum(value: float, errors: np.ndarray, sizes: np.ndarray) -> tuple[float, float]:
    """The 95 % interval around a sum of independent means of `sizes` [J] values, all above 1, with squared standard
    errors `errors` [J]; without width where they are all 0.
    """
    if not errors.any():
        return value, value
    half = quantile_of_t(degrees_of_freedom(errors, sizes)) * np.sqrt(errors.sum())
    return value - half, value + half


def degrees_of_freedom(errors: np.ndarray, sizes: np.ndarray) -> float:
    """Those of a sum of independent means of `sizes` [J] values with squared standard errors `errors` [J], not all 0
    (Welch and Satterthwaite).
    """
    return float(errors.sum() ** 2 / (errors**2 / (sizes - 1)).sum())


def quantile_of_t(freedom: float) -> float:
    """What Student's t of these degrees of freedom exceeds in absolute value in 5 % of cases."""
    return float(t_distribution.ppf((1 + CONFIDENCE) / 2, freedom))


def new_rng() -> np.random.Generator:
    """Every interval has its own generator, so that adding an algorithm or a task moves no other interval."""
    return np.random.default_rng(BOOTSTRAP_SEED)
