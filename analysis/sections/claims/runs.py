"""Claims about runs, tested on scores and learning curves."""

from typing import Any

import pandas as pd

from ...reading.grid import Grid
from ...words import enumerate_text
from .verdicts import Place, Tested, effect_of_runs, effect_over, side_title

LEARNING_STEPS = 100_000  # environment steps to which learning per step refers


def run_values(grid: Grid, scores: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """The table `scores` with three further columns that claims need.

    - `learning_per_step`: the normalised score per LEARNING_STEPS steps of the budget
    - `drop`: from the highest point of a run's normalised learning curve (moving average) down to its last point
    - `share_of_budget`: the steps to the threshold divided by the budget; 1 where the run did not reach the threshold
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
    """Test a comparison on `runs`, the table that `run_values` returns; the verdict is not yet set."""
    found = Tested(comparison, [side_title(grid, side, ()) for side in comparison["sides"]])
    found.figure = found.metric.figure
    tasks = grid.tasks if comparison["tasks"] == "all" else comparison["tasks"]
    found.places = [run_place(grid, found, task, runs[runs["task"] == task]) for task in tasks]
    if found.present:
        found.effect = effect_over(found, found.present)
    return found


def run_place(grid: Grid, found: Tested, task: str, runs: pd.DataFrame) -> Place:
    """The comparison on one task; `runs` has the rows of this task."""
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
    # Where no run reached the threshold, all count as the whole budget, so their difference of 0 says nothing.
    decides = not of_threshold or any(side["reached"].any() for side in sides)
    if not decides:
        notes.append(
            f"no run of {' or '.join(map(grid.title, names))} reached the threshold; all count as the whole budget"
        )
    effect = effect_of_runs([values], found.metric)
    n = tuple(map(len, values))
    return Place(task, effect, values, n=n, runs=min(n), note="; ".join(notes), decides=decides)


def not_controlled(grid: Grid, comparison: dict[str, Any], task: str) -> str:
    """Why a comparison on one task is not controlled, in words; empty where it is.

    A comparison with `differing_in` is controlled where its two sides differ in exactly these settings.
    """
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
