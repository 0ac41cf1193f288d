"""The quality of gradient estimates: what a probe streams, estimates and judges, and mistakes in a grid's `quality`."""

import copy
import dataclasses
import json
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import torch
import yaml

from algorithms.core.batch import Batch
from algorithms.core.mlp import ValueFunction
from algorithms.core.normalizer import RunningNormalizer
from algorithms.core.policies import Policy
from algorithms.core.task import StoppedByTask, Task
from algorithms.core.vector_env import VectorEnv
from algorithms.ppo import PPO
from algorithms.trpo import TRPO
from experiments import quality
from experiments.checks import GridError
from experiments.gradients import draw_episodes, returns_of
from experiments.grid import load_grid
from experiments.jobs import Jobs
from experiments.pairs import (
    CHUNK,
    Means,
    Sizes,
    Stream,
    joined,
    judge,
    known_steps,
    measure_stream,
    prediction,
    values_along,
    with_known_returns,
    with_returns,
)
from experiments.run import main as run_main
from tests.pipeline_fixtures import ROOT

SIZES = Sizes(pairs=(1000, 2000), estimates=4, reference_pairs=4000)


def frozen(task="CartPole-v1", observations=4):
    """A policy with random parameters, two value functions and none, and statistics of observations."""
    generator = torch.Generator().manual_seed(1)
    envs = VectorEnv(Task(task), 1, np.random.SeedSequence(0))
    envs.close()
    policy = Policy(observations, envs.action_space, "clip", generator, last_gain=1.0)
    normalizer = RunningNormalizer(observations)
    normalizer.update(np.random.default_rng(2).normal(size=(50, observations)))
    critics = {name: ValueFunction(observations, generator) for name in ("trained", "fitted")} | {"none": None}
    return policy, normalizer, critics


def stream(chunks, task="CartPole-v1", observations=4, seed=3, **options):
    policy, normalizer, critics = frozen(task, observations)
    drawn = Stream(
        *(Task(task), policy, normalizer, lambda rewards: rewards / 2, chunks, np.random.SeedSequence(seed)),
        **{"num_envs": 8} | options,
    )
    return drawn, critics


# ------------------------------------------------------------------------------------ sizes


@pytest.mark.parametrize(
    "sizes",
    [
        SIZES,
        Sizes((1000, 3000, 10_000, 30_000, 100_000), 30, 1_000_000),
        Sizes((2000, 5000), 7, 15_000),
        Sizes((1000,), 2, 9000),
    ],
)
def test_every_estimate_has_its_pairs_in_a_row_within_one_block_and_shares_none(sizes):
    of_block = sizes.pairs[-1] // CHUNK
    assert sizes.chunks * CHUNK == sizes.reference_pairs + sizes.pairs[-1]
    for size in sizes.pairs:
        places = [sizes.place(size, chunk) for chunk in range(sizes.chunks)]
        numbers = [place for place in places if place is not None]
        assert numbers == sorted(numbers)
        assert sorted(set(numbers)) == list(range(sizes.count(size)))
        assert sizes.count(size) == min(sizes.estimates, sizes.blocks * (of_block // (size // CHUNK)))
        for number in set(numbers):
            chunks = [chunk for chunk, place in enumerate(places) if place == number]
            assert len(chunks) == size // CHUNK
            assert chunks[-1] - chunks[0] == len(chunks) - 1
            assert chunks[0] // of_block == chunks[-1] // of_block
        assert np.ptp(sizes.per_block(size)) <= 1


def test_an_estimate_has_nothing_in_common_with_the_blocks_of_its_reference():
    """Every chunk has a gradient of a direction of its own, so that what two means share is seen."""
    sizes = Sizes((1000, 2000, 6000), 5, 18_000)
    means = Means(sizes, {"none": None}, sizes.chunks)
    for chunk in np.eye(sizes.chunks):
        means.add(chunk[None])
    products = means.products()
    blocks = products["none/blocks"]
    np.testing.assert_array_equal(blocks > 0, np.eye(sizes.blocks, dtype=bool))
    for size in sizes.pairs:
        block, shared = products[f"none/{size}/block"], products[f"none/{size}/blocks"]
        own = np.arange(sizes.blocks) == block[:, None]
        assert (shared[~own] == 0).all()
        np.testing.assert_allclose(shared[own], 1 / 6)  # the mean over 6 chunks, of which all of the estimate's are one
        np.testing.assert_allclose(products[f"none/{size}"], np.eye(sizes.count(size)) * CHUNK / size)


# ------------------------------------------------------------------------------------ gradients


def all_at_once(algorithm, rollouts, policy, normalizer, critic, returns):
    """The gradient of the algorithm's own loss on one batch of all pairs of some rollouts, float64 [P].

    Without a critic, `returns` [T, N] of each rollout take the place of advantages.
    """
    batches = []
    for rollout, of_rollout in zip(rollouts, returns, strict=True):
        observations = normalizer(rollout.of_steps(rollout.observations))
        rollout.values, rollout.next_values = np.zeros(rollout.valid.shape), np.zeros(rollout.valid.shape)
        if critic is not None:  # the successor's value at every step
            rollout.values = critic.values(observations).reshape(rollout.valid.shape).astype(float)
            after = normalizer(rollout.of_steps(rollout.next_observations))
            rollout.next_values = critic.values(after).reshape(rollout.valid.shape).astype(float)
        acted = policy(torch.from_numpy(observations)).log_prob(torch.from_numpy(rollout.of_steps(rollout.actions)))
        batches.append(
            Batch.of(algorithm, rollout, observations, acted.detach(), of_rollout if critic is None else None)
        )
    names = [name for name, tensor in batches[0].tensors().items() if tensor.ndim]
    columns = {name: torch.cat([batch.tensors()[name] for batch in batches]) for name in names}
    batch = dataclasses.replace(batches[0], **columns)
    loss = algorithm.policy_loss(policy(batch.observations).log_prob(batch.actions), batch)
    return -torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(policy.parameters()))]).double().numpy()


