"""What the report says of the ranking: sentences and rows computed from the ranking tables."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from ...lacking import MARK, mark
from ...reading.grid import Grid
from ...statistics.scores import CONFIDENCE
from ...words import enumerate_text, fixed, interval, p_text, plural, seeds_text
from .tables import ALL_TASKS

ABOUT = (
    "Scores are normalised, so that tasks can be averaged: 0 is the task’s random score, that of uniformly random "
    "actions unless the grid’s description says otherwise, and 1 its reference score. Every task counts equally. An "
    "order alone says little, because other seeds might give another order. The verdicts on pairs below say which "
    "differences of means are larger than seeds alone explain, over these tasks. Intervals are over training seeds, "
    "with the settings fixed. They say nothing about the settings that another tuning run would have chosen."
)
OF_PAIRS = (
    "Final scores, over the tasks where both algorithms have runs. The interval of a difference is that of this pair "
    "alone. p: the chance of a difference at least as large as this one if the two were equal (Welch’s t-test over "
    "all tasks), corrected by Holm’s procedure for all pairs of the table. A verdict is about means. The probability "
    "of improvement counts how often a run is higher, not by how much: a few large gains can raise a mean while that "
    "probability stays at one half. Undecided means that no difference was found, not that the two are equal."
)
DECIDED = ("better", "worse")
MOST_AT_FIRST = 8  # algorithms of the ranking at the top of the page


@dataclass(frozen=True)
class Leader:
    """Of one task: the summary's rows of the highest mean score and of the next; whether they are told apart."""

    task: str
    best: Any
    following: Any
    verdict: str


def page(
    grid: Grid, aggregate: pd.DataFrame, summary: pd.DataFrame, pairs: pd.DataFrame, improvement: pd.DataFrame
) -> dict[str, Any]:
    """How the algorithms rank over all tasks; `nothing` alone where no run has finished."""
    if aggregate.empty:
        return {"nothing": "No run has finished yet.", "first": None}
    tables = {"aggregate": aggregate, "summary": summary, "pairs": pairs, "improvement": improvement}
    return {
        "nothing": "",
        "about": ABOUT,
        "of_pairs": OF_PAIRS,
        "sentences": sentences(grid, tables),
        "aggregate": aggregate_rows(grid, aggregate),
        "metrics": METRICS,
        "coverage": coverage_text(summary),
        "pairs": pair_rows(grid, tables),
        "outcome": outcome,
        "mark_of": lambda pair: mark_of(grid, pair),
        "on_single_tasks": on_single_tasks,
        "leaders": leaders(grid, tables),
        "first": first(aggregate, summary),
    }


def first(aggregate: pd.DataFrame, summary: pd.DataFrame) -> dict[str, Any] | None:
    """The ranking at the top of the page, best first: each with its interval, and where both lie on a common scale in
    % of its width; None where none ranks.
    """
    ranked = on_all_tasks(aggregate[aggregate["measure"] == "score"], summary[summary["n"] > 0])
    if ranked.empty:
        return None
    shown = ranked.sort_values("iqm", ascending=False, kind="stable").head(MOST_AT_FIRST)
    ends = shown[["iqm", "iqm_low", "iqm_high"]]
    low, high = min(0.0, np.nanmin(ends)), max(1.0, np.nanmax(ends))
    places = 100 * (ends - low) / (high - low)
    spread = ends["iqm_low"].notna()
    rows = shown.assign(
        spread=spread, at=places["iqm"], left=places["iqm_low"], width=places["iqm_high"] - places["iqm_low"]
    ).round({"at": 2, "left": 2, "width": 2})
    more = f"All {len(ranked)} algorithms" if len(ranked) > len(shown) else ""
    return {"what": "Final score, IQM (0: random score, 1: reference)", "rows": list(rows.itertuples()), "more": more}


def headline(grid: Grid, aggregate: pd.DataFrame, summary: pd.DataFrame) -> list[str]:
    """The normalised final scores of those that rank over all tasks, in one sentence."""
    rows = aggregate[aggregate["measure"] == "score"]
    if rows.empty:
        return []
    best_first = on_all_tasks(rows, summary[summary["n"] > 0]).sort_values("iqm", ascending=False, kind="stable")
    if best_first.empty:
        return ["There is no ranking over all tasks, because no algorithm has a run on every task."]
    order = "; ".join(
        f"{grid.title(row.algorithm)}{mark(row)} {interval(row.iqm, row.iqm_low, row.iqm_high, fixed)}"
        for row in best_first.itertuples()
    )
    left_out = [
        grid.title(algorithm) for algorithm in rows["algorithm"] if algorithm not in set(best_first["algorithm"])
    ]
    note = f" Not ranked, because they have runs on fewer tasks: {enumerate_text(left_out)}." if left_out else ""
    return [
        f"The mean of the middle half of the runs’ final scores (interquartile mean; 0: the task’s random score, 1: "
        f"its reference score), with its 95 % interval, is {order}.{note}"
    ]


