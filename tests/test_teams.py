"""Credit in teams: the grid of traffic lights against closed forms, and Ψ of the parts against its definition."""

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from algorithms.a2c import A2C
from algorithms.coma import COMA
from algorithms.core.algorithm import InvalidAlgorithm
from algorithms.core.batch import sum_over_parts
from algorithms.core.estimators import generalized_advantages
from algorithms.core.mlp import ChoicesFunction
from algorithms.core.rollout import Rollout, collect
from algorithms.core.task import Task, UnsupportedTask, make_env
from algorithms.part_returns import PartReturns
from algorithms.q_actor_critic import QActorCritic
from experiments.random_score import random_returns
from experiments.tasks.traffic import (
    ARRIVALS,
    DEFAULT,
    ROOM,
    SIZES,
    STEPS,
    Traffic,
    advance,
    best_return,
    entries,
    max_pressure,
)
from tests.tasks import make_learner

NAME = "experiments.tasks.traffic:Traffic{}x{}-v0"
WEST, NORTH = 0, 1


def returns_of(rule, rows, columns, episodes, seed=0):
    """Returns of a rule, all episodes at once: float64 [episodes]."""
    rng = np.random.default_rng(seed)
    queues, total = np.zeros((episodes, rows, columns, 2), np.int64), np.zeros(episodes)
    for _ in range(STEPS):
        queues = advance(queues, rule(queues), rng.random(queues.shape) < entries(rows, columns))
        total -= queues.sum((1, 2, 3))
    return total


# ---- the task


def test_a_car_passes_where_there_is_green_and_room_and_waits_in_the_next_street():
    nobody = np.zeros((1, 1, 2, 2), bool)
    queues = np.array([[[[2, 1], [0, 3]]]])
    assert advance(queues, np.array([[[WEST, NORTH]]]), nobody).tolist() == [[[[1, 1], [1, 2]]]]
    assert advance(queues, np.array([[[NORTH, WEST]]]), nobody).tolist() == [[[[2, 0], [0, 3]]]]
    full = np.array([[[[2, 1], [ROOM, 0]]]])  # also if a car leaves the full street in the same step
    assert advance(full, np.array([[[WEST, WEST]]]), nobody).tolist() == [[[[2, 1], [ROOM - 1, 0]]]]
    everyone = np.ones((1, 1, 2, 2), bool)
    assert advance(np.full((1, 1, 2, 2), ROOM), np.array([[[WEST, NORTH]]]), everyone).max() == ROOM


def test_cars_are_neither_made_nor_lost():
    rng = np.random.default_rng(0)
    queues = rng.integers(0, ROOM, (200, 3, 3, 2))
    actions = rng.integers(0, 2, (200, 3, 3))
    after = advance(queues, actions, np.zeros((1, 3, 3, 2), bool))
    left = (queues[:, :, -1, WEST] > 0) & (actions[:, :, -1] == WEST)
    left_south = (queues[:, -1, :, NORTH] > 0) & (actions[:, -1] == NORTH)
    assert (queues.sum((1, 2, 3)) - after.sum((1, 2, 3)) == left.sum(1) + left_south.sum(1)).all()


@pytest.mark.parametrize(("rows", "columns"), SIZES)
def test_the_return_is_minus_the_steps_that_cars_spent_in_the_grid(rows, columns):
    env = make_env(Task(NAME.format(rows, columns)))
    observation, _ = env.reset(seed=5)
    assert not observation.any()
    for step in range(STEPS):
        observation, reward, terminated, truncated, info = env.step(np.arange(rows * columns) % 2)
        assert reward == pytest.approx(-ROOM * observation.sum(), rel=1e-5)
        assert info["part_rewards"].sum() == reward
        np.testing.assert_allclose(info["part_rewards"], -ROOM * observation.reshape(-1, 2).sum(1), rtol=1e-5)
        assert (terminated, truncated) == (False, step == STEPS - 1)


def test_the_difference_is_the_reward_less_that_of_an_episode_in_which_the_junctions_light_follows_the_cycle():
    def rewards(clamped=None, **kwargs):
        env, rng = Traffic(2, 2, **kwargs), np.random.default_rng(1)
        env.reset(seed=7)
        found, parts = [], []
        for t in range(STEPS):
            action = rng.integers(0, 2, 4)
            if clamped is not None:
                action[clamped] = DEFAULT[t % len(DEFAULT)]
            _, reward, _, _, info = env.step(action)
            found.append(reward)
            parts.append(info["part_rewards"])
        return np.array(found), np.array(parts)

    true, differences = rewards(part_rewards="difference")
    np.testing.assert_array_equal(true, rewards()[0])  # the reward itself does not depend on it
    for junction in range(4):
        np.testing.assert_array_equal(differences[:, junction], true - rewards(junction)[0])
    assert (differences != 0).any(0).all()


