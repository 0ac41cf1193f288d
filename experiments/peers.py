"""The contestants of the benchmark beside this project: bare stepping, and Stable-Baselines3 at equal hyperparameters.

A process takes one measurement. It imports only what it measures, so that the start-up time and the memory are those of
the contestant.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from experiments.process import age, peak_memory_mb
from experiments.schema import LOOP_PHASES

DRAWN_ACTIONS = 10_000  # drawn before the measurement and then repeated, so that drawing them takes no measured time
ENVPOOL_ENVS = 8  # as many as PPO and A2C of this project step at once in the benchmark


class CannotRun(Exception):
    """Raised where something is missing that a contestant needs; the table shows the message as the reason."""


class Stopwatch:
    """Adds up the seconds that the calls of timed methods take, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def time(self, owner: Any, method: str, name: str) -> None:
        """Count the seconds of every call of `method` of `owner` under `name`."""
        function = getattr(owner, method)
        self.seconds[name] = 0.0

        def timed(*arguments, **options):
            began = time.perf_counter()
            result = function(*arguments, **options)
            self.seconds[name] += time.perf_counter() - began
            return result

        setattr(owner, method, timed)


class Measurement:
    """The record of one measurement, with the keys of a run's `run.json`."""

    def __init__(self) -> None:
        self.start_up = 0.0

    def ready(self) -> None:
        """End the start-up: everything is imported and made."""
        self.start_up = age()

    def record(self, steps: int, training: float, **phases: float) -> dict[str, Any]:
        """The record of a training of `steps` steps in `training` seconds; `phases` are parts of these seconds."""
        seconds = dict.fromkeys((*LOOP_PHASES, "evaluating"), 0.0) | phases
        seconds |= {"training": training, "start_up": self.start_up, "total": age()}
        return {
            "steps_taken": steps,
            "steps_per_second": steps / training,
            "peak_memory_mb": peak_memory_mb(),
            "seconds": seconds,
        }


