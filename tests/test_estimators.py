"""Returns and advantages against sums written from their definitions, O(T²)."""

import numpy as np
import pytest

from algorithms.core.estimators import WIDE, backward_sum, discounted_returns, generalized_advantages, td_errors
from tests.tasks import random_rollout

GAMMA = 0.93
ROLLOUTS = [
    pytest.param(dict(steps=40, num_envs=1), id="one environment"),
    pytest.param(dict(steps=25, num_envs=3), id="three environments"),
    pytest.param(dict(steps=1, num_envs=8), id="a single step"),
    pytest.param(dict(steps=30, num_envs=7, padding=True), id="whole episodes with padding"),
    pytest.param(dict(steps=30, num_envs=2, end=0.0), id="truncations only"),
    pytest.param(dict(steps=30, num_envs=2, cut=0.0), id="terminations only"),
    pytest.param(dict(steps=30, num_envs=2, end=0.0, cut=0.0), id="no ending at all"),
]


@pytest.fixture(params=ROLLOUTS)
def rollout(request):
    return random_rollout(np.random.default_rng(5), **request.param)


def episode_rows(rollout, t, i):
    """The rows from t to the end of the episode that t belongs to, or to the end of the rollout."""
    rows = []
    for k in range(t, len(rollout.rewards)):
        if not rollout.valid[k, i]:
            break
        rows.append(k)
        if rollout.terminated[k, i] or rollout.truncated[k, i]:
            break
    return rows


def for_every_step(rollout, definition):
    return np.array(
        [
            [definition(i, episode_rows(rollout, t, i)) if rollout.valid[t, i] else 0.0 for i in range(n)]
            for t, n in enumerate([rollout.rewards.shape[1]] * len(rollout.rewards))
        ]
    )


def bootstrapped(rollout, t, i):
    """γ V(s_{t+1}), or nothing after a terminal state."""
    return 0.0 if rollout.terminated[t, i] else GAMMA * rollout.next_values[t, i]


def delta(rollout, t, i):
    return rollout.rewards[t, i] + bootstrapped(rollout, t, i) - rollout.values[t, i]


def test_discounted_returns_match_their_definition(rollout):
    expected = for_every_step(
        rollout, lambda i, rows: sum(GAMMA**l * rollout.rewards[k, i] for l, k in enumerate(rows))
    )
    np.testing.assert_allclose(discounted_returns(rollout, GAMMA), expected, atol=1e-12)


def test_td_errors_match_their_definition(rollout):
    expected = for_every_step(rollout, lambda i, rows: delta(rollout, rows[0], i))
    np.testing.assert_allclose(td_errors(rollout, GAMMA), expected, atol=1e-12)


@pytest.mark.parametrize("gae_lambda", [0.0, 0.5, 0.95, 1.0])
def test_generalized_advantages_match_their_definition_through_endings(rollout, gae_lambda):
    expected = for_every_step(
        rollout, lambda i, rows: sum((GAMMA * gae_lambda) ** l * delta(rollout, k, i) for l, k in enumerate(rows))
    )
    np.testing.assert_allclose(generalized_advantages(rollout, GAMMA, gae_lambda), expected, atol=1e-12)


def test_generalized_advantages_at_lambda_zero_are_the_td_errors(rollout):
    np.testing.assert_array_equal(generalized_advantages(rollout, GAMMA, 0.0), td_errors(rollout, GAMMA))


def test_generalized_advantages_at_lambda_one_are_the_bootstrapped_return_minus_the_value(rollout):
    """Σ_{i<k} γ^i r_{t+i} + γ^k V(s_{t+k}) − V(s_t): it telescopes where values agree from row to row."""
    going_on = ~rollout.done[:-1] & rollout.valid[1:]
    rollout.next_values[:-1][going_on] = rollout.values[1:][going_on]

    def definition(i, rows):
        rewards = sum(GAMMA**l * rollout.rewards[k, i] for l, k in enumerate(rows))
        return rewards + GAMMA ** (len(rows) - 1) * bootstrapped(rollout, rows[-1], i) - rollout.values[rows[0], i]

    np.testing.assert_allclose(
        generalized_advantages(rollout, GAMMA, 1.0), for_every_step(rollout, definition), atol=1e-12
    )


