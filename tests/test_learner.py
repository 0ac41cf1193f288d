"""The learner: settings that are checked, statistics, optimisers and updates that do what their names say."""

import math
from dataclasses import dataclass, fields, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from platformdirs import user_cache_path

from algorithms.a2c import A2C
from algorithms.core.algorithm import ALIASES, InvalidAlgorithm, InvalidSetting, setting
from algorithms.core.batch import Batch
from algorithms.core.compiled import CannotCompile, fingerprint
from algorithms.core.fused import Trainable
from algorithms.core.learner_state import InvalidCheckpoint
from algorithms.core.mlp import ValueFunction
from algorithms.core.normalizer import RunningNormalizer
from algorithms.core.optimizer import Optimizer
from algorithms.core.policy_gradient import PolicyGradient
from algorithms.core.reward_scaler import RewardScaler
from algorithms.core.rollout import collect
from algorithms.core.task import Task
from algorithms.ppo import PPO
from algorithms.ppo_kl import PPOKL
from algorithms.reinforce import Reinforce
from algorithms.sac import SAC
from algorithms.td3 import TD3
from algorithms.trpo import TRPO
from tests.tasks import ALGORITHMS, make_learner, needs_compiler, parts_of, random_rollout

# ---- settings


def test_settings_take_the_place_of_defaults():
    algorithm = PPO.from_settings({"clip": 0.1, "epochs": 3, "gamma": 1, "max_grad_norm": None, "target_kl": 1})
    assert algorithm == PPO(clip=0.1, epochs=3, gamma=1.0, max_grad_norm=None, target_kl=1.0)
    assert type(algorithm.gamma) is type(algorithm.target_kl) is float
    assert type(algorithm.epochs) is int
    assert PPO.from_settings(algorithm.settings()) == algorithm
    assert Reinforce.from_settings({"steps_of_an_episode": "mean"}).steps_of_an_episode == "mean"


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"clp": 0.1}, ["clp", "did you mean 'clip'", "gae_lambda"]),
        ({"zzz": 0.1}, ["zzz", "clip", "gamma"]),
        ({"epochs": 2.5}, ["epochs", "a whole number", "2.5"]),
        ({"epochs": True}, ["epochs", "a whole number", "True"]),
        ({"clip": True}, ["clip", "a number", "True"]),
        ({"clip": "0.1"}, ["clip", "a number", "'0.1'"]),
        ({"anneal_learning_rate": 1}, ["anneal_learning_rate", "true or false", "1"]),
        ({"epochs": None}, ["epochs", "a whole number", "None"]),
        ({"epochs": 0}, ["epochs", "at least 1", "0"]),
        ({"minibatch_size": -1}, ["minibatch_size", "at least 1", "-1"]),
        ({"policy_learning_rate": -1e-3}, ["policy_learning_rate", "not negative"]),
        ({"policy_learning_rate": -1}, ["policy_learning_rate", "not negative"]),
        ({"policy_learning_rate": float("nan")}, ["policy_learning_rate", "finite"]),
        ({"clip": float("inf")}, ["clip", "finite"]),
        ({"gamma": 1.01}, ["gamma", "between 0 and 1", "1.01"]),
        ({"gae_lambda": 2}, ["gae_lambda", "between 0 and 1"]),
    ],
)
def test_a_wrong_setting_is_refused_with_its_name_and_what_was_expected(settings, parts):
    with pytest.raises(InvalidSetting) as refusal:
        PPO.from_settings(settings)
    for part in ["PPO", *parts]:
        assert part in str(refusal.value)


@dataclass(frozen=True)
class Bounded(A2C):
    """Has settings of its own, and gives one of its base another default."""

    title: ClassVar[str] = "Bounded"
    temperature: float = setting(1.0, low=0.5, high=4)
    offset: float = setting(0.0, low=-1)
    ceiling: float | None = setting(None, high=2)
    anything: float = -3.0
    layers: int = setting(2, low=0, high=3)
    gamma: float = 0.5


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"temperature": 0.4}, "temperature of Bounded must be between 0.5 and 4, not 0.4"),
        ({"temperature": 5}, "temperature of Bounded must be between 0.5 and 4, not 5"),
        ({"offset": -2}, "offset of Bounded must be finite and at least -1, not -2"),
        ({"ceiling": 3.0}, "ceiling of Bounded must be finite and at most 2, not 3"),
        ({"anything": math.inf}, "anything of Bounded must be finite, not inf"),
        ({"layers": 4}, "layers of Bounded must be between 0 and 3, not 4"),
        ({"gamma": 1.5}, "gamma of Bounded must be between 0 and 1, not 1.5"),
        ({"rollout_length": 0}, "rollout_length of Bounded must be at least 1, not 0"),
        ({"policy_learning_rate": -1.0}, "policy_learning_rate of Bounded must be finite and not negative, not -1"),
    ],
)
def test_a_setting_has_the_bounds_of_its_field_or_of_the_field_that_it_replaces(settings, sentence):
    with pytest.raises(InvalidSetting, match=sentence):
        Bounded.from_settings(settings)
    with pytest.raises(InvalidSetting, match=sentence):
        replace(Bounded(), **settings)


