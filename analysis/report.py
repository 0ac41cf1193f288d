"""results/<grid>/tables and figures → results/<grid>/report: index.html, one page that opens offline; report.md, the
same in short for reading on a code host; summary.json for machines.
"""

import base64
import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from analysis import (
    claim_findings,
    laboratory_findings,
    markdown,
    published_findings,
    ranking_findings,
    statistics,
    theme,
    tuning_findings,
)
from analysis.benchmark import core_time, percent, sentences, verdicts
from analysis.figures import FIGURES, lacking, tables_behind
from analysis.findings import (
    JOBS,
    count,
    duration,
    enumerate_text,
    fastest,
    findings,
    fixed,
    interval,
    job_title,
    leaders,
    mark,
    number,
    plural,
    ranked,
)
from analysis.gradient_statistics import FEWEST_BATCHES
from analysis.gradient_statistics import RESAMPLES as GRADIENT_RESAMPLES
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
from analysis.summary import summary_json
from analysis.tables import CURVE_POINTS, MAKERS

HERE = Path(__file__).parent
PAGE = HERE / "page"
SECTIONS = {  # in the order in which a reader wants to know
    "claims": "Claims",
    "ranking": "Ranking",
    "learning": "Learning curves",
    "laboratory": "Gradient laboratory",
    "tuning": "Tuning",
    "published": "Against published scores",
    "scores": "Every run",
    "speed": "Speed",
    "settings": "Algorithms and settings",
    "definitions": "How scores are defined",
    "completeness": "Completeness",
    "provenance": "Provenance",
    "cite": "How to cite",
}
FIGURE_TITLES = {
    "ranking": {
        "aggregate_scores": "All tasks together",
        "performance_profiles": "Performance profiles",
        "probability_of_improvement": "Probability of improvement",
    },
    "learning": {
        "learning_curves": "Return against steps",
        "sample_efficiency": "Sample efficiency",
        "seed_spread": "What the seed decides",
        "diagnostics": "Inside training",
    },
    "laboratory": {
        "gradient_variance": "Variance along training",
        "gradient_direction": "Direction against batch size",
        "gradient_bias_variance": "Bias against variance over λ",
        "critic_error": "What the critics know",
        "exact_problems": "Bias where the true gradient is known",
    },
    "tuning": {
        "shrinkage": "Did tuning help? Tuning seeds against fresh seeds",
        "tuning_history": "Every trial in order",
        "tuning_space": "Search space",
        "tuning_importance": "Which settings mattered",
    },
    "published": {"published_scores": "Ours and theirs, side by side"},
    "scores": {"final_scores": "Final scores"},
    "speed": {"speed": "Where a run’s time went", "benchmark": "All of the benchmark"},
}
OVER_RUNS = ("ranking", "learning", "scores")  # sections whose figures have bootstrap intervals over runs
SVG_SIZE = re.compile(r'width="([\d.]+)pt" height="([\d.]+)pt"')


def main() -> None:
    arguments = results_argument("analysis.report", "Make the report from tables and figures.").parse_args()
    path = write_report(read_grid(arguments.results))
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB.", file=sys.stderr)


def write_report(grid: Grid) -> Path:
    """The report's files; beside them sizes and digests of these and of all that they were made of, for
    `analysis.verify`. Returns the page.
    """
    folder = grid.folder / "report"
    texts = report_texts(grid)
    for name, text in texts.items():
        write_whole(folder / name, text.encode())
    made = [grid.folder / "grid.json", *(folder / name for name in texts)]
    made += [grid.folder / "tables" / f"{name}.csv" for name in TABLES]
    made += [grid.folder / "figures" / f"{name}.{kind}" for name in FIGURES for kind in ("svg", "png")]
    files = {file.relative_to(grid.folder).as_posix(): digest(file) for file in made}
    write_whole(folder / FILES, (json.dumps({"files": files}, indent=1) + "\n").encode())
    return folder / "index.html"


def report_texts(grid: Grid) -> dict[str, str]:
    """The report's files by name, from the tables and figures that are there."""
    tables = {name: read_table(grid.folder, name) for name in TABLES if name not in ("curves", "diagnostics")}
    figures = {name: read_figure(grid.folder, name) for name in FIGURES}
    benchmark = read_benchmark(grid.folder)
    page = page_of(grid, tables, figures, benchmark.about if benchmark else None)
    return {
        "index.html": html(page),
        "report.md": markdown.render(environment(), page),
        "summary.json": summary_json(grid, tables),
    }


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
    return html(page_of(grid, tables, figures, about))


