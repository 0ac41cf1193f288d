"""Asynchronous advantage actor-critic, simulated (Mnih et al., 2016, algorithm S3).

    θ ← θ − α Adam( (1/N) Σ_i ∇L_i(θ_i) ),   θ_i = θ as it was when worker i last copied it

L_i is A2C's loss on the steps of worker i (environment i), which acted and whose Ψ_t are computed with θ_i as well.
Between two updates each worker copies θ with probability 1 / (1 + m). So the number of updates that θ_i lags is
geometric with mean m, as it is where every update comes from one of m + 1 workers, each with equal probability.
At m = 0 all θ_i are θ, and this is A2C to the bit.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from .a2c import A2C
from .core.algorithm import setting
from .core.asynchronous import AsynchronousLearner
from .core.on_policy import Learner


@dataclass(frozen=True)
class A3C(A2C):
    """Asynchronous advantage actor-critic: workers whose own parameters fall behind (Mnih et al., 2016)."""

    title: ClassVar[str] = "A3C"
    equation: ClassVar[str] = "θ ← θ − α Adam((1/N) Σ_i ∇L_i(θ_i)),  θ_i = θ when worker i last copied it"

    # Mnih et al. 2016 have 16 workers, so that 15 of the others' gradients lie between a copy and its gradient: about
    # as many as one update averages here.
    staleness: float = setting(1.0, low=0)  # m: the mean number of updates that a worker's parameters lag
    # A worker learns once from its steps: in a second pass its parameters would no longer be those that acted.
    epochs: Literal[1] = 1
    minibatch_size: None = None
    value_epochs: None = None
    value_minibatch_size: None = None
    target_kl: None = None

    def copied(self, rng: np.random.Generator) -> np.ndarray:
        """P(worker i copies θ) = 1 / (1 + m); bool [N]."""
        return rng.random(self.num_envs) * (1 + self.staleness) < 1

    def learner(self) -> type[Learner]:
        """Without staleness nothing lags, and A2C's own learner is at work."""
        return AsynchronousLearner if self.staleness > 0 else Learner
