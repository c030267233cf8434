"""`skerry config check FILE` and `skerry config explain KEY`, for settings of nodes and hubs and for workload files."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from skerry.cli.output import Cell, Form, Table, standard_screen
from skerry.core.config import Configured, Setting, find, variable_of, write_value
from skerry.core.specs import parse_workloads
from skerry.core.yaml_lines import read_documents
from skerry.hub import settings as hub
from skerry.kit.text_file import read_text
from skerry.node import settings as node


class Kind(enum.StrEnum):
    """What a file describes."""

    NODE = "node"
    HUB = "hub"
    WORKLOAD = "workload"


Output = Annotated[Form, typer.Option("--output", "-o", help="The form of the answer.")]
Found = dict[str, Configured]

_FIND: dict[Kind, Callable[..., Found]] = {
    Kind.NODE: node.find_settings,
    Kind.HUB: hub.find_settings,
}
_PREFIX = {Kind.NODE: node.PREFIX, Kind.HUB: hub.PREFIX}


def register(app: typer.Typer) -> None:
    """Adds the command group."""
    group = typer.Typer(help="Check and explain settings.", no_args_is_help=True)
    group.command("check")(check)
    group.command("explain")(explain)
    app.add_typer(group, name="config")


def check(
    file: Annotated[Path, typer.Argument(help="node.yaml, hub.yaml or a workload file.")],
    kind: Annotated[
        Kind | None, typer.Option(help="What the file describes; else it is guessed.")
    ] = None,
) -> None:
    """Check a file without using it; names every wrong field with its line."""
    text = read_text(file)
    kind = kind or guess(text, file)
    if kind is Kind.WORKLOAD:
        specs = parse_workloads(text, str(file))
        what = f"{len(specs)} workload{'' if len(specs) == 1 else 's'}"
    else:
        settings = _FIND[kind](config=file, environment={})
        if kind is Kind.NODE:
            node.node_settings(settings)
        given = [found for found in settings.values() if found.origin != "default"]
        what = f"{kind} settings, {len(given)} set"
    standard_screen(Form.TABLE).say(f"{file}: fine ({what})")


def explain(
    key: Annotated[str, typer.Argument(help="A setting, for example api.port.")],
    kind: Annotated[Kind | None, typer.Option(help="node or hub; else both.")] = None,
    config: Annotated[Path | None, typer.Option(help="The settings file to look into.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="The node's data directory.")] = None,
    output: Output = Form.TABLE,
) -> None:
    """Say what a setting means, what holds, and where that comes from."""
    options = {"data_dir": str(data_dir.absolute())} if data_dir else {}
    guessed = guess(read_text(config), config) if config else None
    kinds = [kind] if kind else [guessed] if guessed else [Kind.NODE, Kind.HUB]
    every = {each: _FIND[each](config=config, options=options) for each in kinds if each in _FIND}
    having = {each: found[key] for each, found in every.items() if key in found}
    if not having:
        find({path: each for found in every.values() for path, each in found.items()}, key)
    rows = [_row(each, configured) for each, configured in having.items()]
    columns = ("KIND", "SETTING", "VALUE", "FROM", "DEFAULT", "VARIABLE", "MEANING")
    names = [column.lower() for column in columns]
    data = [dict(zip(names, map(_text, row), strict=True)) for row in rows]
    standard_screen(output).show(Table(columns, rows, data))


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


def _sections(kind: Kind) -> set[str]:
    return {path.split(".")[0] for path in _FIND[kind](environment={})}


def _row(kind: Kind, configured: Configured) -> tuple[str, ...]:
    setting = configured.setting
    return (
        str(kind),
        setting.path,
        str(configured),
        configured.origin,
        write_value(setting, setting.default),
        variable_of(setting.path, _PREFIX[kind]),
        " ".join(_meaning(setting)),
    )


def _meaning(setting: Setting) -> Iterator[str]:
    yield setting.doc
    if setting.unit:
        yield f"A bare number counts {setting.unit}."
    if setting.restart_needed:
        yield "Takes effect at the next start."


def _text(cell: Cell | str) -> str:
    return cell if isinstance(cell, str) else cell.text