def judgement(pair: Any) -> str:
    """Whether the two of a row of the table of pairs are told apart."""
    if pd.isna(pair.verdict):
        return f"– ({pair.untested})"
    return "yes" if pair.verdict in DECIDED else f"no: {seeds_text(pair.seeds_needed)}"


def leaders(grid: Grid, tables: dict[str, pd.DataFrame]) -> list[Leader]:
    """For each task on which two algorithms have runs: who stands first, and whether that is settled."""
    summary, found = tables["summary"], []
    for task in grid.tasks:
        rows = summary[(summary["task"] == task) & (summary["n"] > 0)]
        rows = list(rows.sort_values("mean", ascending=False, kind="stable").itertuples())
        if len(rows) > 1:
            best, following = rows[:2]
            pair = pair_of(tables["pairs"], task, best.algorithm, following.algorithm)
            found.append(Leader(task, best, following, judgement(pair)))
    return found


def pair_of(pairs: pd.DataFrame, task: str, algorithm: str, other: str) -> Any:
    """The row of the table of pairs about the final scores of these two, in whichever order it names them."""
    names = (algorithm, other)
    of_task = pairs[(pairs["measure"] == "score") & (pairs["task"] == task)]
    return next(of_task[of_task["algorithm"].isin(names) & of_task["other"].isin(names)].itertuples())


def on_all_tasks(aggregate: pd.DataFrame, present: pd.DataFrame) -> pd.DataFrame:
    """The rows of those that have runs on every task on which anything has: only these rank with each other."""
    return aggregate[aggregate["tasks"] == present["task"].nunique()]


METRICS = {"iqm": "IQM", "mean": "mean", "median": "median", "optimality_gap": "optimality gap"}
LOW_IS_GOOD = ("optimality_gap",)
KEYS = (
    "task",
    "algorithm",
    "other",
    "tasks",
    "n",
    "n_other",
    "difference",
    "low",
    "high",
    "p_adjusted",
    "seeds_needed",
    "difference_without",
    "low_without",
    "high_without",
    "p_permutation_adjusted",
)
COVERS = {  # runs per task: how often intervals hold the truth, which depends on how many tasks there are
    2: "mean holds the truth in 50 % of cases on one task and in 87 % on seven",
    3: "mean holds the truth in 76 % of cases on one task and in 93 % on seven",
    4: "mean holds the truth in 88 % of cases on one task and in 92 % on seven",
    5: "mean or the IQM holds the truth in 92 to 94 % of cases, that of the median in 90 %",
    10: "mean or the IQM holds the truth in 94 to 96 % of cases, that of the median in 92 %",
}
OPPOSITE = {"better": "worse", "worse": "better"}


@dataclass(frozen=True)
class Pair:
    """Two algorithms' final scores on one task or on all, seen from the one that stands first; a row of the table of
    pairs. Over all tasks also the single tasks that the verdict rests on, and the probability of improvement.
    """

    task: str
    algorithm: str
    other: str
    tasks: int
    n: int
    n_other: int
    difference: float
    low: float
    high: float
    p_adjusted: float
    seeds_needed: float
    difference_without: float
    low_without: float
    high_without: float
    p_permutation_adjusted: float
    verdict: str | None
    untested: str | None
    rests_on: tuple[str, ...] = ()
    probability: float = np.nan
    probability_low: float = np.nan
    probability_high: float = np.nan

    def turned(self) -> "Pair":
        """The same pair seen from the other side."""
        return replace(
            self,
            algorithm=self.other,
            other=self.algorithm,
            n=self.n_other,
            n_other=self.n,
            difference=-self.difference,
            low=-self.high,
            high=-self.low,
            difference_without=-self.difference_without,
            low_without=-self.high_without,
            high_without=-self.low_without,
            verdict=OPPOSITE.get(self.verdict, self.verdict),
            probability=1 - self.probability,
            probability_low=1 - self.probability_high,
            probability_high=1 - self.probability_low,
        )


