"""What a grid file may say, how settings resolve, and the sentence that each mistake gets."""

import copy
import json
import subprocess
import sys

import numpy as np
import pytest
import yaml

from algorithms.core.algorithm import InvalidSetting
from experiments import grid as grid_module
from experiments import keys, laboratory, published_table, search, task_scores
from experiments.cells import identity
from experiments.checks import REQUIRED, GridError, GridLoader
from experiments.command import exit_with_sentence
from experiments.determinants import what_determines
from experiments.estimation import asked as estimation
from experiments.grid import load_grid
from experiments.run import main as run_main
from experiments.run import read_settings
from experiments.sources import ROOT

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
        changed[name] = [what_determines(grid, p) != what_determines(other, q) for p, q in pairs]
        cells = zip(grid.cells(), other.cells(), strict=False)
        trained_again[name] = any(what_determines(grid, c) != what_determines(other, d) for c, d in cells)
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
    if name in ("default", "first", "paper", "smoke"):
        assert set(grid.algorithms) >= {"reinforce", "reinforce_baseline", "actor_critic", "a2c", "ppo"}
    for task in grid.tasks.values():
        assert task.reference_score > task.random_score


def test_the_ablation_of_ppo_is_made_as_the_default_grid_is():
    ablation, default = load_grid("ppo_ablation"), load_grid("default")
    for name, task in ablation.tasks.items():
        assert task == default.tasks[name]
        for seed in ablation.seeds:
            cell = ablation.cell("ppo_published", name, seed)
            assert cell.settings == default.cell("ppo_published", name, seed).settings


MINIMAL = """
steps: 50_000
tasks: [CartPole-v1, Acrobot-v1]
algorithms: [reinforce, ppo]
seeds: 5
"""


