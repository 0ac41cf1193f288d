"""A synthetic results folder: what experiments would have left, with numbers from a seeded generator."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from analysis import figures, report, tables
from analysis.drawing import theme
from analysis.making import Maker
from analysis.problems import made_tables
from analysis.reading import checks as results
from analysis.reading.checks import SCHEMA
from analysis.reading.grid import read_grid
from analysis.reading.tables import write_table
from analysis.sections import FIGURES, SECTION_OF_TABLE
from experiments.record import write_record
from experiments.schema import MEASUREMENT_COLUMNS, RIVALS

TITLES = {
    "reinforce": "REINFORCE",
    "reinforce_baseline": "REINFORCE with baseline",
    "actor_critic": "One-step actor-critic",
    "a2c": "A2C",
    "ppo": "PPO",
}
CARTPOLE = {
    "steps": 20000,
    "random_score": 22.0,
    "reference_score": 475.0,
    "reference_source": "registered reward threshold",
    "threshold": 475.0,
}
HOPPER = {
    "steps": 50000,
    "random_score": 18.0,
    "reference_score": 2500.0,
    "reference_source": "Schulman et al., 2017, Figure 3",
    "threshold": None,
}
TASKS = {"CartPole-v1": CARTPOLE, "Hopper-v5": HOPPER}


def write_grid(
    folder: Path,
    algorithms=("reinforce", "ppo"),
    tasks=TASKS,
    seeds=(0, 1),
    settings=None,
    probes=(),
    studies=(),
    claims=(),
) -> dict:
    """grid.json of a full product of tasks, algorithms and seeds; returns its content. Studies serve their tasks."""
    tuned = {(study["algorithm"], task): study["directory"] for study in studies for task in study["serves"]}
    preprocessing = {
        "normalize_observations": False,
        "normalize_rewards": False,
        "action_bounds": "clip",
        "max_episode_steps": None,
    }
    cells = [
        {
            "algorithm": algorithm,
            "task": task,
            "seed": seed,
            "steps": values["steps"],
            "directory": f"runs/{task.replace('/', '-').replace(':', '-')}/{algorithm}/{seed}",
            "settings": {
                "gamma": 0.99,
                "policy_learning_rate": 3e-4,
                **((settings or {}).get(algorithm, {})),
            },
            "tuned": tuned.get((algorithm, task)),
        }
        for task, values in tasks.items()
        for algorithm in algorithms
        for seed in seeds
    ]
    grid = {
        "schema": SCHEMA,
        "grid": folder.name,
        "description": "A synthetic grid for tests.",
        "grid_file": f"experiments/grids/{folder.name}.yaml",
        "seeds": list(seeds),
        "tasks": {task: {**preprocessing, **values} for task, values in tasks.items()},
        "algorithms": {
            name: {
                "title": TITLES.get(name, name),
                "module": name,
                "class": name.upper(),
                "equation": "Ψ_t = G_t",
                "summary": f"Summary of {TITLES.get(name, name)} <as written>.",
            }
            for name in algorithms
        },
        "cells": cells,
        "probes": list(probes),
        "studies": list(studies),
        "claims": list(claims),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "grid.json").write_text(json.dumps(grid, ensure_ascii=False, indent=1), encoding="utf-8")
    return grid


def comparison(metric: str, first: dict | str, second: dict | str | None = None, **about) -> dict:
    """An entry of a claim's comparisons; a side is an algorithm's name, or what it is in the gradient laboratory."""
    empty = {"algorithm": None, "gae_lambda": None, "critic": None}
    sides = [{"algorithm": side} if isinstance(side, str) else side for side in (first, second) if side is not None]
    entry = {"metric": metric, "sides": [{**empty, **side} for side in sides], "direction": "higher"}
    entry |= {"smallest_effect": 0.02, "tasks": "all", "from_fraction": 0.0, "differing_in": []}
    return {**entry, **about}


def claim(name: str, *comparisons: dict, **about) -> dict:
    """An entry of a grid's claims."""
    entry = {"id": name, "file": "claims.yaml", "statement": f"Statement of {name} <as written>.", "source": "Somebody"}
    return {**entry, "rule": "all", "comparisons": list(comparisons), "variants": {}, "grid": None, **about}


def write_runs(folder: Path, grid: dict, episodes: int = 200, rng: np.random.Generator | None = None) -> None:
    """Every cell of the grid as a finished run; later algorithms learn faster."""
    rng = rng or np.random.default_rng(0)
    for cell in grid["cells"]:
        write_run(folder, grid, cell, episodes=episodes, rng=rng)


