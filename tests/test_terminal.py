"""What a `snakemake` shows: scores while it runs, and in the end where the page is; Snakemake's own lines if asked."""

import io
import json
import logging
import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from experiments.grid import load_grid
from experiments.jobs import Jobs
from experiments.terminal import Progress, words_at_the_end
from tests.pipeline_fixtures import snakemake

GRID = "steps: 600\ntasks: [CartPole-v1]\nalgorithms: [reinforce, ppo]\nseeds: 2\n"
RUN = {"status": "done", "evaluation": {"sampled": {"returns": [100.0, 101.0]}}, "seconds": {"total": 2.5}}


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self):
        return True


@pytest.fixture
def begin(tmp_path):
    """A handler for a grid of four runs, all of them to be made, and the stream that it writes to."""
    (tmp_path / "mine.yaml").write_text(GRID)
    jobs = Jobs(load_grid(str(tmp_path / "mine.yaml")), str(tmp_path / "results"))
    begun = []

    def begin(stream, look=lambda *_: "2 running, about 9 min left"):
        names = [cell.directory.split("/")[1:] for cell in jobs.cells.values()]
        planned = [SimpleNamespace(rule=SimpleNamespace(name="train"), wildcards=wildcards(*name)) for name in names]
        workflow = SimpleNamespace(
            execution_settings=object(),
            touch=False,
            local_exec=True,
            cores=2,
            output_settings=SimpleNamespace(show_failed_logs=False),
            dag=SimpleNamespace(needrun_jobs=lambda: planned),
        )
        handler = Progress(workflow, jobs, look, logging.StreamHandler(stream))
        begun.append(handler)
        say(handler, LogEvent.RUN_INFO, stats={"train": 4, "tables": 1, "total": 5})
        return handler

    yield begin
    for handler in begun:
        handler.close()


def wildcards(task, algorithm, seed):
    return {"task": task, "algorithm": algorithm, "seed": seed}


def say(handler, event=None, level=logging.INFO, text="a line of Snakemake's", **about):
    """Snakemake says something."""
    record = logging.LogRecord("snakemake", level, __file__, 1, text, (), None)
    record.__dict__ |= about | {"event": event}
    handler.handle(record)


def start(handler, number, *cell):
    about = {"rule_name": "train", "wildcards": wildcards(*cell), "log": [f"logs/{number}.log"]}
    say(handler, LogEvent.JOB_INFO, jobid=number, **about)


def end(handler, number, results, cell, record):
    folder = results.joinpath("runs", *cell)
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(record))
    say(handler, LogEvent.JOB_FINISHED, job_id=number)


CELL = ("CartPole-v1", "ppo", "1")


def test_a_run_that_has_ended_is_a_line_with_its_score_and_the_count(begin, tmp_path):
    stream = io.StringIO()
    handler = begin(stream)
    start(handler, 7, *CELL)
    end(handler, 7, tmp_path / "results", CELL, RUN)
    first, line = stream.getvalue().splitlines()
    assert first == "mine: to do: 4 runs, tables"
    parts = ["1 of 4", "CartPole-v1", "PPO", "seed 1", "final score", "100.5", "2.5 s", "(2 running, about 9 min left)"]
    assert re.split(r" {2,}", line) == parts
    assert "Snakemake's" not in stream.getvalue()


@pytest.mark.parametrize(
    ("record", "said"),
    [(RUN | {"status": "diverged", "evaluation": None}, "diverged"), ({}, "ended in"), ([], "ended in")],
)
def test_a_run_without_a_score_says_what_became_of_it(record, said, begin, tmp_path):
    stream = io.StringIO()
    handler = begin(stream, look=lambda *_: "")
    start(handler, 7, *CELL)
    end(handler, 7, tmp_path / "results", CELL, record)
    assert f"seed 1  {said}" in stream.getvalue()


def test_a_job_that_fails_is_one_line_that_names_its_log_and_warnings_are_shown(begin):
    stream = io.StringIO()
    handler = begin(stream)
    start(handler, 7, *CELL)
    say(handler, LogEvent.ERROR, logging.ERROR, "CalledProcessError in file Snakefile: a long command")
    say(handler, LogEvent.JOB_ERROR, logging.ERROR, jobid=7, rule_name="train", log=["logs/7.log"])
    say(handler, None, logging.WARNING, "a warning")
    assert stream.getvalue().splitlines()[1:] == ["failed: CartPole-v1 PPO seed 1; see logs/7.log", "a warning"]


