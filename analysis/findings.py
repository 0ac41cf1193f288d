"""The report's main findings: sentences computed from the tables, cautions first."""

from dataclasses import dataclass

import pandas as pd

from analysis.results import Grid

FEW_RUNS = 5
MODE_GAP = 0.1  # of a normalised score, from which the two ways of acting are worth a sentence


@dataclass(frozen=True)
class Finding:
    """One sentence or two; `kind` is caution, result or surprise."""

    kind: str
    text: str


def findings(grid: Grid, tables: dict[str, pd.DataFrame]) -> list[Finding]:
    """What a reader should know first, in the order in which they should know it."""
    scores, summary = tables["scores"], tables["summary"]
    present = summary[summary["n"] > 0]
    cautions = [*incomplete(grid, tables["ledger"]), *diverged(grid, scores), *few_runs(present)]
    results = [
        *ranking(grid, tables["aggregate"], "score", "final score"),
        *ladder(grid, tables["aggregate"], "score", "final score"),
        *ladder(grid, tables["aggregate"], "auc", "return over the whole budget (AUC)"),
        *(sentence for task in grid.tasks for sentence in leader(grid, present[present["task"] == task], task)),
        *thresholds(grid, scores),
        *fastest(grid, scores),
    ]
    surprises = [
        *(sentence for task in grid.tasks for sentence in reversals(grid, present[present["task"] == task], task)),
        *below_random(grid, present),
        *mode_gap(grid, scores),
    ]
    kinds = {"caution": cautions, "result": results, "surprise": surprises}
    return [Finding(kind, text) for kind, sentences in kinds.items() for text in sentences]


# ------------------------------------------------------------------------------------------ cautions


def incomplete(grid: Grid, ledger: pd.DataFrame) -> list[str]:
    absent = ledger[ledger["state"].isin(["failed", "missing"])]
    if absent.empty:
        return []
    counts = ", ".join(f"{count} {state}" for state, count in absent["state"].value_counts().items())
    places = enumerate_text(
        f"{grid.title(algorithm)} on {task}"
        for task, algorithm in absent[["task", "algorithm"]].drop_duplicates().itertuples(index=False)
    )
    return [
        f"Incomplete: {len(absent)} of {len(ledger)} requested runs have no result ({counts}): {places}. "
        f"Averages there are over fewer runs, as their n says."
    ]


def diverged(grid: Grid, scores: pd.DataFrame) -> list[str]:
    runs = scores[scores["status"] == "diverged"]
    if runs.empty:
        return []
    places = enumerate_text(f"{grid.title(run.algorithm)} on {run.task} (seed {run.seed})" for run in runs.itertuples())
    verb = "run diverged and is" if len(runs) == 1 else "runs diverged and are"
    return [f"{len(runs)} {verb} counted at the random score: {places}."]


def few_runs(present: pd.DataFrame) -> list[str]:
    """What an interval is worth at this n; the coverages are those of normally distributed scores."""
    if present.empty:
        return ["No run has finished yet, so there is nothing to compare."]
    n = int(present["n"].min())
    if n == 1:
        return [
            "At least one average is a single run. A single run says nothing about the spread over seeds, so it has "
            "no interval, and no order that rests on it should be trusted."
        ]
    if n < 4:
        coverage = {2: "about half", 3: "about three quarters"}[n]
        return [
            f"Averages here are over as few as {n} runs. With so few, the bootstrap interval is just the span from "
            f"the lowest to the highest run, and covers the true mean {coverage} of the time instead of 95 %: "
            f"read it as the range of what was seen."
        ]
    if n <= FEW_RUNS:
        return [
            f"Averages here are over as few as {n} runs. At that number a 95 % bootstrap interval is too short: it "
            f"covers the true mean a little over 80 % of the time."
        ]
    return []


# ------------------------------------------------------------------------------------------- results


def ranking(grid: Grid, aggregate: pd.DataFrame, measure: str, name: str) -> list[str]:
    """Only algorithms that have runs on equally many tasks are ranked with each other."""
    rows = aggregate[aggregate["measure"] == measure]
    if rows.empty:
        return []
    most = rows["tasks"].max()
    ranked = rows[rows["tasks"] == most].sort_values("iqm", ascending=False, kind="stable")
    order = ", ".join(
        f"{grid.title(row.algorithm)} {interval(row.iqm, row.iqm_low, row.iqm_high, fixed)}"
        for row in ranked.itertuples()
    )
    left_out = [grid.title(algorithm) for algorithm in rows[rows["tasks"] < most]["algorithm"]]
    note = f" Not ranked, having runs on fewer tasks: {enumerate_text(left_out)}." if left_out else ""
    where = "over the runs of all tasks" if most > 1 else "over runs"
    return [f"Normalised {name}, interquartile mean {where}, from best to worst: {order}.{note}"]


def ladder(grid: Grid, aggregate: pd.DataFrame, measure: str, name: str) -> list[str]:
    """Whether each algorithm stands above the one before it in the grid's order."""
    rows = aggregate[aggregate["measure"] == measure]
    rows = rows[rows["tasks"] == rows["tasks"].max()]
    rungs = list(rows.itertuples())
    if len(rungs) < 2:
        return []
    falls = [
        f"{grid.title(upper.algorithm)} ({fixed(upper.iqm)}) is below {grid.title(lower.algorithm)} "
        f"({fixed(lower.iqm)}), {overlap_text(upper.iqm_high, lower.iqm_low)}"
        for lower, upper in zip(rungs, rungs[1:], strict=False)
        if upper.iqm < lower.iqm
    ]
    path = " → ".join(grid.title(rung.algorithm) for rung in rungs)
    if not falls:
        return [f"Up the ladder {path} the normalised {name} rises at every rung."]
    return [f"Up the ladder {path} the normalised {name} does not rise at every rung: {'; '.join(falls)}."]


