"""Algorithms of other libraries as ordinary cells, and runs that were made elsewhere."""

import json
import math
import sys
from itertools import chain, combinations_with_replacement
from typing import ClassVar

import gymnasium
import numpy as np
import pytest
import torch
import yaml
from gymnasium.spaces import Box, Discrete

from algorithms.core.algorithm import InvalidSetting
from algorithms.core.run_check import checked_training
from algorithms.core.task import Task
from algorithms.core.training import Seeds
from algorithms.core.vector_env import VectorEnv
from analysis.reading.grid import read_grid
from analysis.reading.runs import read_run
from analysis.sections.learning.tables import curves
from analysis.sections.scores import tables as scores
from analysis.sections.settings import sentences as settings
from analysis.verify import of_different_code, read_whole_run
from experiments import tune
from experiments.checks import GridError, GridLoader
from experiments.determinants import what_determines
from experiments.external import External, read_external
from experiments.grid import load_grid
from experiments.libraries import library_algorithm
from experiments.record import write_record
from experiments.run import main as run_main
from tests.documentation import block
from tests.tasks import Counting

sb3 = pytest.importorskip("stable_baselines3")
training = pytest.importorskip("experiments.library_training")

TASK = {"steps": 300, "random_score": 21.6, "reference_score": 475, "reference_source": "registered threshold"}
SB3_PPO = {"library": "stable_baselines3", "class": "PPO", "settings": {"n_steps": 64, "n_epochs": 1}}
CARTPOLE = Task("CartPole-v1")


def write(folder, algorithms, name="mine", tasks=("CartPole-v1",), **further):
    """A grid's file."""
    data = {"description": "Others.", "seeds": [0, 1], "claims": [], "tasks": {task: TASK for task in tasks}}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(data | {"algorithms": algorithms} | further, sort_keys=False))
    return path


def execute(path, algorithm, seed, folder):
    """Run a cell by its command line."""
    cell = ["--grid", str(path), "--algorithm", algorithm, "--task", "CartPole-v1", "--seed", str(seed)]
    run_main([*cell, "--output", str(folder)])


def ppo(**given):
    return library_algorithm("stable_baselines3", "PPO").from_settings({"n_steps": 64, "n_epochs": 1} | given)


def refused(folder, algorithms, **further):
    """The sentence with which a grid is refused."""
    with pytest.raises(GridError) as error:
        load_grid(str(write(folder, algorithms, **further)))
    assert "\n" not in str(error.value)
    return str(error.value)


# ------------------------------------------------------------------------------------ the library's own numbers


@pytest.mark.parametrize(("name", "given"), [("PPO", {"n_steps": 32}), ("A2C", {}), ("DQN", {"learning_starts": 50})])
def test_episodes_are_those_of_the_library_by_itself_with_the_same_seeds(name, given):
    """Bit for bit, on two environments: observations, rewards, ends and time limits reach the library as they are."""
    steps, seed = 640, 3
    run = (
        library_algorithm("stable_baselines3", name)
        .from_settings({"num_envs": 2, **given})
        .train(CARTPOLE, seed, steps)
    )
    seeds = Seeds.of(seed)
    envs = sb3.common.env_util.make_vec_env("CartPole-v1", 2)
    with torch.random.fork_rng():
        model = getattr(sb3, name)(
            "MlpPolicy", envs, seed=int(seeds.initialisation.generate_state(1)[0]), device="cpu", **given
        )
        envs._seeds = [int(child.generate_state(1)[0]) for child in Seeds.of(seed).environments.spawn(3)[:2]]
        model.learn(steps)
    for i in range(2):
        own = envs.env_method("get_episode_rewards", indices=[i])[0]
        starts = [episode for episode in run.episodes if (episode.step - 1) % 2 == i]
        assert [episode.return_ for episode in starts] == own
    assert run.episodes[-1].step > steps / 2
    assert run.steps_taken == steps


def test_a_run_is_repeatable_and_is_another_with_another_seed():
    first, second, other = (checked_training(ppo(), CARTPOLE, seed, 300) for seed in (0, 0, 1))
    assert first.episodes == second.episodes
    assert first.updates == second.updates
    assert first.evaluation == second.evaluation
    assert first.episodes != other.episodes


