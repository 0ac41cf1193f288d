"""Command lines into a pipe, commands to copy, reasons for a missing test, and a share of the work that only grows."""

import json
import shlex
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from analysis import status
from analysis.drawing.panels import panel_title, score_handles
from analysis.page.images import read_figure
from analysis.page.templates import environment
from analysis.reading.checks import ResultsError, command
from analysis.reading.grid import read_grid
from analysis.reading.tables import read_table
from analysis.sections.ranking.figures import scale_handles
from analysis.sections.ranking.sentences import judgement
from analysis.sections.scores.sentences import mode_gap
from analysis.statistics.comparison import why_untested
from experiments.pipeline import in_project, words_for_failures
from experiments.sources import ROOT
from tests.analysis_fixtures import section_tables, study, write_grid
from tests.test_status import NOW, STEPS, TASKS, Results


def test_a_panel_s_title_is_a_short_name_in_lines_that_fit():
    assert panel_title("experiments.tasks.game:RockPaperScissors3-v0", 3) == "RockPaperScissors3-v0"
    assert panel_title("InvertedDoublePendulum-v5", 4) == "InvertedDoublePendulum-v5"
    assert panel_title("HalfCheetah_raw_observations", 4) == "HalfCheetah_raw_\nobservations"
    assert panel_title("HalfCheetah_raw_observations", 3) == "HalfCheetah_raw_observations"


def test_the_zero_of_the_scale_is_called_the_random_score_in_legends_and_captions(tmp_path):
    """A grid may count another policy as 0, such as a player that always makes the same move."""
    write_grid(tmp_path)
    for handles in (scale_handles(), score_handles(read_grid(tmp_path))):
        assert [handle.get_label() for handle in handles][-1] == "random score"
    elsewhere = ROOT / "analysis/sections/paper_table"  # a paper's own scale
    texts = [path for path in (ROOT / "analysis").rglob("*.rst") if elsewhere not in path.parents]
    assert texts
    assert not [path for path in texts if "random policy" in path.read_text(encoding="utf-8")]


def piped(*arguments) -> subprocess.CompletedProcess:
    """A command line of which a reader takes a single line."""
    line = shlex.join([sys.executable, *arguments])
    return subprocess.run(["bash", "-c", f"{line} | head -1"], capture_output=True, text=True, timeout=300)


def test_a_reader_that_ends_early_ends_the_command_without_a_word(tmp_path):
    write_grid(tmp_path / "mine", algorithms=[f"m{index}" for index in range(300)])
    watch = ("-m", "analysis.status", str(tmp_path / "mine"), "--watch", "0.01")
    for arguments in (watch, ("-m", "experiments.grid", "--grid", "default")):
        ended = piped(*arguments)
        assert ended.stderr == ""
        assert ended.stdout.count("\n") == 1


def test_what_else_goes_wrong_is_still_said(tmp_path):
    ended = piped("-m", "analysis.status", str(tmp_path / "absent"))
    assert ended.stderr.startswith("analysis.status: ")


def test_commands_that_are_said_can_be_copied(tmp_path):
    folder = tmp_path / "my results; rm x" / "it's"
    folder.mkdir(parents=True)
    said = f"--results {shlex.quote(str(folder))}"
    assert shlex.split(command("analysis.tables", folder))[-1] == str(folder)
    with pytest.raises(ResultsError) as error:
        read_table(folder, "scores")
    assert said in str(error.value)
    with pytest.raises(ResultsError) as error:
        read_figure(folder, "speed")
    assert said in str(error.value)
    assert environment("html").from_string("{{ 'grid=a b.yaml' | quoted }}").render() == "&#39;grid=a b.yaml&#39;"
    assert "--config 'grid=my grids/a.yaml'" in words_for_failures([], str(tmp_path), "my grids/a.yaml")


def test_why_there_is_no_test_is_said_as_it_is():
    one, two, far = np.array([1.0]), np.array([1.0, 2.0]), np.array([1e200, -1e200])
    for first, second, reason in (
        ([one, two], [two, two], "a single run"),
        ([two, two], [two, one], "a single run"),
        ([far, two], [two, two], "a spread too large for numbers"),
        ([two], [two], ""),
    ):
        with np.errstate(all="ignore"):
            assert why_untested(first, second) == reason
    assert judgement(SimpleNamespace(verdict=None, untested="a single run")) == "– (a single run)"


