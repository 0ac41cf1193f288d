"""From a results folder to tables, figures and report, and what is said when a file is wrong."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import sync_playwright

from analysis import figures, report, tables
from analysis.drawing import theme
from analysis.reading import checks as results
from analysis.reading.grid import read_grid
from analysis.reading.tables import read_table, write_table
from analysis.sections import FIGURES, ORDER, TABLES
from analysis.sections.estimators import FIGURES as OF_ESTIMATORS
from analysis.sections.quality import FIGURES as OF_QUALITY
from analysis.sections.settings import sentences as settings
from tests.analysis_fixtures import (
    CARTPOLE,
    EXACT,
    HOPPER,
    TITLES,
    Trial,
    claim,
    comparison,
    edit_json,
    make_page,
    probe,
    says_nan,
    study,
    write_benchmark,
    write_grid,
    write_probe,
    write_runs,
    write_study,
)
from tests.estimator_fixtures import write_all
from tests.quality_fixtures import quality_probe, write_quality

ROOT = Path(__file__).parents[1]
LEFT_OUT = (  # of what these tests' results lack
    *("published_scores", "evaluation_curves", "action_bins", "paper_table"),
    "under_changes",
)
BEHIND_FIGURES = {table for name in FIGURES if name not in LEFT_OUT for table in figures.tables_behind(name)}
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def run(module: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", f"analysis.{module}", "--results", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def make(folder: Path) -> str:
    """Tables, figures and report in this process; returns the page."""
    grid = read_grid(folder)
    made = tables.make_tables(grid)
    for name, table in made.items():
        write_table(folder, name, table)
    theme.apply()
    for name in FIGURES:
        figures.write_figure(grid, name)
    report.write_report(grid)
    return (folder / "report" / "index.html").read_text(encoding="utf-8")


def visible_text(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page.split("</style>")[1].split("<script>")[0]))


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """Two tasks, two known algorithms and a user's own, two seeds, two of them tuned, all made."""
    folder = tmp_path_factory.mktemp("results") / "finished"
    probes = [probe("CartPole-v1", 0.1), probe(EXACT, 0, "initialisation")]
    algorithms = ("reinforce", "ppo", "my_method")
    studies = [study(name, "classic", {"CartPole-v1": 5000}, trials=2) for name in ("ppo", "my_method")]
    stated = [
        claim(
            "learns_more", comparison("auc", "ppo", "reinforce"), comparison("steps_to_threshold", "ppo", "reinforce")
        ),
        claim("less_variance", comparison("variance", "ppo", "reinforce", direction="lower")),
        claim(
            "no_bias", comparison("relative_bias", "reinforce", tasks="exact", direction="equal", smallest_effect=0.3)
        ),
        claim("over_lambda", comparison("relative_bias", {"gae_lambda": 0}, {"gae_lambda": 1})),
        claim("untold", comparison("auc", "trpo", "ppo"), variants={"trpo": {"settings": {"delta": 0.01}}}),
    ]
    of_quality = [quality_probe("CartPole-v1", fraction, seed=seed) for fraction in (0, 1) for seed in (0, 1)]
    about = {"probes": [*probes, *write_all(folder), *of_quality], "studies": studies, "claims": stated}
    grid = write_grid(folder, algorithms=algorithms, settings={"ppo": {"clip": 0.2}}, **about)
    write_runs(folder, grid)
    for asked in studies:
        untuned, other = ({"policy_learning_rate": rate, "gamma": 0.99} for rate in (3e-4, 1e-3))
        trials = [Trial(untuned, [0.2, 0.3]), Trial(other, [0.1, 0.2])]
        write_study(folder, grid, asked, trials, tuned=[0.2, 0.25, 0.3], untuned=[0.2, 0.25, 0.3])
    for asked in probes:
        write_probe(folder, grid, asked)
    for asked in of_quality:
        write_quality(folder, grid, asked)
    write_benchmark(folder, {"CartPole-v1": {"gymnasium": [100.0], "ppo_8x256": [50.0], "sb3_ppo_8x256": [10.0]}})
    make(folder)
    return folder