def test_the_budget_is_exact_and_updates_are_counted():
    run = checked_training(ppo(num_envs=4), CARTPOLE, 0, 601)
    assert run.steps_taken == 604  # up to one step of each environment, as ours
    assert run.updates_made == 604 // 256
    assert sum(row["updates"] for row in run.updates) == run.updates_made
    assert not any(name.startswith("time") for row in run.updates for name in row)
    assert math.isfinite(run.updates[-1]["train_value_loss"])
    whole = checked_training(ppo(), CARTPOLE, 0, 128)
    assert (whole.steps_taken, whole.updates_made) == (128, 2)  # the last rollout fills the budget and is learned from


class Spy(sb3.PPO):
    """Keeps what its environments return."""

    seen: ClassVar[list] = []

    def collect_rollouts(self, env, *arguments, **options):
        step = env.step_wait

        def spied():
            observations, rewards, done, infos = step()
            Spy.seen.append((observations, rewards.copy(), done, infos))  # PPO adds to rewards in place
            return observations, rewards, done, infos

        env.step_wait = spied
        try:
            return super().collect_rollouts(env, *arguments, **options)
        finally:
            del env.step_wait


gymnasium.register("OtherTruncating-v0", Counting, max_episode_steps=3)
gymnasium.register("OtherTerminating-v0", Counting, kwargs={"terminate_at": 4})


