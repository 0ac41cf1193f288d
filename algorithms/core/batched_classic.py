"""Gymnasium's classic control, all environments of a task at once, with the same numbers.

Gymnasium computes with single numbers of NumPy, and this with Python's. They are the same numbers and much faster, also
for one environment. Sines and cosines are NumPy's where Gymnasium's are: Python's may differ in the last digit. Actions
must be in the action space, and in its precision. What a task's constructor sets is read from the environment.
"""

import math
from array import array
from collections.abc import Sequence
from typing import Any, TypeAlias

import gymnasium
import numpy as np

from .batched import BatchedBackend
from .task import Snapshot

Rows: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


class Classic(BatchedBackend):
    """N states, each a row of `state_size` numbers; a subclass says how they change."""

    state_size = 2

    def __init__(self, env: gymnasium.Env[Any, Any], seeds: Sequence[int]) -> None:
        super().__init__(env, seeds)
        self._states = np.zeros((len(seeds), self.state_size))
        self._everyone = range(len(seeds))
        self._ones = np.ones(len(seeds))  # a copy of it takes a fifth of the time of numpy.ones

    def _take_over(self, i: int) -> None:
        self._states[i] = self.env.state

    def _all_states(self) -> Snapshot:
        return {"states": self._states.copy()}

    def _take_over_all(self, states: Snapshot) -> None:
        self._states = states["states"].copy()

    def _advance(self, actions: np.ndarray, active: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if active is None:
            self._states, *rest = self._next(self._states, actions, self._everyone)
            observations, rewards, terminated = rest
            return observations, rewards, terminated
        ids = active.nonzero()[0]
        observations = np.zeros((self.num_envs, self.observation_size), np.float32)
        rewards, terminated = np.zeros(self.num_envs), np.zeros(self.num_envs, bool)
        if len(ids):
            after = self._next(self._states[ids], actions[ids], ids.tolist())
            self._states[ids], observations[ids], rewards[ids], terminated[ids] = after
        return observations, rewards, terminated

    def _next(self, states: np.ndarray, actions: np.ndarray, ids: Sequence[int]) -> Rows:
        """The states [k, S] after a step of the copies `ids`, their observations, rewards and terminations."""
        raise NotImplementedError


class CartPoles(Classic):
    """Reward 1 for each step; an episode terminates where the cart leaves the track or the pole falls."""

    state_size = 4

    def _next(self, states: np.ndarray, actions: np.ndarray, ids: Sequence[int]) -> Rows:
        env = self.env
        gravity, total_mass, polemass_length, masspole = env.gravity, env.total_mass, env.polemass_length, env.masspole
        length, tau, force_mag = env.length, env.tau, env.force_mag
        x_threshold, theta_threshold = env.x_threshold, env.theta_threshold_radians
        angles = states[:, 2]
        after, terminated = [], []
        for (x, x_dot, theta, theta_dot), costheta, sintheta, action in zip(
            states.tolist(), np.cos(angles).tolist(), np.sin(angles).tolist(), actions.tolist(), strict=True
        ):
            force = force_mag if action == 1 else -force_mag
            temp = (force + polemass_length * (theta_dot * theta_dot) * sintheta) / total_mass
            thetaacc = (gravity * sintheta - costheta * temp) / (
                length * (4.0 / 3.0 - masspole * (costheta * costheta) / total_mass)
            )
            xacc = temp - polemass_length * thetaacc * costheta / total_mass
            x += tau * x_dot
            theta += tau * theta_dot
            after.append((x, x_dot + tau * xacc, theta, theta_dot + tau * thetaacc))
            terminated.append(
                x < -x_threshold or x > x_threshold or theta < -theta_threshold or theta > theta_threshold
            )
        new = np.array(after)
        return new, new.astype(np.float32), self._ones[: len(new)].copy(), np.array(terminated)


class MountainCars(Classic):
    """Reward −1 for each step; an episode terminates at the goal."""

    def _next(self, states: np.ndarray, actions: np.ndarray, ids: Sequence[int]) -> Rows:
        env = self.env
        force, gravity, fastest, goal_velocity = env.force, env.gravity, env.max_speed, env.goal_velocity
        lowest, highest, goal = env.min_position, env.max_position, env.goal_position
        after, terminated = [], []
        for (position, velocity), action in zip(states.tolist(), actions.tolist(), strict=True):
            velocity += (action - 1) * force + math.cos(3 * position) * -gravity
            velocity = min(max(velocity, -fastest), fastest)
            position = min(max(position + velocity, lowest), highest)
            if position == lowest and velocity < 0:
                velocity = 0.0
            after.append((position, velocity))
            terminated.append(position >= goal and velocity >= goal_velocity)
        new = np.array(after)
        return new, new.astype(np.float32), -self._ones[: len(new)], np.array(terminated)


class ContinuousMountainCars(Classic):
    """Reward 100 at the goal, where the episode terminates, minus a tenth of the squared action.

    Gymnasium's state is in double precision when an episode begins, so Gymnasium itself takes the first step. After it
    the state is in single precision: what an operation in single precision gives is what Python's gives, rounded.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], seeds: Sequence[int]) -> None:
        super().__init__(env, seeds)
        self._begun: dict[int, np.ndarray] = {}  # the states of episodes without a step, by the copy's number
        constants = (self.env.power, self.env.max_speed, self.env.min_position, self.env.max_position)
        self._constants = [float(np.float32(x)) for x in (*constants, self.env.goal_position, self.env.goal_velocity)]

    def _take_over(self, i: int) -> None:
        self._begun[i] = self.env.state

    def _all_states(self) -> Snapshot:
        return super()._all_states() | {"begun": [[i, state.copy()] for i, state in self._begun.items()]}

    def _take_over_all(self, states: Snapshot) -> None:
        super()._take_over_all(states)
        self._begun = {i: state.copy() for i, state in states["begun"]}

    def _next(self, states: np.ndarray, actions: np.ndarray, ids: Sequence[int]) -> Rows:
        power, fastest, lowest, highest, goal, goal_velocity = self._constants
        single = array("f", (0.0,))  # what is put into it is rounded
        after, rewards, terminated = [], [], []
        for (position, velocity), force in zip(states.tolist(), actions[:, 0].tolist(), strict=True):
            single[0] = 3 * position
            single[0] = 0.0025 * math.cos(single[0])
            slope = single[0]
            single[0] = force * power
            single[0] -= slope
            single[0] += velocity
            velocity = max(min(single[0], fastest), -fastest)
            single[0] = position + velocity
            position = max(min(single[0], highest), lowest)
            if position == lowest and velocity < 0:
                velocity = 0.0
            at_goal = position >= goal and velocity >= goal_velocity
            after.append((position, velocity))
            rewards.append((100.0 if at_goal else 0.0) - math.pow(force, 2) * 0.1)
            terminated.append(at_goal)
        for row, i in enumerate(ids if self._begun else ()):
            if i in self._begun:
                self.env.state = self._begun.pop(i)
                after[row], rewards[row], terminated[row], _, _ = self.env.step(actions[row])
        new = np.array(after)
        return new, new.astype(np.float32), np.array(rewards), np.array(terminated)


class Pendulums(Classic):
    """Minus a cost of the angle from upright, of the angular velocity and of the torque; no episode terminates."""

    def _next(self, states: np.ndarray, actions: np.ndarray, ids: Sequence[int]) -> Rows:
        env = self.env
        fastest, dt, gravity = env.max_speed, env.dt, 3 * env.g / (2 * env.l)
        torques = actions[:, 0]
        after, rewards = [], []
        for (th, thdot), sine, torque, push in zip(
            states.tolist(),
            np.sin(states[:, 0]).tolist(),
            torques,  # in single precision, in which it is squared
            (3.0 / (env.m * env.l**2) * torques).tolist(),
            strict=True,
        ):
            angle = (th + math.pi) % (2 * math.pi) - math.pi
            rewards.append(-(angle**2 + 0.1 * thdot**2 + float(0.001 * torque**2)))
            thdot += (gravity * sine + push) * dt
            thdot = min(max(thdot, -fastest), fastest)
            after.append((th + thdot * dt, thdot))
        new = np.array(after)
        observations = np.empty((len(new), 3), np.float32)
        angles = new[:, 0]
        observations[:, 0], observations[:, 1], observations[:, 2] = np.cos(angles), np.sin(angles), new[:, 1]
        return new, observations, np.array(rewards), np.zeros(len(new), bool)


class Acrobots(Classic):
    """Reward −1 for each step before the tip is above the line, where the episode terminates.

    The equations of motion are Gymnasium's ("book"), for two links of length and mass 1 whose centres are in the middle
    and whose moments of inertia are 1; a step is one of the fourth-order Runge–Kutta method.
    """

    state_size = 4

    def _next(self, states: np.ndarray, actions: np.ndarray, ids: Sequence[int]) -> Rows:
        env = self.env
        torques = [env.AVAIL_TORQUE[action] for action in actions.tolist()]
        dt, before = env.dt, states.tolist()
        k1 = _derivatives(before, torques)
        k2 = _derivatives(_along(before, dt / 2.0, k1), torques)
        k3 = _derivatives(_along(before, dt / 2.0, k2), torques)
        k4 = _derivatives(_along(before, dt, k3), torques)
        sixth, fastest1, fastest2 = dt / 6.0, env.MAX_VEL_1, env.MAX_VEL_2
        after = []
        for y, a, b, c, d in zip(before, k1, k2, k3, k4, strict=True):
            dtheta1 = y[2] + sixth * (a[2] + 2 * b[2] + 2 * c[2] + d[2])
            dtheta2 = y[3] + sixth * (a[3] + 2 * b[3] + 2 * c[3] + d[3])
            after.append(
                (
                    _wrapped(y[0] + sixth * (a[0] + 2 * b[0] + 2 * c[0] + d[0])),
                    _wrapped(y[1] + sixth * (a[1] + 2 * b[1] + 2 * c[1] + d[1])),
                    min(max(dtheta1, -fastest1), fastest1),
                    min(max(dtheta2, -fastest2), fastest2),
                )
            )
        new = np.array(after)
        observations = np.empty((len(new), 6), np.float32)
        cosines = np.cos(new[:, :2])
        observations[:, 0:4:2], observations[:, 1:4:2], observations[:, 4:] = cosines, np.sin(new[:, :2]), new[:, 2:]
        terminated = -cosines[:, 0] - np.cos(new[:, 1] + new[:, 0]) > 1.0
        return new, observations, terminated - 1.0, terminated


def _derivatives(states: list[Any], torques: list[float]) -> list[tuple[float, float, float, float]]:
    """(dθ1, dθ2, ddθ1, ddθ2) of each state (θ1, θ2, dθ1, dθ2)."""
    g = 9.8
    theta2s = [state[1] for state in states]
    angles = [theta1 + theta2 - math.pi / 2.0 for theta1, theta2, _, _ in states]
    cosines = np.cos(theta2s + angles + [state[0] - math.pi / 2 for state in states]).tolist()
    n = len(states)
    result = []
    for (_, _, dtheta1, dtheta2), a, cosine2, cosine12, cosine1, sine2 in zip(
        states, torques, cosines[:n], cosines[n : 2 * n], cosines[2 * n :], np.sin(theta2s).tolist(), strict=True
    ):
        d1 = 0.25 + (1.25 + cosine2) + 1.0 + 1.0
        d2 = 0.25 + 0.5 * cosine2 + 1.0
        phi2 = 0.5 * g * cosine12
        phi1 = -0.5 * dtheta2**2 * sine2 - dtheta2 * dtheta1 * sine2 + 1.5 * g * cosine1 + phi2
        ddtheta2 = (a + d2 / d1 * phi1 - 0.5 * dtheta1**2 * sine2 - phi2) / (1.25 - d2**2 / d1)
        result.append((dtheta1, dtheta2, -(d2 * ddtheta2 + phi1) / d1, ddtheta2))
    return result


def _along(states: list[Any], step: float, derivatives: list[tuple[float, float, float, float]]) -> list[Any]:
    """The states after a step along derivatives."""
    return [
        (theta1 + step * a, theta2 + step * b, dtheta1 + step * c, dtheta2 + step * d)
        for (theta1, theta2, dtheta1, dtheta2), (a, b, c, d) in zip(states, derivatives, strict=True)
    ]


def _wrapped(angle: float) -> float:
    """The angle in [−π, π], by whole turns."""
    turn = math.pi - -math.pi
    while angle > math.pi:
        angle -= turn
    while angle < -math.pi:
        angle += turn
    return angle


BATCHED: dict[str, type[Classic]] = {
    f"gymnasium.envs.classic_control.{name}": backend
    for name, backend in {
        "acrobot:AcrobotEnv": Acrobots,
        "cartpole:CartPoleEnv": CartPoles,
        "continuous_mountain_car:Continuous_MountainCarEnv": ContinuousMountainCars,
        "mountain_car:MountainCarEnv": MountainCars,
        "pendulum:PendulumEnv": Pendulums,
    }.items()
}
