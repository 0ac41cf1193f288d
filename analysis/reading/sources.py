"""What tables are made from: everything that a results folder holds, by name; parameters name what a function needs."""

from typing import Any

from .benchmark import Benchmark, read_benchmark
from .estimations import Estimation, read_estimation
from .grid import Grid
from .jobs import Job, Run, State, read_jobs, state_of
from .probes import Probe, read_probe, stopped
from .studies import Study, read_study
from .task_code import Made, check_task_code, code_of_tasks
from .videos import read_videos


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


def jobs(grid: Grid, runs: list[Run]) -> list[Job]:
    """Every study and probe that the grid asks for: kind, directory, state, and its record, empty where it has none.

    Raises ResultsError where one is of other code of a task than the runs.
    """
    found = read_jobs(grid)
    records = [(grid.folder / directory / f"{kind}.json", record) for kind, directory, _, record in found if record]
    check_task_code([*made_of(grid, runs), *(made for path, record in records for made in code_of_tasks(path, record))])
    return found


def studies(grid: Grid) -> list[tuple[dict[str, Any], Study]]:
    """Every study that has a result, behind what the grid asks of it."""
    read = [(asked, read_study(grid, asked)) for asked in grid.studies]
    return [(asked, study) for asked, study in read if study is not None]


def probes(grid: Grid) -> list[tuple[dict[str, Any], Probe]]:
    """Every probe that has a result, behind what the grid asks of it."""
    read = [(asked, read_probe(grid, asked)) for asked in grid.probes]
    return [(asked, probe) for asked, probe in read if probe is not None and not stopped(probe.about)]


def estimations(grid: Grid) -> list[tuple[dict[str, Any], Estimation]]:
    """Every probe of estimators that has a result, behind what the grid asks of it."""
    read = [(asked, read_estimation(grid, asked)) for asked in grid.estimator_probes]
    return [(asked, estimation) for asked, estimation in read if estimation is not None]


def measurements(grid: Grid) -> Benchmark | None:
    """The benchmark's measurements; None where no benchmark was run."""
    return read_benchmark(grid.folder)


def videos(grid: Grid) -> list[dict[str, Any]]:
    """What was recorded of policies, per task and algorithm; empty where the grid asks for no videos."""
    return read_videos(grid)
