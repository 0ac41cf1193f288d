"""Measures estimators on the batches of a problem: all estimators on the same ones, and each batch size on others."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from . import NATURAL, Estimator, InvalidEstimator, Variant, estimator_of, file_of
from .problem import Batch, Fits, NotApplicable, Problem

OF_OTHER_SIZES = 64  # batches at most; the grid sets how many batches have the main size
FIT_SAMPLES = 2048  # samples on which critics and baselines are fitted, at each place
PROBING, FITTING, TRYING = 3, 0, 1  # of random numbers: this measurement's, and of what is no batch of it
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Place:
    """A problem with the samples for fits, and with the batches of every size, which follow from the seed."""

    problem: Problem
    seed: int
    number: int  # of the place

    def rng(self, *key: int) -> np.random.Generator:
        """The random numbers of one purpose."""
        return np.random.default_rng(np.random.SeedSequence([self.seed, PROBING, self.number, *key]))

    @cached_property
    def fits(self) -> Fits:
        """Of all estimators here."""
        return Fits(lambda: self.problem.draw(FIT_SAMPLES, self.rng(FITTING)))

    def batch(self, variant: Variant, size: int, index: int) -> Batch:
        """The batch number `index` of a size, for one variant of an estimator."""
        rng = self.rng(TRYING, size, index)
        drawn = self.problem.draw(size, rng, variant.common_noise)
        return drawn.under(dict(variant.settings), rng=rng, fits=self.fits)

    def estimate(self, variant: Variant, size: int, index: int) -> np.ndarray:
        """The estimate from one batch, [P]."""
        return gradients(estimator_of(variant.estimator), self.batch(variant, size, index)).mean(0)


def gradients(estimator: Estimator, batch: Batch) -> np.ndarray:
    """An estimator's gradients of a batch, [N, P].

    Raises NotApplicable where the problem lacks what the estimator needs, and InvalidEstimator where what it returns
    has another shape or is not finite.
    """
    found = np.asarray(estimator.gradients(batch), float)
    shape = (len(batch), len(batch.problem.truth))
    if found.shape != shape or not np.isfinite(found).all():
        what = "has numbers that are not finite" if found.shape == shape else f"has the shape {list(found.shape)}"
        raise InvalidEstimator(
            f"{file_of('estimators', estimator.name)}: gradients(batch) must return {list(shape)} finite numbers for "
            f"{len(batch)} samples of {batch.problem.name} ({batch.problem.place}); what it returned {what}"
        )
    return found


def reason_against(place: Place, variant: Variant) -> str | None:
    """Why an estimator cannot be measured at a place; None where it can."""
    estimator = estimator_of(variant.estimator)
    if variant.common_noise and not place.problem.environment_noise:
        return f"common random numbers need a task that is random, and {place.problem.name} is none, given the actions"
    try:
        place.estimate(variant, max(2, estimator.least_samples), -1 % 2**31)
    except NotApplicable as reason:
        return str(reason)
    return None


def estimates(place: Place, variant: Variant, size: int, batches: int) -> tuple[np.ndarray, float]:
    """The estimates from all batches of one size, [batches, P], and the median milliseconds that one takes."""
    found, took = [], []
    for index in range(batches):
        began = time.process_time()
        found.append(place.estimate(variant, size, index))
        took.append(time.process_time() - began)
    return np.array(found), 1000 * float(np.median(took))
