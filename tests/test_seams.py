"""What an algorithm may replace: settings while it runs, the regularizer, gradients, steps, critics, and `train`."""

import json
import re
import sys
import types
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, Independent, Normal, kl_divergence

from algorithms.a2c import A2C
from algorithms.core import fused
from algorithms.core.algorithm import Algorithm, InvalidAlgorithm, setting
from algorithms.core.batch import episode_ids
from algorithms.core.divergence import kl_from_old, old_policy
from algorithms.core.estimators import discounted_returns
from algorithms.core.policies import SquashedGaussian
from algorithms.core.rollout import collect
from algorithms.core.task import Task
from algorithms.ppo import PPO
from algorithms.reinforce import Reinforce
from analysis.reading import grid as reading
from analysis.reading.runs import read_episodes, read_run, read_updates
from experiments.command import MISTAKES
from experiments.grid import GridError, algorithm_class
from tests.pipeline_fixtures import copy_of_the_project, run
from tests.tasks import Bandit, Tabular, make_learner, needs_compiler, parts_of, random_rollout

SMALL = dict(num_envs=4, rollout_length=16, minibatch_size=32, epochs=2, policy_learning_rate=3e-3)
BOX = Task("BoxRandomEnding-v0")
SQUASHED = Task("BoxRandomEnding-v0", action_bounds="squash")


def prepared(algorithm, task="Match-v0", spread=30.0, steps=16, **options):
    """A learner and the batch of its first rollout."""
    envs, learner, rng = make_learner(algorithm, task, spread=spread, **options)
    length = {"episodes": steps} if algorithm.whole_episodes else {"steps": steps}
    return learner, learner.prepare(collect(envs, learner.policy, learner.normalizer, rng, **length))


# ---- after_update


@dataclass(frozen=True)
class AdaptivePenalty(PPO):
    """PPO with a KL penalty whose coefficient follows the divergence (Schulman et al., 2017, eq. 8)."""

    title: ClassVar[str] = "PPO, adaptive penalty"
    equation: ClassVar[str] = "L = E[ρ_t Â_t − β KL(π_old ‖ π)]"

    beta: float = setting(1.0, low=0, high=100)
    wanted: float = setting(0.01, low=0)

    def policy_loss(self, log_prob, batch):
        return -(torch.exp(log_prob - batch.log_probs) * batch.advantages).mean()

    def regularizer(self, distribution, batch):
        return super().regularizer(distribution, batch) + self.beta * kl_from_old(distribution, batch).mean()

    def diagnostics(self, log_prob, batch):
        return {"beta": torch.tensor(self.beta)}

    def after_update(self, record):
        if record["kl"] > 1.5 * self.wanted:
            return replace(self, beta=min(2 * self.beta, 100))
        return replace(self, beta=np.float64(self.beta / 2) if record["kl"] < self.wanted / 1.5 else self.beta)


def test_a_setting_follows_the_updates_and_the_next_update_is_done_with_it():
    run = AdaptivePenalty(**SMALL).train(Task("Match-v0"), 0, 640, compile="never")
    betas = [row["beta"] for row in run.updates]
    assert betas[0] == 1.0
    assert len(set(betas)) > 1
    for row, before, after in zip(run.updates, betas, betas[1:], strict=False):
        assert after == (
            2 * before if row["approx_kl"] > 0.015 else before / 2 if row["approx_kl"] < 0.01 / 1.5 else before
        )


def test_after_every_update_the_algorithm_is_told_what_its_row_will_say_and_where_the_run_is():
    told = []

    @dataclass(frozen=True)
    class Told(A2C):
        def after_update(self, record):
            told.append(record)
            return self

    run = Told(num_envs=4, rollout_length=32).train(Task("Match-v0"), 0, 500, compile="never")
    assert [record["progress"] for record in told] == pytest.approx([0.256, 0.512, 0.768, 1.0])
    for record, row in zip(told, run.updates, strict=True):
        assert {name: value for name, value in row.items() if name not in ("step", "updates")}.items() <= record.items()
        assert record["kl"] == row["approx_kl"]
        assert record["mean_cost"] == 0.0
        assert all(type(value) is float for value in record.values())


def test_an_algorithm_that_watches_its_updates_and_changes_nothing_is_the_same_run():
    @dataclass(frozen=True)
    class Watching(PPO):
        def after_update(self, record):
            return replace(self)

    first, second = (
        cls(**SMALL, entropy_coefficient=0.01).train(BOX, 0, 512, compile="never") for cls in (PPO, Watching)
    )
    assert first.episodes == second.episodes
    assert first.updates == second.updates


