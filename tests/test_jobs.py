"""What the Snakefile asks of a job: its inputs and options, its time and memory; and what a stage is made by."""

import pytest

from experiments import determinants
from experiments.determinants import what_determines
from experiments.grid import load_grid
from experiments.jobs import Jobs, directory_of_output, memory, minutes_of_analysis, stage_files, tuned_option
from experiments.sources import ROOT, digest

RUN = {"task": "CartPole-v1", "algorithm": "ppo", "seed": "1"}
STUDY = {"algorithm": "ppo", "group": "all"}
PROBE = {"task": "CartPole-v1", "source": "ppo_published", "seed": "0", "fraction": "1"}
EXACT = {"task": "experiments.exact-TabularMDP-v0", "source": "initialisation", "seed": "0", "fraction": "0"}


@pytest.fixture(scope="module")
def jobs():
    return Jobs(load_grid("smoke"), "results/smoke")


def test_wildcards_name_a_cell_a_study_or_a_probe(jobs):
    directories = [jobs.of(wildcards).directory for wildcards in (RUN, STUDY, PROBE, EXACT)]
    assert directories == [
        "runs/CartPole-v1/ppo/1",
        "tuning/ppo/all",
        "probes/CartPole-v1/ppo_published/0/1",
        "probes/experiments.exact-TabularMDP-v0/initialisation/0/0",
    ]


@pytest.mark.parametrize("wildcards", [RUN, STUDY, PROBE, EXACT])
def test_the_parameter_of_a_job_is_what_determines_it(wildcards, jobs):
    about = what_determines(jobs.grid, jobs.of(wildcards))
    assert jobs.parameter(wildcards) == f"{about.code().name} {about.parameter}"


@pytest.mark.parametrize("wildcards", [RUN, STUDY, PROBE, EXACT])
def test_the_input_of_a_job_is_one_of_its_sources(wildcards, jobs):
    (file,) = jobs.sources(wildcards)
    assert file in what_determines(jobs.grid, jobs.of(wildcards)).files
    assert file == ("experiments/probe.py" if "source" in wildcards else "algorithms/ppo.py")


def test_an_edit_of_a_source_changes_the_parameter(monkeypatch):
    grid = load_grid("smoke")
    before = Jobs(grid, "results/smoke").parameter(RUN)
    assert Jobs(grid, "results/smoke").parameter(RUN) == before
    for edited in what_determines(grid, Jobs(grid, "results/smoke").of(RUN)).files:
        monkeypatch.setattr(determinants, "digest", lambda file, edited=edited: file * (file == edited) or digest(file))
        assert Jobs(grid, "results/smoke").parameter(RUN) != before


def test_a_tuned_cell_waits_for_its_study_and_another_does_not(jobs):
    assert jobs.best_settings(RUN) == ["results/smoke/tuning/ppo/all/best.json"]
    assert jobs.best_settings(RUN | {"algorithm": "ppo_published"}) == []


def test_a_probe_waits_for_the_run_that_it_measures_and_an_exact_problem_for_none(jobs):
    run = "results/smoke/runs/CartPole-v1/ppo_published/0"
    assert jobs.probed_run(PROBE) == [f"{run}/run.json"]
    assert jobs.probe_options(PROBE) == f"--task CartPole-v1 --seed 0 --fraction 1 --run {run}"
    assert jobs.probed_run(EXACT) == []
    assert jobs.probe_options(EXACT) == "--task experiments.exact:TabularMDP-v0 --seed 0"
    assert jobs.task(EXACT) == "experiments.exact:TabularMDP-v0"


def test_time_and_memory_grow_with_the_steps_and_with_each_attempt(jobs):
    assert [jobs.minutes(RUN, 1, attempt) for attempt in (1, 2)] == [5, 10]  # 16,000 steps are nothing
    default = Jobs(load_grid("default"), "results/default")
    cell = {"task": "HalfCheetah-v5", "algorithm": "ppo", "seed": "0"}
    assert default.minutes(cell, 1, 1) == 5 + 300_000 // 60_000
    study = {"algorithm": "ppo", "group": "mujoco"}
    trainings = 16 * 2 + 2 * 4  # trials on two seeds; winner and untuned settings on four fresh ones
    assert default.minutes(study, 1, 1) == 5 + trainings * 60_000 // 120_000
    assert default.minutes(study, 4, 1) == 5 + (4 * 2 + 2 * 4) * 60_000 // 120_000
    assert default.minutes(PROBE, 1, 3) == 60
    assert minutes_of_analysis(None, 2) == 60
    assert memory(None, 3, 2) == 12_000


def test_what_stands_on_a_command_line():
    class Input:
        tuned = "best.json"

    assert tuned_option(None, Input) == "--tuned best.json"
    Input.tuned = []
    assert tuned_option(None, Input) == ""
    assert directory_of_output(None, ["a/b/run.json"]) == "a/b"


def test_it_is_said_once_when_snakemake_begins_to_look_and_what_hears_it_may_look_itself(jobs):
    said = []
    jobs = Jobs(jobs.grid, "results/smoke", at_first=lambda jobs: said.append(jobs.sources(RUN)))
    assert jobs.nothing({}) == []
    assert said == [jobs.sources(RUN)]


def test_a_stage_is_made_by_its_part_of_every_section_and_by_what_lies_beside():
    tables, figures, report = map(stage_files, ("tables", "figures", "report"))
    for section in (path.parent for path in ROOT.glob("analysis/sections/*/__init__.py")):
        face, *parts = (f"{section.relative_to(ROOT)}/{name}" for name in ("__init__.py", "tables.py", "figures.py"))
        assert all(face in files for files in (tables, figures, report))
        for part, files in zip(parts, (tables, figures), strict=True):
            assert (part in files) == (ROOT / part).exists()
    assert "analysis/sections/published/published_scores.csv" in tables
    assert "analysis/figures.py" not in tables
    assert {"analysis/page/page.html.j2", "analysis/sections/scores/captions/final_scores.rst"} <= set(report)
    assert not any("__pycache__" in file for file in report)
