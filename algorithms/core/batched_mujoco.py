"""Gymnasium's MuJoCo tasks, version 5, stepped together by MuJoCo's own batch of simulations.

`mujoco.batch.Batch` takes exactly the steps that a loop over simulations would take. Observations, rewards and
terminations are those of the classes in `gymnasium.envs.mujoco`, computed for all rows at once, with the same numbers:
the same operations in the same order and precision. What a task's constructor sets is read from the environment.
"""

from collections.abc import Sequence
from typing import Any

import gymnasium
import mujoco
import numpy as np
from mujoco.batch import Batch

from .batched import BatchedBackend
from .task import Snapshot

STATE = int(mujoco.mjtState.mjSTATE_INTEGRATION)  # all that the next step depends on; a Batch keeps it in rows
BEFORE_POSITIONS = int(mujoco.mjtState.mjSTATE_TIME)
FASTEST_SHOWN = 10.0  # velocities and forces are clipped here in observations of several tasks


class Simulations(BatchedBackend):
    """N simulations of one model; a subclass says what is seen and what is rewarded."""

    def __init__(self, env: gymnasium.Env[Any, Any], seeds: Sequence[int]) -> None:
        super().__init__(env, seeds)
        model = self.env.model
        self._frame_skip: int = self.env.frame_skip
        self._batch = Batch(model, len(seeds), nthread=1)  # cells run in parallel
        self._ctrl, self._qpos, self._qvel = map(self._batch.bind, ("ctrl", "qpos", "qvel"))
        first = mujoco.mj_stateSize(model, BEFORE_POSITIONS)
        self._physics = self._batch.state[:, first : first + model.nq + model.nv]  # positions, then velocities

    def _take_over(self, i: int) -> None:
        mujoco.mj_getState(self.env.model, self.env.data, self._batch.state[i], STATE)

    def _all_states(self) -> Snapshot:
        return {"integration": self._batch.state.copy()}

    def _take_over_all(self, states: Snapshot) -> None:
        self._batch.state[:] = states["integration"]

    def _simulate(self, actions: np.ndarray, active: np.ndarray | None) -> None:
        self._ctrl[:] = actions
        self._batch.step(active, self._frame_skip)

    def _inside(self, low: Sequence[float], high: Sequence[float], first: int) -> "Inside":
        """Tells where all numbers of the state from `first` are between their bounds."""
        return Inside(self._physics[:, first : first + len(low)], np.array(low), np.array(high))


