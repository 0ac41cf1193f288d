"""results/<grid>/runs (and tuning, probes, speed) → results/<grid>/tables: tidy CSV files with their keys as columns.

Learning curve: 100 grid points per task, budget/100 to budget. A point is the mean return of the training
episodes that ended in the bin before it. An empty bin carries the last value forward. Before the first
episode has ended the curve is the task's random score: nothing is known of the run yet, and an average over
the budget needs every run to have every point. Episodes that ended after the budget are not counted.

Diverged run: from the step at which it diverged its curve is the random score, and so is its final score
(normalised: 0).
"""

import sys
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from analysis import statistics
from analysis.benchmark import benchmark_table
from analysis.claims import claim_tables
from analysis.laboratory import laboratory_tables
from analysis.published import published_table
from analysis.ranking import ranking_tables
from analysis.results import (
    DIAGNOSTICS,
    LOOP_PHASES,
    SECONDS,
    STATES,
    TABLES,
    Grid,
    read_benchmark,
    read_episodes,
    read_grid,
    read_jobs,
    read_updates,
    results_argument,
    run_command,
    state_of,
    write_table,
)
from analysis.status import last_line
from analysis.tuning import tuning_tables

CURVE_POINTS = 100

MAKERS = {"run": "runs", "study": "studies", "probe": "probes"}  # kind of job: its column in the table of provenance

Run = tuple[dict[str, Any], dict[str, Any]]  # a cell of the grid and its run.json
Job = tuple[str, str, str, dict[str, Any]]  # of a study or probe: kind, directory, state and record


def main() -> None:
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


def key(cell: dict[str, Any]) -> dict[str, Any]:
    return {name: cell[name] for name in ("task", "algorithm", "seed")}


def frame(rows: list[dict[str, Any]], table: str) -> pd.DataFrame:
    """Rows as a table that has its columns even when it has no rows."""
    return pd.DataFrame(rows, columns=list(TABLES[table]))


def stack(frames: list[pd.DataFrame], table: str) -> pd.DataFrame:
    return pd.concat(frames, ignore_index=True)[list(TABLES[table])] if frames else frame([], table)


# -------------------------------------------------------------------------------------- one row per cell


def ledger_table(grid: Grid, states: list[tuple[dict, str, dict | None]]) -> pd.DataFrame:
    """Every requested cell with its state; `seconds` is wall-clock time. A run of another grid counts, since settings,
    task, steps and seed are all that it depends on, and says so.
    """
    rows = []
    for cell, state, run in states:
        row = {**key(cell), "state": state, "steps": cell["steps"], "directory": cell["directory"]}
        if run is not None:
            row |= {name: run[name] for name in ("steps_taken", "updates", "episodes")}
            row["seconds"] = run["seconds"]["total"]
            if run["cell"].get("grid") != grid.name:
                row["note"] = f"made for the grid {run['cell'].get('grid')}"
        if state == "diverged":
            diverged = f"at step {run['diverged_at']:,.0f}: {run['diverged_because'] or 'no reason recorded'}"
            row["note"] = "; ".join(filter(None, [diverged, row.get("note")]))
        if state == "failed":
            row["note"] = f"failed or interrupted; {end_of_log(grid, cell['directory'])}"
        rows.append(row)
    return frame(rows, "ledger")


def ledger_jobs_table(grid: Grid, jobs: list[Job]) -> pd.DataFrame:
    """Every study and probe that was asked for with its state."""
    rows = [
        {"kind": kind, "directory": directory, "state": state}
        | ({"note": f"failed or interrupted; {end_of_log(grid, directory)}"} if state == "failed" else {})
        for kind, directory, state, _ in jobs
    ]
    return frame(rows, "ledger_jobs")


def end_of_log(grid: Grid, directory: str) -> str:
    """What the log of a job without a result says last: why it failed, or how far it was when it was killed."""
    log = f"logs/{directory}.log"
    text = (grid.folder / log).read_text(encoding="utf-8", errors="replace")
    end = last_line(text)
    return f"{log} ends: {end}" if end else f"{log} is empty"


