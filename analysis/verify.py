"""Whether a grid's results are whole, belong together and are complete.

Files are read; none is run, and none written. What `experiments` and `analysis.report` write carries sizes and SHA-256
digests: those of a folder's files stand in the JSON file that was written last. They find what was damaged, cut off,
mixed up or edited; who has written it they do not say.
"""

import argparse
import hashlib
import math
import os
import stat
import sys
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from types import NoneType
from typing import Any

from analysis.command import run_command
from analysis.reading.benchmark import read_benchmark
from analysis.reading.checks import (
    ResultsError,
    check_files,
    check_inside,
    check_keys,
    digest,
    read_json,
)
from analysis.reading.grid import Grid, check_there, read_grid
from analysis.reading.jobs import STATES
from analysis.reading.probes import archive_names, read_probe
from analysis.reading.runs import check_task_code, read_episodes, read_run, read_updates
from analysis.reading.studies import read_study
from analysis.reading.tables import TABLES, read_table, table_text
from analysis.words import plural
from experiments.schema import (
    BENCHMARK_FILES,
    CHECKPOINTS,
    JOURNAL,
    LOCKS,
    MADE_OF,
    NO_DIGEST,
    PROBE_FILES,
    REPORT_FILES,
    RUN_FILES,
    STUDY_FILES,
    SUPERSEDED,
)

PROVENANCE_KEYS = {
    "versions": dict,
    "commit": (str, NoneType),
    "uncommitted_changes": (bool, NoneType),
    "machine": dict,
}
SHOWN = 5  # of a list of names
HALF_A_MILLISECOND = 5e-4  # seconds are recorded in milliseconds
Record = dict[str, Any]
Records = dict[Path, Record]


@dataclass
class Section:
    """One line about a kind of file, what is wrong there, and what is merely worth knowing."""

    name: str
    line: str
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> None:
    """Check a grid's results. Exit status: 0 whole and complete; 1 something is wrong or missing; 2 no such folder."""
    parser = argparse.ArgumentParser(prog="python -m analysis.verify", description=main.__doc__)
    parser.add_argument("results", type=Path, help="a grid's folder, e.g. results/smoke")
    parser.add_argument(
        "--recompute", action="store_true", help="also make tables and page once more, in memory, and compare"
    )
    options = parser.parse_args(arguments)
    check_there(options.results)
    sections = verify(options.results, recompute=options.recompute)
    for section in sections:
        print(printable(f"{section.name:<11}{section.line}"))
        for sentence in (*section.faults, *section.notes):
            print(printable(f"  {'FAULT' if sentence in section.faults else 'note'}: {sentence}"))
    faults = sum(len(section.faults) for section in sections)
    print(f"{plural(faults, 'fault')}." if faults else "Whole and complete.")
    sys.exit(1 if faults else 0)


def verify(results: Path, *, recompute: bool = False) -> list[Section]:
    """What is to be said of a grid's folder."""
    if odd := list(neither_files_nor_folders(results)):
        return [Section("folder", "nothing was read", odd)]
    try:
        grid = read_grid(results)
        faults = list(damage(results / "grid.json", read_json(results / "grid.json")))
    except ResultsError as error:
        return [Section("grid", "nothing else was read", [str(error)])]
    records: Records = {}
    sections = [
        Section("grid", f"{grid.name}, {plural(len(grid.cells), 'cell')}", faults),
        runs(grid, records),
        asked_for("studies", grid, grid.studies, "study.json", read_study_record, records),
        asked_for("probes", grid, grid.probes, "probe.json", read_probe_record, records),
        benchmark(grid, records),
        tables(grid, records),
        report(grid),
    ]
    if recompute:
        sections.append(made_once_more(grid))
    return [*sections, made_by(records), strays(grid, records)]


def neither_files_nor_folders(results: Path) -> Iterator[str]:
    """Links, which may lead anywhere, and devices, which may have no end."""
    for folder, folders, files in os.walk(results):
        for path in (Path(folder, name) for name in (*folders, *files)):
            kind = path.lstat().st_mode
            if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
                what = f"a link to {os.readlink(path)}" if stat.S_ISLNK(kind) else "neither a file nor a folder"
                yield f"{path}: {what}; delete it, or put there what it stands for."


def damage(path: Path, record: Record) -> Iterator[str]:
    """What of a record, or beside it, is not as it was written; nothing where it has no digests."""
    if "sha256" not in record:
        return
    check_keys(record, {"sha256": str}, path, "the file")
    before, own, after = path.read_bytes().rpartition(record["sha256"].encode("utf-8", "replace") or NO_DIGEST.encode())
    if hashlib.sha256(before + NO_DIGEST.encode() + after).hexdigest().encode() != own:
        yield f"{path}: changed after it was written; {remedy(path)}."
    yield from others_than_described(path.parent, record.get("files", {}), path)


