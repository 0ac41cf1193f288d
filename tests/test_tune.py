"""Tuning: what a trial is scored by, that a killed study becomes what it would have been, and what is refused.

Most tests replace training by a function of (settings, task, seed), so that a study takes a moment.
"""

import copy
import csv
import json
import math
import os
import signal
import subprocess
import sys
import time
from importlib.metadata import version

import numpy as np
import optuna
import pytest
import yaml
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from algorithms.core.policy_gradient import PolicyGradient
from algorithms.core.run import Evaluation, Run
from algorithms.ppo import PPO
from algorithms.reinforce import Reinforce
from experiments import tune
from experiments.checks import GridError
from experiments.command import exit_with_sentence
from experiments.determinants import Code, Determinants
from experiments.grid import load_grid
from experiments.parameters import distribution
from experiments.run import main as run_main
from experiments.search import InvalidStudy, read_space
from experiments.tuned import read_best

TASK = {"steps": 400, "random_score": 20, "reference_score": 120, "reference_source": "none", "threshold": None}
GRID = {
    "description": "Studies for tests.",
    "seeds": [0, 1],
    "compile": "never",
    "tuning": {
        "seeds": [100, 101],
        "fresh_seeds": [200, 201],
        "trials": 5,
        "startup_trials": 3,
        "pruner": {"name": "MedianPruner", "n_startup_trials": 2},
        "groups": {"classic": {"tasks": {"CartPole-v1": 400, "Acrobot-v1": 300}, "serves": ["CartPole-v1"]}},
    },
    "tasks": {"CartPole-v1": TASK, "Acrobot-v1": TASK | {"random_score": 0, "reference_score": 100}},
    "algorithms": {
        "ppo": {
            "settings": {"rollout_length": 16},
            "search_space": {
                "policy_learning_rate": {"low": 1e-4, "high": 1e-2, "scale": "log"},
                "gamma": {"low": 0.9, "high": 0.999, "scale": "log_one_minus"},
                "epochs": {"low": 1, "high": 12},
                "anneal_learning_rate": {"choices": [True, False]},
            },
        },
        "ppo_published": {"module": "ppo", "tuned": False},
    },
}
PARTS = 4  # of a trial: two seeds on two tasks
OTHER = Code({"algorithms/ppo.py": "other"}, {})
FRESH = 8  # parts on fresh seeds where a trial other than the first has won


class Killed(BaseException):
    """The end of a process, where it need not be a real one."""


