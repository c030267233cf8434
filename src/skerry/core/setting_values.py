"""One setting: its declaration, and reading and writing its value. `core.config` puts many of them together."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from skerry.core.features import Feature
from skerry.core.fields import (
    WRONG,
    Field,
    Reader,
    Wrong,
    boolean,
    duration,
    integer,
    list_of,
    map_of,
    number,
    one_of,
    section,
    size,
    text,
)
from skerry.kit.units import write_duration, write_size

Kind = Literal[
    "text", "path", "word", "words", "texts", "tables", "list", "boolean", "integer", "number", "duration", "size",
]  # fmt: skip
"""`word` is one of a few, `words` a list of such; `texts` is a map of text, `tables` a map of such maps; `list` is a
list of maps with known fields. Durations are kept in seconds, sizes in bytes."""

_BARE = {"days": 86_400.0}


@dataclass(frozen=True)
class Setting:
    """One setting. `default` is in kept units; None means unset. `check` returns what is wrong with a value.

    `unit` is what a bare number counts; `low` and `high` are bounds, both included. Settings are read at the start.
    """

    path: str
    kind: Kind
    default: object
    doc: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    check: Callable[[object], str | None] | None = None
    words: tuple[str, ...] = ()
    """The words that a `word` or `words` may be."""
    fields: tuple[Setting, ...] = ()
    """What each map of a `list` holds; their paths are plain names."""
    required: bool = False
    general: str = ""
    """The setting whose value holds where this one is not given."""
    take: Callable[[object], object] | None = None
    """Makes this setting's value of the general one's; by default the same."""
    feature: Feature | None = None
    """What a value asks for; None: something that every build does."""
    asks: Callable[[object], bool] | None = None
    """Whether a value asks for the feature, where that is neither «true» nor a mere detail of it."""
    nodes_only: bool = False
    """Has no meaning on a hub."""
    notes: Callable[[object], Sequence[str]] | None = None
    """What people should know of a given value."""

    def lacks(self, value: object) -> bool:
        """Whether `value` says something that this build does not do."""
        if self.feature is None or self.feature.built or value is None:
            return False
        if self.asks is not None:
            return self.asks(value)
        return value is not False

    def insists(self, value: object) -> bool:
        """Whether `value` asks for a protection that this build lacks: ignoring it would weaken the installation."""
        switch = self.kind == "boolean" or self.asks is not None
        return switch and self.feature is not None and self.feature.protects and self.lacks(value)


_PASSWORD = re.compile(r"(://[^/@:\s]*:)[^/@\s]+@")


def without_password(value: str) -> str:
    """A text as it may be shown: the password of a URL in it is «***»."""
    return _PASSWORD.sub(r"\1***@", value)


def write_value(setting: Setting, value: object) -> str:
    """A kept value as people write it, but no password; an unset one is «none»."""
    match value:
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return _write_number(setting, value)
        case dict():
            return f"{{{', '.join(_entries(setting, value))}}}"
        case list():
            return f"[{', '.join(write_value(setting, entry) for entry in value)}]"
        case _:
            return without_password(str(value))


def _write_number(setting: Setting, value: float) -> str:
    if setting.kind == "duration":
        return write_duration(value)
    if setting.kind == "size" and isinstance(value, int):
        return write_size(value)
    return str(value)


def _entries(setting: Setting, value: Mapping[str, object]) -> Iterator[str]:
    fields = {each.path: each for each in setting.fields}
    for key, entry in value.items():
        yield f"{key}: {write_value(fields.get(key, setting), entry)}"


def read_value(setting: Setting, at: Field) -> object:
    """The checked value of a setting, or WRONG with the problem noted."""
    value = _reader(setting)(at)
    if value is WRONG:
        return WRONG
    if setting.unit in _BARE and isinstance(value, float) and _is_bare(at):
        value *= _BARE[setting.unit]
    if isinstance(value, int | float) and not isinstance(value, bool):
        if setting.low is not None and value < setting.low:
            return at.wrong(_out_of_range(setting, at, value, "at least", setting.low))
        if setting.high is not None and value > setting.high:
            return at.wrong(_out_of_range(setting, at, value, "at most", setting.high))
    fault = setting.check(value) if setting.check else None
    return value if fault is None else at.wrong(f"{at.name}: {fault}")


def _reader(setting: Setting) -> Reader:
    match setting.kind:
        case "word":
            return one_of(*setting.words)
        case "words":
            return list_of(one_of(*setting.words) if setting.words else text, "words")
        case "list":
            readers = {each.path: _field_reader(each) for each in setting.fields}
            required = [each.path for each in setting.fields if each.required]
            return list_of(section(readers, required), "maps")
        case _:
            return _READERS[setting.kind]


def _field_reader(setting: Setting) -> Reader:
    return lambda at: read_value(setting, at)


def _path(at: Field) -> pathlib.Path | Wrong:
    written = text(at)
    if isinstance(written, Wrong):
        return written
    if not written.startswith(("/", "~/")):
        return at.wrong(
            f"{at.name}: «{written}» is not an absolute path: begin it with «/» or «~/»"
        )
    return pathlib.Path(written).expanduser()


_READERS: Mapping[str, Reader] = {
    "text": text,
    "path": _path,
    "texts": map_of(text, "texts"),
    "tables": map_of(map_of(text, "texts"), "maps of text"),
    "boolean": boolean,
    "integer": integer,
    "number": number,
    "duration": duration,
    "size": size,
}


def _is_bare(at: Field) -> bool:
    return not at.text.strip()[-1:].isalpha()


def _out_of_range(setting: Setting, at: Field, value: float, side: str, bound: float) -> str:
    shown, limit = write_value(setting, value), write_value(setting, type(value)(bound))
    return f"{at.name}: {shown} is out of range: {side} {limit}"