def test_values_at_the_bounds_and_none_are_settings():
    for settings in ({"temperature": 0.5, "ceiling": 2}, {"temperature": 4, "ceiling": None, "anything": -1e9}):
        assert Bounded.from_settings(settings).settings().items() >= settings.items()
    assert type(Bounded(temperature=np.float32(2.0)).temperature) is type(Bounded(offset=1).offset) is float


@pytest.mark.parametrize(
    ("alias", "meant"),
    [
        ("learning_rate", "'policy_learning_rate' or 'value_learning_rate'"),
        ("lr", "'policy_learning_rate' or 'value_learning_rate'"),
        ("n_steps", "'rollout_length'"),
        ("ent_coef", "'entropy_coefficient'"),
        ("batch_size", "'minibatch_size'"),
        ("clip_range", "'clip'"),
        ("net_arch", "'hidden_sizes'"),
    ],
)
def test_the_name_that_another_library_gives_a_setting_is_refused_with_the_name_that_it_has_here(alias, meant):
    with pytest.raises(InvalidSetting, match=rf"PPO has no setting '{alias}'; did you mean {meant}\? Others are: "):
        PPO.from_settings({alias: 1})


def test_an_alias_of_a_setting_that_the_algorithm_lacks_is_an_unknown_name():
    with pytest.raises(InvalidSetting, match="A2C has no setting 'clip_range'; did you mean 'clip_together'"):
        A2C.from_settings({"clip_range": 0.2})
    known = {f.name for algorithm in (PPO, PPOKL, TRPO, SAC, TD3) for f in fields(algorithm)}
    assert {name for names in ALIASES.values() for name in names} <= known


def test_a_choice_outside_the_choices_is_refused_with_the_choices():
    with pytest.raises(InvalidSetting, match="'sum' or 'mean'"):
        Reinforce.from_settings({"steps_of_an_episode": "median"})


def test_zero_is_a_number_like_any_other():
    assert PPO(gae_lambda=0, entropy_coefficient=0) == PPO(gae_lambda=0.0, entropy_coefficient=0.0)
    assert PPO.from_settings({"gae_lambda": 0}) == PPO(gae_lambda=0.0)


# ---- statistics


def test_running_statistics_equal_those_of_all_data_at_once():
    rng = np.random.default_rng(0)
    data = rng.normal([1e3, -2.0, 0.0], [1e-1, 30.0, 1.0], (1000, 3)).astype(np.float32)
    normalizer, sizes = RunningNormalizer(3), [1, 1, 2, 500, 7, 489]
    for part in np.split(data, np.cumsum(sizes)[:-1]):
        normalizer.update(part)
    everything = data.astype(np.float64)
    assert normalizer.count == 1000
    np.testing.assert_allclose(normalizer.mean, everything.mean(axis=0), rtol=1e-10)
    np.testing.assert_allclose(normalizer.variance, everything.var(axis=0), rtol=1e-7)
    normalized = normalizer(data)
    assert normalized.dtype == np.float32
    expected = (everything - everything.mean(axis=0)) / everything.std(axis=0)
    np.testing.assert_allclose(normalized, expected, atol=2e-3)  # float32 keeps 1e3 ± 0.1 to 6e-5, which is 6e-4 here


def test_a_normaliser_is_the_identity_until_its_first_update():
    x = np.array([[100.0, -3.0]], np.float32)
    normalizer = RunningNormalizer(2)
    np.testing.assert_array_equal(normalizer(x), x)
    normalizer.update(np.array([[0.0, 0.0], [2.0, 0.0]], np.float32))
    np.testing.assert_allclose(normalizer(x), [[10.0, -10.0]])  # clipped
    assert x.tolist() == [[100.0, -3.0]]


@pytest.mark.parametrize("padding", [False, True])
def test_rewards_are_divided_by_the_deviation_of_the_discounted_return_of_all_rollouts(padding):
    rng = np.random.default_rng(0)
    scaler, rollouts = RewardScaler(4), [random_rollout(rng, 20, 4, padding=padding) for _ in range(3)]
    returns, running = [], [0.0] * 4
    for number, rollout in enumerate(rollouts):
        rollout.rewards *= 5.0
        before = rollout.rewards.copy()
        for i in range(4):
            for t in range(20):
                if rollout.valid[t, i]:
                    running[i] = rollout.rewards[t, i] + 0.99 * running[i]
                    returns.append(running[i])
                    running[i] = 0.0 if rollout.terminated[t, i] or rollout.truncated[t, i] else running[i]
        scaler.update(rollout)
        scaled = scaler(rollout.rewards)
        np.testing.assert_allclose(scaled, np.clip(before / np.std(returns), -10, 10), rtol=1e-6, err_msg=str(number))
        np.testing.assert_array_equal(rollout.rewards, before)