class Training:
    """Takes the place of `train`: its 20 episodes return what `score` says, or the run diverges where that is None."""

    def __init__(self, score, killed_at=math.inf):
        self.score, self.killed_at = score, killed_at
        self.calls = []

    def __call__(self, algorithm, task, seed, steps, **options):
        if len(self.calls) == self.killed_at:
            raise Killed
        self.calls.append((algorithm, task.id, seed, steps, options))
        score = self.score(algorithm, task.id, seed)
        if score is None:
            return Run([], [], [], None, steps // 2, 1, diverged_at=steps // 2, diverged_because="loss")
        evaluation = {"sampled": Evaluation([score - 1.0, score + 1.0] * 10, [1] * 20)}
        return Run([], [], [], evaluation, steps, 0)


def by_rate(algorithm, task, seed):
    """Best at a learning rate of 10^-2.5, with luck that depends on the seed."""
    luck = np.random.default_rng([seed, len(task), algorithm.epochs]).normal()
    return 80 - 40 * abs(math.log10(algorithm.policy_learning_rate) + 2.5) + 5 * luck


def apart_at_the_end(algorithm, task, seed):
    """All alike but for the last part, in which high learning rates fail: what a pruner could only stop too late."""
    last = (task, seed) == ("Acrobot-v1", 101)
    return 100 * (algorithm.policy_learning_rate < 1e-3) if last else 50 + 20 * (task == "CartPole-v1")


def changed(**tuning):
    """The grid with other values in its section on tuning."""
    data = copy.deepcopy(GRID)
    data["tuning"] |= tuning
    return data


PRUNED_LATE = changed(trials=4, pruner={"name": "PercentilePruner", "percentile": 1, "n_startup_trials": 1})
KINDS = {"pruned": (GRID, by_rate), "never pruned but by mistake": (PRUNED_LATE, apart_at_the_end)}


def train_with(patch, training):
    """Let `training(algorithm, task, …)` take the place of every policy gradient's `train`."""
    patch.setattr(PolicyGradient, "train", lambda algorithm, *args, **options: training(algorithm, *args, **options))


class RealTraining:
    """`train`, whose runs are kept."""

    train = staticmethod(PolicyGradient.train)

    def __init__(self):
        self.calls = []

    def __call__(self, *arguments, **options):
        self.calls.append(self.train(*arguments, **options))
        return self.calls[-1]


REAL = changed(trials=3, fresh_seeds=[200])  # for real training: little of it
REAL["tuning"]["groups"]["classic"]["tasks"] = {"CartPole-v1": 256}
REAL["algorithms"]["ppo"]["settings"]["minibatch_size"] = None


class Folder:
    """A place for one study of the grid's `ppo`, and training to do it with."""

    def __init__(self, path, monkeypatch, data=GRID, score=by_rate):
        path.mkdir(exist_ok=True)
        self.path, self.monkeypatch, self.score = path / "study", monkeypatch, score
        self.grid = path / "mine.yaml"
        self.set_grid(data)

    def set_grid(self, data):
        self.grid.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")

    @property
    def words(self):
        options = {"--grid": self.grid, "--algorithm": "ppo", "--group": "classic", "--output": self.path}
        return [str(word) for option in options.items() for word in option]

    def tune(self, *further, killed_at=math.inf, training=None):
        """The command line in this process; what it trained."""
        training = training or Training(self.score, killed_at)
        with self.monkeypatch.context() as patch:
            train_with(patch, training)
            tune.main([*self.words, *further])
        return training.calls

    def tune_until(self, killed_at):
        with pytest.raises(Killed):
            self.tune(killed_at=killed_at)

    def worker(self):
        grid = load_grid(str(self.grid))
        return tune.Worker(grid, grid.study("ppo", "classic"), self.path)

    @property
    def journal(self):
        return self.path / "journal.log"

    def json(self, name):
        return json.loads((self.path / name).read_text(encoding="utf-8"))

    def rows(self, name):
        with (self.path / name).open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def outcome(self):
        """What must not depend on how often a study was interrupted."""
        tables = [[{k: v for k, v in row.items() if k != "seconds"} for row in self.rows(f)] for f in TABLES]
        study = self.json("study.json")
        return *tables, (self.path / "best.json").read_bytes(), study["importances"], study["untuned"]

    def content(self):
        """Every byte of the folder's files."""
        return {p.name: p.read_bytes() for p in self.path.iterdir() if p.is_file()}


TABLES = ("trials.csv", "parts.csv")


@pytest.fixture(autouse=True)
def nothing_that_only_takes_time(monkeypatch):
    """Versions and commit are not read, and a journal's lines not waited for: they survive all but a power failure."""
    monkeypatch.setattr(tune, "provenance", lambda root, packages: {})
    monkeypatch.setattr(os, "fsync", lambda file: None)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    return Folder(tmp_path / "a", monkeypatch)


@pytest.fixture
def another(tmp_path, monkeypatch):
    """Makes further folders."""

    def make(name, data=GRID, score=by_rate):
        return Folder(tmp_path / name, monkeypatch, data, score)

    return make


def sentence_of(caught):
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_the_objective_is_the_mean_over_seeds_of_the_mean_over_tasks_less_a_penalty_for_spread():
    parts = [tune.Part("t", 0, "done", 0.0, normalized, 1, 0.0) for normalized in (0.2, 0.4, 0.8, 1.0)]
    assert tune.objective(parts, 2, 0.0) == pytest.approx(0.6)  # (0.3 + 0.9) / 2
    assert tune.objective(parts, 2, 0.5) == pytest.approx(0.6 - 0.5 * 0.3)  # deviation of 0.3 and 0.9
    assert tune.objective(parts[:3], 2, 0.0) == pytest.approx((0.3 + 0.8) / 2)  # the second seed lacks a task
    assert tune.objective(parts[:3], 2, 1.0) == pytest.approx(0.55 - 0.25)
    assert tune.objective(parts, 1, 1.0) == pytest.approx(0.6 - math.sqrt(0.1))  # four seeds of one task
    assert tune.objective(parts[:1], 2, 1.0) == pytest.approx(0.2)  # one seed has no spread


def test_a_trials_value_is_the_objective_of_its_normalised_scores(another):
    def score(algorithm, task, seed):
        return {("CartPole-v1", 100): 70, ("Acrobot-v1", 100): 10, ("CartPole-v1", 101): 120, ("Acrobot-v1", 101): 50}[
            task, seed
        ]

    folder = another(
        "scores", changed(trials=2, spread_penalty=0.5), lambda a, task, seed: score(a, task, 100 + seed % 100)
    )
    folder.tune()
    parts = [row for row in folder.rows("parts.csv") if (row["seeds"], row["trial"]) == ("tuning", "0")]
    assert [(p["task"], p["seed"], float(p["score"]), float(p["normalized"])) for p in parts] == [
        ("CartPole-v1", "100", 70, 0.5),
        ("Acrobot-v1", "100", 10, 0.1),
        ("CartPole-v1", "101", 120, 1.0),
        ("Acrobot-v1", "101", 50, 0.5),
    ]
    value = (0.3 + 0.75) / 2 - 0.5 * (0.75 - 0.3) / 2
    assert float(folder.rows("trials.csv")[0]["value"]) == pytest.approx(value)
    assert folder.json("best.json")["score"] == pytest.approx(value)


def test_a_part_is_one_training_with_the_grids_settings_the_tuning_steps_and_one_evaluation(folder):
    calls = folder.tune()
    places = [(task, seed, steps) for _, task, seed, steps, _ in calls[:PARTS]]
    both = [("CartPole-v1", 400), ("Acrobot-v1", 300)]
    assert places == [(task, seed, steps) for seed in (100, 101) for task, steps in both]
    assert calls[0][0] == PPO(rollout_length=16)
    assert all(options["evaluations"] == ("sampled",) and options["compile"] == "never" for *_, options in calls)
    fresh = [(task, seed) for _, task, seed, _, _ in calls[-FRESH:]]
    assert fresh == [(task, seed) for seed in (200, 201) for task, _ in both] * 2


def test_a_diverged_part_scores_as_the_random_policy_and_is_recorded_as_diverged(another):
    def diverges(algorithm, task, seed):
        return None if (task, seed) == ("CartPole-v1", 101) else 60 if task == "CartPole-v1" else 40

    folder = another("diverged", changed(trials=2, pruner={"name": "NopPruner"}), diverges)
    folder.tune()
    first = folder.rows("trials.csv")[0]
    assert (first["state"], first["diverged"], first["parts"]) == ("complete", "1", "4")
    assert float(first["value"]) == pytest.approx((0.4 + 0.4 + 0.0 + 0.4) / 4)
    assert first["steps"] == str(400 + 300 + 200 + 300)  # half of a diverged training was taken
    part = folder.rows("parts.csv")[2]
    assert (part["status"], float(part["score"]), float(part["normalized"])) == ("diverged", 20, 0)


def test_real_training_is_a_part_and_its_score_the_mean_of_the_evaluation(another):
    folder = another("real", REAL)
    training = RealTraining()
    runs = folder.tune(training=training)
    parts = folder.rows("parts.csv")
    scores = [float(np.mean(run.evaluation["sampled"].returns)) for run in runs]
    assert [len(run.evaluation["sampled"].returns) for run in runs] == [20] * len(runs)
    assert [float(part["score"]) for part in parts[: len(runs)]] == scores
    assert [float(p["normalized"]) for p in parts] == [pytest.approx((float(p["score"]) - 20) / 100) for p in parts]


def test_trial_0_is_the_untuned_settings_and_what_is_not_searched_stays_as_it_is(folder):
    calls = folder.tune()
    algorithms = [call[0] for call in calls]
    assert algorithms[0] == PPO(rollout_length=16)
    assert all(a.rollout_length == 16 and a.clip == PPO.clip for a in algorithms)
    assert len({a.policy_learning_rate for a in algorithms}) == GRID["tuning"]["trials"]
    row = folder.rows("trials.csv")[0]
    assert (float(row["policy_learning_rate"]), float(row["gamma"]), row["epochs"]) == (3e-4, 0.99, "10")
    assert folder.json("study.json")["untuned"] == {
        "policy_learning_rate": 3e-4, "gamma": 0.99, "epochs": 10, "anneal_learning_rate": True
    }  # fmt: skip


def test_untuned_settings_that_differ_between_tasks_are_used_and_not_recorded(another):
    data = changed()
    data["algorithms"]["ppo"]["tasks"] = {"Acrobot-v1": {"gamma": 0.95}}
    data["algorithms"]["ppo"]["settings"]["epochs"] = 20  # outside of the space
    folder = another("differing", data)
    calls = folder.tune()
    assert [(a.gamma, a.epochs) for a, *_ in calls[:PARTS]] == [(0.99, 20), (0.95, 20)] * 2
    row = folder.rows("trials.csv")[0]
    assert (row["gamma"], row["epochs"], float(row["policy_learning_rate"])) == ("", "", 3e-4)
    assert folder.json("study.json")["untuned"]["gamma"] is None
    assert set(folder.worker().optuna.trials[0].params) == {"policy_learning_rate", "anneal_learning_rate"}
    tuned = [a for a, *_ in calls[PARTS:] if a.policy_learning_rate != 3e-4]
    assert all(a.epochs <= 12 for a in tuned)  # a drawn value takes the place of a task's own


def test_trial_0_is_never_pruned(another):
    def worst_untuned(algorithm, task, seed):
        return 0 if algorithm.policy_learning_rate == 3e-4 else 50

    folder = another("worst", changed(pruner={"name": "ThresholdPruner", "lower": 0.2}), worst_untuned)
    folder.tune()
    assert [(row["state"], row["parts"]) for row in folder.rows("trials.csv")] == [("complete", "4")] * 5
    assert float(folder.rows("trials.csv")[0]["value"]) == pytest.approx(-0.1)  # below the threshold: 0 is −0.2 and 0


def test_the_winner_of_equals_is_the_first_and_the_untuned_settings_change_nothing(another):
    folder = another("equal", score=lambda algorithm, task, seed: 50)
    calls = folder.tune()
    best = folder.json("best.json")
    assert (best["trial"], best["settings"]) == (0, {})
    assert len(calls) == 5 * PARTS + FRESH // 2  # the same settings are not trained twice
    fresh = [row for row in folder.rows("parts.csv") if row["seeds"] == "fresh"]
    tuned, untuned = ([{**r, "settings": ""} for r in fresh if r["settings"] == s] for s in ("tuned", "untuned"))
    assert len(tuned) == FRESH // 2
    assert tuned == untuned
    assert folder.json("study.json")["importances"] is None


def test_the_winner_is_the_best_complete_trial_and_its_settings_are_the_searched_ones(folder):
    folder.tune()
    complete = [row for row in folder.rows("trials.csv") if row["state"] == "complete"]
    best = folder.json("best.json")
    row = max(complete, key=lambda row: float(row["value"]))
    assert (str(best["trial"]), best["score"]) == (row["trial"], float(row["value"]))
    assert best["trial"] != 0
    assert list(best["settings"]) == list(GRID["algorithms"]["ppo"]["search_space"])
    assert {name: str(value) for name, value in best["settings"].items()} == {n: row[n] for n in best["settings"]}
    assert best.keys() == {"schema", "algorithm", "group", "trial", "score", "settings"}
    fresh = [row for row in folder.rows("parts.csv") if row["seeds"] == "fresh"]
    assert [(r["settings"], r["trial"]) for r in fresh] == [("tuned", row["trial"])] * 4 + [("untuned", "0")] * 4


def test_a_bad_trial_is_stopped_after_a_part_and_its_value_is_that_of_its_parts(another):
    def only_untuned_is_good(algorithm, task, seed):
        good = algorithm.policy_learning_rate == 3e-4
        return 90 if good else 60 if task == "CartPole-v1" else 10

    pruner = {"name": "MedianPruner", "n_startup_trials": 1, "n_warmup_steps": 1}
    folder = another("bad", changed(pruner=pruner), only_untuned_is_good)
    calls = folder.tune()
    rows = folder.rows("trials.csv")
    assert [(r["state"], r["parts"]) for r in rows] == [("complete", "4")] + [("pruned", "2")] * 4
    assert [float(r["value"]) for r in rows[1:]] == [pytest.approx((0.4 + 0.1) / 2)] * 4
    assert [r["steps"] for r in rows] == ["1400"] + ["700"] * 4
    tuning = [r for r in folder.rows("parts.csv") if r["seeds"] == "tuning"]
    assert [r["trial"] for r in tuning] == list("000011223344")
    assert len(calls) == len(tuning) + FRESH // 2
    assert folder.json("best.json")["trial"] == 0


def test_a_trial_that_was_stopped_does_not_win_whatever_its_value(another):
    def too_good(algorithm, task, seed):
        return 0 if algorithm.policy_learning_rate == 3e-4 else 90

    folder = another("good", changed(pruner={"name": "ThresholdPruner", "upper": 0.5}), too_good)
    folder.tune()
    rows = folder.rows("trials.csv")
    assert [row["state"] for row in rows] == ["complete"] + ["pruned"] * 4
    assert all(float(row["value"]) > float(rows[0]["value"]) for row in rows[1:])
    assert folder.json("best.json")["trial"] == 0


def test_after_its_last_part_a_trial_is_complete_whatever_the_pruner_says(another):
    folder = another("end", PRUNED_LATE, apart_at_the_end)
    folder.tune()
    assert {row["state"] for row in folder.rows("trials.csv")} == {"complete"}
    assert len({row["value"] for row in folder.rows("trials.csv")}) == 2


def test_two_studies_are_equal_and_other_seeds_of_the_sampler_draw_otherwise(folder, another):
    same, otherwise = another("same"), another("otherwise", changed(sampler_seed=1))
    for study in (folder, same, otherwise):
        study.tune()
    assert folder.outcome() == same.outcome()
    drawn = [[row["gamma"] for row in f.rows("trials.csv")] for f in (folder, otherwise)]
    assert drawn[0][0] == drawn[1][0]  # untuned
    assert not set(drawn[0][1:]) & set(drawn[1][1:])


def test_after_the_trials_at_random_the_sampler_learns_from_scores(folder, another):
    other = another("other", score=lambda *part: 100 - by_rate(*part))
    drawn = []
    for study in (folder, other):
        study.set_grid(changed(trials=8))
        study.tune()
        drawn.append([row["policy_learning_rate"] for row in study.rows("trials.csv")])
    startup = GRID["tuning"]["startup_trials"]
    assert drawn[0][:startup] == drawn[1][:startup]
    assert not set(drawn[0][startup:]) & set(drawn[1][startup:])


def test_extending_a_study_gives_what_it_would_have_been_at_once(another):
    at_once, extended = another("at once", changed(trials=8)), another("extended", changed(trials=4))
    at_once.tune()
    extended.tune()
    extended.set_grid(changed(trials=8))
    calls = extended.tune()
    assert extended.outcome() == at_once.outcome()
    trials = [row for row in extended.rows("trials.csv") if int(row["trial"]) >= 4]
    tuning = [seed for _, _, seed, _, _ in calls if seed < 200]
    assert len(tuning) == sum(int(row["parts"]) for row in trials)


def test_a_study_of_which_fewer_trials_are_asked_gives_what_it_would_have_been_with_those(another):
    fewer, more = another("fewer", changed(trials=3)), another("more", changed(trials=8))
    calls = fewer.tune()
    more.tune_until(6 * PARTS - 1)
    assert running(more)
    more.set_grid(changed(trials=3))
    assert len(more.tune()) == len([seed for _, _, seed, _, _ in calls if seed >= 200])
    assert more.outcome() == fewer.outcome()


def test_a_study_that_is_finished_trains_nothing_again(folder):
    folder.tune()
    before = folder.outcome()
    journal = folder.journal.read_bytes()
    assert folder.tune() == []
    assert folder.outcome() == before
    assert folder.journal.read_bytes() == journal


def test_other_fresh_seeds_are_compared_on_and_the_trials_stay(folder):
    folder.tune()
    trials = folder.rows("trials.csv")
    folder.set_grid(changed(fresh_seeds=[200, 300]))
    calls = folder.tune()
    assert {seed for _, _, seed, _, _ in calls} == {200, 300}
    assert folder.rows("trials.csv") == trials
    assert [r["seed"] for r in folder.rows("parts.csv") if r["seeds"] == "fresh"] == ["200", "200", "300", "300"] * 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_study_stopped_in_any_part_trains_the_missing_parts_and_becomes_the_same(kind, another):
    whole = another("whole", *KINDS[kind])
    total = len(whole.tune())
    states = {row["state"] for row in whole.rows("trials.csv")}
    assert states == ({"complete", "pruned"} if kind == "pruned" else {"complete"})
    for part in range(total):
        folder = another(f"stopped in {part}", *KINDS[kind])
        folder.tune_until(part)
        assert not (folder.path / "best.json").exists()
        assert len(folder.tune()) == total - part
        assert folder.outcome() == whole.outcome()


@pytest.mark.parametrize("kind", KINDS)
def test_a_study_killed_at_any_write_to_its_journal_becomes_the_same(kind, another):
    whole = another("whole", *KINDS[kind])
    total = len(whole.tune())
    lines = whole.journal.read_bytes().splitlines(keepends=True)
    for number, line in enumerate(lines):
        cut = (0, len(line) // 2, len(line) - 1)[number % 3]
        folder = another(f"killed at {number}", *KINDS[kind])
        folder.path.mkdir()
        folder.journal.write_bytes(b"".join(lines[:number]) + line[:cut])
        done = sum(b'"parts":[' in line or b'"fresh ' in line for line in lines[:number])
        assert len(folder.tune()) == total - done
        assert folder.outcome() == whole.outcome(), line


def in_a_process_that_is_killed(work):
    """A fork of this process, which must end by SIGKILL."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL


def kill_this_process(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def after(count, function, then=kill_this_process):
    """The function, until it was called so often; the next call does something else."""
    calls = []

    def counted(*arguments, **options):
        calls.append(None)
        return (then if len(calls) > count else function)(*arguments, **options)

    return counted


MOMENTS = {
    "the journal is there and nothing else": ("experiments.tune.Worker.work", 0),
    "a trial was created": ("experiments.tune.Worker._evaluate", 2),
    "a part is recorded and not reported": ("optuna.trial.Trial.report", 9),
    "a part is reported and the pruner not asked": ("optuna.trial.Trial.should_prune", 6),
    "the pruner has decided": ("optuna.Study.tell", 3),
    "the fresh seeds begin": ("experiments.tune.Worker.compare_on_fresh_seeds", 0),
    "a part on a fresh seed is trained": ("optuna.Study.set_user_attr", 3),
    "the trials are written": ("experiments.tune.write_json", 0),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_process_that_is_killed_leaves_a_study_that_goes_on(moment, folder, another, monkeypatch):
    whole = another("whole")
    whole.tune()
    name, count = MOMENTS[moment]
    place, _, attribute = name.rpartition(".")
    owner = {"experiments.tune": tune, "experiments.tune.Worker": tune.Worker}.get(place)
    owner = owner or {"optuna.trial.Trial": optuna.trial.Trial, "optuna.Study": optuna.Study}[place]
    with monkeypatch.context() as patch:
        patch.setattr(owner, attribute, after(count, getattr(owner, attribute)))
        in_a_process_that_is_killed(folder.tune)
    assert folder.journal.exists()
    folder.tune()
    assert folder.outcome() == whole.outcome()


def test_the_command_line_killed_in_the_middle_of_training_goes_on_and_becomes_the_same(another):
    whole, folder = another("whole", REAL), another("killed", REAL)
    whole.tune(training=RealTraining())
    process = subprocess.Popen([sys.executable, "-m", "experiments.tune", *folder.words], stdout=subprocess.DEVNULL)
    until(lambda: folder.journal.exists() and folder.journal.read_bytes().count(b'"parts":[') >= 2)
    process.kill()
    process.wait()
    assert not (folder.path / "best.json").exists()
    folder.tune(training=RealTraining())
    assert folder.outcome() == whole.outcome()


def until(condition, seconds=60):
    """Wait for something to be so."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_two_processes_share_the_trials_and_the_study_says_that_it_is_not_repeatable(another):
    data = changed(workers=2, trials=6, seeds=[100, 101], fresh_seeds=[200], pruner={"name": "NopPruner"})
    folder = another("two", data)

    class TogetherWithTheHelper(Training):
        """Does not let the helper, whose start takes seconds, find that nothing is left to do."""

        def __call__(self, *arguments, **options):
            if len(self.calls) == PARTS:
                until(lambda: len(running(folder)) == 2)
            return super().__call__(*arguments, **options)

    calls = folder.tune(training=TogetherWithTheHelper(by_rate))
    rows = folder.rows("trials.csv")
    assert [row["trial"] for row in rows] == list("012345")
    assert {row["state"] for row in rows} == {"complete"}
    tuning = [(r["trial"], r["task"], r["seed"]) for r in folder.rows("parts.csv") if r["seeds"] == "tuning"]
    assert len(tuning) == len(set(tuning)) == 6 * PARTS
    recorded = folder.journal.read_bytes().count(b'"parts":[')
    assert recorded == 6 * PARTS  # each part once
    assert len([seed for _, _, seed, _, _ in calls if seed < 200]) < recorded  # the helper did some of it
    assert folder.json("study.json")["repeatable"] is False
    assert folder.json("study.json")["workers"] == 2


def test_a_study_that_several_workers_have_begun_is_not_repeatable_when_one_ends_it(another):
    folder = another("begun by two", changed(workers=2, trials=3))
    _, lock = folder.worker()._claim()
    lock.release()
    folder.set_grid(changed(trials=3))
    folder.tune()
    assert folder.json("study.json")["repeatable"] is False


def running(folder):
    storage = JournalStorage(JournalFileBackend(str(folder.journal)))
    study = optuna.load_study(study_name="ppo on classic", storage=storage)
    return study.get_trials(states=(optuna.trial.TrialState.RUNNING,))


def test_the_trial_of_a_helper_that_is_killed_is_finished_by_another(another, monkeypatch):
    folder = another("killed", changed(workers=2))

    class Helper:
        """In the place of a process that was started: a fork that is killed in the middle of a trial."""

        def __init__(self, command):
            assert command[-1] == "--join"
            with monkeypatch.context() as patch:
                train_with(patch, after(2, Training(by_rate)))
                in_a_process_that_is_killed(lambda: tune.main(command[3:]))
            assert [len(tune.parts_of(trial)) for trial in running(folder)] == [2]

        def wait(self):
            pass

    monkeypatch.setattr(subprocess, "Popen", Helper)
    calls = folder.tune()
    rows = folder.rows("trials.csv")
    assert [row["trial"] for row in rows] == list("01234")
    assert rows[0]["parts"] == "4"
    assert len(calls) == sum(int(row["parts"]) for row in rows) + FRESH - 2


class NoHelper:
    """In the place of a process that finds nothing to do."""

    def __init__(self, command):
        pass

    def wait(self):
        pass


def test_a_trial_that_ends_while_another_worker_reaches_for_it_is_not_evaluated_again(another, monkeypatch):
    folder = another("race", changed(workers=2, trials=2))
    first, second = folder.worker(), folder.worker()
    trial, lock = first._claim()
    lock_of = tune.lock_of

    def ends_it_meanwhile(directory, what):
        if what == "trial 0" and lock.is_locked:
            first._evaluate(trial)
            lock.release()
        return lock_of(directory, what)

    train_with(monkeypatch, Training(by_rate))
    monkeypatch.setattr(tune, "lock_of", ends_it_meanwhile)
    claimed, _ = second._claim()
    assert first.optuna.trials[0].state == optuna.trial.TrialState.COMPLETE
    assert claimed.number == 1


def test_a_study_is_not_written_before_a_worker_elsewhere_has_ended_its_trial(another, monkeypatch):
    folder = another("elsewhere", changed(workers=2, trials=3, pruner={"name": "NopPruner"}))
    training, elsewhere = Training(by_rate), folder.worker()
    train_with(monkeypatch, training)
    trial, lock = elsewhere._claim()

    def ends_when_the_others_have_nothing_left(seconds):
        assert len(elsewhere.optuna.get_trials(states=(optuna.trial.TrialState.RUNNING,))) == 1
        elsewhere._evaluate(trial)
        lock.release()

    monkeypatch.setattr(subprocess, "Popen", NoHelper)
    monkeypatch.setattr(time, "sleep", ends_when_the_others_have_nothing_left)
    folder.tune(training=training)
    rows = folder.rows("trials.csv")
    assert [(row["state"], row["parts"], bool(row["value"])) for row in rows] == [("complete", "4", True)] * 3


def test_join_needs_a_study_with_several_workers(folder):
    with pytest.raises(GridError, match=r"mine\.yaml: .*one worker.*--join needs 'workers' above 1"):
        folder.tune("--join")
    assert not folder.path.exists()


def test_a_second_process_is_refused_while_one_is_at_work(folder):
    with (
        tune.lock_of(folder.path, "study"),
        pytest.raises(InvalidStudy, match=f"another process is at work in {folder.path}"),
    ):
        folder.tune()
    assert not folder.journal.exists()
    folder.tune()


SPACES = {
    "a number": ("clip", {"low": 0.1, "high": 0.3}),
    "a number by its logarithm": ("policy_learning_rate", {"low": 1e-5, "high": 1e-1, "scale": "log"}),
    "a number given as a whole one": ("entropy_coefficient", {"low": 0, "high": 1}),
    "a whole number": ("epochs", {"low": 2, "high": 8}),
    "a whole number by its logarithm": ("rollout_length", {"low": 4, "high": 512, "scale": "log"}),
    "1 - gamma by its logarithm": ("gamma", {"low": 0.9, "high": 0.9999, "scale": "log_one_minus"}),
    "a truth": ("anneal_learning_rate", {"choices": [True, False]}),
    "some whole numbers": ("minibatch_size", {"choices": [32, 64, 128]}),
    "nothing or a number": ("clip_values", {"choices": [None, 0.2]}),
    "a number, given as a whole one, among others": ("max_grad_norm", {"choices": [1, 0.5, None]}),
}


@pytest.mark.parametrize("kind", SPACES)
def test_what_is_drawn_is_valid_lies_in_the_space_and_goes_to_optuna_and_back(kind, another):
    name, entry = SPACES[kind]
    data = changed()
    data["algorithms"]["ppo"]["search_space"] = {name: entry}
    folder = another("space", data)
    worker = folder.worker()
    worker.optuna.add_trial(worker._new_trial(0))
    trials = [worker._new_trial(number) for number in range(1, 60)]
    values = [worker.settings_of(with_number(trial, 1))[name] for trial in trials]
    dimension = worker.study.space[name]
    assert all(dimension.holds(value) for value in values)
    for value in values:
        algorithm = PPO.from_settings({name: value})
        assert type(getattr(algorithm, name)) is type(value)
        parameters = tune.to_parameters(worker.study, {name: value})
        back = tune.to_settings(worker.study, parameters)[name]
        assert back == (pytest.approx(value, abs=0, rel=1e-12) if isinstance(value, float) else value)
    if "choices" in entry:
        assert set(values) == set(entry["choices"])
        return
    below = np.mean([v < middle(entry) for v in values])
    assert 0.25 < below < 0.75  # half of what is drawn lies below the middle of the scale


def with_number(trial, number):
    trial.number = number
    return trial


def middle(entry):
    low, high, scale = entry["low"], entry["high"], entry.get("scale", "linear")
    if scale == "linear":
        return (low + high) / 2
    if scale == "log":
        return math.sqrt(low * high)
    return 1 - math.sqrt((1 - low) * (1 - high))


def test_the_ends_of_a_range_of_1_minus_gamma_stay_in_it_when_rounded(another):
    low, high = 0.1, 0.32  # 1 − (1 − x) is another number for the one, a larger for the other
    assert 1 - (1 - low) < low
    assert 1 - (1 - high) > high
    data = changed()
    data["algorithms"]["ppo"]["search_space"] = {"gamma": {"low": low, "high": high, "scale": "log_one_minus"}}
    study = another("ends", data).worker().study
    ends = distribution(study.space["gamma"])
    assert [tune.to_settings(study, {"1 - gamma": x})["gamma"] for x in (ends.low, ends.high)] == [high, low]


def test_text_is_among_choices(tmp_path):
    space = read_space("g.yaml", "reinforce", {"steps_of_an_episode": {"choices": ["sum", "mean"]}}, Reinforce)
    assert distribution(space["steps_of_an_episode"]).choices == ("sum", "mean")
    assert space["steps_of_an_episode"].holds("mean")
    assert not space["steps_of_an_episode"].holds("median")


OTHERS = {
    "another range": (("search_space", "gamma", "low"), 0.95, "space.gamma.low 0.9 where the grid has 0.95"),
    "another scale": (("search_space", "gamma", "scale"), "linear", "scale log_one_minus where the grid has linear"),
    "one dimension less": (("search_space", "epochs"), None, "where the grid has nothing"),
    "another setting": (("settings", "clip"), 0.1, "tasks.CartPole-v1.settings.clip 0.2 where the grid has 0.1"),
}
OTHER_TUNING = {
    "other seeds": ({"seeds": [100, 102]}, "seeds [100, 101] where the grid has [100, 102]"),
    "another objective": ({"spread_penalty": 1.0}, "spread_penalty 0.0 where the grid has 1.0"),
    "another pruner": ({"pruner": {"name": "NopPruner"}}, "pruner.name MedianPruner where the grid has NopPruner"),
    "another sampler": ({"sampler_seed": 4}, "sampler.seed 0 where the grid has 4"),
    "other steps": (
        {"groups": {"classic": {"tasks": {"CartPole-v1": 400, "Acrobot-v1": 500}, "serves": ["CartPole-v1"]}}},
        "tasks.Acrobot-v1.steps 300 where the grid has 500",
    ),
}


@pytest.mark.parametrize("difference", [*OTHERS, *OTHER_TUNING])
@pytest.mark.parametrize("finished", [True, False])
def test_another_study_in_the_folder_is_refused_with_what_differs_and_nothing_is_changed(difference, finished, folder):
    folder.tune() if finished else folder.tune_until(6)
    before = folder.content()
    data = changed()
    if difference in OTHERS:
        path, value, expected = OTHERS[difference]
        entry = data["algorithms"]["ppo"]
        for key in path[:-1]:
            entry = entry[key]
        if value is None:
            del entry[path[-1]]
        else:
            entry[path[-1]] = value
    else:
        further, expected = OTHER_TUNING[difference]
        data = changed(**further)
    folder.set_grid(data)
    with pytest.raises(InvalidStudy) as caught:
        folder.tune()
    message = sentence_of(caught)
    assert expected in message
    assert f"To tune anew, move {folder.path} away" in message
    assert folder.content() == before


def test_a_journal_of_another_study_is_refused_and_not_changed(folder, another):
    data = changed()
    data["algorithms"]["other"] = data["algorithms"]["ppo"] | {"module": "ppo"}
    other = another("other", data)
    grid = load_grid(str(other.grid))
    tune.Worker(grid, grid.study("other", "classic"), folder.path)
    before = folder.content()
    with pytest.raises(InvalidStudy, match=r"another study than ppo on classic; move .* away to tune anew"):
        folder.tune()
    assert folder.content() == before


def corrupt_in_the_middle(lines):
    return [*lines[:3], b"garbage\n", *lines[3:]]


CORRUPTED = {
    "garbage in the middle": (corrupt_in_the_middle, "line 4 is not whole"),
    "half a line in the middle": (lambda lines: [*lines[:3], lines[3][:20] + b"\n", *lines[4:]], "line 4 is not whole"),
    "an empty line": (lambda lines: [*lines[:5], b"\n", *lines[5:]], "line 6 is not whole"),
    "bytes that are no text": (lambda lines: [b"\xff\xfe\n", *lines], "line 1 is not whole"),
    "JSON of another kind": (lambda lines: [b'{"a": 1}\n', *lines], "Optuna cannot read it (KeyError: 'op_code')"),
    "a list": (lambda lines: [b"[1]\n"], "Optuna cannot read it"),
    "an unknown operation": (lambda lines: [lines[0].replace(b'"op_code":0', b'"op_code":77')], "Optuna cannot read"),
    "JSON of another kind and a cut-off line": (lambda lines: [b'{"a": 1}\n', b'{"op'], "Optuna cannot read it"),
    "a line of something else without an end": (lambda lines: [b"a diary"], "its last line, 1, is not whole"),
    "an end of something else": (lambda lines: [*lines, b"a diary"], "is not whole and was never a record"),
}


@pytest.mark.parametrize("corruption", CORRUPTED)
def test_a_corrupted_journal_is_refused_and_nothing_is_overwritten(corruption, folder):
    folder.tune()
    change, expected = CORRUPTED[corruption]
    folder.journal.write_bytes(b"".join(change(folder.journal.read_bytes().splitlines(keepends=True))))
    before = folder.content()
    with pytest.raises(InvalidStudy) as caught:
        folder.tune()
    message = sentence_of(caught)
    assert message.startswith(f"{folder.journal}: ")
    assert expected in message
    assert f"Nothing was changed; move {folder.path} away to tune anew" in message
    assert folder.content() == before


@pytest.mark.parametrize(
    ("pruner", "part"),
    [
        ({"name": "MedianPruner", "n_startup": 3}, "MedianPruner does not take {'n_startup': 3}"),
        ({"name": "PercentilePruner"}, "percentile"),
        ({"name": "PercentilePruner", "percentile": 120}, "between 0 and 100"),
        ({"name": "MedianPruner", "n_warmup_steps": "two"}, "two"),
    ],
)
def test_arguments_that_a_pruner_does_not_take_are_refused(pruner, part, another):
    folder = another("pruner", changed(pruner=pruner))
    with pytest.raises(GridError, match=r"mine\.yaml: pruner of tuning: ") as caught:
        folder.tune()
    assert part in sentence_of(caught)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--algorithm", "pppo"], "no algorithm 'pppo'; did you mean 'ppo'?"),
        (["--algorithm", "ppo_published"], "no study of ppo_published on classic"),
        (["--group", "clasic"], "no study of ppo on clasic; did you mean 'ppo on classic'?"),
        (["--output", "/proc/study"], "/proc/study cannot be written"),
    ],
)
def test_a_mistake_on_the_command_line_ends_it_with_a_sentence(words, part, folder, capsys):
    with pytest.raises(SystemExit) as exit_:
        exit_with_sentence(lambda: folder.tune(*words))
    assert exit_.value.code == 2
    assert part in capsys.readouterr().err
    assert not folder.path.exists()


