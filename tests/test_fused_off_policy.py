"""Off-policy gradient steps in one call: the numbers of Torch's path for every algorithm and network, and warnings."""

import logging
import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from algorithms.core.fused_off_policy import FusedOffPolicyUpdate
from algorithms.core.hooks import next_algorithm
from algorithms.core.off_policy_learner import OffPolicyLearner
from algorithms.core.off_policy_update import Networks, Noise, OffPolicyUpdate
from algorithms.core.replay import Transitions
from algorithms.core.run_check import checked_training
from algorithms.core.task import CannotResume, Task
from algorithms.ddpg import DDPG
from algorithms.sac import SAC
from algorithms.td3 import TD3
from tests.tasks import needs_compiler
from tests.test_resuming import interrupted
from tests.test_resuming import numbers as run_numbers

OBSERVED, ACTED = 5, 2
SMALL = dict(batch_size=24, hidden_sizes=(16, 16))
TOLERANCE = 2e-5  # of parameters after some steps, which round differently


def numbers(rng, *shape):
    """Standard normal, float32."""
    return torch.from_numpy(rng.standard_normal(shape, np.float32))


def drawn(algorithm, rng):
    """A batch and its noise, as a learner would sample them."""
    rows = algorithm.batch_size
    gathered = numbers(rng, rows, 2 * OBSERVED + ACTED + 2)  # as in the replay, so that tensors have strides
    batch = Transitions(
        gathered[:, :OBSERVED],
        gathered[:, OBSERVED : OBSERVED + ACTED].tanh(),
        gathered[:, -2],
        gathered[:, OBSERVED + ACTED : -2],
        (numbers(rng, rows) > 1).float(),
    )
    needs = algorithm.stochastic or algorithm.overrides("target_actions")
    noise = Noise(
        numbers(rng, rows, ACTED) if needs else None, numbers(rng, rows, ACTED) if algorithm.stochastic else None
    )
    return batch, noise


def after(algorithm, update_of, steps, spoil=lambda batch: None):
    """The update after some gradient steps on batches that are always the same, and the records of all steps."""
    space = Box(-1, 1, (ACTED,))
    networks = Networks(algorithm, OBSERVED, space, torch.Generator().manual_seed(0))
    networks.set_learning_rates(1e-3, 2e-3)
    update, rng, records = update_of(networks), np.random.default_rng(0), []
    for step in range(1, steps + 1):
        batch, noise = drawn(algorithm, rng)
        spoil(batch)
        moves_policy = step % algorithm.policy_delay == 0
        records.append(update.step(algorithm, batch, noise, moves_policy=moves_policy))
        algorithm = next_algorithm(algorithm, records[-1] | {"action_size": float(ACTED)})
    return update, records


def assert_same_numbers(algorithm, steps=4):
    """On both paths; returns the update that was compiled."""
    compiled, records = after(algorithm, FusedOffPolicyUpdate, steps)
    eager, eager_records = after(algorithm, OffPolicyUpdate, steps)
    assert not eager.compiled
    for ours, theirs in zip(compiled.networks.all(), eager.networks.all(), strict=True):
        for name, array in theirs.state().items():
            where = f"{theirs.name}/{name}"
            np.testing.assert_allclose(ours.state()[name], array, atol=TOLERANCE, rtol=1e-5, err_msg=where)
        assert ours.step_count == theirs.step_count
    for ours, theirs in zip(records, eager_records, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-5)
    return compiled


@dataclass(frozen=True)
class Huber(SAC):
    """Another loss of the critics, three of them, and a policy that keeps near the actions of the replay's rewards."""

    critic_count: ClassVar[int] = 3
    width: float = 0.7

    def critic_loss(self, values, targets, batch):
        return torch.nn.functional.huber_loss(values, targets.expand_as(values)) * self.width

    def policy_loss(self, values, log_probs, batch):
        return -(values.mean(0) * batch.rewards.sigmoid()).mean() + self.temperature * log_probs.square().mean()


@dataclass(frozen=True)
class BySize(DDPG):
    """Computes with the size of the batch, and with a float that has to be one."""

    def targets(self, batch, next_values, next_log_probs):
        return batch.rewards + float(self.gamma) * next_values.mean(0)

    def policy_loss(self, values, log_probs, batch):
        return -values.sum() / len(batch.rewards)


@dataclass(frozen=True)
class Decides(DDPG):
    """Cannot be compiled: what it does depends on the numbers."""

    def critic_loss(self, values, targets, batch):
        return (values - targets).square().mean() * (2 if batch.rewards.sum() > 0 else 1)


@dataclass(frozen=True)
class Adapting(DDPG):
    """Changes a float that it computes with as a number of Python."""

    scale: float = 1.0

    def targets(self, batch, next_values, next_log_probs):
        return batch.rewards * math.exp(self.scale) + next_values[0]

    def after_update(self, record):
        return self.changed(scale=self.scale / 2)


@needs_compiler
@pytest.mark.parametrize("algorithm", [DDPG(**SMALL), TD3(**SMALL), SAC(**SMALL)], ids=lambda a: a.title)
def test_every_algorithm_has_the_numbers_of_torchs_path(algorithm):
    assert assert_same_numbers(algorithm).compiled


