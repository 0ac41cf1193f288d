"""results/<grid>/probes → the tables of the gradient laboratory.

At the frozen policy of a probe, every estimator was computed on the same batches, and at the same discount. Its
variance is compared with the variance of REINFORCE's Σ_t G_t ∇log π, and its expectation with that of an unbiased
reference. Where an algorithm normalises advantages within a batch, its gradient has another scale in every batch, as in
training. For normalised advantages only measures that do not depend on a common scale are given (cosines and the
signal-to-noise ratio); variance and bias are those of the algorithm's raw advantages.
"""

from collections.abc import Iterable
from dataclasses import astuple
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from policy_gradient_ladder.experiments.metrics import FEWEST_BATCHES

from ...reading.grid import Grid
from ...reading.probes import PROBE, Probe
from ...reading.tables import frame
from ...statistics import gradients as statistics
from ...statistics.gradients import Estimate
from ...words import short_name

DESCRIPTION = ("kind", "algorithm", "critic", "advantages", "gae_lambda", "gamma")  # columns about an estimator
UNBIASED_WITHIN = 0.25  # of the true gradient's length; "unbiased" needs an interval of the bias that ends within it
WITHOUT_BIAS = ("none", "exact", "compatible")  # critics with which no estimator is biased


def gradients(probes: list[tuple[dict[str, Any], Probe]]) -> pd.DataFrame:
    """The table `gradients`: a row per probe, estimator and batch size.

    `probes` has for each probe its entry in grid.json and what was measured.
    """
    return frame([{**described(*found), **row} for found in probes for row in gradient_rows(found[1])], "gradients")


def critics(probes: list[tuple[dict[str, Any], Probe]]) -> pd.DataFrame:
    """The table `critics`: a row per probe, critic and discount; `probes` as for `gradients`."""
    return frame([{**described(*found), **row} for found in probes for row in found[1].about["critics"]], "critics")


def described(asked: dict[str, Any], probe: Probe) -> dict[str, Any]:
    """The columns about a probe: its keys, the environment step of its policy, and whether its problem is exact."""
    about = {name: asked[name] for name in PROBE}
    return {**about, "step": probe.about["probe"]["step"], "exact": int(asked["exact"])}


def gradient_rows(probe: Probe) -> list[dict[str, Any]]:
    """A row for every estimator and batch size of a probe, without the columns about the probe."""
    batches = {size["episodes"]: size["batches"] for size in probe.about["sizes"]}
    # The batch size whose batches estimate the reference best: it has the most episodes and, among equals, batches.
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
    """The resampling weights for n batches, computed once for each n."""
    return statistics.resampling_weights(n)


def of_any_scale(gram, cross, reference_gram, pool_gram, variance: Estimate) -> dict[str, Estimate]:
    """The measures that do not change when the gradients of all batches are multiplied by one positive factor.

    `gram` [n, n] has the inner products of an estimator's gradients of n batches with each other, `cross` [n, n] those
    with the reference's gradients, `reference_gram` [n, n] those of the reference with each other. `pool_gram` [m, m]
    is `reference_gram` at the batch size that has the most episodes. `variance` is that of the estimator.
    """
    return {
        "snr": statistics.signal_to_noise(gram, variance),
        "pairwise_cosine": statistics.pairwise_cosine(gram),
        "cosine": statistics.cosine(gram, cross, reference_gram),
        "true_cosine": statistics.true_cosine(gram, cross, pool_gram),
    }


def of_bias(gram, cross, reference_gram) -> dict[str, Estimate]:
    """The measures of bias, from the inner products [n, n] of an estimator and its reference, as `of_any_scale`."""
    difference = statistics.difference_gram(gram, cross, reference_gram)
    return {
        "reference_norm_squared": statistics.squared_norm(reference_gram),
        "bias_squared": statistics.squared_norm(difference),
        "relative_bias": statistics.relative_bias(difference, reference_gram),
    }


def ends(estimate: Estimate) -> Iterable[tuple[str, float]]:
    """The value and the ends of a measure's interval, each with the ending of its column: "", "_low" and "_high"."""
    return zip(("", "_low", "_high"), astuple(estimate), strict=True)


def verdict(found: dict[str, Estimate]) -> str | None:
    """Whether an estimator is biased: "biased", "unbiased" (within UNBIASED_WITHIN) or "undecided".

    Returns None where the bias was not measured. `found` has the measures by name.
    """
    if "bias_squared" not in found:
        return None
    if found["bias_squared"].low > 0:
        return "biased"
    return "unbiased" if found["relative_bias"].high <= UNBIASED_WITHIN else "undecided"


def note(gram: np.ndarray, found: dict[str, Estimate]) -> str | None:
    """The reasons, in words, why measures of an estimator are absent or unusual; None where there are none.

    `gram` [n, n] has the inner products of the estimator's gradients, `found` the measures by name.
    """
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
    """What theory says about an estimator's bias: "unbiased", "biased", or None where theory cannot say.

    An estimator is biased where it bootstraps on a critic that is neither exact nor compatible. In an episode of one
    step no estimator bootstraps. Where the true gradient is not known exactly, theory decides only about Monte Carlo
    estimators, whose reference is REINFORCE itself. `about` is the content of `probe.json`.
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
    """The rows of `gradients` with raw advantages at each probe's main batch size, on exact problems or on others."""
    return gradients[(gradients["main"] == 1) & (gradients["exact"] == int(exact)) & (gradients["advantages"] == "raw")]


def as_trained(gradients: pd.DataFrame) -> pd.DataFrame:
    """The rows of algorithms with the advantages with which they train: normalised where such rows exist, else raw."""
    table = gradients[gradients["kind"] == "algorithm"]
    keys = [*PROBE, "episodes", "algorithm", "critic", "gamma"]
    normalized = table[table["advantages"] == "normalized"]
    replaced = pd.MultiIndex.from_frame(table[keys]).isin(pd.MultiIndex.from_frame(normalized[keys]))
    return table[(table["advantages"] == "normalized") | ~replaced]


def places(table: pd.DataFrame) -> list[tuple[str, str]]:
    """Every (task, source of its policies), in the table's order."""
    return list(table[["task", "source"]].drop_duplicates().itertuples(index=False, name=None))


def place_titles(grid: Grid, table: pd.DataFrame) -> dict[tuple[str, str], str]:
    """The title of every (task, source): the task, and the source where the task has several."""
    found = places(table)
    several = {task for task, _ in found if sum(task == other for other, _ in found) > 1}
    return {
        (task, source): short_name(task) + (f" ({source_title(grid, source)})" if task in several else "")
        for task, source in found
    }


def source_title(grid: Grid, source: str) -> str:
    """The source of frozen policies in words: the algorithm that trained them, or the source as it is."""
    return f"policies of {grid.title(source)}" if source in grid.algorithms else source


CRITICS = {"trained": "critic as trained", "fitted": "fitted critic", "none": ""}  # in words


def estimator_title(grid: Grid, row: Any) -> str:
    """An estimator's name with its critic, in words, from a row of the table `gradients`."""
    if row["kind"] == "compatible":
        return "Compatible advantage"
    name = grid.title(row["algorithm"]) if row["kind"] == "algorithm" else f"GAE λ = {row['gae_lambda']:g}"
    critic = CRITICS.get(row["critic"], f"{row['critic']} critic")
    return f"{name}, {critic}" if critic else name
