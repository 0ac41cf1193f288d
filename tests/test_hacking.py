"""Rewards that are a proxy: true returns in runs, files, claims and on the page; tasks whose reward can be gamed."""

import gymnasium
import numpy as np
import pandas as pd
import pytest
from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv
from gymnasium.spaces import Box, Discrete

from algorithms.core.algorithm import InvalidAlgorithm
from algorithms.core.evaluation import finish_open_episodes
from algorithms.core.rollout import collect
from algorithms.core.run_check import checked_run
from algorithms.core.task import Task, UnsupportedTask, make_env
from algorithms.core.vector_env import VectorEnv
from algorithms.ppo import PPO
from analysis.reading.grid import read_grid
from analysis.reading.runs import open_episodes, read_episodes
from analysis.sections import hacking
from analysis.sections.hacking import figures, sentences
from experiments.checks import GridError
from experiments.claims import read_claims
from experiments.grid import load_grid
from experiments.record import outcome, write_run
from experiments.tasks.boat_race import STEPS, BoatRace
from experiments.tasks.foot_speed import FootSpeed
from tests.analysis_fixtures import HOPPER, claim, comparison, section_tables, write_grid
from tests.tasks import make_learner
from tests.test_claim_verdicts import grid_of, only, tables


class Proxy(gymnasium.Env):
    """Four steps, or endless ones; each pays 1, and in truth minus its number. `given` makes the info of a step."""

    observation_space, action_space = Box(0, 1, (1,), np.float32), Discrete(2)

    def __init__(self, given=None, ends=True):
        self.given, self.ends, self.number = given, ends, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.number = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.number += 1
        info = {"true_reward": -float(self.number)} if self.given is None else self.given(self.number)
        return np.zeros(1, np.float32), 1.0, self.ends and self.number == 4, False, info


gymnasium.register("Proxy-v0", Proxy)
PROXY = Task("Proxy-v0")
SMALL = PPO(num_envs=2, rollout_length=8, epochs=1, minibatch_size=16)


def of(given, **further):
    return Task("Proxy-v0", kwargs={"given": given, **further})


# ------------------------------------------------------------------------------------- true returns of a run


def test_true_returns_are_beside_the_returns_of_episodes_of_evaluations_and_of_those_left_open():
    run = SMALL.train(PROXY, 0, 51, compile="never")  # ceil(51 / 2) = 26 steps each: six episodes, and half of one
    assert [episode.return_ for episode in run.episodes] == [4.0] * 12
    assert [episode.length for episode in run.open_episodes] == [4, 4]
    assert run.true_returns == [-10.0] * 14
    for evaluation in run.evaluation.values():
        assert evaluation.true_returns == [-10.0] * 20
    assert run.to_pandas()["true_return"].tolist() == [-10.0] * 12
    assert outcome(run)["evaluation"]["mode"]["true_returns"] == [-10.0] * 20
    assert not any("true" in name for row in run.updates for name in row)  # nothing that learns has seen them


def test_an_episode_without_a_time_limit_that_is_cut_has_its_true_return_until_then():
    envs, learner, rng = make_learner(SMALL, of(None, ends=False))
    envs.limit_episodes(100)
    collect(envs, learner.policy, learner.normalizer, rng, steps=3)
    episodes, true_returns = finish_open_episodes(envs, learner, rng, 5, lambda what, steps, episodes: None)
    assert [episode.length for episode in episodes] == [5, 5]
    assert true_returns == [-15.0] * 2
    assert envs.true_returns.tolist() == [0.0] * 2  # of the episodes that have begun since
    _, true_returns = finish_open_episodes(envs, learner, rng, 5, lambda what, steps, episodes: None)
    assert true_returns == []  # for none is open


def test_true_returns_of_variants_are_in_the_order_of_their_returns():
    task = Task("Proxy-v0", variants=({}, {"given": half}))
    run = SMALL.train(task, 0, 16, compile="never")
    assert run.evaluation["mode"].true_returns == [-10.0, 2.0] * 10


def half(number):
    return {"true_reward": np.float32(0.5)}


def test_a_task_that_reports_no_true_reward_has_none():
    run = SMALL.train(Task("CartPole-v1"), 0, 64, compile="never")
    assert run.true_returns == run.evaluation["sampled"].true_returns == []
    assert set(outcome(run)["evaluation"]["sampled"]) == {"returns", "lengths"}
    assert list(run.to_pandas()) == ["step", "return", "length", "start"]


