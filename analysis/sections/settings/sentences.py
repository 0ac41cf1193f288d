"""The settings that algorithms share, and those in which they differ."""

from collections import Counter
from typing import Any

from analysis.reading.grid import Grid
from analysis.words import setting_text

OF_COLUMNS = "An empty cell: the algorithm has no such setting. A task is named where it has a value of its own."
TUNED = " Where a study has a winner, these are the tuned values; the section “Tuning” says what they were before."


def page(grid: Grid) -> dict[str, Any]:
    """What all cells share, and of every other setting, per algorithm that has it, its value on most tasks and the
    tasks where it differs.
    """
    everything = [cell["settings"] for cell in grid.cells]
    texts = {name: {setting_text(cell.get(name)) for cell in everything} for cell in everything for name in cell}
    in_all = [name for name in texts if all(name in cell for cell in everything)]
    shared = {name: everything[0][name] for name in in_all if len(texts[name]) == 1}
    if len(grid.algorithms) == 1:
        shared = {}
    own = {
        algorithm: own_settings([cell for cell in grid.cells if cell["algorithm"] == algorithm], set(shared))
        for algorithm in grid.algorithms
    }
    names = list(dict.fromkeys(name for values in own.values() for name in values))
    return {"of_columns": OF_COLUMNS + (TUNED if grid.studies else ""), "shared": shared, "own": own, "names": names}


def own_settings(cells: list[dict[str, Any]], shared: set[str]) -> dict[str, tuple[Any, dict[str, Any]]]:
    """name → (value on most tasks, {task: value} of the others)."""
    by_task = {cell["task"]: cell["settings"] for cell in cells}
    names = dict.fromkeys(name for values in by_task.values() for name in values if name not in shared)
    own = {}
    for name in names:
        values = {task: values.get(name) for task, values in by_task.items()}
        usual = Counter(setting_text(value) for value in values.values()).most_common(1)[0][0]
        differing = {task: value for task, value in values.items() if setting_text(value) != usual}
        own[name] = (next(value for value in values.values() if setting_text(value) == usual), differing)
    return own
