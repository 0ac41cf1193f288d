"""Runs that were made elsewhere, read as they are: CSV files, Monitor files, and TensorBoard's event files.

A file or a folder is one run. A CSV file has the columns `step` (of all environments, at the episode's end), `return`
and perhaps `length`; TensorBoard exports one as `Wall time,Step,Value`. A Monitor file of Stable-Baselines3 begins with
a line of JSON and has `r`, `l` and `t`; a folder holds one of each environment. CleanRL's event files have the scalars
`charts/episodic_return` and `charts/episodic_length`.
"""

import csv
import hashlib
import io
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from policy_gradient_ladder.core.algorithm import Algorithm, whole
from policy_gradient_ladder.core.run import Evaluation, Run, evaluation_episodes
from policy_gradient_ladder.core.task import Task
from policy_gradient_ladder.core.vector_env import Episode

from .checks import GridError
from .libraries import INSTALL
from .schema import EVALUATIONS
from .sources import ROOT

MONITOR, EVENTS = "monitor.csv", "tfevents"  # ends, or is in, the name of a file
RETURN, LENGTH, HYPERPARAMETERS = "charts/episodic_return", "charts/episodic_length", "hyperparameters/text_summary"
NUM_ENVS = re.compile(r"\|num_envs\|(\d+)\|")  # in CleanRL's hyperparameters
REACHED = 0.9  # of the task's budget: where the last episode has to end, for open ones are not in the files
COLUMNS = {"step": ("step", "Step"), "return": ("return", "Value"), "length": ("length",)}  # also TensorBoard's


@dataclass(frozen=True)
class External(Algorithm):
    """Made elsewhere and read from files; evaluation, seeds and preprocessing are not known here."""

    title: ClassVar[str] = "external"
    equation: ClassVar[str] = ""
    evaluations: ClassVar[tuple[str, ...]] = EVALUATIONS[:1]  # nobody has evaluated the mode action

    files: Mapping[str, str] = field(default_factory=dict)  # seed → file or folder, relative to the project

    def __post_init__(self) -> None:
        """Nothing: a grid gives the files, not its settings."""

    def train(
        self,
        task: Task,
        seed: int,
        steps: int,
        *,
        checkpoint_fractions: Sequence[float] = (),
        compile: str = "auto",
        runs: int = 5,
        evaluations: Sequence[str] = EVALUATIONS,
        on_update: Callable[[int, list[Episode]], None] = lambda steps, episodes: None,
    ) -> Run:
        """The run of a seed, until the budget of `steps`. Its final score is the mean of its last training episodes.

        There are as many of these as an evaluation has. Raises GridError where the file cannot be read, ends long
        before the budget, or has too few episodes.
        """
        path = ROOT / self.files[str(seed)]
        episodes = read_external(path)
        done = [episode for episode in episodes if episode.step <= steps]
        further = [episode for episode in episodes if episode.step > steps]
        if not further and (not done or done[-1].step < REACHED * steps):
            last = done[-1].step if done else 0
            raise GridError(
                f"{path}: its last episode ends at step {last:,}, and the budget of {task.label} is {steps:,}; give "
                "the task fewer steps, or a longer run"
            )
        count = evaluation_episodes(task)
        if len(done) < count:
            raise GridError(
                f"{path}: {len(done)} episodes end within the {steps:,} steps of {task.label}; its final score is the "
                f"mean of the last {count}, so a run needs as many"
            )
        taken = steps if further else done[-1].step
        latest = done[-count:]
        return Run(
            episodes=done,
            updates=[],
            checkpoints=[],
            evaluation={
                kind: Evaluation([e.return_ for e in latest], [e.length for e in latest]) for kind in self.evaluations
            },
            steps_taken=taken,
            updates_made=0,
            open_episodes=[episode._replace(step=taken) for episode in further if episode.start < taken],
        )

    def record(self, seed: int) -> dict[str, Any]:
        """What a run's record says of its origin: the files with their SHA-256."""
        files = data_files(ROOT / self.files[str(seed)])
        return {"files": {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}}


class Row(NamedTuple):
    """A row of a file: an episode, or a value that was logged."""

    step: int
    return_: float
    length: int | None