@pytest.mark.parametrize(
    ("task", "length", "truncated"), [("OtherTruncating-v0", 3, True), ("OtherTerminating-v0", 4, False)]
)
def test_a_truncation_is_told_from_a_termination_with_the_true_last_observation(task, length, truncated):
    Spy.seen = []
    spy = library_algorithm(None, f"{__name__}:Spy").from_settings({"n_steps": 12, "n_epochs": 1})
    run = spy.train(Task(task), 0, 12, evaluations=())
    assert [episode.return_ for episode in run.episodes] == [sum(range(1, length + 1))] * (12 // length)
    for t, (observations, rewards, done, infos) in enumerate(Spy.seen, start=1):
        assert done[0] == (t % length == 0)
        assert rewards[0] == (t - 1) % length + 1
        if done[0]:
            assert infos[0]["TimeLimit.truncated"] == truncated
            assert infos[0]["terminal_observation"][2] == length
            assert observations[0][2] == 0  # of the next episode
        else:
            assert infos[0] == {}


def test_rewards_are_scaled_for_learning_alone_and_statistics_stand_still_in_an_evaluation():
    Spy.seen = []
    spy = library_algorithm(None, f"{__name__}:Spy").from_settings({"n_steps": 12, "n_epochs": 1})
    task = Task("OtherTruncating-v0", normalize_observations=True, normalize_rewards=True)
    run = spy.train(task, 0, 24)
    assert {episode.return_ for episode in run.episodes} == {6.0}
    assert all(abs(rewards[0]) != t % 3 + 1 for t, (_, rewards, _, _) in enumerate(Spy.seen))
    assert np.abs([observations for observations, *_ in Spy.seen]).max() <= 10
    assert set(run.evaluation["sampled"].returns) == {6.0}
    envs = VectorEnv(task, 1, np.random.SeedSequence(0))
    model, policy = training.make_model(spy, training.LibraryEnvs(envs, 100), task, 0)
    before = model.env.obs_rms.mean.copy()
    policy.act(envs.observations + 7, np.random.default_rng(0))
    np.testing.assert_array_equal(model.env.obs_rms.mean, before)


def test_actions_of_a_box_arrive_within_its_bounds_and_flat_actions_in_the_tasks_shape():
    space = Box(-1, 2, (2, 1), np.float64)
    assert training.flat_action_space(space) == Box(-1, 2, (2,), np.float64)
    run = checked_training(ppo(n_steps=16), Task("BoxTruncating-v0"), 0, 30)
    assert run.steps_taken == 30
    assert checked_training(ppo(n_steps=16), Task("Match-v0"), 0, 30).status == "done"  # Discrete that begins at −1
    assert checked_training(ppo(n_steps=16), Task("Junctions-v0"), 0, 30).status == "done"  # MultiDiscrete


class Bins(sb3.common.vec_env.VecEnvWrapper):
    """Three actions in place of a Box with one number."""

    VALUES = np.array([-2.0, 0.0, 1.0], np.float32)

    def __init__(self, venv):
        super().__init__(venv, action_space=Discrete(3))

    def reset(self):
        return self.venv.reset()

    def step_async(self, actions):
        self.venv.step_async(self.VALUES[actions][:, None])

    def step_wait(self):
        return self.venv.step_wait()


class BinnedDQN(sb3.DQN):
    """DQN on a task with continuous actions."""

    def __init__(self, policy, env, seed=None, device="cpu", learning_starts: int = 100):
        super().__init__(policy, Bins(env), seed=seed, device=device, learning_starts=learning_starts)


def test_a_class_may_wrap_the_environments_that_it_is_given_and_is_evaluated_through_its_wrapper():
    binned = library_algorithm(None, f"{__name__}:BinnedDQN").from_settings({"learning_starts": 16, "num_envs": 2})
    run = checked_training(binned, Task("Hit-v0", normalize_observations=True), 0, 64)
    paid = {1 - 4 * (value - shown / 2) ** 2 for value in Bins.VALUES for shown in (-1.0, 1.0)}
    sums = {round(sum(of), 6) for of in combinations_with_replacement(paid, 10)}
    assert {round(value, 6) for value in run.evaluation["sampled"].returns} <= sums
    assert run.updates_made > 0


def test_a_run_that_diverges_is_a_row_and_one_that_its_task_stops_too():
    run = checked_training(ppo(learning_rate=1e30, max_grad_norm=1e30), CARTPOLE, 0, 300)
    assert (run.status, run.diverged_because, run.evaluation) == ("diverged", "not finite: parameters", None)
    assert checked_training(ppo(n_steps=16), Task("NotANumber-v0"), 0, 300).status == "stopped by its task"


def test_masks_reach_a_class_that_knows_them_and_another_is_refused():
    pytest.importorskip("sb3_contrib")
    maskable = library_algorithm("sb3_contrib", "MaskablePPO").from_settings({"n_steps": 16, "n_epochs": 1})
    run = checked_training(maskable, Task("Masked-v0"), 0, 64)  # it asserts that each action is allowed
    assert run.status == "done"
    with pytest.raises(InvalidSetting, match="knows no masks; sb3_contrib's MaskablePPO does"):
        ppo().check(Task("Masked-v0"))


def test_a_recurrent_policy_forgets_where_an_episode_begins():
    pytest.importorskip("sb3_contrib")
    recurrent = library_algorithm("sb3_contrib", "RecurrentPPO").from_settings(
        {"n_steps": 8, "n_epochs": 1, "batch_size": 8}
    )
    assert recurrent.policy == "MlpLstmPolicy"
    envs = VectorEnv(CARTPOLE, 1, np.random.SeedSequence(0))
    _, policy = training.make_model(recurrent, training.LibraryEnvs(envs, 100), CARTPOLE, 0)
    rng = np.random.default_rng(0)
    rows = np.ones((1, 4), np.float32)

    def state():
        policy.act(rows, rng, mode=True)
        return policy._state[0].copy()

    policy.begin_episodes(np.array([True]))
    first, second = state(), state()
    assert not np.array_equal(first, second)
    policy.begin_episodes(np.array([False]))
    assert not np.array_equal(state(), first)
    policy.begin_episodes(np.array([True]))
    np.testing.assert_array_equal(state(), first)


# ------------------------------------------------------------------------------------ settings


def test_settings_are_those_of_the_constructor_with_its_defaults():
    found = library_algorithm("stable_baselines3", "PPO")().settings()
    assert found["n_steps"] == 2048
    assert found["policy_kwargs"] is None
    assert {"env", "seed", "device", "verbose", "tensorboard_log"}.isdisjoint(found)
    assert json.loads(json.dumps(found)) == found
    assert type(ppo(n_steps=1e2).n_steps) is int
    assert library_algorithm("stable_baselines3", "PPO") is library_algorithm("stable_baselines3", "PPO")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"nsteps": 8}, "PPO has no setting 'nsteps'; did you mean 'n_steps'"),
        ({"n_envs": 8}, "PPO has no setting 'n_envs'; did you mean 'num_envs'"),
        ({"n_steps": "many"}, "n_steps of PPO must be a whole number, not 'many'"),
        ({"n_steps": 1.5}, "n_steps of PPO must be a whole number, not 1.5"),
        ({"gamma": None}, "gamma of PPO must be a number, not None"),
        ({"normalize_advantage": 1}, "normalize_advantage of PPO must be true or false, not 1"),
        ({"num_envs": 0}, "num_envs of PPO must be at least 1, not 0"),
        ({"learning_rate": "fast"}, "learning_rate of PPO must be a number or an object"),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_expected(given, sentence):
    with pytest.raises(InvalidSetting) as error:
        ppo(**given)
    assert sentence in str(error.value)


