"""The figures of estimators on problems whose true gradient is known; each is made from the table `estimators`.

A figure shows every estimator that was measured where the figure looks. Nothing here names an estimator.
"""

from collections.abc import Iterable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullLocator

from ...drawing import theme
from ...drawing.panels import beside_rows, line_handles, log_axis, named_rows, row_height, sentence, top_legend
from .looks import WORDS, Look, Sweep, looks, setting_sweeps, sweeps
from .tables import SCORE_FUNCTION, at_main_size

NAME = 40  # characters in a line of an estimator's name
SAME = {"linestyle": ":", "linewidth": 1}  # the line at as much variance as the score function
BIASED = "#d55e00"  # the colour of an estimate whose mean is not the true gradient
COLUMNS, FOREST_COLUMNS = 4, 3  # panels side by side, without and with names beside them
BIAS_TICKS = ([0, 0.01, 0.1, 1], ["0", "0.01", "0.1", "1"])
NUMBERS = ("dimensions", "agents")  # of a place: how large its problem is


def estimator_variance(estimators: pd.DataFrame) -> Figure:
    """A panel per problem, a row per estimator: its variance as a multiple of the score function's, at every place."""
    table = at_main_size(estimators)
    return forest(table[table["ratio"] > 0], "ratio", "variance, as a multiple of the score function’s")


def estimator_bias(estimators: pd.DataFrame) -> Figure:
    """A panel per problem, a row per estimator: its bias at every place, in lengths of the true gradient."""
    table = at_main_size(estimators)
    return forest(table[table["relative_bias"].notna()], "relative_bias", "bias, in lengths of the true gradient")


def variance_growth(estimators: pd.DataFrame) -> Figure:
    """A panel per problem that has several numbers of dimensions or of agents: variance against that number."""
    table = at_main_size(estimators)
    found = [(number, sweep) for number in NUMBERS for sweep in sweeps(table[table["ratio"] > 0], number)]
    if not found:
        return nothing()
    known = looks(estimators)
    figure, panels = panels_of(len(found), 3.6)
    for axes, (number, sweep) in zip(panels, found, strict=True):
        lines(axes, sweep.rows, "ratio", known)
        axes.axhline(1, color=theme.QUIET, zorder=0.9, **SAME)
        number_axis(axes, sweep, number)
        log_axis(axes, sweep.rows["ratio"])
    figure.supylabel("variance, as a multiple of the score function’s", fontsize=9)
    legend(figure, known, pd.concat([sweep.rows for _, sweep in found]), {"as much as the score function": SAME})
    return figure


def estimator_sigma(estimators: pd.DataFrame) -> Figure:
    """A column per problem with a Gaussian policy: variance and bias against the policy's standard deviation."""
    found = sweeps(at_main_size(estimators), "sigma")
    if not found:
        return nothing()
    known = looks(estimators)
    figure, panels = plt.subplots(
        2, len(found), figsize=(theme.WIDTH, 6.2), layout="constrained", squeeze=False, sharex="col", sharey="row"
    )
    for (top, bottom), sweep in zip(panels.T, found, strict=True):
        rows = sweep.rows.assign(
            share=sweep.rows["variance"] / sweep.rows["truth_norm_squared"],
            share_low=sweep.rows["variance_low"] / sweep.rows["truth_norm_squared"],
            share_high=sweep.rows["variance_high"] / sweep.rows["truth_norm_squared"],
        )
        lines(top, rows[rows["share"] > 0], "share", known)
        lines(bottom, rows, "relative_bias", known)
        number_axis(top, sweep, "sigma")
        bottom.set_xlabel(WORDS["sigma"])
        top.set_xlabel("")
    log_axis(panels[0, 0], pd.concat([sweep.rows["variance"] for sweep in found]))
    bias_axis(panels[1, 0], pd.concat([sweep.rows for sweep in found]))
    panels[0, 0].set_ylabel("variance, in squared\nlengths of the true gradient")
    panels[1, 0].set_ylabel("bias, in lengths of\nthe true gradient")
    legend(figure, known, pd.concat([sweep.rows for sweep in found]))
    return figure


