"""Forks the jobs of a Snakemake, so that they begin with everything imported; `experiments.forked` asks for them.

A fork has the words, environment, folder and streams of who asked for it; its results are those of a process of its
own. One that fails, is killed or takes all memory takes no other with it. It is killed when who asked for it has ended.

The server ends where a source or what is installed has changed since it began, since its imports are the earlier ones,
and when its Snakemake ends; its forks do not end with it.
"""

import contextlib
import gc
import json
import os
import select
import signal
import site
import socket
import sys
import sysconfig
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from .forked import address, is_ours
from .process import SNAKEMAKE

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("algorithms", "experiments")  # folders of what jobs import, below ROOT
IMPORTED = (".run", ".probe")  # with Torch and MuJoCo; what a study needs beside them is little
LONGEST_REQUEST = 2**20  # bytes
SECONDS_TO_ASK = 1.0


def serve() -> NoReturn:
    """Fork jobs until there are no more; nothing is done where another process is at it."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        listening.bind(address())
        snakemake = os.pidfd_open(int(os.environ[SNAKEMAKE]))
    except OSError:  # another server is there, or Snakemake has ended
        sys.exit()
    listening.listen()
    began = stamps()
    sys.path[0] = os.getcwd()  # as `python -m` has it
    for module in IMPORTED:
        import_module(module, __package__)
    algorithms = tuple(f"algorithms/{path.name}" for path in (ROOT / "algorithms").glob("*.py"))
    for command in ("run", "probe"):  # what was read of imports is kept
        import_module(".determinants", __package__).sources(command, algorithms, ())
    if len(os.listdir("/proc/self/task")) > 1:  # a fork would have one thread of them
        sys.exit()
    gc.collect()
    gc.freeze()  # so that a fork does not copy what it only looks at
    request = forked(listening, snakemake, began)
    module = import_module(f".{request['command']}", __package__)
    sys.argv = [module.__file__, *request["words"]]
    import_module(".command", __package__).exit_with_sentence(module.main)
    import_module(".process", __package__).end_at_once()


def stamps() -> dict[str, int]:
    """When each source and each folder of installed packages was last changed."""
    paths = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), site.getusersitepackages()]
    for source in SOURCES:
        for folder, _, files in os.walk(ROOT / source):
            paths += [os.path.join(folder, file) for file in files if not folder.endswith("__pycache__")]
    found = {}
    for path in paths:
        with contextlib.suppress(OSError):  # it is not there, or no longer
            found[path] = os.stat(path).st_ctime_ns
    return found


def forked(listening: socket.socket, snakemake: int, began: dict[str, int]) -> dict[str, Any]:
    """Fork a process for each request; returns the request, in its fork alone.

    listening: where requests arrive. snakemake: the file descriptor of a process, with which this one ends. began:
    `stamps` before anything was imported.
    """
    forks: dict[int, tuple[int, socket.socket]] = {}  # file descriptor of the process → its number, who asked for it
    while listening.fileno() >= 0 or forks:
        watched = [*forks, *(asker for _, asker in forks.values())]
        watched += [listening, snakemake] if listening.fileno() >= 0 else []
        ready = select.select(watched, [], [])[0]
        for fork, (number, asker) in list(forks.items()):
            if fork in ready:
                status = os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
                with contextlib.suppress(OSError):
                    asker.send(str(status).encode())
                asker.close()
                os.close(fork)
                del forks[fork]
            elif asker in ready:  # it has ended, for it asks no more than once
                os.kill(number, signal.SIGKILL)
        if snakemake in ready or (listening in ready and stamps() != began):
            listening.close()
        elif listening in ready:
            asker = listening.accept()[0]
            asker.settimeout(SECONDS_TO_ASK)
            try:
                message, streams, _, _ = socket.recv_fds(asker, LONGEST_REQUEST, 3)
            except OSError:
                message, streams = b"", []
            if not is_ours(asker) or len(streams) != 3:
                asker.close()
                continue
            number = os.fork()
            if number == 0:
                for connection in (listening, asker, *(other for _, other in forks.values())):
                    connection.close()
                for descriptor in (snakemake, *forks):
                    os.close(descriptor)
                return become(json.loads(message), streams)
            fork = os.pidfd_open(number)
            forks[fork] = number, asker
            with contextlib.suppress(OSError):  # it has just ended
                socket.send_fds(asker, [b"+"], [fork])
            for stream in streams:
                os.close(stream)
    sys.exit()


def become(request: dict[str, Any], streams: Sequence[int]) -> dict[str, Any]:
    """Let this process have what who asked for it has; returns the request."""
    for place, stream in enumerate(streams):
        os.dup2(stream, place)
        os.close(stream)
    os.environ.update(request["environment"])
    os.chdir(request["directory"])
    sys.modules["numpy"].random.seed()  # as of a process that begins; Python's own module does that by itself
    return request
