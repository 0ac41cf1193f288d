"""What was trained is kept until it is evaluated: an attempt that ends in its evaluation is not trained again."""

import json
import os

import numpy as np
import pytest

from algorithms.core import training
from experiments import run as command
from experiments.schema import TRAINED

GRID = """
description: A grid.
seeds: [0]
checkpoints: [0, 0.5, 1]
compile: never
tasks:
  CartPole-v1: {steps: 600, random_score: 20, reference_score: 475, reference_source: a test, normalize_rewards: true}
algorithms:
  ppo: {settings: {num_envs: 3, rollout_length: 64, minibatch_size: 64}}
  reinforce: null
"""


class Interrupted(Exception):
    """Ends a training or an evaluation in these tests."""


def interrupt(*arguments, **options):
    raise Interrupted


@pytest.fixture
def grid(tmp_path):
    path = tmp_path / "g.yaml"
    path.write_text(GRID)
    return path


def run(grid, output, *further, algorithm="ppo", seed=0):
    words = ("--grid", grid, "--algorithm", algorithm, "--task", "CartPole-v1", "--seed", seed, "--output", output)
    command.main([*map(str, words), *further])


def files(folder):
    """The contents of a run's files, without what is measured anew each time."""
    found = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    record = json.loads(found.pop("run.json"))
    for key in ("seconds", "steps_per_second", "peak_memory_mb", "sha256"):
        del record[key]
    return found, record


def interrupted(grid, output, monkeypatch, *further, **options):
    """An attempt that ends in its evaluation; afterwards any training ends."""
    with monkeypatch.context() as patched:
        patched.setattr(training, "evaluate", interrupt)
        with pytest.raises(Interrupted):
            run(grid, output, *further, **options)
    monkeypatch.setattr(training, "_learn", interrupt)


@pytest.mark.parametrize("algorithm", ["ppo", "reinforce"])
def test_a_later_attempt_evaluates_without_training_and_gives_the_same_run(grid, algorithm, tmp_path, monkeypatch):
    run(grid, tmp_path / "whole", algorithm=algorithm)
    interrupted(grid, tmp_path / "cell", monkeypatch, algorithm=algorithm)
    assert os.listdir(tmp_path / "cell") == [TRAINED]
    run(grid, tmp_path / "cell", algorithm=algorithm)
    assert files(tmp_path / "cell") == files(tmp_path / "whole")
    assert sorted(os.listdir(tmp_path)) == ["cell", "g.yaml", "whole"]
    seconds = json.loads((tmp_path / "cell/run.json").read_text())["seconds"]
    assert seconds["total"] > seconds["training"] + seconds["evaluating"] > 0


def test_nothing_is_left_of_it_in_a_complete_run(grid, tmp_path):
    run(grid, tmp_path / "cell")
    assert sorted(os.listdir(tmp_path / "cell")) == [
        "checkpoints",
        "episodes.csv",
        "policy.npz",
        "run.json",
        "updates.csv",
    ]


def test_it_outlives_an_earlier_run_of_the_cell_and_the_removal_of_its_files(grid, tmp_path, monkeypatch):
    """Snakemake removes the outputs of a job before it begins and after it has failed."""
    run(grid, tmp_path / "cell")
    before = files(tmp_path / "cell")
    for name in ("run.json", "episodes.csv", "updates.csv"):
        (tmp_path / "cell" / name).unlink()
    interrupted(grid, tmp_path / "cell", monkeypatch)
    run(grid, tmp_path / "cell")
    assert files(tmp_path / "cell") == before


@pytest.mark.parametrize(
    "change",
    [
        lambda grid: grid.write_text(GRID.replace("num_envs: 3", "num_envs: 4")),
        lambda grid: grid.write_text(GRID.replace("steps: 600", "steps: 601")),
        lambda grid: grid.write_text(GRID.replace("0.5, 1", "0.25, 1")),
        lambda grid: grid.write_text(GRID.replace("normalize_rewards: true", "normalize_rewards: false")),
        lambda grid: ["--steps", "599"],
        lambda grid: ["--set", "gamma=0.9"],
    ],
)
def test_it_is_not_taken_up_by_another_cell(grid, change, tmp_path, monkeypatch):
    interrupted(grid, tmp_path / "cell", monkeypatch)
    with pytest.raises(Interrupted):
        run(grid, tmp_path / "cell", *(words if isinstance(words := change(grid), list) else []))


def test_it_is_not_taken_up_by_another_seed(grid, tmp_path, monkeypatch):
    interrupted(grid, tmp_path / "cell", monkeypatch)
    with pytest.raises(Interrupted):
        run(grid, tmp_path / "cell", seed=1)


def test_it_is_not_taken_up_after_an_edit_of_the_code(grid, tmp_path, monkeypatch):
    interrupted(grid, tmp_path / "cell", monkeypatch)
    monkeypatch.setattr("experiments.determinants.Code.name", "of another version")
    with pytest.raises(Interrupted):
        run(grid, tmp_path / "cell")


@pytest.mark.parametrize("damage", [lambda b: b[:-100], lambda b: b"", lambda b: b[:300] + b"\0\1\2" + b[303:]])
def test_a_damaged_one_is_not_taken_up(grid, damage, tmp_path, monkeypatch):
    interrupted(grid, tmp_path / "cell", monkeypatch)
    path = tmp_path / "cell" / TRAINED
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(Interrupted):
        run(grid, tmp_path / "cell")


def test_what_is_taken_up_is_the_learner_itself(grid, tmp_path, monkeypatch):
    """A test that can fail: with other parameters the evaluation is another one."""
    run(grid, tmp_path / "whole")
    interrupted(grid, tmp_path / "cell", monkeypatch)
    path = tmp_path / "cell" / TRAINED
    with np.load(path) as file:
        arrays = {
            name: array + np.float32(0.3) if name.startswith("state/policy") else array for name, array in file.items()
        }
    np.savez(path, **arrays)
    run(grid, tmp_path / "cell")
    (_, ours), (_, theirs) = files(tmp_path / "cell"), files(tmp_path / "whole")
    assert ours["evaluation"] != theirs["evaluation"]
