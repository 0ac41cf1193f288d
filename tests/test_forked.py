"""Jobs that are forks: what they give, how they end, and which of them are none because something was changed."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from experiments.forked import SERVE, SERVER
from experiments.process import SNAKEMAKE
from tests.pipeline_fixtures import copy_of_the_project, environment

CELL = ("run", "--grid", "smoke", "--algorithm", "ppo_published", "--task", "CartPole-v1", "--seed", "0")
SHORT = ("--steps", "600")
ENDLESS = ("--grid", "endless.yaml", "--algorithm", "reinforce", "--task", "endless:Endless-v0", "--steps", "100000000")
TASK = """
import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv


class Endless(CartPoleEnv):
    begun = False

    def step(self, action):
        if not Endless.begun:
            print("begun", flush=True)
            Endless.begun = True
        return super().step(action)


gymnasium.register("Endless-v0", Endless, max_episode_steps=500)
"""
GRID = """
description: A task that says when its first step is taken.
seeds: [0]
compile: never
tasks: {"endless:Endless-v0": {steps: 100, random_score: 0, reference_score: 1, reference_source: none}}
algorithms: {reinforce: {}}
"""
THREADS = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}  # as Snakemake sets them


def until(condition, what, seconds=60):
    """What `condition` gives when it is true."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, what
        time.sleep(0.02)
    return value


