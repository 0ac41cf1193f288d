"""Claims about gradients, tested on the tables of the gradient laboratory."""

from typing import Any

import numpy as np
import pandas as pd

from ...reading.grid import Grid
from ...statistics.gradients import Estimate
from ...words import enumerate_text
from ..laboratory.tables import PROBE, as_trained
from .verdicts import (
    Place,
    Tested,
    above,
    average,
    below,
    distance,
    effect_over,
    furthest,
    has_floor,
    side_title,
)

WITHOUT_CRITIC = ("none", "compatible")  # entries of the column `critic` that a claim cannot ask for


def compare_gradients(grid: Grid, comparison: dict[str, Any], gradients: pd.DataFrame) -> Tested:
    """Test a comparison on `gradients`, the table of the gradient laboratory; the verdict is not yet set."""
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
        place.asked, place.exact = len(probes), all(probe["exact"] for probe in probes) and len(probes) > 0
        found.places.append(place)
    if found.present:
        found.effect = effect_over(found, found.present)
    return found


def figure_of(found: Tested, exact: bool) -> str | None:
    """The name of the figure that shows the comparison; None where no figure shows it."""
    if exact:
        return "exact_problems"
    if any(side["gae_lambda"] is not None for side in found.comparison["sides"]):
        return "gradient_bias_variance"
    return found.metric.figure


def wanted(comparison: dict[str, Any], probe: dict[str, Any]) -> bool:
    """Whether the comparison is about the frozen policy of this probe of the grid.

    The policies of exact problems are not trained, so `from_fraction` does not apply to them.
    """
    of_task = {"all": not probe["exact"], "exact": probe["exact"]}
    chosen = comparison["tasks"]
    here = of_task[chosen] if isinstance(chosen, str) else probe["task"] in chosen
    return here and (probe["exact"] or probe["fraction"] >= comparison["from_fraction"])


def side_rows(comparison: dict[str, Any], side: dict[str, Any], table: pd.DataFrame) -> pd.DataFrame:
    """The rows of one side of a comparison.

    `table` has the rows of `gradients` at the policies that the comparison is about. Cosines are those of the
    advantages with which the algorithms train; variance and bias are those of raw advantages.
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
    """Why a task has no policy at which both sides were measured, in words.

    `rows` are the measurements of each side, `measured` are the measurements of all estimators on the task.
    """
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
    """The comparison at the frozen policies of one task.

    `rows` has the measurements of both sides side by side, as `effect_at` reads them.
    """
    effects, runs = [], []
    for (_, *run, _), policy in rows.groupby(PROBE, sort=False):
        several = [effect_at(found, row) for _, row in policy.iterrows()]  # one for each γ, all from the same batches
        effects.append(Estimate(*np.mean([[e.value, e.low, e.high] for e in several], axis=0)))
        runs.append(tuple(run))
    known = [effect for effect in effects if np.isfinite(effect.value)]
    unknown = "there is no variance" if found.metric.ratio else "the true gradient cannot be told from noise"
    if not known:
        return Place(task, runs=len(set(runs)), note=unknown)
    of_known = {run for run, effect in zip(runs, effects, strict=True) if np.isfinite(effect.value)}
    left = len(effects) - len(known)
    note = f"{left} of {len(effects)} policies left out, where {unknown}" if left else ""
    effect = furthest(found, known) if found.equality else over_runs(effects, runs, floor=has_floor(found))
    n = (len(known),) * len(found.sides)
    return Place(task, effect, policies=known, n=n, runs=len(of_known), note=note)


def over_runs(effects: list[Estimate], runs: list[tuple], *, floor: bool) -> Estimate:
    """The mean over runs of the mean over each run's frozen policies, of those effects that are known.

    So a run weighs no more for having more policies at which the effect is known. `runs` says whose policy each effect
    is of; `floor` is as for `average`.
    """
    of_run: dict[tuple, list[Estimate]] = {}
    for effect, run in zip(effects, runs, strict=True):
        if np.isfinite(effect.value):
            of_run.setdefault(run, []).append(effect)
    return average([average(of, floor=floor) for of in of_run.values()], floor=floor)


def effect_at(found: Tested, row: pd.Series) -> Estimate:
    """The effect at one frozen policy: the value of a single side, or the difference of two sides.

    For a metric that is a ratio, these are the logarithm and the difference of logarithms. `row` has the columns of the
    metric; those of the second side end in " of second".
    """
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
