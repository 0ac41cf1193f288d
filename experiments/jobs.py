"""The jobs of the pipeline for Snakemake: inputs, parameters, time and memory, by the wildcards of a rule."""

import os
from collections.abc import Callable
from typing import Any

from .cells import Cell, Grid, Probe, QualityProbe
from .determinants import Determinants, what_determines
from .schema import BEST, FINISHED, VIDEOS
from .search import Study
from .sources import ROOT, import_closure_of_all

FOLDERS = {  # of a job, by the names of its rule's wildcards; relative to the grid's results
    frozenset(("task", "algorithm", "seed")): "runs/{task}/{algorithm}/{seed}",
    frozenset(("algorithm", "group")): "tuning/{algorithm}/{group}",
    frozenset(("task", "source", "seed", "fraction")): "probes/{task}/{source}/{seed}/{fraction}",
}
# What an executor like Slurm's asks for. Measured on the default grid: the slowest cell makes 2,600 environment steps a
# second, the slowest study 6,900 (its slowest trial 1,800), a probe takes a minute at most; memory is 490 MB in a cell,
# 840 MB in a probe, and 380 MB in Snakemake's own processes on the node. A cluster's processors may be slower.
STEPS_PER_MINUTE = {Cell: 60 * 1_000, Study: 60 * 2_000, QualityProbe: 60 * 1_000}
OF_LIBRARIES = 60 * 40  # of cells and studies of other libraries; SAC of Stable-Baselines3 makes 80 steps a second
MINUTES_BESIDE = 5  # start-up, compiling for the first time, evaluation
PROBE_MINUTES = 20
ANALYSIS_MINUTES = 30
MEMORY_MB = 2_000
Job = Cell | Study | Probe


