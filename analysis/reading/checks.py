"""Reads JSON and CSV files of a results folder and checks them. Every error names the file and the key or line."""

import difflib
import hashlib
import json
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
import pandas as pd

from policy_gradient_ladder.experiments.schema import JOURNAL, SCHEMA

AGAIN = "delete it, and the next snakemake makes it again"


class ResultsError(Exception):
    """A mistake in a file, key or name that the user can correct. The message is the one sentence that they see."""


def command(module: str, folder: Path) -> str:
    """The command line that runs a module of the analysis on a results folder, as a shell takes it."""
    return f"python -m {module} --results {shlex.quote(str(folder))}"


def valid_choices(name: str, choices: Iterable[str]) -> str:
    """The choices as text. Those that look most like `name` come first."""
    choices = list(choices)
    near = difflib.get_close_matches(str(name), choices, n=max(1, len(choices)), cutoff=0.5)
    return ", ".join([*near, *(choice for choice in choices if choice not in near)])


NUMBER = (int, float)
PROVENANCE_KEYS = {  # of everything that was measured
    "versions": dict,
    "commit": (str, NoneType),
    "uncommitted_changes": (bool, NoneType),
    "machine": dict,
}


def check_choice(value: Any, choices: Iterable[str], path: Path, where: str) -> None:
    """Raise ResultsError unless the value, which stands at `where` in the file `path`, is one of the choices."""
    if value not in choices:
        raise ResultsError(f"{path}: {where} is {value!r}; valid are {valid_choices(value, choices)}.")


def check_named(named: Iterable[tuple[str, Any, Iterable[Any]]], path: Path, where: str) -> None:
    """Check the names that an entry, at `where` in the file `path`, has: (key, name, valid choices) of each."""
    for key, name, choices in named:
        if name not in list(choices):  # a list, since what stands there may have no hash
            raise ResultsError(
                f"{path}: {where}.{key} has {name!r}; valid are {valid_choices(name, map(str, choices))}."
            )


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises ResultsError where the file is missing, incomplete or holds no object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ResultsError(f"{path}: no such file.") from None
    except (ValueError, RecursionError) as error:
        raise ResultsError(f"{path}: incomplete or invalid JSON ({error}); {AGAIN}.") from None
    if not isinstance(content, dict):
        raise ResultsError(f"{path}: expected an object with keys, found {type(content).__name__}.")
    return content


