"""Rewards divided by the running deviation of their discounted sum, as VecNormalize does it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .estimators import backward_sum
from .normalizer import SMALLEST_VARIANCE, RunningNormalizer
from .rollout import Rollout

REWARD_DISCOUNT = 0.99  # of the discounted return whose deviation scales rewards, as in VecNormalize; the task's, not γ
REWARD_CLIP = 10.0


class RewardScaler:
    """Divides rewards by the running standard deviation of the discounted return (as VecNormalize), clipped at ±10."""

    def __init__(self, num_envs: int) -> None:
        self.statistics = RunningNormalizer(1)
        self._returns = np.zeros(num_envs)

    def update(self, rollout: Rollout) -> None:
        """Take a rollout into the statistics."""
        rewards = rollout.rewards.copy()
        rewards[0] += REWARD_DISCOUNT * self._returns
        discounts = np.zeros_like(rewards)
        discounts[1:] = REWARD_DISCOUNT * ~rollout.done[:-1]
        returns = backward_sum(rewards[::-1], discounts[::-1])[::-1]  # forward in time
        self._returns = returns[-1] * ~rollout.done[-1]
        self.statistics.update(rollout.of_steps(returns)[:, None])

    def snapshot(self) -> dict[str, dict[str, np.ndarray] | np.ndarray]:
        """All that later rewards are scaled by, for `restore`."""
        return {"statistics": self.statistics.state(), "returns": self._returns.copy()}

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Go on as the scaler whose `snapshot` this is."""
        self.statistics.load(snapshot["statistics"])
        self._returns = snapshot["returns"].copy()

    def __call__(self, rewards: np.ndarray) -> np.ndarray:
        """Scaled rewards [...]."""
        scaled = rewards / np.sqrt(self.statistics.variance[0] + SMALLEST_VARIANCE)
        np.maximum(scaled, -REWARD_CLIP, out=scaled)  # np.clip takes longer
        return np.asarray(np.minimum(scaled, REWARD_CLIP, out=scaled))
