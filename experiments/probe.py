"""Measure every algorithm's gradient estimate at one frozen policy of a grid, and write the probe's folder.

`probe.json` says what was measured, and with which versions and settings. `grams.npz` holds inner products, float32
[N, N], of an estimator's gradients of N batches: with each other, and with the gradients of the references. The
analysis judges bias and direction by these references.
"""

import argparse
import contextlib
import json
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from policy_gradient_ladder.core.batch import VALUE
from policy_gradient_ladder.core.learner_state import InvalidCheckpoint
from policy_gradient_ladder.core.mlp import ValueFunction
from policy_gradient_ladder.core.normalizer import RunningNormalizer
from policy_gradient_ladder.core.on_policy import Learner
from policy_gradient_ladder.core.policies import Policy
from policy_gradient_ladder.core.policy_gradient import PolicyGradient
from policy_gradient_ladder.core.run import LONGEST_EPISODE
from policy_gradient_ladder.core.task import StoppedByTask, Task
from policy_gradient_ladder.core.training import use_one_thread
from policy_gradient_ladder.core.vector_env import VectorEnv

from . import exact
from .cells import GradientProbe, Grid, Probe
from .checks import GridError
from .command import exit_with_sentence
from .determinants import code_of, digest_of_files, what_determines
from .gradients import (
    BASELINE_REFERENCE,
    PARALLEL_ENVS,
    PLAIN_REFERENCE,
    Critic,
    Episodes,
    Estimator,
    batch_sizes,
    bootstraps,
    draw_episodes,
    estimators_of,
    fit_value_function,
    measure_gradients,
    returns_of,
)
from .grid import load_grid
from .process import age, end_at_once, peak_memory_mb, time_limit
from .progress import Progress
from .record import check_folder, provenance, whole_folder, write_record
from .schema import DETERMINED_BY, OF_RUN, PROBE_FILES, SCHEMA, STOPPED, TASK_CODE, WRITTEN_TO
from .sources import ROOT

# Settings that size the networks, the discount of the critic, and how many environments may be open at once. They are
# read from the run, since a study may have tuned them. Runs of earlier versions have no settings of the networks.
OF_THE_RUN = ("hidden_sizes", "activation", "gamma", "num_envs")
EXACT_REFERENCE = "exact"  # the id of the true gradient
PROBING = 2  # seeds the random numbers together with the probe's seed, so that they differ from those of a training
Products = dict[str, np.ndarray]  # inner products [N, N] by the name of their array in grams.npz


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure one probe of a grid and write its folder."""
    parser = argparse.ArgumentParser(prog="python -m experiments.probe", description=main.__doc__)
    parser.add_argument("--grid", required=True, help="a name under experiments/grids/ or a path to a YAML file")
    parser.add_argument("--task", required=True, help="a task of the grid's probes, or an exact problem's id")
    parser.add_argument("--seed", required=True, type=int)
    parser.add_argument("--fraction", type=float, default=0.0, help="of training; 0 for an exact problem")
    parser.add_argument("--run", type=Path, metavar="DIR", help="the source's run; an exact problem needs none")
    parser.add_argument(
        "--output", required=True, type=Path, metavar="DIR", help="the probe's folder; replaced if there"
    )
    options = parser.parse_args(arguments)
    grid = load_grid(options.grid)
    probe = grid.probe(options.task, options.seed, options.fraction)
    determinants = what_determines(grid, probe)
    code = determinants.code()
    if not probe.exact and options.run is None:
        raise GridError(f"a probe on {probe.task} needs --run, the folder of {probe.source}'s run with its checkpoints")
    check_folder(options.output, PROBE_FILES, "probe")
    use_one_thread()
    clock = Clock(start_up=age())
    try:
        frozen = initialised(probe) if probe.exact else trained(grid, probe, options.run)
        with time_limit(grid.limit(probe.task), grid.path):
            record, products = measure(grid, probe, frozen, clock)
    except StoppedByTask as at:
        record, products = without_result(grid, probe, at), {}
    determinants.check_code(code)
    with whole_folder(options.output) as unfinished:
        np.savez(unfinished / "grams.npz", **products)
        cost = {"seconds": clock.seconds(), "peak_memory_mb": round(peak_memory_mb(), 1)}
        task = Task(probe.task) if probe.exact else grid.tasks[probe.task].task
        made_by = {TASK_CODE: code_of(task).record(), "code": code.name, DETERMINED_BY: determinants.digest(code)}
        run = {} if probe.exact else json.loads((options.run / "run.json").read_text(encoding="utf-8"))
        made_by[OF_RUN] = digest_of_files(run)
        write_record(unfinished / "probe.json", record | made_by | provenance(ROOT) | cost, ["grams.npz"])
    done = f"{STOPPED}: {record['reason']}" if "reason" in record else f"{record['steps']:,} steps"
    print(f"{done}; seconds: {clock}{WRITTEN_TO}{options.output}")


class Clock:
    """The seconds that the parts of a probe took, by the name of the part."""

    def __init__(self, **seconds: float) -> None:
        self._seconds = seconds

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Count the seconds of the block under `name`, and print the name when the block begins."""
        print(f"{name} …", flush=True)
        began = time.perf_counter()
        yield
        self._seconds[name] = time.perf_counter() - began

    def seconds(self) -> dict[str, float]:
        """Seconds by name, and in total since the process began."""
        return {name: round(value, 3) for name, value in (self._seconds | {"total": age()}).items()}

    def __str__(self) -> str:
        return ", ".join(f"{name.replace('_', '-')} {value:.1f}" for name, value in self.seconds().items())


