"""Reads what was recorded of the policies of an algorithm on a task: video.json and the files beside it."""

from types import NoneType
from typing import Any

from policy_gradient_ladder.experiments.schema import LARGEST_VIDEO, VIDEO_KINDS, VIDEO_RECORD, VIDEOS

from .checks import (
    NUMBER,
    ResultsError,
    check_choice,
    check_inside,
    check_keys,
    read_record,
)
from .grid import Grid

KEYS = {"schema": int, "task": str, "algorithm": str, "videos": dict, "reason": (str, NoneType)}
VIDEO_KEYS = {"seed": int, "score": NUMBER, "return": NUMBER, "length": int, "file": str, "poster": str}


def read_videos(grid: Grid) -> list[dict[str, Any]]:
    """Every record of videos that is there, of what the grid has, in its order; `folder` is where the files lie.

    Raises ResultsError where a record lacks something, or where a file is missing, too large or elsewhere.
    """
    found = {}
    for path in grid.folder.glob(f"{VIDEOS}/*/*/{VIDEO_RECORD}"):
        record = read_record(path, KEYS)
        for kind, video in record["videos"].items():
            check_choice(kind, VIDEO_KINDS, path, "videos")
            check_keys(video, VIDEO_KEYS, path, f"videos.{kind}")
            for name in (video["file"], video["poster"]):
                file = check_inside(path.parent, name, path)
                if not file.is_file() or file.stat().st_size > LARGEST_VIDEO:
                    raise ResultsError(
                        f"{file}: missing, or more than {LARGEST_VIDEO:,} bytes; delete {path.parent}, and snakemake "
                        f"makes it again."
                    )
        found[record["task"], record["algorithm"]] = record | {"folder": path.parent}
    pairs = [(task, algorithm) for task in grid.tasks for algorithm in grid.algorithms]
    return [found[pair] for pair in pairs if pair in found]
