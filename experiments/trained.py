"""Keeps what a cell has trained, so that a later attempt goes on from there and need not train it again."""

import contextlib
import json
import os
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from policy_gradient_ladder.core.run import Checkpoint, EvaluationEpisode, Run, Trained
from policy_gradient_ladder.core.task import CannotResume
from policy_gradient_ladder.core.vector_env import Episode

from .process import age
from .schema import TRAINED

SECONDS_BETWEEN = 60.0  # from one time that an unfinished training is kept to the next
LARGEST_SHARE = 0.005  # of a training's time that keeping it may take
# The fields of Run that JSON holds as they are.
PLAIN = ("updates", "true_returns", "steps_taken", "updates_made", "compiled", "seconds")
EPISODES = {"episodes": Episode, "open_episodes": Episode, "evaluations": EvaluationEpisode}
ARRAY = "array"  # the only key of what stands in JSON in place of an array: the array's name in the file


class Kept:
    """The file TRAINED in a cell's folder. A complete run replaces the folder, and the file is gone.

    `determinants` is everything that the training depends on, as JSON has it; a file with others is not taken up.
    `seconds_between` is how often a training that has not ended is kept, at most.
    """

    def __init__(self, folder: Path, determinants: Mapping[str, Any], seconds_between: float = SECONDS_BETWEEN) -> None:
        self.path = folder / TRAINED
        self.determinants = json.loads(json.dumps(determinants))
        self.seconds = 0.0  # the age of the processes that made what was read
        self.ignored: str | None = None  # why a file that is there was not taken up, after `read`
        self._between = seconds_between
        self._due = time.perf_counter() + seconds_between

    def pause(self, run: Run, pause: Callable[[], Trained]) -> None:
        """Keep a training that has not ended, where that is due; for `on_boundary` of `training.train`.

        Where it cannot be kept, a line says why, and the training goes on.
        """
        began = time.perf_counter()
        if began < self._due:
            return
        try:
            self.write(pause())
        except (CannotResume, OSError) as error:
            print(f"not kept, so that an interrupted attempt would begin anew: {error}", flush=True)
            self._due = float("inf")
            return
        ended = time.perf_counter()
        self._due = ended + max(self._between, (ended - began) / LARGEST_SHARE if self._between else 0.0)

    def write(self, trained: Trained) -> None:
        """Write the file, whole or not at all."""
        run = trained.run
        arrays: dict[str, np.ndarray] = {}
        about = {
            "determinants": self.determinants,
            "age": self.seconds + age(),
            "run": {name: getattr(run, name) for name in PLAIN},
            "checkpoints": [[c.fraction, c.step] for c in run.checkpoints],
            "ended": trained.ended,
            "state": _without_arrays(trained.state, "state", arrays),
        }
        for name, kind in EPISODES.items():
            columns = zip(*getattr(run, name), strict=True)
            arrays |= {f"{name}/{f}": np.array(c) for f, c in zip(kind._fields, columns, strict=False)}
        for i, checkpoint in enumerate(run.checkpoints):
            arrays |= {f"{i}/{name}": array for name, array in checkpoint.state.items()}
        arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._unfinished.open("wb") as file:
            np.savez(file, **arrays)
        os.replace(self._unfinished, self.path)

    @property
    def _unfinished(self) -> Path:
        return self.path.parent.with_name(f".{self.path.parent.name}.trained")

    def remove(self) -> None:
        """Remove the file, one that a killed attempt has not finished, and the folder where nothing else is in it."""
        for path in (self.path, self._unfinished):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.path.parent.rmdir()

    def read(self) -> Trained | None:
        """What an earlier attempt has trained; None where there is none, or where it is damaged or of another cell."""
        try:
            with np.load(self.path, allow_pickle=False) as file:
                about = json.loads(file["about"].tobytes())
                if about["determinants"] != self.determinants:
                    self.ignored = f"it is of {_difference(about['determinants'], self.determinants)}"
                    return None
                arrays = dict(file)
            episodes = {}
            for name, kind in EPISODES.items():
                columns = [arrays[f"{name}/{f}"].tolist() for f in kind._fields if f"{name}/{f}" in arrays]
                episodes[name] = [kind(*row) for row in zip(*columns, strict=True)]
            checkpoints = [Checkpoint(*place, _part(arrays, str(i))) for i, place in enumerate(about["checkpoints"])]
            run = Run(checkpoints=checkpoints, evaluation=None, **episodes, **about["run"])
            trained = Trained(run, _with_arrays(about["state"], arrays), about["ended"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile):
            self.ignored = "it is damaged"
            return None
        self.seconds = about["age"]
        return trained


def _without_arrays(value: Any, name: str, arrays: dict[str, np.ndarray]) -> Any:
    """A snapshot as JSON holds it; its arrays are added to `arrays`, by their place in it, which begins with `name`."""
    if isinstance(value, np.ndarray):
        arrays[name] = value
        return {ARRAY: name}
    if isinstance(value, Mapping):
        return {key: _without_arrays(part, f"{name}/{key}", arrays) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_arrays(part, f"{name}/{i}", arrays) for i, part in enumerate(value)]
    return value


def _with_arrays(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """The snapshot of which `_without_arrays` made this and `arrays`."""
    if isinstance(value, Mapping):
        if list(value) == [ARRAY]:
            return arrays[value[ARRAY]]
        return {key: _with_arrays(part, arrays) for key, part in value.items()}
    return [_with_arrays(part, arrays) for part in value] if isinstance(value, list) else value


def _difference(kept: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """In what a cell that was kept differs from the one that is asked for, as the end of a sentence."""
    names = [name for name in asked if kept.get(name) != asked[name]]
    return f"another {' and another '.join(names)}"


def _part(arrays: Mapping[str, np.ndarray], part: str) -> dict[str, np.ndarray]:
    """The arrays whose names begin with `part`, by the rest of their names."""
    return {name.removeprefix(f"{part}/"): array for name, array in arrays.items() if name.startswith(f"{part}/")}
