"""What a task's numbers do to a run, random ones too: one that is not finite stops it, and a seed decides the run."""

import random
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from algorithms.actor_critic import ActorCritic
from algorithms.core.run import Run
from algorithms.core.run_check import checked_training
from algorithms.core.task import StoppedByTask, Task, Transition
from algorithms.core.training import Seeds
from algorithms.core.vector_env import VectorEnv
from algorithms.ppo import PPO
from algorithms.reinforce import Reinforce
from experiments.gradients import draw_episodes
from experiments.random_score import random_returns
from tests.tasks import make_learner, needs_compiler


class Guess(gymnasium.Env):
    """Ten steps; a reward for guessing a random bit. A subclass changes what one step or reset gives."""

    observation_space, action_space = Box(0, 1, (1,), np.float32), Discrete(2)

    def __init__(self, **given):
        self.given, self.taken, self.resets = given, 0, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.resets = 0, self.resets + 1
        first = np.zeros(self.observation_space.shape, np.float32)
        return self.given["first"] if self.resets == self.given.get("at_reset") else first, {}

    def step(self, action):
        self.t, self.taken = self.t + 1, self.taken + 1
        guessed = np.ravel(action)[0] > 0.5
        here = self.taken == self.given.get("at", 0)
        terminated, truncated = self.t == 10, bool(self.given.get("truncated")) and self.t == 10
        if "last" in self.given and self.t == 10:
            observation = self.given["last"]
        else:
            observation = self.given["observation"] if here and "observation" in self.given else np.zeros(1, np.float32)
        reward = (
            self.given["reward"] if here and "reward" in self.given else float(guessed == self.np_random.integers(2))
        )
        info = {"cost": self.given["cost"]} if here and "cost" in self.given else self.given.get("info", {})
        return observation, reward, terminated and not self.given.get("only_truncated"), truncated, info


class GuessInBox(Guess):
    """Actions in a Box, which are asserted to be inside."""

    action_space = Box(-1, 2, (1,), np.float32)

    def step(self, action):
        assert self.action_space.contains(action)
        return super().step(action)


class GuessInParts(Guess):
    action_space = MultiDiscrete([2, 2])

    def step(self, action):
        observation, reward, *rest, _ = super().step(action)
        return observation, 1.0, *rest, {"part_rewards": [reward, 1.0]}


class OneHot(Guess):
    """Observations in a Discrete."""

    observation_space = Discrete(3)

    def reset(self, *, seed=None, options=None):
        return 0, super().reset(seed=seed)[1]

    def step(self, action):
        observation, *rest = super().step(action)
        return observation if self.t == 10 else self.t % 3, *rest


class Sharpe(Guess):
    """0/0 once a policy holds still (issue 14)."""

    observation_space = Box(0, 1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.g = []
        return np.array([0, 1], np.float32), {}

    def step(self, action):
        self.g.append(float(action) * self.np_random.normal(-0.05, 0.1))
        n = len(self.g)
        reward = float(np.mean(self.g) / np.std(self.g)) if n == 30 else 0.0
        return np.array([n / 30, 1], np.float32), reward, n == 30, False, {}


class Masked(Guess):
    """Masks at every step but the last, where none is allowed or there is none."""

    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0], {"action_mask": np.array([True, True])}

    def step(self, action):
        *rest, _ = super().step(action)
        mask = self.given["last_mask"] if self.t == 10 else np.array([True, True])
        return *rest, {} if mask is None else {"action_mask": mask}


class Random(Guess):
    """Draws from every generator but its own, in all that it has."""

    def __init__(self):
        super().__init__()
        self.shift = random.random() + np.random.random() + torch.rand(()).item()  # noqa: NPY002

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.full(1, np.random.random(), np.float32), {}  # noqa: NPY002

    def step(self, action):
        _, _, *rest = super().step(action)
        drawn = random.random() + np.random.random() + torch.rand(()).item()  # noqa: NPY002
        return self.observation_space.sample(), self.shift + drawn + self.action_space.sample(), *rest


for cls in (Guess, GuessInBox, GuessInParts, OneHot, Sharpe, Masked, Random):
    gymnasium.register(f"Numbers{cls.__name__}-v0", cls)
NAN, INF = float("nan"), float("inf")
ALGORITHMS = {
    "reinforce": Reinforce(num_envs=2),
    "actor_critic": ActorCritic(num_envs=2, rollout_length=8),
    "ppo": PPO(num_envs=2, rollout_length=16, minibatch_size=8, epochs=2),
}
every_algorithm = pytest.mark.parametrize("name", ALGORITHMS)


