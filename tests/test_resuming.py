"""A training that was interrupted goes on from its middle with the numbers of one that was not, or says why not."""

import json
import math
import time
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch

from algorithms.a2c import A2C
from algorithms.core.run import Trained
from algorithms.core.run_check import checked_training
from algorithms.core.task import CannotResume, Task, global_generators, restore_global_generators
from algorithms.ppo import PPO
from algorithms.ppo_kl import PPOKL
from algorithms.reinforce_baseline import ReinforceBaseline
from algorithms.trpo import TRPO
from experiments import run as command
from experiments.checks import GridError
from experiments.schema import TRAINED
from experiments.trained import Kept
from tests.tasks import needs_compiler
from tests.test_interrupted_evaluation import Interrupted, files

NORMALISED = {
    "normalize_observations": True,
    "normalize_rewards": True,
    "max_episode_steps": 100,  # so that episodes end within the training, and those of evaluations soon
}
SMALL = PPO(num_envs=3, rollout_length=64, minibatch_size=32, epochs=2, anneal_learning_rate=True)
GRID = """
description: A grid.
seeds: [0]
checkpoints: [0, 0.5, 1]
compile: never
evaluate_every: 400
evaluate_episodes: 2
tasks:
  HalfCheetah-v5: &task
    steps: 1500
    random_score: 0
    reference_score: 1000
    reference_source: a test
    normalize_observations: true
    normalize_rewards: true
    max_episode_steps: 100
  Hopper-v5: *task
  CartPole-v1: *task
  tests.tasks:RandomEnding-v0: *task
algorithms:
  ppo: {settings: {num_envs: 3, rollout_length: 64, minibatch_size: 64, epochs: 2}}
  a2c: {settings: {num_envs: 3}}
  reinforce_baseline: {settings: {num_envs: 3}}
"""
CELLS = [("ppo", "HalfCheetah-v5"), ("a2c", "CartPole-v1"), ("reinforce_baseline", "Hopper-v5")]


@dataclass(frozen=True)
class Adapting(A2C):
    """A2C whose entropy coefficient follows the number of its updates, and that draws from Torch's global generator."""

    title: ClassVar[str] = "Adapting A2C"
    entropy_coefficient: float = 0.01

    def after_update(self, record):
        """A coefficient that depends on all updates before."""
        return replace(self, entropy_coefficient=self.entropy_coefficient * (0.9 + 0.1 * float(torch.rand(()))))

    def diagnostics(self, log_prob, batch):
        """The coefficient."""
        return {"coefficient": torch.tensor(self.entropy_coefficient)}


@dataclass(frozen=True)
class Noisy(A2C):
    """A2C with noise in its gradients."""

    title: ClassVar[str] = "Noisy A2C"

    def gradients(self, objective, batch, generator):
        """The gradient of the loss, and noise."""
        gradient = super().gradients(objective, batch, generator)
        return gradient + 0.01 * torch.randn(len(gradient), generator=generator)


def numbers(run):
    """Everything of a run but its seconds."""
    found = dict(vars(run)) | {"seconds": None}
    found["checkpoints"] = [
        (c.fraction, c.step, {name: array.tobytes() for name, array in c.state.items()}) for c in run.checkpoints
    ]
    return found


def interrupted(algorithm, task, steps, path, *, after, **options):
    """What a file has of a training that ends after some updates."""
    kept, updates = Kept(path, {}), 0

    def on_boundary(run, pause):
        nonlocal updates
        if updates == after:
            kept.write(pause())
            raise Interrupted
        updates += 1

    with pytest.raises(Interrupted):
        checked_training(algorithm, task, 3, steps, on_boundary=on_boundary, **options)
    return kept.read()


