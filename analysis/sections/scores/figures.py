"""The figure of final scores, with every run."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ...drawing import theme
from ...drawing.panels import (
    algorithm_axis,
    dots,
    mark_scores,
    row_height,
    rows,
    score_handles,
    spread,
    task_panels,
    top_legend,
)
from ...reading.grid import Grid

ROW = 0.42  # the height of an algorithm's row in inches, at least


def final_scores(grid: Grid, scores: pd.DataFrame, summary: pd.DataFrame) -> Figure:
    """A panel per task, a row per algorithm: the final score of every run, and their mean with its 95 % interval."""
    height = 0.65 + row_height(map(grid.title, grid.algorithms), ROW) * len(grid.algorithms)
    figure, panels = task_panels(grid, panel_height=height, sharey=True)
    looks = theme.looks(list(grid.algorithms))
    for task, axes in panels.items():
        for place, (algorithm, look) in enumerate(looks.items()):
            runs = rows(scores, task=task, algorithm=algorithm).sort_values("seed")
            offsets = spread(len(runs), 0.14) + 0.16
            dots(axes, runs["score"], place + offsets, look)
            for mean in rows(summary, task=task, algorithm=algorithm).itertuples():
                axes.plot([mean.low, mean.high], [place - 0.22] * 2, color=look.colour, linewidth=2.4)
                axes.plot([mean.mean], [place - 0.22], "|", color=theme.INK, markersize=9, markeredgewidth=1.6)
        mark_scores(axes, grid.tasks[task], vertical=True)
        algorithm_axis(axes, grid)
    figure.supxlabel("final score (mean return of the evaluation episodes, sampled actions)", fontsize=9)
    top_legend(
        figure,
        [
            Line2D([], [], color=theme.QUIET, marker="o", linestyle="", markersize=4.5, label="one run"),
            Line2D([], [], color=theme.INK, marker="|", linestyle="", markersize=9, label="mean over runs"),
            Line2D([], [], color=theme.QUIET, linewidth=2.4, label="95 % interval of the mean"),
            *score_handles(grid),
        ],
        6,
    )
    return figure