def estimator_settings(estimators: pd.DataFrame) -> Figure:
    """A column per setting with several numbers: bias and variance against it, where it moves a bias most.

    An estimator without the setting is a line across, without markers.
    """
    found = setting_sweeps(at_main_size(estimators))
    if not found:
        return nothing()
    figure, panels = plt.subplots(
        2, len(found), figsize=(theme.WIDTH, 6.2), layout="constrained", squeeze=False, sharex="col"
    )
    shown: dict[str, Look] = {}
    for (top, bottom), (key, sweep) in zip(panels.T, found, strict=True):
        known = looks(estimators, without=key)
        for axes, measure in ((top, "relative_bias"), (bottom, "ratio")):
            rows = sweep.rows[sweep.rows[measure].notna() & ((sweep.rows[measure] > 0) | (measure != "ratio"))]
            swept = rows[rows["x"].notna()]
            lines(axes, swept, measure, known)
            for row in rows[rows["x"].isna()].itertuples():
                look = known[row.estimator, row.settings]
                axes.axhline(getattr(row, measure), color=look.colour, linestyle=look.line, linewidth=1, zorder=0.9)
        bias_axis(top, sweep.rows)
        log_axis(bottom, sweep.rows["ratio"])
        x = sorted(sweep.rows["x"].dropna().unique())
        if x[0] > 0:
            bottom.set_xscale("log")
        ticks(bottom, x)
        bottom.set_xlabel(key.replace("_", " "))
        top.set_title(f"{sweep.problem}\n{sweep.fixed}", fontsize=9)
        shown |= {look.label: look for key, look in known.items() if is_in(key, sweep.rows)}
    panels[0, 0].set_ylabel("bias, in lengths of\nthe true gradient")
    panels[1, 0].set_ylabel("variance, as a multiple\nof the score function’s")
    top_legend(figure, [look.handle() for look in shown.values()], 4)
    return figure


def estimator_cosine(estimators: pd.DataFrame) -> Figure:
    """A panel per problem, at its middle place: the cosine with the true gradient against the samples of a batch."""
    table = estimators[estimators["true_cosine"].notna()]
    if table.empty:
        return nothing()
    problems = [middle_place(of) for _, of in table.groupby("problem", sort=False)]
    known = looks(estimators)
    figure, panels = panels_of(len(problems), 2.9, sharey=True)
    for axes, here in zip(panels, problems, strict=True):
        lines(axes, here.assign(x=here["size"]), "true_cosine", known)
        axes.set_xscale("log", base=2)
        ticks(axes, sorted(here["size"].unique()))
        axes.set_title(titled(here), fontsize=9)
        axes.axhline(0, color=theme.QUIET, linewidth=0.8, zorder=0.9)
    panels[0].set_ylim(min(-0.05, table["true_cosine"].min() - 0.05), 1.05)
    figure.supxlabel("samples in a batch", fontsize=9)
    figure.supylabel("cosine with the true gradient", fontsize=9)
    legend(figure, known, pd.concat(problems))
    return figure


def estimator_cost(estimators: pd.DataFrame) -> Figure:
    """A panel per problem, at its middle place: variance against the time of an estimate; lines have one product."""
    table = at_main_size(estimators)
    table = table[(table["ratio"] > 0) & (table["milliseconds"] > 0)]
    if table.empty:
        return nothing()
    problems = [middle_place(of) for _, of in table.groupby("problem", sort=False)]
    known = looks(estimators)
    figure, panels = panels_of(len(problems), 2.9)
    for axes, here in zip(panels, problems, strict=True):
        for row in here.itertuples():
            look = known[row.estimator, row.settings]
            error = np.maximum([[row.ratio - row.ratio_low], [row.ratio_high - row.ratio]], 0)
            face = look.colour if look.line == "-" else "white"
            axes.errorbar(
                [row.milliseconds],
                [row.ratio],
                yerr=np.nan_to_num(error),
                color=look.colour,
                marker=look.marker,
                markerfacecolor=face,
                markersize=6,
                elinewidth=1,
                linestyle="none",
            )
        axes.set_xscale("log")
        log_axis(axes, here["ratio"])
        axes.set_title(titled(here), fontsize=9)
        equal_cost(axes)
        plain_x(axes)
    figure.supxlabel("processor time of an estimate (milliseconds)", fontsize=9)
    figure.supylabel("variance, as a multiple of the score function’s", fontsize=9)
    handles = [
        Line2D(
            [0],
            [0],
            color=look.colour,
            marker=look.marker,
            linestyle="none",
            label=look.label,
            markerfacecolor=look.colour if look.line == "-" else "white",
        )
        for look in present(known, pd.concat(problems))
    ]
    top_legend(figure, [*handles, *line_handles({"same variance × time": SAME})], 4)
    return figure