@pytest.mark.parametrize(
    ("algorithm", "task", "after"),
    [
        (SMALL, "HalfCheetah-v5", 4),
        (SMALL, "InvertedDoublePendulum-v5", 1),
        (SMALL, "Reacher-v5", 5),
        (SMALL, "Ant-v5", 3),
        (SMALL, "Humanoid-v5", 2),
        (replace(SMALL, target_kl=0.01), "Pendulum-v1", 3),
        (replace(SMALL, rollout_length=333), "MountainCarContinuous-v0", 1),  # begins in another precision
        (A2C(num_envs=3), "Acrobot-v1", 9),
        (A2C(num_envs=3), "CartPole-v1", 0),
        (Adapting(num_envs=3), "CartPole-v1", 9),
        (Noisy(num_envs=3), "CartPole-v1", 9),
        (ReinforceBaseline(num_envs=3), "Hopper-v5", 3),
        (TRPO(num_envs=3, rollout_length=60), "Hopper-v5", 3),
        (PPOKL(num_envs=3, rollout_length=60), "Pendulum-v1", 3),
        pytest.param(SMALL, "Hopper-v5", 3, marks=needs_compiler, id="compiled"),
        pytest.param(TRPO(num_envs=3, rollout_length=60), "Hopper-v5", 3, marks=needs_compiler, id="compiled critic"),
    ],
)
def test_a_training_goes_on_with_the_numbers_of_one_that_was_not_interrupted(algorithm, task, after, tmp_path, request):
    compile = "always" if "compiled" in request.node.name else "never"
    task = Task(task, **NORMALISED)
    options = {"checkpoint_fractions": [0, 0.4, 1], "evaluate_every": 500, "evaluate_episodes": 1, "compile": compile}
    whole = checked_training(algorithm, task, 3, 1500, **options)
    paused = interrupted(algorithm, task, 1500, tmp_path / "x", after=after, **options)
    assert 0 <= paused.state["environments"]["steps"] < 1500
    resumed = checked_training(algorithm, task, 3, 1500, trained=paused, **options)
    assert numbers(resumed) == numbers(whole)
    assert resumed.compiled == (compile == "always")
    assert resumed.seconds["training"] > paused.run.seconds["training"]


@pytest.mark.parametrize(
    "forget",
    [
        lambda state: state["learner"]["networks"]["policy"]["mean"].fill(0),
        lambda state: state["learner"]["networks"]["value_function"]["square"].fill(1),
        lambda state: state["learner"]["reward_scaler"]["returns"].fill(0),
        lambda state: state["learner"]["observation_statistics"]["mean"].fill(0),
        lambda state: state["learner"].update(minibatches=np.random.default_rng(1).bit_generator.state),
        lambda state: state.update(acting=np.random.default_rng(1).bit_generator.state),
        lambda state: state["environments"]["backend"]["generators"].reverse(),
        lambda state: state["environments"]["backend"]["states"]["integration"].fill(0),
        lambda state: state["environments"]["returns"].fill(0),
        lambda state: state["environments"]["starts"].reverse(),
        lambda state: state["environments"]["observations"].fill(0),
    ],
)
def test_all_that_is_kept_is_needed(forget, tmp_path):
    """A test that can fail: without any one part of the state the run is another one."""
    algorithm, task = replace(SMALL, rollout_length=30, minibatch_size=45), Task("Hopper-v5", **NORMALISED)
    options = {"evaluations": (), "compile": "never"}
    whole = checked_training(algorithm, task, 3, 720, **options)
    paused = interrupted(algorithm, task, 720, tmp_path / "x", after=4, **options)
    forget(paused.state)
    resumed = checked_training(algorithm, task, 3, 720, trained=paused, **options)
    assert numbers(resumed) != numbers(whole)


def test_a_row_of_the_update_table_goes_on(tmp_path):
    """Of many updates, so that a row is of several of them."""
    algorithm, task = A2C(num_envs=1, rollout_length=2), Task("CartPole-v1")
    whole = checked_training(algorithm, task, 3, 1200, evaluations=())
    paused = interrupted(algorithm, task, 1200, tmp_path / "x", after=301, evaluations=())
    assert len(paused.state["table"]["records"]) == 1
    assert checked_training(algorithm, task, 3, 1200, evaluations=(), trained=paused).updates == whole.updates


def test_a_paused_training_is_interrupted_and_goes_on_again(tmp_path):
    task = Task("CartPole-v1", **NORMALISED)
    whole = checked_training(A2C(num_envs=3), task, 3, 1500)
    first = interrupted(A2C(num_envs=3), task, 1500, tmp_path / "x", after=3)
    second = interrupted(A2C(num_envs=3), task, 1500, tmp_path / "x", after=5, trained=first)
    assert numbers(checked_training(A2C(num_envs=3), task, 3, 1500, trained=second)) == numbers(whole)


# ------------------------------------------------------------------------------------ what is refused


def test_a_task_whose_state_cannot_be_read_says_so(tmp_path):
    for task in (
        Task("tests.tasks:RandomEnding-v0"),
        Task("CartPole-v1", kwargs={"sutton_barto_reward": True}),
        Task("CartPole-v1", variants=({"sutton_barto_reward": True}, {})),
    ):
        with pytest.raises(CannotResume, match=r"is stepped by its own environment.* can a training go on"):
            interrupted(A2C(num_envs=2), task, 600, tmp_path / "x", after=1)


