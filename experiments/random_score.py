"""Measure a task's random score: the mean return of uniformly random actions, the zero of the normalised scale."""

import argparse
import contextlib
import json
import logging
import time
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Discrete

from policy_gradient_ladder.core.interface import check_reset, check_step
from policy_gradient_ladder.core.masks import MaskReader
from policy_gradient_ladder.core.run import LONGEST_EPISODE
from policy_gradient_ladder.core.spaces import in_shape
from policy_gradient_ladder.core.task import (
    StoppedByTask,
    Task,
    close,
    make_envs,
    seed_global_generators,
    seed_spaces,
    time_limit_of,
)
from policy_gradient_ladder.core.vector_env import unusable

from .checks import whole_number
from .command import exit_with_sentence
from .task_check import try_task

log = logging.getLogger(__name__)
SECONDS_BETWEEN_LINES = 30.0
EPISODES = 100  # the standard error of a random score is a tenth of the standard deviation of the returns


def random_returns(task: Task, episodes: int = EPISODES, seed: int = 0) -> np.ndarray:
    """The undiscounted returns of episodes with uniformly random actions, float [episodes].

    Where the task has K variants, episode i is of variant i mod K. Where the task masks actions, they are uniform among
    those that are allowed. Without a time limit an episode is cut after LONGEST_EPISODE steps, with a warning. Where it
    takes long, it logs lines.

    Raises StoppedByTask where a return is NaN, infinite or too large for single precision, and UnsupportedTask where
    the task returns what training would refuse.
    """
    variants = len(task.variants) or 1
    of_global_generators, of_episodes, of_spaces = np.random.SeedSequence(seed).spawn(3)
    seed_global_generators(of_global_generators)
    with contextlib.ExitStack() as stack:
        envs = make_envs(task, variants)
        for env, child in zip(envs, of_spaces.spawn(variants), strict=True):
            stack.callback(close, env)
            seed_spaces(env, child)  # that of the actions, too
        seeds = [int(child.generate_state(1)[0]) for child in of_episodes.spawn(variants)]
        masks = [MaskReader(task, env, i) for i, env in enumerate(envs)]
        steps, line_at = 0, time.monotonic() + SECONDS_BETWEEN_LINES
        returns = np.zeros(episodes)
        for i in range(episodes):
            env = envs[i % len(envs)]
            returned = env.reset(seed=seeds[i] if i < variants else None)
            check_reset(task.label, env.observation_space, returned)
            info = returned[1]
            limit = LONGEST_EPISODE if time_limit_of(env) is None else None
            done, length = False, 0
            while not done and length != limit:
                action = random_action(env, masks[i % len(envs)], info, steps)
                returned = env.step(action)
                check_step(task.label, env.observation_space, returned)
                _, reward, terminated, truncated, info = returned
                returns[i] += float(reward)
                steps, length = steps + 1, length + 1
                if unusable(returns[i]):
                    raise StoppedByTask(task.label, steps, f"a reward that makes the return {returns[i]:g}")
                done = terminated or truncated
                if time.monotonic() > line_at:
                    log.warning("%s: %d of %d random episodes, %s steps", task.label, i, episodes, f"{steps:,}")
                    line_at = time.monotonic() + SECONDS_BETWEEN_LINES
            if length == limit and not done:
                log.warning(
                    f"task {task.label!r} has no time limit, and a random episode was cut after {limit:,} steps; "
                    "--max-episode-steps, and max_episode_steps in a grid, give it one"
                )
        return returns


def random_action(env: gymnasium.Env, masks: MaskReader, info: Mapping[str, Any], steps: int) -> Any:
    """A uniformly random action among those that are allowed after `steps` steps of an episode."""
    mask = masks.read(info, steps)
    if mask is None:
        return env.action_space.sample()
    rng = env.action_space.np_random
    choices = [rng.choice(np.flatnonzero(allowed)) for allowed in masks.parts(mask)]
    if isinstance(env.action_space, Discrete):
        return choices[0] + env.action_space.start
    return in_shape(env.action_space, np.array([choices]))[0]


def json_mapping(text: str) -> dict[str, Any]:
    """A mapping from JSON on the command line."""
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(
            f"must be a mapping in JSON, such as '{{\"is_slippery\": false}}', not {text!r}"
        )
    return value


def main() -> None:
    """Print the random score of each task, ready for a grid file."""
    parser = argparse.ArgumentParser(prog="python -m experiments.random_score", description=main.__doc__)
    parser.add_argument("tasks", nargs="+", metavar="TASK", help="a Gymnasium id")
    parser.add_argument(
        "--kwargs", type=json_mapping, default={}, metavar="JSON", help="the environment's keyword arguments"
    )
    parser.add_argument("--max-episode-steps", type=whole_number, help="a time limit instead of the registered one")
    parser.add_argument("--allow-normalised", action="store_true", help="as in a grid's entry of the tasks")
    options = parser.parse_args()
    for task in options.tasks:
        given = {name: getattr(options, name) for name in ("kwargs", "max_episode_steps", "allow_normalised")}
        try_task(Task(task, **given))
        returns = random_returns(Task(task, **given))
        error = returns.std(ddof=1) / np.sqrt(EPISODES)
        print(f"{task}:\n  random_score: {returns.mean():.4g}  # {EPISODES} episodes, standard error {error:.2g}")


if __name__ == "__main__":
    exit_with_sentence(main)
