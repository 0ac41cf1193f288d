"""The benchmark: steps per second of this project, of the simulator (the upper limit), and of other libraries.

Every measurement is a process of its own with one thread, and all processes are pinned to the same core. What is
counted is processor time. A repetition measures every contestant on each of its tasks; every second repetition has the
reverse order. Only ratios within a repetition carry over to another machine. The measurements of this project are
cells, which `experiments.run` runs; `experiments.peers` measures the other contestants.
"""

import argparse
import csv
import io
import json
import os
import resource
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from policy_gradient_ladder.core.algorithm import nearest_first

from .cells import GridTask, directory_name, preprocessing
from .checks import GridError
from .command import exit_with_sentence
from .contestants import BASE, TASKS, Contestant, chosen, copy_of_checkout, rivals, steps_of
from .grid import load_grid
from .record import PACKAGES, UnusableFolder, provenance, write_json, write_record, write_whole
from .schema import MEASUREMENT_COLUMNS, RIVALS, SCHEMA, SECONDS
from .sources import ROOT

ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}  # environment variables
CANNOT_RUN = 2  # the exit status of experiments.peers where a package or the task is missing
PEER_PACKAGES = ("stable-baselines3", "sb3-contrib", "sbx-rl", "jax", "rltools", "mkl", "pufferlib")
FIRST_STEPS = 2048  # of a discarded measurement, after which all code is compiled
# A cell measures its seconds with perf_counter. Here that is the clock of the processor, which stands still while
# another process has the core; so it is in a checkout of any age.
ON_PROCESSOR_TIME = (
    "import runpy, sys, time; time.perf_counter = time.process_time; "
    "runpy.run_module('experiments.run', run_name='__main__', alter_sys=True)"
)


def default_tasks(names: Sequence[str]) -> dict[str, GridTask]:
    """The tasks of these names as the default grid has them, by name.

    Raises GridError where the default grid has no task of a name.
    """
    known = load_grid("default").tasks
    for name in names:
        if name not in known:
            raise GridError(f"--tasks: the default grid has no {name!r}; {nearest_first(name, list(known))}")
    return {name: known[name] for name in names}


def cell_grid(task: GridTask, contestants: Mapping[str, Contestant]) -> dict[str, Any]:
    """The grid of one task, whose cells are the measurements of this project with compiled gradient steps.

    Returns the content of a grid file, in which a contestant of the other checkout has the name of this one's.
    """
    entry = preprocessing(task.task) | {key: value for key, value in vars(task).items() if key != "task"}
    cells = {name.removeprefix(BASE): c for name, c in contestants.items() if c.side in ("ours", "base")}
    return {
        "description": "The benchmark's cells.",
        "seeds": [0],
        "compile": "always",
        "tasks": {task.task.label: entry},
        "algorithms": {name: {"module": c.algorithm, "settings": dict(c.settings)} for name, c in cells.items()},
    }


class Bench:
    """Runs measurements one after the other; copies of the checkouts, grids and outputs are in `folder`."""

    def __init__(
        self,
        folder: Path,
        tasks: Mapping[str, GridTask],
        contestants: Mapping[str, Contestant],
        scale: float,
        base: Path | None,
    ) -> None:
        self.folder, self.tasks, self.contestants, self.scale = folder, tasks, contestants, scale
        self.compiled = False  # whether any measurement had compiled gradient steps
        self.core = pin()
        for side, checkout in (("ours", ROOT), ("base", base)):
            if checkout is not None:
                copy_of_checkout(checkout, folder / side)
        self.grids = {name: cell_grid(task, contestants) for name, task in tasks.items()}
        for name, grid in self.grids.items():
            write_json(folder / grid_name(name), grid)  # JSON is YAML, too

    def command(self, task: str, name: str, steps: int, seed: int, output: Path) -> list[str]:
        """The command line of one measurement, without the interpreter."""
        contestant = self.contestants[name]
        common = ["--steps", str(steps), "--seed", str(seed), "--output", str(output)]
        if contestant.measure is None:
            cell = ["--algorithm", name.removeprefix(BASE), "--task", task]
            return ["-c", ON_PROCESSOR_TIME, "--grid", str(self.folder / grid_name(task)), *cell, *common]
        words = ["-m", "experiments.peers", "--measure", contestant.measure, *common]
        words += ["--task", json.dumps({"id": task, **preprocessing(self.tasks[task].task)})]
        of_peer = ["--algorithm", contestant.algorithm] if contestant.measure == "stable_baselines3" else []
        return [*words, *of_peer, "--settings", json.dumps(contestant.resolved())]

    def commands(self) -> dict[str, str]:
        """Every measurement of a repetition as a line for a shell, without the folder of grids, which is removed."""
        found = {}
        for _, task, name in self.turns(1):
            steps = steps_of(self.contestants[name], task, self.scale)
            words = ["python", *self.command(task, name, steps, 0, Path("run"))]
            found[f"{task} {name}"] = shlex.join(words).replace(f"{self.folder}/", "")
        return found

    def turns(self, repetitions: int) -> list[tuple[int, str, str]]:
        """(repetition, task, contestant) in the order of measurement: every second repetition is reversed."""
        order = [(task, name) for task in self.tasks for name, c in self.contestants.items() if task in c.tasks]
        return [(r, *turn) for r in range(repetitions) for turn in (reversed(order) if r % 2 else order)]

    def fill_the_cache(self) -> None:
        """Run a few steps of each contestant that compiles and discard them, so that compiled code is there."""
        for _, task, name in self.turns(1):
            contestant = self.contestants[name]
            if contestant.measure in (None, "rltools"):
                print(f"{task}, {contestant.title}: compiling, discarded", flush=True)
                row = self.measure(task, name, 0, FIRST_STEPS)
                if row["status"] != "done":
                    print(line(row), flush=True)

    def measure(self, task: str, name: str, repetition: int, steps: int | None = None) -> dict[str, Any]:
        """Take one measurement and return it as a row of the table.

        Where the measurement fails, the row has the status "failed" or "unavailable" and the reason. `steps` are
        environment steps; None stands for the usual number.
        """
        contestant = self.contestants[name]
        steps = steps or steps_of(contestant, task, self.scale)
        row = {"task": task, "contestant": name, "repetition": repetition, "status": "done", "core": self.core}
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            output = Path(folder) / "run"
            before = processor_seconds_of_children()
            done = subprocess.run(
                [sys.executable, *self.command(task, name, steps, repetition, output)],
                cwd=ROOT if contestant.measure else self.folder / contestant.side,
                env=os.environ | ONE_THREAD,
                capture_output=True,
                text=True,
                check=False,
            )
            total = processor_seconds_of_children() - before
            if done.returncode:
                unavailable = done.returncode == CANNOT_RUN and contestant.measure is not None
                reason = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]
                shown = os.path.join(
                    os.pardir, grid_name(task)
                )  # as the copy of a checkout names it; it will be removed
                reason = reason.removeprefix("error: ").removeprefix(f"{shown}: ")
                return row | {"status": "unavailable" if unavailable else "failed", "reason": reason}
            record = json.loads((output / "run.json").read_text(encoding="utf-8"))
        compiled = record.get("compiled")
        self.compiled |= bool(compiled)
        seconds = {f"seconds_{part}": (record["seconds"] | {"total": total})[part] for part in SECONDS}
        measured = {key: record[key] for key in ("steps_per_second", "peak_memory_mb")}
        measured |= {"steps": record["steps_taken"], "compiled": None if compiled is None else int(compiled)}
        return row | measured | seconds


