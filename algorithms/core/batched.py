"""What the backends share that step all environments of a task at once, with exactly Gymnasium's numbers."""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Space

from .choices import Choices
from .task import Snapshot, Transition, close, seed_spaces, time_limit_of


class BatchedBackend:
    """N copies of one of Gymnasium's own environments, of which only one object exists; a Backend.

    Gymnasium's environment `env` begins every episode, with the random numbers that the copy's own environment would
    draw. Then a subclass takes its state over. `seeds` has one seed for each copy.
    """

    action_masks: np.ndarray | None = None  # no environment of Gymnasium masks actions

    def __init__(self, env: gymnasium.Env[Any, Any], seeds: Sequence[int]) -> None:
        seed_spaces(env, np.random.SeedSequence(seeds[0]))
        self.observation_space: Space[Any] = env.observation_space
        self.action_space: Space[Any] = env.action_space
        self.observation_size = int(np.prod(env.observation_space.shape or ()))
        self.time_limit = time_limit_of(env)
        self.num_envs = len(seeds)
        self.env: Any = env.unwrapped
        self._made = env
        self._choices = env if isinstance(env, Choices) else None
        self._seeds: list[int | None] = list(seeds)  # each is used once: later episodes continue its random numbers
        self._generators: list[np.random.Generator | None] = [None] * len(seeds)
        self._ticks = 0  # calls of step
        self._began = np.zeros(len(seeds), np.int64)  # ticks before each copy's episode, and those it waited
        self._first_limit = 0  # no episode reaches the time limit before this tick

    def reset(self, ids: np.ndarray) -> np.ndarray:
        """Begin an episode in the environments `ids` (int [k]); returns their first observations, float32 [k, D]."""
        observations = np.empty((len(ids), self.observation_size), np.float32)
        for row, i in enumerate(ids.tolist()):
            if (generator := self._generators[i]) is not None:
                self.env.np_random = generator
            observations[row], _ = self.env.reset(seed=self._seeds[i])
            self._seeds[i], self._generators[i] = None, self.env.np_random
            self._take_over(i)
        self._began[ids] = self._ticks
        if self.time_limit is not None:
            self._first_limit = int(self._began.min()) + self.time_limit
        return observations

    def step(self, actions: np.ndarray, active: np.ndarray | None) -> Transition:
        """As Backend.step."""
        if self._choices is not None:
            actions = self._choices.members(actions)
        observations, rewards, terminated = self._advance(actions, active)
        self._ticks += 1
        if active is not None:
            waiting = ~active
            self._began += waiting
            observations[waiting], rewards[waiting] = 0.0, 0.0
            terminated &= active
        if self.time_limit is None or self._ticks < self._first_limit:
            truncated = np.zeros(self.num_envs, bool)
        else:
            truncated = self._ticks - self._began >= self.time_limit
            if active is not None:
                truncated &= active
        return Transition(observations, rewards, terminated, truncated)

    def close(self) -> None:
        """Close the environment."""
        close(self._made)

    def snapshot(self) -> Snapshot:
        """All that later steps and episodes depend on; to be asked for when every copy has begun an episode."""
        generators = [generator.bit_generator.state for generator in self._generators if generator is not None]
        return {
            "generators": generators,
            "ticks": self._ticks,
            "began": self._began.copy(),
            "first_limit": self._first_limit,
            "states": self._all_states(),
        }

    def restore(self, snapshot: Snapshot) -> None:
        """Go on as the backend whose `snapshot` this is; every copy of this one has begun an episode, too."""
        for generator, state in zip(self._generators, snapshot["generators"], strict=True):
            assert generator is not None
            generator.bit_generator.state = state
        self._ticks, self._first_limit = snapshot["ticks"], snapshot["first_limit"]
        self._began = snapshot["began"].copy()
        self._take_over_all(snapshot["states"])

    def _take_over(self, i: int) -> None:
        """Make the state of `env`, which has just been reset, that of copy i."""
        raise NotImplementedError

    def _all_states(self) -> Snapshot:
        """The states of all copies, with everything that later steps depend on; a copy of them."""
        raise NotImplementedError

    def _take_over_all(self, states: Snapshot) -> None:
        """Make the states that `_all_states` returned those of the copies."""
        raise NotImplementedError

    def _advance(self, actions: np.ndarray, active: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Step the copies where `active`; returns observations (float32 [N, D]), rewards [N] and terminated [N].

        The arrays are new ones. In the rows of waiting copies there may be anything.
        """
        raise NotImplementedError
