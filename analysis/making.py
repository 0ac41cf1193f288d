"""Makes things by name: the parameters of a function name what it is made from."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from . import sections
from .reading import sources
from .reading.checks import ResultsError
from .sections import SectionError


def parameters(function: Callable[..., Any]) -> list[str]:
    """What a function is made from: the names of its parameters that have no default."""
    return [name for name, about in inspect.signature(function).parameters.items() if about.default is about.empty]


def tables_named(function: Callable[..., Any], home: ModuleType) -> list[str]:
    """The tables that a function is made from: those that its parameters name, and those of the functions of its file
    that they name.
    """
    found, asked = [], {function}
    names = parameters(function)
    while names:
        name = names.pop(0)
        shared = vars(home).get(name)
        if name in sections.TABLES:
            found.append(name)
        elif is_of(shared, home) and shared not in asked:
            asked.add(shared)
            names = parameters(shared) + names
    return list(dict.fromkeys(found))


def is_of(thing: Any, module: ModuleType) -> bool:
    """Whether it is a function that this module defines."""
    return inspect.isfunction(thing) and thing.__module__ == module.__name__


class Maker:
    """Tables of sections, and what else is made from tables, each made once, when it is first asked for.

    A name is one of these, in this order: what is `known` (`grid`, say, or a table that has been read); a source, which
    is a function of `analysis.reading.sources`; a table that a section declares; a function of the module in which the
    name is a parameter, for what several tables of one section share.

    `read` is how a table is had that is not known, by its name; without it, the function of its section makes it.
    """

    def __init__(self, known: Mapping[str, Any], read: Callable[[str], Any] | None = None) -> None:
        self.known = dict(known)
        self._read = read
        self._made: dict[tuple[str, str], Any] = {}
        self._failed: dict[tuple[str, str], SectionError] = {}

    def call(self, function: Callable[..., Any], home: ModuleType, **given: Any) -> Any:
        """The function's value; `home` is the module whose functions its parameters may name, and `given` is what they
        name in this call alone.

        Raises SectionError where a parameter names nothing, or where the function or what it is made from fails; lets
        ResultsError pass, which is about the results and not about a section.
        """
        made_from = {
            name: given[name] if name in given else self._get(name, function, home) for name in parameters(function)
        }
        try:
            return function(**made_from)
        except (ResultsError, MemoryError):
            raise
        except Exception as error:
            raise sections.failed(f"{sections.file_of(home)}: {function.__name__}", error) from error

    def table(self, name: str) -> Any:
        """A declared table with its columns in their order; raises as `call` does, and where a column is lacking."""
        if name not in self.known and self._read:
            self.known[name] = self._read(name)
        if name not in self.known:
            section = sections.SECTION_OF_TABLE[name]
            module, function = sections.function(section, "tables", name)
            self.known[name] = with_columns(self._once(function, module), name, section)
        return self.known[name]

    def source(self, name: str) -> Any:
        """What a function of `analysis.reading.sources` reads, by its name."""
        return self._once(vars(sources)[name], sources)

    def _get(self, name: str, asker: Callable[..., Any], home: ModuleType) -> Any:
        if name in self.known:
            return self.known[name]
        if name in sections.TABLES:
            return self.table(name)
        for module in (sources, home):
            function = vars(module).get(name)
            if is_of(function, module):
                return self._once(function, module)
        raise SectionError(
            f"{sections.file_of(home)}: a parameter of {asker.__name__} is {name!r}, which names no table, no function "
            f"of analysis/reading/sources.py and none of its own file."
        )

    def _once(self, function: Callable[..., Any], module: ModuleType) -> Any:
        key = (module.__name__, function.__name__)
        if key in self._failed:
            raise self._failed[key]
        if key not in self._made:
            # What asks for itself on the way to being made finds this.
            self._failed[key] = SectionError(f"{sections.file_of(module)}: {function.__name__} is made from itself.")
            try:
                self._made[key] = self.call(function, module)
            except SectionError as error:
                self._failed[key] = error
                raise
            del self._failed[key]
        return self._made[key]


def with_columns(table: Any, name: str, section: str) -> pd.DataFrame:
    """The table with its declared columns in their order, then any others where its declaration ends in an ellipsis.

    Raises SectionError where it is no data frame, or where a column is lacking or holds something else than its face
    says: `read_table` could not read its file.
    """
    declared = sections.TABLES[name]
    face = sections.face_file(section)
    where = f"analysis/sections/{section}/tables.py: the table {name!r}"
    if not isinstance(table, pd.DataFrame):
        raise SectionError(f"{where} is of the type {type(table).__name__}; it must be a DataFrame.")
    for column in declared:
        if column not in table:
            raise SectionError(f"{where} lacks the column {column!r}, which TABLES in {face} declares.")
    further = [column for column in table if column not in declared] if name in sections.WITH_FURTHER else []
    columns = [*declared, *further]
    for column in columns:
        if not isinstance(table[column], pd.Series):
            raise SectionError(f"{where} has the column {column!r} twice.")
        text = column in sections.TEXT[name]
        expected = "text, since TEXT in {} names it" if text else "a number, since TEXT in {} does not name it"
        for value in of_another_kind(table[column], text=text):
            raise SectionError(f"{where} has {value!r:.60} in the column {column!r}; expected {expected.format(face)}.")
    return table[columns]


def of_another_kind(column: pd.Series, *, text: bool) -> Iterator[Any]:
    """The values of a column that are no text, or else no numbers. What is absent is of either kind; in a column of
    bools these are numbers.
    """
    values = column.dropna()
    kinds = ("string", "empty") if text else ("integer", "floating", "boolean", "empty")
    if pd.api.types.infer_dtype(values) not in kinds:
        number = (int, float, np.integer, np.floating)
        for value in values:
            if not isinstance(value, str if text else number) or isinstance(value, bool):
                yield value
