"""What the page shows of the claims: each verdict with its effect in words, and what it rests on."""

import json
from typing import Any

import numpy as np
import pandas as pd

from ...reading.checks import ResultsError, command
from ...reading.grid import Grid
from ...words import enumerate_text, number_of, percents, plural, short_name
from .. import FIGURES
from .evidence import (
    FEWEST_PROBED_RUNS,
    FEWEST_PROBED_TASKS,
    FEWEST_RUNS,
    FEWEST_RUNS_OF_A_NAMED_TASK,
    FEWEST_TASKS,
)
from .gradients import wanted
from .runs import LEARNING_STEPS
from .verdicts import (
    CONTRADICTED,
    METRICS,
    SUPPORTED,
    TOO_LITTLE,
    UNDECIDED,
    UNTESTABLE,
    VERDICTS,
)

ABOUT = (
    "These are statements from the literature. Each is tested on what this grid ran and measured. Brackets are "
    "95\u00a0% intervals. How large an effect must be (“needed”) was fixed before the runs."
)
MEANINGS = {
    "Supported": "the whole interval lies where the claim needs it.",
    "Contradicted": "no part of the interval does.",
    "Undecided": "a part of it does, or there is no interval.",
    "Too little evidence": "too few runs or tasks for any verdict.",
    "Cannot be tested": "something was not run.",
}
WORDS = {
    "Frozen policy": (
        "a policy that was kept during training. Gradients are measured at it, and it does not change meanwhile."
    ),
    "Critic": (
        "the value function, also where it is only a baseline. It is “as trained”, or “fitted” to the frozen policy on "
        "separate episodes, or “exact”, or “wrong” on purpose."
    ),
    "True gradient": (
        "computed exactly on small problems. Elsewhere it is the average, over many batches, of an estimate that has "
        "no bias in theory."
    ),
}
HOW = {
    "Needed": (
        "Every claim says in advance how large an effect must be to count. A claim that two things are equal says how "
        "large a difference may be. An interval contradicts a claim where it shows the opposite, or where it shows "
        "that the effect is too small to count. A claim of several parts holds if all parts hold, unless it says "
        "otherwise."
    ),
    "Least evidence": (
        f"A verdict needs {FEWEST_RUNS} runs of each algorithm on each of {FEWEST_TASKS} tasks, or, about gradients, "
        f"frozen policies of {FEWEST_PROBED_RUNS} runs on each of {FEWEST_PROBED_TASKS} tasks. A claim that names its "
        f"tasks, and a task by itself, need {FEWEST_RUNS_OF_A_NAMED_TASK} runs. A problem whose true gradient is known "
        "needs none."
    ),
    "Equal": (
        "Where two things are claimed to be equal, they must be equal at every policy and on every problem, not only "
        "on average. The page shows the place where they differ most."
    ),
    "Averages": (
        "A claim is at best undecided, whatever its interval, in two cases: the effect changes its sign when one task "
        "is left out; or fewer than half of the frozen policies can be measured, because at the others the true "
        "gradient is too small beside the noise."
    ),
    "Runs": (
        "The effect is the difference of the means over runs, averaged over tasks with equal weight, with Welch’s "
        "interval, cut off at the largest difference that is possible. The algorithms are the grid’s entries of that "
        "name, with the settings that they have there: tuned where the grid tunes them."
    ),
    "Gradients": (
        "They are measured at frozen policies and averaged over the policies of a run, then over runs, then over "
        "tasks; ratios are averaged as logarithms. Settings are the untuned ones, and all have one discount. The "
        "intervals of the two sides are combined as if they were independent. Both sides come from the same batches, "
        "so the interval is rather too wide. The section “Gradient laboratory” says how each quantity is measured."
    ),
    "What an interval is about": (
        "An interval is about these tasks and these policies, and says nothing about others. An average can hide a "
        "task that says the opposite: see the column “by itself”. Where the verdict depends on a single task, the "
        "page says so."
    ),
    "How many tests": (
        "Intervals are not corrected for the number of claims: of forty intervals, about two miss the truth, one on "
        "either side. For a bias that is 0 in truth, both lie above it."
    ),
}
MARKS = {SUPPORTED: "✓", CONTRADICTED: "✗", UNDECIDED: "?", TOO_LITTLE: "·", UNTESTABLE: "–"}  # told apart in grey, too
STYLES = {
    **{verdict: verdict for verdict in (SUPPORTED, CONTRADICTED, UNDECIDED)},
    TOO_LITTLE: "too-little",
    UNTESTABLE: "untestable",
}
WHAT = {  # what a comparison measures, for somebody who has read one chapter on policy gradients
    "final_score": "Score at the end of training (0: random actions, 1: the task’s reference score)",
    "mode_score": "Score of the mode action at the end of training (0: random actions, 1: the task’s reference score)",
    "auc": "Return averaged over the whole of training (0: random actions, 1: the task’s reference score)",
    "learning_per_step": f"Score at the end of training per {LEARNING_STEPS:,} steps (0: random actions, 1: reference)",
    "drop": "Fall of the training return from its highest point to its end (1: from reference to random actions)",
    "steps_to_threshold": "Steps until the training return reaches the task’s threshold, in % of the budget (100 % for "
    "a run that never does, so differences are understated)",
    "spread": "Spread of the scores at the end of training: their standard deviation over seeds",
    "variance": "Variance of the gradient estimate: how far it scatters from batch to batch",
    "relative_bias": "Bias of the gradient estimate: distance of its mean from the true gradient, in % of the true "
    "gradient’s length",
    "bias_squared": "Squared bias of the gradient estimate: squared distance of its mean from the true gradient, in % "
    "of the true gradient’s squared length",
    "cosine": "Cosine of the angle between one batch’s estimate and the true gradient (1: same direction, 0: at right "
    "angles)",
}
IN_PERCENT = ("variance", "relative_bias", "bias_squared", "steps_to_threshold", "spread")
DECIDED = (SUPPORTED, CONTRADICTED)
MOST_DIGITS = 4  # that tell an effect from the smallest one that counts
SECTIONS = {  # where a metric without a figure stands
    **dict.fromkeys(("steps_to_threshold", "mode_score"), ("scores", "Scores, every run")),
    "relative_bias": ("laboratory", "Gradient laboratory"),
    "bias_squared": ("laboratory", "Gradient laboratory"),
}
TABLES_BEHIND = {"drop": "curves", **{name: "gradients" for name, metric in METRICS.items() if not metric.of_runs}}


