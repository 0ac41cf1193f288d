"""What an algorithm is: settings that are checked, a title, an equation, and a way to train."""

import copy
import dataclasses
import difflib
import functools
import math
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, Self, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
import torch
from gymnasium.spaces import Space
from torch import Tensor

from .checkout import file_of
from .run import EVALUATIONS, Run
from .task import Task, UnsupportedTask
from .vector_env import Episode

T = TypeVar("T")
OnUpdate = Callable[[int, list[Episode]], None]  # is told the steps taken and all episodes so far
OnWait = Callable[[str, int, list[Episode]], None]  # the same, after what is being done: "training", "evaluating", …

# What other libraries call a setting, and what it is called here.
ALIASES = {
    "learning_rate": ("policy_learning_rate", "value_learning_rate"),
    "lr": ("policy_learning_rate", "value_learning_rate"),
    "actor_lr": ("policy_learning_rate",),
    "critic_lr": ("value_learning_rate",),
    "anneal_lr": ("anneal_learning_rate",),
    "n_steps": ("rollout_length",),
    "num_steps": ("rollout_length",),
    "n_envs": ("num_envs",),
    "n_epochs": ("epochs",),
    "update_epochs": ("epochs",),
    "batch_size": ("minibatch_size",),
    "train_freq": ("rollout_length",),
    "replay_size": ("buffer_size",),
    "start_steps": ("learning_starts",),
    "polyak": ("tau",),
    "policy_freq": ("policy_delay",),
    "target_policy_noise": ("smoothing_noise",),
    "policy_noise": ("smoothing_noise",),
    "target_noise_clip": ("smoothing_clip",),
    "noise_clip": ("smoothing_clip",),
    "action_noise": ("exploration_noise",),
    "alpha": ("temperature",),
    "ent_coef": ("entropy_coefficient", "temperature"),
    "clip_range": ("clip",),
    "clip_coef": ("clip",),
    "beta": ("penalty",),
    "kl_target": ("penalty_target", "target_kl"),
    "max_kl": ("target_kl",),
    "cg_max_steps": ("conjugate_gradient_steps",),
    "cg_damping": ("damping",),
    "sub_sampling_factor": ("fisher_every",),
    "line_search_max_iter": ("line_search_steps",),
    "line_search_shrinking_factor": ("line_search_shrinking",),
    "n_critic_updates": ("value_epochs",),
    "clip_range_vf": ("clip_values",),
    "discount": ("gamma",),
    "lam": ("gae_lambda",),
    "normalize_advantage": ("normalize_advantages",),
    "norm_adv": ("normalize_advantages",),
    "net_arch": ("hidden_sizes",),
    "activation_fn": ("activation",),
}


class InvalidSetting(ValueError):
    """A setting that does not exist, has the wrong type, or is out of range."""


class InvalidAlgorithm(ValueError):
    """A method of an algorithm returned something invalid; the message names the file, the class and the method."""


def setting(default: T, *, low: float | None = None, high: float | None = None, above: float | None = None) -> T:
    """A field of an algorithm: its default and, for a number, the smallest and the largest value that is allowed.

    `low` and `high` are allowed themselves, `above`, in place of `low`, is not; without them, every finite number is.
    For a tuple they bound each element. None is allowed if the type of the field has it. A subclass that gives the
    field another default keeps its bounds.
    """
    return field(default=default, metadata={"low": low, "high": high, "above": above})


def memory(default: float) -> float:
    """A field that is no setting: what `after_update` keeps for its next call; a run begins with `default`.

    `changed` gives it another value. `dataclasses.replace` makes an algorithm that has not begun to learn, and so puts
    it back to `default`.
    """
    return field(default=default, init=False)


