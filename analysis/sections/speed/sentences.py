"""The speed of runs and of the benchmark in words."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ...reading.benchmark import Benchmark
from ...reading.grid import Grid
from ...words import enumerate_text, number
from .tables import LIMIT, overhead


@dataclass(frozen=True)
class Target:
    """A bound on a column of the table, for one contestant; without a contestant, on the worst of this project's."""

    column: str
    bound: float
    task: str | None = None
    contestant: str | None = None

    @property
    def at_most(self) -> bool:
        """Whether less is better."""
        return self.column in ("overhead", "peak_memory_mb")


CHEETAH, HOPPER, CARTPOLE = "HalfCheetah-v5", "Hopper-v5", "CartPole-v1"
TARGETS = (
    Target("base_ratio", 1.9, CHEETAH, "ppo_8x256"),
    Target("base_ratio", 1.7, HOPPER, "ppo_8x256"),
    Target("base_ratio", 2.0, CARTPOLE, "ppo_8x256"),
    Target("base_ratio", 3.0, "Acrobot-v1", "ppo_8x256"),
    Target("base_ratio", 1.9, "Reacher-v5", "ppo_8x256"),
    Target("base_ratio", 1.5, "InvertedDoublePendulum-v5", "ppo_8x256"),
    Target("base_ratio", 1.7, CHEETAH, "a2c_8x5"),
    Target("base_ratio", 1.6, CHEETAH, "actor_critic"),
    Target("base_ratio", 2.0, CARTPOLE, "actor_critic"),
    Target("base_ratio", 2.0, CHEETAH, "reinforce"),
    Target("base_ratio", 2.5, HOPPER, "reinforce_baseline"),
    Target("base_ratio", 2.5, CARTPOLE, "reinforce_baseline"),
    Target("limit_share", 0.65, CHEETAH, "ppo_8x256"),
    Target("limit_share", 0.75, HOPPER, "ppo_8x256"),
    Target("rltools_ratio", 1.3, CHEETAH, "ppo_8x256"),
    Target("rltools_ratio", 1.4, HOPPER, "ppo_8x256"),
    Target("peer_ratio", 8.0, CHEETAH, "ppo_8x256"),
    Target("peer_ratio", 4.8, HOPPER, "ppo_8x256"),
    Target("peer_ratio", 8.5, CARTPOLE, "ppo_8x256"),
    Target("peer_ratio", 4.0, CHEETAH, "a2c_8x5"),
    Target("peer_ratio", 4.0, CHEETAH, "trpo_1x2048"),
    Target("peer_ratio", 4.0, HOPPER, "trpo_1x2048"),
    *(Target("peer_ratio", 4.0, CHEETAH, f"{name}_2x64") for name in ("ddpg", "td3", "sac")),
    # There, matrix products take nearly all of the time, and both sides are as fast as the processor computes them.
    *(Target("peer_ratio", 1.5, CHEETAH, f"{name}_2x256") for name in ("ddpg", "td3", "sac")),
    Target("gymnasium_share", 0.6, CARTPOLE, "reinforce"),
    Target("gymnasium_share", 0.6, HOPPER, "reinforce"),
    Target("gymnasium_share", 1.2, CHEETAH, "reinforce"),
    Target("overhead", 3.0),
    Target("peak_memory_mb", 350.0),
)
UNITS = {"limit_share": " %", "gymnasium_share": " %", "overhead": " s", "peak_memory_mb": " MB"}  # a ratio has ×
RIVAL_TITLES = {
    "base": "base",
    "rltools": "RLtools",
    "peer": "SB3",
    "reference": "SB3 (reference)",
    "sbx": "sbx",
    "pufferlib": "PufferLib",
    "shipped": "what is shipped",
}


def page(grid: Grid, scores: pd.DataFrame, benchmark: pd.DataFrame, measurements: Benchmark | None) -> dict[str, Any]:
    """Where the time of the grid's runs went; the benchmark, if it was run."""
    return {
        "sentences": [*core_time(scores), *fastest(grid, scores)],
        "ratios": "Ratios hold on another machine too; absolute rates do not.",
        "benchmark": measurements and measured(benchmark, measurements.about),
        "percent": percent,
    }


