"""Changed tasks, domain randomisation, a penalty on restless actions, and evaluations under changes."""

import json
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import yaml
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from algorithms.core.saved_policy import load_policy
from algorithms.core.task import Task, UnsupportedTask, make_env
from algorithms.ppo import PPO
from experiments import run
from experiments.checks import GridError
from experiments.determinants import what_determines
from experiments.grid import load_grid
from experiments.robustness import changed, evaluate_changed
from experiments.tasks.changes import CHANGES, Changed, Restless

PENDULUM, HOPPER = Task("InvertedPendulum-v5"), Task("Hopper-v5")
CHANGED, RESTLESS = "experiments.tasks.changes:Changed", "experiments.tasks.changes:Restless"
SMALL = dict(num_envs=4, rollout_length=32, minibatch_size=64, epochs=2)


class Echo(gymnasium.Env):
    """Its reward is the action, its observation the number of steps; it never ends."""

    def __init__(self, actions=None):
        self.action_space = actions or Box(-1, 1, (1,), np.float32)
        self.observation_space = Box(0, 100, (3,), np.float64)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(3), {}

    def step(self, action):
        self.steps += 1
        return np.full(3, float(self.steps)), float(np.sum(action)), False, False, {}


gymnasium.register("Echo-v0", Echo, max_episode_steps=10)


# ---------------------------------------------------------------------------------------------- the changed model


@pytest.mark.parametrize(
    ("change", "fields"),
    [("mass", ("body_mass", "body_inertia")), ("friction", ("geom_friction",)), ("gear", ("actuator_gear",))],
)
def test_the_model_of_the_made_environment_has_the_factor_and_nothing_else_of_it_changes(change, fields):
    nominal, other = make_env(HOPPER).unwrapped.model, make_env(changed(HOPPER, change, 1.7))
    other.reset(seed=0)
    model = other.unwrapped.model
    for name in ("body_mass", "body_inertia", "geom_friction", "actuator_gear", "dof_damping", "geom_size"):
        factor = 1.7 if name in fields else 1.0
        np.testing.assert_allclose(getattr(model, name), factor * getattr(nominal, name), rtol=1e-12)
    if change == "mass":  # what MuJoCo derives from the masses
        np.testing.assert_allclose(model.body_subtreemass, 1.7 * nominal.body_subtreemass, rtol=1e-12)
        np.testing.assert_allclose(model.dof_M0[:3], 1.7 * nominal.dof_M0[:3], rtol=1e-12)


def test_twice_the_mass_needs_twice_the_force_for_the_same_motion():
    """The pendulum has no spring, no damping that counts and no armature: gear and mass times k are another unit of
    force, as long as gravity scales with the mass, too; so both together change nothing.
    """
    nominal = make_env(PENDULUM)
    both = Changed(make_env(PENDULUM), mass=3.0, gear=3.0)
    for env in (nominal, both):
        env.unwrapped.model.dof_damping[:] = 0
        env.unwrapped.model.dof_armature[:] = 0
        env.reset(seed=3)
    for action in np.linspace(-0.5, 0.5, 6, dtype=np.float32)[:, None]:
        expected = nominal.step(action)[0]
        np.testing.assert_allclose(both.step(action)[0], expected, atol=1e-9)
    alone = Changed(make_env(PENDULUM), mass=3.0)
    alone.reset(seed=3)
    assert np.abs(alone.step(np.ones(1, np.float32))[0] - expected).max() > 1e-3


@pytest.mark.parametrize("delay", [0, 1, 3])
def test_a_delay_of_k_steps_shifts_actions_by_k_after_k_resting_ones(delay):
    env = Changed(gymnasium.make("Echo-v0"), delay=delay)
    actions = np.random.default_rng(0).uniform(-1, 1, 10).astype(np.float32)
    for _ in range(2):  # an episode does not see the actions of the one before
        env.reset(seed=1)
        kept = np.empty(1, np.float32)
        rewards = []
        for action in actions:
            kept[:] = action  # whoever acts may use one array for all actions
            rewards.append(env.step(kept)[1])
        np.testing.assert_allclose(rewards, [*[0.0] * delay, *actions[: 10 - delay].tolist()])


