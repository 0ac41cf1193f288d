"""What life does to a grid: processes are killed, disks fill, code is wrong or edited while it runs, files are cut off.

After each of these the message says what happened and what to do, nothing that looks finished is wrong, the plain
command completes exactly what is missing, and the tables are those of an undisturbed run, save what was measured.

Most of it happens to a grid of four cells. Two of them are of an algorithm and two on a task that do what a file says.
"""

import contextlib
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.pipeline_fixtures import copy_of_the_project, environment, run, snakemake

GRID = """
description: Four cells, a second each.
seeds: [0]
checkpoints: [1]
tasks:
  CartPole-v1: &task {steps: 400, random_score: 20, reference_score: 475, reference_source: registered threshold}
  faulty:Task-v0: *task
algorithms:
  reinforce:
  faulty:
"""

SAID = '''
def said():
    """What the file `fault` says; nothing where it is not there."""
    return Path("fault").read_text() if Path("fault").exists() else ""
'''

ALGORITHM = f'''
"""REINFORCE, unless the file `fault` says otherwise."""
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
import numpy as np
from algorithms.reinforce import Reinforce

{SAID}
@dataclass(frozen=True)
class Faulty(Reinforce):
    """REINFORCE."""
    title = "Faulty"
    equation = "Ψ_t = G_t"
    def advantages(self, rollout):
        while said() == "wait":
            Path(f"waiting-{{os.getpid()}}").touch()
            time.sleep(0.01)
        if said() == "raise":
            raise RuntimeError("a bug in an algorithm")
        if said() == "nan":
            return np.full(rollout.rewards.shape, np.nan)
        while said() == "loop":
            pass
        if said() == "hang":
            re.match("(a+)+$", "a" * 99 + "b")  # holds Python's lock for longer than anybody lives
        return super().advantages(rollout)
'''

TASK = f'''
"""CartPole, unless the file `fault` says otherwise."""
from pathlib import Path
import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv

{SAID}
class Task(CartPoleEnv):
    taken = 0
    def step(self, action):
        self.taken += 1
        if said() == "raise" and self.taken > 9:  # later than the steps that are tried when the grid is read
            raise RuntimeError("the simulator is broken")
        return super().step(action)

gymnasium.register("Task-v0", Task, max_episode_steps=500)
'''

CELLS = {(task, algorithm, "0") for task in ("CartPole-v1", "faulty-Task-v0") for algorithm in ("reinforce", "faulty")}
FAULTY = {cell for cell in CELLS if cell[1] == "faulty"}

FILES = ("episodes", "updates")  # of a run, which the same cell writes byte for byte

# Columns of tables that say how long something took and how much memory. All others are the same after every fault.
MEASURED = {
    "ledger": r"seconds",
    "scores": r"steps_per_second|seconds_\w+|peak_memory_mb",
    "tuning": r"seconds",
    "tuning_parts": r"seconds",
    "shrinkage": r"seconds|fresh_seconds",
}


# ------------------------------------------------------------------------------------------ set-up and looking


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The small grid with its tables, made without a fault."""
    folder = copy_of_the_project(tmp_path_factory.mktemp("undisturbed"))
    (folder / "small.yaml").write_text(GRID)
    (folder / "faulty.py").write_text(TASK)
    (folder / "algorithms" / "faulty.py").write_text(ALGORITHM)
    make(folder)
    return folder


@pytest.fixture
def small(undisturbed, tmp_path):
    """A copy of it; what a test has started there ends with the test."""
    folder = tmp_path / "small"
    shutil.copytree(undisturbed, folder, symlinks=True)
    yield folder
    for process in processes_in(folder):
        process.kill()


def make(folder):
    """The command of the README, as far as the tables; it must succeed."""
    done = snakemake(folder, "--until", "tables", grid="small.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def fail(folder, *words, grid="small.yaml"):
    """The same where it cannot succeed; what it says, which is no traceback of Snakemake's."""
    done = snakemake(folder, "--until", "tables", *words, grid=grid)
    assert done.returncode != 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout + done.stderr