def order(tables: dict[str, pd.DataFrame], metric: str = "iqm") -> list[str]:
    """The algorithms by their final score, best first, as far as they rank with each other."""
    summary, aggregate = tables["summary"], tables["aggregate"]
    rows = on_all_tasks(aggregate[aggregate["measure"] == "score"], summary[summary["n"] > 0])
    return list(rows.sort_values(metric, ascending=metric in LOW_IS_GOOD, kind="stable")["algorithm"])


def score_pairs(grid: Grid, tables: dict[str, pd.DataFrame]) -> list[Pair]:
    """Every pair over all tasks and then on each, by the order of the ranking; the higher one of a pair first. What has
    no place in the order comes last.
    """
    placed = order(tables)
    placed += [algorithm for algorithm in grid.algorithms if algorithm not in placed]
    tasks = [ALL_TASKS, *grid.tasks]
    chances = {(row.algorithm, row.other): row for row in of_scores(tables["improvement"])}
    found = []
    for row in of_scores(tables["pairs"]):
        verdict = None if pd.isna(row.verdict) else row.verdict
        rests_on = () if pd.isna(row.rests_on) else tuple(row.rests_on.split("; "))
        about = {"verdict": verdict, "untested": None if pd.isna(row.untested) else row.untested, "rests_on": rests_on}
        pair = Pair(**{key: getattr(row, key) for key in KEYS}, **about)
        if pair.task == ALL_TASKS:
            chance = chances[(pair.algorithm, pair.other)]
            chance = {"probability": chance.probability, "probability_low": chance.low, "probability_high": chance.high}
            pair = replace(pair, **chance)
        found.append(pair if placed.index(pair.algorithm) < placed.index(pair.other) else pair.turned())
    return sorted(
        found, key=lambda pair: (placed.index(pair.algorithm), placed.index(pair.other), tasks.index(pair.task))
    )


def of_scores(table: pd.DataFrame) -> Iterable[Any]:
    """The table's rows about the final score."""
    return table[table["measure"] == "score"].itertuples()


def sentences(grid: Grid, tables: dict[str, pd.DataFrame]) -> list[str]:
    """What ranks how, and how sure that is."""
    aggregate = tables["aggregate"]
    pairs = score_pairs(grid, tables)
    together = [pair for pair in pairs if pair.task == ALL_TASKS]
    alone = [pair for pair in pairs if pair.task != ALL_TASKS]
    return [
        *agreement(grid, tables),
        *steps_down(grid, order(tables), together),
        *told_apart(grid, order(tables), together, alone),
        *without_verdict(together),
        *partial(grid, aggregate),
    ]


def agreement(grid: Grid, tables: dict[str, pd.DataFrame]) -> list[str]:
    """The order by IQM, and what the other metrics make of it."""
    by_iqm = order(tables)
    if len(by_iqm) < 2:
        return []
    orders = {name: order(tables, metric) for metric, name in METRICS.items() if metric != "iqm"}
    agreeing = [name for name, own in orders.items() if own == by_iqm]
    said = [f"{enumerate_text(agreeing)} {'agree' if len(agreeing) > 1 else 'agrees'}"] if agreeing else []
    said += [f"by {name} it is {in_order(grid, own)}" for name, own in orders.items() if own != by_iqm]
    text = "; ".join(said)
    return [
        f"By IQM of the normalised final score the order is {in_order(grid, by_iqm)}. {text[0].upper() + text[1:]}."
    ]


def steps_down(grid: Grid, ordered: list[str], together: list[Pair]) -> list[str]:
    """Of each two neighbours in the order: whether the difference of their means is larger than seeds alone explain."""
    by_names = {(pair.algorithm, pair.other): pair for pair in together if pair.verdict is not None}
    steps = [by_names[names] for names in pairwise(ordered) if names in by_names]
    meanings = {
        "better": "Different in mean over these tasks (difference of means, 95 % interval)",
        "undecided": "Neighbours in this order whose means are not shown to differ",
        "worse": "Pairs whose means have the opposite order",
    }
    found = []
    for verdict, meaning in meanings.items():
        own = [step for step in steps if step.verdict == verdict]
        if own:
            found.append(f"{meaning}: {'; '.join(step_text(grid, step) for step in own)}.")
    return found


