"""PPO's KL penalty, the natural policy gradient and TRPO, against their definitions and against sb3-contrib."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
import yaml
from scipy.sparse.linalg import cg
from torch import nn
from torch.distributions import Categorical, Independent, Normal, kl_divergence

from algorithms.a2c import A2C
from algorithms.core.algorithm import InvalidAlgorithm, InvalidSetting
from algorithms.core.batch import Batch
from algorithms.core.conjugate_gradient import conjugate_gradient
from algorithms.core.divergence import kl_from_old, outputs_of
from algorithms.core.fisher import Fisher
from algorithms.core.rollout import collect
from algorithms.core.task import Task
from algorithms.natural_policy_gradient import NaturalPolicyGradient
from algorithms.ppo import PPO
from algorithms.ppo_kl import PPOKL
from algorithms.trpo import TRPO
from experiments.grid import GridError, load_grid
from tests.tasks import make_learner, needs_compiler

BOX = Task("BoxRandomEnding-v0")
TASKS = {
    "categorical": Task("Match-v0"),
    "masked": Task("Masked-v0"),
    "parts": Task("Junctions-v0"),
    "masked parts": Task("MaskedJunctions-v0"),
    "gaussian": BOX,
    "squashed": Task("BoxRandomEnding-v0", action_bounds="squash"),
}
TINY = dict(num_envs=4, hidden_sizes=(4,), value_epochs=1)
# As many products as a tiny network has parameters, so that the solution is exact but for rounding.
EXACT = dict(conjugate_gradient_steps=200, damping=0.01)


def prepared(algorithm, task, steps=16, **options):
    """A learner and the batch of its first rollout; the policy's last layer is not small."""
    envs, learner, rng = make_learner(algorithm, task, spread=30.0, **options)
    return learner, learner.prepare(collect(envs, learner.policy, learner.normalizer, rng, steps=steps))


