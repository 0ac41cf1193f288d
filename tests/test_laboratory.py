"""The gradient laboratory: its vectors against autograd and by linearity, its episodes, its critics, its files.

What an estimator measures is judged on the exact problems by the U-statistic of its squared bias, whose expectation is
the squared distance of its expectation from the true gradient.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
import yaml

from algorithms.a2c import A2C
from algorithms.actor_critic import ActorCritic
from algorithms.core.batch import Batch
from algorithms.core.estimators import discounted_returns, generalized_advantages, td_errors
from algorithms.core.mlp import ValueFunction
from algorithms.core.policy_gradient import PolicyGradient
from algorithms.core.rollout import collect
from algorithms.core.task import Task
from algorithms.ppo import PPO
from algorithms.reinforce import Reinforce
from algorithms.reinforce_baseline import ReinforceBaseline
from experiments import exact, gradients, probe
from experiments.cells import GridAlgorithm
from experiments.command import exit_with_sentence
from experiments.gradients import (
    ActionValue,
    Critic,
    Estimator,
    Generalized,
    batch_sizes,
    bootstraps,
    estimators_of,
    fit_value_function,
    measure_gradients,
    returns_of,
)
from experiments.grid import load_grid
from experiments.probe import Clock, Frozen, measure, trained
from experiments.run import main as run_main
from experiments.schema import SCHEMA
from experiments.sources import ROOT
from tests.tasks import IN_ALL_SPACES, make_learner

GAMMA = 0.9
STANDARD_ERRORS = 4.5
ONE_ROUNDING = 2.0**-23  # between neighbours in single precision, to which what is summed in double is rounded
POLICIES = {
    "categorical": Task("RandomEnding-v0"),
    "masked": Task("Masked-v0"),
    "masked late": Task("MaskedLate-v0"),
    "Gaussian": Task("BoxRandomEnding-v0"),
    "squashed": Task("BoxRandomEnding-v0", action_bounds="squash"),
    "normalised": Task("BoxRandomEnding-v0", normalize_observations=True, normalize_rewards=True),
}


def frozen(task, seed=0) -> tuple[Frozen, Callable[[], dict]]:
    """A policy that is not nearly uniform with statistics of some steps and a critic, and what its state is now."""
    envs, learner, rng = make_learner(PPO(num_envs=4), task, seed, spread=50.0)
    rollout = collect(envs, learner.policy, learner.normalizer, rng, steps=30)
    learner.prepare(rollout)
    learner.observe(rollout)
    learner.value_function.parameter_vector.mul_(3.0)  # a critic that is not nearly zero
    scale = learner.reward_scaler if learner.task.normalize_rewards else lambda rewards: rewards
    policy = Frozen(learner.task, learner.policy, learner.normalizer, scale, learner.value_function, 0, GAMMA)
    return policy, learner.state


def drawn(task, episodes, seed=0):
    """A frozen policy and some of its episodes."""
    policy, _ = frozen(task)
    return policy, policy.draw(episodes, np.random.SeedSequence(seed))


def critics_of(policy, episodes):
    """Its own critic, and another one in the place of a fitted one."""
    other = ValueFunction(episodes.observations.shape[1], torch.Generator().manual_seed(5))
    named = {"trained": policy.value_function, "fitted": other}
    return {name: Critic.of(v, episodes) for name, v in named.items()}


def measured(policy, episodes, estimators, critics=None, batches=1, batch_size=None):
    """The gradients by id and batch size; of all episodes as one batch where nothing else is said."""
    batch_size = batch_size or len(episodes) // batches
    return measure_gradients(policy.policy, episodes, estimators, critics or {}, batches, batch_size)


def batch_of(estimator, episodes, first, count, critics):
    """The learner's batch of some episodes, put together from their rollout."""
    rows = episodes.rows(first, count)
    rollout = episodes.rollout(rows)
    steps = rows[rollout.valid]
    rollout.values, rollout.next_values = np.zeros(rows.shape), np.zeros(rows.shape)
    if estimator.critic != "none":
        critic = critics[estimator.critic]
        rollout.values[rollout.valid], rollout.next_values[rollout.valid] = (x[steps] for x in critic)
    batch = Batch.of(estimator.algorithm, rollout, episodes.observations[steps], episodes.log_probs[steps])
    return batch.with_normalized_advantages() if estimator.normalized else batch


def gradient_by_autograd(policy, algorithm, batch):
    """Minus the gradient of the algorithm's own loss in the policy's parameters [P]."""
    log_prob = policy.policy(batch.observations, batch.action_masks).log_prob(batch.actions)
    parts = torch.autograd.grad(-algorithm.policy_loss(log_prob, batch), list(policy.policy.parameters()))
    return torch.cat([part.flatten() for part in parts]).numpy()


def assert_close(vectors, expected, tolerance=1e-4):
    """Equal to within rounding, as a share of the largest component that is expected."""
    largest = np.abs(expected).max()
    assert largest > 1e-3
    np.testing.assert_allclose(vectors, expected, rtol=0, atol=tolerance * largest)


def assert_inner_products(found, expected, own, other, tolerance=1e-6):
    """Equal to within `tolerance` of what their vectors' lengths allow, of which `own` and `other` hold the squares.

    To the bit they are equal on some processors only: the order in which a matrix product sums is its kernel's. And
    relative to themselves, where vectors are nearly orthogonal, no rounding is small.
    """
    largest = np.sqrt(np.outer(np.diag(own), np.diag(other)).astype(float))
    excess = np.abs(np.asarray(found, float) - expected) - tolerance * largest
    assert excess.max() <= 0, f"{(excess > 0).mean():.1%} of the inner products, by up to {excess.max()}"


# ---- gradients


