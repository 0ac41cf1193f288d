"""What of a grid is tuned: search spaces over an algorithm's settings, and the studies that search them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from policy_gradient_ladder.core.algorithm import Algorithm, InvalidSetting, nearest_first, whole

from .checks import MAPPING, REQUIRED, Check, GridError, Whole, all_different, is_name, is_number, section
from .schema import SCALES

# Those that decide by what trials have reported alone. SuccessiveHalvingPruner notes in the trial that it was asked
# before it decides, so that a study killed in between would go on otherwise.
PRUNERS = ("MedianPruner", "PercentilePruner", "ThresholdPruner", "NopPruner")
FEWEST_SEEDS = 2  # of tuning: the score of one seed is as much luck as settings


class InvalidStudy(ValueError):
    """Files of a study that are damaged or belong to another study. The message names them and says what to do."""


@dataclass(frozen=True)
class Dimension:
    """The values that one setting may take: numbers from `low` to `high`, both included, or one of `choices`."""

    low: float | None  # of the setting's own type: between whole numbers lie whole numbers
    high: float | None
    scale: str  # log_one_minus is for γ: 1 − γ is searched on a logarithmic scale
    choices: tuple

    def holds(self, value: Any) -> bool:
        """Whether a setting's value lies in the space."""
        if self.choices:
            return any(type(value) is type(choice) and value == choice for choice in self.choices)
        return is_number(value) and self.low <= value <= self.high

    def values(self) -> Sequence[Any]:
        """Every value of choices or of whole numbers; of other numbers the two ends."""
        if self.choices:
            return self.choices
        return range(self.low, self.high + 1) if type(self.low) is int else (self.low, self.high)

    def description(self) -> dict[str, Any]:
        """As it stands in a grid file."""
        if self.choices:
            return {"choices": list(self.choices)}
        return {"low": self.low, "high": self.high, "scale": self.scale}


SearchSpace = dict[str, Dimension]


@dataclass(frozen=True)
class Group:
    """Tasks that are tuned together: tuning tasks with the steps of a training, and the tasks that take the winner."""

    tasks: dict[str, int]
    serves: tuple[str, ...]


@dataclass(frozen=True)
class Tuning:
    """How studies are made; the same for every algorithm."""

    seeds: tuple[int, ...]
    fresh_seeds: tuple[int, ...]  # on which the winner and the untuned settings are compared when the trials are over
    trials: int
    startup_trials: int  # drawn at random, before the sampler learns from their scores
    sampler_seed: int
    spread_penalty: float  # times the standard deviation over seeds, taken off a trial's mean score
    pruner: dict[str, Any]  # the name of one of Optuna's, and its arguments
    workers: int  # processes that work on a study at a time; more than one is not repeatable
    groups: dict[str, Group]


@dataclass(frozen=True)
class Study:
    """One algorithm on one group of tasks, with everything that determines its trials."""

    algorithm: str
    group: str
    tasks: dict[str, int]  # steps of a training
    serves: tuple[str, ...]
    space: SearchSpace
    tuning: Tuning

    @property
    def directory(self) -> str:
        """Where its files lie, relative to the grid's results."""
        return f"tuning/{self.algorithm}/{self.group}"

    def description(self) -> dict[str, Any]:
        """As it stands in `grid.json`."""
        t = self.tuning
        return {
            "algorithm": self.algorithm,
            "group": self.group,
            "directory": self.directory,
            "tasks": self.tasks,
            "serves": list(self.serves),
            "seeds": list(t.seeds),
            "fresh_seeds": list(t.fresh_seeds),
            "trials": t.trials,
            "spread_penalty": t.spread_penalty,
            "sampler": {"name": "TPESampler", "seed": t.sampler_seed, "startup_trials": t.startup_trials},
            "pruner": t.pruner,
            "workers": t.workers,
            "space": {name: dimension.description() for name, dimension in self.space.items()},
        }


# ------------------------------------------------------------------------------------ from a grid file


