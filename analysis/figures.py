"""results/<grid>/tables → results/<grid>/figures: one function per figure, DataFrames in, Figure out."""

import sys
from collections.abc import Callable
from dataclasses import replace

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from . import sections
from .command import results_argument, run_command
from .drawing import theme
from .drawing.panels import headnote
from .lacking import MARK, shortfall_text, shortfalls, without_jobs
from .making import Maker, tables_named
from .problems import in_words, made_tables, read_problems, write_problems
from .reading.checks import ResultsError, valid_choices, write_whole
from .reading.grid import Grid, read_grid
from .sections import AVERAGES, FIGURES, SectionError

KINDS = ("svg", "png")


def main() -> None:
    """The command line."""
    parser = results_argument("analysis.figures", "Draw figures from tables.")
    parser.add_argument("--figure", help=f"only this one of {', '.join(FIGURES)}")
    arguments = parser.parse_args()
    if arguments.figure and arguments.figure not in FIGURES:
        raise ResultsError(
            f"--figure {arguments.figure}: no such figure; valid are {valid_choices(arguments.figure, FIGURES)}."
        )
    grid = read_grid(arguments.results)
    theme.apply()
    names = [arguments.figure] if arguments.figure else list(FIGURES)
    folder = grid.folder / "figures"
    problems = {}
    for name in names:
        try:
            write_figure(grid, name)
        except SectionError as error:
            problems[name] = str(error)
            for kind in KINDS:
                (folder / f"{name}.{kind}").unlink(missing_ok=True)  # an earlier one would pass for this one
    others = {} if not arguments.figure else {n: why for n, why in read_problems(folder).items() if n not in names}
    write_problems(folder, others | problems)
    drawn = [name for name in names if name not in problems]
    print(f"{folder}: {', '.join(drawn) or 'no figure'} (svg, png).\n{in_words(problems)}", end="", file=sys.stderr)
    sys.exit(1 if problems else 0)


def write_figure(grid: Grid, name: str) -> None:
    """results/<grid>/figures/<name>.svg and .png.

    More algorithms than can be told apart in one figure have one for each group of them, one below the other.
    """
    drawn = [images(draw(grid, name, group), name) for group in theme.groups(list(grid.algorithms))]
    for kind in KINDS:
        parts = list(dict.fromkeys(of[kind] for of in drawn))  # a figure without algorithms is the same for all groups
        write_whole(grid.folder / "figures" / f"{name}.{kind}", theme.stacked(parts, kind))


def images(figure: Figure, name: str) -> dict[str, bytes]:
    """The figure's files, by their kinds; closes it. Raises SectionError where it cannot be drawn, by a formula that is
    none, say.
    """
    try:
        return {kind: theme.image_bytes(figure, kind) for kind in KINDS}
    except MemoryError:
        raise
    except Exception as error:
        file = f"analysis/sections/{FIGURES[name][0]}/figures.py"
        raise sections.failed(f"{file}: what {name} returns, when it is saved,", error) from error
    finally:
        plt.close(figure)


def draw(grid: Grid, name: str, algorithms: list[str] | None = None) -> Figure:
    """The named figure, of some algorithms of the grid or of all (None). In one that shows averages over runs,
    algorithms that lack some are marked; what is lacking is said above it.

    Raises SectionError where its section cannot draw it, or could not make a table that it is made from.
    """
    module, function = sections.function(FIGURES[name][0], "figures", name)
    table = made_tables(grid.folder)
    text = lacking(grid, name, table)
    shown = grid
    if AVERAGES.get(name) == "runs":
        shown = marked(grid, set(shortfalls(table("summary"))["algorithm"]))
    read = table
    if algorithms is not None and len(algorithms) < len(grid.algorithms):
        shown = replace(shown, algorithms={chosen: shown.algorithms[chosen] for chosen in algorithms})

        def read(table_name: str) -> pd.DataFrame:
            return only(table(table_name), algorithms)

    figure = Maker({"grid": shown}, read=read).call(function, module)
    if not isinstance(figure, Figure):
        raise SectionError(
            f"{sections.file_of(module)}: {name} returns {type(figure).__name__}; it must be a Matplotlib Figure."
        )
    if text:
        headnote(figure, text)
    return figure


def only(table: pd.DataFrame, algorithms: list[str]) -> pd.DataFrame:
    """The rows of a table that are about no other algorithms than these."""
    for column in ("algorithm", "other"):
        if column in table:
            table = table[table[column].isin(algorithms) | table[column].isna()]
    return table


def tables_behind(name: str) -> list[str]:
    """The tables that a figure is made from: the parameters of its function name them."""
    module, function = sections.function(FIGURES[name][0], "figures", name)
    return tables_named(function, module)


def lacking(grid: Grid, name: str, table: Callable[[str], pd.DataFrame]) -> str:
    """Which runs, studies or probes the named figure is made without, by the tables of these names; empty where there
    are all.
    """
    over = AVERAGES.get(name)
    if over == "runs":
        return shortfall_text(grid, table("summary"))
    if over == "studies":
        return without_jobs(grid, table("ledger_jobs"), "study")
    if over in ("probes", "exact problems"):
        return without_jobs(grid, table("ledger_jobs"), "probe", exact=over == "exact problems")
    return ""


def marked(grid: Grid, algorithms: set[str]) -> Grid:
    """The grid with a mark behind the titles of these algorithms."""
    about = {
        name: {**values, "title": f"{values['title']} {MARK}"} if name in algorithms else values
        for name, values in grid.algorithms.items()
    }
    return replace(grid, algorithms=about)


if __name__ == "__main__":
    run_command(main, "analysis.figures")