def task(name="Guess", **given):
    """A task of this file; with what its environment is given."""
    return Task(f"Numbers{name}-v0", variants=(given,) if given else ())


def run_of(name, of_task, steps=200, seed=0, **options):
    return checked_training(ALGORITHMS[name], of_task, seed, steps, **{"compile": "never", **options})


def outcome(run: Run):
    """All of a run that does not measure time."""
    last = run.checkpoints[-1].state
    return run.episodes, run.updates, run.evaluation, {name: array.tobytes() for name, array in last.items()}


def test_the_random_score_of_a_guess_is_what_chance_gives():
    assert random_returns(task()).mean() == pytest.approx(5.0, abs=0.5)
    np.testing.assert_array_equal(random_returns(task()), random_returns(task()))
    assert (random_returns(task()) != random_returns(task(), seed=1)).any()


@every_algorithm
@pytest.mark.parametrize("last", [np.full(1, NAN, np.float32), [INF], None, np.full(1, 3e38, np.float32), "end", {}])
@pytest.mark.parametrize("truncated", [False, True])
def test_what_follows_a_termination_is_not_looked_at(name, last, truncated):
    runs = [run_of(name, task(last=x, truncated=truncated), checkpoint_fractions=(1,)) for x in (np.zeros(1), last)]
    assert outcome(runs[0]) == outcome(runs[1])


@every_algorithm
@pytest.mark.parametrize("last", [None, NAN, 99, [1, 2]])
def test_nor_is_it_where_observations_are_discrete(name, last):
    runs = [run_of(name, task("OneHot", last=x), checkpoint_fractions=(1,)) for x in (0, last)]
    assert runs[1].diverged_at is None
    if name == "reinforce":
        assert outcome(runs[0]) == outcome(runs[1])


@every_algorithm
@pytest.mark.parametrize("mask", [None, np.array([False, False])])
def test_nor_is_the_mask_after_it(name, mask):
    runs = [run_of(name, task("Masked", last_mask=x), checkpoint_fractions=(1,)) for x in (np.ones(2, bool), mask)]
    assert outcome(runs[0]) == outcome(runs[1])


def test_an_observation_at_a_time_limit_is_looked_at():
    run = run_of("ppo", task(last=np.full(1, NAN), truncated=True, only_truncated=True))
    assert run.diverged_because == "the task gave NaN as observation at step 19"


@every_algorithm
@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"reward": NAN}, "NaN as reward"),
        ({"reward": np.float32(INF)}, "inf as reward"),
        ({"reward": -INF}, "-inf as reward"),
        ({"reward": 10**40}, "1e+40 as reward"),
        ({"reward": 1e308}, "1e+308 as reward"),
        ({"cost": INF}, "inf as cost"),
        ({"cost": NAN}, "NaN as cost"),
        ({"observation": np.full(1, NAN, np.float32)}, "NaN as observation"),
        ({"observation": np.full(1, 1e39)}, "inf as observation"),
        ({"observation": [-INF]}, "-inf as observation"),
    ],
)
@pytest.mark.parametrize("space", ["Guess", "GuessInBox"])
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_a_number_that_is_not_finite_stops_a_run_at_its_step(name, space, given, what):
    run = run_of(name, task(space, at=24, **given), checkpoint_fractions=(0, 1))
    assert (run.stopped_by_task, run.evaluation, run.steps_taken) == (True, None, 47)
    assert (run.diverged_at, run.diverged_because) == (47, f"the task gave {what} at step 47")
    assert [episode.step for episode in run.episodes] == [19, 20, 39, 40]
    assert all(np.isfinite(value) for row in run.updates for value in row.values())
    assert [checkpoint.fraction for checkpoint in run.checkpoints] == [0]


def test_a_reward_of_a_part_is_a_number_too():
    run = run_of("ppo", task("GuessInParts", at=24, reward=NAN))
    assert run.diverged_because == "the task gave NaN as reward of a part at step 47"


def test_rewards_whose_sum_is_too_large_stop_a_run():
    run = run_of("ppo", Task("Numbers1e38-v0"))
    assert run.diverged_because == "the task gave rewards whose sum over an episode is 4e+38 at step 7"


gymnasium.register("Numbers1e38-v0", lambda: gymnasium.wrappers.TransformReward(Guess(), lambda reward: 1e38))


@every_algorithm
@pytest.mark.parametrize(("at_reset", "step"), [(1, 0), (3, 39)])
@pytest.mark.parametrize("space", ["Guess", "GuessInBox"])
def test_so_does_an_observation_at_a_reset(name, space, at_reset, step):
    run = run_of(name, task(space, first=np.full(1, NAN), at_reset=at_reset))
    assert run.stopped_by_task
    assert run.diverged_because == f"the task gave NaN as observation at a reset at step {step}"
    assert (run.diverged_at, run.evaluation) == (step, None)


