"""Gymnasium's classic control, all environments of a task at once, with the same numbers.

Gymnasium computes with single numbers, and so does this, with Python's: they are the same numbers as NumPy's, and fast.
Only sines and cosines are NumPy's, as Gymnasium's are: Python's may differ from them in the last digit.
"""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

from algorithms.core.batched import BatchedBackend


class CartPoles(BatchedBackend):
    """Reward 1 for each step; an episode terminates where the cart leaves the track or the pole falls."""

    def __init__(self, env: gymnasium.Env[Any, Any], seeds: Sequence[int]) -> None:
        super().__init__(env, seeds)
        self._states = np.zeros((len(seeds), 4))  # x, velocity, θ, angular velocity

    def _take_over(self, i: int) -> None:
        self._states[i] = self.env.state

    def _advance(self, actions: np.ndarray, active: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        env, states = self.env, self._states
        gravity, total_mass, polemass_length, masspole = env.gravity, env.total_mass, env.polemass_length, env.masspole
        length, tau, force_mag = env.length, env.tau, env.force_mag
        x_threshold, theta_threshold = env.x_threshold, env.theta_threshold_radians
        angles = states[:, 2]
        after, terminated = [], []
        for (x, x_dot, theta, theta_dot), costheta, sintheta, action in zip(
            states.tolist(), np.cos(angles).tolist(), np.sin(angles).tolist(), actions.tolist(), strict=True
        ):
            force = force_mag if action == 1 else -force_mag
            temp = (force + polemass_length * (theta_dot * theta_dot) * sintheta) / total_mass
            thetaacc = (gravity * sintheta - costheta * temp) / (
                length * (4.0 / 3.0 - masspole * (costheta * costheta) / total_mass)
            )
            xacc = temp - polemass_length * thetaacc * costheta / total_mass
            x += tau * x_dot
            theta += tau * theta_dot
            after.append((x, x_dot + tau * xacc, theta, theta_dot + tau * thetaacc))
            terminated.append(
                x < -x_threshold or x > x_threshold or theta < -theta_threshold or theta > theta_threshold
            )
        new = np.array(after)
        if active is None:
            self._states = new
        else:
            states[active] = new[active]
        return new.astype(np.float32), np.ones(self.num_envs), np.array(terminated)
