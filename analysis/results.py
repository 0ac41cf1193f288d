"""Reads and checks the files under `results/<grid>/`; whatever is wrong with them is said in one sentence."""

import argparse
import difflib
import hashlib
import json
import os
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
import pandas as pd

from analysis.statistics import AGGREGATES

STATES = ("done", "diverged", "failed", "missing")
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
FILES = "files.json"  # beside the page: what that was made of
REPORTS = ("index.html", "report.md", "summary.json")
JOURNAL = "journal.log"  # of a study, which grows when the study goes on
LOOP_PHASES = ("stepping", "acting", "learning", "compiling")  # what the training loop says of its seconds
SECONDS = ("start_up", *LOOP_PHASES, "training", "evaluating", "total")  # of run.json; training is the whole loop
PHASES = ("start_up", *LOOP_PHASES, "rest", "evaluating")  # that a run's time falls into; rest: of the loop
MEASUREMENT_COLUMNS = (
    *("task", "contestant", "repetition", "status", "reason", "steps", "steps_per_second"),
    *(f"seconds_{name}" for name in SECONDS),
    "peak_memory_mb",
)

TRIAL_COLUMNS = ("trial", "state", "value", "parts", "diverged", "steps", "seconds")
PART_COLUMNS = ("settings", "trial", "seeds", "task", "seed", "status", "score", "normalized", "steps", "seconds")

MEASURES = (  # of an estimator at a probe, each with its interval
    *("variance", "ratio", "snr", "pairwise_cosine", "cosine", "true_cosine"),
    *("reference_norm_squared", "bias_squared", "relative_bias"),
)

# Every table with its columns: what `analysis.tables` writes, and what figures and report may rely on.
TABLES = {
    name: tuple(columns.split())
    for name, columns in {
        "ledger": "task algorithm seed state steps steps_taken updates episodes seconds directory note",
        "ledger_jobs": "kind directory state note",
        "curves": "task algorithm seed step return moving_average normalized episodes",
        "curve_intervals": "task algorithm step n mean low high std",
        "scores": "task algorithm seed status score mode_score normalized normalized_mode auc normalized_auc "
        "steps_to_threshold reached steps steps_taken steps_per_second "
        f"{' '.join(f'seconds_{name}' for name in SECONDS)} seconds_rest peak_memory_mb",
        "summary": "task algorithm requested n diverged mean low high iqm std min max mode_mean normalized_mean "
        "auc_mean auc_low auc_high reached median_steps_to_threshold",
        "aggregate": "measure algorithm tasks n requested "
        f"{' '.join(f'{name} {name}_low {name}_high' for name in AGGREGATES)}",
        "profiles": "measure algorithm tau share low high",
        "improvement": "measure algorithm other tasks n n_other probability low high",
        "pairs": "measure task algorithm other tasks n n_other difference low high p p_adjusted verdict seeds_needed "
        "rests_on difference_without low_without high_without p_permutation p_permutation_adjusted",
        "efficiency": "algorithm fraction iqm low high",
        "diagnostics": f"task algorithm seed step {' '.join(DIAGNOSTICS)}",
        "provenance": "kind name value runs studies probes",
        "benchmark": "task contestant title side status reason n steps_per_second low high "
        "stepping acting learning rest reference reference_ratio reference_low reference_high "
        "peer peer_ratio peer_low peer_high limit_share gymnasium_share peak_memory_mb start_up overhead",
        "gradients": "task source seed fraction step exact episodes main batches estimator kind algorithm "
        "critic advantages gae_lambda gamma "
        f"{' '.join(f'{name} {name}_low {name}_high' for name in MEASURES)} ceiling expected verdict note",
        "critics": "task source seed fraction step exact critic gamma explained_variance rmse return_std",
        "tuning": "algorithm group trial state score best_so_far parts diverged steps seconds",
        "tuning_values": "algorithm group setting trial state score diverged winner value",
        "tuning_settings": "algorithm group setting low high scale choices untuned tuned importance method",
        "tuning_parts": f"algorithm group {' '.join(PART_COLUMNS)}",
        "shrinkage": "algorithm group trial tuning_score untuned_tuning_score n fresh_tuned fresh_tuned_low "
        "fresh_tuned_high fresh_untuned fresh_untuned_low fresh_untuned_high difference difference_low difference_high "
        "p p_adjusted shrinkage verdict trials pruned diverged fresh_diverged steps seconds fresh_steps fresh_seconds",
        "published": "task algorithm requested n budget source reference published_task version version_change steps "
        "metric metric_text ours ours_low ours_high published_n published published_spread spread_kind published_low "
        "published_high difference difference_low difference_high normalized_difference normalized_difference_low "
        "normalized_difference_high method verdict because reason settings differences time_limits note",
        "claims": "claim statement source rule claim_verdict comparison metric first second direction smallest_effect "
        "scale claimed_low claimed_high effect low high furthest least most tasks unit n_first n_second asked verdict "
        "reason against rests_on left_out figure",
        "claim_tasks": "claim comparison task effect low high without without_low without_high n_first n_second "
        "verdict note",
    }.items()
}
TEXT_COLUMNS = dict.fromkeys(
    [
        *("task", "algorithm", "state", "directory", "note", "status", "measure", "kind", "name", "value"),
        *("other", "contestant", "title", "side", "reason", "reference", "peer"),
        *("source", "estimator", "critic", "advantages", "expected", "verdict"),
        *("group", "setting", "settings", "seeds", "scale", "choices", "untuned", "tuned", "method"),
        *("published_task", "version", "version_change", "metric", "metric_text", "spread_kind", "because"),
        *("differences", "time_limits"),
        *("claim", "statement", "rule", "claim_verdict", "metric", "first", "second", "direction", "unit", "against"),
        *("left_out", "rests_on", "figure", "furthest"),
    ],
    "str",
)