def test_scaled_rewards_are_clipped():
    rollout = random_rollout(np.random.default_rng(0), 200, 1)
    rollout.rewards[:] = 0.0
    rollout.rewards[-1] = 1e6  # √200 deviations
    scaler = RewardScaler(1)
    scaler.update(rollout)
    assert scaler(rollout.rewards).max() == 10.0


def test_statistics_are_frozen_during_a_rollout_and_the_update_on_it():
    task = Task("RandomEnding-v0", normalize_observations=True)
    envs, learner, rng = make_learner(PPO(num_envs=4), task)
    seen = []
    for expected_count in (0, 40, 80):
        rollout = collect(envs, learner.policy, learner.normalizer, rng, steps=10)
        batch = learner.prepare(rollout)
        learner.update(batch, progress=0.0)
        assert learner.normalizer.count == expected_count
        if expected_count:
            everything = np.concatenate(seen)
            expected = (rollout.observations.reshape(-1, 2) - everything.mean(axis=0)) / everything.std(axis=0)
            np.testing.assert_allclose(batch.observations, np.clip(expected, -10, 10), atol=1e-4)
        seen.append(rollout.observations.reshape(-1, 2).astype(np.float64))
        learner.observe(rollout)


def test_padding_is_not_taken_into_the_statistics():
    task = Task("RandomEnding-v0", normalize_observations=True)
    envs, learner, rng = make_learner(Reinforce(num_envs=6), task)
    rollout = collect(envs, learner.policy, learner.normalizer, rng, episodes=2)
    assert not rollout.valid.all()
    learner.observe(rollout)
    assert learner.normalizer.count == rollout.valid.sum()
    valid = rollout.observations[rollout.valid].astype(np.float64)
    np.testing.assert_allclose(learner.normalizer.mean, valid.mean(axis=0))


@dataclass(frozen=True)
class Watching(PPO):
    """PPO that keeps the log-ratios which its loss was given."""

    title: ClassVar[str] = "Watching"
    seen: ClassVar[list] = []

    def policy_loss(self, log_prob, batch):
        self.seen.append((log_prob - batch.log_probs).detach().clone())
        return super().policy_loss(log_prob, batch)


@pytest.mark.parametrize("bounds", ["clip", "squash"])
@pytest.mark.parametrize("name", ["RandomEnding-v0", "BoxRandomEnding-v0", "Masked-v0"])
def test_the_probability_ratio_is_one_on_the_first_minibatch_of_every_update(name, bounds):
    if bounds == "squash" and "Box" not in name:
        bounds = "clip"
    task = Task(name, normalize_observations=True, normalize_rewards=True, action_bounds=bounds)
    algorithm = Watching(num_envs=4, minibatch_size=10, epochs=2, policy_learning_rate=0.01)
    envs, learner, rng = make_learner(algorithm, task)
    for _ in range(3):
        algorithm.seen.clear()
        rollout = collect(envs, learner.policy, learner.normalizer, rng, steps=10)
        learner.update(learner.prepare(rollout), progress=0.0)
        learner.observe(rollout)
        first, *_, last = algorithm.seen
        assert len(algorithm.seen) == 8
        assert (first.exp() - 1).abs().max() < 1e-5
        assert (last.exp() - 1).abs().max() > 1e-3


# ---- the batch


def make_batch(n, **fields):
    zeros = torch.zeros(n)
    columns = dict(observations=torch.arange(n)[:, None].float(), actions=torch.arange(n), log_probs=zeros)
    columns |= dict(advantages=torch.arange(n).float(), values=zeros, value_targets=-torch.arange(n).float())
    return Batch(episodes=torch.tensor(6.0), **columns | fields)


@pytest.mark.parametrize(("size", "sizes"), [(4, [4, 4, 3]), (11, [11]), (50, [11]), (None, [11]), (1, [1] * 11)])
def test_minibatches_partition_the_batch(size, sizes):
    parts = parts_of(make_batch(11), size, np.random.default_rng(0))
    assert [len(p) for p in parts] == sizes
    assert sorted(torch.cat([p.actions for p in parts]).tolist()) == list(range(11))
    for part in parts:  # a step keeps its row in every column
        assert part.observations[:, 0].tolist() == part.advantages.tolist() == part.actions.tolist()
        assert (-part.value_targets).tolist() == part.actions.tolist()
    assert sum(float(p.episodes) for p in parts) == pytest.approx(6.0)


def test_minibatches_are_in_another_order_each_time_and_carry_masks():
    rng, batch = np.random.default_rng(0), make_batch(20, action_masks=torch.eye(20, dtype=torch.bool))
    first, second = (torch.cat([p.actions for p in parts_of(batch, 5, rng)]).tolist() for _ in range(2))
    assert first != second != list(range(20))
    for part in parts_of(batch, 5, rng):
        assert part.action_masks.float().argmax(dim=1).tolist() == part.actions.tolist()


