"""Any task made different from what was learned on: other masses, friction and motors, a delay, noisy observations.

A grid names the wrappers in `wrappers` or `training_wrappers` of a task: `{wrapper: experiments.tasks.changes:Changed,
mass: [0.5, 2]}` is domain randomisation, its ranges drawn anew for every episode (Tobin et al., 2017; Peng et al.,
2018). The grid's key `perturbations` evaluates trained policies in the same wrapper, with numbers in place of ranges.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import gymnasium
import mujoco
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiDiscrete

Step: TypeAlias = tuple[Any, float, bool, bool, dict[str, Any]]
Size: TypeAlias = float | Sequence[float]


class Change(NamedTuple):
    """What one kind of change does, and which sizes it may have."""

    nominal: float  # the size at which nothing changes
    fields: tuple[str, ...]  # of the MuJoCo model, which are multiplied by the size; none: another kind of change
    expected: str  # of a size, in words

    def allows(self, size: Any) -> bool:
        """Whether this is a possible size; true and false are no numbers."""
        if type(size) not in (int, float) or not math.isfinite(size):
            return False
        if self.fields:
            return bool(size > 0)
        return size >= 0 and (self.expected != WHOLE or size == int(size))


FACTOR, WHOLE = "a factor above 0", "a whole number of steps from 0"
CHANGES: Mapping[str, Change] = {
    "mass": Change(1.0, ("body_mass", "body_inertia"), FACTOR),  # of every body, as if of another density
    "friction": Change(1.0, ("geom_friction",), FACTOR),  # sliding, torsional and rolling
    "gear": Change(1.0, ("actuator_gear",), FACTOR),  # the force of every motor
    "delay": Change(0.0, (), WHOLE),  # from an action to its effect
    "noise": Change(0.0, (), "a standard deviation from 0"),  # of Gaussian noise, in the observation's own unit
}


def why_not(env: gymnasium.Env[Any, Any], change: str) -> str | None:
    """Why a task cannot have a change, as the end of a sentence; None where it can."""
    model, space = getattr(env.unwrapped, "model", None), env.observation_space
    if CHANGES[change].fields and not isinstance(model, mujoco.MjModel):
        return f"{change} is of a MuJoCo model, and it has none"
    if change == "gear" and not model.nu:
        return "gear is of motors, and its MuJoCo model has none"
    if change == "noise" and not (isinstance(space, Box) and np.issubdtype(space.dtype, np.floating)):
        return f"noise is for observations in a Box of floats, and its own are in {space}"
    if change == "delay" and not isinstance(env.action_space, Box | Discrete | MultiDiscrete):
        return f"delay needs an action to begin with, and there is none in {env.action_space}"
    return None


class Changed(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment with changes: a size of each of CHANGES, or a range [low, high].

    From a range a size is drawn at each reset, uniformly (of `delay` a whole number, both ends included), and the noise
    at each step, by a generator that the seed of a reset seeds; the environment's own draws are those without changes.
    With `delay` k, the first k actions of an episode are the resting one: 0, or as near as a Box allows, and the first
    choice of a Discrete. Raises ValueError for a change that is not in CHANGES, one that the environment cannot have,
    and a size or a range that is not possible.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], **changes: Size) -> None:
        super().__init__(env)
        self.ranges = {change: _range(change, size) for change, size in changes.items()}
        unwrapped: Any = env.unwrapped
        if reasons := [reason for change in changes if (reason := why_not(env, change)) is not None]:
            raise ValueError(reasons[0])
        if "noise" in changes:
            space: Any = env.observation_space
            self.observation_space = Box(-np.inf, np.inf, space.shape, space.dtype)
        self.sizes = {change: low for change, (low, _) in self.ranges.items()}  # of this episode
        self._rng = np.random.default_rng()
        self._nominal = {  # of the fields that change at all
            name: getattr(unwrapped.model, name).copy()
            for change, ends in self.ranges.items()
            if ends != (CHANGES[change].nominal,) * 2
            for name in CHANGES[change].fields
        }
        self._waiting: deque[Any] = deque()  # actions whose effect is still to come

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Draw the sizes of the episode, and begin it."""
        if seed is not None:
            self._rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))
        self.sizes = {change: self._drawn(change, *ends) for change, ends in self.ranges.items()}
        self._change_model()
        self._waiting = deque([resting_action(self.env.action_space)] * int(self.sizes.get("delay", 0)))
        observation, info = self.env.reset(seed=seed, options=options)
        return self._noisy(observation), info

    def step(self, action: Any) -> Step:
        """A step with the action of `delay` steps ago."""
        self._waiting.append(np.array(action) if isinstance(action, np.ndarray) else action)
        observation, reward, terminated, truncated, info = self.env.step(self._waiting.popleft())
        return self._noisy(observation), float(reward), terminated, truncated, info

    def _drawn(self, change: str, low: float, high: float) -> float:
        if low == high:
            return low
        if CHANGES[change].expected == WHOLE:
            return float(self._rng.integers(int(low), int(high), endpoint=True))
        return float(self._rng.uniform(low, high))

    def _change_model(self) -> None:
        """Multiply the model's fields, and let MuJoCo compute what depends on them."""
        if not self._nominal:
            return
        unwrapped: Any = self.env.unwrapped
        for change, size in self.sizes.items():
            for name in self._nominal.keys() & set(CHANGES[change].fields):
                getattr(unwrapped.model, name)[:] = self._nominal[name] * size
        mujoco.mj_setConst(unwrapped.model, mujoco.MjData(unwrapped.model))

    def _noisy(self, observation: Any) -> Any:
        deviation = self.sizes.get("noise", 0.0)
        if not deviation:
            return observation
        noise = deviation * self._rng.standard_normal(np.shape(observation))
        return (observation + noise).astype(observation.dtype)