@pytest.fixture
def scores(tmp_path, monkeypatch):
    """The folder of random scores that are kept: an empty one; and a list of the tasks that were measured."""
    measured = []

    def random_returns(task):
        measured.append(task.id)
        return np.array([-499.2, -500.06])

    monkeypatch.setattr(task_scores, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(task_scores, "random_returns", random_returns)
    return tmp_path / "kept", measured


def test_a_grid_of_six_lines_is_whole(tmp_path):
    """Its name is the file's; scores are measured and looked up."""
    grid = load_grid(write(tmp_path / "mine.yaml", MINIMAL))
    assert grid.name == "mine"
    assert len(grid.cells()) == 20
    assert {(c.seed, c.steps) for c in grid.cells()} == {(seed, 50_000) for seed in range(5)}
    assert grid.description == "REINFORCE, PPO on CartPole-v1, Acrobot-v1: 5 seeds, 50,000 steps a run."
    acrobot = grid.tasks["Acrobot-v1"]
    assert acrobot.random_score == pytest.approx(-499.5, abs=1)
    assert (acrobot.reference_score, acrobot.reference_source) == (-100, "registered reward threshold")
    assert grid.manifest()["tasks"]["Acrobot-v1"]["random_score"] == acrobot.random_score


def test_a_minimal_grid_has_the_cells_of_the_same_grid_in_full(tmp_path):
    short = yaml.safe_load(MINIMAL) | {"tasks": {"CartPole-v1": None, "Acrobot-v1": 2e4}}
    scores = {"random_score": 0, "reference_score": 1, "reference_source": "made up"}
    full = {
        "description": "In full.",
        "seeds": [0, 1, 2, 3, 4],
        "tasks": {"CartPole-v1": {"steps": 50_000} | scores, "Acrobot-v1": {"steps": 20_000} | scores},
        "algorithms": {"reinforce": {}, "ppo": {}},
    }
    one, other = (load_grid(write(tmp_path / "mine.yaml", data)) for data in (short, full))
    assert one.cells() == other.cells()
    for cell in one.cells():
        assert what_determines(one, cell) == what_determines(other, cell)


def test_a_random_score_is_measured_once_for_each_code_of_its_task(tmp_path, scores, monkeypatch):
    folder, measured = scores
    file = write(tmp_path / "mine.yaml", MINIMAL)
    assert [task.random_score for task in load_grid(file).tasks.values()] == [-499.6, -499.6]
    for _ in range(2):
        load_grid(file, only="ppo")
    assert measured == ["CartPole-v1", "Acrobot-v1"]
    assert all(json.loads(kept.read_text())["random_score"] == -499.6 for kept in folder.iterdir())
    monkeypatch.setattr(task_scores, "versions_of", lambda names: dict.fromkeys(names, "another"))
    load_grid(file)
    assert len(measured) == len(list(folder.iterdir())) == 4


def test_how_a_task_is_normalised_measures_no_second_score_and_a_time_limit_does(tmp_path, scores):
    measured = scores[1]
    given = {"steps": 100, "reference_score": 475, "reference_source": "made up"}
    for further in ({}, {"normalize_rewards": True, "normalize_observations": True}, {"max_episode_steps": 9}):
        data = GRID | {"probes": None, "tasks": {"CartPole-v1": given | further}}
        load_grid(write(tmp_path / "mine.yaml", data))
    assert len(measured) == 2


@pytest.mark.parametrize("damage", ["", "{", '{"random_score": NaN}', '{"random_score": "low"}', "[]"])
def test_a_damaged_random_score_is_measured_again(damage, tmp_path, scores):
    folder, measured = scores
    file = write(tmp_path / "mine.yaml", MINIMAL.replace(", Acrobot-v1", ""))
    load_grid(file)
    (kept,) = folder.iterdir()
    whole = kept.read_text()
    kept.write_text(damage)
    load_grid(file)
    assert len(measured) == 2
    assert [other.read_text() for other in folder.iterdir()] == [whole]


def test_a_random_score_need_not_be_kept(tmp_path, scores):
    """Where the results cannot be written, each process measures it."""
    scores[0].write_text("a file where the folder would be")
    grid = load_grid(write(tmp_path / "mine.yaml", MINIMAL))
    assert grid.tasks["CartPole-v1"].random_score == -499.6


def test_processes_that_keep_a_random_score_at_once_leave_one_whole_file(tmp_path):
    code = (
        "from pathlib import Path; from experiments import task_scores;"
        "from algorithms.core.task import Task, make_env;"
        f"task_scores.KEPT = Path({str(tmp_path / 'kept')!r}); task = Task('CartPole-v1'); make_env(task);"
        "print(task_scores.random_score(task))"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE) for _ in range(3)]
    assert len({process.communicate()[0] for process in processes}) == 1
    (kept,) = (tmp_path / "kept").iterdir()
    assert json.loads(kept.read_text())["id"] == "CartPole-v1"


def test_the_page_of_a_grids_keys_is_what_the_generator_prints():
    page = (ROOT / "experiments" / "GRID.md").read_text(encoding="utf-8")
    assert page == keys.page(), "python -m experiments.grid --keys > experiments/GRID.md"


@pytest.mark.parametrize(
    ("part", "name"), [(part, name) for part, (_, declared) in keys.PARTS.items() for name in declared]
)
def test_every_key_of_a_grid_has_a_meaning_and_an_example_that_it_may_hold(part, name):
    key = keys.PARTS[part][1][name]
    assert key.meaning.endswith(".")
    assert "|" not in key.description + key.meaning + key.example
    assert key.test(yaml.load(key.example, GridLoader)), f"{name}: {key.example}"
    assert key.default is REQUIRED or key.test(key.default) or key.default is None


