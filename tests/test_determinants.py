"""What determines a cell, a study or a probe: nothing that it runs is missing, and nothing else is in it."""

import copy
import functools
import json
import os
from pathlib import Path
from types import SimpleNamespace

import gymnasium
import pytest
import yaml
from gymnasium.envs.classic_control import CartPoleEnv

from analysis.reading import sources as results
from analysis.reading.checks import ResultsError
from analysis.reading.studies import check_asked
from analysis.verify import of_different_code
from experiments import determinants, schema, sources
from experiments.checks import GridError
from experiments.determinants import EXEMPT, Code, Determinants, what_determines
from experiments.grid import load_grid
from experiments.jobs import Jobs
from experiments.search import DIMENSION_KEYS
from experiments.sources import ROOT, distribution_with, import_closure, imports_of, task_code
from tests.pipeline_fixtures import SAY_NAMES, files_opened

ALGORITHMS = ("reinforce", "reinforce_baseline", "actor_critic", "a2c", "ppo")
TABULAR = "experiments.exact:TabularMDP-v0"

# ------------------------------------------------------------------------------------ the files that a module imports


def write(folder, **files):
    """Python files in a folder, by their names, in which `__` stands for a folder's end."""
    for name, text in files.items():
        path = folder.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def closure(folder, file, **options):
    """The names of the files of a closure."""
    return {Path(path).relative_to(folder).as_posix() for path in import_closure(file, (folder,), **options)}


def test_a_closure_holds_what_is_imported_at_the_top_in_functions_and_by_others(tmp_path):
    write(
        tmp_path,
        main="import os, numpy\nfrom package import direct\ndef late():\n    import lazy\n",
        lazy="import deeper",
        deeper="",
        package__init="",
        package__direct="from . import beside\nfrom package.inner.deep import x",
        package__beside="",
        package__inner__deep="x = 1",
        package__unused="import unheard_of",
        unused="",
    )
    (tmp_path / "package" / "init.py").rename(tmp_path / "package" / "__init__.py")
    assert closure(tmp_path, "main.py") == {
        *("main.py", "lazy.py", "deeper.py", "package/__init__.py"),
        *("package/direct.py", "package/beside.py", "package/inner/deep.py"),  # inner has no __init__.py
    }


def test_a_file_of_another_kind_with_a_modules_name_belongs_to_it(tmp_path):
    write(tmp_path, main="import kernel", kernel="")
    (tmp_path / "kernel.cpp").touch()
    (tmp_path / "other.cpp").touch()
    assert closure(tmp_path, "main.py") == {"main.py", "kernel.py", "kernel.cpp"}


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_the_machine_code_of_updates_belongs_to_the_algorithms_that_run_it(algorithm):
    files = set(import_closure(f"algorithms/{algorithm}.py"))
    assert {"algorithms/core/fused.cpp", "algorithms/core/fused.hpp"} <= files
    assert ("algorithms/core/fused_off_policy.cpp" in files) == (algorithm == "sac")


def test_a_file_with_a_syntax_error_is_in_the_closure_of_those_that_import_it_and_of_no_other(tmp_path):
    write(tmp_path, main="import broken, whole", broken="def (", whole="import os", other="import whole")
    assert closure(tmp_path, "main.py") == {"main.py", "broken.py", "whole.py"}
    assert closure(tmp_path, "broken.py") == {"broken.py"}
    assert closure(tmp_path, "other.py") == {"other.py", "whole.py"}


def test_a_folder_that_is_called_like_an_installed_package_does_no_harm(tmp_path):
    write(tmp_path, main="import numpy")
    (tmp_path / "numpy").mkdir()  # as programs leave them that log into a folder of their own name
    assert closure(tmp_path, "main.py") == {"main.py"}


def test_what_a_closure_is_without_is_not_looked_into(tmp_path):
    write(tmp_path, main="import near, left", near="", left="import behind", behind="")
    assert closure(tmp_path, "main.py", without=frozenset({"left"})) == {"main.py", "near.py"}


def test_packages_are_what_is_imported_from_elsewhere(tmp_path):
    write(tmp_path, main="import os, numpy.random\nimport near", near="def late():\n    from yaml import safe_load")
    assert imports_of(tmp_path / "main.py", (tmp_path,)).packages == ("numpy", "yaml")
    assert [distribution_with(package) for package in ("numpy", "yaml", "unheard_of")] == ["numpy", "PyYAML", None]


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*nowhere\.py"):
        import_closure("nowhere.py", (tmp_path,))


def test_no_two_modules_of_experiments_import_each_other():
    modules = {f"experiments/{path.name}" for path in ROOT.glob("experiments/*.py") if path.stem != "__init__"}
    of = {module: set(import_closure(module)) - {module} for module in modules}
    assert {(a, b) for a in modules for b in of[a] & modules if a in of[b]} == set()


