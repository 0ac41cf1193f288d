"""Event files for TensorBoard: what they hold, that no result depends on them, and what is said without the package."""

import builtins
import importlib.util
import json
import os

import pytest

from experiments import run as command
from experiments.checks import GridError
from experiments.determinants import what_determines
from experiments.events import LOG, check_log
from experiments.grid import load_grid
from experiments.pipeline import check_config
from tests.test_interrupted_evaluation import files
from tests.test_resuming import GRID as OF_LONG_RUNS
from tests.test_resuming import stop_a_command, words

needs_tensorboard = pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="no package tensorboard (extra tensorboard)"
)


@pytest.fixture
def grid(tmp_path):
    path = tmp_path / "g.yaml"
    path.write_text(OF_LONG_RUNS)
    return path


def scalars(folder):
    """The points (step, value) of each curve in a folder of event files."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


@needs_tensorboard
def test_they_hold_returns_diagnostics_and_evaluations_against_steps(grid, tmp_path):
    of = {"algorithm": "a2c", "task": "CartPole-v1"}
    command.main(words(grid, tmp_path / "run", "--log", "tensorboard", **of))
    found = scalars(tmp_path / "run" / "tensorboard")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert [step for step, _ in found["evaluation/sampled_return"]] == sorted(
        {s for s, _ in found["evaluation/mode_return"]}
    )
    assert len(found["evaluation/sampled_length"]) == 3
    updates = (tmp_path / "run" / "updates.csv").read_text().splitlines()
    column = updates[0].split(",").index("entropy")
    rows = [line.split(",") for line in updates[1:]]
    assert dict(found["updates/entropy"]) == pytest.approx({int(row[0]): float(row[column]) for row in rows})
    assert found["episodes/return"]
    assert [step for step, _ in found["episodes/length"]] == sorted(step for step, _ in found["episodes/return"])
    returns = record["evaluation"]["sampled"]["returns"]
    mean = pytest.approx(sum(returns) / len(returns))
    assert dict(found["final_evaluation/sampled_return"]) == {record["steps_taken"]: mean}


@needs_tensorboard
def test_the_run_is_the_same_with_and_without_them(grid, tmp_path):
    of = {"algorithm": "reinforce_baseline", "task": "Hopper-v5"}
    command.main(words(grid, tmp_path / "without", **of))
    command.main(words(grid, tmp_path / "logged", "--log", "tensorboard", **of))
    found, record = files(tmp_path / "logged")
    events = [name for name in found if name.startswith("tensorboard/")]
    assert len(events) == 1
    del found[events[0]]
    assert (found, record) == files(tmp_path / "without")


@needs_tensorboard
def test_a_run_that_goes_on_and_one_that_is_made_again_have_one_whole_curve(grid, tmp_path, monkeypatch):
    of = {"algorithm": "a2c", "task": "CartPole-v1"}
    command.main(words(grid, tmp_path / "cell", "--log", "tensorboard", **of))
    whole = scalars(tmp_path / "cell" / "tensorboard")
    monkeypatch.setenv(LOG, "tensorboard")
    (tmp_path / "cell" / "run.json").unlink()
    stop_a_command(monkeypatch, grid, tmp_path / "cell", **of)
    command.main(words(grid, tmp_path / "cell", **of))
    again = scalars(tmp_path / "cell" / "tensorboard")
    assert again.keys() == whole.keys()
    assert {tag: points for tag, points in again.items() if not tag.startswith("episodes/")} == {
        tag: points for tag, points in whole.items() if not tag.startswith("episodes/")
    }
    assert again["episodes/return"][-3:] == whole["episodes/return"][-3:]
    monkeypatch.delenv(LOG)
    command.main(words(grid, tmp_path / "cell", **of))
    assert not (tmp_path / "cell" / "tensorboard").exists()  # they were of another attempt


@needs_tensorboard
def test_snakemake_passes_it_on_and_makes_nothing_stale(grid, monkeypatch):
    monkeypatch.setenv(LOG, "")
    of = load_grid(str(grid))
    before = [what_determines(of, cell).parameter for cell in of.cells()]
    check_config({"grid": "smoke", "log": "tensorboard"})
    assert os.environ[LOG] == "tensorboard"
    assert [what_determines(of, cell).parameter for cell in of.cells()] == before
    assert not any("events" in file for file in what_determines(of, of.cells()[0]).files)


def test_another_log_and_a_missing_package_are_said_in_a_sentence(grid, tmp_path, monkeypatch):
    with pytest.raises(GridError, match="log must be tensorboard, not 'wandb'"):
        check_config({"log": "wandb"})
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(GridError, match=r"event files need the package tensorboard, .*: pip install"):
        check_log("tensorboard")
    with pytest.raises(GridError, match="event files need the package tensorboard"):
        command.main(words(grid, tmp_path / "cell", "--log", "tensorboard"))
    assert not (tmp_path / "cell").exists()


def test_without_them_the_package_is_not_imported(grid, tmp_path, monkeypatch):
    imported, original = [], builtins.__import__

    def note(name, *arguments, **options):
        imported.append(name)
        return original(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", note)
    command.main(words(grid, tmp_path / "run", "--steps", "300", algorithm="a2c", task="CartPole-v1"))
    assert not [name for name in imported if "tensorboard" in name]
