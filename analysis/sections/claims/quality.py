"""Claims about the quality of gradient estimates, tested on the tables `quality` and `value_quality`."""

from typing import Any

import pandas as pd

from ...reading.grid import Grid
from ...words import enumerate_text, percents, plural
from ..laboratory.tables import PROBE
from ..quality.words import TARGETS, VALUE_FUNCTIONS
from .gradients import gradient_place
from .verdicts import Estimate, Place, Tested, effect_of_runs, effect_over, side_title

DESCRIBED = ("fraction", "pairs", "value_function", "against")  # keys of a side that are columns of the tables


def compare_quality(grid: Grid, comparison: dict[str, Any], table: pd.DataFrame) -> Tested:
    """Test a comparison on `quality`, or on `value_quality` where the metric is the error of value functions.

    The verdict is not yet set.
    """
    sides = comparison["sides"]
    found = Tested(comparison, [quality_title(grid, comparison, side) for side in sides])
    found.figure = figure_of(found)
    asked = asked_policies(grid, comparison)
    named = [] if isinstance(comparison["tasks"], str) else comparison["tasks"]
    tasks = list(dict.fromkeys([*named, *(probe["task"] for probe in asked)]))
    if not tasks:
        found.reason = f"the grid has no probes of the quality of estimates of {grid.title(sides[0]['algorithm'])}"
        return found
    rows = [side_rows(comparison, side, table) for side in sides]
    # Sides at different fractions of training are compared within a run, all others within a policy.
    keys = PROBE if fraction_of(comparison) is None else [name for name in PROBE if name != "fraction"]
    pairs = rows[0] if len(rows) == 1 else rows[0].merge(rows[1], on=keys, suffixes=("", " of second"))
    for task in tasks:
        probes = [probe for probe in asked if probe["task"] == task]
        here = pairs[pairs["task"] == task]
        if not probes:
            place = Place(task, note="the grid has no such probes of it", lacking=True)
        elif here.empty:
            place = Place(task, note=what_is_lacking(found, rows, table, task), lacking=True)
        elif comparison["metric"] == "value_error":
            place = value_place(found, task, here)
        else:
            place = gradient_place(found, task, here)
        place.asked = len(probes)
        found.places.append(place)
    if found.present:
        found.effect = effect_over(found, found.present)
    return found


def fraction_of(comparison: dict[str, Any]) -> float | None:
    """The share of training that the first side names; None where the sides are at all that there are."""
    return comparison["sides"][0].get("fraction")


def asked_policies(grid: Grid, comparison: dict[str, Any]) -> list[dict[str, Any]]:
    """The grid's probes of the first side; where a side names its share of training, of that share alone."""
    (algorithm,) = {side["algorithm"] for side in comparison["sides"]}
    fraction, tasks = fraction_of(comparison), comparison["tasks"]
    return [
        probe
        for probe in grid.quality_probes
        if probe["source"] == algorithm
        and (isinstance(tasks, str) or probe["task"] in tasks)
        and (probe["fraction"] >= comparison["from_fraction"] if fraction is None else probe["fraction"] == fraction)
    ]


def side_rows(comparison: dict[str, Any], side: dict[str, Any], table: pd.DataFrame) -> pd.DataFrame:
    """The rows of one side of a comparison, of all tasks."""
    side = {"value_function": "trained", **side}
    table = table[(table["source"] == side["algorithm"]) & (table["fraction"] >= comparison["from_fraction"])]
    if not isinstance(comparison["tasks"], str):
        table = table[table["task"].isin(comparison["tasks"])]
    for key in DESCRIBED:
        if key in side:
            table = table[table[key] == side[key]]
    return table


