"""Reads a benchmark: what was measured where, and the measurements."""

from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

import pandas as pd

from analysis.reading.checks import (
    PROVENANCE_KEYS,
    check_keys,
    check_names,
    read_csv,
    read_record_if_there,
)
from analysis.reading.runs import SECONDS

MEASUREMENT_COLUMNS = (
    *("task", "contestant", "repetition", "status", "reason", "steps", "steps_per_second"),
    *(f"seconds_{name}" for name in SECONDS),
    "peak_memory_mb",
)
MEASUREMENT_TEXT = ("task", "contestant", "status", "reason")
BENCHMARK_KEYS = {
    "schema": int,
    "repetitions": int,
    "compiled": bool,
    "contestants": dict,
    **PROVENANCE_KEYS,
}
CONTESTANT_KEYS = {"title": str, "side": str, "reference": (str, NoneType), "peer": (str, NoneType)}


@dataclass(frozen=True)
class Benchmark:
    """What `experiments.speed` wrote: a table with a row per measurement, and `about`, which is benchmark.json."""

    measurements: pd.DataFrame
    about: dict[str, Any]


def read_benchmark(results: Path) -> Benchmark | None:
    """The benchmark in results/<grid>/speed; None where none was run. Raises ResultsError."""
    folder = results / "speed"
    path = folder / "benchmark.json"
    if (about := read_record_if_there(path, BENCHMARK_KEYS)) is None:
        return None
    contestants = about["contestants"]
    for name, contestant in contestants.items():
        check_keys(contestant, CONTESTANT_KEYS, path, f"contestants.{name}")
    path = folder / "measurements.csv"
    measurements = read_csv(path, MEASUREMENT_COLUMNS, MEASUREMENT_TEXT)
    check_names(measurements, {"contestant": contestants}, path)
    return Benchmark(measurements, about)
