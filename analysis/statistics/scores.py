"""Learning curves, scores and their intervals (Agarwal et al., 2021, arXiv 2108.13264)."""

from collections.abc import Callable, Iterable
from functools import cache
from itertools import combinations_with_replacement, product
from math import comb, prod
from typing import TypeVar

import numpy as np
from scipy.stats import multinomial, sem
from scipy.stats import norm as normal
from scipy.stats import t as t_distribution

from .arrays import Flags, Floats, Integers, Strata

RUN_RESAMPLES = 10_000  # another generator moves stratified intervals by about 1 % of their width, with 2,000 by 2 %
CONFIDENCE = 0.95
TAIL = (1 - CONFIDENCE) / 2
BOOTSTRAP_SEED = 20211
MOVING_AVERAGE = 5
Score = TypeVar("Score", float, Floats)


def normalize(score: Score, random: float, reference: float) -> Score:
    """The normalised score (score − random) / (reference − random): 0 for the random score, 1 for the reference.

    score: a number or float array of any shape. All in the task's unit of return; the result has no unit.
    Raises ZeroDivisionError for a number if random and reference are equal.
    """
    return (score - random) / (reference - random)


def step_grid(budget: int, points: int) -> Floats:
    """The steps at which every curve of a task is read: [points], from budget / points to budget."""
    return budget * np.arange(1, points + 1) / points


def bin_means(steps: Floats, values: Floats, grid: Floats) -> tuple[Floats, Integers]:
    """Mean of the values in each bin of steps, and how many there are.

    steps: [E] in environment steps; values: [E]; grid: [P] ascending steps. Bin i is (grid[i − 1], grid[i]], and the
    first one begins after step 0. NaN values, and values after the last grid point, are not counted. Returns means [P],
    NaN for an empty bin, and counts [P].
    """
    index = np.searchsorted(grid, steps, side="left")
    known = (index < len(grid)) & ~np.isnan(values)
    counts = np.bincount(index[known], minlength=len(grid))
    sums = np.bincount(index[known], weights=values[known], minlength=len(grid))
    return np.divide(sums, counts, out=np.full(len(grid), np.nan), where=counts > 0), counts


def means_while_running(starts: Floats, ends: Floats, values: Floats, grid: Floats) -> tuple[Floats, Integers]:
    """Mean over the steps in each bin of the values of the episodes that these steps belong to, and how many they are.

    starts, ends: [E] steps of all environments that were taken before an episode's first step and up to its last;
    values: [E], one per episode; grid: [P] ascending steps. Bin i is (grid[i − 1], grid[i]], and the first one begins
    after step 0. Where n episodes run at once, each takes every n-th step: with T(x) of slope 1/n, an episode has
    T(min(end, grid[i])) − T(max(start, grid[i − 1])) steps in bin i. Values that are not finite are not counted.
    Returns means [P], NaN for a bin in which no episode ran, and the number of episodes [P] that ran in each.
    """
    known = np.isfinite(values) & (starts < ends) & (starts < grid[-1])
    starts, ends, values = starts[known], ends[known], values[known]
    times, places = np.unique(np.concatenate([starts, ends]), return_inverse=True)
    changes = np.bincount(places[: len(starts)], minlength=len(times)) - np.bincount(
        places[len(starts) :], minlength=len(times)
    )
    running = np.cumsum(changes)[:-1]  # episodes between one time and the next
    own = np.divide(np.diff(times), running, out=np.zeros(len(running)), where=running > 0)
    own_time = np.concatenate([[0.0], np.cumsum(own)])
    first = np.searchsorted(grid, starts, side="right")
    spans = np.minimum(np.searchsorted(grid, ends, side="left"), len(grid) - 1) - first + 1  # bins of each episode
    episode = np.repeat(np.arange(len(starts)), spans)
    bins = np.arange(len(episode)) - np.repeat(np.cumsum(spans) - spans, spans) + first[episode]
    if not len(episode):
        return np.full(len(grid), np.nan), np.zeros(len(grid), int)
    till = np.interp(np.minimum(ends[episode], grid[bins]), times, own_time)
    since = np.interp(np.maximum(starts[episode], np.concatenate([[0.0], grid])[bins]), times, own_time)
    steps = np.bincount(bins, weights=till - since, minlength=len(grid))
    sums = np.bincount(bins, weights=(till - since) * values[episode], minlength=len(grid))
    means = np.divide(sums, steps, out=np.full(len(grid), np.nan), where=steps > 0)
    return means, np.bincount(bins, minlength=len(grid))