def read_tuning(path: str, data: Any, seeds: Sequence[int], tasks: Sequence[str]) -> Tuning:
    """The section `tuning` of a grid. `path` is the grid's file in messages, `seeds` and `tasks` are the grid's.

    Raises GridError, also where one seed has two uses, such as tuning and evaluation.
    """
    keys = section(path, "tuning", data, TUNING_KEYS)
    purposes = {
        "seeds of the grid": seeds,
        "seeds of tuning": keys["seeds"],
        "fresh_seeds of tuning": keys["fresh_seeds"],
    }
    for i, (purpose, first) in enumerate(purposes.items()):
        for other, second in list(purposes.items())[i + 1 :]:
            common = sorted(set(first) & set(second))
            if common:
                raise GridError(
                    f"{path}: {purpose} and {other} share {common[0]}; what is tuned on a seed cannot be judged on it"
                )
    pruner = section(path, "pruner of tuning", keys["pruner"], PRUNER_KEYS, further=True)
    groups = {name: _group(path, name, entry, tasks) for name, entry in keys.pop("groups").items()}
    served = [task for group in groups.values() for task in group.serves]
    for task in served:
        if served.count(task) > 1:
            raise GridError(f"{path}: two groups of tuning serve {task}; a task takes its settings from one")
    lists = {key: tuple(keys.pop(key)) for key in ("seeds", "fresh_seeds")}
    return Tuning(**lists, **keys | {"pruner": pruner}, groups=groups)


def _group(path: str, name: str, entry: Any, tasks: Sequence[str]) -> Group:
    if not is_name(name):
        raise GridError(f"{path}: a group's name becomes a folder's: {name!r} may hold letters, digits, _ . + - only")
    keys = section(path, f"group {name} of tuning", entry, GROUP_KEYS)
    for task in (*keys["tasks"], *keys["serves"]):
        if task not in tasks:
            raise GridError(f"{path}: group {name} of tuning has {task!r}; {nearest_first(task, list(tasks))}")
    for task, steps in keys["tasks"].items():
        if not Whole(1)(steps):
            raise GridError(
                f"{path}: group {name} of tuning gives {task} {steps!r}; expected a whole number of steps from 1"
            )
    return Group({task: whole(steps) for task, steps in keys["tasks"].items()}, tuple(keys["serves"]))


def read_space(path: str, name: str, data: Mapping[str, Any], algorithm: type[Algorithm]) -> SearchSpace:
    """The search space of the grid's algorithm `name`, whose class is `algorithm`; `path` is the file in messages.

    Raises GridError where a setting is unknown, a value is of the wrong type or out of range, or a range is empty.
    """
    space = {}
    for setting, entry in data.items():
        where = f"{setting} in the search space of {name}"
        keys = section(path, where, entry, DIMENSION_KEYS)
        choices = tuple(keys["choices"] or ())
        if bool(choices) == ("low" in entry or "high" in entry) or ("low" in entry) != ("high" in entry):
            raise GridError(f"{path}: {where} needs either low and high, or choices")
        if choices and "scale" in entry:
            raise GridError(f"{path}: {where} has choices; a scale is for numbers from low to high")
        try:
            values = [
                algorithm.from_settings({setting: v}).settings()[setting]
                for v in choices or (keys["low"], keys["high"])
            ]
        except InvalidSetting as error:
            raise GridError(f"{path}: search space of {name}: {error}") from error
        dimension = (
            Dimension(None, None, keys["scale"], tuple(values)) if choices else Dimension(*values, keys["scale"], ())
        )
        problem = _problem(dimension)
        if problem:
            raise GridError(f"{path}: {where} {problem}")
        space[setting] = dimension
    return space