def test_objects_are_named_by_their_import_path():
    schedule = {
        "class": "stable_baselines3.common.utils:LinearSchedule",
        "start": 1e-3,
        "end": 0.0,
        "end_fraction": 1.0,
    }
    algorithm = ppo(learning_rate=schedule, policy_kwargs={"net_arch": [8], "activation_fn": "torch.nn:ReLU"})
    made = algorithm.arguments()
    assert made["learning_rate"](1.0) == 1e-3
    assert made["policy_kwargs"]["activation_fn"] is torch.nn.ReLU
    assert checked_training(algorithm, CARTPOLE, 0, 70).status == "done"
    with pytest.raises(
        InvalidSetting, match=r"policy_kwargs of PPO: torch.nn has no class 'Relu'; did you mean 'ReLU'"
    ):
        ppo(policy_kwargs={"activation_fn": "torch.nn:Relu"}).arguments()
    with pytest.raises(InvalidSetting, match=r"policy_kwargs of PPO has activation_fn: 'ReLU'; a class is given by"):
        ppo(policy_kwargs={"activation_fn": "ReLU"}).arguments()


# ------------------------------------------------------------------------------------ entries of a grid


def test_an_entry_is_a_cell_with_the_library_in_its_title_and_its_version_in_what_determines_it(tmp_path):
    grid = load_grid(str(write(tmp_path, {"ppo": None, "sb3_ppo": SB3_PPO})))
    assert [entry.title for entry in grid.algorithms.values()] == ["PPO", "PPO (Stable-Baselines3)"]
    cell = grid.cell("sb3_ppo", "CartPole-v1", 0)
    found = what_determines(grid, cell)
    assert found.versions["stable_baselines3"] == sb3.__version__
    assert "experiments/library_training.py" in found.files
    ours = what_determines(grid, grid.cell("ppo", "CartPole-v1", 0))
    assert "stable_baselines3" not in ours.versions
    assert not any("librar" in file for file in ours.files)
    about = grid.manifest()["algorithms"]["sb3_ppo"]
    assert (about["library"], about["version"], about["equation"]) == ("Stable-Baselines3", sb3.__version__, "")
    titled = load_grid(str(write(tmp_path, {"sb3_ppo": SB3_PPO | {"title": "Theirs"}})))
    assert titled.algorithms["sb3_ppo"].title == "Theirs"


