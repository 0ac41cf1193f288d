"""Two algorithms compared: probability of improvement, and tests of the difference that hold with few seeds.

Scores of several tasks are `strata`, as in analysis.statistics: one array of normalised scores [n_k] per task, and of
the other algorithm [m_k] on the same tasks in the same order. Every task counts equally.

Verdicts come from Welch's t-test of the difference of means, over several tasks with the Welch–Satterthwaite degrees of
freedom of all samples together, and Holm's correction over all pairs that stand side by side. Why this and no other:

- The plain percentile bootstrap interval of a mean of 5 runs covers 84 % instead of 95 %, of 10 runs 90 %. A test of
  the difference of two such means errs in 12 and 8 % of cases instead of 5. Intervals are therefore expanded (see
  analysis.statistics), but whether two of them overlap is no test of the difference either.
- Rank and permutation tests of 5 against 5 runs have no p-value below 2/252. With 15 pairs Holm asks the first for
  0.05/15: on a single task such a test could not tell anything apart. Over several tasks a permutation test can, and
  stands beside the verdicts as a check (`permutation_p`).
- Algorithms differ in spread, often by an order of magnitude, so a pooled variance is wrong. Welch's test keeps its
  level with unequal spread where scores are roughly normal, and is what Colas et al. (2019, arXiv 1904.06979) recommend
  for few seeds.

Where it errs: if both sides are skewed or fall in two groups alike, it keeps its level, since both then err in the same
direction. If one algorithm fails on some seeds and the other never does, few runs may hold no failure, and then show
neither the lower mean nor the spread. In simulations of equal means (5 runs; one side 1.05, but 0 on 10 to 30 % of
seeds; the other normal, standard deviation up to 0.1) it errs in 15 to 60 % of cases on one task instead of 5, and in
5 to 25 % over seven tasks. No test can see a failure that is in no run.

The two sides are taken as independent. Runs that share a seed share little more than initial weights.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, prod

import numpy as np
from scipy.stats import nct as noncentral_t
from scipy.stats import t as t_distribution

from analysis.statistics.scores import (
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
MOST_SEEDS = 1000  # beyond which nobody needs to know how many exactly
PERMUTATIONS = 20_000


def improvements(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """[n, m] whether each of n runs is above each of m others: 1, 0, or ½ where they are equal."""
    return (np.sign(first[:, None] - second) + 1) / 2


def probability_of_improvement(first: list[np.ndarray], second: list[np.ndarray]) -> float:
    """P(X > Y) + ½ P(X = Y) of a random run of either algorithm on the same task, mean over tasks (the Mann–Whitney
    statistic as a share): strata [n_k] and [m_k].
    """
    return float(np.mean([improvements(x, y).mean() for x, y in zip(first, second, strict=True)]))


def improvement_interval(
    first: list[np.ndarray],
    second: list[np.ndarray],
    rng: np.random.Generator,
    resamples: int = RUN_RESAMPLES,
    tail: float | None = None,
) -> tuple[float, float]:
    """Stratified bootstrap interval of the probability of improvement, both sides resampled; NaN if any sample has
    fewer than two runs. The tail is the expanded one of all samples of both sides, unless another is given.

    In simulations with normal scores it covers, plain → expanded: on one task 87–93 → 93–96 % with 5 runs, 92–96 →
    95–97 % with 10; on seven tasks 93–94 → 95–98 % and 94–95 → 95–97 %. Near 0 or 1 on one task it stays too short.
    Where every run of one is above every run of the other on every task, so is every resample: the interval is [1, 1],
    which is how few runs look and not certainty. Verdicts are therefore not taken from it.
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
    """Mean over tasks of one algorithm's mean score less the other's, with its 95 % interval (of this pair alone) and
    the p-value that it is 0. NaN where a sample has fewer than two runs.

    `variances` [2 K]: of each sample over its runs, in units in which their sum over n is the squared standard error.
    """

    value: float
    low: float
    high: float
    p: float
    variances: np.ndarray


def difference(first: list[np.ndarray], second: list[np.ndarray] | None = None) -> Difference:
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