@pytest.fixture
def small(tmp_path) -> Path:
    """One task, one algorithm, two seeds: runs only."""
    folder = tmp_path / "small"
    write_runs(folder, write_grid(folder, algorithms=("ppo",), tasks={"CartPole-v1": CARTPOLE}))
    return folder


def table(folder: Path, name: str) -> pd.DataFrame:
    return read_table(folder, name)


def test_scores_follow_from_the_run_by_their_definitions(finished):
    grid = read_grid(finished)
    cell = grid.cells[0]
    recorded = json.loads((finished / cell["directory"] / "run.json").read_text())
    score = table(finished, "scores").iloc[0]
    curve = table(finished, "curves").query("task == 'CartPole-v1' and algorithm == 'reinforce' and seed == 0")
    assert score["score"] == pytest.approx(np.mean(recorded["evaluation"]["sampled"]["returns"]))
    assert score["normalized"] == pytest.approx((score["score"] - 22) / (475 - 22))
    deviation = np.std(recorded["evaluation"]["sampled"]["returns"], ddof=1)
    assert deviation > 0
    assert score["episode_spread"] == pytest.approx(deviation / (475 - 22))
    assert score["auc"] == pytest.approx(curve["return"].mean())
    assert curve["step"].tolist() == [200 * point for point in range(1, 101)]


def test_what_is_missing_is_marked_in_tables_figures_and_text(tmp_path):
    """Two runs of PPO on Hopper, one study with the runs that wait for it, and one probe are not there."""
    folder = tmp_path / "partial"
    algorithms, serves = ("reinforce", "a2c", "ppo"), ["CartPole-v1"]
    studies = [study(name, "classic", {"CartPole-v1": 5000}, serves=serves, trials=1) for name in ("a2c", "ppo")]
    probes = [probe("CartPole-v1", fraction, "ppo") for fraction in (0.1, 0.5)]
    grid = write_grid(folder, algorithms=algorithms, seeds=(0, 1, 2), studies=studies, probes=probes)
    write_runs(folder, grid)
    write_study(
        folder,
        grid,
        studies[1],
        [Trial({"policy_learning_rate": 3e-4, "gamma": 0.99}, [0.2, 0.3])],
        [0.2] * 3,
        [0.2] * 3,
    )
    write_probe(folder, grid, probes[0])
    for gone in ("Hopper-v5/ppo/0", "Hopper-v5/ppo/2", "CartPole-v1/a2c"):
        shutil.rmtree(folder / "runs" / gone)
    results.write_whole(folder / f"logs/{studies[0]['directory']}.log", b"Traceback")
    drawn = ("learning_curves", "aggregate_scores", "tuning_history", "critic_error")
    text = visible_text(make_page(folder, drawn))
    jobs = table(folder, "ledger_jobs").set_index("directory")
    assert jobs["state"].to_dict() == {
        **{"tuning/a2c/classic": "failed", "tuning/ppo/classic": "done"},
        **{probes[0]["directory"]: "done", probes[1]["directory"]: "missing"},
    }
    made = table(folder, "provenance").set_index("name").loc["commit", ["runs", "studies", "probes"]]
    assert made.tolist() == [13, 1, 1]
    assert "(13 runs, 1 study and 1 probe)" in text
    assert "1 of 2 requested studies has no result (1 failed): A2C on classic." in text
    assert "1 of 2 requested probes has no result (1 missing): CartPole-v1 at 50 % of training (seed 0)." in text
    assert "A2C on classic: failed or interrupted; logs/tuning/a2c/classic.log " in text
    assert "1 of 3 †" in text  # of the runs on Hopper
    short = "† fewer runs than asked for: A2C 0 of 3 on CartPole-v1 and PPO 1 of 3 on Hopper-v5"
    lacking = {"tuning_history": "Without A2C on classic: no result"}
    lacking["critic_error"] = "Without CartPole-v1 at 50 % of training (seed 0): no result"
    for name in drawn:
        words = re.sub(r"<[^>]*>", " ", (folder / f"figures/{name}.svg").read_text(encoding="utf-8"))
        assert lacking.get(name, short) in words, name
        assert ("PPO †" in words) == (name not in lacking), name
        assert "REINFORCE †" not in words
        assert f"{lacking.get(name, short)}." in text


