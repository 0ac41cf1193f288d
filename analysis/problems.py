"""What sections could not make, and why: noted for the stages that follow, which make the rest, and said in words."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from policy_gradient_ladder.experiments.schema import PROBLEMS

from .reading.checks import read_json, write_whole
from .reading.tables import read_table
from .sections import SectionError
from .words import enumerate_text


def write_problems(folder: Path, problems: dict[str, str]) -> None:
    """Note why a table or figure, by its name, is not in `folder`; remove the note where all are there."""
    path = folder / PROBLEMS
    if problems:
        write_whole(path, (json.dumps(problems, indent=1, ensure_ascii=False) + "\n").encode())
    else:
        path.unlink(missing_ok=True)


def read_problems(folder: Path) -> dict[str, str]:
    """What `write_problems` noted in `folder`; empty where nothing is missing."""
    path = folder / PROBLEMS
    return read_json(path) if path.exists() else {}


def made_tables(results: Path) -> Callable[[str], pd.DataFrame]:
    """What reads a table of results/<grid>/tables by its name. It raises SectionError with the reason, where one was
    noted why the table could not be made, and ResultsError where its file is not there otherwise, or is spoilt.
    """
    unmade = read_problems(results / "tables")

    def table(name: str) -> pd.DataFrame:
        if name in unmade:
            raise SectionError(unmade[name])
        return read_table(results, name)

    return table


def in_words(problems: dict[str, str]) -> str:
    """A line for every reason, for the terminal: what could not be made, and why."""
    by_reason: dict[str, list[str]] = {}
    for name, why in problems.items():
        by_reason.setdefault(why, []).append(name)
    return "".join(f"error: {enumerate_text(names)} could not be made. {why}\n" for why, names in by_reason.items())


class Missing:
    """What a page lacks, in the order in which that was found: (why, its section, what it is)."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str, str]] = []

    def add(self, section: str, what: str, why: str) -> None:
        """Note that `what` of a section could not be made, and why."""
        self.found.append((why, section, what))

    def sentences(self, section: str | None = None) -> list[str]:
        """A sentence for every reason: all that is missing for it, or what of one section is."""
        by_reason: dict[str, list[str]] = {}
        for why, of, what in self.found:
            if section in (None, of):
                by_reason.setdefault(why, []).append(what)
        return [f"Missing: {enumerate_text(things)}. {why}" for why, things in by_reason.items()]
