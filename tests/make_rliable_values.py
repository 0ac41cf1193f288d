"""Makes tests/rliable_values.json: what rliable 1.2.0 says of a fixed input, to hold analysis.statistics against.

rliable pins arch < 8, which does not import beside pandas 3, so it is in no environment of this project. In its own:

    python -m venv rliable && rliable/bin/pip install rliable==1.2.0 "pandas<3"
    rliable/bin/python tests/make_rliable_values.py

What rliable resamples is runs, within each task and independently of other tasks, as here. Of curves it also draws
every point on its own, where here a resample is of whole runs: the same at each point, but a band of runs.

Scores are rounded to multiples of 0.05, so that some are equal to each other and to a level τ. The runs of one number
have something in common on all tasks: were they resampled together, intervals would be much wider.
"""

import json
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np
from rliable import library, metrics

RUNS = {"first": 5, "second": 8}
TASKS = 7
LEVELS = np.arange(-8, 33) / 20
REPS = 50_000
SEED = 20211


def make_scores(rng: np.random.Generator, runs: int) -> np.ndarray:
    """[runs, tasks]."""
    level, spread = np.linspace(0.1, 1.1, TASKS), np.linspace(0.05, 0.3, TASKS)
    noise = rng.normal(size=(runs, TASKS)) + 2 * rng.normal(size=(runs, 1))
    return np.round(20 * (level + spread * noise)) / 20


def main() -> None:
    rng = np.random.default_rng(SEED)
    scores = {name: make_scores(rng, runs) for name, runs in RUNS.items()}
    aggregates = {
        "iqm": metrics.aggregate_iqm,
        "mean": metrics.aggregate_mean,
        "median": metrics.aggregate_median,
        "optimality_gap": metrics.aggregate_optimality_gap,
    }
    np.random.seed(SEED)  # noqa: NPY002  # rliable draws from the global generator, whatever random_state it is given
    values, intervals = library.get_interval_estimates(
        scores,
        lambda x: np.array([metric(x) for metric in aggregates.values()]),
        reps=REPS,
    )
    profiles, bands = library.create_performance_profile(scores, LEVELS, reps=REPS)
    chances, chance_intervals = library.get_interval_estimates(
        {"first,second": (scores["first"], scores["second"])},
        metrics.probability_of_improvement,
        reps=REPS,
    )
    probability, ends = chances["first,second"], chance_intervals["first,second"]
    content = {
        "made_by": "tests/make_rliable_values.py",
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("rliable", "arch", "numpy", "scipy", "pandas")},
        },
        "reps": REPS,
        "scores": {name: array.tolist() for name, array in scores.items()},
        "aggregates": {name: dict(zip(aggregates, values[name].tolist(), strict=True)) for name in scores},
        "aggregate_intervals": {
            name: dict(zip(aggregates, intervals[name].T.tolist(), strict=True)) for name in scores
        },
        "levels": LEVELS.tolist(),
        "profiles": {name: np.asarray(profiles[name]).tolist() for name in scores},
        "profile_bands": {name: np.asarray(bands[name]).tolist() for name in scores},
        "improvement": float(np.squeeze(probability)),
        "improvement_interval": np.squeeze(ends).tolist(),
    }
    path = Path(__file__).with_name("rliable_values.json")
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
