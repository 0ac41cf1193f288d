"""A task that is several variants of one environment, from the grid file to the evaluation."""

import json

import numpy as np
import pytest
import yaml

from algorithms.core.evaluation import evaluate
from algorithms.core.task import Task
from algorithms.ppo import PPO
from analysis.reading.checks import ResultsError
from analysis.reading.grid import read_grid
from analysis.tables import make_tables
from experiments.cells import preprocessing
from experiments.determinants import what_determines
from experiments.grid import GridError, load_grid
from experiments.random_score import random_returns
from tests.analysis_fixtures import CARTPOLE, edit_json, write_grid, write_runs
from tests.tasks import make_learner

THREE = [{"reward": 1.0}, {"reward": 2.0}, {"reward": 4.0}]


@pytest.mark.parametrize(("variants", "episodes"), [(1, 20), (2, 20), (3, 21)])
def test_an_evaluation_has_as_many_episodes_of_each_variant_in_the_order_of_the_environments(variants, episodes):
    task = Task("AlwaysTheSame-v0", variants=tuple(THREE[:variants]))
    _, learner, _ = make_learner(PPO(num_envs=3), task)
    for evaluation in evaluate(learner, task, np.random.SeedSequence(0)).values():
        assert evaluation.returns == [2.0 ** (i % variants) for i in range(episodes)]
        assert evaluation.lengths == [1] * episodes


def test_the_order_is_that_of_the_environments_where_episodes_end_in_another():
    task = Task("Terminating-v0", variants=({"terminate_at": 5}, {"terminate_at": 2}))
    _, learner, _ = make_learner(PPO(num_envs=2), task)
    evaluation = evaluate(learner, task, np.random.SeedSequence(0))["sampled"]
    assert evaluation.lengths == [5, 2] * 10
    assert evaluation.returns == [15, 3] * 10


def test_a_run_trains_on_all_variants():
    run = PPO(num_envs=3, rollout_length=4).train(Task("AlwaysTheSame-v0", variants=tuple(THREE)), 0, 48)
    assert {episode.return_ for episode in run.episodes} == {1.0, 2.0, 4.0}
    assert len(run.evaluation["mode"].returns) == 21


def test_a_random_score_is_over_all_variants():
    returns = random_returns(Task("AlwaysTheSame-v0", variants=tuple(THREE)), episodes=9)
    assert sorted(returns) == [1.0] * 3 + [2.0] * 3 + [4.0] * 3


VALUES = {"steps": 100, "random_score": 0, "reference_score": 1, "reference_source": "made up"}
CARTPOLES = [{"sutton_barto_reward": False}, {"sutton_barto_reward": True}]


def load(tmp_path, variants=None, settings=None, **sections):
    task = VALUES if variants is None else {**VALUES, "variants": variants}
    algorithms = {"ppo": {"settings": settings or {}}}
    grid = {"description": "x", "seeds": [0], "tasks": {"CartPole-v1": task}, "algorithms": algorithms, **sections}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(grid))
    return load_grid(str(tmp_path / "mine.yaml"))


def test_a_grid_gives_a_task_its_variants_and_they_determine_its_cells(tmp_path):
    plain, grid = load(tmp_path), load(tmp_path, CARTPOLES)
    assert grid.tasks["CartPole-v1"].task.variants == tuple(CARTPOLES)
    assert grid.manifest()["tasks"]["CartPole-v1"]["variants"] == CARTPOLES
    tasks = grid.manifest()["tasks"]
    assert json.loads(json.dumps(tasks)) == tasks
    determined = {what_determines(g, g.cells()[0]).parameter for g in (plain, grid, load(tmp_path, CARTPOLES[::-1]))}
    assert len(determined) == 3


def test_a_task_without_variants_says_nothing_about_them(tmp_path):
    for grid in (load(tmp_path), load(tmp_path, [])):
        assert "variants" not in grid.manifest()["tasks"]["CartPole-v1"]
        assert "variants" not in what_determines(grid, grid.cells()[0]).parameter
    assert preprocessing(Task("CartPole-v1")).keys() == {
        *("normalize_observations", "normalize_rewards", "action_bounds", "max_episode_steps")
    }


PROBES = {"source": "ppo", "seeds": [0], "fractions": [1], "batches": 8}


@pytest.mark.parametrize(
    ("variants", "more", "words"),
    [
        ({"a": 1}, {}, "variants of task CartPole-v1 must be a list of mappings of keyword arguments"),
        ([{"a": 1}, 3], {}, "variants of task CartPole-v1 must be a list of mappings of keyword arguments"),
        ([{"a": float("nan")}], {}, "variants of task CartPole-v1 must be a list of mappings of keyword arguments"),
        ([{"a": 1}], {}, "task 'CartPole-v1' with the variant {'a': 1} cannot be made"),
        (CARTPOLES * 5, {}, "task 'CartPole-v1' has 10 variants, and num_envs is 8"),
        (
            CARTPOLES,
            {
                "checkpoints": [1],
                "probes": {**PROBES, "tasks": {"CartPole-v1": {"batch_size": 2, "fit_episodes": 2}}},
            },
            "tasks of probes has 'CartPole-v1', which has variants; the laboratory takes no such task",
        ),
    ],
    ids=["no list", "no mapping", "not in JSON", "an unknown argument", "too many", "probed"],
)
def test_variants_that_cannot_be_are_refused_with_the_file(tmp_path, variants, more, words):
    with pytest.raises(GridError) as refusal:
        load(tmp_path, variants, **more)
    assert "mine.yaml: " in str(refusal.value)
    assert words in str(refusal.value)


@pytest.mark.parametrize("of_the_grid", [True, False], ids=["the grid's alone", "the run's alone"])
def test_the_analysis_refuses_a_run_of_other_variants(tmp_path, of_the_grid):
    write_runs(tmp_path, write_grid(tmp_path, algorithms=("ppo",), tasks={"CartPole-v1": CARTPOLE}))
    path = tmp_path / ("grid.json" if of_the_grid else "runs/CartPole-v1/ppo/1/run.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    place = content["tasks"]["CartPole-v1"] if of_the_grid else content["task_settings"]
    place["variants"] = CARTPOLES
    edit_json(path, **content)
    with pytest.raises(ResultsError, match=r"task_settings\.variants is .*; run this cell again"):
        make_tables(read_grid(tmp_path))
