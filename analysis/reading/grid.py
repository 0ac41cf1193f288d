"""Reads grid.json: the tasks, algorithms, cells, probes, studies and claims that were asked for."""

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from types import NoneType
from typing import Any

from policy_gradient_ladder.experiments.metrics import DIRECTIONS, RULES
from policy_gradient_ladder.experiments.schema import BEST, ESTIMATORS, EVALUATIONS, GRADIENTS, MEASURES, QUALITY

from .checks import (
    NUMBER,
    ResultsError,
    check_choice,
    check_inside,
    check_keys,
    check_named,
    read_record,
    valid_choices,
)
from .winners import read_best


@dataclass(frozen=True)
class Grid:
    """The content of grid.json. Tables and figures keep the order of its tasks and algorithms.

    A tuned cell has the settings of its study's winner, or the untuned settings while there is no winner.
    """

    folder: Path
    name: str
    description: str
    grid_file: str
    seeds: list[int]
    tasks: dict[str, dict[str, Any]]
    algorithms: dict[str, dict[str, Any]]
    cells: list[dict[str, Any]]
    all_probes: list[dict[str, Any]]  # of every kind
    studies: list[dict[str, Any]]
    claims: list[dict[str, Any]]
    published_table: dict[str, Any] | None = None  # a paper's table that the grid repeats

    @property
    def probes(self) -> list[dict[str, Any]]:
        """The probes of the gradient laboratory, which measure the gradient of every algorithm."""
        return self._that_measure(GRADIENTS)

    @property
    def estimator_probes(self) -> list[dict[str, Any]]:
        """The probes that hold gradient estimators against the truth, one per problem."""
        return self._that_measure(ESTIMATORS)

    @property
    def quality_probes(self) -> list[dict[str, Any]]:
        """The probes that ask how good an algorithm's gradient estimates are."""
        return self._that_measure(QUALITY)

    def _that_measure(self, what: str) -> list[dict[str, Any]]:
        return [probe for probe in self.all_probes if probe["measures"] == what]

    def title(self, algorithm: str) -> str:
        """The title of an algorithm."""
        return self.algorithms[algorithm]["title"]

    def requested(self, task: str, algorithm: str) -> list[dict[str, Any]]:
        """The cells of an algorithm on a task, one per seed."""
        return [cell for cell in self.cells if (cell["task"], cell["algorithm"]) == (task, algorithm)]

    def tasks_of(self, algorithm: str) -> list[str]:
        """The tasks on which the grid asks for this algorithm."""
        return [task for task in self.tasks if self.requested(task, algorithm)]


WRITTEN = ("tables", "figures", "report")  # folders that the analysis writes into: no links out of the results folder
GRID_KEYS = {
    "schema": int,
    "grid": str,
    "description": str,
    "grid_file": str,
    "seeds": list,
    "tasks": dict,
    "algorithms": dict,
    "cells": list,
    "probes": list,
    "studies": list,
    "claims": list,
}
TASK_KEYS = {
    "steps": int,
    "random_score": NUMBER,
    "reference_score": NUMBER,
    "reference_source": str,
    "threshold": (*NUMBER, NoneType),
    "normalize_observations": bool,
    "normalize_rewards": bool,
    "action_bounds": str,
    "max_episode_steps": (int, NoneType),
}
OF_SOME_TASKS = {"solved": NUMBER, "evaluations": int}
ALGORITHM_KEYS = {"title": str, "equation": str, "summary": str}
CELL_KEYS = {
    "algorithm": str,
    "task": str,
    "seed": int,
    "steps": int,
    "directory": str,
    "settings": dict,
    "tuned": (str, NoneType),
}
PROBE_KEYS = {"task": str, "source": str, "seed": int, "fraction": NUMBER, "directory": str, "exact": bool}
STUDY_KEYS = {  # of an entry of studies in grid.json
    "algorithm": str,
    "group": str,
    "directory": str,
    "tasks": dict,
    "serves": list,
    "seeds": list,
    "fresh_seeds": list,
    "trials": int,
    "spread_penalty": NUMBER,
    "sampler": dict,
    "pruner": dict,
    "workers": int,
}
CLAIM_KEYS = {
    **dict.fromkeys(("id", "statement", "source", "rule"), str),
    "comparisons": list,
    "variants": dict,
    "grid": (str, NoneType),
}
COMPARISON_KEYS = {
    "metric": str,
    "sides": list,
    "direction": str,
    "smallest_effect": NUMBER,
    "tasks": (str, list),
    "from_fraction": NUMBER,
    "differing_in": list,
}
PUBLISHED_TABLE_KEYS = {
    **dict.fromkeys(("title", "source"), str),
    "scores": dict,
    **dict.fromkeys(("last_episodes", "seeds"), int),
    "differs": list,
}
SIDE_KEYS = {"algorithm": (str, NoneType), "gae_lambda": (*NUMBER, NoneType), "critic": (str, NoneType)}
OF_SOME_CLAIMS = {"checked": str}  # keys that an entry has where its claim says them
OF_SOME_COMPARISONS = {"than": NUMBER, "under": dict}
OF_SOME_SIDES = {"on": dict, "tasks": dict, "score": str, "best_of": list, "cost_at_most": NUMBER}
OF_SOME_SIDES |= {"pairs": int, "value_function": str, "fraction": NUMBER, "against": str}
OF_SOME_SIDES |= {"estimator": str, "settings": dict, "at": dict}


