"""The results for machines: results/<grid>/report/summary.json.

Rows are objects whose keys are the columns of the table that they come from, so a row means here what it means there.
An estimate `x` has its 95 % interval in `x_low` and `x_high`; where the row is about one quantity, in `low` and `high`.

    schema         1; a key that is removed or changes its meaning raises it, a further key does not
    grid           name, description, grid_file, seeds; tasks: each with its budget `steps`, the constants of its
                   normalised score (random_score, reference_score), threshold (null: none) and preprocessing;
                   algorithms: each with title, equation, summary
    headline       what came out, in one sentence
    completeness   how many runs were requested, and are done, diverged, stopped by their task, failed, missing; cells:
                   those that are not done
    claims         verdict on each; comparisons: metric, effect with interval, what was claimed (claimed_low to
                   claimed_high, null: without end), n_first and n_second runs or frozen policies (of as many as
                   asked), verdict, reason; of equality the effect that is furthest off; by_task: the same on each task
                   by itself, and without: the effect over all others
    ranking        aggregate: normalised scores over all tasks, per measure (score: the final one; auc) and algorithm;
                   pairs: difference of the means of two algorithms, over all tasks and on each, p of Welch's test,
                   p_adjusted by Holm's procedure, verdict on the first of the two, seeds_needed to decide an undecided
                   pair, or null with seeds_needed_more_than; over all tasks also rests_on, the single tasks without
                   which the verdict would not stand ("; " between them), the difference_without the first of them, and
                   p_permutation of a second test; improvement: probability that a run of the first is better
    scores         per task and algorithm over its n runs: final score (mean, iqm, std, min, max), auc, how many reached
                   the threshold and their median_steps_to_threshold; runs: each with its seed and scores
    published      every published score (steps, metric, published_n seeds) beside ours by the same metric; verdict:
                   consistent, above (ours is), below or not comparable, because of what, and the reason in words
    tuning         per algorithm and group of tasks: the winner's score on tuning seeds, tuned and untuned settings on
                   fresh seeds, shrinkage, p, p_adjusted by Holm's procedure, verdict, and what tuning cost
    laboratory     per frozen policy, at the main batch size and before any normalisation of advantages: estimators with
                   their variance as a ratio to REINFORCE's, relative_bias in lengths of the true gradient, verdict
    provenance     versions, commits, machines: each value with the number of runs that have it
    missing        only where something could not be made: a sentence for every reason; what it would have given is null

Numbers are numbers, flags are true or false, and what does not exist (an interval of a single run, a threshold never
reached) is null. Equal tables give equal bytes.
"""

import json
import sys
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd

from .headline import headline
from .making import Maker
from .problems import Missing
from .reading.jobs import STATES
from .reading.probes import PROBE
from .sections import SectionError
from .statistics.comparison import MOST_SEEDS

SCHEMA = 1
COUNTS = ("n_first", "n_second", "asked", "published_n", "seeds_needed")  # floats in a table where some are missing
CLAIM = ("claim", "statement", "source", "rule", "claim_verdict")  # what every comparison of a claim repeats
OF_A_PROBE = (*PROBE, "step", "exact", "episodes", "batches")
OF_AN_ESTIMATOR = (
    *("estimator", "kind", "algorithm", "critic", "gae_lambda", "gamma", "ratio", "ratio_low", "ratio_high"),
    *("relative_bias", "relative_bias_low", "relative_bias_high", "expected", "verdict", "note"),
)
OF_A_RUN = (
    *("seed", "status", "score", "mode_score", "normalized", "normalized_mode", "auc", "normalized_auc"),
    *("steps_to_threshold", "reached", "steps_taken", "steps_per_second", "seconds_total", "peak_memory_mb"),
)
OF_PUBLISHED = (
    *("task", "algorithm", "requested", "n", "source", "reference", "published_task", "steps", "metric"),
    *("ours", "ours_low", "ours_high", "published_n", "published", "published_low", "published_high"),
    *("difference", "difference_low", "difference_high", "method", "verdict", "because", "reason", "settings"),
)


