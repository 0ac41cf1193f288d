"""What a grid is: tasks, algorithms, cells and probes."""

import inspect
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from policy_gradient_ladder.core.algorithm import Algorithm, InvalidSetting, nearest_first
from policy_gradient_ladder.core.hooks import Hooks
from policy_gradient_ladder.core.minibatches import check_minibatches
from policy_gradient_ladder.core.run import EPISODES_MEANWHILE
from policy_gradient_ladder.core.task import Task

from .checks import GridError
from .claims import Claim
from .estimation import Variant
from .estimation.problem import Problem
from .external import External
from .libraries import LibraryAlgorithm
from .published_table import PublishedTable
from .schema import DISCOVERY, ESTIMATORS, EXTERNAL, GRADIENTS, OF_SOME_TASKS, QUALITY, SCHEMA
from .search import SearchSpace, Study, Tuning
from .tasks.changes import CHANGES

BATCHES_OF_OTHER_SIZES = 64  # of an EstimatorProbe, at most; the grid sets how many batches have the main size
INITIALISATION = "initialisation"  # instead of a source: a policy of random parameters


@dataclass(frozen=True)
class GridTask:
    """A task with its budget and the constants that its scores are judged by."""

    task: Task
    steps: int
    random_score: float  # mean return of uniformly random actions
    reference_score: float  # what counts as 1 on the normalised scale
    reference_source: str
    threshold: float | None  # for steps to threshold; None: not asked
    time_limit: float | None  # seconds that a run, a training of a study or a probe may take; None: as many as it needs
    solved: float | None = None  # a return that counts as a solution; None: not asked
    evaluations: int | None = None  # training episodes of a run that count for `solved`
    perturbations: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # sizes of changes, by the change

    def judged(self) -> dict[str, Any]:
        """All but the task, as a manifest has it; what only some tasks have where it is there, and each change with its
        nominal size.
        """
        entry = {key: value for key, value in vars(self).items() if key not in ("task", "perturbations")}
        entry = {key: value for key, value in entry.items() if not (key in DISCOVERY and value is None)}
        sizes = {
            change: {"nominal": CHANGES[change].nominal, "sizes": list(sizes)}
            for change, sizes in self.perturbations.items()
        }
        return entry | ({"perturbations": sizes} if sizes else {})

    def normalized(self, score: float) -> float:
        """A score on the scale where uniformly random actions are 0 and the reference is 1."""
        return (score - self.random_score) / (self.reference_score - self.random_score)


@dataclass(frozen=True)
class GridAlgorithm:
    """An algorithm's class with the grid's settings for it, in general and by task."""

    name: str
    algorithm: type[Algorithm]
    settings: dict[str, Any]
    task_settings: dict[str, dict[str, Any]]
    space: SearchSpace = field(default_factory=dict)
    tuned: bool = False
    own_title: str | None = None
    only: tuple[str, ...] | None = None  # the tasks on which it runs; None: all

    def runs_on(self, task: str) -> bool:
        """Whether a task is among those on which it runs."""
        return self.only is None or task in self.only

    @property
    def made_elsewhere(self) -> bool:
        """Whether its runs are read from files instead of made here."""
        return issubclass(self.algorithm, External)

    @property
    def module(self) -> str:
        """The name of the class's file under algorithms/; of another library's class its import path."""
        if issubclass(self.algorithm, LibraryAlgorithm):
            return self.algorithm.path
        return f"{EXTERNAL}:{self.name}" if self.made_elsewhere else self.algorithm.__module__.rpartition(".")[2]

    @property
    def title(self) -> str:
        """The name for tables and figures: the one that the grid gives, or else that of the class.

        Where the entry is not called like its module, the class's title is followed by the entry's name. Another
        library's class has the library in its title. Runs that were made elsewhere are always called external.
        """
        if self.made_elsewhere:
            return f"{self.own_title or self.name} ({EXTERNAL})"
        own = self.name == self.module or issubclass(self.algorithm, LibraryAlgorithm)
        by_class = self.algorithm.title if own else f"{self.algorithm.title} ({self.name})"
        return self.own_title or by_class

    @property
    def file(self) -> str:
        """The file that trains, relative to the project."""
        if self.made_elsewhere:
            return "experiments/external.py"
        of_library = issubclass(self.algorithm, LibraryAlgorithm)
        return "experiments/libraries.py" if of_library else f"algorithms/{self.module}.py"

    def of_library(self) -> dict[str, str]:
        """The import path of another library's class, which no file of this project says; empty for any other."""
        return {"class": self.algorithm.path} if issubclass(self.algorithm, LibraryAlgorithm) else {}

    def origin(self) -> dict[str, Any]:
        """What the report says of an algorithm that is not of this project; empty where it is."""
        if self.made_elsewhere:
            return {EXTERNAL: True}
        if issubclass(self.algorithm, LibraryAlgorithm):
            return {"library": self.algorithm.library_name, "version": self.algorithm.library_version()}
        return {}


