"""Reads a probe of estimators: what was estimated of a problem whose true gradient is known, and the inner products."""

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
NOT_APPLICABLE_KEYS = dict.fromkeys(("place", "estimator", "reason"), str)
TRUTHS = ("plain", "natural")  # what an estimator estimates: the gradient, or the natural gradient
REPARAMETERISED = "reparameterised"  # ends the name of the cosines of steps under two choices of parameters


@dataclass(frozen=True)
class Estimation:
    """What `experiments.estimate` wrote: `about`, which is probe.json, and arrays by name.

    For each place p, `p/truth` [P] is the true gradient, and `p/natural_truth` [P] the natural one where something
    estimates it. For each estimator and batch size, ID/SIZE [n, n] has the inner products of n estimates,
    ID/SIZE/truth [n] those with what it estimates, and, of a natural gradient, ID/SIZE/plain [n] those with the plain
    one. ID/SIZE/reparameterised [n] is there where steps under two choices of parameters were compared.
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
    return Estimation(about, read_estimates(folder / "grams.npz", about))


def check_entry(entry: Any, about: dict[str, Any], path: Path, where: str) -> None:
    """Check an entry of probe.json's estimators: its keys, and that its place and its main batch size are there."""
    check_keys(entry, ENTRY_KEYS, path, where)
    check_choice(entry["truth"], TRUTHS, path, f"{where}.truth")
    if not 0 <= entry["place"] < len(about["places"]):
        raise ResultsError(f"{path}: {where}.place is {entry['place']}; there are {len(about['places'])} places.")
    if about["batch_size"] not in entry["sizes"]:
        sizes = ", ".join(map(str, entry["sizes"]))
        raise ResultsError(f"{path}: {where}.sizes is {sizes}; batch_size, {about['batch_size']}, is not among them.")


def read_estimates(path: Path, about: dict[str, Any]) -> dict[str, np.ndarray]:
    """The arrays that probe.json asks for, checked, and those under two choices of parameters that there are."""
    shapes: dict[str, tuple[int, ...] | None] = {}
    vectors = []
    for entry in about["estimators"]:
        place = entry["place"]
        natural = entry["truth"] == "natural"
        for name in ("truth", "natural_truth") if natural else ("truth",):
            shapes[f"{place}/{name}"] = (about["places"][place]["parameters"],)
        for size in entry["sizes"]:
            name = f"{entry['id']}/{size}"
            kinds = ("truth", "plain") if natural else ("truth",)
            vectors += [(name, f"{name}/{kind}") for kind in kinds]
            shapes |= dict.fromkeys([name, *(f"{name}/{kind}" for kind in kinds)])
    arrays = read_grams(path, shapes)
    there = {name.removesuffix(".npy") for name in archive_names(path)}
    for entry in about["estimators"]:
        for size in entry["sizes"]:
            name = f"{entry['id']}/{size}/{REPARAMETERISED}"
            if name in there:
                vectors.append((f"{entry['id']}/{size}", name))
                arrays |= read_grams(path, {name: None})
    for gram, vector in vectors:
        n = len(arrays[vector]) if arrays[vector].ndim else 0
        if arrays[vector].shape != (n,) or arrays[gram].shape != (n, n):
            raise ResultsError(
                f"{path}: {gram!r} has the shape {arrays[gram].shape} and {vector!r} {arrays[vector].shape}; expected "
                f"(n, n) and (n,); delete its folder to make it again."
            )
    return arrays