# ------------------------------------------------------------------------------------ tasks


def test_the_code_of_a_registered_task_is_the_version_of_its_distribution():
    gymnasium_version = {"gymnasium": gymnasium.__version__}
    assert task_code("CartPole-v1").record() == gymnasium_version
    assert task_code("HalfCheetah-v5").files == ()


def test_the_code_of_a_users_task_is_the_files_of_its_module(tmp_path, monkeypatch):
    """Also of a module that a user has installed so that it stays where it is (pip install -e)."""
    write(tmp_path, my_package__dynamics="GRAVITY = 9.8", my_package__env=MY_TASK, my_package__unused="")
    monkeypatch.syspath_prepend(tmp_path)
    gymnasium.make("my_package.env:Mine-v0").close()
    code = task_code("my_package.env:Mine-v0")
    assert [Path(file).name for file in code.files] == ["dynamics.py", "env.py"]
    before = code.record()
    assert before.keys() == {"gymnasium", "my_package.env"}
    write(tmp_path, my_package__dynamics="GRAVITY = 3.7")
    assert code.record() != before


MY_TASK = """
import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv
from .dynamics import GRAVITY

class Mine(CartPoleEnv):
    pass

gymnasium.register("Mine-v0", Mine, max_episode_steps=9)
"""


def test_the_exact_problems_are_tasks_of_this_project():
    code = task_code(TABULAR)
    assert "experiments/exact.py" in code.files
    assert "experiments/gradients.py" not in code.files
    assert code.record().keys() == {"gymnasium", "experiments.exact"}


def test_an_entry_point_may_be_any_callable():
    assert sources.module_of("a.b:C") == "a.b"
    assert sources.module_of(CartPoleEnv) == "gymnasium.envs.classic_control.cartpole"
    assert sources.module_of(functools.partial(CartPoleEnv, sutton_barto_reward=True)) == CartPoleEnv.__module__


# ------------------------------------------------------------------------------------ files


def grid_of(tmp_path, data):
    """A grid of a test's own."""
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    return load_grid(str(path))


TASK = {"steps": 600, "random_score": 20, "reference_score": 475, "reference_source": "registered threshold"}
GRID = {
    "description": "A grid for tests.",
    "seeds": [0],
    "checkpoints": [0, 1],
    "compile": "never",
    "time_limit": "1 h",
    "claims": [],
    "probes": {
        "source": "ppo",
        "seeds": [0],
        "fractions": [1],
        "batches": 8,
        "gae_lambdas": [0, 1],
        "tasks": {"CartPole-v1": {"batch_size": 2, "fit_episodes": 4}},
        "exact": {"batch_size": 2},
    },
    "quality": {
        "sources": {"a2c": ["CartPole-v1"]},
        "seeds": [0],
        "fractions": [0],
        "pairs": [1000],
        "estimates": 2,
        "reference_pairs": 2000,
        "fit_pairs": 1000,
    },
    "estimators": {
        "problems": {"step": [{"sigma": 0.5}]},
        "only": ["score_function"],
        "batches": 8,
        "batch_size": 4,
        "batch_sizes": [4],
        "seed": 0,
    },
    "tuning": {
        "seeds": [100, 101],
        "fresh_seeds": [200],
        "trials": 2,
        "startup_trials": 1,
        "sampler_seed": 0,
        "spread_penalty": 0.0,
        "pruner": {"name": "NopPruner"},
        "workers": 1,
        "groups": {"all": {"tasks": {"CartPole-v1": 300}, "serves": ["CartPole-v1"]}},
    },
    "tasks": {
        "CartPole-v1": TASK
        | {"normalize_observations": False, "normalize_rewards": False}
        | {"action_bounds": "clip", "max_episode_steps": None, "threshold": 100, "time_limit": "1 h"}
        | {"solved": 450, "evaluations": 50}
    },
    "algorithms": {
        **dict.fromkeys(ALGORITHMS[:4]),
        "ppo": {
            "module": "ppo",
            "title": "PPO of mine",
            "settings": {"clip": 0.1},
            "tasks": {"CartPole-v1": {"clip": 0.3}},
            "tuned": False,
        },
        "ppo_tuned": {"module": "ppo", "search_space": {"clip": {"choices": [0.1, 0.2]}}},
    },
}


@pytest.fixture
def grid(tmp_path):
    return grid_of(tmp_path, GRID)


def files_of(grid, job):
    return set(what_determines(grid, job).files)


def test_a_cells_files_are_those_of_its_algorithm_and_of_no_other(grid):
    for cell in grid.cells():
        module = grid.algorithms[cell.algorithm].module
        own = {file for file in files_of(grid, cell) if Path(file).parent.name == "algorithms"}
        assert own == {"algorithms/__init__.py", f"algorithms/{module}.py"}
        assert "algorithms/core/training.py" in files_of(grid, cell)
        of_experiments = {file for file in files_of(grid, cell) if file.startswith("experiments/")}
        assert of_experiments == {"experiments/__init__.py", "experiments/run.py"}


