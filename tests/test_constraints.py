"""Limits on costs: the multiplier, the costs of episodes, a task whose optimum is known, velocity limits."""

import logging
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv
from gymnasium.envs.mujoco.hopper_v5 import HopperEnv
from gymnasium.spaces import Box, Discrete
from scipy import stats

from algorithms.core.algorithm import InvalidSetting
from algorithms.core.estimators import generalized_advantages
from algorithms.core.task import Task
from algorithms.lagrangian import Lagrangian
from algorithms.ppo import PPO
from experiments.record import outcome
from experiments.tasks import autoscaling
from experiments.tasks.autoscaling import STEPS, Autoscaling, best_day, best_servers, expected, late, usual_rate
from experiments.tasks.velocity import HalfCheetahVelocity, HopperVelocity
from tests.tasks import random_rollout


class Tempting(gymnasium.Env):
    """One step: action 1 pays 1 and costs 1; action 0 does neither, or costs `least`."""

    observation_space, action_space = Box(0, 1, (1,), np.float32), Discrete(2)

    def __init__(self, least=0.0):
        self.least = least

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), float(action), True, False, {"cost": max(float(action), self.least)}


gymnasium.register("Tempting-v0", Tempting)
TEMPTING, CARTPOLE = Task("Tempting-v0"), Task("CartPole-v1")
FAST = {
    **dict(num_envs=16, rollout_length=32, minibatch_size=128, epochs=4, anneal_learning_rate=False),
    **dict(policy_learning_rate=0.01, value_learning_rate=0.01),
}


def test_without_multiplier_and_rate_it_is_ppo_to_the_bit():
    small = dict(num_envs=4, rollout_length=32, epochs=2)
    found = [
        a.train(CARTPOLE, 0, 512, compile="never")
        for a in (PPO(**small, clip_together=False), Lagrangian(**small, multiplier_rate=0))
    ]
    assert found[0].episodes == found[1].episodes
    assert found[0].evaluation == found[1].evaluation
    assert [row["policy_loss"] for row in found[0].updates] == [row["policy_loss"] for row in found[1].updates]


