"""Panels, axes, lines, marks and legends that figures of several sections share."""

import re
import textwrap
from collections.abc import Iterable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from ..reading.grid import Grid
from ..words import short_name
from . import theme

NARROW, BROAD = 18, 36  # characters in a line beside rows
TITLE_LINE = 100  # characters in a figure's width of panel titles
LINE = 0.16  # the height in inches of a line of text beside rows
LEGEND_LINE = 60  # characters in a line of a legend, at most
LEGEND_ROOM = 0.55  # inches of a figure's height that are meant for its legend
# Styles of the lines at a task's reference score, threshold and random score.
REFERENCE = {"linestyle": "--", "linewidth": 1}
THRESHOLD = {"linestyle": "-.", "linewidth": 1}
RANDOM = {"linestyle": ":", "linewidth": 1}


def rows(table: pd.DataFrame, **keys: str) -> pd.DataFrame:
    """The rows of a table whose columns have the given values: rows(table, task="CartPole-v1")."""
    for column, value in keys.items():
        table = table[table[column] == value]
    return table


def by_algorithm(grid: Grid, table: pd.DataFrame, task: str) -> list[tuple[str, pd.DataFrame]]:
    """Every algorithm of the grid with its rows of a table on a task; the rows may be empty."""
    return [(algorithm, rows(table, task=task, algorithm=algorithm)) for algorithm in grid.algorithms]


def algorithms_of(grid: Grid, table: pd.DataFrame) -> list[str]:
    """The algorithms that have rows in a table, in the grid's order."""
    return [algorithm for algorithm in grid.algorithms if (table["algorithm"] == algorithm).any()]