def test_a_minibatched_reinforce_gradient_is_on_average_the_gradient_of_the_whole():
    algorithm, log_prob = Reinforce(), torch.linspace(-1, 1, 12)
    batch = make_batch(12, log_probs=log_prob)
    parts = [float(algorithm.policy_loss(p.log_probs, p)) for p in parts_of(batch, 4, np.random.default_rng(0))]
    assert np.mean(parts) == pytest.approx(float(algorithm.policy_loss(log_prob, batch)), rel=1e-5)


def test_the_number_of_episodes_is_that_of_the_rollout():
    envs, learner, rng = make_learner(Reinforce(num_envs=3), "RandomEnding-v0")
    batch = learner.prepare(collect(envs, learner.policy, learner.normalizer, rng, episodes=2))
    assert float(batch.episodes) == 6


def test_advantages_of_another_shape_are_refused_by_name():
    @dataclass(frozen=True)
    class Summed(PPO):
        def advantages(self, rollout):
            return super().advantages(rollout).sum(axis=0)

    envs, learner, rng = make_learner(Summed(), "Match-v0")
    with pytest.raises(InvalidAlgorithm, match=r"test_learner.py: Summed.advantages returned .* shape \(8,\)"):
        learner.prepare(collect(envs, learner.policy, learner.normalizer, rng, steps=4))


# ---- optimisers and updates


def squared_error(_, module, batch):
    values = module(batch.observations)
    loss = 100.0 * (values - batch.value_targets).square().mean()
    return loss, {"loss": loss}, values


def optimizer_of(*networks, max_grad_norm, clip_together=False):
    algorithm = PolicyGradient(max_grad_norm=max_grad_norm, clip_together=clip_together, adam_epsilon=1e-5)
    return Optimizer(networks, algorithm)


@pytest.mark.parametrize("max_grad_norm", [None, 0.5, 1e9])
def test_a_step_is_torchs_adam_after_torchs_clipping(max_grad_norm):
    ours, theirs = (ValueFunction(2, torch.Generator().manual_seed(0)) for _ in range(2))
    network = Trainable("value", ours, squared_error)
    optimizer = optimizer_of(network, max_grad_norm=max_grad_norm)
    reference = torch.optim.Adam(theirs.parameters(), lr=1.0, eps=1e-5)
    generator = torch.Generator().manual_seed(1)
    norms = []
    for step in range(20):
        batch = make_batch(16, observations=torch.randn(16, 2, generator=generator))
        batch.value_targets = torch.randn(16, generator=generator)
        rate = 1e-2 / (1 + step)
        network.learning_rate.fill_(rate)
        recorded = optimizer.step(batch)
        record = dict(zip(optimizer.recorded, recorded, strict=True))
        reference.param_groups[0]["lr"] = rate
        reference.zero_grad()
        loss, *_ = squared_error(None, theirs, batch)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(theirs.parameters(), max_grad_norm or torch.inf)
        reference.step()
        norms.append(float(norm))
        assert float(record["value_gradient_norm"]) == pytest.approx(norms[-1], rel=1e-4)
        assert float(record["loss"]) == pytest.approx(loss.item(), rel=1e-4)
    assert min(norms) > 0.5  # so that 0.5 did clip
    expected = torch.nn.utils.parameters_to_vector(theirs.parameters()).detach()
    np.testing.assert_allclose(ours.parameter_vector, expected, atol=2e-6)


@pytest.mark.parametrize("clip_together", [True, False])
def test_networks_of_one_optimiser_are_clipped_together_or_each_by_itself_and_keep_their_learning_rates(clip_together):
    first, second, *theirs = (ValueFunction(2, torch.Generator().manual_seed(seed)) for seed in (0, 1, 0, 1))

    def small_error(_, module, batch):
        values = module(batch.observations)
        loss = values.square().mean()
        return loss, {"small": loss}, values

    networks = Trainable("first", first, squared_error), Trainable("second", second, small_error)
    optimizer = optimizer_of(*networks, max_grad_norm=0.5, clip_together=clip_together)
    rates = 1e-2, 3e-3
    groups = [{"params": module.parameters(), "lr": rate} for module, rate in zip(theirs, rates, strict=True)]
    reference = torch.optim.Adam(groups, eps=1e-5)
    generator = torch.Generator().manual_seed(1)
    for network, rate in zip(networks, rates, strict=True):
        network.learning_rate.fill_(rate)
    for _ in range(20):
        batch = make_batch(16, observations=torch.randn(16, 2, generator=generator))
        batch.value_targets = torch.randn(16, generator=generator)
        recorded = optimizer.step(batch)
        record = dict(zip(optimizer.recorded, recorded, strict=True))
        reference.zero_grad()
        (squared_error(None, theirs[0], batch)[0] + small_error(None, theirs[1], batch)[0]).backward()
        each = [list(module.parameters()) for module in theirs]
        clipped = [each[0] + each[1]] if clip_together else each
        norms = [float(torch.nn.utils.clip_grad_norm_(parameters, 0.5)) for parameters in clipped]
        reference.step()
        both = math.hypot(float(record["first_gradient_norm"]), float(record["second_gradient_norm"]))
        assert both == pytest.approx(math.hypot(*norms), rel=1e-4)
    for ours, other in zip((first, second), theirs, strict=True):
        expected = torch.nn.utils.parameters_to_vector(other.parameters()).detach()
        np.testing.assert_allclose(ours.parameter_vector, expected, atol=1e-5)  # of steps of 3e-3 and more


