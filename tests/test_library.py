"""Training, a policy and a notebook without a grid: what `policy_gradient_ladder` offers to a program."""

import sys
from pathlib import Path

import nbclient
import nbformat
import numpy as np
import pandas as pd
import pytest

from policy_gradient_ladder import PPO, Reinforce, SavedPolicy, Task, load_policy, train
from policy_gradient_ladder.core.task import UnsupportedTask
from tests.documentation import block
from tests.pipeline_fixtures import ROOT

NOTEBOOK = ROOT / "algorithms/quickstart.ipynb"
SMALL = PPO(num_envs=2, rollout_length=64, minibatch_size=32, epochs=2)


def test_train_gives_what_the_algorithms_own_method_gives():
    own = SMALL.train(Task("CartPole-v1"), 3, 500)
    run = train(SMALL, "CartPole-v1", seed=3, steps=500)
    assert (run.episodes, run.updates, run.evaluation) == (own.episodes, own.updates, own.evaluation)
    normalised = train(SMALL, Task("CartPole-v1", normalize_rewards=True), seed=3, steps=500, evaluations=())
    assert normalised.evaluation == {}
    assert normalised.episodes[0] == run.episodes[0]


def test_a_runs_policy_acts_is_evaluated_and_loaded_again(tmp_path):
    run = train(SMALL, "CartPole-v1", seed=0, steps=300)
    run.policy.save(str(tmp_path / "policy.npz"))
    assert [file.name for file in tmp_path.iterdir()] == ["policy.npz"]
    policy = load_policy(tmp_path)
    assert policy == run.policy
    assert isinstance(policy, SavedPolicy)
    observations = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    np.testing.assert_array_equal(policy.act(observations), run.policy.act(observations))
    np.testing.assert_array_equal(run.policy.evaluate(20, seed=0), run.evaluation["sampled"].returns)


def test_the_episodes_of_a_run_are_a_frame():
    run = train(Reinforce(num_envs=2), "CartPole-v1", seed=0, steps=300, evaluations=())
    frame = run.to_pandas()
    assert isinstance(frame, pd.DataFrame)
    assert list(frame.columns) == ["step", "return", "length", "start"]
    assert [tuple(row) for row in frame.itertuples(index=False)] == [tuple(e) for e in run.episodes]


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ((PPO, "CartPole-v1", 10), ValueError, r"must be an object with settings, PPO\(\), not the class itself"),
        (("ppo", "CartPole-v1", 10), ValueError, r"must be an Algorithm, such as PPO\(clip=0.1\), not 'ppo'"),
        ((PPO(), 3, 10), ValueError, "must be a Gymnasium id, such as 'CartPole-v1', or a Task, not 3"),
        ((PPO(), "CartPole-v1", 0), ValueError, "steps must be a whole number from 1, not 0"),
        ((PPO(), "CartPole-v1", 1e5), ValueError, r"steps must be a whole number from 1, not 100000\.0"),
        ((PPO(), "NoSuchTask-v0", 10), UnsupportedTask, "'NoSuchTask-v0' cannot be made"),
    ],
)
def test_a_wrong_argument_is_a_sentence(arguments, error, sentence):
    algorithm, task, steps = arguments
    with pytest.raises(error, match=sentence):
        train(algorithm, task, steps=steps)


def test_the_readmes_example_runs(tmp_path, monkeypatch, capsys):
    """In a folder with the one run that it loads."""
    run = tmp_path / "results/first/runs/CartPole-v1/ppo/0"
    run.mkdir(parents=True)
    train(SMALL, "CartPole-v1", seed=0, steps=200, evaluations=()).policy.save(run / "policy.npz")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(block("library"), names)
    assert names["action"] in (0, 1)
    assert len(names["run"].evaluation["sampled"].returns) == 20
    assert "start" in capsys.readouterr().out


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The notebook, run from top to bottom in an empty folder."""
    folder = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
        notebook = nbformat.read(NOTEBOOK, as_version=4)
        resources = {"metadata": {"path": str(folder)}}
        notebook.cells[1].source = (
            f"import sys; sys.path.insert(0, {str(ROOT)!r}); import algorithms\n" + notebook.cells[1].source
        )
        return nbclient.NotebookClient(notebook, timeout=300, resources=resources).execute()


def outputs(cell):
    """What a cell has shown, by kind."""
    return {kind: data for output in cell.get("outputs", []) for kind, data in output.get("data", {}).items()}


def test_the_notebook_trains_draws_measures_and_watches(executed):
    assert len(executed.cells) == 10
    shown = [outputs(cell) for cell in executed.cells]
    assert shown[1]["text/plain"].startswith("SavedPolicy(ppo on CartPole-v1")
    assert "image/png" in shown[5]
    plain, with_baseline = (float(line.split()[-1]) for line in shown[7]["text/plain"].splitlines()[:2])
    assert 0 < with_baseline < plain  # what the cell above says that it measures
    assert shown[8]["text/plain"] in ("0", "1")
    assert "image/gif" in shown[9]


def test_the_notebook_is_shipped_with_what_it_shows():
    shipped = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(shipped)
    assert all(cell.outputs for cell in shipped.cells if cell.cell_type == "code")
    assert NOTEBOOK.stat().st_size < 500_000
