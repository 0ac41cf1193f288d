"""Little environments whose answers are known, registered with Gymnasium, and the helpers that several tests share."""

import importlib
import itertools
import pkgutil
import shutil

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete, Text

import algorithms
from algorithms.core.algorithm import Algorithm
from algorithms.core.batch import minibatches
from algorithms.core.compiled import cpp_compiler
from algorithms.core.off_policy import OffPolicy
from algorithms.core.on_policy import Learner
from algorithms.core.policy_gradient import PolicyGradient
from algorithms.core.rollout import Rollout
from algorithms.core.task import Task
from algorithms.core.vector_env import VectorEnv


class Counting(gymnasium.Env):
    """Shows (its seed's number, the episode, the step in it) and pays the step's number; ends as told."""

    observation_space = Box(-np.inf, np.inf, (3,), np.float32)

    def __init__(self, terminate_at=None, action_space=None):
        self.terminate_at = terminate_at
        self.action_space = action_space or Discrete(2)
        self.episode = -1
        self.received = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.number = float(self.np_random.integers(1_000_000))
        self.episode, self.t = self.episode + 1, 0
        return self._observation(), {}

    def step(self, action):
        self.received.append(action)
        self.t += 1
        return self._observation(), float(self.t), self.t == self.terminate_at, False, {}

    def _observation(self):
        return np.array([self.number, self.episode, self.t], np.float32)


class RandomEnding(gymnasium.Env):
    """Random observations and rewards, and a termination with probability 0.15 at each step."""

    observation_space = Box(-np.inf, np.inf, (2,), np.float32)

    def __init__(self, action_space=None):
        self.action_space = action_space or Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._observation(), {}

    def step(self, action):
        ended = bool(self.np_random.random() < 0.15)
        return self._observation(), float(self.np_random.normal(1.0, 3.0)), ended, False, {}

    def _observation(self):
        return self.np_random.normal([1.0, -2.0], [3.0, 0.5]).astype(np.float32)


class Match(gymnasium.Env):
    """Shows one of three numbers and pays 1 for the action of the same rank. Neither space starts at 0."""

    def __init__(self):
        self.observation_space = Discrete(3, start=5)
        self.action_space = Discrete(3, start=-1)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._show(), {}

    def step(self, action):
        assert action in self.action_space
        reward = float(action == self.shown - 6)
        return self._show(), reward, False, False, {}

    def _show(self):
        self.shown = int(self.np_random.integers(5, 8))
        return self.shown