def one_update(algorithm, task="Match-v0", progress=0.0, spread=1.0, seed=0, updates=1, **options):
    envs, learner, rng = make_learner(algorithm, task, seed=seed, spread=spread, **options)
    before = learner.policy.parameter_vector.clone()
    for _ in range(updates):
        batch = learner.prepare(collect(envs, learner.policy, learner.normalizer, rng, steps=16))
        record = learner.update(batch, progress)
    return learner, batch, record, before


@pytest.mark.parametrize("progress", [0.0, 0.25, 1.0])
def test_annealed_learning_rates_fall_linearly_to_zero(progress):
    algorithm = A2C(policy_learning_rate=0.02, value_learning_rate=0.04, anneal_learning_rate=True)
    learner, _, record, before = one_update(algorithm, progress=progress)
    assert record["learning_rate"] == pytest.approx(0.02 * (1 - progress))
    assert float(learner.networks["policy"].learning_rate) == pytest.approx(0.02 * (1 - progress))
    assert float(learner.networks["value_function"].learning_rate) == pytest.approx(0.04 * (1 - progress))
    largest = float((learner.policy.parameter_vector - before).abs().max())
    assert largest == pytest.approx(0.02 * (1 - progress), rel=0.05)  # Adam's first step is the learning rate
    constant, *_ = one_update(replace(algorithm, anneal_learning_rate=False), progress=progress)
    assert float(constant.networks["policy"].learning_rate) == pytest.approx(0.02)


def counting_steps(optimizer):
    calls, step = [], optimizer.step

    def counted(batch):
        calls.append(len(batch))
        return step(batch)

    optimizer.step = counted
    return calls


def test_epochs_and_minibatches_of_policy_and_critic_are_as_set():
    algorithm = PPO(epochs=3, minibatch_size=32, value_epochs=2, value_minibatch_size=100)
    envs, learner, rng = make_learner(algorithm, "Match-v0")
    policy, value = map(counting_steps, learner.optimizers.values())
    learner.update(learner.prepare(collect(envs, learner.policy, learner.normalizer, rng, steps=16)), 0.0)
    assert policy == [32] * 4 * 3
    assert value == [100, 28] * 2


def test_the_critic_does_as_the_policy_where_nothing_else_is_set():
    envs, learner, rng = make_learner(PPO(epochs=3, minibatch_size=64), "Match-v0")
    (optimizer,) = learner.optimizers.values()  # for both: they learn from the same minibatches
    steps = counting_steps(optimizer)
    learner.update(learner.prepare(collect(envs, learner.policy, learner.normalizer, rng, steps=16)), 0.0)
    assert steps == [64] * 6
    assert [network.name for network in optimizer.networks] == ["policy", "value"]


@pytest.mark.parametrize(("target_kl", "epochs"), [(1e6, 5), (1e-9, 1)])
def test_a_target_kl_stops_the_policys_epochs_and_not_the_critics(target_kl, epochs):
    algorithm = PPO(epochs=5, minibatch_size=None, target_kl=target_kl, policy_learning_rate=1e-2)
    envs, learner, rng = make_learner(algorithm, "Match-v0")
    policy, value = map(counting_steps, learner.optimizers.values())
    learner.update(learner.prepare(collect(envs, learner.policy, learner.normalizer, rng, steps=16)), 0.0)
    assert len(policy) == epochs
    assert len(value) == 5


def test_the_kl_estimate_is_the_divergence_of_the_old_policy_from_the_new():
    algorithm = PPO(num_envs=64, epochs=10, minibatch_size=None, policy_learning_rate=1e-2)
    envs, learner, rng = make_learner(algorithm, "Match-v0", spread=30.0)
    batch = learner.prepare(collect(envs, learner.policy, learner.normalizer, rng, steps=200))
    assert learner.kl(batch) == pytest.approx(0.0, abs=1e-9)
    with torch.no_grad():
        old = learner.policy(batch.observations).probs.clone()
    learner.update(batch, 0.0)
    with torch.no_grad():
        new = learner.policy(batch.observations).probs
        exact = float((old * (old / new).log()).sum(-1).mean())
    assert exact > 0.01
    assert learner.kl(batch) == pytest.approx(exact, rel=0.05)  # an estimate from 12,800 actions


