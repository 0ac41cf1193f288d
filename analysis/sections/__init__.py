"""The sections of the report. A section is a folder here, and its word in ORDER.

The face of a section, its `__init__.py`, holds constants alone:

    TITLE      the heading
    TABLES     table: its columns, in one text; an ellipsis at the end allows further columns behind these
    TEXT       the columns of these tables that hold text, in one text; all others hold numbers
    FIGURES    figure: its title
    AVERAGES   what the averages of the figures are over, as AVERAGES_ARE_OVER has it, in one word for all figures or as
               a mapping of those that show averages

`tables.py` has a function for every table, `figures.py` one for every figure, `captions/` a text for every figure.
`sentences.py` may have

    page(...)                 → dict: what the section says, by the names that its templates use; None: it is left out
    headline(...)             → list of sentences that open the section
    cautions(...)             → list of sentences under “Keep in mind”
    sample_text(figure, ...)  → n of the figure of this name, the last words of its caption; without this function, a
                              figure of averages over runs says how many runs there are

`page.html.j2` and `page.md.j2` are how it says that, below its heading; `first.html.j2` and `first.md.j2` are what of
it stands on the first screen. They have what `page` returns; grid; figures, by name, for {{ image(figures.NAME) }}; and
the macros and filters of analysis/page. Without templates (or without
`page`) a section shows its `sentences`, if `page` returns any, its figures, and links to its tables.

The parameters of a function name what it is made from: grid, a table of any section, what
analysis/reading/sources.py reads, or a function of the same file; of `page` also figures. A section has only the files
that it needs.
"""

import importlib
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

ORDER = (  # in which a reader wants to know
    *("claims", "ranking", "learning", "discovery", "paper_table", "laboratory", "estimators", "quality"),
    *("tuning", "published", "scores", "robustness", "bins", "hacking", "communication", "privacy"),
    *("policies", "speed", "settings", "definitions", "completeness", "provenance", "cite"),
)
FOLDER = Path(__file__).parent
HERE = "analysis/sections/__init__.py"
FURTHER = "…"
FIGURE_KINDS = ("svg", "png", "pdf")  # the files of a figure
KINDS = {"TABLES": "table → columns", "FIGURES": "figure → title"}
AVERAGES_ARE_OVER = ("runs", "studies", "probes", "exact problems", "estimator problems", "quality probes")


class SectionError(Exception):
    """A section that does not keep its word, or that fails; the message names file and key."""


def file_of(module: ModuleType) -> str:
    """A module's file from the project's root on, as a message names it."""
    return Path(str(module.__file__)).relative_to(FOLDER.parent.parent).as_posix()


def face_file(section: str) -> str:
    """The file of a section's face, as a message names it."""
    return f"analysis/sections/{section}/__init__.py"


def failed(what: str, error: Exception) -> SectionError:
    """What to raise where `what`, a file and what was done with it, failed with this exception; on one line."""
    said = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(":. ")
    return SectionError(f"{what} failed with {said}.")


def imported(name: str, file: Path) -> ModuleType:
    """The module of this name within this package, which lies in `file`.

    Raises SectionError, with the line, where its import fails.
    """
    try:
        return importlib.import_module(name, __name__)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if Path(frame.filename) == file]
        place = f" in line {lines[-1]}" if lines else ""  # a syntax error says its line itself
        raise failed(f"analysis/{file.relative_to(FOLDER.parent).as_posix()}: its import{place}", error) from error


def constants(section: str, name: str) -> dict[str, Any]:
    """A mapping of a section's face; empty where the face has none."""
    found = getattr(FACES[section], name, None)
    return dict(found) if isinstance(found, dict) else {}


def averages(section: str) -> dict[str, str]:
    """What the averages of each figure of a section are over; without the figures that show none."""
    over = getattr(FACES[section], "AVERAGES", None)
    if isinstance(over, str):
        return dict.fromkeys(constants(section, "FIGURES"), over)
    return constants(section, "AVERAGES")


def text_columns(section: str) -> list[str]:
    """The names that a section's TEXT has."""
    text = getattr(FACES[section], "TEXT", "")
    return text.split() if isinstance(text, str) else []


def part(section: str, name: str) -> ModuleType | None:
    """The section's module of this name (tables, figures or sentences); None where it has no such file. Raises
    SectionError where it cannot be imported.
    """
    file = FOLDER / section / f"{name}.py"
    return imported(f".{section}.{name}", file) if file.is_file() else None


def function(section: str, kind: str, name: str) -> tuple[ModuleType, Callable[..., Any]]:
    """The module (of kind tables or figures) and the function of it that makes what the section declares as `name`."""
    module = part(section, kind)
    made = vars(module).get(name) if module else None
    if module is None or not callable(made):
        lacking = f"no function {name}" if module else "no such file"
        raise SectionError(
            f"analysis/sections/{section}/{kind}.py: {lacking}; {kind.upper()} in {face_file(section)} declares "
            f"{name!r}."
        )
    return module, made


def caption_file(figure: str) -> Path:
    """The file of a figure's caption."""
    return FOLDER / FIGURES[figure][0] / "captions" / f"{figure}.rst"


