"""How every command line of experiments ends."""

import errno
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import gymnasium

from policy_gradient_ladder.core.algorithm import InvalidAlgorithm, InvalidSetting
from policy_gradient_ladder.core.learner_state import InvalidCheckpoint
from policy_gradient_ladder.core.saved_policy import InvalidPolicy
from policy_gradient_ladder.core.task import StoppedByTask, UnsupportedTask

from .checks import GridError
from .process import end_with_snakemake
from .record import UnusableFolder
from .search import InvalidStudy
from .sources import ROOT

# Mistakes of the user: reported in one sentence, without a traceback.
MISTAKES = (
    *(GridError, InvalidSetting, InvalidAlgorithm, InvalidCheckpoint, InvalidPolicy, InvalidStudy),
    *(UnsupportedTask, StoppedByTask, UnusableFolder),
)
ALGORITHMS = ROOT / "algorithms"
FULL_OR_READ_ONLY = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def exit_with_sentence(main: Callable[[], None]) -> None:
    """Run a command line, and end it as every command line of this project ends.

    A mistake of the user is reported in one sentence, and so is a disk that is full or cannot be written; the exit
    status is 2. Ctrl-C is reported in one word, with the exit status that a shell gives, and output that nobody reads
    on, as in `… | head`, in none. Any other exception leaves its traceback, and the exit status is 1. Where it was
    raised in the file of an algorithm or in an environment, or in what these call, a last line names the file, the
    method and the line.
    """
    end_with_snakemake()
    try:
        try:
            main()
        finally:
            sys.stdout.flush()
    except MISTAKES as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError as error:
        if not nobody_reads():
            exit_with_traceback(error)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python writes when it ends
        sys.exit(128 + signal.SIGPIPE)
    except OSError as error:
        if error.errno not in FULL_OR_READ_ONLY:
            exit_with_traceback(error)
        what = "what was to be written" if error.filename is None else error.filename
        print(f"error: {what} cannot be written: {error.strerror}; the same command goes on later", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    except Exception as error:
        exit_with_traceback(error)


def nobody_reads() -> bool:
    """Whether what reads this process's output has ended, as in `… | head`."""
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)  # an error is reported whatever is asked for
    return bool(output.poll(0))


def exit_with_traceback(error: Exception) -> NoReturn:
    """End this process with the traceback of an exception; the exit status is 1.

    The last line is a sentence that names the culprit, where `culprit` knows it, and otherwise the traceback's own.
    """
    traceback.print_exception(error)
    if (place := culprit(error)) is not None:
        print(f"error: {place}: {type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
    sys.exit(1)


def culprit(error: BaseException) -> str | None:
    """The file, method and line of an algorithm or an environment that an exception came through, the last of them.

    None where it came through none of them. An environment is any but Gymnasium's own wrappers, which pass on what
    others raise; one of an installed package is named only where the exception came through none of the user's.
    """
    places = {}
    for frame, line in traceback.walk_tb(error.__traceback__):
        file = Path(frame.f_code.co_filename).resolve()
        env = frame.f_locals.get("self")
        is_env = isinstance(env, gymnasium.Env) and not type(env).__module__.startswith("gymnasium.wrappers")
        if file.parent == ALGORITHMS or is_env:
            path = file.relative_to(ROOT) if file.is_relative_to(ROOT) else file
            method = frame.f_code.co_qualname.replace(".<locals>", "")
            places["site-packages" in file.parts] = f"{path}, {method}, line {line}"
    return places.get(False, places.get(True))