@dataclass
class Frozen:
    """A policy that is not trained further, with all that acting on its task needs."""

    task: Task
    policy: Policy
    normalizer: RunningNormalizer  # of observations
    scale_rewards: Callable[[np.ndarray], np.ndarray]  # raw rewards [M] → the rewards that the algorithms see
    value_function: ValueFunction | None  # as trained with the policy
    step: int  # the environment step of the run at which the policy was saved; 0 for an exact problem
    gamma: float  # the discount of the run, so of its critic; at it, every estimator is measured
    num_envs: int = PARALLEL_ENVS  # that may be open at once: as many as in the run
    longest: int = LONGEST_EPISODE  # steps after which an episode of a task without a time limit is cut

    def draw(self, episodes: int, seed: np.random.SeedSequence) -> Episodes:
        """Draw that many complete episodes with the policy's sampled actions. Raises StoppedByTask."""
        try:
            return draw_episodes(
                *(self.task, self.policy, self.normalizer, self.scale_rewards, episodes, seed),
                num_envs=self.num_envs,
                longest=self.longest,
                on_wait=partial(Progress(self.task.label, 0, lines=0).wait, "drawing episodes"),
            )
        except StoppedByTask as at:
            raise at.within("of the probe's episodes") from None


def initialised(probe: GradientProbe) -> Frozen:
    """A random policy for the probe's exact problem, with the discount that algorithms have by default."""
    problem = exact.PROBLEMS[probe.task]
    policy, normalizer = exact.random_policy(problem, probe.seed), RunningNormalizer(problem.observations)
    return Frozen(Task(probe.task), policy, normalizer, lambda rewards: rewards, None, 0, PolicyGradient.gamma)


