"""The benchmark: steps per second of this project, of the simulator (the upper limit), and of Stable-Baselines3.

Every measurement is a process of its own with one thread, and all processes are pinned to the same core. A repetition
measures every contestant on every task; every second repetition has the reverse order. Only ratios within a repetition
carry over to another machine. The measurements of this project are cells, which `experiments.run` runs;
`experiments.peers` measures the other contestants.
"""

import argparse
import csv
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from algorithms.core.algorithm import nearest_first
from experiments.cells import GridTask, directory_name, preprocessing
from experiments.checks import GridError
from experiments.command import exit_with_sentence
from experiments.grid import algorithm_class, load_grid
from experiments.record import PACKAGES, UnusableFolder, provenance, write_json, write_record, write_whole
from experiments.schema import MEASUREMENT_COLUMNS, SCHEMA, SECONDS
from experiments.sources import ROOT

TASKS = ("CartPole-v1", "Hopper-v5", "HalfCheetah-v5")  # tasks of the default grid, which sets their preprocessing
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}  # environment variables
CANNOT_RUN = 2  # the exit status of a command of this project that reports a mistake or a missing package


@dataclass(frozen=True)
class Contestant:
    """One of the programs whose speed the benchmark compares."""

    title: str
    side: str  # "bare": stepping without learning; "ours": this project; "peer": Stable-Baselines3
    steps: int  # environment steps of a measurement
    algorithm: str | None = None  # the file under algorithms/; a peer trains its own version at the same settings
    settings: Mapping[str, Any] = field(default_factory=dict)  # in place of the defaults of the algorithm's class
    measure: str | None = None  # a key of experiments.peers.MEASURES
    needs: str | None = None  # a package; where it is missing or lacks the task, the contestant is unavailable
    reference: str | None = None  # the peer with which the targets compare this contestant
    peer: str | None = None  # the peer at the same settings

    def resolved(self) -> dict[str, Any]:
        """Every hyperparameter of the algorithm by name; empty for bare stepping."""
        return algorithm_class(self.algorithm).from_settings(self.settings).settings() if self.algorithm else {}


# A measurement of bare stepping or of REINFORCE takes two to six seconds. PPO and A2C take as many steps as their
# peers, because episodes become longer as a policy learns, and restarting an episode takes time. Eight rollouts of PPO
# take two seconds in this project and up to fifteen in the peer. The whole benchmark, with three repetitions, takes
# about 15 minutes.
PPO_STEPS = 8 * 2048
A2C_STEPS = 40_000
ONE_LONG = {"num_envs": 1, "rollout_length": 2048}
EIGHT_SHORT = {"num_envs": 8, "rollout_length": 256}
PEER = {"side": "peer", "measure": "stable_baselines3", "needs": "stable-baselines3"}
CONTESTANTS = {
    "simulator": Contestant("MuJoCo alone", "bare", 100_000, measure="simulator", needs="mujoco"),
    "unwrapped": Contestant("Gymnasium, unwrapped", "bare", 60_000, measure="unwrapped"),
    "gymnasium": Contestant("Gymnasium", "bare", 60_000, measure="gymnasium"),
    "envpool": Contestant("EnvPool (8 environments)", "bare", 60_000, measure="envpool", needs="envpool"),
    "ppo_1x2048": Contestant(
        "PPO (1 × 2,048)", "ours", PPO_STEPS, "ppo", ONE_LONG, reference="sb3_ppo_1x2048", peer="sb3_ppo_1x2048"
    ),
    "ppo_8x256": Contestant(
        "PPO (8 × 256)", "ours", PPO_STEPS, "ppo", EIGHT_SHORT, reference="sb3_ppo_1x2048", peer="sb3_ppo_8x256"
    ),
    "a2c_8x5": Contestant("A2C (8 × 5)", "ours", A2C_STEPS, "a2c", reference="sb3_a2c_8x5", peer="sb3_a2c_8x5"),
    "reinforce": Contestant("REINFORCE", "ours", 32_768, "reinforce"),
    "sb3_ppo_1x2048": Contestant("SB3 PPO (1 × 2,048)", steps=PPO_STEPS, algorithm="ppo", settings=ONE_LONG, **PEER),
    "sb3_ppo_8x256": Contestant("SB3 PPO (8 × 256)", steps=PPO_STEPS, algorithm="ppo", settings=EIGHT_SHORT, **PEER),
    "sb3_a2c_8x5": Contestant("SB3 A2C (8 × 5)", steps=A2C_STEPS, algorithm="a2c", **PEER),
}
STEPS_OF_BARE_STEPPING = {"CartPole-v1": 600_000}  # a step of CartPole takes a tenth of the time of a MuJoCo step


