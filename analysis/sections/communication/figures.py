"""The figure of returns against rounds and bytes."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from policy_gradient_ladder.experiments.schema import SENT

from ...drawing import theme
from ...drawing.panels import algorithms_of, band, legend, mark_scores, marked_line, rows, score_handles, sentence
from ...reading.grid import Grid

LABELS = dict(zip(SENT, ("rounds of communication", "megabytes sent"), strict=True))


def communication(grid: Grid, communication: pd.DataFrame) -> Figure:
    """A row for each task, with a panel of returns against rounds and one against megabytes."""
    if communication.empty:
        return sentence("no algorithm of this grid sends anything")
    tasks = [task for task in grid.tasks if (communication["task"] == task).any()]
    figure, panels = plt.subplots(
        len(tasks),
        len(SENT),
        figsize=(theme.WIDTH, 0.9 + 2.7 * len(tasks)),
        squeeze=False,
        sharey="row",
        layout="constrained",
    )
    looks = theme.looks(list(grid.algorithms))
    shown = algorithms_of(grid, communication)
    for task, row in zip(tasks, panels, strict=True):
        for axes, (sent, label) in zip(row, LABELS.items(), strict=True):
            for index, algorithm in enumerate(shown):
                of = rows(communication, task=task, algorithm=algorithm)
                of = of[of[sent] > 0].drop_duplicates(sent, keep="last")  # what is reached before the next round
                band(axes, of[sent], of["low"], of["high"], looks[algorithm])
                marked_line(axes, of[sent], of["mean"], looks[algorithm], index)
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_locator(NullLocator())
            mark_scores(axes, grid.tasks[task], vertical=False)
            axes.set(xlabel=label if task == tasks[-1] else "", ylabel="")
        row[0].set_title(task)
    figure.supylabel("training return (moving average)", fontsize=9)
    legend(figure, grid, score_handles(grid), algorithms=shown)
    return figure