@pytest.mark.parametrize(
    ("space", "resting"),
    [
        (Box(np.float32([0.5, -2, -1]), np.float32([1, -1, 1])), [0.5, -1, 0]),
        (Discrete(3, start=2), 2),
        (MultiDiscrete([3, 4]), [0, 0]),
    ],
)
def test_the_resting_action_is_0_or_as_near_as_a_box_allows_and_the_first_choice(space, resting):
    env = Changed(Echo(space), delay=1)
    env.reset(seed=0)
    last = space.high if isinstance(space, Box) else space.nvec - 1 if isinstance(space, MultiDiscrete) else 4
    assert env.step(last)[1] == np.sum(resting)
    assert env.step(last)[1] == np.sum(last)


def test_noise_has_the_deviation_in_every_element_and_leaves_everything_else_as_it_is():
    env = Changed(gymnasium.make("Echo-v0"), noise=0.5)
    rows, rewards = [], []
    for episode in range(400):
        rows.append(env.reset(seed=7 if episode == 0 else None)[0])
        for step in range(1, 11):
            observation, reward, _, truncated, _ = env.step(np.ones(1, np.float32))
            rows.append(observation - step)
            rewards.append(reward)
        assert truncated
    noise = np.array(rows)  # 4,400 × 3
    np.testing.assert_allclose(noise.std(axis=0), 0.5, rtol=5 / np.sqrt(2 * len(noise)))
    np.testing.assert_allclose(noise.mean(axis=0), 0, atol=5 * 0.5 / np.sqrt(len(noise)))
    assert np.abs(np.corrcoef(noise.T) - np.eye(3)).max() < 5 / np.sqrt(len(noise))
    assert abs(np.corrcoef(noise[:-1, 0], noise[1:, 0])[0, 1]) < 5 / np.sqrt(len(noise))
    assert set(rewards) == {1.0}
    assert env.observation_space == Box(-np.inf, np.inf, (3,), np.float64)


# ---------------------------------------------------------------------------------------------- domain randomisation


def test_sizes_are_drawn_anew_in_every_episode_uniformly_and_by_the_seed():
    ranges = {"mass": [0.5, 2], "gear": [0.8, 1.2], "delay": [0, 2], "noise": 0.1}

    def sizes(seed, episodes=60):
        env, found = Changed(make_env(PENDULUM), **ranges), []
        nominal = make_env(PENDULUM).unwrapped.model
        for episode in range(episodes):
            env.reset(seed=seed if episode == 0 else None)
            model = env.unwrapped.model
            np.testing.assert_allclose(model.body_mass, env.sizes["mass"] * nominal.body_mass)
            np.testing.assert_allclose(model.actuator_gear, env.sizes["gear"] * nominal.actuator_gear)
            found.append([env.sizes[change] for change in ranges])
        return np.array(found)

    drawn = sizes(4)
    np.testing.assert_array_equal(drawn, sizes(4))
    assert not np.array_equal(drawn, sizes(5))
    mass, gear, delay, noise = drawn.T
    assert len(set(mass)) == len(set(gear)) == 60
    assert set(delay) == {0, 1, 2}
    assert set(noise) == {0.1}
    for column, low, high in ((mass, 0.5, 2), (gear, 0.8, 1.2)):
        assert low <= column.min() < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < column.max() <= high
        assert abs(column.mean() - (low + high) / 2) < 4 * (high - low) / np.sqrt(12 * 60)


def test_the_first_states_are_those_of_the_environment_without_changes():
    plain, other = make_env(HOPPER), Changed(make_env(HOPPER), mass=[0.5, 2], delay=[0, 3])
    for seed in (3, None, None, 8):
        np.testing.assert_array_equal(plain.reset(seed=seed)[0], other.reset(seed=seed)[0])


# ---------------------------------------------------------------------------------------------- restless actions