@pytest.mark.parametrize(
    "damage",
    [
        lambda state: state.pop("acting"),
        lambda state: state["environments"].pop("backend"),
        lambda state: state["environments"]["backend"]["generators"].pop(),
        lambda state: state["learner"]["networks"].pop("policy"),
        lambda state: state["learner"]["networks"]["policy"].update(mean=np.zeros(3, np.float32)),
    ],
)
def test_a_state_of_something_else_is_refused(damage, tmp_path):
    paused = interrupted(A2C(num_envs=2), Task("CartPole-v1"), 600, tmp_path / "x", after=1)
    damage(paused.state)
    with pytest.raises(CannotResume, match="the state that was kept is not that of this training"):
        checked_training(A2C(num_envs=2), Task("CartPole-v1"), 3, 600, trained=paused)


@needs_compiler
def test_a_training_does_not_go_on_without_the_machine_code_that_it_had(tmp_path, monkeypatch):
    options = {"compile": "always"}
    paused = interrupted(SMALL, Task("Hopper-v5"), 600, tmp_path / "x", after=1, **options)
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr("algorithms.core.compiled._cache", lambda: tmp_path / "cache")
    with pytest.raises(CannotResume, match="were machine code when the training was interrupted, and are not now"):
        checked_training(SMALL, Task("Hopper-v5"), 3, 600, trained=paused, **options)


# ------------------------------------------------------------------------------------ the command line


@pytest.fixture
def grid(tmp_path):
    path = tmp_path / "g.yaml"
    path.write_text(GRID)
    return path


def words(grid, output, *further, algorithm="ppo", task="HalfCheetah-v5"):
    return [
        *("--grid", str(grid), "--algorithm", algorithm, "--task", task, "--seed", "0", "--output", str(output)),
        *further,
    ]


def stop_a_command(monkeypatch, *arguments, after=3, **options):
    """An attempt that keeps its state at every update and ends after some."""
    calls, pause = 0, Kept.pause

    def pause_and_end(self, run, make):
        nonlocal calls
        pause(self, run, make)
        calls += 1
        if calls > after:
            raise Interrupted

    with monkeypatch.context() as patched:
        patched.setattr(Kept, "pause", pause_and_end)
        with pytest.raises(Interrupted):
            command.main(words(*arguments, "--keep-every", "0", **options))


@pytest.mark.parametrize(("algorithm", "task"), CELLS)
def test_the_same_command_goes_on_and_writes_the_files_of_a_run_that_was_not_interrupted(
    grid, algorithm, task, tmp_path, monkeypatch, capsys
):
    of = {"algorithm": algorithm, "task": task}
    command.main(words(grid, tmp_path / "whole", **of))
    stop_a_command(monkeypatch, grid, tmp_path / "cell", **of)
    assert [path.name for path in (tmp_path / "cell").iterdir()] == [TRAINED]
    capsys.readouterr()
    command.main(words(grid, tmp_path / "cell", "--resume", **of))
    assert "goes on from step" in capsys.readouterr().out
    assert files(tmp_path / "cell") == files(tmp_path / "whole")
    assert "evaluations.csv" in files(tmp_path / "cell")[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cell", "g.yaml", "whole"]


def test_a_process_that_is_killed_leaves_what_the_next_one_goes_on_with(grid, tmp_path):
    import os
    import signal
    import subprocess
    import sys

    grid.write_text(GRID.replace("    max_episode_steps: 100\n", ""))  # long evaluations leave time to kill it
    command.main(words(grid, tmp_path / "whole"))
    line = [sys.executable, "-m", "experiments.run", *words(grid, tmp_path / "cell", "--keep-every", "0")]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "cell" / TRAINED).exists() and time.monotonic() < deadline:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "cell" / "run.json").exists()
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert "goes on from step" in done.stdout or "only the evaluation is done" in done.stdout
    assert files(tmp_path / "cell") == files(tmp_path / "whole")


def begins_anew(grid, tmp_path, monkeypatch, capsys, *further):
    """What an attempt says that begins anew."""
    command.main(words(grid, tmp_path / "whole", *further))
    capsys.readouterr()
    command.main(words(grid, tmp_path / "cell", *further))
    assert files(tmp_path / "cell") == files(tmp_path / "whole")
    return next(line for line in capsys.readouterr().out.splitlines() if line.startswith("begins anew: "))


@pytest.mark.parametrize(
    ("further", "said"),
    [
        (["--steps", "1400"], "it is of another steps"),
        (["--set", "gamma=0.9"], "it is of another settings"),
        (["--evaluate-episodes", "3"], "it is of another evaluate_episodes"),
    ],
)
def test_what_another_command_has_trained_is_not_taken_up(grid, further, said, tmp_path, monkeypatch, capsys):
    stop_a_command(monkeypatch, grid, tmp_path / "cell")
    with pytest.raises(GridError, match=f"--resume: .*{said}"):
        command.main(words(grid, tmp_path / "cell", "--resume", *further))
    assert said in begins_anew(grid, tmp_path, monkeypatch, capsys, *further)


