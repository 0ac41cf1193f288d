"""Checks whether the results of a grid are undamaged, belong together and are complete.

This reads files. It runs and writes none. `experiments` and `analysis.report` write sizes and SHA-256 digests: the JSON
file that is written last in a folder holds those of the other files. The digests reveal files that were damaged, cut
off, mixed up or edited. They do not reveal who wrote a file.
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
from typing import Any

from policy_gradient_ladder.experiments.schema import (
    CHECKPOINTS,
    ESTIMATORS,
    EVALUATIONS_FILE,
    EXTERNAL,
    GRADIENTS,
    JOURNAL,
    MADE_OF,
    NO_DIGEST,
    POLICY,
    PROBE_FILES,
    REPORT_FILES,
    RUN_FILES,
)

from .command import run_command
from .problems import made_tables, read_problems
from .reading.benchmark import read_benchmark
from .reading.checks import (
    PROVENANCE_KEYS,
    ResultsError,
    check_files,
    check_inside,
    check_keys,
    command,
    digest,
    read_json,
)
from .reading.estimations import read_estimation
from .reading.external import not_vouched_for
from .reading.files import known_files
from .reading.grid import Grid, check_there, read_grid
from .reading.jobs import STATES
from .reading.probes import archive_names, read_probe
from .reading.runs import read_episodes, read_run, read_updates
from .reading.studies import read_study
from .reading.tables import table_file, table_text
from .reading.task_code import faults_of
from .sections import FIGURE_KINDS, FIGURES, SECTION_OF_TABLE, TABLES, TITLES, SectionError
from .words import plural

SHOWN = 5  # names of a list that a sentence shows
HALF_A_MILLISECOND = 5e-4  # seconds are recorded to the millisecond
READERS = {GRADIENTS: read_probe, ESTIMATORS: read_estimation}  # of probes, by what they measure
Record = dict[str, Any]
Records = dict[Path, Record]


@dataclass
class Check:
    """What a check found: a line for all files of a kind, the faults, and notes on what is no fault."""

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
    checks = verify(options.results, recompute=options.recompute)
    for check in checks:
        print(printable(f"{check.name:<11}{check.line}"))
        for sentence in (*check.faults, *check.notes):
            print(printable(f"  {'FAULT' if sentence in check.faults else 'note'}: {sentence}"))
    faults = sum(len(check.faults) for check in checks)
    print(f"{plural(faults, 'fault')}." if faults else "Whole and complete.")
    sys.exit(1 if faults else 0)


def verify(results: Path, *, recompute: bool = False) -> list[Check]:
    """All checks of a grid's folder. recompute: also make tables and page again, in memory, and compare them."""
    if odd := list(neither_files_nor_folders(results)):
        return [Check("folder", "nothing was read", odd)]
    try:
        grid = read_grid(results)
        faults = list(damage(results / "grid.json", read_json(results / "grid.json")))
    except ResultsError as error:
        return [Check("grid", "nothing else was read", [str(error)])]
    records: Records = {}
    checks = [
        Check("grid", f"{grid.name}, {plural(len(grid.cells), 'cell')}", faults),
        runs(grid, records),
        asked_for("studies", grid, grid.studies, "study.json", read_study_record, records),
        asked_for("probes", grid, grid.all_probes, "probe.json", read_probe_record, records),
        Check("tasks", "what each is made of, in all results and now", faults_of(records)),
        benchmark(grid, records),
        tables(grid, records),
        report(grid),
    ]
    if recompute:
        checks.append(made_once_more(grid))
    if elsewhere := not_vouched_for(grid):
        checks.append(Check("external", elsewhere[0], notes=elsewhere[1:]))
    return [*checks, made_by(records), strays(grid, records)]


def neither_files_nor_folders(results: Path) -> Iterator[str]:
    """A sentence for every link, since it may lead out of the folder, and for every device, since it may never end."""
    for folder, folders, files in os.walk(results):
        for path in (Path(folder, name) for name in (*folders, *files)):
            kind = path.lstat().st_mode
            if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
                what = f"a link to {os.readlink(path)}" if stat.S_ISLNK(kind) else "neither a file nor a folder"
                yield f"{path}: {what}; delete it, or put a file or folder in its place."


def damage(path: Path, record: Record) -> Iterator[str]:
    """A sentence if a record, or a file beside it, has changed since it was written. None where it has no digests."""
    if "sha256" not in record:
        return
    check_keys(record, {"sha256": str}, path, "the file")
    before, own, after = path.read_bytes().rpartition(record["sha256"].encode("utf-8", "replace") or NO_DIGEST.encode())
    if hashlib.sha256(before + NO_DIGEST.encode() + after).hexdigest().encode() != own:
        yield f"{path}: changed after it was written; {remedy(path)}."
    yield from others_than_described(path.parent, record.get("files", {}), path)