def test_what_an_action_changes_costs_its_square_and_the_penalty_times_it_less_reward():
    env = Restless(gymnasium.make("Echo-v0", actions=Box(-2, 2, (2,), np.float64)), penalty=0.5)
    actions = np.random.default_rng(1).uniform(-2, 2, (10, 2))
    for _ in range(2):
        env.reset(seed=0)
        found = [env.step(action) for action in actions]
        costs = [0.0, *((actions[1:] - actions[:-1]) ** 2).sum(axis=1)]
        np.testing.assert_allclose([step[4]["cost"] for step in found], costs)
        np.testing.assert_allclose([step[1] for step in found], actions.sum(axis=1) - 0.5 * np.array(costs))


def test_wrappers_in_training_are_in_training_alone(monkeypatch):
    """The penalty changes what is learned from: the training's returns, and not those of any evaluation."""
    always, penalised = ({"wrapper": RESTLESS},), ({"wrapper": RESTLESS, "penalty": 1.0},)
    plain = Task("Echo-v0", wrappers=always)
    task = replace(plain, training_wrappers=penalised)
    run = PPO(**SMALL).train(task, 0, 256, compile="never", evaluate_every=128, evaluate_episodes=4)
    assert run.policy.task == task
    own = run.evaluation["sampled"]
    np.testing.assert_array_equal(run.policy.evaluate(20, plain, seed=0), own.returns)
    assert all(cost > 0 for cost in own.costs)
    bound = 10.0  # of a return without the penalty
    assert min(own.returns) > -bound
    assert min(episode.return_ for episode in run.episodes) < -bound
    assert min(episode.return_ for episode in run.evaluations) > -bound
    nominal = PPO(**SMALL).train(plain, 0, 256, compile="never", evaluations=())
    assert [e.length for e in nominal.episodes] == [e.length for e in run.episodes]
    assert min(episode.return_ for episode in nominal.episodes) > -bound


# ---------------------------------------------------------------------------------------------- evaluation


@pytest.fixture(scope="module")
def trained():
    task = Task("InvertedPendulum-v5", max_episode_steps=100)
    return task, PPO(**SMALL).train(task, 3, 2_048, compile="never")


def test_at_the_nominal_size_the_evaluation_is_the_run_s_own_to_the_bit(trained):
    task, run = trained
    found = evaluate_changed(run.policy, task, {name: [of.nominal] for name, of in CHANGES.items()}, 3)
    assert [(entry["change"], entry["size"]) for entry in found] == [(name, of.nominal) for name, of in CHANGES.items()]
    for entry in found:
        assert entry["returns"] == run.evaluation["sampled"].returns


def test_a_change_of_any_kind_that_matters_gives_other_returns(trained):
    task, run = trained
    found = evaluate_changed(run.policy, task, {"mass": [4.0], "gear": [0.25], "delay": [2.0], "noise": [0.3]}, 3)
    for entry in found:
        assert entry["returns"] != run.evaluation["sampled"].returns
    model_only = evaluate_changed(run.policy, task, {"friction": [2.0]}, 3)  # nothing of the pendulum touches anything
    assert model_only[0]["returns"] == run.evaluation["sampled"].returns


class Fragile(gymnasium.Wrapper):
    """Gives no number where the model is not the nominal one."""

    def step(self, action):
        observation, reward, *rest = self.env.step(action)
        return observation, reward if self.env.unwrapped.model.actuator_gear[0, 0] == 100 else np.nan, *rest


def test_a_changed_task_without_usable_numbers_is_recorded_with_the_reason(trained):
    task, run = trained
    fragile = replace(task, wrappers=({"wrapper": "tests.test_reality_gap:Fragile"},))
    [entry] = evaluate_changed(run.policy, fragile, {"gear": [2.0]}, 3)
    assert entry["returns"] is None
    assert entry["because"] == "the task gave NaN as reward at step 1 of the evaluation with sampled actions"


# ---------------------------------------------------------------------------------------------- grids


