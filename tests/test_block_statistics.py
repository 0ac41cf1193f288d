"""Cosines with the mean of independent blocks: their definition, and how often their intervals cover the truth."""

from dataclasses import astuple

import numpy as np
import pytest

from analysis.statistics import blocks as statistics
from experiments.metrics import FEWEST_BATCHES

DIMENSIONS, BLOCKS, CHUNKS, TRIALS = 40, 11, 100, 300
SPECTRA = {  # variances by direction
    "many directions": 1 / np.arange(1, DIMENSIONS + 1),
    "few directions": np.array([4.0, 1.0, 0.5] + [1e-3] * (DIMENSIONS - 3)),
}
SIZES = [(1, 30), (30, 30), (100, 11)]  # chunks of an estimate, and estimates


def world(spectrum: str, signal_to_noise: float) -> tuple[np.ndarray, np.ndarray]:
    """The true gradient [P], and the standard deviations [P] of the noise of a chunk."""
    deviations = np.sqrt(SPECTRA[spectrum])
    direction = np.random.default_rng(0).normal(size=DIMENSIONS)
    length = np.sqrt(signal_to_noise * (deviations**2).sum())
    return length * direction / np.linalg.norm(direction), deviations


def drawn(truth, deviations, size: int, n: int, rng) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """n estimates [n, P] of `size` chunks, in turn from each block, their blocks [n] and the blocks' means [K, P]."""
    own, blocks, estimates = np.arange(n) % BLOCKS, np.zeros((BLOCKS, len(truth))), np.zeros((n, len(truth)))
    for block in range(BLOCKS):
        rows = np.flatnonzero(own == block)
        estimates[rows] = truth + rng.normal(size=(len(rows), len(truth))) * deviations / np.sqrt(size)
        rest = CHUNKS - size * len(rows)
        further = rest * truth + np.sqrt(rest) * deviations * rng.normal(size=len(truth))
        blocks[block] = (size * estimates[rows].sum(axis=0) + further) / CHUNKS
    return estimates, own, blocks


def products(estimates, own, blocks) -> tuple[np.ndarray, ...]:
    return estimates @ estimates.T, estimates @ blocks.T, blocks @ blocks.T, own


def cosine(a, b) -> float:
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def test_the_cosine_with_the_reference_is_that_with_the_mean_of_the_other_blocks():
    estimates, own, blocks = drawn(*world("many directions", 0.1), 10, 13, np.random.default_rng(1))
    direct = [
        cosine(g, np.mean([m for k, m in enumerate(blocks) if k != b], axis=0))
        for g, b in zip(estimates, own, strict=True)
    ]
    found = statistics.reference_cosine(*products(estimates, own, blocks))
    assert found.value == pytest.approx(np.mean(direct))
    assert found.low < found.value < found.high


def test_without_its_noise_the_reference_has_the_length_that_products_of_different_blocks_give():
    estimates, own, blocks = drawn(*world("many directions", 0.1), 10, 13, np.random.default_rng(2))
    along = [
        g @ m / np.linalg.norm(g) for g, b in zip(estimates, own, strict=True) for k, m in enumerate(blocks) if k != b
    ]
    square = np.mean([blocks[k] @ blocks[j] for k in range(BLOCKS) for j in range(BLOCKS) if j != k])
    found = statistics.true_cosine(*products(estimates, own, blocks))
    assert found.value == pytest.approx(np.mean(along) / np.sqrt(square))


def test_the_interval_is_that_of_a_jackknife_over_blocks():
    estimates, own, blocks = drawn(*world("few directions", 0.05), 10, 30, np.random.default_rng(3))
    whole = statistics.reference_cosine(*products(estimates, own, blocks))
    without = []
    for left_out in range(BLOCKS):
        rows, others = own != left_out, [k for k in range(BLOCKS) if k != left_out]
        directly = [
            cosine(g, np.mean([blocks[k] for k in others if k != b], axis=0))
            for g, b in zip(estimates[rows], own[rows], strict=True)
        ]
        without.append(np.mean(directly))
    half_width = 2.2281 * np.sqrt((BLOCKS - 1) * np.var(without))  # Student's t for 10 degrees of freedom
    assert (whole.value - whole.low, whole.high - whole.value) == pytest.approx((half_width, half_width), rel=1e-4)