def test_a_study_of_other_code_is_kept_aside_and_begun_anew(folder, monkeypatch, capsys):
    folder.tune()
    before, journal = folder.outcome(), folder.journal.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(Determinants, "code", lambda self: OTHER)
        calls = folder.tune()
        assert len(calls) > 5
        assert "kept as superseded-1.log, and tuning begins anew" in capsys.readouterr().out
        assert (folder.path / "superseded-1.log").read_bytes() == journal
        assert folder.outcome() == before
        assert folder.tune() == []
    folder.tune()
    assert (folder.path / "superseded-2.log").exists()
    assert (folder.path / "superseded-1.log").read_bytes() == journal


def test_a_study_is_begun_anew_where_a_default_in_the_code_has_changed(folder, monkeypatch, capsys):
    folder.tune()
    default = PPO.__init__.__defaults__
    assert default.count(0.2) == 1  # clip, which the grid does not set
    monkeypatch.setattr(PPO.__init__, "__defaults__", tuple(0.1 if value == 0.2 else value for value in default))
    monkeypatch.setattr(Determinants, "code", lambda self: OTHER)
    assert {algorithm.clip for algorithm, *_ in folder.tune()} == {0.1}
    assert "kept as superseded-1.log" in capsys.readouterr().out


def test_a_journal_that_optuna_made_for_something_else_is_refused_and_not_changed(folder):
    folder.path.mkdir()
    storage = JournalStorage(JournalFileBackend(str(folder.journal)))
    study = optuna.create_study(storage=storage, study_name="ppo on classic", direction="maximize")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    before = folder.content()
    with pytest.raises(InvalidStudy, match=r"was not made by this command; move .* away to tune anew"):
        folder.tune()
    assert folder.content() == before


