"""What the report says of a paper's table beside ours."""

from typing import Any

import numpy as np
import pandas as pd

from ...reading.grid import Grid
from ...words import enumerate_text, fixed, interval, plural

NO_VERDICT = (
    "The paper’s numbers get no verdict: they have no spread over seeds, and the paper’s runs differ from ours in what "
    "is listed below. What can be tested is the order within our own runs, and that is what claims are about."
)


def page(grid: Grid, paper_scores: pd.DataFrame, paper_scale: pd.DataFrame) -> dict[str, Any] | None:
    """What the page shows; None for a grid that repeats no table."""
    asked = grid.published_table
    if asked is None:
        return None
    counts = sorted({int(seeds) for seeds in paper_scores["seeds"]})
    return {
        "asked": asked,
        "sentences": [*sentences(grid, paper_scores), *without_scale(paper_scale)],
        "counts": counts,
        "rows": [row_of(grid, name, paper_scores, counts) for name in asked["scores"]],
        "scale": scale_rows(grid, paper_scale),
        "no_verdict": NO_VERDICT,
    }


def headline(grid: Grid, paper_scores: pd.DataFrame) -> list[str]:
    """The highest and the lowest of our numbers beside the paper's of the same; nothing where there are no two."""
    ours = all_seeds(paper_scores)
    if len(ours) < 2:
        return []
    best, worst = ours.loc[ours["score"].idxmax()], ours.loc[ours["score"].idxmin()]
    ends = [
        f"{grid.title(row['algorithm'])} ({fixed(row['score'])}; there {fixed(row['published'])})"
        for row in (best, worst)
    ]
    return [
        f"In the score of {grid.published_table['title']}, {ends[0]} is the highest of ours and {ends[1]} the lowest."
    ]


def all_seeds(paper_scores: pd.DataFrame) -> pd.DataFrame:
    """The rows over all seeds that have a score."""
    rows = paper_scores[paper_scores["seeds"] == paper_scores["seeds"].max()]
    return rows[rows["score"].notna()]


def sentences(grid: Grid, paper_scores: pd.DataFrame) -> list[str]:
    """How the score is made, what is lacking, and how the two orders compare."""
    asked = grid.published_table
    tasks = plural(len(grid.tasks), "task")
    said = [
        f"A run’s score is the mean return of its last {asked['last_episodes']} training episodes. On each task a "
        f"random policy has 0 and the best result 1, and the scores are averaged over {tasks} and the seeds: "
        f"{asked['seeds']} in the paper, the first {asked['seeds']} and all {len(grid.seeds)} here.",
        "“The best result” is taken to be the best single run on the task, because the paper speaks of the scores of "
        "runs; the last column of the table has the best algorithm’s mean in its place.",
    ]
    return [*said, *lacking(paper_scores), *of_the_lowest(grid, paper_scores), *of_the_order(paper_scores)]


def lacking(paper_scores: pd.DataFrame) -> list[str]:
    """How many runs are not there yet."""
    rows = paper_scores[paper_scores["seeds"] == paper_scores["seeds"].max()]
    n, requested = int(rows["n"].sum()), int(rows["requested"].sum())
    if n == requested:
        return []
    without = int(rows["score"].isna().sum())
    return [
        f"{n} of {requested} runs are there, and what is 1 on a task may still move. An algorithm without a run on one "
        f"of the tasks has no score yet: {without} of {len(rows)}."
    ]


def without_scale(paper_scale: pd.DataFrame) -> list[str]:
    """Where no run is above the random policy, so that nothing can be 1."""
    rows = paper_scale[paper_scale["seeds"] == paper_scale["seeds"].max()]
    tasks = [row.task for row in rows.itertuples() if row.best <= row.random]
    if not tasks:
        return []
    return [f"No run is above the random policy on {enumerate_text(tasks)}, so that there are no scores of ours."]


def of_the_lowest(grid: Grid, paper_scores: pd.DataFrame) -> list[str]:
    """On which task the lowest of our scores comes about."""
    ours = all_seeds(paper_scores)
    if ours.empty:
        return []
    row = ours.loc[ours["score"].idxmin()]
    return [
        f"{grid.title(row['algorithm'])}, the lowest of ours, does worst on {row['lowest_task']}, where its runs have "
        f"{fixed(row['lowest'])} in the mean."
    ]


def of_the_order(paper_scores: pd.DataFrame) -> list[str]:
    """The rank correlation of the paper's numbers and ours, which is no verdict."""
    ours = all_seeds(paper_scores)
    if len(ours) < 3:
        return []
    correlation = float(np.corrcoef(ours["score"].rank(), ours["published"].rank())[0, 1])
    return [
        f"The two orders of the {len(ours)} algorithms have a rank correlation (Spearman’s) of {fixed(correlation)}. "
        "It is no verdict: where algorithms differ by less than their intervals, other seeds may order them otherwise."
    ]


def row_of(grid: Grid, algorithm: str, paper_scores: pd.DataFrame, counts: list[int]) -> dict[str, Any]:
    """A row of the table: the paper's number, and ours for each number of seeds."""
    own = paper_scores[paper_scores["algorithm"] == algorithm].set_index("seeds")
    last = own.loc[counts[-1]]
    return {
        "algorithm": algorithm,
        "title": grid.title(algorithm),
        "published": fixed(last["published"]),
        "ours": [
            {
                "score": interval(*own.loc[count, ["score", "score_low", "score_high"]], fixed),
                "runs": f"{own.loc[count, 'n']:.0f} of {own.loc[count, 'requested']:.0f} runs",
            }
            for count in counts
        ],
        "by_mean": fixed(last["score_by_mean"]),
    }


def scale_rows(grid: Grid, paper_scale: pd.DataFrame) -> list[dict[str, Any]]:
    """What is 0 and what is 1 on each task, over all seeds."""
    rows = paper_scale[paper_scale["seeds"] == paper_scale["seeds"].max()]
    return [
        {
            "task": row.task,
            "random": row.random,
            "best": row.best,
            "whose": f"{grid.title(row.best_algorithm)}, seed {row.best_seed:.0f}",
        }
        for row in rows.itertuples()
    ]
