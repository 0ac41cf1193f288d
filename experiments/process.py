"""Measures the time and memory of this process, and ends it: at a time limit, or together with its Snakemake."""

import contextlib
import faulthandler
import os
import re
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import psutil

from .schema import SNAKEMAKE_ENDED

SNAKEMAKE = "SNAKEMAKE_PROCESS"  # in the environment of a job: the number of the process that started it
ENDED = 1  # the status of a process that has ended itself
# A process of its own: no thread is certain to have its turn while code in C hangs. Its standard input is closed when
# the process that it watches has ended, by itself or killed.
WATCH = """
import os, select, signal, sys
process, seconds, sentence = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
def at_work(seconds):
    return not select.select([sys.stdin], [], [], seconds)[0] and os.getppid() == process
if at_work(seconds):
    os.kill(process, signal.SIGUSR1)
    if at_work(0.2):
        print(sentence, file=sys.stderr, flush=True)
        os.kill(process, signal.SIGKILL)
"""


def age() -> float:
    """Seconds since this process was started.

    With /proc both times are of the same clock; psutil's time of the start is rounded.
    """
    try:
        fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return time.time() - psutil.Process().create_time()
    started = int(fields[19]) / os.sysconf("SC_CLK_TCK")  # starttime of proc(5); the first two fields are cut
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


def peak_memory_mb() -> float:
    """The most physical memory that this process has held, in MiB.

    On Linux this is VmHWM of /proc: there, what `getrusage` says includes the memory of the process that started this.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        unit = 1024**2 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    return int(re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)[1]) / 1024


def end_at_once() -> NoReturn:
    """End this process, whose files are written, without the 0.7 s that Torch and MuJoCo take to be torn down."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


@contextlib.contextmanager
def time_limit(limit: float | None, where: str) -> Iterator[None]:
    """A context whose body may take `limit` seconds; None: no limit.

    At the limit this process is killed, also where it hangs in code that is not Python's. Its standard error has the
    stack of every thread and a sentence, in which `where` is the file that says the limit.
    """
    if limit is None:
        yield
        return
    sentence = (
        f"error: time limit of {limit:g} s reached, so there is no result; "
        f"raise time_limit in {where} and run the same command again"
    )
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    watch = [sys.executable, "-I", "-c", WATCH, str(os.getpid()), str(limit), sentence]
    watcher = subprocess.Popen(watch, stdin=subprocess.PIPE, start_new_session=True)  # Ctrl-C is for others
    try:
        yield
    finally:
        watcher.stdin.close()
        watcher.wait()


def end_with_snakemake() -> None:
    """End this process when the Snakemake that started it is killed; does nothing in a process of its own.

    Snakemake itself ends its jobs in every other case. Without this, the jobs of a killed Snakemake would run beside
    those of the next one. They still do on systems other than Linux, which do not say when a process has ended.
    """
    if SNAKEMAKE in os.environ and hasattr(os, "pidfd_open"):
        threading.Thread(target=_end_with, args=(int(os.environ[SNAKEMAKE]),), daemon=True).start()


def _end_with(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended already
        select.select([os.pidfd_open(process)], [], [])
    print(f"error: {SNAKEMAKE_ENDED}, and so does this job of it", file=sys.stderr, flush=True)
    os._exit(ENDED)
