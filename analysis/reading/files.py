"""Which files a grid's results folder may hold."""

from collections.abc import Mapping
from typing import Any

from policy_gradient_ladder.experiments.schema import (
    BENCHMARK_FILES,
    FINISHED,
    JOURNAL,
    LOCKS,
    MADE_OF,
    PROBE_FILES,
    PROBLEMS,
    REPORT_FILES,
    RUN_FILES,
    STUDY_FILES,
    SUPERSEDED,
    TENSORBOARD,
    VIDEOS,
)

from ..page.live import LIVE
from ..sections import TABLES
from .grid import Grid


def known_files(grid: Grid, runs: Mapping[str, dict[str, Any] | None]) -> tuple[set[str], list[str]]:
    """Files that may lie in the folder: their paths, and patterns of paths.

    runs: the records by directory; None where a run is missing or cannot be read.
    """
    exact = {"grid.json", LIVE, f"tables/{PROBLEMS}", *(f"speed/{name}" for name in BENCHMARK_FILES)}
    exact |= {f"report/{name}" for name in (*REPORT_FILES, MADE_OF)}
    exact |= {f"tables/{name}.csv" for name in TABLES}
    exact |= {f"{probe['directory']}/{file}" for probe in grid.all_probes for file in PROBE_FILES}
    exact |= {f"{study['directory']}/{file}" for study in grid.studies for file in (*STUDY_FILES, JOURNAL)}
    patterns = ["figures/*", "logs/*", f"{VIDEOS}/*", f"tuning/*{FINISHED}", f"runs/*/{TENSORBOARD}/*"]
    patterns += [
        f"{study['directory']}/{files}" for study in grid.studies for files in (SUPERSEDED.format("*"), f"{LOCKS}/*")
    ]
    for cell in grid.cells:
        run = runs[cell["directory"]]
        if run is None:  # it is missing or cannot be read, so its files may belong to it
            patterns.append(f"{cell['directory']}/*")
        else:
            names = (*RUN_FILES, *run.get("files", ()), *(checkpoint["file"] for checkpoint in run["checkpoints"]))
            exact |= {f"{cell['directory']}/{name}" for name in names}
    return exact, patterns
