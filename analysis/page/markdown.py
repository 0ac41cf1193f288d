"""Markdown from text, so that what is data stays text."""

import re
from typing import Any

from markupsafe import Markup, escape

# What would start markup: anywhere, in a certain place, or at the start of a text.
ANYWHERE = re.compile(r"[\\`*|~$]|(?<![^\W_])_|_(?![^\W_])|<(?=[A-Za-z/!?])|&(?=#?\w+;)|\](?=[(\[:])")
AT_THE_START = re.compile(r"^\s*(?:\d{1,9}(?=[.)](?:\s|$))|(?=>|[-+#=]+(?:\s|$)))")
BLANKS = re.compile(r"[^\S\N{NO-BREAK SPACE}]+")


def text(value: Any) -> Markup:
    """A value as Markdown that shows it as it is, on one line; also in a cell of a table. Markup is left as it is."""
    if isinstance(value, Markup):
        return value
    shown = ANYWHERE.sub(r"\\\g<0>", one_line(value))
    return Markup(AT_THE_START.sub(r"\g<0>\\", shown))


def code(value: Any) -> Markup:
    """The same as code. Between backticks nothing can be escaped, and a table would end a cell at a bar."""
    shown = one_line(value)
    if re.search(r"[`|]|^\s|\s$|^$", shown):
        return Markup(f"<code>{text(shown)}</code>")
    return Markup(f"`{shown}`")


def fence(value: str) -> Markup:
    """Lines as a block of code."""
    longest = max((len(ticks) for ticks in re.findall("`+", value)), default=0)
    marks = "`" * max(3, longest + 1)
    return Markup(f"{marks}\n{value.strip()}\n{marks}")


def summary(value: Any) -> Markup:
    """What a reader can unfold is under this line, up to `</details>`; the line itself is HTML."""
    return Markup(f"<details>\n<summary>{escape(one_line(value))}</summary>\n")


def unbroken(value: Any) -> str:
    """A value that is not to be broken into lines in a narrow column."""
    return str(value).replace(" ", "\N{NO-BREAK SPACE}")


def one_line(value: Any) -> str:
    return BLANKS.sub(" ", str(value))


FILTERS = {"code": code, "fence": fence, "summary": summary, "unbroken": unbroken}  # of the templates