@pytest.mark.parametrize("kind", POLICIES)
def test_every_estimators_vector_is_the_gradient_of_its_own_loss_times_its_scale(kind, monkeypatch):
    """Of every algorithm but those with critics of another kind than V(s), which probes leave out.

    Of batches of one episode, of the main size, and of four times that.
    """
    monkeypatch.setattr(gradients, "STEPS_AT_ONCE", 50)  # batches lie across the borders of what is done at once
    batches, batch_size = 32, 2
    policy, episodes = drawn(POLICIES[kind], batches * batch_size)
    measurable = {name: a for name, a in IN_ALL_SPACES.items() if set(a.critic_kinds()) <= {"value"}}
    algorithms = {name: algorithm(gamma=GAMMA) for name, algorithm in measurable.items()}
    estimators = estimators_of(algorithms, ["trained", "fitted"], "fitted", [0, 0.5, 1], GAMMA)
    critics = critics_of(policy, episodes)
    vectors = measured(policy, episodes, estimators, critics, batches, batch_size)
    assert batch_sizes(batches, batch_size) == {1: 64, 2: 32, 8: 8}
    for estimator in estimators:
        mean_over_steps = estimator.kind == "algorithm" and not estimator.algorithm.whole_episodes
        sizes = batch_sizes(batches, batch_size) if estimator.kind != "gae" else {2: 32}
        assert {size for name, size in vectors if name == estimator.id} == set(sizes)
        for size, count in sizes.items():
            assert vectors[estimator.id, size].shape == (count, policy.policy.parameter_vector.numel())
            assert vectors[estimator.id, size].dtype == np.float32
            some = [0, count // 2, count - 1]
            of_some = [batch_of(estimator, episodes, i * size, size, critics) for i in some]
            scales = [len(batch) / size if mean_over_steps else 1.0 for batch in of_some]
            of_losses = [gradient_by_autograd(policy, estimator.algorithm, batch) for batch in of_some]
            expected = [scale * gradient for scale, gradient in zip(scales, of_losses, strict=True)]
            assert_close(vectors[estimator.id, size][some], expected)


def test_estimators_are_the_algorithms_with_every_critic_that_they_can_have():
    algorithms = {"reinforce": Reinforce(gamma=0.8), "mine": PPO(gamma=0.8, normalize_advantages=False), "ppo": PPO()}
    estimators = {e.id: e for e in estimators_of(algorithms, ["exact", "wrong", "compatible"], "exact", [0, 0.5], 0.8)}
    assert list(estimators) == [
        "reinforce none raw",
        *("mine exact raw", "mine wrong raw"),
        *("ppo exact raw", "ppo exact normalized", "ppo wrong raw", "ppo wrong normalized"),
        *("gae 0 exact", "gae 0.5 exact", "gae 0 wrong", "gae 0.5 wrong"),
        *("return", "baseline", "compatible"),
    ]
    for name, estimator in estimators.items():
        assert estimator.critic == (name.split()[1] if estimator.kind == "algorithm" else estimator.critic)
        assert estimator.normalized == ("normalized" in name)
    assert estimators["ppo wrong raw"].algorithm is algorithms["ppo"]
    assert estimators["gae 0.5 wrong"].algorithm == Generalized(gamma=0.8, gae_lambda=0.5)
    assert estimators["gae 0.5 wrong"].critic == "wrong"
    assert estimators["return"].algorithm == Reinforce(gamma=0.8)
    assert estimators["baseline"].algorithm == ReinforceBaseline(gamma=0.8)
    assert estimators["baseline"].critic == "exact"


@dataclass(frozen=True)
class NormalizedInside(PolicyGradient):
    """A loss that takes the batch's mean off the advantages itself: equal ones have no weight."""

    value_function: ClassVar[bool] = False

    def advantages(self, rollout):
        return discounted_returns(rollout, self.gamma)

    def policy_loss(self, log_prob, batch):
        return -(log_prob * (batch.advantages - batch.advantages.mean())).mean()


def test_the_scale_is_a_sum_over_an_episode():
    """REINFORCE keeps its own; a mean over a batch's steps is longer by the length of this batch's episodes."""
    policy, episodes = drawn("RandomEnding-v0", 48)
    algorithms = [Reinforce(gamma=GAMMA), Reinforce(gamma=GAMMA, steps_of_an_episode="mean"), NormalizedInside()]
    for algorithm in algorithms:
        estimator = Estimator("it", algorithm, "algorithm")
        vectors = measured(policy, episodes, [estimator], batches=16, batch_size=3)
        for (_, size), found in vectors.items():
            lengths = set()
            for i, vector in enumerate(found):
                batch = batch_of(estimator, episodes, i * size, size, {})
                if len(batch) > 1 or algorithm != NormalizedInside():
                    own = gradient_by_autograd(policy, algorithm, batch)
                    length = 1.0 if algorithm == Reinforce(gamma=GAMMA) else len(batch) / size
                    assert vector @ own / (own @ own) == pytest.approx(length, rel=1e-4)
                    lengths.add(length)
            assert algorithm == Reinforce(gamma=GAMMA) or len(lengths) > 2


def test_reinforces_vector_of_a_batch_is_the_mean_of_those_of_its_episodes():
    policy, episodes = drawn("BoxRandomEnding-v0", 60)
    algorithms = {"reinforce": Reinforce(gamma=GAMMA), "reinforce_baseline": ReinforceBaseline(gamma=GAMMA)}
    estimators = estimators_of(algorithms, ["trained"], "trained", [], GAMMA)
    vectors = measured(policy, episodes, estimators, critics_of(policy, episodes), batches=12, batch_size=5)
    for estimator in estimators:
        single, whole = vectors[estimator.id, 1], vectors[estimator.id, 5]
        assert_close(whole, single.reshape(12, 5, -1).mean(axis=1), 1e-5)


def test_generalised_advantages_at_lambda_one_without_a_critic_are_reinforces_returns():
    policy, episodes = drawn("Terminating-v0", 16)
    assert not episodes.steps.truncated.any()
    zero = Critic(*np.zeros((2, len(episodes.observations))))
    estimators = [
        Estimator("return", Reinforce(gamma=GAMMA), "reference"),
        Estimator("gae 1", Generalized(gamma=GAMMA, gae_lambda=1.0), "gae", critic="zero"),
        Estimator("gae 0", Generalized(gamma=GAMMA, gae_lambda=0.0), "gae", critic="zero"),
    ]
    vectors = measured(policy, episodes, estimators, {"zero": zero}, batches=8)
    assert_close(vectors["gae 1", 2], vectors["return", 2], 1e-6)
    assert np.abs(vectors["gae 0", 2] - vectors["return", 2]).max() > 0.1 * np.abs(vectors["return", 2]).max()


def test_what_a_baseline_changes_depends_on_the_critic_alone():
    """(G_t − V) − G_t = −V, whatever the rewards: −Σ V(s_t) ∇log π(a_t|s_t)."""
    policy, episodes = drawn("RandomEnding-v0", 16)
    critics = critics_of(policy, episodes)
    estimators = [
        Estimator("return", Reinforce(gamma=GAMMA), "reference"),
        Estimator("baseline", ReinforceBaseline(gamma=GAMMA), "reference", critic="trained"),
        Estimator("value", ActionValue(gamma=GAMMA), "compatible", critic="trained"),
    ]
    rewards = np.random.default_rng(0).normal(size=len(episodes.observations))
    for steps in (episodes.steps, replace(episodes.steps, rewards=rewards)):
        vectors = measured(policy, replace(episodes, steps=steps), estimators, critics, batches=8)
        for size in (1, 2):
            difference = vectors["baseline", size] - vectors["return", size]
            assert_close(difference, -vectors["value", size], 1e-5)


@dataclass(frozen=True)
class BatchMean(PolicyGradient):
    """REINFORCE with the whole batch's mean return as its baseline: an advantage that depends on all episodes."""

    title: ClassVar[str] = "Batch mean"
    equation: ClassVar[str] = "Ψ_t = G_t − mean G"
    whole_episodes: ClassVar[bool] = True
    value_function: ClassVar[bool] = False

    def advantages(self, rollout):
        """Ψ_t = G_t − mean G."""
        returns = discounted_returns(rollout, self.gamma)
        return returns - returns[rollout.valid].mean()

    def policy_loss(self, log_prob, batch):
        """Three times REINFORCE's mean over steps: the scale is the laboratory's business."""
        return -3.0 * (log_prob * batch.advantages).mean()


@dataclass(frozen=True)
class HalfBootstrapped(BatchMean):
    """Half a TD error, half the return less the batch's mean; with a critic."""

    title: ClassVar[str] = "Half bootstrapped"
    value_function: ClassVar[bool] = True

    def advantages(self, rollout):
        """Ψ_t = ½ δ_t + ½ (G_t − mean G)."""
        return 0.5 * td_errors(rollout, self.gamma) + 0.5 * super().advantages(rollout)


@pytest.mark.parametrize(
    ("task", "algorithm", "expected"),
    [
        ("Terminating-v0", Reinforce(), False),
        ("Terminating-v0", ReinforceBaseline(), False),
        ("Terminating-v0", ActorCritic(), True),
        ("Terminating-v0", A2C(), False),  # λ = 1: other states' values cancel, up to the episode's end
        ("BoxTruncating-v0", A2C(), True),  # … which is a time limit here, from whose state it bootstraps
        ("Terminating-v0", PPO(), True),
        ("Terminating-v0", Generalized(gae_lambda=1.0), False),
        ("BoxTruncating-v0", ReinforceBaseline(), False),
        ("experiments.exact:SoftmaxBandit-v0", ActorCritic(), False),  # one step: nothing to bootstrap from
    ],
)
def test_what_bootstraps_is_found_by_changing_other_states_values(task, algorithm, expected):
    episodes = drawn(Task(task), 8)[-1]
    assert bootstraps(algorithm, episodes.rollout(episodes.rows(0, 8))) is expected


def test_a_users_algorithm_that_depends_on_the_whole_batch_is_measured_right():
    """By linearity: Σ (G_t − mean G) ∇log π of a batch of one size, from REINFORCE's sum and that of ∇log π alone."""
    policy, episodes = drawn("RandomEnding-v0", 24)
    one = Critic(*np.ones((2, len(episodes.observations))))
    estimators = [
        Estimator("mine", BatchMean(gamma=GAMMA), "algorithm"),
        Estimator("return", Reinforce(gamma=GAMMA), "reference"),
        Estimator("scores", ActionValue(gamma=GAMMA), "compatible", critic="one"),
    ]
    vectors = measured(policy, episodes, estimators, {"one": one}, batches=8)
    returns = returns_of(episodes, GAMMA)
    for i in range(8):
        here = slice(episodes.starts[3 * i], episodes.starts[3 * i + 3])
        expected = vectors["return", 3][i] - returns[here].mean() * vectors["scores", 3][i]
        assert_close(vectors["mine", 3][i], expected)


def test_weights_in_one_direction_are_multiplied_once_and_others_apart():
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(4, 300)).astype(np.float32)
    weights = weights[[0, 1, 0, 2, 0, 3, 1]] * np.float32([[1], [2], [-0.3], [0], [1e-6], [1], [7]])
    weights[5] = weights[0] + 1e-4 * weights[5]  # nearly the direction of the first
    scores = rng.normal(size=(300, 50)).astype(np.float32)
    expected = weights.astype(float) @ scores.astype(float)
    error = np.abs(gradients._product(weights, scores) - expected).max(axis=1)
    assert (error <= 1e-5 * np.linalg.norm(weights, axis=1)).all()
    assert np.linalg.norm(expected[5] - expected[0]) > 100 * error.max()