def page(grid: Grid, claims: pd.DataFrame, claim_tasks: pd.DataFrame) -> dict[str, Any] | None:
    """The claims in the grid's order; None without any."""
    if not grid.claims:
        return None
    return {
        "claims": (shown := shown_claims(grid, claims, claim_tasks)),
        "open_claims": open_claims([claim["badge"]["verdict"] for claim in shown if not claim["decided"]]),
        "about": ABOUT,
        "verdicts": MEANINGS,
        "words": WORDS,
        "how": HOW,
        "any": "One of its parts is enough.",
        "untestable": (
            "This grid does not run what the claim compares. To test the claim, add to “algorithms:” in the grid "
            "file, with the per-task settings of the entry with which it is compared:"
        ),
        "other_grid": "They are in the grid",
    }


def headline(grid: Grid, claims: pd.DataFrame) -> list[str]:
    """How many claims have which verdict; nothing where the grid has no claims."""
    if not grid.claims:
        return []
    verdicts = dict(zip(claims["claim"], claims["claim_verdict"], strict=True))
    return [counts_sentence([verdicts[claim["id"]] for claim in grid.claims])]


def shown_claims(grid: Grid, claims: pd.DataFrame, places: pd.DataFrame) -> list[dict[str, Any]]:
    """Every claim with its verdict and its comparisons, from the tables `claims` and `claim_tasks`."""
    shown = []
    for number, claim in enumerate(grid.claims, start=1):
        rows = claims[claims["claim"] == claim["id"]]
        if rows.empty:
            raise ResultsError(
                f"{grid.folder / 'tables/claims.csv'}: no claim {claim['id']!r}, which grid.json has; make the tables "
                f"again with: {command('analysis.tables', grid.folder)}."
            )
        verdict = rows["claim_verdict"].iloc[0]
        of_claim = places[places["claim"] == claim["id"]]
        shown.append(
            {
                "number": number,
                "id": claim["id"],
                "statement": claim["statement"],
                "source": claim["source"],
                "badge": badge(verdict),
                "effects": [
                    f"{short_metric(row['metric'])}: {effect_text(row)}"
                    for _, row in rows.iterrows()
                    if row["verdict"] in DECIDED
                ],
                "any": claim["rule"] == "any" and len(rows) > 1,
                "comparisons": [
                    comparison(grid, asked, row, of_claim[of_claim["comparison"] == row["comparison"]])
                    for asked, (_, row) in zip(claim["comparisons"], rows.iterrows(), strict=True)
                ],
                "decided": verdict in DECIDED,
                "lacking": "; ".join(lacking(rows, of_claim)),
                "variants": variants(grid, claim) if verdict == UNTESTABLE else [],
                "grid": claim["grid"],
            }
        )
    return shown


