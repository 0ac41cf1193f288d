"""Parts of a grid that are made in several folders and joined, and results that Snakemake has not made there."""

import json
import os
import shutil
from pathlib import Path

import pytest

from experiments.at_work import take_lock
from experiments.checks import GridError
from experiments.grid import load_grid
from experiments.join import nobody_at_work
from experiments.parts import part_of
from experiments.record import write_record
from tests.pipeline_fixtures import copy_of_the_project, run, snakemake
from tests.test_pipeline import ANALYSED, SMOKE, append, stale

TINY = """
description: Four cells, a second each.
seeds: [0, 1]
checkpoints: [1]
tasks:
  CartPole-v1: {steps: 600, random_score: 20, reference_score: 475, reference_source: registered reward threshold}
algorithms: [reinforce, ppo]
"""
RESULTS = Path("results/tiny")


def cell(algorithm, seed):
    return Path("runs/CartPole-v1", algorithm, str(seed))


def make(folder, algorithm, seed):
    """One run by its command line, into the results folder."""
    where = ("--task", "CartPole-v1", "--seed", str(seed), "--output", str(RESULTS / cell(algorithm, seed)))
    done = run(folder, "experiments.run", "--grid", "tiny.yaml", "--algorithm", algorithm, *where)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Two copies of the project: one has the runs of seed 0, made by `only=0`, the other three runs, without a page."""
    here, there = (copy_of_the_project(tmp_path_factory.mktemp(name)) for name in ("here", "there"))
    for folder in (here, there):
        (folder / "tiny.yaml").write_text(TINY)
    done = snakemake(here, grid="tiny.yaml only=0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 4 runs finished" in (here / RESULTS / "report/report.md").read_text()
    for algorithm, seed in (("reinforce", 1), ("ppo", 1), ("ppo", 0)):
        make(there, algorithm, seed)
    done = run(there, "experiments.grid", "--grid", "tiny.yaml", "--output", str(RESULTS / "grid.json"))
    assert done.returncode == 0, done.stderr
    return here, there


@pytest.fixture
def copies(parts, tmp_path):
    """Copies of the two that a test may change."""
    return [Path(shutil.copytree(part, tmp_path / name)) for part, name in zip(parts, ("here", "there"), strict=True)]


def joined(here, there):
    """What joining the one folder into the other says; it must succeed."""
    done = run(here, "experiments.join", str(RESULTS), str(there / RESULTS))
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(here, there):
    """The sentence with which joining is refused; nothing may have been copied."""
    before = sorted((here / "results").rglob("*"))
    done = run(here, "experiments.join", str(RESULTS), str(there / RESULTS))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert sorted((here / "results").rglob("*")) == before
    return done.stderr


def test_two_parts_are_joined_and_the_page_is_complete_and_nothing_is_trained_again(copies):
    here, there = copies
    said = joined(here, there)
    assert "2 results copied into results/tiny, 1 were there already with the same numbers" in said
    assert "4 of 4 runs are there" in said
    jobs = stale(here, grid="tiny.yaml")
    assert set(jobs) == ANALYSED
    done = snakemake(here, grid="tiny.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 of 4 runs finished" in (here / RESULTS / "report/report.md").read_text()
    assert stale(here, grid="tiny.yaml") == {}
    assert "whole and complete" in run(here, "analysis.verify", str(RESULTS)).stdout.lower()
    append(here / "algorithms/core/batch.py", "\n# An edit.\n")  # no input of any job, but code of both algorithms
    assert len(stale(here, grid="tiny.yaml")["train"]) == 4


def test_runs_that_contradict_each_other_are_refused_by_their_name(copies):
    here, there = copies
    path = there / RESULTS / cell("ppo", 0) / "run.json"
    record = json.loads(path.read_text())
    record["evaluation"]["sampled"]["returns"][0] += 1
    write_record(path, {k: v for k, v in record.items() if k not in ("files", "sha256")}, list(record["files"]))
    said = refused(here, there)
    assert str(cell("ppo", 0)) in said
    assert "same run and differ in evaluation" in said


def test_runs_of_other_code_are_refused_by_their_name(copies):
    here, there = copies
    append(here / "algorithms/ppo.py", "\n# An edit.\n")
    said = refused(here, there)
    assert str(cell("ppo", 0)) in said
    assert "was made by other code" in said


def test_runs_of_other_settings_are_refused_by_their_name(copies):
    here, there = copies
    (here / "tiny.yaml").write_text(TINY.replace("steps: 600", "steps: 700"))
    said = refused(here, there)
    assert "is of other steps than tiny.yaml asks for" in said


def test_a_damaged_run_is_refused_by_its_name(copies):
    here, there = copies
    append(there / RESULTS / cell("reinforce", 1) / "episodes.csv", "1,2,3,4\n")
    said = refused(here, there)
    assert f"{cell('reinforce', 1)}: episodes.csv is not as it was written" in said


def test_what_is_no_part_of_the_grid_is_refused_in_one_sentence(copies):
    here, there = copies
    (there / RESULTS / "grid.json").unlink()
    assert "has no grid.json, so it is no results folder" in refused(here, there)
    assert "is the folder that gets the results" in refused(here, here)


def test_a_run_by_hand_with_settings_of_its_own_says_nothing_and_is_refused(copies):
    here, there = copies
    shutil.rmtree(there / RESULTS / cell("ppo", 1))
    where = ("--task", "CartPole-v1", "--seed", "1", "--output", str(RESULTS / cell("ppo", 1)), "--set", "clip=0.1")
    assert run(there, "experiments.run", "--grid", "tiny.yaml", "--algorithm", "ppo", *where).returncode == 0
    assert "does not say what it is made of" in refused(here, there)


def test_joining_into_a_folder_that_is_not_there_makes_it(copies, monkeypatch):
    here, there = copies
    shutil.rmtree(here / RESULTS)
    assert "3 results copied" in joined(here, there)
    assert (here / RESULTS / "grid.json").exists()


def test_a_clone_with_results_trains_nothing_again_and_an_edit_does(project):
    """Studies and probes, too: without Snakemake's records, and with sources that are newer than the results."""
    shutil.rmtree(project / ".snakemake")
    for source in [*project.glob("algorithms/**/*.py"), *project.glob("experiments/**/*.py")]:
        os.utime(source)
    assert set(stale(project)) <= ANALYSED
    append(project / "algorithms/ppo.py", "\n# An edit.\n")
    assert {algorithm for _, algorithm, _ in stale(project)["train"]} == {"ppo", "ppo_published"}


