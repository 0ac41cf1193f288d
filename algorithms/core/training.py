"""The only on-policy training loop: collect, learn, observe, until the step budget is used; then evaluate."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from .acting import Actor
from .algorithm import OnUpdate, OnWait
from .batch import Batch
from .hooks import Hooks
from .normalizer import RunningNormalizer
from .policies import Policy
from .rollout import Rollout, collect, play
from .run import (
    EVALUATION_EPISODES,
    EVALUATIONS,
    LONGEST_EPISODE,
    Checkpoint,
    Evaluation,
    Run,
    Trained,
    evaluation_episodes,
)
from .task import StoppedByTask, Task
from .vector_env import Episode, VectorEnv

EVALUATED = {"sampled": "sampled actions", "mode": "the mode action"}  # kinds of evaluation, in words
RECORDED_ROWS = 200  # rows of the update table at most; each holds the means over an equal share of the budget


@dataclass(frozen=True)
class Seeds:
    """One independent generator for each thing that is random, all from the cell's seed."""

    environments: np.random.SeedSequence
    acting: np.random.SeedSequence
    minibatches: np.random.SeedSequence
    initialisation: np.random.SeedSequence
    evaluation: np.random.SeedSequence

    @classmethod
    def of(cls, seed: int) -> "Seeds":
        """The five children of a seed."""
        return cls(*np.random.SeedSequence(seed).spawn(5))


class Acting(Protocol):
    """What acts in an evaluation: a learner, or a policy that was saved."""

    @property
    def policy(self) -> Actor:
        """Chooses the actions."""

    @property
    def normalizer(self) -> RunningNormalizer:
        """The statistics of observations."""


class Learner(Protocol):
    """The attributes and methods of a learner that the training loop uses; `on_policy.Learner` documents them."""

    policy: Policy
    normalizer: RunningNormalizer

    @property
    def compiled(self) -> bool:
        """Whether the learner runs machine code."""

    @property
    def compiling_seconds(self) -> float:
        """The seconds spent on compiling until now."""

    @property
    def adapts(self) -> bool:
        """Whether `adapt` is to be called after every update."""

    def prepare(self, rollout: Rollout, *, diagnosed: bool) -> Batch:
        """Make a batch of a rollout; `diagnosed`: whether `diagnose` may be called."""

    def update(self, batch: Batch, progress: float) -> dict[str, float]:
        """Learn from the batch; returns the update's scalars by name."""

    def diagnose(self, batch: Batch) -> dict[str, float]:
        """Measure on the batch what the update did."""

    def adapt(self, record: Mapping[str, float]) -> None:
        """Change the algorithm's settings according to an update's scalars."""

    def observe(self, rollout: Rollout) -> None:
        """Take the rollout into the statistics."""

    def is_finite(self) -> bool:
        """Whether every parameter is finite."""

    def state(self) -> dict[str, np.ndarray]:
        """The learner's arrays by name."""

    def load(self, state: Mapping[str, np.ndarray]) -> None:
        """Take over what `state` returned."""


