"""The state of every cell, study and probe that was asked for."""

from typing import Any

from analysis.reading.checks import read_record
from analysis.reading.grid import Grid
from analysis.reading.probes import PROBE_FILE_KEYS
from analysis.reading.runs import read_run
from analysis.reading.studies import STUDY_FILE_KEYS
from experiments.schema import RUN_STATES

STATES = (*RUN_STATES, "failed", "missing")


def state_of(grid: Grid, cell: dict[str, Any]) -> tuple[str, dict[str, Any] | None]:
    """The cell's state and its run.json: failed (or interrupted) left a log but no run, missing left nothing."""
    if (grid.folder / cell["directory"] / "run.json").exists():
        run = read_run(grid, cell)
        return run["status"], run
    return unfinished(grid, cell["directory"]), None


def unfinished(grid: Grid, directory: str) -> str:
    """The state of a cell, study or probe without a result."""
    return "failed" if (grid.folder / "logs" / f"{directory}.log").exists() else "missing"


def read_jobs(grid: Grid) -> list[tuple[str, str, str, dict[str, Any]]]:
    """Kind, directory, state (done, failed or missing) and record of every study and probe that the grid asks for; the
    record of one that is not done is empty.
    """
    jobs = []
    for kind, asked, keys in (("study", grid.studies, STUDY_FILE_KEYS), ("probe", grid.probes, PROBE_FILE_KEYS)):
        for directory in [entry["directory"] for entry in asked]:
            path = grid.folder / directory / f"{kind}.json"  # written last
            done = path.exists()
            state = "done" if done else unfinished(grid, directory)
            jobs.append((kind, directory, state, read_record(path, keys) if done else {}))
    return jobs


State = tuple[dict[str, Any], str, dict[str, Any] | None]  # a cell of the grid, its state, its run.json or None
Run = tuple[dict[str, Any], dict[str, Any]]  # a cell of the grid and its run.json
Job = tuple[str, str, str, dict[str, Any]]  # of a study or probe: kind, directory, state and record


def key(cell: dict[str, Any]) -> dict[str, Any]:
    return {name: cell[name] for name in ("task", "algorithm", "seed")}