def others_than_described(folder: Path, files: dict[str, Record], path: Path) -> Iterator[str]:
    """Which files of a folder are not those that the file `path` describes."""
    for name, described in files.items():
        file = folder / name
        if not file.is_file():
            yield f"{file}: missing, and {path} describes it; {remedy(file)}."
        elif digest(file, described["bytes"] if name == JOURNAL else None) != described:
            yield f"{file}: not the file that {path} describes; {remedy(file)}."


def remedy(file: Path) -> str:
    """What to do about a file that is not as it was."""
    if file.name == JOURNAL:
        return f"damaged, or begun anew and not finished: run snakemake, or move {file.parent} away to tune anew"
    if file.parent.name == "speed":
        return f"delete {file.parent}, and 'snakemake speed' measures again"
    if file.name in (*RUN_FILES, *PROBE_FILES):
        file = file.parent
    elif file.parent.name == CHECKPOINTS:
        file = file.parent.parent
    return f"delete {file}, and snakemake makes it again"


def check_archive(path: Path) -> None:
    """A file of arrays whose checksums are right."""
    try:
        archive_names(path)
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (OSError, ValueError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise ResultsError(f"{path}: not a whole file of arrays ({error}); {remedy(path)}.") from None
    if damaged is not None:
        raise ResultsError(f"{path}: {damaged!r} in it is damaged; {remedy(path)}.")


def some_of(names: Sequence[str]) -> str:
    """The first of a list of names, and how many more there are."""
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else "")


def printable(text: str) -> str:
    """Text without what a terminal would obey."""
    return "".join(character if character.isprintable() else "?" for character in text)


def asked_for(
    kind: str,
    grid: Grid,
    entries: Sequence[Record],
    file: str,
    read: Callable[[Grid, Record], Record | None],
    records: Records,
) -> Section:
    """Everything of a kind that grid.json asks for: there, as it was asked for, and whole. `records` gets them."""
    section = Section(kind, "none asked for")
    missing, digests, without = [], 0, 0
    found = 0
    for entry in entries:
        path = grid.folder / entry["directory"] / file
        try:
            record = read(grid, entry)
            if record is None:
                missing.append(entry["directory"])
                continue
            check_keys(record, PROVENANCE_KEYS, path, "the file")
            section.faults += damage(path, record)
        except ResultsError as error:
            section.faults.append(str(error))
            continue
        records[path] = record
        found += 1
        digests += len(record.get("files", ()))
        without += "sha256" not in record
    if entries:
        compared = f"; digests of {plural(digests, 'file')} compared" if digests else ""
        section.line = f"{found:,} of {len(entries):,}{compared}"
    if missing:
        section.faults.append(f"{len(missing):,} missing: {some_of(missing)}; snakemake makes what is missing.")
    if without:
        section.notes.append(f"{without:,} without digests, from an earlier version: whole as far as can be seen.")
    return section


def runs(grid: Grid, records: Records) -> Section:
    """Every cell's run: of this cell, with its settings and budget, whole, and evaluated as the others are."""
    section = asked_for("runs", grid, grid.cells, "run.json", read_whole_run, records)
    found = dict(records)
    states = Counter(run["status"] for run in found.values())
    if "diverged" in states:
        section.line += f"; {', '.join(f'{states[state]:,} {state}' for state in STATES if state in states)}"
    episodes = {
        path: tuple(len(evaluation["returns"]) for evaluation in run["evaluation"].values())
        for path, run in found.items()
        if run["status"] == "done"
    }
    usual = Counter(episodes.values()).most_common(1)
    for path, counts in episodes.items():
        if counts != usual[0][0]:
            own, others = (" and ".join(map(str, numbers)) for numbers in (counts, usual[0][0]))
            section.faults.append(f"{path}: evaluated on {own} episodes, most runs on {others}; {remedy(path)}.")
    there = [(cell, records[path]) for cell in grid.cells if (path := run_path(grid, cell)) in records]
    try:
        check_task_code(grid, there)
    except ResultsError as error:
        section.faults.append(str(error))
    if mixed := of_different_code(there):
        section.notes.append(f"{some_of(mixed)}: its runs are of different code; snakemake runs the older ones again.")
    foreign = [run["cell"].get("grid") for run in found.values() if run["cell"].get("grid") != grid.name]
    if foreign:
        names = some_of(sorted(set(map(str, foreign))))
        section.notes.append(f"{len(foreign):,} made for another grid, {names}, with the same settings.")
    return section


def run_path(grid: Grid, cell: Record) -> Path:
    """Where a cell's record lies."""
    return grid.folder / cell["directory"] / "run.json"


