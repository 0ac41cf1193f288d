"""The tabular MDP of the laboratory with a tabular softmax policy, and the discounted return from the start.

An algorithm's loss leaves out the factor γ^t; here it is part of the gradient, so that leaving it out can be measured.
The task is `experiments.exact:TabularMDP-v0`.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np

from ... import exact
from ..problem import Batch, InvalidPlace, Problem, softmax

MDP = exact.tabular_mdp()
STATES, ACTIONS = MDP.rewards.shape
SLANT = 0.5  # the logits of the first two actions, which lead back or stay; that of the last action is 0
FREE = ACTIONS - 1  # logits of a state, that of the last action being 0, so that the Fisher matrix has an inverse
SCALES = np.geomspace(0.2, 5.0, STATES * FREE)  # D, of the other parameters φ with θ = D φ


@dataclass(frozen=True)
class Chain(Problem):
    """J = E Σ_t γ^t r_t; ∂J/∂θ_sa = d_γ(s) π(a|s) (Q(s,a) − V(s)) with the discounted visits d_γ."""

    title: ClassVar[str] = "tabular MDP"
    actions: ClassVar[str] = "discrete actions"
    default_places: ClassVar = ({"gamma": 0.9}, {"gamma": 0.99})
    gamma: float = 0.99
    rescaled: bool = False  # whether the parameters are φ in place of θ

    def __post_init__(self) -> None:
        if not 0 < self.gamma <= 1:
            raise InvalidPlace(f"gamma must be above 0 and at most 1, not {self.gamma}")

    @property
    def numbers(self) -> dict[str, float]:
        """The discount."""
        return {"gamma": self.gamma}

    @cached_property
    def scales(self) -> np.ndarray:
        """∂θ/∂parameter, [P]."""
        return SCALES if self.rescaled else np.ones_like(SCALES)

    def reparameterised(self) -> "Chain":
        """With φ, each of which has another scale."""
        return replace(self, rescaled=True)

    @cached_property
    def policy(self) -> np.ndarray:
        """π(a|s), [S, A]."""
        return softmax(np.array([[SLANT] * FREE + [0.0]] * STATES))

    @cached_property
    def action_values(self) -> np.ndarray:
        """Q(s,a), [S, A]."""
        return exact.action_values(MDP, self.policy, self.gamma)

    @cached_property
    def state_values(self) -> np.ndarray:
        """V(s), [S]."""
        return exact.state_values(MDP, self.policy, self.gamma)

    @cached_property
    def wrong_action_values(self) -> np.ndarray:
        """r(s,a) + γ Σ_s' P(s'|s,a) V'(s'), [S, A], where V' is a critic that is wrong."""
        return MDP.rewards + self.gamma * MDP.transitions @ MDP.wrong_values

    @cached_property
    def visits(self) -> np.ndarray:
        """d_γ(s) = Σ_t γ^t P(s_t = s) = (I − γ P_πᵀ)⁻¹ μ, [S]."""
        moves = np.einsum("sa,sat->st", self.policy, MDP.transitions)
        return np.linalg.solve(np.eye(STATES) - self.gamma * moves.T, MDP.initial)

    def expected_gradient(self, visits: np.ndarray, psi: np.ndarray) -> np.ndarray:
        """Σ_s d(s) Σ_a ∇π(a|s) Ψ(s,a), [P], for visits [S] and Ψ [S, A]."""
        centred = psi - (self.policy * psi).sum(1, keepdims=True)
        return self.scales * (visits[:, None] * self.policy * centred)[:, :FREE].ravel()

    @cached_property
    def truth(self) -> np.ndarray:
        """d_γ(s) π(a|s) (Q(s,a) − V(s)), [P]."""
        return self.expected_gradient(self.visits, self.action_values)

    @cached_property
    def fisher(self) -> np.ndarray:
        """d_γ(s) (diag(π) − π πᵀ) for each state, one block after the other."""
        found = np.zeros((STATES * FREE, STATES * FREE))
        for state, policy in enumerate(self.policy[:, :FREE]):
            block = slice(FREE * state, FREE * (state + 1))
            found[block, block] = self.visits[state] * (np.diag(policy) - np.outer(policy, policy))
        return self.scales[:, None] * found * self.scales

    def draw(self, size: int, rng: np.random.Generator, common_noise: bool = False) -> "Walks":
        """Draw `size` whole episodes."""
        bounds, moves = self.policy.cumsum(1)[:, :-1], MDP.transitions.cumsum(2)
        state = (rng.random((size, 1)) > MDP.initial.cumsum()[:-1]).sum(1)
        states, chosen, goes_on = [], [], []
        alive = np.ones(size, bool)
        while alive.any():
            action = (rng.random((size, 1)) > bounds[state]).sum(1)
            states.append(state)
            chosen.append(action)
            goes_on.append(alive)
            following = (rng.random((size, 1)) > moves[state, action]).sum(1)
            alive = alive & (following < STATES)
            state = np.where(alive, following, 0)
        s, a, valid = (np.stack(x, axis=1) for x in (states, chosen, goes_on))
        return Walks(self, MDP.rewards[s, a] * valid, s, a, valid)


@dataclass(eq=False)
class Walks(Batch):
    """Episodes with states and actions; P is 2 S."""

    problem: Chain
    states: np.ndarray  # int [N, T]
    chosen: np.ndarray  # int [N, T]
    valid: np.ndarray  # bool [N, T]: the episode has not ended before

    @cached_property
    def step_scores(self) -> np.ndarray:
        """1[s = s_t] (1[a = a_t] − π(a|s)) for the logits that are free, times ∂θ/∂parameter."""
        of_action = (np.eye(ACTIONS)[self.chosen] - self.problem.policy[self.states])[..., :FREE]
        scores = self.state_features[..., None] * of_action[:, :, None]
        return scores.reshape(*self.states.shape, -1) * self.problem.scales

    @cached_property
    def values(self) -> np.ndarray:
        """V(s_t)."""
        return self.problem.state_values[self.states] * self.valid

    @cached_property
    def state_features(self) -> np.ndarray:
        """1[s = s_t], [N, T, S]."""
        return np.eye(STATES)[self.states] * self.valid[..., None]

    def weighted_scores(self, weights: np.ndarray) -> np.ndarray:
        """Σ_t γ^t ∇log π(a_t|s_t) w_t, [N, P], of weights [N, T]: summed by state and action, without step_scores."""
        place = (np.arange(len(self))[:, None] * STATES + self.states) * ACTIONS + self.chosen
        sizes = (self.discounts * weights)[self.valid]
        taken = np.bincount(place[self.valid], sizes, len(self) * STATES * ACTIONS).reshape(-1, STATES, ACTIONS)
        gradients = taken - taken.sum(2, keepdims=True) * self.problem.policy
        return gradients[..., :FREE].reshape(len(self), -1) * self.problem.scales

    @cached_property
    def wrong_action_values(self) -> np.ndarray:
        """Q'(s_t, a_t) of a critic that is wrong, [N, T]."""
        return self.problem.wrong_action_values[self.states, self.chosen] * self.valid