def step_text(grid: Grid, pair: Pair) -> str:
    """One step of the ladder: which algorithm is above which, by how much, and how sure that is."""
    needed = ""
    if pair.verdict == "undecided":
        as_seen = " if the true difference is the one seen" if np.isfinite(pair.seeds_needed) else ""
        needed = f"{seeds_text(pair.seeds_needed)}{as_seen}"
    gap = interval(pair.difference, pair.low, pair.high, fixed)
    relation = "below" if pair.verdict == "worse" else "above"
    said = "; ".join(filter(None, [gap, needed, rests_text(pair)]))
    return f"{grid.title(pair.algorithm)} {relation} {grid.title(pair.other)} ({said})"


def rests_text(pair: Pair) -> str:
    """The single tasks on which the verdict rests, and what is left without the first of them; or nothing."""
    if not pair.rests_on:
        return ""
    first = pair.rests_on[0]
    which = f"rests on {first}" if len(pair.rests_on) == 1 else f"rests on each of {enumerate_text(pair.rests_on)}"
    without = "it" if len(pair.rests_on) == 1 else first
    left = interval(pair.difference_without, pair.low_without, pair.high_without, fixed)
    turned = ", the other way round" if pair.difference_without * pair.difference < 0 else ""
    return f"{which}: {left} without {without}{turned}"


def told_apart(grid: Grid, ordered: list[str], together: list[Pair], alone: list[Pair]) -> list[str]:
    """How many pairs are decided, over all tasks and on single ones, and where a single task says the opposite."""
    if not any(pair.verdict for pair in together):
        return []
    counts = [f"{settled(together)} of {plural(len(together), 'pair')} {over_tasks(grid, together)}"]
    if len(grid.tasks) > 1:
        counts.append(f"{settled(alone)} of {plural(len(alone), 'comparison')} on single tasks")
    text = "Shown to differ, corrected for the number of pairs (each 95 % interval is that of its pair alone): "
    text += f"{enumerate_text(counts)}."
    if resting := sum(bool(pair.rests_on) for pair in together):
        text += f" {resting} of the {settled(together)} would not be shown to differ without one certain task."
    against = [
        f"{grid.title(pair.other)} above {grid.title(pair.algorithm)} on {pair.task}"
        for pair in alone
        if pair.verdict == "worse" and {pair.algorithm, pair.other} <= set(ordered)
    ]
    if against:
        text += f" On a single task the order is the opposite for: {'; '.join(against)}."
    return [text, *permutation_text(grid, together)]


def over_tasks(grid: Grid, together: list[Pair]) -> str:
    """Over which tasks the pairs are compared, in words."""
    everywhere = all(pair.tasks == len(grid.tasks) for pair in together)
    return "over all tasks" if everywhere else "over the tasks where both have runs"


def permutation_text(grid: Grid, together: list[Pair]) -> list[str]:
    """Which verdicts over all tasks a test without Welch's assumptions confirms, where it can have any."""
    tested = [pair for pair in together if pd.notna(pair.p_permutation_adjusted)]
    decided = [pair for pair in tested if pair.verdict in OPPOSITE]
    if not decided:
        return []
    alpha = 1 - CONFIDENCE
    confirmed = [pair for pair in decided if pair.p_permutation_adjusted <= alpha]
    others = {
        "not confirmed": [pair for pair in decided if pair not in confirmed],
        "shown to differ by this test alone": [
            pair for pair in tested if pair.verdict == "undecided" and pair.p_permutation_adjusted <= alpha
        ],
    }
    said = f"A permutation test within tasks, which assumes no distribution of scores, confirms {len(confirmed)} of "
    said += f"the {plural(len(decided), 'verdict')} {over_tasks(grid, together)}"
    for which, pairs in others.items():
        if pairs:
            named = enumerate_text(
                f"{grid.title(pair.algorithm)} against {grid.title(pair.other)} "
                f"(p\N{NO-BREAK SPACE}{equals(pair.p_permutation_adjusted)})"
                for pair in pairs
            )
            said += f"; {which}: {named}"
    return [f"{said}."]


def equals(p: float) -> str:
    """= 0.034, or < 0.0001."""
    text = p_text(p)
    return text if text.startswith("<") else f"=\N{NO-BREAK SPACE}{text}"


def settled(pairs: list[Pair]) -> int:
    return sum(pair.verdict in OPPOSITE for pair in pairs)


