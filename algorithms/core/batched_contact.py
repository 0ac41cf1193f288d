"""Gymnasium's MuJoCo tasks that show contact forces: Ant, Humanoid and HumanoidStandup, version 5.

Gymnasium computes contact forces after each step, by `mj_rnePostConstraint`, which `mujoco.batch.Batch` does not call.
So these simulations are stepped one after another; observations, rewards and terminations are computed together.
"""

from collections.abc import Sequence
from typing import Any

import gymnasium
import mujoco
import numpy as np

from algorithms.core.batched import BatchedBackend


class ContactSimulations(BatchedBackend):
    """N simulations of one model; a subclass says what is seen and what is rewarded."""

    def __init__(self, env: gymnasium.Env[Any, Any], seeds: Sequence[int]) -> None:
        super().__init__(env, seeds)
        self._model = self.env.model
        self._frame_skip: int = self.env.frame_skip
        self._dt: float = self.env.dt
        self._control_weight: float = self.env._ctrl_cost_weight
        self._simulations = [mujoco.MjData(self._model) for _ in seeds]
        self._copies: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in seeds]
        self._physics = np.zeros((len(seeds), self._model.nq + self._model.nv))  # positions, then velocities
        self._copy("qpos", into=self._physics[:, : self._model.nq])
        self._copy("qvel", into=self._physics[:, self._model.nq :])
        self._forces = self._copy("cfrc_ext")
        self._positions = 2 * self.env._exclude_current_positions_from_observation  # the first that is seen

    def _copy(self, name: str, into: np.ndarray | None = None) -> np.ndarray:
        """An array [N, …] that has this field of each simulation after its steps."""
        fields = [getattr(simulation, name) for simulation in self._simulations]
        together = np.zeros((len(fields), *fields[0].shape)) if into is None else into
        for copies, row, field in zip(self._copies, together, fields, strict=True):
            copies.append((row, field))
        return together

    def _take_over(self, i: int) -> None:
        mujoco.mj_copyData(self._simulations[i], self._model, self.env.data)
        for row, field in self._copies[i]:
            row[...] = field

    def _simulate(self, actions: np.ndarray, active: np.ndarray | None) -> None:
        for i in range(self.num_envs) if active is None else active.nonzero()[0].tolist():
            simulation = self._simulations[i]
            simulation.ctrl[:] = actions[i]
            mujoco.mj_step(self._model, simulation, self._frame_skip)
            mujoco.mj_rnePostConstraint(self._model, simulation)
            for row, field in self._copies[i]:
                row[...] = field


class Ants(ContactSimulations):
    """Forward velocity and a reward for being healthy, minus the costs of control and of contacts."""

    def __init__(self, env: gymnasium.Env[Any, Any], seeds: Sequence[int]) -> None:
        super().__init__(env, seeds)
        self._x = self._copy("xpos")[:, self.env._main_body, 0]

    def _advance(self, actions: np.ndarray, active: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        env, before = self.env, self._x.copy()
        self._simulate(actions, active)
        forces = np.clip(self._forces, *env._contact_force_range).reshape(self.num_envs, -1)
        low, high = env._healthy_z_range
        height = self._physics[:, 2]
        healthy = np.isfinite(self._physics).all(axis=1) & (low <= height) & (height <= high)
        rewards = (self._x - before) / self._dt * env._forward_reward_weight
        rewards += healthy * env._healthy_reward
        costs = self._control_weight * np.add.reduce(np.square(np.ascontiguousarray(actions)), axis=1)
        rewards -= costs + env._contact_cost_weight * np.add.reduce(np.square(forces), axis=1)
        observations = np.concatenate([self._physics[:, self._positions :], forces[:, 6:]], axis=1)  # not the world's
        return observations.astype(np.float32), rewards, ~healthy


class Humanoids(ContactSimulations):
    """HumanoidStandup: height over the duration of a step, minus the costs of control and of impacts."""

    def __init__(self, env: gymnasium.Env[Any, Any], seeds: Sequence[int]) -> None:
        super().__init__(env, seeds)
        self._ctrl = self._copy("ctrl")
        self._seen = [self._copy(name)[:, 1:] for name in ("cinert", "cvel")]  # of every body but the world
        self._seen += [self._copy("qfrc_actuator")[:, 6:], self._forces[:, 1:]]

    def _advance(self, actions: np.ndarray, active: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        self._simulate(actions, active)
        rewards = (self._physics[:, 2] - 0) / self._model.opt.timestep
        rewards -= self._control_costs()
        rewards -= self._force_costs(self.env._impact_cost_weight, self.env._impact_cost_range)
        rewards += 1
        return self._observations(), rewards, np.zeros(self.num_envs, bool)

    def _observations(self) -> np.ndarray:
        seen = [self._physics[:, self._positions :], *(x.reshape(self.num_envs, -1) for x in self._seen)]
        return np.concatenate(seen, axis=1).astype(np.float32)

    def _control_costs(self) -> np.ndarray:
        costs: np.ndarray = self._control_weight * np.add.reduce(np.square(self._ctrl), axis=1)
        return costs

    def _force_costs(self, weight: float, bounds: tuple[float, float]) -> np.ndarray:
        forces = self._forces.reshape(self.num_envs, -1)
        costs: np.ndarray = np.clip(weight * np.add.reduce(np.square(forces), axis=1), *bounds)
        return costs


class WalkingHumanoids(Humanoids):
    """Humanoid: forward velocity and a reward for being healthy, minus the costs of control and of contacts."""

    def __init__(self, env: gymnasium.Env[Any, Any], seeds: Sequence[int]) -> None:
        super().__init__(env, seeds)
        self._centres = self._copy("xipos")

    def _advance(self, actions: np.ndarray, active: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        env, before = self.env, self._x()
        self._simulate(actions, active)
        low, high = env._healthy_z_range
        height = self._physics[:, 2]
        healthy = (low < height) & (height < high)
        rewards = env._forward_reward_weight * ((self._x() - before) / self._dt)
        rewards += healthy * env._healthy_reward
        rewards -= self._control_costs() + self._force_costs(env._contact_cost_weight, env._contact_cost_range)
        return self._observations(), rewards, ~healthy

    def _x(self) -> np.ndarray:
        """The first coordinate of each one's centre of mass."""
        mass: np.ndarray = self._model.body_mass
        centres: np.ndarray = np.einsum("b,nbj->nj", mass, self._centres) / mass.sum()
        return centres[:, 0]


BATCHED: dict[str, type[ContactSimulations]] = {
    "gymnasium.envs.mujoco.ant_v5:AntEnv": Ants,
    "gymnasium.envs.mujoco.humanoid_v5:HumanoidEnv": WalkingHumanoids,
    "gymnasium.envs.mujoco.humanoidstandup_v5:HumanoidStandupEnv": Humanoids,
}
