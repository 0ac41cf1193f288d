"""Runs a command line of experiments as a job of Snakemake's: as a fork of a process with its imports, or by itself.

    python -m experiments.forked run --grid default …

does what `python -m experiments.run --grid default …` does, without the 1.6 s for importing Torch and MuJoCo where
`experiments.server` is at work; a job that finds no server starts one for those after it. This process hands over its
words, environment, folder and streams, passes signals on to the fork, and ends as the fork ends. A fork ends with it.
"""

import contextlib
import hashlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys

SERVER = "SNAKEMAKE_SERVER"  # in the environment of jobs that may be forks: the name of the server's socket
SERVE = "from experiments.server import serve; serve()"
SET_BY_SHELLS = ("_", "SHLVL", "PWD", "OLDPWD")
PASSED_ON = [
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCONT,
]


def main() -> None:
    """End as the command line ends that this process was started with."""
    command, *words = sys.argv[1:]
    if SERVER in os.environ:
        end_as_a_fork(command, words)
    os.execv(sys.executable, [sys.executable, "-m", f"experiments.{command}", *words])


def end_as_a_fork(command: str, words: list[str]) -> None:
    """Let the server fork a process for a command line, and end as it ends; returns where no process was forked."""
    request = {"command": command, "words": words, "environment": dict(os.environ), "directory": os.getcwd()}
    server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        server.connect(address())
    except ConnectionRefusedError:
        no_stream = subprocess.DEVNULL
        subprocess.Popen(
            [sys.executable, "-c", SERVE], stdin=no_stream, stdout=no_stream, stderr=no_stream, start_new_session=True
        )
        return
    if not is_ours(server):
        return
    try:
        socket.send_fds(server, [json.dumps(request).encode()], [0, 1, 2])
        _, (fork,), _, _ = socket.recv_fds(server, 1, 1)
    except (OSError, ValueError):  # it has just ended, or the environment is too long for a message
        return
    for number in PASSED_ON:
        signal.signal(number, lambda number, _: signal.pidfd_send_signal(fork, number))
    signal.signal(signal.SIGTSTP, lambda *_: stop(fork))
    status = server.recv(16)
    if not status:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(fork, signal.SIGKILL)
        sys.exit("error: the process that this job was forked from has ended; run the same command again")
    end_with(int(status))


def address() -> str:
    """Of the server's socket, which is no file. Each environment has its own, because libraries read theirs once."""
    environment = sorted((name, value) for name, value in os.environ.items() if name not in SET_BY_SHELLS)
    return f"\0{os.environ[SERVER]}-{hashlib.sha256(json.dumps(environment).encode()).hexdigest()}"


def is_ours(connection: socket.socket) -> bool:
    """Whether the process at the other end of a connection is of the same user."""
    process_user_group = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return struct.unpack("3i", process_user_group)[1] == os.getuid()


def stop(fork: int) -> None:
    """Stop a fork and this process, as Ctrl-Z does; the signal that lets this process go on is passed on."""
    signal.pidfd_send_signal(fork, signal.SIGSTOP)
    os.kill(os.getpid(), signal.SIGSTOP)


def end_with(status: int) -> None:
    """End this process with an exit status, or by the signal −`status`."""
    if status < 0:
        with contextlib.suppress(OSError):  # SIGKILL has no handler
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(status)


if __name__ == "__main__":
    main()
