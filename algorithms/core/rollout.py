"""The steps collected under one policy, and the one loop that collects them."""

import time
from dataclasses import dataclass, field

import numpy as np

from algorithms.core.normalizer import RunningNormalizer
from algorithms.core.policies import Policy
from algorithms.core.vector_env import VectorEnv


@dataclass
class Rollout:
    """T consecutive steps of N environments, time first.

    In a rollout of whole episodes the environments finish at different times; the rows after an environment's last
    episode have `valid` = False, zero reward and no done, so that they add nothing to any sum over time.
    """

    observations: np.ndarray  # float32 [T, N, D], as the task gives them (flattened, not normalised)
    actions: np.ndarray  # int64 [T, N] for Discrete, float32 [T, N, A] for Box, before bounds are applied
    rewards: np.ndarray  # float64 [T, N]
    terminated: np.ndarray  # bool [T, N], the task ended the episode
    truncated: np.ndarray  # bool [T, N], the time limit ended the episode
    next_observations: np.ndarray  # float32 [T, N, D], the true successor, also at an episode's end
    valid: np.ndarray  # bool [T, N], a step that was really taken
    action_masks: np.ndarray | None = None  # bool [T, N, A], True where an action is allowed
    values: np.ndarray | None = None  # float64 [T, N], V(s_t) before the update; zero without a critic
    next_values: np.ndarray | None = None  # float64 [T, N], V(s_{t+1}) of the true successor
    acting_seconds: float = 0.0  # spent on choosing the actions
    stepping_seconds: float = 0.0  # spent in the environments and on their episodes' accounts
    # Of the critics other than "value", by name: float64 [T, N] for V(s), [T, N, A] for Q(s, ·); zero where not valid.
    critic_values: dict[str, np.ndarray] = field(default_factory=dict)
    critic_next_values: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def done(self) -> np.ndarray:
        """bool [T, N]: the episode ended here, for either reason."""
        return self.terminated | self.truncated


def collect(
    envs: VectorEnv,
    policy: Policy,
    normalizer: RunningNormalizer,
    rng: np.random.Generator,
    *,
    steps: int | None = None,
    episodes: int | None = None,
    mode: bool = False,
) -> Rollout:
    """Collect `steps` steps, or `episodes` complete episodes, from each environment.

    `mode` takes the mode action (`Policy.act`) instead of a sampled one. An environment that has finished its episodes
    waits, already reset, for the next rollout: nothing is stepped that is not counted.
    """
    observations, actions, transitions, masks, actives = [], [], [], [], []
    active = None if episodes is None else np.ones(envs.num_envs, bool)
    episodes_left = np.full(envs.num_envs, episodes or 0)
    acting_seconds = stepping_seconds = 0.0
    finished = False
    while not finished:
        began = time.perf_counter()
        observations.append(envs.observations)
        masks.append(envs.action_masks)
        actions.append(policy.act(normalizer(envs.observations), rng, envs.action_masks, mode=mode))
        sent = policy.to_environment(actions[-1])
        acted = time.perf_counter()
        transition = envs.step(sent, active)
        stepping_seconds += time.perf_counter() - acted
        acting_seconds += acted - began
        transitions.append(transition)
        if episodes is None:
            finished = len(observations) == steps
        else:
            actives.append(active)
            episodes_left = episodes_left - (transition.terminated | transition.truncated)
            active = episodes_left > 0
            finished = not np.count_nonzero(active)
    next_observations, rewards, terminated, truncated = (np.array(x) for x in zip(*transitions, strict=True))
    return Rollout(
        np.array(observations),
        np.array(actions),
        rewards,
        terminated,
        truncated,
        next_observations,
        np.array(actives) if actives else np.ones(rewards.shape, bool),
        action_masks=_stack_masks(masks),
        acting_seconds=acting_seconds,
        stepping_seconds=stepping_seconds,
    )


def _stack_masks(masks: list[np.ndarray | None]) -> np.ndarray | None:
    """[T, N, A], or None where the task has never masked; everything is allowed until its first mask."""
    if masks[-1] is None:
        return None
    return np.array([np.ones_like(masks[-1]) if mask is None else mask for mask in masks])
