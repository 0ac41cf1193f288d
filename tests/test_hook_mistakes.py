"""Mistakes in the file of an algorithm or a task: each ends a command line with a sentence that names its place."""

import sys
import types
from dataclasses import dataclass, replace
from typing import ClassVar

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, MultiDiscrete

from algorithms.a2c import A2C
from algorithms.core.algorithm import Algorithm, InvalidAlgorithm
from algorithms.core.rollout import collect
from algorithms.core.run import PHASES, Checkpoint, Evaluation, Run
from algorithms.core.run_check import checked_run
from algorithms.core.task import Task, UnsupportedTask
from algorithms.core.vector_env import Episode
from algorithms.ppo import PPO
from experiments.grid import GridError, algorithm_class
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


# ---- what the other methods return


def learner_of(method, function, task="Match-v0", base=A2C, **options):
    """A learner whose algorithm has `function` as its `method`, and a rollout of it."""
    wrong = type("Wrong", (base,), {method: function})(num_envs=4, rollout_length=16)
    envs, learner, rng = make_learner(wrong, task, **options)
    return learner, collect(envs, learner.policy, learner.normalizer, rng, steps=16)


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        (lambda log_prob: None, "must return a dict of scalars by name, not a NoneType"),
        (lambda log_prob: {"a": log_prob}, r"returned for 'a' a tensor of shape \(64,\) and type float32"),
        (lambda log_prob: {"a": "x"}, "returned for 'a' a str; expected is a scalar"),
        (lambda log_prob: {"a,b": 1.0}, "returned the name 'a,b'; a name consists of letters, digits and _"),
        (lambda log_prob: {3: 1.0}, "returned the name 3; a name"),
        (lambda log_prob: {"step": 1.0}, "returned the name 'step', which is taken"),
        (lambda log_prob: {"approx_kl": 1.0}, "returned the name 'approx_kl', which is taken"),
        (lambda log_prob: {"value_loss": 1.0}, "returned the name 'value_loss', which is taken"),
    ],
)
def test_diagnostics_that_are_no_scalars_by_their_own_names_are_refused(result, sentence):
    learner, rollout = learner_of("diagnostics", lambda self, log_prob, batch: result(log_prob))
    batch = learner.prepare(rollout)
    learner.update(batch, 0.0)
    with pytest.raises(InvalidAlgorithm, match=rf"Wrong.diagnostics {sentence}"):
        learner.diagnose(batch)


def test_diagnostics_are_numbers_of_any_kind():
    given = {"a": torch.tensor(1.0, dtype=torch.float64), "b": 2, "c": np.float32(3), "d": float("nan")}
    learner, rollout = learner_of("diagnostics", lambda self, log_prob, batch: given)
    found = learner.diagnose(learner.prepare(rollout))
    assert [found[name] for name in "abc"] == [1.0, 2.0, 3.0]
    assert all(type(value) is float for value in found.values())


@pytest.mark.parametrize("compile", ["never", "always"])
@pytest.mark.parametrize(
    ("method", "function", "sentence"),
    [
        ("policy_loss", lambda self, log_prob, batch: log_prob.mean().detach(), "gradient: .* depend on log_prob"),
        ("policy_loss", lambda self, log_prob, batch: torch.tensor(1), "gradient: .* depend on log_prob"),
        (
            "policy_loss",
            lambda self, log_prob, batch: log_prob.mean() * 1j,
            r"is a tensor of shape \(\) and type complex",
        ),
        ("value_loss", lambda self, values, batch: values.mean().detach(), "gradient: .* depend on values"),
        ("value_loss", lambda self, values, batch: None, "must return a scalar tensor; .* is a NoneType"),
    ],
)
def test_a_loss_without_a_gradient_is_refused(method, function, sentence, compile):
    for more in ({}, {"regularizer": lambda self, distribution, batch: distribution.entropy().mean()}):
        learner, rollout = learner_of(method, function, base=type("Base", (A2C,), more), compile=compile)
        with pytest.raises(InvalidAlgorithm, match=rf"Wrong.{method} .*{sentence}"):
            learner.update(learner.prepare(rollout), 0.0)


def test_a_regularizer_may_be_a_constant():
    learner, rollout = learner_of("regularizer", lambda self, distribution, batch: torch.zeros(()))
    learner.update(learner.prepare(rollout), 0.0)


@pytest.mark.parametrize("method", ["gradients", "step"])
@pytest.mark.parametrize(
    ("made", "found"),
    [
        (lambda x: None, "a NoneType"),
        (lambda x: x.detach().numpy(), "a ndarray"),
        (lambda x: x[:-1], "a tensor of shape"),
        (lambda x: x[:, None], "a tensor of shape"),
        (lambda x: x.long(), "a tensor of shape .* and type int64"),
        (lambda x: x * 1j, "a tensor of shape .* and type complex64"),
        (lambda x: x.half(), "a tensor of shape .* and type float16"),
        (lambda x: x.detach().to_sparse(), "a tensor of shape .* and type float32 sparse_coo, cpu"),
        (lambda x: x.to("meta"), "a tensor of shape .* and type float32 strided, meta"),
    ],
)
def test_a_gradient_or_step_that_is_no_vector_of_floats_is_refused(method, made, found):
    learner, rollout = learner_of(method, lambda self, objective, *rest: made(objective.parameters))
    with pytest.raises(
        InvalidAlgorithm, match=rf"Wrong.{method} returned {found}.* for the network 'policy'; expected"
    ):
        learner.update(learner.prepare(rollout), 0.0)