def write_run(folder: Path, grid: dict, cell: dict, *, episodes: int, rng: np.random.Generator) -> None:
    task = grid["tasks"][cell["task"]]
    rung = 1 + list(grid["algorithms"]).index(cell["algorithm"])
    budget, low, high = cell["steps"], task["random_score"], task["reference_score"]
    steps = np.sort(rng.choice(np.arange(10, budget + 200), size=episodes, replace=False))
    level = 1 - np.exp(-(rung + rng.uniform()) * steps / budget)
    returns = low + (high - low) * (level + rng.normal(0, 0.05, episodes))
    run_folder = folder / cell["directory"]
    run_folder.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame({"step": steps, "return": returns, "length": 100})
    table.to_csv(run_folder / "episodes.csv", index=False)
    write_updates(run_folder / "updates.csv", budget, ppo=cell["algorithm"] == "ppo", rng=rng)
    final = low + (high - low) * (level[-1] + rng.normal(0, 0.05, 20))
    write_run_json(run_folder, grid, cell, episodes=episodes, final=list(final), speed=4000.0 / rung)


def write_updates(path: Path, budget: int, *, ppo: bool, rng: np.random.Generator, rows: int = 150) -> None:
    step = np.linspace(budget / rows, budget, rows).astype(int)
    progress = step / budget
    pd.DataFrame(
        {
            "step": step,
            "updates": np.ones(rows, int),
            "policy_loss": rng.normal(0, 0.1, rows),
            "value_loss": np.exp(-progress) + rng.uniform(0, 0.1, rows) if ppo else np.nan,
            "entropy": 0.7 - 0.4 * progress + rng.normal(0, 0.02, rows),
            "approx_kl": np.abs(rng.normal(0.01, 0.003, rows)) if ppo else 0.0,
            "clip_fraction": rng.uniform(0, 0.2, rows) if ppo else np.nan,
            "explained_variance": progress + rng.normal(0, 0.1, rows) if ppo else np.nan,
            "policy_gradient_norm": rng.lognormal(0, 0.5, rows),
            "value_gradient_norm": rng.lognormal(0, 0.5, rows) if ppo else np.nan,
            "advantage_mean": rng.normal(0, 0.1, rows),
            "advantage_std": rng.lognormal(1, 0.3, rows),
            "learning_rate": 3e-4,
            "a_column_of_its_own": 1.0,
        }
    ).to_csv(path, index=False)