def test_the_files_of_a_run_hold_its_true_returns_and_are_read_with_them(tmp_path):
    for name, task in (("proxy", PROXY), ("plain", Task("CartPole-v1"))):
        run = SMALL.train(task, 0, 51, compile="never")
        write_run(tmp_path / name, run, {})
        about = outcome(run)
        episodes, opened = read_episodes(tmp_path / name, about), open_episodes(about)
        if name == "proxy":
            assert episodes["true_return"].tolist() + opened["true_return"].tolist() == run.true_returns
        else:
            assert "true_return" not in {*episodes, *opened}
        assert len(episodes) == len(run.episodes)


def now_and_then(number):
    return {"true_reward": 1.0} if number % 2 else {}


def later(number):
    return {} if number < 3 else {"true_reward": 1.0}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (now_and_then, r"gives info\['true_reward'\] at some steps and not at others; it must give them at every step"),
        (later, r"gives info\['true_reward'\] at some steps and not at others"),
        (lambda number: {"true_reward": "1"}, r"gives info\['true_reward'\] = '1', which is not a number"),
        (lambda number: {"true_reward": None}, r"gives info\['true_reward'\] = None, which is not a number"),
        (lambda number: {"true_reward": [1.0, 2.0]}, r"gives info\['true_reward'\] = \[1.0, 2.0\], which is not a"),
    ],
)
def test_a_true_reward_that_is_missing_or_no_number_is_a_sentence(given, said):
    with pytest.raises(UnsupportedTask, match=rf"^task 'Proxy-v0' {said}") as error:
        SMALL.train(of(given), 0, 64, compile="never")
    assert "\n" not in str(error.value)


def test_a_true_reward_that_is_not_finite_stops_the_run():
    run = SMALL.train(of(lambda number: {"true_reward": np.nan if number == 3 else 1.0}), 0, 64, compile="never")
    assert run.status == "stopped by its task"
    assert run.diverged_because == "the task gave NaN as true reward at step 5"
    summed = SMALL.train(of(lambda number: {"true_reward": 2e38}), 0, 64, compile="never")
    assert summed.diverged_because.startswith("the task gave true rewards whose sum over an episode is 4e+38 at step")


def test_true_returns_of_a_library_are_as_many_as_its_episodes():
    run = SMALL.train(PROXY, 0, 51, compile="never")
    assert checked_run(run, SMALL, PROXY).true_returns == run.true_returns
    run.true_returns.pop()
    with pytest.raises(InvalidAlgorithm, match="a Run with 13 true_returns; expected are 14, one for each episode"):
        checked_run(run, SMALL, PROXY)


def test_environments_that_go_on_from_a_snapshot_have_the_true_returns_until_there():
    envs = VectorEnv(Task("Pendulum-v1"), 2, np.random.SeedSequence(0))
    envs.true_returns[:] = 1.0, 2.0
    envs.episode_true_returns.append(3.0)
    kept = envs.snapshot()
    again = VectorEnv(Task("Pendulum-v1"), 2, np.random.SeedSequence(1))
    again.restore(kept, [])
    assert (again.true_returns.tolist(), again.episode_true_returns) == ([1.0, 2.0], [3.0])


# ------------------------------------------------------------------------------------- the boat race


def steps_from_each_place(side, observes="tile"):
    """Of each place and action of the task, by trying them: the next place, the reward and the true reward."""
    env = BoatRace(side, observes)
    found = np.zeros((4 * (side - 1), 4, 3))
    for place in range(len(found)):
        for action in range(4):
            env.reset()
            env.place = place
            _, reward, *_, info = env.step(action)
            found[place, action] = env.place, reward, info["true_reward"]
    return found


def best_returns(side, proxy, true):
    """The proxy and true return from the first place of a policy that maximises proxy · reward + true · true reward, by
    dynamic programming over the steps that are left.
    """
    found = steps_from_each_place(side)
    following, places = found[..., 0].astype(int), np.arange(len(found))
    worth, returns = np.zeros(len(found)), np.zeros((len(found), 2))
    for _ in range(STEPS):
        of_actions = found[..., 1:] @ (proxy, true) + worth[following]
        best = of_actions.argmax(1)
        worth = of_actions.max(1)
        returns = found[places, best, 1:] + returns[following[places, best]]
    return tuple(returns[0])


@pytest.mark.parametrize(
    ("side", "laps", "fewest"),
    [(3, 50, 0), (4, 2, 0), (5, -25, 2)],
)
def test_the_best_true_policy_does_laps_and_the_best_proxy_policy_may_go_to_and_fro(side, laps, fewest):
    """Returns in 100 steps. A share of a thousandth decides among policies that are equally good by the proxy."""
    assert best_returns(side, 0, 1) == (laps, 100)
    assert best_returns(side, 1, -1e-3) == (50, fewest)  # no lap
    most = best_returns(side, 1, 1e-3)[1]
    assert most == 100 if side == 3 else most <= 4  # as published, laps are as good


