"""What the page shows of the claims: each verdict with its effect in words, and what it rests on."""

import json
from typing import Any

import pandas as pd

from analysis.claims import CONTRADICTED, LEARNING_STEPS, METRICS, SUPPORTED, UNDECIDED, UNTESTABLE, VERDICTS
from analysis.findings import enumerate_text, plural
from analysis.laboratory import short_name
from analysis.laboratory_findings import share
from analysis.results import Grid, ResultsError

MARKS = {SUPPORTED: "✓", CONTRADICTED: "✗", UNDECIDED: "?", UNTESTABLE: "–"}  # told apart without their colours
STYLES = {SUPPORTED: "supported", CONTRADICTED: "contradicted", UNDECIDED: "undecided", UNTESTABLE: "untestable"}

WHAT = {  # what a comparison measures, for somebody who has read one chapter on policy gradients
    "final_score": "Score at the end of training (0: random actions, 1: the task’s reference score)",
    "auc": "Return averaged over the whole of training (0: random actions, 1: the task’s reference score)",
    "learning_per_step": f"Score at the end of training per {LEARNING_STEPS:,} steps (0: random actions, 1: reference)",
    "drop": "Fall of the training return from its highest point to its end (1: from reference to random actions)",
    "steps_to_threshold": "Steps until the training return reaches the task’s threshold, as a share of the budget",
    "variance": "Variance of the gradient estimate",
    "relative_bias": "Distance of the mean estimate from the true gradient, as a share of the gradient’s length",
    "bias_squared": "Squared distance of the mean estimate from the true gradient, as a share of its squared length",
    "cosine": "Cosine of the angle between one batch’s estimate and the true gradient",
}
IN_PERCENT = ("variance", "relative_bias", "bias_squared", "steps_to_threshold")
SECTIONS = {  # where a metric without a figure stands
    "steps_to_threshold": ("scores", "Scores, every run"),
    "relative_bias": ("laboratory", "Gradient laboratory"),
    "bias_squared": ("laboratory", "Gradient laboratory"),
}
TABLES_BEHIND = {"drop": "curves", **{name: "gradients" for name, metric in METRICS.items() if not metric.of_runs}}


def section(grid: Grid, claims: pd.DataFrame, places: pd.DataFrame, figures: dict[str, str]) -> dict[str, Any] | None:
    """The claims in the grid's order; None without any. `figures` are the titles of those on the page, by name."""
    if not grid.claims:
        return None
    shown = []
    for number, claim in enumerate(grid.claims, start=1):
        rows = claims[claims["claim"] == claim["id"]]
        if rows.empty:
            raise ResultsError(
                f"{grid.folder / 'tables/claims.csv'}: no claim {claim['id']!r}, which grid.json has; make the tables "
                f"again with: python -m analysis.tables --results {grid.folder}."
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
                "any": claim["rule"] == "any" and len(rows) > 1,
                "comparisons": [
                    comparison(row, of_claim[of_claim["comparison"] == row["comparison"]], figures)
                    for _, row in rows.iterrows()
                ],
                "variants": variants(grid, claim) if verdict == UNTESTABLE else [],
            }
        )
    return {"sentence": counts_sentence([claim["badge"]["verdict"] for claim in shown]), "claims": shown}


