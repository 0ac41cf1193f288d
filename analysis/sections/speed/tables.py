"""results/<grid>/speed → the benchmark's table, and what it says of the targets.

A ratio is taken within a repetition, where both sides were measured on the same core minutes apart; the table has the
median of these ratios and their range. The limit is the simulator alone, or Gymnasium's environment without wrappers
where a task has no simulator apart from it.
"""

from typing import Any

import numpy as np
import pandas as pd

from analysis.reading.benchmark import Benchmark
from analysis.reading.tables import frame

SPLIT = ("stepping", "acting", "learning")  # of the loop without compiling; what remains is the rest
LIMITS = ("simulator", "unwrapped")  # the first that was measured


def benchmark(measurements: Benchmark | None) -> pd.DataFrame:
    """One row per task and contestant, in the order of the benchmark; no row where no benchmark was run."""
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
