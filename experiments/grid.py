"""A grid file, checked and resolved into cells: which algorithm, on which task, with which seed and settings.

Settings resolve in one order: the class's default, the grid's `settings`, the grid's settings for the task, and what a
study has found for the task's group where the algorithm is tuned.
"""

import argparse
import errno
import hashlib
import importlib
import inspect
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from algorithms.core.algorithm import Algorithm, InvalidSetting, nearest_first
from algorithms.core.learner import InvalidCheckpoint
from algorithms.core.task import Task, UnsupportedTask
from algorithms.core.vector_env import check_task
from experiments import exact
from experiments.checks import (
    DURATION,
    FLAG,
    MAPPING,
    REQUIRED,
    TEXT,
    Check,
    GridError,
    all_different,
    is_name,
    is_number,
    read_yaml,
    seconds,
    section,
)
from experiments.claims import CLAIMS, Claim, read_all_claims
from experiments.process import end_with_snakemake
from experiments.record import SCHEMA, UnusableFolder, write_record
from experiments.search import InvalidStudy, SearchSpace, Study, Tuning, read_space, read_tuning

ROOT = Path(__file__).resolve().parent.parent
GRIDS = ROOT / "experiments" / "grids"
ALGORITHMS = ROOT / "algorithms"
INITIALISATION = "initialisation"  # instead of a source: a policy of random parameters
FEWEST_BATCHES = 8  # of a probe: a variance from fewer says nothing


MISTAKES = (
    GridError,
    InvalidSetting,
    InvalidCheckpoint,
    InvalidStudy,
    UnsupportedTask,
    UnusableFolder,
)  # a user's: one sentence, no traceback
FULL_OR_READ_ONLY = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


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

    @property
    def module(self) -> str:
        """The name of the class's file under algorithms/."""
        return self.algorithm.__module__.rpartition(".")[2]

    @property
    def title(self) -> str:
        """The name for tables and figures: the grid's, or the class's with the entry's name where that is another."""
        by_class = self.algorithm.title if self.name == self.module else f"{self.algorithm.title} ({self.name})"
        return self.own_title or by_class

    @property
    def files(self) -> list[str]:
        """The files of the class and of what it inherits from, outside `core/`; relative to the project."""
        paths = [Path(inspect.getfile(c)) for c in self.algorithm.__mro__ if c.__module__.startswith("algorithms.")]
        return [str(p.relative_to(ROOT)) for p in paths if p.parent == ALGORITHMS]

    def code(self, project: Path = ROOT) -> str:
        """Names the code that a run's numbers depend on, as it is on the disk now: these files and those of `core/`."""
        files = [*(project / file for file in self.files), *sorted((project / "algorithms" / "core").glob("*.py"))]
        return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]

    def check_code(self, code: str) -> None:
        """Refuse a result of `code` that would pass for a result of what stands on the disk now.

        Raises GridError where that is another code.
        """
        if self.code() != code:
            raise GridError(
                f"{', '.join(self.files)} or algorithms/core/ has been changed since this was begun, and it would pass "
                "for a result of the changed code; nothing is written, and the same command does it again"
            )


@dataclass(frozen=True)
class Cell:
    """One (algorithm, task, seed) with everything that determines its run."""

    algorithm: str
    task: str
    seed: int
    steps: int
    settings: dict[str, Any]  # every hyperparameter, before tuning
    directory: str  # of the run, relative to the grid's results
    tuned: str | None  # the directory of the study whose best settings take the place of some of these