def test_a_studys_files_have_the_tuner_and_a_probes_the_laboratory_and_every_algorithm(grid):
    (study,) = grid.studies()
    assert {"experiments/tune.py", "experiments/search.py", "algorithms/ppo.py"} <= files_of(grid, study)
    assert not files_of(grid, study) & {"experiments/run.py", "experiments/probe.py", "algorithms/a2c.py"}
    *probes, estimators, quality = grid.probes
    for probe in probes:
        files = files_of(grid, probe)
        assert {f"experiments/{name}.py" for name in ("probe", "gradients", "exact")} <= files
        assert {f"algorithms/{name}.py" for name in ALGORITHMS} <= files
        assert not files & {"experiments/run.py", "experiments/tune.py", "experiments/quality.py"}
    files = files_of(grid, quality)
    assert {f"experiments/{name}.py" for name in ("quality", "pairs", "probe", "gradients", "metrics")} <= files
    assert "algorithms/a2c.py" in files
    assert not files & {"algorithms/ppo.py", "algorithms/actor_critic.py", "experiments/run.py", "experiments/exact.py"}
    files = files_of(grid, estimators)
    of_estimation = {f"experiments/estimation/{name}.py" for name in ("measuring", "problem", "gaussian")}
    assert {"experiments/estimate.py", *of_estimation} <= files
    assert {file for file in files if Path(file).parent.name in ("problems", "estimators", "algorithms")} == {
        *("experiments/estimation/problems/step.py", "experiments/estimation/estimators/score_function.py"),
        "algorithms/__init__.py",
    }


def exempt_files():
    """The files of the modules in EXEMPT, by the modules' names."""
    paths = {name: f"experiments/{name.replace('.', '/')}" for name in EXEMPT}
    return {
        name: f"{path}.py" if (ROOT / f"{path}.py").is_file() else f"{path}/__init__.py" for name, path in paths.items()
    }


def test_every_exempt_module_is_there_and_has_its_reason():
    for name, file in exempt_files().items():
        assert (ROOT / file).is_file()
        assert EXEMPT[name]


def test_versions_of_libraries_determine_and_the_samplers_those_of_a_study(grid):
    (study,) = grid.studies()
    always = {"torch", "numpy", "gymnasium", "mujoco"}
    for job in (*grid.cells(), *grid.probes):
        further = {"scipy"} if getattr(job, "measures", None) == schema.ESTIMATORS else set()
        assert what_determines(grid, job).versions.keys() == always | further
    assert what_determines(grid, study).versions.keys() == {"torch", "numpy", "gymnasium", "mujoco", "optuna"}
    about = Determinants((), {"seed": 0}, {"numpy": "1"})
    assert about.parameter != Determinants((), {"seed": 0}, {"numpy": "2"}).parameter
    assert about.code().name != Determinants((), {"seed": 0}, {"numpy": "2"}).code().name


def test_what_was_edited_while_a_job_was_at_work_is_named():
    about = Determinants(("algorithms/ppo.py", "algorithms/a2c.py"), {}, {})
    code = about.code()
    about.check_code(code)
    earlier = Code(dict(code.contents) | {"algorithms/a2c.py": "other"}, {})
    with pytest.raises(GridError, match=r"^algorithms/a2c\.py: edited while this job was running"):
        about.check_code(earlier)


# ------------------------------------------------------------------------------------ every key of a grid


def changed(path, value):
    """The grid with another value at a path of keys, such as "tuning trials"."""
    data = copy.deepcopy(GRID)
    *parents, key = path.split()
    place = data
    for parent in parents:
        place = place[parent]
    place[key] = value
    return data


