"""Tasks that never end, tasks of which few can be open, and evaluations that are interrupted."""

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from algorithms.a2c import A2C
from algorithms.core import rollout
from algorithms.core.evaluation import evaluate
from algorithms.core.policies import Policy
from algorithms.core.run import LONGEST_EPISODE
from algorithms.core.task import Task
from algorithms.core.vector_env import VectorEnv
from algorithms.ppo import PPO
from algorithms.reinforce import Reinforce
from experiments import random_score
from experiments.gradients import draw_episodes
from experiments.grid import load_grid
from experiments.progress import Progress
from experiments.task_check import check_task
from tests.tasks import make_learner


class Endless(gymnasium.Env):
    """Pays 1 a step, for ever; or until the step `ends`."""

    observation_space, action_space = Box(0, 1, (1,), np.float32), Discrete(2)

    def __init__(self, ends=None):
        self.ends = ends

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.np_random.random(1, np.float32), {}

    def step(self, action):
        self.t += 1
        return self.np_random.random(1, np.float32), 1.0, self.t == self.ends, False, {}


class Scarce(Endless):
    """At most `most` can be open; closing one raises afterwards."""

    open, most = 0, 1

    def __init__(self):
        super().__init__(ends=7)
        if Scarce.open >= Scarce.most:
            raise RuntimeError("too many are open")
        Scarce.open += 1
        Scarce.peak = max(Scarce.open, getattr(Scarce, "peak", 0))

    def close(self):
        Scarce.open -= 1
        raise OSError("the server has gone away")


gymnasium.register("Endless-v0", Endless)
gymnasium.register("Ending-v0", Endless, kwargs={"ends": 7})
gymnasium.register("Limited-v0", Endless, max_episode_steps=30)
gymnasium.register("OwnLimit-v0", lambda: gymnasium.wrappers.TimeLimit(Endless(), 30))
gymnasium.register("Scarce-v0", Scarce)


@pytest.fixture
def scarce():
    Scarce.open = Scarce.peak = 0
    yield Scarce
    Scarce.most = 1