def test_several_workers_do_not_put_a_study_of_other_code_aside(another, monkeypatch):
    folder = another("workers", changed(workers=2))
    _, lock = folder.worker()._claim()
    lock.release()
    before = folder.journal.read_bytes()
    monkeypatch.setattr(Determinants, "code", lambda self: OTHER)
    with pytest.raises(InvalidStudy, match=r"made by other code\. To tune anew, move .* away"):
        folder.worker()
    assert folder.journal.read_bytes() == before


def test_plain_optuna_opens_the_journal(folder):
    folder.tune()
    storage = JournalStorage(JournalFileBackend(str(folder.journal)))
    assert [found.study_name for found in optuna.get_all_study_summaries(storage)] == ["ppo on classic"]
    study = optuna.load_study(study_name="ppo on classic", storage=storage)
    rows = folder.rows("trials.csv")
    assert [(str(t.number), t.state.name.lower(), repr(t.value)) for t in study.trials] == [
        (row["trial"], row["state"], row["value"]) for row in rows
    ]
    assert [len(t.intermediate_values) for t in study.trials] == [int(row["parts"]) for row in rows]
    assert {tuple(sorted(t.params)) for t in study.trials} == {
        ("1 - gamma", "anneal_learning_rate", "epochs", "policy_learning_rate")
    }
    assert [1 - t.params["1 - gamma"] for t in study.trials] == [float(row["gamma"]) for row in rows]
    assert study.best_trial.number == folder.json("best.json")["trial"]


