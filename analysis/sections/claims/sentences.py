"""What the page shows of the claims: each verdict with its effect in words, and what it rests on."""

from typing import Any

import numpy as np
import pandas as pd

from policy_gradient_ladder.experiments.metrics import COMMON_CLAIMS, QUALITY_METRICS, UNDER_METRICS

from ...reading.checks import ResultsError, command
from ...reading.grid import Grid
from ...words import enumerate_text, number_of, percents, plural, short_name
from .. import FIGURES, TITLES
from ..robustness.sentences import under
from .gradients import wanted
from .quality import quality_policies_text
from .sides import differ_in_evaluation, of_each, shared_values, singles, value_text
from .verdicts import (
    CONTRADICTED,
    METRICS,
    SUPPORTED,
    TOO_LITTLE,
    UNDECIDED,
    UNTESTABLE,
    VERDICTS,
)
from .wording import ABOUT, HOW, HOW_ESTIMATORS, MEANINGS, OF_QUALITY, WHAT, WORDS

MARKS = {SUPPORTED: "✓", CONTRADICTED: "✗", UNDECIDED: "?", TOO_LITTLE: "·", UNTESTABLE: "–"}  # told apart in grey, too
STYLES = {
    **{verdict: verdict for verdict in (SUPPORTED, CONTRADICTED, UNDECIDED)},
    TOO_LITTLE: "too-little",
    UNTESTABLE: "untestable",
}
IN_PERCENT = (
    *("variance", "absolute_variance", "cost", "relative_bias", "bias_squared"),
    *("steps_to_threshold", "spread", "gradient_variance", "value_error"),
    *("solved", "evaluations_to_solution"),
)
DECIDED = (SUPPORTED, CONTRADICTED)
MOST_DIGITS = 4  # that tell an effect from the smallest one that counts
SECTIONS = {  # where a metric without a figure stands
    **dict.fromkeys(
        ("steps_to_threshold", "mode_score", "episode_spread", "episode_cost"), ("scores", "Scores, every run")
    ),
    **dict.fromkeys(("solved", "evaluations_to_solution", "best_score"), ("discovery", "What was found")),
    "relative_bias": ("laboratory", "Gradient laboratory"),
    "bias_squared": ("laboratory", "Gradient laboratory"),
}
TABLES_BEHIND = {
    "drop": "curves",
    **dict.fromkeys(("solved", "evaluations_to_solution", "best_score"), "discoveries"),
    **dict.fromkeys(UNDER_METRICS, "robustness"),
    **{name: "gradients" for name, metric in METRICS.items() if not metric.of_runs},
}
TABLES_BEHIND |= {name: "value_quality" if name == "value_error" else "quality" for name in QUALITY_METRICS}
SECOND_SIDES = {"gradient_variance": "no value function"}  # of a ratio of one side; of others it is REINFORCE


def page(grid: Grid, claims: pd.DataFrame, claim_tasks: pd.DataFrame) -> dict[str, Any] | None:
    """The claims in the grid's order; None without any."""
    if not grid.claims:
        return None
    return {
        "claims": (shown := shown_claims(grid, claims, claim_tasks)),
        "folds": folds(grid, shown),
        "about": ABOUT,
        "verdicts": MEANINGS,
        "words": WORDS,
        "how": HOW | (HOW_ESTIMATORS if grid.estimator_probes else {}) | (OF_QUALITY if about_quality(grid) else {}),
        "any": "One of its parts is enough.",
        "untestable": (
            "This grid does not run what the claim compares. To test the claim, add to “algorithms:” in the grid "
            "file, with the per-task settings of the entry with which it is compared:"
        ),
        "other_grid": "They are in the grid",
    }


def about_quality(grid: Grid) -> bool:
    """Whether any claim of the grid is about the quality of gradient estimates."""
    return any(one["metric"] in QUALITY_METRICS for claim in grid.claims for one in claim["comparisons"])


def headline(grid: Grid, claims: pd.DataFrame) -> list[str]:
    """How many claims have which verdict; nothing where the grid has no claims."""
    if not grid.claims:
        return []
    verdicts = dict(zip(claims["claim"], claims["claim_verdict"], strict=True))
    own = [verdicts[claim["id"]] for claim in grid.claims if is_own(claim)]
    common = [verdicts[claim["id"]] for claim in grid.claims if not is_own(claim)]
    if not own or UNTESTABLE not in common:
        return [counts_sentence([verdicts[claim["id"]] for claim in grid.claims])]
    there = [verdict for verdict in common if verdict != UNTESTABLE]
    n = len(common) - len(there)
    return [
        counts_sentence([*own, *there]),
        f"{plural(n, 'further claim')} that every grid tests cannot be tested here.",
    ]


