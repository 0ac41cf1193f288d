"""What made the results."""

from typing import Any

import pandas as pd

from ...lacking import finished
from ...words import count, enumerate_text
from .tables import MAKERS


def page(provenance: pd.DataFrame, ledger: pd.DataFrame, scores: pd.DataFrame) -> dict[str, Any]:
    """What made the results: kind → its (name, value, and what it made: 210 runs, 10 studies and 1 probe); how many
    runs finished; their steps and seconds in all.
    """
    return {
        "made": {
            kind: [(row["name"], row["value"], made_text(row)) for row in rows.to_dict("records")]
            for kind, rows in provenance.groupby("kind", sort=False)
        },
        "finished": finished(ledger),
        "steps": scores["steps_taken"].sum(),
        "seconds": scores["seconds_total"].sum(),
    }


def made_text(row: dict[str, Any]) -> str:
    return enumerate_text(
        f"{count(row[plural])} {kind if row[plural] == 1 else plural}" for kind, plural in MAKERS.items() if row[plural]
    )