def others_than_described(folder: Path, files: dict[str, Record], path: Path) -> Iterator[str]:
    """A sentence for every file of a folder that is missing or not the one that the file `path` describes."""
    for name, described in files.items():
        file = folder / name
        if not file.is_file():
            yield f"{file}: missing, and {path} describes it; {remedy(file)}."
        elif digest(file, described["bytes"] if name == JOURNAL else None) != described:
            yield f"{file}: not the file that {path} describes; {remedy(file)}."


def remedy(file: Path) -> str:
    """What to do about a file that has changed."""
    if file.name == JOURNAL:
        return f"damaged, or begun again and not finished: run snakemake, or move {file.parent} away to tune again"
    if file.parent.name == "speed":
        return f"delete {file.parent}, and 'snakemake speed' measures again"
    if file.name in (*RUN_FILES, EVALUATIONS_FILE, POLICY, *PROBE_FILES):
        file = file.parent
    elif file.parent.name == CHECKPOINTS:
        file = file.parent.parent
    return f"delete {file}, and snakemake makes it again"


def check_archive(path: Path) -> None:
    """Raise ResultsError where a file of arrays is damaged."""
    try:
        archive_names(path)
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (OSError, ValueError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise ResultsError(f"{path}: incomplete or invalid file of arrays ({error}); {remedy(path)}.") from None
    if damaged is not None:
        raise ResultsError(f"{path}: {damaged!r} in it is damaged; {remedy(path)}.")


def some_of(names: Sequence[str]) -> str:
    """The first names of a list, and how many more there are."""
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else "")


def printable(text: str) -> str:
    """The text with ? in place of characters that control a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def asked_for(
    kind: str,
    grid: Grid,
    entries: Sequence[Record],
    file: str,
    read: Callable[[Grid, Record], Record | None],
    records: Records,
) -> Check:
    """Whether everything of a kind that grid.json asks for is there, as asked for, and undamaged.

    entries: of grid.json; file: name of the record in an entry's folder; read: reads and checks that record, or gives
    None where it is missing. Adds the records to `records`, by path.
    """
    check = Check(kind, "none asked for")
    missing, digests, without, found = [], 0, 0, 0
    for entry in entries:
        path = grid.folder / entry["directory"] / file
        try:
            record = read(grid, entry)
            if record is None:
                missing.append(entry["directory"])
                continue
            check_keys(record, PROVENANCE_KEYS, path, "the file")
            check.faults += damage(path, record)
        except ResultsError as error:
            check.faults.append(str(error))
            continue
        records[path] = record
        found += 1
        digests += len(record.get("files", ()))
        without += "sha256" not in record
    if entries:
        compared = f"; digests of {plural(digests, 'file')} compared" if digests else ""
        check.line = f"{found:,} of {len(entries):,}{compared}"
    if missing:
        check.faults.append(f"{len(missing):,} missing: {some_of(missing)}; snakemake makes what is missing.")
    if without:
        check.notes.append(f"{without:,} without digests, from an earlier version: no damage that can be seen.")
    return check


def runs(grid: Grid, records: Records) -> Check:
    """Whether every cell has an undamaged run, with the cell's settings and budget, evaluated as the other runs are."""
    check = asked_for("runs", grid, grid.cells, "run.json", read_whole_run, records)
    found = dict(records)
    states = Counter(run["status"] for run in found.values())
    if set(states) - {"done"}:
        check.line += f"; {', '.join(f'{states[state]:,} {state}' for state in STATES if state in states)}"
    episodes = {
        path: tuple(len(evaluation["returns"]) for evaluation in run["evaluation"].values())
        for path, run in found.items()
        if run["status"] == "done" and EXTERNAL not in run
    }
    usual = Counter(episodes.values()).most_common(1)
    for path, counts in episodes.items():
        if counts != usual[0][0]:
            own, others = (" and ".join(map(str, numbers)) for numbers in (counts, usual[0][0]))
            check.faults.append(f"{path}: evaluated on {own} episodes, most runs on {others}; {remedy(path)}.")
    there = [(cell, records[path]) for cell in grid.cells if (path := run_path(grid, cell)) in records]
    if mixed := of_different_code(there):
        check.notes.append(f"{some_of(mixed)}: its runs are of different code; snakemake runs the older ones again.")
    if foreign := [run["cell"].get("grid") for run in found.values() if run["cell"].get("grid") != grid.name]:
        names = some_of(sorted(set(map(str, foreign))))
        check.notes.append(f"{len(foreign):,} made for another grid, {names}, with the same settings.")
    return check


def run_path(grid: Grid, cell: Record) -> Path:
    """Where a cell's record lies."""
    return grid.folder / cell["directory"] / "run.json"