def carry_forward(values: Floats, before: float = np.nan) -> Floats:
    """Values [P] with each NaN replaced by the last value before it, or by `before` where there is none."""
    last = np.maximum.accumulate(np.where(np.isnan(values), -1, np.arange(len(values))))
    filled: Floats = np.where(last < 0, before, values[last])
    return filled


def moving_average(curve: Floats, window: int = MOVING_AVERAGE) -> Floats:
    """Mean of each point of curves [..., P] and up to window − 1 points before it: [..., P]. NaN is left out."""
    padded = np.concatenate([np.full((*curve.shape[:-1], window - 1), np.nan), curve], axis=-1)
    means: Floats = np.nanmean(np.lib.stride_tricks.sliding_window_view(padded, window, axis=-1), axis=-1)
    return means


def mean_of_last(steps: Floats, returns: Floats, end: float, n: int, before: float) -> float:
    """The mean of the last `n` returns of the episodes that ended by step `end`; `before` where no episode did.

    `steps` and `returns` are [E], an entry per episode. Where fewer than `n` episodes ended by then, all of them count.
    """
    last = returns[steps <= end][-n:]
    return float(last.mean()) if len(last) else before


def steps_to_threshold(smooth_curve: Floats, grid: Floats, threshold: float) -> tuple[float, bool]:
    """The first grid point at which a smoothed curve is at or above the threshold, and True; or the last grid point,
    where the curve is censored, and False.

    smooth_curve: [P] and threshold in the same unit; grid: [P] in environment steps.
    """
    reached = np.flatnonzero(smooth_curve >= threshold)
    return (float(grid[reached[0]]), True) if len(reached) else (float(grid[-1]), False)


def median_of_censored(steps: Floats, reached: Flags) -> float:
    """Median of steps [n], where those not `reached` [n] lie somewhere beyond. NaN if the median lies beyond too, and
    for no runs.
    """
    median = np.median(np.where(reached, steps, np.inf)) if len(steps) else np.inf
    return float(median) if np.isfinite(median) else np.nan


#
# Every task counts equally, whatever its number of runs: where runs are missing, an average must not move to the tasks
# that have more of them. With equal numbers of runs all of these are what rliable computes.


def iqm(values: Floats) -> Floats:
    """Interquartile mean over the last axis, [..., n] → [...]: the mean without the lowest and the highest ⌊n/4⌋.

    Equal to scipy.stats.trim_mean(values, 0.25, axis=-1), and several times as fast on resamples.
    """
    cut = values.shape[-1] // 4
    means: Floats = np.sort(values, axis=-1)[..., cut : values.shape[-1] - cut].mean(axis=-1)
    return means


