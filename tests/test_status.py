"""What `analysis.status` says of a grid that is being made, from the files that its jobs write."""

import json
import os
import subprocess
import sys

import pytest

from analysis import status
from analysis.command import run_command
from experiments import progress as running
from experiments.probe import Clock
from tests.analysis_fixtures import probe, study, write_grid
from tests.test_tune import FRESH, GRID, PARTS, Folder

TASKS = {
    name: {"steps": 1000, "random_score": 0, "reference_score": 1, "reference_source": "none", "threshold": None}
    for name in ("A-v1", "B-v1")
}
NOW = 2_000_000_000
STEPS = "{}: {:,} of 1,000 steps, return 5.0, {:,} steps/s\n"


class Results:
    """A folder of results whose files are written by hand."""

    def __init__(self, folder, **about):
        self.folder = folder / "mine"
        self.grid = write_grid(
            self.folder, **{"algorithms": ("reinforce", "ppo"), "tasks": TASKS, "seeds": (0,), **about}
        )

    def write(self, name, text, age):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (NOW - age, NOW - age))

    def finish(self, cell, seconds, age=1000):
        """A cell's run, and what its log says at the end."""
        self.write(f"logs/runs/{cell}.log", f"1,000 steps in 9.0 s; final score 1.0; written to runs/{cell}\n", age)
        self.write(f"runs/{cell}/run.json", json.dumps({"seconds": {"total": seconds}}), age + 1)

    def log(self, cell, text, age=0):
        self.write(f"logs/runs/{cell}.log", text, age)

    def status(self):
        return status.read_status(self.folder, NOW)

    def job(self, name):
        (job,) = (job for job in self.status().jobs if job.name == name)
        return job


@pytest.fixture
def results(tmp_path):
    return Results(tmp_path)


def test_at_first_everything_waits_and_nothing_is_expected(results):
    now = results.status()
    assert now.counts() == {"cells": {"done": 0, "running": 0, "waiting": 4, "failed": 0, "stopped": 0}}
    assert (now.share_done, now.end, now.uncounted) == (0, None, 4)
    assert "Nothing is running." in status.as_text(now)


def test_what_is_left_is_counted_at_the_rates_of_what_is_alike(results):
    """REINFORCE has taken 10 s on A, and PPO is at 200 of 1,000 steps on B, at 10 steps a second."""
    results.finish("A-v1/reinforce/0", seconds=10)
    results.log("B-v1/ppo/0", STEPS.format("mine", 200, 10))
    now = results.status()
    ppo_on_b, ppo_on_a, reinforce_on_b = 800 / 10, 1000 / 100, 1000 / 10
    assert now.core_seconds_done == pytest.approx(10 + 20)
    assert now.core_seconds_left == pytest.approx(ppo_on_b + ppo_on_a + reinforce_on_b)
    assert now.share_done == pytest.approx((1000 + 200) / 4000)
    assert (now.at_once, now.guessed, now.uncounted) == (1, 0, 0)
    assert now.end - NOW == pytest.approx(190)
    results.log("A-v1/ppo/0", "")
    assert results.status().end - NOW == pytest.approx(95)  # two at once


def test_a_task_of_which_nothing_is_known_is_counted_at_the_rate_of_the_others_and_that_is_said(results):
    results.finish("A-v1/reinforce/0", seconds=10)
    now = results.status()
    assert (now.core_seconds_left, now.guessed) == (pytest.approx(30), 2)
    assert "2 counted at the rates of other tasks" in status.as_text(now)


def test_the_end_is_not_before_that_of_the_slowest_job_which_is_running(tmp_path):
    """Each is as fast as it says, though others of its kind are not."""
    results = Results(tmp_path, algorithms=("ppo",), tasks={"A-v1": TASKS["A-v1"]}, seeds=(0, 1))
    results.log("A-v1/ppo/0", STEPS.format("mine", 900, 100))
    results.log("A-v1/ppo/1", STEPS.format("mine", 100, 1))
    now = results.status()
    assert now.core_seconds_left == pytest.approx(1 + 900)
    assert now.end - NOW == pytest.approx(900)


def test_a_run_goes_on_after_its_last_line_at_the_rate_that_it_says(results):
    results.log("A-v1/ppo/0", STEPS.format("mine", 200, 10) + STEPS.format("mine", 400, 10), age=30)
    job = results.job("A-v1 ppo 0")
    assert (job.state, job.progress, job.rate) == ("running", "400 of 1,000 steps", pytest.approx(10))
    assert status.seconds_left(job) == pytest.approx(30)
    assert "A-v1 ppo 0: 400 of 1,000 steps, 10 steps/s, 30 s left" in status.as_text(results.status())