@dataclass(frozen=True)
class Probe:
    """One frozen policy at which every algorithm's gradient is measured, and how."""

    task: str
    source: str  # the algorithm whose checkpoint it is, or INITIALISATION on an exact problem
    seed: int
    fraction: float  # of the source's run
    batches: int
    batch_size: int  # complete episodes in a batch
    fit_episodes: int  # on which a critic is fitted; exact problems need none
    gae_lambdas: tuple[float, ...]

    @property
    def exact(self) -> bool:
        """Whether the true gradient is known."""
        return self.task in exact.PROBLEMS

    @property
    def directory(self) -> str:
        """Where its measurements lie, relative to the grid's results."""
        return f"probes/{directory_name(self.task)}/{self.source}/{self.seed}/{self.fraction:g}"


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
        return self._cells(algorithm, task, [seed])[0]

    def _cells(self, algorithm: str, task: str, seeds: Iterable[int]) -> list[Cell]:
        """Cells that differ in nothing but the seed; their settings are resolved once."""
        settings, steps = self.resolved(algorithm, task).settings(), self.tasks[task].steps
        directory = f"runs/{directory_name(task)}/{algorithm}"
        study = self.study_of(algorithm, task)
        of_study = study and study.directory
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
        """An algorithm with its settings for a task, which need not be one of the grid's; `tuned` come last."""
        entry = self.algorithms[algorithm]
        try:
            settings = entry.settings | entry.task_settings.get(task, {}) | dict(tuned or {})
            return entry.algorithm.from_settings(settings)
        except InvalidSetting as error:
            raise GridError(f"{self.path}: algorithm {algorithm} on {task}: {error}") from error

    def probe(self, task: str, seed: int, fraction: float) -> Probe:
        """One of the grid's probes.

        Raises GridError where there is none.
        """
        for probe in self.probes:
            if (probe.task, probe.seed, probe.fraction) == (task, seed, fraction):
                return probe
        known = [f"{p.task} with seed {p.seed} at {p.fraction:g}" for p in self.probes]
        wanted = f"{task} with seed {seed} at {fraction:g}"
        if not known:
            raise GridError(f"{self.path} has no probes")
        raise GridError(f"{self.path}: no probe of {wanted}; {nearest_first(wanted, known)}")

    def limit(self, task: str) -> float | None:
        """The seconds that a run, a training of a study or a probe on a task may take, if there is a limit."""
        return self.tasks[task].time_limit if task in self.tasks else self.time_limit

    def what_determines_probe(self, probe: Probe) -> str:
        """Everything that the grid says about a probe, as one line of JSON; its source's run is another matter."""
        task = None if probe.exact else preprocessing(self.tasks[probe.task].task)
        settings = {name: self.resolved(name, probe.task).settings() for name in self.algorithms}
        return json.dumps(asdict(probe) | {"task_settings": task, "settings": settings}, sort_keys=True)

    def what_determines_study(self, study: Study) -> dict[str, Any]:
        """Everything that the grid says about a study's trials: with anything else it would be another study."""
        tasks = {
            task: {
                "task": preprocessing(self.tasks[task].task),
                "steps": steps,
                "random_score": self.tasks[task].random_score,
                "reference_score": self.tasks[task].reference_score,
                "settings": self.resolved(study.algorithm, task).settings(),
            }
            for task, steps in study.tasks.items()
        }
        of_study = study.description()
        parts = ("algorithm", "group", "space", "seeds", "spread_penalty", "sampler", "pruner")
        return {name: of_study[name] for name in parts} | {"tasks": tasks, "compile": self.compile}

    def what_determines(self, cell: Cell) -> str:
        """Everything that the grid says about a cell's run, as one line of JSON."""
        task = preprocessing(self.tasks[cell.task].task)
        run = {"task": task, "checkpoints": self.checkpoints, "compile": self.compile}
        return json.dumps(vars(cell) | run, sort_keys=True)

    def manifest(self) -> dict[str, Any]:
        """The grid as the analysis reads it (`grid.json`): nothing in it depends on what has been run."""
        return {
            "schema": SCHEMA,
            "grid": self.name,
            "description": self.description,
            "grid_file": self.path,
            "seeds": list(self.seeds),
            "tasks": {
                name: preprocessing(t.task) | {key: value for key, value in vars(t).items() if key != "task"}
                for name, t in self.tasks.items()
            },
            "algorithms": {
                name: {
                    "title": a.title,
                    "module": a.module,
                    "class": a.algorithm.__name__,
                    "equation": a.algorithm.equation,
                    "summary": inspect.getdoc(a.algorithm).partition("\n")[0],
                }
                for name, a in self.algorithms.items()
            },
            "cells": [vars(cell) for cell in self.cells()],
            "probes": [
                {"task": p.task, "source": p.source, "seed": p.seed, "fraction": p.fraction}
                | {"exact": p.exact, "directory": p.directory}
                for p in self.probes
            ],
            "studies": [study.description() for study in self.studies()],
            "claims": [asdict(claim) for claim in self.claims],
        }