def iqm_over_runs(strata: Strata) -> Floats:
    """Interquartile mean of the runs of all tasks together: [..., n_k] per task → [...].

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
    means: Floats = (np.take_along_axis(values, order, axis=-1) * kept).sum(axis=-1) / (1 - 2 * cut)
    return means


def mean_over_tasks(strata: Strata) -> Floats:
    """Mean over tasks of the mean over runs: [..., n_k] per task → [...]."""
    means: Floats = np.mean([runs.mean(axis=-1) for runs in strata], axis=0)
    return means


def median_over_tasks(strata: Strata) -> Floats:
    """Median over tasks of the mean over runs: [..., n_k] per task → [...]."""
    medians: Floats = np.median([runs.mean(axis=-1) for runs in strata], axis=0)
    return medians


def optimality_gap(strata: Strata, target: float = 1.0) -> Floats:
    """How far runs fall short of the target on average, [..., n_k] per task → [...]. A run above the target counts as
    one at it.
    """
    return target - mean_over_tasks([np.minimum(runs, target) for runs in strata])


AGGREGATES: dict[str, Callable[[Strata], Floats]] = {
    "iqm": iqm_over_runs,
    "mean": mean_over_tasks,
    "median": median_over_tasks,
    "optimality_gap": optimality_gap,
}


def runs_above(strata: Strata, levels: Floats) -> Strata:
    """Which runs [n_k] have a score above each level τ [P]: 1 or 0, [n_k, P] per task.

    The mean over tasks of its mean over runs is the performance profile, the share of runs above τ (the run-score
    distribution of Agarwal et al.).
    """
    return [(runs[:, None] > levels).astype(float) for runs in strata]


def sizes_of(strata: Strata) -> list[int]:
    """The number of runs on each task."""
    return [runs.shape[-1] for runs in strata]


#
# Percentile bootstrap: runs are resampled with replacement within each task, as in rliable. Where there are no more
# resamples than would be drawn, every one is taken, with its probability (`resampled`): the tails of few runs are too
# thin to be found by drawing. An interval from the 2.5 % to the 97.5 % quantile of the resamples' statistics is too
# short for few runs, for two reasons. Resamples spread as Σ(x − x̄)²/n, where n − 1 would be without bias. And the
# quantiles are those of a known spread, not Student's. Both errors fade with n and with the number of tasks. So the
# quantiles lie further out, by as much as both errors amount to for a mean (`expanded_tail`; Hesterberg, 2015, arXiv
# 1411.5279). With `tail=TAIL` intervals are rliable's.
#
# How often they cover in simulations with normal scores, plain → expanded: on one task 84 → 92 % with 5 runs, 90 → 94 %
# with 10; IQM, mean and optimality gap over seven tasks of unequal spread 88–90 → 93–94 % with 5, 93–94 → 94–96 % with
# 10; the median over tasks 86 → 90 and 90 → 92 %. No resample lies beyond the lowest and the highest run, so of fewer
# than 5 runs on one task the interval is the span between these, and covers 1 − 2/2ⁿ: 50, 75, 88 % with 2, 3, 4.
#
# All that is with normal scores. Where an algorithm fails on 10 or 20 % of seeds (0 instead of 1), 5 runs on one task
# often hold no failure at all, and the interval covers 44 and 66 %.


def percentiles(statistics: Floats, tail: float = TAIL, weights: Floats | None = None) -> tuple[Floats, Floats]:
    """The ends of a percentile interval over the first axis of bootstrapped statistics: [R, ...] → [...] and [...].

    tail: the share beyond either end. With weights [R], the probabilities of the resamples, an end is the outermost
    statistic that has at least `tail` of the probability at or beyond it.
    """
    if weights is None:
        low, high = np.quantile(statistics, [tail, 1 - tail], axis=0)
        return low, high
    ends = [np.quantile(of, tail, axis=0, weights=weights, method="inverted_cdf") for of in (statistics, -statistics)]
    return ends[0][()], -ends[1][()]


def expanded_tail(sizes: Iterable[int]) -> float:
    """The tail at which a stratified percentile interval of a mean is as long as Student's, with equal spread.

    sizes: the number of runs n_k on each task. Returns Φ(−√(Σ n_k / Σ (n_k − 1)) · t), where t has Σ (n_k − 1) degrees
    of freedom; NaN where all n_k are 1. Source: Hesterberg (2015, arXiv 1411.5279).
    """
    sizes = list(sizes)
    freedom = sum(sizes) - len(sizes)
    return float(normal.cdf(-np.sqrt(sum(sizes) / freedom) * quantile_of_t(freedom))) if freedom else np.nan


def resampled(
    sizes: list[int], rng: np.random.Generator, resamples: int = RUN_RESAMPLES
) -> tuple[list[Integers], Floats | None]:
    """Resamples with replacement of the runs of each task: indices [R, n_k] per task, and their probabilities [R].

    sizes: the number of runs n_k on each task. Where there are at most `resamples` different ones, up to their order,
    all of them are returned. Otherwise that many are drawn, and there are no probabilities (None).
    """
    if prod(comb(2 * n - 1, n) for n in sizes) > resamples:
        return [draws(n, rng, resamples) for n in sizes], None
    by_task = [np.array(list(combinations_with_replacement(range(n), n))) for n in sizes]
    places = np.array(list(product(*(range(len(of_task)) for of_task in by_task))))
    drawn = [of_task[place] for of_task, place in zip(by_task, places.T, strict=True)]
    return drawn, np.prod([probabilities(indices) for indices in drawn], axis=0)


def probabilities(drawn: Integers) -> Floats:
    """The probabilities [R] that n runs drawn with replacement are those of a row of `drawn` [R, n], in any order."""
    n = drawn.shape[1]
    return np.asarray(multinomial.pmf(times_drawn(drawn), n, np.full(n, 1 / n)))


def draws(n: int, rng: np.random.Generator, resamples: int) -> Integers:
    """Indices of n runs, drawn with replacement: [resamples, n]."""
    return rng.integers(0, n, size=(resamples, n))


def times_drawn(drawn: Integers) -> Integers:
    """How often each of n runs is in each of R resamples, given their indices [R, n]: [R, n]."""
    times: Integers = (drawn[:, :, None] == np.arange(drawn.shape[1])).sum(axis=1)
    return times


def mean_interval(
    values: Floats, rng: np.random.Generator, resamples: int = RUN_RESAMPLES, tail: float | None = None
) -> tuple[Floats, Floats]:
    """Bootstrap interval of the mean over the runs of one task: values [n] → two numbers, or [n, P] → two arrays [P].

    NaN with fewer than two runs. All P points use the same resampled runs, so a band belongs to whole curves. The tail
    is the expanded one unless another is given.
    """
    return stratified_mean_interval([values], rng, resamples, tail)


def stratified_mean_interval(
    strata: Strata, rng: np.random.Generator, resamples: int = RUN_RESAMPLES, tail: float | None = None
) -> tuple[Floats, Floats]:
    """Bootstrap interval of the mean over tasks of the mean over runs: [n_k] per task → two numbers, or [n_k, P] per
    task → two arrays [P].

    NaN if a task has fewer than two runs, since its spread is then unknown. The tail is the expanded one unless another
    is given.
    """
    sizes = [len(runs) for runs in strata]
    if min(sizes) < 2:
        return unknown_ends(strata)
    drawn, weights = resampled(sizes, rng, resamples)
    means = [times_drawn(indices) @ runs / len(runs) for indices, runs in zip(drawn, strata, strict=True)]
    return percentiles(np.mean(means, axis=0), expanded_tail(sizes) if tail is None else tail, weights)


def stratified_interval(
    strata: Strata,
    statistic: Callable[[Strata], Floats],
    rng: np.random.Generator,
    resamples: int = RUN_RESAMPLES,
    tail: float | None = None,
) -> tuple[Floats, Floats]:
    """Bootstrap interval of a statistic of several tasks, resampling runs within each: [n_k] per task → two numbers, or
    [n_k, P] per task → two arrays [P].

    statistic: [R, n_k] per task → [R]. NaN if a task has fewer than two runs, since its spread is then unknown. All P
    points use the same resampled runs. The tail is the expanded one unless another is given.
    """
    shape = np.shape(strata[0])[1:]
    sizes = [len(runs) for runs in strata]
    if min(sizes) < 2:
        return unknown_ends(strata)
    tail = expanded_tail(sizes) if tail is None else tail
    drawn, weights = resampled(sizes, rng, resamples)
    points = [runs.reshape(len(runs), -1) for runs in strata]
    ends = np.empty((2, points[0].shape[1]))
    for point in range(points[0].shape[1]):
        at_point = [runs[:, point][draw] for runs, draw in zip(points, drawn, strict=True)]
        ends[:, point] = percentiles(statistic(at_point), tail, weights)
    low, high = ends.reshape(2, *shape)
    return low, high


def unknown_ends(strata: Strata) -> tuple[Floats, Floats]:
    """NaN for both ends of an interval: numbers for [n_k] per task, arrays [P] for [n_k, P]."""
    unknown: Floats = np.full(np.shape(strata[0])[1:], np.nan)[()]
    return unknown, unknown


def t_interval(values: Floats) -> tuple[float, float]:
    """Student's 95 % interval of the mean of independent values [n]; NaN for a single one."""
    if len(values) < 2:
        return np.nan, np.nan
    middle, half = float(values.mean()), quantile_of_t(len(values) - 1) * float(sem(values))
    return middle - half, middle + half


