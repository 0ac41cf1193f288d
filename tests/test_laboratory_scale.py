"""The laboratory compares like with like: every batch on its own scale, and every estimator at one discount."""

import json
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import pytest
import torch
import yaml

from algorithms.a2c import A2C
from algorithms.actor_critic import ActorCritic
from algorithms.core.algorithm import setting
from algorithms.core.estimators import discounted_returns
from algorithms.core.normalizer import RunningNormalizer
from algorithms.core.policies import Policy
from algorithms.core.policy_gradient import PolicyGradient
from algorithms.core.task import Task
from algorithms.core.vector_env import VectorEnv
from algorithms.ppo import PPO
from algorithms.reinforce import Reinforce
from algorithms.reinforce_baseline import ReinforceBaseline
from analysis.reading.probes import Probe as Read
from analysis.sections.laboratory.tables import gradient_rows
from experiments import exact
from experiments.cells import GridAlgorithm
from experiments.checks import GridError
from experiments.gradients import Critic, Estimator, Generalized, batch_sizes, fit_value_function, measure_gradients
from experiments.grid import load_grid
from experiments.probe import Clock, Frozen, initialised, known_critics, measure, trained
from experiments.run import main as run_main

ROUNDING = 2e-5  # of the largest component of REINFORCE's gradients: many times what any order of summing changes
GAMMA = 0.98
BATCHES, BATCH_SIZE = 32, 4


def cartpole(seed=0):
    """CartPole under an initial policy, which lets no episode reach the time limit, and a critic fitted to it."""
    envs = VectorEnv(Task("CartPole-v1"), 1, np.random.SeedSequence(0))
    envs.close()
    policy = Policy(envs.observation_size, envs.action_space, "clip", torch.Generator().manual_seed(seed))
    normalizer = RunningNormalizer(envs.observation_size)
    frozen = Frozen(Task("CartPole-v1"), policy, normalizer, np.asarray, None, 0, GAMMA)
    episodes = frozen.draw(BATCHES * BATCH_SIZE, np.random.SeedSequence(seed))
    fitted = fit_value_function(frozen.draw(32, np.random.SeedSequence(9)), GAMMA, np.random.SeedSequence(0))
    return policy, episodes, {"fitted": Critic.of(fitted, episodes)}


def exact_problem(name):
    problem = exact.PROBLEMS[name]
    policy = exact.random_policy(problem, 0)
    normalizer = RunningNormalizer(problem.observations)
    frozen = Frozen(Task(name), policy, normalizer, np.asarray, None, 0, GAMMA)
    episodes = frozen.draw(BATCHES * BATCH_SIZE, np.random.SeedSequence(0))
    return policy, episodes, dict(known_critics(problem, policy, episodes, GAMMA))


PLACES = {"CartPole": cartpole} | {name: lambda name=name: exact_problem(name) for name in exact.PROBLEMS}


@pytest.fixture(scope="module", params=PLACES)
def place(request):
    """A policy, episodes of which none is truncated, and the critics' values."""
    made = PLACES[request.param]()
    assert not made[1].steps.truncated.any()
    return made


def vectors_of(place, **algorithms):
    """The gradients by name of the algorithm, critic and batch size."""
    policy, episodes, critics = place
    estimators = [
        Estimator(f"{name}/{critic}", algorithm, "algorithm", name, critic)
        for name, algorithm in algorithms.items()
        for critic in (set(critics) - {"compatible"} if algorithm.value_function else {"none"})
    ]
    found = measure_gradients(policy, episodes, estimators, critics, BATCHES, BATCH_SIZE)
    return {(*id.split("/"), size): vectors for (id, size), vectors in found.items()}


def assert_equal(found, first, second, against="reinforce"):
    """At every batch size and with every critic, to the rounding of REINFORCE's own gradients."""
    compared = [key[1:] for key in found if key[0] == first]
    assert {size for _, size in compared} == set(batch_sizes(BATCHES, BATCH_SIZE)) == {1, 4, 16}
    for critic, size in compared:
        of_second = found.get((second, critic, size), found.get((second, "none", size)))
        largest = np.abs(found[against, "none", size]).max()
        difference = np.abs(found[first, critic, size] - of_second).max()
        assert difference <= ROUNDING * largest, (critic, size, difference / largest)


