"""One import name, `policy_gradient_ladder`; the names of a checkout's folders stand for the same modules."""

import json
import os
import subprocess
import sys
import venv
from importlib import import_module
from pathlib import Path

import pytest

import algorithms
import analysis
import experiments
from algorithms.core.checkout import file_of, long_name, short_name
from experiments.sources import import_closure
from tests.pipeline_fixtures import ROOT, copy_of_the_project

NAMES = {
    "algorithms": "policy_gradient_ladder",
    "algorithms.ppo": "policy_gradient_ladder.ppo",
    "algorithms.core.task": "policy_gradient_ladder.core.task",
    "experiments": "policy_gradient_ladder.experiments",
    "experiments.grid": "policy_gradient_ladder.experiments.grid",
    "analysis": "policy_gradient_ladder.analysis",
    "analysis.sections.learning.tables": "policy_gradient_ladder.analysis.sections.learning.tables",
}


def python(folder: Path, code: str, executable: str = sys.executable, **environment: str) -> str:
    """What a program prints that runs in a folder, and of which only that folder is known."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | environment
    done = subprocess.run([executable, "-c", code], cwd=folder, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("short", "long"), NAMES.items())
def test_the_names_are_of_one_module(short, long):
    module = import_module(short)
    assert module is import_module(long)
    assert module.__name__ == module.__spec__.name == long
    assert (long_name(short), short_name(long)) == (long, short)
    assert file_of(long) == short.replace(".", "/")


def test_other_names_are_left_alone():
    assert [long_name(name) for name in ("numpy", "experiments_of_mine", "algorithm")] == [None] * 3
    assert [short_name(name) for name in ("numpy", "experiments", "policy_gradient")] == [
        *("numpy", "experiments", "policy_gradient")
    ]
    with pytest.raises(ModuleNotFoundError, match=r"algorithms\.nobody"):
        import_module("algorithms.nobody")


@pytest.mark.parametrize("first", ["algorithms", "experiments", "analysis", "policy_gradient_ladder"])
def test_whichever_name_comes_first(first):
    code = f"""
import {first}, sys, json
import algorithms, experiments.grid, analysis.sections, policy_gradient_ladder as p
from policy_gradient_ladder.experiments.grid import load_grid
print(json.dumps([algorithms is p, experiments.grid.load_grid is load_grid, p.PPO is algorithms.ppo.PPO,
    experiments is sys.modules["policy_gradient_ladder.experiments"], p.__file__]))
"""
    *same, file = json.loads(python(ROOT, code, PYTHONPATH=str(ROOT)))
    if first != "policy_gradient_ladder":  # where it is, an installation may lead to another checkout
        assert file == str(ROOT / "algorithms/__init__.py")
    assert all(same)


def test_what_the_package_offers_is_there_and_typed():
    stub = (ROOT / "algorithms/__init__.pyi").read_text(encoding="utf-8")
    assert sorted(algorithms.__all__) == sorted(line.split()[-1] for line in stub.splitlines())
    assert all(getattr(algorithms, name).__name__ == name for name in algorithms.__all__)
    assert {"PPO", "Task"} <= set(dir(algorithms))


def test_what_the_package_offers_is_a_source_of_who_imports_it(tmp_path):
    """As if it were imported from its own file; the names that others are offered by change nothing."""
    folder = copy_of_the_project(tmp_path)
    (folder / "algorithms/mine.py").write_text("from policy_gradient_ladder import PPO\n", encoding="utf-8")
    files = {Path(file).relative_to(folder).as_posix() for file in import_closure("algorithms/mine.py", (folder,))}
    ppo = {Path(file).relative_to(folder).as_posix() for file in import_closure("algorithms/ppo.py", (folder,))}
    assert files == ppo | {"algorithms/mine.py"}
    assert "algorithms/a2c.py" not in files


def test_two_copies_in_one_program_are_refused(tmp_path):
    code = f"""
import algorithms, sys
del sys.modules["algorithms"]
sys.meta_path = [finder for finder in sys.meta_path if type(finder).__name__ != "_Folders"]
sys.path.insert(0, {str(copy_of_the_project(tmp_path))!r})
try:
    import algorithms
except ImportError as error:
    print(error)
"""
    said = python(ROOT, code, PYTHONPATH=str(ROOT))
    assert said.startswith("policy_gradient_ladder was imported from ")
    assert "another copy of it" in said


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A Python with the project's wheel, beside the packages that this Python has."""
    folder = tmp_path_factory.mktemp("installed")
    source = copy_of_the_project(folder / "source")
    for name in ("README.md", "LICENSE"):
        (source / name).write_bytes((ROOT / name).read_bytes())
    wheel = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(source)]
    subprocess.run(wheel, check=True, cwd=folder)
    (file,) = folder.glob("*.whl")
    venv.create(folder / "environment", with_pip=False)
    (site,) = (folder / "environment/lib").glob("python3*/site-packages")
    own = [path for path in sys.path if path.endswith("site-packages")]
    (site / "others.pth").write_text("\n".join(own), encoding="utf-8")
    target = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(site), str(file)]
    subprocess.run(target, check=True, cwd=folder)
    return str(folder / "environment/bin/python")


def test_an_installed_package_leaves_a_users_own_folders_alone(installed, tmp_path):
    for name in ("algorithms", "experiments", "analysis"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"mine = {name!r}\n", encoding="utf-8")
    code = """
import algorithms, analysis, experiments
import policy_gradient_ladder as ladder
from policy_gradient_ladder.experiments.grid import load_grid
import policy_gradient_ladder.analysis.sections as sections
run = ladder.PPO(num_envs=2, rollout_length=32).train(ladder.Task("CartPole-v1"), seed=0, steps=64, evaluations=())
print(algorithms.mine, analysis.mine, experiments.mine, run.steps_taken, len(sections.FACES), ladder.__file__)
"""
    *said, steps, faces, file = python(tmp_path, code, installed).split()
    assert said == ["algorithms", "analysis", "experiments"]
    assert (int(steps), int(faces)) == (64, len(import_module("analysis.sections").FACES))
    assert Path(file).is_relative_to(Path(installed).parents[1])


def test_every_file_is_in_the_wheel(installed):
    (package,) = Path(installed).parents[1].glob("lib/python3*/site-packages/policy_gradient_ladder")
    for folder, place in ((algorithms, "."), (experiments, "experiments"), (analysis, "analysis")):
        home = Path(folder.__file__).parent
        files = [path.relative_to(home) for path in home.rglob("*") if path.is_file()]
        needed = [file for file in files if file.suffix not in (".pyc", ".md")]
        assert [file for file in needed if not (package / place / file).exists()] == []