@pytest.fixture(scope="module", params=[(name, ratio) for name in SPECTRA for ratio in (0.003, 0.05)], ids=str)
def repeated(request):
    """Both cosines in many repetitions, with what they estimate, by the size of an estimate."""
    truth, deviations = world(*request.param)
    rng = np.random.default_rng(4)
    pools = truth + rng.normal(size=(4000, DIMENSIONS)) * deviations / np.sqrt(CHUNKS * (BLOCKS - 1))
    pools /= np.linalg.norm(pools, axis=1, keepdims=True)
    found = {}
    for size, n in SIZES:
        many = truth + rng.normal(size=(60_000, DIMENSIONS)) * deviations / np.sqrt(size)
        mean_direction = (many / np.linalg.norm(many, axis=1, keepdims=True)).mean(axis=0)
        truths = {"reference": (pools @ mean_direction).mean(), "true": truth @ mean_direction / np.linalg.norm(truth)}
        made = {"reference": [], "true": []}
        for _ in range(TRIALS):
            of = products(*drawn(truth, deviations, size, n, rng))
            made["reference"].append(statistics.reference_cosine(*of))
            made["true"].append(statistics.true_cosine(*of))
        found[size] = {name: (np.array([astuple(one) for one in made[name]]), truths[name]) for name in made}
    return found


@pytest.mark.parametrize("size", [size for size, _ in SIZES])
@pytest.mark.parametrize("measure", ["reference", "true"])
def test_an_interval_covers_the_truth_as_often_as_the_module_says(repeated, size, measure):
    """90 to 99 %, with two binomial standard errors of 300 trials on either side."""
    found, truth = repeated[size][measure]
    covered = np.isnan(found[:, 1]) | ((found[:, 1] <= truth) & (truth <= found[:, 2]))
    assert 0.865 <= covered.mean() <= 1


@pytest.mark.parametrize("size", [size for size, _ in SIZES])
def test_cosines_are_recovered_and_the_noise_of_the_reference_is_taken_out(repeated, size):
    for measure in ("reference", "true"):
        found, truth = repeated[size][measure]
        error = np.nanstd(found[:, 0]) / np.sqrt(TRIALS)
        assert abs(np.nanmean(found[:, 0]) - truth) < 4 * error + 0.03 * truth
    reference, true = (repeated[size][name][0][:, 0] for name in ("reference", "true"))
    known = ~np.isnan(true)
    assert reference[known].mean() < true[known].mean()


def test_an_interval_needs_some_blocks_and_ends_at_1():
    truth, deviations = world("many directions", 1.0)
    for k in (1, FEWEST_BATCHES - 1, FEWEST_BATCHES):
        blocks = truth + deviations * np.random.default_rng(5).normal(size=(k, DIMENSIONS))
        found = statistics.reference_cosine(*products(blocks, np.arange(k), blocks))
        assert np.isnan(found.value) == (k == 1)
        assert np.isnan(found.low) == (k < FEWEST_BATCHES)
    noisy = np.eye(12)[[0] * 11 + [1]] + np.eye(12)[0]  # one block points elsewhere, so the interval reaches beyond 1
    found = statistics.reference_cosine(*products(noisy, np.arange(12), noisy))
    assert found.value < 1 == found.high


def test_an_estimate_of_0_has_cosine_0_and_a_reference_that_is_noise_none_without_it():
    blocks = np.eye(12)[:11]  # at right angles: the true gradient has no length
    assert np.isnan(astuple(statistics.true_cosine(*products(blocks, np.arange(11), blocks)))).all()
    same = np.ones((11, 3))
    half = np.concatenate([same[:5], 0 * same[:6]])
    assert statistics.reference_cosine(*products(half, np.arange(11), same)).value == pytest.approx(5 / 11)
