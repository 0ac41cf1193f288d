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
import pandas as pd

from analysis import statistics
from analysis.findings import enumerate_text
from analysis.gradient_statistics import FEWEST_BATCHES, Estimate
from analysis.laboratory import PROBE, as_trained, estimator_title
from analysis.results import TABLES, Grid, ResultsError, valid_choices

SUPPORTED, CONTRADICTED, UNDECIDED, UNTESTABLE = "supported", "contradicted", "undecided", "cannot be tested"
VERDICTS = (SUPPORTED, CONTRADICTED, UNDECIDED, UNTESTABLE)
WITHOUT_CRITIC = ("none", "compatible")
LEARNING_STEPS = 100_000  # that learning per step is given for


@dataclass(frozen=True)
class Metric:
    """What a comparison measures: the column it stands in, and what its effect is."""

    column: str
    of_runs: bool
    ratio: bool = False  # the effect is the ratio of the sides, of one side its value; else their difference
    nonnegative: bool = False  # a value cannot be below 0, so that noise makes it too large
    figure: str | None = None  # that shows it
    largest: float = np.inf  # that an effect can be, either way


METRICS = {
    "final_score": Metric("normalized", True, figure="final_scores"),
    "auc": Metric("normalized_auc", True, figure="sample_efficiency"),
    "learning_per_step": Metric("learning_per_step", True, figure="learning_curves"),
    "drop": Metric("drop", True, figure="learning_curves"),
    "steps_to_threshold": Metric("share_of_budget", True, largest=1.0),
    "variance": Metric("ratio", False, ratio=True, figure="gradient_variance"),
    "relative_bias": Metric("relative_bias", False, nonnegative=True),
    "bias_squared": Metric("share_of_length", False, nonnegative=True),
    "cosine": Metric("true_cosine", False, figure="gradient_direction"),
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


# ---------------------------------------------------------------------------------------------- tables


def claim_tables(
    grid: Grid, scores: pd.DataFrame, curves: pd.DataFrame, gradients: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """claims: a row per claim and comparison. claim_tasks: a row per claim, comparison and task."""
    check_metrics(grid)
    runs = run_values(grid, scores, curves)
    rows: dict[str, list[dict[str, Any]]] = {"claims": [], "claim_tasks": []}
    for claim in grid.claims:
        tested = [compare(grid, comparison, runs, gradients) for comparison in claim["comparisons"]]
        verdict = verdict_of_all([found.verdict for found in tested], claim["rule"])
        about = {name: claim[name] for name in ("statement", "source", "rule")}
        for number, found in enumerate(tested, start=1):
            key = {"claim": claim["id"], "comparison": number}
            rows["claims"].append({**key, **about, "claim_verdict": verdict, **comparison_row(found)})
            rows["claim_tasks"] += [{**key, **place_row(found, place)} for place in found.places]
    return {name: pd.DataFrame(found, columns=list(TABLES[name])) for name, found in rows.items()}


def check_metrics(grid: Grid) -> None:
    for claim in grid.claims:
        for number, comparison in enumerate(claim["comparisons"], start=1):
            if comparison["metric"] not in METRICS:
                raise ResultsError(
                    f"{grid.folder / 'grid.json'}: comparison {number} of claim {claim['id']} has the metric "
                    f"{comparison['metric']!r}; valid are {valid_choices(comparison['metric'], METRICS)}."
                )


def comparison_row(found: Tested) -> dict[str, Any]:
    """What a comparison asks and what came out, without its key."""
    low, high = region(found.comparison, found.metric)
    counts = [sum(counts) for counts in zip(*(place.n for place in found.present), strict=True)] or [0, 0]
    policies = [shown(policy, found).value for place in found.present for policy in place.policies]
    furthest = [place.task for place in found.present if place.effect is found.effect]
    return {
        **{name: found.comparison[name] for name in ("metric", "direction", "smallest_effect")},
        **dict(zip(("first", "second"), found.sides, strict=False)),
        "scale": "ratio" if found.metric.ratio else "difference",
        "claimed_low": low if np.isfinite(low) else np.nan,
        "claimed_high": high if np.isfinite(high) else np.nan,
        **ends(shown(found.effect, found)),
        "furthest": furthest[0] if furthest and len(found.present) > 1 else None,
        "least": min(policies, default=np.nan),
        "most": max(policies, default=np.nan),
        "tasks": len(found.present),
        "unit": "runs" if found.metric.of_runs else "policies",
        **dict(zip(("n_first", "n_second"), counts, strict=False)),
        "asked": np.nan if found.metric.of_runs else sum(place.asked for place in found.places),
        "verdict": found.verdict,
        "reason": found.reason or None,
        "against": " ".join(found.against) or None,
        "rests_on": " ".join(found.rests_on) or None,
        "left_out": left_out([place for place in found.places if place.effect is None]) if found.present else None,
        "figure": found.figure,
    }


def place_row(found: Tested, place: Place) -> dict[str, Any]:
    """A comparison on one task, without its key; its verdict is what its own interval says."""
    row = {"task": place.task, "note": place.note or None}
    if place.effect is None:
        return {**row, "verdict": UNTESTABLE if place.lacking else UNDECIDED}
    effect = shown(place.effect, found)
    counts = dict(zip(("n_first", "n_second"), place.n, strict=False))
    verdict = verdict_of(effect, *region(found.comparison, found.metric)) if place.decides else UNDECIDED
    without = ends(shown(found.without[place.task], found), "without") if place.task in found.without else {}
    return {**row, **ends(effect), **without, **counts, "verdict": verdict}


def shown(effect: Estimate, found: Tested) -> Estimate:
    """The effect as it is reported: a ratio itself, not its logarithm."""
    if not found.metric.ratio:
        return effect
    return Estimate(*(float(np.exp(value)) for value in (effect.value, effect.low, effect.high)))


def ends(effect: Estimate, name: str = "") -> dict[str, float]:
    """The columns of an effect: `name`, and of its interval."""
    named = (name, f"{name}_low", f"{name}_high") if name else ("effect", "low", "high")
    return dict(zip(named, (effect.value, effect.low, effect.high), strict=True))


# -------------------------------------------------------------------------------------------- verdicts


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
        return possible(welch_over_tasks([place.values for place in places]), found.metric)
    return average([place.effect for place in places], floor=has_floor(found))


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


# --------------------------------------------------------------------------------------------- compare


def compare(grid: Grid, comparison: dict[str, Any], runs: pd.DataFrame, gradients: pd.DataFrame) -> Tested:
    """One comparison on what has been run and measured."""
    named = [side["algorithm"] for side in comparison["sides"]]
    absent = [name for name in named if name is not None and name not in grid.algorithms]
    if absent:
        titles = [side_title(grid, side, ()) for side in comparison["sides"]]
        return Tested(comparison, titles, reason=f"the grid has no algorithm {enumerate_text(absent)}")
    if METRICS[comparison["metric"]].of_runs:
        return judge(compare_runs(grid, comparison, runs))
    return judge(compare_gradients(grid, comparison, gradients))


def side_title(grid: Grid, side: dict[str, Any], critics: Iterable[str]) -> str:
    """An algorithm's title, with the critic that it was measured with in the gradient laboratory."""
    if side["algorithm"] is not None and side["algorithm"] not in grid.algorithms:
        return side["algorithm"]
    critic = next(iter(critics), side["critic"] or "none")
    kind = "gae" if side["algorithm"] is None else "algorithm"
    name, comma, of_critic = estimator_title(grid, {**side, "kind": kind, "critic": critic}).rpartition(", ")
    return f"{name} ({of_critic})" if critic != "none" else f"{name}{comma}{of_critic}"


# ------------------------------------------------------------------------------------------------ runs


def run_values(grid: Grid, scores: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """scores with what claims need besides. drop: from the highest point of a run's normalised learning curve (moving
    average) to its last; share_of_budget: steps to threshold of all steps, 1 for a run that did not get there.
    """
    keys = ["task", "algorithm", "seed"]
    averages = curves.groupby(keys, sort=False)["moving_average"].agg(["max", "last"]).reset_index()
    runs = scores.merge(averages, on=keys, how="left")
    scale = runs["task"].map({name: t["reference_score"] - t["random_score"] for name, t in grid.tasks.items()})
    return runs.assign(
        learning_per_step=runs["normalized"] * LEARNING_STEPS / runs["steps"],
        drop=(runs["max"] - runs["last"]) / scale.astype(float),
        share_of_budget=runs["steps_to_threshold"] / runs["steps"],
    )


def compare_runs(grid: Grid, comparison: dict[str, Any], runs: pd.DataFrame) -> Tested:
    found = Tested(comparison, [side_title(grid, side, ()) for side in comparison["sides"]])
    found.figure = found.metric.figure
    tasks = grid.tasks if comparison["tasks"] == "all" else comparison["tasks"]
    found.places = [run_place(grid, found, task, runs[runs["task"] == task]) for task in tasks]
    if found.present:
        found.effect = effect_over(found, found.present)
    return found


def run_place(grid: Grid, found: Tested, task: str, runs: pd.DataFrame) -> Place:
    """The comparison on one task, from its runs."""
    names = [side["algorithm"] for side in found.comparison["sides"]]
    if task not in grid.tasks:
        return Place(task, note="not a task of the grid", lacking=True)
    of_threshold = found.comparison["metric"] == "steps_to_threshold"
    if of_threshold and grid.tasks[task]["threshold"] is None:
        return Place(task, note="the grid gives it no threshold", lacking=True)
    if note := not_controlled(grid, found.comparison, task):
        return Place(task, note=note, lacking=True)
    sides = [runs[runs["algorithm"] == name] for name in names]
    if without := [grid.title(name) for name, side in zip(names, sides, strict=True) if side.empty]:
        return Place(task, note=f"no finished run of {enumerate_text(without)}", lacking=True)
    values = tuple(side[found.metric.column].to_numpy(dtype=float) for side in sides)
    short = [
        f"{grid.title(name)} {len(side)} of {asked}"
        for name, side in zip(names, sides, strict=True)
        if len(side) < (asked := len(grid.requested(task, name)))
    ]
    notes = [f"fewer runs than asked for ({enumerate_text(short)})"] if short else []
    # Where all runs count as the whole budget, their difference of 0 is no finding.
    decides = not of_threshold or any(side["reached"].any() for side in sides)
    if not decides:
        notes.append(
            f"no run of {' or '.join(map(grid.title, names))} reached the threshold; all count as the whole budget"
        )
    effect = possible(welch_over_tasks([values]), found.metric)
    return Place(task, effect, values, n=tuple(map(len, values)), note="; ".join(notes), decides=decides)


def not_controlled(grid: Grid, comparison: dict[str, Any], task: str) -> str:
    """What is wrong with a comparison of two sides that must differ in certain settings alone, on one task."""
    allowed = comparison["differing_in"]
    if not allowed or len(comparison["sides"]) < 2:
        return ""
    first, second = (grid.requested(task, side["algorithm"]) for side in comparison["sides"])
    if not first or not second:
        return ""
    settings = first[0]["settings"], second[0]["settings"]
    differing = [name for name in {**settings[0], **settings[1]} if settings[0].get(name) != settings[1].get(name)]
    if further := [name for name in differing if name not in allowed]:
        return f"the two sides also differ in {enumerate_text(further)}"
    if same := [name for name in allowed if name not in differing]:
        return f"the two sides do not differ in {enumerate_text(same)}"
    return ""


def welch_over_tasks(tasks: list[tuple[np.ndarray, ...]]) -> Estimate:
    """Mean over tasks of the difference of the means of both sides' runs ([n], [m]), or of one side's mean ([n],).

    Welch's interval with Satterthwaite's degrees of freedom over all sides of all tasks; none with a single run.
    """
    effects = [values[0].mean() - (values[1].mean() if len(values) > 1 else 0.0) for values in tasks]
    effect = float(np.mean(effects))
    samples = [sample for values in tasks for sample in values]
    if min(map(len, samples)) < 2:
        return Estimate(effect)
    sizes = np.array([len(sample) for sample in samples])
    errors = np.array([sample.var(ddof=1) for sample in samples]) / sizes / len(tasks) ** 2
    low, high = statistics.interval_of_sum(effect, errors, sizes)
    return Estimate(effect, float(low), float(high))


# --------------------------------------------------------------------------------- gradient laboratory


def compare_gradients(grid: Grid, comparison: dict[str, Any], gradients: pd.DataFrame) -> Tested:
    asked = [probe for probe in grid.probes if wanted(comparison, probe)]
    about = {tuple(probe[name] for name in PROBE) for probe in asked}
    here = [place in about for place in gradients[PROBE].itertuples(index=False, name=None)]
    main = gradients[(gradients["main"] == 1).to_numpy() & np.array(here, dtype=bool)]
    rows = [side_rows(comparison, side, main) for side in comparison["sides"]]
    titles = [side_title(grid, side, of["critic"].unique()) for side, of in zip(comparison["sides"], rows, strict=True)]
    found = Tested(comparison, titles)
    exact = comparison["tasks"] == "exact" or any(probe["exact"] for probe in asked)
    found.figure = figure_of(found, exact)
    named = [] if isinstance(comparison["tasks"], str) else comparison["tasks"]
    tasks = list(dict.fromkeys([*named, *(probe["task"] for probe in asked)]))
    if not tasks:
        what = "exact problems" if exact else "its tasks"
        found.reason = f"the grid has no frozen policies (probes) of {what}"
        return found
    keys = [*PROBE, "gamma"] if any(side["gae_lambda"] is not None for side in comparison["sides"]) else PROBE
    pairs = rows[0] if len(rows) == 1 else rows[0].merge(rows[1], on=keys, suffixes=("", " of second"))
    for task in tasks:
        probes = [probe for probe in asked if probe["task"] == task]
        measured = gradients[gradients["task"] == task]
        here = pairs[pairs["task"] == task]
        if not probes:
            place = Place(task, note="the grid has no frozen policies (probes) of it", lacking=True)
        elif here.empty:
            place = Place(task, note=what_was_not_measured(found, rows, measured), lacking=True)
        else:
            place = gradient_place(found, task, here)
        place.asked = len(probes)
        found.places.append(place)
    if found.present:
        found.effect = effect_over(found, found.present)
    return found


def figure_of(found: Tested, exact: bool) -> str | None:
    """The figure that shows what is compared; a table does where there is none."""
    if exact:
        return "exact_problems"
    if any(side["gae_lambda"] is not None for side in found.comparison["sides"]):
        return "gradient_bias_variance"
    return found.metric.figure


def wanted(comparison: dict[str, Any], probe: dict[str, Any]) -> bool:
    """Whether the comparison is about this frozen policy; what was not trained has no share of training."""
    of_task = {"all": not probe["exact"], "exact": probe["exact"]}
    chosen = comparison["tasks"]
    here = of_task[chosen] if isinstance(chosen, str) else probe["task"] in chosen
    return here and (probe["exact"] or probe["fraction"] >= comparison["from_fraction"])


def side_rows(comparison: dict[str, Any], side: dict[str, Any], table: pd.DataFrame) -> pd.DataFrame:
    """The measurements of one side, from those at the policies that the comparison is about.

    Cosines are those of the advantages as algorithms train with them; variance and bias are those of raw ones.
    """
    if side["algorithm"] is None:
        table = table[(table["kind"] == "gae") & np.isclose(table["gae_lambda"].astype(float), side["gae_lambda"])]
    else:
        trains = as_trained(table) if comparison["metric"] == "cosine" else table[table["advantages"] == "raw"]
        table = trains[(trains["kind"] == "algorithm") & (trains["algorithm"] == side["algorithm"])]
    critic = np.where(table["exact"] == 1, "exact", "trained") if side["critic"] is None else side["critic"]
    table = table[(table["critic"] == "none") | (table["critic"] == critic)]
    share = table["bias_squared"] / table["reference_norm_squared"]
    return table.assign(
        share_of_length=share.where(table["relative_bias"].notna()),
        share_of_length_low=table["relative_bias_low"] ** 2,
        share_of_length_high=table["relative_bias_high"] ** 2,
    )


def what_was_not_measured(found: Tested, rows: list[pd.DataFrame], measured: pd.DataFrame) -> str:
    """Why a task has no policy at which both sides were measured."""
    if measured.empty:
        return "none of its frozen policies has been measured yet"
    for side, title, of in zip(found.comparison["sides"], found.sides, rows, strict=True):
        if of[of["task"] == measured["task"].iloc[0]].empty:
            lambdas = sorted(measured.loc[measured["kind"] == "gae", "gae_lambda"].astype(float).unique())
            if side["gae_lambda"] is not None and not np.isclose(lambdas, side["gae_lambda"]).any():
                known = ", ".join(f"{value:g}" for value in lambdas) or "none"
                return f"λ = {side['gae_lambda']:g} was not measured there, of λ there is {known}"
            critics = [name for name in measured["critic"].unique() if name not in WITHOUT_CRITIC]
            return (
                f"{title} was not measured there, of critics there is {enumerate_text(critics) if critics else 'none'}"
            )
    return "the two sides were not measured at the same policies"


def gradient_place(found: Tested, task: str, rows: pd.DataFrame) -> Place:
    """The comparison at the frozen policies of one task."""
    effects = []
    for _, policy in rows.groupby(PROBE, sort=False):
        several = [effect_at(found, row) for _, row in policy.iterrows()]  # one per γ, from the same batches
        effects.append(Estimate(*np.mean([[e.value, e.low, e.high] for e in several], axis=0)))
    known = [effect for effect in effects if np.isfinite(effect.value)]
    unknown = "there is no variance" if found.metric.ratio else "the true gradient cannot be told from noise"
    if not known:
        return Place(task, note=unknown)
    left = len(effects) - len(known)
    note = f"{left} of {len(effects)} policies left out, where {unknown}" if left else ""
    effect = furthest(found, known) if found.equality else average(known, floor=has_floor(found))
    return Place(task, effect, policies=known, n=(len(known),) * len(found.sides), note=note)


def has_floor(found: Tested) -> bool:
    """Whether the effect itself, and not only either side, cannot be below 0."""
    return found.metric.nonnegative and len(found.sides) == 1


def effect_at(found: Tested, row: pd.Series) -> Estimate:
    """Of one frozen policy: the value of a single side, or the difference of two; of logarithms for a ratio."""
    sides = []
    for suffix in ("", " of second")[: len(found.sides)]:
        ends = [float(row[f"{found.metric.column}{end}{suffix}"]) for end in ("", "_low", "_high")]
        if found.metric.ratio:
            ends = [float(np.log(end)) if end > 0 else np.nan for end in ends]
        sides.append(Estimate(*ends))
    if len(sides) == 1:
        return sides[0]
    first, second = sides
    value = first.value - second.value
    return Estimate(value, value - distance(below(first), above(second)), value + distance(above(first), below(second)))


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
