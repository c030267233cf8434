"""`skerry sync conflicts|show|resolve`: edits of shared rows that wait until a person decides, asked of the hub."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import msgspec
import typer

from skerry.cli.output import Cell, Line, Table, ago, number, word
from skerry.cli.session import Session, remote
from skerry.kit.errors import InvalidInput
from skerry.kit.text_file import read_text
from skerry.wire.rows import NO_BODY, Conflict, ConflictView, Decision, Resolve, RowWritten

Entity = Annotated[str, typer.Argument(help="The entity that the row is of.")]
Id = Annotated[str, typer.Argument(help="The row's id.")]


class Take(enum.StrEnum):
    """Whose version is to be the row."""

    HUB = "hub"
    NODE = "node"


def register(group: typer.Typer) -> None:
    """Adds the commands to the group `sync`."""
    group.command("conflicts")(list_conflicts)
    group.command("show")(show_conflict)
    group.command("resolve")(resolve_conflict)


@remote
async def list_conflicts(
    session: Session,
    entity: Annotated[str | None, typer.Argument(help="Only of this entity.")] = None,
    decided: Annotated[
        bool, typer.Option("--decided", help="Those that were decided, the newest first.")
    ] = False,
) -> None:
    """List the edits of shared rows that wait for a decision, the oldest first; or who has decided."""
    async with session.hub() as hub:
        query = {} if entity is None else {"entity": entity}
        if decided:
            made = await hub.get("/api/v1/decisions", list[Decision], query)
            session.screen.show(decisions_table(made, session.clock.wall_ns()))
            return
        found = await hub.get("/api/v1/conflicts", list[ConflictView], query)
    session.screen.show(conflicts_table(found, session.clock.wall_ns()))


def conflicts_table(found: list[ConflictView], now: int) -> Table:
    """One line for each edit."""
    return Table(
        ("ENTITY", "ID", "NODE", "EDIT", "SINCE"),
        [
            (each.entity, each.id, each.node, _kind(deleted=each.deleted), ago(each.since, now))
            for each in found
        ],
        found,
        empty="no edit waits for a decision",
    )


def decisions_table(found: list[Decision], now: int) -> Table:
    """One line for each decision."""
    return Table(
        ("ENTITY", "ID", "REVISION", "WHERE", "BY", "DECIDED"),
        [
            (each.entity, each.id, number(each.rev), each.where, each.who, ago(each.at, now))
            for each in found
        ],
        found,
        empty="nothing was decided in the last 30 days",
    )


@remote
async def show_conflict(session: Session, entity: Entity, row_id: Id) -> None:
    """Show a row that has edits waiting: what serves now, the edits, and what each was made on."""
    async with session.hub() as hub:
        found = await hub.get(_path(entity, row_id), Conflict)
    session.screen.show(conflict_table(found, session.clock.wall_ns()))


def conflict_table(found: Conflict, now: int) -> Table:
    """The version that serves, and for each node its edit and the base of it."""
    row = found.row
    lines: list[tuple[Cell | str, ...]] = []
    if row is not None:
        serving = (_text(row.body), number(row.rev), ago(row.updated_at, now))
        lines.append((word("hub"), row.by, *serving))
    for wait in found.waiting:
        base = (_text(wait.base), number(wait.base_rev), "")
        lines.append((f"base of {wait.node}", "", *base))
        edit = "(deleted)" if wait.deleted else _text(wait.body)
        lines.append((word("node"), wait.node, edit, "", ago(wait.since, now)))
    how = f"skerry sync resolve {found.entity} {found.id} --take hub|node, or --body FILE"
    lead = [Line("the row is deleted at the hub")] if row is None else []
    return Table(
        ("VERSION", "BY", "BODY", "REVISION", "WHEN"),
        lines,
        found,
        lead=[*lead, Line(f"to decide: {how}", "dim")],
    )


@remote
async def resolve_conflict(
    session: Session,
    entity: Entity,
    row_id: Id,
    take: Annotated[
        Take | None, typer.Option(help="The version to take: the hub's, or the waiting node's.")
    ] = None,
    node: Annotated[
        str, typer.Option(help="Whose edit to take, where those of several nodes wait.")
    ] = "",
    body: Annotated[
        Path | None, typer.Option(help="A file with the row as it is to be, a JSON object.")
    ] = None,
) -> None:
    """Decide what waits for a row; the nodes get the decision as its new version."""
    decision = decision_of(take, node, None if body is None else read_text(body).encode())
    async with session.hub() as hub:
        path = f"{_path(entity, row_id)}/resolve"
        written = await hub.send("POST", path, decision, RowWritten)
    session.screen.tell(
        f"row «{row_id}» of «{entity}» is decided; its revision is {written.rev}, and nodes get it when they hear of it",
        {"entity": entity, "id": row_id, "rev": written.rev},
    )


def decision_of(take: Take | None, node: str, body: bytes | None) -> Resolve:
    """What the options say. Raises InvalidInput unless they say one thing."""
    if (take is None) == (body is None) or (node and take is not Take.NODE):
        raise InvalidInput(
            "cannot resolve: say one of «--take hub», «--take node» (with «--node NAME» where several wait) and «--body FILE»"
        )
    if body is not None:
        try:
            _ = msgspec.json.decode(body)
        except msgspec.DecodeError as error:
            raise InvalidInput(f"cannot read the body: {error}") from error
        return Resolve("body", body=msgspec.Raw(body))
    return Resolve("node" if take is Take.NODE else "hub", node)


def _path(entity: str, row_id: str) -> str:
    return f"/api/v1/conflicts/{quote(entity, safe='')}/{quote(row_id, safe='')}"


def _text(body: msgspec.Raw) -> str:
    text = bytes(body)
    return "(none)" if text == NO_BODY else text.decode()


def _kind(*, deleted: bool) -> str:
    return "delete" if deleted else "change"
