"""Claims about runs, tested on scores and learning curves."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from policy_gradient_ladder.experiments.metrics import SCALES, TRUE_METRICS, UNDER_METRICS

from ...reading.grid import Grid
from ...statistics.spread import has_spread
from ...words import enumerate_text
from .sides import (
    differ_in_evaluation,
    environment_of,
    evaluation_of,
    made_with,
    places_of,
    single,
    singles,
    task_at,
    title_of,
    titles,
)
from .verdicts import Place, Tested, effect_of_places, effect_over

LEARNING_STEPS = 100_000  # environment steps to which learning per step refers
CENSORED = {"steps_to_threshold": "reached", "evaluations_to_solution": "solved"}  # metric → column: whether it was
OF_MODE = {
    "normalized": "normalized_mode",
    "learning_per_step": "learning_per_step_mode",
}  # a column, by that of sampled


def run_values(
    grid: Grid, scores: pd.DataFrame, curves: pd.DataFrame, discoveries: pd.DataFrame, true_curves: pd.DataFrame
) -> pd.DataFrame:
    """The table `scores` with further columns that claims need.

    - `learning_per_step`, `learning_per_step_mode`: the normalised score per LEARNING_STEPS steps of the budget
    - `drop`: from the highest point of a run's normalised learning curve (moving average) down to its last point
    - `true_drop`: from the highest point of a run's true curve (moving average) down to its last point, in the unit of
      the true return; empty where the task reports no true reward, or the run diverged
    - `share_of_budget`: the steps to the threshold divided by the budget; 1 where the run did not reach the threshold
    - `solved`, `share_of_evaluations`, `best_score`: as in the table `discoveries`; NaN where its tasks are not
    """
    keys = ["task", "algorithm", "seed"]
    averages, true = (
        of.groupby(keys, sort=False)["moving_average"].agg(["max", "last"]).reset_index()
        for of in (curves, true_curves)
    )
    true["true_drop"] = true["max"] - true["last"]
    found = discoveries[[*keys, "solved", "share_of_evaluations", "best_score"]]
    runs = scores.merge(averages, on=keys, how="left").merge(true[[*keys, "true_drop"]], on=keys, how="left")
    runs = runs.merge(found, on=keys, how="left")
    scale = runs["task"].map({name: t["reference_score"] - t["random_score"] for name, t in grid.tasks.items()})
    return runs.assign(
        learning_per_step=runs["normalized"] * LEARNING_STEPS / runs["steps"],
        learning_per_step_mode=runs["normalized_mode"] * LEARNING_STEPS / runs["steps"],
        drop=(runs["max"] - runs["last"]) / scale.astype(float),
        true_drop=runs["true_drop"].astype(float).where(runs["status"] == "done"),
        share_of_budget=runs["steps_to_threshold"] / runs["steps"],
    )


def with_change(comparison: dict[str, Any], runs: pd.DataFrame, robustness: pd.DataFrame) -> pd.DataFrame:
    """`runs` with the columns `perturbed_score` and `perturbation_loss`, of the change that the comparison is about.

    They are empty where a run was not evaluated under this change, and absent where the comparison is about none.
    """
    for change, size in comparison.get("under", {}).items():
        of_change = robustness[(robustness["change"] == change) & (robustness["size"] == size)]
        columns = {"normalized": "perturbed_score", "loss": "perturbation_loss"}
        keys = ["task", "algorithm", "seed"]
        return runs.merge(of_change[[*keys, *columns]].rename(columns=columns), on=keys, how="left")
    return runs


def compare_runs(grid: Grid, comparison: dict[str, Any], runs: pd.DataFrame) -> Tested:
    """Test a comparison on `runs`, the table that `run_values` returns; the verdict is not yet set."""
    found = Tested(comparison, titles(grid, comparison))
    found.figure = found.metric.figure
    found.places = [held_place(grid, found, place, runs) for place in places_of(grid, comparison)]
    if found.present:
        found.effect = effect_over(found, found.present)
    return found


def held_place(grid: Grid, found: Tested, place: str, runs: pd.DataFrame) -> Place:
    """The comparison at one place; with `cost_at_most`, the best is one of those that hold this limit."""
    here = run_place(grid, found, place, runs)
    limited = [side for side in found.comparison["sides"] if "cost_at_most" in side]
    if not limited or here.effect is None:
        return here
    most, several = limited[0]["cost_at_most"], limited[0]["best_of"]
    costs = [mean_cost(grid, side, place, runs) for side in several]
    if np.isnan(costs).any():
        return Place(place, note="the task reports no costs there", lacking=True)
    holding = [side for side, cost in zip(several, costs, strict=True) if cost <= most]
    if not holding:
        said = f"none of them has a mean cost of at most {most:g}; the lowest is {min(costs):.3g}"
        return replace(here, effect=None, values=(), note=said)
    if len(holding) < len(several):
        sides = [side | {"best_of": holding} if side is limited[0] else side for side in found.comparison["sides"]]
        here = run_place(grid, replace(found, comparison=found.comparison | {"sides": sides}), place, runs)
        above = [title_of(grid, found.comparison, side) for side in several if side not in holding]
        here.note = "; ".join(filter(None, [here.note, f"left out for a higher cost: {enumerate_text(above)}"]))
    return here


def mean_cost(grid: Grid, side: dict[str, Any], place: str, runs: pd.DataFrame) -> float:
    """The mean over the runs of a single side of the cost of an episode; NaN where the task reports none."""
    of_side = runs[(runs["task"] == task_at(grid, side, place)) & (runs["algorithm"] == side["algorithm"])]
    return float(of_side["episode_cost"].mean())


def run_place(grid: Grid, found: Tested, place: str, runs: pd.DataFrame) -> Place:
    """The comparison at one place; `runs` has the rows of all tasks."""
    comparison, metric = found.comparison, found.comparison["metric"]
    of_threshold, censored = metric == "steps_to_threshold", CENSORED.get(metric)
    sides = singles(comparison)
    tasks = [task_at(grid, side, place) for side in sides]
    if absent := [side for side, task in zip(sides, tasks, strict=True) if task is None]:
        return Place(place, note=no_task(grid, comparison, absent), lacking=True)
    if of_threshold and any(grid.tasks[task]["threshold"] is None for task in tasks):
        return Place(place, note="the grid gives no threshold there", lacking=True)
    if note := not_on_one_scale(grid, comparison, tasks) or not_controlled(grid, comparison, tasks):
        return Place(place, note=note, lacking=True)
    names = [title_of(grid, comparison, side) for side in sides]
    rows = [
        runs[(runs["task"] == task) & (runs["algorithm"] == side["algorithm"])]
        for side, task in zip(sides, tasks, strict=True)
    ]
    not_run = [
        name
        for name, side, task in zip(names, sides, tasks, strict=True)
        if not grid.requested(task, side["algorithm"])
    ]
    if not_run:
        return Place(place, note=f"the grid does not run {enumerate_text(not_run)} there", lacking=True)
    if without := [name for name, of in zip(names, rows, strict=True) if of.empty]:
        return Place(place, note=f"no finished run of {enumerate_text(without)}", lacking=True)
    columns = [OF_MODE[found.metric.column] if evaluation_of(side) == "mode" else found.metric.column for side in sides]
    values = tuple(of[column].to_numpy(dtype=float) for of, column in zip(rows, columns, strict=True))
    if without := [name for name, of in zip(names, values, strict=True) if np.isnan(of).any()]:
        of_metric = {"episode_spread": "two evaluation episodes of each run", "episode_cost": "costs"}
        of_metric |= dict.fromkeys(TRUE_METRICS, "true returns")
        of_metric |= dict.fromkeys(
            ("solved", "evaluations_to_solution", "best_score"), "return that counts as a solution"
        )
        of_metric |= dict.fromkeys(UNDER_METRICS, "evaluation under the change")
        what = of_metric.get(metric, "evaluation with the mode action")
        return Place(place, note=f"no {what} of {enumerate_text(without)}", lacking=True)
    short = [
        f"{name} {len(of)} of {asked}"
        for name, of, side, task in zip(names, rows, sides, tasks, strict=True)
        if len(of) < (asked := len(grid.requested(task, side["algorithm"])))
    ]
    notes = [f"fewer runs than asked for ({enumerate_text(dict.fromkeys(short))})"] if short else []
    # Where no run reached the threshold, all count as the whole budget, so their difference of 0 says nothing.
    decides = censored is None or any(of[censored].any() for of in rows)
    if not decides:
        what = "reached the threshold" if of_threshold else "found a solution"
        notes.append(f"no run of {' or '.join(names)} {what}; all count as the whole budget")
    counts = iter(map(len, values))
    environment = environment_of(grid, tasks[0])
    n = tuple(min(next(counts) for _ in single(side)) for side in comparison["sides"])
    if metric == "spread" and not has_spread(*values):
        alike = [name for name, of in zip(names, values, strict=True) if not has_spread(of)]
        notes.append(f"the runs of {enumerate_text(alike)} all end alike, so there is no ratio")
        return Place(place, n=n, runs=min(n), environment=environment, note="; ".join(notes))
    if differ_in_evaluation(comparison) and not found.metric.ratio:
        values = (values[0] - values[1],)
    here = Place(place, values=values, n=n, runs=min(n), environment=environment, decides=decides)
    here.effect = effect_of_places(found, [here])
    here.note = "; ".join([*notes, *best_note(found, here, names)])
    return here


def no_task(grid: Grid, comparison: dict[str, Any], absent: list[dict[str, Any]]) -> str:
    """Which sides have no task at a place, in words."""
    if all("on" not in side for side in absent):
        return "not a task of the grid"
    return f"the grid has no such task for {enumerate_text(title_of(grid, comparison, side) for side in absent)}"


def best_note(found: Tested, place: Place, names: list[str]) -> list[str]:
    """Which of several sides is the best at a place, in words; nothing where no side is the best of several."""
    several = [number for number, side in enumerate(found.comparison["sides"]) if "best_of" in side]
    if not several:
        return []
    start = several[0]  # the other side is a single one
    of = [number for number in range(start, len(names) if start else len(names) - 1)]
    best = max(of, key=lambda number: float(place.values[number].mean()))
    return [f"best: {names[best]}"]


def not_on_one_scale(grid: Grid, comparison: dict[str, Any], tasks: list[str]) -> str:
    """Why scores on several tasks cannot be compared, in words; empty where they can."""
    keys = ("random_score", "reference_score", *SCALES.get(comparison["metric"], ()))
    for task in tasks[1:]:
        for key in keys:
            values = [grid.tasks[name].get(key, np.nan) for name in (tasks[0], task)]
            if values[0] != values[1]:
                return f"the {key} of {tasks[0]} is {values[0]:g}, and that of {task} {values[1]:g}: no common scale"
    steps = sorted({grid.tasks[task]["steps"] for task in tasks})
    if len(steps) > 1 and "steps" not in comparison["differing_in"]:
        return f"runs of {steps[0]:,} and of {steps[-1]:,} steps"
    return ""


def not_controlled(grid: Grid, comparison: dict[str, Any], tasks: list[str]) -> str:
    """Why a comparison on the tasks of its sides is not controlled, in words; empty where it is.

    A comparison with `differing_in` is controlled where its two sides differ in exactly these settings and keys of
    their tasks. Where a side is the best of several, this is asked of each of them.
    """
    if not comparison["differing_in"] or len(comparison["sides"]) < 2:
        return ""
    count = len(single(comparison["sides"][0]))
    first, second = (
        list(zip(singles(comparison), tasks, strict=True))[part] for part in (slice(count), slice(count, None))
    )
    for one in first:
        for other in second:
            if note := pair_not_controlled(grid, comparison["differing_in"], one, other):
                return note
    return ""


def pair_not_controlled(grid: Grid, allowed: list[str], *pair: tuple[dict[str, Any], str]) -> str:
    """The same for two single sides, each with its task."""
    requested = [grid.requested(task, side["algorithm"]) for side, task in pair]
    if not all(requested):
        return ""
    settings = [
        {**cells[0]["settings"], **made_with(grid, task)} for cells, (_, task) in zip(requested, pair, strict=True)
    ]
    differing = [name for name in {**settings[0], **settings[1]} if settings[0].get(name) != settings[1].get(name)]
    if further := [name for name in differing if name not in allowed]:
        return f"the two sides also differ in {enumerate_text(further)}"
    if same := [name for name in allowed if name not in differing]:
        return f"the two sides do not differ in {enumerate_text(same)}"
    return ""
