"""A3C: at staleness 0 it is A2C to the bit; else every worker's gradient is that of its own parameters."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from algorithms.a2c import A2C
from algorithms.a3c import A3C
from algorithms.core.asynchronous import AsynchronousLearner
from algorithms.core.on_policy import Learner
from algorithms.core.rollout import Rollout, collect
from algorithms.core.task import Task
from algorithms.core.vector_env import VectorEnv
from tests.tasks import needs_compiler

SMALL = {"num_envs": 4, "rollout_length": 6, "entropy_coefficient": 0.01}
OF_STEPS = ("observations", "actions", "rewards", "terminated", "truncated", "next_observations", "valid")
OF_STEPS += ("action_masks", "reported_costs", "part_rewards")
TASKS = ["BoxRandomEnding-v0", "Masked-v0", "Junctions-v0"]


def same(first, second):
    assert first.episodes == second.episodes
    assert first.updates == second.updates
    assert first.evaluation == second.evaluation
    for a, b in zip(first.checkpoints, second.checkpoints, strict=True):
        for name in a.state:
            np.testing.assert_array_equal(a.state[name], b.state[name])


@pytest.mark.parametrize("compile", ["never", pytest.param("always", marks=needs_compiler)])
@pytest.mark.parametrize("task", TASKS)
def test_without_staleness_it_is_a2c_to_the_bit(task, compile):
    task = Task(task, normalize_observations=True, normalize_rewards=True)
    runs = [
        algorithm.train(task, 3, 600, checkpoint_fractions=(0.5, 1), compile=compile)
        for algorithm in (A2C(**SMALL), A3C(staleness=0, **SMALL))
    ]
    assert runs[0].compiled == runs[1].compiled == (compile == "always")
    same(*runs)


def test_with_staleness_it_is_another_run_and_the_same_one_every_time():
    runs = [A3C(staleness=m, **SMALL).train(Task("Match-v0"), 3, 600) for m in (2, 2, 0)]
    same(runs[0], runs[1])
    assert runs[0].episodes != runs[2].episodes


class Never(A3C):
    """A3C whose workers never copy again."""

    def copied(self, rng):
        """None."""
        return np.zeros(self.num_envs, bool)


def asynchronous(algorithm, task, kind=AsynchronousLearner):
    environments, initialisation, minibatches, acting = np.random.SeedSequence(5).spawn(4)
    envs = VectorEnv(task, algorithm.num_envs, environments)
    learner = kind(
        *(algorithm, task, envs.observation_size, envs.action_space),
        initialisation=initialisation,
        minibatches=minibatches,
    )
    return envs, learner, np.random.default_rng(acting)


def with_parameters(network, vector, function):
    """What a function returns while the network has other parameters."""
    before = network.vector.clone()
    network.vector.copy_(vector)
    try:
        return function()
    finally:
        network.vector.copy_(before)


@pytest.mark.parametrize("task", [*TASKS, "Squashed"])
def test_a_workers_gradient_is_that_of_a2c_at_its_own_parameters_on_its_own_steps(task):
    """A reference that knows one worker at a time: its rollout, values, Ψ_t and loss are all of its own parameters."""
    algorithm = A3C(staleness=3, max_grad_norm=None, adam_epsilon=1.0, **SMALL)
    task = Task("Hit-v0", action_bounds="squash") if task == "Squashed" else Task(task)
    envs, learner, rng = asynchronous(algorithm, task)
    for network in learner.networks.values():  # workers far apart
        network.copies += 0.3 * torch.randn(network.copies.shape, generator=torch.Generator().manual_seed(1))
    copies = {name: network.copies.clone() for name, network in learner.networks.items()}
    rollout = collect(envs, learner.behaviour, learner.normalizer, rng, steps=6)
    batch = learner.prepare(rollout)

    expected = {name: torch.zeros_like(network.vector) for name, network in learner.networks.items()}
    for worker in range(4):
        _, single, _ = asynchronous(replace(algorithm, num_envs=1), task, Learner)
        for name, network in single.networks.items():
            network.vector.copy_(copies[name][worker])
        part = Rollout(**{name: None if (x := getattr(rollout, name)) is None else x[:, [worker]] for name in OF_STEPS})
        of_worker = single.prepare(part)
        torch.testing.assert_close(of_worker.advantages, batch.advantages[worker::4], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(of_worker.log_probs, batch.log_probs[worker::4], rtol=1e-4, atol=1e-5)
        for name, network in single.networks.items():
            masks = (of_worker.action_masks,) if name == "policy" else ()
            outputs = network.module(of_worker.observations, *masks)
            if name == "policy":
                log_prob = outputs.log_prob(of_worker.actions)
                psi = of_worker.advantages if log_prob.ndim == 1 else of_worker.advantages[:, None]
                loss = -(log_prob * psi).mean(0).sum() - 0.01 * outputs.entropy().mean()
            else:
                loss = 0.5 * (outputs - of_worker.value_targets).square().mean()
            gradient = torch.autograd.grad(loss, list(network.module.parameters()))
            expected[name] += torch.cat([g.flatten() for g in gradient]) / 4

    before = {name: network.vector.clone() for name, network in learner.networks.items()}
    learner.update(batch, 0.0)
    for name, network in learner.networks.items():
        # After one step Adam's mean is (1 − β₁) times the gradient that it was given.
        torch.testing.assert_close(network.mean / 0.1, expected[name], rtol=1e-3, atol=1e-5)
        assert not torch.equal(network.vector, before[name])


def test_a_worker_acts_by_its_own_parameters():
    _, learner, _ = asynchronous(A3C(num_envs=4), Task("BoxRandomEnding-v0"))
    network = learner.networks["policy"]
    network.copies += torch.randn(network.copies.shape, generator=torch.Generator().manual_seed(0))
    observations = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)
    found = learner.behaviour.act(observations, np.random.default_rng(0))
    for worker in range(4):
        alone = with_parameters(
            network, network.copies[worker], lambda: learner.policy.act(observations, np.random.default_rng(0))
        )
        np.testing.assert_allclose(found[worker], alone[worker], rtol=1e-4, atol=1e-5)


def test_workers_that_never_copy_keep_acting_by_the_first_parameters():
    envs, learner, rng = asynchronous(Never(staleness=1.0, **SMALL), Task("BoxRandomEnding-v0"))
    first = learner.policy.parameter_vector.clone()
    for k in range(3):
        batch = learner.prepare(collect(envs, learner.behaviour, learner.normalizer, rng, steps=6))
        assert learner.update(batch, 0.0)["lag"] == k
        assert torch.equal(learner.networks["policy"].copies, first.repeat(4, 1))
    assert not torch.equal(learner.policy.parameter_vector, first)


@pytest.mark.parametrize("staleness", [0.5, 4.0])
def test_the_mean_lag_is_the_staleness_and_its_distribution_is_geometric(staleness):
    algorithm, rng = A3C(num_envs=8, staleness=staleness), np.random.default_rng(0)
    lags, seen = np.zeros(8, int), []
    for _ in range(20_000):
        seen.append(lags)
        lags = np.where(algorithm.copied(rng), 0, lags + 1)
    seen = np.concatenate(seen)
    assert seen.mean() == pytest.approx(staleness, rel=0.03)
    copies = 1 / (1 + staleness)
    for lag in range(3):
        assert (seen == lag).mean() == pytest.approx(copies * (1 - copies) ** lag, abs=0.01)


def test_a_runs_table_has_the_mean_lag():
    run = A3C(staleness=3, num_envs=8).train(Task("Match-v0"), 0, 20_000)
    updates = np.array([row["updates"] for row in run.updates])
    lags = np.array([row["lag"] for row in run.updates])
    assert (lags * updates).sum() / updates.sum() == pytest.approx(3, rel=0.15)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"staleness": -1}, "staleness of A3C must be finite and not negative, not -1"),
        ({"epochs": 2}, "epochs of A3C must be 1, not 2"),
        ({"minibatch_size": 64}, "minibatch_size of A3C must be null, not 64"),
    ],
)
def test_what_it_cannot_be_is_refused_in_a_sentence(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        A3C.from_settings(settings)