def curve_table(grid: Grid, runs: list[Run]) -> pd.DataFrame:
    """Per run, training returns on the task's common grid of steps; the module's docstring has the rules."""
    curves = []
    for cell, run in runs:
        task = grid.tasks[cell["task"]]
        steps = statistics.step_grid(cell["steps"], CURVE_POINTS)
        episodes = read_episodes(grid.folder / cell["directory"], run)
        means, counts = statistics.bin_means(episodes["step"].to_numpy(), episodes["return"].to_numpy(), steps)
        curve = statistics.carry_forward(means, before=task["random_score"])
        if run["status"] == "diverged":
            curve = np.where(steps >= run["diverged_at"], task["random_score"], curve)
        columns = {
            "step": steps,
            "return": curve,
            "moving_average": statistics.moving_average(curve),
            "normalized": statistics.normalize(curve, task["random_score"], task["reference_score"]),
            "episodes": counts,
        }
        curves.append(pd.DataFrame({**key(cell), **columns}))
    return stack(curves, "curves")


def score_table(grid: Grid, runs: list[Run], curves: pd.DataFrame) -> pd.DataFrame:
    """One row per run. `reached` is 1, 0 (censored at the budget) or empty (the task has no threshold)."""
    curve_of = dict(list(curves.groupby(["task", "algorithm", "seed"])))
    rows = []
    for cell, run in runs:
        task = grid.tasks[cell["task"]]
        random, reference = task["random_score"], task["reference_score"]
        curve = curve_of[tuple(key(cell).values())]
        diverged = run["status"] == "diverged"
        score, mode_score = (
            random if diverged else np.mean(run["evaluation"][kind]["returns"]) for kind in ("sampled", "mode")
        )
        auc = curve["return"].mean()
        row = {
            **key(cell),
            "status": run["status"],
            "score": score,
            "mode_score": mode_score,
            "normalized": statistics.normalize(score, random, reference),
            "normalized_mode": statistics.normalize(mode_score, random, reference),
            "auc": auc,
            "normalized_auc": statistics.normalize(auc, random, reference),
            "steps": cell["steps"],
            "steps_taken": run["steps_taken"],
            "steps_per_second": run["steps_per_second"],
            **{f"seconds_{name}": run["seconds"][name] for name in SECONDS},
            "seconds_rest": run["seconds"]["training"] - sum(run["seconds"][phase] for phase in LOOP_PHASES),
            "peak_memory_mb": run["peak_memory_mb"],
        }
        if task["threshold"] is not None:
            steps, reached = statistics.steps_to_threshold(
                curve["moving_average"].to_numpy(), curve["step"].to_numpy(), task["threshold"]
            )
            row |= {"steps_to_threshold": steps, "reached": int(reached)}
        rows.append(row)
    return frame(rows, "scores").astype({"steps_to_threshold": float, "reached": float})


# --------------------------------------------------------------------------------- averages over runs


def summary_table(grid: Grid, scores: pd.DataFrame) -> pd.DataFrame:
    """Per task and algorithm: n runs of those requested, and their scores with 95 % intervals of the mean."""
    rows = []
    for task in grid.tasks:
        for algorithm in grid.algorithms:
            requested = len(grid.requested(task, algorithm))
            if requested:
                runs = scores[(scores["task"] == task) & (scores["algorithm"] == algorithm)]
                row = {"task": task, "algorithm": algorithm, "requested": requested, "n": len(runs)}
                rows.append(row | (summarize(runs) if len(runs) else {}))
    return frame(rows, "summary")


def summarize(runs: pd.DataFrame) -> dict[str, float]:
    """The summary of one task and algorithm; the standard deviation is that of a sample (n − 1)."""
    score, auc = runs["score"].to_numpy(), runs["auc"].to_numpy()
    low, high = statistics.mean_interval(score, statistics.new_rng())
    auc_low, auc_high = statistics.mean_interval(auc, statistics.new_rng())
    summary = {
        "diverged": (runs["status"] == "diverged").sum(),
        "mean": score.mean(),
        "low": low,
        "high": high,
        "iqm": statistics.iqm(score),
        "std": score.std(ddof=1) if len(score) > 1 else np.nan,
        "min": score.min(),
        "max": score.max(),
        "mode_mean": runs["mode_score"].mean(),
        "normalized_mean": runs["normalized"].mean(),
        "auc_mean": auc.mean(),
        "auc_low": auc_low,
        "auc_high": auc_high,
    }
    if runs["reached"].notna().all():
        summary["reached"] = runs["reached"].sum()
        summary["median_steps_to_threshold"] = statistics.median_of_censored(
            runs["steps_to_threshold"].to_numpy(), runs["reached"].to_numpy() == 1
        )
    return summary


