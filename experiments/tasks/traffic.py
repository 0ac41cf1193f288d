"""A grid of traffic lights, one part of the action for each junction: whose light was it that made the cars wait?

The reward is of all junctions together. `info["part_rewards"]` gives each its own: either what waits before it, or the
difference that it made, in whole episodes (Wolpert & Tumer, 2002): the reward less what it would have been, had this
junction's lights followed a fixed cycle. A grid names a task `experiments.tasks.traffic:Traffic2x2-v0`.
"""

import itertools
from typing import Any, Literal, get_args

import gymnasium
import numpy as np
from gymnasium.spaces import Box, MultiDiscrete

STEPS = 50  # of an episode; a step is about half a minute, so that the change of a light is a small part of it
SIZES = ((1, 2), (2, 2), (3, 3))  # rows and columns of the registered tasks
ROOM = 5  # cars in a street at most
ARRIVALS = np.array([0.45, 0.35])  # probability of a car in a step, of each street into the grid: from west, from north
DEFAULT = (0, 1)  # who has green in the steps of the fixed cycle: each street in turn
PartRewards = Literal["local", "difference"]


def advance(queues: np.ndarray, actions: np.ndarray, arrivals: np.ndarray) -> np.ndarray:
    """The cars that wait after a step in each of W grids, int64 [W, rows, columns, 2].

    `queues` [W, rows, columns, 2] are the cars that wait before a junction, those from the west and those from the
    north; `actions` [W, rows, columns] is who has green, 0 the west and 1 the north. From the street that has green one
    car passes, if the next street has room at the beginning of the step; it then waits there, or has left the grid to
    the east or the south. `arrivals` [W, rows, columns, 2] are the cars that drive into the grid; one whose street is
    full does not.
    """
    room = np.ones(queues.shape, bool)  # in the street behind the junction; outside there always is
    room[:, :, :-1, 0] = queues[:, :, 1:, 0] < ROOM
    room[:, :-1, :, 1] = queues[:, 1:, :, 1] < ROOM
    passes = (actions[..., None] == np.arange(2)) & room & (queues > 0)
    after = queues - passes
    after[:, :, 1:, 0] += passes[:, :, :-1, 0]
    after[:, 1:, :, 1] += passes[:, :-1, :, 1]
    return np.minimum(after + arrivals, ROOM)


def entries(rows: int, columns: int) -> np.ndarray:
    """float64 [rows, columns, 2]: the probability that a car drives into the grid in a step, 0 at inner streets."""
    probabilities = np.zeros((rows, columns, 2))
    probabilities[:, 0, 0], probabilities[0, :, 1] = ARRIVALS
    return probabilities