def verdicts(table: pd.DataFrame) -> list[dict[str, str]]:
    """Every target with what was measured: met, or by how much it was missed.

    What another checkout is the measure of is a target only where one was measured.
    """
    compared = (table["side"] == "base").any()
    return [verdict(table, target) for target in TARGETS if compared or target.column != "base_ratio"]


def verdict(table: pd.DataFrame, target: Target) -> dict[str, str]:
    """What is bounded, the bound, the value, and whether it is met."""
    rows = table[table["side"] == "ours"]
    if target.contestant is not None:
        rows = rows[(rows["contestant"] == target.contestant) & (rows["task"] == target.task)]
    values = rows[target.column].dropna()
    value = np.nan if values.empty else values.max() if target.at_most else values.min()
    result = {
        "what": what(table, target),
        "bound": f"{'≤' if target.at_most else '≥'} {amount(target, target.bound, '{:g}'.format)}",
        "value": "–" if np.isnan(value) else amount(target, value),
        "state": "met",
        "verdict": "met",
    }
    if np.isnan(value):
        result |= {"state": "not measured", "verdict": "not measured"}
        if target.contestant is not None and not rows.empty:
            result["verdict"] += f": {missing_because(table, rows.iloc[0], target.column)}"
    elif value > target.bound if target.at_most else value < target.bound:
        result |= {"state": "missed", "verdict": f"missed by {number(100 * abs(value / target.bound - 1))} %"}
        if target.column.endswith("ratio") and value / rows["limit_share"].iloc[0] < target.bound:
            limit = amount(target, value / rows["limit_share"].iloc[0])
            result["verdict"] += f"; out of reach: the limit, stepping without learning, is {limit}"
    return result


def what(table: pd.DataFrame, target: Target) -> str:
    """What a target is about."""
    if target.column == "overhead":
        return "A cell’s seconds outside training and evaluation, compiled code in the cache (the slowest)"
    if target.column == "peak_memory_mb":
        return "A cell’s peak memory (the largest)"
    bare = {"gymnasium_share": "Gymnasium’s bare stepping", "limit_share": "the bare simulator"}
    against = bare.get(target.column) or RIVAL_TITLES[target.column.removesuffix("_ratio")]
    return f"{titles(table).get(target.contestant, target.contestant)} on {target.task}, against {against}"


def titles(table: pd.DataFrame) -> dict[str, str]:
    """contestant → title."""
    return dict(zip(table["contestant"], table["title"], strict=True))


def missing_because(table: pd.DataFrame, row: pd.Series, column: str) -> str:
    """Why a row has no ratio: its own reason, or that of what it is compared with."""
    bare = {"gymnasium_share": "gymnasium", "limit_share": LIMIT}
    other = bare.get(column) or row[column.removesuffix("_ratio")]
    compared = table[(table["task"] == row["task"]) & (table["contestant"] == other)]
    blamed = row if pd.notna(row["reason"]) or compared.empty else compared.iloc[0]
    if pd.notna(blamed["reason"]):
        return f"{blamed['title']}: {blamed['reason']}"
    return f"nothing of {'it' if pd.isna(other) else other}"


def amount(target: Target, value: float, form: Callable[[float], str] = number) -> str:
    """A value with its unit."""
    return f"{form(100 * value if target.column.endswith('share') else value)}{UNITS.get(target.column, '×')}"