def steps_of(contestant: Contestant, task: str, scale: float) -> int:
    """The environment steps of a measurement; `scale` multiplies the usual number."""
    steps = contestant.steps if contestant.side != "bare" else STEPS_OF_BARE_STEPPING.get(task, contestant.steps)
    return max(1, round(scale * steps))


def default_tasks(names: Sequence[str]) -> dict[str, GridTask]:
    """The tasks of these names as the default grid has them, by name.

    Raises GridError where the default grid has no task of a name.
    """
    known = load_grid("default").tasks
    for name in names:
        if name not in known:
            raise GridError(f"--tasks: the default grid has no {name!r}; {nearest_first(name, list(known))}")
    return {name: known[name] for name in names}


def cell_grid(task: GridTask) -> dict[str, Any]:
    """The grid of one task, whose cells are the measurements of this project with compiled gradient steps.

    Returns the content of a grid file.
    """
    entry = preprocessing(task.task) | {key: value for key, value in vars(task).items() if key != "task"}
    ours = {n: c for n, c in CONTESTANTS.items() if c.side == "ours"}
    return {
        "description": "The benchmark's cells.",
        "seeds": [0],
        "compile": "always",
        "tasks": {task.task.label: entry},
        "algorithms": {name: {"module": c.algorithm, "settings": dict(c.settings)} for name, c in ours.items()},
    }


class Bench:
    """Runs measurements one after the other; their grids and outputs are in `folder`."""

    def __init__(self, folder: Path, tasks: Mapping[str, GridTask], scale: float) -> None:
        self.folder, self.tasks, self.scale = folder, tasks, scale
        self.compiled = False  # whether any measurement had compiled gradient steps
        self.core = pin()
        for name, task in tasks.items():
            write_json(self._grid(name), cell_grid(task))  # JSON is YAML, too

    def command(self, task: str, name: str, steps: int, seed: int, output: Path) -> list[str]:
        """The command line of one measurement, without the interpreter and `-m`."""
        contestant = CONTESTANTS[name]
        common = ["--steps", str(steps), "--seed", str(seed), "--output", str(output)]
        if contestant.side == "ours":
            grid = str(self._grid(task))
            return ["experiments.run", "--grid", grid, "--algorithm", name, "--task", task, *common]
        words = ["experiments.peers", "--measure", contestant.measure, *common]
        words += ["--task", json.dumps({"id": task, **preprocessing(self.tasks[task].task)})]
        of_peer = ["--algorithm", contestant.algorithm] if contestant.side == "peer" else []
        return [*words, *of_peer, "--settings", json.dumps(contestant.resolved())]

    def fill_the_cache(self) -> None:
        """Run one rollout of each compiled contestant and discard it, so that measurements find compiled code."""
        for task in self.tasks:
            for name, contestant in CONTESTANTS.items():
                if contestant.side == "ours" and not algorithm_class(contestant.algorithm).whole_episodes:
                    print(f"{task}, {contestant.title}: compiling, discarded", flush=True)
                    settings = contestant.resolved()
                    row = self.measure(task, name, 0, settings["num_envs"] * settings["rollout_length"])
                    if row["status"] != "done":
                        print(line(row), flush=True)

    def measure(self, task: str, name: str, repetition: int, steps: int | None = None) -> dict[str, Any]:
        """Take one measurement and return it as a row of the table.

        Where the measurement fails, the row has the status "failed" or "unavailable" and the reason. `steps` are
        environment steps; None stands for the usual number.
        """
        contestant = CONTESTANTS[name]
        steps = steps or steps_of(contestant, task, self.scale)
        row = {"task": task, "contestant": name, "repetition": repetition, "status": "done", "core": self.core}
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            output = Path(folder) / "run"
            command = self.command(task, name, steps, repetition, output)
            began = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-m", *command],
                cwd=ROOT,
                env=os.environ | ONE_THREAD,
                capture_output=True,
                text=True,
                check=False,
            )
            total = time.perf_counter() - began
            if done.returncode:
                unavailable = done.returncode == CANNOT_RUN and contestant.needs is not None
                reason = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]
                shown = os.path.relpath(self._grid(task), ROOT)  # removed after the benchmark
                reason = reason.removeprefix("error: ").removeprefix(f"{shown}: ")
                return row | {"status": "unavailable" if unavailable else "failed", "reason": reason}
            record = json.loads((output / "run.json").read_text(encoding="utf-8"))
        self.compiled |= record.get("compiled", False)
        seconds = {f"seconds_{part}": (record["seconds"] | {"total": total})[part] for part in SECONDS}
        measured = {key: record[key] for key in ("steps_per_second", "peak_memory_mb")}
        return row | {"steps": record["steps_taken"]} | measured | seconds

    def _grid(self, task: str) -> Path:
        """The grid file for a task."""
        return self.folder / f"benchmark_{directory_name(task)}.yaml"


