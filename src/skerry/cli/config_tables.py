"""What `skerry config` shows: values in force with their origins and what to know of them, and one setting explained."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from skerry.cli.output import Cell, Line, Raw, Table
from skerry.core.config import (
    Configured,
    Found,
    refusals,
    variable_of,
)
from skerry.core.models import model_document
from skerry.core.setting_values import Setting, without_password, write_value
from skerry.core.spec_text import to_document
from skerry.core.specs import Desired
from skerry.wire.workload import WorkloadSpec


def in_force(every: Mapping[str, Found], agents: Sequence[Found], named: str) -> Table:
    """Every value with its origin, sections together. What is neither built nor given is left out."""
    columns = ("KIND", "SETTING", "VALUE", "FROM", "NOTE")
    shown = [*every.items(), *(("agent", agent) for agent in agents)]
    held = [
        (kind, path, each)
        for kind, found in shown
        for path, each in sorted(found.items(), key=lambda item: _in_sections(item[0]))
        if each.origin != "default" or _is_in_force(kind, each)
    ]
    rows = [row for kind, path, each in held for row in _rows_of(kind, path, each)]
    whole = [_row(kind, path, each, each.setting, each.value) for kind, path, each in held]
    given = sum(each.origin != "default" for _, _, each in held)
    what = [f"{kind} settings" for kind in every]
    what += [f"agent «{agent['name']}» {agent['version']}" for agent in agents]
    lead = [Line(f"{named}: fine ({' and '.join(what)}, {given} not by default)")]
    lead += map(Line, _warnings(every, agents))
    return Table(columns, rows, _objects(columns, whole), lead=lead, csv_only=_if_empty(rows))


_Row = tuple[str, str, Cell, str, str]


def _row(kind: str, path: str, each: Configured, setting: Setting, value: object) -> _Row:
    return kind, path, _value(setting, value), each.origin, note(kind, each)


def _rows_of(kind: str, path: str, each: Configured) -> Iterator[_Row]:
    """One row, or one for each field of each entry of a list: «alerts[low_storage].condition»."""
    entries = each.value if each.setting.kind == "list" and isinstance(each.value, list) else []
    if not entries:
        yield _row(kind, path, each, each.setting, each.value)
    fields = {field.path: field for field in each.setting.fields}
    told, quiet = each, _without_notes(each)
    for at, entry in enumerate(entries, start=1):
        for name, value in entry.items():
            inside = f"{path}[{entry.get('name', at)}].{name}"
            yield _row(kind, inside, told, fields[name], value)
            told = quiet


def _without_notes(each: Configured) -> Configured:
    """What people should know of a list as a whole stands beside its first row."""
    setting = dataclasses.replace(each.setting, notes=None)
    return dataclasses.replace(each, setting=setting)


def _is_in_force(kind: str, by_default: Configured) -> bool:
    setting = by_default.setting
    if kind == "agent" or (kind == "hub" and setting.nodes_only):
        return False
    return setting.feature is None or by_default.value not in (None, [], False)


def _if_empty(rows: Sequence[Sequence[Cell | str]]) -> set[str]:
    """People see the column of notes where there are any."""
    return set() if any(row[4] for row in rows) else {"NOTE"}


def _warnings(every: Mapping[str, Found], agents: Sequence[Found]) -> Iterator[str]:
    lacking = sum(
        each.lacking and each.given for found in every.values() for each in found.values()
    )
    if lacking:
        yield f"not built yet and without effect: {lacking} of them"
    for kind, found in every.items():
        missing = refusals(found)
        if missing:
            yield f"«skerry {kind} run» refuses to start with them, for want of"
            yield from (f"  {each}" for each in missing)
    if agents:
        yield "agents are not built yet: nothing runs them"


def note(kind: str, configured: Configured) -> str:
    """What people should know of a value: that it has no effect here, or what it holds instead of."""
    found = []
    setting = configured.setting
    if kind == "hub" and setting.nodes_only and configured.origin != "default":
        found.append("for nodes")
    elif configured.lacking and setting.feature is not None:
        found.append(f"not built: {setting.feature.name}")
    found += [f"instead of {other}" for other in configured.instead]
    if setting.notes is not None and configured.given:
        found += setting.notes(configured.value)
    return "; ".join(found)


def workloads_table(files: Sequence[tuple[str, Desired]]) -> Table:
    """What is in workload files."""
    rows, documents, lead = [], [], []
    for name, desired in files:
        specs, models = desired.workloads, desired.models
        count = f"{len(specs)} workload{'' if len(specs) == 1 else 's'}"
        if models:
            count += f", {len(models)} model{'' if len(models) == 1 else 's'}"
        rows += [(spec.name, Cell(" ".join(_program(spec)), raw=_program(spec))) for spec in specs]
        lead.append(Line(f"{name}: fine ({count})"))
        documents += [*map(to_document, specs), *map(model_document, models)]
    return Table(("NAME", "COMMAND"), rows, documents, "no workloads in it", lead=lead)


def _program(spec: WorkloadSpec) -> list[str]:
    if spec.container is not None:
        return [spec.container.image, *(spec.container.command or [])]
    if spec.process is not None:
        return spec.process.command
    return [spec.worker.scripts] if spec.worker is not None else []


def explained(every: Mapping[str, Found], prefixes: Mapping[str, str], key: str) -> Table:
    """The setting `key` of each kind that has it, also one inside a list: «alerts.condition»."""
    columns = ("KIND", "SETTING", "VALUE", "FROM", "DEFAULT", "VARIABLE", "MEANING")
    rows = [
        _explained(kind, found[key], prefixes[kind])
        for kind, found in every.items()
        if key in found
    ]
    section, _, name = key.replace("[]", "").rpartition(".")
    for kind, found in every.items():
        inside = found[section].setting.fields if section in found else ()
        rows += [
            _field_explained(kind, found[section].setting, each)
            for each in inside
            if each.path == name
        ]
    return Table(columns, rows, _objects(columns, rows))


def _explained(kind: str, configured: Configured, prefix: str) -> Sequence[Cell | str]:
    setting = configured.setting
    return (
        kind,
        setting.path,
        _value(setting, configured.value),
        configured.origin,
        _value(setting, setting.default),
        variable_of(setting.path, prefix) if prefix else "",
        " ".join(_meaning(kind, setting)),
    )


def _field_explained(kind: str, section: Setting, setting: Setting) -> Sequence[Cell | str]:
    unset = Cell("none", raw="")
    inside = dataclasses.replace(setting, feature=section.feature, nodes_only=section.nodes_only)
    told = " ".join(_meaning(kind, inside))
    return (kind, f"{section.path}[].{setting.path}", unset, "", unset, "", told)


def _meaning(kind: str, setting: Setting) -> Iterator[str]:
    yield setting.doc
    if setting.unit:
        yield f"A bare number counts {setting.unit}."
    if setting.words:
        yield f"Known words: {', '.join(setting.words)}."
    if setting.fields:
        yield f"Each has {', '.join(each.path for each in setting.fields)}."
    if setting.general:
        yield f"Where it is not given, «{setting.general}» holds."
    yield from _standing(kind, setting)


def _standing(kind: str, setting: Setting) -> Iterator[str]:
    feature = setting.feature
    if kind == "agent":
        yield "Agents are not built yet."
        return
    if kind == "hub" and setting.nodes_only:
        yield "Only for nodes: no effect on a hub."
        return
    if feature is not None and not feature.built:
        asked = "Some values are" if setting.asks else "It is"
        yield f"{asked} not built yet ({feature.name})."
        if feature.protects and (setting.asks or setting.kind == "boolean"):
            yield "Whoever asks for it gets a refusal at the start."
    yield "Takes effect at the next start."


def _in_sections(path: str) -> tuple[str, str]:
    """Sorts settings without a section first."""
    section, dot, _ = path.rpartition(".")
    return (section if dot else "", path)


def _value(setting: Setting, value: object) -> Cell:
    """A value as people write it; raw in kept units, «» when it is unset."""
    raw: Raw
    match value:
        case None:
            raw = ""
        case str():
            raw = without_password(value)
        case int() | float() | dict() | list():
            raw = value
        case _:
            raw = str(value)
    return Cell(write_value(setting, value), raw=raw)


def _objects(
    columns: Sequence[str], rows: Sequence[Sequence[Cell | str]]
) -> list[dict[str, Raw | None]]:
    """The rows for JSON, where an unset value is null."""
    names = [column.lower() for column in columns]
    return [dict(zip(names, map(_for_json, row), strict=True)) for row in rows]


def _for_json(cell: Cell | str) -> Raw | None:
    raw = cell if isinstance(cell, str) else cell.raw
    return None if raw == "" else raw