def counts_sentence(verdicts: list[str]) -> str:
    """How many claims have which verdict."""
    counts = [
        f"{n} {verdict}" if verdict == UNTESTABLE else f"{n} {'is' if n == 1 else 'are'} {verdict}"
        for verdict in VERDICTS
        if (n := verdicts.count(verdict))
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


# ---------------------------------------------------------------------------------------- comparisons


def comparison(row: pd.Series, places: pd.DataFrame, figures: dict[str, str]) -> dict[str, Any]:
    """One part of a claim: what was measured, what was claimed, what it rests on, and each task by itself."""
    metric = row["metric"]
    measured = row["tasks"] > 0
    return {
        "what": WHAT[metric],
        "effect": effect_text(row) if measured else sides_text(row),
        "claimed": claimed_text(row),
        "badge": badge(row["verdict"]),
        "reason": sentence(short_tasks(row["reason"], places)),
        "basis": basis(row, places) if measured else "",
        "notes": [sentence(text) for text in notes(row, places)],
        "evidence": evidence(row, figures) if measured else None,
        "table": TABLES_BEHIND.get(metric, "scores"),
        "places": [place(row, found) for _, found in places.iterrows()] if measured and len(places) > 1 else [],
    }


def effect_text(row: pd.Series) -> str:
    """PPO minus A2C: +0.12 [+0.05, +0.19]."""
    effect = estimate(row["effect"], row["low"], row["high"], row)
    if row["scale"] == "ratio":
        second = "REINFORCE" if pd.isna(row["second"]) else row["second"]
        return f"{row['first']} has {effect} of what {second} has"
    return f"{row['first']}: {effect}" if pd.isna(row["second"]) else f"{row['first']} minus {row['second']}: {effect}"


def sides_text(row: pd.Series) -> str:
    return row["first"] if pd.isna(row["second"]) else f"{row['first']} against {row['second']}"


def estimate(value: float, low: float, high: float, row: pd.Series) -> str:
    """An effect with its interval, or alone where there is none; differences with their signs."""
    if pd.isna(value):
        return "–"
    signed = row["scale"] == "difference" and pd.notna(row["second"])
    if row["metric"] in IN_PERCENT and not signed:
        return share(value, low, high)
    text = amount(value, row["metric"], signed)
    unit = "\N{NO-BREAK SPACE}%" if row["metric"] in IN_PERCENT else ""
    ends = "" if pd.isna(low) else f" [{amount(low, row['metric'], signed)}, {amount(high, row['metric'], signed)}]"
    return f"{text}{unit}{ends}"


def amount(value: float, metric: str, signed: bool) -> str:
    """Two decimals, or percent without them; a minus and, where it is a difference, a plus."""
    text = f"{100 * value:.0f}" if metric in IN_PERCENT else f"{value:.2f}"
    if float(text) == 0:
        return text.lstrip("-")
    return text.replace("-", "−") if value < 0 or not signed else f"+{text}"


def claimed_text(row: pd.Series) -> str:
    """at most 95 %; at least +0.02; between −0.02 and +0.02."""
    signed = row["scale"] == "difference" and pd.notna(row["second"])

    def end(value: float) -> str:
        sign = "−" if value < 0 else "+" if signed else ""
        percent = row["metric"] in IN_PERCENT
        return sign + (f"{100 * abs(value):g}\N{NO-BREAK SPACE}%" if percent else f"{abs(value):g}")

    low, high = row["claimed_low"], row["claimed_high"]
    if pd.isna(low) or (row["direction"] == "equal" and METRICS[row["metric"]].nonnegative and not signed):
        return f"{end(high)} or less"
    return f"{end(low)} or more" if pd.isna(high) else f"between {end(low)} and {end(high)}"


def basis(row: pd.Series, places: pd.DataFrame) -> str:
    """5 runs of each side on each of 7 tasks; 12 frozen policies on 3 tasks."""
    present = places[places["effect"].notna()]
    if row["figure"] == "exact_problems":
        return f"{plural(int(row['tasks']), 'problem')} whose true gradient is known"
    tasks = plural(int(row["tasks"]), "task")
    if row["unit"] == "policies":
        n = int(row["n_first"])
        return f"{n} frozen polic{'y' if n == 1 else 'ies'} on {tasks}"
    n = pd.concat([present["n_first"], present["n_second"]]).dropna()
    runs = plural(int(n.min()), "run") if n.min() == n.max() else f"{int(n.min())} to {int(n.max())} runs"
    side = " of each side" if pd.notna(row["second"]) else ""
    return f"{runs}{side} on {'each of ' if row['tasks'] > 1 else ''}{tasks}"


def notes(row: pd.Series, places: pd.DataFrame) -> list[str]:
    """What a reader must know of the average: tasks that say the opposite, that are not in it, or only in part."""
    found = []
    if pd.notna(row["against"]):
        tasks = row["against"].split(" ")
        other = "contradicts" if row["verdict"] == SUPPORTED else "supports"
        verb = f"{other} it" if len(tasks) == 1 else f"{other.removesuffix('s')} it"
        found.append(
            f"{enumerate_text(map(short_name, tasks))} by {'itself' if len(tasks) == 1 else 'themselves'} {verb}"
        )
    if pd.notna(row["rests_on"]):
        tasks = " or without ".join(map(short_name, row["rests_on"].split(" ")))
        found.append(f"without {tasks} the verdict would not be “{row['verdict']}”")
    if pd.notna(row["left_out"]):
        found.append(f"not counted: {short_tasks(row['left_out'], places)}")
    partly = places[places["effect"].notna() & places["note"].notna()]
    found += [f"{short_name(place['task'])}: {place['note']}" for _, place in partly.iterrows()]
    return found


def short_tasks(text: Any, places: pd.DataFrame) -> str:
    """A text with the names of tasks without the module that registers them."""
    text = "" if pd.isna(text) else str(text)
    for task in places["task"]:
        text = text.replace(task, short_name(task))
    return text


def sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}." if text else ""


def evidence(row: pd.Series, figures: dict[str, str]) -> tuple[str, str]:
    """The place on the page that shows what was compared: its anchor and its title."""
    name = row["figure"]
    if pd.notna(name) and name in figures:
        return f"figure-{name}", figures[name]
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