def test_before_its_first_episode_has_ended_a_curve_is_the_random_score(small):
    folder = small / "runs/CartPole-v1/ppo/0"
    (folder / "episodes.csv").write_text("step,return,length\n1000,50,10\n19000,100,10\n20150,900,10\n")
    edit_json(folder / "run.json", episodes=3)
    curves = tables.make_tables(read_grid(small))["curves"].query("seed == 0")["return"].tolist()
    assert curves == [22.0] * 4 + [50.0] * 90 + [100.0] * 6


def test_what_an_algorithm_records_beside_the_others_has_a_column_and_a_panel(small):
    grid = read_grid(small)
    cell = grid.cells[0]
    path = small / cell["directory"] / "updates.csv"
    header, *rows = path.read_text(encoding="utf-8").splitlines()
    further = [f"{header},penalty_weight", *(f"{row},0.5" for row in rows)]
    path.write_text("\n".join(further) + "\n", encoding="utf-8")
    made = tables.make_tables(grid)["diagnostics"]
    assert list(made.columns) == [*TABLES["diagnostics"], "a_column_of_its_own", "penalty_weight"]
    own = (made["algorithm"] == cell["algorithm"]) & (made["seed"] == cell["seed"]) & (made["task"] == cell["task"])
    assert (made["penalty_weight"][own] == 0.5).all()
    assert made["penalty_weight"][~own].isna().all()
    write_table(small, "diagnostics", made)
    pd.testing.assert_frame_equal(read_table(small, "diagnostics"), made, check_dtype=False)
    for name, table in tables.make_tables(grid).items():
        write_table(small, name, table)
    figure = figures.draw(grid, "diagnostics")
    assert [axes.get_ylabel() for axes in figure.axes[-2:]] == ["a column of its own", "penalty weight"]
    plt.close(figure)


def test_a_diverged_run_is_a_row_at_the_random_score_from_where_it_diverged(small):
    path = small / "runs/CartPole-v1/ppo/1/run.json"
    edit_json(path, status="diverged", diverged_at=10000, diverged_because="loss is not finite", evaluation=None)
    made = tables.make_tables(read_grid(small))
    score = made["scores"].set_index("seed").loc[1]
    curve = made["curves"].query("seed == 1")
    assert (score["score"], score["mode_score"], score["normalized"]) == (22, 22, 0)
    assert (curve.query("step >= 10000")["return"] == 22).all()
    assert (curve.query("step < 10000")["return"] != 22).any()
    assert made["diagnostics"].query("seed == 1")["step"].max() < 10000
    assert made["summary"].iloc[0][["n", "diverged"]].tolist() == [2, 1]
    assert made["ledger"].set_index("seed").loc[1, "note"] == "at step 10,000: loss is not finite"


def test_a_task_without_threshold_has_no_steps_to_threshold(finished):
    scores = table(finished, "scores")
    assert scores.query("task == 'Hopper-v5'")[["reached", "steps_to_threshold"]].isna().all(axis=None)
    assert scores.query("task == 'CartPole-v1'")[["reached", "steps_to_threshold"]].notna().all(axis=None)


def test_adding_an_algorithm_moves_no_other_number(tmp_path, finished):
    folder = tmp_path / "fewer"
    shutil.copytree(finished / "runs", folder / "runs")
    write_grid(folder, algorithms=("reinforce", "ppo"), settings={"ppo": {"clip": 0.2}})
    fewer = tables.make_tables(read_grid(folder))
    for name in ("scores", "summary", "aggregate", "curve_intervals"):
        more = table(finished, name).query("algorithm != 'my_method'").reset_index(drop=True)
        pd.testing.assert_frame_equal(fewer[name].reset_index(drop=True), more, check_dtype=False, rtol=1e-8)


