"""results/<grid>/tables → results/<grid>/figures: one function per figure, DataFrames in, Figure out."""

import inspect
import sys
from collections.abc import Callable
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from analysis import theme
from analysis.benchmark import limit_of, titles
from analysis.drawing import (
    RANDOM,
    REFERENCE,
    algorithm_axis,
    band,
    by_algorithm,
    dots,
    headnote,
    legend,
    line_handles,
    log_axis,
    mark_scores,
    marked_line,
    named_rows,
    phase_handles,
    rows,
    say,
    score_handles,
    spread,
    stacked_bars,
    step_ticks,
    task_panels,
)
from analysis.findings import MARK, shortfall_text, shortfalls, without_jobs
from analysis.gradient_figures import (
    critic_error,
    exact_problems,
    gradient_bias_variance,
    gradient_direction,
    gradient_variance,
)
from analysis.published_figures import published_scores
from analysis.ranking_figures import aggregate_scores, performance_profiles, probability_of_improvement
from analysis.results import (
    PHASES,
    Grid,
    ResultsError,
    read_grid,
    read_table,
    results_argument,
    run_command,
    valid_choices,
    write_whole,
)
from analysis.tuning_figures import shrinkage, tuning_history, tuning_importance, tuning_space

STEPS_LABEL = "environment steps (thousands)"
DIAGNOSTIC_PANELS = {  # metric: label, scale of its axis
    "advantage_std": ("advantages (std)", "log"),
    "policy_gradient_norm": ("gradient norm", "log"),
    "entropy": ("entropy (nats)", "linear"),
    "approx_kl": ("KL of update (nats)", "symlog"),
    "explained_variance": ("explained variance", "linear"),
}


LIMIT = {"linestyle": "--", "linewidth": 1}
GYMNASIUM = {"linestyle": ":", "linewidth": 1}
BENCHMARK_PHASES = ("stepping", "acting", "learning", "rest")


def learning_curves(grid: Grid, curves: pd.DataFrame, curve_intervals: pd.DataFrame) -> Figure:
    """Moving average of the training return: mean over runs with 95 % interval, every run faint behind."""
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


def final_scores(grid: Grid, scores: pd.DataFrame, summary: pd.DataFrame) -> Figure:
    """Final score of every run as a point, beside it the mean over runs with its 95 % interval."""
    height = 0.65 + 0.42 * len(grid.algorithms)
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
    figure.legend(
        handles=[
            Line2D([], [], color=theme.QUIET, marker="o", linestyle="", markersize=4.5, label="one run"),
            Line2D([], [], color=theme.INK, marker="|", linestyle="", markersize=9, label="mean over runs"),
            Line2D([], [], color=theme.QUIET, linewidth=2.4, label="95 % interval of the mean"),
            *score_handles(grid),
        ],
        loc="outside upper center",
        ncols=6,
    )
    return figure


def seed_spread(grid: Grid, curve_intervals: pd.DataFrame) -> Figure:
    """Standard deviation over runs of the training return's moving average: how much a seed decides."""
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
    """Left: IQM of the normalised return against the share of the budget. Right: when each run got to its
    task's threshold; hollow where it did not.
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
    legend(figure, grid, line_handles({"reference score": REFERENCE, "random policy": RANDOM}))
    return figure


def threshold_panel(axes: Axes, tasks: list[str], looks: dict[str, theme.Look], scores: pd.DataFrame) -> None:
    """A row per task and algorithm; a run that never got there is hollow, beyond the end of the budget."""
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
    """Inside training, a row per task: median over runs, band from the lowest to the highest run."""
    tasks = list(grid.tasks)
    figure, panels = plt.subplots(
        len(tasks),
        len(DIAGNOSTIC_PANELS),
        figsize=(theme.WIDTH, 0.9 + 1.55 * len(tasks)),
        layout="constrained",
        squeeze=False,
        sharex="row",
    )
    looks = theme.looks(list(grid.algorithms))
    for task, row in zip(tasks, panels, strict=True):
        for axes, (metric, (label, scale)) in zip(row, DIAGNOSTIC_PANELS.items(), strict=True):
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
            if metric == "explained_variance":
                axes.set_ylim(-1.05, 1.05)
            axes.xaxis.set_major_locator(step_ticks(3))
            axes.tick_params(labelsize=8)
            axes.set_ylabel(label, fontsize=8, labelpad=2)
        row[0].set_title(task)
    figure.supxlabel(STEPS_LABEL, fontsize=9)
    legend(figure, grid)
    return figure


def speed(grid: Grid, scores: pd.DataFrame) -> Figure:
    """Left: where a run's wall-clock time goes, mean over runs. Right: steps per second of every run."""
    height = 1.5 + 0.42 * len(grid.algorithms)
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
    figure.legend(handles=phase_handles(PHASES), loc="outside upper center", ncols=len(PHASES))
    return figure