def pin() -> int | None:
    """Keep this process, and the processes that it starts, on one core.

    Returns the number of the core, or None where the operating system cannot do that.
    """
    if not hasattr(os, "sched_setaffinity"):
        return None
    core = max(os.sched_getaffinity(0))  # not the lowest, since a system often runs its own work on the lowest cores
    os.sched_setaffinity(0, {core})
    return core


def turns(tasks: Sequence[str], repetitions: int) -> list[tuple[int, str, str]]:
    """(repetition, task, contestant) in the order of measurement: every second repetition is reversed."""
    order = [(task, name) for task in tasks for name in CONTESTANTS]
    return [(r, *turn) for r in range(repetitions) for turn in (reversed(order) if r % 2 else order)]


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
    parser.add_argument("--steps-scale", type=float, default=1.0, metavar="X", help="X times as long measurements")
    options = parser.parse_args()
    if options.repetitions < 1 or not options.steps_scale > 0:
        raise GridError("--repetitions must be at least 1, and --steps-scale above 0")
    tasks = default_tasks(options.tasks)
    try:
        options.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:  # reported before the measurements, which take minutes
        raise UnusableFolder(f"{options.output} cannot be written: {error.strerror}") from error
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), tasks, options.steps_scale)
        bench.fill_the_cache()
        rows = []
        order = turns(list(tasks), options.repetitions)
        for number, (repetition, task, name) in enumerate(order, 1):
            rows.append(bench.measure(task, name, repetition))
            print(f"{number} of {len(order)}: {task}, {CONTESTANTS[name].title}: {line(rows[-1])}", flush=True)
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
                name: {key: getattr(c, key) for key in ("title", "side", "reference", "peer")}
                | {"settings": c.resolved()}
                for name, c in CONTESTANTS.items()
            },
            **provenance(ROOT, (*PACKAGES, "stable-baselines3", "envpool")),
        },
        ["measurements.csv"],
    )
    failed = sorted({CONTESTANTS[row["contestant"]].title for row in rows if row["status"] == "failed"})
    if failed:
        print(f"failed: {'; '.join(failed)}. The table has the reasons.", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    exit_with_sentence(main)
