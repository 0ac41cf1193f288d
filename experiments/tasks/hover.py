"""Holding a point still, with a reward of −1,000 that comes rarely and whatever is done.

The question is what a single reward far beyond all others does to an update whose advantages are normalised, and to one
whose are not. A grid names the task `experiments.tasks.hover:Hover-v0`.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box

STEPS = 100  # of an episode
INTERVAL = 0.1  # seconds between steps
FURTHEST = 2.0  # where the point is stopped
FASTEST = 4.0  # beyond what an acceleration of 1 over the whole line leads to, √8 and one step more


class Hover(gymnasium.Env[np.ndarray, np.ndarray]):
    """A point on a line with a position and a velocity; the action in [−1, 1] is its acceleration.

    It begins at rest, anywhere from −1 to 1. A step pays 1 − |position|, which is 1 at best and not below −1: beyond
    −2 and 2 the point is stopped. With `probability` a step pays `rare_reward` instead, and all else is as it would
    have been: no action makes it likelier. An episode has 100 steps.

    So any policy's return is (1 − probability) times what it would be without, plus 100 probability × rare_reward.
    """

    def __init__(self, rare_reward: float = -1000.0, probability: float = 5e-4) -> None:
        bounds = np.array([FURTHEST, FASTEST], np.float32)
        self.observation_space = Box(-bounds, bounds, dtype=np.float32)
        self.action_space = Box(-1.0, 1.0, (1,), np.float32)
        self.rare_reward, self.probability = rare_reward, probability
        self.position = self.velocity = 0.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin at rest at a random position."""
        super().reset(seed=seed)
        self.position, self.velocity = float(self.np_random.uniform(-1, 1)), 0.0
        return self._shown(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """v ← v + a Δt,  x ← x + v Δt."""
        self.velocity += float(action[0]) * INTERVAL
        self.position += self.velocity * INTERVAL
        if abs(self.position) > FURTHEST:
            self.position, self.velocity = float(np.copysign(FURTHEST, self.position)), 0.0
        rare = self.np_random.random() < self.probability
        return self._shown(), self.rare_reward if rare else 1.0 - abs(self.position), False, False, {}

    def _shown(self) -> np.ndarray:
        return np.array([self.position, self.velocity], np.float32)


gymnasium.register("Hover-v0", Hover, max_episode_steps=STEPS)
