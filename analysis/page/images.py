"""A figure as the page shows it: its image, its caption and what it is made from."""

import base64
import re
from pathlib import Path
from typing import Any

from .. import sections
from ..drawing import theme
from ..figures import lacking, tables_behind
from ..making import Maker
from ..reading.checks import ResultsError, command
from ..reading.grid import Grid
from ..sections import AVERAGES, FIGURES, SectionError, caption_file
from ..statistics import scores as statistics
from ..words import count

INTERVALS = (
    f"Percentile bootstrap over runs, widened for few runs, {count(statistics.RUN_RESAMPLES)} resamples or all that "
    "there are; no interval where n = 1."
)
GROUPS = (
    f"Each {theme.MOST_LOOKS} algorithms, in the grid’s order, have a picture of their own, one below the other; what "
    "compares algorithms of different pictures is in the tables."
)
BY_BOOTSTRAP = re.compile("interval|bootstrap")  # captions that speak of intervals
SVG_SIZE = re.compile(r'width="([\d.]+)pt" height="([\d.]+)pt"')


def read_figure(results: Path, name: str) -> str:
    """The text of results/<grid>/figures/<name>.svg. Raises ResultsError where it is not there or has no size."""
    path = results / "figures" / f"{name}.svg"
    if not path.exists():
        raise ResultsError(f"{path}: no such figure; make it with: {command('analysis.figures', results)}.")
    svg = path.read_text(encoding="utf-8", errors="replace")
    if SVG_SIZE.search(svg) is None:
        raise ResultsError(f"{path}: no SVG of a size in pt; make it with: {command('analysis.figures', results)}.")
    return svg


def image(grid: Grid, name: str, svg: str, maker: Maker) -> dict[str, Any]:
    """A figure as a data URI with its size in CSS pixels, its tables and its caption: what it shows, n, what is
    missing. Raises SectionError where its section cannot say n, or a table for that could not be made.
    """
    width, height = (float(size) * 4 / 3 for size in SVG_SIZE.search(svg).groups())
    caption = caption_file(name).read_text(encoding="utf-8").strip()
    sample, without = sample_text(name, maker), lacking(grid, name, maker.table)
    groups = GROUPS if len(grid.algorithms) > theme.MOST_LOOKS else ""
    return {
        "name": name,
        "title": FIGURES[name][1],
        "tables": tables_behind(name),
        "source": "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode(),
        "width": round(width),
        "height": round(height),
        "caption": " ".join(filter(None, [caption, sample, groups, f"{without}." if without else ""])),
        "sample": sample,
        "intervals": INTERVALS if AVERAGES.get(name) == "runs" and BY_BOOTSTRAP.search(caption) else "",
        "missing": False,
    }


def no_image(name: str) -> dict[str, Any]:
    """What stands in the place of a figure that could not be made."""
    return {"name": name, "title": FIGURES[name][1], "missing": True}


def sample_text(name: str, maker: Maker) -> str:
    """n, as the figure's section says it, or else the number of runs per task and algorithm where it shows averages
    over runs; empty where nothing is averaged.
    """
    module = sections.part(FIGURES[name][0], "sentences")
    if module and hasattr(module, "sample_text"):
        text = maker.call(module.sample_text, module, figure=name)
        if not isinstance(text, str):
            raise SectionError(
                f"{sections.file_of(module)}: sample_text returns {text!r:.60} for {name}; it must be text."
            )
        return text
    if AVERAGES.get(name) != "runs":
        return ""
    n = maker.table("summary")["n"]
    runs = f"{n.min()}" if n.min() == n.max() else f"{n.min()} to {n.max()}"
    return f"n = {runs} run{'s' if runs != '1' else ''} per task and algorithm."
