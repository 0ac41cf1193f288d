"""results/<grid>/tables → results/<grid>/figures: one function per figure, DataFrames in, Figure out."""

import inspect
import sys
from collections.abc import Callable
from dataclasses import replace

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from analysis.command import results_argument, run_command
from analysis.drawing import theme
from analysis.drawing.panels import headnote
from analysis.lacking import MARK, shortfall_text, shortfalls, without_jobs
from analysis.reading.checks import ResultsError, valid_choices, write_whole
from analysis.reading.grid import Grid, read_grid
from analysis.reading.tables import read_table
from analysis.sections.laboratory.figures import (
    critic_error,
    exact_problems,
    gradient_bias_variance,
    gradient_direction,
    gradient_variance,
)
from analysis.sections.learning.figures import diagnostics, learning_curves, sample_efficiency, seed_spread
from analysis.sections.published.figures import published_scores
from analysis.sections.ranking.figures import aggregate_scores, performance_profiles, probability_of_improvement
from analysis.sections.scores.figures import final_scores
from analysis.sections.speed.figures import benchmark, speed
from analysis.sections.tuning.figures import shrinkage, tuning_history, tuning_importance, tuning_space

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


def main() -> None:
    """The command line."""
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
