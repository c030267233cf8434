"""Reads records for people: by pattern and time, and the newest value of every series.

Records lie ordered by series and time, so both questions are short walks along each series from its
newest end, however many records there are.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, Select, and_, func, literal, or_, select
from sqlalchemy import Row as DatabaseRow

from skerry.hub.data.values import Stored, restore, restore_meta
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.patterns import fits
from skerry.hub.store.tables import FLEET, KINDS, meta, node, record, series
from skerry.kit.clock import iso
from skerry.kit.errors import InvalidInput
from skerry.wire.people import Rows
from skerry.wire.records import INT64, Kind, Row

MAX_LIMIT = 100_000

_COLUMNS = (
    record.c.at, record.c.type, record.c.integer, record.c.double, record.c.text,
    series.c.name, series.c.source, series.c.kind,
    func.coalesce(node.c.name, series.c.node_id).label("node"), meta.c.json,
)  # fmt: skip


class RecordQuery:
    """Records as people read them. A node is named by its name (its id works too); a removed one by its id."""

    def __init__(self, store: HubStore) -> None:
        self._store = store

    async def records(  # noqa: PLR0913 - one argument for each filter of the API
        self,
        *,
        name: str = "*",
        node: str | None = None,
        source: str | None = None,
        kind: Kind | None = None,
        since: int | None = None,
        until: int | None = None,
        limit: int = 1000,
    ) -> Rows:
        """The newest `limit` matching rows, oldest first; since <= at < until, ns since 1970.

        «*» in `name` stands for any run of characters. Raises InvalidInput when `limit` is out of range.
        """
        if not 1 <= limit <= MAX_LIMIT:
            raise InvalidInput(f"cannot query {limit} records: write a limit from 1 to {MAX_LIMIT}")
        first = _in_range(since) if since is not None else -INT64
        last = _in_range(until - 1) if until is not None else INT64 - 1

        def work(connection: Connection) -> Rows:
            start = _nth_newest(limit + 1, first, last, kind)
            query = (
                _joined(
                    and_(
                        record.c.at >= start,
                        record.c.at >= first,
                        record.c.at <= last,
                        _of_kind(kind),
                    )
                )
                .where(
                    fits(connection, series.c.name, name),
                    _is(series.c.source, source),
                    _is(series.c.kind, kind),
                    _of_node(node),
                )
                .limit(limit + 1)
            )
            found = [_row(row) for row in connection.execute(query)]
            return Rows(rows=found[:limit][::-1], truncated=len(found) > limit)

        return await self._store.read(work)

    async def latest(self, node: str | None = None) -> list[Row]:
        """The newest measurement of every series, by node, source and name."""

        def work(connection: Connection) -> list[Row]:
            newest = _nth_newest(1, -INT64, INT64 - 1, "measurement")
            newest_record = and_(record.c.at == newest, _of_kind("measurement"))
            query = _joined(newest_record).where(series.c.kind == "measurement", _of_node(node))
            found: dict[tuple[str, str, str], Row] = {}
            for each in connection.execute(query):
                row = _row(each)
                found.setdefault((row.node, row.source, row.name), row)
            return [found[key] for key in sorted(found)]

        return await self._store.read(work)


def _joined(condition: ColumnElement[bool]) -> Select[tuple[object, ...]]:
    """Records that fit `condition`, newest first, with all that a row for people needs."""
    return (
        select(*_COLUMNS)
        .select_from(series)
        .join(record, and_(record.c.series_id == series.c.id, condition))
        .outerjoin(node, node.c.id == series.c.node_id)
        .outerjoin(meta, meta.c.id == record.c.meta_id)
        .where(series.c.fleet_id == FLEET)
        .order_by(
            record.c.at.desc(),
            record.c.series_id.desc(),
            record.c.session_id.desc(),
            record.c.counter.desc(),
        )
    )


def _of_kind(kind: Kind | None) -> ColumnElement[bool]:
    """Follows from the series; said of the record too, because PostgreSQL's partitions go by it."""
    return literal(value=True) if kind is None else record.c.kind == KINDS.index(kind)


def _nth_newest(n: int, first: int, last: int, kind: Kind | None) -> ColumnElement[int]:
    """The time of a series' n-th newest record from `first` to `last`, or `first` when it has fewer."""
    walked = record.alias()
    return func.coalesce(
        select(walked.c.at)
        .where(walked.c.series_id == series.c.id, walked.c.at >= first, walked.c.at <= last)
        .where(literal(value=True) if kind is None else walked.c.kind == KINDS.index(kind))
        .order_by(walked.c.at.desc())
        .limit(1)
        .offset(n - 1)
        .correlate(series)
        .scalar_subquery(),
        first,
    )


def _is(column: ColumnElement[str], value: str | None) -> ColumnElement[bool]:
    return literal(value=True) if value is None else column == value


def _of_node(name: str | None) -> ColumnElement[bool]:
    return (
        literal(value=True) if name is None else or_(node.c.name == name, series.c.node_id == name)
    )


def _row(row: DatabaseRow[tuple[object, ...]]) -> Row:
    return Row(
        timestamp=iso(row.at),
        name=row.name,
        value=restore(Stored(row.type, row.integer, row.double, row.text)),
        meta=restore_meta(row.json),
        node=row.node,
        source=row.source,
        at=row.at,
        kind=row.kind,
    )


def _in_range(at: int) -> int:
    """The nearest time that the database can hold; no record is beyond it."""
    return max(-INT64, min(at, INT64 - 1))
