"""Studies as others leave them: null among choices, the order of tasks, and what Optuna lets a user do to a journal."""

import json

import numpy as np
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from algorithms.ppo import PPO
from algorithms.reinforce import Reinforce
from analysis.reading.grid import read_grid
from analysis.reading.studies import read_study
from analysis.sections.tuning.figures import tuning_space
from analysis.sections.tuning.tables import tuning_settings, tuning_values
from experiments import parameters, search
from experiments.checks import GridError
from experiments.grid import load_grid
from experiments.importance import importances
from experiments.search import InvalidStudy, read_space
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


# ------------------------------------------------------------------------------------ what Optuna lets a user do


def opened(folder):
    """The study in a folder's journal, as a user opens it."""
    storage = JournalStorage(JournalFileBackend(str(folder.journal)))
    return optuna.load_study(study_name="ppo on classic", storage=storage)


def states(folder):
    return {int(row["trial"]): row["state"] for row in folder.rows("trials.csv")}


WHOLE = {"policy_learning_rate": 2e-3, "1 - gamma": 0.05, "epochs": 3, "anneal_learning_rate": False}
ENQUEUED = {
    "all settings": WHOLE,
    "some": {"epochs": 3},
    "none": {},
    "a choice": {"anneal_learning_rate": False},
    "by the setting's own name": {"gamma": 0.95},
    "an end of the space": {"policy_learning_rate": 1e-2, "epochs": 12},
    "a whole number for another": {"epochs": 3.0},
}


@pytest.mark.parametrize("kind", ENQUEUED)
def test_enqueued_settings_are_run(kind, make):
    folder = make("enqueued", changed(trials=4))
    folder.tune_until(6)
    opened(folder).enqueue_trial(ENQUEUED[kind])
    calls = folder.tune()
    assert set(states(folder)) == {0, 1, 2, 3}
    row = folder.rows("trials.csv")[2]
    given = {"gamma" if "gamma" in name else name: value for name, value in ENQUEUED[kind].items()}
    for name, value in given.items():
        expected = 0.95 if name == "gamma" else value
        assert json.loads(row[name].lower()) == pytest.approx(expected)
        assert any(getattr(algorithm, name) == pytest.approx(expected) for algorithm, *_ in calls)
    assert len(opened(folder).trials[2].params) == 4
    assert folder.json("study.json")["repeatable"] is False
    folder.read()
    assert folder.tune() == []


def test_settings_that_are_enqueued_in_a_finished_study_wait_until_the_grid_asks_for_more(make, capsys):
    folder = make("finished", changed(trials=4))
    folder.tune()
    before = folder.outcome()
    opened(folder).enqueue_trial(WHOLE)
    opened(folder).enqueue_trial({"epochs": 7})
    assert folder.tune() == []
    assert folder.outcome() == before
    assert "2 enqueued trials wait: the grid asks for 4" in capsys.readouterr().out
    folder.set_grid(changed(trials=7))
    folder.tune()
    rows = folder.rows("trials.csv")
    assert [row["epochs"] for row in rows[4:6]] == ["3", "7"]
    assert len(rows) == 7


@pytest.mark.parametrize("killed_at", range(4))
def test_a_study_killed_while_it_begins_an_enqueued_trial_becomes_the_same(killed_at, make, monkeypatch):
    whole, folder = make("whole"), make("killed")
    for each in (whole, folder):
        each.tune_until(6)
        opened(each).enqueue_trial({"epochs": 3})
    whole.tune()
    calls = []

    def killed(storage, *arguments):
        calls.append(arguments)
        if len(calls) > killed_at:
            raise test_tune.Killed
        return set_trial_param(storage, *arguments)

    set_trial_param = JournalStorage.set_trial_param
    with monkeypatch.context() as patch:
        patch.setattr(JournalStorage, "set_trial_param", killed)
        folder.tune_until(np.inf)
    folder.tune()
    assert folder.outcome() == whole.outcome()