def test_the_advantages_too_are_those_of_the_changed_settings():
    @dataclass(frozen=True)
    class Foresight(A2C):
        def after_update(self, record):
            return replace(self, gamma=0.5, policy_learning_rate=0.125)

    learner, batch = prepared(Foresight(num_envs=4))
    learner.adapt({})
    envs, _, rng = make_learner(learner.algorithm, "Match-v0")
    rollout = collect(envs, learner.policy, learner.normalizer, rng, steps=5)
    batch = learner.prepare(rollout)
    expected = A2C(gamma=0.5).advantages(rollout)[rollout.valid]
    np.testing.assert_allclose(batch.advantages, expected, rtol=1e-6)
    assert learner.update(batch, 0.0)["learning_rate"] == 0.125


@needs_compiler
def test_a_changed_float_compiles_nothing_and_the_compiled_run_is_the_eager_one(monkeypatch):
    made = []
    real = fused.ahead_of_time
    monkeypatch.setattr(fused, "ahead_of_time", lambda *arguments: made.append(1) or real(*arguments))
    algorithm = replace(AdaptivePenalty(**SMALL), entropy_coefficient=0.0)
    runs = {how: algorithm.train(BOX, 0, 640, compile=how) for how in ("always", "never")}
    assert runs["always"].compiled
    assert len(made) == 1
    betas = {how: [row["beta"] for row in run.updates] for how, run in runs.items()}
    assert betas["always"] == betas["never"]
    assert len(set(betas["always"])) > 3
    for ours, theirs in zip(runs["always"].updates, runs["never"].updates, strict=True):
        assert ours["policy_loss"] == pytest.approx(theirs["policy_loss"], rel=2e-2, abs=2e-3)


@needs_compiler
def test_a_loss_that_needs_numbers_which_change_is_not_compiled_and_says_why(caplog):
    @dataclass(frozen=True)
    class Switched(A2C):
        factor: float = 1.0

        def policy_loss(self, log_prob, batch):
            return super().policy_loss(log_prob, batch) * (2.0 if self.factor > 0.5 else 3.0)

        def after_update(self, record):
            return replace(self, factor=self.factor / 2)

    run = Switched(num_envs=4, rollout_length=16).train(Task("Match-v0"), 0, 128, compile="always")
    assert not run.compiled
    assert "not compiled, and slower for it: after_update changes numbers" in caplog.text


@dataclass(frozen=True)
class Faulty(A2C):
    """Returns from after_update what it is told to."""

    title: ClassVar[str] = "Faulty"
    result: ClassVar = None
    beta: float = setting(1.0, low=0, high=10)
    several: int | None = None

    def after_update(self, record):
        return type(self).result(self)


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        (lambda a: A2C(), "Faulty.after_update must return a Faulty, not a A2C"),
        (lambda a: None, "Faulty.after_update must return a Faulty, not a NoneType"),
        (lambda a: replace(a, epochs=2), "changed epochs from 1 to 2; .* only a setting that is a float"),
        (lambda a: replace(a, anneal_learning_rate=True), "changed anneal_learning_rate from False to True"),
        (lambda a: replace(a, max_grad_norm=None), "changed max_grad_norm from 0.5 to None"),
        (lambda a: replace(a, target_kl=0.1), "changed target_kl from None to 0.1"),
        (lambda a: replace(a, activation="relu"), "changed activation from 'tanh' to 'relu'"),
        (lambda a: replace(a, hidden_sizes=(8,)), r"changed hidden_sizes from \(64, 64\) to \(8,\)"),
        (lambda a: replace(a, beta=11), "Faulty.after_update: beta of Faulty must be between 0 and 10, not 11"),
        (lambda a: replace(a, beta=float("nan")), "beta of Faulty must be between 0 and 10, not nan"),
        (lambda a: replace(a, beta=torch.tensor(1.0)), "beta of Faulty must be a number, not tensor"),
    ],
)
def test_anything_but_another_float_is_refused_with_class_and_setting(monkeypatch, result, sentence):
    monkeypatch.setattr(Faulty, "result", staticmethod(result))
    learner, _ = prepared(Faulty())
    with pytest.raises(InvalidAlgorithm, match=sentence) as refusal:
        learner.adapt({})
    assert str(refusal.value).startswith("tests/test_seams.py: Faulty.after_update")
    assert "\n" not in str(refusal.value)
    assert learner.algorithm == Faulty()
    assert InvalidAlgorithm in MISTAKES


# ---- regularizer