def test_a_junction_that_follows_the_cycle_makes_no_difference():
    env = Traffic(3, 3, part_rewards="difference")
    env.reset(seed=2)
    rng = np.random.default_rng(0)
    for t in range(STEPS):
        action = rng.integers(0, 2, 9)
        action[4] = DEFAULT[t % len(DEFAULT)]
        assert env.step(action)[4]["part_rewards"][4] == 0


def test_the_best_return_of_a_step_or_two_is_the_closed_form():
    west, north = ARRIVALS
    assert best_return(1, 1, 1) == pytest.approx(-(west + north))
    assert best_return(1, 2, 1) == pytest.approx(-(west + 2 * north))
    # After the first step one car leaves if there is any: the second step costs what came in both, less that one.
    any_came = 1 - (1 - west) * (1 - north)
    assert best_return(1, 1, 2) == pytest.approx(-(west + north) - 2 * (west + north) + any_came)


def test_no_rule_beats_the_best_return_and_the_largest_pressure_comes_near():
    best = best_return(1, 2)
    returns = returns_of(max_pressure, 1, 2, 4000)
    error = returns.std() / np.sqrt(len(returns))
    assert best == pytest.approx(-130.8, abs=0.1)  # which the grid `teams` names
    assert returns.mean() - 4 * error < best < returns.mean() + 10


@pytest.mark.parametrize(
    ("rows", "columns", "at_random", "reference"),
    [(1, 2, -284.0, -138.1), (2, 2, -549.0, -259.8), (3, 3, -1140.0, -537.3)],
)
def test_random_and_reference_scores_are_those_of_the_grid(rows, columns, at_random, reference):
    rng = np.random.default_rng(3)

    def anything(queues):
        return rng.integers(0, 2, queues.shape[:-1])

    for rule, expected in ((anything, at_random), (max_pressure, reference)):
        returns = returns_of(rule, rows, columns, 2000, seed=4)
        assert returns.mean() == pytest.approx(expected, abs=5 * returns.std() / np.sqrt(2000))
    task = random_returns(Task(NAME.format(rows, columns)), 40)
    assert task.mean() == pytest.approx(at_random, abs=5 * task.std() / np.sqrt(40))


@pytest.mark.parametrize(
    ("kwargs", "sentence"),
    [
        ({"rows": 0, "columns": 2}, "rows and columns must be at least 1, not 0 and 2"),
        ({"rows": 1, "columns": 2, "part_rewards": "global"}, "part_rewards must be local or difference, not 'global'"),
    ],
)
def test_a_grid_that_cannot_be_is_refused_with_a_sentence(kwargs, sentence):
    with pytest.raises(ValueError, match=sentence):
        Traffic(**kwargs)


# ---- the critic of choices


PARTS = (2, 3, 2)


def random_critic(seed=0):
    critic = ChoicesFunction(4, torch.Generator().manual_seed(seed), parts=PARTS)
    with torch.no_grad():
        critic.parameter_vector += torch.randn(
            critic.parameter_vector.shape, generator=torch.Generator().manual_seed(1)
        )
    return critic


def test_values_of_a_part_depend_on_the_other_parts_actions_and_not_on_its_own():
    critic, observation = random_critic(), np.ones((1, 4), np.float32)

    def values(*action):
        return critic.values(observation, np.array([action]))[0]

    base = values(0, 1, 1)
    assert base.shape == (3, 3)
    for part, changed in enumerate(((1, 1, 1), (0, 2, 1), (0, 1, 0))):
        same = (values(*changed) == base).all(axis=1)
        assert same.tolist() == [k == part for k in range(3)]
    assert (base[[0, 2], 2] == 0).all()  # choices that these parts lack
    assert (base[1] != 0).all()


@dataclass(frozen=True)
class Untrained(COMA):
    """COMA whose critic alone learns."""

    gamma: float = 0.0
    policy_learning_rate: float = 0.0
    value_learning_rate: float = 3e-3