CELLS = {f"cell {name}" for name in GRID["algorithms"]}
STUDY = {"study ppo_tuned"}
PROBE, EXACT, QUALITY = {"probe CartPole-v1"}, {"probe exact"}, {"quality CartPole-v1"}
ESTIMATORS = {"estimators step"}
EVERYTHING = CELLS | STUDY | PROBE | EXACT | QUALITY | ESTIMATORS
OF_THE_TASK = CELLS | STUDY | PROBE | QUALITY
LATE = {"wrapper": "experiments.tasks.changes:Changed", "delay": 1}
KEYS = {  # key: another value, and what it makes stale of what is there already
    "description": ("Another.", set()),
    "steps": (700, set()),  # the task has its own
    "seeds": ([0, 1], set()),
    "checkpoints": ([0, 0.5, 1], CELLS),
    "compile": ("auto", CELLS | STUDY),
    "evaluate_every": (100, CELLS),
    "evaluate_episodes": (3, set()),  # of evaluations that there are not: see test_resuming
    "time_limit": ("2 h", set()),
    "perturbations": ({"delay": [1]}, CELLS),
    "videos": (True, set()),
    "claims": (None, None),  # takes a file: see test_claims
    "published_table": (
        {"title": "Table 1", "source": "a paper", "scores": {"ppo": 1.0}, "last_episodes": 10, "seeds": 1},
        set(),
    ),
    "probes": (None, PROBE | EXACT),
    "probes source": ("a2c", PROBE),
    "probes seeds": (None, None),  # takes seeds of the grid, which has one
    "probes fractions": ([0], PROBE),
    "probes batches": (9, PROBE | EXACT),
    "probes gae_lambdas": ([0, 0.5], PROBE | EXACT),
    "probes tasks": ({}, PROBE),
    "probes tasks CartPole-v1 batch_size": (3, PROBE),
    "probes tasks CartPole-v1 fit_episodes": (5, PROBE),
    "probes exact": (None, EXACT),
    "probes exact batch_size": (3, EXACT),
    "estimators": (None, ESTIMATORS),
    "estimators problems": (["step"], ESTIMATORS),
    "estimators only": (["value_baseline"], ESTIMATORS),
    "estimators batches": (9, ESTIMATORS),
    "estimators batch_size": (8, ESTIMATORS),
    "estimators batch_sizes": ([2], ESTIMATORS),
    "estimators seed": (1, ESTIMATORS),
    "quality": (None, QUALITY),
    "quality sources": ({"a2c": []}, None),  # takes tasks, of which there is one
    "quality seeds": (None, None),  # as the probes' seeds
    "quality fractions": ([1], QUALITY),
    "quality pairs": ([2000], QUALITY),
    "quality estimates": (3, QUALITY),
    "quality reference_pairs": (3000, QUALITY),
    "quality fit_pairs": (1001, QUALITY),
    "tuning": (None, STUDY | {"cell ppo_tuned"}),
    "tuning seeds": ([100, 102], STUDY),
    "tuning fresh_seeds": ([201], STUDY),
    "tuning trials": (3, STUDY),
    "tuning startup_trials": (2, STUDY),
    "tuning sampler_seed": (1, STUDY),
    "tuning spread_penalty": (1.0, STUDY),
    "tuning pruner": ({"name": "MedianPruner"}, STUDY),
    "tuning workers": (2, STUDY),
    "tuning groups": ({"other": GRID["tuning"]["groups"]["all"]}, STUDY | {"cell ppo_tuned"}),
    "tuning groups all tasks": ({"CartPole-v1": 301}, STUDY),
    "tuning groups all serves": ([], STUDY | {"cell ppo_tuned"}),
    "tasks CartPole-v1 steps": (601, CELLS),
    "tasks CartPole-v1 normalize_observations": (True, OF_THE_TASK),
    "tasks CartPole-v1 normalize_rewards": (True, OF_THE_TASK),
    "tasks CartPole-v1 reward_scale": (10, OF_THE_TASK),
    "tasks CartPole-v1 action_bounds": (None, None),  # squash needs actions that CartPole does not have
    "tasks CartPole-v1 action_bins": (None, None),  # needs a Box, as joint_actions needs parts: see below
    "tasks CartPole-v1 joint_actions": (None, None),
    "tasks CartPole-v1 allow_normalised": (True, set()),
    "tasks CartPole-v1 max_episode_steps": (100, OF_THE_TASK),
    "tasks CartPole-v1 id": (None, None),  # a name that is an id has no other: see test_named_tasks
    "tasks CartPole-v1 kwargs": ({"sutton_barto_reward": True}, OF_THE_TASK),
    "tasks CartPole-v1 variants": (None, None),  # the laboratory takes no such task: see below
    "tasks CartPole-v1 wrappers": ([LATE], OF_THE_TASK),
    "tasks CartPole-v1 training_wrappers": ([LATE], OF_THE_TASK),
    "tasks CartPole-v1 perturbations": ({"noise": [0.1]}, CELLS),
    "tasks CartPole-v1 random_score": (21, STUDY),
    "tasks CartPole-v1 reference_score": (400, STUDY),
    "tasks CartPole-v1 reference_source": ("another", set()),
    "tasks CartPole-v1 threshold": (99, set()),
    "tasks CartPole-v1 solved": (400, set()),
    "tasks CartPole-v1 evaluations": (40, set()),
    "tasks CartPole-v1 time_limit": ("2 h", set()),
    "algorithms ppo module": ("a2c", None),  # has no clip; the next three: see test_others
    **dict.fromkeys(("algorithms ppo library", "algorithms ppo class", "algorithms ppo external"), (None, None)),
    "algorithms ppo title": ("Another", set()),
    "algorithms ppo settings": ({"clip": 0.1, "epochs": 3}, {"cell ppo"} | PROBE | EXACT),
    "algorithms ppo tasks": ({}, {"cell ppo"} | PROBE),  # exact problems are other tasks
    "algorithms ppo only": (["CartPole-v1"], set()),
    "algorithms ppo tuned": (None, set()),  # by default what has no space is not tuned
    "algorithms ppo_tuned search_space": ({"clip": {"choices": [0.1, 0.3]}}, STUDY),
    "algorithms a2c": ({"settings": {"gamma": 0.9}}, {"cell a2c"} | PROBE | EXACT | QUALITY),
}


