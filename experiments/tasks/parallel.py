"""A team from PettingZoo's parallel interface as one task, whose action has a part for each agent.

A grid names it `experiments.tasks.parallel:Parallel-v0` with `kwargs: {module: mpe2.simple_spread_v3, options:
{N: 3}}`: the task is `parallel_env(**options)` of this module, which must be installed; PettingZoo need not be.
"""

import importlib
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete

MASK, SEEN = "action_mask", "observation"  # keys of what PettingZoo's tasks with masks show of a state


class Parallel(gymnasium.Env[np.ndarray, np.ndarray]):
    """All agents of `module.parallel_env(**options)`, in the order of its `possible_agents`.

    The observation is what each agent sees, flattened, one after the other, float32; the action is a choice for each
    (MultiDiscrete). The reward is the sum of the agents' rewards, and `info["part_rewards"]` has each one's own. Masks,
    whether in an agent's info or in what it sees, become `info["action_mask"]`. An agent that has left sees zeros, gets
    0 and does nothing. An episode ends when all have left: truncated if one of the last was, or else terminated.

    Raises ValueError where the module has no such task, or its agents are not of these kinds.
    """

    def __init__(self, module: str, options: Mapping[str, Any] | None = None, render_mode: str | None = None) -> None:
        shown = {} if render_mode is None else {"render_mode": render_mode}
        self._env = _made(module, {**(options or {}), **shown})
        self._agents = list(self._env.possible_agents)
        seen = {agent: self._env.observation_space(agent) for agent in self._agents}
        actions = {agent: self._env.action_space(agent) for agent in self._agents}
        for agent, space in actions.items():
            if not isinstance(space, Discrete):
                raise ValueError(f"agent {agent!r} of {module} has actions in {space}; each agent needs a Discrete")
        self._masked = {a for a, space in seen.items() if isinstance(space, Dict) and set(space) == {MASK, SEEN}}
        self._seen = {a: space[SEEN] if a in self._masked else space for a, space in seen.items()}
        self._sizes = [spaces.flatdim(space) for space in self._seen.values()]
        self.observation_space = Box(-np.inf, np.inf, (sum(self._sizes),), np.float32)
        self.action_space = MultiDiscrete([int(space.n) for space in actions.values()])
        self._starts = {agent: int(space.start) for agent, space in actions.items()}
        self.metadata = {**self._env.metadata}
        self.render_mode = render_mode

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode; without a seed it is drawn from the one before."""
        super().reset(seed=seed)
        observations, infos = self._env.reset(seed=int(self.np_random.integers(2**31)), options=options)
        return self._shown(observations), self._masks(observations, infos)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """All agents that are still there act at once."""
        chosen = dict(zip(self._agents, action, strict=True))
        observations, rewards, _, truncated, infos = self._env.step(
            {agent: int(chosen[agent]) + self._starts[agent] for agent in self._env.agents}
        )
        parts = np.array([float(rewards.get(agent, 0.0)) for agent in self._agents])
        over, cut = not self._env.agents, any(truncated.values())
        info = self._masks(observations, infos) | {"part_rewards": parts}
        return self._shown(observations), float(parts.sum()), over and not cut, over and cut, info

    def render(self) -> Any:
        """As the task draws itself."""
        return self._env.render()

    def close(self) -> None:
        """Close the task."""
        self._env.close()

    def _shown(self, observations: Mapping[Any, Any]) -> np.ndarray:
        """What all agents see; zeros of those that have left."""
        pieces = []
        for (agent, space), size in zip(self._seen.items(), self._sizes, strict=True):
            if agent in observations:
                seen = observations[agent][SEEN] if agent in self._masked else observations[agent]
                pieces.append(np.asarray(spaces.flatten(space, seen), np.float32).ravel())
            else:
                pieces.append(np.zeros(size, np.float32))
        return np.concatenate(pieces)

    def _masks(self, observations: Mapping[Any, Any], infos: Mapping[Any, Any]) -> dict[str, Any]:
        """`action_mask`, the agents' one after the other; none where no agent has one."""
        given = [
            (observations.get(agent, {}) if agent in self._masked else infos.get(agent, {})).get(MASK)
            for agent in self._agents
        ]
        if all(mask is None for mask in given):
            return {}
        of_agents = zip(self.action_space.nvec, given, strict=True)
        return {MASK: tuple(np.ones(n, bool) if mask is None else np.asarray(mask) for n, mask in of_agents)}


def _made(module: str, options: Mapping[str, Any]) -> Any:
    """The task; raises ValueError where there is none."""
    try:
        make = importlib.import_module(module).parallel_env
    except (ImportError, AttributeError) as error:
        raise ValueError(f"no parallel_env in the module {module!r}: {error}") from error
    return make(**options)


gymnasium.register("Parallel-v0", Parallel)
