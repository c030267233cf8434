"""Writing specs: as a document that `core.specs` reads back, and as the differences between two of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from skerry.core.fields import dotted
from skerry.core.spec_rules import plain
from skerry.core.yaml_lines import Path, Plain
from skerry.kit.units import write_duration, write_size
from skerry.wire.people import FieldChange
from skerry.wire.workload import (
    ContainerSpec,
    OnDisconnect,
    Override,
    ProcessSpec,
    Ready,
    WasmSpec,
    WorkerSpec,
    WorkloadSpec,
)

_DURATIONS: Final = {
    ("restart", "delay"), ("restart", "max_delay"), ("restart", "reset_after"), ("restart", "window"),
    ("stop", "grace"), ("ready", "interval"), ("ready", "timeout"), ("update", "min_healthy"),
    ("update", "healthy_within"), ("update", "lock_at_most"), ("update", "ready_within"),
    ("wasm", "deadline"), ("worker", "reload_delay"), ("logs", "max_age"),
}  # fmt: skip
_SIZES: Final = {("resources", "memory"), ("resources", "storage"), ("logs", "max_size")}
_ORDER: Final = (
    "kind", "name", "on", "runtime", "process", "container", "wasm", "worker", "env", "resources",
    "isolation", "allow", "restart", "stop", "ready", "depends_on", "on_disconnect", "streams", "logs", "models", "secrets", "update", "overrides",
)  # fmt: skip

_FIRST: Final = re.compile(r"[.\[]")
_SPECIAL: Final = frozenset(",[]{}\"'#: \n\t")


def to_document(spec: WorkloadSpec) -> dict[str, Plain]:
    """The spec as its YAML document, without what is default. `parse_workloads` of it gives the spec back."""
    bare = WorkloadSpec(
        name="",
        process=ProcessSpec(command=[]) if spec.process else None,
        container=ContainerSpec(image="") if spec.container else None,
        wasm=WasmSpec(module="") if spec.wasm else None,
        worker=WorkerSpec(scripts="") if spec.worker else None,
        ready=Ready() if spec.ready else None,
    )
    document: dict[str, Plain] = {"kind": "workload", **_without(_written(spec), _written(bare))}
    return {key: document[key] for key in _ORDER if key in document}


def difference(old: WorkloadSpec | None, new: WorkloadSpec | None) -> list[FieldChange]:
    """The fields that differ, by dotted path, with values as people write them; None as a spec means there is none.

    A field that one of two specs leaves out is compared by its default; of a single spec, what is not default is
    told, and its name is not: it says which workload this is about.
    """
    if old is None or new is None:
        return _changes(_given(old), _given(new))
    return _changes(dict(_leaves(_written(old))), dict(_leaves(_written(new)))) or _reordered(
        old, new
    )


def _given(spec: WorkloadSpec | None) -> dict[str, str]:
    document = {} if spec is None else to_document(spec)
    fields = {key: value for key, value in document.items() if key not in {"kind", "name"}}
    return dict(_leaves(fields))


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[FieldChange]:
    paths = sorted({**before, **after}, key=lambda path: _ORDER.index(_FIRST.split(path)[0]))
    return [
        FieldChange(path, before.get(path), after.get(path))
        for path in paths
        if before.get(path) != after.get(path)
    ]


def _reordered(old: WorkloadSpec, new: WorkloadSpec) -> list[FieldChange]:
    """The first matching pattern of `streams` wins, so their order is a field, too."""
    orders = [", ".join(spec.streams) for spec in (old, new)]
    return [] if orders[0] == orders[1] else [FieldChange("streams (order)", *orders)]


def _written(spec: WorkloadSpec) -> dict[str, Plain]:
    """Every field in the words of the file, defaults included; only what is absent is left out."""
    written: dict[str, Plain] = {}
    for name in spec.__struct_fields__:
        value = getattr(spec, name)
        if name == "on_disconnect":
            written[name] = _on_disconnect(spec.on_disconnect)
        elif name == "overrides":
            written[name] = [_override(each) for each in spec.overrides]
        elif value is not None:
            written[name] = _value((name,), value)
    return written


def _override(override: Override) -> Plain:
    on = override.on
    written: dict[str, Plain] = {
        "on": {"labels": {**on.labels}} if on.node is None else {"node": on.node}
    }
    for name, value in override.fields.items():
        if name == "on_disconnect":
            written[name] = _on_disconnect(msgspec.convert(value, OnDisconnect))
        else:
            written[name] = _value((name,), value)
    return written


def _on_disconnect(value: OnDisconnect) -> str:
    after = value.stop_after
    return "run" if after is None else f"stop after {write_duration(after)}"


def _value(path: Path, value: object) -> Plain:
    match value:
        case msgspec.Struct():
            entries = msgspec.structs.asdict(value).items()
            return {key: _value((*path, key), entry) for key, entry in entries if entry is not None}
        case dict():
            return {str(key): _value((*path, key), entry) for key, entry in value.items()}
        case list():
            return [_value((*path, index), entry) for index, entry in enumerate(value)]
        case float() if path in _DURATIONS:
            return write_duration(value)
        case int() if path in _SIZES:
            return write_size(value)
        case int() | float() | str():
            return value
        case _:
            raise TypeError(f"{dotted(path)} has no written form: {value!r}")


def _without(written: dict[str, Plain], bare: dict[str, Plain]) -> dict[str, Plain]:
    """What of `written` differs from `bare`."""
    kept: dict[str, Plain] = {}
    for key, value in written.items():
        other = bare.get(key)
        if isinstance(value, dict) and isinstance(other, dict):
            if part := _without(value, other):
                kept[key] = part
        elif value != other:
            kept[key] = value
    return kept


def _leaves(value: Plain, path: Path = ()) -> Iterator[tuple[str, str]]:
    """Every scalar and list with its dotted path; lists stand as a whole, unless they are of maps."""
    if isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
        for index, item in enumerate(value):
            yield from _leaves(item, (*path, index))
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield from _leaves(entry, (*path, key))
    else:
        yield dotted(path), _shown(value)


def _shown(value: Plain) -> str:
    if isinstance(value, list):
        return flow_list([_shown(item) for item in value])
    if isinstance(value, bool):
        return "true" if value else "false"
    return plain(value) if isinstance(value, int | float) else str(value)


def flow_list(texts: Sequence[str]) -> str:
    """A YAML list in one line; texts are quoted where a reader would take them for something else."""
    items = [
        json.dumps(text, ensure_ascii=False) if not text or set(text) & _SPECIAL else text
        for text in texts
    ]
    return f"[{', '.join(items)}]"
