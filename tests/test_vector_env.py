"""Environments: true successors, automatic restarts, honest accounts, and a sentence for what is not supported."""

import numpy as np
import pytest
from gymnasium.spaces import Discrete

from algorithms.core.task import Task, UnsupportedTask
from algorithms.core.vector_env import Episode, VectorEnv
from experiments.task_check import check_task
from tests import tasks

EVERYONE = np.ones(2, bool)


def make(task, num_envs=2, seed=0):
    return VectorEnv(Task(task), num_envs, np.random.SeedSequence(seed))


def step(envs, times=1, actions=(0, 0), active=EVERYONE):
    return [envs.step(np.array(actions), active) for _ in range(times)]


def episode_and_step(observations):
    return observations[:, 1:].tolist()


@pytest.mark.parametrize(("task", "length"), [("Terminating-v0", 4), ("Truncating-v0", 3)])
def test_an_episodes_last_step_returns_the_true_successor_and_the_next_starts_afresh(task, length):
    envs = make(task)
    assert episode_and_step(envs.observations) == [[0, 0], [0, 0]]
    transitions = step(envs, length)
    for t, transition in enumerate(transitions, start=1):
        assert episode_and_step(transition.next_observations) == [[0, t], [0, t]]  # the last one, too
        assert transition.rewards.tolist() == [t, t]
        assert transition.terminated.tolist() == [task == "Terminating-v0" and t == length] * 2
        assert transition.truncated.tolist() == [task == "Truncating-v0" and t == length] * 2
    assert episode_and_step(envs.observations) == [[1, 0], [1, 0]]
    (following,) = step(envs)
    assert episode_and_step(following.next_observations) == [[1, 1], [1, 1]]


def test_observations_that_were_handed_out_do_not_change_later():
    envs = make("Truncating-v0")
    before, copy = envs.observations, envs.observations.copy()
    step(envs, 5)
    np.testing.assert_array_equal(before, copy)


def test_every_finished_episode_is_listed_with_its_step_return_and_length():
    envs = make("Terminating-v0")
    step(envs, 3)
    assert envs.episodes == []
    step(envs, 6)
    assert envs.steps == 18
    assert envs.episodes == [
        Episode(7, 1 + 2 + 3 + 4, 4, 0),  # the first environment's fourth step is the seventh of both
        Episode(8, 10, 4, 1),
        Episode(15, 10, 4, 8),
        Episode(16, 10, 4, 9),
    ]


def test_only_active_environments_are_stepped_and_the_others_wait():
    envs = make("Terminating-v0")
    only_second = np.array([False, True])
    transitions = step(envs, 4, active=only_second)
    assert envs.steps == 4
    assert [e.length for e in envs.episodes] == [4]
    assert episode_and_step(envs.observations) == [[0, 0], [1, 0]]
    last = transitions[-1]
    assert last.next_observations[0].tolist() == [0, 0, 0]
    assert (last.rewards[0], last.terminated[0], last.truncated[0]) == (0, False, False)
    assert last.terminated[1]


def test_a_task_that_terminates_at_its_time_limit_is_terminated():
    import gymnasium

    gymnasium.register("BothAtOnce-v0", tasks.Counting, max_episode_steps=4, kwargs={"terminate_at": 4})
    last = step(make("BothAtOnce-v0"), 4)[-1]
    assert last.terminated.all()
    assert last.truncated.all()


def test_environments_of_one_run_differ_and_the_same_seed_repeats_them():
    def numbers(seed):
        return make("Truncating-v0", num_envs=6, seed=seed).observations[:, 0].tolist()

    assert len(set(numbers(0))) == 6
    assert numbers(0) == numbers(0)
    assert not set(numbers(0)) & set(numbers(1))


def test_later_episodes_continue_the_environments_own_random_numbers():
    envs = make("RandomEnding-v0")
    seen = [envs.observations[0, 0]]
    for _ in range(30):
        step(envs)
        seen.append(envs.observations[0, 0])
    assert len(set(seen)) == len(seen)


def test_discrete_observations_are_one_hot_and_discrete_actions_start_where_the_space_starts():
    envs = make("Match-v0")  # observations 5, 6, 7; actions −1, 0, 1
    assert envs.observation_size == 3
    for _ in range(12):
        shown = envs.observations
        assert shown.sum(axis=1).tolist() == [1, 1]
        assert shown.argmax(axis=1).tolist() == [e.unwrapped.shown - 5 for e in envs.backend.envs]
        (transition,) = step(envs, actions=shown.argmax(axis=1))
        assert transition.rewards.tolist() == [1, 1]
        assert transition.next_observations.sum(axis=1).tolist() == [1, 1]
    assert [e.return_ for e in envs.episodes] == [10, 10]