class Jobs:
    """Every cell, study and probe of a grid.

    The methods that take `wildcards` are what Snakemake calls for a job of the rules `train`, `tune` and `probe`.
    `at_first` is called with them when Snakemake begins to look at what there is to do.
    """

    def __init__(self, grid: Grid, results: str, at_first: Callable[["Jobs"], None] | None = None) -> None:
        self.grid, self.results, self._at_first = grid, results, at_first
        self.cells = {cell.directory: cell for cell in grid.cells()}
        self.studies = {study.directory: study for study in grid.studies()}
        self.probes = {probe.directory: probe for probe in grid.probes}
        self._codes: dict[Any, str] = {}  # the names of codes by files and versions, as Snakemake finds them first
        self.all: dict[str, Job] = self.studies | self.cells | self.probes  # by their folders

    def begin(self) -> None:
        """Call `at_first`, once; it may itself ask for inputs."""
        if self._at_first is not None:
            at_first, self._at_first = self._at_first, None
            at_first(self)

    def of(self, wildcards: Any) -> Job:
        """The job that the values of these wildcards name."""
        return self.all[FOLDERS[frozenset(wildcards.keys())].format(**wildcards)]

    def determinants(self, wildcards: Any) -> Determinants:
        """What determines a job."""
        return what_determines(self.grid, self.of(wildcards))

    def sources(self, wildcards: Any) -> list[str]:
        """One of the files that a job's numbers depend on: of the algorithm, of a probe its command line.

        All of them are in the parameter by their digest; as inputs of ten thousand cells they would take a third of a
        gigabyte. The one is there for results of which neither Snakemake nor their own record says what they are made
        of: what is older than it is made again.
        """
        self.begin()
        job, files = self.of(wildcards), self.determinants(wildcards).files
        command = f"experiments/{job.command}.py" if isinstance(job, Probe) else None
        own = command or self.grid.algorithms[job.algorithm].file
        return [own if own in files else files[0]]

    def parameter(self, wildcards: Any) -> str:
        """Everything that a job's numbers depend on beside results of other jobs, as text; files by their digest."""
        determinants = self.determinants(wildcards)
        key = determinants.files, *determinants.versions.items()
        if key not in self._codes:
            self._codes[key] = determinants.code().name
        return determinants.text(self._codes[key])

    def nothing(self, wildcards: Any) -> list[str]:
        """No input."""
        self.begin()
        return []

    def task(self, wildcards: Any) -> str:
        """The Gymnasium id of a cell's task, which may differ from its folder's name."""
        return self.of(wildcards).task

    def best_settings(self, wildcards: Any) -> list[str]:
        """The file with what the cell's study has found, if it has one."""
        tuned = self.of(wildcards).tuned
        return [f"{self.results}/{tuned}/{BEST}"] if tuned else []

    def finished_study(self, wildcards: Any) -> list[str]:
        """The file that says that the cell's study was made as the grid asks for it now, if it has one."""
        tuned = self.of(wildcards).tuned
        return [f"{self.results}/{tuned}{FINISHED}"] if tuned else []

    def parameter_of_study(self, wildcards: Any) -> str:
        """What a cell's study depends on beside files, as text. Without it, a cell that is asked for by itself would
        not wait for a study that has failed.
        """
        tuned = self.of(wildcards).tuned
        return what_determines(self.grid, self.studies[tuned]).parameter if tuned else ""

    def probed_run(self, wildcards: Any) -> list[str]:
        """The run whose checkpoint a probe measures; an exact problem has none."""
        probe = self.of(wildcards)
        return [] if probe.exact else [f"{self.results}/{self.run_of(probe)}/run.json"]

    def video_folders(self) -> list[str]:
        """A folder for each algorithm on each task, relative to the grid's results, where the grid asks for videos."""
        if not self.grid.videos:
            return []
        return list(dict.fromkeys(f"{VIDEOS}/{os.path.dirname(cell)[len('runs/') :]}" for cell in self.cells))

    def recorded_runs(self, wildcards: Any) -> list[str]:
        """The runs of an algorithm on a task, of which some become videos."""
        of = "runs/{task}/{algorithm}".format(**wildcards)
        return [f"{self.results}/{cell}/run.json" for cell in self.cells if os.path.dirname(cell) == of]

    def recorded_folders(self, wildcards: Any) -> list[str]:
        """The folders of these runs."""
        return [os.path.dirname(file) for file in self.recorded_runs(wildcards)]

    def probe_command(self, wildcards: Any) -> str:
        """The module of experiments that makes a probe."""
        return self.of(wildcards).command

    def probe_options(self, wildcards: Any) -> str:
        """What is said of a probe on its command line."""
        probe = self.of(wildcards)
        options = f"--task {probe.task} --seed {probe.seed}"
        if probe.exact:
            return options
        if isinstance(probe, QualityProbe):
            options += f" --source {probe.source}"
        return f"{options} --fraction {probe.fraction:g} --run {self.results}/{self.run_of(probe)}"

    def run_of(self, probe: Probe) -> str:
        """The folder of the run whose checkpoint a probe measures, relative to the grid's results."""
        return self.grid.cell(probe.source, probe.task, probe.seed).directory

    def minutes(self, wildcards: Any, threads: int, attempt: int) -> int:
        """A job's time limit, of a study as if nothing were pruned; each further attempt gets as much again."""
        job = self.of(wildcards)
        if isinstance(job, QualityProbe):
            steps = job.reference_pairs + job.pairs[-1] + job.fit_pairs
            return attempt * (MINUTES_BESIDE + steps // STEPS_PER_MINUTE[QualityProbe])
        if isinstance(job, Probe):
            return attempt * PROBE_MINUTES
        steps = job.steps if isinstance(job, Cell) else steps_of_a_worker(job, threads)
        of_library = self.grid.algorithms[job.algorithm].of_library()
        return attempt * (MINUTES_BESIDE + steps // (OF_LIBRARIES if of_library else STEPS_PER_MINUTE[type(job)]))


def steps_of_a_worker(study: Study, workers: int) -> int:
    """Environment steps that one of a study's workers takes where no trial is pruned."""
    trials = -(-study.tuning.trials // workers)
    trainings = trials * len(study.tuning.seeds) + 2 * len(study.tuning.fresh_seeds)
    return trainings * sum(study.tasks.values())


def directory_of_output(wildcards: Any, output: Any) -> str:
    """The folder of a job's files."""
    return os.path.dirname(output[0])


def tuned_option(wildcards: Any, input: Any) -> str:
    """Where a cell takes tuned settings from, as it is said on the command line."""
    return f"--tuned {input.tuned}" if input.tuned else ""


def minutes_of_analysis(wildcards: Any, attempt: int) -> int:
    """The time limit of tables, figures or report; each further attempt gets as much again."""
    return attempt * ANALYSIS_MINUTES


def memory(wildcards: Any, threads: int, attempt: int) -> int:
    """Megabytes; each further attempt gets as much again."""
    return attempt * threads * MEMORY_MB


# The files of a section that a stage runs; the report asks the functions of figures what they are made from.
OF_SECTIONS = {"tables": ("tables.py",), "figures": ("figures.py",), "report": ("figures.py", "sentences.py")}
DATA = {"tables": ("*.csv", "*.yaml"), "figures": ("*.csv", "*.yaml"), "report": ("*.*",)}  # what a stage reads


def stage_files(stage: str) -> list[str]:
    """The files of `analysis` and of what it imports that a stage of the analysis is made by.

    stage: tables, figures or report. Sections are found by their folders, and so are the data, templates and captions
    that lie in them.
    """
    modules = [ROOT / f"analysis/{stage}.py"]
    for name in ("__init__.py", *OF_SECTIONS[stage]):
        modules += ROOT.glob(f"analysis/sections/*/{name}")
    found = import_closure_of_all(modules)
    data = (file for pattern in DATA[stage] for file in ROOT.glob(f"analysis/**/{pattern}"))
    return sorted(found | {str(file.relative_to(ROOT)) for file in data if file.suffix not in (".py", ".pyc")})
