"""The settings that ablations change: exploration noise, the policy's gain, a critic of actions, scaled rewards."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch

from algorithms.a2c import A2C
from algorithms.core.algorithm import InvalidSetting
from algorithms.core.off_policy_learner import OffPolicyLearner
from algorithms.core.rollout import collect
from algorithms.core.task import Task, UnsupportedTask
from algorithms.core.vector_env import VectorEnv
from algorithms.ddpg import DDPG
from algorithms.ppo import PPO
from algorithms.q_actor_critic import QActorCritic
from algorithms.reinforce import Reinforce
from experiments.cells import preprocessing
from experiments.checks import GridError
from experiments.grid import load_grid
from tests.tasks import Tabular, make_learner

BOX, DISCRETE = "BoxRandomEnding-v0", "RandomEnding-v0"


def written(tmp_path, tasks, algorithms):
    path = tmp_path / "mine.yaml"
    path.write_text(f"steps: 100\nseeds: 1\ntasks: {tasks}\nalgorithms: {algorithms}\nclaims: []\n")
    return str(path)


# ---- exploration noise


def test_exploration_noise_widens_what_is_done_and_the_probability_is_the_policys():
    algorithm = PPO(num_envs=64, exploration_noise=0.75)
    envs, learner, rng = make_learner(algorithm, BOX)
    rollout = collect(envs, learner.behaviour, learner.normalizer, rng, steps=256)
    batch = learner.prepare(rollout)
    with torch.no_grad():
        policy = learner.policy(batch.observations)
        deviations = (batch.actions - policy.mean) / policy.stddev
    assert float(deviations.std()) == pytest.approx(np.hypot(1, 0.75), rel=0.02)
    torch.testing.assert_close(batch.log_probs, policy.log_prob(batch.actions), rtol=1e-5, atol=1e-5)


def test_the_environment_receives_the_noise_within_the_bounds():
    _, learner, rng = make_learner(PPO(num_envs=4, exploration_noise=100.0), "Hit-v0")
    actions = learner.behaviour.act(np.ones((4, 1), np.float32), rng)
    sent = learner.behaviour.to_environment(actions)
    assert np.abs(actions).max() > 2
    assert ((sent == -2) | (sent == 1)).any()
    assert (sent >= -2).all()
    assert (sent <= 1).all()


def test_an_evaluation_is_without_exploration_noise():
    fixed = PPO(num_envs=4, rollout_length=16, policy_learning_rate=0.0)
    runs = [replace(fixed, exploration_noise=noise).train(Task("Hit-v0"), seed=0, steps=640) for noise in (0.0, 2.0)]
    assert runs[0].evaluation == runs[1].evaluation
    returns = [np.mean([episode.return_ for episode in run.episodes]) for run in runs]
    assert returns[1] < returns[0]


def test_after_update_may_change_the_exploration_noise():
    @dataclass(frozen=True)
    class Fading(PPO):
        title: ClassVar[str] = "Fading"

        def after_update(self, record):
            return replace(self, exploration_noise=1.0 - record["progress"])

    _, learner, _ = make_learner(Fading(exploration_noise=1.0), BOX)
    assert learner.behaviour.noise == 1
    learner.adapt({"progress": 0.75})
    assert learner.behaviour.noise == 0.25
    learner.adapt({"progress": 1.0})
    assert learner.behaviour is learner.policy


def test_exploration_noise_is_refused_where_actions_are_not_continuous(tmp_path):
    sentence = r"has actions in Discrete.*, and exploration_noise of PPO is 0\.1; .* set it to 0"
    with pytest.raises(UnsupportedTask, match=rf"^task '{DISCRETE}' {sentence}$"):
        make_learner(PPO(exploration_noise=0.1), DISCRETE)
    grid = written(tmp_path, "[CartPole-v1]", "{ppo: {settings: {exploration_noise: 0.1}}}")
    with pytest.raises(GridError, match=rf"algorithm ppo: task CartPole-v1 {sentence}; or say with only: on which"):
        load_grid(grid)
    with pytest.raises(InvalidSetting, match="exploration_noise of PPO must be finite and not negative"):
        PPO(exploration_noise=-0.1)


# ---- the gain of the policy's last layer


@pytest.mark.parametrize("gain", [0.0, 0.01, 1.0])
def test_the_policys_last_layer_is_orthogonal_of_its_gain(gain):
    _, learner, _ = make_learner(PPO(policy_gain=gain), DISCRETE)
    weight = learner.policy.network[-1].weight.detach()
    torch.testing.assert_close(torch.linalg.svdvals(weight), torch.full((3,), gain), rtol=1e-5, atol=1e-7)
    _, usual, _ = make_learner(PPO(), DISCRETE)
    torch.testing.assert_close(usual.policy.network[-1].weight * gain / 0.01, weight, rtol=1e-5, atol=1e-7)
    hidden = [learner.policy.network[0], usual.policy.network[0]]
    assert torch.equal(hidden[0].weight, hidden[1].weight)
    assert torch.equal(learner.value_function.parameter_vector, usual.value_function.parameter_vector)


def test_a_gain_below_zero_is_refused():
    with pytest.raises(InvalidSetting, match="policy_gain of PPO must be finite and not negative, not -1"):
        PPO(policy_gain=-1)


# ---- a critic of actions


def prepared(algorithm, steps=15):
    envs, learner, rng = make_learner(algorithm, DISCRETE, seed=3, spread=50.0)
    learner.critics["q"].parameter_vector.mul_(3.0)  # a critic that is not nearly zero
    rollout = collect(envs, learner.policy, learner.normalizer, rng, steps=steps)
    return learner, rollout, learner.prepare(rollout)


def at(learner, observation):
    """π(·|s) and Q(s, ·) at one observation."""
    x = torch.from_numpy(observation)[None]
    with torch.no_grad():
        return learner.policy(x).probs[0].double().numpy(), learner.critics["q"](x)[0].double().numpy()


@pytest.mark.parametrize("subtract_mean", [True, False])
def test_q_actor_critic_is_its_definition_through_truncation(subtract_mean):
    gamma = 0.9
    learner, rollout, batch = prepared(QActorCritic(num_envs=4, gamma=gamma, subtract_mean=subtract_mean))
    assert rollout.terminated.any()
    assert rollout.truncated.any()
    advantages, targets, scores = [], [], []
    for t in range(15):
        for i in range(4):
            probabilities, q = at(learner, rollout.observations[t, i])
            advantages.append(q[rollout.actions[t, i]] - subtract_mean * probabilities @ q)
            target, discount = 0.0, 1.0
            for k in range(t, 15):
                target += discount * rollout.rewards[k, i]
                discount *= gamma
                if rollout.done[k, i]:
                    break
            if not rollout.terminated[k, i]:
                target += discount * np.dot(*at(learner, rollout.next_observations[k, i]))
            targets.append(target)
            log_prob = learner.policy(torch.from_numpy(rollout.observations[t, i])[None]).log_prob(
                torch.tensor(rollout.actions[t, i])
            )
            gradient = torch.autograd.grad(log_prob, list(learner.policy.parameters()))
            scores.append(torch.cat([g.reshape(-1) for g in gradient]).double().numpy())
    np.testing.assert_allclose(batch.advantages, advantages, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(batch.critic_targets["q"], targets, rtol=1e-4, atol=1e-4)
    loss = learner.algorithm.policy_loss(learner.policy(batch.observations).log_prob(batch.actions), batch)
    found = torch.autograd.grad(loss, list(learner.policy.parameters()))
    expected = -np.mean(np.array(scores) * np.array(advantages)[:, None], axis=0)
    np.testing.assert_allclose(torch.cat([g.reshape(-1) for g in found]), expected, rtol=1e-3, atol=1e-4)


def test_q_learns_the_values_of_actions_of_a_fixed_policy():
    gamma = 0.9
    algorithm = QActorCritic(num_envs=200, gamma=gamma, policy_learning_rate=0.0, value_learning_rate=1e-2)
    envs, learner, rng = make_learner(algorithm, "Tabular-v0", spread=100.0)
    found = []
    for _ in range(250):
        rollout = collect(envs, learner.policy, learner.normalizer, rng, steps=5)
        learner.update(learner.prepare(rollout), 0.0)
        found.append(learner.critics["q"].values(np.eye(3, dtype=np.float32)))
    probabilities = learner.policy.probabilities(np.eye(3, dtype=np.float32))
    chain = np.einsum("sat,tb->satb", Tabular.TRANSITIONS[:, :, :3], probabilities).reshape(6, 6)
    expected = np.linalg.solve(np.eye(6) - gamma * chain, Tabular.REWARDS.ravel()).reshape(3, 2)
    np.testing.assert_allclose(np.mean(found[-50:], axis=0), expected, rtol=0.1)


def test_probabilities_are_those_of_the_policy_and_zero_where_an_action_is_masked():
    _, learner, _ = make_learner(QActorCritic(), DISCRETE, spread=50.0)
    observations = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    masks = np.array([[True, False, True]] * 5)
    for given in (None, masks):
        found = learner.policy.probabilities(observations, given)
        with torch.no_grad():
            tensors = torch.from_numpy(observations), None if given is None else torch.from_numpy(given)
            np.testing.assert_allclose(found, learner.policy(*tensors).probs, atol=1e-6)
    assert (found[:, 1] == 0).all()


@pytest.mark.parametrize("steps", [3, 20])  # Locks10-v0 is cut after 20
def test_q_of_a_masked_task_heeds_the_mask_after_the_last_step_where_the_episode_goes_on(steps):
    envs, learner, rng = make_learner(QActorCritic(num_envs=4), "experiments.tasks.locks:Locks10-v0")
    rollout = collect(envs, learner.policy, learner.normalizer, rng, steps=steps)
    learner.prepare(rollout)
    assert rollout.truncated[-1].all() == (steps == 20)
    allowed = (rollout.next_probabilities > 0).sum(-1)
    assert (allowed[:-1] == 2).all()
    assert (allowed[-1] == (10 if steps == 20 else 2)).all()
    if steps == 3:
        assert ((rollout.next_probabilities[-1] > 0) == envs.action_masks).all()
        masks = envs.action_masks.copy()
        rollout.action_masks = None  # as where the first mask comes with the last step
        learner.prepare(rollout)
        assert ((rollout.next_probabilities[-1] > 0) == masks).all()


def test_q_of_a_masked_task_heeds_no_action_that_is_not_allowed():
    envs, learner, rng = make_learner(QActorCritic(num_envs=4), "Masked-v0")
    rollout = collect(envs, learner.policy, learner.normalizer, rng, steps=6)
    learner.prepare(rollout)
    assert not rollout.action_masks.all()
    assert (rollout.probabilities[~rollout.action_masks] == 0).all()
    np.testing.assert_allclose(rollout.probabilities.sum(-1), 1.0)
    goes_on = ~rollout.done[:-1]
    np.testing.assert_array_equal(rollout.next_probabilities[:-1][goes_on], rollout.probabilities[1:][goes_on])


def test_a_critic_of_actions_is_refused_where_actions_are_not_discrete(tmp_path):
    sentence = r"has actions in Box.*, and the critic .* of QActorCritic is of the kind 'actions'; .* discrete actions"
    with pytest.raises(UnsupportedTask, match=rf"^task '{BOX}' {sentence}$"):
        make_learner(QActorCritic(), BOX)
    grid = written(tmp_path, "[Hopper-v5]", "[q_actor_critic]")
    with pytest.raises(GridError, match=rf"algorithm q_actor_critic: task Hopper-v5 {sentence}; or say with only:"):
        load_grid(grid)


# ---- scaled rewards


def test_rewards_are_scaled_for_learning_alone():
    runs = []
    for scale in (1.0, 1000.0):
        task = Task("RandomEnding-v0", reward_scale=scale)
        envs, learner, rng = make_learner(A2C(num_envs=4), task)
        rollout = collect(envs, learner.policy, learner.normalizer, rng, steps=15)
        raw = rollout.rewards.copy()
        learner.prepare(rollout)
        np.testing.assert_array_equal(rollout.rewards, scale * raw)
        runs.append((raw, [episode.return_ for episode in envs.episodes]))
    np.testing.assert_array_equal(runs[0][0], runs[1][0])
    assert runs[0][1] == runs[1][1]


def test_a_replay_holds_scaled_rewards():
    kept = []
    for scale in (1.0, 1000.0):
        algorithm, task = DDPG(num_envs=4, rollout_length=8), Task(BOX, reward_scale=scale)
        seeds = np.random.SeedSequence(0).spawn(3)
        envs = VectorEnv(task, 4, seeds[0])
        spaces = envs.observation_size, envs.action_space
        learner = OffPolicyLearner(algorithm, task, *spaces, initialisation=seeds[1], minibatches=seeds[2], steps=1000)
        rollout = collect(envs, learner.behaviour, learner.normalizer, np.random.default_rng(0), steps=8)
        replay = learner.prepare(rollout)
        kept.append(replay.sample(16, np.random.default_rng(0)).rewards.numpy())
    np.testing.assert_allclose(kept[1], 1000 * kept[0], rtol=1e-5)


def test_reinforces_gradient_grows_with_the_scale_and_a_normalised_one_does_not():
    norms = {}
    for algorithm in (Reinforce(num_envs=4), Reinforce(num_envs=4, normalize_advantages=True)):
        for scale in (1.0, 1000.0):
            envs, learner, rng = make_learner(algorithm, Task("RandomEnding-v0", reward_scale=scale))
            rollout = collect(envs, learner.policy, learner.normalizer, rng, episodes=3)
            record = learner.update(learner.prepare(rollout), 0.0)
            norms[algorithm.normalize_advantages, scale] = record["policy_gradient_norm"]
    assert norms[False, 1000.0] == pytest.approx(1000 * norms[False, 1.0], rel=1e-4)
    assert norms[True, 1000.0] == pytest.approx(norms[True, 1.0], rel=1e-4)


def test_normalised_rewards_are_scaled_before_they_are_normalised():
    found = []
    for scale in (1.0, 1000.0):
        task = Task("RandomEnding-v0", normalize_rewards=True, reward_scale=scale)
        envs, learner, rng = make_learner(A2C(num_envs=8), task)
        rollout = collect(envs, learner.policy, learner.normalizer, rng, steps=15)
        learner.prepare(rollout)
        found.append(rollout.rewards)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4)


@pytest.mark.parametrize("scale", [0, -1.0, float("nan"), float("inf"), True, "1000"])
def test_a_scale_that_is_none_is_refused(scale, tmp_path):
    with pytest.raises(UnsupportedTask, match="task 'CartPole-v1': reward_scale must be a finite number above 0, not"):
        Task("CartPole-v1", reward_scale=scale)
    grid = written(tmp_path, f"{{CartPole-v1: {{reward_scale: {scale!r}}}}}", "[ppo]")
    with pytest.raises(GridError, match="reward_scale of task CartPole-v1 must be a number above 0, not"):
        load_grid(grid)


def test_a_grid_says_the_scale_of_the_tasks_that_have_one(tmp_path):
    tasks = "{Scaled: {id: CartPole-v1, reward_scale: 1e3, reference_score: 475, reference_source: x}, CartPole-v1: {}}"
    grid = load_grid(written(tmp_path, tasks, "[ppo]"))
    assert grid.tasks["Scaled"].task.reward_scale == 1000
    assert preprocessing(grid.tasks["Scaled"].task)["reward_scale"] == 1000
    assert "reward_scale" not in preprocessing(grid.tasks["CartPole-v1"].task)
    assert grid.tasks["Scaled"].random_score == grid.tasks["CartPole-v1"].random_score


def test_a_librarys_algorithm_sees_scaled_rewards():
    pytest.importorskip("stable_baselines3")
    from experiments.library_training import LibraryEnvs

    rewards = []
    for scale in (1.0, 1000.0):
        envs = VectorEnv(Task("RandomEnding-v0", reward_scale=scale), 4, np.random.SeedSequence(0))
        adapted = LibraryEnvs(envs, 100)
        adapted.step_async(np.zeros(4, np.int64))
        rewards.append(adapted.step_wait()[1])
    np.testing.assert_allclose(rewards[1], 1000 * rewards[0], rtol=1e-6)
