"""What determines a cell, a study or a probe: everything that makes it run again when it changes.

`what_determines` says it, once. Snakemake takes the files as inputs and the rest as a parameter; a command line refuses
to write a result whose files have been edited meanwhile, and puts the code's digest into the record, by which
`analysis.verify` finds results of different code.
"""

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from policy_gradient_ladder.core.task import Task
from policy_gradient_ladder.core.wrapping import modules_of

from .cells import Cell, EstimatorProbe, Grid, Probe, QualityProbe, identity, preprocessing
from .checks import GridError
from .estimation import file_of
from .external import data_files
from .libraries import LibraryAlgorithm
from .schema import DIGITS
from .search import Study
from .sources import (
    ROOT,
    TaskCode,
    code_of_modules,
    digest,
    distribution_with,
    import_closure,
    imports_of,
    shown,
    task_code,
    versions_of,
)

LIBRARIES = ("torch", "numpy", "gymnasium", "mujoco")  # whose versions all numbers depend on
# Packages that algorithms import and whose versions are not in what determines a job, each with the reason.
EXEMPT_PACKAGES = {
    "filelock": "guards files",
    "pandas": "shows the episodes of a run",
    "lazy_loader": "imports a module when it is first used",
    "platformdirs": "says where compiled code lies",
    "threadpoolctl": "sets the number of threads",
}
# Modules of experiments that a job imports and that are no inputs of it, each with the reason. Nothing else is exempt.
EXEMPT = {
    "cells": "what it makes of the grid is the parameter",
    "checks": "reads the grid, whose content is the parameter",
    "claims": "reads claims, which are judged later, from results",
    "command": "says how a command line ends",
    "determinants": "says what the inputs are",
    "estimation": "finds problems and estimators, and is an input of their probes",
    "estimation.asked": "reads the grid, whose content is the parameter",
    "estimation.keys": "says what a grid may hold, whose content is the parameter",
    "estimation.measuring": "measures estimators, and is an input of that",
    "estimation.problem": "says what a problem is, and is an input where estimators are measured",
    "events": "writes event files beside a run",
    "exact": "is an input where one of its problems is the task, and of probes",
    "external": "reads runs that were made elsewhere, and is an input of those",
    "fits": "reads the grid, whose content is the parameter",
    "grid": "reads the grid, whose content is the parameter",
    "keys": "says what a grid may hold, whose content is the parameter",
    "laboratory": "reads the grid, whose content is the parameter",
    "laboratory_keys": "says what a grid may hold, whose content is the parameter",
    "libraries": "makes algorithms of other libraries' classes, and is an input of those",
    "metrics": "is an input of probes; to cells it means nothing",
    "others": "reads the grid, whose content is the parameter",
    "perturbations": "reads the grid, whose content is the parameter",
    "places": "says which tasks claims compare, which are judged later, from results",
    "process": "measures seconds and memory, and ends a process",
    "progress": "prints",
    "published_table": "reads a paper's numbers, which the page shows",
    "random_score": "measures the zero of normalised scores, which is in a study's parameter",
    "record": "writes what a run has given",
    "robustness": "evaluates under changes, and is an input where a grid asks for that",
    "schema": "names files and columns",
    "search": "reads search spaces, which are in a study's parameter; an input of studies all the same",
    "sources": "says what the inputs are",
    "taken_over": "tells Snakemake what results are made of",
    "task_check": "tries tasks when a whole grid is read",
    "task_scores": "fills in scores of a task, which are in a study's parameter",
    "tasks": "holds tasks, each an input where it is the task",
    "tasks.changes": "says what can be changed, and is an input where a grid asks for changes or a task is wrapped",
    "trained": "keeps what a cell has trained, unchanged, until it is complete",
    "tuned": "reads best.json, which is an input of the cell",
}