def lacking(rows: pd.DataFrame, places: pd.DataFrame) -> list[str]:
    """What the parts of a claim that cannot be tested lack, each said once."""
    reasons = rows.loc[rows["verdict"] == UNTESTABLE, "reason"]
    return list(dict.fromkeys(short_tasks(reason, places) for reason in reasons))


def short_metric(metric: str) -> str:
    """A metric as a word or two: "AUC", "Relative bias"."""
    words = metric.replace("_", " ")
    return words.upper() if metric == "auc" else words.capitalize()


def open_claims(verdicts: list[str]) -> str:
    """What stands above the claims that these runs do not decide; empty where they decide all."""
    kinds = [f"{verdicts.count(verdict)} {verdict}" for verdict in VERDICTS if verdict in verdicts]
    return f"{plural(len(verdicts), 'claim')} not decided: {', '.join(kinds)}" if verdicts else ""


def counts_sentence(verdicts: list[str]) -> str:
    """How many claims have which verdict."""
    counts = [
        f"{n} {verb}{verdict}"
        for verdict in VERDICTS
        if (n := verdicts.count(verdict))
        for verb in [
            {UNTESTABLE: "", TOO_LITTLE: "has " if n == 1 else "have "}.get(verdict, "is " if n == 1 else "are ")
        ]
    ]
    total = len(verdicts)
    return f"Of {total} claim{'s' if total > 1 else ''}, {enumerate_text(counts)}."


def badge(verdict: str) -> dict[str, str]:
    return {"verdict": verdict, "mark": MARKS[verdict], "style": STYLES[verdict]}


def variants(grid: Grid, claim: dict[str, Any]) -> list[str]:
    """Lines for the grid's algorithms that would make the claim testable, of entries that it lacks."""
    return [f"{name}: {flow(entry)}" for name, entry in claim["variants"].items() if name not in grid.algorithms]


