"""Evaluations in the middle of a training: what they are, that they change nothing else, and where they are shown."""

import csv
import json
from dataclasses import dataclass, replace
from typing import ClassVar

import gymnasium
import numpy as np
import pandas as pd
import pytest
from gymnasium.spaces import Box, Discrete

from algorithms.a2c import A2C
from algorithms.core.algorithm import Algorithm, InvalidAlgorithm
from algorithms.core.run import EvaluationEpisode, Run
from algorithms.core.run_check import checked_training
from algorithms.core.task import Task
from algorithms.ppo import PPO
from algorithms.reinforce import Reinforce
from analysis.sections.learning.sentences import page
from analysis.sections.learning.tables import evaluation_curves, evaluation_intervals
from experiments import run as command
from experiments.checks import GridError
from experiments.grid import load_grid
from experiments.schema import EVALUATION_COLUMNS
from tests.tasks import ALGORITHMS

NORMALISED = {"normalize_observations": True, "normalize_rewards": True}
GRID = """
description: A grid.
seeds: [0]
checkpoints: [1]
compile: never
evaluate_every: 300
evaluate_episodes: 3
tasks:
  CartPole-v1: {steps: 1000, random_score: 20, reference_score: 475, reference_source: a test}
algorithms:
  a2c: {settings: {num_envs: 4, rollout_length: 25}}
"""


class DrawsGlobally(gymnasium.Env):
    """Pays what the global generator of NumPy draws; ends after five steps."""

    observation_space, action_space = Box(-np.inf, np.inf, (1,), np.float32), Discrete(2)

    def reset(self, *, seed=None, options=None):
        """The first observation."""
        self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        """A drawn reward."""
        self.steps += 1
        return np.zeros(1, np.float32), float(np.random.random()), self.steps == 5, False, {}  # noqa: NPY002


gymnasium.register("DrawsGlobally-v0", DrawsGlobally, max_episode_steps=10)


@dataclass(frozen=True)
class Elsewhere(Algorithm):
    """An algorithm of another library, whose `train` takes no evaluate_every."""

    title: ClassVar[str] = "Elsewhere"
    equation: ClassVar[str] = "none"

    def train(self, task, seed, steps, *, checkpoint_fractions, compile, evaluations, on_update):
        """Trains nothing."""
        run = A2C(num_envs=1).train(task, seed, steps, evaluations=evaluations)
        return replace(run, updates=[], updates_made=0, checkpoints=[])


def but_evaluations(run):
    """Everything of a run that evaluations in the middle of it must not change."""
    found = dict(vars(run)) | {"seconds": None, "evaluations": None}
    found["checkpoints"] = [{name: x.tobytes() for name, x in c.state.items()} for c in run.checkpoints]
    return found


@pytest.mark.parametrize("kind", ALGORITHMS)
@pytest.mark.parametrize("task", ["CartPole-v1", "DrawsGlobally-v0"])
def test_everything_else_is_the_same_with_and_without_them(kind, task):
    algorithm, task = ALGORITHMS[kind](num_envs=3), Task(task, **NORMALISED)
    options = {"checkpoint_fractions": [0.5, 1], "compile": "never"}
    without = checked_training(algorithm, task, 1, 1200, **options)
    evaluated = checked_training(algorithm, task, 1, 1200, evaluate_every=250, **options)
    assert evaluated.evaluations
    assert not without.evaluations
    assert but_evaluations(evaluated) == but_evaluations(without)