def without_verdict(together: list[Pair]) -> list[str]:
    """A sentence on the pairs that have no verdict over all tasks; none if all have one."""
    untested = [pair.untested for pair in together if pair.verdict is None]
    if not untested:
        return []
    n = len(untested)
    which = "No pair has a" if n == len(together) else f"{n} of {plural(len(together), 'pair')} have no"
    reasons = " or ".join(dict.fromkeys(untested))
    return [
        f"{which} verdict over all tasks: on some task an algorithm has {reasons}, so that its spread over seeds is "
        "not known."
    ]


def partial(grid: Grid, aggregate: pd.DataFrame) -> list[str]:
    """Whose averages are over fewer runs than were asked for."""
    rows = aggregate[(aggregate["measure"] == "score") & (aggregate["n"] < aggregate["requested"])]
    if rows.empty:
        return []
    counts = enumerate_text(f"{grid.title(row.algorithm)} {row.n} of {row.requested}" for row in rows.itertuples())
    return [
        f"Marked {MARK}: averages over fewer runs than requested ({counts}). Every task counts equally, however few "
        "runs it has. A task without a run is left out; for a pair, a task where one of the two has no run is left "
        "out."
    ]


def coverage_text(summary: pd.DataFrame) -> str:
    """How often the stratified intervals cover at these numbers of runs (the simulations are those of
    analysis.statistics); empty where there is no interval.
    """
    present = summary[summary["n"] > 0]
    fewest = [sizes.min() for _, sizes in present.groupby("algorithm")["n"] if sizes.min() > 1]
    if not fewest:
        return ""
    n = max(most for most in COVERS if most <= min(fewest))
    return (
        f"In simulations with normally distributed scores of unequal spread, at {n} runs per task, the interval of the "
        f"{COVERS[n]}. The verdicts below are not taken from it."
    )


def in_order(grid: Grid, algorithms: Iterable[str]) -> str:
    return " > ".join(grid.title(algorithm) for algorithm in algorithms)


def pair_rows(grid: Grid, tables: dict[str, pd.DataFrame]) -> list[dict[str, Any]]:
    """Per pair its row over all tasks, and its rows on single tasks; those without a task in common are left out."""
    pairs = score_pairs(grid, tables)
    return [
        {
            "pair": pair,
            "alone": [
                own
                for own in pairs
                if own.task != ALL_TASKS and (own.algorithm, own.other) == (pair.algorithm, pair.other)
            ],
        }
        for pair in pairs
        if pair.task == ALL_TASKS
    ]


def outcome(pair: Pair) -> str:
    """The verdict in words, seen from the first algorithm."""
    if pair.verdict is None:
        return f"– ({pair.untested})"
    return f"undecided: {seeds_text(pair.seeds_needed)}" if pair.verdict == "undecided" else pair.verdict


def mark_of(grid: Grid, pair: Pair) -> str:
    """A dagger where either side has fewer runs than were asked for, or where the two have not all tasks in common."""
    short = [
        n < sum(len(grid.requested(task, name)) for task in (grid.tasks if pair.task == ALL_TASKS else [pair.task]))
        for name, n in ((pair.algorithm, pair.n), (pair.other, pair.n_other))
    ]
    return f" {MARK}" if any(short) else ""


def on_single_tasks(row: dict[str, Any]) -> list[str]:
    """Of a row of `pair_rows`: better on and worse on, with the tasks' names, on how many there is no decision, and on
    what the verdict over all tasks rests.
    """
    found, alone = [], row["alone"]
    for verdict in OPPOSITE:
        if tasks := [pair.task for pair in alone if pair.verdict == verdict]:
            found.append(f"{verdict} on {', '.join(tasks)}")
    if undecided := len(alone) - settled(alone):
        found.append(f"undecided on {undecided} of {len(alone)}")
    return [*found, *filter(None, [rests_text(row["pair"])])]


def aggregate_rows(grid: Grid, aggregate: pd.DataFrame) -> list[dict[str, Any]]:
    """Per algorithm with a run: its rows of the final score and of the AUC."""
    by_measure = {
        measure: {row.algorithm: row for row in rows.itertuples()} for measure, rows in aggregate.groupby("measure")
    }
    return [
        {"algorithm": algorithm, "score": by_measure["score"][algorithm], "auc": by_measure["auc"][algorithm]}
        for algorithm in grid.algorithms
        if algorithm in by_measure.get("score", {})
    ]