def task_panels(grid: Grid, panel_height: float | None = None, **subplots) -> tuple[Figure, dict[str, Axes]]:
    """A figure with a titled panel per task, at most four side by side; returns the panels by task.

    `panel_height` is in inches; `subplots` are further arguments of matplotlib's function `subplots`.
    """
    n = len(grid.tasks)
    columns = 4 if n in (4, 7, 8) or n > 9 else min(n, 3)
    lines = -(-n // columns)
    panel_height = panel_height or (3.3 if columns < 3 else 2.5)
    size = (theme.WIDTH, 0.9 + panel_height * lines)
    figure, panels = plt.subplots(lines, columns, figsize=size, layout="constrained", squeeze=False, **subplots)
    for axes in panels.flat[len(grid.tasks) :]:
        axes.remove()
    titled = dict(zip(grid.tasks, panels.flat, strict=False))
    for task, axes in titled.items():
        axes.set_title(panel_title(task, columns))
        axes.xaxis.set_major_locator(step_ticks(4 if columns > 2 else 8))
    return figure, titled


def panel_title(task: str, columns: int) -> str:
    """A task's short name, in lines that fit a panel of which `columns` stand side by side."""
    lines = [""]
    for part in re.split(r"(?<=[_-])", short_name(task)):
        if lines[-1] and len(lines[-1] + part) > TITLE_LINE // columns:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def step_ticks(n: int) -> MaxNLocator:
    """A locator of at most n ticks at round numbers of steps."""
    return MaxNLocator(n, steps=[1, 2, 2.5, 5, 10])


def log_axis(axes: Axes, values: pd.Series) -> None:
    """Make the vertical axis logarithmic, with plain numbers, if any of the values is positive."""
    positive = values[values > 0]
    if len(positive):
        wide = positive.max() > 100 * positive.min()
        axes.set_yscale("log", nonpositive="mask")
        axes.yaxis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(NullLocator())


def algorithm_axis(axes: Axes, grid: Grid) -> None:
    """Write the titles of the algorithms along the vertical axis, the first on top."""
    named_rows(axes, beside_rows(map(grid.title, grid.algorithms)))


def beside_rows(titles: Iterable[str], line: int = NARROW) -> list[str]:
    """Titles in lines of `line` characters, to stand beside rows; of more where two lines do not hold them."""
    titles = list(titles)
    line = line if all(len(title) <= 2 * line for title in titles) else max(line, BROAD)
    return [textwrap.fill(title, line) for title in titles]


def row_height(titles: Iterable[str], least: float, line: int = NARROW) -> float:
    """The height in inches of each of the rows beside which these titles stand: `least`, or what their lines need."""
    lines = [1 + title.count("\n") for title in beside_rows(titles, line)]
    return max(least, LINE * max(lines) if max(lines) > 2 else 0.0)


def named_rows(axes: Axes, titles: list[str]) -> None:
    """Write titles along the vertical axis at 0, 1, 2, …, the first on top."""
    axes.set_yticks(range(len(titles)), titles)
    axes.set_ylim(len(titles) - 0.45, -0.55)
    axes.grid(visible=False, axis="y")


def stacked_bars(axes: Axes, places: Iterable[int], length: np.ndarray, start: np.ndarray, phase: str) -> None:
    """Draw one phase of n horizontal stacked bars.

    The phase begins at `start` [n] and has the `length` [n], both in units of the horizontal axis; `places` [n] are the
    bars' places on the vertical axis.
    """
    colour = theme.PHASE_COLOURS[phase]
    axes.barh(places, length, left=start, height=0.6, color=colour, edgecolor="white", linewidth=0.5)


def phase_handles(phases: Iterable[str]) -> list[Patch]:
    """Handles for a legend of the phases of a run's time, in their colours."""
    names = {"start_up": "start-up", "rest": "rest of the loop"}
    return [Patch(color=theme.PHASE_COLOURS[phase], label=names.get(phase, phase)) for phase in phases]


def marked_line(axes: Axes, x, y, look: theme.Look, index: int, **style) -> None:
    """Draw a line with its algorithm's marker at some of its points.

    `index` is the number of the line in its panel; neighbouring lines have their markers at different points.
    """
    style = {"markersize": 4.5, "markevery": (4 + 4 * index % 25, 25), "linestyle": look.line, **style}
    axes.plot(x, y, color=look.colour, marker=look.marker, markeredgewidth=0, **style)


def band(axes: Axes, x, low, high, look: theme.Look) -> None:
    """Shade the interval from `low` to `high` around a line."""
    axes.fill_between(x, low, high, color=look.colour, alpha=0.09, linewidth=0)


def dots(axes: Axes, x, y, look: theme.Look, *, hollow: bool = False) -> None:
    """Draw a marker per run, at the points (x, y)."""
    face = "none" if hollow else look.colour
    axes.scatter(x, y, s=20, marker=look.marker, facecolor=face, edgecolor=look.colour, linewidth=0.9, alpha=0.8)


def mark_scores(axes: Axes, task: dict, *, vertical: bool) -> None:
    """Draw lines at a task's random score, threshold and reference score.

    `task` is the task's entry in grid.json. A score far beyond the axis is written as text instead of drawn.
    """
    draw = axes.axvline if vertical else axes.axhline
    draw(task["random_score"], color=theme.QUIET, zorder=0.9, **RANDOM)
    low, high = axes.get_xlim() if vertical else axes.get_ylim()
    far_off = []
    for name, score, line in (
        ("threshold", task["threshold"], THRESHOLD),
        ("reference", task["reference_score"], REFERENCE),
    ):
        if score is None or (name == "threshold" and score == task["reference_score"]):
            continue
        if score <= high + 0.5 * (high - low):
            draw(score, color=theme.QUIET, zorder=0.9, **line)
        else:
            far_off.append(f"{name} {score:,.0f} {'→' if vertical else '↑'}".replace("-", "−"))
    x, side = (0.99, "right") if vertical else (0.02, "left")
    if far_off:
        look = {
            "color": theme.QUIET,
            "fontsize": 7.5,
            "zorder": 1,
            "bbox": {"facecolor": "white", "linewidth": 0, "pad": 1},
        }
        axes.text(x, 0.985, "\n".join(far_off), transform=axes.transAxes, ha=side, va="top", **look)


def score_handles(grid: Grid) -> list[Line2D]:
    """Handles for a legend of the lines that `mark_scores` draws.

    There is none for the threshold if every task's threshold is missing or equal to its reference score.
    """
    own = any(task["threshold"] not in (None, task["reference_score"]) for task in grid.tasks.values())
    threshold = {"threshold": THRESHOLD} if own else {}
    return line_handles({"reference score": REFERENCE, **threshold, "random score": RANDOM})


def line_handles(lines: dict[str, dict]) -> list[Line2D]:
    """Handles for a legend of lines; `lines` has the style of each line by its label."""
    return [Line2D([], [], color=theme.QUIET, label=label, **line) for label, line in lines.items()]


def algorithm_handles(grid: Grid, algorithms: Iterable[str]) -> list[Line2D]:
    """Handles for a legend of algorithms of the grid: the line and the marker of each."""
    looks = theme.looks(list(grid.algorithms))
    return [
        Line2D(
            [],
            [],
            color=looks[name].colour,
            marker=looks[name].marker,
            linestyle=looks[name].line,
            markersize=5.5,
            label=grid.title(name),
        )
        for name in algorithms
    ]


def legend(figure: Figure, grid: Grid, further: Iterable[Line2D] = (), algorithms: Iterable[str] | None = None) -> None:
    """Draw a legend above the panels: the algorithms (None: all of the grid), then the further handles."""
    handles = [*algorithm_handles(grid, grid.algorithms if algorithms is None else algorithms), *further]
    top_legend(figure, handles, 4 if len(handles) > 5 else 5)


def top_legend(figure: Figure, handles: list[Artist], most: int) -> None:
    """Draw a legend above the panels, in at most `most` columns and no more than fit into the figure's width.

    The figure grows by what a legend of many lines needs, so that the panels keep their size.
    """
    labels = [textwrap.fill(str(handle.get_label()), LEGEND_LINE) for handle in handles]
    for ncols in range(min(len(handles), most), 0, -1):
        found = figure.legend(handles, labels, loc="outside upper center", ncols=ncols)
        size = found.get_window_extent(figure.canvas.get_renderer())
        if size.width < figure.bbox.width or ncols == 1:
            break
        found.remove()
    further = size.height / figure.dpi - LEGEND_ROOM
    if further > 0:
        figure.set_figheight(figure.get_figheight() + further)


def headnote(figure: Figure, text: str) -> None:
    """Write a sentence above the whole figure."""
    title = {"title": textwrap.fill(text, 150), "title_fontsize": 8}
    if figure.legends:
        figure.legends[0].set_title(title["title"], {"size": title["title_fontsize"]})
    else:
        figure.legend(handles=[], loc="outside upper center", **title)


def spread(n: int, half_width: float) -> np.ndarray:
    """Offsets [n] at equal distances, from −half_width to half_width; 0 where n is 1."""
    return np.linspace(-half_width, half_width, n) if n > 1 else np.zeros(n)


def sentence(text: str) -> Figure:
    """A figure that has only a sentence, in place of one that has nothing to show."""
    figure, axes = plt.subplots(figsize=(theme.WIDTH, 1.5), layout="constrained")
    say(axes, text)
    return figure


def say(axes: Axes, text: str) -> None:
    """Write a sentence into a panel that has nothing to show."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=theme.QUIET)
    axes.set(xticks=[], yticks=[])
