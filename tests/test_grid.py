"""What a grid file may say, how settings resolve, and the sentence that each mistake gets."""

import copy
import json

import pytest
import yaml

from algorithms.core.algorithm import InvalidSetting
from experiments.grid import ROOT, GridError, exit_with_sentence, load_grid
from experiments.run import main as run_main
from experiments.run import read_settings

GRID = {
    "description": "A grid for tests.",
    "seeds": [0, 1],
    "checkpoints": [0, 0.5, 1],
    "tasks": {
        "CartPole-v1": {
            "steps": 1000,
            "random_score": 20,
            "reference_score": 475,
            "reference_source": "registered reward threshold",
            "threshold": 100,
        }
    },
    "algorithms": {
        "reinforce": None,
        "ppo": {"settings": {"gamma": 0.9, "clip": 0.1}, "tasks": {"CartPole-v1": {"clip": 0.3}}},
        "ppo_published": {"module": "ppo"},
    },
}


def write(path, data):
    path.write_text(data if isinstance(data, str) else yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    return str(path)


@pytest.fixture
def grid(tmp_path):
    return load_grid(write(tmp_path / "mine.yaml", GRID))


def test_a_grid_is_its_tasks_times_algorithms_times_seeds(grid):
    assert grid.name == "mine"
    keys = [(c.task, c.algorithm, c.seed) for c in grid.cells()]
    assert keys == [("CartPole-v1", a, s) for a in ("reinforce", "ppo", "ppo_published") for s in (0, 1)]


def test_settings_resolve_from_class_to_grid_to_task(grid):
    ppo = grid.cell("ppo", "CartPole-v1", 0).settings
    assert (ppo["gamma"], ppo["clip"], ppo["gae_lambda"]) == (0.9, 0.3, 0.95)
    assert grid.cell("ppo_published", "CartPole-v1", 0).settings["clip"] == 0.2


def test_variants_of_one_algorithm_are_told_apart_by_their_title(grid):
    assert [a.title for a in grid.algorithms.values()] == ["REINFORCE", "PPO", "PPO (ppo_published)"]


def test_the_manifest_lists_every_cell_and_is_json(grid):
    manifest = json.loads(json.dumps(grid.manifest()))
    assert len(manifest["cells"]) == 6
    assert manifest["cells"][0]["directory"] == "runs/CartPole-v1/reinforce/0"
    assert manifest["algorithms"]["reinforce"]["equation"].startswith("Ψ_t = G_t")


def test_exponents_without_a_point_are_numbers(tmp_path):
    text = yaml.safe_dump(GRID).replace("gamma: 0.9", "policy_learning_rate: 3e-4")
    assert load_grid(write(tmp_path / "g.yaml", text)).algorithms["ppo"].settings["policy_learning_rate"] == 3e-4


@pytest.mark.parametrize("name", sorted(p.stem for p in (ROOT / "experiments" / "grids").glob("*.yaml")))
def test_every_grid_that_is_shipped_is_valid(name):
    grid = load_grid(name)
    assert set(grid.algorithms) >= {"reinforce", "reinforce_baseline", "actor_critic", "a2c", "ppo"}
    for task in grid.tasks.values():
        assert task.reference_score > task.random_score


def set_at(*path, value):
    """A change to the grid: the value at a path of keys, or its removal where the value is None."""

    def change(data):
        for key in path[:-1]:
            data = data[key]
        if value is None:
            del data[path[-1]]
        else:
            data[path[-1]] = value

    return change


CARTPOLE = ("tasks", "CartPole-v1")
MISTAKES = {
    "unknown top key": (set_at("seed", value=[0]), ["no key 'seed'", "did you mean 'seeds'"]),
    "no tasks": (set_at("tasks", value={}), ["tasks is empty"]),
    "missing key": (set_at("seeds", value=None), ["needs the key 'seeds'"]),
    "seed given twice": (set_at("seeds", value=[0, 1, 0]), ["seeds lists 0 twice"]),
    "negative seed": (set_at("seeds", value=[-1]), ["whole numbers from 0", "-1"]),
    "seed of text": (set_at("seeds", value=["one"]), ["whole numbers", "one"]),
    "checkpoint beyond the end": (set_at("checkpoints", value=[2]), ["between 0 and 1", "2"]),
    "unknown task": (
        set_at("tasks", "CartPol-v1", value=GRID["tasks"]["CartPole-v1"]),
        ["'CartPol-v1' cannot be made", "CartPole"],
    ),
    "unknown key of a task": (set_at(*CARTPOLE, "step", value=3), ["task CartPole-v1 has no key 'step'", "'steps'"]),
    "negative budget": (set_at(*CARTPOLE, "steps", value=-5), ["steps of task CartPole-v1 must be at least 1", "-5"]),
    "budget of text": (set_at(*CARTPOLE, "steps", value="many"), ["steps of task CartPole-v1", "whole number", "many"]),
    "no random score": (set_at(*CARTPOLE, "random_score", value=None), ["random_score", "experiments.random_score"]),
    "no range of scores": (set_at(*CARTPOLE, "random_score", value=475), ["same random_score and reference_score"]),
    "squashing discrete actions": (set_at(*CARTPOLE, "action_bounds", value="squash"), ["'squash' needs a Box"]),
    "unknown bounds": (set_at(*CARTPOLE, "action_bounds", value="wrap"), ["clip or squash", "wrap"]),
    "unknown backend": (set_at(*CARTPOLE, "backend", value="isaac"), ["backend", "gymnasium or envpool", "isaac"]),
    "a backend that does not have the task": (
        set_at("tasks", "CliffWalking-v1", value=GRID["tasks"]["CartPole-v1"] | {"backend": "envpool"}),
        ["'CliffWalking-v1' cannot have backend 'envpool'", "Hopper-v5", "use backend 'gymnasium'"],
    ),
    "unknown algorithm": (set_at("algorithms", "pppo", value={}), ["algorithms/pppo.py", "did you mean 'ppo'"]),
    "unknown module": (set_at("algorithms", "new", value={"module": "a3c"}), ["algorithms/a3c.py", "'a2c'"]),
    "unknown setting": (
        set_at("algorithms", "ppo", "settings", value={"gama": 0.9}),
        ["PPO has no setting 'gama'", "did you mean 'gamma'"],
    ),
    "wrong type": (
        set_at("algorithms", "ppo", "settings", value={"epochs": "ten"}),
        ["epochs of PPO must be a whole number", "'ten'"],
    ),
    "out of range": (set_at("algorithms", "ppo", "settings", value={"gamma": 1.5}), ["gamma of PPO", "0 and 1", "1.5"]),
    "settings for a task that is not there": (
        set_at("algorithms", "ppo", "tasks", value={"CartPole-v0": {}}),
        ["algorithm ppo has settings for 'CartPole-v0'", "'CartPole-v1'"],
    ),
    "an override that is no mapping": (
        set_at("algorithms", "ppo", "tasks", value={"CartPole-v1": [1]}),
        ["algorithm ppo has for CartPole-v1 not a mapping but [1]"],
    ),
    "a name that is no text": (set_at("algorithms", 5, value={"module": "ppo"}), ["algorithms", "keys are text", "5"]),
    "an entry that is no mapping": (set_at("algorithms", "ppo", value=False), ["algorithm ppo must be a mapping"]),
    "a task id that Gymnasium cannot read": (
        set_at("tasks", "a:b:c", value=GRID["tasks"]["CartPole-v1"]),
        ["'a:b:c' cannot be made"],
    ),
    "a name that is no folder": (set_at("algorithms", "a/b", value={"module": "ppo"}), ["'a/b'", "folder"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_that_names_file_key_and_choices(mistake, tmp_path):
    change, expected = MISTAKES[mistake]
    data = copy.deepcopy(GRID)
    change(data)
    with pytest.raises((GridError, InvalidSetting)) as caught:
        load_grid(write(tmp_path / "mine.yaml", data))
    message = str(caught.value)
    assert "mine.yaml" in message
    assert "\n" not in message
    for part in expected:
        assert part in message


def test_a_backend_that_is_not_installed_is_refused_with_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    data = copy.deepcopy(GRID)
    data["tasks"]["CartPole-v1"]["backend"] = "envpool"
    with pytest.raises(GridError, match=r"'CartPole-v1' .* pip install -e '\.\[envpool\]'"):
        load_grid(write(tmp_path / "mine.yaml", data))


def test_the_backend_of_a_task_is_part_of_what_determines_its_cells(tmp_path, grid):
    pytest.importorskip("envpool", reason="EnvPool is not installed: pip install -e '.[envpool]'")
    data = copy.deepcopy(GRID)
    data["tasks"]["CartPole-v1"]["backend"] = "envpool"
    pooled = load_grid(write(tmp_path / "mine.yaml", data))
    for before, after in zip(grid.cells(), pooled.cells(), strict=True):
        assert grid.what_determines(before) != pooled.what_determines(after)
    backends = [g.manifest()["tasks"]["CartPole-v1"]["backend"] for g in (grid, pooled)]
    assert backends == ["gymnasium", "envpool"]


def test_a_key_given_twice_is_refused(tmp_path):
    with pytest.raises(GridError, match="'seeds' is given twice"):
        load_grid(write(tmp_path / "mine.yaml", yaml.safe_dump(GRID) + "seeds: [5]\n"))


def test_a_file_that_is_not_yaml_is_refused(tmp_path):
    with pytest.raises(GridError, match="not valid YAML"):
        load_grid(write(tmp_path / "mine.yaml", "tasks: [unclosed"))


def test_an_unknown_grid_names_the_nearest():
    with pytest.raises(GridError, match="no grid 'smok'; did you mean 'smoke'"):
        load_grid("smok")


def test_a_grid_path_that_does_not_exist_is_named():
    with pytest.raises(GridError, match=r"no grid file nowhere/mine\.yaml"):
        load_grid("nowhere/mine.yaml")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--algorithm", "pppo"], "no algorithm 'pppo'; did you mean 'ppo'"),
        (["--task", "CartPole-v0"], "no task 'CartPole-v0'; did you mean 'CartPole-v1'"),
        (["--steps", "-1"], "--steps must be at least 1"),
        (["--seed", "-1"], "--seed must be a whole number from 0"),
        (["--set", "clip"], "--set takes NAME=VALUE"),
        (["--set", "clip=[1"], "--set cannot read the value of 'clip=[1'"),
        (["--set", "clips=0.1"], "no setting 'clips'; did you mean 'clip'"),
        (["--set", "epochs=2.5"], "epochs of PPO must be a whole number"),
    ],
)
def test_a_mistake_on_the_command_line_of_a_run_ends_it_before_training(arguments, part, tmp_path, capsys):
    options = {"--grid": "smoke", "--algorithm": "ppo", "--task": "CartPole-v1", "--seed": "0"}
    options |= {"--output": str(tmp_path / "run"), arguments[0]: arguments[1]}
    with pytest.raises(SystemExit) as exit_:
        exit_with_sentence(lambda: run_main([word for pair in options.items() for word in pair]))
    assert exit_.value.code == 2
    captured = capsys.readouterr()
    assert part in captured.err
    assert "Traceback" not in captured.err
    assert not (tmp_path / "run").exists()


def test_settings_on_the_command_line_are_read_as_in_a_grid():
    assert read_settings(["a=3e-4", "b=true", "c=null", "d=mean"]) == {"a": 3e-4, "b": True, "c": None, "d": "mean"}