@pytest.mark.parametrize("value", ["none", "a number", "vector"])
@pytest.mark.parametrize("compile", ["never", "always"])
def test_a_regularizer_that_is_no_scalar_is_refused_with_class_and_method(value, compile):
    @dataclass(frozen=True)
    class Odd(A2C):
        def regularizer(self, distribution, batch):
            return {"none": None, "a number": 0.5, "vector": distribution.entropy()}[value]

    found = {"none": "a NoneType", "a number": "a float", "vector": r"a tensor of shape \(64,\)"}[value]
    learner, batch = prepared(Odd(num_envs=4, rollout_length=16), compile=compile)
    with pytest.raises(InvalidAlgorithm, match=rf"Odd.regularizer must return a scalar tensor; .* is {found}"):
        learner.update(batch, 0.0)


@pytest.mark.parametrize("coefficient", [0.0, 0.01])
def test_the_default_regularizer_is_the_entropy_bonus_to_the_bit(coefficient):
    @dataclass(frozen=True)
    class ByHand(PPO):
        def regularizer(self, distribution, batch):
            return -(self.entropy_coefficient * distribution.entropy().mean())

    settings = SMALL | {"entropy_coefficient": coefficient}
    for task in (Task("Match-v0"), BOX, SQUASHED):
        runs = [cls(**settings).train(task, 3, 256, compile="never") for cls in (PPO, ByHand)]
        assert runs[0].updates == runs[1].updates
        assert runs[0].episodes == runs[1].episodes


def exact_kl(kind, old, new, half_range):
    """KL(π_old ‖ π) [B] from the outputs that old and new policies are made of, by Torch or by integration."""
    if kind == "categorical":
        p, q = (x.double().softmax(-1) for x in (old, new))
        return (p * (p / q).log()).nan_to_num().sum(-1)  # 0 where neither allows the action
    pairs = [Independent(Normal(*x.double().chunk(2, -1)), 1) for x in (old, new)]
    if kind == "gaussian":
        return kl_divergence(*pairs)
    u = pairs[0].sample((200_000,))
    ours, theirs = (SquashedGaussian(p.base_dist, half_range.double()).log_prob(u) for p in pairs)
    return (ours - theirs).mean(0)


@pytest.mark.parametrize(("kind", "task"), [("categorical", "Masked-v0"), ("gaussian", BOX), ("squashed", SQUASHED)])
def test_the_batch_carries_the_old_policy_and_its_divergence_is_exact(kind, task):
    learner, batch = prepared(AdaptivePenalty(num_envs=4), task)
    torch.manual_seed(1)  # not earlier: environments seed the global generators
    with torch.no_grad():
        before = learner.policy(batch.observations, batch.action_masks)
        np.testing.assert_allclose(kl_from_old(before, batch), 0.0, atol=1e-6)
        old = old_policy(before, batch)
        assert type(old) is type(before)
        np.testing.assert_allclose(old.log_prob(batch.actions), batch.log_probs, atol=1e-5)
        learner.policy.parameter_vector.add_(0.05 * torch.randn(learner.policy.parameter_vector.shape))
        after = learner.policy(batch.observations, batch.action_masks)
        outputs = after.logits if kind == "categorical" else torch.cat(gaussian_outputs(after), -1)
        half_range = getattr(learner.policy, "half_range", None)
        expected = exact_kl(kind, batch.policy_outputs, outputs, half_range)
        assert expected.mean() > 0.01
        tolerance = dict(atol=0.02, rtol=0.1) if kind == "squashed" else dict(atol=1e-6, rtol=1e-4)
        np.testing.assert_allclose(kl_from_old(after, batch), expected, **tolerance)
    part = parts_of(batch, 7, np.random.default_rng(0))[0]
    assert part.policy_outputs.shape == (7, batch.policy_outputs.shape[1])


def gaussian_outputs(distribution):
    gaussian = distribution.gaussian if isinstance(distribution, SquashedGaussian) else distribution.base_dist
    return gaussian.loc, gaussian.scale


def test_a_penalty_keeps_the_policy_near_the_one_that_acted():
    def divergence(beta):
        learner, batch = prepared(AdaptivePenalty(num_envs=8, epochs=20, policy_learning_rate=1e-2, beta=beta))
        learner.update(batch, 0.0)
        with torch.no_grad():
            return float(kl_from_old(learner.policy(batch.observations), batch).mean())

    free, held = divergence(0.0), divergence(100.0)
    assert 0 < 10 * held < free


