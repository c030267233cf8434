"""The one place where records leave the database with their values, as plain tuples: a day of a series has 86,400."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Select

from skerry.hub.store.tables import record

Reading = tuple[int, int, int, int | None, float | None, str | None, int | None]
"""Series, `at`, `type`, `integer`, `double`, `text`, meta."""

COLUMNS = (
    record.c.series_id, record.c.at, record.c.type, record.c.integer, record.c.double, record.c.text,
    record.c.meta_id,
)  # fmt: skip
"""What queries for `read` select."""


def read(connection: Connection, query: Select[Any]) -> Sequence[Reading]:
    """The records that a query of COLUMNS finds, in its order."""
    with connection.execute(query) as found:
        # Straight from the driver, whose types these are: SQLAlchemy's rows would cost half the query again.
        assert found.cursor is not None  # noqa: S101 - a SELECT has one
        return found.cursor.fetchall()