def test_what_is_left_is_asked_for_the_jobs_that_have_not_ended(begin, tmp_path):
    asked = []
    handler = begin(io.StringIO(), look=lambda *words: asked.append(words) or "")
    start(handler, 7, *CELL)
    end(handler, 7, tmp_path / "results", CELL, RUN)
    ((results, again, cores),) = asked  # and not for each line again
    assert (results.name, cores) == ("results", 2)
    assert set(again) == {f"runs/CartPole-v1/{cell}" for cell in ("reinforce/0", "reinforce/1", "ppo/0")}


def test_on_a_terminal_the_last_line_is_drawn_again_and_goes_in_the_end(begin, tmp_path):
    stream = Terminal()
    handler = begin(stream)
    start(handler, 7, *CELL)
    end(handler, 7, tmp_path / "results", CELL, RUN)
    handler.close()
    drawn = stream.getvalue()
    assert re.search(r"\r\x1b\[K1 of 4 done.*\r\r\x1b\[K$", drawn)
    assert "left)" not in drawn


def test_a_mistake_in_what_is_shown_stops_nothing(begin, capsys):
    handler = begin(io.StringIO())
    say(handler, LogEvent.JOB_INFO)  # without a number
    assert "KeyError" in capsys.readouterr().err


def page_of(results, summary):
    (results / "report").mkdir(parents=True)
    (results / "report" / "index.html").write_text("<html>")
    (results / "report" / "summary.json").write_text(summary)
    return (results / "report" / "index.html").resolve().as_uri()


def test_the_end_names_the_headline_and_the_page_in_at_most_five_lines(tmp_path):
    address = page_of(tmp_path / "mine", json.dumps({"headline": "On 2 tasks,\nPPO ended highest."}))
    said = words_at_the_end(tmp_path / "mine", 0, ["/a/first.log", "/a/second.log"])
    assert said == [
        "",
        "On 2 tasks, PPO ended highest.",
        f"The page: {address}",
        "Snakemake's own lines: /a/first.log",
    ]


@pytest.mark.parametrize("summary", ["{}", "", "[]", '{"headline": null}', '{"headline": " "}'])
def test_without_a_headline_the_page_is_named_all_the_same(summary, tmp_path):
    address = page_of(tmp_path / "mine", summary)
    assert words_at_the_end(tmp_path / "mine", 0, []) == ["", f"The page: {address}"]


def test_a_page_from_before_is_said_to_be_one_and_none_is_none(tmp_path):
    page_of(tmp_path / "mine", "{}")
    os.utime(tmp_path / "mine" / "report" / "index.html", (10**9, 10**9))
    assert words_at_the_end(tmp_path / "mine", 2 * 10**9, [])[1].endswith(", not made again)")
    assert words_at_the_end(tmp_path / "nowhere", 0, []) == []


def test_snakemake_shows_scores_and_the_page_and_its_own_lines_where_they_are_asked_for(fresh):
    (fresh / "mine.yaml").write_text(GRID.replace("[reinforce, ppo]", "[reinforce]"))
    run = "results/mine/runs/CartPole-v1/reinforce/0/run.json"
    done = snakemake(fresh, "results/mine/grid.json", run, grid="mine.yaml")
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert re.search(r"^1 of 1  CartPole-v1  REINFORCE  seed 0  final score .* s$", said, re.MULTILINE)
    assert "rule train" not in said
    log = re.search(r"^Snakemake's own lines: (.*)$", said, re.MULTILINE)[1]
    assert "rule train:" in Path(log).read_text(encoding="utf-8")
    address = page_of(fresh / "results" / "mine", '{"headline": "A headline."}')
    nothing = snakemake(fresh, "results/mine/grid.json", grid="mine.yaml")
    assert "Nothing to be done" in nothing.stderr
    assert nothing.stderr.endswith(f"\nA headline.\nThe page: {address}\n")
    planned = snakemake(fresh, "--dry-run", grid="mine.yaml")
    assert "rule train:" in planned.stdout + planned.stderr
    assert "The page" not in planned.stdout + planned.stderr
    asked = snakemake(fresh, "results/mine/grid.json", "--printshellcmds", "--forcerun", "manifest", grid="mine.yaml")
    assert "rule manifest:" in asked.stdout + asked.stderr
