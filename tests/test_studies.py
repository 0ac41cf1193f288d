"""Studies as others leave them: null among choices, the order of tasks, and what Optuna lets a user do to a journal."""

import json

import numpy as np
import pytest

from algorithms.ppo import PPO
from algorithms.reinforce import Reinforce
from analysis.reading.grid import read_grid
from analysis.reading.studies import read_study
from analysis.sections.tuning.figures import tuning_space
from analysis.sections.tuning.tables import tuning_settings, tuning_values
from experiments import parameters
from experiments.checks import GridError
from experiments.grid import load_grid
from experiments.search import read_space
from tests import test_tune
from tests.test_tune import GRID, PARTS, Folder, by_rate, changed

nothing_that_only_takes_time = test_tune.nothing_that_only_takes_time  # for all tests here, too


class Results(Folder):
    """A folder of results of the grid `mine`, with a place for its study of `ppo`."""

    def __init__(self, path, monkeypatch, data, score=by_rate):
        super().__init__(path, monkeypatch, data, score)
        self.results = path
        self.path = path / "tuning" / "ppo" / "classic"

    def read(self):
        """The study as the analysis reads it, and the entry of the grid that asks for it."""
        manifest = load_grid(str(self.grid)).manifest()
        (self.results / "grid.json").write_text(json.dumps(manifest), encoding="utf-8")
        grid = read_grid(self.results)
        return grid, [(grid.studies[0], read_study(grid, grid.studies[0]))]


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Makes folders of results."""
    return lambda name, data=GRID, score=by_rate: Results(tmp_path / name, monkeypatch, data, score)


# ------------------------------------------------------------------------------------ null and other choices


def searching(space, settings=None, trials=12):
    """The grid with another search space, and with settings of `ppo` beside those that it has."""
    data = changed(trials=trials, pruner={"name": "NopPruner"})
    data["algorithms"]["ppo"]["settings"] |= settings or {}
    data["algorithms"]["ppo"]["search_space"] = space
    return data


def best_with(name, value):
    """A score that is higher with this value of a setting, beside some luck."""

    def score(algorithm, task, seed):
        return 60 + 30 * (getattr(algorithm, name) == value) + np.random.default_rng([seed, len(task)]).normal()

    return score


CHOICES = {  # setting, its choices, the untuned value, the best value
    "null, untuned": ("clip_values", [None, 0.2], None, 0.2),
    "null, the best": ("clip_values", [0.2, None], 0.2, None),
    "null, untuned and best": ("clip_values", [None, 0.1, 0.2], None, None),
    "null among numbers": ("max_grad_norm", [1, 0.5, None], 1.0, None),
    "truth": ("anneal_learning_rate", [True, False], False, True),
    "whole numbers": ("epochs", [4, 2, 10], 10, 2),
    "a small number": ("value_learning_rate", [1e-5, 1e-3], 1e-5, 1e-3),
}


@pytest.mark.parametrize("kind", CHOICES)
def test_every_choice_is_a_value_to_sampler_journal_tables_figure_winner_and_importances(kind, make):
    name, choices, untuned, best = CHOICES[kind]
    space = {name: {"choices": choices}, "gae_lambda": {"low": 0.8, "high": 1.0}}
    folder = make("choices", searching(space, {name: untuned}), best_with(name, best))
    folder.tune()
    trials = folder.worker().optuna.trials
    assert all(trial.params.keys() == {name, "gae_lambda"} for trial in trials)
    assert trials[0].params[name] == untuned
    assert {trial.params[name] for trial in trials} == set(choices)
    importances = folder.json("study.json")["importances"]
    assert importances[name] > importances["gae_lambda"]
    won = folder.json("best.json")
    # Without a better value the first of equals wins, with the untuned settings.
    assert won["settings"] == {} if best == untuned else won["settings"][name] == best
    grid, studies = folder.read()
    values = tuning_values(studies).query("setting == @name")
    assert [json.loads(value) for value in values["value"]] == [trial.params[name] for trial in trials]
    row = tuning_settings(studies).set_index("setting").loc[name]
    assert [json.loads(row[column]) for column in ("untuned", "tuned")] == [untuned, best]
    figure = tuning_space(grid, tuning_settings(studies), tuning_values(studies))
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == [
        json.dumps(c) for c in json.loads(row.choices)
    ]


def test_an_untuned_value_that_differs_between_tasks_is_not_taken_for_null(make):
    data = searching({"clip_values": {"choices": [None, 0.2]}, "epochs": {"low": 1, "high": 4}})
    data["algorithms"]["ppo"]["tasks"] = {"Acrobot-v1": {"clip_values": 0.2}}
    folder = make("differing", data)
    folder.tune()
    assert folder.worker().optuna.trials[0].params == {}
    assert folder.rows("trials.csv")[0]["clip_values"] == ""
    assert {row["clip_values"] for row in folder.rows("trials.csv")[1:]} == {"null", "0.2"}
    _, studies = folder.read()
    assert tuning_settings(studies)["untuned"].isna().all()
    assert tuning_values(studies).query("setting == 'clip_values'")["value"].isna().tolist() == [True] + [False] * 11


@pytest.mark.parametrize(
    ("choices", "value", "held"),
    [
        ([None, 0.2], None, True),
        ([0.1, 0.2], None, False),
        ([1, 2], True, False),
        ([1, 2], "1", False),
        ([True, False], 1, False),
        (["sum", "mean"], "mean", True),
        (["sum", "mean"], None, False),
    ],
)
def test_a_choice_is_of_its_type(choices, value, held):
    assert parameters.Dimension(None, None, "linear", tuple(choices)).holds(value) == held


def test_choices_that_cannot_be_told_apart_or_leave_no_choice_are_refused():
    for name, choices, algorithm in (
        ("clip_values", [None], PPO),
        ("clip_values", [None, None], PPO),
        ("max_grad_norm", [1, 1.0], PPO),
        ("anneal_learning_rate", [True, 1], PPO),
        ("epochs", [None, 3], PPO),
        ("steps_of_an_episode", ["sum", None], Reinforce),
    ):
        with pytest.raises(GridError, match=name):
            read_space("g.yaml", "it", {name: {"choices": choices}}, algorithm)


# ------------------------------------------------------------------------------------ pruning


def of_quality(algorithm, task, seed):
    """Every score of a trial by its settings alone, on an easy task, CartPole, and on a hard one."""
    quality = -abs(np.log10(algorithm.policy_learning_rate) + 2.5)
    return 20 + 100 * (0.9 + quality / 20) if task == "CartPole-v1" else 100 * (0.1 + quality / 20)


def with_luck(algorithm, task, seed):
    """The same with luck that every training has of its own."""
    of_trial = int(1e9 * algorithm.policy_learning_rate)
    return of_quality(algorithm, task, seed) + 3 * np.random.default_rng([seed, len(task), of_trial]).normal()


EASY, HARD = "CartPole-v1", "Acrobot-v1"
PRUNERS = {
    "median": {"name": "MedianPruner", "n_startup_trials": 3, "n_warmup_steps": 1},
    "percentile": {"name": "PercentilePruner", "percentile": 30, "n_startup_trials": 3, "n_warmup_steps": 1},
    "with an interval": {"name": "MedianPruner", "n_startup_trials": 3, "n_warmup_steps": 1, "interval_steps": 2},
    "threshold": {"name": "ThresholdPruner", "lower": 0.46, "n_warmup_steps": 1},
}


def in_order(tasks, **tuning):
    """The grid with the tuning tasks in this order, and a study that is long enough to prune."""
    groups = {"classic": {"tasks": dict.fromkeys(tasks, 300), "serves": [EASY]}}
    data = changed(trials=16, startup_trials=16, groups=groups, **tuning)
    data["algorithms"]["ppo"]["search_space"] = {"policy_learning_rate": {"low": 1e-4, "high": 1e-2, "scale": "log"}}
    return data


@pytest.mark.parametrize("pruner", PRUNERS)
def test_a_study_is_pruned_alike_with_the_easy_task_first_and_last(pruner, make):
    outcomes = []
    for tasks in ((EASY, HARD), (HARD, EASY)):
        folder = make(tasks[0], in_order(tasks, pruner=PRUNERS[pruner]), of_quality)
        folder.tune()
        outcomes.append([(row["state"], row["parts"]) for row in folder.rows("trials.csv")])
    assert outcomes[0] == outcomes[1]
    assert 3 <= sum(state == "pruned" for state, _ in outcomes[0]) <= 12


def test_with_luck_the_easy_task_first_saves_about_as_many_trainings_as_last(make):
    pruned = {}
    for tasks in ((EASY, HARD), (HARD, EASY)):
        pruned[tasks[0]] = 0
        for seed in range(6):
            data = in_order(tasks, pruner=PRUNERS["median"], sampler_seed=seed)
            folder = make(f"{tasks[0]} {seed}", data, with_luck)
            folder.tune()
            pruned[tasks[0]] += sum(row["state"] == "pruned" for row in folder.rows("trials.csv"))
    assert abs(pruned[EASY] - pruned[HARD]) <= 0.2 * pruned[HARD]


def test_a_trial_that_was_good_is_stopped_when_it_no_longer_is(make):
    """Every other trial than the untuned one is better on its first part, and worse on all others."""

    def falls(algorithm, task, seed):
        first = (task, seed) == (EASY, 100)
        later = algorithm.policy_learning_rate != 3e-4
        return 100 if first and later else 20 if later else 60

    pruner = {"name": "MedianPruner", "n_startup_trials": 1}
    folder = make("falls", in_order((EASY, HARD), pruner=pruner), falls)
    folder.tune()
    rows = folder.rows("trials.csv")
    assert [(row["state"], row["parts"]) for row in rows] == [("complete", str(PARTS))] + [("pruned", "3")] * 15
