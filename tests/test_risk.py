"""The exponential utility of returns: its gradient and its limits, and tasks whose best policies are known."""

import itertools

import numpy as np
import pytest
import torch

from algorithms.core.algorithm import InvalidSetting
from algorithms.core.batch import episode_ids
from algorithms.core.rollout import collect
from algorithms.core.task import Task, make_env
from algorithms.reinforce import Reinforce
from algorithms.risk_sensitive import RiskSensitive
from experiments.run import main as run_main
from experiments.tasks import driving, gamble
from experiments.tasks.driving import best_policy
from experiments.tasks.gamble import certainty_equivalents
from tests.tasks import make_learner, random_rollout

ETAS = (-2.0, -0.5, 0.0, 0.5, 2.0)
GAMBLE = Task("experiments.tasks.gamble:Gamble-v0")
OUTCOMES = np.array(list(itertools.product((-1.0, 1.0), repeat=gamble.ROUNDS)))  # every fall of an episode's coins


@pytest.fixture
def rollout():
    """Whole episodes of several environments, and padding after them."""
    made = random_rollout(np.random.default_rng(5), 40, 4, padding=True)
    assert not made.valid.all()
    return made


def whole_returns(rollout, gamma=1.0):
    """float64 [T, N]: Σ_t γ^t r_t of the episode that a step belongs to, by a loop; 0 in padding."""
    returns = np.zeros(rollout.rewards.shape)
    for i in range(returns.shape[1]):
        start = 0
        for t in np.flatnonzero(rollout.done[:, i]):
            rewards = rollout.rewards[start : t + 1, i]
            returns[start : t + 1, i] = (rewards * gamma ** np.arange(len(rewards))).sum()
            start = t + 1
    return returns


# ---------------------------------------------------------------------------------------------- the algorithm


@pytest.mark.parametrize("gamma", [1.0, 0.9])
@pytest.mark.parametrize("eta", ETAS)
def test_the_weight_of_every_step_is_the_utility_of_its_whole_episode(rollout, eta, gamma):
    returns = whole_returns(rollout, gamma)
    expected = np.where(rollout.valid, (np.exp(eta * returns) - 1) / eta if eta else returns, 0.0)
    np.testing.assert_allclose(RiskSensitive(eta=eta, gamma=gamma).advantages(rollout), expected, rtol=1e-9, atol=1e-12)