def read_record(path: Path, keys: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a JSON file that has these keys and was written for this SCHEMA.

    keys: name → type or types. `files` and `sha256` may be absent: earlier versions did not write them. Where the
    record has `files`, none of the files beside it may be of another size. Raises ResultsError.
    """
    content = read_json(path)
    check_keys(content, keys, path, "the file")
    check_schema(content, path)
    if "files" in content:
        check_keys(content, {"sha256": str}, path, "the file")
        check_files(content, path.parent, path)
        check_sizes(content["files"], path)
    return content


def read_record_if_there(path: Path, keys: Mapping[str, Any]) -> dict[str, Any] | None:
    """The same, or None where there is no such file: a job writes its record last, so the job has not finished."""
    return read_record(path, keys) if path.exists() else None


def check_files(content: dict[str, Any], folder: Path, path: Path) -> None:
    """Check that `files` of the JSON file `path` has size and digest of files that lie in a folder."""
    check_keys(content, {"files": dict}, path, "the file")
    for name, file in content["files"].items():
        check_keys(file, {"bytes": int, "sha256": str}, path, f"files.{name}")
        if name.startswith("/") or ".." in name.split("/"):
            raise leads_out(folder, name, path)


def check_sizes(files: dict[str, dict[str, Any]], path: Path) -> None:
    """Check that no file beside `path` has another size than described. A deleted file is no error here: the analysis
    may not need it.
    """
    for name, described in files.items():
        file = os.path.join(path.parent, name)
        if name != JOURNAL and os.path.exists(file) and os.path.getsize(file) != described["bytes"]:
            # Snakemake has no rule for a single checkpoint, so the whole folder must be deleted. That of a study must
            # not: its journal would be lost.
            again = f"delete {path.parent}, and snakemake makes it again" if "/" in name else AGAIN
            raise ResultsError(
                f"{file}: {os.path.getsize(file):,} bytes, but {path.name} counts {described['bytes']:,}; {again}."
            )


def digest(path: Path, size: int | None = None) -> dict[str, Any]:
    """Size in bytes and SHA-256 of a file, or of its first `size` bytes."""
    with path.open("rb") as file:
        if size is not None:
            content = file.read(min(size, path.stat().st_size))
            return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": file.tell()}


def check_inside(folder: Path, name: str, path: Path) -> Path:
    """The path `folder / name`, where `name` stands in the file `path`. Raises ResultsError if it, or a link in it,
    leads out of the folder.
    """
    try:
        inside = (folder / name).resolve().is_relative_to(folder.resolve())
    except (ValueError, OSError, RuntimeError):  # not a valid file name, or a circle of links
        inside = False
    if not inside:
        raise leads_out(folder, name, path)
    return folder / name


def leads_out(folder: Path, name: str, path: Path) -> ResultsError:
    """The error for a name that leads out of its folder."""
    return ResultsError(f"{path}: {name!r} leads out of {folder}; what is there is neither read nor written.")


def check_keys(mapping: Any, keys: Mapping[str, Any], path: Path, where: str) -> None:
    """Check that every key is present and its value of the key's type. A bool is not a number."""
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
    """Check that a record was written for the SCHEMA that this version reads."""
    if content["schema"] != SCHEMA:
        raise ResultsError(
            f"{path}: schema is {content['schema']}, this version reads {SCHEMA}; run it again, or read it with the "
            f"version that wrote it."
        )


def read_csv(path: Path, columns: tuple[str, ...], text: Iterable[str] = (), *, further: bool = False) -> pd.DataFrame:
    """The named columns of a CSV file; with `further`, then all others. Those in `text` hold strings, the rest numbers.

    Raises ResultsError where the file is missing or cut off, or a column is missing or has another kind of value.
    """
    text = [name for name in text if name in columns]
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
            dtype=dict.fromkeys(text, "str"),
            keep_default_na=False,
            na_values={name: [""] if name in text else ["", "nan", "NaN", "None"] for name in columns},
        )
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise ResultsError(f"{path}: incomplete or invalid table ({str(error).strip()}).") from None
    for column in [name for name in columns if name not in text]:
        numbers = pd.to_numeric(frame[column], errors="coerce")
        wrong = frame[column].notna() & numbers.isna()
        if wrong.any():
            value = frame[column][wrong].iloc[0]
            raise ResultsError(f"{path}: line {line_of(wrong)} has {column} = {value!r}; expected a number.")
        frame[column] = numbers
    return frame[list(columns)]


def line_of(rows: pd.Series) -> int:
    """The line of the file in which the first true row stands. The header is line 1."""
    return int(np.flatnonzero(rows.to_numpy())[0]) + 2


def check_names(table: pd.DataFrame, valid: Mapping[str, Iterable[str]], path: Path) -> None:
    """Check that columns hold only valid names: column → valid names."""
    for column, choices in valid.items():
        unknown = ~table[column].isin(list(choices))
        if unknown.any():
            name = table[column][unknown].iloc[0]
            raise ResultsError(
                f"{path}: line {line_of(unknown)} has {column} = {name!r}; valid are {valid_choices(name, choices)}."
            )


def check_present(table: pd.DataFrame, columns: Iterable[str], path: Path) -> None:
    """Check that columns of numbers have no empty cell and no infinity."""
    for column in columns:
        wrong = ~np.isfinite(table[column])
        if wrong.any():
            raise ResultsError(
                f"{path}: line {line_of(wrong)} has {column} = {table[column][wrong].iloc[0]}; expected a number."
            )


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that nobody ever sees a part of it: first to a temporary file beside `path`, which then moves."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    os.replace(temporary, path)


def differing(found: Any, asked: Any, where: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The places at which two nested mappings differ, each with the two values; "nothing" where one has no such key."""
    if isinstance(found, dict) and isinstance(asked, dict):
        for key in dict.fromkeys((*found, *asked)):
            yield from differing(found.get(key, "nothing"), asked.get(key, "nothing"), f"{where}.{key}".lstrip("."))
    elif found != asked:
        yield where, found, asked