def of_different_code(runs: Sequence[tuple[Record, Record]]) -> list[str]:
    """The algorithms and tasks whose runs, each a cell and its run.json, name different code."""
    codes: dict[str, set[str]] = {}
    for cell, run in runs:
        if "code" in run:  # earlier versions did not name it
            codes.setdefault(f"{cell['algorithm']} on {cell['task']}", set()).add(str(run["code"]))
    return [name for name, of in codes.items() if len(of) > 1]


def read_whole_run(grid: Grid, cell: Record) -> Record | None:
    """A cell's run.json, or None; where it has no digests, its files are looked through."""
    path = run_path(grid, cell)
    folder = path.parent
    if not path.exists():
        return None
    run = read_run(grid, cell)
    if run["status"] == "diverged" and run["evaluation"] is not None:
        raise ResultsError(f"{path}: diverged, and yet it has an evaluation; {remedy(path)}.")
    for kind, evaluation in (run["evaluation"] or {}).items():
        check_keys(evaluation, {"lengths": list}, path, f"evaluation.{kind}")
        returns, lengths = len(evaluation["returns"]), len(evaluation["lengths"])
        if returns != lengths:
            raise ResultsError(
                f"{path}: evaluation.{kind} has {returns} returns and {lengths} lengths; {remedy(path)}."
            )
    check_keys(run, {"checkpoints": list}, path, "the file")
    for index, checkpoint in enumerate(run["checkpoints"]):
        check_keys(checkpoint, {"file": str}, path, f"checkpoints[{index}]")
        file = check_inside(folder, checkpoint["file"], path)
        if "files" not in run:
            check_archive(file)
    if "files" not in run:
        read_episodes(folder, run)
        read_updates(folder, run)
    return run


def read_study_record(grid: Grid, asked: Record) -> Record | None:
    """A study's study.json, its other files having been looked through; or None."""
    study = read_study(grid, asked)
    return study and study.about


def read_probe_record(grid: Grid, asked: Record) -> Record | None:
    """A probe's probe.json, its arrays having been looked through; or None."""
    probe = read_probe(grid, asked)
    return probe and probe.about


def benchmark(grid: Grid, records: Records) -> Section:
    """The benchmark, which nothing asks for."""
    path = grid.folder / "speed" / "benchmark.json"
    try:
        found = read_benchmark(grid.folder)
        if found is None and (grid.folder / "speed/measurements.csv").exists():
            return Section("benchmark", "not whole", [f"{path}: missing; {remedy(path)}."])
        if found is None:
            return Section("benchmark", "not run")
        records[path] = found.about
        return Section(
            "benchmark", f"{plural(len(found.measurements), 'measurement')}", list(damage(path, found.about))
        )
    except ResultsError as error:
        return Section("benchmark", "cannot be read", [str(error)])


def tables(grid: Grid, records: Records) -> Section:
    """The tables are of these runs: the ledger has the seconds of each, which no two runs share.

    Where there are no digests of them, they are read to see whether they are whole.
    """
    section = Section("tables", f"{len(TABLES)}, of these runs")
    try:
        ledger = read_table(grid.folder, "ledger").groupby("directory")["seconds"].last()
        for name in TABLES if not (grid.folder / "report" / MADE_OF).exists() else ():
            read_table(grid.folder, name)
    except ResultsError as error:
        return Section("tables", "cannot be read", [str(error)])
    stale = []
    for cell in grid.cells:
        run = records.get(run_path(grid, cell))
        seconds = ledger.get(cell["directory"], math.nan)
        if run is not None and not math.isclose(seconds, run["seconds"]["total"], abs_tol=HALF_A_MILLISECOND):
            stale.append(cell["directory"])
    if stale:
        section.line = "of other runs"
        section.faults.append(
            f"{grid.folder / 'tables/ledger.csv'}: not made of the runs in {some_of(stale)}; delete it, and snakemake "
            "makes tables, figures and report again."
        )
    return section


def report(grid: Grid) -> Section:
    """The page, and the grid, tables and figures that it was made of."""
    page, path = grid.folder / "report" / "index.html", grid.folder / "report" / MADE_OF
    if not page.exists():
        return Section("report", "missing", [f"{page}: missing; snakemake makes it."])
    if not path.exists() and "sha256" in read_json(grid.folder / "grid.json"):
        return Section("report", "not described", [f"{path}: missing; {remedy(page)}."])
    if not path.exists():
        remark = (
            f"without digests, from an earlier version; python -m analysis.report --results {grid.folder} adds them."
        )
        return Section("report", "whether it belongs to these tables and figures cannot be seen", notes=[remark])
    try:
        described = read_json(path)
        check_files(described, grid.folder, path)
    except ResultsError as error:
        return Section("report", "cannot be read", [str(error)])
    files = described["files"]
    faults = list(others_than_described(grid.folder, files, path))
    lacking = [
        name
        for name in [*(f"report/{name}" for name in REPORT_FILES), *(f"tables/{name}.csv" for name in TABLES)]
        if name not in files
    ]
    if lacking:
        faults.append(f"{path}: does not describe {some_of(lacking)}; {remedy(path)}.")
    return Section(
        "report", f"digests of {plural(len(files), 'file')} compared: page, figures, tables and grid", faults
    )


