"""The figures of speed: what the time of a run is spent on, and the benchmark."""

import shlex

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from policy_gradient_ladder.experiments.schema import PHASES

from ...drawing import theme
from ...drawing.panels import (
    algorithm_axis,
    dots,
    line_handles,
    named_rows,
    phase_handles,
    row_height,
    rows,
    sentence,
    spread,
    stacked_bars,
    top_legend,
)
from ...reading.grid import Grid
from .tables import LIMIT

LIMIT_LINE = {"linestyle": "--", "linewidth": 1}  # the line at the rate of the limit
GYMNASIUM_LINE = {"linestyle": ":", "linewidth": 1}  # the line at the rate of stepping Gymnasium
BENCHMARK_PHASES = ("stepping", "acting", "learning", "rest")  # of the training loop without compiling


def speed(grid: Grid, scores: pd.DataFrame) -> Figure:
    """Two panels with a row per algorithm: the phases of a run's wall-clock time, and the steps per second.

    The left panel shows means over runs in seconds, the right panel every run.
    """
    height = 1.5 + row_height(map(grid.title, grid.algorithms), 0.42) * len(grid.algorithms)
    figure, (left, right) = plt.subplots(1, 2, figsize=(theme.WIDTH, height), layout="constrained", sharey=True)
    seconds = scores.groupby("algorithm")[[f"seconds_{phase}" for phase in PHASES]].mean()
    seconds = seconds.reindex(list(grid.algorithms)).fillna(0)
    start = np.zeros(len(seconds))
    for phase in PHASES:
        length = seconds[f"seconds_{phase}"].to_numpy()
        stacked_bars(left, range(len(seconds)), length, start, phase)
        start = start + length
    left.set(xlabel="wall-clock time of a run (seconds, mean over runs)")
    algorithm_axis(left, grid)
    for place, (algorithm, look) in enumerate(theme.looks(list(grid.algorithms)).items()):
        runs = rows(scores, algorithm=algorithm)
        dots(right, runs["steps_per_second"] / 1000, place + spread(len(runs), 0.25), look)
    right.set(xlabel="environment steps per second (thousands, every run)")
    right.set_xlim(left=0)
    right.grid(visible=False, axis="y")
    top_legend(figure, phase_handles(PHASES), len(PHASES))
    return figure


def benchmark(grid: Grid, benchmark: pd.DataFrame) -> Figure:
    """A row per task with two panels: the contestants' steps per second, and the shares of the training loop's time.

    The left panel shows median and range over repetitions, with the limit and Gymnasium as lines.
    """
    if benchmark.empty:
        command = f"snakemake --cores 1 speed --config {shlex.quote(f'grid={grid.grid_file}')}"
        return sentence(f"no benchmark was run; it is made with: {command}")
    tasks = dict(list(benchmark.groupby("task", sort=False)))
    heights = [len(measured) for measured in tasks.values()]
    figure, panels = plt.subplots(
        len(tasks),
        2,
        figsize=(theme.WIDTH, 1.2 + 0.6 * len(tasks) + 0.24 * sum(heights)),
        layout="constrained",
        squeeze=False,
        sharey="row",
        height_ratios=[1 + height for height in heights],  # with room for a title
    )
    for (task, measured), (left, right) in zip(tasks.items(), panels, strict=True):
        rate_panel(left, measured)
        split_panel(right, measured)
        left.set_title(task, loc="left")
        named_rows(left, list(measured["title"]))
    panels[-1, 0].set_xlabel("steps per second (thousands)")
    panels[-1, 1].set_xlabel("share of the training loop’s time (%)")
    sides = {"bare": "stepping without learning", "ours": "this project", "base": "base", "peer": "another library"}
    sides = {side: label for side, label in sides.items() if (benchmark["side"] == side).any()}
    handles = [
        Line2D([], [], color=theme.SIDE_COLOURS[side], marker="o", linestyle="", markersize=5.5, label=label)
        for side, label in sides.items()
    ]
    handles += [*line_handles({"limit": LIMIT_LINE, "Gymnasium": GYMNASIUM_LINE}), *phase_handles(BENCHMARK_PHASES)]
    top_legend(figure, handles, 5)
    return figure


def rate_panel(axes: Axes, table: pd.DataFrame) -> None:
    """Draw steps per second on a logarithmic axis, on which equal ratios are equal distances.

    `table` has the rows of one task.
    """
    rates = table.set_index("contestant")["steps_per_second"].dropna()
    for name, line in ((LIMIT, LIMIT_LINE), ("gymnasium", GYMNASIUM_LINE)):
        if name in rates:
            axes.axvline(rates[name], color=theme.QUIET, zorder=0.9, **line)
    axes.set_xscale("log")
    if len(rates):
        axes.set_xlim(rates.min() / 1.4, rates.max() * 3.2)  # room for the last number
    for place, (_, row) in enumerate(table.iterrows()):
        if pd.isna(row["steps_per_second"]):
            where = {"transform": axes.get_yaxis_transform(), "va": "center", "color": theme.QUIET, "fontsize": 7.5}
            axes.text(0.05, place, f"– ({row['status']})", **where)
            continue
        colour = theme.SIDE_COLOURS[row["side"]]
        axes.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=2.4, solid_capstyle="round")
        axes.plot([row["steps_per_second"]], [place], "o", color=colour, markersize=5)
        axes.annotate(
            f"{row['steps_per_second']:,.0f}",
            (row["high"], place),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=7.5,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        )
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axes.xaxis.set_major_formatter(lambda rate, _: f"{rate / 1000:g}")
    axes.xaxis.set_minor_locator(NullLocator())


def split_panel(axes: Axes, table: pd.DataFrame) -> None:
    """Draw the shares of the training loop's time; `table` has the rows of one task."""
    start = np.zeros(len(table))
    for phase in BENCHMARK_PHASES:
        share = 100 * table[phase].fillna(0).to_numpy()
        stacked_bars(axes, range(len(table)), share, start, phase)
        start = start + share
    axes.set_xlim(0, 100)
