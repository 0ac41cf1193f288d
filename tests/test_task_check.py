"""Tasks that break the interface or normalise themselves, and sizes that leave one advantage: one sentence, early."""

import argparse
import copy
import json
import re
import warnings
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import yaml
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from gymnasium.wrappers import ClipReward, NormalizeObservation, NormalizeReward, TransformReward

from algorithms.core.algorithm import InvalidSetting
from algorithms.core.task import Task, UnsupportedTask
from algorithms.core.training import train
from algorithms.ppo import PPO
from algorithms.reinforce import Reinforce
from experiments.checks import GridError, whole_number
from experiments.determinants import what_determines
from experiments.grid import load_grid
from experiments.random_score import main as random_score
from experiments.random_score import random_returns
from experiments.task_check import try_task

FIT = np.zeros(2, np.float32)


class Odd(gymnasium.Env):
    """Returns what it is told to, from the step `since` on, and is sound before."""

    def __init__(self, since=1, reset=None, observations=None, actions=None, **values):
        self.observation_space = observations or Box(0, 1, (2,), np.float32)
        self.action_space = actions or Discrete(2)
        self.since, self.first, self.values = since, reset, values
        self.sound = 0 if isinstance(self.observation_space, Discrete) else FIT

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.first(self.sound) if self.first else (self.sound, {})

    def step(self, action):
        self.t += 1
        said = {"observation": self.sound, "reward": 1.0, "terminated": False, "truncated": self.t == 50, "info": {}}
        if self.t >= self.since:
            said |= self.values
        return said["whole"] if "whole" in said else tuple(said.values())


class NoSeed(Odd):
    def reset(self):
        return FIT, {}


class NoOptions(Odd):
    def reset(self, *, seed=None):
        return FIT, {}


class Raising(Odd):
    def __init__(self, where):
        if where == "init":
            raise RuntimeError("no licence")
        super().__init__()
        self.where = where

    def reset(self, *, seed=None, options=None):
        if self.where == "reset" or (self.where == "second reset" and seed is None):
            raise RuntimeError("no licence")
        return super().reset(seed=seed)

    def step(self, action):
        if self.where == "step":
            raise RuntimeError("no licence")
        return super().step(action)


class NoSpace(gymnasium.Env):
    def __init__(self, missing):
        for name, space in (("observation_space", Box(0, 1, (2,), np.float32)), ("action_space", Discrete(2))):
            if name != missing:
                setattr(self, name, space)


class OneAtATime(Odd):
    """A device that can be opened once."""

    is_open = False

    def __init__(self):
        if OneAtATime.is_open:
            raise RuntimeError("the device is busy")
        OneAtATime.is_open = True
        super().__init__()

    def close(self):
        OneAtATime.is_open = False


