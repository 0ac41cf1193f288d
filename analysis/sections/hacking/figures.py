"""The figure of the true return beside the return that is learned from."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...drawing import theme
from ...drawing.panels import band, legend, marked_line, rows, sentence, step_ticks
from ...reading.grid import Grid


def proxy_and_true(
    grid: Grid,
    true_curves: pd.DataFrame,
    true_intervals: pd.DataFrame,
    curves: pd.DataFrame,
    curve_intervals: pd.DataFrame,
) -> Figure:
    """A row for each task with true rewards: proxy and true return against steps, and one against the other."""
    tasks = [task for task in grid.tasks if len(rows(true_curves, task=task))]
    if not tasks:
        return sentence("no task of this grid reports a true reward")
    figure, panels = plt.subplots(
        len(tasks), 3, figsize=(theme.WIDTH, 0.9 + 2.9 * len(tasks)), squeeze=False, layout="constrained"
    )
    looks = theme.looks(list(grid.algorithms))
    for task, (left, middle, right) in zip(tasks, panels, strict=True):
        for index, (algorithm, look) in enumerate(looks.items()):
            true = rows(true_intervals, task=task, algorithm=algorithm)
            if true.empty:
                continue
            proxy = rows(curve_intervals, task=task, algorithm=algorithm)
            over_steps(left, rows(curves, task=task, algorithm=algorithm), proxy, look, index)
            over_steps(middle, rows(true_curves, task=task, algorithm=algorithm), true, look, index)
            both = proxy.merge(true, on="step", suffixes=("_proxy", "_true"))
            right.plot(both["mean_proxy"], both["mean_true"], color=look.colour, linestyle=look.line)
            for place, face in ((0, "white"), (-1, look.colour)):
                ends = both.iloc[[place]]
                right.scatter(
                    ends["mean_proxy"],
                    ends["mean_true"],
                    s=26,
                    marker=look.marker,
                    facecolor=face,
                    edgecolor=look.colour,
                )
        left.set(title=f"{task}: proxy", ylabel="return (moving average)")
        middle.set_title(f"{task}: true")
        right.set(title="true against proxy", xlabel="proxy", ylabel="true")
    for axes in (panels[-1][0], panels[-1][1]):
        axes.set_xlabel("environment steps (thousands)")
    legend(figure, grid, algorithms=list(dict.fromkeys(true_curves["algorithm"])))
    return figure


def over_steps(axes: Axes, runs: pd.DataFrame, means: pd.DataFrame, look: theme.Look, index: int) -> None:
    """Draw the moving averages of single runs, and their mean with its interval, against steps."""
    for _, run in runs.groupby("seed"):
        axes.plot(run["step"] / 1000, run["moving_average"], color=look.colour, linewidth=0.6, alpha=0.28)
    band(axes, means["step"] / 1000, means["low"], means["high"], look)
    marked_line(axes, means["step"] / 1000, means["mean"], look, index)
    axes.xaxis.set_major_locator(step_ticks(4))
