"""`skerry config check FILE` and `skerry config explain KEY`, for settings of nodes and hubs and for workload files."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from skerry.cli.assignments import read_assignments
from skerry.cli.output import Cell, Form, FormOption, Line, Raw, Table, standard_screen
from skerry.core.config import (
    Configured,
    Setting,
    find,
    variable_of,
    without_password,
    write_value,
)
from skerry.core.models import model_document
from skerry.core.specs import parse_desired, to_document
from skerry.core.yaml_lines import read_documents
from skerry.hub import settings as hub
from skerry.kit.errors import InvalidInput
from skerry.kit.text_file import read_text
from skerry.node import settings as node
from skerry.wire.workload import WorkloadSpec


class Kind(enum.StrEnum):
    """What a file describes."""

    NODE = "node"
    HUB = "hub"
    WORKLOAD = "workload"


Found = Mapping[str, Configured]

_FIND: dict[Kind, Callable[..., Found]] = {
    Kind.NODE: node.find_settings,
    Kind.HUB: hub.find_settings,
}
_PREFIX = {Kind.NODE: node.PREFIX, Kind.HUB: hub.PREFIX}

DataDir = Annotated[Path | None, typer.Option(help="The data directory of the node or hub.")]


def register(app: typer.Typer) -> None:
    """Adds the command group."""
    group = typer.Typer(help="Check and explain settings.", no_args_is_help=True)
    group.command("check")(check)
    group.command("explain")(explain)
    app.add_typer(group, name="config")


def check(
    file: Annotated[
        Path | None,
        typer.Argument(help="node.yaml, hub.yaml or a workload file; else what holds without one."),
    ] = None,
    kind: Annotated[
        Kind | None, typer.Option(help="What the file describes; else it is guessed.")
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="As for «node run». May be repeated."),
    ] = None,
    data_dir: DataDir = None,
    output: FormOption = Form.TABLE,
) -> None:
    """Check settings without using them: every value in force and where it comes from, or every mistake with its line."""
    screen = standard_screen(output)
    text = read_text(file) if file else ""
    if file is not None:
        kind = kind or guess(text, file)
    if kind is Kind.WORKLOAD:
        screen.show(_workloads(text, file))
        return
    options = _options(data_dir, setting or [])
    kinds = [kind] if kind else [Kind.NODE] if options else [Kind.NODE, Kind.HUB]
    every = {each: _FIND[each](config=file, options=options) for each in kinds}
    if Kind.NODE in every:
        node.node_settings(every[Kind.NODE])
    screen.show(in_force(every, file))


def explain(
    key: Annotated[str, typer.Argument(help="A setting, for example api.port.")],
    kind: Annotated[Kind | None, typer.Option(help="node or hub; else both.")] = None,
    config: Annotated[Path | None, typer.Option(help="The settings file to look into.")] = None,
    data_dir: DataDir = None,
    output: FormOption = Form.TABLE,
) -> None:
    """Say what a setting means, what holds, and where that comes from."""
    options = _options(data_dir, [])
    guessed = guess(read_text(config), config) if config else None
    kinds = [kind] if kind else [guessed] if guessed else [Kind.NODE, Kind.HUB]
    every = {each: _FIND[each](config=config, options=options) for each in kinds if each in _FIND}
    having = {each: found[key] for each, found in every.items() if key in found}
    if not having:
        find({path: each for found in every.values() for path, each in found.items()}, key)
    columns = ("KIND", "SETTING", "VALUE", "FROM", "DEFAULT", "VARIABLE", "MEANING")
    rows = [_explained(each, configured) for each, configured in having.items()]
    standard_screen(output).show(Table(columns, rows, _objects(columns, rows)))


def guess(text: str, file: Path) -> Kind:
    """What a file describes, by its top-level fields. Raises InvalidInput when it is no YAML."""
    top = {
        key
        for document in read_documents(text, str(file))
        if isinstance(document.value, dict)
        for key in document.value
    }
    if "kind" in top or "process" in top:
        return Kind.WORKLOAD
    fitting = {each: len(top & _sections(each)) for each in (Kind.NODE, Kind.HUB)}
    if file.name.startswith("hub"):
        fitting[Kind.HUB] += 1
    return max(fitting, key=lambda each: fitting[each])


def in_force(every: Mapping[Kind, Found], file: Path | None) -> Table:
    """Every setting with its value and origin, the node's before the hub's, sections together."""
    columns = ("KIND", "SETTING", "VALUE", "FROM")
    rows = [
        (str(kind), path, _value(configured.setting, configured.value), configured.origin)
        for kind, found in every.items()
        for path, configured in sorted(found.items(), key=lambda item: _in_sections(item[0]))
    ]
    given = sum(row[3] != "default" for row in rows)
    what = f"{file}" if file else "settings"
    kinds = " and ".join(f"{kind} settings" for kind in every)
    lead = Line(f"{what}: fine ({kinds}, {given} not by default)")
    return Table(columns, rows, _objects(columns, rows), lead=[lead])


def _workloads(text: str, file: Path | None) -> Table:
    if file is None:
        raise InvalidInput("cannot check workloads without a file: name it")
    desired = parse_desired(text, str(file))
    specs, models = desired.workloads, desired.models
    count = f"{len(specs)} workload{'' if len(specs) == 1 else 's'}"
    if models:
        count += f", {len(models)} model{'' if len(models) == 1 else 's'}"
    rows = [(spec.name, Cell(" ".join(_program(spec)), raw=_program(spec))) for spec in specs]
    lead = [Line(f"{file}: fine ({count})")]
    documents = [*map(to_document, specs), *map(model_document, models)]
    return Table(("NAME", "COMMAND"), rows, documents, "no workloads in it", lead=lead)


def _program(spec: WorkloadSpec) -> list[str]:
    if spec.container is not None:
        return [spec.container.image, *(spec.container.command or [])]
    if spec.process is not None:
        return spec.process.command
    return [spec.worker.scripts] if spec.worker is not None else []


def _options(data_dir: Path | None, assignments: Sequence[str]) -> dict[str, str]:
    options = read_assignments(assignments, "--set", "api.port=0")
    return options | ({"data_dir": str(data_dir.absolute())} if data_dir else {})


def _sections(kind: Kind) -> set[str]:
    return {path.split(".")[0] for path in _FIND[kind](environment={})}


def _in_sections(path: str) -> tuple[str, str]:
    """Sorts settings without a section first."""
    section, dot, _ = path.rpartition(".")
    return (section if dot else "", path)


def _explained(kind: Kind, configured: Configured) -> Sequence[Cell | str]:
    setting = configured.setting
    return (
        str(kind),
        setting.path,
        _value(setting, configured.value),
        configured.origin,
        _value(setting, setting.default),
        variable_of(setting.path, _PREFIX[kind]),
        " ".join(_meaning(setting)),
    )


def _meaning(setting: Setting) -> Iterator[str]:
    yield setting.doc
    if setting.unit:
        yield f"A bare number counts {setting.unit}."
    yield "Takes effect at the next start."


def _value(setting: Setting, value: object) -> Cell:
    """A value as people write it; raw in kept units, «» when it is unset."""
    raw: Raw
    match value:
        case None:
            raw = ""
        case str():
            raw = without_password(value)
        case int() | float() | dict():
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