# What step returns, and words of the sentence.
STEPS = {
    "reward of two": ({"reward": np.ones(2)}, "reward an array of shape (2,)"),
    "reward of one element": ({"reward": np.ones(1)}, "reward an array of shape (1,)"),
    "reward in a list": ({"reward": [1.0]}, "reward [1.0]"),
    "no reward": ({"reward": None}, "reward None"),
    "reward of text": ({"reward": "1"}, "reward '1'"),
    "complex reward": ({"reward": 1j}, "reward 1j"),
    "longer observation": ({"observation": np.zeros(3, np.float32)}, "observation an array of shape (3,)"),
    "shorter observation": ({"observation": np.zeros(1, np.float32)}, "observation an array of shape (1,)"),
    "a scalar": ({"observation": 0.5}, "observation 0.5"),
    "a column": ({"observation": np.zeros((2, 1), np.float32)}, "observation an array of shape (2, 1)"),
    "a row": ({"observation": np.zeros((1, 2), np.float32)}, "observation an array of shape (1, 2)"),
    "no observation": ({"observation": None}, "observation None"),
    "observation of text": ({"observation": np.array(["a", "b"])}, "observation an array of shape (2,) and type <U1"),
    "observation of objects": ({"observation": np.array([None, 1])}, "type object"),
    "observation in a dict": ({"observation": {"x": 1}}, "observation {'x': 1}"),
    "terminated of text": ({"terminated": "no"}, "terminated = 'no'"),
    "terminated is None": ({"terminated": None}, "terminated = None"),
    "truncated is a fraction": ({"truncated": 0.5}, "truncated = 0.5"),
    "truncated is NaN": ({"truncated": float("nan")}, "truncated = nan"),
    "no info": ({"info": None}, "info = None"),
    "info is a list": ({"info": ["x"]}, "info = ['x']"),
    "old interface": ({"whole": (FIT, 1.0, False, {})}, "tuple of 4 (ndarray, float, bool, dict)"),
    "an observation alone": ({"whole": FIT}, "array of shape (2,)"),
    "nothing": ({"whole": None}, "returned None"),
}
RESETS = {
    "old interface": (lambda sound: sound, "reset returned an array of shape (2,)"),
    "a list": (lambda sound: [*sound, 1.0], "reset returned ["),
    "nothing": (lambda sound: None, "reset returned None"),
    "three values": (lambda sound: (sound, {}, {}), "reset returned a tuple of 3"),
    "no info": (lambda sound: (sound, None), "info = None"),
    "no observation": (lambda sound: (None, {}), "observation None"),
    "another shape": (lambda sound: (np.zeros(1), {}), "observation an array of shape (1,)"),
}


@pytest.fixture
def task():
    """Registers an environment and gives its id; with a time limit where it is told to."""
    registered = []

    def register(cls, limit=None, wrappers=(), **kwargs):
        name = f"TaskCheck{len(registered)}-v0"
        registered.append(name)
        specs = tuple(wrapper.wrapper_spec(**arguments) for wrapper, arguments in wrappers)
        gymnasium.register(name, cls, max_episode_steps=limit, kwargs=kwargs, additional_wrappers=specs)
        return name

    yield register
    for name in registered:
        del gymnasium.registry[name]


@pytest.fixture
def read(tmp_path):
    """Reads a grid with a task, whose entry and algorithms may say more."""

    def load(task, algorithms=None, tuning=None, only=None, **entry):
        of_task = {"steps": 100, "random_score": 0, "reference_score": 1, "reference_source": "a guess"} | entry
        data = {"description": "One task.", "seeds": [0], "tasks": {task: of_task}}
        data |= {"algorithms": algorithms or {"ppo": None}, "tuning": tuning}
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump(data), encoding="utf-8")
        return load_grid(str(path), only)

    return load


def check_sentence(refusal, name, words):
    message = str(refusal.value)
    assert repr(name) in message
    assert words in message
    assert "\n" not in message


@pytest.mark.parametrize("limit", [None, 20])  # with Gymnasium's TimeLimit around it and without
@pytest.mark.parametrize("case", STEPS)
def test_what_a_step_returns_is_refused_when_a_grid_is_read_and_in_a_script(case, limit, task, read):
    values, words = STEPS[case]
    name = task(Odd, limit, **values)
    with pytest.raises(GridError, match=r"mine\.yaml: ") as refusal:
        read(name)
    check_sentence(refusal, name, words)
    for algorithm in (PPO(num_envs=2, rollout_length=8, minibatch_size=8), Reinforce(num_envs=2, rollout_length=1)):
        with pytest.raises(UnsupportedTask) as refusal:
            algorithm.train(Task(name), 0, 64)
        check_sentence(refusal, name, words)


def test_the_random_score_of_a_broken_task_is_the_same_sentence(task, monkeypatch):
    name = task(Odd, 20, **STEPS["old interface"][0])
    monkeypatch.setattr("sys.argv", ["random_score", name])
    with pytest.raises(UnsupportedTask) as refusal:
        random_score()
    check_sentence(refusal, name, STEPS["old interface"][1])


