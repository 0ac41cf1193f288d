"""What the page says of actions in bins."""

from typing import Any

import pandas as pd

from ...reading.grid import Grid
from ...words import enumerate_text, fixed


def page(grid: Grid, bins: pd.DataFrame) -> dict[str, Any] | None:
    """A sentence for each algorithm and environment with several bins; None where no task has actions in bins."""
    if bins.empty:
        return None
    said = []
    for (environment, algorithm), of in bins[bins["bins"] > 0].groupby(["environment", "algorithm"], sort=False):
        scores = enumerate_text(f"{fixed(row.mean)} with {row.bins:.0f}" for row in of.sort_values("bins").itertuples())
        of_whom = f"{grid.title(algorithm)} on {environment}"
        said.append(f"Normalised score of the mode action of {of_whom}, bins a dimension: {scores}.")
    return {"sentences": said}
