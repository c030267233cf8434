"""`skerry sync status` and `skerry doctor`: how the node here is, asked at its admin socket."""

from __future__ import annotations

import typer

from skerry.cli.http import Unreachable
from skerry.cli.output import Table, word
from skerry.cli.session import Session, remote
from skerry.cli.states import link_sentence
from skerry.kit.clock import NS
from skerry.kit.units import format_duration, format_size
from skerry.wire.local import CheckResult, Doctor, SyncStatus


def register(app: typer.Typer) -> None:
    """Adds the group `sync` and the command `doctor`."""
    group = typer.Typer(help="The node's sync with its hub.", no_args_is_help=True, callback=_sync)
    group.command("status")(sync_status)
    app.add_typer(group, name="sync")
    app.command("doctor")(doctor)


def _sync() -> None:
    """Keeps `status` a word of its own although it is the only one."""


@remote
async def sync_status(session: Session) -> None:
    """Show the link, the last success and what waits in each lane."""
    async with session.node() as node:
        status = await node.get("/v1/sync", SyncStatus)
    now = session.clock.wall_ns()
    screen = session.screen
    screen.say(f"result  {status.result}", word(status.result).style)
    screen.say(f"link    {link_sentence(status.link, now)}", word(status.link.state).style)
    if status.last_success is not None:
        screen.say(f"last    success {format_duration((now - status.last_success) / NS)} ago")
    if status.failures:
        screen.say(f"failed  {status.failures} rounds in a row", "yellow")
    for problem in sorted({lane.problem for lane in status.lanes} - {""}):
        screen.say(f"problem {problem}", "yellow")
    screen.show(lanes_table(status))


def lanes_table(status: SyncStatus) -> Table:
    """What each lane holds."""
    return Table(
        ("LANE", "ACCEPTED", "ACKNOWLEDGED", "WAITING", "ON DISK"),
        [
            (
                lane.lane,
                str(lane.head),
                str(lane.acknowledged),
                str(lane.waiting),
                format_size(lane.bytes_on_disk),
            )
            for lane in status.lanes
        ],
        status,
    )


@remote
async def doctor(session: Session) -> None:
    """Check the node here; every finding says what to do. Ends with 1 when a check failed."""
    try:
        async with session.node() as node:
            checks = (await node.get("/v1/doctor", Doctor)).checks
    except Unreachable as error:
        checks = [CheckResult("node", "failed", f"{error.what}: {error.cause}", error.way_out)]
    session.screen.show(
        Table(
            ("CHECK", "OUTCOME", "FOUND", "WHAT TO DO"),
            [(check.name, word(check.outcome), check.detail, check.fix) for check in checks],
            Doctor(checks),
        )
    )
    if any(check.outcome == "failed" for check in checks):
        raise typer.Exit(1)
