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

from analysis.command import results_argument, run_command
from analysis.drawing import theme
from analysis.figures import lacking, tables_behind
from analysis.lacking import mark
from analysis.page import markdown
from analysis.reading.benchmark import read_benchmark
from analysis.reading.checks import ResultsError, digest, write_whole
from analysis.reading.grid import Grid, read_grid
from analysis.reading.tables import read_table
from analysis.sections import AVERAGES, FIGURES, TABLES, TITLES, caption_file
from analysis.sections.cite.sentences import citation
from analysis.sections.claims import sentences as claim_findings
from analysis.sections.completeness.sentences import diverged, few_runs, incomplete, ledger
from analysis.sections.laboratory import sentences as laboratory_findings
from analysis.sections.laboratory.sentences import laboratory
from analysis.sections.learning.sentences import thresholds
from analysis.sections.learning.tables import CURVE_POINTS
from analysis.sections.provenance.sentences import provenance
from analysis.sections.published import sentences as published_findings
from analysis.sections.ranking.sentences import leaders, ranked, ranking
from analysis.sections.scores.sentences import below_random, mode_gap, score_rows
from analysis.sections.settings.sentences import settings
from analysis.sections.speed.sentences import benchmark, core_time, fastest, percent
from analysis.sections.tuning import sentences as tuning_findings
from analysis.sections.tuning.sentences import tuning
from analysis.statistics import scores as statistics
from analysis.statistics.gradients import BATCH_RESAMPLES
from analysis.summary import summary_json
from analysis.words import (
    count,
    duration,
    enumerate_text,
    equation,
    fixed,
    interval,
    number,
    p_text,
    plural,
    setting_text,
)
from experiments.schema import MADE_OF


def findings(grid: Grid, tables: dict[str, pd.DataFrame]) -> dict[str, list[str]]:
    """Sentences by where they stand: cautions, which a reader should know first, and those of two sections."""
    scores, summary = tables["scores"], tables["summary"]
    present = summary[summary["n"] > 0]
    return {
        "caution": [*incomplete(grid, tables), *diverged(grid, scores), *few_runs(present)],
        "learning": thresholds(grid, scores),
        "scores": [*below_random(grid, present), *mode_gap(grid, scores)],
    }


HERE = Path(__file__).parent
PAGE = HERE / "page"
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
    write_whole(folder / MADE_OF, (json.dumps({"files": files}, indent=1) + "\n").encode())
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
    """The SVG text of a figure. Raises ResultsError where it is missing or has no size."""
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
        loader=FileSystemLoader([PAGE, HERE / "sections"]),
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
        "p_value": p_text,
    }
    templates.globals |= {"interval": interval, "fixed": fixed, "count": count, "number": number}
    templates.globals |= {"mark": mark, "score": tuning_findings.score}
    return templates


def page_of(
    grid: Grid, tables: dict[str, pd.DataFrame], figures: dict[str, str], about: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Everything that the page says, by the names that its templates use."""
    summary = tables["summary"]
    drawn: dict[str, dict[str, Any]] = {section: {} for section in TITLES}
    for name, (section, _) in FIGURES.items():
        drawn[section][name] = figure(section, grid, name, figures[name], tables)
    titles = {name: title for name, (_, title) in FIGURES.items()}
    asked_for = {"claims": grid.claims, "tuning": grid.studies}
    page = {
        "grid": grid,
        "sections": {section: title for section, title in TITLES.items() if asked_for.get(section, True)},
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
        "run_resamples": statistics.RUN_RESAMPLES,
        "batch_resamples": BATCH_RESAMPLES,
        "window": statistics.MOVING_AVERAGE,
        "points": CURVE_POINTS,
    }
    return page | {"brief": brief(grid, tables, page), "cite": citation(grid, page)}


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


def figure(section: str, grid: Grid, name: str, svg: str, tables: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """A figure as a data URI with its size in CSS pixels, its tables and its caption: what it shows, n, what is
    missing.
    """
    points = SVG_SIZE.search(svg).groups()
    width, height = (float(size) * 4 / 3 for size in points)
    caption = caption_file(name).read_text(encoding="utf-8").strip()
    without = lacking(grid, name, tables.__getitem__)
    return {
        "name": name,
        "title": FIGURES[name][1],
        "tables": tables_behind(name),
        "source": "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode(),
        "width": round(width),
        "height": round(height),
        "caption": " ".join(
            filter(None, [caption, sample_text(section, name, tables), f"{without}." if without else ""])
        ),
        "intervals": AVERAGES.get(name) == "runs" and ("interval" in caption or "bootstrap" in caption),
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


if __name__ == "__main__":
    run_command(main, "analysis.report")
