"""results/<grid>/probes → the gradient laboratory's tables, and what they say.

At the frozen policy of a probe every estimator was computed on the same batches. Each is compared at its own discount:
its variance with that of REINFORCE's Σ_t G_t ∇log π, its expectation with that of a reference that is unbiased. An
estimator whose advantages are normalised within a batch has another scale in every batch, so only what does not depend
on scale (cosines, signal-to-noise) is measured of it as it trains, and the rest of its raw advantages.
"""

from collections.abc import Iterable
from dataclasses import astuple
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from analysis.reading.grid import Grid
from analysis.reading.probes import Probe
from analysis.reading.tables import frame
from analysis.statistics import gradients as statistics
from analysis.statistics.gradients import Estimate
from analysis.words import short_name
from experiments.metrics import FEWEST_BATCHES

PROBE = ["task", "source", "seed", "fraction"]
DESCRIPTION = ("kind", "algorithm", "critic", "advantages", "gae_lambda", "gamma")
UNBIASED_WITHIN = 0.25  # of the true gradient's length: an interval from 0 that reaches further decides nothing
WITHOUT_BIAS = ("none", "exact", "compatible")  # critics with which no estimator is biased


def gradients(probes: list[tuple[dict[str, Any], Probe]]) -> pd.DataFrame:
    """A row per probe, estimator and batch size."""
    return frame([{**described(*found), **row} for found in probes for row in gradient_rows(found[1])], "gradients")


def critics(probes: list[tuple[dict[str, Any], Probe]]) -> pd.DataFrame:
    """A row per probe, critic and discount."""
    return frame([{**described(*found), **row} for found in probes for row in found[1].about["critics"]], "critics")


def described(asked: dict[str, Any], probe: Probe) -> dict[str, Any]:
    """Which probe a row is of, at which step of training, and whether on an exact problem."""
    about = {name: asked[name] for name in PROBE}
    return {**about, "step": probe.about["probe"]["step"], "exact": int(asked["exact"])}


def gradient_rows(probe: Probe) -> list[dict[str, Any]]:
    """Every estimator at every size it was measured at."""
    batches = {size["episodes"]: size["batches"] for size in probe.about["sizes"]}
    # The same gradient in expectation, from the most episodes and, among equals, the most pairs of batches.
    pool = max(batches, key=lambda size: (size * batches[size], batches[size]))

    @cache
    def spread(name: str) -> statistics.Spread:
        return statistics.spread(probe.grams[name], weights(len(probe.grams[name])))

    rows = []
    for estimator in probe.about["estimators"]:
        for size in estimator["sizes"]:
            name, references = estimator["id"], {use: estimator[f"{use}_reference"] for use in ("bias", "cosine")}
            cross = {use: probe.grams.get(f"{name}/{size}/{use}") for use in references}
            gram = probe.grams[f"{name}/{size}/self"]
            own = statistics.spread(gram, weights(len(gram)))
            found = of_any_scale(
                gram,
                cross["bias"] if cross["cosine"] is None else cross["cosine"],
                probe.grams[f"{references['cosine']}/{size}"],
                probe.grams[f"{references['cosine']}/{pool}"],
                statistics.variance(own),
            )
            if estimator["advantages"] == "raw":
                reference = spread(f"{estimator['variance_reference']}/{size}")
                found["variance"] = statistics.variance(own)
                found["ratio"] = statistics.variance_ratio(own, reference)
                found |= of_bias(gram, cross["bias"], probe.grams[f"{references['bias']}/{size}"])
            rows.append(
                {
                    "episodes": size,
                    "main": int(size == probe.about["batch_size"]),
                    "batches": batches[size],
                    "estimator": name,
                    **{key: estimator[key] for key in DESCRIPTION},
                    **{f"{measure}{end}": value for measure, of in found.items() for end, value in ends(of)},
                    "ceiling": statistics.ceiling(
                        *(probe.grams[f"{references['cosine']}/{batch}"] for batch in (size, pool))
                    ),
                    "expected": expectation(estimator, probe.about),
                    "verdict": verdict(found),
                    "note": note(gram, found),
                }
            )
    return rows


@cache
def weights(n: int) -> np.ndarray:
    return statistics.resampling_weights(n)


def of_any_scale(gram, cross, reference_gram, pool_gram, variance: Estimate) -> dict[str, Estimate]:
    """What a constant factor per batch leaves as it is."""
    return {
        "snr": statistics.signal_to_noise(gram, variance),
        "pairwise_cosine": statistics.pairwise_cosine(gram),
        "cosine": statistics.cosine(gram, cross, reference_gram),
        "true_cosine": statistics.true_cosine(gram, cross, pool_gram),
    }


def of_bias(gram, cross, reference_gram) -> dict[str, Estimate]:
    """The measures of bias, from Gram matrices [n, n] of an estimator and its reference."""
    difference = statistics.difference_gram(gram, cross, reference_gram)
    return {
        "reference_norm_squared": statistics.squared_norm(reference_gram),
        "bias_squared": statistics.squared_norm(difference),
        "relative_bias": statistics.relative_bias(difference, reference_gram),
    }