@pytest.mark.parametrize("method", ["gradients", "step"])
def test_a_gradient_or_step_in_float64_is_rounded(method):
    vectors = []
    for kind in (torch.float32, torch.float64):

        def function(self, objective, *rest, kind=kind):
            return getattr(A2C, method)(self, objective, *rest).to(kind)

        learner, rollout = learner_of(method, function)
        learner.update(learner.prepare(rollout), 0.0)
        vectors.append(learner.policy.parameter_vector)
    assert torch.equal(*vectors)


@pytest.mark.parametrize(
    ("made", "found"),
    [
        (lambda x: None, "a NoneType"),
        (lambda x: torch.from_numpy(x), "a Tensor"),
        (lambda x: x.astype(str), "an array of <U32"),
        (lambda x: x.astype(complex), "an array of complex128"),
        (lambda x: [[1.0], [1.0, 2.0]], "a list"),
    ],
)
def test_advantages_and_targets_that_are_no_numbers_are_refused(made, found):
    learner, rollout = learner_of("advantages", lambda self, rollout: made(rollout.rewards))
    with pytest.raises(InvalidAlgorithm, match=rf"Wrong.advantages returned {found}; expected is a NumPy array"):
        learner.prepare(rollout)
    learner, rollout = learner_of("critic_targets", lambda self, rollout, psi: {"value": made(rollout.rewards)})
    with pytest.raises(InvalidAlgorithm, match=rf"Wrong.critic_targets returned for 'value' {found}; expected is a Nu"):
        learner.prepare(rollout)


@pytest.mark.parametrize(("result", "kind"), [(None, "NoneType"), ([1.0], "list"), (np.zeros(3), "ndarray")])
def test_targets_that_are_no_dict_are_refused(result, kind):
    learner, rollout = learner_of("critic_targets", lambda self, rollout, psi: result)
    with pytest.raises(InvalidAlgorithm, match=f"Wrong.critic_targets must return a dict of .*, not a {kind}"):
        learner.prepare(rollout)


# ---- what `train` is asked for, and what a task gives


@pytest.mark.parametrize(
    ("steps", "options", "sentence"),
    [
        (0, {}, "steps must be a whole number from 1, not 0"),
        (64.0, {}, "steps must be a whole number from 1, not 64.0"),
        (64, {"compile": "yes"}, "compile must be auto, always or never, not 'yes'"),
        (64, {"checkpoint_fractions": [2.0]}, "checkpoint_fractions has 2.0; .* from 0 to 1"),
        (64, {"checkpoint_fractions": [float("nan")]}, "checkpoint_fractions has nan"),
    ],
)
def test_a_training_that_cannot_be_is_refused(steps, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        A2C(num_envs=2).train(MATCH, 0, steps, **options)


class Rewarded(gymnasium.Env):
    """Gives the reward, and the rewards of its parts, that it is made with."""

    observation_space = Box(-1, 1, (1,))

    def __init__(self, reward=1.0, part_rewards=(1.0, 0.0)):
        self.reward, self.part_rewards = reward, part_rewards
        self.action_space = MultiDiscrete([2, 2])

    def reset(self, *, seed=None, options=None):
        """The only observation."""
        return np.zeros(1, np.float32), {}

    def step(self, action):
        """The end of an episode."""
        return np.zeros(1, np.float32), self.reward, True, False, {"part_rewards": self.part_rewards}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"reward": "1.0"}, "gives the reward '1.0', which is not a number"),
        ({"reward": None}, "gives the reward None, which is not a number"),
        ({"part_rewards": ["1", "2"]}, r"gives info\['part_rewards'\] = \['1', '2'\]"),
    ],
)
def test_rewards_that_are_text_are_refused_as_costs_are(given, sentence):
    gymnasium.register("Rewarded-v0", lambda **options: Rewarded(**options), max_episode_steps=9)
    try:
        task = Task("Rewarded-v0", variants=(given,))
        with pytest.raises(UnsupportedTask, match=f"task 'Rewarded-v0' {sentence}"):
            A2C(num_envs=2).train(task, 0, 64, compile="never")
    finally:
        gymnasium.registry.pop("Rewarded-v0")


def test_an_algorithm_that_has_only_the_title_of_another_is_refused(tmp_path, monkeypatch):
    (tmp_path / "later.py").write_text("")
    module = types.ModuleType("policy_gradient_ladder.later")
    module.Later = dataclass(frozen=True)(type("Later", (PPO,), {"__module__": module.__name__}))
    monkeypatch.setattr("experiments.grid.ALGORITHMS", tmp_path)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with pytest.raises(GridError, match=r"algorithms/later.py: Later has the title 'PPO' of PPO \(algorithms/ppo.py\)"):
        algorithm_class("later")
