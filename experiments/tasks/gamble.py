"""Stakes on the toss of a coin: what an agent should bet that shuns risk, and one that seeks it.

The best stake for every attitude to risk is known in closed form: `certainty_equivalents`, the exponential utility of
Howard & Matheson (1972). A grid names the task `experiments.tasks.gamble:Gamble-v0`.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Discrete

ROUNDS = 5  # of an episode
# Of each stake, what a round pays in the mean and how far it lies from that. They are chosen so that η = −2, −0.5, 0,
# 0.5 and 2 each have another best stake, and miss at least 0.06 a round with any other.
MEANS = np.array([0.30, 0.48, 0.56, 0.49, 0.06])
DEVIATIONS = np.array([0.2, 0.6, 1.0, 1.5, 2.0])


def certainty_equivalents(eta: float) -> np.ndarray:
    """The sure pay that is worth as much as a round of each stake: (1/η) ln E[exp(η X)] = m + ln cosh(η d) / η.

    `eta` is per unit of return; at 0 it is the mean m. Returns float64 [stakes]. Rounds are independent, so that the
    exponential utility of a sum is a product, and what is best in one round is best in every round of an episode,
    whatever has been won.
    """
    if eta == 0:
        return MEANS.copy()
    spread = eta * DEVIATIONS
    return MEANS + (np.logaddexp(spread, -spread) - np.log(2)) / eta


class Gamble(gymnasium.Env[int, int]):
    """Five rounds. The action is one of five stakes; a fair coin says whether it pays m + d or m − d.

    The observation is constant: as little is known in the last round as in the first. A policy that always has the same
    stake has returns of the mean 5 m and the deviation √5 d. The best mean return is 2.8, with the middle stake; that
    of random actions is 1.89.
    """

    def __init__(self) -> None:
        self.observation_space = Discrete(1)
        self.action_space = Discrete(len(MEANS))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Begin with nothing won."""
        super().reset(seed=seed)
        return 0, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        """Toss the coin."""
        won = self.np_random.random() < 0.5
        return 0, float(MEANS[action] + (1 if won else -1) * DEVIATIONS[action]), False, False, {}


gymnasium.register("Gamble-v0", Gamble, max_episode_steps=ROUNDS)
