"""Many rows at once, those that are there already left alone or replaced, by the fastest way that each database has.

SQLite: one prepared statement for all rows. PostgreSQL: many by a binary COPY into a temporary table, and from there
in one statement, because COPY itself knows no conflicts; few as arrays in one statement, which is one way to the
server and back instead of five.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import psycopg
from sqlalchemy import (
    BigInteger,
    Boolean,
    Connection,
    Double,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
)
from sqlalchemy.exc import OperationalError

_FEW = 500
"""Rows up to which arrays cost less than COPY."""

_COPY_TYPES = {
    BigInteger: "int8", SmallInteger: "int2", Double: "float8", Text: "text", Boolean: "bool", LargeBinary: "bytea",
}  # fmt: skip


def insert_new(connection: Connection, table: Table, rows: Sequence[tuple[object, ...]]) -> None:
    """Inserts `rows`, whose values are in the order of the table's columns, unless their primary key is there."""
    _write(connection, table, rows, "DO NOTHING")


def put(
    connection: Connection,
    table: Table,
    rows: Sequence[tuple[object, ...]],
    *,
    but: Collection[str] = (),
) -> None:
    """As `insert_new`, but what has the primary key of one of `rows` is replaced. None may have that of another.

    Columns of `but` keep what they have where the row is there.
    """
    keys = ", ".join(f'"{column.name}"' for column in table.primary_key)
    others = ", ".join(
        f'"{column.name}" = excluded."{column.name}"'
        for column in table.columns
        if not column.primary_key and column.name not in but
    )
    _write(connection, table, rows, f"({keys}) DO UPDATE SET {others}")


def _write(
    connection: Connection, table: Table, rows: Sequence[tuple[object, ...]], on_conflict: str
) -> None:
    if not rows:
        return
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    into = f"INSERT INTO {table.name} ({names})"
    if connection.dialect.name == "postgresql":
        few = len(rows) <= _FEW
        (_unnest if few else _copy)(connection, table, rows, (into, f"ON CONFLICT {on_conflict}"))
        return
    marks = ", ".join("?" * len(table.columns))
    connection.exec_driver_sql(f"{into} VALUES ({marks}) ON CONFLICT {on_conflict}", list(rows))


def _unnest(
    connection: Connection,
    table: Table,
    rows: Sequence[tuple[object, ...]],
    statement: tuple[str, str],
) -> None:
    into, on_conflict = statement
    arrays = ", ".join(f"%s::{_COPY_TYPES[type(column.type)]}[]" for column in table.columns)
    connection.exec_driver_sql(
        f"{into} SELECT * FROM unnest({arrays}) {on_conflict}",  # noqa: S608 - our own names
        tuple(map(list, zip(*rows, strict=True))),
    )


def _copy(
    connection: Connection,
    table: Table,
    rows: Sequence[tuple[object, ...]],
    statement: tuple[str, str],
) -> None:
    into, on_conflict = statement
    incoming = f"incoming_{table.name}"
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    connection.exec_driver_sql(
        f"CREATE TEMPORARY TABLE IF NOT EXISTS {incoming} (LIKE {table.name}) ON COMMIT DELETE ROWS"
    )
    driver: psycopg.Connection[Any] = connection.connection.driver_connection  # type: ignore[assignment]  # which psycopg's dialect has
    copying = f"COPY {incoming} ({names}) FROM STDIN (FORMAT BINARY)"
    try:
        with driver.cursor().copy(copying) as copy:
            copy.set_types([_COPY_TYPES[type(column.type)] for column in table.columns])
            for row in rows:
                copy.write_row(row)
    except psycopg.OperationalError as error:
        raise OperationalError(copying, None, error) from error
    connection.exec_driver_sql(f"{into} SELECT {names} FROM {incoming} {on_conflict}")  # noqa: S608 - our own names
    # Later jobs of the same transaction find it empty.
    connection.exec_driver_sql(f"DELETE FROM {incoming}")  # noqa: S608 - our own names
