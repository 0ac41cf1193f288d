"""Hold gradient estimators against the true gradient of one problem, and write the probe's folder.

`probe.json` says what was measured, and with which versions. `grams.npz` holds, for each place of the problem, the true
gradient, and for each estimator and batch size its estimates from independent batches (`estimation.measuring`).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from policy_gradient_ladder.core.checkout import short_name

from .checks import GridError
from .command import exit_with_sentence
from .determinants import what_determines
from .estimation import InvalidEstimator, problem_of
from .estimation.measuring import measure
from .grid import load_grid
from .process import age, end_at_once, peak_memory_mb, time_limit
from .record import check_folder, provenance, whole_folder, write_record
from .schema import DETERMINED_BY, ESTIMATORS, PROBE_FILES, SCHEMA, TASK_CODE, WRITTEN_TO
from .sources import ROOT, code_of_modules


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the estimators of a grid on one of its problems and write the probe's folder."""
    parser = argparse.ArgumentParser(prog="python -m experiments.estimate", description=main.__doc__)
    parser.add_argument("--grid", required=True, help="a name under experiments/grids/ or a path to a YAML file")
    parser.add_argument("--task", required=True, metavar="PROBLEM", help="a problem of the grid's 'estimators'")
    parser.add_argument("--seed", required=True, type=int)
    parser.add_argument(
        "--output", required=True, type=Path, metavar="DIR", help="the probe's folder; replaced if there"
    )
    options = parser.parse_args(arguments)
    grid = load_grid(options.grid)
    probe = grid.probe(options.task, options.seed, 0.0, measures=ESTIMATORS)
    determinants = what_determines(grid, probe)
    code = determinants.code()
    check_folder(options.output, PROBE_FILES, "probe")
    threadpool_limits(1)  # jobs run in parallel, not the operations of a job
    began = age()
    try:
        with time_limit(grid.limit(probe.task), grid.path):
            measured, arrays = measure(probe.places, probe.variants, probe.seed, probe.counts, probe.batch_size)
    except InvalidEstimator as error:
        raise GridError(str(error)) from error
    record = {
        "schema": SCHEMA,
        "measures": probe.measures,
        "probe": {"grid": grid.name, "task": probe.task, "source": probe.source, "seed": probe.seed}
        | {"fraction": probe.fraction, "step": 0},
        "exact": probe.exact,
        "batch_size": probe.batch_size,
        **measured,
    }
    determinants.check_code(code)
    with whole_folder(options.output) as unfinished:
        np.savez(unfinished / "grams.npz", **arrays)
        record["seconds"] = {
            "start_up": round(began, 3),
            "measuring": round(age() - began, 3),
            "total": round(age(), 3),
        }
        record["peak_memory_mb"] = round(peak_memory_mb(), 1)
        task_code = code_of_modules([short_name(problem_of(probe.task).__module__)]).record()
        made_by = {TASK_CODE: task_code, "code": code.name, DETERMINED_BY: determinants.digest(code)}
        write_record(unfinished / "probe.json", record | made_by | provenance(ROOT), ["grams.npz"])
    print(
        f"{len(record['estimators'])} estimators; seconds: {record['seconds']['total']:.1f}{WRITTEN_TO}{options.output}"
    )


if __name__ == "__main__":
    exit_with_sentence(main)
    end_at_once()
