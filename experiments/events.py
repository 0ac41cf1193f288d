"""Event files for TensorBoard: a run's returns, diagnostics and evaluations against environment steps."""

import importlib.util
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from policy_gradient_ladder.core.run import EvaluationEpisode, Run, Trained
from policy_gradient_ladder.core.vector_env import Episode

from .checks import GridError

LOG = "POLICY_GRADIENT_LADDER_LOG"  # in the environment of a job: what `--log` is where a command line has none
LOGS = ("tensorboard",)
POINTS = 1000  # of the curve of training returns, at most


def check_log(name: str) -> None:
    """Raise GridError, with what to do, where a kind of log does not exist or its package is missing."""
    if name not in LOGS:
        raise GridError(f"log must be {' or '.join(LOGS)}, not {name!r}")
    if importlib.util.find_spec("tensorboard") is None:
        raise GridError(
            "event files need the package tensorboard, which is not installed: pip install "
            "'policy-gradient-ladder[tensorboard]', or pip install tensorboard"
        )


class EventFiles:
    """Writes the event files of one run into `folder`, in place of those that are there.

    `steps` is the run's budget. A training that goes on from its middle is written from its beginning.
    """

    def __init__(self, folder: Path, steps: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # takes half a second, and most runs have no event files

        shutil.rmtree(folder, ignore_errors=True)
        self._writer = SummaryWriter(str(folder))
        self._every = max(steps // POINTS, 1)
        self._due = 0
        self._episodes = self._updates = self._evaluations = 0  # how many are written

    def on_update(self, step: int, episodes: Sequence[Episode]) -> None:
        """Write the mean return and length of the episodes that have ended since the last point; for `train`."""
        if step >= self._due:
            self._due = step + self._every
            self._write_episodes(step, episodes)

    def on_boundary(self, run: Run, pause: Callable[[], Trained]) -> None:
        """Write the rows of the update table and the evaluations that are new; for `train`."""
        for row in run.updates[self._updates :]:
            for name in row.keys() - {"step", "updates"}:
                self._write(f"updates/{name}", row[name], int(row["step"]))
        self._updates = len(run.updates)
        self._write_evaluations(run.evaluations[self._evaluations :])
        self._evaluations = len(run.evaluations)

    def close(self, run: Run) -> None:
        """Write what is left of a run that has ended, and its final evaluation, and end the files."""
        self._write_episodes(run.steps_taken, run.episodes)
        self.on_boundary(run, lambda: Trained(run, {}))
        for kind, evaluation in (run.evaluation or {}).items():
            self._write(f"final_evaluation/{kind}_return", np.mean(evaluation.returns), run.steps_taken)
            self._write(f"final_evaluation/{kind}_length", np.mean(evaluation.lengths), run.steps_taken)
        self._writer.close()

    def _write_episodes(self, step: int, episodes: Sequence[Episode]) -> None:
        if new := episodes[self._episodes :]:
            self._write("episodes/return", np.mean([e.return_ for e in new]), step)
            self._write("episodes/length", np.mean([e.length for e in new]), step)
            self._episodes = len(episodes)

    def _write_evaluations(self, episodes: Iterable[EvaluationEpisode]) -> None:
        points: dict[tuple[str, int], list[EvaluationEpisode]] = {}
        for episode in episodes:
            points.setdefault((episode.kind, episode.step), []).append(episode)
        for (kind, step), of_point in points.items():
            self._write(f"evaluation/{kind}_return", np.mean([e.return_ for e in of_point]), step)
            self._write(f"evaluation/{kind}_length", np.mean([e.length for e in of_point]), step)

    def _write(self, name: str, value: float, step: int) -> None:
        self._writer.add_scalar(name, value, step)
