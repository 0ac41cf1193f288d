"""Rewards that are a proxy: true returns in runs, files, claims and on the page, and tasks whose reward can be gamed."""

import gymnasium
import numpy as np
import pandas as pd
import pytest
from gymnasium.spaces import Box, Discrete

from algorithms.core.algorithm import InvalidAlgorithm
from algorithms.core.evaluation import finish_open_episodes
from algorithms.core.rollout import collect
from algorithms.core.run_check import checked_run
from algorithms.core.task import Task, UnsupportedTask
from algorithms.core.vector_env import VectorEnv
from algorithms.ppo import PPO
from analysis.reading.runs import open_episodes, read_episodes
from experiments.record import outcome, write_run
from tests.tasks import make_learner


class Proxy(gymnasium.Env):
    """Four steps, or endless ones; each pays 1, and in truth minus its number. `given` is what is reported at a step."""

    observation_space, action_space = Box(0, 1, (1,), np.float32), Discrete(2)

    def __init__(self, given=None, ends=True):
        self.given, self.ends, self.number = given, ends, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.number = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.number += 1
        info = {"true_reward": -float(self.number)} if self.given is None else self.given(self.number)
        return np.zeros(1, np.float32), 1.0, self.ends and self.number == 4, False, info


gymnasium.register("Proxy-v0", Proxy)
PROXY = Task("Proxy-v0")
SMALL = PPO(num_envs=2, rollout_length=8, epochs=1, minibatch_size=16)


def of(given, **further):
    return Task("Proxy-v0", kwargs={"given": given, **further})


# ------------------------------------------------------------------------------------- true returns of a run


def test_true_returns_are_beside_the_returns_of_episodes_of_evaluations_and_of_those_left_open():
    run = SMALL.train(PROXY, 0, 51, compile="never")  # ceil(51 / 2) = 26 steps each: six episodes, and half of one
    assert [episode.return_ for episode in run.episodes] == [4.0] * 12
    assert [episode.length for episode in run.open_episodes] == [4, 4]
    assert run.true_returns == [-10.0] * 14
    for evaluation in run.evaluation.values():
        assert evaluation.true_returns == [-10.0] * 20
    assert run.to_pandas()["true_return"].tolist() == [-10.0] * 12
    assert outcome(run)["evaluation"]["mode"]["true_returns"] == [-10.0] * 20
    assert not any("true" in name for row in run.updates for name in row)  # nothing that learns has seen them


def test_an_episode_without_a_time_limit_that_is_cut_has_its_true_return_until_then():
    envs, learner, rng = make_learner(SMALL, of(None, ends=False))
    envs.limit_episodes(100)
    collect(envs, learner.policy, learner.normalizer, rng, steps=3)
    episodes, true_returns = finish_open_episodes(envs, learner, rng, 5, lambda what, steps, episodes: None)
    assert [episode.length for episode in episodes] == [5, 5]
    assert true_returns == [-15.0] * 2
    assert envs.true_returns.tolist() == [0.0] * 2  # of the episodes that have begun since
    _, true_returns = finish_open_episodes(envs, learner, rng, 5, lambda what, steps, episodes: None)
    assert true_returns == []  # for none is open


def test_true_returns_of_variants_are_in_the_order_of_their_returns():
    task = Task("Proxy-v0", variants=({}, {"given": half}))
    run = SMALL.train(task, 0, 16, compile="never")
    assert run.evaluation["mode"].true_returns == [-10.0, 2.0] * 10


def half(number):
    return {"true_reward": np.float32(0.5)}


def test_a_task_that_reports_no_true_reward_has_none():
    run = SMALL.train(Task("CartPole-v1"), 0, 64, compile="never")
    assert run.true_returns == run.evaluation["sampled"].true_returns == []
    assert set(outcome(run)["evaluation"]["sampled"]) == {"returns", "lengths"}
    assert list(run.to_pandas()) == ["step", "return", "length", "start"]


def test_the_files_of_a_run_hold_its_true_returns_and_are_read_with_them(tmp_path):
    for name, task in (("proxy", PROXY), ("plain", Task("CartPole-v1"))):
        run = SMALL.train(task, 0, 51, compile="never")
        write_run(tmp_path / name, run, {})
        about = outcome(run)
        episodes, opened = read_episodes(tmp_path / name, about), open_episodes(about)
        if name == "proxy":
            assert episodes["true_return"].tolist() + opened["true_return"].tolist() == run.true_returns
        else:
            assert "true_return" not in {*episodes, *opened}
        assert len(episodes) == len(run.episodes)


def now_and_then(number):
    return {"true_reward": 1.0} if number % 2 else {}


def later(number):
    return {} if number < 3 else {"true_reward": 1.0}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (now_and_then, r"gives info\['true_reward'\] at some steps and not at others; it must give them at every step"),
        (later, r"gives info\['true_reward'\] at some steps and not at others"),
        (lambda number: {"true_reward": "1"}, r"gives info\['true_reward'\] = '1', which is not a number"),
        (lambda number: {"true_reward": None}, r"gives info\['true_reward'\] = None, which is not a number"),
        (lambda number: {"true_reward": [1.0, 2.0]}, r"gives info\['true_reward'\] = \[1.0, 2.0\], which is not a"),
    ],
)
def test_a_true_reward_that_is_missing_or_no_number_is_a_sentence(given, said):
    with pytest.raises(UnsupportedTask, match=rf"^task 'Proxy-v0' {said}") as error:
        SMALL.train(of(given), 0, 64, compile="never")
    assert "\n" not in str(error.value)


def test_a_true_reward_that_is_not_finite_stops_the_run():
    run = SMALL.train(of(lambda number: {"true_reward": np.nan if number == 3 else 1.0}), 0, 64, compile="never")
    assert run.status == "stopped by its task"
    assert run.diverged_because == "the task gave NaN as true reward at step 5"
    summed = SMALL.train(of(lambda number: {"true_reward": 2e38}), 0, 64, compile="never")
    assert summed.diverged_because.startswith("the task gave true rewards whose sum over an episode is 4e+38 at step")


def test_true_returns_of_a_library_are_as_many_as_its_episodes():
    run = SMALL.train(PROXY, 0, 51, compile="never")
    assert checked_run(run, SMALL, PROXY).true_returns == run.true_returns
    run.true_returns.pop()
    with pytest.raises(InvalidAlgorithm, match="a Run with 13 true_returns; expected are 14, one for each episode"):
        checked_run(run, SMALL, PROXY)


def test_environments_that_go_on_from_a_snapshot_have_the_true_returns_until_there():
    envs = VectorEnv(Task("Pendulum-v1"), 2, np.random.SeedSequence(0))
    envs.true_returns[:] = 1.0, 2.0
    envs.episode_true_returns.append(3.0)
    kept = envs.snapshot()
    again = VectorEnv(Task("Pendulum-v1"), 2, np.random.SeedSequence(1))
    again.restore(kept, [])
    assert (again.true_returns.tolist(), again.episode_true_returns) == ([1.0, 2.0], [3.0])
