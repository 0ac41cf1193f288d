"""results/<grid>/tables → results/<grid>/figures: one function per figure, DataFrames in, Figure out."""

import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.backends.backend_pdf import PdfPages
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
from .sections import AVERAGES, FIGURE_KINDS, FIGURES, TABLES, SectionError

OVER_TASKS = {"task", "group"}  # a table about algorithms without one of these columns is over all tasks


def main() -> None:
    """The command line."""
    parser = results_argument("analysis.figures", "Draw figures from tables.")
    parser.add_argument("--figure", help=f"only this one of {', '.join(FIGURES)}")
    parser.add_argument("--algorithms", nargs="+", metavar="NAME", help="only these of the grid's algorithms")
    parser.add_argument("--tasks", nargs="+", metavar="TASK", help="only these of the grid's tasks")
    parser.add_argument("--output", type=Path, metavar="DIR", help="where to; of a choice: RESULTS/figures/chosen")
    parser.add_argument(
        "--kind", nargs="+", choices=FIGURE_KINDS, default=FIGURE_KINDS, help="kinds of files, all by default"
    )
    arguments = parser.parse_args()
    if arguments.figure:
        check_names("figure", [arguments.figure], FIGURES)
    grid = read_grid(arguments.results)
    theme.apply()
    names = [arguments.figure] if arguments.figure else list(FIGURES)
    if arguments.output:
        check_folder(arguments.output)
    if arguments.algorithms or arguments.tasks:
        folder = arguments.output or grid.folder / "figures" / "chosen"
        chosen = choose(grid, arguments.algorithms, arguments.tasks)
        names = [name for name in names if is_of_algorithms(name)]
        problems = draw_all(chosen, names, folder, arguments.kind, tables_of_choice(grid, chosen), grid)
    else:
        folder = arguments.output or grid.folder / "figures"
        problems = draw_all(grid, names, folder, arguments.kind)
        if not arguments.output:
            earlier = read_problems(folder) if arguments.figure else {}
            write_problems(folder, {name: why for name, why in earlier.items() if name not in names} | problems)
    drawn = [name for name in names if name not in problems]
    kinds = ", ".join(arguments.kind)
    print(f"{folder}: {', '.join(drawn) or 'no figure'} ({kinds}).\n{in_words(problems)}", end="", file=sys.stderr)
    sys.exit(1 if problems else 0)


def check_folder(folder: Path) -> None:
    """Make the folder, unless it is there. Raises ResultsError, before anything is drawn, where that is impossible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = "is a file" if folder.is_file() else f"cannot be made: {error.strerror}"
        raise ResultsError(f"--output: {folder} {what}; give another folder") from error


def draw_all(
    grid: Grid,
    names: list[str],
    folder: Path,
    kinds: Sequence[str],
    table: Callable[[str], pd.DataFrame] | None = None,
    whole: Grid | None = None,
) -> dict[str, str]:
    """Draw these figures into a folder; returns, by its name, why one could not be drawn."""
    problems = {}
    for name in names:
        try:
            write_figure(grid, name, folder, kinds, table, whole)
        except SectionError as error:
            problems[name] = str(error)
            for kind in kinds:
                (folder / f"{name}.{kind}").unlink(missing_ok=True)  # an earlier one would pass for this one
    return problems


def check_names(option: str, names: Sequence[str], valid: Iterable[str]) -> None:
    """Raise ResultsError where one of an option's names is none of the valid ones."""
    valid = list(valid)
    for name in names:
        if name not in valid:
            kind = option.removesuffix("s")
            raise ResultsError(f"--{option} {name}: no such {kind}; valid are {valid_choices(name, valid)}.")


def choose(grid: Grid, algorithms: Sequence[str] | None, tasks: Sequence[str] | None) -> Grid:
    """The grid with some of its algorithms and tasks alone, in the grid's order; None: all of them.

    Raises ResultsError where the grid has no algorithm or task of a name, and where it asks for no run of the chosen.
    """
    check_names("algorithms", algorithms or [], grid.algorithms)
    check_names("tasks", tasks or [], grid.tasks)
    kept = {name: about for name, about in grid.algorithms.items() if not algorithms or name in algorithms}
    places = {name: about for name, about in grid.tasks.items() if not tasks or name in tasks}
    cells = [cell for cell in grid.cells if cell["algorithm"] in kept and cell["task"] in places]
    if not cells:
        raise ResultsError(f"{grid.folder}: the grid runs none of {', '.join(kept)} on {', '.join(places)}.")
    left_out = set(grid.tasks) - set(places)
    return replace(
        grid,
        algorithms=kept,
        tasks=places,
        cells=cells,
        all_probes=[probe for probe in grid.all_probes if probe["task"] not in left_out],
        studies=[study for study in grid.studies if study["algorithm"] in kept],
    )


