"""A row of locks, each of which takes two of n actions: masks against a penalty for the others.

After Huang & Ontañón, 2022: where most actions are invalid, learning not to choose them takes the longer the more there
are, while a mask takes them away. A grid names a task `experiments.tasks.locks:Locks50-v0`.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Discrete

LOCKS = 10
STEPS = 20  # of an episode
SIZES = (10, 50, 250)  # n, of the registered tasks
SEED = 2022  # of the keys: they are the task, and the same in every episode


class Locks(gymnasium.Env[int, int]):
    """A ring of ten locks; the observation is the lock in front.

    Of `actions` many actions two are valid at each lock, which others are at the next: one opens it, pays 1 and leads
    to the next lock; the other pays 0 and leaves all as it is. An episode has 20 steps.

    `penalty` None forbids all other actions by `info["action_mask"]`; raises ValueError where one is taken all the
    same. With a number they are allowed, pay −`penalty`, and leave all as it is.

    The best return is 20. Valid actions at random have 10 in the mean; with a penalty, random actions have
    20 (1 − (n − 2) penalty) / n.
    """

    def __init__(self, actions: int, penalty: float | None = None) -> None:
        if actions < 2:
            raise ValueError(f"actions must be at least 2, not {actions}")
        self.observation_space = Discrete(LOCKS)
        self.action_space = Discrete(actions)
        self.penalty = penalty
        rng = np.random.default_rng(SEED)
        self.valid = np.array([rng.choice(actions, 2, replace=False) for _ in range(LOCKS)])  # [locks, 2]; 0 opens
        masks = np.zeros((LOCKS, actions), bool)
        np.put_along_axis(masks, self.valid, True, axis=1)
        self._masks = masks.astype(np.int8)
        self.lock = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Begin at a random lock."""
        super().reset(seed=seed)
        self.lock = int(self.np_random.integers(LOCKS))
        return self.lock, self._info()

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        """Try an action at the lock in front."""
        opens, other = self.valid[self.lock]
        reward = 0.0
        if action == opens:
            self.lock, reward = (self.lock + 1) % LOCKS, 1.0
        elif action != other:
            if self.penalty is None:
                raise ValueError(f"action {action} is not allowed at lock {self.lock}; allowed are {opens} and {other}")
            reward = -self.penalty
        return self.lock, reward, False, False, self._info()

    def _info(self) -> dict[str, Any]:
        return {"action_mask": self._masks[self.lock].copy()} if self.penalty is None else {}


for _size in SIZES:
    gymnasium.register(f"Locks{_size}-v0", Locks, kwargs={"actions": _size}, max_episode_steps=STEPS)
