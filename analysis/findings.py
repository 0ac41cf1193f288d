"""The report's main findings: sentences computed from the tables, cautions first."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.comparison import MOST_SEEDS
from analysis.results import Grid

FEW_RUNS = 5
SPAN_COVERS = {2: "about half", 3: "about three quarters", 4: "about 88 %"}  # 1 − 2/2ⁿ
NO_WIDTH = "An interval without width means that these runs were equal, not that others would be."
MARK = "†"  # of averages over fewer runs than were asked for
JOBS = {"study": ("studies", "tuning"), "probe": ("probes", "gradients")}  # kind: plural, and what they tell of
DECIDED = ("better", "worse")
MODE_GAP = 0.1  # of a normalised score, from which the two ways of acting are worth a sentence


@dataclass(frozen=True)
class Leader:
    """Of one task: the summary's rows of the highest mean score and of the next; whether they are told apart."""

    task: str
    best: Any
    following: Any
    verdict: str


def findings(grid: Grid, tables: dict[str, pd.DataFrame]) -> dict[str, list[str]]:
    """Sentences by where they stand: cautions, which a reader should know first, and those of two sections."""
    scores, summary = tables["scores"], tables["summary"]
    present = summary[summary["n"] > 0]
    return {
        "caution": [*incomplete(grid, tables), *diverged(grid, scores), *few_runs(present)],
        "learning": thresholds(grid, scores),
        "scores": [*below_random(grid, present), *mode_gap(grid, scores)],
    }


def ranked(grid: Grid, tables: dict[str, pd.DataFrame]) -> list[str]:
    """The normalised final scores of those that rank over all tasks, in one sentence."""
    aggregate, summary = tables["aggregate"], tables["summary"]
    rows = aggregate[aggregate["measure"] == "score"]
    if rows.empty:
        return []
    best_first = on_all_tasks(rows, summary[summary["n"] > 0]).sort_values("iqm", ascending=False, kind="stable")
    if best_first.empty:
        return ["Nothing is ranked over all tasks: no algorithm has a run on every task."]
    order = "; ".join(
        f"{grid.title(row.algorithm)}{mark(row)} {interval(row.iqm, row.iqm_low, row.iqm_high, fixed)}"
        for row in best_first.itertuples()
    )
    left_out = [
        grid.title(algorithm) for algorithm in rows["algorithm"] if algorithm not in set(best_first["algorithm"])
    ]
    note = f" Not ranked, having runs on fewer tasks: {enumerate_text(left_out)}." if left_out else ""
    return [
        f"Mean of the middle half of the runs’ final scores (interquartile mean; 0: random actions, 1: the task’s "
        f"reference score), with its 95 % interval: {order}.{note}"
    ]


def leaders(grid: Grid, tables: dict[str, pd.DataFrame]) -> list[Leader]:
    """For each task on which two algorithms have runs: who stands first, and whether that is settled."""
    summary, found = tables["summary"], []
    for task in grid.tasks:
        rows = summary[(summary["task"] == task) & (summary["n"] > 0)]
        rows = list(rows.sort_values("mean", ascending=False, kind="stable").itertuples())
        if len(rows) > 1:
            best, following = rows[:2]
            pair = pair_of(tables["pairs"], task, best.algorithm, following.algorithm)
            found.append(Leader(task, best, following, told_apart(pair)))
    return found


def pair_of(pairs: pd.DataFrame, task: str, algorithm: str, other: str) -> Any:
    """The row of the table of pairs about the final scores of these two, in whichever order it names them."""
    names = (algorithm, other)
    of_task = pairs[(pairs["measure"] == "score") & (pairs["task"] == task)]
    return next(of_task[of_task["algorithm"].isin(names) & of_task["other"].isin(names)].itertuples())


def told_apart(pair: Any) -> str:
    """Whether the two of a row of the table of pairs are told apart."""
    if pd.isna(pair.verdict):
        return "– (a single run)"
    return "yes" if pair.verdict in DECIDED else f"no: {seeds_text(pair.seeds_needed)}"


# ------------------------------------------------------------------------------------------ cautions