def test_what_no_hook_needs_is_not_carried():
    _, batch = prepared(PPO(entropy_coefficient=0.1))
    assert batch.policy_outputs is batch.episode_ids is None
    with pytest.raises(ValueError, match="carries no outputs"):
        old_policy(Categorical(logits=torch.zeros(1, 2)), batch)


# ---- gradients and steps of an algorithm's own


def test_episodes_are_numbered_across_environments_and_cuts():
    rollout = random_rollout(np.random.default_rng(0), 12, 3)
    ids, seen = episode_ids(rollout), []
    for i in range(3):
        for t in range(12):
            new = t == 0 or rollout.done[t - 1, i]
            if new:
                seen.append(ids[t, i])
            assert ids[t, i] == seen[-1]
    assert seen == list(range(len(seen)))


@dataclass(frozen=True)
class PrivateReinforce(Reinforce):
    """REINFORCE whose episodes each contribute a gradient of bounded norm, and noise (Abadi et al., 2016, alg. 1)."""

    title: ClassVar[str] = "Private REINFORCE"
    seen: ClassVar[list] = []
    episode_norm: float = setting(0.1, low=0)
    noise: float = setting(0.0, low=0)

    def gradients(self, objective, batch, generator):
        gradients = objective.episode_gradients(batch.episode_ids)
        norms = torch.linalg.vector_norm(gradients, dim=1, keepdim=True)
        clipped = gradients * torch.clamp(self.episode_norm / norms, max=1.0)
        noise = torch.randn(objective.parameters.shape, generator=generator)
        self.seen.append((gradients, clipped))
        return clipped.sum(0) + self.noise * self.episode_norm * noise


@pytest.mark.parametrize(("algorithm", "task"), [(Reinforce, "RandomEnding-v0"), (Reinforce, SQUASHED), (A2C, BOX)])
def test_the_gradients_of_the_episodes_are_those_of_their_steps_and_sum_to_the_gradient(algorithm, task):
    @dataclass(frozen=True)
    class Watching(algorithm):
        seen: ClassVar[list] = []

        def gradients(self, objective, batch, generator):
            plain = super().gradients(objective, batch, generator)
            of_one = objective.per_step[batch.episode_ids == 1].sum()
            (alone,) = torch.autograd.grad(of_one, objective.parameters, retain_graph=True)
            each = objective.episode_gradients(batch.episode_ids)
            self.seen.append((objective, batch, plain, alone, each))
            return plain

    learner, whole = prepared(Watching(num_envs=4, entropy_coefficient=0.1), task, steps=3)
    learner.update(whole, 0.0)
    for objective, batch, plain, alone, each in Watching.seen:
        assert each.shape == (len(batch.episode_ids.unique()), len(objective.parameters))
        np.testing.assert_allclose(each.sum(0), plain, atol=1e-5 * float(plain.abs().max()) + 1e-7)
        np.testing.assert_allclose(each[1], alone, atol=1e-5 * float(alone.abs().max()) + 1e-7)
    assert [objective.network for objective, *_ in Watching.seen] == ["policy", "value"][: len(learner.networks)]


def test_the_plain_gradient_through_the_hook_is_the_same_run():
    @dataclass(frozen=True)
    class Same(PPO):
        def gradients(self, objective, batch, generator):
            return super().gradients(objective, batch, generator)

        def step(self, objective, gradient, batch):
            return super().step(objective, gradient, batch)

    for separate in ({}, {"target_kl": 1.0, "value_epochs": 3}):
        first, second = (cls(**SMALL, **separate).train(BOX, 0, 256, compile="never") for cls in (PPO, Same))
        assert first.updates == second.updates
        assert first.episodes == second.episodes
    assert not Same(**SMALL).train(BOX, 0, 64, compile="always", evaluations=()).compiled


def test_each_episode_is_clipped_and_the_noise_belongs_to_the_run():
    def trained(noise, seed=0):
        PrivateReinforce.seen.clear()
        algorithm = PrivateReinforce(num_envs=4, rollout_length=2, noise=noise, max_grad_norm=None)
        return algorithm.train(Task("RandomEnding-v0"), seed, 200, checkpoint_fractions=(1,), evaluations=())

    quiet = trained(0.0)
    gradients, clipped = PrivateReinforce.seen[0]
    assert len(gradients) == 8
    norms = torch.linalg.vector_norm(clipped, dim=1)
    assert float(norms.max()) == pytest.approx(0.1, rel=1e-4)
    assert torch.linalg.vector_norm(gradients, dim=1).max() > 0.2
    assert max(row["policy_gradient_norm"] for row in quiet.updates) <= 0.8 + 1e-5
    torch.manual_seed(1)
    first = trained(1.0)
    torch.manual_seed(2)
    assert trained(1.0).updates == first.updates != quiet.updates
    assert trained(1.0, seed=1).updates != first.updates


