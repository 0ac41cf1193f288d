"""The sizes and the activation of the networks are settings: grids, studies, checkpoints and probes know them."""

import json

import numpy as np
import pytest
import torch
import yaml
from gymnasium.spaces import Box, Discrete

from algorithms.core.algorithm import InvalidSetting
from algorithms.core.learner_state import InvalidCheckpoint
from algorithms.core.mlp import ValueFunction
from algorithms.core.policies import Policy
from algorithms.core.rollout import collect
from algorithms.core.task import Task
from algorithms.ppo import PPO
from algorithms.reinforce import Reinforce
from experiments import tune
from experiments.grid import GridError, load_grid
from experiments.probe import trained
from experiments.run import main as run_main
from experiments.tuned import read_best
from tests.tasks import make_learner

GRID = {
    "description": "Networks of other sizes.",
    "seeds": [0],
    "checkpoints": [1],
    "compile": "never",
    "probes": {"source": "ppo", "seeds": [0], "fractions": [1], "batches": 8}
    | {"tasks": {"CartPole-v1": {"batch_size": 1, "fit_episodes": 2}}},
    "tuning": {
        "seeds": [100, 101],
        "fresh_seeds": [200],
        "trials": 5,
        "startup_trials": 5,
        "groups": {"all": {"tasks": {"CartPole-v1": 128}, "serves": ["CartPole-v1"]}},
    },
    "tasks": {"CartPole-v1": {"steps": 256, "random_score": 20, "reference_score": 475, "reference_source": "none"}},
    "algorithms": {
        "ppo": {
            "settings": {"hidden_sizes": [16, 8], "activation": "relu", "rollout_length": 16, "epochs": 1},
            "search_space": {
                "hidden_sizes": {"choices": [[16, 8], [32], []]},
                "activation": {"choices": ["tanh", "relu"]},
            },
        }
    },
}


def write(folder, data=GRID):
    path = folder / "sizes.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return path


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("sizes", [(), (5,), (128, 128), (7, 6, 5)])
@pytest.mark.parametrize("space", [Discrete(3), Box(-1, 1, (2,))], ids=["Discrete", "Box"])
def test_networks_have_the_sizes_and_the_activation_asked_for_in_torch_and_numpy(space, sizes, activation):
    generator, x = torch.Generator().manual_seed(0), np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    policy = Policy(4, space, "clip", generator, sizes, activation)
    critic = ValueFunction(4, generator, sizes, activation)
    of_actions = ValueFunction(4, generator, sizes, activation, actions=3)
    for network in (policy.network, critic.network, of_actions.network):
        linear = [layer for layer in network if isinstance(layer, torch.nn.Linear)]
        assert tuple(layer.out_features for layer in linear[:-1]) == sizes
        kinds = {type(layer) for layer in network} - {torch.nn.Linear}
        assert kinds == ({torch.nn.Tanh if activation == "tanh" else torch.nn.ReLU} if sizes else set())
    with torch.no_grad():
        policy.network[-1].weight.mul_(100)
        outputs = policy.network(torch.from_numpy(x)).numpy()
        acted = policy.act(x, np.random.default_rng(0), mode=True)
        np.testing.assert_allclose(acted, outputs.argmax(-1) if policy.discrete else outputs, rtol=1e-4, atol=1e-5)
        for network, shape in ((critic, (6,)), (of_actions, (6, 3))):
            assert network.values(x).shape == shape
            np.testing.assert_allclose(network.values(x), network(torch.from_numpy(x)), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(x, np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32))


def test_sizes_are_a_tuple_in_an_algorithm_and_a_list_outside():
    algorithm = PPO.from_settings({"hidden_sizes": [128, 128]})
    assert algorithm == PPO(hidden_sizes=(128, 128))
    assert PPO().hidden_sizes == (64, 64)
    settings = json.loads(json.dumps(algorithm.settings()))
    assert settings == algorithm.settings()
    assert PPO.from_settings(settings) == algorithm


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"hidden_sizes": [64, 0]}, r"hidden_sizes of PPO must be at least 1, not \(64, 0\)"),
        ({"hidden_sizes": 64}, "hidden_sizes of PPO must be a list of whole numbers, not 64"),
        ({"hidden_sizes": [64.0]}, r"hidden_sizes of PPO must be a list of whole numbers, not \[64.0\]"),
        ({"activation": "gelu"}, "activation of PPO must be 'tanh' or 'relu', not 'gelu'"),
    ],
)
def test_impossible_networks_are_refused(settings, sentence):
    with pytest.raises(InvalidSetting, match=sentence):
        PPO.from_settings(settings)


