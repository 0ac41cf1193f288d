"""A training episode counts in the learning curve over the steps during which it ran, also one that was still open."""

import json
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from algorithms.core import training
from algorithms.core.rollout import collect
from algorithms.core.run import Run
from algorithms.core.run_check import checked_run
from algorithms.core.task import Task
from algorithms.core.vector_env import Episode, VectorEnv
from algorithms.ppo import PPO
from algorithms.reinforce import Reinforce
from analysis.reading.runs import open_episodes, read_episodes
from analysis.statistics.scores import means_while_running, step_grid
from tests.tasks import make_learner

SMALL = PPO(num_envs=4, rollout_length=32, minibatch_size=32, epochs=1)


class Growing(gymnasium.Env):
    """Pays 1 a step. Its k-th episode has 3 k steps, so that the later ones are long and good."""

    observation_space, action_space = Box(0, 1, (1,), np.float32), Discrete(2)
    episode = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode, self.t = self.episode + 1, 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.t += 1
        return np.zeros(1, np.float32), 1.0, self.t == 3 * self.episode, False, {}


gymnasium.register("Growing-v0", Growing)


def curve(episodes, grid):
    starts, ends, returns = (
        np.array([getattr(e, name) for e in episodes], float) for name in ("start", "step", "return_")
    )
    return means_while_running(starts, ends, returns, np.array(grid, float))


def test_one_environment_by_hand():
    """Episodes of 3 and 7 steps in bins of 5: three steps belong to the first and two to the second, then all five."""
    means, counts = curve([Episode(3, 3.0, 3), Episode(10, 7.0, 7)], [5, 10])
    np.testing.assert_allclose(means, [(3 * 3 + 2 * 7) / 5, 7])
    assert counts.tolist() == [2, 1]


def test_two_environments_by_hand():
    """One plays a single episode of four steps, worth 10; the other two of two steps, worth 0 and 4."""
    episodes = [Episode(4, 0.0, 2, 0), Episode(8, 10.0, 4, 0), Episode(8, 4.0, 2, 4)]
    means, counts = curve(episodes, [4, 8])
    np.testing.assert_allclose(means, [(2 * 10 + 2 * 0) / 4, (2 * 10 + 2 * 4) / 4])
    assert counts.tolist() == [2, 2]


def test_while_others_wait_an_episode_has_all_the_steps():
    """Two episodes of 2 and of 6 steps: both have two of the first four steps, and then the longer one has all."""
    means, _ = curve([Episode(4, 0.0, 2, 0), Episode(8, 6.0, 6, 0)], [4, 8])
    np.testing.assert_allclose(means, [3, 6])


def test_a_long_episode_counts_in_every_bin_that_it_spans_and_beyond_the_budget_in_none():
    means, counts = curve([Episode(10, 1.0, 10), Episode(95, 9.0, 85)], np.arange(5, 55, 5))
    np.testing.assert_allclose(means, [1, 1] + [9] * 8)
    assert counts.tolist() == [1] * 10


def test_a_bin_without_an_episode_is_empty_and_what_is_not_finite_is_not_counted():
    means, counts = curve([Episode(4, np.inf, 2), Episode(4, 2.0, 1), Episode(9, np.nan, 3)], [2, 4, 6, 8])
    np.testing.assert_array_equal(means, [np.nan, 2, np.nan, np.nan])
    assert counts.tolist() == [0, 1, 0, 0]
    assert np.isnan(curve([], [1, 2])[0]).all()


def test_a_huge_return_spoils_no_other_bin():
    means, _ = curve([Episode(10, 1e300, 10), Episode(20, 1.0, 10)], [10, 20])
    assert means.tolist() == [1e300, 1.0]


def test_good_long_episodes_are_not_late():
    """Until half of the budget episodes of 205; then one of 1,000 in each environment, which the budget's end cuts."""
    short = [Episode(step, 205.0, 205, step - 820) for step in range(820, 51_000, 205)]
    long = [Episode(100_000, 1000.0, 1000, start) for start in (50_430, 50_635, 50_840, 50_840)]
    means, _ = curve([*short, *long], step_grid(100_000, 100))
    np.testing.assert_allclose(means[:50], 205)
    np.testing.assert_allclose(means[52:], 1000)


def owners(envs, active):
    """The environments that take the next steps, in turn."""
    return np.flatnonzero(np.ones(envs.num_envs, bool) if active is None else active).tolist()


@pytest.mark.parametrize("length", [{"steps": 40}, {"episodes": 2}])
def test_the_curve_is_what_the_owners_of_all_steps_say(length, monkeypatch):
    """Every step is in the span of the episode that it belongs to; the means are those of all steps, one by one."""
    _, learner, _ = make_learner(Reinforce(num_envs=3), "Growing-v0")
    envs = VectorEnv(Task("Growing-v0"), 3, np.random.SeedSequence(0))
    taken, step = [], VectorEnv.step

    def noting(self, actions, active=None):
        taken.extend((i, self.episode_envs.count(i)) for i in owners(self, active))
        return step(self, actions, active)

    monkeypatch.setattr(VectorEnv, "step", noting)
    while envs.steps < 2000:
        collect(envs, learner.policy, learner.normalizer, np.random.default_rng(0), **length)
    numbers = {}
    for i, episode in zip(envs.episode_envs, envs.episodes, strict=True):
        numbers[i, len([key for key in numbers if key[0] == i])] = episode
    opened = {(i, envs.episode_envs.count(i)): episode for i, episode in envs.open_episodes().items()}
    assert len(opened) == (3 if "steps" in length else 0)
    numbers |= {key: episode._replace(return_=1000.0) for key, episode in opened.items()}
    own = [numbers[key] for key in taken]
    assert all(e.start < number <= e.step for number, e in enumerate(own, start=1))
    assert all(taken[e.start] == key and taken.count(key) == e.length for key, e in numbers.items())
    grid = step_grid(len(taken), 20)
    by_step = [np.mean([e.return_ for e in own[round(a) : round(b)]]) for a, b in zip([0, *grid], grid, strict=False)]
    np.testing.assert_allclose(curve(list(numbers.values()), grid)[0], by_step, rtol=0.05)


