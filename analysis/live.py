"""The page of a grid that runs: the report of what has finished, made again and again, in a file that reloads itself.

It stands in results/<grid>/live.html. No table, figure or page of Snakemake's is touched for it.
"""

import os
import sys
import time
from collections.abc import Callable
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .drawing import theme
from .figures import drawn
from .making import Maker
from .page import templates
from .page.live import LIVE, Live, Look
from .problems import made_tables, write_problems
from .reading.checks import ResultsError, write_whole
from .reading.grid import Grid, read_grid
from .reading.tables import write_table
from .report import page_frame
from .sections import FIGURES, TABLES, SectionError

NICENESS = 10  # of this process, so that it takes no time from runs
STILL = 600  # seconds without a running job after which the grid is taken to have been ended


def keep_page(results: Path, seconds: float, look: Callable[[], Look]) -> None:
    """Write the page of a grid every so many seconds until the grid has ended, or until Ctrl-C.

    Tables and figures are made only when a result is new. The last page does not reload itself any more. Raises
    ResultsError where there is no grid that can be read; of a later result that cannot be read, the terminal says so,
    and the page keeps what it shows until it can.
    """
    os.nice(NICENESS)
    theme.apply()
    path, frame, made_of, at_work = results / LIVE, {}, None, time.monotonic()
    now = look()
    try:
        while True:
            if now.results != made_of:
                try:
                    frame, made_of = frame_of(read_grid(results)), now.results
                except ResultsError as error:
                    if not frame:
                        raise
                    print(f"error: {error}", file=sys.stderr, flush=True)
            at_work = time.monotonic() if now.running else at_work
            if now.over or time.monotonic() - at_work > STILL:
                break
            write(path, frame, Live(f"{now.said} This page reloads itself every {seconds:g} s.", ceil(seconds)))
            time.sleep(seconds)
            now = look()
    except KeyboardInterrupt:
        print(file=sys.stderr)  # ends the line in which the terminal shows ^C
    if frame:
        write(path, frame, last_words(now))
        print(f"{path} reloads itself no more. {now.said}", file=sys.stderr)


def last_words(look: Look) -> Live:
    """What the page says at the top when it is made no more."""
    if look.over:
        return Live(f"{look.said} Snakemake makes the report of it:", 0, "report/index.html")
    return Live(f"{look.said} This page is made no more; python -m analysis.status --page goes on with it.", 0)


def write(path: Path, frame: dict[str, Any], live: Live) -> None:
    """Write the page from what its templates show, and say where it is when it is new."""
    new = not path.exists()
    write_whole(path, templates.page("html", frame | {"live": live}).encode())
    if new:
        print(f"{path}: open it in a browser.", file=sys.stderr, flush=True)


def frame_of(grid: Grid) -> dict[str, Any]:
    """What the page shows of the results that there are; what a section cannot make is missing in it."""
    maker = Maker({"grid": grid})
    unmade, undrawn, images = {}, {}, {}
    with TemporaryDirectory() as folder:  # tables as they are read again are those of every other page
        for name in TABLES:
            try:
                write_table(Path(folder), name, maker.table(name))
            except SectionError as error:
                unmade[name] = str(error)
        write_problems(Path(folder) / "tables", unmade)
        table = made_tables(Path(folder))
        for name in FIGURES:
            try:
                images[name] = drawn(grid, name, ("svg",), table)["svg"].decode()
            except SectionError as error:
                undrawn[name] = str(error)
        return page_frame(Maker({"grid": grid}, read=table), images, undrawn, unmade, Live("", 0))[0]