def what_is_lacking(found: Tested, rows: list[pd.DataFrame], table: pd.DataFrame, task: str) -> str:
    """Why a task has no policy at which both sides were measured, in words."""
    measured = table[(table["task"] == task) & (table["source"] == found.comparison["sides"][0]["algorithm"])]
    if measured.empty:
        return "none of its frozen policies has been measured yet"
    for side, title, of in zip(found.comparison["sides"], found.sides, rows, strict=True):
        if of[of["task"] == task].empty:
            for key in DESCRIBED:
                if key in side and side[key] not in list(measured[key]):
                    known = enumerate_text(
                        f"{value:,}" if key == "pairs" else str(value) for value in measured[key].unique()
                    )
                    return f"{title} was not measured there: of {key.replace('_', ' ')} there is {known}"
            return f"{title} was not measured there"
    return "the two sides were not measured at the same policies"


def value_place(found: Tested, task: str, rows: pd.DataFrame) -> Place:
    """A comparison of the errors of value functions on one task: the effect is a mean over runs, with Student's t.

    At a single policy such an error has no interval, so what counts is how much it differs from run to run.
    """
    column = found.metric.column
    effect = rows[column].astype(float)
    if len(found.sides) > 1:
        effect = effect - rows[f"{column} of second"].astype(float)
    known = rows.assign(effect=effect).dropna(subset=["effect"])
    if known.empty:
        return Place(task, note="an error of a value function is not known there")
    of_runs = known.groupby("seed")["effect"].mean().to_numpy()
    policies = [Estimate(value) for value in known["effect"]]
    n = (len(known),) * len(found.sides)
    return Place(task, effect_of_runs([(of_runs,)], found.metric), policies=policies, n=n, runs=len(of_runs))


def figure_of(found: Tested) -> str | None:
    """The name of the figure that shows the comparison."""
    sides = found.comparison["sides"]
    if found.comparison["metric"] == "pairwise_cosine":
        if len({side.get("value_function", "trained") for side in sides}) > 1:
            return "quality_baselines"
        if len({side.get("fraction") for side in sides}) > 1:
            return "quality_training"
    return found.metric.figure


def quality_title(grid: Grid, comparison: dict[str, Any], side: dict[str, Any]) -> str:
    """The title of a side, in brackets what tells it from the other: PPO (3,000 pairs, fitted value function)."""
    said = [plural(side["pairs"], "pair")] if "pairs" in side else []
    functions = {one.get("value_function", "trained") for one in comparison["sides"]}
    if functions != {"trained"} or "pairs" not in side or comparison["metric"] == "gradient_variance":
        own = side.get("value_function", "trained")
        said.append("no value function" if own == "none" else VALUE_FUNCTIONS[own])
    if "against" in side:
        said.append(f"against {TARGETS[side['against']]}")
    if "fraction" in side:
        said.append(f"at {percents(side['fraction'])} of training")
    return f"{side_title(grid, side, ())} ({', '.join(said)})"


def quality_policies_text(grid: Grid, asked: dict[str, Any], row: pd.Series) -> str:
    """How many frozen policies the comparison is over, of how many, and from how many runs they are."""
    probes = asked_policies(grid, asked)
    n, total = int(row["n_first"]), int(row["asked"])
    of = f"{n} of " if n < total else ""
    tasks = list(dict.fromkeys(probe["task"] for probe in probes))
    runs = [len({probe["seed"] for probe in probes if probe["task"] == task}) for task in tasks]
    several = plural(max(runs), "run") if min(runs) == max(runs) else f"{min(runs)} to {max(runs)} runs"
    where = f"{'each of ' if len(tasks) > 1 else ''}{plural(len(tasks), 'task')}"
    left_out = {probe["fraction"] for probe in grid.quality_probes} - {probe["fraction"] for probe in probes}
    since = "untrained" if left_out == {0} else f"before {percents(asked['from_fraction'])} of training"
    none = f" (none {since})" if left_out and fraction_of(asked) is None else ""
    if len({side.get("fraction") for side in asked["sides"]}) > 1:
        return f"{of}{plural(total, 'run')}, each at two shares of training: {several} on {where}"
    return f"{of}{total} frozen polic{'y' if total == 1 else 'ies'}{none} of {several} on {where}"
