"""One Gymnasium id as two tasks, by name and keyword arguments, from the grid file to what verifies its runs."""

import json
import subprocess
import sys

import gymnasium
import pandas as pd
import pytest
import yaml

from algorithms.core.task import Task, UnsupportedTask, make_env
from analysis.reading.checks import ResultsError
from analysis.reading.grid import read_grid
from analysis.reading.runs import read_run
from analysis.sections.published.tables import about, of_task
from analysis.sections.settings.sentences import environments
from experiments import run
from experiments.cells import preprocessing
from experiments.contestants import CONTESTANTS
from experiments.determinants import code_of, what_determines
from experiments.grid import GridError, load_grid
from experiments.measuring import gymnasium_env
from experiments.speed import cell_grid
from experiments.task_check import check_task
from tests.analysis_fixtures import edit_json

VALUES = {"steps": 64, "random_score": 0, "reference_score": 1, "reference_source": "made up"}
LAKES = {
    "slippery": {"id": "FrozenLake-v1", "kwargs": {"is_slippery": True}, **VALUES},
    "dry": {"id": "FrozenLake-v1", "kwargs": {"is_slippery": False}, **VALUES},
}


def load(tmp_path, tasks=None, **sections):
    algorithms = {"a2c": None, "ppo": {"settings": {"num_envs": 2}, "search_space": {"clip": {"choices": [0.1, 0.2]}}}}
    grid = {"description": "x", "seeds": [0], "tasks": tasks or LAKES, "algorithms": algorithms, **sections}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(grid, sort_keys=False))
    return load_grid(str(tmp_path / "mine.yaml"))


def test_two_tasks_of_one_id_have_names_folders_and_arguments_of_their_own(tmp_path):
    grid = load(tmp_path)
    assert [cell.directory for cell in grid.cells() if cell.algorithm == "ppo"] == [
        "runs/slippery/ppo/0",
        "runs/dry/ppo/0",
    ]
    for name, entry in LAKES.items():
        task = grid.tasks[name].task
        assert (task.id, task.label, task.kwargs) == ("FrozenLake-v1", name, entry["kwargs"])
        assert grid.manifest()["tasks"][name].items() >= {"id": "FrozenLake-v1", "kwargs": entry["kwargs"]}.items()
        assert list(code_of(task).record()) == ["gymnasium"]
        assert make_env(task).spec.kwargs["is_slippery"] == entry["kwargs"]["is_slippery"]


def test_a_task_without_them_says_nothing_about_id_and_arguments(tmp_path):
    plain = load(tmp_path, {"FrozenLake-v1": VALUES})
    for further in ({"kwargs": {}}, {"id": "FrozenLake-v1"}, {"id": None}):
        grid = load(tmp_path, {"FrozenLake-v1": VALUES | further})
        assert grid.manifest()["tasks"] == plain.manifest()["tasks"]
        assert not {"id", "kwargs", "name"} & preprocessing(grid.tasks["FrozenLake-v1"].task).keys()
    assert make_env(plain.tasks["FrozenLake-v1"].task).spec.kwargs == gymnasium.spec("FrozenLake-v1").kwargs


@pytest.mark.parametrize(
    "change",
    [
        {"kwargs": {"is_slippery": False}},
        {"kwargs": {"is_slippery": True, "map_name": "8x8"}},
        {"id": "FrozenLake8x8-v1"},
    ],
    ids=str,
)
def test_id_and_arguments_make_cells_studies_and_probes_stale(tmp_path, change):
    sections = {
        "checkpoints": [1],
        "tuning": {
            "seeds": [7, 8],
            "fresh_seeds": [9],
            "trials": 2,
            "startup_trials": 1,
            "groups": {"all": {"tasks": {"slippery": 64}, "serves": ["slippery"]}},
        },
        "probes": {"source": "a2c", "seeds": [0], "fractions": [1], "batches": 8}
        | {"tasks": {"slippery": {"batch_size": 2, "fit_episodes": 2}}},
    }
    grid, other = (load(tmp_path, LAKES | {"slippery": LAKES["slippery"] | c}, **sections) for c in ({}, change))

    def jobs(grid):
        return [job for job in (*grid.cells(), *grid.studies(), *grid.probes) if getattr(job, "task", "") != "dry"]

    assert len(jobs(grid)) == 4
    for before, after in zip(jobs(grid), jobs(other), strict=True):
        assert what_determines(grid, before).parameter != what_determines(other, after).parameter
    unmoved = grid.cell("a2c", "dry", 0)
    assert what_determines(grid, unmoved).parameter == what_determines(other, unmoved).parameter


def test_a_run_records_them_and_results_of_others_are_refused(tmp_path):
    grid = load(tmp_path)
    results = tmp_path / "results"
    for name in LAKES:
        folder = results / grid.cell("a2c", name, 0).directory
        words = ["--grid", str(tmp_path / "mine.yaml"), "--algorithm", "a2c", "--task", name, "--seed", "0"]
        run.main([*words, "--output", str(folder)])
    (results / "grid.json").write_text(json.dumps(grid.manifest()))
    found = read_grid(results)
    cells = {cell["task"]: cell for cell in found.cells if cell["algorithm"] == "a2c"}
    for name, cell in cells.items():
        record = read_run(found, cell)
        assert record["cell"]["task"] == name
        assert record["task_settings"].items() >= {"id": "FrozenLake-v1", "kwargs": LAKES[name]["kwargs"]}.items()
    path = results / cells["dry"]["directory"] / "run.json"
    record = json.loads(path.read_text())
    for key, value in (("kwargs", {"is_slippery": True}), ("kwargs", None), ("id", None), ("id", "FrozenLake8x8-v1")):
        settings = record["task_settings"] | {key: value}
        edit_json(path, task_settings={k: v for k, v in settings.items() if v is not None})
        with pytest.raises(ResultsError, match=rf"task_settings\.{key} is .*; run this cell again"):
            read_run(found, cells["dry"])
    assert environments(found) == (
        "slippery is FrozenLake-v1 made with is_slippery=True. dry is FrozenLake-v1 made with is_slippery=False."
    )


