"""Actions as choices: bins of a Box and joint choices give the numbers of the environment that they stand for."""

import gymnasium
import numpy as np
import pytest
import yaml
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from algorithms.a3c import A3C
from algorithms.core.backends import GymnasiumBackend, one_by_one
from algorithms.core.batched import BatchedBackend
from algorithms.core.run_check import checked_training
from algorithms.core.saved_policy import load_policy
from algorithms.core.task import Task, UnsupportedTask, close, make_env
from algorithms.core.vector_env import VectorEnv
from algorithms.ppo import PPO
from experiments import watch
from experiments.cells import preprocessing
from experiments.checks import GridError
from experiments.grid import load_grid
from experiments.random_score import random_returns
from tests.tasks import _register
from tests.test_resuming import NORMALISED, interrupted, numbers

SMALL = PPO(num_envs=2, rollout_length=16, minibatch_size=32, epochs=1)


class Asymmetric(gymnasium.Env):
    """Pays what its action is, as a number in base 100, and says which action it got; a Box that has a shape."""

    observation_space = Box(-10, 10, (4,), np.float64)
    action_space = Box(np.array([[-1.0, 0.0], [2.0, -3.0]]), np.array([[3.0, 1.0], [4.0, 5.0]]), dtype=np.float64)

    def reset(self, *, seed=None, options=None):
        """Nothing is random."""
        super().reset(seed=seed)
        return np.zeros(4), {}

    def step(self, action):
        """The action as the observation."""
        assert action in self.action_space
        return action.ravel(), 0.0, False, False, {}


class Parts(gymnasium.Env):
    """Shows the action that it got, of a MultiDiscrete whose choices do not begin at 0."""

    observation_space = Box(-10, 10, (2,), np.float32)
    action_space = MultiDiscrete([2, 3], start=[5, -1])
    masked = False

    def reset(self, *, seed=None, options=None):
        """Nothing is random."""
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action):
        """The action as the observation."""
        assert action in self.action_space
        return action.astype(np.float32), 0.0, False, False, {"action_mask": [1] * 5} if self.masked else {}


class MaskedParts(Parts):
    """Parts with a mask."""

    masked = True


_register("Asymmetric", Asymmetric, limit=5)
_register("Parts", Parts, limit=5)
_register("MaskedParts", MaskedParts, limit=5)


def got(task, actions):
    env = make_env(task)
    env.reset(seed=0)
    found = [env.step(action)[0].tolist() for action in actions]
    close(env)
    return found


def test_a_bin_is_an_equally_spaced_value_from_bound_to_bound():
    task = Task("Asymmetric-v0", action_bins=3)
    assert make_env(task).action_space == MultiDiscrete([3, 3, 3, 3])
    actions = np.array([[0, 0, 0, 0], [1, 1, 1, 1], [2, 2, 2, 2], [0, 1, 2, 0]])
    assert got(task, actions) == [[-1, 0, 2, -3], [1, 0.5, 3, 1], [3, 1, 4, 5], [-1, 0.5, 4, -3]]


def test_a_joint_action_counts_through_all_combinations():
    task = Task("Asymmetric-v0", action_bins=2, joint_actions=True)
    assert make_env(task).action_space == Discrete(16)
    low, high = [-1, 0, 2, -3], [3, 1, 4, 5]
    expected = [[high[i] if n >> (3 - i) & 1 else low[i] for i in range(4)] for n in range(16)]
    assert got(task, range(16)) == expected
    joint = Task("Parts-v0", joint_actions=True)
    assert make_env(joint).action_space == Discrete(6)
    assert got(joint, range(6)) == [[5, -1], [5, 0], [5, 1], [6, -1], [6, 0], [6, 1]]


def test_one_dimension_is_a_discrete_space():
    env = make_env(Task("Pendulum-v1", action_bins=5))
    assert env.action_space == Discrete(5)
    np.testing.assert_array_equal(np.array([env.action(i) for i in range(5)]), [[-2], [-1], [0], [1], [2]])


@pytest.mark.parametrize("further", [{}, {"joint_actions": True}])
@pytest.mark.parametrize(
    "name", ["Pendulum-v1", "MountainCarContinuous-v0", "Hopper-v5", "Reacher-v5", "HalfCheetah-v5", "Ant-v5"]
)
def test_episodes_are_those_of_the_box_with_the_bins_values(name, further):
    """All environments at once, one by one, and Gymnasium itself with the value: bit for bit."""
    bins = 2 if name in ("HalfCheetah-v5", "Ant-v5") else 11
    task = Task(name, action_bins=bins, **further)
    seeds = np.random.SeedSequence(3)
    together = VectorEnv(task, 2, seeds)
    assert isinstance(together.backend, BatchedBackend)
    with one_by_one():
        alone = VectorEnv(task, 2, np.random.SeedSequence(3))
    assert isinstance(alone.backend, GymnasiumBackend)
    box = VectorEnv(Task(name), 2, np.random.SeedSequence(3))
    space = box.action_space
    values = np.linspace(space.low.astype(float), space.high.astype(float), bins).astype(space.dtype)
    rng = np.random.default_rng(0)
    for _ in range(300):
        choices = rng.integers(bins, size=(2, len(space.low)))
        sent = values[choices, np.arange(len(space.low))]
        if together.action_space == Discrete(bins ** len(space.low)):
            choices = choices @ bins ** np.arange(len(space.low))[::-1]
        transitions = [envs.step(actions) for envs, actions in ((together, choices), (alone, choices), (box, sent))]
        for found in transitions[:2]:
            for a, b in zip(found[:4], transitions[2][:4], strict=True):
                np.testing.assert_array_equal(a, b)
    assert together.episodes == alone.episodes == box.episodes
    for envs in (together, alone, box):
        envs.close()