@pytest.mark.parametrize(("num_envs", "length"), [(1, 1), (4, 3)])
def test_a_rollout_of_whole_episodes_on_an_endless_task_uses_the_budget_once(num_envs, length):
    run = Reinforce(num_envs=num_envs, rollout_length=length).train(Task("Endless-v0"), 0, 400, compile="never")
    assert run.steps_taken == 400
    assert run.updates_made == 1
    assert [(e.length, e.return_) for e in run.episodes] == [(400 // num_envs,) * 2] * num_envs
    assert run.open_episodes == []
    assert run.evaluation["mode"].lengths == run.evaluation["sampled"].lengths == [400] * 20


@pytest.mark.parametrize("num_envs", [1, 4])
def test_steps_on_an_endless_task_are_never_cut_and_its_open_episodes_end_as_its_evaluations(num_envs):
    run = A2C(num_envs=num_envs, rollout_length=5).train(Task("Endless-v0"), 0, 400, compile="never")
    assert (run.steps_taken, run.episodes) == (400, [])
    assert [(e.start, e.length, e.return_) for e in run.open_episodes] == [(i, 400, 400) for i in range(num_envs)]
    assert run.evaluation["sampled"].returns == [400] * 20


def test_an_evaluation_episode_is_cut_after_a_stated_length_and_no_time_limit_is_shortened(monkeypatch):
    monkeypatch.setattr("algorithms.core.training.LONGEST_EPISODE", 50)
    algorithm = PPO(num_envs=2, rollout_length=50, minibatch_size=50, epochs=1)
    for task, length in (("Endless-v0", 50), ("Ending-v0", 7), ("Limited-v0", 30)):
        run = algorithm.train(Task(task), 0, 100, compile="never")
        assert run.evaluation["sampled"].lengths == [length] * 20
    run = algorithm.train(Task("Endless-v0", max_episode_steps=300), 0, 100, compile="never")
    assert run.evaluation["sampled"].lengths == [300] * 20
    assert LONGEST_EPISODE == 100_000


def test_a_task_without_a_limit_that_ends_by_itself_is_what_it_would_be_with_one():
    algorithm = Reinforce(num_envs=3, rollout_length=2)
    without, with_one = (
        algorithm.train(Task("Ending-v0", max_episode_steps=limit), 0, 300, compile="never") for limit in (None, 1000)
    )
    assert without.episodes == with_one.episodes
    assert {e.length for e in without.episodes} == {7}
    assert without.evaluation == with_one.evaluation


def test_random_actions_and_the_laboratory_end_on_an_endless_task(monkeypatch):
    monkeypatch.setattr(random_score, "LONGEST_EPISODE", 50)
    assert random_score.random_returns(Task("Endless-v0"), episodes=3).tolist() == [50] * 3
    _, learner, _ = make_learner(PPO(), "Endless-v0")
    drawn = draw_episodes(
        *(Task("Endless-v0"), learner.policy, learner.normalizer, lambda rewards: rewards, 6),
        np.random.SeedSequence(0),
        num_envs=4,
        longest=20,
    )
    assert np.diff(drawn.starts).tolist() == [20] * 6


GRID = """
description: A grid.
seeds: [0]
tasks:
  {task}: {{steps: 3000, random_score: 0, reference_score: 1, reference_source: a test{more}}}
algorithms: {{reinforce: null}}
"""


@pytest.mark.parametrize(
    ("task", "more", "warned"),
    [
        ("Endless-v0", "", True),
        ("CliffWalking-v1", "", True),
        ("Endless-v0", ", max_episode_steps: 20", False),
        ("Limited-v0", "", False),
        ("OwnLimit-v0", "", False),
        ("experiments.exact:TabularMDP-v0", "", False),
    ],
)
def test_a_task_without_a_time_limit_is_warned_of_when_the_grid_is_read(task, more, warned, tmp_path, caplog):
    (tmp_path / "g.yaml").write_text(GRID.format(task=task, more=more))
    load_grid(str(tmp_path / "g.yaml"))
    said = [record.getMessage() for record in caplog.records if "time limit" in record.getMessage()]
    assert len(said) == warned
    if warned:
        assert f"task {task} has no time limit, so its episodes may never end; set max_episode_steps of" in said[0]
        assert "cut after 3,000 steps" in said[0]


def test_within_rollouts_open_episodes_and_evaluations_a_caller_is_told_where_the_run_is(monkeypatch):
    monkeypatch.setattr(rollout, "SECONDS_BETWEEN_CALLS", 0.0)
    calls = []
    for algorithm in (Reinforce(num_envs=2), A2C(num_envs=2)):
        algorithm.train(
            *(Task("Endless-v0"), 0, 200),
            compile="never",
            on_wait=lambda what, steps, episodes: calls.append((what, steps, len(episodes))),
        )
    assert {what for what, *_ in calls} == {"training", "finishing open episodes", "evaluating"}
    assert calls[10] == ("training", 22, 0)


def test_a_log_has_a_line_at_least_once_a_minute_whatever_is_done(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr("experiments.progress.time.perf_counter", lambda: now[0])
    progress, latest = Progress("a run", 1000, lines=0), 0.0
    for second in range(0, 600, 10):
        now[0] = float(second)
        progress.wait(("training", "evaluating")[second > 300], second, [])
        if capsys.readouterr().out:
            assert second - latest <= 60
            latest = second
    assert latest >= 540


def test_a_task_that_can_be_open_once_is_trained_and_evaluated(scarce, caplog):
    task = Task("Scarce-v0")
    check_task(task)
    for algorithm in (
        Reinforce(num_envs=1),
        PPO(num_envs=1, rollout_length=64, minibatch_size=64, epochs=1),
    ):
        run = algorithm.train(task, 0, 100, compile="never")
        assert [e.length for e in run.episodes[:3]] == [7, 7, 7]
        assert run.evaluation["sampled"].lengths == [7] * 20
    assert random_score.random_returns(task, episodes=4).tolist() == [7] * 4
    assert (scarce.open, scarce.peak) == (0, 1)
    assert "could not be closed, which changes no result: OSError: the server has gone away" in caplog.text


@pytest.mark.parametrize("num_envs", [1, 3, 8, 20, 64])
def test_an_evaluation_opens_no_more_environments_than_training(num_envs, scarce):
    scarce.most = min(num_envs, 20)
    _, learner, _ = make_learner(PPO(), "Ending-v0")
    result = evaluate(learner, Task("Scarce-v0"), np.random.SeedSequence(0), num_envs=num_envs)
    assert {len(result[kind].returns) for kind in result} == {20}
    assert scarce.peak == scarce.most


@pytest.mark.parametrize("num_envs", [3, 4, 6, 7, 40])
def test_each_variant_has_as_many_episodes_however_few_environments_there_are(num_envs):
    task = Task("Endless-v0", variants=({"ends": 3}, {"ends": 5}, {"ends": 9}))
    _, learner, _ = make_learner(PPO(num_envs=3), task)
    result = evaluate(learner, task, np.random.SeedSequence(0), num_envs=num_envs)
    assert result["sampled"].lengths == result["mode"].lengths == [3, 5, 9] * 7


def test_short_episodes_are_evaluated_no_more_often_than_long_ones():
    """Two environments of which one has longer episodes: each plays ten, and not whichever ends first."""
    task = Task("Endless-v0", variants=({"ends": 2}, {"ends": 90}))
    _, learner, _ = make_learner(PPO(num_envs=2), task)
    lengths = evaluate(learner, task, np.random.SeedSequence(0), num_envs=2)["sampled"].lengths
    assert lengths.count(2) == lengths.count(90) == 10


def test_an_exception_in_training_leaves_no_environment_open(scarce, monkeypatch):
    def broken(*arguments, **options):
        raise RuntimeError("the policy is broken")

    monkeypatch.setattr(Policy, "act", broken)
    with pytest.raises(RuntimeError, match="broken"):
        Reinforce(num_envs=1).train(Task("Scarce-v0"), 0, 100, compile="never")
    assert scarce.open == 0


def test_waiting_environments_have_no_open_episode():
    envs = VectorEnv(Task("Ending-v0"), 2, np.random.SeedSequence(0))
    for _ in range(7):
        envs.step(np.zeros(2, int))
    assert envs.open_episodes() == {}
    envs.step(np.zeros(2, int), np.array([False, True]))
    assert {i: (e.start, e.length) for i, e in envs.open_episodes().items()} == {1: (14, 1)}