def natural_gradient(estimators: pd.DataFrame) -> Figure:
    """A panel per measure, a row per estimator: the cosine of its mean with the plain gradient, and of its steps under
    two choices of parameters, where these were compared.
    """
    table = at_main_size(estimators)
    table = table[table["reparameterised"].notna()]
    if table.empty:
        return nothing()
    names = row_names(table)
    figure, panels = plt.subplots(
        1,
        2,
        figsize=(theme.WIDTH, 1.4 + row_height(names.values(), 0.25, NAME) * len(names)),
        layout="constrained",
        sharey=True,
    )
    titles = {
        "plain_cosine": "cosine of the mean with the plain gradient",
        "reparameterised": "cosine of a step with the step under other parameters",
    }
    for axes, (measure, title) in zip(panels, titles.items(), strict=True):
        rows_at_places(axes, table, names, measure, coloured=False)
        axes.axvline(1, color=theme.QUIET, linewidth=0.8, zorder=0.9)
        axes.set_title(title, fontsize=9)
        axes.set_xlim(right=1.04)
        named_rows(axes, beside_rows(names.values(), NAME))
    return figure


def nothing() -> Figure:
    """The figure for a grid that has nothing to show in it."""
    return sentence("this grid measures no estimator, or none that this figure can show")


def forest(table: pd.DataFrame, measure: str, label: str) -> Figure:
    """A panel per problem with a row per estimator of it: a measure at every place, with its interval."""
    if table.empty:
        return nothing()
    problems = {str(problem): of for problem, of in table.groupby("problem", sort=False)}
    names = {problem: row_names(of) for problem, of in problems.items()}
    columns = min(FOREST_COLUMNS, len(problems))
    tall = [0.7 + row_height(of.values(), 0.21, NAME) * len(of) for of in names.values()]
    heights = [max(tall[start : start + columns]) for start in range(0, len(tall), columns)]
    figure, panels = plt.subplots(
        len(heights),
        columns,
        figsize=(theme.WIDTH, 0.8 + sum(heights)),
        layout="constrained",
        squeeze=False,
        height_ratios=heights,
    )
    for axes in panels.flat[len(problems) :]:
        axes.remove()
    for axes, (problem, here) in zip(panels.flat, problems.items(), strict=False):
        rows_at_places(axes, here, names[problem], measure, coloured=measure == "relative_bias")
        axes.set_title(problem)
        if measure == "ratio":
            axes.set_xscale("log")
            axes.axvline(1, color=theme.QUIET, zorder=0.9, **SAME)
            plain_x(axes)
        else:
            axes.set_xscale("symlog", linthresh=0.01, linscale=0.5)
            axes.set_xlim(-0.001, max(1.0, 1.3 * here["relative_bias"].max()))
            axes.set_xticks(*BIAS_TICKS)
            axes.axvline(0, color=theme.QUIET, linewidth=0.8, zorder=0.9)
        named_rows(axes, beside_rows(names[problem].values(), NAME))
        axes.tick_params(axis="y", labelsize=7.5)
    figure.supxlabel(label, fontsize=9)
    if measure == "relative_bias":
        kinds = {"biased": BIASED, "not told from 0": theme.INK}
        top_legend(figure, [Line2D([], [], marker="o", color=colour, label=text) for text, colour in kinds.items()], 4)
    return figure


def row_names(table: pd.DataFrame) -> dict[tuple[str, str], str]:
    """The estimators with their settings, the score function first and then in the table's order, and their names."""
    return {key: look.label for key, look in sorted(looks(table).items(), key=lambda of: of[0][0] != SCORE_FUNCTION)}


def rows_at_places(
    axes: Axes, table: pd.DataFrame, names: Iterable[tuple[str, str]], measure: str, *, coloured: bool
) -> None:
    """Draw a measure in a row per estimator, the places of the problem one below the other within the row."""
    for index, (estimator, settings) in enumerate(names):
        here = table[(table["estimator"] == estimator) & (table["settings"] == settings)]
        for y, row in zip(index + np.linspace(-0.3, 0.3, len(here) + 2)[1:-1], here.itertuples(), strict=True):
            colour = BIASED if coloured and row.verdict == "biased" else theme.INK
            axes.plot(
                [getattr(row, f"{measure}_low"), getattr(row, f"{measure}_high")], [y, y], color=colour, linewidth=1
            )
            axes.plot([getattr(row, measure)], [y], "o", color=colour, markersize=3)