@pytest.mark.parametrize(
    ("text", "age", "state", "because"),
    [
        ("", 299, "running", ""),
        ("", 301, "stopped", "nothing written for 5 min"),
        (STEPS.format("mine", 400, 10), 301, "stopped", "nothing written for 5 min"),
        ("error: no room on the disk\n", 0, "failed", "no room on the disk"),
        (
            "python -m experiments.run: error: no such thing\n",
            0,
            "failed",
            "python -m experiments.run: error: no such thing",
        ),
        ("Traceback (most recent call last):\n  File\nValueError: a bug\n", 0, "failed", "ValueError: a bug"),
        ("Traceback (most recent call last):\n  File\nKeyboardInterrupt\n", 0, "stopped", "KeyboardInterrupt"),
        ("a warning about an error: none\n", 0, "running", ""),
        ("1,000 steps in 9.0 s; final score 1.0; written to runs/A-v1/ppo/0\n", 0, "waiting", ""),  # it was removed
    ],
)
def test_without_a_result_the_log_and_its_age_say_what_became_of_a_run(results, text, age, state, because):
    results.log("A-v1/ppo/0", text, age)
    job = results.job("A-v1 ppo 0")
    assert (job.state, job.because) == (state, because)
    said = status.as_text(results.status())
    assert (str(results.folder / "logs/runs/A-v1/ppo/0.log") in said) == (state in ("failed", "stopped"))


def test_a_run_that_is_made_again_does_not_count_as_done(results):
    """Snakemake removes the result before."""
    results.finish("A-v1/ppo/0", seconds=10)
    (results.folder / "runs/A-v1/ppo/0/run.json").unlink()
    assert results.job("A-v1 ppo 0").state == "waiting"
    results.log("A-v1/ppo/0", STEPS.format("mine", 400, 10))
    assert results.job("A-v1 ppo 0").state == "running"


def test_what_a_training_writes_into_its_log_is_what_is_read(results, capsys, monkeypatch):
    """A line for each tenth of the budget, and one before a minute has passed without."""
    clock = [0.0]
    monkeypatch.setattr(running.time, "perf_counter", lambda: clock[0])
    progress = running.Progress("mine ppo A-v1 0", 1000)
    for seconds, step in ((10, 99), (20, 100), (30, 110), (69, 120), (80, 130), (81, 140), (90, 350)):
        clock[0] = seconds
        progress(step, [])
    progress.close()
    said = capsys.readouterr().out
    assert [line.split(" of ")[0] for line in said.splitlines()] == [f"mine ppo A-v1 0: {n}" for n in (100, 130, 350)]
    results.log("A-v1/ppo/0", said)
    job = results.job("A-v1 ppo 0")
    assert (job.done, job.rate) == (350, pytest.approx(4))  # as rounded in the log


def test_a_studys_journal_says_how_far_it_is(tmp_path, monkeypatch):
    """A real one, in which trials were pruned: those have done all that they have to do."""
    folder = Folder(tmp_path / "a", monkeypatch)
    folder.tune_until(killed_at=20)
    t = GRID["tuning"]
    entry = study("ppo", "classic", t["groups"]["classic"]["tasks"], ["A-v1"], trials=5, workers=2)
    results = Results(tmp_path, studies=[entry | {name: t[name] for name in ("seeds", "fresh_seeds")}])
    journal = folder.journal.read_text()
    results.write("logs/tuning/ppo/classic.log", "", 60)
    results.write("tuning/ppo/classic/journal.log", journal + journal.splitlines()[-1][:20], 50)
    job = results.job("tuning ppo on classic")
    assert (job.state, job.silent) == ("running", 50)
    assert job.progress == "20 trainings, 5 trials ended"
    trial = 2 * (400 + 300)
    assert job.work == 5 * trial + FRESH * 350
    assert [len(parts) for parts in parts_by_trial(journal).values()] == [PARTS] * 4 + [1]  # the last was pruned
    assert job.done == 5 * trial + 400 + 300 + 400  # and three of the trainings on fresh seeds are made
    job.measured = job.done, 50.0  # the trainings took no time
    now = status.summarise("mine", [job], NOW)
    assert (now.at_once, now.core_seconds_left) == (2, pytest.approx((job.work - job.done) / (job.done / 50)))
    assert now.end - NOW == pytest.approx(now.core_seconds_left / 2)


def parts_by_trial(journal):
    """The parts of each trial, as the journal has them last."""
    entries = [json.loads(line) for line in journal.splitlines()]
    return {e["trial_id"]: e["user_attr"]["parts"] for e in entries if "parts" in e.get("user_attr", {})}