@pytest.mark.parametrize("limit", [None, 20])
@pytest.mark.parametrize("case", RESETS)
def test_what_a_reset_returns_is_refused_when_a_grid_is_read_and_in_a_script(case, limit, task, read):
    result, words = RESETS[case]
    name = task(Odd, limit, reset=result)
    with pytest.raises(GridError) as refusal:
        read(name)
    check_sentence(refusal, name, words)
    with pytest.raises(UnsupportedTask) as refusal:
        PPO().train(Task(name), 0, 64)
    check_sentence(refusal, name, words)


@pytest.mark.parametrize("case", ["longer observation", "shorter observation", "a scalar", "a column", "a row"])
def test_an_observation_that_changes_its_shape_later_is_refused_and_fills_no_row(case, task):
    values, words = STEPS[case]
    name = task(Odd, since=30, **values)
    try_task(Task(name))  # a few steps do not show it
    with pytest.raises(UnsupportedTask) as refusal:
        PPO(num_envs=2, rollout_length=50, minibatch_size=50).train(Task(name), 0, 100)
    check_sentence(refusal, name, words)


@pytest.mark.parametrize("shown", [3, -1, 1.5, np.int64(7), np.zeros(1, int), None, "0"])
def test_a_discrete_observation_outside_its_space_is_refused(shown, task, read):
    name = task(Odd, observations=Discrete(3), observation=shown)
    with pytest.raises(GridError) as refusal:
        read(name)
    check_sentence(refusal, name, "step returned the observation")


@pytest.mark.parametrize("shown", [3, -1, np.int64(7), None])
def test_a_discrete_observation_that_leaves_its_space_later_is_refused(shown, task):
    name = task(Odd, observations=Discrete(3), since=30, observation=shown)
    with pytest.raises(UnsupportedTask) as refusal:
        PPO(num_envs=2, rollout_length=50, minibatch_size=50).train(Task(name), 0, 100)
    check_sentence(refusal, name, "step returned the observation")


@pytest.mark.parametrize(
    ("cls", "arguments", "words"),
    [
        (NoSeed, {}, "reset does not take seed=…"),
        (NoOptions, {}, "reset does not take options=…"),
        (NoSpace, {"missing": "action_space"}, "action_space"),
        (NoSpace, {"missing": "observation_space"}, "observation_space"),
        (Odd, {"actions": "left"}, "action space does not inherit"),
        (Odd, {"observations": [0, 1]}, "observation space does not inherit"),
        *(
            (Raising, {"where": where}, "RuntimeError: no licence")
            for where in ("init", "reset", "second reset", "step")
        ),
    ],
)
def test_an_environment_that_raises_is_refused_when_a_grid_is_read(cls, arguments, words, task, read):
    name = task(cls, 20, **arguments)
    with pytest.raises(GridError) as refusal:
        read(name)
    check_sentence(refusal, name, words)


@pytest.mark.parametrize(
    "values",
    [
        {"observation": [0.5, 0.5]},
        {"observation": np.zeros(2)},
        {"observation": np.zeros(2, np.float16)},
        {"observation": np.zeros(2, int)},
        {"observation": (0, 1)},
        {"reward": 1},
        {"reward": np.float32(1)},
        {"reward": np.array(1.0)},
        {"reward": True},
        {"reward": float("nan")},
        {"terminated": np.bool_(False)},
        {"terminated": 0, "truncated": 1},
        {"truncated": np.array(False)},
        {"info": {"action_mask": [1, 0]}},
        {"info": {"action_mask": [True, False]}},
        {"actions": MultiDiscrete([2, 3])},
        {"actions": Box(-1, 1, (2,), np.float32)},
    ],
)
def test_what_is_valid_but_unusual_is_accepted_without_a_word(values, task, read):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(task(Odd, 20, **values))


def test_nan_in_the_first_steps_is_not_the_interfaces(task, read):
    read(task(Odd, 20, observation=np.array([np.nan, 0], np.float32)))


def test_an_observation_beyond_its_bounds_is_a_warning(task, read):
    name = task(Odd, 20, reset=lambda sound: (sound + 5, {}))
    with pytest.warns(UserWarning, match=rf"'{name}': element 0 of the observation is 5, .* between 0 and 1"):
        read(name)


