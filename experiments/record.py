"""The files of a run: their schema, and how they are written so that what is there is whole.

`run.json` (cell, settings, status, evaluation, open episodes, versions, machine, seconds), `episodes.csv` (step,
return, length, start, and true_return where the task reports true rewards), `updates.csv` (one row per share of the
budget; an empty cell is a quantity that does not exist), `policy.npz` (the last policy, see `core.saved_policy`) and
`checkpoints/*.npz` (arrays by name; `numpy.load` reads both without executing code). A run that was evaluated in the
middle of its training has `evaluations.csv` (step, kind, return, length). `run.json` is written last, with size and
SHA-256 of the others. Event files, in the folder `tensorboard`, are not part of the record.
"""

import contextlib
import csv
import hashlib
import importlib.metadata
import io
import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from policy_gradient_ladder.core.run import Checkpoint, Evaluation, Run

from .process import peak_memory_mb
from .schema import (
    CHECKPOINTS,
    EPISODE_COLUMNS,
    EVALUATION_COLUMNS,
    EVALUATIONS_FILE,
    NO_DIGEST,
    POLICY,
    RUN_FILES,
    TENSORBOARD,
    TRAINED,
    TRUE_RETURN,
    UPDATE_COLUMNS,
)

OF_A_RUN = (*RUN_FILES, EVALUATIONS_FILE, POLICY, CHECKPOINTS, TENSORBOARD, TRAINED)  # what may lie in a run's folder
PACKAGES = ("policy-gradient-ladder", "torch", "numpy", "gymnasium", "mujoco")


