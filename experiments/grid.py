"""A grid file, checked and resolved into cells: which algorithm, on which task, with which seed and settings.

Settings resolve in one order: the class's default, the grid's `settings`, the grid's settings for the task, and what a
study has found for the task's group where the algorithm is tuned.
"""

import argparse
import importlib
import inspect
import json
import logging
import os
import unicodedata
import warnings
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium

from policy_gradient_ladder.core.algorithm import Algorithm, nearest_first, whole
from policy_gradient_ladder.core.checkout import PACKAGE, file_of
from policy_gradient_ladder.core.hooks import Hooks
from policy_gradient_ladder.core.minibatches import SIZES, doubt_about_minibatches, one_step_among
from policy_gradient_ladder.core.run import LONGEST_EPISODE
from policy_gradient_ladder.core.task import Task, UnsupportedTask, check_variants, close, make_env, time_limit_of

from . import exact, others
from .cells import Grid, GridAlgorithm, GridTask, directory_name, preprocessing
from .checks import MAPPING, GridError, is_name, read_yaml, seconds, section
from .claims import CLAIMS, Claim, read_all_claims
from .command import exit_with_sentence
from .estimation.asked import read_estimators
from .fits import check_fits
from .keys import ALGORITHM_KEYS, GRID_KEYS, TASK_KEYS, page
from .laboratory import Policies, read_probes, read_quality
from .perturbations import read_perturbations
from .places import placed
from .published_table import read_published_table
from .record import write_record
from .search import read_space, read_tuning
from .sources import ROOT
from .task_check import check_task, check_training, try_task
from .task_scores import fill_in_scores

GRIDS = ROOT / "experiments" / "grids"
ALGORITHMS = ROOT / "algorithms"
LONGEST_TITLE = 100
MOST_SEEDS = 100_000  # more are a mistake, and more cells than Snakemake can hold
LEAST_RANGE = 0.01  # of the larger score: what random and reference score must be apart


def algorithm_class(name: str) -> type[Algorithm]:
    """The class of the algorithm in algorithms/NAME.py.

    Raises GridError where there is no such file, where it does not define exactly one Algorithm, or where that lacks
    its title, its equation, or a type of a setting.
    """
    names = sorted(p.stem for p in ALGORITHMS.glob("*.py") if p.stem != "__init__")
    if name not in names:
        raise GridError(f"there is no algorithms/{name}.py; {nearest_first(name, names)}")
    try:
        module = importlib.import_module(f"{PACKAGE}.{name}")
    except Exception as error:  # whatever the file does when it is imported
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise GridError(f"algorithms/{name}.py cannot be imported: {what}") from error
    own = [c for c in vars(module).values() if inspect.isclass(c) and issubclass(c, Algorithm)]
    own = [c for c in own if c.__module__ == module.__name__]
    if len(own) != 1:
        raise GridError(f"algorithms/{name}.py must define exactly one Algorithm; it defines {len(own)}")
    for attribute in ("title", "equation"):
        if not isinstance(getattr(own[0], attribute, None), str):
            raise GridError(f"algorithms/{name}.py: {own[0].__name__} needs a class attribute {attribute!r} (text)")
    whose = next(base for base in own[0].__mro__ if "title" in vars(base))
    if whose is not own[0] and whose.__module__ != module.__name__:
        raise GridError(
            f"algorithms/{name}.py: {own[0].__name__} has the title {own[0].title!r} of {whose.__name__} "
            f"({file_of(whose.__module__)}.py); it needs its own, which tells the two apart"
        )
    if own[0].train is Algorithm.train:
        raise GridError(
            f"algorithms/{name}.py: {own[0].__name__} needs a method train, or to inherit from PolicyGradient "
            "(policy_gradient_ladder.core.policy_gradient) or OffPolicy (policy_gradient_ladder.core.off_policy)"
        )
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


FOR_VIDEOS = ("imageio", "imageio_ffmpeg")  # packages of the extra `video`


