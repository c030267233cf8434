"""`skerry sync` and `skerry doctor`: how the node here is, asked at its admin socket. `conflicts` has the rest of `sync`."""

from __future__ import annotations

from typing import Annotated

import typer

from skerry.cli import conflicts, sync_rounds
from skerry.cli.exits import FAILED
from skerry.cli.http import CHECKS_SECONDS, Api, Unreachable
from skerry.cli.output import Cell, Table, number, word, yes_no
from skerry.cli.session import Session, remote
from skerry.cli.states import sync_lines
from skerry.kit.errors import Refused
from skerry.kit.units import format_size
from skerry.wire.local import CheckResult, Doctor, NodeStatus, SyncStatus
from skerry.wire.sync import RECORD_LANES


def register(app: typer.Typer) -> None:
    """Adds the group `sync` and the command `doctor`."""
    group = typer.Typer(help="Sync between nodes and hub.", no_args_is_help=True)
    group.command("status")(sync_status)
    sync_rounds.register(group)
    conflicts.register(group)
    app.add_typer(group, name="sync")
    app.command("doctor")(doctor)


@remote
async def sync_status(session: Session) -> None:
    """Show the link, the last success and what waits in each lane."""
    async with session.node() as node:
        status = await node.get("/v1/sync", SyncStatus)
    session.screen.show(sync_table(status, session.clock.wall_ns()))


def sync_table(status: SyncStatus, now_ns: int) -> Table:
    """What each lane holds, below how sync goes.

    A lane of rows counts frames that the hub has answered and edits that wait: together they are no number of anything.
    """
    return Table(
        (
            "LANE", "ACCEPTED", "ACKNOWLEDGED", "WAITING", "ON DISK", "SENT", "PROBLEM",
            "UNITS", "RECORDS", "PLAIN BYTES", "REFUSALS", "CUTS", "PARKED",
        ),
        [
            (
                lane.lane,
                number(lane.head) if lane.lane in RECORD_LANES else "",
                number(lane.acknowledged),
                number(lane.waiting),
                Cell(format_size(lane.bytes_on_disk), raw=lane.bytes_on_disk),
                Cell(format_size(lane.counters.compressed), raw=lane.counters.compressed),
                lane.problem,
                number(lane.counters.units),
                number(lane.counters.records),
                number(lane.counters.plain),
                number(lane.counters.refusals),
                number(lane.counters.cuts),
                yes_no(lane.parked),
            )
            for lane in status.lanes
        ],
        status,
        lead=list(sync_lines(status, now_ns)),
        csv_only={"PROBLEM", "UNITS", "RECORDS", "PLAIN BYTES", "REFUSALS", "CUTS", "PARKED"},
    )  # fmt: skip


@remote
async def doctor(
    session: Session,
    *,
    security: Annotated[
        bool, typer.Option("--security", help="What is weak here, instead of what is broken.")
    ] = False,
) -> None:
    """Check the node here; every finding says what to do. Ends with 1 when a check failed."""
    async with session.node() as node:
        checks = await examined(node, "/v1/security" if security else "/v1/doctor")
    if security:
        checks += await _of_the_hub(session)
    session.screen.show(
        Table(
            ("CHECK", "OUTCOME", "FOUND", "WHAT TO DO"),
            [(check.name, word(check.outcome), check.detail, check.fix) for check in checks],
            Doctor(checks),
            below="WHAT TO DO",
        )
    )
    if any(check.outcome == "failed" for check in checks):
        raise typer.Exit(FAILED)


async def _of_the_hub(session: Session) -> list[CheckResult]:
    from skerry.cli.hub_weaknesses import hub_surface, hub_weaknesses

    try:
        async with session.hub() as hub:
            return hub_weaknesses(await hub_surface(hub, session.clock.wall_ns()))
    except Unreachable as error:
        return [CheckResult("hub", "skipped", f"{error.what}: {error.cause}", error.way_out)]
    except Refused as error:
        return [CheckResult("hub", "skipped", str(error))]


async def examined(node: Api, path: str = "/v1/doctor") -> list[CheckResult]:
    """What the node finds, or why it says nothing: one that is frozen is known before its checks get their time."""
    try:
        await node.get("/v1/status", NodeStatus)
        return (await node.patient(CHECKS_SECONDS).get(path, Doctor)).checks
    except Unreachable as error:
        return [CheckResult("node", "failed", f"{error.what}: {error.cause}", error.way_out)]
