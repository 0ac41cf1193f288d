"""Problems whose true gradient is known: their closed forms, by another route, and their tasks."""

import itertools
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from scipy.linalg import solve_discrete_lyapunov
from scipy.special import softmax

from experiments import exact
from experiments.estimation import names, problem_of
from experiments.estimation.problem import InvalidPlace
from experiments.estimation.problems import arms, chain, game, lqr, quadratic, step, wave
from experiments.task_check import try_task
from policy_gradient_ladder.core.task import Task

STEP = 1e-5  # of finite differences


def differences(objective, parameters):
    """∇ of a function of parameters [P], by central differences."""
    found = []
    for place in range(len(parameters)):
        ends = []
        for sign in (1, -1):
            moved = np.array(parameters, float)
            moved[place] += sign * STEP
            ends.append(objective(moved))
        found.append((ends[0] - ends[1]) / (2 * STEP))
    return np.array(found)


def all_default_places():
    return [problem_of(name)(**numbers) for name in names("problems") for numbers in problem_of(name).default_places]


# ------------------------------------------------------------------------------------ Gaussian bandits


@pytest.mark.parametrize("sigma", [0.1, 0.3, 1.0])
@pytest.mark.parametrize("bandit", [quadratic.Quadratic, wave.Wave, step.Step])
def test_value_and_gradient_of_a_gaussian_bandit_are_those_of_numerical_integration(bandit, sigma):
    problem = bandit(dimensions=1, sigma=sigma)
    noise = np.linspace(-9, 9, 2_000_001)
    density = np.exp(-(noise**2) / 2) / np.sqrt(2 * np.pi)
    rewards = problem.reward(problem.mean + sigma * noise[:, None])
    width = noise[1] - noise[0]
    assert problem.expected_reward == pytest.approx((density * rewards).sum() * width, abs=1e-5)
    assert problem.truth == pytest.approx([(density * rewards * noise).sum() * width / sigma], abs=1e-5)


@pytest.mark.parametrize("bandit", [quadratic.Quadratic, wave.Wave])
def test_the_slope_of_a_smooth_reward_is_that_of_finite_differences(bandit):
    problem, action = bandit(dimensions=3), np.array([0.3, -1.2, 0.9])
    np.testing.assert_allclose(problem.reward_gradient(action), differences(problem.reward, action), atol=1e-8)


def test_features_of_a_critic_have_the_gradients_that_they_say():
    batch = quadratic.Quadratic(dimensions=2).draw(3, np.random.default_rng(0))
    check_features(batch)


def check_features(batch):
    _, gradients = batch.action_features(batch.chosen, 3)
    for dimension in range(batch.chosen.shape[2]):
        moved = [
            batch.action_features(batch.chosen + sign * STEP * np.eye(batch.chosen.shape[2])[dimension], 3)[0]
            for sign in (1, -1)
        ]
        np.testing.assert_allclose(gradients[..., dimension], (moved[0] - moved[1]) / (2 * STEP), atol=1e-6)


# ------------------------------------------------------------------------------------ regulator


def test_the_regulators_gradient_is_that_of_finite_differences():
    problem = lqr.Regulator()
    numerical = differences(lambda gain: replace(problem, gain=tuple(gain)).expected_return, problem.policy.ravel())
    np.testing.assert_allclose(problem.truth, numerical, rtol=1e-7)


def test_the_regulators_return_is_the_mean_of_what_is_drawn():
    problem = lqr.Regulator()
    returns = problem.draw(200_000, np.random.default_rng(0)).rewards.sum(1)
    assert abs(returns.mean() - problem.expected_return) < 4 * returns.std() / np.sqrt(len(returns))


