"""What a problem of known gradient is, and the batch of samples of it that an estimator gets.

In the shapes below, N is the number of samples (whole episodes), T of steps of the longest one, and P of parameters.
All arrays are float64.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np

ROUNDING = 1e-9  # eigenvalues below this share of the largest count as 0
SYMBOLS = {  # of the numbers that tell the places of a problem apart
    "dimensions": "d",
    "sigma": "σ",
    "agents": "n",
    "arms": "k",
    "gamma": "γ",
    "horizon": "T",
    "offset": "offset",
}
NEEDS = {  # what an estimator needs, where a problem lacks an attribute of its batch
    "chosen": "an action of each step",
    "means": "a mean action",
    "noise": "a policy with Gaussian noise",
    "pathwise": "a reward that can be differentiated by the action",
    "value_gradient": "an action value that can be differentiated by the action",
    "action_features": "an action value that can be differentiated by the action",
    "through_actions": "an action value that can be differentiated by the action",
    "choices": "a choice that can be relaxed to a mixture of its arms",
    "mixture_gradient": "a choice that can be relaxed to a mixture of its arms",
    "relaxed": "a choice that can be relaxed to a mixture of its arms",
    "joint": "several agents, each with its own action",
    "agent_policies": "several agents, each with its own action",
    "agent_scores": "several agents, each with its own action",
    "counterfactual_rewards": "several agents, each with its own action",
    "wrong_action_values": "a critic that is known to be wrong",
}


class NotApplicable(Exception):
    """Raised where an estimator needs what a problem lacks. The message is a sentence without its full stop."""


def pseudo_inverse(matrix: np.ndarray) -> np.ndarray:
    """F⁺, [P, P], of a symmetric matrix [P, P].

    Logits that all grow alike change no policy, so F has eigenvalues of 0, which rounding makes 1e-15 of the largest.
    """
    return np.linalg.pinv(matrix, ROUNDING, hermitian=True)


def softmax(logits: np.ndarray) -> np.ndarray:
    """exp(logits) over their sum, along the last axis. Reading a grid imports this file, and would wait for SciPy."""
    from scipy.special import softmax as of_scipy

    return np.asarray(of_scipy(logits, axis=-1))


class InvalidPlace(ValueError):
    """Raised where a number of a problem has no meaning. The message is a sentence without its full stop."""


@dataclass(frozen=True)
class Problem:
    """A policy at fixed parameters on a task whose true gradient is known. Its fields are the numbers of the place."""

    title: ClassVar[str]
    actions: ClassVar[str]  # what is chosen, as it ends the sentence "… has …"
    gamma: ClassVar[float] = 1.0  # the discount
    environment_noise: ClassVar[bool] = False  # whether the task is random, given the actions
    default_places: ClassVar[tuple[Mapping[str, float], ...]] = ({},)  # that are measured where a grid names none

    @property
    def name(self) -> str:
        """Its file's name."""
        return type(self).__module__.rpartition(".")[2]

    @property
    def numbers(self) -> dict[str, float]:
        """What tells this place from the problem's others."""
        return asdict(self)

    @property
    def place(self) -> str:
        """These numbers in words, such as "d = 8, σ = 0.3"."""
        return ", ".join(f"{SYMBOLS.get(name, name)} = {value:,g}" for name, value in self.numbers.items())

    @cached_property
    def truth(self) -> np.ndarray:
        """∇J, [P], in closed form."""
        raise NotImplementedError

    @cached_property
    def fisher(self) -> np.ndarray:
        """F = E Σ_t γ^t ∇log π ∇log πᵀ, [P, P], in closed form."""
        raise NotImplementedError

    @cached_property
    def natural_truth(self) -> np.ndarray:
        """F⁺ ∇J, [P]: the natural gradient (Amari, 1998; Kakade, 2001)."""
        return pseudo_inverse(self.fisher) @ self.truth

    @property
    def scales(self) -> np.ndarray:
        """∂θ/∂φ, [P], where the parameters are φ in place of θ."""
        return np.ones(len(self.truth))

    def reparameterised(self) -> "Problem | None":
        """The same policy with other parameters φ, where the problem has such: its episodes are the same."""
        return None

    def draw(self, size: int, rng: np.random.Generator, common_noise: bool = False) -> "Batch":
        """Draw `size` episodes; with `common_noise` all of them have the same randomness of the task."""
        raise NotImplementedError

    def above_zero(self, *names: str) -> None:
        """Raise InvalidPlace where one of these fields is not above 0."""
        for name in names:
            if not getattr(self, name) > 0:
                raise InvalidPlace(f"{name} must be above 0, not {getattr(self, name)}")


