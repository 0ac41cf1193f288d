"""How the figures tell estimators and their settings apart, and what of the table a figure shows."""

from typing import Any, NamedTuple

import pandas as pd
from matplotlib.lines import Line2D

from ...drawing import theme
from .tables import parsed

STYLES = ("-", "--", ":", "-.")  # of the lines of one estimator with several settings
SYMBOLS = {"dimensions": "d", "sigma": "σ", "agents": "n", "gamma": "γ"}  # of the numbers of a place
WORDS = {  # of the same, along an axis
    "dimensions": "dimensions d",
    "sigma": "standard deviation σ of the policy",
    "agents": "agents n",
    "gamma": "discount γ",
}


class Look(NamedTuple):
    """The colour, marker and line of an estimator with its settings, and its name in a legend."""

    colour: str
    marker: str
    line: Any
    label: str

    def handle(self) -> Line2D:
        """Its entry in a legend."""
        style = {"color": self.colour, "marker": self.marker, "linestyle": self.line, "markersize": 5}
        return Line2D([], [], label=self.label, **style)


def variant_title(title: str, settings: dict[str, Any]) -> str:
    """An estimator with its settings in words: "Gumbel-softmax (temperature 0.5)"; a switch that is off is not said."""
    said = [
        key.replace("_", " ")
        if value is True
        else f"{key.replace('_', ' ')} {value:g}"
        if isinstance(value, (int, float))
        else f"{key.replace('_', ' ')} {value}"
        for key, value in settings.items()
        if value is not False
    ]
    return f"{title} ({', '.join(said)})" if said else title


def looks(estimators: pd.DataFrame, without: str | None = None) -> dict[tuple[str, str], Look]:
    """The look of each estimator with its settings, by the columns `estimator` and `settings` of the whole table.

    An estimator has one colour and marker, in the order of the table, so that a further one changes no other's. Its
    settings have different lines. `without` is a setting that a figure shows otherwise, so that it makes no difference.
    """
    names = list(dict.fromkeys(estimators["estimator"]))
    colours = theme.looks(names)
    found: dict[tuple[str, str], Look] = {}
    lines: dict[str, dict[str, Any]] = {name: {} for name in names}
    rows = estimators.drop_duplicates(["estimator", "settings"])
    for row, settings in zip(rows.itertuples(), parsed(rows, "settings"), strict=True):
        label = variant_title(row.title, {key: value for key, value in settings.items() if key != without})
        of = lines[row.estimator]
        line = of.setdefault(label, STYLES[len(of) % len(STYLES)])
        look = colours[row.estimator]
        found[row.estimator, row.settings] = Look(look.colour, look.marker, line, label)
    return found


class Sweep(NamedTuple):
    """The rows of a problem along one of its numbers, at fixed values of all others."""

    problem: str
    fixed: str  # the other numbers in words, empty without any
    rows: pd.DataFrame  # with the number in the column x


def sweeps(table: pd.DataFrame, number: str) -> list[Sweep]:
    """Each problem with at least two values of a number of its places, at one choice of its other numbers.

    Of several choices it is one with the most values of the number and, of these, the middle one.
    """
    found = []
    for problem, rows in table.groupby("problem", sort=False):
        numbers = parsed(rows, "numbers")
        others = [
            tuple((key, value) for key, value in at.items() if key != number) if number in at else None
            for at in numbers
        ]
        values: dict[tuple, set] = {}
        for at, other in zip(numbers, others, strict=True):
            if other is not None:
                values.setdefault(other, set()).add(at[number])
        most = max(map(len, values.values()), default=0)
        if most < 2:
            continue
        choices = [other for other, of in values.items() if len(of) == most]
        chosen = choices[(len(choices) - 1) // 2]
        here = rows[[other == chosen for other in others]]
        words = ", ".join(
            f"{key} = {value:g}" if isinstance(value, (int, float)) else f"{key} = {value}" for key, value in chosen
        )
        found.append(Sweep(str(problem), words, here.assign(x=[at[number] for at in parsed(here, "numbers")])))
    return found


def setting_sweeps(table: pd.DataFrame) -> list[tuple[str, Sweep]]:
    """Each setting that has at least two numbers at a place, at the place of a problem where it moves a bias most.

    The column x is the setting's number, and NaN for estimators that have no such setting.
    """
    settings = parsed(table, "settings")
    found = []
    for key in dict.fromkeys(key for of in settings for key in of):
        x = pd.Series([number_of(of.get(key)) for of in settings], index=table.index, dtype=float)
        rest = [str({name: value for name, value in of.items() if name != key}) for of in settings]
        swept = table.assign(x=x, rest=rest)[x.notna()]
        lines = swept.groupby(["problem", "place", "estimator", "rest"], sort=False)
        moved = (lines["relative_bias"].max() - lines["relative_bias"].min())[lines["x"].nunique() > 1].dropna()
        if len(moved):
            problem, place, *_ = moved.idxmax()
            here = (table["problem"] == problem) & (table["place"] == place)
            found.append((key, Sweep(problem, place, table[here].assign(x=x[here]))))
    return found


def number_of(value: Any) -> float | None:
    """A setting's number; None where it has none, or is a switch."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
