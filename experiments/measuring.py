"""What every measurement of the benchmark that is no cell needs: a clock, a record, an environment."""

import importlib
import sys
import time
from typing import Any

from .process import age, peak_memory_mb
from .schema import LOOP_PHASES

clock = time.process_time  # seconds of a processor that all threads of this process have taken


class CannotRun(Exception):
    """Raised where something is missing that a contestant needs; the table shows the message as the reason."""


class Stopwatch:
    """Adds up the seconds that the calls of timed methods take, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def time(self, owner: Any, method: str, name: str) -> None:
        """Count the seconds of every call of `method` of `owner` under `name`."""
        function = getattr(owner, method)
        self.seconds[name] = 0.0

        def timed(*arguments, **options):
            began = clock()
            result = function(*arguments, **options)
            self.seconds[name] += clock() - began
            return result

        setattr(owner, method, timed)


class Measurement:
    """The record of one measurement, with the keys of a run's `run.json`."""

    def __init__(self) -> None:
        self.start_up = 0.0

    def ready(self) -> None:
        """End the start-up: everything is imported and made."""
        self.start_up = age()

    def record(self, steps: int, training: float, **phases: float) -> dict[str, Any]:
        """The record of a training of `steps` steps in `training` seconds; `phases` are parts of these seconds.

        Without phases it is not known what the loop was at, and they are None.
        """
        seconds = dict.fromkeys(LOOP_PHASES, 0.0 if phases else None) | phases
        seconds |= {"compiling": 0.0, "evaluating": 0.0, "training": training}
        return {
            "steps_taken": steps,
            "steps_per_second": steps / training,
            "peak_memory_mb": peak_memory_mb(),
            "seconds": seconds | {"start_up": self.start_up, "total": age()},
        }


def gymnasium_env(task: dict[str, Any]) -> Any:
    """Gymnasium's environment of the task, with the task's time limit and without Gymnasium's checker."""
    import gymnasium

    return gymnasium.make(task["id"], **arguments(task))


def arguments(task: dict[str, Any]) -> dict[str, Any]:
    """The keyword arguments of gymnasium.make for the task."""
    return {"max_episode_steps": task["max_episode_steps"], "disable_env_checker": True, **task.get("kwargs", {})}


def import_optional(module: str, install: str) -> Any:
    """Import an optional package; raises CannotRun with the command `install` where it is missing."""
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name != package:
            raise
        raise CannotRun(f"{package} is not installed ({install})") from error
    return sys.modules[module]
