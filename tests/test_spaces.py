"""The spaces of users' tasks: what is trained, what is sent within its bounds, and what is refused with what to do."""

import copy
import tracemalloc

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, Graph, MultiBinary, MultiDiscrete, OneOf, Sequence, Text, Tuple
from gymnasium.spaces.utils import flatten

from algorithms.core.evaluation import evaluate
from algorithms.core.normalizer import RunningNormalizer
from algorithms.core.policies import Policy
from algorithms.core.task import Task, UnsupportedTask
from algorithms.core.vector_env import VectorEnv
from algorithms.ppo import PPO
from experiments.gradients import draw_episodes
from experiments.random_score import random_returns
from experiments.task_check import check_task, try_task
from tests.tasks import IN_ALL_SPACES, make_learner, needs_compiler


class Strict(gymnasium.Env):
    """Random observations, and a refusal of every action that is not in its space; pays the mean action, 9 at most."""

    def __init__(self, actions=None, observations=None):
        self.action_space = Discrete(2) if actions is None else copy.deepcopy(actions)
        self.observation_space = Box(-1, 1, (2,)) if observations is None else copy.deepcopy(observations)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.t = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(action), f"{action!r} is not in {self.action_space}"
        if isinstance(self.action_space, Box):
            assert isinstance(action, np.ndarray)
            assert action.dtype == self.action_space.dtype
            assert np.isfinite(action).all()
        self.t += 1
        return (
            self.observation_space.sample(),
            float(np.clip(np.mean(action, dtype=np.float64), -9, 9)),
            self.t == 8,
            False,
            {},
        )


class Copy(gymnasium.Env):
    """Shows bits in a nested observation and pays the share of them that the action repeats."""

    observation_space = Dict(
        {
            "bits": Box(0, 1, (2, 2), np.uint8),
            "more": Tuple((Discrete(3, start=-1), MultiDiscrete([2, 2], start=[1, 5]))),
        }
    )
    action_space = MultiBinary((2, 2))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._show(), {}

    def step(self, action):
        assert self.action_space.contains(action)
        reward = float((action == self.bits).mean())
        return self._show(), reward, False, False, {}

    def _show(self):
        self.bits = self.np_random.integers(0, 2, (2, 2)).astype(np.uint8)
        return {"bits": self.bits, "more": (int(self.np_random.integers(-1, 2)), np.array([2, 5]))}


gymnasium.register("Strict-v0", Strict, max_episode_steps=20)
gymnasium.register("Copy-v0", Copy, max_episode_steps=10)


def strict(actions=None, observations=None, **options):
    spaces = {"actions": actions, "observations": observations}
    return Task("Strict-v0", kwargs={k: v for k, v in spaces.items() if v is not None}, **options)


ACTIONS = {
    "discrete from -3": Discrete(4, start=-3),
    "parts": MultiDiscrete([2, 3, 1]),
    "parts of a table": MultiDiscrete([[2, 3], [4, 2]], start=[[0, -1], [5, 0]]),
    "small parts": MultiDiscrete([2, 3], dtype=np.int8, start=[-1, 100]),
    "bits": MultiBinary(3),
    "bits of a table": MultiBinary((2, 2)),
    "flat box": Box(-1, 2, (3,), np.float32),
    "table": Box(-0.3, 0.3, (2, 3), np.float64),
    "a single number": Box(-1, 1, (), np.float32),
    "no bounds": Box(-np.inf, np.inf, (2, 1), np.float16),
    "some bounds": Box(np.array([-np.inf, 0, -0.1]), np.array([0.1, np.inf, 0.1]), dtype=np.float64),
    "no width": Box(np.array([0.5, -1]), np.array([0.5, 1]), dtype=np.float32),
    "wide": Box(-1e300, 1e300, (2,), np.float64),
}
OBSERVATIONS = {
    "discrete": Discrete(5, start=-2),
    "bytes": Box(0, 255, (6,), np.uint8),
    "board of bytes": Box(0, 255, (4, 4), np.uint8),
    "planes": Box(0, 255, (4, 4, 3), np.uint8),
    "planes of bits": Box(0, 1, (8, 8, 3), np.uint8),
    "table": Box(-1, 1, (2, 3), np.float64),
    "a single number": Box(-1, 1, (), np.float32),
    "whole numbers": Box(-5, 5, (2, 2), np.int64),
    "parts": MultiDiscrete([[2, 3], [4, 2]], start=[[0, -1], [5, 0]]),
    "bits": MultiBinary((2, 3)),
    "tuple": Tuple((Discrete(3), Box(-1, 1, (2,), np.float32))),
    "dicts in dicts": Dict(
        {"b": Dict({"c": MultiBinary(2), "a": Discrete(2, start=7)}), "a": Box(0, 9, (2, 2), np.int8)}
    ),
}


