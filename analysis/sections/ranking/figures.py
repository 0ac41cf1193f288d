"""The figures that rank the algorithms, each made from the table that its argument names."""

import textwrap

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ...drawing import theme
from ...drawing.panels import (
    RANDOM,
    REFERENCE,
    algorithm_axis,
    band,
    legend,
    line_handles,
    mark_scores,
    marked_line,
    row_height,
    rows,
    sentence,
    top_legend,
)
from ...reading.grid import Grid

MEASURES = {"score": "Final score", "auc": "Return over the whole budget (AUC)"}  # by measure, its title
METRICS = {  # by column of the table `aggregate`, its label
    "iqm": "IQM",
    "mean": "mean",
    "median": "median over tasks",
    "optimality_gap": "optimality gap (low: good)",
}
SCALE = {"random_score": 0, "reference_score": 1, "threshold": None}  # of normalised scores
EVEN = {"linestyle": "--", "linewidth": 1}  # the line at probability ½
PANELS = 4  # side by side, at most
ROW = 0.3  # the height of an algorithm's row in inches, at least
TITLE_LINE = 88  # characters of the panels' titles beside each other
MARGIN = 0.03  # of a normalised score, to the right of the last level of a profile


def aggregate_scores(grid: Grid, aggregate: pd.DataFrame) -> Figure:
    """A row of panels per measure, a column per metric: every algorithm's value with its 95 % interval."""
    height = 1.0 + len(MEASURES) * (0.75 + algorithms_height(grid))
    figure, panels = plt.subplots(
        len(MEASURES), len(METRICS), figsize=(theme.WIDTH, height), layout="constrained", sharey=True
    )
    for (measure, title), line in zip(MEASURES.items(), panels, strict=True):
        for (metric, label), axes in zip(METRICS.items(), line, strict=True):
            found = rows(aggregate, measure=measure)
            interval_rows(axes, grid, found, metric, f"{metric}_low", f"{metric}_high")
            axes.xaxis.set_major_locator(MaxNLocator(5))
            if metric != "optimality_gap" and len(found):
                mark_scores(axes, SCALE, vertical=True)
            axes.set_xlabel(label)
        line[0].set_title(title)
    top_legend(figure, scale_handles(), 2)
    return figure


def performance_profiles(grid: Grid, profiles: pd.DataFrame) -> Figure:
    """A panel per measure: the share of each algorithm's runs with a normalised score above τ, with 95 % bands."""
    figure, panels = plt.subplots(1, len(MEASURES), figsize=(theme.WIDTH, 4.2), layout="constrained", sharey=True)
    for (measure, title), axes in zip(MEASURES.items(), panels, strict=True):
        found = rows(profiles, measure=measure)
        for index, (algorithm, look) in enumerate(theme.looks(list(grid.algorithms)).items()):
            points = rows(found, algorithm=algorithm)
            band(axes, points["tau"], points["low"], points["high"], look)
            marked_line(axes, points["tau"], points["share"], look, index)
        if len(found):
            axes.set_xlim(found["tau"].min(), found["tau"].max() + MARGIN)
            mark_scores(axes, SCALE, vertical=True)
        axes.set_ylim(-0.02, 1.02)
        axes.set_title(title)
        axes.set_xlabel("normalised score τ")
    panels[0].set_ylabel("share of runs above τ")
    legend(figure, grid, scale_handles())
    return figure


def probability_of_improvement(grid: Grid, improvement: pd.DataFrame) -> Figure:
    """A panel per algorithm: how likely one of its runs scores higher than a run of each other algorithm.

    The probabilities are those of the final score and have 95 % intervals.
    """
    found = both_ways(rows(improvement, measure="score"))
    present = [algorithm for algorithm in grid.algorithms if len(rows(found, algorithm=algorithm))]
    if not present:
        return sentence("no two algorithms have runs on the same task")
    columns = min(len(present), PANELS if len(present) not in (3, 5, 6) else 3)
    lines = -(-len(present) // columns)
    size = (theme.WIDTH, 0.5 + lines * (0.8 + algorithms_height(grid)))
    figure, panels = plt.subplots(
        lines, columns, figsize=size, layout="constrained", squeeze=False, sharex=True, sharey=True
    )
    for axes in panels.flat[len(present) :]:
        axes.remove()
    for algorithm, axes in zip(present, panels.flat, strict=False):
        others = rows(found, algorithm=algorithm).assign(algorithm=lambda table: table["other"])
        interval_rows(axes, grid, others, "probability", "low", "high", theme.looks(list(grid.algorithms))[algorithm])
        axes.axvline(0.5, color=theme.QUIET, zorder=0.9, **EVEN)
        axes.set_title(textwrap.fill(grid.title(algorithm), TITLE_LINE // columns))
    panels[0, 0].set_xlim(-0.03, 1.03)
    panels[0, 0].set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    figure.supxlabel("probability that its final score is above that of …", fontsize=9)
    return figure


def algorithms_height(grid: Grid) -> float:
    """The height in inches of a row for every algorithm."""
    return row_height(map(grid.title, grid.algorithms), ROW) * len(grid.algorithms)


def both_ways(pairs: pd.DataFrame) -> pd.DataFrame:
    """The rows of every pair of algorithms in both orders; in the other order the probability is 1 − P."""
    names = {"algorithm": "other", "other": "algorithm", "n": "n_other", "n_other": "n"}
    mirrored = pairs.rename(columns=names).assign(
        probability=1 - pairs["probability"], low=1 - pairs["high"], high=1 - pairs["low"]
    )
    return pd.concat([pairs, mirrored[list(pairs.columns)]], ignore_index=True)


def interval_rows(
    axes: Axes, grid: Grid, table: pd.DataFrame, middle: str, low: str, high: str, look: theme.Look | None = None
) -> None:
    """Draw a row per algorithm, with its value and interval.

    `middle`, `low` and `high` are the columns of the value and of the ends of its interval. `look` is the look of all
    rows; without it, each row has the look of its algorithm.
    """
    for place, (algorithm, own) in enumerate(theme.looks(list(grid.algorithms)).items()):
        mark = look or own
        for row in rows(table, algorithm=algorithm).to_dict("records"):
            ends = {"color": mark.colour, "linewidth": 6, "alpha": 0.4, "solid_capstyle": "butt"}
            axes.plot([row[low], row[high]], [place] * 2, **ends)
            axes.plot([row[middle]], [place], mark.marker, color=mark.colour, markersize=6, markeredgewidth=0)
    algorithm_axis(axes, grid)


def scale_handles() -> list:
    """Handles for a legend of the lines on an axis of normalised scores."""
    return line_handles({"reference score": REFERENCE, "random score": RANDOM})