def check() -> None:
    """Raise SectionError where a section does not keep the word of ORDER or of its face.

    That is what `check_faces` refuses, and a declared table or figure without its function. A file whose import fails
    is refused where something of it is made, so that all else can be made.
    """
    check_faces()
    for section in ORDER:
        for kind in ("TABLES", "FIGURES"):
            names = constants(section, kind)
            try:
                part(section, kind.lower())
            except SectionError:
                continue
            for name in names:
                function(section, kind.lower(), name)


def check_faces() -> None:
    """The part of `check` that imports nothing: raise SectionError where a folder is not in ORDER or a word of ORDER is
    no folder, where a face cannot be read or has a constant of a wrong kind, where two sections declare one name, or
    where a figure has no caption.
    """
    folders = sorted(file.parent.name for file in FOLDER.glob("*/__init__.py"))
    for section in ORDER:
        if section not in folders:
            raise SectionError(f"{HERE}: ORDER names {section!r}; there is no {face_file(section)}.")
        if ORDER.count(section) > 1:
            raise SectionError(f"{HERE}: ORDER names {section!r} twice.")
    for section in folders:
        if section not in ORDER:
            raise SectionError(f"{HERE}: ORDER lacks {section!r}, which is a folder beside it.")
    for section in ORDER:
        if section in UNREADABLE:
            raise UNREADABLE[section]
        for fault in faults(section):
            raise SectionError(f"{face_file(section)}: {fault}")
    for figure, (section, _) in FIGURES.items():
        if not caption_file(figure).is_file():
            raise SectionError(
                f"analysis/sections/{section}/captions/{figure}.rst: no such file; FIGURES in {face_file(section)} "
                f"declares {figure!r}."
            )


def faults(section: str) -> Iterator[str]:
    """A sentence for every constant of a section's face that is not of its kind, or that two sections declare."""
    face = FACES[section]
    if not isinstance(getattr(face, "TITLE", None), str):
        yield "it needs a TITLE, which is text."
    for kind, takes in KINDS.items():
        found = getattr(face, kind, {})
        if not isinstance(found, dict):
            yield f"{kind} is {found!r}; it takes a mapping, {takes}."
        for name, words in constants(section, kind).items():
            if not isinstance(name, str) or not name.isidentifier():
                yield f"{kind} has the name {name!r}; a name is that of a function, and text."
            elif not isinstance(words, str):
                what = "its columns in one text" if kind == "TABLES" else "its title"
                yield f"{kind} has {name!r}: {words!r}; it takes {what}."
            elif kind == "TABLES" and not set(words.split()) - {FURTHER}:
                yield f"{kind} has {name!r}: {words!r}; a table needs at least one column."
            else:
                first = SECTION_OF_TABLE[name] if kind == "TABLES" else FIGURES[name][0]
                if first != section:
                    yield f"{kind} declares {name!r}, and so does {face_file(first)}."
    text = getattr(face, "TEXT", "")
    if not isinstance(text, str):
        yield f"TEXT is {text!r}; it takes names of columns in one text."
    columns = {word for words in constants(section, "TABLES").values() for word in str(words).split()} - {FURTHER}
    for name in text_columns(section):
        if name not in columns:
            yield f"TEXT has {name!r}, which is no column of TABLES."
    over = getattr(face, "AVERAGES", {})
    if not isinstance(over, (str, dict)):
        yield f"AVERAGES is {over!r}; it takes one of {', '.join(AVERAGES_ARE_OVER)}, or a mapping of figures to these."
    for figure, of in averages(section).items():
        if figure not in constants(section, "FIGURES") or of not in AVERAGES_ARE_OVER:
            yield (
                f"AVERAGES has {figure!r}: {of!r}; it takes a name of FIGURES and one of "
                f"{', '.join(AVERAGES_ARE_OVER)}."
            )


FACES: dict[str, ModuleType] = {}
UNREADABLE: dict[str, SectionError] = {}  # section: why its face could not be imported
for _section in ORDER:
    _file = FOLDER / _section / "__init__.py"
    if _file.is_file():  # what is not there is said by check()
        try:
            FACES[_section] = imported(f".{_section}", _file)
        except SectionError as _error:
            UNREADABLE[_section] = _error
TITLES: dict[str, str] = {section: getattr(face, "TITLE", section) for section, face in FACES.items()}
TABLES: dict[str, tuple[str, ...]] = {}  # table: its columns
WITH_FURTHER: set[str] = set()  # tables that may have columns behind these
SECTION_OF_TABLE: dict[str, str] = {}
TEXT: dict[str, set[str]] = {}  # table: which of its columns hold text
FIGURES: dict[str, tuple[str, str]] = {}  # figure: its section and its title
AVERAGES: dict[str, str] = {}  # figure: what its averages are over
for _section in FACES:
    for _name, _columns in constants(_section, "TABLES").items():
        _words = str(_columns).split()  # check() refuses what is not text
        if _name not in TABLES:
            TABLES[_name] = tuple(word for word in _words if word != FURTHER)
            TEXT[_name] = set(TABLES[_name]) & set(text_columns(_section))
            SECTION_OF_TABLE[_name] = _section
        if FURTHER in _words:
            WITH_FURTHER.add(_name)
    for _name, _title in constants(_section, "FIGURES").items():
        FIGURES.setdefault(_name, (_section, _title))
    AVERAGES |= averages(_section)
