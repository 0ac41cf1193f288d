"""The figures of the gradient laboratory; each is made from the table `gradients` or the table `critics`."""

from collections.abc import Callable, Iterable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, LogLocator, NullLocator, ScalarFormatter

from ...drawing import theme
from ...drawing.panels import (
    algorithms_of,
    beside_rows,
    legend,
    line_handles,
    log_axis,
    named_rows,
    row_height,
    rows,
    say,
    sentence,
    top_legend,
)
from ...reading.grid import Grid
from ...words import short_name
from .tables import as_trained, estimator_title, main_size, place_titles

LINES = {"fitted": "--", "wrong": "--"}  # line styles of critics; all other critics have solid lines
CRITIC_COLOURS = {"trained": "#3d4f63", "fitted": "#c77f1f", "exact": "#3d4f63", "wrong": "#c77f1f"}
SAME = {"linestyle": ":", "linewidth": 1}  # the line at as much variance as REINFORCE
CEILING = {"linestyle": "-", "linewidth": 0.8}  # the line at the cosine that the noisy reference itself would reach
EXPECTED = {  # on an exact problem, by what theory says: the colour behind the row, and its text in the legend
    "biased": ("#f6ead9", "theory: biased (white: unbiased)"),
    "": ("#f0f0f0", "theory: biased if it bootstraps"),
}
NAME = 44  # characters in a line of an estimator's name
SURPRISING = "#d55e00"  # the colour of a bias that theory excludes
BEYOND = 10.0  # the factor by which an axis of variances reaches beyond the points; intervals may be far longer


def gradient_variance(grid: Grid, gradients: pd.DataFrame) -> Figure:
    """A panel per task: every algorithm's variance as a multiple of REINFORCE's, against the share of training."""
    table = main_size(gradients, exact=False)
    table = table[(table["kind"] == "algorithm") & table["ratio"].notna()]
    if table.empty:
        return nothing(grid)
    figure, panels = place_panels(grid, table)
    for place, axes in panels.items():
        here = at(table, place)
        lines = list(here.groupby(["algorithm", "critic"], sort=False))
        for index, ((algorithm, critic), line) in enumerate(lines):
            shift = 1.1 * (index - (len(lines) - 1) / 2)  # so that the intervals stand side by side
            points = line.assign(x=100 * line["fraction"] + shift)
            seeds(axes, points, "ratio", look_of(grid, algorithm), LINES.get(critic, "-"), np.exp, np.log)
        axes.axhline(1, color=theme.QUIET, zorder=0.9, **SAME)
        shown = pd.concat([here["ratio"], pd.Series([1.0])])
        log_axis(axes, shown)
        axes.set_ylim(shown.min() / BEYOND, shown.max() * BEYOND)
        training_axis(axes, here)
    figure.supxlabel("share of training (%)", fontsize=9)
    figure.supylabel("variance, as a multiple of REINFORCE’s", fontsize=9)
    further = [*critic_handles(table["critic"]), *line_handles({"as much as REINFORCE": SAME})]
    legend(figure, grid, further, algorithms_of(grid, table))
    return figure


def gradient_direction(grid: Grid, gradients: pd.DataFrame) -> Figure:
    """A row per task, a column per fraction of training: the cosine with the true gradient against the batch size."""
    table = as_trained(gradients[gradients["exact"] == 0])
    table = table[table["critic"].isin(["trained", "none"])]
    if table.empty:
        return nothing(grid)
    figure, panels = fraction_panels(grid, table, sharex=True, sharey=True)
    present = algorithms_of(grid, table)
    shift = table["algorithm"].map(present.index) - (len(present) - 1) / 2  # so that the intervals stand side by side
    table = table.assign(x=table["episodes"] * 2 ** (0.06 * shift))
    for (place, fraction), axes in panels.items():
        here = at(table, place, fraction)
        known = here[here["true_cosine"].notna()]
        for algorithm, line in known.groupby("algorithm", sort=False):
            seeds(axes, line, "true_cosine", look_of(grid, algorithm), "-")
        ceiling = known.groupby("episodes")["ceiling"].mean()
        axes.plot(ceiling.index, ceiling, color=theme.QUIET, zorder=0.9, **CEILING)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator(sorted(table["episodes"].unique())))
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_ylim(max(np.nanmin([0.0, *table["true_cosine"]]), -1.0) - 0.05, 1.05)
        if known.empty:
            text = "true gradient not told\nfrom noise" if len(here) else "no probe"
            axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=theme.QUIET)
    figure.supxlabel("episodes in a batch", fontsize=9)
    figure.supylabel("cosine with the true gradient", fontsize=9)
    legend(figure, grid, line_handles({"ceiling of the plain cosine": CEILING}), algorithms_of(grid, table))
    return figure


