"""`skerry config check FILE…` and `skerry config explain KEY`, for settings, workload files and agents' descriptions."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from skerry.cli.assignments import read_assignments
from skerry.cli.config_tables import explained, in_force, workloads_table
from skerry.cli.output import Form, FormOption, Table, standard_screen
from skerry.core.agent_file import AGENT, is_agent, read_agent
from skerry.core.config import Found, SourceFile, Sources, find, known_names, load
from skerry.core.setting_values import Setting
from skerry.core.specs import parse_desired
from skerry.core.yaml_lines import read_documents
from skerry.hub import settings as hub
from skerry.kit.errors import InvalidInput
from skerry.kit.text_file import read_text
from skerry.node import settings as node


class Kind(enum.StrEnum):
    """What a file describes."""

    NODE = "node"
    HUB = "hub"
    WORKLOAD = "workload"
    AGENT = "agent"


_FIND: Mapping[Kind, Callable[..., Found]] = {
    Kind.NODE: node.find_settings,
    Kind.HUB: hub.find_settings,
}
_PREFIXES = {"node": node.PREFIX, "hub": hub.PREFIX, "agent": ""}

DataDir = Annotated[Path | None, typer.Option(help="The data directory of the node or hub.")]


def register(app: typer.Typer) -> None:
    """Adds the command group."""
    group = typer.Typer(help="Check and explain settings.", no_args_is_help=True)
    group.command("check")(check)
    group.command("explain")(explain)
    app.add_typer(group, name="config")


def check(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Settings (of several, a later file wins), workload files or agents' descriptions; "
            "else what holds without a file."
        ),
    ] = None,
    kind: Annotated[
        Kind | None, typer.Option(help="What the files describe; else it is guessed.")
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
    given = [SourceFile(str(file), read_text(file)) for file in files or []]
    kinds = [kind or guess(file) for file in given]
    if kind is Kind.WORKLOAD or Kind.WORKLOAD in kinds:
        screen.show(_workloads(given, kinds))
        return
    agents = [
        read_agent(file) for file, each in zip(given, kinds, strict=True) if each is Kind.AGENT
    ]
    options = _options(data_dir, setting or [])
    rest = [path for path, each in zip(files or [], kinds, strict=True) if each is not Kind.AGENT]
    if kind is Kind.AGENT and not agents:
        raise InvalidInput("cannot check an agent without a file: name it")
    only_node = kind is None and not rest and bool(options)
    every = (
        {} if agents and not rest else _settings(Kind.NODE if only_node else kind, rest, options)
    )
    if Kind.NODE in every:
        node.node_settings(every[Kind.NODE])
    named = ", ".join(file.name for file in given) or "settings"
    by_name = {str(each): found for each, found in every.items()}
    screen.show(in_force(by_name, agents, named))


def explain(
    key: Annotated[str, typer.Argument(help="A setting, for example api.port.")],
    kind: Annotated[Kind | None, typer.Option(help="node, hub or agent; else all.")] = None,
    config: Annotated[
        list[Path] | None,
        typer.Option(help="The settings file to look into. May be repeated; a later one wins."),
    ] = None,
    data_dir: DataDir = None,
    output: FormOption = Form.TABLE,
) -> None:
    """Say what a setting means, what holds, and where that comes from."""
    options = _options(data_dir, [])
    every = {} if kind is Kind.AGENT else _settings(kind, config or [], options)
    if kind in {None, Kind.AGENT} and not config:
        every[Kind.AGENT] = load(AGENT, Sources())
    table = explained({str(each): found for each, found in every.items()}, _PREFIXES, key)
    if not table.rows:
        find({path: each for found in every.values() for path, each in found.items()}, key)
    standard_screen(output).show(table)


def guess(file: SourceFile) -> Kind:
    """What a file describes, by the names in it. Raises InvalidInput when it is no YAML."""
    documents = [document.value for document in read_documents(file.text, file.name)]
    top = {key for value in documents if isinstance(value, dict) for key in value}
    if "kind" in top or "process" in top:
        return Kind.WORKLOAD
    if is_agent(file, (*_declared(Kind.NODE), *_declared(Kind.HUB))):
        return Kind.AGENT
    return _whose([file])


def _whose(files: Sequence[SourceFile]) -> Kind:
    """Whether files of settings are a node's or a hub's, by their names, and by `runtime.mode`."""
    fitting = {
        each: sum(known_names(_declared(each), file) for file in files)
        for each in (Kind.NODE, Kind.HUB)
    }
    for file in files:
        if Path(file.name).name.startswith("hub"):
            fitting[Kind.HUB] += 1
        if _mode(file) == "central":
            fitting[Kind.HUB] += 1000
    return max(fitting, key=lambda each: fitting[each])


def _mode(file: SourceFile) -> object:
    for document in read_documents(file.text, file.name):
        runtime = document.value.get("runtime") if isinstance(document.value, dict) else None
        if isinstance(runtime, dict):
            return runtime.get("mode")
    return None


def _settings(
    kind: Kind | None, files: Sequence[Path], options: Mapping[str, str]
) -> dict[Kind, Found]:
    """What holds, for a node, a hub or both: all files are one installation's."""
    if kind is None and files:
        kind = _whose([SourceFile(str(file), read_text(file)) for file in files])
    kinds = [kind] if kind else list(_FIND)
    return {each: _FIND[each](files, options=options) for each in kinds}


def _workloads(files: Sequence[SourceFile], kinds: Sequence[Kind]) -> Table:
    if not files:
        raise InvalidInput("cannot check workloads without a file: name it")
    if set(kinds) != {Kind.WORKLOAD}:
        others = [file.name for file, kind in zip(files, kinds, strict=True) if kind is not Kind.WORKLOAD]  # fmt: skip
        raise InvalidInput(
            f"cannot check workloads together with settings ({', '.join(others)}): check them one after the other"
        )
    return workloads_table([(file.name, parse_desired(file.text, file.name)) for file in files])


def _options(data_dir: Path | None, assignments: Sequence[str]) -> dict[str, str]:
    options = read_assignments(assignments, "--set", "api.port=0")
    return options | ({"data_dir": str(data_dir.absolute())} if data_dir else {})


def _declared(kind: Kind) -> Sequence[Setting]:
    home = Path("~")
    if kind is Kind.NODE:
        return node.declared(home, root=False, host="")
    return hub.declared(home, root=False)