def test_an_incomplete_grid_yields_everything_and_says_what_is_missing(tmp_path):
    folder = tmp_path / "incomplete"
    grid = write_grid(folder, tasks={"CartPole-v1": CARTPOLE, "module:Own/Task-v0": HOPPER})
    write_runs(folder, grid)
    shutil.rmtree(folder / "runs/module-Own-Task-v0/ppo")
    log = folder / "logs/runs/module-Own-Task-v0/ppo/1.log"
    log.parent.mkdir(parents=True)
    log.write_text("Traceback")
    page = visible_text(make(folder))
    ledger = table(folder, "ledger").query("algorithm == 'ppo' and task == 'module:Own/Task-v0'")
    assert ledger["state"].tolist() == ["missing", "failed"]
    assert "2 of 8 requested runs have no result (1 missing, 1 failed): PPO on module:Own/Task-v0" in page
    assert "Not ranked, because they have runs on fewer tasks: PPO" in page
    assert "6 of 8 requested" in page
    assert not says_nan(page)


def test_a_grid_without_any_run_still_makes_a_report(tmp_path):
    folder = tmp_path / "empty"
    write_grid(folder)
    page = visible_text(make(folder))
    assert "No run has finished yet" in page
    assert "Missing: " not in page
    assert "8 missing" in page
    assert not says_nan(page)


def test_a_single_seed_has_no_interval_and_the_report_says_why(tmp_path):
    folder = tmp_path / "single"
    write_runs(folder, write_grid(folder, seeds=(3,)))
    page = visible_text(make(folder))
    assert table(folder, "summary")[["low", "high", "std"]].isna().all(axis=None)
    assert "a single run" in page
    assert not says_nan(page)


def test_every_algorithm_is_in_every_figure_and_in_the_report(finished):
    page = (finished / "report/index.html").read_text(encoding="utf-8")
    for name in FIGURES:
        drawn = re.sub(r"<[^>]*>", " ", (finished / f"figures/{name}.svg").read_text(encoding="utf-8"))
        titles = [TITLES["ppo"], "my_method"] if name != "final_scores" else ["my_method"]
        titles = ["ppo_8x256"] if name == "benchmark" else titles
        titles = ["no published score can be held"] if name == "published_scores" else titles
        titles = ["no task of this grid has actions in bins"] if name == "action_bins" else titles
        titles = ["no run of this grid was evaluated under changes"] if name == "under_changes" else titles
        titles = ["this grid repeats no table of a paper"] if name == "paper_table" else titles
        titles = ["critic as trained"] if name in ("gradient_bias_variance", "critic_error") else titles
        titles = ["Mine"] if name in OF_ESTIMATORS else titles
        titles = ["CartPole-v1"] if name in OF_QUALITY else titles  # of a single algorithm, which the page names
        assert all(title in drawn for title in titles), name
        assert (finished / f"figures/{name}.png").stat().st_size > 5000
    assert "my_method" in visible_text(page)
    # Nothing here can be compared with published scores or was evaluated on its way, so these figures are left out.
    assert page.count("data:image/svg+xml;base64,") == len(FIGURES) - len(LEFT_OUT)


def test_every_figure_has_a_caption_and_a_place():
    captions = {path.stem for path in (ROOT / "analysis/sections").glob("*/captions/*.rst")}
    assert captions == set(FIGURES)


def test_the_report_needs_nothing_but_itself_and_the_tables_that_it_links_to(finished):
    page = (finished / "report/index.html").read_text(encoding="utf-8")
    assert "http://" not in page
    assert "https://" not in page
    links = re.findall(r'\bhref="([^"]+)"', page)
    assert {link for link in links if not link.startswith("#")} >= {f"../tables/{name}.csv" for name in BEHIND_FIGURES}
    assert all((finished / "report" / link).is_file() for link in links if not link.startswith("#"))
    assert all(f'id="{link[1:]}"' in page for link in links if link.startswith("#"))


def test_the_report_has_its_sections_in_the_order_of_its_contents_claims_first(finished):
    page = (finished / "report/index.html").read_text(encoding="utf-8")
    # The grid asks for no videos, repeats no paper's table, and has neither actions in bins nor changes.
    shown = [section for section in ORDER if section not in ("policies", "paper_table", "bins", "robustness")]
    assert re.findall(r'<section id="(\w+)">', page) == shown
    assert re.findall(r'<li><a href="#(\w+)">', page) == ["top", *shown]
    assert ORDER[0] == "claims"


