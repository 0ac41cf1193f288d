"""Federated learning: averages of clients against updates by hand, what is sent, and what the page says of it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from gymnasium.envs.classic_control.cartpole import CartPoleEnv

from algorithms.a2c import A2C
from algorithms.core.algorithm import InvalidSetting
from algorithms.core.asynchronous import ExchangingLearner
from algorithms.core.rollout import collect
from algorithms.core.task import Task, UnsupportedTask, make_env
from algorithms.core.vector_env import VectorEnv
from algorithms.federated import Federated
from analysis.reading.grid import read_grid
from analysis.reading.jobs import key
from analysis.sections.communication import figures, sentences
from analysis.sections.communication.tables import communication
from experiments.grid import GridError, load_grid
from tests.analysis_fixtures import CARTPOLE, write_grid, write_runs
from tests.tasks import make_learner

SMALL = {"num_envs": 6, "rollout_length": 7, "entropy_coefficient": 0.01}
POLES = Task("experiments.tasks.poles:Poles-v0", variants=({"reversed_motor": True}, {"length": 1.0}, {"gravity": 5.0}))
BOX = Task("BoxRandomEnding-v0")
LARGE = {"policy_learning_rate": 0.3, "value_learning_rate": 0.3}  # of plain gradient steps


def federated(task, **settings):
    """Environments, a learner and an acting generator, from the same seeds as those of `make_learner`."""
    algorithm = Federated(**{**SMALL, **settings})
    environments, initialisation, minibatches, acting = np.random.SeedSequence(0).spawn(4)
    envs = VectorEnv(task, algorithm.num_envs, environments)
    spaces = envs.observation_size, envs.action_space
    learner = ExchangingLearner(algorithm, task, *spaces, initialisation=initialisation, minibatches=minibatches)
    return envs, learner, np.random.default_rng(acting)


def learn(envs, learner, rng, updates=1):
    """Take some updates; returns their records."""
    records = []
    for _ in range(updates):
        rollout = collect(envs, learner.behaviour, learner.normalizer, rng, steps=learner.algorithm.rollout_length)
        records.append(learner.update(learner.prepare(rollout), 0.0))
    return records


def parameters(learner):
    """The parameters of policy and critic that are evaluated, as one vector."""
    return torch.cat([learner.policy.parameter_vector, learner.value_function.parameter_vector]).clone()


class PlainA2C(A2C):
    """A2C with plain gradient steps."""

    def step(self, objective, gradient, batch):
        """θ − α g."""
        return objective.parameters - objective.learning_rate * gradient


def central(task, algorithm, updates):
    """The parameters of a central learner after some updates, and the first ones."""
    envs, learner, rng = make_learner(algorithm, task)
    first = parameters(learner)
    learn(envs, learner, rng, updates)
    return parameters(learner), first


# ---------------------------------------------------------------------------------------------- averages


@pytest.mark.parametrize(("task", "clients"), [(POLES, 3), (POLES, 6), (BOX, 4)], ids=["variants", "more", "Box"])
def test_fedsgd_is_the_central_update_to_rounding(task, clients):
    """With the server's Adam and its clipping, over several updates."""
    made = federated(task, local_updates=0, adam=True, clients=clients)
    learn(*made, updates=4)
    expected, first = central(task, A2C(**SMALL, clip_together=False), 4)
    torch.testing.assert_close(parameters(made[1]), expected, rtol=1e-4, atol=2e-6)
    assert (expected - first).abs().max() > 1e-3


@pytest.mark.parametrize("task", [POLES, BOX], ids=["variants", "Box"])
def test_fedavg_with_one_plain_step_is_the_central_update_and_without_plainness_it_is_not(task):
    expected, first = central(task, PlainA2C(**SMALL, **LARGE, max_grad_norm=None), 3)
    found = {}
    for name, settings in {
        "one step": {},
        "clipped": {"client_norm": 0.1},
        "Adam": {"adam": True, "policy_learning_rate": 1e-2, "value_learning_rate": 1e-2},
        "two steps": {"local_updates": 2},
    }.items():
        made = federated(task, **{"clients": 3, "client_norm": None, **LARGE, **settings})
        learn(*made, updates=3)
        found[name] = (parameters(made[1]) - expected).abs().max() / (expected - first).abs().max()
    assert found.pop("one step") < 1e-4
    assert min(found.values()) > 1e-2, found


def test_adam_of_each_client_is_not_adam_of_the_server():
    adams = []
    for local_updates in (0, 1):
        made = federated(BOX, local_updates=local_updates, adam=True, clients=6, client_norm=None)
        learn(*made, updates=2)
        adams.append(parameters(made[1]))
    assert (adams[0] - adams[1]).abs().max() > 1e-4