def test_a_page_of_keys_has_every_mapping_that_a_grid_is_checked_by(monkeypatch, tmp_path):
    """What `section` is given while a grid of all kinds is read."""
    seen = []
    for module in (grid_module, laboratory, estimation, published_table, search):
        monkeypatch.setattr(module, "section", lambda *w, of=module.section, **o: seen.append(w[3]) or of(*w, **o))
    paper = {"title": "Table 1", "source": "A paper", "scores": {"ppo": 0.8}, "last_episodes": 100, "seeds": 1}
    quality = {"sources": {"ppo": ["CartPole-v1"]}, "seeds": [0], "fractions": [1]}
    measured = {"quality": quality, "estimators": {}}
    load_grid(write(tmp_path / "mine.yaml", TUNED_GRID | {"published_table": paper} | measured))
    documented = [declared for _, declared in keys.PARTS.values()]
    assert all(any(given.items() <= declared.items() for declared in documented) for given in seen)
    assert all(any(given.items() <= declared.items() for given in seen) for declared in documented)


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
    "a random score of text": (
        set_at(*CARTPOLE, "random_score", value="low"),
        ["random_score", "experiments.random_score"],
    ),
    "a reference score without its source": (
        set_at(*CARTPOLE, "reference_source", value=None),
        ["task CartPole-v1 needs the key 'reference_source'"],
    ),
    "a source of no reference score": (
        set_at(*CARTPOLE, "reference_score", value=None),
        ["task CartPole-v1 has a reference_source and no reference_score; give both, or neither"],
    ),
    "no reference score of a task that is registered without a threshold": (
        set_at("tasks", "Pendulum-v1", value={"steps": 100, "random_score": -1200}),
        ["task Pendulum-v1 needs the keys 'reference_score'", "no reward threshold is registered"],
    ),
    "no reference score of a task that is not the registered one": (
        set_at(*CARTPOLE, value={"steps": 100, "max_episode_steps": 50}),
        ["task CartPole-v1 needs the keys 'reference_score'", "with max_episode_steps it is another task"],
    ),
    "no steps": (set_at(*CARTPOLE, "steps", value=None), ["task CartPole-v1 needs the key 'steps'", "for all tasks"]),
    "a task given twice": (set_at("tasks", value=["CartPole-v1", "CartPole-v1"]), ["tasks", "different names"]),
    "no seed": (set_at("seeds", value=0), ["seeds of the grid", "how many", "not 0"]),
    "too many seeds": (set_at("seeds", value=10**9), ["1,000,000,000 seeds", "at most 100,000"]),
    "a truth of seeds": (set_at("seeds", value=True), ["seeds of the grid", "not True"]),
    "no range of scores": (set_at(*CARTPOLE, "random_score", value=475), ["same random_score and reference_score"]),
    "squashing discrete actions": (set_at(*CARTPOLE, "action_bounds", value="squash"), ["'squash' needs a Box"]),
    "unknown bounds": (set_at(*CARTPOLE, "action_bounds", value="wrap"), ["clip or squash", "wrap"]),
    "a backend, as in earlier versions": (
        set_at(*CARTPOLE, "backend", value="gymnasium"),
        ["task CartPole-v1 has the key 'backend'", "remove it"],
    ),
    "unknown algorithm": (set_at("algorithms", "pppo", value={}), ["algorithms/pppo.py", "did you mean 'ppo'"]),
    "unknown module": (set_at("algorithms", "new", value={"module": "a2k"}), ["algorithms/a2k.py", "'a2c'"]),
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
        ["the settings of algorithm ppo for CartPole-v1 must be a mapping, not [1]"],
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
TUNED_GRID = GRID | {
    "tuning": {
        "seeds": [100, 101],
        "fresh_seeds": [200],
        "trials": 4,
        "startup_trials": 2,
        "pruner": {"name": "MedianPruner", "n_startup_trials": 2},
        "groups": {"classic": {"tasks": {"CartPole-v1": 500}, "serves": ["CartPole-v1"]}},
    },
    "algorithms": {
        "reinforce": None,
        "a2c": {"search_space": {"gamma": {"low": 0.9, "high": 0.99, "scale": "log_one_minus"}}},
        "ppo": {
            "search_space": {
                "policy_learning_rate": {"low": 1e-4, "high": 1e-2, "scale": "log"},
                "epochs": {"low": 2, "high": 8},
                "minibatch_size": {"choices": [32, 64]},
            }
        },
    },
}
SPACE = ("algorithms", "ppo", "search_space")
RATE = (*SPACE, "policy_learning_rate")
CLASSIC = ("tuning", "groups", "classic")


def a_second_group_for_the_same_task(data):
    """Which of its settings should the task take?"""
    data["tuning"]["groups"]["again"] = data["tuning"]["groups"]["classic"]