def test_they_are_at_the_first_update_that_ends_at_or_behind_each_multiple():
    run = checked_training(A2C(num_envs=4, rollout_length=25), Task("CartPole-v1"), 1, 1000, evaluate_every=300)
    assert sorted({e.step for e in run.evaluations}) == [300, 600, 900]
    run = checked_training(A2C(num_envs=4, rollout_length=25), Task("CartPole-v1"), 1, 1000, evaluate_every=350)
    assert sorted({e.step for e in run.evaluations}) == [400, 700]
    run = checked_training(A2C(num_envs=4, rollout_length=100), Task("CartPole-v1"), 1, 1200, evaluate_every=100)
    assert sorted({e.step for e in run.evaluations}) == [400, 800, 1200]
    run = checked_training(Reinforce(num_envs=2), Task("CartPole-v1"), 1, 1000, evaluate_every=300)
    steps = sorted({e.step for e in run.evaluations})
    assert [step // 300 for step in steps] == [1, 2, 3]
    assert set(steps) & {row["step"] for row in run.updates} == set(steps)
    assert not checked_training(A2C(num_envs=2), Task("CartPole-v1"), 1, 500, evaluate_every=501).evaluations


def test_each_has_complete_episodes_of_both_kinds_and_other_random_numbers():
    run = checked_training(
        A2C(num_envs=4, rollout_length=25, policy_learning_rate=0.0, value_learning_rate=0.0),
        *(Task("CartPole-v1"), 1, 900),
        evaluate_every=300,
        evaluate_episodes=4,
    )
    by_step = {(e.step, e.kind): [] for e in run.evaluations}
    for e in run.evaluations:
        assert e.return_ == e.length > 0
        by_step[e.step, e.kind].append(e.return_)
    assert {key: len(returns) for key, returns in by_step.items()} == {
        (step, kind): 4 for step in (300, 600, 900) for kind in ("sampled", "mode")
    }
    sampled = {tuple(returns) for (_, kind), returns in by_step.items() if kind == "sampled"}
    assert len(sampled) == 3  # although nothing was learned
    one_kind = checked_training(
        A2C(num_envs=4), Task("CartPole-v1"), 1, 900, evaluations=["mode"], evaluate_every=300, evaluate_episodes=2
    )
    assert [e.kind for e in one_kind.evaluations] == ["mode"] * 6


def test_each_variant_has_as_many_episodes():
    task = Task("CartPole-v1", variants=({}, {"sutton_barto_reward": True}, {}))
    run = checked_training(A2C(num_envs=3), task, 1, 600, evaluate_every=600, evaluate_episodes=4)
    assert len(run.evaluations) == 2 * 6


def test_their_time_is_that_of_evaluating():
    task = Task("CartPole-v1")
    run = checked_training(
        A2C(num_envs=2), task, 1, 400, evaluations=["sampled"], evaluate_every=10, evaluate_episodes=50
    )
    phases = sum(run.seconds[phase] for phase in ("stepping", "acting", "learning"))
    assert run.seconds["evaluating"] > 3 * run.seconds["training"] > 3 * phases


@pytest.mark.parametrize(("name", "value"), [("evaluate_every", 0), ("evaluate_every", 1.5), ("evaluate_episodes", 0)])
def test_a_number_of_steps_or_episodes_that_is_none_is_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be a whole number from 1, not {value}"):
        A2C().train(Task("CartPole-v1"), 0, 100, **{"evaluate_every": 10, name: value})


def test_a_task_that_gives_an_unusable_number_in_one_stops_the_run(tmp_path):
    class Bursts(DrawsGlobally):
        """Pays infinity in the third environment that is made."""

        made = 0

        def __init__(self):
            type(self).made += 1
            self.number = self.made

        def step(self, action):
            """A reward."""
            observation, _, *rest = super().step(action)
            return observation, np.inf if self.number == 3 else 1.0, *rest

    gymnasium.register("Bursts-v0", Bursts, max_episode_steps=10)
    run = checked_training(A2C(num_envs=2), Task("Bursts-v0"), 0, 600, evaluate_every=100)
    assert run.stopped_by_task
    assert run.evaluation is None
    assert run.diverged_at == run.steps_taken >= 100
    assert "of the evaluation with sampled actions" in run.diverged_because


@pytest.mark.parametrize(
    ("episode", "said"),
    [
        (EvaluationEpisode(700, "sampled", 1.0, 3), r"evaluations\[0\].step is 700; expected is at most 600"),
        (EvaluationEpisode(7, "best", 1.0, 3), r"evaluations\[0\] is of the kind 'best'; valid are: sampled, mode"),
        (
            EvaluationEpisode(7, "mode", float("nan"), 3),
            r"evaluations\[0\].return_ is nan; expected is a finite number",
        ),
        ((7, "mode", 1.0), "expected is an EvaluationEpisode"),
    ],
)
def test_what_another_librarys_run_says_of_them_is_checked(episode, said):
    @dataclass(frozen=True)
    class Says(Elsewhere):
        """Says something of evaluations."""

        def train(self, *arguments, **options):
            """With one episode of an evaluation."""
            run = super().train(*arguments, **options | {"checkpoint_fractions": (), "compile": "", "on_update": None})
            return Run(**vars(run) | {"evaluations": [episode]})

    with pytest.raises(InvalidAlgorithm, match=said):
        checked_training(Says(), Task("CartPole-v1"), 0, 600)


# ------------------------------------------------------------------------------------ grids, files and tables


@pytest.fixture
def grid(tmp_path):
    path = tmp_path / "g.yaml"
    path.write_text(GRID)
    return path


def run(grid, output, *further):
    words = ["--algorithm", "a2c", "--task", "CartPole-v1", "--seed", "0", "--output", str(output)]
    command.main(["--grid", str(grid), *words, *further])
    return json.loads((output / "run.json").read_text())


def test_they_are_in_a_file_of_the_run_that_its_record_describes(grid, tmp_path):
    record = run(grid, tmp_path / "run")
    with (tmp_path / "run" / "evaluations.csv").open() as file:
        rows = list(csv.reader(file))
    assert tuple(rows[0]) == EVALUATION_COLUMNS
    assert [row[:2] for row in rows[1:]] == [
        [step, kind] for step in ("300", "600", "900") for kind in ["sampled"] * 3 + ["mode"] * 3
    ]
    assert "evaluations.csv" in record["files"]
    assert (record["evaluate_every"], record["evaluate_episodes"]) == (300, 3)


def test_the_command_line_asks_for_others_than_the_grid(grid, tmp_path):
    record = run(grid, tmp_path / "run", "--evaluate-every", "500", "--evaluate-episodes", "1")
    assert (record["evaluate_every"], record["evaluate_episodes"]) == (500, 1)
    assert len((tmp_path / "run" / "evaluations.csv").read_text().splitlines()) == 1 + 2 * 2
    with pytest.raises(GridError, match="--evaluate-every must be at least 1, not 0"):
        run(grid, tmp_path / "run", "--evaluate-every", "0")


def test_without_them_there_is_no_file_and_no_word(grid, tmp_path):
    grid.write_text(GRID.replace("evaluate_every: 300", "evaluate_every: null"))
    record = run(grid, tmp_path / "run")
    assert not (tmp_path / "run" / "evaluations.csv").exists()
    assert "evaluate_every" not in record


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("evaluate_every", "0", "evaluate_every of the grid must be a whole number of steps above 0, or null, not 0"),
        ("evaluate_every", "often", "evaluate_every of the grid must be"),
        ("evaluate_episodes", "0", "evaluate_episodes of the grid must be a whole number of episodes above 0, not 0"),
    ],
)
def test_a_mistake_in_a_grid_is_said(grid, key, value, said):
    before = {"evaluate_every": "300", "evaluate_episodes": "3"}[key]
    grid.write_text(GRID.replace(f"{key}: {before}", f"{key}: {value}"))
    with pytest.raises(GridError, match=said):
        load_grid(str(grid))