def grid_file(folder, task="InvertedPendulum-v5", perturbations=None, entry=None, **sections):
    entry = {"steps": 128, "random_score": 0, "reference_score": 100, "reference_source": "a test"} | (entry or {})
    entry = {"max_episode_steps": 50} | entry if task != "CartPole-v1" else entry
    content = {
        "seeds": [100],
        "tasks": {task: entry},
        "algorithms": {"ppo": {"settings": SMALL}},
        "compile": "never",
        "claims": [],
        **({} if perturbations is None else {"perturbations": perturbations}),
        **sections,
    }
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    return str(path)


@pytest.mark.parametrize(
    ("perturbations", "said"),
    [
        ({"weight": [2]}, "perturbations of the grid has 'weight'"),
        ({"mass": [0]}, "mass in perturbations of the grid must be a factor above 0, not 0"),
        ({"mass": [-1.5]}, "mass in perturbations of the grid must be a factor above 0, not -1.5"),
        ({"gear": ["much"]}, "gear in perturbations of the grid must be a factor above 0, not 'much'"),
        ({"friction": [float("nan")]}, "friction in perturbations of the grid must be a factor above 0, not nan"),
        ({"delay": [-1]}, "delay in perturbations of the grid must be a whole number of steps from 0, not -1"),
        ({"delay": [1.5]}, "delay in perturbations of the grid must be a whole number of steps from 0, not 1.5"),
        ({"delay": [True]}, "delay in perturbations of the grid must be a whole number of steps from 0, not True"),
        ({"noise": [-0.1]}, "noise in perturbations of the grid must be a standard deviation from 0, not -0.1"),
        ({"mass": 2}, "mass in perturbations of the grid must be a list of sizes, not 2"),
        ({"mass": []}, "mass in perturbations of the grid must be a list of sizes, not []"),
        ({"mass": [2, 2.0]}, "mass in perturbations of the grid lists 2 twice"),
        ([2], "perturbations of the grid must be a mapping whose keys are text, not [2]"),
    ],
)
def test_a_mistake_in_perturbations_is_a_sentence_when_the_grid_is_read(tmp_path, perturbations, said):
    with pytest.raises(GridError) as error:
        load_grid(grid_file(tmp_path, perturbations=perturbations))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("task", "change", "said"),
    [
        ("CartPole-v1", {"gear": [2]}, "of task CartPole-v1 gear is of a MuJoCo model, and it has none"),
        ("CartPole-v1", {"mass": [2]}, "of task CartPole-v1 mass is of a MuJoCo model, and it has none"),
        ("FrozenLake-v1", {"noise": [1]}, "noise is for observations in a Box of floats"),
    ],
)
def test_a_change_that_a_task_cannot_have_is_a_sentence_that_names_it(tmp_path, task, change, said):
    with pytest.raises(GridError) as error:
        load_grid(grid_file(tmp_path, task, change))
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("wrappers", "said"),
    [
        ([{"wrapper": CHANGED, "mass": 0}], "mass must be a factor above 0, or [low, high] of two of them, not 0"),
        ([{"wrapper": CHANGED, "mass": [2, 1]}], "mass must be a factor above 0, or [low, high] of two of them"),
        ([{"wrapper": CHANGED, "delay": [0, 1.5]}], "delay must be a whole number of steps from 0, or [low, high]"),
        ([{"wrapper": CHANGED, "weight": 2}], "there is no change 'weight'; there are mass, friction"),
        ([{"wrapper": RESTLESS, "penalty": -1}], "penalty must be a number from 0, not -1"),
        ([{"wrapper": "experiments.tasks.changes:Nothing"}], "experiments.tasks.changes has no wrapper 'Nothing'"),
        ([{"wrapper": "no_such_module:Nothing"}], "No module named 'no_such_module'"),
        ([{"mass": 2}], "training_wrappers of task InvertedPendulum-v5 must be a list of mappings with wrapper"),
        (
            [{"wrapper": "gymnasium.wrappers:TimeAwareObservation"}],
            "has training_wrappers that change its spaces; what is learned has to act without them",
        ),
    ],
)
def test_wrappers_that_cannot_be_are_a_sentence_when_the_grid_is_read(tmp_path, wrappers, said):
    with pytest.raises(GridError) as error:
        load_grid(grid_file(tmp_path, entry={"training_wrappers": wrappers}))
    assert said in str(error.value)