def test_without_truncation_a2c_is_reinforce_with_a_baseline_in_every_batch(place):
    found = vectors_of(
        place,
        reinforce=Reinforce(gamma=GAMMA),
        baseline=ReinforceBaseline(gamma=GAMMA),
        a2c=A2C(gamma=GAMMA),
        ppo=PPO(gamma=GAMMA, gae_lambda=1.0),
        gae=Generalized(gamma=GAMMA, gae_lambda=1.0),
        mean=ReinforceBaseline(gamma=GAMMA, steps_of_an_episode="mean"),
    )
    for name in ("a2c", "ppo", "gae", "mean"):
        assert_equal(found, name, "baseline")


def test_actor_critic_is_generalised_advantages_at_lambda_zero_in_every_batch(place):
    found = vectors_of(
        place,
        reinforce=Reinforce(gamma=GAMMA),
        actor_critic=ActorCritic(gamma=GAMMA),
        gae=Generalized(gamma=GAMMA, gae_lambda=0.0),
        ppo=PPO(gamma=GAMMA, gae_lambda=0.0),
    )
    for name in ("actor_critic", "ppo"):
        assert_equal(found, name, "gae")


@dataclass(frozen=True)
class Scaled(Reinforce):
    """REINFORCE's loss, divided by a power of the number of steps or by a number, and multiplied by a number."""

    steps_power: float = 0.0
    factor: float = 1.0

    def policy_loss(self, log_prob, batch):
        divisor = len(batch) ** self.steps_power * batch.episodes ** (1 - self.steps_power)
        return -self.factor * (log_prob * batch.advantages).sum() / divisor


@dataclass(frozen=True)
class Weighted(PolicyGradient):
    """Every step has a weight of its own, 1 + x² of its first observation; the loss is a sum, or a mean over steps."""

    value_function: ClassVar[bool] = False
    reduction: Literal["sum", "mean"] = "sum"

    def advantages(self, rollout):
        return discounted_returns(rollout, self.gamma)

    def policy_loss(self, log_prob, batch):
        terms = log_prob * batch.advantages * (1 + batch.observations[:, 0].square())
        return -(terms.mean() if self.reduction == "mean" else terms.sum() / batch.episodes)


@dataclass(frozen=True)
class Whitened(Weighted):
    """Advantages of zero mean and unit deviation, made so in the loss."""

    def policy_loss(self, log_prob, batch):
        psi = batch.advantages - batch.advantages.mean()
        terms = log_prob * psi / (psi.square().mean().sqrt() + 1e-8)
        return -(terms.mean() if self.reduction == "mean" else terms.sum() / batch.episodes)


def test_a_loss_of_ones_own_is_on_the_scale_of_reinforce_however_it_divides(place):
    found = vectors_of(
        place,
        reinforce=Reinforce(gamma=GAMMA),
        mean=Reinforce(gamma=GAMMA, steps_of_an_episode="mean"),
        larger=Scaled(gamma=GAMMA, factor=3.0, steps_power=1.0),
        smaller=Scaled(gamma=GAMMA, factor=0.01),
        root=Scaled(gamma=GAMMA, steps_power=0.5),
    )
    for name in ("mean", "larger", "smaller", "root"):
        assert_equal(found, name, "reinforce")


@pytest.mark.parametrize("loss", [Weighted, Whitened])
def test_a_mean_over_steps_is_the_sum_over_an_episode_also_where_steps_weigh_differently(loss, place):
    """Where the sum has random weights, or none at equal advantages, no batch has a scale that the others have not."""
    found = vectors_of(place, mean=loss(gamma=GAMMA, reduction="mean"), sum=loss(gamma=GAMMA))
    for size in (1, 4, 16):
        found["reinforce", "none", size] = found["sum", "none", size]
    assert_equal(found, "mean", "sum")