def incomplete(grid: Grid, tables: dict[str, pd.DataFrame]) -> list[str]:
    """What has no result: of the runs, of the studies, of the probes."""
    ledger, jobs = tables["ledger"], tables["ledger_jobs"]
    said = []
    absent = unfinished(ledger)
    if len(absent):
        pairs = absent[["task", "algorithm"]].drop_duplicates().itertuples(index=False)
        places = enumerate_text(f"{grid.title(algorithm)} on {task}" for task, algorithm in pairs)
        said.append(
            f"Incomplete: {len(absent)} of {len(ledger)} requested runs have no result ({state_counts(absent)}): "
            f"{places}. What is averaged over fewer runs than were asked for is marked {MARK}, and its n says so."
        )
    for kind, (plural_of_kind, subject) in JOBS.items():
        asked = jobs[jobs["kind"] == kind]
        if len(absent := unfinished(asked)):
            said.append(
                f"Incomplete: {len(absent)} of {len(asked)} requested {plural_of_kind} "
                f"{'has' if len(absent) == 1 else 'have'} no result ({state_counts(absent)}): "
                f"{enumerate_text(job_title(grid, directory) for directory in absent['directory'])}. "
                f"What is said of {subject} is said without {'it' if len(absent) == 1 else 'them'}."
            )
    return said


def job_title(grid: Grid, directory: str) -> str:
    """The study or probe of the grid that lies there, in words."""
    for study in grid.studies:
        if study["directory"] == directory:
            return f"{grid.title(study['algorithm'])} on {study['group']}"
    probe = next(probe for probe in grid.probes if probe["directory"] == directory)
    if probe["exact"]:
        return probe["task"]
    return f"{probe['task']} at {100 * probe['fraction']:g} % of training (seed {probe['seed']})"


def without_jobs(grid: Grid, jobs: pd.DataFrame, kind: str, exact: bool | None = None) -> str:
    """Without …, which have no result: what a figure of studies or of probes (exact ones or others) lacks; empty where
    nothing is lacking, or everything.
    """
    problems = {probe["directory"] for probe in grid.probes if probe["exact"]}
    asked = jobs[(jobs["kind"] == kind) & (exact is None or jobs["directory"].isin(problems) == exact)]
    absent = unfinished(asked)
    if len(absent) in (0, len(asked)):
        return ""
    titles = enumerate_text(job_title(grid, directory) for directory in absent["directory"])
    return f"Without {titles}: no result"


def unfinished(ledger: pd.DataFrame) -> pd.DataFrame:
    return ledger[ledger["state"].isin(["failed", "missing"])]


def state_counts(ledger: pd.DataFrame) -> str:
    """2 failed, 1 missing."""
    return ", ".join(f"{count} {state}" for state, count in ledger["state"].value_counts().items())


def mark(row: Any) -> str:
    """Of a row with n and requested: a dagger where runs are missing."""
    return f" {MARK}" if row.n < row.requested else ""


def shortfalls(summary: pd.DataFrame) -> pd.DataFrame:
    """The rows of the summary with fewer runs than were asked for; none where nothing has run at all."""
    return summary[(summary["n"] < summary["requested"]) & (summary["n"].sum() > 0)]


def shortfall_text(grid: Grid, summary: pd.DataFrame) -> str:
    """† fewer runs than asked for: PPO 3 of 5 on Hopper-v5; empty where no run is missing."""
    rows = list(shortfalls(summary).itertuples())
    if not rows:
        return ""
    places = enumerate_text(f"{grid.title(row.algorithm)} {row.n} of {row.requested} on {row.task}" for row in rows)
    return f"{MARK} fewer runs than asked for: {places}"


def diverged(grid: Grid, scores: pd.DataFrame) -> list[str]:
    runs = scores[scores["status"] == "diverged"]
    if runs.empty:
        return []
    places = enumerate_text(f"{grid.title(run.algorithm)} on {run.task} (seed {run.seed})" for run in runs.itertuples())
    verb = "run diverged and is" if len(runs) == 1 else "runs diverged and are"
    return [f"{len(runs)} {verb} counted at the random score: {places}."]


def few_runs(present: pd.DataFrame) -> list[str]:
    """What an interval is worth at this n (analysis.statistics has how the coverages were found)."""
    if present.empty:
        return ["No run has finished yet, so there is nothing to compare."]
    n = int(present["n"].min())
    if n == 1:
        return [
            "At least one average is a single run. A single run says nothing about the spread over seeds, so "
            "it has no interval, and no order that rests on it should be trusted."
        ]
    if n > FEW_RUNS:
        return []
    meant = (
        f"Averages here are over as few as {n} runs, each with its own random seed. Brackets are 95 % intervals, meant "
        f"to hold the true value 95 times in 100"
    )
    if n in SPAN_COVERS:
        return [
            f"{meant}; but with {n} runs that of a mean on one task is just the span from the lowest to the highest "
            f"run, and holds the true mean {SPAN_COVERS[n]} of the time, less often where an algorithm fails on a few "
            f"seeds: read it as the range of what was seen. {NO_WIDTH}"
        ]
    return [
        f"{meant}; with {n} runs, that of a mean on one task does so about 92 times if scores are roughly normal, and "
        f"as few as 40 to 70 times where an algorithm fails on a few seeds. {NO_WIDTH}"
    ]