def gradient_bias_variance(grid: Grid, gradients: pd.DataFrame) -> Figure:
    """A row per task, a column per fraction of training: bias against variance of GAE, with λ beside the points."""
    table = main_size(gradients, exact=False)
    table = table[(table["kind"] == "gae") & table["ratio"].notna()].sort_values("gae_lambda", kind="stable")
    if table.empty:
        return nothing(grid)
    figure, panels = fraction_panels(grid, table)
    for (place, fraction), axes in panels.items():
        here_any = at(table, place, fraction)
        here = here_any[here_any["relative_bias"].notna()]
        if here.empty:
            say(axes, "true gradient not told\nfrom noise" if len(here_any) else "no probe")
            continue
        for (critic, _, _), line in here.groupby(["critic", "gamma", "seed"], sort=False):
            colour = CRITIC_COLOURS.get(critic, theme.INK)
            axes.errorbar(
                line["ratio"],
                line["relative_bias"],
                xerr=distances(line, "ratio"),
                yerr=distances(line, "relative_bias"),
                color=colour,
                linestyle=LINES.get(critic, "-"),
                marker="o",
                markersize=3.5,
                elinewidth=0.8,
            )
        log_x(axes, here["ratio"])
        # All values are in view, but an interval may end outside, beyond a bias of one length of the true gradient.
        top = max(1.35 * here["relative_bias"].max(), min(1.05 * here["relative_bias_high"].max(), 1.0), 0.3)
        axes.set_ylim(-0.05 * top, top)
        axes.axhline(0, color=theme.QUIET, linewidth=0.8, zorder=0.9)
        first = here[here["seed"] == here["seed"].iloc[0]]
        label_points(axes, first, "ratio", "relative_bias", "gae_lambda")
    figure.supxlabel("variance, as a multiple of REINFORCE’s", fontsize=9)
    figure.supylabel("bias, in lengths of the true gradient", fontsize=9)
    top_legend(figure, critic_handles(table["critic"], coloured=True), 4)
    return figure


def critic_error(grid: Grid, critics: pd.DataFrame) -> Figure:
    """A panel per task: how much of the returns' variance each critic explains, against the share of training.

    A value below −1 is drawn at −1 with a mark.
    """
    table = critics[(critics["exact"] == 0) & critics["explained_variance"].notna()]
    if table.empty:
        return nothing(grid)
    figure, panels = place_panels(grid, table)
    for place, axes in panels.items():
        here = at(table, place)
        for (critic, gamma), line in here.groupby(["critic", "gamma"], sort=False):
            line = line.assign(x=100 * line["fraction"], y=line["explained_variance"].clip(lower=-1))
            style = {"color": CRITIC_COLOURS.get(critic, theme.INK), "linestyle": LINES.get(critic, "-")}
            for _, run in line.groupby("seed", sort=False):
                axes.plot(run["x"], run["y"], marker="o", markersize=4, **style)
            below = line[line["explained_variance"] < -1]
            axes.plot(below["x"], below["y"], "v", color=style["color"], markersize=8, markerfacecolor="white")
            if here["gamma"].nunique() > 1:
                last = line.iloc[-1]
                axes.annotate(
                    f"γ = {gamma:g}", (last["x"], last["y"]), xytext=(6, 0), textcoords="offset points", fontsize=7.5
                )
        axes.axhline(0, color=theme.QUIET, linewidth=0.8, zorder=0.9)
        axes.set_ylim(max(min(-0.05, table["explained_variance"].min() - 0.1), -1.1), 1.05)
        training_axis(axes, here)
    figure.supxlabel("share of training (%)", fontsize=9)
    figure.supylabel("explained variance of the returns", fontsize=9)
    top_legend(figure, critic_handles(table["critic"], coloured=True), 4)
    return figure


