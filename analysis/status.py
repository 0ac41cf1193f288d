"""Says how far a grid is, what is running, how fast, and when it will end. It reads only the files of the results.

A job is a study, a run or a probe. It is done when its result is there. (`snakemake --dry-run` says whether a result is
out of date.) Before that, its log says what it does. A job at work writes a line at least once a minute, a study also
into its journal. An error ends a job. If a log has been silent for long, its process is dead, on whatever machine.

How much is done is counted in training steps, those of studies and of runs, so that it only grows while work proceeds.
Of probes, which do not train, the number that is done stands beside it.

The work that remains is counted in core seconds, at the rates that were measured on the same task and algorithm; where
none were measured, at those of the same task, else at those of all tasks. The estimate assumes that the remaining jobs
run as fast, and as many at a time, as now.
"""

import argparse
import contextlib
import json
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from policy_gradient_ladder.experiments.schema import JOURNAL, RUN_STATES, SNAKEMAKE_ENDED, WRITTEN_TO

from .command import run_command
from .page.live import Look
from .reading.checks import ResultsError, check_keys, read_record
from .reading.grid import CELL_KEYS, GRID_KEYS, PROBE_KEYS, STUDY_KEYS, check_there
from .reading.jobs import last_line

STATES = ("done", "running", "waiting", "failed", "stopped")
KINDS = {"study": "studies", "run": "cells", "probe": "probes"}
RESULT = {"study": "study.json", "run": "run.json", "probe": "probe.json"}
SILENCE = {"study": 300, "run": 300, "probe": 1800}  # seconds; a probe writes a line only when it begins something
TAIL = 16_384  # bytes of a log that are read
PAGE_SECONDS = 60  # after which the live page is made again, unless the command line says otherwise
LEAST_PAGE_SECONDS = 1
LISTED = 20  # jobs of a state that the text shows
PROGRESS = re.compile(r"^.*: ([\d,]+) of [\d,]+ steps, .*?([\d,]+) steps/s$", re.MULTILINE)
FAILURE = re.compile(r"^(?:error: .*|.*: error: .*|Fatal Python error.*|Traceback \(.*)$", re.MULTILINE)
INTERRUPTION = re.compile(rf"KeyboardInterrupt|{SNAKEMAKE_ENDED}")  # from outside; the job itself has no fault
CLEAR = "\033[H\033[2J"  # clears the terminal
Key = tuple[str, ...]  # jobs with the same key take about equally long


@dataclass
class Job:
    """One study, run or probe, and how far it is."""

    kind: str
    name: str
    directory: str
    work: float  # environment steps, in a study those that are planned; in a probe 1
    alike: list[Key]  # the keys of the most similar jobs first
    trial_work: float = 0.0  # steps of one trial of a study
    processes: int = 1
    state: str = "waiting"
    done: float = 0.0  # part of the work, supposing that it went on since it last wrote
    recorded: float = 0.0  # part of the work, as it last wrote
    measured: tuple[float, float] | None = None  # some work, and the core seconds that it took
    silent: float = 0.0  # seconds since it wrote anything
    progress: str = ""  # in words
    log: str = ""
    because: str = ""  # why it failed or stopped
    ended_early: str = ""  # of one that is done: its state where it has no result

    @property
    def rate(self) -> float | None:
        """Work per core second, as measured."""
        return self.measured[0] / self.measured[1] if self.measured and min(self.measured) > 0 else None