def preprocessing(task: Task) -> dict[str, Any]:
    """A task's settings without its id."""
    settings = asdict(task)
    del settings["id"]
    return settings


def directory_name(task: str) -> str:
    """A task's id as the name of one folder."""
    return re.sub(r"[/:]", "-", task)


def algorithm_class(name: str) -> type[Algorithm]:
    """The Algorithm defined in algorithms/NAME.py.

    Raises GridError where there is no such file, or where it does not define exactly one.
    """
    names = sorted(p.stem for p in ALGORITHMS.glob("*.py") if p.stem != "__init__")
    if name not in names:
        raise GridError(f"there is no algorithms/{name}.py; {nearest_first(name, names)}")
    try:
        module = importlib.import_module(f"algorithms.{name}")
    except Exception as error:  # whatever the file does when it is imported
        raise GridError(f"algorithms/{name}.py cannot be imported: {type(error).__name__}: {error}") from error
    own = [c for c in vars(module).values() if inspect.isclass(c) and issubclass(c, Algorithm)]
    own = [c for c in own if c.__module__ == module.__name__]
    if len(own) != 1:
        raise GridError(f"algorithms/{name}.py must define exactly one Algorithm; it defines {len(own)}")
    for attribute in ("title", "equation"):
        if not isinstance(getattr(own[0], attribute, None), str):
            raise GridError(f"algorithms/{name}.py: {own[0].__name__} needs a class attribute {attribute!r} (text)")
    parameters = vars(own[0]).get("__dataclass_params__")
    if parameters is None or not parameters.frozen:
        raise GridError(f"algorithms/{name}.py: {own[0].__name__} needs the decorator @dataclass(frozen=True)")
    inherited = {f.name for base in own[0].__mro__[1:] if is_dataclass(base) for f in fields(base)}
    bare = sorted(inherited & set(vars(own[0])) - set(inspect.get_annotations(own[0])))
    if bare:
        raise GridError(
            f"algorithms/{name}.py: {bare[0]} of {own[0].__name__} needs its type, as in '{bare[0]}: float = …'"
        )
    return own[0]


def load_grid(name: str, only: str | None = None) -> Grid:
    """Read and check a grid: a name under experiments/grids/ or a path to a YAML file.

    With `only`, it has that algorithm alone, and neither probes nor claims: no other algorithm's file is imported, in
    which somebody may be writing. Raises GridError, with one sentence that names the file and the key.
    """
    path = Path(name) if "/" in name or name.endswith((".yaml", ".yml")) else GRIDS / f"{name}.yaml"
    shipped = sorted(p.stem for p in GRIDS.glob("*.yaml"))
    if not path.is_file():
        if path.parent == GRIDS:
            raise GridError(f"there is no grid {name!r}; {nearest_first(name, shipped)}")
        raise GridError(f"there is no grid file {name}")
    shown = os.path.relpath(path, ROOT)
    if not is_name(path.stem):
        raise GridError(f"{shown}: the file's name becomes a folder's; it may hold letters, digits, _ . + - only")
    if path.stem in shipped and path.resolve().parent != GRIDS:
        raise GridError(f"{shown}: results/{path.stem} belongs to the grid that is shipped; give yours another name")
    data = read_yaml(path, shown)
    try:
        return _resolve(path, shown, data, only)
    except UnsupportedTask as error:
        raise GridError(f"{shown}: {error}") from error


