"""The templates of the page (html) and of the report for a code host (md), and what they write numbers and texts by."""

import shlex
from pathlib import Path
from types import ModuleType
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from .. import sections
from ..lacking import mark
from ..words import count, duration, equation, fixed, interval, number, p_text, setting_text
from . import markdown

KINDS = ("html", "md")
FILTERS = {
    "quoted": shlex.quote,  # a word of a command line, as a shell takes it
    "number": number,
    "count": count,
    "fixed": fixed,
    "duration": duration,
    "setting": setting_text,
    "equation": equation,
    "p_value": p_text,
}
FUNCTIONS = {"interval": interval, "fixed": fixed, "count": count, "number": number, "mark": mark}
HERE = Path(__file__).parent


def environment(kind: str) -> Environment:
    """The templates of this kind: those beside this file and, behind a section's name, those of sections."""
    made = Environment(
        loader=FileSystemLoader([HERE, sections.FOLDER]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=markdown.text if kind == "md" else None,
    )
    made.filters |= FILTERS | (markdown.FILTERS if kind == "md" else {})
    made.globals |= FUNCTIONS
    return made


def page(kind: str, frame: dict[str, Any]) -> str:
    """The whole page: the frame's template, filled."""
    return environment(kind).get_template(f"page.{kind}.j2").render(frame)


def inside(kind: str, section: str, said: dict[str, Any], frame: dict[str, Any]) -> Markup:
    """What stands below a section's heading, from what the section says and what the frame offers to all, the macros
    among it. A section without a template of its own has the one that shows figures and links tables.

    Raises SectionError where the template fails.
    """
    own = (sections.FOLDER / section / f"page.{kind}.j2").is_file()
    return filled(kind, f"{section}/page.{kind}.j2" if own else f"section.{kind}.j2", said, frame)


def first(kind: str, section: str, said: dict[str, Any], frame: dict[str, Any]) -> Markup:
    """What a section puts on the first screen, from the same; nothing where it has no template for that.

    Raises SectionError where the template fails.
    """
    template = f"{section}/first.{kind}.j2"
    return filled(kind, template, said, frame) if (sections.FOLDER / template).is_file() else Markup("")


def filled(kind: str, template: str, said: dict[str, Any], frame: dict[str, Any]) -> Markup:
    """A template with what a section says, what the frame offers, and macros. Raises SectionError where it fails."""
    templates = environment(kind).overlay(keep_trailing_newline=True)
    try:
        macros: ModuleType | Any = templates.get_template(f"macros.{kind}.j2").make_module(frame)
        offered = {name: made for name, made in vars(macros).items() if not name.startswith("_")}
        return Markup(templates.get_template(template).render(frame | offered | said))
    except Exception as error:
        folder = "sections" if "/" in template else "page"
        raise sections.failed(f"analysis/{folder}/{template}", error) from error
