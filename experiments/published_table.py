"""A table of a paper that a grid repeats: the paper's numbers, which the page shows beside ours."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from policy_gradient_ladder.core.algorithm import nearest_first

from .checks import GridError, is_number, section
from .keys import PUBLISHED_KEYS


@dataclass(frozen=True)
class PublishedTable:
    """One number for each of some algorithms: a score that the paper averages over tasks and seeds."""

    title: str
    source: str
    scores: dict[str, float]  # by the names of the grid's algorithms
    last_episodes: int  # a run's score is the mean return of so many training episodes at its end
    seeds: int  # of the paper, on each task; as many of the grid's, its first ones, are shown by themselves
    differs: list[str]  # in what the paper's runs are known to differ from these, a sentence each


def read_published_table(
    path: str, data: Any, algorithms: Mapping[str, Collection[str] | None], seeds: tuple[int, ...]
) -> PublishedTable | None:
    """The entry `published_table` of a grid; None where it has none.

    algorithms: by name, the tasks on which each runs, or None where these are all. Raises GridError where a key is
    missing or wrong, a score is of no algorithm of the grid or of one that does not run on all tasks, or the grid has
    fewer seeds than the paper.
    """
    if data is None:
        return None
    keys = section(path, "published_table", data, PUBLISHED_KEYS)
    known = list(algorithms)
    for name, score in keys["scores"].items():
        if name not in known:
            raise GridError(f"{path}: scores of published_table has {name!r}; {nearest_first(name, known)}")
        if algorithms[name] is not None:
            raise GridError(
                f"{path}: scores of published_table has {name!r}, which runs on some of the tasks alone (only), and a "
                "score is the mean over all tasks; leave one of the two out"
            )
        if not is_number(score):
            raise GridError(f"{path}: the score of {name} in published_table must be a number, not {score!r}")
    if not keys["scores"]:
        raise GridError(f"{path}: scores of published_table is empty; give it a number for at least one algorithm")
    if keys["seeds"] > len(seeds):
        raise GridError(
            f"{path}: published_table is over {keys['seeds']} seeds, and the grid has {len(seeds)}; give it as many"
        )
    return PublishedTable(**keys)
