"""results/<grid>/tables and figures → results/<grid>/report: index.html, one page that opens offline; report.md, the
same in short for reading on a code host; summary.json for machines.

The page begins with the headline and with what sections put on the first screen; then it is a loop over sections. What
a section could not make is said in its place, and everything else is made.
"""

import json
import re
import sys
from collections import Counter
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from policy_gradient_ladder.experiments.schema import MADE_OF, VIDEOS

from . import sections
from .command import results_argument, run_command
from .drawing import theme
from .making import Maker
from .page import templates
from .page.images import image, no_image, read_figure
from .page.live import Live
from .problems import Missing, made_tables, read_problems
from .reading.checks import digest, write_whole
from .reading.grid import Grid, read_grid
from .reading.tables import read_table, table_file
from .sections import FIGURE_KINDS, FIGURES, ORDER, SECTION_OF_TABLE, TABLES, TITLES, SectionError
from .statistics import scores as statistics
from .summary import summary_json
from .words import enumerate_text, plural


def main() -> None:
    """Write the report of a results folder; exit status 1 where something of it is missing."""
    arguments = results_argument("analysis.report", "Make the report from tables and figures.").parse_args()
    missing = write_report(read_grid(arguments.results))
    path = arguments.results / "report" / "index.html"
    said = "".join(f"error: {sentence}\n" for sentence in missing)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB.\n{said}", end="", file=sys.stderr)
    sys.exit(1 if missing else 0)


def write_report(grid: Grid) -> list[str]:
    """Write the report's files, and beside them sizes and digests of these and of all that they were made of, for
    `analysis.verify`. Returns a sentence for every reason for which something is missing.

    Raises ResultsError where a table or figure is not there, or is spoilt, for no reason that was noted.
    """
    folder = grid.folder / "report"
    texts, missing = contents(grid)
    for name, text in texts.items():
        write_whole(folder / name, text.encode())
    made = [grid.folder / "grid.json", *(folder / name for name in texts)]
    made += [table_file(grid.folder, name) for name in TABLES]
    made += [grid.folder / "figures" / f"{name}.{kind}" for name in FIGURES for kind in FIGURE_KINDS]
    made += sorted(grid.folder.glob(f"{VIDEOS}/*/*/*"))
    files = {file.relative_to(grid.folder).as_posix(): digest(file) for file in made if file.exists()}
    write_whole(folder / MADE_OF, (json.dumps({"files": files}, indent=1) + "\n").encode())
    return missing


def report_texts(grid: Grid) -> dict[str, str]:
    """The report's files by name, from the tables and figures that are there."""
    return contents(grid)[0]


def contents(grid: Grid) -> tuple[dict[str, str], list[str]]:
    """The report's files by name, and a sentence for every reason for which something is missing in them."""
    unmade, undrawn = (read_problems(grid.folder / kind) for kind in ("tables", "figures"))
    for name in TABLES:
        if name not in unmade and not table_file(grid.folder, name).exists():
            read_table(grid.folder, name)  # which says so, also of a table that nothing on the page is made from
    drawn = {name: read_figure(grid.folder, name) for name in FIGURES if name not in undrawn}
    return texts(Maker({"grid": grid}, read=made_tables(grid.folder)), drawn, undrawn, unmade)


def texts(
    maker: Maker, drawn: dict[str, str], undrawn: dict[str, str] | None = None, unmade: dict[str, str] | None = None
) -> tuple[dict[str, str], list[str]]:
    """The same from a maker that knows the grid and reads tables, the text of every figure's SVG, and why the other
    figures and tables are not there.
    """
    frame, summary = page_frame(maker, drawn, undrawn or {}, unmade or {})
    pages = {kind: templates.page(kind, frame) for kind in templates.KINDS}
    made = {"index.html": pages["html"], "report.md": pages["md"] + "\n", "summary.json": summary}
    return made, frame["missing"]


def page_frame(
    maker: Maker, drawn: dict[str, str], undrawn: dict[str, str], unmade: dict[str, str], live: Live | None = None
) -> tuple[dict[str, Any], str]:
    """What the templates of the page show, with every section made, and summary.json. live: what the page says of a
    grid that goes on; such a page links to no tables, which are not written.
    """
    grid, missing = maker.known["grid"], Missing()
    for name, why in unmade.items():
        missing.add(SECTION_OF_TABLE.get(name, name), f"the table {name}.csv", why)
    frame = {
        "grid": grid,
        "looks": theme.looks(list(grid.algorithms)),
        "run_resamples": statistics.RUN_RESAMPLES,
        "unmade": unmade,
        "live": live,
    }
    shown = [section_of(name, maker, frame, drawn, undrawn, missing) for name in ORDER]
    shown = [section for section in shown if section is not None]
    summary = summary_json(maker, missing)
    frame |= {
        "sections": shown,
        "headline": json.loads(summary)["headline"] or "The headline is missing; “Keep in mind” says why.",
        "lead": f"{compared(grid)}. {LEAD}",
        "missing": missing.sentences(),
        "cautions": [in_short(caution) for section in shown for caution in section.cautions],
    }
    return frame, summary