def test_the_study_says_what_was_asked_for_and_found(another):
    folder = another("sixteen", changed(trials=16, pruner={"name": "NopPruner"}))
    folder.tune()
    study = folder.json("study.json")
    assert (study["algorithm"], study["group"], study["trials"], study["repeatable"]) == ("ppo", "classic", 16, True)
    scores = {"steps": 400, "random_score": 20, "reference_score": 120}
    assert study["tasks"]["CartPole-v1"] == scores | {"task_code": {"gymnasium": version("gymnasium")}}
    assert study["space"]["gamma"] == {"low": 0.9, "high": 0.999, "scale": "log_one_minus"}
    assert study["space"]["anneal_learning_rate"] == {"choices": [True, False]}
    assert study["sampler"] == {"name": "TPESampler", "seed": 0, "startup_trials": 3}
    assert study["best"] == folder.json("best.json")
    assert list(study["importances"]) == list(study["space"])
    assert sum(study["importances"].values()) == pytest.approx(1)


@pytest.fixture
def best(folder):
    """A study's result, with a γ of its own."""
    folder.path.mkdir()
    data = changed()
    data["algorithms"]["ppo"] |= {
        "settings": {"rollout_length": 16, "gamma": 0.91, "epochs": 2, "minibatch_size": 128, "clip": 0.1},
        "tasks": {"CartPole-v1": {"gamma": 0.92, "epochs": 3, "clip": 0.3}},
    }
    folder.set_grid(data)
    found = {"schema": 3, "algorithm": "ppo", "group": "classic", "trial": 3, "score": 0.5, "settings": {"gamma": 0.93}}
    (folder.path / "best.json").write_text(json.dumps(found), encoding="utf-8")
    return found


