"""Reads a probe of how good gradient estimates are at one frozen policy: value functions and inner products."""

from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np

from policy_gradient_ladder.experiments.metrics import VALUE_FUNCTIONS, VALUE_TARGETS

from .checks import NUMBER, ResultsError, check_keys, check_named, read_record_if_there
from .grid import Grid
from .probes import read_grams, stopped

QUALITY_FILE_KEYS = {
    "schema": int,
    "probe": dict,
    "exact": bool,
    "pairs": list,
    "estimates": dict,
    "blocks": int,
    "reference_pairs": int,
    "value_functions": list,
    "values": list,
}
VALUE_KEYS = {
    "value_function": str,
    "against": str,
    "explained_variance": (*NUMBER, NoneType),
    "relative_error": (*NUMBER, NoneType),
    "rmse": (*NUMBER, NoneType),
    "std": (*NUMBER, NoneType),
    "steps": int,
}


@dataclass(frozen=True)
class Quality:
    """What `experiments.quality` wrote: `about`, which is probe.json, and arrays by name, float.

    For each value function v and number of pairs s: "v/s" [n, n], the inner products of n estimates with each other;
    "v/s/blocks" [n, K], those with the mean gradients of K blocks; "v/s/block" [n], which block an estimate is from;
    and "v/blocks" [K, K], the inner products of the blocks with each other. A probe that its task stopped has none.
    """

    about: dict[str, Any]
    arrays: dict[str, np.ndarray]


def read_quality(grid: Grid, asked: dict[str, Any]) -> Quality | None:
    """The probe that an entry of the grid's quality_probes asks for; None where it has not been made.

    Raises ResultsError.
    """
    folder = grid.folder / asked["directory"]
    path = folder / "probe.json"
    if (about := read_record_if_there(path, QUALITY_FILE_KEYS)) is None:
        return None
    check_keys(about["probe"], {"step": int}, path, "probe")
    for key in ("task", "source", "seed", "fraction"):
        if about["probe"].get(key) != asked[key]:
            raise ResultsError(
                f"{path}: {key} is {about['probe'].get(key)!r}, the grid has {asked[key]!r} there; probe it again."
            )
    if stopped(about):
        return Quality(about, {})
    named = [("value_functions", name, VALUE_FUNCTIONS) for name in about["value_functions"]]
    check_named(named, path, "the file")
    for pairs in about["pairs"]:
        check_keys(about["estimates"], {str(pairs): int}, path, "estimates")
    for index, value in enumerate(about["values"]):
        where = f"values[{index}]"
        check_keys(value, VALUE_KEYS, path, where)
        check_named([("against", value["against"], VALUE_TARGETS)], path, where)
        check_named([("value_function", value["value_function"], about["value_functions"])], path, where)
    arrays = read_grams(folder / "grams.npz", array_shapes(about), kinds="fi")
    check_blocks(arrays, about["blocks"], folder / "grams.npz")
    return Quality(about, arrays)


def array_shapes(about: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Shape of every array of a probe, by name."""
    shapes: dict[str, tuple[int, ...]] = {}
    k = about["blocks"]
    for value_function in about["value_functions"]:
        shapes[f"{value_function}/blocks"] = (k, k)
        for pairs in about["pairs"]:
            n, name = about["estimates"][str(pairs)], f"{value_function}/{pairs}"
            shapes |= {name: (n, n), f"{name}/blocks": (n, k), f"{name}/block": (n,)}
    return shapes


def check_blocks(arrays: dict[str, np.ndarray], blocks: int, path: Path) -> None:
    """Raise ResultsError where an estimate is said to be from a block that there is not."""
    for name, array in arrays.items():
        if name.endswith("/block") and not np.isin(array, np.arange(blocks)).all():
            raise ResultsError(
                f"{path}: {name!r} has a number that is none of the {blocks} blocks, 0 to {blocks - 1}; delete its "
                f"folder to make it again."
            )