def test_an_entropy_bonus_raises_the_entropy_and_its_absence_leaves_it_alone():
    """With no advantage there is no other gradient."""

    @dataclass(frozen=True)
    class NoAdvantage(A2C):
        def advantages(self, rollout):
            return np.zeros_like(rollout.rewards)

    def change(coefficient, task, bounds="clip"):
        algorithm = NoAdvantage(entropy_coefficient=coefficient, policy_learning_rate=1e-3)
        learner, batch, _, _ = one_update(algorithm, Task(task, action_bounds=bounds), spread=100.0)
        before = learner.policy(batch.observations).entropy().mean().item()
        for _ in range(5):
            learner.update(batch, 0.0)
        return learner.policy(batch.observations).entropy().mean().item() - before

    for task, bounds in (("Match-v0", "clip"), ("BoxRandomEnding-v0", "clip"), ("BoxRandomEnding-v0", "squash")):
        assert change(0.1, task, bounds) > 1e-3
        assert change(0.0, task, bounds) == pytest.approx(0.0, abs=1e-6)


def test_the_recorded_policy_loss_is_without_the_entropy_bonus_and_the_entropy_is_recorded():
    algorithm = A2C(entropy_coefficient=0.5)
    envs, learner, rng = make_learner(algorithm, "Match-v0", spread=100.0)
    batch = learner.prepare(collect(envs, learner.policy, learner.normalizer, rng, steps=16))
    with torch.no_grad():
        entropy = float(learner.policy(batch.observations).entropy().mean())
        loss = float(algorithm.policy_loss(batch.log_probs, batch))
        value_loss = float(algorithm.value_loss(batch.values, batch))
    record = learner.update(batch, 0.0)
    assert record["entropy"] == pytest.approx(entropy, rel=1e-5)
    assert record["policy_loss"] == pytest.approx(loss, rel=1e-4, abs=1e-6)
    assert record["value_loss"] == pytest.approx(value_loss, rel=1e-4)


def test_diagnostics_are_measured_after_the_update():
    algorithm = PPO(epochs=4, minibatch_size=None, policy_learning_rate=1e-2, normalize_advantages=True)
    learner, batch, _, _ = one_update(algorithm, spread=30.0)
    result = learner.diagnose(batch)
    with torch.no_grad():
        ratio = (learner.policy(batch.observations).log_prob(batch.actions) - batch.log_probs).exp().numpy()
    assert result["clip_fraction"] == pytest.approx((abs(ratio - 1) > 0.2).mean())
    assert 0 < result["clip_fraction"] < 1
    assert result["approx_kl"] == pytest.approx(learner.kl(batch)) != 0
    assert result["advantage_std"] == pytest.approx(batch.advantages.double().numpy().std(), rel=1e-4)
    residual = (batch.value_targets - batch.values).numpy()
    explained = 1 - residual.var() / batch.value_targets.numpy().var()
    assert result["explained_variance"] == pytest.approx(explained, rel=1e-4)


def test_the_state_holds_copies_of_every_parameter_and_the_statistics():
    learner, *_ = one_update(PPO(), Task("RandomEnding-v0", normalize_observations=True))
    state = learner.state()
    kept = {name: array.copy() for name, array in state.items()}
    for name, p in learner.policy.named_parameters():
        np.testing.assert_array_equal(state[f"policy/{name}"], p.detach())
    for name, p in learner.value_function.named_parameters():
        np.testing.assert_array_equal(state[f"value_function/{name}"], p.detach())
    learner.policy.parameter_vector.add_(1.0)
    learner.value_function.parameter_vector.add_(1.0)
    learner.normalizer.update(np.ones((5, 2)))
    for name, array in kept.items():
        np.testing.assert_array_equal(state[name], array)


EVERYTHING = Task("BoxRandomEnding-v0", normalize_observations=True, normalize_rewards=True)