def random_batch(learner, rng, steps):
    """Random states, actions of the learner's policy, and random Ψ_t."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    observations = torch.randn(steps, learner.policy.network[0].in_features, generator=generator)
    with torch.no_grad():
        acted = learner.policy(observations)
        mean, deviation = outputs_of(acted)
        actions = mean + deviation * torch.randn(mean.shape, generator=generator)
    advantages, values = (torch.randn(steps, generator=generator) for _ in range(2))
    return Batch(
        observations,
        actions,
        acted.log_prob(actions),
        advantages,
        values,
        values + advantages,
        torch.tensor(4.0),
        policy_outputs=torch.cat([mean, deviation], -1),
    )


def dense_fisher(learner, batch):
    """The Hessian [P, P] of the mean divergence from the present policy, by differentiating twice."""
    network = learner.networks["policy"]

    def kl(vector):
        return kl_from_old(network.module_with(vector)(batch.observations, batch.action_masks), batch).mean()

    return torch.autograd.functional.hessian(kl, network.vector.clone())


def surrogate_gradient(learner, batch):
    """E[∇ log π(a|s) Â] [P], Â normalised; where an action has parts, of their sum."""
    psi = batch.advantages - batch.advantages.mean()
    psi = psi / batch.advantages.std(correction=0)
    network = learner.networks["policy"]
    vector = network.vector.clone().requires_grad_()
    log_prob = network.module_with(vector)(batch.observations, batch.action_masks).log_prob(batch.actions)
    log_prob = log_prob if log_prob.ndim == psi.ndim else log_prob.sum(1)
    return torch.autograd.grad((log_prob * psi).mean(), vector)[0]


# ---- the Fisher information and conjugate gradients


@pytest.mark.parametrize("relu", [False, True], ids=["tanh", "relu"])
@pytest.mark.parametrize("hidden_sizes", [(), (4,), (5, 3)])
@pytest.mark.parametrize("task", TASKS)
def test_a_fisher_product_is_that_of_the_divergences_hessian(task, hidden_sizes, relu):
    algorithm = TRPO(num_envs=4, hidden_sizes=hidden_sizes, activation="relu" if relu else "tanh")
    learner, batch = prepared(algorithm, TASKS[task])
    network = learner.networks["policy"]
    distribution = learner.policy(batch.observations, batch.action_masks)
    fisher = Fisher(network.vector, network.sizes, relu, batch.observations, distribution)
    dense = dense_fisher(learner, batch)
    found = torch.stack([fisher(unit) for unit in torch.eye(len(network.vector))])
    torch.testing.assert_close(found, dense, atol=1e-5 * float(dense.abs().max()), rtol=1e-4)
    assert float(found.diagonal().min()) >= 0


def test_the_fisher_information_is_the_covariance_of_the_score():
    """E_a[∇ log π ∇ log πᵀ], by its definition: the sum over all actions."""
    learner, batch = prepared(TRPO(**TINY), TASKS["categorical"])
    network = learner.networks["policy"]
    expected = torch.zeros(len(network.vector), len(network.vector))
    for state in batch.observations:
        vector = network.vector.clone().requires_grad_()
        log_probs = network.module_with(vector)(state[None]).logits[0].log_softmax(-1)
        for log_prob in log_probs:
            (score,) = torch.autograd.grad(log_prob, vector, retain_graph=True)
            expected += log_prob.exp().detach() * torch.outer(score, score) / len(batch)
    fisher = Fisher(network.vector, network.sizes, False, batch.observations, learner.policy(batch.observations))
    found = torch.stack([fisher(unit) for unit in torch.eye(len(network.vector))])
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("task", ["categorical", "parts", "gaussian"])
def test_a_part_of_the_steps_is_every_kth(task):
    learner, batch = prepared(TRPO(**TINY), TASKS[task])
    network = learner.networks["policy"]
    vector = torch.randn(len(network.vector), generator=torch.Generator().manual_seed(0))
    few = batch.observations[::3]
    one = Fisher(network.vector, network.sizes, False, batch.observations, learner.policy(batch.observations), 3)
    other = Fisher(network.vector, network.sizes, False, few, learner.policy(few))
    torch.testing.assert_close(one(vector), other(vector))


def test_conjugate_gradients_solve_and_know_the_product():
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(30, 30, generator=generator)
    matrix, b = root @ root.T / 30 + torch.eye(30), torch.randn(30, generator=generator)
    products = []
    x, image = conjugate_gradient(lambda v: products.append(1) or matrix @ v, b, 100)
    torch.testing.assert_close(x, torch.linalg.solve(matrix, b), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(image, matrix @ x, atol=1e-5, rtol=1e-4)
    assert len(products) < 40  # it stops where it is exact
    few, image = conjugate_gradient(lambda v: matrix @ v, b, 3)
    torch.testing.assert_close(image, matrix @ few, atol=1e-5, rtol=1e-4)
    expected, _ = cg(matrix.numpy(), b.numpy(), rtol=0.0, maxiter=3)
    torch.testing.assert_close(few, torch.from_numpy(expected), atol=1e-5, rtol=1e-4)
    assert float((few - x).norm()) > 1e-3
    zero, _ = conjugate_gradient(lambda v: matrix @ v, torch.zeros(30), 10)
    assert not zero.any()


# ---- one update of each against a direct reference


@pytest.mark.parametrize("task", ["categorical", "masked", "parts", "gaussian", "squashed"])
def test_a_natural_step_is_the_dense_solution_of_the_given_divergence(task):
    algorithm = NaturalPolicyGradient(**TINY, **EXACT, target_kl=1e-3)
    learner, batch = prepared(algorithm, TASKS[task], steps=64)
    before = learner.policy.parameter_vector.clone()
    damped = dense_fisher(learner, batch) + algorithm.damping * torch.eye(len(before))
    x = torch.linalg.solve(damped, surrogate_gradient(learner, batch))
    expected = torch.sqrt(2 * 1e-3 / (x @ damped @ x)) * x
    learner.update(batch, 0.0)
    found = learner.policy.parameter_vector - before
    torch.testing.assert_close(found, expected, atol=2e-3 * float(expected.abs().max()), rtol=0)


def test_the_step_of_a_constant_length_is_kakades_and_follows_the_annealed_rate():
    algorithm = NaturalPolicyGradient(
        **TINY, **EXACT, target_kl=None, policy_learning_rate=0.05, anneal_learning_rate=True
    )
    learner, batch = prepared(algorithm, BOX, steps=64)
    before = learner.policy.parameter_vector.clone()
    damped = dense_fisher(learner, batch) + algorithm.damping * torch.eye(len(before))
    expected = 0.05 * 0.75 * torch.linalg.solve(damped, surrogate_gradient(learner, batch))
    learner.update(batch, 0.25)
    found = learner.policy.parameter_vector - before
    torch.testing.assert_close(found, expected, atol=2e-3 * float(expected.abs().max()), rtol=0)


@pytest.mark.parametrize("task", ["categorical", "gaussian"])
@pytest.mark.parametrize("limit", [0.01, 1.0, 10.0])
def test_a_step_of_trpo_is_the_first_shortened_one_that_improves_within_the_limit(task, limit):
    algorithm = TRPO(**TINY, **EXACT, target_kl=limit)
    learner, batch = prepared(algorithm, TASKS[task], steps=64)
    network, before = learner.networks["policy"], learner.policy.parameter_vector.clone()
    damped = dense_fisher(learner, batch) + algorithm.damping * torch.eye(len(before))
    x = torch.linalg.solve(damped, surrogate_gradient(learner, batch))
    whole = torch.sqrt(2 * limit / (x @ damped @ x)) * x
    psi = (batch.advantages - batch.advantages.mean()) / batch.advantages.std(correction=0)

    def judged(vector):
        distribution = network.module_with(vector)(batch.observations)
        ratio = torch.exp(distribution.log_prob(batch.actions) - batch.log_probs)
        return float((ratio * psi).mean()), float(kl_from_old(distribution, batch).mean())

    tried = [before + 0.8**i * whole for i in range(10)]
    good = [i for i, vector in enumerate(tried) if judged(vector)[0] > judged(before)[0] and judged(vector)[1] < limit]
    record = learner.update(batch, 0.0)
    assert record["accepted"] == float(bool(good))
    if good:
        assert record["line_search_steps"] == good[0] + 1
        assert record["step_kl"] == pytest.approx(judged(tried[good[0]])[1], rel=2e-2)
        expected = tried[good[0]]
        torch.testing.assert_close(
            learner.policy.parameter_vector, expected, atol=5e-3 * float(whole.abs().max()), rtol=0
        )
    if limit == 10.0 and task == "gaussian":
        assert not good or good[0] > 0  # a case in which the line search has something to do


def test_where_no_step_is_good_the_policy_stays_and_the_critic_learns():
    algorithm = TRPO(**TINY, target_kl=1e4, line_search_steps=1)
    learner, batch = prepared(algorithm, BOX, steps=64)
    policy, critic = (x.clone() for x in (learner.policy.parameter_vector, learner.value_function.parameter_vector))
    record = learner.update(batch, 0.0)
    assert (record["accepted"], record["line_search_steps"], record["step_kl"]) == (0, 1, 0)
    assert torch.equal(learner.policy.parameter_vector, policy)
    assert not torch.equal(learner.value_function.parameter_vector, critic)


@pytest.mark.parametrize("algorithm", [TRPO, NaturalPolicyGradient])
def test_where_no_action_is_better_than_another_the_policy_stays(algorithm):
    learner, batch = prepared(algorithm(num_envs=4), BOX)
    batch.advantages = torch.full_like(batch.advantages, 0.5)
    before = learner.policy.parameter_vector.clone()
    learner.update(batch, 0.0)
    assert torch.equal(learner.policy.parameter_vector, before)


@pytest.mark.parametrize("size", [1e-18, 1e-22, 1e-30, 0.0])  # float32 holds no square of the last three
def test_a_natural_step_of_a_vanishing_gradient_is_of_the_given_divergence_or_none(size):
    learner, batch = prepared(NaturalPolicyGradient(num_envs=4), BOX)
    batch.advantages = batch.advantages * np.float32(size)
    learner.algorithm = replace(learner.algorithm, normalize_advantages=False)
    for optimizer in learner.optimizers.values():
        optimizer.use(learner.algorithm)
    before = learner.policy.parameter_vector.clone()
    learner.update(batch, 0.0)
    moved = float((learner.policy.parameter_vector - before).norm())
    assert (0.01 < moved < 1) if size == 1e-18 else moved == 0


def test_trpo_stays_within_its_limit_and_improves_on_a_thousand_random_batches():
    """Policies of random parameters, large and small, on random states: below δ always, better nine times of ten."""
    algorithm = TRPO(num_envs=1, hidden_sizes=(8, 8), value_minibatch_size=None, value_epochs=1)
    _, learner, _ = make_learner(algorithm, BOX)
    rng = np.random.default_rng(0)
    accepted = 0
    for _ in range(1_000):
        spread = float(rng.uniform(0.2, 2.0))
        size = len(learner.policy.parameter_vector)
        with torch.no_grad():
            learner.policy.parameter_vector.copy_(torch.from_numpy(rng.normal(0, spread, size).astype(np.float32)))
            learner.policy.log_std.clamp_(-1, 1)
        batch = random_batch(learner, rng, int(rng.integers(16, 256)))
        psi = batch.with_normalized_advantages().advantages
        record = learner.update(batch, 0.0)
        with torch.no_grad():
            distribution = learner.policy(batch.observations)
            kl = float(kl_from_old(distribution, batch).mean())
            gain = float((torch.exp(distribution.log_prob(batch.actions) - batch.log_probs) * psi).mean())
        assert kl <= algorithm.target_kl * (1 + 1e-4)
        assert record["accepted"] == (gain > 1e-7)
        accepted += gain > 1e-7
    assert accepted >= 900


# ---- which networks an algorithm's own steps are for


@needs_compiler
@pytest.mark.parametrize("settings", [{}, {"target_kl": None, "value_epochs": None, "value_minibatch_size": None}])
def test_the_critic_keeps_its_machine_code(settings):
    algorithm = NaturalPolicyGradient(num_envs=4, **settings)
    learner, batch = prepared(algorithm, BOX, compile="always")
    learner.update(batch, 0.0)
    assert {name: optimizer.fused is not None for name, optimizer in learner.optimizers.items()} == {
        "policy": False,
        "critics": True,
    }
    assert learner.optimizers["critics"].fused.compiled


@pytest.mark.parametrize(("own_steps", "expected"), [("policy", {"policy"}), ("critics", {"value"}), ("all", None)])
def test_a_step_is_called_for_the_networks_that_it_is_for(own_steps, expected):
    called = set()

    @dataclass(frozen=True)
    class Own(A2C):
        def step(self, objective, gradient, batch):
            called.add(objective.network)
            objective.record[f"{objective.network}_rate"] = objective.learning_rate
            return super().step(objective, gradient, batch)

    Own.own_steps = own_steps
    run = Own(num_envs=4, clip_together=False).train(BOX, 0, 60, compile="never", evaluations=())
    plain = A2C(num_envs=4, clip_together=False).train(BOX, 0, 60, compile="never", evaluations=())
    assert called == (expected or {"policy", "value"})
    assert {f"{name}_rate" for name in called} == set(run.updates[0]) - set(plain.updates[0])
    assert run.episodes == plain.episodes
    assert all(row[f"{name}_rate"] == pytest.approx(7e-4) for row in run.updates for name in called)


def test_own_steps_of_no_network_are_refused():
    class Wrong(TRPO):
        own_steps: ClassVar = "value"

    with pytest.raises(InvalidAlgorithm, match="own_steps is 'value'; valid are 'all', 'policy', 'critics'"):
        make_learner(Wrong(), BOX)


@pytest.mark.parametrize("method", ["fisher", "loss_and_kl_at"])
def test_a_critic_has_no_fisher_information_and_no_divergence(method):
    @dataclass(frozen=True)
    class Confused(A2C):
        own_steps: ClassVar = "critics"

        def step(self, objective, gradient, batch):
            getattr(objective, method)(1 if method == "fisher" else objective.parameters)
            return super().step(objective, gradient, batch)

    learner, batch = prepared(Confused(), BOX)
    with pytest.raises(ValueError, match="the critic 'value' is no policy, and only the policy has a"):
        learner.update(batch, 0.0)


# ---- PPO's penalty


@pytest.mark.parametrize("task", ["categorical", "gaussian"])
@pytest.mark.parametrize("penalty", [0.0, 0.3, 10.0])
def test_the_gradient_with_a_penalty_is_that_of_its_definition(task, penalty):
    """−E[ρ Â] + β E[KL(π_old ‖ π)], of a policy that has moved, in torch.distributions."""
    algorithm = PPOKL(**{**TINY, "value_epochs": None}, penalty=penalty, normalize_advantages=False)
    learner, batch = prepared(algorithm, TASKS[task], steps=64)
    network = learner.networks["policy"]
    with torch.no_grad():
        old = learner.policy(batch.observations)
        network.vector += 0.1 * torch.randn(network.vector.shape, generator=torch.Generator().manual_seed(1))
    vector = network.vector.clone().requires_grad_()
    (found,) = torch.autograd.grad(
        network.loss(algorithm, network.module_with(vector), batch)[0], vector, retain_graph=True
    )
    outputs = torch.func.functional_call(
        learner.policy.network,
        {
            name.removeprefix("network."): piece
            for name, piece in pieces_of(learner.policy, vector).items()
            if name != "log_std"
        },
        batch.observations,
    )
    if task == "categorical":
        new, old = Categorical(logits=outputs), Categorical(logits=old.logits)
    else:
        new = Independent(Normal(outputs, vector[: outputs.shape[1]].exp()), 1)
    ratio = torch.exp(new.log_prob(batch.actions) - old.log_prob(batch.actions))
    loss = -(ratio * batch.advantages - penalty * kl_divergence(old, new)).mean()
    (expected,) = torch.autograd.grad(loss, vector)
    torch.testing.assert_close(found, expected, atol=1e-5 * float(expected.abs().max()), rtol=1e-4)


def pieces_of(policy, vector):
    """The policy's parameters by name, taken from a vector."""
    shapes = {name: p.shape for name, p in policy.named_parameters()}
    pieces = torch.split(vector, [shape.numel() for shape in shapes.values()])
    return {name: x.view(shape) for (name, shape), x in zip(shapes.items(), pieces, strict=True)}


