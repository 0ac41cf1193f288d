"""Reads a run: its record, episodes and updates."""

from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
import pandas as pd

from analysis.reading.checks import AGAIN, NUMBER, ResultsError, check_keys, line_of, read_csv, read_record
from analysis.reading.grid import Grid

EPISODE_COLUMNS = ("step", "return", "length")
DIAGNOSTICS = (
    "policy_loss",
    "value_loss",
    "entropy",
    "approx_kl",
    "clip_fraction",
    "explained_variance",
    "policy_gradient_norm",
    "value_gradient_norm",
    "advantage_mean",
    "advantage_std",
    "learning_rate",
)
UPDATE_COLUMNS = ("step", "updates", *DIAGNOSTICS)
LOOP_PHASES = ("stepping", "acting", "learning", "compiling")  # what the training loop says of its seconds
SECONDS = ("start_up", *LOOP_PHASES, "training", "evaluating", "total")  # of run.json; training is the whole loop
PHASES = ("start_up", *LOOP_PHASES, "rest", "evaluating")  # that a run's time falls into; rest: of the loop
RUN_KEYS = {
    "schema": int,
    "cell": dict,
    "steps": int,
    "settings": dict,
    "task_settings": dict,
    "status": str,
    "diverged_at": (*NUMBER, NoneType),
    "diverged_because": (str, NoneType),
    "steps_taken": int,
    "updates": int,
    "episodes": int,
    "evaluation": (dict, NoneType),
    "versions": dict,
    "commit": (str, NoneType),
    "uncommitted_changes": (bool, NoneType),
    "machine": dict,
    "seconds": dict,
    "steps_per_second": (*NUMBER, NoneType),
    "peak_memory_mb": NUMBER,
}


def read_run(grid: Grid, cell: dict[str, Any]) -> dict[str, Any]:
    """A cell's run.json, checked against the grid that asked for it and, of a tuned cell, its study's winner."""
    path = grid.folder / cell["directory"] / "run.json"
    if cell["tuned"] is not None and not (best := grid.folder / cell["tuned"] / "best.json").exists():
        raise ResultsError(
            f"{path}: a run with tuned settings, but {best}, which has them, is missing; tune first, then run this "
            f"cell again."
        )
    run = read_record(path, RUN_KEYS)
    for key in ("algorithm", "task", "seed"):
        if run["cell"].get(key) != cell[key]:
            raise ResultsError(
                f"{path}: cell.{key} is {run['cell'].get(key)!r}, the grid has {cell[key]!r} there; run this cell "
                f"again, or move the run to where it belongs."
            )
    task = grid.tasks[cell["task"]]
    preprocessing = [*run["task_settings"], *(["variants"] if "variants" in task else [])]  # which most tasks lack
    asked = {
        "settings": cell["settings"],
        "task_settings": {key: task.get(key) for key in preprocessing},
        "": {"steps": cell["steps"]},
    }
    for section, expected in asked.items():
        found = run[section] if section else {"steps": run["steps"]}
        for key in [*expected, *(key for key in found if key not in expected)]:
            if found.get(key, "absent") != expected.get(key, "absent"):
                raise ResultsError(
                    f"{path}: {f'{section}.{key}'.lstrip('.')} is {found.get(key, 'absent')!r}, but "
                    f"{asker(grid, cell, section)} asks for {expected.get(key, 'absent')!r}; "
                    f"run this cell again."
                )
    if run["status"] not in ("done", "diverged"):
        raise ResultsError(f"{path}: status is {run['status']!r}; valid are done, diverged.")
    check_keys(run["seconds"], dict.fromkeys(SECONDS, NUMBER), path, "seconds")
    if run["status"] == "diverged":
        check_keys(run, {"diverged_at": NUMBER}, path, "the diverged run")
    else:
        check_keys(run["evaluation"], {"sampled": dict, "mode": dict}, path, "evaluation")
        for kind, evaluation in run["evaluation"].items():
            check_keys(evaluation, {"returns": list}, path, f"evaluation.{kind}")
            returns = evaluation["returns"]
            if not returns or not all(isinstance(value, NUMBER) and np.isfinite(value) for value in returns):
                raise ResultsError(f"{path}: evaluation.{kind}.returns is {returns!r}; expected finite numbers.")
    return run


def asker(grid: Grid, cell: dict[str, Any], section: str) -> str:
    """The files that say what a section of a cell's run.json has to be."""
    tuned = f" with {cell['tuned']}/best.json" if section == "settings" and cell["tuned"] is not None else ""
    return f"{grid.folder / 'grid.json'}{tuned}"


def read_episodes(folder: Path, run: dict[str, Any]) -> pd.DataFrame:
    """episodes.csv: one row per training episode, columns step, return, length."""
    path = folder / "episodes.csv"
    episodes = read_csv(path, EPISODE_COLUMNS)
    if run["status"] == "done" and episodes.isna().any(axis=None):
        raise ResultsError(f"{path}: line {line_of(episodes.isna().any(axis=1))} has an empty cell.")
    if len(episodes) != run["episodes"]:
        raise ResultsError(f"{path}: {len(episodes)} episodes, but run.json counts {run['episodes']}; {AGAIN}.")
    return episodes


def read_updates(folder: Path, run: dict[str, Any]) -> pd.DataFrame:
    """updates.csv: a few hundred rows of diagnostics; an empty cell is a quantity that does not exist."""
    path = folder / "updates.csv"
    updates = read_csv(path, UPDATE_COLUMNS)
    if run["status"] == "done" and updates["updates"].sum() != run["updates"]:
        raise ResultsError(
            f"{path}: its rows hold {updates['updates'].sum():.0f} updates, but run.json counts {run['updates']}; "
            f"{AGAIN}."
        )
    return updates
