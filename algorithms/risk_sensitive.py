"""The policy gradient of the exponential utility of an episode's return, which shuns risk or seeks it.

    ∇J = E[ U(G) Σ_t ∇ log π(a_t|s_t) ],   U(G) = (exp(ηG) − 1) / η,   G = Σ_t γ^t r_t

U(G) ≈ G + ½ η G² where ηG is small: η < 0 shuns risk, η > 0 seeks it, and η = 0 is REINFORCE with the return of the
whole episode. Sources: Howard & Matheson (1972), the utility; Noorani & Baras (2021), the gradient.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .core.algorithm import InvalidSetting, setting
from .core.batch import of_episodes
from .core.rollout import Floats, Rollout
from .reinforce import Reinforce

LARGEST = 1e15  # Adam squares a gradient in float32, to 3.4e38 at most; 1e4 is left for the scores of an episode


@dataclass(frozen=True)
class RiskSensitive(Reinforce):
    """Monte Carlo policy gradient of the exponential utility of an episode's return (Noorani & Baras, 2021)."""

    title: ClassVar[str] = "Risk-sensitive REINFORCE"
    equation: ClassVar[str] = "Ψ_t = (exp(ηG) − 1) / η,  G = Σ_t γ^t r_t"

    gamma: float = 1.0  # the return whose risk counts is the one that is scored
    eta: float = setting(0.0)  # η, per unit of the return, scaled as the task says
    # True: the gradient of the entropic risk (1/η) ln E[exp(ηG)] (Nass et al., 2019), another objective. exp(ηG) is
    # divided by its mean over the rollout's E episodes: it cannot overflow, and has a bias of the order of 1 / E.
    entropic_risk: bool = False

    def advantages(self, rollout: Rollout) -> Floats:
        """Ψ_t = U(G) at every step of an episode."""
        return of_episodes(rollout, self.gamma, self.utilities)

    def utilities(self, returns: Floats) -> Floats:
        """(exp(ηG) − 1) / η of each episode, or (exp(ηG) / mean exp(ηG) − 1) / η; at η = 0 G, or G − mean G."""
        if self.eta == 0:
            return returns - returns.mean() if self.entropic_risk else returns
        exponents = self.eta * returns
        if self.entropic_risk:
            exponents -= exponents.max()
            exponents -= np.log1p(np.expm1(exponents).mean())  # now the mean of exp is 1
        most = exponents.max()
        if most > np.log(LARGEST):
            raise InvalidSetting(
                f"eta of {type(self).__name__} is {self.eta:g} and an episode has the return {most / self.eta:g}: the "
                f"utility, about exp({most:.0f}), is too large to learn from; take an eta nearer to 0, or entropic_risk"
            )
        return np.asarray(np.expm1(exponents) / self.eta)