def test_the_penalty_follows_the_papers_rule():
    algorithm = PPOKL(penalty=1.0, penalty_target=0.03)
    seen = []
    for kl in (0.046, 0.044, 0.0201, 0.0199, 0.001, 1.0):
        algorithm = algorithm.after_update({"kl": kl})
        seen.append(algorithm.penalty)
    assert seen == [2, 2, 2, 1, 0.5, 1]
    fixed = PPOKL(penalty=3.0, penalty_target=None)
    assert fixed.after_update({"kl": 100.0}) is fixed


@pytest.mark.parametrize("compile", ["never", pytest.param("always", marks=needs_compiler)])
def test_the_penalty_follows_the_divergence_through_a_run(compile):
    algorithm = PPOKL(num_envs=4, rollout_length=16, minibatch_size=32, epochs=3, policy_learning_rate=3e-3)
    run = algorithm.train(Task("Match-v0"), 0, 1_280, compile=compile, evaluations=())
    assert run.compiled == (compile == "always")
    penalties = [row["penalty"] for row in run.updates]
    assert penalties[0] == 1.0
    assert len(set(penalties)) > 2
    for row, following in zip(run.updates, penalties[1:], strict=False):
        kl, now = row["approx_kl"], row["penalty"]
        assert following == (2 * now if kl > 0.015 else now / 2 if kl < 0.01 / 1.5 else now)