@dataclass(frozen=True)
class Algorithm:
    """A frozen set of settings that can be trained on a task.

    A subclass is a frozen dataclass: its fields are its settings, each with a type and a default, but for what is
    `memory`. `title`, `equation` and the first line of its docstring appear in the report.
    """

    title: ClassVar[str]
    equation: ClassVar[str]
    # What takes statistics of episodes beside the updates and is refused: of "normalize_observations" and
    # "normalize_rewards", of a task, and "tuning", by a study.
    refuses: ClassVar[tuple[str, ...]] = ()

    def train(
        self,
        task: Task,
        seed: int,
        steps: int,
        *,
        checkpoint_fractions: Sequence[float] = (),
        compile: str = "auto",
        runs: int = 5,
        evaluations: Sequence[str] = EVALUATIONS,
        on_update: OnUpdate = lambda steps, episodes: None,
    ) -> Run:
        """Train for `steps` environment steps. The result depends on the algorithm, task, seed and steps alone.

        - `checkpoint_fractions`: the fractions of the budget, in [0, 1], at which the learner's arrays are kept
        - `compile`: "auto", "always" or "never"; `runs`: how many runs of this length share the machine code. An
          algorithm that compiles nothing ignores both.
        - `evaluations`: the kinds of evaluation that the run ends with (`run.EVALUATIONS`)
        - `on_update`: is called after every update with the steps taken and a list of all episodes so far

        An algorithm that another library trains overrides this method and returns the same Run. Its `train` may name
        further arguments, and is not given them where it does not:

        - `on_wait`: is called every ten seconds within a rollout or an evaluation, with what is being done
        - `evaluate_every` and `evaluate_episodes`: the steps between evaluations in the middle of the training (None:
          there are none), and the episodes of each; they are `evaluations` of the Run
        - `on_boundary`, `trained` and `on_trained`: see `training.train`
        """
        raise NotImplementedError(f"{where(self)} has no method train")

    def task_problem(self, action_space: Space[Any]) -> str | None:
        """Why it cannot act in a space, as the end of a sentence that begins with a task; None where it can."""
        return None

    @property
    def depends_on_actions(self) -> bool:
        """Whether `task_problem` may find one; where not, no environment is made to ask it."""
        return type(self).task_problem is not Algorithm.task_problem

    def check_actions(self, task: Task, action_space: Space[Any]) -> None:
        """Raise UnsupportedTask, with a sentence, where one finds a problem: `task_problem` or `statistics_problem`."""
        if (problem := self.statistics_problem(task) or self.task_problem(action_space)) is not None:
            raise UnsupportedTask(f"task {task.label!r} {problem}")

    def statistics_problem(self, task: Task, tuned: bool = False) -> str | None:
        """Which of what `refuses` names there is, as the end of a sentence that begins with a task; None: nothing."""
        for name in self.refuses:
            if name == "tuning" and tuned:
                return f"is tuned, and the scores of a study tell of episodes what {type(self).__name__} must not"
            if name != "tuning" and getattr(task, name):
                return (
                    f"has {name}, and {type(self).__name__} takes no such statistics, which would be of all episodes "
                    "and are not part of its updates; set it to false, and scale by fixed numbers"
                )
        return None

    def budget_problem(self, steps: int) -> str | None:
        """A sentence about settings that do not fit each other or a budget of `steps`; None where they fit."""
        return None

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """The algorithm with `settings` in place of its defaults.

        An integer is accepted as a float, 1e4 as an integer, and a list as a tuple; text such as "1e-3" is not accepted
        as a number. Raises InvalidSetting if a name is unknown (the message has the name that is meant), if a type is
        wrong, or if a value is out of its bounds. So does the class itself: `PPO(lr=1)`.
        """
        return cls(**settings)

    def __new__(cls, *values: Any, **settings: Any) -> Self:
        """Refuse a name that is no setting with the name that is meant, before `__init__` refuses it without."""
        names = [f.name for f in fields(cls) if f.init]
        for name in settings:
            if name not in names:
                raise InvalidSetting(f"{cls.__name__} has no setting {name!r}; {_meant(name, names)}")
        return super().__new__(cls)

    def settings(self) -> dict[str, Any]:
        """Every setting by name, as JSON and YAML have it: a tuple is a list."""
        values = dataclasses.asdict(self)
        of_settings = {f.name: values[f.name] for f in fields(self) if f.init}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in of_settings.items()}

    def numbers(self) -> Tensor:
        """The settings and the memory whose values are floats, in the order of the fields; float64 [K]."""
        return torch.tensor([getattr(self, name) for name in self._names_of_numbers()], dtype=torch.float64)

    def with_numbers(self, numbers: Tensor) -> Self:
        """The same algorithm with the elements of `numbers` [K], 0-d tensors, in place of its floats."""
        result = copy.copy(self)
        for name, number in zip(self._names_of_numbers(), numbers.unbind(), strict=True):
            object.__setattr__(result, name, number)
        return result

    def changed(self, **numbers: float) -> Self:
        """The same algorithm with other values of settings that are floats, or of its memory; for `after_update`.

        Unlike `dataclasses.replace` it checks no bounds, and so takes a microsecond: it may be called after every
        gradient step.
        """
        result = copy.copy(self)
        for name, number in numbers.items():
            if type(getattr(self, name)) is not float:
                raise InvalidSetting(f"{name} of {type(self).__name__} is no float, and only these may change in a run")
            object.__setattr__(result, name, float(number))
        return result

    def _names_of_numbers(self) -> list[str]:
        return [f.name for f in fields(self) if type(getattr(self, f.name)) is float]

    def __post_init__(self) -> None:
        """Check the type and the bounds of every setting. Raises InvalidSetting with its name and what is expected."""
        cls: Any = type(self)
        bounds = _bounds(cls)
        for name, hint in _hints(cls).items():
            value = getattr(self, name)
            if not _is_a(value, hint):
                raise InvalidSetting(f"{name} of {cls.__name__} must be {_describe(hint)}, not {value!r}")
            value = _converted(value, hint)
            object.__setattr__(self, name, value)
            rule = _broken_rule(value, **bounds[name])
            if rule is not None:
                raise InvalidSetting(f"{name} of {cls.__name__} must be {rule}, not {value}")


