"""What the benchmark measures: bare stepping, this project, a user's own algorithms, other libraries."""

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from policy_gradient_ladder.core.algorithm import nearest_first

from .checks import GridError
from .grid import algorithm_class
from .schema import RIVALS
from .sources import ROOT

# Tasks of the default grid, which sets their preprocessing.
CARTPOLE, ACROBOT, REACHER = "CartPole-v1", "Acrobot-v1", "Reacher-v5"
PENDULUM, HOPPER, CHEETAH = "InvertedDoublePendulum-v5", "Hopper-v5", "HalfCheetah-v5"
MUJOCO = (REACHER, PENDULUM, HOPPER, CHEETAH)
TASKS = (CARTPOLE, ACROBOT, *MUJOCO)
DOCUMENTS = ("README.md", "algorithms/README.md")  # which have a reader write the algorithms of a user's own
BASE = "base_"  # begins the name of a contestant of the other checkout


@dataclass(frozen=True)
class Contestant:
    """One of the programs whose speed the benchmark compares."""

    title: str
    side: str  # "bare": stepping without learning; "ours": this checkout; "base": another checkout; "peer": a library
    tasks: tuple[str, ...]  # on which it is measured
    steps: int  # environment steps of a measurement
    algorithm: str | None = None  # the file under algorithms/; a peer trains its own version at the same settings
    settings: Mapping[str, Any] = field(default_factory=dict)  # in place of the defaults of the algorithm's class
    measure: str | None = None  # a key of experiments.peers.MEASURES; None: a cell
    shipped: str | None = None  # of a user's own algorithm: this project's contestant of the same size
    reference: str | None = None  # Stable-Baselines3's contestant at settings that are usual there

    def resolved(self) -> dict[str, Any]:
        """Every hyperparameter of the algorithm by name; for bare stepping and a user's own, what is set here."""
        known = self.algorithm is not None and self.shipped is None
        return algorithm_class(self.algorithm).from_settings(self.settings).settings() if known else dict(self.settings)


# Contestants at the same settings take equally many steps, because episodes become longer as a policy learns, and
# restarting an episode takes time.
PPO_STEPS = 10 * 2048
STEP_BY_STEP = 40_000  # of A2C and actor-critic
EPISODES = 2 * 16_384  # of REINFORCE, with and without baseline
OFF_POLICY = 2_000  # a gradient step after each, of networks of which Stable-Baselines3's cost ten milliseconds a step
ONE_LONG = {"num_envs": 1, "rollout_length": 2048}
EIGHT_SHORT = {"num_envs": 8, "rollout_length": 256}
NETWORKS = {width: {"hidden_sizes": (width, width)} for width in (64, 256)}  # of the off-policy algorithms


def both(algorithm: str, title: str, width: int) -> dict[str, Contestant]:
    """An off-policy algorithm with two layers of `width` units: this project's and Stable-Baselines3's."""
    name, title, settings = f"{algorithm}_2x{width}", f"{title} (2 × {width})", NETWORKS[width]
    peer = Contestant(f"SB3 {title}", "peer", (CHEETAH,), OFF_POLICY, algorithm, settings, "stable_baselines3")
    return {name: Contestant(title, "ours", (CHEETAH,), OFF_POLICY, algorithm, settings), f"sb3_{name}": peer}


