"""The contestants of the benchmark beside this project: bare stepping, and other libraries at equal hyperparameters.

A process takes one measurement. It imports only what it measures, so that the start-up time and the memory are those of
the contestant.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from .measuring import CannotRun, Measurement, clock, gymnasium_env
from .trainers import OPTIONS, pufferlib, rltools, sbx, stable_baselines3

DRAWN_ACTIONS = 10_000  # drawn before the measurement and then repeated, so that drawing them takes no measured time


def simulator(task: dict[str, Any], steps: int, seed: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Measure MuJoCo alone, without an environment: the upper limit of the speed.

    First states and controls are those of episodes with random actions, recorded before the measurement. Like all
    functions in MEASURES, it takes the task's id and preprocessing, the environment steps to take, the seed, and an
    algorithm's settings, and returns the record. Raises CannotRun for a task that is not of MuJoCo.
    """
    import mujoco
    from gymnasium.envs.mujoco import MujocoEnv

    measurement = Measurement()
    env = gymnasium_env(task)
    inner = env.unwrapped
    if not isinstance(inner, MujocoEnv):
        raise CannotRun(f"{task['id']} has no simulator apart from its Gymnasium environment")
    model, data = inner.model, inner.data
    episodes: list[tuple[np.ndarray, np.ndarray, list[np.ndarray]]] = []
    done = True
    for action in _actions(env, min(steps, DRAWN_ACTIONS), seed):
        if done:
            env.reset(seed=None if episodes else seed)
            episodes.append((data.qpos.copy(), data.qvel.copy(), []))
        _, _, terminated, truncated, _ = env.step(action)
        episodes[-1][2].append(data.ctrl.copy())
        done = terminated or truncated
    measurement.ready()
    taken = 0
    began = clock()
    while taken < steps:
        for positions, velocities, controls in episodes:
            mujoco.mj_resetData(model, data)
            data.qpos[:], data.qvel[:] = positions, velocities
            mujoco.mj_forward(model, data)
            for control in controls:
                data.ctrl[:] = control
                mujoco.mj_step(model, data, nstep=inner.frame_skip)
            taken += len(controls)
    training = clock() - began
    return measurement.record(taken, training, stepping=training)


def gymnasium_stepping(task: dict[str, Any], steps: int, seed: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Measure Gymnasium's environment with random actions, restarted at the end of an episode."""
    measurement = Measurement()
    env = gymnasium_env(task)
    actions = _actions(env, DRAWN_ACTIONS, seed)
    env.reset(seed=seed)
    measurement.ready()
    began = clock()
    for action in islice(cycle(actions), steps):
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()
    training = clock() - began
    return measurement.record(steps, training, stepping=training)


MEASURES: dict[str, Callable[..., dict[str, Any]]] = {
    "simulator": simulator,
    "gymnasium": gymnasium_stepping,
    "stable_baselines3": stable_baselines3,
    "sbx": sbx,
    "rltools": rltools,
    "pufferlib": pufferlib,
}


def _actions(env: Any, n: int, seed: int) -> list[Any]:
    """`n` uniformly random actions, from another stream than that of the environment, which gets `seed` itself."""
    of_actions = np.random.SeedSequence(seed).spawn(1)[0]
    env.action_space.seed(int(of_actions.generate_state(1)[0]))
    return [env.action_space.sample() for _ in range(n)]


def main() -> None:
    """Measure one contestant once. Where it cannot run, the exit status is 2, with the reason in one sentence."""
    parser = argparse.ArgumentParser(prog="python -m experiments.peers", description=main.__doc__)
    parser.add_argument("--measure", required=True, choices=MEASURES)
    parser.add_argument("--task", required=True, type=json.loads, help="id and preprocessing, as JSON")
    parser.add_argument("--algorithm", choices=OPTIONS, help="the algorithm that Stable-Baselines3 trains")
    parser.add_argument("--settings", type=json.loads, default={}, help="this project's hyperparameters, as JSON")
    parser.add_argument("--steps", required=True, type=int)
    parser.add_argument("--seed", required=True, type=int)
    parser.add_argument(
        "--output", required=True, type=Path, metavar="DIR", help="a new folder for run.json and a peer's episodes.csv"
    )
    options = parser.parse_args()
    measure = MEASURES[options.measure]
    if measure is stable_baselines3:
        if options.algorithm is None:
            parser.error("--measure stable_baselines3 needs --algorithm")
        measure = partial(measure, algorithm=options.algorithm)
    options.output.mkdir(parents=True)
    os.chdir(options.output)  # MuJoCo writes its log into the current folder
    try:
        record = measure(options.task, options.steps, options.seed, options.settings)
    except CannotRun as reason:
        print(f"error: {reason}", file=sys.stderr)
        sys.exit(2)
    Path("run.json").write_text(json.dumps(record, allow_nan=False), encoding="utf-8")


if __name__ == "__main__":
    main()