class Inside:
    """Whether each row of some `numbers` [N, K], which may change, is strictly between bounds [K]; NaN is not."""

    def __init__(self, numbers: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
        self._numbers, self._low, self._high = numbers, low, high

    def __call__(self) -> np.ndarray:
        """bool [N]."""
        inside = self._numbers > self._low
        inside &= self._numbers < self._high
        result: np.ndarray = np.logical_and.reduce(inside, axis=1)
        return result


class Runners(Simulations):
    """HalfCheetah and Swimmer: forward velocity minus the cost of control; no episode terminates."""

    def __init__(self, env: gymnasium.Env[Any, Any], seeds: Sequence[int]) -> None:
        super().__init__(env, seeds)
        self._x = self._qpos[:, 0]
        self._shown = self._physics[:, self.env.observation_structure["skipped_qpos"] :]
        self._dt: float = self.env.dt
        self._forward_weight: float = self.env._forward_reward_weight
        self._control_weight: float = self.env._ctrl_cost_weight

    def _advance(self, actions: np.ndarray, active: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rewards = self._forward(actions, active)
        rewards -= self._control_costs(actions)
        return self._shown.astype(np.float32), rewards, np.zeros(self.num_envs, bool)

    def _forward(self, actions: np.ndarray, active: np.ndarray | None) -> np.ndarray:
        """Simulate; returns the rewards of the forward velocity, float64 [N]."""
        before = self._x.copy()
        self._simulate(actions, active)
        rewards: np.ndarray = self._x - before
        rewards /= self._dt
        rewards *= self._forward_weight
        return rewards

    def _control_costs(self, actions: np.ndarray) -> np.ndarray:
        """[N], in the precision of the actions."""
        costs: np.ndarray = self._control_weight * np.add.reduce(np.square(actions), axis=1)
        return costs


class Walkers(Runners):
    """Hopper and Walker2d: as the runners, and a reward for being healthy; an episode terminates without it."""

    def __init__(self, env: gymnasium.Env[Any, Any], seeds: Sequence[int]) -> None:
        super().__init__(env, seeds)
        low, high = np.array([self.env._healthy_z_range, self.env._healthy_angle_range]).T
        others = getattr(self.env, "_healthy_state_range", None)  # a Hopper's angle and all that follows it
        if others is not None:
            count = self._physics.shape[1] - 3
            low = np.concatenate([low[:1], [max(low[1], others[0])], np.full(count, others[0])])
            high = np.concatenate([high[:1], [min(high[1], others[1])], np.full(count, others[1])])
        self._healthy = self._inside(low, high, first=1)
        self._healthy_reward: float = self.env._healthy_reward
        self._velocities = slice(self.env.observation_structure["qpos"], None)

    def _advance(self, actions: np.ndarray, active: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rewards = self._forward(actions, active)
        healthy = self._healthy()
        rewards += healthy * self._healthy_reward
        rewards -= self._control_costs(actions)
        observations = self._shown.astype(np.float32)
        velocities = observations[:, self._velocities]
        np.maximum(velocities, -FASTEST_SHOWN, out=velocities)
        np.minimum(velocities, FASTEST_SHOWN, out=velocities)
        return observations, rewards, ~healthy


class InvertedPendulums(Simulations):
    """Reward 1 as long as the pole is within 0.2 of upright and every number is finite."""

    def __init__(self, env: gymnasium.Env[Any, Any], seeds: Sequence[int]) -> None:
        super().__init__(env, seeds)
        limit = np.nextafter(0.2, 1.0)  # the angle may be 0.2
        self._upright = self._inside([-np.inf, -limit, -np.inf, -np.inf], [np.inf, limit, np.inf, np.inf], first=0)

    def _advance(self, actions: np.ndarray, active: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        self._simulate(actions, active)
        upright = self._upright()
        return self._physics.astype(np.float32), upright.astype(np.float64), ~upright


class InvertedDoublePendulums(Simulations):
    """A reward for being alive minus penalties for the distance of the tip and for velocities."""

    def __init__(self, env: gymnasium.Env[Any, Any], seeds: Sequence[int]) -> None:
        super().__init__(env, seeds)
        self._tip = self._batch.bind("site_xpos")[:, 0]
        self._forces = self._batch.bind("qfrc_constraint")
        self._healthy_reward: float = self.env._healthy_reward

    def _advance(self, actions: np.ndarray, active: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        self._simulate(actions, active)
        angles = self._qpos[:, 1:]
        observations = np.concatenate(
            [self._qpos[:, :1], np.sin(angles), np.cos(angles), self._qvel, self._forces[:, :1]], axis=1
        ).astype(np.float32)
        clipped = observations[:, 5:]
        np.maximum(clipped, -FASTEST_SHOWN, out=clipped)
        np.minimum(clipped, FASTEST_SHOWN, out=clipped)
        # Squares as numbers of Python: NumPy's of arrays differ from those of single numbers in the last digit.
        rewards = []
        for (x, _, y), (_, v1, v2) in zip(self._tip.tolist(), self._qvel.tolist(), strict=True):
            distance_penalty = 0.01 * x**2 + (y - 2) ** 2
            velocity_penalty = 0.001 * v1**2 + 0.005 * v2**2
            rewards.append(self._healthy_reward * (not y <= 1) - distance_penalty - velocity_penalty)
        return observations, np.array(rewards), self._tip[:, 2] <= 1


class Reachers(Simulations):
    """Minus the distance from the fingertip to the target, minus the cost of control; no episode terminates."""

    def __init__(self, env: gymnasium.Env[Any, Any], seeds: Sequence[int]) -> None:
        super().__init__(env, seeds)
        positions = self._batch.bind("xpos")
        fingertip, target = (self.env.model.body(name).id for name in ("fingertip", "target"))
        self._fingertip, self._target = positions[:, fingertip], positions[:, target]
        self._distance_weight: float = self.env._reward_dist_weight
        self._control_weight: float = self.env._reward_control_weight

    def _advance(self, actions: np.ndarray, active: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        self._simulate(actions, active)
        difference = self._fingertip - self._target
        angles = self._qpos[:, :2]
        observations = np.concatenate(
            [np.cos(angles), np.sin(angles), self._qpos[:, 2:], self._qvel[:, :2], difference[:, :2]], axis=1
        ).astype(np.float32)
        rewards = -np.sqrt(np.vecdot(difference, difference)) * self._distance_weight  # as numpy.linalg.norm of a row
        rewards += -np.add.reduce(np.square(actions), axis=1) * self._control_weight
        return observations, rewards, np.zeros(self.num_envs, bool)


class Pushers(Simulations):
    """Minus the distances from the arm to the object and from the object to the goal, minus the cost of control."""

    def __init__(self, env: gymnasium.Env[Any, Any], seeds: Sequence[int]) -> None:
        super().__init__(env, seeds)
        positions = self._batch.bind("xpos")
        bodies = (self.env.model.body(name).id for name in ("tips_arm", "object", "goal"))
        self._arm, self._object, self._goal = (positions[:, body] for body in bodies)
        self._near_weight: float = self.env._reward_near_weight
        self._distance_weight: float = self.env._reward_dist_weight
        self._control_weight: float = self.env._reward_control_weight

    def _advance(self, actions: np.ndarray, active: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        self._simulate(actions, active)
        observations = np.concatenate(
            [self._qpos[:, :7], self._qvel[:, :7], self._arm, self._object, self._goal], axis=1
        ).astype(np.float32)
        to_arm, to_goal = self._object - self._arm, self._object - self._goal
        rewards = -np.sqrt(np.vecdot(to_goal, to_goal)) * self._distance_weight
        rewards += -np.add.reduce(np.square(actions), axis=1) * self._control_weight
        rewards += -np.sqrt(np.vecdot(to_arm, to_arm)) * self._near_weight
        return observations, rewards, np.zeros(self.num_envs, bool)


class ContactSimulations(BatchedBackend):
    """N simulations of one model that show contact forces: Ant, Humanoid and HumanoidStandup.

    Gymnasium computes contact forces after each step, by `mj_rnePostConstraint`, which a Batch does not call. So these
    are stepped one after another; observations, rewards and terminations are computed together.
    """

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

    def _all_states(self) -> Snapshot:
        integration = np.empty((self.num_envs, mujoco.mj_stateSize(self._model, STATE)))
        for simulation, state in zip(self._simulations, integration, strict=True):
            mujoco.mj_getState(self._model, simulation, state, STATE)
        # What was seen after the last step was computed within it; the state alone would give that of the next one.
        copies = [np.concatenate([row.ravel() for row, _ in of_one]) for of_one in self._copies]
        return {"integration": integration, "copies": np.array(copies)}

    def _take_over_all(self, states: Snapshot) -> None:
        for simulation, state in zip(self._simulations, states["integration"], strict=True):
            mujoco.mj_setState(self._model, simulation, state, STATE)
        for of_one, numbers in zip(self._copies, states["copies"], strict=True):
            ends = np.cumsum([row.size for row, _ in of_one])
            for (row, _), part in zip(of_one, np.split(numbers, ends[:-1]), strict=True):
                row[...] = part.reshape(row.shape)

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


BATCHED: dict[str, type[BatchedBackend]] = {
    f"gymnasium.envs.mujoco.{name}": backend
    for name, backend in {
        "ant_v5:AntEnv": Ants,
        "half_cheetah_v5:HalfCheetahEnv": Runners,
        "hopper_v5:HopperEnv": Walkers,
        "humanoid_v5:HumanoidEnv": WalkingHumanoids,
        "humanoidstandup_v5:HumanoidStandupEnv": Humanoids,
        "inverted_double_pendulum_v5:InvertedDoublePendulumEnv": InvertedDoublePendulums,
        "inverted_pendulum_v5:InvertedPendulumEnv": InvertedPendulums,
        "pusher_v5:PusherEnv": Pushers,
        "reacher_v5:ReacherEnv": Reachers,
        "swimmer_v5:SwimmerEnv": Runners,
        "walker2d_v5:Walker2dEnv": Walkers,
    }.items()
}