def load_grid(name: str, only: str | None = None) -> Grid:
    """Read and check a grid.

    name: of a file under experiments/grids/, or the path of a YAML file.
    only: an algorithm of the grid. The grid then has no other one, and neither probes nor claims. The files of the
    other algorithms are not imported, so that a mistake in one of them does no harm. Tasks are made and not stepped:
    whoever asks for one algorithm runs one of its jobs, and Snakemake has read the whole grid before.
    Raises GridError, which names the file and the key.
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
    if not isinstance(top["seeds"], list) and whole(top["seeds"]) > MOST_SEEDS:
        raise GridError(f"{path}: seeds asks for {top['seeds']:,} seeds; at most {MOST_SEEDS:,} are possible")
    seeds = tuple(top["seeds"] if isinstance(top["seeds"], list) else range(whole(top["seeds"])))
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
    check = try_task if only is None else check_task
    shared = {"steps": top["steps"], "time_limit": time_limit, "perturbations": top["perturbations"]}
    tasks = {task: _task(path, task, entry, shared, check) for task, entry in _entries(top["tasks"]).items()}
    entries = _entries(top["algorithms"])
    if only is not None:
        if only not in entries:
            raise GridError(f"{path}: no algorithm {only!r}; {nearest_first(only, list(entries))}")
        entries = {only: entries[only]}
    place = (seeds, file.parent)
    algorithms = {a: _algorithm(path, a, {} if entry is None else entry, tasks, *place) for a, entry in entries.items()}
    _check_titles(path, algorithms)
    tuning = None if top["tuning"] is None else read_tuning(path, top["tuning"], seeds, list(tasks))
    if tuning is None:
        for algorithm, entry in entries.items():
            if entry and entry.get("tuned"):
                raise GridError(f"{path}: algorithm {algorithm} is to be tuned, and the grid has no section 'tuning'")
        algorithms = {a: replace(algorithm, tuned=False) for a, algorithm in algorithms.items()}
    probes, claims = (), ()
    if top["videos"] and only is None and (missing := [name for name in FOR_VIDEOS if find_spec(name) is None]):
        raise GridError(
            f"{path}: videos is true, and for that the package {missing[0]} is missing: "
            'pip install "policy-gradient-ladder[video]"'
        )
    if only is None:
        claims = placed(_claims(file, path, top["claims"]), tasks, algorithms)
        policies = Policies(path, seeds, checkpoints, tasks, algorithms)
        if top["probes"] is not None:
            probes = read_probes(policies, top["probes"])
        if top["estimators"] is not None:
            probes += read_estimators(path, top["estimators"])
        if top["quality"] is not None:
            probes += read_quality(policies, top["quality"], probes)
    runs_on = {name: entry.only for name, entry in algorithms.items()}
    grid = Grid(
        *(file.stem, path, top["description"] or _description(tasks, algorithms, seeds), seeds),
        *(checkpoints, top["compile"]),
        *(tasks, algorithms, probes, tuning, claims, time_limit),
        *(top["evaluate_every"], top["evaluate_episodes"], top["videos"]),
        None if only else read_published_table(path, top["published_table"], runs_on, seeds),
    )
    cells = grid.cells()  # resolves, and so checks, every setting
    for cell in cells:
        if "num_envs" in cell.settings:
            try:
                check_variants(tasks[cell.task].task, cell.settings["num_envs"])
            except UnsupportedTask as error:
                raise GridError(f"{path}: algorithm {cell.algorithm}: {error}") from error
    _check_minibatches(grid)
    check_fits(grid)
    if only is None:
        others.check(grid)
    folders: dict[str, str] = {}
    for task in tasks:
        other = folders.setdefault(directory_name(task), task)
        if other != task:
            raise GridError(
                f"{path}: tasks {other!r} and {task!r} would be written to the same folder, {directory_name(task)}; "
                "leave one out, or register it under another id"
            )
    return grid


def _entries(given: Mapping[str, Any] | list[str]) -> dict[str, Any]:
    """What is said of each task or algorithm; of a list nothing is said."""
    return dict(given) if isinstance(given, dict) else dict.fromkeys(given)


def _description(tasks: Mapping[str, GridTask], algorithms: Mapping[str, GridAlgorithm], seeds: tuple[int, ...]) -> str:
    """A sentence about a grid that has no description."""
    steps = sorted({task.steps for task in tasks.values()})
    budget = f"{steps[0]:,}" if len(steps) == 1 else f"{steps[0]:,} to {steps[-1]:,}"
    titles = ", ".join(algorithm.title for algorithm in algorithms.values())
    return f"{titles} on {', '.join(tasks)}: {len(seeds)} seed{'s' * (len(seeds) > 1)}, {budget} steps a run."


def _task(path: str, name: str, entry: Any, shared: Mapping[str, Any], check: Callable[[Task], None]) -> GridTask:
    """A task of the grid. `shared` are the grid's values of keys that a task may have itself."""
    if entry is None:
        entry = {}
    elif type(whole(entry)) is int:
        entry = {"steps": entry}
    if isinstance(entry, dict) and "backend" in entry:  # a key of earlier versions
        raise GridError(
            f"{path}: task {name} has the key 'backend', which is no longer there; remove it: EnvPool is gone, and "
            "Gymnasium's own MuJoCo and classic tasks are now faster without it"
        )
    keys = section(path, f"task {name}", entry, TASK_KEYS)
    keys["time_limit"] = seconds(keys["time_limit"]) if "time_limit" in entry else shared["time_limit"]
    if keys["steps"] is None:
        keys["steps"] = shared["steps"]
    given = {"kwargs": keys.pop("kwargs")}
    given |= {key: tuple(keys.pop(key)) for key in ("variants", "wrappers", "training_wrappers")}
    given |= {key: keys.pop(key) for key in ("allow_normalised", "action_bins", "joint_actions", "reward_scale")}
    given |= {key: keys.pop(key) for key in preprocessing(Task(name))}
    task = _named(path, name, keys.pop("id"), given)
    if keys["steps"] is None:
        raise GridError(f"{path}: task {name} needs the key 'steps', a whole number; or the grid has it for all tasks")
    if keys["steps"] < 1:
        raise GridError(f"{path}: steps of task {name} must be at least 1, not {keys['steps']}")
    check(task)  # refuses what is not supported
    if task.training_wrappers:
        check(task.in_training)
        check_training(task)
    own = keys["perturbations"] is not None
    asked, whose = (keys["perturbations"], f"task {name}") if own else (shared["perturbations"], "the grid")
    keys["perturbations"] = read_perturbations(path, whose, asked, task)
    try:
        fill_in_scores(task, keys)
    except GridError as error:
        raise GridError(f"{path}: task {name} {error}") from error
    _check_scores(path, name, keys)
    _warn_of_endless_episodes(path, task, keys["steps"])
    return GridTask(task, **keys)