@dataclass
class Status:
    """The state of a whole grid at one moment."""

    grid: str
    time: float  # seconds since the epoch
    jobs: list[Job]
    core_seconds_done: float
    core_seconds_left: float  # of all jobs that are not done, also of failed ones; without uncounted jobs
    at_once: int  # processes that are running
    end: float | None  # estimated, in seconds since the epoch; None where nothing is running or no rate is known
    guessed: int  # remaining jobs that are counted at the rates of other tasks
    uncounted: int  # remaining jobs that are not counted, since no rate is known

    @property
    def share_done(self) -> float:
        """The share of the steps of all studies and runs that is done, as they last wrote."""
        training = [job for job in self.jobs if job.kind != "probe"]
        total = sum(job.work for job in training)
        return sum(job.recorded for job in training) / total if total > 0 else 0.0

    def of(self, state: str) -> list[Job]:
        """The jobs in a state."""
        return [job for job in self.jobs if job.state == state]

    def counts(self) -> dict[str, dict[str, int]]:
        """Number of jobs: studies, cells or probes → state → number. Kinds of which the grid has none are left out."""
        found = {name: Counter(job.state for job in self.jobs if job.kind == kind) for kind, name in KINDS.items()}
        return {name: {state: of[state] for state in STATES} for name, of in found.items() if of}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line. arguments: its words, those of the process if None."""
    parser = argparse.ArgumentParser(prog="python -m analysis.status", description="Say how far a grid is.")
    parser.add_argument("results", type=Path, help="a grid's folder, e.g. results/default")
    parser.add_argument(
        "--watch", type=float, metavar="SECONDS", help="repeat it after so many seconds, until all is done"
    )
    parser.add_argument(
        "--page",
        type=float,
        nargs="?",
        const=PAGE_SECONDS,
        metavar="SECONDS",
        help=f"keep the page live.html of what has finished, made again after so many seconds ({PAGE_SECONDS})",
    )
    parser.add_argument("--json", action="store_true", help="for programs: a JSON object on one line")
    options = parser.parse_args(arguments)
    if options.watch is not None and not options.watch > 0:
        parser.error(f"--watch takes a number of seconds above 0, not {options.watch:g}")
    if options.page is not None:
        if not options.page >= LEAST_PAGE_SECONDS:
            parser.error(f"--page takes a number of seconds from {LEAST_PAGE_SECONDS} on, not {options.page:g}")
        if options.json or options.watch is not None:
            parser.error("--page goes without --json and --watch, which print the status instead")
        look(options.results)  # says at once that there is no grid
        from .live import keep_page

        keep_page(options.results, options.page, lambda: look(options.results))
        return
    while True:
        status = read_status(options.results, time.time())
        if options.json:
            print(json.dumps(as_json(status), ensure_ascii=False, allow_nan=False), flush=True)
        else:
            print((CLEAR if options.watch and sys.stdout.isatty() else "") + as_text(status), flush=True)
        if options.watch is None or all(job.state == "done" for job in status.jobs):
            return
        time.sleep(options.watch)


def in_short(results: Path, again: Collection[str] = (), at_once: int | None = None) -> str:
    """What is running and when it ends, in a few words; none where that is not known. Arguments as of `read_status`."""
    try:
        status = read_status(results, time.time(), again, at_once)
    except (ResultsError, OSError):  # grid.json is not there yet, or a file goes while it is read
        return ""
    running = len(status.of("running"))
    words = [f"{running} running"] if running else []
    if status.end is not None and not status.uncounted:
        words.append(f"about {rough_duration(status.end - status.time)} left")
    return ", ".join(words)


def read_status(results: Path, now: float, again: Collection[str] = (), at_once: int | None = None) -> Status:
    """The status of the grid in a results folder.

    now: seconds since the epoch. again: folders of jobs whose results are to be made again, and so are not done.
    at_once: processes that may run at a time; None: as many as run now.
    Raises ResultsError where there is no such folder, or no valid grid.json in it.
    """
    check_there(results)
    path = results / "grid.json"
    if not path.exists():
        raise ResultsError(f"{path}: not there yet; snakemake makes it before anything else.")
    grid = read_record(path, GRID_KEYS)
    jobs = jobs_of(grid, path)
    for job in jobs:
        look_at(job, results, now)
        if job.directory in again and job.state == "done":
            job.state, job.done, job.recorded, job.ended_early = "waiting", 0.0, 0.0, ""
    return summarise(grid["grid"], jobs, now, at_once)


def jobs_of(grid: dict[str, Any], path: Path) -> list[Job]:
    """A job, in state waiting, for everything that a grid asks for."""
    jobs = []
    for index, study in enumerate(grid["studies"]):
        check_keys(study, STUDY_KEYS, path, f"studies[{index}]")
        algorithm, group, steps = study["algorithm"], study["group"], sum(study["tasks"].values())
        trial = steps * len(study["seeds"])
        work = trial * study["trials"] + 2 * steps * len(study["fresh_seeds"])
        alike = [("study", algorithm, group), ("study", group), ("study",), ("steps",)]
        name = f"tuning {algorithm} on {group}"
        jobs.append(Job("study", name, study["directory"], work, alike, trial, study["workers"]))
    for index, cell in enumerate(grid["cells"]):
        check_keys(cell, CELL_KEYS, path, f"cells[{index}]")
        task, algorithm = cell["task"], cell["algorithm"]
        alike = [("run", task, algorithm), ("run", task), ("run",), ("steps",)]
        jobs.append(Job("run", f"{task} {algorithm} {cell['seed']}", cell["directory"], cell["steps"], alike))
    for index, probe in enumerate(grid["probes"]):
        check_keys(probe, PROBE_KEYS, path, f"probes[{index}]")
        name = f"probe of {probe['task']} {probe['source']} {probe['seed']} at {probe['fraction']:g}"
        jobs.append(Job("probe", name, probe["directory"], 1, [("probe", probe["task"]), ("probe",)]))
    return jobs


def look_at(job: Job, results: Path, now: float) -> None:
    """Set state, work done, measured rate and progress of a job, from its files."""
    folder, log = results / job.directory, results / "logs" / f"{job.directory}.log"
    result = modified(folder / RESULT[job.kind])
    written = modified(log) if result is None or job.kind == "study" else None
    text = "" if written is None else tail(log)
    has_ended = WRITTEN_TO in last_line(text)
    if result is not None and (written is None or written <= result or has_ended):
        seconds, state = outcome_of(job, folder)
        job.state, job.done, job.recorded = "done", job.work, job.work
        job.ended_early = state if state != RUN_STATES[0] else ""
        job.measured = None if seconds is None else (0.0 if job.ended_early else job.work, seconds)
        return  # else it is a study that goes on or was refused, beside the result of its earlier trials
    if written is None or has_ended:  # its result was removed
        return
    journal = folder / JOURNAL
    job.silent = max(now - max(written, modified(journal) or 0), 0)
    job.log, failure = str(log), FAILURE.search(text)
    if failure:
        job.because = last_line(text) if failure[0].startswith("Traceback") else failure[0].removeprefix("error: ")
        job.state = "stopped" if INTERRUPTION.match(job.because) else "failed"
    elif job.silent > SILENCE[job.kind]:
        job.state, job.because = "stopped", f"nothing written for {rough_duration(job.silent)}"
    else:
        job.state, job.progress = "running", "starting"
    if job.kind == "study":
        look_into_journal(job, journal)
    elif job.kind == "run" and job.state == "running":
        look_into_log(job, text)
    elif job.kind == "probe" and text.strip():
        job.progress = last_line(text)


def look_into_log(job: Job, log: str) -> None:
    """Set a run's work done from its log, supposing that it went on at the last rate since it wrote that."""
    lines = PROGRESS.findall(log)
    if not lines:
        return
    steps, rate = (float(number.replace(",", "")) for number in lines[-1])
    job.progress = f"{steps:,.0f} of {job.work:,.0f} steps"
    job.recorded = min(steps, job.work)
    job.done = min(steps + rate * job.silent, job.work)
    if rate > 0:
        job.measured = steps, steps / rate