def is_own(claim: dict[str, Any]) -> bool:
    """Whether a claim is one of the grid's own, and none that every grid tests."""
    return claim["file"] != COMMON_CLAIMS


def in_order(grid: Grid) -> list[dict[str, Any]]:
    """The claims as the page has them: the grid's own before those that every grid tests."""
    return sorted(grid.claims, key=lambda claim: not is_own(claim))


def shown_claims(grid: Grid, claims: pd.DataFrame, places: pd.DataFrame) -> list[dict[str, Any]]:
    """Every claim with its verdict and its comparisons, from the tables `claims` and `claim_tasks`."""
    shown = []
    for number, claim in enumerate(in_order(grid), start=1):
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
                    if row["verdict"] in DECIDED or (is_own(claim) and row["verdict"] == UNDECIDED and row["tasks"] > 0)
                ],
                "any": claim["rule"] == "any" and len(rows) > 1,
                "comparisons": [
                    comparison(grid, asked, row, of_claim[of_claim["comparison"] == row["comparison"]])
                    for asked, (_, row) in zip(claim["comparisons"], rows.iterrows(), strict=True)
                ],
                "unfolded": verdict in DECIDED or (is_own(claim) and verdict != UNTESTABLE),
                "short": [sentence(reason) for reason in short_reasons(verdict, rows, of_claim)],
                "checked": claim.get("checked", "") if verdict == CONTRADICTED else "",
                "verdict": verdict,
                "lacking": "; ".join(lacking(rows, of_claim)),
                "variants": variants(grid, claim) if verdict == UNTESTABLE else [],
                "grid": claim["grid"],
            }
        )
    return shown


def lacking(rows: pd.DataFrame, places: pd.DataFrame) -> list[str]:
    """What the parts of a claim that cannot be tested lack, each said once."""
    return reasons(UNTESTABLE, rows, places)


def short_reasons(verdict: str, rows: pd.DataFrame, places: pd.DataFrame) -> list[str]:
    """What is said beside the verdict: in what way runs contradict a claim, or what would be enough evidence."""
    if verdict == CONTRADICTED:
        return [f"these runs contradict it: {'; '.join(reasons(CONTRADICTED, rows, places))}"]
    return reasons(TOO_LITTLE, rows, places) if verdict == TOO_LITTLE else []


def reasons(verdict: str, rows: pd.DataFrame, places: pd.DataFrame) -> list[str]:
    """The reasons for this verdict on parts of a claim, each said once."""
    found = rows.loc[rows["verdict"] == verdict, "reason"]
    return list(dict.fromkeys(short_tasks(reason, places) for reason in found))


def short_metric(metric: str) -> str:
    """A metric as a word or two: "AUC", "Relative bias"."""
    words = metric.replace("_", " ")
    return words.upper() if metric == "auc" else words.capitalize()


