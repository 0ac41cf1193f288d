"""Reads a study, the tuning of one algorithm on a group of tasks: study.json, trials and their parts."""

import json
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

import pandas as pd

from policy_gradient_ladder.experiments.schema import (
    BEST,
    PART_COLUMNS,
    PART_SEEDS,
    PART_SETTINGS,
    RUN_STATES,
    SCALES,
    TRIAL_COLUMNS,
    TRIAL_STATES,
    UNTUNED,
)

from .checks import (
    NUMBER,
    ResultsError,
    check_choice,
    check_keys,
    check_names,
    check_present,
    differing,
    read_csv,
    read_record_if_there,
    valid_choices,
)
from .grid import Grid
from .winners import check_best, check_same, read_best

PART_TEXT = ("settings", "seeds", "task", "status")
STUDY_FILE_KEYS = {
    "schema": int,
    "algorithm": str,
    "group": str,
    "tasks": dict,
    "seeds": list,
    "fresh_seeds": list,
    "trials": int,
    "spread_penalty": NUMBER,
    "space": dict,
    "untuned": dict,
    "best": dict,
    "importances": (dict, NoneType),
    "importance_method": str,
}
STUDY_TASK_KEYS = {"steps": int, "random_score": NUMBER, "reference_score": NUMBER}
RANGE_KEYS = {"low": NUMBER, "high": NUMBER, "scale": str}


@dataclass(frozen=True)
class Study:
    """What `experiments.tune` wrote: `about`, which is study.json with the winner, a table of trials, and one of parts.

    A part is one training run of a trial: a task and a seed.
    """

    about: dict[str, Any]
    trials: pd.DataFrame
    parts: pd.DataFrame

    def part_rows(self, settings: str, trial: int | None = None) -> pd.DataFrame:
        """The parts with these settings, of this trial if one is given.

        settings: "trial" for parts on tuning seeds; "tuned" or "untuned" for parts on fresh seeds.
        """
        parts = self.parts[self.parts["settings"] == settings]
        return parts if trial is None else parts[parts["trial"] == trial]


def read_study(grid: Grid, asked: dict[str, Any]) -> Study | None:
    """The study that an entry of the grid's studies asks for; None where it has not finished. Raises ResultsError."""
    folder = grid.folder / asked["directory"]
    path = folder / "study.json"
    if (about := read_record_if_there(path, STUDY_FILE_KEYS)) is None:
        return None
    for task, values in about["tasks"].items():
        check_keys(values, STUDY_TASK_KEYS, path, f"tasks.{task}")
    steps = {task: values["steps"] for task, values in about["tasks"].items()}
    found = {**about, "tasks": steps}
    check_asked(found, asked, path)
    for task in set(steps) & set(grid.tasks):
        for key in ("random_score", "reference_score"):
            if about["tasks"][task][key] != grid.tasks[task][key]:
                raise ResultsError(
                    f"{path}: tasks.{task}.{key} is {about['tasks'][task][key]}, the grid has "
                    f"{grid.tasks[task][key]}; its normalised scores are of another scale, so tune it again."
                )
    check_best(about["best"], asked, path, "best")
    if about["best"] != read_best(grid.folder, asked):
        raise ResultsError(f"{path}: its best is not what {folder / BEST} says; tune it again.")
    check_space(about, path)
    trials = read_trials(folder / "trials.csv", about)
    return Study(about, trials, read_parts(folder / "parts.csv", about, trials))


def check_asked(about: dict[str, Any], asked: dict[str, Any], path: Path) -> None:
    """Check that a study is the one that the grid asks for now: its budget and seeds; its space, sampler and pruner;
    and of every tuning task the preprocessing, the scores of its scale and the untuned settings.

    about: study.json, with the steps of each task; asked: the entry of the grid. Earlier versions recorded less.
    """
    check_same(about, asked, ("algorithm", "group", "tasks", "seeds", "fresh_seeds", "trials", "spread_penalty"), path)
    keys = ("space", "sampler", "pruner", "workers", "determines")
    for where, found, wanted in differing(
        *({k: of[k] for k in keys if k in about and k in asked} for of in (about, asked))
    ):
        raise ResultsError(
            f"{path}: made for another problem: {where} is {found!r}, the grid has {wanted!r}. Tune it again: move "
            f"{path.parent} away, and run snakemake."
        )


