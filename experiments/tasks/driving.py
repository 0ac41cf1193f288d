"""Driving where speed pays and may end in a crash: a control task whose best policy depends on the attitude to risk.

The best policy for every attitude is known by dynamic programming: `best_policy`, with the multiplicative equation of
Howard & Matheson (1972). A grid names the task `experiments.tasks.driving:Driving-v0`.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete

STEPS = 20  # of an episode
SPEEDS = 6  # from 0 to 5
CRASH = -50.0  # what a crash pays
# The probability of a crash in a step at each speed. With it and CRASH, the best policies for η = −0.08, −0.02, 0, 0.02
# and 0.08 drive at most of their steps at the speeds 1, 2, 3, 4 and 5.
CRASHES = 0.0005 * np.arange(SPEEDS) ** 3.0
CHANGES = (-1, 0, 1)  # of the speed, by action


def best_policy(eta: float) -> tuple[np.ndarray, np.ndarray]:
    """The best actions for the utility exp(η G) / η of an episode's return, or for its mean if `eta` is 0.

    Returns the actions, int64 [STEPS, SPEEDS], by steps taken and speed, and the certainty equivalents of what is still
    to come, float64 [STEPS + 1, SPEEDS]: exp(η C_t(s)) = max over s' of (1 − p(s')) exp(η (s' + C_{t+1}(s'))) + p(s')
    exp(η CRASH), for η > 0; the minimum for η < 0.
    """
    actions = np.zeros((STEPS, SPEEDS), np.int64)
    values = np.zeros((STEPS + 1, SPEEDS))
    for t in reversed(range(STEPS)):
        going_on = np.arange(SPEEDS) + values[t + 1]
        if eta == 0:
            worth = (1 - CRASHES) * going_on + CRASHES * CRASH
        else:
            worth = np.log((1 - CRASHES) * np.exp(eta * going_on) + CRASHES * np.exp(eta * CRASH)) / eta
        following = np.clip(np.add.outer(np.arange(SPEEDS), CHANGES), 0, SPEEDS - 1)
        actions[t], values[t] = worth[following].argmax(1), worth[following].max(1)
    return actions, values


class Driving(gymnasium.Env[np.ndarray, int]):
    """A car that begins at rest; an action makes it slower by 1, leaves its speed, or makes it faster by 1.

    Speeds are from 0 to 5. A step pays the new speed, or there is a crash: that pays −50 and ends the episode. The
    probability of a crash grows with the third power of the speed. The observation is the speed and the steps taken,
    each as a share of the most. An episode has 20 steps.
    """

    def __init__(self) -> None:
        self.observation_space = Box(0.0, 1.0, (2,), np.float32)
        self.action_space = Discrete(len(CHANGES))
        self.speed = self.steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin at rest."""
        super().reset(seed=seed)
        self.speed = self.steps = 0
        return self._shown(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Change the speed, and drive."""
        self.speed = min(max(self.speed + CHANGES[action], 0), SPEEDS - 1)
        self.steps += 1
        crash = bool(self.np_random.random() < CRASHES[self.speed])
        return self._shown(), CRASH if crash else float(self.speed), crash, False, {}

    def _shown(self) -> np.ndarray:
        return np.array([self.speed / (SPEEDS - 1), min(self.steps / STEPS, 1.0)], np.float32)


gymnasium.register("Driving-v0", Driving, max_episode_steps=STEPS)
