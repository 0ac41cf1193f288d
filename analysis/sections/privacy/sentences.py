"""What the page says of privacy."""

from typing import Any

import numpy as np
import pandas as pd

from ...reading.grid import Grid
from ...words import enumerate_text, fixed

WHAT = (
    "A run with an ε is (ε, δ)-differentially private: whoever sees all its policies, and knows everything but one "
    "episode and the seed, learns hardly more about that episode the smaller ε is. Neighbours differ in whether the "
    "gradient of the episode is there or 0. The records of a run are not private: returns, losses, evaluations."
)


def page(grid: Grid, privacy: pd.DataFrame) -> dict[str, Any] | None:
    """What ε is about, and the scores of each task by ε; None where no run is private."""
    if privacy.empty:
        return None
    said = [WHAT]
    for task, rows in privacy.groupby("task", sort=False):
        scores = enumerate_text(
            f"{fixed(row.mean)} by {grid.title(row.algorithm)} "
            + ("without privacy" if np.isinf(row.epsilon) else f"at ε {row.epsilon:g}, δ {row.delta:g}")
            for row in rows.sort_values("epsilon", ascending=False, kind="stable").itertuples()
        )
        said.append(f"Normalised final score on {task}: {scores}.")
    return {"sentences": said}
