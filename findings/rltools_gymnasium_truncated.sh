#!/usr/bin/env bash
# RLtools 2.2.1 (Python): PPO goes on stepping an episode that its Gymnasium environment has truncated.
# One would guess: an environment that says `truncated` is reset, as Gymnasium's interface asks.
# Seen: an environment that truncates after 10 steps is stepped 100 times before a reset: the limit of its registration.
# Looked for in: the README of the Python package and the list of the project's issues.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'rltools==2.2.1' 'gymnasium==1.4.0' 'numpy==2.4.6' setuptools
cd "$folder"
RL_TOOLS_DISABLE_MKL=1 venv/bin/python - <<'PYTHON'
from importlib.metadata import version

import gymnasium
import numpy as np
from rltools import PPO


class Ends(gymnasium.Env):
    """Truncates every episode after ten steps."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    longest = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.steps += 1
        Ends.longest = max(Ends.longest, self.steps)
        return np.zeros(2, np.float32), 1.0, False, self.steps >= 10, {}


gymnasium.register("Ends-v0", Ends, max_episode_steps=100)
ppo = PPO(
    lambda: gymnasium.make("Ends-v0", disable_env_checker=True),
    interface_name="ends",
    enable_evaluation=False,
    N_ENVIRONMENTS=1,
    ON_POLICY_RUNNER_STEPS_PER_ENV=128,
    BATCH_SIZE=64,
    TOTAL_STEP_LIMIT=1_000_000,
)
state = ppo.State(0)
state.step()
print("version: rltools", version("rltools"), "gymnasium", version("gymnasium"))
print("guess:   no episode is longer than the 10 steps after which its environment truncates it")
print("seen:    the longest has", Ends.longest)
print("means:   a time limit has to be the registration's max_episode_steps; one of the environment's own is ignored")
raise SystemExit(0 if Ends.longest > 10 else "the behaviour has changed: the finding no longer holds")
PYTHON
