"""What a `snakemake` shows on the terminal: a line with the score of each run that has ended, and at the end the page.

Snakemake finds a profile by itself only in a folder at the top level, and a logger only where a package of its own is
installed. So the Snakefile exchanges the handler of the terminal. Snakemake's own lines are in its log in any case, and
on the terminal where the user has asked for them: with --verbose, --printshellcmds, --quiet, --logger or --dry-run.
"""

import json
import logging
import math
import shutil
import sys
import threading
import time
from collections.abc import Callable, Collection
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from snakemake.common import NOTHING_TO_BE_DONE_MSG
from snakemake.logging import get_event
from snakemake.settings.enums import Quietness
from snakemake_interface_logger_plugins.common import LogEvent

from .jobs import Jobs
from .pipeline import last_line
from .schema import WRITTEN_TO

OF_SNAKEMAKE = "DefaultStreamHandler"  # the name of its handler of the terminal
SECONDS_BETWEEN_LOOKS = 2.0  # at how far the grid is; the least
LOOKING = 0.05  # of the time at most
WIDEST_NAME = 30  # that lines are aligned to
CLEAR_LINE = "\r\033[K"
KINDS = {"tune": "study", "train": "run", "probe": "probe"}  # rule → what it makes one of
PLURALS = {"study": "studies"}
UNSEEN = ("manifest", "reproduce")  # rules that nobody waits for

# (results, folders that are made again, processes at a time or None) → what is running and when it ends, in words
Look = Callable[[Path, Collection[str], int | None], str]


def speak(workflow: Any, jobs: Jobs, look: Look) -> None:
    """Let this Snakemake show scores, unless the user has asked for something else, and in the end where the page is.

    workflow: Snakemake's. jobs: those of the grid. look: says how far it is.
    """
    settings, manager = workflow.output_settings, workflow.logger_manager
    if not workflow.is_main_process or settings.dryrun:
        return
    asked = settings.verbose or settings.printshellcmds or settings.debug_dag or settings.quiet
    raw = None if asked else next((h for h in manager.logger.handlers if h.name == OF_SNAKEMAKE), None)
    if raw is not None:
        manager.logger.removeHandler(raw)
        manager.logger.addHandler(Progress(workflow, jobs, look, raw))
    if Quietness.ALL not in (settings.quiet or ()):
        stream = sys.stdout if settings.stdout else sys.stderr
        manager.logger.addHandler(Ending(workflow, Path(workflow.basedir, jobs.results), stream, raw is not None))