def test_the_critic_learns_what_each_choice_is_worth():
    """Without a future, the reward of Junctions is the number of parts that are right: Q(s, (u, a_−k)) − its mean."""
    envs, learner, rng = make_learner(Untrained(num_envs=32, rollout_length=8), "Junctions-v0")
    for _ in range(100):
        rollout = collect(envs, learner.policy, learner.normalizer, rng, steps=8)
        learner.update(learner.prepare(rollout), 0.0)
    learner.prepare(rollout)
    assert "q" not in rollout.critic_next_values
    right = rollout.part_rewards
    expected = right - np.array([1 / 2, 1 / 3, 1 / 2])  # the policy is nearly uniform
    psi = learner.algorithm.advantages(rollout)
    assert psi.shape == (8, 32, 3)
    assert np.sqrt(np.mean((psi - expected) ** 2)) < 0.2 < expected.std()


# ---- Ψ by its definition


def rollout_of(actions, **fields):
    """A rollout of one step of each of N environments, with the actions [N, K] or [N]."""
    shape = (1, len(actions))
    none = np.zeros(shape, bool)
    nothing = np.zeros((*shape, 1), np.float32)
    rollout = Rollout(nothing, actions[None], np.zeros(shape), ~none, none, nothing, ~none)
    for name, value in fields.items():
        setattr(rollout, name, value)
    return rollout


def joint_case():
    """All joint actions of PARTS, a random Q of them, and a random factorised policy (padded, [K, 3])."""
    rng = np.random.default_rng(0)
    joint = np.array(list(itertools.product(*map(range, PARTS))))
    q = rng.normal(size=PARTS)
    policy = np.zeros((3, 3))
    for k, n in enumerate(PARTS):
        policy[k, :n] = rng.dirichlet(np.ones(n))
    of_choices = np.zeros((len(joint), 3, 3))
    for i, action in enumerate(joint):
        for k, n in enumerate(PARTS):
            for u in range(n):
                of_choices[i, k, u] = q[tuple(np.where(np.arange(3) == k, u, action))]
    rollout = rollout_of(
        joint, critic_values={"q": of_choices[None]}, probabilities=np.broadcast_to(policy, (1, len(joint), 3, 3))
    )
    return joint, q, policy, rollout


def test_the_counterfactual_baseline_is_q_with_one_part_replaced_by_a_fresh_draw():
    joint, q, policy, rollout = joint_case()
    psi = COMA().advantages(rollout)[0]
    for i, (a, b, c) in enumerate(joint):
        baselines = [policy[0, :2] @ q[:, b, c], policy[1] @ q[a, :, c], policy[2, :2] @ q[a, b, :]]
        np.testing.assert_allclose(psi[i], q[a, b, c] - np.array(baselines))


def test_a_parts_advantage_has_no_mean_whatever_the_others_do():
    _, _, policy, rollout = joint_case()
    psi = COMA().advantages(rollout)[0].reshape(*PARTS, 3)
    for k, n in enumerate(PARTS):
        np.testing.assert_allclose(np.tensordot(policy[k, :n], psi[..., k], (0, k)), 0, atol=1e-12)


def test_the_expected_gradient_with_the_true_q_is_the_policy_gradient():
    """E[Σ_k ∇log π_k Ψ_k] = ∇ Σ_a π(a) Q(a), for the losses of COMA and of A2C, exactly."""
    joint, q, policy, rollout = joint_case()
    logits = torch.tensor(np.log(np.maximum(policy, 1e-300)), requires_grad=True)
    with torch.no_grad():
        logits[[0, 2], 2] = -torch.inf
    log_probs = torch.stack([logits.log_softmax(-1)[k, joint[:, k]] for k in range(3)], dim=1)
    probability = log_probs.sum(1).exp()
    (true,) = torch.autograd.grad((probability * torch.tensor(q[tuple(joint.T)])).sum(), logits, retain_graph=True)
    envs, learner, _ = make_learner(COMA(num_envs=len(joint)), "Junctions-v0")
    psi = torch.tensor(COMA().advantages(rollout)[0])
    batch = learner.prepare(collect(envs, learner.policy, learner.normalizer, np.random.default_rng(0), steps=1))
    weighted = psi * probability.detach()[:, None] * len(joint)  # a mean over all actions as one over those drawn
    (found,) = torch.autograd.grad(
        -sum_over_parts(COMA().policy_loss, log_probs, batch.with_advantages(weighted)), logits
    )
    finite = torch.isfinite(logits)
    torch.testing.assert_close(found[finite], true[finite])


