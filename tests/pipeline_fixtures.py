"""Copies of the project, in one of which the smoke grid is run once for all tests, and its command lines."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from experiments.sources import NAMES, STUB

ROOT = Path(__file__).resolve().parent.parent
SAY_NAMES = {f"{NAMES.replace('.', '/')}.py", f"algorithms/__init__{STUB}"}  # by which modules are imported; no more


def copy_of_the_project(folder):
    """The project's sources without results."""
    for name in ("algorithms", "analysis", "experiments"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def run(folder, *words):
    """A command line of the project, in a folder."""
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)


def environment():
    """This process's, in which `python` is what runs the tests."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def snakemake(folder, *words, grid="smoke"):
    """Snakemake on two cores."""
    return run(folder, "snakemake", "--cores", "2", *words, "--config", *f"grid={grid}".split())


# Every file of a project that a process opens, by Python's audit events; a module is its source, also where Python
# reads what was compiled of it.
WATCHED = """
import importlib.util, json, os, runpy, sys
project, report, prelude, module = sys.argv[1:5]
opened = set()
def hook(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
        path = os.path.realpath(os.fsdecode(arguments[0]))
        if path.startswith(project + os.sep) and os.path.isfile(path):
            if path.endswith(f".{sys.implementation.cache_tag}.pyc"):
                path = importlib.util.source_from_cache(path)
            opened.add(os.path.relpath(path, project))
sys.addaudithook(hook)
leave = os._exit
def report_and_leave(status):
    with open(report, "w") as file:
        json.dump(sorted(opened), file)
    leave(status)
os._exit = report_and_leave
exec(prelude)
sys.argv = [module, *sys.argv[5:]]
try:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
except SystemExit as error:
    report_and_leave(error.code or 0)
report_and_leave(0)
"""


def files_opened(project, folder, module, *words, prelude="", **variables):
    """The sources of a project that a command line opens, relative to it; it must succeed.

    `folder` is for what is noted, `prelude` is run before the command line, `variables` are of the environment.
    """
    report = folder / "opened.json"
    command = [sys.executable, "-c", WATCHED, str(project), str(report), prelude, module, *map(str, words)]
    variables |= {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, cwd=project, env=environment() | variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # What pip leaves in the project's folder (the environment, and the project's name and version) is no source.
    others = (".git/", ".venv/", "policy_gradient_ladder.egg-info/", "results/")
    return {file for file in json.loads(report.read_text()) if not file.startswith(others)}


def shared_folder(tmp_path_factory):
    """The temporary folder of all processes of this run of the tests."""
    place = tmp_path_factory.getbasetemp()
    return place.parent if "PYTEST_XDIST_WORKER" in os.environ else place


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A copy of the project in which the smoke grid has been run: once, also for tests in several processes."""
    place = shared_folder(tmp_path_factory)
    made = place / "smoke"
    with FileLock(place / "smoke.lock"):
        if not made.exists():
            folder = copy_of_the_project(tmp_path_factory.mktemp("unfinished"))
            done = snakemake(folder)
            assert done.returncode == 0, done.stdout + done.stderr
            folder.rename(made)
    # Each process has its own, since Snakemake writes also where it makes nothing.
    return Path(shutil.copytree(made, tmp_path_factory.mktemp("finished") / "project", symlinks=True))


@pytest.fixture
def project(finished, tmp_path):
    """A copy of the finished project that a test may change; modification times are kept."""
    folder = tmp_path / "project"
    shutil.copytree(finished, folder, symlinks=True)
    return folder


@pytest.fixture
def fresh(tmp_path):
    """A copy of the project in which nothing has been run."""
    return copy_of_the_project(tmp_path)
