"""Wrappers of a task's environments, named as text: "module:Class", with the arguments of its constructor."""

import importlib
from collections.abc import Iterable, Mapping
from typing import Any

import gymnasium

WRAPPER = "wrapper"  # the key that names the class; the others are its arguments


def are_wrappers(value: Any) -> bool:
    """Whether this is a list or tuple of mappings, each with a `wrapper`, module:Class, and text as keys."""
    return isinstance(value, list | tuple) and all(
        isinstance(about, Mapping)
        and all(isinstance(key, str) for key in about)
        and isinstance(about.get(WRAPPER), str)
        and all(about[WRAPPER].partition(":")[::2])
        for about in value
    )


def wrapped(env: gymnasium.Env[Any, Any], wrappers: Iterable[Mapping[str, Any]]) -> gymnasium.Env[Any, Any]:
    """The environment in these wrappers, the first innermost.

    Raises whatever their import or construction raises, and ValueError where one names no class of its module.
    """
    for about in wrappers:
        module, _, name = about[WRAPPER].partition(":")
        made = getattr(importlib.import_module(module), name, None)
        if not callable(made):
            raise ValueError(f"{module} has no wrapper {name!r}")
        env = made(env, **{key: value for key, value in about.items() if key != WRAPPER})
    return env


def modules_of(wrappers: Iterable[Mapping[str, Any]]) -> list[str]:
    """The modules that these wrappers are of."""
    return [about[WRAPPER].partition(":")[0] for about in wrappers]
