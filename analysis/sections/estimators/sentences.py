"""What the tables of estimators say: a sentence or two above each figure, and the rows that the page shows."""

from typing import Any

import pandas as pd

from ...reading.grid import Grid
from ...words import enumerate_text, fixed, interval, number, percents, plural
from ..claims.sentences import badge
from ..laboratory.sentences import share
from ..laboratory.tables import UNBIASED_WITHIN
from .figures import NUMBERS, middle_place
from .looks import SYMBOLS, Sweep, setting_sweeps, sweeps, variant_title
from .tables import SCORE_FUNCTION, at_main_size, parsed

ABOUT = (
    "There are many ways to estimate the same gradient. Here each is computed on small problems whose true gradient is "
    "known in closed form. So nothing has to be believed: what an estimator is wrong by, how much it scatters and what "
    "it costs are numbers."
)
TERMS = {
    "Problem, place": (
        "a problem is a small task (quadratic: a reward that is a parabola of the action; wave: one that swings; step: "
        "one that jumps; lqr: a linear system; game: several agents with one reward; arms: a choice between arms; "
        "chain: a few states). Its numbers, such as the number of dimensions d or the standard deviation σ of the "
        "policy’s noise, make a place of it."
    ),
    "Variance": (
        "how far the estimates of single batches scatter around their mean, as a share of the scatter of the score "
        "function’s estimate Σ R ∇log π at the same place. Of 1\u00a0%, a hundredth of the samples is enough."
    ),
    "Bias": (
        "how far the mean estimate lies from the true gradient, in its lengths. More samples do not help. A critic is "
        "fitted once at each place; what that one fit is wrong by counts as bias."
    ),
    "Direction": "the cosine of the angle between the estimate of one batch and the true gradient: 1 is the right way.",
    "Cost": (
        "variance times the processor time of an estimate, drawing its samples included: twice the samples take twice "
        "the time and halve the variance, so this product is what a user pays."
    ),
}
GOOD_COSINE = 0.9  # a direction at most 26° off
MIDDLE = "Where a figure shows one place of a problem, it is the middle one."


def page(
    grid: Grid, estimators: pd.DataFrame, estimators_left_out: pd.DataFrame, claims: pd.DataFrame, figures: dict
) -> dict[str, Any] | None:
    """What the section shows; None where the grid asks for no estimators."""
    if not grid.estimator_probes:
        return None
    told = sentences(estimators) if len(estimators) else {}
    return {
        "about": ABOUT,
        "terms_of": TERMS,
        "measured": measured(grid, estimators),
        "shown": [
            {"figure": figure, "claims": claims_about(name, claims), "sentences": told.get(name, [])}
            for name, figure in figures.items()
            if len(estimators)
        ],
        "problems": problem_rows(estimators),
        "left_out": [
            f"{row.estimator} on {row.problem}: {row.reason}"
            for row in estimators_left_out.drop_duplicates(["problem", "estimator"]).itertuples()
        ],
        "within": percents(UNBIASED_WITHIN),
    }


def measured(grid: Grid, estimators: pd.DataFrame) -> str:
    """How many problems, places and batches there are, and which problems are missing."""
    there = list(dict.fromkeys(estimators["problem"]))
    absent = [probe["task"] for probe in grid.estimator_probes if probe["task"] not in there]
    missing = f" Not measured yet: {enumerate_text(absent)}." if absent else ""
    if not there:
        return f"No estimator has been measured yet.{missing}"
    main = at_main_size(estimators)
    places = len(main[["problem", "place"]].drop_duplicates())
    batches, sizes = sorted(main["batches"].unique()), sorted(main["size"].unique())
    n = f"{batches[0]:,}" if len(batches) == 1 else f"{batches[0]:,} to {batches[-1]:,}"
    of = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
    return (
        f"{plural(main['estimator'].nunique(), 'estimator')} on {plural(len(there), 'problem')} at "
        f"{plural(places, 'place')}: {n} independent batches of {of} samples. {MIDDLE}{missing}"
    )


def claims_about(figure: str, claims: pd.DataFrame) -> list[dict[str, Any]]:
    """The claims whose first comparison this figure shows, each with its verdict."""
    first = claims.drop_duplicates("claim")
    return [
        {"id": row.claim, "statement": row.statement, "badge": badge(row.claim_verdict)}
        for row in first[first["figure"] == figure].itertuples()
    ]