def lines(axes: Axes, table: pd.DataFrame, measure: str, known: dict[tuple[str, str], Look]) -> None:
    """Draw a measure against the column x, a line with intervals per estimator and line style.

    A line of biases none of which is told from 0 is faint and has no intervals.
    """
    keys = list(zip(table["estimator"], table["settings"], strict=True))
    table = table.assign(look=[known[key].label for key in keys])
    for (estimator, _), line in table.groupby(["estimator", "look"], sort=False):
        look = known[estimator, line["settings"].iloc[0]]
        line = line.sort_values("x", kind="stable")
        value = line[measure]
        faint = measure == "relative_bias" and not (line["verdict"] == "biased").any()
        error = np.nan_to_num(np.maximum([value - line[f"{measure}_low"], line[f"{measure}_high"] - value], 0))
        axes.errorbar(
            line["x"],
            value,
            yerr=None if faint else error,
            color=look.colour,
            alpha=0.35 if faint else 1,
            marker=look.marker,
            linestyle=look.line,
            markersize=4.5,
            markeredgewidth=0,
            elinewidth=0.8,
            linewidth=1.3,
        )


def bias_axis(axes: Axes, table: pd.DataFrame) -> None:
    """An axis of biases: a logarithm above 1 % of the true gradient, and below it a line down to 0."""
    axes.set_yscale("symlog", linthresh=0.01, linscale=0.5)
    axes.set_ylim(-0.001, max(1.0, 1.5 * table["relative_bias"].max()))
    axes.set_yticks(*BIAS_TICKS)


def number_axis(axes: Axes, sweep: Sweep, number: str) -> None:
    """A logarithmic horizontal axis of a number of a problem's places, and the panel's title."""
    axes.set_xscale("log")
    ticks(axes, sorted(sweep.rows["x"].unique()))
    axes.set_xlabel(WORDS.get(number, number))
    axes.set_title(f"{sweep.problem}\n{sweep.fixed}" if sweep.fixed else sweep.problem, fontsize=9)


def ticks(axes: Axes, values: Iterable[float]) -> None:
    """Ticks of the horizontal axis at these values alone."""
    axes.xaxis.set_major_locator(FixedLocator(list(values)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())


def plain_x(axes: Axes) -> None:
    """Plain numbers on a logarithmic horizontal axis."""
    low, high = axes.get_xlim()
    wide = LogLocator(subs=(1, 3) if high < 300 * low else (1,), numticks=5)
    axes.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]) if high < 10 * low else wide)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())


def panels_of(count: int, height: float, **subplots) -> tuple[Figure, list[Axes]]:
    """A figure of so many panels, at most COLUMNS side by side, each line of them `height` inches high."""
    columns = min(COLUMNS, count)
    lines_of = -(-count // columns)
    figure, panels = plt.subplots(
        lines_of,
        columns,
        figsize=(theme.WIDTH, 0.8 + height * lines_of),
        layout="constrained",
        squeeze=False,
        **subplots,
    )
    for axes in panels.flat[count:]:
        axes.remove()
    return figure, list(panels.flat[:count])


def middle_place(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of one problem at the middle one of the places that have the most estimators."""
    counts = table.groupby("place", sort=False)["estimator"].nunique()
    places = list(counts.index[counts == counts.max()])
    return table[table["place"] == places[(len(places) - 1) // 2]]


def titled(table: pd.DataFrame) -> str:
    """The problem and the place of rows that have one of each."""
    return f"{table['problem'].iloc[0]}\n{table['place'].iloc[0]}"


def equal_cost(axes: Axes) -> None:
    """Dotted lines along which variance times time is the same, a factor of ten apart; the limits stay."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    for power in range(int(np.floor(np.log10(left * low))), int(np.ceil(np.log10(right * high))) + 1):
        axes.plot([left, right], [10.0**power / left, 10.0**power / right], color=theme.QUIET, zorder=0.5, **SAME)
    axes.set(xlim=(left, right), ylim=(low, high))


def is_in(key: tuple[str, str], table: pd.DataFrame) -> bool:
    """Whether an estimator with its settings has rows in the table."""
    return bool(((table["estimator"] == key[0]) & (table["settings"] == key[1])).any())


def present(known: dict[tuple[str, str], Look], table: pd.DataFrame) -> list[Look]:
    """The looks of the estimators that have rows in the table, each label once."""
    return list({look.label: look for key, look in known.items() if is_in(key, table)}.values())


def legend(
    figure: Figure, known: dict[tuple[str, str], Look], table: pd.DataFrame, further: dict | None = None
) -> None:
    """A legend above the panels: the estimators that have rows in the table, then further lines."""
    handles = [look.handle() for look in present(known, table)]
    top_legend(figure, [*handles, *line_handles(further or {})], 4)
