#!/usr/bin/env bash
# RLtools 2.2.1 (Python): PPO(NORMALIZE_OBSERVATIONS=True) trains exactly the policy that NORMALIZE_OBSERVATIONS=False does.
# One would guess: with observations on very different scales, the option changes what the network sees, and so the policy.
# Seen: after three updates on Pendulum, whose third observation is up to 8, both exported policies are the same text.
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
from gymnasium.wrappers import RescaleAction
from rltools import PPO


def environment():
    env = RescaleAction(gymnasium.make("Pendulum-v1"), -1, 1)
    env.reset(seed=0)
    return env


policies = []
for normalize in (False, True):
    ppo = PPO(
        environment,
        interface_name=f"normalize_{normalize}",
        enable_evaluation=False,
        N_ENVIRONMENTS=4,
        ON_POLICY_RUNNER_STEPS_PER_ENV=128,
        TOTAL_STEP_LIMIT=1_000_000,
        NORMALIZE_OBSERVATIONS=normalize,
    )
    state = ppo.State(0)
    for _ in range(3):
        state.step()
    policies.append(state.export_policy())
same = policies[0] == policies[1]
print("version: rltools", version("rltools"))
print("guess:   normalised observations give another policy")
print("seen:    the policies are the same:", same)
print("means:   normalise observations in the environment; the option does nothing")
raise SystemExit(0 if same else "the behaviour has changed: the finding no longer holds")
PYTHON
