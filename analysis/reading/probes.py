"""Reads a probe, the gradient estimates at one frozen policy: estimators, critics and inner products."""

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np

from policy_gradient_ladder.experiments.schema import GRADIENTS, STOPPED

from .checks import NUMBER, ResultsError, check_keys, check_named, read_record_if_there
from .grid import Grid

PROBE = ["task", "source", "seed", "fraction"]  # the keys of a probe in grid.json, and its columns in tables
PROBE_FILE_KEYS = {
    "schema": int,
    "probe": dict,
    "exact": bool,
    "batch_size": int,
    "sizes": list,
    "episodes": dict,
    "estimators": list,
    "references": list,
    "critics": list,
}
ESTIMATOR_KEYS = {
    "id": str,
    "kind": str,
    "algorithm": (str, NoneType),
    "critic": str,
    "advantages": str,
    "gae_lambda": (*NUMBER, NoneType),
    "gamma": NUMBER,
    "variance_reference": str,
    "bias_reference": str,
    "cosine_reference": str,
    "sizes": list,
}
RECORD_KEYS = {"schema": int, "probe": dict, "exact": bool}  # of probe.json of any probe
CRITIC_KEYS = {
    "critic": str,
    "gamma": NUMBER,
    "explained_variance": (*NUMBER, NoneType),
    "rmse": NUMBER,
    "return_std": NUMBER,
}


@dataclass(frozen=True)
class Probe:
    """What `experiments.probe` wrote: `about`, which is probe.json, and Gram matrices by name, float [n, n] each.

    A probe that its task stopped has no matrices.
    """

    about: dict[str, Any]
    grams: dict[str, np.ndarray]


def record_keys(asked: dict[str, Any]) -> dict[str, Any]:
    """The keys of probe.json that an entry of the grid's probes must have, with their types."""
    return PROBE_FILE_KEYS if asked["measures"] == GRADIENTS else RECORD_KEYS


def stopped(about: dict[str, Any]) -> bool:
    """Whether a probe has no result because its task gave a number that is not finite."""
    return about.get("status") == STOPPED


def read_probe(grid: Grid, asked: dict[str, Any]) -> Probe | None:
    """The probe that an entry of the grid's probes asks for; None where it has not been made. Raises ResultsError."""
    folder = grid.folder / asked["directory"]
    path = folder / "probe.json"
    if (about := read_record_if_there(path, PROBE_FILE_KEYS)) is None:
        return None
    found = {**about["probe"], "exact": about["exact"]}
    check_keys(found, {"step": int}, path, "probe")
    for key in ("task", "source", "seed", "fraction", "exact"):
        if found.get(key) != asked[key]:
            raise ResultsError(
                f"{path}: {key} is {found.get(key)!r}, the grid has {asked[key]!r} there; probe it again."
            )
    if stopped(about):
        return Probe(about, {})
    check_keys(about["episodes"], {"mean_length": NUMBER}, path, "episodes")
    for index, critic in enumerate(about["critics"]):
        check_keys(critic, CRITIC_KEYS, path, f"critics[{index}]")
    for index, size in enumerate(about["sizes"]):
        check_keys(size, {"episodes": int, "batches": int}, path, f"sizes[{index}]")
    batches = {size["episodes"]: size["batches"] for size in about["sizes"]}
    if about["batch_size"] not in batches:
        raise ResultsError(f"{path}: batch_size is {about['batch_size']}; sizes has {', '.join(map(str, batches))}.")
    for index, estimator in enumerate(about["estimators"]):
        check_estimator(estimator, grid, about["references"], list(batches), path, f"estimators[{index}]")
    return Probe(about, read_grams(folder / "grams.npz", gram_shapes(about, batches)))


def check_estimator(estimator: Any, grid: Grid, references: list, sizes: list, path: Path, where: str) -> None:
    """Check that an entry of probe.json's estimators names only kinds, references, sizes and algorithms that exist."""
    check_keys(estimator, ESTIMATOR_KEYS, path, where)
    check_keys({"bootstraps": None, **estimator}, {"bootstraps": (bool, NoneType)}, path, where)  # may be left out
    required = {"algorithm": {"algorithm": str}, "gae": {"gae_lambda": NUMBER}, "compatible": {}}
    named = [("kind", estimator["kind"], required), ("advantages", estimator["advantages"], ("raw", "normalized"))]
    named += [(f"{use}_reference", estimator[f"{use}_reference"], references) for use in ("variance", "bias", "cosine")]
    named += [("sizes", size, sizes) for size in estimator["sizes"]]
    if estimator["algorithm"] is not None:
        named.append(("algorithm", estimator["algorithm"], grid.algorithms))
    check_named(named, path, where)
    check_keys(estimator, required[estimator["kind"]], path, where)


def gram_shapes(about: dict[str, Any], batches: dict[int, int]) -> dict[str, tuple[int, int]]:
    """Shape of every array of a probe, by name. batches: episodes of a batch → number of such batches."""
    names = [(f"{reference}/{size}", size) for reference in about["references"] for size in batches]
    for estimator in about["estimators"]:
        kinds = ["self", "bias"]
        if estimator["cosine_reference"] != estimator["bias_reference"]:
            kinds.append("cosine")
        names += [(f"{estimator['id']}/{size}/{kind}", size) for size in estimator["sizes"] for kind in kinds]
    return {name: (batches[size], batches[size]) for name, size in names}


def read_grams(path: Path, shapes: Mapping[str, tuple[int, ...] | None]) -> dict[str, np.ndarray]:
    """The named arrays of an npz file, in double precision, since differences of products lose digits.

    shapes: the shape of each array by its name; None: any shape.

    Raises ResultsError where an array is missing, or has another shape, another type or a value that is not finite.
    """
    again = "; delete its folder to make it again."
    grams = {}
    try:
        names = [name.removesuffix(".npy") for name in archive_names(path)]
        with np.load(path, allow_pickle=False) as arrays:
            for name, shape in shapes.items():
                if name not in names:
                    raise ResultsError(f"{path}: no array {name!r} among its {len(names)}{again}")
                array = arrays[name]
                if shape not in (None, array.shape) or array.dtype.kind != "f":
                    of_shape = f" of shape {shape}" if shape else ""
                    raise ResultsError(
                        f"{path}: {name!r} is {array.dtype} of shape {array.shape}; expected floats{of_shape}{again}"
                    )
                grams[name] = array.astype(float)
                if not np.isfinite(grams[name]).all():
                    raise ResultsError(f"{path}: {name!r} has a value that is not finite{again}")
    except FileNotFoundError:
        raise ResultsError(f"{path}: no such file{again}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, MemoryError) as error:
        raise ResultsError(f"{path}: incomplete or invalid file of arrays ({error}){again}") from None
    return grams


def archive_names(path: Path) -> list[str]:
    """Names of the files in a zip archive. Raises ValueError where one is compressed: this project compresses none, and
    a small compressed file can fill the memory.
    """
    with zipfile.ZipFile(path) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("it is compressed")
        return archive.namelist()
