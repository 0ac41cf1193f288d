"""Teams of PettingZoo's parallel interface as tasks: a made-up one with all its corners, and one of theirs."""

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete

from algorithms.coma import COMA
from algorithms.core.task import Task, make_env
from algorithms.part_returns import PartReturns
from experiments.task_check import try_task

ID = "experiments.tasks.parallel:Parallel-v0"
LEAVES = {"first": 2, "second": 4}  # the step after which an agent has left


class Two:
    """Two agents: the first leaves earlier, has actions from 1 on and shows its masks; the second's are in its info."""

    possible_agents = ("first", "second")
    metadata = {"render_modes": ["ansi"], "name": "two"}  # noqa: RUF012

    def __init__(self, cut=False, render_mode=None, continuous=False):
        self.cut, self.render_mode, self.continuous = cut, render_mode, continuous
        self.said, self.seeds, self.closed = [], [], False

    def observation_space(self, agent):
        seen = Box(-1, 1, (2,), np.float64)
        return Dict(observation=seen, action_mask=Box(0, 1, (3,), np.int8)) if agent == "first" else Discrete(4)

    def action_space(self, agent):
        other = Box(-1, 1, (1,)) if self.continuous else Discrete(2)
        return Discrete(3, start=1) if agent == "first" else other

    def seen(self):
        first = {"observation": np.array([self.steps, -0.5]), "action_mask": np.array([1, 0, 1], np.int8)}
        found = {"first": first, "second": self.steps % 4}
        return {agent: found[agent] for agent in self.agents}

    def infos(self):
        masks = {"first": {}, "second": {"action_mask": np.array([0, 1], np.int8)} if self.steps % 2 else {}}
        return {agent: masks[agent] for agent in self.agents}

    def reset(self, seed=None, options=None):
        self.agents, self.steps = list(self.possible_agents), 0
        self.seeds.append(seed)
        return self.seen(), self.infos()

    def step(self, actions):
        self.said.append(actions)
        assert set(actions) == set(self.agents)
        self.steps += 1
        acting = self.agents
        left = [agent for agent in acting if self.steps == LEAVES[agent]]
        self.agents = [agent for agent in acting if agent not in left]
        rewards = {agent: {"first": 1.0, "second": -0.25}[agent] for agent in acting}
        ended = {agent: agent in left and not self.cut for agent in acting}
        truncated = {agent: agent in left and self.cut for agent in acting}
        return self.seen(), rewards, ended, truncated, self.infos()

    def render(self):
        return "drawn"

    def close(self):
        self.closed = True


def parallel_env(**options):
    return Two(**options)


def team(**kwargs):
    return Task(ID, kwargs={"module": __name__, "options": kwargs})


def steps(env, action=(2, 1)):
    """All steps of an episode, with one action."""
    found = [env.step(np.array(action))]
    while not (found[-1][2] or found[-1][3]):
        found.append(env.step(np.array(action)))
    return found


def test_what_agents_see_stands_one_after_the_other_and_those_that_left_see_zeros():
    env = make_env(team()).unwrapped
    assert env.action_space == MultiDiscrete([3, 2])
    assert env.observation_space.shape == (2 + 4,)
    first, _ = env.reset(seed=1)
    seen = [first, *(step[0] for step in steps(env))]
    assert [row.tolist() for row in seen] == [
        [0, -0.5, 1, 0, 0, 0],
        [1, -0.5, 0, 1, 0, 0],
        [0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0],
    ]
    assert seen[0].dtype == np.float32


def test_the_reward_is_the_sum_of_the_agents_and_each_has_its_own():
    env = make_env(team()).unwrapped
    env.reset(seed=1)
    taken = steps(env)
    assert [step[1] for step in taken] == [0.75, 0.75, -0.25, -0.25]
    assert [step[4]["part_rewards"].tolist() for step in taken] == [[1, -0.25], [1, -0.25], [0, -0.25], [0, -0.25]]


def test_actions_begin_where_the_agents_do_and_those_that_left_do_nothing():
    env = make_env(team()).unwrapped
    env.reset(seed=1)
    steps(env)
    assert env._env.said == [{"first": 3, "second": 1}] * 2 + [{"second": 1}] * 2


@pytest.mark.parametrize("cut", [False, True])
def test_an_episode_ends_with_the_last_agent_and_as_that_one_does(cut):
    env = make_env(team(cut=cut)).unwrapped
    env.reset(seed=1)
    assert [step[2:4] for step in steps(env)] == [(False, False)] * 3 + [(not cut, cut)]


def test_masks_are_one_after_the_other_and_all_ones_where_an_agent_has_none():
    env = make_env(team()).unwrapped
    _, info = env.reset(seed=1)
    masks = [np.concatenate(found["action_mask"]).tolist() for found in (info, *(step[4] for step in steps(env)[:1]))]
    assert masks == [[1, 0, 1, 1, 1], [1, 0, 1, 0, 1]]


def test_episodes_have_seeds_of_their_own_and_the_same_again():
    env, again = (make_env(team()).unwrapped for _ in range(2))
    for one in (env, again):
        one.reset(seed=5)
        one.reset()
    assert env._env.seeds == again._env.seeds
    assert len(set(env._env.seeds)) == 2
    env.close()
    assert env._env.closed


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"module": "no_such_package"}, "no parallel_env in the module 'no_such_package'"),
        ({"module": "math"}, "no parallel_env in the module 'math'"),
        ({"module": __name__, "options": {"continuous": True}}, "agent 'second' of tests.test_parallel has actions in"),
    ],
)
def test_what_is_no_team_with_choices_is_refused_in_one_sentence(kwargs, said):
    with pytest.raises(ValueError, match=said):
        make_env(Task(ID, kwargs=kwargs))


@pytest.mark.parametrize("cls", [COMA, PartReturns])
def test_teams_of_pettingzoo_train(cls):
    pytest.importorskip("mpe2")
    task = Task(ID, kwargs={"module": "mpe2.simple_spread_v3", "options": {"N": 2, "max_cycles": 25}})
    try_task(task)
    run = cls(num_envs=2, rollout_length=8).train(task, seed=100, steps=200)
    assert len(run.evaluation["sampled"].returns) > 0
    assert all(length == 25 for length in run.evaluation["sampled"].lengths)