def test_perturbations_and_wrappers_determine_cells_and_are_absent_where_a_grid_has_none(tmp_path):
    def determined(**arguments):
        grid = load_grid(grid_file(tmp_path, **arguments))
        found = what_determines(grid, grid.cells()[0])
        return grid, found, set(found.files)

    grid, plain, files = determined()
    assert "perturbations" not in plain.parameter
    assert not {"experiments/robustness.py", "experiments/tasks/changes.py"} & files
    assert (
        grid.manifest()["tasks"]["InvertedPendulum-v5"]
        .keys()
        .isdisjoint({"perturbations", "wrappers", "training_wrappers"})
    )
    grid, asked, files = determined(perturbations={"mass": [2, 0.5]})
    assert asked.parameter != plain.parameter
    assert {"experiments/robustness.py", "experiments/tasks/changes.py"} <= files
    manifest = grid.manifest()["tasks"]["InvertedPendulum-v5"]
    assert manifest["perturbations"] == {"mass": {"nominal": 1.0, "sizes": [0.5, 2.0]}}
    assert json.loads(json.dumps(manifest)) == manifest
    _, own, _ = determined(perturbations={"mass": [2]}, entry={"perturbations": {}})
    assert own.parameter == plain.parameter
    grid, wrapped, files = determined(entry={"training_wrappers": [{"wrapper": CHANGED, "mass": [0.5, 2]}]})
    assert wrapped.parameter != plain.parameter
    assert "experiments/tasks/changes.py" in files
    assert grid.manifest()["tasks"]["InvertedPendulum-v5"]["training_wrappers"] == [
        {"wrapper": CHANGED, "mass": [0.5, 2]}
    ]


def test_a_run_records_its_returns_under_changes(tmp_path, monkeypatch):
    path = grid_file(tmp_path, perturbations={"mass": [1, 3], "delay": [1]})
    cell = ["--algorithm", "ppo", "--task", "InvertedPendulum-v5", "--seed", "100"]
    run.main(["--grid", path, *cell, "--output", str(tmp_path / "run")])
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    found = {(entry["change"], entry["size"]): entry["returns"] for entry in record["perturbed"]}
    assert list(found) == [("mass", 1.0), ("mass", 3.0), ("delay", 1.0)]
    assert found["mass", 1.0] == record["evaluation"]["sampled"]["returns"]
    heavy = Task("InvertedPendulum-v5", max_episode_steps=50, wrappers=({"wrapper": CHANGED, "mass": 3},))
    np.testing.assert_array_equal(load_policy(tmp_path / "run").evaluate(20, heavy, seed=100), found["mass", 3.0])


def test_the_grid_differs_in_training_alone_and_its_claims_are_about_changes_that_it_evaluates(tmp_path):
    grid = load_grid("reality_gap")
    for name in ("pendulum", "double", "hopper"):
        nominal, *others = (grid.tasks[f"{name}{kind}"] for kind in ("", "_randomised", "_penalised"))
        for other in others:
            assert replace(other.task, name=name, training_wrappers=()) == nominal.task
            assert replace(other, task=nominal.task) == nominal
    own = [claim for claim in grid.claims if claim.file.endswith("reality_gap.yaml")]
    assert all(side.tasks for claim in own for comparison in claim.comparisons for side in comparison.sides)
    cell = ["--grid", "reality_gap", "--algorithm", "ppo", "--task", "double_randomised", "--seed", "100"]
    run.main([*cell, "--steps", "256", "--output", str(tmp_path / "run")])
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert len(record["perturbed"]) == 12
    assert record["task_code"].keys() >= {"gymnasium", "experiments.tasks.changes"}
    assert all(np.isfinite(entry["returns"]).all() for entry in record["perturbed"])


def test_unsupported_actions_are_refused():
    with pytest.raises(UnsupportedTask, match="Restless is for actions in a Box"):
        make_env(Task("CartPole-v1", wrappers=({"wrapper": RESTLESS},)))
