"""Estimates of the policy gradient against the exact gradient, on problems small enough to have one.

θ is the table of logits of a softmax policy. Sampling (environments, acting, collecting), advantages and losses are the
project's; the exact gradient is not. Each component of the mean over many rollouts must lie within 4.5 standard
errors of it.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.distributions import Categorical

from algorithms.a2c import A2C
from algorithms.actor_critic import ActorCritic
from algorithms.core.rollout import collect
from algorithms.ppo import PPO
from algorithms.reinforce import Reinforce
from algorithms.reinforce_baseline import ReinforceBaseline
from tests.tasks import Bandit, Tabular, make_learner

STANDARD_ERRORS = 4.5
ALL = [
    Reinforce(),
    ReinforceBaseline(),
    ActorCritic(),
    A2C(),
    PPO(gae_lambda=0.5, normalize_advantages=False),
]


class KnownValues:
    """A critic that knows V(s) of one-hot states."""

    actions = None  # it is of states

    def __init__(self, values):
        self.table = np.asarray(values, np.float32)

    def values(self, observations):
        return observations @ self.table


def logits_of(learner, states):
    return learner.policy.network(torch.eye(states)).detach()


def gradient_samples(algorithm, task, states, rollouts, values=None):
    """Gradients of J as the algorithm estimates them [rollouts, S, A], and the logits [S, A]; γ = 1, whole episodes."""
    algorithm = replace(algorithm, gamma=1.0, num_envs=25)
    envs, learner, rng = make_learner(algorithm, task, seed=11, spread=300.0)
    if values is not None and learner.value_function:
        learner.critics["value"] = KnownValues(values)
    table = logits_of(learner, states).requires_grad_()
    samples = []
    for _ in range(rollouts):
        rollout = collect(envs, learner.policy, learner.normalizer, rng, episodes=1)
        batch = learner.prepare(rollout)
        log_prob = Categorical(logits=batch.observations @ table).log_prob(batch.actions)
        (gradient,) = torch.autograd.grad(algorithm.policy_loss(log_prob, batch), table)
        # The gradient of J is a sum over an episode's steps; losses are means over steps, but REINFORCE's sums.
        sums = getattr(algorithm, "steps_of_an_episode", "mean") == "sum"
        samples.append(-gradient.double().numpy() * (1.0 if sums else len(batch) / envs.num_envs))
    return np.array(samples), table.detach().double()


def assert_unbiased(samples, exact):
    error = samples.mean(axis=0) - exact
    standard_error = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    assert (np.abs(error) <= STANDARD_ERRORS * standard_error).all(), np.round(error / standard_error, 1)
    # The test can tell the exact gradient from none and from half of it.
    assert (np.abs(exact) > 2 * STANDARD_ERRORS * standard_error).any()


def bandit_gradient(logits):
    """∂J/∂θ_i = p_i (μ_i − J)."""
    p = torch.softmax(logits, dim=-1).numpy()[0]
    return (p * (Bandit.MEANS - p @ Bandit.MEANS))[None]


def tabular_values(probabilities):
    """V = (I − P_π)⁻¹ r_π for action probabilities [S, A]; float64 tensors, differentiable."""
    rewards, transitions = torch.from_numpy(Tabular.REWARDS), torch.from_numpy(Tabular.TRANSITIONS[:, :, :3])
    chain = (probabilities[:, :, None] * transitions).sum(1)
    return torch.linalg.solve(torch.eye(3, dtype=torch.float64) - chain, (probabilities * rewards).sum(1))


def tabular_gradient(logits):
    """∇J by differentiating through the linear solve."""
    theta = logits.clone().requires_grad_()
    objective = torch.from_numpy(Tabular.START) @ tabular_values(torch.softmax(theta, dim=-1))
    return torch.autograd.grad(objective, theta)[0].numpy()


def test_the_exact_tabular_gradient_agrees_with_finite_differences_of_enumerated_episodes():
    """The test's own yardstick, by another route: the expected return of 200 steps, summed forward in time."""

    def objective(logits):
        p = torch.softmax(logits, dim=-1).numpy()
        chain = np.einsum("sa,sap->sp", p, Tabular.TRANSITIONS[:, :, :3])
        distribution, total = Tabular.START.copy(), 0.0
        for _ in range(200):
            total += distribution @ (p * Tabular.REWARDS).sum(1)
            distribution = distribution @ chain
        return total

    logits = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 2)))
    finite = np.zeros((3, 2))
    for at in np.ndindex(3, 2):
        step = torch.zeros(3, 2, dtype=torch.float64)
        step[at] = 1e-5
        finite[at] = (objective(logits + step) - objective(logits - step)) / 2e-5
    np.testing.assert_allclose(tabular_gradient(logits), finite, atol=1e-8)


@pytest.mark.parametrize("algorithm", ALL, ids=lambda a: a.title)
def test_the_estimate_points_along_the_true_gradient_of_a_bandit(algorithm):
    """With an untrained critic: in a bandit any V is a baseline, and there is nothing to bootstrap."""
    samples, logits = gradient_samples(algorithm, "Bandit-v0", 1, rollouts=300)
    assert_unbiased(samples, bandit_gradient(logits))


@pytest.mark.parametrize("algorithm", [Reinforce(), ReinforceBaseline()], ids=lambda a: a.title)
def test_monte_carlo_estimates_are_unbiased_in_a_tabular_problem_whatever_the_critic(algorithm):
    samples, logits = gradient_samples(algorithm, "Tabular-v0", 3, rollouts=300)
    assert_unbiased(samples, tabular_gradient(logits))


@pytest.mark.parametrize("algorithm", ALL[1:], ids=lambda a: a.title)
def test_every_estimate_is_unbiased_in_a_tabular_problem_when_the_critic_is_right(algorithm):
    _, learner, _ = make_learner(replace(algorithm, num_envs=25), "Tabular-v0", seed=11, spread=300.0)
    values = tabular_values(torch.softmax(logits_of(learner, 3).double(), dim=-1)).numpy()
    samples, logits = gradient_samples(algorithm, "Tabular-v0", 3, rollouts=300, values=values)
    assert_unbiased(samples, tabular_gradient(logits))


def test_the_one_step_estimate_is_biased_when_the_critic_is_wrong():
    """So that the tests above are known to see a bias: claim 4 of the comparison, on a problem with an exact answer."""
    samples, logits = gradient_samples(ActorCritic(), "Tabular-v0", 3, rollouts=300, values=[4.0, -4.0, 0.0])
    error = samples.mean(axis=0) - tabular_gradient(logits)
    assert (np.abs(error) > 2 * STANDARD_ERRORS * samples.std(axis=0) / np.sqrt(len(samples))).any()


def test_a_right_baseline_lowers_the_variance_of_the_estimate_and_the_td_error_lowers_it_further():
    """Claims 1 and 4, where the critic is exact; 300 rollouts know each variance to about 8 %."""
    _, learner, _ = make_learner(ReinforceBaseline(num_envs=25), "Tabular-v0", seed=11, spread=300.0)
    values = tabular_values(torch.softmax(logits_of(learner, 3).double(), dim=-1)).numpy()
    plain, baseline, td = (
        gradient_samples(a, "Tabular-v0", 3, rollouts=300, values=values)[0].var(axis=0).sum()
        for a in (Reinforce(), ReinforceBaseline(), ActorCritic())
    )
    assert td < 0.7 * baseline
    assert baseline < 0.7 * plain
