"""Policies: acting in NumPy and learning in Torch are one distribution, the one of torch.distributions."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from scipy.integrate import quad
from torch.distributions import (
    AffineTransform,
    Categorical,
    Independent,
    Normal,
    TanhTransform,
    TransformedDistribution,
    kl_divergence,
)

from algorithms.core import divergence
from algorithms.core.mlp import ValueFunction
from algorithms.core.policies import Parts, Policy, SquashedGaussian

LOW, HIGH = np.array([-0.3, -2.0], np.float32), np.array([0.4, 6.0], np.float32)


def make_policy(space, bounds="clip", spread=300.0, log_std=None):
    policy = Policy(3, space, bounds, torch.Generator().manual_seed(1))
    with torch.no_grad():
        policy.network[-1].weight.mul_(spread)
        policy.network[-1].bias.add_(torch.linspace(-0.5, 0.5, len(policy.network[-1].bias)))
        if log_std is not None:
            policy.log_std.copy_(torch.tensor(log_std))
    return policy


@pytest.fixture
def observations():
    return np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)


def categorical():
    return make_policy(Discrete(5))


def gaussian():
    return make_policy(Box(LOW, HIGH), log_std=[-0.7, 0.4])


def squashed():
    return make_policy(Box(LOW, HIGH), "squash", log_std=[-0.7, 0.4])


SIZES = (2, 4, 3)


def in_parts():
    return make_policy(MultiDiscrete(SIZES, start=[0, 7, -1]))


def categoricals(policy, x, mask=None):
    """Torch's categorical of each part, over what the mask allows."""
    logits = policy.network(x).detach().double()
    if mask is not None:
        logits = torch.where(torch.from_numpy(mask), logits, -torch.inf)
    return [Categorical(logits=part) for part in logits.split(SIZES, dim=-1)]


def test_a_categorical_policy_agrees_with_torch_distributions(observations):
    policy, x = categorical(), torch.from_numpy(observations)
    probabilities = torch.softmax(policy.network(x).detach().double(), dim=-1)
    assert probabilities.max() > 0.5  # far from uniform
    with torch.no_grad():
        distribution = policy(x)
        for action in range(5):
            log_prob = distribution.log_prob(torch.full((6,), action))
            np.testing.assert_allclose(log_prob, probabilities[:, action].log(), atol=1e-5)
        np.testing.assert_allclose(distribution.entropy(), -(probabilities * probabilities.log()).sum(-1), atol=1e-5)