def test_the_plain_loss_is_a_ratio_that_the_scale_takes_out():
    """The old scale, one number for all batches, showed A2C with another variance and another mean."""
    policy, episodes, critics = cartpole()
    found = vectors_of((policy, episodes, critics), a2c=A2C(gamma=GAMMA), baseline=ReinforceBaseline(gamma=GAMMA))
    a2c, baseline = (found[name, "fitted", BATCH_SIZE] for name in ("a2c", "baseline"))
    steps = np.diff(episodes.starts).reshape(BATCHES, BATCH_SIZE).sum(axis=1, keepdims=True)
    of_old = a2c * (steps.mean() / steps)
    largest = np.abs(baseline).max()
    assert np.abs(of_old - baseline).max() > 0.1 * largest
    assert np.abs(of_old.mean(axis=0) - baseline.mean(axis=0)).max() > 1e-3 * largest
    variances = [vectors.var(axis=0).sum() for vectors in (of_old, a2c, baseline)]
    assert variances[0] < 0.97 * variances[2]
    assert variances[1] == pytest.approx(variances[2], rel=1e-4)


# ---- one discount

GRID = """
description: Small probes.
seeds: [0]
checkpoints: [1]
probes: {source: ppo, seeds: [0], fractions: [1], batches: 32, gae_lambdas: [0, 1], exact: {batch_size: 2}}
tasks:
  CartPole-v1: {steps: 1000, random_score: 20, reference_score: 475, reference_source: registered reward threshold}
algorithms:
  reinforce: {}
  reinforce_baseline: {}
  actor_critic: {}
  a2c: {}
  ppo: {settings: {num_envs: 4, rollout_length: 64, gae_lambda: 0.8}}
"""
SOURCE_GAMMA = 0.9


def grid_with(folder, name, change):
    data = yaml.safe_load(GRID)
    data["probes"]["tasks"] = {"CartPole-v1": {"batch_size": 2, "fit_episodes": 8}}
    change(data["algorithms"])
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
    return load_grid(str(folder / f"{name}.yaml"))


def all_equal(algorithms):
    for entry in algorithms.values():
        entry.setdefault("settings", {})["gamma"] = SOURCE_GAMMA


def only_the_source(algorithms):
    algorithms["ppo"]["settings"]["gamma"] = SOURCE_GAMMA


def by_task(algorithms):
    algorithms["ppo"]["tasks"] = {"CartPole-v1": {"gamma": SOURCE_GAMMA}}
    algorithms["a2c"]["tasks"] = {"CartPole-v1": {"gamma": 0.5}}
    algorithms["reinforce"]["settings"] = {"gamma": 1.0}


DIFFERENT = {"settings of the source": only_the_source, "settings of tasks": by_task}


@pytest.fixture(scope="module")
def equal(tmp_path_factory):
    """A grid in which all have one discount, the source's run, its probe's record and inner products."""
    folder = tmp_path_factory.mktemp("equal")
    grid = grid_with(folder, "equal", all_equal)
    run(grid, folder / "run")
    return folder / "run", *measured(grid, folder / "run")


def run(grid, folder, *further):
    words = ["--grid", grid.path, "--algorithm", "ppo", "--task", "CartPole-v1", "--seed", "0"]
    run_main([*words, "--output", str(folder), *further])


def measured(grid, folder):
    asked = grid.probe("CartPole-v1", 0, 1)
    return measure(grid, asked, trained(grid, asked, folder), Clock())


def assert_same(record, products, other, other_products):
    """Records and inner products are equal but for the name of the grid."""
    assert {**record, "probe": None} == {**other, "probe": None}
    assert set(products) == set(other_products)
    for name in products:
        np.testing.assert_array_equal(products[name], other_products[name], err_msg=name)


@pytest.mark.parametrize("origin", DIFFERENT)
def test_every_estimator_is_measured_at_the_discount_of_the_sources_run(origin, equal, tmp_path):
    folder, expected, products = equal
    record, found = measured(grid_with(tmp_path, "other", DIFFERENT[origin]), folder)
    assert record["gamma"] == SOURCE_GAMMA
    assert {entry["gamma"] for entry in record["estimators"] + record["critics"]} == {SOURCE_GAMMA}
    assert_same(record, found, expected, products)