TUNING_MISTAKES = {
    "tuning that is no mapping": (set_at("tuning", value=[1]), ["tuning of the grid must be a mapping, or null"]),
    "unknown key of tuning": (set_at("tuning", "trial", value=4), ["tuning has no key 'trial'", "mean 'trials'"]),
    "no trials": (set_at("tuning", "trials", value=None), ["tuning needs the key 'trials'", "whole number from 2"]),
    "one trial": (set_at("tuning", "trials", value=1), ["trials of tuning must be a whole number from 2, not 1"]),
    "no startup trials": (set_at("tuning", "startup_trials", value=0), ["startup_trials of tuning", "from 1, not 0"]),
    "no workers": (set_at("tuning", "workers", value=0), ["workers of tuning must be a whole number from 1, not 0"]),
    "a reward for spread": (
        set_at("tuning", "spread_penalty", value=-1),
        ["spread_penalty of tuning", "from 0, not -1"],
    ),
    "a sampler's seed of text": (set_at("tuning", "sampler_seed", value="a"), ["sampler_seed of tuning", "'a'"]),
    "one tuning seed": (
        set_at("tuning", "seeds", value=[100]),
        ["seeds of tuning must be a list of at least 2 different whole numbers from 0, not [100]"],
    ),
    "a tuning seed twice": (
        set_at("tuning", "seeds", value=[100, 100]),
        ["seeds of tuning", "different", "[100, 100]"],
    ),
    "a negative tuning seed": (set_at("tuning", "seeds", value=[100, -1]), ["seeds of tuning", "from 0", "[100, -1]"]),
    "seeds in seeds": (set_at("tuning", "seeds", value=[100, [1]]), ["seeds of tuning", "[100, [1]]"]),
    "no fresh seeds": (set_at("tuning", "fresh_seeds", value=[]), ["fresh_seeds of tuning", "at least 1", "[]"]),
    "a tuning seed that is evaluated": (
        set_at("tuning", "seeds", value=[100, 1]),
        ["seeds of the grid and seeds of tuning share 1", "what is tuned on a seed cannot be judged on it"],
    ),
    "a fresh seed that is evaluated": (
        set_at("tuning", "fresh_seeds", value=[200, 0]),
        ["seeds of the grid and fresh_seeds of tuning share 0"],
    ),
    "a fresh seed that is tuned on": (
        set_at("tuning", "fresh_seeds", value=[101]),
        ["seeds of tuning and fresh_seeds of tuning share 101"],
    ),
    "unknown pruner": (
        set_at("tuning", "pruner", "name", value="MedianPrune"),
        ["name of pruner of tuning must be one of MedianPruner", "'MedianPrune'"],
    ),
    "a pruner that a killed study would ask twice": (
        set_at("tuning", "pruner", value={"name": "SuccessiveHalvingPruner"}),
        ["name of pruner of tuning", "MedianPruner", "'SuccessiveHalvingPruner'"],
    ),
    "a pruner without a name": (
        set_at("tuning", "pruner", "name", value=None),
        ["pruner of tuning needs the key 'name'"],
    ),
    "a pruner that is no mapping": (
        set_at("tuning", "pruner", value="MedianPruner"),
        ["pruner of tuning", "a mapping"],
    ),
    "no groups": (set_at("tuning", "groups", value={}), ["groups of tuning", "at least one group"]),
    "a group's name that is no folder": (
        set_at("tuning", "groups", "a/b", value={"tasks": {"CartPole-v1": 1}, "serves": []}),
        ["'a/b'", "folder"],
    ),
    "a group without tasks": (
        set_at(*CLASSIC, "tasks", value={}),
        ["tasks of group classic of tuning", "at least one"],
    ),
    "a group with an unknown task": (
        set_at(*CLASSIC, "tasks", "CartPole-v0", value=500),
        ["group classic of tuning has 'CartPole-v0'", "did you mean 'CartPole-v1'"],
    ),
    "a group that serves an unknown task": (
        set_at(*CLASSIC, "serves", value=["Acrobot-v1"]),
        ["group classic of tuning has 'Acrobot-v1'", "CartPole-v1"],
    ),
    "a group that serves a task twice": (
        set_at(*CLASSIC, "serves", value=["CartPole-v1"] * 2),
        ["serves of group classic of tuning", "a list of different tasks"],
    ),
    "steps of text": (
        set_at(*CLASSIC, "tasks", "CartPole-v1", value="few"),
        ["gives CartPole-v1 'few'", "steps from 1"],
    ),
    "no steps": (set_at(*CLASSIC, "tasks", "CartPole-v1", value=0), ["group classic of tuning gives CartPole-v1 0"]),
    "two groups that serve one task": (
        a_second_group_for_the_same_task,
        ["two groups of tuning serve CartPole-v1", "a task takes its settings from one"],
    ),
    "unknown setting in a space": (
        set_at(*SPACE, "epoch", value={"low": 1, "high": 2}),
        ["search space of ppo: PPO has no setting 'epoch'; did you mean 'epochs'"],
    ),
    "a dimension that is no mapping": (
        set_at(*SPACE, "clip", value=[0.1, 0.2]),
        ["clip in the search space of ppo must be a mapping with the keys low, high, scale, choices"],
    ),
    "unknown key of a dimension": (set_at(*RATE, "lo", value=1), ["policy_learning_rate in the", "'lo'", "mean 'low'"]),
    "unknown scale": (
        set_at(*RATE, "scale", value="ln"),
        ["scale of policy_learning_rate in the search space", "'ln'"],
    ),
    "no end": (set_at(*RATE, "high", value=None), ["policy_learning_rate in the", "either low and high, or choices"]),
    "no beginning": (
        set_at(*RATE, "low", value=None),
        ["policy_learning_rate in the", "either low and high, or choices"],
    ),
    "nothing to draw from": (set_at(*RATE, value={}), ["policy_learning_rate", "either low and high, or choices"]),
    "a range and choices": (
        set_at(*RATE, value={"low": 1e-4, "high": 1e-2, "choices": [1e-3, 1e-2]}),
        ["policy_learning_rate in the search space of ppo needs either low and high, or choices"],
    ),
    "a scale of choices": (
        set_at(*SPACE, "minibatch_size", "scale", value="log"),
        ["minibatch_size in the search space of ppo has choices; a scale is for numbers"],
    ),
    "an empty range": (
        set_at(*RATE, "high", value=1e-4),
        ["policy_learning_rate in the search space of ppo is empty: low is 0.0001 and high is 0.0001"],
    ),
    "a range from the wrong end": (set_at(*SPACE, "epochs", "low", value=9), ["epochs", "low is 9 and high is 8"]),
    "a logarithm of zero": (set_at(*RATE, "low", value=0), ["policy_learning_rate", "low = 0.0; the scale log needs"]),
    "a gamma of one on a logarithmic scale": (
        set_at("algorithms", "a2c", "search_space", "gamma", "high", value=1),
        ["gamma in the search space of a2c has high = 1.0"],
    ),
    "whole numbers as gammas": (
        set_at(*SPACE, "epochs", "scale", value="log_one_minus"),
        ["epochs in the search space of ppo has high = 8"],
    ),
    "one choice": (
        set_at(*SPACE, "minibatch_size", "choices", value=[32]),
        ["choices of minibatch_size in the search space of ppo must be a list of at least two values, not [32]"],
    ),
    "a choice twice": (
        set_at(*SPACE, "minibatch_size", "choices", value=[32, 64, 32]),
        ["minibatch_size in the search space of ppo has 32 twice among its choices"],
    ),
    "an end of text": (
        set_at(*RATE, "low", value="tiny"),
        ["low of policy_learning_rate in the", "a number", "'tiny'"],
    ),
    "an end that is a truth": (set_at(*RATE, "low", value=False), ["low of policy_learning_rate", "False"]),
    "half an epoch": (set_at(*SPACE, "epochs", "low", value=1.5), ["epochs of PPO must be a whole number, not 1.5"]),
    "a choice of the wrong type": (
        set_at(*SPACE, "minibatch_size", "choices", value=[32, "many"]),
        ["search space of ppo: minibatch_size of PPO must be a whole number or null, not 'many'"],
    ),
    "a range of truths": (
        set_at(*SPACE, "anneal_learning_rate", value={"low": 0, "high": 1}),
        ["anneal_learning_rate of PPO must be true or false, not 0"],
    ),
    "an end out of the setting's range": (
        set_at("algorithms", "a2c", "search_space", "gamma", "high", value=1.5),
        ["search space of a2c: gamma of A2C must be between 0 and 1, not 1.5"],
    ),
    "a choice out of the setting's range": (
        set_at(*SPACE, "minibatch_size", "choices", value=[0, 32]),
        ["minibatch_size of PPO must be at least 1, not 0"],
    ),
    "tuned without a space": (
        set_at("algorithms", "reinforce", value={"tuned": True}),
        ["algorithm reinforce is to be tuned and has no search_space"],
    ),
    "tuned in a grid without tuning": (
        lambda data: data.pop("tuning") and data["algorithms"]["ppo"].update(tuned=True),
        ["algorithm ppo is to be tuned, and the grid has no section 'tuning'"],
    ),
    "perhaps tuned": (
        set_at("algorithms", "ppo", "tuned", value="yes"),
        ["tuned of algorithm ppo must be true or false"],
    ),
}


