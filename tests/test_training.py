"""train(): a run is a function of its arguments, uses its budget, and says so when it diverges."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from algorithms.a2c import A2C
from algorithms.core.compiled import STEPS_THAT_REPAY_COMPILING
from algorithms.core.evaluation import evaluate
from algorithms.core.on_policy import Learner
from algorithms.core.run import RECORDED_ROWS, UpdateTable
from algorithms.core.task import Task
from algorithms.ppo import PPO
from algorithms.reinforce import Reinforce
from tests.tasks import ALGORITHMS, IN_ALL_SPACES, make_learner, needs_compiler

SMALL = {
    "ppo": PPO(num_envs=4, rollout_length=32, minibatch_size=32, epochs=2),
    "reinforce": Reinforce(num_envs=4, rollout_length=2),
}
EVERYTHING = Task("BoxRandomEnding-v0", normalize_observations=True, normalize_rewards=True)


def same(first, second):
    assert first.episodes == second.episodes
    assert first.updates == second.updates
    assert first.evaluation == second.evaluation
    assert (first.steps_taken, first.updates_made) == (second.steps_taken, second.updates_made)
    for a, b in zip(first.checkpoints, second.checkpoints, strict=True):
        assert (a.fraction, a.step, a.state.keys()) == (b.fraction, b.step, b.state.keys())
        for name in a.state:
            np.testing.assert_array_equal(a.state[name], b.state[name])


@pytest.mark.parametrize("name", IN_ALL_SPACES)
def test_the_same_arguments_give_the_same_run(name):
    algorithm = SMALL.get(name) or ALGORITHMS[name]()
    runs = []
    for disturbance in (0, 1):  # global generators belong to nobody
        torch.manual_seed(disturbance)
        np.random.seed(disturbance)  # noqa: NPY002
        runs.append(algorithm.train(EVERYTHING, 5, 600, checkpoint_fractions=(0, 0.5, 1), compile="never"))
    assert runs[0].episodes
    assert runs[0].updates
    same(*runs)


@needs_compiler
def test_a_compiled_run_does_not_depend_on_what_its_process_compiled_before():
    algorithm = SMALL["ppo"]
    other = replace(algorithm, clip=0.3, entropy_coefficient=0.02, max_grad_norm=0.7, adam_epsilon=1e-7)

    def compiled(algorithm):
        run = algorithm.train(EVERYTHING, 5, 256, checkpoint_fractions=(1,), compile="always")
        assert run.compiled
        return run

    first = compiled(algorithm)
    changed = compiled(other)
    same(first, compiled(algorithm))
    assert changed.updates[0]["policy_loss"] != first.updates[0]["policy_loss"]


def test_another_seed_gives_another_run():
    first, second = (
        SMALL["ppo"].train(EVERYTHING, seed, 600, checkpoint_fractions=(0, 1), compile="never") for seed in (0, 1)
    )
    assert first.episodes[:5] != second.episodes[:5]
    assert first.evaluation != second.evaluation
    for a, b in zip(first.checkpoints, second.checkpoints, strict=True):
        assert (a.state["policy/network.0.weight"] != b.state["policy/network.0.weight"]).mean() > 0.9


def test_the_step_budget_is_used_to_within_a_step_of_each_environment():
    for steps in (1, 127, 128, 129, 600):
        run = SMALL["ppo"].train(Task("Match-v0"), 0, steps, compile="never")
        assert steps <= run.steps_taken < steps + 4
        assert run.updates_made == -(-steps // 128)


def test_whole_episodes_are_finished_and_every_one_is_counted():
    run = SMALL["reinforce"].train(Task("RandomEnding-v0"), 0, 500, compile="never")
    assert run.steps_taken >= 500
    assert len(run.episodes) == run.updates_made * 4 * 2
    assert sum(e.length for e in run.episodes) == run.steps_taken == run.episodes[-1].step
    last_rollout = sum(e.length for e in run.episodes[-8:])
    assert run.steps_taken - last_rollout < 500


def test_recorded_returns_are_raw_and_steps_ascend():
    task = Task("Terminating-v0", normalize_observations=True, normalize_rewards=True)
    run = SMALL["ppo"].train(task, 0, 512, compile="never")
    assert {(e.return_, e.length) for e in run.episodes} == {(1.0 + 2 + 3 + 4, 4)}
    assert run.evaluation["sampled"].returns == run.evaluation["mode"].returns == [10.0] * 20
    steps = [e.step for e in run.episodes]
    assert steps == sorted(set(steps))
    assert len(steps) == 512 // 4


def test_checkpoints_are_taken_at_their_fractions_and_hold_the_policy_of_the_time():
    fractions = (1, 0.0, 0.5, 0.25)
    algorithm = replace(SMALL["ppo"], anneal_learning_rate=False)  # annealing looks at the whole budget
    run = algorithm.train(EVERYTHING, 0, 1280, checkpoint_fractions=fractions, compile="never")
    assert [(c.fraction, c.step) for c in run.checkpoints] == [(0.0, 0), (0.25, 384), (0.5, 640), (1, 1280)]
    vectors = [c.state["policy/network.0.weight"] for c in run.checkpoints]
    assert all((a != b).any() for a, b in pairwise(vectors))
    assert [int(c.state["observation_statistics/count"]) for c in run.checkpoints] == [0, 384, 640, 1280]
    reached = algorithm.train(EVERYTHING, 0, 640, checkpoint_fractions=[1], compile="never")
    np.testing.assert_array_equal(reached.checkpoints[0].state["policy/network.0.weight"], vectors[2])


def test_no_checkpoints_unless_asked_for(monkeypatch):
    """And the learner's arrays are made once, for the policy that is kept at the end."""
    made, state = [], Learner.state
    monkeypatch.setattr(Learner, "state", lambda learner: made.append(None) or state(learner))
    run = SMALL["ppo"].train(Task("Match-v0"), 0, 128, compile="never")
    assert (run.checkpoints, len(made)) == ([], 1)
    assert run.policy is not None