def exact_problems(grid: Grid, gradients: pd.DataFrame) -> Figure:
    """A panel per exact problem, a row per estimator: its bias, and whether theory expects a bias."""
    table = main_size(gradients, exact=True)
    if table.empty:
        return nothing(grid)
    tasks = list(dict.fromkeys(table["task"]))
    keys = ["kind", "algorithm", "gae_lambda", "critic"]  # without the discount, so that all discounts share a row
    table = table.assign(
        key=[tuple(row) for row in table[keys].astype(object).where(table[keys].notna(), "").to_numpy()]
    )
    names = {row["key"]: estimator_title(grid, row) for _, row in table.iterrows()}
    figure, panels = plt.subplots(
        1,
        len(tasks),
        figsize=(theme.WIDTH, 1.4 + row_height(names.values(), 0.25, NAME) * len(names)),
        layout="constrained",
        squeeze=False,
        sharey=True,
    )
    for task, axes in zip(tasks, panels.flat, strict=True):
        here = rows(table, task=task).fillna({"expected": ""})
        for place, name in enumerate(names):
            for row in here[here["key"] == name].itertuples():
                if row.expected in EXPECTED:
                    axes.axhspan(place - 0.5, place + 0.5, color=EXPECTED[row.expected][0], linewidth=0, zorder=0.5)
                forest_point(axes, place, row)
        axes.axvline(0, color=theme.QUIET, linewidth=0.8, zorder=0.9)
        axes.set_xlim(left=min(-0.02, -0.03 * axes.get_xlim()[1]))
        axes.set_title(short_name(task))
        named_rows(axes, beside_rows(names.values(), NAME))
    figure.supxlabel("bias, in lengths of the true gradient", fontsize=9)
    present = set(table["expected"].fillna(""))
    expected, surprising = ({"marker": "o", "linestyle": "-", "color": c} for c in (theme.INK, SURPRISING))
    top_legend(
        figure,
        [
            Line2D([], [], label="not against theory", **expected),
            Line2D([], [], label="against theory", **surprising),
            *(Patch(color=c, label=text) for name, (c, text) in EXPECTED.items() if name in present),
        ],
        4,
    )
    return figure


def forest_point(axes: Axes, place: int, row) -> None:
    """Draw an estimator's relative bias with its interval, or a dash where there is none.

    `row` is a row of `gradients` as a named tuple; `place` is its place on the vertical axis.
    """
    if pd.isna(row.relative_bias):
        where = {"transform": axes.get_yaxis_transform(), "va": "center", "color": theme.QUIET, "fontsize": 7}
        axes.text(0.05, place, "–", **where)
        return
    colour = SURPRISING if (row.expected, row.verdict) == ("unbiased", "biased") else theme.INK
    axes.plot([row.relative_bias_low, row.relative_bias_high], [place] * 2, color=colour, linewidth=1.6)
    axes.plot([row.relative_bias], [place], "o", color=colour, markersize=4.5)


def nothing(grid: Grid) -> Figure:
    """The figure for a grid whose probes have nothing to show."""
    asked = len(grid.probes)
    return sentence(
        f"nothing of the {asked} probes asked for is there" if asked else "this grid asks for no such probe"
    )


def at(table: pd.DataFrame, place: tuple[str, str], fraction: float | None = None) -> pd.DataFrame:
    """The rows of a (task, source of policies), and, where it is given, of a fraction of training."""
    here = rows(table, task=place[0], source=place[1])
    return here if fraction is None else here[here["fraction"] == fraction]