def test_what_is_to_be_cited_names_what_was_run(finished):
    page = (finished / "report/index.html").read_text(encoding="utf-8")
    entry = page.split("<pre><code>")[1].split("</code>")[0]
    run = results.read_json(next(finished.glob("runs/*/*/*/run.json")))
    assert f"commit {run['commit']}" in entry
    assert f"version {run['versions']['policy-gradient-ladder']}" in entry
    assert f"{len(read_grid(finished).cells)} runs" in entry


def test_claims_link_to_what_they_rest_on(finished):
    page = (finished / "report/index.html").read_text(encoding="utf-8")
    section = page.split('<section id="claims">')[1].split("</section>")[0]
    assert re.findall(r'id="claim-(\w+)"', section) == [
        *("learns_more", "less_variance", "no_bias", "over_lambda", "untold"),
    ]
    links = ["sample_efficiency", "gradient_variance", "exact_problems", "gradient_bias_variance"]
    assert [link for link in re.findall(r'href="#figure-(\w+)"', section)] == links
    assert section.count('class="verdict untestable"') == 2  # the claim, and the task without a threshold
    assert "trpo: {settings: {delta: 0.01}}" in section
    table = read_table(finished, "claims")
    assert set(table["claim_verdict"]) >= {"too little evidence", "cannot be tested"}


def test_a_report_of_other_claims_than_its_tables_is_refused(finished, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy, ignore=shutil.ignore_patterns("runs", "probes", "tuning"))
    edit_json(copy / "grid.json", claims=[claim("new", comparison("auc", "ppo"))], studies=[])
    edit_json(
        copy / "grid.json", cells=[{**cell, "tuned": None} for cell in results.read_json(copy / "grid.json")["cells"]]
    )
    with pytest.raises(
        results.ResultsError, match=r"claims\.csv: no claim 'new', which grid\.json has; make the tables"
    ):
        report.write_report(read_grid(copy))


def test_the_report_escapes_what_it_is_given_and_shows_settings_once(finished):
    page = (finished / "report/index.html").read_text(encoding="utf-8")
    assert "&lt;as written&gt;" in page
    assert "<as written>" not in page
    shown = page.split('<section id="settings">')[1].split("</section>")[0]
    assert shown.count("<code>gamma</code>") == 1
    assert shown.count("<code>clip</code>") == 1
    assert "Ψ<sub>t</sub> = G<sub>t</sub>" in page


def test_two_seeds_come_with_a_warning(finished):
    page = visible_text((finished / "report/index.html").read_text(encoding="utf-8"))
    assert "as few as 2 runs" in page
    assert not says_nan(page)


def test_equal_tables_give_equal_figures(finished, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy, ignore=shutil.ignore_patterns("figures", "runs"))
    grid = read_grid(copy)
    for name in FIGURES:
        figure = figures.draw(grid, name)
        again = theme.image_bytes(figure, "svg")
        plt.close(figure)
        assert again == (finished / f"figures/{name}.svg").read_bytes(), name


def test_one_figure_can_be_made_alone_and_in_another_process_is_the_same(finished, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy, ignore=shutil.ignore_patterns("figures", "runs"))
    made = run("figures", copy, "--figure", "speed")
    assert made.returncode == 0, made.stderr
    assert sorted(path.name for path in (copy / "figures").iterdir()) == [
        *("speed.pdf", "speed.png", "speed.svg"),
    ]
    for kind in ("svg", "png"):
        assert (copy / f"figures/speed.{kind}").read_bytes() == (finished / f"figures/speed.{kind}").read_bytes()