@dataclass(frozen=True)
class Determinants:
    """What determines a cell, a study or a probe."""

    files: tuple[str, ...]  # whose contents matter; relative to the project, absolute where they lie elsewhere
    asked: Mapping[str, Any]  # everything that the grid says about it
    versions: Mapping[str, str]  # of the libraries that its numbers depend on

    @property
    def parameter(self) -> str:
        """What is not in files, as one line of JSON."""
        return json.dumps({**self.asked, "versions": self.versions}, sort_keys=True)

    def code(self) -> "Code":
        """The code that the numbers depend on, as it is on the disk now."""
        return Code({file: digest(file) for file in self.files}, self.versions)

    def digest(self, code: "Code") -> str:
        """The digest of all that determines it, with this code, as it stands in the record of the result."""
        return short_digest(self.text(code.name))

    def text(self, code: str) -> str:
        """All that determines it, as one line; `code` is the name of the code."""
        return f"{code} {self.parameter}"

    def check_code(self, code: "Code") -> None:
        """Raise GridError, which names the files, where files were edited since they were `code`.

        A result that is written after the edit is newer than the edit, and so Snakemake would take it for a result of
        the edited files.
        """
        now = self.code()
        if now != code:
            edited = [file for file, content in now.contents.items() if code.contents.get(file) != content]
            raise GridError(
                f"{', '.join(edited)}: edited while this job was running. Its result would be taken for a result of "
                "the edited code, so nothing is written; run the same command again"
            )


@dataclass(frozen=True)
class Code:
    """The contents of files and the versions of libraries."""

    contents: Mapping[str, str]  # file → SHA-256
    versions: Mapping[str, str]

    @property
    def name(self) -> str:
        """The first DIGITS digits of the SHA-256 of all of it."""
        return short_digest(json.dumps([self.contents, self.versions], sort_keys=True))


def short_digest(text: str) -> str:
    """The first DIGITS digits of the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def digest_of_files(record: Mapping[str, Any]) -> str:
    """The digest of the files of a run, by its record: of its numbers, and not of when and where it was made."""
    return short_digest(json.dumps(record.get("files", {}), sort_keys=True))


def what_determines(grid: Grid, job: Cell | Study | Probe) -> Determinants:
    """What determines a cell, a study or a probe of a grid.

    Files: the import closures of the algorithm's file (of a probe, of the files of all algorithms of this project), of
    the command line without the modules in EXEMPT, and of the task's module and that of another library's class, unless
    they belong to an installed distribution. Of a run that was made elsewhere, also the files that it is read from.
    Asked: everything that the grid says about it.
    Versions: of LIBRARIES, of the other packages that the algorithm's files import without those in EXEMPT_PACKAGES,
    of the distributions that the tasks are from, and of the sampler of a study.
    Not here: the files of results that a job takes over, which are a study's winner and a probed run.
    """
    if isinstance(job, Cell):
        task = grid.tasks[job.task].task
        files, versions = _of_cell(grid, job)
        asked = {"preprocessing": preprocessing(task), "checkpoints": grid.checkpoints, "compile": grid.compile}
        if perturbations := grid.tasks[job.task].perturbations:
            asked["perturbations"] = perturbations
        if grid.evaluate_every is not None:  # otherwise a cell is what it was before there was such a key
            asked |= {"evaluate_every": grid.evaluate_every, "evaluate_episodes": grid.evaluate_episodes}
        return Determinants(files, vars(job) | asked | grid.algorithms[job.algorithm].of_library(), versions)
    if isinstance(job, Study):
        tasks = tuple(_names(grid.tasks[task].task) for task in job.tasks)
        files, versions = _with_library(grid, job, *sources("tune", (grid.algorithms[job.algorithm].file,), tasks))
        return Determinants(files, job.description() | identity(grid, job), versions | versions_of(["optuna"]))
    if isinstance(job, EstimatorProbe):
        return _of_estimator_probe(job)
    return _of_quality_probe(grid, job) if isinstance(job, QualityProbe) else _of_gradient_probe(grid, job)


def _of_estimator_probe(probe: EstimatorProbe) -> Determinants:
    used = dict.fromkeys(variant.estimator for variant in probe.variants)
    found = (file_of("problems", probe.task), *(file_of("estimators", name) for name in used))
    files, versions = sources(probe.command, found, ())
    return Determinants(files, asdict(probe), versions)


def _of_quality_probe(grid: Grid, probe: QualityProbe) -> Determinants:
    task = grid.tasks[probe.task].task
    files, versions = sources(probe.command, (grid.algorithms[probe.source].file,), (_names(task),))
    settings = grid.resolved(probe.source, probe.task).settings()
    return Determinants(files, asdict(probe) | {"task_settings": preprocessing(task), "settings": settings}, versions)


def _of_gradient_probe(grid: Grid, job: Probe) -> Determinants:
    task = Task(job.task) if job.exact else grid.tasks[job.task].task
    measured = {name: entry.file for name, entry in grid.algorithms.items() if not entry.origin()}
    files, versions = sources("probe", tuple(measured.values()), (_names(task),))
    settings = {name: grid.resolved(name, job.task).settings() for name in measured}
    of_task = None if job.exact else preprocessing(task)
    return Determinants(files, asdict(job) | {"task_settings": of_task, "settings": settings}, versions)


def _of_cell(grid: Grid, cell: Cell) -> tuple[tuple[str, ...], dict[str, str]]:
    """The files and the versions that a cell depends on; a run that was made elsewhere depends on its own files."""
    entry, of = grid.algorithms[cell.algorithm], grid.tasks[cell.task]
    further = (ROBUSTNESS,) if of.perturbations else ()
    files, versions = sources("run", (entry.file, *further), (_names(of.task),))
    if entry.made_elsewhere:
        own = map(shown, data_files(ROOT / cell.settings["files"][str(cell.seed)]))
        return tuple(sorted({*files, *own})), versions
    return _with_library(grid, cell, files, versions)


def _with_library(
    grid: Grid, job: Cell | Study, files: tuple[str, ...], versions: dict[str, str]
) -> tuple[tuple[str, ...], dict[str, str]]:
    """These files and versions with those of another library's class."""
    algorithm = grid.algorithms[job.algorithm].algorithm
    if not issubclass(algorithm, LibraryAlgorithm):
        return files, versions
    code = code_of_modules([algorithm.path.partition(":")[0]])
    return tuple(sorted({*files, *code.files})), versions | code.versions


