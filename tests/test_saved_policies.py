"""A run keeps its last policy: it is loaded without Torch, acts as in the run, and strangers' files do no harm."""

import dataclasses
import io
import json
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

from algorithms.core import policy_file
from algorithms.core.normalizer import RunningNormalizer
from algorithms.core.run import EVALUATIONS
from algorithms.core.run_check import checked_run
from algorithms.core.saved_policy import InvalidPolicy, SavedPolicy, load_policy
from algorithms.core.spaces import described, space_of
from algorithms.core.task import Task
from algorithms.core.vector_env import VectorEnv
from algorithms.ppo import PPO
from experiments import run as command
from experiments import schema
from tests.documentation import block
from tests.tasks import Counting, make_learner

ROOT = Path(__file__).parent.parent
EARLIER = ROOT / "tests/data/earlier/runs/CartPole-v1"
SMALL = PPO(num_envs=4, rollout_length=16, minibatch_size=32, epochs=1)
GRID = """
description: A grid.
seeds: [0]
checkpoints: [0.5]
compile: never
tasks:
  CartPole-v1: {steps: 600, random_score: 20, reference_score: 475, reference_source: a test}
  Pendulum-v1: {steps: 600, random_score: -1200, reference_score: -200, reference_source: a test,
                normalize_observations: true}
algorithms:
  quick: {module: ppo, settings: {num_envs: 3, rollout_length: 64, minibatch_size: 64}}
"""
NESTED = Dict({"where": Tuple([Discrete(3), Box(-1, 1, (2, 2), np.float32)]), "what": MultiBinary(2)})


