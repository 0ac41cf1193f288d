"""An environment of which one can be open at a time is closed whatever goes wrong, so that the next can be made."""

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, Text

from algorithms.core.task import Task, UnsupportedTask
from algorithms.core.vector_env import VectorEnv
from algorithms.ppo import PPO
from experiments import random_score
from experiments.random_score import random_returns
from experiments.task_check import check_task, try_task


class Alone(gymnasium.Env):
    """Refuses to be made while another is open; then does what it is told."""

    open = 0
    action_space = Discrete(2)

    def __init__(self, observations=None, first=0.0, reward=1.0, mask=(1, 1), length=5):
        self.observation_space = Box(0, 1, (1,)) if observations is None else observations
        self.first, self.reward, self.mask, self.length = first, reward, mask, length
        if Alone.open:
            raise RuntimeError("the port is in use")
        Alone.open += 1

    def close(self):
        Alone.open -= 1

    def action_masks(self):
        return self.mask

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.first if isinstance(self.first, str) else np.full(1, self.first, np.float32), {}

    def step(self, action):
        self.t += 1
        return np.zeros(1, np.float32), self.reward, self.t == self.length, False, {}


gymnasium.register("Alone-v0", Alone)
gymnasium.register("AloneNormalised-v0", lambda: gymnasium.wrappers.NormalizeReward(Alone()))


def train(task):
    return PPO(num_envs=1, rollout_length=16, epochs=1, minibatch_size=None).train(task, 0, 40, compile="never")


def two(task):
    return VectorEnv(task, 2, np.random.SeedSequence(0))


@pytest.fixture(autouse=True)
def _closed():
    Alone.open = 0
    yield
    assert Alone.open == 0


@pytest.mark.parametrize("do", [train, random_returns, check_task, try_task])
@pytest.mark.parametrize(
    "kwargs",
    [{}, {"observations": Text(3)}, {"first": "text"}, {"first": np.nan}, {"reward": np.nan}, {"mask": (0, 0)}],
    ids=str,
)
def test_nothing_stays_open(do, kwargs):
    for _ in range(2):  # the second time meets what the first left
        try:
            do(Task("Alone-v0", kwargs=kwargs))
        except ValueError as error:
            assert "in use" not in str(error)  # noqa: PT017  # some of them are refused, and some are not


def test_one_that_normalises_itself_is_closed_when_it_is_refused():
    for _ in range(2):
        with pytest.raises(UnsupportedTask, match="normalises itself"):
            try_task(Task("AloneNormalised-v0"))


def test_a_second_one_is_refused_with_the_setting_and_the_first_is_closed():
    with pytest.raises(UnsupportedTask, match=r"in use \(environment 2 of 2, while 1 .*set num_envs"):
        two(Task("Alone-v0"))


@pytest.mark.parametrize("do", [check_task, try_task])
def test_variants_that_cannot_all_be_open_leave_none(do):
    with pytest.raises(UnsupportedTask, match=r"the variant {'length': 3} cannot be made: .*in use$"):
        do(Task("Alone-v0", variants=({"length": 2}, {"length": 3})))


def test_a_random_score_without_a_time_limit_says_so_and_where_it_is(monkeypatch, caplog):
    monkeypatch.setattr(random_score, "SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr(random_score, "LONGEST_EPISODE", 7)
    assert random_returns(Task("Alone-v0", kwargs={"length": 10}), episodes=2).tolist() == [7, 7]
    assert "Alone-v0: 0 of 2 random episodes, 1 steps" in caplog.text
    assert "has no time limit, and a random episode was cut after 7 steps; --max-episode-steps" in caplog.text
