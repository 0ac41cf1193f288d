"""Returns and advantages: pure functions of a rollout (Sutton & Barto, 2018, ch. 13; Schulman et al., 2016).

`terminated` stops bootstrapping, because a terminal state has no future. `done` stops the sum, because the next
row of the array belongs to another episode. At a time limit only the sum stops: the state that was reached still
has a value, which is that of the true successor.

Every estimator takes the rewards and values of the rollout unless others are given: `rollout.part_rewards` for a Ψ of
each part of an action, or `rollout.costs` with the values of a critic of costs. They may be [T, N] or, with K parts,
[T, N, K]; the result has the shape of the rewards. Where rewards are [T, N, K] and values [T, N], all parts share V.
"""

import numpy as np

from .rollout import Floats, Rollout

WIDE = 32  # environments from which on NumPy's arithmetic is the faster one; for few steps it is from as many


def backward_sum(x: Floats, discount: Floats) -> Floats:
    """Solve y_t = x_t + discount_t · y_{t+1}, with y_T = 0.

    x: float [T, N] or [T, N, K]; discount: as x, or [T, N] for all of K. Returns float64, as x.
    """
    if x.ndim > 2:
        discounts_of_all = np.broadcast_to(like(x, discount), x.shape).reshape(len(x), -1)
        return backward_sum(x.reshape(len(x), -1), discounts_of_all).reshape(x.shape)
    if x.shape[1] >= min(WIDE, len(x)):
        solution = np.array(x, np.float64)
        for t in reversed(range(len(x) - 1)):
            solution[t] += discount[t] * solution[t + 1]
        return solution
    solutions = []
    for xs, discounts in zip(x[::-1].T.tolist(), discount[::-1].T.tolist(), strict=True):
        y, ys = 0.0, []
        for x_t, discount_t in zip(xs, discounts, strict=True):
            y = x_t + discount_t * y  # the same in Python's floats: NumPy's cost ten times as much, one by one
            ys.append(y)
        solutions.append(ys)
    return np.array(solutions).T[::-1]


def like(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """`y` [T, N] as [T, N, 1] where x is [T, N, K], so that both broadcast; otherwise y as it is."""
    return y[..., None] if y.ndim < x.ndim else y


def discounted_returns(rollout: Rollout, gamma: float, rewards: Floats | None = None) -> Floats:
    """G_t = r_t + γ G_{t+1}, until the end of the episode. At a time limit the sum simply ends."""
    return backward_sum(rollout.rewards if rewards is None else rewards, gamma * ~rollout.done)


def td_errors(
    rollout: Rollout,
    gamma: float,
    rewards: Floats | None = None,
    values: Floats | None = None,
    next_values: Floats | None = None,
) -> Floats:
    """δ_t = r_t + γ V(s_{t+1}) − V(s_t), with V = 0 after a terminal state."""
    rewards = rollout.rewards if rewards is None else rewards
    values = like(rewards, rollout.values if values is None else values)
    next_values = like(rewards, rollout.next_values if next_values is None else next_values)
    following = np.where(like(rewards, rollout.terminated), 0.0, next_values)  # not 0 · V, which is NaN where V is
    errors: Floats = rewards + gamma * following - values
    return errors


def generalized_advantages(
    rollout: Rollout,
    gamma: float,
    gae_lambda: float,
    rewards: Floats | None = None,
    values: Floats | None = None,
    next_values: Floats | None = None,
) -> Floats:
    """A_t = Σ_l (γλ)^l δ_{t+l} (Schulman et al., 2016, eq. 16).

    λ = 0 gives the TD errors, λ = 1 the bootstrapped return minus V(s_t).
    """
    errors = td_errors(rollout, gamma, rewards, values, next_values)
    return backward_sum(errors, gamma * gae_lambda * ~rollout.done)