def jobs_of(grid):
    """Every job that the changes are about, by name."""
    jobs = {f"cell {cell.algorithm}": cell for cell in grid.cells() if cell.seed == 0}
    jobs |= {f"study {study.algorithm}": study for study in grid.studies()}
    kinds = {"gradients": "probe", "quality": "quality", "estimators": "estimators"}
    exact = {probe for probe in grid.probes if probe.exact and probe.measures == "gradients"}
    return jobs | {f"{kinds[p.measures]} {'exact' if p in exact else p.task}": p for p in grid.probes}


@pytest.mark.parametrize("key", [key for key, (_, stale) in KEYS.items() if stale is not None])
def test_a_change_of_a_grids_key_makes_stale_what_depends_on_it_and_nothing_else(key, tmp_path, grid):
    value, expected = KEYS[key]
    other = grid_of(tmp_path, changed(key, value))
    before, after = jobs_of(grid), jobs_of(other)
    assert before.keys() == EVERYTHING

    def text(grid, job):
        about = what_determines(grid, job)
        return about.parameter, about.files

    stale = {
        name
        for name, job in before.items()
        if name not in after or text(grid, job) != text(other, after[name]) or after[name].directory != job.directory
    }
    assert stale == expected


def planned(before, after):
    """The jobs of one grid that Snakemake would run after a change to another, and "tables" where it would make those.

    A job runs where its inputs or parameters differ, and where a job runs whose results it takes.
    """
    first, second = Jobs(before, "results/mine"), Jobs(after, "results/mine")

    def asked(jobs, wildcards):
        of_cell = (jobs.task, jobs.finished_study, jobs.best_settings, jobs.parameter_of_study)
        of_probe = (jobs.probed_run, jobs.probe_options)
        further = {"task algorithm seed": of_cell, "task source seed fraction": of_probe}.get(" ".join(wildcards), ())
        return [ask(wildcards) for ask in (jobs.sources, jobs.parameter, *further)]

    names = {job.directory: name for name, job in jobs_of(before).items()}
    of_rules = {job.directory: wildcards for jobs in (first, second) for job, wildcards in all_wildcards(jobs)}
    runs = {
        directory
        for directory, wildcards in of_rules.items()
        if directory in names
        and (directory not in known(second) or asked(first, wildcards) != asked(second, wildcards))
    }
    probed = {probe.directory: [first.probed_run(w)] for probe, w in all_wildcards(first) if "fraction" in w}
    runs |= {
        directory
        for directory, (files,) in probed.items()
        if any(f"results/mine/{run}/run.json" in files for run in runs)
    }
    made = {names[directory] for directory in runs}
    return made | ({"tables"} if made or before.manifest() != after.manifest() else set())


def known(jobs):
    """The directories of a grid's jobs."""
    return jobs.cells.keys() | jobs.studies.keys() | jobs.probes.keys()


def all_wildcards(jobs):
    """Every job with the wildcards that name it."""
    rules = (["task", "algorithm", "seed"], ["algorithm", "group"], ["task", "source", "seed", "fraction"])
    for of, keys in zip((jobs.cells, jobs.studies, jobs.probes), rules, strict=True):
        for directory, job in of.items():
            yield job, dict(zip(keys, directory.split("/")[1:], strict=True))


@pytest.mark.parametrize("key", [key for key, (_, stale) in KEYS.items() if stale is not None])
def test_a_change_of_a_grids_key_plans_what_is_stale_what_takes_results_of_it_and_the_tables(key, tmp_path, grid):
    value, expected = KEYS[key]
    other = grid_of(tmp_path, changed(key, value))
    expected = expected | ({"cell ppo_tuned"} if expected & STUDY else set())
    for source, measured in (("cell ppo", PROBE), ("cell a2c", QUALITY)):  # the runs that the probes measure
        expected = expected | (measured if source in expected else set())
    # The task has its own; what has no space is not tuned; what a task is accepted with says nothing about its runs;
    # the grid has one task, on which all run.
    own = ("steps", "time_limit", "evaluate_episodes", "algorithms ppo tuned", "algorithms ppo only")
    own += ("tasks CartPole-v1 allow_normalised",)
    nothing = key in own
    assert planned(grid, other) == (set() if nothing else expected | {"tables"})