def train(
    algorithm: Hooks,
    make_learner: Callable[[VectorEnv, Seeds], Learner] | None = None,
    task: Task | None = None,
    seed: int | None = None,
    steps: int | None = None,
    *,
    checkpoint_fractions: Sequence[float] = (),
    evaluations: Sequence[str] = EVALUATIONS,
    on_update: OnUpdate = lambda steps, episodes: None,
    on_wait: OnWait = lambda what, steps, episodes: None,
    trained: Trained | None = None,
    on_trained: Callable[[Trained], None] | None = None,
) -> Run:
    """Train a learner for `steps` environment steps; the arguments are those of `Algorithm.train`.

    `make_learner` gets the environments and the seeds and returns the learner; it, `task`, `seed` and `steps` are
    needed, and have defaults so that a call without them ends with a sentence. The last rollout of a step-based
    algorithm is cut to the budget (up to one step per environment). Whole episodes are finished, so `steps_taken` may
    exceed `steps` by part of a rollout. On a task without a time limit, however, an episode in a rollout of whole
    episodes is truncated after an environment's share of the budget, `steps` / `num_envs` (at most `LONGEST_EPISODE`),
    and is the environment's last one in the rollout. Where an episode is finished or evaluated, it is cut after the
    smaller of `steps` and `LONGEST_EPISODE`, and counts with its return until there.

    Where the task gives a number that cannot be learned from, the run is stopped there, or at the end of its training
    if that was in its evaluation.

    `on_trained` gets what was trained before it is evaluated. Given back as `trained`, with all other arguments as they
    were, it is evaluated without a training, and the result is the same.

    Raises ValueError, before any training, for what makes no learner, for what is no Task, for a seed that is not a
    whole number from 0 and steps that are not one from 1, for a fraction that is not in [0, 1], and for an unknown kind
    in `evaluations`.
    """
    check_evaluations(evaluations)
    if not callable(make_learner):
        raise ValueError(
            f"make_learner must be a function that makes a learner, not {make_learner!r}; an algorithm is trained "
            "by its own method: PPO().train(Task('CartPole-v1'), seed=0, steps=100_000)"
        )
    if not isinstance(task, Task):
        raise ValueError(f"task must be a Task, such as Task('CartPole-v1'), not {task!r}")
    for name, value, least in (("seed", seed, 0), ("steps", steps, 1)):
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
            raise ValueError(f"{name} must be a whole number from {least}, not {value!r}")
    assert seed is not None
    assert steps is not None
    seed, steps = int(seed), int(steps)
    for fraction in checkpoint_fractions:
        if not isinstance(fraction, int | float | np.floating) or not 0 <= fraction <= 1:
            raise ValueError(f"checkpoint_fractions has {fraction!r}; a fraction of the budget is a number from 0 to 1")
    use_one_thread()
    seeds = Seeds.of(seed)
    longest = min(steps, LONGEST_EPISODE)
    with closing(VectorEnv(task, algorithm.num_envs, seeds.environments)) as envs:
        learner = make_learner(envs, seeds)
        if trained is not None:
            run = trained.run
            learner.load(trained.state)
        else:
            rng = np.random.default_rng(seeds.acting)
            run = _learn(algorithm, learner, envs, rng, steps, sorted(checkpoint_fractions), on_update, on_wait)
            if run.diverged_at is None:
                began = time.perf_counter()
                try:
                    run.open_episodes = finish_open_episodes(envs, learner, rng, longest, on_wait)
                except StoppedByTask as at:
                    run.stop(at)
                run.seconds["evaluating"] += time.perf_counter() - began
    if run.diverged_at is None:
        if trained is None and on_trained is not None:
            on_trained(Trained(run, learner.state()))
        began = time.perf_counter()
        try:
            run.evaluation = evaluate(
                learner,
                task,
                seeds.evaluation,
                evaluations,
                num_envs=algorithm.num_envs,
                longest=longest,
                on_wait=on_wait,
            )
        except StoppedByTask as at:
            run.stop(at)
        run.seconds["evaluating"] += time.perf_counter() - began
    return run


def _learn(
    algorithm: Hooks,
    learner: Learner,
    envs: VectorEnv,
    rng: np.random.Generator,
    steps: int,
    fractions: list[float],
    on_update: OnUpdate,
    on_wait: OnWait,
) -> Run:
    """Collect, learn and observe until the budget of `steps` is used; `fractions` ascend. Returns the run until there.

    `rng` draws the actions.
    """
    if algorithm.whole_episodes:
        envs.limit_episodes(min(math.ceil(steps / algorithm.num_envs), LONGEST_EPISODE))
    table = UpdateTable(steps)
    run = Run(envs.episodes, table.rows, [], None, 0, 0)
    seconds = run.seconds
    training_began = time.perf_counter()

    while True:
        while fractions and envs.steps >= fractions[0] * steps:
            run.checkpoints.append(Checkpoint(fractions.pop(0), envs.steps, learner.state()))
        if envs.steps >= steps:
            break
        progress = envs.steps / steps
        length, episodes = _length(algorithm, steps - envs.steps)
        try:
            rollout = collect(
                envs,
                learner.policy,
                learner.normalizer,
                rng,
                steps=length,
                episodes=episodes,
                wait_after_cut=True,
                on_wait=partial(on_wait, "training"),
            )
        except StoppedByTask as at:
            run.stop(at)
            break
        began = time.perf_counter()
        row_is_due = table.row_is_due(envs.steps)
        batch = learner.prepare(rollout, diagnosed=row_is_due or learner.adapts)
        record = learner.update(batch, progress)
        if rollout.reported_costs is not None:
            record["mean_cost"] = rollout.mean_cost
        run.updates_made += 1
        run.diverged_because = _what_is_not_finite(record, learner)
        table.add(record)
        if run.diverged_because is None and (row_is_due or learner.adapts):
            diagnostics = learner.diagnose(batch)
            if row_is_due:
                table.close_row(envs.steps, diagnostics)
            if learner.adapts:
                learner.adapt(record | diagnostics | _of_update(rollout, diagnostics, envs.steps / steps))
        learner.observe(rollout)
        seconds["learning"] += time.perf_counter() - began
        seconds["acting"] += rollout.acting_seconds
        seconds["stepping"] += rollout.stepping_seconds
        if run.diverged_because is not None:
            run.diverged_at = envs.steps
            break
        on_update(envs.steps, envs.episodes)
    seconds["training"] = time.perf_counter() - training_began
    seconds["compiling"] = learner.compiling_seconds
    seconds["learning"] -= learner.compiling_seconds
    run.compiled = learner.compiled
    run.steps_taken = envs.steps
    run.episodes = envs.episodes.copy()  # without those that are finished later
    return run


