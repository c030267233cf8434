"""What the node keeps of its drivers over its own restarts: which of them flap, and how far a restart of all has come."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path

import msgspec

from skerry.kit.sqlite import SqliteWriter, read_queries
from skerry.kit.sqlite_connections import Reader

SQL = read_queries(Path(__file__).with_name("driver_marks.sql"))

KEPT_RESTARTS = 100
"""So many requests are known as done."""


class DriverMark(msgspec.Struct, frozen=True):
    """One driver, by its twin. Wall clock, in ns.

    `made_of` is what it was started from, `metadata` its twin's, both as digests. `restarts` is what its status showed
    last, `total` all ends by itself since `made_of` is this, `ends` the last of them. `since`: flapping since then; None:
    it is not. `trial`: it was started again nevertheless, once.
    """

    twin: str
    made_of: str = ""
    metadata: str = ""
    restarts: int = 0
    total: int = 0
    ends: tuple[int, ...] = ()
    since: int | None = None
    trial: bool = False

    @property
    def is_held(self) -> bool:
        """Whether it must not run now."""
        return self.since is not None and not self.trial


class RestartRow(msgspec.Struct, frozen=True):
    """A restart of everything: `phase` is the step that is under way, or «done», and then `message` is what came of it."""

    request: str
    alert: str
    phase: str
    message: str
    asked_at: int


class DriverStore:
    """Of one node's database."""

    def __init__(self, writer: SqliteWriter, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader

    def marks(self) -> dict[str, DriverMark]:
        """All of them, by twin."""
        return {
            row["twin"]: DriverMark(
                row["twin"], row["made_of"], row["metadata"], row["restarts"], row["total"],
                msgspec.json.decode(row["ends"], type=tuple[int, ...]), row["since"], bool(row["trial"]),
            )
            for row in self._reader.execute(SQL["all"])
        }  # fmt: skip

    async def put(self, marks: Iterable[DriverMark]) -> None:
        """Durably. Raises Transient."""
        rows = [
            (
                mark.twin, mark.made_of, mark.metadata, mark.restarts, mark.total,
                msgspec.json.encode(mark.ends).decode(), mark.since, mark.trial,
            )
            for mark in marks
        ]  # fmt: skip
        if rows:
            await self._writer.run(
                lambda db: db.executemany(SQL["put"], rows).rowcount, label="driver.mark"
            )

    async def forget(self, twins: Iterable[str]) -> None:
        """These have no driver any more."""
        gone = [(twin,) for twin in twins]
        if gone:
            await self._writer.run(
                lambda db: db.executemany(SQL["drop"], gone).rowcount, label="driver.forget"
            )

    def restart(self, request: str) -> RestartRow | None:
        """The restart that was asked for with this id."""
        return _restart(self._reader.execute(SQL["restart"], (request,)).fetchone())

    def unfinished(self) -> RestartRow | None:
        """The restart that is under way."""
        return _restart(self._reader.execute(SQL["unfinished"]).fetchone())

    async def put_restart(self, row: RestartRow) -> None:
        """Durably; of those that are done the oldest go. Raises Transient."""
        columns = msgspec.structs.astuple(row)

        def work(db: sqlite3.Connection) -> None:
            db.execute(SQL["put_restart"], columns)
            db.execute(SQL["drop_old_restarts"], (KEPT_RESTARTS,))

        await self._writer.run(work, label="driver.restart")


def _restart(found: sqlite3.Row | None) -> RestartRow | None:
    return None if found is None else RestartRow(*found)