def interval_of_sum(value: float, errors: Floats, sizes: Integers) -> tuple[float, float]:
    """The 95 % interval around a sum of J independent means, by Welch and Satterthwaite.

    value: the sum. errors: [J] squared standard errors of the means. sizes: [J] how many values each is the mean of,
    all above 1. Where all errors are 0 the interval has no width.
    """
    if not errors.any():
        return value, value
    half = quantile_of_t(degrees_of_freedom(errors, sizes)) * float(np.sqrt(errors.sum()))
    return value - half, value + half


def degrees_of_freedom(errors: Floats, sizes: Integers) -> float:
    """Degrees of freedom of a sum of J independent means (Welch, 1947; Satterthwaite, 1946).

    errors: [J] squared standard errors of the means, not all 0. sizes: [J] how many values each is the mean of, all
    above 1.
    """
    return float(errors.sum() ** 2 / (errors**2 / (sizes - 1)).sum())


@cache
def quantile_of_t(freedom: float) -> float:
    """The value that Student's t with these degrees of freedom exceeds, in absolute value, in 5 % of cases."""
    return float(t_distribution.ppf((1 + CONFIDENCE) / 2, freedom))


def new_rng() -> np.random.Generator:
    """A generator with the bootstrap's seed. Every interval has its own, so that a further algorithm or task moves no
    other interval.
    """
    return np.random.default_rng(BOOTSTRAP_SEED)
