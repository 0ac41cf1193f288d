"""Compares an algorithm with the best of several, where the same runs say which of them is the best."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import norm as normal

from .arrays import Floats, Strata
from .comparison import mean_and_variance
from .scores import RUN_RESAMPLES, degrees_of_freedom, interval_of_sum, new_rng, quantile_of_t


def behind_the_best(first: Strata, others: Sequence[Strata], draws: int = RUN_RESAMPLES) -> tuple[float, float, float]:
    """The mean over tasks of mean(first) − the highest mean of the others, with its 95 % interval: (value, low, high).

    first: one float array of runs per task, [n_k]; others: the same of each of J algorithms, tasks in the same order.
    Which of the others is the best may differ from task to task. The ends are NaN where a sample has a single run.

    The highest of several means is too high by luck, so the value is too low. The two ends account for it as follows.

    - High end: the value plus c, where the mean over tasks of max_j(e_j) − e_first exceeds c in 2.5 % of cases and the
      e are errors of means, normal with the standard errors that were seen. It holds whichever is the best, because
      mean(first) − max_j(μ_j) ≤ value + max_j(e_j) − e_first on each task. Where all are equal in truth, this is what
      the luck of the best amounts to. The tail is widened as Student's t is wider than the normal distribution, with
      Satterthwaite's degrees of freedom.
    - Low end: on each task the lowest of the low ends of Welch's intervals against each of the others, one of which is
      the best in truth. Distances to the low ends are combined as those of a sum (Zou & Donner, 2008).

    In simulations (5 and 10 runs; 1, 3 and 7 tasks; 2 and 4 others; equal means, one best, a noisy worst, a noisy best)
    the truth lies above the high end in at most 3.3 % of cases, below the low end in as many. One of the others that is
    far worse and scatters widely makes the high end too high.
    """
    means, errors, sizes = zip(*(_moments(strata) for strata in (first, *others)), strict=True)
    of_others = np.array(means[1:])
    best = of_others.argmax(axis=0)
    behind = np.array(means[0]) - of_others.max(axis=0)
    value, tasks = float(behind.mean()), len(first)
    if np.isnan(errors).any():
        return value, np.nan, np.nan
    chosen = np.concatenate([errors[0], np.array(errors[1:])[best, range(tasks)]])
    of_chosen = np.concatenate([sizes[0], np.array(sizes[1:])[best, range(tasks)]])
    luck = 0.0
    if np.any(errors):
        freedom = degrees_of_freedom(chosen, of_chosen) if chosen.any() else float(min(map(min, sizes)) - 1)
        drawn = new_rng().standard_normal((draws, len(means), tasks)) * np.sqrt(errors)
        luck = float(
            np.quantile((drawn[:, 1:].max(axis=1) - drawn[:, 0]).mean(axis=1), normal.cdf(quantile_of_t(freedom)))
        )
    lowest = [
        min(
            interval_of_sum(
                means[0][task] - means[other][task],
                np.array([errors[0][task], errors[other][task]]),
                np.array([sizes[0][task], sizes[other][task]]),
            )[0]
            for other in range(1, len(means))
        )
        for task in range(tasks)
    ]
    return value, value - float(np.linalg.norm(behind - np.array(lowest))) / tasks, value + max(luck, 0.0)


def _moments(strata: Strata) -> tuple[Floats, Floats, Floats]:
    """Of runs [n_k] per task: their means, the squared standard errors of these, and how many they are, all [K]."""
    moments = [mean_and_variance(runs) for runs in strata]
    sizes = np.array([len(runs) for runs in strata])
    return np.array([mean for mean, _ in moments]), np.array([variance for _, variance in moments]) / sizes, sizes