def of_different_code(runs: Sequence[tuple[Record, Record]]) -> list[str]:
    """The algorithms and tasks whose runs, each a cell and its run.json, name different code."""
    codes: dict[str, set[str]] = {}
    for cell, run in runs:
        if "code" in run and EXTERNAL not in run:  # earlier versions did not name it; a file is no code
            codes.setdefault(f"{cell['algorithm']} on {cell['task']}", set()).add(str(run["code"]))
    return [name for name, of in codes.items() if len(of) > 1]


def read_whole_run(grid: Grid, cell: Record) -> Record | None:
    """run.json of a cell; None where it has no run. Without digests in it, the other files are read and checked as
    well.
    """
    path = run_path(grid, cell)
    folder = path.parent
    if not path.exists():
        return None
    run = read_run(grid, cell)
    if run["status"] != "done" and run["evaluation"] is not None:
        raise ResultsError(f"{path}: {run['status']}, but it has an evaluation; {remedy(path)}.")
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
    """study.json of a study whose other files were checked as well; None where it has not finished."""
    study = read_study(grid, asked)
    return study and study.about


def read_probe_record(grid: Grid, asked: Record) -> Record | None:
    """probe.json of a probe whose arrays were checked as well; None where it has not been made."""
    probe = READERS[asked["measures"]](grid, asked)
    return probe and probe.about


def benchmark(grid: Grid, records: Records) -> Check:
    """The benchmark. A grid is complete without one."""
    path = grid.folder / "speed" / "benchmark.json"
    try:
        found = read_benchmark(grid.folder)
        if found is None and (grid.folder / "speed/measurements.csv").exists():
            return Check("benchmark", "incomplete", [f"{path}: missing; {remedy(path)}."])
        if found is None:
            return Check("benchmark", "not run")
        records[path] = found.about
        return Check("benchmark", f"{plural(len(found.measurements), 'measurement')}", list(damage(path, found.about)))
    except ResultsError as error:
        return Check("benchmark", "cannot be read", [str(error)])


def tables(grid: Grid, records: Records) -> Check:
    """Whether the tables were made of these runs. The ledger has the seconds of each run, which no two runs share.

    Where the report has no digests of the tables, every table is read to see whether it is complete.
    """
    there = sum(table_file(grid.folder, name).exists() for name in TABLES)
    check = Check("tables", f"{there}, of these runs")
    try:
        table = made_tables(grid.folder)
        ledger = table("ledger").groupby("directory")["seconds"].last()
        unmade = read_problems(grid.folder / "tables")
        for name in TABLES if not (grid.folder / "report" / MADE_OF).exists() else ():
            if name not in unmade:
                table(name)
    except SectionError:
        return Check("tables", f"{there}; without the ledger nothing says of which runs")  # the report says why
    except ResultsError as error:
        return Check("tables", "cannot be read", [str(error)])
    stale = []
    for cell in grid.cells:
        run = records.get(run_path(grid, cell))
        seconds = ledger.get(cell["directory"], math.nan)
        if run is not None and not math.isclose(seconds, run["seconds"]["total"], abs_tol=HALF_A_MILLISECOND):
            stale.append(cell["directory"])
    if stale:
        check.line = "of other runs"
        check.faults.append(
            f"{grid.folder / 'tables/ledger.csv'}: not made of the runs in {some_of(stale)}; delete it, and snakemake "
            "makes tables, figures and report again."
        )
    return check


def report(grid: Grid) -> Check:
    """Whether the page was made of this grid, these tables and these figures."""
    page, path = grid.folder / "report" / "index.html", grid.folder / "report" / MADE_OF
    if not page.exists():
        return Check("report", "missing", [f"{page}: missing; snakemake makes it."])
    if not path.exists() and "sha256" in read_json(grid.folder / "grid.json"):
        return Check("report", "not described", [f"{path}: missing; {remedy(page)}."])
    if not path.exists():
        remark = f"without digests, from an earlier version; {command('analysis.report', grid.folder)} adds them."
        return Check("report", "nothing says whether it belongs to these tables and figures", notes=[remark])
    try:
        described = read_json(path)
        check_files(described, grid.folder, path)
    except ResultsError as error:
        return Check("report", "cannot be read", [str(error)])
    files = described["files"]
    unmade = {kind: read_problems(grid.folder / kind) for kind in ("tables", "figures")}
    noted = {f"{kind}/{name}.{end}" for kind, of in unmade.items() for name in of for end in ("csv", *FIGURE_KINDS)}
    faults = list(others_than_described(grid.folder, {n: file for n, file in files.items() if n not in noted}, path))
    for kind, problems in unmade.items():
        faults += [f"{grid.folder / kind}: {name} could not be made. {why}" for name, why in problems.items()]
    known = {*files, *noted}
    declared = files_of_sections().items()
    later = {file: of for file, of in declared if file not in known and not (grid.folder / file).exists()}
    asked = [*(f"report/{name}" for name in REPORT_FILES), *(f"tables/{name}.csv" for name in TABLES)]
    lacking = [name for name in asked if name not in known | later.keys()]
    if lacking:
        faults.append(f"{path}: does not describe {some_of(lacking)}; {remedy(path)}.")
    line = f"digests of {plural(len(files), 'file')} compared: page, figures, tables and grid"
    return Check("report", line, faults, list(made_before(grid, later)))


