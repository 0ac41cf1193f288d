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
from experiments.schema import BENCHMARK_FILES, MEASUREMENT_COLUMNS

UNREAD = ("core",)  # columns that nothing is made of
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
    record, table = (folder / file for file in BENCHMARK_FILES)  # the record is written last
    if not record.exists():
        return None
    about = read_record(record, BENCHMARK_KEYS)
    contestants = about["contestants"]
    for name, contestant in contestants.items():
        check_keys(contestant, CONTESTANT_KEYS, record, f"contestants.{name}")
    columns = tuple(column for column in MEASUREMENT_COLUMNS if column not in UNREAD)
    measurements = read_csv(table, columns, dict.fromkeys(("task", "contestant", "status", "reason"), "str"))
    unknown = ~measurements["contestant"].isin(list(contestants))
    if unknown.any():
        name = measurements["contestant"][unknown].iloc[0]
        raise ResultsError(
            f"{table}: line {line_of(unknown)} has contestant = {name!r}; benchmark.json has "
            f"{valid_choices(name, contestants)}."
        )
    return Benchmark(measurements, about)
