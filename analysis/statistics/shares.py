"""Compares how often two algorithms succeed: the difference of two shares of runs."""

import numpy as np
from scipy.stats import binomtest

from .arrays import Strata
from .scores import CONFIDENCE


def share_interval(count: int, n: int) -> tuple[float, float]:
    """Wilson's (1927) interval of a share: (low, high) of `count` successes in `n` runs, n ≥ 1."""
    found = binomtest(count, n).proportion_ci(CONFIDENCE, method="wilson")
    return float(found.low), float(found.high)


def difference_of_shares(first: Strata, second: Strata | None = None) -> tuple[float, float, float]:
    """The mean over tasks of the difference of two shares of successes, or of one, with its 95 % interval.

    first, second: one array of runs per task, [n_k] and [m_k], 1 where a run succeeded and 0 where not. Returns
    (value, low, high); NaN for the ends where a sample has a single run. Each share has Wilson's interval, and the
    distances from the value to the ends are added in squares (Newcombe, 1998, method 10): unlike Welch's, such an
    interval has a width where all runs of a side end alike.
    """
    value, below, above = 0.0, 0.0, 0.0
    sides = [(1, first)] if second is None else [(1, first), (-1, second)]
    for sign, strata in sides:
        for runs in strata:
            share = float(np.mean(runs))
            low, high = share_interval(int(np.sum(runs)), len(runs)) if len(runs) > 1 else (np.nan, np.nan)
            value += sign * share
            down, up = (share - low, high - share)[::sign]
            below, above = below + down**2, above + up**2
    count = len(first)
    return value / count, (value - np.sqrt(below)) / count, (value + np.sqrt(above)) / count
