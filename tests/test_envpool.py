"""EnvPool behind VectorEnv: Gymnasium's numbers from the same states and actions, and the same honest accounts."""

import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import ks_2samp

from algorithms.core.envpool_backend import TASKS, EnvPoolBackend, costs_of
from algorithms.core.rollout import collect
from algorithms.core.task import Task, make_env
from algorithms.core.vector_env import VectorEnv
from algorithms.ppo import PPO
from algorithms.reinforce import Reinforce
from experiments.grid import load_grid
from tests.tasks import make_learner

pytest.importorskip("envpool", reason="EnvPool is not installed: pip install -e '.[envpool]'")

MUJOCO = [task for task in TASKS if task.endswith("-v5")]
CHAOTIC = ("HalfCheetah-v5", "Acrobot-v1")  # differences of rounding grow to the size of the state within an episode


def make(task, num_envs=2, seed=0, **options):
    return VectorEnv(Task(task, backend="envpool", **options), num_envs, np.random.SeedSequence(seed))


class Watched:
    """A pool that remembers its last answer: observations in its own precision, and infos."""

    def __init__(self, pool):
        self.pool, self.close = pool, pool.close

    def reset(self, ids):
        self.observations, self.info = answer = self.pool.reset(ids)
        return answer

    def step(self, actions, ids=None):
        self.observations, *_, self.info = answer = self.pool.step(actions, ids)
        return answer


def put(env, observation, info):
    """Put a Gymnasium environment into the state that EnvPool shows."""
    o, env = observation, env.unwrapped
    match env.spec.id:
        case "CartPole-v1":
            env.state, env.steps_beyond_terminated = o.astype(np.float64), None
        case "MountainCar-v0" | "MountainCarContinuous-v0":
            env.state = o.copy()
        case "Pendulum-v1":
            env.state = np.array([np.arctan2(o[1], o[0]), o[2]], np.float64)
        case "Acrobot-v1":
            env.state = np.array([np.arctan2(o[1], o[0]), np.arctan2(o[3], o[2]), o[4], o[5]], np.float64)
        case "InvertedPendulum-v5":
            env.set_state(o[:2], o[2:])
        case "InvertedDoublePendulum-v5":
            env.set_state(np.concatenate([o[:1], np.arctan2(o[1:3], o[3:5])]), o[5:8])
        case "Reacher-v5":
            angles, goal, velocities = np.arctan2(o[2:4], o[:2]), o[4:6], o[6:8]
            env.set_state(np.concatenate([angles, goal]), np.concatenate([velocities, [0, 0]]))
        case "Swimmer-v5":
            env.set_state(np.concatenate([info["x_position"], info["y_position"], o[:3]]), o[3:])
        case "Hopper-v5" | "Walker2d-v5" | "HalfCheetah-v5":
            positions = env.model.nq - 1  # the first one is not observed
            env.set_state(np.concatenate([info["x_position"], o[:positions]]), o[positions:])
        case other:
            raise AssertionError(f"how to put {other} into a state is not said here")


def shows_its_state(task, observation):
    """Whether `put` can know the state from the observation alone."""
    if task in ("Hopper-v5", "Walker2d-v5", "InvertedDoublePendulum-v5"):
        return (np.abs(observation[5:]) < 10).all()  # velocities are clipped there, and all of them stand behind these
    if task == "Reacher-v5":
        return observation[1] > -0.98  # the second joint has limits near ±π, where the angle is not that of its sine
    return True


def act(task, observation, space, rng):
    """A random action; in tasks that these do not end, four times out of five one that works towards the end."""
    towards_the_end = {
        "MountainCar-v0": lambda: 2 if observation[1] > 0 else 0,
        "MountainCarContinuous-v0": lambda: np.sign(observation[1:]),
        "Acrobot-v1": lambda: 2 if observation[5] > 0 else 0,
    }
    if task in towards_the_end and rng.random() < 0.8:
        return towards_the_end[task]()
    return rng.integers(space.n) if hasattr(space, "n") else rng.uniform(space.low, space.high).astype(np.float32)