def _resolve(file: Path, path: str, data: Any, only: str | None) -> Grid:
    top = section(path, "the grid", data, GRID_KEYS)
    seeds = tuple(top["seeds"])
    if not seeds or not all(type(s) is int and s >= 0 for s in seeds):
        raise GridError(f"{path}: seeds must be a list of whole numbers from 0, not {list(seeds)}")
    repeated = sorted({s for s in seeds if seeds.count(s) > 1})
    if repeated:
        raise GridError(f"{path}: seeds lists {repeated[0]} twice")
    checkpoints = tuple(top["checkpoints"])
    if not all(type(f) in (int, float) and 0 <= f <= 1 for f in checkpoints):
        raise GridError(f"{path}: checkpoints must be fractions of a run between 0 and 1, not {list(checkpoints)}")
    for kind in ("task", "algorithm"):
        if not top[f"{kind}s"]:
            raise GridError(f"{path}: {kind}s is empty; at least one {kind} is needed")
    time_limit = seconds(top["time_limit"])
    tasks = {task: _task(path, task, entry, time_limit) for task, entry in top["tasks"].items()}
    entries = top["algorithms"]
    if only is not None:
        if only not in entries:
            raise GridError(f"{path}: no algorithm {only!r}; {nearest_first(only, list(entries))}")
        entries = {only: entries[only]}
    algorithms = {a: _algorithm(path, a, {} if entry is None else entry, tasks) for a, entry in entries.items()}
    tuning = None if top["tuning"] is None else read_tuning(path, top["tuning"], seeds, list(tasks))
    if tuning is None:
        for algorithm, entry in entries.items():
            if entry and entry.get("tuned"):
                raise GridError(f"{path}: algorithm {algorithm} is to be tuned, and the grid has no section 'tuning'")
        algorithms = {a: replace(algorithm, tuned=False) for a, algorithm in algorithms.items()}
    probes, claims = (), ()
    if only is None:
        claims = _claims(file, top["claims"])
        if top["probes"] is not None:
            probes = _probes(path, top["probes"], seeds, checkpoints, tasks, algorithms)
    grid = Grid(
        *(file.stem, path, top["description"], seeds, checkpoints, top["compile"]),
        *(tasks, algorithms, probes, tuning, claims, time_limit),
    )
    cells = grid.cells()  # resolves, and so checks, every setting
    directories = [cell.directory for cell in cells]
    if len(set(directories)) < len(directories):
        raise GridError(f"{path}: two tasks would be written to the same folder, {_first_repeated(directories)}")
    return grid


def _task(path: str, name: str, entry: Any, time_limit: float | None) -> GridTask:
    keys = section(path, f"task {name}", entry, TASK_KEYS)
    keys["time_limit"] = seconds(keys["time_limit"]) if "time_limit" in entry else time_limit
    task = Task(name, **{key: keys.pop(key) for key in preprocessing(Task(name))})
    if keys["steps"] < 1:
        raise GridError(f"{path}: steps of task {name} must be at least 1, not {keys['steps']}")
    if keys["reference_score"] == keys["random_score"]:
        raise GridError(f"{path}: task {name} has the same random_score and reference_score, {keys['random_score']}")
    check_task(task)  # refuses what is not supported
    return GridTask(task, **keys)


def _algorithm(path: str, name: str, entry: Any, tasks: Mapping[str, GridTask]) -> GridAlgorithm:
    keys = section(path, f"algorithm {name}", entry, ALGORITHM_KEYS)
    if not is_name(name):
        raise GridError(
            f"{path}: an algorithm's name becomes a folder's: {name!r} may hold letters, digits, _ . + - only"
        )
    try:
        algorithm = algorithm_class(keys["module"] or name)
    except GridError as error:
        raise GridError(f"{path}: algorithm {name}: {error}") from error
    for task, settings in keys["tasks"].items():
        if task not in tasks:
            raise GridError(f"{path}: algorithm {name} has settings for {task!r}; {nearest_first(task, list(tasks))}")
        if not MAPPING[0](settings):
            raise GridError(f"{path}: algorithm {name} has for {task} not a mapping but {settings!r}")
    space = read_space(path, name, keys["search_space"], algorithm)
    if keys["tuned"] and not space:
        raise GridError(f"{path}: algorithm {name} is to be tuned and has no search_space")
    tuned = bool(space) if keys["tuned"] is None else keys["tuned"]
    return GridAlgorithm(name, algorithm, keys["settings"], keys["tasks"], space, tuned, keys["title"])