@pytest.mark.parametrize("estimator", [td_errors, lambda r, gamma: generalized_advantages(r, gamma, 0.95)])
def test_a_truncation_bootstraps_from_the_true_successor_and_a_termination_does_not(estimator):
    truncated = random_rollout(np.random.default_rng(0), steps=3, num_envs=1, end=0.0, cut=0.0)
    terminated = random_rollout(np.random.default_rng(0), steps=3, num_envs=1, end=0.0, cut=0.0)
    truncated.truncated[1] = terminated.terminated[1] = True
    r, v, successor = truncated.rewards[1, 0], truncated.values[1, 0], truncated.next_values[1, 0]
    assert estimator(truncated, GAMMA)[1, 0] == pytest.approx(r + GAMMA * successor - v)
    assert estimator(terminated, GAMMA)[1, 0] == pytest.approx(r - v)


def test_padding_rows_are_zero_and_change_nothing_before_them():
    rollout = random_rollout(np.random.default_rng(2), steps=12, num_envs=5, padding=True)
    assert not rollout.valid.all()
    for estimator in (discounted_returns, td_errors, lambda r, gamma: generalized_advantages(r, gamma, 0.9)):
        padded = estimator(rollout, GAMMA)
        assert (padded[~rollout.valid] == 0).all()
        for i in range(5):
            alone = random_rollout(np.random.default_rng(2), steps=12, num_envs=5, padding=True)
            length = int(rollout.valid[:, i].sum())
            for name in ("rewards", "values", "next_values", "terminated", "truncated", "valid"):
                setattr(alone, name, getattr(rollout, name)[:length, i : i + 1])
            np.testing.assert_array_equal(estimator(alone, GAMMA)[:, 0], padded[:length, i])


ESTIMATORS = [
    discounted_returns,
    td_errors,
    lambda rollout, gamma, *given: generalized_advantages(rollout, gamma, 0.9, *given),
]


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("values_of_parts", [False, True])
def test_the_estimate_of_each_part_is_the_estimate_from_its_rewards(rollout, estimator, values_of_parts):
    rng = np.random.default_rng(1)
    shape = (*rollout.rewards.shape, 3)
    given = [rng.normal(size=shape)]
    if values_of_parts and estimator is not discounted_returns:
        given += [rng.normal(size=shape), rng.normal(size=shape)]
    parts = estimator(rollout, GAMMA, *given)
    assert parts.shape == shape
    for k in range(3):
        np.testing.assert_array_equal(parts[..., k], estimator(rollout, GAMMA, *(x[..., k] for x in given)))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_rewards_and_values_are_the_rollouts_where_no_others_are_given(rollout, estimator):
    other = random_rollout(np.random.default_rng(9), *rollout.rewards.shape)
    given = [other.rewards] if estimator is discounted_returns else [other.rewards, other.values, other.next_values]
    estimate = estimator(rollout, GAMMA, *given)
    assert not np.array_equal(estimate, estimator(rollout, GAMMA))
    rollout.rewards, rollout.values, rollout.next_values = other.rewards, other.values, other.next_values
    np.testing.assert_array_equal(estimator(rollout, GAMMA), estimate)
    np.testing.assert_array_equal(estimator(rollout, GAMMA, None), estimate)  # rollout.part_rewards may be None


def test_a_backward_sum_leaves_its_arguments_alone_and_keeps_double_precision():
    x, discount = np.arange(6, dtype=np.float32).reshape(3, 2), np.full((3, 2), 0.5, np.float32)
    y = backward_sum(x, discount)
    np.testing.assert_array_equal(x, np.arange(6).reshape(3, 2))
    assert y.dtype == np.float64
    np.testing.assert_array_equal(y, [[0 + 1 + 1, 1 + 1.5 + 1.25], [2 + 2, 3 + 2.5], [4, 5]])


def test_a_backward_sum_of_many_environments_is_that_of_each_to_the_last_bit():
    rng = np.random.default_rng(0)
    x, discount = rng.normal(size=(30, 2 * WIDE)), 0.99 * (rng.random((30, 2 * WIDE)) < 0.9)
    together = backward_sum(x, discount)
    for i in range(2 * WIDE):
        np.testing.assert_array_equal(together[:, i], backward_sum(x[:, i : i + 1], discount[:, i : i + 1])[:, 0])
