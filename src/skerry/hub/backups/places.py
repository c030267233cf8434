"""The database that a backup is put back into: a file, or one of a server's. Knows who works on it and what is in it.

What is there is replaced in one step, after the copy beside it is complete, and is set aside, not removed.
"""

from __future__ import annotations

import contextlib
import datetime
import itertools
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from sqlalchemy import URL
from sqlalchemy.exc import NoResultFound

from skerry.hub.backups.snapshot import check_sqlite
from skerry.hub.store.changes import read_log
from skerry.hub.store.engine import reading
from skerry.hub.store.sole import only_user
from skerry.kit.clock import NS
from skerry.kit.disk import sync_directory
from skerry.kit.errors import Corrupt, Transient


class Place(Protocol):
    """Every call blocks and may raise Refused, Transient or Corrupt."""

    url: URL

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """Keeps hubs away within the block. Raises Refused when one works."""
        ...

    def is_empty(self) -> bool:
        """Whether nothing would be lost."""
        ...

    def epoch(self) -> int:
        """Of what is there; 0 when there is nothing that can be read."""
        ...

    def stage(self, copy: Path, scratch: Path) -> URL:
        """Makes a complete database of the copy, beside what is there; returns its address."""
        ...

    def swap(self, staged: URL, now: int) -> str:
        """Puts it in the place of what is there; returns where that is now, or nothing."""
        ...


def place_of(url: URL) -> Place:
    """The place with that address."""
    if url.get_backend_name() == "sqlite":
        return FilePlace(url)
    from skerry.hub.backups.server_place import ServerPlace  # noqa: PLC0415 - psycopg takes 10 MB, and SQLite needs none

    return ServerPlace(url)


class FilePlace:
    """SQLite."""

    def __init__(self, url: URL) -> None:
        self.url = url
        self._path = Path(url.database or "")

    def alone(self) -> contextlib.AbstractContextManager[None]:
        return only_user(self.url)

    def is_empty(self) -> bool:
        return not self._path.exists() or self._path.stat().st_size == 0

    def epoch(self) -> int:
        return 0 if self.is_empty() else epoch_of(self.url)

    def stage(self, copy: Path, scratch: Path) -> URL:
        del scratch
        check_sqlite(copy)
        return self.url.set(database=str(copy))

    def swap(self, staged: URL, now: int) -> str:
        """The log of what is there goes first: SQLite would apply it to whatever has its name."""
        there = not self.is_empty()
        aside = self._free_name(now)
        copy = Path(staged.database or "")
        _settle(copy)
        if there:
            _settle(self._path)
        for end in ("-wal", "-shm"):
            rest = self._path.with_name(self._path.name + end)
            if rest.exists():
                rest.replace(aside.with_name(aside.name + end))
        if there:
            try:
                os.link(self._path, aside)
            except OSError:  # a file system without links: for a moment there is no database
                self._path.replace(aside)
        copy.replace(self._path)
        sync_directory(self._path.parent)
        return str(aside) if there else ""

    def _free_name(self, now: int) -> Path:
        names = (f"{self._path.name}.{_stamp(now)}{more}.replaced" for more in _numbered())
        return next(path for name in names if not (path := self._path.with_name(name)).exists())


def epoch_of(url: URL) -> int:
    """Of the database there; 0 when nothing can be read."""
    try:
        with reading(url) as connection:
            return read_log(connection).epoch
    except (Corrupt, Transient, NoResultFound):
        return 0


def _numbered() -> Iterator[str]:
    yield ""
    yield from (f".{number}" for number in itertools.count(2))


def _stamp(now: int) -> str:
    at = datetime.datetime.fromtimestamp(now // NS, datetime.UTC)
    return f"{at:%Y%m%dT%H%M%SZ}"


def _settle(path: Path) -> None:
    """What is in a file's log becomes a part of the file, if that is sound."""
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(sqlite3.connect(path)) as database,
    ):
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