def tuned(folder):
    """A grid that tunes every discount, whose settings before tuning have the default one."""

    def search(algorithms):
        for entry in algorithms.values():
            entry["search_space"] = {"gamma": {"low": 0.8, "high": 0.99}}

    grid = grid_with(folder, "tuned", search)
    data = yaml.safe_load((folder / "tuned.yaml").read_text(encoding="utf-8"))
    data["tuning"] = {"seeds": [100, 101], "fresh_seeds": [200], "trials": 2, "startup_trials": 2}
    data["tuning"]["groups"] = {"all": {"tasks": {"CartPole-v1": 500}, "serves": ["CartPole-v1"]}}
    (folder / "tuned.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
    return load_grid(grid.path)


def test_a_discount_that_a_study_found_is_that_of_the_probe(equal, tmp_path):
    _, expected, products = equal
    grid = tuned(tmp_path)
    assert {grid.resolved(name, "CartPole-v1").gamma for name in grid.algorithms} == {0.99}
    best = {"algorithm": "ppo", "group": "all", "trial": 1, "score": 0.5, "settings": {"gamma": SOURCE_GAMMA}}
    (tmp_path / "best.json").write_text(json.dumps(best), encoding="utf-8")
    run(grid, tmp_path / "run", "--tuned", str(tmp_path / "best.json"))
    record, found = measured(grid, tmp_path / "run")
    assert_same(record, found, expected, products)


def test_lambda_stays_each_algorithms_own(equal):
    """PPO's is 0.8: it is not the source of every estimator's, and GAE at 0 and 1 differ from it."""
    _, record, products = equal
    assert {entry["gae_lambda"] for entry in record["estimators"] if entry["kind"] == "gae"} == {0, 1}
    traces = [np.trace(products[f"{name}/2/self"]) for name in ("ppo trained raw", "gae 0 trained", "gae 1 trained")]
    assert len(set(np.round(traces, 6))) == 3


@pytest.mark.parametrize("problem", exact.PROBLEMS)
def test_on_an_exact_problem_all_have_the_default_discount(problem, tmp_path):
    one, other = (grid_with(tmp_path, name, change) for name, change in (("a", by_task), ("b", lambda _: None)))
    asked = one.probe(problem, 0, 0)
    found = [measure(grid, asked, initialised(asked), Clock()) for grid in (one, other)]
    for record, _ in found:
        assert record["gamma"] == PolicyGradient.gamma == 0.99
        assert {entry["gamma"] for entry in record["estimators"] + record["critics"]} == {0.99}
    assert_same(*found[0], *found[1])


@dataclass(frozen=True)
class Myopic(PolicyGradient):
    """REINFORCE that looks at most two steps ahead."""

    value_function: ClassVar[bool] = False
    gamma: float = setting(0.3, low=0, high=0.5)
    advantages = Reinforce.advantages
    policy_loss = Weighted.policy_loss
    reduction: Literal["sum", "mean"] = "sum"


def test_a_discount_that_an_algorithm_cannot_have_is_one_sentence(equal, tmp_path):
    grid = grid_with(tmp_path, "myopic", only_the_source)
    grid = replace(grid, algorithms=grid.algorithms | {"myopic": GridAlgorithm("myopic", Myopic, {}, {})})
    with pytest.raises(GridError, match=r"algorithm myopic on CartPole-v1: gamma of Myopic must be between 0 and 0\.5"):
        measured(grid, equal[0])


def test_a2c_with_the_fitted_critic_has_no_bias_in_the_tables_where_nothing_is_truncated(tmp_path):
    grid = grid_with(tmp_path, "initial", all_equal)
    asked = replace(grid.probe("CartPole-v1", 0, 1), batches=48)
    policy, *_ = cartpole()
    frozen = Frozen(Task("CartPole-v1"), policy, RunningNormalizer(4), np.asarray, None, 0, SOURCE_GAMMA)
    record, products = measure(grid, asked, frozen, Clock())
    rows = {row["estimator"]: row for row in gradient_rows(Read(record, products)) if row["main"]}
    a2c, baseline = rows["a2c fitted raw"], rows["reinforce_baseline fitted raw"]
    assert a2c["relative_bias"] == a2c["relative_bias_high"] == 0.0
    assert a2c["verdict"] == "unbiased"
    assert a2c["ratio"] == pytest.approx(baseline["ratio"], rel=1e-4)