def test_every_variant_is_tried(task, read):
    name = task(Odd, 20)
    with pytest.raises(GridError) as refusal:
        read(name, variants=[{"reward": 1}, {"reward": "1"}])
    check_sentence(refusal, name, "reward '1'")


def test_one_environment_at_a_time_is_open_and_it_is_closed(task, read):
    name = task(OneAtATime, 20)
    read(name)
    assert not OneAtATime.is_open


def test_a_job_of_one_algorithm_does_not_step_tasks(task, read):
    name = task(Odd, 20, reward="1")
    assert read(name, only="ppo").cells()


class Normalised(NormalizeReward):
    """A user's own subclass."""


@pytest.mark.parametrize(
    ("wrapper", "setting"),
    [
        (NormalizeReward, "normalize_rewards"),
        (Normalised, "normalize_rewards"),
        (NormalizeObservation, "normalize_observations"),
    ],
)
@pytest.mark.parametrize("registered", [True, False])
def test_a_task_that_normalises_itself_is_refused_unless_it_is_allowed(wrapper, setting, registered, task, read):
    within = ClipReward(Odd(), -1, 1)
    name = (
        task(Odd, 20, [(wrapper, {})])
        if registered
        else task(lambda: TransformReward(wrapper(within), lambda reward: 2 * reward), 20)
    )
    for attempt in (lambda: read(name), lambda: PPO().train(Task(name), 0, 64), lambda: random_returns(Task(name), 1)):
        with pytest.raises((GridError, UnsupportedTask)) as refusal:
            attempt()
        check_sentence(refusal, name, f"'{setting}: true'")
        assert "allow_normalised: true" in str(refusal.value)
    allowed = read(name, allow_normalised=True)
    assert allowed.tasks[name].task.allow_normalised
    assert "allow_normalised" not in allowed.manifest()["tasks"][name]  # it determines no run
    PPO(num_envs=2, rollout_length=8, minibatch_size=8).train(allowed.tasks[name].task, 0, 16, evaluations=[])


def test_a_fixed_change_of_the_reward_is_part_of_the_task(task, read):
    read(task(Odd, 20, [(ClipReward, {"min_reward": -1, "max_reward": 1})]))


ONE = "cannot be normalised"
SIZES = {
    "minibatches of one": ({"minibatch_size": 1}, "minibatch_size 1"),
    "a rollout of one": ({"num_envs": 1, "rollout_length": 1}, "num_envs 1 × rollout_length 1"),
    "a last minibatch of one": ({"num_envs": 5, "rollout_length": 13}, "minibatch_size 64 leaves a single step"),
    "and of another size": ({"num_envs": 1, "rollout_length": 33, "minibatch_size": 4}, "minibatch_size 4"),
}


@pytest.mark.filterwarnings("ignore:.*more than the 1 steps of a rollout")
@pytest.mark.parametrize("case", SIZES)
@pytest.mark.parametrize("module", ["ppo", "a2c"])
def test_one_advantage_to_normalise_is_refused(case, module, task, read):
    settings, words = SIZES[case]
    settings = {"minibatch_size": 64, "normalize_advantages": True} | settings
    for entry in ({"settings": settings}, {"tasks": {"CartPole-v1": settings}}):
        with pytest.raises(GridError, match=r"mine\.yaml: algorithm mine on CartPole-v1: ") as refusal:
            read("CartPole-v1", {"mine": {"module": module} | entry})
        assert words in str(refusal.value)
        assert ONE in str(refusal.value)
    read("CartPole-v1", {"mine": {"module": module, "settings": settings | {"normalize_advantages": False}}})


def test_one_advantage_to_normalise_is_refused_in_a_script_before_training():
    for algorithm in (PPO(minibatch_size=1), Reinforce(normalize_advantages=True, minibatch_size=1)):
        with pytest.raises(ValueError, match=ONE):
            algorithm.train(Task("CartPole-v1"), 0, 64)