def test_of_a_single_part_the_baseline_is_that_of_the_q_actor_critic():
    rng = np.random.default_rng(0)
    actions, q, policy = rng.integers(0, 3, 5), rng.normal(size=(1, 5, 3)), rng.dirichlet(np.ones(3), (1, 5))
    rollout = rollout_of(actions, critic_values={"q": q}, probabilities=policy)
    np.testing.assert_array_equal(COMA().advantages(rollout), QActorCritic().advantages(rollout))


def test_returns_of_parts_are_the_advantages_of_their_own_rewards_and_values():
    envs, learner, rng = make_learner(PartReturns(num_envs=4), "Junctions-v0", spread=50.0)
    rollout = collect(envs, learner.policy, learner.normalizer, rng, steps=20)
    batch = learner.prepare(rollout)
    values, following = rollout.critic_values["parts"], rollout.critic_next_values["parts"]
    assert values.shape == following.shape == (20, 4, 3)
    psi = PartReturns().advantages(rollout)
    for k in range(3):
        expected = generalized_advantages(
            rollout, 0.99, 1.0, rollout.part_rewards[..., k], values[..., k], following[..., k]
        )
        np.testing.assert_allclose(psi[..., k], expected)
    np.testing.assert_allclose(batch.critic_targets["parts"], (psi + values).reshape(-1, 3), rtol=1e-5)
    rollout.part_rewards = None  # then each part has the reward of all
    expected = generalized_advantages(rollout, 0.99, 1.0, rollout.rewards, values[..., 1], following[..., 1])
    np.testing.assert_allclose(PartReturns().advantages(rollout)[..., 1], expected)


def test_of_a_single_part_the_returns_of_parts_are_a2c_to_the_bit():
    runs = [kind(num_envs=4).train(Task("Match-v0"), 0, 800, compile="never") for kind in (A2C, PartReturns)]
    assert runs[0].episodes == runs[1].episodes
    assert runs[0].evaluation == runs[1].evaluation


def test_masked_choices_have_no_part_in_the_baseline():
    envs, learner, rng = make_learner(COMA(num_envs=4), "MaskedJunctions-v0", spread=50.0)
    rollout = collect(envs, learner.policy, learner.normalizer, rng, steps=20)
    learner.prepare(rollout)
    assert rollout.probabilities.shape == (20, 4, 3, 3)
    np.testing.assert_allclose(rollout.probabilities.sum(-1), 1)
    allowed = np.zeros((20, 4, 3, 3), bool)
    for k, (begin, n) in enumerate(((0, 2), (2, 3), (5, 2))):
        allowed[:, :, k, :n] = rollout.action_masks[..., begin : begin + n]
    assert not rollout.probabilities[~allowed].any()


# ---- runs


@pytest.mark.parametrize(
    "algorithm",
    [
        COMA(policy_learning_rate=1e-3, value_learning_rate=3e-3, rollout_length=16, gamma=0.5),
        PartReturns(policy_learning_rate=3e-3, value_learning_rate=3e-3),
    ],
)
def test_a_task_of_parts_is_solved(algorithm):
    run = algorithm.train(Task("Junctions-v0"), 0, 16_000, compile="never")
    assert np.mean(run.evaluation["mode"].returns) > 28  # of 30; with one part at random it would be 25 at most


def test_the_steps_of_a_critic_that_sees_actions_are_not_compiled():
    run = COMA(num_envs=4, rollout_length=16).train(Task("Junctions-v0"), 0, 128, compile="always", evaluations=())
    assert not run.compiled


def test_a_counterfactual_baseline_needs_choices():
    with pytest.raises(
        UnsupportedTask, match="'q' of COMA is of the kind 'choices'; this kind needs actions in Discrete"
    ):
        COMA().train(Task("BoxTruncating-v0"), 0, 100)


def test_targets_of_parts_of_another_number_are_refused():
    class Wrong(PartReturns):
        def critic_targets(self, rollout, advantages):
            return {"parts": np.zeros((*rollout.rewards.shape, 2))}

    envs, learner, rng = make_learner(Wrong(num_envs=4), "Junctions-v0")
    rollout = collect(envs, learner.policy, learner.normalizer, rng, steps=5)
    with pytest.raises(InvalidAlgorithm, match=r"shape \(5, 4, 2\); expected is \(5, 4\) or \(5, 4, 3\)"):
        learner.prepare(rollout)