@pytest.mark.parametrize("method", ["gradients", "step"])
def test_a_gradient_or_step_of_another_shape_is_refused(method):
    wrong = type("Wrong", (A2C,), {method: lambda self, *args: torch.zeros(3)})
    learner, batch = prepared(wrong())
    with pytest.raises(
        InvalidAlgorithm, match=rf"Wrong.{method} returned a tensor of shape \(3,\) .* 'policy'; expected"
    ):
        learner.update(batch, 0.0)


@dataclass(frozen=True)
class NaturalGradient(A2C):
    """The natural gradient, scaled to a trust region, halved until the loss falls (Schulman et al., 2015, app. C)."""

    title: ClassVar[str] = "Natural gradient"
    radius: float = setting(0.01, low=0)
    damping: float = setting(0.01, low=0)

    def step(self, objective, gradient, batch):
        if objective.network != "policy":
            return super().step(objective, gradient, batch)

        def fisher_times(vector):
            at = objective.parameters.detach().clone().requires_grad_()
            (slope,) = torch.autograd.grad(objective.kl_at(at), at, create_graph=True)
            return torch.autograd.grad(slope @ vector, at)[0] + self.damping * vector

        direction = conjugate_gradients(fisher_times, gradient)
        full = direction * torch.sqrt(2 * self.radius / (direction @ fisher_times(direction)))
        with torch.no_grad():
            before = objective.loss_at(objective.parameters)
            for halving in range(10):
                after = objective.parameters - full * 0.5**halving
                if objective.loss_at(after) < before and objective.kl_at(after) <= self.radius:
                    return after
        return objective.parameters


def conjugate_gradients(times, b, iterations=10):
    x, r = torch.zeros_like(b), b.clone()
    p, rr = r.clone(), r @ r
    for _ in range(iterations):
        z = times(p)
        alpha = rr / (p @ z)
        x, r = x + alpha * p, r - alpha * z
        new = r @ r
        p, rr = r + new / rr * p, new
    return x


@pytest.mark.parametrize("task", ["Match-v0", BOX], ids=["categorical", "gaussian"])
def test_a_natural_gradient_step_lowers_the_loss_within_its_trust_region(task):
    algorithm = NaturalGradient(num_envs=8, max_grad_norm=None)
    learner, batch = prepared(algorithm, task, steps=64)

    def loss_and_kl():
        with torch.no_grad():
            distribution = learner.policy(batch.observations)
            loss = algorithm.policy_loss(distribution.log_prob(batch.actions), batch)
            return float(loss), float(kl_from_old(distribution, batch).mean())

    critic = learner.value_function.parameter_vector.clone()
    before, _ = loss_and_kl()
    learner.update(batch, 0.0)
    after, kl = loss_and_kl()
    assert after < before
    assert 0.1 * algorithm.radius < kl <= algorithm.radius
    assert (learner.value_function.parameter_vector - critic).abs().max() > 0  # which Adam moved


def test_a_natural_gradient_learns():
    algorithm = NaturalGradient(num_envs=8, rollout_length=64, max_grad_norm=None, radius=0.03, value_epochs=5)
    run = algorithm.train(Task("Match-v0"), 0, 8_000)
    assert np.mean(run.evaluation["sampled"].returns) > 8


def test_a_critic_has_no_divergence():
    @dataclass(frozen=True)
    class Confused(A2C):
        def step(self, objective, gradient, batch):
            objective.kl_at(objective.parameters)
            return super().step(objective, gradient, batch)

    learner, batch = prepared(Confused())
    with pytest.raises(ValueError, match="the critic 'value' is no policy"):
        learner.update(batch, 0.0)


# ---- critics


@dataclass(frozen=True)
class CostCritic(Reinforce):
    """REINFORCE with V(s) of the returns and of the costs, here 1 for each step."""

    title: ClassVar[str] = "Costs"
    value_function: ClassVar[bool] = True
    critics: ClassVar[dict] = {"value": "state", "cost": "state"}

    def advantages(self, rollout):
        return discounted_returns(rollout, self.gamma) - rollout.values

    def critic_targets(self, rollout, advantages):
        costs = discounted_returns(replace(rollout, rewards=rollout.valid.astype(float)), self.gamma)
        return super().critic_targets(rollout, advantages) | {"cost": costs}


