"""All records that fit a question, oldest first, however many: by windows of time that each fit into memory.

Reads through `data.query`, one window after the other and each in a snapshot of its own, so an export holds up neither
the writer nor retention. What arrives late for a window that has been read is not in it. `following` decides how long
the next window is, pure.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from sqlalchemy import Connection, or_, select

from skerry.hub.data.query import RecordQuery, Wanted, among
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.patterns import fits
from skerry.hub.store.tables import FLEET, KINDS, node, record, series
from skerry.kit.errors import Refused
from skerry.wire.exports import ExportLine, ExportRow
from skerry.wire.people import Rows
from skerry.wire.records import INT64, Kind, Row

PAGE = 10_000
"""Rows of one window at most."""

_MOST_AT_ONCE = 100_000
_FIRST_WINDOW = 60 * 10**9


def following(width: int, rows: int, *, truncated: bool) -> int:
    """The next window's width in ns: a window that was too full is read again by halves, an empty one grows."""
    if truncated:
        return max(width // 4, 1)
    if rows < PAGE // 4:
        return min(width * 4, INT64)
    return width


class RecordExport:
    """Streams records."""

    def __init__(self, store: HubStore, query: RecordQuery) -> None:
        self._store = store
        self._query = query

    async def lines(self, wanted: Wanted) -> AsyncIterator[ExportLine]:
        """Rows in the order of their time, and at the end how many. Raises Refused when a single moment has too many."""
        sent, damaged, width = 0, 0, _FIRST_WINDOW
        end = INT64 if wanted.until is None else wanted.until
        at = await self._next(wanted, -INT64 if wanted.since is None else wanted.since)
        while at is not None and at < end:
            until = min(at + width, end)
            found = await self._window(wanted, at, until, PAGE)
            if found is None and until == at + 1:
                found = await self._moment(wanted, at)
            if found is None:
                width = following(until - at, PAGE, truncated=True)
                continue
            damaged += found.damaged
            if found.rows:
                sent += len(found.rows)
                yield ExportLine([_row(row) for row in found.rows])
            width = following(width, len(found.rows), truncated=False)
            at = until if found.rows else await self._next(wanted, until)
        yield ExportLine(end=sent, damaged=damaged)

    async def _moment(self, wanted: Wanted, at: int) -> Rows:
        found = await self._window(wanted, at, at + 1, _MOST_AT_ONCE)
        if found is None:
            raise Refused(
                f"cannot export records: more than {_MOST_AT_ONCE} have the time {at}. Ask for fewer names or one node"
            )
        return found

    async def _window(self, wanted: Wanted, at: int, until: int, most: int) -> Rows | None:
        """None: there are more than `most`."""
        found = await self._query.records(
            name=wanted.name,
            node=wanted.node,
            source=wanted.source,
            kind=wanted.kind,
            since=at,
            until=until,
            nodes=wanted.nodes,
            limit=most,
        )
        return None if found.truncated else found

    async def _next(self, wanted: Wanted, at: int) -> int | None:
        """The earliest time of a fitting record from `at` on, so that years without any cost nothing."""

        def work(connection: Connection) -> int | None:
            chosen = (
                select(series.c.id, series.c.kind)
                .outerjoin(node, node.c.id == series.c.node_id)
                .where(series.c.fleet_id == FLEET, fits(connection, series.c.name, wanted.name))
                .where(among(wanted.nodes))
            )
            if wanted.source is not None:
                chosen = chosen.where(series.c.source == wanted.source)
            if wanted.kind is not None:
                chosen = chosen.where(series.c.kind == wanted.kind)
            if wanted.node is not None:
                chosen = chosen.where(
                    or_(node.c.name == wanted.node, series.c.node_id == wanted.node)
                )
            firsts = [
                first
                for row in connection.execute(chosen).all()
                if (first := _first(connection, row.id, row.kind, at)) is not None
            ]
            return min(firsts, default=None)

        return await self._store.read(work)


def _first(connection: Connection, series_id: int, kind: Kind, at: int) -> int | None:
    query = (
        select(record.c.at)
        .where(
            record.c.series_id == series_id, record.c.kind == KINDS.index(kind), record.c.at >= at
        )
        .order_by(record.c.at)
        .limit(1)
    )
    return connection.execute(query).scalar()


def _row(row: Row) -> ExportRow:
    return ExportRow(row.at, row.name, row.node, row.source, row.kind, row.value, row.meta)
