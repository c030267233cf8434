"""A consistent copy of the hub's database while hubs work on it: SQLite's own backup, or pg_dump on an exported snapshot.

How far the copy has each lane is asked of the copy itself (SQLite), or within the transaction that the copy is of
(PostgreSQL): never of the database as it is a moment earlier or later.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
from alembic.runtime.migration import MigrationContext
from sqlalchemy import URL, Connection, text

from skerry.hub.backups import programs
from skerry.hub.backups.ledger import Point, read_points
from skerry.hub.store import facts
from skerry.hub.store.changes import read_log
from skerry.hub.store.engine import reading
from skerry.kit.archive.format import Progress
from skerry.kit.archive.writing import of_file
from skerry.kit.errors import Corrupt, Refused
from skerry.kit.sqlite_connections import classify

Kind = Literal["sqlite", "postgresql"]

DATABASE: dict[Kind, str] = {"sqlite": "hub.db", "postgresql": "hub.pgdump"}
"""What the database's copy is called in an archive."""

_STEP = 4096
"""Pages of SQLite's between two looks at whether to go on."""


class About(msgspec.Struct, frozen=True):
    """Which hub's database, in which form."""

    hub_id: str
    kind: Kind
    schema: int
    epoch: int


@dataclass(frozen=True)
class Snapshot:
    """A copy that can be read once. `size` is what its content will take at most, in bytes."""

    about: About
    points: list[Point]
    size: int
    content: Callable[[], Iterator[bytes]]


def revision(url: URL) -> str:
    """The database's revision. Raises Refused where there is none, Transient."""
    if url.get_backend_name() == "sqlite":
        _file_of(url)  # opening it would make one
    with reading(url) as connection:
        return revision_of(connection)


def revision_of(connection: Connection) -> str:
    """As `revision`, of an open database."""
    found = MigrationContext.configure(connection).get_current_revision()
    if found is None:
        raise _nothing_there(connection.engine.url)
    return found


def size_of(url: URL) -> int:
    """Bytes of the database. Raises Refused, Transient."""
    if url.get_backend_name() == "sqlite":
        path = _file_of(url)
        wal = path.with_name(f"{path.name}-wal")
        return path.stat().st_size + (wal.stat().st_size if wal.exists() else 0)
    with reading(url) as connection:
        found = connection.execute(text("SELECT pg_database_size(current_database())"))
        return int(found.scalar_one())


@contextlib.contextmanager
def snapshot(url: URL, scratch: Path, progress: Progress) -> Iterator[Snapshot]:
    """A snapshot, for as long as the block runs. `scratch` is an empty directory with room. Blocks.

    Raises Refused, Transient, OSError, what `progress` raises, and Corrupt when the database is damaged.
    """
    sqlite = url.get_backend_name() == "sqlite"
    with _of_sqlite(url, scratch, progress) if sqlite else _of_postgresql(url, scratch) as taken:
        yield taken


def check_sqlite(path: Path) -> None:
    """Raises Corrupt when the file is damaged: every page is read."""
    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
            [found] = database.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        raise Corrupt(f"cannot use {path}: it is damaged: {error}") from error
    if found != "ok":
        raise Corrupt(f"cannot use {path}: it is damaged: {found}")


@contextlib.contextmanager
def _of_sqlite(url: URL, scratch: Path, progress: Progress) -> Iterator[Snapshot]:
    copy = scratch / DATABASE["sqlite"]
    copy.touch(mode=0o600)
    source = _file_of(url)
    try:
        with (
            contextlib.closing(sqlite3.connect(source, isolation_level=None)) as database,
            contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as target,
        ):
            database.execute("PRAGMA busy_timeout = 5000")
            # A transaction of our own: else another writer's would make it begin again.
            database.execute("BEGIN")
            database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            database.backup(target, pages=_STEP, progress=lambda *_: progress(0))
            target.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        raise classify(error, source) from error
    check_sqlite(copy)
    with reading(url.set(database=str(copy))) as connection:
        about, points = _about(connection, "sqlite"), read_points(connection)
    yield Snapshot(
        about, points, copy.stat().st_size, lambda: iter(of_file(copy.name, copy).content)
    )


@contextlib.contextmanager
def _of_postgresql(url: URL, scratch: Path) -> Iterator[Snapshot]:
    size = size_of(url)
    with reading(url) as connection:
        exported = str(connection.execute(text("SELECT pg_export_snapshot()")).scalar_one())
        about, points = _about(connection, "postgresql"), read_points(connection)
        yield Snapshot(about, points, size, lambda: programs.dump(url, exported, scratch))


def _about(connection: Connection, kind: Kind) -> About:
    schema = int(revision_of(connection))
    return About(facts.hub_id(connection), kind, schema, read_log(connection).epoch)


def _file_of(url: URL) -> Path:
    path = Path(url.database or "")
    if not path.is_file():
        raise _nothing_there(url)
    return path


def _nothing_there(url: URL) -> Refused:
    return Refused(
        f"cannot back up {url}: there is no hub's database there. Name its directory (--data-dir), or start the hub once."
    )
