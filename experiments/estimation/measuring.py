"""Measures estimators on the batches of a problem: all estimators on the same ones, and each batch size on others."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from . import InvalidEstimator, Variant, estimator_of, file_of
from .problem import Batch, Fits, NotApplicable, Problem

FIT_SAMPLES = 2048  # on which critics and baselines are fitted, at each place
ESTIMATING = 3  # seeds the random numbers together with the probe's seed, so that they differ from those of other jobs
FITTING, TRYING, MEASURING, OF_ESTIMATOR = 0, 1, 2, 3  # what random numbers are for
SMALLEST_TRIAL = 2  # samples of the batch on which it is tried whether an estimator applies
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Place:
    """A problem at one place with its batches, which follow from the seed."""

    problem: Problem
    number: int  # of the place among those of the probe
    seed: int

    def entropy(self, *purpose: int) -> list[int]:
        """What seeds the random numbers of one purpose."""
        return [self.seed, ESTIMATING, self.number, *purpose]

    def draw(self, size: int, purpose: Sequence[int], common_noise: bool = False) -> tuple[Batch, float]:
        """A batch, the same whenever it is asked for, and the seconds that drawing it took."""
        began = time.process_time()
        rng = np.random.default_rng(self.entropy(*purpose))
        return self.problem.draw(size, rng, common_noise), time.process_time() - began


@dataclass(frozen=True, eq=False)
class Subject:
    """One variant of an estimator at one place, with what it has fitted there."""

    place: Place
    variant: Variant
    problem: Problem  # that of the place, or the same in other parameters

    @cached_property
    def fits(self) -> Fits:
        """What it has fitted."""
        entropy = self.place.entropy(FITTING, OF_ESTIMATOR)
        return Fits(lambda: self._own(self.place.draw(FIT_SAMPLES, [FITTING])[0], entropy=entropy))

    def _own(self, drawn: Batch, **others: Any) -> Batch:
        """What was drawn at the place, in the parameters and with the settings of this subject."""
        return drawn.under(dict(self.variant.settings), problem=self.problem, **others)

    def gradients(self, drawn: Batch, purpose: Sequence[int]) -> np.ndarray:
        """The gradients of a batch, [N, P].

        Raises NotApplicable where the problem lacks what the estimator needs, and InvalidEstimator where what it
        returns has another shape or is not finite.
        """
        batch = self._own(drawn, entropy=self.place.entropy(*purpose, OF_ESTIMATOR), fits=self.fits)
        found = np.asarray(estimator_of(self.variant.estimator).gradients(batch), float)
        shape = (len(batch), len(self.problem.truth))
        if found.shape != shape or not np.isfinite(found).all():
            what = "numbers that are not finite" if found.shape == shape else f"the shape {list(found.shape)}"
            raise InvalidEstimator(
                f"{file_of('estimators', self.variant.estimator)}: gradients(batch) must return {list(shape)} finite "
                f"numbers for {len(batch)} samples of {self.problem.name} ({self.problem.place}); it has {what}"
            )
        return found

    def reason_against(self) -> str | None:
        """Why it cannot be measured, as a part of a sentence; None where it can."""
        common_noise, name = self.variant.common_noise, self.problem.name
        if common_noise and not self.problem.environment_noise:
            return f"it needs a task that is random, given the actions, and {name} is not"
        size = max(SMALLEST_TRIAL, estimator_of(self.variant.estimator).least_samples)
        try:
            self.gradients(self.place.draw(size, [TRYING], common_noise)[0], [TRYING])
        except NotApplicable as reason:
            return str(reason)
        return None


@dataclass
class Measured:
    """What was measured of a subject."""

    subject: Subject
    elsewhere: Subject | None  # the same in other parameters
    estimates: dict[int, list[np.ndarray]]  # [P] each, by the batch size
    cosines: list[float] = field(default_factory=list)  # between a step and that in other parameters, of the main size
    seconds: list[float] = field(default_factory=list)  # of an estimate of the main size, with drawing its batch

    def take(self, drawn: Batch, drawing: float, purpose: Sequence[int], main: bool) -> None:
        """Estimate the gradient from a batch. drawing: the seconds that it took; main: whether it has the main size."""
        began = time.process_time()
        estimate = self.subject.gradients(drawn, purpose).mean(0)
        took = drawing + time.process_time() - began
        self.estimates[len(drawn)].append(estimate)
        if main:
            self.seconds.append(took)
        if main and self.elsewhere is not None:
            step = self.elsewhere.problem.scales * self.elsewhere.gradients(drawn, purpose).mean(0)
            self.cosines.append(cosine(estimate, step))


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """The cosine between two vectors [P]; 0 where one has no length."""
    length = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / length) if length > 0 else 0.0


def measure_place(place: Place, variants: Sequence[Variant], batches: Mapping[int, int], main: int) -> list[Measured]:
    """Measure variants that apply at a place. batches: how many there are of each size; main: the main size."""
    other, measured = place.problem.reparameterised(), []
    for variant in variants:
        sizes = [size for size in batches if size >= estimator_of(variant.estimator).least_samples]
        elsewhere = None if other is None else Subject(place, variant, other)
        measured.append(Measured(Subject(place, variant, place.problem), elsewhere, {size: [] for size in sizes}))
    for size, count in batches.items():
        takers = [one for one in measured if size in one.estimates]
        for index in range(count):
            purpose = [MEASURING, size, index]
            kinds = {one.subject.variant.common_noise for one in takers}
            drawn = {common_noise: place.draw(size, purpose, common_noise) for common_noise in kinds}
            for one in takers:
                one.take(*drawn[one.subject.variant.common_noise], purpose, main=size == main)
    return measured


def measure(
    problems: Sequence[Problem], variants: Sequence[Variant], seed: int, batches: Mapping[int, int], main: int
) -> tuple[dict[str, Any], Arrays]:
    """Measure variants of estimators at all places of a problem.

    batches: how many there are of each size; main: the main size. Returns a part of the record, and the arrays: of each
    place the truths [P], and of each estimator and size its estimates [n, P].
    """
    record: dict[str, Any] = {"places": [], "estimators": [], "not_applicable": []}
    arrays: Arrays = {}
    for number, problem in enumerate(problems):
        place = Place(problem, number, seed)
        record["places"].append({"place": problem.place, "numbers": problem.numbers, "parameters": len(problem.truth)})
        arrays |= {f"{number}/truth": problem.truth, f"{number}/natural_truth": problem.natural_truth}
        applicable = []
        for variant in variants:
            reason = Subject(place, variant, problem).reason_against()
            if reason is None:
                applicable.append(variant)
            entry = {"place": number, "estimator": variant.estimator, "reason": reason}
            if not (reason is None or variant.common_noise or entry in record["not_applicable"]):
                record["not_applicable"].append(entry)
        for one in measure_place(place, applicable, batches, main):
            entry = entry_of(number, one)
            record["estimators"].append(entry)
            arrays |= {f"{entry['id']}/{size}": np.array(found) for size, found in one.estimates.items()}
            if one.cosines:
                arrays[f"{entry['id']}/{main}/reparameterised"] = np.array(one.cosines)
    return record, arrays


def entry_of(place: int, measured: Measured) -> dict[str, Any]:
    """What `probe.json` says of a subject; place: its number."""
    variant = measured.subject.variant
    estimator = estimator_of(variant.estimator)
    return {
        "id": f"{place}/{variant}",
        "place": place,
        "estimator": estimator.name,
        "title": estimator.title,
        "settings": dict(variant.settings),
        "truth": estimator.truth,
        "sizes": sorted(measured.estimates),
        "milliseconds": 1000 * float(np.median(measured.seconds)),
        "fit_milliseconds": 1000 * measured.subject.fits.seconds,
    }