@pytest.mark.filterwarnings("ignore:overflow|invalid value:RuntimeWarning")
def test_the_table_of_pairs_holds_the_reason(tmp_path):
    grid = read_grid_of(tmp_path)
    rows = [
        {"task": task, "algorithm": name, "seed": seed, "normalized": value, "normalized_auc": value}
        for task in grid.tasks
        for name, values in (("reinforce", (0.1, 0.2)), ("ppo", (1e200, -1e200)))
        for seed, value in enumerate(values)
    ]
    pairs = section_tables("ranking", grid=grid, scores=pd.DataFrame(rows))["pairs"]
    assert pairs["verdict"].isna().all()
    assert set(pairs["untested"]) == {"a spread too large for numbers"}


def read_grid_of(folder):
    write_grid(folder / "grid")
    return read_grid(folder / "grid")


def test_which_of_two_scores_is_the_mode_actions_is_said(tmp_path):
    grid = read_grid_of(tmp_path)
    scores = pd.DataFrame(
        {"task": "Hopper-v5", "algorithm": "ppo", "normalized": [0.1], "normalized_mode": 0.3, "score": 287.0}
    ).assign(mode_score=835.0)
    (said,) = mode_gap(grid, scores)
    assert said.endswith("mean score 835 with the mode action, 287 with sampled actions.")


def journal(trials: int, steps: int, seconds: float) -> str:
    """A study's journal with so many ended trials of two trainings, and one training of the next."""
    part = {"steps": steps, "seconds": seconds}
    lines = [{"trial_id": trial, "user_attr": {"parts": [part] * 2}} for trial in range(trials)]
    lines += [{"trial_id": trial, "datetime_complete": "now"} for trial in range(trials)]
    lines.append({"trial_id": trials, "user_attr": {"parts": [part]}})
    return "".join(json.dumps(line) + "\n" for line in lines)


@pytest.mark.parametrize(("of_study", "of_cells"), [(1000, 10), (10, 1000)])  # steps per second
def test_the_share_that_is_done_only_grows(tmp_path, of_study, of_cells):
    studies = [study("ppo", "classic", {"A-v1": 500}, serves=["A-v1"], trials=4)]
    results = Results(tmp_path, studies=studies)
    shares = [results.status().share_done]
    for trials in range(4):
        results.write("logs/tuning/ppo/classic.log", "a line\n", 0)
        results.write("tuning/ppo/classic/journal.log", journal(trials, 510, 510 / of_study), 0)
        shares.append(results.status().share_done)
    for cell in ("A-v1/reinforce/0", "B-v1/reinforce/0", "B-v1/ppo/0"):
        for step, silent in ((100, 0), (100, 50), (300, 0), (900, 0)):
            results.log(cell, STEPS.format("mine", step, of_cells), age=silent)
            shares.append(results.status().share_done)
        results.finish(cell, seconds=1000 / of_cells)
        shares.append(results.status().share_done)
    assert shares[0] == 0
    assert shares == sorted(shares)
    assert len(set(shares)) > 10
    assert 0.4 < shares[-1] < 1
    assert results.status().time == NOW
    assert "% of the training steps done" in status.as_text(results.status())
    assert len(TASKS) == 2


class Workflow:
    """What of Snakemake's workflow says where it works."""

    def __init__(self, directory):
        self.basedir, self.overwrite_workdir, self.worked_in = str(ROOT), directory, None

    def workdir(self, folder):
        self.worked_in = folder


def test_snakemake_works_in_the_projects_folder_or_says_why_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    workflow = Workflow(None)
    assert in_project(workflow, "results/mine") == "results/mine"
    assert workflow.worked_in == ROOT.resolve()
    with pytest.raises(SystemExit, match=f"^error: --directory {tmp_path} is not the project's folder"):
        in_project(Workflow(tmp_path), "results/mine")
    monkeypatch.chdir(ROOT)
    assert in_project(Workflow(ROOT), "results/mine") == "results/mine"


def test_snakemake_plans_from_another_folder(tmp_path):
    arguments = ["-s", str(ROOT / "Snakefile"), "--dry-run", "--cores", "1", "--config", "grid=smoke"]
    planned = subprocess.run(
        [sys.executable, "-m", "snakemake", *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert planned.returncode == 0, planned.stderr[-2000:]
    refused = subprocess.run(
        [sys.executable, "-m", "snakemake", *arguments, "--directory", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert refused.returncode != 0
    assert "is not the project's folder" in refused.stderr
