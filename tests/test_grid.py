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
    "probes": {
        "source": "ppo",
        "seeds": [1],
        "fractions": [0.5, 1],
        "batches": 16,
        "tasks": {"CartPole-v1": {"batch_size": 4, "fit_episodes": 20}},
        "exact": {"batch_size": 2},
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


def test_probes_are_tasks_times_seeds_times_fractions_and_the_exact_problems(grid):
    places = [(p.task, p.source, p.seed, p.fraction) for p in grid.probes]
    assert places == [
        ("CartPole-v1", "ppo", 1, 0.5),
        ("CartPole-v1", "ppo", 1, 1),
        *((f"experiments.exact:{name}-v0", "initialisation", 1, 0) for name in EXACT),
    ]
    assert [(p.batches, p.batch_size, p.fit_episodes) for p in grid.probes] == [(16, 4, 20)] * 2 + [(16, 2, 0)] * 3
    assert {p.gae_lambdas for p in grid.probes} == {(0, 0.5, 0.9, 0.95, 0.99, 1)}
    assert [(p["directory"], p["exact"]) for p in grid.manifest()["probes"]] == [
        ("probes/CartPole-v1/ppo/1/0.5", False),
        ("probes/CartPole-v1/ppo/1/1", False),
        *((f"probes/experiments.exact-{name}-v0/initialisation/1/0", True) for name in EXACT),
    ]
    assert grid.probe("CartPole-v1", 1, 1.0) is grid.probes[1]


EXACT = ("SoftmaxBandit", "TabularMDP", "RockPaperScissors")


@pytest.mark.parametrize("probes", [None, {"source": "ppo", "seeds": [0], "fractions": [1], "batches": 8}])
def test_a_grid_need_not_have_probes(probes, tmp_path):
    grid = load_grid(write(tmp_path / "mine.yaml", GRID | {"probes": probes}))
    assert grid.probes == ()
    assert grid.manifest()["probes"] == []
    with pytest.raises(GridError, match=r"mine\.yaml has no probes"):
        grid.probe("CartPole-v1", 0, 1)


def test_what_determines_a_probe_is_every_algorithms_settings_and_its_own_and_no_cells(tmp_path, grid):
    changes = {
        "batches": set_at("probes", "batches", value=17),
        "lambdas": set_at("probes", "gae_lambdas", value=[0, 1]),
        "batch size": set_at(*PROBED, "batch_size", value=5),
        "a setting": set_at("algorithms", "ppo", "settings", "gamma", value=0.8),
        "an algorithm": set_at("algorithms", "a2c", value={}),
        "the task": set_at(*CARTPOLE, "normalize_observations", value=True),
        "the score": set_at(*CARTPOLE, "random_score", value=10),
    }
    changed, trained_again = {}, {}
    for name, change in changes.items():
        data = copy.deepcopy(GRID)
        change(data)
        other = load_grid(write(tmp_path / "mine.yaml", data))
        pairs = list(zip(grid.probes, other.probes, strict=True))
        changed[name] = [grid.what_determines_probe(p) != other.what_determines_probe(q) for p, q in pairs]
        cells = zip(grid.cells(), other.cells(), strict=False)
        trained_again[name] = any(grid.what_determines(c) != other.what_determines(d) for c, d in cells)
    both, first, none = [True] * 5, [True] * 2 + [False] * 3, [False] * 5
    assert changed == {
        **{"batches": both, "lambdas": both, "batch size": first, "a setting": both, "an algorithm": both},
        **{"the task": first, "the score": none},
    }
    assert [name for name, again in trained_again.items() if again] == ["a setting", "the task"]


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
PROBED = ("probes", "tasks", "CartPole-v1")
TABULAR = "experiments.exact:TabularMDP-v0"


def an_exact_problem_as_a_task(data):
    """In the grid, where it may be, and among the probes' tasks, where its true gradient would be passed by."""
    data["tasks"][TABULAR] = data["tasks"]["CartPole-v1"]
    data["probes"]["tasks"][TABULAR] = data["probes"]["tasks"]["CartPole-v1"]


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
    "probes that are no mapping": (
        set_at("probes", value=[1]),
        ["probes of the grid must be a mapping, or null", "[1]"],
    ),
    "unknown key of the probes": (set_at("probes", "batch", value=8), ["probes has no key 'batch'", "'batches'"]),
    "probes without a source": (set_at("probes", "source", value=None), ["probes needs the key 'source'"]),
    "unknown source": (set_at("probes", "source", value="pp"), ["source of probes is 'pp'", "did you mean 'ppo'"]),
    "a probe's seed that is not trained": (
        set_at("probes", "seeds", value=[5]),
        ["seeds of probes has 5, which is not among the grid's seeds, [0, 1]"],
    ),
    "a probe's seed given twice": (set_at("probes", "seeds", value=[1, 1]), ["seeds of probes", "different", "[1, 1]"]),
    "a probe's seed that is no number": (set_at("probes", "seeds", value=[[1]]), ["seeds of probes", "[[1]]"]),
    "a probe's seed that is a truth": (set_at("probes", "seeds", value=[True]), ["seeds of probes", "[True]"]),
    "a probe's seed with a point": (set_at("probes", "seeds", value=[1.0]), ["seeds of probes", "[1.0]"]),
    "no seeds of probes": (set_at("probes", "seeds", value=[]), ["seeds of probes", "[]"]),
    "a fraction without a checkpoint": (
        set_at("probes", "fractions", value=[0.5, 0.7]),
        ["fractions of probes has 0.7, which is not among checkpoints, [0, 0.5, 1]"],
    ),
    "a fraction that is no number": (set_at("probes", "fractions", value=[[1]]), ["fractions of probes", "[[1]]"]),
    "a fraction that is a truth": (set_at("probes", "fractions", value=[True]), ["fractions of probes", "[True]"]),
    "a fraction given twice": (set_at("probes", "fractions", value=[1, 1.0]), ["fractions of probes", "[1, 1.0]"]),
    "too few batches": (set_at("probes", "batches", value=7), ["batches of probes must be a whole number from 8", "7"]),
    "batches of text": (set_at("probes", "batches", value="many"), ["batches of probes", "'many'"]),
    "a lambda given twice": (set_at("probes", "gae_lambdas", value=[0, 0.5, 0.0]), ["gae_lambdas", "[0, 0.5, 0.0]"]),
    "a lambda above 1": (set_at("probes", "gae_lambdas", value=[0.5, 1.2]), ["gae_lambdas", "between 0 and 1", "1.2"]),
    "a lambda that is no number": (set_at("probes", "gae_lambdas", value=[[0.5]]), ["gae_lambdas", "[[0.5]]"]),
    "one lambda": (set_at("probes", "gae_lambdas", value=0.5), ["gae_lambdas", "a list", "0.5"]),
    "probes on an unknown task": (
        set_at("probes", "tasks", "CartPole-v0", value={"batch_size": 4, "fit_episodes": 20}),
        ["probes has 'CartPole-v0', no task of the grid", "did you mean 'CartPole-v1'"],
    ),
    "a batch of no episodes": (
        set_at(*PROBED, "batch_size", value=0),
        ["batch_size of probes on CartPole-v1", "complete episodes, at least 1", "0"],
    ),
    "a batch of half an episode": (set_at(*PROBED, "batch_size", value=0.5), ["complete episodes, at least 1", "0.5"]),
    "a fit on one episode": (
        set_at(*PROBED, "fit_episodes", value=1),
        ["fit_episodes of probes on CartPole-v1", "at least 2, to fit a critic on", "1"],
    ),
    "a task's probes that are no mapping": (set_at(*PROBED, value=[4]), ["probes on CartPole-v1 must be a mapping"]),
    "exact problems without a batch size": (
        set_at("probes", "exact", value={}),
        ["exact of probes needs the key 'batch_size'"],
    ),
    "a batch of no episodes of an exact problem": (
        set_at("probes", "exact", "batch_size", value=0),
        ["batch_size of exact of probes", "at least 1", "0"],
    ),
    "an exact problem among the tasks of the probes": (
        an_exact_problem_as_a_task,
        [f"tasks of probes has {TABULAR!r}", "exact: {batch_size: …}"],
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
