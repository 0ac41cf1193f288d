"""Reads a probe of estimators: the estimates of every batch, and the true gradients, which are known."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .checks import NUMBER, ResultsError, check_choice, check_keys, read_record_if_there
from .grid import Grid
from .probes import archive_names, read_grams

ESTIMATION_KEYS = {
    "schema": int,
    "measures": str,
    "probe": dict,
    "exact": bool,
    "batch_size": int,
    "places": list,
    "estimators": list,
    "not_applicable": list,
}
PLACE_KEYS = {"place": str, "numbers": dict, "parameters": int}
ENTRY_KEYS = {
    **dict.fromkeys(("id", "estimator", "title", "truth"), str),
    "place": int,
    "settings": dict,
    "sizes": list,
    "milliseconds": NUMBER,
    "fit_milliseconds": NUMBER,
}
NOT_APPLICABLE_KEYS = {"place": int, "estimator": str, "reason": str}
TRUTHS = ("plain", "natural")  # what an estimator estimates: the gradient, or the natural gradient
REPARAMETERISED = "reparameterised"  # ends the name of the cosines of steps under two choices of parameters


@dataclass(frozen=True)
class Estimation:
    """What `experiments.estimate` wrote: `about`, which is probe.json, and arrays by name.

    For each place p, `p/truth` [P] is the true gradient, and `p/natural_truth` [P] the natural one. For each estimator
    and batch size, ID/SIZE [n, P] has the estimates of n batches. ID/SIZE/reparameterised [n] is there where the steps
    of two choices of parameters were compared: the cosines between them.
    """

    about: dict[str, Any]
    arrays: dict[str, np.ndarray]


def read_estimation(grid: Grid, asked: dict[str, Any]) -> Estimation | None:
    """The probe of estimators that an entry of the grid's probes asks for; None where it has not been made.

    Raises ResultsError, which names the file and the key.
    """
    folder = grid.folder / asked["directory"]
    path = folder / "probe.json"
    if (about := read_record_if_there(path, ESTIMATION_KEYS)) is None:
        return None
    check_choice(about["measures"], ("estimators",), path, "measures")
    if about["probe"].get("task") != asked["task"]:
        raise ResultsError(
            f"{path}: task is {about['probe'].get('task')!r}, the grid has {asked['task']!r} there; measure it again."
        )
    for index, place in enumerate(about["places"]):
        check_keys(place, PLACE_KEYS, path, f"places[{index}]")
    for index, entry in enumerate(about["estimators"]):
        check_entry(entry, about, path, f"estimators[{index}]")
    for index, entry in enumerate(about["not_applicable"]):
        check_keys(entry, NOT_APPLICABLE_KEYS, path, f"not_applicable[{index}]")
        check_place(entry, about, path, f"not_applicable[{index}]")
    return Estimation(about, read_estimates(folder / "grams.npz", about))


def check_entry(entry: Any, about: dict[str, Any], path: Path, where: str) -> None:
    """Check an entry of probe.json's estimators: its keys, and that its place and its main batch size are there."""
    check_keys(entry, ENTRY_KEYS, path, where)
    check_choice(entry["truth"], TRUTHS, path, f"{where}.truth")
    check_place(entry, about, path, where)
    if about["batch_size"] not in entry["sizes"]:
        sizes = ", ".join(map(str, entry["sizes"]))
        raise ResultsError(f"{path}: {where}.sizes is {sizes}; batch_size, {about['batch_size']}, is not among them.")


def check_place(entry: dict[str, Any], about: dict[str, Any], path: Path, where: str) -> None:
    """Check that an entry of probe.json is about one of its places, which it names by their number from 0."""
    if not 0 <= entry["place"] < len(about["places"]):
        raise ResultsError(f"{path}: {where}.place is {entry['place']}; there are {len(about['places'])} places.")


def read_estimates(path: Path, about: dict[str, Any]) -> dict[str, np.ndarray]:
    """The arrays that probe.json asks for, checked, and those under two choices of parameters that there are."""
    shapes: dict[str, tuple[int, ...] | None] = {}
    for index, place in enumerate(about["places"]):
        shapes |= dict.fromkeys((f"{index}/truth", f"{index}/natural_truth"), (place["parameters"],))
    names = {f"{e['id']}/{size}": about["places"][e["place"]] for e in about["estimators"] for size in e["sizes"]}
    arrays = read_grams(path, shapes | dict.fromkeys(names))
    there = {name.removesuffix(".npy") for name in archive_names(path)}
    for name, place in names.items():
        shape = arrays[name].shape
        if len(shape) != 2 or shape[0] < 2 or shape[1] != place["parameters"]:
            raise ResultsError(
                f"{path}: {name!r} has the shape {shape}; expected at least 2 estimates of {place['parameters']} "
                f"numbers each; delete its folder to make it again."
            )
        if (further := f"{name}/{REPARAMETERISED}") in there:
            arrays |= read_grams(path, {further: shape[:1]})
    return arrays
