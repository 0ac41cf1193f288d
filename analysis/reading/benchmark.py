"""Reads the benchmark's measurements."""

from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

import pandas as pd

from analysis.reading.checks import (
    ResultsError,
    check_keys,
    line_of,
    read_csv,
    read_record,
    valid_choices,
)
from analysis.reading.runs import SECONDS

MEASUREMENT_COLUMNS = (
    *("task", "contestant", "repetition", "status", "reason", "steps", "steps_per_second"),
    *(f"seconds_{name}" for name in SECONDS),
    "peak_memory_mb",
)
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
CONTESTANT_KEYS = {"title": str, "side": str, "reference": (str, NoneType), "peer": (str, NoneType)}


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
    measurements = read_csv(path, MEASUREMENT_COLUMNS, dict.fromkeys(("task", "contestant", "status", "reason"), "str"))
    unknown = ~measurements["contestant"].isin(list(contestants))
    if unknown.any():
        name = measurements["contestant"][unknown].iloc[0]
        raise ResultsError(
            f"{path}: line {line_of(unknown)} has contestant = {name!r}; benchmark.json has "
            f"{valid_choices(name, contestants)}."
        )
    return Benchmark(measurements, about)