@pytest.mark.parametrize("algorithm", [PPO, Reinforce])
def test_a_learner_of_other_sizes_learns_and_is_restored(algorithm):
    algorithm = algorithm(num_envs=4, hidden_sizes=(16,), activation="relu")
    envs, learner, rng = make_learner(algorithm, "RandomEnding-v0")
    before = learner.policy.parameter_vector.clone()
    learner.update(learner.prepare(collect(envs, learner.policy, learner.normalizer, rng, episodes=2)), 0.0)
    assert not torch.equal(before, learner.policy.parameter_vector)
    _, other, _ = make_learner(algorithm, "RandomEnding-v0", seed=1)
    other.load(learner.state())
    assert torch.equal(other.policy.parameter_vector, learner.policy.parameter_vector)
    _, usual, _ = make_learner(PPO(), "RandomEnding-v0")
    with pytest.raises(InvalidCheckpoint, match="the networks differ"):
        usual.load(learner.state())


def test_a_study_searches_sizes_and_its_winner_is_run_and_probed(tmp_path):
    path = write(tmp_path)
    grid = load_grid(str(path))
    study = grid.study("ppo", "all")
    assert study.description()["space"]["hidden_sizes"] == {"choices": [[16, 8], [32], []]}
    tune.main(["--grid", str(path), "--algorithm", "ppo", "--group", "all", "--output", str(tmp_path / "study")])
    found = json.loads((tmp_path / "study" / "study.json").read_text())
    assert found["untuned"] == {"hidden_sizes": [16, 8], "activation": "relu"}
    rows = (tmp_path / "study" / "trials.csv").read_text().splitlines()
    assert rows[1].endswith(',"[16, 8]",relu')
    assert {row.split('"')[1] if '"' in row else row.split(",")[-2] for row in rows[1:]} <= {"[16, 8]", "[32]", "[]"}
    tune.main(["--grid", str(path), "--algorithm", "ppo", "--group", "all", "--output", str(tmp_path / "study")])
    assert (tmp_path / "study" / "trials.csv").read_text().splitlines() == rows  # the journal was read again
    best = tmp_path / "best.json"
    best.write_text(
        json.dumps({"algorithm": "ppo", "group": "all", "trial": 1, "score": 0.5, "settings": {"hidden_sizes": [32]}})
    )
    assert read_best(best, study)["settings"] == {"hidden_sizes": [32]}
    cell = ["--grid", str(path), "--algorithm", "ppo", "--task", "CartPole-v1", "--seed", "0"]
    run_main([*cell, "--tuned", str(best), "--output", str(tmp_path / "run")])
    assert json.loads((tmp_path / "run" / "run.json").read_text())["settings"]["hidden_sizes"] == [32]
    frozen = trained(grid, grid.probe("CartPole-v1", 0, 1), tmp_path / "run")
    assert [p.shape[0] for p in frozen.policy.parameters()] == [32, 32, 2, 2]
    assert [p.shape[0] for p in frozen.value_function.parameters()] == [32, 32, 1, 1]


def test_a_run_of_a_build_without_these_settings_is_probed_at_the_sizes_that_it_had(tmp_path):
    data = GRID | {"algorithms": {"ppo": {"settings": {"rollout_length": 16, "epochs": 1}}}, "tuning": None}
    path = write(tmp_path, data)
    cell = ["--grid", str(path), "--algorithm", "ppo", "--task", "CartPole-v1", "--seed", "0"]
    run_main([*cell, "--output", str(tmp_path / "run")])
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    for name in ("hidden_sizes", "activation"):
        del record["settings"][name]
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    grid = load_grid(str(path))
    frozen = trained(grid, grid.probe("CartPole-v1", 0, 1), tmp_path / "run")
    assert frozen.policy.parameter_vector.numel() == (4 * 64 + 64) + (64 * 64 + 64) + (64 * 2 + 2)


def test_choices_of_sizes_are_checked(tmp_path):
    for choices, sentence in (([[64], [64]], r"has \[64\] twice"), ([[64], [0]], "must be at least 1")):
        data = json.loads(json.dumps(GRID))
        data["algorithms"]["ppo"]["search_space"]["hidden_sizes"]["choices"] = choices
        with pytest.raises(GridError, match=sentence):
            load_grid(str(write(tmp_path, data)))


def test_a_compiled_run_of_other_sizes_is_a_run():
    algorithm = PPO(num_envs=4, rollout_length=16, minibatch_size=32, epochs=1, hidden_sizes=(8, 8), activation="relu")
    run = algorithm.train(Task("Match-v0"), 0, 128)
    assert run.diverged_at is None
