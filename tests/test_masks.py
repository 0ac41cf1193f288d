"""Action masks: where they come from, what counts as one, and that every way of acting keeps to them."""

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

from algorithms.core.normalizer import RunningNormalizer
from algorithms.core.task import Task, UnsupportedTask
from algorithms.core.vector_env import VectorEnv
from algorithms.ppo import PPO
from experiments.gradients import draw_episodes
from experiments.random_score import random_returns
from tests.tasks import ALGORITHMS, make_learner, needs_compiler

SPACES = {
    "discrete": Discrete(4, start=2),
    "parts": MultiDiscrete([2, 3, 2], start=[0, -1, 4]),
    "parts of a table": MultiDiscrete([[2, 3], [4, 1]]),
    "bits": MultiBinary((2, 2)),
}


def sizes_of(space):
    if isinstance(space, Discrete):
        return [int(space.n)]
    return [2] * int(np.prod(space.shape)) if isinstance(space, MultiBinary) else space.nvec.ravel().tolist()


class Choosy(gymnasium.Env):
    """Allows a few random choices of each part, refuses all others, and allows nothing at the end of an episode."""

    observation_space = Box(0, 1, (2,), np.float32)

    def __init__(self, actions=None, convention="info", form="flat"):
        self.action_space = actions or Discrete(4)
        self.convention, self.form, self.sizes = convention, form, sizes_of(self.action_space)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._show()

    def step(self, action):
        starts = getattr(self.action_space, "start", 0)
        choices = np.ravel(np.asarray(action) - starts)
        for choice, mask in zip(choices, self.masks, strict=True):
            assert mask[choice], f"{action} is not allowed"
        self.t += 1
        observation, info = self._show()
        return observation, float(choices.sum()), self.t == 6, False, info

    def _show(self):
        self.masks = [np.zeros(n, np.int8) for n in self.sizes]
        if self.t < 6:
            for mask in self.masks:
                mask[self.np_random.integers(len(mask), size=2)] = 1
        flat = np.concatenate(self.masks)
        self.mask = {
            "flat": flat,
            "booleans": flat.astype(bool),
            "floats": flat.astype(np.float64),
            "a list": flat.tolist(),
            "one by one": tuple(self.masks),
            "lists": [mask.tolist() for mask in self.masks],
        }[self.form]
        return self.np_random.random(2).astype(np.float32), {
            "action_mask": self.mask
        } if self.convention == "info" else {}


class ChoosyByMethod(Choosy):
    """Choosy as environments of sb3-contrib are."""

    def __init__(self, **kwargs):
        super().__init__(convention="method", **kwargs)

    def action_masks(self):
        return self.mask


class Wrong(gymnasium.Env):
    """Gives the same mask, good or not, from its third step on; the method's name is "info" or that of a method."""

    observation_space = Box(0, 1, (2,), np.float32)

    def __init__(self, mask, actions=None, convention="info", terminates=False):
        self.mask, self.action_space, self.terminates = mask, actions or Discrete(3), terminates
        if convention == "method":
            self.action_masks = lambda: self.mask if self.t >= 3 else None
        if convention == "attribute":
            self.action_masks = mask
        self.by_info = convention == "info"

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.t += 1
        info = {"action_mask": self.mask} if self.by_info and self.t >= 3 else {}
        return np.zeros(2, np.float32), 1.0, self.t == 3 and self.terminates, False, info


gymnasium.register("Choosy-v0", Choosy)
gymnasium.register("ChoosyByMethod-v0", ChoosyByMethod)
gymnasium.register("ChoosyWithLimit-v0", ChoosyByMethod, max_episode_steps=4)
gymnasium.register("Wrong-v0", Wrong, max_episode_steps=10)
gymnasium.register(
    "ByWrapper-v0", lambda **kwargs: ByWrapper(Choosy(convention="wrapper", **kwargs)), max_episode_steps=10
)


class ByWrapper(gymnasium.Wrapper):
    """sb3-contrib's ActionMasker: the method is a wrapper's."""

    def action_masks(self):
        return self.env.unwrapped.mask


