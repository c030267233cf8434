"""Declarative settings: a list of `Setting` says what there is, `load` says what holds and where it comes from.

Sources, strongest first: an option of the command line, an environment variable, the YAML file, the default.
`skerry.node.settings` and `skerry.hub.settings` declare; `skerry config check|explain` shows.
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from skerry.core.fields import (
    WRONG,
    Field,
    Problem,
    Reader,
    Wrong,
    boolean,
    duration,
    integer,
    map_of,
    refuse,
    size,
    text,
)
from skerry.core.yaml_lines import Document, Path, Place, Plain, read_documents
from skerry.kit.errors import InvalidInput
from skerry.kit.nearest import did_you_mean
from skerry.kit.one_line import one_line
from skerry.kit.units import write_duration, write_size

Kind = Literal["text", "path", "texts", "tables", "integer", "boolean", "duration", "size"]
"""`texts` is a map of text, `tables` a map of such maps. Durations are kept in seconds, sizes in bytes."""


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


@dataclass(frozen=True)
class Configured:
    """What holds for a setting. `origin` is «default», «FILE:LINE», «environment NAME» or «option --NAME»."""

    setting: Setting
    value: object
    origin: str

    def __str__(self) -> str:
        """The value as people write it."""
        return write_value(self.setting, self.value)


@dataclass(frozen=True)
class Sources:
    """Where values come from. Variables are named `prefix` and the setting's path in capitals, dots as «_»."""

    file: str = ""
    file_text: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    prefix: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


def load(settings: Iterable[Setting], sources: Sources) -> dict[str, Configured]:
    """Every setting with its value and origin, by path. Raises one InvalidInput listing everything that is wrong."""
    known = {setting.path: setting for setting in settings}
    complaints: list[str] = []
    found = {
        path: Configured(setting, setting.default, "default") for path, setting in known.items()
    }
    found |= _from_file(known, sources, complaints)
    for path, setting in known.items():
        variable = variable_of(path, sources.prefix)
        for origin, written in (
            (f"environment {variable}", sources.environment.get(variable)),
            (option_of(path), sources.options.get(path)),
        ):
            if written is not None:
                value = _from_text(setting, written, origin, complaints)
                found[path] = Configured(setting, value, origin)
    complaints += _unknown_names(known, sources)
    refuse(complaints)
    return found


def nested(found: Mapping[str, Configured]) -> dict[str, object]:
    """The values as a tree, by the steps of their dotted paths."""
    tree: dict[str, object] = {}
    for path, configured in found.items():
        *sections, name = path.split(".")
        branch = tree
        for step in sections:
            below = branch.setdefault(step, {})
            assert isinstance(below, dict)  # noqa: S101 - a setting is never a section too
            branch = below
        branch[name] = configured.value
    return tree


def find(found: Mapping[str, Configured], path: str) -> Configured:
    """The setting at `path`. Raises InvalidInput with the nearest name."""
    if path not in found:
        raise InvalidInput(f"unknown setting «{path}»: {did_you_mean(path, found)}")
    return found[path]


def variable_of(path: str, prefix: str) -> str:
    """The environment variable of a setting."""
    return prefix + path.upper().replace(".", "_")


def option_of(path: str) -> str:
    """How an option of the command line is named as an origin."""
    return f"option --{path.replace('.', '-').replace('_', '-')}"


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
            return str(value).lower()
        case int() | float() if setting.kind == "duration":
            return write_duration(value)
        case int() if setting.kind == "size":
            return write_size(value)
        case dict():
            entries = (f"{key}: {write_value(setting, entry)}" for key, entry in value.items())
            return f"{{{', '.join(entries)}}}"
        case _:
            return without_password(str(value))


def _path(at: Field) -> pathlib.Path | Wrong:
    written = text(at)
    if isinstance(written, Wrong):
        return written
    if not written.startswith(("/", "~/")):
        return at.wrong(
            f"{at.name}: «{written}» is not an absolute path: begin it with «/» or «~/»"
        )
    return pathlib.Path(written).expanduser()


_READERS: Mapping[Kind, Reader] = {
    "text": text,
    "path": _path,
    "texts": map_of(text, "texts"),
    "tables": map_of(map_of(text, "texts"), "maps of text"),
    "integer": integer,
    "boolean": boolean,
    "duration": duration,
    "size": size,
}


