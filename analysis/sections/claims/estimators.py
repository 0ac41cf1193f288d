"""Claims about estimators of the gradient, tested on problems whose true gradient is known."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from ...reading.grid import Grid
from ...words import enumerate_text
from ..estimators.looks import SYMBOLS, variant_title
from .gradients import effect_at
from .verdicts import Place, Tested, average, effect_over, furthest, has_floor

FIGURES = {  # of a metric; of the others, which figure it is depends on the sides
    "cosine": "estimator_cosine",
    "cost": "estimator_cost",
    "plain_cosine": "natural_gradient",
    "reparameterised": "natural_gradient",
}
FIGURES_OF_NUMBERS = {"sigma": "estimator_sigma", "dimensions": "variance_growth", "agents": "variance_growth"}


def are_estimators(comparison: dict[str, Any]) -> bool:
    """Whether the sides of a comparison are estimators."""
    return "estimator" in comparison["sides"][0]


def compare_estimators(grid: Grid, comparison: dict[str, Any], estimators: pd.DataFrame) -> Tested:
    """Test a comparison on `estimators`, the table of that name; the verdict is not yet set.

    The places of the comparison are the problems of the grid. At each of them, the two sides are compared at the places
    of the problem that have the same numbers, but for those that a side says with `at`.
    """
    found = Tested(comparison, [title_of(side, estimators) for side in comparison["sides"]])
    found.figure = figure_of(comparison)
    asked = [probe["task"] for probe in grid.estimator_probes]
    if not asked:
        found.reason = "the grid measures no estimators on problems whose true gradient is known"
        return found
    main = estimators[estimators["main"] == 1]
    rows = [side_rows(comparison, side, main) for side in comparison["sides"]]
    named = not isinstance(comparison["tasks"], str)
    for problem in comparison["tasks"] if named else asked:
        here = [of[of["problem"] == problem] for of in rows]
        if problem not in asked:
            place = Place(problem, note="the grid does not measure estimators on it", lacking=True)
        elif not (main["problem"] == problem).any():
            place = Place(problem, note="its estimators have not been measured yet", lacking=True)
        elif note := several_settings(found, here):
            place = Place(problem, note=note, lacking=True)
        elif (pairs := paired(here)).empty:
            if not named:
                continue  # a claim about all problems is about those that have what it names
            place = Place(problem, note=what_is_not_there(found, here), lacking=True)
        else:
            place = problem_place(found, problem, pairs)
        place.exact = True
        found.places.append(place)
    if not found.places:
        found.reason = f"no problem of the grid has {enumerate_text(found.sides)} at the same place"
    if found.present:
        found.effect = effect_over(found, found.present)
    return found


def side_rows(comparison: dict[str, Any], side: dict[str, Any], table: pd.DataFrame) -> pd.DataFrame:
    """The rows of one side of a comparison; their column `rest` has the numbers of the place that a side does not say.

    A switch, which is a setting that is true or false, is off where the side does not say it.
    """
    table = table[table["estimator"] == side["estimator"]]
    settings, at = side.get("settings", {}), side.get("at", {})
    numbers = [json.loads(text) for text in table["numbers"]]
    chosen = [
        has_settings(json.loads(of), settings) and all(is_same(here.get(key), value) for key, value in at.items())
        for of, here in zip(table["settings"], numbers, strict=True)
    ]
    said = {key for one in comparison["sides"] for key in one.get("at", {})}
    rest = [json.dumps({key: value for key, value in here.items() if key not in said}) for here in numbers]
    return table.assign(rest=rest)[np.array(chosen, dtype=bool)]


def has_settings(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether an estimator's settings are those that a side wants, with all switches off that it does not say."""
    said = all(
        is_same(found.get(key, False if isinstance(value, bool) else None), value) for key, value in wanted.items()
    )
    return said and not any(value is True for key, value in found.items() if key not in wanted)


def is_same(found: Any, wanted: Any) -> bool:
    """Whether two values are the same; of numbers, but for rounding."""
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in (found, wanted))
    return bool(np.isclose(found, wanted)) if numbers else found == wanted


def paired(rows: list[pd.DataFrame]) -> pd.DataFrame:
    """The rows of one side, or of both side by side, as `effect_at` reads them."""
    return rows[0] if len(rows) == 1 else rows[0].merge(rows[1], on=["problem", "rest"], suffixes=("", " of second"))


def several_settings(found: Tested, rows: list[pd.DataFrame]) -> str:
    """Which settings a side leaves open, in words, where several of them were measured; empty where none."""
    for title, of in zip(found.sides, rows, strict=True):
        if of.duplicated("place").any():
            settings = [variant_title("", json.loads(text)).strip(" ()") for text in of["settings"].unique()]
            return f"{title} was measured with several settings ({'; '.join(settings)}), of which the claim says none"
    return ""


def what_is_not_there(found: Tested, rows: list[pd.DataFrame]) -> str:
    """Why a problem has no place at which the sides can be compared, in words."""
    absent = [title for title, of in zip(found.sides, rows, strict=True) if of.empty]
    if absent:
        return f"{enumerate_text(absent)} {'was' if len(absent) == 1 else 'were'} not measured there"
    return "the two sides were not measured at the same place"


def problem_place(found: Tested, problem: str, pairs: pd.DataFrame) -> Place:
    """The comparison on one problem; `pairs` has the measurements of both sides, a row for each of its places."""
    effects = [effect_at(found, row) for _, row in pairs.iterrows()]
    known = [effect for effect in effects if np.isfinite(effect.value)]
    unknown = "there is no variance" if found.metric.ratio else "the direction cannot be told from noise"
    if not known:
        return Place(problem, note=unknown, asked=len(effects))
    left = len(effects) - len(known)
    notes = [f"{left} of {len(effects)} places left out, where {unknown}"] if left else []
    if found.equality and len(known) > 1:
        effect = furthest(found, known)
        places = [place for place, of in zip(pairs["place"], effects, strict=True) if of is effect]
        notes.append(f"furthest off at {places[0]}")
    else:
        effect = average(known, floor=has_floor(found))
    n = (len(known),) * len(found.sides)
    return Place(problem, effect, policies=known, n=n, asked=len(effects), note="; ".join(notes))


def figure_of(comparison: dict[str, Any]) -> str:
    """The name of the figure that shows the comparison."""
    if comparison["metric"] in FIGURES:
        return FIGURES[comparison["metric"]]
    for number in (key for side in comparison["sides"] for key in side.get("at", {})):
        if number in FIGURES_OF_NUMBERS:
            return FIGURES_OF_NUMBERS[number]
    if any(isinstance(value, (int, float)) and not isinstance(value, bool) for value in settings_of(comparison)):
        return "estimator_settings"
    return "estimator_bias" if comparison["metric"] == "relative_bias" else "estimator_variance"


def settings_of(comparison: dict[str, Any]) -> Iterator[Any]:
    """The values of settings that the sides say."""
    for side in comparison["sides"]:
        yield from side.get("settings", {}).values()


def title_of(side: dict[str, Any], estimators: pd.DataFrame) -> str:
    """The title of a side: the estimator with the settings and the place that the side says."""
    titles = estimators.loc[estimators["estimator"] == side["estimator"], "title"]
    title = variant_title(titles.iloc[0] if len(titles) else side["estimator"], side.get("settings", {}))
    at = ", ".join(f"{SYMBOLS.get(key, key)} = {value:g}" for key, value in side.get("at", {}).items())
    return f"{title} at {at}" if at else title
