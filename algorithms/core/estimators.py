"""Returns and advantages: pure functions of a rollout (Sutton & Barto, 2018, ch. 13; Schulman et al., 2016).

`terminated` stops bootstrapping, because a terminal state has no future. `done` stops the sum, because the next
row of the array belongs to another episode. At a time limit only the sum stops: the state that was reached still
has a value, and it is bootstrapped from the true successor.
"""

import numpy as np

from algorithms.core.rollout import Rollout


def backward_sum(x: np.ndarray, discount: np.ndarray) -> np.ndarray:
    """Solve y_t = x_t + discount_t · y_{t+1}, with y_T = 0. All arrays float [T, N]."""
    solutions = []
    for xs, discounts in zip(x[::-1].T.tolist(), discount[::-1].T.tolist(), strict=True):
        y, ys = 0.0, []
        for x_t, discount_t in zip(xs, discounts, strict=True):
            y = x_t + discount_t * y  # in Python's floats: NumPy's cost ten times as much, one by one
            ys.append(y)
        solutions.append(ys)
    return np.array(solutions).T[::-1]


def discounted_returns(rollout: Rollout, gamma: float) -> np.ndarray:
    """G_t = r_t + γ G_{t+1}, until the episode's end; float [T, N]. At a time limit the sum simply ends."""
    return backward_sum(rollout.rewards, gamma * ~rollout.done)


def td_errors(rollout: Rollout, gamma: float) -> np.ndarray:
    """δ_t = r_t + γ V(s_{t+1}) − V(s_t), with V = 0 after a terminal state; float [T, N]."""
    return rollout.rewards + gamma * ~rollout.terminated * rollout.next_values - rollout.values


def generalized_advantages(rollout: Rollout, gamma: float, gae_lambda: float) -> np.ndarray:
    """A_t = Σ_l (γλ)^l δ_{t+l} (Schulman et al., 2016, eq. 16); float [T, N].

    λ = 0 gives the TD errors, λ = 1 the bootstrapped return minus V(s_t).
    """
    return backward_sum(td_errors(rollout, gamma), gamma * gae_lambda * ~rollout.done)
