"""The rows of a node's files: what is here, which record names it, and whether the hub has it.

`node.files` keeps the bytes beside them and decides.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable
from pathlib import Path

import msgspec

from skerry.kit.sqlite import SqliteWriter, read_queries

FILES_DIRECTORY = "files"
"""Of the data directory: where the bytes are."""

SQL = read_queries(Path(__file__).with_name("files.sql"))


class FileRow(msgspec.Struct, frozen=True):
    """One content. `n`: a record of lane «event» up to this number names it (0: none yet); times are wall ns.

    Once it is sent, a copy of the hub that has record `n` has the content, too.

    `sent_at` None: the hub does not have it. `problem` says why it will not be sent.
    """

    sha256: str
    size: int
    at: int
    n: int = 0
    sent_at: int | None = None
    problem: str = ""


class FileTotals(msgspec.Struct, frozen=True):
    """How many there are and how many wait for the hub; `used` and `unsent` in bytes; one of the problems."""

    count: int
    used: int
    waiting: int
    unsent: int
    problem: str | None


class FileRows:
    """All writes go through the node's writer and are durable when they return; they raise Transient."""

    def __init__(self, writer: SqliteWriter, reader: sqlite3.Connection) -> None:
        self._writer = writer
        self._reader = reader

    def row(self, sha256: str) -> FileRow | None:
        """One content, or None."""
        found = self._reader.execute(SQL["row"], (sha256,)).fetchone()
        return None if found is None else FileRow(**dict(found))

    def waiting(self, most: int) -> list[FileRow]:
        """What the hub is to get, the one that was given first first."""
        return self._rows("waiting", most)

    def page(self, after: str, most: int) -> list[FileRow]:
        """Contents in the order of their names, from the one after that name on."""
        return self._rows("page", after, most)

    def unnamed(self, before: int) -> list[FileRow]:
        """What was given before then and no record names."""
        return self._rows("unnamed", before)

    def sent_ones(self) -> list[FileRow]:
        """What the hub has, the one that it has had longest first."""
        return self._rows("sent_ones")

    def last_sent(self) -> FileRow | None:
        """What the hub got last."""
        return next(iter(self._rows("last_sent")), None)

    def totals(self) -> FileTotals:
        """Sums over all of them."""
        return FileTotals(**dict(self._reader.execute(SQL["totals"]).fetchone()))

    def _rows(self, query: str, *values: object) -> list[FileRow]:
        return [FileRow(**dict(row)) for row in self._reader.execute(SQL[query], values)]

    @property
    def lost_some(self) -> bool:
        """Whether the database was replaced: contents without a row are then no leftovers, until they are taken in."""
        found = self._reader.execute(SQL["to_take_in"]).fetchone()
        return found is not None

    async def take_in(self, rows: Collection[FileRow]) -> None:
        """All contents that are here, of which some lost their rows; from now on one without a row is a leftover.

        Rows of contents that the hub has and that are not here go.
        """
        found = [{"sha256": row.sha256, "size": row.size, "at": row.at, "n": row.n} for row in rows]
        here = {row.sha256 for row in rows}
        gone = [{"sha256": row.sha256} for row in self.sent_ones() if row.sha256 not in here]

        def work(db: sqlite3.Connection) -> None:
            db.executemany(SQL["take_in"], found)
            db.executemany(SQL["drop"], gone)
            db.execute(SQL["taken_in"])

        await self._writer.run(work, label="file.take-in", durable=True)

    async def put(self, sha256: str, size: int, at: int) -> None:
        """The bytes are here."""
        await self._write("put", [{"sha256": sha256, "size": size, "at": at}])

    async def name(self, sha256s: Iterable[str], n: int) -> None:
        """A record up to number `n` names them."""
        await self._write("name", [{"sha256": one, "n": n} for one in sha256s])

    async def sent(self, sha256: str, at: int, n: int) -> None:
        """The hub had all of it before record `n` was accepted here."""
        await self._write("sent", [{"sha256": sha256, "at": at, "n": n}])

    async def lost(self, sha256s: Iterable[str]) -> None:
        """The hub does not have them any more."""
        await self._write("lost", [{"sha256": one} for one in sha256s])

    async def fail(self, sha256: str, problem: str) -> None:
        """It will not be sent."""
        await self._write("problem", [{"sha256": sha256, "problem": problem}])

    async def drop(self, sha256s: Iterable[str]) -> None:
        """Their bytes may go."""
        await self._write("drop", [{"sha256": one} for one in sha256s])

    async def _write(self, query: str, rows: list[dict[str, object]]) -> None:
        def work(db: sqlite3.Connection) -> None:
            db.executemany(SQL[query], rows)

        await self._writer.run(work, label=f"file.{query}", durable=True)