AGAIN = "delete it, and the next snakemake makes it again"


class ResultsError(Exception):
    """A file, key or name that the user can put right; the message is the one sentence they see."""


def valid_choices(name: str, choices: Iterable[str]) -> str:
    """The choices as text, those that look most like `name` first."""
    choices = list(choices)
    near = difflib.get_close_matches(str(name), choices, n=max(1, len(choices)), cutoff=0.5)
    return ", ".join([*near, *(choice for choice in choices if choice not in near)])


def run_command(main: Callable[[], None], module: str) -> None:
    """Run a command line; a ResultsError becomes its sentence on stderr and exit status 2."""
    try:
        main()
    except ResultsError as error:
        print(f"{module}: {error}", file=sys.stderr)
        sys.exit(2)


def results_argument(module: str, description: str) -> argparse.ArgumentParser:
    """A parser with the option that all of analysis shares."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("--results", type=Path, required=True, help="a grid's folder, e.g. results/smoke")
    return parser


# ---------------------------------------------------------------------------------------------- grid


@dataclass(frozen=True)
class Grid:
    """What was asked for: grid.json. The order of its tasks and algorithms is the order everywhere.

    A tuned cell has the settings of its study's winner, and the untuned ones as long as there is no winner.
    """

    folder: Path
    name: str
    description: str
    grid_file: str
    seeds: list[int]
    tasks: dict[str, dict[str, Any]]
    algorithms: dict[str, dict[str, Any]]
    cells: list[dict[str, Any]]
    probes: list[dict[str, Any]]
    studies: list[dict[str, Any]]
    claims: list[dict[str, Any]]

    def title(self, algorithm: str) -> str:
        return self.algorithms[algorithm]["title"]

    def requested(self, task: str, algorithm: str) -> list[dict[str, Any]]:
        return [cell for cell in self.cells if (cell["task"], cell["algorithm"]) == (task, algorithm)]

    def tasks_of(self, algorithm: str) -> list[str]:
        return [task for task in self.tasks if self.requested(task, algorithm)]


WRITTEN = ("tables", "figures", "report")  # by analysis, and so not to be links to elsewhere
NUMBER = (int, float)
SCHEMA = 3  # of grid.json, run.json, probe.json, benchmark.json, best.json and study.json
GRID_KEYS = {
    "schema": int,
    "grid": str,
    "description": str,
    "grid_file": str,
    "seeds": list,
    "tasks": dict,
    "algorithms": dict,
    "cells": list,
    "probes": list,
    "studies": list,
    "claims": list,
}
TASK_KEYS = {
    "steps": int,
    "random_score": NUMBER,
    "reference_score": NUMBER,
    "reference_source": str,
    "threshold": (*NUMBER, NoneType),
    "normalize_observations": bool,
    "normalize_rewards": bool,
    "action_bounds": str,
    "max_episode_steps": (int, NoneType),
}
ALGORITHM_KEYS = {"title": str, "equation": str, "summary": str}
CELL_KEYS = {
    "algorithm": str,
    "task": str,
    "seed": int,
    "steps": int,
    "directory": str,
    "settings": dict,
    "tuned": (str, NoneType),
}
PROBE_KEYS = {"task": str, "source": str, "seed": int, "fraction": NUMBER, "directory": str, "exact": bool}
PROBE_FILE_KEYS = {
    "schema": int,
    "probe": dict,
    "exact": bool,
    "batch_size": int,
    "sizes": list,
    "episodes": dict,
    "estimators": list,
    "references": list,
    "critics": list,
}
ESTIMATOR_KEYS = {
    "id": str,
    "kind": str,
    "algorithm": (str, NoneType),
    "critic": str,
    "advantages": str,
    "gae_lambda": (*NUMBER, NoneType),
    "gamma": NUMBER,
    "variance_reference": str,
    "bias_reference": str,
    "cosine_reference": str,
    "sizes": list,
}
CRITIC_KEYS = {
    "critic": str,
    "gamma": NUMBER,
    "explained_variance": (*NUMBER, NoneType),
    "rmse": NUMBER,
    "return_std": NUMBER,
}
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
BENCHMARK_KEYS = {
    "schema": int,
    "repetitions": int,
    "compiled": bool,
    "contestants": dict,
    "versions": dict,
    "commit": (str, NoneType),
    "uncommitted_changes": (bool, NoneType),
    "machine": dict,
}
STUDY_KEYS = {  # of an entry of grid.json's studies
    "algorithm": str,
    "group": str,
    "directory": str,
    "tasks": dict,
    "serves": list,
    "seeds": list,
    "fresh_seeds": list,
    "trials": int,
    "spread_penalty": NUMBER,
    "sampler": dict,
    "pruner": dict,
    "workers": int,
}
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
BEST_KEYS = {"schema": int, "algorithm": str, "group": str, "trial": int, "score": NUMBER, "settings": dict}
RANGE_KEYS = {"low": NUMBER, "high": NUMBER, "scale": str}
SCALES = ("linear", "log", "log_one_minus")
CLAIM_KEYS = {
    **dict.fromkeys(("id", "statement", "source", "rule"), str),
    "comparisons": list,
    "variants": dict,
    "grid": (str, NoneType),
}
RULES = ("all", "any")
DIRECTIONS = ("higher", "lower", "equal")
COMPARISON_KEYS = {
    "metric": str,
    "sides": list,
    "direction": str,
    "smallest_effect": NUMBER,
    "tasks": (str, list),
    "from_fraction": NUMBER,
    "differing_in": list,
}
SIDE_KEYS = {"algorithm": (str, NoneType), "gae_lambda": (*NUMBER, NoneType), "critic": (str, NoneType)}
CONTESTANT_KEYS = {"title": str, "side": str, "reference": (str, NoneType), "peer": (str, NoneType)}


def check_there(results: Path) -> None:
    """There is such a folder."""
    if not results.is_dir():
        others = sorted(path.parent.as_posix() for path in results.parent.glob("*/grid.json"))
        hint = f"; there is {valid_choices(results.as_posix(), others)}" if others else ""
        raise ResultsError(f"{results}: no such folder{hint}.")


def read_grid(results: Path) -> Grid:
    """results/<grid>/grid.json, checked."""
    check_there(results)
    path = results / "grid.json"
    content = read_record(path, GRID_KEYS)
    for name, task in content["tasks"].items():
        check_keys(task, TASK_KEYS, path, f"tasks.{name}")
        if task["reference_score"] == task["random_score"]:
            raise ResultsError(
                f"{path}: tasks.{name}.reference_score is {task['reference_score']}, the same as its "
                f"random_score; a normalised score needs two different numbers."
            )
    for name, algorithm in content["algorithms"].items():
        check_keys(algorithm, ALGORITHM_KEYS, path, f"algorithms.{name}")
    seen = set()
    for index, cell in enumerate(content["cells"]):
        check_keys(cell, CELL_KEYS, path, f"cells[{index}]")
        for key, section in (("task", "tasks"), ("algorithm", "algorithms")):
            if cell[key] not in content[section]:
                raise ResultsError(
                    f"{path}: cells[{index}].{key} is {cell[key]!r}, which is not among its {section}: "
                    f"{valid_choices(cell[key], content[section])}."
                )
        key = (cell["algorithm"], cell["task"], cell["seed"])
        if key in seen:
            raise ResultsError(f"{path}: cells[{index}] is there before: {key[0]}, {key[1]}, seed {key[2]}.")
        seen.add(key)
    for index, probe in enumerate(content["probes"]):
        check_keys(probe, PROBE_KEYS, path, f"probes[{index}]")
    for index, study in enumerate(content["studies"]):
        check_study_entry(study, content, path, f"studies[{index}]")
    for index, claim in enumerate(content["claims"]):
        check_claim_entry(claim, path, f"claims[{index}]")
    for entry in (*content["cells"], *content["probes"], *content["studies"]):
        check_inside(results, entry["directory"], path)
    for name in WRITTEN:
        check_inside(results, name, results)
    return Grid(
        folder=results,
        name=content["grid"],
        description=content["description"],
        grid_file=content["grid_file"],
        seeds=content["seeds"],
        tasks=content["tasks"],
        algorithms=content["algorithms"],
        cells=tuned_cells(results, content),
        probes=content["probes"],
        studies=content["studies"],
        claims=content["claims"],
    )


def check_study_entry(study: Any, content: dict[str, Any], path: Path, where: str) -> None:
    """An entry of grid.json's studies names only what there is, and tunes with seeds that nothing else has."""
    check_keys(study, STUDY_KEYS, path, where)
    check_keys(study["sampler"], {"name": str}, path, f"{where}.sampler")
    check_keys(study["pruner"], {"name": str}, path, f"{where}.pruner")
    named = [("algorithm", study["algorithm"], content["algorithms"])]
    named += [("serves", task, content["tasks"]) for task in study["serves"]]
    for key, name, choices in named:
        if not isinstance(name, str) or name not in choices:
            raise ResultsError(f"{path}: {where}.{key} has {name!r}; there is {valid_choices(name, choices)}.")
    uses = {"seeds": study["seeds"], "fresh_seeds": study["fresh_seeds"], "the grid's seeds": content["seeds"]}
    for use, seeds in uses.items():
        if not all(isinstance(seed, int) for seed in seeds):
            raise ResultsError(f"{path}: {where} has the {use.removeprefix('the ')} {seeds}; expected whole numbers.")
    for (first, seeds), (second, others) in combinations(uses.items(), 2):
        if shared := sorted(set(seeds) & set(others)):
            raise ResultsError(
                f"{path}: {where} has {shared[0]} in {first} and in {second}; scores on seeds that settings were "
                f"chosen by are too high."
            )