OUTSIDE = {
    "too large": ({"epochs": 99}, "epochs = 99, which lies outside the search space (epochs: low 1, high 12"),
    "not whole": ({"epochs": 2.5}, "epochs = 2.5, which lies outside"),
    "no number": ({"policy_learning_rate": "high"}, "policy_learning_rate = 'high', which lies outside"),
    "NaN": ({"policy_learning_rate": float("nan")}, "policy_learning_rate = nan, which lies outside"),
    "no choice": ({"anneal_learning_rate": 1}, "anneal_learning_rate = 1, which lies outside the search space"),
    "null": ({"epochs": None}, "epochs = None, which lies outside"),
    "γ by Optuna's name": ({"1 - gamma": 0.5}, "1 - gamma = 0.5, which lies outside the search space (gamma: low 0.9"),
    "γ by its own": ({"gamma": 0.5}, "gamma = 0.5, which lies outside"),
    "not searched": ({"epoch": 3}, "epoch = 3, which is not searched; did you mean 'epochs'"),
    "one of several": (WHOLE | {"clip": 0.3}, "clip = 0.3, which is not searched"),
}


@pytest.mark.parametrize("kind", OUTSIDE)
def test_enqueued_settings_outside_the_space_are_refused_before_any_training(kind, make):
    given, expected = OUTSIDE[kind]
    folder = make("outside", changed(trials=4))
    folder.tune_until(6)
    opened(folder).enqueue_trial(given)
    training = test_tune.Training(by_rate)
    with pytest.raises(InvalidStudy) as refused:
        folder.tune(training=training)
    message = test_tune.sentence_of(refused)
    assert f"{folder.journal}: trial 2 was enqueued with {expected}" in message
    assert "the same command goes on without it" in message
    assert training.calls == []
    folder.tune()
    assert list(states(folder)) == [0, 1, 3, 4]
    folder.read()


def failed(study, number):
    study.tell(number, state=TrialState.FAIL)


def without_a_number(study, number):
    study.tell(number, np.nan)


@pytest.mark.parametrize("fail", [failed, without_a_number])
@pytest.mark.parametrize("trial", [1, 2])
def test_a_trial_that_was_marked_as_failed_is_done_again(trial, fail, make):
    folder = make("failed", changed(trials=4, pruner={"name": "NopPruner"}))
    folder.tune_until(PARTS * trial + 2)
    fail(opened(folder), trial)
    folder.tune()
    assert len(states(folder)) == 4
    assert trial not in states(folder)
    trials = opened(folder).trials
    assert trials[trial].state == TrialState.FAIL
    assert trials[trial + 1].params == trials[trial].params
    assert len(trials[trial + 1].user_attrs["parts"]) == PARTS
    assert folder.json("study.json")["repeatable"] is False
    folder.read()
    assert folder.tune() == []


def test_a_trial_that_is_marked_as_failed_while_it_is_evaluated_is_done_again(make):
    folder = make("meanwhile", changed(trials=3, pruner={"name": "NopPruner"}))

    class Meanwhile(test_tune.Training):
        def __call__(self, *arguments, **options):
            if len(self.calls) == PARTS + 1:
                failed(opened(folder), 1)
            return super().__call__(*arguments, **options)

    folder.tune(training=Meanwhile(by_rate))
    assert list(states(folder)) == [0, 2, 3]
    folder.read()


def test_a_trial_that_others_asked_for_is_named_and_once_marked_as_failed_another_takes_its_place(make):
    folder = make("asked", changed(trials=4))
    folder.tune_until(PARTS)
    asked = opened(folder).ask()
    with pytest.raises(InvalidStudy, match=r"trial 2 has nothing, and this command gives it .*marked as failed"):
        folder.tune()
    failed(opened(folder), asked.number)
    folder.tune()
    assert list(states(folder)) == [0, 1, 3, 4]


def added(**options):
    """Adds a trial of the user's own to a study, with the settings of trial 1."""

    def add(study):
        like = study.trials[1]
        own = {"params": like.params, "distributions": like.distributions} | options
        study.add_trial(optuna.trial.create_trial(**own))

    return add


def without_a_setting(study):
    like = study.trials[1]
    kept = {name: like.params[name] for name in list(like.params)[1:]}
    of = {name: like.distributions[name] for name in kept}
    study.add_trial(optuna.trial.create_trial(value=0.9, params=kept, distributions=of))


def with_another_range(study):
    like = study.trials[1]
    of = like.distributions | {"epochs": optuna.distributions.IntDistribution(1, 20)}
    study.add_trial(optuna.trial.create_trial(value=0.9, params=like.params, distributions=of))


