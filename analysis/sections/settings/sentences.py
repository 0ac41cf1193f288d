"""The settings that algorithms share, and those in which they differ."""

from collections import Counter
from typing import Any

from policy_gradient_ladder.experiments.schema import EXTERNAL

from ...reading.external import SCORED, external_algorithms, not_vouched_for
from ...reading.grid import Grid
from ...words import enumerate_text, setting_text, short_name

OF_COLUMNS = "An empty cell: the algorithm has no such setting. A task is named where it has a value of its own."
OF_LIBRARY = (
    "It is of {}, with that library’s own networks, optimiser and defaults, on the environments, seeds and budget of "
    "the other algorithms and evaluated as they are; VecNormalize normalises where the task says so."
)
TUNED = " Where a study has a winner, these are the tuned values; the section “Tuning” says what they were before."


def page(grid: Grid) -> dict[str, Any]:
    """What all cells share, and of every other setting, per algorithm that has it, its value on most tasks and the
    tasks where it differs.
    """
    elsewhere = external_algorithms(grid)
    everything = [cell["settings"] for cell in grid.cells if cell["algorithm"] not in elsewhere]
    texts = {name: {setting_text(cell.get(name)) for cell in everything} for cell in everything for name in cell}
    origins = {name: origin(about) for name, about in grid.algorithms.items()}
    in_all = [name for name in texts if all(name in cell for cell in everything)]
    shared = {name: everything[0][name] for name in in_all if len(texts[name]) == 1}
    if len(grid.algorithms) == 1:
        shared = {}
    own = {
        algorithm: {}
        if algorithm in elsewhere
        else own_settings([cell for cell in grid.cells if cell["algorithm"] == algorithm], set(shared))
        for algorithm in grid.algorithms
    }
    names = list(dict.fromkeys(name for values in own.values() for name in values))
    of_columns = OF_COLUMNS + (TUNED if grid.studies else "")
    return {
        **{"of_columns": of_columns, "shared": shared, "own": own, "names": names},
        **{"environments": environments(grid), "origins": origins},
    }


def cautions(grid: Grid) -> list[str]:
    """What cannot be vouched for of runs that were made elsewhere."""
    return not_vouched_for(grid)


def origin(about: dict[str, Any]) -> str:
    """Where an algorithm is from, as sentences; empty where it is of this project."""
    if about.get(EXTERNAL):
        return f"{SCORED}."
    if "library" not in about:
        return ""
    version = f" {about['version']}" if about["version"] else ""
    return OF_LIBRARY.format(f"{about['library']}{version}")


def environments(grid: Grid) -> str:
    """Of every task with an id, keyword arguments or a scale of its own, what environment it is, as sentences."""
    sentences = []
    for task, values in grid.tasks.items():
        words = ", ".join(f"{key}={value!r}" for key, value in values.get("kwargs", {}).items())
        made = f" made with {words}" if words else ""
        scaled = f" with rewards × {values['reward_scale']:,g} for learning" if "reward_scale" in values else ""
        around = "".join(
            f", {where} wrapped in {enumerate_text(map(wrapper_text, values[key]))}"
            for key, where in (("wrappers", "always"), ("training_wrappers", "in training"))
            if key in values
        )
        if "id" in values or made or scaled or around:
            sentences.append(f"{task} is {values.get('id', task)}{made}{scaled}{around}.")
    return " ".join(sentences)


def wrapper_text(about: dict[str, Any]) -> str:
    """A wrapper with its arguments, in words: Changed (mass=[0.5, 2])."""
    arguments = ", ".join(f"{key}={value!r}" for key, value in about.items() if key != "wrapper")
    return short_name(about["wrapper"]) + (f" ({arguments})" if arguments else "")


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
