"""What the table of published scores says: sentences, and the rows that the page shows."""

from typing import Any

import pandas as pd

from ...lacking import mark
from ...reading.grid import Grid
from ...statistics import scores as statistics
from ...words import count, enumerate_text, interval, number, plural
from .tables import MARGIN

ABOUT = (
    "Are the implementations right, and are these good scores? Others have published scores of the same algorithms. "
    "Two scores can be compared only if they measure the same thing: the same version of a task, or one that hardly "
    "differs; the same number of steps; the same metric. Where they do, our score is computed by the published metric "
    "and stands beside theirs. Where they do not, there is no verdict, and the reason is given."
)
OF_VERDICTS = (
    "Ours: mean over runs by the published metric, with Student’s 95 % interval; a diverged run counts as the random "
    "score. Where the two sides have different settings, the verdict does not test the implementation."
)
VERDICTS = {"consistent": "consistent", "above": "ours above", "below": "ours below"}
BECAUSE = {  # why there is no verdict, as the end of "… because"
    "metric": "a maximum over training, or an unstated metric, is published",
    "entry": "what is published is not exact enough or of another estimator",
    "seeds": "the number of seeds is not published",
    "version": "the task has changed too much since",
    "task": "our task has a time limit of its own",
    "steps": "our runs have fewer steps, or were evaluated after more",
    "runs": "too few of our runs are there, or all have the same score",
}
SPREADS = {  # of the published ±
    "std": "std over seeds",
    "population_std": "std over seeds",
    "standard_error": "standard error",
    "interval": "half the 95 % interval",
    "std_of_episodes": "std of episodes",
}
NAMED = 6  # differing comparisons that are named in a sentence
MANY = 20  # verdicts, from which some are expected to be wrong by chance
LONGER = ("paper", "1M steps")  # the grid with budgets of published sizes, and what they go up to


def page(grid: Grid, published: pd.DataFrame, figures: dict[str, Any]) -> dict[str, Any]:
    """What the page shows of published scores; the figure only where there is a score to compare."""
    comparable, rest = split(published)
    return {
        "about": ABOUT,
        "of_verdicts": OF_VERDICTS,
        "sentences": sentences(grid, published),
        "figure": figures["published_scores"] if len(comparable) else None,
        "comparable": {task: [row_of(row) for row in rows] for task, rows in by_task(comparable)},
        "rest": {task: [row_of(row) for row in rows] for task, rows in by_task(rest)},
        "rest_total": len(rest),
        "sources": sources(published),
        "margin": MARGIN,
    }