def place_panels(grid: Grid, table: pd.DataFrame, most: int = 3) -> tuple[Figure, dict[tuple[str, str], Axes]]:
    """A figure with a titled panel per task and source of policies, at most `most` side by side.

    Returns the figure and the panels by (task, source).
    """
    titles = place_titles(grid, table)
    columns = min(len(titles), most)
    lines = -(-len(titles) // columns)
    figure, panels = plt.subplots(
        lines, columns, figsize=(theme.WIDTH, 1.0 + 3.1 * lines), layout="constrained", squeeze=False
    )
    for axes in panels.flat[len(titles) :]:
        axes.remove()
    for axes, title in zip(panels.flat, titles.values(), strict=False):
        axes.set_title(title)
    return figure, dict(zip(titles, panels.flat, strict=False))


def fraction_panels(grid: Grid, table: pd.DataFrame, **subplots) -> tuple[Figure, dict[tuple, Axes]]:
    """A figure with a row of panels per task and source of policies, and a column per fraction of training.

    `subplots` are further arguments of matplotlib's function `subplots`. Returns the figure and the panels by
    ((task, source), fraction).
    """
    titles, fractions = place_titles(grid, table), sorted(table["fraction"].unique())
    figure, panels = plt.subplots(
        len(titles),
        len(fractions),
        figsize=(theme.WIDTH, 1.0 + (2.2 if len(fractions) > 2 else 2.8) * len(titles)),
        layout="constrained",
        squeeze=False,
        **subplots,
    )
    named = {}
    for line, (place, title) in zip(panels, titles.items(), strict=True):
        for axes, fraction in zip(line, fractions, strict=True):
            axes.set_title(f"{title}, {100 * fraction:g} %", fontsize=9)
            named[place, fraction] = axes
    return figure, named


def seeds(
    axes: Axes,
    line: pd.DataFrame,
    measure: str,
    look: theme.Look,
    style: str,
    back: Callable = np.asarray,
    forth: Callable = np.asarray,
) -> None:
    """Draw a measure of one algorithm against the column x of `line`.

    A single seed is drawn as a line with intervals. Of several seeds, each is drawn as a thin line, and the mean over
    seeds as a line with markers. The mean is taken of `forth` of the values; `back` is the inverse function of `forth`.
    """
    shown = {"color": look.colour, "linestyle": look.line if style == "-" else style}
    marked = {"marker": look.marker, "markersize": 4.5, "markeredgewidth": 0, **shown}
    line = line.sort_values("x", kind="stable")
    if line["seed"].nunique() == 1:
        axes.errorbar(line["x"], line[measure], yerr=distances(line, measure), elinewidth=1, **marked)
        return
    for _, one in line.groupby("seed"):
        axes.plot(one["x"], one[measure], linewidth=0.7, alpha=0.45, **shown)
    mean = line.assign(value=forth(line[measure])).groupby("x")["value"].mean()
    axes.plot(mean.index, back(mean), **marked)


def distances(line: pd.DataFrame, measure: str) -> np.ndarray:
    """The distances [2, n] from each value down and up to the ends of its interval.

    A distance is 0 where there is no interval, and where an end lies on the other side of the value.
    """
    low, high = line[measure] - line[f"{measure}_low"], line[f"{measure}_high"] - line[measure]
    return np.nan_to_num(np.maximum([low, high], 0))


def label_points(axes: Axes, table: pd.DataFrame, x: str, y: str, label: str) -> None:
    """Write labels beside points, from both ends of each line inwards.

    `x`, `y` and `label` are columns of `table`. A label that would cover another label is left out.
    """
    axes.figure.canvas.draw()
    taken: list[np.ndarray] = []
    for _, line in table.groupby(["critic", "gamma"], sort=False):
        ends_first = np.argsort(np.minimum(np.arange(len(line)), np.arange(len(line))[::-1]), kind="stable")
        for row in (line.iloc[index] for index in ends_first):
            where = axes.transData.transform((row[x], row[y]))
            if all((abs(where - other) > (26, 12)).any() for other in taken):
                taken.append(where)
                axes.annotate(
                    f"{row[label]:g}", (row[x], row[y]), xytext=(3, 4), textcoords="offset points", fontsize=7.5
                )


def look_of(grid: Grid, algorithm: str) -> theme.Look:
    """The look of one algorithm of the grid."""
    return theme.looks(list(grid.algorithms))[algorithm]


def training_axis(axes: Axes, table: pd.DataFrame) -> None:
    """Make the horizontal axis one of training, with a tick at every fraction of the table, in percent."""
    ticks = sorted(100 * table["fraction"].unique())
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.margins(x=0.06)


def log_x(axes: Axes, values: pd.Series) -> None:
    """Make the horizontal axis logarithmic, with plain numbers, if any of the values is positive."""
    positive = values[values > 0]
    if len(positive):
        axes.set_xscale("log", nonpositive="mask")
        low, high = axes.get_xlim()  # the limits include the intervals
        axes.xaxis.set_major_locator(
            LogLocator(subs=(1, 2, 5) if high < 20 * low else (1, 3) if high < 500 * low else (1,))
        )
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())


def critic_handles(critics: Iterable[str], *, coloured: bool = False) -> list[Line2D]:
    """Handles for a legend of the critics, in the order in which `critics` first names them."""
    texts = {"trained": "critic as trained", "fitted": "critic fitted to this policy"}
    return [
        Line2D(
            [],
            [],
            color=CRITIC_COLOURS.get(critic, theme.INK) if coloured else theme.QUIET,
            linestyle=LINES.get(critic, "-"),
            label=texts.get(critic, f"{critic} critic"),
        )
        for critic in dict.fromkeys(critics)
        if critic != "none"
    ]