def test_a_gaussian_policy_agrees_with_torch_distributions(observations):
    policy, x = gaussian(), torch.from_numpy(observations)
    reference = Independent(Normal(policy.network(x).detach(), torch.tensor([-0.7, 0.4]).exp()), 1)
    actions = reference.sample()
    with torch.no_grad():
        assert policy(x).log_prob(actions).shape == (6,)
        np.testing.assert_allclose(policy(x).log_prob(actions), reference.log_prob(actions), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(policy(x).entropy(), reference.entropy(), rtol=1e-5)


def squashed_reference(mean, std, low=LOW, high=HIGH):
    low, high = (torch.from_numpy(np.asarray(x)).double() for x in (low, high))
    transforms = [TanhTransform(), AffineTransform((low + high) / 2, (high - low) / 2)]
    return TransformedDistribution(Normal(mean.double(), std.double()), transforms)


def test_a_squashed_policy_has_the_density_of_the_transformed_distribution(observations):
    policy, x = squashed(), torch.from_numpy(observations)
    reference = squashed_reference(policy.network(x).detach(), torch.tensor([-0.7, 0.4]).exp())
    u = reference.base_dist.sample()
    action = u
    for transform in reference.transforms:
        action = transform(action)
    np.testing.assert_allclose(policy.to_environment(u.float().numpy()), action, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        log_prob = policy(x).log_prob(u.float())
    np.testing.assert_allclose(log_prob, reference.log_prob(action).sum(-1), rtol=1e-4, atol=1e-4)


def test_a_squashed_log_probability_stays_finite_where_tanh_saturates(observations):
    policy, x = squashed(), torch.from_numpy(observations)
    log_prob = policy(x).log_prob(torch.full((6, 2), 40.0))
    gradient = torch.autograd.grad(log_prob.sum(), list(policy.parameters()))
    assert log_prob.isfinite().all()
    assert all(g.isfinite().all() for g in gradient)


@pytest.mark.parametrize("std", [0.05, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("mean", [0.0, 1.0, 3.0, -8.0])
def test_a_squashed_entropy_agrees_with_a_large_monte_carlo(mean, std):
    policy = make_policy(Box(LOW, HIGH), "squash", spread=0.0, log_std=[float(np.log(std)), 0.0])
    with torch.no_grad():
        policy.network[-1].bias.copy_(torch.tensor([mean, 0.0]))
        entropy = float(policy(torch.zeros(1, 3)).entropy())
    # −log p(a) of a sample a, with log(1 − tanh²(u)) written by the hyperbolic cosine, in float64; antithetic in u.
    generator = np.random.default_rng(0)
    total, error = 0.0, 0.0
    for m, s, half_range in ((mean, std, (HIGH[0] - LOW[0]) / 2), (0.0, 1.0, (HIGH[1] - LOW[1]) / 2)):
        noise = generator.standard_normal(400_000)
        slope = [np.log(half_range) - 2 * np.log(np.cosh(m + sign * s * noise)) for sign in (1, -1)]
        surprise = 0.5 * np.log(2 * np.pi * np.e * s**2) + (slope[0] + slope[1]) / 2
        total, error = total + surprise.mean(), error + surprise.var() / len(noise)
    assert entropy == pytest.approx(total, abs=4.5 * np.sqrt(error) + 2e-4)


@pytest.mark.parametrize("std", [0.05, 0.5, 1.0, 1.5])
@pytest.mark.parametrize("mean", [0.0, 1.0, 3.0, -8.0])
def test_a_squashed_entropy_agrees_with_adaptive_quadrature(mean, std):
    def weighted_log_slope(z):
        u = abs(mean + std * z)
        return np.exp(-z * z / 2) / np.sqrt(2 * np.pi) * 2 * (np.log(2) - u - np.log1p(np.exp(-2 * u)))

    integral, _ = quad(weighted_log_slope, -12, 12, points=[-mean / std], epsabs=1e-10, limit=500)
    gaussian = Normal(torch.tensor([[mean]]), torch.tensor([[std]]))
    entropy = SquashedGaussian(gaussian, torch.tensor([3.0])).entropy()
    expected = integral + 0.5 * np.log(2 * np.pi * np.e * std**2) + np.log(3.0)
    assert entropy.item() == pytest.approx(expected, abs=2e-5)


def test_a_squashed_entropy_is_differentiable_in_mean_and_deviation():
    policy = make_policy(Box(LOW, HIGH), "squash", log_std=[0.0, 0.0])
    x = torch.ones(1, 3)

    def entropy(log_std):
        with torch.no_grad():
            policy.log_std.fill_(log_std)
        return policy(x).entropy().sum()

    (gradient,) = torch.autograd.grad(entropy(0.2), policy.log_std)
    slope = (entropy(0.25) - entropy(0.15)).item() / 0.1
    assert float(gradient.sum()) == pytest.approx(slope, rel=1e-2)


MASK = np.array(
    [[1, 0, 1, 1, 0], [0, 0, 0, 1, 0], [1, 1, 1, 1, 1], [0, 1, 1, 0, 0], [1, 0, 0, 0, 1], [0, 0, 0, 1, 1]], bool
)


def test_a_masked_policy_is_the_softmax_restricted_to_what_is_allowed(observations):
    policy, x = categorical(), torch.from_numpy(observations)
    distribution = policy(x, torch.from_numpy(MASK))
    logits = policy.network(x).detach()
    for row, allowed in enumerate(MASK):
        restricted = Categorical(logits=logits[row, torch.from_numpy(allowed)])
        for i, action in enumerate(allowed.nonzero()[0]):
            log_prob = distribution.log_prob(torch.full((6,), int(action)))[row]
            assert log_prob.item() == pytest.approx(restricted.log_prob(torch.tensor(i)).item(), abs=1e-5)
        for action in (~allowed).nonzero()[0]:
            assert distribution.log_prob(torch.full((6,), int(action)))[row].exp() == 0
        assert distribution.entropy()[row].item() == pytest.approx(restricted.entropy().item(), abs=1e-5)


def test_the_gradients_of_a_masked_policy_are_finite_and_leave_forbidden_actions_alone(observations):
    policy, x = categorical(), torch.from_numpy(observations)
    distribution = policy(x, torch.from_numpy(MASK))
    actions = torch.from_numpy(MASK.argmax(axis=1))
    loss = distribution.log_prob(actions).sum() + distribution.entropy().sum()
    assert all(g.isfinite().all() for g in torch.autograd.grad(loss, list(policy.parameters())))
    always_forbidden = torch.tensor([True, True, True, True, False]).expand(6, 5)
    distribution = policy(x, always_forbidden)
    loss = distribution.log_prob(torch.zeros(6, dtype=torch.int64)).sum() + distribution.entropy().sum()
    (bias,) = torch.autograd.grad(loss, policy.network[-1].bias)
    assert bias[4] == 0
    assert (bias[:4] != 0).all()


def chi_square(counts, probabilities):
    """Pearson's statistic over the cells that can occur, and its degrees of freedom."""
    expected = counts.sum() * probabilities
    cells = expected > 0
    return ((counts - expected)[cells] ** 2 / expected[cells]).sum(), cells.sum() - 1


@pytest.mark.parametrize("mask", [None, MASK], ids=["all allowed", "masked"])
def test_sampled_actions_have_the_frequencies_that_forward_gives(observations, mask):
    policy, rng, n = categorical(), np.random.default_rng(0), 20_000
    many = np.repeat(observations, n, axis=0)
    actions = policy.act(many, rng, None if mask is None else np.repeat(mask, n, axis=0)).reshape(6, n)
    with torch.no_grad():
        distribution = policy(torch.from_numpy(observations), None if mask is None else torch.from_numpy(mask))
    for row in range(6):
        counts = np.bincount(actions[row], minlength=5)
        if mask is not None:
            assert counts[~mask[row]].sum() == 0
        statistic, freedom = chi_square(counts, distribution.probs[row].double().numpy())
        assert statistic <= freedom + 5 * np.sqrt(2 * freedom) + 5


PART_MASK = np.ones((6, 9), bool)
PART_MASK[0, 1] = PART_MASK[1, 2:4] = PART_MASK[2, 2:5] = PART_MASK[3, 6:8] = PART_MASK[4, 0] = False


@pytest.mark.parametrize("mask", [None, PART_MASK], ids=["all allowed", "masked"])
def test_a_policy_of_parts_is_the_product_of_a_categorical_for_each_part(observations, mask):
    policy, x = in_parts(), torch.from_numpy(observations)
    references = categoricals(policy, x, mask)
    distribution = policy(x, None if mask is None else torch.from_numpy(mask))
    actions = torch.stack([reference.probs.argmax(-1) for reference in references], dim=-1)
    log_prob = distribution.log_prob(actions)
    assert log_prob.shape == (6, 3)
    expected = torch.stack([r.log_prob(a) for r, a in zip(references, actions.T, strict=True)], dim=-1)
    torch.testing.assert_close(log_prob.double(), expected, rtol=1e-5, atol=1e-5)
    entropies = torch.stack([reference.probs.xlogy(reference.probs).sum(-1) for reference in references])
    torch.testing.assert_close(distribution.entropy().double(), -entropies.sum(0), rtol=1e-4, atol=1e-5)
    gradients = torch.autograd.grad(log_prob.sum() + distribution.entropy().sum(), list(policy.parameters()))
    assert all(g.isfinite().all() for g in gradients)


@pytest.mark.parametrize("mask", [None, PART_MASK], ids=["all allowed", "masked"])
def test_sampled_parts_have_the_frequencies_that_forward_gives_and_are_independent(observations, mask):
    policy, n = in_parts(), 20_000
    many = None if mask is None else np.repeat(mask, n, axis=0)
    actions = policy.act(np.repeat(observations, n, axis=0), np.random.default_rng(0), many)
    assert actions.shape == (6 * n, 3)
    assert actions.dtype == np.int64
    actions = actions.reshape(6, n, 3)
    references = categoricals(policy, torch.from_numpy(observations), mask)
    for row in range(6):
        first, second, third = (reference.probs[row].numpy() for reference in references)
        joint = np.einsum("i,j,k->ijk", first, second, third).ravel()
        counts = np.bincount(np.ravel_multi_index(actions[row].T, SIZES), minlength=len(joint))
        statistic, freedom = chi_square(counts, joint)
        assert counts[joint == 0].sum() == 0
        assert statistic <= freedom + 5 * np.sqrt(2 * freedom) + 5


def test_the_mode_of_parts_is_the_most_likely_choice_of_each(observations):
    policy, rng = in_parts(), np.random.default_rng(0)
    for mask in (None, PART_MASK):
        references = categoricals(policy, torch.from_numpy(observations), mask)
        expected = np.stack([reference.probs.argmax(-1) for reference in references], axis=-1)
        np.testing.assert_array_equal(policy.act(observations, rng, mask, mode=True), expected)
    actions = policy.act(observations, rng)
    np.testing.assert_array_equal(policy.to_environment(actions), actions)


def test_one_part_alone_is_the_categorical_policy(observations):
    one, alone = make_policy(MultiDiscrete([5])), categorical()
    np.testing.assert_array_equal(one.parameter_vector, alone.parameter_vector)
    actions = one.act(observations, np.random.default_rng(0))
    np.testing.assert_array_equal(actions[:, 0], alone.act(observations, np.random.default_rng(0)))
    x, chosen = torch.from_numpy(observations), torch.from_numpy(actions)
    torch.testing.assert_close(one(x).log_prob(chosen)[:, 0], alone(x).log_prob(chosen[:, 0]))
    torch.testing.assert_close(one(x).entropy(), alone(x).entropy())


def test_the_divergence_of_parts_is_that_of_the_joint_distributions():
    p, q = (Parts(torch.randn(4, 9, generator=torch.Generator().manual_seed(seed)), SIZES) for seed in (0, 1))
    joint = [
        Categorical(logits=(a[:, :2, None, None] + a[:, None, 2:6, None] + a[:, None, None, 6:]).flatten(1))
        for a in (torch.randn(4, 9, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    ]
    torch.testing.assert_close(kl_divergence(p, q), kl_divergence(*joint), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(p.entropy(), joint[0].entropy(), rtol=1e-4, atol=1e-5)


def test_the_divergence_of_squashed_gaussians_is_the_mean_difference_of_their_log_probabilities():
    p, q = (
        SquashedGaussian(Normal(torch.tensor([[m, 0.1]]), torch.tensor([[s, 0.5]])), torch.tensor([0.35, 4.0]))
        for m, s in ((0.3, 0.6), (-0.2, 0.9))
    )
    torch.manual_seed(0)
    u = p.gaussian.sample((200_000,))[:, 0]
    differences = p.log_prob(u) - q.log_prob(u)
    error = float(differences.std()) / np.sqrt(len(u))
    assert divergence.kl_divergence(p, q).shape == (1,)
    assert float(divergence.kl_divergence(p, q)) == pytest.approx(float(differences.mean()), abs=5 * error)


@pytest.mark.parametrize("make", [gaussian, squashed])
def test_sampled_gaussian_actions_have_the_mean_and_deviation_that_forward_gives(observations, make):
    policy, n = make(), 40_000
    actions = policy.act(np.repeat(observations[:2], n, axis=0), np.random.default_rng(0)).reshape(2, n, 2)
    assert actions.dtype == np.float32
    mean, std = policy.network(torch.from_numpy(observations[:2])).detach().numpy(), np.exp([-0.7, 0.4])
    np.testing.assert_array_less(np.abs(actions.mean(axis=1) - mean), np.broadcast_to(4.5 * std / np.sqrt(n), (2, 2)))
    np.testing.assert_allclose(actions.std(axis=1), np.broadcast_to(std, (2, 2)), rtol=4.5 / np.sqrt(2 * n))
    correlation = np.corrcoef(actions[0].T)[0, 1]
    assert abs(correlation) < 4.5 / np.sqrt(n)


def test_the_mode_is_the_most_likely_action(observations):
    policy, rng = categorical(), np.random.default_rng(0)
    with torch.no_grad():
        probabilities = policy(torch.from_numpy(observations)).probs.numpy()
    modes = policy.act(observations, rng, mode=True)
    np.testing.assert_array_equal(modes, probabilities.argmax(axis=1))
    masked = policy.act(observations, rng, MASK, mode=True)
    np.testing.assert_array_equal(masked, np.where(MASK, probabilities, -1).argmax(axis=1))
    assert (modes != masked).any()
    policy = gaussian()
    mean = policy.network(torch.from_numpy(observations)).detach()
    np.testing.assert_allclose(policy.act(observations, rng, mode=True), mean, rtol=1e-5, atol=1e-6)


def test_actions_are_clipped_to_the_bounds_and_kept_within_them():
    actions = np.array([[-9.0, -9.0], [0.1, 3.0], [9.0, 9.0]], np.float32)
    np.testing.assert_array_equal(gaussian().to_environment(actions), [LOW, [np.float32(0.1), 3.0], HIGH])
    discrete = np.array([0, 4])
    np.testing.assert_array_equal(categorical().to_environment(discrete), discrete)


def test_squashed_actions_lie_within_any_bounds_and_reach_them():
    rng = np.random.default_rng(0)
    low = rng.normal(size=2000).astype(np.float32)
    high = low + rng.gamma(1.0, size=2000).astype(np.float32) + np.float32(1e-3)
    policy = make_policy(Box(low, high), "squash", spread=1.0)
    for u in (-50.0, -8.0, -1.0, 0.0, 1.0, 8.0, 50.0):
        actions = policy.to_environment(np.full((1, 2000), u, np.float32))
        assert actions.dtype == np.float32
        assert ((actions >= low) & (actions <= high)).all()
    np.testing.assert_allclose(
        policy.to_environment(np.full((1, 2000), 50.0, np.float32))[0], high, rtol=1e-5, atol=1e-5
    )
    np.testing.assert_allclose(policy.to_environment(np.full((1, 2000), -50.0, np.float32))[0], low, rtol=1e-5)


def test_a_clipped_policy_takes_unbounded_actions_as_they_are():
    policy = make_policy(Box(-np.inf, np.inf, (2,)), log_std=[0.0, 0.0])
    actions = np.array([[-1e6, 1e6]], np.float32)
    np.testing.assert_array_equal(policy.to_environment(actions), actions)


@pytest.mark.parametrize("make", [categorical, in_parts, gaussian, squashed])
def test_acting_and_learning_share_the_parameters_memory(observations, make):
    policy = make()
    before = policy.act(observations, np.random.default_rng(0), mode=True)
    noise_before = policy.act(observations, np.random.default_rng(0))
    for p in policy.parameters():
        assert np.shares_memory(p.detach().numpy(), policy.parameter_vector.numpy())
    optimizer = torch.optim.SGD(policy.parameters(), lr=1.0)
    policy(torch.from_numpy(observations)).log_prob(torch.zeros_like(torch.from_numpy(before))).sum().backward()
    optimizer.step()
    with torch.no_grad():
        outputs = policy.network(torch.from_numpy(observations)).numpy()
    after = policy.act(observations, np.random.default_rng(0), mode=True)
    if policy.parts:
        outputs = np.stack([part.argmax(axis=1) for part in np.split(outputs, np.cumsum(SIZES)[:-1], axis=1)], axis=1)
    elif policy.discrete:
        outputs = outputs.argmax(axis=1)
    np.testing.assert_allclose(after, outputs, rtol=1e-5, atol=1e-5)
    noise_after = policy.act(observations, np.random.default_rng(0))
    assert (noise_before != noise_after).any()
    if not policy.discrete:  # the deviation changed as well
        std = policy.log_std.detach().exp().numpy()
        noise = np.random.default_rng(0).standard_normal((6, 2), np.float32)
        np.testing.assert_allclose(noise_after - after, std * noise, rtol=1e-3, atol=1e-5)


def test_a_parameter_vector_is_all_parameters_in_order():
    policy = squashed()
    flat = torch.cat([p.detach().reshape(-1) for p in policy.parameters()])
    np.testing.assert_array_equal(policy.parameter_vector, flat)
    assert len(flat) == (3 * 64 + 64) + (64 * 64 + 64) + (64 * 2 + 2) + 2  # weights and biases, and log_std


def test_values_are_the_same_in_numpy_and_torch_and_share_memory(observations):
    critic = ValueFunction(3, torch.Generator().manual_seed(0))
    x = torch.from_numpy(observations)
    assert critic(x).shape == (6,)
    np.testing.assert_allclose(critic.values(observations), critic(x).detach(), rtol=1e-5, atol=1e-6)
    critic.parameter_vector.mul_(2.0)
    np.testing.assert_allclose(critic.values(observations), critic(x).detach(), rtol=1e-5, atol=1e-6)


def test_networks_start_orthogonal_with_a_small_last_policy_layer():
    policy = Policy(3, Discrete(2), "clip", torch.Generator().manual_seed(0))
    first, middle, last = (m for m in policy.network if isinstance(m, torch.nn.Linear))
    for layer, gain in ((middle, 2.0), (last, 0.01**2)):
        product = (layer.weight @ layer.weight.T).detach()
        np.testing.assert_allclose(product, gain * np.eye(len(product)), atol=1e-4 * gain)
    np.testing.assert_allclose((first.weight.T @ first.weight).detach(), 2 * np.eye(3), atol=1e-4)
    assert all((layer.bias == 0).all() for layer in (first, middle, last))
    uniform = Categorical(logits=torch.zeros(1, 2))
    with torch.no_grad():
        assert float(kl_divergence(uniform, policy(torch.ones(1, 3)))) < 1e-3


def test_initial_parameters_depend_on_the_generator_alone():
    torch.manual_seed(0)
    first = Policy(3, Discrete(2), "clip", torch.Generator().manual_seed(4)).parameter_vector.clone()
    torch.manual_seed(1)
    assert torch.equal(first, Policy(3, Discrete(2), "clip", torch.Generator().manual_seed(4)).parameter_vector)
    assert not torch.equal(first, Policy(3, Discrete(2), "clip", torch.Generator().manual_seed(5)).parameter_vector)