# ---- episodes


def test_a_batch_holds_its_episodes_and_padding_that_adds_nothing():
    _, episodes = drawn("Masked-v0", 8)
    _, endings = drawn("RandomEnding-v0", 32)
    for found in (episodes, endings):
        for first, count in ((0, 1), (3, 4), (0, 8)):
            rows = found.rows(first, count)
            rollout = found.rollout(rows)
            lengths = np.diff(found.starts)[first : first + count]
            assert rows.shape == (lengths.max(), count)
            np.testing.assert_array_equal(rollout.valid.sum(axis=0), lengths)
            for i, e in enumerate(range(first, first + count)):
                own = slice(found.starts[e], found.starts[e + 1])
                for name in ("observations", "actions", "rewards", "terminated", "truncated", "next_observations"):
                    column = getattr(rollout, name)[: lengths[i], i]
                    np.testing.assert_array_equal(column, getattr(found.steps, name)[own])
                if found.steps.action_masks is not None:
                    np.testing.assert_array_equal(rollout.action_masks[: lengths[i], i], found.steps.action_masks[own])
                assert (rollout.done[:, i].nonzero()[0] == lengths[i] - 1).all()
                assert rollout.done[:, i].sum() == 1
            assert not rollout.rewards[~rollout.valid].any()
            assert not rollout.done[~rollout.valid].any()
    assert len(set(np.diff(endings.starts))) > 3  # there was something to pad
    assert endings.steps.terminated.any()
    assert endings.steps.truncated.any()


def test_an_episodes_advantages_do_not_depend_on_the_batch_that_it_is_in():
    policy, episodes = drawn("RandomEnding-v0", 32)
    critic = Critic.of(policy.value_function, episodes)

    def advantages(first, count):
        rows = episodes.rows(first, count)
        rollout = episodes.rollout(rows)
        rollout.values, rollout.next_values = (np.where(rollout.valid, x[rows], 0.0) for x in critic)
        return rollout, [discounted_returns(rollout, 0.9), generalized_advantages(rollout, 0.9, 0.7)]

    together, of_all = advantages(0, 32)
    for e in range(32):
        alone, of_one = advantages(e, 1)
        for x, y in zip(of_all, of_one, strict=True):
            np.testing.assert_allclose(x[together.valid[:, e], e], y[:, 0], atol=1e-12)
        np.testing.assert_allclose(
            returns_of(episodes, 0.9)[episodes.starts[e] : episodes.starts[e + 1]], of_one[0][:, 0], atol=1e-12
        )
        assert alone.valid.all()