def test_a_cost_critic_learns_the_return_of_the_costs_beside_the_critic_of_rewards():
    algorithm = CostCritic(
        num_envs=50, rollout_length=4, gamma=0.9, policy_learning_rate=0.0, value_learning_rate=3e-3, value_epochs=10
    )
    envs, learner, rng = make_learner(algorithm, "Tabular-v0")
    for _ in range(40):
        rollout = collect(envs, learner.policy, learner.normalizer, rng, episodes=4)
        batch = learner.prepare(rollout)
        record = learner.update(batch, 0.0)
    with torch.no_grad():
        probabilities = learner.policy(torch.eye(3)).probs.double().numpy()
    chain = 0.9 * np.einsum("sa,sat->st", probabilities, Tabular.TRANSITIONS[:, :, :3])
    for name, per_step in (("value", (probabilities * Tabular.REWARDS).sum(1)), ("cost", np.ones(3))):
        expected = np.linalg.solve(np.eye(3) - chain, per_step)
        np.testing.assert_allclose(learner.critics[name].values(np.eye(3, dtype=np.float32)), expected, rtol=0.15)
        assert {f"{name}_loss", f"{name}_gradient_norm"} < record.keys()
    assert rollout.critic_values.keys() == rollout.critic_next_values.keys() == {"cost"}
    np.testing.assert_allclose(batch.critic_values["cost"], rollout.critic_values["cost"][rollout.valid], rtol=1e-6)
    assert {"value_function/network.0.weight", "cost/network.0.weight"} < learner.state().keys()


@dataclass(frozen=True)
class ActionCritic(A2C):
    """Ψ_t = Q(s_t, a_t) less its mean over the actions; at a bandit, where a return is a reward."""

    title: ClassVar[str] = "All actions"
    critics: ClassVar[dict] = {"q": "actions"}

    def advantages(self, rollout):
        q = rollout.critic_values["q"]
        return np.take_along_axis(q, rollout.actions[..., None], -1)[..., 0] - q.mean(-1)

    def critic_targets(self, rollout, advantages):
        return {"q": rollout.rewards}


def test_a_critic_of_all_actions_learns_each_from_the_steps_that_took_it():
    algorithm = ActionCritic(num_envs=64, rollout_length=4, policy_learning_rate=0.0, value_learning_rate=1e-2)
    envs, learner, rng = make_learner(algorithm, "Bandit-v0")
    assert learner.value_function is None
    found = []
    for _ in range(300):
        rollout = collect(envs, learner.policy, learner.normalizer, rng, steps=4)
        learner.update(learner.prepare(rollout), 0.0)
        found.append(learner.critics["q"].values(np.ones((1, 1), np.float32))[0])
    assert rollout.critic_values["q"].shape == (4, 64, 4)
    np.testing.assert_allclose(np.mean(found[-100:], axis=0), Bandit.MEANS, atol=0.1)


def test_a_critic_of_all_actions_takes_targets_for_all_of_them():
    @dataclass(frozen=True)
    class Model(ActionCritic):
        def critic_targets(self, rollout, advantages):
            return {"q": np.broadcast_to(Bandit.MEANS, rollout.critic_values["q"].shape)}

    algorithm = Model(num_envs=8, policy_learning_rate=0.0, value_learning_rate=1e-2)
    envs, learner, rng = make_learner(algorithm, "Bandit-v0")
    for _ in range(200):
        learner.update(learner.prepare(collect(envs, learner.policy, learner.normalizer, rng, steps=4)), 0.0)
    np.testing.assert_allclose(learner.critics["q"].values(np.ones((1, 1), np.float32))[0], Bandit.MEANS, atol=0.05)


@needs_compiler
def test_several_critics_are_compiled_and_give_the_numbers_of_the_eager_path():
    @dataclass(frozen=True)
    class Several(A2C):
        critics: ClassVar[dict] = {"value": "state", "cost": "state", "q": "actions"}

        def critic_targets(self, rollout, advantages):
            return super().critic_targets(rollout, advantages) | {"cost": rollout.rewards**2, "q": rollout.rewards}

    runs = [
        Several(num_envs=4, rollout_length=16, minibatch_size=16).train(Task("Match-v0"), 0, 256, compile=how)
        for how in ("always", "never")
    ]
    assert [run.compiled for run in runs] == [True, False]
    for ours, theirs in zip(runs[0].updates, runs[1].updates, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-2, abs=1e-3)


