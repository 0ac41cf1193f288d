"""summary.json has the tables' numbers and is JSON; report.md is Markdown in which text stays text."""

import json
import re
import shutil
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt

from analysis import report
from analysis.making import Maker
from analysis.page import markdown, templates
from analysis.reading import checks as results
from analysis.reading.grid import read_grid
from analysis.reading.tables import read_table, write_table
from analysis.sections import FIGURES, TABLES
from analysis.statistics.comparison import MOST_SEEDS
from analysis.summary import summary
from analysis.tables import make_tables
from tests.analysis_fixtures import (
    CARTPOLE,
    EXACT,
    Trial,
    claim,
    comparison,
    edit_json,
    probe,
    study,
    write_grid,
    write_probe,
    write_runs,
    write_study,
)

HOSTILE = "A | B <b>*bold*</b>\n\n| `x` [a](b) &amp; __c__ ~~d~~"
PLAIN = HOSTILE.replace("\n\n", " ")
GITHUB = MarkdownIt("commonmark").enable(["table", "strikethrough"])
READ = [name for name in TABLES if name not in ("curves", "diagnostics")]


def make(folder: Path) -> tuple[dict, str]:
    """Tables and report, with nothing in the figures' files; returns the summary and the Markdown."""
    grid = read_grid(folder)
    for name, table in make_tables(grid).items():
        write_table(folder, name, table)
    for name in FIGURES:
        for kind in ("svg", "png"):
            results.write_whole(folder / f"figures/{name}.{kind}", b'<svg width="1pt" height="1pt"/>')
    report.write_report(grid)
    return written(folder)


