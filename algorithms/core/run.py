"""What a training returns, whatever trained: episodes, the update table, checkpoints and the evaluation."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from .task import Snapshot, StoppedByTask, Task
from .vector_env import Episode

if TYPE_CHECKING:
    import pandas as pd

EVALUATIONS = ("sampled", "mode")  # with sampled actions (the final score), and with the mode action
RECORDED_ROWS = 200  # rows of the update table at most; each holds the means over an equal share of the budget
EVALUATION_EPISODES = 20  # of each kind of evaluation of a task without variants
EPISODES_MEANWHILE = 5  # of each kind of an evaluation in the middle of a training, unless another number is asked for
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
    """Raw returns and lengths (steps) of complete episodes on freshly seeded environments, statistics frozen.

    `costs` and `true_returns` are the undiscounted sums of `info["cost"]` and `info["true_reward"]` over the episodes;
    none where the task does not report them.
    """

    returns: list[float]
    lengths: list[int]
    costs: list[float] = field(default_factory=list)
    true_returns: list[float] = field(default_factory=list)


class EvaluationEpisode(NamedTuple):
    """An episode of an evaluation in the middle of a training, which is at `step`; `kind` is one of EVALUATIONS."""

    step: int
    kind: str
    return_: float
    length: int


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

    def save(self, path: str | Path) -> None:
        """Write the policy as a file."""

    def named(self, algorithm: str) -> "KeptPolicy":
        """The same policy with another name of its algorithm."""


@dataclass
class Run:
    """Everything that a run produced. `diverged_at` is the step at which something stopped being finite, or None.

    Where that was a number of the task, the run is `stopped_by_task`: it did not learn from the number.

    `open_episodes` are those that were running at the end of the budget and were then finished without learning. Their
    `step` is `steps_taken`. They belong to the learning curve, and to nothing else.

    `true_returns` are the undiscounted sums of `info["true_reward"]` over all `episodes`, and then over all
    `open_episodes`; none where the task does not report it.

    `policy` is the last one. A run that diverged has none, since its numbers are not finite; one that its task stopped
    has the policy that it had then.

    `evaluations` are the episodes of the evaluations in the middle of the training, in the order of their steps. Of
    them no step counts and nothing is learned.

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
    true_returns: list[float] = field(default_factory=list)
    policy: KeptPolicy | None = None
    evaluations: list[EvaluationEpisode] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PHASES, 0.0))

    def to_pandas(self) -> "pd.DataFrame":
        """The training's episodes, one a row, in the order of their ends: the columns of a run's episodes.csv."""
        import pandas as pd  # takes half a second, and a run needs none

        table = pd.DataFrame(self.episodes, columns=["step", "return", "length", "start"])
        return table.assign(true_return=self.true_returns[: len(table)]) if self.true_returns else table

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

    def copy(self, seconds: Mapping[str, float]) -> "Run":
        """The run of a training that goes on, as it is now, with these seconds."""
        lists = {name: getattr(self, name).copy() for name in ("episodes", "updates", "checkpoints", "evaluations")}
        return replace(self, seconds=dict(seconds), **lists)

    def stop(self, at: StoppedByTask) -> None:
        """End the run as stopped by its task."""
        self.stopped_by_task, self.evaluation = True, None
        self.diverged_at = self.steps_taken if at.of else at.step
        self.diverged_because = at.reason


def means(records: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of every scalar, by its name, over the records that have it."""
    names = dict.fromkeys(name for record in records for name in record)
    return {name: float(np.mean([record[name] for record in records if name in record])) for name in names}


class UpdateTable:
    """The update table: a row per 1/200 of the budget, with means over the updates in it.

    An update of more than 1/200 of the budget has a row of its own. `budget` is in environment steps.
    """

    def __init__(self, budget: int) -> None:
        self.rows: list[dict[str, float]] = []
        self._budget = budget
        self._records: list[dict[str, float]] = []
        self._closed_at = 0

    def add(self, record: dict[str, float]) -> None:
        """Add an update's scalars, by name, to the present row."""
        self._records.append(record)

    def row_is_due(self, step: int) -> bool:
        """Whether `step` is in a later interval of the budget than the end of the last row."""
        return self._interval(step) > self._interval(self._closed_at)

    def close_row(self, step: int, diagnostics: dict[str, float]) -> None:
        """End the row at `step`, with the means of its updates and with the diagnostics of the latest update."""
        self.rows.append({"step": step, "updates": len(self._records), **means(self._records), **diagnostics})
        self._records, self._closed_at = [], step

    def snapshot(self) -> Snapshot:
        """All that later rows depend on, but the rows."""
        return {"records": self._records.copy(), "closed_at": self._closed_at}

    def restore(self, snapshot: Snapshot, rows: list[dict[str, float]]) -> None:
        """Go on as the table whose `snapshot` this is, and which had these `rows`."""
        self.rows, self._records, self._closed_at = rows, snapshot["records"], snapshot["closed_at"]

    def _interval(self, step: int) -> int:
        return step * RECORDED_ROWS // self._budget  # integers, so that exactly the last step begins the last interval


@dataclass
class Trained:
    """What a training has made until now: the run without an evaluation, and what all that follows depends on.

    Where the training has `ended`, `state` is the learner's arrays. Otherwise it is at the end of an update, and
    `state` is all that the next one depends on.
    """

    run: Run
    state: Snapshot
    ended: bool = True


OnBoundary: TypeAlias = Callable[[Run, Callable[[], Trained]], None]  # see `training.train`
