"""The update in one call: the numbers of Torch's path for every loss, size and network, and its warnings."""

import itertools
import logging
import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch.distributions import kl_divergence

from algorithms.a2c import A2C
from algorithms.core import fused
from algorithms.core.compiled import CannotCompile
from algorithms.core.divergence import old_policy
from algorithms.core.rollout import collect
from algorithms.core.task import Task
from algorithms.ppo import PPO
from algorithms.reinforce import Reinforce
from algorithms.reinforce_baseline import ReinforceBaseline
from tests.tasks import ALGORITHMS, IN_ALL_SPACES, make_learner, needs_compiler

SMALL = dict(num_envs=4, rollout_length=16)
BOX, MASKED, DISCRETE = Task("BoxRandomEnding-v0"), Task("Masked-v0"), Task("RandomEnding-v0")
SQUASHED = Task("BoxRandomEnding-v0", action_bounds="squash")
TOLERANCE = 2e-5  # of parameters after some updates, which round differently


def trained(algorithm, task, compile, updates=3):
    """A learner after some updates, and the record of the last."""
    envs, learner, rng = make_learner(algorithm, task, spread=30.0, compile=compile)
    for _ in range(updates):
        how = dict(episodes=1) if algorithm.whole_episodes else dict(steps=16)
        batch = learner.prepare(collect(envs, learner.policy, learner.normalizer, rng, **how))
        record = learner.update(batch, 0.0)
    return learner, record


def assert_same_numbers(algorithm, task, updates=3):
    """On both paths; returns the learner whose steps were compiled."""
    compiled, record = trained(algorithm, task, "always", updates)
    eager, eager_record = trained(algorithm, task, "never", updates)
    assert not eager.compiled
    for name, array in eager.state().items():
        np.testing.assert_allclose(compiled.state()[name], array, atol=TOLERANCE, rtol=1e-5, err_msg=name)
    assert record == pytest.approx(eager_record, rel=2e-3, abs=1e-4)
    return compiled


@dataclass(frozen=True)
class Penalized(PPO):
    """A regularizer that reads the old policy and the distribution."""

    beta: float = 0.5

    def regularizer(self, distribution, batch):
        return self.beta * kl_divergence(old_policy(distribution, batch), distribution).mean()


@dataclass(frozen=True)
class Huber(PPO):
    """A value loss of its own."""

    def value_loss(self, values, batch):
        return torch.nn.functional.huber_loss(values, batch.value_targets)


@dataclass(frozen=True)
class ByObservation(A2C):
    """A loss that reads what no loss of the ladder reads."""

    def policy_loss(self, log_prob, batch):
        return -(log_prob * batch.advantages * batch.observations[:, 0].sigmoid()).mean()


@dataclass(frozen=True)
class BySize(A2C):
    """A loss that computes with the batch's size as a number."""

    def policy_loss(self, log_prob, batch):
        return -(log_prob * batch.advantages).sum() / len(batch)


@dataclass(frozen=True)
class ByShape(A2C):
    """The same with the size as Torch gives it."""

    def policy_loss(self, log_prob, batch):
        return -(log_prob * batch.advantages).sum() / log_prob.shape[0]


@dataclass(frozen=True)
class TwoCritics(PPO):
    """Has a critic of actions beside that of states."""

    critics: ClassVar = {"value": "state", "action": "actions"}

    def critic_targets(self, rollout, advantages):
        return super().critic_targets(rollout, advantages) | {"action": advantages}


@needs_compiler
@pytest.mark.parametrize(
    ("name", "task"),
    [
        *itertools.product(ALGORITHMS, [DISCRETE, MASKED]),
        *itertools.product(IN_ALL_SPACES, [BOX, SQUASHED]),
    ],
    ids=str,
)
def test_every_algorithm_has_the_numbers_of_torchs_path(name, task):
    settings = {"num_envs": 4, "rollout_length": 1 if ALGORITHMS[name].whole_episodes else 16}
    own_step = ALGORITHMS[name].has_own(
        "step", "policy"
    )  # a natural step magnifies how the critic's last digits differ
    learner = assert_same_numbers(ALGORITHMS[name].from_settings(settings), task, updates=1 if own_step else 3)
    for optimizer in learner.optimizers.values():  # steps of the algorithm's own are not compiled, and all others are
        own = [ALGORITHMS[name].has_own("step", network.name) for network in optimizer.networks]
        assert all(own) if optimizer.fused is None else optimizer.fused.compiled and not any(own)