def files_of_sections() -> dict[str, str]:
    """The file of every table and figure that a section declares, and that section."""
    tables = {f"tables/{name}.csv": section for name, section in SECTION_OF_TABLE.items()}
    return tables | {f"figures/{name}.svg": section for name, (section, _) in FIGURES.items()}


def made_before(grid: Grid, later: dict[str, str]) -> Iterator[str]:
    """A sentence for every section that has declared files (`later`: file → section) since the page was made."""
    for section in dict.fromkeys(later.values()):
        own = [file for file, of in files_of_sections().items() if of == section]
        new = [file for file in own if file in later]
        what = f"the section “{TITLES[section]}”"
        what = what if new == own else f"{some_of(new)} of {what}"
        yield f"{grid.folder}: made before {what} existed; snakemake makes it."


def made_once_more(grid: Grid) -> Check:
    """Whether the runs give these tables, and these tables and figures give this report."""
    from .report import report_texts  # here, since it loads matplotlib, which no other check needs
    from .tables import make_tables

    check = Check("recomputed", "tables from runs, and the page from tables and figures")
    try:
        made = {f"tables/{name}.csv": table_text(table) for name, table in make_tables(grid).items()}
        made |= {f"report/{name}": text for name, text in report_texts(grid).items()}
    except (ResultsError, SectionError) as error:
        check.faults.append(str(error))
        return check
    for name, text in made.items():
        path = grid.folder / name
        if not path.exists() or path.read_bytes() != text.encode():
            check.faults.append(
                f"{path}: not what this version makes of the results; delete it, and snakemake makes it again."
            )
    return check


def made_by(records: Records) -> Check:
    """The commits, versions and machines of all measurements."""
    commits = Counter(record["commit"][:10] if record["commit"] else "not recorded" for record in records.values())
    check = Check("made by", listed("commit", commits) if commits else "nothing has been measured")
    changed = sum(record["uncommitted_changes"] is True for record in records.values())
    if changed:
        check.notes.append(f"{changed:,} of {len(records):,} were made with uncommitted changes.")
    packages = sorted({package for record in records.values() for package in record["versions"]})
    values = {
        package: Counter(str(r["versions"][package]) for r in records.values() if package in r["versions"])
        for package in packages
    }
    values["processor"] = Counter(str(record["machine"].get("cpu")) for record in records.values())
    check.notes += [f"{listed(name, of)}." for name, of in values.items() if len(of) > 1]
    return check


def listed(name: str, values: Counter) -> str:
    """The one value, or all different values, each with its number of records."""
    if len(values) == 1:
        return f"{name} {next(iter(values))}"
    return f"{len(values)} different values of {name}: " + some_of([f"{v} ({n:,})" for v, n in values.most_common()])


def strays(grid: Grid, records: Records) -> Check:
    """Files that the grid does not ask for. A folder that holds no other files is named instead of its files."""
    exact, patterns = known_files(grid, {cell["directory"]: records.get(run_path(grid, cell)) for cell in grid.cells})
    folders = [
        (PurePosixPath(Path(folder).relative_to(grid.folder)), names) for folder, _, names in os.walk(grid.folder)
    ]
    paths = [folder / name for folder, names in folders for name in names]
    known = {p for p in paths if str(p) in exact or any(fnmatch(str(p), pattern) for pattern in patterns)}
    holders = {parent for path in (*known, PurePosixPath("grid.json")) for parent in path.parents}
    found: Counter = Counter()
    for path in (path for path in paths if path not in known):
        found[next(place for place in (*reversed(path.parents), path) if place not in holders)] += 1
    check = Check("others", f"{plural(found.total(), 'file')} that nothing asks for" if found else "no other files")
    unfinished = [str(place) for place in found if place.name.startswith(".")]
    others = [f"{place} ({plural(files, 'file')})" for place, files in found.items() if str(place) not in unfinished]
    if unfinished:
        check.notes.append(f"left by a process that was killed, if it is not still at work: {some_of(unfinished)}.")
    if others:
        check.notes.append(f"not used, perhaps of another grid: {some_of(others)}.")
    return check


if __name__ == "__main__":
    run_command(main, "analysis.verify")