@pytest.mark.parametrize("task", ["Choosy-v0", "ChoosyByMethod-v0", "ChoosyWithLimit-v0", "ByWrapper-v0"])
@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_training_evaluation_laboratory_and_random_actions_keep_to_the_masks(task, space):
    task = Task(task, kwargs={"actions": space})
    run = PPO(num_envs=3, rollout_length=16, minibatch_size=16).train(task, 0, 192)
    assert run.evaluation is not None
    envs, learner, _ = make_learner(PPO(num_envs=2), task)
    draw_episodes(task, learner.policy, RunningNormalizer(2), lambda x: x, 4, np.random.SeedSequence(0))
    assert envs.action_masks.shape == (2, sum(sizes_of(space)))
    random_returns(task, 10)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_keeps_to_masks_of_a_method(algorithm):
    assert ALGORITHMS[algorithm]().train(Task("ChoosyByMethod-v0"), 0, 200).evaluation is not None


@needs_compiler
def test_compiled_code_keeps_to_the_masks():
    algorithm = PPO(num_envs=2, rollout_length=32, minibatch_size=32)
    run = algorithm.train(Task("ChoosyByMethod-v0", kwargs={"actions": MultiBinary(3)}), 0, 128, compile="always")
    assert run.compiled


@pytest.mark.parametrize("form", ["booleans", "floats", "a list", "one by one", "lists"])
@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_a_mask_may_have_several_forms(form, space):
    if isinstance(space, Discrete) and form in ("one by one", "lists"):
        pytest.skip("Discrete has no parts")
    tasks = [Task("Choosy-v0", kwargs={"actions": space, "form": f}) for f in ("flat", form)]
    flat, other = (VectorEnv(task, 2, np.random.SeedSequence(0)).action_masks for task in tasks)
    assert flat.tolist() == other.tolist()
    assert other.dtype == bool


def test_a_nested_tuple_is_read_as_gymnasium_samples_it():
    space = MultiDiscrete([[2, 3], [4, 1]])
    mask = ((np.int8([0, 1]), np.int8([1, 0, 0])), (np.int8([0, 0, 1, 0]), np.int8([1])))
    assert space.sample(mask=mask).tolist() == [[1, 0], [2, 0]]
    envs = VectorEnv(Task("Wrong-v0", kwargs={"mask": mask, "actions": space}), 1, np.random.SeedSequence(0))
    for _ in range(3):
        envs.step(np.zeros((1, 4), np.int64))
    assert envs.action_masks.tolist() == [[False, True, True, False, False, False, False, True, False, True]]


def test_random_actions_are_uniform_among_those_that_are_allowed():
    returns = random_returns(Task("Wrong-v0", kwargs={"mask": [1, 0, 1], "terminates": True}), 5)
    assert returns.tolist() == [3.0] * 5
    counts = np.zeros(4)

    class Counted(Choosy):
        def step(self, action):
            counts[action] += 1
            return super().step(action)

        def _show(self):
            observation, info = super()._show()
            self.masks = [np.array([0, 1, 0, 1])]
            return observation, info | {"action_mask": self.masks[0]}

    gymnasium.register("Counted-v0", Counted)
    random_returns(Task("Counted-v0"), 100)
    assert counts[[0, 2]].tolist() == [0, 0]
    assert counts[1] / counts.sum() == pytest.approx(0.5, abs=0.08)  # of 600


def test_where_both_are_there_the_info_counts():
    class Both(Choosy):
        def action_masks(self):
            raise AssertionError("the info has a mask")

    gymnasium.register("Both-v0", Both)
    assert VectorEnv(Task("Both-v0"), 1, np.random.SeedSequence(0)).action_masks is not None


