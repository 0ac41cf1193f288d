"""The promise: one command makes everything, a rerun makes what is stale and nothing else, a failure costs one cell.

The smoke grid runs once, in a copy of the project; the rules of what becomes stale are read from dry runs there.
"""

import csv
import json
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from experiments.jobs import stage_files
from tests.analysis_fixtures import write_benchmark
from tests.pipeline_fixtures import ROOT, SAY_NAMES, files_opened, run, snakemake

SMOKE = {
    (task, algorithm, seed)
    for task in ("CartPole-v1", "InvertedPendulum-v5")
    for algorithm in ("reinforce", "reinforce_baseline", "actor_critic", "a2c", "ppo", "ppo_published")
    for seed in ("0", "1")
}
STUDIES = {(algorithm, "all") for _, algorithm, _ in SMOKE if algorithm != "ppo_published"}
EXACT = {
    (f"experiments.exact-{name}-v0", "initialisation", "0", "0")
    for name in ("SoftmaxBandit", "TabularMDP", "RockPaperScissors")
}
PROBES = {("CartPole-v1", "ppo_published", "0", fraction) for fraction in ("0", "1")} | EXACT
ESTIMATED = {(problem, "initialisation", "0", "0") for problem in ("step", "arms")}  # probes of estimators
ANALYSED = {"tables", "figures", "report", "reproduce"}  # made again whenever something was measured again


def stale(folder, grid="smoke"):
    """What a dry run would do: the wildcards of each job, by the name of its rule."""
    done = snakemake(folder, "--dry-run", grid=grid)
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = {}
    for block in re.split(r"\n(?=rule )", done.stdout + done.stderr):
        if name := re.match(r"rule (\w+):", block):
            wildcards = re.search(r"wildcards: (.*)", block)
            values = (word.partition("=")[2] for word in wildcards[1].split(", ")) if wildcards else ()
            jobs.setdefault(name[1], set()).add(tuple(values))
    return jobs


def stale_jobs(folder):
    """The cells that would be trained, and the names of the other rules that would do something."""
    jobs = stale(folder)
    return jobs.pop("train", set()), set(jobs)


def test_the_smoke_grid_makes_every_run_table_figure_and_the_report(finished):
    results = finished / "results" / "smoke"
    for task, algorithm, seed in SMOKE:
        folder = results / "runs" / task / algorithm / seed
        record = json.loads((folder / "run.json").read_text())
        assert record["status"] == "done"
        assert record["cell"] == {"grid": "smoke", "algorithm": algorithm, "task": task, "seed": int(seed)}
        assert (record["tuned"] is None) == (algorithm == "ppo_published")
        assert len(record["evaluation"]["sampled"]["returns"]) == 20
        assert record["steps_taken"] >= record["steps"] == 16_000
        rows = list(csv.DictReader((folder / "episodes.csv").open()))
        assert len(rows) == record["episodes"]
        assert [c["fraction"] for c in record["checkpoints"]] == [0, 1]
        with np.load(folder / record["checkpoints"][1]["file"], allow_pickle=False) as arrays:
            assert {"policy/network.0.weight", "observation_statistics/mean"} <= set(arrays)
            assert ("value_function/network.0.weight" in arrays) == (algorithm != "reinforce")
    for probe in PROBES | ESTIMATED:
        folder = results.joinpath("probes", *probe)
        assert {path.name for path in folder.iterdir()} == {"probe.json", "grams.npz"}
        record = json.loads((folder / "probe.json").read_text())
        assert (record["probe"]["source"], record["exact"]) == (probe[1], probe in EXACT | ESTIMATED)
        assert record["probe"]["fraction"] == int(probe[3])
    for study in STUDIES:
        folder = results.joinpath("tuning", *study)
        record = json.loads((folder / "study.json").read_text())
        assert (record["algorithm"], record["group"]) == study
        assert len(list(csv.DictReader((folder / "trials.csv").open()))) == record["trials"] == 2
        best = json.loads((folder / "best.json").read_text())
        for task, seed in (("CartPole-v1", "0"), ("InvertedPendulum-v5", "1")):
            trained = json.loads(results.joinpath("runs", task, study[0], seed, "run.json").read_text())
            assert trained["settings"] == trained["settings"] | best["settings"]
            assert trained["tuned"] == {key: best[key] for key in ("trial", "score", "settings")}
    listed = json.loads((results / "grid.json").read_text())["probes"]
    assert {tuple(p["directory"].split("/")[1:]) for p in listed} == PROBES | ESTIMATED
    for page in ("index.html", "report.md", "summary.json"):
        text = (results / "report" / page).read_text()
        for title in ("REINFORCE + baseline", "Actor-critic", "A2C", "PPO"):
            assert title in text
    for figure in ("learning_curves", "final_scores", "seed_spread", "sample_efficiency", "diagnostics", "speed"):
        assert (results / "figures" / f"{figure}.svg").stat().st_size > 5_000