@pytest.mark.parametrize(("episodes", "envs"), [(48, 16), (24, 8), (7, 1), (16, 16)])
def test_complete_episodes_are_drawn_and_equally_many_from_every_environment(episodes, envs):
    """A task that shows its environment's number, the episode there and the step in it, and pays the step's number."""
    _, found = drawn("Terminating-v0", episodes)
    shown = found.steps.observations.reshape(episodes, 4, 3)
    np.testing.assert_array_equal(found.starts, 4 * np.arange(episodes + 1))
    np.testing.assert_array_equal(shown[:, :, 2], np.tile(np.arange(4), (episodes, 1)))
    numbers, counts = np.unique(shown[:, 0, 0], return_counts=True)
    assert (len(numbers), set(counts)) == (envs, {episodes // envs})
    for number in numbers:
        np.testing.assert_array_equal(shown[shown[:, 0, 0] == number, 0, 1], np.arange(episodes // envs))
    np.testing.assert_array_equal(found.steps.done.reshape(episodes, 4), np.tile([False] * 3 + [True], (episodes, 1)))
    np.testing.assert_array_equal(found.steps.rewards.reshape(episodes, 4), np.tile([1, 2, 3, 4], (episodes, 1)))
    assert found.mean_return == 10.0


def test_the_drawn_log_probabilities_and_returns_are_those_of_the_steps():
    policy, episodes = drawn(POLICIES["normalised"], 16)
    actions = torch.from_numpy(episodes.steps.actions)
    np.testing.assert_array_equal(episodes.observations, policy.normalizer(episodes.steps.observations))
    np.testing.assert_array_equal(episodes.next_observations, policy.normalizer(episodes.steps.next_observations))
    assert np.abs(episodes.observations - episodes.steps.observations).max() > 1
    with torch.no_grad():
        expected = policy.policy(torch.from_numpy(episodes.observations)).log_prob(actions)
    np.testing.assert_allclose(episodes.log_probs, expected, atol=1e-6)


def test_drawing_is_a_function_of_its_seed():
    policy, _ = frozen(POLICIES["normalised"])
    first, again, other = (policy.draw(32, np.random.SeedSequence(seed)) for seed in (1, 1, 2))
    for name in ("observations", "actions", "rewards", "terminated", "truncated", "next_observations"):
        np.testing.assert_array_equal(getattr(first.steps, name), getattr(again.steps, name))
    assert first.mean_return == again.mean_return != other.mean_return
    assert len(np.intersect1d(first.steps.observations, other.steps.observations)) == 0


def test_rewards_are_scaled_by_frozen_statistics_and_a_probe_changes_nothing():
    task = POLICIES["normalised"]
    policy, state = frozen(task)
    before = state()
    assert before["reward_statistics/count"] > 0
    assert before["observation_statistics/count"] > 0
    raw = replace(policy, scale_rewards=lambda rewards: rewards).draw(32, np.random.SeedSequence(1))
    scaled = policy.draw(32, np.random.SeedSequence(1))
    factor = np.sqrt(before["reward_statistics/variance"][0])
    assert factor > 2
    np.testing.assert_allclose(scaled.steps.rewards, raw.steps.rewards / factor, rtol=1e-6)
    assert scaled.mean_return == raw.mean_return == pytest.approx(raw.steps.rewards.sum() / 32)
    estimators = estimators_of({"ppo": PPO(gamma=GAMMA)}, ["trained", "fitted"], "fitted", [0.5], GAMMA)
    fit_value_function(scaled, GAMMA, np.random.SeedSequence(0))
    measured(policy, scaled, estimators, critics_of(policy, scaled), batches=8)
    after = state()
    assert set(after) == set(before)
    for name in before:
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)


# ---- critics


def test_a_fitted_critic_finds_the_exact_values():
    """V of the tabular problem's five states, to within a twelfth of what they differ by: of 1,600 noisy episodes."""
    problem = exact.PROBLEMS["experiments.exact:TabularMDP-v0"]
    policy = exact.random_policy(problem, 0)
    identity = ValueFunction(5, torch.Generator())  # only its sizes matter
    normalizer = make_learner(PPO(), problem.id)[1].normalizer
    made = Frozen(Task(problem.id), policy, normalizer, np.asarray, identity, 0, GAMMA)
    episodes = made.draw(1600, np.random.SeedSequence(0))
    probabilities = exact.action_probabilities(problem, policy).detach().numpy()
    for gamma in (0.9, 1.0):
        fitted = fit_value_function(episodes, gamma, np.random.SeedSequence(1))
        expected = exact.state_values(problem, probabilities, gamma)
        found = fitted.values(np.eye(5, dtype=np.float32))
        np.testing.assert_allclose(found, expected, atol=np.ptp(expected) / 12)


@pytest.mark.parametrize(("task", "value"), [("AlwaysTheSame-v0", 0.1), ("AlwaysZero-v0", 0.0)])
def test_a_critic_fitted_to_one_return_says_that_return(task, value):
    _, episodes = drawn(task, 8)
    fitted = fit_value_function(episodes, GAMMA, np.random.SeedSequence(0))
    np.testing.assert_allclose(fitted.values(episodes.observations), value, atol=1e-6)


def test_a_fit_is_judged_on_held_out_episodes():
    """Where the held-out episodes say the contrary of the others, nothing is learned from these."""
    _, episodes = drawn("RandomEnding-v0", 100)
    held_out = np.arange(len(episodes.observations)) >= episodes.starts[80]
    sign = np.sign(episodes.observations[:, 0] - np.median(episodes.observations[:, 0]))
    spread = {}
    for contrary in (False, True):
        steps = replace(episodes.steps, rewards=10.0 * sign * np.where(contrary & held_out, -1.0, 1.0))
        fitted = fit_value_function(replace(episodes, steps=steps), 0.0, np.random.SeedSequence(0))
        values = fitted.values(episodes.observations)
        spread[contrary] = values[sign > 0].mean() - values[sign < 0].mean()
    assert spread[False] > 15.0
    assert spread[True] < 0.5 * spread[False]  # what the network began with

    shown = np.where(held_out[:, None], [[0.0, 1.0]], [[1.0, 0.0]]).astype(np.float32)
    steps = replace(episodes.steps, rewards=10.0 * held_out)  # nothing that is learned from says so
    fitted = fit_value_function(replace(episodes, steps=steps, observations=shown), 0.0, np.random.SeedSequence(0))
    assert fitted.values(shown[held_out]).mean() < 5.0


def test_a_fit_is_a_function_of_its_seed():
    _, episodes = drawn("RandomEnding-v0", 20)
    first, again, other = (
        fit_value_function(episodes, GAMMA, np.random.SeedSequence(seed)).parameter_vector for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


# ---- a probe's files

PROBES = """
description: Small probes.
seeds: [0, 1]
checkpoints: [0, 0.5, 1]
probes:
  source: {source}
  seeds: [0]
  fractions: [0.5, 1]
  batches: {batches}
  gae_lambdas: [0, 0.5, 1]
  tasks:
    CartPole-v1: {{batch_size: 2, fit_episodes: 10}}
  exact: {{batch_size: {batch_size}}}
tasks:
  CartPole-v1: {{steps: 2000, random_score: 20, reference_score: 475, reference_source: registered reward threshold}}
algorithms:
  reinforce:
  reinforce_baseline:
  actor_critic:
  a2c:
  ppo: {{settings: {{num_envs: 4, rollout_length: 64, gamma: 0.95}}}}
"""


def write_grid(folder, source="ppo", batches=32, batch_size=2, name="mine"):
    """A grid file."""
    path = folder / f"{name}.yaml"
    path.write_text(PROBES.format(source=source, batches=batches, batch_size=batch_size), encoding="utf-8")
    return str(path)


def read(folder):
    """A probe's record and arrays; there is nothing else in its folder."""
    assert {path.name for path in folder.iterdir()} == {"probe.json", "grams.npz"}
    record = json.loads((folder / "probe.json").read_text(encoding="utf-8"))
    assert {"steps", "seconds", "versions", "commit", "uncommitted_changes", "machine"} <= set(record)
    with np.load(folder / "grams.npz", allow_pickle=False) as arrays:
        return record, dict(arrays)


def assert_as_agreed(record, arrays):
    """Names, shapes and types of what a probe writes; every number finite; inner products that vectors can have."""
    assert record["schema"] == SCHEMA
    assert set(record["probe"]) == {"grid", "task", "source", "seed", "fraction", "step"}
    assert set(record["episodes"]) == {"drawn", "mean_length", "mean_return", "fitted_on"}
    sizes = {size["episodes"]: size["batches"] for size in record["sizes"]}
    assert list(sizes) == sorted(sizes)
    assert {1, record["batch_size"]} <= set(sizes)
    expected = {}
    for entry in record["estimators"]:
        kinds = ["self", "bias"] if entry["cosine_reference"] == entry["bias_reference"] else ["self", "bias", "cosine"]
        main_only = entry["kind"] == "gae"
        assert entry["sizes"] == ([record["batch_size"]] if main_only else sorted(sizes))
        expected |= {f"{entry['id']}/{size}/{kind}": sizes[size] for size in entry["sizes"] for kind in kinds}
        for reference in (entry["variance_reference"], entry["bias_reference"], entry["cosine_reference"]):
            expected |= {f"{reference}/{size}": count for size, count in sizes.items()}
    assert {name: array.shape for name, array in arrays.items()} == {n: (c, c) for n, c in expected.items()}
    for name, array in arrays.items():
        assert array.dtype == np.float32
        assert np.isfinite(array).all(), name
    for entry in record["estimators"]:
        for size in entry["sizes"]:
            own, bias = arrays[f"{entry['id']}/{size}/self"], arrays[f"{entry['id']}/{size}/bias"]
            assert_inner_products(own, own.T, own, own, ONE_ROUNDING)
            reference = np.diag(arrays[f"{entry['bias_reference']}/{size}"])
            largest = np.sqrt(np.outer(np.diag(own), reference))
            assert (np.abs(bias) <= largest * (1 + 1e-5) + 1e-12).all()  # Cauchy–Schwarz
    assert json.dumps(record, allow_nan=False)


@pytest.fixture(scope="module", params=exact.PROBLEMS.values(), ids=lambda problem: problem.title)
def exact_probe(request, tmp_path_factory):
    """An exact problem, and the probe's record and arrays: 64 batches of 16 episodes."""
    folder = tmp_path_factory.mktemp("exact")
    words = ["--grid", write_grid(folder, batches=64, batch_size=16), "--task", request.param.id, "--seed", "0"]
    probe.main([*words, "--output", str(folder / "probe")])
    return request.param, *read(folder / "probe")


def test_a_probe_of_an_exact_problem_writes_what_was_agreed(exact_probe):
    problem, record, arrays = exact_probe
    assert_as_agreed(record, arrays)
    assert record["exact"] is True
    assert (record["probe"]["source"], record["probe"]["fraction"], record["probe"]["step"]) == ("initialisation", 0, 0)
    assert record["probe"]["task"] == problem.id
    assert record["episodes"]["drawn"] == 1024
    assert record["episodes"]["fitted_on"] == 0
    assert {e["critic"] for e in record["estimators"]} == {"none", "exact", "wrong", "compatible"}
    assert {c["critic"] for c in record["critics"]} == {"exact", "wrong"}
    exact_one, wrong_one = record["critics"]
    assert exact_one["rmse"] < wrong_one["rmse"]
    assert exact_one["gamma"] == wrong_one["gamma"] == record["gamma"] == 0.99
    for entry in record["estimators"]:
        assert entry["bias_reference"] == entry["cosine_reference"] == "exact"
        assert entry["gamma"] == 0.99  # also PPO's, which is 0.95 in the grid


def test_the_true_gradients_inner_products_are_its_own(exact_probe):
    problem, record, arrays = exact_probe
    policy = exact.random_policy(problem, 0)
    truth = exact.policy_gradient(problem, policy, 0.99)
    for size in (entry["episodes"] for entry in record["sizes"]):
        np.testing.assert_allclose(arrays[f"exact/{size}"], truth @ truth, rtol=1e-6)
    for entry in record["estimators"]:
        for size in entry["sizes"]:
            own, bias = (arrays[f"{entry['id']}/{size}/{kind}"] for kind in ("self", "bias"))
            reference = arrays[f"{entry['bias_reference']}/{size}"]
            assert_inner_products(bias, bias[:, :1], own, reference, ONE_ROUNDING)  # g_i · r for every j


def squared_bias(record, arrays, name):
    """‖E g − r‖² by the mean of (g_i − r)·(g_j − r) over i ≠ j, and its standard error (Hoeffding, 1948)."""
    entry, size = next(e for e in record["estimators"] if e["id"] == name), record["batch_size"]
    own, bias = (arrays[f"{name}/{size}/{kind}"].astype(float) for kind in ("self", "bias"))
    kernel = own - bias - bias.T + arrays[f"{entry['bias_reference']}/{size}"]
    n = len(kernel)
    np.fill_diagonal(kernel, 0.0)
    estimate = kernel.sum() / (n * (n - 1))
    of_one = (kernel.sum(axis=1) / (n - 1)).var(ddof=1)
    of_two = (kernel**2).sum() / (n * (n - 1)) - estimate**2
    return estimate, np.sqrt(4 * of_one / n + 2 * of_two / n**2)


def expected_bias(problem, policy, entry):
    """‖E g − ∇‖² by the closed forms: E[Ψ|s,a] of GAE is the action value of a problem that pays E[δ|s,a], at γλ."""
    gamma = entry["gamma"]
    probabilities = exact.action_probabilities(problem, policy).detach().numpy()
    values = problem.wrong_values if entry["critic"] == "wrong" else exact.state_values(problem, probabilities, gamma)
    if entry["algorithm"] in ("reinforce", "reinforce_baseline") or entry["kind"] == "compatible":
        return 0.0
    gae_lambda = {"actor_critic": 0.0, "a2c": 1.0, "ppo": 0.95}.get(entry["algorithm"], entry["gae_lambda"])
    errors = replace(problem, rewards=problem.rewards + gamma * problem.transitions @ values - values[:, None])
    psi = exact.action_values(errors, probabilities, gamma * gae_lambda)
    difference = exact.expected_gradient(problem, policy, psi) - exact.policy_gradient(problem, policy, gamma)
    return difference @ difference


def test_every_estimator_has_the_bias_that_theory_gives_it(exact_probe):
    problem, record, arrays = exact_probe
    policy, biased = exact.random_policy(problem, 0), set()
    for entry in record["estimators"]:
        if entry["advantages"] == "raw":
            estimate, error = squared_bias(record, arrays, entry["id"])
            expected = expected_bias(problem, policy, entry)
            assert abs(estimate - expected) < STANDARD_ERRORS * error, entry["id"]
            truth = arrays[f"{entry['bias_reference']}/16"][0, 0]
            if expected > 0.06 * truth:  # PPO's, at λ = 0.95, is 0.052 of it: too little to see
                biased.add(entry["id"])
                assert estimate > 3 * error  # it is told from none
    bootstrapping = {"actor_critic wrong raw", "gae 0 wrong", "gae 0.5 wrong"}
    assert biased == (set() if "Bandit" in problem.id else bootstrapping)


def train_source(folder, grid, algorithm):
    """A short real run of a grid, with its checkpoints."""
    words = ["--grid", grid, "--algorithm", algorithm, "--task", "CartPole-v1", "--seed", "0"]
    run_main([*words, "--output", str(folder / algorithm)])
    return folder / algorithm


@pytest.fixture(scope="module")
def ppo_run(tmp_path_factory):
    """A folder with a grid file and the run of its probes' source."""
    folder = tmp_path_factory.mktemp("source")
    return write_grid(folder), train_source(folder, write_grid(folder), "ppo")


def command(grid, run, output, task="CartPole-v1", seed=0, fraction=1):
    """The words of a probe's command line."""
    words = ["--grid", grid, "--task", task, "--seed", seed, "--fraction", fraction, "--run", run, "--output", output]
    return [str(word) for word in words]


def test_a_probe_of_a_checkpoint_writes_what_was_agreed_and_the_same_bytes_again(ppo_run, tmp_path):
    """In two processes, whose hashes of text differ."""
    for name in ("1", "2"):
        words = [sys.executable, "-m", "experiments.probe", *command(*ppo_run, tmp_path / name)]
        subprocess.run(words, cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": name}, check=True, capture_output=True)
    record, arrays = read(tmp_path / "1")
    assert (tmp_path / "1" / "grams.npz").read_bytes() == (tmp_path / "2" / "grams.npz").read_bytes()
    again = read(tmp_path / "2")[0]
    differing = {key for key in record if record[key] != again[key]}
    assert differing <= {"seconds", "peak_memory_mb", "sha256"}

    assert_as_agreed(record, arrays)
    assert record["exact"] is False
    last = json.loads((ppo_run[1] / "run.json").read_text())["checkpoints"][-1]
    assert record["probe"] == {
        **{"grid": "mine", "task": "CartPole-v1", "source": "ppo", "seed": 0, "fraction": 1, "step": last["step"]}
    }
    assert record["batch_size"] == 2
    assert {size["episodes"]: size["batches"] for size in record["sizes"]} == {1: 64, 2: 32, 8: 8}
    assert record["parameters"] == 4 * 64 + 64 + 64 * 64 + 64 + 64 * 2 + 2
    assert record["episodes"]["drawn"] == 64
    assert record["episodes"]["fitted_on"] == 10
    assert record["episodes"]["mean_return"] == record["episodes"]["mean_length"]  # CartPole pays 1 for each step
    assert record["steps"] > 64 * record["episodes"]["mean_length"]
    ids = [entry["id"] for entry in record["estimators"]]
    for critic in ("trained", "fitted"):
        for name in ("reinforce_baseline", "actor_critic", "a2c", "ppo"):
            assert f"{name} {critic} raw" in ids
        assert f"ppo {critic} normalized" in ids
        assert {f"gae {gae_lambda} {critic}" for gae_lambda in ("0", "0.5", "1")} <= set(ids)
    assert len(ids) == 1 + 2 * 4 + 2 + 2 * 3
    for entry in record["estimators"]:
        assert entry["gamma"] == record["gamma"] == 0.95  # PPO's, whose critic it is; the others have 0.99
        monte_carlo = entry["algorithm"] in ("reinforce", "reinforce_baseline")
        assert entry["variance_reference"] == "return"
        assert entry["bias_reference"] == ("return" if monte_carlo else "baseline")
        assert entry["cosine_reference"] == "baseline"
    assert [(c["critic"], c["gamma"]) for c in record["critics"]] == [("trained", 0.95), ("fitted", 0.95)]


def test_a_probe_does_without_torchs_compiler(ppo_run, tmp_path):
    """Its import takes a second and 60 MB, and `torch.optim` and `torch.func.vmap` import it."""
    code = (
        "import sys; from experiments import probe; probe.main(sys.argv[1:]); sys.exit('torch._dynamo' in sys.modules)"
    )
    words = [sys.executable, "-c", code, *command(*ppo_run, tmp_path / "probe")]
    assert subprocess.run(words, cwd=ROOT, check=False, capture_output=True).returncode == 0


def test_reinforce_is_its_own_reference(ppo_run, tmp_path):
    probe.main(command(*ppo_run, tmp_path / "probe", fraction=0.5))
    record, arrays = read(tmp_path / "probe")
    assert 1000 <= record["probe"]["step"] < 1300
    for size in (1, 2, 8):
        plain, baseline = arrays[f"return/{size}"], arrays[f"baseline/{size}"]
        for kind in ("self", "bias"):
            assert_inner_products(arrays[f"reinforce none raw/{size}/{kind}"], plain, plain, plain)
        assert_inner_products(arrays[f"reinforce_baseline fitted raw/{size}/cosine"], baseline, baseline, baseline)


def test_a_source_without_a_critic_leaves_the_fitted_one(tmp_path):
    grid = write_grid(tmp_path, source="reinforce")
    run = train_source(tmp_path, grid, "reinforce")
    probe.main(command(grid, run, tmp_path / "probe"))
    record, arrays = read(tmp_path / "probe")
    assert_as_agreed(record, arrays)
    assert {e["critic"] for e in record["estimators"]} == {"none", "fitted"}
    assert {c["critic"] for c in record["critics"]} == {"fitted"}


@pytest.mark.parametrize("normalize", [True, False])
def test_the_frozen_policy_is_the_checkpoint_with_its_statistics(normalize, tmp_path):
    text = PROBES.format(source="ppo", batches=8, batch_size=1).replace("CartPole-v1", "BoxRandomEnding-v0")
    wish = f"steps: 2000, normalize_observations: {normalize}, normalize_rewards: {normalize}"
    (tmp_path / "mine.yaml").write_text(text.replace("steps: 2000", wish), encoding="utf-8")
    grid = load_grid(str(tmp_path / "mine.yaml"))
    words = ["--grid", grid.path, "--algorithm", "ppo", "--task", "BoxRandomEnding-v0", "--seed", "0"]
    run_main([*words, "--output", str(tmp_path / "run")])
    record = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    for place, fraction in ((1, 0.5), (2, 1)):
        found = trained(grid, grid.probe("BoxRandomEnding-v0", 0, fraction), tmp_path / "run")
        with np.load(tmp_path / "run" / record["checkpoints"][place]["file"]) as arrays:
            state = dict(arrays)
        assert found.step == record["checkpoints"][place]["step"]
        for kind, module in (("policy", found.policy), ("value_function", found.value_function)):
            for name, parameter in module.named_parameters():
                np.testing.assert_array_equal(parameter.detach(), state[f"{kind}/{name}"])
        np.testing.assert_array_equal(found.normalizer.mean, state["observation_statistics/mean"])
        assert found.normalizer.count == state["observation_statistics/count"]
        assert (found.normalizer.count > 0) == normalize
        deviation = np.sqrt(state["reward_statistics/variance"][0]) if normalize else 1.0
        assert (deviation > 1) == normalize
        np.testing.assert_allclose(found.scale_rewards(np.array([-1.5, 3.0])), np.array([-1.5, 3.0]) / deviation)


def probed(folder, task, algorithms=None):
    """The record and the inner products of a policy that is made on the spot."""
    text = PROBES.format(source="ppo", batches=10, batch_size=1).replace("CartPole-v1", task)
    (folder / "mine.yaml").write_text(text, encoding="utf-8")
    grid = load_grid(str(folder / "mine.yaml"))
    grid = replace(grid, algorithms=grid.algorithms | (algorithms or {}))
    return measure(grid, grid.probe(task, 0, 1), frozen(task)[0], Clock())


def test_a_users_algorithm_stands_among_the_estimators_with_both_critics(tmp_path):
    mine = {
        "batch_mean": GridAlgorithm("batch_mean", BatchMean, {}, {}),
        "half": GridAlgorithm("half", HalfBootstrapped, {"gamma": 0.5}, {}),
    }
    record, products = probed(tmp_path, "RandomEnding-v0", mine)
    entries = {entry["id"]: entry for entry in record["estimators"]}
    assert {"batch_mean none raw", "half trained raw", "half fitted raw"} <= set(entries)
    assert entries["half fitted raw"]["gamma"] == GAMMA  # the policy's, not its own
    assert entries["batch_mean none raw"]["bias_reference"] == "return"  # of whole episodes
    for name in ("half trained raw", "half fitted raw", "batch_mean none raw"):
        own = products[f"{name}/2/self"]
        assert np.trace(own) > 0
        assert np.isfinite(own).all()
    assert not np.array_equal(products["half trained raw/2/self"], products["half fitted raw/2/self"])


def test_entries_of_the_same_algorithm_are_measured_once(tmp_path):
    """As a tuned algorithm and its untuned variant are, whose settings before tuning are the same but for γ."""
    same = {name: GridAlgorithm(name, HalfBootstrapped, {"gamma": 0.5}, {}) for name in ("half", "half_again")}
    same["half_at_another_gamma"] = GridAlgorithm("half_at_another_gamma", HalfBootstrapped, {"gamma": 0.6}, {})
    other = {"half_of_more": GridAlgorithm("half_of_more", HalfBootstrapped, {"num_envs": 3}, {})}
    record, _ = probed(tmp_path, "RandomEnding-v0", same | other)
    names = {entry["algorithm"] for entry in record["estimators"]}
    assert {"half", "half_of_more"} <= names
    assert not {"half_again", "half_at_another_gamma"} & names


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("task", ["AlwaysZero-v0", "AlwaysTheSame-v0", "OneAction-v0"])
def test_a_deterministic_problem_has_finite_numbers_and_no_warning(task, tmp_path):
    record, products = probed(tmp_path, task)
    assert_as_agreed(record, products)
    for critic in record["critics"]:
        assert critic["explained_variance"] is None
        assert critic["return_std"] == pytest.approx(0.0, abs=1e-12)
    if task != "AlwaysTheSame-v0":
        assert not products["return/2"].any()
    if task == "OneAction-v0":
        assert not any(array.any() for array in products.values())


# ---- what cannot be measured


def refusal(words, capsys):
    """The sentence that ends a command line."""
    with pytest.raises(SystemExit) as exit_:
        exit_with_sentence(lambda: probe.main(words))
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"task": "CartPol-v1"}, ["mine.yaml: no probe of CartPol-v1", "did you mean 'CartPole-v1 with seed 0 at 1'"]),
        ({"seed": 1}, ["no probe of CartPole-v1 with seed 1 at 1", "did you mean 'CartPole-v1 with seed 0 at 1'"]),
        ({"fraction": 0.4}, ["no probe of CartPole-v1 with seed 0 at 0.4", "'CartPole-v1 with seed 0 at"]),
        ({"run": "nowhere/at/all"}, ["nowhere/at/all/run.json is not the record of a run"]),
        ({"grid": "smok"}, ["no grid 'smok'; did you mean 'smoke'"]),
        ({"grid": "paper"}, ["no probe"]),
    ],
)
def test_a_probe_that_cannot_be_is_refused(options, parts, ppo_run, tmp_path, capsys):
    grid, run = ppo_run
    words = command(**{"grid": grid, "run": run, "output": tmp_path / "probe"} | options)
    error = refusal(words, capsys)
    for part in parts:
        assert part in error
    assert not (tmp_path / "probe").exists()


def test_a_probe_of_a_checkpoint_needs_its_run(ppo_run, tmp_path, capsys):
    words = command(*ppo_run, tmp_path / "probe")
    place = words.index("--run")
    assert "a probe on CartPole-v1 needs --run, the folder of ppo's run" in refusal(
        words[:place] + words[place + 2 :], capsys
    )


def test_a_probe_replaces_nothing_but_a_probe(ppo_run, tmp_path, capsys):
    output = tmp_path / "thesis"
    output.mkdir()
    (output / "chapter.tex").write_text("…")
    assert "holds 'chapter.tex', which is no part of a probe" in refusal(command(*ppo_run, output), capsys)
    assert "is a file; a probe is written" in refusal(command(*ppo_run, output / "chapter.tex"), capsys)
    assert [path.name for path in output.iterdir()] == ["chapter.tex"]


def change_json(path, change):
    record = json.loads(path.read_text(encoding="utf-8"))
    change(record)
    path.write_text(json.dumps(record), encoding="utf-8")


def change_arrays(path, change):
    with np.load(path) as arrays:
        state = dict(arrays)
    change(state)
    np.savez(path, **state)


RECORDS = {
    "no record": (lambda path: path.unlink(), ["run.json is not the record of a run"]),
    "half a record": (lambda path: path.write_text(path.read_text()[:200]), ["run.json is not the record of a run"]),
    "another record": (lambda path: path.write_text("[1, 2]"), ["run.json is not the record of a run"]),
    "an empty record": (lambda path: path.write_text("{}"), ["run.json is not the record of a run"]),
    "a checkpoint without its file": (
        lambda path: change_json(path, lambda record: record["checkpoints"][-1].pop("file")),
        ["run.json is not the record of a run"],
    ),
    "no checkpoint at that fraction": (
        lambda path: change_json(path, lambda record: record["checkpoints"].pop()),
        ["has no checkpoint at 1 of its budget (it has 0, 0.5)"],
    ),
    "no checkpoints": (
        lambda path: change_json(path, lambda record: record["checkpoints"].clear()),
        ["has no checkpoint at 1 of its budget (it has none)"],
    ),
    "a diverged run": (
        lambda path: change_json(
            path, lambda r: r.update(status="diverged", diverged_at=1500, checkpoints=r["checkpoints"][:1])
        ),
        ["no checkpoint at 1", "(it has 0); it diverged at step 1,500"],
    ),
    "another algorithm's run": (
        lambda path: change_json(path, lambda record: record["cell"].update(algorithm="a2c")),
        ["is the run of a2c on CartPole-v1 with seed 0, not of ppo on CartPole-v1 with seed 0"],
    ),
    "another seed's run": (
        lambda path: change_json(path, lambda record: record["cell"].update(seed=7)),
        ["with seed 7, not of ppo on CartPole-v1 with seed 0"],
    ),
}


def copy_of(run, folder):
    """A copy of a run that a test may spoil."""
    return shutil.copytree(run, folder / "copy")


@pytest.mark.parametrize("mistake", RECORDS)
def test_a_run_that_has_not_what_is_asked_for_is_refused(mistake, ppo_run, tmp_path, capsys):
    grid, run = ppo_run
    spoil, parts = RECORDS[mistake]
    copy = copy_of(run, tmp_path)
    spoil(copy / "run.json")
    error = refusal(command(grid, copy, tmp_path / "probe"), capsys)
    for part in [str(copy), *parts]:
        assert part in error
    assert not (tmp_path / "probe").exists()


def set_in(name, value):
    """A change to a checkpoint's arrays."""
    return lambda path: change_arrays(path, lambda state: state.update({name: value}))


def not_finite(state):
    state["value_function/network.2.bias"][3] = np.nan


CHECKPOINTS = {
    "missing": (lambda path: path.unlink(), ["No such file"]),
    "empty": (lambda path: path.write_bytes(b""), ["cannot be read"]),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-5000]), ["cannot be read"]),
    "no archive": (lambda path: path.write_text("something else"), ["cannot be read"]),
    "one array": (lambda path: np.save(path.open("wb"), np.zeros(3)), ["cannot be read"]),
    "an archive of something else": (
        lambda path: shutil.move(shutil.make_archive(str(path), "zip", path.parent.parent, "run.json"), path),
        ["it is compressed, but checkpoints never are"],
    ),
    "spoilt inside": (
        lambda path: path.write_bytes(path.read_bytes()[:5000] + bytes(100) + path.read_bytes()[5100:]),
        ["cannot be read"],
    ),
    "pickled": (set_in("policy/network.0.bias", np.array([{}] * 64, dtype=object)), ["cannot be read", "allow_pickle"]),
    "of text": (set_in("policy/network.0.bias", np.array(["a"] * 64)), ["'policy/network.0.bias'", "finite numbers"]),
    "not finite": (
        lambda path: change_arrays(path, not_finite),
        ["'value_function/network.2.bias' of the checkpoint does not consist of finite numbers"],
    ),
    "without an array": (
        lambda path: change_arrays(path, lambda state: state.pop("observation_statistics/mean")),
        ["the checkpoint has no 'observation_statistics/mean': the networks differ"],
    ),
    "with one more": (set_in("policy/log_std", np.zeros(2)), ["has no 'policy/log_std': the networks differ"]),
    "of another task": (
        lambda path: np.savez(path, **make_learner(PPO(), "RandomEnding-v0")[1].state()),
        ["'policy/network.0.weight' of the checkpoint has the shape (64, 2), not (64, 4): the networks differ"],
    ),
    "of another kind of actions": (
        lambda path: np.savez(path, **make_learner(PPO(), "BoxRandomEnding-v0")[1].state()),
        ["the networks differ"],
    ),
    "of an algorithm without a critic": (
        lambda path: np.savez(path, **make_learner(Reinforce(), "CartPole-v1")[1].state()),
        ["the checkpoint has no 'value_function/network.0.weight': the networks differ"],
    ),
}