def look_into_journal(job: Job, journal: Path) -> None:
    """Set a study's work done from the trials and trainings in its journal. A stopped study will go on from these."""
    lines = journal.read_text(encoding="utf-8", errors="replace").splitlines() if journal.exists() else []
    trainings, ended = {}, set()
    for line in lines:
        with contextlib.suppress(ValueError):  # the last line may be cut off
            entry = json.loads(line)
            for name, value in entry.get("user_attr", {}).items():
                if name == "parts" or name.startswith("fresh "):
                    trainings[name, entry.get("trial_id")] = value
            if "datetime_complete" in entry:
                ended.add(entry["trial_id"])
    taken = {key: sum(training["steps"] for training in of) for key, of in trainings.items()}
    begun: dict[int, float] = defaultdict(float)
    for (_, trial), steps in taken.items():
        if trial not in ended:
            begun[trial] = min(begun[trial] + steps, job.trial_work)  # the last episode may end later
    # A pruned trial has no work left.
    job.done = job.recorded = min(len(ended) * job.trial_work + sum(begun.values()), job.work)
    seconds = sum(training["seconds"] for of in trainings.values() for training in of)
    if trainings:
        job.measured = job.done, seconds
        job.progress = f"{sum(map(len, trainings.values()))} trainings, {len(ended)} trials ended"


