"""What an environment may return from `reset` and from `step`, and the sentence that says what it returned instead.

Gymnasium's own `check_env` is not asked: it warns where this suite can go on (observations in another precision, an
environment that does not repeat itself), names no task, and passes an observation of another shape with a warning.
"""

import reprlib
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Dict, Discrete, MultiBinary, MultiDiscrete, Space, Tuple

from .task import UnsupportedTask

WRAPPERS = Path(gymnasium.__file__).parent / "wrappers"
NUMBERS = "biuf"  # NumPy's kinds: booleans, integers, floats
REMEDY = "the interface is that of gymnasium.Env since Gymnasium 0.26"


def check_reset(task_name: str, space: Space[Any], returned: Any) -> None:
    """Raise UnsupportedTask, with a sentence, where `reset` returned no (observation, info) of a task.

    `space` is the one that the environment declares for its observations.
    """
    said = f"task {task_name!r}: reset returned"
    if not isinstance(returned, tuple | list) or len(returned) != 2:
        raise UnsupportedTask(f"{said} {shown(returned)} instead of (observation, info); {REMEDY}")
    observation, info = returned
    check_observation(said, space, observation)
    _check_info(said, info)


def check_step(task_name: str, space: Space[Any], returned: Any) -> None:
    """Raise UnsupportedTask, with a sentence, where `step` returned something else than Gymnasium's five values.

    NaN and infinity pass: they are numbers here, and judged where the run meets them.
    """
    said = f"task {task_name!r}: step returned"
    if not isinstance(returned, tuple | list) or len(returned) != 5:
        expected = "(observation, reward, terminated, truncated, info)"
        raise UnsupportedTask(f"{said} {shown(returned)} instead of {expected}; {REMEDY}")
    observation, reward, terminated, truncated, info = returned
    if not _is_number(reward):
        raise UnsupportedTask(
            f"task {task_name!r} gives the reward {shown(reward)}, which is not a number; return one, such as "
            "float(reward)"
        )
    for name, value in (("terminated", terminated), ("truncated", truncated)):
        if not (_is_number(value) and float(value) in (0, 1)):
            raise UnsupportedTask(f"{said} {name} = {shown(value)}; expected is True or False")
    if not terminated:  # nothing depends on the observation of a terminal state
        check_observation(said, space, observation)
    _check_info(said, info)


def explain(task_name: str, env: gymnasium.Env[Any, Any], error: Exception) -> None:
    """Raise UnsupportedTask where an exception from `reset` or `step` is due to the interface; return otherwise.

    One of Gymnasium's wrappers may stumble over what the environment inside it returned. That environment is then
    asked again without the wrappers.
    """
    for keyword in ("seed", "options"):
        if isinstance(error, TypeError) and f"unexpected keyword argument '{keyword}'" in str(error):
            raise UnsupportedTask(
                f"task {task_name!r}: reset does not take {keyword}=…; it needs reset(self, *, seed=None, "
                f"options=None), since {REMEDY}"
            ) from error
    if Path(traceback.extract_tb(error.__traceback__)[-1].filename).is_relative_to(WRAPPERS):
        inside = env.unwrapped
        try:
            check_reset(task_name, inside.observation_space, inside.reset(seed=0))
            check_step(task_name, inside.observation_space, inside.step(inside.action_space.sample()))
        except UnsupportedTask:
            raise
        except Exception:  # it is not the interface; the caller raises the exception that it has
            return


def place_of(error: Exception) -> str:
    """The method, file and line of the environment that an exception came through last, " (…)"; "" where of none."""
    place = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        code = frame.f_code
        if isinstance(frame.f_locals.get("self"), gymnasium.Env) and not Path(code.co_filename).is_relative_to(
            WRAPPERS
        ):
            place = f" ({code.co_name}, {Path(code.co_filename).name}, line {line})"
    return place


def shown(value: Any) -> str:
    """A value, short enough for a sentence: an array by its shape and type, a tuple by its members."""
    if isinstance(value, np.ndarray) and value.ndim > 0:
        return f"an array of shape {value.shape} and type {value.dtype}"
    if isinstance(value, tuple):
        return f"a tuple of {len(value)} ({', '.join(type(part).__name__ for part in value)})"
    return " ".join(reprlib.repr(value).split())


def check_observation(said: str, space: Space[Any], observation: Any) -> None:
    """Raise UnsupportedTask, in a sentence that begins with `said`, where this is no observation in a space."""
    problem = _unlike(space, observation)
    if problem is not None:
        raise UnsupportedTask(
            f"{said} the observation {problem}; its observation_space is {space}, and one of the two has to change"
        )


def _check_info(said: str, info: Any) -> None:
    if not isinstance(info, Mapping):
        raise UnsupportedTask(f"{said} info = {shown(info)}; expected is a dict")


def _unlike(space: Space[Any], value: Any) -> str | None:
    """What a value is that cannot be an observation in a space; None where it can.

    A number of another type or precision can be one, and so can a number beyond the bounds of a Box: nothing depends
    on these bounds. NaN and infinity pass, as in `check_step`.
    """
    if isinstance(space, Dict):
        if not isinstance(value, Mapping) or set(value) != set(space.spaces):
            return shown(value)
        problems = {f"[{key!r}]": _unlike(part, value[key]) for key, part in space.spaces.items()}
        return next((f"with {key} = {problem}" for key, problem in problems.items() if problem), None)
    if isinstance(space, Tuple):
        if not isinstance(value, tuple | list) or len(value) != len(space.spaces):
            return shown(value)
        parts = [_unlike(part, of_value) for part, of_value in zip(space.spaces, value, strict=True)]
        return next((f"with [{i}] = {problem}" for i, problem in enumerate(parts) if problem), None)
    array = _array(value)
    if array is None or array.shape != (space.shape or ()):
        return shown(value)
    if isinstance(space, Discrete | MultiDiscrete | MultiBinary):
        if not np.isfinite(array).all():
            return None
        whole = array.astype(np.int64)
        if not np.array_equal(array, whole) or not space.contains(whole.astype(space.dtype)[()]):
            return f"{reprlib.repr(value)}, which is outside its space"
    return None


def _array(value: Any) -> np.ndarray | None:
    """A value as an array of numbers; None where it is none."""
    try:
        array = np.asarray(value)
    except Exception:  # whatever a foreign type does when it is converted
        return None
    return array if array.dtype.kind in NUMBERS else None


def _is_number(value: Any) -> bool:
    """Whether this is one number: no text, no None, no complex number, no array with dimensions."""
    if np.ndim(value) > 0 or isinstance(value, str | bytes | complex | np.complexfloating):
        return False
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True
