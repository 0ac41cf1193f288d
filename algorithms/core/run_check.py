"""Checks what the `train` of an algorithm returned, whatever trained, before anything of it is written."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from .algorithm import Algorithm, InvalidAlgorithm, where
from .hook_checks import NUMERIC
from .run import (
    EVALUATIONS,
    PHASES,
    Checkpoint,
    Evaluation,
    EvaluationEpisode,
    Run,
    evaluation_episodes,
)
from .saved_policy import SavedPolicy
from .task import StoppedByTask, Task, seed_global_generators
from .vector_env import Episode

GLOBAL = 5  # of the children of a seed, the one after those of `training.Seeds`


def checked_training(
    algorithm: Algorithm, task: Task, seed: int, steps: int, *, evaluations: Sequence[str] = EVALUATIONS, **options: Any
) -> Run:
    """The checked Run of `algorithm.train`, which takes the other arguments; whatever trains, the same is asked of it.

    The global generators are seeded before, and a StoppedByTask that `train` lets through is a run that was stopped.
    """
    seed_global_generators(np.random.SeedSequence(seed, spawn_key=(GLOBAL,)))
    try:
        run = algorithm.train(task, seed, steps, evaluations=evaluations, **options)
    except StoppedByTask as at:
        run = Run.stopped(at)
    return checked_run(run, algorithm, task, evaluations)


class _Wrong(ValueError):
    """What is wrong with a run, as the end of a sentence that begins with the method that returned it."""


def checked_run(run: object, algorithm: Algorithm, task: Task, evaluations: Sequence[str] = EVALUATIONS) -> Run:
    """The Run that `algorithm.train` returned for `task`, with plain numbers and lists in place of NumPy's.

    `evaluations` are the kinds that were asked for. Phases that `seconds` lacks are 0. Raises InvalidAlgorithm, with a
    sentence that names the file, the class and the field, unless

    - steps, lengths and counts are whole numbers; `steps_taken` is at least 1, and nothing is later than that step
    - `episodes` are in the order of their steps, begin before they end, and their returns are finite
    - each kind of evaluation has as many episodes as `evaluation_episodes` says, with finite returns
    - rows of `updates` are as `Run` says, and checkpoints have arrays of numbers
    - `true_returns` are none, or finite and as many as `episodes` and `open_episodes` together
    - `policy` is a SavedPolicy or None, and None in a run that has diverged
    - `evaluations` are in the order of their steps, of a known kind, and their returns are finite
    - a run that has diverged, or that its task has stopped, says why, in `diverged_because`, and has no evaluation;
      only its returns may be infinite, and only where the task has stopped it may `steps_taken` be 0
    """
    try:
        if not isinstance(run, Run):
            raise _Wrong(f"must return a Run (policy_gradient_ladder.core.run), not a {type(run).__name__}")
        return _checked(run, task, evaluations)
    except _Wrong as wrong:
        raise InvalidAlgorithm(f"{where(algorithm)}.train {wrong}") from None


def _checked(run: Run, task: Task, evaluations: Sequence[str]) -> Run:
    stopped = _truth(run.stopped_by_task, "stopped_by_task")
    steps = _whole(run.steps_taken, "steps_taken", low=0 if stopped else 1)
    diverged = run.diverged_at is not None
    if stopped and not diverged:
        raise _Wrong("returned a Run that its task has stopped, without the step in diverged_at")
    if diverged != isinstance(run.diverged_because, str):
        raise _Wrong(
            f"returned a Run with diverged_at {run.diverged_at!r} and diverged_because {run.diverged_because!r}; a run "
            "that has diverged says at which step and, in text, why, and any other run has None in both"
        )
    updates = [_row(row, i, steps) for i, row in enumerate(_items(run.updates, "updates"))]
    _check_order([int(row["step"]) for row in updates], "updates")
    made = _whole(run.updates_made, "updates_made", low=0)
    of_rows = sum(int(row["updates"]) for row in updates)
    if not diverged and of_rows != made:
        raise _Wrong(
            f"returned a Run with updates_made {made}, but its rows of updates are of {of_rows}: the sum of their "
            "'updates' must be updates_made"
        )
    episodes = [_episode(e, i, steps, finite=not diverged) for i, e in enumerate(_items(run.episodes, "episodes"))]
    _check_order([episode.step for episode in episodes], "episodes")
    evaluations_meanwhile = [_meanwhile(e, i, steps) for i, e in enumerate(_items(run.evaluations, "evaluations"))]
    _check_order([episode.step for episode in evaluations_meanwhile], "evaluations")
    open_episodes = [
        _episode(e, i, steps, finite=True, name="open_episodes")
        for i, e in enumerate(_items(run.open_episodes, "open_episodes"))
    ]
    true_returns = _items(run.true_returns, "true_returns")
    if len(true_returns) not in (0, count := len(episodes) + len(open_episodes)):
        raise _Wrong(
            f"returned a Run with {len(true_returns)} true_returns; expected are {count}, one for each episode"
        )
    return Run(
        episodes=episodes,
        updates=updates,
        checkpoints=[_checkpoint(c, i, steps) for i, c in enumerate(_items(run.checkpoints, "checkpoints"))],
        evaluation=_evaluation(run.evaluation, task, evaluations, diverged),
        steps_taken=steps,
        updates_made=made,
        compiled=bool(run.compiled),
        diverged_at=_whole(run.diverged_at, "diverged_at", low=0, high=steps) if diverged else None,
        diverged_because=run.diverged_because,
        stopped_by_task=stopped,
        open_episodes=open_episodes,
        true_returns=[_number(x, f"true_returns[{i}]", finite=not diverged) for i, x in enumerate(true_returns)],
        policy=_policy(run.policy, diverged and not stopped),
        evaluations=evaluations_meanwhile,
        seconds=_seconds(run.seconds),
    )


def _meanwhile(episode: Any, i: int, steps: int) -> EvaluationEpisode:
    """An episode of an evaluation in the middle of a training."""
    name = f"evaluations[{i}]"
    if not isinstance(episode, tuple) or len(episode) != len(EvaluationEpisode._fields):
        raise _Wrong(f"returned a Run whose {name} is {episode!r}; expected is an EvaluationEpisode")
    step, kind, return_, length = episode
    if kind not in EVALUATIONS:
        raise _Wrong(f"returned a Run whose {name} is of the kind {kind!r}; valid are: {', '.join(EVALUATIONS)}")
    return EvaluationEpisode(
        _whole(step, f"{name}.step", low=0, high=steps),
        kind,
        _number(return_, f"{name}.return_", finite=True),
        _whole(length, f"{name}.length", low=1),
    )


def _episode(episode: Any, i: int, steps: int, *, finite: bool, name: str = "episodes") -> Episode:
    """An episode; a tuple without the start has that of a single environment."""
    name = f"{name}[{i}]"
    if not isinstance(episode, tuple) or len(episode) not in (len(Episode._fields) - 1, len(Episode._fields)):
        raise _Wrong(f"returned a Run whose {name} is {episode!r}; expected is an Episode: step, return_ and length")
    step, return_, length, *start = episode
    step = _whole(step, f"{name}.step", low=1, high=steps)
    begun = [_whole(x, f"{name}.start", low=0) for x in start]
    if begun and begun[0] >= step:
        raise _Wrong(f"returned a Run whose {name}.start is {begun[0]}; expected is less than its step, {step}")
    return Episode(
        step, _number(return_, f"{name}.return_", finite=finite), _whole(length, f"{name}.length", low=1), *begun
    )


def _row(row: Any, i: int, steps: int) -> dict[str, float]:
    """A row of the update table; a number that is not finite is a quantity that does not exist."""
    name = f"updates[{i}]"
    if not isinstance(row, Mapping) or not {"step", "updates"} <= row.keys():
        raise _Wrong(f"returned a Run whose {name} is {row!r}; expected is a mapping with 'step' and 'updates'")
    for key in row:
        if not isinstance(key, str) or not key.isidentifier():
            raise _Wrong(f"returned a Run whose {name} has {key!r}; a name consists of letters, digits and _")
    return {key: _number(value, f"{name}[{key!r}]", finite=False) for key, value in row.items()} | {
        "step": _whole(row["step"], f"{name}['step']", low=0, high=steps),
        "updates": _whole(row["updates"], f"{name}['updates']", low=0),
    }


def _checkpoint(checkpoint: Any, i: int, steps: int) -> Checkpoint:
    name = f"checkpoints[{i}]"
    if not isinstance(checkpoint, Checkpoint) or not isinstance(checkpoint.state, Mapping):
        raise _Wrong(f"returned a Run whose {name} is no Checkpoint with its arrays by name")
    state = {}
    for key, value in checkpoint.state.items():
        if not isinstance(key, str) or not key or key == "file":  # np.savez has an argument of that name
            raise _Wrong(f"returned a Run whose {name}.state has the name {key!r}; an array needs another name")
        state[key] = _array(value, f"{name}.state[{key!r}]")
    fraction = _number(checkpoint.fraction, f"{name}.fraction", finite=True)
    return Checkpoint(fraction, _whole(checkpoint.step, f"{name}.step", low=0, high=steps), state)


def _policy(policy: Any, diverged: bool) -> SavedPolicy | None:
    if policy is not None and (diverged or not isinstance(policy, SavedPolicy)):
        expected = (
            "None in a run that has diverged" if diverged else "a SavedPolicy (algorithms.core.saved_policy) or None"
        )
        raise _Wrong(f"returned a Run whose policy is a {type(policy).__name__}; expected is {expected}")
    return policy


def _evaluation(found: Any, task: Task, evaluations: Sequence[str], diverged: bool) -> dict[str, Evaluation] | None:
    if diverged:
        if found is not None:
            raise _Wrong("returned a Run that has diverged, with an evaluation; its evaluation must be None")
        return None
    if not isinstance(found, Mapping):
        raise _Wrong(f"returned a Run whose evaluation is a {type(found).__name__}; {_kinds(evaluations)}")
    for kind in [*(kind for kind in evaluations if kind not in found), *(k for k in found if k not in EVALUATIONS)]:
        how = "lacks" if kind in evaluations else "has"
        raise _Wrong(f"returned a Run whose evaluation {how} the kind {kind!r}; {_kinds(evaluations)}")
    count = evaluation_episodes(task)
    result = {}
    for kind, evaluation in found.items():
        name = f"evaluation[{kind!r}]"
        if not isinstance(evaluation, Evaluation):
            raise _Wrong(f"returned a Run whose {name} is a {type(evaluation).__name__}, not an Evaluation")
        lists = {f.name: _items(getattr(evaluation, f.name), f"{name}.{f.name}") for f in fields(evaluation)}
        for of, values in lists.items():
            if len(values) != count and (values or of in ("returns", "lengths")):
                raise _Wrong(f"returned a Run with {len(values)} {of} in {name}; expected are {count}")
        lengths = [_whole(x, f"{name}.lengths[{i}]", low=1) for i, x in enumerate(lists.pop("lengths"))]
        numbers = {
            of: [_number(x, f"{name}.{of}[{i}]", finite=True) for i, x in enumerate(values)]
            for of, values in lists.items()
        }
        result[kind] = Evaluation(lengths=lengths, **numbers)
    return result


def _kinds(evaluations: Sequence[str]) -> str:
    return f"expected is an Evaluation by kind: {', '.join(evaluations) or 'none'}"


def _seconds(seconds: Any) -> dict[str, float]:
    if not isinstance(seconds, Mapping):
        raise _Wrong(f"returned a Run whose seconds are a {type(seconds).__name__}; expected are seconds by phase")
    result = {str(phase): _number(value, f"seconds[{phase!r}]", finite=True) for phase, value in seconds.items()}
    result = dict.fromkeys(PHASES, 0.0) | result
    for phase, value in result.items():
        if value < 0:
            raise _Wrong(f"returned a Run whose seconds[{phase!r}] is {value}; no time is negative")
    if 0 < result["training"] <= result["compiling"] or (result["compiling"] and not result["training"]):
        raise _Wrong("returned a Run whose seconds['compiling'] are not less than its seconds['training']")
    return result


def _check_order(steps: Sequence[int], name: str) -> None:
    for i, (before, after) in enumerate(itertools.pairwise(steps), start=1):
        if after < before:
            raise _Wrong(
                f"returned a Run whose {name}[{i}] is of step {after}, after one of step {before}; they must be in the "
                "order of their steps"
            )


def _items(value: Any, name: str) -> list[Any]:
    """A list, a tuple or an array as a list."""
    if isinstance(value, np.ndarray) and value.ndim == 1:
        return list(value)
    if not isinstance(value, list | tuple):
        raise _Wrong(f"returned a Run whose {name} is a {type(value).__name__}; expected is a list")
    return list(value)


def _whole(value: Any, name: str, *, low: int, high: float = math.inf) -> int:
    value = _scalar(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _Wrong(f"returned a Run whose {name} is {value!r}; expected is a whole number")
    if not low <= value <= high:
        limit = f"at least {low}" if value < low else f"at most {high}, its steps_taken"
        raise _Wrong(f"returned a Run whose {name} is {value}; expected is {limit}")
    return int(value)


def _truth(value: Any, name: str) -> bool:
    value = _scalar(value)
    if not isinstance(value, bool):
        raise _Wrong(f"returned a Run whose {name} is {value!r}; expected is True or False")
    return value


def _number(value: Any, name: str, *, finite: bool) -> float:
    value = _scalar(value)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _Wrong(f"returned a Run whose {name} is {value!r}; expected is a number")
    if finite and not math.isfinite(value):
        raise _Wrong(f"returned a Run whose {name} is {float(value)}; expected is a finite number")
    return float(value)


def _scalar(value: Any) -> Any:
    """A number of NumPy or Torch as Python's; anything else as it is."""
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value


def _array(value: Any, name: str) -> np.ndarray:
    try:
        array = np.asarray(value)
    except Exception:  # whatever a foreign type does, such as a tensor with a gradient
        array = np.empty(0, object)
    if array.dtype.kind not in NUMERIC:
        raise _Wrong(f"returned a Run whose {name} is a {type(value).__name__}; expected is an array of numbers")
    return array