def _problem(dimension: Dimension) -> str | None:
    """What is wrong with a range or with choices."""
    low, high, scale = dimension.low, dimension.high, dimension.scale
    repeated = [choice for choice in dimension.choices if dimension.choices.count(choice) > 1]
    if repeated:
        return f"has {repeated[0]!r} twice among its choices"
    if dimension.choices:
        return None
    if low >= high:
        return f"is empty: low is {low} and high is {high}"
    if scale == "log" and low <= 0:
        return f"has low = {low}; the scale log needs a number above 0"
    if scale == "log_one_minus" and high >= 1:
        return f"has high = {high}; the scale log_one_minus needs a number below 1"
    if scale == "log_one_minus" and type(low) is int:
        return "has whole numbers; the scale log_one_minus needs numbers between whole ones"
    return None


def _whole(least: int) -> tuple:
    return Whole(least), f"a whole number from {least}"


def _seeds(least: int) -> tuple:
    return (
        lambda v: all_different(v, lambda seed: type(seed) is int and seed >= 0) and len(v) >= least,
        f"a list of at least {least} different whole numbers from 0",
    )


TUNING_KEYS: dict[str, Check] = {
    "seeds": Check(
        *_seeds(FEWEST_SEEDS), REQUIRED, "Seeds of the trials. No run and no comparison uses them.", "[100, 101]"
    ),
    "fresh_seeds": Check(
        *_seeds(1),
        REQUIRED,
        "Seeds on which the winner and the untuned settings are compared at the end.",
        "[200, 201]",
    ),
    "trials": Check(*_whole(2), REQUIRED, "Settings that are tried; the untuned ones are the first.", "16"),
    "startup_trials": Check(*_whole(1), REQUIRED, "Trials at random, before the sampler learns from them.", "6"),
    "sampler_seed": Check(*_whole(0), 0, "The seed of Optuna's sampler.", "1"),
    "spread_penalty": Check(
        lambda v: is_number(v) and v >= 0,
        "a number from 0",
        0.0,
        "Times the deviation over seeds, taken off the mean score of a trial.",
        "0.5",
    ),
    "pruner": Check(
        *MAPPING,
        default={"name": "NopPruner"},
        meaning="What stops trials that do badly. See below.",
        example="{name: MedianPruner, n_startup_trials: 4}",
    ),
    "workers": Check(*_whole(1), 1, "Processes that work on a study. With more than one it is not repeatable.", "2"),
    "groups": Check(
        lambda v: MAPPING[0](v) and len(v) > 0,
        "a mapping with at least one group",
        REQUIRED,
        "Groups of tasks that are tuned together. See below.",
        "{all: {tasks: {CartPole-v1: 20_000}, serves: [CartPole-v1]}}",
    ),
}
PRUNER_KEYS: dict[str, Check] = {
    "name": Check(
        lambda v: v in PRUNERS, f"one of {', '.join(PRUNERS)}", REQUIRED, "The name of one of Optuna's.", "MedianPruner"
    )
}
GROUP_KEYS: dict[str, Check] = {
    "tasks": Check(
        lambda v: MAPPING[0](v) and len(v) > 0,
        "a mapping of tasks to steps, with at least one",
        REQUIRED,
        "The tasks that are tuned on, with the steps of a training.",
        "{CartPole-v1: 20_000}",
    ),
    "serves": Check(
        lambda v: all_different(v, lambda task: isinstance(task, str)),
        "a list of different tasks",
        REQUIRED,
        "The tasks whose runs take the winner's settings.",
        "[CartPole-v1, Acrobot-v1]",
    ),
}
DIMENSION_KEYS: dict[str, Check] = {
    "low": Check(is_number, "a number", None, "The least value, with `high`.", "1e-4"),
    "high": Check(is_number, "a number", None, "The largest value, with `low`.", "1e-2"),
    "scale": Check(
        lambda v: v in SCALES,
        f"one of {', '.join(SCALES)}",
        "linear",
        "How values from low to high are drawn. log_one_minus is for γ.",
        "log",
    ),
    "choices": Check(
        lambda v: isinstance(v, list) and len(v) > 1,
        "a list of at least two values",
        None,
        "The values, in place of a range.",
        "[32, 64, 128]",
    ),
}