def run_cell(folder, *words, algorithm="ppo", task="CartPole-v1"):
    cell = ["--grid", folder.grid, "--algorithm", algorithm, "--task", task, "--seed", "0"]
    run_main([str(word) for word in (*cell, "--output", folder.path.parent / "run", "--steps", "128", *words)])
    return json.loads((folder.path.parent / "run" / "run.json").read_text(encoding="utf-8"))


def test_tuned_settings_come_after_class_grid_and_task(folder, best, capsys):
    run = run_cell(folder, "--tuned", folder.path / "best.json")
    settings = run["settings"]
    assert (settings["gae_lambda"], settings["minibatch_size"]) == (0.95, 128)  # class, grid
    assert (settings["epochs"], settings["clip"], settings["gamma"]) == (3, 0.3, 0.93)  # task, task, tuned
    assert run["tuned"] == {"trial": 3, "score": 0.5, "settings": {"gamma": 0.93}}
    assert "untuned" not in capsys.readouterr().out


def test_a_run_without_what_its_study_has_found_says_so(folder, best, capsys):
    run = run_cell(folder)
    assert run["settings"]["gamma"] == 0.92
    assert run["tuned"] is None
    assert "note: untuned settings; --tuned results/mine/tuning/ppo/classic/best.json" in capsys.readouterr().err
    run_cell(folder, algorithm="ppo_published")
    assert "note" not in capsys.readouterr().err