@dataclass(frozen=True)
class Cell:
    """One (algorithm, task, seed) with its budget and settings. A run is an executed cell."""

    algorithm: str
    task: str
    seed: int
    steps: int
    settings: dict[str, Any]  # every hyperparameter, before tuning
    directory: str  # of the run, relative to the grid's results
    tuned: str | None  # the directory of the study whose best settings take the place of some of these


@dataclass(frozen=True)
class Probe:
    """One policy that is not trained further, at which gradients are measured; what is measured, a subclass says."""

    measures: ClassVar[str]  # what is measured: one of schema.MEASURES
    command: ClassVar[str]  # the module of experiments that makes it

    task: str
    source: str  # the algorithm whose checkpoint it is, or INITIALISATION where the true gradient is known
    seed: int
    fraction: float  # of the source's run

    @property
    def exact(self) -> bool:
        """Whether the true gradient is known; the policy is then no run's."""
        return self.source == INITIALISATION

    @property
    def directory(self) -> str:
        """Where its measurements lie, relative to the grid's results."""
        return f"probes/{directory_name(self.task)}/{self.source}/{self.seed}/{self.fraction:g}"


@dataclass(frozen=True)
class GradientProbe(Probe):
    """The gradient of every algorithm of the grid, on the same episodes."""

    measures: ClassVar[str] = GRADIENTS
    command: ClassVar[str] = "probe"

    batches: int
    batch_size: int  # complete episodes in a batch
    fit_episodes: int  # on which a critic is fitted; exact problems need none
    gae_lambdas: tuple[float, ...]


@dataclass(frozen=True)
class EstimatorProbe(Probe):
    """Gradient estimators on a problem whose true gradient is known; the problem's name stands for the task."""

    measures: ClassVar[str] = ESTIMATORS
    command: ClassVar[str] = "estimate"

    places: tuple[Problem, ...]  # the problem with different numbers
    variants: tuple[Variant, ...]  # of estimators; each is measured where it applies
    batches: int  # of the main size
    batch_size: int  # samples in a batch of the main size
    batch_sizes: tuple[int, ...]  # all sizes, ascending

    @property
    def counts(self) -> dict[int, int]:
        """The number of batches by their size."""
        few = min(self.batches, BATCHES_OF_OTHER_SIZES)
        return {size: self.batches if size == self.batch_size else few for size in self.batch_sizes}


@dataclass(frozen=True)
class QualityProbe(Probe):
    """The gradient that the source itself learns from, estimated from several numbers of state-action pairs."""

    measures: ClassVar[str] = QUALITY
    command: ClassVar[str] = "quality"

    pairs: tuple[int, ...]  # of an estimate, ascending
    estimates: int  # of each size, at most
    reference_pairs: int  # of the mean gradient that an estimate is compared with
    fit_pairs: int  # on which a value function is fitted, and of the others that value functions are judged on