def test_a_clone_with_results_of_other_code_trains_them_again(project):
    shutil.rmtree(project / ".snakemake")
    append(project / "algorithms/core/batch.py", "\n# An edit.\n")
    for result in (project / "results").rglob("*.*"):
        os.utime(result)  # newer than the edit
    assert stale(project)["train"] == SMOKE


@pytest.mark.parametrize(
    ("only", "belong"),
    [
        (None, 8),
        ("CartPole-v1", 4),
        ("ppo,1", 2),
        ("Cart*,ppo , reinforce,0", 2),
        ("0,1", 8),
    ],
)
def test_a_part_is_named_by_tasks_algorithms_and_seeds(tmp_path, only, belong):
    (tmp_path / "tiny.yaml").write_text(TINY.replace("tasks:\n", "tasks:\n  Acrobot-v1: 600\n"))
    cells = part_of(load_grid(str(tmp_path / "tiny.yaml")), only)
    assert len(cells) == len(set(cells)) == belong


@pytest.mark.parametrize("only", ["pppo", "", "CartPole-v1,2"])
def test_a_part_that_names_nothing_is_refused_with_the_names(tmp_path, only):
    (tmp_path / "tiny.yaml").write_text(TINY)
    with pytest.raises(GridError, match=r"no task, algorithm or seed of the grid; .*CartPole-v1"):
        part_of(load_grid(str(tmp_path / "tiny.yaml")), only)


@pytest.mark.parametrize("only", ["ppo,", ",ppo", "ppo,,0", "ppo, "])
def test_a_comma_too_many_is_refused_in_one_sentence(tmp_path, only):
    (tmp_path / "tiny.yaml").write_text(TINY)
    with pytest.raises(GridError) as refusal:
        part_of(load_grid(str(tmp_path / "tiny.yaml")), only)
    said = str(refusal.value).partition(": ")[2]
    assert said.startswith(
        f"only={only} has nothing before or behind a comma, no task, algorithm or seed of the grid; "
    )
    assert said.endswith("valid are: CartPole-v1, reinforce, ppo, 0, 1")


def test_a_link_in_a_part_is_refused(copies, tmp_path):
    here, there = copies
    (tmp_path / "secret").write_text("secret")
    (there / RESULTS / cell("ppo", 1) / "link").symlink_to(tmp_path / "secret")
    assert "link is not as it was written" in refused(here, there)


def test_nothing_is_joined_where_a_snakemake_is_at_work(tmp_path, monkeypatch):
    """The lock that a Snakemake holds is seen by its file, and nothing is copied; none begins while results are."""
    (tmp_path / ".snakemake").mkdir()
    monkeypatch.chdir(tmp_path)
    said = rf"^a snakemake is at work on {RESULTS}; wait .* Nothing was copied$"
    with take_lock(Path(), str(RESULTS)), pytest.raises(GridError, match=said):
        nobody_at_work(RESULTS)
    with nobody_at_work(RESULTS), pytest.raises(BlockingIOError):
        take_lock(tmp_path, str(RESULTS))
    with nobody_at_work(Path("elsewhere/results/tiny")):  # where no Snakemake has ever worked
        assert not Path("elsewhere").exists()