def test_an_algorithm_that_takes_no_evaluate_every_is_evaluated_at_its_end_alone_and_a_line_says_so(
    grid, tmp_path, monkeypatch, caplog
):
    read = load_grid(str(grid))
    monkeypatch.setattr(command, "load_grid", lambda *arguments: read)
    monkeypatch.setattr("experiments.cells.Grid.resolved", lambda self, *arguments: Elsewhere())
    run(grid, tmp_path / "run")
    assert (tmp_path / "run" / "evaluations.csv").read_text() == ",".join(EVALUATION_COLUMNS) + "\n"
    assert "Elsewhere.train takes no evaluate_every, so this run is evaluated at its end alone" in caplog.text


class Results:
    """A grid as the tables see it."""

    tasks: ClassVar = {"t": {"random_score": -5.0}}

    def __init__(self, folder):
        self.folder = folder


def results(folder, seed, rows, **run):
    cell = {"task": "t", "algorithm": "a", "seed": seed, "steps": 400, "directory": f"runs/{seed}"}
    (folder / cell["directory"]).mkdir(parents=True)
    lines = [",".join(EVALUATION_COLUMNS), *(f"{step},{kind},{return_},9" for step, kind, return_ in rows)]
    (folder / cell["directory"] / "evaluations.csv").write_text("\n".join(lines) + "\n")
    return cell, {"status": "done", "evaluate_every": 100} | run


def test_a_point_is_the_mean_of_one_and_of_a_diverged_run_the_random_score(tmp_path):
    grid = Results(tmp_path)
    first = [(step, "sampled", value) for step in (104, 208, 300, 400) for value in (step, step + 2)]
    second = [(112, "sampled", 7.0)]
    runs = [results(tmp_path, 0, first), results(tmp_path, 1, second, status="diverged", diverged_at=230)]
    curves = evaluation_curves(grid, runs)
    of = curves[curves["kind"] == "sampled"].set_index(["seed", "asked"])
    assert of.loc[0]["return"].to_dict() == {100: 105, 200: 209, 300: 301, 400: 401}
    assert of.loc[0]["step"].tolist() == [104, 208, 300, 400]
    assert of.loc[1]["return"].to_dict() == {100: 7, 300: -5, 400: -5}
    assert of.loc[1]["episodes"].tolist() == [1, 0, 0]
    intervals = evaluation_intervals(grid, curves[curves["kind"] == "sampled"])
    assert intervals[["step", "n", "mean"]].to_numpy().tolist() == [[100, 2, 56], [300, 2, 148], [400, 2, 198]]


def test_runs_without_them_have_no_rows(tmp_path):
    cell, record = results(tmp_path, 0, [])
    del record["evaluate_every"]
    curves = evaluation_curves(Results(tmp_path), [(cell, record)])
    assert curves.empty
    assert evaluation_intervals(Results(tmp_path), curves).empty
    assert isinstance(curves, pd.DataFrame)


def test_the_page_leaves_the_figure_out_where_it_has_nothing_to_show(tmp_path):
    grid, scores = Results(tmp_path), pd.DataFrame({"reached": []})
    curves = evaluation_curves(grid, [results(tmp_path, 0, [(100, "sampled", 1.0)])])
    assert page(grid, scores, curves)["empty"] == []
    assert page(grid, scores, curves[:0])["empty"] == ["evaluation_curves"]


def test_ppo_in_compiled_code_is_the_same_with_them_too():
    options = {"compile": "auto"}
    small = PPO(num_envs=3, rollout_length=32, minibatch_size=32)
    without = checked_training(small, Task("Hopper-v5"), 1, 600, **options)
    evaluated = checked_training(small, Task("Hopper-v5"), 1, 600, evaluate_every=100, **options)
    assert but_evaluations(evaluated) == but_evaluations(without)
