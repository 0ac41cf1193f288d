"""The promise of experiments/profiles/slurm: on a cluster a grid gives what it gives on one machine.

A real Slurm of two nodes runs a part of the smoke grid, which one machine has run elsewhere.
"""

import contextlib
import csv
import os
import re
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import yaml

from tests.pipeline_fixtures import ROOT, copy_of_the_project, snakemake
from tests.slurm import NODES, CannotStart, two_nodes
from tests.test_pipeline import BROKEN, TINY

pytestmark = pytest.mark.slurm

# Columns in which no two runs agree: times, an estimate's variance times its time, rates and memory.
COST = re.compile(r"(.+_)?(milli)?seconds(_.+)?|cost(_low|_high)?|steps_per_second|peak_memory_mb")
SECONDS = 600  # until something that was waited for is given up
YOUNG = timedelta(seconds=4)  # no job ends so early
ALGORITHMS = ("reinforce", "ppo_published")  # a tuned one, and an untuned one with probes


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    try:
        with two_nodes(tmp_path_factory.mktemp("slurm")) as slurm:
            yield slurm
    except CannotStart as reason:
        pytest.skip(str(reason))


def write_small(folder):
    """The smoke grid with fewer algorithms, as small.yaml."""
    grid = yaml.safe_load((ROOT / "experiments/grids/smoke.yaml").read_text(encoding="utf-8"))
    grid["algorithms"] = {name: grid["algorithms"][name] for name in ALGORITHMS}
    (folder / "small.yaml").write_text(yaml.safe_dump(grid), encoding="utf-8")


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """The results of that grid on one machine."""
    folder = copy_of_the_project(tmp_path_factory.mktemp("local"))
    write_small(folder)
    done = snakemake(folder, grid="small.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "results" / "small"


@contextlib.contextmanager
def snakemake_on(slurm, folder, *words, grid):
    """Snakemake with the profile, which ends with the block; what it says is in said.txt."""
    command = [sys.executable, "-m", "snakemake", "--workflow-profile", "experiments/profiles/slurm"]
    command += ["--slurm-no-account", "--slurm-status-command", "squeue"]  # there is no accounting
    command += ["--slurm-init-seconds-before-status-checks", "2", *words, "--config", f"grid={grid}"]
    path = os.pathsep.join([str(Path(sys.executable).parent), slurm.environment["PATH"]])
    with (folder / "said.txt").open("w") as said:
        process = subprocess.Popen(
            command, cwd=folder, env=slurm.environment | {"PATH": path}, stdout=said, stderr=said
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def without_cost(table):
    """A table without the columns of costs."""
    return [{k: v for k, v in row.items() if not COST.fullmatch(k)} for row in csv.DictReader(table.open())]


def minutes(job):
    """A job's time limit."""
    *hours, minutes, _ = map(int, job.limit.split(":"))
    return 60 * sum(hours) + minutes


def test_the_tables_are_those_of_one_machine_although_a_node_is_drained_a_job_killed_and_a_node_lost(
    local, fresh, slurm
):
    write_small(fresh)
    results = fresh / "results" / "small"
    with snakemake_on(slurm, fresh, grid="small.yaml") as process:

        def both_nodes_work_and_more_is_waiting():
            return {job.node for job in slurm.jobs("RUNNING")} == set(NODES) and slurm.jobs("PENDING")

        waiting = {job.id for job in slurm.wait_for(both_nodes_work_and_more_is_waiting, SECONDS)}
        slurm.command("scontrol", "update", "nodename=node1", "state=drain", "reason=test")
        on_the_drained_node = {job.id for job in slurm.jobs() if job.node == "node1"}

        def the_other_node_takes_what_waited():
            return [job for job in slurm.jobs("RUNNING") if job.id in waiting]

        (killed,) = slurm.wait_for(the_other_node_takes_what_waited, SECONDS)
        assert {job.id for job in slurm.jobs() if job.node == "node1"} == on_the_drained_node
        slurm.command("scontrol", "update", "nodename=node1", "state=resume")
        slurm.command("scancel", killed.id)

        def it_is_tried_again():
            return [job for job in slurm.jobs() if job.name == killed.name and job.id != killed.id]

        (second_attempt,) = slurm.wait_for(it_is_tried_again, SECONDS)
        assert minutes(second_attempt) == 2 * minutes(killed)

        def a_job_has_just_begun_on_the_second_node():
            begun = [job for job in slurm.jobs("RUNNING") if job.node == "node2"]
            return [job for job in begun if datetime.now() - datetime.fromisoformat(job.start) < YOUNG]

        (lost,) = slurm.wait_for(a_job_has_just_begun_on_the_second_node, SECONDS)
        slurm.kill_node("node2")

        def slurm_takes_it_back():
            return [job for job in slurm.jobs() if job.id == lost.id and job.node != "node2"]

        slurm.wait_for(slurm_takes_it_back, SECONDS)
        slurm.start_node("node2")
        assert process.wait(SECONDS) == 0, (fresh / "said.txt").read_text()

    groups = {job.name for job in slurm.jobs() if job.name.endswith("_train")}
    assert len(groups) == 4  # one for both seeds of an algorithm on a task
    assert {job.state for job in slurm.jobs() if job.id == lost.id} == {"COMPLETED"}  # without Snakemake's doing
    files = list(local.glob("runs/*/*/*/*.csv"))
    assert len(files) == 2 * 2 * len(groups)  # two files of each seed
    for file in files:
        assert (results / file.relative_to(local)).read_bytes() == file.read_bytes()
    for table in local.glob("tables/*.csv"):
        assert without_cost(results / "tables" / table.name) == without_cost(table), table.name
    assert "Nothing to be done" in snakemake(fresh, "--dry-run", grid="small.yaml").stdout


def test_a_cell_that_fails_on_the_cluster_does_not_stop_the_other_groups(fresh, slurm):
    (fresh / "tiny.yaml").write_text(TINY)
    (fresh / "algorithms" / "broken.py").write_text(BROKEN)
    with snakemake_on(slurm, fresh, "--retries", "0", grid="tiny.yaml") as process:
        assert process.wait(SECONDS) != 0
    assert "partial_report --config grid=tiny.yaml" in (fresh / "said.txt").read_text()
    runs = fresh / "results" / "tiny" / "runs" / "CartPole-v1"
    assert len(list(runs.glob("reinforce/*/run.json"))) == 3
    assert not list(runs.glob("broken/*/run.json"))
