"""What the Snakefile needs where something went wrong: a new start after a killed one, and words for failures."""

import os
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .at_work import SNAKEMAKE_FOLDER, take_lock
from .checks import GridError
from .events import LOG, LOGS, check_log
from .forked import SERVER
from .jobs import Jobs
from .record import UnusableFolder, check_writable
from .schema import PROBLEMS
from .taken_over import take_over

SHOWN_FAILURES = 10
LEAST_FREE_MB = 10  # a run takes less than one
BENCHMARK_KEYS = ("tasks", "contestants", "base")  # of --config: options of experiments.speed
held = []  # files whose locks are this process's until it ends


def check_config(config: Mapping[str, Any]) -> None:
    """Raise GridError where --config has a key that nothing heeds, or a `log` that cannot be written.

    Jobs find the log in their environment: no result depends on it, so it is no parameter of a rule.
    """
    for key in sorted(set(config) - {"grid", "log", "only", *BENCHMARK_KEYS}):
        benchmark = ", ".join(BENCHMARK_KEYS)
        raise GridError(
            f"--config takes grid=NAME or grid=FILE.yaml, only=TASKS,ALGORITHMS,SEEDS, log={' or '.join(LOGS)}, and "
            f"for the benchmark {benchmark}; not {key}=…"
        )
    if "log" in config:
        check_log(config["log"])
        os.environ[LOG] = config["log"]


def speed_options(config: Mapping[str, Any]) -> str:
    """The options of experiments.speed that --config gives, for a shell; several values are parted by commas."""
    given = [key for key in BENCHMARK_KEYS if key in config]
    return " ".join(f"--{key} {shlex.join(str(config[key]).split(','))}" for key in given)


def in_project(workflow: Any, results: str) -> str:
    """Let this Snakemake work in the project's folder, from wherever it was started; returns `results` as it is.

    It ends with a sentence where --directory names another folder: what every rule needs lies in the project's.

    workflow: Snakemake's. results: the grid's folder, relative to the project.
    """
    home = Path(workflow.basedir).resolve()
    if workflow.overwrite_workdir is not None and Path.cwd().resolve() != home:
        sys.exit(
            f"error: --directory {workflow.overwrite_workdir} is not the project's folder, in which all rules work; "
            f"leave it out: results are in {home / results}, and that may be a link to another place"
        )
    workflow.workdir(home)
    return results


def go_on(workflow: Any, jobs: Jobs) -> None:
    """Let this Snakemake go on where an earlier one that was killed has stopped.

    It does what `--rerun-incomplete` and `--unlock` do. The lock of the killed Snakemake is removed only where no other
    Snakemake is at work on the same results. This is known by a lock of the system's, which is released when its holder
    is killed; it is known only on the machine where the last Snakemake was at work. Where the results cannot be
    written, or another Snakemake is at work on them, this one ends with a sentence. Results that Snakemake has not
    made here are taken over, by what they say of themselves.

    workflow: Snakemake's. jobs: of the grid, whose folder is relative to the project.
    """
    results = jobs.results
    workflow.dag_settings.force_incomplete = True
    if workflow.is_main_process and not workflow.touch and (silent := take_over(workflow, jobs)):
        print(
            f"{silent} of the results in {results} were not made by Snakemake in this folder and do not say what they "
            "are made of (earlier versions did not), so those that look older than the code are made again; if they "
            "are of this code, the same command with the option --touch takes them as they are.",
            file=sys.stderr,
        )
    executes = workflow.execution_settings is not None and workflow.is_main_process and not workflow.dryrun
    if not executes or not workflow.execution_settings.lock:
        return
    try:
        check_writable(Path(results).resolve(), Path(results))
    except UnusableFolder as error:
        sys.exit(f"error: {error}; nothing was done")
    try:
        file = take_lock(Path(), results)
    except BlockingIOError:
        sys.exit(f"error: another snakemake is at work on {results}; wait until it has ended. Nothing was done")
    if file is None:  # no such locks here; Snakemake's own remain
        return
    held.append(file)
    file.seek(0)
    last, this = file.read(), socket.gethostname()
    if last == this:
        for lock in (SNAKEMAKE_FOLDER / "locks").glob("*.lock"):
            if f"{results}/" in lock.read_text(encoding="utf-8"):
                lock.unlink()
    file.truncate(0)
    file.write(this)
    file.flush()


def keep_going(workflow: Any) -> None:
    """Let a cell that fails not stop the others, and Snakemake look for work no more often than it must.

    The first is `--keep-going`, which Snakemake takes from the command line or from a profile, and it finds a profile
    by itself only at the top level. The second: with a limit on jobs a second Snakemake 9.27 looks for work again a
    second after every look, and each job that ends adds another such chain, in the end hundreds of looks a second. Its
    default limit holds nothing back here; that of a user, for the queue of a cluster say, stays.
    """
    workflow.scheduler.keepgoing = True
    limiter = workflow.scheduler.job_rate_limiter
    if limiter and (limiter.max_jobs, limiter.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None


def fork_jobs(workflow: Any) -> None:
    """Let jobs that run on this machine be forks of a process with their imports (`experiments.server`).

    Linux alone says when a process has ended, and on macOS what has imported Torch cannot be forked.
    """
    if workflow.local_exec and workflow.is_main_process and hasattr(os, "pidfd_open"):
        os.environ[SERVER] = secrets.token_hex(16)


def stages(results: str) -> str:
    """The shell line that makes tables, figures and report of a results folder one after the other.

    Status 1 says that a section could not make something, so the other stages follow; any other status ends the line.
    """
    return (
        f"status=0; for stage in tables figures report; do python -m analysis.$stage --results {shlex.quote(results)}"
        " || status=$?; [ $status -le 1 ] || break; done; exit $status"
    )


def make_the_rest(results: str) -> None:
    """After a section has failed, and Snakemake removed what its stage had made: make all other tables, figures and
    sections again, and the page that says what is missing.
    """
    noted = [folder for folder in ("tables", "figures") if (Path(results) / folder / PROBLEMS).exists()]
    if noted:
        subprocess.run(["bash", "-c", stages(results)], check=False)


def words_for_failures(logs: Iterable[str], results: str, grid: str) -> str:
    """What is said on the terminal where jobs have failed: the last line of each log, and what to do.

    logs: of the failed jobs. results: the grid's folder. grid: as it is named on the command line.
    """
    logs = sorted(logs)
    has = "job has" if len(logs) == 1 else "jobs have"
    lines = [f"{len(logs)} {has} failed; their logs end:"] if logs else []
    lines += [f"    {log}: {last_line(Path(log))}" for log in logs[:SHOWN_FAILURES]]
    if len(logs) > SHOWN_FAILURES:
        lines.append(f"    … and {len(logs) - SHOWN_FAILURES} more")
    free = shutil.disk_usage(results).free / 1e6
    if free < LEAST_FREE_MB:
        lines.append(f"The disk of {results} is full, with {free:.1f} MB left: make room first.")
    lines.append("Run the same command again: it does what is missing and nothing else. A report of what is there now,")
    lines.append(
        f"which names what is missing:  snakemake --cores 1 partial_report --config {shlex.quote(f'grid={grid}')}"
    )
    return "\n".join(lines)


def last_line(log: Path) -> str:
    """The last line of a log that is not empty."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return next((line.strip() for line in reversed(lines) if line.strip()), "the log is empty")