def html(page: dict[str, Any]) -> str:
    return environment().get_template("page.html.j2").render(page)


def environment() -> Environment:
    """The templates, with what they write numbers and texts by."""
    templates = Environment(
        loader=FileSystemLoader(PAGE),
        autoescape=lambda name: name.endswith(".j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {
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
    templates.globals |= {"interval": interval, "fixed": fixed, "count": count, "number": number}
    templates.globals |= {"mark": mark, "score": tuning_findings.score}
    return templates


def page_of(
    grid: Grid, tables: dict[str, pd.DataFrame], figures: dict[str, str], about: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Everything that the page says, by the names that its templates use."""
    summary = tables["summary"]
    drawn = {
        section: {name: figure(section, grid, name, figures[name], tables) for name in titles}
        for section, titles in FIGURE_TITLES.items()
    }
    titles = {name: title for titles in FIGURE_TITLES.values() for name, title in titles.items()}
    asked_for = {"claims": grid.claims, "tuning": grid.studies}
    page = {
        "grid": grid,
        "sections": {section: title for section, title in SECTIONS.items() if asked_for.get(section, True)},
        "figures": drawn,
        "findings": findings(grid, tables),
        "claims": claim_findings.section(grid, tables["claims"], tables["claim_tasks"], titles),
        "leaders": leaders(grid, tables),
        "ranking": ranking(grid, tables),
        "tuning": tuning(grid, tables),
        "laboratory": laboratory(grid, tables),
        "published": published_findings.section(grid, tables["published"], drawn["published"]["published_scores"]),
        "speed": [*core_time(tables["scores"]), *fastest(grid, tables["scores"])],
        "benchmark": about and benchmark(tables["benchmark"], about),
        "scores": {task: score_rows(grid, task, summary, tables["scores"]) for task in grid.tasks},
        "settings": settings(grid),
        "ledger": ledger(grid, tables["ledger"], tables["ledger_jobs"]),
        "provenance": provenance(tables["provenance"]),
        "seconds": tables["scores"]["seconds_total"].sum(),
        "steps": tables["scores"]["steps_taken"].sum(),
        "looks": theme.looks(list(grid.algorithms)),
        "compared": compared(grid),
        "run_resamples": statistics.RESAMPLES,
        "resamples": GRADIENT_RESAMPLES,
        "window": statistics.MOVING_AVERAGE,
        "points": CURVE_POINTS,
    }
    return page | {"brief": brief(grid, tables, page), "cite": citation(grid, page)}


# --------------------------------------------------------------------------------- what the page shows


def brief(grid: Grid, tables: dict[str, pd.DataFrame], page: dict[str, Any]) -> list[tuple[str, str]]:
    """What came out, a sentence per section that has one."""
    total = page["ledger"]["total"]
    said = {
        "claims": [page["claims"]["sentence"]] if page["claims"] else [],
        "ranking": ranked(grid, tables),
        "tuning": tuning_findings.headline(grid, tables["shrinkage"]),
        "published": published_findings.headline(tables["published"]),
        "completeness": [
            f"{count(total['done'] + total['diverged'])} of {plural(len(grid.cells), 'run')} finished, "
            f"{count(page['steps'])} environment steps in all."
        ],
    }
    return [(section, sentence) for section, sentences in said.items() for sentence in sentences]


def compared(grid: Grid) -> str:
    """5 policy-gradient algorithms (PPO also with other settings) on 7 tasks; one that is there twice counts once."""
    modules = Counter(about["module"] for about in grid.algorithms.values())
    first = {about["module"]: about["title"] for about in reversed(grid.algorithms.values())}
    variants = [first[module] for module, times in modules.items() if times > 1]
    also = f" ({enumerate_text(variants)} also with other settings)" if variants else ""
    return f"{plural(len(modules), 'policy-gradient algorithm')}{also} on {plural(len(grid.tasks), 'task')}"


def citation(grid: Grid, page: dict[str, Any]) -> str:
    """The BibTeX entry of this grid's results."""
    recorded = page["provenance"]
    versions = [value for name, value, _ in recorded.get("version", []) if name == "policy-gradient-ladder"]
    commits = [value for name, value, _ in recorded.get("commit", []) if name == "commit"]
    said = [
        *(f"version {value}" for value in versions),
        *(f"commit {value}" for value in commits),
        plural(page["ledger"]["total"]["done"] + page["ledger"]["total"]["diverged"], "run"),
    ]
    return (
        f"@misc{{policy_gradient_ladder_{re.sub(r'[^A-Za-z0-9]+', '_', grid.name)},\n"
        f"  title = {{Policy Gradient Ladder, grid {grid.name}}},\n"
        "  author = {{The developers of the Policy Gradient Ladder}},\n"
        f"  note = {{{', '.join(said)}}}\n"
        "}"
    )


def ranking(grid: Grid, tables: dict[str, pd.DataFrame]) -> dict[str, Any] | None:
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
        "mark_of": lambda pair: ranking_findings.mark_of(grid, pair),
        "on_single_tasks": ranking_findings.on_single_tasks,
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


def figure(section: str, grid: Grid, name: str, svg: str, tables: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """A figure as a data URI with its size in CSS pixels, its tables and its caption: what it shows, n, what is
    missing.
    """
    points = SVG_SIZE.search(svg).groups()
    width, height = (float(size) * 4 / 3 for size in points)
    caption = (HERE / "captions" / f"{name}.rst").read_text(encoding="utf-8").strip()
    without = lacking(grid, name, tables.__getitem__)
    return {
        "name": name,
        "title": FIGURE_TITLES[section][name],
        "tables": tables_behind(name),
        "source": "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode(),
        "width": round(width),
        "height": round(height),
        "caption": " ".join(
            filter(None, [caption, sample_text(section, name, tables), f"{without}." if without else ""])
        ),
        "intervals": section in OVER_RUNS and ("interval" in caption or "bootstrap" in caption),
    }


def tuning(grid: Grid, tables: dict[str, pd.DataFrame]) -> dict[str, Any] | None:
    """What tuning shows; None where the grid tunes nothing."""
    if not grid.studies:
        return None
    shrinkage = tables["shrinkage"]
    return {
        "budgets": tuning_findings.budgets(grid),
        "equal": tuning_findings.equal_budgets(grid),
        "sentences": tuning_findings.sentences(grid, tables),
        "shrinkage": tuning_findings.shrinkage_rows(shrinkage),
        "settings": tuning_findings.setting_rows(tables["tuning_settings"]),
        "costs": tuning_findings.cost_rows(grid, shrinkage, tables["scores"]),
    }


def laboratory(grid: Grid, tables: dict[str, pd.DataFrame]) -> dict[str, Any] | None:
    """What the gradient laboratory shows; None where it has nothing."""
    gradients, critics = tables["gradients"], tables["critics"]
    if gradients.empty:
        return None
    return {
        "ledger": laboratory_findings.ledger_sentence(grid, gradients),
        "batches": laboratory_findings.batches_text(gradients),
        "policies": laboratory_findings.policies_text(grid),
        "said": [said for said in laboratory_findings.sentences(grid, gradients) if said.sentences],
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


def sample_text(section: str, name: str, tables: dict[str, pd.DataFrame]) -> str:
    """n, the number of runs per task and algorithm, of batches per probe, or of a study's trials and fresh seeds; the
    benchmark and the table of published scores say it themselves.
    """
    if section == "published" or name == "benchmark":
        return ""
    if section == "tuning":
        return tuning_findings.sample_text(name, tables["shrinkage"])
    if section == "laboratory":
        return laboratory_findings.sample_text(name, tables["gradients"])
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


def ledger(grid: Grid, cells: pd.DataFrame, jobs: pd.DataFrame) -> dict[str, Any]:
    """Counts of states: in all, and per task and algorithm; then every cell. Likewise of studies and probes."""
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
        "jobs": {
            plural_of_kind: {
                "counts": rows["state"].value_counts().to_dict(),
                "rows": [
                    {"title": job_title(grid, row.directory), "state": row.state, "note": row.note}
                    for row in rows.assign(note=rows["note"].fillna("")).itertuples()
                ],
            }
            for kind, (plural_of_kind, _) in JOBS.items()
            if len(rows := jobs[jobs["kind"] == kind])
        },
    }


def provenance(table: pd.DataFrame) -> dict[str, list[tuple[str, str, str]]]:
    """kind → its (name, value, and what it made: 210 runs, 10 studies and 1 probe)."""
    return {
        kind: [(row["name"], row["value"], made_text(row)) for row in rows.to_dict("records")]
        for kind, rows in table.groupby("kind", sort=False)
    }


def made_text(row: dict[str, Any]) -> str:
    return enumerate_text(
        f"{count(row[plural])} {kind if row[plural] == 1 else plural}" for kind, plural in MAKERS.items() if row[plural]
    )


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