def check_claim_entry(claim: Any, path: Path, where: str) -> None:
    """An entry of grid.json's claims has everything that a verdict needs; its names may be of nothing that there is."""
    check_keys(claim, CLAIM_KEYS, path, where)
    check_choice(claim["rule"], RULES, path, f"{where}.rule")
    for index, comparison in enumerate(claim["comparisons"]):
        place = f"{where}.comparisons[{index}]"
        check_keys(comparison, COMPARISON_KEYS, path, place)
        check_choice(comparison["direction"], DIRECTIONS, path, f"{place}.direction")
        if len(comparison["sides"]) not in (1, 2):
            raise ResultsError(f"{path}: {place} has {len(comparison['sides'])} sides; expected one or two.")
        for side in comparison["sides"]:
            check_keys(side, SIDE_KEYS, path, f"a side of {place}")


def check_choice(value: Any, choices: Iterable[str], path: Path, where: str) -> None:
    if value not in choices:
        raise ResultsError(f"{path}: {where} is {value!r}; valid are {valid_choices(value, choices)}.")


def tuned_cells(results: Path, content: dict[str, Any]) -> list[dict[str, Any]]:
    """The cells, with the settings of the winner where there is one."""
    path = results / "grid.json"
    studies = {study["directory"]: study for study in content["studies"]}
    best = {directory: read_best(results, study) for directory, study in studies.items()}
    cells = []
    for index, cell in enumerate(content["cells"]):
        if cell["tuned"] is not None and cell["tuned"] not in studies:
            raise ResultsError(
                f"{path}: cells[{index}].tuned is {cell['tuned']!r}, which is not the directory of a study: "
                f"{valid_choices(cell['tuned'], studies) or 'there is none'}."
            )
        found = best.get(cell["tuned"])
        if found is not None:
            for name in found["settings"]:
                if name not in cell["settings"]:
                    raise ResultsError(
                        f"{results / cell['tuned'] / 'best.json'}: settings.{name} is no setting of "
                        f"{cell['algorithm']} in {path}; it has {valid_choices(name, cell['settings'])}."
                    )
            cell = {**cell, "settings": {**cell["settings"], **found["settings"]}}
        cells.append(cell)
    return cells


