"""Seeds what a task's own code may draw from besides its environment's generator: global generators and spaces."""

import random
from typing import Any

import gymnasium
import numpy as np
import torch


def seed_global_generators(seed: np.random.SeedSequence) -> None:
    """Seed the global generators of `random`, NumPy and Torch, each from a child of `seed`."""
    of_python, of_numpy, of_torch = (int(child.generate_state(1)[0]) for child in seed.spawn(3))
    random.seed(of_python)
    np.random.seed(of_numpy)  # noqa: NPY002  # nothing here draws from it, but a task's code may
    torch.manual_seed(of_torch)


def seed_spaces(env: gymnasium.Env[Any, Any], seed: np.random.SeedSequence) -> None:
    """Seed the spaces of an environment, and those that its wrappers have replaced, each from a child of `seed`.

    A space that was never seeded draws from the system's random numbers.
    """
    spaces = [getattr(of, name) for of in (env, env.unwrapped) for name in ("observation_space", "action_space")]
    for space, child in zip(spaces, seed.spawn(len(spaces)), strict=True):
        space.seed(int(child.generate_state(1)[0]))
