"""Records: the newest ones, their export as a stream, and how complete each series is. See docs/reference/exports.md.

What a request asks for is the same for the first two: the router makes an `Asked` of it (`_asked`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal

from litestar import Router, get
from litestar.di import NamedDependency, Provide
from litestar.params import FromQuery
from litestar.response import Stream

from skerry.core.completeness import FACTOR
from skerry.hub.api.auth import READ_ON, AuthenticatedRequest, hold
from skerry.hub.api.moments import moment
from skerry.hub.data.completeness import Asked as AskedSeries
from skerry.hub.data.completeness import Completeness
from skerry.hub.data.export import RecordExport
from skerry.hub.data.query import Asked, RecordQuery, Wanted
from skerry.hub.fleet.nodes import Nodes
from skerry.kit.errors import InvalidInput, SkerryError
from skerry.wire.codec import encode
from skerry.wire.completeness import CompletenessReport
from skerry.wire.exports import ExportLine
from skerry.wire.people import Columns, Problem, Rows
from skerry.wire.records import Kind

JSON_LINES = "application/x-ndjson"


async def _asked(  # noqa: PLR0913 - one argument for each query parameter
    *,
    request: AuthenticatedRequest,
    nodes: NamedDependency[Nodes],
    name: FromQuery[str] = "*",
    node: FromQuery[str | None] = None,
    source: FromQuery[str | None] = None,
    kind: FromQuery[Kind | None] = None,
    since: FromQuery[int | None] = None,
    until: FromQuery[int | None] = None,
) -> Asked:
    sight = await nodes.sight(request.user.role)
    hold(request, sight.ids)
    return Asked(
        name=name,
        node=node,
        source=source,
        kind=kind,
        since=moment(since),
        until=moment(until),
        nodes=sight.ids,
    )


@get("/api/v1/records", opt=READ_ON)
async def list_records(
    *,
    record_query: NamedDependency[RecordQuery],
    asked: NamedDependency[Asked],
    limit: FromQuery[int] = 1000,
    format: FromQuery[Literal["rows", "columns"]] = "rows",  # noqa: A002 - the parameter's name
) -> Rows | Columns:
    """The newest matching records, oldest first. `*` in a name matches anything; times are ns since 1970.

    `format=columns` is for long series: times and values in arrays, by series.
    """
    if format == "columns":
        return await record_query.columns(limit, **asked)
    return await record_query.records(limit, **asked)


@get("/api/v1/records/export", opt=READ_ON, media_type=JSON_LINES)
async def export_records(
    *, record_export: NamedDependency[RecordExport], asked: NamedDependency[Asked]
) -> Stream:
    """All matching records, oldest first, as lines of JSON (`wire.exports`). The last line says how many there were."""
    lines = record_export.lines(Wanted(**asked))
    return Stream(_written(lines), media_type=JSON_LINES)


@get("/api/v1/records/completeness", opt=READ_ON)
async def report_completeness(  # noqa: PLR0913 - one argument for each query parameter
    *,
    request: AuthenticatedRequest,
    nodes: NamedDependency[Nodes],
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
    seen = (await nodes.sight(request.user.role)).ids
    return await completeness.report(
        AskedSeries(name, node, source, kind, moment(since), moment(until), factor, seen)
    )


async def _written(lines: AsyncIterator[ExportLine]) -> AsyncIterator[bytes]:
    """Lines of JSON; a failure on the way is the last one, because the status line has long been sent."""
    try:
        async for line in lines:
            yield encode(line) + b"\n"
    except SkerryError as error:
        yield encode(Problem(str(error))) + b"\n"


def record_routes() -> Router:
    """Every route about records."""
    return Router(
        "/",
        route_handlers=[list_records, export_records, report_completeness],
        dependencies={"asked": Provide(_asked)},
    )