@needs_compiler
@pytest.mark.parametrize(
    ("algorithm", "task"),
    [
        (Penalized(**SMALL, minibatch_size=24, epochs=2), BOX),
        (Penalized(**SMALL, minibatch_size=24, epochs=2), MASKED),
        (Huber(**SMALL, minibatch_size=24, epochs=2), DISCRETE),
        (ByObservation(**SMALL), BOX),
        (ByShape(**SMALL), DISCRETE),
        (TwoCritics(**SMALL, minibatch_size=24, epochs=2), DISCRETE),
        (PPO(**SMALL, minibatch_size=24, epochs=3, target_kl=1e-3), BOX),
        (PPO(**SMALL, minibatch_size=24, epochs=2, max_grad_norm=None, entropy_coefficient=0.1), SQUASHED),
    ],
    ids=["penalty", "masked penalty", "value loss", "observations", "shape", "critics", "target KL", "entropy"],
)
def test_a_users_own_losses_are_on_the_same_path(algorithm, task):
    assert assert_same_numbers(algorithm, task, updates=2).compiled


@needs_compiler
@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("hidden_sizes", [(), (1,), (16,), (33, 7), (64, 64), (5, 40, 300)])
def test_networks_of_every_shape_have_the_numbers_of_torchs_path(hidden_sizes, activation):
    algorithm = PPO(**SMALL, hidden_sizes=hidden_sizes, activation=activation, minibatch_size=20, epochs=2)
    assert assert_same_numbers(algorithm, BOX).compiled


@needs_compiler
def test_a_batch_of_more_than_one_block_has_the_numbers_of_torchs_path():
    algorithm = A2C(num_envs=64, rollout_length=16)  # 1,024 steps: gradients are summed in blocks of 256
    assert assert_same_numbers(algorithm, BOX).compiled


@needs_compiler
@pytest.mark.parametrize("size", [1, 2, 3, 21, 32, 63, 64, None])
def test_minibatches_of_every_size_have_the_numbers_of_torchs_path(size):
    """The last one, of one step where the size is 21 or 63, is Torch's; so are all where others are larger."""
    algorithm = PPO(**SMALL, minibatch_size=size, epochs=2, normalize_advantages=False)
    learner = assert_same_numbers(algorithm, BOX, updates=1)
    (optimizer,) = learner.optimizers.values()
    assert optimizer.fused.takes(size or 64)
    assert optimizer.fused.takes(1) == (size == 1)
    assert optimizer.fused.takes(40) == (size != 1)


@needs_compiler
def test_a_loss_that_computes_with_the_size_is_compiled_for_that_size_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # the operations are those of `ByShape` at every size
    learner = assert_same_numbers(BySize(**SMALL), DISCRETE)
    (optimizer,) = learner.optimizers.values()
    assert [size for size in range(1, 100) if optimizer.fused.takes(size)] == [64]


@needs_compiler
def test_a_loss_that_computes_with_a_size_that_varies_is_not_compiled_and_says_why(caplog):
    @dataclass(frozen=True)
    class Whole(Reinforce):
        def policy_loss(self, log_prob, batch):
            return -(log_prob * batch.advantages).sum() / len(batch)

    assert not assert_same_numbers(Whole(num_envs=4), DISCRETE).compiled
    assert "policy steps: not compiled, and slower for it: it computes with the batch's size" in caplog.text


@needs_compiler
def test_whole_episodes_of_a_single_step_at_first_are_compiled_for_any_size():
    algorithm = ReinforceBaseline(num_envs=1, value_minibatch_size=8)
    _, learner, _ = make_learner(algorithm, DISCRETE, compile="always")
    envs, whole, rng = make_learner(algorithm, DISCRETE)
    rollout = collect(envs, whole.policy, whole.normalizer, rng, episodes=12)
    batch = whole.prepare(rollout)
    learner.update(batch.minibatch(np.arange(1)), 0.0)
    assert all(optimizer.fused.takes(size) for optimizer in learner.optimizers.values() for size in (2, 8, 300))


@needs_compiler
@pytest.mark.parametrize("where", ["observations", "advantages", "value_targets"])
def test_what_is_not_finite_stays_so(where):
    learners = [make_learner(PPO(**SMALL, epochs=2), BOX, compile=compile) for compile in ("always", "never")]
    records = []
    for envs, learner, rng in learners:
        batch = learner.prepare(collect(envs, learner.policy, learner.normalizer, rng, steps=16))
        getattr(batch, where)[3] = math.nan
        records.append(learner.update(batch, 0.0))
        assert not learner.is_finite()
    unusable = [{name for name, value in record.items() if not math.isfinite(value)} for record in records]
    assert unusable[0] == unusable[1] != set()


