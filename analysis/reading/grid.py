"""Reads grid.json: what was asked for."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from types import NoneType
from typing import Any

from analysis.reading.checks import (
    NUMBER,
    ResultsError,
    check_choice,
    check_inside,
    check_keys,
    check_schema,
    read_json,
    read_record,
    valid_choices,
)
from experiments.metrics import DIRECTIONS, RULES
from experiments.schema import BEST


@dataclass(frozen=True)
class Grid:
    """What was asked for: grid.json. The order of its tasks and algorithms is the order everywhere.

    A tuned cell has the settings of its study's winner, and the untuned ones as long as there is no winner.
    """

    folder: Path
    name: str
    description: str
    grid_file: str
    seeds: list[int]
    tasks: dict[str, dict[str, Any]]
    algorithms: dict[str, dict[str, Any]]
    cells: list[dict[str, Any]]
    probes: list[dict[str, Any]]
    studies: list[dict[str, Any]]
    claims: list[dict[str, Any]]

    def title(self, algorithm: str) -> str:
        return self.algorithms[algorithm]["title"]

    def requested(self, task: str, algorithm: str) -> list[dict[str, Any]]:
        return [cell for cell in self.cells if (cell["task"], cell["algorithm"]) == (task, algorithm)]

    def tasks_of(self, algorithm: str) -> list[str]:
        return [task for task in self.tasks if self.requested(task, algorithm)]


WRITTEN = ("tables", "figures", "report")  # by analysis, and so not to be links to elsewhere
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
STUDY_KEYS = {  # of an entry of grid.json's studies
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
BEST_KEYS = {"schema": int, "algorithm": str, "group": str, "trial": int, "score": NUMBER, "settings": dict}
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
SIDE_KEYS = {"algorithm": (str, NoneType), "gae_lambda": (*NUMBER, NoneType), "critic": (str, NoneType)}


def check_there(results: Path) -> None:
    """There is such a folder."""
    if not results.is_dir():
        others = sorted(path.parent.as_posix() for path in results.parent.glob("*/grid.json"))
        hint = f"; there is {valid_choices(results.as_posix(), others)}" if others else ""
        raise ResultsError(f"{results}: no such folder{hint}.")


def read_grid(results: Path) -> Grid:
    """results/<grid>/grid.json, checked."""
    check_there(results)
    path = results / "grid.json"
    content = read_record(path, GRID_KEYS)
    for name, task in content["tasks"].items():
        check_keys(task, TASK_KEYS, path, f"tasks.{name}")
        if task["reference_score"] == task["random_score"]:
            raise ResultsError(
                f"{path}: tasks.{name}.reference_score is {task['reference_score']}, the same as its "
                f"random_score; a normalised score needs two different numbers."
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
            raise ResultsError(f"{path}: cells[{index}] is there before: {key[0]}, {key[1]}, seed {key[2]}.")
        seen.add(key)
    for index, probe in enumerate(content["probes"]):
        check_keys(probe, PROBE_KEYS, path, f"probes[{index}]")
    for index, study in enumerate(content["studies"]):
        check_study_entry(study, content, path, f"studies[{index}]")
    for index, claim in enumerate(content["claims"]):
        check_claim_entry(claim, path, f"claims[{index}]")
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
        probes=content["probes"],
        studies=content["studies"],
        claims=content["claims"],
    )


def check_study_entry(study: Any, content: dict[str, Any], path: Path, where: str) -> None:
    """An entry of grid.json's studies names only what there is, and tunes with seeds that nothing else has."""
    check_keys(study, STUDY_KEYS, path, where)
    check_keys(study["sampler"], {"name": str}, path, f"{where}.sampler")
    check_keys(study["pruner"], {"name": str}, path, f"{where}.pruner")
    named = [("algorithm", study["algorithm"], content["algorithms"])]
    named += [("serves", task, content["tasks"]) for task in study["serves"]]
    for key, name, choices in named:
        if not isinstance(name, str) or name not in choices:
            raise ResultsError(f"{path}: {where}.{key} has {name!r}; there is {valid_choices(name, choices)}.")
    uses = {"seeds": study["seeds"], "fresh_seeds": study["fresh_seeds"], "the grid's seeds": content["seeds"]}
    for use, seeds in uses.items():
        if not all(isinstance(seed, int) for seed in seeds):
            raise ResultsError(f"{path}: {where} has the {use.removeprefix('the ')} {seeds}; expected whole numbers.")
    for (first, seeds), (second, others) in combinations(uses.items(), 2):
        if shared := sorted(set(seeds) & set(others)):
            raise ResultsError(
                f"{path}: {where} has {shared[0]} in {first} and in {second}; scores on seeds that settings were "
                f"chosen by are too high."
            )


def check_claim_entry(claim: Any, path: Path, where: str) -> None:
    """An entry of grid.json's claims has everything that a verdict needs; it may name what the grid lacks."""
    check_keys(claim, CLAIM_KEYS, path, where)
    check_choice(claim["rule"], RULES, path, f"{where}.rule")
    for index, comparison in enumerate(claim["comparisons"]):
        place = f"{where}.comparisons[{index}]"
        check_keys(comparison, COMPARISON_KEYS, path, place)
        check_choice(comparison["direction"], DIRECTIONS, path, f"{place}.direction")
        if len(comparison["sides"]) not in (1, 2):
            raise ResultsError(f"{path}: {place} has {len(comparison['sides'])} sides; expected one or two.")
        for side in comparison["sides"]:
            check_keys(side, SIDE_KEYS, path, f"a side of {place}")


def tuned_cells(results: Path, content: dict[str, Any]) -> list[dict[str, Any]]:
    """The cells, with the settings of the winner where there is one."""
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


def read_best(results: Path, asked: dict[str, Any]) -> dict[str, Any] | None:
    """best.json of an entry of the grid's studies: its winner; None where the trials have not all been made."""
    path = results / asked["directory"] / BEST
    if not path.exists():
        return None
    best = read_json(path)
    check_best(best, asked, path, "the file")
    return best


def check_best(best: Any, asked: dict[str, Any], path: Path, where: str) -> None:
    check_keys(best, BEST_KEYS, path, where)
    check_schema(best, path)
    check_same(best, asked, ("algorithm", "group"), path)


def check_same(found: dict[str, Any], asked: dict[str, Any], keys: Iterable[str], path: Path) -> None:
    """A study's file is about what the grid asks for."""
    for key in keys:
        if found[key] != asked[key]:
            raise ResultsError(
                f"{path}: {key} is {found[key]!r}, the grid has {asked[key]!r} there; tune it again, or read it with "
                f"the grid that it was made with."
            )