def split(published: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The comparisons with a verdict, and those without."""
    without = published["verdict"] == "not comparable"
    return published[~without], published[without]


def by_task(published: pd.DataFrame) -> list[tuple[str, list[Any]]]:
    return [(task, list(rows.itertuples())) for task, rows in published.groupby("task", sort=False)]


def sentences(grid: Grid, published: pd.DataFrame) -> list[str]:
    """How much can be compared, what came of it, and what prevents the rest."""
    if published.empty:
        return ["No published score of these algorithms on these tasks is known to this project."]
    comparable, rest = split(published)
    said = [total(comparable, published)]
    if len(comparable):
        said += [by_settings(comparable), *differing(grid, comparable), width(comparable)]
    return [*said, *why_not(rest), *too_short(grid, rest), *unpublished(grid, published)]


def headline(published: pd.DataFrame) -> list[str]:
    """The one sentence for the top of the page; nothing where no score is known."""
    if published.empty:
        return []
    comparable, _ = split(published)
    measure = "measures" if len(comparable) == 1 else "measure"
    said = f"Of {plural(len(published), 'published score')}, {count(len(comparable))} {measure} the same as our runs"
    if comparable.empty:
        return [f"{said}."]
    return [f"{said}; of these, {verdict_counts(comparable)}{without_spread(comparable)}."]


def without_spread(comparable: pd.DataFrame) -> str:
    """How many comparisons are of runs that all have the same score on both sides, in brackets; or nothing."""
    same = int((comparable["difference_low"] == comparable["difference_high"]).sum())
    if not same:
        return ""
    which = "" if same == len(comparable) == 1 else "both " if same == len(comparable) == 2 else f"{same} "
    return f" ({which}with the same score in every run, as at a task’s maximum, which tests little)"


def total(comparable: pd.DataFrame, published: pd.DataFrame) -> str:
    """How many published scores there are, and how the comparable ones compare."""
    variants = published.duplicated(["task", "source", "reference", "published_task", "steps"]).any()
    note = ", counted once for each variant of the algorithm here" if variants else ""
    said = f"{count(len(published))} published scores are about an algorithm and a task of this grid{note}; "
    if comparable.empty:
        return f"{said}none of them measures something that our runs measure too."
    verb = "measures" if len(comparable) == 1 else "measure"
    return (
        f"{said}{count(len(comparable))} of them {verb} something that our runs measure too: "
        f"{verdict_counts(comparable)}."
    )


def verdict_counts(rows: pd.DataFrame) -> str:
    """3 consistent, 1 with ours above and 2 with ours below, without those that do not occur."""
    counts = rows["verdict"].value_counts()
    words = {"consistent": "consistent", "above": "with ours above", "below": "with ours below"}
    return enumerate_text(f"{counts[verdict]} {text}" for verdict, text in words.items() if verdict in counts)


def by_settings(comparable: pd.DataFrame) -> str:
    """Only with the same settings is a comparison a test of the implementation."""
    same = comparable[comparable["settings"] == "same"]
    others = comparable[comparable["settings"] != "same"]
    if same.empty:
        known = "In none of them are the settings" if len(others) > 1 else "The settings there are not"
        return (
            f"{known} known to be the same as ours. So this shows what other settings reach, and does not test the "
            f"implementation alone."
        )
    said = f"With the same settings on both sides, which tests the implementation: {verdict_counts(same)}"
    if limits := int((same["time_limits"] == "terminations").sum()):
        said += f" ({limits} of {len(same)} against runs that treat time limits as terminations)"
    if len(others):
        said += (
            f". With other or unknown settings, which shows only what other settings reach: {verdict_counts(others)}"
        )
    return f"{said}."


def differing(grid: Grid, comparable: pd.DataFrame) -> list[str]:
    """The comparisons that are not consistent, those with the same settings first."""
    said = []
    for verdict, words in (("below", "Ours below the published score"), ("above", "Ours above the published score")):
        rows = comparable[comparable["verdict"] == verdict]
        rows = rows.sort_values("settings", key=lambda kinds: kinds != "same", kind="stable")
        if len(rows):
            named = [
                f"{grid.title(row.algorithm)} on {row.task} ({number(row.ours)} against {number(row.published)}, "
                f"{row.source}{', same settings' if row.settings == 'same' else ''})"
                for row in rows.head(NAMED).itertuples()
            ]
            more = len(rows) - len(named)
            said.append(f"{words}: {enumerate_text([*named, *([f'{more} more in the table'] if more else [])])}.")
    return said


def width(comparable: pd.DataFrame) -> str:
    """What a verdict is worth."""
    if (comparable["difference_low"] == comparable["difference_high"]).all():
        return (
            "All runs compared here have the same score, as happens at a task’s maximum. Without a spread, a "
            "difference cannot be judged, so this says little."
        )
    half = ((comparable["normalized_difference_high"] - comparable["normalized_difference_low"]) / 2).median()
    median = "" if len(comparable) == 1 else "at the median "
    said = (
        f"Consistent does not mean equal: the interval of the difference reaches {median}± {100 * half:.0f} % of "
        f"the distance from the random to the reference score."
    )
    if len(comparable) >= MANY:
        chance = (1 - statistics.CONFIDENCE) * len(comparable)
        said += (
            f" Of {len(comparable)} such intervals, about {chance:.0f} would by chance show a difference where there "
            "is none."
        )
    return said


def why_not(rest: pd.DataFrame) -> list[str]:
    """Counts of what prevents a verdict, by the first reason of each."""
    if rest.empty:
        return []
    first = rest["because"].str.split(" ").str[0].value_counts()
    parts = [f"{first[kind]} because {words}" for kind, words in BECAUSE.items() if kind in first]
    return [f"No verdict for {count(len(rest))}: {enumerate_text(parts)}."]


def too_short(grid: Grid, rest: pd.DataFrame) -> list[str]:
    """What longer runs could be compared with; the other reasons no grid can mend."""
    short = rest[(rest["because"] == "steps") & (rest["budget"] < rest["steps"])]
    if short.empty:
        return []
    least = short.groupby("task", sort=False).agg(budget=("budget", "first"), steps=("steps", "min"))
    needed = enumerate_text(
        f"{row.Index} ({count(row.budget)} here, {count(row.steps)} there)" for row in least.itertuples()
    )
    said = f"{count(len(short))} differ only in the number of steps. The shortest are: {needed}."
    name, steps = LONGER
    if grid.name != name:
        said += f" The grid “{name}” goes up to {steps}, the most usual published size."
    return [said]


def unpublished(grid: Grid, published: pd.DataFrame) -> list[str]:
    names = [grid.title(name) for name in grid.algorithms if name not in set(published["algorithm"])]
    if not names:
        return []
    return [f"No published score on these tasks was found for {enumerate_text(names)}."]


def row_of(row: Any) -> dict[str, Any]:
    """A comparison as the page shows it."""
    return {
        "algorithm": row.algorithm,
        "source": row.source,
        "published_task": row.published_task,
        "steps": count(row.steps),
        "metric": row.metric_text,
        "ours": interval(row.ours, row.ours_low, row.ours_high),
        "n": f"{row.n}{f' of {row.requested}{mark(row)}' if row.n < row.requested else ''}",
        "published": number(row.published),
        "spread": spread_text(row),
        "difference": interval(row.difference, row.difference_low, row.difference_high),
        "method": text(row.method),
        "verdict": VERDICTS.get(row.verdict, row.verdict),
        "reason": text(row.reason),
        "differs": differs(row),
    }


def sources(published: pd.DataFrame) -> dict[str, list[str]]:
    """Who published → where exactly, each place once."""
    return {
        source: list(dict.fromkeys(references))
        for source, references in published.groupby("source", sort=True)["reference"]
    }


def spread_text(row: Any) -> list[str]:
    """± 46 (std over seeds) and n = 3, or what of it is published."""
    seeds = "seeds not given" if pd.isna(row.published_n) else f"n = {count(row.published_n)}"
    if pd.isna(row.published_spread):
        return [seeds]
    return [f"± {number(row.published_spread)} ({SPREADS[row.spread_kind]})", seeds]


def differs(row: Any) -> list[str]:
    """What is known to be another on the two sides: settings, version of the task, treatment of time limits."""
    settings = {"same": "settings as far as known the same", "unknown": "their settings are not known"}
    found = [settings.get(row.settings, text(row.differences))]
    if pd.notna(row.version_change):
        found.append(f"task {row.version_change}")
    if row.time_limits == "terminations":
        found.append("theirs treats time limits as terminations")
    return found


def text(value: Any) -> str:
    return "" if pd.isna(value) else value
