"""Run one cell: train, evaluate, and write the run's folder."""

import argparse
import logging
import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from policy_gradient_ladder.core.algorithm import Algorithm, where
from policy_gradient_ladder.core.backends import why_not_resumable
from policy_gradient_ladder.core.run import Run, Trained
from policy_gradient_ladder.core.run_check import checked_training
from policy_gradient_ladder.core.task import CannotResume, Task

from .cells import preprocessing
from .checks import GridError, GridLoader, whole_number
from .command import exit_with_sentence
from .determinants import code_of, what_determines
from .events import LOG, LOGS, EventFiles, check_log
from .external import External
from .grid import load_grid
from .process import age, end_at_once, time_limit
from .progress import Progress, named_by
from .record import PACKAGES, check_folder, cpu, provenance, write_run
from .robustness import evaluate_changed
from .schema import (
    BEST,
    DETERMINED_BY,
    EVALUATIONS,
    EXTERNAL,
    PERTURBED,
    SCHEMA,
    STOPPED,
    TASK_CODE,
    TENSORBOARD,
    WRITTEN_TO,
)
from .sources import ROOT
from .trained import SECONDS_BETWEEN, Kept
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
    parser.add_argument(
        "--evaluate-every", type=whole_number, metavar="STEPS", help="evaluate as often, instead of as the grid says"
    )
    parser.add_argument(
        "--evaluate-episodes", type=whole_number, metavar="N", help="episodes of each kind of such an evaluation"
    )
    parser.add_argument("--log", choices=LOGS, help="write event files into the run's folder, too")
    parser.add_argument(
        "--resume", action="store_true", help="end with a sentence where there is no interrupted run to go on with"
    )
    parser.add_argument(
        "--keep-every",
        type=float,
        default=SECONDS_BETWEEN,
        metavar="SECONDS",
        help="how often what is trained is kept, so that an interrupted run can go on (%(default)s)",
    )
    options = parser.parse_args(arguments)
    if options.seed < 0:
        raise GridError(f"--seed must be a whole number from 0, not {options.seed}")
    for name in ("steps", "evaluate_every", "evaluate_episodes"):
        if (value := getattr(options, name)) is not None and value < 1:
            raise GridError(f"--{name.replace('_', '-')} must be at least 1, not {value}")
    if not options.keep_every >= 0:
        raise GridError(f"--keep-every must be a number of seconds from 0, not {options.keep_every}")
    log = options.log or os.environ.get(LOG)
    if log is not None:
        check_log(log)

    grid = load_grid(options.grid, options.algorithm)
    cell = grid.cell(options.algorithm, options.task, options.seed)
    determinants = what_determines(grid, cell)
    code = determinants.code()
    best = best_of_study(grid, cell, options.tuned)
    further = read_settings(options.set)
    own_values = further or options.steps or options.evaluate_every or options.evaluate_episodes  # and not the grid's
    algorithm = grid.resolved(cell.algorithm, cell.task, (best["settings"] if best else {}) | further)
    task = grid.tasks[cell.task].task
    steps = options.steps or cell.steps
    evaluations = {
        "evaluate_every": options.evaluate_every or grid.evaluate_every,
        "evaluate_episodes": options.evaluate_episodes or grid.evaluate_episodes,
    }
    check_folder(options.output)
    start_up = age()
    about = {"code": code.name, "asked": determinants.parameter, "settings": algorithm.settings(), "steps": steps}
    machine = {"python": platform.python_version(), "processor": cpu()}
    kept = Kept(options.output, about | evaluations | machine, options.keep_every)
    trained = to_go_on_with(kept, algorithm, task, insist=options.resume)
    begun = steps_until(trained) if trained else 0
    progress = Progress(f"{grid.name} {cell.algorithm} {cell.task} {cell.seed}", steps, begun=begun)
    if evaluations["evaluate_every"] is not None and not named_by(algorithm.train, **evaluations):
        logging.getLogger(__name__).warning(
            "%s.train takes no evaluate_every, so this run is evaluated at its end alone", where(algorithm)
        )

    def train(trained: Trained | None) -> tuple[Run, EventFiles | None]:
        events = EventFiles(options.output / TENSORBOARD, steps) if log else None
        run = checked_training(
            algorithm,
            task,
            cell.seed,
            steps,
            checkpoint_fractions=grid.checkpoints,
            compile=grid.compile,
            evaluations=algorithm.evaluations if isinstance(algorithm, External) else EVALUATIONS,
            on_update=one_after_another(progress, events and events.on_update),
            **named_by(
                algorithm.train,
                **evaluations,
                on_wait=progress.wait,
                on_boundary=one_after_another(kept.pause, events and events.on_boundary),
                trained=trained,
                on_trained=kept.write,
            ),
        )
        return run, events

    began = time.perf_counter()
    with time_limit(grid.limit(cell.task), grid.path):
        try:
            run, events = train(trained)
        except CannotResume as error:
            if options.resume:
                raise GridError(f"--resume: {error}") from error
            print(f"begins anew: {error}", flush=True)
            kept.seconds = 0.0
            run, events = train(None)
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
    if run.policy is not None:
        run.policy = run.policy.named(cell.algorithm)
    perturbations = grid.tasks[cell.task].perturbations
    perturbed = {}
    if perturbations and run.policy is not None and run.evaluation is not None:
        with time_limit(grid.limit(cell.task), grid.path):
            perturbed = {PERTURBED: evaluate_changed(run.policy, task, perturbations, cell.seed)}
    line = summary(run, options.output)
    if events:
        events.close(run)
    write_run(
        options.output,
        run,
        {
            "schema": SCHEMA,
            "cell": {"grid": grid.name, "algorithm": cell.algorithm, "task": cell.task, "seed": cell.seed},
            "steps": steps,
            **(evaluations if evaluations["evaluate_every"] else {}),
            "settings": algorithm.settings(),
            "tuned": best,
            "task_settings": preprocessing(task),
            TASK_CODE: code_of(task).record(),
            "code": code.name,
            **({} if own_values else {DETERMINED_BY: determinants.digest(code)}),
            **grid.algorithms[cell.algorithm].of_library(),
            **external,
            **perturbed,
            **provenance(ROOT, (*PACKAGES, *sorted(determinants.versions.keys() - set(PACKAGES)))),
        },
        evaluated=evaluations["evaluate_every"] is not None,
        event_files=events is not None,
    )
    print(line)