# ------------------------------------------------------------------------------------------- results


def on_all_tasks(aggregate: pd.DataFrame, present: pd.DataFrame) -> pd.DataFrame:
    """The rows of those that have runs on every task on which anything has: only these rank with each other."""
    return aggregate[aggregate["tasks"] == present["task"].nunique()]


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
    threshold = "The task’s threshold" if len(tasks) == len(grid.tasks) else f"The threshold ({enumerate_text(tasks)})"
    return [f"{threshold} was reached during training by {enumerate_text(counts)}."]


def fastest(grid: Grid, scores: pd.DataFrame) -> list[str]:
    medians = scores.groupby("algorithm")["steps_per_second"].median().dropna().sort_values(ascending=False)
    if len(medians) < 2:
        return []
    first, last = medians.index[0], medians.index[-1]
    return [
        f"Wall-clock: {grid.title(first)} is the fastest with {number(medians.iloc[0])} environment steps "
        f"per second (median over runs), {grid.title(last)} the slowest with {number(medians.iloc[-1])}."
    ]


# ----------------------------------------------------------------------------------------- surprises


def below_random(grid: Grid, summary: pd.DataFrame) -> list[str]:
    rows = summary[summary["normalized_mean"] < 0]
    if rows.empty:
        return []
    places = (f"{grid.title(row.algorithm)} on {row.task} ({number(row.mean)})" for row in rows.itertuples())
    return [f"On average below a uniformly random policy: {enumerate_text(places)}."]


def mode_gap(grid: Grid, scores: pd.DataFrame) -> list[str]:
    """The largest difference between acting by the policy's mode and sampling from it."""
    columns = ["normalized", "normalized_mode", "score", "mode_score"]
    means = scores.groupby(["task", "algorithm"], sort=False)[columns].mean()
    gap = means["normalized_mode"] - means["normalized"]
    if gap.empty or gap.abs().max() < MODE_GAP:
        return []
    task, algorithm = gap.abs().idxmax()
    row = means.loc[(task, algorithm)]
    return [
        f"Taking the mode action instead of sampling matters most for {grid.title(algorithm)} on {task}: "
        f"mean score {number(row['mode_score'])} against {number(row['score'])}."
    ]


# ---------------------------------------------------------------------------------------------- text


def number(value: float) -> str:
    """Three significant digits, but every digit before the point; an en dash for what does not exist."""
    if pd.isna(value):
        return "–"
    size = abs(value)
    digits = 0 if size >= 100 or size == 0 else 1 if size >= 10 else 2
    text = f"{value:.2g}" if 0 < size < 0.01 else f"{value:,.{digits}f}"
    return text.replace("-", "−")


def duration(seconds: float) -> str:
    """Seconds as the unit that suits them."""
    if seconds >= 3600:
        return f"{number(seconds / 3600)} hours"
    return f"{number(seconds / 60)} minutes" if seconds >= 60 else f"{number(seconds)} seconds"


def count(value: float) -> str:
    """A number of things, or an en dash."""
    return "–" if pd.isna(value) else f"{value:,.0f}"


def fixed(value: float) -> str:
    """Two decimals, for normalised scores; no sign where these are 0."""
    return "–" if pd.isna(value) else f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def interval(middle: float, low: float, high: float, form=number) -> str:
    """0.71 [0.65, 0.78], or 0.71 alone where there is no interval."""
    return form(middle) if pd.isna(low) else f"{form(middle)} [{form(low)},\N{NO-BREAK SPACE}{form(high)}]"


def seeds_text(seeds: float) -> str:
    """How many seeds an undecided pair needs."""
    if pd.isna(seeds):
        return "no difference seen"
    return f"more than {count(MOST_SEEDS)} seeds needed" if seeds > MOST_SEEDS else f"about {count(seeds)} seeds needed"


def plural(n: int, noun: str) -> str:
    """So many of something, with thousands separators."""
    return f"{count(n)} {noun}{'' if n == 1 else 's'}"


def enumerate_text(parts: Iterable[str]) -> str:
    """a, b and c."""
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last