def check_space(about: dict[str, Any], path: Path) -> None:
    """Check that every searched setting has a range or choices, an untuned value and, if any were computed, an
    importance.
    """
    for name, values in about["space"].items():
        where = f"space.{name}"
        check_keys(values, {}, path, where)
        if "choices" in values:
            check_keys(values, {"choices": list}, path, where)
        else:
            check_keys(values, RANGE_KEYS, path, where)
            check_choice(values["scale"], SCALES, path, f"{where}.scale")
    for key in ("untuned", "importances"):
        for name in about["space"] if about[key] is not None else ():
            if name not in about[key]:
                raise ResultsError(
                    f"{path}: {key} has no {name!r}, which space has; there is {valid_choices(name, about[key])}."
                )


def read_trials(path: Path, about: dict[str, Any]) -> pd.DataFrame:
    """trials.csv, sorted by trial. A searched setting has a column: a number, or JSON text where it has choices.

    about: study.json. Raises ResultsError.
    """
    choices = {name: values["choices"] for name, values in about["space"].items() if "choices" in values}
    trials = read_csv(path, (*TRIAL_COLUMNS, *about["space"]), ("state", *choices))
    for name, valid in choices.items():
        trials[name] = [
            choice_text(text, valid, path, name, null_is_empty=number != UNTUNED or "determines" not in about)
            for number, text in zip(trials["trial"], trials[name], strict=True)
        ]
    check_names(trials, {"state": TRIAL_STATES}, path)
    check_present(trials, ("trial", "value", "parts", "diverged", "steps", "seconds"), path)
    trials = trials.astype({"trial": int, "parts": int, "diverged": int})
    if trials["trial"].duplicated().any():
        number = trials["trial"][trials["trial"].duplicated()].iloc[0]
        raise ResultsError(f"{path}: trial {number} is listed more than once; tune it again.")
    if len(trials) < about["trials"]:
        raise ResultsError(
            f"{path}: incomplete: {len(trials)} trials, but study.json asked for {about['trials']}; tune it again."
        )
    complete = trials["trial"][trials["state"] == "complete"].tolist()
    for number, name in ((UNTUNED, "the untuned settings"), (about["best"]["trial"], "the winner")):
        if number not in complete:
            raise ResultsError(f"{path}: no complete trial {number}, {name}; tune it again.")
    return trials.sort_values("trial", kind="stable", ignore_index=True)


def choice_text(text: Any, choices: list[Any], path: Path, column: str, *, null_is_empty: bool) -> str | None:
    """The choice, as JSON text, that a cell of a CSV file stands for; None for an empty cell.

    null_is_empty: an empty cell is null if that is a choice, as in the files of earlier versions.
    """
    if pd.isna(text):
        return "null" if null_is_empty and None in choices else None
    for choice in choices:
        is_number = isinstance(choice, NUMBER) and not isinstance(choice, bool)
        if text in (str(choice), json.dumps(choice)) or (is_number and text in (f"{choice:g}", str(float(choice)))):
            return json.dumps(choice)
    raise ResultsError(
        f"{path}: a trial has {column} = {text!r}; study.json has {valid_choices(text, map(json.dumps, choices))}."
    )


def read_parts(path: Path, about: dict[str, Any], trials: pd.DataFrame) -> pd.DataFrame:
    """parts.csv. Raises ResultsError unless every trial has as many parts as trials.csv counts, and both the tuned and
    the untuned settings have a part for every task and fresh seed.
    """
    parts = read_csv(path, PART_COLUMNS, PART_TEXT)
    valid = {
        "settings": PART_SETTINGS,
        "seeds": PART_SEEDS,
        "status": RUN_STATES,
        "task": tuple(about["tasks"]),
    }
    check_names(parts, valid, path)
    check_present(parts, ("trial", "seed", "normalized", "steps", "seconds"), path)
    parts = parts.astype({"trial": int, "seed": int})
    counted = parts[parts["settings"] == "trial"].groupby("trial").size()
    for trial in trials.itertuples():
        if counted.get(trial.trial, 0) != trial.parts:
            raise ResultsError(
                f"{path}: incomplete: {counted.get(trial.trial, 0)} parts of trial {trial.trial}, but trials.csv "
                f"counts {trial.parts}; tune it again."
            )
    expected = sorted((task, seed) for task in about["tasks"] for seed in about["fresh_seeds"])
    for settings, trial in (("tuned", about["best"]["trial"]), ("untuned", UNTUNED)):
        own = parts[(parts["settings"] == settings) & (parts["trial"] == trial) & (parts["seeds"] == "fresh")]
        if sorted(zip(own["task"], own["seed"], strict=True)) != expected:
            raise ResultsError(
                f"{path}: incomplete: {len(own)} parts of the {settings} settings (trial {trial}) on fresh seeds, "
                f"expected one per task and fresh seed, {len(expected)}; tune it again."
            )
    return parts