def check_there(results: Path) -> None:
    """Raise ResultsError, with the folders that there are, unless the results folder exists."""
    if not results.is_dir():
        others = sorted(path.parent.as_posix() for path in results.parent.glob("*/grid.json"))
        hint = f"; there is {valid_choices(results.as_posix(), others)}" if others else ""
        raise ResultsError(f"{results}: no such folder{hint}.")


def read_grid(results: Path) -> Grid:
    """The grid in results/<grid>/grid.json. Raises ResultsError."""
    check_there(results)
    path = results / "grid.json"
    content = read_record(path, GRID_KEYS)
    for name, task in content["tasks"].items():
        check_keys(task, TASK_KEYS, path, f"tasks.{name}")
        check_some_keys(task, OF_SOME_TASKS, path, f"tasks.{name}")
        if task["reference_score"] == task["random_score"]:
            raise ResultsError(
                f"{path}: tasks.{name}.reference_score is {task['reference_score']}, the same as its "
                f"random_score; a normalised score needs two different numbers."
            )
        if task["reference_score"] < task["random_score"]:
            raise ResultsError(
                f"{path}: tasks.{name}.reference_score is {task['reference_score']}, below its random_score, "
                f"{task['random_score']}; exchange the two in the grid file and run Snakemake again."
            )
    for name, algorithm in content["algorithms"].items():
        check_keys(algorithm, ALGORITHM_KEYS, path, f"algorithms.{name}")
    seen = set()
    for index, cell in enumerate(content["cells"]):
        check_keys(cell, CELL_KEYS, path, f"cells[{index}]")
        for key, section in (("task", "tasks"), ("algorithm", "algorithms")):
            if cell[key] not in content[section]:
                raise ResultsError(
                    f"{path}: cells[{index}].{key} is {cell[key]!r}, which is not among its {section}: "
                    f"{valid_choices(cell[key], content[section])}."
                )
        key = (cell["algorithm"], cell["task"], cell["seed"])
        if key in seen:
            raise ResultsError(f"{path}: cells[{index}] repeats an earlier cell: {key[0]}, {key[1]}, seed {key[2]}.")
        seen.add(key)
    for index, probe in enumerate(content["probes"]):
        probe.setdefault("measures", GRADIENTS)  # grids of earlier versions had no other probes
        check_keys(probe, PROBE_KEYS, path, f"probes[{index}]")
        check_named([("measures", probe["measures"], MEASURES)], path, f"probes[{index}]")
    for index, study in enumerate(content["studies"]):
        check_study_entry(study, content, path, f"studies[{index}]")
    for index, claim in enumerate(content["claims"]):
        check_claim_entry(claim, content["tasks"], path, f"claims[{index}]")
    for entry in (*content["cells"], *content["probes"], *content["studies"]):
        check_inside(results, entry["directory"], path)
    for name in WRITTEN:
        check_inside(results, name, results)
    return Grid(
        folder=results,
        name=content["grid"],
        description=content["description"],
        grid_file=content["grid_file"],
        seeds=content["seeds"],
        tasks=content["tasks"],
        algorithms=content["algorithms"],
        cells=tuned_cells(results, content),
        all_probes=content["probes"],
        studies=content["studies"],
        claims=content["claims"],
        published_table=published_table(content, path),
    )


def published_table(content: dict[str, Any], path: Path) -> dict[str, Any] | None:
    """The table of a paper that grid.json holds, checked; None where it holds none."""
    table = content.get("published_table")
    if table is not None:
        check_keys(table, PUBLISHED_TABLE_KEYS, path, "published_table")
        check_keys(table["scores"], dict.fromkeys(table["scores"], NUMBER), path, "published_table.scores")
        check_named([("scores", name, content["algorithms"]) for name in table["scores"]], path, "published_table")
    return table


