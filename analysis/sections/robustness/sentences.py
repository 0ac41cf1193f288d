"""What the page says of returns under changes."""

from typing import Any

import pandas as pd

from ...reading.grid import Grid
from ...words import enumerate_text, fixed, short_name

WORDS = {
    "mass": "mass × {:g}",
    "friction": "friction × {:g}",
    "gear": "motors × {:g}",
    "delay": "a delay of {:g} steps",
    "noise": "noise of {:g}",
}


def page(grid: Grid, robustness_summary: pd.DataFrame) -> dict[str, Any] | None:
    """A sentence for each algorithm and task: what each change costs at its worst; None where no grid asks for it."""
    if not any("perturbations" in task for task in grid.tasks.values()):
        return None
    said = []
    for (task, algorithm), of in robustness_summary.groupby(["task", "algorithm"], sort=False):
        changed = of[of["size"] != of["nominal"]]
        worst = changed.loc[changed.groupby("change", sort=False)["lost"].idxmax()]
        costs = enumerate_text(f"{fixed(row.lost)} with {under(row.change, row.size)}" for row in worst.itertuples())
        said.append(
            f"What {grid.title(algorithm)} on {short_name(task)} loses at the worst size of each change: {costs}."
        )
    about = "Losses are differences of normalised scores: 1 is the distance from the random to the reference score."
    if without := [
        f"{grid.title(algorithm)} on {short_name(task)}"
        for task, values in grid.tasks.items()
        if "perturbations" in values
        for algorithm in grid.algorithms
        if grid.requested(task, algorithm)
        and not ((robustness_summary["task"] == task) & (robustness_summary["algorithm"] == algorithm)).any()
    ]:
        said.append(f"Without a run whose policy was kept: {enumerate_text(without)}.")
    return {"sentences": [about, *said]}


def under(change: str, size: float) -> str:
    """A change and its size, in words."""
    return WORDS[change].format(size).replace(" 1 steps", " 1 step")