OFF_POLICY_CONTESTANTS = {
    name: contestant
    for width in NETWORKS
    for algorithm, title in (("ddpg", "DDPG"), ("td3", "TD3"), ("sac", "SAC"))
    for name, contestant in both(algorithm, title, width).items()
}
CONTESTANTS = {
    "simulator": Contestant("MuJoCo alone", "bare", MUJOCO, 100_000, measure="simulator"),
    "gymnasium": Contestant("Gymnasium", "bare", TASKS, 60_000, measure="gymnasium"),
    "ppo_1x2048": Contestant(
        "PPO (1 × 2,048)", "ours", (HOPPER, CHEETAH), PPO_STEPS, "ppo", ONE_LONG, reference="sb3_ppo_1x2048"
    ),
    "ppo_8x256": Contestant("PPO (8 × 256)", "ours", TASKS, PPO_STEPS, "ppo", EIGHT_SHORT, reference="sb3_ppo_1x2048"),
    "trpo_1x2048": Contestant("TRPO (1 × 2,048)", "ours", (HOPPER, CHEETAH), PPO_STEPS, "trpo", ONE_LONG),
    "a2c_8x5": Contestant("A2C (8 × 5)", "ours", (CHEETAH,), STEP_BY_STEP, "a2c", reference="sb3_a2c_8x5"),
    "actor_critic": Contestant("Actor-critic (16 × 1)", "ours", (CARTPOLE, CHEETAH), STEP_BY_STEP, "actor_critic"),
    "reinforce": Contestant("REINFORCE", "ours", (CARTPOLE, HOPPER, CHEETAH), EPISODES, "reinforce"),
    "reinforce_baseline": Contestant(
        "REINFORCE + baseline", "ours", (CARTPOLE, HOPPER), EPISODES, "reinforce_baseline"
    ),
    "own_advantage": Contestant(
        "own: constant baseline", "ours", (CHEETAH,), EPISODES, "reinforce_mean", shipped="reinforce"
    ),
    "own_regularizer": Contestant(
        "own: KL penalty", "ours", (CHEETAH,), PPO_STEPS, "ppo_kl_penalty", EIGHT_SHORT, shipped="ppo_8x256"
    ),
    "own_value_loss": Contestant(
        "own: Huber’s loss", "ours", (CHEETAH,), PPO_STEPS, "ppo_huber", EIGHT_SHORT, shipped="ppo_8x256"
    ),
    "rltools_ppo_8x256": Contestant(
        "RLtools PPO (8 × 256)", "peer", (HOPPER, CHEETAH), PPO_STEPS, "ppo", EIGHT_SHORT, "rltools"
    ),
    "sb3_ppo_1x2048": Contestant(
        "SB3 PPO (1 × 2,048)", "peer", (HOPPER, CHEETAH), PPO_STEPS, "ppo", ONE_LONG, "stable_baselines3"
    ),
    "sb3_ppo_8x256": Contestant(
        "SB3 PPO (8 × 256)", "peer", (CARTPOLE, HOPPER, CHEETAH), PPO_STEPS, "ppo", EIGHT_SHORT, "stable_baselines3"
    ),
    "sb3_trpo_1x2048": Contestant(
        "sb3-contrib TRPO (1 × 2,048)", "peer", (HOPPER, CHEETAH), PPO_STEPS, "trpo", ONE_LONG, "stable_baselines3"
    ),
    "sb3_a2c_8x5": Contestant("SB3 A2C (8 × 5)", "peer", (CHEETAH,), STEP_BY_STEP, "a2c", measure="stable_baselines3"),
    **OFF_POLICY_CONTESTANTS,
    "sbx_ppo_8x256": Contestant(
        "sbx PPO (8 × 256)", "peer", (CARTPOLE, HOPPER, CHEETAH), PPO_STEPS, "ppo", EIGHT_SHORT, "sbx"
    ),
    "pufferlib_ppo_8x256": Contestant(
        "PufferLib PPO (8 × 256)", "peer", (CARTPOLE, HOPPER, CHEETAH), PPO_STEPS, "ppo", EIGHT_SHORT, "pufferlib"
    ),
}
STEPS_OF_BARE_STEPPING = {CARTPOLE: 600_000}  # a step of CartPole takes a tenth of the time of a MuJoCo step


def chosen(patterns: Sequence[str], base: bool) -> dict[str, Contestant]:
    """The contestants whose names match a pattern of the shell, in their order; no pattern stands for all.

    With `base`, each of this project's is there a second time, to be measured in another checkout. Raises GridError
    where nothing matches a pattern.
    """
    for pattern in patterns:
        if not any(fnmatch(name, pattern) for name in CONTESTANTS):
            raise GridError(
                f"--contestants: nothing is called {pattern!r}; {nearest_first(pattern, list(CONTESTANTS))}"
            )
    found = {}
    for name, contestant in CONTESTANTS.items():
        if patterns and not any(fnmatch(name, pattern) for pattern in patterns):
            continue
        found[name] = contestant
        if base and contestant.side == "ours":
            found[BASE + name] = replace(contestant, title=f"{contestant.title}, base", side="base")
    return found


def rivals(name: str, contestants: Mapping[str, Contestant]) -> dict[str, str]:
    """With which contestants one of this project's is compared: a key of RIVALS → its name."""
    own = contestants[name]
    if own.side != "ours":
        return {}
    found = {"base": BASE + name, "shipped": own.shipped, "reference": own.reference}
    for other, peer in contestants.items():
        if peer.side == "peer" and (peer.algorithm, peer.settings) == (own.algorithm, own.settings):
            found["peer" if peer.measure == "stable_baselines3" else peer.measure] = other
    return {kind: found[kind] for kind in RIVALS if found.get(kind) in contestants}


def steps_of(contestant: Contestant, task: str, scale: float) -> int:
    """The environment steps of a measurement; `scale` multiplies the usual number."""
    steps = contestant.steps if contestant.side != "bare" else STEPS_OF_BARE_STEPPING.get(task, contestant.steps)
    return max(1, round(scale * steps))


def copy_of_checkout(checkout: Path, folder: Path) -> None:
    """Copy what a cell runs into `folder`, and write the algorithms that the documents have a reader write.

    Raises GridError where `checkout` is none of this project.
    """
    for name in ("algorithms", "experiments"):
        if not (checkout / name).is_dir():
            raise GridError(f"--base: {checkout} is no checkout of this project, because it has no {name}/")
        shutil.copytree(checkout / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in {c.algorithm for c in CONTESTANTS.values() if c.shipped}:
        (folder / "algorithms" / f"{name}.py").write_text(documented(name), encoding="utf-8")


def documented(algorithm: str) -> str:
    """The file algorithms/<algorithm>.py as a document of this project has its reader write it."""
    text = "".join((ROOT / document).read_text(encoding="utf-8") for document in DOCUMENTS)
    return re.search(rf"`algorithms/{algorithm}\.py`:\n\n```python\n(.*?)```", text, re.DOTALL)[1]
