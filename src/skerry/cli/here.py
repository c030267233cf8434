"""`skerry publish` and `skerry subscribe`: records by hand at the node here, with or without a hub."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import typer

from skerry.cli.output import Form
from skerry.cli.rows import one_record
from skerry.cli.session import Session, remote
from skerry.kit.errors import InvalidInput
from skerry.wire.codec import decode
from skerry.wire.records import Meta, Publish, Published, PublishedRecord, Row, Value


def register(app: typer.Typer) -> None:
    """Adds both commands."""
    app.command("publish")(publish)
    app.command("subscribe")(subscribe)


@remote
async def publish(
    session: Session,
    name: Annotated[str, typer.Argument(help="The record's name: env.temperature")],
    value: Annotated[str, typer.Argument(help="A number, true, false, or a text.")],
    meta: Annotated[
        list[str] | None, typer.Option("--meta", metavar="KEY=VALUE", help="May be repeated.")
    ] = None,
    text: Annotated[
        bool, typer.Option("--text", help="Take the value as a text in any case.")
    ] = False,
    event: Annotated[
        bool, typer.Option("--event", help="An event instead of a measurement.")
    ] = False,
) -> None:
    """Publish one record at the node here, as a workload would; its source is «console»."""
    kind: Literal["measurement", "event"] = "event" if event else "measurement"
    record = PublishedRecord(name, value if text else read_value(value), meta=_meta(meta or []))
    async with session.node() as node:
        done = await node.send("POST", "/v1/publish", Publish([record], kind), Published)
    session.screen.tell(
        f"published {name}: it is on this node's disk", {"name": name, "accepted": done.accepted}
    )


@remote
async def subscribe(
    session: Session,
    name: Annotated[str, typer.Argument(help="The records' name; «*» matches anything.")] = "*",
) -> None:
    """Show records of the node here as they are accepted, until Ctrl-C."""
    screen = session.screen
    if screen.form is Form.CSV:
        raise InvalidInput("cannot show records as CSV while they come: write --output json")
    async with session.node() as node:
        async for line in node.lines("/v1/subscribe", {"name": name}):
            if not line:
                screen.note(f"waiting for records «{name}»; Ctrl-C ends")
                continue
            row = decode(line.encode(), Row, "a record")
            screen.write(f"{one_record(row) if screen.form is Form.TABLE else line}\n")


def read_value(text: str) -> Value:
    """What a shell's word means as a value."""
    try:
        return msgspec.json.decode(text.encode(), type=bool | int | float)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return text


def _meta(entries: list[str]) -> Meta | None:
    pairs = [entry.partition("=") for entry in entries]
    if wrong := [key for key, sign, _ in pairs if not key or not sign]:
        raise InvalidInput(f"cannot read --meta {wrong[0]}: write KEY=VALUE")
    return {key: value for key, _, value in pairs} or None