def write_run_json(folder: Path, grid: dict, cell: dict, *, episodes: int, final: list[float], speed: float) -> None:
    task = grid["tasks"][cell["task"]]
    loop = {"stepping": cell["steps"] / speed, "acting": 1.0, "learning": 3.0, "compiling": 0.5}
    seconds = {"start_up": 2.0, **loop, "training": sum(loop.values()) + 0.25, "evaluating": 0.5}
    evaluation = {"returns": [float(value) for value in final], "lengths": [100] * len(final)}
    preprocessing = ("normalize_observations", "normalize_rewards", "action_bounds", "max_episode_steps")
    run = {
        "schema": SCHEMA,
        "cell": {"grid": grid["grid"], **{name: cell[name] for name in ("algorithm", "task", "seed")}},
        "steps": cell["steps"],
        "settings": cell["settings"],
        "task_settings": {name: task[name] for name in preprocessing},
        "status": "done",
        "diverged_at": None,
        "diverged_because": None,
        "steps_taken": cell["steps"] + 16,
        "updates": 150,
        "episodes": episodes,
        "evaluation": {"sampled": evaluation, "mode": evaluation},
        "checkpoints": [],
        "versions": {"python": "3.11.7", "torch": "2.13.0", "policy-gradient-ladder": "0.1.0"},
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "uncommitted_changes": False,
        "machine": {"cpu": "A processor", "cores": 2, "system": "Linux-6"},
        "seconds": {**seconds, "total": 3.0 + seconds["training"]},
        "steps_per_second": speed,
        "peak_memory_mb": 300.0,
    }
    (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")


CONTESTANTS = {  # name: side, rivals
    "simulator": ("bare", {}),
    "gymnasium": ("bare", {}),
    "ppo_1x2048": ("ours", {"reference": "sb3_ppo_1x2048", "peer": "sb3_ppo_1x2048"}),
    "ppo_8x256": (
        "ours",
        {
            "base": "base_ppo_8x256",
            "rltools": "rltools_ppo_8x256",
            "reference": "sb3_ppo_1x2048",
            "peer": "sb3_ppo_8x256",
        },
    ),
    "base_ppo_8x256": ("base", {}),
    "a2c_8x5": ("ours", {"reference": "sb3_a2c_8x5", "peer": "sb3_a2c_8x5"}),
    "reinforce": ("ours", {}),
    "own_value_loss": ("ours", {"shipped": "ppo_8x256"}),
    "rltools_ppo_8x256": ("peer", {}),
    "sb3_ppo_1x2048": ("peer", {}),
    "sb3_ppo_8x256": ("peer", {}),
    "sb3_a2c_8x5": ("peer", {}),
}


def write_benchmark(folder: Path, rates: dict[str, dict[str, list[float | str]]]) -> None:
    """The speed/ of a grid's results from task → contestant → steps per second of each repetition, or a reason."""
    rows = []
    for task, contestants in rates.items():
        for name, measured in contestants.items():
            for repetition, rate in enumerate(measured):
                row = {"task": task, "contestant": name, "repetition": repetition, "reason": None}
                if isinstance(rate, str):
                    status = "failed" if rate.startswith("Error") else "unavailable"
                    rows.append({**row, "status": status, "reason": rate})
                    continue
                told_apart = name != "rltools_ppo_8x256"
                phases = {"stepping": 4.0, "acting": 2.0, "learning": 3.0} if told_apart else {}
                loop = {**phases, "compiling": 2.0, "training": 12.0}
                seconds = {"start_up": 1.5, **loop, "evaluating": 0.5, "total": 15.0}
                rows.append(
                    {
                        **row,
                        "status": "done",
                        "steps": 10 * rate,
                        "steps_per_second": rate,
                        "compiled": 1 if CONTESTANTS[name][0] in ("ours", "base") else None,
                        "peak_memory_mb": 300.0 + repetition,
                        **{f"seconds_{phase}": value for phase, value in seconds.items()},
                    }
                )
    about = {
        "schema": SCHEMA,
        "repetitions": max(row["repetition"] for row in rows) + 1,
        "compiled": True,
        "base": "fedcba9876543210fedcba9876543210fedcba98",
        "contestants": {
            name: {"title": f"<{name}>", "side": side, **dict.fromkeys(RIVALS), **rivals}
            for name, (side, rivals) in CONTESTANTS.items()
        },
        "versions": {"python": "3.11.7", "stable-baselines3": None},
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "uncommitted_changes": False,
        "machine": {"cpu": "A processor", "cores": 2, "system": "Linux-6"},
    }
    (folder / "speed").mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows, columns=list(MEASUREMENT_COLUMNS)).assign(core=0).to_csv(
        folder / "speed/measurements.csv", index=False
    )
    (folder / "speed/benchmark.json").write_text(json.dumps(about), encoding="utf-8")


EXACT = "experiments.exact:TabularMDP-v0"
GAMMA = 0.99
LAMBDAS = (0.0, 0.5, 0.9, 1.0)
CRITICS = {"trained": 0.3, "fitted": 0.9, "exact": 0.95, "wrong": -0.4}  # how much of the returns it explains at first


def probe(task: str, fraction: float = 0.1, source: str = "ppo", seed: int = 0) -> dict:
    """An entry of a grid's probes."""
    folder = task.replace("/", "-").replace(":", "-")
    entry = {
        "task": task,
        "source": source,
        "seed": seed,
        "fraction": fraction,
        "exact": ":" in task,
        "measures": "gradients",
    }
    return {**entry, "directory": f"probes/{folder}/{source}/{seed}/{fraction:g}"}


