"""How every command line of the analysis begins and ends."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from analysis import sections
from analysis.reading.checks import ResultsError
from analysis.sections import SectionError


def run_command(main: Callable[[], None], module: str) -> None:
    """Run a command line; a mistake in the results or in a section becomes its sentence on stderr and exit status 2."""
    try:
        sections.check()
        main()
    except (ResultsError, SectionError) as error:
        print(f"{module}: {error}", file=sys.stderr)
        sys.exit(2)


def results_argument(module: str, description: str) -> argparse.ArgumentParser:
    """A parser with the option that all of analysis shares."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("--results", type=Path, required=True, help="a grid's folder, e.g. results/smoke")
    return parser