def whole(value: Any) -> Any:
    """A number without a fraction as an int, such as 1e4; anything else, also True, as it is."""
    if isinstance(value, np.integer) or (isinstance(value, float | np.floating) and float(value).is_integer()):
        return int(value)
    return value


def where(algorithm: Algorithm) -> str:
    """The file and the class of an algorithm, as the beginning of a sentence about it."""
    cls = type(algorithm)
    return f"{file_of(cls.__module__)}.py: {cls.__name__}"


def nearest_first(name: str, names: list[str]) -> str:
    """A half-sentence with the valid names, the nearest to `name` first."""
    return _did_you_mean(difflib.get_close_matches(name, names, n=1), names)


def _meant(name: str, names: list[str]) -> str:
    """A half-sentence with the valid settings, first those that other libraries call `name`, or else the nearest."""
    known = [n for n in ALIASES.get(name, ()) if n in names]
    return _did_you_mean(known, names) if known else nearest_first(name, names)


def _did_you_mean(first: list[str], names: list[str]) -> str:
    others = ", ".join([n for n in names if n not in first])
    if not first:
        return f"valid are: {others}"
    return f"did you mean {' or '.join(map(repr, first))}?" + (f" Others are: {others}" if others else "")


@functools.cache
def _hints(cls: Any) -> dict[str, Any]:
    """The type of each setting by its name."""
    hints = get_type_hints(cls)
    return {f.name: hints[f.name] for f in fields(cls)}


@functools.cache
def _bounds(cls: Any) -> dict[str, Mapping[str, float | None]]:
    """The bounds of each setting by its name, as `setting` takes them; the class or what it inherits from says them."""
    bounds: dict[str, Mapping[str, float | None]] = {}
    for base in reversed(cls.__mro__):
        for name, of_field in vars(base).get("__dataclass_fields__", {}).items():
            bounds[name] = of_field.metadata or bounds.get(name, {})  # empty where a subclass gives a default alone
    return bounds


def _broken_rule(
    value: Any, low: float | None = None, high: float | None = None, above: float | None = None
) -> str | None:
    """What a number, or each number of a tuple, should be and is not; None where nothing is wrong."""
    numbers = [x for x in (value if isinstance(value, tuple) else (value,)) if type(x) in (int, float)]
    if all(
        math.isfinite(x) and (low is None or x >= low) and (high is None or x <= high) and (above is None or x > above)
        for x in numbers
    ):
        return None
    if above is not None:
        return f"finite and above {above:g}" + (f" and at most {high:g}" if high is not None else "")
    if low is not None and high is not None:
        return f"between {low:g} and {high:g}"
    if low == 0:
        return "finite and not negative"
    ends = [f"at least {low:g}"] if low is not None else [f"at most {high:g}"] if high is not None else []
    return " and ".join([*(["finite"] if type(numbers[0]) is float else []), *ends])


def _options(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _is_a(value: Any, hint: Any) -> bool:
    """Whether a setting's value fits its annotation.

    A bool is no number, an int is a float, a float without a fraction is an int, a list is a tuple.
    """
    for option in _options(hint):
        if get_origin(option) is Literal:
            if value in get_args(option):
                return True
        elif get_origin(option) is tuple:
            of = get_args(option)[0]
            fractional = () if of is float else (float, np.floating)  # 1e4 is a size, and [64.0] a mistake
            if isinstance(value, list | tuple) and all(_is_a(x, of) and not isinstance(x, fractional) for x in value):
                return True
        elif type(value) is option or _is_number(value, option):
            return True
    return False


def _is_number(value: Any, kind: Any) -> bool:
    """Whether this is a number of the kind int or float, by its value."""
    is_whole = type(whole(value)) is int
    return is_whole if kind is int else kind is float and (is_whole or isinstance(value, float | np.floating))


def _converted(value: Any, hint: Any) -> Any:
    """A setting's value in the type of its annotation."""
    options = _options(hint)
    if isinstance(value, list | tuple):
        of_elements = next((get_args(option)[0] for option in options if get_origin(option) is tuple), Any)
        return tuple(_converted(x, of_elements) for x in value)
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return value
    if int in options and (float not in options or isinstance(value, int | np.integer)):
        return whole(value)
    return float(value) if float in options else value


def _describe(hint: Any) -> str:
    """A type, for a person to read."""
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}
    return " or ".join(
        " or ".join(map(repr, get_args(option)))
        if get_origin(option) is Literal
        else "a list of whole numbers"
        if get_origin(option) is tuple
        else names.get(option, str(option))
        for option in _options(hint)
    )
