"""The one place where records leave the database with their values, as plain tuples: a day of a series has 86,400."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, FromClause, Select

from skerry.hub.store.bodies import TEXT, Bodies
from skerry.hub.store.keys import RingGone
from skerry.hub.store.tables import VALUE_SEALED, VALUE_TEXT, record
from skerry.kit.errors import Corrupt

Reading = tuple[int, int, int, int | None, float | None, str | None, int | None]
"""Series, `at`, `type`, `integer`, `double`, `text`, meta."""

_COLUMNS = ("series_id", "at", "type", "integer", "double", "text", "meta_id")


class Read(NamedTuple):
    """Records in the order of their query. Those that are not what was sealed are left out: `damaged` says what of each."""

    readings: Sequence[Reading]
    damaged: Sequence[str] = ()

    @property
    def all(self) -> int:
        """How many the query found."""
        return len(self.readings) + len(self.damaged)


def columns(of: FromClause = record) -> list[ColumnElement[Any]]:
    """What queries for `read` select, of the records or of a query that has found some of them."""
    return [of.c[name] for name in _COLUMNS]


def read(connection: Connection, query: Select[Any], of: FromClause = record) -> Read:
    """The records that a query of `columns(of)` finds, with their texts opened. Raises RingGone."""
    bodies = Bodies.of(connection)
    if not bodies.seals:
        return Read(_fetch(connection, query))
    found: list[Reading] = []
    damaged: list[str] = []
    for row in _fetch(connection, query.add_columns(of.c.session_id, of.c.counter)):
        try:
            found.append(_opened(bodies, row))
        except RingGone:
            raise
        except Corrupt as error:
            damaged.append(str(error))
    return Read(found, damaged)


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