@pytest.mark.parametrize("key", [key for key, (_, stale) in KEYS.items() if stale is not None])
def test_tables_and_verify_refuse_a_study_exactly_where_another_is_planned(key, tmp_path, grid):
    value, expected = KEYS[key]
    other = grid_of(tmp_path, changed(key, value))
    (study,), now = grid.manifest()["studies"], {study["directory"]: study for study in other.manifest()["studies"]}
    if study["directory"] not in now or key == "tuning groups all serves":  # is not read; says who takes the winner
        return
    entries = [json.loads(json.dumps(entry)) for entry in (study, now[study["directory"]])]
    if expected & STUDY:
        with pytest.raises(ResultsError, match=r"study\.json: .*the grid has"):
            check_asked(*entries, Path("study.json"))
    else:
        check_asked(*entries, Path("study.json"))


RANGE = {"low": 0.1, "high": 0.4, "scale": "linear"}
DIMENSIONS = {"low": RANGE | {"low": 0.2}, "high": RANGE | {"high": 0.3}, "scale": RANGE | {"scale": "log"}}


@pytest.mark.parametrize("key", DIMENSION_KEYS)
def test_so_does_every_key_of_a_search_space(key, tmp_path):
    here = DIMENSIONS | {"choices": {"choices": [0.1, None]}}
    first, second = (
        grid_of(
            tmp_path,
            changed("algorithms ppo_tuned search_space", {"clip_values" if key == "choices" else "clip": space}),
        )
        for space in ({"choices": [None, 0.1]} if key == "choices" else RANGE, here[key])
    )
    assert planned(first, second) == STUDY | {"cell ppo_tuned", "tables"}
    entries = [json.loads(json.dumps(grid.manifest()["studies"][0])) for grid in (first, second)]
    with pytest.raises(ResultsError, match="the grid has"):
        check_asked(*entries, Path("study.json"))


def test_variants_of_a_task_make_its_cells_and_studies_stale(tmp_path):
    data = GRID | {"probes": None, "quality": None, "estimators": None}
    grid = grid_of(tmp_path, data)
    variants = [{"sutton_barto_reward": True}, {"sutton_barto_reward": False}]
    other = grid_of(tmp_path, data | {"tasks": {"CartPole-v1": GRID["tasks"]["CartPole-v1"] | {"variants": variants}}})
    for job, changed_job in zip([*grid.cells(), *grid.studies()], [*other.cells(), *other.studies()], strict=True):
        assert what_determines(grid, job).parameter != what_determines(other, changed_job).parameter


@pytest.mark.parametrize(
    ("before", "after"),
    [({}, {"action_bins": 3}), ({"action_bins": 3}, {"action_bins": 2}), ({"action_bins": 3}, {"joint_actions": True})],
)
def test_bins_and_joint_actions_of_a_task_make_its_cells_and_studies_stale(before, after, tmp_path):
    def made(keys):
        tasks = {"CartPole-v1": GRID["tasks"]["CartPole-v1"] | {"id": None}}
        reacher = {
            "id": "Reacher-v5",
            "steps": 300,
            "random_score": -43,
            "reference_score": -4,
            "reference_source": "x",
        }
        return grid_of(
            tmp_path,
            GRID | {"probes": None, "quality": None, "estimators": None, "tasks": tasks | {"reacher": reacher | keys}},
        )

    first, second = made(before), made(before | after)
    stale = {
        (cell.algorithm, cell.task)
        for cell, other in zip(first.cells(), second.cells(), strict=True)
        if what_determines(first, cell).parameter != what_determines(second, other).parameter
    }
    assert stale == {(cell.algorithm, "reacher") for cell in first.cells()}


def test_a_package_that_an_algorithm_imports_determines_its_cells(monkeypatch, grid):
    cell = grid.cells()[0]
    before = what_determines(grid, cell).versions
    monkeypatch.setattr(determinants, "EXEMPT_PACKAGES", {})
    determinants.sources.cache_clear()
    try:
        assert what_determines(grid, cell).versions.keys() - before.keys() >= {"filelock", "threadpoolctl"}
    finally:
        determinants.sources.cache_clear()


def test_the_changes_are_of_every_key_that_a_grid_has():
    from experiments.estimation.keys import ESTIMATOR_KEYS
    from experiments.grid import ALGORITHM_KEYS, GRID_KEYS, TASK_KEYS
    from experiments.laboratory import PROBE_KEYS, PROBE_TASK_KEYS, QUALITY_KEYS
    from experiments.search import GROUP_KEYS, TUNING_KEYS

    asked = {
        "": GRID_KEYS,
        "probes ": PROBE_KEYS,
        "probes tasks CartPole-v1 ": PROBE_TASK_KEYS,
        "quality ": QUALITY_KEYS,
        "estimators ": ESTIMATOR_KEYS,
        "tuning ": TUNING_KEYS,
        "tuning groups all ": GROUP_KEYS,
        "tasks CartPole-v1 ": TASK_KEYS,
    }
    missing = {f"{where}{key}" for where, keys in asked.items() for key in keys} - KEYS.keys()
    assert missing == {"tasks", "algorithms"}  # whose parts are there
    of_algorithms = {key.split()[-1] for key in KEYS if key.startswith("algorithms ") and len(key.split()) == 3}
    assert of_algorithms == ALGORITHM_KEYS.keys()


