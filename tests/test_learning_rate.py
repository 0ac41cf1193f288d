"""A learning rate of 0: Adam's step leaves the parameters as they are, also where the gradient was always 0."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from algorithms.a2c import A2C
from algorithms.core.batch import Batch
from algorithms.core.fused import Trainable
from algorithms.core.mlp import flatten_parameters
from algorithms.core.optimizer import Optimizer, take_adam_step
from algorithms.core.rollout import collect
from algorithms.core.task import Task
from algorithms.ppo import PPO
from tests.tasks import ALGORITHMS, IN_ALL_SPACES, make_learner, needs_compiler

EPSILON = 1e-5
RATES = (0.0, 1e-2, 0.0, 3e-3, 1e-44, 1e-45, 1e-2, 0.0)  # 1e-44 and 1e-45 are rounded; their step is less than a bit


def gradients():
    """Gradients [P] in turn: those of the first parameters are always 0, of the next ones at times."""
    generator = torch.Generator().manual_seed(0)
    found = torch.randn(len(RATES), 40, generator=generator)
    found[:, :10] = 0.0
    found[::2, 10:20] = 0.0
    found[:4, 20:25] = 0.0
    found[:, 25:30] *= 1e-30  # whose square is 0
    return found


def step(vector, mean, square, count, rate, gradient):
    """A step as a function of tensors, which returns the parameters."""
    take_adam_step((vector, mean, square, count, rate), gradient, EPSILON)
    return vector.clone()


def steps_of_torch():
    parameters = torch.linspace(-1, 1, 40).requires_grad_()
    optimizer = torch.optim.Adam([parameters], eps=EPSILON)
    for rate, gradient in zip(RATES, gradients(), strict=True):
        optimizer.param_groups[0]["lr"], parameters.grad = rate, gradient.clone()
        optimizer.step()
        yield rate, gradient, parameters.detach().clone()


def assert_steps_are_torchs(step):
    vector, mean, square, count = torch.linspace(-1, 1, 40), torch.zeros(40), torch.zeros(40), torch.zeros(())
    for rate, gradient, expected in steps_of_torch():
        before = vector.clone()
        step(vector, mean, square, count, torch.tensor(rate), gradient)
        torch.testing.assert_close(vector, expected, rtol=0, atol=5e-7)
        assert torch.equal(vector[:10], torch.linspace(-1, 1, 40)[:10])
        assert torch.equal(vector, before) == (rate < 1e-40)
    assert float(count) == len(RATES)


def test_steps_with_a_learning_rate_of_0_between_are_torchs():
    assert_steps_are_torchs(step)


class Linear(nn.Module):
    """A function of nothing but its bias, whose gradient is whatever the loss says."""

    def __init__(self):
        super().__init__()
        self.network = nn.Sequential(nn.Linear(1, 40))
        nn.init.zeros_(self.network[0].weight)
        self.network[0].bias.data = torch.linspace(-1, 1, 40)
        self.parameter_vector = flatten_parameters(self)

    def of_outputs(self, outputs):
        """The outputs themselves."""
        return outputs


@needs_compiler
def test_compiled_steps_with_a_learning_rate_of_0_between_are_torchs():
    def loss(algorithm, module, batch):
        outputs = module(batch.observations)
        return (outputs * batch.critic_values["slopes"]).sum(), {"loss": outputs.mean()}, outputs

    network = Trainable("bias", Linear(), loss)
    optimizer = Optimizer([network], A2C(adam_epsilon=EPSILON, max_grad_norm=None))
    optimizer.fuse(None)
    before = network.vector[40:].clone()
    for rate, gradient, expected in steps_of_torch():
        network.learning_rate.fill_(rate)
        zeros = torch.zeros(2)
        batch = Batch(torch.zeros(2, 1), zeros, zeros, zeros, zeros, zeros, torch.tensor(2.0))
        batch.critic_values["slopes"] = torch.stack([gradient / 2, gradient / 2])
        optimizer.learn(batch, None, np.array([0, 2]))
        assert optimizer.fused.compiled
        torch.testing.assert_close(network.vector[40:], expected, rtol=0, atol=5e-7)
        assert torch.equal(network.vector[40:], before) == (rate < 1e-40)
        before = network.vector[40:].clone()
    assert float(network.step_count) == len(RATES)


def test_what_is_not_finite_stays_so_with_a_learning_rate_of_0():
    state = (torch.zeros(2), torch.zeros(2), torch.zeros(2), torch.zeros(()), torch.zeros(()))
    take_adam_step(state, torch.tensor([torch.nan, 0.0]), EPSILON)
    assert state[0].isnan().tolist() == [True, False]


@pytest.mark.parametrize(
    ("name", "task"),
    [
        *itertools.product(ALGORITHMS, ["AlwaysZero-v0", "Masked-v0"]),
        *((name, "BoxRandomEnding-v0") for name in IN_ALL_SPACES),
    ],
)
def test_a_training_at_a_learning_rate_of_0_ends_as_it_began(name, task):
    """A reward of 0 and a critic's targets of 0, masked actions, dead units (of tanh none, of relu some)."""
    rates = {"policy_learning_rate": 0.0, "value_learning_rate": 0.0}
    if name == "natural_policy_gradient":
        rates["target_kl"] = None  # with it, the length of a step follows from it; TRPO's always does
    known = ALGORITHMS[name]().settings()
    algorithm = ALGORITHMS[name].from_settings(
        {key: value for key, value in (rates | {"activation": "relu"}).items() if key in known}
    )
    run = algorithm.train(Task(task), seed=0, steps=500, checkpoint_fractions=(0, 1), evaluations=(), compile="never")
    assert run.diverged_at is None
    assert run.updates_made > 0
    first, last = (checkpoint.state for checkpoint in run.checkpoints)
    for key in first:
        if key.startswith("value_function/") or (key.startswith("policy/") and name != "trpo"):
            np.testing.assert_array_equal(last[key], first[key], err_msg=key)


@pytest.mark.parametrize("compile", ["never", pytest.param("always", marks=needs_compiler)])
@pytest.mark.parametrize("rate", [{"policy_learning_rate": 0.0}, {"value_learning_rate": 0.0}, {"progress": 1.0}])
def test_only_what_has_a_learning_rate_moves(rate, compile):
    """Of annealed rates nothing moves at the end; of the others, the network whose rate is not 0."""
    rate = dict(rate)
    progress = rate.pop("progress", 0.0)
    algorithm = PPO(num_envs=4, rollout_length=16, minibatch_size=32, epochs=2, activation="relu", **rate)
    envs, learner, rng = make_learner(algorithm, "Masked-v0", compile=compile)
    before = learner.policy.parameter_vector.clone(), learner.value_function.parameter_vector.clone()
    for _ in range(2):
        batch = learner.prepare(collect(envs, learner.policy, learner.normalizer, rng, steps=16))
        learner.update(batch, progress)
    after = learner.policy.parameter_vector, learner.value_function.parameter_vector
    moved = [not torch.equal(old, new) for old, new in zip(before, after, strict=True)]
    assert moved == [
        progress < 1 and algorithm.policy_learning_rate > 0,
        progress < 1 and algorithm.value_learning_rate > 0,
    ]
    assert all(module.parameter_vector.isfinite().all() for module in (learner.policy, learner.value_function))