def test_advantages_are_those_of_rewards_less_lambda_times_those_of_costs():
    rng = np.random.default_rng(0)
    rollout = random_rollout(rng, 20, 3)
    rollout.reported_costs = rng.random(rollout.rewards.shape)
    rollout.critic_values["cost"], rollout.critic_next_values["cost"] = rng.normal(size=(2, *rollout.rewards.shape))
    a = Lagrangian(multiplier=2.5)
    of_rewards = PPO().advantages(rollout)
    costs = (rollout.costs, rollout.critic_values["cost"], rollout.critic_next_values["cost"])
    of_costs = generalized_advantages(rollout, a.gamma, a.gae_lambda, *costs)
    np.testing.assert_allclose(a.advantages(rollout), of_rewards - 2.5 * of_costs)
    targets = a.critic_targets(rollout, a.advantages(rollout))  # neither critic sees the other's advantages
    np.testing.assert_allclose(targets["value"], of_rewards + rollout.values, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(targets["cost"], of_costs + rollout.critic_values["cost"])


def test_with_one_critic_for_both_the_advantages_would_be_those_of_reward_minus_penalty():
    rng = np.random.default_rng(1)
    rollout = random_rollout(rng, 20, 3)
    rollout.reported_costs = rng.random(rollout.rewards.shape)
    rollout.critic_values["cost"], rollout.critic_next_values["cost"] = 0.5 * rollout.values, 0.5 * rollout.next_values
    a = Lagrangian(multiplier=0.5)
    both = 0.75 * rollout.values, 0.75 * rollout.next_values
    expected = generalized_advantages(rollout, a.gamma, a.gae_lambda, rollout.rewards - 0.5 * rollout.costs, *both)
    np.testing.assert_allclose(a.advantages(rollout), expected)


def test_the_multiplier_ascends_by_what_an_episode_costs_too_much_and_is_never_negative():
    a = Lagrangian(limit=10, multiplier=1.0, multiplier_rate=0.1)
    assert a.after_update({"episode_cost": 13.0, "progress": 0.5}).multiplier == pytest.approx(1.3)
    assert a.after_update({"episode_cost": 8.0, "progress": 0.5}).multiplier == pytest.approx(0.8)
    assert replace(a, limit=50).after_update({"episode_cost": 8.0, "progress": 0.5}).multiplier == 0
    assert a.after_update({"progress": 0.5}) == a  # no episode ended
    fixed = replace(a, multiplier_rate=0)
    assert fixed.after_update({"episode_cost": 99.0, "progress": 1.0}) == fixed


@pytest.mark.parametrize("limit", [0.2, 0.6])
def test_a_limit_is_held_at_the_known_optimum_where_the_unconstrained_policy_breaks_it(limit):
    """With an entropy bonus τ the best policy under λ gives in with the probability 1 / (1 + exp((λ − 1) / τ)); it is
    the `limit` at λ* = 1 − τ log(limit / (1 − limit)).
    """
    free = Lagrangian(**FAST, multiplier_rate=0).train(TEMPTING, 100, 5_000, compile="never")
    assert np.mean(free.evaluation["sampled"].costs) == 1
    bonus = dict(entropy_coefficient=0.2, normalize_advantages=False)
    a = Lagrangian(**FAST | {"epochs": 2}, **bonus, limit=limit, multiplier_rate=0.05)
    held = a.train(TEMPTING, 100, 75_000, compile="never")
    last = {name: np.mean([row[name] for row in held.updates[-70:]]) for name in ("episode_cost", "multiplier")}
    assert last["episode_cost"] == pytest.approx(limit, abs=0.03)
    assert last["multiplier"] == pytest.approx(1 - 0.2 * np.log(limit / (1 - limit)), abs=0.05)


def test_a_limit_that_no_policy_meets_is_said(caplog):
    impossible = Task("Tempting-v0", kwargs={"least": 0.5})
    with caplog.at_level(logging.WARNING):
        Lagrangian(**FAST, limit=0.25).train(impossible, 0, 2_048, compile="never", evaluations=())
    [said] = [record.getMessage() for record in caplog.records if "limit" in record.getMessage()]
    assert said.endswith("more than the limit, 0.25")
    caplog.clear()
    Lagrangian(**FAST, limit=2).train(impossible, 0, 2_048, compile="never", evaluations=())
    assert not caplog.records


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"limit": -1.0}, "limit of Lagrangian must be finite and not negative, not -1.0"),
        ({"multiplier": -0.1}, "multiplier of Lagrangian must be finite and not negative, not -0.1"),
        ({"multiplier_rate": -1.0}, "multiplier_rate of Lagrangian must be finite and not negative, not -1.0"),
        ({"lagrange_rate": 1.0}, "Lagrangian has no setting 'lagrange_rate'"),
    ],
)
def test_a_mistake_in_the_settings_is_a_sentence(settings, said):
    with pytest.raises(InvalidSetting) as error:
        Lagrangian(**settings)
    assert said in str(error.value)


def test_costs_of_episodes_are_in_updates_and_evaluations_where_the_task_reports_them():
    run = Lagrangian(**FAST, multiplier_rate=0).train(TEMPTING, 0, 1_024, compile="never")
    assert all(row["episode_cost"] == pytest.approx(row["mean_cost"]) for row in run.updates)  # of one step each
    for kind, evaluation in run.evaluation.items():
        assert evaluation.costs == evaluation.returns
        assert outcome(run)["evaluation"][kind]["costs"] == evaluation.costs
    plain = PPO(num_envs=4, rollout_length=16).train(CARTPOLE, 0, 128, compile="never")
    assert not any("episode_cost" in row for row in plain.updates)
    assert set(outcome(plain)["evaluation"]["sampled"]) == {"returns", "lengths"}


def test_costs_of_variants_are_in_the_order_of_their_returns():
    task = Task("Tempting-v0", variants=({"least": 0.25}, {"least": 0.75}))
    run = Lagrangian(**FAST, multiplier=50.0, multiplier_rate=0).train(task, 0, 4_096, compile="never")
    assert run.evaluation["mode"].costs == [0.25, 0.75] * 10


# ----------------------------------------------------------------------------------------- autoscaling


