"""Measure a task's random score: the mean return of uniformly random actions, the zero of the normalised scale."""

import argparse

import numpy as np

from algorithms.core.task import Task, make_env
from experiments.checks import whole_number
from experiments.command import exit_with_sentence
from experiments.task_check import try_task

EPISODES = 100  # the standard error of a random score is a tenth of the standard deviation of the returns


def random_returns(task: Task, episodes: int = EPISODES, seed: int = 0) -> np.ndarray:
    """The undiscounted returns of episodes with uniformly random actions, float [episodes].

    Where the task has K variants, episode i is of variant i mod K.
    """
    envs = [make_env(task, variant) for variant in range(len(task.variants) or 1)]
    for env in envs:
        env.action_space.seed(seed)
    returns = np.zeros(episodes)
    for i in range(episodes):
        env = envs[i % len(envs)]
        env.reset(seed=seed if i < len(envs) else None)
        done = False
        while not done:
            _, reward, terminated, truncated, _ = env.step(env.action_space.sample())
            returns[i] += float(reward)
            done = terminated or truncated
    for env in envs:
        env.close()
    return returns


def main() -> None:
    """Print the random score of each task, ready for a grid file."""
    parser = argparse.ArgumentParser(prog="python -m experiments.random_score", description=main.__doc__)
    parser.add_argument("tasks", nargs="+", metavar="TASK", help="a Gymnasium id")
    parser.add_argument("--max-episode-steps", type=whole_number, help="a time limit instead of the registered one")
    parser.add_argument("--allow-normalised", action="store_true", help="as in a grid's entry of the tasks")
    options = parser.parse_args()
    for task in options.tasks:
        accepted = {"max_episode_steps": options.max_episode_steps, "allow_normalised": options.allow_normalised}
        try_task(Task(task, **accepted))
        returns = random_returns(Task(task, **accepted))
        error = returns.std(ddof=1) / np.sqrt(EPISODES)
        print(f"{task}:\n  random_score: {returns.mean():.4g}  # {EPISODES} episodes, standard error {error:.2g}")


if __name__ == "__main__":
    exit_with_sentence(main)