def both(task, steps, put_at_every_step=False, solver_tolerance=None):
    """The same actions in EnvPool and in Gymnasium from the same states, through restarts.

    Returns the largest differences of observations and of rewards, relative to 1 or to what they are, and how many
    episodes were (terminated, truncated).
    """
    backend = EnvPoolBackend(Task(task, backend="envpool"), [3])
    backend.pool = pool = Watched(backend.pool)
    env, rng, alone = make_env(Task(task)), np.random.default_rng(0), np.ones(1, bool)
    if solver_tolerance is not None:
        env.unwrapped.model.opt.tolerance = solver_tolerance
    observations_apart = rewards_apart = 0.0
    ends = np.zeros(2, int)
    restart = True
    for _ in range(steps):
        if restart:
            backend.reset(np.array([0]))
            env.reset(seed=0)
            assert shows_its_state(task, pool.observations[0])
        if restart or (put_at_every_step and shows_its_state(task, pool.observations[0])):
            put(env, pool.observations[0], pool.info)
        action = act(task, pool.observations[0], env.action_space, rng)
        observations, rewards, terminated, truncated, *_ = backend.step(np.array([action]), alone)
        expected, reward, *expected_ends, _ = env.step(action)
        np.testing.assert_array_equal(observations, pool.observations.astype(np.float32))
        assert [terminated[0], truncated[0]] == expected_ends
        observations_apart = max(observations_apart, apart(pool.observations[0], expected))
        rewards_apart = max(rewards_apart, apart(rewards[0], reward))
        ends += expected_ends
        restart = any(expected_ends)
    backend.close()
    env.close()
    return observations_apart, rewards_apart, tuple(ends)


def apart(x, y):
    return (np.abs(x - np.asarray(y, np.float64)) / np.maximum(1, np.abs(y))).max()


SINGLE_PRECISION = 1e-6  # EnvPool's rewards have it; so have the observations of the classic tasks, in Gymnasium, too
ENDS = {  # (terminated, truncated) in the 1,000 steps below: every kind of end that a task has is compared
    "CartPole-v1": (True, False),
    "Acrobot-v1": (True, False),
    "MountainCar-v0": (True, False),
    "MountainCarContinuous-v0": (True, False),
    "Pendulum-v1": (False, True),
    "InvertedPendulum-v5": (True, False),
    "InvertedDoublePendulum-v5": (True, False),
    "Reacher-v5": (False, True),
    "Swimmer-v5": (False, True),
    "Hopper-v5": (True, False),
    "Walker2d-v5": (True, False),
    "HalfCheetah-v5": (False, True),
}


@pytest.mark.parametrize("task", [task for task in TASKS if task not in CHAOTIC])
def test_the_same_actions_from_the_same_first_state_give_the_same_episodes(task):
    observations_apart, rewards_apart, _ = both(task, 400)
    growth = 1 if task in MUJOCO else 10  # the classic tasks show their first state in single precision only
    assert observations_apart < growth * SINGLE_PRECISION
    assert rewards_apart < growth * SINGLE_PRECISION


@pytest.mark.parametrize("task", TASKS)
def test_one_step_from_the_same_state_is_the_same(task):
    """In double precision for MuJoCo, whose own solver of constraints goes on here until nothing changes any more.

    EnvPool has MuJoCo 3.6, Gymnasium the installed one. In about one step of 1,000 MuJoCo 4.0 stops its solver before
    that, which moves an observation by up to 2e-5; EnvPool's does not, and is compared with the solution.
    """
    mujoco = task in MUJOCO
    observations_apart, rewards_apart, ends = both(task, 1000, True, solver_tolerance=0 if mujoco else None)
    assert observations_apart < (1e-11 if mujoco else SINGLE_PRECISION)
    assert rewards_apart < SINGLE_PRECISION
    assert tuple(count > 0 for count in ends) == ENDS[task]


