"""`skerry node key status|rotate`: the keys of encryption at rest on this machine."""

from __future__ import annotations

import typer

from skerry.cli.output import Line, Table, ago
from skerry.cli.session import Session, remote
from skerry.wire.local import KeyStatus


def register(node: typer.Typer) -> None:
    """Adds the command group to `skerry node`."""
    group = typer.Typer(help="Encryption at rest of the node here.", no_args_is_help=True)
    group.command("status")(status)
    group.command("rotate")(rotate)
    node.add_typer(group, name="key")


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
    return Table(columns, rows, data=keys, lead=[Line(f"encryption: {keys}")])