def _read(setting: Setting, at: Field) -> object:
    """The checked value of a setting, or WRONG with the problem noted."""
    value = _READERS[setting.kind](at)
    if value is WRONG:
        return WRONG
    if isinstance(value, int | float):
        if setting.low is not None and value < setting.low:
            return at.wrong(_out_of_range(setting, value, "at least", setting.low))
        if setting.high is not None and value > setting.high:
            return at.wrong(_out_of_range(setting, value, "at most", setting.high))
    fault = setting.check(value) if setting.check else None
    return value if fault is None else at.wrong(f"{setting.path}: {fault}")


def _out_of_range(setting: Setting, value: float, side: str, bound: float) -> str:
    shown, limit = write_value(setting, value), write_value(setting, type(value)(bound))
    return f"{setting.path}: {shown} is out of range: {side} {limit}"


def _from_file(
    known: Mapping[str, Setting], sources: Sources, complaints: list[str]
) -> dict[str, Configured]:
    documents = read_documents(sources.file_text, sources.file)
    if len(documents) > 1:
        second = documents[1].line(())
        raise InvalidInput(
            f"{sources.file}:{second}: settings are one YAML document, this is a second"
        )
    if not documents:
        return {}
    problems: list[Problem] = []
    document = documents[0]
    found = _walk(known, Field(document, (), document.value, problems))
    complaints += [
        problem.at(document)
        for problem in sorted(problems, key=lambda problem: document.line(problem.path))
    ]
    return found


def _walk(known: Mapping[str, Setting], at: Field) -> dict[str, Configured]:
    """The settings below one map of the file. A name without a value leaves the default."""
    if not isinstance(at.value, dict):
        what = f"«{at.name}»" if at.path else "the file"
        at.wrong(f"{what} must be a map of settings, {at.is_a()}")
        return {}
    found = {}
    for key, value in at.value.items():
        below = at.child(key, value)
        name = ".".join(map(str, below.path))
        if value is None and (name in known or _is_section(name, known)):
            continue
        if name in known:
            line = at.document.line(below.path)
            origin = f"{at.document.file}:{line}"
            found[name] = Configured(known[name], _read(known[name], below), origin)
        elif _is_section(name, known):
            found |= _walk(known, below)
        else:
            below.wrong(f"unknown setting «{name}»: {did_you_mean(name, known)}")
    return found


def _is_section(name: str, known: Iterable[str]) -> bool:
    return any(path.startswith(f"{name}.") for path in known)


def _from_text(setting: Setting, written: str, origin: str, complaints: list[str]) -> object:
    """A value from outside the file: verbatim for text and paths, else as it would stand in the file."""
    problems: list[Problem] = []
    try:
        value = _read(setting, _field(setting, written, origin, problems))
    except InvalidInput as error:
        complaints.append(one_line(str(error)))
        return WRONG
    complaints += [f"{origin}: {one_line(problem.sentence)}" for problem in problems]
    return value


def _field(setting: Setting, written: str, origin: str, problems: list[Problem]) -> Field:
    at = tuple(setting.path.split("."))
    value: Plain = written
    places: dict[Path, Place] = {(): Place(1, 1, written)}
    if setting.kind not in {"text", "path"}:
        documents = read_documents(written, origin)
        value = documents[0].value if documents else None
        places |= documents[0].places if documents else {}
    moved = {(*at, *path): place for path, place in places.items()}
    return Field(Document(origin, value, moved), at, value, problems)


def _unknown_names(known: Iterable[str], sources: Sources) -> list[str]:
    """Variables with our prefix, and options, that mean no setting."""
    paths = list(known)
    variables = [variable_of(path, sources.prefix) for path in paths]
    return [
        f"environment {name}: unknown setting: {did_you_mean(name, variables)}"
        for name in sorted(sources.environment)
        if sources.prefix and name.startswith(sources.prefix) and name not in variables
    ] + [
        f"{option_of(path)}: unknown setting «{path}»: {did_you_mean(path, paths)}"
        for path in sources.options
        if path not in paths
    ]
