"""A linear-quadratic regulator with a linear-Gaussian policy: an episode of T steps without discount.

x' = A x + B u + w,  u = −K x + σ ε,  r = −(xᵀ Q x + uᵀ R u),  and K is the parameter.
"""

from dataclasses import dataclass
from functools import cached_property, partial
from typing import ClassVar

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from ..problem import Batch, InvalidPlace, Problem

A = np.array([[1.0, 0.2], [0.0, 0.9]])  # place and speed, which friction lowers
B = np.array([[0.0], [0.5]])
Q, R = np.eye(2), 0.1 * np.eye(1)
GAIN = np.array([[0.2, 0.3]])  # K, stable and far from the best
NOISE = 0.1  # standard deviation of each component of w
FURTHEST = 100.0  # bounds of states and actions as a task; a stable policy stays far within


@dataclass(frozen=True)
class Regulator(Problem):
    """∇J by the recursions of the values backward (Riccati) and of the states' second moments forward (Lyapunov)."""

    title: ClassVar[str] = "linear-quadratic regulator"
    actions: ClassVar[str] = "continuous actions"
    environment_noise: ClassVar[bool] = True
    default_places: ClassVar = ({"sigma": 0.3},)
    sigma: float = 0.3
    horizon: int = 10
    gain: tuple[float, ...] = ()  # K, row by row; empty: GAIN

    def __post_init__(self) -> None:
        self.above_zero("sigma", "horizon")
        if self.horizon != int(self.horizon):
            raise InvalidPlace(f"horizon must be a whole number, not {self.horizon}")

    @property
    def numbers(self) -> dict[str, float]:
        """Width and horizon."""
        return {"sigma": self.sigma, "horizon": self.horizon}

    @cached_property
    def policy(self) -> np.ndarray:
        """K, [1, 2]."""
        return np.reshape(self.gain, GAIN.shape) if self.gain else GAIN

    @cached_property
    def closed(self) -> np.ndarray:
        """A − B K: how the mean action moves a state."""
        return A - B @ self.policy

    @cached_property
    def cost_to_go(self) -> np.ndarray:
        """P_t, [T + 1, 2, 2]: V_t(x) = −(xᵀ P_t x + c_t), P_t = Q + Kᵀ R K + (A − BK)ᵀ P_{t+1} (A − BK), P_T = 0."""
        found = [np.zeros_like(Q)]
        for _ in range(self.horizon):
            found.append(Q + self.policy.T @ R @ self.policy + self.closed.T @ found[-1] @ self.closed)
        return np.array(found[::-1])

    @cached_property
    def further_cost(self) -> np.ndarray:
        """c_t, [T + 1]: c_t = c_{t+1} + tr(P_{t+1}) w² + σ² tr(R + Bᵀ P_{t+1} B)."""
        following = self.cost_to_go[1:]
        spent = NOISE**2 * np.trace(following, axis1=1, axis2=2)
        spent += self.sigma**2 * np.trace(R + B.T @ following @ B, axis1=1, axis2=2)
        return np.append(spent[::-1].cumsum()[::-1], 0.0)

    @cached_property
    def moments(self) -> np.ndarray:
        """S_t = E x_t x_tᵀ, [T, 2, 2]: S_{t+1} = (A − BK) S_t (A − BK)ᵀ + w² I + σ² B Bᵀ, S_0 = I."""
        found = [np.eye(2)]
        for _ in range(self.horizon - 1):
            moved = self.closed @ found[-1] @ self.closed.T
            found.append(moved + NOISE**2 * np.eye(2) + self.sigma**2 * B @ B.T)
        return np.array(found)

    @cached_property
    def truth(self) -> np.ndarray:
        """∇J = −2 Σ_t ((R + Bᵀ P_{t+1} B) K − Bᵀ P_{t+1} A) S_t, as in Fazel et al. (2018), at a finite horizon."""
        following = self.cost_to_go[1:]
        slopes = (R + B.T @ following @ B) @ self.policy - B.T @ following @ A
        return -2 * (slopes @ self.moments).sum(0).ravel()

    @property
    def expected_return(self) -> float:
        """J = −(tr(P_0 S_0) + c_0)."""
        return -float(np.trace(self.cost_to_go[0] @ self.moments[0]) + self.further_cost[0])

    @cached_property
    def fisher(self) -> np.ndarray:
        """Σ_t S_t / σ²."""
        return self.moments.sum(0) / self.sigma**2

    def draw(self, size: int, rng: np.random.Generator, common_noise: bool = False) -> "Episodes":
        """Draw `size` episodes; with `common_noise` all have the same first state and the same w."""
        drawn = 1 if common_noise else size
        state = np.broadcast_to(rng.standard_normal((drawn, 2)), (size, 2))
        shifts = np.broadcast_to(NOISE * rng.standard_normal((drawn, self.horizon, 2)), (size, self.horizon, 2))
        noise = rng.standard_normal((size, self.horizon, 1))
        states, chosen = [], []
        for t in range(self.horizon):
            states.append(state)
            chosen.append(-state @ self.policy.T + self.sigma * noise[:, t])
            state = state @ A.T + chosen[-1] @ B.T + shifts[:, t]
        x, u = np.stack(states, axis=1), np.stack(chosen, axis=1)
        return Episodes(self, rewards(x, u), x, u, noise)


