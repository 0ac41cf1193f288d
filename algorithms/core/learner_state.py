"""What is kept of a learner, on-policy or off-policy: the arrays of a checkpoint, and what it goes on with."""

from collections.abc import Mapping

import numpy as np

from .task import CannotResume

LEARNED = ("vector", "mean", "square", "step_count")  # what a network's gradient steps change, as `tensors` has it
STATISTICS = ("observation_statistics", "reward_statistics")  # the names of the statistics in a checkpoint


class InvalidCheckpoint(ValueError):
    """Raised where the arrays of a checkpoint do not fit a learner's networks or are not finite."""


def check_code(expected: list[bool], found: list[bool]) -> None:
    """Raise CannotResume where other gradient steps are machine code than before, whose last digits differ."""
    if found != expected:
        raise CannotResume(
            f"gradient steps {'were' if any(expected) else 'were not'} machine code when the training was "
            f"interrupted, and {'are' if any(found) else 'are not'} now, so that numbers would differ"
        )


def checked_parts(
    state: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]
) -> dict[str, dict[str, np.ndarray]]:
    """The arrays of a checkpoint by part and name; `expected` is the state of the learner that is to have them.

    Raises InvalidCheckpoint, with a sentence, where the arrays are of other networks or not finite.
    """
    for name in [*expected, *state]:
        if name not in state or name not in expected:
            lacking = "the checkpoint" if name not in state else "this task's learner"
            raise InvalidCheckpoint(f"{lacking} has no {name!r}: the networks differ")
        if state[name].shape != expected[name].shape:
            raise InvalidCheckpoint(
                f"{name!r} of the checkpoint has the shape {state[name].shape}, not {expected[name].shape}: "
                "the networks differ"
            )
        if not (np.issubdtype(state[name].dtype, np.floating) and np.isfinite(state[name]).all()):
            raise InvalidCheckpoint(f"{name!r} of the checkpoint does not consist of finite numbers")
    parts: dict[str, dict[str, np.ndarray]] = {}
    for name, array in state.items():
        part, _, key = name.partition("/")
        parts.setdefault(part, {})[key] = array
    return parts