def estimators(grid: dict, probe: dict, main: int, sizes: list[int]) -> list[dict]:
    """What is measured at a probe: every algorithm with every critic, ppo also as it trains, GAE over λ."""
    critics = ("exact", "wrong") if probe["exact"] else ("trained", "fitted")
    bias, cosine = (f"exact {GAMMA}",) * 2 if probe["exact"] else (f"baseline {GAMMA}",) * 2
    found = []

    def add(name: str, kind: str, critic: str, **about) -> None:
        entry = {"id": name, "kind": kind, "algorithm": None, "critic": critic, "advantages": "raw", "gae_lambda": None}
        references = {"variance_reference": f"return {GAMMA}", "bias_reference": bias, "cosine_reference": cosine}
        found.append({**entry, "gamma": GAMMA, **references, "sizes": sizes, **about})

    for algorithm in grid["algorithms"]:
        if algorithm.startswith("reinforce"):
            reference = bias if probe["exact"] else f"return {GAMMA}"
            for critic in critics if "baseline" in algorithm else ("none",):
                name = f"{algorithm} {critic} raw"
                add(name, "algorithm", critic, algorithm=algorithm, bias_reference=reference, bootstraps=False)
            continue
        for critic in critics:
            for advantages in ("raw", "normalized") if algorithm == "ppo" else ("raw",):
                name = f"{algorithm} {critic} {advantages}"
                about = {"algorithm": algorithm, "advantages": advantages, "bootstraps": True}
                add(name, "algorithm", critic, **about)
    for critic in critics:
        for gae_lambda in LAMBDAS:
            about = {"gae_lambda": gae_lambda, "sizes": [main], "bootstraps": gae_lambda < 1}
            add(f"gae {gae_lambda} {critic}", "gae", critic, **about)
    if probe["exact"]:
        add("compatible", "compatible", "compatible", bootstraps=False)
    return found


