"""Bandits with a Gaussian policy of fixed width: the action is drawn from N(μ, σ²I), and μ is the parameter."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from .problem import Batch, InvalidPlace, Problem

REWARD_NOISE = 0.1  # standard deviation of what is added to the reward
FURTHEST = 10.0  # bounds of an action as a task, far from where the rewards are good


@dataclass(frozen=True)
class GaussianBandit(Problem):
    """One action in d dimensions, all of which are alike."""

    actions: ClassVar[str] = "continuous actions"
    at: ClassVar[float] = 0.0  # μ in each dimension
    dimensions: int = 8
    sigma: float = 0.3

    def __post_init__(self) -> None:
        self.above_zero("dimensions", "sigma")
        if self.dimensions != int(self.dimensions):
            raise InvalidPlace(f"dimensions must be a whole number, not {self.dimensions}")

    @cached_property
    def mean(self) -> np.ndarray:
        """μ, [d]."""
        return np.full(self.dimensions, self.at)

    @cached_property
    def fisher(self) -> np.ndarray:
        """F = I / σ²."""
        return np.eye(self.dimensions) / self.sigma**2

    @staticmethod
    def reward(actions: np.ndarray) -> np.ndarray:
        """The expected reward of actions [..., d], [...]."""
        raise NotImplementedError

    @staticmethod
    def reward_gradient(actions: np.ndarray) -> np.ndarray:
        """∂r/∂a at actions [..., d], [..., d]."""
        raise NotImplementedError

    @property
    def expected_reward(self) -> float:
        """J."""
        raise NotImplementedError

    def draw(self, size: int, rng: np.random.Generator, common_noise: bool = False) -> "GaussianBatch":
        """Draw `size` actions."""
        noise = rng.standard_normal((size, 1, self.dimensions))
        rewards = self.reward(self.mean + self.sigma * noise) + REWARD_NOISE * rng.standard_normal((size, 1))
        return GaussianBatch(self, rewards, noise)


@dataclass(eq=False)
class GaussianBatch(Batch):
    """Actions a = μ + σ ε with their rewards; T is 1 and P is d."""

    problem: GaussianBandit
    noise: np.ndarray  # ε, [N, 1, d]

    @cached_property
    def means(self) -> np.ndarray:
        """The policy's mean actions, [N, 1, d]."""
        return np.broadcast_to(self.problem.mean, self.noise.shape)

    @cached_property
    def chosen(self) -> np.ndarray:
        """The actions a, [N, 1, d]."""
        return self.means + self.problem.sigma * self.noise

    @cached_property
    def step_scores(self) -> np.ndarray:
        """(a − μ) / σ²."""
        return self.noise / self.problem.sigma

    @cached_property
    def values(self) -> np.ndarray:
        """J, for every sample."""
        return np.full(self.rewards.shape, self.problem.expected_reward)

    @cached_property
    def pathwise(self) -> np.ndarray:
        """∂r(μ + σ ε)/∂μ, [N, P]."""
        return self.problem.reward_gradient(self.chosen)[:, 0]

    def value_gradient(self, actions: np.ndarray) -> np.ndarray:
        """∂Q/∂a at actions [N, 1, d], [N, 1, d]; Q is the expected reward."""
        return self.problem.reward_gradient(actions)

    def action_features(self, actions: np.ndarray, degree: int) -> tuple[np.ndarray, np.ndarray]:
        """Powers 1 to `degree` of each dimension of a − μ: features for a critic of actions [N, 1, d].

        Returns the features [N, 1, F], the first of which is 1, and their gradients by the action [N, 1, F, d].
        """
        powers = np.arange(1, degree + 1)
        apart = (actions - self.problem.mean)[..., None]  # [N, 1, d, 1]
        features = (apart**powers).reshape(*actions.shape[:2], -1)
        slopes = powers * apart ** (powers - 1)  # [N, 1, d, degree]
        gradients = slopes[..., None] * np.eye(self.problem.dimensions)[:, None]
        gradients = gradients.reshape(*features.shape, self.problem.dimensions)
        one = np.ones((*actions.shape[:2], 1))
        return np.concatenate([one, features], axis=2), np.concatenate([0 * gradients[:, :, :1], gradients], axis=2)

    def through_actions(self, gradients: np.ndarray) -> np.ndarray:
        """Gradients by the actions, [N, 1, d], as gradients by the parameters, [N, P]."""
        return gradients[:, 0]


class GaussianBanditEnv(gymnasium.Env):
    """A GaussianBandit as a task: one action, and the observation is always 1. The width σ is the policy's own."""

    def __init__(self, problem: type[GaussianBandit], dimensions: int = 8) -> None:
        self.problem = problem
        self.observation_space = Box(0.0, 1.0, (1,), np.float32)
        self.action_space = Box(-FURTHEST, FURTHEST, (dimensions,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        """Begin an episode."""
        super().reset(seed=seed)
        return np.ones(1, np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Pay for the action, and end the episode."""
        reward = self.problem.reward(action.astype(float)) + REWARD_NOISE * self.np_random.standard_normal()
        return np.ones(1, np.float32), float(reward), True, False, {}
