"""A study's journal: Optuna's storage in one file, with its locks, and what a trial in it has to be.

The journal is open to all that Optuna offers: settings can be enqueued in it and trials be marked as failed.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from .parameters import distributions_of, to_parameters
from .schema import LOCKS, UNTUNED
from .search import InvalidStudy, Study

ROUNDING = 1e-9  # of a score between the journal and its parts


@dataclass
class Part:
    """A training with one seed on one task, and how it was scored."""

    task: str
    seed: int
    status: str  # one of RUN_STATES
    score: float  # mean return of the evaluation's episodes with sampled actions; the random score unless it is done
    normalized: float
    steps: int
    seconds: float


def parts_of(trial: FrozenTrial) -> list[Part]:
    """What was evaluated of a trial."""
    return [Part(**part) for part in trial.user_attrs.get("parts", [])]


def objective(parts: Sequence[Part], tasks: int, spread_penalty: float) -> float:
    """Mean over seeds of the mean normalised score over tasks, minus the penalty times its deviation over seeds.

    parts: of the first seed's tasks, then of the second's; the last seed may lack some. tasks: how many there are.
    """
    scores = [part.normalized for part in parts]
    by_seed = [np.mean(scores[i : i + tasks]) for i in range(0, len(scores), tasks)]
    return float(np.mean(by_seed) - spread_penalty * np.std(by_seed))


def problem_of(
    trial: FrozenTrial, study: Study, untuned: Mapping[str, Any], places: Sequence[tuple[int, str]]
) -> str | None:
    """Why a trial in the journal is none of the study's, as the end of a sentence; None where it is one.

    untuned: the searched settings of trial 0; places: the seed and the task of each of a trial's parts. Waiting and
    failed trials are none yet, or no longer; but the untuned settings have to be trial 0.
    """
    expected = distributions_of(study)
    if trial.number == UNTUNED:
        expected = {name: expected[name] for name in to_parameters(study, untuned)}
    if trial.state in (TrialState.FAIL, TrialState.WAITING):
        has_been = "marked as failed" if trial.state == TrialState.FAIL else "enqueued, before the study had begun"
        return f"has to be the untuned settings, and was {has_been}" if trial.number == UNTUNED else None
    if trial.distributions != expected:
        own, searched = (", ".join(sorted(names)) or "nothing" for names in (trial.distributions, expected))
        where = "" if own != searched else ", from another space"
        advice = "; it can be marked as failed (Optuna's tell)" if trial.state == TrialState.RUNNING else ""
        return f"has {own}{where}, and this command gives it {searched}{advice}"
    try:
        parts = parts_of(trial)
        value = objective(parts, len(study.tasks), study.tuning.spread_penalty) if parts else math.nan
    except (TypeError, AttributeError):
        return "has an attribute 'parts' that this command did not write"
    if [(part.seed, part.task) for part in parts] != list(places[: len(parts)]):
        return "has parts with other seeds or on other tasks than this study's"
    if trial.state == TrialState.RUNNING:
        return None
    state = trial.state.name.lower()
    if not parts or (trial.state == TrialState.COMPLETE and len(parts) < len(places)):
        return f"is {state} with {len(parts)} of {len(places)} parts, so that nothing says what its score is of"
    if trial.value is None or not math.isclose(trial.value, value, abs_tol=ROUNDING):
        return f"is {state} with the score {trial.value}, and its parts give {value:.6g}"
    return None


class KernelLock:
    """Guards the journal by a lock that the system releases when its holder is killed; Optuna's own lasts for 30 s."""

    def __init__(self, directory: Path) -> None:
        self._lock = lock_of(directory, "journal")

    def acquire(self) -> bool:
        """Wait for the lock."""
        self._lock.acquire()
        return True

    def release(self) -> None:
        """Give it to the next."""
        self._lock.release()


def lock_of(directory: Path, what: str) -> FileLock:
    """The lock on `what`: "study", "claim", "journal" or a trial."""
    (directory / LOCKS).mkdir(parents=True, exist_ok=True)
    return FileLock(directory / LOCKS / what)


def open_journal(journal: Path) -> JournalStorage:
    """Optuna's storage in a file. Where the last line was cut off because its writer was killed, it is removed.

    Raises InvalidStudy, and changes nothing, where any other line is damaged.
    """
    lock = KernelLock(journal.parent)
    lock.acquire()
    try:
        if journal.is_symlink():
            raise _corrupted(journal, "it is a link, and what it leads to might not be a journal")
        content = journal.read_bytes() if journal.exists() else b""
        *whole, cut_off = content.split(b"\n")
        for number, line in enumerate(whole, start=1):
            try:
                json.loads(line)
            except ValueError as error:
                raise _corrupted(journal, f"line {number} is not whole ({error})") from error
        if cut_off and not cut_off.startswith(b"{"):
            raise _corrupted(journal, f"its last line, {len(whole) + 1}, is not whole and was never a record")
        try:
            storage = JournalStorage(JournalFileBackend(str(journal), lock_obj=lock))
        except Exception as error:  # whatever a journal that is JSON and yet none of Optuna's makes it do
            raise _corrupted(journal, f"Optuna cannot read it ({type(error).__name__}: {error})") from error
        if cut_off:
            with journal.open("r+b") as file:
                file.truncate(len(content) - len(cut_off))
        return storage
    finally:
        lock.release()


def _corrupted(journal: Path, what: str) -> InvalidStudy:
    return InvalidStudy(f"{journal}: {what}. Nothing was changed; move {journal.parent} away to tune anew")


def differing(found: Any, asked: Any, where: str = "") -> Iterator[str]:
    """The differences between two nested mappings, each as half a sentence."""
    if isinstance(found, dict) and isinstance(asked, dict):
        for key in [*found, *(key for key in asked if key not in found)]:
            yield from differing(found.get(key, "nothing"), asked.get(key, "nothing"), f"{where}.{key}".lstrip("."))
    elif found != asked:
        yield f"{where} {found} where the grid has {asked}"
