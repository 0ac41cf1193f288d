"""What an algorithm is: a frozen set of hyperparameters, an advantage and a policy loss."""

import copy
import dataclasses
import difflib
import math
import types
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, Self, Union, get_args, get_origin, get_type_hints

import numpy as np
import torch
from torch import Tensor

from algorithms.core.batch import Batch
from algorithms.core.rollout import Rollout

AT_MOST_ONE = ("gamma", "gae_lambda")


class InvalidSetting(ValueError):
    """A hyperparameter that does not exist, has the wrong type, or is out of range."""


@dataclass(frozen=True)
class Algorithm:
    """The hyperparameters that every algorithm has. A subclass adds its own and says what makes it different.

    A subclass defines `advantages` and `policy_loss`; `equation` and the docstring's first line appear in the report.
    """

    title: ClassVar[str]
    equation: ClassVar[str]
    whole_episodes: ClassVar[bool] = False  # collect complete episodes only
    value_function: ClassVar[bool] = True  # is there a critic

    num_envs: int = 8
    rollout_length: int = 128  # per environment: steps, or complete episodes where `whole_episodes`
    gamma: float = 0.99
    policy_learning_rate: float = 3e-4
    value_learning_rate: float = 1e-3
    anneal_learning_rate: bool = False  # both rates fall linearly to zero over the run
    adam_epsilon: float = 1e-5
    max_grad_norm: float | None = 0.5
    clip_together: bool = False  # the norm of policy's and critic's gradients as one, where they share minibatches
    entropy_coefficient: float = 0.0
    normalize_advantages: bool = False  # per minibatch, to zero mean and unit deviation
    epochs: int = 1  # passes of the policy over a rollout
    minibatch_size: int | None = None  # None: the whole rollout
    value_epochs: int | None = None  # passes of the critic; None: as many as the policy's
    value_minibatch_size: int | None = None  # None: as the policy's
    target_kl: float | None = None  # no further epoch of the policy once KL(π_old, π) is above this

    def advantages(self, rollout: Rollout) -> np.ndarray:
        """Ψ_t, float [T, N]."""
        raise NotImplementedError

    def policy_loss(self, log_prob: Tensor, batch: Batch) -> Tensor:
        """The scalar whose gradient is minus the policy gradient; `log_prob` [B] is the current policy's log π(a|s).

        A function of its arguments and the settings alone, in Torch: it is run once, compiled, and never run again. In
        that run the settings that are floats are 0-d tensors; where it cannot do with those, they are floats there too.
        """
        raise NotImplementedError

    def value_loss(self, values: Tensor, batch: Batch) -> Tensor:
        """½ (V(s_t) − target)², the target being Ψ_t + V(s_t) from before the update; scalar. `values` is [B]."""
        return 0.5 * (values - batch.value_targets).square().mean()

    def diagnostics(self, log_prob: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Further scalars to record after an update, by column name."""
        return {}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """The algorithm with `settings` in place of its defaults.

        Raises InvalidSetting where a name is unknown (naming the nearest valid one), a type is wrong or a value is out
        of range. Integers are taken for floats, and text such as "1e-3" is not.
        """
        hints = get_type_hints(cls)
        names = [f.name for f in fields(cls)]
        for name, value in settings.items():
            if name not in names:
                raise InvalidSetting(f"{cls.__name__} has no setting {name!r}; {nearest_first(name, names)}")
            if not _is_a(value, hints[name]):
                raise InvalidSetting(f"{name} of {cls.__name__} must be {_describe(hints[name])}, not {value!r}")
        return cls(**{n: float(v) if type(v) is int and _is_a(0.5, hints[n]) else v for n, v in settings.items()})

    def settings(self) -> dict[str, Any]:
        """Every hyperparameter by name."""
        return dataclasses.asdict(self)

    def numbers(self) -> Tensor:
        """The settings whose values are floats, in the order of the fields; float64 [K]."""
        return torch.tensor([getattr(self, name) for name in self._names_of_numbers()], dtype=torch.float64)

    def with_numbers(self, numbers: Tensor) -> Self:
        """The same algorithm with the elements of `numbers` [K], 0-d tensors, in place of its floats."""
        result = copy.copy(self)
        for name, number in zip(self._names_of_numbers(), numbers.unbind(), strict=True):
            object.__setattr__(result, name, number)
        return result

    def _names_of_numbers(self) -> list[str]:
        return [f.name for f in fields(self) if type(getattr(self, f.name)) is float]

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for f in fields(self):
            whole = float not in _options(hints[f.name])
            value = getattr(self, f.name)
            rule = _broken_rule(f.name, value, whole)
            if rule and not _broken_rule(f.name, f.default, whole):
                raise InvalidSetting(f"{f.name} of {type(self).__name__} must be {rule}, not {value}")


def _broken_rule(name: str, value: Any, whole: bool) -> str | None:
    """What a number should be and is not; a setting whose own default breaks the rule is not bound by it."""
    if type(value) not in (int, float):
        return None
    if whole and value < 1:
        return "at least 1"
    if not (math.isfinite(value) and value >= 0):
        return "finite and not negative"
    if name in AT_MOST_ONE and value > 1:
        return "between 0 and 1"
    return None


def nearest_first(name: str, names: list[str]) -> str:
    """A half-sentence with the valid names, the nearest to `name` first."""
    nearest = difflib.get_close_matches(name, names, n=1)
    others = ", ".join([n for n in names if n not in nearest])
    if not nearest:
        return f"valid are: {others}"
    return f"did you mean {nearest[0]!r}?" + (f" Others are: {others}" if others else "")


def _options(hint: Any) -> tuple:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _is_a(value: Any, hint: Any) -> bool:
    """Whether a setting's value fits its annotation; a bool is no number, an int is a float."""
    for option in _options(hint):
        if get_origin(option) is Literal:
            if value in get_args(option):
                return True
        elif type(value) is option or (option is float and type(value) is int):
            return True
    return False


def _describe(hint: Any) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}
    return " or ".join(
        " or ".join(map(repr, get_args(option))) if get_origin(option) is Literal else names.get(option, str(option))
        for option in _options(hint)
    )
