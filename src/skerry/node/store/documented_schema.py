"""Whether a database has the tables, columns, foreign keys and indexes of a script: by default the documented one.

`documented_schema.sql` is the script as the document prints it; `migrations/` makes the tables. Read by `skerry db`.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from skerry.kit.errors import InvalidInput

_CREATE = re.compile(r"\bCREATE\s+(TABLE|(?:UNIQUE\s+)?INDEX)\s+(?!IF\s+NOT\s+EXISTS\b)", re.IGNORECASE)  # fmt: skip


@dataclass(frozen=True)
class TableReport:
    """One table of the script. `missing` has a sentence for each thing that is not there, or is another thing."""

    name: str
    columns: int
    indexes: int
    rows: int
    missing: list[str]


def printed_script() -> str:
    """The documented script."""
    return Path(__file__).with_name("documented_schema.sql").read_text()


def verify(database: sqlite3.Connection, script: str) -> list[TableReport]:
    """What the script would find missing, were it run on `database` with «IF NOT EXISTS»; nothing is written there.

    Columns that only `database` has are no fault. Raises InvalidInput when the script is none.
    """
    with contextlib.closing(_as_after(None, script)) as wanted:
        with contextlib.closing(_as_after(database, script)) as after:
            added = _objects(after) - _objects(database)
        return [_report(name, database, wanted, added) for name in _names(wanted, "table")]


def _as_after(database: sqlite3.Connection | None, script: str) -> sqlite3.Connection:
    """An empty database with the schema of `database` in which the script has been run."""
    copy = sqlite3.connect(":memory:")
    try:
        if database is not None:
            found = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY rowid"
            for (statement,) in database.execute(found).fetchall():
                copy.execute(statement)
        copy.set_authorizer(_nothing_outside)
        copy.executescript(_CREATE.sub(r"CREATE \1 IF NOT EXISTS ", script))
    except sqlite3.Error as error:
        copy.close()
        raise InvalidInput(f"cannot run the script: {error}") from error
    return copy


def _nothing_outside(action: int, *_of: str | None) -> int:
    """A script that attaches a file would write there."""
    return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_ATTACH else sqlite3.SQLITE_OK


def _objects(database: sqlite3.Connection) -> set[tuple[str, str, str]]:
    found = "SELECT type, name, tbl_name FROM sqlite_schema WHERE type IN ('table', 'index') AND name NOT LIKE 'sqlite_%'"
    return {(kind, name, table) for kind, name, table in database.execute(found)}


def _names(database: sqlite3.Connection, kind: str) -> list[str]:
    found = (
        "SELECT name FROM sqlite_schema WHERE type = ? AND name NOT LIKE 'sqlite_%' ORDER BY rowid"
    )
    return [str(row[0]) for row in database.execute(found, (kind,))]


def _report(
    table: str,
    database: sqlite3.Connection,
    wanted: sqlite3.Connection,
    added: set[tuple[str, str, str]],
) -> TableReport:
    columns = _columns(wanted, table)
    indexes = _indexes(wanted, table)
    if ("table", table, table) in added:
        return TableReport(table, len(columns), len(indexes), 0, [f"there is no table {table}"])
    there = _columns(database, table)
    missing = [
        f"column {name} is {_written(there.get(name))}, not {_written(column)}"
        for name, column in columns.items()
        if there.get(name) != column
    ]
    missing += [f"no foreign key {key}" for key in _keys(wanted, table) - _keys(database, table)]
    ours = _indexes(database, table)
    missing += [f"no index {name} on {', '.join(of)}" for name, of in indexes.items() if ours.get(name) != of]  # fmt: skip
    [rows] = database.execute(f'SELECT count(*) FROM "{table}"').fetchone()  # noqa: S608 - a name from the script
    return TableReport(table, len(columns), len(indexes), rows, missing)


_Column = tuple[str, bool, str | None, int]
"""Type, NOT NULL, default, place in the primary key."""


def _columns(database: sqlite3.Connection, table: str) -> dict[str, _Column]:
    found = database.execute(f'PRAGMA table_info("{table}")')
    return {row[1]: (row[2].upper(), bool(row[3]), row[4], row[5]) for row in found}


def _written(column: _Column | None) -> str:
    if column is None:
        return "missing"
    kind, not_null, default, key = column
    words = [kind, "PRIMARY KEY" if key else "", "NOT NULL" if not_null else ""]
    return " ".join(word for word in (*words, f"DEFAULT {default}" if default else "") if word)


def _keys(database: sqlite3.Connection, table: str) -> set[str]:
    found = database.execute(f'PRAGMA foreign_key_list("{table}")')
    return {f"({row[3]}) to {row[2]}({row[4]})" for row in found}


def _indexes(database: sqlite3.Connection, table: str) -> dict[str, list[str]]:
    return dict(_indexed(database, table))


def _indexed(database: sqlite3.Connection, table: str) -> Iterator[tuple[str, list[str]]]:
    for row in database.execute(f'PRAGMA index_list("{table}")').fetchall():
        if row[3] == "c":  # made by CREATE INDEX
            columns = database.execute(f'PRAGMA index_info("{row[1]}")')
            yield row[1], [str(column[2]) for column in columns]