@pytest.mark.parametrize("task", ["Masked-v0", EVERYTHING], ids=["categorical", "Gaussian, normalised"])
@pytest.mark.parametrize("algorithm", [PPO(num_envs=4), Reinforce(num_envs=4)], ids=lambda a: a.title)
def test_a_learner_that_loads_a_state_acts_values_and_normalises_as_the_one_that_gave_it(algorithm, task):
    trained, batch, *_ = one_update(algorithm, task, spread=30.0, updates=2)
    trained.observe(collected(trained, task))
    state = trained.state()
    _, learner, _ = make_learner(algorithm, task, seed=99)

    def behaviour(learner):
        x = np.random.default_rng(1).normal(0, 2, (20, batch.observations.shape[1])).astype(np.float32)
        normalized = learner.normalizer(x)
        yield normalized
        yield learner.policy.act(normalized, np.random.default_rng(2))
        yield learner.policy.act(normalized, np.random.default_rng(2), mode=True)
        yield learner._log_probs(batch).numpy()
        yield learner.reward_scaler(x)
        if learner.value_function is not None:
            yield learner.value_function.values(normalized)
            yield learner.value_function(torch.from_numpy(normalized)).detach().numpy()

    before = list(behaviour(learner))
    kept = {name: array.copy() for name, array in state.items()}
    learner.load(state)
    for found, expected in zip(behaviour(learner), behaviour(trained), strict=True):
        np.testing.assert_array_equal(found, expected)
    differ = [not np.array_equal(x, y) for x, y in zip(before, behaviour(learner), strict=True)]
    assert differ[1:4] == [True] * 3
    assert differ[0] == differ[4] == (task == EVERYTHING)
    assert all(differ[5:])
    loaded = learner.state()
    assert set(loaded) == set(kept)
    for name, array in kept.items():
        np.testing.assert_array_equal(loaded[name], array)

    learner.update(learner.prepare(collected(learner, task)), progress=0.0)  # and goes on to learn on its own
    learner.normalizer.update(np.ones((50, batch.observations.shape[1]), np.float32))
    assert not np.array_equal(learner.state()["policy/network.0.weight"], kept["policy/network.0.weight"])
    for name, array in kept.items():
        np.testing.assert_array_equal(state[name], array)
        np.testing.assert_array_equal(trained.state()[name], array)


def collected(learner, task):
    """A rollout of a learner's policy."""
    envs, _, rng = make_learner(learner.algorithm, task)
    length = {"episodes": 2} if learner.algorithm.whole_episodes else {"steps": 10}
    return collect(envs, learner.policy, learner.normalizer, rng, **length)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda s: s.pop("policy/log_std"), "the checkpoint has no 'policy/log_std': the networks differ"),
        (lambda s: s.pop("reward_statistics/count"), "the checkpoint has no 'reward_statistics/count'"),
        (
            lambda s: s.update({"policy/network.6.weight": np.zeros((2, 2))}),
            r"this task's learner has no 'policy/network\.6\.weight': the networks differ",
        ),
        (
            lambda s: s.update({"value_function/network.0.weight": np.zeros((64, 3))}),
            r"'value_function/network\.0\.weight' of the checkpoint has the shape \(64, 3\), not \(64, 2\)",
        ),
        (lambda s: s.update({"observation_statistics/mean": np.zeros(3)}), r"shape \(3,\), not \(2,\)"),
        (lambda s: s["policy/network.0.bias"].__setitem__(3, np.nan), "'policy/network.0.bias' .* finite numbers"),
        (lambda s: s["value_function/network.4.bias"].__setitem__(0, -np.inf), "'value_function/.*' .* finite numbers"),
        (lambda s: s.update({"policy/log_std": np.array(["a", "b"])}), "'policy/log_std' .* finite numbers"),
        (lambda s: s.clear(), "the checkpoint has no 'policy/log_std'"),
    ],
)
def test_a_state_of_other_networks_or_not_of_numbers_is_refused_and_nothing_is_taken_over(change, sentence):
    state = make_learner(PPO(), EVERYTHING, seed=1)[1].state()
    _, learner, _ = make_learner(PPO(), EVERYTHING, seed=2)
    before = learner.state()
    change(state)
    with pytest.raises(InvalidCheckpoint, match=sentence) as refusal:
        learner.load(state)
    assert "\n" not in str(refusal.value)
    for name, array in learner.state().items():
        np.testing.assert_array_equal(array, before[name])


def test_a_critic_that_is_missing_or_too_much_is_refused():
    _, with_critic, _ = make_learner(PPO(), EVERYTHING)
    _, without, _ = make_learner(Reinforce(), EVERYTHING)
    with pytest.raises(InvalidCheckpoint, match=r"the checkpoint has no 'value_function/network\.0\.weight'"):
        with_critic.load(without.state())
    with pytest.raises(InvalidCheckpoint, match=r"this task's learner has no 'value_function/network\.0\.weight'"):
        without.load(with_critic.state())


SMALL_PPO = PPO(num_envs=4, rollout_length=16, minibatch_size=24, epochs=2, entropy_coefficient=0.01, clip_values=0.2)


@needs_compiler
@pytest.mark.parametrize(
    ("algorithm", "task"),
    [
        (SMALL_PPO, Task("RandomEnding-v0")),
        (SMALL_PPO, Task("Masked-v0")),
        (SMALL_PPO, Task("BoxRandomEnding-v0")),
        (SMALL_PPO, Task("BoxRandomEnding-v0", action_bounds="squash")),
        (A2C(num_envs=4, rollout_length=16), Task("BoxRandomEnding-v0", normalize_observations=True)),
    ],
    ids=["categorical", "masked", "gaussian", "squashed", "whole batches"],
)
def test_the_compiled_step_gives_the_same_numbers_as_the_eager_one(algorithm, task):
    compiled_and_eager(algorithm, task)


