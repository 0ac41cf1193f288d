"""The figures of learning curves, their spread over seeds, sample efficiency and diagnostics."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from policy_gradient_ladder.experiments.schema import SENT

from ...drawing import theme
from ...drawing.panels import (
    RANDOM,
    REFERENCE,
    band,
    by_algorithm,
    dots,
    legend,
    line_handles,
    log_axis,
    mark_scores,
    marked_line,
    rows,
    say,
    score_handles,
    spread,
    step_ticks,
    task_panels,
)
from ...reading.grid import Grid
from .. import TABLES

OF_OTHER_FIGURES = (*SENT, "epsilon")
STEPS_LABEL = "environment steps (thousands)"
DIAGNOSTIC_PANELS = {  # by column of the table `diagnostics`: label and scale of the vertical axis
    "advantage_std": ("advantages (std)", "log"),
    "policy_gradient_norm": ("gradient norm", "log"),
    "entropy": ("entropy (nats)", "linear"),
    "approx_kl": ("KL of update (nats)", "symlog"),
    "explained_variance": ("explained variance", "linear"),
}


def learning_curves(grid: Grid, curves: pd.DataFrame, curve_intervals: pd.DataFrame) -> Figure:
    """A panel per task: the moving average of the training return against environment steps.

    Lines are means over runs, with 95 % intervals as bands; faint lines are single runs.
    """
    figure, panels = task_panels(grid)
    looks = theme.looks(list(grid.algorithms))
    palette = {name: look.colour for name, look in looks.items()}
    for task, axes in panels.items():
        runs = rows(curves, task=task)
        if len(runs):
            sns.lineplot(
                runs.assign(thousands=runs["step"] / 1000),
                x="thousands",
                y="moving_average",
                hue="algorithm",
                palette=palette,
                units="seed",
                estimator=None,
                linewidth=0.6,
                alpha=0.28,
                legend=False,
                ax=axes,
            )
        for index, (algorithm, mean) in enumerate(by_algorithm(grid, curve_intervals, task)):
            look = looks[algorithm]
            band(axes, mean["step"] / 1000, mean["low"], mean["high"], look)
            marked_line(axes, mean["step"] / 1000, mean["mean"], look, index)
        mark_scores(axes, grid.tasks[task], vertical=False)
        axes.set(xlabel="", ylabel="")
    figure.supxlabel(STEPS_LABEL, fontsize=9)
    figure.supylabel("training return (moving average)", fontsize=9)
    legend(figure, grid, score_handles(grid))
    return figure


def evaluation_curves(grid: Grid, evaluation_curves: pd.DataFrame, evaluation_intervals: pd.DataFrame) -> Figure:
    """A panel per task: the mean return of evaluations with sampled actions, against the steps of the training.

    Lines are means over runs, with 95 % intervals as bands; faint lines are single runs.
    """
    figure, panels = task_panels(grid)
    looks = theme.looks(list(grid.algorithms))
    for task, axes in panels.items():
        for index, (algorithm, mean) in enumerate(by_algorithm(grid, evaluation_intervals, task)):
            look = looks[algorithm]
            of_runs = rows(evaluation_curves, task=task, algorithm=algorithm, kind="sampled").sort_values("asked")
            for _, run in of_runs.groupby("seed"):
                axes.plot(run["asked"] / 1000, run["return"], color=look.colour, linewidth=0.6, alpha=0.28)
            mean = rows(mean, kind="sampled")
            band(axes, mean["step"] / 1000, mean["low"], mean["high"], look)
            marked_line(axes, mean["step"] / 1000, mean["mean"], look, index)
        if len(rows(evaluation_curves, task=task)):
            mark_scores(axes, grid.tasks[task], vertical=False)
        else:
            say(axes, "no evaluation in the\nmiddle of a training")
        axes.set(xlabel="", ylabel="")
    figure.supxlabel(STEPS_LABEL, fontsize=9)
    figure.supylabel("return of evaluations (sampled actions)", fontsize=9)
    legend(figure, grid, score_handles(grid))
    return figure


def seed_spread(grid: Grid, curve_intervals: pd.DataFrame) -> Figure:
    """A panel per task: the standard deviation over runs of the training return's moving average."""
    figure, panels = task_panels(grid)
    looks = theme.looks(list(grid.algorithms))
    for task, axes in panels.items():
        for index, (algorithm, mean) in enumerate(by_algorithm(grid, curve_intervals, task)):
            marked_line(axes, mean["step"] / 1000, mean["std"], looks[algorithm], index)
        if rows(curve_intervals, task=task)["std"].notna().any():
            axes.set_ylim(bottom=0)
        else:
            say(axes, "one run per algorithm:\nno spread to show")
    figure.supxlabel(STEPS_LABEL, fontsize=9)
    figure.supylabel("training return (moving average), std over runs", fontsize=9)
    legend(figure, grid)
    return figure