def flow(value: Any) -> str:
    """A value as YAML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {flow(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)


def comparison(grid: Grid, asked: dict[str, Any], row: pd.Series, places: pd.DataFrame) -> dict[str, Any]:
    """One part of a claim, as grid.json asks for it: what was measured and what was needed, what it rests on, and each
    task by itself.
    """
    metric = row["metric"]
    measured = row["tasks"] > 0
    return {
        "what": unbroken(WHAT[metric]),
        "effect": effect_text(row) if measured else sides_text(row),
        "spread": spread_text(row) if measured else "",
        "needed": needed_text(row),
        "badge": badge(row["verdict"]),
        "reason": sentence(short_tasks(row["reason"], places)),
        "basis": basis(grid, asked, row, places) if measured else "",
        "notes": [sentence(text) for text in notes(row, places)],
        "evidence": evidence(row) if measured else None,
        "table": TABLES_BEHIND.get(metric, "scores"),
        "noted": places["note"].notna().any(),
        "places": [place(row, found) for _, found in places.iterrows()] if measured and len(places) > 1 else [],
    }


def effect_text(row: pd.Series) -> str:
    """PPO minus A2C: +0.12 [+0.05, +0.19]; of what should be equal everywhere, where it is furthest off."""
    effect = estimate(row["effect"], row["low"], row["high"], row)
    if row["direction"] == "equal" and pd.notna(row["furthest"]):
        effect = f"at worst {effect}, on {short_name(row['furthest'])}"
    if row["scale"] == "ratio":
        second = "REINFORCE" if pd.isna(row["second"]) else row["second"]
        return f"{row['first']} has {effect} of what {second} has"
    return f"{row['first']}: {effect}" if pd.isna(row["second"]) else f"{row['first']} minus {row['second']}: {effect}"


def spread_text(row: pd.Series) -> str:
    """Of a mean ratio, what single policies have; of runs that it is a mean over tasks."""
    if row["scale"] != "ratio" or row["direction"] == "equal" or row["n_first"] < 2:
        return ""
    if row["unit"] == "runs":
        return "geometric mean over tasks" if row["tasks"] > 1 else ""
    return f"geometric mean; single policies: {number_of(row['least'])} to {percents(row['most'])}"


def sides_text(row: pd.Series) -> str:
    return row["first"] if pd.isna(row["second"]) else f"{row['first']} against {row['second']}"


def is_signed(row: pd.Series) -> bool:
    """Whether the effect is a difference of two sides."""
    return row["scale"] == "difference" and pd.notna(row["second"])


def unit(row: pd.Series) -> str:
    """Of percentages; their differences are points."""
    if row["metric"] not in IN_PERCENT:
        return ""
    return "\N{NO-BREAK SPACE}points" if is_signed(row) else "\N{NO-BREAK SPACE}%"


def estimate(value: float, low: float, high: float, row: pd.Series) -> str:
    """An effect with its interval, or alone where there is none; differences with their signs."""
    if pd.isna(value):
        return "–"
    ends = "" if pd.isna(low) else f" [{amount(low, row)},\N{NO-BREAK SPACE}{amount(high, row)}]"
    return f"{amount(value, row)}{unit(row)}{ends}"


def amount(value: float, row: pd.Series) -> str:
    """Two decimals, or percent; a minus and, where it is a difference, a plus. With as many more digits as it takes to
    see whether it is what was needed.
    """
    percent, signed = row["metric"] in IN_PERCENT, is_signed(row)
    scale = 100 if percent else 1
    text = number_of(value) if percent and not signed else f"{scale * value:.{0 if percent else 2}f}"
    for digits in range(MOST_DIGITS):
        if text.startswith("<") or meets(read(text) / scale, row) == meets(value, row):
            break
        text = f"{scale * value:.{digits}f}"
    if not text.startswith("<") and read(text) == 0:
        return text.lstrip("-")
    return text.replace("-", "−") if value < 0 or not signed else f"+{text}"


def read(text: str) -> float:
    """The number that a reader sees, which may have commas between thousands."""
    return float(text.replace(",", ""))


def meets(value: float, row: pd.Series) -> bool:
    """Whether an effect is one of those that were claimed; one at the end of them is."""
    low, high = row["claimed_low"], row["claimed_high"]
    return not (value < low and not np.isclose(value, low)) and not (value > high and not np.isclose(value, high))


def needed_text(row: pd.Series) -> str:
    """at most 95 %; at least +0.02; at most −2 points; between −0.02 and +0.02."""

    def end(value: float) -> str:
        sign = "−" if value < 0 else "+" if is_signed(row) else ""
        return sign + f"{abs(100 * value if row['metric'] in IN_PERCENT else value):g}"

    low, high = row["claimed_low"], row["claimed_high"]
    if pd.isna(low) or (row["direction"] == "equal" and METRICS[row["metric"]].nonnegative and not is_signed(row)):
        text = f"at most {end(high)}{unit(row)}"
    else:
        text = f"at least {end(low)}{unit(row)}" if pd.isna(high) else f"between {end(low)} and {end(high)}{unit(row)}"
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def basis(grid: Grid, asked: dict[str, Any], row: pd.Series, places: pd.DataFrame) -> str:
    """5 runs of each algorithm on each of 7 tasks; 5 of 9 frozen policies of 1 run on each of 3 tasks."""
    present = places[places["effect"].notna()]
    if row["unit"] == "policies":
        return policies_text(grid, asked, row)
    n = pd.concat([present["n_first"], present["n_second"]]).dropna()
    runs = plural(int(n.min()), "run") if n.min() == n.max() else f"{int(n.min())} to {int(n.max())} runs"
    of = " of each algorithm" if pd.notna(row["second"]) else ""
    return f"{runs}{of} on {on_tasks(int(row['tasks']))}"


def on_tasks(n: int) -> str:
    return f"{'each of ' if n > 1 else ''}{plural(n, 'task')}"


def policies_text(grid: Grid, asked: dict[str, Any], row: pd.Series) -> str:
    """How many frozen policies the comparison is over, of how many, and from how many runs they are."""
    n, total = int(row["n_first"]), int(row["asked"])
    of = f"{n} of " if n < total else ""
    probes = [probe for probe in grid.probes if wanted(asked, probe)]
    if all(probe["exact"] for probe in probes):
        return f"{of}{plural(total, 'problem')} whose true gradient is known"
    tasks = {probe["task"] for probe in probes}
    early = {probe["fraction"] for probe in grid.probes if probe["task"] in tasks and not wanted(asked, probe)}
    since = "untrained" if early == {0} else f"before {percents(asked['from_fraction'])} of training"
    none = f" (none {since})" if early else ""
    runs = [len({(probe["source"], probe["seed"]) for probe in probes if probe["task"] == task}) for task in tasks]
    several = plural(max(runs), "run") if min(runs) == max(runs) else f"{min(runs)} to {max(runs)} runs"
    return f"{of}{total} frozen polic{'y' if total == 1 else 'ies'}{none} of {several} on {on_tasks(len(tasks))}"


def notes(row: pd.Series, places: pd.DataFrame) -> list[str]:
    """What a reader must know of the average: tasks that say the opposite, that are not in it, or only in part."""
    found = []
    if pd.notna(row["against"]):
        tasks = row["against"].split(" ")
        by = "by itself says" if len(tasks) == 1 else "by themselves say"
        found.append(f"{enumerate_text(map(short_name, tasks))} {by} the opposite of the average")
    if pd.notna(row["rests_on"]):
        found.append(without_text(row, places))
    if pd.notna(row["left_out"]):
        found.append(f"not counted: {short_tasks(row['left_out'], places)}")
    partly = places[places["effect"].notna() & places["note"].notna()]
    for note, of in partly.groupby("note", sort=False):
        found.append(f"{enumerate_text(map(short_name, of['task']))}: {note}")
    return found


def without_text(row: pd.Series, places: pd.DataFrame) -> str:
    """Without A-v0: +0.01 [−0.02, +0.04], and the verdict would not be “supported”."""
    names = [f"without{end}" for end in ("", "_low", "_high")]
    left = [
        f"without {short_name(place['task'])}: {estimate(*(place[name] for name in names), row)}"
        for _, place in places[places["task"].isin(row["rests_on"].split(" "))].iterrows()
    ]
    then = (
        "" if row["verdict"] == UNDECIDED else f"{'; either way' if len(left) > 1 else ', and'} the verdict would not "
    )
    return "; ".join(left) + (f"{then}be “{row['verdict']}”" if then else "")


def short_tasks(text: Any, places: pd.DataFrame) -> str:
    """A text with the names of tasks without the module that registers them."""
    text = "" if pd.isna(text) else str(text)
    for task in places["task"]:
        text = text.replace(task, short_name(task))
    return text


def unbroken(text: str) -> str:
    """Without a break before a percent sign."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


def sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}." if text else ""


def evidence(row: pd.Series) -> tuple[str, str]:
    """The place on the page that shows what was compared: its anchor and its title."""
    name = row["figure"]
    if pd.notna(name) and name in FIGURES:
        return f"figure-{name}", FIGURES[name][1]
    return SECTIONS.get(row["metric"], ("laboratory" if row["unit"] == "policies" else "scores", "The measurements"))


def place(row: pd.Series, found: pd.Series) -> dict[str, Any]:
    """One task of a comparison."""
    n = [int(found[name]) for name in ("n_first", "n_second") if pd.notna(found[name])]
    return {
        "task": short_name(found["task"]),
        "effect": estimate(found["effect"], found["low"], found["high"], row),
        "n": " and ".join(map(str, dict.fromkeys(n) if row["unit"] == "policies" else n)),
        "badge": badge(found["verdict"]),
        "note": "" if pd.isna(found["note"]) else found["note"],
    }
