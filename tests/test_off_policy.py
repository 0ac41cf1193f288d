"""Off-policy algorithms: their targets and gradients against known answers, their replay, and whole runs."""

import itertools
import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from torch import nn

from algorithms.core import off_policy_update
from algorithms.core.acting import BoundedActor
from algorithms.core.algorithm import InvalidAlgorithm, InvalidSetting
from algorithms.core.bounded_policy import log_prob_of_tanh
from algorithms.core.off_policy_learner import OffPolicyLearner
from algorithms.core.off_policy_update import Networks, Noise, OffPolicyUpdate
from algorithms.core.replay import Replay, Transitions
from algorithms.core.rollout import collect
from algorithms.core.run_check import checked_training
from algorithms.core.saved_policy import InvalidPolicy, SavedPolicy, load_policy
from algorithms.core.task import CannotResume, Task, UnsupportedTask
from algorithms.core.vector_env import VectorEnv
from algorithms.ddpg import DDPG
from algorithms.sac import SAC
from algorithms.td3 import TD3
from experiments import run as command
from experiments.checks import GridError
from experiments.grid import load_grid
from tests.tasks import OFF_POLICY, random_rollout
from tests.test_resuming import interrupted, numbers

B, D, A = 16, 3, 2
SMALL = {"hidden_sizes": (8, 8), "batch_size": 16, "learning_starts": 20}
SPACE = Box(-1, 1, (A,), np.float32)
every_algorithm = pytest.mark.parametrize("name", OFF_POLICY)


def a_batch(seed=0, size=B) -> Transitions:
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=(size, D)), rng.uniform(-1, 1, (size, A)), rng.normal(size=size)]
    arrays += [rng.normal(size=(size, D)), rng.random(size) < 0.3]
    return Transitions(*(torch.tensor(x.astype(np.float32)) for x in arrays))


def some_noise(seed=1, size=B) -> Noise:
    rng = np.random.default_rng(seed)
    return Noise(*(torch.from_numpy(rng.standard_normal((size, A), np.float32)) for _ in range(2)))


def networks_of(algorithm, seed=0, rates=1e-2) -> Networks:
    networks = Networks(algorithm, D, SPACE, torch.Generator().manual_seed(seed))
    networks.set_learning_rates(rates, rates)
    for target in networks.of_targets:  # otherwise a test could not tell a target from what it follows
        target.vector.mul_(1.1)
    return networks


def vectors(networks) -> dict[str, torch.Tensor]:
    return {of.name: of.vector.clone() for of in networks.all()}


# ------------------------------------------------------------------------------------ the equations


def test_the_files_are_found():
    assert {"ddpg", "td3", "sac"} <= OFF_POLICY.keys()


def test_targets_are_the_published_ones():
    batch = a_batch()
    values, log_probs = torch.randn(2, B), torch.randn(B)
    going_on = 1 - batch.terminated
    found = DDPG(gamma=0.9).targets(batch, values[:1], torch.zeros(B))
    torch.testing.assert_close(found, batch.rewards + 0.9 * going_on * values[0])
    found = TD3(gamma=0.9).targets(batch, values, torch.zeros(B))
    torch.testing.assert_close(found, batch.rewards + 0.9 * going_on * torch.minimum(values[0], values[1]))
    found = SAC(gamma=0.9, temperature=0.3).targets(batch, values, log_probs)
    soft = torch.minimum(values[0], values[1]) - 0.3 * log_probs
    torch.testing.assert_close(found, batch.rewards + 0.9 * going_on * soft)


def test_td3_smooths_its_targets_within_two_bounds():
    noise = torch.tensor([[0.5], [10.0], [-10.0], [10.0]])
    actions = torch.tensor([[0.1], [0.1], [0.1], [0.9]])
    found = TD3(smoothing_noise=0.2, smoothing_clip=0.5).target_actions(actions, noise, a_batch(size=4))
    torch.testing.assert_close(found, torch.tensor([[0.2], [0.6], [-0.4], [1.0]]))


def test_the_log_probability_of_a_squashed_action_is_that_of_torch():
    mean, log_std, noise = (x.requires_grad_() for x in torch.randn(3, B, A, dtype=torch.float64))
    u = mean + log_std.exp() * noise
    gaussian = torch.distributions.Normal(mean, log_std.exp())
    squashed = torch.distributions.TransformedDistribution(gaussian, torch.distributions.TanhTransform(cache_size=1))
    expected = squashed.log_prob(torch.tanh(u)).sum(1)
    torch.testing.assert_close(log_prob_of_tanh(u, noise, log_std), expected)