@contextlib.contextmanager
def begun(folder, *words, grid="small.yaml"):
    """Snakemake at work in a process group of its own, and what it says, in a file."""
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *words, "--config", f"grid={grid}"]
    with (folder / "said").open("w+") as said:
        streams = {"stdout": said, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL}
        streams["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # also where tests run unattended
        process = subprocess.Popen(command, cwd=folder, env=environment(), start_new_session=True, **streams)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def until(condition, what, seconds=120):
    """What `condition` gives when it is true; the machine may be busy."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, what
        time.sleep(0.02)
    return value


def processes_in(folder):
    """The jobs that are at work in a folder."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            if words[1:2] == ["-m"] and words[2].startswith("experiments.") and process.cwd() == str(folder):
                found.append(process)
    return found


def let(folder, cells, fault=""):
    """Remove the runs of cells, so that they are to be made again, and say what is to go wrong when they are."""
    for cell in cells:
        shutil.rmtree(folder.joinpath("results", "small", "runs", *cell))
    for file in (*folder.glob("waiting-*"), folder / "fault"):
        file.unlink(missing_ok=True)
    if fault:
        (folder / "fault").write_text(fault)


def waiting(folder, cells):
    """When as many processes as these cells have begun to train and wait for the file to be removed."""
    until(lambda: len(list(folder.glob("waiting-*"))) == len(cells), "no cell has begun to train")


def trained(said):
    """The cells that a Snakemake says it trained, in its own lines, whose file it names at the end."""
    log = Path(re.search(r"^Snakemake's own lines: (.*)$", said, re.MULTILINE)[1]).read_text(encoding="utf-8")
    words = re.findall(r"rule train:(?:\n    .*)*?\n    wildcards: task=(.*), algorithm=(.*), seed=(.*)", log)
    return set(words)


def tables(folder, grid="small"):
    """Every table by name as its rows, without what is measured."""
    found = {}
    for path in sorted((folder / "results" / grid / "tables").glob("*.csv")):
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        measured = re.compile(MEASURED.get(path.stem, "$^"))
        found[path.stem] = [{k: v for k, v in row.items() if not measured.fullmatch(k)} for row in rows]
    assert len(found["scores"]) > 0
    return found


def finished_runs(folder, grid="small"):
    """The cells with a record, and what they have recorded of their training and evaluation."""
    runs = folder / "results" / grid / "runs"
    records = {path.parent: json.loads(path.read_text()) for path in runs.glob("[!.]*/[!.]*/[!.]*/run.json")}
    return {
        path.relative_to(runs).parts: (record["evaluation"], *((path / f"{n}.csv").read_bytes() for n in FILES))
        for path, record in records.items()
    }


def check_what_is_there(folder, reference, grid="small"):
    """Whatever looks finished is what it would have been."""
    expected = finished_runs(reference, grid)
    for cell, found in finished_runs(folder, grid).items():
        assert found == expected[cell], cell


def ledger(folder):
    """The cells' states and notes, by the tables as they can be made now."""
    done = run(folder, "analysis.tables", "--results", "results/small")
    assert done.returncode == 0, done.stderr
    return {(row["task"], row["algorithm"]): (row["state"], row["note"]) for row in tables(folder)["ledger"]}


def one_cell(folder, algorithm, output, *words, env=None):
    """One cell by hand, begun."""
    command = [sys.executable, "-m", "experiments.run", "--grid", "small.yaml", "--algorithm", algorithm]
    command += ["--task", "CartPole-v1", "--seed", "0", "--output", str(output), *words]
    return subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


# ------------------------------------------------------------------------------------------ something is killed


def test_after_snakemake_was_killed_its_jobs_end_and_the_plain_command_goes_on(small, undisturbed):
    """And as long as it is alive, a second one is refused; a dry run is not.

    A file that was just written when Snakemake was killed is made again, since Snakemake does not know it as whole.
    """
    let(small, FAULTY, "wait")
    with begun(small, "--until", "tables") as first:
        waiting(small, FAULTY)
        jobs = processes_in(small)
        assert len(jobs) == len(FAULTY)
        assert "another snakemake is at work on results/small; wait until it has ended" in fail(small)
        assert snakemake(small, "--dry-run", grid="small.yaml").returncode == 0
        assert first.poll() is None
        first.kill()
        first.wait()
        assert psutil.wait_procs(jobs, timeout=60)[1] == []
    assert set(finished_runs(small)) == CELLS - FAULTY
    logs = [(small / "results/small/logs/runs" / task / f"faulty/{seed}.log").read_text() for task, _, seed in FAULTY]
    assert all(log.endswith("Snakemake has ended, and so does this job of it\n") for log in logs)
    just_written = Path("results", "small", "runs", *min(FAULTY))
    shutil.copytree(undisturbed / just_written, small / just_written, dirs_exist_ok=True)
    let(small, [])
    assert trained(make(small)) == FAULTY
    assert tables(small) == tables(undisturbed)


def test_after_ctrl_c_nothing_is_left_and_the_plain_command_goes_on(small, undisturbed):
    let(small, FAULTY, "wait")
    with begun(small, "--until", "tables") as process:
        waiting(small, FAULTY)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) != 0
        assert processes_in(small) == []
    said = (small / "said").read_text()
    assert "Traceback" not in said
    assert "Run the same command again: it does what is missing" in said
    assert set(finished_runs(small)) == CELLS - FAULTY
    assert "ends: error: interrupted" in ledger(small)["CartPole-v1", "faulty"][1]
    let(small, [])
    assert trained(make(small)) == FAULTY
    assert tables(small) == tables(undisturbed)


