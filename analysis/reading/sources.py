"""What tables are made from: everything that a results folder holds, by name; parameters name what a function needs."""

from typing import Any

from analysis.reading.benchmark import Benchmark, read_benchmark
from analysis.reading.grid import Grid
from analysis.reading.jobs import Job, Run, State, read_jobs, state_of
from analysis.reading.probes import Probe, read_probe, stopped
from analysis.reading.studies import Study, read_study
from analysis.reading.task_code import Made, check_task_code, code_of_tasks


def states(grid: Grid) -> list[State]:
    """Every cell that the grid asks for, its state, and its run.json or None."""
    return [(cell, *state_of(grid, cell)) for cell in grid.cells]


def runs(grid: Grid, states: list[State]) -> list[Run]:
    """Every cell that has a run, and its run.json. Raises ResultsError where those of a task are of different code."""
    found = [(cell, run) for cell, _, run in states if run is not None]
    check_task_code(made_of(grid, found))
    return found


def made_of(grid: Grid, runs: list[Run]) -> list[Made]:
    """What the tasks of runs were made of."""
    files = [(grid.folder / cell["directory"] / "run.json", run) for cell, run in runs]
    return [made for path, run in files for made in code_of_tasks(path, run)]


def jobs(grid: Grid) -> list[Job]:
    """Every study and probe that the grid asks for: kind, directory, state, and its record, empty where it has none."""
    return read_jobs(grid)


def studies(grid: Grid, runs: list[Run]) -> list[tuple[dict[str, Any], Study]]:
    """Every study that has a result, behind what the grid asks of it.

    Raises ResultsError where a task was made of other code than in the runs.
    """
    read = [(asked, read_study(grid, asked)) for asked in grid.studies]
    found = [(asked, study) for asked, study in read if study is not None]
    for asked, study in found:
        code = code_of_tasks(grid.folder / asked["directory"] / "study.json", study.about)
        check_task_code([*made_of(grid, runs), *code])
    return found


def probes(grid: Grid, runs: list[Run]) -> list[tuple[dict[str, Any], Probe]]:
    """Every probe that has a result, behind what the grid asks of it; raises as `studies` does."""
    read = [(asked, read_probe(grid, asked)) for asked in grid.probes]
    found = [(asked, probe) for asked, probe in read if probe is not None]
    for asked, probe in found:
        code = code_of_tasks(grid.folder / asked["directory"] / "probe.json", probe.about)
        check_task_code([*made_of(grid, runs), *code])
    return [(asked, probe) for asked, probe in found if not stopped(probe.about)]


def measurements(grid: Grid) -> Benchmark | None:
    """The benchmark's measurements; None where no benchmark was run."""
    return read_benchmark(grid.folder)