def test_settings_on_the_command_line_come_after_tuned_ones(folder, best):
    run = run_cell(folder, "--tuned", folder.path / "best.json", "--set", "gamma=0.5")
    assert run["settings"]["gamma"] == 0.5


@pytest.mark.parametrize("cell", [{"algorithm": "ppo_published"}, {"task": "Acrobot-v1"}])
def test_a_cell_that_is_not_tuned_takes_no_tuned_settings(cell, folder, best):
    with pytest.raises(GridError, match=r"does not tune .*; leave out --tuned"):
        run_cell(folder, "--tuned", folder.path / "best.json", **cell)


WRONG_BEST = {
    "truncated": (lambda text: text[:40], "is not the winner of a study"),
    "of another algorithm": (
        lambda text: text.replace('"ppo"', '"a2c"'),
        "is of a2c on classic, not of ppo on classic",
    ),
    "of another group": (
        lambda text: text.replace('"classic"', '"mujoco"'),
        "is of ppo on mujoco, not of ppo on classic",
    ),
    "with a field that is not searched": (
        lambda text: text.replace('"gamma"', '"clip"'),
        "has 'clip', which is not searched",
    ),
    "with a value outside of the space": (lambda text: text.replace("0.93", "0.5"), "has gamma = 0.5"),
    "with a value of another kind": (lambda text: text.replace("0.93", '"high"'), "has gamma = 'high'"),
    "without settings": (lambda text: text.replace('"settings"', '"found"'), "is not the winner of a study"),
    "of settings that are no mapping": (lambda text: text.replace('{"gamma": 0.93}', "[]"), "is not the winner"),
    "a list": (lambda text: "[]", "is not the winner of a study"),
}


