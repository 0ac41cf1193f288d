"""results/<grid>/runs, tuning, probes and speed → results/<grid>/tables: tidy CSV files with their keys as columns."""

import sys
from collections import Counter

import pandas as pd

from .command import results_argument, run_command
from .making import Maker
from .problems import in_words, write_problems
from .reading.grid import Grid, read_grid
from .reading.jobs import STATES
from .reading.tables import table_file, write_table
from .sections import TABLES, SectionError


def main() -> None:
    """The command line."""
    arguments = results_argument("analysis.tables", "Make tables from runs.").parse_args()
    grid = read_grid(arguments.results)
    maker = Maker({"grid": grid})
    problems = {}
    for name in TABLES:
        try:
            write_table(grid.folder, name, maker.table(name))
        except SectionError as error:
            problems[name] = str(error)
            table_file(grid.folder, name).unlink(missing_ok=True)  # an earlier one would pass for this one
    write_problems(grid.folder / "tables", problems)
    print(
        f"{grid.folder / 'tables'}: {len(TABLES) - len(problems)} tables of {len(grid.cells)} cells "
        f"({counted(maker)}).\n{in_words(problems)}",
        end="",
        file=sys.stderr,
    )
    sys.exit(1 if problems else 0)


def counted(maker: Maker) -> str:
    """How many cells are in each state: 8 done, 2 missing."""
    counts = Counter(state for _, state, _ in maker.source("states"))
    return ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])


def make_tables(grid: Grid) -> dict[str, pd.DataFrame]:
    """Every table of every section, by name. Raises SectionError at the first that a section cannot make."""
    maker = Maker({"grid": grid})
    return {name: maker.table(name) for name in TABLES}


if __name__ == "__main__":
    run_command(main, "analysis.tables")
