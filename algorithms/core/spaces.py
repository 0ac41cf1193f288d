"""A task's spaces as networks see them: an observation is a row of numbers, an action is choices or a row of numbers.

Observations are flattened by Gymnasium's `flatten`. Actions of n-dimensional spaces are flat here, in the order of
`numpy.ravel`, and get their shape when they go to the environment.
"""

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Tuple
from gymnasium.spaces.utils import flatdim, flatten

from .acting import wide_bounds

SMALLEST_IMAGE = 8  # pixels a side; a smaller array of bytes is a board, say
CHANNELS = (1, 3, 4)  # of an image: grey, colours, colours with opacity (or four frames)


def action_parts(space: Space[Any]) -> tuple[int, ...] | None:
    """How many choices each part of an action has, (n_1, …, n_K); None where an action has no parts.

    MultiDiscrete has as many parts as its nvec has entries, and MultiBinary one part of 2 choices for each entry.
    """
    if isinstance(space, MultiDiscrete):
        return tuple(int(n) for n in space.nvec.ravel())
    return (2,) * int(np.prod(space.shape)) if isinstance(space, MultiBinary) else None


def action_size(space: Space[Any]) -> int:
    """The number of outputs of a policy: the choices of Discrete, Σ n_k of parts, the numbers of a Box."""
    parts = action_parts(space)
    if parts is not None:
        return sum(parts)
    return int(space.n) if isinstance(space, Discrete) else int(np.prod(space.shape or ()))


def in_shape(space: Space[Any], actions: np.ndarray) -> list[np.ndarray]:
    """Flat actions [N, A], as a policy gives them, as N members of a MultiDiscrete, MultiBinary or Box."""
    actions = actions.reshape(len(actions), *(space.shape or ()))
    if isinstance(space, MultiDiscrete):
        actions = actions + space.start
    actions = actions.astype(space.dtype, copy=False)
    return [actions[i, ...] for i in range(len(actions))]  # arrays also where the space has no dimension


def action_problem(space: Space[Any], action_bounds: str) -> str | None:
    """Why no policy can act in a space with these `action_bounds`, as a clause with what to do; None where one can."""
    floats = isinstance(space, Box) and np.issubdtype(space.dtype, np.floating)
    if not (floats or isinstance(space, Discrete | MultiDiscrete | MultiBinary)):
        return (
            "but supported are Discrete, MultiDiscrete, MultiBinary and a Box of floats; register the environment in a "
            "gymnasium.wrappers.TransformAction that takes one of these (MultiDiscrete for whole numbers, say)"
        )
    if action_size(space) == 0:
        return "which has nothing to choose; an action needs at least one number or choice"
    return squash_problem(space) if action_bounds == "squash" else None


def squash_problem(space: Space[Any]) -> str | None:
    """Why actions in a space cannot be squashed into its bounds, as a clause; None where they can."""
    if not (isinstance(space, Box) and space.is_bounded()):
        return "but action_bounds 'squash' needs a Box with finite bounds; use 'clip'"
    if not _has_widths(space):
        return (
            "but action_bounds 'squash' needs bounds whose distance is above 0 and finite in single precision; "
            "use 'clip', or rescale the actions with gymnasium.wrappers.RescaleAction"
        )
    return None


def scaling_problem(space: Space[Any]) -> str | None:
    """Why actions in [−1, 1] cannot be scaled to a space, as a clause with what to do; None where they can."""
    if not isinstance(space, Box):
        return "but off-policy algorithms need actions in a Box; use another algorithm, or a task with a Box"
    if not (space.is_bounded() and _has_widths(space)):
        return (
            "but off-policy algorithms need a Box with finite bounds, whose distance is above 0 and finite in single "
            "precision; register the environment in a wrapper that gives its actions such bounds"
        )
    return None


def _has_widths(space: Box) -> bool:
    """Whether the distances of finite bounds are above 0 and finite in single precision, also halved."""
    low, high = wide_bounds(space.low, space.high)
    with np.errstate(over="ignore", under="ignore"):
        widths = (high - low).astype(np.float32)
    return bool((np.isfinite(widths) & (widths / 2 > 0)).all())  # the density of an action is divided by its half


def observation_problem(space: Space[Any]) -> str | None:
    """Why observations in a space are no row of numbers, as a clause with what to do; None where they are."""
    if isinstance(space, Dict | Tuple):
        entries = space.spaces.items() if isinstance(space, Dict) else enumerate(space.spaces)
        found = ((name, inner, observation_problem(inner)) for name, inner in entries)
        problem = next((f"of which {name!r} is {inner}, {why}" for name, inner, why in found if why), None)
        return problem or ("which is empty; an observation needs at least one number" if flatdim(space) == 0 else None)
    if not isinstance(space, Box | Discrete | MultiDiscrete | MultiBinary):
        return (
            "but supported are Box, Discrete, MultiDiscrete, MultiBinary, and Dict and Tuple of these; register the "
            "environment in a gymnasium.wrappers.TransformObservation that gives one of these"
        )
    if is_image(space):
        return (
            "which is an image, and there are no convolutional networks here; supported are rows of numbers: register "
            "the environment in a gymnasium.wrappers.FlattenObservation, or in a wrapper that computes features"
        )
    return "which is empty; an observation needs at least one number" if flatdim(space) == 0 else None


