"""What made the results."""

from typing import Any

import pandas as pd

from analysis.sections.provenance.tables import MAKERS
from analysis.words import count, enumerate_text


def provenance(table: pd.DataFrame) -> dict[str, list[tuple[str, str, str]]]:
    """kind → its (name, value, and what it made: 210 runs, 10 studies and 1 probe)."""
    return {
        kind: [(row["name"], row["value"], made_text(row)) for row in rows.to_dict("records")]
        for kind, rows in table.groupby("kind", sort=False)
    }


def made_text(row: dict[str, Any]) -> str:
    return enumerate_text(
        f"{count(row[plural])} {kind if row[plural] == 1 else plural}" for kind, plural in MAKERS.items() if row[plural]
    )