class Progress(logging.Handler):
    """In the place of Snakemake's handler of the terminal, which still shows warnings, errors, and what is no work."""

    def __init__(self, workflow: Any, jobs: Jobs, look: Look, raw: logging.StreamHandler) -> None:
        super().__init__()
        self.workflow, self.jobs, self.look, self.raw = workflow, jobs, look, raw
        self.again: dict[str, str] = {}  # folder → kind of what is to be made and has not ended
        self.total = self.ended = self.failed = 0
        self.begun: dict[int, tuple[dict[str, Any], float]] = {}  # jobs: what Snakemake says of them, and since when
        self.live = bool(getattr(raw.stream, "isatty", lambda: False)())
        self.looked, self.next_look = "", 0.0
        self.over = threading.Event()
        grid = jobs.grid
        self.widths = [
            min(max(map(len, names), default=0), WIDEST_NAME)
            for names in (list(grid.tasks), [algorithm.title for algorithm in grid.algorithms.values()])
        ]
        if self.live:
            threading.Thread(target=self._keep_live, daemon=True).start()

    # Of what Snakemake says

    def emit(self, record: logging.LogRecord) -> None:
        """Show what a person wants to know of it. A mistake in here is printed, and no job fails of it."""
        try:
            self._show(record)
        except Exception:
            self.handleError(record)

    def _show(self, record: logging.LogRecord) -> None:
        event, about = get_event(record), vars(record)
        if not self._at_work():
            if record.funcName != "execute_workflow" or record.levelno > logging.INFO:
                self.raw.handle(record)
        elif event == LogEvent.RUN_INFO:
            self._begin(about["stats"])
        elif event == LogEvent.JOB_INFO:
            self.begun[about["jobid"]] = about, time.monotonic()
        elif event == LogEvent.JOB_FINISHED:
            self._end(about["job_id"])
        elif event == LogEvent.JOB_ERROR and not self.workflow.output_settings.show_failed_logs:
            self.failed += 1
            log = next(iter(about["log"]), None)
            self._line(f"failed: {self._in_words(about['jobid']) or about['rule_name']}{f'; see {log}' if log else ''}")
        elif event == LogEvent.ERROR and "CalledProcessError" in str(record.msg):
            pass  # of the job that is said to have failed; its log has the reason
        elif record.levelno >= logging.WARNING or record.msg == NOTHING_TO_BE_DONE_MSG:
            self._clear()
            self.raw.handle(record)

    def _at_work(self) -> bool:
        """Whether Snakemake executes jobs, or is about to; not where it lists, unlocks or touches something."""
        return self.workflow.execution_settings is not None and not self.workflow.touch

    def _begin(self, stats: dict[str, int]) -> None:
        """Say what is to be done. stats: rule → number of its jobs."""
        for job in self.workflow.dag.needrun_jobs():
            if job.rule.name in KINDS:
                self.again[self.jobs.of(job.wildcards).directory] = KINDS[job.rule.name]
        self.total = len(self.again)
        kinds = list(self.again.values())
        counts = [(kinds.count(kind), kind) for kind in KINDS.values() if kind in kinds]
        parts = [f"{n:,} {kind if n == 1 else PLURALS.get(kind, f'{kind}s')}" for n, kind in counts]
        parts += [rule.replace("_", " ") for rule in stats if rule not in (*KINDS, *UNSEEN, "total")]
        self._line(f"{self.jobs.grid.name}: to do: {', '.join(parts) or 'little'}")

    def _end(self, number: int) -> None:
        """Say that a job has ended."""
        about, since = self.begun.pop(number, ({}, time.monotonic()))
        rule, took = about.get("rule_name"), time.monotonic() - since
        if rule in KINDS:
            directory = self.jobs.of(about["wildcards"]).directory
            self.again.pop(directory, None)
            self.ended += 1
            left = self._look() if self.again and not self.live else ""
            text = f"{self._columns(about)}  {self._outcome(rule, directory, about, took)}"
            self._line(f"{self._count()}  {text}{f'  ({left})' if left else ''}")
        elif rule and rule not in UNSEEN:
            self._line(f"{rule.replace('_', ' ')}: made in {took:.0f} s")

    # Words

    def _count(self) -> str:
        return f"{self.ended:>{len(str(self.total))}} of {self.total}"

    def _in_words(self, number: int) -> str:
        """The name of a job by its number; nothing where it has none."""
        about = self.begun[number][0] if number in self.begun else {}
        return " ".join(self._columns(about).split()) if about.get("rule_name") in KINDS else ""

    def _columns(self, about: dict[str, Any]) -> str:
        """Of a run, a study or a probe: task, algorithm and seed, in columns."""
        job, wildcards = self.jobs.of(about["wildcards"]), about["wildcards"]
        if about["rule_name"] == "tune":
            return f"tuning of {self._title(job.algorithm)} on {job.group}"
        if about["rule_name"] == "probe":
            at = "" if job.exact else f" at {job.fraction:g} of {self._title(job.source)}"
            return f"probe of {job.task}{at}  seed {wildcards['seed']}"
        task, title = self.widths
        return f"{job.task:<{task}}  {self._title(job.algorithm):<{title}}  seed {job.seed}"

    def _title(self, algorithm: str) -> str:
        return self.jobs.grid.algorithms[algorithm].title

    def _outcome(self, rule: str, directory: str, about: dict[str, Any], took: float) -> str:
        """What came of a job: of a run its final score and time, else the last line of the log."""
        if rule == "train":
            try:
                run = json.loads(Path(self.jobs.results, directory, "run.json").read_text(encoding="utf-8"))
                seconds = f"{run['seconds']['total']:5.1f} s"
                if run["evaluation"] is None:
                    return f"{run['status']}  {seconds}"
                return f"final score {np.mean(run['evaluation']['sampled']['returns']):9,.1f}  {seconds}"
            except (OSError, ValueError, LookupError, TypeError):  # the tables say what is wrong with it
                return f"ended in {took:.1f} s"
        logs = [last_line(Path(log)) for log in about["log"]]
        return logs[0].partition(WRITTEN_TO)[0] if rule == "tune" and logs else f"{took:.1f} s"

    def _look(self) -> str:
        """What is running and when it ends, in words. It is looked for at most LOOKING of the time."""
        now = time.monotonic()
        if now >= self.next_look:
            cores = self.workflow.cores if self.workflow.local_exec else None
            self.looked = self.look(Path(self.jobs.results), list(self.again), cores)
            after = time.monotonic()
            self.next_look = after + max(SECONDS_BETWEEN_LOOKS, (after - now) / LOOKING)
        return self.looked

    # The terminal

    def _line(self, text: str) -> None:
        self._write(f"{text}\n")
        self._draw()

    def _clear(self) -> None:
        if self.live:
            self._write("")

    def _write(self, text: str) -> None:
        self.raw.stream.write(f"{CLEAR_LINE if self.live else ''}{text}")
        self.raw.stream.flush()

    def _draw(self) -> None:
        """Draw the line that is drawn again and again; what a job says itself is written over it."""
        if not self.live or not self.total or self.over.is_set():
            return
        failed = f"{self.failed} failed" if self.failed else ""
        text = ", ".join(filter(None, (f"{self.ended} of {self.total} done", failed, self.looked)))
        columns = shutil.get_terminal_size().columns
        self._write(f"{text[: columns - 1]}\r")

    def _keep_live(self) -> None:
        while not self.over.wait(SECONDS_BETWEEN_LOOKS):
            if self.total > self.ended:
                self._look()
                with self.lock:
                    self._draw()

    def close(self) -> None:
        """Leave the terminal as it is to be."""
        if not self.over.is_set():
            self.over.set()
            self._clear()
        self.raw.close()
        super().close()