TUNING = {
    "seeds": [100, 101],
    "fresh_seeds": [200],
    "trials": 2,
    "startup_trials": 2,
    "groups": {"all": {"tasks": {"CartPole-v1": 100}, "serves": ["CartPole-v1"]}},
}


@pytest.mark.parametrize(
    ("settings", "space", "words"),
    [
        ({}, {"minibatch_size": {"choices": [1, 64]}}, "minibatch_size = 1"),
        ({"minibatch_size": 4}, {"rollout_length": {"choices": [32, 33]}, "num_envs": {"choices": [1, 2]}}, "= 33"),
        ({"num_envs": 1}, {"minibatch_size": {"low": 32, "high": 128}}, "minibatch_size = 51"),  # 256 = 5 · 51 + 1
        ({"num_envs": 1}, {"rollout_length": {"low": 1, "high": 64}}, "rollout_length = 1"),
    ],
)
def test_searched_sizes_that_leave_one_advantage_are_refused(settings, space, words, read):
    entry = {"ppo": {"settings": settings, "search_space": space}}
    with pytest.raises(GridError, match=f"search_space of ppo has .*{words}.* on CartPole-v1 .*{ONE}"):
        read("CartPole-v1", entry, TUNING)
    entry["ppo"]["settings"] = settings | {"normalize_advantages": False}
    read("CartPole-v1", entry, TUNING)


def test_searched_sizes_that_fit_are_accepted(read):
    space = {"minibatch_size": {"choices": [None, 32, 64]}, "num_envs": {"choices": [2, 4, 8]}}
    read("CartPole-v1", {"ppo": {"search_space": space | {"epochs": {"low": 1, "high": 9}}}}, TUNING)


def test_a_minibatch_larger_than_the_rollout_is_a_warning(read):
    settings = {"num_envs": 2, "rollout_length": 16}
    with pytest.warns(UserWarning, match="algorithm ppo on CartPole-v1: minibatch_size 64 of PPO .* 32 steps"):
        read("CartPole-v1", {"ppo": {"settings": settings}})
    with pytest.warns(UserWarning, match="minibatch_size 64 of PPO .* 32 steps"):
        PPO(**settings).train(Task("CartPole-v1"), 0, 32, evaluations=[])


def test_a_lone_step_at_the_end_of_whole_episodes_keeps_its_advantage(task):
    name = task(Odd, since=1, terminated=True)  # episodes of one step: a batch of one episode has one advantage
    learning = Reinforce(num_envs=1, rollout_length=1, normalize_advantages=True, entropy_coefficient=0.0)
    with pytest.warns(UserWarning, match="a minibatch of one step is not normalised"):
        run = learning.train(Task(name), 0, 1, checkpoint_fractions=[0, 1], evaluations=[])
    before, after = (checkpoint.state for checkpoint in run.checkpoints)
    assert any((before[key] != after[key]).any() for key in before if key.startswith("policy/"))


@pytest.mark.parametrize("grid", ["smoke", "default", "paper", "ppo_ablation"])
def test_the_shipped_grids_are_read_without_a_warning(grid):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_grid(grid)


WHOLE = {  # where a grid has whole numbers: the path of keys
    "steps": ("tasks", "CartPole-v1", "steps"),
    "time limit": ("tasks", "CartPole-v1", "max_episode_steps"),
    "setting": ("algorithms", "ppo", "settings", "rollout_length"),
    "optional setting": ("algorithms", "ppo", "settings", "value_minibatch_size"),
    "setting of a task": ("algorithms", "ppo", "tasks", "CartPole-v1", "epochs"),
    "trials": ("tuning", "trials"),
    "workers": ("tuning", "workers"),
    "steps of tuning": ("tuning", "groups", "all", "tasks", "CartPole-v1"),
    "choice": ("algorithms", "ppo", "search_space", "value_epochs", "high"),
    "batches of probes": ("probes", "batches"),
    "episodes of probes": ("probes", "tasks", "CartPole-v1", "batch_size"),
}


