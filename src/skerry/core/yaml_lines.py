"""YAML → plain values plus the place of each of them, for everything that people write by hand.

Built on PyYAML's SafeLoader as a source of events, with the small part of YAML that specs and settings need: maps
with text keys, lists, scalars. Scalars follow YAML 1.2 (`on`, `yes`, `12:30` are text), so that `on:` can be a
field. Duplicate keys, anchors, tags and deep nesting are refused. `core.fields` reads the result.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

import yaml

from skerry.kit.errors import InvalidInput
from skerry.kit.one_line import one_line
from skerry.kit.text_file import MAX_BYTES

Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]
Path = tuple[str | int, ...]
"""The way to a value: keys of maps and indexes of lists. () is the document itself."""

MAX_DEPTH = 32

_INTEGER = re.compile(r"[-+]?\d{1,4000}", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\d+\.\d*|\.\d+|\d+)([eE][-+]?\d+)?", re.ASCII)
_WORDS: dict[str, bool | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip


@dataclass(frozen=True)
class Place:
    """Where a value stands: of a map's entry its key, of anything else its first character; both count from 1.

    `text` is a scalar as it was written, for readers to whom 1.10 is not 1.1.
    """

    line: int
    column: int
    text: str = ""


@dataclass(frozen=True)
class Document:
    """One YAML document."""

    file: str
    value: Plain
    places: dict[Path, Place]

    def line(self, path: Path) -> int:
        """The line of the value at `path`, or of its nearest enclosing value when there is none."""
        while path not in self.places:
            path = path[:-1]
        return self.places[path].line


def read_documents(text: str, file: str) -> list[Document]:
    """The documents of `text` that hold anything. Raises InvalidInput naming file, line and column."""
    if len(text.encode(errors="replace")) > MAX_BYTES:
        raise InvalidInput(f"cannot read {file}: it has more than a file may have (1 MiB)")
    try:
        builders = [_Builder(file)]
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.DocumentStartEvent):
                builders.append(_Builder(file))
            else:
                builders[-1].take(event)
    except yaml.MarkedYAMLError as error:
        raise InvalidInput(_explain(error, text, file)) from error
    except yaml.reader.ReaderError as error:
        line, column = _line_and_column(text, error.position)
        raise InvalidInput(
            f"{file}:{line}:{column}: cannot read YAML: this is no text character. Is the file binary?"
        ) from error
    except (ValueError, OverflowError) as error:  # PyYAML hands «\UFFFFFFFF» to chr() unchecked
        raise InvalidInput(
            f"{file}: cannot read YAML: an escaped character does not exist"
        ) from error
    return [builder.document() for builder in builders if not builder.is_empty()]


@dataclass
class _Open:
    """A map or list whose end has not been seen. `key` is the pending key of a map."""

    container: dict[str, Plain] | list[Plain]
    path: Path
    key: str | None = None


@dataclass
class _Builder:
    """Turns the events of one document into its value and places; keeps its own stack, so depth is ours to bound."""

    file: str
    value: Plain = None
    places: dict[Path, Place] = field(default_factory=dict)
    stack: list[_Open] = field(default_factory=list)

    def is_empty(self) -> bool:
        return self.value is None

    def document(self) -> Document:
        return Document(self.file, self.value, self.places)

    def take(self, event: yaml.Event) -> None:
        match event:
            case yaml.AliasEvent():
                raise self._error(event, _NO_ANCHORS)
            case yaml.ScalarEvent():
                self._refuse_extras(event)
                self._scalar(event)
            case yaml.MappingStartEvent():
                self._refuse_extras(event)
                self._enter({}, event)
            case yaml.SequenceStartEvent():
                self._refuse_extras(event)
                self._enter([], event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self.stack.pop()
            case _:
                pass  # the stream's and documents' own brackets

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        self._check_text(event)
        top = self.stack[-1] if self.stack else None
        if top is not None and isinstance(top.container, dict) and top.key is None:
            self._key(top, top.container, event)
            return
        path = self._place(event, event.value)
        self._put(_resolve(event), path)

    def _check_text(self, event: yaml.ScalarEvent) -> None:
        if any("\ud800" <= character <= "\udfff" for character in event.value):
            raise self._error(event, "an escaped character is half of one (a lone surrogate)")

    def _key(self, top: _Open, container: dict[str, Plain], event: yaml.ScalarEvent) -> None:
        key: str = event.value
        path = (*top.path, key)
        if key in container:
            first = self.places[path].line
            raise self._error(event, f"«{key}» is given twice, first in line {first}")
        self.places[path] = _place_of(event)
        top.key = key

    def _enter(self, container: dict[str, Plain] | list[Plain], event: yaml.Event) -> None:
        if len(self.stack) == MAX_DEPTH:
            raise self._error(event, f"nested more than {MAX_DEPTH} levels deep")
        top = self.stack[-1] if self.stack else None
        if top is not None and isinstance(top.container, dict) and top.key is None:
            raise self._error(event, "the key of a field must be a text")
        path = self._place(event)
        self._put(container, path)
        self.stack.append(_Open(container, path))

    def _place(self, event: yaml.Event, text: str = "") -> Path:
        """Notes the place of the value that begins with `event`; an entry of a map keeps its key's."""
        if not self.stack:
            path: Path = ()
        elif isinstance(self.stack[-1].container, list):
            path = (*self.stack[-1].path, len(self.stack[-1].container))
        else:
            path = (*self.stack[-1].path, self.stack[-1].key or "")
        at = self.places.get(path) or _place_of(event)
        self.places[path] = Place(at.line, at.column, text)
        return path

    def _put(self, value: Plain, path: Path) -> None:
        if not self.stack:
            self.value = value
            return
        top = self.stack[-1]
        if isinstance(top.container, list):
            top.container.append(value)
        else:
            top.container[str(path[-1])] = value
            top.key = None

    def _refuse_extras(
        self, event: yaml.ScalarEvent | yaml.MappingStartEvent | yaml.SequenceStartEvent
    ) -> None:
        if event.anchor is not None:
            raise self._error(event, _NO_ANCHORS)
        if event.tag is not None:
            raise self._error(event, "tags («!») are not supported: write the plain value")

    def _error(self, event: yaml.Event, sentence: str) -> InvalidInput:
        at = _place_of(event)
        return InvalidInput(f"{self.file}:{at.line}:{at.column}: {one_line(sentence)}")