def read_best(results: Path, asked: dict[str, Any]) -> dict[str, Any] | None:
    """best.json of an entry of the grid's studies: its winner; None where the trials have not all been made."""
    path = results / asked["directory"] / "best.json"
    if not path.exists():
        return None
    best = read_json(path)
    check_best(best, asked, path, "the file")
    return best


def check_best(best: Any, asked: dict[str, Any], path: Path, where: str) -> None:
    check_keys(best, BEST_KEYS, path, where)
    check_schema(best, path)
    check_same(best, asked, ("algorithm", "group"), path)


def check_same(found: dict[str, Any], asked: dict[str, Any], keys: Iterable[str], path: Path) -> None:
    """A study's file is about what the grid asks for."""
    for key in keys:
        if found[key] != asked[key]:
            raise ResultsError(
                f"{path}: {key} is {found[key]!r}, the grid has {asked[key]!r} there; tune it again, or read it with "
                f"the grid that it was made with."
            )


def read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ResultsError(f"{path}: no such file.") from None
    except (ValueError, RecursionError) as error:
        raise ResultsError(f"{path}: not whole JSON ({error}); {AGAIN}.") from None
    if not isinstance(content, dict):
        raise ResultsError(f"{path}: expected an object with keys, found {type(content).__name__}.")
    return content


