"""Reading the plain values of a YAML document field by field, noting every problem instead of stopping at the first.

A reader takes a Field and returns what it understood, in the units of the wire (seconds, bytes), or notes a
Problem and returns WRONG. `core.specs` and `core.config` say which fields there are; `core.yaml_lines` made the document.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from skerry.core.yaml_lines import Document, Path, Plain
from skerry.kit.errors import InvalidInput
from skerry.kit.nearest import did_you_mean
from skerry.kit.one_line import one_line
from skerry.kit.units import parse_duration, parse_size


class Wrong(enum.Enum):
    """The type of WRONG, which stands for a value whose problem has been noted."""

    WRONG = enum.auto()


WRONG = Wrong.WRONG
MAX_LISTED = 100
"""So many problems of one file are spelt out."""


@dataclass(frozen=True)
class Problem:
    """A sentence about the value at `path`; it names the field itself."""

    path: Path
    sentence: str

    def at(self, document: Document) -> str:
        """The problem in one line, with its file and line number."""
        return f"{document.file}:{document.line(self.path)}: {one_line(self.sentence)}"


@dataclass(frozen=True)
class Field:
    """One value of a document, and where to note what is wrong with it."""

    document: Document
    path: Path
    value: Plain
    problems: list[Problem]

    @property
    def name(self) -> str:
        """The dotted path."""
        return dotted(self.path)

    @property
    def text(self) -> str:
        """The scalar as it was written."""
        return self.document.places[self.path].text

    def child(self, key: str | int, value: Plain) -> Field:
        """The entry `key` of this map or list."""
        return Field(self.document, (*self.path, key), value, self.problems)

    def wrong(self, sentence: str) -> Wrong:
        """Notes a problem here."""
        self.problems.append(Problem(self.path, sentence))
        return WRONG

    def is_a(self) -> str:
        """What the value is, for an error: «this is a list»."""
        match self.value:
            case None:
                return "this is nothing"
            case bool():
                return f"this is «{self.text}»"
            case int() | float():
                return "this is a number"
            case str():
                return "this is a text"
            case list():
                return "this is a list"
            case dict():
                return "this is a map"


Reader = Callable[[Field], object]
T = TypeVar("T")


def dotted(path: Path) -> str:
    """A path as people write it; keys that hold a dot are quoted: «streams."host.*"», «command[2]»."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{_quoted(step)}" if text else _quoted(step)
    return text


def refuse(problems: list[str]) -> None:
    """Raises one InvalidInput with a line for each problem, if there is any."""
    if len(problems) > MAX_LISTED:
        more = f"… and {len(problems) - MAX_LISTED} more"
        problems = [*problems[:MAX_LISTED], more]
    if problems:
        raise InvalidInput("\n".join(problems))


def _quoted(key: str) -> str:
    return f'"{key}"' if "." in key else key


def text(field: Field) -> str | Wrong:
    """Any scalar, as it was written: 1.10 stays «1.10»."""
    if field.value is None:
        return field.wrong(f'{field.name} has no value: write "" for an empty text')
    if isinstance(field.value, list | dict):
        return field.wrong(f"{field.name} must be a text, {field.is_a()}")
    if "\0" in field.text:
        return field.wrong(f"{field.name} holds a NUL character: remove it")
    return field.text


def number(field: Field) -> float | Wrong:
    """An integer or a decimal fraction."""
    if isinstance(field.value, bool) or not isinstance(field.value, int | float):
        return field.wrong(f"{field.name} must be a number, {field.is_a()}")
    if abs(field.value) > 2**53:
        return field.wrong(f"{field.name}: {field.text:.20} is too large")
    return float(field.value)


def integer(field: Field) -> int | Wrong:
    """A whole number."""
    if isinstance(field.value, bool) or not isinstance(field.value, int):
        return field.wrong(f"{field.name} must be a whole number, {field.is_a()}")
    if abs(field.value) > 2**53:
        return field.wrong(f"{field.name}: {field.text:.20} is too large")
    return field.value


def boolean(field: Field) -> bool | Wrong:
    """`true` or `false`."""
    if not isinstance(field.value, bool):
        return field.wrong(f"{field.name} must be true or false, {field.is_a()}")
    return field.value


def duration(field: Field) -> float | Wrong:
    """Seconds."""
    return _measured(field, parse_duration, "duration")


def size(field: Field) -> int | Wrong:
    """Bytes."""
    return _measured(field, parse_size, "size")


def _measured(field: Field, parse: Callable[[str], T], what: str) -> T | Wrong:
    if field.value is None or isinstance(field.value, list | dict | bool):
        return field.wrong(f"{field.name} must be a {what}, {field.is_a()}")
    try:
        return parse(field.text)
    except InvalidInput as error:
        return field.wrong(f"{field.name}: {error}")


def one_of(*words: str) -> Reader:
    """One of a few words."""

    def read(field: Field) -> object:
        word = text(field)
        if word is WRONG or word in words:
            return word
        return field.wrong(f"{field.name}: unknown word «{word}»: {did_you_mean(word, words)}")

    return read


def list_of(read_item: Reader, what: str) -> Reader:
    """A list; `what` names its items in the plural."""

    def read(field: Field) -> object:
        if not isinstance(field.value, list):
            return field.wrong(f"{field.name} must be a list of {what}, {field.is_a()}")
        items = [read_item(field.child(index, item)) for index, item in enumerate(field.value)]
        return WRONG if WRONG in items else items

    return read


def map_of(read_value: Reader, what: str) -> Reader:
    """A map with free keys; `what` describes it, as in «must be a map of …». No value at all is the empty map."""

    def read(field: Field) -> object:
        if field.value is None:
            return {}
        if not isinstance(field.value, dict):
            return field.wrong(f"{field.name} must be a map of {what}, {field.is_a()}")
        found = {key: read_value(field.child(key, value)) for key, value in field.value.items()}
        return {key: value for key, value in found.items() if value is not WRONG}

    return read


def section(readers: Mapping[str, Reader], required: Iterable[str] = ()) -> Reader:
    """A map with known fields. No value at all is a map without fields; wrong ones are left out of the result."""

    def read(field: Field) -> object:
        entries = {} if field.value is None else field.value
        if not isinstance(entries, dict):
            what = f"«{field.name}»" if field.path else "the document"
            return field.wrong(f"{what} must be a map of fields, {field.is_a()}")
        found = {}
        for key, value in entries.items():
            child = field.child(key, value)
            reader = readers.get(key)
            found[key] = reader(child) if reader else _unknown(child, readers)
        for key in required:
            if key not in entries:
                missing = field.child(key, None)
                missing.wrong(f"missing field «{missing.name}»")
        return {key: value for key, value in found.items() if value is not WRONG}

    return read


def _unknown(field: Field, known: Iterable[str]) -> Wrong:
    word, parent = str(field.path[-1]), dotted(field.path[:-1])
    where = f" in {parent}" if parent else ""
    return field.wrong(f"unknown field «{word}»{where}: {did_you_mean(word, known)}")
