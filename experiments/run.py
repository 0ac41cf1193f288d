"""Run one cell: train, evaluate, and write the run's folder."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml
from tqdm import tqdm

from algorithms.core.vector_env import Episode
from experiments.cells import ROOT, Cell, Grid, preprocessing
from experiments.checks import GridError, GridLoader
from experiments.command import exit_with_sentence
from experiments.grid import load_grid
from experiments.process import age, end_at_once, time_limit
from experiments.record import SCHEMA, check_folder, provenance, write_run
from experiments.search import BEST, read_best

SHOWN_EPISODES = 20  # the return that is shown is the mean of the latest
LINES_IN_A_LOG = 10
SECONDS_WITHOUT_A_LINE = (
    60  # the most: analysis.status takes a log that is silent for minutes for that of a dead process
)


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
    parser.add_argument("--steps", type=int, help="instead of the grid's budget for the task")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="settings instead of the grid's"
    )
    options = parser.parse_args(arguments)
    if options.seed < 0:
        raise GridError(f"--seed must be a whole number from 0, not {options.seed}")
    if options.steps is not None and options.steps < 1:
        raise GridError(f"--steps must be at least 1, not {options.steps}")

    grid = load_grid(options.grid, options.algorithm)
    code = grid.algorithms[options.algorithm].code()
    cell = grid.cell(options.algorithm, options.task, options.seed)
    best = best_of_study(grid, cell, options.tuned)
    further = read_settings(options.set)
    algorithm = grid.resolved(cell.algorithm, cell.task, (best["settings"] if best else {}) | further)
    task = grid.tasks[cell.task].task
    steps = options.steps or cell.steps
    check_folder(options.output)
    start_up = age()
    progress = Progress(f"{grid.name} {cell.algorithm} {cell.task} {cell.seed}", steps)
    began = time.perf_counter()
    with time_limit(grid.limit(cell.task), grid.path):
        run = algorithm.train(
            task,
            cell.seed,
            steps,
            checkpoint_fractions=grid.checkpoints,
            compile=grid.compile,
            on_update=progress,
        )
    progress.close()
    grid.algorithms[options.algorithm].check_code(code)
    run.seconds["training"] = run.seconds["training"] or time.perf_counter() - began  # of who does not measure it
    run.seconds |= {"start_up": start_up, "total": age()}
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
            **provenance(ROOT),
        },
    )
    print(summary(run, options.output))


def best_of_study(grid: Grid, cell: Cell, path: Path | None) -> dict | None:
    """What the cell's study has found, if it is asked for."""
    study = grid.study_of(cell.algorithm, cell.task)
    if path is not None and study is None:
        raise GridError(f"{grid.path} does not tune {cell.algorithm} for {cell.task}; leave out --tuned")
    if path is None and study is not None:
        print(
            f"note: untuned settings; --tuned results/{grid.name}/{study.directory}/{BEST} takes what was found",
            file=sys.stderr,
        )
    return None if path is None else read_best(path, study)


def read_settings(pairs: Sequence[str]) -> dict:
    """Settings from NAME=VALUE words, values read as in a grid file."""
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
    if run.evaluation is None:
        return f"diverged at step {run.diverged_at:,} ({run.diverged_because}); written to {output}"
    sampled, mode = (np.mean(run.evaluation[kind].returns) for kind in ("sampled", "mode"))
    return (
        f"{run.steps_taken:,} steps in {run.seconds['total']:.1f} s; "
        f"final score {sampled:.1f} (mode action {mode:.1f}); written to {output}"
    )


def recent_return(episodes: Sequence[Episode]) -> str:
    """The mean return of the latest episodes, for a person to read."""
    return f"{np.mean([e.return_ for e in episodes[-SHOWN_EPISODES:]]):.1f}" if episodes else "no episode yet"


class Progress:
    """A bar on a terminal; in a log a line for each tenth of the budget, and one where a minute has passed without."""

    def __init__(self, name: str, steps: int, lines: int = LINES_IN_A_LOG) -> None:
        self.name, self.steps, self.lines = name, steps, lines
        self.began = self.latest = time.perf_counter()
        self.due = 1  # of the lines
        silent = lines == 0 or not sys.stderr.isatty()
        self.bar = tqdm(total=steps, desc=name, unit=" steps", unit_scale=True, disable=silent)

    def __call__(self, step: int, episodes: list[Episode]) -> None:
        """Show where the run is."""
        if not self.bar.disable:
            self.bar.set_postfix({"return": recent_return(episodes)}, refresh=False)
            self.bar.update(min(step, self.steps) - self.bar.n)
            return
        now = time.perf_counter()
        if step * self.lines >= self.due * self.steps or now - self.latest >= SECONDS_WITHOUT_A_LINE:
            self.due, self.latest = step * self.lines // self.steps + 1, now
            place, rate = f"{step:,} of {self.steps:,} steps", step / (now - self.began)
            print(f"{self.name}: {place}, return {recent_return(episodes)}, {rate:,.0f} steps/s", flush=True)

    def close(self) -> None:
        """Leave the bar as it is."""
        self.bar.close()


if __name__ == "__main__":
    exit_with_sentence(main)
    end_at_once()