def a_grid_with(path, value):
    data = {
        "description": "Numbers.",
        "seeds": [0],
        "checkpoints": [1],
        "tasks": {
            "CartPole-v1": {"steps": 100, "random_score": 0, "reference_score": 1, "reference_source": "a guess"}
        },
        "algorithms": {
            "ppo": {
                "settings": {},
                "tasks": {"CartPole-v1": {}},
                "search_space": {"value_epochs": {"low": 1, "high": 100}},
            }
        },
        "tuning": copy.deepcopy(TUNING),
        "probes": {
            "source": "ppo",
            "seeds": [0],
            "fractions": [1],
            "batches": 8,
            "tasks": {"CartPole-v1": {"batch_size": 4, "fit_episodes": 20}},
        },
    }
    place = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return data


@pytest.mark.parametrize("case", WHOLE)
def test_a_whole_number_may_be_written_with_an_exponent(case, tmp_path):
    path = tmp_path / "mine.yaml"
    manifests = []
    for text in ("10000", "1e4", "10000.0"):
        path.write_text(yaml.safe_dump(a_grid_with(WHOLE[case], "NUMBER")).replace("NUMBER", text), encoding="utf-8")
        grid = load_grid(str(path))
        jobs = [*grid.cells(), *grid.studies(), *grid.probes]
        manifests.append(json.dumps([grid.manifest(), [what_determines(grid, job).parameter for job in jobs]]))
    assert manifests[0] == manifests[1] == manifests[2]  # "10000", not "10000.0", in whatever is written of it


@pytest.mark.parametrize("value", [1.5, "many", True, float("inf"), float("nan")])
@pytest.mark.parametrize("case", WHOLE)
def test_what_is_no_whole_number_is_refused_with_its_key_and_value(case, value, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(a_grid_with(WHOLE[case], value)), encoding="utf-8")
    with pytest.raises(GridError, match=rf"mine\.yaml: .*{re.escape(str(value))}") as refusal:
        load_grid(str(path))
    assert WHOLE[case][-1] in str(refusal.value) or WHOLE[case][-2] in str(refusal.value)


@pytest.mark.parametrize(("text", "number"), [("1e4", 10_000), ("10_000", 10_000), ("-1", -1), ("2.0", 2)])
def test_a_whole_number_on_a_command_line_may_have_an_exponent(text, number):
    assert whole_number(text) == number
    assert type(whole_number(text)) is int


@pytest.mark.parametrize("text", ["1.5", "many", "inf", "nan", ""])
def test_anything_else_on_a_command_line_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected a whole number, not"):
        whole_number(text)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"clip": "a"}, "clip of PPO must be a number or null, not 'a'"),
        ({"gamma": None}, "gamma of PPO must be a number, not None"),
        ({"hidden_sizes": "64"}, "hidden_sizes of PPO must be a list of whole numbers, not '64'"),
        ({"rollout_length": 1.5}, "rollout_length of PPO must be a whole number, not 1.5"),
        ({"lr": 1}, "PPO has no setting 'lr'; did you mean 'policy_learning_rate' or 'value_learning_rate'?"),
        ({"learning_rate": 1}, "did you mean 'policy_learning_rate' or 'value_learning_rate'?"),
        ({"n_steps": 5}, "did you mean 'rollout_length'?"),
        ({"ent_coef": 0.1}, "did you mean 'entropy_coefficient'?"),
        ({"gama": 0.9}, "did you mean 'gamma'?"),
    ],
)
def test_a_script_gets_the_sentence_that_a_grid_gets(settings, words):
    for make in (lambda: PPO(**settings), lambda: PPO.from_settings(settings), lambda: replace(PPO(), **settings)):
        with pytest.raises(InvalidSetting) as refusal:
            make()
        assert words in str(refusal.value)


