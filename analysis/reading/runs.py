"""Reads a run: run.json, episodes.csv, updates.csv and evaluations.csv."""

from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
import pandas as pd

from policy_gradient_ladder.experiments.schema import (
    BEST,
    EPISODE_COLUMNS,
    EVALUATION_COLUMNS,
    EVALUATIONS,
    EVALUATIONS_FILE,
    EXTERNAL,
    OF_SOME_TASKS,
    PERTURBED,
    RUN_STATES,
    SECONDS,
    TRUE_RETURN,
    UPDATE_COLUMNS,
)

from .checks import (
    AGAIN,
    NUMBER,
    PROVENANCE_KEYS,
    ResultsError,
    check_choice,
    check_keys,
    line_of,
    read_csv,
    read_record,
)
from .grid import Grid

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
    **PROVENANCE_KEYS,
    "seconds": dict,
    "steps_per_second": (*NUMBER, NoneType),
    "peak_memory_mb": NUMBER,
}


def read_run(grid: Grid, cell: dict[str, Any]) -> dict[str, Any]:
    """run.json of a cell of the grid.

    Raises ResultsError where it lacks something, or is of another cell, task, setting or number of steps than the grid
    asks for. The settings of a tuned cell are those of its study's winner.
    """
    path = grid.folder / cell["directory"] / "run.json"
    if cell["tuned"] is not None and not (best := grid.folder / cell["tuned"] / BEST).exists():
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
    asked_by = str(grid.folder / "grid.json")
    tuned_by = f" with {cell['tuned']}/{BEST}" if cell["tuned"] is not None else ""
    check_asked("settings.", run["settings"], cell["settings"], path, asked_by + tuned_by)
    keys = [*run["task_settings"], *(key for key in OF_SOME_TASKS if key in task)]
    check_asked("task_settings.", run["task_settings"], {key: task.get(key) for key in keys}, path, asked_by)
    check_asked("", {"steps": run["steps"]}, {"steps": cell["steps"]}, path, asked_by)
    check_choice(run["status"], RUN_STATES, path, "status")
    for i, episode in enumerate(run.get("open_episodes", [])):
        of_true = {TRUE_RETURN: NUMBER} if TRUE_RETURN in episode else {}
        check_keys(episode, {"start": int, "return": NUMBER, "length": int} | of_true, path, f"open_episodes[{i}]")
    check_keys(run["seconds"], dict.fromkeys(SECONDS, NUMBER), path, "seconds")
    if run["status"] != "done":
        check_keys(run, {"diverged_at": NUMBER}, path, f"the run, which is {run['status']},")
    else:
        kinds = EVALUATIONS[:1] if EXTERNAL in run else EVALUATIONS  # nobody has evaluated the mode action elsewhere
        check_keys(run["evaluation"], dict.fromkeys(kinds, dict), path, "evaluation")
        for kind, evaluation in run["evaluation"].items():
            check_keys(evaluation, {"returns": list}, path, f"evaluation.{kind}")
            returns = evaluation["returns"]
            if not returns or not all(isinstance(value, NUMBER) and np.isfinite(value) for value in returns):
                raise ResultsError(f"{path}: evaluation.{kind}.returns is {returns!r}; expected finite numbers.")
            for name in ("costs", "true_returns"):  # of a task that reports them
                found = evaluation.get(name, [])
                if not isinstance(found, list) or not all(isinstance(x, NUMBER) and np.isfinite(x) for x in found):
                    raise ResultsError(f"{path}: evaluation.{kind}.{name} is {found!r}; expected finite numbers.")
        check_perturbed(run.get(PERTURBED), task.get("perturbations", {}), path)
    return run


def check_perturbed(found: list[dict[str, Any]] | None, asked: dict[str, Any], path: Path) -> None:
    """Check a run's returns under changes, which it has where its policy was kept. Raises ResultsError."""
    if found is None:
        return
    for i, entry in enumerate(found):
        where = f"{PERTURBED}[{i}]"
        check_keys(entry, {"change": str, "size": NUMBER, "returns": (list, NoneType)}, path, where)
        if not all(isinstance(value, NUMBER) and np.isfinite(value) for value in entry["returns"] or ()):
            raise ResultsError(f"{path}: {where}.returns is {entry['returns']!r}; expected finite numbers.")
    pairs = [(entry["change"], entry["size"]) for entry in found]
    if pairs != (wanted := [(change, size) for change, of in asked.items() for size in of["sizes"]]):
        raise ResultsError(
            f"{path}: {PERTURBED} has the changes {pairs}, but the grid asks for {wanted}; run this cell again."
        )


