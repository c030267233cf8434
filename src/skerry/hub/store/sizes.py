"""What each table or partition of the hub's database takes on the disk, its indexes included; `data.storage` says why.

PostgreSQL tells. SQLite reads every page of the file for it, so a large file is told as one, and a build of SQLite
without «dbstat» too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, func, select, table

from skerry.hub.store import partitions
from skerry.hub.store.tables import KINDS, metadata

FREE, LOG, REST = "free pages", "log (WAL)", "tables"

_READ_AT_MOST = 128 * 1024 * 1024
_BLOCK = 512


@dataclass(frozen=True)
class Part:
    """A table or partition, or what is in no table (FREE, LOG, REST). `oldest`: the time at which a partition begins, in ns."""

    name: str
    bytes: int
    rows: int = 0
    oldest: int | None = None


def of_sqlite(connection: Connection, path: Path) -> list[Part]:
    """The parts of a SQLite file; with its log they are what it takes on the disk."""
    run = connection.exec_driver_sql
    free = int(run("PRAGMA page_size").scalar_one()) * int(
        run("PRAGMA freelist_count").scalar_one()
    )
    size, log = _on_disk(path), _on_disk(path.with_name(f"{path.name}-wal"))
    known = _by_table(connection) if size <= _READ_AT_MOST else {}
    parts = [Part(name, taken, _rows(connection, name)) for name, taken in known.items()]
    rest = max(size - free - sum(known.values()), 0)
    rows = 0 if known else _rows(connection, "record")
    return [*parts, Part(REST, rest, rows), Part(FREE, free), Part(LOG, log)]


def of_postgresql(connection: Connection) -> list[Part]:
    """Every table and partition of the hub; rows as PostgreSQL estimates them."""
    begins = {
        part.table: part.lower for kind in KINDS for part in partitions.read(connection, kind)
    }
    rows = connection.exec_driver_sql(
        "SELECT relname, pg_total_relation_size(oid) AS size, greatest(reltuples, 0)::bigint AS rows FROM pg_class "
        "WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
    )
    return [Part(row.relname, row.size, row.rows, begins.get(row.relname)) for row in rows]


def _by_table(connection: Connection) -> Mapping[str, int]:
    compiled = connection.exec_driver_sql("SELECT sqlite_compileoption_used('ENABLE_DBSTAT_VTAB')")
    if not compiled.scalar_one():
        return {}
    rows = connection.exec_driver_sql(
        "SELECT s.tbl_name, sum(d.pgsize) FROM dbstat AS d JOIN sqlite_schema AS s ON s.name = d.name GROUP BY 1"
    )
    return {name: int(size) for name, size in rows if name in metadata.tables}


def _rows(connection: Connection, name: str) -> int:
    return int(connection.execute(select(func.count()).select_from(table(name))).scalar_one())


def _on_disk(path: Path) -> int:
    return path.stat().st_blocks * _BLOCK if path.exists() else 0
