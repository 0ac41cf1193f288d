"""How the tables of a results folder are read and written."""

from pathlib import Path
from typing import Any

import pandas as pd

from ..sections import TABLES, TEXT, WITH_FURTHER
from .checks import ResultsError, command, read_csv, write_whole


def read_table(results: Path, name: str) -> pd.DataFrame:
    """results/<grid>/tables/<name>.csv with the columns that its section declares, and any further ones it may have.

    Raises ResultsError where the file is not there, lacks a column, or holds text where a number is expected.
    """
    path = table_file(results, name)
    if not path.exists():
        raise ResultsError(f"{path}: no such table; make it with: {command('analysis.tables', results)}.")
    return read_csv(path, TABLES[name], TEXT[name], further=name in WITH_FURTHER)


def table_file(results: Path, name: str) -> Path:
    """Where a table lies."""
    return results / "tables" / f"{name}.csv"


def write_table(results: Path, name: str, table: pd.DataFrame) -> None:
    """results/<grid>/tables/<name>.csv."""
    write_whole(table_file(results, name), table_text(table).encode())


def table_text(table: pd.DataFrame) -> str:
    """A table as it stands in its file."""
    return table.to_csv(index=False, float_format="%.10g", lineterminator="\n")


def frame(rows: list[dict[str, Any]], table: str) -> pd.DataFrame:
    """Rows as a table that has its columns even when it has no rows."""
    return pd.DataFrame(rows, columns=list(TABLES[table]))


def stack(frames: list[pd.DataFrame], table: str) -> pd.DataFrame:
    """Frames below each other as a table; one of no rows where there is no frame."""
    return pd.concat(frames, ignore_index=True) if frames else frame([], table)
