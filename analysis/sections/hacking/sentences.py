"""What the page says of true returns."""

from typing import Any

import pandas as pd

from ...reading.grid import Grid
from ...words import fixed


def page(grid: Grid, true_peaks: pd.DataFrame) -> dict[str, Any] | None:
    """A sentence for each task and algorithm with true returns; None where no task reports a true reward."""
    if true_peaks.empty:
        return None
    return {
        "sentences": [
            f"{grid.title(row.algorithm)} on {row.task}: the true return is highest, {fixed(row.peak_true)}, at "
            f"{row.peak_step:,.0f} steps, where the proxy is {fixed(row.peak_proxy)}; at the end it is "
            f"{fixed(row.end_true)}, and the proxy {fixed(row.end_proxy)}."
            for row in true_peaks.itertuples()
        ]
    }
