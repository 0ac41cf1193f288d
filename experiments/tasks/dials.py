"""Several dials to be set at once: a factorised policy against a joint one as actions multiply.

The action has a part for each dial (MultiDiscrete); the task's key `joint_actions` makes it one choice of all 3^K
settings. A grid names a task `experiments.tasks.dials:Dials6-v0`.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import MultiDiscrete

CHOICES = 3  # of a dial
STEPS = 10  # of an episode
DIALS = (2, 4, 6)  # K, of the registered tasks


class Dials(gymnasium.Env[np.ndarray, np.ndarray]):
    """`dials` dials with three settings each. The observation shows a setting for each; the right one is the next.

    A step pays the share of the dials that are set right, then shows new settings, drawn uniformly. An episode has 10
    steps, so the best return is 10 and that of random actions 10/3 in the mean.
    """

    def __init__(self, dials: int) -> None:
        if dials < 1:
            raise ValueError(f"dials must be at least 1, not {dials}")
        self.observation_space = MultiDiscrete([CHOICES] * dials)
        self.action_space = MultiDiscrete([CHOICES] * dials)
        self.dials = dials
        self.shown = np.zeros(dials, np.int64)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Show the first settings."""
        super().reset(seed=seed)
        return self._show(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Set all dials."""
        reward = float(np.mean(action == (self.shown + 1) % CHOICES))
        return self._show(), reward, False, False, {}

    def _show(self) -> np.ndarray:
        self.shown = self.np_random.integers(CHOICES, size=self.dials)
        return self.shown.copy()


for _dials in DIALS:
    gymnasium.register(f"Dials{_dials}-v0", Dials, kwargs={"dials": _dials}, max_episode_steps=STEPS)
