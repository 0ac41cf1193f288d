"""The verdicts on claims: what grid.json states, tested on the tables of runs and of the gradient laboratory.

A comparison measures an effect with a 95 % interval, and says which effects are those claimed: in the claimed direction
and at least as large as the smallest effect of interest, or, where sides are claimed to be equal, no larger than it.

    supported      every effect in the interval is one of those
    contradicted   none is: the opposite holds, or there is nothing of that size
    undecided      some are and some are not, or there is no interval

For equality these are two one-sided tests (TOST) at 2.5 % each, and it must hold at every frozen policy and on every
task: an average would dilute what is not equal, above all a bias, which is never below 0. So the effect shown is the
one that is furthest off, and decides; that all must pass is a test of the same level without any correction
(intersection–union). An average supports or contradicts nothing where leaving out one task turns its sign, nor where
fewer than half of the frozen policies can be measured. Of several comparisons a claim needs all, and then one
contradiction is enough to contradict it; or it needs any, and then all of them must contradict it.

Runs: the effect is the mean over tasks of the difference of the two means over runs, with equal weight for every task,
and its interval Welch's t with Satterthwaite's degrees of freedom, since a percentile bootstrap is too short for the
five or ten runs of a task. A task with a single run on a side has no interval, and an average that holds it has none.

Gradient laboratory: at each frozen policy the difference of two measurements, or of their logarithms where the effect
is a ratio; then the mean over a task's policies, and over tasks. 95 % intervals are combined as those of a sum (Zou &
Donner, 2008: the distances from the value to the ends are added in squares). Both sides were measured on the same
batches and are treated as independent, which makes the interval rather too wide; against REINFORCE's variance nothing
is combined, since its ratio was measured as one.

Tasks and policies are those that are there, no sample of others: no interval says anything of a task that was not run.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from analysis.reading.grid import Grid
from analysis.sections.laboratory.tables import estimator_title
from analysis.statistics.comparison import difference
from analysis.statistics.gradients import Estimate
from analysis.words import enumerate_text
from experiments.metrics import FEWEST_BATCHES, GRADIENT_METRICS, RATIO_METRICS, RUN_METRICS

SUPPORTED, CONTRADICTED, UNDECIDED, UNTESTABLE = "supported", "contradicted", "undecided", "cannot be tested"
VERDICTS = (SUPPORTED, CONTRADICTED, UNDECIDED, UNTESTABLE)


@dataclass(frozen=True)
class Metric:
    """What a comparison measures: the column it stands in, and what its effect is."""

    column: str
    of_runs: bool
    ratio: bool = False  # the effect is the ratio of the sides, of one side its value; else their difference
    nonnegative: bool = False  # a value cannot be below 0, so that noise makes it too large
    figure: str | None = None  # that shows it
    largest: float = np.inf  # that an effect can be, either way


ABOUT = {
    "final_score": {"column": "normalized", "figure": "final_scores"},
    "auc": {"column": "normalized_auc", "figure": "sample_efficiency"},
    "learning_per_step": {"column": "learning_per_step", "figure": "learning_curves"},
    "drop": {"column": "drop", "figure": "learning_curves"},
    "steps_to_threshold": {"column": "share_of_budget", "largest": 1.0},
    "variance": {"column": "ratio", "figure": "gradient_variance"},
    "relative_bias": {"column": "relative_bias", "nonnegative": True},
    "bias_squared": {"column": "share_of_length", "nonnegative": True},
    "cosine": {"column": "true_cosine", "figure": "gradient_direction"},
}
METRICS = {
    name: Metric(of_runs=name in RUN_METRICS, ratio=name in RATIO_METRICS, **ABOUT[name])
    for name in (*RUN_METRICS, *GRADIENT_METRICS)
}


@dataclass
class Place:
    """A comparison on one task. Without an effect, `note` says why, and `lacking` whether it was never measured:
    else what was measured says nothing.
    """

    task: str
    effect: Estimate | None = None  # of logarithms where it is a ratio
    values: tuple[np.ndarray, ...] = ()  # of each side's runs
    policies: list[Estimate] = field(default_factory=list)  # the effects at single policies
    n: tuple[int, ...] = ()  # runs, or frozen policies, of each side
    asked: int = 0  # frozen policies of the task that the comparison is about
    note: str = ""
    lacking: bool = False
    decides: bool = True  # False: it counts in the average, but by itself says nothing


@dataclass
class Tested:
    """A comparison with its effect over all its tasks, its verdict, and why that is so."""

    comparison: dict[str, Any]
    sides: list[str]
    places: list[Place] = field(default_factory=list)
    effect: Estimate = field(default_factory=Estimate)
    verdict: str = UNTESTABLE
    reason: str = ""
    figure: str | None = None
    against: list[str] = field(default_factory=list)  # tasks whose own interval says the opposite of the average's
    rests_on: list[str] = field(default_factory=list)  # tasks without any one of which the verdict would be another
    without: dict[str, Estimate] = field(default_factory=dict)  # the effect with a task left out

    @property
    def equality(self) -> bool:
        return self.comparison["direction"] == "equal"

    @property
    def metric(self) -> Metric:
        return METRICS[self.comparison["metric"]]

    @property
    def present(self) -> list[Place]:
        return [place for place in self.places if place.effect is not None]


def shown(effect: Estimate, found: Tested) -> Estimate:
    """The effect as it is reported: a ratio itself, not its logarithm."""
    if not found.metric.ratio:
        return effect
    return Estimate(*(float(np.exp(value)) for value in (effect.value, effect.low, effect.high)))


def ends(effect: Estimate, name: str = "") -> dict[str, float]:
    """The columns of an effect: `name`, and of its interval."""
    named = (name, f"{name}_low", f"{name}_high") if name else ("effect", "low", "high")
    return dict(zip(named, (effect.value, effect.low, effect.high), strict=True))


def region(comparison: dict[str, Any], metric: Metric) -> tuple[float, float]:
    """The effects that are claimed, from and to."""
    neutral, smallest = float(metric.ratio), comparison["smallest_effect"]
    return {
        "higher": (neutral + smallest, np.inf),
        "lower": (-np.inf, neutral - smallest),
        "equal": (neutral - smallest, neutral + smallest),
    }[comparison["direction"]]


def verdict_of(effect: Estimate, low: float, high: float) -> str:
    """Whether all, none, or some of the interval's effects are among those that are claimed."""
    if np.isnan(effect.low):
        return UNDECIDED
    if low <= effect.low and effect.high <= high:
        return SUPPORTED
    return CONTRADICTED if effect.high < low or effect.low > high else UNDECIDED