def made_once_more(grid: Grid) -> Section:
    """Whether the tables are those that the runs give, and the report the one that tables and figures give."""
    from analysis.report import report_texts  # with all that draws, which only this needs
    from analysis.tables import make_tables

    section = Section("recomputed", "tables from runs, the page from tables and figures")
    try:
        made = {f"tables/{name}.csv": table_text(table) for name, table in make_tables(grid).items()}
        made |= {f"report/{name}": text for name, text in report_texts(grid).items()}
    except ResultsError as error:
        section.faults.append(str(error))
        return section
    for name, text in made.items():
        path = grid.folder / name
        if not path.exists() or path.read_bytes() != text.encode():
            section.faults.append(
                f"{path}: not what this version makes of the results; delete it, and snakemake makes it again."
            )
    return section


def made_by(records: Records) -> Section:
    """Commits, versions and machines of everything that was measured."""
    commits = Counter(record["commit"][:10] if record["commit"] else "not recorded" for record in records.values())
    section = Section("made by", listed("commit", commits) if commits else "nothing has been measured")
    changed = sum(record["uncommitted_changes"] is True for record in records.values())
    if changed:
        section.notes.append(f"{changed:,} of {len(records):,} were made with changes that are in no commit.")
    packages = sorted({package for record in records.values() for package in record["versions"]})
    values = {
        package: Counter(str(r["versions"][package]) for r in records.values() if package in r["versions"])
        for package in packages
    }
    values["processor"] = Counter(str(record["machine"].get("cpu")) for record in records.values())
    section.notes += [f"{listed(name, of)}." for name, of in values.items() if len(of) > 1]
    return section


def listed(name: str, values: Counter) -> str:
    """One value, or several with how often each is there."""
    if len(values) == 1:
        return f"{name} {next(iter(values))}"
    return f"{len(values)} different values of {name}: " + some_of([f"{v} ({n:,})" for v, n in values.most_common()])


def strays(grid: Grid, records: Records) -> Section:
    """Files that nothing has asked for, by the outermost folder that holds nothing else."""
    exact, patterns = known_files(grid, records)
    folders = [
        (PurePosixPath(Path(folder).relative_to(grid.folder)), names) for folder, _, names in os.walk(grid.folder)
    ]
    paths = [folder / name for folder, names in folders for name in names]
    known = {p for p in paths if str(p) in exact or any(fnmatch(str(p), pattern) for pattern in patterns)}
    holders = {parent for path in (*known, PurePosixPath("grid.json")) for parent in path.parents}
    found: Counter = Counter()
    for path in (path for path in paths if path not in known):
        found[next(place for place in (*reversed(path.parents), path) if place not in holders)] += 1
    section = Section("others", f"{plural(found.total(), 'file')} that nothing asks for" if found else "no other files")
    unfinished = [str(place) for place in found if place.name.startswith(".")]
    others = [f"{place} ({plural(files, 'file')})" for place, files in found.items() if str(place) not in unfinished]
    if unfinished:
        section.notes.append(f"of a process that was killed, unless it is still at work: {some_of(unfinished)}.")
    if others:
        section.notes.append(f"used for nothing, of another grid say: {some_of(others)}.")
    return section


def known_files(grid: Grid, records: Records) -> tuple[set[str], list[str]]:
    """What may lie in the folder: files, and patterns of files."""
    exact = {"grid.json", *(f"speed/{name}" for name in BENCHMARK_FILES)}
    exact |= {f"report/{name}" for name in (*REPORT_FILES, MADE_OF)}
    exact |= {f"tables/{name}.csv" for name in TABLES}
    exact |= {f"{probe['directory']}/{file}" for probe in grid.probes for file in PROBE_FILES}
    exact |= {f"{study['directory']}/{file}" for study in grid.studies for file in (*STUDY_FILES, JOURNAL)}
    patterns = ["figures/*", "logs/*"]
    patterns += [
        f"{study['directory']}/{files}" for study in grid.studies for files in (SUPERSEDED.format("*"), f"{LOCKS}/*")
    ]
    for cell in grid.cells:
        run = records.get(run_path(grid, cell))
        if run is None:  # missing or not to be read: then these are no others
            patterns.append(f"{cell['directory']}/*")
        else:
            names = (*RUN_FILES, *(checkpoint["file"] for checkpoint in run["checkpoints"]))
            exact |= {f"{cell['directory']}/{name}" for name in names}
    return exact, patterns


if __name__ == "__main__":
    run_command(main, "analysis.verify")
