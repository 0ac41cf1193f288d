"""The figures of the quality of gradient estimates, from the tables `quality` and `value_quality`."""

from collections.abc import Callable

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from ...drawing import theme
from ...drawing.panels import line_handles, log_axis, sentence, top_legend
from ...reading.grid import Grid
from ..laboratory.figures import at, fraction_panels, place_panels, seeds, training_axis
from .words import PAPERS_PAIRS, TARGETS, VALUE_FUNCTIONS

BESIDE = 4  # panels side by side, at most
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
DARKEST, LIGHTEST = 0.0, 0.85  # of the colour map of an ordered quantity: its end is too light on white
LOOKS = {
    "trained": theme.Look("#3d4f63", "o"),
    "fitted": theme.Look("#c77f1f", "s"),
    "none": theme.Look(theme.QUIET, "^"),
}
STYLES = {"gae": "-", "returns": "--"}  # by what a value function is compared with
PRACTICE = {"linestyle": ":", "linewidth": 1}  # the line at the number of pairs that the paper calls usual
SAME = {"linestyle": ":", "linewidth": 1}  # the line at as much variance as without a value function
PRACTICE_TEXT = f"{PAPERS_PAIRS:,} pairs, usual in practice"


def quality_agreement(grid: Grid, quality: pd.DataFrame) -> Figure:
    """A panel per task and source: the cosine between two estimates against the number of pairs, along training."""
    return against_pairs(grid, quality, "pairwise_cosine", "cosine between two estimates")


def quality_reference(grid: Grid, quality: pd.DataFrame) -> Figure:
    """A panel per task and source: the cosine with the reference against the number of pairs, along training."""
    return against_pairs(grid, quality, "reference_cosine", "cosine with the reference")


def quality_training(grid: Grid, quality: pd.DataFrame) -> Figure:
    """A panel per task and source: the cosine between two estimates along training, by the number of pairs."""
    table = quality[quality["value_function"] == "trained"]
    if table.empty:
        return nothing(grid)
    figure, panels = place_panels(grid, table, BESIDE)
    looks = ordered_looks(table["pairs"])
    for place, axes in panels.items():
        here = at(table, place).assign(x=lambda rows: 100 * rows["fraction"])
        for pairs, look in looks.items():
            if len(line := here[here["pairs"] == pairs]):
                seeds(axes, line, "pairwise_cosine", look, "-")
        cosine_axis(axes, table["pairwise_cosine"])
        training_axis(axes, here)
    figure.supxlabel("share of training (%)", fontsize=9)
    figure.supylabel("cosine between two estimates", fontsize=9)
    top_legend(figure, handles({f"{pairs:,} pairs": look for pairs, look in looks.items()}), 5)
    return figure


def quality_baselines(grid: Grid, quality: pd.DataFrame) -> Figure:
    """A row per task and source, a column per share of training: the cosine between two estimates by value function."""
    if quality.empty:
        return nothing(grid)
    figure, panels = fraction_panels(grid, quality, sharex=True, sharey=True)
    for (place, fraction), axes in panels.items():
        here = at(quality, place, fraction).assign(x=lambda rows: rows["pairs"])
        for value_function, line in here.groupby("value_function", sort=False):
            seeds(axes, line, "pairwise_cosine", LOOKS[value_function], "-")
        pairs_axis(axes, quality["pairs"])
        cosine_axis(axes, quality["pairwise_cosine"])
    figure.supxlabel("state–action pairs of an estimate (k: thousand)", fontsize=9)
    figure.supylabel("cosine between two estimates", fontsize=9)
    top_legend(figure, [*of_value_functions(quality), *line_handles({PRACTICE_TEXT: PRACTICE})], 4)
    return figure


def quality_variance(grid: Grid, quality: pd.DataFrame) -> Figure:
    """A panel per task and source: what a value function leaves of the variance, along training.

    The estimates are those of the number of pairs that is next to what the paper calls usual.
    """
    table = quality[(quality["value_function"] != "none") & quality["ratio"].notna()]
    if table.empty:
        return nothing(grid)
    table = table[table["pairs"] == nearest_pairs(table["pairs"])]
    figure, panels = place_panels(grid, table, BESIDE)
    for place, axes in panels.items():
        here = at(table, place)
        for value_function, line in here.groupby("value_function", sort=False):
            seeds(
                axes,
                line.assign(x=100 * line["fraction"]),
                "ratio",
                LOOKS[value_function],
                "-",
                np.exp,
                np.log,
            )
        axes.axhline(1, color=theme.QUIET, zorder=0.9, **SAME)
        log_axis(axes, pd.concat([here["ratio"], pd.Series([1.0])]))
        training_axis(axes, here)
    figure.supxlabel("share of training (%)", fontsize=9)
    figure.supylabel("variance, as a multiple of that without", fontsize=9)
    top_legend(figure, [*of_value_functions(table), *line_handles({"as much as without": SAME})], 4)
    return figure