class Fits:
    """What one estimator has fitted at one place, on samples of its own: each once."""

    def __init__(self, draw: Callable[[], "Batch"]) -> None:
        self._draw, self._found = draw, {}
        self.seconds = 0.0  # of the processor, that drawing and fitting took

    def __call__(self, fit: Callable[["Batch"], Any]) -> Any:
        """What `fit` makes of the samples."""
        if fit not in self._found:
            began = time.process_time()
            self._found[fit] = fit(self._samples)
            self.seconds += time.process_time() - began
        return self._found[fit]

    @cached_property
    def _samples(self) -> "Batch":
        return self._draw()


@dataclass(eq=False)
class Batch:
    """N independent samples of a problem: what an estimator's gradients are made of.

    Further attributes depend on the problem. One that a problem lacks raises NotApplicable.
    """

    problem: Problem
    rewards: np.ndarray  # [N, T]; 0 after the end of an episode
    settings: Mapping[str, Any] = field(default_factory=dict, kw_only=True)  # of the estimator
    entropy: Sequence[int] = field(default=(0,), kw_only=True)  # of the estimator's random numbers
    fits: Fits | None = field(default=None, kw_only=True)

    def __len__(self) -> int:
        return len(self.rewards)

    def __getattr__(self, name: str) -> Any:
        if name not in NEEDS:
            raise AttributeError(f"a batch of {type(self).__name__} has no {name}")
        raise NotApplicable(f"it needs {NEEDS[name]}, and {self.problem.name} has {self.problem.actions}")

    def under(self, settings: Mapping[str, Any], **others: Any) -> Self:
        """The same samples for an estimator with these settings; nothing is kept of what another has computed."""
        return replace(self, settings=settings, **others)

    def fitted(self, fit: Callable[["Batch"], Any]) -> Any:
        """What `fit` makes of a larger batch that is independent of this one; computed once at each place."""
        assert self.fits is not None
        return self.fits(fit)

    @cached_property
    def rng(self) -> np.random.Generator:
        """Random numbers of the estimator's own."""
        return np.random.default_rng(self.entropy)

    @cached_property
    def step_scores(self) -> np.ndarray:
        """∇log π(a_t|s_t), [N, T, P]; 0 after the end of an episode."""
        raise NotImplementedError

    @cached_property
    def values(self) -> np.ndarray:
        """V(s_t), [N, T], exact."""
        raise NotImplementedError

    @cached_property
    def state_features(self) -> np.ndarray:
        """Features of s_t and t, [N, T, F], in which V is linear; a bandit's is the number 1."""
        return np.ones((*self.rewards.shape, 1))

    @cached_property
    def discounts(self) -> np.ndarray:
        """γ^t, [T]."""
        return self.problem.gamma ** np.arange(self.rewards.shape[1])

    @cached_property
    def returns_to_go(self) -> np.ndarray:
        """G_t = Σ_l γ^l r_{t+l}, [N, T]."""
        returns = self.rewards.copy()
        for t in range(returns.shape[1] - 2, -1, -1):
            returns[:, t] += self.problem.gamma * returns[:, t + 1]
        return returns

    def weighted_scores(self, weights: np.ndarray) -> np.ndarray:
        """Σ_t γ^t ∇log π(a_t|s_t) w_t, [N, P], of weights [N, T]."""
        return np.einsum("ntp,nt->np", self.step_scores, self.discounts * weights)