def _named(path: str, name: str, task_id: str | None, settings: Mapping[str, Any]) -> Task:
    """The task of an entry `name`, which is a Gymnasium id unless the entry has an id of its own."""
    if task_id is None or task_id == name:
        return Task(name, **settings)
    if not is_name(name):
        raise GridError(
            f"{path}: task {name!r} has an id, and its name becomes a folder's: it may hold letters, digits, _ . + - "
            "only"
        )
    if name in gymnasium.registry:
        raise GridError(
            f"{path}: task {name} has the id {task_id}, but {name} is the id of another environment; give it another "
            "name"
        )
    return Task(task_id, name=name, **settings)


def _check_scores(path: str, name: str, keys: Mapping[str, Any]) -> None:
    """Raise GridError where the scores of a task cannot be 0, 1 and a mark on a scale on which more is better."""
    low, high, threshold = keys["random_score"], keys["reference_score"], keys["threshold"]
    if high == low:
        raise GridError(f"{path}: task {name} has the same random_score and reference_score, {low}")
    if high < low:
        raise GridError(
            f"{path}: reference_score of task {name} is {high}, below its random_score, {low}; more is better, so give "
            "the score of random actions as random_score and a good one as reference_score"
        )
    if high - low < LEAST_RANGE * max(abs(low), abs(high)):
        raise GridError(
            f"{path}: reference_score of task {name} is {high}, which hardly differs from its random_score, {low}; "
            f"the two must be {LEAST_RANGE:.0%} apart, for else the normalised scale shows nothing but noise"
        )
    if (keys["solved"] is None) != (keys["evaluations"] is None):
        given, lacking = ("solved", "evaluations") if keys["evaluations"] is None else ("evaluations", "solved")
        raise GridError(
            f"{path}: task {name} has the key {given!r} without {lacking!r}; a solution is looked for among so many "
            "training episodes, so give both or none"
        )
    if threshold is not None and threshold <= low:
        raise GridError(
            f"{path}: threshold of task {name} is {threshold}, which random actions reach (random_score {low}); give a "
            "mark above it, or null for none"
        )


def _check_titles(path: str, algorithms: Mapping[str, GridAlgorithm]) -> None:
    """Raise GridError where two algorithms would look the same in figures and tables, or a title is too long."""
    owners: dict[str, str] = {}
    for name, algorithm in algorithms.items():
        if len(algorithm.title) > LONGEST_TITLE:
            raise GridError(
                f"{path}: title of algorithm {name} has {len(algorithm.title)} characters; give it a 'title' of at "
                f"most {LONGEST_TITLE}, which figures can show"
            )
        shown = " ".join(unicodedata.normalize("NFC", algorithm.title).split())  # as a page shows it
        if (other := owners.setdefault(shown, name)) != name:
            raise GridError(
                f"{path}: algorithms {other} and {name} have the same title, {algorithm.title!r}; give one of them "
                "another 'title'"
            )


def _warn_of_endless_episodes(path: str, task: Task, steps: int) -> None:
    """Log a warning where nothing is known to end an episode of the task; exact problems end by themselves."""
    if task.max_episode_steps is not None or task.id in exact.PROBLEMS:
        return
    registered = gymnasium.registry.get(task.id.rpartition(":")[2])  # without making one: every job reads the grid
    if registered is None or registered.max_episode_steps is None:
        env = make_env(task)
        limit = time_limit_of(env)  # also of a wrapper of its own
        close(env)
        if limit is None:
            logging.getLogger(__name__).warning(
                f"{path}: task {task.label} has no time limit, so its episodes may never end; set max_episode_steps of "
                f"the task (as it is, an evaluation episode is cut after {min(steps, LONGEST_EPISODE):,} steps)"
            )