def simulator(task: dict[str, Any], steps: int, seed: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Measure MuJoCo alone, without an environment: the upper limit of the speed.

    First states and controls are those of episodes with random actions, recorded before the measurement. Like all
    functions in MEASURES, it takes the task's id and preprocessing, the environment steps to take, the seed, and an
    algorithm's settings, and returns the record. Raises CannotRun for a task that is not of MuJoCo.
    """
    import mujoco
    from gymnasium.envs.mujoco import MujocoEnv

    measurement = Measurement()
    env = _gymnasium_env(task)
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
    began = time.perf_counter()
    while taken < steps:
        for positions, velocities, controls in episodes:
            mujoco.mj_resetData(model, data)
            data.qpos[:], data.qvel[:] = positions, velocities
            mujoco.mj_forward(model, data)
            for control in controls:
                data.ctrl[:] = control
                mujoco.mj_step(model, data, nstep=inner.frame_skip)
            taken += len(controls)
    training = time.perf_counter() - began
    return measurement.record(taken, training, stepping=training)


def gymnasium_stepping(task: dict[str, Any], steps: int, seed: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Measure Gymnasium's environment with random actions, restarted at the end of an episode."""
    measurement = Measurement()
    env = _gymnasium_env(task)
    return _step(env, _actions(env, DRAWN_ACTIONS, seed), steps, seed, measurement)


def unwrapped_stepping(task: dict[str, Any], steps: int, seed: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Measure Gymnasium's environment with random actions, without its wrappers and so without the time limit."""
    measurement = Measurement()
    env = _gymnasium_env(task)
    return _step(env.unwrapped, _actions(env, DRAWN_ACTIONS, seed), steps, seed, measurement)


def envpool_stepping(task: dict[str, Any], steps: int, seed: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Measure EnvPool's environments, eight at a time in one thread, with random actions.

    Raises CannotRun where EnvPool is not installed or does not have the task.
    """
    envpool = _import("envpool", "peers")
    measurement = Measurement()
    if task["id"] not in envpool.list_all_envs():
        raise CannotRun(f"EnvPool {envpool.__version__} has no {task['id']}")
    pool = envpool.make(task["id"], env_type="gymnasium", num_envs=ENVPOOL_ENVS, num_threads=1, seed=seed)
    drawn = _actions(pool, DRAWN_ACTIONS, seed)
    actions = [np.stack(drawn[i : i + ENVPOOL_ENVS]) for i in range(0, len(drawn), ENVPOOL_ENVS)]
    pool.reset()
    measurement.ready()
    taken, restarting = 0, 0
    began = time.perf_counter()
    for batch in cycle(actions):
        _, _, terminated, truncated, _ = pool.step(batch)
        taken += ENVPOOL_ENVS - restarting  # the step after an episode's end only restarts the environment
        restarting = int(np.count_nonzero(terminated | truncated))
        if taken >= steps:
            break
    training = time.perf_counter() - began
    return measurement.record(taken, training, stepping=training)


def stable_baselines3(
    task: dict[str, Any], steps: int, seed: int, settings: dict[str, Any], *, algorithm: str
) -> dict[str, Any]:
    """Measure `learn` of Stable-Baselines3's `algorithm`, "ppo" or "a2c".

    Networks, optimiser and hyperparameters are those of this project. (The optimiser is Adam, also for A2C, which in
    Stable-Baselines3 has RMSprop by default.) VecNormalize is used exactly where the task normalises. The seconds of
    acting are those of the policy's forward pass, which also gives values, and those that VecNormalize adds to a step.
    Raises CannotRun where Stable-Baselines3 is not installed.
    """
    _import("stable_baselines3", "peers")
    import torch
    from stable_baselines3 import A2C, PPO
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.vec_env import VecNormalize

    torch.set_num_threads(1)
    measurement = Measurement()
    rate = settings["policy_learning_rate"]
    options = {
        "n_steps": settings["rollout_length"],
        "learning_rate": (lambda remaining: remaining * rate) if settings["anneal_learning_rate"] else rate,
        "gamma": settings["gamma"],
        "ent_coef": settings["entropy_coefficient"],
        "max_grad_norm": settings["max_grad_norm"],
        "normalize_advantage": settings["normalize_advantages"],
        "policy_kwargs": {
            "net_arch": {"pi": [64, 64], "vf": [64, 64]},
            "activation_fn": torch.nn.Tanh,
            "optimizer_class": torch.optim.Adam,
            "optimizer_kwargs": {"eps": settings["adam_epsilon"]},
        },
        "device": "cpu",
        "seed": seed,
    }
    if algorithm == "ppo":
        options |= {
            "batch_size": settings["minibatch_size"],
            "n_epochs": settings["epochs"],
            "gae_lambda": settings["gae_lambda"],
            "clip_range": settings["clip"],
        }

    def new_model():
        env = make_vec_env(task["id"], n_envs=settings["num_envs"], seed=seed, env_kwargs=_arguments(task))
        if task["normalize_observations"] or task["normalize_rewards"]:
            env = VecNormalize(env, norm_obs=task["normalize_observations"], norm_reward=task["normalize_rewards"])
        return {"ppo": PPO, "a2c": A2C}[algorithm]("MlpPolicy", env, **options)

    warm_up = new_model()
    measurement.ready()
    warm_up.learn(settings["num_envs"] * settings["rollout_length"])  # imports on first use are not part of training
    model = new_model()
    watch = Stopwatch()
    watch.time(model.env, "step_wait", "step_wait")
    if isinstance(model.env, VecNormalize):
        watch.time(model.env.venv, "step_wait", "stepping")
    watch.time(model.policy, "forward", "forward")
    watch.time(model, "train", "learning")
    began = time.perf_counter()
    model.learn(steps)
    training = time.perf_counter() - began
    write_episodes(model.env)
    stepping = watch.seconds.get("stepping", watch.seconds["step_wait"])
    return measurement.record(
        model.num_timesteps,
        training,
        stepping=stepping,
        acting=watch.seconds["forward"] + watch.seconds["step_wait"] - stepping,
        learning=watch.seconds["learning"],
    )


def write_episodes(envs: Any) -> None:
    """Write the training episodes to `episodes.csv` with the columns of a run: step, return and length.

    `envs` are Stable-Baselines3's vectorised environments, each with a Monitor.
    """
    episodes = []
    for i, (returns, lengths) in enumerate(
        zip(envs.env_method("get_episode_rewards"), envs.env_method("get_episode_lengths"), strict=True)
    ):
        ends = (np.cumsum(lengths) - 1) * envs.num_envs + i + 1  # the environments take their steps in turn
        episodes += zip(ends.tolist(), returns, lengths, strict=True)
    lines = [f"{step},{return_},{length}\n" for step, return_, length in sorted(episodes)]
    Path("episodes.csv").write_text("step,return,length\n" + "".join(lines), encoding="utf-8")


MEASURES: dict[str, Callable[..., dict[str, Any]]] = {
    "simulator": simulator,
    "unwrapped": unwrapped_stepping,
    "gymnasium": gymnasium_stepping,
    "envpool": envpool_stepping,
    "stable_baselines3": stable_baselines3,
}


def _step(env: Any, actions: list[Any], steps: int, seed: int, measurement: Measurement) -> dict[str, Any]:
    """Measure `steps` steps of one environment with the `actions`, taken in turn and from the start again."""
    env.reset(seed=seed)
    measurement.ready()
    began = time.perf_counter()
    for action in islice(cycle(actions), steps):
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()
    training = time.perf_counter() - began
    return measurement.record(steps, training, stepping=training)


def _gymnasium_env(task: dict[str, Any]) -> Any:
    """Gymnasium's environment of the task, with the task's time limit and without Gymnasium's checker."""
    import gymnasium

    return gymnasium.make(task["id"], **_arguments(task))


def _arguments(task: dict[str, Any]) -> dict[str, Any]:
    """The keyword arguments of gymnasium.make for the task."""
    return {"max_episode_steps": task["max_episode_steps"], "disable_env_checker": True, **task.get("kwargs", {})}


def _actions(env: Any, n: int, seed: int) -> list[Any]:
    """`n` uniformly random actions, from another stream than that of the environment, which gets `seed` itself."""
    of_actions = np.random.SeedSequence(seed).spawn(1)[0]
    env.action_space.seed(int(of_actions.generate_state(1)[0]))
    return [env.action_space.sample() for _ in range(n)]


def _import(package: str, extra: str) -> Any:
    """Import an optional package, which the `extra` of this project installs; raises CannotRun where it is missing."""
    try:
        return __import__(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise CannotRun(f"{package} is not installed (pip install -e '.[{extra}]')") from error


def main() -> None:
    """Measure one contestant once. Where it cannot run, the exit status is 2, with the reason in one sentence."""
    parser = argparse.ArgumentParser(prog="python -m experiments.peers", description=main.__doc__)
    parser.add_argument("--measure", required=True, choices=MEASURES)
    parser.add_argument("--task", required=True, type=json.loads, help="id and preprocessing, as JSON")
    parser.add_argument("--algorithm", choices=("ppo", "a2c"), help="the algorithm that a peer trains")
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