class Traffic(gymnasium.Env[np.ndarray, np.ndarray]):
    """Cars drive from west to east and from north to south through a grid of `rows` × `columns` traffic lights.

    The action says for each junction, row by row, who has green: 0 the street from the west, 1 that from the north;
    `advance` says what a step does. The observation is the share of each street that is full. The reward is minus the
    cars in the grid after the step, which all wait before a junction. An episode begins with an empty grid and has 50
    steps. So the return is minus the steps that all cars spent there.

    `info["part_rewards"]` is with `part_rewards` "local" minus the cars that wait before each junction, whose sum is
    the reward. With "difference" it is for junction k the reward less that of a second grid, in which k's light has
    followed the fixed cycle since the episode began, while all other actions and all arrivals were the same. Raises
    ValueError for a grid without junctions and for other `part_rewards`.
    """

    def __init__(self, rows: int, columns: int, part_rewards: PartRewards = "local") -> None:
        if rows < 1 or columns < 1:
            raise ValueError(f"rows and columns must be at least 1, not {rows} and {columns}")
        if part_rewards not in get_args(PartRewards):
            raise ValueError(f"part_rewards must be {' or '.join(get_args(PartRewards))}, not {part_rewards!r}")
        junctions = rows * columns
        self.observation_space = Box(0.0, 1.0, (2 * junctions,), np.float32)
        self.action_space = MultiDiscrete([2] * junctions)
        self.part_rewards = part_rewards
        worlds = 1 + junctions if part_rewards == "difference" else 1  # the true grid, then for each k that without k
        self._entries = entries(rows, columns)
        self._clamped = np.eye(worlds, junctions, -1, dtype=bool).reshape(worlds, rows, columns)
        self.queues = np.zeros((worlds, rows, columns, 2), np.int64)
        self.steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin with an empty grid."""
        super().reset(seed=seed)
        self.queues[:], self.steps = 0, 0
        return self._shown(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Set the lights, let cars pass and others arrive."""
        arrivals = self.np_random.random(self._entries.shape) < self._entries
        default = DEFAULT[self.steps % len(DEFAULT)]
        actions = np.where(self._clamped, default, np.reshape(action, self._clamped.shape[1:]))
        self.queues = advance(self.queues, actions, arrivals[None])
        self.steps += 1
        rewards = -self.queues.sum((1, 2, 3)).astype(np.float64)
        if self.part_rewards == "local":
            parts = -self.queues[0].sum(-1).ravel().astype(np.float64)
        else:
            parts = rewards[0] - rewards[1:]
        return self._shown(), float(rewards[0]), False, False, {"part_rewards": parts}

    def _shown(self) -> np.ndarray:
        return (self.queues[0].ravel() / ROOM).astype(np.float32)


def max_pressure(queues: np.ndarray) -> np.ndarray:
    """Who has green by the rule of the largest pressure, int64 [W, rows, columns] (Varaiya, 2013).

    The pressure of a street is how many more cars wait in it than in the street behind the junction. Where both have
    the same, the west has green. No junction knows of the others but by the streets that begin at it.
    """
    behind = np.zeros_like(queues)
    behind[:, :, :-1, 0] = queues[:, :, 1:, 0]
    behind[:, :-1, :, 1] = queues[:, 1:, :, 1]
    pressure = np.where(queues > 0, queues - behind, -ROOM - 1)  # an empty street after all others
    return np.argmax(pressure, axis=-1)


def best_return(rows: int, columns: int, steps: int = STEPS) -> float:
    """The highest expected return of an episode of `steps` steps, by dynamic programming over all states.

        V_t(s) = max_a E[ r + V_{t+1}(s') ],   V_T = 0

    K junctions have 6^(2K) states, 1.7 million for the four of 2 × 2: more take too long.
    """
    junctions = rows * columns
    shape = (ROOM + 1,) * (2 * junctions)
    states = np.stack(np.unravel_index(np.arange(np.prod(shape)), shape), axis=-1)
    queues = states.reshape(-1, rows, columns, 2)
    probability = entries(rows, columns)
    outcomes = []  # of the arrivals: (probability, bool [1, rows, columns, 2])
    for came in itertools.product((False, True), repeat=np.count_nonzero(probability)):
        arrivals = np.zeros(probability.shape, bool)
        arrivals[probability > 0] = came
        chances = np.where(arrivals, probability, 1 - probability)
        outcomes.append((float(chances.prod()), arrivals[None]))
    moves = []  # for each joint action its outcomes: (probability, reward [S], index of the next state [S])
    for action in itertools.product(range(2), repeat=junctions):
        lights = np.reshape(action, (1, rows, columns))
        nexts = [(p, advance(queues, lights, arrivals).reshape(len(states), -1)) for p, arrivals in outcomes]
        moves.append([(p, -after.sum(1), np.ravel_multi_index(tuple(after.T), shape)) for p, after in nexts])
    values = np.zeros(len(states))
    for _ in range(steps):
        values = np.max([sum(p * (reward + values[index]) for p, reward, index in x) for x in moves], axis=0)
    return float(values[0])  # of the empty grid


for _rows, _columns in SIZES:
    gymnasium.register(
        f"Traffic{_rows}x{_columns}-v0",
        Traffic,
        kwargs={"rows": _rows, "columns": _columns},
        max_episode_steps=STEPS,
    )
