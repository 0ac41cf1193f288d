"""What the page says of the quality of gradient estimates: a sentence for every figure, the verdicts, and numbers."""

from typing import Any

import pandas as pd

from policy_gradient_ladder.experiments.metrics import FEWEST_BATCHES

from ...reading.grid import Grid
from ...statistics.gradients import BATCH_RESAMPLES
from ...words import enumerate_text, fixed, interval, percents, plural
from ..claims.sentences import badge
from ..laboratory.tables import place_titles
from .figures import nearest_pairs
from .words import PAPERS_PAIRS, TARGETS, VALUE_FUNCTIONS

NONE_THERE = "None of the {} requested probes is there, so there is nothing to show."
ABOUT = (
    "A policy-gradient algorithm moves along an estimate of the gradient. Ilyas et al. (2020) asked how good the "
    "estimates of PPO and TRPO are, with as many state–action pairs as they use. Here their study is made anew."
)
MEASURED = {
    "Pairs": (
        "A policy is frozen: it is kept as it was at some point of training. Much data is drawn from it with as many "
        "environments as in training, and cut into blocks. An estimate is the algorithm’s own gradient on so many "
        f"state–action pairs. {PAPERS_PAIRS:,} pairs are what the paper calls usual (the vertical lines of its "
        "figures 1 and 2)."
    ),
    "Agreement": (
        "The mean cosine between two estimates from different data. 1: they are the same direction. 0: they have "
        "nothing in common, as if each were noise. Two estimates whose cosine with the true gradient is c each have "
        "a cosine of about c² with each other."
    ),
    "Reference": (
        "The mean gradient of all other blocks, which stands for the true gradient. An estimate is never part of its "
        "reference. In the column “noise taken out”, the noise that the reference still has is removed: the products "
        "of different blocks give the length of the true gradient."
    ),
    "Value functions": (
        "The one “as trained” belongs to the frozen policy. The “fitted” one was fitted to the returns of separate "
        "episodes of that policy, and stands for the true one. It has far fewer pairs than the paper’s true value "
        "function (5,000,000), so it may fall short of it. With “none”, the discounted return takes the "
        "place of the advantage, as in the paper. All are measured on the same data. "
        "Advantages bootstrap on the value function where λ is below 1, so it also changes the mean of the estimates "
        "and its length. A cosine does not depend on length, a variance does."
    ),
    "Error of a value function": (
        "The mean distance from a target, as a share of the mean size of the target. One target is what the algorithm "
        "trains it on: advantage plus value, in which the value function itself bootstraps. The other is the true "
        "discounted return, where so much of the episode is known that the rest is discounted to 1 % or less."
    ),
    "Intervals": (
        "95 % intervals over the estimates (agreement and variance; bootstrap-t on the scale of the logarithm with "
        f"{BATCH_RESAMPLES:,} resamples for the variance) or over the blocks (cosines with the reference; "
        "delete-one-block jackknife; neighbouring blocks share an episode and are treated as independent). With fewer "
        f"than {FEWEST_BATCHES} of them there is none. In simulations they cover the truth in 87 to 99 % of cases, "
        "the fewest where the estimates are almost parallel. Errors of value functions have no interval at a single "
        "policy."
    ),
    "What is ours": (
        "The paper’s tasks are of another version (v2), its runs are longer, and its figures 1 and 2 are of Humanoid; "
        "those of Hopper and Walker2d are in its appendix. Its error of a value function is a mean of relative errors; "
        "ours is a ratio of means, so that a target near 0 does not decide it. The paper shows curves and names no "
        "number below which estimates count as poor: the numbers that the claims need are ours, chosen before any of "
        "our runs."
    ),
}


def page(grid: Grid, quality: pd.DataFrame, value_quality: pd.DataFrame, claims: pd.DataFrame) -> dict[str, Any] | None:
    """What the section shows; None for a grid that asks for no such probes, `nothing` alone where none is there."""
    if not grid.quality_probes:
        return None
    if quality.empty:
        return {"nothing": NONE_THERE.format(len(grid.quality_probes))}
    sentences = findings(quality, value_quality)
    return {
        "nothing": "",
        "about": f"{ABOUT} {policies_text(grid, quality)}",
        "measured": MEASURED,
        "findings": [
            {"figure": name, "sentence": said, "verdicts": verdicts(claims, name)} for name, said in sentences.items()
        ],
        "places": number_rows(grid, quality),
        "values": value_rows(grid, value_quality),
    }


def findings(quality: pd.DataFrame, value_quality: pd.DataFrame) -> dict[str, str]:
    """Figure → what it shows, in one sentence."""
    trained = quality[quality["value_function"] == "trained"]
    few, many = nearest_pairs(quality["pairs"]), int(quality["pairs"].max())
    usual, most = trained[trained["pairs"] == few], trained[trained["pairs"] == many]
    more = f"; from {many:,} pairs {{}}" if many > few else ""
    others = plural(int(quality["reference_pairs"].max()), "other pair")
    return {
        "quality_agreement": (
            f"Two estimates from {few:,} state–action pairs have a cosine of {median(usual, 'pairwise_cosine')}"
            f"{more.format(median(most, 'pairwise_cosine'))}."
        ),
        "quality_reference": (
            f"An estimate from {few:,} pairs and the mean gradient of {others} have a cosine of "
            f"{median(usual, 'reference_cosine')}{more.format(median(most, 'reference_cosine'))}."
        ),
        "quality_training": (
            f"Along training, the cosine between two estimates from {few:,} pairs is "
            + enumerate_text(
                f"{fixed(of['pairwise_cosine'].median())} at {percents(fraction)}"
                for fraction, of in usual.groupby("fraction")
            )
            + " (medians over policies)."
        ),
        "quality_baselines": (
            f"Two estimates from {few:,} pairs have a cosine of "
            + enumerate_text(
                f"{fixed(of['pairwise_cosine'].median())} with {with_text(name)}"
                for name, of in quality[quality["pairs"] == few].groupby("value_function", sort=False)
            )
            + " (medians over policies)."
        ),
        "quality_variance": variance_sentence(quality[(quality["pairs"] == few) & quality["ratio"].notna()]),
        "quality_values": values_sentence(value_quality),
    }