def ends(estimate: Estimate) -> Iterable[tuple[str, float]]:
    """The columns of a measure: its name alone, _low and _high."""
    return zip(("", "_low", "_high"), astuple(estimate), strict=True)


def verdict(found: dict[str, Estimate]) -> str | None:
    """biased, unbiased (within UNBIASED_WITHIN) or undecided; None where bias was not measured."""
    if "bias_squared" not in found:
        return None
    if found["bias_squared"].low > 0:
        return "biased"
    return "unbiased" if found["relative_bias"].high <= UNBIASED_WITHIN else "undecided"


def note(gram: np.ndarray, found: dict[str, Estimate]) -> str | None:
    """Why something is absent, or is what it is."""
    n, notes = len(gram), []
    if n < 2:
        return "one batch: nothing can be estimated"
    if n < FEWEST_BATCHES:
        notes.append(f"fewer than {FEWEST_BATCHES} batches: no intervals")
    if not np.isfinite(found["snr"].value):
        notes.append("does not vary: no signal-to-noise ratio")
    if zeros := int((np.diag(gram) <= 0).sum()):
        notes.append(f"{zeros} of {n} gradients are 0: their cosines count as 0")
    if not np.isfinite(found["true_cosine"].value):
        notes.append("the reference is not told from 0: no cosine with the true gradient")
    if "ratio" not in found:
        notes.append("normalised advantages: only what does not depend on their scale")
    else:
        if not np.isfinite(found["ratio"].value):
            notes.append("REINFORCE’s estimate does not vary: no ratio to it")
        if not np.isfinite(found["relative_bias"].value):
            notes.append("the reference’s length is too uncertain to be divided by: no relative bias")
        if found["bias_squared"] == Estimate(0.0, 0.0, 0.0):
            notes.append("the same as its reference")
    return "; ".join(notes) or None


def expectation(estimator: dict[str, Any], about: dict[str, Any]) -> str | None:
    """What theory says of the bias: unbiased, biased, or None where that depends on what is not known.

    Bias comes from bootstrapping on a critic that is neither right nor compatible; an episode of one step ends before
    there is anything to bootstrap from. Where no gradient is known exactly, theory is definite about Monte Carlo
    estimators alone: those that are held against REINFORCE itself.
    """
    if estimator["advantages"] != "raw":
        return None
    if not about["exact"]:
        return "unbiased" if estimator["bias_reference"] == estimator["variance_reference"] else None
    known = {"gae": estimator["gae_lambda"] != 1, "compatible": False}
    bootstraps = known.get(estimator["kind"], estimator.get("bootstraps"))
    if estimator["critic"] in WITHOUT_BIAS or about["episodes"]["mean_length"] == 1 or bootstraps is False:
        return "unbiased"
    return "biased" if bootstraps else None


def main_size(gradients: pd.DataFrame, *, exact: bool) -> pd.DataFrame:
    """Raw advantages at each probe's main batch size."""
    return gradients[(gradients["main"] == 1) & (gradients["exact"] == int(exact)) & (gradients["advantages"] == "raw")]


def as_trained(gradients: pd.DataFrame) -> pd.DataFrame:
    """Algorithms with the advantages they train with: normalised where there is that entry, else raw."""
    table = gradients[gradients["kind"] == "algorithm"]
    keys = [*PROBE, "episodes", "algorithm", "critic", "gamma"]
    normalized = table[table["advantages"] == "normalized"]
    replaced = pd.MultiIndex.from_frame(table[keys]).isin(pd.MultiIndex.from_frame(normalized[keys]))
    return table[(table["advantages"] == "normalized") | ~replaced]


def places(table: pd.DataFrame) -> list[tuple[str, str]]:
    """(task, source of its policies), in the table's order."""
    return list(table[["task", "source"]].drop_duplicates().itertuples(index=False, name=None))


def place_titles(grid: Grid, table: pd.DataFrame) -> dict[tuple[str, str], str]:
    """A place's title: its task, and whose policies it is about where a task has several."""
    found = places(table)
    several = {task for task, _ in found if sum(task == other for other, _ in found) > 1}
    return {
        (task, source): short_name(task) + (f" ({source_title(grid, source)})" if task in several else "")
        for task, source in found
    }


def source_title(grid: Grid, source: str) -> str:
    return f"policies of {grid.title(source)}" if source in grid.algorithms else source


CRITICS = {"trained": "critic as trained", "fitted": "fitted critic", "none": ""}


def estimator_title(grid: Grid, row: Any) -> str:
    """An estimator's name with its critic, from a row of the table."""
    if row["kind"] == "compatible":
        return "Compatible advantage"
    name = grid.title(row["algorithm"]) if row["kind"] == "algorithm" else f"GAE λ = {row['gae_lambda']:g}"
    critic = CRITICS.get(row["critic"], f"{row['critic']} critic")
    return f"{name}, {critic}" if critic else name