def outcome_of(job: Job, folder: Path) -> tuple[float | None, str]:
    """Core seconds that a finished job took, None where its files do not say it (the tables say what is wrong); and
    its state, one of RUN_STATES.
    """
    done = RUN_STATES[0]
    try:
        if job.kind == "study":
            header, *rows = (folder / "parts.csv").read_text(encoding="utf-8").splitlines()
            place = header.split(",").index("seconds")
            return sum(float(row.split(",")[place]) for row in rows), done
        record = json.loads((folder / RESULT[job.kind]).read_text(encoding="utf-8"))
        return float(record["seconds"]["total"]), record.get("status", done)
    except (OSError, ValueError, LookupError, TypeError):
        return None, done


def modified(path: Path) -> float | None:
    """When a file was last written, in seconds since the epoch; None where it is missing."""
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def tail(path: Path) -> str:
    """The last TAIL bytes of a text file."""
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - TAIL, 0))
        return file.read().decode("utf-8", errors="replace")


def summarise(grid: str, jobs: list[Job], now: float, processes: int | None = None) -> Status:
    """The status of a grid with these jobs. processes: how many may run at a time; None: as many as run now."""
    rates = rates_of(jobs)
    done = left = longest = 0.0
    guessed = uncounted = 0
    for job in jobs:
        known = next((key for key in job.alike if key in rates), None)
        rate = (job.rate if job.state == "running" else None) or rates.get(known)
        if job.state == "done":
            done += job.measured[1] if job.measured else job.work / rate if rate else 0
        elif rate is None:
            uncounted += 1
        else:
            guessed += job.rate is None and len(known) == 1
            done += job.done / rate
            left += (seconds := (job.work - job.done) / rate)
            if job.state == "running":
                longest = max(longest, seconds / job.processes)
    at_once = sum(job.processes for job in jobs if job.state == "running")
    speed = processes or at_once
    end = now + max(left / speed, longest) if speed and left else None
    return Status(grid, now, jobs, done, left, at_once, end, guessed, uncounted)


def rates_of(jobs: Sequence[Job]) -> dict[Key, float]:
    """Work per core second that was measured on jobs with the same key."""
    totals = defaultdict(lambda: [0.0, 0.0])
    for job in jobs:
        if job.rate is not None:
            for key in job.alike:
                totals[key][0] += job.measured[0]
                totals[key][1] += job.measured[1]
    return {key: work / seconds for key, (work, seconds) in totals.items()}


def seconds_left(job: Job) -> float | None:
    """Seconds until a running job ends at its own rate; None where it has no rate yet."""
    return (job.work - job.done) / job.rate / job.processes if job.rate else None


def as_text(status: Status) -> str:
    """The status as text."""
    return "\n".join(lines_of(status))


def look(results: Path) -> Look:
    """How far the grid of a results folder is, for its live page."""
    status = read_status(results, time.time())
    done = [(job.directory, modified(results / job.directory / RESULT[job.kind])) for job in status.of("done")]
    ended = [job.directory for state in ("failed", "stopped") for job in status.of(state)]
    over = len(done) == len(status.jobs)
    return Look(in_a_line(status), (tuple(done), tuple(ended)), over, bool(status.at_once))


