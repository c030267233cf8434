"""Records as a whole: their export as a stream, and how complete each series is. See docs/reference/exports.md."""

from __future__ import annotations

from collections.abc import AsyncIterator

from litestar import Router, get
from litestar.di import NamedDependency
from litestar.params import FromQuery
from litestar.response import Stream

from skerry.core.completeness import FACTOR
from skerry.hub.api.auth import PERSON
from skerry.hub.data.completeness import Asked, Completeness
from skerry.hub.data.export import RecordExport, Wanted
from skerry.kit.errors import InvalidInput, SkerryError
from skerry.wire.codec import encode
from skerry.wire.completeness import CompletenessReport
from skerry.wire.exports import ExportLine
from skerry.wire.people import Problem
from skerry.wire.records import Kind


@get("/api/v1/records/export", opt=PERSON)
async def export_records(  # noqa: PLR0913 - one argument for each query parameter
    *,
    record_export: NamedDependency[RecordExport],
    name: FromQuery[str] = "*",
    node: FromQuery[str | None] = None,
    source: FromQuery[str | None] = None,
    kind: FromQuery[Kind | None] = None,
    since: FromQuery[int | None] = None,
    until: FromQuery[int | None] = None,
) -> Stream:
    """All matching records, oldest first, as lines of JSON (`wire.exports`). The last line says how many there were."""
    wanted = Wanted(name, node, source, kind, since, until)
    return Stream(_written(record_export.lines(wanted)), media_type="application/x-ndjson")


@get("/api/v1/records/completeness", opt=PERSON)
async def report_completeness(  # noqa: PLR0913 - one argument for each query parameter
    *,
    completeness: NamedDependency[Completeness],
    name: FromQuery[str] = "*",
    node: FromQuery[str | None] = None,
    source: FromQuery[str | None] = None,
    kind: FromQuery[Kind] = "measurement",
    since: FromQuery[int | None] = None,
    until: FromQuery[int | None] = None,
    factor: FromQuery[float] = FACTOR,
) -> CompletenessReport:
    """What of each series may be missing. A silence is longer than `factor` usual spacings."""
    if not factor > 1:
        raise InvalidInput(f"cannot report silences from {factor} spacings on: write more than 1")
    return await completeness.report(Asked(name, node, source, kind, since, until, factor))


async def _written(lines: AsyncIterator[ExportLine]) -> AsyncIterator[bytes]:
    """Lines of JSON; a failure on the way is the last one, because the status line has long been sent."""
    try:
        async for line in lines:
            yield encode(line) + b"\n"
    except SkerryError as error:
        yield encode(Problem(str(error))) + b"\n"


def record_routes() -> Router:
    """Every route about records as a whole."""
    return Router("/", route_handlers=[export_records, report_completeness])
