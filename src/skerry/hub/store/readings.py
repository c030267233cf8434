"""The one place where records leave the database with their values, as plain tuples: a day of a series has 86,400."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, Select

from skerry.hub.store.bodies import TEXT, Bodies
from skerry.hub.store.tables import VALUE_SEALED, VALUE_TEXT, record

Reading = tuple[int, int, int, int | None, float | None, str | None, int | None]
"""Series, `at`, `type`, `integer`, `double`, `text`, meta."""

_COLUMNS = ("series_id", "at", "type", "integer", "double", "text", "meta_id")


def columns(of: FromClause = record) -> list[ColumnElement[Any]]:
    """What queries for `read` select, of the records or of a query that has found some of them."""
    return [of.c[name] for name in _COLUMNS]


def read(connection: Connection, query: Select[Any], of: FromClause = record) -> Sequence[Reading]:
    """The records that a query of `columns(of)` finds, in its order, with their texts opened. Raises Corrupt."""
    bodies = Bodies.of(connection)
    if bodies.seals:
        query = query.add_columns(of.c.session_id, of.c.counter)
        return [_opened(bodies, row) for row in _fetch(connection, query)]
    return _fetch(connection, query)


def _fetch(connection: Connection, query: Select[Any]) -> Sequence[Any]:
    with connection.execute(query) as found:
        # Straight from the driver, whose types these are: SQLAlchemy's rows would cost half the query again.
        assert found.cursor is not None  # noqa: S101 - a SELECT has one
        return found.cursor.fetchall()


def _opened(bodies: Bodies, row: Any) -> Reading:  # noqa: ANN401 - what the driver gives
    series_id, at, kind, integer, double, text, meta_id, session_id, counter = row
    if text is None:
        return series_id, at, kind, integer, double, None, meta_id
    identity = (series_id, at, session_id, counter)
    if kind != VALUE_SEALED:
        bodies.permit_plain(TEXT, *identity)
        return series_id, at, kind, integer, double, text, meta_id
    opened = bodies.open_sealed_text(TEXT, text, *identity)
    return series_id, at, VALUE_TEXT, None, None, opened, meta_id