def test_a_number_that_is_not_finite_in_an_evaluation_alone_stops_the_run_at_its_end():
    still = PPO(num_envs=2, rollout_length=30, policy_learning_rate=0.0)
    run = checked_training(still, task("Sharpe"), 2, 600, compile="never")
    assert run.diverged_because == "the task gave NaN as reward at step 59 of the evaluation with the mode action"
    assert (run.diverged_at, run.evaluation, len(run.episodes)) == (600, None, 20)
    assert (
        checked_training(still, task("Sharpe"), 2, 600, compile="never", evaluations=("sampled",)).evaluation
        is not None
    )


def test_the_random_score_of_a_task_with_such_a_number_is_a_sentence():
    with pytest.raises(StoppedByTask, match="'NumbersGuess-v0' gave a reward that makes the return nan at step 13"):
        random_returns(task(at=13, reward=NAN))


def test_a_train_of_its_own_that_meets_such_a_number_is_stopped_too():
    class Own(PPO):
        def train(self, task, seed, steps, **options):
            raise StoppedByTask(task.id, 7, "NaN as reward")

    run = checked_training(Own(), task(), 0, 100)
    assert (run.stopped_by_task, run.diverged_at) == (True, 7)


@every_algorithm
def test_a_run_on_global_generators_is_decided_by_its_seed(name):
    first = outcome(run_of(name, task("Random"), checkpoint_fractions=(1,)))
    random.random(), np.random.random(5), torch.rand(3)  # noqa: NPY002
    assert outcome(run_of(name, task("Random"), checkpoint_fractions=(1,))) == first
    assert outcome(run_of(name, task("Random"), seed=1, checkpoint_fractions=(1,)))[0] != first[0]
    alone = run_of(name, task("Random"), checkpoint_fractions=(1,), evaluations=("mode",)).evaluation
    assert alone == {"mode": first[2]["mode"]}
    np.testing.assert_array_equal(random_returns(task("Random")), random_returns(task("Random")))


def test_episodes_of_the_laboratory_are_decided_by_their_seed():
    def drawn():
        _, learner, _ = make_learner(ALGORITHMS["reinforce"], task("Random"))
        seed = np.random.SeedSequence(5)
        return draw_episodes(task("Random"), learner.policy, learner.normalizer, lambda x: x, 8, seed).steps

    first, again = drawn(), drawn()
    np.testing.assert_array_equal(first.observations, again.observations)
    np.testing.assert_array_equal(first.rewards, again.rewards)


@pytest.mark.parametrize("terminated", [False, True])
def test_the_numbers_of_any_backend_are_checked(terminated):
    envs = VectorEnv(task(), 2, np.random.SeedSequence(0))
    given = Transition(np.array([[1], [NAN]], np.float32), np.ones(2), np.array([False, terminated]), np.zeros(2, bool))
    envs.backend.step = lambda actions, active: given
    if terminated:
        assert envs.step(np.zeros(2, int)).next_observations.tolist() == [[1], [0]]
    else:
        with pytest.raises(StoppedByTask, match="'NumbersGuess-v0' gave NaN as observation at step 2; let it give"):
            envs.step(np.zeros(2, int))
        assert envs.steps == 2


@needs_compiler
def test_a_compiled_run_looks_no_further_and_stops_at_the_same_step():
    def compiled(**given):
        return run_of("ppo", task(**given), compile="always", checkpoint_fractions=(1,), evaluations=("mode",))

    zeros, nothing = compiled(last=np.zeros(1)), compiled(last=None)
    assert zeros.compiled
    assert outcome(zeros) == outcome(nothing)
    assert compiled(at=24, reward=NAN).diverged_because == "the task gave NaN as reward at step 47"


def test_two_processes_with_one_seed_agree_on_global_generators():
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from test_numbers import run_of, task\n"
        "print(run_of('ppo', task('Random')).evaluation)\n"
    )
    done = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(2)]
    assert done[0].stdout == done[1].stdout != ""


def test_no_two_generators_of_a_run_share_a_seed(monkeypatch):
    taken = []
    monkeypatch.setattr("algorithms.core.run_check.seed_global_generators", taken.append)
    checked_training(ALGORITHMS["ppo"], task("Guess"), 3, 60, compile="never")
    of_run = [*vars(Seeds.of(3)).values(), *taken]
    assert len({tuple(seed.generate_state(4)) for seed in of_run}) == len(of_run) == 6