def test_a_cell_is_written_byte_for_byte_the_same_with_the_librarys_version(tmp_path):
    path = write(tmp_path, {"sb3_ppo": SB3_PPO})
    for name in ("first", "second"):
        execute(path, "sb3_ppo", 0, tmp_path / name)
    for file in ("episodes.csv", "updates.csv"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()
    run = json.loads((tmp_path / "first" / "run.json").read_text())
    assert run["versions"]["stable_baselines3"] == sb3.__version__
    assert run["settings"]["n_steps"] == 64
    assert [len(run["evaluation"][kind]["returns"]) for kind in ("sampled", "mode")] == [20, 20]


MY_ALGORITHM = """
from stable_baselines3 import PPO
from my_others.parts import WIDTH

class Wide(PPO):
    def __init__(self, policy, env, seed=None, device="cpu", width: int = WIDTH, n_steps: int = 64):
        super().__init__(policy, env, seed=seed, device=device, n_steps=n_steps, policy_kwargs={"net_arch": [width]})

class Wider(Wide):
    pass

class Lazy:
    def __init__(self, policy, env, seed=None, rate: float = 0.1, *, needed):
        pass

    def learn(self, total_timesteps, callback=None):
        return self

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return [0] * len(observation), state

class Other:
    pass
"""


@pytest.fixture
def my_others(tmp_path, monkeypatch):
    """A user's own package, which is on Python's path."""
    package = tmp_path / "my_others"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "parts.py").write_text("WIDTH = 8\n")
    (package / "mine.py").write_text(MY_ALGORITHM)
    monkeypatch.syspath_prepend(tmp_path)
    return package


def test_a_class_by_its_import_path_is_a_cell_that_depends_on_its_files(tmp_path, my_others):
    grid = load_grid(str(write(tmp_path, {"wide": {"class": "my_others.mine:Wide", "settings": {"width": 4}}})))
    cell = grid.cell("wide", "CartPole-v1", 0)
    assert cell.settings == {"policy": "MlpPolicy", "num_envs": 1, "width": 4, "n_steps": 64}
    files = what_determines(grid, cell).files
    assert {str(my_others / "mine.py"), str(my_others / "parts.py")} <= set(files)
    assert grid.algorithms["wide"].title == "Wide (my_others)"
    assert checked_training(grid.resolved("wide", "CartPole-v1"), CARTPOLE, 0, 100).steps_taken == 100


def test_another_class_with_the_same_settings_is_another_cell(tmp_path, my_others):
    found = []
    for name in ("Wide", "Wider"):
        grid = load_grid(str(write(tmp_path, {"theirs": {"class": f"my_others.mine:{name}"}})))
        found.append(what_determines(grid, grid.cell("theirs", "CartPole-v1", 0)))
    assert found[0].files == found[1].files
    assert found[0].parameter != found[1].parameter


def test_a_class_that_does_not_take_the_steps_is_named(my_others):
    lazy = library_algorithm(None, "my_others.mine:Lazy")
    with pytest.raises(InvalidSetting, match="needed of Lazy has no default"):
        lazy.from_settings({})
    with pytest.raises(ValueError, match=r"my_others.mine:Lazy.learn ended after 0 of 100 steps"):
        lazy.from_settings({"needed": 1}).train(CARTPOLE, 0, 100)


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"library": "stable_baselines", "class": "PPO"}, "did you mean 'stable_baselines3'?"),
        ({"library": "stable_baselines3"}, "has the library 'stable_baselines3' and no class"),
        (
            {"library": "stable_baselines3", "class": "PPOO"},
            "stable_baselines3 has no class 'PPOO'; did you mean 'PPO'",
        ),
        ({"class": "PPO"}, "class is 'PPO'; it needs a library"),
        ({"class": "nowhere.at_all:PPO"}, "there is no module 'nowhere' (of nowhere.at_all:PPO); install it"),
        ({"class": "my_others.mine:Other"}, "has not the interface of Stable-Baselines3"),
        ({"class": "my_others.mine:Missing"}, "my_others.mine has no class 'Missing'"),
        ({"module": "ppo", "class": "my_others.mine:Wide"}, "it has a module"),
        (SB3_PPO | {"settings": {"steps": 3}}, "PPO has no setting 'steps'; did you mean 'n_steps'"),
        (SB3_PPO | {"settings": {"n_steps": 1}}, "cannot be made with these settings and spaces"),
        (
            {"library": "stable_baselines3", "class": "SAC"},
            "SAC (Stable-Baselines3) on task 'CartPole-v1' cannot be made",
        ),
    ],
)
def test_a_mistake_in_an_entry_is_refused_before_anything_runs(tmp_path, my_others, entry, sentence):
    said = refused(tmp_path, {"theirs": entry})
    assert sentence in said
    assert "algorithm theirs" in said


