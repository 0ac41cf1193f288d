"""Checks the files of a results folder, also a stranger's: what is wrong is said with file and key."""

import difflib
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
import pandas as pd

from experiments.schema import JOURNAL, SCHEMA

AGAIN = "delete it, and the next snakemake makes it again"


class ResultsError(Exception):
    """A file, key or name that the user can put right; the message is the one sentence they see."""


def valid_choices(name: str, choices: Iterable[str]) -> str:
    """The choices as text, those that look most like `name` first."""
    choices = list(choices)
    near = difflib.get_close_matches(str(name), choices, n=max(1, len(choices)), cutoff=0.5)
    return ", ".join([*near, *(choice for choice in choices if choice not in near)])


NUMBER = (int, float)


def check_choice(value: Any, choices: Iterable[str], path: Path, where: str) -> None:
    if value not in choices:
        raise ResultsError(f"{path}: {where} is {value!r}; valid are {valid_choices(value, choices)}.")


def read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ResultsError(f"{path}: no such file.") from None
    except (ValueError, RecursionError) as error:
        raise ResultsError(f"{path}: not whole JSON ({error}); {AGAIN}.") from None
    if not isinstance(content, dict):
        raise ResultsError(f"{path}: expected an object with keys, found {type(content).__name__}.")
    return content


def read_record(path: Path, keys: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON file that has these keys and is of this version, and beside which no file has been cut off.

    It may lack `files` and `sha256`: earlier versions did not write them.
    """
    content = read_json(path)
    check_keys(content, keys, path, "the file")
    check_schema(content, path)
    if "files" in content:
        check_keys(content, {"sha256": str}, path, "the file")
        check_files(content, path.parent, path)
        check_sizes(content["files"], path)
    return content


def check_files(content: dict[str, Any], folder: Path, path: Path) -> None:
    """`files` of a JSON file describes what lies in a folder."""
    check_keys(content, {"files": dict}, path, "the file")
    for name, file in content["files"].items():
        check_keys(file, {"bytes": int, "sha256": str}, path, f"files.{name}")
        if name.startswith("/") or ".." in name.split("/"):
            raise leads_out(folder, name, path)


def check_sizes(files: dict[str, dict[str, Any]], path: Path) -> None:
    """No file beside `path` has been cut off; one that was deleted may be one that analysis does not need."""
    for name, described in files.items():
        file = os.path.join(path.parent, name)
        if name != JOURNAL and os.path.exists(file) and os.path.getsize(file) != described["bytes"]:
            # A checkpoint is no output of a rule, so that its folder has to go; a study's would take its journal along.
            again = f"delete {path.parent}, and snakemake makes it again" if "/" in name else AGAIN
            raise ResultsError(
                f"{file}: {os.path.getsize(file):,} bytes, but {path.name} counts {described['bytes']:,}; {again}."
            )


def digest(path: Path, size: int | None = None) -> dict[str, Any]:
    """Size and SHA-256 of a file, or of as many bytes at its beginning."""
    with path.open("rb") as file:
        if size is not None:
            content = file.read(min(size, path.stat().st_size))
            return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": file.tell()}


def check_inside(folder: Path, name: str, path: Path) -> Path:
    """The place in a folder that a file, `path`, names; links that lead elsewhere are followed no further."""
    try:
        inside = (folder / name).resolve().is_relative_to(folder.resolve())
    except (ValueError, OSError, RuntimeError):  # no name of a file, or a circle of links
        inside = False
    if not inside:
        raise leads_out(folder, name, path)
    return folder / name


def leads_out(folder: Path, name: str, path: Path) -> ResultsError:
    """What is said of a name that is not of a folder."""
    return ResultsError(f"{path}: {name!r} leads out of {folder}; what is there is neither read nor written.")


def check_keys(mapping: Any, keys: Mapping[str, Any], path: Path, where: str) -> None:
    """Every key is present and of its type; a bool is not a number."""
    if not isinstance(mapping, dict):
        raise ResultsError(f"{path}: {where} is {mapping!r}; expected keys {', '.join(keys)}.")
    for key, kind in keys.items():
        if key not in mapping:
            raise ResultsError(f"{path}: {where} has no key {key!r}; it has {valid_choices(key, mapping) or 'none'}.")
        kinds = kind if isinstance(kind, tuple) else (kind,)
        value = mapping[key]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            names = " or ".join("null" if kind is NoneType else kind.__name__ for kind in kinds)
            raise ResultsError(f"{path}: {where} has {key} = {value!r}; expected {names}.")


def check_schema(content: dict[str, Any], path: Path) -> None:
    if content["schema"] != SCHEMA:
        raise ResultsError(
            f"{path}: schema is {content['schema']}, this version reads {SCHEMA}; run it again, or read it with the "
            f"version that wrote it."
        )


def read_csv(
    path: Path, columns: tuple[str, ...], text: Mapping[str, str] | None = None, *, further: bool = False
) -> pd.DataFrame:
    """The named columns of a whole CSV file, then, if asked for, its further ones; all numbers except those in `text`.

    Raises ResultsError where the file is not there or is cut off, lacks a column, or has something else than a number.
    """
    text = {name: kind for name, kind in (text or {}).items() if name in columns}
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ResultsError(f"{path}: no such file.") from None
    if not content.endswith(b"\n"):
        raise ResultsError(f"{path}: ends in the middle of a line; {AGAIN}.")
    header = content.split(b"\n", 1)[0].decode("utf-8", "replace").strip().split(",")
    for column in columns:
        if column not in header:
            raise ResultsError(f"{path}: no column {column!r}; it has {valid_choices(column, header)}.")
    if further:
        columns = (*columns, *(column for column in header if column not in columns))
    try:
        frame = pd.read_csv(
            path,
            usecols=list(columns),
            dtype=text,
            keep_default_na=False,
            na_values={name: [""] if name in text else ["", "nan", "NaN", "None"] for name in columns},
        )
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise ResultsError(f"{path}: not a whole table ({str(error).strip()}).") from None
    for column in [name for name in columns if name not in text]:
        numbers = pd.to_numeric(frame[column], errors="coerce")
        wrong = frame[column].notna() & numbers.isna()
        if wrong.any():
            value = frame[column][wrong].iloc[0]
            raise ResultsError(f"{path}: line {line_of(wrong)} has {column} = {value!r}; expected a number.")
        frame[column] = numbers
    return frame[list(columns)]


def line_of(rows: pd.Series) -> int:
    """The line in the file of the first true row: the header is line 1."""
    return int(np.flatnonzero(rows.to_numpy())[0]) + 2


def check_names(table: pd.DataFrame, valid: Mapping[str, Iterable[str]], path: Path) -> None:
    """Columns of names have only names that there are."""
    for column, choices in valid.items():
        unknown = ~table[column].isin(list(choices))
        if unknown.any():
            name = table[column][unknown].iloc[0]
            raise ResultsError(
                f"{path}: line {line_of(unknown)} has {column} = {name!r}; valid are {valid_choices(name, choices)}."
            )


def check_present(table: pd.DataFrame, columns: Iterable[str], path: Path) -> None:
    """Columns of numbers that have no empty cell and no infinity."""
    for column in columns:
        wrong = ~np.isfinite(table[column])
        if wrong.any():
            raise ResultsError(
                f"{path}: line {line_of(wrong)} has {column} = {table[column][wrong].iloc[0]}; expected a number."
            )


def write_whole(path: Path, content: bytes) -> None:
    """Write to a temporary file beside `path`, then move: what is there is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    os.replace(temporary, path)