def sentences(estimators: pd.DataFrame) -> dict[str, list[str]]:
    """What each figure says, in words, by the figure's name."""
    main = at_main_size(estimators)
    main = main.assign(
        name=[variant_title(t, of) for t, of in zip(main["title"], parsed(main, "settings"), strict=True)]
    )
    problems = [middle_place(of) for _, of in main.groupby("problem", sort=False)]
    return {
        "estimator_variance": [said for here in problems if (said := least(here, "ratio", "variance"))],
        "variance_growth": [
            said for number in NUMBERS for sweep in sweeps(main, number) if (said := growth(sweep, number))
        ],
        "estimator_sigma": [said for sweep in sweeps(main, "sigma") for said in along_sigma(sweep)],
        "estimator_bias": [biases(of) for _, of in main.groupby("problem", sort=False)],
        "estimator_settings": [said for key, sweep in setting_sweeps(main) for said in along_setting(key, sweep)],
        "estimator_cosine": [said for _, of in estimators.groupby("problem", sort=False) if (said := directions(of))],
        "estimator_cost": [
            said for here in problems if (said := least(share_of_cost(here), "ratio", "variance × time"))
        ],
        "natural_gradient": natural(main),
    }


def at(here: pd.DataFrame) -> str:
    """The problem and the place of rows that have one of each: quadratic (d = 8, σ = 0.3)."""
    return f"{here['problem'].iloc[0]} ({here['place'].iloc[0]})"


def least(here: pd.DataFrame, measure: str, words: str) -> str:
    """Which estimator has least of a measure that is a share of the score function's, and how many have less of it."""
    others = here[(here[measure] > 0) & ~is_score_function(here)]
    if others.empty:
        return ""
    best = others.loc[others[measure].idxmin()]
    below, above = int((others[f"{measure}_high"] < 1).sum()), int((others[f"{measure}_low"] > 1).sum())
    return (
        f"{at(here)}: of the others, {below} of {len(others)} have less {words} than the score function and {above} "
        f"more; {best['name']} has least, {share(*(best[f'{measure}{end}'] for end in ('', '_low', '_high')))} of it."
    )


def share_of_cost(here: pd.DataFrame) -> pd.DataFrame:
    """The rows of one place, with the cost as a share of the score function's in place of the variance's."""
    time = here["milliseconds"] / here.loc[is_score_function(here), "milliseconds"].max()
    return here.assign(**{f"ratio{end}": here[f"ratio{end}"] * time for end in ("", "_low", "_high")})


def is_score_function(table: pd.DataFrame) -> pd.Series:
    """Which rows are of the score function without further settings."""
    return (table["estimator"] == SCORE_FUNCTION) & (table["settings"] == "{}")


def growth(sweep: Sweep, number: str) -> str:
    """What the variance of the estimator that has least at the end does along a number of a problem."""
    x, rows = sweep.rows["x"], sweep.rows[(sweep.rows["ratio"] > 0) & ~is_score_function(sweep.rows)]
    last = rows[rows["x"] == x.max()]
    if last.empty:
        return ""
    best = last.loc[last["ratio"].idxmin()]
    same = rows[(rows["name"] == best["name"]) & (rows["x"] == x.min())]
    if same.empty:
        return ""
    symbol = SYMBOLS.get(number, number)
    return (
        f"{sweep.problem}: from {symbol} = {x.min():g} to {x.max():g}, the variance of {best['name']} goes from "
        f"{percents(same['ratio'].iloc[0])} to {percents(best['ratio'])} of the score function’s."
    )


def along_sigma(sweep: Sweep) -> list[str]:
    """What less noise of the policy does to the score function's variance, and to the largest bias."""
    rows = sweep.rows
    low, high = (rows[rows["x"] == end] for end in (rows["x"].min(), rows["x"].max()))
    variance = [of.loc[is_score_function(of), "variance"] for of in (low, high)]
    start = f"{sweep.problem}: from σ = {rows['x'].max():g} to {rows['x'].min():g}"
    said = []
    if all(map(len, variance)) and variance[1].iloc[0] > 0:
        factor = variance[0].iloc[0] / variance[1].iloc[0]
        said.append(f"{start}, the score function’s variance becomes {number(factor)} times as large.")
    biased = high[(high["verdict"] == "biased") & high["name"].isin(low["name"])]
    if len(biased):
        worst = biased.loc[biased["relative_bias"].idxmax()]
        other = low.loc[low["name"] == worst["name"], "relative_bias"].iloc[0]
        said.append(
            f"{start}, the bias of {worst['name']} goes from {percents(worst['relative_bias'])} to {percents(other)} "
            f"of the true gradient’s length."
        )
    return said


