"""Results that Snakemake has not made in this folder, such as those of a fresh clone or of a joined part of a grid.

Snakemake keeps a record of each file that it has made, by which it knows whether the file is up to date. Where it has
none, or one of another file, the result's own record says the same: run.json, study.json and probe.json have the digest
of all that determines their numbers. From that, Snakemake's record is written as Snakemake itself would write it.
"""

import hashlib
import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from snakemake.io import IOFile
from snakemake.persistence import RECORD_FORMAT_VERSION, MetadataRecord

from .cells import Cell, Probe
from .determinants import digest_of_files, short_digest
from .jobs import Job, Jobs
from .schema import DETERMINED_BY, FINISHED, OF_RUN, PROBE_FILES, RECORDS, RUN_FILES, STUDY_FILES
from .search import InvalidStudy, Study
from .tuned import read_best

# The rule of Snakemake that makes a job, and the files that it has, by the job's class.
RULES = {Study: ("tune", STUDY_FILES), Cell: ("train", RUN_FILES), Probe: ("probe", PROBE_FILES)}
OTHERWISE = "made of something else"  # stands in Snakemake's record for what determines a result that is out of date
DERIVED = {"input", "output"}  # arguments of a parameter's function that keep it out of Snakemake's record


def take_over(workflow: Any, jobs: Jobs) -> int:
    """Write Snakemake's records of the results that it has not made here and that say what determines them.

    Results that are up to date are then taken as they are, and others are made again, with changed parameters as the
    reason. Returns the number of results that do not say it, which are of an earlier version or were made by hand.

    workflow: Snakemake's.
    """
    silent = written = 0
    for directory, job in jobs.all.items():
        path = Path(jobs.results, directory, RECORDS[directory.partition("/")[0]])
        if not path.is_file() or known(workflow.persistence, path):
            continue
        record = read(path)
        if DETERMINED_BY in record:
            write_records(workflow, jobs, job, up_to_date=is_up_to_date(jobs, job, record))
            written += 1
        else:
            silent += 1
    if written:
        workflow.persistence.deactivate_cache()  # of what there was before
    return silent


def known(persistence: Any, path: Path) -> bool:
    """Whether Snakemake has a record of this very file, which has the file's time."""
    record = persistence.metadata(IOFile(path.as_posix()))
    return record is not None and record.endtime == path.stat().st_mtime


def read(path: Path) -> dict[str, Any]:
    """A JSON object; an empty one where the file is damaged, which the tables refuse with its name."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def is_up_to_date(jobs: Jobs, job: Job, record: Mapping[str, Any]) -> bool:
    """Whether a result is what its job would make now: also of the same winner of a study, or of the same run."""
    if record[DETERMINED_BY] != short_digest(jobs.parameter(wildcards_of(job))):
        return False
    if isinstance(job, Cell):
        return record.get("tuned") == winner(jobs, job)
    if isinstance(job, Probe) and not job.exact:
        return record.get(OF_RUN) == digest_of_files(read(Path(jobs.results, jobs.run_of(job), "run.json")))
    return True


def winner(jobs: Jobs, cell: Cell) -> dict[str, Any] | None:
    """What the cell's study has found, as it is in the results; None where it has none, or nothing is there."""
    study, files = jobs.grid.study_of(cell.algorithm, cell.task), jobs.best_settings(wildcards_of(cell))
    try:
        return read_best(Path(files[0]), study) if study else None
    except InvalidStudy:
        return None


def wildcards_of(job: Job) -> dict[str, str]:
    """The wildcards of a job's rule."""
    if isinstance(job, Study):
        return {"algorithm": job.algorithm, "group": job.group}
    names = ("task", "algorithm", "seed") if isinstance(job, Cell) else ("task", "source", "seed", "fraction")
    return dict(zip(names, job.directory.split("/")[1:], strict=True))


def write_records(workflow: Any, jobs: Jobs, job: Job, *, up_to_date: bool) -> None:
    """Write Snakemake's record of each file of a result: rule, parameters, and inputs with their digests."""
    name, names = next(made for kind, made in RULES.items() if isinstance(job, kind))
    rule, wildcards = workflow.get_rule(name), wildcards_of(job)
    inputs = sorted({file for function in rule.input for file in function(wildcards)})
    parameters = [value(wildcards) if callable(value) else value for value in rule.params if not is_derived(value)]
    folder = Path(jobs.results, job.directory)
    files = [folder / file for file in names]
    if isinstance(job, Study):
        files.append(folder.with_name(folder.name + FINISHED))
    for file in files:
        if file.is_file():
            record = MetadataRecord(
                rule=rule.name,
                input=inputs,
                params=sorted(map(repr, parameters)) if up_to_date else [OTHERWISE],
                record_format_version=RECORD_FORMAT_VERSION,
                endtime=file.stat().st_mtime,
                incomplete=False,
                input_checksums={name: f"sha256:{sha256(Path(name))}" for name in inputs if Path(name).is_file()},
            )
            workflow.persistence._write_record(file.as_posix(), record)  # of Snakemake 9.27


def is_derived(value: Any) -> bool:
    """Whether a parameter is a function of the job's inputs or outputs."""
    return callable(value) and not DERIVED.isdisjoint(inspect.signature(value).parameters)


def sha256(file: Path) -> str:
    """The digest of a file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()
