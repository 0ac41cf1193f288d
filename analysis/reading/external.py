"""What can be said of runs that were made elsewhere, and what cannot be vouched for."""

from policy_gradient_ladder.experiments.schema import EXTERNAL

from ..words import enumerate_text, plural
from .grid import Grid

NOT_KNOWN = (
    "Nothing here vouches for how such runs were evaluated and seeded, for how observations and rewards were "
    "processed, for the versions they ran with, and that no run was left out"
)
SCORED = (
    "Their final score is the mean return of the last training episodes within the budget, as many as an evaluation "
    "has; other algorithms are evaluated on fresh environments after training"
)


def external_algorithms(grid: Grid) -> dict[str, int]:
    """The algorithms of a grid whose runs were made elsewhere, each with the number of its runs."""
    external = [name for name, about in grid.algorithms.items() if about.get(EXTERNAL)]
    return {name: sum(cell["algorithm"] == name for cell in grid.cells) for name in external}


def not_vouched_for(grid: Grid) -> list[str]:
    """A sentence on what a reader has to know of each algorithm whose runs were made elsewhere, and two on all."""
    found = external_algorithms(grid)
    made = [f"{grid.title(name)} ({plural(runs, 'run')})" for name, runs in found.items()]
    return (
        [f"Made elsewhere and read from files: {enumerate_text(made)}.", f"{NOT_KNOWN}.", f"{SCORED}."] if found else []
    )