def test_figures_of_chosen_algorithms_and_tasks_show_these_alone_in_the_colours_of_the_whole(tmp_path):
    folder, there = tmp_path / "whole", tmp_path / "there"
    algorithms = ("first", "ppo", "second")
    write_runs(folder, write_grid(folder, algorithms=algorithms))
    for name, made in tables.make_tables(read_grid(folder)).items():
        write_table(folder, name, made)
    chosen = ["--algorithms", "second", "ppo", "--tasks", "Hopper-v5", "--output", str(there), "--kind", "svg", "pdf"]
    done = run("figures", folder, *chosen)
    assert done.returncode == 0, done.stderr
    assert not (folder / "figures").exists()
    assert {path.suffix for path in there.iterdir()} == {".svg", ".pdf"}
    assert (there / "learning_curves.pdf").read_bytes().startswith(b"%PDF")
    svg = (there / "learning_curves.svg").read_text(encoding="utf-8")
    shown = re.sub(r"<[^>]*>", " ", svg)
    assert "second" in shown
    assert "Hopper-v5" in shown
    assert "first" not in shown
    assert "CartPole-v1" not in shown
    look = theme.looks(list(algorithms))
    assert look["second"].colour in svg
    assert look["first"].colour not in svg
    # What is over all tasks is over the chosen one.
    grid = read_grid(folder)
    of_choice = figures.tables_of_choice(grid, figures.choose(grid, ["ppo"], ["Hopper-v5"]))
    assert of_choice("aggregate")[["algorithm", "tasks"]].drop_duplicates().to_numpy().tolist() == [["ppo", 1]]
    expected = table(folder, "scores").query("algorithm == 'ppo' and task == 'Hopper-v5'")["normalized"].mean()
    assert of_choice("aggregate").query("measure == 'score'")["mean"].item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("option", "name", "said"),
    [
        ("--algorithms", "pppo", "--algorithms pppo: no such algorithm; valid are ppo, reinforce, my_method.\n"),
        ("--tasks", "Hoper-v5", "--tasks Hoper-v5: no such task; valid are Hopper-v5, CartPole-v1.\n"),
    ],
)
def test_a_choice_that_the_grid_does_not_have_is_one_sentence_with_the_valid_ones(finished, option, name, said):
    done = run("figures", finished, option, name)
    assert (done.returncode, done.stderr) == (2, f"analysis.figures: {said}")


def test_figures_that_can_be_written_nowhere_are_one_sentence(finished, tmp_path):
    (tmp_path / "file").touch()
    for folder, said in (
        (tmp_path / "file", "is a file"),
        (tmp_path / "file" / "in", "cannot be made: Not a directory"),
    ):
        done = run("figures", finished, "--output", folder)
        assert done.returncode == 2
        assert done.stderr == f"analysis.figures: --output: {folder} {said}; give another folder\n"


def test_colours_do_not_depend_on_which_other_algorithms_there_are():
    alone = theme.looks(["ppo"])["ppo"]
    assert theme.looks(["first", "reinforce", "ppo", "second"])["ppo"] == alone
    many = theme.looks([f"method_{index}" for index in range(9)] + list(theme.KNOWN))
    assert len({look.colour for look in many.values()}) == len(many)
    assert len({look.marker for look in many.values()}) == len(many)