def test_whatever_is_killed_at_any_moment_the_smoke_grid_becomes_the_same(project, finished):
    """Snakemake, one of its jobs, and all of them by Ctrl-C, while a study, its cells and a probe are made again."""
    results = project / "results" / "smoke"
    shutil.rmtree(results / "tuning" / "a2c")
    shutil.rmtree(results / "runs" / "CartPole-v1" / "ppo_published" / "0")
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    rng = np.random.default_rng(seed)
    for victim in ("snakemake", "group", "job"):
        with begun(project, grid="smoke") as process:
            jobs = until(lambda: processes_in(project), "no job has begun")
            time.sleep(rng.uniform(0, 3))
            if victim == "group":
                os.killpg(process.pid, signal.SIGINT)
            elif victim == "snakemake":
                process.kill()
            else:
                jobs = processes_in(project) or jobs
                with contextlib.suppress(psutil.NoSuchProcess):  # it had just ended
                    rng.choice(jobs).kill()
            process.wait()
            until(lambda: not processes_in(project), "a job outlives its Snakemake")
        check_what_is_there(project, finished, "smoke")
    done = snakemake(project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert tables(project, "smoke") == tables(finished, "smoke"), f"random seed {seed}"


# ------------------------------------------------------------------------------------------ code is wrong


def test_an_algorithm_and_a_task_that_raise_cost_their_cells_and_are_named(small, undisturbed):
    lost = CELLS - {("CartPole-v1", "reinforce", "0")}
    let(small, lost, "raise")
    said = fail(small)
    assert "3 jobs have failed; their logs end:" in said
    of_algorithm = r"error: algorithms/faulty.py, Faulty.advantages, line \d+: RuntimeError: a bug in an algorithm"
    of_task = r"error: faulty.py, Task.step, line \d+: RuntimeError: the simulator is broken"
    assert re.search(f"logs/runs/CartPole-v1/faulty/0.log: {of_algorithm}", said)
    assert re.search(f"logs/runs/faulty-Task-v0/reinforce/0.log: {of_task}", said)
    assert "snakemake --cores 1 partial_report --config grid=small.yaml" in said
    assert set(finished_runs(small)) == CELLS - lost
    states = ledger(small)
    assert states["CartPole-v1", "reinforce"] == ("done", "")
    log = "logs/runs/CartPole-v1/faulty/0.log"
    state, note = states["CartPole-v1", "faulty"]
    assert state == "failed"
    assert re.fullmatch(f"failed or interrupted; {log} ends: {of_algorithm}", note)
    assert states["faulty:Task-v0", "reinforce"][1].endswith("RuntimeError: the simulator is broken")
    let(small, [])
    assert trained(make(small)) == lost
    assert tables(small) == tables(undisturbed)


def test_an_algorithm_that_returns_nan_is_a_result_that_is_scored_as_the_random_policy(small, undisturbed):
    cell = ("CartPole-v1", "faulty", "0")
    let(small, [cell], "nan")
    make(small)
    let(small, [])
    assert trained(make(small)) == set()
    found, expected = tables(small), tables(undisturbed)
    for table in ("ledger", "scores"):
        for row, other in zip(found[table], expected[table], strict=True):
            assert (row == other) == ((row["task"], row["algorithm"], row["seed"]) != cell)
    assert [float(row["score"]) for row in found["scores"] if row["status"] == "diverged"] == [20]
    (note,) = [row["note"] for row in found["ledger"] if row["state"] == "diverged"]
    assert "not finite: policy_loss" in note


def test_a_cell_that_takes_longer_than_its_limit_is_ended_and_runs_again_when_that_is_raised(small, undisturbed):
    grid = small / "small.yaml"
    grid.write_text(GRID.replace("CartPole-v1: &task {", "CartPole-v1: &task {time_limit: 1 s, "))
    cell = ("CartPole-v1", "faulty", "0")
    let(small, [cell], "loop")
    said = fail(small)
    assert trained(said) == {cell}  # the limit has no part in a run's numbers
    assert (
        "faulty/0.log: error: time limit of 1 s reached, so there is no result; raise time_limit in small.yaml" in said
    )
    assert cell not in finished_runs(small)
    state, note = ledger(small)["CartPole-v1", "faulty"]
    assert state == "failed"
    assert "time limit of 1 s" in note
    grid.write_text(grid.read_text().replace("time_limit: 1 s", "time_limit: 2 h"))
    let(small, [])
    assert trained(make(small)) == {cell}
    assert tables(small) == tables(undisturbed)


@pytest.mark.parametrize("fault", ["loop", "hang"])
def test_whatever_a_run_does_its_limit_ends_it_and_says_where_it_was(fault, small):
    (small / "small.yaml").write_text(f"{GRID}\ntime_limit: 1\n")
    let(small, [], fault)
    process = one_cell(small, "faulty", small / "run")
    said = process.communicate(timeout=120)[1]
    assert process.returncode == -signal.SIGKILL
    assert 'experiments/run.py", line' in said
    assert said.splitlines()[-1].startswith("error: time limit of 1 s reached")
    assert not (small / "run").exists()


def test_a_training_of_a_study_has_the_same_limit(small):
    space = "search_space: {policy_learning_rate: {low: 1e-4, high: 1e-3}}"
    groups = "{all: {tasks: {CartPole-v1: 400}, serves: []}}"
    tuning = f"{{seeds: [1, 2], fresh_seeds: [3], trials: 2, startup_trials: 1, groups: {groups}}}"
    grid = GRID.replace("  faulty:\n", f"  faulty: {{{space}}}\n")
    (small / "small.yaml").write_text(f"{grid}time_limit: 1 s\ntuning: {tuning}\n")
    let(small, [], "loop")
    study = ("--grid", "small.yaml", "--algorithm", "faulty", "--group", "all", "--output", "study")
    done = run(small, "experiments.tune", *study)
    assert done.returncode == -signal.SIGKILL
    assert done.stderr.splitlines()[-1].startswith("error: time limit of 1 s reached")
    assert {path.name for path in (small / "study").glob("[!.]*")} == {"journal.log"}


def test_without_a_compiler_a_run_is_slower_and_the_same(small, tmp_path):
    """As one for which nothing is to be compiled: byte for byte."""
    (tmp_path / "bin").mkdir()
    bare = os.environ | {"PATH": str(tmp_path / "bin"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    for compile in ("always", "never"):
        (small / "small.yaml").write_text(f"{GRID}  a2c:\ncompile: {compile}\n")
        process = one_cell(small, "a2c", small / compile, env={k: v for k, v in bare.items() if k != "CXX"})
        said = process.communicate(timeout=120)[1]
        assert process.returncode == 0, said
        assert ("not compiled, and slower for it" in said) == (compile == "always")
        assert json.loads((small / compile / "run.json").read_text())["compiled"] is False
    for file in FILES:
        assert (small / "always" / f"{file}.csv").read_bytes() == (small / "never" / f"{file}.csv").read_bytes()


# ------------------------------------------------------------------------------------------ somebody edits a file


def test_a_file_that_is_saved_with_a_mistake_stops_its_own_algorithms_cells_alone(small):
    (small / "algorithms" / "faulty.py").write_text("def f(:")
    own, other = one_cell(small, "faulty", small / "own"), one_cell(small, "reinforce", small / "other")
    said = own.communicate(timeout=120)[1]
    assert own.returncode == 2
    assert "algorithms/faulty.py cannot be imported: SyntaxError" in said
    assert "Traceback" not in said
    said = other.communicate(timeout=120)[1]
    assert other.returncode == 0, said


def test_a_run_whose_code_is_changed_meanwhile_is_not_written(small):
    """It would be newer than the change, and Snakemake would take it for a run of the changed code."""
    let(small, [], "wait")
    process = one_cell(small, "faulty", small / "run")
    waiting(small, [1])
    with (small / "algorithms" / "reinforce.py").open("a") as file:  # from which it inherits
        file.write("\n# An edit.\n")
    let(small, [])
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 2
    assert "error: algorithms/reinforce.py: edited while this job was running. Its result would be taken" in said
    assert not (small / "run").exists()


# ------------------------------------------------------------------------------------------ files and disks


def test_files_that_are_cut_off_are_named_and_made_again_when_they_are_deleted(small, undisturbed):
    run_of = small.joinpath("results", "small", "runs", *min(FAULTY))
    whole = {file: (run_of / file).read_bytes() for file in ("run.json", "episodes.csv", "updates.csv")}
    for file, content in whole.items():
        (run_of / file).write_bytes(content[: len(content) // 2])
    said = fail(small)
    for file, content in whole.items():
        assert f"{run_of.relative_to(small)}/{file}: " in said
        assert "delete it, and the next snakemake makes it again" in said
        (run_of / file).write_bytes(content)
        said = run(small, "analysis.tables", "--results", "results/small").stderr
    (run_of / "episodes.csv").unlink()
    assert trained(make(small)) == {min(FAULTY)}
    assert tables(small) == tables(undisturbed)


@pytest.fixture
def small_disk(small):
    """The small grid, whose results lie on a disk of two megabytes."""
    if os.geteuid() != 0:
        pytest.skip("needs to be root, to mount a disk of two megabytes")
    results = small / "results"
    results.rename(small / "elsewhere")
    results.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", results], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"no disk of two megabytes can be mounted here: {mounted.stderr.strip()}")
    try:
        shutil.copytree(small / "elsewhere", results, dirs_exist_ok=True)
        yield small
    finally:
        subprocess.run(["umount", "--lazy", results], check=True)


def test_a_disk_that_cannot_be_written_and_one_that_is_full_are_named(small_disk, undisturbed):
    cell = min(FAULTY)
    let(small_disk, [cell])
    results = small_disk / "results"
    subprocess.run(["mount", "-o", "remount,ro", results], check=True)
    assert "error: results/small cannot be written: Read-only file system; nothing was done" in fail(small_disk)
    subprocess.run(["mount", "-o", "remount,rw", results], check=True)
    with (results / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
        while True:
            ballast.write(bytes(4096))
    said = fail(small_disk)
    assert "The disk of results/small is full, with 0.0 MB left: make room first." in said
    assert set(finished_runs(small_disk)) == CELLS - {cell}
    assert not list(results.rglob(".*.unfinished"))
    (results / "ballast").unlink()
    assert trained(make(small_disk)) == {cell}
    assert tables(small_disk) == tables(undisturbed)
