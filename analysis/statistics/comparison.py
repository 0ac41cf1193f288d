"""Compares two algorithms: probability of improvement, and tests of the difference that hold with few seeds.

Scores of several tasks are `Strata`: per task one float array of runs, [n_k] of the first algorithm and [m_k] of the
second, on the same tasks in the same order. Every task counts equally.

Verdicts come from Welch's t-test of the difference of means and Holm's correction over all pairs that stand side by
side. Over several tasks, the degrees of freedom are those of Welch and Satterthwaite of all samples together. The
reasons for this test:

- The plain percentile bootstrap interval of a mean covers 84 % instead of 95 % with 5 runs, and 90 % with 10. A test of
  the difference of two such means errs in 12 and 8 % of cases instead of 5. Intervals are therefore expanded (see
  analysis.statistics.scores). Even then, whether two intervals overlap is no test of the difference.
- Rank and permutation tests of 5 against 5 runs have no p-value below 2/252. With 15 pairs Holm asks the first for
  0.05/15, so on a single task such a test could find no difference at all. Over several tasks a permutation test can,
  and stands beside the verdicts as a check (`permutation_p`).
- Algorithms differ in spread, often by an order of magnitude, so a pooled variance is wrong. Welch's test keeps its
  level with unequal spread where scores are roughly normal. Colas et al. (2019, arXiv 1904.06979) recommend it for few
  seeds.

Where it errs: if both sides are skewed alike, or fall into two groups alike, the test keeps its level, since both sides
err in the same direction. If one algorithm fails on some seeds and the other never does, few runs may hold no failure,
and then show neither the lower mean nor the spread. In simulations of equal means (5 runs; one side 1.05, but 0 on 10
to 30 % of seeds; the other normal, standard deviation up to 0.1) the test errs in 15 to 60 % of cases on one task
instead of 5, and in 5 to 25 % over seven tasks. No test can see a failure that is in no run.

The two sides are treated as independent. Runs that share a seed share little more than initial weights.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, prod

import numpy as np
from scipy.stats import nct as noncentral_t
from scipy.stats import t as t_distribution

from .arrays import Floats, Strata
from .scores import (
    CONFIDENCE,
    RUN_RESAMPLES,
    degrees_of_freedom,
    expanded_tail,
    interval_of_sum,
    percentiles,
    resampled,
    times_drawn,
)

DECIDED = ("better", "worse")
POWER = 0.8
MOST_SEEDS = 1000  # above this the exact number is of no use
PERMUTATIONS = 20_000


def improvements(first: Floats, second: Floats) -> Floats:
    """Whether each run of the first [n] is above each run of the second [m]: [n, m] with 1, 0, or ½ for equal runs."""
    shares: Floats = (np.sign(first[:, None] - second) + 1) / 2
    return shares


def probability_of_improvement(first: Strata, second: Strata) -> float:
    """P(X > Y) + ½ P(X = Y), where X and Y are random runs of the first and second algorithm on the same task; the mean
    over tasks. On one task it is the Mann–Whitney statistic as a share.

    first, second: [n_k] and [m_k] per task. Returns a number from 0 to 1. Source: Agarwal et al. (2021).
    """
    return float(np.mean([improvements(x, y).mean() for x, y in zip(first, second, strict=True)]))


def improvement_interval(
    first: Strata,
    second: Strata,
    rng: np.random.Generator,
    resamples: int = RUN_RESAMPLES,
    tail: float | None = None,
) -> tuple[float, float]:
    """Stratified bootstrap interval of the probability of improvement, with both sides resampled: (low, high).

    first, second: [n_k] and [m_k] per task. NaN if any sample has fewer than two runs. The tail is the expanded one of
    all samples of both sides, unless another is given.

    In simulations with normal scores it covers, plain → expanded: on one task 87–93 → 93–96 % with 5 runs, 92–96 →
    95–97 % with 10; on seven tasks 93–94 → 95–98 % and 94–95 → 95–97 %. Near 0 or 1 on one task it stays too short.
    Where every run of one is above every run of the other on every task, so is every resample. The interval is then
    [1, 1]. That comes from few runs and is no certainty, so verdicts are not taken from this interval.
    """
    if min(len(runs) for runs in (*first, *second)) < 2:
        return np.nan, np.nan
    tail = expanded_tail(len(runs) for runs in (*first, *second)) if tail is None else tail
    drawn, weights = resampled([len(runs) for runs in (*first, *second)], rng, resamples)
    times = [times_drawn(indices) for indices in drawn]
    shares = [
        ((times_x @ improvements(x, y)) * times_y).sum(axis=1) / (len(x) * len(y))
        for x, y, times_x, times_y in zip(first, second, times[: len(first)], times[len(first) :], strict=True)
    ]
    low, high = percentiles(np.mean(shares, axis=0), tail, weights)
    return float(low), float(high)


@dataclass(frozen=True)
class Difference:
    """Mean over tasks of mean(first) − mean(second), with its 95 % interval (of this pair alone) and the p-value that
    it is 0. Interval and p-value are NaN where a sample has fewer than two runs.

    variances: [2 K], or [K] where there is no second; of each sample over its runs, divided by K². So the sum over
    samples of variance / n is the squared standard error of the value.
    """

    value: float
    low: float
    high: float
    p: float
    variances: Floats


def difference(first: Strata, second: Strata | None = None) -> Difference:
    """Welch's t-test of the mean over tasks of mean(first) − mean(second), or of mean(first) where there is no second.

    first, second: one float array of runs per task, [n_k] and [m_k], tasks in the same order. The degrees of freedom
    are Satterthwaite's over all samples of all tasks. NaN for interval and p-value where a sample has a single run.
    Where no sample has any spread, the interval has no width, and p is 1 for a difference of 0, else 0.
    Raises ValueError where the two sides have different numbers of tasks. Source: Welch (1947).
    """
    sides = [[mean_and_variance(runs) for runs in strata] for strata in (first, second or [])]
    others = [mean for mean, _ in sides[1]] if second is not None else [0.0] * len(first)
    value = float(np.mean([mean - other for (mean, _), other in zip(sides[0], others, strict=True)]))
    variances = np.array([variance for side in sides for _, variance in side]) / len(first) ** 2
    sizes = np.array([len(runs) for runs in (*first, *(second or []))])
    if sizes.min() < 2:
        return Difference(value, np.nan, np.nan, np.nan, variances)
    errors = variances / sizes
    if not errors.any():
        return Difference(value, value, value, float(value == 0), variances)
    t = abs(value) / np.sqrt(errors.sum())
    p = 2 * float(t_distribution.sf(t, degrees_of_freedom(errors, sizes)))
    return Difference(value, *interval_of_sum(value, errors, sizes), p, variances)


def why_untested(first: Strata, second: Strata) -> str:
    """Why `difference` has no p-value for samples first [n_k] and second [m_k], in words; empty where it has one."""
    if not np.isnan(difference(first, second).p):
        return ""
    return "a single run" if min(len(runs) for runs in (*first, *second)) < 2 else "a spread too large for numbers"


def permutation_p(first: Strata, second: Strata, rng: np.random.Generator, permutations: int = PERMUTATIONS) -> float:
    """The p-value of a permutation test: how often the difference of means is at least as large, in absolute value, if
    runs are assigned to the two algorithms at random within each task.

    first, second: [n_k] and [m_k] per task. It counts so many random permutations and the one that was seen, so p is at
    least 1 / (1 + permutations). The test assumes no distribution; under its hypothesis both algorithms have the same.
    """
    seen = difference(first, second).value
    shuffled = np.zeros(permutations)
    for x, y in zip(first, second, strict=True):
        runs = rng.permuted(np.tile(np.concatenate([x, y]), (permutations, 1)), axis=1)
        shuffled += (runs[:, : len(x)].mean(axis=1) - runs[:, len(x) :].mean(axis=1)) / len(first)
    as_large = np.abs(shuffled) >= abs(seen) * (1 - 1e-9)  # so that rounding makes no equal one smaller
    return float((1 + as_large.sum()) / (1 + permutations))


def least_permutation_p(first: Strata, second: Strata) -> float:
    """The smallest p-value that a permutation test of [n_k] and [m_k] runs can have: 2 over the number of permutations
    within tasks.
    """
    return 2 / prod(comb(len(x) + len(y), len(x)) for x, y in zip(first, second, strict=True))


def mean_and_variance(runs: Floats) -> tuple[float, float]:
    """Mean and unbiased variance of runs [n]. Where all runs are equal both are exact: that run and 0. The variance of
    a single run is NaN.
    """
    if runs.min() == runs.max():
        return float(runs[0]), 0.0 if len(runs) > 1 else np.nan
    return float(runs.mean()), float(runs.var(ddof=1))


def holm(p_values: Sequence[float] | Floats) -> Floats:
    """Adjusted p-values [m] of p-values [m]. Of those at or below α, the chance that any is a false rejection is at
    most α (Holm, 1979). NaN stands for no test: it stays, and does not count.
    """
    raw = np.asarray(p_values, dtype=float)
    adjusted = np.full(len(raw), np.nan)
    order = np.argsort(raw)[: np.count_nonzero(~np.isnan(raw))]  # NaN sorts last
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(raw[order] * factors), 1)
    return adjusted


@dataclass(frozen=True)
class Verdict:
    """The verdict on a pair: better, worse or undecided, or None where there is no test; and the adjusted p-value.

    seeds: how many seeds an undecided pair needs, for each algorithm on each task. Infinite above MOST_SEEDS; NaN where
    no difference was seen.
    """

    verdict: str | None
    p: float
    seeds: float = np.nan


def verdicts(differences: Sequence[Difference]) -> list[Verdict]:
    """The verdicts on all pairs that stand side by side. The chance that any better or worse among them is false is at
    most 5 %.

    The seeds needed are for the level that Holm's procedure asks of the next pair: α over the number of undecided
    pairs.
    """
    alpha = 1 - CONFIDENCE
    adjusted = holm([found.p for found in differences])
    level = alpha / max(int(np.count_nonzero(adjusted > alpha)), 1)
    return [verdict_of(found, p, alpha, level) for found, p in zip(differences, adjusted, strict=True)]


def verdict_of(found: Difference, p: float, alpha: float, level: float) -> Verdict:
    """The verdict on a pair from its adjusted p-value `p`. level: the unadjusted p-value that an undecided pair must
    reach.
    """
    if np.isnan(p):
        return Verdict(None, p)
    verdict = verdict_on(found.value, p, alpha)
    return Verdict(verdict, p, seeds_needed(found, level) if verdict == "undecided" else np.nan)


def verdict_on(value: float, p: float, alpha: float = 1 - CONFIDENCE) -> str | None:
    """better, worse or undecided, from the sign of a difference and its adjusted p-value; None where p is NaN."""
    if np.isnan(p):
        return None
    return "undecided" if p > alpha else "better" if value > 0 else "worse"


def seeds_needed(found: Difference, level: float, power: float = POWER) -> float:
    """The smallest number of seeds, equal in all samples, at which Welch's two-sided test at this level has this power.

    It takes the difference and variances that were seen as the true ones. They are uncertain, so this number is a rough
    guide and no promise. NaN where no difference was seen; infinite above MOST_SEEDS.
    """
    if found.value == 0 or np.isnan(found.p):
        return np.nan
    if not found.variances.any():
        return 2.0

    def enough(seeds: int) -> bool:
        return power_of_welch(found.value, found.variances, seeds, level) >= power

    seeds = range(2, MOST_SEEDS + 1)
    place = bisect_left(seeds, True, key=enough)
    return float(seeds[place]) if place < len(seeds) else np.inf


def power_of_welch(value: float, variances: Floats, seeds: int, level: float) -> float:
    """The chance that Welch's two-sided test at this level finds a difference of this value, with its sign.

    variances: [2 K] of the samples, as in Difference; each sample has as many runs as there are seeds. From the
    noncentral t distribution.
    """
    errors = variances / seeds
    freedom = degrees_of_freedom(errors, np.full(len(errors), seeds))
    critical, shift = t_distribution.isf(level / 2, freedom), abs(value) / np.sqrt(errors.sum())
    return float(noncentral_t.sf(critical, freedom, shift))
