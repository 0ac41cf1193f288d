"""Actions as choices: a Box in equally spaced bins, and the parts of an action as one joint choice."""

import math
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiDiscrete, Space

MOST_CHOICES = 2_000  # of one Discrete action: as many outputs has a network


class Choices(gymnasium.ActionWrapper[Any, Any, Any]):
    """An environment whose actions are choices: of a Box's bins, of all combinations of an action's parts, or of both.

    With `bins` k, each dimension of a Box has the k values low, …, high at equal distances, ends included: it is a
    MultiDiscrete of k choices a dimension, or a Discrete where there is one dimension. `joint` makes the parts of an
    action one Discrete choice; action 0 has choice 0 in every part, and the last part changes first. Raises ValueError,
    with a clause on what to do, where the environment's actions do not allow it.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], bins: int | None, joint: bool) -> None:
        super().__init__(env)
        space: Any = env.action_space
        if (problem := _problem(space, bins, joint)) is not None:
            raise ValueError(problem)
        self._shape, self._dtype = space.shape, space.dtype
        if bins is None:
            parts = space.nvec.ravel().tolist()
            values = np.arange(max(parts))[:, None] + space.start.ravel()
        else:
            low, high = (np.asarray(x, np.float64).ravel() for x in (space.low, space.high))
            parts = [bins] * len(low)
            values = np.linspace(low, high, bins)
        self._values = values.astype(space.dtype)  # [k, A]; of a part with fewer choices the first ones
        self._columns = np.arange(len(parts))
        if joint or len(parts) == 1:
            choices = np.stack(np.unravel_index(np.arange(math.prod(parts)), parts), axis=-1)
            self._table = self._values[choices, self._columns]  # [choices, A]
            self.action_space = Discrete(len(self._table))
        else:
            self.action_space = MultiDiscrete(parts)

    def members(self, actions: np.ndarray) -> np.ndarray:
        """The environment's own actions, flat [N, A], in its precision, of choices int64 [N] or [N, A]."""
        found: np.ndarray = self._table[actions] if actions.ndim == 1 else self._values[actions, self._columns]
        return found

    def action(self, action: Any) -> np.ndarray:
        """The environment's own action of a choice."""
        found: np.ndarray = self.members(np.asarray(action)[None])[0].reshape(self._shape)
        return found


def _problem(space: Space[Any], bins: int | None, joint: bool) -> str | None:
    """Why actions in a space cannot be made choices, as a clause with what to do; None where they can."""
    if bins is None:
        if not isinstance(space, MultiDiscrete):
            return (
                "but joint_actions needs actions with several parts: a MultiDiscrete, or a Box with action_bins; "
                "remove it, or add action_bins"
            )
        said, parts = "joint_actions makes", space.nvec.ravel().tolist()
    else:
        if not (isinstance(space, Box) and np.issubdtype(space.dtype, np.floating)):
            return "but action_bins needs a Box of floats; remove it"
        if not space.is_bounded():
            return (
                "but action_bins needs a Box with finite bounds; register the environment in a "
                "gymnasium.wrappers.RescaleAction or ClipAction that has some"
            )
        parts = [bins] * int(np.prod(space.shape))
        said = f"{bins} action_bins{' with joint_actions' if joint and len(parts) > 1 else ''} make"
    count = math.prod(parts) if joint or len(parts) == 1 else max(parts, default=1)
    if count > MOST_CHOICES:
        power = f"{bins}^{len(parts)} = " if bins is not None and count != bins else ""
        instead = "use fewer" if bins is not None else "remove it"
        instead += ", or leave joint_actions out" if bins is not None and count != bins else ""
        return f"of which {said} {power}{count:.4g} choices; at most {MOST_CHOICES:,} are possible: {instead}"
    return None