def benchmark(grid: Grid, benchmark: pd.DataFrame) -> Figure:
    """A column per task. Above: steps per second of every contestant, median and range over repetitions, with the
    limits as lines. Below: what the training loop's time went into.
    """
    if benchmark.empty:
        figure, axes = plt.subplots(figsize=(theme.WIDTH, 1.5), layout="constrained")
        say(axes, f"no benchmark was run; it is made with: snakemake --cores 1 speed --config grid={grid.grid_file}")
        return figure
    tasks = list(dict.fromkeys(benchmark["task"]))
    all_of_them = titles(benchmark)
    learners = titles(benchmark[benchmark["side"] != "bare"])
    heights = [len(all_of_them), len(learners)]
    figure, panels = plt.subplots(
        2,
        len(tasks),
        figsize=(theme.WIDTH, 1.6 + 0.27 * sum(heights)),
        layout="constrained",
        squeeze=False,
        sharey="row",
        height_ratios=heights,
    )
    for task, (upper, lower) in zip(tasks, panels.T, strict=True):
        measured = rows(benchmark, task=task).set_index("contestant")
        rate_panel(upper, measured.reindex(list(all_of_them)))
        split_panel(lower, measured.reindex(list(learners)))
        upper.set_title(task)
    named_rows(panels[0, 0], list(all_of_them.values()))
    named_rows(panels[1, 0], list(learners.values()))
    sides = {"bare": "stepping without learning", "ours": "this project", "peer": "Stable-Baselines3 (SB3)"}
    handles = [
        Line2D([], [], color=theme.SIDE_COLOURS[side], marker="o", linestyle="", markersize=5.5, label=label)
        for side, label in sides.items()
    ]
    handles += [*line_handles({"limit": LIMIT, "Gymnasium": GYMNASIUM}), *phase_handles(BENCHMARK_PHASES)]
    figure.legend(handles=handles, loc="outside upper center", ncols=5)
    return figure


def rate_panel(axes: Axes, table: pd.DataFrame) -> None:
    """Rates on a logarithmic axis, where equal ratios are equal distances; `table` is one task's, by contestant."""
    rates = table["steps_per_second"].dropna()
    for name, line in ((limit_of(rates), LIMIT), ("gymnasium", GYMNASIUM)):
        if name in rates:
            axes.axvline(rates[name], color=theme.QUIET, zorder=0.9, **line)
    axes.set_xscale("log")
    if len(rates):
        axes.set_xlim(rates.min() / 1.4, rates.max() * 3.2)  # room for the last number
    for place, (_, row) in enumerate(table.iterrows()):
        if pd.isna(row["steps_per_second"]):
            where = {"transform": axes.get_yaxis_transform(), "va": "center", "color": theme.QUIET, "fontsize": 7.5}
            axes.text(0.05, place, "–" if pd.isna(row["status"]) else f"– ({row['status']})", **where)
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
    axes.set_xlabel("steps per second (thousands)")


def split_panel(axes: Axes, table: pd.DataFrame) -> None:
    """Shares of the training loop's time; `table` is one task's, by contestant."""
    start = np.zeros(len(table))
    for phase in BENCHMARK_PHASES:
        share = 100 * table[phase].fillna(0).to_numpy()
        stacked_bars(axes, range(len(table)), share, start, phase)
        start = start + share
    axes.set_xlim(0, 100)
    axes.set_xlabel("share of the training loop’s time (%)")


