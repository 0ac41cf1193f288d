"""Checks of the parts of a grid file: which keys they may have, what each value must be, and how a mistake is said."""

import argparse
import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from policy_gradient_ladder.core.algorithm import nearest_first, whole

NAME = r"\w[\w.+-]*"  # of a grid, an algorithm or a group: it becomes a folder and a wildcard
UNITS = {"s": 1, "min": 60, "h": 3600}  # of a duration, in seconds


class GridError(ValueError):
    """A mistake in a grid file. The message names the file, the key and what is expected there."""


class GridLoader(yaml.SafeLoader):
    """YAML in which 3e-4 is a number, a key is never true or false, and a key given twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        """A mapping without repeated keys. The key `on` is text, although YAML 1.1 reads it as true."""
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:bool":
                key.tag = "tag:yaml.org,2002:str"
        keys = [self.construct_object(k, deep=True) for k, _ in node.value if k.tag != "tag:yaml.org,2002:merge"]
        repeated = [key for key in keys if keys.count(key) > 1]
        if repeated:
            raise yaml.constructor.ConstructorError(None, None, f"{repeated[0]!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


GridLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def read_yaml(path: Path, shown: str) -> Any:
    """What a YAML file holds. `shown` is its name in a message.

    Raises GridError where the file cannot be read or is not valid YAML.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), GridLoader)
    except yaml.YAMLError as error:
        raise GridError(f"{shown} is not valid YAML: {' '.join(str(error).split())}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise GridError(f"{shown} cannot be read: {error}") from error


REQUIRED = object()


class Check(NamedTuple):
    """One key of a mapping: what its value must be, and what `experiments/GRID.md` says of it."""

    test: Callable[[Any], bool]
    description: str  # of valid values
    default: Any  # or REQUIRED
    meaning: str = ""
    example: str = ""  # a valid value, as it stands in a file
    otherwise: str = ""  # what holds where the key is absent, where the default does not say it


def is_number(value: Any) -> bool:
    """Whether this is a finite number; true and false are none."""
    return type(value) in (int, float) and math.isfinite(value)


@dataclass(frozen=True)
class Whole:
    """A test of whole numbers from `least`, with or without null. 1e4 passes, and `section` reads it as 10000."""

    least: float = -math.inf
    or_null: bool = False

    def __call__(self, value: Any) -> bool:
        """Whether the value is such a number; true and false are none."""
        if value is None:
            return self.or_null
        return type(whole(value)) is int and value >= self.least


def whole_number(text: str) -> int:
    """A whole number of a command line, such as 10000, 10_000 or 1e4; for argparse, which says what was wrong."""
    try:
        number = whole(float(text))
    except ValueError:
        number = None
    if type(number) is not int:
        raise argparse.ArgumentTypeError(f"expected a whole number, not {text!r}")
    return number


def seconds(value: Any) -> float | None:
    """The seconds of a duration: a number of seconds, or text such as "90 s", "30 min" or "1.5 h".

    Returns None for anything else, and for a duration that is not above 0.
    """
    if isinstance(value, str):
        parts = re.fullmatch(rf"(\d+(?:\.\d+)?) ?({'|'.join(UNITS)})", value)
        value = parts and float(parts[1]) * UNITS[parts[2]]
    return float(value) if is_number(value) and value > 0 else None


def is_name(value: str) -> bool:
    """Whether this may become a folder's name."""
    return re.fullmatch(NAME, value) is not None


def is_line(value: Any) -> bool:
    """Whether this is text of one line that can be drawn: neither blank, nor with control characters or half a pair."""
    drawable = isinstance(value, str) and not {unicodedata.category(c) for c in value} & {"Cc", "Cs", "Zl", "Zp"}
    return drawable and not value.isspace() and value != ""


def all_different(values: Any, test: Callable[[Any], bool]) -> bool:
    """Whether this is a list without repetition of values that pass a test."""
    return isinstance(values, list) and all(test(v) for v in values) and len(set(values)) == len(values)


MAPPING = (lambda v: isinstance(v, dict) and all(isinstance(key, str) for key in v), "a mapping whose keys are text")
OPTIONAL_MAPPING = (lambda v: v is None or MAPPING[0](v), "a mapping, or null for none")
TEXT = (lambda v: isinstance(v, str), "text")
FLAG = (lambda v: isinstance(v, bool), "true or false")
DURATION = (
    lambda v: v is None or seconds(v) is not None,
    "a number of seconds above 0, text such as '90 s', '30 min' or '2 h', or null for no limit",
)


def section(path: str, where: str, data: Any, keys: Mapping[str, Check], *, further: bool = False) -> dict[str, Any]:
    """The entries of one mapping of a grid file, checked; an absent one has its default.

    path: the file, where: the mapping, as messages name them. data: what the file has there.
    keys: for every key what its value must be, and its default.
    further: whether other keys are allowed; their values are taken as they are.
    Raises GridError where a key is unknown or missing, or where a value fails its test.
    """
    if not isinstance(data, dict):
        raise GridError(f"{path}: {where} must be a mapping with the keys {', '.join(keys)}")
    for key in data:
        if key not in keys and not further:
            raise GridError(f"{path}: {where} has no key {key!r}; {nearest_first(str(key), list(keys))}")
    result = dict(data) if further else {}
    for key, (test, description, default, *_) in keys.items():
        if key not in data and default is REQUIRED:
            raise GridError(f"{path}: {where} needs the key {key!r}: {description}")
        if key in data and not test(data[key]):
            raise GridError(f"{path}: {key} of {where} must be {description}, not {data[key]!r}")
        value = data.get(key, default)
        result[key] = whole(value) if isinstance(test, Whole) else value
    return result