class Hit(gymnasium.Env):
    """Shows −1 or 1 and pays 1 less four times the squared distance of the action to half of what it showed."""

    observation_space = Box(-1, 1, (1,), np.float32)

    def __init__(self):
        self.action_space = Box(-2, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._show(), {}

    def step(self, action):
        assert action in self.action_space
        reward = 1.0 - 4.0 * float(action[0] - self.shown / 2) ** 2
        return self._show(), reward, False, False, {}

    def _show(self):
        self.shown = float(self.np_random.choice([-1.0, 1.0]))
        return np.array([self.shown], np.float32)


class Bandit(gymnasium.Env):
    """One pull of one of four arms: a normal reward with the arm's mean and deviation 1."""

    MEANS = np.array([1.0, -0.5, 2.0, 0.3])

    def __init__(self):
        self.observation_space = Discrete(1)
        self.action_space = Discrete(4)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return 0, {}

    def step(self, action):
        return 0, float(self.np_random.normal(self.MEANS[action])), True, False, {}


class Tabular(gymnasium.Env):
    """A random episodic problem with three states and two actions; its tables are public."""

    _rng = np.random.default_rng(7)
    START = np.array([0.6, 0.3, 0.1])
    REWARDS = _rng.normal(1.5, 1.0, (3, 2))  # [S, A]
    TRANSITIONS = _rng.dirichlet(np.ones(4), (3, 2))  # [S, A, S + 1]; the last is the end of the episode

    def __init__(self):
        self.observation_space = Discrete(3)
        self.action_space = Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = self._draw(self.START)
        return self.state, {}

    def step(self, action):
        reward = self.REWARDS[self.state, action]
        following = self._draw(self.TRANSITIONS[self.state, action])
        ended = following == 3
        self.state = self.state if ended else following
        return self.state, float(reward), ended, False, {}

    def _draw(self, probabilities):
        return int(np.searchsorted(np.cumsum(probabilities), self.np_random.random() * probabilities.sum(), "right"))


class Masked(gymnasium.Env):
    """Allows some of four actions, others at every step, and refuses what it does not allow. Pays 1 for action 3."""

    def __init__(self, say_it_at_reset=True):
        self.observation_space = Box(0, 1, (4,), np.float32)
        self.action_space = Discrete(4)
        self.say_it_at_reset = say_it_at_reset

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if not self.say_it_at_reset:
            self.allowed = np.ones(4, np.int8)
            return self.allowed.astype(np.float32), {}
        return self._show()

    def step(self, action):
        assert self.allowed[action], f"action {action} is not allowed by {self.allowed}"
        observation, info = self._show()
        return observation, float(action == 3), False, False, info

    def _show(self):
        self.allowed = self.np_random.integers(0, 2, 4).astype(np.int8)
        self.allowed[self.np_random.integers(4)] = 1
        return self.allowed.astype(np.float32), {"action_mask": self.allowed}


class Constant(gymnasium.Env):
    """One step, which pays the same whatever is done."""

    observation_space = Discrete(1)

    def __init__(self, reward, actions):
        self.reward = reward
        self.action_space = Discrete(actions)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return 0, {}

    def step(self, action):
        return 0, self.reward, True, False, {}


class NotANumber(Match):
    """Match, until its rewards stop being numbers after 60 steps."""

    taken = 0

    def step(self, action):
        self.taken += 1
        observation, reward, *rest = super().step(action)
        return observation, reward if self.taken < 60 else float("nan"), *rest


class Reporting(Counting):
    """Counting, whose step t reports `infos[t]` (the last one again and again)."""

    def __init__(self, infos, **kwargs):
        super().__init__(**kwargs)
        self.infos = infos

    def step(self, action):
        *transition, _ = super().step(action)
        return *transition, dict(self.infos[min(self.t, len(self.infos)) - 1])


class Junctions(gymnasium.Env):
    """Shows one of two numbers for each of three junctions, which have 2, 3 and 2 choices: Match in three parts.

    A part gets 1 where it is right (choices are counted from 0, −1 and 4); the reward is the sum over the parts.
    `masked` allows the right choice and the first one only, said part by part.
    """

    SIZES, STARTS = np.array([2, 3, 2]), np.array([0, -1, 4])

    def __init__(self, masked=False, part_rewards=True):
        self.observation_space = Box(0, 1, (3,), np.float32)
        self.action_space = MultiDiscrete(self.SIZES, start=self.STARTS)
        self.masked, self.part_rewards = masked, part_rewards

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._show()

    def step(self, action):
        assert action in self.action_space
        right = (action - self.STARTS == self.shown).astype(float)
        observation, info = self._show()
        if self.part_rewards:
            info["part_rewards"] = right
        return observation, float(right.sum()), False, False, info

    def _show(self):
        self.shown = self.np_random.integers(0, 2, 3)
        masks = tuple(np.isin(np.arange(n), [0, right]) for n, right in zip(self.SIZES, self.shown, strict=True))
        return self.shown.astype(np.float32), {"action_mask": masks} if self.masked else {}


class Unsupported(Counting):
    """Spaces that nobody can act or learn in."""

    def __init__(self, observations=None, actions=None):
        super().__init__()
        self.observation_space = observations or self.observation_space
        self.action_space = self.action_space if actions is None else actions


def _register(name, cls, limit=None, **kwargs):
    gymnasium.register(f"{name}-v0", cls, max_episode_steps=limit, kwargs=kwargs)


_register("Terminating", Counting, terminate_at=4)
_register("Truncating", Counting, limit=3)
_register("BoxTruncating", Counting, limit=3, action_space=Box(-1, 2, (2,), np.float32))
_register("RandomEnding", RandomEnding, limit=6)
_register("BoxRandomEnding", RandomEnding, limit=6, action_space=Box(-1, 2, (2,), np.float32))
_register("Match", Match, limit=10)
_register("Hit", Hit, limit=10)
_register("Bandit", Bandit)
_register("Tabular", Tabular)
_register("Masked", Masked, limit=7)
_register("MaskedLate", Masked, limit=7, say_it_at_reset=False)
_register("AlwaysZero", Constant, reward=0.0, actions=3)
_register("AlwaysTheSame", Constant, reward=0.1, actions=3)  # 0.1: whose mean over many is not it to the last digit
_register("OneAction", Constant, reward=0.1, actions=1)
_register("NotANumber", NotANumber, limit=10)
_register("Costs", Reporting, limit=5, infos=[{}, {"cost": 2}, {"cost": 0.5}, {}])
_register("CostIsNotANumber", Reporting, limit=5, infos=[{"cost": 1.0}] * 3 + [{"cost": float("nan")}])
_register("CostIsText", Reporting, infos=[{"cost": "1.0"}])
_register("CostIsNothing", Reporting, infos=[{"cost": None}])
_register("CostIsAList", Reporting, infos=[{"cost": [1.0, 2.0]}])
_register("MaskedBox", Reporting, infos=[{"action_mask": [1, 0]}], action_space=Box(-1, 2, (2,), np.float32))
_register("Junctions", Junctions, limit=10)
_register("MaskedJunctions", Junctions, limit=10, masked=True)
_register("JunctionsInOne", Junctions, limit=10, part_rewards=False)
for _name, _infos in {
    "LatePartRewards": [{}, {"part_rewards": [1, 2]}],
    "MissingPartRewards": [{"part_rewards": [1, 2]}, {}],
    "TooManyPartRewards": [{"part_rewards": [1, 2, 3]}],
    "TextualPartRewards": [{"part_rewards": ["a", "b"]}],
}.items():
    _register(_name, Reporting, infos=_infos, action_space=MultiDiscrete([2, 2]))
_register("TextObservations", Unsupported, observations=Text(8))
_register("ImageObservations", Unsupported, observations=Box(0, 255, (8, 8, 3), np.uint8))
_register("DictActions", Unsupported, actions=Dict({"x": Discrete(2)}))
_register("IntegerBoxActions", Unsupported, actions=Box(0, 5, (2,), np.int64))
_register("UnboundedActions", Unsupported, actions=Box(-np.inf, np.inf, (2,), np.float32))


def every_algorithm(kind: type[Algorithm]) -> dict[str, type[Algorithm]]:
    """The algorithms of a kind of all files in algorithms/, by file name: a new file is tested without being named."""
    found = {}
    for module in pkgutil.iter_modules(algorithms.__path__):
        if not module.ispkg:
            contents = vars(importlib.import_module(f"algorithms.{module.name}")).values()
            found[module.name] = next(
                c
                for c in contents
                if isinstance(c, type)
                and issubclass(c, Algorithm)
                and c.__module__ == f"policy_gradient_ladder.{module.name}"
            )
    return {name: algorithm for name, algorithm in found.items() if issubclass(algorithm, kind)}


# Those that take every task. The others, which name what they refuse, have tests of their own.
ALGORITHMS = {name: algorithm for name, algorithm in every_algorithm(PolicyGradient).items() if not algorithm.refuses}
OFF_POLICY = every_algorithm(OffPolicy)
IN_ALL_SPACES = {n: a for n, a in ALGORITHMS.items() if not {"actions", "choices"} & set(a.critic_kinds().values())}
needs_compiler = pytest.mark.skipif(shutil.which(cpp_compiler()) is None, reason="no C++ compiler")


def parts_of(batch, size, rng):
    """The minibatches of one epoch."""
    order, starts = minibatches(len(batch), size, 1, rng)
    return [batch if order is None else batch.minibatch(order[a:b]) for a, b in itertools.pairwise(starts)]


def make_learner(algorithm, task, seed=0, spread=1.0, **options) -> tuple[VectorEnv, Learner, np.random.Generator]:
    """Environments, a learner and an acting generator.

    `spread` multiplies the policy's last layer, whose small initial values make every policy nearly uniform.
    """
    task = Task(task) if isinstance(task, str) else task
    environments, initialisation, minibatches, acting = np.random.SeedSequence(seed).spawn(4)
    envs = VectorEnv(task, algorithm.num_envs, environments)
    learner = Learner(
        algorithm,
        task,
        envs.observation_size,
        envs.action_space,
        initialisation=initialisation,
        minibatches=minibatches,
        **options,
    )
    with torch.no_grad():
        learner.policy.network[-1].weight.mul_(spread)
    return envs, learner, np.random.default_rng(acting)


def random_rollout(rng, steps, num_envs, end=0.12, cut=0.12, padding=False) -> Rollout:
    """A rollout of random numbers with random endings; with `padding`, rows after a random length are padding."""
    shape = (steps, num_envs)
    terminated = rng.random(shape) < end
    truncated = (rng.random(shape) < cut) & ~terminated
    valid = np.ones(shape, bool)
    rewards, values, next_values = (rng.normal(size=shape) for _ in range(3))
    if padding:
        lengths = rng.integers(1, steps + 1, num_envs)
        lengths[0] = steps
        valid = np.arange(steps)[:, None] < lengths
        last = np.arange(steps)[:, None] == lengths - 1
        terminated, truncated = (terminated | last) & valid, truncated & valid & ~last
        rewards, values, next_values = (np.where(valid, x, 0.0) for x in (rewards, values, next_values))
    observations = np.zeros((*shape, 1), np.float32)
    return Rollout(
        observations,
        np.zeros(shape, np.int64),
        rewards,
        terminated,
        truncated,
        observations,
        valid,
        values=values,
        next_values=next_values,
    )