def permutation_p(
    first: list[np.ndarray], second: list[np.ndarray], rng: np.random.Generator, permutations: int = PERMUTATIONS
) -> float:
    """The chance of a difference of means at least as large, in absolute value, if which algorithm a run is of were
    shuffled within each task: strata [n_k] and [m_k], by so many permutations at random and the one that is there. It
    takes no distribution, but that both algorithms have the same one.
    """
    seen = difference(first, second).value
    shuffled = np.zeros(permutations)
    for x, y in zip(first, second, strict=True):
        runs = rng.permuted(np.tile(np.concatenate([x, y]), (permutations, 1)), axis=1)
        shuffled += (runs[:, : len(x)].mean(axis=1) - runs[:, len(x) :].mean(axis=1)) / len(first)
    as_large = np.abs(shuffled) >= abs(seen) * (1 - 1e-9)  # equal but for rounding is as large
    return float((1 + as_large.sum()) / (1 + permutations))


def least_permutation_p(first: list[np.ndarray], second: list[np.ndarray]) -> float:
    """The smallest p-value that a permutation test of so many runs can have: two of all permutations within tasks."""
    return 2 / prod(comb(len(x) + len(y), len(x)) for x, y in zip(first, second, strict=True))


def mean_and_variance(runs: np.ndarray) -> tuple[float, float]:
    """Mean and unbiased variance of runs [n]; exact where all are equal, and no variance of a single one."""
    if runs.min() == runs.max():
        return float(runs[0]), 0.0 if len(runs) > 1 else np.nan
    return float(runs.mean()), float(runs.var(ddof=1))


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Adjusted p-values [m]: those at or below α are rejected together with a chance of at most α of a single false
    rejection (Holm, 1979). NaN is no test, and stays.
    """
    p_values = np.asarray(p_values, dtype=float)
    adjusted = np.full(len(p_values), np.nan)
    order = np.argsort(p_values)[: np.count_nonzero(~np.isnan(p_values))]  # NaN sorts last
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1)
    return adjusted


@dataclass(frozen=True)
class Verdict:
    """Of a pair: better, worse, undecided, or None where there is no test; the adjusted p-value; and of an undecided
    pair how many seeds each algorithm needs on each task (infinite: more than MOST_SEEDS; NaN: no difference was seen).
    """

    verdict: str | None
    p: float
    seeds: float = np.nan


def verdicts(differences: Sequence[Difference]) -> list[Verdict]:
    """Of all pairs that stand side by side: with a chance of at most 5 % there is a false better or worse among them.

    Seeds are for the level that Holm's procedure asks of the next pair: α over the number of pairs still undecided.
    """
    alpha = 1 - CONFIDENCE
    adjusted = holm([found.p for found in differences])
    level = alpha / max(np.count_nonzero(adjusted > alpha), 1)
    return [verdict_of(found, p, alpha, level) for found, p in zip(differences, adjusted, strict=True)]


def verdict_of(found: Difference, p: float, alpha: float, level: float) -> Verdict:
    """From the adjusted p-value and the significance level; `level` is what an undecided pair has to reach."""
    if np.isnan(p):
        return Verdict(None, p)
    verdict = verdict_on(found.value, p, alpha)
    return Verdict(verdict, p, seeds_needed(found, level) if verdict == "undecided" else np.nan)


def verdict_on(value: float, p: float, alpha: float = 1 - CONFIDENCE) -> str | None:
    """What an adjusted p-value says of a difference of this sign; None where there is no test."""
    if np.isnan(p):
        return None
    return "undecided" if p > alpha else "better" if value > 0 else "worse"


def seeds_needed(found: Difference, level: float, power: float = POWER) -> float:
    """The smallest number of seeds, the same in every sample, at which Welch's two-sided test at this level finds a
    difference with this power, if difference and variances are in truth what was seen.

    From the noncentral t distribution. What was seen is uncertain, and so is this number: a rough guide to how much is
    missing, not a promise. NaN where no difference was seen; infinite above MOST_SEEDS.
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


def power_of_welch(value: float, variances: np.ndarray, seeds: int, level: float) -> float:
    """Chance that Welch's two-sided test at this level finds this difference, with its sign, if these are the variances
    of the samples and each has as many runs as there are seeds.
    """
    errors = variances / seeds
    freedom = degrees_of_freedom(errors, np.full(len(errors), seeds))
    critical, shift = t_distribution.isf(level / 2, freedom), abs(value) / np.sqrt(errors.sum())
    return float(noncentral_t.sf(critical, freedom, shift))
