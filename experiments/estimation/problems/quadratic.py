"""A bandit whose reward falls with the squared distance of the action to a target."""

from dataclasses import dataclass
from functools import cached_property, partial
from typing import ClassVar

import gymnasium
import numpy as np

from ..gaussian import GaussianBandit, GaussianBanditEnv

TARGET = 1.0  # c in each dimension


@dataclass(frozen=True)
class Quadratic(GaussianBandit):
    """r(a) = −½ ‖a − c‖², so ∇J = c − μ and J = −½ (‖c − μ‖² + d σ²)."""

    title: ClassVar[str] = "quadratic bandit"
    default_places: ClassVar = ({"dimensions": 8, "sigma": 0.3},)

    @staticmethod
    def reward(actions: np.ndarray) -> np.ndarray:
        """−½ ‖a − c‖²."""
        return -0.5 * ((actions - TARGET) ** 2).sum(-1)

    @staticmethod
    def reward_gradient(actions: np.ndarray) -> np.ndarray:
        """c − a."""
        return TARGET - actions

    @cached_property
    def truth(self) -> np.ndarray:
        """c − μ."""
        return TARGET - self.mean

    @property
    def expected_reward(self) -> float:
        """J."""
        return -0.5 * (((self.mean - TARGET) ** 2).sum() + self.dimensions * self.sigma**2)


gymnasium.register("QuadraticBandit-v0", partial(GaussianBanditEnv, Quadratic))