def data_files(path: Path) -> list[Path]:
    """The files that a run is read from: the file itself, or a folder's Monitor files or event files.

    Raises GridError where there are none, or both.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise GridError(f"{path}: there is no such file or folder")
    files = sorted(file for file in path.iterdir() if file.is_file())
    monitors = [file for file in files if file.name.endswith(MONITOR)]
    events = [file for file in files if EVENTS in file.name]
    if bool(monitors) == bool(events) or len(events) > 1:
        raise GridError(
            f"{path}: a folder of a run holds Monitor files (*{MONITOR}) or one event file (*{EVENTS}*), and this one "
            f"has {len(monitors)} and {len(events)}"
        )
    return monitors or events


def read_external(path: Path) -> list[Episode]:
    """The episodes of a run that was made elsewhere, in the order of their ends.

    Without a length, an episode is taken to begin where the one before it ends. Raises GridError, which names the
    file, the line and what is expected there.
    """
    files = data_files(path)
    if EVENTS in files[0].name:
        return _of_events(files[0])
    texts = {file: _text(file) for file in files}
    if len(files) > 1 or texts[files[0]].startswith("#"):
        return _of_monitors(texts)
    return _episodes(_rows(files[0], texts[files[0]]), num_envs=1)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "it is not text"
        raise GridError(f"{file}: cannot be read as a table: {what}") from error


def _table(file: Path, text: str, columns: Mapping[str, Sequence[str]], skipped: int = 0) -> Iterator[tuple[int, dict]]:
    """The number of each line, and its entries by the names of `columns`, each of which may be called differently."""
    lines = csv.reader(io.StringIO(text))
    header = next(lines, [])
    places = {name: next((header.index(c) for c in called if c in header), None) for name, called in columns.items()}
    for name, place in places.items():
        if place is None and name != "length":
            raise GridError(
                f"{file}: the column {name!r} is missing among {', '.join(header) or 'no columns'}; expected are step, "
                "return and perhaps length, or a Monitor file with its first line"
            )
    there = {name: place for name, place in places.items() if place is not None}
    while True:
        try:
            line = next(lines, None)
        except csv.Error as error:  # a quotation mark that is not closed, say
            raise GridError(f"{file}: line {lines.line_num + skipped}: {error}") from error
        if line is None:
            return
        if not line:
            continue
        number = lines.line_num + skipped
        if len(line) <= max(there.values()):
            raise GridError(f"{file}: line {number} has {len(line)} of {len(header)} columns")
        yield number, {name: _number(file, number, name, line[place]) for name, place in there.items()}


def _number(file: Path, line: int, name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise GridError(f"{file}: line {line} has the {name} {text!r}; expected is a finite number")
    return value


def _count(file: Path, line: int, name: str, value: float) -> int:
    if type(whole(value)) is not int or value < 1:
        raise GridError(f"{file}: line {line} has the {name} {value:g}; expected is a whole number from 1")
    return int(value)


def _rows(file: Path, text: str) -> list[Row]:
    """The rows of a CSV file, whose steps must not descend."""
    rows: list[Row] = []
    for line, entries in _table(file, text, COLUMNS):
        step = _count(file, line, "step", entries["step"])
        if rows and step < rows[-1].step:
            raise GridError(
                f"{file}: line {line} is of step {step:,}, after one of step {rows[-1].step:,}; sort the lines by "
                "their step, and give each seed a file of its own"
            )
        length = _count(file, line, "length", entries["length"]) if "length" in entries else None
        rows.append(Row(step, entries["return"], length))
    return rows


def _episodes(rows: Sequence[Row], num_envs: int) -> list[Episode]:
    """Rows as episodes; an episode of one of N environments began N times its length before its end."""
    episodes = []
    before = 0
    for step, return_, length in rows:
        known = length if length is not None else max(step - before, 1)
        episodes.append(Episode(step, return_, known, max(step - known * num_envs, 0)))
        before = step
    return episodes


def _of_monitors(texts: Mapping[Path, str]) -> list[Episode]:
    """Episodes of Monitor files, one of each environment, in the order of their times.

    Their step is the sum of the lengths until there, as Stable-Baselines3 itself plots them.
    """
    found = []
    for file, text in texts.items():
        first, _, rest = text.partition("\n")
        try:
            began = float(json.loads(first.removeprefix("#"))["t_start"])
        except (ValueError, TypeError, KeyError) as error:
            raise GridError(f"{file}: the first line of a Monitor file is # and JSON with t_start") from error
        columns = {"r": ("r",), "l": ("l",), "t": ("t",)}
        for line, entries in _table(file, rest, columns, skipped=1):
            found.append((began + entries["t"], entries["r"], _count(file, line, "l", entries["l"])))
    rows, step = [], 0
    for _, return_, length in sorted(found, key=lambda row: row[0]):
        step += length
        rows.append(Row(step, return_, length))
    return _episodes(rows, num_envs=len(texts))


def _of_events(file: Path) -> list[Episode]:
    """Episodes of CleanRL's event file. Their step counts all environments, as many as its hyperparameters say."""
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ModuleNotFoundError as error:
        raise GridError(f"{file}: an event file is read by tensorboard, which is not installed ({INSTALL})") from error
    events = EventAccumulator(str(file), size_guidance={"scalars": 0})  # 0: all of them
    events.Reload()
    tags = events.Tags()
    if RETURN not in tags["scalars"]:
        known = ", ".join(tags["scalars"]) or "none"
        raise GridError(f"{file}: there is no scalar {RETURN!r}, which CleanRL writes; its scalars are: {known}")
    returns = events.Scalars(RETURN)
    lengths = events.Scalars(LENGTH) if LENGTH in tags["scalars"] else []
    known = [int(event.value) for event in lengths] if len(lengths) == len(returns) else [None] * len(returns)
    text = (
        events.Tensors(HYPERPARAMETERS)[0].tensor_proto.string_val[0].decode()
        if HYPERPARAMETERS in tags["tensors"]
        else ""
    )
    told = NUM_ENVS.search(text)
    rows = []
    for event, length in zip(returns, known, strict=True):
        if not math.isfinite(event.value):
            raise GridError(f"{file}: the return at step {event.step:,} is {event.value}; expected is a finite number")
        rows.append(Row(event.step, float(event.value), length))
    rows.sort(key=lambda row: row.step)
    return _episodes(rows, num_envs=int(told[1]) if told else 1)
