"""Episodes that are played and not learned from: of an evaluation, and those open at the end of a training."""

from collections.abc import Sequence
from contextlib import closing
from functools import partial
from typing import Protocol

import numpy as np

from .acting import Actor
from .algorithm import OnWait
from .normalizer import RunningNormalizer
from .rollout import play
from .run import EVALUATION_EPISODES, EVALUATIONS, LONGEST_EPISODE, Evaluation, evaluation_episodes
from .task import StoppedByTask, Task
from .vector_env import Episode, VectorEnv

EVALUATED = {"sampled": "sampled actions", "mode": "the mode action"}  # kinds of evaluation, in words


class Acting(Protocol):
    """What acts in an evaluation: a learner, or a policy that was saved."""

    @property
    def policy(self) -> Actor:
        """Chooses the actions."""

    @property
    def normalizer(self) -> RunningNormalizer:
        """The statistics of observations."""


def check_evaluations(kinds: Sequence[str]) -> None:
    """Raise ValueError, which names the valid kinds of evaluation, where one of `kinds` is not valid."""
    for kind in kinds:
        if kind not in EVALUATIONS:
            raise ValueError(f"there is no evaluation {kind!r}; valid are: {', '.join(EVALUATIONS)}")


def finish_open_episodes(
    envs: VectorEnv, learner: Acting, rng: np.random.Generator, longest: int, on_wait: OnWait
) -> tuple[list[Episode], list[float]]:
    """Finish the episodes that are open, with sampled actions and without learning; returns them as `Run` has them,
    and their true returns (none where the task reports no true reward).

    On a task without a time limit an episode is cut after `longest` steps, and at once if it is as long already. Raises
    StoppedByTask as VectorEnv.step does.
    """
    envs.limit_episodes(longest)
    opened = envs.open_episodes()
    true_returns = dict(enumerate(envs.true_returns.tolist()))
    ended = len(envs.episodes)
    unfinished = np.zeros(envs.num_envs, int)
    for i, episode in opened.items():
        unfinished[i] = envs.longest is None or episode.length < envs.longest
    try:
        play(
            *(envs, learner.policy, learner.normalizer, rng, unfinished),
            on_wait=partial(on_wait, "finishing open episodes"),
        )
    except StoppedByTask as at:
        raise at.within("of the episodes that were open at the end of the training") from None
    finished = opened | dict(zip(envs.episode_envs[ended:], envs.episodes[ended:], strict=True))
    true_returns |= dict(zip(envs.episode_envs[ended:], envs.episode_true_returns[ended:], strict=True))
    return (
        [finished[i]._replace(step=episode.step) for i, episode in opened.items()],
        [true_returns[i] for i in opened] if envs.reports_true_rewards else [],
    )


def evaluate(
    learner: Acting,
    task: Task,
    seed: np.random.SeedSequence,
    kinds: Sequence[str] = EVALUATIONS,
    *,
    episodes: int = EVALUATION_EPISODES,
    num_envs: int = EVALUATION_EPISODES,
    longest: int = LONGEST_EPISODE,
    on_wait: OnWait = lambda what, steps, episodes: None,
) -> dict[str, Evaluation]:
    """Evaluate a learner on freshly seeded environments: complete episodes of each of `kinds`, by kind.

    The kind "sampled" samples actions, "mode" takes the most likely action. The result of one kind is the same with and
    without the other. For a task with K variants, the number of `episodes` is rounded up to a multiple of K, so that
    each variant has as many; the i-th return, length, cost and true return are then those of variant i mod K.

    At most `num_envs` environments are open at once. Each of them plays an equal number of episodes, or one more than
    others, fixed beforehand: otherwise short episodes would be played more often than long ones. On a task without a
    time limit an episode is cut after `longest` steps.

    Raises StoppedByTask as VectorEnv.step does.
    """
    check_evaluations(kinds)
    variants, count = len(task.variants) or 1, evaluation_episodes(task, episodes)
    together = min(count, max(num_envs, variants) // variants * variants)
    in_turn = np.array([len(range(i, count, together)) for i in range(together)])
    result = {}
    for kind, child in zip(EVALUATIONS, seed.spawn(len(EVALUATIONS)), strict=True):
        if kind not in kinds:
            continue
        environments, acting = child.spawn(2)
        with closing(VectorEnv(task, together, environments)) as envs:
            envs.limit_episodes(longest)
            try:
                play(
                    envs,
                    learner.policy,
                    learner.normalizer,
                    np.random.default_rng(acting),
                    in_turn,
                    mode=kind == "mode",
                    on_wait=partial(on_wait, "evaluating"),
                )
            except StoppedByTask as at:
                raise at.within(f"of the evaluation with {EVALUATED[kind]}") from None
        played = list(zip(envs.episodes, envs.episode_costs, envs.episode_true_returns, strict=True))
        if task.variants:  # in the order of the environments, turn by turn, instead of the order of the ends
            of_env: list[list[tuple[Episode, float, float]]] = [[] for _ in range(together)]
            for i, episode in zip(envs.episode_envs, played, strict=True):
                of_env[i].append(episode)
            played = [of_env[i % together][i // together] for i in range(count)]
        result[kind] = Evaluation(
            [episode.return_ for episode, *_ in played],
            [episode.length for episode, *_ in played],
            [cost for _, cost, _ in played] if envs.reports_costs else [],
            [true_return for *_, true_return in played] if envs.reports_true_rewards else [],
        )
    return result
