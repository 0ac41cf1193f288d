"""Made-up probes of the quality of gradient estimates: gradients of known mean and noise, in blocks."""

import json
from pathlib import Path

import numpy as np

from analysis.reading.checks import SCHEMA

DIMENSIONS, CHUNK = 40, 1000  # parameters, and pairs of a chunk
NOISE = {"trained": 0.8, "fitted": 0.6, "none": 1.0}  # standard deviation, by value function
ERRORS = {("trained", "gae"): 0.1, ("trained", "returns"): 0.8, ("fitted", "gae"): 0.6, ("fitted", "returns"): 0.4}


def quality_probe(task: str, fraction: float, source: str = "ppo", seed: int = 0) -> dict:
    """An entry of a grid's probes."""
    entry = {"task": task, "source": source, "seed": seed, "fraction": fraction, "exact": False, "measures": "quality"}
    return {**entry, "directory": f"probes/{task}/{source}/{seed}/{fraction:g}"}


def signal(fraction: float) -> float:
    """The length of the true gradient: a smaller one the longer a policy was trained."""
    return 0.4 - 0.2 * fraction


def drawn(asked: dict, pairs=(1000, 10_000), estimates: int = 12, blocks: int = 9) -> dict[str, np.ndarray]:
    """The vectors of a probe: by value function the means of blocks [K, P], and by pairs the estimates and blocks."""
    rng = np.random.default_rng([asked["seed"], int(100 * asked["fraction"]), len(asked["task"]), len(asked["source"])])
    direction = rng.normal(size=DIMENSIONS)
    truth = signal(asked["fraction"]) * direction / np.linalg.norm(direction)
    chunks = max(pairs) // CHUNK
    noise = rng.normal(size=(blocks, chunks, DIMENSIONS))
    found = {}
    for value_function, scale in NOISE.items():
        vectors = truth + scale * noise
        found[f"{value_function}/blocks"] = vectors.mean(axis=1)
        for size in pairs:
            fit = chunks * CHUNK // size
            n = min(estimates, blocks * fit)
            own = np.arange(n) % blocks
            first = np.arange(n) // blocks * (size // CHUNK)
            found[f"{value_function}/{size}"] = np.array(
                [vectors[b, f : f + size // CHUNK].mean(axis=0) for b, f in zip(own, first, strict=True)]
            )
            found[f"{value_function}/{size}/block"] = own
    return found


def inner_products(vectors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of grams.npz."""
    arrays = {}
    for name, found in vectors.items():
        if name.endswith("/block"):
            arrays[name] = found
            continue
        arrays[name] = found @ found.T
        if not name.endswith("/blocks"):
            arrays[f"{name}/blocks"] = found @ vectors[f"{name.split('/')[0]}/blocks"].T
    return arrays


def write_quality(folder: Path, grid: dict, asked: dict, **about) -> dict:
    """A probe of quality as a job leaves it; returns its probe.json."""
    vectors = drawn(asked, **about)
    sizes = sorted({int(name.split("/")[1]) for name in vectors if name.endswith("/block")})
    blocks = len(vectors["none/blocks"])
    content = {
        "schema": SCHEMA,
        "measures": "quality",
        "probe": {"grid": grid["grid"], **{key: asked[key] for key in ("task", "source", "seed", "fraction")}},
        "exact": False,
        "gamma": 0.99,
        "gae_lambda": 0.95,
        "parameters": DIMENSIONS,
        "pairs": sizes,
        "estimates": {str(size): len(vectors[f"none/{size}"]) for size in sizes},
        "blocks": blocks,
        "reference_pairs": (blocks - 1) * max(sizes),
        "value_functions": list(NOISE),
        "values": [
            {
                "value_function": value_function,
                "against": against,
                "explained_variance": 1 - error**2,
                "relative_error": error + 0.02 * asked["seed"],
                "rmse": 2 * error,
                "std": 2.0,
                "steps": 10_000,
            }
            for (value_function, against), error in ERRORS.items()
        ],
        "steps": 100_000,
        "seconds": {"total": 12.0},
        "versions": {"python": "3.11.7"},
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "uncommitted_changes": False,
        "machine": {"cpu": "A processor", "cores": 2, "system": "Linux-6"},
    }
    content["probe"]["step"] = int(1000 * asked["fraction"])
    directory = folder / asked["directory"]
    directory.mkdir(parents=True, exist_ok=True)
    np.savez(directory / "grams.npz", **inner_products(vectors))
    (directory / "probe.json").write_text(json.dumps(content), encoding="utf-8")
    return content