def sentences(table: pd.DataFrame) -> list[str]:
    """What the benchmark says, task by task, and then what it could not measure."""
    said = []
    for task, rows in table[table["side"] == "ours"].groupby("task", sort=False):
        for kind, title in RIVAL_TITLES.items():
            compared = rows[rows[f"{kind}_ratio"].notna()]
            if len(compared):
                ratios = enumerate_text(
                    f"{row['title']} {number(row[f'{kind}_ratio'])}"
                    f"{extent(row[f'{kind}_low'], row[f'{kind}_high'], row['n'])}"
                    for _, row in compared.iterrows()
                )
                said.append(f"{task}, steps per second as a multiple of those of {title}: {ratios}.")
    cells = table[(table["side"] == "ours") & table["compiled"].notna()]
    slow = cells[cells["compiled"] == 0]
    if len(slow):
        places = enumerate_text(f"{row.title} on {row.task}" for row in slow.itertuples())
        said.append(f"Gradient steps did not run as machine code: {places}.")
    elif len(cells):
        said.append("The gradient steps of all contestants of this project ran as machine code.")
    states = [verdict["state"] for verdict in verdicts(table)]
    counts = ", ".join(f"{states.count(s)} {s}" for s in ("met", "missed", "not measured") if s in states)
    said.append(f"Targets: {counts}.")
    failed = table[table["status"] == "failed"]
    if len(failed):
        places = enumerate_text(f"{row.title} on {row.task} ({row.reason})" for row in failed.itertuples())
        said.append(f"Failed: {places}.")
    return said


def core_time(scores: pd.DataFrame) -> list[str]:
    """Where the grid's core time went; nothing where no run has finished."""
    if scores.empty:
        return []
    seconds = {name.removeprefix("seconds_"): scores[name].sum() for name in scores if name.startswith("seconds_")}
    parts = {"stepping": "stepping", "acting": "acting", "learning": "learning"}
    parts |= {"compiling": "compiling or loading compiled code", "rest": "the rest of the loop"}
    split = enumerate_text(f"{percent(seconds[part] / seconds['training'])} {text}" for part, text in parts.items())
    outside = overhead(scores)
    largest = scores.loc[scores["peak_memory_mb"].idxmax()]
    return [
        f"{percent(seconds['training'] / seconds['total'])} of the runs’ core time went into their training loops, "
        f"{percent(seconds['evaluating'] / seconds['total'])} into evaluation. Of the loops’ time, {split}.",
        f"Outside training and evaluation (starting, compiling or loading compiled code) a cell took "
        f"{number(outside.median())} s in the median and {number(outside.max())} s at most.",
        f"No cell’s process used more than {number(largest['peak_memory_mb'])} MB of memory.",
    ]


def extent(low: float, high: float, n: int) -> str:
    """The range of several repetitions; nothing for a single one."""
    return f" [{number(low)}, {number(high)}]" if n > 1 else ""


def percent(share: float) -> str:
    """A share as a percentage, or an en dash."""
    return "–" if pd.isna(share) else f"{100 * share:.0f} %"


def fastest(grid: Grid, scores: pd.DataFrame) -> list[str]:
    """A sentence on the fastest and the slowest algorithm; none if fewer than two have runs."""
    medians = scores.groupby("algorithm")["steps_per_second"].median().dropna().sort_values(ascending=False)
    if len(medians) < 2:
        return []
    first, last = medians.index[0], medians.index[-1]
    return [
        f"Wall-clock: {grid.title(first)} is the fastest with {number(medians.iloc[0])} environment steps "
        f"per second (median over runs), {grid.title(last)} the slowest with {number(medians.iloc[-1])}."
    ]


def measured(table: pd.DataFrame, about: dict[str, Any]) -> dict[str, Any]:
    """The benchmark's tasks with their rows, what they say, the targets, and where it was measured."""
    machine = about["machine"]
    return {
        "tasks": {task: list(rows.to_dict("records")) for task, rows in table.groupby("task", sort=False)},
        "sentences": sentences(table),
        "targets": verdicts(table),
        "rivals": {kind: title for kind, title in RIVAL_TITLES.items() if table[f"{kind}_ratio"].notna().any()},
        "about": about,
        "machine": f"{machine.get('cpu', 'not recorded')}, {machine.get('system', 'not recorded')}",
        "versions": ", ".join(f"{name} {version}" for name, version in about["versions"].items() if version),
    }
