"""The risk-seeking policy gradient: only the best episodes of a batch are learned from (Petersen et al., 2021).

    ∇J_ε = E[ (G − q_ε) Σ_t ∇ log π(a_t|s_t) | G ≥ q_ε ],   q_ε: the (1 − ε)-quantile of G = Σ_t γ^t r_t

J_ε is the mean return of the best share ε of all episodes. So the policy is trained for what it finds at best, and not
for what it has on average: for discovery, where one good result is enough.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .core.algorithm import setting
from .core.batch import of_episodes
from .core.rollout import Floats, Rollout
from .reinforce import Reinforce


@dataclass(frozen=True)
class RiskSeeking(Reinforce):
    """Monte Carlo policy gradient of the mean return of the best share of episodes (Petersen et al., 2021)."""

    title: ClassVar[str] = "Risk-seeking REINFORCE"
    equation: ClassVar[str] = "Ψ_t = max(0, G − q_ε) / ε,  q_ε: the (1 − ε)-quantile of G in the batch"

    rollout_length: int = 64  # episodes of each environment: together they are the batch of the quantile
    gamma: float = 1.0  # the return is what is to be found
    epsilon: float = setting(0.05, above=0, high=1)  # ε; 1: the baseline is the lowest return of the batch

    def advantages(self, rollout: Rollout) -> Floats:
        """Ψ_t = max(0, G − q_ε) / ε at every step of an episode."""
        return of_episodes(rollout, self.gamma, self.weights)

    def weights(self, returns: Floats) -> Floats:
        """max(0, G − q_ε) / ε of each episode: the mean over all episodes is that over the best share ε."""
        return np.asarray(np.maximum(0.0, returns - np.quantile(returns, 1 - self.epsilon)) / self.epsilon)
