"""All environments stepped at once: bit for bit the episodes of Gymnasium, where it is chosen, and a loop elsewhere."""

import logging
from contextlib import nullcontext

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.envs.mujoco.hopper_v5 import HopperEnv
from gymnasium.spaces import Discrete

from algorithms.core.backends import GymnasiumBackend, batched_backend, make_backend, one_by_one
from algorithms.core.batched import BatchedBackend
from algorithms.core.task import StoppedByTask, Task
from algorithms.core.vector_env import VectorEnv
from algorithms.ppo import PPO
from algorithms.reinforce import Reinforce

STEPS = 20_000
SLOW = {"Ant-v5", "Humanoid-v5", "HumanoidStandup-v5"}  # 4,000 steps
TASKS = {
    spec.id: spec.max_episode_steps
    for spec in gymnasium.registry.values()
    if isinstance(spec.entry_point, str) and batched_backend(spec.entry_point) and spec.id != "CartPole-v0"
}
ENDLESS = {"HalfCheetah-v5", "HumanoidStandup-v5", "Swimmer-v5", "Reacher-v5", "Pusher-v5", "Pendulum-v1"}
DISCRETE = {"CartPole-v1", "Acrobot-v1", "MountainCar-v0"}


def pair(task, num_envs, seed=0):
    """A task's backend, and Gymnasium's own loop with the same seeds."""
    seeds = [int(number) for number in np.random.SeedSequence(seed).generate_state(num_envs)]
    batched = make_backend(task, seeds)
    with one_by_one():
        loop = make_backend(task, seeds)
    assert isinstance(batched, BatchedBackend)
    assert type(loop) is GymnasiumBackend
    return batched, loop


def drawn(space, num_envs, rng, scale):
    """Actions as a policy gives them: within the bounds, and often at one of them."""
    if isinstance(space, Discrete):
        return rng.integers(0, space.n, num_envs)
    actions = rng.normal(size=(num_envs, *space.shape), scale=scale).astype(space.dtype)
    return np.minimum(np.maximum(actions, space.low), space.high)


def swung(observations, space):
    """Actions that swing a car or an acrobot up, from the velocity that is observed last."""
    forward = observations[:, -1] > 0
    return 2 * forward if isinstance(space, Discrete) else (2.0 * forward[:, None] - 1).astype(space.dtype)


SWUNG = {"Acrobot-v1", "MountainCar-v0", "MountainCarContinuous-v0"}  # random actions hardly reach their goals


def same(a, b):
    """Whether two arrays have the same type and bits; None is as None."""
    return (a is None and b is None) or (a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes())


def walk(batched, loop, ticks, rng, scale=1.0, wait=0.0, swing=False):
    """Step both, with restarts, and with waiting environments in a share `wait` of the ticks; returns both ends."""
    num_envs, ends = batched.num_envs, np.zeros(2, int)
    everyone = np.arange(num_envs)
    observations = batched.reset(everyone)
    assert same(observations, loop.reset(everyone))
    for tick in range(ticks):
        actions = drawn(batched.action_space, num_envs, rng, scale)
        if swing and tick % 4:
            actions = swung(observations, batched.action_space)
        active = rng.random(num_envs) < rng.choice([0.0, 0.3, 0.7]) if rng.random() < wait else None
        ours, theirs = batched.step(actions, active), loop.step(actions, active)
        for name, a, b in zip(ours._fields, ours, theirs, strict=True):
            assert same(a, b), (tick, name, a, b)
        observations = ours.next_observations.copy()
        done = ours.terminated | ours.truncated
        ends += ours.terminated.sum(), ours.truncated.sum()
        if done.any():
            observations[done] = batched.reset(done.nonzero()[0])
            assert same(observations[done], loop.reset(done.nonzero()[0])), tick
    return ends


def test_the_tasks_that_must_be_stepped_at_once_are():
    assert {
        *("HalfCheetah-v5", "Hopper-v5", "Walker2d-v5", "Swimmer-v5", "Reacher-v5"),
        *("InvertedPendulum-v5", "InvertedDoublePendulum-v5"),
        *("CartPole-v1", "Acrobot-v1", "Pendulum-v1", "MountainCar-v0", "MountainCarContinuous-v0"),
    } <= TASKS.keys()