ROBUSTNESS = "experiments/robustness.py"  # evaluates under changes, where a grid asks for that
INPUTS_ALL_THE_SAME = {
    "run": (),
    "tune": ("search",),
    "probe": ("exact", "metrics"),
    "estimate": ("estimation", "estimation.measuring", "estimation.problem"),
    "quality": ("metrics",),
}  # although EXEMPT has them


@functools.cache
def sources(
    command: str, algorithms: tuple[str, ...], tasks: tuple[tuple[str, ...], ...]
) -> tuple[tuple[str, ...], dict[str, str]]:
    """The source files and the versions that a command line's numbers depend on.

    command: run, tune, or that of a probe. algorithms: their files, and others that are imported with all that they
    import, relative to the project. tasks: of each its id and the modules of its wrappers.
    """
    without = frozenset(f"experiments.{name}" for name in EXEMPT.keys() - set(INPUTS_ALL_THE_SAME[command]))
    files = set(import_closure(f"experiments/{command}.py", without=without))
    versions = versions_of(LIBRARIES)
    for algorithm in algorithms:
        imports = imports_of(ROOT / algorithm)
        files.update(imports.files)
        further = map(distribution_with, set(imports.packages) - EXEMPT_PACKAGES.keys())
        versions |= versions_of(sorted(filter(None, further)))
    for task in tasks:
        code = task_code(*task)
        files.update(code.files)
        versions |= code.versions
    return tuple(sorted(files)), versions


def code_of(task: Task) -> TaskCode:
    """What a task's environment is made of."""
    return task_code(*_names(task))


def _names(task: Task) -> tuple[str, ...]:
    """A task's id and the modules of its wrappers, also of those in training alone."""
    return task.id, *modules_of((*task.wrappers, *task.training_wrappers))
