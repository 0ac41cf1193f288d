"""A synthetic probe of estimators: estimates with a known variance and bias, written as experiments would."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from analysis.reading.checks import SCHEMA

SIZES = (1, 8, 64)
MAIN = 8


def estimator_probe(problem: str) -> dict:
    """An entry of a grid's probes."""
    entry = {"task": problem, "source": "initialisation", "seed": 0, "fraction": 0.0, "exact": True}
    return {**entry, "measures": "estimators", "directory": f"probes/{problem}/initialisation/0/0"}


def entry(place: int, name: str, settings: dict | None = None, **about) -> dict:
    """An entry of probe.json's estimators."""
    text = "".join(f" {key}={value}" for key, value in (settings or {}).items())
    found = {"id": f"{place}/{name}{text}", "place": place, "estimator": name, "settings": settings or {}}
    found |= {"title": name.replace("_", " ").capitalize(), "truth": "plain", "sizes": list(SIZES)}
    return {**found, "milliseconds": 1.0, "fit_milliseconds": 0.0, **about}


def place(numbers: dict, parameters: int) -> dict:
    """An entry of probe.json's places."""
    words = {"dimensions": "d", "sigma": "σ", "agents": "n", "gamma": "γ"}
    text = ", ".join(f"{words.get(key, key)} = {value:g}" for key, value in numbers.items())
    return {"place": text, "numbers": numbers, "parameters": parameters}


def write_estimation(
    folder: Path,
    problem: str,
    places: list[dict],
    estimators: list[dict],
    made: Callable[[dict, dict], tuple[float, float]],
    batches: int = 64,
    left_out: tuple[dict, ...] = (),
    changes: dict | None = None,
) -> dict:
    """Write probe.json and grams.npz of a problem; returns probe.json.

    `made` says of a place and an entry how far, in lengths of the truth, the mean lies off it, and the standard
    deviation of a sample per parameter. The truth has length 1 at every place.
    """
    rng = np.random.default_rng(len(problem))
    arrays = {}
    for index, about in enumerate(places):
        p = about["parameters"]
        arrays[f"{index}/truth"] = np.ones(p) / np.sqrt(p)
        arrays[f"{index}/natural_truth"] = turned(arrays[f"{index}/truth"])
    for one in estimators:
        index = one["place"]
        p = places[index]["parameters"]
        truth = arrays[f"{index}/natural_truth" if one["truth"] == "natural" else f"{index}/truth"]
        bias, deviation = made(places[index], one)
        for size in one["sizes"]:
            vectors = (1 - bias) * truth + rng.normal(size=(batches, p)) * deviation / np.sqrt(size)
            name = f"{one['id']}/{size}"
            arrays[name] = vectors
            if problem == "chain" and size == MAIN:
                arrays[f"{name}/reparameterised"] = np.full(batches, 1.0 if one["truth"] == "natural" else 0.6)
    probe = estimator_probe(problem)
    about = {
        "schema": SCHEMA,
        "measures": "estimators",
        "probe": {"grid": "mine", **{k: probe[k] for k in ("task", "source", "seed", "fraction")}, "step": 0},
        "exact": True,
        "batch_size": MAIN,
        "places": places,
        "estimators": estimators,
        "not_applicable": list(left_out),
        "seconds": {"total": 1.0},
        "versions": {"python": "3.11.7"},
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "uncommitted_changes": False,
        "machine": {"cpu": "A processor", "cores": 2, "system": "Linux-6"},
        **(changes or {}),
    }
    directory = folder / probe["directory"]
    directory.mkdir(parents=True, exist_ok=True)
    np.savez(directory / "grams.npz", **arrays)
    (directory / "probe.json").write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")
    return about


def turned(vector: np.ndarray) -> np.ndarray:
    """A vector of the same length at 60° to this one, of at least two numbers that are all equal."""
    if len(vector) < 2:
        return vector
    across = np.zeros_like(vector)
    across[:2] = (1, -1)
    across *= np.linalg.norm(vector) / np.linalg.norm(across)
    return 0.5 * vector + np.sqrt(0.75) * across


QUADRATIC = [place({"dimensions": d, "sigma": s}, d) for d in (1, 8, 32) for s in (0.1, 0.3, 1.0)]
STEP = [place({"dimensions": 1, "sigma": s}, 1) for s in (0.1, 0.3, 1.0)]
GAME = [place({"agents": n}, 3 * n) for n in (2, 4, 8)]
ARMS = [place({"arms": 4}, 4), place({"arms": 4, "offset": 1000}, 4)]
CHAIN = [place({"gamma": g}, 6) for g in (0.9, 0.99)]


def of_places(places: list[dict], *names: tuple[str, dict] | str, **about) -> list[dict]:
    """Entries of these estimators at every place."""
    pairs = [(name, {}) if isinstance(name, str) else name for name in names]
    return [entry(index, name, settings, **about) for index in range(len(places)) for name, settings in pairs]


def of_noise(about: dict, one: dict) -> tuple[float, float]:
    """The bias and the deviation of each estimator on the problems of `write_all`."""
    numbers, settings = about["numbers"], one["settings"]
    sigma, p = numbers.get("sigma", 1.0), about["parameters"]
    score = (1 + 0.2 * p) / sigma / np.sqrt(p)
    temperature = settings.get("temperature", 0.0)
    known = {
        "score_function": (0.0, score),
        "leave_one_out": (0.0, 0.6 * score),
        "mine": (0.0, 0.8 * score),
        "pathwise": (0.0, 0.3 * sigma / np.sqrt(p)),
        "pathwise_critic": (0.4 / settings.get("degree", 1) - 0.1, 0.3 * sigma / np.sqrt(p)),
        "deterministic": (0.3 * sigma**2, 0.0),
        "counterfactual": (0.0, 0.2 * score),
        "gumbel_softmax": (0.4 * temperature, 0.2 / (0.1 + temperature)),
        "natural": (0.0, 0.5),
        "without_discount": (0.3, 0.5),
    }
    return known[one["estimator"]]


def write_all(folder: Path) -> list[dict]:
    """Probes of five problems, with an estimator `mine` of a user on each; returns the grid's entries of them."""
    always = ("score_function", "leave_one_out", "mine")
    critics = [("pathwise_critic", {"degree": degree}) for degree in (1, 2, 4)]
    gumbel = [("gumbel_softmax", {"temperature": t}) for t in (0.1, 0.5, 1.0)]
    left_out = ({"place": 0, "estimator": "pathwise", "reason": "pathwise needs a reward that has a slope"},)
    write_estimation(
        folder, "quadratic", QUADRATIC, of_places(QUADRATIC, *always, "pathwise", "deterministic", *critics), of_noise
    )
    step = of_places(STEP, *always, "pathwise")
    write_estimation(
        folder, "step", STEP, step, lambda p, e: (1.0, 0.0) if e["estimator"] == "pathwise" else of_noise(p, e)
    )
    write_estimation(folder, "game", GAME, of_places(GAME, *always, "counterfactual"), of_noise)
    write_estimation(folder, "arms", ARMS, of_places(ARMS, *always, *gumbel), of_noise)
    chain = of_places(CHAIN, *always, "without_discount")
    chain += of_places(CHAIN, ("natural", {"fisher": "exact"}), truth="natural")
    write_estimation(folder, "chain", CHAIN, chain, of_noise, left_out=left_out)
    return [estimator_probe(problem) for problem in ("quadratic", "step", "game", "arms", "chain")]
