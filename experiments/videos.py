"""Records what the page shows of an algorithm on a task: the policies of its best and of its median seed."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from policy_gradient_ladder.core.policy_file import InvalidPolicy
from policy_gradient_ladder.core.saved_policy import load_policy
from policy_gradient_ladder.core.task import StoppedByTask, UnsupportedTask

from .command import exit_with_sentence
from .record import whole_folder, write_record
from .schema import LARGEST_VIDEO, SCHEMA, VIDEO_KINDS, VIDEO_RECORD, WRITTEN_TO
from .watch import CannotWatch, record

WIDTH = 320  # pixels
FRAMES_A_SECOND = 25
SECONDS = 10  # of an episode at most, from its beginning
CRF = (30, 36, 42, 48)  # of H.264: the first at which the file is small enough


def main(arguments: Sequence[str] | None = None) -> None:
    """Record the best and the median of several runs of an algorithm on a task."""
    parser = argparse.ArgumentParser(prog="python -m experiments.videos", description=main.__doc__)
    parser.add_argument("--runs", required=True, nargs="+", type=Path, metavar="DIR", help="folders of runs")
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="a folder; replaced if there")
    options = parser.parse_args(arguments)
    runs = [json.loads((folder / "run.json").read_text(encoding="utf-8")) for folder in options.runs]
    with whole_folder(options.output) as unfinished:
        content = recorded(options.runs, runs, unfinished)
        files = sorted(file.name for file in unfinished.iterdir())
        write_record(unfinished / VIDEO_RECORD, content, files)
    said = content["reason"] or ", ".join(
        f"{kind} of seed {video['seed']}" for kind, video in content["videos"].items()
    )
    print(f"{said}{WRITTEN_TO}{options.output}")


def recorded(folders: Sequence[Path], runs: Sequence[dict[str, Any]], output: Path) -> dict[str, Any]:
    """The record of what was recorded into a folder; `reason` says why that is nothing."""
    cell = runs[0]["cell"]
    content = {"schema": SCHEMA, "task": cell["task"], "algorithm": cell["algorithm"], "videos": {}, "reason": None}
    done = [(score(run), folder, run) for folder, run in zip(folders, runs, strict=True) if run["status"] == "done"]
    if not done:
        return content | {"reason": "no run has ended with a score"}
    done.sort(key=lambda entry: entry[0])
    chosen = dict(zip(VIDEO_KINDS, (done[-1], done[(len(done) - 1) // 2]), strict=True))
    if len(done) == 1:
        del chosen["median"]  # it is the best
    try:
        for kind, (value, folder, run) in chosen.items():
            seed = run["cell"]["seed"]
            content["videos"][kind] = {"seed": seed, "score": value} | film(folder, output / kind, seed)
    except (InvalidPolicy, CannotWatch, UnsupportedTask, StoppedByTask) as error:  # the page says so, and has the rest
        for file in output.iterdir():
            file.unlink()
        return content | {"videos": {}, "reason": str(error)}
    return content


def score(run: dict[str, Any]) -> float:
    """The final score of a run: the mean return of its evaluation with sampled actions."""
    return float(np.mean(run["evaluation"]["sampled"]["returns"]))


def film(run: Path, video: Path, seed: int) -> dict[str, Any]:
    """Write an episode of a run's policy as `video` with the ending .mp4, and its first frame as .jpg.

    Actions are sampled, as those of the final score are. Returns names, return and length of the episode.
    """
    policy = load_policy(run)
    path = video.with_suffix(".mp4")
    for crf in CRF:
        ((total, length),) = record(
            *(policy, path, 1, seed),
            mode=False,
            fps=FRAMES_A_SECOND,
            seconds=SECONDS,
            width=WIDTH,
            options=("-crf", str(crf)),
            poster=video.with_suffix(".jpg"),
        )
        if path.stat().st_size <= LARGEST_VIDEO:
            break
    else:
        raise CannotWatch(f"a video of {run} is larger than {LARGEST_VIDEO:,} bytes however it is compressed")
    return {"file": path.name, "poster": video.with_suffix(".jpg").name, "return": total, "length": length}


if __name__ == "__main__":
    exit_with_sentence(main)
