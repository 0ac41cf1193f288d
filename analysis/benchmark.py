"""results/<grid>/speed → the benchmark's table, and what it says of the targets.

A ratio is taken within a repetition, where both sides were measured on the same core minutes apart; the table has the
median of these ratios and their range. The limit is the simulator alone, or Gymnasium's environment without wrappers
where a task has no simulator apart from it.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.findings import enumerate_text, number
from analysis.results import (
    TABLES,
    Benchmark,
    read_benchmark,
    read_grid,
    results_argument,
    run_command,
    write_table,
)

SPLIT = ("stepping", "acting", "learning")  # of the loop without compiling; what remains is the rest
LIMITS = ("simulator", "unwrapped")  # the first that was measured


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


TARGETS = (
    Target("reference_ratio", 5.0, "HalfCheetah-v5", "ppo_1x2048"),
    Target("reference_ratio", 4.0, "Hopper-v5", "ppo_1x2048"),
    Target("reference_ratio", 7.5, "HalfCheetah-v5", "ppo_8x256"),
    Target("reference_ratio", 4.5, "Hopper-v5", "ppo_8x256"),
    Target("reference_ratio", 8.0, "HalfCheetah-v5", "ppo_8x256_envpool"),
    Target("reference_ratio", 6.0, "Hopper-v5", "ppo_8x256_envpool"),
    Target("reference_ratio", 8.0, "HalfCheetah-v5", "a2c_8x5"),
    Target("gymnasium_share", 0.6, "CartPole-v1", "reinforce"),
    Target("gymnasium_share", 0.6, "Hopper-v5", "reinforce"),
    Target("gymnasium_share", 0.6, "HalfCheetah-v5", "reinforce"),
    Target("overhead", 3.0),
    Target("peak_memory_mb", 600.0),
)
UNITS = {"reference_ratio": "×", "gymnasium_share": " %", "overhead": " s", "peak_memory_mb": " MB"}


def benchmark_table(benchmark: Benchmark | None) -> pd.DataFrame:
    """One row per task and contestant, in the order of the benchmark; no row where no benchmark was run."""
    rows = []
    if benchmark is not None:
        for task, measured in benchmark.measurements.groupby("task", sort=False):
            rates = measured.pivot(index="repetition", columns="contestant", values="steps_per_second")
            limit = limit_of(rates.median())
            for name, contestant in benchmark.about["contestants"].items():
                own = measured[measured["contestant"] == name]
                if len(own):
                    rows.append({"task": task, "contestant": name, **row_of(contestant, own, rates, limit)})
    return pd.DataFrame(rows, columns=list(TABLES["benchmark"]))


def limit_of(rates: pd.Series) -> str | None:
    """The contestant that is the limit on a task, by the rates of all; None where none of LIMITS was measured."""
    return next((name for name in LIMITS if not np.isnan(rates.get(name, np.nan))), None)


def row_of(contestant: dict[str, Any], own: pd.DataFrame, rates: pd.DataFrame, limit: str | None) -> dict[str, Any]:
    """One contestant's repetitions on one task; `rates` is [repetitions, contestants] in steps per second."""
    name = own["contestant"].iloc[0]
    amiss = own[own["status"] != "done"].sort_values("status")  # failed comes before unavailable
    row = {key: contestant[key] for key in ("title", "side", "reference", "peer")}
    row |= {"status": "done", "n": len(own) - len(amiss)}
    if len(amiss):
        row |= {"status": amiss["status"].iloc[0], "reason": amiss["reason"].iloc[0]}
    own = own[own["status"] == "done"]
    if own.empty:
        return row
    rate = own["steps_per_second"]
    row |= {"steps_per_second": rate.median(), "low": rate.min(), "high": rate.max()}
    loop = own["seconds_training"] - own["seconds_compiling"]
    row |= {phase: own[f"seconds_{phase}"].sum() / loop.sum() for phase in SPLIT}
    row["rest"] = 1 - sum(row[phase] for phase in SPLIT)
    for side in ("reference", "peer"):
        ratio = ratios(rates, name, contestant[side])
        row |= {f"{side}_ratio": ratio.median(), f"{side}_low": ratio.min(), f"{side}_high": ratio.max()}
    row["limit_share"] = ratios(rates, name, limit).median()
    row["gymnasium_share"] = ratios(rates, name, "gymnasium").median()
    row |= {"peak_memory_mb": own["peak_memory_mb"].max(), "start_up": own["seconds_start_up"].median()}
    if contestant["side"] == "ours":
        row["overhead"] = overhead(own).median()
    return row


def ratios(rates: pd.DataFrame, name: str, other: str | None) -> pd.Series:
    """name / other in every repetition that has both."""
    return (rates[name] / rates[other]).dropna() if other in rates else pd.Series(dtype=float)


