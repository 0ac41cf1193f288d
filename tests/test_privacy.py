"""Differential privacy: the noise against the Gaussian mechanism in closed form, and an attacker who wants to know."""

import builtins
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import norm

from algorithms.core import privacy
from algorithms.core.algorithm import InvalidSetting
from algorithms.core.batch import episode_ids
from algorithms.core.privacy import noise_multiplier
from algorithms.core.rollout import collect
from algorithms.core.task import Task, UnsupportedTask
from algorithms.private import Private
from algorithms.reinforce import Reinforce
from analysis.reading.grid import read_grid
from analysis.sections.privacy import figures, sentences, tables
from experiments.grid import GridError, load_grid
from experiments.schema import UPDATE_COLUMNS
from tests.analysis_fixtures import CARTPOLE, write_grid
from tests.tasks import make_learner

GAMBLE = "experiments.tasks.gamble:Gamble-v0"
SMALL = {"num_envs": 4, "rollout_length": 3, "hidden_sizes": (4,)}
EPISODES = 12


def gaussian_delta(epsilon, sigma):
    """The least δ of a Gaussian mechanism of sensitivity 1 (Balle & Wang, 2018, theorem 8)."""
    return norm.cdf(0.5 / sigma - epsilon * sigma) - np.exp(epsilon) * norm.cdf(-0.5 / sigma - epsilon * sigma)


def batch_and_gradients():
    """A batch of the gamble, and the gradients of its episodes, [12, P], by a loop over them."""
    envs, learner, rng = make_learner(Reinforce(**SMALL), GAMBLE, spread=30.0)
    rollout = collect(envs, learner.policy, learner.normalizer, rng, episodes=3)
    rollout.rewards *= np.linspace(0.01, 2, EPISODES)[
        episode_ids(rollout)
    ]  # most gradients are to be clipped, some not
    batch = learner.prepare(rollout)
    batch.episode_ids = torch.from_numpy(rollout.of_steps(episode_ids(rollout)))
    found = []
    for episode in range(EPISODES):
        of = batch.episode_ids == episode
        log_prob = learner.policy(batch.observations[of]).log_prob(batch.actions[of])
        gradient = torch.autograd.grad(-(log_prob * batch.advantages[of]).sum(), list(learner.policy.parameters()))
        found.append(torch.cat([x.flatten() for x in gradient]))
    return learner, batch, torch.stack(found)


def released(algorithm, batch, of_episodes, draws):
    """What the algorithm's `gradients` returns for episodes of these gradients, several times: [draws, P]."""
    objective = SimpleNamespace(episode_gradients=lambda ids: of_episodes / batch.episodes)
    generator = torch.Generator().manual_seed(1)
    return torch.stack([algorithm.gradients(objective, batch, generator) for _ in range(draws)])


# ---------------------------------------------------------------------------------------------- the noise


@pytest.mark.parametrize(
    ("epsilon", "delta", "count"), [(0.1, 1e-5, 1), (1.0, 1e-2, 9), (4.0, 1e-6, 1), (1.0, 1e-5, 1)]
)
def test_the_noise_is_the_least_that_the_closed_form_allows(epsilon, delta, count):
    """Composed k times, a Gaussian mechanism is one with σ / √k (Dong et al., 2022, corollary 3.3)."""
    sigma = noise_multiplier(epsilon, delta, count) / np.sqrt(count)
    assert gaussian_delta(epsilon, sigma) <= delta * (1 + 1e-6)
    assert gaussian_delta(epsilon, 0.999 * sigma) > delta


def test_without_noise_an_update_is_the_mean_of_the_clipped_gradients_of_episodes():
    _, batch, of_episodes = batch_and_gradients()
    learner = make_learner(Private(epsilon=None, clip_norm=0.7, **SMALL), GAMBLE, spread=30.0)[1]
    learner.update(batch, 0.0)
    expected = sum(g * min(1.0, 0.7 / float(g.norm())) for g in of_episodes) / EPISODES
    # After one step Adam's mean is (1 − β₁) times the gradient that it was given.
    torch.testing.assert_close(learner.networks["policy"].mean / 0.1, expected, rtol=1e-3, atol=1e-6)
    assert 0 < (of_episodes.norm(dim=1) < 0.7).sum() < EPISODES


def test_gradients_that_are_not_clipped_make_reinforce():
    runs = [
        algorithm.train(Task(GAMBLE), 3, 600, compile="never", evaluations=("mode",))
        for algorithm in (Private(epsilon=None, clip_norm=1e6, **SMALL), Reinforce(**SMALL))
    ]
    assert runs[0].evaluation == runs[1].evaluation
    for name in ("policy_loss", "policy_gradient_norm", "entropy"):
        values = [[row[name] for row in run.updates] for run in runs]
        np.testing.assert_allclose(*values, rtol=1e-3, atol=1e-5)


