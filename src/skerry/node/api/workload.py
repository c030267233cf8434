"""What a workload may ask of its node, on the socket that was made for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec
from aiohttp.typedefs import Middleware

from skerry.core.names import is_sha256
from skerry.kit.errors import InvalidInput, Transient
from skerry.kit.one_line import one_line
from skerry.node.api import web
from skerry.node.api.answers import integer, json_answer, problems, stream_lines
from skerry.node.data.publish import read_publish
from skerry.wire.codec import MAX_BODY, decode, encode
from skerry.wire.files import StoredFile
from skerry.wire.local import Held, HoldUpdates, ReleaseUpdates, Whoami
from skerry.wire.people import Rows
from skerry.wire.records import Publish, Published, Row

if TYPE_CHECKING:
    from skerry.node.api.entities import Entities

CURSOR = "Skerry-Cursor"
"""Header of a subscription's answer: the place where it begins, for a reader that is cut off before the first row."""


MAX_HOLD = 86400.0
"""Seconds, as in `update.lock_at_most`."""

MAX_REASON = 200


class RowStream(Protocol):
    """An async iterator of rows as they are accepted; `cursor` is the place where they begin."""

    cursor: str

    def __aiter__(self) -> AsyncIterator[Row]: ...

    async def __anext__(self) -> Row: ...


class WorkloadServices(Protocol):
    """The features behind a workload's socket; `workload` is always the socket's own."""

    node_name: str

    async def publish(self, workload: str, request: Publish) -> Published: ...

    async def hold_updates(self, workload: str, request: HoldUpdates) -> Held:
        """Raises NotFound or Refused."""
        ...

    async def release_updates(self, workload: str, request: ReleaseUpdates) -> Held:
        """Raises NotFound or Refused."""
        ...

    async def put_file(
        self, sha256: str, size: int | None, body: AsyncIterator[bytes]
    ) -> StoredFile:
        """Raises InvalidInput, StorageFull or Transient."""
        ...

    def subscribe(self, name: str, kind: str | None, cursor: str | None) -> RowStream: ...

    async def records(
        self, name: str, kind: str | None, since: int | None, until: int | None, limit: int
    ) -> Rows: ...

    async def entities(self) -> Entities:
        """Rows of models, loaded now if they were not."""
        ...


def read_hold(body: bytes) -> HoldUpdates:
    """The request of a hold. Raises InvalidInput for a time that is none or a reason that is no short line."""
    hold = decode(body, HoldUpdates, "request to hold updates")
    if not 0 < hold.seconds <= MAX_HOLD:
        raise InvalidInput(
            f"cannot hold updates for {hold.seconds:g} s: write a time up to {MAX_HOLD:g} s"
        )
    if len(hold.reason) > MAX_REASON:
        raise InvalidInput(f"cannot hold updates: the reason has more than {MAX_REASON} characters")
    return msgspec.structs.replace(hold, reason=one_line(hold.reason))


def workload_app(
    services: WorkloadServices, middlewares: Sequence[Middleware] = ()
) -> web.Application:
    """POST /v1/publish, /v1/updates/hold, /v1/updates/release; PUT /v1/files/…; GET /v1/subscribe, /v1/records, /v1/whoami; /v1/entities/….

    `middlewares` come between the answers to errors and the routes.
    """

    async def publish(request: web.Request) -> web.StreamResponse:
        body = read_publish(await request.read())
        return json_answer(await services.publish(_workload(request), body))

    async def put_file(request: web.Request) -> web.StreamResponse:
        sha256 = request.match_info["sha256"]
        if not is_sha256(sha256):
            raise InvalidInput(
                f"cannot take file «{one_line(sha256[:80])}»: its name is no SHA-256"
            )
        body = request.content.iter_any()
        return json_answer(await services.put_file(sha256, request.content_length, body))

    async def subscribe(request: web.Request) -> web.StreamResponse:
        return await stream_rows(services.subscribe, request)

    async def records(request: web.Request) -> web.StreamResponse:
        return json_answer(await read_records(services, request))

    async def whoami(request: web.Request) -> web.StreamResponse:
        return json_answer(Whoami(_workload(request), services.node_name))

    async def entities(request: web.Request) -> web.StreamResponse:
        # Most nodes have no models: memory counts.
        from skerry.node.api.entities import answer_entities  # noqa: PLC0415

        return await answer_entities(await services.entities(), request)

    app = web.Application(middlewares=[problems, *middlewares], client_max_size=MAX_BODY)
    app.router.add_post("/v1/publish", publish)
    app.router.add_put("/v1/files/{sha256}", put_file)
    _add_updates(app, services)
    app.router.add_get("/v1/subscribe", subscribe)
    app.router.add_get("/v1/records", records)
    app.router.add_get("/v1/whoami", whoami)
    app.router.add_route("*", "/v1/entities/{entity}", entities)
    app.router.add_route("*", "/v1/entities/{entity}/{what}", entities)
    return app


def _add_updates(app: web.Application, services: WorkloadServices) -> None:
    async def hold(request: web.Request) -> web.StreamResponse:
        body = read_hold(await request.read())
        return json_answer(await services.hold_updates(_workload(request), body))

    async def release(request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        body = (
            decode(raw, ReleaseUpdates, "request to release updates") if raw else ReleaseUpdates()
        )
        return json_answer(await services.release_updates(_workload(request), body))

    app.router.add_post("/v1/updates/hold", hold)
    app.router.add_post("/v1/updates/release", release)


async def stream_rows(
    subscribe: Callable[[str, str | None, str | None], RowStream], request: web.Request
) -> web.StreamResponse:
    """Rows as they are accepted, as the query string asks; begins with an empty line."""
    query = request.query
    rows = subscribe(query.get("name", "*"), query.get("kind"), query.get("cursor"))
    return await stream_lines(request, _lines(rows), "application/x-ndjson", {CURSOR: rows.cursor})


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
