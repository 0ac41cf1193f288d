"""Reads a benchmark: what was measured where, and the measurements."""

from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

import pandas as pd

from policy_gradient_ladder.experiments.schema import BENCHMARK_FILES, MEASUREMENT_COLUMNS

from .checks import (
    PROVENANCE_KEYS,
    check_keys,
    check_names,
    read_csv,
    read_record_if_there,
)

MEASUREMENT_TEXT = ("task", "contestant", "status", "reason")
NEW = ("compiled",)  # columns that an earlier benchmark does not have
UNREAD = ("core", *NEW)  # columns that need not be there
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
    record, table = (folder / file for file in BENCHMARK_FILES)  # the record is written last
    if (about := read_record_if_there(record, BENCHMARK_KEYS)) is None:
        return None
    contestants = about["contestants"]
    for name, contestant in contestants.items():
        check_keys(contestant, CONTESTANT_KEYS, record, f"contestants.{name}")
    columns = tuple(column for column in MEASUREMENT_COLUMNS if column not in UNREAD)
    measurements = read_csv(table, columns, MEASUREMENT_TEXT, further=True).reindex(columns=[*columns, *NEW])
    check_names(measurements, {"contestant": contestants}, table)
    return Benchmark(measurements, about)
