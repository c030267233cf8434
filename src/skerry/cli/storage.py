"""`skerry storage`: what uses the disk of the node here, and why. `skerry hub storage` (`cli.hub`) shows the same of a hub."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from skerry.cli.http import CHECKS_SECONDS
from skerry.cli.output import Cell, Line, Table, ago
from skerry.cli.session import Session, remote
from skerry.kit.clock import NS
from skerry.kit.units import format_duration, format_size
from skerry.wire.storage import StorageLine, StorageReport, StreamUse

Streams = Annotated[
    bool,
    typer.Option("--streams", help="Show the records of each name instead, the largest first."),
]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("storage")(storage)


@remote
async def storage(session: Session, streams: Streams = False) -> None:
    """Show what uses the disk of the node here: how much, since when, why it is kept, and what would go next."""
    async with session.node() as node:
        report = await node.patient(CHECKS_SECONDS).get("/v1/storage", StorageReport)
    session.screen.show(report_table(report, session.clock.wall_ns(), streams=streams))


def report_table(report: StorageReport, now: int, *, streams: bool) -> Table:
    """One row for each part, or for each stream. Programs get all of it in JSON."""
    return _streams(report, now) if streams else _parts(report, now)


def _parts(report: StorageReport, now: int) -> Table:
    return Table(
        ("WHAT", "SIZE", "COUNT", "OLDEST", "WHY"),
        [(line.what, _size(line.bytes), _count(line), _age(line.oldest, now), line.why) for line in report.lines],
        report,
        lead=[Line(text) for text in _lead(report, now)],
    )  # fmt: skip


def _streams(report: StorageReport, now: int) -> Table:
    how = "all records were counted"
    if report.counted < 1:
        how = f"{report.counted * 100:.0f} % of the records were counted, the rest is reckoned from them"
    nodes = any(use.node for use in report.streams)
    return Table(
        ("NAME", "NODE", "SOURCE", "RECORDS", "SIZE", "OLDEST", "NEWEST", "RULE"),
        [_stream(use, now) for use in report.streams],
        report,
        "no records here",
        lead=[Line(how)] if report.streams else [],
        csv_only=set() if nodes else {"NODE"},
    )


def _stream(use: StreamUse, now: int) -> tuple[Cell | str, ...]:
    return (
        use.name, use.node, use.source, Cell(f"{use.records:,}", raw=use.records), _size(use.bytes),
        _age(use.oldest, now), _age(use.newest, now), use.rule,
    )  # fmt: skip


def _lead(report: StorageReport, now: int) -> Iterator[str]:
    limit = "" if report.limit is None else f" of {format_size(report.limit)}"
    free = "" if report.free is None else f"; {format_size(report.free)} free on the disk"
    yield f"{report.place}: {format_size(report.used)}{limit}{free}"
    if report.problem:
        yield report.problem
    growth = report.growth
    yield "growth: not known yet, half an hour is needed" if growth is None else f"growth: {growth}"
    if report.goes:
        goes = ", ".join(f"{each.what} {format_size(each.bytes)}" for each in report.goes)
        yield f"goes next when room is needed: {goes}"
    for gone in report.removed:
        when = format_duration(max(now - gone.last_at, 0) / NS)
        yield f"retention «{gone.rule}» has removed {gone.records:,} records, the last {when} ago"


def _size(size: int) -> Cell:
    return Cell(format_size(size), raw=size)


def _count(line: StorageLine) -> Cell:
    return Cell(f"{line.count:,}" if line.count else "", raw=line.count)


def _age(at: int | None, now: int) -> Cell:
    return Cell("", raw="") if at is None else ago(at, now)