def trained(grid: Grid, probe: Probe, run: Path) -> Frozen:
    """The policy of the probe's source algorithm, from the checkpoint in the folder `run`.

    Raises InvalidCheckpoint, with a sentence, where the checkpoint is missing, damaged, or of other networks.
    """
    task = grid.tasks[probe.task].task
    envs = VectorEnv(task, 1, np.random.SeedSequence(0))  # gives the sizes of observations and actions
    envs.close()
    path, step, settings = find_checkpoint(run, probe)
    num_envs = settings.pop("num_envs", None)
    algorithm = grid.resolved(probe.source, probe.task, settings)
    unused = np.random.SeedSequence(0)
    learner = Learner(
        algorithm, task, envs.observation_size, envs.action_space, initialisation=unused, minibatches=unused
    )
    try:
        with zipfile.ZipFile(path) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise ValueError("it is compressed, but checkpoints never are")
        with np.load(path, allow_pickle=False) as arrays:
            state = dict(arrays)
    except (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile) as error:
        raise InvalidCheckpoint(f"{path} cannot be read ({error}); remove {run} to run that cell again") from error
    try:
        learner.load(state)
    except InvalidCheckpoint as error:
        raise InvalidCheckpoint(f"{path}: {error}") from error
    normalized = learner.reward_scaler if task.normalize_rewards else lambda rewards: rewards

    def scale(rewards: np.ndarray) -> np.ndarray:
        """The rewards that the algorithms see."""
        return normalized(task.reward_scale * rewards)

    longest = min(grid.tasks[probe.task].steps, LONGEST_EPISODE)
    return Frozen(
        *(task, learner.policy, learner.normalizer, scale, learner.value_function, step, algorithm.gamma),
        num_envs=num_envs or algorithm.num_envs,
        longest=longest,
    )


