"""Entries of a grid that are not of this project: a class of another library, and runs that were made elsewhere."""

import glob
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from policy_gradient_ladder.core.algorithm import InvalidSetting, nearest_first

from .cells import Grid, GridAlgorithm, GridTask
from .checks import GridError
from .external import External
from .libraries import InvalidLibrary, LibraryAlgorithm, library_algorithm
from .sources import shown

TASK, SEED = "{task}", "{seed}"  # in the pattern of an external entry
FEWEST_FILES = 2  # of a task, where the grid has as many seeds: one run shows no spread


OF_TRAINING = ("module", "library", "class", "settings", "tasks", "only", "search_space", "tuned")


def class_of_entry(keys: Mapping[str, Any]) -> type[LibraryAlgorithm] | None:
    """The class of an entry with `library` or `class`, None where it has neither. Raises GridError without the path."""
    if keys["library"] is None and keys["class"] is None:
        return None
    if keys["module"] is not None:
        raise GridError(
            "it has a module, which is a file of algorithms/, beside a library or class; remove one of them"
        )
    if keys["class"] is None:
        raise GridError(
            f"it has the library {keys['library']!r} and no class; give the name of one, such as class: PPO"
        )
    try:
        return library_algorithm(keys["library"], keys["class"])
    except InvalidLibrary as error:
        raise GridError(str(error)) from error


def check(grid: Grid) -> None:
    """Raise GridError where a library refuses settings or a task's spaces, or a run made elsewhere cannot be read."""
    for name, entry in grid.algorithms.items():
        for task, of in grid.tasks.items():
            if not entry.runs_on(task):
                continue
            algorithm = grid.resolved(name, task)
            try:
                if isinstance(algorithm, LibraryAlgorithm):
                    algorithm.check(of.task)
                if isinstance(algorithm, External):
                    for seed in algorithm.files:
                        algorithm.train(of.task, int(seed), of.steps)
            except (InvalidSetting, GridError) as error:
                raise GridError(f"{grid.path}: algorithm {entry.name}: {error}") from error


def external_entry(
    path: str,
    name: str,
    keys: Mapping[str, Any],
    given: Mapping[str, Any],
    tasks: Mapping[str, GridTask],
    seeds: Sequence[int],
    folder: Path,
) -> GridAlgorithm:
    """The entry of runs that were made elsewhere.

    keys: of the entry, with defaults; given: as it stands in the file. folder: of the grid's file, to which the
    patterns of `external` are relative. Raises GridError.
    """
    said = f"{path}: algorithm {name}"
    wrong = [key for key in given if key in OF_TRAINING]
    if wrong:
        raise GridError(
            f"{said} is external, so nothing is trained and it takes no {wrong[0]!r}; remove one of the two"
        )
    patterns = keys["external"]
    if isinstance(patterns, str):
        if TASK not in patterns and len(tasks) > 1:
            raise GridError(
                f"{said}: external must say where the runs of each of the {len(tasks)} tasks lie: by {TASK} in the "
                "path, or by a mapping of tasks to paths"
            )
        patterns = {task: patterns for task in tasks}
    for task in patterns:
        if task not in tasks:
            raise GridError(f"{said}: external has {task!r}, no task of the grid; {nearest_first(task, list(tasks))}")
    files = {task: _files(said, pattern, task, seeds, folder) for task, pattern in patterns.items()}
    if not any(files.values()):
        raise GridError(
            f"{said}: no file matches external, {', '.join(dict.fromkeys(patterns.values()))}, looked for from the "
            f"grid's folder, {folder}"
        )
    for task, of_task in files.items():
        if 0 < len(of_task) < min(FEWEST_FILES, len(seeds)):
            raise GridError(
                f"{said}: external has one file of {task} ({next(iter(of_task.values()))}), and one run shows no "
                "spread; give a file for each seed"
            )
    settings = {task: {"files": files.get(task, {})} for task in tasks}
    return GridAlgorithm(name, External, {}, settings, own_title=keys["title"])


def _files(said: str, pattern: str, task: str, seeds: Sequence[int], folder: Path) -> dict[str, str]:
    """seed → file or folder. Without {seed} in the pattern, files have the seeds in the order of their numbers."""
    found: dict[str, str] = {}
    pattern = pattern.replace(TASK, task)
    if SEED in pattern:
        for seed in seeds:
            matches = _matches(folder, pattern.replace(SEED, str(seed)))
            if len(matches) > 1:
                raise GridError(
                    f"{said}: {len(matches)} files match external of {task} with seed {seed}: "
                    f"{', '.join(map(shown, matches[:2]))}, …; a seed has one file, or one folder"
                )
            found |= {str(seed): shown(match) for match in matches}
        return found
    matches = _matches(folder, pattern)
    if len(matches) > len(seeds):
        raise GridError(
            f"{said}: {len(matches)} files match external of {task}, and the grid has {len(seeds)} seeds; give "
            f"the grid as many seeds, or write {SEED} where the path has the seed"
        )
    return {str(seed): shown(match) for seed, match in zip(seeds, matches, strict=False)}


def _matches(folder: Path, pattern: str) -> list[Path]:
    """What a pattern relative to a folder matches, in the order of the numbers in the paths."""
    found = glob.glob(str(folder.resolve() / pattern))
    return sorted(map(Path, found), key=lambda p: [int(x) if x.isdigit() else x for x in re.split(r"(\d+)", str(p))])
