"""The newest records of many series: each is walked from its newest end, and no further than the answer could reach.

`data.query` reads them. PostgreSQL is told to take one series after the other: left to choose, it has looked for a
series' newest records once for every record of it, where series are few and long.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    and_,
    func,
    literal,
    select,
    true,
)

from skerry.hub.store import readings
from skerry.hub.store.tables import FLEET, KINDS, node, record, series
from skerry.wire.records import Kind


class Span(NamedTuple):
    """Records of a kind (None: of every kind) from `first` to `last`, ns since 1970, both included."""

    first: int
    last: int
    kind: Kind | None = None


class Newest(NamedTuple):
    """A query for `readings.read`, and what its columns are of."""

    query: Select[Any]
    of: FromClause


def newest(connection: Connection, span: Span, most: int, *fitting: ColumnElement[bool]) -> Newest:
    """Of each series that is `fitting` its `most` newest records, and of equal times perhaps more; the newest first.

    `fitting` may speak of `series`, and of the `node` that it is of, if that is still known.
    """
    of, matching = _walked(span, most) if _is_postgresql(connection) else _counted(span, most)
    query = (
        select(*readings.columns(of))
        .select_from(series)
        .join(of, matching)
        .outerjoin(node, node.c.id == series.c.node_id)
        .where(series.c.fleet_id == FLEET, *fitting)
        .order_by(*newest_first(of))
    )
    return Newest(query, of)


def newest_first(of: FromClause = record) -> list[ColumnElement[Any]]:
    """The order of answers, turned round: as series lie in the table."""
    return [of.c[name].desc() for name in ("at", "series_id", "session_id", "counter")]


def of_kind(kind: Kind | None) -> ColumnElement[bool]:
    """Follows from the series; said of the record too, because PostgreSQL's partitions go by it."""
    return literal(value=True) if kind is None else record.c.kind == KINDS.index(kind)


def _is_postgresql(connection: Connection) -> bool:
    return connection.dialect.name == "postgresql"


def _walked(span: Span, most: int) -> tuple[FromClause, ColumnElement[bool]]:
    of = (
        select(record)
        .where(record.c.series_id == series.c.id, of_kind(span.kind))
        .where(record.c.at >= span.first, record.c.at <= span.last)
        .order_by(*newest_first())
        .limit(most)
        .correlate(series)
        .lateral("newest")
    )
    return of, true()


def _counted(span: Span, most: int) -> tuple[FromClause, ColumnElement[bool]]:
    """SQLite has no such walk, and always goes from a series to its records."""
    start = _nth_newest(span, most)
    within = and_(record.c.at >= start, record.c.at >= span.first, record.c.at <= span.last)
    return record, and_(record.c.series_id == series.c.id, within, of_kind(span.kind))


def _nth_newest(span: Span, n: int) -> ColumnElement[int]:
    """The time of a series' n-th newest record within the span, or the span's begin when it has fewer."""
    walked = record.alias()
    return func.coalesce(
        select(walked.c.at)
        .where(walked.c.series_id == series.c.id)
        .where(walked.c.at >= span.first, walked.c.at <= span.last)
        .where(
            literal(value=True) if span.kind is None else walked.c.kind == KINDS.index(span.kind)
        )
        .order_by(walked.c.at.desc())
        .limit(1)
        .offset(n - 1)
        .correlate(series)
        .scalar_subquery(),
        span.first,
    )
