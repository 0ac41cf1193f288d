"""Actions with several parts, from the batch to the run: the loss is the algorithm's formula, summed over them."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.distributions import kl_divergence

from algorithms.a2c import A2C
from algorithms.core.algorithm import InvalidAlgorithm
from algorithms.core.batch import sum_over_parts
from algorithms.core.divergence import kl_from_old
from algorithms.core.estimators import generalized_advantages
from algorithms.core.rollout import collect
from algorithms.core.task import Task
from algorithms.ppo import PPO
from tests.tasks import IN_ALL_SPACES, make_learner, needs_compiler, parts_of


@dataclasses.dataclass(frozen=True)
class OfParts(PPO):
    """PPO whose parts learn from their own rewards."""

    def advantages(self, rollout):
        return generalized_advantages(rollout, self.gamma, self.gae_lambda, rollout.part_rewards)


def prepared(algorithm, task="Junctions-v0", **options):
    envs, learner, rng = make_learner(algorithm, task, spread=50.0, **options)
    length = {"episodes": 1} if algorithm.whole_episodes else {"steps": 20}
    rollout = collect(envs, learner.policy, learner.normalizer, rng, **length)
    return learner, rollout, learner.prepare(rollout)


@pytest.mark.parametrize("of_parts", [False, True], ids=["a Ψ for all parts", "a Ψ for each part"])
@pytest.mark.parametrize("name", IN_ALL_SPACES)
def test_the_loss_is_the_sum_over_the_parts_of_the_formula(name, of_parts):
    algorithm = IN_ALL_SPACES[name](num_envs=4)
    _, _, batch = prepared(algorithm)
    generator = torch.Generator().manual_seed(0)
    log_prob = batch.log_probs + 0.5 * torch.randn(batch.log_probs.shape, generator=generator)
    if of_parts:
        batch = batch.with_advantages(torch.randn(batch.log_probs.shape, generator=generator))
    elif batch.advantages.ndim > 1:  # of an algorithm that has one for each part
        batch = batch.with_advantages(batch.advantages.mean(1))
    loss = sum_over_parts(algorithm.policy_loss, log_prob, batch)
    expected = 0.0
    for k in range(3):
        alone = dataclasses.replace(
            batch,
            log_probs=batch.log_probs[:, k],
            advantages=batch.advantages[:, k] if of_parts else batch.advantages,
        )
        expected = expected + algorithm.policy_loss(log_prob[:, k], alone)
    assert loss.shape == ()
    torch.testing.assert_close(loss, expected)


def test_the_gradient_of_parts_that_share_their_advantage_is_that_of_the_joint_action():
    """∇ Σ_k log π_k Ψ is ∇ log π Ψ: parts change nothing about the policy gradient."""
    algorithm = A2C(num_envs=4)
    learner, _, batch = prepared(algorithm)
    parameters = list(learner.policy.parameters())
    log_prob = learner.policy(batch.observations).log_prob(batch.actions)
    by_parts = torch.autograd.grad(
        sum_over_parts(algorithm.policy_loss, log_prob, batch), parameters, retain_graph=True
    )
    joint = torch.autograd.grad(algorithm.policy_loss(log_prob.sum(1), batch), parameters)
    torch.testing.assert_close(by_parts, joint)


def test_a_batch_has_the_log_probability_of_each_part_and_the_advantage_of_each_or_of_all():
    _, rollout, batch = prepared(PPO(num_envs=4))
    assert batch.actions.shape == batch.log_probs.shape == (80, 3)
    assert batch.advantages.shape == batch.value_targets.shape == (80,)
    _, rollout, batch = prepared(OfParts(num_envs=4))
    assert batch.advantages.shape == (80, 3)
    np.testing.assert_allclose(batch.advantages, OfParts().advantages(rollout)[rollout.valid], rtol=1e-5)
    torch.testing.assert_close(batch.value_targets, batch.advantages.mean(1) + batch.values)
    assert sum(len(part.advantages) for part in parts_of(batch, 32, np.random.default_rng(0))) == 80


def test_advantages_of_another_number_of_parts_are_refused():
    class Wrong(PPO):
        def advantages(self, rollout):
            return np.zeros((*rollout.rewards.shape, 2))

    with pytest.raises(InvalidAlgorithm, match=r"shape \(20, 4, 2\); the rollout's is \(20, 4\), or \(20, 4, 3\)"):
        prepared(Wrong(num_envs=4))


def test_rewards_of_the_parts_are_scaled_as_the_reward_is():
    task = Task("Junctions-v0", normalize_rewards=True)
    _, rollout, _ = prepared(PPO(num_envs=4), task)
    assert not np.isin(rollout.rewards, range(4)).all()
    np.testing.assert_allclose(rollout.part_rewards.sum(axis=-1), rollout.rewards)


def test_the_estimated_divergence_is_that_of_the_whole_action():
    learner, _, batch = prepared(PPO(num_envs=4))
    with torch.no_grad():
        before = learner.policy(batch.observations)
    learner.update(batch, 0.0)
    with torch.no_grad():
        after = learner.policy(batch.observations)
    assert learner.kl(batch) == pytest.approx(float(kl_divergence(before, after).mean()), rel=0.3)


@dataclasses.dataclass(frozen=True)
class Own(OfParts):
    """A penalty on the divergence, and gradients episode by episode."""

    def regularizer(self, distribution, batch):
        return kl_from_old(distribution, batch).mean()

    def gradients(self, objective, batch, generator):
        by_episode = objective.episode_gradients(batch.episode_ids)
        torch.testing.assert_close(by_episode.sum(0), super().gradients(objective, batch, generator))
        return by_episode.sum(0)


def test_a_regularizer_and_gradients_of_an_algorithms_own_see_the_whole_action():
    learner, _, batch = prepared(Own(num_envs=4), "MaskedJunctions-v0")
    with torch.no_grad():
        before = learner.policy(batch.observations, batch.action_masks)
    assert batch.policy_outputs.shape == (80, 2 + 3 + 2)
    torch.testing.assert_close(kl_from_old(before, batch), torch.zeros(80), atol=1e-6, rtol=0)
    learner.update(batch, 0.0)
    with torch.no_grad():
        after = learner.policy(batch.observations, batch.action_masks)
    torch.testing.assert_close(kl_from_old(after, batch), kl_divergence(before, after))
    assert kl_from_old(after, batch).mean() > 0


@pytest.mark.parametrize("task", ["Junctions-v0", "MaskedJunctions-v0"])
@pytest.mark.parametrize(
    "algorithm",
    [
        PPO(policy_learning_rate=3e-3, rollout_length=32, epochs=4),
        OfParts(policy_learning_rate=3e-3, rollout_length=32, epochs=4),
        A2C(policy_learning_rate=3e-3, value_learning_rate=3e-3),
    ],
    ids=["one reward", "rewards of the parts", "a2c"],
)
def test_a_task_of_parts_is_solved(algorithm, task):
    run = algorithm.train(Task(task), 0, 10_000, compile="never")
    assert np.mean(run.evaluation["mode"].returns) > 28  # of 30; with one part at random it would be 25 at most


@needs_compiler
def test_compiled_updates_of_parts_agree_with_eager_ones():
    algorithm = OfParts(num_envs=4, rollout_length=32, minibatch_size=64, epochs=2)
    eager, compiled = (
        algorithm.train(Task("MaskedJunctions-v0"), 0, 256, compile=compile, evaluations=())
        for compile in ("never", "always")
    )
    assert compiled.compiled
    for row, other in zip(eager.updates, compiled.updates, strict=True):
        assert row == pytest.approx(other, rel=1e-3, abs=1e-5)