@needs_compiler
def test_log_probabilities_are_computed_where_somebody_reads_them():
    for algorithm, reads in ((A2C(**SMALL), False), (PPO(**SMALL), True), (replace(A2C(**SMALL), target_kl=1.0), True)):
        envs, learner, rng = make_learner(algorithm, BOX, compile="always")
        found = []
        for diagnosed in (False, False, True):
            rollout = collect(envs, learner.policy, learner.normalizer, rng, steps=16)
            batch = learner.prepare(rollout, diagnosed=diagnosed)
            found.append(bool(batch.log_probs.any()))
            learner.update(batch, 0.0)
        assert found == [True, reads, True]  # before the first update it is not known


@needs_compiler
def test_a_successors_value_is_that_of_the_next_state_and_nothing_after_a_terminal_one():
    for algorithm, task in ((PPO(**SMALL), DISCRETE), (ReinforceBaseline(num_envs=4), BOX)):
        envs, learner, rng = make_learner(algorithm, task)
        how = dict(episodes=1) if algorithm.whole_episodes else dict(steps=16)
        rollout = collect(envs, learner.policy, learner.normalizer, rng, **how)
        learner.prepare(rollout)
        values = learner.value_function.values(rollout.next_observations.reshape(-1, envs.observation_size))
        expected = values.reshape(rollout.valid.shape) * (rollout.valid & ~rollout.terminated)
        np.testing.assert_allclose(rollout.next_values, expected, atol=1e-6)
        assert rollout.terminated.any()


@needs_compiler
def test_a_learner_compiles_only_what_repays_it():
    assert not trained(PPO(**SMALL), BOX, "auto", updates=1)[0].compiled
    envs, learner, rng = make_learner(PPO(**SMALL, minibatch_size=8), BOX, compile="auto", steps=100_000)
    learner.update(learner.prepare(collect(envs, learner.policy, learner.normalizer, rng, steps=16)), 0.0)
    assert learner.compiled
    assert learner.compiling_seconds > 0


def test_without_a_compiler_one_warning_says_so_and_the_numbers_are_torchs(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CXX", "no-such-compiler")
    algorithm = PPO(**SMALL, minibatch_size=24, epochs=2)
    learner, record = trained(algorithm, BOX, "always")
    eager, eager_record = trained(algorithm, BOX, "never")
    assert record == eager_record
    assert torch.equal(learner.policy.parameter_vector, eager.policy.parameter_vector)
    said = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert said == [
        "policy and value steps: not compiled, and slower for it: there is no C++ compiler (no-such-compiler)"
    ]


def test_a_head_that_fails_ends_with_a_sentence(monkeypatch):
    def refuse(*arguments):
        raise CannotCompile("the test says so")

    monkeypatch.setattr(fused, "ahead_of_time", refuse)
    assert not trained(A2C(**SMALL), BOX, "always")[0].compiled


@needs_compiler
def test_the_gradient_is_the_derivative_of_the_loss():
    """By differences of the loss, in double precision, at every hundredth parameter of policy and critic."""
    algorithm = PPO(**SMALL, max_grad_norm=None, epochs=1, minibatch_size=None, entropy_coefficient=0.1)
    envs, learner, rng = make_learner(algorithm, BOX, spread=30.0, compile="always")
    batch = learner.prepare(collect(envs, learner.policy, learner.normalizer, rng, steps=16))
    losses = {}
    for key, network in learner.networks.items():
        module = network.module.double()
        double = batch.minibatch(np.arange(len(batch)))
        for name, tensor in double.tensors().items():
            if tensor.is_floating_point():
                setattr(double, name, tensor.double())
        for parameter, i in itertools.product(module.parameters(), range(0, 5000, 100)):
            flat = parameter.data.view(-1)
            if i < len(flat):
                before, ends = float(flat[i]), []
                for shift in (1e-6, -1e-6):
                    flat[i] = before + shift
                    with torch.no_grad():
                        ends.append(float(network.loss(algorithm, module, double)[0]))
                flat[i] = before
                losses.setdefault(key, []).append((ends[0] - ends[1]) / 2e-6)
        module.float()
    envs, learner, rng = make_learner(algorithm, BOX, spread=30.0, compile="always")
    batch = learner.prepare(collect(envs, learner.policy, learner.normalizer, rng, steps=16))
    learner.update(batch, 0.0)
    assert learner.compiled
    for key, network in learner.networks.items():
        gradient = network.mean / 0.1  # Adam's first mean is a tenth of the gradient
        ends = np.cumsum([0, *(p.numel() for p in network.module.parameters())])
        picked = [float(gradient[a + i]) for a, b in itertools.pairwise(ends) for i in range(0, b - a, 100)]
        np.testing.assert_allclose(picked, losses[key], rtol=1e-3, atol=1e-5)