def test_where_the_solver_stops_earlier_the_difference_is_small():
    observations_apart, rewards_apart, _ = both("HalfCheetah-v5", 1000, put_at_every_step=True)
    assert observations_apart < 1e-4
    assert rewards_apart < 1e-4


@pytest.mark.parametrize("task", TASKS)
def test_episodes_begin_in_the_same_distribution_of_states(task):
    envs, env = make(task, 300), make_env(Task(task))
    expected = np.array([env.reset(seed=seed)[0] for seed in range(300)], np.float32)
    for ours, theirs in zip(envs.observations.T, expected.T, strict=True):
        assert ks_2samp(ours, theirs).pvalue > 1e-4
    envs.close()


@pytest.mark.parametrize("grid", ["default", "paper", "smoke"])
def test_every_task_of_the_shipped_grids_can_have_it(grid):
    assert set(load_grid(grid).tasks) <= set(TASKS)


def test_spaces_and_time_limit_are_those_of_gymnasium():
    envs, env = make("Hopper-v5"), make_env(Task("Hopper-v5"))
    assert envs.action_space == env.action_space
    assert envs.observation_size == 11
    assert envs.observations.dtype == np.float32
    assert envs.action_masks is None
    assert envs.backend.time_limit == 1000


def test_an_episodes_last_step_returns_the_true_successor_and_the_next_starts_afresh():
    envs = make("CartPole-v1", num_envs=3)
    lengths, returns = np.zeros(3, int), np.zeros(3)
    for step in range(60):
        before, copy = envs.observations, envs.observations.copy()
        transition = envs.step(np.zeros(3, np.int64), np.ones(3, bool))
        lengths, returns = lengths + 1, returns + transition.rewards
        np.testing.assert_array_equal(before, copy)
        fallen = (np.abs(transition.next_observations) > [2.4, np.inf, 12 * np.pi / 180, np.inf]).any(axis=1)
        np.testing.assert_array_equal(transition.terminated, fallen)
        assert not transition.truncated.any()
        assert (np.abs(envs.observations[fallen]) <= 0.05).all()  # CartPole's first observations
        np.testing.assert_array_equal(envs.observations[~fallen], transition.next_observations[~fallen])
        for i in fallen.nonzero()[0]:
            episode = envs.episodes[-fallen.sum() :][fallen[:i].sum()]
            assert episode[:3] == (3 * step + i + 1, returns[i], lengths[i])
            lengths[i], returns[i] = 0, 0.0
    assert envs.steps == 180
    assert len(envs.episodes) > 12


def test_a_time_limit_truncates_at_the_true_successor():
    envs, longer = (make("HalfCheetah-v5", max_episode_steps=limit) for limit in (7, 100))
    rng = np.random.default_rng(0)
    for t in range(1, 15):
        actions = rng.uniform(-1, 1, (2, 6)).astype(np.float32)
        transition = envs.step(actions, np.ones(2, bool))
        assert transition.truncated.tolist() == [t % 7 == 0] * 2
        assert not transition.terminated.any()
        if t <= 7:
            expected = longer.step(actions, np.ones(2, bool))
            np.testing.assert_array_equal(transition.next_observations, expected.next_observations)
    assert [(e.step, e.length) for e in envs.episodes] == [(13, 7), (14, 7), (27, 7), (28, 7)]


def test_a_task_that_terminates_at_its_time_limit_is_terminated():
    length = next(t for envs in [make("CartPole-v1", 1)] for t in range(1, 50) if push(envs).terminated[0])
    envs = make("CartPole-v1", 1, max_episode_steps=length)
    for _ in range(length - 1):
        assert not push(envs).terminated[0]
    last = push(envs)
    assert last.terminated[0]
    assert last.truncated[0]


def push(envs):
    return envs.step(np.zeros(1, np.int64), np.ones(1, bool))