def test_settings_that_differ_between_tasks_are_shown_with_their_task(tmp_path):
    folder = tmp_path / "settings"
    content = write_grid(folder)
    for cell in content["cells"]:
        if cell["task"] == "Hopper-v5" and cell["algorithm"] == "ppo":
            cell["settings"] = {**cell["settings"], "gamma": 0.999}
    edit_json(folder / "grid.json", cells=content["cells"])
    shown = settings.page(read_grid(folder))
    assert list(shown["shared"]) == ["policy_learning_rate"]
    assert shown["own"]["ppo"]["gamma"] == (0.99, {"Hopper-v5": 0.999})
    assert shown["own"]["reinforce"]["gamma"] == (0.99, {})


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def opened(browser, finished):
    """The page of the report on a wide screen, and what went over the wire or wrong meanwhile."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    requests, complaints = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto((finished / "report/index.html").as_uri())
    return page, requests, complaints


def test_the_page_loads_alone_without_complaint_and_every_figure_is_drawn(opened, finished):
    page, requests, complaints = opened
    assert [url for url in requests if not url.startswith("data:")] == [(finished / "report/index.html").as_uri()]
    assert complaints == []
    drawn = page.evaluate("[...document.images].map(image => [image.complete && image.naturalWidth, image.alt.length])")
    assert len(drawn) == len(FIGURES) - len(LEFT_OUT)
    assert all(width > 500 and words > 40 for width, words in drawn)


def test_every_link_of_the_page_leads_somewhere(opened):
    page, *_ = opened
    links = page.evaluate("[...document.links].map(link => [link.getAttribute('href'), link.href])")
    for written, address in links:
        if written.startswith("#"):
            assert page.locator(f"[id='{written[1:]}']").count() == 1, written
        else:
            assert Path(url2pathname(urlsplit(address).path)).is_file(), written
    page.locator("nav a[href='#provenance']").click()
    page.wait_for_function("document.querySelector('#provenance').getBoundingClientRect().top < innerHeight")


def words(page) -> int:
    return len(page.inner_text("body").split())


def test_at_most_a_third_of_the_words_stands_unfolded_and_paper_has_all(browser, finished):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto((finished / "report/index.html").as_uri())
    at_first = words(page)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    assert 200 < at_first < words(page) / 3
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert words(page) == at_first
    page.close()


def test_the_first_screen_has_the_headline_the_ranking_and_the_learning_curves(browser, finished):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto((finished / "report/index.html").as_uri())
    ends = [page.locator(place).bounding_box() for place in (".headline", ".ranks", "#figure-learning_curves img")]
    assert all(box["y"] + box["height"] <= 900 for box in ends)
    headline = json.loads((finished / "report/summary.json").read_text(encoding="utf-8"))["headline"]
    assert page.inner_text(".headline") == headline
    assert page.locator("h1, h2, h3").all_inner_texts()[1] == FIGURES["learning_curves"][1]
    page.close()


def test_the_contents_stay_in_view_and_are_folded_on_a_phone(browser, finished):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto((finished / "report/index.html").as_uri())
    page.locator("#cite").scroll_into_view_if_needed()
    assert page.locator("nav a[href='#ranking']").bounding_box()["y"] >= 0
    page.set_viewport_size({"width": 390, "height": 800})
    assert not page.locator("nav a[href='#ranking']").is_visible()
    page.locator("nav summary").click()
    page.locator("nav a[href='#ranking']").click()
    page.wait_for_function("Math.abs(document.querySelector('#ranking').getBoundingClientRect().top) < 80")
    assert not page.locator("nav a[href='#ranking']").is_visible()
    page.evaluate("location.hash = '#claim-learns_more'")
    page.wait_for_function("document.querySelector('#claim-learns_more').checkVisibility()")
    page.close()


@pytest.mark.parametrize("width", [1280, 768, 360])
def test_no_width_makes_the_page_scroll_sideways(opened, width):
    page, *_ = opened
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)") >= 16


def test_tables_sort_by_click_and_by_key_and_return_to_how_they_were(opened):
    page, *_ = opened
    table = page.locator("#ranking table").first
    table.evaluate("table => table.closest('details').open = true")
    button = table.locator("thead button").nth(3)

    def column() -> list[float]:
        cells = table.locator("tbody tr td:nth-child(4)").all_inner_texts()
        return [float(text.split()[0].replace("−", "-")) for text in cells]

    before = column()
    button.click()
    assert column() == sorted(before, reverse=True)
    assert table.locator("th[aria-sort=descending]").count() == 1
    button.press("Enter")
    assert column() == sorted(before)
    button.press("Enter")
    assert column() == before
    assert table.locator("th[aria-sort]").count() == 0
    names = table.locator("tbody th")
    table.locator("thead button").first.click()
    assert names.all_inner_texts() == sorted(names.all_inner_texts(), key=str.lower)


def test_light_and_dark_can_both_be_read_and_print_has_no_contents(opened):
    page, *_ = opened
    papers = set()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for element in ("body p", ".note", ".verdict", "nav a", ".file", "thead button", ".caution li"):
            ink, paper = page.evaluate(COLOURS, element)
            assert contrast(ink, paper) >= 4.5, (scheme, element)
        papers.add(tuple(paper))
    assert len(papers) == 2
    page.emulate_media(media="print", color_scheme="light")
    assert not page.locator("nav").is_visible()
    assert page.locator("#claims").is_visible()
    page.emulate_media(media="screen")


# Of the first such element: its colour, and that of what it stands on.
COLOURS = """selector => {
  let element = document.querySelector(selector);
  const ink = getComputedStyle(element).color;
  while (getComputedStyle(element).backgroundColor === "rgba(0, 0, 0, 0)") element = element.parentElement;
  const colours = [ink, getComputedStyle(element).backgroundColor];
  return colours.map(colour => colour.match(/[\\d.]+/g).slice(0, 3).map(Number));
}"""


def contrast(first: list[float], second: list[float]) -> float:
    """The ratio of two colours' luminances (WCAG 2.2)."""
    values = np.array([first, second]) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    dark, light = sorted(linear @ [0.2126, 0.7152, 0.0722])
    return (light + 0.05) / (dark + 0.05)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def drop_last_line(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def other_schema(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 99}))


