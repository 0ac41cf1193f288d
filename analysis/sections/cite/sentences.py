"""How to cite a grid's results."""

import re
from typing import Any

from analysis.reading.grid import Grid
from analysis.words import plural


def citation(grid: Grid, page: dict[str, Any]) -> str:
    """The BibTeX entry of this grid's results."""
    recorded = page["provenance"]
    versions = [value for name, value, _ in recorded.get("version", []) if name == "policy-gradient-ladder"]
    commits = [value for name, value, _ in recorded.get("commit", []) if name == "commit"]
    said = [
        *(f"version {value}" for value in versions),
        *(f"commit {value}" for value in commits),
        plural(page["ledger"]["total"]["done"] + page["ledger"]["total"]["diverged"], "run"),
    ]
    return (
        f"@misc{{policy_gradient_ladder_{re.sub(r'[^A-Za-z0-9]+', '_', grid.name)},\n"
        f"  title = {{Policy Gradient Ladder, grid {grid.name}}},\n"
        "  author = {{The developers of the Policy Gradient Ladder}},\n"
        f"  note = {{{', '.join(said)}}}\n"
        "}"
    )
