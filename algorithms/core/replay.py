"""The replay of off-policy algorithms: the transitions that an update samples from (Lin, 1992; Mnih et al., 2015)."""

from typing import NamedTuple

import numpy as np
from torch import Tensor, from_numpy

from .rollout import Rollout
from .task import Snapshot


class Transitions(NamedTuple):
    """A batch of B transitions, float32. A return ends where `terminated` is 1 alone: a time limit is no end."""

    observations: Tensor  # [B, D]
    actions: Tensor  # [B, A], in [−1, 1]
    rewards: Tensor  # [B]
    next_observations: Tensor  # [B, D], the true successors, also at the end of an episode
    terminated: Tensor  # [B], 1 where the task ended the episode, else 0


class Replay:
    """The latest `capacity` transitions, as the task gave them. A new one takes the place of the oldest.

    A row is [s (D), a (A), s' (D), r, terminated], float32, so that a sampled one is copied in one piece.
    """

    def __init__(self, capacity: int, observation_size: int, action_size: int) -> None:
        self.capacity = capacity
        self.rows = np.empty((capacity, 2 * observation_size + action_size + 2), np.float32)
        self.added = 0  # transitions since the beginning of the run, also those that are no longer kept
        ends = np.cumsum([observation_size, action_size, observation_size]).tolist()
        self._columns = tuple(slice(*ends) for ends in zip([0, *ends[:-1]], ends, strict=True))

    def __len__(self) -> int:
        return min(self.added, self.capacity)

    def add(self, rollout: Rollout) -> None:
        """Add the steps of a rollout, in the order of their time; its actions are in [−1, 1]."""
        states, actions, successors = self._columns
        count = rollout.rewards.size
        rows = np.empty((count, self.rows.shape[1]), np.float32)
        rows[:, states] = rollout.observations.reshape(count, -1)
        rows[:, actions] = rollout.actions.reshape(count, -1)
        rows[:, successors] = rollout.next_observations.reshape(count, -1)
        rows[:, -2] = rollout.rewards.ravel()
        rows[:, -1] = rollout.terminated.ravel()
        rows = rows[-self.capacity :]
        begin = (self.added + count - len(rows)) % self.capacity
        until_end = min(len(rows), self.capacity - begin)
        self.rows[begin : begin + until_end] = rows[:until_end]
        self.rows[: len(rows) - until_end] = rows[until_end:]
        self.added += count

    def sample(self, size: int, rng: np.random.Generator) -> Transitions:
        """`size` transitions, drawn uniformly with replacement."""
        states, actions, successors = self._columns
        rows = from_numpy(self.rows.take(rng.integers(0, len(self), size), axis=0))
        return Transitions(rows[:, states], rows[:, actions], rows[:, -2], rows[:, successors], rows[:, -1])

    def snapshot(self) -> Snapshot:
        """All that later samples depend on."""
        return {"rows": self.rows[: len(self)].copy(), "added": self.added}

    def restore(self, snapshot: Snapshot) -> None:
        """Go on as the replay whose `snapshot` this is; this one has its capacity."""
        self.rows[: len(snapshot["rows"])] = snapshot["rows"]
        self.added = snapshot["added"]
