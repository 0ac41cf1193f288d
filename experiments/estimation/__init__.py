"""Gradient estimators that are measured against closed forms: problems and estimators, each found by its file."""

import importlib
import inspect
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from .problem import Batch, Problem

FOLDER = Path(__file__).parent
PLAIN, NATURAL = "plain", "natural"  # the truths that an estimator may be of: ∇J and F⁺ ∇J
COMMON_NOISE = "common_noise"  # the setting of a variant whose episodes share the randomness of the task
DEFAULTS = {"TITLE": None, "SETTINGS": {}, "TRUTH": PLAIN, "LEAST_SAMPLES": 1, "COMMON_NOISE": False}


class InvalidEstimator(ValueError):
    """Raised where a file under estimators/ or problems/ does not hold what it should. The message is a sentence."""


@dataclass(frozen=True)
class Estimator:
    """What an estimator's file says."""

    name: str
    title: str
    gradients: Callable[[Batch], np.ndarray]  # [N, P], whose mean over N is the estimate
    settings: Mapping[str, tuple]  # the values of each setting
    truth: str  # PLAIN or NATURAL
    least_samples: int  # of a batch
    common_noise: bool  # whether it is measured with common random numbers, too

    def variants(self, settings: Mapping[str, tuple] | None = None) -> tuple["Variant", ...]:
        """One for each combination of settings; `settings` replace those of the file, by name."""
        values = {**self.settings, **(settings or {})}
        plain = [
            Variant(self.name, tuple(zip(values, chosen, strict=True)))
            for chosen in itertools.product(*values.values())
        ]
        common = [Variant(v.estimator, (*v.settings, (COMMON_NOISE, True))) for v in plain if self.common_noise]
        return (*plain, *common)


@dataclass(frozen=True)
class Variant:
    """An estimator with one value of each of its settings."""

    estimator: str
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def common_noise(self) -> bool:
        """Whether its episodes share the randomness of the task."""
        return (COMMON_NOISE, True) in self.settings

    def __str__(self) -> str:
        return " ".join([self.estimator, *(f"{name}={value}" for name, value in self.settings)])


def names(kind: str) -> list[str]:
    """The names of all files in the folder `kind`: "problems" or "estimators"."""
    return sorted(path.stem for path in (FOLDER / kind).glob("*.py") if path.stem != "__init__")


def file_of(kind: str, name: str) -> str:
    """A file of the folder `kind`, relative to the project."""
    return f"experiments/estimation/{kind}/{name}.py"


def load(kind: str, name: str) -> Any:
    """The module of a file. Raises InvalidEstimator where it cannot be imported."""
    try:
        return importlib.import_module(f"{__name__}.{kind}.{name}")
    except Exception as error:  # whatever the file does when it is imported
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise InvalidEstimator(f"{file_of(kind, name)} cannot be imported: {what}") from error


def problem_of(name: str) -> type[Problem]:
    """The class of the problem in problems/NAME.py. Raises InvalidEstimator where it does not define exactly one."""
    module = load("problems", name)
    own = [c for c in vars(module).values() if inspect.isclass(c) and issubclass(c, Problem)]
    own = [c for c in own if c.__module__ == module.__name__]
    if len(own) != 1:
        raise InvalidEstimator(f"{file_of('problems', name)} must define exactly one Problem; it defines {len(own)}")
    return own[0]


@cache
def estimator_of(name: str) -> Estimator:
    """The estimator in estimators/NAME.py. Raises InvalidEstimator where the file lacks something or has it wrong."""
    module, file = load("estimators", name), file_of("estimators", name)
    given = {key: getattr(module, key, default) for key, default in DEFAULTS.items()}
    settings = given["SETTINGS"]
    if not isinstance(given["TITLE"], str):
        raise InvalidEstimator(f"{file} needs a TITLE (text), which figures show")
    if not callable(getattr(module, "gradients", None)):
        raise InvalidEstimator(f"{file} needs a function gradients(batch), which returns float64 [N, P]")
    if given["TRUTH"] not in (PLAIN, NATURAL):
        raise InvalidEstimator(f"{file}: TRUTH must be {PLAIN!r} or {NATURAL!r}, not {given['TRUTH']!r}")
    if not isinstance(settings, dict) or not all(isinstance(v, tuple) and v for v in settings.values()):
        raise InvalidEstimator(f"{file}: SETTINGS must be a mapping of names to tuples of values, not {settings!r}")
    return Estimator(
        name, given["TITLE"], module.gradients, settings, given["TRUTH"], given["LEAST_SAMPLES"], given["COMMON_NOISE"]
    )