_NO_ANCHORS = "anchors and aliases («&», «*») are not supported: write the value out, or quote a text that begins so"


def _place_of(event: yaml.Event) -> Place:
    assert event.start_mark is not None  # noqa: S101 - every event of a parser has one
    return Place(event.start_mark.line + 1, event.start_mark.column + 1)


def _resolve(event: yaml.ScalarEvent) -> Plain:
    """The value of a scalar by YAML 1.2's core rules; quoted scalars are text."""
    text: str = event.value
    if event.style is not None:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    return text


def _explain(error: yaml.MarkedYAMLError, text: str, file: str) -> str:
    """PyYAML's error in one sentence, with the usual causes named."""
    mark = error.problem_mark or error.context_mark
    place = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else file
    problem = one_line(str(error.problem or error.context))
    if "character '\\t'" in problem:
        return f"{place}: a tab cannot indent YAML: use spaces"
    if error.context in {"while scanning an alias", "while scanning an anchor"}:
        return f"{place}: {_NO_ANCHORS}"
    if mark is not None and mark.index >= len(text.rstrip()):
        return f"{place}: cannot read YAML: {problem}. Has the file been cut off?"
    return f"{place}: cannot read YAML: {problem}"


def _line_and_column(text: str, position: int) -> tuple[int, int]:
    before = text[:position]
    return before.count("\n") + 1, position - before.rfind("\n")
