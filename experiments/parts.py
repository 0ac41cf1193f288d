"""A part of a grid: some of its runs, to be made now and here, and the others later or elsewhere."""

from fnmatch import filter as matching

from policy_gradient_ladder.core.algorithm import nearest_first

from .cells import Grid
from .checks import GridError


def part_of(grid: Grid, only: str | None) -> list[str]:
    """The folders of the runs that belong to a part of the grid, relative to its results; of all of them for None.

    only: names of tasks and of algorithms, and seeds, parted by commas; `*` stands for any text. A run belongs to the
    part where its task, its algorithm and its seed are named. Where no task is named, all tasks belong, and so for
    algorithms and seeds. Raises GridError for a word that names nothing, and where there is no word.
    """
    cells = grid.cells()
    words = [] if only is None else [word.strip() for word in only.split(",")]
    seeds = [str(seed) for seed in sorted({cell.seed for cell in cells})]
    known = {"task": list(grid.tasks), "algorithm": list(grid.algorithms), "seed": seeds}
    for word in words:
        if not any(matching(names, word) for names in known.values()):
            choices = nearest_first(word, [name for names in known.values() for name in names])
            nothing = "nothing before or behind a comma" if len(words) > 1 else "nothing"
            has = repr(word) if word else nothing
            raise GridError(f"{grid.path}: only={only} has {has}, no task, algorithm or seed of the grid; {choices}")
    named = {kind: {name for word in words for name in matching(names, word)} for kind, names in known.items()}
    belongs = {kind: named[kind] or set(names) for kind, names in known.items()}
    return [cell.directory for cell in cells if all(str(vars(cell)[kind]) in belongs[kind] for kind in known)]
