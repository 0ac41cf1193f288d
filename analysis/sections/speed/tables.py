"""results/<grid>/speed → the table of the benchmark.

A ratio is taken within a repetition, in which both sides were measured on the same core within minutes. The table has
the median of these ratios and their range. The limit on a task is the simulator alone. Where a task has no simulator
apart from its environment, the limit is Gymnasium's environment without wrappers.
"""

from typing import Any

import numpy as np
import pandas as pd

from analysis.reading.benchmark import Benchmark
from analysis.reading.tables import frame

SPLIT = ("stepping", "acting", "learning")  # phases of the training loop without compiling; other time is the rest
LIMITS = ("simulator", "unwrapped")  # contestants; the first of them that was measured is the limit


def benchmark(measurements: Benchmark | None) -> pd.DataFrame:
    """The table `benchmark`: one row per task and contestant, in the order of the benchmark.

    It has no rows where no benchmark was run (None).
    """
    rows = []
    if measurements is not None:
        for task, measured in measurements.measurements.groupby("task", sort=False):
            rates = measured.pivot(index="repetition", columns="contestant", values="steps_per_second")
            limit = limit_of(rates.median())
            for name, contestant in measurements.about["contestants"].items():
                own = measured[measured["contestant"] == name]
                if len(own):
                    rows.append({"task": task, "contestant": name, **row_of(contestant, own, rates, limit)})
    return frame(rows, "benchmark")


def limit_of(rates: pd.Series) -> str | None:
    """The contestant that is the limit on a task; None where none of LIMITS was measured.

    `rates` has the steps per second by contestant, NaN where there is no measurement.
    """
    return next((name for name in LIMITS if not np.isnan(rates.get(name, np.nan))), None)


def row_of(contestant: dict[str, Any], own: pd.DataFrame, rates: pd.DataFrame, limit: str | None) -> dict[str, Any]:
    """The columns about one contestant on one task.

    - `contestant`: its entry in benchmark.json
    - `own`: its measurements, a row per repetition
    - `rates`: steps per second of all contestants on the task, [repetitions, contestants]
    - `limit`: the contestant that is the limit on the task
    """
    name = own["contestant"].iloc[0]
    amiss = own[own["status"] != "done"].sort_values("status")  # "failed" before "unavailable"
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
    """The ratio of the rates of `name` and `other` in every repetition that measured both; empty without `other`."""
    return (rates[name] / rates[other]).dropna() if other in rates else pd.Series(dtype=float)


def overhead(cells: pd.DataFrame) -> pd.Series:
    """Seconds of a process apart from training and evaluating: for starting, compiling, writing and ending."""
    working = cells["seconds_training"] - cells["seconds_compiling"] + cells["seconds_evaluating"]
    return cells["seconds_total"] - working