def test_a_box_environment_receives_the_action_it_is_given():
    envs = make("BoxTruncating-v0")
    actions = np.array([[0.5, -1.0], [2.0, 0.25]], np.float32)
    envs.step(actions, EVERYONE)
    for env, action in zip(envs.backend.envs, actions, strict=True):
        np.testing.assert_array_equal(env.unwrapped.received[0], action)
        assert env.unwrapped.received[0] in env.action_space


@pytest.mark.parametrize("task", ["Masked-v0", "MaskedLate-v0"])
def test_action_masks_are_always_those_of_the_current_observations(task):
    envs = make(task)
    rng = np.random.default_rng(0)
    for _ in range(25):  # through several restarts
        masks = envs.action_masks if envs.action_masks is not None else np.ones((2, 4), bool)
        np.testing.assert_array_equal(masks, envs.observations == 1)
        step(envs, actions=[rng.choice(mask.nonzero()[0]) for mask in masks])
    assert len(envs.episodes) == 6


def test_a_task_without_masks_has_none():
    envs = make("Match-v0")
    step(envs)
    assert envs.action_masks is None


@pytest.mark.parametrize(
    ("task", "space"),
    [
        ("TextObservations-v0", "Text(1, 8, charset"),
        ("ImageObservations-v0", "Box(0, 255, (8, 8, 3), uint8)"),
        ("DictActions-v0", "Dict('x': Discrete(2))"),
        ("IntegerBoxActions-v0", "Box(0, 5, (2,), int64)"),
    ],
)
def test_a_space_that_is_not_supported_is_refused_by_name(task, space):
    with pytest.raises(UnsupportedTask) as refusal:
        make(task)
    assert task in str(refusal.value)
    assert space in str(refusal.value)
    assert "supported are" in str(refusal.value)


@pytest.mark.parametrize("task", ["UnboundedActions-v0", "Match-v0"])
def test_squashing_needs_bounds(task):
    with pytest.raises(UnsupportedTask, match="finite bounds"):
        VectorEnv(Task(task, action_bounds="squash"), 1, np.random.SeedSequence(0))


@pytest.mark.parametrize("task", ["NoSuchTask-v0", "CartPole-v99", "no_such_module:Task-v0", "not an id at all!"])
def test_an_unknown_task_is_refused_by_name(task):
    with pytest.raises(UnsupportedTask) as refusal:
        make(task)
    assert task in str(refusal.value)


def test_a_task_may_be_named_with_the_module_that_registers_it():
    assert isinstance(make("tests.tasks:Match-v0").action_space, Discrete)


def test_a_time_limit_given_to_the_task_replaces_the_registered_one():
    envs = VectorEnv(Task("CartPole-v1", max_episode_steps=3), 1, np.random.SeedSequence(0))
    for expected in (False, False, True):
        transition = envs.step(np.array([0]), np.array([True]))
        assert transition.truncated[0] == expected
        assert not transition.terminated[0]


def test_costs_are_what_the_infos_report_and_zero_where_they_report_none():
    envs = make("Costs-v0")  # reports nothing, 2, ½, nothing, nothing
    costs = [transition.costs for transition in step(envs, 7)]
    assert costs[0] is None  # no cost was reported until now
    assert np.array(costs[1:]).tolist() == [[2, 2], [0.5, 0.5], [0, 0], [0, 0], [0, 0], [2, 2]]
    assert costs[1].dtype == np.float64
    (transition,) = step(envs, active=np.array([False, True]))
    assert transition.costs.tolist() == [0, 0.5]
    assert envs.episode_costs == [2.5, 2.5]
    assert len(envs.episodes) == 2


def test_a_task_without_costs_reports_none_and_its_episodes_cost_nothing():
    envs = make("Terminating-v0")
    assert all(transition.costs is transition.part_rewards is None for transition in step(envs, 4))
    assert envs.episode_costs == [0.0, 0.0]


@pytest.mark.parametrize(
    ("task", "value"), [("CostIsText-v0", "'1.0'"), ("CostIsNothing-v0", "None"), ("CostIsAList-v0", "[1.0, 2.0]")]
)
def test_a_cost_that_is_no_number_is_refused_with_what_it_is(task, value):
    with pytest.raises(UnsupportedTask) as refusal:
        step(make(task))
    assert str(refusal.value) == f"task {task!r} gives info['cost'] = {value}, which is not a number"


