"""Many rows at once, those that are there already left alone, by the fastest way that each database has.

SQLite: one prepared statement for all rows. PostgreSQL: many by a binary COPY into a temporary table, and from there
in one statement, because COPY itself knows no conflicts; few as arrays in one statement, which is one way to the
server and back instead of five.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
from sqlalchemy import BigInteger, Connection, Double, SmallInteger, Table, Text
from sqlalchemy.exc import OperationalError

_FEW = 500
"""Rows up to which arrays cost less than COPY."""

_COPY_TYPES = {BigInteger: "int8", SmallInteger: "int2", Double: "float8", Text: "text"}


def insert_new(connection: Connection, table: Table, rows: Sequence[tuple[object, ...]]) -> None:
    """Inserts `rows`, whose values are in the order of the table's columns, unless their primary key is there."""
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    if connection.dialect.name == "postgresql":
        few = len(rows) <= _FEW
        (_unnest if few else _copy)(connection, table, names, rows)
        return
    marks = ", ".join("?" * len(table.columns))
    statement = f"INSERT INTO {table.name} ({names}) VALUES ({marks}) ON CONFLICT DO NOTHING"  # noqa: S608 - our own names
    connection.exec_driver_sql(statement, list(rows))


def _unnest(
    connection: Connection, table: Table, names: str, rows: Sequence[tuple[object, ...]]
) -> None:
    if not rows:
        return
    arrays = ", ".join(f"%s::{_COPY_TYPES[type(column.type)]}[]" for column in table.columns)
    statement = (
        f"INSERT INTO {table.name} ({names}) SELECT * FROM unnest({arrays}) ON CONFLICT DO NOTHING"  # noqa: S608 - our own names
    )
    connection.exec_driver_sql(statement, tuple(map(list, zip(*rows, strict=True))))


def _copy(
    connection: Connection, table: Table, names: str, rows: Sequence[tuple[object, ...]]
) -> None:
    incoming = f"incoming_{table.name}"
    connection.exec_driver_sql(
        f"CREATE TEMPORARY TABLE IF NOT EXISTS {incoming} (LIKE {table.name}) ON COMMIT DELETE ROWS"
    )
    driver: psycopg.Connection[Any] = connection.connection.driver_connection  # type: ignore[assignment]  # which psycopg's dialect has
    statement = f"COPY {incoming} ({names}) FROM STDIN (FORMAT BINARY)"
    try:
        with driver.cursor().copy(statement) as copy:
            copy.set_types([_COPY_TYPES[type(column.type)] for column in table.columns])
            for row in rows:
                copy.write_row(row)
    except psycopg.OperationalError as error:
        raise OperationalError(statement, None, error) from error
    connection.exec_driver_sql(
        f"INSERT INTO {table.name} ({names}) SELECT {names} FROM {incoming} ON CONFLICT DO NOTHING"  # noqa: S608 - our own names
    )
    # Later jobs of the same transaction find it empty.
    connection.exec_driver_sql(f"DELETE FROM {incoming}")  # noqa: S608 - our own names