def leader(grid: Grid, summary: pd.DataFrame, task: str) -> list[str]:
    """The best mean score of a task, and whether the next one's interval reaches it."""
    rows = list(summary.sort_values("mean", ascending=False, kind="stable").itertuples())
    if len(rows) < 2:
        return []
    best, following = rows[:2]
    same = [row for row in rows if row.mean == best.mean]
    if len(same) > 1:
        names = enumerate_text(grid.title(row.algorithm) for row in same)
        return [f"{task}: {names} share the highest mean score, {number(best.mean)}."]
    verdict = overlap_text(following.high, best.low)
    return [
        f"{task}: {grid.title(best.algorithm)} has the highest mean score, {score_text(best)}; next is "
        f"{grid.title(following.algorithm)}, {score_text(following)}, {verdict}."
    ]


def thresholds(grid: Grid, scores: pd.DataFrame) -> list[str]:
    counted = scores[scores["reached"].notna()]
    if counted.empty:
        return []
    tasks = [task for task in grid.tasks if grid.tasks[task]["threshold"] is not None]
    counts = [
        f"{grid.title(algorithm)} in {int(runs['reached'].sum())} of {len(runs)} runs"
        for algorithm in grid.algorithms
        if len(runs := counted[counted["algorithm"] == algorithm])
    ]
    return [f"The threshold ({enumerate_text(tasks)}) was reached during training by {', '.join(counts)}."]


def fastest(grid: Grid, scores: pd.DataFrame) -> list[str]:
    medians = scores.groupby("algorithm")["steps_per_second"].median().dropna().sort_values(ascending=False)
    if len(medians) < 2:
        return []
    first, last = medians.index[0], medians.index[-1]
    return [
        f"Wall-clock: {grid.title(first)} is the fastest with {number(medians.iloc[0])} environment steps per "
        f"second (median over runs), {grid.title(last)} the slowest with {number(medians.iloc[-1])}."
    ]


# ----------------------------------------------------------------------------------------- surprises


def reversals(grid: Grid, summary: pd.DataFrame, task: str) -> list[str]:
    """Later rungs whose interval lies wholly below that of an earlier one."""
    rungs = list(summary.itertuples())
    sentences = []
    for place, later in enumerate(rungs):
        above = [earlier for earlier in rungs[:place] if later.high < earlier.low]
        if above:
            names = enumerate_text(f"{grid.title(row.algorithm)}, {score_text(row)}" for row in above)
            sentences.append(
                f"{task}: {grid.title(later.algorithm)}, {score_text(later)}, ends below the earlier {names}; "
                f"the intervals are apart."
            )
    return sentences


def below_random(grid: Grid, summary: pd.DataFrame) -> list[str]:
    rows = summary[summary["normalized_mean"] < 0]
    if rows.empty:
        return []
    places = (f"{grid.title(row.algorithm)} on {row.task} ({number(row.mean)})" for row in rows.itertuples())
    return [f"On average below a uniformly random policy: {enumerate_text(places)}."]


def mode_gap(grid: Grid, scores: pd.DataFrame) -> list[str]:
    """The largest difference between acting by the policy's mode and sampling from it."""
    means = scores.groupby(["task", "algorithm"], sort=False)[
        ["normalized", "normalized_mode", "score", "mode_score"]
    ].mean()
    gap = means["normalized_mode"] - means["normalized"]
    if gap.empty or gap.abs().max() < MODE_GAP:
        return []
    task, algorithm = gap.abs().idxmax()
    row = means.loc[(task, algorithm)]
    return [
        f"Taking the mode action instead of sampling matters most for {grid.title(algorithm)} on {task}: mean score "
        f"{number(row['mode_score'])} against {number(row['score'])}."
    ]


# ---------------------------------------------------------------------------------------------- text


def number(value: float) -> str:
    """Three significant digits, all digits of a whole part, an en dash for what does not exist."""
    if pd.isna(value):
        return "–"
    size = abs(value)
    digits = 0 if size >= 100 or value == 0 else 1 if size >= 10 else 2
    text = f"{value:,.{digits}f}" if size >= 0.01 or value == 0 else f"{value:.2g}"
    return text.replace("-", "−")


def fixed(value: float) -> str:
    """Two decimals, for normalised scores."""
    return "–" if pd.isna(value) else f"{value:.2f}".replace("-", "−")


def interval(middle: float, low: float, high: float, form=number) -> str:
    """0.71 [0.65, 0.78], or 0.71 alone where there is no interval."""
    return form(middle) if pd.isna(low) else f"{form(middle)} [{form(low)}, {form(high)}]"


def score_text(row) -> str:
    return interval(row.mean, row.low, row.high)


def overlap_text(lower_end: float, upper_end: float) -> str:
    """Of two scores: the high end of the lower one's interval against the low end of the higher one's."""
    if pd.isna(lower_end) or pd.isna(upper_end):
        return "with no interval to tell them apart"
    if lower_end >= upper_end:
        return "and the intervals overlap, so their order is not settled"
    return "and the intervals do not overlap"


def enumerate_text(parts) -> str:
    """a, b and c."""
    parts = list(parts)
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