def returns_along(rollouts, gamma, steps):
    """Σ_l γ^l r_{t+l} of each step until its episode or the stream ends, and of `steps` rewards at most."""
    rewards, done = (np.concatenate([getattr(one, name) for one in rollouts]) for name in ("rewards", "done"))
    found = np.zeros(rewards.shape)
    for t, env in np.ndindex(*rewards.shape):
        for l, (reward, last) in enumerate(zip(rewards[t : t + steps, env], done[t : t + steps, env], strict=True)):
            found[t, env] += gamma**l * reward
            if last:
                break
    return np.split(found, len(rollouts))


def test_without_a_value_function_a_return_goes_on_over_rollouts_until_it_is_known():
    """Also at a rollout's end, where an advantage would bootstrap, and which the return does not stop at."""
    drawn, _ = stream(5, "Pendulum-v1", 3)  # rollouts of 125 steps, episodes of 200
    rollouts = list(drawn)
    found = list(with_returns(iter(rollouts), 0.95, 130))
    assert [rollout for rollout, _ in found] == rollouts
    for returns, exact in zip([of for _, of in found], returns_along(rollouts, 0.95, 1000), strict=True):
        assert np.abs(returns - exact).max() <= 0.95**130 * np.abs(exact).max()  # what is not known
    ends = rollouts[0].rewards[-1]
    apart = ~rollouts[0].done[-1]
    assert (np.abs(found[0][1][-1] - ends) > 0.1 * np.abs(ends))[apart].all()


