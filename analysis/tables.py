"""results/<grid>/runs (and tuning, probes, speed) → results/<grid>/tables: tidy CSV files with their keys as columns.

Learning curve: 100 grid points per task, budget/100 to budget. A point is the mean return of the training
episodes that ended in the bin before it. An empty bin carries the last value forward. Before the first
episode has ended the curve is the task's random score: nothing is known of the run yet, and an average over
the budget needs every run to have every point. Episodes that ended after the budget are not counted.

Diverged run: from the step at which it diverged its curve is the random score, and so is its final score
(normalised: 0).
"""

import sys

import pandas as pd

from analysis.command import results_argument, run_command
from analysis.reading.benchmark import read_benchmark
from analysis.reading.grid import Grid, read_grid
from analysis.reading.jobs import STATES, read_jobs, state_of
from analysis.reading.tables import write_table
from analysis.sections.claims.tables import claim_tables
from analysis.sections.completeness.tables import ledger_jobs_table, ledger_table
from analysis.sections.laboratory.tables import laboratory_tables
from analysis.sections.learning.tables import curve_interval_table, curve_table, diagnostics_table, efficiency_table
from analysis.sections.provenance.tables import provenance_table
from analysis.sections.published.tables import published_table
from analysis.sections.ranking.tables import ranking_tables
from analysis.sections.scores.tables import score_table, summary_table
from analysis.sections.speed.tables import benchmark_table
from analysis.sections.tuning.tables import tuning_tables


def main() -> None:
    """The command line."""
    arguments = results_argument("analysis.tables", "Make tables from runs.").parse_args()
    grid = read_grid(arguments.results)
    tables = make_tables(grid)
    for name, table in tables.items():
        write_table(grid.folder, name, table)
    counts = tables["ledger"]["state"].value_counts()
    states = ", ".join(f"{counts[state]} {state}" for state in STATES if state in counts)
    print(
        f"{grid.folder / 'tables'}: {len(tables)} tables of {len(grid.cells)} cells ({states}).",
        file=sys.stderr,
    )


def make_tables(grid: Grid) -> dict[str, pd.DataFrame]:
    """Every table of TABLES."""
    states = [(cell, *state_of(grid, cell)) for cell in grid.cells]
    runs = [(cell, run) for cell, _, run in states if run is not None]
    curves = curve_table(grid, runs)
    scores = score_table(grid, runs, curves)
    laboratory = laboratory_tables(grid)
    jobs = read_jobs(grid)
    return {
        "ledger": ledger_table(grid, states),
        "ledger_jobs": ledger_jobs_table(grid, jobs),
        "curves": curves,
        "curve_intervals": curve_interval_table(grid, curves),
        "scores": scores,
        "summary": summary_table(grid, scores),
        "efficiency": efficiency_table(grid, curves),
        "diagnostics": diagnostics_table(grid, runs),
        "provenance": provenance_table(runs, jobs),
        **ranking_tables(grid, scores),
        "benchmark": benchmark_table(read_benchmark(grid.folder)),
        **laboratory,
        **tuning_tables(grid),
        "published": published_table(grid, runs),
        **claim_tables(grid, scores, curves, laboratory["gradients"]),
    }


if __name__ == "__main__":
    run_command(main, "analysis.tables")