def _algorithm(path: str, name: str, entry: Any, tasks: Mapping[str, GridTask], *place: Any) -> GridAlgorithm:
    keys = section(path, f"algorithm {name}", entry, ALGORITHM_KEYS)
    if not is_name(name):
        raise GridError(
            f"{path}: an algorithm's name becomes a folder's: {name!r} may hold letters, digits, _ . + - only"
        )
    if keys["external"] is not None:
        return others.external_entry(path, name, keys, entry, tasks, *place)
    try:
        algorithm = others.class_of_entry(keys) or algorithm_class(keys["module"] or name)
    except GridError as error:
        raise GridError(f"{path}: algorithm {name}: {error}") from error
    for task, settings in keys["tasks"].items():
        if task not in tasks:
            raise GridError(f"{path}: algorithm {name} has settings for {task!r}; {nearest_first(task, list(tasks))}")
        if not MAPPING[0](settings):
            raise GridError(f"{path}: the settings of algorithm {name} for {task} must be a mapping, not {settings!r}")
    for task in keys["only"] or ():
        if task not in tasks:
            raise GridError(f"{path}: only of algorithm {name} has {task!r}; {nearest_first(task, list(tasks))}")
    space = read_space(path, name, keys["search_space"], algorithm)
    if keys["tuned"] and not space:
        raise GridError(f"{path}: algorithm {name} is to be tuned and has no search_space")
    tuned = bool(space) if keys["tuned"] is None else keys["tuned"]
    if tuned and keys["only"]:
        raise GridError(
            f"{path}: algorithm {name} is tuned, for all tasks of a group, and has 'only'; remove one of them"
        )
    only = None if keys["only"] is None else tuple(keys["only"])
    return GridAlgorithm(name, algorithm, keys["settings"], keys["tasks"], space, tuned, keys["title"], only)


def _check_minibatches(grid: Grid) -> None:
    """Raise GridError where a tuned algorithm could be given sizes that leave one advantage to normalise.

    Warns where a minibatch is larger than the rollout. Sizes that are not tuned are checked where settings resolve.
    """
    for name, entry in grid.algorithms.items():
        if not issubclass(entry.algorithm, Hooks):
            continue
        tuned = {task for study in grid.studies() if study.algorithm == name for task in (*study.tasks, *study.serves)}
        for task in filter(entry.runs_on, grid.tasks):
            algorithm = grid.resolved(name, task)
            assert isinstance(algorithm, Hooks)
            if (doubt := doubt_about_minibatches(algorithm)) is not None:
                warnings.warn(f"{grid.path}: algorithm {name} on {task}: {doubt}", stacklevel=2)
            searched = {size: entry.space[size].values() for size in SIZES if size in entry.space}
            sizes = one_step_among(algorithm, searched) if task in tuned and searched else None
            if sizes is not None:
                given = ", ".join(f"{size} = {value}" for size, value in sizes.items())
                raise GridError(
                    f"{grid.path}: search_space of {name} has {given}, which on {task} leaves a minibatch of a single "
                    "step, whose advantage cannot be normalised; search minibatch sizes that divide every rollout"
                )


def _claims(grid: Path, path: str, named: str | list[str] | None) -> tuple[Claim, ...]:
    """The claims of every grid, then those of the files that this grid names, relative to its folder; none for []."""
    if named == []:
        return ()
    names = [] if named is None else [named] if isinstance(named, str) else named
    for name in names:
        if not (grid.parent / name).is_file():
            missing = os.path.relpath(grid.parent / name, ROOT)
            raise GridError(f"{path}: claims has {name!r}, and there is no file of claims {missing}")
    files = [CLAIMS, *(grid.parent / name for name in names)]
    return read_all_claims([(file, os.path.relpath(file, ROOT)) for file in files])


def main() -> None:
    """Check a grid and write its manifest; or print which keys a grid may have."""
    parser = argparse.ArgumentParser(prog="python -m experiments.grid", description=main.__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--grid", help="a name under experiments/grids/ or a path to a YAML file")
    what.add_argument("--keys", action="store_true", help="print experiments/GRID.md: all keys of a grid")
    parser.add_argument("--output", help="where to write the manifest; without it, it is printed")
    arguments = parser.parse_args()
    if arguments.keys:
        print(page(), end="")
        return
    manifest = load_grid(arguments.grid).manifest()
    if arguments.output:
        write_record(Path(arguments.output), manifest)
    else:
        print(json.dumps(manifest, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    exit_with_sentence(main)
