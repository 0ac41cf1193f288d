"""The sides of a comparison about runs: on which tasks they are, and what they are called."""

import json
from collections.abc import Iterator
from typing import Any

from policy_gradient_ladder.experiments.schema import DISCOVERY

from ...reading.grid import Grid
from ...words import enumerate_text, short_name
from .verdicts import side_title

# Keys of a task in grid.json that are no part of what its runs are made with.
JUDGING = (
    *("id", "random_score", "reference_score", "reference_source", "threshold", "time_limit", "perturbations"),
    *DISCOVERY,
)
EVALUATION_WORDS = {"sampled": "sampled actions", "mode": "mode action"}


def single(side: dict[str, Any]) -> list[dict[str, Any]]:
    """The sides of which this is the best; or this one alone."""
    return side.get("best_of") or [side]


def singles(comparison: dict[str, Any]) -> list[dict[str, Any]]:
    """Every side that is not the best of several, and those of which one is the best."""
    return [one for side in comparison["sides"] for one in single(side)]


def places_of(grid: Grid, comparison: dict[str, Any]) -> list[str]:
    """The places of a comparison: tasks, or Gymnasium ids where a side says which values its task has."""
    if comparison["tasks"] != "all":
        return list(comparison["tasks"])
    if not any("on" in side for side in singles(comparison)):
        return list(grid.tasks)
    return list(dict.fromkeys(about.get("id", name) for name, about in grid.tasks.items()))


def task_at(grid: Grid, side: dict[str, Any], place: str) -> str | None:
    """The task on which a single side is at a place; None where the grid has no such task."""
    if "on" in side:
        return side["tasks"].get(place)
    return place if place in grid.tasks else None


def made_with(grid: Grid, task: str) -> dict[str, Any]:
    """What the runs on a task are made with: its preprocessing and its number of steps."""
    return {key: value for key, value in grid.tasks[task].items() if key not in JUDGING}


def environment_of(grid: Grid, task: str) -> str:
    """The environment of a task, which tasks with other preprocessing share: its id and what it is made with."""
    about = grid.tasks[task]
    return json.dumps([about.get("id", task), about.get("kwargs"), about.get("variants")], sort_keys=True)


def evaluation_of(side: dict[str, Any]) -> str:
    """The evaluation from which the final scores of a side are."""
    return side.get("score", "sampled")


def differ_in_evaluation(comparison: dict[str, Any]) -> bool:
    """Whether the two sides are the same runs, and differ in nothing but the evaluation of the final score."""
    if len(comparison["sides"]) < 2:
        return False
    without = [{key: value for key, value in side.items() if key != "score"} for side in comparison["sides"]]
    return without[0] == without[1] and comparison["sides"][0] != comparison["sides"][1]


def of_each(comparison: dict[str, Any]) -> str:
    """Whose runs are counted, in words: of each algorithm, or of each side where one algorithm is on both."""
    algorithms = [side["algorithm"] for side in singles(comparison)]
    return "of each side" if len(set(algorithms)) < len(algorithms) and None not in algorithms else "of each algorithm"


def held_to(side: dict[str, Any]) -> str:
    """The limit that sides must hold to count among the best, in words; empty where there is none."""
    return f", of those with a cost of at most {side['cost_at_most']:g}" if "cost_at_most" in side else ""


def titles(grid: Grid, comparison: dict[str, Any]) -> list[str]:
    """The titles of the sides, with what tells one from the others in brackets."""
    return [
        title_of_best(grid, comparison, side["best_of"]) + held_to(side)
        if "best_of" in side
        else title_of(grid, comparison, side)
        for side in comparison["sides"]
    ]


def title_of_best(grid: Grid, comparison: dict[str, Any], several: list[dict[str, Any]]) -> str:
    """The title of the best of several sides: "the best of PPO and A2C", "the best of DQN (action_bins: 5 and 11)"."""
    said = [list(what_differs(comparison, one)) for one in several]
    keys = {part.partition(": ")[0] for parts in said for part in parts}
    of_one = len({one["algorithm"] for one in several}) == 1 and len(keys) == 1
    if of_one and all(len(parts) == 1 and ": " in parts[0] for parts in said):
        values = enumerate_text(parts[0].partition(": ")[2] for parts in said)
        return f"the best of {side_title(grid, several[0], ())} ({keys.pop()}: {values})"
    return f"the best of {enumerate_text(title_of(grid, comparison, one) for one in several)}"


def title_of(grid: Grid, comparison: dict[str, Any], side: dict[str, Any]) -> str:
    """The title of a single side of a comparison."""
    said = ", ".join(what_differs(comparison, side))
    title = side_title(grid, side, ())
    return f"{title} ({said})" if said else title


def what_differs(comparison: dict[str, Any], side: dict[str, Any]) -> Iterator[str]:
    """The values of a side's task that another side does not have, and its evaluation where another has another."""
    others = singles(comparison)
    for key, value in side.get("on", {}).items():
        if any("on" not in other or other["on"][key] != value for other in others):
            yield entry_text(key, value)
    if len({evaluation_of(other) for other in others}) > 1:
        yield EVALUATION_WORDS[evaluation_of(side)]


def shared_values(comparison: dict[str, Any]) -> str:
    """The values of their tasks that all sides have; empty where no side says any."""
    first, *others = (side.get("on", {}) for side in singles(comparison))
    same = {key: value for key, value in first.items() if all(key in on and on[key] == value for on in others)}
    return ", ".join(entry_text(key, value) for key, value in same.items())


def entry_text(key: str, value: Any) -> str:
    """A key of a task with its value as a grid file has them, wrappers by their names alone; in words where there is
    none: "without action bins".
    """
    if value in (None, {}, []):
        return f"without {key.replace('_', ' ')}"
    if key in ("wrappers", "training_wrappers"):
        return f"{key}: {enumerate_text(short_name(about['wrapper']) for about in value)}"
    return f"{key}: {value_text(value)}"


def value_text(value: Any) -> str:
    """A value as YAML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {value_text(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(value_text, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)