@pytest.mark.parametrize(
    ("critics", "task", "sentence"),
    [
        ({"policy": "state"}, "Match-v0", "critics has 'policy'; a critic needs another name"),
        ({"a/b": "state"}, "Match-v0", "critics has 'a/b'; a critic needs another name"),
        ({"cost": "pairs"}, "Match-v0", "critics has 'cost' of the kind 'pairs'; valid is 'state' or 'actions'"),
        ({"value": "actions"}, "Match-v0", "critics has 'value' of the kind 'actions'; valid is 'state'"),
        ({"value": "actions"}, BOX, "critics has 'value' of the kind 'actions'; valid is 'state'"),
        (
            {"value": "state", "cost": "state"},
            "Match-v0",
            r"targets of \['value'\]; its critics are \['cost', 'value'\]",
        ),
    ],
)
def test_a_critic_that_cannot_be_is_refused_with_a_sentence(critics, task, sentence):
    wrong = type("Wrong", (A2C,), {"critics": critics})
    with pytest.raises(InvalidAlgorithm, match=sentence):
        prepared(wrong(), task)


def test_targets_of_another_shape_are_refused():
    wrong = type("Wrong", (A2C,), {"critic_targets": lambda self, rollout, advantages: {"value": np.zeros(3)}})
    with pytest.raises(InvalidAlgorithm, match=r"Wrong.critic_targets returned for 'value' an array of shape \(3,\)"):
        prepared(wrong())


# ---- another way to train


RANDOM_SEARCH = '''
"""Episodes of random lengths, made of NumPy alone."""
from dataclasses import dataclass
from typing import ClassVar
import numpy as np
from algorithms.core.algorithm import Algorithm, setting
from algorithms.core.run import Evaluation, Run
from algorithms.core.vector_env import Episode

@dataclass(frozen=True)
class RandomSearch(Algorithm):
    """Learns nothing."""
    title: ClassVar[str] = "Random search"
    equation: ClassVar[str] = "a_t ∼ uniform"
    spread: float = setting(0.5, low=0)

    def train(self, task, seed, steps, *, on_update=lambda steps, episodes: None, **asked):
        rng, episodes, taken = np.random.default_rng(seed), [], 0
        while taken < steps:
            length = int(rng.integers(9, 30))
            taken += length
            episodes.append(Episode(taken, float(length), length))
            on_update(taken, episodes)
        evaluation = {kind: Evaluation([20.0] * 20, [20] * 20) for kind in ("sampled", "mode")}
        return Run(episodes, [], [], evaluation, taken, 0)
'''
FOREIGN = """
description: of another library
seeds: [0]
checkpoints: [1]
tasks:
  CartPole-v1: {steps: 300, random_score: 20, reference_score: 475, reference_source: registered}
algorithms:
  random_search: {settings: {spread: 1}}
"""


@pytest.fixture
def foreign(tmp_path):
    """A copy of the project with an algorithm that trains by itself, and a grid for it."""
    folder = copy_of_the_project(tmp_path)
    (folder / "algorithms" / "random_search.py").write_text(RANDOM_SEARCH)
    (folder / "foreign.yaml").write_text(FOREIGN)
    return folder


def test_what_trains_by_itself_is_run_written_and_read_like_any_other(foreign):
    cell = "--algorithm random_search --task CartPole-v1 --seed 0"
    directory = foreign / "results/runs/CartPole-v1/random_search/0"
    writing = f"experiments.run --grid foreign.yaml {cell} --output {directory}"
    for words in (writing, "experiments.grid --grid foreign.yaml --output results/grid.json"):
        done = run(foreign, *words.split())
        assert done.returncode == 0, done.stderr
    record = json.loads((directory / "run.json").read_text())
    assert record["status"] == "done"
    assert record["settings"] == {"spread": 1.0}
    assert record["steps_per_second"] > 0
    assert (directory / "episodes.csv").read_text().startswith("step,return,length,start\n")
    assert len((directory / "updates.csv").read_text().splitlines()) == 1
    grid = reading.read_grid(foreign / "results")
    found = read_run(grid, grid.cells[0])
    assert len(read_episodes(directory, found)) == found["episodes"]
    assert len(read_updates(directory, found)) == 0


def test_a_run_that_is_none_ends_with_one_sentence_and_is_not_written(foreign):
    (foreign / "algorithms/random_search.py").write_text(
        RANDOM_SEARCH.replace("Evaluation([20.0] * 20", "Evaluation([20.0] * 3")
    )
    cell = "--algorithm random_search --task CartPole-v1 --seed 0 --output out"
    done = run(foreign, "experiments.run", "--grid", "foreign.yaml", *cell.split())
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "error: algorithms/random_search.py: RandomSearch.train returned a Run with 3 returns in "
        "evaluation['sampled']; expected are 20"
    )
    assert not (foreign / "out").exists()