@pytest.mark.parametrize("space", ACTIONS.values(), ids=ACTIONS)
def test_every_action_that_the_environment_gets_is_in_its_space(space):
    task = strict(space, normalize_rewards=True)
    run = PPO(num_envs=2, rollout_length=32, minibatch_size=32).train(task, 0, 256)
    assert run.diverged_because is None
    assert random_returns(task, 3).shape == (3,)


@pytest.mark.parametrize("space", OBSERVATIONS.values(), ids=OBSERVATIONS)
def test_observations_are_flattened_as_gymnasium_flattens_them(space):
    task = strict(observations=space)
    check_task(task)
    envs = VectorEnv(task, 2, np.random.SeedSequence(0))
    seeds = [int(child.generate_state(1)[0]) for child in np.random.SeedSequence(0).spawn(2)]
    first, twin = envs.observations, Strict(observations=space)
    shown = [flatten(space, twin.reset(seed=seed)[0]) for seed in seeds]
    assert first.dtype == np.float32
    assert first.tolist() == np.array(shown, np.float32).tolist()
    following = envs.step(np.zeros(2, np.int64)).next_observations
    assert following[1].tolist() == flatten(space, twin.step(0)[0]).astype(np.float32).tolist()


@pytest.mark.parametrize("algorithm", IN_ALL_SPACES)
def test_every_algorithm_trains_on_nested_observations_and_a_table_of_bits(algorithm):
    run = IN_ALL_SPACES[algorithm]().train(Task("Copy-v0", normalize_observations=True), 0, 400)
    assert run.evaluation is not None
    assert all(0 <= score <= 10 for score in run.evaluation["mode"].returns)


def test_ppo_learns_to_copy_bits():
    run = PPO(num_envs=4, rollout_length=64, minibatch_size=64, policy_learning_rate=3e-3, gamma=0.5).train(
        Task("Copy-v0"), 0, 6_000
    )
    assert np.mean(run.evaluation["mode"].returns) > 9  # chance is 5


@needs_compiler
@pytest.mark.parametrize("space", [MultiBinary((2, 2)), Box(-0.3, 0.3, (2, 3), np.float64)], ids=str)
def test_compiled_and_eager_runs_agree(space):
    bounds = "squash" if isinstance(space, Box) else "clip"
    runs = [
        PPO(num_envs=2, rollout_length=32, minibatch_size=32).train(
            strict(space, action_bounds=bounds), 0, 128, compile=compile
        )
        for compile in ("never", "always")
    ]
    eager, compiled = (np.array([e.return_ for e in run.episodes]) for run in runs)
    assert runs[1].compiled
    assert eager == pytest.approx(compiled, abs=1e-3)