def test_the_noise_has_the_deviation_that_is_needed_and_does_not_depend_on_the_episodes():
    _, batch, of_episodes = batch_and_gradients()
    deviation = noise_multiplier(1.0, 1e-3) * 0.7 / EPISODES
    noises = []
    for gradients in (of_episodes, 100 * of_episodes):
        draws, (mean,) = (
            released(Private(epsilon=epsilon, delta=1e-3, clip_norm=0.7), batch, gradients, count)
            for epsilon, count in ((1.0, 1000), (None, 1))
        )
        noises.append(draws - mean)
    torch.testing.assert_close(*noises, rtol=1e-4, atol=1e-6)
    assert noises[0].std().item() == pytest.approx(deviation, rel=0.03)
    assert noises[0].mean().item() == pytest.approx(0, abs=5 * deviation / np.sqrt(noises[0].numel()))
    correlated = np.corrcoef(noises[0].numpy(), rowvar=False) - np.eye(of_episodes.shape[1])
    assert np.abs(correlated).max() < 5 / np.sqrt(1000)


# ---------------------------------------------------------------------------------------------- membership


@pytest.mark.parametrize("epsilon", [0.5, 2.0])
def test_an_attacker_who_knows_all_but_one_episode_gains_what_the_noise_allows_and_never_more(epsilon):
    """Of an update the attacker knows every gradient, also that of the episode in question, but not if it was there.

    The best attack is the projection on that gradient (Neyman & Pearson): its advantage, true less false positives, is
    2 Φ(1 / 2σ) − 1 where the gradient is clipped. The bound for every attack is (e^ε − 1 + 2δ) / (e^ε + 1) (Kairouz et
    al., 2015, theorem 2.1). A policy later in the run is a function of the update: nobody learns more from it.
    """
    delta, draws = 1e-2, 10_000
    _, batch, of_episodes = batch_and_gradients()
    algorithm = Private(epsilon=epsilon, delta=delta, clip_norm=0.7)
    asked_for = of_episodes.norm(dim=1).argmax()
    without = of_episodes.clone()
    without[asked_for] = 0
    (there,), (absent,) = (
        released(Private(epsilon=None, clip_norm=0.7), batch, gradients, 1) for gradients in (of_episodes, without)
    )
    share = there - absent
    generator = torch.Generator().manual_seed(2)
    says = []
    for gradients in (of_episodes, without):
        objective = SimpleNamespace(episode_gradients=lambda ids, found=gradients: found / batch.episodes)
        seen = torch.stack([algorithm.gradients(objective, batch, generator) for _ in range(draws)])
        says.append(((seen - absent) @ share / share.norm().square() > 0.5).float().mean().item())
    advantage, error = says[0] - says[1], 4 * np.sqrt(0.5 / draws)
    assert advantage == pytest.approx(2 * norm.cdf(0.5 / noise_multiplier(epsilon, delta)) - 1, abs=error)
    assert advantage <= (np.exp(epsilon) - 1 + 2 * delta) / (np.exp(epsilon) + 1) + error
    assert advantage > 2 * error  # the attack is worth something, so that the bound is tested


def test_where_nothing_is_clipped_the_attacker_gains_more_than_epsilon_allows():
    """The control: the same noise with gradients as they are. So the test above would see a missing clip."""
    _, _, of_episodes = batch_and_gradients()
    longest, sigma = of_episodes.norm(dim=1).max().item(), noise_multiplier(0.5, 1e-2)
    assert 2 * norm.cdf(0.5 * longest / (0.7 * sigma)) - 1 > (np.exp(0.5) - 1 + 0.02) / (np.exp(0.5) + 1)


# ---------------------------------------------------------------------------------------------- a run


def test_a_run_records_its_epsilon_and_one_without_noise_none():
    run = Private(epsilon=2.0, **SMALL).train(Task(GAMBLE), 3, 240, evaluations=())
    assert {row["epsilon"] for row in run.updates} == {2.0}
    again = Private(epsilon=2.0, **SMALL).train(Task(GAMBLE), 3, 240, evaluations=())
    assert run.updates == again.updates
    assert "epsilon" not in Private(epsilon=None, **SMALL).train(Task(GAMBLE), 3, 240, evaluations=()).updates[0]