def verdict_of_all(verdicts: list[str], rule: str) -> str:
    """Of a claim: all of its comparisons must support it, or any of them."""
    decisive, needed = (CONTRADICTED, SUPPORTED) if rule == "all" else (SUPPORTED, CONTRADICTED)
    for verdict in (decisive, UNTESTABLE, UNDECIDED) if rule == "all" else (decisive, UNDECIDED, UNTESTABLE):
        if verdict in verdicts:
            return verdict
    return needed


def judge(found: Tested) -> Tested:
    """The comparison with its verdict and the reason for it."""
    if not found.present:
        measured = [place for place in found.places if not place.lacking]
        found.verdict = UNDECIDED if measured else UNTESTABLE
        found.reason = found.reason or left_out(found.places) or ""
        return found
    effect = shown(found.effect, found)
    claimed = region(found.comparison, found.metric)
    found.verdict = verdict_of(effect, *claimed)
    if np.isnan(effect.low):
        unknown = [place.task for place in found.present if np.isnan(place.effect.low)]
        why = "a single run" if found.metric.of_runs else f"fewer than {FEWEST_BATCHES} batches"
        found.reason = f"no interval: there is {why} on {enumerate_text(unknown)}, and so no spread to tell from"
    elif found.verdict == UNDECIDED:
        found.reason = "the interval holds effects that would support the claim and effects that would contradict it"
    elif found.verdict == CONTRADICTED:
        neutral = float(found.metric.ratio)
        opposite = {"higher": effect.high < neutral, "lower": effect.low > neutral}.get(found.comparison["direction"])
        found.reason = {
            True: "the opposite holds: the whole interval lies on the other side",
            False: "the whole interval is short of the smallest effect that counts",
            None: "the whole interval is further off than what counts as equal",
        }[opposite]
    if found.verdict in (SUPPORTED, CONTRADICTED):
        weigh_tasks(found)
        if said := too_little(found):
            found.verdict, found.reason = UNDECIDED, "; ".join(said)
    return found


def weigh_tasks(found: Tested) -> None:
    """Which tasks say the opposite of an average, and how it would be without each of them."""
    if found.equality:
        return
    claimed, opposed = region(found.comparison, found.metric), {SUPPORTED: CONTRADICTED, CONTRADICTED: SUPPORTED}
    verdicts = {place.task: verdict_of(shown(place.effect, found), *claimed) for place in found.present}
    found.against = [
        place.task for place in found.present if place.decides and verdicts[place.task] == opposed[found.verdict]
    ]
    if len(found.present) > 1:
        found.without = {
            place.task: effect_over(found, [other for other in found.present if other is not place])
            for place in found.present
        }
    others = {task: verdict_of(shown(effect, found), *claimed) for task, effect in found.without.items()}
    found.rests_on = [
        task
        for task, verdict in others.items()
        if verdict != found.verdict and (len(others) > 2 or turns(found, task))  # of two, each one decides much
    ]