class Jobs:
    """A copy of the project, a process that stands for its Snakemake, and jobs of that."""

    def __init__(self, folder):
        self.folder = copy_of_the_project(folder)
        (self.folder / "endless.py").write_text(TASK)
        (self.folder / "endless.yaml").write_text(GRID)
        self.snakemake = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        self.name = f"tests-{self.snakemake.pid}"
        self.environment = environment() | THREADS | {SNAKEMAKE: str(self.snakemake.pid), SERVER: self.name}

    def begin(self, *words, **variables):
        """A job, begun."""
        command = [sys.executable, "-m", "experiments.forked", *CELL, *words]
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        streams["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # also where tests run unattended
        return subprocess.Popen(command, cwd=self.folder, env=self.environment | variables, **streams)

    def finish(self, *words, **variables):
        """A job from its start to its end: (status, its output, its errors)."""
        job = self.begin(*words, **variables)
        return job.wait(120), *job.communicate()

    def servers(self):
        """The servers of these jobs."""
        found = []
        for process in psutil.process_iter():
            try:
                is_fork = process.parent() is not None and process.parent().cmdline()[-2:] == ["-c", SERVE]
                if process.cmdline()[-2:] == ["-c", SERVE] and not is_fork and process.cwd() == str(self.folder):
                    found.append(process)
            except (psutil.Error, IndexError):
                continue
        return found

    def start(self):
        """Let a first job start the server, which has everything imported at the end."""
        status, _, errors = self.finish(*SHORT, "--output", "first")
        assert status == 0, errors
        (server,) = self.servers()
        return server

    def forks(self, count):
        """The forks that are at work, as many as there have to be."""
        (server,) = self.servers()
        return until(lambda: len(found := server.children()) == count and found, f"there are not {count} forks")

    def end(self):
        """End all of it."""
        self.snakemake.kill()
        self.snakemake.wait()
        for process in self.servers():
            for fork in [*process.children(), process]:
                fork.kill()


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    jobs = Jobs(tmp_path_factory.mktemp("jobs"))
    jobs.start()
    yield jobs
    jobs.end()


@pytest.fixture
def fresh_jobs(tmp_path):
    jobs = Jobs(tmp_path)
    yield jobs
    jobs.end()


def working(jobs, name):
    """A job that is training, and its fork."""
    before = {fork.pid for server in jobs.servers() for fork in server.children()}
    job = jobs.begin(*ENDLESS, "--output", name)
    (fork,) = [fork for fork in jobs.forks(len(before) + 1) if fork.pid not in before]
    assert job.stdout.readline() == "begun\n"
    return job, fork


def record_of(folder):
    return json.loads((folder / "run.json").read_text())


def test_a_fork_gives_what_a_process_of_its_own_gives_and_begins_at_once(jobs):
    """The first job is a process of its own: the one that starts the server."""
    steps = ("--steps", "6000", "--set", "num_envs=4")
    alone = jobs.environment.copy()
    del alone[SERVER]
    command = [sys.executable, "-m", "experiments.forked", *CELL, *steps, "--output", "alone"]
    assert subprocess.run(command, cwd=jobs.folder, env=alone, capture_output=True, check=False).returncode == 0
    for name in ("forked", "forked-again"):
        status, output, errors = jobs.finish(*steps, "--output", name)
        assert (status, errors) == (0, "")
        assert output.endswith(f"; written to {name}\n")
        for path in (jobs.folder / "alone").rglob("*"):
            if path.suffix in (".csv", ".npz"):
                assert (jobs.folder / name / path.relative_to(jobs.folder / "alone")).read_bytes() == path.read_bytes()
        one, other = record_of(jobs.folder / "alone"), record_of(jobs.folder / name)
        for key in ("evaluation", "code", "settings", "versions", "steps_taken", "open_episodes"):
            assert other[key] == one[key], key
        assert other["seconds"]["start_up"] < one["seconds"]["start_up"] / 3
        assert other["peak_memory_mb"] < 300


def test_random_states_and_the_environment_of_a_fork_are_as_of_a_process(jobs, tmp_path):
    """Two forks do not draw the same unseeded numbers, and both see the variables of who asked for them."""
    (jobs.folder / "mine.py").write_text(
        "import os, random\nimport gymnasium, numpy as np\nfrom gymnasium.envs.classic_control import CartPoleEnv\n"
        "found = random.random(), np.random.rand(), os.environ['SHLVL'], os.getcwd()\n"
        "with open('drawn', 'a') as file: print(*found, file=file)\n"
        "gymnasium.register('Mine-v0', CartPoleEnv, max_episode_steps=9)\n"
    )
    tasks = "{'mine:Mine-v0': {steps: 100, random_score: 0, reference_score: 1, reference_source: none}}"
    (jobs.folder / "mine.yaml").write_text(
        f"description: x\nseeds: [0]\ntasks: {tasks}\nalgorithms: {{reinforce: {{}}}}\n"
    )
    words = ("--grid", "mine.yaml", "--algorithm", "reinforce", "--task", "mine:Mine-v0")
    for level in ("7", "8"):
        status, _, errors = jobs.finish(*words, "--output", f"mine{level}", SHLVL=level)
        assert status == 0, errors
    one, other = (line.split() for line in (jobs.folder / "drawn").read_text().splitlines())
    assert one[0] != other[0]
    assert one[1] != other[1]
    assert (one[2:], other[2:]) == (["7", str(jobs.folder)], ["8", str(jobs.folder)])


def test_a_mistake_is_said_as_a_process_says_it(jobs):
    status, output, errors = jobs.finish("--task", "NoSuchTask-v0", "--output", "none")
    assert (status, output) == (2, "")
    assert errors.startswith("error: ")
    assert "NoSuchTask-v0" in errors


def test_what_is_killed_takes_no_other_job_with_it(jobs):
    other, fork_of_other = working(jobs, "other")
    job, fork = working(jobs, "killed")
    fork.kill()
    assert job.wait(60) == -signal.SIGKILL
    job, fork = working(jobs, "killed")
    job.kill()
    assert psutil.wait_procs([fork], timeout=60)[1] == []
    assert other.poll() is None
    assert jobs.forks(1) == [fork_of_other]
    assert jobs.finish(*SHORT, "--output", "after")[0] == 0
    other.kill()
    assert psutil.wait_procs([fork_of_other], timeout=60)[1] == []
    assert not (jobs.folder / "killed").exists()


def test_signals_are_passed_on(jobs):
    job, fork = working(jobs, "interrupted")
    job.send_signal(signal.SIGTSTP)
    until(lambda: {fork.status(), psutil.Process(job.pid).status()} == {psutil.STATUS_STOPPED}, "they do not stop")
    job.send_signal(signal.SIGCONT)
    until(lambda: fork.status() != psutil.STATUS_STOPPED, "the fork does not go on")
    job.send_signal(signal.SIGINT)
    assert job.wait(60) == 128 + signal.SIGINT
    assert job.communicate()[1] == "error: interrupted\n"
    job, fork = working(jobs, "terminated")
    job.terminate()
    assert job.wait(60) == -signal.SIGTERM
    assert not fork.is_running()


def test_libraries_have_read_the_environment_that_a_job_has(jobs):
    """A job with another one starts a server of its own."""
    before = {server.pid for server in jobs.servers()}
    assert jobs.finish(*SHORT, "--output", "threads", OMP_NUM_THREADS="2")[0] == 0
    (further,) = [server for server in jobs.servers() if server.pid not in before]
    assert further.environ()["OMP_NUM_THREADS"] == "2"
    further.kill()


def test_after_an_edit_no_job_has_the_earlier_code(fresh_jobs):
    server = fresh_jobs.start()
    assert fresh_jobs.finish(*SHORT, "--output", "before")[0] == 0
    file = fresh_jobs.folder / "algorithms" / "core" / "training.py"
    file.write_text(file.read_text() + "\nprint('edited')\n")
    for name in ("by itself", "with a new server"):
        status, output, errors = fresh_jobs.finish(*SHORT, "--output", name)
        assert status == 0, errors
        assert output.startswith("edited\n")
    assert psutil.wait_procs([server], timeout=60)[1] == []
    (new,) = fresh_jobs.servers()
    assert fresh_jobs.finish(*SHORT, "--output", "a fork")[0] == 0
    codes = [record_of(fresh_jobs.folder / name)["code"] for name in ("before", "by itself", "a fork")]
    assert codes[0] != codes[1] == codes[2]
    assert fresh_jobs.servers() == [new]


def test_the_server_ends_with_its_snakemake_and_so_do_the_forks(fresh_jobs):
    server = fresh_jobs.start()
    job, fork = working(fresh_jobs, "endless")
    fresh_jobs.snakemake.kill()
    fresh_jobs.snakemake.wait()
    assert psutil.wait_procs([server, fork], timeout=60)[1] == []
    assert job.wait(60) == 1
    assert job.communicate()[1].endswith("Snakemake has ended, and so does this job of it\n")


def test_without_its_server_a_job_ends_and_says_so(fresh_jobs):
    server = fresh_jobs.start()
    job, fork = working(fresh_jobs, "endless")
    server.kill()
    assert job.wait(60) == 1
    assert "the process that this job was forked from has ended; run the same command again" in job.communicate()[1]
    until(lambda: not fork.is_running(), "the fork goes on")
    assert fresh_jobs.finish(*SHORT, "--output", "after")[0] == 0


def test_jobs_of_no_snakemake_are_processes_of_their_own(jobs):
    alone = {name: value for name, value in os.environ.items() if name not in (SERVER, SNAKEMAKE)}
    command = [sys.executable, "-m", "experiments.forked", "grid", "--grid", "smoke"]
    done = subprocess.run(command, cwd=jobs.folder, env=alone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
