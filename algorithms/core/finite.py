"""Which numbers of a task can be learned from: those that are finite in single precision."""

import numpy as np

from algorithms.core.task import Transition

LARGEST = float(np.finfo(np.float32).max)  # what is learned from is in single precision
SUM_OF_SQUARES = LARGEST**2  # a sum of squares below it has no unusable number


def sum_of_squares(numbers: np.ndarray) -> float:
    """The sum of the squares of all numbers. It takes half a microsecond."""
    flat = numbers.ravel()
    return float(flat.dot(flat))


def unusable(numbers: np.ndarray) -> np.ndarray:
    """bool, as `numbers`: NaN, infinite, or too large for single precision."""
    return np.asarray(~(np.abs(numbers) <= LARGEST))


def first_unusable(transition: Transition, returns: np.ndarray, costs: np.ndarray) -> tuple[int, str] | None:
    """The first environment of a transition that gave an unusable number, and what it gave, such as "NaN as reward".

    `returns` and `costs` (float64 [N]) are the sums over the episode until now. None where all numbers are usable.
    """
    found = []
    for name, given, sums in (
        ("reward", transition.rewards, returns),
        ("cost", transition.costs, costs),
        ("reward of a part", transition.part_rewards, None),
        ("observation", transition.next_observations, None),
    ):
        if given is not None:
            found += [(i, f"{value} as {name}") for i, value in _rows(given)]
        if given is not None and sums is not None:
            found += [(i, f"{name}s whose sum over an episode is {value}") for i, value in _rows(sums)]
    return min(found, key=lambda pair: pair[0], default=None)


def unusable_observation(observations: np.ndarray) -> tuple[int, str] | None:
    """The first row of the observations (float32 [k, D]) of a reset with an unusable number, and what it is."""
    return next(((i, f"{value} as observation at a reset") for i, value in _rows(observations)), None)


def _rows(numbers: np.ndarray) -> list[tuple[int, str]]:
    """Each row of [N] or [N, …] that has an unusable number, and the first such number of the row as text."""
    table = numbers.reshape(len(numbers), -1)
    wrong = unusable(table)
    return [(i, _as_text(float(table[i][wrong[i]][0]))) for i in np.flatnonzero(wrong.any(axis=1)).tolist()]


def _as_text(value: float) -> str:
    return "NaN" if np.isnan(value) else f"{value:g}"