@pytest.mark.parametrize(
    ("task", "seed", "steps", "words"),
    [
        ("CartPole-v1", 0, 100, r"task must be a Task, such as Task\('CartPole-v1'\), not 'CartPole-v1'"),
        (None, 0, 100, "task must be a Task"),
        (Task("CartPole-v1"), -1, 100, "seed must be a whole number from 0, not -1"),
        (Task("CartPole-v1"), 0.5, 100, "seed must be a whole number from 0, not 0.5"),
        (Task("CartPole-v1"), None, 100, "seed must be a whole number from 0, not None"),
        (Task("CartPole-v1"), 0, -5, "steps must be a whole number from 1, not -5"),
        (Task("CartPole-v1"), 0, "100", "steps must be a whole number from 1, not '100'"),
    ],
)
def test_a_training_of_something_else_is_refused_with_what_was_given(task, seed, steps, words):
    for algorithm in (PPO(), Reinforce()):
        with pytest.raises(ValueError, match=words):
            algorithm.train(task, seed, steps)


@pytest.mark.parametrize(
    "settings",
    [
        *({"action_bounds": "wrap"}, {"max_episode_steps": -1}, {"normalize_rewards": "yes"}),
        *({"kwargs": [1]}, {"kwargs": {1: 2}}, {"variants": {"length": 2}}, {"variants": ("length",)}),
    ],
)
def test_a_task_with_an_invalid_setting_is_refused_by_name(settings):
    ((key, value),) = settings.items()
    with pytest.raises(UnsupportedTask, match=rf"'CartPole-v1': {key} must be .*, not {re.escape(repr(value))}"):
        Task("CartPole-v1", **settings)


@pytest.mark.parametrize("arguments", [("CartPole-v1", 0, 1000), ("CartPole-v1",), (Task("CartPole-v1"), 0, 1000), ()])
def test_the_loop_is_no_way_to_train_an_algorithm_and_says_what_is(arguments):
    with pytest.raises(ValueError, match=r"make_learner must be .*PPO\(\).train\(Task\('CartPole-v1'\), seed"):
        train(PPO(), *arguments)


class Later(gymnasium.Env):
    """Returns what it should until its 20th step or third reset, which returns what `change` makes of it."""

    observation_space, action_space = Box(0, 1, (2,)), Discrete(2)

    def __init__(self, at_reset, change):
        self.at_reset, self.change, self.resets, self.steps = at_reset, change, 0, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.resets = 0, self.resets + 1
        right = np.zeros(2, np.float32), {}
        return self.change(*right) if self.at_reset and self.resets == 3 else right

    def step(self, action):
        self.t, self.steps = self.t + 1, self.steps + 1
        right = np.zeros(2, np.float32), 1.0, self.t == 9, False, {}
        return self.change(*right) if not self.at_reset and self.steps == 20 else right


@pytest.mark.parametrize("do", [PPO(num_envs=1, rollout_length=32, minibatch_size=None).train, random_returns])
@pytest.mark.parametrize(
    ("at_reset", "change", "words"),
    [
        (True, lambda observation, info: None, "reset returned None instead of"),
        (True, lambda observation, info: (), "reset returned a tuple of 0"),
        (True, lambda observation, info: (observation, None), "reset returned info = None"),
        (True, lambda observation, info: ([[1], [1, 2]], info), "reset returned the observation [[1], [1, 2]]"),
        (False, lambda *right: None, "step returned None instead of"),
        (False, lambda *right: right[:4], "step returned a tuple of 4"),
        (False, lambda *right: (right[0], "1", *right[2:]), "gives the reward '1'"),
        (False, lambda *right: (right[0], None, *right[2:]), "gives the reward None"),
        (False, lambda *right: (right[0], np.ones(2), *right[2:]), "gives the reward an array"),
    ],
)
def test_what_goes_wrong_later_is_the_same_sentence_in_training_and_for_random_actions(
    do, at_reset, change, words, task
):
    name = task(Later, at_reset=at_reset, change=change)
    try_task(Task(name))
    with pytest.raises(UnsupportedTask) as refusal:
        do(Task(name), 0, 64) if do is not random_returns else do(Task(name), 5)
    check_sentence(refusal, name, words)