@pytest.mark.parametrize("mistake", TUNING_MISTAKES)
def test_a_mistake_in_tuning_is_one_sentence_that_names_file_key_and_choices(mistake, tmp_path):
    change, expected = TUNING_MISTAKES[mistake]
    data = copy.deepcopy(TUNED_GRID)
    change(data)
    with pytest.raises(GridError) as caught:
        load_grid(write(tmp_path / "mine.yaml", data))
    message = str(caught.value)
    assert "mine.yaml: " in message
    assert "\n" not in message
    for part in expected:
        assert part in message


def test_studies_are_the_tuned_algorithms_times_groups_and_serve_their_cells(tmp_path):
    data = copy.deepcopy(TUNED_GRID)
    data["tasks"]["Acrobot-v1"] = data["tasks"]["CartPole-v1"]
    data["tuning"]["groups"]["swing"] = {"tasks": {"CartPole-v1": 500, "Acrobot-v1": 500}, "serves": ["Acrobot-v1"]}
    data["algorithms"] |= {"ppo_published": data["algorithms"]["ppo"] | {"module": "ppo", "tuned": False}}
    grid = load_grid(write(tmp_path / "mine.yaml", data))
    directories = [f"tuning/{a}/{g}" for a in ("a2c", "ppo") for g in ("classic", "swing")]
    assert [study.directory for study in grid.studies()] == directories
    manifest = json.loads(json.dumps(grid.manifest()))
    assert [study["directory"] for study in manifest["studies"]] == directories
    of_cells = {(cell["algorithm"], cell["task"]): cell["tuned"] for cell in manifest["cells"]}
    assert of_cells == {
        (algorithm, task): f"tuning/{algorithm}/{group}" if algorithm in ("a2c", "ppo") else None
        for algorithm in data["algorithms"]
        for task, group in (("CartPole-v1", "classic"), ("Acrobot-v1", "swing"))
    }
    assert manifest["cells"][0]["settings"] == grid.resolved("reinforce", "CartPole-v1").settings()


