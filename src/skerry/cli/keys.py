"""`skerry node key status|rotate|passphrase` and `skerry hub key status|rotate`: the keys of encryption at rest."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from skerry.cli.output import Line, Table, ago
from skerry.cli.session import Session, remote
from skerry.kit.text_file import read_stream, read_text
from skerry.wire.local import KeyStatus, NewPassphrase


def register(node: typer.Typer) -> None:
    """Adds the command group to `skerry node`."""
    group = typer.Typer(help="Encryption at rest of the node here.", no_args_is_help=True)
    group.command("status")(status)
    group.command("rotate")(rotate)
    group.command("passphrase")(passphrase)
    node.add_typer(group, name="key")


def register_hub(hub: typer.Typer) -> None:
    """Adds the command group to `skerry hub`."""
    group = typer.Typer(help="Encryption at rest of the hub.", no_args_is_help=True)
    group.command("status")(hub_status)
    group.command("rotate")(hub_rotate)
    hub.add_typer(group, name="key")


@remote
async def hub_status(session: Session) -> None:
    """Show the keys of the hub, how they are sealed, and whether a rotation is under way."""
    async with session.hub() as hub:
        keys = await hub.get("/api/v1/keys", KeyStatus)
    session.screen.show(keys_table(keys, session.clock.wall_ns()))


@remote
async def hub_rotate(session: Session) -> None:
    """Make a new key now; what is sealed with the old one follows, and then that one is destroyed."""
    async with session.hub() as hub:
        await hub.send("POST", "/api/v1/keys/rotate", None, KeyStatus)
    session.screen.tell(
        "a new key is in force; skerry hub key status shows when the old one is gone",
        {"order": "rotate"},
    )


@remote
async def status(session: Session) -> None:
    """Show the keys of the node here, how they are sealed, and how far a rotation is."""
    async with session.node() as node:
        keys = await node.get("/v1/keys", KeyStatus)
    session.screen.show(keys_table(keys, session.clock.wall_ns()))


@remote
async def rotate(session: Session) -> None:
    """Make new keys now; what is sealed with the old ones follows, and then they are destroyed."""
    async with session.node() as node:
        await node.send("POST", "/v1/keys/rotate", None, KeyStatus)
    session.screen.tell(
        "new keys are being made; skerry node key status shows when the old ones are gone",
        {"order": "rotate"},
    )


NewFileOption = Annotated[
    Path | None,
    typer.Option(
        "--new-file",
        help="The file with the new passphrase; else it is asked for, or read from stdin.",
    ),
]


@remote
async def passphrase(session: Session, new_file: NewFileOption = None) -> None:
    """Change the passphrase that seals the keys, while the node works; no data is touched."""
    wish = NewPassphrase(_new_passphrase(new_file))
    async with session.node() as node:
        keys = await node.send("POST", "/v1/keys/passphrase", wish, KeyStatus)
    session.screen.tell(
        "the new passphrase opens the keys, and the old one until the node has started with the new one: put it where "
        "the old one comes from before the next start"
        if keys.passphrase_waits
        else "the passphrase is changed, also in the file that it is read from; the old one opens nothing any more",
        {"order": "passphrase", "waits": keys.passphrase_waits},
    )


def _new_passphrase(file: Path | None) -> str:
    if file is not None:
        text = read_text(file)
    elif sys.stdin.isatty():
        text = typer.prompt("New passphrase", hide_input=True, confirmation_prompt=True)
    else:
        text = read_stream(sys.stdin.buffer, "stdin")
    return text.strip("\r\n")


def keys_table(keys: KeyStatus, now_ns: int) -> Table:
    """One line for each key, below how they are sealed."""
    rows = [
        (
            key.id,
            key.of,
            key.algorithm,
            ago(key.made_at, now_ns),
            str(key.messages),
            "retired" if key.retired else "in force",
        )
        for key in keys.keys
    ]
    columns = ("KEY", "OF", "ALGORITHM", "MADE", "MESSAGES", "STATE")
    return Table(columns, rows, keys, "there are no keys", lead=[Line(f"encryption: {keys}")])
