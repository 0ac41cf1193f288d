"""The figure of returns under changes."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ...drawing import theme
from ...drawing.panels import rows, sentence
from ...reading.grid import Grid
from ...words import short_name

AXES = {  # what the size of a change is, along the axis
    "mass": "mass ×",
    "friction": "friction ×",
    "gear": "motors ×",
    "delay": "delay, steps",
    "noise": "noise, deviation",
}


def under_changes(grid: Grid, robustness: pd.DataFrame, robustness_summary: pd.DataFrame) -> Figure:
    """A row of panels per environment, a panel per change: every run, and means with their intervals."""
    if robustness_summary.empty:
        return sentence("no run of this grid was evaluated under changes of its task")
    environments = list(dict.fromkeys(robustness_summary["environment"]))
    changes = [change for change in AXES if (robustness_summary["change"] == change).any()]
    figure, axes = plt.subplots(
        *(len(environments), len(changes)),
        figsize=(theme.WIDTH, 0.4 + 2.9 * len(environments)),
        squeeze=False,
        sharey="row",
        layout="constrained",
    )
    for panels, environment in zip(axes, environments, strict=True):
        of_environment = rows(robustness_summary, environment=environment)
        looks = looks_of_lines(grid, of_environment)
        for panel, change in zip(panels, changes, strict=True):
            for (task, algorithm), look in looks.items():
                names = {"environment": environment, "task": task, "algorithm": algorithm, "change": change}
                draw(panel, rows(robustness_summary, **names), rows(robustness, **names), look)
            panel.set_xlabel(AXES[change])
            if (nominal := rows(of_environment, change=change)["nominal"]).empty:
                panel.set_axis_off()
            else:
                panel.axvline(nominal.iloc[0], color=theme.QUIET, linewidth=1, linestyle=":", zorder=0.9)
        panels[0].set_title(short_name(environment), loc="left")
        panels[0].set_ylabel("return")
        panels[-1].legend(handles=handles(grid, looks), loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def draw(panel: Axes, means: pd.DataFrame, runs: pd.DataFrame, look: theme.Look) -> None:
    """The runs of one line of a panel as thin lines, their mean as a thick one, with its interval as a band."""
    for _, run in runs.groupby("seed"):
        panel.plot(run["size"], run["score"], color=look.colour, linewidth=0.5, alpha=0.25)
    panel.plot(means["size"], means["mean"], color=look.colour, marker=look.marker, linestyle=look.line, markersize=5)
    panel.fill_between(means["size"], means["low"], means["high"], color=look.colour, alpha=0.12, linewidth=0)


def looks_of_lines(grid: Grid, summary: pd.DataFrame) -> dict[tuple[str, str], theme.Look]:
    """The looks of an environment's lines, by task and algorithm: of the algorithm, unless it has several tasks."""
    lines = list(dict.fromkeys(zip(summary["task"], summary["algorithm"], strict=True)))
    if len({algorithm for _, algorithm in lines}) == len(lines):
        looks = theme.looks(list(grid.algorithms))
        return {line: looks[line[1]] for line in lines}
    return {line: theme.further_look(place) for place, line in enumerate(lines)}


def handles(grid: Grid, looks: dict[tuple[str, str], theme.Look]) -> list[Line2D]:
    """Handles for a legend of lines: the algorithm, the task, or both, whichever tells them apart."""
    several = [len(set(names)) > 1 for names in zip(*looks, strict=True)]
    return [
        Line2D(
            *([], []),
            color=look.colour,
            marker=look.marker,
            linestyle=look.line,
            markersize=5.5,
            label="\n".join([*([grid.title(algorithm)] if several[1] else []), *([task] if several[0] else [])])
            or grid.title(algorithm),
        )
        for (task, algorithm), look in looks.items()
    ]