def run_cell(folder, output, task, seed=0, *further):
    """Run a cell of GRID."""
    grid = folder / "mine.yaml"
    grid.write_text(GRID)
    words = ("--grid", grid, "--algorithm", "quick", "--task", task, "--seed", seed, "--output", output)
    command.main([*map(str, words), *further])
    return output


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs of GRID by task."""
    folder = tmp_path_factory.mktemp("runs")
    return {task: run_cell(folder, folder / task, task, 3) for task in ("CartPole-v1", "Pendulum-v1")}


# ------------------------------------------------------------------------------------ what is kept


@pytest.mark.parametrize("kind", EVALUATIONS)
@pytest.mark.parametrize("task", ["CartPole-v1", "Pendulum-v1"])
def test_a_kept_policy_gives_the_returns_of_its_runs_evaluation(runs, task, kind):
    record = json.loads((runs[task] / "run.json").read_text())
    policy = load_policy(runs[task])
    assert policy.evaluate(seed=3, mode=kind == "mode").tolist() == record["evaluation"][kind]["returns"]
    assert (policy.algorithm, policy.task.id) == ("quick", task)
    assert repr(policy).startswith(f"SavedPolicy(quick on {task}, ")


def test_the_record_of_a_run_describes_the_file(runs):
    record = json.loads((runs["Pendulum-v1"] / "run.json").read_text())
    assert record["files"][schema.POLICY]["bytes"] == (runs["Pendulum-v1"] / schema.POLICY).stat().st_size
    assert (schema.POLICY, schema.RUN_FILES[0]) == (policy_file.FILE, policy_file.RECORD)
    assert policy_file.CHECKPOINTS == schema.CHECKPOINTS


def test_the_file_is_little_larger_than_the_parameters(runs):
    for folder in runs.values():
        assert (folder / schema.POLICY).stat().st_size < 4.2 * load_policy(folder).parameters + 4_000


def test_the_same_seed_writes_the_same_file(runs, tmp_path):
    again = run_cell(tmp_path, tmp_path / "again", "Pendulum-v1", 3)
    assert (again / schema.POLICY).read_bytes() == (runs["Pendulum-v1"] / schema.POLICY).read_bytes()


def test_a_checkpoint_is_loaded_with_what_the_policy_beside_it_says(runs):
    (checkpoint,) = (runs["Pendulum-v1"] / schema.CHECKPOINTS).iterdir()
    policy = load_policy(checkpoint)
    with np.load(checkpoint) as arrays:
        assert np.array_equal(policy._arrays["policy/network.0.weight"], arrays["policy/network.0.weight"])
    assert np.isfinite(policy.evaluate(2)).all()


def test_a_checkpoint_of_an_earlier_run_is_loaded_by_its_record():
    (checkpoint,) = (EARLIER / "reinforce/0/checkpoints").iterdir()
    policy = load_policy(checkpoint)
    assert repr(policy).startswith("SavedPolicy(reinforce on CartPole-v1, 4 → ")
    assert policy.act(np.zeros(4)) in (0, 1)


def test_an_earlier_run_says_that_it_has_none():
    with pytest.raises(InvalidPolicy, match=r"is of an earlier version, .*0.npz, its last checkpoint, can be loaded"):
        load_policy(EARLIER / "reinforce/0")


def test_a_run_that_diverged_keeps_none_and_says_so(tmp_path):
    settings = ("policy_learning_rate=1e30", "value_learning_rate=1e30", "max_grad_norm=null")
    folder = run_cell(tmp_path, tmp_path / "run", "CartPole-v1", 0, "--set", *settings)
    assert json.loads((folder / "run.json").read_text())["status"] == "diverged"
    assert not (folder / schema.POLICY).exists()
    with pytest.raises(InvalidPolicy, match=r"the run diverged at step .* is not kept"):
        load_policy(folder)


def test_a_run_that_its_task_stopped_keeps_the_policy_that_it_had():
    run = SMALL.train(Task("NotANumber-v0"), 0, 2_000)
    assert run.stopped_by_task
    assert run.policy.act(5) in (-1, 0, 1)


def test_a_run_without_a_policy_and_one_with_something_else():
    run = SMALL.train(Task("Match-v0"), 0, 100)
    assert checked_run(run, SMALL, Task("Match-v0")).policy is run.policy
    assert checked_run(dataclasses.replace(run, policy=None), SMALL, Task("Match-v0")).policy is None
    with pytest.raises(ValueError, match=r"PPO.train returned a Run whose policy is a dict; expected is a SavedPolicy"):
        checked_run(dataclasses.replace(run, policy={}), SMALL, Task("Match-v0"))


# ------------------------------------------------------------------------------------ how it acts


class Seen(Counting):
    """Counting with any spaces; observations are drawn from the space."""

    def __init__(self, observations, actions):
        super().__init__()
        self.observation_space, self.action_space = observations, actions

    def _observation(self):
        return self.observation_space.sample()


SPACES = {
    "half": (Box(-1, 1, (3,), np.float32), Box(-1, 2, (2,), np.float16)),
    "box": (Box(-1, 1, (3,), np.float64), Box(np.array([[-1, 0.5]]), np.array([[2, 7.0]]), dtype=np.float64)),
    "unbounded": (Box(-np.inf, np.inf, (2, 2), np.float32), Box(-np.inf, 1, (1,), np.float32)),
    "choices": (Discrete(4, start=-2), Discrete(3, start=5)),
    "parts": (MultiDiscrete([2, 3]), MultiDiscrete([[2, 3]], start=[[1, -4]])),
    "switches": (NESTED, MultiBinary((2, 2))),
}
for _name, (_observations, _actions) in SPACES.items():
    gymnasium.register(
        f"Seen{_name}-v0", Seen, max_episode_steps=5, kwargs={"observations": _observations, "actions": _actions}
    )


def saved(name, tmp_path, **settings):
    """A learner on spaces of SPACES whose policy is far from uniform, and the policy that was written and loaded."""
    task = Task(f"Seen{name}-v0", normalize_observations=True, **settings)
    envs, learner, rng = make_learner(SMALL, task)
    learner.normalizer.update(rng.normal(size=(50, envs.observation_size)).astype(np.float32))
    spaces = envs.backend.observation_space, envs.action_space
    SavedPolicy.of(SMALL, task, spaces, learner.state(), 50).save(tmp_path / "policy.npz")
    return learner, load_policy(tmp_path / "policy.npz"), spaces


@pytest.mark.parametrize("name", SPACES)
def test_it_acts_bit_for_bit_as_the_policy_that_was_trained(name, tmp_path):
    learner, policy, (observations, actions) = saved(name, tmp_path)
    samples = seeded(observations, 7)
    rows = np.array([gymnasium.spaces.flatten(observations, x) for x in samples])
    for mode in (True, False):
        expected = learner.policy.to_environment(
            learner.policy.act(learner.normalizer(rows.astype(np.float32)), np.random.default_rng(1), mode=mode)
        )
        many = samples if isinstance(observations, Dict | Tuple) else np.array(samples)
        acted = policy.act(many, mode, np.random.default_rng(1))
        start = getattr(actions, "start", 0)
        assert np.array_equal(acted, expected.reshape(acted.shape) + start)
        assert all(action in actions for action in acted)
        assert policy.act(samples[0]) in actions
    assert type(policy.act(samples[0])) is (int if isinstance(actions, Discrete) else np.ndarray)


def seeded(space, count):
    """Members of a space, always the same."""
    space.seed(5)
    return [space.sample() for _ in range(count)]


def test_squashed_actions_are_those_of_the_policy(tmp_path):
    learner, policy, (observations, actions) = saved("box", tmp_path, action_bounds="squash")
    row = np.array(seeded(observations, 1))
    expected = learner.policy.to_environment(
        learner.policy.act(learner.normalizer(row.astype(np.float32)), None, mode=True)
    )
    assert np.array_equal(policy.act(row).reshape(1, -1), expected)
    assert policy.act(row[0]) in actions


@pytest.mark.parametrize("space", [pair[i] for pair in SPACES.values() for i in (0, 1)], ids=str)
def test_a_space_is_made_again_from_what_is_said_of_it(space):
    bounds = (space.low, space.high) if isinstance(space, Box) else ()
    again = space_of(json.loads(json.dumps(described(space))), *bounds)
    assert described(again) == described(space)
    if not isinstance(space, Dict):  # whose Boxes have lost their bounds
        assert again == space


def test_many_observations_of_a_dict_may_be_rows_in_each_entry(tmp_path):
    _, policy, (observations, _) = saved("switches", tmp_path)
    samples = seeded(observations, 4)
    rows = {
        "where": (np.array([x["where"][0] for x in samples]), np.array([x["where"][1] for x in samples])),
        "what": np.array([x["what"] for x in samples]),
    }
    assert np.array_equal(policy.act(rows), policy.act(samples))


def test_masked_choices_are_not_taken(tmp_path):
    _, policy, _ = saved("choices", tmp_path)
    for allowed in range(3):
        mask = np.arange(3) == allowed
        assert policy.act(-2, action_masks=mask) == 5 + allowed
        assert policy.act([-2, 1], False, action_masks=[mask, mask]).tolist() == [5 + allowed] * 2
    _, policy, _ = saved("parts", tmp_path)
    assert policy.act([0, 0], action_masks=([0, 1], [0, 0, 1])).tolist() == [[2, -2]]
    with pytest.raises(InvalidPolicy, match="allow no action"):
        policy.act([0, 0], action_masks=[0, 0, 1, 1, 1])
    with pytest.raises(InvalidPolicy, match=r"action_masks must be booleans of the shape \(5,\)"):
        policy.act([0, 0], action_masks=[1, 1, 1])


@pytest.mark.parametrize(
    ("name", "observation"),
    [
        ("box", np.zeros(4)),
        ("box", "left"),
        ("box", None),
        ("box", {"x": 1}),
        ("choices", 7),
        ("choices", 0.5),
        ("choices", [[1]]),
        ("parts", [0, 3]),
        ("switches", {"where": 1}),
        ("switches", 3),
    ],
)
def test_an_observation_of_another_task_is_refused_with_the_spaces(name, observation, tmp_path):
    _, policy, _ = saved(name, tmp_path)
    with pytest.raises(InvalidPolicy, match=f"the policy of 'Seen{name}-v0' acts on observations in .* and got"):
        policy.act(observation)


def test_an_observation_that_is_not_finite_is_refused(tmp_path):
    _, policy, _ = saved("box", tmp_path)
    with pytest.raises(InvalidPolicy, match="a number that is not finite"):
        policy.act([0.0, np.nan, 0.0])


# ------------------------------------------------------------------------------------ evaluating


def test_an_environment_is_evaluated_as_its_task_is_in_kind(runs):
    policy = load_policy(runs["CartPole-v1"])
    env = gymnasium.make("CartPole-v1")
    returns = policy.evaluate(3, env, seed=1)
    assert returns.shape == (3,)
    assert np.array_equal(returns, policy.evaluate(3, env, seed=1))
    assert len(policy.evaluate(5, "CartPole-v1", mode=True)) == 5
    assert len(policy.evaluate(2, Task("CartPole-v1", max_episode_steps=7))) == 2
    assert policy.evaluate(2, Task("CartPole-v1", max_episode_steps=7), mode=True).max() <= 7


@pytest.mark.parametrize("env", ["Pendulum-v1", "Match-v0", gymnasium.make("Pendulum-v1")])
def test_another_tasks_spaces_are_refused(runs, env):
    with pytest.raises(
        InvalidPolicy, match=r"the policy of 'CartPole-v1' has .* but .*; give an environment with the same"
    ):
        load_policy(runs["CartPole-v1"]).evaluate(1, env)


def test_what_is_no_environment_is_refused(runs):
    policy = load_policy(runs["CartPole-v1"])
    with pytest.raises(InvalidPolicy, match="env must be a Task, a Gymnasium id or a single Gymnasium environment"):
        policy.evaluate(1, gymnasium.make_vec("CartPole-v1", num_envs=2))
    with pytest.raises(ValueError, match="episodes must be a whole number from 1, not 0"):
        policy.evaluate(0)


def test_masks_of_an_environment_are_heeded(tmp_path):
    """Masked refuses what it does not allow."""
    run = SMALL.train(Task("Masked-v0"), 0, 100)
    assert run.policy.evaluate(4).shape == run.policy.evaluate(4, gymnasium.make("Masked-v0")).shape == (4,)
    run = SMALL.train(Task("MaskedJunctions-v0"), 0, 100)
    assert run.policy.evaluate(4, gymnasium.make("MaskedJunctions-v0"), mode=True).shape == (4,)


def test_a_task_without_a_time_limit_is_cut_as_in_its_run():
    run = SMALL.train(Task("AlwaysZero-v0"), 0, 40)
    assert run.policy.longest_episode == 40
    gymnasium.register("CountingForever-v0", Counting)
    run = SMALL.train(Task("CountingForever-v0"), 0, 64, evaluations=())
    assert run.policy.evaluate(1, gymnasium.make("CountingForever-v0")).tolist() == [64 * 65 / 2]


def test_arguments_that_are_objects_are_kept_in_the_process_alone(tmp_path):
    task = Task("Terminating-v0", kwargs={"action_space": Discrete(4)})
    run = SMALL.train(task, 0, 100)
    assert len(run.policy.evaluate(2)) == 2
    run.policy.save(tmp_path / "policy.npz")
    loaded = load_policy(tmp_path / "policy.npz")
    assert loaded.act(np.zeros(3)) in range(4)
    with pytest.raises(
        InvalidPolicy, match="its keyword arguments are objects; give the task or an environment as env"
    ):
        loaded.evaluate(2)
    assert len(loaded.evaluate(2, task)) == 2


# ------------------------------------------------------------------------------------ without Torch


def test_loading_and_acting_imports_neither_torch_nor_gymnasium_and_takes_a_third_of_a_second(runs):
    code = (
        "import sys, time; from algorithms.core.saved_policy import load_policy; import numpy as np\n"
        f"action = load_policy({str(runs['CartPole-v1'])!r}).act(np.zeros(4))\n"
        "assert action in (0, 1)\n"
        "print(*sorted({'torch', 'gymnasium', 'mujoco', 'pandas'} & set(sys.modules)), time.process_time())"
    )
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - began)
        imported, used = done.stdout.split()[:-1], float(done.stdout.split()[-1])
        assert imported == []
        assert used < 0.6  # of processor time; it is 0.15 on a machine with nothing else to do
    assert min(seconds) < 2


# ------------------------------------------------------------------------------------ files of strangers


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def written(path, contents, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


def array(value):
    file = io.BytesIO()
    np.save(file, value, allow_pickle=True)
    return file.getvalue()


def header(shape, descr="<f4"):
    """An array of a shape without its numbers."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue()


