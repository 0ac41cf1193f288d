"""Cosines between gradient estimates and the mean of independent blocks, from inner products alone.

Much data of one policy lies in K blocks. The mean gradient of block k is m_k. There are n estimates g_i from fewer
data, each from a part of one block, its own. `self_gram` [n, n] has g_i · g_j, `cross` [n, K] has g_i · m_k,
`blocks_gram` [K, K] has m_k · m_l, and `own` int [n] says which block is an estimate's own. No estimate is compared
with its own block, and no block with itself, so that noise, which is independent between blocks, has expectation 0 in
every product.

Estimates share the blocks that they are compared with. The intervals are therefore those of the delete-one-block
jackknife (Tukey, 1958): every block is left out in turn, with all that is in it, the statistic T is computed anew, and
the interval is T ± t √((K − 1) / K Σ (T_without k − mean)²) with Student's t for K − 1 degrees of freedom.

How often the 95 % intervals cover, in simulations with 11 blocks and 11 or 30 estimates, with normal noise in many and
few directions: both cosines in 90 to 99 % of cases (a missing interval counts as covering), the fewest where 11
estimates are almost parallel. With the same estimates, `gradients.pairwise_cosine` covers in 87 to 99 %, again the
fewest there, and `gradients.variance` in 90 to 97 %.
"""

from collections.abc import Callable

import numpy as np

from policy_gradient_ladder.experiments.metrics import FEWEST_BATCHES

from .arrays import Floats
from .gradients import Estimate, around, inverse, lengths, off_diagonal_mean, squared_norm

Statistic = Callable[[Floats, Floats, Floats], float]  # of directions [n, K], blocks_gram [K, K] and others [n, K]


def reference_cosine(self_gram: Floats, cross: Floats, blocks_gram: Floats, own: Floats) -> Estimate:
    """The mean over i of the cosine between g_i and the mean of all blocks but its own. A vector of length 0 has
    cosine 0.

    The noise that the mean of the blocks still has is part of it: compare `true_cosine`. NaN for a single block. There
    is an interval from FEWEST_BATCHES blocks on.
    """
    return jackknife(cosine_with_others, cross * inverse(lengths(self_gram))[:, None], blocks_gram, own)


def true_cosine(self_gram: Floats, cross: Floats, blocks_gram: Floats, own: Floats) -> Estimate:
    """The mean cosine between g and the true gradient, to which the mean of ever more blocks would come.

    It is the mean over i, and over all blocks k but its own, of g_i / ‖g_i‖ · m_k, over the length of the true
    gradient. The square of that length is the mean over k ≠ l of m_k · m_l. NaN where its interval holds 0.
    """
    length = squared_norm(blocks_gram)
    if not length.value > 0 or length.low <= 0:
        return Estimate()
    return jackknife(cosine_without_noise, cross * inverse(lengths(self_gram))[:, None], blocks_gram, own)


def cosine_with_others(directions: Floats, blocks_gram: Floats, others: Floats) -> float:
    """`reference_cosine` from g_i / ‖g_i‖ · m_k. others [n, K]: 1, or 0 for an estimate's own block."""
    squares = np.einsum("nk,kl,nl->n", others, blocks_gram, others)
    return float(((directions * others).sum(axis=1) * inverse(np.sqrt(np.maximum(squares, 0.0)))).mean())


def cosine_without_noise(directions: Floats, blocks_gram: Floats, others: Floats) -> float:
    """`true_cosine` from the same; NaN where the squared length of the true gradient is estimated at 0 or below."""
    square = off_diagonal_mean(blocks_gram)
    return float((directions * others).sum() / others.sum() / np.sqrt(square)) if square > 0 else np.nan


def jackknife(statistic: Statistic, directions: Floats, blocks_gram: Floats, own: Floats) -> Estimate:
    """A statistic with its interval, whose ends are cut off at −1 and 1. directions [n, K], own int [n]."""
    k = len(blocks_gram)
    if k < 2:
        return Estimate()
    others = (own[:, None] != np.arange(k)).astype(float)
    value = statistic(directions, blocks_gram, others)
    if k < FEWEST_BATCHES:
        return Estimate(value)
    without = []
    for block in range(k):
        blocks, rows = np.arange(k) != block, own != block
        without.append(statistic(directions[rows][:, blocks], blocks_gram[blocks][:, blocks], others[rows][:, blocks]))
    found = around(value, (k - 1) * float(np.var(without)), k)
    return Estimate(value, *(float(np.clip(end, -1.0, 1.0)) for end in (found.low, found.high)))