def check_study_entry(study: Any, content: dict[str, Any], path: Path, where: str) -> None:
    """Check an entry of studies in grid.json.

    It may name only algorithms and tasks of the grid. Its tuning seeds, its fresh seeds and the grid's seeds must have
    no seed in common.
    """
    check_keys(study, STUDY_KEYS, path, where)
    check_keys(study["sampler"], {"name": str}, path, f"{where}.sampler")
    check_keys(study["pruner"], {"name": str}, path, f"{where}.pruner")
    named = [("algorithm", study["algorithm"], content["algorithms"])]
    named += [("serves", task, content["tasks"]) for task in study["serves"]]
    check_named(named, path, where)
    uses = {"seeds": study["seeds"], "fresh_seeds": study["fresh_seeds"], "the grid's seeds": content["seeds"]}
    for use, seeds in uses.items():
        if not all(isinstance(seed, int) for seed in seeds):
            raise ResultsError(f"{path}: {where} has the {use.removeprefix('the ')} {seeds}; expected whole numbers.")
    for (first, seeds), (second, others) in combinations(uses.items(), 2):
        if shared := sorted(set(seeds) & set(others)):
            raise ResultsError(
                f"{path}: {where} has {shared[0]} in {first} and in {second}; scores on the seeds that chose the "
                f"settings are too high."
            )


def check_claim_entry(claim: Any, tasks: dict[str, Any], path: Path, where: str) -> None:
    """Check that an entry of claims in grid.json has all that a verdict needs. It may name algorithms, critics or tasks
    that the grid lacks; a side that is on a task with certain values says which of the `tasks` of the grid that is.
    """
    check_keys(claim, CLAIM_KEYS, path, where)
    check_some_keys(claim, OF_SOME_CLAIMS, path, where)
    check_choice(claim["rule"], RULES, path, f"{where}.rule")
    for index, comparison in enumerate(claim["comparisons"]):
        place = f"{where}.comparisons[{index}]"
        check_keys(comparison, COMPARISON_KEYS, path, place)
        check_some_keys(comparison, OF_SOME_COMPARISONS, path, place)
        check_choice(comparison["direction"], DIRECTIONS, path, f"{place}.direction")
        if len(comparison["sides"]) not in (1, 2):
            raise ResultsError(f"{path}: {place} has {len(comparison['sides'])} sides; expected one or two.")
        for side in comparison["sides"]:
            check_side(side, tasks, path, f"a side of {place}")
            for one in side.get("best_of", []):
                check_side(one, tasks, path, f"a side of best_of of {place}")


def check_side(side: Any, tasks: dict[str, Any], path: Path, where: str) -> None:
    """Check a side of a comparison in grid.json."""
    check_keys(side, SIDE_KEYS, path, where)
    check_some_keys(side, OF_SOME_SIDES, path, where)
    if "score" in side:
        check_choice(side["score"], EVALUATIONS, path, f"score of {where}")
    if "on" in side:
        check_keys(side, {"tasks": dict}, path, where)
        check_named([("tasks", task, tasks) for task in side["tasks"].values()], path, where)


def check_some_keys(mapping: dict[str, Any], keys: dict[str, Any], path: Path, where: str) -> None:
    """Check the values of those of the keys that the mapping has."""
    check_keys(mapping, {key: kind for key, kind in keys.items() if key in mapping}, path, where)


def tuned_cells(results: Path, content: dict[str, Any]) -> list[dict[str, Any]]:
    """The cells in `content` of grid.json; tuned ones with the settings of their study's winner, if there is one."""
    path = results / "grid.json"
    studies = {study["directory"]: study for study in content["studies"]}
    best = {directory: read_best(results, study) for directory, study in studies.items()}
    cells = []
    for index, cell in enumerate(content["cells"]):
        if cell["tuned"] is not None and cell["tuned"] not in studies:
            raise ResultsError(
                f"{path}: cells[{index}].tuned is {cell['tuned']!r}, which is not the directory of a study: "
                f"{valid_choices(cell['tuned'], studies) or 'there is none'}."
            )
        found = best.get(cell["tuned"])
        if found is not None:
            for name in found["settings"]:
                if name not in cell["settings"]:
                    raise ResultsError(
                        f"{results / cell['tuned'] / BEST}: settings.{name} is no setting of "
                        f"{cell['algorithm']} in {path}; it has {valid_choices(name, cell['settings'])}."
                    )
            cell = {**cell, "settings": {**cell["settings"], **found["settings"]}}
        cells.append(cell)
    return cells
