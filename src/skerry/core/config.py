"""Declarative settings: a list of `Setting` says what there is, `load` says what holds and where it comes from.

Sources, strongest first: an option of the command line, an environment variable, the YAML files (a later one before an
earlier one), the default. Between two settings about one thing the specific one holds, wherever it was given.
`skerry.node.settings` and `skerry.hub.settings` declare; `skerry config check|explain` shows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from skerry.core.fields import WRONG, Field, Problem, refuse
from skerry.core.setting_values import Setting, read_value, write_value
from skerry.core.yaml_lines import Document, Path, Place, Plain, read_documents
from skerry.kit.errors import InvalidInput
from skerry.kit.nearest import did_you_mean, nearest
from skerry.kit.one_line import one_line

DEFAULT = "default"


@dataclass(frozen=True)
class Configured:
    """What holds for a setting. `origin` is «default», «FILE:LINE», «environment NAME» or «option --NAME».

    `inherited`: it was given for the general setting, which the origin then names too. `instead` names what was
    given for the same thing and does not hold.
    """

    setting: Setting
    value: object
    origin: str
    inherited: bool = False
    instead: tuple[str, ...] = ()

    @property
    def given(self) -> bool:
        """Whether somebody gave this very setting."""
        return self.origin != DEFAULT and not self.inherited

    @property
    def lacking(self) -> bool:
        """Whether it says something that this build does not do."""
        return self.origin != DEFAULT and self.setting.lacks(self.value)

    def __str__(self) -> str:
        """The value as people write it."""
        return write_value(self.setting, self.value)


@dataclass(frozen=True)
class SourceFile:
    """A file of settings, read."""

    name: str
    text: str


@dataclass(frozen=True)
class Sources:
    """Where values come from. Variables are named `prefix` and the setting's path in capitals, dots as «_»."""

    files: tuple[SourceFile, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    prefix: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


Found = Mapping[str, Configured]


def load(settings: Iterable[Setting], sources: Sources) -> dict[str, Configured]:
    """Every setting with its value and origin, by path. Raises one InvalidInput listing everything that is wrong."""
    known = {setting.path: setting for setting in settings}
    complaints: list[str] = []
    found = {path: Configured(setting, setting.default, DEFAULT) for path, setting in known.items()}
    for file in sources.files:
        _override(found, _from_file(known, file, complaints))
    for path, setting in known.items():
        variable = variable_of(path, sources.prefix)
        for origin, written in (
            (f"environment {variable}", sources.environment.get(variable)),
            (option_of(path), sources.options.get(path)),
        ):
            if written is not None:
                value = _from_text(setting, written, origin, complaints)
                _override(found, {path: Configured(setting, value, origin)})
    complaints += _unknown_names(known, sources)
    complaints += _missing(found, sources)
    refuse(complaints)
    return _from_general(found)


def _override(found: dict[str, Configured], stronger: Found) -> None:
    for path, configured in stronger.items():
        weaker = found[path]
        instead = (*weaker.instead, weaker.origin) if weaker.given else ()
        found[path] = dataclasses.replace(configured, instead=instead)


def _from_general(found: Found) -> dict[str, Configured]:
    """Where a setting is not given, the general one's value holds; where both are, the specific one tells it."""
    return {path: _with_general(configured, found) for path, configured in found.items()}


def _with_general(specific: Configured, found: Found) -> Configured:
    general = found.get(specific.setting.general)
    if general is None or not general.given:
        return specific
    name = general.setting.path
    if specific.given:
        told = f"{name} ({general.origin})"
        return dataclasses.replace(specific, instead=(*specific.instead, told))
    take = specific.setting.take
    value = take(general.value) if take else general.value
    return dataclasses.replace(
        specific, value=value, origin=f"{general.origin} ({name})", inherited=True
    )


def refusals(found: Found) -> list[str]:
    """Why nothing may be started with these settings: «FEATURE (SETTING at ORIGIN)» for each missing protection.

    A general setting whose specific ones are all given says nothing any more.
    """
    return [
        f"{configured.setting.feature.name} ({path}: {configured}, {configured.origin})"
        for path, configured in found.items()
        if configured.setting.feature is not None
        and configured.given
        and configured.setting.insists(configured.value)
        and not _is_overruled(path, found)
    ]


def _is_overruled(path: str, found: Found) -> bool:
    specific = [each for each in found.values() if each.setting.general == path]
    return bool(specific) and all(each.given for each in specific)


def refuse_to_start(what: str, found: Found) -> None:
    """Raises InvalidInput when leaving out what the settings ask for would weaken the installation."""
    missing = refusals(found)
    if missing:
        raise InvalidInput(
            f"cannot start the {what}: its settings ask for protection that this build does not have: "
            f"{'; '.join(missing)}. Set them to false, knowing that it is missing, or install a build that has it."
        )


def nested(found: Found) -> dict[str, object]:
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


def find(found: Found, path: str) -> Configured:
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


def known_names(settings: Iterable[Setting], file: SourceFile) -> int:
    """How many values of the file have names that `settings` declare: what a file is about, misspelt names or not."""
    known = {setting.path for setting in settings}
    return sum(
        ".".join(map(str, path)) in known
        for document in read_documents(file.text, file.name)
        for path in document.places
    )


def _missing(found: Found, sources: Sources) -> Iterator[str]:
    """What must be given and is not; without any source nobody is asked."""
    where = " and ".join(file.name for file in sources.files)
    for path, configured in found.items():
        if where and configured.setting.required and not configured.given:
            yield f"{where}: missing setting «{path}»"


def _from_file(
    known: Mapping[str, Setting], file: SourceFile, complaints: list[str]
) -> dict[str, Configured]:
    documents = read_documents(file.text, file.name)
    if len(documents) > 1:
        second = documents[1].line(())
        raise InvalidInput(
            f"{file.name}:{second}: settings are one YAML document, this is a second"
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
            found[name] = Configured(known[name], read_value(known[name], below), origin)
        elif _is_section(name, known):
            found |= _walk(known, below)
        else:
            below.wrong(f"unknown setting «{name}»: {_suggestion(name, known)}")
    return found


def _suggestion(name: str, known: Iterable[str]) -> str:
    """The nearest name at the same place of the file, else the nearest anywhere."""
    parent, dot, word = name.rpartition(".")
    above = parent + dot
    beside = {path.removeprefix(above).split(".")[0] for path in known if path.startswith(above)}
    found = nearest(word, sorted(beside))
    return f"did you mean «{above}{found}»?" if found else did_you_mean(name, known)


def _is_section(name: str, known: Iterable[str]) -> bool:
    return any(path.startswith(f"{name}.") for path in known)


def _from_text(setting: Setting, written: str, origin: str, complaints: list[str]) -> object:
    """A value from outside the file: verbatim for text and paths, else as it would stand in the file."""
    problems: list[Problem] = []
    try:
        value = read_value(setting, _field(setting, written, origin, problems))
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