def test_what_a_method_raises_ends_a_run_with_the_place_where_it_was_raised(foreign):
    (foreign / "algorithms" / "random_search.py").write_text(
        "from dataclasses import dataclass\nfrom algorithms import a2c\n\n@dataclass(frozen=True)\n"
        "class Raising(a2c.A2C):\n    title = 'Raising'\n    def regularizer(self, distribution, batch):\n"
        "        raise RuntimeError('two\\nlines')\n"
    )
    (foreign / "broken.py").write_text(
        "import gymnasium\nfrom gymnasium.envs.classic_control import CartPoleEnv\n\nclass Broken(CartPoleEnv):\n"
        "    def step(self, action):\n        return super().step(9)\n\n"
        "gymnasium.register('Broken-v0', Broken, max_episode_steps=9)\n"
    )
    (foreign / "foreign.yaml").write_text(
        FOREIGN.replace("{settings: {spread: 1}}", "").replace("CartPole-v1", "broken:Broken-v0")
        + "  reinforce:\n"
        + "compile: always\n"
    )
    (foreign / "fine.yaml").write_text(FOREIGN.replace("{settings: {spread: 1}}", ""))
    for grid, algorithm, task, place in (
        ("fine", "random_search", "CartPole-v1", "algorithms/random_search.py, Raising.regularizer, line 8"),
        ("foreign", "reinforce", "broken:Broken-v0", "broken.py, Broken.step, line 6"),
    ):
        cell = f"--algorithm {algorithm} --task {task} --seed 0 --output out"
        done = run(foreign, "experiments.run", "--grid", f"{grid}.yaml", *cell.split())
        assert done.returncode == 1
        assert done.stderr.startswith("Traceback") or "\nTraceback" in done.stderr
        assert re.match(rf"error: {place}: \w+Error: ", done.stderr.splitlines()[-1])
        assert not (foreign / "out").exists()


def test_probes_are_of_policy_gradients(foreign):
    probes = "probes: {source: random_search, seeds: [0], fractions: [1], batches: 8, exact: {batch_size: 2}}\n"
    (foreign / "foreign.yaml").write_text(FOREIGN + probes)
    done = run(foreign, "experiments.grid", "--grid", "foreign.yaml")
    assert done.returncode == 2
    assert done.stderr == (
        "error: foreign.yaml: source of probes is 'random_search', which is no PolicyGradient, so it has no policy to "
        "measure at\n"
    )


def test_a_change_that_after_update_may_not_make_ends_a_run_with_one_sentence(foreign):
    (foreign / "algorithms" / "random_search.py").write_text(
        "from dataclasses import dataclass, replace\nfrom algorithms import a2c\n\n@dataclass(frozen=True)\n"
        "class Changing(a2c.A2C):\n    title = 'Changing'\n"
        "    def after_update(self, record):\n        return replace(self, epochs=2)\n"
    )
    (foreign / "foreign.yaml").write_text(FOREIGN.replace("{spread: 1}", "{}"))
    cell = "--algorithm random_search --task CartPole-v1 --seed 0 --output out"
    done = run(foreign, "experiments.run", "--grid", "foreign.yaml", *cell.split())
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "error: algorithms/random_search.py: Changing.after_update changed epochs from 1 to 2; while a run goes on, "
        "only a setting that is a float may change, and only to another float"
    )
    assert not (foreign / "out").exists()


def test_an_algorithm_that_cannot_train_says_so():
    with pytest.raises(NotImplementedError, match=r"algorithm.py: Algorithm has no method train"):
        Algorithm().train(Task("Match-v0"), 0, 10)


def test_a_file_that_inherits_from_algorithm_and_does_not_train_is_told_what_to_inherit_from(tmp_path, monkeypatch):
    (tmp_path / "earlier.py").write_text("")
    module = types.ModuleType("policy_gradient_ladder.earlier")
    names = {"__module__": module.__name__, "title": "Earlier", "equation": "Ψ_t"}
    module.Earlier = dataclass(frozen=True)(type("Earlier", (Algorithm,), names))
    monkeypatch.setattr("experiments.grid.ALGORITHMS", tmp_path)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with pytest.raises(GridError, match=r"algorithms/earlier.py: Earlier needs a method train, or .* PolicyGradient"):
        algorithm_class("earlier")
