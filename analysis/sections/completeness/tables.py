"""The tables of completeness: every requested cell, study and probe with its state."""

import pandas as pd

from policy_gradient_ladder.experiments.schema import STOPPED

from ...reading.grid import Grid
from ...reading.jobs import Job, State, key, last_line
from ...reading.tables import frame


def ledger(grid: Grid, states: list[State]) -> pd.DataFrame:
    """The table `ledger`: every requested cell with its state; `seconds` is wall-clock time.

    A run that was made for another grid counts, too, because a run depends on its settings, task, steps and seed alone;
    its note names the other grid.
    """
    rows = []
    for cell, state, run in states:
        row = {**key(cell), "state": state, "steps": cell["steps"], "directory": cell["directory"]}
        if run is not None:
            row |= {name: run[name] for name in ("steps_taken", "updates", "episodes")}
            row["seconds"] = run["seconds"]["total"]
            if run["cell"].get("grid") != grid.name:
                row["note"] = f"made for the grid {run['cell'].get('grid')}"
        if state == "diverged":
            diverged = f"at step {run['diverged_at']:,.0f}: {run['diverged_because'] or 'no reason recorded'}"
            row["note"] = "; ".join(filter(None, [diverged, row.get("note")]))
        if state == STOPPED:
            row["note"] = "; ".join(filter(None, [run["diverged_because"], row.get("note")]))
        if state == "failed":
            row["note"] = f"failed or interrupted; {end_of_log(grid, cell['directory'])}"
        rows.append(row)
    return frame(rows, "ledger")


def ledger_jobs(grid: Grid, jobs: list[Job]) -> pd.DataFrame:
    """The table `ledger_jobs`: every requested study and probe with its state."""
    rows = [
        {"kind": kind, "directory": directory, "state": state}
        | ({"note": f"failed or interrupted; {end_of_log(grid, directory)}"} if state == "failed" else {})
        | ({"note": f"{STOPPED}: {record['reason']}"} if state == STOPPED else {})
        for kind, directory, state, record in jobs
    ]
    return frame(rows, "ledger_jobs")


def end_of_log(grid: Grid, directory: str) -> str:
    """The last line of a job's log, in words: why the job failed, or how far it was when it was killed.

    `directory` is the job's directory, relative to the grid's results.
    """
    log = f"logs/{directory}.log"
    text = (grid.folder / log).read_text(encoding="utf-8", errors="replace")
    end = last_line(text)
    return f"{log} ends: {end}" if end else f"{log} is empty"
