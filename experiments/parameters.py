"""Settings as Optuna has them, and back."""

import json
from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from experiments.search import Dimension, Study


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