def test_a_long_horizon_is_the_stationary_one():
    """Values far from the end, and states far from the beginning, solve the discrete Lyapunov equations."""
    problem = lqr.Regulator(horizon=400)
    closed, gain = problem.closed, problem.policy
    values = solve_discrete_lyapunov(closed.T, lqr.Q + gain.T @ lqr.R @ gain)
    moments = solve_discrete_lyapunov(closed, lqr.NOISE**2 * np.eye(2) + problem.sigma**2 * lqr.B @ lqr.B.T)
    np.testing.assert_allclose(problem.cost_to_go[0], values, rtol=1e-9)
    np.testing.assert_allclose(problem.moments[-1], moments, rtol=1e-9)


def test_the_regulators_values_and_slopes_of_actions_agree():
    """Q_t(x, u) = r + E V_{t+1}(x'), whose slope by the action is `value_gradient`."""
    problem = lqr.Regulator(horizon=4)
    batch = problem.draw(5, np.random.default_rng(1))

    def value(actions):
        following = batch.states @ lqr.A.T + actions @ lqr.B.T
        return lqr.rewards(batch.states, actions) - np.einsum(
            "nti,tij,ntj->nt", following, problem.cost_to_go[1:], following
        )

    slopes = (value(batch.chosen + STEP) - value(batch.chosen - STEP)) / (2 * STEP)
    np.testing.assert_allclose(batch.value_gradient(batch.chosen)[..., 0], slopes, atol=1e-8)
    check_features(batch)
    features = batch.state_features
    weights = np.linalg.lstsq(features.reshape(20, -1), batch.values.ravel())[0]
    np.testing.assert_allclose(features @ weights, batch.values, atol=1e-8)  # V is linear in the features


def test_the_regulators_pathwise_gradient_is_that_of_the_same_episode_under_other_gains():
    problem = lqr.Regulator(horizon=6)

    def total(gain):
        return replace(problem, gain=tuple(gain)).draw(3, np.random.default_rng(7)).rewards.sum(1)

    numerical = differences(total, problem.policy.ravel()).T
    np.testing.assert_allclose(problem.draw(3, np.random.default_rng(7)).pathwise, numerical, rtol=1e-6)


def test_with_common_noise_all_episodes_have_the_same_beginning_and_not_the_same_actions():
    batch = lqr.Regulator().draw(4, np.random.default_rng(0), common_noise=True)
    assert (batch.states[:, 0] == batch.states[0, 0]).all()
    assert len(set(batch.noise[:, 0, 0])) == 4
    shifts = batch.states[:, 1:] - batch.states[:, :-1] @ lqr.A.T - batch.chosen[:, :-1] @ lqr.B.T
    np.testing.assert_allclose(shifts, np.broadcast_to(shifts[0], shifts.shape), atol=1e-12)
    apart = lqr.Regulator().draw(4, np.random.default_rng(0))
    assert len(set(apart.states[:, 0, 0])) == 4


# ------------------------------------------------------------------------------------ game, arms, chain


@pytest.mark.parametrize("agents", [2, 3, 5])
def test_the_games_gradient_is_that_of_finite_differences_over_all_joint_actions(agents):
    problem = game.Game(agents)
    joint = np.array(list(itertools.product(range(game.ACTIONS), repeat=agents)))
    rewards = problem.reward(joint)
    np.testing.assert_allclose(problem.joint_rewards().ravel(), rewards)

    def objective(logits):
        policy = softmax(logits.reshape(agents, -1), axis=1)
        return policy[np.arange(agents), joint].prod(1) @ rewards

    np.testing.assert_allclose(problem.truth, differences(objective, np.log(problem.policy).ravel()), atol=1e-8)


def test_the_gradient_of_the_largest_game_is_that_of_its_parts():
    """Rewards of one agent and of two neighbours: their expectations need no joint tensor."""
    problem = game.Game(game.MOST_AGENTS)
    alone, pairs, _ = problem._tables

    def objective(logits):
        policy = softmax(logits.reshape(problem.agents, -1), axis=1)
        following = np.roll(policy, -1, axis=0)
        return (policy * alone).sum() + np.einsum("ia,iab,ib->", policy, pairs, following)

    np.testing.assert_allclose(problem.truth, differences(objective, np.log(problem.policy).ravel()), atol=1e-8)