LEAD = (
    "Each rung of the ladder changes the weight on ∇ log π, or how it is used. The weight is the return or an "
    "estimate of the advantage: how much better an action is than the policy’s average. Networks, optimiser, "
    "preprocessing and the counting of environment steps are shared. Learning rates, γ, the number of environments "
    "and the like are each algorithm’s own, tuned where the grid tunes them. Every run is shown; every average says "
    "how many runs it is over."
)


@dataclass(frozen=True)
class Section:
    """A section as the page shows it."""

    name: str
    title: str
    inside: dict[str, Markup]  # html, md: what stands below its heading
    first: dict[str, Markup]  # html, md: what of it stands on the first screen
    headline: list[str]  # the sentences that open it
    cautions: list[str]  # what a reader of the page should know first
    missing: list[str]  # what of it could not be made, and why
    anchors: list[str]  # figures that nothing on the page shows, which other sections may link to


def section_of(
    name: str, maker: Maker, frame: dict[str, Any], drawn: dict[str, str], undrawn: dict[str, str], missing: Missing
) -> Section | None:
    """A section, from the text of each figure's SVG and from why the others were not drawn; None where it has nothing
    to say in this grid. What it lacks is added to `missing`.
    """
    title = TITLES[name]
    lacks: list[tuple[str, str]] = []
    figures = {}
    for figure, (section, figure_title) in FIGURES.items():
        if section == name:
            try:
                if figure in undrawn:
                    raise SectionError(undrawn[figure])
                figures[figure] = image(maker.known["grid"], figure, drawn[figure], maker)
            except SectionError as error:
                figures[figure] = no_image(figure)
                lacks.append((f"the figure “{figure_title}”", str(error)))
    try:
        said = told(name, "page", {}, maker, figures=figures)
        if said is None:
            return None
        offered = frame | {"figures": figures, "tables": list(sections.constants(name, "TABLES")), "title": title}
        inside = {kind: templates.inside(kind, name, said, offered) for kind in templates.KINDS}
        first = {kind: templates.first(kind, name, said, offered) for kind in templates.KINDS}
    except SectionError as error:
        inside = first = dict.fromkeys(templates.KINDS, Markup(""))
        lacks = [(f"the section “{title}”", str(error))]
    at_the_top = {}
    for part in ("headline", "cautions"):
        try:
            at_the_top[part] = told(name, part, [], maker)
        except SectionError as error:
            at_the_top[part] = []
            if (f"the section “{title}”", str(error)) not in lacks:
                lacks.append((f"the {part} of the section “{title}”", str(error)))
    for what, why in lacks:
        missing.add(name, what, why)
    anchors = [] if any(inside.values()) else list(figures)
    return Section(name, title, inside, first, **at_the_top, missing=missing.sentences(name), anchors=anchors)


def told(section: str, part: str, default: Any, maker: Maker, **given: Any) -> Any:
    """What this function of the section's sentences.py returns, which is of the default's type; the default where there
    is no such function. A page may be None.
    """
    module = sections.part(section, "sentences")
    function = getattr(module, part, None)
    if module is None or function is None:
        return default
    value = maker.call(function, module, **given)
    if not isinstance(value, type(default)) and not (part == "page" and value is None):
        raise SectionError(
            f"{sections.file_of(module)}: {part} returns {type(value).__name__}; it must be a {type(default).__name__}."
        )
    for sentence in value if isinstance(value, list) else ():
        if not isinstance(sentence, str):
            raise SectionError(f"{sections.file_of(module)}: {part} has {sentence!r:.60}; it must be a list of texts.")
    return value


def in_short(caution: str) -> dict[str, str]:
    """A caution as its first sentence, which the page shows, and the rest, which a reader can unfold."""
    first, *rest = re.split(r"(?<=[.!?]) (?=[A-Z])", caution, maxsplit=1)
    return {"first": first, "rest": " ".join(rest)}


def compared(grid: Grid) -> str:
    """5 policy-gradient algorithms (PPO also with other settings) on 7 tasks; one that is there twice counts once."""
    modules = Counter(about["module"] for about in grid.algorithms.values())
    first = {about["module"]: about["title"] for about in reversed(grid.algorithms.values())}
    variants = [first[module] for module, times in modules.items() if times > 1]
    also = f" ({enumerate_text(variants)} also with other settings)" if variants else ""
    return f"{plural(len(modules), 'policy-gradient algorithm')}{also} on {plural(len(grid.tasks), 'task')}"


if __name__ == "__main__":
    run_command(main, "analysis.report")
