"""What the node has written into the files of twins, so that it knows later what drivers have changed in them (ADR 35)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path

import msgspec

from skerry.kit.sealing.cipher import Cipher
from skerry.kit.sqlite import SqliteWriter, read_queries
from skerry.kit.sqlite_connections import Reader
from skerry.node.store.bodies import TWIN_NEXT, TWIN_ROW, TWIN_WRITTEN

SQL = read_queries(Path(__file__).with_name("twin_files.sql"))


class WrittenFile(msgspec.Struct, frozen=True):
    """One file; migration 0014 says what the columns are."""

    twin: str
    revision: int
    rev: int
    source: str
    row: bytes
    written: bytes
    next: bytes | None = None


class TwinFileStore:
    """Of one node's database."""

    def __init__(self, writer: SqliteWriter, reader: Reader, cipher: Cipher) -> None:
        self._writer = writer
        self._reader = reader
        self._cipher = cipher

    def of(self, twin: str) -> WrittenFile | None:
        """None: nothing was ever written for this twin."""
        found = self._reader.execute(SQL["read"], (twin,)).fetchone()
        if found is None:
            return None
        revision, rev, source, row, written, following = found
        unseal = self._cipher.open
        return WrittenFile(
            twin, revision, rev, source,
            unseal(row, TWIN_ROW.place(twin)),
            unseal(written, TWIN_WRITTEN.place(twin)),
            None if following is None else unseal(following, TWIN_NEXT.place(twin)),
        )  # fmt: skip

    def twins(self) -> list[str]:
        """Those that have one."""
        return [row["twin"] for row in self._reader.execute(SQL["twins"])]

    def put_in(self, db: sqlite3.Connection, file: WrittenFile) -> None:
        """Within the caller's transaction."""
        twin, following, seal = file.twin, file.next, self._cipher.seal
        columns = (
            twin, file.revision, file.rev, file.source,
            seal(file.row, TWIN_ROW.place(twin)),
            seal(file.written, TWIN_WRITTEN.place(twin)),
            None if following is None else seal(following, TWIN_NEXT.place(twin)),
        )  # fmt: skip
        db.execute(SQL["put"], columns)

    async def put(self, file: WrittenFile) -> None:
        """Durably. Raises Transient."""
        await self._writer.run(lambda db: self.put_in(db, file), label="twin.file")

    async def forget(self, twins: Iterable[str]) -> None:
        """What was written for these is of no interest any more."""
        gone = [(twin,) for twin in twins]
        if gone:
            await self._writer.run(
                lambda db: db.executemany(SQL["drop"], gone).rowcount, label="twin.forget"
            )
