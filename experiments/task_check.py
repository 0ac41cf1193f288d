"""Whether a task can be stepped: what is said of it before any run, and not by a traceback in each of its runs."""

import warnings
from contextlib import closing

import numpy as np
import torch
from gymnasium.spaces import Box

from policy_gradient_ladder.core.backends import GymnasiumBackend, one_by_one
from policy_gradient_ladder.core.interface import place_of
from policy_gradient_ladder.core.policies import Policy
from policy_gradient_ladder.core.spaces import structure
from policy_gradient_ladder.core.task import StoppedByTask, Task, UnsupportedTask, close, make_env, make_envs
from policy_gradient_ladder.core.vector_env import VectorEnv

TRIAL_STEPS = 5  # what a wrong interface returns, it returns at the first step; a few cost a millisecond


def check_task(task: Task) -> None:
    """Raise UnsupportedTask, with a sentence, where VectorEnv could not step the task; nothing is reset or stepped."""
    for env in make_envs(task, len(task.variants) or 1):
        close(env)


def check_training(task: Task) -> None:
    """Raise UnsupportedTask where the wrappers in training alone make a task of other spaces."""
    spaces = []
    for one in (task, task.in_training):
        env = make_env(one)
        close(env)
        spaces.append((env.action_space, structure(env.observation_space)))
    if spaces[0] != spaces[1]:
        raise UnsupportedTask(
            f"task {task.label!r} has training_wrappers that change its spaces; what is learned has to act without them"
        )


def try_task(task: Task) -> None:
    """Reset each variant of a task, take a few steps with an untrained policy, and reset it again.

    Raises UnsupportedTask, with a sentence, where `check_task` would, where the task raises an exception, and where it
    returns what training could not use. Warns where a Box holds an observation that is beyond the declared bounds. As
    many environments are open at a time as the task has variants. Gymnasium steps them, which
    looks at all that an environment returns.
    """
    seeds, rng = np.random.SeedSequence(0), np.random.default_rng(0)
    try:
        with one_by_one(), closing(VectorEnv(task, len(task.variants) or 1, seeds)) as envs:
            generator = torch.Generator().manual_seed(0)
            policy = Policy(envs.observation_size, envs.action_space, task.action_bounds, generator, hidden_sizes=())
            _warn_beyond_bounds(task, envs)
            for _ in range(TRIAL_STEPS):
                actions = policy.act(envs.observations, rng, envs.action_masks)
                envs.step(policy.to_environment(actions))
            envs.backend.reset(np.arange(envs.num_envs))  # without a seed
    except StoppedByTask:
        pass  # a number that cannot be learned from; the run ends there with the step and the reason
    except UnsupportedTask:
        raise
    except Exception as error:  # an environment may raise anything
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise UnsupportedTask(f"task {task.label!r} cannot be stepped: it raises {what}{place_of(error)}") from error


def _warn_beyond_bounds(task: Task, envs: VectorEnv) -> None:
    """Warn where a first observation is beyond the bounds of the Box that it is declared to be in."""
    assert isinstance(envs.backend, GymnasiumBackend)
    space = envs.backend.observation_space
    if not isinstance(space, Box):
        return
    for observation in envs.observations:
        low, high = (bound.astype(np.float32).ravel() for bound in (space.low, space.high))
        beyond = np.nonzero((observation < low) | (observation > high))[0]
        if len(beyond):
            i = beyond[0]
            warnings.warn(
                f"task {task.label!r}: element {i} of the observation is {observation[i]:g}, and its observation_space "
                f"has it between {low[i]:g} and {high[i]:g}; the run goes on, since nothing depends on these bounds",
                stacklevel=3,
            )
            return