def test_nothing_is_stale_after_a_run(finished):
    assert stale(finished) == {}


def test_what_was_made_is_whole(finished):
    done = run(finished, "analysis.verify", "results/smoke")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "24 of 24; digests of 120 files compared" in done.stdout
    assert "no other files" in done.stdout


def test_snakemakes_own_report_is_made(finished, tmp_path):
    page = tmp_path / "report.zip"
    done = snakemake(finished, "--report", str(page))
    assert done.returncode == 0, done.stdout + done.stderr
    assert page.stat().st_size > 50_000


@pytest.mark.parametrize("algorithm", ["ppo", "a2c"])
def test_editing_an_algorithm_tunes_and_reruns_its_cells_alone_and_every_probe(algorithm, project):
    """Of which one has a variant that is the probes' source, and the other is not; a probe measures both."""
    append(project / "algorithms" / f"{algorithm}.py", "\n# An edit.\n")
    jobs = stale(project)
    assert jobs["train"] == {cell for cell in SMOKE if cell[1].partition("_published")[0] == algorithm}
    assert jobs["tune"] == {(algorithm, "all")}
    assert jobs["probe"] == PROBES
    assert set(jobs) == ANALYSED | {"train", "tune", "probe"}


@pytest.mark.parametrize("module", ["tune", "search"])
def test_editing_the_tuner_tunes_again(module, project):
    append(project / "experiments" / f"{module}.py", "\n# An edit.\n")
    jobs = stale(project)
    assert jobs["tune"] == STUDIES
    assert jobs["train"] == {cell for cell in SMOKE if cell[1] != "ppo_published"}


def test_more_trials_go_on_with_the_study_and_its_tuned_cells_alone_may_change(project):
    grid = project / "experiments" / "grids" / "smoke.yaml"
    edit(grid, "trials: 2\n", "trials: 3\n")
    jobs = stale(project)
    assert jobs["tune"] == STUDIES
    assert jobs["train"] == {cell for cell in SMOKE if cell[1] != "ppo_published"}
    study = project.joinpath("results", "smoke", "tuning", "reinforce", "all")
    two = (study / "trials.csv").read_text()
    done = snakemake(project, str((study / "best.json").relative_to(project)))
    assert done.returncode == 0, done.stdout + done.stderr
    three = (study / "trials.csv").read_text()
    assert three.startswith(two)  # seconds included: they are not trained again
    assert len(three.splitlines()) == 4


def test_another_search_space_is_refused_with_a_sentence_and_the_study_is_kept(project):
    edit(project / "experiments" / "grids" / "smoke.yaml", "choices: [2, 4, 8]", "choices: [2, 4]")
    assert stale(project)["tune"] == {("reinforce", "all")}
    study = project.joinpath("results", "smoke", "tuning", "reinforce", "all")
    kept = {path.name: path.read_bytes() for path in study.iterdir() if path.is_file()}
    assert {"journal.log", "best.json", "study.json", "trials.csv", "parts.csv"} <= set(kept)
    done = snakemake(project)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "space.num_envs.choices [2, 4, 8] where the grid has [2, 4]. To tune anew, move" in said
    assert "Traceback" not in said
    assert {path.name: path.read_bytes() for path in study.iterdir() if path.is_file()} == kept
    study.rename(project / "old")
    assert snakemake(project, "--until", "train").returncode == 0
    assert json.loads((study / "study.json").read_text())["space"]["num_envs"] == {"choices": [2, 4]}


