"""A bandit whose reward is a step of the action: its derivative is 0 wherever it has one."""

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar

import gymnasium
import numpy as np

from ..gaussian import GaussianBandit, GaussianBanditEnv


def normal() -> Any:
    """The standard normal distribution. Reading a grid imports this file, and would wait for SciPy for a second."""
    from scipy.stats import norm

    return norm


@dataclass(frozen=True)
class Step(GaussianBandit):
    """r(a) = mean_i 1[a_i > 0], so J = mean_i Φ(μ_i/σ) and ∂J/∂μ_i = φ(μ_i/σ) / (d σ)."""

    title: ClassVar[str] = "step bandit"
    at: ClassVar[float] = 0.1
    dimensions: int = 1
    sigma: float = 0.3

    @staticmethod
    def reward(actions: np.ndarray) -> np.ndarray:
        """The share of dimensions above 0."""
        return (actions > 0).mean(-1)

    @staticmethod
    def reward_gradient(actions: np.ndarray) -> np.ndarray:
        """0: what a derivative of the reward sees of a step."""
        return np.zeros_like(actions)

    @cached_property
    def truth(self) -> np.ndarray:
        """φ(μ_i/σ) / (d σ)."""
        return normal().pdf(self.mean / self.sigma) / (self.dimensions * self.sigma)

    @property
    def expected_reward(self) -> float:
        """J."""
        return float(normal().cdf(self.mean / self.sigma).mean())


gymnasium.register("StepBandit-v0", partial(GaussianBanditEnv, Step))
