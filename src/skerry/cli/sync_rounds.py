"""`skerry sync now` and `skerry sync log`: a round on request, and what the rounds before have done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from skerry.cli.exits import FAILED
from skerry.cli.output import Line, Table, number, word
from skerry.cli.session import Session, remote
from skerry.wire.rounds import SyncLogEntry, SyncLogPage, SyncRound

_MARGIN = 5.0
"""Seconds for the answer itself."""

Timeout = Annotated[
    int, typer.Option("--timeout", min=1, max=3600, help="Seconds to wait for the end of it.")
]
Limit = Annotated[int, typer.Option("--limit", min=1, max=2000, help="How many lines, the newest.")]


def register(group: typer.Typer) -> None:
    """Adds the commands to the group `sync`."""
    group.command("now")(sync_now)
    group.command("log")(sync_log)


@remote
async def sync_now(session: Session, timeout: Timeout = 30) -> None:
    """Push what waits and ask the hub for changes now, refused units too. Ends with 1 when that did not go well."""
    async with session.node() as node:
        found = await node.patient(timeout + _MARGIN).send(
            "POST", f"/v1/sync/now?seconds={timeout}", None, SyncRound
        )
    session.screen.show(round_table(found))
    if not found.ok:
        raise typer.Exit(FAILED)


def round_table(found: SyncRound) -> Table:
    """What each lane has sent and still has, below how it went."""
    return Table(
        ("LANE", "SENT", "WAITING"),
        [(lane, number(sent), number(found.waiting.get(lane, 0))) for lane, sent in found.sent.items()],
        found,
        lead=list(_round_lines(found)),
    )  # fmt: skip


def _round_lines(found: SyncRound) -> Iterator[Line]:
    outcome = word("success" if found.ok else "failing")
    yield Line(f"result    {outcome.text} after {found.seconds:.1f} s", outcome.style)
    yield Line(f"pulled    {found.pulled} rows")
    for problem in found.problems:
        yield Line(f"problem   {problem}", "yellow")
    if found.held:
        yield Line(f"held      only high priority goes: {found.held}", "yellow")


@remote
async def sync_log(session: Session, limit: Limit = 50) -> None:
    """Show what sync has done: pushes, pulls, conflicts, refusals and cuts, the newest last."""
    async with session.node() as node:
        page = await node.get("/v1/sync/log", SyncLogPage, {"limit": str(limit)})
    session.screen.show(
        Table(
            ("AT", "WHAT", "OF", "NAME", "STATUS", "DETAILS"),
            [_row(entry) for entry in page.entries],
            page,
            "nothing has been synced yet",
        )
    )


def _row(entry: SyncLogEntry) -> tuple[str, ...]:
    details = bytes(entry.details).decode().strip("{}").replace('"', "").replace(",", ", ")
    return entry.at, entry.operation, entry.kind, entry.name, entry.status, details