def read_record(path: Path, keys: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON file that has these keys and is of this version, and beside which no file has been cut off.

    It may lack `files` and `sha256`: earlier versions did not write them.
    """
    content = read_json(path)
    check_keys(content, keys, path, "the file")
    check_schema(content, path)
    if "files" in content:
        check_keys(content, {"sha256": str}, path, "the file")
        check_files(content, path.parent, path)
        check_sizes(content["files"], path)
    return content


def check_files(content: dict[str, Any], folder: Path, path: Path) -> None:
    """`files` of a JSON file describes what lies in a folder."""
    check_keys(content, {"files": dict}, path, "the file")
    for name, file in content["files"].items():
        check_keys(file, {"bytes": int, "sha256": str}, path, f"files.{name}")
        if name.startswith("/") or ".." in name.split("/"):
            raise leads_out(folder, name, path)


def check_sizes(files: dict[str, dict[str, Any]], path: Path) -> None:
    """No file beside `path` has been cut off; one that was deleted may be one that analysis does not need."""
    for name, described in files.items():
        file = os.path.join(path.parent, name)
        if name != JOURNAL and os.path.exists(file) and os.path.getsize(file) != described["bytes"]:
            # A checkpoint is no output of a rule, so that its folder has to go; a study's would take its journal along.
            again = f"delete {path.parent}, and snakemake makes it again" if "/" in name else AGAIN
            raise ResultsError(
                f"{file}: {os.path.getsize(file):,} bytes, but {path.name} counts {described['bytes']:,}; {again}."
            )


def digest(path: Path, size: int | None = None) -> dict[str, Any]:
    """Size and SHA-256 of a file, or of as many bytes at its beginning."""
    with path.open("rb") as file:
        if size is not None:
            content = file.read(min(size, path.stat().st_size))
            return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": file.tell()}


def check_inside(folder: Path, name: str, path: Path) -> Path:
    """The place in a folder that a file, `path`, names; links that lead elsewhere are followed no further."""
    try:
        inside = (folder / name).resolve().is_relative_to(folder.resolve())
    except (ValueError, OSError, RuntimeError):  # no name of a file, or a circle of links
        inside = False
    if not inside:
        raise leads_out(folder, name, path)
    return folder / name


def leads_out(folder: Path, name: str, path: Path) -> ResultsError:
    """What is said of a name that is not of a folder."""
    return ResultsError(f"{path}: {name!r} leads out of {folder}; what is there is neither read nor written.")


def check_keys(mapping: Any, keys: Mapping[str, Any], path: Path, where: str) -> None:
    """Every key is present and of its type; a bool is not a number."""
    if not isinstance(mapping, dict):
        raise ResultsError(f"{path}: {where} is {mapping!r}; expected keys {', '.join(keys)}.")
    for key, kind in keys.items():
        if key not in mapping:
            raise ResultsError(f"{path}: {where} has no key {key!r}; it has {valid_choices(key, mapping) or 'none'}.")
        kinds = kind if isinstance(kind, tuple) else (kind,)
        value = mapping[key]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            names = " or ".join("null" if kind is NoneType else kind.__name__ for kind in kinds)
            raise ResultsError(f"{path}: {where} has {key} = {value!r}; expected {names}.")


def check_schema(content: dict[str, Any], path: Path) -> None:
    if content["schema"] != SCHEMA:
        raise ResultsError(
            f"{path}: schema is {content['schema']}, this version reads {SCHEMA}; run it again, or read it with the "
            f"version that wrote it."
        )


# ---------------------------------------------------------------------------------------------- runs


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
    asked = {
        "settings": cell["settings"],
        "task_settings": {key: task.get(key) for key in run["task_settings"]},
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


def read_csv(path: Path, columns: tuple[str, ...], text: Mapping[str, str] | None = None) -> pd.DataFrame:
    """The named columns of a whole CSV file, all numbers except those in `text`."""
    text = {name: kind for name, kind in (text or {}).items() if name in columns}
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ResultsError(f"{path}: no such file.") from None
    if not content.endswith(b"\n"):
        raise ResultsError(f"{path}: ends in the middle of a line; {AGAIN}.")
    header = content.split(b"\n", 1)[0].decode("utf-8", "replace").strip().split(",")
    for column in columns:
        if column not in header:
            raise ResultsError(f"{path}: no column {column!r}; it has {valid_choices(column, header)}.")
    try:
        frame = pd.read_csv(
            path,
            usecols=list(columns),
            dtype=text,
            keep_default_na=False,
            na_values={name: [""] if name in text else ["", "nan", "NaN", "None"] for name in columns},
        )
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise ResultsError(f"{path}: not a whole table ({str(error).strip()}).") from None
    for column in [name for name in columns if name not in text]:
        numbers = pd.to_numeric(frame[column], errors="coerce")
        wrong = frame[column].notna() & numbers.isna()
        if wrong.any():
            value = frame[column][wrong].iloc[0]
            raise ResultsError(f"{path}: line {line_of(wrong)} has {column} = {value!r}; expected a number.")
        frame[column] = numbers
    return frame[list(columns)]


def line_of(rows: pd.Series) -> int:
    """The line in the file of the first true row: the header is line 1."""
    return int(np.flatnonzero(rows.to_numpy())[0]) + 2


# ----------------------------------------------------------------------------------------- benchmark


@dataclass(frozen=True)
class Benchmark:
    """What `experiments.speed` left: one row per measurement, and what was measured where (benchmark.json)."""

    measurements: pd.DataFrame
    about: dict[str, Any]


def read_benchmark(results: Path) -> Benchmark | None:
    """results/<grid>/speed, checked; None where no benchmark was run."""
    folder = results / "speed"
    path = folder / "benchmark.json"  # written last
    if not path.exists():
        return None
    about = read_record(path, BENCHMARK_KEYS)
    contestants = about["contestants"]
    for name, contestant in contestants.items():
        check_keys(contestant, CONTESTANT_KEYS, path, f"contestants.{name}")
    path = folder / "measurements.csv"
    measurements = read_csv(path, MEASUREMENT_COLUMNS, TEXT_COLUMNS)
    unknown = ~measurements["contestant"].isin(list(contestants))
    if unknown.any():
        name = measurements["contestant"][unknown].iloc[0]
        raise ResultsError(
            f"{path}: line {line_of(unknown)} has contestant = {name!r}; benchmark.json has "
            f"{valid_choices(name, contestants)}."
        )
    return Benchmark(measurements, about)


# ------------------------------------------------------------------------------------------ probes


@dataclass(frozen=True)
class Probe:
    """What `experiments.probe` left: what was measured (probe.json), and the Gram matrices by their names."""

    about: dict[str, Any]
    grams: dict[str, np.ndarray]


def read_probe(grid: Grid, asked: dict[str, Any]) -> Probe | None:
    """An entry of the grid's probes, checked; None where it was not made."""
    folder = grid.folder / asked["directory"]
    path = folder / "probe.json"  # written last
    if not path.exists():
        return None
    about = read_record(path, PROBE_FILE_KEYS)
    found = {**about["probe"], "exact": about["exact"]}
    check_keys(found, {"step": int}, path, "probe")
    for key in ("task", "source", "seed", "fraction", "exact"):
        if found.get(key) != asked[key]:
            raise ResultsError(
                f"{path}: {key} is {found.get(key)!r}, the grid has {asked[key]!r} there; probe it again."
            )
    check_keys(about["episodes"], {"mean_length": NUMBER}, path, "episodes")
    for index, critic in enumerate(about["critics"]):
        check_keys(critic, CRITIC_KEYS, path, f"critics[{index}]")
    for index, size in enumerate(about["sizes"]):
        check_keys(size, {"episodes": int, "batches": int}, path, f"sizes[{index}]")
    batches = {size["episodes"]: size["batches"] for size in about["sizes"]}
    if about["batch_size"] not in batches:
        raise ResultsError(f"{path}: batch_size is {about['batch_size']}; sizes has {', '.join(map(str, batches))}.")
    for index, estimator in enumerate(about["estimators"]):
        check_estimator(estimator, grid, about["references"], list(batches), path, f"estimators[{index}]")
    return Probe(about, read_grams(folder / "grams.npz", gram_shapes(about, batches)))


def check_estimator(estimator: Any, grid: Grid, references: list, sizes: list, path: Path, where: str) -> None:
    """An entry of probe.json's estimators names only what there is."""
    check_keys(estimator, ESTIMATOR_KEYS, path, where)
    check_keys({"bootstraps": None, **estimator}, {"bootstraps": (bool, NoneType)}, path, where)  # may be left out
    required = {"algorithm": {"algorithm": str}, "gae": {"gae_lambda": NUMBER}, "compatible": {}}
    named = [("kind", estimator["kind"], required), ("advantages", estimator["advantages"], ("raw", "normalized"))]
    named += [(f"{use}_reference", estimator[f"{use}_reference"], references) for use in ("variance", "bias", "cosine")]
    named += [("sizes", size, sizes) for size in estimator["sizes"]]
    if estimator["algorithm"] is not None:
        named.append(("algorithm", estimator["algorithm"], grid.algorithms))
    for key, name, choices in named:
        if name not in choices:
            valid = valid_choices(name, map(str, choices))
            raise ResultsError(f"{path}: {where}.{key} has {name!r}; there is {valid}.")
    check_keys(estimator, required[estimator["kind"]], path, where)


def gram_shapes(about: dict[str, Any], batches: dict[int, int]) -> dict[str, tuple[int, int]]:
    """Every array that a probe has, with its shape."""
    names = [(f"{reference}/{size}", size) for reference in about["references"] for size in batches]
    for estimator in about["estimators"]:
        kinds = ["self", "bias"]
        if estimator["cosine_reference"] != estimator["bias_reference"]:
            kinds.append("cosine")
        names += [(f"{estimator['id']}/{size}/{kind}", size) for size in estimator["sizes"] for kind in kinds]
    return {name: (batches[size], batches[size]) for name, size in names}


def read_grams(path: Path, shapes: dict[str, tuple[int, int]]) -> dict[str, np.ndarray]:
    """The named arrays of an npz file, in double precision: differences of products lose digits."""
    again = "; delete its folder to make it again."
    grams = {}
    try:
        names = [name.removesuffix(".npy") for name in archive_names(path)]
        with np.load(path, allow_pickle=False) as arrays:
            for name, shape in shapes.items():
                if name not in names:
                    raise ResultsError(f"{path}: no array {name!r} among its {len(names)}{again}")
                array = arrays[name]
                if array.shape != shape or array.dtype.kind != "f":
                    raise ResultsError(
                        f"{path}: {name!r} is {array.dtype} of shape {array.shape}; "
                        f"expected floats of shape {shape}{again}"
                    )
                grams[name] = array.astype(float)
                if not np.isfinite(grams[name]).all():
                    raise ResultsError(f"{path}: {name!r} has a value that is not finite{again}")
    except FileNotFoundError:
        raise ResultsError(f"{path}: no such file{again}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, MemoryError) as error:
        raise ResultsError(f"{path}: not a whole file of arrays ({error}){again}") from None
    return grams


def archive_names(path: Path) -> list[str]:
    """What an archive holds. Raises ValueError where it is compressed: ours are not, and a small one may be huge."""
    with zipfile.ZipFile(path) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("it is compressed")
        return archive.namelist()


# ------------------------------------------------------------------------------------------ studies


@dataclass(frozen=True)
class Study:
    """What `experiments.tune` left: what was tuned (study.json, with the winner), its trials, and all their parts."""

    about: dict[str, Any]
    trials: pd.DataFrame
    parts: pd.DataFrame

    def part_rows(self, settings: str, trial: int | None = None) -> pd.DataFrame:
        """The parts of a trial, or those on fresh seeds: with `settings` tuned or untuned."""
        parts = self.parts[self.parts["settings"] == settings]
        return parts if trial is None else parts[parts["trial"] == trial]


def read_study(grid: Grid, asked: dict[str, Any]) -> Study | None:
    """An entry of the grid's studies, checked; None where it has not finished."""
    folder = grid.folder / asked["directory"]
    path = folder / "study.json"  # written last
    if not path.exists():
        return None
    about = read_record(path, STUDY_FILE_KEYS)
    for task, values in about["tasks"].items():
        check_keys(values, STUDY_TASK_KEYS, path, f"tasks.{task}")
    steps = {task: values["steps"] for task, values in about["tasks"].items()}
    found = {**about, "tasks": steps}
    keys = ("algorithm", "group", "tasks", "seeds", "fresh_seeds", "trials", "spread_penalty")
    check_same(found, asked, keys, path)
    for task in set(steps) & set(grid.tasks):
        for key in ("random_score", "reference_score"):
            if about["tasks"][task][key] != grid.tasks[task][key]:
                raise ResultsError(
                    f"{path}: tasks.{task}.{key} is {about['tasks'][task][key]}, the grid has "
                    f"{grid.tasks[task][key]}; its normalised scores are of another scale, so tune it again."
                )
    check_best(about["best"], asked, path, "best")
    if about["best"] != read_best(grid.folder, asked):
        raise ResultsError(f"{path}: its best is not what {folder / 'best.json'} says; tune it again.")
    check_space(about, path)
    trials = read_trials(folder / "trials.csv", about)
    return Study(about, trials, read_parts(folder / "parts.csv", about, trials))


def check_space(about: dict[str, Any], path: Path) -> None:
    """Every searched setting has a range or choices, an untuned value and, if there are any, an importance."""
    for name, values in about["space"].items():
        where = f"space.{name}"
        check_keys(values, {}, path, where)
        if "choices" in values:
            check_keys(values, {"choices": list}, path, where)
        else:
            check_keys(values, RANGE_KEYS, path, where)
            if values["scale"] not in SCALES:
                raise ResultsError(f"{path}: {where}.scale is {values['scale']!r}; valid are {', '.join(SCALES)}.")
    for key in ("untuned", "importances"):
        for name in about["space"] if about[key] is not None else ():
            if name not in about[key]:
                raise ResultsError(
                    f"{path}: {key} has no {name!r}, which space has; there is {valid_choices(name, about[key])}."
                )


def read_trials(path: Path, about: dict[str, Any]) -> pd.DataFrame:
    """trials.csv in the order of its trials; the searched settings' columns are JSON text where they are choices."""
    choices = {name: values["choices"] for name, values in about["space"].items() if "choices" in values}
    trials = read_csv(path, (*TRIAL_COLUMNS, *about["space"]), {"state": "str", **dict.fromkeys(choices, "str")})
    for name, valid in choices.items():
        trials[name] = [choice_text(text, valid, path, name) for text in trials[name]]
    check_names(trials, {"state": ("complete", "pruned")}, path)
    check_present(trials, ("trial", "value", "parts", "diverged", "steps", "seconds"), path)
    trials = trials.astype({"trial": int, "parts": int, "diverged": int})
    if trials["trial"].duplicated().any():
        number = trials["trial"][trials["trial"].duplicated()].iloc[0]
        raise ResultsError(f"{path}: trial {number} is there more than once; tune it again.")
    if len(trials) < about["trials"]:
        raise ResultsError(
            f"{path}: not whole: {len(trials)} trials, but study.json asked for {about['trials']}; tune it again."
        )
    complete = trials["trial"][trials["state"] == "complete"].tolist()
    for number, name in ((0, "the untuned settings"), (about["best"]["trial"], "the winner")):
        if number not in complete:
            raise ResultsError(f"{path}: no complete trial {number}, {name}; tune it again.")
    return trials.sort_values("trial", kind="stable", ignore_index=True)


def choice_text(text: Any, choices: list[Any], path: Path, column: str) -> str | None:
    """The choice, as JSON, that a cell of a CSV file stands for; None for an empty one, unless null is a choice."""
    if pd.isna(text):
        return "null" if None in choices else None
    for choice in choices:
        is_number = isinstance(choice, NUMBER) and not isinstance(choice, bool)
        if text in (str(choice), json.dumps(choice)) or (is_number and text in (f"{choice:g}", str(float(choice)))):
            return json.dumps(choice)
    raise ResultsError(
        f"{path}: a trial has {column} = {text!r}; study.json has {valid_choices(text, map(json.dumps, choices))}."
    )


def read_parts(path: Path, about: dict[str, Any], trials: pd.DataFrame) -> pd.DataFrame:
    """parts.csv: as many of every trial as it counts, and on fresh seeds every task and seed with either settings."""
    parts = read_csv(path, PART_COLUMNS, TEXT_COLUMNS)
    valid = {
        "settings": ("trial", "tuned", "untuned"),
        "seeds": ("tuning", "fresh"),
        "status": ("done", "diverged"),
        "task": tuple(about["tasks"]),
    }
    check_names(parts, valid, path)
    check_present(parts, ("trial", "seed", "normalized", "steps", "seconds"), path)
    parts = parts.astype({"trial": int, "seed": int})
    counted = parts[parts["settings"] == "trial"].groupby("trial").size()
    for trial in trials.itertuples():
        if counted.get(trial.trial, 0) != trial.parts:
            raise ResultsError(
                f"{path}: not whole: {counted.get(trial.trial, 0)} parts of trial {trial.trial}, but trials.csv counts "
                f"{trial.parts}; tune it again."
            )
    expected = sorted((task, seed) for task in about["tasks"] for seed in about["fresh_seeds"])
    for settings, trial in (("tuned", about["best"]["trial"]), ("untuned", 0)):
        own = parts[(parts["settings"] == settings) & (parts["trial"] == trial) & (parts["seeds"] == "fresh")]
        if sorted(zip(own["task"], own["seed"], strict=True)) != expected:
            raise ResultsError(
                f"{path}: not whole: {len(own)} parts of the {settings} settings (trial {trial}) on fresh seeds, "
                f"expected one per task and fresh seed, {len(expected)}; tune it again."
            )
    return parts


def check_names(table: pd.DataFrame, valid: Mapping[str, Iterable[str]], path: Path) -> None:
    """Columns of names have only names that there are."""
    for column, choices in valid.items():
        unknown = ~table[column].isin(list(choices))
        if unknown.any():
            name = table[column][unknown].iloc[0]
            raise ResultsError(
                f"{path}: line {line_of(unknown)} has {column} = {name!r}; valid are {valid_choices(name, choices)}."
            )


def check_present(table: pd.DataFrame, columns: Iterable[str], path: Path) -> None:
    """Columns of numbers that have no empty cell and no infinity."""
    for column in columns:
        wrong = ~np.isfinite(table[column])
        if wrong.any():
            raise ResultsError(
                f"{path}: line {line_of(wrong)} has {column} = {table[column][wrong].iloc[0]}; expected a number."
            )


# -------------------------------------------------------------------------------------------- tables


def read_table(results: Path, name: str) -> pd.DataFrame:
    """results/<grid>/tables/<name>.csv with the columns of TABLES."""
    path = results / "tables" / f"{name}.csv"
    if not path.exists():
        raise ResultsError(f"{path}: no such table; make it with: python -m analysis.tables --results {results}.")
    return read_csv(path, TABLES[name], TEXT_COLUMNS)


def write_table(results: Path, name: str, table: pd.DataFrame) -> None:
    """results/<grid>/tables/<name>.csv."""
    write_whole(results / "tables" / f"{name}.csv", table_text(table).encode())


def table_text(table: pd.DataFrame) -> str:
    """A table as it stands in its file."""
    return table.to_csv(index=False, float_format="%.10g", lineterminator="\n")


def write_whole(path: Path, content: bytes) -> None:
    """Write to a temporary file beside `path`, then move: what is there is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    os.replace(temporary, path)
