"""A bandit whose reward is a wave of the action: smooth, and no polynomial."""

from dataclasses import dataclass
from functools import cached_property, partial
from typing import ClassVar

import gymnasium
import numpy as np

from ..gaussian import GaussianBandit, GaussianBanditEnv

FREQUENCY = 2.0  # k


@dataclass(frozen=True)
class Wave(GaussianBandit):
    """r(a) = mean_i cos(k a_i), so J = e^(−k²σ²/2) mean_i cos(k μ_i), by the characteristic function of a Gaussian."""

    title: ClassVar[str] = "wave bandit"
    at: ClassVar[float] = 0.6
    dimensions: int = 2
    sigma: float = 0.3

    @staticmethod
    def reward(actions: np.ndarray) -> np.ndarray:
        """mean_i cos(k a_i)."""
        return np.cos(FREQUENCY * actions).mean(-1)

    @staticmethod
    def reward_gradient(actions: np.ndarray) -> np.ndarray:
        """−k sin(k a_i) / d."""
        return -FREQUENCY * np.sin(FREQUENCY * actions) / actions.shape[-1]

    @cached_property
    def truth(self) -> np.ndarray:
        """−k e^(−k²σ²/2) sin(k μ_i) / d: the slope at μ, less by what the width of the policy smooths away."""
        return np.exp(-((FREQUENCY * self.sigma) ** 2) / 2) * self.reward_gradient(self.mean)

    @property
    def expected_reward(self) -> float:
        """J."""
        return float(np.exp(-((FREQUENCY * self.sigma) ** 2) / 2) * self.reward(self.mean))


gymnasium.register("WaveBandit-v0", partial(GaussianBanditEnv, Wave))
