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
