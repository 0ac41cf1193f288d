"""Checks what tasks were made of when they were run: versions of packages, digests of other modules' files."""

import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from policy_gradient_ladder.experiments.schema import DIGITS, TASK_CODE

from .checks import ResultsError, differing

ROOT = Path(__file__).resolve().parents[2]  # of the project
Made = tuple[Path, str, Any]  # a record's file, a task, and what that was made of


def code_of_tasks(path: Path, record: dict[str, Any]) -> Iterator[Made]:
    """Of each task of a run, study or probe, what it was made of. Earlier versions did not say.

    path: of run.json, study.json or probe.json; record: its content.
    """
    if path.name == "study.json":
        codes = {task: about.get(TASK_CODE) for task, about in record["tasks"].items()}
    elif path.name in ("run.json", "probe.json"):
        codes = {record["cell" if path.name == "run.json" else "probe"]["task"]: record.get(TASK_CODE)}
    else:
        codes = {}
    yield from ((path, task, code) for task, code in codes.items() if code is not None)


def faults_of(records: Mapping[Path, dict[str, Any]]) -> list[str]:
    """A sentence where results of a task are of different code, or for each of its files that was edited since.

    records: of runs, studies, probes and the benchmark, by their files.
    """
    made = [of for path, record in records.items() for of in code_of_tasks(path, record)]
    try:
        check_task_code(made)
    except ResultsError as error:
        return [str(error)]
    return list(edited_since(made))


def check_task_code(made: Iterable[Made]) -> None:
    """Raise ResultsError where two results are of one task, and this was made of something else then."""
    first: dict[str, tuple[Path, Any]] = {}
    for path, task, code in made:
        other, code_of_other = first.setdefault(task, (path, code))
        for part, own, others in differing(code, code_of_other):
            raise ResultsError(
                f"{path}: of {task}, {TASK_CODE} has {part} {own}, and {other} has {others}; results of different "
                f"code are neither averaged nor compared: make the older one again, as snakemake does."
            )


def edited_since(made: Iterable[Made]) -> Iterator[str]:
    """A sentence for every file of a task that is another one now than when results were made of it.

    A file is looked for in the project and in the folders that Python has modules from; where it is in none of them,
    on another machine for example, nothing can be said about it.
    """
    of_files: dict[str, dict[str, list[Path]]] = {}
    for path, _, code in made:
        for files in (files for files in code.values() if isinstance(files, dict)):
            for file, content in files.items():
                of_files.setdefault(file, {}).setdefault(content, []).append(path)
    for file, contents in of_files.items():
        places = (folder / file for folder in (ROOT, *map(Path, sys.path)))
        if (found := next((place for place in places if place.is_file()), None)) is None:
            continue
        now = hashlib.sha256(found.read_bytes()).hexdigest()[:DIGITS]
        if old := [path for content, paths in contents.items() if content != now for path in paths]:
            yield (
                f"{found}: edited since {len(old):,} of the results were made with it, {old[0]} for example; "
                f"snakemake makes them again."
            )
