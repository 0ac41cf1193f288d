"""The figure of scores against bins."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from ...drawing import theme
from ...drawing.panels import legend, rows, sentence
from ...reading.grid import Grid

COLUMNS = 3


def action_bins(grid: Grid, bins: pd.DataFrame) -> Figure:
    """A panel for each environment: scores against bins, and as a line across those of actions without bins."""
    if bins.empty:
        return sentence("no task of this grid has actions in bins")
    environments = list(dict.fromkeys(bins["environment"]))
    count = -(-len(environments) // COLUMNS)
    figure, axes = plt.subplots(
        count,
        min(COLUMNS, len(environments)),
        figsize=(theme.WIDTH, 0.5 + 2.9 * count),
        squeeze=False,
        sharey=True,
        layout="constrained",
    )
    looks = theme.looks(list(grid.algorithms))
    for panel, environment in zip(axes.flat, environments, strict=False):
        for algorithm, look in looks.items():
            of = rows(bins, environment=environment, algorithm=algorithm)
            for whole in of[of["bins"] == 0].itertuples():
                panel.axhline(whole.mean, color=look.colour, linestyle="--", linewidth=1.4)
                if whole.low < whole.high:
                    panel.axhspan(whole.low, whole.high, color=look.colour, alpha=0.12, linewidth=0)
            of = of[of["bins"] > 0].sort_values("bins")
            if len(of):
                panel.plot(of["bins"], of["mean"], color=look.colour, marker=look.marker, markersize=5)
                panel.vlines(of["bins"], of["low"], of["high"], color=look.colour, linewidth=1.4)
        ticks = sorted({int(k) for k in bins["bins"] if k > 0})
        panel.set_xscale("log")
        panel.set_xticks(ticks, list(map(str, ticks)))
        panel.minorticks_off()
        panel.set_title(environment)
    for panel in axes.flat[len(environments) :]:
        panel.set_axis_off()
    figure.supxlabel("bins of each dimension of an action; dashed: no bins", fontsize=9)
    figure.supylabel("normalised score of the mode action", fontsize=9)
    legend(figure, grid, algorithms=list(dict.fromkeys(bins["algorithm"])))
    return figure