def test_a_library_that_is_not_installed_is_named_with_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sb3_contrib", None)  # as Python has it where an import is not allowed
    entry = {"library": "sb3_contrib", "class": "ARS"}
    assert "sb3_contrib is not installed (pip install -e '.[others]')" in refused(tmp_path, {"ars": entry})


def test_a_search_space_of_a_librarys_settings_is_searched(tmp_path):
    tuning = {"seeds": [100, 101], "fresh_seeds": [200], "trials": 2, "startup_trials": 1}
    tuning["groups"] = {"all": {"tasks": {"CartPole-v1": 128}, "serves": ["CartPole-v1"]}}
    space = {"learning_rate": {"low": 1e-4, "high": 1e-2, "scale": "log"}, "n_steps": {"choices": [32, 64]}}
    path = write(tmp_path, {"sb3_ppo": SB3_PPO | {"search_space": space}}, tuning=tuning)
    tune.main(["--grid", str(path), "--algorithm", "sb3_ppo", "--group", "all", "--output", str(tmp_path / "study")])
    header, *trials = (tmp_path / "study" / "trials.csv").read_text().splitlines()
    assert header.endswith("learning_rate,n_steps")
    assert trials[1].split(",")[-1] in ("32", "64")
    wrong = SB3_PPO | {"search_space": {"rate": {"low": 1, "high": 2}}}
    assert "PPO has no setting 'rate'" in refused(tmp_path, {"sb3_ppo": wrong}, tuning=tuning)


def test_no_gradient_can_be_probed_at_a_librarys_policy(tmp_path):
    probes = {"source": "sb3_ppo", "seeds": [0], "fractions": [1], "batches": 8, "exact": {"batch_size": 1}}
    said = refused(tmp_path, {"sb3_ppo": SB3_PPO}, probes=probes, checkpoints=[1])
    assert "source of probes is 'sb3_ppo', which is no PolicyGradient" in said


# ------------------------------------------------------------------------------------ runs made elsewhere


