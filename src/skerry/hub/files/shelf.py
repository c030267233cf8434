"""Files for people: which there are, what of them has arrived; and removing those that nobody names any more."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection, Row, Select, and_, delete, func, or_, select, tuple_

from skerry.hub.files.arrivals import Arrivals
from skerry.hub.ports import Blobs
from skerry.hub.store.bodies import FILE_META, Bodies
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.patterns import fits
from skerry.hub.store.tables import FLEET, file, file_content, node
from skerry.kit.clock import NS
from skerry.kit.errors import InvalidInput, NotFound
from skerry.wire.files import FileList, FileView
from skerry.wire.records import Meta

MAX_LIMIT = 10_000
_STEP = 1000
_DIGITS = 64


@dataclass(frozen=True)
class Wanted:
    """Which files; None leaves a filter out; `nodes` are ids; of `sha256` the beginning is enough. since <= at < until, ns since 1970."""

    name: str = "*"
    node: str | None = None
    source: str | None = None
    sha256: str | None = None
    since: int | None = None
    until: int | None = None
    nodes: Collection[str] | None = None


class Shelf:
    """Lists files, and keeps those whose records are not older than `age` seconds."""

    def __init__(self, store: HubStore, blobs: Blobs, arrivals: Arrivals, age: float) -> None:
        self._store = store
        self._blobs = blobs
        self._arrivals = arrivals
        self._age = int(age * NS)

    async def list(self, wanted: Wanted, limit: int) -> FileList:
        """The newest `limit` matching files, oldest first. Raises InvalidInput."""
        if not 1 <= limit <= MAX_LIMIT:
            raise InvalidInput(f"cannot list {limit} files: write a limit from 1 to {MAX_LIMIT}")

        def work(connection: Connection) -> list[tuple[Row[tuple[object, ...]], Meta]]:
            bodies = Bodies.of(connection)
            found = connection.execute(_query(connection, wanted).limit(limit + 1))
            return [(row, _meta(bodies, row)) for row in found]

        rows = await self._store.read(work)
        views = [await self._view(row, meta) for row, meta in rows[:limit][::-1]]
        return FileList(views, truncated=len(rows) > limit)

    async def content(self, sha256: str, nodes: Collection[str] | None = None) -> FileView:
        """The newest file with this content (of one of these nodes), which can be downloaded. Raises NotFound."""
        found = await self.list(Wanted(sha256=sha256, nodes=nodes), 1)
        if not found.files:
            raise NotFound(f"cannot send file {sha256[:12]}…: there is none")
        [view] = found.files
        if not view.complete:
            raise NotFound(
                f"cannot send file «{view.name}»: {view.arrived} of {view.size} bytes have arrived"
            )
        return view

    async def sweep(self, now: int) -> int:
        """Forgets files that were received too long ago, and contents that none names; returns how many contents."""
        key = tuple_(file.c.session_id, file.c.counter)
        old = select(file.c.session_id, file.c.counter).where(file.c.received_at < now - self._age)
        gone = delete(file).where(key.in_(old.limit(_STEP)))
        while await self._store.write(lambda connection: connection.execute(gone).rowcount):
            pass
        named = select(file.c.counter).where(
            file.c.fleet_id == file_content.c.fleet_id, file.c.sha256 == file_content.c.sha256
        )
        query = select(file_content.c.sha256).where(
            file_content.c.fleet_id == FLEET, ~named.exists()
        )
        unnamed = await self._store.read(lambda c: c.execute(query).scalars().all())
        return sum([await self._arrivals.forget(sha256) for sha256 in unnamed])

    async def _view(self, row: Row[tuple[object, ...]], meta: Meta) -> FileView:
        complete, size = row.arrived_at is not None, row.size
        if complete:  # a record may say anything
            size = arrived = row.content_size
        elif row.begun_at is None:
            arrived = 0
        else:
            arrived = (await self._blobs.state(row.sha256)).received
        return FileView(
            row.name, row.node, row.source, row.at, row.received_at, row.sha256, size, arrived,
            complete, meta,
        )  # fmt: skip


def _meta(bodies: Bodies, row: Row[tuple[object, ...]]) -> Meta:
    if row.meta is None:
        return {}
    text = bodies.open_text(FILE_META, row.meta, row.session_id, row.counter)
    return msgspec.json.decode(text, type=Meta)


def _query(connection: Connection, wanted: Wanted) -> Select[tuple[object, ...]]:
    query = (
        select(
            file,
            func.coalesce(node.c.name, file.c.node_id).label("node"),
            file_content.c.arrived_at,
            file_content.c.begun_at,
            file_content.c.size.label("content_size"),
        )
        .outerjoin(node, node.c.id == file.c.node_id)
        .outerjoin(
            file_content,
            and_(
                file_content.c.fleet_id == file.c.fleet_id, file_content.c.sha256 == file.c.sha256
            ),
        )
        .where(file.c.fleet_id == FLEET)
        .order_by(file.c.at.desc(), file.c.session_id.desc(), file.c.counter.desc())
    )
    if wanted.name != "*":
        query = query.where(fits(connection, file.c.name, wanted.name))
    if wanted.node is not None:
        query = query.where(or_(node.c.name == wanted.node, file.c.node_id == wanted.node))
    if wanted.nodes is not None:
        query = query.where(file.c.node_id.in_(wanted.nodes))
    if wanted.source is not None:
        query = query.where(file.c.source == wanted.source)
    if wanted.sha256 is not None:
        # The index is for whole ones: every download asks for one.
        more = "" if len(wanted.sha256) == _DIGITS else "*"
        query = query.where(fits(connection, file.c.sha256, wanted.sha256 + more))
    if wanted.since is not None:
        query = query.where(file.c.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(file.c.at < wanted.until)
    return query
