"""Where a training is, for a person and for `analysis.status`."""

import inspect
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from policy_gradient_ladder.core.rollout import SECONDS_BETWEEN_CALLS
from policy_gradient_ladder.core.vector_env import Episode

SHOWN_EPISODES = 20  # the return that is shown is the mean of the latest
LINES_IN_A_LOG = 10
SECONDS_WITHOUT_A_LINE = 60  # the most; analysis.status takes a process whose log is silent for minutes for dead


def recent_return(episodes: Sequence[Episode]) -> str:
    """The mean return of the latest episodes, for a person to read."""
    return f"{np.mean([e.return_ for e in episodes[-SHOWN_EPISODES:]]):.1f}" if episodes else "no episode yet"


def named_by(function: Callable[..., Any], **arguments: Any) -> dict[str, Any]:
    """Those of the arguments that the function names. The `train` of another library may lack some of them."""
    return {name: value for name, value in arguments.items() if name in inspect.signature(function).parameters}


class Progress:
    """A bar on a terminal; in a log a line for each tenth of the budget, and one where a minute has passed without."""

    def __init__(self, name: str, steps: int, lines: int = LINES_IN_A_LOG, *, begun: int = 0) -> None:
        self.name, self.steps, self.lines = name, steps, lines
        self.begun = begun  # the steps that an earlier attempt has taken
        self.began = self.latest = time.perf_counter()
        self.due = 1  # of the lines
        silent = lines == 0 or not sys.stderr.isatty()
        self.bar = tqdm(total=steps, desc=name, unit=" steps", unit_scale=True, disable=silent)

    def __call__(self, step: int, episodes: list[Episode]) -> None:
        """Show where the run is."""
        if not self.bar.disable:
            self.bar.set_postfix({"return": recent_return(episodes)}, refresh=False)
            self.bar.update(min(step, self.steps) - self.bar.n)
            return
        now = time.perf_counter()
        if (
            step * self.lines >= self.due * self.steps
            or now - self.latest >= SECONDS_WITHOUT_A_LINE - SECONDS_BETWEEN_CALLS
        ):
            self.due, self.latest = step * self.lines // self.steps + 1, now
            place, rate = f"{step:,} of {self.steps:,} steps", (step - self.begun) / (now - self.began)
            print(f"{self.name}: {place}, return {recent_return(episodes)}, {rate:,.0f} steps/s", flush=True)

    def wait(self, what: str, step: int, episodes: list[Episode]) -> None:
        """Show that the run is alive where no update has ended for long; called every SECONDS_BETWEEN_CALLS.

        what: is being done; step and episodes: of that.
        """
        if what == "training":
            self(step, episodes)
        elif self.bar.disable and time.perf_counter() - self.latest >= SECONDS_WITHOUT_A_LINE - SECONDS_BETWEEN_CALLS:
            self.latest = time.perf_counter()
            print(f"{self.name}: {what}, step {step:,}, episode {len(episodes) + 1:,}", flush=True)

    def close(self) -> None:
        """Leave the bar as it is."""
        self.bar.close()
