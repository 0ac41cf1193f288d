"""The tables of claims: the verdict of every claim and comparison, and what each task says by itself."""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from policy_gradient_ladder.experiments.metrics import QUALITY_METRICS

from ...reading.checks import ResultsError, valid_choices
from ...reading.grid import Grid
from ...reading.tables import frame
from ...words import enumerate_text
from .estimators import are_estimators, compare_estimators
from .evidence import enough_alone, missing_evidence
from .gradients import compare_gradients
from .quality import compare_quality
from .runs import compare_runs, run_values, with_change
from .sides import singles, titles
from .verdicts import (
    METRICS,
    TOO_LITTLE,
    UNDECIDED,
    UNTESTABLE,
    Place,
    Tested,
    ends,
    judge,
    left_out,
    region,
    shown,
    verdict_of,
    verdict_of_all,
)


class Measured(NamedTuple):
    """What comparisons are tested on, a table for each kind of them."""

    runs: pd.DataFrame  # what `run_values` returns
    robustness: pd.DataFrame  # the table of that name
    gradients: pd.DataFrame  # likewise
    estimators: pd.DataFrame  # likewise
    quality: pd.DataFrame  # likewise
    value_quality: pd.DataFrame  # likewise


def judged(
    grid: Grid,
    scores: pd.DataFrame,
    curves: pd.DataFrame,
    discoveries: pd.DataFrame,
    robustness: pd.DataFrame,
    gradients: pd.DataFrame,
    estimators: pd.DataFrame,
    quality: pd.DataFrame,
    value_quality: pd.DataFrame,
    true_curves: pd.DataFrame,
) -> list[tuple[dict[str, Any], list[Tested]]]:
    """Test the claims of the grid: every claim with its tested comparisons.

    All but `grid` are the tables of these names. Raises ResultsError for an unknown metric.
    """
    check_metrics(grid)
    of_runs = run_values(grid, scores, curves, discoveries, true_curves)
    measured = Measured(of_runs, robustness, gradients, estimators, quality, value_quality)
    return [
        (claim, [compare(grid, comparison, measured) for comparison in claim["comparisons"]]) for claim in grid.claims
    ]


def claims(judged: list[tuple[dict[str, Any], list[Tested]]]) -> pd.DataFrame:
    """The table `claims`: a row per claim and comparison."""
    rows = []
    for claim, tested in judged:
        verdict = verdict_of_all([found.verdict for found in tested], claim["rule"])
        about = {name: claim[name] for name in ("statement", "source", "rule")}
        rows += [
            {"claim": claim["id"], "comparison": number, **about, "claim_verdict": verdict, **comparison_row(found)}
            for number, found in enumerate(tested, start=1)
        ]
    return frame(rows, "claims")


def claim_tasks(judged: list[tuple[dict[str, Any], list[Tested]]]) -> pd.DataFrame:
    """The table `claim_tasks`: a row per claim, comparison and task."""
    rows = [
        {"claim": claim["id"], "comparison": number, **place_row(found, place)}
        for claim, tested in judged
        for number, found in enumerate(tested, start=1)
        for place in found.places
    ]
    return frame(rows, "claim_tasks")


def check_metrics(grid: Grid) -> None:
    """Raise ResultsError where a claim of the grid has an unknown metric."""
    for claim in grid.claims:
        for number, comparison in enumerate(claim["comparisons"], start=1):
            if comparison["metric"] not in METRICS:
                raise ResultsError(
                    f"{grid.folder / 'grid.json'}: comparison {number} of claim {claim['id']} has the metric "
                    f"{comparison['metric']!r}; valid are {valid_choices(comparison['metric'], METRICS)}."
                )


def comparison_row(found: Tested) -> dict[str, Any]:
    """The columns about a comparison: its question, its effect and its verdict, without the keys of the table."""
    low, high = region(found.comparison, found.metric)
    counts = [sum(counts) for counts in zip(*(place.n for place in found.present), strict=True)] or [0, 0]
    policies = [shown(policy, found).value for place in found.present for policy in place.policies]
    furthest = [place.task for place in found.present if place.effect is found.effect]
    return {
        **{name: found.comparison[name] for name in ("metric", "direction", "smallest_effect")},
        **dict(zip(("first", "second"), found.sides, strict=False)),
        "scale": "ratio" if found.metric.ratio else "difference",
        "claimed_low": low if np.isfinite(low) else np.nan,
        "claimed_high": high if np.isfinite(high) else np.nan,
        **ends(shown(found.effect, found)),
        "furthest": furthest[0] if furthest and len(found.present) > 1 else None,
        "least": min(policies, default=np.nan),
        "most": max(policies, default=np.nan),
        "tasks": len(found.present),
        "unit": "runs" if found.metric.of_runs else "places" if are_estimators(found.comparison) else "policies",
        **dict(zip(("n_first", "n_second"), counts, strict=False)),
        "asked": np.nan if found.metric.of_runs else sum(place.asked for place in found.places),
        "verdict": found.verdict,
        "reason": found.reason or None,
        "against": " ".join(found.against) or None,
        "rests_on": " ".join(found.rests_on) or None,
        "left_out": left_out([place for place in found.places if place.effect is None]) if found.present else None,
        "figure": found.figure,
    }


def place_row(found: Tested, place: Place) -> dict[str, Any]:
    """The columns about a comparison on one task, without the keys of the table.

    The verdict is that of the interval on this task alone, if that has enough evidence by itself.
    """
    row = {"task": place.task, "note": place.note or None}
    if place.lacking:
        return {**row, "verdict": UNTESTABLE}
    if place.effect is None:
        return {**row, "verdict": UNDECIDED if enough_alone(place) else TOO_LITTLE}
    effect = shown(place.effect, found)
    counts = dict(zip(("n_first", "n_second"), place.n, strict=False))
    verdict = verdict_of(effect, *region(found.comparison, found.metric)) if place.decides else UNDECIDED
    verdict = verdict if enough_alone(place) else TOO_LITTLE
    without = ends(shown(found.without[place.task], found), "without") if place.task in found.without else {}
    return {**row, **ends(effect), **without, **counts, "verdict": verdict}


def compare(grid: Grid, comparison: dict[str, Any], measured: Measured) -> Tested:
    """Test one comparison on what has been measured."""
    named = [side["algorithm"] for side in singles(comparison)]
    absent = list(dict.fromkeys(name for name in named if name is not None and name not in grid.algorithms))
    if absent:
        several = "s" if len(absent) > 1 else ""
        return Tested(
            comparison, titles(grid, comparison), reason=f"the grid has no algorithm{several} {enumerate_text(absent)}"
        )
    if are_estimators(comparison):
        found = compare_estimators(grid, comparison, measured.estimators)
    elif METRICS[comparison["metric"]].of_runs:
        found = compare_runs(grid, comparison, with_change(comparison, measured.runs, measured.robustness))
    elif comparison["metric"] in QUALITY_METRICS:
        of_values = comparison["metric"] == "value_error"
        found = compare_quality(grid, comparison, measured.value_quality if of_values else measured.quality)
    else:
        found = compare_gradients(grid, comparison, measured.gradients)
    judge(found)
    if found.verdict != UNTESTABLE and (missing := missing_evidence(found)):
        return replace(found, verdict=TOO_LITTLE, reason=missing, against=[], rests_on=[], without={})
    return found
