"""Changed tasks, domain randomisation, a penalty on restless actions, and evaluations under changes."""

import json
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import yaml
from gymnasium.spaces import Box, Discrete

from algorithms.core.saved_policy import load_policy
from algorithms.core.task import Task, UnsupportedTask, make_env
from algorithms.ppo import PPO
from experiments import run
from experiments.checks import GridError
from experiments.determinants import what_determines
from experiments.grid import load_grid
from experiments.robustness import changed, evaluate_changed
from experiments.tasks.changes import CHANGES, Changed, Restless
from tests.tasks import *  # noqa: F403

PENDULUM, HOPPER = Task("InvertedPendulum-v5"), Task("Hopper-v5")
CHANGED, RESTLESS = "experiments.tasks.changes:Changed", "experiments.tasks.changes:Restless"
SMALL = dict(num_envs=4, rollout_length=32, minibatch_size=64, epochs=2)


class Echo(gymnasium.Env):
    """Its reward is the action, its observation the number of steps; it never ends."""

    def __init__(self, actions=None):
        self.action_space = actions or Box(-1, 1, (1,), np.float32)
        self.observation_space = Box(0, 100, (3,), np.float64)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(3), {}

    def step(self, action):
        self.steps += 1
        return np.full(3, float(self.steps)), float(np.sum(action)), False, False, {}


gymnasium.register("Echo-v0", Echo, max_episode_steps=10)


# ---------------------------------------------------------------------------------------------- the changed model


@pytest.mark.parametrize(
    ("change", "fields"),
    [("mass", ("body_mass", "body_inertia")), ("friction", ("geom_friction",)), ("gear", ("actuator_gear",))],
)
def test_the_model_of_the_made_environment_has_the_factor_and_nothing_else_of_it_changes(change, fields):
    nominal, other = make_env(HOPPER).unwrapped.model, make_env(changed(HOPPER, change, 1.7))
    other.reset(seed=0)
    model = other.unwrapped.model
    for name in ("body_mass", "body_inertia", "geom_friction", "actuator_gear", "dof_damping", "geom_size"):
        factor = 1.7 if name in fields else 1.0
        np.testing.assert_allclose(getattr(model, name), factor * getattr(nominal, name), rtol=1e-12)
    if change == "mass":  # what MuJoCo derives from the masses
        np.testing.assert_allclose(model.body_subtreemass, 1.7 * nominal.body_subtreemass, rtol=1e-12)
        np.testing.assert_allclose(model.dof_invweight0[:3], nominal.dof_invweight0[:3] / 1.7, rtol=1e-6)
