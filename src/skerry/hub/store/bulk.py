"""Many rows at once, those that are there already left alone or replaced, by the fastest way that each database has.

SQLite: prepared statements of several rows each. PostgreSQL: many by a binary COPY into a temporary table, and from there
in one statement, because COPY itself knows no conflicts; few as arrays in one statement, which is one way to the
server and back instead of five.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from itertools import chain, count
from types import MappingProxyType
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


Rows = Sequence[tuple[object, ...]]

_NOTHING: Mapping[str, int | None] = MappingProxyType({})


def insert_new(
    connection: Connection,
    table: Table,
    rows: Rows,
    *,
    fixed: Mapping[str, int | None] = _NOTHING,
) -> None:
    """Inserts `rows`, whose values are in the order of the table's columns, unless their primary key is there.

    `fixed` has columns that are the same in all rows, which lack them: what need not be handed over row by row is
    cheaper by as much.
    """
    _write(connection, table, rows, "ON CONFLICT DO NOTHING", fixed)


def insert_numbered(connection: Connection, table: Table, rows: Rows) -> Sequence[int]:
    """Inserts `rows`, which lack the table's first column, its number; returns the new numbers in their order."""
    number, *others = [column.name for column in table.columns]
    if not rows:
        return []
    if connection.dialect.name == "postgresql":
        named = _listed(others)
        statement = (
            f"INSERT INTO {table.name} ({named}) SELECT {named} FROM unnest({_arrays(table, others)}) "  # noqa: S608 - our own names
            f'WITH ORDINALITY AS given ({named}, "place") ORDER BY "place" RETURNING "{number}"'
        )
        found = connection.exec_driver_sql(statement, _columns_of(rows))
        return sorted(found.scalars())  # given in the rows' order, but not told in it
    # As SQLite would number them, and nobody else writes meanwhile.
    highest = connection.exec_driver_sql(f'SELECT max("{number}") FROM {table.name}').scalar()  # noqa: S608 - our own names
    first = (highest or 0) + 1
    numbered = [(each, *row) for each, row in zip(count(first), rows, strict=False)]
    _write(connection, table, numbered, "", _NOTHING)
    return range(first, first + len(rows))


def put(
    connection: Connection,
    table: Table,
    rows: Rows,
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
    _write(connection, table, rows, f"ON CONFLICT ({keys}) DO UPDATE SET {others}", _NOTHING)


def _write(
    connection: Connection,
    table: Table,
    rows: Rows,
    on_conflict: str,
    fixed: Mapping[str, int | None],
) -> None:
    """Columns that are fixed as None are left to their default, which is that."""
    if not rows:
        return
    given = [column.name for column in table.columns if column.name not in fixed]
    same = {name: value for name, value in fixed.items() if value is not None}
    names = (*given, *same)
    into = f"INSERT INTO {table.name} ({_listed(names)})"
    if connection.dialect.name == "postgresql":
        whole = [(*row, *same.values()) for row in rows] if same else rows
        few = len(rows) <= _FEW
        (_unnest if few else _copy)(connection, table, whole, (names, into, on_conflict))
        return
    end = "".join(f", {value}" for value in same.values())
    width = len(given)
    together = _MOST_VALUES // width
    grouped = len(rows) - len(rows) % together
    groups = [
        tuple(chain.from_iterable(rows[at : at + together])) for at in range(0, grouped, together)
    ]
    for number, values in (together, groups), (1, list(rows[grouped:])):
        if values:
            connection.exec_driver_sql(
                f"{into} VALUES {_marks(width, number, end)} {on_conflict}", values
            )


@functools.cache
def _marks(columns: int, rows: int, end: str) -> str:
    one = f"({', '.join('?' * columns)}{end})"
    return ", ".join([one] * rows)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _arrays(table: Table, names: Sequence[str]) -> str:
    return ", ".join(f"%s::{_COPY_TYPES[type(table.c[name].type)]}[]" for name in names)


def _columns_of(rows: Rows) -> tuple[list[object], ...]:
    return tuple(map(list, zip(*rows, strict=True)))


def _unnest(
    connection: Connection, table: Table, rows: Rows, statement: tuple[Sequence[str], str, str]
) -> None:
    names, into, on_conflict = statement
    connection.exec_driver_sql(
        f"{into} SELECT * FROM unnest({_arrays(table, names)}) {on_conflict}",  # noqa: S608 - our own names
        _columns_of(rows),
    )


def _copy(
    connection: Connection, table: Table, rows: Rows, statement: tuple[Sequence[str], str, str]
) -> None:
    from psycopg import OperationalError as OfDriver  # noqa: PLC0415 - 10 MB that a hub with SQLite does not need

    given, into, on_conflict = statement
    incoming = f"incoming_{table.name}"
    names = _listed(given)
    connection.exec_driver_sql(
        f"CREATE TEMPORARY TABLE IF NOT EXISTS {incoming} (LIKE {table.name}) ON COMMIT DELETE ROWS"
    )
    driver: psycopg.Connection[Any] = connection.connection.driver_connection  # type: ignore[assignment]  # which psycopg's dialect has
    copying = f"COPY {incoming} ({names}) FROM STDIN (FORMAT BINARY)"
    try:
        with driver.cursor().copy(copying) as copy:
            copy.set_types([_COPY_TYPES[type(table.c[name].type)] for name in given])
            for row in rows:
                copy.write_row(row)
    except OfDriver as error:
        raise OperationalError(copying, None, error) from error
    connection.exec_driver_sql(f"{into} SELECT {names} FROM {incoming} {on_conflict}")  # noqa: S608 - our own names
    # Later jobs of the same transaction find it empty.
    connection.exec_driver_sql(f"DELETE FROM {incoming}")  # noqa: S608 - our own names
