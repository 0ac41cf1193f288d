"""The libraries that the benchmark compares with this project, at its hyperparameters and on Gymnasium's environments.

Each function measures one of them. It takes the task's id and preprocessing, the environment steps to take, the seed
and this project's hyperparameters. It returns the record of a measurement, and raises CannotRun where the
library is not installed or cannot train on the task. All have two networks of this project's sizes, Adam, and its
minibatches and epochs. Where a library does something else, its function says what.
"""

import importlib.metadata
import os
import re
import shutil
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from .measuring import (
    CannotRun,
    Measurement,
    Stopwatch,
    arguments,
    clock,
    gymnasium_env,
    import_optional,
)

INSTALL = "pip install -e '.[peers]'"
PUFFERLIB = "experiments/README.md#how-fast-it-is has the commands"
# What JAX documents for one core: XLA runs an operation in the thread that asks for it.
XLA_ONE_THREAD = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
ENDLESS = 10**9  # steps: a limit that must be given and is not reached


def stable_baselines3(
    task: dict[str, Any], steps: int, seed: int, settings: dict[str, Any], *, algorithm: str
) -> dict[str, Any]:
    """Measure `learn` of Stable-Baselines3's `algorithm`, a key of OPTIONS; TRPO is that of sb3-contrib.

    The optimiser is Adam, also for A2C, which in Stable-Baselines3 has RMSprop by default. VecNormalize is used exactly
    where the task normalises. The seconds of acting are those of the policy's forward pass, which on-policy also gives
    values, and those that VecNormalize adds to a step.
    """
    library = import_optional("sb3_contrib" if algorithm == "trpo" else "stable_baselines3", INSTALL)
    import torch

    off_policy = OPTIONS[algorithm] in (off_policy_options, td3_options, sac_options)
    critics = "qf" if off_policy else "vf"
    options = OPTIONS[algorithm](settings) | {
        "policy_kwargs": {
            "net_arch": {"pi": settings["hidden_sizes"], critics: settings["hidden_sizes"]},
            "activation_fn": {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}[settings["activation"]],
            "optimizer_class": torch.optim.Adam,
            "optimizer_kwargs": {"eps": settings["adam_epsilon"]},
        }
    }
    acts = "_predict" if off_policy else "forward"
    return _learn(getattr(library, algorithm.upper()), options, acts, task, steps, seed, settings)


def a2c_options(settings: dict[str, Any]) -> dict[str, Any]:
    """A2C's arguments in Stable-Baselines3, beside those that all algorithms have, from this project's settings."""
    return {
        "n_steps": settings["rollout_length"],
        "learning_rate": settings["policy_learning_rate"],
        "ent_coef": settings["entropy_coefficient"],
        "max_grad_norm": settings["max_grad_norm"],
        "normalize_advantage": settings["normalize_advantages"],
    }


def ppo_options(settings: dict[str, Any]) -> dict[str, Any]:
    """As `a2c_options`, of PPO."""
    return a2c_options(settings) | {
        "batch_size": settings["minibatch_size"],
        "n_epochs": settings["epochs"],
        "gae_lambda": settings["gae_lambda"],
        "clip_range": settings["clip"],
    }


def trpo_options(settings: dict[str, Any]) -> dict[str, Any]:
    """As `a2c_options`, of TRPO in sb3-contrib; the learning rate is that of the critic."""
    return {
        "n_steps": settings["rollout_length"],
        "learning_rate": settings["value_learning_rate"],
        "batch_size": settings["value_minibatch_size"],
        "n_critic_updates": settings["value_epochs"],
        "gae_lambda": settings["gae_lambda"],
        "normalize_advantage": settings["normalize_advantages"],
        "target_kl": settings["target_kl"],
        "cg_max_steps": settings["conjugate_gradient_steps"],
        "cg_damping": settings["damping"],
        "line_search_max_iter": settings["line_search_steps"],
        "line_search_shrinking_factor": settings["line_search_shrinking"],
    }


def off_policy_options(settings: dict[str, Any]) -> dict[str, Any]:
    """As `a2c_options`, of DDPG, and what all off-policy algorithms have; both learning rates are one there."""
    return {
        "learning_rate": settings["policy_learning_rate"],
        "buffer_size": settings["buffer_size"],
        "learning_starts": settings["learning_starts"],
        "batch_size": settings["batch_size"],
        "tau": settings["tau"],
        "train_freq": settings["rollout_length"],
        "gradient_steps": settings["gradient_steps"],
    }


def td3_options(settings: dict[str, Any]) -> dict[str, Any]:
    """As `a2c_options`, of TD3."""
    return off_policy_options(settings) | {
        "policy_delay": settings["policy_delay"],
        "target_policy_noise": settings["smoothing_noise"],
        "target_noise_clip": settings["smoothing_clip"],
    }


def sac_options(settings: dict[str, Any]) -> dict[str, Any]:
    """As `a2c_options`, of SAC with a temperature that is adapted at the policy's learning rate."""
    return off_policy_options(settings) | {"ent_coef": f"auto_{settings['temperature']}"}


