"""results/<grid>/tables and figures → results/<grid>/report/index.html: one page that opens offline."""

import base64
import json
import re
import sys
from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from analysis import (
    claim_findings,
    laboratory_findings,
    published_findings,
    ranking_findings,
    statistics,
    theme,
    tuning_findings,
)
from analysis.benchmark import core_time, percent, sentences, verdicts
from analysis.figures import FIGURES
from analysis.findings import count, duration, findings, fixed, interval, leaders, number
from analysis.gradient_statistics import FEWEST_BATCHES
from analysis.laboratory import UNBIASED_WITHIN
from analysis.results import (
    FILES,
    STATES,
    TABLES,
    Grid,
    ResultsError,
    digest,
    read_benchmark,
    read_grid,
    read_table,
    results_argument,
    run_command,
    write_whole,
)
from analysis.tables import CURVE_POINTS

HERE = Path(__file__).parent
SPEED_FIGURES = ("speed", "benchmark")  # stand in a section of their own, and so do these
RANKING_FIGURES = {
    "aggregate_scores": "All tasks together",
    "performance_profiles": "Performance profiles",
    "probability_of_improvement": "Probability of improvement",
}
LABORATORY_FIGURES = {
    "gradient_variance": "Variance along training",
    "gradient_direction": "Direction against batch size",
    "gradient_bias_variance": "Bias against variance over λ",
    "critic_error": "What the critics know",
    "exact_problems": "Bias where the true gradient is known",
}


TUNING_FIGURES = {
    "shrinkage": "Did tuning help? Tuning seeds against fresh seeds",
    "tuning_history": "Every trial in order",
    "tuning_space": "Search space",
    "tuning_importance": "Which settings mattered",
}
PUBLISHED_FIGURE = "published_scores"
SVG_SIZE = re.compile(r'width="([\d.]+)pt" height="([\d.]+)pt"')
OWN_INTERVALS = (*SPEED_FIGURES, *LABORATORY_FIGURES, *TUNING_FIGURES)  # their captions say what theirs are
SECTIONS = (*OWN_INTERVALS, *RANKING_FIGURES, PUBLISHED_FIGURE)


def main() -> None:
    arguments = results_argument("analysis.report", "Make the report from tables and figures.").parse_args()
    path = write_report(read_grid(arguments.results))
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB.", file=sys.stderr)


def write_report(grid: Grid) -> Path:
    """The page, and beside it sizes and digests of it and of all that it was made of, for `analysis.verify`."""
    path = grid.folder / "report" / "index.html"
    write_whole(path, page_text(grid).encode())
    made = [grid.folder / "grid.json", path]
    made += [grid.folder / "tables" / f"{name}.csv" for name in TABLES]
    made += [grid.folder / "figures" / f"{name}.{kind}" for name in FIGURES for kind in ("svg", "png")]
    files = {file.relative_to(grid.folder).as_posix(): digest(file) for file in made}
    write_whole(path.with_name(FILES), (json.dumps({"files": files}, indent=1) + "\n").encode())
    return path


def page_text(grid: Grid) -> str:
    """The page, from the tables and figures that are there."""
    tables = {name: read_table(grid.folder, name) for name in TABLES if name not in ("curves", "diagnostics")}
    figures = {name: read_figure(grid.folder, name) for name in FIGURES}
    benchmark = read_benchmark(grid.folder)
    return render(grid, tables, figures, benchmark.about if benchmark else None)


def read_figure(results: Path, name: str) -> str:
    path = results / "figures" / f"{name}.svg"
    if not path.exists():
        raise ResultsError(f"{path}: no such figure; make it with: python -m analysis.figures --results {results}.")
    svg = path.read_text(encoding="utf-8", errors="replace")
    if SVG_SIZE.search(svg) is None:
        raise ResultsError(
            f"{path}: no SVG of a size in pt; make it with: python -m analysis.figures --results {results}."
        )
    return svg