def overhead(cells: pd.DataFrame) -> pd.Series:
    """Seconds of a process that are neither training nor evaluating: starting, compiled code, writing, ending."""
    working = cells["seconds_training"] - cells["seconds_compiling"] + cells["seconds_evaluating"]
    return cells["seconds_total"] - working


# -------------------------------------------------------------------------------------------- targets


def verdicts(table: pd.DataFrame) -> list[dict[str, str]]:
    """Every target with what was measured: met, or by how much it was missed."""
    return [verdict(table, target) for target in TARGETS]


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
        if target.column == "reference_ratio" and value / rows["limit_share"].iloc[0] < target.bound:
            limit = amount(target, value / rows["limit_share"].iloc[0])
            result["verdict"] += f"; out of reach: the limit, stepping without learning, is {limit}"
    return result


def what(table: pd.DataFrame, target: Target) -> str:
    """What a target is about."""
    if target.column == "overhead":
        return "A cell’s seconds outside training and evaluation, compiled code in the cache (the slowest)"
    if target.column == "peak_memory_mb":
        return "A cell’s peak memory (the largest)"
    title = titles(table).get(target.contestant, target.contestant)
    if target.column == "reference_ratio":
        references = table[table["contestant"] == target.contestant]["reference"]
        against = titles(table).get(references.iloc[0], "Stable-Baselines3") if len(references) else "Stable-Baselines3"
    else:
        against = "Gymnasium’s bare stepping"
    return f"{title} on {target.task}, against {against}"


def titles(table: pd.DataFrame) -> dict[str, str]:
    """contestant → title."""
    return dict(zip(table["contestant"], table["title"], strict=True))


def missing_because(table: pd.DataFrame, row: pd.Series, column: str) -> str:
    """Why a row has no ratio: its own reason, or that of what it is compared with."""
    other = "gymnasium" if column == "gymnasium_share" else row["reference"]
    compared = table[(table["task"] == row["task"]) & (table["contestant"] == other)]
    blamed = row if pd.notna(row["reason"]) or compared.empty else compared.iloc[0]
    return f"{blamed['title']}: {blamed['reason']}" if pd.notna(blamed["reason"]) else f"nothing of {other}"


def amount(target: Target, value: float, form: Callable[[float], str] = number) -> str:
    """A value with its unit."""
    return f"{form(100 * value if target.column.endswith('share') else value)}{UNITS[target.column]}"


# ------------------------------------------------------------------------------------------ sentences


def sentences(table: pd.DataFrame) -> list[str]:
    """What the benchmark says, task by task, and then what it could not measure."""
    said = []
    compared = table[(table["side"] == "ours") & table["peer_ratio"].notna()]
    for task, rows in compared.groupby("task", sort=False):
        ratios = enumerate_text(
            f"{row.title} {number(row.peer_ratio)}{extent(row.peer_low, row.peer_high, row.n)}"
            for row in rows.itertuples()
        )
        said.append(f"{task}, steps per second as a multiple of Stable-Baselines3’s at the same settings: {ratios}.")
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
        f"No cell’s process held more than {number(largest['peak_memory_mb'])} MB of memory.",
    ]


def extent(low: float, high: float, n: int) -> str:
    """The range of several repetitions; nothing for a single one."""
    return f" [{number(low)}, {number(high)}]" if n > 1 else ""


def percent(share: float) -> str:
    """A share as a percentage, or an en dash."""
    return "–" if pd.isna(share) else f"{100 * share:.0f} %"


# --------------------------------------------------------------------------------------- command line


def main() -> None:
    arguments = results_argument("analysis.benchmark", "Make the benchmark's table alone.").parse_args()
    grid = read_grid(arguments.results)
    table = benchmark_table(read_benchmark(grid.folder))
    write_table(grid.folder, "benchmark", table)
    print(f"{grid.folder / 'tables' / 'benchmark.csv'}: {len(table)} rows.", file=sys.stderr)
    for task, rows in table.groupby("task", sort=False):
        print(f"\n{task}")
        for row in rows.itertuples():
            rate = f"{row.steps_per_second:>10,.0f} steps/s" if row.n else f"          – {row.reason}"
            times = "" if pd.isna(row.peer_ratio) else f"   {number(row.peer_ratio)} × {titles(table)[row.peer]}"
            print(f"  {row.title:<26}{rate}{times}")
    for found in verdicts(table) if len(table) else []:
        print(f"{found['what']}: {found['value']} ({found['bound']}): {found['verdict']}")


if __name__ == "__main__":
    run_command(main, "analysis.benchmark")
