"""Ten thousand cells: what Snakemake costs before it starts one, and while they run."""

import json
import os
import re
import subprocess
import sys
import time
import timeit
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
TASK = {"steps": 1_000_000, "random_score": 0, "reference_score": 1, "reference_source": "none"}
JOB = """#!/bin/sh
# In place of every job: makes its files.
while [ "$1" != --output ]; do shift; done
case "$2" in
*.json) echo > "$2" ;;
*) sleep 0.3; mkdir -p "$2"; cd "$2"; touch run.json episodes.csv updates.csv ;;
esac
"""
SPACE = {"policy_learning_rate": {"low": 1e-4, "high": 1e-2, "scale": "log"}}


def project(folder, grid):
    """A place to run the project's Snakefile with a grid, named `mine`."""
    for name in ("algorithms", "analysis", "experiments", "Snakefile", "pyproject.toml"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "mine.yaml").write_text(yaml.safe_dump(grid, sort_keys=False), encoding="utf-8")
    return folder


# Processor seconds and peak memory of a command. In between, because Linux counts for a process also what the one that
# started it has held, and this one may have held more than a gigabyte.
WATCH = """
import json, resource, subprocess, sys
status = subprocess.call(sys.argv[2:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
json.dump([used.ru_utime + used.ru_stime, used.ru_maxrss / 1024], open(sys.argv[1], "w"))
sys.exit(status)
"""


def snakemake(folder, *words, programs=""):
    """Snakemake's status, what it has said and what it has used; `programs` stand before others of their name."""
    paths = [str(programs), str(Path(sys.executable).parent), os.environ["PATH"]]
    environment = os.environ | {"PATH": os.pathsep.join(paths[not programs :]), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "snakemake", *words, "--config", "grid=mine.yaml"]
    with (folder / "said").open("wb") as said:
        watched = [sys.executable, "-c", WATCH, str(folder / "used"), *command]
        status = subprocess.call(watched, cwd=folder, env=environment, stdout=said, stderr=subprocess.STDOUT)
    seconds, megabytes = json.loads((folder / "used").read_text(encoding="utf-8"))
    return status, (folder / "said").read_text(encoding="utf-8"), seconds, megabytes


def minute():
    """A minute of the processor for which it is asked, which counts to ten million in a quarter of a second. A slower
    one has as much longer; other work on the machine does not count.
    """
    return 60 * timeit.timeit("n += 1", "n = 0", timer=time.process_time, number=10_000_000) / 0.25


def test_a_dry_run_of_ten_thousand_tuned_cells_takes_at_most_a_minute_and_a_gigabyte(tmp_path):
    tasks = {task: TASK for task in ("CartPole-v1", "Acrobot-v1", "Pendulum-v1", "Reacher-v5")}
    algorithms = ("reinforce", "reinforce_baseline", "actor_critic", "a2c", "ppo")
    tuning = {"seeds": [1000, 1001], "fresh_seeds": [2000], "trials": 16, "startup_trials": 6}
    grid = {
        "description": "Ten thousand cells.",
        "seeds": list(range(500)),
        "tuning": tuning | {"groups": {"all": {"tasks": {"CartPole-v1": 20_000}, "serves": list(tasks)}}},
        "tasks": tasks,
        "algorithms": {name: {"search_space": SPACE} for name in algorithms},
    }
    status, said, seconds, megabytes = snakemake(
        project(tmp_path, grid), "--cores", "2", "--dry-run", "--quiet", "rules"
    )
    assert status == 0, said[-2000:]
    assert re.search(r"^train +10000$", said, re.MULTILINE)
    assert seconds <= minute()
    assert megabytes <= 1000


def project_of_stand_ins(folder, cells):
    """A project of some cells, and the folder of the program that stands in for each of its jobs."""
    grid = {
        "description": "Cells of a third of a second.",
        "seeds": list(range(cells)),
        "tasks": {"CartPole-v1": TASK},
        "algorithms": {"reinforce": None},
    }
    programs = folder / "programs"
    programs.mkdir()
    (programs / "python").write_text(JOB)
    (programs / "python").chmod(0o755)
    return project(folder, grid), programs


def test_snakemake_looks_for_work_when_a_job_has_ended_and_not_ever_more_often(tmp_path):
    """Of itself it would look again every second, once more for each job that has ended."""
    cells = 10
    folder, programs = project_of_stand_ins(tmp_path, cells)
    runs = [f"results/mine/runs/CartPole-v1/reinforce/{seed}/run.json" for seed in range(cells)]
    words = ("--cores", "1", "--verbose", "--scheduler", "greedy", *runs, "results/mine/grid.json")
    status, said, *_ = snakemake(folder, *words, programs=programs)
    assert status == 0, said[-2000:]
    assert f"{cells + 1} of {cells + 1} steps (100%) done" in said
    assert said.count("Ready jobs:") <= cells + 3
    assert said.index("rule manifest:") < said.index("rule train:")  # which python -m analysis.status needs


def test_snakemake_says_with_the_extra_rich_how_far_it_is(tmp_path):
    pytest.importorskip("snakemake_logger_plugin_rich")
    folder, programs = project_of_stand_ins(tmp_path, 1)
    words = ("results/mine/grid.json", "--cores", "1", "--logger", "rich")
    status, said, *_ = snakemake(folder, *words, programs=programs)
    assert status == 0, said[-2000:]
    assert "Workflow Finished" in said
