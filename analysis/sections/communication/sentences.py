"""What the page says of communication."""

from typing import Any

import pandas as pd

from ...reading.grid import Grid
from ...words import count, enumerate_text, number


def page(grid: Grid, communication: pd.DataFrame) -> dict[str, Any] | None:
    """A sentence for each task: what each algorithm has sent in all; None where none sends anything."""
    if communication.empty:
        return None
    last = communication.groupby(["task", "algorithm"], sort=False).tail(1)
    said = []
    for task, rows in last.groupby("task", sort=False):
        sent = enumerate_text(
            f"{grid.title(row.algorithm)} {count(row.rounds)} rounds with {number(row.megabytes_sent)} MB"
            for row in rows.itertuples()
        )
        said.append(f"Sent in a run on {task}, in all directions: {sent}.")
    return {"sentences": said}