def quadratic(observations, actions):
    """Q(s, a) = −½ ‖a − s_{:A}‖², which is best at the first numbers of the state."""
    return -0.5 * (actions - observations[:, :A]).square().sum(1)


def policy_gradient(algorithm, batch, noise, monkeypatch):
    """The networks, and the gradient [P] of the policy from critics that are `quadratic`."""
    networks, found = networks_of(algorithm), []
    networks.critics = [quadratic] * algorithm.critic_count
    monkeypatch.setattr(off_policy_update, "take_adam_step", lambda state, gradient, epsilon: found.append(gradient))
    OffPolicyUpdate(networks).step(algorithm, batch, noise, moves_policy=True)
    return networks, found[-1]


def test_the_deterministic_policy_gradient_is_that_of_a_quadratic_critic(monkeypatch):
    """With a = tanh(W s + b): ∇_W = E[ −∇_a Q (1 − a²) sᵀ ], ∇_a Q = −(a − s)."""
    batch = a_batch()
    networks, gradient = policy_gradient(DDPG(hidden_sizes=()), batch, Noise(None, None), monkeypatch)
    layer, s = networks.policy.network[0], batch.observations
    with torch.no_grad():
        a = torch.tanh(layer(s))
        by_output = (a - s[:, :A]) * (1 - a**2) / B
        expected = torch.cat([(by_output.T @ s).ravel(), by_output.sum(0)])
    torch.testing.assert_close(gradient, expected)


def test_the_reparameterised_gradient_is_that_of_a_quadratic_critic(monkeypatch):
    """With u = μ + σ ε, a = tanh(u): ∂L/∂μ = 2 α a − ∇_a Q (1 − a²), ∂L/∂log σ = −α + σ ε ∂L/∂μ; log σ is clamped."""
    alpha, batch, noise = 0.7, a_batch(), some_noise()
    algorithm = SAC(hidden_sizes=(), temperature=alpha)
    networks, gradient = policy_gradient(algorithm, batch, noise, monkeypatch)
    layer, s = networks.policy.network[0], batch.observations
    with torch.no_grad():
        mean, log_std = layer(s).split(A, dim=1)
        a = torch.tanh(mean + log_std.exp() * noise.actions)
        by_mean = 2 * alpha * a + (a - s[:, :A]) * (1 - a**2)
        by_log_std = -alpha + log_std.exp() * noise.actions * by_mean
        by_output = torch.cat([by_mean, by_log_std], dim=1) / B
        expected = torch.cat([(by_output.T @ s).ravel(), by_output.sum(0)])
    torch.testing.assert_close(gradient, expected)