ONES, PARTS, BITS = np.ones(3), MultiDiscrete([2, 3]), MultiBinary(2)
WRONG = {
    "nothing allowed": ([0, 0, 0], None, "allows no action although the episode goes on"),
    "all false": (np.zeros(3, bool), None, "allows no action"),
    "logits": ([0.0, -np.inf, 0.0], None, "consists of booleans or of 0 and 1"),
    "only logits": ([-np.inf] * 3, None, "consists of booleans or of 0 and 1"),
    "probabilities": ([0.5, 0.25, 0.25], None, "consists of booleans or of 0 and 1"),
    "NaN": ([np.nan, 1, 1], None, "consists of booleans or of 0 and 1"),
    "twos": ([2, 1, 0], None, "consists of booleans or of 0 and 1"),
    "minus ones": ([-1, 1, 0], None, "consists of booleans or of 0 and 1"),
    "one": ([1], None, "a row of 3 entries"),
    "a number": (1, None, "a row of 3 entries"),
    "too long": ([1] * 4, None, "a row of 3 entries"),
    "empty": ([], None, "a row of 3 entries"),
    "a row in a row": ([[1, 1, 1]], None, "a row of 3 entries"),
    "text": ("110", None, "a row of 3 entries"),
    "words": (["yes", "no", "no"], None, "no array of booleans or of 0 and 1"),
    "nothing in it": ([None, 1, 1], None, "no array of booleans or of 0 and 1"),
    "a mapping": ({"a": 1}, None, "a row of 3 entries"),
    "one part has nothing": ([1, 1, 0, 0, 0], PARTS, "allows no action in one of its parts"),
    "one part of a tuple has nothing": (([0, 0], [1, 1, 1]), PARTS, "allows no action in one of its parts"),
    "parts in another order": (([1, 1, 1], [1, 1]), PARTS, "its parts have [2, 3] choices"),
    "parts missing": (([1, 1],), PARTS, "a row of 5 entries"),
    "short for parts": ([1, 1], PARTS, "a row of 5 entries"),
    "logits of parts": ([0, 0, 0, -np.inf, 0], PARTS, "consists of booleans or of 0 and 1"),
    "a bit has nothing": ([0, 0, 1, 1], BITS, "allows no action in one of its parts"),
    "one entry a bit": ([1, 1], BITS, "a row of 4 entries"),
    "a box": ([1, 1], Box(-1, 1, (2,), np.float32), "only actions in Discrete, MultiDiscrete or MultiBinary can be"),
    "a table of numbers": ([1, 1], Box(-1, 1, (2, 2), np.float64), "only actions in Discrete, MultiDiscrete or"),
}


@pytest.mark.parametrize("convention", ["info", "method"])
@pytest.mark.parametrize(("mask", "space", "words"), WRONG.values(), ids=WRONG)
def test_what_is_no_mask_is_refused_with_task_environment_and_step(mask, space, words, convention):
    task = Task("Wrong-v0", kwargs={"mask": mask, "actions": space, "convention": convention}, name="mine")
    said = "info['action_mask']" if convention == "info" else "action_masks()"

    def train():
        PPO(num_envs=2, rollout_length=16).train(task, 0, 64)

    for use in (train, lambda: random_returns(task, 1)):
        with pytest.raises(UnsupportedTask) as refusal:
            use()
        message = str(refusal.value)
        assert message.startswith(f"task 'mine' gives the mask {said} = ")
        assert "(environment 0, after 3 steps)" in message
        assert words in message


@pytest.mark.parametrize("convention", ["info", "method"])
def test_a_mask_after_the_end_of_an_episode_is_not_looked_at(convention):
    task = Task("Wrong-v0", kwargs={"mask": [0, 0, 0], "convention": convention, "terminates": True})
    assert PPO(num_envs=2, rollout_length=16).train(task, 0, 64).evaluation is not None
    limited = Task("Wrong-v0", kwargs={"mask": [0, 0, 0], "convention": convention}, max_episode_steps=3)
    assert PPO(num_envs=2, rollout_length=16).train(limited, 0, 64).evaluation is not None


def test_masks_that_are_no_method_are_refused():
    with pytest.raises(UnsupportedTask, match=r"^task 'Wrong-v0' .*action_masks is no method"):
        VectorEnv(Task("Wrong-v0", kwargs={"mask": ONES, "convention": "attribute"}), 1, np.random.SeedSequence(0))
