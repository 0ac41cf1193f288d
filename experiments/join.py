"""Join parts of a grid that were made in several folders, on several days or machines, into one results folder."""

import argparse
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .at_work import take_lock
from .cells import Cell, Grid, preprocessing
from .checks import GridError
from .command import exit_with_sentence
from .determinants import what_determines
from .grid import GRIDS, load_grid
from .jobs import Job
from .record import check_writable, whole_folder, write_record
from .schema import DETERMINED_BY, FINISHED, JOURNAL, LOCKS, NO_DIGEST, RECORDS, TRAINED
from .search import Study
from .sources import ROOT

# Of two records of the same numbers, these may differ: where and when they were made, and what that cost.
OF_THE_MACHINE = ("versions", "commit", "uncommitted_changes", "machine", "seconds", "steps_per_second")
OF_THE_MACHINE += ("peak_memory_mb", "sha256")
NOT_COPIED = (LOCKS, TRAINED)


@dataclass(frozen=True)
class Found:
    """A result in one of the folders."""

    folder: Path  # of the grid's results
    directory: str  # of the result, relative to it
    record: dict[str, Any]

    @property
    def kind(self) -> str:
        """A run, a study or a probe."""
        return Path(RECORDS[self.directory.partition("/")[0]]).stem

    @property
    def place(self) -> Path:
        """Where it lies."""
        return self.folder / self.directory

    def numbers(self) -> dict[str, Any]:
        """What has to be the same in every folder. The tables of a study have seconds in them, so its winner stands
        for it.
        """
        if "trial" in self.record.get("best", {}):
            return {"best": self.record["best"]}
        return {key: value for key, value in self.record.items() if key not in OF_THE_MACHINE}


def main(arguments: Sequence[str] | None = None) -> None:
    """Copy the finished runs, studies and probes of other folders of the same grid into a results folder."""
    parser = argparse.ArgumentParser(prog="python -m experiments.join", description=main.__doc__)
    parser.add_argument("into", type=Path, metavar="RESULTS", help="the results folder that gets them: results/GRID")
    parser.add_argument("parts", type=Path, nargs="+", metavar="OTHER", help="a results folder with a part of the grid")
    options = parser.parse_args(arguments)
    grid = grid_of(options.into, options.parts)
    check_writable(options.into.resolve(), options.into)
    with nobody_at_work(options.into):
        copied, same, strangers = join(grid, options.into, options.parts)
    there = sum((options.into / cell.directory / RECORDS["runs"]).is_file() for cell in grid.cells())
    print(f"{len(copied)} results copied into {options.into}, {same} were there already with the same numbers")
    if strangers:
        print(f"left where they are, because the grid does not ask for them: {', '.join(strangers)}")
    print(f"{there} of {len(grid.cells())} runs are there; the rest and the page:  snakemake --config grid={grid.path}")


def nobody_at_work(into: Path) -> AbstractContextManager:
    """A context in which no Snakemake begins to work on a results folder; raises GridError where one is at work."""
    folder = Path(os.path.abspath(into))
    try:
        return take_lock(folder.parents[1], f"{folder.parent.name}/{folder.name}") or nullcontext()
    except BlockingIOError as error:
        raise GridError(f"a snakemake is at work on {into}; wait until it has ended. Nothing was copied") from error


def grid_of(into: Path, parts: Sequence[Path]) -> Grid:
    """The grid that all these folders have results of, as its file is now.

    Raises GridError where one of the parts is no results folder, or of another grid than the others.
    """
    for folder in (into, *parts):
        if folder.exists() and not folder.is_dir():
            raise GridError(f"{folder} is a file; a results folder is needed")
    manifests = {folder: manifest for folder in (into, *parts) if (manifest := read(folder / "grid.json")) is not None}
    for part in parts:
        if part not in manifests:
            raise GridError(f"{part} has no grid.json, so it is no results folder; give results/GRID of the other copy")
        if part.resolve() == into.resolve():
            raise GridError(
                f"{part} is the folder that gets the results; name the folders of the other parts behind it"
            )
    name = into.absolute().name
    for folder, manifest in manifests.items():
        if manifest.get("grid") != name:
            raise GridError(f"{folder} has results of the grid {manifest.get('grid')!r}, not of {name!r} as {into}")
    shipped = (GRIDS / f"{name}.yaml").is_file()
    return load_grid(name if shipped else str(ROOT / str(next(iter(manifests.values())).get("grid_file"))))


def join(grid: Grid, into: Path, parts: Sequence[Path]) -> tuple[list[Found], int, list[str]]:
    """Copy what `into` lacks; all is checked before anything is copied.

    Returns what was copied, how many results were there already, and the folders of runs that the grid does not have.
    Raises GridError, which names the result, where one is damaged, was made otherwise than this grid with this code
    makes it, or has other numbers in two folders.
    """
    jobs: dict[str, Job] = {job.directory: job for job in (*grid.studies(), *grid.cells(), *grid.probes)}
    chosen: dict[str, Found] = {}
    again, strangers = 0, []
    for folder in (into, *parts):
        for path in sorted(path for kind, file in RECORDS.items() for path in folder.glob(f"{kind}/**/{file}")):
            directory = path.parent.relative_to(folder).as_posix()
            if any(name.startswith(".") for name in path.relative_to(folder).parts):
                continue  # of what is being written
            if directory not in jobs:
                strangers += [str(path.parent)] if folder != into else []
                continue
            if isinstance(jobs[directory], Study) and not (folder / f"{directory}{FINISHED}").exists():
                continue
            found = Found(folder, directory, whole_record(path))
            if folder != into:
                check_made_of(grid, jobs[directory], found)
            other = chosen.setdefault(directory, found)
            if other is not found:
                check_same(other, found)
                again += 1
    check_winners(jobs, chosen)
    copied = [found for found in chosen.values() if found.folder != into]
    for found in copied:
        copy(found, into)
    if not (into / "grid.json").exists():
        write_record(into / "grid.json", grid.manifest())
    return copied, again, strangers