@pytest.mark.parametrize(
    ("module", "probes"),
    [
        *((module, PROBES) for module in ("gradients", "probe", "exact")),
        *((f"estimation/{module}", ESTIMATED) for module in ("measuring", "estimators/pathwise")),
        ("estimation/problems/step", {probe for probe in ESTIMATED if probe[0] == "step"}),
    ],
)
def test_editing_the_laboratory_measures_again_and_trains_nothing(module, probes, project):
    append(project / "experiments" / f"{module}.py", "\n# An edit.\n")
    jobs = stale(project)
    assert jobs["probe"] == probes
    assert set(jobs) == ANALYSED | {"probe"}


def test_a_removed_probe_is_the_only_one_done_again(project):
    probe = ("CartPole-v1", "ppo_published", "0", "1")
    shutil.rmtree(project.joinpath("results", "smoke", "probes", *probe))
    jobs = stale(project)
    assert jobs["probe"] == {probe}
    assert set(jobs) == ANALYSED | {"probe"}
    assert snakemake(project).returncode == 0
    assert project.joinpath("results", "smoke", "probes", *probe, "grams.npz").is_file()
    assert stale(project) == {}


def test_changing_the_probes_of_a_grid_retrains_nothing(project):
    grid = project / "experiments" / "grids" / "smoke.yaml"
    changed = ANALYSED | {"probe"}
    edit(grid, "exact: {batch_size: 8}", "exact: {batch_size: 9}")
    jobs = stale(project)
    assert (jobs["probe"], set(jobs)) == (EXACT, changed)
    edit(grid, "exact: {batch_size: 9}", "exact: {batch_size: 8}")
    assert stale(project) == {}
    edit(grid, "seeds: [0]", "seeds: [0, 1]")
    of_seed_1 = {(task, source, "1", fraction) for task, source, _, fraction in PROBES}
    jobs = stale(project)
    assert (jobs["probe"], set(jobs)) == (of_seed_1, changed | {"manifest"})
    edit(grid, "batches: 32", "batches: 33")
    jobs = stale(project)
    assert (jobs["probe"], set(jobs)) == (PROBES | of_seed_1, changed | {"manifest"})


def test_training_the_source_again_measures_its_probes_again(project):
    shutil.rmtree(project / "results" / "smoke" / "runs" / "CartPole-v1" / "ppo_published" / "0")
    jobs = stale(project)
    assert jobs["train"] == {("CartPole-v1", "ppo_published", "0")}
    assert jobs["probe"] == PROBES - EXACT
    assert set(jobs) == ANALYSED | {"train", "probe"}


def test_editing_the_core_reruns_every_cell(project):
    append(project / "algorithms" / "core" / "estimators.py", "\n# An edit.\n")
    jobs = stale(project)
    assert (jobs["train"], jobs["probe"], jobs["tune"]) == (SMOKE, PROBES, STUDIES)


def test_a_new_file_in_the_core_reruns_nothing_and_what_only_one_algorithm_imports_reruns_its_cells_alone(project):
    """Also where the import stands in a function."""
    core = project / "algorithms" / "core"
    (core / "replay_buffer.py").write_text('"""For somebody else."""\n')
    assert stale_jobs(project) == (set(), set())
    lazily = "\n\ndef lazily():\n    import algorithms.core.replay_buffer\n"
    append(project / "algorithms" / "a2c.py", lazily)
    assert stale_jobs(project)[0] == {cell for cell in SMOKE if cell[1] == "a2c"}


def test_a_syntax_error_in_an_algorithm_that_the_grid_does_not_have_is_nothing_to_it(project):
    (project / "algorithms" / "half_written.py").write_text("class HalfWritten(")
    assert stale_jobs(project) == (set(), set())


HOOKS = {
    "adaptive": """
    def after_update(self, record):
        return replace(self, entropy_coefficient=0.5 * self.entropy_coefficient)
""",
    "penalised": """
    def regularizer(self, distribution, batch):
        return -0.01 * distribution.entropy().mean()
""",
}