def test_a_policy_is_kept_acts_in_bins_is_evaluated_and_can_be_watched(tmp_path):
    task = Task("InvertedPendulum-v5", action_bins=3, normalize_observations=True)
    run = SMALL.train(task, 0, 400)
    run.policy.save(tmp_path / "policy.npz")
    policy = load_policy(tmp_path / "policy.npz")
    assert policy.action_space == Discrete(3)
    assert policy.task == task
    assert policy.act(np.zeros(4)) in range(3)
    assert policy.evaluate(seed=0).tolist() == run.evaluation["sampled"].returns
    with watch.drawn(policy.task, "rgb_array") as env:
        played = list(policy.play(env, 1, 0, True))
    assert played[0][1] >= 1


@pytest.mark.parametrize("algorithm", [SMALL, A3C(num_envs=2, staleness=2.0)])
def test_a_training_goes_on_after_an_interruption(algorithm, tmp_path):
    task = Task("Hopper-v5", action_bins=3, joint_actions=True, **NORMALISED)
    whole = checked_training(algorithm, task, 3, 400, compile="never")
    paused = interrupted(algorithm, task, 400, tmp_path / "x", after=3, compile="never")
    assert numbers(checked_training(algorithm, task, 3, 400, trained=paused, compile="never")) == numbers(whole)


def test_a_random_score_is_that_of_random_bins():
    ends = random_returns(Task("Pendulum-v1", action_bins=2), 20)
    assert ends.mean() != random_returns(Task("Pendulum-v1"), 20).mean()
    assert (ends < 0).all()


def test_tasks_without_choices_are_recorded_as_before():
    assert preprocessing(Task("Hopper-v5")).keys() == {
        *("normalize_observations", "normalize_rewards", "action_bounds", "max_episode_steps")
    }
    assert (
        preprocessing(Task("Hopper-v5", action_bins=3, joint_actions=True)).items()
        >= {
            "action_bins": 3,
            "joint_actions": True,
        }.items()
    )


def grid(folder, task, algorithms=("ppo",), name="mine"):
    entry = {"steps": 300, "random_score": 0, "reference_score": 1000, "reference_source": "a test"}
    data = {"seeds": 1, "claims": [], "tasks": {"t": entry | task}, "algorithms": algorithms}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(data))
    return str(path)


@pytest.mark.parametrize(
    ("task", "sentence"),
    [
        ({"id": "CartPole-v1", "action_bins": 3}, r"'t' has actions in Discrete\(2\), but action_bins needs a Box"),
        (
            {"id": "Humanoid-v5", "action_bins": 51, "joint_actions": True},
            r"51 action_bins with joint_actions make 51\^17 = 1.068e\+29 choices; at most 2,000 are possible",
        ),
        ({"id": "Pendulum-v1", "action_bins": 5000}, r"5000 action_bins make 5000 choices; at most 2,000"),
        ({"id": "Hopper-v5", "action_bins": 1}, r"action_bins of task t must be a whole number from 2, or null, not 1"),
        ({"id": "UnboundedActions-v0", "action_bins": 3}, r"needs a Box with finite bounds"),
        ({"id": "Hopper-v5", "joint_actions": True}, r"joint_actions needs actions with several parts"),
        ({"id": "CartPole-v1", "joint_actions": True}, r"joint_actions needs actions with several parts"),
        ({"id": "MaskedParts-v0", "joint_actions": True}, r"masks the parts of its actions .* leave joint_actions out"),
    ],
)
def test_what_cannot_be_binned_is_refused_when_the_grid_is_read(task, sentence, tmp_path):
    with pytest.raises(GridError, match=sentence) as found:
        load_grid(grid(tmp_path, task))
    assert "\n" not in str(found.value)


def test_a_script_is_refused_too():
    with pytest.raises(UnsupportedTask, match="action_bins must be a whole number from 2, not True"):
        Task("Hopper-v5", action_bins=True)
    with pytest.raises(UnsupportedTask, match="joint_actions must be True or False, not 'yes'"):
        Task("Hopper-v5", joint_actions="yes")


def test_dqn_learns_in_a_joint_table_and_says_what_it_needs_in_another(tmp_path):
    pytest.importorskip("stable_baselines3")
    dqn = {"dqn": {"library": "stable_baselines3", "class": "DQN", "settings": {"learning_starts": 100}}}
    task = {"id": "Hopper-v5", "action_bins": 3}
    with pytest.raises(GridError, match="joint_actions: true of the task makes its actions one"):
        load_grid(grid(tmp_path, task, dqn))
    read = load_grid(grid(tmp_path, task | {"joint_actions": True}, dqn))
    run = read.resolved("dqn", "t").train(read.tasks["t"].task, 0, 300)
    assert len(run.evaluation["mode"].returns) == 20


def test_dqn_without_the_extra_names_its_pip_command(tmp_path, monkeypatch):
    from experiments import libraries

    monkeypatch.setitem(__import__("sys").modules, "stable_baselines3", None)
    libraries._algorithm.cache_clear()
    dqn = {"dqn": {"library": "stable_baselines3", "class": "DQN"}}
    with pytest.raises(GridError, match=r"stable_baselines3 is not installed \(pip install -e '.\[others\]'\)"):
        load_grid(grid(tmp_path, {"id": "Pendulum-v1", "action_bins": 3}, dqn))
