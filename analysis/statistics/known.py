"""What estimates say of a gradient that is known exactly, from their inner products with it.

Names are as in `gradients.py`: n estimates g_i have the Gram matrix [n, n], and `products` [n] holds g_i · t with the
known gradient t.
"""

import numpy as np

from policy_gradient_ladder.experiments.metrics import FEWEST_BATCHES

from .arrays import Floats
from .gradients import Estimate, around, off_diagonal_mean, squared_norm


def against(products: Floats, squared_length: float) -> tuple[Floats, Floats]:
    """The matrices `cross` and `reference_gram`, [n, n] each, of a reference that is t in every batch."""
    n = len(products)
    return np.repeat(products[:, None], n, axis=1), np.full((n, n), squared_length)


def direction_of_mean(gram: Floats, products: Floats, squared_length: float) -> Estimate:
    """The cosine between E g and t: the mean of g_i · t over √(the mean over i ≠ j of g_i · g_j) and the length of t.

    The interval is that of the jackknife over batches, with Student's t. NaN where the interval of ‖E g‖² holds 0, or
    where t has no length.
    """
    n = len(gram)
    if n < 3 or not squared_length > 0:
        return Estimate()
    found = squared_norm(gram)
    if not found.value > 0 or found.low <= 0:
        return Estimate()
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
        return Estimate(float(values.mean()) if n else np.nan)
    return around(float(values.mean()), float(values.var(ddof=1)) / n, n)
