"""The exact problems: their closed forms against other routes to the same number, and against their simulation."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from torch import nn
from torch.distributions import Categorical

from algorithms.core.estimators import discounted_returns
from algorithms.core.normalizer import RunningNormalizer
from algorithms.core.rollout import collect
from algorithms.core.task import Task
from algorithms.core.vector_env import VectorEnv
from experiments.exact import (
    PROBLEMS,
    ExactEnv,
    action_probabilities,
    action_values,
    compatible_values,
    expected_gradient,
    expected_visits,
    policy_gradient,
    random_policy,
    state_values,
)

BANDIT, TABULAR, RPS = PROBLEMS.values()
GAMMA = 0.9
STANDARD_ERRORS = 4.5
each_problem = pytest.mark.parametrize("problem", PROBLEMS.values(), ids=lambda problem: problem.title)


class Logits(nn.Module):
    """A policy whose parameters are its logits [O, A]."""

    def __init__(self, logits):
        super().__init__()
        self.logits = nn.Parameter(torch.as_tensor(logits))

    def forward(self, observations):
        return Categorical(logits=observations @ self.logits)


def probabilities_of(problem, policy):
    return action_probabilities(problem, policy).detach().numpy()


def relative(error, truth):
    return np.linalg.norm(error) / np.linalg.norm(truth)


def expected_td_error(problem, values, gamma):
    """E[δ_t|s,a], [S, A]."""
    return problem.rewards + gamma * problem.transitions @ values - values[:, None]


def return_of(problem, probabilities):
    """J, by following the distribution over states forward for 500 steps."""
    distribution, total = problem.initial, 0.0
    for _ in range(500):
        at = distribution[:, None] * probabilities
        total += (at * problem.rewards).sum()
        distribution = np.einsum("sa,sat->t", at, problem.transitions)
    return total


# Closed forms


def test_the_bandit_gradient_is_the_probability_times_the_advantage_of_each_arm():
    """∂J/∂θ_i = p_i (μ_i − J)."""
    policy = Logits(np.random.default_rng(0).normal(size=(1, 5)))
    p, means = probabilities_of(BANDIT, policy)[0], BANDIT.rewards[0]
    np.testing.assert_allclose(policy_gradient(BANDIT, policy, 1.0), p * (means - p @ means), rtol=0, atol=1e-14)


@each_problem
@pytest.mark.parametrize("seed", range(3))
def test_without_discount_the_gradient_is_that_of_the_expected_return(problem, seed):
    """Along four random directions and its own, by central differences."""
    policy = random_policy(problem, seed).double()
    gradient, theta = policy_gradient(problem, policy, 1.0), nn.utils.parameters_to_vector(policy.parameters()).detach()
    directions = np.random.default_rng(seed).normal(size=(4, len(gradient)))
    for direction in [gradient, *directions]:
        step, ends = 1e-5 * torch.from_numpy(direction / np.linalg.norm(direction)), []
        for sign in (1, -1):
            nn.utils.vector_to_parameters(theta + sign * step, policy.parameters())
            ends.append(return_of(problem, probabilities_of(problem, policy)))
        slope = (ends[0] - ends[1]) / 2e-5
        assert slope == pytest.approx(gradient @ direction / np.linalg.norm(direction), rel=1e-6, abs=1e-7)


@each_problem
def test_the_values_of_the_first_states_are_the_expected_return(problem):
    probabilities = probabilities_of(problem, random_policy(problem, 0))
    expected = return_of(problem, probabilities)
    assert abs(expected) > 0.5
    assert problem.initial @ state_values(problem, probabilities, 1.0) == pytest.approx(expected, abs=1e-12)
    visits = expected_visits(problem, probabilities)
    assert visits @ (probabilities * problem.rewards).sum(1) == pytest.approx(expected, abs=1e-12)


def test_the_greedy_choice_is_not_the_optimal_one_in_the_tabular_problem():
    greedy, patient = np.eye(3)[TABULAR.rewards.argmax(1)], np.eye(3)[[2] * 5]
    assert (greedy.argmax(1) == [0, 0, 0, 0, 2]).all()
    assert (action_values(TABULAR, patient, 1.0).argmax(1) == 2).all()  # nothing improves on it
    assert return_of(TABULAR, patient) > 2 * return_of(TABULAR, greedy)


def test_rock_paper_scissors_exploits_a_deterministic_policy_and_not_the_uniform_one():
    """J = 9 · (1 − 3 Σ p²)/2 for a policy without memory: the mean number of rounds after the first, times each."""
    for p in [*np.eye(3), np.full(3, 1 / 3), *np.random.default_rng(0).dirichlet(np.ones(3), 20)]:
        value = RPS.initial @ state_values(RPS, np.tile(p, (4, 1)), 1.0)
        assert value == pytest.approx(9 * (1 - 3 * p @ p) / 2, abs=1e-12)
    assert return_of(RPS, np.tile(np.eye(3)[0], (4, 1))) == pytest.approx(-9)
    seeing = np.eye(3)[[2, 0, 1, 0]]  # whoever sees the last move wins every round but the first
    assert return_of(RPS, seeing) == pytest.approx(9)
    for gamma in (1.0, GAMMA):
        np.testing.assert_allclose(policy_gradient(RPS, Logits(np.zeros((1, 3))), gamma), 0.0, atol=1e-14)


@each_problem
@pytest.mark.parametrize("gamma", [1.0, GAMMA])
def test_compatible_values_leave_the_gradient_as_it_is(problem, gamma):
    """Sutton et al., 2000, theorem 2. Where the policy sees the state they are Q − V; else they may be far from it."""
    policy = random_policy(problem, 0)
    probabilities = probabilities_of(problem, policy)
    compatible = compatible_values(problem, policy, gamma)
    truth = policy_gradient(problem, policy, gamma)
    assert relative(expected_gradient(problem, policy, compatible) - truth, truth) < 1e-9
    advantages = action_values(problem, probabilities, gamma) - state_values(problem, probabilities, gamma)[:, None]
    if problem is RPS:
        assert relative(compatible - action_values(problem, probabilities, gamma), compatible) > 0.5
        assert relative(compatible - advantages, advantages) > 0.5
    else:
        np.testing.assert_allclose(compatible, advantages, atol=1e-8)


@each_problem
@pytest.mark.parametrize("gamma", [1.0, GAMMA])
@pytest.mark.parametrize("seed", range(3))
def test_the_td_error_is_biased_by_a_wrong_critic_where_there_is_something_to_bootstrap(problem, gamma, seed):
    policy = random_policy(problem, seed)
    truth = policy_gradient(problem, policy, gamma)

    def bias(values):
        return relative(expected_gradient(problem, policy, expected_td_error(problem, values, gamma)) - truth, truth)

    assert bias(state_values(problem, probabilities_of(problem, policy), gamma)) < 1e-12
    if problem is BANDIT:
        assert bias(problem.wrong_values) < 1e-12
    else:
        assert bias(problem.wrong_values) > 0.3


@each_problem
def test_any_baseline_leaves_the_gradient_as_it_is(problem):
    policy = random_policy(problem, 0)
    values = action_values(problem, probabilities_of(problem, policy), GAMMA)
    with_baseline = expected_gradient(problem, policy, values - problem.wrong_values[:, None])
    np.testing.assert_allclose(with_baseline, policy_gradient(problem, policy, GAMMA), atol=1e-12)


# Simulation


def simulate(problem, policy, envs=200, episodes=40):
    """Every episode with its true states, seen from inside the environments, and its returns G_t."""
    vector = VectorEnv(Task(problem.id), envs, np.random.SeedSequence(5))
    rng, seen = np.random.default_rng(6), []
    step, inside = vector.step, [env.unwrapped for env in vector.backend.envs]

    def look_and_step(actions, active=None):
        seen.append([env.state for env in inside])
        return step(actions, active)

    vector.step = look_and_step
    rollout = collect(vector, policy, RunningNormalizer(vector.observation_size), rng, episodes=episodes)
    assert len(vector.episodes) == envs * episodes
    assert not rollout.truncated.any()
    columns = np.array(seen), rollout.observations, rollout.actions, discounted_returns(rollout, GAMMA)
    found = []
    for i in range(envs):
        ends = rollout.terminated[:, i].nonzero()[0] + 1
        for begin, end in zip([0, *ends[:-1]], ends, strict=True):
            found.append([column[begin:end, i] for column in columns])
    return found


def assert_mean_is(samples, expected):
    """Each component of the mean of `samples` [M, ...] within 4.5 standard errors of what is expected."""
    error = np.mean(samples, axis=0) - expected
    standard_error = np.std(samples, axis=0, ddof=1) / np.sqrt(len(samples))
    assert (np.abs(error) <= STANDARD_ERRORS * standard_error + 1e-12).all(), np.round(error / standard_error, 1)


@each_problem
def test_the_simulation_has_the_values_visits_and_gradient_of_the_closed_forms(problem):
    """Over 8,000 episodes; the gradient along its own direction, since one number is judged more sharply than many."""
    policy = random_policy(problem, 0)
    probabilities = probabilities_of(problem, policy)
    values, gradient = action_values(problem, probabilities, GAMMA), policy_gradient(problem, policy, GAMMA)
    direction, theta = gradient / np.linalg.norm(gradient), nn.utils.parameters_to_vector(policy.parameters()).detach()
    ends = []
    for sign in (1, -1):
        shifted = random_policy(problem, 0).double()
        nn.utils.vector_to_parameters(theta.double() + sign * 1e-5 * torch.from_numpy(direction), shifted.parameters())
        ends.append(np.log(probabilities_of(problem, shifted)))
    scores = (ends[0] - ends[1]) / 2e-5  # ∇log π(a|s) along the direction, [S, A]
    visits, errors, slopes = [], [], []
    for states, observations, actions, returns in simulate(problem, policy):
        assert (problem.states(observations, actions) == states).all()
        counts, error = np.zeros(len(problem.initial)), np.zeros(problem.rewards.shape)
        np.add.at(counts, states, 1)
        np.add.at(error, (states, actions), returns - values[states, actions])
        visits.append(counts)
        errors.append(error)
        slopes.append((scores[states, actions] * returns).sum())
    assert_mean_is(visits, expected_visits(problem, probabilities))
    assert_mean_is(errors, 0.0)
    assert_mean_is(slopes, np.linalg.norm(gradient))
    assert np.std(slopes) / np.sqrt(len(slopes)) < 0.06 * np.linalg.norm(gradient)  # sharp enough to see 30 %
    undiscounted = np.linalg.norm(policy_gradient(problem, policy, 1.0) - gradient)
    assert (undiscounted > 1e-3) == (problem is not BANDIT)


@each_problem
def test_a_random_policy_is_neither_uniform_nor_nearly_deterministic(problem):
    for seed in range(5):
        policy = random_policy(problem, seed)
        probabilities = probabilities_of(problem, policy)
        np.testing.assert_allclose(probabilities.sum(1), 1.0, atol=1e-12)
        assert probabilities.min() > 0.01
        assert probabilities.max() < 0.9
        assert (probabilities.max(1) > 1.3 / probabilities.shape[1]).any()
        again = random_policy(problem, seed)
        assert torch.equal(again.parameter_vector, policy.parameter_vector)
        acted = policy.act(np.eye(problem.observations, dtype=np.float32), np.random.default_rng(0), mode=True)
        assert (acted[problem.observed] == probabilities.argmax(1)).all()  # acting sees the scaled layer, too


@each_problem
def test_gymnasium_finds_nothing_wrong(problem):
    env = gymnasium.make(problem.id)
    assert env.spec.max_episode_steps is None
    check_env(env.unwrapped, skip_render_check=True)


# What cannot be


def test_what_does_not_exist_is_refused_with_a_sentence():
    with pytest.raises(ValueError, match=r"no problem 'Chess'; valid are: experiments\.exact:SoftmaxBandit-v0"):
        ExactEnv("Chess")
    with pytest.raises(ValueError, match=r"RockPaperScissors-v0 has \[states, actions\] \(4, 3\)"):
        action_probabilities(RPS, Logits(np.zeros((1, 5))))
    seen = np.eye(5, dtype=np.float32)
    with pytest.raises(ValueError, match=r"step 1 of an episode of .*TabularMDP-v0: no one state fits"):
        TABULAR.states(seen[[0, 3]], np.array([2, 2]))  # nobody leaps from the first state to the fourth
    with pytest.raises(ValueError, match=r"actions \[T\] below 3"):
        TABULAR.states(seen[[0]], np.array([3]))
    with pytest.raises(ValueError, match=r"observations \[T, 5\]"):
        TABULAR.states(seen[:2], np.array([0]))
