"""Reads best.json, the winner of a study: the settings that its tuned cells are run with."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from policy_gradient_ladder.experiments.schema import BEST

from .checks import NUMBER, ResultsError, check_keys, check_schema, read_json

BEST_KEYS = {"schema": int, "algorithm": str, "group": str, "trial": int, "score": NUMBER, "settings": dict}


def read_best(results: Path, asked: dict[str, Any]) -> dict[str, Any] | None:
    """The winner of a study: its best.json, which an entry of the grid's studies asks for. None where the study has
    trials still to make. Raises ResultsError.
    """
    path = results / asked["directory"] / BEST
    if not path.exists():
        return None
    best = read_json(path)
    check_best(best, asked, path, "the file")
    return best


def check_best(best: Any, asked: dict[str, Any], path: Path, where: str) -> None:
    """Check a winner that stands at `where` in the file `path` against the entry of the grid that asks for it."""
    check_keys(best, BEST_KEYS, path, where)
    check_schema(best, path)
    check_same(best, asked, ("algorithm", "group"), path)


def check_same(found: dict[str, Any], asked: dict[str, Any], keys: Iterable[str], path: Path) -> None:
    """Check that a study's file has, at these keys, what the grid asks for."""
    for key in keys:
        if found[key] != asked[key]:
            raise ResultsError(
                f"{path}: {key} is {found[key]!r}, the grid has {asked[key]!r} there; tune it again, or read it with "
                f"the grid that it was made with."
            )