def test_a_grid_without_tuning_tunes_nothing(tmp_path):
    grid = load_grid(write(tmp_path / "mine.yaml", TUNED_GRID | {"tuning": None}))
    assert grid.studies() == []
    assert grid.manifest()["studies"] == []
    assert {cell.tuned for cell in grid.cells()} == {None}
    with pytest.raises(GridError, match=r"mine\.yaml tunes nothing"):
        grid.study("ppo", "classic")


def test_a_source_of_probes_may_be_tuned_and_so_may_its_gamma(tmp_path):
    """A probe measures every estimator at the γ of the source's run."""
    assert load_grid(write(tmp_path / "mine.yaml", TUNED_GRID)).algorithms["ppo"].tuned
    data = copy.deepcopy(TUNED_GRID)
    data["probes"]["source"] = "a2c"
    grid = load_grid(write(tmp_path / "mine.yaml", data))
    assert grid.probes[0].source == "a2c"
    assert "gamma" in grid.study_of("a2c", "CartPole-v1").space


def test_tuned_settings_come_last(tmp_path):
    data = copy.deepcopy(TUNED_GRID)
    data["algorithms"]["ppo"] |= {"settings": {"epochs": 3, "clip": 0.1}, "tasks": {"CartPole-v1": {"epochs": 4}}}
    grid = load_grid(write(tmp_path / "mine.yaml", data))
    found = {"policy_learning_rate": 1e-3}
    settings = [grid.resolved("ppo", "CartPole-v1", tuned).settings() for tuned in (None, found, found | {"epochs": 5})]
    assert [(s["policy_learning_rate"], s["epochs"], s["clip"]) for s in settings] == [
        (3e-4, 4, 0.1), (1e-3, 4, 0.1), (1e-3, 5, 0.1)
    ]  # fmt: skip