@pytest.mark.parametrize(
    ("algorithm", "task", "observations"), [(PPO(), "CartPole-v1", 4), (TRPO(gamma=0.9), "Pendulum-v1", 3)]
)
def test_what_is_streamed_is_what_all_pairs_give_at_once(algorithm, task, observations):
    drawn, critics = stream(SIZES.chunks, task, observations)
    whole = CHUNK * SIZES.chunks  # steps: all returns are known up to the end of the stream
    products, _ = measure_stream(drawn, algorithm, critics, SIZES, 1000, gamma=algorithm.gamma, known=whole)
    again, _ = stream(SIZES.chunks, task, observations)
    rollouts = list(again)
    returns = returns_along(rollouts, algorithm.gamma, whole)
    places = {
        1000: [SIZES.place(1000, chunk) for chunk in range(SIZES.chunks)],
        2000: [chunk // 2 for chunk in range(SIZES.chunks)],
    }
    for name, critic in critics.items():
        vectors = {}
        for size, of_chunks in places.items():
            lots = [
                [chunk for chunk, place in enumerate(of_chunks) if place == number]
                for number in range(SIZES.count(size))
            ]
            vectors[size] = np.array(
                [
                    all_at_once(
                        *(algorithm, [rollouts[chunk] for chunk in lot], again.policy, again.normalizer, critic),
                        [returns[chunk] for chunk in lot],
                    )
                    for lot in lots
                ]
            )
        largest = np.abs(vectors[2000] @ vectors[2000].T).max()
        close = {"rtol": 1e-4, "atol": 1e-5 * largest}
        np.testing.assert_allclose(products[f"{name}/blocks"], vectors[2000] @ vectors[2000].T, **close)
        for size, of_size in vectors.items():
            np.testing.assert_allclose(products[f"{name}/{size}"], of_size @ of_size.T, **close)
            np.testing.assert_allclose(products[f"{name}/{size}/blocks"], of_size @ vectors[2000].T, **close)
        np.testing.assert_array_equal(products[f"{name}/1000/block"], [0, 0, 1, 2])
    assert not np.allclose(products["trained/1000"], products["none/1000"], rtol=0.01)


def test_the_memory_does_not_grow_with_the_number_of_pairs():
    def peak(sizes):
        drawn, critics = stream(sizes.chunks)
        tracemalloc.start()
        try:
            measure_stream(drawn, PPO(), critics, sizes, 2000, gamma=0.99, known=200)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(SIZES)  # what is loaded at the first call
    few, many = peak(Sizes((1000, 2000), 4, 4000)), peak(Sizes((10_000, 20_000), 4, 40_000))
    assert many < 1.1 * few


def test_environments_are_at_different_times_of_their_episodes():
    drawn, _ = stream(2, "Pendulum-v1", 3)  # every episode has 200 steps, and an environment takes 125 in a rollout
    first, second = drawn
    ends = [np.flatnonzero(np.concatenate([first.done[:, i], second.done[:, i]])) for i in range(8)]
    assert [int(of_env[0]) for of_env in ends] == [199 - 25 * i for i in range(8)]
    assert drawn.steps == 2000 + 25 * sum(range(8))
    assert drawn.episodes == sum(map(len, ends))


def test_the_mean_return_is_of_raw_rewards_and_of_all_episodes():
    drawn, _ = stream(3)
    rollouts = list(drawn)
    assert drawn.episodes >= sum(int(rollout.done.sum()) for rollout in rollouts)
    assert all((rollout.rewards == 0.5).all() for rollout in rollouts)  # scaled
    assert 5 < drawn.returns / drawn.episodes < 100


@pytest.mark.parametrize(("num_envs", "together"), [(1, 1), (3, 2), (8, 8), (16, 10), (2000, 1000)])
def test_a_rollout_has_the_pairs_of_a_chunk_from_no_more_environments_than_the_run_had(num_envs, together):
    drawn, _ = stream(1, num_envs=num_envs)
    assert next(iter(drawn)).rewards.shape == (CHUNK // together, together)


def test_values_of_successors_are_those_of_the_true_ones():
    drawn, critics = stream(2, "Pendulum-v1", 3)
    critic = critics["trained"]
    for rollout in drawn:
        observations = drawn.normalizer(rollout.of_steps(rollout.observations))
        values, next_values = values_along(rollout, observations, drawn.normalizer, critic)
        shape = rollout.valid.shape
        np.testing.assert_allclose(values, critic.values(observations).reshape(shape), rtol=1e-6)
        after = critic.values(drawn.normalizer(rollout.of_steps(rollout.next_observations))).reshape(shape)
        np.testing.assert_allclose(next_values, after, rtol=1e-4, atol=1e-5)
        assert rollout.truncated.any()


# ------------------------------------------------------------------------------------ value functions


def test_a_return_counts_as_known_where_what_is_missing_weighs_a_hundredth():
    assert known_steps(0.99, 1000) == 459
    assert 0.99**459 <= 0.01 < 0.99**458
    assert known_steps(0.99, 200) == 100  # half of the longest episode
    assert known_steps(1.0, 500) == 250
    assert known_steps(0.0, 500) == 1


def test_leaving_out_cut_ends_changes_no_other_return():
    policy, normalizer, _ = frozen("Pendulum-v1", 3)
    drawn = [
        draw_episodes(Task("Pendulum-v1"), policy, normalizer, lambda rewards: rewards, 4, np.random.SeedSequence(seed))
        for seed in (0, 1)
    ]
    episodes = joined(drawn)
    assert len(episodes) == 8
    np.testing.assert_array_equal(episodes.starts, np.arange(9) * 200)
    np.testing.assert_allclose(returns_of(episodes, 0.9)[800:], returns_of(drawn[1], 0.9))
    episodes.steps.terminated[399], episodes.steps.truncated[399] = True, False  # one ends by itself
    kept = with_known_returns(episodes, 0.9, 50)
    lengths = [150, 200, *[150] * 6]
    np.testing.assert_array_equal(np.diff(kept.starts), lengths)
    before = returns_of(episodes, 0.9)
    rows = np.concatenate([np.arange(200 * i, 200 * i + length) for i, length in enumerate(lengths)])
    np.testing.assert_allclose(returns_of(kept, 0.9), before[rows])
    np.testing.assert_array_equal(kept.observations, episodes.observations[rows])
    np.testing.assert_array_equal(np.flatnonzero(kept.steps.done), kept.starts[1:] - 1)
    assert len(with_known_returns(episodes, 0.9, 500)) == 1  # the one that ended by itself


def test_value_functions_are_judged_against_what_they_are_fitted_to_and_against_known_returns():
    drawn, critics = stream(4, "CartPole-v1", longest=60)
    gamma, algorithm = 0.95, PPO(gamma=0.95)
    _, predicted = measure_stream(drawn, algorithm, critics, Sizes((1000,), 2, 3000), 2500, gamma=gamma, known=30)
    assert len(predicted) == 3  # chunks with 2,500 pairs
    entries = {(e["value_function"], e["against"]): e for e in judge(predicted, gamma, 30)}
    assert entries.keys() == {(name, against) for name in ("trained", "fitted") for against in ("gae", "returns")}
    rewards, terminated, done, values = (
        np.concatenate([f(part) for part in predicted])
        for f in (
            lambda p: p.rollout.rewards,
            lambda p: p.rollout.terminated,
            lambda p: p.rollout.done,
            lambda p: p.values["fitted"],
        )
    )
    targets, errors = [], []
    for env in range(rewards.shape[1]):
        for t in range(len(rewards)):
            end = next((u for u in range(t, len(rewards)) if done[u, env]), len(rewards) - 1)
            if (done[end, env] and terminated[end, env]) or end - t + 1 > 30:
                target = sum(gamma ** (u - t) * rewards[u, env] for u in range(t, end + 1))
                targets.append(target)
                errors.append(target - values[t, env])
    found = entries["fitted", "returns"]
    assert found["steps"] == len(targets) < rewards.size
    assert found["rmse"] == pytest.approx(np.sqrt(np.mean(np.square(errors))))
    assert found["relative_error"] == pytest.approx(np.mean(np.abs(errors)) / np.mean(np.abs(targets)))
    assert found["explained_variance"] == pytest.approx(1 - np.var(errors) / np.var(targets))
    assert found["std"] == pytest.approx(np.std(targets))
    assert entries["fitted", "gae"]["steps"] == rewards.size
    psi = np.concatenate([part.targets["fitted"] - part.values["fitted"] for part in predicted])
    assert entries["fitted", "gae"]["rmse"] == pytest.approx(np.sqrt(np.mean(psi**2)), rel=1e-5)


def test_numbers_that_do_not_exist_are_none():
    assert prediction(np.zeros(0), np.zeros(0)) == {
        **dict.fromkeys(("explained_variance", "relative_error", "rmse", "std")),
        "steps": 0,
    }
    found = prediction(np.ones(3), np.zeros(3))
    assert (found["explained_variance"], found["relative_error"], found["rmse"]) == (None, None, 1.0)


# ------------------------------------------------------------------------------------ the command line

GRID = {
    "seeds": [0],
    "checkpoints": [0, 1],
    "claims": [],
    "tasks": {
        "CartPole-v1": {"steps": 4096, "random_score": 20, "reference_score": 475, "reference_source": "registered"},
        "InvertedPendulum-v5": {
            "steps": 500,
            "random_score": 5,
            "reference_score": 950,
            "reference_source": "registered",
        },
    },
    "algorithms": {
        "ppo": {"settings": {"gae_lambda": 0.8}},
        "trpo": {"only": ["InvertedPendulum-v5"]},
        "reinforce": None,
        "q_actor_critic": {"only": ["CartPole-v1"]},
        "dqn_like": {"module": "sac", "only": ["InvertedPendulum-v5"]},
    },
    "quality": {
        "sources": {"ppo": ["CartPole-v1"], "trpo": ["InvertedPendulum-v5"]},
        "seeds": [0],
        "fractions": [0, 1],
        "pairs": [2000, 1000],
        "estimates": 4,
        "reference_pairs": 4000,
        "fit_pairs": 1500,
    },
}


def grid_of(folder, data=GRID):
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    return load_grid(str(path))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a grid, a run, and two probes of its last policy, of which only one should be needed."""
    folder = tmp_path_factory.mktemp("quality")
    grid = grid_of(folder)
    words = ["--grid", grid.path, "--task", "CartPole-v1", "--seed", "0"]
    run_main([*words, "--algorithm", "ppo", "--output", str(folder / "run")])
    words += ["--source", "ppo", "--fraction", "1", "--run", str(folder / "run"), "--output"]
    alone = [sys.executable, "-m", "experiments.quality", *words, str(folder / "first")]
    subprocess.run(alone, cwd=ROOT, check=True)  # its memory is its own, without what other tests have left here
    quality.main([*words, str(folder / "second")])
    return folder


def test_a_probe_says_what_was_measured(trained):
    record = json.loads((trained / "first" / "probe.json").read_text(encoding="utf-8"))
    assert record["measures"] == "quality"
    assert record["probe"] == {
        **{"grid": "mine", "task": "CartPole-v1", "source": "ppo", "seed": 0, "fraction": 1.0, "step": 4096}
    }
    assert (record["exact"], record["gamma"], record["gae_lambda"]) == (False, 0.99, 0.8)
    assert record["pairs"] == [1000, 2000]
    assert record["estimates"] == {"1000": 4, "2000": 3}
    assert (record["blocks"], record["reference_pairs"], record["fit_pairs"]) == (3, 4000, 1500)
    assert record["value_functions"] == ["trained", "fitted", "none"]
    assert [(e["value_function"], e["against"]) for e in record["values"]] == [
        *(("trained", "gae"), ("trained", "returns"), ("fitted", "gae"), ("fitted", "returns"))
    ]
    assert record["steps"] > 6000 + 1500
    assert record["mean_return"] > 10
    assert 10 < record["peak_memory_mb"] < 1000
    with np.load(trained / "first" / "grams.npz") as arrays:
        assert {name: array.shape for name, array in arrays.items() if name.startswith("none")} == {
            "none/blocks": (3, 3),
            **{"none/1000": (4, 4), "none/1000/blocks": (4, 3), "none/1000/block": (4,)},
            **{"none/2000": (3, 3), "none/2000/blocks": (3, 3), "none/2000/block": (3,)},
        }
        assert all(np.isfinite(array).all() for array in arrays.values())
        np.testing.assert_allclose(arrays["none/2000"], arrays["none/blocks"])


def test_a_probe_is_the_same_to_the_byte_when_it_is_made_again(trained):
    first, second = (trained / name for name in ("first", "second"))
    assert (first / "grams.npz").read_bytes() == (second / "grams.npz").read_bytes()
    cost = ("seconds", "peak_memory_mb", "sha256")
    one, other = (
        {key: value for key, value in json.loads((folder / "probe.json").read_text()).items() if key not in cost}
        for folder in (first, second)
    )
    assert one == other


def test_another_policy_has_other_random_numbers_and_estimates(trained, tmp_path):
    words = ["--grid", str(trained / "mine.yaml"), "--task", "CartPole-v1", "--seed", "0", "--source", "ppo"]
    quality.main([*words, "--fraction", "0", "--run", str(trained / "run"), "--output", str(tmp_path / "probe")])
    record = json.loads((tmp_path / "probe" / "probe.json").read_text(encoding="utf-8"))
    assert record["probe"]["step"] == 0
    assert (tmp_path / "probe" / "grams.npz").read_bytes() != (trained / "first" / "grams.npz").read_bytes()


def test_a_probe_whose_task_stops_it_says_so(trained, tmp_path, monkeypatch):
    def stop(*_, **named):
        raise StoppedByTask("CartPole-v1", 77, "NaN as reward")

    monkeypatch.setattr(quality, "measure_stream", stop)
    words = ["--grid", str(trained / "mine.yaml"), "--task", "CartPole-v1", "--seed", "0", "--source", "ppo"]
    quality.main([*words, "--fraction", "1", "--run", str(trained / "run"), "--output", str(tmp_path / "probe")])
    record = json.loads((tmp_path / "probe" / "probe.json").read_text(encoding="utf-8"))
    assert record["status"] == "stopped by its task"
    assert "NaN as reward" in record["reason"]
    assert (record["steps"], record["probe"]["step"], record["estimates"], record["values"]) == (77, 77, {}, [])


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"source": "pp"}, "no probe of pp on CartPole-v1 with seed 0 at 1; did you mean 'ppo on CartPole-v1"),
        ({"source": "trpo"}, "no probe of trpo on CartPole-v1"),
        ({"fraction": "0.5"}, "no probe of ppo on CartPole-v1 with seed 0 at 0.5"),
        ({"run": "nowhere"}, "is not the record of a run"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_sentence(change, part, trained, tmp_path):
    asked = {"task": "CartPole-v1", "seed": "0", "source": "ppo", "fraction": "1", "run": str(trained / "run")} | change
    words = [word for name, value in asked.items() for word in (f"--{name}", value)]
    with pytest.raises(ValueError, match=part):
        quality.main(["--grid", str(trained / "mine.yaml"), *words, "--output", str(tmp_path / "probe")])
    assert not (tmp_path / "probe").exists()


# ------------------------------------------------------------------------------------ the grid


def test_the_probes_are_sources_and_their_tasks_times_seeds_times_fractions(tmp_path):
    grid = grid_of(tmp_path)
    assert [(p.source, p.task, p.seed, p.fraction) for p in grid.probes] == [
        *(("ppo", "CartPole-v1", 0, fraction) for fraction in (0, 1)),
        *(("trpo", "InvertedPendulum-v5", 0, fraction) for fraction in (0, 1)),
    ]
    assert {(p.pairs, p.estimates, p.reference_pairs, p.fit_pairs) for p in grid.probes} == {
        ((1000, 2000), 4, 4000, 1500)
    }
    assert {p["measures"] for p in grid.manifest()["probes"]} == {"quality"}
    with pytest.raises(GridError, match=r"mine\.yaml has no probes$"):
        grid.probe("CartPole-v1", 0, 1)


def test_a_job_of_the_pipeline_has_the_command_the_source_and_the_time_that_its_steps_need(tmp_path):
    data = copy.deepcopy(GRID)
    data["quality"] |= {"pairs": [100_000], "reference_pairs": 1_000_000, "fit_pairs": 100_000}
    jobs = Jobs(grid_of(tmp_path, data), "results/mine")
    wildcards = {"task": "CartPole-v1", "source": "ppo", "seed": "0", "fraction": "1"}
    assert jobs.probe_command(wildcards) == "quality"
    assert jobs.probe_options(wildcards) == (
        "--task CartPole-v1 --seed 0 --source ppo --fraction 1 --run results/mine/runs/CartPole-v1/ppo/0"
    )
    assert jobs.sources(wildcards) == ["experiments/quality.py"]
    assert jobs.minutes(wildcards, 1, 1) == 25  # 1.2M steps at a thousand a second, and five minutes


def quality_with(**changes):
    return GRID | {"quality": GRID["quality"] | changes}


OF_PROBES = {"source": "ppo", "seeds": [0], "fractions": [1], "batches": 8}
MISTAKES = {
    "another library's way to learn": (
        quality_with(sources={"dqn_like": ["InvertedPendulum-v5"]}),
        ["source of quality is 'dqn_like', which is no PolicyGradient"],
    ),
    "whole episodes": (
        quality_with(sources={"reinforce": ["CartPole-v1"]}),
        ["source of quality is 'reinforce'", "whole episodes"],
    ),
    "another critic": (
        quality_with(sources={"q_actor_critic": ["CartPole-v1"]}),
        ["source of quality is 'q_actor_critic'", "V(s) as its only critic"],
    ),
    "unknown source": (quality_with(sources={"pp": ["CartPole-v1"]}), ["source of quality is 'pp'", "'ppo'"]),
    "no sources": (quality_with(sources={}), ["sources of quality must be a mapping", "{}"]),
    "a list of sources": (quality_with(sources=["ppo"]), ["sources of quality must be a mapping", "['ppo']"]),
    "a source without tasks": (quality_with(sources={"ppo": []}), ["sources of quality", "lists of different tasks"]),
    "unknown task": (quality_with(sources={"ppo": ["CartPole-v0"]}), ["quality has 'CartPole-v0'", "'CartPole-v1'"]),
    "a task on which it does not run": (
        quality_with(sources={"trpo": ["CartPole-v1"]}),
        ["tasks of quality has 'CartPole-v1', on which their source 'trpo' does not run"],
    ),
    "an exact problem": (
        GRID
        | {
            "tasks": {"experiments.exact:TabularMDP-v0": GRID["tasks"]["CartPole-v1"]},
            "algorithms": {"ppo": None},
            "quality": GRID["quality"] | {"sources": {"ppo": ["experiments.exact:TabularMDP-v0"]}},
        },
        ["tasks of quality has 'experiments.exact:TabularMDP-v0'", "exact problems"],
    ),
    "variants": (
        GRID
        | {
            "tasks": {"CartPole-v1": GRID["tasks"]["CartPole-v1"] | {"variants": [{}, {"sutton_barto_reward": True}]}},
            "algorithms": {"ppo": None},
            "quality": GRID["quality"] | {"sources": {"ppo": ["CartPole-v1"]}},
        },
        ["tasks of quality has 'CartPole-v1', which has variants"],
    ),
    "a seed that is not trained": (
        quality_with(seeds=[1]),
        ["seeds of quality has 1, which is not among the grid's seeds, [0]"],
    ),
    "a fraction without a checkpoint": (
        quality_with(fractions=[0.5]),
        ["fractions of quality has 0.5, which is not among checkpoints, [0, 1]"],
    ),
    "half a chunk": (quality_with(pairs=[1500]), ["pairs of quality must be", "multiples of 1,000", "[1500]"]),
    "no pairs": (quality_with(pairs=[0]), ["pairs of quality must be", "multiples of 1,000", "[0]"]),
    "no sizes": (quality_with(pairs=[]), ["pairs of quality", "[]"]),
    "a size given twice": (quality_with(pairs=[1000, 1000]), ["pairs of quality", "different"]),
    "more pairs than the reference": (
        quality_with(pairs=[8000]),
        ["reference_pairs of quality is 4,000", "a multiple of the largest of its pairs, 8,000"],
    ),
    "a reference that the largest size does not divide": (
        quality_with(pairs=[3000]),
        ["reference_pairs of quality is 4,000", "multiple", "3,000"],
    ),
    "too many blocks": (
        quality_with(pairs=[1000], reference_pairs=101_000),
        ["reference_pairs of quality is 101,000", "at most 100 times", "1,000"],
    ),
    "one estimate": (quality_with(estimates=1), ["estimates of quality must be a whole number from 2 to 100", "1"]),
    "too many estimates": (quality_with(estimates=101), ["estimates of quality", "from 2 to 100", "101"]),
    "nothing to fit to": (quality_with(fit_pairs=10), ["fit_pairs of quality", "from 1,000 to 1,000,000", "10"]),
    "more than fits in memory": (quality_with(fit_pairs=2_000_000), ["fit_pairs of quality", "2000000"]),
    "an unknown key": (
        quality_with(batches=8),
        ["quality has no key 'batches'; valid are: sources, seeds, fractions, pairs"],
    ),
    "no mapping": (GRID | {"quality": [1]}, ["quality of the grid must be a mapping, or null", "[1]"]),
    "a policy that the laboratory measures, too": (
        GRID | {"probes": OF_PROBES | {"tasks": {"CartPole-v1": {"batch_size": 1, "fit_episodes": 4}}}},
        ["quality and probes both have the policy of ppo on CartPole-v1 with seed 0 at 1"],
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_that_names_file_key_and_choices(mistake, tmp_path):
    data, parts = MISTAKES[mistake]
    with pytest.raises(GridError) as raised:
        grid_of(tmp_path, data)
    message = str(raised.value)
    assert "mine.yaml" in message
    assert "\n" not in message
    for part in parts:
        assert part in message