def render(
    grid: Grid, tables: dict[str, pd.DataFrame], figures: dict[str, str], about: dict[str, Any] | None = None
) -> str:
    """The page, from tables, from each figure's SVG text and from the benchmark's own description, if it was run."""
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "count": count,
        "fixed": fixed,
        "duration": duration,
        "setting": setting_text,
        "equation": equation,
        "percent": percent,
        "score": tuning_findings.score,
        "p_value": ranking_findings.p_text,
    }
    environment.globals |= {"interval": interval, "fixed": fixed, "count": count, "number": number}
    environment.globals["score"] = tuning_findings.score
    summary = tables["summary"]
    drawn = {name: figure(name, svg, tables) for name, svg in figures.items()}
    found = findings(grid, tables, tuning_findings.headline(grid, tables["shrinkage"]))
    page = {
        "grid": grid,
        "claims": claim_findings.section(grid, tables["claims"], tables["claim_tasks"], figure_titles(drawn)),
        "findings": {kind: list(group) for kind, group in groupby(found, lambda finding: finding.kind)},
        "leaders": leaders(grid, summary),
        "ranking": ranking(grid, tables, drawn),
        "figures": [shown for name, shown in drawn.items() if name not in SECTIONS],
        "tuning": tuning(grid, tables, drawn),
        "laboratory": laboratory(grid, tables, drawn),
        "published": published_findings.section(grid, tables["published"], drawn[PUBLISHED_FIGURE]),
        "speed": {"figure": drawn["speed"], "sentences": core_time(tables["scores"])},
        "benchmark": about and benchmark(tables["benchmark"], about) | {"figure": drawn["benchmark"]},
        "scores": {task: score_rows(grid, task, summary, tables["scores"]) for task in grid.tasks},
        "settings": settings(grid),
        "ledger": ledger(grid, tables["ledger"]),
        "provenance": provenance(tables["provenance"]),
        "seconds": tables["scores"]["seconds_total"].sum(),
        "steps": tables["scores"]["steps_taken"].sum(),
        "looks": theme.looks(list(grid.algorithms)),
        "resamples": statistics.RESAMPLES,
        "window": statistics.MOVING_AVERAGE,
        "points": CURVE_POINTS,
    }
    return environment.get_template("report.html.j2").render(page)


# --------------------------------------------------------------------------------- what the page shows


def ranking(grid: Grid, tables: dict[str, pd.DataFrame], drawn: dict[str, Any]) -> dict[str, Any] | None:
    """How the algorithms rank over all tasks; None where no run has finished."""
    if tables["aggregate"].empty:
        return None
    return {
        "sentences": ranking_findings.sentences(grid, tables),
        "aggregate": aggregate_rows(grid, tables["aggregate"]),
        "metrics": ranking_findings.METRICS,
        "coverage": ranking_findings.coverage_text(tables["summary"]),
        "pairs": ranking_findings.pair_rows(grid, tables),
        "outcome": ranking_findings.outcome,
        "on_single_tasks": ranking_findings.on_single_tasks,
        "figures": {name: drawn[name] | {"title": title} for name, title in RANKING_FIGURES.items()},
    }


def aggregate_rows(grid: Grid, aggregate: pd.DataFrame) -> list[dict[str, Any]]:
    """Per algorithm with a run: its rows of the final score and of the AUC."""
    by_measure = {
        measure: {row.algorithm: row for row in rows.itertuples()} for measure, rows in aggregate.groupby("measure")
    }
    return [
        {"algorithm": algorithm, "score": by_measure["score"][algorithm], "auc": by_measure["auc"][algorithm]}
        for algorithm in grid.algorithms
        if algorithm in by_measure.get("score", {})
    ]


