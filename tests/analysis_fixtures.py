"""A synthetic results folder: what experiments would have left, with numbers from a seeded generator."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.results import SCHEMA

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


def write_grid(folder: Path, algorithms=("reinforce", "ppo"), tasks=TASKS, seeds=(0, 1), settings=None) -> dict:
    """grid.json of a full product of tasks, algorithms and seeds; returns its content."""
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
        "tasks": {task: {**values, **preprocessing} for task, values in tasks.items()},
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
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "grid.json").write_text(json.dumps(grid, ensure_ascii=False, indent=1), encoding="utf-8")
    return grid


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


CONTESTANTS = {  # name: side, reference, peer
    "simulator": ("bare", None, None),
    "unwrapped": ("bare", None, None),
    "gymnasium": ("bare", None, None),
    "ppo_1x2048": ("ours", "sb3_ppo_1x2048", "sb3_ppo_1x2048"),
    "ppo_8x256": ("ours", "sb3_ppo_1x2048", "sb3_ppo_8x256"),
    "a2c_8x5": ("ours", "sb3_a2c_8x5", "sb3_a2c_8x5"),
    "reinforce": ("ours", None, None),
    "sb3_ppo_1x2048": ("peer", None, None),
    "sb3_ppo_8x256": ("peer", None, None),
    "sb3_a2c_8x5": ("peer", None, None),
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
                loop = {"stepping": 4.0, "acting": 2.0, "learning": 3.0, "compiling": 2.0, "training": 12.0}
                seconds = {"start_up": 1.5, **loop, "evaluating": 0.5, "total": 15.0}
                rows.append(
                    {
                        **row,
                        "status": "done",
                        "steps": 10 * rate,
                        "steps_per_second": rate,
                        "peak_memory_mb": 400.0 + repetition,
                        **{f"seconds_{phase}": value for phase, value in seconds.items()},
                    }
                )
    about = {
        "schema": SCHEMA,
        "repetitions": max(row["repetition"] for row in rows) + 1,
        "compiled": True,
        "contestants": {
            name: {"title": f"<{name}>", "side": side, "reference": reference, "peer": peer}
            for name, (side, reference, peer) in CONTESTANTS.items()
        },
        "versions": {"python": "3.11.7", "stable-baselines3": None},
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "uncommitted_changes": False,
        "machine": {"cpu": "A processor", "cores": 2, "system": "Linux-6"},
    }
    (folder / "speed").mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).assign(core=0).to_csv(folder / "speed/measurements.csv", index=False)
    (folder / "speed/benchmark.json").write_text(json.dumps(about), encoding="utf-8")


def edit_json(path: Path, **changes) -> None:
    """Change top-level keys of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")
