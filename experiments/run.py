"""Run one cell: train, evaluate, and write the run's folder."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

from policy_gradient_ladder.core.run_check import checked_training

from .cells import preprocessing
from .checks import GridError, GridLoader, whole_number
from .command import exit_with_sentence
from .determinants import code_of, what_determines
from .external import External
from .grid import load_grid
from .process import age, end_at_once, time_limit
from .progress import Progress, named_by
from .record import PACKAGES, check_folder, provenance, write_run
from .schema import BEST, EVALUATIONS, EXTERNAL, SCHEMA, STOPPED, TASK_CODE, WRITTEN_TO
from .sources import ROOT
from .trained import Kept
from .tuned import best_of_study


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one cell of a grid and write its folder."""
    parser = argparse.ArgumentParser(prog="python -m experiments.run", description=main.__doc__)
    parser.add_argument("--grid", required=True, help="a name under experiments/grids/ or a path to a YAML file")
    parser.add_argument("--algorithm", required=True)
    parser.add_argument("--task", required=True)
    parser.add_argument("--seed", required=True, type=int)
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="the run's folder; replaced if there")
    parser.add_argument(
        "--tuned", type=Path, metavar="FILE", help=f"the {BEST} of the algorithm's study, whose settings are taken over"
    )
    parser.add_argument("--steps", type=whole_number, help="instead of the grid's budget for the task")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="settings instead of the grid's"
    )
    options = parser.parse_args(arguments)
    if options.seed < 0:
        raise GridError(f"--seed must be a whole number from 0, not {options.seed}")
    if options.steps is not None and options.steps < 1:
        raise GridError(f"--steps must be at least 1, not {options.steps}")

    grid = load_grid(options.grid, options.algorithm)
    cell = grid.cell(options.algorithm, options.task, options.seed)
    determinants = what_determines(grid, cell)
    code = determinants.code()
    best = best_of_study(grid, cell, options.tuned)
    further = read_settings(options.set)
    algorithm = grid.resolved(cell.algorithm, cell.task, (best["settings"] if best else {}) | further)
    task = grid.tasks[cell.task].task
    steps = options.steps or cell.steps
    check_folder(options.output)
    start_up = age()
    progress = Progress(f"{grid.name} {cell.algorithm} {cell.task} {cell.seed}", steps)
    kept = Kept(
        options.output,
        {"code": code.name, "asked": determinants.parameter, "settings": algorithm.settings(), "steps": steps},
    )
    trained = kept.read()
    if trained is not None:
        print("trained already, by an attempt that ended in its evaluation: only the evaluation is done", flush=True)
    began = time.perf_counter()
    with time_limit(grid.limit(cell.task), grid.path):
        run = checked_training(
            algorithm,
            task,
            cell.seed,
            steps,
            checkpoint_fractions=grid.checkpoints,
            compile=grid.compile,
            evaluations=algorithm.evaluations if isinstance(algorithm, External) else EVALUATIONS,
            on_update=progress,
            **named_by(algorithm.train, on_wait=progress.wait, trained=trained, on_trained=kept.write),
        )
    progress.close()
    try:
        determinants.check_code(code)
    except GridError:
        kept.remove()  # it is of the code that is no more
        raise
    external = {EXTERNAL: algorithm.record(cell.seed)} if isinstance(algorithm, External) else {}
    if not external:  # whose seconds nobody knows
        run.seconds["training"] = run.seconds["training"] or time.perf_counter() - began  # of who does not measure it
    run.seconds |= {"start_up": start_up, "total": age() + kept.seconds}
    line = summary(run, options.output)
    write_run(
        options.output,
        run,
        {
            "schema": SCHEMA,
            "cell": {"grid": grid.name, "algorithm": cell.algorithm, "task": cell.task, "seed": cell.seed},
            "steps": steps,
            "settings": algorithm.settings(),
            "tuned": best,
            "task_settings": preprocessing(task),
            TASK_CODE: code_of(task).record(),
            "code": code.name,
            **grid.algorithms[cell.algorithm].of_library(),
            **external,
            **provenance(ROOT, (*PACKAGES, *sorted(determinants.versions.keys() - set(PACKAGES)))),
        },
    )
    print(line)


def read_settings(pairs: Sequence[str]) -> dict:
    """Settings from words NAME=VALUE; values are read as in a grid file. Raises GridError for any other word."""
    settings = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise GridError(f"--set takes NAME=VALUE, not {pair!r}")
        try:
            settings[name] = yaml.load(value, GridLoader)
        except yaml.YAMLError as error:
            raise GridError(f"--set cannot read the value of {pair!r}") from error
    return settings


def summary(run, output: Path) -> str:
    """One line about a finished run."""
    if run.stopped_by_task:
        return f"{STOPPED}: {run.diverged_because}{WRITTEN_TO}{output}"
    if run.evaluation is None:
        return f"diverged at step {run.diverged_at:,} ({run.diverged_because}){WRITTEN_TO}{output}"
    sampled, *mode = (np.mean(evaluation.returns) for evaluation in run.evaluation.values())
    by_mode = f" (mode action {mode[0]:.1f})" if mode else ""
    return (
        f"{run.steps_taken:,} steps in {run.seconds['total']:.1f} s; "
        f"final score {sampled:.1f}{by_mode}{WRITTEN_TO}{output}"
    )


if __name__ == "__main__":
    exit_with_sentence(main)
    end_at_once()
