"""Measure how good an algorithm's own gradient estimates are at a frozen policy, and write the probe's folder.

`probe.json` says what was measured, and with which versions and settings. `grams.npz` holds inner products of the mean
gradients of estimates and of blocks of a stream of state-action pairs (`pairs.Means.products`). The analysis makes
cosines and variances of them, as Ilyas et al. (2020) show them.
"""

import argparse
import json
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from policy_gradient_ladder.core.policy_gradient import PolicyGradient
from policy_gradient_ladder.core.task import StoppedByTask, close, make_env, time_limit_of
from policy_gradient_ladder.core.training import use_one_thread

from .cells import Grid, QualityProbe
from .checks import GridError
from .command import exit_with_sentence
from .determinants import code_of, digest_of_files, what_determines
from .gradients import Episodes, fit_value_function
from .grid import load_grid
from .metrics import VALUE_FUNCTIONS
from .pairs import Sizes, Stream, joined, judge, known_steps, measure_stream, with_known_returns
from .probe import Clock, Frozen, trained
from .process import age, end_at_once, peak_memory_mb, time_limit
from .progress import Progress
from .record import check_folder, provenance, whole_folder, write_record
from .schema import DETERMINED_BY, OF_RUN, PROBE_FILES, QUALITY, SCHEMA, STOPPED, TASK_CODE, WRITTEN_TO
from .sources import ROOT

MEASURING = 3  # seeds the random numbers together with the probe's seed, so that they differ from those of a training
EPISODES_AT_ONCE = 16  # of a lot, or a multiple of it: the first lot says how many the next one needs


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the quality of gradient estimates at one policy of a grid and write the probe's folder."""
    parser = argparse.ArgumentParser(prog="python -m experiments.quality", description=main.__doc__)
    parser.add_argument("--grid", required=True, help="a name under experiments/grids/ or a path to a YAML file")
    parser.add_argument("--task", required=True, help="a task of the grid's 'quality'")
    parser.add_argument("--source", required=True, help="the algorithm whose policy it is")
    parser.add_argument("--seed", required=True, type=int)
    parser.add_argument("--fraction", required=True, type=float, help="of training")
    parser.add_argument("--run", required=True, type=Path, metavar="DIR", help="the source's run, with its checkpoints")
    parser.add_argument(
        "--output", required=True, type=Path, metavar="DIR", help="the probe's folder; replaced if there"
    )
    options = parser.parse_args(arguments)
    grid = load_grid(options.grid)
    probe = grid.probe(options.task, options.seed, options.fraction, measures=QUALITY, source=options.source)
    determinants = what_determines(grid, probe)
    code = determinants.code()
    check_folder(options.output, PROBE_FILES, "probe")
    use_one_thread()
    clock = Clock(start_up=age())
    try:
        frozen = trained(grid, probe, options.run)
        run = json.loads((options.run / "run.json").read_text(encoding="utf-8"))
        algorithm = grid.resolved(probe.source, probe.task, run["settings"])
        with time_limit(grid.limit(probe.task), grid.path):
            record, products = measure(grid, probe, frozen, algorithm, clock)
    except StoppedByTask as at:
        record, products = without_result(grid, probe, at), {}
    determinants.check_code(code)
    with whole_folder(options.output) as unfinished:
        np.savez(unfinished / "grams.npz", **products)
        cost = {"seconds": clock.seconds(), "peak_memory_mb": round(peak_memory_mb(), 1)}
        task_code = code_of(grid.tasks[probe.task].task).record()
        made_by = {TASK_CODE: task_code, "code": code.name, DETERMINED_BY: determinants.digest(code)}
        made_by[OF_RUN] = digest_of_files(run)
        write_record(unfinished / "probe.json", record | made_by | provenance(ROOT) | cost, ["grams.npz"])
    done = f"{STOPPED}: {record['reason']}" if "reason" in record else f"{record['steps']:,} steps"
    print(f"{done}; seconds: {clock}{WRITTEN_TO}{options.output}")