@pytest.mark.parametrize("bounds", ["clip", "squash"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(("low", "high", "shape"), [(-0.3, 0.3, (1,)), (-0.1, 60_000, (2, 2)), (0.7, 0.9, (3,))])
def test_actions_have_the_spaces_precision_and_are_within_its_bounds(bounds, dtype, low, high, shape):
    space = Box(low, high, shape, dtype)
    task = strict(space, action_bounds=bounds)
    envs, learner, _ = make_learner(PPO(num_envs=2, rollout_length=8), task, spread=1e4)  # often beyond the bounds
    evaluate(learner, task, np.random.SeedSequence(0))
    draw_episodes(
        task, learner.policy, RunningNormalizer(envs.observation_size), lambda x: x, 4, np.random.SeedSequence(1)
    )
    far = np.array([np.full(space.shape, x).ravel() for x in (-1e9, -20, 0, 20, 1e9)], np.float32)
    sent = learner.policy.to_environment(far).reshape(-1, *shape)
    assert sent.dtype == dtype
    assert all(space.contains(action) for action in sent)
    assert (sent[0] == space.low).all()
    assert (sent[-1] == space.high).all()


def test_a_float_box_of_single_precision_is_clipped_as_ever():
    space = Box(np.array([-1, -np.inf], np.float32), np.array([np.inf, 0.3], np.float32))
    policy = Policy(2, space, "clip", torch.Generator())
    actions = np.array([[-3, -3], [0.25, 0.25], [7, 7]], np.float32)
    assert np.array_equal(policy.to_environment(actions), np.clip(actions, space.low, space.high))


NOT_TO_SQUASH = {
    "no width": Box(np.array([0, -1]), np.array([0, 1]), dtype=np.float32),
    "too wide for single precision": Box(-1e300, 1e300, (1,), np.float64),
    "too wide by a factor of two": Box(-3e38, 3e38, (1,), np.float32),
    "too narrow for single precision": Box(0, 1e-60, (1,), np.float64),
    "half a bound": Box(0, np.inf, (2,), np.float32),
    "some bounds": Box(np.array([-1, -np.inf]), np.array([1, 1]), dtype=np.float32),
}


@pytest.mark.parametrize("space", NOT_TO_SQUASH.values(), ids=NOT_TO_SQUASH)
def test_bounds_that_cannot_be_squashed_into_are_refused(space):
    task = strict(space, action_bounds="squash", name="mine")
    for use in (lambda: check_task(task), lambda: VectorEnv(task, 1, np.random.SeedSequence(0))):
        with pytest.raises(
            UnsupportedTask, match=r"^task 'mine' has actions in Box.*action_bounds 'squash' needs.*use 'clip'"
        ):
            use()
    with pytest.raises(ValueError, match="action_bounds 'squash' needs"):
        Policy(2, space, "squash", torch.Generator())
    check_task(strict(space))  # can be clipped


IMAGE = Box(0, 255, (96, 96, 3), np.uint8)
REFUSED = {
    "an image": (None, IMAGE, "FlattenObservation"),
    "an image with its channels first": (None, Box(0, 255, (3, 64, 64), np.uint8), "FlattenObservation"),
    "a stack of images": (None, Box(0, 255, (4, 96, 96, 3), np.uint8), "FlattenObservation"),
    "an image in a dict": (None, Dict({"a": Discrete(2), "eye": IMAGE}), "of which 'eye' is Box"),
    "a graph": (None, Graph(Discrete(2), Discrete(2)), "TransformObservation"),
    "a sequence": (None, Sequence(Discrete(2)), "TransformObservation"),
    "a text": (None, Text(5), "TransformObservation"),
    "one of several": (None, OneOf((Discrete(2), Discrete(3))), "TransformObservation"),
    "a text in a tuple of tuples": (None, Tuple((Tuple((Discrete(2), Text(5))),)), "of which 1 is Text"),
    "nothing": (None, Box(0, 1, (0,), np.float32), "at least one number"),
    "a dict of nothing": (None, Dict({}), "at least one number"),
    "whole actions": (Box(0, 5, (2,), np.int64), None, "MultiDiscrete for whole numbers"),
    "actions in a dict": (Dict({"a": Discrete(2)}), None, "TransformAction"),
    "actions in a tuple": (Tuple((Discrete(2), Box(0, 1, (1,)))), None, "TransformAction"),
    "no actions": (Box(0, 1, (0,), np.float32), None, "nothing to choose"),
}


@pytest.mark.parametrize(("actions", "observations", "what"), REFUSED.values(), ids=REFUSED)
def test_other_spaces_are_refused_with_the_space_and_what_to_do(actions, observations, what):
    with pytest.raises(UnsupportedTask) as refusal:
        check_task(strict(actions, observations))
    kind, space = ("observations", observations) if actions is None else ("actions", actions)
    assert str(refusal.value).startswith(f"task 'Strict-v0' has {kind} in {space}, ")
    assert what in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_what_a_refusal_of_an_image_advises_works():
    gymnasium.register(
        "FlatImage-v0",
        lambda: gymnasium.wrappers.FlattenObservation(Strict(observations=Box(0, 255, (9, 9, 3), np.uint8))),
    )
    assert VectorEnv(Task("FlatImage-v0"), 1, np.random.SeedSequence(0)).observations.shape == (1, 243)


@pytest.mark.parametrize("space", [Discrete(50_000), Discrete(50_000, start=-7)], ids=str)
def test_a_one_hot_observation_needs_memory_for_itself_alone(space):
    tracemalloc.start()
    envs = VectorEnv(strict(observations=space), 2, np.random.SeedSequence(0))
    for _ in range(20):
        envs.step(np.zeros(2, np.int64))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5e6  # bytes; two rows are 0.4 MB
    assert (envs.observations.sum(axis=1) == 1).all()


@pytest.mark.parametrize("wrong", [-1, 5, "a", None, [1, 2]])
def test_an_observation_outside_a_discrete_space_is_refused(wrong):
    envs = VectorEnv(strict(observations=Discrete(5)), 1, np.random.SeedSequence(0))
    envs.backend.envs[0].unwrapped.observation_space = type("Wrong", (), {"sample": lambda self: wrong})()
    with pytest.raises(
        UnsupportedTask, match=r"^task 'Strict-v0': step returned the observation .*its observation_space is"
    ):
        envs.step(np.zeros(1, np.int64))


@pytest.mark.parametrize("wrong", [{}, {"a": np.zeros(3)}, {"a": "text"}, np.zeros(2), None])
def test_an_observation_outside_a_dict_is_refused(wrong):
    envs = VectorEnv(strict(observations=Dict({"a": Box(-1, 1, (2,))})), 1, np.random.SeedSequence(0))
    envs.backend.envs[0].unwrapped.observation_space = type("Wrong", (), {"sample": lambda self: wrong})()
    with pytest.raises(
        UnsupportedTask, match=r"^task 'Strict-v0': step returned the observation .*its observation_space is"
    ):
        envs.step(np.zeros(1, np.int64))


def test_variants_may_differ_in_the_bounds_of_observations_and_not_in_their_kind():
    def task(*spaces):
        return Task("Strict-v0", variants=tuple({"observations": space} for space in spaces))

    check_task(task(Dict({"a": Box(0, 1, (2,))}), Dict({"a": Box(0, 9, (2,))})))
    with pytest.raises(UnsupportedTask, match="variants with different spaces"):
        check_task(task(Dict({"a": Box(0, 1, (2,))}), Dict({"b": Box(0, 1, (2,))})))


class Later(gymnasium.Env):
    """Shows the first choice of its space, and `wrong` at the third step, or at the second reset."""

    def __init__(self, space, wrong, where):
        self.observation_space, self.action_space = space, Discrete(2)
        self.wrong, self.where, self.resets = wrong, where, 0
        self.right = copy.deepcopy(space)
        self.right.seed(0)
        self.right = self.right.sample()

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.resets = 0, self.resets + 1
        return self.wrong if self.where == "reset" and self.resets == 2 else self.right, {}

    def step(self, action):
        self.t += 1
        wrong = self.t == {"step": 3, "end": 5}.get(self.where)
        return self.wrong if wrong else self.right, 1.0, self.t == 5, False, {}


gymnasium.register("Later-v0", Later)
PAIR = Dict({"a": Discrete(3), "b": Box(0, 1, (2,))})
ZEROS = np.zeros(2, np.float32)
OUTSIDE = [
    (PAIR, {"a": -1, "b": ZEROS}),  # NumPy would count from the end
    (PAIR, {"a": 1.5, "b": ZEROS}),
    (PAIR, {"a": 1, "b": np.zeros((1, 2), np.float32)}),
    (Discrete(3, start=1), 1.5),
    (Discrete(3), np.array([1])),
    (MultiDiscrete([2, 3]), np.array([2, 0])),  # would be the first choice of the second part
    (MultiDiscrete([2, 3]), np.array([1, -1])),
    (MultiBinary(3), np.array([5, 0, 0])),
    (Tuple([Discrete(2), MultiDiscrete([2, 2])]), (0, np.array([0, 2]))),
    (Tuple([Discrete(2), MultiDiscrete([2, 2])]), (0,)),
    (Box(0, 1, (2, 2)), np.zeros(4, np.float32)),
]
NOT_FINITE = [
    (Discrete(3), np.nan),
    (Discrete(3), np.inf),
    (MultiDiscrete([2, 3]), np.array([np.nan, 0])),
    (MultiBinary(3), np.array([np.nan, 0, 0])),
    (PAIR, {"a": np.nan, "b": ZEROS}),
    (PAIR, {"a": 1, "b": np.full(2, np.inf)}),
    (Box(0, 9, (1, 2), np.int32), np.array([[np.nan, 1]])),
    (Tuple([Discrete(2), MultiDiscrete([2, 2])]), (0, np.array([0, np.nan]))),
]


def later(space, wrong, where):
    return Task("Later-v0", kwargs={"space": space, "wrong": wrong, "where": where})


@pytest.mark.parametrize("where", ["step", "reset"])
@pytest.mark.parametrize(("space", "wrong"), OUTSIDE, ids=str)
def test_an_observation_that_leaves_its_space_later_is_refused(space, wrong, where):
    with pytest.raises(UnsupportedTask, match=f"task 'Later-v0': {where} returned the observation .*its observation_s"):
        PPO(num_envs=2, rollout_length=32).train(later(space, wrong, where), 0, 100, compile="never")


@pytest.mark.parametrize("where", ["step", "reset"])
@pytest.mark.parametrize(("space", "wrong"), NOT_FINITE, ids=str)
def test_one_that_is_not_finite_stops_the_run_in_any_space(space, wrong, where):
    run = PPO(num_envs=2, rollout_length=32).train(later(space, wrong, where), 0, 100, compile="never")
    assert run.stopped_by_task
    assert ("inf as" if "inf" in str(wrong) else "NaN as") in run.diverged_because
    assert run.diverged_at == (5 if where == "step" else 9)


@pytest.mark.parametrize(("space", "wrong"), OUTSIDE + NOT_FINITE, ids=str)
def test_in_a_terminal_state_either_is_not_looked_at(space, wrong):
    run, other = (
        PPO(num_envs=2, rollout_length=32).train(later(space, wrong, where), 0, 100, compile="never")
        for where in ("end", "never")
    )
    assert run.episodes == other.episodes
    assert run.updates == other.updates


def test_parts_of_a_tuple_may_have_any_shapes():
    space = Tuple([Discrete(2), MultiDiscrete([2, 2]), Box(0, 1, (3,))])
    task = Task("Strict-v0", kwargs={"observations": space})
    try_task(task)
    assert PPO(num_envs=2, rollout_length=32).train(task, 0, 100, compile="never").status == "done"
