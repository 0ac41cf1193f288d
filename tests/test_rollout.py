"""collect(): what is stepped is counted, what is counted is kept, and whole episodes are whole."""

import numpy as np
import pytest
import torch

from algorithms.core.rollout import collect
from algorithms.core.task import Task
from algorithms.ppo import PPO
from tests.tasks import make_learner


def prepared(task, num_envs=3, **options):
    envs, learner, rng = make_learner(PPO(num_envs=num_envs), task, **options)
    return envs, lambda **length: collect(envs, learner.policy, learner.normalizer, rng, **length)


def test_a_number_of_steps_is_exact():
    envs, collected = prepared("RandomEnding-v0")
    rollout = collected(steps=17)
    assert rollout.rewards.shape == rollout.valid.shape == rollout.actions.shape == (17, 3)
    assert rollout.observations.shape == rollout.next_observations.shape == (17, 3, 2)
    assert rollout.valid.all()
    assert envs.steps == rollout.valid.sum() == 51


@pytest.mark.parametrize("task", ["RandomEnding-v0", "BoxRandomEnding-v0", "Tabular-v0"])
@pytest.mark.parametrize("episodes", [1, 3])
def test_every_environment_contributes_the_same_number_of_complete_episodes(task, episodes):
    envs, collected = prepared(task, num_envs=5)
    for repetition in range(1, 4):  # nothing is left over from one rollout to the next
        taken = envs.steps
        rollout = collected(episodes=episodes)
        assert rollout.done.sum(axis=0).tolist() == [episodes] * 5
        assert envs.steps - taken == rollout.valid.sum()
        assert len(envs.episodes) == repetition * episodes * 5
        assert sum(e.length for e in envs.episodes) == envs.steps
        for i in range(5):
            length = rollout.valid[:, i].sum()
            assert rollout.valid[:length, i].all()  # padding only after the last episode
            assert rollout.done[length - 1, i]
        assert len(set(rollout.valid.sum(axis=0))) > 1  # the lengths do differ
        assert rollout.valid[-1].any()  # no row of padding alone


def test_padding_has_no_reward_and_no_ending():
    envs, collected = prepared("RandomEnding-v0", num_envs=6)
    rollout = collected(episodes=2)
    assert not rollout.valid.all()
    assert (rollout.rewards[~rollout.valid] == 0).all()
    assert not rollout.done[~rollout.valid].any()
    assert rollout.rewards.sum() == pytest.approx(sum(e.return_ for e in envs.episodes))


def test_each_row_follows_from_the_one_before():
    _, collected = prepared("Terminating-v0")
    rollout = collected(steps=10)
    going_on = ~rollout.done[:-1]
    np.testing.assert_array_equal(rollout.next_observations[:-1][going_on], rollout.observations[1:][going_on])
    assert rollout.done.sum() == 6
    assert (rollout.next_observations[rollout.done][:, 2] == 4).all()  # the true successor, not the restart
    assert (rollout.observations[1:][rollout.done[:-1]][:, 2] == 0).all()


def test_rollouts_of_steps_go_on_where_the_last_one_stopped():
    _, collected = prepared("Terminating-v0")
    first, second = collected(steps=6), collected(steps=6)
    np.testing.assert_array_equal(first.next_observations[-1], second.observations[0])
    assert second.terminated[1].all()  # 4 + 4 = 6 + 2


def test_the_stored_action_is_the_sample_before_the_bounds():
    envs, collected = prepared("BoxTruncating-v0")
    rollout = collected(steps=3)
    low, high = envs.action_space.low, envs.action_space.high
    assert (rollout.actions < low).any()
    received = np.array([env.unwrapped.received for env in envs.backend.envs]).swapaxes(0, 1)
    np.testing.assert_array_equal(received, np.clip(rollout.actions, low, high))


@pytest.mark.parametrize("task", ["Masked-v0", "MaskedLate-v0"])
def test_no_forbidden_action_is_ever_taken_and_the_masks_are_kept(task):
    """The environment raises at a forbidden action."""
    _, collected = prepared(task, num_envs=4)
    for length in ({"steps": 20}, {"steps": 11}, {"episodes": 2}):
        rollout = collected(**length)
        np.testing.assert_array_equal(rollout.action_masks, rollout.observations == 1)
        chosen = np.take_along_axis(rollout.action_masks, rollout.actions[..., None], axis=-1)
        assert chosen[rollout.valid].all()


