"""The state of every cell, study and probe that was asked for."""

from typing import Any

from policy_gradient_ladder.experiments.schema import RUN_STATES

from .checks import read_record_if_there
from .grid import Grid
from .probes import record_keys
from .runs import read_run
from .studies import STUDY_FILE_KEYS

STATES = (*RUN_STATES, "failed", "missing")
State = tuple[dict[str, Any], str, dict[str, Any] | None]  # a cell of the grid, its state, its run.json or None
Run = tuple[dict[str, Any], dict[str, Any]]  # a cell of the grid, and its run.json
Job = tuple[str, str, str, dict[str, Any]]  # a study or probe: kind, directory, state and record


def last_line(text: str) -> str:
    """The last line that is not blank."""
    return text.rstrip().rpartition("\n")[2].strip()


def state_of(grid: Grid, cell: dict[str, Any]) -> tuple[str, dict[str, Any] | None]:
    """The state of a cell, one of STATES, and its run.json, or None where it has no run. Raises ResultsError."""
    if (grid.folder / cell["directory"] / "run.json").exists():
        run = read_run(grid, cell)
        return run["status"], run
    return state_without_result(grid, cell["directory"]), None


def state_without_result(grid: Grid, directory: str) -> str:
    """The state of a cell, study or probe that has no result: failed if it left a log (so it crashed, was interrupted
    or is still at work), else missing.
    """
    return "failed" if (grid.folder / "logs" / f"{directory}.log").exists() else "missing"


def read_jobs(grid: Grid) -> list[Job]:
    """Every study and probe that the grid asks for, with its state: done, stopped by its task (a probe), failed or
    missing. The record of one that failed or is missing is empty. Raises ResultsError.
    """
    jobs = []
    studies = [("study", study["directory"], STUDY_FILE_KEYS) for study in grid.studies]
    probes = [("probe", probe["directory"], record_keys(probe)) for probe in grid.all_probes]
    for kind, directory, keys in (*studies, *probes):
        record = read_record_if_there(grid.folder / directory / f"{kind}.json", keys)
        state = state_without_result(grid, directory) if record is None else record.get("status", "done")
        jobs.append((kind, directory, state, record or {}))
    return jobs


def key(cell: dict[str, Any]) -> dict[str, Any]:
    """What tells a cell from all others: task, algorithm and seed."""
    return {name: cell[name] for name in ("task", "algorithm", "seed")}
