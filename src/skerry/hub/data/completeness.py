"""Reads the times of series page by page, for `core.completeness` to say what may be missing. Bodies are read by `data.query`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection, Row, func, select, tuple_

from skerry.core.completeness import Dropped, Found, Moment, Tally, is_missing, quiet_for
from skerry.hub.data.query import RecordQuery, among
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.patterns import fits
from skerry.hub.store.tables import FLEET, KINDS, batch, node, record, series, session
from skerry.kit.clock import Clock
from skerry.wire.completeness import CompletenessReport, Holes, SeriesReport
from skerry.wire.records import INT64, SPARSE_SESSION, Kind

PAGE = 20_000
MAX_SERIES = 500
_MAX_HOLES = 1000
_GAPS = 1000


@dataclass(frozen=True)
class Asked:
    """Which series, and what of them: since <= at < until (ns since 1970), silences from `factor` spacings on."""

    name: str
    node: str | None
    source: str | None
    kind: Kind
    since: int | None
    until: int | None
    factor: float
    nodes: Collection[str] | None = None

    @property
    def first(self) -> int:
        """The least time that is asked for."""
        return -INT64 if self.since is None else self.since

    @property
    def last(self) -> int:
        """The greatest one."""
        return INT64 - 1 if self.until is None else self.until - 1


@dataclass(frozen=True)
class _Series:
    id: int
    name: str
    node_id: str
    node: str
    source: str
    last_seen: int


class Completeness:
    """Reports. They take turns with other reports at one connection, page by page, so a long one holds up no node."""

    def __init__(self, store: HubStore, query: RecordQuery, clock: Clock) -> None:
        self._store = store
        self._query = query
        self._clock = clock

    async def report(self, asked: Asked) -> CompletenessReport:
        """Series by node, source and name, MAX_SERIES of them at most."""
        chosen = await self._store.read(lambda connection: _chosen(connection, asked))
        now = self._clock.wall_ns()
        dropped: dict[str, list[Dropped]] = {}
        holes: dict[tuple[str, str], Holes] = {}
        found: list[SeriesReport] = []
        for one in chosen[:MAX_SERIES]:
            if one.node_id not in dropped:
                dropped[one.node_id] = await self._dropped(one.node_id)
            tally = await self._tally(one.id, asked)
            times = tally.found(dropped[one.node_id], asked.factor)
            if times is None:
                continue
            publisher = (one.node_id, one.source)
            if publisher not in holes:
                holes[publisher] = await self._holes(one, asked, now)
            found.append(await self._described(one, asked, times, holes[publisher], now))
        return CompletenessReport(found, truncated=len(chosen) > MAX_SERIES)

    async def _described(
        self, one: _Series, asked: Asked, times: Found, holes: Holes, now: int
    ) -> SeriesReport:
        newest = await self._query.records(
            name=one.name,
            node=one.node_id,
            source=one.source,
            kind=asked.kind,
            since=times.last,
            until=times.last + 1,
            limit=1,
        )
        until = now if asked.until is None else min(asked.until, now)
        return SeriesReport(
            name=one.name,
            node=one.node,
            source=one.source,
            kind=asked.kind,
            last_value=newest.rows[0].value if newest.rows else None,
            quiet_for=quiet_for(times.last, times.spacing, until, asked.factor),
            publisher=holes,
            **msgspec.structs.asdict(times),
        )

    async def _tally(self, series_id: int, asked: Asked) -> Tally:
        tally = Tally()
        place: tuple[int, int, int] | None = None
        while True:

            def work(connection: Connection, after: tuple[int, int, int] | None = place) -> int:
                rows = _page(connection, series_id, asked, after)
                for row in rows:
                    tally.add(
                        Moment(row.at, row.session_id, row.boot_id, row.accepted_at - row.monotonic)
                    )
                nonlocal place
                if rows:
                    place = (rows[-1].at, rows[-1].session_id, rows[-1].counter)
                return len(rows)

            if await self._store.survey(work) < PAGE:
                return tally

    async def _dropped(self, node_id: str) -> list[Dropped]:
        """What the node says about the times of samples that it has dropped (`node.store.own_records`)."""
        rows = (await self._query.records(node=node_id, kind="gap", limit=_GAPS)).rows
        spans = [(row.meta.get("from"), row.meta.get("to")) for row in rows]
        return [
            Dropped(since, until)
            for since, until in spans
            if isinstance(since, int) and isinstance(until, int)
        ]

    async def _holes(self, one: _Series, asked: Asked, now: int) -> Holes:
        """What the numbers of a publisher's sessions say about the asked time, in one read."""

        def work(connection: Connection) -> list[tuple[int, int]]:
            return _open_holes(connection, one, asked)

        found = await self._store.survey(work)
        missing = sum(
            size for size, open_since in found if is_missing(open_since, one.last_seen, now)
        )
        return Holes(missing, sum(size for size, _ in found) - missing)