def csv_file(path, steps=320, header="step,return,length", row="{step},{value}.5,{length}", length=10):
    """A run of episodes of one length, whose returns count up."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [row.format(step=(i + 1) * length, value=i, length=length) for i in range(steps // length)]
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def elsewhere(tmp_path, **entry):
    """A grid with PPO and two runs that were made elsewhere."""
    for seed in (0, 1):
        csv_file(tmp_path / "runs" / f"CartPole-v1_{seed}.csv")
    entry = {"external": "runs/{task}_*.csv"} | entry
    return write(tmp_path, {"ppo": {"settings": {"num_envs": 2, "rollout_length": 32}}, "theirs": entry})


def test_a_csv_file_is_a_run_until_the_budget_scored_by_its_last_episodes(tmp_path):
    grid = load_grid(str(elsewhere(tmp_path, title="CleanRL's PPO")))
    assert grid.algorithms["theirs"].title == "CleanRL's PPO (external)"
    algorithm = grid.resolved("theirs", "CartPole-v1")
    run = checked_training(algorithm, CARTPOLE, 1, 300, evaluations=External.evaluations)
    assert [tuple(e) for e in run.episodes[:2]] == [(10, 0.5, 10, 0), (20, 1.5, 10, 10)]
    assert (len(run.episodes), run.steps_taken, run.updates) == (30, 300, [])
    assert run.evaluation["sampled"].returns == [i + 0.5 for i in range(10, 30)]
    assert run.evaluation.keys() == {"sampled"}


def test_a_run_made_elsewhere_depends_on_its_file_alone(tmp_path):
    grid = load_grid(str(elsewhere(tmp_path)))
    cell = grid.cell("theirs", "CartPole-v1", 1)
    found = what_determines(grid, cell)
    assert str(tmp_path / "runs" / "CartPole-v1_1.csv") in found.files
    assert str(tmp_path / "runs" / "CartPole-v1_0.csv") not in found.files
    before = found.code()
    csv_file(tmp_path / "runs" / "CartPole-v1_1.csv", steps=400)
    with pytest.raises(GridError, match="edited while this job was running"):
        found.check_code(before)


def test_the_report_and_verify_say_that_a_run_was_made_elsewhere(tmp_path):
    path = elsewhere(tmp_path)
    results = tmp_path / "results" / "mine"
    results.mkdir(parents=True)
    write_record(results / "grid.json", load_grid(str(path)).manifest())
    grid = read_grid(results)
    for cell in grid.cells:
        if cell["algorithm"] == "theirs":
            execute(path, "theirs", cell["seed"], results / cell["directory"])
    cells = [cell for cell in grid.cells if cell["algorithm"] == "theirs"]
    runs = [(cell, read_whole_run(grid, cell)) for cell in cells]
    assert runs[0][1]["steps_per_second"] is None
    assert list(runs[0][1]["external"]["files"]) == ["CartPole-v1_0.csv"]
    assert runs[0][1]["code"] != runs[1][1]["code"]
    assert of_different_code(runs) == []  # a file is no code
    table = scores.scores(grid, runs, curves(grid, runs))
    assert table["score"].tolist() == [20.0, 20.0]
    assert table["mode_score"].isna().all()
    said = settings.cautions(grid)
    assert "theirs (external) (2 runs)" in said[0]
    assert said[1].startswith("Nothing here vouches for how such runs were evaluated")
    assert settings.origin(grid.algorithms["theirs"]).startswith("Their final score is the mean return of the last")
    assert settings.cautions(read_grid(results)) == said
    assert read_run(grid, cells[0])["evaluation"].keys() == {"sampled"}


def test_files_may_lack_the_length_and_be_exports_of_tensorboard(tmp_path):
    plain = read_external(csv_file(tmp_path / "plain.csv", header="step,return", row="{step},{value}"))
    assert [tuple(e) for e in plain[:2]] == [(10, 0.0, 10, 0), (20, 1.0, 10, 10)]
    exported = csv_file(tmp_path / "board.csv", header="Wall time,Step,Value", row="1700000000.5,{step},{value}")
    assert read_external(exported) == plain


def test_monitor_files_of_several_environments_are_one_run_in_the_order_of_their_times(tmp_path):
    envs = sb3.common.env_util.make_vec_env("CartPole-v1", 2, seed=0, monitor_dir=str(tmp_path / "0"))
    sb3.A2C("MlpPolicy", envs, seed=0, device="cpu").learn(300)
    lengths = sorted(chain(*envs.env_method("get_episode_lengths")))
    envs.close()
    episodes = read_external(tmp_path / "0")
    assert sorted(e.length for e in episodes) == lengths
    assert episodes[-1].step == sum(lengths)
    assert [e.step for e in episodes] == np.cumsum([e.length for e in episodes]).tolist()
    assert all(e.start == max(e.step - 2 * e.length, 0) for e in episodes)
    (tmp_path / "0" / "1.monitor.csv").write_text("r,l,t\n1,1,1\n")
    with pytest.raises(GridError, match="the first line of a Monitor file"):
        read_external(tmp_path / "0")


def test_cleanrls_event_files_are_read(tmp_path):
    pytest.importorskip("tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(tmp_path / "CartPole-v1__ppo__1__17")
    writer.add_text("hyperparameters", "|param|value|\n|-|-|\n|seed|1|\n|num_envs|4|")
    for i in range(3):
        writer.add_scalar("charts/episodic_return", np.array([9.0 + i]), 40 * (i + 1))
        writer.add_scalar("charts/episodic_length", np.array([9 + i]), 40 * (i + 1))
    writer.close()
    episodes = read_external(tmp_path / "CartPole-v1__ppo__1__17")
    assert [tuple(e) for e in episodes] == [(40, 9.0, 9, 4), (80, 10.0, 10, 40), (120, 11.0, 11, 76)]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("step,reward\n1,2\n", "the column 'return' is missing among step, reward"),
        ("step,return\n20,1\n10,2\n", "line 3 is of step 10, after one of step 20; sort the lines"),
        ("step,return\n10,much\n", "line 2 has the return 'much'; expected is a finite number"),
        ("step,return\n10,nan\n", "line 2 has the return 'nan'"),
        ("step,return\n1.5,1\n", "line 2 has the step 1.5; expected is a whole number from 1"),
        ("step,return\n10\n", "line 2 has 1 of 2 columns"),
        (f'step,return\n10,"{"1" * 200_000}\n', "line 2: field larger than field limit"),
        ("", "the column 'step' is missing among no columns"),
        ("step,return\n100,1\n", "its last episode ends at step 100, and the budget of CartPole-v1 is 300"),
        ("step,return\n100,1\n290,2\n", "2 episodes end within the 300 steps"),
    ],
)
def test_a_file_that_cannot_be_a_run_is_refused_before_anything_runs(tmp_path, text, sentence):
    path = elsewhere(tmp_path)
    (tmp_path / "runs" / "CartPole-v1_1.csv").write_text(text)
    with pytest.raises(GridError) as error:
        load_grid(str(path))
    assert sentence in str(error.value)
    assert "CartPole-v1_1.csv" in str(error.value)
    assert "algorithm theirs" in str(error.value)


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"external": "nothing/*.csv"}, "no file matches external, nothing/*.csv"),
        ({"external": "runs/CartPole-v1_0.csv"}, "has one file of CartPole-v1"),
        ({"external": "runs/*"}, "3 files match external of CartPole-v1, and the grid has 2 seeds"),
        ({"external": {"Pendulum-v1": "runs/*"}}, "external has 'Pendulum-v1', no task of the grid"),
        ({"external": 3}, "external of algorithm theirs must be a path, or a mapping of tasks to paths, not 3"),
        ({"external": "runs/*", "settings": {}}, "is external, so nothing is trained and it takes no 'settings'"),
        ({"external": "runs/*", "search_space": {}}, "it takes no 'search_space'"),
        ({"external": "runs/*_{seed}.*"}, "2 files match external of CartPole-v1 with seed 0"),
    ],
)
def test_an_external_entry_that_names_no_runs_is_refused(tmp_path, entry, sentence):
    for name in ("CartPole-v1_0.csv", "CartPole-v1_1.csv", "other_0.csv"):
        csv_file(tmp_path / "runs" / name)
    assert sentence in refused(tmp_path, {"theirs": entry})


def test_tasks_without_files_have_no_cells_and_several_tasks_need_their_places(tmp_path):
    for seed in (0, 1):
        csv_file(tmp_path / "runs" / f"CartPole-v1_{seed}.csv")
    two = ("CartPole-v1", "Acrobot-v1")
    grid = load_grid(str(write(tmp_path, {"theirs": {"external": "runs/{task}_{seed}.csv"}}, tasks=two)))
    assert [(cell.task, cell.seed) for cell in grid.cells()] == [("CartPole-v1", 0), ("CartPole-v1", 1)]
    with pytest.raises(GridError, match="has no file of Acrobot-v1 with seed 0"):
        grid.cell("theirs", "Acrobot-v1", 0)
    assert "where the runs of each of the 2 tasks lie" in refused(
        tmp_path, {"theirs": {"external": "runs/*"}}, tasks=two
    )


# ------------------------------------------------------------------------------------ what the documentation shows


@pytest.mark.parametrize("marker", ["others", "external"])
def test_the_examples_of_the_documentation_are_entries_of_a_grid(tmp_path, marker):
    pytest.importorskip("sb3_contrib")
    for seed in (0, 1):
        for place in (f"cleanrl/runs/CartPole-v1__ppo__{seed}__17", f"theirs/CartPole-v1_{seed}.csv", f"logs/{seed}"):
            csv_file(tmp_path / place)
    entries = yaml.load(block(marker), GridLoader)["algorithms"]
    grid = load_grid(str(write(tmp_path, entries)))
    assert list(grid.algorithms) == list(entries)
    assert len(grid.cells()) == 2 * len(entries)
    assert [entry.title.endswith("(external)") for entry in grid.algorithms.values()] == [marker == "external"] * len(
        entries
    )
