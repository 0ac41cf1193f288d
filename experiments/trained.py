"""Keeps what a cell has trained while it is evaluated, so that a later attempt need not train again."""

import contextlib
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from policy_gradient_ladder.core.run import Checkpoint, Run, Trained
from policy_gradient_ladder.core.vector_env import Episode

from .process import age
from .schema import TRAINED

PLAIN = ("updates", "steps_taken", "updates_made", "compiled", "seconds")  # fields of Run that JSON holds as they are
EPISODES = ("episodes", "open_episodes")
STATE = "state"


class Kept:
    """The file TRAINED in a cell's folder. A complete run replaces the folder, and the file is gone.

    `determinants` is everything that the training depends on, as JSON has it; a file with others is not taken up.
    """

    def __init__(self, folder: Path, determinants: Mapping[str, Any]) -> None:
        self.path = folder / TRAINED
        self.determinants = json.loads(json.dumps(determinants))
        self.seconds = 0.0  # the age of the process that wrote what was read

    def write(self, trained: Trained) -> None:
        """Write the file, whole or not at all."""
        run = trained.run
        about = {"determinants": self.determinants, "age": age(), "run": {name: getattr(run, name) for name in PLAIN}}
        about["checkpoints"] = [[c.fraction, c.step] for c in run.checkpoints]
        arrays: dict[str, np.ndarray] = {"about": np.frombuffer(json.dumps(about).encode(), np.uint8)}
        for name in EPISODES:
            columns = zip(*getattr(run, name), strict=True)
            arrays |= {f"{name}/{f}": np.array(c) for f, c in zip(Episode._fields, columns, strict=False)}
        for i, checkpoint in enumerate(run.checkpoints):
            arrays |= {f"{i}/{name}": array for name, array in checkpoint.state.items()}
        arrays |= {f"{STATE}/{name}": array for name, array in trained.state.items()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.parent.with_name(f".{self.path.parent.name}.trained")
        with unfinished.open("wb") as file:
            np.savez(file, **arrays)
        os.replace(unfinished, self.path)

    def remove(self) -> None:
        """Remove the file, and its folder where nothing else is in it."""
        self.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.path.parent.rmdir()

    def read(self) -> Trained | None:
        """What an earlier attempt has trained; None where there is none, or where it is damaged or of another cell."""
        try:
            with np.load(self.path, allow_pickle=False) as file:
                about = json.loads(file["about"].tobytes())
                if about["determinants"] != self.determinants:
                    return None
                arrays = dict(file)
            episodes = {}
            for name in EPISODES:
                columns = [arrays[f"{name}/{f}"].tolist() for f in Episode._fields if f"{name}/{f}" in arrays]
                episodes[name] = [Episode(*row) for row in zip(*columns, strict=True)]
            checkpoints = [Checkpoint(*place, _part(arrays, str(i))) for i, place in enumerate(about["checkpoints"])]
            run = Run(checkpoints=checkpoints, evaluation=None, **episodes, **about["run"])
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            return None
        self.seconds = about["age"]
        return Trained(run, _part(arrays, STATE))


def _part(arrays: Mapping[str, np.ndarray], part: str) -> dict[str, np.ndarray]:
    """The arrays whose names begin with `part`, by the rest of their names."""
    return {name.removeprefix(f"{part}/"): array for name, array in arrays.items() if name.startswith(f"{part}/")}