def sample_efficiency(grid: Grid, efficiency: pd.DataFrame, scores: pd.DataFrame) -> Figure:
    """Two panels: sample efficiency over all tasks, and the steps to the threshold of every run.

    The left panel shows the IQM of the normalised return against the share of the budget. The right panel shows when
    each run reached its task's threshold, with hollow markers for runs that did not reach it.
    """
    tasks = [task for task, values in grid.tasks.items() if values["threshold"] is not None]
    height = max(4.2, 1.0 + 0.16 * len(tasks) * (len(grid.algorithms) + 1))
    figure, (left, right) = plt.subplots(1, 2, figsize=(theme.WIDTH, height), layout="constrained")
    looks = theme.looks(list(grid.algorithms))
    for index, (algorithm, look) in enumerate(looks.items()):
        points = rows(efficiency, algorithm=algorithm)
        band(left, 100 * points["fraction"], points["low"], points["high"], look)
        marked_line(left, 100 * points["fraction"], points["iqm"], look, index)
    mark_scores(left, {"random_score": 0, "reference_score": 1, "threshold": None}, vertical=False)
    left.set(xlabel="share of the step budget (%)", ylabel="normalised training return (IQM over runs)")
    left.set_title("All tasks", loc="left")
    right.set_title("Steps to threshold, every run", loc="left")
    threshold_panel(right, tasks, looks, scores)
    legend(figure, grid, line_handles({"reference score": REFERENCE, "random score": RANDOM}))
    return figure


def threshold_panel(axes: Axes, tasks: list[str], looks: dict[str, theme.Look], scores: pd.DataFrame) -> None:
    """Draw the steps to the threshold of every run, in a row per task and algorithm.

    A run that did not reach the threshold is hollow and lies to the right of the end of the budget.
    """
    if not tasks:
        say(axes, "no task of this grid\nhas a threshold")
        return
    axes.axvspan(104, 124, color="#f3f3f3", linewidth=0)
    for row, task in enumerate(tasks):
        for place, (algorithm, look) in enumerate(looks.items()):
            runs = rows(scores, task=task, algorithm=algorithm).sort_values("seed")
            reached = runs[runs["reached"] == 1]
            censored = int((runs["reached"] == 0).sum())
            height = row + (place + 1) / (len(looks) + 1) - 0.5
            share = 100 * reached["steps_to_threshold"] / reached["steps"]
            dots(axes, share, [height] * len(reached), look)
            dots(axes, 114 + spread(censored, 8), [height] * censored, look, hollow=True)
        if row:
            axes.axhline(row - 0.5, color="#dcdcdc", linewidth=0.8)
    axes.set_yticks(range(len(tasks)), tasks)
    axes.set_ylim(len(tasks) - 0.5, -0.5)
    axes.set_xlim(0, 124)
    axes.set_xticks([0, 25, 50, 75, 100, 114], ["0", "25", "50", "75", "100", "not\nreached"])
    axes.set_xlabel("share of the step budget (%)")
    axes.grid(visible=False, axis="y")


def diagnostics(grid: Grid, diagnostics: pd.DataFrame) -> Figure:
    """A row per task, a column per diagnostic of training, against environment steps.

    Lines are medians over runs; bands reach from the lowest to the highest run. A diagnostic that only some algorithms
    record has a column, too, unless another section shows it.
    """
    tasks = list(grid.tasks)
    further = [name for name in diagnostics if name not in (*TABLES["diagnostics"], *OF_OTHER_FIGURES)]
    shown = DIAGNOSTIC_PANELS | {name: (name.replace("_", " "), "linear") for name in further}
    figure, panels = plt.subplots(
        len(tasks),
        len(shown),
        figsize=(theme.WIDTH, 0.9 + 1.55 * len(tasks)),
        layout="constrained",
        squeeze=False,
        sharex="row",
    )
    looks = theme.looks(list(grid.algorithms))
    for task, row in zip(tasks, panels, strict=True):
        for axes, (metric, (label, scale)) in zip(row, shown.items(), strict=True):
            for index, (algorithm, runs) in enumerate(by_algorithm(grid, diagnostics, task)):
                at_step = runs.dropna(subset=[metric]).groupby("step")[metric]
                middle, low, high = at_step.median(), at_step.min(), at_step.max()
                look = looks[algorithm]
                band(axes, middle.index / 1000, low, high, look)
                marked_line(axes, middle.index / 1000, middle, look, index, linewidth=1.2, markersize=3)
            if scale == "log":
                log_axis(axes, rows(diagnostics, task=task)[metric])
            if scale == "symlog":
                axes.set_yscale("symlog", linthresh=1e-3)
                axes.yaxis.set_major_formatter("{x:g}")
            if metric == "explained_variance":
                axes.set_ylim(-1.05, 1.05)
            axes.xaxis.set_major_locator(step_ticks(3))
            axes.tick_params(labelsize=8)
            axes.set_ylabel(label, fontsize=8, labelpad=2)
        row[0].set_title(task)
    figure.supxlabel(STEPS_LABEL, fontsize=9)
    legend(figure, grid)
    return figure