@pytest.mark.parametrize("agents", [2, 3, 6])
def test_a_counterfactual_reward_is_that_of_the_joint_action_with_one_other_action(agents):
    problem = game.Game(agents)
    batch = problem.draw(20, np.random.default_rng(0))
    for agent, action in itertools.product(range(agents), range(game.ACTIONS)):
        other = batch.joint.copy()
        other[:, agent] = action
        np.testing.assert_allclose(batch.counterfactual_rewards[:, agent, action], problem.reward(other), atol=1e-12)


def test_the_gradient_of_arms_is_that_of_finite_differences():
    problem = arms.Arms(5)
    numerical = differences(lambda logits: softmax(logits) @ problem.means, problem.logits)
    np.testing.assert_allclose(problem.truth, numerical, atol=1e-8)


def test_arms_far_from_zero_pay_between_1000_and_1010_and_have_the_same_gradient():
    far = arms.Arms(5, offset=1010)
    assert far.means.min() >= 1000
    assert far.means.max() <= 1010
    np.testing.assert_allclose(far.truth, arms.Arms(5).truth, atol=1e-9)


def test_the_relaxed_reward_of_a_pure_arm_is_the_arms_own_and_its_slope_is_right():
    problem = arms.Arms(4)

    def reward(mixture):
        return problem.offset - 0.5 * (mixture @ problem.points - arms.TARGET) ** 2

    np.testing.assert_allclose([reward(arm) for arm in np.eye(4)], problem.means)
    batch = problem.draw(3, np.random.default_rng(0))
    mixtures = batch.relaxed(0.7)
    np.testing.assert_allclose(mixtures.sum(1), 1)
    assert (mixtures.argmax(1) == batch.pulled).all()
    np.testing.assert_allclose(batch.mixture_gradient(mixtures)[0], differences(reward, mixtures[0]), atol=1e-8)


@pytest.mark.parametrize("gamma", [0.9, 0.99])
def test_the_chains_gradient_is_that_of_finite_differences(gamma):
    problem = chain.Chain(gamma)

    def objective(free):
        logits = np.column_stack([free.reshape(chain.STATES, -1), np.zeros(chain.STATES)])
        return chain.MDP.initial @ exact.state_values(chain.MDP, softmax(logits, axis=1), gamma)

    free = np.full(chain.STATES * chain.FREE, chain.SLANT)
    numerical = differences(objective, free)
    np.testing.assert_allclose(problem.truth, numerical, atol=1e-7)
    np.testing.assert_allclose(problem.reparameterised().truth, chain.SCALES * numerical, atol=1e-6)


def test_the_chains_natural_gradient_is_the_advantage_over_the_last_action():
    """f_w fits Q where w_sa is A(s,a) less that of the action whose logit is fixed, whatever the visits."""
    problem = chain.Chain(0.9)
    values = problem.action_values
    np.testing.assert_allclose(problem.natural_truth, (values - values[:, -1:])[:, : chain.FREE].ravel(), atol=1e-9)


def test_what_the_chain_sums_by_state_and_action_is_what_every_problem_sums_by_step():
    batch = chain.Chain(0.9, rescaled=True).draw(30, np.random.default_rng(0))
    weights = np.random.default_rng(1).normal(size=batch.rewards.shape)
    np.testing.assert_allclose(batch.weighted_scores(weights), super(chain.Walks, batch).weighted_scores(weights))


# ------------------------------------------------------------------------------------ all problems