def folds(grid: Grid, shown: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is folded: claims that these runs do not decide, and those that they cannot test, each with a title."""
    folded = [claim for claim in shown if not claim["unfolded"]]
    tested = [claim for claim in folded if claim["verdict"] != UNTESTABLE]
    untested = [claim for claim in folded if claim["verdict"] == UNTESTABLE]
    found = []
    if tested:
        verdicts = [claim["verdict"] for claim in tested]
        kinds = [f"{verdicts.count(verdict)} {verdict}" for verdict in VERDICTS if verdict in verdicts]
        found.append({"title": f"{plural(len(tested), 'claim')} not decided: {', '.join(kinds)}", "claims": tested})
    if untested:
        title = f"{plural(len(untested), 'claim')} cannot be tested{for_lack_of(grid)}"
        found.append({"title": title, "claims": untested})
    return found


def for_lack_of(grid: Grid) -> str:
    """The algorithms that the grid's claims name and the grid does not have, in words; empty where it has all."""
    named = [
        side["algorithm"]
        for claim in grid.claims
        for comparison in claim["comparisons"]
        for side in singles(comparison)
    ]
    absent = [name for name in dict.fromkeys(named) if name is not None and name not in grid.algorithms]
    return f": the grid has no {', '.join(absent)}" if absent else ""


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
    return [f"{name}: {value_text(entry)}" for name, entry in claim["variants"].items() if name not in grid.algorithms]


def comparison(grid: Grid, asked: dict[str, Any], row: pd.Series, places: pd.DataFrame) -> dict[str, Any]:
    """One part of a claim, as grid.json asks for it: what was measured and what was needed, what it rests on, and each
    task by itself.
    """
    metric = row["metric"]
    measured = row["tasks"] > 0
    return {
        "what": unbroken(WHAT[metric] + under_text(asked)),
        "effect": effect_text(row) if measured else sides_text(row),
        "spread": spread_text(row) if measured else "",
        "needed": needed_text(row),
        "badge": badge(row["verdict"]),
        "reason": sentence(short_tasks(row["reason"], places)),
        "basis": basis(grid, asked, row, places) if measured else "",
        "notes": [sentence(text) for text in notes(row, places)],
        "evidence": evidence(row) if measured else None,
        "table": "estimators" if row["unit"] == "places" else TABLES_BEHIND.get(metric, "scores"),
        "noted": places["note"].notna().any(),
        "places": [place(row, found) for _, found in places.iterrows()] if measured and len(places) > 1 else [],
    }


def under_text(asked: dict[str, Any]) -> str:
    """The change of the task that a comparison is about, in words; empty where it is about none."""
    return "".join(f", under {under(change, size)}" for change, size in asked.get("under", {}).items())


def effect_text(row: pd.Series) -> str:
    """PPO minus A2C: +0.12 [+0.05, +0.19]; of what should be equal everywhere, where it is furthest off."""
    effect = estimate(row["effect"], row["low"], row["high"], row)
    if row["direction"] == "equal" and pd.notna(row["furthest"]):
        effect = f"at worst {effect}, on {short_name(row['furthest'])}"
    if row["scale"] == "ratio":
        reference = "the score function" if row["unit"] == "places" else SECOND_SIDES.get(row["metric"], "REINFORCE")
        second = reference if pd.isna(row["second"]) else row["second"]
        return f"{row['first']} has {effect} of what {second} has"
    return f"{row['first']}: {effect}" if pd.isna(row["second"]) else f"{row['first']} minus {row['second']}: {effect}"


def spread_text(row: pd.Series) -> str:
    """Of a mean ratio, what single policies have; of runs that it is a mean over tasks."""
    if row["scale"] != "ratio" or row["direction"] == "equal" or row["n_first"] < 2:
        return ""
    if row["unit"] == "runs":
        return "geometric mean over tasks" if row["tasks"] > 1 else ""
    return f"geometric mean; single {row['unit']}: {number_of(row['least'])} to {percents(row['most'])}"


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
    if row["metric"] in QUALITY_METRICS:
        return quality_policies_text(grid, asked, row)
    if row["unit"] == "policies":
        return policies_text(grid, asked, row)
    if row["unit"] == "places":
        return places_text(row)
    n = pd.concat([present["n_first"], present["n_second"]]).dropna()
    runs = plural(int(n.min()), "run") if n.min() == n.max() else f"{int(n.min())} to {int(n.max())} runs"
    of = f" {of_each(asked)}" if pd.notna(row["second"]) and not differ_in_evaluation(asked) else ""
    values = f" ({shared})" if (shared := shared_values(asked)) else ""
    return f"{runs}{of} on {on_tasks(int(row['tasks']))}{values}"


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


def places_text(row: pd.Series) -> str:
    """At how many places of how many problems estimators are compared."""
    n, total = int(row["n_first"]), int(row["asked"])
    of = f"{n} of " if n < total else ""
    return f"{of}{plural(total, 'place')} of {plural(int(row['tasks']), 'problem')} whose true gradient is known"


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
    if row["unit"] == "places":
        return ("estimators", TITLES["estimators"])
    return SECTIONS.get(row["metric"], ("laboratory" if row["unit"] == "policies" else "scores", "The measurements"))


def place(row: pd.Series, found: pd.Series) -> dict[str, Any]:
    """One task of a comparison."""
    n = [int(found[name]) for name in ("n_first", "n_second") if pd.notna(found[name])]
    return {
        "task": short_name(found["task"]),
        "effect": estimate(found["effect"], found["low"], found["high"], row),
        "n": " and ".join(map(str, n if row["unit"] == "runs" else dict.fromkeys(n))),
        "badge": badge(found["verdict"]),
        "note": "" if pd.isna(found["note"]) else found["note"],
    }