# ---------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("settings", "task", "words"),
    [
        ({"epsilon": 0}, {}, "epsilon of Private must be finite and above 0, not 0"),
        ({"epsilon": -1.0}, {}, "epsilon of Private must be finite and above 0, not -1"),
        ({"delta": 0}, {}, "delta of Private must be finite and above 0 and at most 0.5, not 0"),
        ({"clip_norm": 0}, {}, "clip_norm of Private must be finite and above 0, not 0"),
        ({"episodes_per_unit": 0}, {}, "episodes_per_unit of Private must be at least 1, not 0"),
        ({"epochs": 2}, {}, "epochs of Private must be 1, not 2"),
        ({"normalize_advantages": True}, {}, "normalize_advantages of Private must be False, not True"),
        ({"target_kl": 0.1}, {}, "target_kl of Private must be null, not 0.1"),
        (
            {},
            {"normalize_observations": True},
            "task CartPole-v1 has normalize_observations, and Private takes no such",
        ),
        (
            {},
            {"normalize_rewards": True},
            "task CartPole-v1 has normalize_rewards, and Private takes no such statistics",
        ),
    ],
    ids=lambda value: "",
)
def test_what_would_not_be_private_is_said_when_the_grid_is_read(tmp_path, settings, task, words):
    with pytest.raises(GridError, match=r"mine\.yaml: ") as refusal:
        load(tmp_path, settings, task)
    assert words in str(refusal.value)


def load(tmp_path, settings, task=None, **more):
    values = {"steps": 100, "random_score": 0, "reference_score": 1, "reference_source": "made up"}
    text = {"description": "x", "seeds": [0], "tasks": {"CartPole-v1": values | (task or {})}}
    text |= {"algorithms": {"private": {"settings": settings, **more.pop("entry", {})}}, **more}
    said = str(text).replace("True", "true").replace("'", '"')
    (tmp_path / "mine.yaml").write_text(said)
    return load_grid(str(tmp_path / "mine.yaml"))


def test_tuning_is_refused_because_scores_tell_of_episodes(tmp_path):
    space = {"policy_learning_rate": {"low": 1e-4, "high": 1e-2, "scale": "log"}}
    tuning = {
        **{"trials": 5, "startup_trials": 5},
        **{"seeds": [10, 11], "fresh_seeds": [20]},
        "groups": {"all": {"tasks": {"CartPole-v1": 100}, "serves": ["CartPole-v1"]}},
    }
    with pytest.raises(GridError, match="task CartPole-v1 is tuned, and the scores of a study tell of episodes"):
        load(tmp_path, {}, entry={"search_space": space}, tuning=tuning)


def test_episodes_of_different_lengths_are_refused_with_the_reason():
    with pytest.raises(InvalidSetting, match="a task whose episodes all end by its time limit; one ended before it"):
        Private(num_envs=4).train(Task("CartPole-v1"), 0, 1000)
    with pytest.raises(UnsupportedTask, match="has normalize_rewards, and Private takes no such statistics"):
        Private(num_envs=4).train(Task(GAMBLE, normalize_rewards=True), 0, 100)


def test_without_the_library_a_sentence_says_how_to_install_it(monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **options):
        if name == "dp_accounting":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    privacy.noise_multiplier.cache_clear()
    with pytest.raises(InvalidSetting, match=re.escape("pip install -e '.[privacy]'")):
        Private(num_envs=4).train(Task(GAMBLE), 0, 100)


# ---------------------------------------------------------------------------------------------- the page


def test_the_page_shows_scores_against_epsilon_and_those_without_privacy(tmp_path):
    write_grid(tmp_path, ("ppo", "sac"), {"CartPole-v1": CARTPOLE, "other": CARTPOLE | {"id": "CartPole-v1"}})
    grid = read_grid(tmp_path)
    runs = []
    for cell in grid.cells:
        cell["settings"]["delta"] = 1e-5
        folder = tmp_path / cell["directory"]
        folder.mkdir(parents=True)
        row = dict.fromkeys(UPDATE_COLUMNS, 1.0)
        if (cell["task"], cell["algorithm"]) == ("CartPole-v1", "ppo"):
            row["epsilon"] = 2.0
        pd.DataFrame([row]).to_csv(folder / "updates.csv", index=False)
        runs.append((cell, {"status": "done", "updates": 1}))
    of = {("CartPole-v1", "ppo"): [0.2, 0.4], ("CartPole-v1", "sac"): [1.0, 0.8], ("other", "ppo"): [0.1, 0.1]}
    scores = pd.DataFrame(
        [(*where, value) for where, values in of.items() for value in values],
        columns=["task", "algorithm", "normalized"],
    )
    table = tables.privacy(grid, runs, scores)
    assert table[["task", "algorithm", "epsilon", "n"]].to_numpy().tolist() == [
        ["CartPole-v1", "ppo", 2.0, 2],
        ["CartPole-v1", "sac", np.inf, 2],
    ]
    assert table["mean"].tolist() == pytest.approx([0.3, 0.9])
    (what, said) = sentences.page(grid, table)["sentences"]
    assert "whether the gradient of the episode is there or 0" in what
    assert "without privacy" in said
    assert "at ε 2, δ 1e-05" in said
    assert len(figures.privacy(grid, table).axes) == 2
    nothing = tables.privacy(
        grid, [run for run in runs if run[0]["algorithm"] == "sac"], scores[scores["algorithm"] == "sac"]
    )
    assert nothing.empty
    assert sentences.page(grid, nothing) is None