def biases(here: pd.DataFrame) -> str:
    """How many estimators of a problem are biased, at how many of their places, and the largest bias."""
    verdicts = here["verdict"].value_counts()
    counts = enumerate_text(
        f"{verdicts[name]} {words}"
        for name, words in (
            ("unbiased", f"unbiased within {percents(UNBIASED_WITHIN)}"),
            ("biased", "biased"),
            ("undecided", "undecided"),
        )
        if name in verdicts
    )
    said = f"{here['problem'].iloc[0]}: of {plural(len(here), 'estimate')} (an estimator at a place), {counts}"
    biased = here[(here["verdict"] == "biased") & here["relative_bias"].notna()]
    if biased.empty:
        return f"{said}."
    worst = biased.loc[biased["relative_bias"].idxmax()]
    off = share(*(worst[f"relative_bias{end}"] for end in ("", "_low", "_high")))
    return (
        f"{said}; the largest bias is that of {worst['name']} at {worst['place']}: {off} of the true gradient’s length."
    )


def along_setting(key: str, sweep: Sweep) -> list[str]:
    """Bias and variance of each estimator at both ends of a setting."""
    said = []
    rows = sweep.rows.sort_values("x", kind="stable")
    others = [{name: value for name, value in of.items() if name != key} for of in parsed(rows, "settings")]
    rows = rows.assign(name=[variant_title(t, of) for t, of in zip(rows["title"], others, strict=True)])
    for name, of in rows[rows["x"].notna()].groupby("name", sort=False):
        first, last = of.iloc[0], of.iloc[-1]
        said.append(
            f"{name} on {sweep.problem} ({sweep.fixed}), {key.replace('_', ' ')} {first['x']:g} → "
            f"{last['x']:g}: bias {percents(first['relative_bias'])} → {percents(last['relative_bias'])}, variance "
            f"{percents(first['ratio'])} → {percents(last['ratio'])} of the score function’s."
        )
    return said


def directions(of_problem: pd.DataFrame) -> str:
    """How many samples the best estimator and the score function need for a good direction."""
    here = middle_place(of_problem[of_problem["true_cosine"].notna()])
    if here.empty:
        return ""
    here = here.assign(
        name=[variant_title(t, of) for t, of in zip(here["title"], parsed(here, "settings"), strict=True)]
    )
    needed = {name: samples(of) for name, of in here.groupby("name", sort=False)}
    best = min(needed, key=lambda name: needed[name] or float("inf"))
    score = here.loc[is_score_function(here), "name"]
    parts = dict.fromkeys([best, *score.head(1)])
    most = f"more than {plural(here['size'].max(), 'sample')}"
    text = enumerate_text(f"{plural(needed[name], 'sample') if needed[name] else most} with {name}" for name in parts)
    return f"{at(here)}: a mean cosine of {GOOD_COSINE:g} takes {text}."


def samples(of: pd.DataFrame) -> int:
    """The smallest measured batch size with a good mean cosine; 0 where none is."""
    good = of[of["true_cosine"] >= GOOD_COSINE]
    return int(good["size"].min()) if len(good) else 0


def natural(main: pd.DataFrame) -> list[str]:
    """The direction of each natural gradient, and what another choice of parameters changes."""
    rows = main[main["reparameterised"].notna()]
    said = []
    for _, of in rows[rows["truth"] == "natural"].groupby(["problem", "name"], sort=False):
        here = rows[(rows["problem"] == of["problem"].iloc[0]) & (rows["place"] == of["place"].iloc[0])]
        row, plain = of.iloc[0], here[is_score_function(here)]
        beside = f", the score function’s {fixed(plain['reparameterised'].iloc[0])}" if len(plain) else ""
        cosine = interval(*(row[f"plain_cosine{end}"] for end in ("", "_low", "_high")), fixed)
        said.append(
            f"{at(of)}: the mean step of {row['name']} has cosine {cosine} with the plain gradient; its steps under "
            f"two choices of parameters have cosine {fixed(row['reparameterised'])}{beside}."
        )
    return said


def problem_rows(estimators: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Problem → a row per place and estimator at the main batch size."""
    main = at_main_size(estimators)
    found: dict[str, list[dict[str, Any]]] = {}
    for row, settings in zip(main.to_dict("records"), parsed(main, "settings"), strict=True):
        ends = ("", "_low", "_high")
        found.setdefault(row["problem"], []).append(
            {
                "place": row["place"],
                "estimator": variant_title(row["title"], settings),
                "ratio": share(*(row[f"ratio{end}"] for end in ends)),
                "bias": share(*(row[f"relative_bias{end}"] for end in ends)),
                "cosine": interval(*(row[f"true_cosine{end}"] for end in ends), fixed),
                "milliseconds": number(row["milliseconds"]),
                "verdict": row["verdict"],
            }
        )
    return found


def sample_text(figure: str, estimators: pd.DataFrame) -> str:
    """n of a figure: how many batches each of its points is from."""
    batches = sorted(at_main_size(estimators)["batches"].unique())
    if not batches or figure == "estimator_cosine":
        return ""
    n = f"{batches[0]:,}" if len(batches) == 1 else f"{batches[0]:,} to {batches[-1]:,}"
    return f"n = {n} batches per point."