@pytest.mark.parametrize("adam", [False, True])
def test_clients_of_unlike_sizes_learn_apart_and_weigh_by_their_data(adam):
    """A reference that knows one client at a time: its own learner, rollout, advantages, clipping and steps."""
    rates = {} if adam else LARGE
    made = federated(BOX, clients=4, local_updates=2, adam=adam, client_norm=0.3, **rates)
    envs, learner, rng = made
    clients = []
    for k in range(4):
        own = (PlainA2C if not adam else A2C)(**{**SMALL, "num_envs": len(range(k, 6, 4))}, **rates)
        own = replace(own, max_grad_norm=0.3, clip_together=False)
        clients.append(make_learner(own, BOX)[1])
    assert [client.algorithm.num_envs for client in clients] == [2, 2, 1, 1]
    for update in range(1, 5):
        rollout = collect(envs, learner.behaviour, learner.normalizer, rng, steps=7)
        for k, client in enumerate(clients):
            part = {name: getattr(rollout, name) for name in ("observations", "actions", "rewards", "terminated")}
            part |= {name: getattr(rollout, name) for name in ("truncated", "next_observations", "valid")}
            client.update(client.prepare(type(rollout)(**{name: x[:, k::4].copy() for name, x in part.items()})), 0.0)
        learner.update(learner.prepare(rollout), 0.0)
        vectors = torch.stack([parameters(client) for client in clients])
        mean = (vectors * torch.tensor([2, 2, 1, 1])[:, None]).sum(0) / 6
        torch.testing.assert_close(parameters(learner), mean, rtol=1e-3, atol=1e-4)
        if update % 2 == 0:
            for client in clients:
                client.policy.parameter_vector.copy_(learner.policy.parameter_vector)
                client.value_function.parameter_vector.copy_(learner.value_function.parameter_vector)
        else:
            assert (vectors[0] - vectors[1]).abs().max() > 1e-4


@pytest.mark.parametrize("steps", [1, 5])
def test_several_steps_of_unlike_clients_end_where_mathematics_says_they_do(steps):
    """On clients' losses ½ h_k (θ − o_k)² FedAvg has a fixed point of its own, that of FedSGD only at E = 1.

    θ* = Σ_k w_k o_k / Σ_k w_k,  w_k = 1 − (1 − α h_k)^E   (Charles & Konečný, 2021)
    """
    curvatures, optima, rate = np.array([0.2, 1.0, 3.0]), np.array([-1.0, 0.5, 2.0]), 0.3
    algorithm = Federated(num_envs=3, clients=3, local_updates=steps)
    theta = torch.zeros(3, 1)
    for update in range(1, 400 * steps + 1):
        gradient = torch.from_numpy(curvatures)[:, None].float() * (theta - torch.from_numpy(optima)[:, None].float())
        theta, _ = algorithm.exchanged(theta - rate * gradient, update)
    weights = 1 - (1 - rate * curvatures) ** steps
    assert theta.flatten().tolist() == pytest.approx([(weights * optima).sum() / weights.sum()] * 3, rel=1e-4)
    least = (curvatures * optima).sum() / curvatures.sum()
    assert (abs(theta[0, 0].item() - least) < 1e-4) == (steps == 1)


# ---------------------------------------------------------------------------------------------- what is sent


@pytest.mark.parametrize(("local_updates", "rounds"), [(0, [1, 1, 1, 1]), (1, [1, 1, 1, 1]), (3, [0, 0, 1, 0])])
def test_rounds_and_bytes_are_those_of_every_client_there_and_back(local_updates, rounds):
    made = federated(BOX, local_updates=local_updates, clients=3, hidden_sizes=(5,))
    records = learn(*made, updates=4)
    assert [record["rounds"] for record in records] == rounds
    numbers = (2 * 5 + 5 + 5 * 2 + 2 + 2) + (2 * 5 + 5 + 5 + 1)  # of the policy with its log-std, and of the critic
    assert len(parameters(made[1])) == numbers
    for record in records:
        assert record["megabytes_sent"] == pytest.approx(record["rounds"] * 2 * 3 * numbers * 4 / 1e6)
        assert record["policy_gradient_norm"] <= 0.5 * (1 + 1e-5)


def test_an_interrupted_run_goes_on_with_what_each_client_has():
    algorithm, kept = Federated(**SMALL, clients=3, local_updates=3, adam=True), []
    task = Task("CartPole-v1")
    whole = algorithm.train(task, 3, 420, on_boundary=lambda run, pause: kept.append(pause()))
    again = algorithm.train(task, 3, 420, trained=kept[4])
    assert whole.episodes == again.episodes
    assert whole.updates == again.updates
    assert whole.evaluation == again.evaluation


# ---------------------------------------------------------------------------------------------- mistakes

VALUES = {"steps": 100, "random_score": 0, "reference_score": 1, "reference_source": "made up"}