def _probes(
    path: str,
    data: Any,
    seeds: tuple[int, ...],
    checkpoints: tuple[float, ...],
    tasks: Mapping[str, GridTask],
    algorithms: Mapping[str, GridAlgorithm],
) -> tuple[Probe, ...]:
    keys = section(path, "probes", data, PROBE_KEYS)
    source = keys["source"]
    if source not in algorithms:
        raise GridError(f"{path}: source of probes is {source!r}; {nearest_first(source, list(algorithms))}")
    if algorithms[source].tuned and "gamma" in algorithms[source].space:
        raise GridError(
            f"{path}: source of probes is {source!r}, whose γ is tuned: its critic would value other returns than "
            "those of the untuned settings, which the laboratory compares; give an algorithm with 'tuned: false'"
        )
    for key, known, what in (("seeds", seeds, "the grid's seeds"), ("fractions", checkpoints, "checkpoints")):
        for value in keys[key]:
            if value not in known:
                raise GridError(f"{path}: {key} of probes has {value!r}, which is not among {what}, {list(known)}")
    sizes = {}
    for task, entry in keys["tasks"].items():
        if task not in tasks:
            raise GridError(f"{path}: probes has {task!r}, no task of the grid; {nearest_first(task, list(tasks))}")
        if task in exact.PROBLEMS:
            raise GridError(
                f"{path}: tasks of probes has {task!r}; exact problems are probed by 'exact: {{batch_size: …}}'"
            )
        sizes[task] = section(path, f"probes on {task}", entry, PROBE_TASK_KEYS)
    shared = {"batches": keys["batches"], "gae_lambdas": tuple(keys["gae_lambdas"])}
    places = [(seed, fraction) for seed in keys["seeds"] for fraction in keys["fractions"]]
    probes = [Probe(task, source, *place, **sizes[task], **shared) for task in sizes for place in places]
    if keys["exact"] is not None:
        size = section(path, "exact of probes", keys["exact"], {"batch_size": PROBE_TASK_KEYS["batch_size"]})
        probes += [
            Probe(problem, INITIALISATION, seed, 0.0, **size, fit_episodes=0, **shared)
            for problem in exact.PROBLEMS
            for seed in keys["seeds"]
        ]
    return tuple(probes)


def _claims(grid: Path, named: str | list[str]) -> tuple[Claim, ...]:
    """Those of every grid, then those of the files that this one names; relative to the grid's folder."""
    files = [CLAIMS, *(grid.parent / name for name in ([named] if isinstance(named, str) else named))]
    return read_all_claims([(file, os.path.relpath(file, ROOT)) for file in files])


