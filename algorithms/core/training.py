"""The only training loop: collect, learn, observe, until the step budget is used; then evaluate."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from .acting import Actor
from .algorithm import OnUpdate, OnWait
from .evaluation import check_evaluations, evaluate, finish_open_episodes
from .normalizer import RunningNormalizer
from .rollout import Acts, Rollout, collect
from .run import (
    EPISODES_MEANWHILE,
    EVALUATIONS,
    LONGEST_EPISODE,
    Checkpoint,
    EvaluationEpisode,
    OnBoundary,
    Run,
    Trained,
    UpdateTable,
)
from .task import (
    CannotResume,
    Snapshot,
    StoppedByTask,
    Task,
    global_generators,
    global_generators_kept,
    restore_global_generators,
)
from .vector_env import VectorEnv

MEANWHILE = 6  # of the children of a seed, that of evaluations in the middle of a training; see also run_check.GLOBAL


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


class Collecting(Protocol):
    """The settings of an algorithm that say how much is collected for an update; `hooks.Hooks` documents them."""

    @property
    def num_envs(self) -> int:
        """Environments that are stepped together."""

    @property
    def rollout_length(self) -> int:
        """Steps of each environment, or its complete episodes where `whole_episodes`."""

    @property
    def whole_episodes(self) -> bool:
        """Whether complete episodes are collected."""


class Learner(Protocol):
    """The attributes and methods of a learner that the training loop uses.

    `on_policy.Learner` and `off_policy_learner.OffPolicyLearner` document them. What `prepare` makes of a rollout is
    the learner's own affair: a batch, or a replay.
    """

    normalizer: RunningNormalizer

    @property
    def policy(self) -> Actor:
        """What learns, and acts in an evaluation."""

    @property
    def behaviour(self) -> Acts:
        """What acts in a rollout."""

    @property
    def compiled(self) -> bool:
        """Whether the learner runs machine code."""

    @property
    def compiling_seconds(self) -> float:
        """The seconds spent on compiling until now."""

    @property
    def adapts(self) -> bool:
        """Whether `adapt` is to be called after every update."""

    def prepare(self, rollout: Rollout, *, diagnosed: bool) -> Any:
        """Make of a rollout what `update` learns from; `diagnosed`: whether `diagnose` may be called."""

    def update(self, batch: Any, progress: float) -> dict[str, float]:
        """Learn from what was prepared; returns the update's scalars by name, and none where nothing is learned yet."""

    def diagnose(self, batch: Any) -> dict[str, float]:
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

    def snapshot(self) -> Snapshot:
        """All that later updates depend on."""

    def restore(self, snapshot: Snapshot) -> None:
        """Go on as the learner whose `snapshot` this is."""