@pytest.mark.parametrize("problem", all_default_places(), ids=lambda p: f"{p.name} {p.place}")
def test_scores_values_and_fisher_matrix_of_every_problem_are_those_of_what_is_drawn(problem):
    batch = problem.draw(4_000, np.random.default_rng(3))
    scores = batch.step_scores
    assert len(problem.truth) == scores.shape[-1]
    sums = scores.sum(1)
    assert (np.abs(sums.mean(0)) < 4.5 * sums.std(0) / np.sqrt(len(sums))).all()
    products = np.einsum("t,ntp,ntq->npq", batch.discounts, scores, scores)
    errors = products.std(0) / np.sqrt(len(products)) + 1e-12
    assert (np.abs(products.mean(0) - problem.fisher) < 5 * errors).all()
    begins = batch.returns_to_go[:, 0] - batch.values[:, 0]
    assert abs(begins.mean()) < 4.5 * begins.std() / np.sqrt(len(begins))
    np.testing.assert_allclose(
        batch.returns_to_go[:, 0], batch.rewards @ batch.discounts, atol=1e-9 * np.abs(batch.rewards).max()
    )


TASKS = {
    "quadratic:QuadraticBandit-v0": {"dimensions": 2},
    "wave:WaveBandit-v0": {},
    "step:StepBandit-v0": {},
    "lqr:Regulator-v0": {},
    "game:RingGame-v0": {"agents": 3},
    "arms:Arms-v0": {"offset": 1010.0},
}


@pytest.mark.parametrize(("task", "kwargs"), TASKS.items())
def test_problems_are_tasks(task, kwargs):
    try_task(Task(f"experiments.estimation.problems.{task}", kwargs=kwargs))


def rewards_of(task, action, **kwargs):
    """The rewards of first steps with one action."""
    env = gymnasium.make(f"experiments.estimation.problems.{task}", **kwargs)
    env.reset(seed=0)
    rewards = []
    for _ in range(400):
        env.reset()
        rewards.append(env.step(action)[1])
    return np.array(rewards)


@pytest.mark.parametrize(
    ("task", "action", "kwargs", "expected"),
    [
        ("quadratic:QuadraticBandit-v0", np.array([1.0, 3.0], np.float32), {"dimensions": 2}, -2.0),
        ("wave:WaveBandit-v0", np.zeros(8, np.float32), {}, 1.0),
        ("step:StepBandit-v0", np.array([1.0, -1.0], np.float32), {"dimensions": 2}, 0.5),
        ("game:RingGame-v0", np.array([0, 2, 1]), {"agents": 3}, game.Game(3).reward(np.array([[0, 2, 1]]))[0]),
        ("arms:Arms-v0", 0, {"offset": 1010.0}, arms.Arms(5, 1010.0).means[0]),
    ],
)
def test_a_task_pays_what_its_problem_says(task, action, kwargs, expected):
    rewards = rewards_of(task, action, **kwargs)
    assert abs(rewards.mean() - expected) < 4.5 * rewards.std() / np.sqrt(len(rewards))


def test_the_regulator_as_a_task_ends_after_its_horizon():
    env = gymnasium.make("experiments.estimation.problems.lqr:Regulator-v0", horizon=3)
    env.reset(seed=0)
    assert [env.step(np.zeros(1))[2:4] for _ in range(3)] == [(False, False), (False, False), (True, False)]


@pytest.mark.parametrize(
    ("problem", "numbers", "says"),
    [
        (quadratic.Quadratic, {"sigma": 0}, "sigma must be above 0, not 0"),
        (quadratic.Quadratic, {"dimensions": 0}, "dimensions must be above 0, not 0"),
        (quadratic.Quadratic, {"dimensions": 1.5}, "dimensions must be a whole number, not 1.5"),
        (lqr.Regulator, {"horizon": 2.5}, "horizon must be a whole number, not 2.5"),
        (game.Game, {"agents": 1}, "agents must be a whole number from 2, not 1"),
        (game.Game, {"agents": 40}, r"agents is 40, .* 3\^40 = 1.2e\+19 joint actions; at most 16 are possible"),
        (arms.Arms, {"arms": 1}, "arms must be a whole number from 2, not 1"),
        (chain.Chain, {"gamma": 1.1}, "gamma must be above 0 and at most 1, not 1.1"),
    ],
)
def test_a_number_without_meaning_is_refused(problem, numbers, says):
    with pytest.raises(InvalidPlace, match=says):
        problem(**numbers)
