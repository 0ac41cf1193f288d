"""How every command line of experiments ends."""

import errno
import signal
import sys
from collections.abc import Callable

from algorithms.core.algorithm import InvalidAlgorithm, InvalidSetting
from algorithms.core.on_policy import InvalidCheckpoint
from algorithms.core.task import UnsupportedTask
from experiments.checks import GridError
from experiments.process import end_with_snakemake
from experiments.record import UnusableFolder
from experiments.search import InvalidStudy

MISTAKES = (
    GridError,
    InvalidSetting,
    InvalidAlgorithm,
    InvalidCheckpoint,
    InvalidStudy,
    UnsupportedTask,
    UnusableFolder,
)  # a user's: one sentence, no traceback
FULL_OR_READ_ONLY = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def exit_with_sentence(main: Callable[[], None]) -> None:
    """Run a command line; a user's mistake ends it with one sentence and status 2 instead of a traceback.

    So does a disk that takes nothing more, and Ctrl-C ends it with a word and the status of a shell.
    """
    end_with_snakemake()
    try:
        main()
    except MISTAKES as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno not in FULL_OR_READ_ONLY:
            raise
        what = "what was to be written" if error.filename is None else error.filename
        print(f"error: {what} cannot be written: {error.strerror}; the same command goes on from here", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
