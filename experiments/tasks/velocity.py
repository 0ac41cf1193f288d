"""Gymnasium's HalfCheetah and Hopper with a cost of 1 at each step that is faster than a limit (Ji et al., 2023).

The limits and the cost are those of Safety-Gymnasium's SafetyHalfCheetahVelocity-v1 and SafetyHopperVelocity-v1
(tasks/safe_velocity of PKU-Alignment/safety-gymnasium), which are built on v4; these are v5. A grid names the tasks
`experiments.tasks.velocity:HalfCheetahVelocity-v0` and `experiments.tasks.velocity:HopperVelocity-v0`.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv
from gymnasium.envs.mujoco.hopper_v5 import HopperEnv

Step = tuple[np.ndarray, float, bool, bool, dict[str, Any]]


def with_cost(step: Step, fastest: float) -> Step:
    """A step whose info also has `cost`: 1 where `x_velocity`, in m/s, is above `fastest`, otherwise 0."""
    step[-1]["cost"] = float(step[-1]["x_velocity"] > fastest)
    return step


class HalfCheetahVelocity(HalfCheetahEnv):
    """HalfCheetah-v5, and a cost where it runs faster than `fastest` m/s; everything else is as without."""

    def __init__(self, fastest: float = 3.2096, **settings: Any) -> None:
        super().__init__(**settings)
        self.fastest = fastest

    def step(self, action: np.ndarray) -> Step:
        """One step of HalfCheetah-v5."""
        return with_cost(super().step(action), self.fastest)


class HopperVelocity(HopperEnv):
    """Hopper-v5, and a cost where it moves forward faster than `fastest` m/s; everything else is as without."""

    def __init__(self, fastest: float = 0.7402, **settings: Any) -> None:
        super().__init__(**settings)
        self.fastest = fastest

    def step(self, action: np.ndarray) -> Step:
        """One step of Hopper-v5."""
        return with_cost(super().step(action), self.fastest)


gymnasium.register("HalfCheetahVelocity-v0", HalfCheetahVelocity, max_episode_steps=1000)
gymnasium.register("HopperVelocity-v0", HopperVelocity, max_episode_steps=1000)