def copy(found: Found, into: Path) -> None:
    """Copy a result whole or not at all. Its files are new then, so that tables of before are made again."""
    with whole_folder(into / found.directory) as unfinished:
        shutil.copytree(
            found.place,
            unfinished,
            ignore=shutil.ignore_patterns(*NOT_COPIED),
            copy_function=shutil.copyfile,
            dirs_exist_ok=True,
        )
    finished = found.folder / f"{found.directory}{FINISHED}"
    if finished.exists():
        (into / f"{found.directory}{FINISHED}").touch()


def read(path: Path) -> dict[str, Any] | None:
    """A JSON object; None where there is no file. Raises GridError where it is damaged."""
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise GridError(f"{path} is damaged: {error}; delete its folder, or fetch it again") from error
    if not isinstance(record, dict):
        raise GridError(f"{path} is damaged: it holds no mapping; delete its folder, or fetch it again")
    return record


def whole_record(path: Path) -> dict[str, Any]:
    """The record of a result whose files are all as they were written. Raises GridError for any other."""
    record, text = read(path) or {}, path.read_text(encoding="utf-8")
    before, own, after = text.rpartition(str(record.get("sha256")))
    files: dict[str, Any] = {}
    try:
        files |= record.get("files", {})
        changed = [name for name, of in files.items() if beginning(path.parent, name, of["bytes"]) != of["sha256"]]
    except (LookupError, TypeError, OSError) as error:
        raise GridError(f"{path} is damaged: {error!r}; delete its folder, or fetch it again") from error
    if not own or sha256((before + NO_DIGEST + after).encode()) != own:
        changed.append(path.name)
    changed += [file.name for file in path.parent.rglob("*") if file.is_symlink()]
    if changed:
        raise GridError(f"{path.parent}: {changed[0]} is not as it was written; delete the folder, or fetch it again")
    return record


def beginning(folder: Path, name: str, size: int) -> str:
    """SHA-256 of the first bytes of a file; that of a study's journal may grow."""
    if not (folder / name).resolve().is_relative_to(folder.resolve()):
        raise LookupError(name)
    with (folder / name).open("rb") as file:
        content = file.read(size)
        return sha256(content if name == JOURNAL else content + file.read())


def sha256(content: bytes) -> str:
    """The digest of some bytes."""
    return hashlib.sha256(content).hexdigest()


def check_made_of(grid: Grid, job: Job, found: Found) -> None:
    """Raise GridError, with the first difference, where a result is not what its job makes here and now."""
    determinants = what_determines(grid, job)
    code, said = determinants.code(), found.record.get(DETERMINED_BY)
    if said == determinants.digest(code):
        return
    if said is None:
        why = "does not say what it is made of: an earlier version made it, or a person with settings of their own"
    else:
        versions = found.record.get("versions", {})
        other = [name for name, version in determinants.versions.items() if versions.get(name, version) != version]
        differing = [key for key, asked in asked_of(grid, job).items() if found.record.get(key, asked) != asked]
        if differing:
            why = f"is of other {differing[0]} than {grid.path} asks for"
        elif other:
            why = f"was made with {other[0]} {versions[other[0]]}, and here is {determinants.versions[other[0]]}"
        elif found.record.get("code") != code.name:
            why = f"was made by other code ({found.record.get('code')}, here it is {code.name})"
        else:
            why = f"was made as another grid than {grid.path} asks for"
    raise GridError(
        f"{found.place} {why}; nothing was copied. Join only what the same grid and the same code have made"
    )


def asked_of(grid: Grid, job: Job) -> dict[str, Any]:
    """What the grid says of a run, by the names that it has in the run's record; settings without tuned ones."""
    if not isinstance(job, Cell):
        return {}
    asked = {"steps": job.steps, "task_settings": preprocessing(grid.tasks[job.task].task)}
    return asked if job.tuned else asked | {"settings": json.loads(json.dumps(job.settings))}


def check_same(one: Found, other: Found) -> None:
    """Raise GridError where a result has other numbers in two folders."""
    a, b = one.numbers(), other.numbers()
    if differing := [key for key in {**a, **b} if a.get(key) != b.get(key)]:
        raise GridError(
            f"{one.place} and {other.place} are of the same {one.kind} and differ in {differing[0]}, so the two "
            "contradict each other; nothing was copied. Machines may round differently: keep one of them, and delete "
            "the other"
        )


def check_winners(jobs: Mapping[str, Job], chosen: Mapping[str, Found]) -> None:
    """Raise GridError where a run was made with settings that its study, among the same results, has not found."""
    for directory, found in chosen.items():
        job = jobs[directory]
        if isinstance(job, Cell) and job.tuned and job.tuned in chosen:
            best = chosen[job.tuned].record["best"]
            if found.record.get("tuned") != {key: best.get(key) for key in ("trial", "score", "settings")}:
                raise GridError(
                    f"{found.place} has other tuned settings than {chosen[job.tuned].place}; nothing was copied"
                )


if __name__ == "__main__":
    exit_with_sentence(main)