class Restless(gymnasium.Wrapper[Any, Any, Any, Any]):
    """What an action changes costs: `info["cost"]` = ‖a_t − a_{t−1}‖², and `penalty` times that less reward.

    a_t is the action as the environment gets it, from a Box; the first of an episode costs nothing. The square holds
    the action noise, too: of a Gaussian policy its mean is ‖μ_t − μ_{t−1}‖² + 2 Σ σ², so that it is a penalty on the
    variance of actions as well. Raises ValueError for other actions and for a penalty below 0.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], penalty: float = 0.0) -> None:
        super().__init__(env)
        if not isinstance(env.action_space, Box):
            raise ValueError(f"Restless is for actions in a Box, and these are in {env.action_space}")
        if type(penalty) not in (int, float) or not 0 <= penalty < math.inf:
            raise ValueError(f"penalty must be a number from 0, not {penalty!r}")
        self.penalty = penalty
        self._last: np.ndarray | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode, without an action before."""
        self._last = None
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> Step:
        """A step, with its cost."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        now = np.array(action, np.float64)
        cost = 0.0 if self._last is None else float(np.square(now - self._last).sum())
        self._last = now
        return observation, float(reward) - self.penalty * cost, terminated, truncated, info | {"cost": cost}


def resting_action(space: Any) -> Any:
    """0, or as near as a Box allows; of a Discrete and of each part of a MultiDiscrete the first choice."""
    if isinstance(space, Box):
        return np.clip(np.zeros(space.shape, space.dtype), space.low, space.high)
    return space.start.copy() if isinstance(space, MultiDiscrete) else space.start


def _range(change: str, size: Any) -> tuple[float, float]:
    """A size as a range of one; raises ValueError where it is none."""
    if change not in CHANGES:
        raise ValueError(f"there is no change {change!r}; there are {', '.join(CHANGES)}")
    ends = list(size) if isinstance(size, list | tuple) else [size, size]
    if len(ends) != 2 or not all(map(CHANGES[change].allows, ends)) or ends[0] > ends[1]:
        raise ValueError(f"{change} must be {CHANGES[change].expected}, or [low, high] of two of them, not {size!r}")
    return float(ends[0]), float(ends[1])
