"""Many rows at once, those that are there already left alone or replaced, by the fastest way that each database has.

SQLite: prepared statements of several rows each. PostgreSQL: many by a binary COPY into a temporary table, and from there
in one statement, because COPY itself knows no conflicts; few as arrays in one statement, which is one way to the
server and back instead of five.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    import psycopg

_FEW = 500
"""Rows up to which arrays cost less than COPY."""

_MOST_VALUES = 999
"""Of one statement for SQLite, whose older versions take no more. Each run of one costs as much as half of writing a row."""

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
    width = len(table.columns)
    together = _MOST_VALUES // width
    whole = len(rows) - len(rows) % together
    groups = [
        tuple(chain.from_iterable(rows[at : at + together])) for at in range(0, whole, together)
    ]
    for count, values in (together, groups), (1, list(rows[whole:])):
        if values:
            connection.exec_driver_sql(
                f"{into} VALUES {_marks(width, count)} ON CONFLICT {on_conflict}", values
            )


@functools.cache
def _marks(columns: int, rows: int) -> str:
    one = f"({', '.join('?' * columns)})"
    return ", ".join([one] * rows)


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
    from psycopg import OperationalError as OfDriver  # noqa: PLC0415 - 10 MB that a hub with SQLite does not need

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
    except OfDriver as error:
        raise OperationalError(copying, None, error) from error
    connection.exec_driver_sql(f"{into} SELECT {names} FROM {incoming} {on_conflict}")  # noqa: S608 - our own names
    # Later jobs of the same transaction find it empty.
    connection.exec_driver_sql(f"DELETE FROM {incoming}")  # noqa: S608 - our own names