def summary_json(maker: Maker, missing: Missing | None = None) -> str:
    """The summary as strict JSON text, with one key or value on a line."""
    return json.dumps(summary(maker, missing), ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def summary(maker: Maker, missing: Missing | None = None) -> dict[str, Any]:
    """What the tables say, as objects, lists, texts and finite numbers, from a maker that knows the grid and reads
    tables. A part whose tables could not be made is null; that and what is `missing` on the page is said beside it.
    """
    missing = missing or Missing()
    parts = {name: part(name, function, maker, missing) for name, function in PARTS.items()}
    grid = maker.known["grid"]
    content = {
        "schema": SCHEMA,
        "grid": {
            "name": grid.name,
            "description": grid.description,
            "grid_file": grid.grid_file,
            "seeds": grid.seeds,
            "tasks": [{"task": task, **values} for task, values in grid.tasks.items()],
            "algorithms": [{"algorithm": name, **values} for name, values in grid.algorithms.items()],
        },
        "headline": parts["headline"],
        "completeness": parts["completeness"],
        "claims": parts["claims"],
        "ranking": {name: parts[name] for name in ("aggregate", "pairs", "improvement")},
        **{name: parts[name] for name in ("scores", "published", "tuning", "laboratory", "provenance")},
    }
    return finite(content | ({"missing": missing.sentences()} if missing.found else {}))


def part(name: str, function: Callable[..., Any], maker: Maker, missing: Missing) -> Any:
    """A part of the summary; None, noted in `missing`, where a table that it is made from could not be made."""
    try:
        return maker.call(function, sys.modules[__name__])
    except SectionError as error:
        missing.add("", f"{name} in summary.json", str(error))
        return None


def aggregate(aggregate: pd.DataFrame) -> list[dict[str, Any]]:
    return rows(aggregate)


def pairs(pairs: pd.DataFrame) -> list[dict[str, Any]]:
    return [pair(row) for row in rows(pairs)]


def improvement(improvement: pd.DataFrame) -> list[dict[str, Any]]:
    return rows(improvement)


def published(published: pd.DataFrame) -> list[dict[str, Any]]:
    return rows(published, OF_PUBLISHED)


def tuning(shrinkage: pd.DataFrame) -> list[dict[str, Any]]:
    return rows(shrinkage)


def completeness(ledger: pd.DataFrame) -> dict[str, Any]:
    """How many runs there are of each state, and the cells that are not done."""
    counts = ledger["state"].value_counts()
    absent = ledger[ledger["state"] != "done"]
    return {
        "requested": len(ledger),
        **{state: int(counts.get(state, 0)) for state in STATES},
        "cells": rows(absent, ("task", "algorithm", "seed", "state", "note")),
    }


def claims(claims: pd.DataFrame, claim_tasks: pd.DataFrame) -> list[dict[str, Any]]:
    """Every claim with its verdict and comparisons."""
    found = []
    for name, own in claims.groupby("claim", sort=False):
        about = own.iloc[0]
        at = claim_tasks[claim_tasks["claim"] == name]
        comparisons = [
            {**row, "by_task": rows(at[at["comparison"] == row["comparison"]], without(at, "claim", "comparison"))}
            for row in rows(own, without(own, *CLAIM))
        ]
        texts = {"id": name, **{key: about[key] for key in ("statement", "source", "rule")}}
        found.append({**texts, "verdict": about["claim_verdict"], "comparisons": comparisons})
    return found


def pair(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the table of pairs. seeds_needed is infinite there above MOST_SEEDS, and JSON has no infinity."""
    many = row["seeds_needed"] is not None and np.isinf(row["seeds_needed"])
    return {**row, "seeds_needed_more_than": MOST_SEEDS if many else None}


def scores(summary: pd.DataFrame, scores: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of the table summary, each with its runs from the table scores."""
    by_cell = {names: rows(own, OF_A_RUN, flags=["reached"]) for names, own in scores.groupby(["task", "algorithm"])}
    return [{**row, "runs": by_cell.get((row["task"], row["algorithm"]), [])} for row in rows(summary)]


def laboratory(gradients: pd.DataFrame) -> list[dict[str, Any]]:
    """Every probe with its estimators, at the main batch size and with raw advantages."""
    main = gradients[(gradients["main"] == 1) & (gradients["advantages"] == "raw")]
    return [
        {**rows(own.head(1), OF_A_PROBE, flags=["exact"])[0], "estimators": rows(own, OF_AN_ESTIMATOR)}
        for _, own in main.groupby(PROBE, sort=False)
    ]


def provenance(provenance: pd.DataFrame) -> dict[str, Any]:
    """Versions, commits and machines, each value with its number of runs."""
    return {
        f"{kind}s": rows(provenance[provenance["kind"] == kind], ("name", "value", "runs"))
        for kind in ("version", "commit", "machine")
    }


PARTS = {  # by name: what makes it, of the tables that its parameters name
    made.__name__: made
    for made in (
        headline,
        completeness,
        claims,
        aggregate,
        pairs,
        improvement,
        scores,
        published,
        tuning,
        laboratory,
        provenance,
    )
}


def rows(table: pd.DataFrame, columns: Iterable[str] | None = None, flags: Iterable[str] = ()) -> list[dict[str, Any]]:
    """The table's rows as objects with these columns, all if None; `flags` are columns of 0 and 1."""
    columns = list(table.columns if columns is None else columns)
    kinds = {**dict.fromkeys(COUNTS, count), **dict.fromkeys(flags, bool)}
    return [
        {
            name: None if pd.isna(value) else kinds[name](value) if name in kinds else value
            for name, value in zip(columns, row, strict=True)
        }
        for row in table[columns].itertuples(index=False, name=None)
    ]


def count(value: float) -> float:
    """A number of things as an integer; infinity stays."""
    return int(value) if np.isfinite(value) else value


def without(table: pd.DataFrame, *columns: str) -> list[str]:
    """The names of all other columns."""
    return [name for name in table.columns if name not in columns]


def finite(value: Any) -> Any:
    """The value with None in place of every number that JSON lacks: NaN and the infinities."""
    if isinstance(value, dict):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