def test_an_evaluation_is_twenty_whole_episodes_of_each_kind_and_changes_nothing():
    _, learner, _ = make_learner(PPO(), EVERYTHING, spread=100.0)
    learner.normalizer.update(np.random.default_rng(0).normal(size=(10, 2)))
    before = learner.state()
    result = evaluate(learner, EVERYTHING, np.random.SeedSequence(0))
    for kind in ("sampled", "mode"):
        assert len(result[kind].returns) == len(result[kind].lengths) == 20
        assert len(set(result[kind].returns)) == 20  # differently seeded environments
        assert max(result[kind].lengths) <= 6
    assert not set(result["sampled"].returns) & set(result["mode"].returns)
    for name, array in learner.state().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("kind", ["sampled", "mode"])
def test_a_run_ends_with_the_evaluations_asked_for_and_they_do_not_depend_on_each_other(kind):
    both, one = (
        SMALL["ppo"].train(EVERYTHING, 0, 128, compile="never", evaluations=kinds)
        for kinds in (("mode", "sampled"), (kind,))
    )
    assert list(both.evaluation) == ["sampled", "mode"]
    assert one.evaluation == {kind: both.evaluation[kind]}


def test_an_unknown_evaluation_is_refused_before_training_with_the_valid_ones():
    with pytest.raises(ValueError, match="no evaluation 'median'; valid are: sampled, mode"):
        SMALL["ppo"].train(EVERYTHING, 0, 10**12, evaluations=("sampled", "median"))