class Ending(logging.Handler):
    """Says in the end where the page is, and its headline: also after a failure, and where nothing was to be done.

    Snakemake closes its handlers last of all.
    """

    def __init__(self, workflow: Any, results: Path, stream: TextIO, name_log: bool) -> None:
        super().__init__()
        self.workflow, self.results, self.stream, self.name_log = workflow, results, stream, name_log
        self.began, self.worked, self.said = time.time(), False, False

    def emit(self, record: logging.LogRecord) -> None:
        """Note whether there was something to do."""
        self.worked |= get_event(record) == LogEvent.RUN_INFO

    def close(self) -> None:
        """Say it."""
        if not self.said and self.workflow.execution_settings is not None:
            self.said = True
            logs = self.workflow.logger_manager.get_logfile() if self.worked and self.name_log else []
            for line in words_at_the_end(self.results, self.began if self.worked else -math.inf, logs):
                print(line, file=self.stream, flush=True)
        super().close()


def words_at_the_end(results: Path, began: float, logs: Collection[str]) -> list[str]:
    """At most five lines: the headline, where the page is, and where Snakemake's own lines are.

    results: the grid's folder. began: when the page should have been made at the earliest, in seconds since the epoch.
    logs: Snakemake's.
    """
    page = results / "report" / "index.html"
    lines = [f"Snakemake's own lines: {Path(log).resolve()}" for log in logs]
    try:
        made = page.stat().st_mtime
    except OSError:
        return lines[:1]
    try:
        headline = json.loads(page.with_name("summary.json").read_text(encoding="utf-8")).get("headline")
    except (OSError, ValueError, AttributeError):
        headline = None
    old = "" if made >= began else f"  (of {datetime.fromtimestamp(made):%Y-%m-%d %H:%M}, not made again)"
    shown = ["", *([" ".join(headline.split())] if isinstance(headline, str) and headline.strip() else [])]
    return [*shown, f"The page: {page.resolve().as_uri()}{old}", *lines[:1]]