@pytest.mark.parametrize("wrong", WRONG_BEST)
def test_a_best_json_that_is_not_this_studys_is_refused_before_training(wrong, folder, best):
    change, expected = WRONG_BEST[wrong]
    file = folder.path / "best.json"
    file.write_text(change(file.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(InvalidStudy) as caught:
        run_cell(folder, "--tuned", file)
    message = sentence_of(caught)
    assert message.startswith(str(file))
    assert expected in message
    assert not (folder.path.parent / "run").exists()


def test_a_best_json_that_is_not_there_is_named_with_what_makes_it(folder, best):
    file = folder.path / "nothing.json"
    with pytest.raises(InvalidStudy, match=r"there is no .*nothing\.json; .*python -m experiments\.tune") as caught:
        run_cell(folder, "--tuned", file)
    assert "Errno" not in sentence_of(caught)


def test_what_a_study_has_found_is_taken_by_its_cells(folder):
    folder.tune()
    study = load_grid(str(folder.grid)).study("ppo", "classic")
    found = read_best(folder.path / "best.json", study)
    assert found["settings"] == folder.json("best.json")["settings"]
    settings = run_cell(folder, "--tuned", folder.path / "best.json")["settings"]
    assert {name: settings[name] for name in found["settings"]} == found["settings"]
