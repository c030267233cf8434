"""`overrides` of a spec: what differs on some nodes. The hub resolves them, so that a node is given a plain spec.

Overrides whose `on` means the node are merged over the spec in their order, so later ones win: sections and maps
field by field, everything else (lists, `ready`, `on_disconnect`) as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, get_args

import msgspec

from skerry.core import spec_rules
from skerry.core.fields import Problem, dotted
from skerry.core.selection import selects
from skerry.core.yaml_lines import Path
from skerry.kit.nearest import did_you_mean
from skerry.wire.workload import Override, RuntimeName, WorkloadSpec

OVERRIDABLE: Final = (
    "process", "container", "wasm", "env", "resources", "restart", "stop", "ready", "on_disconnect", "streams",
    "logs",
)  # fmt: skip
"""What a workload is (name, runtime, isolation, dependencies, where and how it is brought out) is the same everywhere."""

MAX_OVERRIDES: Final = 1000

_WHOLE: Final = {"ready", "on_disconnect"}


def resolve(spec: WorkloadSpec, node: str, labels: dict[str, str]) -> WorkloadSpec:
    """The spec for the node of this name and these labels, without overrides.

    Raises msgspec.ValidationError for overrides that `problems` complains about.
    """
    if not spec.overrides:
        return spec
    return _merged(spec, [each for each in spec.overrides if selects(each.on, node, labels)])


def problems(spec: WorkloadSpec) -> Iterator[Problem]:
    """What is wrong with the overrides of a spec, each taken by itself."""
    if len(spec.overrides) > MAX_OVERRIDES:
        yield Problem(("overrides",), f"overrides: more than {MAX_OVERRIDES}: use labels")
        return
    if not spec.overrides:
        return
    known = {problem.sentence for problem in spec_rules.problems(spec)}
    for index, override in enumerate(spec.overrides):
        for problem in _problems(spec, override):
            if problem.sentence not in known:
                path = ("overrides", index, *problem.path)
                yield Problem(path, f"{dotted(path[:2])}: {problem.sentence}")


def _problems(spec: WorkloadSpec, override: Override) -> Iterator[Problem]:
    yield from spec_rules.selector_problems(override.on)
    if override.on.node is None and not override.on.labels:
        yield Problem(("on",), "on says no node: write «node» or «labels»")
    strange = [*_strange(override.fields), *_other_runtimes(spec, override.fields)]
    yield from strange
    if strange:
        return
    try:
        merged = _merged(spec, [override])
    except msgspec.ValidationError as error:
        yield Problem((), str(error))
        return
    yield from spec_rules.problems(merged)


def _strange(fields: Mapping[str, object]) -> Iterator[Problem]:
    """Fields that do not exist or may not differ from node to node, and those without a value."""
    yield from _unknown((), fields, OVERRIDABLE)
    for name, value in fields.items():
        if not isinstance(value, dict):
            yield from _null((name,), value)
            continue
        if name in _SECTIONS:
            yield from _unknown((name,), value, _SECTIONS[name])
        for key, entry in value.items():
            yield from _null((name, key), entry)


def _unknown(path: Path, there: Iterable[str], known: Iterable[str]) -> Iterator[Problem]:
    where = f" in {dotted(path)}" if path else ""
    for name in there:
        if name not in known:
            sentence = (
                f"«{name}»{where} cannot differ from node to node: {did_you_mean(name, known)}"
            )
            yield Problem((*path, name), sentence)


def _other_runtimes(spec: WorkloadSpec, fields: Mapping[str, object]) -> Iterator[Problem]:
    for name in get_args(RuntimeName):
        if name in fields and name != spec.runtime:
            sentence = f"«{name}» does not belong to runtime «{spec.runtime}»: remove it"
            yield Problem((name,), sentence)


def _null(path: Path, value: object) -> Iterator[Problem]:
    if value is None:
        yield Problem(path, f"{dotted(path)} has no value: leave it out")


def _merged(spec: WorkloadSpec, overrides: Iterable[Override]) -> WorkloadSpec:
    fields: dict[str, object] = msgspec.to_builtins(msgspec.structs.replace(spec, overrides=[]))
    for override in overrides:
        for name, value in override.fields.items():
            before = fields.get(name)
            if name not in _WHOLE and isinstance(value, dict) and isinstance(before, dict):
                fields[name] = {**before, **value}
            else:
                fields[name] = value
    return msgspec.convert(fields, WorkloadSpec)


def _section_fields() -> dict[str, tuple[str, ...]]:
    """The fields of each section, by the structs themselves, so that a new field can be overridden at once."""
    found = {}
    for field in msgspec.structs.fields(WorkloadSpec):
        kinds = (field.type, *getattr(field.type, "__args__", ()))
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
                found[field.name] = kind.__struct_fields__
    return found


_SECTIONS: Final = _section_fields()