def test_near_0_the_weights_are_the_return_of_the_whole_episode_to_rounding(rollout):
    returns = whole_returns(rollout)
    np.testing.assert_allclose(RiskSensitive().advantages(rollout), returns, rtol=1e-12, atol=1e-14)
    for eta in (-1e-12, 1e-12):
        np.testing.assert_allclose(RiskSensitive(eta=eta).advantages(rollout), returns, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("eta", [0.0, 1e-12, -1e-12])
def test_an_update_near_0_is_that_of_reinforce_where_all_is_paid_at_the_end(eta):
    """There every step's return is that of the whole episode. Losses, gradients and Adam: the whole update."""
    updated = []
    for algorithm in (RiskSensitive(eta=eta, num_envs=4), Reinforce(gamma=1.0, num_envs=4)):
        envs, learner, rng = make_learner(algorithm, "RandomEnding-v0")
        rollout = collect(envs, learner.policy, learner.normalizer, rng, episodes=3)
        rollout.rewards = np.where(rollout.done, whole_returns(rollout), 0.0)
        learner.update(learner.prepare(rollout), 0.0)
        updated.append(learner.policy.parameter_vector.numpy().copy())
    np.testing.assert_allclose(*updated, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("eta", [-2.0, -1e-9, 1e-9, 0.5, 2.0])
def test_the_gradient_of_the_entropic_risk_is_that_of_its_definition(eta):
    """(1/η) ln mean_i ρ_i exp(η G_i) with the ratio ρ_i = 1 of an episode; its value aside, Ψ is without a constant."""
    rng = np.random.default_rng(0)
    returns = rng.normal(size=12)
    log_probs = torch.zeros(12, dtype=torch.float64, requires_grad=True)
    weights = torch.log_softmax(eta * torch.from_numpy(returns), 0)
    risk = torch.logsumexp(log_probs + weights, 0) / eta - log_probs.mean() / eta
    (expected,) = torch.autograd.grad(risk, log_probs)
    found = RiskSensitive(eta=eta, entropic_risk=True).utilities(returns) / len(returns)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6 if abs(eta) < 1e-3 else 1e-12)


def test_entropic_weights_sum_to_0_near_0_have_the_mean_taken_off_and_never_overflow(rollout):
    returns = np.random.default_rng(1).normal(size=9)
    for eta in (*ETAS, 1e-12):
        assert RiskSensitive(eta=eta, entropic_risk=True).utilities(returns).sum() == pytest.approx(0, abs=1e-9)
    for eta in (0.0, 1e-12, -1e-12):
        found = RiskSensitive(eta=eta, entropic_risk=True).utilities(returns)
        np.testing.assert_allclose(found, returns - returns.mean(), rtol=1e-9)
    for eta in (-1e6, 1e6):
        found = RiskSensitive(eta=eta, entropic_risk=True).utilities(returns)
        assert np.flatnonzero(eta * found > 0).tolist() == [returns.argmax() if eta > 0 else returns.argmin()]
        assert np.abs(eta * found).max() == pytest.approx(len(returns) - 1)
    psi = RiskSensitive(eta=2.0, entropic_risk=True).advantages(rollout)
    assert (psi[~rollout.valid] == 0).all()
    one_of_each = np.unique(episode_ids(rollout)[rollout.valid], return_index=True)[1]
    assert psi[rollout.valid][one_of_each].mean() == pytest.approx(0)  # padding is no episode


def test_the_expected_gradient_is_that_of_the_expected_utility():
    """On one stake of the gamble drawn for each round, with all falls of the coins: exact, by automatic derivation."""
    eta, logits = 0.5, torch.tensor([0.3, -0.2, 0.0, 0.4, 0.1], dtype=torch.float64, requires_grad=True)
    rounds, falls = 2, np.array(list(itertools.product((-1.0, 1.0), repeat=2)))
    log_probs = torch.log_softmax(logits, 0)
    value = torch.logsumexp(log_probs + eta * torch.from_numpy(certainty_equivalents(eta)), 0).exp() ** rounds
    (expected,) = torch.autograd.grad((value - 1) / eta, logits, retain_graph=True)
    loss = torch.tensor(0.0, dtype=torch.float64)
    for stakes in itertools.product(range(5), repeat=rounds):
        of_episode = log_probs[list(stakes)].sum()
        returns = (gamble.MEANS[list(stakes)] + falls * gamble.DEVIATIONS[list(stakes)]).sum(1)
        loss += of_episode.exp().detach() * RiskSensitive(eta=eta).utilities(returns).mean() * of_episode
    (found,) = torch.autograd.grad(loss, logits)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


# ---------------------------------------------------------------------------------------------- mistakes


def test_a_return_whose_utility_overflows_is_named_with_the_value(rollout):
    rollout.rewards = rollout.rewards * 0.0
    rollout.rewards[0, 1] = 25.0
    message = r"eta of RiskSensitive is 2 and an episode has the return 25: the utility, about exp\(50\), is too large"
    with pytest.raises(InvalidSetting, match=message):
        RiskSensitive(eta=2.0).advantages(rollout)
    with pytest.raises(InvalidSetting, match=r"eta of RiskSensitive is -1e\+06 and an episode has the return -25"):
        RiskSensitive(eta=-1e6).utilities(np.array([1.0, -25.0]))
    assert np.isfinite(RiskSensitive(eta=2.0, entropic_risk=True).advantages(rollout)).all()
    assert RiskSensitive(eta=-2.0).advantages(rollout).max() == pytest.approx(0.5)  # no utility is above −1/η


def test_the_largest_utility_that_is_accepted_is_learned_from():
    """Adam's squares in float32 stay finite, so that the parameters move and are numbers."""
    eta = np.log(1e15) / gamble.ROUNDS / 2.06 * 0.99  # the return of five rounds won with the largest stake
    algorithm = RiskSensitive(eta=eta, num_envs=4)
    envs, learner, rng = make_learner(algorithm, GAMBLE.id)
    rollout = collect(envs, learner.policy, learner.normalizer, rng, episodes=2)
    rollout.rewards[:] = np.where(rollout.valid, 2.06, 0.0)
    before = learner.policy.parameter_vector.numpy().copy()
    learner.update(learner.prepare(rollout), 0.0)
    moved = np.abs(learner.policy.parameter_vector.numpy() - before)
    assert np.isfinite(moved).all()
    assert moved.max() == pytest.approx(1e-3, rel=0.1)  # Adam's first step has the length of the learning rate


def test_a_run_with_an_eta_that_overflows_ends_with_the_sentence(tmp_path):
    cell = ["--grid", "risk", "--algorithm", "seeking", "--task", "Gamble", "--seed", "100", "--steps", "320"]
    with pytest.raises(InvalidSetting, match="eta of RiskSensitive is 50 and an episode has the return"):
        run_main([*cell, "--set", "eta=50", "--output", str(tmp_path / "run")])
    assert not (tmp_path / "run" / "run.json").exists()


# ---------------------------------------------------------------------------------------------- the gamble


@pytest.mark.parametrize("eta", ETAS)
def test_the_certainty_equivalent_of_a_stake_is_that_of_all_falls_of_an_episodes_coins(eta):
    returns = gamble.ROUNDS * gamble.MEANS + OUTCOMES.sum(1)[:, None] * gamble.DEVIATIONS  # [outcomes, stakes]
    expected = np.log(np.exp(eta * returns).mean(0)) / eta if eta else returns.mean(0)
    np.testing.assert_allclose(gamble.ROUNDS * certainty_equivalents(eta), expected, rtol=1e-10)


def test_each_attitude_to_risk_has_a_best_stake_of_its_own_by_a_margin():
    for best, eta in enumerate(ETAS):
        worth = np.sort(certainty_equivalents(eta))
        assert certainty_equivalents(eta).argmax() == best
        assert worth[-1] - worth[-2] > 0.06
    assert np.isfinite(certainty_equivalents(1e4)).all()  # the largest pay: m + d
    np.testing.assert_allclose(certainty_equivalents(1e4), gamble.MEANS + gamble.DEVIATIONS, atol=1e-4)
    np.testing.assert_allclose(certainty_equivalents(1e-6), gamble.MEANS, atol=1e-5)


def test_a_round_pays_what_the_stake_says():
    env = make_env(GAMBLE)
    for stake, (mean, deviation) in enumerate(zip(gamble.MEANS, gamble.DEVIATIONS, strict=True)):
        paid, ends = [], []
        for episode in range(200):
            env.reset(seed=episode)
            steps = [env.step(stake) for _ in range(gamble.ROUNDS)]
            paid += [step[1] for step in steps]
            ends.append([step[2] or step[3] for step in steps])
        assert set(paid) == {mean + deviation, mean - deviation}
        assert abs(np.mean(paid) - mean) < 4 * deviation / np.sqrt(len(paid))
        assert ends == [[False] * (gamble.ROUNDS - 1) + [True]] * 200


def test_what_is_learned_of_the_gamble_follows_ones_attitude_to_risk():
    chosen = []
    for eta in (-2.0, 0.0, 2.0):
        algorithm = RiskSensitive(eta=eta, entropic_risk=True, rollout_length=4, policy_learning_rate=3e-3)
        run = algorithm.train(GAMBLE, 101, 20_000, compile="never", evaluations=())
        chosen.append(int(run.policy.act(0)))
    averse, neutral, seeking = chosen
    assert averse < neutral < seeking
    assert (averse in (0, 1), neutral in (1, 2, 3), seeking in (3, 4)) == (
        True,
        True,
        True,
    )  # the best or one beside it


# ---------------------------------------------------------------------------------------------- driving


def worth_of_plan(speeds, eta):
    """The certainty equivalent of driving at these speeds until a crash, by summing over the step of the crash."""
    crashes = driving.CRASHES[speeds]
    alive = np.concatenate([[1.0], np.cumprod(1 - crashes)])
    driven = np.concatenate([[0.0], np.cumsum(speeds)])
    probabilities = np.concatenate([alive[:-1] * crashes, alive[-1:]])
    returns = np.concatenate([driven[:-1] + driving.CRASH, driven[-1:]])
    assert probabilities.sum() == pytest.approx(1)
    return np.log(probabilities @ np.exp(eta * returns)) / eta if eta else probabilities @ returns


def best_plan(eta):
    """The speeds at which the best policy drives."""
    actions, speed, speeds = best_policy(eta)[0], 0, []
    for of_step in actions:
        speed = min(max(speed + driving.CHANGES[of_step[speed]], 0), driving.SPEEDS - 1)
        speeds.append(speed)
    return np.array(speeds)


@pytest.mark.parametrize(("eta", "usual"), [(-0.08, 1), (-0.02, 2), (0.0, 3), (0.02, 4), (0.08, 5)])
def test_the_best_policy_is_worth_what_its_plan_is_and_no_other_plan_is_worth_more(eta, usual):
    plan, worth = best_plan(eta), best_policy(eta)[1][0, 0]
    assert worth == pytest.approx(worth_of_plan(plan, eta))
    assert np.bincount(plan).argmax() == usual
    rng = np.random.default_rng(2)
    for _ in range(300):
        changed = np.clip(plan + rng.integers(-1, 2, len(plan)), 0, driving.SPEEDS - 1)
        other = changed if rng.random() < 0.5 else np.where(rng.random(len(plan)) < 0.2, changed, plan)
        speeds = [0]
        for wished in other:  # by at most 1 a step
            speeds.append(int(np.clip(wished, speeds[-1] - 1, speeds[-1] + 1)))
        assert worth_of_plan(np.array(speeds[1:]), eta) <= worth + 1e-12


def test_a_drive_changes_its_speed_by_one_pays_it_and_may_crash():
    env = make_env(Task("experiments.tasks.driving:Driving-v0"))
    plan, returns = np.minimum(np.arange(1, driving.STEPS + 1), 4), []
    for seed in range(300):
        observation, _ = env.reset(seed=seed)
        assert observation.tolist() == [0.0, 0.0]
        rewards = []
        for t, speed in enumerate(plan):
            observation, reward, terminated, truncated, _ = env.step(2 if t < 4 else 1)
            np.testing.assert_allclose(observation, [speed / 5, (t + 1) / driving.STEPS], rtol=1e-6)
            rewards.append(reward)
            if terminated:
                break
        assert rewards[-1] == (driving.CRASH if terminated else 4)
        assert truncated == (t == driving.STEPS - 1)
        returns.append(sum(rewards))
    expected = worth_of_plan(plan, 0.0)
    assert abs(np.mean(returns) - expected) < 4 * np.std(returns) / np.sqrt(len(returns))
