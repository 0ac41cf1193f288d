"""Every requested cell, study and probe with its state."""

import pandas as pd

from analysis.reading.grid import Grid
from analysis.reading.jobs import Job, State, key
from analysis.reading.tables import frame
from analysis.status import last_line


def ledger(grid: Grid, states: list[State]) -> pd.DataFrame:
    """Every requested cell with its state; `seconds` is wall-clock time. A run of another grid counts, since settings,
    task, steps and seed are all that it depends on, and says so.
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
        if state == "failed":
            row["note"] = f"failed or interrupted; {end_of_log(grid, cell['directory'])}"
        rows.append(row)
    return frame(rows, "ledger")


def ledger_jobs(grid: Grid, jobs: list[Job]) -> pd.DataFrame:
    """Every study and probe that was asked for with its state."""
    rows = [
        {"kind": kind, "directory": directory, "state": state}
        | ({"note": f"failed or interrupted; {end_of_log(grid, directory)}"} if state == "failed" else {})
        for kind, directory, state, _ in jobs
    ]
    return frame(rows, "ledger_jobs")


def end_of_log(grid: Grid, directory: str) -> str:
    """What the log of a job without a result says last: why it failed, or how far it was when it was killed."""
    log = f"logs/{directory}.log"
    text = (grid.folder / log).read_text(encoding="utf-8", errors="replace")
    end = last_line(text)
    return f"{log} ends: {end}" if end else f"{log} is empty"
