"""The steps collected under one policy, and the one loop that collects them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from .acting import Actor
from .normalizer import RunningNormalizer
from .task import Transition
from .vector_env import Episode, VectorEnv

SECONDS_BETWEEN_CALLS = 10.0  # of `on_wait`, which anybody who prints a line a minute can build on
OnWait: TypeAlias = Callable[[int, list[Episode]], None]  # is told the steps and the episodes of the environments
Floats: TypeAlias = npt.NDArray[np.floating[Any]]  # what is computed of rewards and values, [T, N] or [T, N, K]


class Acts(Protocol):
    """What chooses actions: a policy, or one that explores. `acting.Actor` documents the methods."""

    def act(
        self,
        observations: np.ndarray,
        rng: np.random.Generator,
        action_masks: np.ndarray | None = None,
        *,
        mode: bool = False,
    ) -> np.ndarray:
        """Actions as they are stored, one for each row of `observations`."""

    def to_environment(self, actions: np.ndarray) -> np.ndarray:
        """The actions as the environments get them."""


def _not_yet() -> Floats:
    """The values of a rollout before Learner.prepare has filled them in: an array that fits no other."""
    return np.zeros((0, 0))


@dataclass
class Rollout:
    """T consecutive steps of N environments. Arrays of steps are [T, N, …], time first; K is an action's parts.

    In a rollout of whole episodes the environments finish at different times. The rows after an environment's last
    episode are padding: `valid` is False there, rewards and costs are 0 and no episode ends, so that they add nothing
    to any sum over time.
    """

    observations: np.ndarray  # float32 [T, N, D], as the task gives them (flattened, not normalised)
    actions: np.ndarray  # int64 for Discrete; int64 [T, N, K] for MultiDiscrete; float32 [T, N, A] for Box, not bounded
    rewards: Floats  # float64
    terminated: np.ndarray  # bool: the task ended the episode
    truncated: np.ndarray  # bool: the time limit ended the episode
    # float32 [T, N, D], the true successor, also at the end of an episode; zeros where a terminal one is not finite
    next_observations: np.ndarray
    valid: npt.NDArray[np.bool_]  # bool: a step that was really taken
    action_masks: np.ndarray | None = None  # bool [T, N, A], True where an action is allowed (of all parts: A = Σ n_k)
    values: Floats = field(default_factory=_not_yet)  # float64, V(s_t) before the update; zero without a critic
    next_values: Floats = field(default_factory=_not_yet)  # float64, V(s_{t+1}) of the true successor; 0 if terminated
    reported_costs: np.ndarray | None = None  # float64, info["cost"]; None where the task has reported none
    part_rewards: Floats | None = None  # float64 [T, N, K], info["part_rewards"]; None where the task reports none
    variants: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))  # int64 [N], of each environment
    acting_seconds: float = 0.0  # spent on choosing the actions
    stepping_seconds: float = 0.0  # spent in the environments and on counting their episodes
    # Of the critics other than "value", by name: float64 [T, N] for V(s), [T, N, A] for Q(s, ·), [T, N, K] for V_k(s),
    # [T, N, K, max n_k] for Q_k(s, ·, a_−k); zero where not valid, and those of the successor also where the step
    # terminated. Of Q_k(s, ·, a_−k) there are none of the successor, whose action nobody knows.
    critic_values: dict[str, np.ndarray] = field(default_factory=dict)
    critic_next_values: dict[str, np.ndarray] = field(default_factory=dict)
    # Where there is a critic of the kind "actions" or "choices": float64 [T, N, A], or [T, N, K, max n_k] of parts,
    # π(·|s_t) of the policy that acted, and the same at the true successor (where an episode was cut, as if every
    # action were allowed there); zero as above.
    probabilities: Floats = field(default_factory=_not_yet)
    next_probabilities: Floats = field(default_factory=_not_yet)
    last_masks: np.ndarray | None = None  # bool [N, A], as `action_masks`, of the states after the last step

    def __post_init__(self) -> None:
        """Note whether no row is padding."""
        self.all_valid = bool(self.valid.all())

    def of_steps(self, x: np.ndarray) -> np.ndarray:
        """The rows [B, …] of x [T, N, …] that are of valid steps; a view where all are."""
        return x.reshape(-1, *x.shape[2:]) if self.all_valid else x[self.valid]

    def from_steps(self, x: np.ndarray) -> np.ndarray:
        """float64 [T, N, …]: x [B, …] at the valid steps, and zero at the others."""
        if self.all_valid:
            return x.reshape(*self.valid.shape, *x.shape[1:]).astype(np.float64)
        result = np.zeros((*self.valid.shape, *x.shape[1:]))
        result[self.valid] = x
        return result

    @property
    def done(self) -> np.ndarray:
        """bool [T, N]: the episode ended here, for either reason."""
        result: np.ndarray = self.terminated | self.truncated
        return result

    @property
    def costs(self) -> Floats:
        """float64 [T, N]: the cost of each step; 0 where the task reports none."""
        return np.zeros(self.rewards.shape) if self.reported_costs is None else self.reported_costs

    @property
    def mean_cost(self) -> float:
        """Cost per step: the mean over the valid steps."""
        return 0.0 if self.reported_costs is None else float(self.reported_costs[self.valid].mean())

    @property
    def parts(self) -> int | None:
        """K, the number of parts of an action; None where actions are in Discrete or Box."""
        has_parts = self.actions.ndim == 3 and self.actions.dtype.kind == "i"
        return self.actions.shape[2] if has_parts else None


def collect(
    envs: VectorEnv,
    policy: Acts,
    normalizer: RunningNormalizer,
    rng: np.random.Generator,
    *,
    steps: int | None = None,
    episodes: int | None = None,
    mode: bool = False,
    wait_after_cut: bool = False,
    on_wait: OnWait = lambda steps, episodes: None,
) -> Rollout:
    """Collect `steps` steps, or `episodes` complete episodes, from each environment.

    Exactly one of the two is given. `mode` takes the mode action (`Policy.act`) instead of a sampled one. An
    environment that has finished its episodes waits, already reset, for the next rollout: every step taken is counted.
    With `wait_after_cut`, so does one whose episode was cut (`VectorEnv.limit_episodes`), since its next one might be
    as long. `on_wait` is called every ten seconds.
    """
    observations: list[np.ndarray] = []
    actions: list[np.ndarray] = []
    transitions: list[Transition] = []
    masks: list[np.ndarray | None] = []
    actives: list[np.ndarray] = []
    everyone = np.ones(envs.num_envs, bool)
    episodes_left = np.full(envs.num_envs, episodes or 0)
    active = _unfinished(episodes_left) if episodes is not None else None
    acting_seconds = stepping_seconds = 0.0
    call = Regularly(envs, on_wait)
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
        call(acted)
        transitions.append(transition)
        if episodes is None:
            finished = len(observations) == steps
            continue
        actives.append(everyone if active is None else active)
        done = transition.terminated | transition.truncated
        if np.count_nonzero(done):
            episodes_left -= done
            if wait_after_cut and envs.longest is not None:
                episodes_left[envs.cut] = 0
            active = _unfinished(episodes_left)
            finished = not episodes_left.any()
    *fields, costs, part_rewards, _ = zip(*transitions, strict=True)  # nobody learns from true rewards
    next_observations, rewards, terminated, truncated = (np.array(x) for x in fields)
    return Rollout(
        np.array(observations),
        np.array(actions),
        rewards,
        terminated,
        truncated,
        next_observations,
        np.array(actives) if actives else np.ones(rewards.shape, bool),
        action_masks=_stack(masks, np.ones_like),  # everything is allowed until the first mask
        last_masks=envs.action_masks,
        reported_costs=_stack(costs, np.zeros_like),  # nothing has a cost until the first one
        part_rewards=_stack(part_rewards, np.zeros_like),
        variants=envs.variants,
        acting_seconds=acting_seconds,
        stepping_seconds=stepping_seconds,
    )


def play(
    envs: VectorEnv,
    policy: Actor,
    normalizer: RunningNormalizer,
    rng: np.random.Generator,
    episodes: np.ndarray,
    *,
    mode: bool = False,
    on_wait: OnWait = lambda steps, episodes: None,
) -> None:
    """Play episodes of which nothing is kept but what `envs` lists: `episodes[i]` (int [N]) in environment i.

    `mode` takes the mode action (`Policy.act`) instead of a sampled one. `on_wait` is called every ten seconds. A
    policy that remembers what it saw has a method `begin_episodes`, which is told where episodes begin (bool [N]).
    """
    begin_episodes = getattr(policy, "begin_episodes", lambda which: None)
    begin_episodes(np.ones(envs.num_envs, bool))
    call = Regularly(envs, on_wait)
    active = _unfinished(episodes)
    while np.count_nonzero(episodes):
        actions = policy.act(normalizer(envs.observations), rng, envs.action_masks, mode=mode)
        transition = envs.step(policy.to_environment(actions), active)
        done = transition.terminated | transition.truncated
        begin_episodes(done)
        if np.count_nonzero(done):
            episodes = episodes - done
            active = _unfinished(episodes)
        call(time.perf_counter())


class Regularly:
    """Calls `on_wait` with the steps and the episodes of `envs` every ten seconds, as far as it is called itself."""

    def __init__(self, envs: VectorEnv, on_wait: OnWait) -> None:
        self._envs, self._on_wait = envs, on_wait
        self._next = time.perf_counter() + SECONDS_BETWEEN_CALLS

    def __call__(self, now: float) -> None:
        """`now` is a time of `time.perf_counter`."""
        if now > self._next:
            self._on_wait(self._envs.steps, self._envs.episodes)
            self._next = time.perf_counter() + SECONDS_BETWEEN_CALLS


def _unfinished(episodes_left: np.ndarray) -> np.ndarray | None:
    """bool [N]: where episodes are left; None where they are left everywhere, which is stepped faster."""
    unfinished: np.ndarray = episodes_left > 0
    return None if unfinished.all() else unfinished


def _stack(rows: Sequence[np.ndarray | None], missing: Callable[[np.ndarray], np.ndarray]) -> np.ndarray | None:
    """The rows as one array [T, …], or None where the last is None.

    A task may begin to report something at any step, and then goes on: earlier rows are `missing(last row)`.
    """
    last = rows[-1]
    if last is None:
        return None
    return np.array([missing(last) if row is None else row for row in rows])
