"""The sections of the report. A section is a folder here, and its word in ORDER.

The face of a section, its `__init__.py`, holds constants alone:

    TITLE      the heading
    TABLES     table: its columns, in one text; an ellipsis at the end allows further columns behind these
    TEXT       the columns of these tables that hold text, in one text; all others hold numbers
    FIGURES    figure: its title
    AVERAGES   what the averages of the figures are over (runs, studies, probes or exact problems), in one word for all
               figures or as a mapping of those that show averages

`tables.py` has a function for every table, `figures.py` one for every figure, `captions/` a text for every figure.
`sentences.py` may have

    page(...)                 → dict: what the section says, by the names that its templates use; None: it is left out
    headline(...)             → list of sentences for the top of the page
    cautions(...)             → list of sentences under “Keep in mind”
    sample_text(figure, ...)  → n of the figure of this name, the last words of its caption; without this function, a
                              figure of averages over runs says how many runs there are

`page.html.j2` and `page.md.j2` are how it says that, below its heading. They have what `page` returns; grid; figures,
by name, for {{ image(figures.NAME) }}; and the macros and filters of analysis/page. Without templates (or without
`page`) a section shows its `sentences`, if `page` returns any, its figures, and links to its tables.

The parameters of a function name what it is made from: grid, a table of any section, what
analysis/reading/sources.py reads, or a function of the same file; of `page` also figures. A section has only the files
that it needs.
"""

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

ORDER = (  # in which a reader wants to know
    *("claims", "ranking", "learning", "laboratory", "tuning", "published", "scores", "speed"),
    *("settings", "definitions", "completeness", "provenance", "cite"),
)
FOLDER = Path(__file__).parent
HERE = "analysis/sections/__init__.py"
FURTHER = "…"
AVERAGES_ARE_OVER = ("runs", "studies", "probes", "exact problems")


class SectionError(Exception):
    """A section that does not keep its word, or that fails; the message names file and key."""


def file_of(module: ModuleType) -> str:
    """A module's file from the project's root on, as a message names it."""
    return module.__name__.replace(".", "/") + ("/__init__.py" if hasattr(module, "__path__") else ".py")


def failed(what: str, error: Exception) -> SectionError:
    """What to raise where `what`, a file and what was done with it, failed with this exception; on one line."""
    said = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(":. ")
    return SectionError(f"{what} failed with {said}.")


def constants(section: str, name: str) -> dict[str, Any]:
    """A mapping of a section's face; empty where the face does not have it."""
    return dict(getattr(FACES[section], name, {}))


def averages(section: str) -> dict[str, str]:
    """What the averages of each figure of a section are over; without the figures that show none."""
    over = getattr(FACES[section], "AVERAGES", {})
    return dict.fromkeys(constants(section, "FIGURES"), over) if isinstance(over, str) else dict(over)


def part(section: str, name: str) -> ModuleType | None:
    """The section's module of this name (tables, figures or sentences); None where it has no such file. Raises
    SectionError where it cannot be imported.
    """
    if not (FOLDER / section / f"{name}.py").is_file():
        return None
    try:
        return importlib.import_module(f"analysis.sections.{section}.{name}")
    except Exception as error:
        raise failed(f"analysis/sections/{section}/{name}.py: its import", error) from error


def function(section: str, kind: str, name: str) -> tuple[ModuleType, Callable[..., Any]]:
    """The module (of kind tables or figures) and the function of it that makes what the section declares as `name`."""
    module = part(section, kind)
    made = vars(module).get(name) if module else None
    if module is None or not callable(made):
        lacking = f"no function {name}" if module else "no such file"
        raise SectionError(
            f"analysis/sections/{section}/{kind}.py: {lacking}; {kind.upper()} in "
            f"analysis/sections/{section}/__init__.py declares {name!r}."
        )
    return module, made


def caption_file(figure: str) -> Path:
    """The file of a figure's caption."""
    return FOLDER / FIGURES[figure][0] / "captions" / f"{figure}.rst"


def check() -> None:
    """Raise SectionError where a section does not keep the word of ORDER or of its face: a folder, a title, a function
    or a caption is not there, two sections declare one name, or AVERAGES names what no average is over.
    """
    folders = sorted(file.parent.name for file in FOLDER.glob("*/__init__.py"))
    for section in ORDER:
        if section not in folders:
            raise SectionError(f"{HERE}: ORDER names {section!r}; there is no analysis/sections/{section}/__init__.py.")
    for section in folders:
        if section not in ORDER:
            raise SectionError(f"{HERE}: ORDER lacks {section!r}, which is a folder beside it.")
        if not isinstance(getattr(FACES[section], "TITLE", None), str):
            raise SectionError(f"{file_of(FACES[section])}: it needs a TITLE, which is text.")
        for kind in ("TABLES", "FIGURES"):
            for name, words in constants(section, kind).items():
                if not isinstance(words, str):
                    what = "its columns in one text" if kind == "TABLES" else "its title"
                    raise SectionError(f"{file_of(FACES[section])}: {kind} has {name!r}: {words!r}; it takes {what}.")
                first = SECTION_OF_TABLE[name] if kind == "TABLES" else FIGURES[name][0]
                if first != section:
                    raise SectionError(
                        f"{file_of(FACES[section])}: {kind} declares {name!r}, and so does {file_of(FACES[first])}."
                    )
                function(section, kind.lower(), name)
    for figure, (section, _) in FIGURES.items():
        if not caption_file(figure).is_file():
            raise SectionError(
                f"analysis/sections/{section}/captions/{figure}.rst: no such file; FIGURES in "
                f"{file_of(FACES[section])} declares {figure!r}."
            )
    for section in ORDER:
        for figure, over in averages(section).items():
            if figure not in constants(section, "FIGURES") or over not in AVERAGES_ARE_OVER:
                raise SectionError(
                    f"{file_of(FACES[section])}: AVERAGES has {figure!r}: {over!r}; it takes a name of FIGURES and one "
                    f"of {', '.join(AVERAGES_ARE_OVER)}."
                )


FACES = {
    section: importlib.import_module(f"analysis.sections.{section}")
    for section in ORDER
    if (FOLDER / section / "__init__.py").is_file()  # what is not there is said by check()
}
TITLES: dict[str, str] = {section: getattr(face, "TITLE", section) for section, face in FACES.items()}
TABLES: dict[str, tuple[str, ...]] = {}  # table: its columns
WITH_FURTHER: set[str] = set()  # tables that may have columns behind these
SECTION_OF_TABLE: dict[str, str] = {}
TEXT: dict[str, set[str]] = {}  # table: which of its columns hold text
FIGURES: dict[str, tuple[str, str]] = {}  # figure: its section and its title
AVERAGES: dict[str, str] = {}  # figure: what its averages are over
for _section, _face in FACES.items():
    for _name, _columns in constants(_section, "TABLES").items():
        _words = str(_columns).split()  # check() refuses what is not text
        if _name not in TABLES:
            TABLES[_name] = tuple(word for word in _words if word != FURTHER)
            TEXT[_name] = set(TABLES[_name]) & set(getattr(_face, "TEXT", "").split())
            SECTION_OF_TABLE[_name] = _section
        if FURTHER in _words:
            WITH_FURTHER.add(_name)
    for _name, _title in constants(_section, "FIGURES").items():
        FIGURES.setdefault(_name, (_section, _title))
    AVERAGES |= averages(_section)