def curve_interval_table(grid: Grid, curves: pd.DataFrame) -> pd.DataFrame:
    """Per task, algorithm and grid point, of the moving average: mean with interval and std over runs."""
    tables = []
    for task in grid.tasks:
        for algorithm in grid.algorithms:
            runs = curves[(curves["task"] == task) & (curves["algorithm"] == algorithm)]
            if len(runs):
                wide = runs.pivot(index="seed", columns="step", values="moving_average")
                values = wide.to_numpy()
                low, high = statistics.mean_interval(values, statistics.new_rng())
                columns = {
                    "step": wide.columns,
                    "n": len(values),
                    "mean": values.mean(axis=0),
                    "low": low,
                    "high": high,
                    "std": values.std(axis=0, ddof=1) if len(values) > 1 else np.nan,
                }
                tables.append(pd.DataFrame({"task": task, "algorithm": algorithm, **columns}))
    return stack(tables, "curve_intervals")


def efficiency_table(grid: Grid, curves: pd.DataFrame) -> pd.DataFrame:
    """Per algorithm and fraction of the budget, of the normalised moving average: IQM over all runs, interval."""
    fractions = np.arange(1, CURVE_POINTS + 1) / CURVE_POINTS
    efficiencies = []
    for algorithm in grid.algorithms:
        runs = curves[curves["algorithm"] == algorithm]
        strata = [
            # One row per run: the table holds each run's points together and in order.
            statistics.moving_average(group["normalized"].to_numpy().reshape(-1, CURVE_POINTS))
            for _, group in runs.groupby("task", sort=False)
        ]
        if strata:
            low, high = statistics.stratified_interval(strata, statistics.iqm_over_runs, statistics.new_rng())
            iqm = statistics.iqm_over_runs([values.T for values in strata])
            columns = {"fraction": fractions, "iqm": iqm, "low": low, "high": high}
            efficiencies.append(pd.DataFrame({"algorithm": algorithm, **columns}))
    return stack(efficiencies, "efficiency")


# ------------------------------------------------------------------------------------ what else was recorded


def diagnostics_table(grid: Grid, runs: list[Run]) -> pd.DataFrame:
    """Per run, updates.csv on the grid of the curves: means of each bin, the last value carried forward.

    Points before the first update, and from a divergence on, are absent.
    """
    tables = []
    for cell, run in runs:
        steps = statistics.step_grid(cell["steps"], CURVE_POINTS)
        updates = read_updates(grid.folder / cell["directory"], run).replace([np.inf, -np.inf], np.nan)
        columns = {
            name: statistics.carry_forward(
                statistics.bin_means(updates["step"].to_numpy(), updates[name].to_numpy(dtype=float), steps)[0]
            )
            for name in DIAGNOSTICS
        }
        table = pd.DataFrame({**key(cell), "step": steps, **columns}).dropna(subset=list(DIAGNOSTICS), how="all")
        if run["status"] == "diverged":
            table = table[table["step"] < run["diverged_at"]]
        tables.append(table)
    return stack(tables, "diagnostics")


def provenance_table(runs: list[Run], jobs: Iterable[Job] = ()) -> pd.DataFrame:
    """What made the results: each version, commit and machine, and how many runs, studies and probes it made."""
    records = [("run", run) for _, run in runs] + [(kind, record) for kind, _, _, record in jobs if record]
    rows = []
    for kind, record in records:
        machine = record.get("machine", {})
        processor = f"{machine.get('cpu', 'not recorded')}, {machine.get('cores', '?')} cores"
        made = [("version", name, version or "not recorded") for name, version in record.get("versions", {}).items()]
        made.append(("commit", "commit", record.get("commit") or "not recorded"))
        if record.get("uncommitted_changes"):
            made.append(("commit", "uncommitted changes", "yes"))
        made += [("machine", "processor", processor), ("machine", "system", machine.get("system", "not recorded"))]
        rows += [(*found, MAKERS[kind]) for found in made]
    keys = ["kind", "name", "value"]
    table = pd.DataFrame(rows, columns=[*keys, "maker"], dtype=str)
    counts = {
        maker: (table["maker"] == maker).groupby([table[key] for key in keys], sort=False).sum()
        for maker in MAKERS.values()
    }
    return pd.DataFrame(counts).astype(int).reset_index()[list(TABLES["provenance"])]


if __name__ == "__main__":
    run_command(main, "analysis.tables")