def to_go_on_with(kept: Kept, algorithm: Algorithm, task: Task, *, insist: bool) -> Trained | None:
    """What an earlier attempt at the cell has trained, and a line about it; None where the training has to begin.

    Raises GridError where there is nothing and `insist` asks for it.
    """
    trained = kept.read()
    if trained is not None:
        if trained.ended:
            what = "trained already, by an attempt that ended in its evaluation: only the evaluation is done"
        else:
            what = f"goes on from step {steps_until(trained):,}, which an interrupted attempt had reached"
        print(what, flush=True)
    elif kept.ignored is not None:
        if insist:
            raise GridError(
                f"--resume: {kept.path} cannot be taken up: {kept.ignored}; without --resume, it begins anew"
            )
        print(f"begins anew: {kept.path} is there, but {kept.ignored}", flush=True)
    elif insist:
        if not named_by(algorithm.train, on_boundary=None):
            why = f"{where(algorithm)}.train is not this project's loop, and has no state to go on from"
        else:
            why = why_not_resumable(task.in_training) or f"{kept.path} is not there; leave out --resume to begin"
        raise GridError(f"--resume: {why}")
    return trained


def steps_until(trained: Trained) -> int:
    """The steps that were taken until then."""
    return trained.run.steps_taken if trained.ended else trained.state["environments"]["steps"]


def one_after_another(first: Callable[..., None], second: Callable[..., None] | None) -> Callable[..., None]:
    """A function that calls both; where there is no second one, the first itself."""
    if second is None:
        return first

    def both(*arguments: Any) -> None:
        first(*arguments)
        second(*arguments)

    return both


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
    first = next(iter(run.evaluation.values()))
    at_cost = f", at a cost of {np.mean(first.costs):.1f} an episode" if first.costs else ""
    in_truth = f", true return {np.mean(first.true_returns):.1f}" if first.true_returns else ""
    return (
        f"{run.steps_taken:,} steps in {run.seconds['total']:.1f} s; "
        f"final score {sampled:.1f}{by_mode}{in_truth}{at_cost}{WRITTEN_TO}{output}"
    )


if __name__ == "__main__":
    exit_with_sentence(main)
    end_at_once()
