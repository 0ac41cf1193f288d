"""The figure of scores against ε."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ...drawing import theme
from ...drawing.panels import legend, rows, say, sentence, task_panels
from ...reading.grid import Grid


def privacy(grid: Grid, privacy: pd.DataFrame) -> Figure:
    """A panel for each task: final scores against ε, and across the panel those without privacy."""
    if privacy.empty:
        return sentence("no run of this grid is differentially private")
    figure, panels = task_panels(grid)
    looks = theme.looks(list(grid.algorithms))
    for task, axes in panels.items():
        of_task = rows(privacy, task=task)
        beside = of_task.groupby("epsilon").cumcount()  # of several with the same ε
        for row, places in zip(of_task.itertuples(), beside, strict=True):
            look = looks[row.algorithm]
            if np.isinf(row.epsilon):
                axes.axhline(row.mean, color=look.colour, linestyle="--", linewidth=1.4)
                if row.low < row.high:
                    axes.axhspan(row.low, row.high, color=look.colour, alpha=0.12, linewidth=0)
            else:
                x = row.epsilon * 1.1**places
                axes.plot([x], [row.mean], color=look.colour, marker=look.marker, markersize=6)
                axes.vlines([x], [row.low], [row.high], color=look.colour, linewidth=1.4)
        ticks = sorted(of_task["epsilon"].replace(np.inf, np.nan).dropna().unique())
        if ticks:
            axes.set_xscale("log")
            axes.set_xticks(ticks, [f"{x:g}" for x in ticks])
            axes.minorticks_off()
        else:
            say(axes, "no private run")
        axes.set(xlabel="", ylabel="")
    figure.supxlabel("ε of each policy of a run; dashed: no privacy", fontsize=9)
    figure.supylabel("normalised final score", fontsize=9)
    legend(figure, grid, algorithms=[name for name in grid.algorithms if (privacy["algorithm"] == name).any()])
    return figure
