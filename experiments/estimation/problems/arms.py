"""A softmax bandit whose arms are points on a line, so that a mixture of arms has a reward, too."""

from dataclasses import dataclass
from functools import cached_property, partial
from typing import ClassVar

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete

from ..problem import Batch, InvalidPlace, Problem, softmax

LENGTH = 20**0.5  # of the line, from 0: rewards lie between offset − 10 and offset
TARGET = 0.8 * LENGTH  # c
SLANT = 1.0  # the logits fall from 0 to −SLANT along the line: the policy prefers the arms that are bad
REWARD_NOISE = 0.5  # standard deviation of what is added to a reward that was drawn


@dataclass(frozen=True)
class Arms(Problem):
    """Arm i is the point x_i and pays offset − ½ (x_i − c)²; a mixture y of arms pays offset − ½ (x·y − c)².

    ∂J/∂θ_i = π_i (m_i − J), where m_i is the arm's mean reward.
    """

    title: ClassVar[str] = "bandit with arms"
    actions: ClassVar[str] = "discrete actions"
    default_places: ClassVar = ({"arms": 5}, {"arms": 5, "offset": 1010.0})
    arms: int = 5
    offset: float = 10.0

    def __post_init__(self) -> None:
        if self.arms != int(self.arms) or not self.arms >= 2:
            raise InvalidPlace(f"arms must be a whole number from 2, not {self.arms}")

    @cached_property
    def points(self) -> np.ndarray:
        """x, [k]."""
        return np.linspace(0, LENGTH, self.arms)

    @cached_property
    def means(self) -> np.ndarray:
        """The mean reward of each arm, [k]."""
        return self.offset - 0.5 * (self.points - TARGET) ** 2

    @cached_property
    def logits(self) -> np.ndarray:
        """θ, [k]."""
        return np.linspace(0, -SLANT, self.arms)

    @cached_property
    def policy(self) -> np.ndarray:
        """π, [k]."""
        return softmax(self.logits)

    @cached_property
    def expected_reward(self) -> float:
        """J."""
        return float(self.policy @ self.means)

    @cached_property
    def truth(self) -> np.ndarray:
        """π_i (m_i − J)."""
        return self.policy * (self.means - self.expected_reward)

    @cached_property
    def fisher(self) -> np.ndarray:
        """diag(π) − π πᵀ."""
        return np.diag(self.policy) - np.outer(self.policy, self.policy)

    def draw(self, size: int, rng: np.random.Generator, common_noise: bool = False) -> "Pulls":
        """Draw `size` arms with their rewards."""
        gumbel = rng.gumbel(size=(size, self.arms))
        pulled = (self.logits + gumbel).argmax(1)
        rewards = self.means[pulled] + REWARD_NOISE * rng.standard_normal(size)
        return Pulls(self, rewards[:, None], pulled, gumbel)


@dataclass(eq=False)
class Pulls(Batch):
    """Pulls of arms: the arm with the largest θ_i + g_i, where g is Gumbel noise; T is 1 and P is k."""

    problem: Arms
    pulled: np.ndarray  # int [N]
    gumbel: np.ndarray  # g, [N, k]

    @cached_property
    def choices(self) -> np.ndarray:
        """The pulled arm as 1 among 0, [N, k]."""
        return np.eye(self.problem.arms)[self.pulled]

    @cached_property
    def step_scores(self) -> np.ndarray:
        """1[i = a] − π_i."""
        return (self.choices - self.problem.policy)[:, None]

    @cached_property
    def values(self) -> np.ndarray:
        """J, for every sample."""
        return np.full(self.rewards.shape, self.problem.expected_reward)

    def relaxed(self, temperature: float) -> np.ndarray:
        """y = softmax((θ + g) / temperature), [N, k], for the g that chose the pulled arm. temperature: above 0."""
        return softmax((self.problem.logits + self.gumbel) / temperature)

    def mixture_gradient(self, mixtures: np.ndarray) -> np.ndarray:
        """∂r/∂y at mixtures [N, k], [N, k]: −(x·y − c) x."""
        return -(mixtures @ self.problem.points - TARGET)[:, None] * self.problem.points


class ArmsEnv(gymnasium.Env):
    """The arms as a task; the observation is always 1."""

    def __init__(self, arms: int = 5, offset: float = 10.0) -> None:
        self.problem = Arms(arms, offset)
        self.observation_space = Box(0.0, 1.0, (1,), np.float32)
        self.action_space = Discrete(arms)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        """Begin an episode."""
        super().reset(seed=seed)
        return np.ones(1, np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Pay for the arm, and end the episode."""
        reward = self.problem.means[action] + REWARD_NOISE * self.np_random.standard_normal()
        return np.ones(1, np.float32), float(reward), True, False, {}


gymnasium.register("Arms-v0", partial(ArmsEnv))
