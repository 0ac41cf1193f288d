"""The verdicts on claims: the claims of grid.json, tested on the tables of runs and of the gradient laboratory.

A comparison measures an effect with a 95 % interval. The claimed effects are those in the claimed direction that are at
least as large as the smallest effect of interest. Where the claim is that two sides are equal, the claimed effects are
those that are at most as large as the smallest effect of interest.

    supported      every effect in the interval is a claimed effect
    contradicted   no effect in the interval is a claimed effect: the opposite holds, or the effect is too small
    undecided      some effects in the interval are claimed effects and some are not, or there is no interval

None of these is said where the evidence is less than `analysis/sections/claims/evidence.py` asks for. The verdict is
then "too little evidence".

Equality is tested by two one-sided tests (TOST) at 2.5 % each. It must hold at every frozen policy and on every task,
because an average could hide inequality at one of them; this is so above all for a bias, which is never below 0. So the
effect that is furthest off is shown and decides. Since all of these tests must pass, the level needs no correction
(intersection–union test).

An average is undecided where leaving out one task changes its sign, and where fewer than half of the frozen policies
can be measured. By the rule "all", a claim needs all of its comparisons, and one contradiction contradicts it. By the
rule "any", it needs one of them, and only if all are contradicted is the claim contradicted.

Runs: the effect is the mean over tasks of the difference of the two means over runs, with equal weight for every task.
Its interval is Welch's t with Satterthwaite's degrees of freedom, because a percentile bootstrap is too short for the
five or ten runs of a task. A task with a single run on a side has no interval, and so an average over it has none.
Where the two sides are two evaluations of the same runs, their differences are one sample. The best of several sides
and the ratio of two spreads have intervals of their own (`analysis/statistics/best.py`, `spread.py`), and so have
shares of runs (`shares.py`).

Gradient laboratory: the effect at a frozen policy is the difference of two measurements, or of their logarithms where
the effect is a ratio. It is averaged over a task's policies, and then over tasks. 95 % intervals are combined as those
of a sum (Zou & Donner, 2008: the distances from the value to the ends are added in squares). Both sides are treated as
independent although they were measured on the same batches, so the interval is rather too wide. A ratio to REINFORCE's
variance was measured as one number, so its interval needs no combining.

Estimators on problems whose true gradient is known are compared as in the gradient laboratory, place by place: the
effects at a problem's places are averaged, and then those of the problems.

The tasks and policies are no sample of other ones: no interval says anything about a task that was not run.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from policy_gradient_ladder.experiments.metrics import (
    ESTIMATOR_METRICS,
    FEWEST_BATCHES,
    GRADIENT_METRICS,
    QUALITY_METRICS,
    RATIO_METRICS,
    RUN_METRICS,
)

from ...reading.grid import Grid
from ...statistics.best import behind_the_best
from ...statistics.comparison import difference
from ...statistics.gradients import Estimate
from ...statistics.shares import difference_of_shares
from ...statistics.spread import log_ratio_of_spreads
from ...words import enumerate_text
from ..laboratory.tables import estimator_title

SUPPORTED, CONTRADICTED, UNDECIDED = "supported", "contradicted", "undecided"
TOO_LITTLE, UNTESTABLE = "too little evidence", "cannot be tested"  # these two are no verdicts
VERDICTS = (SUPPORTED, CONTRADICTED, UNDECIDED, TOO_LITTLE, UNTESTABLE)


@dataclass(frozen=True)
class Metric:
    """A quantity that comparisons measure, and how its effect is computed."""

    column: str  # the column of the table that has the quantity
    of_runs: bool  # whether it is measured on runs; otherwise in the gradient laboratory
    ratio: bool = False  # whether the effect of two sides is their ratio; otherwise it is their difference
    nonnegative: bool = False  # whether a value cannot be below 0, so that noise makes it too large
    figure: str | None = None  # the figure that shows the quantity
    largest: float = np.inf  # the largest absolute value that an effect can have
    share: bool = False  # whether a run has 1 or 0, so that a mean over runs is a share of them


# The fields of each metric, by its name in a grid.
ABOUT = {
    "final_score": {"column": "normalized", "figure": "final_scores"},
    "mode_score": {"column": "normalized_mode"},
    "auc": {"column": "normalized_auc", "figure": "sample_efficiency"},
    "learning_per_step": {"column": "learning_per_step", "figure": "learning_curves"},
    "drop": {"column": "drop", "figure": "learning_curves"},
    "steps_to_threshold": {"column": "share_of_budget", "largest": 1.0},
    "spread": {"column": "normalized", "figure": "final_scores"},
    "episode_spread": {"column": "episode_spread"},
    "episode_cost": {"column": "episode_cost"},
    "true_return": {"column": "true_return", "figure": "proxy_and_true"},
    "true_drop": {"column": "true_drop", "figure": "proxy_and_true"},
    "solved": {"column": "solved", "largest": 1.0, "share": True},
    "evaluations_to_solution": {"column": "share_of_evaluations", "largest": 1.0},
    "best_score": {"column": "best_score"},
    "perturbed_score": {"column": "perturbed_score", "figure": "under_changes"},
    "perturbation_loss": {"column": "perturbation_loss", "figure": "under_changes"},
    "variance": {"column": "ratio", "figure": "gradient_variance"},
    "relative_bias": {"column": "relative_bias", "nonnegative": True},
    "bias_squared": {"column": "share_of_length", "nonnegative": True},
    "cosine": {"column": "true_cosine", "figure": "gradient_direction"},
    "absolute_variance": {"column": "variance"},
    "cost": {"column": "cost"},
    "plain_cosine": {"column": "plain_cosine"},
    "reparameterised": {"column": "reparameterised"},
    "pairwise_cosine": {"column": "pairwise_cosine", "figure": "quality_agreement"},
    "reference_cosine": {"column": "reference_cosine", "figure": "quality_reference"},
    "gradient_variance": {"column": "ratio", "figure": "quality_variance"},
    "value_error": {"column": "relative_error", "figure": "quality_values"},
}
METRICS = {
    name: Metric(of_runs=name in RUN_METRICS, ratio=name in RATIO_METRICS, **ABOUT[name])
    for name in (*RUN_METRICS, *GRADIENT_METRICS, *ESTIMATOR_METRICS, *QUALITY_METRICS)
}


@dataclass
class Place:
    """A comparison on one task.

    Where there is no effect, `note` gives the reason. `lacking` is then true if nothing was measured, and false if the
    measurements say nothing.
    """

    task: str
    effect: Estimate | None = None  # of logarithms where the metric is a ratio
    # For each side, and each of those of which one is the best, the values [n] of its runs. Of two evaluations of the
    # same runs, their differences.
    values: tuple[np.ndarray, ...] = ()
    policies: list[Estimate] = field(default_factory=list)  # the effects at single policies
    n: tuple[int, ...] = ()  # for each side, the number of its runs or frozen policies
    runs: int = 0  # the number of runs that it rests on: of the side with fewer, or of those with frozen policies
    environment: str = ""  # where it is another text than the task: tasks that are one environment have the same
    exact: bool = False  # whether it is a problem whose true gradient is known
    asked: int = 0  # the number of frozen policies of the task that the comparison is about
    note: str = ""
    lacking: bool = False
    decides: bool = True  # False: the task counts in the average, but says nothing by itself


@dataclass
class Tested:
    """A comparison with its effect over all of its tasks, its verdict, and the reason for the verdict."""

    comparison: dict[str, Any]  # as in grid.json
    sides: list[str]  # the titles of its sides
    places: list[Place] = field(default_factory=list)  # one per task
    effect: Estimate = field(default_factory=Estimate)  # of logarithms where the metric is a ratio
    verdict: str = UNTESTABLE
    reason: str = ""
    figure: str | None = None
    against: list[str] = field(default_factory=list)  # tasks whose own interval says the opposite of the average's
    rests_on: list[str] = field(default_factory=list)  # tasks; without any one of them the verdict would differ
    without: dict[str, Estimate] = field(default_factory=dict)  # by task, the effect over all other tasks

    @property
    def equality(self) -> bool:
        """Whether the claim is that two sides are equal."""
        return self.comparison["direction"] == "equal"

    @property
    def metric(self) -> Metric:
        """The metric of the comparison."""
        return METRICS[self.comparison["metric"]]

    @property
    def present(self) -> list[Place]:
        """The tasks that have an effect."""
        return [place for place in self.places if place.effect is not None]


def shown(effect: Estimate, found: Tested) -> Estimate:
    """The effect as it is reported: for a ratio, the ratio itself instead of its logarithm."""
    if not found.metric.ratio:
        return effect
    return Estimate(*(float(np.exp(value)) for value in (effect.value, effect.low, effect.high)))


def ends(effect: Estimate, name: str = "") -> dict[str, float]:
    """The columns of an effect and of the ends of its interval: name, name_low and name_high.

    Without a name, they are called effect, low and high.
    """
    named = (name, f"{name}_low", f"{name}_high") if name else ("effect", "low", "high")
    return dict(zip(named, (effect.value, effect.low, effect.high), strict=True))


def region(comparison: dict[str, Any], metric: Metric) -> tuple[float, float]:
    """The lowest and the highest effect that is claimed, as effects are reported; −∞ or ∞ where there is no limit."""
    neutral, smallest = neutral_effect(comparison, metric), comparison["smallest_effect"]
    return {
        "higher": (neutral + smallest, np.inf),
        "lower": (-np.inf, neutral - smallest),
        "equal": (neutral - smallest, neutral + smallest),
    }[comparison["direction"]]


def neutral_effect(comparison: dict[str, Any], metric: Metric) -> float:
    """The effect from which the claimed ones differ: 0, or 1 for a ratio, unless the comparison says another."""
    return float(comparison.get("than", metric.ratio))


def verdict_of(effect: Estimate, low: float, high: float) -> str:
    """The verdict on an effect: whether all, none, or some effects in its interval are from `low` to `high`."""
    if np.isnan(effect.low):
        return UNDECIDED
    if low <= effect.low and effect.high <= high:
        return SUPPORTED
    return CONTRADICTED if effect.high < low or effect.low > high else UNDECIDED


def verdict_of_all(verdicts: list[str], rule: str) -> str:
    """The verdict on a claim from the verdicts on its comparisons; `rule` is "all" or "any"."""
    decisive, needed = (CONTRADICTED, SUPPORTED) if rule == "all" else (SUPPORTED, CONTRADICTED)
    others = (UNTESTABLE, TOO_LITTLE, UNDECIDED)
    for verdict in (decisive, *(others if rule == "all" else others[::-1])):
        if verdict in verdicts:
            return verdict
    return needed


def judge(found: Tested) -> None:
    """Set the verdict on a comparison and the reason for it, in place, from its interval and its tasks."""
    if not found.present:
        measured = [place for place in found.places if not place.lacking]
        found.verdict = UNDECIDED if measured else UNTESTABLE
        found.reason = found.reason or left_out(found.places) or ""
        return
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
        neutral = neutral_effect(found.comparison, found.metric)
        opposite = {"higher": effect.high < neutral, "lower": effect.low > neutral}.get(found.comparison["direction"])
        found.reason = {
            True: "the opposite holds: the whole interval lies on the other side",
            False: "the whole interval is short of the smallest effect that counts",
            None: "the whole interval is further off than what counts as equal",
        }[opposite]
    if found.verdict in (SUPPORTED, CONTRADICTED):
        weigh_tasks(found)
        if said := doubts(found):
            found.verdict, found.reason = UNDECIDED, "; ".join(said)


def weigh_tasks(found: Tested) -> None:
    """Set, in place, which tasks say the opposite of the average, and on which tasks the verdict rests.

    Claims of equality have no average, so nothing is set for them.
    """
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
        # Where there are only two tasks, the verdict often changes without one of them, so only a changed sign counts.
        if verdict != found.verdict and (len(others) > 2 or turns(found, task))
    ]


def turns(found: Tested, task: str) -> bool:
    """Whether the effect (the logarithm, for a ratio) has the other sign without the task."""
    return found.without[task].value * found.effect.value < 0


def doubts(found: Tested) -> list[str]:
    """The reasons, in words, why an interval that supports or contradicts the claim does not decide it."""
    if not any(place.decides for place in found.present):
        return list(dict.fromkeys(place.note for place in found.present))
    said = []
    known, asked = (sum(of) for of in zip(*((len(p.policies), p.asked) for p in found.places), strict=True))
    # One policy is enough to contradict equality; otherwise half of the policies must be measurable.
    if 2 * known < asked and not (found.equality and found.verdict == CONTRADICTED):
        said.append(f"measurable at {known} of {asked} policies")
    if turned := [task for task in found.rests_on if turns(found, task)]:
        said.append(f"without {' or without '.join(turned)} the effect has the other sign")
    return said


def effect_over(found: Tested, places: list[Place]) -> Estimate:
    """The effect over some tasks, all with an effect: their average, or for equality the effect furthest off."""
    if found.equality:
        return furthest(found, [place.effect for place in places])
    if found.metric.of_runs:
        return effect_of_places(found, places)
    return average([place.effect for place in places], floor=has_floor(found))


def effect_of_places(found: Tested, places: list[Place]) -> Estimate:
    """The mean effect over some places of a comparison about runs."""
    values = [place.values for place in places]
    best = [number for number, side in enumerate(found.comparison["sides"]) if "best_of" in side]
    if not best and not found.metric.ratio:
        return effect_of_runs(values, found.metric)
    sides = [[*side] for side in zip(*values, strict=True)]
    if found.metric.ratio:
        return Estimate(*log_ratio_of_spreads(*sides))
    if best[0] == 1:
        return Estimate(*behind_the_best(sides[0], sides[1:]))
    value, low, high = behind_the_best(sides[-1], sides[:-1])
    return Estimate(-value, -high, -low)


def effect_of_runs(values: list[tuple[np.ndarray, ...]], metric: Metric) -> Estimate:
    """The mean over tasks of the difference of two sides' means over runs, or of one side's mean over runs.

    `values` holds for each task the values of each side's runs, ([n],) or ([n], [m]).
    """
    sides = [[*side] for side in zip(*values, strict=True)]
    if metric.share:
        return possible(Estimate(*difference_of_shares(*sides)), metric)
    found = difference(*sides)
    return possible(Estimate(found.value, found.low, found.high), metric)


def furthest(found: Tested, effects: list[Estimate]) -> Estimate:
    """The effect that decides on equality, for which all `effects` must be in the claimed region.

    This is an effect outside the region; if there is none, an effect without an interval; otherwise the effect whose
    interval reaches furthest.
    """
    low, high = region(found.comparison, found.metric)

    def reach(effect: Estimate) -> tuple[bool, float]:
        effect = shown(effect, found)
        beyond = max(low - effect.low, effect.high - high)
        return verdict_of(effect, low, high) == CONTRADICTED, np.inf if np.isnan(beyond) else beyond

    return max(effects, key=reach)


def possible(effect: Estimate, metric: Metric) -> Estimate:
    """The effect with the ends of its interval clipped to values that an effect of the metric can have."""
    return Estimate(
        effect.value, *(float(np.clip(end, -metric.largest, metric.largest)) for end in (effect.low, effect.high))
    )


def left_out(places: Iterable[Place]) -> str | None:
    """The tasks that do not count, with the reason for each, in words; None where `places` is empty."""
    by_reason: dict[str, list[str]] = {}
    for place in places:
        by_reason.setdefault(place.note, []).append(place.task)
    return "; ".join(f"{enumerate_text(tasks)} ({reason})" for reason, tasks in by_reason.items()) or None


def side_title(grid: Grid, side: dict[str, Any], critics: Iterable[str]) -> str:
    """The title of a side of a comparison: its algorithm, with the critic in the gradient laboratory in brackets.

    `critics` are the critics with which the side was measured. The first of them is named, or else the claim's critic.
    """
    if side["algorithm"] is not None and side["algorithm"] not in grid.algorithms:
        return side["algorithm"]
    critic = next(iter(critics), side["critic"] or "none")
    kind = "gae" if side["algorithm"] is None else "algorithm"
    name, comma, of_critic = estimator_title(grid, {**side, "kind": kind, "critic": critic}).rpartition(", ")
    return f"{name} ({of_critic})" if critic != "none" else f"{name}{comma}{of_critic}"


def has_floor(found: Tested) -> bool:
    """Whether the effect cannot be below 0, which is so for a single side with values that cannot be below 0."""
    return found.metric.nonnegative and len(found.sides) == 1


def average(effects: list[Estimate], *, floor: bool) -> Estimate:
    """The mean of independent measurements with its interval (Zou & Donner, 2008).

    `floor` says that values cannot be below 0. Noise then makes their mean too large, so the lower end of the interval
    is the mean of the lower ends.
    """
    value, n = float(np.mean([effect.value for effect in effects])), len(effects)
    low = value - distance(*(below(effect) for effect in effects)) / n
    high = value + distance(*(above(effect) for effect in effects)) / n
    return Estimate(value, float(np.mean([effect.low for effect in effects])) if floor else low, high)


def below(effect: Estimate) -> float:
    """The distance from the value down to the end of the interval; NaN without an interval.

    It is 0 where the value was clipped and lies below the interval.
    """
    return max(effect.value - effect.low, 0.0) if np.isfinite(effect.low) else np.nan


def above(effect: Estimate) -> float:
    """The distance from the value up to the end of the interval, as `below`."""
    return max(effect.high - effect.value, 0.0) if np.isfinite(effect.high) else np.nan


def distance(*parts: float) -> float:
    """The square root of the sum of the squares."""
    return float(np.linalg.norm(parts))