# ------------------------------------------------------------------------------------ what a job opens


def opened_by(tmp_path, module, *words):
    """The files of the project that a command line opens, which may have modules of the test's own.

    Without those that say by which names modules are imported.
    """
    opened = files_opened(ROOT, tmp_path, module, *words, PYTHONPATH=os.pathsep.join([str(ROOT), str(tmp_path)]))
    return opened - SAY_NAMES


def unaccounted(opened, about):
    """Files that were opened, whose edit would make nothing stale, and that are not exempt."""
    exempt = set(exempt_files().values())
    assert opened & set(about.files), "nothing was recorded"
    return opened - set(about.files) - exempt


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_edit_of_any_file_that_a_run_opens_makes_its_cell_stale(algorithm, tmp_path, grid):
    words = ("--grid", tmp_path / "mine.yaml", "--algorithm", algorithm, "--task", "CartPole-v1", "--seed", 0)
    opened = opened_by(tmp_path, "experiments.run", *words, "--output", tmp_path / "run")
    assert {f"algorithms/{algorithm}.py", "algorithms/core/training.py", "experiments/run.py"} <= opened
    assert unaccounted(opened, what_determines(grid, grid.cell(algorithm, "CartPole-v1", 0))) == set()
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["code"] == what_determines(grid, grid.cell(algorithm, "CartPole-v1", 0)).code().name
    assert record["task_code"] == {"gymnasium": gymnasium.__version__}


def test_so_does_an_edit_of_what_its_task_is_made_of(tmp_path):
    task = TABULAR
    data = {key: GRID[key] for key in ("description", "seeds", "compile")}
    grid = grid_of(tmp_path, data | {"tasks": {task: TASK}, "algorithms": {"a2c": None}})
    words = ("--grid", tmp_path / "mine.yaml", "--algorithm", "a2c", "--task", task, "--seed", 0)
    opened = opened_by(tmp_path, "experiments.run", *words, "--output", tmp_path / "run")
    about = what_determines(grid, grid.cell("a2c", task, 0))
    others = {file for name, file in exempt_files().items() if name != "exact"}
    assert opened - set(about.files) - others <= {"experiments/exact.py"}
    assert "experiments/exact.py" in about.files


def test_a_users_task_is_in_the_record_of_its_run_with_what_it_imports(tmp_path):
    write(tmp_path, my_task="import gymnasium\nfrom my_dynamics import Mine\n" + REGISTERED, my_dynamics=DYNAMICS)
    data = {key: GRID[key] for key in ("description", "seeds", "compile")}
    grid = data | {"tasks": {"my_task:Own-v0": TASK}, "algorithms": {"a2c": None}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(grid))
    words = ("--grid", tmp_path / "mine.yaml", "--algorithm", "a2c", "--task", "my_task:Own-v0", "--seed", 0)
    codes = []
    for text in (DYNAMICS, DYNAMICS + "\n# An edit.\n"):
        write(tmp_path, my_dynamics=text)
        opened_by(tmp_path, "experiments.run", *words, "--output", tmp_path / "run")
        codes.append(json.loads((tmp_path / "run" / "run.json").read_text()))
    first, second = (record["task_code"] for record in codes)
    assert first.keys() == second.keys() == {"gymnasium", "my_task", "my_dynamics"}
    assert all(first[module] != second[module] for module in ("my_task", "my_dynamics"))
    assert codes[0]["code"] != codes[1]["code"]


DYNAMICS = "from gymnasium.envs.classic_control import CartPoleEnv\n\nclass Mine(CartPoleEnv):\n    pass\n"
REGISTERED = 'gymnasium.register("Own-v0", Mine, max_episode_steps=100)\n'


def test_so_does_an_edit_of_any_file_that_a_study_opens(tmp_path, grid):
    words = ("--grid", tmp_path / "mine.yaml", "--algorithm", "ppo_tuned", "--group", "all")
    opened = opened_by(tmp_path, "experiments.tune", *words, "--output", tmp_path / "study")
    assert {"experiments/tune.py", "experiments/search.py", "algorithms/ppo.py"} <= opened
    about = what_determines(grid, grid.studies()[0])
    assert unaccounted(opened, about) == set()
    record = json.loads((tmp_path / "study" / "study.json").read_text())
    assert record["code"] == about.code().name
    assert {of["task_code"]["gymnasium"] for of in record["tasks"].values()} == {gymnasium.__version__}