def _chosen(connection: Connection, asked: Asked) -> list[_Series]:
    shown = func.coalesce(node.c.name, series.c.node_id)
    query = (
        select(
            series.c.id, series.c.name, series.c.node_id, shown.label("node"), series.c.source,
            func.coalesce(node.c.last_seen, 0).label("last_seen"),
        )
        .outerjoin(node, node.c.id == series.c.node_id)
        .where(
            series.c.fleet_id == FLEET,
            series.c.kind == asked.kind,
            fits(connection, series.c.name, asked.name),
            among(asked.nodes),
        )
        .order_by(shown, series.c.source, series.c.name)
        .limit(MAX_SERIES + 1)
    )  # fmt: skip
    if asked.node is not None:
        query = query.where((node.c.name == asked.node) | (series.c.node_id == asked.node))
    if asked.source is not None:
        query = query.where(series.c.source == asked.source)
    return [_Series(*row) for row in connection.execute(query)]


def _page(
    connection: Connection, series_id: int, asked: Asked, after: tuple[int, int, int] | None
) -> Sequence[Row[int, int, int, str, int, int]]:
    place = (record.c.at, record.c.session_id, record.c.counter)
    query = (
        select(*place, batch.c.boot_id, batch.c.accepted_at, batch.c.monotonic)
        .join(batch, batch.c.id == record.c.batch_id)
        .where(
            record.c.series_id == series_id,
            record.c.kind == KINDS.index(asked.kind),
            record.c.at >= (asked.first if after is None else after[0]),
            record.c.at <= asked.last,
        )
        .order_by(*place)
        .limit(PAGE)
    )
    if after is not None:
        query = query.where(tuple_(*place) > tuple_(*after))
    return connection.execute(query).all()


def _open_holes(connection: Connection, one: _Series, asked: Asked) -> list[tuple[int, int]]:
    """Size of each hole in a publisher's numbers, and when the hub got the record after it.

    Looked at are, for each session, the numbers from its first to its last in the asked time. A session whose numbers
    are not all of that time is read as a whole: what has other times, by a clock that was set, is not missing. Sparse
    sessions leave numbers out.
    """
    own = record.c.series_id.in_(
        select(series.c.id).where(
            series.c.node_id == one.node_id, series.c.source == one.source, series.c.kind != "gap"
        )
    )
    sparse = select(session.c.id).where(
        session.c.node_id == one.node_id, func.length(session.c.token) == SPARSE_SESSION
    )
    first, last = func.min(record.c.counter), func.max(record.c.counter)
    doubtful = (
        select(record.c.session_id, first.label("first"), last.label("last"))
        .where(own, record.c.at >= asked.first, record.c.at <= asked.last)
        .where(record.c.session_id.not_in(sparse))
        .group_by(record.c.session_id)
        .having(last - first + 1 > func.count())
        .limit(_MAX_HOLES)
    )
    if not connection.execute(doubtful.limit(1)).all():
        return []
    within = doubtful.subquery()
    before = func.lag(record.c.counter).over(
        partition_by=record.c.session_id, order_by=record.c.counter
    )
    numbered = (
        select(record.c.counter, record.c.batch_id, before.label("before"))
        .join(within, within.c.session_id == record.c.session_id)
        .where(own, record.c.counter >= within.c.first, record.c.counter <= within.c.last)
        .subquery()
    )
    size = (numbered.c.counter - numbered.c.before - 1).label("size")
    holes = (
        select(size, batch.c.received_at)
        .join(batch, batch.c.id == numbered.c.batch_id)
        .where(numbered.c.counter - numbered.c.before > 1)
        .order_by(size.desc())
        .limit(_MAX_HOLES)
    )
    return [(row.size, row.received_at) for row in connection.execute(holes)]
