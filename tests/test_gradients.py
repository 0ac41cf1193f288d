"""The gradient of every algorithm's loss against the textbook expression, put together by hand from single scores."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, Normal

from algorithms.a2c import A2C
from algorithms.actor_critic import ActorCritic
from algorithms.core.batch import Batch
from algorithms.core.rollout import collect
from algorithms.ppo import PPO
from algorithms.reinforce import Reinforce
from algorithms.reinforce_baseline import ReinforceBaseline
from tests.tasks import make_learner

GAMMA = 0.9
TASKS = ["RandomEnding-v0", "BoxRandomEnding-v0"]  # categorical and Gaussian


def collected(algorithm, task):
    """A rollout with several endings of both kinds, its learner, and its batch."""
    envs, learner, rng = make_learner(algorithm, task, seed=3, spread=50.0)
    if learner.value_function:  # a critic that is not nearly zero
        learner.value_function.parameter_vector.mul_(3.0)
    length = {"episodes": 2} if algorithm.whole_episodes else {"steps": 15}
    rollout = collect(envs, learner.policy, learner.normalizer, rng, **length)
    return learner, rollout, learner.prepare(rollout)


def scores(learner, rollout):
    """∇ log π(a_t|s_t) as a vector for every valid step [T, N], each by its own backward pass."""
    policy, result = learner.policy, {}
    for t, i in zip(*rollout.valid.nonzero(), strict=True):
        outputs = policy.network(torch.from_numpy(rollout.observations[t, i]))
        if policy.discrete:
            log_prob = Categorical(logits=outputs).log_prob(torch.tensor(rollout.actions[t, i]))
        else:
            log_prob = Normal(outputs, policy.log_std.exp()).log_prob(torch.from_numpy(rollout.actions[t, i])).sum()
        gradient = torch.autograd.grad(log_prob, list(policy.parameters()))
        result[t, i] = torch.cat([g.reshape(-1) for g in gradient]).double().numpy()
    return result


def future(rollout, t, i):
    """The rows from t to the end of the episode or of the rollout."""
    for k in range(t, len(rollout.rewards)):
        yield k
        if rollout.done[k, i]:
            return


def critic(learner, observation):
    with torch.no_grad():
        return float(learner.value_function(torch.from_numpy(observation)))


def delta(learner, rollout, t, i):
    bootstrap = 0.0 if rollout.terminated[t, i] else critic(learner, rollout.next_observations[t, i])
    return rollout.rewards[t, i] + GAMMA * bootstrap - critic(learner, rollout.observations[t, i])


def discounted_return(rollout, t, i):
    return sum(GAMMA ** (k - t) * rollout.rewards[k, i] for k in future(rollout, t, i))


def k_step_advantage(learner, rollout, t, i):
    *_, last = future(rollout, t, i)
    bootstrap = 0.0 if rollout.terminated[last, i] else critic(learner, rollout.next_observations[last, i])
    value = critic(learner, rollout.observations[t, i])
    return discounted_return(rollout, t, i) + GAMMA ** (last - t + 1) * bootstrap - value


def generalized_advantage(learner, rollout, t, i):
    return sum((GAMMA * 0.8) ** (k - t) * delta(learner, rollout, k, i) for k in future(rollout, t, i))


def per_step(rollout):
    return rollout.valid.sum()


def per_episode(rollout):
    return rollout.done.sum()


TEXTBOOK = [
    # algorithm, Ψ_t, what the sum of score · Ψ is divided by
    (Reinforce(gamma=GAMMA), lambda _, *at: discounted_return(*at), per_episode),
    (Reinforce(gamma=GAMMA, steps_of_an_episode="mean"), lambda _, *at: discounted_return(*at), per_step),
    (
        ReinforceBaseline(gamma=GAMMA),
        lambda learner, rollout, t, i: discounted_return(rollout, t, i) - critic(learner, rollout.observations[t, i]),
        per_episode,
    ),
    (
        ReinforceBaseline(gamma=GAMMA, steps_of_an_episode="mean"),
        lambda learner, rollout, t, i: discounted_return(rollout, t, i) - critic(learner, rollout.observations[t, i]),
        per_step,
    ),
    (ActorCritic(gamma=GAMMA, num_envs=4), delta, per_step),
    (A2C(gamma=GAMMA, num_envs=4), k_step_advantage, per_step),
    (PPO(gamma=GAMMA, gae_lambda=0.8, num_envs=4), generalized_advantage, per_step),
]


def gradient_of_loss(learner, batch):
    log_prob = learner.policy(batch.observations).log_prob(batch.actions)
    loss = learner.algorithm.policy_loss(log_prob, batch)
    gradient = torch.autograd.grad(loss, list(learner.policy.parameters()))
    return torch.cat([g.reshape(-1) for g in gradient]).double().numpy()


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("algorithm", "psi", "count"), TEXTBOOK, ids=lambda x: getattr(type(x), "title", "-"))
def test_the_gradient_at_the_old_policy_is_the_textbook_expression(algorithm, psi, count, task):
    learner, rollout, batch = collected(algorithm, task)
    assert rollout.terminated.any()
    assert rollout.truncated.any()
    total = sum(score * psi(learner, rollout, t, i) for (t, i), score in scores(learner, rollout).items())
    expected = -total / count(rollout)
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(
        gradient_of_loss(learner, batch), expected, rtol=1e-3, atol=2e-5 * np.abs(expected).max()
    )


@pytest.mark.parametrize(("algorithm", "psi", "count"), TEXTBOOK, ids=lambda x: getattr(type(x), "title", "-"))
def test_value_targets_are_psi_plus_the_value_before_the_update(algorithm, psi, count):
    learner, rollout, batch = collected(replace(algorithm, normalize_advantages=True), "RandomEnding-v0")
    steps = list(zip(*rollout.valid.nonzero(), strict=True))
    advantages = [psi(learner, rollout, t, i) for t, i in steps]
    values = [critic(learner, rollout.observations[at]) if learner.value_function else 0.0 for at in steps]
    np.testing.assert_allclose(batch.advantages, advantages, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(batch.value_targets, np.add(advantages, values), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("task", TASKS)
def test_ppo_gradient_equals_policy_gradient_at_the_old_policy(task):
    learner, _, batch = collected(PPO(num_envs=4), task)
    ppo = gradient_of_loss(learner, batch)
    log_prob = learner.policy(batch.observations).log_prob(batch.actions)
    plain = torch.autograd.grad(-(log_prob * batch.advantages).mean(), list(learner.policy.parameters()))
    plain = torch.cat([g.reshape(-1) for g in plain]).double().numpy()
    np.testing.assert_allclose(ppo, plain, rtol=1e-4, atol=1e-6 * np.abs(plain).max())


def batch_of(ratios, advantages, **fields):
    """A batch whose behaviour policy has probability 1, so that log_prob is the log of the ratio."""
    n = len(ratios)
    zeros = torch.zeros(n)
    columns = dict(observations=torch.zeros(n, 1), actions=torch.zeros(n, dtype=torch.int64), log_probs=zeros)
    columns |= dict(values=zeros, value_targets=zeros, episodes=torch.tensor(1.0)) | fields
    return Batch(advantages=torch.tensor(advantages), **columns)


@pytest.mark.parametrize(
    ("ratio", "advantage", "gradient_remains"),
    [
        (0.5, +2.0, True),  # too unlikely a good action: it may still be made more likely
        (1.0, +2.0, True),
        (1.19, +2.0, True),
        (1.21, +2.0, False),  # a good action that is more likely already by more than ε
        (0.5, -2.0, False),  # a bad action that is less likely already by more than ε
        (0.79, -2.0, False),
        (0.81, -2.0, True),
        (1.0, -2.0, True),
        (1.5, -2.0, True),  # too likely a bad action: it may still be made less likely
    ],
)
def test_ppo_has_no_gradient_exactly_where_the_ratio_has_left_the_range_on_the_side_it_is_pushed_to(
    ratio, advantage, gradient_remains
):
    log_prob = torch.tensor([ratio]).log().requires_grad_()
    loss = PPO(clip=0.2).policy_loss(log_prob, batch_of([ratio], [advantage]))
    (gradient,) = torch.autograd.grad(loss, log_prob)
    expected = -ratio * advantage if gradient_remains else 0.0  # d(ρA)/d log π = ρA
    assert float(gradient) == pytest.approx(expected, rel=1e-5)


def test_ppo_loss_is_the_mean_of_the_lesser_surrogates():
    ratios, advantages = [0.5, 1.1, 1.5, 0.5, 1.5], [1.0, 2.0, 3.0, -1.0, -2.0]
    loss = PPO(clip=0.2).policy_loss(torch.tensor(ratios).log(), batch_of(ratios, advantages))
    assert float(loss) == pytest.approx(-(0.5 + 2.2 + 3.6 - 0.8 - 3.0) / 5)


def test_ppo_records_the_share_of_steps_outside_the_clip_range():
    ratios = [0.5, 0.79, 0.81, 1.0, 1.19, 1.21, 3.0, 1.0]
    record = PPO(clip=0.2).diagnostics(torch.tensor(ratios).log(), batch_of(ratios, [1.0] * 8))
    assert float(record["clip_fraction"]) == pytest.approx(4 / 8)


@pytest.mark.parametrize("algorithm", [ActorCritic(), ReinforceBaseline(), A2C(), PPO()], ids=lambda a: a.title)
def test_the_value_loss_is_half_the_mean_squared_error_and_its_gradient_the_mean_error(algorithm):
    values = torch.tensor([1.0, -2.0, 0.5], requires_grad=True)
    batch = batch_of([1.0] * 3, [0.0] * 3, value_targets=torch.tensor([2.0, -2.0, -1.5]))
    loss = algorithm.value_loss(values, batch)
    assert loss.item() == pytest.approx((1 + 0 + 4) / 6)
    (gradient,) = torch.autograd.grad(loss, values)
    np.testing.assert_allclose(gradient, np.array([-1.0, 0.0, 2.0]) / 3, rtol=1e-6)


@pytest.mark.parametrize(
    ("value", "old", "target", "loss", "gradient"),
    [
        (1.1, 1.0, 3.0, 0.5 * 1.9**2, -1.9),  # within the range: the plain error
        (1.5, 1.0, 3.0, 0.5 * 1.8**2, 0.0),  # has moved towards the target by more than the range: no further
        (0.5, 1.0, 3.0, 0.5 * 2.5**2, -2.5),  # has moved away: comes back
        (2.0, 1.0, 0.0, 0.5 * 2.0**2, 2.0),
        (0.0, 1.0, 0.0, 0.5 * 0.8**2, 0.0),
    ],
)
def test_the_clipped_value_loss_stops_where_the_value_has_moved_far_enough(value, old, target, loss, gradient):
    values = torch.tensor([value], requires_grad=True)
    batch = batch_of([1.0], [0.0], values=torch.tensor([old]), value_targets=torch.tensor([target]))
    result = PPO(clip_values=0.2).value_loss(values, batch)
    assert result.item() == pytest.approx(loss, rel=1e-5)
    assert float(torch.autograd.grad(result, values)[0]) == pytest.approx(gradient, rel=1e-5)


def test_advantages_are_normalised_per_minibatch_and_only_where_asked():
    learner, _, batch = collected(PPO(num_envs=4, normalize_advantages=True), "RandomEnding-v0")
    psi = batch.advantages.double().numpy()
    normalized = batch.with_advantages(torch.from_numpy(((psi - psi.mean()) / psi.std()).astype(np.float32)))
    loss, *_ = learner._policy_loss(learner.algorithm, learner.policy, batch)
    gradient = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, list(learner.policy.parameters()))])
    expected = gradient_of_loss(learner, normalized)
    np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())
    without = PPO(num_envs=4, normalize_advantages=False)
    plain, *_ = collected(without, "RandomEnding-v0")[0]._policy_loss(without, learner.policy, batch)
    assert loss.item() == pytest.approx(0.0, abs=1e-5)  # the mean of a normalised advantage, at ratio 1
    assert plain.item() == pytest.approx(-psi.mean(), rel=1e-4)