def test_only_active_environments_are_stepped_and_the_others_wait():
    some, everyone = make("Hopper-v5", 3), make("Hopper-v5", 3)
    actions = np.random.default_rng(0).uniform(-1, 1, (6, 3, 3)).astype(np.float32)
    first = some.observations.copy()
    for t in range(3):  # the second waits, then the others do
        transition = some.step(actions[t], np.array([True, False, True]))
        assert not transition.next_observations[1].any()
        assert (transition.rewards[1], transition.terminated[1], transition.truncated[1]) == (0, False, False)
        np.testing.assert_array_equal(some.observations[1], first[1])
    for t in range(3):
        some.step(actions[t], np.array([False, True, False]))
    for t in range(3):
        everyone.step(actions[t], np.ones(3, bool))
    np.testing.assert_array_equal(some.observations, everyone.observations)
    assert some.steps == everyone.steps == 9


def test_costs_follow_the_conventions_of_vector_environments():
    assert costs_of({"elapsed_step": np.array([1])}) is None
    assert costs_of({"cost": np.array([1, 2], np.float32)}).tolist() == [1, 2]
    assert costs_of({"cost": np.array([1, 2, 3]), "_cost": np.array([True, False, True])}).tolist() == [1, 0, 3]


class Costly(Watched):
    """A pool whose step costs as much as its reward."""

    def step(self, actions, ids=None):
        *transition, info = super().step(actions, ids)
        return *transition, info | {"cost": transition[1]}


def test_costs_of_a_pool_are_put_in_the_rows_of_the_environments_that_were_stepped():
    envs = make("CartPole-v1", num_envs=3)
    assert envs.step(np.zeros(3, np.int64)).costs is None
    envs.backend.pool = Costly(envs.backend.pool)
    assert envs.step(np.zeros(3, np.int64)).costs.tolist() == [1, 1, 1]
    costs = envs.step(np.zeros(3, np.int64), np.array([True, False, True])).costs
    assert costs.tolist() == [1, 0, 1]
    assert costs.dtype == np.float64


def test_environments_of_one_run_differ_and_the_same_seed_repeats_them():
    def numbers(seed):
        return make("Hopper-v5", num_envs=6, seed=seed).observations[:, 0].tolist()

    assert len(set(numbers(0))) == 6
    assert numbers(0) == numbers(0)
    assert not set(numbers(0)) & set(numbers(1))


def test_a_rollout_of_whole_episodes_has_as_many_from_every_environment():
    task = Task("InvertedPendulum-v5", backend="envpool")
    envs, learner, rng = make_learner(Reinforce(num_envs=4), task)
    rollout = collect(envs, learner.policy, learner.normalizer, rng, episodes=3)
    assert rollout.done.sum(axis=0).tolist() == [3] * 4
    assert rollout.valid.sum() == envs.steps == sum(episode.length for episode in envs.episodes)
    assert (np.abs(rollout.next_observations[rollout.terminated][:, 1]) > 0.2).all()  # the pole has fallen
    inside = rollout.valid[1:] & ~rollout.done[:-1]
    np.testing.assert_array_equal(rollout.observations[1:][inside], rollout.next_observations[:-1][inside])


@pytest.mark.parametrize("task", ["CartPole-v1", "Hopper-v5"])
def test_same_seed_gives_identical_runs(task):
    task = Task(task, backend="envpool", normalize_observations=True, normalize_rewards=True)
    algorithm = PPO(num_envs=4, rollout_length=64, minibatch_size=64, epochs=2)
    runs = [algorithm.train(task, 5, 1024, checkpoint_fractions=[1], compile="never") for _ in range(2)]
    first, second = runs
    assert first.steps_taken == 1024
    assert len(first.episodes) > 5
    assert first.episodes == second.episodes
    assert first.evaluation == second.evaluation
    for name, array in first.checkpoints[-1].state.items():
        np.testing.assert_array_equal(array, second.checkpoints[-1].state[name])


def test_envpool_is_imported_only_where_a_task_names_it():
    code = (
        "import sys, numpy as np\n"
        "from experiments.grid import load_grid\n"
        "from algorithms.core.vector_env import VectorEnv\n"
        "VectorEnv(load_grid('smoke').tasks['CartPole-v1'].task, 1, np.random.SeedSequence(0))\n"
        "assert 'envpool' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