def in_a_line(status: Status) -> str:
    """How far a grid is, in a sentence or two."""
    clock = datetime.fromtimestamp(status.time).strftime("%H:%M:%S")
    kinds = status.counts().items()
    words = {"cells": "runs"}
    done = ", ".join(f"{of['done']} of {sum(of.values())} {words.get(name, name)}" for name, of in kinds)
    if all(job.state == "done" for job in status.jobs):
        return f"All is done: {done}."
    left = f", about {rough_duration(status.end - status.time)} to go" if status.end is not None else ""
    ended = "".join(f", {len(jobs)} {state}" for state in ("failed", "stopped") if (jobs := status.of(state)))
    return f"Partial, at {clock}: {done} done ({rounded_down(status.share_done)} % of the training steps){ended}{left}."


def lines_of(status: Status) -> Iterator[str]:
    """The lines of the text."""
    yield f"{status.grid}: {rounded_down(status.share_done)} % of the training steps done"
    counts = status.counts()
    table = [["", *STATES]] + [[name, *(str(of[state] or "") for state in STATES)] for name, of in counts.items()]
    yield from ("  " + "".join(f"{cell:>9}" if i else f"{cell:8}" for i, cell in enumerate(row)) for row in table)
    for state, early in Counter(job.ended_early for job in status.jobs if job.ended_early).items():
        yield f"{early} of those that are done ended early: {state}."
    if all(job.state == "done" for job in status.jobs):
        yield "Every study, run and probe is done; snakemake makes tables, figures and report of them."
        return
    left = rough_duration(status.core_seconds_left)
    if status.end is not None:
        until = datetime.fromtimestamp(status.end).strftime("%A %H:%M")
        in_time = rough_duration(status.end - status.time)
        yield f"About {left} of core time left; with {status.at_once} at once it is done in {in_time}, {until}."
    elif status.at_once == 0:
        yield f"{f'About {left} of core time left. ' if status.core_seconds_left else ''}Nothing is running."
    if status.guessed:
        yield f"  ({status.guessed} counted at the rates of other tasks, since nothing was measured on their own)"
    if status.uncounted:
        yield f"  ({status.uncounted} not counted, since nothing like them was measured yet)"
    for state in ("running", "failed", "stopped"):
        jobs = status.of(state)
        if jobs:
            yield f"{state}:"
            yield from (f"  {line}" for job in jobs[:LISTED] for line in job_lines(job))
        if len(jobs) > LISTED:
            yield f"  … and {len(jobs) - LISTED} more (--json lists all)"


def job_lines(job: Job) -> Iterator[str]:
    """The lines about a job that is running, failed or stopped."""
    if job.state != "running":
        yield f"{job.name}: {job.because}"
        yield f"    {job.log}"
        return
    left = seconds_left(job)
    rate = f", {job.rate:,.0f} steps/s" if job.rate and job.kind != "probe" else ""
    yield f"{job.name}: {job.progress}{rate}{'' if left is None else f', {rough_duration(left)} left'}"


def rounded_down(share: float) -> int:
    """A share as whole percent, so that only all is 100."""
    return int(100 * share)


def rough_duration(seconds: float) -> str:
    """Seconds as text, rounded to one or two units."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours = round(seconds / 3600)
    return f"{minutes // 60} h {minutes % 60} min" if hours < 10 else f"{hours} h" if hours < 72 else f"{hours // 24} d"


def as_json(status: Status) -> dict[str, Any]:
    """The status as data. Times are in seconds since the epoch, `share_done` is between 0 and 1."""
    whole = {name: value for name, value in vars(status).items() if name != "jobs"}
    running = [
        {"kind": job.kind, "name": job.name, "directory": job.directory, "share_done": job.done / job.work}
        | {"progress": job.progress, "rate": job.rate, "seconds_left": seconds_left(job), "log": job.log}
        for job in status.of("running")
    ]
    ended = {
        state: [
            {"kind": job.kind, "name": job.name, "directory": job.directory, "because": job.because, "log": job.log}
            for job in status.of(state)
        ]
        for state in ("failed", "stopped")
    }
    return whole | {"share_done": status.share_done, "jobs": status.counts(), "running": running} | ended


if __name__ == "__main__":
    run_command(main, "analysis.status")