def train(
    algorithm: Collecting,
    make_learner: Callable[[VectorEnv, Seeds], Learner] | None = None,
    task: Task | None = None,
    seed: int | None = None,
    steps: int | None = None,
    *,
    checkpoint_fractions: Sequence[float] = (),
    evaluations: Sequence[str] = EVALUATIONS,
    evaluate_every: int | None = None,
    evaluate_episodes: int = EPISODES_MEANWHILE,
    on_update: OnUpdate = lambda steps, episodes: None,
    on_wait: OnWait = lambda what, steps, episodes: None,
    on_boundary: OnBoundary = lambda run, pause: None,
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

    With `evaluate_every`, the learner is evaluated at the end of the update in which each multiple of so many steps is
    reached: `evaluate_episodes` episodes (of K variants the next multiple of K) of each kind, on environments and with
    random numbers of their own. These steps do not count, and all else is as without them.

    `on_boundary` is called before every update and after the last one with the run until there, which is not to be
    changed, and with a function. The function returns what the training has made until there and all that the rest
    depends on, or raises CannotResume with the reason why it cannot. `on_trained` gets what was trained before it is
    evaluated. Given back as `trained`, with all other arguments as they were, on the same kind of machine, the training
    goes on from there or is not done again, and the result is the same.

    Raises ValueError, before any training, for what makes no learner, for what is no Task, for a seed that is not a
    whole number from 0 and steps, `evaluate_every` and `evaluate_episodes` that are not one from 1, for a fraction that
    is not in [0, 1], and for an unknown kind in `evaluations`; CannotResume where the training cannot go on from
    `trained`.
    """
    check_evaluations(evaluations)
    if not callable(make_learner):
        raise ValueError(
            f"make_learner must be a function that makes a learner, not {make_learner!r}; an algorithm is trained "
            "by its own method: PPO().train(Task('CartPole-v1'), seed=0, steps=100_000)"
        )
    if not isinstance(task, Task):
        raise ValueError(f"task must be a Task, such as Task('CartPole-v1'), not {task!r}")
    whole_numbers = [("seed", seed, 0), ("steps", steps, 1), ("evaluate_episodes", evaluate_episodes, 1)]
    whole_numbers += [] if evaluate_every is None else [("evaluate_every", evaluate_every, 1)]
    for name, value, least in whole_numbers:
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
    evaluated = partial(evaluate, kinds=evaluations, num_envs=algorithm.num_envs, longest=longest, on_wait=on_wait)

    def evaluate_meanwhile(step: int, number: int) -> list[EvaluationEpisode]:
        child = np.random.SeedSequence(seed, spawn_key=(MEANWHILE, number))
        with global_generators_kept():
            found = evaluated(learner, task, child, episodes=evaluate_episodes)
        return [
            EvaluationEpisode(step, kind, return_, length)
            for kind, of_kind in found.items()
            for return_, length in zip(of_kind.returns, of_kind.lengths, strict=True)
        ]

    with closing(VectorEnv(task.in_training, algorithm.num_envs, seeds.environments)) as envs:
        learner = make_learner(envs, seeds)
        if trained is not None and trained.ended:
            run = trained.run
            learner.load(trained.state)
        else:
            rng = np.random.default_rng(seeds.acting)
            training = _Training(algorithm, learner, envs, rng, steps)
            if trained is not None:
                training.restore(trained)
            run = _learn(
                training,
                sorted(checkpoint_fractions),
                _Meanwhile(evaluate_every, evaluate_meanwhile),
                on_update,
                on_wait,
                on_boundary,
            )
            if run.diverged_at is None:
                began = time.perf_counter()
                try:
                    run.open_episodes, further = finish_open_episodes(envs, learner, rng, longest, on_wait)
                    run.true_returns += further
                except StoppedByTask as at:
                    run.stop(at)
                run.seconds["evaluating"] += time.perf_counter() - began
    if run.diverged_at is None:
        if (trained is None or not trained.ended) and on_trained is not None:
            on_trained(Trained(run, learner.state()))
        began = time.perf_counter()
        try:
            run.evaluation = evaluated(learner, task, seeds.evaluation)
        except StoppedByTask as at:
            run.stop(at)
        run.seconds["evaluating"] += time.perf_counter() - began
    return run


class _Training:
    """A training at the end of an update, or at its beginning: what it is done with, and what it has made until there.

    `rng` draws the actions; `steps` is the budget.
    """

    def __init__(
        self, algorithm: Collecting, learner: Learner, envs: VectorEnv, rng: np.random.Generator, steps: int
    ) -> None:
        self.algorithm, self.learner, self.envs, self.rng, self.steps = algorithm, learner, envs, rng, steps
        if algorithm.whole_episodes:
            envs.limit_episodes(min(math.ceil(steps / algorithm.num_envs), LONGEST_EPISODE))
        self.table = UpdateTable(steps)
        self.run = Run(envs.episodes, self.table.rows, [], None, 0, 0)
        self._began = time.perf_counter()
        self._before = dict(self.run.seconds)  # that earlier processes have spent on this training

    def seconds(self) -> dict[str, float]:
        """The seconds until now by phase; `run.seconds` has the compiling within the learning, and no training."""
        seconds, before = self.run.seconds, self._before
        within = time.perf_counter() - self._began - (seconds["evaluating"] - before["evaluating"])
        compiling = self.learner.compiling_seconds
        return seconds | {
            "learning": seconds["learning"] - compiling,
            "compiling": before["compiling"] + compiling,
            "training": before["training"] + within,
        }

    def pause(self) -> Trained:
        """What the training has made until now and all that the rest depends on; raises CannotResume."""
        if not hasattr(self.learner, "snapshot"):
            raise CannotResume(f"{type(self.learner).__name__} has no method snapshot")
        state = {
            "environments": self.envs.snapshot(),
            "learner": self.learner.snapshot(),
            "acting": self.rng.bit_generator.state,
            "table": self.table.snapshot(),
            "global_generators": global_generators(),
        }
        return Trained(self.run.copy(self.seconds()), state, ended=False)

    def restore(self, paused: Trained) -> None:
        """Go on from what `pause` returned. Raises CannotResume where it is of something else."""
        run, state = paused.run.copy(paused.run.seconds), paused.state
        try:
            self.envs.restore(state["environments"], run.episodes)
            self.learner.restore(state["learner"])
            self.rng.bit_generator.state = state["acting"]
            self.table.restore(state["table"], run.updates)
            restore_global_generators(state["global_generators"])
        except CannotResume:
            raise
        except Exception as error:  # whatever the state of something else makes these raise
            what = " ".join(f"{type(error).__name__}: {error}".split())
            raise CannotResume(f"the state that was kept is not that of this training ({what})") from error
        self.run, self._before = run, dict(run.seconds)
        self._began = time.perf_counter()


@dataclass(frozen=True)
class _Meanwhile:
    """The evaluations in the middle of a training: `evaluate` gets the step and the evaluation's number."""

    every: int | None  # steps; None: there are none
    evaluate: Callable[[int, int], list[EvaluationEpisode]]

    def __call__(self, run: Run, step: int) -> None:
        """Add an evaluation to the run where one is due."""
        if self.every is None:
            return
        last = run.evaluations[-1].step if run.evaluations else 0
        if step // self.every > last // self.every:
            began = time.perf_counter()
            try:
                # Every evaluation has random numbers of its own, by the multiple of `every` that it is due for.
                run.evaluations += self.evaluate(step, step // self.every)
            finally:
                run.seconds["evaluating"] += time.perf_counter() - began


def _learn(
    training: _Training,
    fractions: list[float],
    evaluate_meanwhile: _Meanwhile,
    on_update: OnUpdate,
    on_wait: OnWait,
    on_boundary: OnBoundary,
) -> Run:
    """Collect, learn and observe until the budget is used; `fractions` ascend. Returns the run until there."""
    algorithm, learner, envs, rng = training.algorithm, training.learner, training.envs, training.rng
    steps, table, run = training.steps, training.table, training.run
    seconds = run.seconds
    fractions = fractions[len(run.checkpoints) :]

    while True:
        while fractions and envs.steps >= fractions[0] * steps:
            run.checkpoints.append(Checkpoint(fractions.pop(0), envs.steps, learner.state()))
        try:
            evaluate_meanwhile(run, envs.steps)
        except StoppedByTask as at:
            run.steps_taken = envs.steps
            run.stop(at)
            break
        on_boundary(run, training.pause)
        if envs.steps >= steps:
            break
        progress = envs.steps / steps
        length, episodes = _length(algorithm, steps - envs.steps)
        ended = len(envs.episodes)
        try:
            rollout = collect(
                envs,
                learner.behaviour,
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
        if record:
            if rollout.reported_costs is not None:
                record["mean_cost"] = rollout.mean_cost
                if costs := envs.episode_costs[ended:]:
                    record["episode_cost"] = float(np.mean(costs))
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
    run.seconds = training.seconds()
    run.compiled = learner.compiled
    run.steps_taken = envs.steps
    run.episodes = envs.episodes.copy()  # without those that are finished later
    run.true_returns = envs.episode_true_returns.copy() if envs.reports_true_rewards else []
    return run


def use_one_thread() -> None:
    """Keep this process to one thread.

    Cells run in parallel, not the operations of a cell. With more threads, sums would have another order and so other
    results.
    """
    torch.set_num_threads(1)
    threadpool_limits(1)


def _of_update(rollout: Rollout, diagnostics: Mapping[str, float], progress: float) -> dict[str, float]:
    """The scalars that `Hooks.after_update` gets besides those that are recorded."""
    return {"kl": diagnostics["approx_kl"], "mean_cost": rollout.mean_cost, "progress": min(progress, 1.0)}


def _length(algorithm: Collecting, steps_left: int) -> tuple[int | None, int | None]:
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
