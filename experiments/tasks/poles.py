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
    0.2 kg for each m of `length`, as CartPole's is.

    `ends`: a fall ends the episode. Otherwise the pole lies still until the time limit, and each step pays 0, so that
    all episodes last as long and return as much as if they had ended.
    """

    def __init__(
        self, length: float = 0.5, gravity: float = 9.8, reversed_motor: bool = False, ends: bool = True
    ) -> None:
        super().__init__()
        self.length, self.gravity, self.reversed_motor, self.ends = length, gravity, reversed_motor, ends
        self.fallen = False
        self.masspole = 0.2 * length
        self.total_mass = self.masscart + self.masspole
        self.polemass_length = self.masspole * length
        bounds = self.observation_space.high
        high = np.append(bounds, np.float32(1))
        self.observation_space = Box(-high, high, dtype=np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin with the pole nearly upright."""
        observation, info = super().reset(seed=seed, options=options)
        self.fallen = False
        return self._shown(observation), info

    def step(self, action: int) -> Step:
        """Push the cart for 0.02 s."""
        if self.fallen:
            return self._shown(np.array(self.state, np.float32)), 0.0, False, False, {}
        observation, reward, self.fallen, *rest = super().step(1 - action if self.reversed_motor else action)
        return self._shown(observation), reward, self.fallen and self.ends, *rest

    def _shown(self, observation: np.ndarray) -> np.ndarray:
        return np.append(observation, np.float32(-1 if self.reversed_motor else 1))


gymnasium.register("Poles-v0", Poles, max_episode_steps=500)
