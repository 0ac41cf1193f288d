"""What a study has found, as a cell takes it over."""

import json
import sys
from pathlib import Path
from typing import Any

from .cells import Cell, Grid
from .checks import GridError, is_number
from .schema import BEST
from .search import InvalidStudy, Study


def best_of_study(grid: Grid, cell: Cell, path: Path | None) -> dict | None:
    """The winner of a cell's study as `read_best` returns it; None where `path` is None.

    Raises GridError where the grid does not tune the cell, and InvalidStudy as `read_best` does.
    """
    study = grid.study_of(cell.algorithm, cell.task)
    if path is not None and study is None:
        raise GridError(f"{grid.path} does not tune {cell.algorithm} for {cell.task}; leave out --tuned")
    if path is None and study is not None:
        print(
            f"note: untuned settings; --tuned results/{grid.name}/{study.directory}/{BEST} takes those of the study",
            file=sys.stderr,
        )
    return None if path is None else read_best(path, study)


def read_best(path: Path, study: Study) -> dict[str, Any]:
    """The winner of a study, from its `best.json`.

    Returns the number of the trial, its score, and the settings that it changes, by these names.
    Raises InvalidStudy where the file is missing, damaged, of another study, or of another search space.
    """
    if not path.is_file():
        raise InvalidStudy(f"there is no {path}; python -m experiments.tune makes it, and so does Snakemake")
    try:
        best = json.loads(path.read_text(encoding="utf-8"))
        whose = best["algorithm"], best["group"]
        valid = isinstance(best["settings"], dict) and type(best["trial"]) is int and is_number(best["score"])
    except KeyError as error:
        raise InvalidStudy(f"{path} is not the winner of a study: it lacks the key {error}") from error
    except (OSError, ValueError, TypeError) as error:
        raise InvalidStudy(f"{path} is not the winner of a study: {error}") from error
    if whose != (study.algorithm, study.group):
        raise InvalidStudy(f"{path} is of {whose[0]} on {whose[1]}, not of {study.algorithm} on {study.group}")
    if not valid:
        raise InvalidStudy(f"{path} is not the winner of a study; remove it to tune again")
    for name, value in best["settings"].items():
        if name not in study.space:
            raise InvalidStudy(f"{path} has {name!r}, which is not searched; remove it to tune again")
        if not study.space[name].holds(value):
            raise InvalidStudy(f"{path} has {name} = {value!r}, which the search space does not hold; tune anew")
    return {key: best[key] for key in ("trial", "score", "settings")}