def grid_name(task: str) -> str:
    """The file of a task's grid, in the benchmark's own folder."""
    return f"benchmark_{directory_name(task)}.yaml"


def processor_seconds_of_children() -> float:
    """Seconds of a processor that the ended processes which this one started have taken, with their children."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def pin() -> int | None:
    """Keep this process, and the processes that it starts, on one core.

    Returns the number of the core, or None where the operating system cannot do that.
    """
    if not hasattr(os, "sched_setaffinity"):
        return None
    core = max(os.sched_getaffinity(0))  # not the lowest, since a system often runs its own work on the lowest cores
    os.sched_setaffinity(0, {core})
    return core


def line(row: Mapping[str, Any]) -> str:
    """A row of the table as a line for a person to read."""
    if row["status"] != "done":
        return f"{row['status']}: {row['reason']}"
    return f"{row['steps_per_second']:,.0f} steps/s ({row['seconds_total']:.1f} s, {row['peak_memory_mb']:.0f} MB)"


def write_measurements(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the rows as CSV. A cell is empty where a quantity does not exist."""
    text = io.StringIO()
    writer = csv.DictWriter(text, MEASUREMENT_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(path, text.getvalue())


def main() -> None:
    """Measure everything and write the benchmark's folder; exit status 1 if a contestant failed."""
    parser = argparse.ArgumentParser(prog="python -m experiments.speed", description=main.__doc__)
    parser.add_argument("--output", required=True, type=Path, metavar="DIR")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--tasks", nargs="+", default=TASKS, metavar="TASK", help="tasks of the default grid")
    parser.add_argument(
        "--contestants", nargs="+", default=[], metavar="NAME", help="these alone; '*' in a name stands for any text"
    )
    parser.add_argument("--base", type=Path, metavar="DIR", help="another checkout, with which this one is compared")
    parser.add_argument("--steps-scale", type=float, default=1.0, metavar="X", help="X times as long measurements")
    options = parser.parse_args()
    if options.repetitions < 1 or not options.steps_scale > 0:
        raise GridError("--repetitions must be at least 1, and --steps-scale above 0")
    tasks = default_tasks(options.tasks)
    contestants = chosen(options.contestants, base=options.base is not None)
    try:
        options.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:  # reported before the measurements, which take minutes
        raise UnusableFolder(f"{options.output} cannot be written: {error.strerror}") from error
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), tasks, contestants, options.steps_scale, options.base)
        order = bench.turns(options.repetitions)
        if not order:
            raise GridError("none of --contestants is measured on any of --tasks")
        bench.fill_the_cache()
        rows = []
        for number, (repetition, task, name) in enumerate(order, 1):
            rows.append(bench.measure(task, name, repetition))
            print(f"{number} of {len(order)}: {task}, {contestants[name].title}: {line(rows[-1])}", flush=True)
    write_measurements(options.output / "measurements.csv", rows)
    write_record(
        options.output / "benchmark.json",
        {
            "schema": SCHEMA,
            "repetitions": options.repetitions,
            "steps_scale": options.steps_scale,
            "compiled": bench.compiled,
            "core": bench.core,
            "tasks": {name: preprocessing(task.task) for name, task in tasks.items()},
            "contestants": {
                name: {"title": c.title, "side": c.side, "settings": c.resolved()}
                | dict.fromkeys(RIVALS)
                | rivals(name, contestants)
                for name, c in contestants.items()
            },
            "commands": bench.commands(),
            "grids": bench.grids,  # which the commands name
            "base": options.base and provenance(options.base)["commit"],
            **provenance(ROOT, (*PACKAGES, *PEER_PACKAGES)),
        },
        ["measurements.csv"],
    )
    failed = sorted({contestants[row["contestant"]].title for row in rows if row["status"] == "failed"})
    if failed:
        print(f"failed: {'; '.join(failed)}. The table has the reasons.", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    exit_with_sentence(main)
