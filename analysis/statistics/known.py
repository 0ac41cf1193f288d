"""What n estimates g_i of a gradient [P] say of one that is known exactly, t."""

import numpy as np

from policy_gradient_ladder.experiments.metrics import FEWEST_BATCHES

from .arrays import Floats
from .gradients import Estimate, around, off_diagonal_mean, squared_norm


def against(estimates: Floats, truth: Floats) -> tuple[Floats, Floats]:
    """The matrices `cross` and `reference_gram` of `gradients.py`, [n, n] each, of a reference that is always t.

    estimates: [n, P], truth: [P].
    """
    n = len(estimates)
    return np.repeat((estimates @ truth)[:, None], n, axis=1), np.full((n, n), truth @ truth)


def direction_of_mean(estimates: Floats, truth: Floats) -> Estimate:
    """The cosine between E g and t: the mean of g_i · t over √(the mean over i ≠ j of g_i · g_j) and the length of t.

    estimates: [n, P], truth: [P]. The interval is that of the jackknife over batches, with Student's t. NaN where the
    interval of ‖E g‖² holds 0, or where t has no length.
    """
    n, squared_length, gram = len(estimates), float(truth @ truth), estimates @ estimates.T
    found = squared_norm(gram)
    if not squared_length > 0 or not found.value > 0 or found.low <= 0:
        return Estimate()
    products = estimates @ truth
    value = float(products.mean() / np.sqrt(found.value * squared_length))
    if n < FEWEST_BATCHES:
        return Estimate(value)
    of_row = gram.sum(axis=1) - np.diag(gram)
    squares = (n * (n - 1) * off_diagonal_mean(gram) - 2 * of_row) / ((n - 1) * (n - 2))  # without batch i
    if (squares <= 0).any():
        return Estimate()
    without = (products.sum() - products) / (n - 1) / np.sqrt(squares * squared_length)
    return around(value, float((n - 1) * without.var()), n)


def mean(values: Floats) -> Estimate:
    """The mean of n values [n] with Student's t interval; without one for fewer than FEWEST_BATCHES."""
    n = len(values)
    if n < FEWEST_BATCHES:
        return Estimate(float(values.mean()))
    return around(float(values.mean()), float(values.var(ddof=1)) / n, n)