def test_neither_clip_nor_penalty_is_a_setting_of_both():
    small = dict(num_envs=4, rollout_length=16, minibatch_size=32, epochs=3, policy_learning_rate=3e-3)
    unclipped, unpunished, wide = (
        a.train(BOX, 0, 256, compile="never", evaluations=())
        for a in (PPO(**small, clip=None), PPOKL(**small, penalty=0.0, penalty_target=None), PPO(**small, clip=1e9))
    )
    clipped = PPO(**small, clip=0.01).train(BOX, 0, 256, compile="never", evaluations=())
    norms = [[row["policy_gradient_norm"] for row in run.updates] for run in (unclipped, unpunished, wide, clipped)]
    assert norms[0] == norms[1] == norms[2] != norms[3]
    assert "clip_fraction" not in unclipped.updates[0]


def test_ppo_with_a_penalty_has_all_other_settings_of_ppo():
    assert replace(PPOKL(), clip=0.2).settings().items() >= PPO().settings().items()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PPOKL(penalty_target=0), "penalty_target of PPOKL must be finite and above 0, not 0"),
        (lambda: TRPO(target_kl=0), "target_kl of TRPO must be finite and above 0, not 0"),
        (lambda: TRPO(target_kl=None), "target_kl of TRPO must be a number, not None"),
        (lambda: NaturalPolicyGradient(target_kl=-1), "target_kl of NaturalPolicyGradient must be finite and above 0"),
        (
            lambda: TRPO(line_search_shrinking=2),
            "line_search_shrinking of TRPO must be finite and above 0 and at most 1",
        ),
        (lambda: TRPO(cg_max_steps=1), "did you mean 'conjugate_gradient_steps'"),
        (lambda: TRPO(max_kl=0.1), "did you mean 'target_kl'"),
    ],
)
def test_settings_without_a_meaning_are_refused(make, message):
    with pytest.raises(InvalidSetting, match=message):
        make()