@pytest.mark.parametrize("name", HOOKS)
def test_an_algorithm_with_a_hook_makes_its_cells_and_the_analysis_stale_and_nothing_else(name, project):
    """And the probes, which measure every algorithm."""
    code = f"""\
from dataclasses import dataclass, replace
from typing import ClassVar

from algorithms.ppo import PPO


@dataclass(frozen=True)
class Hooked(PPO):
    \"\"\"PPO with a hook.\"\"\"

    title: ClassVar[str] = "{name.capitalize()}"
{HOOKS[name]}"""
    (project / "algorithms" / f"{name}.py").write_text(code)
    edit(project / "experiments" / "grids" / "smoke.yaml", "\nalgorithms:\n", f"\nalgorithms:\n  {name}:\n")
    cells, rules = stale_jobs(project)
    assert cells == {(task, name, seed) for task, _, seed in SMOKE}
    assert rules == ANALYSED | {"manifest", "probe"}


def test_another_version_of_a_library_reruns_what_depends_on_it(project):
    versions = "return tuple(sorted(files)), versions"
    edit(project / "experiments" / "determinants.py", versions, versions + ' | {"numpy": "0"}')
    assert stale_jobs(project)[0] == SMOKE
    assert stale(project)["probe"] == PROBES | ESTIMATED
    assert stale(project)["tune"] == STUDIES


def test_every_table_and_every_figure_is_an_output_of_its_rule(finished):
    results = finished / "results" / "smoke"
    done = snakemake(finished, "--summary")
    assert done.returncode == 0, done.stdout + done.stderr
    known = set(re.findall(r"^results/smoke/(\S+)\t", done.stdout, re.MULTILINE))
    made = {
        str(p.relative_to(results))
        for folder in ("tables", "figures", "report")
        for p in (results / folder).glob("*.*")
    }
    assert "tables/ledger_jobs.csv" in made
    assert made <= known


def test_a_removed_table_is_made_again(project):
    """Also one that no figure is made from, and the resolved grid."""
    for name, rule in (
        ("grid.json", "manifest"),
        ("tables/scores.csv", "tables"),
        ("tables/ledger_jobs.csv", "tables"),
    ):
        path = project / "results" / "smoke" / name
        aside = path.rename(project / path.name)
        assert stale_jobs(project)[1] >= {rule}
        aside.rename(path)
    content = path.read_bytes()
    path.unlink()
    assert snakemake(project, "--until", "tables").returncode == 0
    assert path.read_bytes() == content


@pytest.mark.parametrize("stage", ["tables", "figures", "report"])
def test_an_edit_of_any_file_that_a_stage_of_the_analysis_opens_makes_it_again(stage, project, tmp_path):
    """Without the check that every section keeps its word, which imports all of them and makes nothing."""
    without = "from analysis import sections; sections.check = lambda: None"
    words = ("--results", "results/smoke")
    opened = files_opened(project, tmp_path, f"analysis.{stage}", *words, prelude=without)
    assert {f"analysis/{stage}.py", "analysis/sections/scores/__init__.py", "experiments/schema.py"} <= opened
    assert opened - set(stage_files(stage)) - SAY_NAMES == set()


def test_editing_a_template_a_caption_or_data_remakes_what_they_are_in(project):
    sections = project / "analysis" / "sections"
    append(sections / "scores" / "page.html.j2", "\n")
    assert stale_jobs(project) == (set(), {"report", "reproduce"})
    append(sections / "published" / "published_settings.yaml", "\n")
    assert stale_jobs(project) == (set(), ANALYSED)


def test_editing_how_results_are_written_retrains_nothing(project):
    for module in ("record", "schema", "progress", "grid"):
        append(project / "experiments" / f"{module}.py", "\n# An edit.\n")
    assert stale_jobs(project) == (set(), ANALYSED)  # which the names of files and columns are known to


def test_the_benchmark_is_run_when_asked_for_and_never_else(project):
    assert stale(project) == {}
    for _ in range(2):  # also when its files are there
        done = snakemake(project, "speed", "--dry-run")
        assert "rule speed:" in done.stdout + done.stderr
        write_benchmark(project / "results" / "smoke", {"CartPole-v1": {"gymnasium": [100.0]}})
    assert set(stale(project)) == ANALYSED