def compiled_and_eager(algorithm, task):
    """The policy's parameters after some updates; asserts that they and all else are the same on both paths."""
    results = {}
    for compile in ("always", "never"):
        learner, _, record, before = one_update(algorithm, task, spread=30.0, updates=4, compile=compile)
        results[compile] = learner.policy.parameter_vector, learner.value_function.parameter_vector, record
        assert not torch.equal(learner.policy.parameter_vector, before)
        assert learner.compiled == (compile == "always")
    (policy, value, record), (eager_policy, eager_value, eager_record) = results["always"], results["never"]
    # 4 updates × 2 epochs × 3 minibatches (of 24, 24 and 16), rounding differently
    np.testing.assert_allclose(policy, eager_policy, atol=2e-5)
    np.testing.assert_allclose(value, eager_value, atol=2e-5)
    assert record == pytest.approx(eager_record, rel=1e-3, abs=1e-4)
    return eager_policy


@needs_compiler
def test_one_machine_code_serves_all_values_of_the_settings_that_are_floats(monkeypatch):
    task = Task("BoxRandomEnding-v0")
    usual = compiled_and_eager(SMALL_PPO, task)
    assert list(user_cache_path("policy-gradient-ladder").glob("*.pt2"))
    compiled = []  # from now on; other processes of the tests keep their code in the same place
    monkeypatch.setattr("torch._inductor.aoti_compile_and_package", lambda *program, **_: compiled.append(program))
    changes = dict(clip=0.01, clip_values=0.01, entropy_coefficient=0.5, max_grad_norm=0.01, adam_epsilon=1e-2)
    changes |= dict(clip_together=False, activation="relu", hidden_sizes=(30,), minibatch_size=17)  # not in the losses
    for name, value in changes.items():
        changed = compiled_and_eager(replace(SMALL_PPO, **{name: value}), task)
        if changed.shape == usual.shape and name != "clip_values":  # which the critic alone knows
            assert (changed - usual).abs().max() > 1e-4
    assert not compiled


def fingerprints(algorithm, general=True):
    """Of the losses' machine code."""
    needs_choices = {"actions", "choices"} & set(algorithm.critic_kinds().values())
    task = Task("RandomEnding-v0" if needs_choices else "BoxRandomEnding-v0")
    _, learner, _ = make_learner(algorithm, task)
    batch = learner.prepare(collected(learner, task))
    for optimizer in learner.optimizers.values():
        optimizer.fuse(None)
        if optimizer.fused is not None:  # otherwise the steps are the algorithm's own
            traced = optimizer.fused.traced(algorithm, batch, general=general)
            yield fingerprint(traced.function, traced.inputs, traced.rows)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_has_one_machine_code_for_all_values_of_its_floats(name):
    algorithm = ALGORITHMS[name](entropy_coefficient=0.1)
    floats = {name: value for name, value in algorithm.settings().items() if type(value) is float}
    other = replace(algorithm, **{name: value * 0.9 for name, value in floats.items()})
    assert list(fingerprints(algorithm)) == list(fingerprints(other))
    own, others = (list(fingerprints(a, general=False)) for a in (algorithm, other))
    if not algorithm.has_own("step", "policy"):
        # The policy's, which has a coefficient of the entropy; a critic's may have no number.
        assert own[0] != others[0]


@pytest.mark.parametrize(
    "change",
    [{"clip_values": None}, {"normalize_advantages": False}, {"entropy_coefficient": 0.0}],
    ids=lambda change: next(iter(change)),
)
def test_a_setting_that_decides_what_is_computed_has_a_machine_code_of_its_own(change):
    assert list(fingerprints(SMALL_PPO)) != list(fingerprints(replace(SMALL_PPO, **change)))


@dataclass(frozen=True)
class Tempered(A2C):
    """Has a loss that cannot do with tensors for numbers."""

    value_function: ClassVar[bool] = False
    temperature: float = 0.5

    def policy_loss(self, log_prob, batch):
        return math.exp(self.temperature) * super().policy_loss(log_prob, batch)


@needs_compiler
def test_a_loss_that_needs_numbers_is_compiled_with_them(caplog):
    algorithm = Tempered(num_envs=4, rollout_length=16, max_grad_norm=None, adam_epsilon=1.0)
    eager, compiled = (one_update(algorithm, spread=30.0, compile=x)[0] for x in ("never", "always"))
    assert compiled.compiled
    assert not [r for r in caplog.records if r.name == "policy_gradient_ladder.core.compiled"]
    np.testing.assert_allclose(compiled.policy.parameter_vector, eager.policy.parameter_vector, atol=1e-6)
    with pytest.raises(CannotCompile, match="depends on the numbers"):
        list(fingerprints(algorithm))
    other = replace(algorithm, temperature=0.6)
    assert list(fingerprints(algorithm, general=False)) != list(fingerprints(other, general=False))


def test_an_algorithm_without_its_two_methods_says_so():
    with pytest.raises(NotImplementedError):
        PolicyGradient().policy_loss(torch.zeros(1), make_batch(1))