def write_probe(
    folder: Path, grid: dict, probe: dict, *, batches: int = 24, main: int = 8, sizes=(1, 8), signal: float = 1.0
) -> dict:
    """A probe whose gradients are made up: signal + noise that all estimators share, less of it the better the critic,
    and a bias where a bootstrapping estimator relies on it. Returns its probe.json.
    """
    rng = np.random.default_rng([probe["seed"], int(100 * probe["fraction"]), len(probe["task"])])
    dimensions, sizes = 40, list(sizes)
    listed = estimators(grid, probe, main, sizes)
    spectrum = 3.0 / np.arange(1, dimensions + 1)
    truth, error = signal * rng.normal(size=(2, dimensions)) / np.sqrt(dimensions)
    references = list(dict.fromkeys(e[key] for e in listed for key in e if key.endswith("_reference")))
    arrays = {}
    for size in sizes:
        n = 2 * batches if size == main else batches
        shared, own = (truth + rng.normal(size=(2, n, dimensions)) * spectrum / np.sqrt(size)) - truth
        vectors = {
            name: truth + {"return": shared, "baseline": 0.5 * shared + 0.1 * own, "exact": 0 * own}[name.split()[0]]
            for name in references
        }
        for name, vector in vectors.items():
            arrays[f"{name}/{size}"] = vector @ vector.T
        for index, entry in enumerate(listed):
            if size not in entry["sizes"]:
                continue
            vector = gradient_of(
                entry, truth, error, shared, np.roll(own, index, axis=0), rank(grid, entry), fraction=probe["fraction"]
            )
            prefix = f"{entry['id']}/{size}"
            arrays[f"{prefix}/self"] = vector @ vector.T
            arrays[f"{prefix}/bias"] = vector @ vectors[entry["bias_reference"]].T
            if entry["cosine_reference"] != entry["bias_reference"]:
                arrays[f"{prefix}/cosine"] = vector @ vectors[entry["cosine_reference"]].T
    content = {
        "schema": SCHEMA,
        "probe": {"grid": grid["grid"], **{k: probe[k] for k in ("task", "source", "seed", "fraction")}, "step": 100},
        "exact": probe["exact"],
        "batch_size": main,
        "sizes": [{"episodes": size, "batches": 2 * batches if size == main else batches} for size in sizes],
        "parameters": dimensions,
        "episodes": {"drawn": 2 * batches * main, "mean_length": 20.5, "mean_return": 33.0, "fitted_on": 64},
        "estimators": listed,
        "references": references,
        "critics": [
            {"critic": critic, "gamma": GAMMA, "explained_variance": of, "rmse": 2 * (1 - of) ** 0.5, "return_std": 2.0}
            for critic, of in ((critic, explained(critic, probe["fraction"])) for critic in CRITICS)
            if (critic in ("exact", "wrong")) == probe["exact"]
        ],
        "steps": 10_000,
        "seconds": {"total": 12.0},
        "versions": {"python": "3.11.7"},
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "uncommitted_changes": False,
        "machine": {"cpu": "A processor", "cores": 2, "system": "Linux-6"},
    }
    directory = folder / probe["directory"]
    directory.mkdir(parents=True, exist_ok=True)
    np.savez(directory / "grams.npz", **{name: gram.astype(np.float32) for name, gram in arrays.items()})
    (directory / "probe.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return content


def rank(grid: dict, entry: dict) -> int:
    """The algorithm's place on the ladder."""
    return list(grid["algorithms"]).index(entry["algorithm"]) if entry["algorithm"] else 0


def explained(critic: str, fraction: float) -> float:
    """The learned critic gets better in training."""
    return CRITICS[critic] + (0.5 * fraction if critic == "trained" else 0)


def gradient_of(entry: dict, truth, error, shared, own, rank: int, fraction: float) -> np.ndarray:
    """[n, dimensions]: what the estimator makes of the noise of each batch."""
    if entry["critic"] == "none":
        return truth + shared
    quality = explained(entry["critic"], fraction) if entry["critic"] in CRITICS else 0.95
    trust = 1 - entry["gae_lambda"] if entry["gae_lambda"] is not None else min(1, 0.3 * rank * entry["bootstraps"])
    noise = (1 - 0.6 * max(quality, 0)) * (1 - 0.8 * trust)
    bias = trust * (0 if entry["critic"] == "exact" else 1 - quality)
    gradient = truth + bias * error + noise * shared + 0.1 * own
    scale = 1 if entry["advantages"] == "raw" else 1 + np.linalg.norm(gradient, axis=1, keepdims=True)
    return gradient / scale


SPACE = {
    "policy_learning_rate": {"low": 1e-4, "high": 1e-2, "scale": "log"},
    "gamma": {"low": 0.9, "high": 0.999, "scale": "log_one_minus"},
}


def study(algorithm: str, group: str, tasks: dict[str, int], serves=None, **about) -> dict:
    """An entry of a grid's studies: `tasks` with their tuning steps."""
    entry = {
        "algorithm": algorithm,
        "group": group,
        "directory": f"tuning/{algorithm}/{group}",
        "tasks": tasks,
        "serves": list(serves or tasks),
        "seeds": [100, 101],
        "fresh_seeds": [200, 201, 202],
        "trials": 4,
        "spread_penalty": 0.0,
        "sampler": {"name": "TPESampler", "seed": 0, "startup_trials": 6},
        "pruner": {"name": "MedianPruner", "n_startup_trials": 4},
        "workers": 1,
    }
    return {**entry, **about}


@dataclass
class Trial:
    """A made-up trial: the normalised score of each of its parts, in the order task by task of each seed."""

    values: dict
    scores: list[float]
    diverged: tuple[int, ...] = ()  # which parts


def write_study(
    folder: Path,
    grid: dict,
    study: dict,
    trials: list[Trial],
    tuned: list[float],
    untuned: list[float],
    *,
    space: dict | None = None,
    importances: dict | None = None,
) -> dict:
    """A finished study from the normalised scores of all parts, on fresh seeds with the tuned and untuned settings; a
    trial with fewer parts than tasks × seeds was pruned. Returns its study.json.
    """
    space = SPACE if space is None else space
    places = {
        seeds: [(seed, task) for seed in study[seeds] for task in study["tasks"]] for seeds in ("seeds", "fresh_seeds")
    }
    parts = []

    def add(settings: str, trial: int, seeds: str, scores: list[float], diverged: tuple[int, ...] = ()) -> None:
        for index, (score, (seed, task)) in enumerate(zip(scores, places[seeds], strict=False)):
            low, high = (grid["tasks"][task][f"{end}_score"] for end in ("random", "reference"))
            row = {"settings": settings, "trial": trial, "seeds": {"seeds": "tuning"}.get(seeds, "fresh")}
            row |= {"task": task, "seed": seed, "status": "diverged" if index in diverged else "done"}
            row |= {"score": low + score * (high - low), "normalized": score}
            parts.append({**row, "steps": study["tasks"][task] + 16, "seconds": 2.0})

    rows = []
    for number, trial in enumerate(trials):
        add("trial", number, "seeds", trial.scores, trial.diverged)
        own = parts[-len(trial.scores) :]
        row = {
            "trial": number,
            "state": "complete" if len(own) == len(places["seeds"]) else "pruned",
            "value": float(np.mean(trial.scores)),
            "parts": len(own),
            "diverged": len(trial.diverged),
            **{name: sum(part[name] for part in own) for name in ("steps", "seconds")},
        }
        rows.append({**row, **{name: trial.values.get(name) for name in space}})
    best = max((row for row in rows if row["state"] == "complete"), key=lambda row: row["value"])
    settings = {name: best[name] for name in space} if best["trial"] else {}
    add("tuned", best["trial"], "fresh_seeds", tuned)
    add("untuned", 0, "fresh_seeds", untuned)
    names = {name: study[name] for name in ("algorithm", "group")}
    winner = {"schema": SCHEMA, **names, "trial": best["trial"], "score": best["value"], "settings": settings}
    scores = ("random_score", "reference_score")
    about = {
        "schema": SCHEMA,
        **names,
        "tasks": {
            task: {"steps": steps, **{name: grid["tasks"][task][name] for name in scores}}
            for task, steps in study["tasks"].items()
        },
        **{name: study[name] for name in ("seeds", "fresh_seeds", "trials", "spread_penalty")},
        **{name: study[name] for name in ("sampler", "pruner", "workers")},
        "repeatable": study["workers"] == 1,
        "space": space,
        "untuned": {name: trials[0].values.get(name) for name in space},
        "best": winner,
        "importances": importances,
        "importance_method": "PED-ANOVA",
        "versions": {"python": "3.11.7", "optuna": "5.0.0"},
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "uncommitted_changes": False,
        "machine": {"cpu": "A processor", "cores": 2, "system": "Linux-6"},
    }
    directory = folder / study["directory"]
    directory.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(directory / "trials.csv", index=False)
    pd.DataFrame(parts).to_csv(directory / "parts.csv", index=False)
    (directory / "best.json").write_text(json.dumps(winner), encoding="utf-8")
    (directory / "study.json").write_text(json.dumps(about), encoding="utf-8")
    return about


def says_nan(text: str) -> bool:
    """Whether a number that does not exist is written out as such."""
    return re.search(r"\bnan\b", text, re.IGNORECASE) is not None


def add_digests(folder: Path) -> None:
    """Every record as this version writes it, which describes what lies beside it; runs get a checkpoint, studies a
    journal.
    """
    for path in (folder / "grid.json", *folder.glob("runs/*/*/*/run.json"), *folder.glob("probes/*/*/*/*/probe.json")):
        about = json.loads(path.read_text(encoding="utf-8"))
        if path.name == "run.json":
            (path.parent / "checkpoints").mkdir()
            np.savez(path.parent / "checkpoints/1.npz", weight=np.arange(3.0))
            about["checkpoints"] = [{"fraction": 1, "step": 1, "file": "checkpoints/1.npz"}]
        add_digest(path, about)
    for path in folder.glob("tuning/*/*/study.json"):
        (path.parent / "journal.log").write_text('{"op_code": 0}\n')
        add_digest(path, json.loads(path.read_text(encoding="utf-8")))
    for path in folder.glob("speed/benchmark.json"):
        add_digest(path, json.loads(path.read_text(encoding="utf-8")))


def add_digest(path: Path, about: dict) -> None:
    """Write a record that describes the other files of its folder."""
    if path.name == "grid.json":
        write_record(path, about)
        return
    files = [file.relative_to(path.parent) for file in path.parent.rglob("*") if file.is_file() and file != path]
    write_record(path, about, sorted(file.as_posix() for file in files))


def edit_json(path: Path, **changes) -> None:
    """Change top-level keys of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")


def make_page(folder: Path, drawn_for_real: Iterable[str]) -> str:
    """Tables, some figures and the page, with nothing in place of the other figures."""
    grid = read_grid(folder)
    for name, table in tables.make_tables(grid).items():
        write_table(folder, name, table)
    theme.apply()
    drawn = dict.fromkeys(FIGURES, '<svg width="1pt" height="1pt"/>')
    for name in drawn_for_real:
        figure = figures.draw(grid, name)
        drawn[name] = theme.image_bytes(figure, "svg").decode()
        plt.close(figure)
        results.write_whole(folder / f"figures/{name}.svg", drawn[name].encode())
    return page_of(folder, drawn)


def page_of(folder: Path, drawn: dict[str, str]) -> str:
    """The page from the tables that are there and from the text of every figure's SVG; nothing may be missing."""
    made, missing = report.texts(Maker({"grid": read_grid(folder)}, read=made_tables(folder)), drawn)
    assert not missing
    return made["index.html"]


def section_tables(section: str, **known) -> dict[str, pd.DataFrame]:
    """The tables of one section, made from what is given by name."""
    maker = Maker(known)
    return {name: maker.table(name) for name, owner in SECTION_OF_TABLE.items() if owner == section}