def test_hundreds_of_thousands_of_episodes_take_one_pass():
    ends = np.arange(1.0, 400_001)
    means, counts = means_while_running(ends - 1, ends, ends, step_grid(400_000, 100))
    np.testing.assert_allclose(means, np.arange(100) * 4000 + 2000.5)
    assert counts.tolist() == [4000] * 100


@pytest.mark.parametrize("algorithm", [SMALL, replace(SMALL, num_envs=1), Reinforce(num_envs=3, rollout_length=2)])
def test_all_steps_of_a_run_belong_to_an_episode_and_no_bin_is_empty(algorithm):
    run = algorithm.train(Task("Growing-v0"), 0, 700, compile="never")
    assert all(e.step == run.steps_taken and e.return_ == e.length for e in run.open_episodes)
    whole = sum(e.length for e in (*run.episodes, *run.open_episodes))
    if algorithm.whole_episodes:
        assert run.open_episodes == []
        assert whole == run.steps_taken
    else:
        assert len(run.open_episodes) == algorithm.num_envs
        assert whole > run.steps_taken  # they were finished
    assert not np.isnan(curve([*run.episodes, *run.open_episodes], step_grid(700, 700))[0]).any()


def test_finishing_the_open_episodes_changes_nothing_else(monkeypatch):
    task = Task("CartPole-v1", normalize_observations=True)
    with_them = SMALL.train(task, 3, 500, compile="never", checkpoint_fractions=(1,))
    monkeypatch.setattr(training, "finish_open_episodes", lambda *arguments: [])
    without = SMALL.train(task, 3, 500, compile="never", checkpoint_fractions=(1,))
    assert with_them.open_episodes
    assert without.open_episodes == []
    for name in ("episodes", "updates", "evaluation", "steps_taken", "updates_made"):
        assert getattr(with_them, name) == getattr(without, name), name
    for key, array in with_them.checkpoints[0].state.items():
        np.testing.assert_array_equal(array, without.checkpoints[0].state[key])


def test_an_environment_that_was_just_reset_has_no_open_episode():
    task = Task("CartPole-v1", max_episode_steps=8)
    run = replace(SMALL, num_envs=1, rollout_length=8, minibatch_size=8).train(task, 0, 8, compile="never")
    assert (len(run.episodes), run.open_episodes) == (1, [])


def test_a_diverged_run_finishes_no_episode():
    run = replace(SMALL, policy_learning_rate=1e30).train(Task("Hit-v0"), 0, 2000, compile="never")
    assert run.diverged_at is not None
    assert run.open_episodes == []


def test_an_episode_without_a_start_is_of_a_single_environment():
    assert Episode(30, 1.0, 12) == (30, 1.0, 12, 18)
    assert Episode(3, 1.0, 12).start == 0
    run = Run([(30, 1.0, 12), Episode(40, 1.0, 5)], [], [], None, 50, 0, diverged_at=50, diverged_because="a test")
    assert [e.start for e in checked_run(run, SMALL, Task("CartPole-v1")).episodes] == [18, 35]


@pytest.mark.parametrize(
    ("episode", "message"),
    [
        (Episode(30, 1.0, 12, 30), r"episodes\[0\].start is 30; expected is less than its step, 30"),
        (Episode(30, 1.0, 12, -1), r"episodes\[0\].start is -1; expected is at least 0"),
        (Episode(30, 1.0, 12, 1.5), r"episodes\[0\].start is 1.5; expected is a whole number"),
    ],
)
@pytest.mark.parametrize("of", ["episodes", "open_episodes"])
def test_an_episode_that_begins_at_no_earlier_step_is_refused(of, episode, message):
    run = replace(Run([], [], [], None, 50, 0, diverged_at=50, diverged_because="a test"), **{of: [episode]})
    with pytest.raises(ValueError, match=message):
        checked_run(run, SMALL, Task("CartPole-v1"))


def test_a_run_of_an_earlier_version_is_read_with_starts_that_its_environments_suggest(tmp_path):
    (tmp_path / "episodes.csv").write_text("step,return,length\n16,1.0,4\n40,1.0,2\n")
    run = {"status": "done", "episodes": 2, "settings": {"num_envs": 8}, "steps_taken": 40}
    assert read_episodes(tmp_path, run)["start"].tolist() == [0, 24]
    assert read_episodes(tmp_path, run | {"settings": {}})["start"].tolist() == [12, 38]
    assert len(open_episodes(run)) == 0


def test_open_episodes_are_written_and_end_with_the_run():
    run = json.loads('{"steps_taken": 40, "open_episodes": [{"start": 31, "return": 2.5, "length": 99}]}')
    assert open_episodes(run).to_dict("records") == [{"step": 40, "return": 2.5, "length": 99, "start": 31}]