def test_random_actions_have_the_random_scores_of_the_grid_and_no_true_return_in_expectation():
    tasks = load_grid("reward_hacking").tasks
    for name in ("race", "long_race", "long_race_by_position"):
        side = tasks[name].task.kwargs.get("side", 3)
        found, at = steps_from_each_place(side), np.eye(4 * (side - 1))[0]
        returns = np.zeros(2)
        for _ in range(STEPS):
            returns += at @ found[..., 1:].mean(1)
            following = np.zeros(len(at))
            np.add.at(following, found[..., 0].astype(int), np.repeat(at[:, None] / 4, 4, axis=1))
            at = following
        assert returns == pytest.approx([tasks[name].random_score, 0], abs=0.05)
        assert tasks[name].reference_score == best_returns(side, 1, 0)[0]


def test_the_boat_enters_arrows_in_their_direction_alone_and_sees_where_it_is():
    env = BoatRace()
    env.reset(seed=0)
    to_and_fro = [(0, 1, 2, 1), (2, 0, -1, -1), (2, 0, -1, 0)]
    for action, place, reward, true in (*to_and_fro, (1, 7, -1, -1), (3, 0, -1, 1), (0, 1, 2, 1), (0, 2, -1, 1)):
        observation, given, *ends, info = env.step(action)
        assert (observation, given, info["true_reward"]) == (place, reward, true)
        assert ends == [False, False]
    for side in (3, 5):
        env = BoatRace(side, "position")
        seen = [env.reset()[0], *(env.step(action)[0] for action in (0, 1, 2, 3) for _ in range(side - 1))]
        assert [x.tolist() for x in seen[:: side - 1]] == [[-1, -1], [-1, 1], [1, 1], [1, -1], [-1, -1]]
        assert len({tuple(x) for x in seen}) == 4 * (side - 1)
    np.testing.assert_array_equal(steps_from_each_place(5), steps_from_each_place(5, "position"))


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"side": 2}, "side must be a whole number from 3, not 2"),
        ({"observes": "board"}, "observes must be tile or position, not 'board'"),
    ],
)
def test_a_race_that_cannot_be_is_a_sentence(kwargs, said):
    with pytest.raises(UnsupportedTask, match=said):
        make_env(Task("experiments.tasks.boat_race:BoatRace-v0", kwargs=kwargs))


# ------------------------------------------------------------------------------------- the speed of a foot


def test_the_foots_speed_is_the_reward_of_a_half_cheetah_and_running_upright_the_true_one():
    env, same = FootSpeed(), HalfCheetahEnv()
    np.testing.assert_array_equal(env.reset(seed=1)[0], same.reset(seed=1)[0])
    env.action_space.seed(1)
    upright = []
    for _ in range(400):
        action = env.action_space.sample()
        before = same.data.body("ffoot").xpos.copy()
        observation, reward, *ends, info = env.step(action)
        wanted, its_reward, *its_ends, about = same.step(action)
        np.testing.assert_array_equal(observation, wanted)
        assert ends == its_ends
        moved = same.data.body("ffoot").xpos - before
        assert reward == pytest.approx(np.sqrt((moved**2).sum()) / 0.05)
        angle = (wanted[1] + np.pi) % (2 * np.pi) - np.pi
        assert info.pop("true_reward") == pytest.approx(its_reward + (abs(angle) < 1))
        assert info == about
        upright.append(abs(angle) < 1)
    assert len(set(upright)) == 2


# ------------------------------------------------------------------------------------- claims and the page

TEN = range(10)


def of_truth(folder, stated, true_return=0.0, drop=0.0, status="done"):
    """The tables of a comparison on one task, where runs of PPO end with these true returns, after such a drop."""
    grid = grid_of(folder, claim("a", stated), tasks={"A-v0": HOPPER}, algorithms=("ppo",), seeds=TEN)
    apart, at = 0.01 * (np.arange(10) - 4.5), ("A-v0", "ppo")
    curves = pd.DataFrame(
        [
            {"task": "A-v0", "algorithm": "ppo", "seed": seed, "step": step, "moving_average": value}
            for seed in TEN
            for step, value in enumerate((0.0, drop + apart[seed], 0.0))
        ]
    )
    columns = {"true_return": {at: true_return + apart}, "status": {at: [status] * 10}}
    return tables(grid, {at: 0.5 + apart}, true_curves=curves, **columns)