def test_touching_a_file_reruns_nothing(project):
    (project / "algorithms" / "ppo.py").touch()
    (project / "experiments" / "grids" / "smoke.yaml").touch()
    assert stale(project) == {}


def test_adding_a_seed_runs_the_new_cells_alone(project):
    edit(project / "experiments" / "grids" / "smoke.yaml", "seeds: [0, 1]", "seeds: [0, 1, 2]")
    jobs = stale(project)
    assert jobs["train"] == {(task, algorithm, "2") for task, algorithm, seed in SMOKE}
    assert set(jobs) == ANALYSED | {"train", "manifest"}


def test_changing_an_algorithms_setting_for_a_task_reruns_those_cells_alone(project):
    edit(
        project / "experiments" / "grids" / "smoke.yaml",
        "tuned: false",
        "tasks: {CartPole-v1: {gamma: 0.9}}, tuned: false",
    )
    jobs = stale(project)
    assert jobs["train"] == {("CartPole-v1", "ppo_published", seed) for seed in ("0", "1")}
    assert jobs["probe"] == PROBES - EXACT  # the exact problems are other tasks


def test_changing_a_threshold_retrains_nothing(project):
    edit(project / "experiments" / "grids" / "smoke.yaml", "threshold: 150", "threshold: 100")
    assert set(stale(project)) == ANALYSED | {"manifest"}


def test_editing_a_figure_retrains_nothing_and_remakes_no_table(project):
    append(project / "analysis" / "figures.py", "\n# An edit.\n")
    assert set(stale(project)) == {"figures", "report", "reproduce"}


def test_a_removed_run_is_the_only_one_done_again(project):
    shutil.rmtree(project / "results" / "smoke" / "runs" / "CartPole-v1" / "ppo" / "1")
    assert stale(project)["train"] == {("CartPole-v1", "ppo", "1")}


def test_the_readmes_new_algorithm_needs_its_file_and_a_grid_entry_and_runs_alone(project):
    """The worked example of the README, as it stands there."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    name, code = re.search(r"`algorithms/(\w+)\.py`:\n\n```python\n(.*?)```", readme, re.DOTALL).groups()
    entry = re.search(rf"```yaml\n(  {name}:.*?)```", readme, re.DOTALL)[1]
    (project / "algorithms" / f"{name}.py").write_text(code, encoding="utf-8")
    edit(project / "experiments" / "grids" / "smoke.yaml", "\nalgorithms:\n", f"\nalgorithms:\n{entry}")
    new = {(task, name, seed) for task, _, seed in SMOKE}
    assert stale(project)["train"] == new
    done = snakemake(project)
    assert done.returncode == 0, done.stdout + done.stderr
    scores = list(csv.DictReader((project / "results" / "smoke" / "tables" / "scores.csv").open()))
    assert {(s["task"], s["algorithm"], s["seed"]) for s in scores} == SMOKE | new
    title = re.search(r'title: ClassVar\[str\] = "(.*)"', code)[1]
    assert title in (project / "results" / "smoke" / "report" / "index.html").read_text()
    for probe in PROBES:  # and stands in the gradient laboratory, without a further line
        record = json.loads(project.joinpath("results", "smoke", "probes", *probe, "probe.json").read_text())
        assert name in {estimator["algorithm"] for estimator in record["estimators"]}


def test_a_hand_edited_run_is_refused_with_its_name_and_nothing_is_lost(project):
    record = project / "results" / "smoke" / "runs" / "CartPole-v1" / "a2c" / "0" / "run.json"
    record.write_text(record.read_text()[:100])
    before = sorted((project / "results").rglob("*"))
    done = run(project, "analysis.tables", "--results", "results/smoke")
    assert done.returncode == 2
    assert "runs/CartPole-v1/a2c/0/run.json" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted((project / "results").rglob("*")) == before


TINY = """
description: Six cells, a second each.
seeds: [0, 1, 2]
checkpoints: [1]
tasks:
  CartPole-v1: {steps: 600, random_score: 20, reference_score: 475, reference_source: registered reward threshold}
algorithms:
  reinforce:
  broken:
"""

BROKEN = '''
"""An algorithm with a bug."""
from dataclasses import dataclass
from algorithms.core.policy_gradient import PolicyGradient

@dataclass(frozen=True)
class Broken(PolicyGradient):
    """It raises."""
    title = "Broken"
    equation = "Ψ_t = ?"
    def advantages(self, rollout):
        raise RuntimeError("a bug in an algorithm")
'''


def test_a_cell_that_fails_leaves_nothing_that_looks_finished_and_does_not_stop_the_others(fresh):
    (fresh / "tiny.yaml").write_text(TINY)
    (fresh / "algorithms" / "broken.py").write_text(BROKEN)
    done = snakemake(fresh, "--cores", "1", grid="tiny.yaml")
    assert done.returncode != 0
    assert "partial_report --config grid=tiny.yaml" in done.stdout + done.stderr
    runs = fresh / "results" / "tiny" / "runs" / "CartPole-v1"
    for seed in ("0", "1", "2"):
        assert (runs / "reinforce" / seed / "run.json").is_file()
        assert "a bug in an algorithm" in (fresh / f"results/tiny/logs/runs/CartPole-v1/broken/{seed}.log").read_text()
    assert not list((runs / "broken").rglob("*.json"))
    assert snakemake(fresh, "partial_report", grid="tiny.yaml").returncode == 0
    ledger = list(csv.DictReader((fresh / "results" / "tiny" / "tables" / "ledger.csv").open()))
    assert {(row["algorithm"], row["state"]) for row in ledger} == {("reinforce", "done"), ("broken", "failed")}
    for page in ("index.html", "report.md"):
        assert "3 failed" in (fresh / "results" / "tiny" / "report" / page).read_text()
    summary = json.loads((fresh / "results" / "tiny" / "report" / "summary.json").read_text())
    assert summary["completeness"]["failed"] == 3


def test_a_mistake_in_the_grid_stops_snakemake_with_one_sentence(fresh):
    (fresh / "tiny.yaml").write_text(TINY)
    (fresh / "default.yaml").write_text(TINY)
    mistakes = {
        "smok": "did you mean 'smoke'",
        "tiny.yaml": "algorithms/broken.py",
        "default.yaml": "belongs to the grid that is shipped",
        "smoke gird=paper": "not gird=",
    }
    for grid, sentence in mistakes.items():
        done = snakemake(fresh, grid=grid)
        assert done.returncode != 0
        assert sentence in done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        assert not (fresh / "results").exists()


def test_an_algorithm_that_cannot_be_taken_as_meant_is_refused_with_its_file_and_reason(fresh):
    files = {
        "empty": ("", "must define exactly one Algorithm; it defines 0"),
        "unparsable": ("def f(:", "cannot be imported: SyntaxError"),
        "undecorated": (BROKEN.replace("@dataclass(frozen=True)", ""), "needs the decorator @dataclass(frozen=True)"),
        "untyped": (BROKEN.replace("    def", "    gamma = 0.9\n    def"), "gamma of Broken needs its type"),
        "untitled": (BROKEN.replace("title =", "name ="), "needs a class attribute 'title'"),
    }
    for name, (code, reason) in files.items():
        (fresh / "algorithms" / f"{name}.py").write_text(code)
        (fresh / "tiny.yaml").write_text(TINY.replace("broken", name))
        done = run(fresh, "experiments.grid", "--grid", "tiny.yaml")
        assert done.returncode == 2
        assert f"algorithms/{name}.py" in done.stderr
        assert reason in done.stderr
        assert "Traceback" not in done.stderr


def test_lint_has_no_remark_but_the_one_that_the_snakefile_answers(fresh):
    done = run(fresh, "snakemake", "--lint")
    remarks = re.findall(r"^    \* (.*)", done.stdout + done.stderr, re.MULTILINE)
    assert set(remarks) == {"Specify a conda environment or container for each rule.:"}


@pytest.mark.parametrize("profile", ["default", "slurm"])
def test_the_workflow_profile_is_valid(profile, fresh):
    words = ("--dry-run", "--workflow-profile", f"experiments/profiles/{profile}")
    assert snakemake(fresh, *words).returncode == 0


def test_random_scores_are_measured_ready_for_a_grid():
    done = run(ROOT, "experiments.random_score", "CartPole-v1", "--max-episode-steps", "5")
    assert done.returncode == 0
    assert done.stdout == "CartPole-v1:\n  random_score: 5  # 100 episodes, standard error 0\n"


def one_cell(output, *words):
    cell = ("--grid", "smoke", "--algorithm", "ppo", "--task", "CartPole-v1", "--seed", "3")
    return ["experiments.run", *cell, "--output", str(output), *words]


def test_the_same_cell_writes_identical_files_also_beside_another_run(tmp_path):
    assert run(ROOT, *one_cell(tmp_path / "alone", "--steps", "4000")).returncode == 0
    other = subprocess.Popen([sys.executable, "-m", *one_cell(tmp_path / "other", "--set", "gamma=0.9")], cwd=ROOT)
    assert run(ROOT, *one_cell(tmp_path / "beside", "--steps", "4000")).returncode == 0
    assert other.wait() == 0
    for file in ("episodes.csv", "updates.csv"):
        first = (tmp_path / "alone" / file).read_bytes()
        assert len(first) > 200
        assert (tmp_path / "beside" / file).read_bytes() == first
    evaluations = [json.loads((tmp_path / n / "run.json").read_text())["evaluation"] for n in ("alone", "beside")]
    assert evaluations[0] == evaluations[1]


def test_a_killed_cell_leaves_nothing_and_the_next_attempt_is_whole(tmp_path):
    output = tmp_path / "runs" / "0"
    words = one_cell(output, "--steps", "200000")
    process = subprocess.Popen([sys.executable, "-m", *words], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert any("20,480 of" in line for line in process.stdout)  # where others work beside it, lines come before
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not output.exists()
    (output.parent / ".0.unfinished" / "checkpoints").mkdir(parents=True)  # as if it had been killed while writing
    assert run(ROOT, *one_cell(output, "--steps", "600")).returncode == 0
    assert {p.name for p in output.parent.iterdir()} == {"0"}
    assert json.loads((output / "run.json").read_text())["steps_taken"] == 600


def test_a_run_is_not_written_over_anything_but_a_run(tmp_path):
    for folder, reason in (("thesis", "'chapter.tex', which is no part of a run"), ("file", "is a file")):
        (tmp_path / "thesis").mkdir(exist_ok=True)
        (tmp_path / "thesis" / "chapter.tex").write_text("…")
        (tmp_path / "file").write_text("…")
        done = run(ROOT, *one_cell(tmp_path / folder, "--steps", "600"))
        assert done.returncode == 2
        assert reason in done.stderr
        assert "Traceback" not in done.stderr
    assert (tmp_path / "thesis" / "chapter.tex").is_file()


def test_a_section_that_fails_does_not_take_the_page_along(project):
    """Snakemake ends with status 1, and the page has every other section and says what is missing and why."""
    append(
        project / "analysis" / "sections" / "tuning" / "tables.py", "\n\ndef shrinkage(studies):\n    return 1 / 0\n"
    )
    done = snakemake(project)
    said = "analysis/sections/tuning/tables.py: shrinkage failed with ZeroDivisionError: division by zero"
    assert done.returncode == 1
    assert said in done.stdout + done.stderr
    results = project / "results" / "smoke"
    page = (results / "report" / "index.html").read_text(encoding="utf-8")
    assert said in page
    assert '<section id="ranking">' in page
    assert (results / "tables" / "summary.csv").is_file()
    assert not (results / "tables" / "shrinkage.csv").exists()


def test_a_diverged_run_is_recorded_as_such(tmp_path):
    done = run(ROOT, *one_cell(tmp_path / "run", "--set", "value_learning_rate=1e30"))
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["status"] == "diverged"
    assert 0 < record["diverged_at"] <= 16_000
    assert record["diverged_because"].startswith("not finite")
    assert record["evaluation"] is None
    assert "diverged at step" in done.stdout


def append(path, text):
    """Add text at a file's end."""
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def edit(path, old, new):
    """Replace text in a file, which must be there once; a moment later than anything that was made before."""
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    time.sleep(0.01)
    path.write_text(text.replace(old, new), encoding="utf-8")