def test_the_log_probabilities_of_a_masked_rollout_are_those_of_the_restricted_policy():
    envs, learner, rng = make_learner(PPO(num_envs=4), "Masked-v0", spread=100.0)
    rollout = collect(envs, learner.policy, learner.normalizer, rng, steps=30)
    batch = learner.prepare(rollout)
    logits = learner.policy.network(batch.observations).detach()
    allowed = torch.where(batch.observations == 1, logits, -torch.inf)
    expected = torch.log_softmax(allowed, dim=-1).gather(1, batch.actions[:, None])[:, 0]
    assert expected.isfinite().all()
    np.testing.assert_allclose(batch.log_probs, expected, atol=1e-5)


def test_the_mode_is_taken_where_asked():
    envs, learner, rng = make_learner(PPO(num_envs=4), "Match-v0", spread=10.0)
    rollout = collect(envs, learner.policy, learner.normalizer, rng, steps=20, mode=True)
    with torch.no_grad():
        logits = learner.policy.network(torch.from_numpy(rollout.observations))
    np.testing.assert_array_equal(rollout.actions, logits.argmax(dim=-1))


def test_costs_are_those_of_the_steps_and_zero_before_the_first_and_in_padding():
    envs, collected = prepared("Costs-v0")  # reports nothing, 2, ½, nothing, nothing
    rollout = collected(steps=7)
    np.testing.assert_array_equal(rollout.costs, np.tile([[0.0], [2], [0.5], [0], [0], [0], [2]], 3))
    assert rollout.costs.dtype == np.float64
    assert rollout.mean_cost == pytest.approx(4.5 / 7)
    rollout = collected(episodes=1)
    assert rollout.costs.sum() == pytest.approx(3 * 0.5)
    assert envs.episode_costs == [2.5] * 6


def test_a_task_without_costs_has_zeros():
    _, collected = prepared("RandomEnding-v0")
    rollout = collected(episodes=2)
    assert rollout.reported_costs is None
    assert rollout.costs.shape == rollout.rewards.shape
    assert not rollout.costs.any()
    assert rollout.mean_cost == 0.0


def test_the_mean_cost_is_over_valid_steps():
    _, collected = prepared("CostIsNotANumber-v0")
    rollout = collected(steps=3)
    assert rollout.mean_cost == 1.0
    rollout.valid = np.zeros_like(rollout.valid)
    rollout.valid[0, 0], rollout.reported_costs[0, 0] = True, 7.0
    assert rollout.mean_cost == 7.0


def test_costs_are_recorded_and_one_that_is_not_finite_ends_the_run_as_stopped_by_its_task():
    run = PPO(num_envs=4, rollout_length=8).train(Task("Costs-v0"), 0, 64, compile="never", evaluations=())
    assert [row["mean_cost"] for row in run.updates] == [5 / 8, 2.5 / 8]  # of the steps 1 to 8, and 9 to 16
    run = PPO(num_envs=4, rollout_length=2).train(Task("CostIsNotANumber-v0"), 0, 64, compile="never")
    assert run.stopped_by_task
    assert (run.diverged_at, run.diverged_because) == (13, "the task gave NaN as cost at step 13")
    run = PPO(num_envs=4, rollout_length=8).train(Task("Match-v0"), 0, 64, compile="never", evaluations=())
    assert all("mean_cost" not in row for row in run.updates)


def test_parts_have_their_actions_rewards_and_masks():
    _, collected = prepared("MaskedJunctions-v0")
    rollout = collected(steps=25)
    assert rollout.parts == 3
    assert rollout.actions.shape == rollout.part_rewards.shape == (25, 3, 3)
    assert rollout.actions.dtype == np.int64
    assert rollout.action_masks.shape == (25, 3, 2 + 3 + 2)
    np.testing.assert_array_equal(rollout.part_rewards, rollout.actions == rollout.observations)
    np.testing.assert_array_equal(rollout.rewards, rollout.part_rewards.sum(axis=-1))
    assert ((rollout.actions == 0) | (rollout.actions == rollout.observations)).all()  # what the masks allow


@pytest.mark.parametrize("task", ["Match-v0", "BoxRandomEnding-v0"])
def test_other_actions_have_no_parts(task):
    rollout = prepared(task)[1](steps=3)
    assert rollout.parts is None
    assert rollout.part_rewards is None


def test_a_rollout_knows_the_variant_of_each_environment():
    task = Task("AlwaysTheSame-v0", variants=({"reward": 1.0}, {"reward": 2.0}))
    rollout = prepared(task, num_envs=5)[1](steps=2)
    assert rollout.variants.tolist() == [0, 1, 0, 1, 0]
    np.testing.assert_array_equal(rollout.rewards, np.tile(rollout.variants + 1.0, (2, 1)))
    assert prepared("Match-v0")[1](steps=1).variants.tolist() == [0, 0, 0]
