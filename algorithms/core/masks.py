"""Which actions an environment allows: `info["action_mask"]`, or the method `action_masks` that sb3-contrib expects.

Where an info has a mask, it counts, also in an environment with the method. A mask is a list or an array of booleans or
of 0 and 1, as long as there are choices; of an action with parts, the parts' masks stand one after the other, or one by
one in a tuple or list, as `MultiDiscrete.sample` takes them. At least one choice of each part must be allowed. No mask,
or None, allows everything.
"""

from collections.abc import Mapping
from itertools import accumulate
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Discrete

from .spaces import action_parts
from .task import Task, UnsupportedTask

METHOD = "action_masks"  # of sb3-contrib's environments


class MaskReader:
    """Reads the masks of an environment of a task; `number` is its place among the environments."""

    def __init__(self, task: Task, env: gymnasium.Env[Any, Any], number: int) -> None:
        self.task, self.number, self.action_space = task, number, env.action_space
        parts = action_parts(env.action_space)
        self.has_parts = parts is not None
        self.sizes = parts or ((int(env.action_space.n),) if isinstance(env.action_space, Discrete) else ())
        self.width = sum(self.sizes)  # A
        self.starts = np.array([0, *accumulate(self.sizes)][:-1])  # of the parts in a mask
        self.method = env.get_wrapper_attr(METHOD) if env.has_wrapper_attr(METHOD) else None

    def read(self, info: Mapping[str, Any], steps: int) -> np.ndarray | None:
        """The mask of the next action, bool [A]; None where everything is allowed.

        info: of the last step or reset; steps: how many were taken before, for messages. Raises UnsupportedTask, with
        a sentence, where the mask is none.
        """
        given, said = info.get("action_mask"), "info['action_mask']"
        if given is None and self.method is not None:
            if not callable(self.method):
                raise UnsupportedTask(
                    f"task {self.task.label!r} has an environment whose {METHOD} is no method; make it a method that "
                    "returns the mask, or give the mask as info['action_mask']"
                )
            given, said = self.method(), f"{METHOD}()"
        if given is None:
            return None
        if self.task.joint_actions:
            raise UnsupportedTask(
                f"task {self.task.label!r} masks the parts of its actions ({said}), which joint_actions makes one "
                "choice; leave joint_actions out"
            )
        allowed, wrong = self._allowed(given)
        if wrong is not None:
            raise UnsupportedTask(
                f"task {self.task.label!r} gives the mask {said} = {given!r} (environment {self.number}, after "
                f"{steps} steps), {wrong}"
            )
        return allowed

    def parts(self, mask: np.ndarray) -> list[np.ndarray]:
        """The masks of the single parts, bool [n_k]; of Discrete the whole mask alone."""
        return np.split(mask, self.starts[1:])

    def _allowed(self, given: Any) -> tuple[np.ndarray, str | None]:
        """A mask as bool [A], and what is wrong with it."""
        nothing = np.zeros(0, bool)
        if not self.sizes:
            only = "only actions in Discrete, MultiDiscrete or MultiBinary can be masked"
            return nothing, f"but its actions are in {self.action_space}; {only}"
        try:
            pieces = _single(given) if self.has_parts else [np.asarray(given)]
            if len(pieces) > 1 and tuple(map(len, pieces)) != self.sizes:
                return nothing, f"but its parts have {list(self.sizes)} choices, so it must have as many entries each"
            mask = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        except (TypeError, ValueError):
            return nothing, "which is no array of booleans or of 0 and 1"
        if mask.shape != (self.width,):
            return nothing, f"but there are {self.width} choices, so it must be a row of {self.width} entries"
        if mask.dtype.kind not in "biuf":
            return nothing, "which is no array of booleans or of 0 and 1"
        allowed = mask if mask.dtype.kind == "b" else mask == 1
        choices = np.count_nonzero(allowed)
        if choices != np.count_nonzero(mask):  # a tenth of the cost of comparing all entries
            return nothing, "but a mask consists of booleans or of 0 and 1 (1: allowed), nothing else"
        if not (np.logical_or.reduceat(allowed, self.starts).all() if self.has_parts else choices):
            where = "in one of its parts " if self.has_parts else ""
            return nothing, f"which allows no action {where}although the episode goes on; at least one must be allowed"
        return allowed, None


def _single(given: Any) -> list[np.ndarray]:
    """The masks of the parts one by one, from nested tuples, lists or rows; a flat mask as it is, alone."""
    nested = isinstance(given, tuple | list) and len(given) > 0 and isinstance(given[0], tuple | list | np.ndarray)
    if nested or (isinstance(given, np.ndarray) and given.ndim > 1):
        return [piece for row in given for piece in _single(row)]
    return [np.asarray(given)]