def pruned_by_hand(study):
    study.add_trial(optuna.trial.create_trial(state=TrialState.RUNNING, **like_the_first(study)))
    study.tell(len(study.trials) - 1, state=TrialState.PRUNED)


def like_the_first(study):
    return {"params": study.trials[1].params, "distributions": study.trials[1].distributions}


PART = {"task": "CartPole-v1", "seed": 7, "status": "done", "score": 1.0, "normalized": 1.0, "steps": 1, "seconds": 1.0}
FOREIGN = {
    "a score of elsewhere": (added(value=0.9), "trial 2 is complete with 0 of 4 parts"),
    "an infinite one": (added(value=float("inf")), "trial 2 is complete with 0 of 4 parts"),
    "pruned without a value": (pruned_by_hand, "trial 2 is pruned with 0 of 4 parts"),
    "other parts": (added(value=1.0, user_attrs={"parts": [PART]}), "other seeds or on other tasks"),
    "no parts": (added(value=1.0, user_attrs={"parts": [{"a": 1}]}), "'parts' that this command did not write"),
    "parts that are a number": (added(value=1.0, user_attrs={"parts": 3}), "'parts' that this command did not write"),
    "a setting less": (without_a_setting, "trial 2 has "),
    "another range": (with_another_range, "from another space"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_trial_that_this_command_did_not_make_is_refused_before_any_training(kind, make):
    change, expected = FOREIGN[kind]
    folder = make("foreign", changed(trials=2))
    folder.tune()
    folder.set_grid(changed(trials=4))
    change(opened(folder))
    before, training = folder.content(), test_tune.Training(by_rate)
    with pytest.raises(InvalidStudy) as refused:
        folder.tune(training=training)
    message = test_tune.sentence_of(refused)
    assert expected in message
    assert f"move {folder.path} away to tune anew" in message
    assert training.calls == []
    assert folder.content() == before


@pytest.mark.parametrize("attribute", ["determines", "code", "runs"])
def test_a_journal_without_one_of_its_attributes_is_refused(attribute, make):
    folder = make("attributes")
    folder.tune_until(3)
    lines = folder.journal.read_text(encoding="utf-8").splitlines(keepends=True)
    folder.journal.write_text("".join(line for line in lines if f'{{"{attribute}":' not in line), encoding="utf-8")
    with pytest.raises(InvalidStudy, match=f"was not made by this command; .*{attribute}"):
        folder.tune()


def test_the_untuned_settings_have_to_be_trial_0(make):
    folder = make("first")
    folder.tune_until(2)
    failed(opened(folder), 0)
    with pytest.raises(
        InvalidStudy, match=r"trial 0 has to be the untuned settings, and was marked as failed\. .*move"
    ):
        folder.tune()
    early = make("early")
    early.worker()
    opened(early).enqueue_trial(WHOLE)
    with pytest.raises(InvalidStudy, match=r"trial 0 has to be the untuned settings, and was enqueued"):
        early.tune()


# ------------------------------------------------------------------------------------ importances


def of_one_setting(seed, trials):
    """A study of four settings, of which the first decides everything, drawn as tuning draws: complete trials."""
    grid = search.Study("a", "g", {"t": 1}, (), {n: search.Dimension(0.0, 1.0, "linear", ()) for n in "abcd"}, None)
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=6)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(lambda trial: {name: trial.suggest_float(name, 0, 1) for name in "abcd"}["a"], n_trials=trials)
    return grid, study.trials


@pytest.fixture
def quiet():
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(level)


def test_the_setting_that_decides_everything_is_ranked_first(quiet):
    first = []
    for seed in range(40):
        shares = importances(*of_one_setting(seed, 16))
        assert sum(shares.values()) == pytest.approx(1)
        first.append(max(shares, key=shares.get) == "a")
    assert sum(first) >= 34


def test_few_trials_or_equal_ones_have_no_importances(quiet):
    study, trials = of_one_setting(0, 10)
    assert importances(study, trials) is not None
    assert importances(study, trials[:9]) is None
    for trial in trials:
        trial.value = 0.5
    assert importances(study, trials) is None