def measure(
    grid: Grid, probe: QualityProbe, frozen: Frozen, algorithm: PolicyGradient, clock: Clock
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Fit a value function, estimate the gradients of the algorithm's loss on a stream, and judge the value functions.

    Returns the probe's record (the content of `probe.json` without the provenance) and the arrays of `grams.npz`.
    `clock` takes the seconds of each part. Raises StoppedByTask, and GridError where no value function can be fitted.
    """
    seed = np.random.SeedSequence([probe.seed, MEASURING, round(1e6 * probe.fraction)])
    of_episodes, of_fit, of_stream = seed.spawn(3)
    known = known_steps(frozen.gamma, longest_episode(frozen))
    with clock("drawing"):
        episodes = draw_pairs(frozen, probe.fit_pairs, of_episodes)
    with clock("fitting"):
        of_known_return = with_known_returns(episodes, frozen.gamma, known)
        if len(of_known_return) < 2:
            raise GridError(
                f"{grid.path}: quality has {probe.task}, whose episodes are all cut within {known} steps, so that no "
                "return is known to fit a value function to"
            )
        fitted = fit_value_function(of_known_return, frozen.gamma, of_fit)
    critics = dict(zip(VALUE_FUNCTIONS, (frozen.value_function, fitted, None), strict=True))
    sizes = Sizes(probe.pairs, probe.estimates, probe.reference_pairs)
    stream = Stream(
        *(frozen.task, frozen.policy, frozen.normalizer, frozen.scale_rewards, sizes.chunks, of_stream),
        num_envs=frozen.num_envs,
        longest=frozen.longest,
        on_wait=partial(Progress(frozen.task.label, 0, lines=0).wait, "drawing pairs"),
    )
    with clock("measuring"):
        try:
            products, predicted = measure_stream(
                stream, algorithm, critics, sizes, probe.fit_pairs, gamma=frozen.gamma, known=known
            )
        except StoppedByTask as at:
            raise at.within("of the probe's pairs") from None
    record = about(grid, probe, frozen.step) | {
        "gamma": frozen.gamma,
        "gae_lambda": getattr(algorithm, "gae_lambda", None),
        "parameters": frozen.policy.parameter_vector.numel(),
        "estimates": {str(size): sizes.count(size) for size in probe.pairs},
        "blocks": sizes.blocks,
        "known_steps": known,
        "fitted_on": len(of_known_return.observations),
        "values": judge(predicted, frozen.gamma, known),
        "mean_return": stream.returns / stream.episodes if stream.episodes else None,
        "episodes": stream.episodes,
        "steps": stream.steps + len(episodes.observations),
    }
    return record, products


def about(grid: Grid, probe: QualityProbe, step: int) -> dict[str, Any]:
    """What `probe.json` says of every probe of this kind; `step` is that of the checkpoint."""
    return {
        "schema": SCHEMA,
        "measures": probe.measures,
        "probe": {"grid": grid.name, "task": probe.task, "source": probe.source, "seed": probe.seed}
        | {"fraction": probe.fraction, "step": step},
        "exact": probe.exact,
        "pairs": list(probe.pairs),
        "reference_pairs": probe.reference_pairs,
        "fit_pairs": probe.fit_pairs,
        "value_functions": list(VALUE_FUNCTIONS),
    }


def without_result(grid: Grid, probe: QualityProbe, at: StoppedByTask) -> dict[str, Any]:
    """The content of `probe.json`, without the provenance, where the task stopped the probe."""
    stopped = {"status": STOPPED, "reason": at.reason, "estimates": {}, "blocks": 0, "values": [], "steps": at.step}
    return about(grid, probe, at.step) | stopped


def longest_episode(frozen: Frozen) -> int:
    """The steps after which an episode of the policy's task is cut at the latest."""
    env = make_env(frozen.task)
    close(env)
    return time_limit_of(env) or frozen.longest


def draw_pairs(frozen: Frozen, pairs: int, seed: np.random.SeedSequence) -> Episodes:
    """Draw complete episodes that have `pairs` steps or more together. Raises StoppedByTask."""
    lots: list[Episodes] = []
    drawn, wanted = 0, EPISODES_AT_ONCE
    while drawn < pairs:
        (of_lot,) = seed.spawn(1)
        lots.append(frozen.draw(wanted, of_lot))
        drawn += len(lots[-1].observations)
        per_lot = drawn / sum(map(len, lots)) * EPISODES_AT_ONCE
        wanted = EPISODES_AT_ONCE * math.ceil(max(pairs - drawn, 1) / per_lot)
    return joined(lots)


if __name__ == "__main__":
    exit_with_sentence(main)
    end_at_once()