def test_the_mode_evaluation_takes_the_mode():
    """A policy that prefers the right action slightly: its mode is always right, its samples are not."""
    _, learner, _ = make_learner(PPO(), "Match-v0")
    with torch.no_grad():
        learner.policy.network[0].weight.zero_()
        learner.policy.network[0].weight[:3] = torch.eye(3)
        learner.policy.network[2].weight.zero_()
        learner.policy.network[2].weight[:3, :3] = torch.eye(3)
        learner.policy.network[4].weight.zero_()
        learner.policy.network[4].weight[:, :3] = torch.eye(3)
    result = evaluate(learner, Task("Match-v0"), np.random.SeedSequence(0))
    assert result["mode"].returns == [10.0] * 20
    assert 3 < np.mean(result["sampled"].returns) < 8


@pytest.mark.parametrize("name", ALGORITHMS)
def test_rewards_that_are_no_numbers_end_the_run_as_stopped_by_its_task(name):
    algorithm = SMALL.get(name) or ALGORITHMS[name]()
    run = algorithm.train(Task("NotANumber-v0"), 0, 4000, checkpoint_fractions=(0, 1), compile="never")
    assert run.stopped_by_task
    assert run.diverged_because == f"the task gave NaN as reward at step {run.diverged_at}"
    assert run.diverged_at == run.steps_taken < 4000
    assert run.diverged_at >= 60
    assert run.evaluation is None
    assert [c.fraction for c in run.checkpoints] == [0]


@pytest.mark.parametrize(
    ("name", "task"), [*((name, "Match-v0") for name in ALGORITHMS), *((name, "Hit-v0") for name in IN_ALL_SPACES)]
)
def test_an_absurd_learning_rate_ends_the_run_as_diverged(name, task):
    algorithm = type(SMALL.get(name) or ALGORITHMS[name]()).from_settings(
        (SMALL.get(name) or ALGORITHMS[name]()).settings() | {"policy_learning_rate": 1e38, "value_learning_rate": 1e38}
    )
    run = algorithm.train(Task(task), 0, 4000, compile="never")
    assert run.diverged_because is not None
    assert run.diverged_at == run.steps_taken < 4000
    assert run.evaluation is None


def test_a_run_that_is_fine_has_not_diverged_and_was_evaluated():
    run = SMALL["ppo"].train(Task("Match-v0"), 0, 256, compile="never")
    assert run.diverged_at is None
    assert run.diverged_because is None
    assert run.evaluation.keys() == {"sampled", "mode"}
    seconds = dict(run.seconds)
    assert seconds.pop("compiling") == 0
    assert set(seconds) == {"stepping", "acting", "learning", "training", "evaluating"}
    assert all(value > 0 for value in seconds.values())
    assert seconds["stepping"] + seconds["acting"] + seconds["learning"] < seconds["training"]


def test_the_update_table_has_at_most_two_hundred_rows_and_covers_the_run():
    algorithm = A2C(num_envs=4, rollout_length=1)
    run = algorithm.train(Task("Match-v0"), 0, 2000, compile="never")
    assert run.updates_made == 500
    assert len(run.updates) == RECORDED_ROWS == 200
    assert sum(row["updates"] for row in run.updates) == 500
    assert run.updates[-1]["step"] == 2000
    assert all(a["step"] < b["step"] for a, b in pairwise(run.updates))
    expected = {"policy_loss", "value_loss", "entropy", "policy_gradient_norm", "approx_kl", "advantage_std"}
    assert expected < run.updates[0].keys()


@pytest.mark.parametrize("budget", [1, 7, 14, 28, 199, 200, 201, 997, 1019, 10_000])
@pytest.mark.parametrize("stride", [1, 3])
def test_no_update_is_lost_from_the_table_at_any_budget(budget, stride):
    table, step, updates = UpdateTable(budget), 0, 0
    while step < budget:
        step, updates = step + stride, updates + 1
        table.add({"loss": float(updates)})
        if table.row_is_due(step):
            table.close_row(step, {})
    assert len(table.rows) <= RECORDED_ROWS
    assert table.rows[-1]["step"] == step
    assert sum(row["updates"] for row in table.rows) == updates
    total = sum(row["updates"] * row["loss"] for row in table.rows)
    assert total == pytest.approx(updates * (updates + 1) / 2)  # rows are means over their updates