@pytest.mark.parametrize(
    ("settings", "task", "words"),
    [
        ({"clients": 9}, {}, "clients of Federated is 9: some would have no data; raise num_envs"),
        ({"clients": 0}, {}, "clients of Federated must be at least 1"),
        ({"epochs": 2}, {}, "epochs of Federated must be 1"),
        (
            {},
            {"normalize_observations": True},
            "task CartPole-v1 has normalize_observations, and Federated takes no such",
        ),
        ({}, {"variants": [{"sutton_barto_reward": True}] * 9}, "has 9 variants, and num_envs is 8"),
    ],
    ids=["no data", "no client", "epochs", "statistics", "variants"],
)
def test_what_cannot_be_is_said_when_the_grid_is_read(tmp_path, settings, task, words):
    text = {"description": "x", "seeds": [0], "tasks": {"CartPole-v1": VALUES | task}}
    text |= {"algorithms": {"federated": {"settings": settings}}}
    (tmp_path / "mine.yaml").write_text(str(text).replace("True", "true").replace("'", '"'))
    with pytest.raises(GridError, match=r"mine\.yaml: ") as refusal:
        load_grid(str(tmp_path / "mine.yaml"))
    assert words in str(refusal.value)


def test_mistakes_in_a_program_are_said_too():
    with pytest.raises(InvalidSetting, match="some would have no data"):
        Federated(clients=3, num_envs=2)
    with pytest.raises(UnsupportedTask, match="has normalize_rewards, and Federated takes no such statistics"):
        Federated(clients=2, num_envs=2).train(Task("CartPole-v1", normalize_rewards=True), 0, 100)


# ---------------------------------------------------------------------------------------------- the poles


def test_a_pole_with_its_defaults_is_gymnasiums_cartpole():
    env, cartpole = make_env(Task(POLES.id)), CartPoleEnv()
    observations = env.reset(seed=4)[0], cartpole.reset(seed=4)[0]
    fallen = False
    while not fallen:
        np.testing.assert_array_equal(observations[0], np.append(observations[1], np.float32(1)))
        (first, *one), (second, *other) = env.step(1), cartpole.step(1)
        assert one == other
        observations, fallen = (first, second), other[1]


def test_length_gravity_and_motor_are_those_of_the_equations_of_motion():
    """θ'' = (g sin θ − cos θ (F + m l θ'² sin θ) / M) / (l (4/3 − m cos² θ / M)): Barto, Sutton & Anderson (1983)."""
    for length, gravity, reversed_motor in ((0.25, 9.8, False), (2.0, 3.0, True)):
        kwargs = {"length": length, "gravity": gravity, "reversed_motor": reversed_motor}
        env = make_env(Task(POLES.id, kwargs=kwargs))
        before = env.reset(seed=1)[0].astype(float)
        after = env.step(1)[0].astype(float)
        force, mass = -10.0 if reversed_motor else 10.0, 0.2 * length
        theta, turning = before[2], before[3]
        pushed = (force + mass * length * turning**2 * np.sin(theta)) / (1 + mass)
        falling = gravity * np.sin(theta) - np.cos(theta) * pushed
        falling /= length * (4 / 3 - mass * np.cos(theta) ** 2 / (1 + mass))
        assert after[3] - turning == pytest.approx(0.02 * falling, rel=1e-3)
        assert after[4] == (-1 if reversed_motor else 1)


def test_a_fall_that_does_not_end_the_episode_pays_nothing_more():
    episodes = []
    for ends in (True, False):
        env = make_env(Task(POLES.id, max_episode_steps=40, kwargs={"ends": ends}))
        env.reset(seed=2)
        rewards, done = [], False
        while not done:
            _, reward, terminated, truncated, _ = env.step(1)
            rewards.append(reward)
            done = terminated or truncated
        episodes.append((rewards, terminated))
    (short, fell), (long, terminated) = episodes
    assert fell
    assert not terminated
    assert len(long) == 40
    assert long == short + [0.0] * (40 - len(short))


# ---------------------------------------------------------------------------------------------- the page


def test_the_page_sums_what_was_sent_and_leaves_out_who_sends_nothing(tmp_path):
    grid = read_grid(write_runs(tmp_path, write_grid(tmp_path, ("ppo", "sac"), {"CartPole-v1": CARTPOLE})) or tmp_path)
    steps = [25, 50, 100]
    columns = {"n": 2, "mean": 1.0, "low": 0.5, "high": 1.5, "std": 0.1}
    intervals = pd.concat(
        pd.DataFrame({"task": "CartPole-v1", "algorithm": name, "step": steps, **columns}) for name in ("ppo", "sac")
    )
    runs = []
    for cell in grid.cells[:1]:
        run = {"status": "done", "updates": 10}
        path = grid.folder / cell["directory"] / "updates.csv"
        table = (
            pd.read_csv(path).iloc[:2].assign(step=[50, 100], updates=[4, 6], rounds=[0.5, 1], megabytes_sent=[2, 4])
        )
        table.to_csv(path, index=False)
        runs.append((cell, run))
    found = communication(grid, runs, intervals)
    assert set(found["algorithm"]) == {key(runs[0][0])["algorithm"]}
    assert found[["step", "rounds", "megabytes_sent"]].to_numpy().tolist() == [[25, 1, 4], [50, 2, 8], [100, 8, 32]]
    assert "8 rounds with 32" in sentences.page(grid, found)["sentences"][0]
    assert len(figures.communication(grid, found).axes) == 2
    assert communication(grid, [], intervals).empty
    assert sentences.page(grid, communication(grid, [], intervals)) is None
