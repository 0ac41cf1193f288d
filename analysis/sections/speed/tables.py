"""results/<grid>/speed → the table of the benchmark.

A ratio is taken within a repetition, in which both sides were measured on the same core within minutes. The table has
the median of these ratios and their range. The limit on a task is the simulator alone; a task that has none apart from
its environment has no limit.
"""

from typing import Any

import pandas as pd

from policy_gradient_ladder.experiments.schema import RIVALS

from ...reading.benchmark import Benchmark
from ...reading.tables import frame

SPLIT = ("stepping", "acting", "learning")  # phases of the training loop without compiling; other time is the rest
LIMIT = "simulator"  # the contestant that is the limit


def benchmark(measurements: Benchmark | None) -> pd.DataFrame:
    """The table `benchmark`: one row per task and contestant, in the order of the benchmark.

    It has no rows where no benchmark was run (None).
    """
    rows = []
    if measurements is not None:
        for task, measured in measurements.measurements.groupby("task", sort=False):
            rates = measured.pivot(index="repetition", columns="contestant", values="steps_per_second")
            for name, contestant in measurements.about["contestants"].items():
                own = measured[measured["contestant"] == name]
                if len(own):
                    rows.append({"task": task, "contestant": name, **row_of(contestant, own, rates)})
    return frame(rows, "benchmark")


def row_of(contestant: dict[str, Any], own: pd.DataFrame, rates: pd.DataFrame) -> dict[str, Any]:
    """The columns about one contestant on one task.

    - `contestant`: its entry in benchmark.json
    - `own`: its measurements, a row per repetition
    - `rates`: steps per second of all contestants on the task, [repetitions, contestants]
    """
    name = own["contestant"].iloc[0]
    amiss = own[own["status"] != "done"].sort_values("status")  # "failed" before "unavailable"
    row = {"title": contestant["title"], "side": contestant["side"]}
    row |= {kind: contestant.get(kind) for kind in RIVALS}  # an earlier benchmark does not have them all
    row |= {"status": "done", "n": len(own) - len(amiss)}
    if len(amiss):
        row |= {"status": amiss["status"].iloc[0], "reason": amiss["reason"].iloc[0]}
    own = own[own["status"] == "done"]
    if own.empty:
        return row
    rate = own["steps_per_second"]
    row |= {"steps_per_second": rate.median(), "low": rate.min(), "high": rate.max()}
    loop = own["seconds_training"] - own["seconds_compiling"]
    row |= {phase: own[f"seconds_{phase}"].sum(min_count=1) / loop.sum() for phase in SPLIT}
    row["rest"] = 1 - sum(row[phase] for phase in SPLIT)
    row["compiled"] = own["compiled"].min()  # 0 where any of them was not
    for kind in RIVALS:
        ratio = ratios(rates, name, row[kind])
        row |= {f"{kind}_ratio": ratio.median(), f"{kind}_low": ratio.min(), f"{kind}_high": ratio.max()}
    row["limit_share"] = ratios(rates, name, LIMIT).median()
    row["gymnasium_share"] = ratios(rates, name, "gymnasium").median()
    row |= {"peak_memory_mb": own["peak_memory_mb"].max(), "start_up": own["seconds_start_up"].median()}
    if contestant["side"] == "ours":
        row["overhead"] = overhead(own).median()
    return row


def ratios(rates: pd.DataFrame, name: str, other: str | None) -> pd.Series:
    """The ratio of the rates of `name` and `other` in every repetition that measured both; empty without `other`."""
    return (rates[name] / rates[other]).dropna() if other in rates else pd.Series(dtype=float)


def overhead(cells: pd.DataFrame) -> pd.Series:
    """Seconds of a process apart from training and evaluating: for starting, compiling, writing and ending."""
    working = cells["seconds_training"] - cells["seconds_compiling"] + cells["seconds_evaluating"]
    return cells["seconds_total"] - working
