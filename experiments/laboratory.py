"""The probes that a grid's `probes` and `quality` ask for, and what is wrong with those that cannot be made."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from policy_gradient_ladder.core.algorithm import nearest_first, whole
from policy_gradient_ladder.core.batch import VALUE
from policy_gradient_ladder.core.policy_gradient import PolicyGradient
from policy_gradient_ladder.core.spaces import action_parts
from policy_gradient_ladder.core.task import Task, close, make_env

from . import exact
from .cells import INITIALISATION, GradientProbe, GridAlgorithm, GridTask, Probe, QualityProbe
from .checks import GridError, section
from .laboratory_keys import MOST_BLOCKS, PROBE_KEYS, PROBE_TASK_KEYS, QUALITY_KEYS


@dataclass(frozen=True)
class Policies:
    """The policies that a grid trains and keeps: of these a probe may be."""

    path: str  # of the grid, as messages name it
    seeds: tuple[int, ...]
    checkpoints: tuple[float, ...]
    tasks: Mapping[str, GridTask]
    algorithms: Mapping[str, GridAlgorithm]

    def check_source(self, key: str, source: str) -> None:
        """Raise GridError where the grid's `key` has a source that has no policy to measure at."""
        if source not in self.algorithms:
            raise GridError(
                f"{self.path}: source of {key} is {source!r}; {nearest_first(source, list(self.algorithms))}"
            )
        if not issubclass(self.algorithms[source].algorithm, PolicyGradient):
            raise GridError(
                f"{self.path}: source of {key} is {source!r}, which is no PolicyGradient, so it has no policy to "
                "measure at"
            )

    def times(self, key: str, keys: Mapping[str, Any]) -> list[tuple[int, float]]:
        """Each seed with each fraction of the grid's `key`; raises GridError where no run has such a checkpoint."""
        for name, known, what in (
            ("seeds", self.seeds, "the grid's seeds"),
            ("fractions", self.checkpoints, "checkpoints"),
        ):
            for value in keys[name]:
                if value not in known:
                    raise GridError(
                        f"{self.path}: {name} of {key} has {value!r}, which is not among {what}, {list(known)}"
                    )
        return [(seed, fraction) for seed in keys["seeds"] for fraction in keys["fractions"]]

    def check_task(self, key: str, source: str, task: str) -> None:
        """Raise GridError where the laboratory cannot measure a source's gradients on a task."""
        if task not in self.tasks:
            raise GridError(
                f"{self.path}: {key} has {task!r}, no task of the grid; {nearest_first(task, list(self.tasks))}"
            )
        if not self.algorithms[source].runs_on(task):
            raise GridError(f"{self.path}: tasks of {key} has {task!r}, on which their source {source!r} does not run")
        if task in exact.PROBLEMS:
            raise GridError(
                f"{self.path}: tasks of {key} has {task!r}; exact problems are probed by "
                "'probes: {exact: {batch_size: …}}'"
            )
        of_grid: Task = self.tasks[task].task
        env = make_env(of_grid)
        close(env)
        for has, what in (
            (action_parts(env.action_space), "actions with several parts"),
            (of_grid.variants, "variants"),
        ):
            if has:
                raise GridError(
                    f"{self.path}: tasks of {key} has {of_grid.label!r}, which has {what}; the laboratory takes no "
                    "such task"
                )


def read_probes(policies: Policies, data: Any) -> tuple[Probe, ...]:
    """The probes of the gradient laboratory that a grid's `probes` asks for. Raises GridError."""
    keys = section(policies.path, "probes", data, PROBE_KEYS)
    source = keys["source"]
    policies.check_source("probes", source)
    times = policies.times("probes", keys)
    sizes = {}
    for task, entry in keys["tasks"].items():
        policies.check_task("probes", source, task)
        sizes[task] = section(policies.path, f"probes on {task}", entry, PROBE_TASK_KEYS)
    shared = {"batches": keys["batches"], "gae_lambdas": tuple(keys["gae_lambdas"])}
    probes = [GradientProbe(task, source, *time, **sizes[task], **shared) for task in sizes for time in times]
    if keys["exact"] is not None:
        size = section(policies.path, "exact of probes", keys["exact"], {"batch_size": PROBE_TASK_KEYS["batch_size"]})
        probes += [
            GradientProbe(problem, INITIALISATION, seed, 0.0, **size, fit_episodes=0, **shared)
            for problem in exact.PROBLEMS
            for seed in keys["seeds"]
        ]
    return tuple(probes)


def read_quality(policies: Policies, data: Any, others: tuple[Probe, ...]) -> tuple[Probe, ...]:
    """The probes of gradient estimates that a grid's `quality` asks for; `others` are the grid's other probes.

    Raises GridError.
    """
    path = policies.path
    keys = section(path, "quality", data, QUALITY_KEYS)
    for source, tasks in keys["sources"].items():
        policies.check_source("quality", source)
        _check_estimates(path, source, policies.algorithms[source].algorithm)
        for task in tasks:
            policies.check_task("quality", source, task)
    pairs = tuple(sorted(whole(size) for size in keys["pairs"]))
    if keys["reference_pairs"] % pairs[-1]:
        raise GridError(
            f"{path}: reference_pairs of quality is {keys['reference_pairs']:,}; it must be a multiple of the largest "
            f"of its pairs, {pairs[-1]:,}"
        )
    if keys["reference_pairs"] > MOST_BLOCKS * pairs[-1]:
        raise GridError(
            f"{path}: reference_pairs of quality is {keys['reference_pairs']:,}; it may be at most {MOST_BLOCKS} times "
            f"the largest of its pairs, {pairs[-1]:,}"
        )
    shared = {"pairs": pairs} | {name: whole(keys[name]) for name in ("estimates", "reference_pairs", "fit_pairs")}
    probes = tuple(
        QualityProbe(task, source, *time, **shared)
        for source, tasks in keys["sources"].items()
        for task in tasks
        for time in policies.times("quality", keys)
    )
    taken = {probe.directory for probe in others}
    for probe in probes:
        if probe.directory in taken:
            raise GridError(
                f"{path}: quality and probes both have the policy of {probe.source} on {probe.task} with seed "
                f"{probe.seed} at {probe.fraction:g}; leave it out of one of them"
            )
    return probes


def _check_estimates(path: str, source: str, algorithm: type[PolicyGradient]) -> None:
    """Raise GridError where an algorithm does not learn from a fixed number of pairs with a value function."""
    problem = None
    if algorithm.whole_episodes:
        problem = "which learns from whole episodes; the quality of estimates is measured for a number of pairs"
    elif set(algorithm.critic_kinds()) != {VALUE}:
        problem = "which does not have V(s) as its only critic; the quality of estimates is measured with V(s)"
    if problem is not None:
        raise GridError(f"{path}: source of quality is {source!r}, {problem}")