def is_image(space: Space[Any]) -> bool:
    """Whether this is a Box of bytes from 0 to 255, of at least 8 × 8 pixels with 1, 3 or 4 channels first or last."""
    if not (isinstance(space, Box) and space.dtype == np.uint8 and len(space.shape) >= 3):
        return False
    of_bytes = bool((space.low == 0).all() and (space.high == 255).all())
    channels = space.shape[0] in CHANNELS or space.shape[-1] in CHANNELS
    return of_bytes and channels and sorted(space.shape)[-2] >= SMALLEST_IMAGE


def row_writer(space: Space[Any]) -> Callable[[Any, np.ndarray], None] | None:
    """What writes an observation into a row of zeros, float32 [D]; None where it is one already (a flat Box).

    NaN or infinity in what is to be flattened fills the row. The function raises an exception where the observation
    cannot be flattened, and, for a Discrete space, where it is not in the space.
    """
    if isinstance(space, Box) and len(space.shape) == 1:
        return None
    if isinstance(space, Discrete):
        start, size = int(space.start), int(space.n)

        def write_one_hot(observation: Any, row: np.ndarray) -> None:
            if not isfinite(observation):
                row[:] = observation
                return
            choice = int(observation) - start
            if not 0 <= choice < size or observation - start != choice:
                raise ValueError(f"{observation!r} is not in {space}")
            row[choice] = 1.0

        return write_one_hot

    def write_flattened(observation: Any, row: np.ndarray) -> None:
        numbers = np.concatenate(_numbers(space, observation))
        if not np.isfinite(numbers).all():  # `flatten` makes whole numbers of them, or stumbles
            row[:] = numbers[~np.isfinite(numbers)][0]
            return
        flat = np.asarray(flatten(space, observation))
        if flat.shape != row.shape:
            raise ValueError(f"it is flattened to the shape {flat.shape}, not {row.shape}")
        row[:] = flat

    return write_flattened


def _numbers(space: Space[Any], observation: Any) -> list[np.ndarray]:
    """All numbers of an observation, part by part, float64 [n] each."""
    if isinstance(space, Dict | Tuple):
        names: Any = space.spaces if isinstance(space, Dict) else range(len(space.spaces))
        return [x for name in names for x in _numbers(space[name], observation[name])]
    return [np.asarray(observation, np.float64).ravel()]


def structure(space: Space[Any]) -> Any:
    """What two spaces share whose observations a policy cannot tell apart: kinds and shapes, but not a Box's bounds."""
    if isinstance(space, Dict):
        return {name: structure(inner) for name, inner in space.spaces.items()}
    if isinstance(space, Tuple):
        return tuple(map(structure, space.spaces))
    return space.shape if isinstance(space, Box) else space


def described(space: Space[Any]) -> dict[str, Any]:
    """A space as JSON has it, by which `space_of` makes it again; without the bounds of a Box."""
    if isinstance(space, Dict):
        return {"kind": "Dict", "spaces": [[name, described(inner)] for name, inner in space.spaces.items()]}
    if isinstance(space, Tuple):
        return {"kind": "Tuple", "spaces": [described(inner) for inner in space.spaces]}
    about: dict[str, Any]
    if isinstance(space, Discrete):
        about = {"kind": "Discrete", "n": int(space.n), "start": int(space.start)}
    elif isinstance(space, MultiDiscrete):
        about = {"kind": "MultiDiscrete", "nvec": space.nvec.tolist(), "start": space.start.tolist()}
    else:
        about = {"kind": "MultiBinary" if isinstance(space, MultiBinary) else "Box", "shape": list(space.shape or ())}
    return about | {"dtype": np.dtype(space.dtype).name}


def space_of(about: Mapping[str, Any], low: np.ndarray | None = None, high: np.ndarray | None = None) -> Space[Any]:
    """The space that `described` has described; a Box has the bounds `low` and `high`, or those of its dtype."""
    kind = about["kind"]
    if kind == "Dict":
        return Dict([(name, space_of(inner)) for name, inner in about["spaces"]])
    if kind == "Tuple":
        return Tuple([space_of(inner) for inner in about["spaces"]])
    dtype: Any = np.dtype(about["dtype"])
    if kind == "Discrete":
        return Discrete(about["n"], start=about["start"], dtype=dtype)
    if kind == "MultiDiscrete":
        return MultiDiscrete(np.array(about["nvec"]), start=np.array(about["start"]), dtype=dtype)
    if kind == "MultiBinary":
        return MultiBinary(about["shape"])
    if low is None or high is None:
        limits: Any = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(np.uint8 if dtype.kind == "b" else dtype)
        low, high = (np.full(about["shape"], limit, dtype) for limit in (limits.min, limits.max))
    return Box(low, high, tuple(about["shape"]), dtype)