@dataclass(frozen=True)
class Grid:
    """A grid: tasks × algorithms × seeds."""

    name: str
    path: str
    description: str
    seeds: tuple[int, ...]
    checkpoints: tuple[float, ...]  # fractions of a run at which its learner is saved
    compile: str  # "auto", "always" or "never"
    tasks: dict[str, GridTask]
    algorithms: dict[str, GridAlgorithm]
    probes: tuple[Probe, ...]
    tuning: Tuning | None
    claims: tuple[Claim, ...]
    time_limit: float | None  # of what has no task of the grid
    evaluate_every: int | None = None  # steps between evaluations in the middle of a run; None: there are none
    evaluate_episodes: int = EPISODES_MEANWHILE  # of each kind of such an evaluation
    videos: bool = False  # whether the page shows policies
    published_table: PublishedTable | None = None  # which the page shows beside our scores

    def cells(self) -> list[Cell]:
        """Every cell, tasks outermost, in the order of the file."""
        return [cell for t in self.tasks for a in self.algorithms for cell in self._cells(a, t, self.seeds)]

    def cell(self, algorithm: str, task: str, seed: int) -> Cell:
        """One cell, also for a seed that the grid does not list.

        Raises GridError for an algorithm or a task that the grid does not have.
        """
        for kind, name, known in (("algorithm", algorithm, self.algorithms), ("task", task, self.tasks)):
            if name not in known:
                raise GridError(f"{self.path}: no {kind} {name!r}; {nearest_first(name, list(known))}")
        if not self.algorithms[algorithm].runs_on(task):
            raise GridError(f"{self.path}: algorithm {algorithm} does not run on {task}, which is not among its 'only'")
        found = self._cells(algorithm, task, [seed])
        if not found:
            raise GridError(f"{self.path}: algorithm {algorithm} has no file of {task} with seed {seed}")
        return found[0]

    def _cells(self, algorithm: str, task: str, seeds: Iterable[int]) -> list[Cell]:
        """Cells that differ only in the seed; their settings are resolved once. None where it does not run on it."""
        if not self.algorithms[algorithm].runs_on(task):
            return []
        settings, steps = self.resolved(algorithm, task).settings(), self.tasks[task].steps
        directory = f"runs/{directory_name(task)}/{algorithm}"
        study = self.study_of(algorithm, task)
        of_study = study and study.directory
        if self.algorithms[algorithm].made_elsewhere:
            seeds = [seed for seed in seeds if str(seed) in settings["files"]]
        return [Cell(algorithm, task, seed, steps, settings, f"{directory}/{seed}", of_study) for seed in seeds]

    def studies(self) -> list[Study]:
        """Every study: the tuned algorithms times the groups of tasks."""
        if self.tuning is None:
            return []
        tuned = [name for name, algorithm in self.algorithms.items() if algorithm.tuned]
        return [self._study(name, group) for name in tuned for group in self.tuning.groups]

    def _study(self, algorithm: str, group: str) -> Study:
        of = self.tuning.groups[group]
        return Study(algorithm, group, of.tasks, of.serves, self.algorithms[algorithm].space, self.tuning)

    def study(self, algorithm: str, group: str) -> Study:
        """One of the grid's studies.

        Raises GridError where there is none.
        """
        known = {f"{study.algorithm} on {study.group}": study for study in self.studies()}
        wanted = f"{algorithm} on {group}"
        if not known:
            raise GridError(
                f"{self.path} tunes nothing" if self.tuning is None else f"{self.path}: no study of {wanted}"
            )
        if wanted not in known:
            raise GridError(f"{self.path}: no study of {wanted}; {nearest_first(wanted, list(known))}")
        return known[wanted]

    def study_of(self, algorithm: str, task: str) -> Study | None:
        """The study that gives an algorithm its settings on a task, if there is one."""
        if self.tuning is None or not self.algorithms[algorithm].tuned:
            return None
        serving = (group for group, of in self.tuning.groups.items() if task in of.serves)
        return next((self._study(algorithm, group) for group in serving), None)

    def resolved(self, algorithm: str, task: str, tuned: Mapping[str, Any] | None = None) -> Algorithm:
        """An algorithm with its settings for a task, which need not be one of the grid's.

        `tuned` are the settings that a study has found; they replace those of the grid. Raises GridError where a
        setting is unknown or has an invalid value.
        """
        entry = self.algorithms[algorithm]
        try:
            settings = entry.settings | entry.task_settings.get(task, {}) | dict(tuned or {})
            resolved = entry.algorithm.from_settings(settings)
            if isinstance(resolved, Hooks):
                check_minibatches(resolved)
            return resolved
        except InvalidSetting as error:
            raise GridError(f"{self.path}: algorithm {algorithm} on {task}: {error}") from error

    def probe(
        self, task: str, seed: int, fraction: float, *, measures: str = GRADIENTS, source: str | None = None
    ) -> Probe:
        """One of the grid's probes of a kind; without a `source` the first of the task, the seed and the fraction.

        Raises GridError where there is none.
        """
        kind = [probe for probe in self.probes if probe.measures == measures]
        for probe in kind:
            if (probe.task, probe.seed, probe.fraction) == (task, seed, fraction) and source in (None, probe.source):
                return probe
        of_source = "" if source is None else "{} on "
        known = [f"{of_source.format(p.source)}{p.task} with seed {p.seed} at {p.fraction:g}" for p in kind]
        wanted = f"{of_source.format(source)}{task} with seed {seed} at {fraction:g}"
        if not known:
            raise GridError(f"{self.path} has no probes" + ("" if measures == GRADIENTS else f" of {measures}"))
        raise GridError(f"{self.path}: no probe of {wanted}; {nearest_first(wanted, known)}")

    def limit(self, task: str) -> float | None:
        """The time limit of a run, a probe or one training of a study on a task, in seconds; None without a limit."""
        return self.tasks[task].time_limit if task in self.tasks else self.time_limit

    def manifest(self) -> dict[str, Any]:
        """The grid as the analysis reads it in `grid.json`. Nothing in it depends on results."""
        return {
            "schema": SCHEMA,
            "grid": self.name,
            "description": self.description,
            "grid_file": self.path,
            "videos": self.videos,
            "seeds": list(self.seeds),
            "tasks": {name: preprocessing(t.task) | t.judged() for name, t in self.tasks.items()},
            "algorithms": {
                name: {
                    "title": a.title,
                    "module": a.module,
                    "class": a.algorithm.__name__,
                    "equation": a.algorithm.equation,
                    "summary": inspect.getdoc(a.algorithm).partition("\n")[0],
                    **a.origin(),
                }
                for name, a in self.algorithms.items()
            },
            "cells": [vars(cell) for cell in self.cells()],
            "probes": [
                {"task": p.task, "source": p.source, "seed": p.seed, "fraction": p.fraction}
                | {"exact": p.exact, "measures": p.measures, "directory": p.directory}
                for p in self.probes
            ],
            "studies": [study.description() | {"determines": identity(self, study)} for study in self.studies()],
            "claims": [claim.described() for claim in self.claims],
            **({} if self.published_table is None else {"published_table": asdict(self.published_table)}),
        }


