"""Writes numbers, lists and settings as text, the same everywhere on the page."""

import json
import re
from collections.abc import Iterable
from typing import Any

import pandas as pd
from markupsafe import Markup, escape

from .statistics.comparison import MOST_SEEDS


def number(value: float) -> str:
    """Three significant digits, but every digit before the point. An en dash stands for NaN."""
    if pd.isna(value):
        return "–"
    size = abs(value)
    digits = 0 if size >= 100 or size == 0 else 1 if size >= 10 else 2
    text = f"{value:.2g}" if 0 < size < 0.01 else f"{value:,.{digits}f}"
    return text.replace("-", "−")


def duration(seconds: float) -> str:
    """Seconds as hours, minutes or seconds."""
    if seconds >= 3600:
        return f"{number(seconds / 3600)} hours"
    return f"{number(seconds / 60)} minutes" if seconds >= 60 else f"{number(seconds)} seconds"


def count(value: float) -> str:
    """A number of things with thousands separators. An en dash stands for NaN."""
    return "–" if pd.isna(value) else f"{value:,.0f}"


def fixed(value: float) -> str:
    """Two decimals, for normalised scores. Zero has no sign, and an en dash stands for NaN."""
    return "–" if pd.isna(value) else f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def interval(middle: float, low: float, high: float, form=number) -> str:
    """A value with its interval, "0.71 [0.65, 0.78]", or the value alone where there is no interval. form: writes a
    number.
    """
    return form(middle) if pd.isna(low) else f"{form(middle)} [{form(low)},\N{NO-BREAK SPACE}{form(high)}]"


def seeds_text(seeds: float) -> str:
    """How many seeds an undecided pair needs, in words. NaN: no difference was seen."""
    if pd.isna(seeds):
        return "no difference seen"
    return f"more than {count(MOST_SEEDS)} seeds needed" if seeds > MOST_SEEDS else f"about {count(seeds)} seeds needed"


def plural(n: int, noun: str) -> str:
    """A number and its noun: "1 run", "2,000 runs"."""
    return f"{count(n)} {noun}{'' if n == 1 else 's'}"


def enumerate_text(parts: Iterable[str]) -> str:
    """A list as text: "a, b and c". Raises ValueError for an empty one."""
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


def short_name(task: str) -> str:
    """A task's id without the module that registers it."""
    return task.rsplit(":", 1)[-1]


SMALLEST_SHOWN = 0.001  # percent


def percents(value: float) -> str:
    """A share as percent with its sign. An en dash stands for NaN."""
    return "–" if pd.isna(value) else f"{number_of(value)}\N{NO-BREAK SPACE}%"


def number_of(value: float) -> str:
    """A share as a number of percent: whole, but with one digit below 10 and one significant digit below 1."""
    value = 100 * value
    if 0 < value < SMALLEST_SHOWN:
        return f"< {SMALLEST_SHOWN}"
    digits = 0 if abs(value) >= 9.95 or value == 0 else 1
    return f"{value:,.{digits}f}" if digits == 0 or abs(value) >= 0.95 else f"{value:.1g}"


def p_text(p: float) -> str:
    """A p-value with two digits, or "< 0.0001". An en dash stands for NaN."""
    if pd.isna(p):
        return "–"
    return "< 0.0001" if p < 0.0001 else f"{p:.2g}" if p < 0.1 else f"{p:.2f}"


def setting_text(value: Any) -> str:
    """A setting as a person would write it in the grid. Numbers have five significant digits."""
    if isinstance(value, float):
        return f"{value:.5g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False).replace("null", "none")


def equation(text: str) -> Markup:
    """An equation as HTML, with the subscripts and superscripts of `a_t`, `a_{t+1}` and `γ^l`."""
    tags = {"_": "sub", "^": "sup"}

    def script(match: re.Match) -> str:
        tag = tags[match[1]]
        return f"<{tag}>{match[2] or match[3]}</{tag}>"

    return Markup(re.sub(r"([_^])(?:\{([^}]*)\}|(\w))", script, str(escape(text))))
