"""The figure of published scores, made from the table `published`."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ...drawing import theme
from ...drawing.panels import beside_rows, headnote, named_rows, row_height, rows, sentence, top_legend
from ...lacking import MARK, mark
from ...reading.grid import Grid
from .tables import split_id

OURS = {"marker": "o", "markersize": 5, "linestyle": ""}
THEIRS = {"marker": "D", "markersize": 4.5, "markerfacecolor": "white", "linestyle": ""}
APART = 0.16  # of a row's height: our score is so far above the middle of the row, the published one so far below
ROW = 0.3  # the height of a row in inches, at least
NAME = 60  # characters in a line of a row's name
PANEL = 0.75  # the height of a panel without its rows, for title and axis, in inches
ONE_COLUMN = 8  # rows at most; more rows are shown in two columns


def published_scores(grid: Grid, published: pd.DataFrame) -> Figure:
    """A panel per task, a row per comparable published score: ours and theirs, each with its interval."""
    comparable = published[published["verdict"] != "not comparable"]
    if comparable.empty:
        return sentence("no published score can be held against these runs; the table says why")
    tasks = [task for task in grid.tasks if task in set(comparable["task"])]
    entries = {task: rows(comparable, task=task) for task in tasks}
    heights = {task: PANEL + row_height(names_of(grid, of), ROW, NAME) * len(of) for task, of in entries.items()}
    columns = in_columns(heights, len(comparable))
    tallest = max(sum(heights.values()) for heights in columns)
    figure = plt.figure(figsize=(theme.WIDTH, 0.45 + tallest), layout="constrained")
    for part, heights in zip(figure.subfigures(1, len(columns), squeeze=False)[0], columns, strict=True):
        # A shorter column ends in empty space instead of stretching its rows.
        spare = tallest - sum(heights.values())
        ratios = [*heights.values(), *([spare] if spare > 0 else [])]
        panels = part.subplots(len(ratios), 1, squeeze=False, height_ratios=ratios)[:, 0]
        for axes in panels[len(heights) :]:
            axes.set_axis_off()
        for task, axes in zip(heights, panels, strict=False):
            task_panel(grid, axes, task, rows(comparable, task=task))
    handles = [
        Line2D([], [], color=theme.QUIET, label="ours, mean and 95 % interval", **{**OURS, "linestyle": "-"}),
        Line2D([], [], color=theme.INK, label="published", **{**THEIRS, "linestyle": "-"}),
        Line2D([], [], linestyle="", marker="$*$", color=theme.INK, markersize=6, label="same settings"),
    ]
    top_legend(figure, handles, len(handles))
    if (comparable["n"] < comparable["requested"]).any():
        headnote(figure, f"{MARK} ours is over fewer runs than asked for")
    return figure


def in_columns(heights: dict[str, float], entries: int) -> list[dict[str, float]]:
    """Put the tasks, in their order, into two columns of about the same height, or into one if there is little to show.

    `heights` has the height of each task's panel in inches, `entries` is the number of rows in all panels. Returns the
    heights by task of each column.
    """
    if len(heights) == 1 or entries <= ONE_COLUMN:
        return [heights]
    tasks = list(heights)
    cut = min(
        range(1, len(tasks)),
        key=lambda at: abs(sum(heights[task] for task in tasks[:at]) - sum(heights[task] for task in tasks[at:])),
    )
    return [{task: heights[task] for task in part} for part in (tasks[:cut], tasks[cut:])]


def task_panel(grid: Grid, axes: Axes, task: str, entries: pd.DataFrame) -> None:
    """Draw the scores on a task: a row per published score, with our score above it."""
    looks = theme.looks(list(grid.algorithms))
    for place, row in enumerate(entries.itertuples()):
        colour = looks[row.algorithm].colour
        axes.plot([row.ours_low, row.ours_high], [place - APART] * 2, color=colour, linewidth=2.2)
        axes.plot([row.ours], [place - APART], color=colour, **OURS)
        axes.plot([row.published_low, row.published_high], [place + APART] * 2, color=theme.INK, linewidth=1)
        axes.plot([row.published], [place + APART], color=theme.INK, **THEIRS)
    named_rows(axes, beside_rows(names_of(grid, entries), NAME))
    axes.tick_params(axis="y", labelsize=7.5)
    axes.set_title(task)


def names_of(grid: Grid, entries: pd.DataFrame) -> list[str]:
    """The name of each row: algorithm, source and version of the task, and a mark where the settings are the same."""
    return [
        f"{grid.title(row.algorithm)}{mark(row)}: {row.source}, v{split_id(row.published_task)[1]}"
        f"{' *' if row.settings == 'same' else ''}"
        for row in entries.itertuples()
    ]
