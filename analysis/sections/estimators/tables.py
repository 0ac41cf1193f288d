"""results/<grid>/probes → the tables of estimators on problems whose true gradient is known.

At each place of a problem, every estimator was computed on independent batches of several sizes. Its expectation is
compared with the true gradient, and its variance with that of the score function at the same place and size. All
measures are there at the main batch size; at the others there are those that a figure shows against the batch size.
"""

import json
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from policy_gradient_ladder.experiments.metrics import FEWEST_BATCHES

from ...reading.estimations import REPARAMETERISED, Estimation
from ...reading.tables import frame
from ...statistics import gradients as statistics
from ...statistics import known
from ...statistics.gradients import Estimate
from ..laboratory.tables import ends, verdict, weights

SCORE_FUNCTION = "score_function"  # the estimator with whose variance that of the others is compared


def estimators(estimations: list[tuple[dict[str, Any], Estimation]]) -> pd.DataFrame:
    """The table `estimators`: a row per problem, place, estimator with its settings, and batch size.

    `estimations` has for each probe its entry in grid.json and what was measured. The columns `numbers` and `settings`
    are JSON.
    """
    rows = [
        {"problem": asked["task"], **row} for asked, found in estimations for row in rows_of(found.about, found.arrays)
    ]
    return frame(rows, "estimators")


def estimators_left_out(estimations: list[tuple[dict[str, Any], Estimation]]) -> pd.DataFrame:
    """The table `estimators_left_out`: which estimators a problem does not have, and why."""
    rows = [
        {"problem": asked["task"], **entry, "place": found.about["places"][entry["place"]]["place"]}
        for asked, found in estimations
        for entry in found.about["not_applicable"]
    ]
    return frame(rows, "estimators_left_out")


def rows_of(about: dict[str, Any], arrays: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """A row for every estimator and batch size of a problem, from its probe.json and its arrays."""

    @cache
    def spread(name: str) -> statistics.Spread:
        estimates = arrays[name]
        return statistics.spread(estimates @ estimates.T, weights(len(estimates)))

    main = about["batch_size"]
    references = {entry["place"]: f"{entry['id']}/{main}" for entry in reversed(about["estimators"]) if is_plain(entry)}
    rows = []
    for entry in about["estimators"]:
        place, plain = about["places"][entry["place"]], arrays[f"{entry['place']}/truth"]
        truth = arrays[f"{entry['place']}/natural_truth"] if entry["truth"] == "natural" else plain
        for size in entry["sizes"]:
            name = f"{entry['id']}/{size}"
            estimates = arrays[name]
            gram = estimates @ estimates.T
            cross, reference = known.against(estimates, truth)
            found = {"true_cosine": statistics.true_cosine(gram, cross, reference)}
            if size == main:
                difference = statistics.difference_gram(gram, cross, reference)
                found["bias_squared"] = statistics.squared_norm(difference)
                found["relative_bias"] = statistics.relative_bias(difference, reference)
                found |= of_variance(spread(name), entry, spread, references.get(entry["place"]))
                found["plain_cosine"] = known.direction_of_mean(estimates, plain)
                if f"{name}/{REPARAMETERISED}" in arrays:
                    found["reparameterised"] = known.mean(arrays[f"{name}/{REPARAMETERISED}"])
            rows.append(
                {
                    "place": place["place"],
                    "numbers": text_of(place["numbers"]),
                    "size": size,
                    "main": int(size == main),
                    "batches": len(gram),
                    **{key: entry[key] for key in ("estimator", "title", "truth")},
                    "settings": text_of(entry["settings"]),
                    "truth_norm_squared": float(truth @ truth),
                    "variance": statistics.trace_of_covariance(gram),
                    **{f"{measure}{end}": value for measure, of in found.items() for end, value in ends(of)},
                    "milliseconds": entry["milliseconds"] if size == main else np.nan,
                    "fit_milliseconds": entry["fit_milliseconds"] if size == main else np.nan,
                    "verdict": verdict(found),
                    "note": note(gram, entry, found),
                }
            )
    return rows


def of_variance(own: statistics.Spread, entry: dict[str, Any], spread, reference: str | None) -> dict[str, Estimate]:
    """The variance, as it is, as a multiple of the score function's, and times the time of an estimate.

    `entry` is that of probe.json, `reference` the name of the score function's estimates, None where it was not
    measured at the place; `spread` gives the spread of estimates by their name. A natural gradient has another scale
    than the plain one, so that its variance alone can be said.
    """
    variance = statistics.variance(own)
    if entry["truth"] == "natural":
        return {"variance": variance}
    ratio = statistics.variance_ratio(own, spread(reference)) if reference else Estimate()
    cost = Estimate(*(end * entry["milliseconds"] for end in (variance.value, variance.low, variance.high)))
    return {"variance": variance, "ratio": ratio, "cost": cost}


def is_plain(entry: dict[str, Any]) -> bool:
    """Whether an entry of probe.json is the score function with all its switches off."""
    return entry["estimator"] == SCORE_FUNCTION and not any(entry["settings"].values())


def text_of(values: dict[str, Any]) -> str:
    """Numbers or settings as they stand in a table: JSON with sorted keys."""
    return json.dumps(values, sort_keys=True)


def note(gram: np.ndarray, entry: dict[str, Any], found: dict[str, Estimate]) -> str | None:
    """The reasons, in words, why measures of an estimator are absent or unusual; None where there are none."""
    n, notes = len(gram), []
    if n < FEWEST_BATCHES:
        notes.append(f"fewer than {FEWEST_BATCHES} batches: no intervals")
    if zeros := int((np.diag(gram) <= 0).sum()):
        notes.append(f"{zeros} of {n} estimates are 0: their cosines count as 0")
    if not np.isfinite(found["true_cosine"].value):
        notes.append("the true gradient has no length to be compared with")
    if entry["truth"] == "natural":
        notes.append("another scale than the plain gradient’s: no ratio to the score function’s variance")
    elif "ratio" in found and not np.isfinite(found["ratio"].value):
        notes.append("the score function was not measured there: no ratio to it")
    return "; ".join(notes) or None


def at_main_size(estimators: pd.DataFrame) -> pd.DataFrame:
    """The rows at the main batch size of each problem."""
    return estimators[estimators["main"] == 1]


def parsed(table: pd.DataFrame, column: str) -> list[dict[str, Any]]:
    """The mappings in the column `numbers` or `settings` of the table, row by row."""
    return [json.loads(text) for text in table[column]]
