"""python -m analysis.compare A B: do two results folders agree, and where do they differ?"""

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

from ..command import run_command
from ..reading.checks import ResultsError, write_whole
from ..sections.published.tables import MARGIN
from ..summary import finite
from .pairs import (
    Comparison,
    Side,
    about,
    code_changes,
    judged,
    made_by,
    only_in,
    paired_scores,
    read_side,
    run_pairs,
    section_changes,
    setting_changes,
    status_of,
    study_changes,
)
from .text import text_of, verdict_text


def main() -> None:
    """The command line. Exit status: that of the comparison, or 2 for a mistake of the user."""
    arguments = parser().parse_args()
    if arguments.a.resolve() == arguments.b.resolve():
        raise ResultsError(
            f"{arguments.a} and {arguments.b} are the same folder; compare it with a copy kept from before."
        )
    if not arguments.margin >= 0:
        raise ResultsError(f"--margin is {arguments.margin:g}; expected a difference of normalised scores, 0 or more.")
    if arguments.json and arguments.json.is_dir():
        raise ResultsError(f"--json {arguments.json}: a folder; expected the name of a file.")
    found = compare(read_side(arguments.a), read_side(arguments.b), arguments.margin)
    if arguments.json:
        write_whole(arguments.json, json_of(found).encode())
    print(text_of(found), end="")
    sys.exit(found.status)


def compare(a: Side, b: Side, margin: float = MARGIN) -> Comparison:
    """Compare two folders. margin: the largest difference of normalised scores that is of no interest."""
    changes = [
        *section_changes("task", a.grid.tasks, b.grid.tasks),
        *code_changes(a, b),
        *section_changes("algorithm", a.grid.algorithms, b.grid.algorithms),
        *setting_changes(a.grid, b.grid),
        *study_changes(a.grid, b.grid),
    ]
    runs = run_pairs(a, b)
    scores = judged(paired_scores(a, b, runs, changes), margin)
    titles = {**b.grid.algorithms, **a.grid.algorithms}
    found = Comparison(
        verdict="",
        status=status_of(scores),
        margin=margin,
        folders={"a": about(a), "b": about(b)},
        titles={name: algorithm["title"] for name, algorithm in titles.items()},
        changes=changes,
        only={"a": only_in(a.grid, b.grid), "b": only_in(b.grid, a.grid)},
        runs=runs,
        scores=scores,
        made_by=made_by(a, b),
    )
    return replace(found, verdict=verdict_text(found))


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m analysis.compare",
        description="Compare two results folders: what was asked for, every run, and the scores, as b − a.",
        epilog="Exit status: 0 where no score differs by more than chance (identical, the same within the margin, or "
        "not told apart); 1 where a score does; 2 where nothing could be compared or tested, or for a mistake.",
    )
    parser.add_argument("a", type=Path, help="a grid's folder, e.g. results/default_before")
    parser.add_argument("b", type=Path, help="the other, e.g. results/default")
    parser.add_argument(
        "--margin",
        type=float,
        default=MARGIN,
        help="the largest difference of normalised scores that is of no interest (%(default)s)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the comparison as JSON")
    return parser


def json_of(found: Comparison) -> str:
    """The comparison as JSON text. null stands for a number that does not exist."""
    return json.dumps(finite(asdict(found)), indent=1, ensure_ascii=False, default=int, allow_nan=False) + "\n"


if __name__ == "__main__":
    run_command(main, "analysis.compare")