def test_an_update_longer_than_a_row_has_a_row_of_its_own():
    run = SMALL["ppo"].train(Task("Match-v0"), 0, 1280, compile="never")
    assert [row["step"] for row in run.updates] == list(range(128, 1281, 128))
    assert {row["updates"] for row in run.updates} == {1}


def test_progress_is_told_after_every_update():
    told = []
    run = SMALL["ppo"].train(
        Task("Match-v0"),
        0,
        512,
        compile="never",
        on_update=lambda steps, episodes: told.append((steps, len(episodes))),
    )
    assert [steps for steps, _ in told] == [128, 256, 384, 512]
    assert told[-1][1] == len(run.episodes) == 48


def test_learning_rates_are_annealed_from_the_first_update_to_the_last():
    algorithm = PPO(num_envs=4, rollout_length=32, minibatch_size=64, epochs=1, policy_learning_rate=0.01)
    run = algorithm.train(Task("Match-v0"), 0, 512, compile="never")
    assert [row["learning_rate"] for row in run.updates] == pytest.approx([0.01, 0.0075, 0.005, 0.0025])


def test_a_run_on_a_masked_task_never_takes_a_forbidden_action():
    """The environment raises at one; and allowed actions are learnt: 3 pays, where it is allowed."""
    run = PPO(num_envs=4, rollout_length=32, policy_learning_rate=3e-3).train(
        Task("Masked-v0"), 0, 3000, compile="never"
    )
    allowed = 0.5 + 0.5 / 4  # how often action 3 is
    assert np.mean(run.evaluation["sampled"].returns) > 0.85 * 7 * allowed


@needs_compiler
def test_a_compiled_run_diverges_as_any_other():
    algorithm = PPO(num_envs=4, rollout_length=32, minibatch_size=32, epochs=2, value_learning_rate=1e30)
    run = algorithm.train(Task("Match-v0"), 0, 4000, compile="always")
    assert run.compiled
    assert run.diverged_at is not None
    assert not run.stopped_by_task
    assert "not finite: " in run.diverged_because
    assert run.diverged_at == algorithm.train(Task("Match-v0"), 0, 4000, compile="never").diverged_at


RUNS = 250
LONG_ENOUGH = STEPS_THAT_REPAY_COMPILING * 32 // 2 // RUNS  # steps, with minibatches of 32 and two epochs


@needs_compiler
@pytest.mark.parametrize(
    ("steps", "runs", "compiled"),
    [(LONG_ENOUGH - 32, RUNS, False), (LONG_ENOUGH, RUNS, True), (LONG_ENOUGH, RUNS - 1, False)],
)
def test_runs_are_compiled_where_together_they_are_long_enough_to_repay_it(steps, runs, compiled):
    run = SMALL["ppo"].train(EVERYTHING, 0, steps, compile="auto", runs=runs, evaluations=())
    assert run.compiled == compiled
    assert (run.seconds["compiling"] > 0) == compiled


@pytest.mark.parametrize("compile", ["auto", "always"])
def test_where_nothing_can_be_compiled_a_run_says_so_and_is_the_run_that_never_compiles(
    monkeypatch, tmp_path, caplog, compile
):
    monkeypatch.setattr("algorithms.core.on_policy.STEPS_THAT_REPAY_COMPILING", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # nothing was compiled before
    monkeypatch.setenv("CXX", "no-such-compiler")
    run = SMALL["ppo"].train(EVERYTHING, 5, 256, checkpoint_fractions=(1,), compile=compile)
    assert not run.compiled
    assert "no C++ compiler (no-such-compiler)" in caplog.text
    same(run, SMALL["ppo"].train(EVERYTHING, 5, 256, checkpoint_fractions=(1,), compile="never"))
