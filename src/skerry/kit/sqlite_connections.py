"""Connections to SQLite files: how they are opened, who hears that a file is damaged, and what an error of SQLite's means.

`kit.sqlite` has the writer; everybody else reads.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from skerry.kit.errors import Corrupt, Transient

ROOM = 2 * 1024 * 1024
"""Bytes that a database holds on the disk before it needs them, once inside and once as its WAL (`sqlite.hold_room`)."""

_CACHE_KIB, _READ_CACHE_KIB = 512, 128
"""Of pages for a connection that writes and one that reads: what is kept here is small, the system has its pages in memory, too."""

Driver = Callable[[str], sqlite3.Connection]
"""Opens a `file:` URI: explicit transactions, any thread, sqlite3's errors; `skerry.testing.ApswDriver` is another one."""


def stdlib_driver(uri: str) -> sqlite3.Connection:
    """Python's own SQLite, which every node uses. Raises sqlite3.Error."""
    return sqlite3.connect(
        uri,
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        factory=Reader if uri.endswith("?mode=ro") else sqlite3.Connection,
    )


class Reader(sqlite3.Connection):
    """A connection that tells whoever asked for it when SQLite finds the file damaged while it reads."""

    told: Callable[[str], None] | None = None
    path = Path()

    def execute(self, *words: Any) -> sqlite3.Cursor:  # noqa: ANN401 - as of the base class
        try:
            return super().execute(*words)
        except sqlite3.DatabaseError as error:
            judged = classify(error, self.path)
            if isinstance(judged, Corrupt) and self.told is not None:
                self.told(str(judged))
            raise


def connect(
    path: Path, *, read_only: bool = False, driver: Driver = stdlib_driver
) -> sqlite3.Connection:
    """A connection in WAL mode with foreign keys on and explicit transactions. Raises Corrupt or Transient.

    A file that is made by this is for its owner only, and so are its WAL and index, which take over its mode.
    """
    if not read_only:
        _create_private(path)
    uri = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
    try:
        connection = driver(uri)
    except sqlite3.Error as error:
        raise classify(error, path) from error
    connection.row_factory = sqlite3.Row
    try:
        connection.execute("PRAGMA busy_timeout = 5000")
        if not read_only:
            if (
                not path.stat().st_size
            ):  # of one that is there it can be told only by writing it anew
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA journal_size_limit = {2 * ROOM}")
        connection.execute("PRAGMA foreign_keys = ON")
        cache = _READ_CACHE_KIB if read_only else _CACHE_KIB
        connection.execute(f"PRAGMA cache_size = -{cache}")
    except sqlite3.Error as error:
        connection.close()
        raise classify(error, path) from error
    return connection


def connect_reader(path: Path, driver: Driver = stdlib_driver) -> Reader:
    """A connection for reading only, as `connect` makes it. Only the stdlib's tells of damage."""
    connection = cast("Reader", connect(path, read_only=True, driver=driver))
    connection.path = path
    return connection


def _create_private(path: Path) -> None:
    try:
        path.touch(mode=0o600)
    except OSError as error:
        raise Transient(f"cannot create {path}: {error.strerror}") from error


def classify(error: sqlite3.Error, path: Path) -> Corrupt | Transient:
    """What a caller should do about a SQLite error: rebuild (Corrupt), or free space and retry (Transient)."""
    extended = getattr(error, "sqlite_errorcode", 0)
    code = extended & 0xFF
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return Corrupt(f"cannot read {path}: {error}")
    if code == sqlite3.SQLITE_FULL or extended == sqlite3.SQLITE_IOERR_SHMSIZE:
        return Transient(f"cannot write {path}: the disk is full. Free space there.")
    return Transient(f"cannot use {path}: {error}")
