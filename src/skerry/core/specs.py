"""Workload specs: from what people write to `wire.workload.WorkloadSpec`, and back. docs/reference/workload.md.

`parse_workloads` reads a file and names every wrong field with its line; the hub calls `check_spec` and
`check_set` on what arrives by its API. Both judge by `core.spec_rules`. `core.spec_text` writes specs.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import get_args

import msgspec

from skerry.core import overrides, spec_rules
from skerry.core.fields import (
    WRONG,
    Field,
    Problem,
    boolean,
    duration,
    integer,
    list_of,
    map_of,
    number,
    one_of,
    refuse,
    section,
    size,
    text,
)
from skerry.core.models import KIND as MODEL
from skerry.core.models import read_model
from skerry.core.spec_text import difference, flow_list, to_document
from skerry.core.yaml_lines import Document, Path, read_documents
from skerry.kit.errors import InvalidInput
from skerry.kit.nearest import did_you_mean
from skerry.kit.one_line import one_line
from skerry.kit.units import parse_duration
from skerry.wire.models import ModelSpec
from skerry.wire.workload import Shipped, WorkloadSpec

__all__ = [
    "Desired",
    "check_set",
    "check_spec",
    "difference",
    "parse_desired",
    "parse_workloads",
    "to_document",
]

_RUNTIMES = ("process", "container", "wasm")


@dataclass(frozen=True)
class Desired:
    """What the documents of one file or of several want."""

    workloads: list[WorkloadSpec] = field(default_factory=list)
    models: list[ModelSpec] = field(default_factory=list)


def parse_desired(text_of_file: str, file: str) -> Desired:
    """What a YAML text wants, one workload or model per document. `file` is its name for messages.

    Raises one InvalidInput with a line for each problem; nothing is returned from a file with an error.
    """
    documents = read_documents(text_of_file, file)
    if not documents:
        raise InvalidInput(f"{file}: cannot find a workload in it: the file is empty")
    models = [(each, *read_model(each)) for each in documents if _kind_of(each) == MODEL]
    readings = [_read(each) for each in documents if _kind_of(each) != MODEL]
    found = [(reading.document, reading.problems) for reading in readings]
    found += [(document, problems) for document, _, problems in models]
    refuse(
        [
            problem.at(document)
            for document, problems in sorted(found, key=lambda one: one[0].line(()))
            for problem in sorted(problems, key=lambda p: document.line(p.path))
        ]
        or _set_problems(readings)
    )
    return Desired([reading.spec for reading in readings], [spec for _, spec, _ in models])


def parse_workloads(text_of_file: str, file: str) -> list[WorkloadSpec]:
    """As `parse_desired`, for a file that is about workloads only."""
    return parse_desired(text_of_file, file).workloads


def check_spec(spec: WorkloadSpec) -> list[str]:
    """What is wrong with a spec that came by an API, one sentence for each field; empty when it is fine."""
    return [one_line(problem.sentence) for problem in _problems(spec)]


def check_set(specs: Sequence[WorkloadSpec], models: Sequence[ModelSpec] = ()) -> list[str]:
    """What is wrong between specs that are to run on the same nodes: the same name twice, a circle of depends_on."""
    names = [model.name for model in models]
    return [
        *(problem.sentence for _, problem in spec_rules.set_problems(specs)),
        *(f"model «{name}» is there twice" for name in {*names} if names.count(name) > 1),
    ]


@dataclass(frozen=True)
class _Reading:
    document: Document
    spec: WorkloadSpec
    problems: list[Problem]


def _read(document: Document) -> _Reading:
    """Reads one document. With problems, `spec` is only good for finding more of them."""
    problems: list[Problem] = []
    values = _workload(Field(document, (), document.value, problems))
    fields = dict(values) if isinstance(values, dict) else {}
    fields.pop("kind", None)
    spec = msgspec.convert(_completed(fields), WorkloadSpec)
    known = {problem.path for problem in problems}
    around = {prefix for path in known for prefix in _prefixes(path)}
    problems.extend(
        problem
        for problem in _problems(spec)
        if problem.path not in around and known.isdisjoint(_prefixes(problem.path))
    )
    return _Reading(document, spec, problems)


def _problems(spec: WorkloadSpec) -> Iterator[Problem]:
    yield from spec_rules.problems(spec)
    yield from overrides.problems(spec)


def _completed(fields: dict[str, object]) -> dict[str, object]:
    """Stand-ins for required fields that are missing or wrong, so that the rest can be checked too."""
    runtime = next((word for word in _RUNTIMES if word == fields.get("runtime")), "process")
    completed = {"name": "unnamed", **fields, "runtime": runtime}
    for section_name, required in _STAND_INS.items():
        given = fields.get(section_name)
        if isinstance(given, dict) or section_name in _required(fields, runtime):
            completed[section_name] = required | (given if isinstance(given, dict) else {})
    return completed


def _required(entries: Mapping[str, object], runtime: str) -> tuple[str, ...]:
    """The section of the runtime; a worker group of processes has a program without one."""
    if runtime not in _RUNTIMES or (runtime == "process" and "worker" in entries):
        return ()
    return (runtime,)


def _prefixes(path: Path) -> set[Path]:
    return {path[:length] for length in range(1, len(path) + 1)}


def _set_problems(readings: list[_Reading]) -> list[str]:
    found = spec_rules.set_problems(
        [reading.spec for reading in readings],
        [reading.document.line(("name",)) for reading in readings],
    )
    return [problem.at(readings[index].document) for index, problem in found]


def _kind_of(document: Document) -> object:
    return document.value.get("kind") if isinstance(document.value, dict) else None


def _kind(field: Field) -> object:
    word = text(field)
    if word is WRONG or word == "workload":
        return word
    return field.wrong(f"unknown kind «{word}»: {did_you_mean(word, ['workload', MODEL])}")


def _runtime(field: Field) -> object:
    word = text(field)
    if word is WRONG or word in _RUNTIMES:
        return word
    return field.wrong(f"unknown runtime «{word}», this build knows: {', '.join(_RUNTIMES)}")


def _command(field: Field) -> object:
    if isinstance(field.value, str):
        return field.wrong(f"{field.name} must be a list, write: {_as_list(field.value)}")
    return _texts(field)


def _as_list(command: str) -> str:
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    return flow_list(words)


def _gpus(field: Field) -> object:
    return "all" if field.value == "all" else integer(field)


def _on_disconnect(field: Field) -> object:
    if isinstance(field.value, str):
        if field.value == "run":
            return {}
        words = field.value.split(maxsplit=2)
        if words[:2] == ["stop", "after"] and len(words) == 3:
            try:
                return {"stop_after": parse_duration(words[2])}
            except InvalidInput as error:
                return field.wrong(f"{field.name}: {error}")
    return field.wrong(f"{field.name} is not understood: write «run», or «stop after 10m»")


def _max_unavailable(field: Field) -> object:
    return text(field) if isinstance(field.value, str) else integer(field)


def _override(field: Field) -> object:
    values = _PARTIAL(field)
    if not isinstance(values, dict) or "on" not in values:
        return WRONG
    return {"on": values.pop("on"), "fields": values}


def _ship(field: Field) -> object:
    """A level; `true` is short for «all», `false` for leaving it out."""
    if isinstance(field.value, bool):
        return "all" if field.value else None
    return one_of(*get_args(Shipped))(field)


def _workload(field: Field) -> object:
    """A whole document. Its one section says which runtime is meant, so `runtime` may be left out."""
    entries = field.value if isinstance(field.value, dict) else {}
    named = str(entries.get("runtime", ""))
    implied = next((runtime for runtime in _RUNTIMES if runtime in entries), "process")
    runtime = named or implied
    values = section(_FIELDS, ("kind", "name", *_required(entries, runtime)))(field)
    return {**values, "runtime": runtime} if isinstance(values, dict) else values


_texts = list_of(text, "texts")
_words = map_of(text, "texts")

_STAND_INS: dict[str, dict[str, object]] = {
    "process": {"command": ["true"]},
    "container": {"image": "unnamed"},
    "wasm": {"module": "unnamed"},
    "worker": {"scripts": "/"},
}

_ON = section({"node": text, "labels": _words})
_PROCESS = {"command": _command, "directory": text}
_CONTAINER = {
    "image": text,
    "entrypoint": _command,
    "command": _command,
    "directory": text,
    "pull": one_of("missing", "always", "never"),
    "network": text,
    "user": text,
    "read_only": boolean,
    "privileged": boolean,
    "cap_add": _texts,
    "cap_drop": _texts,
    "volumes": _texts,
    "devices": _texts,
    "gpus": _gpus,
    "pull_secret": text,
}
_WASM = {
    "module": text,
    "args": _texts,
    "directories": _texts,
    "mode": one_of("once", "worker", "on-record"),
    "input": text,
    "output": one_of("log", "records"),
    "deadline": duration,
    "fuel": integer,
}
_SECRET = section({"name": text, "file": text, "env": text, "restart": boolean}, ("name",))
_WORKER = {
    "scripts": text,
    "pattern": text,
    "reload_delay": duration,
    "models": one_of("need", "wish"),
}

_FIELDS = {
    "kind": _kind,
    "name": text,
    "on": _ON,
    "runtime": _runtime,
    "process": section(_PROCESS, ("command",)),
    "container": section(_CONTAINER, ("image",)),
    "wasm": section(_WASM, ("module",)),
    "worker": section(_WORKER, ("scripts",)),
    "env": _words,
    "resources": section(
        {
            "cpu": number,
            "memory": size,
            "open_files": integer,
            "pids": integer,
            "storage": size,
            "unattended_restart": boolean,
        }
    ),
    "isolation": one_of("standard", "strict"),
    "allow": section(
        {"read": _texts, "write": _texts, "connect": list_of(integer, "ports"), "network": boolean}
    ),
    "restart": section(
        {
            "policy": one_of("never", "on-failure", "always"),
            "delay": duration,
            "max_delay": duration,
            "reset_after": duration,
            "attempts": integer,
            "window": duration,
            "counts": one_of("failures", "exits"),
        }
    ),
    "stop": section({"signal": one_of(*spec_rules.SIGNALS), "grace": duration}),
    "ready": section(
        {
            "exec": _command,
            "http": text,
            "tcp": integer,
            "value": text,
            "health": boolean,
            "interval": duration,
            "timeout": duration,
        }
    ),
    "depends_on": map_of(one_of("running", "ready", "succeeded"), "name: running|ready|succeeded"),
    "on_disconnect": _on_disconnect,
    "streams": map_of(one_of("keep", "sample"), "pattern: keep|sample"),
    "logs": section(
        {
            "max_size": size,
            "files": integer,
            "max_age": duration,
            "redact": _texts,
            "redact_secrets": boolean,
            "ship": _ship,
        }
    ),
    "models": _texts,
    "secrets": list_of(_SECRET, "secrets"),
    "update": section(
        {
            "max_unavailable": _max_unavailable,
            "min_healthy": duration,
            "healthy_within": duration,
            "pause_on_failure": boolean,
            "lock_at_most": duration,
            "strategy": one_of("recreate", "overlap"),
            "ready_within": duration,
        }
    ),
    "overrides": list_of(_override, "overrides"),
}

_PARTIAL = section(
    {
        **{name: _FIELDS[name] for name in overrides.OVERRIDABLE},
        "on": _ON,
        "process": section(_PROCESS),
        "container": section(_CONTAINER),
        "wasm": section(_WASM),
    },
    ("on",),
)