def identity(grid: Grid, study: Study) -> dict[str, Any]:
    """What the grid says about a study's trials: where it changes, the study is another one and cannot go on."""
    tasks = {
        task: {
            "task": preprocessing(grid.tasks[task].task),
            "steps": steps,
            "random_score": grid.tasks[task].random_score,
            "reference_score": grid.tasks[task].reference_score,
            "settings": grid.resolved(study.algorithm, task).settings(),
        }
        for task, steps in study.tasks.items()
    }
    of_study = study.description()
    parts = ("algorithm", "group", "space", "seeds", "spread_penalty", "sampler", "pruner")
    found = {name: of_study[name] for name in parts} | {"tasks": tasks, "order": list(tasks), "compile": grid.compile}
    return found | grid.algorithms[study.algorithm].of_library()


def preprocessing(task: Task) -> dict[str, Any]:
    """A task's settings by name; its id beside a name, and those of OF_SOME_TASKS only where they say something."""
    settings = asdict(task)
    del settings["allow_normalised"]  # it says that a task is accepted, and nothing about its runs
    name, task_id = settings.pop("name"), settings.pop("id")
    further = {"id": task_id if name else None}
    further |= {key: list(settings.pop(key)) for key in ("variants", "wrappers", "training_wrappers")}
    further |= {key: settings.pop(key) for key in ("kwargs", "action_bins", "joint_actions")}
    scale = settings.pop("reward_scale")
    further["reward_scale"] = scale if scale != 1 else None
    return settings | {key: further[key] for key in OF_SOME_TASKS if further[key]}


def directory_name(task: str) -> str:
    """A task's name, often its id, as the name of one folder."""
    return re.sub(r"[/:]", "-", task)