def rewards(x: np.ndarray, u: np.ndarray) -> np.ndarray:
    """r = −(xᵀ Q x + uᵀ R u), [...], of states [..., 2] and actions [..., 1]."""
    return -((x @ Q) * x).sum(-1) - ((u @ R) * u).sum(-1)


@dataclass(eq=False)
class Episodes(Batch):
    """Episodes with their states and actions; P is 2."""

    problem: Regulator
    states: np.ndarray  # x, [N, T, 2]
    chosen: np.ndarray  # u, [N, T, 1]
    noise: np.ndarray  # ε, [N, T, 1]

    @cached_property
    def means(self) -> np.ndarray:
        """−K x, [N, T, 1]."""
        return -self.states @ self.problem.policy.T

    @cached_property
    def step_scores(self) -> np.ndarray:
        """−(u + K x) xᵀ / σ²."""
        return -self.noise / self.problem.sigma * self.states

    @cached_property
    def values(self) -> np.ndarray:
        """V_t(x_t) = −(x_tᵀ P_t x_t + c_t)."""
        cost = np.einsum("nti,tij,ntj->nt", self.states, self.problem.cost_to_go[:-1], self.states)
        return -cost - self.problem.further_cost[:-1]

    @cached_property
    def state_features(self) -> np.ndarray:
        """The products of 1 and the components of x_t in the t-th place of T, and 0 in the others."""
        steps = self.problem.horizon
        apart = quadratic(self.states)[:, :, None] * np.eye(steps)[:, :, None]
        return apart.reshape(len(self), steps, -1)

    @cached_property
    def pathwise(self) -> np.ndarray:
        """∂R/∂K through the dynamics: λ_t = ∂R/∂x_t backward from λ_T = 0, [N, P]."""
        of_state = np.zeros_like(self.states[:, 0])
        gradients = np.empty_like(self.chosen)
        for t in reversed(range(self.problem.horizon)):
            gradients[:, t] = -2 * self.chosen[:, t] @ R + of_state @ B
            of_state = -2 * self.states[:, t] @ Q + of_state @ A - gradients[:, t] @ self.problem.policy
        return self.through_actions(gradients)

    def value_gradient(self, actions: np.ndarray) -> np.ndarray:
        """∂Q_t/∂u = −2 (R u + Bᵀ P_{t+1} (A x + B u)) at actions [N, T, 1], [N, T, 1]."""
        following = self.states @ A.T + actions @ B.T
        return -2 * (actions @ R + np.einsum("nti,tij,jk->ntk", following, self.problem.cost_to_go[1:], B))

    def action_features(self, actions: np.ndarray, degree: int) -> tuple[np.ndarray, np.ndarray]:
        """The products of 1 and the components of x, times the powers of u up to `degree`: of a critic of each step.

        actions: [N, T, 1]. Returns the features [N, T, F] and their gradients by the action [N, T, F, 1].
        """
        powers = np.arange(degree + 1)
        of_state = quadratic(self.states)[..., None]  # [N, T, 6, 1]
        features = (of_state * actions[..., None] ** powers).reshape(*actions.shape[:2], -1)
        slopes = powers * actions[..., None] ** np.maximum(powers - 1, 0)
        gradients = (of_state * slopes).reshape(*actions.shape[:2], -1)
        return features, gradients[..., None]

    def through_actions(self, gradients: np.ndarray) -> np.ndarray:
        """Gradients by the actions at fixed states, [N, T, 1], as gradients by K, [N, P]: Σ_t −g_t x_tᵀ."""
        return -np.einsum("nti,ntj->nij", gradients, self.states).reshape(len(self), -1)


def quadratic(x: np.ndarray) -> np.ndarray:
    """1, x_1, x_2, x_1², x_1 x_2 and x_2²: [N, T, 6] of states [N, T, 2]."""
    first, second = x[..., 0], x[..., 1]
    return np.stack([np.ones_like(first), first, second, first**2, first * second, second**2], axis=-1)


class RegulatorEnv(gymnasium.Env):
    """The regulator as a task; the observation is x."""

    def __init__(self, horizon: int = 10) -> None:
        self.horizon = horizon
        self.observation_space = Box(-FURTHEST, FURTHEST, (2,), np.float64)
        self.action_space = Box(-FURTHEST, FURTHEST, (1,), np.float64)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        """Draw the first state."""
        super().reset(seed=seed)
        self.state, self.steps = self.np_random.standard_normal(2), 0
        return self.state, {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Pay for state and action, and move; the episode terminates after the last step."""
        reward = float(rewards(self.state, action))
        self.state = A @ self.state + B @ action + NOISE * self.np_random.standard_normal(2)
        self.steps += 1
        return self.state, reward, self.steps == self.horizon, False, {}


gymnasium.register("Regulator-v0", partial(RegulatorEnv))
