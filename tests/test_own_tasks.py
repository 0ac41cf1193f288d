"""The tasks of experiments/tasks: Gymnasium's interface, and their dynamics against closed forms."""

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.classic_control.cartpole import CartPoleEnv
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.utils.env_checker import check_env

from algorithms.core.task import Task, make_env
from experiments.random_score import random_returns
from experiments.task_check import try_task
from experiments.tasks.boat_race import OBSERVED
from experiments.tasks.dials import DIALS
from experiments.tasks.game import MOVES, ROUNDS, Game, payoffs
from experiments.tasks.hover import Hover
from experiments.tasks.hp_folding import HPFolding, HPFoldingPivot
from experiments.tasks.locks import LOCKS, SIZES, Locks
from experiments.tasks.symbolic_regression import SymbolicRegression
from experiments.tasks.traffic import SIZES as GRIDS

TASKS = [
    *(Task(f"experiments.tasks.locks:Locks{n}-v0", kwargs=kwargs) for n in SIZES for kwargs in ({}, {"penalty": 0.1})),
    Task("experiments.tasks.gamble:Gamble-v0"),
    Task("experiments.tasks.driving:Driving-v0"),
    *(Task("experiments.tasks.hover:Hover-v0", kwargs=kwargs) for kwargs in ({}, {"rare_reward": 0.0})),
    *(Task(f"experiments.tasks.game:RockPaperScissors{m}-v0") for m in MOVES),
    Task("experiments.tasks.autoscaling:Autoscaling-v0"),
    *(Task("experiments.tasks.boat_race:BoatRace-v0", kwargs={"observes": of}) for of in OBSERVED),
    Task("experiments.tasks.foot_speed:FootSpeed-v0"),
    *(Task("experiments.tasks.poles:Poles-v0", kwargs=kwargs) for kwargs in ({}, {"ends": False})),
    Task("experiments.tasks.symbolic_regression:SymbolicRegression-v0"),
    *(Task(f"experiments.tasks.hp_folding:HPFolding{moves}-v0") for moves in ("", "Pivot")),
    *(Task(f"experiments.tasks.velocity:{name}Velocity-v0") for name in ("HalfCheetah", "Hopper")),
    *(Task(f"experiments.tasks.dials:Dials{k}-v0", joint_actions=joint) for k in DIALS for joint in (False, True)),
    *(
        Task(f"experiments.tasks.traffic:Traffic{rows}x{columns}-v0", kwargs=kwargs)
        for rows, columns in GRIDS
        for kwargs in ({}, {"part_rewards": "difference"})
    ),
]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: f"{task.id.partition(':')[2]}{dict(task.kwargs) or ''}")
def test_each_task_has_gymnasiums_interface_and_can_be_stepped(task):
    with warnings.catch_warnings(action="error"):
        try_task(task)
    env = make_env(task).unwrapped
    if isinstance(env, (HPFolding, HPFoldingPivot, SymbolicRegression)) or (isinstance(env, Locks) and not env.penalty):
        return  # Gymnasium's checker knows no masks
    if isinstance(env, MujocoEnv | CartPoleEnv):
        return  # whose observations have no bounds, of which the checker warns; the rest is Gymnasium's own
    with warnings.catch_warnings():
        warnings.filterwarnings("error", module="gymnasium")
        warnings.filterwarnings(
            "ignore", message=".*symmetric and normalized.*|.*not within the observation space.*spec"
        )
        check_env(env, skip_render_check=True)


def test_a_lock_takes_its_two_actions_and_the_others_are_masked_or_cost():
    masked, penalised = Locks(50), Locks(50, penalty=0.1)
    for env in (masked, penalised):
        lock, info = env.reset(seed=3)
        for _ in range(LOCKS):
            opens, other = env.valid[lock]
            if env is masked:
                assert np.flatnonzero(info["action_mask"]).tolist() == sorted([opens, other])
                with pytest.raises(ValueError, match="is not allowed at lock"):
                    env.step(next(a for a in range(50) if a not in (opens, other)))
            else:
                assert info == {}
                assert env.step(next(a for a in range(50) if a not in (opens, other)))[:2] == (lock, -0.1)
            assert env.step(other)[:2] == (lock, 0.0)
            lock, reward, _, _, info = env.step(opens)
            assert reward == 1.0
        assert lock == env.reset(seed=3)[0]  # a whole ring


