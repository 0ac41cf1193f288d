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

# Mistakes of the user: reported in one sentence, without a traceback.
MISTAKES = (
    *(GridError, InvalidSetting, InvalidAlgorithm, InvalidCheckpoint, InvalidStudy),
    *(UnsupportedTask, UnusableFolder),
)
FULL_OR_READ_ONLY = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def exit_with_sentence(main: Callable[[], None]) -> None:
    """Run a command line, and end it as every command line of this project ends.

    A mistake of the user is reported in one sentence, and so is a disk that is full or cannot be written; the exit
    status is 2. Ctrl-C is reported in one word, with the exit status that a shell gives. Any other exception is a fault
    of the program and leaves its traceback.
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
        print(f"error: {what} cannot be written: {error.strerror}; the same command goes on later", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