def rename_column(path: Path) -> None:
    path.write_text(path.read_text().replace("return", "returns", 1))


def spoil_number(path: Path) -> None:
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:3], "12o,3.5,100\n", *lines[4:]]))


def change_setting(path: Path) -> None:
    content = json.loads(path.read_text())
    edit_json(path, settings={**content["settings"], "gamma": 0.9})


def drop_key(path: Path) -> None:
    content = json.loads(path.read_text())
    del content["steps_taken"]
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("file", "mistake", "said"),
    [
        ("run.json", truncate, "incomplete or invalid JSON"),
        ("run.json", change_setting, "settings.gamma is 0.9, but"),
        ("run.json", drop_key, "has no key 'steps_taken'; it has steps"),
        ("episodes.csv", truncate, "ends in the middle of a line"),
        ("episodes.csv", rename_column, "no column 'return'; it has returns"),
        ("episodes.csv", spoil_number, "line 4 has step = '12o'; expected a number"),
        ("episodes.csv", Path.unlink, "no such file"),
        ("updates.csv", truncate, "ends in the middle of a line"),
        ("updates.csv", drop_last_line, "its rows hold 149 updates, but run.json counts 150"),
        ("run.json", other_schema, f"schema is 99, this version reads {results.SCHEMA}"),
    ],
)
def test_a_spoilt_file_is_named_with_what_is_wrong(small, file, mistake, said):
    path = small / "runs/CartPole-v1/ppo/1" / file
    mistake(path)
    with pytest.raises(results.ResultsError) as error:
        tables.make_tables(read_grid(small))
    assert str(path) in str(error.value)
    assert said in str(error.value)


def test_a_mistake_is_one_sentence_on_stderr_and_keeps_what_there_is(small):
    (small / "tables").mkdir()
    (small / "tables/scores.csv").write_text("kept")
    truncate(small / "runs/CartPole-v1/ppo/1/run.json")
    made = run("tables", small)
    assert made.returncode == 2
    assert made.stderr.startswith("analysis.tables: ")
    assert made.stderr.count("\n") == 1
    assert (small / "tables/scores.csv").read_text() == "kept"


@pytest.mark.parametrize(
    ("module", "folder", "arguments", "said"),
    [
        ("tables", "finishd", (), "no such folder; there is "),
        ("figures", "finished", ("--figure", "learning_curve"), "valid are learning_curves, "),
    ],
)
def test_an_unknown_name_comes_with_the_valid_ones_nearest_first(finished, module, folder, arguments, said):
    made = run(module, finished.parent / folder, *arguments)
    assert made.returncode == 2
    assert said in made.stderr
    assert "Traceback" not in made.stderr


def test_a_missing_table_names_the_command_that_makes_it(small):
    with pytest.raises(results.ResultsError, match=r"python -m analysis\.tables --results"):
        figures.draw(read_grid(small), "speed")


def test_a_hand_edited_table_is_refused(finished, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy, ignore=shutil.ignore_patterns("runs"))
    path = copy / "tables/scores.csv"
    path.write_text(path.read_text().replace("steps_per_second", "speed", 1))
    with pytest.raises(results.ResultsError, match=r"scores\.csv: no column 'steps_per_second'"):
        figures.draw(read_grid(copy), "speed")