def quality_values(grid: Grid, value_quality: pd.DataFrame) -> Figure:
    """A panel per task and source: the relative error of value functions along training, against two targets."""
    table = value_quality[value_quality["relative_error"].notna()]
    if table.empty:
        return nothing(grid)
    figure, panels = place_panels(grid, table, BESIDE)
    for place, axes in panels.items():
        here = at(table, place).assign(x=lambda rows: 100 * rows["fraction"])
        for (value_function, against), line in here.groupby(["value_function", "against"], sort=False):
            seeds(axes, without_intervals(line), "relative_error", LOOKS[value_function], STYLES[against])
        axes.set_ylim(bottom=0)
        training_axis(axes, here)
    figure.supxlabel("share of training (%)", fontsize=9)
    figure.supylabel("error, as a share of the target’s size", fontsize=9)
    styles = line_handles({f"against {TARGETS[name]}": {"linestyle": STYLES[name]} for name in STYLES})
    top_legend(figure, [*of_value_functions(table), *styles], 4)
    return figure


def against_pairs(grid: Grid, quality: pd.DataFrame, measure: str, label: str) -> Figure:
    """A panel per task and source: a measure against the number of pairs, a colour for every share of training."""
    table = quality[quality["value_function"] == "trained"]
    if table.empty:
        return nothing(grid)
    figure, panels = place_panels(grid, table, BESIDE)
    looks = ordered_looks(table["fraction"])
    for place, axes in panels.items():
        here = at(table, place).assign(x=lambda rows: rows["pairs"])
        for fraction, look in looks.items():
            if len(line := here[here["fraction"] == fraction]):
                seeds(axes, line, measure, look, "-")
        pairs_axis(axes, table["pairs"])
        cosine_axis(axes, table[measure])
    figure.supxlabel("state–action pairs of an estimate (k: thousand)", fontsize=9)
    figure.supylabel(label, fontsize=9)
    names = {f"{100 * fraction:g} % of training": look for fraction, look in looks.items()}
    top_legend(figure, [*handles(names), *line_handles({PRACTICE_TEXT: PRACTICE})], 5)
    return figure


def nearest_pairs(pairs: pd.Series) -> int:
    """The number of pairs, among those that were measured, that is next to the usual one, on a logarithmic scale."""
    return int(min(pairs.unique(), key=lambda n: abs(np.log(n / PAPERS_PAIRS))))


def nothing(grid: Grid) -> Figure:
    """The figure for a grid whose probes have nothing to show."""
    asked = len(grid.quality_probes)
    return sentence(f"nothing of the {asked} probes asked for is there" if asked else "this grid asks for none of it")


def ordered_looks(values: pd.Series) -> dict[float, theme.Look]:
    """A look for every value of an ordered quantity, from dark to light."""
    found = sorted(values.unique())
    colours: Callable = matplotlib.colormaps["viridis"]
    shades = np.linspace(DARKEST, LIGHTEST, len(found))
    return {
        value: theme.Look(to_hex(colours(shade)), MARKERS[place % len(MARKERS)])
        for place, (value, shade) in enumerate(zip(found, shades, strict=True))
    }


def handles(looks: dict[str, theme.Look]) -> list[Line2D]:
    """Handles for a legend of looks, by their labels."""
    return [
        Line2D([], [], color=look.colour, marker=look.marker, markersize=5.5, linestyle=look.line, label=label)
        for label, look in looks.items()
    ]


def of_value_functions(table: pd.DataFrame) -> list[Line2D]:
    """Handles for a legend of the value functions of a table."""
    return handles({VALUE_FUNCTIONS[name]: LOOKS[name] for name in dict.fromkeys(table["value_function"])})


def pairs_axis(axes: Axes, pairs: pd.Series) -> None:
    """Make the horizontal axis one of pairs, with a tick at every number of them, and the line at the usual one."""
    ticks = sorted(pairs.unique())
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{tick / 1000:g}k" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.axvline(PAPERS_PAIRS, color=theme.QUIET, zorder=0.9, **PRACTICE)


def cosine_axis(axes: Axes, values: pd.Series) -> None:
    """Make the vertical axis one of cosines: up to 1, and down to 0 or to the smallest value."""
    axes.axhline(0, color=theme.QUIET, linewidth=0.8, zorder=0.9)
    axes.set_ylim(max(np.nanmin([0.0, *values]), -1.0) - 0.05, 1.05)


def without_intervals(line: pd.DataFrame) -> pd.DataFrame:
    """A table of relative errors with the columns of an interval, which they do not have."""
    return line.assign(relative_error_low=np.nan, relative_error_high=np.nan)
