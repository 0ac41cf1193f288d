"""The headline of a grid's results: one sentence, the first of the page, of the terminal and of summary.json."""

from typing import Any

import numpy as np
import pandas as pd

from .reading.grid import Grid
from .sections.ranking.tables import ALL_TASKS
from .statistics.scores import CONFIDENCE
from .words import count, enumerate_text, fixed, interval, number, plural

CONFIRMED_BELOW = 3  # seeds: of fewer, a verdict counts only where a permutation test confirms it
MOST_NAMED = 3  # algorithms whose tasks are counted by name; one more where it is the last one
OPPOSITE = {"better": "worse", "worse": "better"}  # a verdict on a pair, seen from the other side


def headline(grid: Grid, summary: pd.DataFrame, aggregate: pd.DataFrame, pairs: pd.DataFrame) -> str:
    """What came out, in one sentence: who ended highest on how many tasks, and how far that is more than chance.

    An algorithm ends highest on a task by the mean of its runs' final scores. Only tasks on which two algorithms have
    runs are counted, and only those on which some run did not end early.
    """
    present = summary[summary["n"] > 0]
    if present.empty:
        asked = int(summary["requested"].sum())
        return f"No run has finished yet: none of the {count(asked)} runs that the grid asks for has a result."
    early, finished = (int(present[["diverged", "stopped"]].to_numpy().sum()), int(present["n"].sum()))
    if early == finished:
        return f"{where(summary, present)}, every run diverged or was stopped by its task: there is nothing to rank."
    if present["algorithm"].nunique() == 1:
        return f"{where(summary, present)}, {of_one(grid, present, aggregate)}."
    best = best_of_tasks(present)
    if not best:
        return f"{where(summary, present)}, {of_none(summary)}."
    first = ranked(best)
    said = of_one_task(grid, present, best) if present["task"].nunique() == 1 else of_tasks(grid, present, best, first)
    return f"{where(summary, present)}, {said}; {settled(grid, present, pairs, first)}."


def of_none(summary: pd.DataFrame) -> str:
    """Why no task has a highest algorithm: the others' runs are missing, or the grid asks for none on the same task."""
    asked = summary[summary["requested"] > 0].groupby("task")["algorithm"].nunique()
    if asked.max() > 1:
        return "no task has runs of two algorithms yet: there is nothing to compare"
    return "no task is for two algorithms: the claims compare runs on different tasks"


def where(summary: pd.DataFrame, present: pd.DataFrame) -> str:
    """The tasks and seeds that the results are of: "On 7 tasks with 5 seeds each"; and what of that is not there."""
    tasks, seeds = present["task"].unique(), int(present["n"].max())
    place = tasks[0] if len(tasks) == 1 else plural(len(tasks), "task")
    asked, finished = int(summary["requested"].sum()), int(present["n"].sum())
    amount = "a single seed" if seeds == 1 else f"{plural(seeds, 'seed')}{' each' if len(tasks) > 1 else ''}"
    notes = [f"{count(finished)} of {plural(asked, 'run')} finished"] if finished < asked else []
    notes += [
        f"{int(present[state].sum())} {words}"
        for state, words in {"diverged": "diverged", "stopped": "stopped by their task"}.items()
        if present[state].sum() > 0
    ]
    up_to = "up to " if seeds > 1 and present["n"].nunique() > 1 else ""
    return f"On {place} with {up_to}{amount}" + (f" ({', '.join(notes)})" if notes else "")


def of_one(grid: Grid, present: pd.DataFrame, aggregate: pd.DataFrame) -> str:
    """Where the only algorithm ended: its mean on one task, its interquartile mean over several."""
    row = next(present.itertuples())
    if len(present) == 1:
        return f"{grid.title(row.algorithm)} ended at a mean score of {interval(row.mean, row.low, row.high)}"
    over = next(aggregate[aggregate["measure"] == "score"].itertuples())
    return (
        f"{grid.title(row.algorithm)} ended at {interval(over.iqm, over.iqm_low, over.iqm_high, fixed)} between the "
        "random score (0) and the reference score (1), in the interquartile mean"
    )


def best_of_tasks(present: pd.DataFrame) -> dict[str, list[str]]:
    """The algorithms with the highest mean score on each task where two can be compared; several where they tie."""
    found = {}
    for task, rows in present.groupby("task", sort=False):
        whole = rows["n"] > rows["diverged"] + rows["stopped"]
        if len(rows) > 1 and whole.any():
            found[task] = list(rows["algorithm"][np.isclose(rows["mean"], rows["mean"].max(), rtol=1e-9, atol=0)])
    return found


def ranked(best: dict[str, list[str]]) -> list[str]:
    """The algorithms that share the first place: those that are the best on most tasks, alone or with others."""
    times = pd.Series([name for names in best.values() for name in names]).value_counts(sort=False)
    return [name for name, times_first in times.items() if times_first == times.max()]


