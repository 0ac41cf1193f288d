"""Measure a task's random score: the mean return of uniformly random actions, the zero of the normalised scale."""

import argparse

import numpy as np

from algorithms.core.run import LONGEST_EPISODE
from algorithms.core.task import Task, close, make_env, time_limit_of
from experiments.command import exit_with_sentence

EPISODES = 100  # the standard error of a random score is a tenth of the standard deviation of the returns


def random_returns(task: Task, episodes: int = EPISODES, seed: int = 0) -> np.ndarray:
    """The undiscounted returns of episodes with uniformly random actions, float [episodes].

    Where the task has K variants, episode i is of variant i mod K. Without a time limit an episode is cut after
    LONGEST_EPISODE steps.
    """
    envs = [make_env(task, variant) for variant in range(len(task.variants) or 1)]
    for env in envs:
        env.action_space.seed(seed)
    returns = np.zeros(episodes)
    for i in range(episodes):
        env = envs[i % len(envs)]
        env.reset(seed=seed if i < len(envs) else None)
        limit = LONGEST_EPISODE if time_limit_of(env) is None else None
        done, length = False, 0
        while not done and length != limit:
            _, reward, terminated, truncated, _ = env.step(env.action_space.sample())
            returns[i] += float(reward)
            done, length = terminated or truncated, length + 1
    for env in envs:
        close(env)
    return returns


def main() -> None:
    """Print the random score of each task, ready for a grid file."""
    parser = argparse.ArgumentParser(prog="python -m experiments.random_score", description=main.__doc__)
    parser.add_argument("tasks", nargs="+", metavar="TASK", help="a Gymnasium id")
    parser.add_argument("--max-episode-steps", type=int, help="a time limit instead of the registered one")
    options = parser.parse_args()
    for task in options.tasks:
        returns = random_returns(Task(task, max_episode_steps=options.max_episode_steps))
        error = returns.std(ddof=1) / np.sqrt(EPISODES)
        print(f"{task}:\n  random_score: {returns.mean():.4g}  # {EPISODES} episodes, standard error {error:.2g}")


if __name__ == "__main__":
    exit_with_sentence(main)
