"""The key `only` of an algorithm: the tasks on which it runs."""

import pytest
import yaml

from experiments.checks import GridError
from experiments.grid import load_grid

ALGORITHMS = {"ppo": {"only": ["Pendulum-v1"]}, "a2c": None}


def grid(folder, algorithms, **further):
    entry = {"steps": 300, "random_score": 0, "reference_score": 1000, "reference_source": "a test"}
    tasks = {"Pendulum-v1": entry, "CartPole-v1": entry}
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({"seeds": 2, "claims": [], "tasks": tasks, "algorithms": algorithms} | further))
    return str(path)


def test_there_are_no_cells_on_other_tasks(tmp_path):
    read = load_grid(grid(tmp_path, ALGORITHMS))
    pairs = [(cell.algorithm, cell.task) for cell in read.cells()]
    assert pairs.count(("ppo", "Pendulum-v1")) == pairs.count(("a2c", "CartPole-v1")) == 2
    assert ("ppo", "CartPole-v1") not in pairs
    with pytest.raises(GridError, match="algorithm ppo does not run on CartPole-v1"):
        read.cell("ppo", "CartPole-v1", 0)


def test_a_library_is_not_asked_about_tasks_on_which_its_class_does_not_run(tmp_path):
    pytest.importorskip("stable_baselines3")
    dqn = {"library": "stable_baselines3", "class": "DQN"}
    with pytest.raises(GridError, match="cannot be made with these settings and spaces"):
        load_grid(grid(tmp_path, {"dqn": dqn}))
    assert len(load_grid(grid(tmp_path, {"dqn": dqn | {"only": ["CartPole-v1"]}})).cells()) == 2


SPACE = {"clip": {"low": 0.1, "high": 0.3}}
TUNING = {
    "seeds": [100],
    "fresh_seeds": [200],
    "trials": 2,
    "startup_trials": 1,
    "groups": {"all": {"tasks": {"Pendulum-v1": 300}, "serves": ["Pendulum-v1", "CartPole-v1"]}},
}
PROBES = {"source": "ppo", "seeds": [0], "fractions": [0], "batches": 8}


@pytest.mark.parametrize(
    ("algorithms", "further", "sentence"),
    [
        ({"ppo": {"only": ["Pendulum"]}}, {}, r"only of algorithm ppo has 'Pendulum'; did you mean 'Pendulum-v1'\?"),
        ({"ppo": {"only": []}}, {}, "only of algorithm ppo must be a list of tasks of the grid"),
        ({"ppo": {"only": ["Pendulum-v1"], "search_space": SPACE}}, {"tuning": TUNING}, "is tuned, .* and has 'only'"),
        (
            ALGORITHMS,
            {
                "checkpoints": [0],
                "probes": PROBES | {"tasks": {"CartPole-v1": {"batch_size": 2, "fit_episodes": 2}}},
            },
            "probes has 'CartPole-v1', on which their source 'ppo' does not run",
        ),
    ],
)
def test_mistakes_are_one_sentence(algorithms, further, sentence, tmp_path):
    with pytest.raises(GridError, match=sentence) as found:
        load_grid(grid(tmp_path, algorithms, **further))
    assert "\n" not in str(found.value)