@pytest.mark.parametrize("actions", SIZES)
def test_random_scores_of_the_locks_are_the_closed_forms(actions):
    name = f"experiments.tasks.locks:Locks{actions}-v0"
    assert random_returns(Task(name), 400).mean() == pytest.approx(10, abs=0.5)
    expected = 20 * (1 - (actions - 2) * 0.1) / actions
    assert random_returns(Task(name, kwargs={"penalty": 0.1}), 400).mean() == pytest.approx(expected, abs=0.25)


def test_the_payoffs_are_those_of_rock_paper_scissors_and_fair():
    assert payoffs(3).tolist() == [[0, -1, 1], [1, 0, -1], [-1, 1, 0]]  # rock, paper, scissors
    for moves in MOVES:
        assert (payoffs(moves) == -payoffs(moves).T).all()
        assert (payoffs(moves).sum(0) == 0).all()


@pytest.mark.parametrize("moves", MOVES)
def test_the_uniform_policy_has_the_value_0_and_a_fixed_move_loses_all_rounds_but_the_first(moves):
    task = Task(f"experiments.tasks.game:RockPaperScissors{moves}-v0")
    returns = random_returns(task, 400)
    assert abs(returns.mean()) < 4 * returns.std() / np.sqrt(400)
    env = make_env(task)
    for seed in range(5):
        env.reset(seed=seed)
        rewards = [env.step(1)[1] for _ in range(ROUNDS)]
        assert rewards[1:] == [-1.0] * (ROUNDS - 1)


def test_the_value_of_any_answer_to_the_uniform_policy_is_exactly_0():
    for moves in MOVES:
        np.testing.assert_array_equal(np.full(moves, 1 / moves) @ payoffs(moves), np.zeros(moves))


def test_the_opponent_answers_the_most_frequent_move_and_forgets_at_a_reset():
    env = Game(3)
    env.reset(seed=0)
    env.counts[:] = [5, 1, 1]
    assert env.step(1)[1] == 0.0  # paper against the paper that beats rock
    env.reset()
    assert env.counts.tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="odd number from 3, not 4"):
        Game(4)


def test_hovering_is_the_recursion_of_a_double_integrator():
    env = Hover(rare_reward=0.0, probability=0.0)
    env.reset(seed=1)
    x, v = env.position, 0.0
    for action in (1.0, 1.0, -1.0, 0.5):
        v += 0.1 * action
        x += 0.1 * v
        observation, reward, *_ = env.step(np.array([action], np.float32))
        np.testing.assert_allclose(observation, [x, v], rtol=1e-6)
        assert reward == pytest.approx(1 - abs(x))
    for _ in range(100):
        observation, reward, *_ = env.step(np.array([1.0], np.float32))
    assert observation[0] == 2.0
    assert reward == -1.0


def test_the_rare_reward_changes_rewards_alone_and_comes_as_often_as_it_says():
    plain, rare = Hover(rare_reward=0.0, probability=0.01), Hover(probability=0.01)
    for env in (plain, rare):
        env.reset(seed=4)
    rewards = []
    for _ in range(20_000):
        a, b = (env.step(np.array([0.0], np.float32)) for env in (plain, rare))
        np.testing.assert_array_equal(a[0], b[0])
        assert (a[1] == b[1]) or (a[1], b[1]) == (0.0, -1000.0)
        rewards.append(b[1])
    assert np.mean(np.array(rewards) == -1000.0) == pytest.approx(0.01, abs=0.003)


@pytest.mark.parametrize("dials", DIALS)
def test_random_dials_are_right_a_third_of_the_time_and_the_best_return_is_10(dials):
    name = f"experiments.tasks.dials:Dials{dials}-v0"
    for joint in (False, True):
        assert random_returns(Task(name, joint_actions=joint), 400).mean() == pytest.approx(10 / 3, abs=0.25)
    env = gymnasium.make(name)
    shown, _ = env.reset(seed=0)
    for _ in range(10):
        shown, reward, _, _, _ = env.step((shown + 1) % 3)
        assert reward == 1.0