@pytest.mark.parametrize(
    ("module", "name"), [("ppo_kl", "penalty_target"), ("trpo", "target_kl"), ("ppo", "target_kl")]
)
def test_a_divergence_of_0_is_refused_when_the_grid_is_read(tmp_path, module, name):
    task = {"random_score": 20, "reference_score": 475, "reference_source": "registered reward threshold"}
    algorithms = {"mine": {"module": module, "settings": {name: 0}}}
    path = tmp_path / "mine.yaml"
    path.write_text(
        yaml.safe_dump({"steps": 100, "seeds": [0], "tasks": {"CartPole-v1": task}, "algorithms": algorithms})
    )
    with pytest.raises(GridError, match=f"mine.*{name} of [A-Z]+ must be finite and above 0, not 0") as refused:
        load_grid(str(path))
    assert "\n" not in str(refused.value)


def test_the_shipped_grid_has_what_its_claims_ask_for_and_nothing_else():
    grid = load_grid("trust_regions")
    own = [claim for claim in grid.claims if claim.file.endswith("trust_regions.yaml")]
    asked = {side.algorithm for claim in own for comparison in claim.comparisons for side in comparison.sides}
    assert len(own) == 7
    assert asked == set(grid.algorithms)


# ---- the whole update against sb3-contrib