def score_rows(grid: Grid, task: str, summary: pd.DataFrame, scores: pd.DataFrame) -> list[dict[str, Any]]:
    """Per algorithm: its row of the summary, and of every requested seed the run or None."""
    runs = {(run.algorithm, run.seed): run for run in scores[scores["task"] == task].itertuples()}
    return [
        {
            "summary": row,
            "runs": [runs.get((row.algorithm, cell["seed"])) for cell in grid.requested(task, row.algorithm)],
        }
        for row in summary[summary["task"] == task].itertuples()
    ]


def figure(name: str, svg: str, tables: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """A figure as a data URI with its size in CSS pixels and its caption: what it shows, n, intervals."""
    points = SVG_SIZE.search(svg).groups()
    width, height = (float(size) * 4 / 3 for size in points)
    caption = (HERE / "captions" / f"{name}.rst").read_text(encoding="utf-8").strip()
    return {
        "name": name,
        "title": name.replace("_", " ").capitalize(),
        "source": "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode(),
        "width": round(width),
        "height": round(height),
        "caption": f"{caption} {sample_text(name, tables)}".strip(),
        "intervals": name not in OWN_INTERVALS and ("interval" in caption or "bootstrap" in caption),
    }


def figure_titles(drawn: dict[str, Any]) -> dict[str, str]:
    """The titles of figures that have a place on the page, by name."""
    return {name: LABORATORY_FIGURES.get(name, figure["title"]) for name, figure in drawn.items()}


def tuning(grid: Grid, tables: dict[str, pd.DataFrame], drawn: dict[str, Any]) -> dict[str, Any] | None:
    """What tuning shows; None where the grid tunes nothing."""
    if not grid.studies:
        return None
    shrinkage = tables["shrinkage"]
    return {
        "budgets": tuning_findings.budgets(grid),
        "equal": tuning_findings.equal_budgets(grid),
        "sentences": tuning_findings.sentences(grid, tables),
        "figures": {title: drawn[name] for name, title in TUNING_FIGURES.items()} if len(shrinkage) else {},
        "shrinkage": tuning_findings.shrinkage_rows(shrinkage),
        "settings": tuning_findings.setting_rows(tables["tuning_settings"]),
        "costs": tuning_findings.cost_rows(grid, shrinkage, tables["scores"]),
    }


def laboratory(grid: Grid, tables: dict[str, pd.DataFrame], drawn: dict[str, Any]) -> dict[str, Any] | None:
    """What the gradient laboratory shows; None where it has nothing."""
    gradients, critics = tables["gradients"], tables["critics"]
    if gradients.empty:
        return None
    return {
        "ledger": laboratory_findings.ledger_sentence(grid, gradients),
        "batches": laboratory_findings.batches_text(gradients),
        "said": [said for said in laboratory_findings.sentences(grid, gradients) if said.sentences],
        "figures": {title: drawn[name] for name, title in LABORATORY_FIGURES.items()},
        "tasks": laboratory_findings.compact_rows(grid, gradients),
        "exact": laboratory_findings.exact_rows(grid, gradients),
        "critics": laboratory_findings.critic_rows(grid, critics),
        "within": laboratory_findings.percents(UNBIASED_WITHIN),
        "fewest": FEWEST_BATCHES,
    }


def benchmark(table: pd.DataFrame, about: dict[str, Any]) -> dict[str, Any]:
    """The benchmark's tasks with their rows, what they say, the targets, and where it was measured."""
    machine = about["machine"]
    return {
        "tasks": {task: list(rows.itertuples()) for task, rows in table.groupby("task", sort=False)},
        "sentences": sentences(table),
        "targets": verdicts(table),
        "about": about,
        "machine": f"{machine.get('cpu', 'not recorded')}, {machine.get('system', 'not recorded')}",
        "versions": ", ".join(f"{name} {version}" for name, version in about["versions"].items() if version),
    }


def sample_text(name: str, tables: dict[str, pd.DataFrame]) -> str:
    """n, the number of runs per task and algorithm, of batches per probe, or of a study's trials and fresh seeds; the
    benchmark and the table of published scores say it themselves.
    """
    if name in ("benchmark", PUBLISHED_FIGURE):
        return ""
    if name in TUNING_FIGURES:
        return tuning_findings.sample_text(name, tables["shrinkage"])
    if name in LABORATORY_FIGURES:
        batches = laboratory_findings.batches_text(tables["gradients"])
        return f"n = {batches} per probe." if batches and name not in ("gradient_direction", "critic_error") else ""
    n = tables["summary"]["n"]
    runs = f"{n.min()}" if n.min() == n.max() else f"{n.min()} to {n.max()}"
    return f"n = {runs} run{'s' if runs != '1' else ''} per task and algorithm."


def settings(grid: Grid) -> dict[str, Any]:
    """What all cells share, and of every other setting, per algorithm that has it, its value on most tasks and the
    tasks where it differs.
    """
    everything = [cell["settings"] for cell in grid.cells]
    texts = {name: {setting_text(cell.get(name)) for cell in everything} for cell in everything for name in cell}
    in_all = [name for name in texts if all(name in cell for cell in everything)]
    shared = {name: everything[0][name] for name in in_all if len(texts[name]) == 1}
    if len(grid.algorithms) == 1:
        shared = {}
    own = {
        algorithm: own_settings([cell for cell in grid.cells if cell["algorithm"] == algorithm], set(shared))
        for algorithm in grid.algorithms
    }
    names = list(dict.fromkeys(name for values in own.values() for name in values))
    return {"shared": shared, "own": own, "names": names}


def own_settings(cells: list[dict[str, Any]], shared: set[str]) -> dict[str, tuple[Any, dict[str, Any]]]:
    """name → (value on most tasks, {task: value} of the others)."""
    by_task = {cell["task"]: cell["settings"] for cell in cells}
    names = dict.fromkeys(name for values in by_task.values() for name in values if name not in shared)
    own = {}
    for name in names:
        values = {task: values.get(name) for task, values in by_task.items()}
        usual = Counter(setting_text(value) for value in values.values()).most_common(1)[0][0]
        differing = {task: value for task, value in values.items() if setting_text(value) != usual}
        own[name] = (next(value for value in values.values() if setting_text(value) == usual), differing)
    return own


def ledger(grid: Grid, cells: pd.DataFrame) -> dict[str, Any]:
    """Counts of states: in all, and per task and algorithm; then every cell."""
    counts = {
        (task, algorithm): group["state"].value_counts().to_dict()
        for (task, algorithm), group in cells.groupby(["task", "algorithm"])
    }
    total = cells["state"].value_counts().to_dict()
    cells = cells.assign(note=cells["note"].fillna(""))
    return {
        "total": {state: total.get(state, 0) for state in STATES},
        "counts": counts,
        "cells": list(cells.itertuples()),
    }


def provenance(table: pd.DataFrame) -> dict[str, list[tuple[str, str, int]]]:
    """kind → its (name, value, runs)."""
    return {
        kind: list(rows[["name", "value", "runs"]].itertuples(index=False, name=None))
        for kind, rows in table.groupby("kind", sort=False)
    }


# ---------------------------------------------------------------------------------------------- text


def setting_text(value: Any) -> str:
    """A setting as a person would write it in the grid; a number that a study found, with five digits."""
    if isinstance(value, float):
        return f"{value:.5g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False).replace("null", "none")


def equation(text: str) -> Markup:
    """Subscripts and superscripts of `a_t`, `a_{t+1}`, `γ^l` as HTML."""
    tags = {"_": "sub", "^": "sup"}

    def script(match: re.Match) -> str:
        tag = tags[match[1]]
        return f"<{tag}>{match[2] or match[3]}</{tag}>"

    return Markup(re.sub(r"([_^])(?:\{([^}]*)\}|(\w))", script, str(escape(text))))


if __name__ == "__main__":
    run_command(main, "analysis.report")
