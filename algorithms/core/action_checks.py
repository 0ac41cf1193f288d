"""Whether an algorithm's settings and critics fit a task's actions."""

from typing import Any

from gymnasium.spaces import Box, Discrete, Space

from .algorithm import InvalidAlgorithm, InvalidSetting, where
from .hooks import Hooks


def depends_on_actions(algorithm: Hooks) -> bool:
    """Whether `check_actions` may refuse a space of actions."""
    return algorithm.exploration_noise > 0 or "actions" in algorithm.critic_kinds().values()


def check_actions(algorithm: Hooks, action_space: Space[Any]) -> None:
    """Raise InvalidSetting for exploration noise where actions are in no Box.

    Raises InvalidAlgorithm for a critic of the kind "actions" where actions are not Discrete.
    """
    noise = algorithm.exploration_noise
    if noise > 0 and not isinstance(action_space, Box):
        raise InvalidSetting(
            f"exploration_noise of {type(algorithm).__name__} is {noise:g}, and the task's actions are in "
            f"{action_space}; noise is added to continuous actions alone, so set it to 0"
        )
    for critic, kind in algorithm.critic_kinds().items():
        if kind == "actions" and not isinstance(action_space, Discrete):
            raise InvalidAlgorithm(
                f"{where(algorithm)}: critics has {critic!r} of the kind 'actions', and the task's actions are in "
                f"{action_space}; this kind needs a task with discrete actions"
            )