def test_a_finished_study_is_done_until_its_log_says_that_it_goes_on(tmp_path):
    results = Results(tmp_path, studies=[study("ppo", "all", {"A-v1": 100})])
    results.write("tuning/ppo/all/study.json", "{}", 100)
    results.write("tuning/ppo/all/parts.csv", "trial,seconds\n0,2.5\n1,1.5\n", 100)
    results.write("logs/tuning/ppo/all.log", "4 trials, 0 pruned; best: trial 1, 0.5; 9 s; written to x\n", 99)
    job = results.job("tuning ppo on all")
    assert (job.state, job.measured) == ("done", (job.work, 4.0))
    results.write("logs/tuning/ppo/all.log", "", 10)
    assert results.job("tuning ppo on all").state == "running"
    results.write("logs/tuning/ppo/all.log", "error: another search space\n", 10)
    assert results.job("tuning ppo on all").state == "failed"


def test_a_probe_says_what_it_does_and_is_not_counted_before_one_has_ended(tmp_path, capsys):
    results = Results(tmp_path, probes=[probe("A-v1", 0.1), probe("B-v1", 0.5)])
    results.finish("A-v1/reinforce/0", seconds=10)
    with Clock()("measuring"):
        results.write("logs/probes/A-v1/ppo/0/0.1.log", capsys.readouterr().out, 600)
    now = results.status()
    assert now.uncounted == 2
    assert "probe of A-v1 ppo 0 at 0.1: measuring …" in status.as_text(now)
    results.write("probes/A-v1/ppo/0/0.1/probe.json", json.dumps({"seconds": {"total": 7}}), 0)
    now = results.status()
    assert (now.uncounted, now.core_seconds_left) == (0, pytest.approx(30 + 7))


def test_a_grid_that_is_done_says_so_and_the_command_line_says_the_same_as_json(results):
    for cell in ("A-v1/reinforce/0", "A-v1/ppo/0", "B-v1/reinforce/0", "B-v1/ppo/0"):
        results.finish(cell, seconds=10)
    assert "100 % of the training steps done" in status.as_text(results.status())
    done = command(results.folder, "--json", "--watch", "60")  # which ends when all is done
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["jobs"]["cells"]["done"], said["share_done"], said["core_seconds_done"]) == (4, 1, 40)
    assert said["running"] == said["failed"] == said["stopped"] == []


@pytest.mark.parametrize("state", ["diverged", "stopped by its task"])
def test_a_run_that_ended_early_is_named_and_says_nothing_of_the_rate(state, results):
    """It took a part of the steps, so that all of them over its seconds would be a rate that no run has."""
    results.finish("A-v1/reinforce/0", seconds=10)
    results.finish("A-v1/ppo/0", seconds=0.1)
    record = {"seconds": {"total": 0.1}, "status": state}
    results.write("runs/A-v1/ppo/0/run.json", json.dumps(record), 1001)
    now = results.status()
    assert now.counts()["cells"]["done"] == 2
    assert now.core_seconds_left == pytest.approx(2 * 10)
    assert f"1 of those that are done ended early: {state}." in status.as_text(now)


def test_a_mistake_ends_with_a_sentence_and_status_2(tmp_path, results, capsys):
    (tmp_path / "empty").mkdir()
    for words, sentence in {
        (tmp_path / "nowhere",): "no such folder",
        (tmp_path / "empty",): "not there yet",
        (results.folder, "--watch", "0"): "above 0",
    }.items():
        with pytest.raises(SystemExit) as ended:
            run_command(lambda: status.main([*map(str, words)]), "analysis.status")  # noqa: B023
        assert ended.value.code == 2
        assert sentence in capsys.readouterr().err


def command(*words):
    """The command line."""
    words = [sys.executable, "-m", "analysis.status", *map(str, words)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (89.4, "89 s"),
        (100, "2 min"),
        (3600, "60 min"),
        (7260, "2 h 1 min"),
        (36_000, "10 h"),
        (300_000, "3 d"),
    ],
)
def test_durations_are_rough(seconds, text):
    assert status.rough_duration(seconds) == text


def test_what_is_made_again_is_not_done_and_takes_as_long_as_it_took(results):
    for algorithm in ("reinforce", "ppo"):
        for task in ("A-v1", "B-v1"):
            results.finish(f"{task}/{algorithm}/0", 100)
    again = ["runs/A-v1/ppo/0", "runs/B-v1/ppo/0"]
    planned = status.read_status(results.folder, NOW, again, at_once=2)
    assert {job.directory for job in planned.of("waiting")} == set(again)
    assert planned.core_seconds_left == pytest.approx(200)
    assert planned.end == pytest.approx(NOW + 100)
    assert status.in_short(results.folder, again, 2) == "about 2 min left"
    assert status.in_short(results.folder) == ""


def test_nothing_is_said_in_short_where_nothing_is_known(tmp_path, results):
    assert status.in_short(tmp_path / "nowhere") == ""
    assert status.in_short(results.folder, (), 2) == ""  # no rate is known