def use_one_thread() -> None:
    """Keep this process to one thread.

    Cells run in parallel, not the operations of a cell. With more threads, sums would have another order and so other
    results.
    """
    torch.set_num_threads(1)
    threadpool_limits(1)


def check_evaluations(kinds: Sequence[str]) -> None:
    """Raise ValueError, which names the valid kinds of evaluation, where one of `kinds` is not valid."""
    for kind in kinds:
        if kind not in EVALUATIONS:
            raise ValueError(f"there is no evaluation {kind!r}; valid are: {', '.join(EVALUATIONS)}")


def finish_open_episodes(
    envs: VectorEnv, learner: Learner, rng: np.random.Generator, longest: int, on_wait: OnWait
) -> list[Episode]:
    """Finish the episodes that are open, with sampled actions and without learning; returns them as `Run` has them.

    On a task without a time limit an episode is cut after `longest` steps, and at once if it is as long already. Raises
    StoppedByTask as VectorEnv.step does.
    """
    envs.limit_episodes(longest)
    opened = envs.open_episodes()
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
    return [finished[i]._replace(step=episode.step) for i, episode in opened.items()]


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
    each variant has as many; the i-th return and length are then those of variant i mod K.

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
        played = envs.episodes
        if task.variants:  # in the order of the environments, turn by turn, instead of the order of the ends
            of_env: list[list[Episode]] = [[] for _ in range(together)]
            for i, episode in zip(envs.episode_envs, played, strict=True):
                of_env[i].append(episode)
            played = [of_env[i % together][i // together] for i in range(count)]
        result[kind] = Evaluation([e.return_ for e in played], [e.length for e in played])
    return result


class UpdateTable:
    """The update table: a row per 1/200 of the budget, with means over the updates in it.

    An update of more than 1/200 of the budget has a row of its own. `budget` is in environment steps.
    """

    def __init__(self, budget: int) -> None:
        self.rows: list[dict[str, float]] = []
        self._budget = budget
        self._records: list[dict[str, float]] = []
        self._closed_at = 0

    def add(self, record: dict[str, float]) -> None:
        """Add an update's scalars, by name, to the present row."""
        self._records.append(record)

    def row_is_due(self, step: int) -> bool:
        """Whether `step` is in a later interval of the budget than the end of the last row."""
        return self._interval(step) > self._interval(self._closed_at)

    def close_row(self, step: int, diagnostics: dict[str, float]) -> None:
        """End the row at `step`, with the means of its updates and with the diagnostics of the latest update."""
        means = {name: float(np.mean([r[name] for r in self._records])) for name in self._records[0]}
        self.rows.append({"step": step, "updates": len(self._records), **means, **diagnostics})
        self._records, self._closed_at = [], step

    def _interval(self, step: int) -> int:
        return step * RECORDED_ROWS // self._budget  # integers, so that exactly the last step begins the last interval


def _of_update(rollout: Rollout, diagnostics: Mapping[str, float], progress: float) -> dict[str, float]:
    """The scalars that `Hooks.after_update` gets besides those that are recorded."""
    return {"kl": diagnostics["approx_kl"], "mean_cost": rollout.mean_cost, "progress": min(progress, 1.0)}


def _length(algorithm: Hooks, steps_left: int) -> tuple[int | None, int | None]:
    """(steps, episodes) of each environment in the next rollout; one of the two is None."""
    if algorithm.whole_episodes:
        return None, algorithm.rollout_length
    return min(algorithm.rollout_length, math.ceil(steps_left / algorithm.num_envs)), None


def _what_is_not_finite(record: dict[str, float], learner: Learner) -> str | None:
    """Which scalars of the record, or else whether the parameters, are not finite; None where all are finite."""
    names = [name for name, value in record.items() if not math.isfinite(value)]
    if not names and not learner.is_finite():
        names = ["parameters"]
    return f"not finite: {', '.join(names)}" if names else None