def test_an_update_is_that_of_sb3_contrib(monkeypatch):
    """Policy and critic, from equal networks and an equal batch; what differs by method is set equal or said here.

    Equal but for rounding: the direction, the length, the line search, the critic's minibatches. sb3-contrib starts its
    conjugate gradients at random numbers of size 1e-4, set to 0 here; limits KL(π ‖ π_old) where the paper has
    KL(π_old ‖ π), which is the same to second order; normalises by the deviation with n − 1, which no step depends on;
    and has no ½ in its critic's loss, so that Adam's ε counts half.
    """
    sb3_contrib = pytest.importorskip("sb3_contrib")
    from sb3_contrib.common import utils
    from stable_baselines3.common.logger import Logger

    steps = 128
    algorithm = TRPO(num_envs=1, rollout_length=steps, value_minibatch_size=steps, value_epochs=3, adam_epsilon=5e-6)
    learner, batch = prepared(algorithm, Task("Pendulum-v1"), steps=steps)
    model = sb3_contrib.TRPO("MlpPolicy", "Pendulum-v1", n_steps=steps, batch_size=steps, n_critic_updates=3, seed=0)
    model.set_logger(Logger(None, []))
    theirs = model.policy
    with torch.no_grad():
        theirs.log_std.copy_(learner.policy.log_std)
        for to, of in (
            ([*theirs.mlp_extractor.policy_net, theirs.action_net], learner.policy.network),
            ([*theirs.mlp_extractor.value_net, theirs.value_net], learner.value_function.network),
        ):
            pairs = zip(
                [x for x in to if isinstance(x, nn.Linear)], [x for x in of if isinstance(x, nn.Linear)], strict=True
            )
            for a, b in pairs:
                a.weight.copy_(b.weight)
                a.bias.copy_(b.bias)
    buffer = model.rollout_buffer
    buffer.reset()
    buffer.observations[:, 0], buffer.actions[:, 0] = batch.observations.numpy(), batch.actions.numpy()
    buffer.log_probs[:, 0], buffer.advantages[:, 0] = batch.log_probs.numpy(), batch.advantages.numpy()
    buffer.values[:, 0], buffer.returns[:, 0] = batch.values.numpy(), batch.value_targets.numpy()
    buffer.pos, buffer.full = steps, True
    monkeypatch.setattr(utils.th, "randn_like", torch.zeros_like)
    model.train()
    monkeypatch.undo()
    before = learner.policy.parameter_vector.clone()
    record = learner.update(batch, 0.0)
    assert record["accepted"] == 1
    found = dict(pieces_of(learner.policy, learner.policy.parameter_vector))
    moved = float((learner.policy.parameter_vector - before).abs().max())
    torch.testing.assert_close(found["log_std"], theirs.log_std.data, atol=1e-3 * moved, rtol=0)
    torch.testing.assert_close(found["network.4.weight"], theirs.action_net.weight.data, atol=1e-3 * moved, rtol=0)
    torch.testing.assert_close(
        found["network.0.weight"], theirs.mlp_extractor.policy_net[0].weight.data, atol=1e-3 * moved, rtol=0
    )
    critic = learner.value_function.network
    torch.testing.assert_close(critic[0].weight, theirs.mlp_extractor.value_net[0].weight, atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(critic[4].weight, theirs.value_net.weight, atol=2e-6, rtol=1e-5)