def about(contents, **changes):
    """The member `about`, with other values."""
    said = json.loads(np.load(io.BytesIO(contents["about.npy"])).tobytes())
    return array(np.frombuffer(json.dumps(said | changes).encode(), np.uint8))


WEIGHT = "policy/network.0.weight.npy"
HUGE = 10**15
DAMAGES = {
    "a huge array": (lambda c: c | {WEIGHT: header((HUGE, HUGE))}, "says that it has the shape"),
    "an array shorter than it says": (lambda c: c | {WEIGHT: header((64, 4)) + b"0"}, "says that it has the shape"),
    "an array of a negative size": (lambda c: c | {WEIGHT: header((-1, -1)) + b"0000"}, "says that it has the shape"),
    "objects": (lambda c: c | {WEIGHT: array(np.array([{}], object))}, "says that it has the shape"),
    "text": (lambda c: c | {WEIGHT: array(np.array(["x"]))}, "says that it has the shape"),
    "no array": (lambda c: c | {WEIGHT: b"nothing"}, "is no array"),
    "another shape": (
        lambda c: c | {WEIGHT: array(np.zeros((64, 5), np.float32))},
        r"has the shape \(64, 5\), not \(64, 4\)",
    ),
    "NaN": (lambda c: c | {WEIGHT: array(np.full((64, 4), np.nan, np.float32))}, "does not consist of finite numbers"),
    "whole numbers": (lambda c: c | {WEIGHT: array(np.zeros((64, 4), int))}, "does not consist of finite numbers"),
    "an array less": (lambda c: {k: v for k, v in c.items() if k != WEIGHT}, "has no 'policy/network.0.weight'"),
    "no JSON": (lambda c: c | {"about.npy": array(np.zeros(9, np.uint8))}, "is no JSON"),
    "deep JSON": (lambda c: c | {"about.npy": array(np.full(100_000, ord("["), np.uint8))}, "is no JSON"),
    "JSON that is a list": (lambda c: c | {"about.npy": array(np.frombuffer(b"[]", np.uint8))}, "no object with keys"),
    "a later format": (lambda c: c | {"about.npy": about(c, format=2)}, "has the format 2; this version reads 1"),
    "huge networks": (lambda c: c | {"about.npy": about(c, hidden_sizes=[HUGE])}, "has the shape"),
    "networks of no size": (lambda c: c | {"about.npy": about(c, hidden_sizes=[0, 64])}, "does not say what"),
    "sizes that are text": (lambda c: c | {"about.npy": about(c, hidden_sizes="64")}, "does not say what"),
    "another activation": (lambda c: c | {"about.npy": about(c, activation="gelu")}, "does not say what"),
    "no task": (lambda c: c | {"about.npy": about(c, task=[])}, "does not say what"),
    "a space of no kind": (lambda c: c | {"about.npy": about(c, action_space={"kind": "Text"})}, "does not say what"),
    "a huge space": (
        lambda c: c | {"about.npy": about(c, action_space={"kind": "MultiBinary", "shape": [HUGE], "dtype": "int8"})},
        "has the shape",
    ),
    "a space with a start of another shape": (
        lambda c: (
            c
            | {
                "about.npy": about(
                    c, action_space={"kind": "MultiDiscrete", "nvec": [2], "start": [1, 2], "dtype": "int8"}
                )
            }
        ),
        "does not say what",
    ),
    "a space of objects": (
        lambda c: c | {"about.npy": about(c, action_space={"kind": "Discrete", "n": 2, "start": 0, "dtype": "O"})},
        "does not say what",
    ),
    "many arrays": (lambda c: c | {f"{i}.npy": array(np.zeros(1)) for i in range(2000)}, "more than a policy has"),
    "a negative variance": (
        lambda c: c | {"observation_statistics/variance.npy": array(np.full(4, -1.0))},
        "variance of its observations is negative",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_in_a_sentence(damage, runs, tmp_path):
    change, words = DAMAGES[damage]
    path = written(tmp_path / "policy.npz", change(members(runs["CartPole-v1"] / schema.POLICY)))
    with pytest.raises(InvalidPolicy, match=words) as raised:
        load_policy(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_bounds_of_actions_are_checked(runs, tmp_path):
    contents = members(runs["Pendulum-v1"] / schema.POLICY)
    for low in (np.array([9], np.float32), np.array([np.nan], np.float32), np.array([-1.0])):
        written(tmp_path / "p.npz", contents | {"action_space/low.npy": array(low)})
        with pytest.raises(InvalidPolicy, match="the bounds of its actions are not those"):
            load_policy(tmp_path / "p.npz")


def test_a_compressed_file_a_cut_one_and_what_is_none_are_refused(runs, tmp_path):
    contents = (runs["CartPole-v1"] / schema.POLICY).read_bytes()
    bomb = written(tmp_path / "bomb.npz", {"about.npy": bytes(10**7)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(InvalidPolicy, match="is compressed, but policies and checkpoints never are"):
        load_policy(bomb)
    for content in (contents[:-30], contents[: len(contents) // 2], b"", b"\x80\x04K\x01."):
        (tmp_path / "cut.npz").write_bytes(content)
        with pytest.raises(InvalidPolicy, match="is damaged, or no policy: it cannot be read"):
            load_policy(tmp_path / "cut.npz")
    for place, value in ((4, 161), (6, 1)):  # of the first entry: a version that zip files do not have, and encryption
        central = contents.index(b"PK\x01\x02")
        changed = bytearray(contents)
        changed[central + place + 2] = changed[place] = value
        (tmp_path / "changed.npz").write_bytes(changed)
        with pytest.raises(InvalidPolicy, match="is damaged, or no policy"):
            load_policy(tmp_path / "changed.npz")
    with pytest.raises(InvalidPolicy, match="there is no such folder or file"):
        load_policy("/dev/null")
    flipped = bytearray(contents)
    flipped[len(contents) // 2] ^= 1
    (tmp_path / "flipped.npz").write_bytes(flipped)
    with pytest.raises(InvalidPolicy):
        load_policy(tmp_path / "flipped.npz")


def test_what_is_not_there_and_what_is_no_run_are_refused(tmp_path):
    with pytest.raises(InvalidPolicy, match="there is no such folder or file"):
        load_policy(tmp_path / "nothing")
    with pytest.raises(InvalidPolicy, match=r"is no folder of a run: it has no policy.npz, and no run.json"):
        load_policy(tmp_path)
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(InvalidPolicy, match="it is no policy, and it is no checkpoint in a run's folder"):
        load_policy(tmp_path / "other.npz")


def test_nothing_is_allocated_for_what_a_file_only_says(runs, tmp_path, monkeypatch):
    """Sizes are compared before any array is read."""
    contents = members(runs["CartPole-v1"] / schema.POLICY)
    path = written(tmp_path / "p.npz", contents | {WEIGHT: array(np.zeros((64, 5), np.float32))})
    read = []
    whole = np.lib.format.read_array
    monkeypatch.setattr(np.lib.format, "read_array", lambda file, **o: read.append(file.name) or whole(file, **o))
    with pytest.raises(InvalidPolicy):
        load_policy(path)
    assert read == ["about.npy"]


def test_the_normalizer_is_the_runs(runs):
    policy = load_policy(runs["Pendulum-v1"])
    assert isinstance(policy.normalizer, RunningNormalizer)
    assert policy.normalizer.count >= 600
    envs = VectorEnv(Task("Pendulum-v1"), 1, np.random.SeedSequence(0))
    assert policy.act(envs.observations).shape == (1, 1)


def test_the_example_of_the_document_runs_as_it_stands(runs):
    """But for the folder of the run."""
    text = block("policy")
    shown = "results/smoke/runs/CartPole-v1/ppo/0"
    assert shown in text
    names = {}
    exec(text.replace(shown, str(runs["CartPole-v1"])), names)
    assert isinstance(names["policy"], SavedPolicy)