@pytest.mark.parametrize("mistake", CHECKPOINTS)
def test_a_checkpoint_that_is_not_whole_or_not_of_these_networks_is_refused(mistake, ppo_run, tmp_path, capsys):
    grid, run = ppo_run
    spoil, parts = CHECKPOINTS[mistake]
    copy = copy_of(run, tmp_path)
    checkpoint = copy / json.loads((copy / "run.json").read_text())["checkpoints"][-1]["file"]
    spoil(checkpoint)
    error = refusal(command(grid, copy, tmp_path / "probe"), capsys)
    for part in [str(checkpoint), *parts]:
        assert part in error
    assert not (tmp_path / "probe").exists()


def test_the_probes_of_a_grid_are_those_of_its_manifest(tmp_path):
    grid = load_grid(write_grid(tmp_path))
    listed = grid.manifest()["probes"]
    assert [yaml.safe_load(yaml.safe_dump(p)) for p in listed] == listed
    assert [p["directory"] for p in listed] == [
        "probes/CartPole-v1/ppo/0/0.5",
        "probes/CartPole-v1/ppo/0/1",
        *(f"probes/experiments.exact-{name}-v0/initialisation/0/0" for name in PROBLEM_NAMES),
    ]
    assert [p["exact"] for p in listed] == [False, False, True, True, True]


PROBLEM_NAMES = ("SoftmaxBandit", "TabularMDP", "RockPaperScissors")
