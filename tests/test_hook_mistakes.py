"""Mistakes in the file of an algorithm or a task: each ends a command line with a sentence that names its place."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch

from algorithms.core.algorithm import Algorithm, InvalidAlgorithm
from algorithms.core.run import PHASES, Checkpoint, Evaluation, Run
from algorithms.core.run_check import checked_run
from algorithms.core.task import Task
from algorithms.core.vector_env import Episode
from algorithms.ppo import PPO
from tests.tasks import make_learner

# ---- what `train` returns

EPISODES = [Episode(100, 1.0, 100), Episode(200, 2.0, 100)]
BY_KIND = {kind: Evaluation([1.0] * 20, [100] * 20) for kind in ("sampled", "mode")}
WHOLE = Run(EPISODES, [], [], BY_KIND, 200, 0)
MATCH = Task("Match-v0")


@dataclass(frozen=True)
class Foreign(Algorithm):
    """Trained elsewhere."""

    title: ClassVar[str] = "Foreign"
    equation: ClassVar[str] = "θ"


def with_evaluation(returns, lengths=(100,) * 20):
    return replace(WHOLE, evaluation=BY_KIND | {"mode": Evaluation(returns, lengths)})


def with_state(**state):
    return replace(WHOLE, checkpoints=[Checkpoint(0.5, 100, state)])


@pytest.mark.parametrize(
    "run",
    [
        replace(WHOLE, steps_taken=np.int64(200), updates_made=np.int32(0)),
        replace(WHOLE, evaluation=dict.fromkeys(BY_KIND, Evaluation(np.ones(20), np.full(20, 100)))),
        replace(WHOLE, episodes=[(np.int64(e.step), np.float32(e.return_), np.array(e.length)) for e in EPISODES]),
        replace(WHOLE, seconds={}),
        replace(WHOLE, seconds=dict.fromkeys(PHASES, np.float64(0.0))),
    ],
)
def test_numbers_of_numpy_become_plain_and_missing_seconds_are_zero(run):
    found = checked_run(run, Foreign(), MATCH)
    assert found == WHOLE
    assert type(found.steps_taken) is type(found.episodes[0].length) is type(found.evaluation["mode"].lengths[0]) is int
    assert type(found.episodes[0].return_) is type(found.evaluation["mode"].returns[0]) is float


def test_what_a_run_need_not_have_is_kept_where_it_has_it():
    updates = [{"step": 100, "updates": np.int64(2), "loss": np.float32(0.5)}, {"step": 200, "updates": 1, "kl": 1.0}]
    found = checked_run(
        replace(with_state(a=[1, 2], b=torch.ones(3)), updates=updates, updates_made=3), Foreign(), MATCH
    )
    assert found.updates == updates
    assert [array.tolist() for array in found.checkpoints[0].state.values()] == [[1, 2], [1, 1, 1]]
    diverged = replace(WHOLE, evaluation=None, diverged_at=150, diverged_because="loss")
    assert checked_run(replace(diverged, episodes=[Episode(9, np.inf, 9)]), Foreign(), MATCH).diverged_at == 150


def test_of_variants_as_many_episodes_are_expected_as_each_has_equally_many():
    task = Task("Match-v0", variants=({}, {}, {}))
    with pytest.raises(InvalidAlgorithm, match=r"20 returns in evaluation\['sampled'\]; expected are 21"):
        checked_run(WHOLE, Foreign(), task)
    checked_run(replace(WHOLE, evaluation={"sampled": Evaluation([1.0] * 21, [9] * 21)}), Foreign(), task, ("sampled",))


def test_what_the_loop_of_this_project_returns_is_as_it_should_be():
    run = PPO(num_envs=4, rollout_length=16).train(MATCH, 0, 256, checkpoint_fractions=(0, 1), compile="never")
    found = checked_run(run, PPO(), MATCH)
    assert (found.episodes, found.updates, found.evaluation, found.seconds) == (
        run.episodes,
        run.updates,
        run.evaluation,
        run.seconds,
    )


@pytest.mark.parametrize(
    ("run", "sentence"),
    [
        (None, "must return a Run .* not a NoneType"),
        ({"episodes": []}, "must return a Run .* not a dict"),
        (replace(WHOLE, steps_taken=200.0), "steps_taken is 200.0; expected is a whole number"),
        (replace(WHOLE, steps_taken=0), "steps_taken is 0; expected is at least 1"),
        (replace(WHOLE, episodes=None), "episodes is a NoneType; expected is a list"),
        (replace(WHOLE, episodes=[3]), r"episodes\[0\] is 3; expected is an Episode: step, return_ and length"),
        (replace(WHOLE, episodes=EPISODES[::-1]), r"episodes\[1\] is of step 100, after one of step 200"),
        (replace(WHOLE, episodes=[Episode(201, 1.0, 9)]), r"episodes\[0\].step is 201; expected is at most 200"),
        (
            replace(WHOLE, episodes=[Episode(20, np.nan, 9)]),
            r"episodes\[0\].return_ is nan; expected is a finite number",
        ),
        (replace(WHOLE, episodes=[Episode(20, "1", 9)]), r"episodes\[0\].return_ is '1'; expected is a number"),
        (replace(WHOLE, evaluation=None), "evaluation is a NoneType; expected is an Evaluation by kind: sampled, mode"),
        (replace(WHOLE, evaluation={"sampled": BY_KIND["sampled"]}), "evaluation lacks the kind 'mode'"),
        (replace(WHOLE, evaluation=BY_KIND | {"median": 1}), "evaluation has the kind 'median'"),
        (replace(WHOLE, evaluation=BY_KIND | {"mode": [1.0]}), r"evaluation\['mode'\] is a list, not an Evaluation"),
        (with_evaluation([1.0], [9]), r"1 returns in evaluation\['mode'\]; expected are 20"),
        (with_evaluation([1.0] * 20, [9]), r"1 lengths in evaluation\['mode'\]; expected are 20"),
        (with_evaluation([np.inf] * 20), r"evaluation\['mode'\].returns\[0\] is inf; expected is a finite number"),
        (with_evaluation([1.0] * 20, [9.5] * 20), r"evaluation\['mode'\].lengths\[0\] is 9.5; expected is a whole"),
        (replace(WHOLE, updates_made=1), "updates_made 1, but its rows of updates are of 0"),
        (replace(WHOLE, updates=[{"step": 10, "loss": 1.0}]), r"updates\[0\] is .*; .* a mapping with 'step' and"),
        (replace(WHOLE, updates=[{"step": 1, "updates": 1, "a,b": 1.0}], updates_made=1), r"updates\[0\] has 'a,b'"),
        (replace(WHOLE, updates=[{"step": 1, "updates": 1, "a": "b"}], updates_made=1), r"updates\[0\]\['a'\] is 'b'"),
        (with_state(theta=np.array([{1: 2}])), r"checkpoints\[0\].state\['theta'\] is a ndarray; .* array of numbers"),
        (with_state(file=np.ones(1)), r"checkpoints\[0\].state has the name 'file'"),
        (replace(WHOLE, checkpoints=[np.ones(1)]), r"checkpoints\[0\] is no Checkpoint"),
        (replace(WHOLE, diverged_at=100), "diverged_at 100 and diverged_because None"),
        (replace(WHOLE, diverged_at=100, diverged_because="x"), "has diverged, with an evaluation"),
        (replace(WHOLE, seconds=None), "seconds are a NoneType"),
        (replace(WHOLE, seconds={"training": -1.0}), r"seconds\['training'\] is -1.0; no time is negative"),
        (replace(WHOLE, seconds={"training": 1.0, "compiling": 1.0}), r"seconds\['compiling'\] are not less"),
    ],
)
def test_a_run_that_could_not_be_read_is_refused_with_class_and_field(run, sentence):
    with pytest.raises(InvalidAlgorithm, match=sentence) as refusal:
        checked_run(run, Foreign(), MATCH)
    assert str(refusal.value).startswith("tests/test_hook_mistakes.py: Foreign.train ")
    assert "\n" not in str(refusal.value)