def test_the_share_of_late_requests_is_that_of_a_queue():
    assert late(7.0, 1) == pytest.approx(0.7 * np.exp(-3 * 0.1))  # M/M/1
    load = 15 / 10
    waits = load**2 / 2 / (1 - load / 2) / (1 + load + load**2 / 2 / (1 - load / 2))  # Erlang C of two servers
    assert late(15.0, 2) == pytest.approx(waits * np.exp(-5 * 0.1))
    assert late(20.0, 2) == late(31.0, 2) == 1.0
    for servers, rate in enumerate(autoscaling.CAPACITIES, start=1):
        assert late(rate, servers) == pytest.approx(0.05)


def test_a_day_is_what_its_docstring_says():
    env = Autoscaling()
    observation, _ = env.reset(seed=3)
    for step, servers in enumerate([1, 20, 7] * (STEPS // 3)):
        assert observation[0] == pytest.approx(usual_rate(step) / 50)
        observation, reward, *_, info = env.step(servers - 1)
        rate = usual_rate(step) * np.exp(observation[1])
        assert reward == pytest.approx(0.02 * min(rate, 10 * servers) - 0.1 * servers, rel=1e-5)
        assert info["cost"] == (info["late"] > 0.05)
    rates = [usual_rate(step) for step in range(STEPS)]
    assert (np.argmin(rates) / 4, np.argmax(rates) / 4) == (4.5, 19.5)
    assert max(rates) / min(rates) == pytest.approx(3.4, abs=0.1)


def days(penalty, count=300):
    """Returns and costs of simulated days of the best policy under a penalty, [count] each."""
    env, totals = Autoscaling(), np.zeros((count, 2))
    env.reset(seed=5)
    for day in range(count):
        env.reset()
        for step in range(STEPS):
            servers = best_servers(step, np.array([env.unusual]), penalty)[0]
            _, reward, *_, info = env.step(servers - 1)
            totals[day] += reward, info["cost"]
    return totals.T


def test_the_best_day_is_that_of_the_simulated_best_policy():
    for simulated, known in zip(days(1.0, 100), best_day(1.0), strict=True):
        assert abs(simulated.mean() - known) < 4 * stats.sem(simulated)


def test_no_policy_is_better_under_the_penalty_and_a_higher_one_costs_less_and_pays_less():
    rng = np.random.default_rng(0)
    unusual = rng.normal(0, 0.35, 50)
    for penalty in (0.0, 0.5, 3.0):
        rewards, costs = expected(30, unusual)
        best = best_servers(30, unusual, penalty) - 1
        rows = np.arange(50)
        value = (rewards - penalty * costs)[rows, best]
        assert (value >= (rewards - penalty * costs)[rows, rng.integers(20, size=50)]).all()
    known = np.array([best_day(penalty) for penalty in (0, 0.3, 1, 3)])
    assert (np.diff(known, axis=0) < 0).all()
    # These numbers stand in the grid `constraints`.
    np.testing.assert_allclose(known[[0, 2, 3]], [[40.65, 90.4], [15.3, 9.97], [3.9, 3.0]], atol=0.05)
    assert best_day(1e6)[1] == pytest.approx(0.11, abs=0.01)  # no policy has fewer violations


# -------------------------------------------------------------------------------------------- velocity


@pytest.mark.parametrize(
    ("limited", "plain", "fastest"),
    [(HalfCheetahVelocity, HalfCheetahEnv, 3.2096), (HopperVelocity, HopperEnv, 0.7402)],
)
def test_a_task_with_a_velocity_limit_is_gymnasiums_with_a_cost(limited, plain, fastest):
    assert limited().fastest == fastest  # as published
    env, same = limited(fastest=0.1), plain()
    np.testing.assert_array_equal(env.reset(seed=1)[0], same.reset(seed=1)[0])
    env.action_space.seed(1)
    costs = []
    for _ in range(100):
        action = env.action_space.sample()
        *found, info = env.step(action)
        *wanted, about = same.step(action)
        np.testing.assert_array_equal(found[0], wanted[0])
        assert found[1:] == wanted[1:]
        assert info == about | {"cost": float(about["x_velocity"] > 0.1)}
        costs.append(info["cost"])
    assert set(costs) == {0.0, 1.0}
    named = Task(f"experiments.tasks.velocity:{limited.__name__}-v0", kwargs={"fastest": 0.5})
    assert gymnasium.make(named.id, **named.kwargs).unwrapped.fastest == 0.5