def test_so_does_an_edit_of_any_file_that_a_probe_opens(tmp_path, grid):
    words = ("--grid", tmp_path / "mine.yaml", "--task", TABULAR, "--seed", 0)
    opened = opened_by(tmp_path, "experiments.probe", *words, "--output", tmp_path / "probe")
    assert {"experiments/probe.py", "experiments/exact.py", "experiments/gradients.py"} <= opened
    about = what_determines(grid, grid.probe(TABULAR, 0, 0))
    other_reasons = {"experiments/claims.yaml"}  # read with the grid, and judged later
    other_reasons |= {file for file in opened if file.startswith("experiments/estimation/")}  # read with the grid
    assert unaccounted(opened, about) <= other_reasons
    record = json.loads((tmp_path / "probe" / "probe.json").read_text())
    assert record["code"] == about.code().name
    assert record["task_code"] == task_code(TABULAR).record()


def test_so_does_an_edit_of_any_file_that_a_probe_of_quality_opens(tmp_path, grid):
    words = ("--grid", tmp_path / "mine.yaml", "--task", "CartPole-v1", "--seed", 0)
    opened_by(tmp_path, "experiments.run", *words, "--algorithm", "a2c", "--output", tmp_path / "run")
    words += ("--source", "a2c", "--fraction", 0, "--run", tmp_path / "run", "--output", tmp_path / "probe")
    opened = opened_by(tmp_path, "experiments.quality", *words)
    assert {"experiments/quality.py", "experiments/pairs.py", "algorithms/a2c.py"} <= opened
    about = what_determines(grid, grid.probe("CartPole-v1", 0, 0, measures="quality"))
    others = {f"algorithms/{name}.py" for name in ALGORITHMS} | {"experiments/claims.yaml"}  # read with the grid
    others |= {file for file in opened if file.startswith("experiments/estimation/")}
    assert unaccounted(opened, about) <= others
    assert json.loads((tmp_path / "probe" / "probe.json").read_text())["code"] == about.code().name


def test_so_does_an_edit_of_any_file_that_a_probe_of_estimators_opens(tmp_path, grid):
    words = ("--grid", tmp_path / "mine.yaml", "--task", "step", "--seed", 0, "--output", tmp_path / "probe")
    opened = opened_by(tmp_path, "experiments.estimate", *words)
    assert {"experiments/estimate.py", "experiments/estimation/estimators/score_function.py"} <= opened
    about = what_determines(grid, grid.probe("step", 0, 0, measures="estimators"))
    read_with_the_grid = {f"algorithms/{name}.py" for name in ALGORITHMS} | {"experiments/claims.yaml"}
    read_with_the_grid |= {file for file in opened if file.startswith("algorithms/core/")}
    assert unaccounted(opened, about) <= read_with_the_grid
    record = json.loads((tmp_path / "probe" / "probe.json").read_text())
    assert record["code"] == about.code().name
    assert "experiments/estimation/problems/step.py" in record["task_code"]["experiments.estimation.problems.step"]


# ------------------------------------------------------------------------------------ runs of different code


def a_run(task, seed, **record):
    """A cell, and what its run.json has of the code that made it."""
    directory = f"runs/{task}/ppo/{seed}"
    return {"task": task, "algorithm": "ppo", "seed": seed, "directory": directory}, {"cell": {"task": task}} | record


def test_runs_of_a_task_with_different_code_of_the_task_are_refused_with_both_names():
    grid = SimpleNamespace(folder=Path("results/mine"))
    first, second = {"gymnasium": "1.3.0"}, {"gymnasium": "1.4.0"}
    results.runs(grid, states_of(a_run("A-v0", 0, task_code=first), a_run("B-v0", 0, task_code=second)))
    results.runs(
        grid, states_of(a_run("A-v0", 0, task_code=first), a_run("A-v0", 1, task_code=first), a_run("A-v0", 2))
    )
    with pytest.raises(ResultsError) as refused:
        results.runs(grid, states_of(a_run("A-v0", 0, task_code=first), a_run("A-v0", 1, task_code=second)))
    for part in ("results/mine/runs/A-v0/ppo/0/run.json", "results/mine/runs/A-v0/ppo/1/run.json", "1.3.0", "1.4.0"):
        assert part in str(refused.value)


def states_of(*found):
    """Runs as the ledger has them."""
    return [(cell, "done", run) for cell, run in found]


def test_runs_of_an_algorithm_with_different_code_are_named():
    runs = [a_run("A-v0", 0, code="x"), a_run("A-v0", 1, code="y"), a_run("B-v0", 0, code="x"), a_run("B-v0", 1)]
    assert of_different_code(runs) == ["ppo on A-v0"]
