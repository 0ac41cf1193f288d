"""How to cite a grid's results."""

import re
from typing import Any

import pandas as pd

from ...lacking import finished
from ...reading.grid import Grid
from ...words import plural


def page(grid: Grid, provenance: pd.DataFrame, ledger: pd.DataFrame) -> dict[str, Any]:
    """The entry to be copied."""
    return {"entry": citation(grid, provenance, ledger)}


def citation(grid: Grid, provenance: pd.DataFrame, ledger: pd.DataFrame) -> str:
    """The BibTeX entry of this grid's results: its versions, its commits and the number of its finished runs."""
    versions, commits = (
        provenance.loc[(provenance["kind"] == kind) & (provenance["name"] == name), "value"]
        for kind, name in (("version", "policy-gradient-ladder"), ("commit", "commit"))
    )
    said = [
        *(f"version {value}" for value in versions),
        *(f"commit {value}" for value in commits),
        plural(finished(ledger), "run"),
    ]
    return (
        f"@misc{{policy_gradient_ladder_{re.sub(r'[^A-Za-z0-9]+', '_', grid.name)},\n"
        f"  title = {{Policy Gradient Ladder, grid {grid.name}}},\n"
        "  author = {{The developers of the Policy Gradient Ladder}},\n"
        f"  note = {{{', '.join(said)}}}\n"
        "}"
    )