def tables_of_choice(grid: Grid, chosen: Grid) -> Callable[[str], pd.DataFrame]:
    """What gives the tables of a choice by their names: the rows of the chosen. A table of averages over tasks is made
    anew from the chosen tasks alone.
    """
    read = made_tables(grid.folder)
    left_out = set(grid.tasks) - set(chosen.tasks)
    known: dict[str, Any] = {"grid": chosen}
    for name, columns in TABLES.items():
        if OVER_TASKS.isdisjoint(columns) and "algorithm" in columns:
            continue
        with suppress(SectionError):  # whoever asks for this table is told why it is not there
            table = only(read(name), list(chosen.algorithms))
            known[name] = table[~table["task"].isin(left_out)] if "task" in table else table
    return Maker(known).table


def is_of_algorithms(figure: str) -> bool:
    """Whether a figure shows algorithms of the grid, so that some of them can be chosen."""
    return any("algorithm" in TABLES[name] for name in tables_behind(figure))


def write_figure(
    grid: Grid,
    name: str,
    folder: Path | None = None,
    kinds: Sequence[str] = FIGURE_KINDS,
    table: Callable[[str], pd.DataFrame] | None = None,
    whole: Grid | None = None,
) -> None:
    """Write <name>.svg, .png and .pdf into a folder, that of the grid's figures if None; what else it takes is as in
    `drawn`.
    """
    for kind, image in drawn(grid, name, kinds, table, whole).items():
        write_whole((folder or grid.folder / "figures") / f"{name}.{kind}", image)


def drawn(
    grid: Grid,
    name: str,
    kinds: Sequence[str] = FIGURE_KINDS,
    table: Callable[[str], pd.DataFrame] | None = None,
    whole: Grid | None = None,
) -> dict[str, bytes]:
    """The named figure's files, by their kinds. table: gives tables by their names, those of the results if None.
    whole: the grid of which this one is a choice, whose colours and markers the chosen algorithms keep.

    More algorithms than can be told apart in one figure have one for each group of them, one below the other; a PDF
    has a page for each.
    """
    every = list((whole or grid).algorithms)
    groups = [[one for one in group if one in grid.algorithms] for group in theme.groups(every)]
    parts: list[dict[str, bytes]] = []
    pages = BytesIO()
    bitmap = ("svg", "png") if "png" in kinds else ("svg",)
    with theme.looks_of(every), PdfPages(pages, metadata={"CreationDate": None}) as pdf:
        for group in filter(None, groups) if every else groups:
            figure = draw(grid, name, group, table)
            part = images(figure, name, bitmap, pdf if "pdf" in kinds else None, parts)
            parts += [part] if part not in parts else []  # a figure without algorithms is the same for all groups
    files = {kind: theme.stacked([part[kind] for part in parts], kind) for kind in ("svg", "png") if kind in kinds}
    return files | ({"pdf": pages.getvalue()} if "pdf" in kinds else {})


def images(
    figure: Figure,
    name: str,
    kinds: Sequence[str] = ("svg", "png"),
    pdf: PdfPages | None = None,
    others: Sequence[dict[str, bytes]] = (),
) -> dict[str, bytes]:
    """The figure as SVG, PNG or both, by kind; closes it. It is also a further page of `pdf`, where it is none of
    `others`.

    Raises SectionError where it cannot be drawn, by a formula that is none, say.
    """
    try:
        made = {}
        for kind in kinds:
            made[kind] = theme.image_bytes(figure, kind)
            figure.set_layout_engine(None)  # what the first kind has laid out stays
        if pdf and made not in others:
            pdf.savefig(figure)
    except MemoryError:
        raise
    except Exception as error:
        file = f"analysis/sections/{FIGURES[name][0]}/figures.py"
        raise sections.failed(f"{file}: what {name} returns, when it is saved,", error) from error
    finally:
        plt.close(figure)
    return made


def draw(
    grid: Grid,
    name: str,
    algorithms: list[str] | None = None,
    table: Callable[[str], pd.DataFrame] | None = None,
) -> Figure:
    """The named figure, of some algorithms of the grid or of all (None), from what `table` gives by the names of
    tables (None: the tables of the results). In one that shows averages over runs, algorithms that lack some are
    marked; what is lacking is said above it.

    Raises SectionError where its section cannot draw it, or could not make a table that it is made from.
    """
    module, function = sections.function(FIGURES[name][0], "figures", name)
    table = table or made_tables(grid.folder)
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
        return without_jobs(grid, table("ledger_jobs"), grid.studies)
    asked = {
        "probes": [probe for probe in grid.probes if not probe["exact"]],
        "exact problems": [probe for probe in grid.probes if probe["exact"]],
        "estimator problems": grid.estimator_probes,
        "quality probes": grid.quality_probes,
    }
    return without_jobs(grid, table("ledger_jobs"), asked[over]) if over in asked else ""


def marked(grid: Grid, algorithms: set[str]) -> Grid:
    """The grid with a mark behind the titles of these algorithms."""
    about = {
        name: {**values, "title": f"{values['title']} {MARK}"} if name in algorithms else values
        for name, values in grid.algorithms.items()
    }
    return replace(grid, algorithms=about)


if __name__ == "__main__":
    run_command(main, "analysis.figures")
