"""`skerry records export|completeness`: the records at the hub as a file, and what of each series may be missing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, get_args
from urllib.parse import urlencode

import typer

from skerry.cli.completeness_table import completeness_table
from skerry.cli.http import Api
from skerry.cli.progress import Progress
from skerry.cli.record_files import Format, RecordFile, open_record_file
from skerry.cli.rows import left_out
from skerry.cli.session import Session, remote
from skerry.cli.steps import Pace
from skerry.cli.times import parse_span
from skerry.core.completeness import FACTOR
from skerry.kit.errors import InvalidInput, Refused, Transient
from skerry.kit.units import format_size
from skerry.wire.codec import decode
from skerry.wire.completeness import CompletenessReport
from skerry.wire.exports import ExportLine
from skerry.wire.people import Problem
from skerry.wire.records import Kind

SEARCHING = 600.0
"""Seconds that the hub may look for the next record among many series."""

Name = Annotated[str, typer.Argument(help="The record's name; «*» matches anything: 'host.*'")]
Node = Annotated[str | None, typer.Option(help="Only this node's records.")]
Source = Annotated[str | None, typer.Option(help="Only this workload's records.")]
Since = Annotated[str | None, typer.Option(help="10m (ten minutes ago), or an ISO time.")]
Until = Annotated[str | None, typer.Option(help="As --since; that moment is not included.")]


def register(app: typer.Typer) -> None:
    """Adds the command group."""
    group = typer.Typer(help="The records at the hub as a whole.", no_args_is_help=True)
    group.command("export")(export_records)
    group.command("completeness")(report_completeness)
    app.add_typer(group, name="records")


@remote
async def export_records(  # noqa: PLR0913 - one argument for each option
    session: Session,
    *,
    name: Name = "*",
    to: Annotated[Path, typer.Option("--to", "-t", help="The file to write.")],
    form: Annotated[
        Format | None, typer.Option("--format", help="By default what the file's name ends with.")
    ] = None,
    node: Node = None,
    source: Source = None,
    kind: Annotated[str | None, typer.Option(help="measurement, event, gap or file.")] = None,
    since: Since = None,
    until: Until = None,
) -> None:
    """Write all matching records to a file, oldest first."""
    chosen = form or _form_of(to)
    start, end = parse_span(since, until, session.clock.wall_ns())
    asked: dict[str, str | int | None] = {
        "name": name,
        "node": node,
        "source": source,
        "kind": _kind(kind) if kind else None,
        "since": start,
        "until": end,
    }
    query = urlencode({key: value for key, value in asked.items() if value is not None})
    target = target_of(to)
    part = target.with_name(f"{target.name}.part")
    try:
        async with session.hub() as hub:
            with Progress(session.screen) as steps:
                pace = Pace(session.screen, steps, session.clock)
                count, damaged = await _write(hub, query, open_record_file(chosen, part), pace)
        part.replace(target)
    except OSError as error:
        raise Refused(f"cannot write {to}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    size = to.stat().st_size
    session.screen.tell(
        f"{to}: {count} records, {format_size(size)}",
        {"path": str(to), "records": count, "size": size, "damaged": damaged},
    )
    if damaged:
        session.screen.note(left_out(damaged))


@remote
async def report_completeness(  # noqa: PLR0913 - one argument for each option
    session: Session,
    *,
    name: Name = "*",
    node: Node = None,
    source: Source = None,
    kind: Annotated[str, typer.Option(help="measurement, event or file.")] = "measurement",
    since: Since = None,
    until: Until = None,
    factor: Annotated[
        float, typer.Option(help="A silence is longer than so many usual spacings.")
    ] = FACTOR,
) -> None:
    """What of each series may be missing: silences, holes, the last value."""
    start, end = parse_span(since, until, session.clock.wall_ns())
    asked = {
        "name": name,
        "node": node,
        "source": source,
        "kind": _kind(kind),
        "since": start,
        "until": end,
        "factor": str(factor),
    }
    async with session.hub() as hub:
        report = await hub.patient(SEARCHING).get(
            "/api/v1/records/completeness", CompletenessReport, asked
        )
    session.screen.show(completeness_table(report.series))
    if report.truncated:
        session.screen.note(f"there are more series; these are the first {len(report.series)}")


async def _write(hub: Api, query: str, file: RecordFile, pace: Pace) -> tuple[int, int]:
    """Returns how many there were, and how many were left out. Raises Transient when the stream ends early."""
    count, damaged, end = 0, 0, None
    try:
        async for line in _lines(hub, query):
            file.write(line.rows)
            count += len(line.rows)
            end, damaged = line.end, line.damaged
            pace.step(f"{count} records")
    finally:
        file.close()
    if end != count:
        raise Transient("cannot export records: the answer of the hub ended early. Try again")
    return count, damaged


async def _lines(hub: Api, query: str) -> AsyncIterator[ExportLine]:
    data = bytearray()
    async for piece in hub.patient(SEARCHING).download(f"/api/v1/records/export?{query}", 0):
        data += piece
        while (at := data.find(b"\n")) >= 0:
            line = bytes(data[:at])
            del data[: at + 1]
            if line.startswith(b'{"error"'):
                raise Refused(decode(line, Problem, "the hub's answer").error)
            yield decode(line, ExportLine, "the hub's answer")


def target_of(to: Path) -> Path:
    """The file itself, where a link leads to it. It is replaced, so it must be a file: no device, no pipe."""
    if not to.name or (to.exists() and not to.is_file()):
        raise InvalidInput(f"cannot write {to}: it is not a file. Give a file's name")
    return to.resolve()


def _form_of(path: Path) -> Format:
    match path.suffix.lower():
        case ".csv":
            return Format.CSV
        case ".parquet":
            return Format.PARQUET
        case _:
            raise InvalidInput(
                f"cannot tell the form of {path.name} by its name: write --format csv or parquet"
            )


def _kind(text: str) -> str:
    if text not in get_args(Kind):
        raise InvalidInput(f"cannot use --kind {text}: it is one of {', '.join(get_args(Kind))}")
    return text