@needs_compiler
@pytest.mark.parametrize("algorithm", [Huber(**SMALL), BySize(**SMALL)], ids=["losses", "size"])
def test_a_users_own_losses_are_on_the_same_path(algorithm):
    assert assert_same_numbers(algorithm).compiled


@needs_compiler
@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("hidden_sizes", [(), (1,), (33, 7), (5, 40, 300)])
def test_networks_of_every_shape_have_the_numbers_of_torchs_path(hidden_sizes, activation):
    algorithm = SAC(batch_size=24, hidden_sizes=hidden_sizes, activation=activation)  # the heads are always the same
    assert assert_same_numbers(algorithm).compiled


@needs_compiler
def test_a_batch_of_more_than_one_block_has_the_numbers_of_torchs_path():
    assert assert_same_numbers(SAC(batch_size=600, hidden_sizes=(16, 16))).compiled  # summed in blocks of 256


@needs_compiler
def test_floats_that_after_update_changes_are_inputs_of_the_code():
    update, _ = after(SAC(**SMALL), FusedOffPolicyUpdate, 3)
    seconds = update.seconds
    algorithm = SAC(**SMALL, temperature=0.0, gamma=0.5, tau=1.0)
    batch, noise = drawn(algorithm, np.random.default_rng(1))
    update.step(algorithm, batch, noise, moves_policy=True)
    assert update.seconds == seconds
    for critic, target in zip(update.networks.of_critics, update.networks.of_targets, strict=True):
        torch.testing.assert_close(target.vector, critic.vector)  # the targets are where τ = 1 puts them


@needs_compiler
@pytest.mark.parametrize("where", ["observations", "rewards", "next_observations"])
def test_what_is_not_finite_stays_so(where):
    def spoil(batch):
        getattr(batch, where)[3] = math.nan

    for algorithm in (DDPG(**SMALL), SAC(**SMALL)):
        unusable = []
        for update_of in (FusedOffPolicyUpdate, OffPolicyUpdate):
            update, records = after(algorithm, update_of, 1, spoil)
            unusable.append(
                {x.name for x in update.networks.all() if not torch.isfinite(x.vector).all()}
                | {name for name, value in records[0].items() if not math.isfinite(value)}
            )
        assert unusable[0] == unusable[1] != set()


def test_without_a_compiler_one_warning_says_so_and_the_numbers_are_torchs(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CXX", "no-such-compiler")
    update, records = after(SAC(**SMALL), FusedOffPolicyUpdate, 3)
    eager, eager_records = after(SAC(**SMALL), OffPolicyUpdate, 3)
    assert records == eager_records
    for ours, theirs in zip(update.networks.all(), eager.networks.all(), strict=True):
        assert torch.equal(ours.vector, theirs.vector)
    said = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert said == ["gradient steps: not compiled, and slower for it: there is no C++ compiler (no-such-compiler)"]


@needs_compiler
@pytest.mark.parametrize(
    ("algorithm", "reason"),
    [(Decides(**SMALL), "depends on the numbers in a tensor"), (Adapting(**SMALL), "after_update changes numbers")],
    ids=["numbers", "floats"],
)
def test_what_cannot_be_compiled_says_why_once(algorithm, reason, caplog):
    assert not assert_same_numbers(algorithm).compiled
    (said,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert said.startswith("gradient steps: not compiled, and slower for it: ")
    assert reason in said


@needs_compiler
def test_an_interrupted_training_goes_on_with_its_machine_code_or_not_at_all(tmp_path, monkeypatch):
    algorithm, task = SAC(**SMALL, learning_starts=30), Task("Pendulum-v1")
    options = {"compile": "always", "evaluations": ()}
    whole = checked_training(algorithm, task, 3, 60, **options)
    assert whole.compiled
    paused = interrupted(algorithm, task, 60, tmp_path / "x", after=45, **options)
    assert run_numbers(checked_training(algorithm, task, 3, 60, trained=paused, **options)) == run_numbers(whole)
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr("algorithms.core.compiled._cache", lambda: tmp_path / "cache")
    with pytest.raises(CannotResume, match="were machine code when the training was interrupted, and are not now"):
        checked_training(algorithm, task, 3, 60, trained=paused, **options)


@needs_compiler
def test_a_learner_compiles_only_what_repays_it():
    def made(**how):
        seeds = np.random.SeedSequence(0).spawn(2)
        space = Box(-1, 1, (ACTED,))
        task = Task("BoxRandomEnding-v0")
        return OffPolicyLearner(
            how.pop("algorithm", SAC(**SMALL)),
            *(task, OBSERVED, space),
            initialisation=seeds[0],
            minibatches=seeds[1],
            **how,
        ).update_of

    assert not isinstance(made(steps=1_000, compile="auto", runs=5), FusedOffPolicyUpdate)
    assert isinstance(made(steps=3_000, compile="auto", runs=5), FusedOffPolicyUpdate)
    assert not isinstance(made(steps=100_000, compile="never"), FusedOffPolicyUpdate)
    assert isinstance(made(steps=1_000, compile="always"), FusedOffPolicyUpdate)
    rare = SAC(**SMALL, rollout_length=50)  # a gradient step after every 50 steps
    assert not isinstance(made(steps=3_000, compile="auto", runs=5, algorithm=rare), FusedOffPolicyUpdate)
