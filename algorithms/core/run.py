"""What a training returns, whatever trained: episodes, the update table, checkpoints and the evaluation."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .task import StoppedByTask, Task
from .vector_env import Episode

EVALUATIONS = ("sampled", "mode")  # with sampled actions (the final score), and with the mode action
EVALUATION_EPISODES = 20  # of each kind of evaluation of a task without variants
LONGEST_EPISODE = 100_000  # steps after which an episode of a task without a time limit is cut where it has to end
PHASES = (
    "stepping",
    "acting",
    "learning",
    "compiling",
    "training",
    "evaluating",
)  # training holds the four before it; episodes still open at its end are finished in "evaluating"


def evaluation_episodes(task: Task, at_least: int = EVALUATION_EPISODES) -> int:
    """How many episodes an evaluation has; of K variants the next multiple of K, so that each has as many."""
    variants = len(task.variants) or 1
    return math.ceil(at_least / variants) * variants


@dataclass
class Evaluation:
    """Raw returns and lengths (steps) of complete episodes on freshly seeded environments, statistics frozen."""

    returns: list[float]
    lengths: list[int]


@dataclass
class Checkpoint:
    """The learner's arrays by name at a fraction of the budget."""

    fraction: float
    step: int
    state: dict[str, np.ndarray]


class KeptPolicy(Protocol):
    """The policy of a run: a `saved_policy.SavedPolicy`, whose module cannot be imported here, since it plays runs."""

    def act(
        self, observation: Any, mode: bool = True, rng: np.random.Generator | None = None, action_masks: Any = None
    ) -> Any:
        """The action at an observation, or the actions at many."""

    def evaluate(self, episodes: int = 20, env: Any = None, seed: int = 0, mode: bool = False) -> np.ndarray:
        """The raw returns of complete episodes, float64 [episodes]."""

    def save(self, path: Path) -> None:
        """Write the policy as a file."""

    def named(self, algorithm: str) -> "KeptPolicy":
        """The same policy with another name of its algorithm."""


@dataclass
class Run:
    """Everything that a run produced. `diverged_at` is the step at which something stopped being finite, or None.

    Where that was a number of the task, the run is `stopped_by_task`: it did not learn from the number.

    `open_episodes` are those that were running at the end of the budget and were then finished without learning. Their
    `step` is `steps_taken`. They belong to the learning curve, and to nothing else.

    `policy` is the last one. A run that diverged has none, since its numbers are not finite; one that its task stopped
    has the policy that it had then.

    An algorithm that another library trains has to fill in `episodes`, `evaluation` and `steps_taken`. The other fields
    may be empty: `updates` and `checkpoints` an empty list, `updates_made` 0, `seconds` as they are, `policy` None.
    Where there are rows in `updates`, each has `step` (at its end) and `updates` (how many it is of), whose sum is
    `updates_made`.
    `run_check.checked_run` says what else is asked of a run.
    """

    episodes: list[Episode]
    updates: list[dict[str, float]]  # rows of the update table
    checkpoints: list[Checkpoint]
    evaluation: dict[str, Evaluation] | None  # by kind, see EVALUATIONS; None for a run that diverged or was stopped
    steps_taken: int
    updates_made: int
    compiled: bool = False  # whether gradient steps ran as machine code, whose last digits differ from the eager path's
    diverged_at: int | None = None
    diverged_because: str | None = None
    stopped_by_task: bool = False
    open_episodes: list[Episode] = field(default_factory=list)
    policy: KeptPolicy | None = None
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PHASES, 0.0))

    @property
    def status(self) -> str:
        """How the run ended, as `status` in its record: done, diverged, or stopped by its task."""
        return "stopped by its task" if self.stopped_by_task else "done" if self.diverged_at is None else "diverged"

    @classmethod
    def stopped(cls, at: StoppedByTask) -> "Run":
        """The run of which nothing is known but that its task stopped it."""
        run = cls([], [], [], None, at.step, 0)
        run.stop(at)
        return run

    def stop(self, at: StoppedByTask) -> None:
        """End the run as stopped by its task."""
        self.stopped_by_task, self.evaluation = True, None
        self.diverged_at = self.steps_taken if at.of else at.step
        self.diverged_because = at.reason


@dataclass
class Trained:
    """What a training has made and its evaluation needs: the run without an evaluation, and the learner's arrays."""

    run: Run
    state: dict[str, np.ndarray]