def test_the_temperature_takes_adams_steps_on_its_logarithm():
    algorithm = SAC(temperature=0.5, temperature_learning_rate=0.01, target_entropy=-1.5)
    log_alpha = torch.tensor(math.log(0.5), dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([log_alpha], lr=0.01)
    for entropy in np.random.default_rng(0).normal(size=30):
        algorithm = algorithm.after_update({"entropy": entropy, "action_size": 2.0})
        adam.zero_grad()
        (log_alpha * (entropy + 1.5)).backward()
        adam.step()
        assert algorithm.temperature == pytest.approx(math.exp(log_alpha.item()), rel=1e-12)
    assert algorithm.after_update({"critic_loss": 1.0}) is algorithm  # the policy did not move


def test_what_adam_keeps_of_the_temperature_is_no_setting():
    before = SAC(temperature=0.5)
    after = before.after_update({"entropy": 1.0, "action_size": 2.0})
    assert after.temperature_steps == 1.0
    assert after.temperature_mean != 0 != after.temperature_square
    assert after.settings().keys() == before.settings().keys()
    assert {x for x in before.settings() if x.startswith("temperature")} == {"temperature", "temperature_learning_rate"}
    with pytest.raises(InvalidSetting, match=r"^SAC has no setting 'temperature_mean'; "):
        SAC.from_settings({"temperature_mean": 1.0})
    assert SAC(**before.settings()) == before != after


def test_a_temperature_that_grows_without_end_diverges_and_a_larger_rate_is_refused():
    algorithm = SAC(temperature_learning_rate=1.0, target_entropy=1e6)
    for _ in range(2_000):  # exp(1)^2000 is beyond what a float holds
        algorithm = algorithm.after_update({"entropy": 0.0, "action_size": 1.0})
    assert math.isinf(algorithm.temperature)
    with pytest.raises(InvalidSetting, match="temperature_learning_rate of SAC must be between 0 and 1"):
        SAC(temperature_learning_rate=1e3)


def test_the_temperature_rises_where_entropy_is_below_minus_the_size_of_an_action():
    below = SAC().after_update({"entropy": -2.1, "action_size": 2.0})
    above = SAC().after_update({"entropy": -1.9, "action_size": 2.0})
    assert above.temperature < 1.0 < below.temperature
    assert SAC(temperature_learning_rate=0.0).after_update({"entropy": 5.0, "action_size": 2.0}).temperature == 1.0


# ------------------------------------------------------------------------------------ one update


def reference_step(algorithm, networks, batch, noise, moves_policy):
    """The parameters after a step, by Torch's modules and optimisers; the networks stay as they are."""
    a = algorithm
    policy, critics, targets, old_policy = (
        [_copy(x.network) for x in of]
        for of in (
            [networks.policy],
            networks.critics,
            networks.target_critics,
            [networks.target_policy or networks.policy],
        )
    )

    def act(network, s, epsilon):
        out = network(s)
        if not a.stochastic:
            return out.tanh(), torch.zeros(len(s))
        normal = torch.distributions.Normal(out[:, :A], out[:, A:].clamp(-20, 2).exp())
        u = normal.mean + normal.stddev * epsilon
        return u.tanh(), normal.log_prob(u).sum(1) - torch.log(1 - u.tanh() ** 2 + 1e-9).sum(1)

    def q(network, s, actions):
        return network(torch.cat([s, actions], 1))[:, 0]

    with torch.no_grad():
        next_actions, log_probs = act(old_policy[0], batch.next_observations, noise.next_actions)
        if isinstance(a, TD3):
            next_actions = (next_actions + (0.2 * noise.next_actions).clamp(-0.5, 0.5)).clamp(-1, 1)
        following = torch.stack([q(x, batch.next_observations, next_actions) for x in targets]).min(0).values
        if isinstance(a, SAC):
            following = following - a.temperature * log_probs
        y = batch.rewards + a.gamma * (1 - batch.terminated) * following
    adam = torch.optim.Adam([p for x in critics for p in x.parameters()], lr=1e-2)
    errors = [nn.functional.mse_loss(q(x, batch.observations, batch.actions), y) for x in critics]
    (sum(errors) * (0.5 if isinstance(a, SAC) else 1.0)).backward()
    adam.step()
    if moves_policy:
        adam = torch.optim.Adam(policy[0].parameters(), lr=1e-2)
        actions, log_probs = act(policy[0], batch.observations, noise.actions)
        values = torch.stack([q(x, batch.observations, actions) for x in critics])
        loss = (a.temperature * log_probs - values.min(0).values).mean() if isinstance(a, SAC) else -values[0].mean()
        loss.backward()
        adam.step()
        followed = zip(targets + (old_policy if a.target_policy else []), critics + policy, strict=False)
        with torch.no_grad():
            for follower, leader in followed:
                for old, new in zip(follower.parameters(), leader.parameters(), strict=True):
                    old.copy_((1 - a.tau) * old + a.tau * new)
    found = [*policy, *critics, *targets, *(old_policy if a.target_policy else [])]
    return [nn.utils.parameters_to_vector(x.parameters()).detach() for x in found]


def _copy(network):
    """A network with the same parameters, that shares no memory."""
    layers = []
    for layer in network:
        layers.append(layer)
        if isinstance(layer, nn.Linear):
            layers[-1] = nn.Linear(layer.in_features, layer.out_features)
            layers[-1].load_state_dict(layer.state_dict())
    return nn.Sequential(*layers)


@pytest.mark.parametrize("moves_policy", [True, False])
@pytest.mark.parametrize(
    "algorithm",
    [DDPG(), TD3(), SAC(temperature=0.3), SAC(activation="tanh", tau=0.5)],
    ids=["ddpg", "td3", "sac", "tanh"],
)
def test_one_update_is_that_of_a_direct_reference(algorithm, moves_policy):
    algorithm = replace(algorithm, hidden_sizes=(8, 8))
    networks, batch, noise = networks_of(algorithm), a_batch(), some_noise()
    expected = reference_step(algorithm, networks, batch, noise, moves_policy)
    OffPolicyUpdate(networks).step(algorithm, batch, noise, moves_policy=moves_policy)
    for of, vector in zip(networks.all(), expected, strict=True):
        torch.testing.assert_close(of.vector, vector, rtol=1e-4, atol=1e-6, msg=of.name)


@every_algorithm
def test_targets_begin_equal_and_follow_slowly(name):
    algorithm = OFF_POLICY[name](**SMALL, tau=0.25)
    networks = Networks(algorithm, D, SPACE, torch.Generator().manual_seed(0))
    networks.set_learning_rates(1e-2, 1e-2)
    leaders = [*networks.of_critics, *([networks.of_policy] if algorithm.target_policy else [])]
    for leader, target in zip(leaders, networks.of_targets, strict=True):
        assert torch.equal(leader.vector, target.vector)
        assert leader.vector.data_ptr() != target.vector.data_ptr()
    before = vectors(networks)
    OffPolicyUpdate(networks).step(algorithm, a_batch(), some_noise(), moves_policy=True)
    for leader, target in zip(leaders, networks.of_targets, strict=True):
        expected = 0.75 * before[target.name] + 0.25 * leader.vector
        torch.testing.assert_close(target.vector, expected)
        assert not torch.equal(leader.vector, before[leader.name])


def test_the_critics_of_an_algorithm_begin_different():
    networks = networks_of(SAC(**SMALL))
    assert not torch.equal(networks.of_critics[0].vector, networks.of_critics[1].vector)


def test_the_policy_of_td3_waits_for_its_critics():
    learner = filled_learner(TD3(**SMALL, policy_delay=3))
    for number in range(1, 7):
        before = vectors(learner.networks)
        record = learner.update(learner.replay, 0.0)
        after = vectors(learner.networks)
        moved = {name for name in before if not torch.equal(before[name], after[name])}
        critics = {"critic_1", "critic_2"}
        assert moved == (set(before) if number % 3 == 0 else critics)
        assert ("policy_loss" in record) == (number % 3 == 0)


def test_what_a_method_returns_is_checked():
    @dataclass(frozen=True)
    class WrongTargets(DDPG):
        title: ClassVar[str] = "Wrong"

        def targets(self, batch, next_values, next_log_probs):
            return next_values.T * batch.rewards

    @dataclass(frozen=True)
    class NoGradient(DDPG):
        title: ClassVar[str] = "Wrong"

        def policy_loss(self, values, log_probs, batch):
            return values.detach().mean()

    for wrong, said in (
        (WrongTargets, r"targets returned a tensor of shape \(16, 16\)"),
        (NoGradient, "without a gradient"),
    ):
        algorithm = wrong(**SMALL)
        with pytest.raises(InvalidAlgorithm, match=said):
            OffPolicyUpdate(networks_of(algorithm)).step(algorithm, a_batch(), some_noise(), moves_policy=True)


# ------------------------------------------------------------------------------------ the replay


def a_rollout(numbers, num_envs=1):
    """A rollout whose observations, actions and rewards are these numbers, step after step."""
    rollout = random_rollout(np.random.default_rng(0), len(numbers) // num_envs, num_envs)
    rollout.rewards = np.array(numbers, np.float64).reshape(-1, num_envs)
    rollout.observations = rollout.rewards[..., None].astype(np.float32)
    rollout.next_observations = rollout.observations + 1
    rollout.actions = rollout.observations / 100
    rollout.terminated = rollout.rewards % 2 == 0
    return rollout


@pytest.mark.parametrize(
    ("lengths", "kept"),
    [
        ([3], [0, 1, 2]),
        ([3, 2], [0, 1, 2, 3, 4]),
        ([3, 4], [5, 6, 2, 3, 4]),
        ([3, 2, 2, 5], [10, 11, 7, 8, 9]),
        ([12], [10, 11, 7, 8, 9]),
        ([2, 10, 1], [10, 11, 12, 8, 9]),
    ],
)
def test_the_replay_keeps_the_latest_transitions(lengths, kept):
    replay, numbers_of = Replay(5, 1, 1), itertools.count()
    for length in lengths:
        replay.add(a_rollout(list(itertools.islice(numbers_of, length))))
    assert len(replay) == len(kept)
    assert replay.added == sum(lengths)
    rows = replay.rows[: len(replay)]
    assert rows[:, 0].tolist() == kept
    expected = [[n, n / 100, n + 1, n, n % 2 == 0] for n in rows[:, 0]]
    np.testing.assert_array_equal(rows, np.array(expected, np.float32))


def test_samples_are_uniform_and_whole():
    replay = Replay(10, 1, 1)
    replay.add(a_rollout([1, 2, 3, 4, 5, 6], num_envs=2))
    batch = replay.sample(6000, np.random.default_rng(0))
    counts = np.bincount(batch.rewards.numpy().astype(int), minlength=7)
    assert counts[0] == 0
    assert (np.abs(counts[1:] - 1000) < 120).all()
    assert torch.equal(batch.observations[:, 0], batch.rewards)
    assert torch.equal(batch.next_observations[:, 0], batch.rewards + 1)
    assert torch.equal(batch.terminated, (batch.rewards % 2 == 0).float())
    assert {x.dtype for x in batch} == {torch.float32}


def learner_of(algorithm, task, steps=1000):
    task = Task(task) if isinstance(task, str) else task
    environments, initialisation, minibatches, acting = np.random.SeedSequence(0).spawn(4)
    envs = VectorEnv(task, algorithm.num_envs, environments)
    learner = OffPolicyLearner(
        *(algorithm, task, envs.observation_size, envs.action_space),
        initialisation=initialisation,
        minibatches=minibatches,
        steps=steps,
    )
    return envs, learner, np.random.default_rng(acting)


def filled_learner(algorithm, task="BoxRandomEnding-v0", steps=30):
    envs, learner, rng = learner_of(algorithm, task)
    learner.prepare(collect(envs, learner.behaviour, learner.normalizer, rng, steps=steps))
    return learner


def test_a_time_limit_is_no_termination_and_the_successor_is_the_true_one():
    """Counting shows (number, episode, step): of the last step of an episode the successor is step 3 of the same."""
    replay = filled_learner(SAC(**SMALL), "BoxTruncating-v0").replay
    rows = replay.rows[: len(replay)]
    states, successors = rows[:, :3], rows[:, 5:8]
    assert (rows[:, -1] == 0).all()
    assert set(successors[:, 2]) == {1, 2, 3}
    np.testing.assert_array_equal(successors[:, 1:], states[:, 1:] + [0, 1])


def test_a_termination_is_kept(monkeypatch):
    replay = filled_learner(SAC(**SMALL), "BoxRandomEnding-v0", steps=400).replay
    assert 0.1 < replay.rows[: len(replay), -1].mean() < 0.25


def test_what_is_learned_of_an_ended_episode_is_its_reward_alone():
    algorithm, batch, noise = SAC(**SMALL), a_batch(), some_noise()
    ended = batch._replace(terminated=torch.ones(B))
    assert torch.equal(OffPolicyUpdate(networks_of(algorithm)).targets(algorithm, ended, noise), batch.rewards)


def test_normalisation_is_of_the_time_of_the_sample():
    task = Task("BoxRandomEnding-v0", normalize_observations=True, normalize_rewards=True)
    learner = filled_learner(SAC(**SMALL), task, steps=200)
    kept = learner.replay.rows[:200].copy()
    learner.normalizer.update(kept[:, :2])
    sampled = learner._normalized(learner.replay.sample(500, np.random.default_rng(0)))
    raw = learner.replay.sample(500, np.random.default_rng(0))
    np.testing.assert_allclose(sampled.observations, learner.normalizer(raw.observations.numpy()))
    np.testing.assert_allclose(sampled.next_observations, learner.normalizer(raw.next_observations.numpy()))
    np.testing.assert_allclose(sampled.rewards, learner.reward_scaler(raw.rewards.numpy()), rtol=1e-6)
    assert sampled.observations.mean(0).abs().max() < 0.2
    np.testing.assert_array_equal(learner.replay.rows[:200], kept)


def test_the_scale_of_rewards_is_that_of_the_replay_alone():
    plain, scaled = (
        filled_learner(SAC(**SMALL), Task("BoxRandomEnding-v0", reward_scale=scale), steps=50) for scale in (1.0, 10.0)
    )
    np.testing.assert_allclose(scaled.replay.rows[:50, -2], 10 * plain.replay.rows[:50, -2], rtol=1e-6)
    np.testing.assert_array_equal(scaled.replay.rows[:50, :-2], plain.replay.rows[:50, :-2])


# ------------------------------------------------------------------------------------ acting


@every_algorithm
def test_numpy_acts_as_torch_does(name):
    networks = networks_of(OFF_POLICY[name](**SMALL))
    observations = a_batch().observations
    with torch.no_grad():
        expected, _ = networks.policy(observations, torch.zeros(B, A))
    found = networks.policy.act(observations.numpy(), np.random.default_rng(0), mode=True)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert found.dtype == np.float32


def test_samples_of_sac_have_the_density_that_it_learns_with():
    policy = networks_of(SAC(**SMALL)).policy
    observations = np.repeat(a_batch(size=1).observations.numpy(), 40_000, axis=0)
    actions = policy.act(observations, np.random.default_rng(0))
    with torch.no_grad():
        outputs = policy.network(torch.from_numpy(observations[:1]))[0].numpy()
    u = np.arctanh(actions.astype(np.float64))
    np.testing.assert_allclose(u.mean(0), outputs[:A], atol=0.02)
    np.testing.assert_allclose(u.std(0), np.exp(outputs[A:]), rtol=0.02)


def test_actions_are_scaled_to_the_box():
    actor = BoundedActor()
    actor.low, actor.high, actor.dtype = np.float32([-2, 0]), np.float32([2, 10]), np.dtype(np.float32)
    found = actor.to_environment(np.float32([[-1, -1], [0, 0], [1, 0.5]]))
    np.testing.assert_allclose(found, [[-2, 0], [0, 5], [2, 7.5]])
    assert found.dtype == np.float32


def test_actions_are_random_until_learning_starts_and_noisy_afterwards():
    envs, learner, rng = learner_of(DDPG(**SMALL, exploration_noise=0.5), "BoxRandomEnding-v0")

    def some():
        return learner.behaviour.act(np.zeros((20_000, 2), np.float32), rng)

    actions = some()
    assert actions.min() < -0.99
    assert abs(actions.std() - math.sqrt(1 / 3)) < 0.01
    for steps, random in ((19, True), (1, False)):
        learner.prepare(collect(envs, learner.behaviour, learner.normalizer, rng, steps=steps))
        assert learner.behaviour.random == random
        assert (learner.update(learner.replay, 0.0) == {}) == random
    actions, own = some(), learner.policy.act(np.zeros((1, 2), np.float32), rng)
    noise = actions - own
    inside = np.abs(actions) < 1
    assert np.abs(actions).max() == 1.0
    assert abs(noise[inside.all(1)].mean()) < 0.1
    assert 0.3 < noise.std() < 0.55
    own_again = learner.policy.act(np.zeros((5, 2), np.float32), rng)
    assert (own_again == own).all()  # an evaluation has no noise


# ------------------------------------------------------------------------------------ whole runs


@every_algorithm
@pytest.mark.parametrize("num_envs", [1, 3])
def test_a_run_is_complete_and_repeats_itself(name, num_envs):
    algorithm = OFF_POLICY[name](
        **SMALL, num_envs=num_envs, rollout_length=2, gradient_steps=3, anneal_learning_rate=True
    )
    options = {"checkpoint_fractions": [0.5], "evaluate_every": 200, "evaluate_episodes": 1}
    run, again = (checked_training(algorithm, Task("Pendulum-v1"), 3, 601, **options) for _ in range(2))
    assert run.status == "done"
    assert run.steps_taken == (601 if num_envs == 1 else 603)
    rollouts, random = math.ceil(601 / (2 * num_envs)), math.ceil(20 / (2 * num_envs))
    assert run.updates_made == rollouts - random + 1  # the first is at the end of the last random rollout
    assert sum(row["updates"] for row in run.updates) == run.updates_made
    assert {"critic_loss", "value_mean", "policy_loss", "learning_rate"} <= run.updates[-1].keys()
    assert run.updates[-1]["step"] == run.steps_taken
    assert run.updates[-1]["learning_rate"] < 0.02 * algorithm.policy_learning_rate
    assert [e.step for e in run.evaluations if e.kind == "mode"] == [
        e.step for e in run.evaluations if e.kind == "sampled"
    ]
    assert numbers(run) == numbers(again)
    other = checked_training(algorithm, Task("Pendulum-v1"), 4, 601, **options)
    assert numbers(run) != numbers(other)


def test_a_deterministic_policy_samples_its_own_action():
    run = TD3(**SMALL).train(Task("BoxTruncating-v0"), 0, 60)
    assert run.policy.act(np.zeros(3), mode=False).tolist() == run.policy.act(np.zeros(3)).tolist()


def test_every_environment_step_counts():
    run = TD3(**SMALL, num_envs=4).train(Task("BoxTruncating-v0"), 0, 90)
    assert run.steps_taken == 92
    assert [episode.length for episode in run.episodes] == [3] * 28


def test_a_run_that_diverges_ends_there():
    run = DDPG(**SMALL, value_learning_rate=1e30).train(Task("Pendulum-v1"), 0, 100)
    assert run.status == "diverged"
    assert "not finite" in run.diverged_because
    assert run.policy is None


@every_algorithm
@pytest.mark.parametrize("after", [5, 60])
def test_a_training_goes_on_with_the_numbers_of_one_that_was_not_interrupted(name, after, tmp_path):
    algorithm = OFF_POLICY[name](**SMALL, num_envs=2, buffer_size=100)
    task = Task("Pendulum-v1", normalize_observations=True, normalize_rewards=True)
    options = {"checkpoint_fractions": [0, 0.4, 1], "evaluate_every": 100, "evaluate_episodes": 1, "compile": "never"}
    whole = checked_training(algorithm, task, 3, 300, **options)
    paused = interrupted(algorithm, task, 300, tmp_path / "x", after=after, **options)
    assert numbers(checked_training(algorithm, task, 3, 300, trained=paused, **options)) == numbers(whole)


@pytest.mark.parametrize(
    "forget",
    [
        lambda learner: learner["networks"]["policy"]["mean"].fill(0),
        lambda learner: learner["networks"]["critic_2"]["square"].fill(1),
        lambda learner: learner["networks"]["target_critic_1"]["vector"].fill(0),
        lambda learner: learner["replay"]["rows"].fill(0),
        lambda learner: learner["replay"].update(added=7),
        lambda learner: learner["reward_scaler"]["returns"].fill(0),
        lambda learner: learner["numbers"].fill(0.5),
        lambda learner: learner.update(minibatches=np.random.default_rng(1).bit_generator.state),
        lambda learner: learner.update(gradient_steps=0),
    ],
)
def test_all_that_is_kept_is_needed(forget, tmp_path):
    """A test that can fail: without any one part of the learner's state the run is another one."""
    algorithm = SAC(**SMALL, buffer_size=100, policy_delay=2)
    task = Task("Pendulum-v1", normalize_rewards=True)
    options = {"evaluations": (), "compile": "never"}
    whole = checked_training(algorithm, task, 3, 200, **options)
    paused = interrupted(algorithm, task, 200, tmp_path / "x", after=90, **options)
    forget(paused.state["learner"])
    assert numbers(checked_training(algorithm, task, 3, 200, trained=paused, **options)) != numbers(whole)


def test_a_replay_that_is_too_large_is_not_kept(monkeypatch):
    learner = filled_learner(SAC(**SMALL))
    learner.snapshot()
    monkeypatch.setattr("algorithms.core.off_policy_learner.LARGEST_KEPT", 100)
    with pytest.raises(
        CannotResume, match=r"the replay has 30 transitions of 32 bytes, and at most 100 bytes are kept"
    ):
        learner.snapshot()


@every_algorithm
def test_every_algorithm_hits_a_continuous_target(name):
    """Ten steps that pay 1 each less what the action misses by: 10 at most, about −25 at the start."""
    settings = {"hidden_sizes": (32, 32), "batch_size": 64, "policy_learning_rate": 1e-3, "gamma": 0.0, "tau": 0.05}
    if name == "sac":
        settings["temperature"] = 0.05
    run = OFF_POLICY[name](**settings, value_learning_rate=3e-3).train(Task("Hit-v0"), 0, 2500)
    assert np.mean(run.evaluation["mode"].returns) > 9.0
    assert np.mean(run.evaluation["sampled"].returns) > 7.0


def test_ddpg_learns_to_hold_the_pendulum():
    """Random actions have −1,200."""
    run = DDPG(hidden_sizes=(64, 64)).train(Task("Pendulum-v1"), 0, 4000)
    assert np.mean(run.evaluation["mode"].returns) > -400


# ------------------------------------------------------------------------------------ the kept policy


@every_algorithm
def test_a_kept_policy_acts_as_in_the_run(name, tmp_path):
    task = Task("BoxRandomEnding-v0", normalize_observations=True)
    run = OFF_POLICY[name](**SMALL).train(task, 5, 80)
    run.policy.save(tmp_path / "policy.npz")
    policy = load_policy(tmp_path / "policy.npz")
    assert policy == run.policy
    for kind in ("sampled", "mode"):
        assert policy.evaluate(seed=5, mode=kind == "mode").tolist() == run.evaluation[kind].returns
    action = policy.act(np.zeros(2))
    assert action in policy.action_space
    assert repr(policy).startswith(
        f"SavedPolicy({name} on BoxRandomEnding-v0, 2 → 8 → 8 → {4 if name == 'sac' else 2} (relu)"
    )


@every_algorithm
def test_a_checkpoint_is_loaded_by_the_record_of_its_run(name, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "seeds: [0]\ncheckpoints: [1]\n"
        "tasks: {Pendulum-v1: {steps: 60, random_score: 0, reference_score: 1, reference_source: a}}\n"
        f"algorithms: {{{name}: {{settings: {{hidden_sizes: [8], batch_size: 16, learning_starts: 20}}}}}}\n"
    )
    output = tmp_path / "out"
    words = ("--grid", path, "--algorithm", name, "--task", "Pendulum-v1", "--seed", 0, "--output", output)
    command.main([*map(str, words)])
    kept, observation = load_policy(output), np.ones(3)
    (checkpoint,) = (output / "checkpoints").iterdir()
    (output / "policy.npz").unlink()
    assert load_policy(checkpoint).act(observation).tolist() == kept.act(observation).tolist()


@pytest.mark.parametrize(
    ("about", "arrays", "said"),
    [
        ({"bounded": "loose"}, {}, "does not say what its arrays are of"),
        ({"bounded": ["stochastic"]}, {}, "does not say what its arrays are of"),
        ({"bounded": "stochastic"}, {}, r"has the shape \(2, 8\), not \(4, 8\)"),
        ({"bounded": None}, {}, "has no 'policy/log_std'"),
        ({}, {"action_space/low": np.float32([-np.inf, 0])}, "bounds that are not finite"),
    ],
)
def test_a_strangers_policy_is_refused_with_a_sentence(about, arrays, said):
    policy = TD3(**SMALL).train(Task("BoxRandomEnding-v0"), 0, 40).policy
    with pytest.raises(InvalidPolicy, match=said):
        SavedPolicy(policy._about | about, policy._arrays | arrays)


# ------------------------------------------------------------------------------------ bad input


def grid_of(folder, algorithm, task="Pendulum-v1", steps=500, further=""):
    path = folder / "mine.yaml"
    path.write_text(
        f"seeds: [0]\ntasks:\n  {task}: {{steps: {steps}, random_score: 0, reference_score: 1, reference_source: a}}\n"
        f"algorithms:\n  {algorithm}\n{further}"
    )
    return load_grid(str(path))


@pytest.mark.parametrize(
    ("algorithm", "task", "said"),
    [
        (
            "sac:",
            "CartPole-v1",
            r"algorithm sac: task CartPole-v1 has actions in Discrete\(2\), but off-policy .* a Box",
        ),
        ("td3:", "tests.tasks:UnboundedActions-v0", r"has actions in Box.*need a Box with finite bounds.*register"),
        ("sac: {settings: {buffer_size: 100}}", "Pendulum-v1", r"buffer_size of SAC is 100, .* 256 .*at least a batch"),
        ("sac: {settings: {learning_starts: 500}}", "Pendulum-v1", r"learning_starts of SAC is 500.*below the budget"),
        (
            "sac: {settings: {learning_starts: 10_000}}",
            "Pendulum-v1",
            r"on Pendulum-v1: learning_starts of SAC is 10,000",
        ),
        ("sac: {settings: {batch_size: 0}}", "Pendulum-v1", "batch_size of SAC must be at least 1"),
        ("sac: {settings: {train_freq: 2}}", "Pendulum-v1", "did you mean 'rollout_length'"),
        ("sac: {settings: {ent_coef: 0.2}}", "Pendulum-v1", "did you mean 'temperature'"),
        ("td3: {settings: {tau: 2}}", "Pendulum-v1", "tau of TD3 must be between 0 and 1"),
    ],
)
def test_mistakes_are_found_when_the_grid_is_read(algorithm, task, said, tmp_path):
    with pytest.raises(GridError, match=said):
        grid_of(tmp_path, algorithm, task)


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ("learning_starts: {choices: [100, 400]}", "search_space of sac on Pendulum-v1: learning_starts of SAC is 400"),
        ("batch_size: {low: 128, high: 2048}", "buffer_size of SAC is 1,000, and a batch has 2,048"),
    ],
)
def test_a_study_may_not_search_what_learns_nothing(space, said, tmp_path):
    tuning = """
tuning:
  {trials: 4, startup_trials: 2, seeds: [1000, 1001], fresh_seeds: [1002], pruner: {name: NopPruner},
   groups: {all: {tasks: {Pendulum-v1: 300}, serves: [Pendulum-v1]}}}
"""
    with pytest.raises(GridError, match=said):
        grid_of(tmp_path, f"sac: {{settings: {{buffer_size: 1000}}, search_space: {{{space}}}}}", further=tuning)


def test_a_program_is_told_the_same():
    with pytest.raises(UnsupportedTask, match="task 'CartPole-v1' has actions in Discrete"):
        SAC().train(Task("CartPole-v1"), 0, 1000)
    with pytest.raises(InvalidSetting, match="learning_starts of SAC is 100, and the budget has 100 steps"):
        SAC().train(Task("Pendulum-v1"), 0, 100)
    with pytest.raises(ValueError, match="compile must be auto, always or never"):
        SAC().train(Task("Pendulum-v1"), 0, 1000, compile="yes")