def write_whole(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_text(text, encoding="utf-8", newline="")
    os.replace(unfinished, path)


def write_json(path: Path, data: Any) -> None:
    """Write a JSON file whole or not at all."""
    write_whole(path, json_text(data))


def csv_text(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table as text; None is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([columns, *rows])
    return text.getvalue()


def json_text(data: Any) -> str:
    """JSON as it stands in a file. Raises ValueError for a number that is not finite, which JSON does not have."""
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_record(path: Path, data: dict[str, Any], files: Iterable[str] = ()) -> None:
    """Write the JSON file that comes last into a folder and says of `files` there, and of itself, what they have to be.

    Its own SHA-256 is that of its text with zeros in the digest's place.
    """
    described = {}
    for name in files:
        content = (path.parent / name).read_bytes()
        described[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    text = json_text(data | ({"files": described} if described else {}) | {"sha256": NO_DIGEST})
    before, _, after = text.rpartition(NO_DIGEST)
    write_whole(path, before + hashlib.sha256(text.encode()).hexdigest() + after)


class UnusableFolder(ValueError):
    """A place where a run cannot or must not be written."""


def check_folder(directory: Path, files: Iterable[str] = OF_A_RUN, what: str = "run") -> None:
    """Raise UnusableFolder where a folder cannot be written, or holds anything but `files`; before any work is done."""
    if directory.exists() and not directory.is_dir():
        raise UnusableFolder(f"{directory} is a file; a {what} is written into a folder of its own")
    strangers = sorted({p.name for p in directory.iterdir()} - set(files)) if directory.exists() else []
    if strangers:
        raise UnusableFolder(
            f"{directory} holds {strangers[0]!r}, which is no part of a {what}; a {what} replaces its whole folder, "
            "so give it one of its own"
        )
    check_writable(directory.resolve().parent, directory)


def check_writable(folder: Path, what: Path) -> None:
    """Raise UnusableFolder, before any work is done, where `folder` takes no file; `what` was to be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UnusableFolder(f"{what} cannot be written: {error.strerror}") from error


@contextlib.contextmanager
def whole_folder(directory: Path) -> Iterator[Path]:
    """A context with an empty folder, which replaces `directory` at its end; an exception leaves that as it was."""
    directory = directory.resolve()
    unfinished = directory.with_name(f".{directory.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)  # of an attempt that was killed
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)  # on a disk that is full, say, where it takes room
        raise
    shutil.rmtree(directory, ignore_errors=True)
    os.replace(unfinished, directory)


def write_run(
    directory: Path, run: Run, description: dict[str, Any], *, evaluated: bool = False, event_files: bool = False
) -> None:
    """Write a run's folder, replacing an earlier run of the same cell.

    evaluated: whether it was to be evaluated in the middle of its training. event_files: whether those that are in the
    folder are its own, and stay.
    """
    with whole_folder(directory) as unfinished:
        (unfinished / CHECKPOINTS).mkdir()
        episodes, true_returns = run.episodes, run.true_returns[: len(run.episodes)]
        if true_returns:
            rows = ((*episode, value) for episode, value in zip(episodes, true_returns, strict=True))
            _write_csv(unfinished / "episodes.csv", (*EPISODE_COLUMNS, TRUE_RETURN), rows)
        else:
            _write_csv(unfinished / "episodes.csv", EPISODE_COLUMNS, episodes)
        further = sorted({name for row in run.updates for name in row} - set(UPDATE_COLUMNS))
        columns = (*UPDATE_COLUMNS, *further)
        _write_csv(unfinished / "updates.csv", columns, ([row.get(c, "") for c in columns] for row in run.updates))
        for checkpoint in run.checkpoints:
            np.savez(unfinished / checkpoint_file(checkpoint), **checkpoint.state)
        files = ["episodes.csv", "updates.csv", *map(checkpoint_file, run.checkpoints)]
        if run.policy is not None:
            run.policy.save(unfinished / POLICY)
            files.append(POLICY)
        if evaluated:
            _write_csv(unfinished / EVALUATIONS_FILE, EVALUATION_COLUMNS, run.evaluations)
            files.append(EVALUATIONS_FILE)
        write_record(unfinished / "run.json", description | outcome(run), files)
        if event_files:
            os.replace(directory / TENSORBOARD, unfinished / TENSORBOARD)


def checkpoint_file(checkpoint: Checkpoint) -> str:
    """Where a checkpoint lies in its run's folder: named by its step."""
    return f"{CHECKPOINTS}/{checkpoint.step}.npz"


def outcome(run: Run) -> dict[str, Any]:
    """The results of a run as they stand in `run.json`."""
    loop_seconds = run.seconds["training"] - run.seconds["compiling"]
    open_episodes = [{"start": e.start, "return": e.return_, "length": e.length} for e in run.open_episodes]
    for episode, true_return in zip(open_episodes, run.true_returns[len(run.episodes) :], strict=False):
        episode[TRUE_RETURN] = true_return
    return {
        "status": run.status,
        "diverged_at": run.diverged_at,
        "diverged_because": run.diverged_because,
        "compiled": run.compiled,
        "steps_taken": run.steps_taken,
        "updates": run.updates_made,
        "episodes": len(run.episodes),
        "open_episodes": open_episodes,
        "evaluation": run.evaluation and {kind: _as_recorded(e) for kind, e in run.evaluation.items()},
        "checkpoints": [{"fraction": c.fraction, "step": c.step, "file": checkpoint_file(c)} for c in run.checkpoints],
        "seconds": {name: round(value, 3) for name, value in run.seconds.items()},
        "steps_per_second": round(run.steps_taken / loop_seconds, 1) if loop_seconds else None,
        "peak_memory_mb": round(peak_memory_mb(), 1),
    }


def _as_recorded(evaluation: Evaluation) -> dict[str, list]:
    """An evaluation's lists by name; costs and true returns only where the task reports them."""
    return {name: values for name, values in vars(evaluation).items() if values or name in ("returns", "lengths")}


def provenance(root: Path, packages: Iterable[str] = PACKAGES) -> dict[str, Any]:
    """Versions, commit and machine."""
    return {
        "versions": {"python": platform.python_version()} | {p: _version(p) for p in packages},
        "commit": _git(root, "rev-parse", "HEAD"),
        "uncommitted_changes": _uncommitted_changes(root),
        "machine": {"cpu": cpu(), "cores": os.cpu_count(), "system": platform.platform()},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(root: Path, *arguments: str) -> str | None:
    """What git prints, or None outside a checkout."""
    try:
        done = subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _uncommitted_changes(root: Path) -> bool | None:
    """Whether a source differs from the commit or is unknown to it; None outside a checkout."""
    status = _git(root, "status", "--porcelain", "--", "algorithms", "experiments", "pyproject.toml")
    return None if status is None else bool(status)


def cpu() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _write_csv(path: Path, header: Iterable[str], rows: Iterable[Iterable]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