def test_the_parts_of_an_action_start_where_the_space_starts_and_each_has_its_own_reward():
    envs = make("Junctions-v0")
    for t in range(12):
        right = envs.observations.astype(np.int64)
        actions = right.copy()
        actions[0, t % 3] = 1 - actions[0, t % 3]
        (transition,) = step(envs, actions=actions)
        assert transition.part_rewards.tolist() == (actions == right).tolist()
        assert transition.rewards.tolist() == [2, 3]
    (transition,) = step(envs, actions=envs.observations.astype(np.int64), active=np.array([True, False]))
    assert transition.part_rewards.tolist() == [[1, 1, 1], [0, 0, 0]]
    assert [e.return_ for e in envs.episodes] == [20, 30]


def test_a_task_may_have_parts_and_one_reward():
    (transition,) = step(make("JunctionsInOne-v0"), actions=[[0, 0, 0]] * 2)
    assert transition.part_rewards is None


@pytest.mark.parametrize("task", ["LatePartRewards-v0", "MissingPartRewards-v0"])
def test_rewards_of_the_parts_come_at_every_step_or_never(task):
    with pytest.raises(UnsupportedTask) as refusal:
        step(make(task), 2, actions=[[0, 0]] * 2)
    assert task in str(refusal.value)
    assert "it must give them at every step, or never" in str(refusal.value)


@pytest.mark.parametrize(
    ("task", "value"), [("TooManyPartRewards-v0", "[1, 2, 3]"), ("TextualPartRewards-v0", "['a', 'b']")]
)
def test_rewards_of_the_parts_are_as_many_numbers_as_parts(task, value):
    with pytest.raises(UnsupportedTask) as refusal:
        step(make(task), actions=[[0, 0]] * 2)
    expected = (
        f"task {task!r} gives info['part_rewards'] = {value}; its actions have 2 parts, so it must give 2 numbers"
    )
    assert str(refusal.value) == expected


def test_masks_of_the_parts_are_one_after_another():
    envs = make("MaskedJunctions-v0")
    for _ in range(12):
        for mask, shown in zip(envs.action_masks, envs.observations, strict=True):
            assert mask.tolist() == [True, shown[0] == 1, True, shown[1] == 1, False, True, shown[2] == 1]
        step(envs, actions=[[0, 0, 0]] * 2)


def test_a_mask_of_actions_in_a_box_is_refused():
    with pytest.raises(UnsupportedTask, match="only actions in Discrete, MultiDiscrete or MultiBinary can be masked"):
        step(make("MaskedBox-v0"), actions=[[0.0, 0.0]] * 2)


def variants(*arguments, task="AlwaysTheSame-v0", **options):
    return Task(task, variants=arguments, **options)


REWARDS = [{"reward": 1.0}, {"reward": 2.0}, {"reward": 4.0}]


@pytest.mark.parametrize("num_envs", [3, 6, 8])
def test_environment_i_belongs_to_variant_i_mod_k(num_envs):
    envs = VectorEnv(variants(*REWARDS), num_envs, np.random.SeedSequence(0))
    expected = [i % 3 for i in range(num_envs)]
    assert envs.variants.tolist() == expected
    (transition,) = step(envs, actions=[0] * num_envs, active=None)
    assert transition.rewards.tolist() == [2.0**k for k in expected]
    assert envs.episode_envs == list(range(num_envs))


def test_one_variant_gives_every_environment_its_arguments():
    envs = VectorEnv(variants({"reward": 3.0}), 2, np.random.SeedSequence(0))
    assert envs.variants.tolist() == [0, 0]
    assert step(envs)[0].rewards.tolist() == [3, 3]


def test_the_environments_of_a_task_without_variants_are_all_of_variant_0():
    assert make("Match-v0", num_envs=3).variants.tolist() == [0, 0, 0]


def test_fewer_environments_than_variants_are_refused():
    with pytest.raises(UnsupportedTask) as refusal:
        VectorEnv(variants(*REWARDS), 2, np.random.SeedSequence(0))
    assert str(refusal.value) == (
        "task 'AlwaysTheSame-v0' has 3 variants, and num_envs is 2; each variant needs at least one environment"
    )


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (variants({"reward": 1.0}, {"no_such_argument": 1}), "with the variant {'no_such_argument': 1} cannot be made"),
        (
            variants({"reward": 1.0}, {"max_episode_steps": 3}),
            "with the variant {'max_episode_steps': 3} cannot be made",
        ),
        (variants({"actions": 3}, {"actions": 4}), "{'actions': 3} has actions in Discrete(3)"),
    ],
    ids=["an unknown argument", "the task's own", "other spaces"],
)
def test_variants_that_cannot_be_are_refused(task, words):
    with pytest.raises(UnsupportedTask) as refusal:
        check_task(task)
    assert task.id in str(refusal.value)
    assert words in str(refusal.value)
    with pytest.raises(UnsupportedTask):
        VectorEnv(task, 2, np.random.SeedSequence(0))
