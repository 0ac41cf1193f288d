"""Settings as Optuna has them, and back."""

import json
from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from policy_gradient_ladder.core.algorithm import nearest_first

from .checks import is_number
from .search import Dimension, InvalidStudy, Study


def parameter(name: str, dimension: Dimension) -> str:
    """What Optuna calls the setting."""
    return f"1 - {name}" if dimension.scale == "log_one_minus" else name


def distribution(dimension: Dimension) -> BaseDistribution:
    """What Optuna draws from."""
    low, high, log = dimension.low, dimension.high, dimension.scale == "log"
    if dimension.choices:
        return CategoricalDistribution([as_choice(choice) for choice in dimension.choices])
    if dimension.scale == "log_one_minus":
        return FloatDistribution(1 - high, 1 - low, log=True)
    return IntDistribution(low, high, log=log) if type(low) is int else FloatDistribution(low, high, log=log)


def distributions_of(study: Study) -> dict[str, BaseDistribution]:
    """What Optuna draws every setting from, by the names that it has for them."""
    return {parameter(name, dimension): distribution(dimension) for name, dimension in study.space.items()}


def enqueued(study: Study, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a user has enqueued, by Optuna's names for settings or by their own, as Optuna has it.

    Raises InvalidStudy, whose message is the middle of a sentence, where a setting is not searched or its value lies
    outside the search space.
    """
    names = {parameter(name, dimension): name for name, dimension in study.space.items()}
    found = {}
    for name, value in given.items():
        setting = names.get(name, name)
        if setting not in study.space:
            raise InvalidStudy(f"{name} = {value!r}, which is not searched; {nearest_first(name, list(names))}")
        dimension = study.space[setting]
        valid = as_choice(value)
        if name == setting and dimension.scale == "log_one_minus" and is_number(value):
            valid = 1 - value
        of = distribution(dimension)
        if isinstance(of, CategoricalDistribution):
            is_truth = isinstance(valid, bool)
            equal = [choice for choice in of.choices if choice == valid and isinstance(choice, bool) == is_truth]
        else:
            whole = isinstance(of, IntDistribution)
            inside = is_number(valid) and of.low <= valid <= of.high and not (whole and valid % 1)
            equal = [int(valid) if whole else float(valid)] if inside else []
        if not equal:
            space = ", ".join(f"{key} {value}" for key, value in dimension.description().items())
            raise InvalidStudy(f"{name} = {value!r}, which lies outside the search space ({setting}: {space})")
        found[parameter(setting, dimension)] = equal[0]
    return found


def to_parameters(study: Study, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as Optuna has them."""
    ends = {name: 1 - value for name, value in settings.items() if study.space[name].scale == "log_one_minus"}
    return {parameter(name, study.space[name]): ends.get(name, as_choice(value)) for name, value in settings.items()}


def as_choice(value: Any) -> Any:
    """A setting's value as Optuna's journal can hold it: a list, of hidden sizes say, as JSON."""
    return json.dumps(value) if isinstance(value, list) else value


def to_settings(study: Study, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What Optuna has drawn, as settings."""
    settings = {}
    for name, dimension in study.space.items():
        if parameter(name, dimension) in parameters:
            value = parameters[parameter(name, dimension)]
            if dimension.scale == "log_one_minus":
                value = min(max(1 - value, dimension.low), dimension.high)  # rounded, an end may lie outside
            lists = {as_choice(choice): choice for choice in dimension.choices if isinstance(choice, list)}
            value = lists.get(value, value)
            settings[name] = value
    return settings
