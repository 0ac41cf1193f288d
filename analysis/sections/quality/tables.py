"""results/<grid>/probes → how good gradient estimates are at frozen policies, and how good value functions.

Every number of pairs has its own estimates, and all value functions are measured on the same data. A cosine with the
reference is one with the mean over much other data: over all blocks but the estimate's own. In `true_cosine` the noise
that this mean still has is taken out. `ratio` is the variance as a multiple of that without a value function.
"""

from dataclasses import astuple
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from policy_gradient_ladder.experiments.metrics import FEWEST_BATCHES

from ...reading.probes import PROBE
from ...reading.qualities import Quality
from ...reading.tables import frame
from ...statistics import gradients as statistics
from ...statistics.blocks import reference_cosine, true_cosine
from ...statistics.gradients import Estimate

WITHOUT = "none"  # no value function: returns in place of advantages
ABOUT_VALUES = ("value_function", "against", "explained_variance", "relative_error", "rmse", "std", "steps")


def quality(qualities: list[tuple[dict[str, Any], Quality]]) -> pd.DataFrame:
    """The table `quality`: a row per probe, value function and number of pairs.

    `qualities` has for each probe its entry in grid.json and what was measured.
    """
    return frame([{**described(*found), **row} for found in qualities for row in quality_rows(found[1])], "quality")


def value_quality(qualities: list[tuple[dict[str, Any], Quality]]) -> pd.DataFrame:
    """The table `value_quality`: a row per probe, value function and what it is compared with; `qualities` as above."""
    return frame(
        [
            {**described(*found), **{key: value[key] for key in ABOUT_VALUES}}
            for found in qualities
            for value in found[1].about["values"]
        ],
        "value_quality",
    )


def described(asked: dict[str, Any], found: Quality) -> dict[str, Any]:
    """The columns about a probe: its keys, and the environment step of its policy."""
    return {**{name: asked[name] for name in PROBE}, "step": found.about["probe"]["step"]}


def quality_rows(found: Quality) -> list[dict[str, Any]]:
    """A row for every value function and number of pairs of a probe, without the columns about the probe."""
    about, arrays, rows = found.about, found.arrays, []
    for value_function in about["value_functions"]:
        blocks = arrays[f"{value_function}/blocks"]
        for pairs in about["pairs"]:
            name = f"{value_function}/{pairs}"
            gram, cross, own = arrays[name], arrays[f"{name}/blocks"], arrays[f"{name}/block"]
            spread = statistics.spread(gram, weights(len(gram)))
            measures = {
                "pairwise_cosine": statistics.pairwise_cosine(gram),
                "reference_cosine": reference_cosine(gram, cross, blocks, own),
                "true_cosine": true_cosine(gram, cross, blocks, own),
                "variance": statistics.variance(spread),
                "ratio": ratio(spread, arrays.get(f"{WITHOUT}/{pairs}")),
            }
            rows.append(
                {
                    "value_function": value_function,
                    "pairs": pairs,
                    "estimates": len(gram),
                    "blocks": about["blocks"],
                    "reference_pairs": about["reference_pairs"],
                    **{
                        f"{measure}{end}": value
                        for measure, of in measures.items()
                        for end, value in zip(("", "_low", "_high"), astuple(of), strict=True)
                    },
                    "note": note(gram, measures, about["blocks"]),
                }
            )
    return rows


@cache
def weights(n: int) -> np.ndarray:
    """The resampling weights for n estimates, computed once for each n."""
    return statistics.resampling_weights(n)


def ratio(of: statistics.Spread, without: np.ndarray | None) -> Estimate:
    """The variance over that without a value function, whose Gram matrix on the same data is `without` [n, n]; NaN
    where that was not measured.
    """
    if without is None:
        return Estimate()
    return statistics.variance_ratio(of, statistics.spread(without, weights(len(without))))


def note(gram: np.ndarray, measures: dict[str, Estimate], blocks: int) -> str | None:
    """The reasons, in words, why measures are absent or unusual; None where there are none.

    `gram` [n, n] has the inner products of the estimates, `measures` the measures by name.
    """
    n, notes = len(gram), []
    if n < FEWEST_BATCHES:
        notes.append(f"fewer than {FEWEST_BATCHES} estimates: no intervals of agreement and variance")
    if blocks < FEWEST_BATCHES:
        notes.append(f"fewer than {FEWEST_BATCHES} blocks: no intervals of cosines with the reference")
    if zeros := int((np.diag(gram) <= 0).sum()):
        notes.append(f"{zeros} of {n} estimates are 0: their cosines count as 0")
    if not np.isfinite(measures["true_cosine"].value):
        notes.append("the reference is not told from 0: no cosine without its noise")
    return "; ".join(notes) or None