@pytest.mark.parametrize("task", TASKS)
def test_episodes_are_gymnasiums_bit_for_bit(task):
    rng = np.random.default_rng(0)
    steps = STEPS // 5 if task in SLOW else STEPS
    terminated, _ = walk(*pair(Task(task), 16), steps // 16, rng, swing=task in SWUNG)
    assert terminated > 16 or task in ENDLESS
    walk(*pair(Task(task), 1, seed=1), 200, rng, scale=0.1, wait=0.1)
    batched, loop = pair(Task(task, max_episode_steps=7), 5, seed=2)
    assert batched.time_limit == loop.time_limit == 7
    assert walk(batched, loop, 300, rng, scale=0.2, wait=0.5)[1]


def test_an_episode_can_terminate_at_its_time_limit():
    batched, loop = pair(Task("CartPole-v1", max_episode_steps=9), 8)
    for backend in (batched, loop):
        backend.reset(np.arange(8))
        for _ in range(9):
            transition = backend.step(np.ones(8, int), None)
        assert transition.truncated.all()
        assert transition.terminated.any()


@pytest.mark.parametrize("task", ["HalfCheetah-v5", "Hopper-v5", "Reacher-v5", "InvertedDoublePendulum-v5", "Ant-v5"])
def test_an_unstable_simulation_is_warned_of_and_restarted_as_mujoco_does(task, caplog):
    batched, loop = pair(Task(task), 3)
    for backend in (batched, loop):
        backend.reset(np.arange(3))
    loop.envs[1].unwrapped.data.qvel[0] = 1e15  # beyond what MuJoCo takes
    velocities = batched._simulations[1].qvel if task == "Ant-v5" else batched._qvel[1]
    velocities[0] = 1e15
    actions = drawn(batched.action_space, 3, np.random.default_rng(0), 0.3)
    with caplog.at_level(logging.WARNING, "mujoco"):
        for _ in range(3):
            for a, b in zip(batched.step(actions, None), loop.step(actions, None), strict=True):
                assert same(a, b)
    assert "The simulation is unstable" in caplog.text


@pytest.mark.parametrize("task", sorted(TASKS.keys() - DISCRETE))
def test_an_action_that_is_no_number_ends_as_with_gymnasium(task):
    ends = []
    for context in (one_by_one, nullcontext):
        with context():
            envs = VectorEnv(Task(task), 2, np.random.SeedSequence(0))
        actions = np.zeros((2, *envs.action_space.shape), np.float32)
        envs.step(actions)
        actions[1] = np.nan
        try:
            for _ in range(3):
                transition = envs.step(actions)
            ends.append([x.tobytes() for x in transition[:4]])
        except StoppedByTask as stopped:
            ends.append(str(stopped))
    assert ends[0] == ends[1]


@pytest.mark.parametrize(
    ("task", "algorithm"),
    [
        (Task("CartPole-v1"), Reinforce(num_envs=3, rollout_length=2)),
        (Task("Hopper-v5", normalize_observations=True), PPO(num_envs=2, rollout_length=64, minibatch_size=32)),
    ],
    ids=["REINFORCE", "PPO"],
)
def test_a_training_is_the_same_as_with_gymnasium(task, algorithm):
    ours = algorithm.train(task, 3, 400, compile="never")
    with one_by_one():
        theirs = algorithm.train(task, 3, 400, compile="never")
    for name in ("episodes", "open_episodes", "evaluation", "steps_taken"):
        assert getattr(ours, name) == getattr(theirs, name)


class OwnHopper(HopperEnv):
    """As Gymnasium's."""


class Half(gymnasium.RewardWrapper):
    """Half of every reward."""

    def reward(self, reward):
        return reward / 2


gymnasium.register("OwnHopper-v0", OwnHopper, max_episode_steps=100)
gymnasium.register(
    "HalfCartPole-v0",
    "gymnasium.envs.classic_control.cartpole:CartPoleEnv",
    additional_wrappers=(gymnasium.envs.registration.WrapperSpec("Half", "tests.test_batched:Half", {}),),
)
gymnasium.register("Lambda-v0", lambda **arguments: CartPoleEnv(**arguments), max_episode_steps=100)
gymnasium.register(
    "Sutton-v0", "gymnasium.envs.classic_control.cartpole:CartPoleEnv", kwargs={"sutton_barto_reward": 1}
)


@pytest.mark.parametrize(
    "task",
    [
        *(Task("OwnHopper-v0"), Task("HalfCartPole-v0", max_episode_steps=9), Task("Lambda-v0")),
        *(Task("Sutton-v0", max_episode_steps=9), Task("Hopper-v5", kwargs={"frame_skip": 4}), Task("Hopper-v4")),
        Task("CartPole-v1", variants=({}, {"sutton_barto_reward": True})),
    ],
    ids=["subclass", "wrapper", "callable", "registered arguments", "arguments", "version", "variants"],
)
@pytest.mark.filterwarnings("ignore:.*out of date")  # version 4
def test_what_is_not_gymnasiums_own_is_stepped_by_gymnasium(task):
    assert type(make_backend(task, [1, 2])) is GymnasiumBackend


def test_another_version_of_gymnasium_steps_its_environments_itself(monkeypatch):
    monkeypatch.setattr(gymnasium, "__version__", "1.4.1")
    assert type(make_backend(Task("CartPole-v1"), [1])) is GymnasiumBackend


def test_a_task_of_the_users_with_gymnasiums_environment_is_stepped_at_once():
    gymnasium.register("Short-v0", "gymnasium.envs.classic_control.cartpole:CartPoleEnv", max_episode_steps=7)
    assert walk(*pair(Task("Short-v0"), 4), 100, np.random.default_rng(0))[1]


def test_one_environment_is_made_for_all(monkeypatch):
    made = []
    original = gymnasium.make
    monkeypatch.setattr(gymnasium, "make", lambda *words, **options: made.append(words) or original(*words, **options))
    make_backend(Task("HalfCheetah-v5"), list(range(8)))
    assert len(made) == 1
