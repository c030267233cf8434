"""What a workload may ask of its node, on the socket that was made for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

from aiohttp import web

from skerry.kit.errors import Transient
from skerry.node.api.answers import integer, json_answer, problems, stream_lines
from skerry.node.data.publish import read_publish
from skerry.wire.codec import MAX_BODY, encode
from skerry.wire.local import Whoami
from skerry.wire.people import Rows
from skerry.wire.records import Publish, Published, Row

CURSOR = "Skerry-Cursor"
"""Header of a subscription's answer: the place where it begins, for a reader that is cut off before the first row."""


class RowStream(Protocol):
    """An async iterator of rows as they are accepted; `cursor` is the place where they begin."""

    cursor: str

    def __aiter__(self) -> AsyncIterator[Row]: ...

    async def __anext__(self) -> Row: ...


class WorkloadServices(Protocol):
    """The features behind a workload's socket; `workload` is always the socket's own."""

    node_name: str

    async def publish(self, workload: str, request: Publish) -> Published: ...

    def subscribe(self, name: str, kind: str | None, cursor: str | None) -> RowStream: ...

    async def records(
        self, name: str, kind: str | None, since: int | None, until: int | None, limit: int
    ) -> Rows: ...


def workload_app(services: WorkloadServices) -> web.Application:
    """POST /v1/publish, GET /v1/subscribe, GET /v1/records, GET /v1/whoami."""

    async def publish(request: web.Request) -> web.StreamResponse:
        body = read_publish(await request.read())
        return json_answer(await services.publish(_workload(request), body))

    async def subscribe(request: web.Request) -> web.StreamResponse:
        query = request.query
        rows = services.subscribe(query.get("name", "*"), query.get("kind"), query.get("cursor"))
        return await stream_lines(
            request, _lines(rows), "application/x-ndjson", {CURSOR: rows.cursor}
        )

    async def records(request: web.Request) -> web.StreamResponse:
        return json_answer(await read_records(services, request))

    async def whoami(request: web.Request) -> web.StreamResponse:
        return json_answer(Whoami(_workload(request), services.node_name))

    app = web.Application(middlewares=[problems], client_max_size=MAX_BODY)
    app.router.add_post("/v1/publish", publish)
    app.router.add_get("/v1/subscribe", subscribe)
    app.router.add_get("/v1/records", records)
    app.router.add_get("/v1/whoami", whoami)
    return app


class RecordReader(Protocol):
    """Whatever answers GET /v1/records."""

    async def records(
        self, name: str, kind: str | None, since: int | None, until: int | None, limit: int
    ) -> Rows: ...


async def read_records(reader: RecordReader, request: web.Request) -> Rows:
    """The rows that the query string asks for; 1000 where it names no limit."""
    limit = integer(request, "limit")
    return await reader.records(
        request.query.get("name", "*"),
        request.query.get("kind"),
        integer(request, "since"),
        integer(request, "until"),
        1000 if limit is None else limit,
    )


def _workload(request: web.Request) -> str:
    if request.transport is None:
        raise Transient("cannot tell who asks: the connection was closed meanwhile")
    return Path(request.transport.get_extra_info("sockname")).parent.name


async def _lines(rows: AsyncIterator[Row]) -> AsyncIterator[str]:
    yield ""  # the subscription stands: what is published from now on will be seen
    async for row in rows:
        yield encode(row).decode()