def turns(found: Tested, task: str) -> bool:
    """Whether the effect has the other sign without the task; of a ratio, its logarithm."""
    return found.without[task].value * found.effect.value < 0


def too_little(found: Tested) -> list[str]:
    """Why an interval that supports or contradicts a claim is not enough."""
    if not any(place.decides for place in found.present):
        return list(dict.fromkeys(place.note for place in found.present))
    said = []
    known, asked = (sum(of) for of in zip(*((len(p.policies), p.asked) for p in found.places), strict=True))
    if 2 * known < asked and not (found.equality and found.verdict == CONTRADICTED):  # there a single policy is enough
        said.append(f"measurable at {known} of {asked} policies")
    if turned := [task for task in found.rests_on if turns(found, task)]:
        said.append(f"without {' or without '.join(turned)} the effect has the other sign")
    return said


def effect_over(found: Tested, places: list[Place]) -> Estimate:
    """The effect over these tasks: their average, or of equality the one that is furthest off."""
    if found.equality:
        return furthest(found, [place.effect for place in places])
    if found.metric.of_runs:
        return effect_of_runs([place.values for place in places], found.metric)
    return average([place.effect for place in places], floor=has_floor(found))


def effect_of_runs(values: list[tuple[np.ndarray, ...]], metric: Metric) -> Estimate:
    """The mean over tasks of the difference of the means of two sides' runs, or of one side's mean: per task the runs
    of each side, ([n],) or ([n], [m]).
    """
    found = difference(*([*side] for side in zip(*values, strict=True)))
    return possible(Estimate(found.value, found.low, found.high), metric)


def furthest(found: Tested, effects: list[Estimate]) -> Estimate:
    """Of effects that should all be within what counts as equal, the one that decides the verdict on all: one outside,
    else one without an interval, else the one whose interval reaches furthest.
    """
    low, high = region(found.comparison, found.metric)

    def reach(effect: Estimate) -> tuple[bool, float]:
        effect = shown(effect, found)
        beyond = max(low - effect.low, effect.high - high)
        return verdict_of(effect, low, high) == CONTRADICTED, np.inf if np.isnan(beyond) else beyond

    return max(effects, key=reach)


def possible(effect: Estimate, metric: Metric) -> Estimate:
    """An effect whose interval ends where effects do."""
    return Estimate(
        effect.value, *(float(np.clip(end, -metric.largest, metric.largest)) for end in (effect.low, effect.high))
    )


def left_out(places: Iterable[Place]) -> str | None:
    """Tasks by the reason for which they do not count."""
    by_reason: dict[str, list[str]] = {}
    for place in places:
        by_reason.setdefault(place.note, []).append(place.task)
    return "; ".join(f"{enumerate_text(tasks)} ({reason})" for reason, tasks in by_reason.items()) or None


def side_title(grid: Grid, side: dict[str, Any], critics: Iterable[str]) -> str:
    """An algorithm's title, with the critic that it was measured with in the gradient laboratory."""
    if side["algorithm"] is not None and side["algorithm"] not in grid.algorithms:
        return side["algorithm"]
    critic = next(iter(critics), side["critic"] or "none")
    kind = "gae" if side["algorithm"] is None else "algorithm"
    name, comma, of_critic = estimator_title(grid, {**side, "kind": kind, "critic": critic}).rpartition(", ")
    return f"{name} ({of_critic})" if critic != "none" else f"{name}{comma}{of_critic}"


def has_floor(found: Tested) -> bool:
    """Whether the effect itself, and not only either side, cannot be below 0."""
    return found.metric.nonnegative and len(found.sides) == 1


def average(effects: list[Estimate], *, floor: bool) -> Estimate:
    """Mean of independent measurements with its interval.

    Values that cannot be below 0 have a mean that noise makes too large; where there is such a `floor` the lower end is
    therefore the mean of the lower ends.
    """
    value, n = float(np.mean([effect.value for effect in effects])), len(effects)
    low = value - distance(*(below(effect) for effect in effects)) / n
    high = value + distance(*(above(effect) for effect in effects)) / n
    return Estimate(value, float(np.mean([effect.low for effect in effects])) if floor else low, high)


def below(effect: Estimate) -> float:
    """From the value down to the end of the interval; 0 where the value was clipped and lies outside it."""
    return max(effect.value - effect.low, 0.0) if np.isfinite(effect.low) else np.nan


def above(effect: Estimate) -> float:
    return max(effect.high - effect.value, 0.0) if np.isfinite(effect.high) else np.nan


def distance(*parts: float) -> float:
    """√ of the sum of squares."""
    return float(np.linalg.norm(parts))
