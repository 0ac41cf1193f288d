"""Videos as the page shows them: in the page itself, as long as they are not too large together."""

import base64
from pathlib import Path
from typing import Any

from ...reading.grid import Grid
from ...words import plural

EMBEDDED = 20_000_000  # bytes of videos in the page at most; with more, it links to their files


def page(grid: Grid, videos: list[dict[str, Any]]) -> dict[str, Any] | None:
    """A row of videos per task, and why others are not there; None where nothing was recorded."""
    if not videos:
        return None
    files = [record["folder"] / video["file"] for record in videos for video in record["videos"].values()]
    size = sum(file.stat().st_size for file in files)
    embedded = size <= EMBEDDED
    rows: dict[str, list[dict[str, Any]]] = {}
    lacking = []
    for record in videos:
        if record["reason"]:
            folder = record["folder"].relative_to(grid.folder).as_posix()
            lacking.append(
                f"{grid.title(record['algorithm'])} on {record['task']} is not shown: {record['reason']}. To try "
                f"again, delete {folder} and run snakemake."
            )
        for kind, video in record["videos"].items():
            rows.setdefault(record["task"], []).append(
                video
                | {
                    "kind": kind,
                    "algorithm": record["algorithm"],
                    "source": source(grid, record["folder"] / video["file"], embedded),
                    "image": source(grid, record["folder"] / video["poster"], embedded),
                    "path": relative(grid, record["folder"] / video["file"]),
                }
            )
    return {
        "rows": rows,
        "lacking": lacking,
        "about": f"The {plural(len(files), 'video')}, {size / 1e3:,.0f} kB together, "
        + ("are in this page." if embedded else "are files: they are shown where this page lies in its folder."),
    }


def relative(grid: Grid, file: Path) -> str:
    """A file's path from the folder of the page on."""
    return f"../{file.relative_to(grid.folder).as_posix()}"


def source(grid: Grid, file: Path, embedded: bool) -> str:
    """A file as the page names it: its content, or where it lies."""
    if not embedded:
        return relative(grid, file)
    kind = {".mp4": "video/mp4", ".jpg": "image/jpeg"}.get(file.suffix, "application/octet-stream")
    return f"data:{kind};base64," + base64.b64encode(file.read_bytes()).decode()