OPTIONAL_MAPPING = (lambda v: v is None or MAPPING[0](v), "a mapping, or null for none")
GRID_KEYS: dict[str, Check] = {
    "description": (*TEXT, REQUIRED),
    "seeds": (lambda v: isinstance(v, list), "a list of whole numbers", REQUIRED),
    "checkpoints": (lambda v: isinstance(v, list), "a list of fractions", []),
    "compile": (lambda v: v in ("auto", "always", "never"), "auto, always or never", "auto"),
    "time_limit": (*DURATION, None),
    "probes": (*OPTIONAL_MAPPING, None),
    "tuning": (*OPTIONAL_MAPPING, None),
    "claims": (
        lambda v: isinstance(v, str) or all_different(v, lambda x: isinstance(x, str)),
        "a YAML file of claims, or a list of them",
        [],
    ),
    "tasks": (*MAPPING, REQUIRED),
    "algorithms": (*MAPPING, REQUIRED),
}
TASK_KEYS: dict[str, Check] = {
    "steps": (lambda v: type(v) is int, "a whole number", REQUIRED),
    "backend": (lambda v: v in ("gymnasium", "envpool"), "gymnasium or envpool", "gymnasium"),
    "normalize_observations": (*FLAG, False),
    "normalize_rewards": (*FLAG, False),
    "action_bounds": (lambda v: v in ("clip", "squash"), "clip or squash", "clip"),
    "max_episode_steps": (lambda v: v is None or (type(v) is int and v > 0), "a whole number above 0, or null", None),
    "random_score": (is_number, "a number (python -m experiments.random_score measures it)", REQUIRED),
    "reference_score": (is_number, "a number", REQUIRED),
    "reference_source": (*TEXT, REQUIRED),
    "threshold": (lambda v: v is None or is_number(v), "a number or null", None),
    "time_limit": (*DURATION, None),  # absent: the grid's
}
EPISODES = "a whole number of complete episodes, at least"
PROBE_KEYS: dict[str, Check] = {
    "source": (*TEXT, REQUIRED),
    "seeds": (
        lambda v: all_different(v, lambda x: type(x) is int) and len(v) > 0,
        "a list of different seeds",
        REQUIRED,
    ),
    "fractions": (lambda v: all_different(v, is_number) and len(v) > 0, "a list of different fractions", REQUIRED),
    "batches": (lambda v: type(v) is int and v >= FEWEST_BATCHES, f"a whole number from {FEWEST_BATCHES}", REQUIRED),
    "gae_lambdas": (
        lambda v: all_different(v, lambda x: is_number(x) and 0 <= x <= 1),
        "a list of different numbers between 0 and 1",
        [0, 0.5, 0.9, 0.95, 0.99, 1],
    ),
    "tasks": (*MAPPING, {}),
    "exact": (*OPTIONAL_MAPPING, None),
}
PROBE_TASK_KEYS: dict[str, Check] = {
    "batch_size": (lambda v: type(v) is int and v >= 1, f"{EPISODES} 1", REQUIRED),
    "fit_episodes": (lambda v: type(v) is int and v >= 2, f"{EPISODES} 2, to fit a critic on", REQUIRED),
}
ALGORITHM_KEYS: dict[str, Check] = {
    "module": (lambda v: v is None or isinstance(v, str), "the name of a file under algorithms/", None),
    "title": (lambda v: v is None or isinstance(v, str), "text", None),
    "settings": (*MAPPING, {}),
    "tasks": (*MAPPING, {}),
    "search_space": (*MAPPING, {}),
    "tuned": (lambda v: v is None or isinstance(v, bool), "true or false", None),  # None: where there is a space
}


def _first_repeated(names: list[str]) -> str:
    return next(n for n in names if names.count(n) > 1)


def exit_with_sentence(main: Callable[[], None]) -> None:
    """Run a command line; a user's mistake ends it with one sentence and status 2 instead of a traceback.

    So does a disk that takes nothing more, and Ctrl-C ends it with a word and the status of a shell.
    """
    end_with_snakemake()
    try:
        main()
    except MISTAKES as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno not in FULL_OR_READ_ONLY:
            raise
        what = "what was to be written" if error.filename is None else error.filename
        print(f"error: {what} cannot be written: {error.strerror}; the same command goes on from here", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)


def main() -> None:
    """Check a grid and write its manifest."""
    parser = argparse.ArgumentParser(prog="python -m experiments.grid", description=main.__doc__)
    parser.add_argument("--grid", required=True, help="a name under experiments/grids/ or a path to a YAML file")
    parser.add_argument("--output", help="where to write the manifest; without it, it is printed")
    arguments = parser.parse_args()
    manifest = load_grid(arguments.grid).manifest()
    if arguments.output:
        write_record(Path(arguments.output), manifest)
    else:
        print(json.dumps(manifest, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    exit_with_sentence(main)
