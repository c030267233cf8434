"""`skerry secret set|list|delete`. A value comes from a file or from standard input, never from an argument."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from skerry.cli.output import Cell, Table, ago
from skerry.cli.session import Session, remote
from skerry.kit.errors import InvalidInput
from skerry.wire.secret_views import MAX_VALUE, SecretPut, SecretView
from skerry.wire.workload import Selector

_PATH = "/api/v1/secrets"

Name = Annotated[str, typer.Argument(help="What workloads call it.")]


def register(app: typer.Typer) -> None:
    """Adds the command group."""
    group = typer.Typer(help="Secrets that workloads need.", no_args_is_help=True)
    group.command("set")(set_secret)
    group.command("list")(list_secrets)
    group.command("delete")(delete)
    app.add_typer(group, name="secret")


@remote
async def set_secret(
    session: Session,
    name: Name,
    from_file: Annotated[
        Path | None, typer.Option(help="The file with the value; without it, standard input.")
    ] = None,
    on: Annotated[
        list[str] | None,
        typer.Option(metavar="LABEL=VALUE", help="Only nodes with this label may have it."),
    ] = None,
    node: Annotated[str | None, typer.Option(help="Only this node may have it.")] = None,
) -> None:
    """Give a secret a value, the first or a new one. Workloads that name it are restarted with it."""
    where = _selector(on or [], node)
    put = SecretPut(await asyncio.to_thread(_value, from_file), where)
    async with session.hub() as hub:
        view = await hub.send("PUT", f"{_PATH}/{quote(name, safe='')}", put, SecretView)
    users = f"{', '.join(view.used_by)} get it" if view.used_by else "no workload names it yet"
    session.screen.tell(
        f"secret «{name}»: version {view.version}; {users}",
        {"name": name, "version": view.version, "used_by": view.used_by},
    )


@remote
async def list_secrets(session: Session) -> None:
    """List every secret: its version, who uses it, where it is. Nobody can show a value again."""
    async with session.hub() as hub:
        found = await hub.get(_PATH, list[SecretView])
    session.screen.show(secrets_table(found, session.clock.wall_ns()))
    for each in found:
        if each.problem:
            session.screen.note(f"secret «{each.name}»: {each.problem}")


@remote
async def delete(session: Session, name: Name) -> None:
    """Delete a secret that no workload names."""
    async with session.hub() as hub:
        await hub.order("DELETE", f"{_PATH}/{quote(name, safe='')}")
    session.screen.tell(f"secret «{name}» is deleted", {"secret": name, "order": "delete"})


def secrets_table(found: list[SecretView], now: int) -> Table:
    """One line for each secret."""
    return Table(
        ("NAME", "VERSION", "FOR", "USED BY", "NODES", "SET", "BY"),
        [
            (
                each.name,
                Cell(str(each.version), raw=each.version),
                _words(each.on),
                ", ".join(each.used_by),
                ", ".join(each.nodes),
                ago(each.set_at, now),
                each.set_by,
            )
            for each in found
        ],
        found,
        empty="no secrets: skerry secret set NAME --from-file FILE makes one",
    )


def _words(on: Selector) -> str:
    if on.node is not None:
        return on.node
    return ", ".join(f"{key}={value}" for key, value in on.labels.items()) or "every node"


def _selector(on: list[str], node: str | None) -> Selector | None:
    if node is not None and on:
        raise InvalidInput("cannot use --on and --node together: name a node, or labels")
    labels = dict(each.partition("=")[::2] for each in on)
    if wrong := [each for each in on if "=" not in each]:
        raise InvalidInput(f"cannot use --on {wrong[0]}: write LABEL=VALUE")
    if node is None and not on:
        return None
    return Selector(node, labels)


def _value(path: Path | None) -> bytes:
    """As it is, line ends too. One byte more than is kept is enough to be refused."""
    if path is None:
        if sys.stdin.isatty():
            raise InvalidInput(
                "cannot read a secret from a terminal: name a file (--from-file), or pipe it in"
            )
        return sys.stdin.buffer.read(MAX_VALUE + 1)
    try:
        with path.open("rb") as file:
            return file.read(MAX_VALUE + 1)
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}") from error