def variance_sentence(table: pd.DataFrame) -> str:
    """What value functions leave of the variance of estimates; empty where that was not measured."""
    left = [
        f"{the(name)} leaves {percents(of['ratio'].median())} "
        f"({percents(of['ratio'].min())} to {percents(of['ratio'].max())})"
        for name, of in table.groupby("value_function", sort=False)
        if name != "none"
    ]
    if not left:
        return ""
    said = enumerate_text(left)
    pairs = int(table["pairs"].iloc[0])
    return f"Of the variance of estimates from {pairs:,} pairs, {said} (median and range over policies)."


def values_sentence(value_quality: pd.DataFrame) -> str:
    """How far the value function as trained is off, after the start of training; empty where that is not known."""
    table = value_quality[(value_quality["value_function"] == "trained") & (value_quality["fraction"] > 0)]
    errors = table.dropna(subset=["relative_error"]).groupby("against", sort=False)["relative_error"].median()
    if errors.empty:
        return ""
    off = enumerate_text(f"{percents(error)} from {TARGETS[against]}" for against, error in errors.items())
    return f"The value function as trained is off by {off} (medians over policies, after the start of training)."


def the(value_function: str) -> str:
    """A value function as the subject of a clause."""
    return f"the {VALUE_FUNCTIONS[value_function]}"


def with_text(value_function: str) -> str:
    """A value function behind "with": the value function as trained; no value function."""
    return "no value function" if value_function == "none" else the(value_function)


def median(table: pd.DataFrame, measure: str) -> str:
    """The median of a measure over policies, and its range: 0.12 (median of 36 policies; 0.03 to 0.40)."""
    values = table[measure].dropna()
    if len(values) < 2:
        return fixed(values.median())
    return (
        f"{fixed(values.median())} (median of {len(values)} policies; {fixed(values.min())} to {fixed(values.max())})"
    )


def verdicts(claims: pd.DataFrame, figure: str) -> list[dict[str, Any]]:
    """The claims that a figure shows, with their verdicts, from the table `claims`."""
    of = claims[claims["figure"] == figure].drop_duplicates("claim")
    return [
        {"claim": row["claim"], "statement": row["statement"], "badge": badge(row["claim_verdict"])}
        for _, row in of.iterrows()
    ]


def policies_text(grid: Grid, quality: pd.DataFrame) -> str:
    """Of how many policies, from how many runs of which algorithms, there are measurements, and of how many asked."""
    probes = quality[["task", "source", "seed", "fraction"]].drop_duplicates()
    runs = probes[["task", "source", "seed"]].drop_duplicates()
    titles = enumerate_text(
        f"{grid.title(source) if source in grid.algorithms else source} on "
        f"{plural(of['task'].nunique(), 'task')} ({plural(len(of), 'run')})"
        for source, of in runs.groupby("source", sort=False)
    )
    asked = len(grid.quality_probes)
    of_asked = f" of {asked}" if len(probes) < asked else ""
    return f"{plural(len(probes), 'frozen policy').replace('policys', 'policies')}{of_asked}: {titles}."


def number_rows(grid: Grid, quality: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Task, with the source of its policies → a row per policy and number of pairs."""
    titles, found = place_titles(grid, quality), {}
    left = quality.pivot_table(
        index=["task", "source", "seed", "fraction", "pairs"], columns="value_function", values="ratio", sort=False
    )
    for _, row in quality[quality["value_function"] == "trained"].iterrows():
        key = tuple(row[name] for name in ("task", "source", "seed", "fraction", "pairs"))
        ratios = left.loc[key] if key in left.index else {}
        entry = {
            "fraction": percents(row["fraction"]),
            "seed": row["seed"],
            "pairs": row["pairs"],
            "estimates": row["estimates"],
            **{
                name: interval(row[name], row[f"{name}_low"], row[f"{name}_high"], fixed)
                for name in ("pairwise_cosine", "reference_cosine", "true_cosine")
            },
            **{name: percents(ratios.get(name, float("nan"))) for name in ("trained", "fitted")},
        }
        found.setdefault(titles[row["task"], row["source"]], []).append(entry)
    return found


def value_rows(grid: Grid, value_quality: pd.DataFrame) -> list[dict[str, Any]]:
    """A row per policy, value function and target."""
    titles = place_titles(grid, value_quality)
    return [
        {
            "place": titles[row["task"], row["source"]],
            "fraction": percents(row["fraction"]),
            "seed": row["seed"],
            "value_function": VALUE_FUNCTIONS[row["value_function"]],
            "against": TARGETS[row["against"]],
            "error": percents(row["relative_error"]),
            "explained": fixed(row["explained_variance"]),
        }
        for _, row in value_quality.iterrows()
    ]


def sample_text(figure: str, quality: pd.DataFrame) -> str:
    """n of a figure: the estimates of each number of pairs; a figure of value functions has none."""
    if figure == "quality_values" or quality.empty:
        return ""
    sizes = quality.groupby("pairs")["estimates"].min()
    if sizes.min() == sizes.max():
        return f"n = {plural(int(sizes.max()), 'estimate')} of each number of pairs per frozen policy."
    return f"n = {sizes.min()} to {sizes.max()} estimates of each number of pairs per frozen policy."