def of_one_task(grid: Grid, present: pd.DataFrame, best: dict[str, list[str]]) -> str:
    """Who ended highest on the only task, and who next."""
    (names,) = best.values()
    rows = list(present.sort_values("mean", ascending=False, kind="stable").itertuples())
    if len(names) > 1:
        all_of_them = "all algorithms" if len(names) == len(rows) else titles(grid, names)
        return f"{all_of_them} ended equally high (mean score {number(rows[0].mean)})"
    first, following = rows[:2]
    return (
        f"{grid.title(first.algorithm)} ended highest with a mean score of {number(first.mean)}, before "
        f"{grid.title(following.algorithm)} with {number(following.mean)}"
    )


def of_tasks(grid: Grid, present: pd.DataFrame, best: dict[str, list[str]], first: list[str]) -> str:
    """Who ended highest on how many tasks, most first; of the first one also those that it shares with others."""
    counts = {name: sum(names == [name] for names in best.values()) for name in grid.algorithms}
    shared = [tuple(names) for names in best.values() if len(names) > 1]
    notes = {}
    if len(first) == 1:
        mine = sum(first[0] in names for names in shared)
        counts[first[0]] += mine
        notes = {first[0]: f" ({mine} of them equal with others)"} if mine else {}
        shared = [names for names in shared if first[0] not in names]
    order = sorted(filter(counts.get, counts), key=lambda name: -counts[name])
    named = order if len(order) <= MOST_NAMED + 1 else order[:MOST_NAMED]
    verbs = [" ended highest", *[""] * len(named)]
    parts = [
        f"{grid.title(name)}{verb} on {counts[name]}{notes.get(name, '')}"
        for name, verb in zip(named, verbs, strict=False)
    ]
    others = sum(counts[name] for name in order[len(named) :])
    parts += [f"{plural(len(order) - len(named), 'other')} on {others}"] if others else []
    tied = "equally high" if named else "ended equally high"
    parts += [f"{titles(grid, names)} {tied} on {shared.count(names)}" for names in dict.fromkeys(shared)]
    if len(best) == present["task"].nunique():
        return enumerate_text(parts)
    if len(best) == 1:  # every part is on that one
        return enumerate_text(parts).replace(" on 1", f" on {next(iter(best))}") + ", where alone two can be compared"
    return f"{enumerate_text(parts)} of the {len(best)} where two can be compared"


def settled(grid: Grid, present: pd.DataFrame, pairs: pd.DataFrame, first: list[str]) -> str:
    """How much of the order is more than what seeds explain, by the verdicts over all tasks.

    With fewer than CONFIRMED_BELOW seeds Welch's test rests on the scores being normal, which nothing can then show. So
    a verdict counts only where the permutation test of the ranking, which needs no distribution, has the same one.
    """
    if present["n"].max() == 1:
        return "a single seed cannot show whether another would give the same order"
    rows = list(pairs[(pairs["measure"] == "score") & (pairs["task"] == ALL_TASKS)].itertuples())
    if len(first) == 1:
        rows = [row for row in rows if first[0] in (row.algorithm, row.other)]
    tasks = present["task"].nunique()
    everywhere = all(row.tasks == tasks for row in rows)
    over = "over all tasks " if everywhere else "over the tasks where both have runs "
    over = over if tasks > 1 else ""
    if len(first) > 1:
        decided = sum(verdict_on(present, row) in OPPOSITE for row in rows)
        return f"{over}{decided} of {plural(len(rows), 'pair')} of algorithms differ by more than chance"
    (name,) = first
    title = grid.title(name)
    verdicts = [
        verdict if row.algorithm == name else OPPOSITE.get(verdict)
        for row in rows
        for verdict in [verdict_on(present, row)]
    ]
    found = [
        f"{verdict} than {of_others(verdicts.count(verdict), len(verdicts))}"
        for verdict in OPPOSITE
        if verdict in verdicts
    ]
    if found:
        return f"{over}{title} is {enumerate_text(found)} by more than chance"
    whom = "the other" if len(verdicts) == 1 else f"any of the {len(verdicts)} others"
    return f"{over}{title} is not shown to differ from {whom} by more than chance"


def verdict_on(present: pd.DataFrame, pair: Any) -> str | None:
    """The verdict on a pair over all tasks, or "undecided" where a verdict from so few seeds is not confirmed."""
    seeds = present[present["algorithm"].isin([pair.algorithm, pair.other])]["n"].min()
    if pair.verdict not in OPPOSITE or seeds >= CONFIRMED_BELOW or pair.p_permutation_adjusted <= 1 - CONFIDENCE:
        return pair.verdict
    return "undecided"


def of_others(some: int, total: int) -> str:
    """So many of the other algorithms: "the other", "all 4 others", "3 of the 4 others"."""
    if total == 1:
        return "the other"
    return f"all {total} others" if some == total else f"{some} of the {total} others"


def titles(grid: Grid, names: list[str] | tuple[str, ...]) -> str:
    """The titles of these algorithms as a list in words."""
    return enumerate_text(grid.title(name) for name in names)