def written(folder: Path) -> tuple[dict, str]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    content = json.loads((folder / "report/summary.json").read_text(encoding="utf-8"), parse_constant=refuse)
    return content, (folder / "report/report.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two tasks, two algorithms of which one is called something that looks like markup, two seeds; a run is missing,
    one has diverged; with claims, a study and probes.
    """
    folder = tmp_path_factory.mktemp("results") / "partial"
    stated = [
        claim("learns_more", comparison("auc", "ppo", "reinforce"), comparison("auc", "trpo", "ppo")),
        claim("less_variance", comparison("variance", "ppo", "reinforce", direction="lower"), statement=f"{HOSTILE}\n"),
        claim("untold", comparison("auc", "trpo", "ppo"), variants={"trpo": {"settings": {"delta": "a`|b"}}}),
    ]
    studies = [study("ppo", "classic", {"CartPole-v1": 5000}, trials=2)]
    probes = [probe("CartPole-v1", 0.1), probe(EXACT, 0, "initialisation")]
    grid = write_grid(folder, probes=probes, studies=studies, claims=stated, seeds=(0, 1, 2))
    grid["algorithms"]["ppo"]["title"] = HOSTILE
    grid["algorithms"]["ppo"]["equation"] = "Ψ_t = `|x|`"
    edit_json(folder / "grid.json", algorithms=grid["algorithms"], description=f"# {HOSTILE}")
    write_runs(folder, grid)
    untuned, other = ({"policy_learning_rate": rate, "gamma": 0.99} for rate in (3e-4, 1e-3))
    trials = [Trial(untuned, [0.2, 0.3]), Trial(other, [0.1, 0.2])]
    write_study(folder, grid, studies[0], trials, tuned=[0.2, 0.25, 0.3], untuned=[0.2, 0.25, 0.3])
    for asked in probes:
        write_probe(folder, grid, asked)
    shutil.rmtree(folder / "runs/Hopper-v5/ppo/1")
    path = folder / "runs/Hopper-v5/ppo/2/run.json"
    edit_json(path, status="diverged", diverged_at=10000, diverged_because="loss | is not finite", evaluation=None)
    make(folder)
    return folder


def same(found: dict, row: pd.Series, *columns: str) -> None:
    """An object has the numbers of a table's row, and null where there is none."""
    for column in columns:
        assert found[column] == (None if pd.isna(row[column]) else row[column]), column


def test_the_summary_has_the_numbers_of_the_tables(folder):
    content, _ = written(folder)
    tables = {name: read_table(folder, name) for name in READ}
    for found, (_, row) in zip(content["ranking"]["aggregate"], tables["aggregate"].iterrows(), strict=True):
        same(found, row, *TABLES["aggregate"])
    for found, (_, row) in zip(content["ranking"]["pairs"], tables["pairs"].iterrows(), strict=True):
        same(found, row, "measure", "task", "algorithm", "other", "difference", "low", "p", "p_adjusted", "verdict")
    for found, (_, row) in zip(content["tuning"], tables["shrinkage"].iterrows(), strict=True):
        same(found, row, *TABLES["shrinkage"])
    for found, (_, row) in zip(content["published"], tables["published"].iterrows(), strict=True):
        same(found, row, "task", "algorithm", "source", "published", "published_n", "ours", "difference", "verdict")
    compared = [part for found in content["claims"] for part in found["comparisons"]]
    for found, (_, row) in zip(compared, tables["claims"].iterrows(), strict=True):
        same(found, row, "metric", "effect", "low", "high", "n_first", "n_second", "verdict", "reason")
    by_task = [place for part in compared for place in part["by_task"]]
    for found, (_, row) in zip(by_task, tables["claim_tasks"].iterrows(), strict=True):
        same(found, row, "task", "effect", "low", "high", "verdict")


def test_every_run_stands_with_its_seed_beside_the_average(folder):
    content, _ = written(folder)
    runs = read_table(folder, "scores").set_index(["task", "algorithm", "seed"])
    averages = read_table(folder, "summary").set_index(["task", "algorithm"])
    shown = [(found["task"], found["algorithm"], run) for found in content["scores"] for run in found["runs"]]
    assert len(shown) == len(runs) == 11
    for task, algorithm, run in shown:
        same(
            run, runs.loc[(task, algorithm, run["seed"])], "status", "score", "normalized", "auc", "steps_to_threshold"
        )
    assert {type(run["reached"]) for task, _, run in shown if task == "CartPole-v1"} == {bool}
    assert {run["reached"] for task, _, run in shown if task == "Hopper-v5"} == {None}
    for found in content["scores"]:
        same(
            found, averages.loc[(found["task"], found["algorithm"])], "n", "requested", "mean", "iqm", "std", "reached"
        )
        assert found["n"] == len(found["runs"])
        assert np.mean([run["score"] for run in found["runs"]]) == pytest.approx(found["mean"])


def test_the_summary_says_what_is_missing_and_what_diverged(folder):
    ledger = written(folder)[0]["completeness"]
    assert [ledger[key] for key in ("requested", "done", "diverged", "failed", "missing")] == [12, 10, 1, 0, 1]
    shared = {"task": "Hopper-v5", "algorithm": "ppo"}
    assert ledger["cells"] == [
        {**shared, "seed": 1, "state": "missing", "note": None},
        {**shared, "seed": 2, "state": "diverged", "note": "at step 10,000: loss | is not finite"},
    ]


def test_the_summary_of_the_laboratory_has_the_main_size_and_raw_advantages(folder):
    content, _ = written(folder)
    table = read_table(folder, "gradients").query("main == 1 and advantages == 'raw'")
    assert [(found["task"], found["exact"]) for found in content["laboratory"]] == [
        ("CartPole-v1", False),
        (EXACT, True),
    ]
    rows = [estimator for found in content["laboratory"] for estimator in found["estimators"]]
    for found, (_, row) in zip(rows, table.iterrows(), strict=True):
        same(found, row, "estimator", "critic", "ratio", "ratio_low", "relative_bias", "relative_bias_high", "verdict")


def test_more_seeds_than_are_counted_is_no_number_of_seeds(folder):
    tables = {name: read_table(folder, name) for name in READ}
    tables["pairs"] = tables["pairs"].head(3).assign(seeds_needed=[np.inf, 12.0, np.nan])
    pairs = summary(Maker({"grid": read_grid(folder), **tables}))["ranking"]["pairs"]
    assert [(pair["seeds_needed"], pair["seeds_needed_more_than"]) for pair in pairs] == [
        (None, MOST_SEEDS),
        (12, None),
        (None, None),
    ]


def shown_text(source: str) -> str:
    """The words that a code host shows; markup that it would follow is in angle brackets."""
    words = []
    for token in GITHUB.parse(source):
        for child in token.children or []:
            words.append(child.content if child.type in ("text", "code_inline") else f"<{child.tag or child.content}>")
        if token.type in ("html_block", "fence"):
            words.append(f"<{token.content}>")
    return "".join(words)


def test_titles_that_look_like_markup_are_text_in_the_report(folder):
    source = written(folder)[1]
    assert PLAIN in shown_text(source)
    assert f"<strong>2. {PLAIN}<strong>" in shown_text(source)
    html = GITHUB.render(source)
    assert set(re.findall(r"<(\w+)", html)) <= {
        *("h1", "h2", "h3", "p", "a", "img", "ul", "li", "strong", "code", "pre", "br", "hr", "details", "summary"),
        *("table", "thead", "tbody", "tr", "th", "td"),
    }
    assert "<h1>Policy Gradient Ladder: partial</h1>" in html
    assert html.count("<h1>") == 1
    assert "trpo: {settings: {delta: a`|b}}" in shown_text(source)


@pytest.mark.parametrize("where", ["{}", "- {}", "**1. {}** and", "| a |\n|---|\n| {} |", "x\n{}"])
def test_no_text_becomes_markup(where):
    rng = np.random.default_rng(0)
    pieces = [*"`*_~|<>[]()!#+-=&$\\{}:.\n 1aΨ", "<b>", "&lt;", "---", "1. ", "```", "\u00a0", "![", "](", "]: "]
    texts = [HOSTILE, "# a", "> a", "1. a", "- a", "---", "\u00a05 %", "a_t", "_a_", "\\|", "a\\"]
    texts += ["".join(rng.choice(pieces, size=rng.integers(1, 12))) for _ in range(400)]
    empty = shown_text(where.format("Ω"))
    for text in filter(str.strip, map(str.rstrip, texts)):
        expected = empty.replace("Ω", text)
        shown = shown_text(where.format(markdown.text(text)))
        assert re.sub(r"\s", "", shown) == re.sub(r"\s", "", expected), repr(text)


@pytest.mark.parametrize("value", ["plain", "a`b", "a|b", "``", "a | `b` | c", " padded", "<b>"])
def test_code_is_shown_as_it_is_in_a_table_too(value):
    html = GITHUB.render(f"| a | b |\n|---|---|\n| {markdown.code(value)} | end |")
    shown = re.search(r"<td><code>(.*)</code></td>\n<td>end</td>", html)[1]
    assert shown.replace("&lt;", "<").replace("&gt;", ">") == value


def test_every_table_of_the_report_has_as_many_cells_in_every_row(folder):
    source = written(folder)[1]
    lines = groupby(source.splitlines(), lambda line: line.startswith("|"))
    blocks = [list(block) for in_table, block in lines if in_table]
    for block in blocks:
        assert re.fullmatch(r"\|(-+:?\|)+", block[1]), block[1]
        counts = {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in block}
        assert len(counts) == 1, block
    assert GITHUB.render(source).count("<table>") == len(blocks) > 8


def test_every_link_of_the_report_leads_somewhere(folder):
    html = GITHUB.render(written(folder)[1])
    headings = [heading.lower().replace(" ", "-") for heading in re.findall(r"<h2>(.*)</h2>", html)]
    links = re.findall(r'(?:href|src)="([^"]*)"', html)
    assert len(links) > 40
    for link in links:
        there = link[1:] in headings if link.startswith("#") else (folder / "report" / link).exists()
        assert there, link


def test_the_report_has_its_sections_in_order_and_what_is_missing(folder):
    source = written(folder)[1]
    expected = """Keep in mind; Claims; Ranking; Learning curves; Gradient laboratory; Tuning;
        Against published scores; Every run; Speed; Algorithms and settings; How scores are defined; Completeness;
        Provenance; How to cite"""
    assert re.findall(r"^## (.*)$", source, re.MULTILINE) == re.split(r";\s+", expected)
    assert "12 runs were requested: 10 done, 1 diverged, 0 failed, 1 missing." in source
    assert f"| Hopper-v5 | {markdown.text(HOSTILE)} | 1 | missing |  |" in source
    assert re.search(r"\| 2 of 3 † \| [^|]* \| [^|]* · – · 18.0 \(diverged\) \|", source)


def test_what_is_to_be_cited_is_a_block_of_code_whatever_is_in_it(folder):
    grid = read_grid(folder)
    entry = "@software{ladder,\n  title = {A ```ladder```}\n```\n}"
    source = templates.inside("md", "cite", {"entry": entry}, {"grid": grid, "unmade": {}})
    assert [token.content for token in GITHUB.parse(source) if token.type == "fence"] == [entry + "\n"]


def test_nothing_to_keep_in_mind_is_not_said(tmp_path):
    folder = tmp_path / "many"
    seeds = tuple(range(6))
    write_runs(folder, write_grid(folder, algorithms=("ppo",), tasks={"CartPole-v1": CARTPOLE}, seeds=seeds))
    assert "Keep in mind" not in make(folder)[1]


def test_a_grid_without_runs_has_a_summary_and_a_report(tmp_path):
    folder = tmp_path / "empty"
    write_grid(folder, tasks={"CartPole-v1": CARTPOLE})
    content, source = make(folder)
    assert content["completeness"]["missing"] == 4
    assert [found["runs"] for found in content["scores"]] == [[], []]
    assert [found["mean"] for found in content["scores"]] == [None, None]
    assert content["ranking"] == {"aggregate": [], "pairs": [], "improvement": []}
    assert content["claims"] == content["tuning"] == content["laboratory"] == []
    assert "No run has finished yet" in source
    assert not re.search(r"\bnan\b", source.lower())


def test_equal_tables_in_another_place_give_equal_files(folder, tmp_path):
    other = tmp_path / "elsewhere"
    shutil.copytree(folder, other, ignore=shutil.ignore_patterns("report"))
    report.write_report(read_grid(other))
    for name in ("summary.json", "report.md"):
        assert (other / "report" / name).read_bytes() == (folder / "report" / name).read_bytes()