@pytest.mark.parametrize("what", ["code", "processor"])
def test_what_other_code_or_another_machine_has_trained_is_not_taken_up(grid, what, tmp_path, monkeypatch, capsys):
    stop_a_command(monkeypatch, grid, tmp_path / "cell")
    if what == "code":
        path = tmp_path / "cell" / TRAINED
        with np.load(path) as file:
            arrays = dict(file)
        about = json.loads(arrays["about"].tobytes())
        about["determinants"]["code"] = "of another version"
        np.savez(path, **arrays | {"about": np.frombuffer(json.dumps(about).encode(), np.uint8)})
    else:
        monkeypatch.setattr(command, "cpu", lambda: "another")
    assert f"it is of another {what}" in begins_anew(grid, tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize("damage", [lambda b: b[:-100], lambda b: b"", lambda b: b[:300] + b"\0\1\2" + b[303:]])
def test_a_damaged_state_is_not_taken_up(grid, damage, tmp_path, monkeypatch, capsys):
    stop_a_command(monkeypatch, grid, tmp_path / "cell")
    path = tmp_path / "cell" / TRAINED
    path.write_bytes(damage(path.read_bytes()))
    assert "it is damaged" in begins_anew(grid, tmp_path, monkeypatch, capsys)


def test_a_state_that_does_not_fit_begins_anew(grid, tmp_path, monkeypatch, capsys):
    stop_a_command(monkeypatch, grid, tmp_path / "cell")
    path = tmp_path / "cell" / TRAINED
    with np.load(path) as file:
        arrays = dict(file)
    del arrays["state/environments/returns"]
    about = json.loads(arrays["about"].tobytes())
    del about["state"]["environments"]["returns"]
    np.savez(path, **arrays | {"about": np.frombuffer(json.dumps(about).encode(), np.uint8)})
    kept = path.read_bytes()
    with pytest.raises(GridError, match="--resume: the state that was kept is not that of this training"):
        command.main(words(grid, tmp_path / "cell", "--resume"))
    path.write_bytes(kept)
    assert "not that of this training" in begins_anew(grid, tmp_path, monkeypatch, capsys)


def test_resume_says_why_there_is_nothing_to_go_on_with(grid, tmp_path):
    with pytest.raises(GridError, match=r"--resume: .*trained.npz is not there; leave out --resume to begin"):
        command.main(words(grid, tmp_path / "cell", "--resume"))
    with pytest.raises(
        GridError, match=r"--resume: task 'tests.tasks:RandomEnding-v0' is stepped by its own environment"
    ):
        command.main(words(grid, tmp_path / "cell", "--resume", task="tests.tasks:RandomEnding-v0"))


def test_a_task_that_cannot_be_resumed_is_trained_all_the_same_and_a_line_says_so(grid, tmp_path, capsys):
    command.main(words(grid, tmp_path / "cell", "--keep-every", "0", task="tests.tasks:RandomEnding-v0"))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("not kept, so that")]
    assert len(lines) == 1
    assert "is stepped by its own environment" in lines[0]


def test_keeping_takes_a_small_share_of_the_time(tmp_path):
    """Where it takes a second, the next time is 200 seconds later, whatever is asked for."""
    kept = Kept(tmp_path / "cell", {}, seconds_between=1e-9)
    kept._due = 0.0
    task = Task("CartPole-v1")
    paused = interrupted(A2C(num_envs=2), task, 600, tmp_path / "x", after=1)
    began = time.perf_counter()
    kept.pause(paused.run, lambda: paused)
    assert kept._due - time.perf_counter() > 190 * (time.perf_counter() - began) - 0.1
    assert kept._due < math.inf


# ------------------------------------------------------------------------------------ what they are made of


def test_global_generators_go_on_as_they_were():
    import random

    before = global_generators()
    drawn = random.random(), np.random.random(), float(torch.rand(()))  # noqa: NPY002
    restore_global_generators(before)
    assert (random.random(), np.random.random(), float(torch.rand(()))) == drawn  # noqa: NPY002


def test_a_file_holds_arrays_and_json_alone(tmp_path):
    """Whoever reads it executes nothing."""
    paused = interrupted(SMALL, Task("Hopper-v5", **NORMALISED), 600, tmp_path / "x", after=1)
    assert isinstance(paused, Trained)
    with np.load(tmp_path / "x" / TRAINED, allow_pickle=False) as file:
        assert all(array.dtype.kind in "biuf" for array in file.values())
