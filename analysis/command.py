"""What all command lines of the analysis share: their option, and how a mistake ends them."""

import argparse
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from . import sections
from .reading.checks import ResultsError
from .sections import SectionError


def run_command(main: Callable[[], None], module: str) -> None:
    """Run a command line. A mistake in the results or in a section is reported in one sentence, with exit status 2.

    Where nobody reads on, as in `… | head`, it ends without a word, with the exit status that a shell gives.
    """
    try:
        try:
            sections.check()
            main()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python writes when it ends
        sys.exit(128 + signal.SIGPIPE)
    except (ResultsError, SectionError) as error:
        print(f"{module}: {error}", file=sys.stderr)
        sys.exit(2)


def results_argument(module: str, description: str) -> argparse.ArgumentParser:
    """A parser with the option --results, which most commands of the analysis have."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("--results", type=Path, required=True, help="a grid's folder, e.g. results/smoke")
    return parser