@pytest.mark.parametrize(
    ("value", "verdict"), [(10.0, "supported"), (40.0, "contradicted"), (np.nan, "cannot be tested")]
)
def test_a_true_return_is_held_against_a_number_where_the_task_reports_one(tmp_path, value, verdict):
    stated = comparison("true_return", "ppo", direction="lower", than=30, smallest_effect=5, tasks=["A-v0"])
    made = of_truth(tmp_path, stated, true_return=value)
    assert only(made)["verdict"] == verdict
    if np.isnan(value):
        assert made["claim_tasks"]["note"].tolist() == ["no true returns of PPO"]
    else:
        assert only(made)["effect"] == pytest.approx(value)


@pytest.mark.parametrize(
    ("drop", "status", "verdict"),
    [
        (10.0, "done", "supported"),
        (3.0, "done", "contradicted"),
        (10.0, "diverged", "cannot be tested"),
    ],
)
def test_a_true_drop_is_that_from_the_highest_point_to_the_end(tmp_path, drop, status, verdict):
    stated = comparison("true_drop", "ppo", direction="higher", smallest_effect=5, tasks=["A-v0"])
    assert only(of_truth(tmp_path, stated, drop=drop, status=status))["verdict"] == verdict


@pytest.mark.parametrize("tasks", ["", "tasks: [a, b]"])
def test_true_returns_of_several_tasks_are_refused_in_one_comparison(tmp_path, tasks):
    about = f"metric: true_drop\n      sides: [ppo]\n      direction: higher\n      smallest_effect: 1\n      {tasks}\n"
    (tmp_path / "c.yaml").write_text(f"c:\n  statement: s\n  source: t\n  comparisons:\n    - {about}")
    with pytest.raises(GridError, match="no common number; let tasks name one task"):
        read_claims(tmp_path / "c.yaml", "c.yaml")


def test_the_page_has_the_true_return_of_every_run_and_where_it_was_highest(tmp_path):
    write_grid(tmp_path, algorithms=("ppo",), tasks={"A-v0": HOPPER, "B-v0": HOPPER})
    about = read_grid(tmp_path)
    runs = []
    for cell in about.cells:
        true = {"true_return": [3.0, 9.0, 6.0, 0.0]} if cell["task"] == "A-v0" else {}
        quarter = cell["steps"] // 4
        ends = np.arange(1, 5) * quarter
        folder = tmp_path / cell["directory"]
        folder.mkdir(parents=True)
        table = pd.DataFrame({"step": ends, "return": [1.0, 2.0, 3.0, 4.0], "length": 1, "start": ends - quarter})
        table.assign(**true).to_csv(folder / "episodes.csv", index=False)
        runs.append((cell, {"status": "done", "episodes": 4, "steps_taken": cell["steps"]}))
    made = section_tables("hacking", grid=about, runs=runs)
    curves = made["true_curves"]
    assert set(curves["task"]) == {"A-v0"}
    assert len(curves) == 2 * 100
    assert sorted(set(curves["true_return"])) == [0, 3, 6, 9]
    (peak,) = made["true_peaks"].to_dict("records")
    steps = HOPPER["steps"]
    found = [peak[name] for name in ("n", "peak_step", "peak_true", "peak_proxy", "end_true", "end_proxy")]
    assert found == [2, pytest.approx(0.3 * steps), 9, 2, 0, 4]  # 0.3: the first at which all five points are of 9
    (said,) = sentences.page(about, made["true_peaks"])["sentences"]
    assert said == (
        f"PPO on A-v0: the true return is highest, 9.00, at {0.3 * steps:,.0f} steps, where the proxy is 2.00; at the "
        "end it is 0.00, and the proxy 4.00."
    )
    learned = curves.rename(columns={"true_return": "return"})
    means = made["true_intervals"]
    figure = figures.proxy_and_true(about, curves, means, learned, means)
    left, middle, right = figure.axes
    assert [len(axes.lines) for axes in (left, middle, right)] == [3, 3, 1]  # two runs and their mean
    assert right.lines[0].get_ydata()[-1] == 0
    assert middle.lines[0].get_ydata().max() == 9


def test_the_page_leaves_true_returns_out_where_no_task_reports_any(tmp_path):
    write_grid(tmp_path)
    about = read_grid(tmp_path)
    empty = {name: section_tables("hacking", grid=about, runs=[])[name] for name in hacking.TABLES}
    assert sentences.page(about, empty["true_peaks"]) is None
    drawn = figures.proxy_and_true(about, empty["true_curves"], empty["true_intervals"], pd.DataFrame(), pd.DataFrame())
    assert drawn.axes[0].texts[0].get_text() == "no task of this grid reports a true reward"