OPTIONS = {
    "a2c": a2c_options,
    "ppo": ppo_options,
    "trpo": trpo_options,
    "ddpg": off_policy_options,
    "td3": td3_options,
    "sac": sac_options,
}


def sbx(task: dict[str, Any], steps: int, seed: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Measure `learn` of sbx's PPO, which is Stable-Baselines3's with networks and losses in JAX.

    It differs in clipping the gradients of policy and critic each by itself.
    """
    os.environ["XLA_FLAGS"] = XLA_ONE_THREAD
    import_optional("sbx", INSTALL)
    from sbx import PPO

    networks = {"pi": settings["hidden_sizes"], "vf": settings["hidden_sizes"]}  # tanh is its default
    options = ppo_options(settings)
    options |= {"policy_kwargs": {"net_arch": networks, "optimizer_kwargs": {"eps": settings["adam_epsilon"]}}}
    return _learn(PPO, options, "predict_all", task, steps, seed, settings)


def _learn(
    library_class: Any,
    options: dict[str, Any],
    forward: str,
    task: dict[str, Any],
    steps: int,
    seed: int,
    settings: dict[str, Any],
) -> dict[str, Any]:
    """Measure `learn` of a class like those of Stable-Baselines3; `forward` is its policy's method that acts."""
    import torch
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.noise import NormalActionNoise
    from stable_baselines3.common.vec_env import VecNormalize

    torch.set_num_threads(1)
    measurement = Measurement()
    rate = options["learning_rate"]
    options |= {"gamma": settings["gamma"], "device": "cpu", "seed": seed}
    if settings["anneal_learning_rate"]:
        options["learning_rate"] = lambda remaining: remaining * rate

    def new_envs():
        envs = make_vec_env(task["id"], n_envs=settings["num_envs"], seed=seed, env_kwargs=arguments(task))
        if task["normalize_observations"] or task["normalize_rewards"]:
            envs = VecNormalize(envs, norm_obs=task["normalize_observations"], norm_reward=task["normalize_rewards"])
        return envs

    envs = new_envs()
    if noise := settings.get("exploration_noise"):  # off-policy, in the units of actions in [−1, 1]
        size = envs.action_space.shape
        options["action_noise"] = NormalActionNoise(np.zeros(size), np.full(size, noise))
    model = library_class("MlpPolicy", envs, **options)
    measurement.ready()
    # Imports and compiling on first use are not part of training.
    model.learn(settings.get("learning_starts", 0) + settings["num_envs"] * settings["rollout_length"])
    model.set_env(new_envs())
    watch = Stopwatch()
    watch.time(model.env, "step_wait", "step_wait")
    if isinstance(model.env, VecNormalize):
        watch.time(model.env.venv, "step_wait", "stepping")
    watch.time(model.policy, forward, "forward")
    watch.time(model, "train", "learning")
    began = clock()
    model.learn(steps)
    training = clock() - began
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


def rltools(task: dict[str, Any], steps: int, seed: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Measure RLtools's PPO with MKL, compiled for the task by its Python interface.

    It does less than this project: it normalises neither observations nor rewards, clips no gradients and does not
    anneal the learning rate. It takes only actions in [−1, 1]^n, so no classic control.
    """
    library = import_optional("rltools", INSTALL)
    try:
        importlib.metadata.version("mkl"), importlib.metadata.version("mkl-include")
    except importlib.metadata.PackageNotFoundError as error:
        raise CannotRun(f"{error.name} is not installed ({INSTALL})") from error
    if not any(shutil.which(compiler) for compiler in ("clang++", "g++")):
        raise CannotRun("RLtools needs a C++ compiler, and neither clang++ nor g++ is there (apt-get install g++)")
    measurement = Measurement()
    seeds = iter(range(seed, seed + ENDLESS))

    def new_env():
        env = gymnasium_env(task)
        env.reset(seed=next(seeds))
        return env

    space = new_env().action_space
    if not (hasattr(space, "low") and np.all(space.low == -1) and np.all(space.high == 1)):
        raise CannotRun(f"RLtools takes only actions between −1 and 1, and {task['id']} has {space}")
    activation = settings["activation"].upper()
    hidden = settings["hidden_sizes"]
    rollout = settings["num_envs"] * settings["rollout_length"]
    module = library.PPO(
        new_env,
        interface_name=re.sub(r"\W", "_", f"{task['id']}_{settings['num_envs']}"),  # its name in RLtools's cache
        enable_evaluation=False,
        GAMMA=settings["gamma"],
        LAMBDA=settings["gae_lambda"],
        EPSILON_CLIP=settings["clip"],
        INITIAL_ACTION_STD=1.0,
        ACTION_ENTROPY_COEFFICIENT=settings["entropy_coefficient"],
        NORMALIZE_ADVANTAGE=settings["normalize_advantages"],
        N_EPOCHS=settings["epochs"],
        TOTAL_STEP_LIMIT=ENDLESS,
        ACTOR_HIDDEN_DIM=hidden[0],
        ACTOR_NUM_LAYERS=len(hidden) + 1,  # with the layer of the outputs
        ACTOR_ACTIVATION_FUNCTION=activation,
        CRITIC_HIDDEN_DIM=hidden[0],
        CRITIC_NUM_LAYERS=len(hidden) + 1,
        CRITIC_ACTIVATION_FUNCTION=activation,
        N_ENVIRONMENTS=settings["num_envs"],
        ON_POLICY_RUNNER_STEPS_PER_ENV=settings["rollout_length"],
        BATCH_SIZE=settings["minibatch_size"],
        OPTIMIZER_ALPHA=settings["policy_learning_rate"],
        OPTIMIZER_EPSILON=settings["adam_epsilon"],
    )
    measurement.ready()
    module.State(seed).step()  # what is done on first use is not part of training
    state = module.State(seed)
    updates = -(-steps // rollout)
    began = clock()
    for _ in range(updates):
        state.step()
    return measurement.record(updates * rollout, clock() - began)


def pufferlib(task: dict[str, Any], steps: int, seed: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Measure the trainer of PufferLib 3, PuffeRL, with its serial vector environment.

    It normalises neither observations nor rewards, which it clips to [−1, 1]. A minibatch is one stretch of an
    environment's steps, drawn by priority and not without replacement, and all advantages are computed anew for each.
    """
    import_optional("pufferlib", PUFFERLIB)
    import torch
    from pufferlib import emulation, pufferl, vector

    torch.set_num_threads(1)
    measurement = Measurement()
    pufferl.ADVANTAGE_CUDA = False  # which it takes for given where nvcc is installed

    def new_env(buf=None, seed=0):
        return emulation.GymnasiumPufferEnv(env_creator=lambda: gymnasium_env(task), buf=buf, seed=seed)

    class Policy(torch.nn.Module):
        def __init__(self, observation: Any, action: Any) -> None:
            super().__init__()
            self.continuous = hasattr(action, "low")
            outputs = action.shape[0] if self.continuous else int(action.n)
            self.policy = self._network(observation.shape[0], outputs)
            self.value = self._network(observation.shape[0], 1)
            self.log_std = torch.nn.Parameter(torch.zeros(outputs))

        @staticmethod
        def _network(inputs: int, outputs: int) -> torch.nn.Module:
            sizes = [inputs, *settings["hidden_sizes"]]
            layers = [layer for size in pairwise(sizes) for layer in (torch.nn.Linear(*size), torch.nn.Tanh())]
            return torch.nn.Sequential(*layers, torch.nn.Linear(sizes[-1], outputs))

        def forward(self, observations: torch.Tensor, state: Any = None) -> tuple[Any, torch.Tensor]:
            observations = observations.float()
            outputs = self.policy(observations)
            if self.continuous:
                outputs = torch.distributions.Normal(outputs, self.log_std.exp().expand_as(outputs))
            return outputs, self.value(observations)

        forward_eval = forward

    def new_trainer(budget: int) -> Any:
        torch.manual_seed(seed)
        envs = vector.make(new_env, num_envs=settings["num_envs"], backend=vector.Serial, seed=seed)
        policy = Policy(envs.single_observation_space, envs.single_action_space)
        ours = {
            "env": task["id"],
            "device": "cpu",
            "seed": seed,
            "use_rnn": False,
            "total_timesteps": budget,
            "batch_size": settings["num_envs"] * settings["rollout_length"],
            "minibatch_size": settings["minibatch_size"],
            "bptt_horizon": min(settings["minibatch_size"], settings["rollout_length"]),  # the longest stretch possible
            "update_epochs": settings["epochs"],
            "optimizer": "adam",
            "learning_rate": settings["policy_learning_rate"],
            "anneal_lr": settings["anneal_learning_rate"],
            "adam_beta1": 0.9,  # as everywhere else
            "adam_eps": settings["adam_epsilon"],
            "gamma": settings["gamma"],
            "gae_lambda": settings["gae_lambda"],
            "clip_coef": settings["clip"],
            "ent_coef": settings["entropy_coefficient"],
            "max_grad_norm": settings["max_grad_norm"],
        }
        return pufferl.PuffeRL(pufferl.load_config("default")["train"] | ours, envs, policy)

    def train(trainer: Any) -> None:
        while trainer.global_step < trainer.config["total_timesteps"]:
            trainer.evaluate()  # which collects a rollout
            trainer.train()
        trainer.utilization.stop()

    sys.argv[1:] = []  # from which PufferLib reads settings
    warm_up = new_trainer(settings["num_envs"] * settings["rollout_length"])
    measurement.ready()
    train(warm_up)
    trainer = new_trainer(steps)
    began = clock()
    train(trainer)
    return measurement.record(trainer.global_step, clock() - began)
