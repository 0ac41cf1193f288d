"""Whether an algorithm's minibatches fit its rollouts: the advantage of one step alone cannot be normalised."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from .algorithm import InvalidSetting
from .hooks import Hooks

SIZES = ("num_envs", "rollout_length", "minibatch_size", "normalize_advantages")  # the settings that decide it


def has_one_step(num_envs: int, rollout_length: int, minibatch_size: int | None, whole_episodes: bool) -> bool:
    """Whether every rollout has a minibatch of a single step, be it the last one.

    The steps of whole episodes are not known before they end: then only a minibatch size of 1 is certain.
    """
    if whole_episodes or minibatch_size == 1:
        return minibatch_size == 1
    steps = num_envs * rollout_length
    return steps == 1 or (minibatch_size is not None and minibatch_size < steps and steps % minibatch_size == 1)


def one_step_among(algorithm: Hooks, searched: Mapping[str, Sequence[Any]]) -> dict[str, Any] | None:
    """The first combination of searched values, by setting, with which advantages would be normalised over one step.

    `searched` has settings of SIZES; the others are those of the algorithm. None where there is no such combination.
    """
    values = {name: searched.get(name, (getattr(algorithm, name),)) for name in SIZES}
    for num_envs, minibatch_size, normalized in itertools.product(
        *(values[name] for name in ("num_envs", "minibatch_size", "normalize_advantages"))
    ):
        for rollout_length in values["rollout_length"] if normalized else ():
            if has_one_step(num_envs, rollout_length, minibatch_size, algorithm.whole_episodes):
                found = dict(zip(SIZES, (num_envs, rollout_length, minibatch_size, normalized), strict=True))
                return {name: found[name] for name in searched}
    return None


def check_minibatches(algorithm: Hooks) -> None:
    """Raise InvalidSetting where advantages are to be normalised over a single step.

    Less its mean, such an advantage is 0, so that nothing would be learned from it.
    """
    a = algorithm
    if not (a.normalize_advantages and has_one_step(a.num_envs, a.rollout_length, a.minibatch_size, a.whole_episodes)):
        return
    sizes = f"num_envs {a.num_envs} × rollout_length {a.rollout_length}"
    if a.minibatch_size == 1:
        what, remedy = "minibatch_size 1 leaves a single step", "a minibatch_size of at least 2"
    elif a.num_envs * a.rollout_length == 1:
        what, remedy = f"{sizes} is a single step", "a longer rollout"
    else:
        what = f"minibatch_size {a.minibatch_size} leaves a single step for the last minibatch of a rollout of {sizes}"
        remedy = "a minibatch_size that divides the rollout"
    raise InvalidSetting(
        f"{type(a).__name__}: {what}, and the advantage of a single step cannot be normalised; "
        f"choose {remedy}, or normalize_advantages: false"
    )


def doubt_about_minibatches(algorithm: Hooks) -> str | None:
    """A sentence where a minibatch is larger than a rollout, so that there is one minibatch of the whole rollout."""
    a = algorithm
    steps = a.num_envs * a.rollout_length
    if a.whole_episodes or a.minibatch_size is None or a.minibatch_size <= steps:
        return None
    return (
        f"minibatch_size {a.minibatch_size} of {type(a).__name__} is more than the {steps} steps of a rollout "
        f"(num_envs {a.num_envs} × rollout_length {a.rollout_length}); every minibatch is the whole rollout"
    )