def check_asked(prefix: str, found: dict[str, Any], asked: dict[str, Any], path: Path, asked_by: str) -> None:
    """Check that a run has exactly the values that were asked for.

    prefix: what stands before a key in the message; asked_by: the files that ask. Raises ResultsError.
    """
    for key in {**asked, **found}:
        if found.get(key, "absent") != asked.get(key, "absent"):
            raise ResultsError(
                f"{path}: {prefix}{key} is {found.get(key, 'absent')!r}, but {asked_by} asks for "
                f"{asked.get(key, 'absent')!r}; run this cell again."
            )


def read_episodes(folder: Path, run: dict[str, Any]) -> pd.DataFrame:
    """episodes.csv of a run: a row per training episode; step (at its end), return, length in steps, and start: the
    steps before its first; true_return where the task reports true rewards.

    Earlier versions did not write the start. An episode of one of N environments then began about N times its length
    before its end, since all of them are stepped in turn, unless they waited for each other.

    run: its run.json. Of a run that is not done, episodes whose return is not finite are left out. Raises ResultsError
    where rows are missing, or where a run that is done has an empty cell or an infinite return.
    """
    path = folder / "episodes.csv"
    *earlier, start = EPISODE_COLUMNS
    episodes = read_csv(path, tuple(earlier), further=True)
    if start not in episodes:
        num_envs = run.get("settings", {}).get("num_envs", 1)
        episodes[start] = (episodes["step"] - episodes["length"] * num_envs).clip(lower=0)
    episodes = episodes[[*EPISODE_COLUMNS, *({TRUE_RETURN} & set(episodes))]]
    if run["status"] == "done" and episodes.isna().any(axis=None):
        raise ResultsError(f"{path}: line {line_of(episodes.isna().any(axis=1))} has an empty cell.")
    finite = np.isfinite(episodes["return"])
    if run["status"] == "done" and not finite.all():
        raise ResultsError(f"{path}: line {line_of(~finite)} has a return that is infinite; {AGAIN}.")
    if len(episodes) != run["episodes"]:
        raise ResultsError(f"{path}: {len(episodes)} episodes, but run.json counts {run['episodes']}; {AGAIN}.")
    return episodes[finite]


def open_episodes(run: dict[str, Any]) -> pd.DataFrame:
    """The episodes that were open when a run's budget ended, as rows of `read_episodes`; they end with the run.

    run: its run.json. There are none in runs of earlier versions, and in those of other libraries.
    """
    rows = [episode | {"step": run["steps_taken"]} for episode in run.get("open_episodes", [])]
    columns = [*EPISODE_COLUMNS, TRUE_RETURN] if any(TRUE_RETURN in row for row in rows) else list(EPISODE_COLUMNS)
    return pd.DataFrame(rows, columns=columns)


def read_updates(folder: Path, run: dict[str, Any]) -> pd.DataFrame:
    """updates.csv of a run: a few hundred rows of diagnostics, first those of all algorithms, then those that the run's
    algorithm adds. NaN stands for a quantity that does not exist.

    run: its run.json. Raises ResultsError where the rows are of fewer updates than the run made.
    """
    path = folder / "updates.csv"
    updates = read_csv(path, UPDATE_COLUMNS, further=True)
    if run["status"] == "done" and updates["updates"].sum() != run["updates"]:
        raise ResultsError(
            f"{path}: its rows hold {updates['updates'].sum():.0f} updates, but run.json counts {run['updates']}; "
            f"{AGAIN}."
        )
    return updates


def read_evaluations(folder: Path, run: dict[str, Any]) -> pd.DataFrame:
    """evaluations.csv of a run: a row per episode of an evaluation in the middle of its training; step (of the
    training), kind, return and length in steps. No rows for a run that was not asked for such evaluations.

    run: its run.json. Raises ResultsError where a kind is unknown, or a return is not finite.
    """
    if "evaluate_every" not in run:
        return pd.DataFrame(columns=list(EVALUATION_COLUMNS))
    check_keys(run, {"evaluate_every": int}, folder / "run.json", "the run")
    path = folder / EVALUATIONS_FILE
    evaluations = read_csv(path, EVALUATION_COLUMNS, {"kind"})
    for kind in evaluations["kind"].unique():
        check_choice(kind, EVALUATIONS, path, "kind")
    finite = np.isfinite(evaluations["return"])
    if not finite.all():
        raise ResultsError(f"{path}: line {line_of(~finite)} has a return that is not finite; {AGAIN}.")
    return evaluations
