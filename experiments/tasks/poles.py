"""CartPole whose pole, gravity and motor are given: the clients of a federation, or a horizon that is always the same.

With its defaults it is Gymnasium's CartPole-v1 with one number more to see. A grid names the task
`experiments.tasks.poles:Poles-v0`.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.classic_control.cartpole import CartPoleEnv
from gymnasium.spaces import Box

Step = tuple[np.ndarray, float, bool, bool, dict[str, Any]]


class Poles(CartPoleEnv):
    """CartPole-v1 with other mechanics: `length` in m is half the pole's, `gravity` is in m/s².

    `reversed_motor`: action 0 pushes to the right and 1 to the left. The observation is CartPole's and then 1, or −1
    where the motor is reversed, so that one policy can serve both: that which takes the other action at −1. The pole is
    0.2 kg for each m, of which CartPole's own has one.
    """

    def __init__(self, length: float = 0.5, gravity: float = 9.8, reversed_motor: bool = False) -> None:
        super().__init__()
        self.length, self.gravity, self.reversed_motor = length, gravity, reversed_motor
        self.masspole = 0.2 * length
        self.total_mass = self.masscart + self.masspole
        self.polemass_length = self.masspole * length
        bounds = self.observation_space.high
        self.observation_space = Box(np.append(-bounds, -1), np.append(bounds, 1), dtype=np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin with the pole nearly upright."""
        observation, info = super().reset(seed=seed, options=options)
        return self._shown(observation), info

    def step(self, action: int) -> Step:
        """Push the cart for 0.02 s."""
        observation, *rest = super().step(1 - action if self.reversed_motor else action)
        return self._shown(observation), *rest

    def _shown(self, observation: np.ndarray) -> np.ndarray:
        return np.append(observation, np.float32(-1 if self.reversed_motor else 1))


gymnasium.register("Poles-v0", Poles, max_episode_steps=500)