FIGURES: dict[str, Callable[..., Figure]] = {
    "aggregate_scores": aggregate_scores,
    "performance_profiles": performance_profiles,
    "probability_of_improvement": probability_of_improvement,
    "learning_curves": learning_curves,
    "final_scores": final_scores,
    "seed_spread": seed_spread,
    "sample_efficiency": sample_efficiency,
    "diagnostics": diagnostics,
    "shrinkage": shrinkage,
    "tuning_history": tuning_history,
    "tuning_space": tuning_space,
    "tuning_importance": tuning_importance,
    "gradient_variance": gradient_variance,
    "gradient_direction": gradient_direction,
    "gradient_bias_variance": gradient_bias_variance,
    "critic_error": critic_error,
    "exact_problems": exact_problems,
    "published_scores": published_scores,
    "speed": speed,
    "benchmark": benchmark,
}


OF_RUNS = (  # figures of averages over the grid's runs
    *("aggregate_scores", "performance_profiles", "probability_of_improvement", "learning_curves", "final_scores"),
    *("seed_spread", "sample_efficiency", "diagnostics", "speed"),
)
OF_STUDIES = ("shrinkage", "tuning_history", "tuning_space", "tuning_importance")
OF_PROBES = ("gradient_variance", "gradient_direction", "gradient_bias_variance", "critic_error", "exact_problems")


# ----------------------------------------------------------------------------------------- command line


def main() -> None:
    parser = results_argument("analysis.figures", "Draw figures from tables.")
    parser.add_argument("--figure", help=f"only this one of {', '.join(FIGURES)}")
    arguments = parser.parse_args()
    if arguments.figure and arguments.figure not in FIGURES:
        raise ResultsError(
            f"--figure {arguments.figure}: no such figure; valid are {valid_choices(arguments.figure, FIGURES)}."
        )
    grid = read_grid(arguments.results)
    theme.apply()
    names = [arguments.figure] if arguments.figure else list(FIGURES)
    for name in names:
        write_figure(grid, name)
    print(f"{grid.folder / 'figures'}: {', '.join(names)} (svg, png).", file=sys.stderr)


def write_figure(grid: Grid, name: str) -> None:
    figure = draw(grid, name)
    for kind in ("svg", "png"):
        write_whole(grid.folder / "figures" / f"{name}.{kind}", theme.image_bytes(figure, kind))
    plt.close(figure)


def draw(grid: Grid, name: str) -> Figure:
    """The named figure. In one that shows averages over runs, algorithms that lack some are marked; what is lacking is
    said above it.
    """
    tables = {table: read_table(grid.folder, table) for table in tables_behind(name)}
    if name in OF_RUNS:
        partial = set(shortfalls(read_table(grid.folder, "summary"))["algorithm"])
        figure = FIGURES[name](marked(grid, partial), **tables)
    else:
        figure = FIGURES[name](grid, **tables)
    if text := lacking(grid, name, lambda table: read_table(grid.folder, table)):
        headnote(figure, text)
    return figure


def tables_behind(name: str) -> list[str]:
    """The tables that a figure is made from: the parameters of its function name them."""
    return [parameter for parameter in inspect.signature(FIGURES[name]).parameters if parameter != "grid"]


def lacking(grid: Grid, name: str, table: Callable[[str], pd.DataFrame]) -> str:
    """Which runs, studies or probes the named figure is made without, by the tables of these names; empty where there
    are all.
    """
    if name in OF_RUNS:
        return shortfall_text(grid, table("summary"))
    if name in OF_STUDIES:
        return without_jobs(grid, table("ledger_jobs"), "study")
    if name in OF_PROBES:
        return without_jobs(grid, table("ledger_jobs"), "probe", exact=name == "exact_problems")
    return ""


def marked(grid: Grid, algorithms: set[str]) -> Grid:
    """The grid with a mark behind the titles of these algorithms."""
    about = {
        name: {**values, "title": f"{values['title']} {MARK}"} if name in algorithms else values
        for name, values in grid.algorithms.items()
    }
    return replace(grid, algorithms=about)


if __name__ == "__main__":
    run_command(main, "analysis.figures")