def test_published_scores_are_found_by_the_id_and_told_from_other_arguments(tmp_path):
    grid = load(tmp_path)
    results = tmp_path / "results"
    results.mkdir()
    (results / "grid.json").write_text(json.dumps(grid.manifest()))
    entries = pd.DataFrame([{"algorithm": "a2c", "task": task} for task in ("FrozenLake-v1", "slippery", "Hopper-v5")])
    found = read_grid(results)
    assert [entry.task for entry in about(found, entries, "dry", "a2c")] == ["FrozenLake-v1"]
    assert of_task(found.tasks["dry"]) == [("task", "our task has kwargs of its own, {'is_slippery': False}")]


def test_variants_are_given_beside_the_arguments_and_win_over_them():
    task = Task(
        "FrozenLake-v1",
        kwargs={"is_slippery": False, "map_name": "4x4"},
        variants=({}, {"map_name": "8x8"}, {"is_slippery": True}),
    )
    kwargs = [make_env(task, variant).spec.kwargs for variant in range(3)]
    assert [k["map_name"] for k in kwargs] == ["4x4", "8x8", "4x4"]
    assert [k["is_slippery"] for k in kwargs] == [False, False, True]


@pytest.mark.parametrize(
    ("tasks", "words"),
    [
        ({"dry": LAKES["dry"] | {"kwargs": [1]}}, "kwargs of task dry must be a mapping of keyword arguments"),
        ({"dry": LAKES["dry"] | {"kwargs": {"a": float("nan")}}}, "kwargs of task dry must be a mapping"),
        (
            {"dry": LAKES["dry"] | {"kwargs": {"wet": 1}}},
            "task 'dry' with the kwargs {'wet': 1} cannot be made: TypeError",
        ),
        (
            {"dry": LAKES["dry"] | {"kwargs": {"max_episode_steps": 9}}},
            "task 'dry' with the kwargs {'max_episode_steps'",
        ),
        (
            {"dry": LAKES["dry"] | {"id": "FrozenLak-v1"}},
            "task 'dry' with the kwargs {'is_slippery': False} cannot be made",
        ),
        ({"dry": LAKES["dry"] | {"id": 3}}, "id of task dry must be a Gymnasium id"),
        ({"../dry": LAKES["dry"]}, "task '../dry' has an id, and its name becomes a folder's"),
        ({"a dry lake": LAKES["dry"]}, "task 'a dry lake' has an id, and its name becomes a folder's"),
        (
            {"CartPole-v1": LAKES["dry"]},
            "task CartPole-v1 has the id FrozenLake-v1, but CartPole-v1 is the id of another",
        ),
        ({"dry": VALUES}, "task 'dry' cannot be made"),
    ],
)
def test_what_cannot_be_is_refused_with_the_file_and_the_name(tmp_path, tasks, words):
    with pytest.raises(GridError) as refusal:
        load(tmp_path, tasks)
    assert "mine.yaml: " in str(refusal.value)
    assert words in str(refusal.value)


def test_messages_of_an_unsupported_task_have_its_name():
    gymnasium.register(
        "NamedText-v0",
        lambda: gymnasium.wrappers.TransformObservation(
            gymnasium.make("CartPole-v1"), lambda x: "text", gymnasium.spaces.Text(4)
        ),
    )
    with pytest.raises(UnsupportedTask, match=r"^task 'mine' has observations in Text"):
        check_task(Task("NamedText-v0", name="mine"))


def test_the_benchmark_makes_the_same_environment(tmp_path):
    grid = load(tmp_path, {"light": {"id": "Pendulum-v1", "kwargs": {"g": 2.5}, **VALUES}})
    entry = grid.tasks["light"]
    made = gymnasium_env({"id": "light", **preprocessing(entry.task)})
    assert made.unwrapped.g == 2.5
    assert cell_grid(entry, CONTESTANTS)["tasks"].keys() == {"light"}


def test_the_command_measures_a_random_score_with_keyword_arguments():
    words = [sys.executable, "-m", "experiments.random_score", "AlwaysTheSame-v0"]
    command = [*words[:3], "tests.tasks:AlwaysTheSame-v0", "--kwargs", '{"reward": 3}']
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "random_score: 3 " in done.stdout
    for wrong in ("[1]", "{"):
        done = subprocess.run([*command[:-1], wrong], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "must be a mapping in JSON" in done.stderr


def test_an_id_without_a_version_may_need_its_arguments():
    gymnasium.register("NeedsArguments-v3", lambda size: gymnasium.make("FrozenLake-v1", desc=["S" * size, "G" * size]))
    task = Task("NeedsArguments", kwargs={"size": 3})
    assert make_env(task).observation_space.n == 6
    assert list(code_of(task).modules) == ["tests.test_named_tasks"]