def test_what_is_tuned_is_part_of_what_determines_a_study_and_how_much_is_not(tmp_path):
    first = load_grid(write(tmp_path / "mine.yaml", TUNED_GRID))
    same = {"trials": 9, "fresh_seeds": [300], "workers": 2}
    other = {
        "seeds": [100, 102],
        "sampler_seed": 1,
        "startup_trials": 3,
        "spread_penalty": 1,
        "pruner": {"name": "NopPruner"},
    }
    for key, value in (same | other).items():
        data = TUNED_GRID | {"tuning": TUNED_GRID["tuning"] | {key: value}}
        second = load_grid(write(tmp_path / "mine.yaml", data))
        before, after = (identity(g, g.study("ppo", "classic")) for g in (first, second))
        assert (before != after) == (key in other), key


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


def test_a_key_given_twice_is_refused(tmp_path):
    with pytest.raises(GridError, match="'seeds' is given twice"):
        load_grid(write(tmp_path / "mine.yaml", yaml.safe_dump(GRID) + "seeds: [5]\n"))


def test_a_file_that_is_not_yaml_is_refused(tmp_path):
    with pytest.raises(GridError, match="not valid YAML"):
        load_grid(write(tmp_path / "mine.yaml", "tasks: [unclosed"))


def test_a_tasks_time_limit_comes_before_the_grids_and_determines_no_run(tmp_path, grid):
    task = GRID["tasks"]["CartPole-v1"]
    limits = {"90 s": 90, "30 min": 1800, "1.5 h": 5400, 7: 7, 0.5: 0.5, None: None}
    for text, seconds in limits.items():
        tasks = {"CartPole-v1": task | {"time_limit": text}, "Acrobot-v1": task}
        limited = load_grid(write(tmp_path / "mine.yaml", GRID | {"time_limit": "2h", "tasks": tasks}))
        assert [limited.limit(name) for name in (*tasks, "experiments.exact:TabularMDP-v0")] == [seconds, 7200, 7200]
        for cell in grid.cells():
            assert what_determines(limited, cell) == what_determines(grid, cell)
        for probe in grid.probes:
            assert what_determines(limited, probe) == what_determines(grid, probe)
    assert grid.limit("CartPole-v1") is None


@pytest.mark.parametrize("limit", ["2 hours", "h", "0 s", "-1 s", 0, -1, True, [], "1e3 s", ".inf"])
def test_what_is_no_time_limit_is_refused(limit, tmp_path):
    expected = "must be a number of seconds above 0, text such as '90 s', '30 min' or '2 h', or null for no limit"
    with pytest.raises(GridError, match=f"time_limit of the grid {expected}"):
        load_grid(write(tmp_path / "mine.yaml", GRID | {"time_limit": limit}))
    data = GRID | {"tasks": {"CartPole-v1": GRID["tasks"]["CartPole-v1"] | {"time_limit": limit}}}
    with pytest.raises(GridError, match=f"time_limit of task CartPole-v1 {expected}"):
        load_grid(write(tmp_path / "mine.yaml", data))


def test_a_grid_of_one_algorithm_alone_has_the_same_cells_and_imports_no_other_file(tmp_path, grid):
    alone = load_grid(write(tmp_path / "mine.yaml", GRID), "ppo")
    assert alone.cells() == [cell for cell in grid.cells() if cell.algorithm == "ppo"]
    assert [what_determines(alone, c) for c in alone.cells()] == [what_determines(grid, c) for c in alone.cells()]
    data = GRID | {"algorithms": GRID["algorithms"] | {"nowhere": None}}
    assert load_grid(write(tmp_path / "mine.yaml", data), "ppo").cells() == alone.cells()
    with pytest.raises(GridError, match="no algorithm 'pppo'; did you mean 'ppo'"):
        load_grid(write(tmp_path / "mine.yaml", GRID), "pppo")


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