def find_checkpoint(run: Path, probe: Probe) -> tuple[Path, int, dict[str, Any]]:
    """The file and the step of a run's checkpoint at the probe's fraction, and those of its settings in OF_THE_RUN.

    Raises InvalidCheckpoint, with a sentence, where the folder `run` holds no record of a run, the run of another cell,
    or no checkpoint at the probe's fraction, or where its record names a file outside the folder. Raises StoppedByTask
    where there is no such checkpoint because the task had stopped the run before it.
    """
    try:
        record = json.loads((run / "run.json").read_text(encoding="utf-8"))
        checkpoints = {float(c["fraction"]): (run / c["file"], c["step"]) for c in record["checkpoints"]}
        cell = tuple(record["cell"][key] for key in ("algorithm", "task", "seed"))
        settings = {name: record["settings"][name] for name in OF_THE_RUN if name in record["settings"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidCheckpoint(f"{run / 'run.json'} is not the record of a run: {error}") from error
    if cell != (probe.source, probe.task, probe.seed):
        wanted = f"{probe.source} on {probe.task} with seed {probe.seed}"
        raise InvalidCheckpoint(f"{run} is the run of {cell[0]} on {cell[1]} with seed {cell[2]}, not of {wanted}")
    if probe.fraction not in checkpoints:
        known = ", ".join(f"{fraction:g}" for fraction in checkpoints) or "none"
        if record.get("status") == STOPPED:
            raise StoppedByTask(probe.task, record["diverged_at"], "a number that is not finite", "of the source's run")
        reason = f"; it diverged at step {record['diverged_at']:,}" if record.get("status") == "diverged" else ""
        raise InvalidCheckpoint(f"{run} has no checkpoint at {probe.fraction:g} of its budget (it has {known}){reason}")
    path, step = checkpoints[probe.fraction]
    if not path.resolve().is_relative_to(run.resolve()):
        raise InvalidCheckpoint(f"{run / 'run.json'}: the checkpoint {path} is not in {run}; it is not read")
    return path, step, settings


def without_result(grid: Grid, probe: GradientProbe, at: StoppedByTask) -> dict[str, Any]:
    """The content of `probe.json`, without the provenance, where the task stopped the probe."""
    return {
        "schema": SCHEMA,
        "status": STOPPED,
        "reason": at.reason,
        "probe": {"grid": grid.name, "task": probe.task, "source": probe.source, "seed": probe.seed}
        | {"fraction": probe.fraction, "step": at.step},
        "exact": probe.exact,
        "batch_size": probe.batch_size,
        "episodes": {},
        **{name: [] for name in ("sizes", "estimators", "references", "critics")},
        "steps": at.step,
    }


def measure(grid: Grid, probe: GradientProbe, frozen: Frozen, clock: Clock) -> tuple[dict[str, Any], Products]:
    """Measure the probe: draw episodes, fit critics, and estimate the gradients.

    Returns the probe's record (the content of `probe.json` without the provenance) and the inner products. `clock`
    takes the seconds of each part.
    """
    drawing, *fitting = np.random.SeedSequence([probe.seed, PROBING, round(1e6 * probe.fraction)]).spawn(3)
    with clock("drawing"):
        episodes = frozen.draw(probe.batches * probe.batch_size, drawing)
    algorithms: dict[str, PolicyGradient] = {}
    for name in grid.algorithms:
        algorithm = grid.resolved(name, probe.task)
        if isinstance(algorithm, PolicyGradient):
            algorithm = grid.resolved(name, probe.task, {"gamma": frozen.gamma})
        if not isinstance(algorithm, PolicyGradient) or set(algorithm.critic_kinds()) - {VALUE}:
            print(f"{name} is not measured: a probe measures only policy gradients that have no critic but V(s)")
        elif algorithm not in algorithms.values():  # two entries that differ in tuning or γ alone are one estimator
            algorithms[name] = algorithm
    critics: dict[str, Critic] = {}
    fitted_on = 0
    if probe.exact:
        problem = exact.PROBLEMS[probe.task]
        critics |= known_critics(problem, frozen.policy, episodes, frozen.gamma)
    else:
        with clock("fitting"):
            others = frozen.draw(probe.fit_episodes, fitting[0])
            fitted_on = others.starts[-1]
            if frozen.value_function is not None:
                critics["trained"] = Critic.of(frozen.value_function, episodes)
            critics["fitted"] = Critic.of(fit_value_function(others, frozen.gamma, fitting[1]), episodes)
    estimators = estimators_of(
        algorithms,
        list(critics),
        baseline="exact" if probe.exact else "fitted",
        gae_lambdas=probe.gae_lambdas,
        gamma=frozen.gamma,
    )
    with clock("measuring"):
        vectors = measure_gradients(frozen.policy, episodes, estimators, critics, probe.batches, probe.batch_size)
    truths = {}
    if probe.exact:
        truths = {EXACT_REFERENCE: exact.policy_gradient(problem, frozen.policy, frozen.gamma)}
    measured = [e for e in estimators if e.kind != "reference"]
    first = episodes.rollout(episodes.rows(0, probe.batch_size))
    entries = [
        estimator_entry(e, probe, sorted(size for name, size in vectors if name == e.id))
        | {"bootstraps": bootstraps(e.algorithm, first)}
        for e in measured
    ]
    record = {
        "schema": SCHEMA,
        "probe": {"grid": grid.name, "task": probe.task, "source": probe.source, "seed": probe.seed}
        | {"fraction": probe.fraction, "step": frozen.step},
        "exact": probe.exact,
        "gamma": frozen.gamma,
        "batch_size": probe.batch_size,
        "sizes": [
            {"episodes": size, "batches": count} for size, count in batch_sizes(probe.batches, probe.batch_size).items()
        ],
        "parameters": frozen.policy.parameter_vector.numel(),
        "episodes": {
            "drawn": len(episodes),
            "mean_length": len(episodes.observations) / len(episodes),
            "mean_return": episodes.mean_return,
            "fitted_on": probe.fit_episodes,
        },
        "estimators": entries,
        "references": sorted(
            {entry[f"{use}_reference"] for entry in entries for use in ("variance", "bias", "cosine")}
        ),
        "critics": [
            critic_entry(name, frozen.gamma, critic, returns_of(episodes, frozen.gamma))
            for name, critic in critics.items()
            if name != "compatible"
        ],
        "steps": len(episodes.observations) + int(fitted_on),
    }
    return record, inner_products(vectors, entries, record["references"], truths)


def known_critics(
    problem: exact.Problem, policy: Policy, episodes: Episodes, gamma: float
) -> Iterator[tuple[str, Critic]]:
    """Yield the critics of an exact problem by name: exact values, wrong values, and compatible values of the actions.

    `policy` is the policy that drew the `episodes`.
    """
    steps, places = episodes.steps, zip(episodes.starts[:-1], episodes.starts[1:], strict=True)
    states = np.concatenate([problem.states(steps.observations[a:b], steps.actions[a:b]) for a, b in places])
    following = np.append(states[1:], 0)  # wrong at an episode's end, where V(s_{t+1}) is not used: it is terminated
    probabilities = exact.action_probabilities(problem, policy).detach().numpy()
    values = exact.state_values(problem, probabilities, gamma)
    yield "exact", Critic(values[states], values[following])
    yield "wrong", Critic(problem.wrong_values[states], problem.wrong_values[following])
    compatible = exact.compatible_values(problem, policy, gamma)[states, steps.actions]
    yield "compatible", Critic(compatible, np.zeros(len(states)))


def estimator_entry(estimator: Estimator, probe: GradientProbe, sizes: list[int]) -> dict[str, Any]:
    """The entry of an estimator in `probe.json`; `sizes` are the batch sizes, in episodes, at which it was measured."""
    monte_carlo = estimator.kind == "algorithm" and estimator.algorithm.whole_episodes
    less_noise, plain = BASELINE_REFERENCE, PLAIN_REFERENCE
    return {
        "id": estimator.id,
        "kind": estimator.kind,
        "algorithm": estimator.name,
        "critic": estimator.critic,
        "advantages": "normalized" if estimator.normalized else "raw",
        "gae_lambda": getattr(estimator.algorithm, "gae_lambda", None) if estimator.kind == "gae" else None,
        "gamma": estimator.algorithm.gamma,
        "variance_reference": plain,
        "bias_reference": EXACT_REFERENCE if probe.exact else plain if monte_carlo else less_noise,
        "cosine_reference": EXACT_REFERENCE if probe.exact else less_noise,
        "sizes": sizes,
    }


def critic_entry(name: str, gamma: float, critic: Critic, returns: np.ndarray) -> dict[str, Any]:
    """The entry of a critic in `probe.json`: how well its values predict the returns G_t, float [M]."""
    errors = returns - critic.values
    varies = np.ptp(returns) > 0  # not var() > 0, because rounding may give equal numbers a variance of 1e-34
    explained = float(1 - errors.var() / returns.var()) if varies else None
    rmse = float(np.sqrt(np.mean(errors**2)))
    return {
        "critic": name,
        "gamma": gamma,
        "explained_variance": explained,
        "rmse": rmse,
        "return_std": float(returns.std()),
    }


def inner_products(
    vectors: Mapping[tuple[str, int], np.ndarray],
    entries: Sequence[dict],
    names: Sequence[str],
    truths: Mapping[str, np.ndarray],
) -> Products:
    """Every array of `grams.npz`, float32 [N, N] each, by name.

    - `vectors`: gradients [N, P] by (estimator id, batch size)
    - `entries`: the estimators' entries in `probe.json`, which name their references
    - `names`: the names of all references
    - `truths`: exact gradients [P] by the name of the reference

    The arrays are the inner products of each reference with itself, and of each estimator with itself and with its
    references.
    """
    products: Products = {}
    for size in sorted({size for _, size in vectors}):
        batches = len(next(array for (_, s), array in vectors.items() if s == size))
        references = {name: vectors[name, size].astype(np.float64) for name in names if name not in truths}
        references |= {name: np.tile(truth, (batches, 1)) for name, truth in truths.items()}
        products |= {f"{name}/{size}": array @ array.T for name, array in references.items()}
        for entry in entries:
            if size in entry["sizes"]:
                array, key = vectors[entry["id"], size].astype(np.float64), f"{entry['id']}/{size}"
                products[f"{key}/self"] = array @ array.T
                products[f"{key}/bias"] = array @ references[entry["bias_reference"]].T
                if entry["cosine_reference"] != entry["bias_reference"]:
                    products[f"{key}/cosine"] = array @ references[entry["cosine_reference"]].T
    return {name: array.astype(np.float32) for name, array in products.items()}


if __name__ == "__main__":
    exit_with_sentence(main)
    end_at_once()
