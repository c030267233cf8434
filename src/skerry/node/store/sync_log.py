"""The documented table `sync_log`: what the sync has done, for people (`skerry sync log`) and their SQL tools.

A row for each pull that changed something, each conflict and its end, each repair, refusal and cut; pushes that go well and pulls
of shared rows are put together, one row for a lane or an entity and half a minute, so that a busy link does not wear out the
disk. Bounded by count.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from skerry.kit.clock import NS, Clock, iso
from skerry.kit.errors import Transient
from skerry.kit.ids import uuid7
from skerry.kit.one_line import one_line
from skerry.kit.sqlite import SqliteWriter, read_queries
from skerry.wire.codec import encode
from skerry.wire.sync import Lane, StateRow

if TYPE_CHECKING:
    from skerry.core.merging import Version

SQL = read_queries(Path(__file__).with_name("sync_log.sql"))

KEPT = 2000
TOGETHER = 30 * NS
_ROWS_OF_A_PULL = 100

log = logging.getLogger(__name__)


class Attempt(msgspec.Struct, frozen=True):
    """One push of a lane's records or frames `first` … `last`; `tries` counts this one, too."""

    lane: Lane
    first: int
    last: int
    bytes: int
    tries: int
    units: int = 1

    def then(self, following: Attempt) -> Attempt:
        """Both as one."""
        return msgspec.structs.replace(
            following,
            first=self.first,
            bytes=self.bytes + following.bytes,
            units=self.units + following.units,
        )


class SyncLog:
    """`note_…` write within the caller's transaction, the others in one of their own; a full disk costs the line."""

    def __init__(self, writer: SqliteWriter, clock: Clock) -> None:
        self._writer = writer
        self._clock = clock
        self._pushed: dict[Lane, Attempt] = {}
        self._told_at: dict[Lane, int] = {}
        self._cuts: dict[Lane, int] = {}
        self._pulled: dict[str, tuple[int, int]] = {}
        self._pulled_told_at: dict[str, int] = {}

    async def pushed(self, attempt: Attempt) -> None:
        """The hub has taken it."""
        lane = attempt.lane
        before = self._pushed.get(lane)
        self._pushed[lane] = before.then(attempt) if before else attempt
        self._cuts.pop(lane, None)
        told_at = self._told_at.get(lane)
        if told_at is None or self._clock.monotonic_ns() - told_at >= TOGETHER or attempt.tries > 1:
            await self.flush(lane)

    async def flush(self, lane: Lane) -> None:
        """Writes down what has been pushed and not been told."""
        attempt = self._pushed.pop(lane, None)
        if attempt is not None:
            self._told_at[lane] = self._clock.monotonic_ns()
            more = {"units": attempt.units, "attempts": attempt.tries}
            await self._tell("push", attempt, "success", more)

    async def pulled_rows(self, entity: str, rows: int, size: int) -> None:
        """So many shared rows of the hub's have been taken over, with so many bytes of bodies."""
        before, bytes_before = self._pulled.get(entity, (0, 0))
        self._pulled[entity] = before + rows, bytes_before + size
        told_at = self._pulled_told_at.get(entity)
        if told_at is None or self._clock.monotonic_ns() - told_at >= TOGETHER:
            await self._flush_rows_of(entity)

    async def flush_rows(self) -> None:
        """Writes down which shared rows have come and not been told."""
        for entity in list(self._pulled):
            await self._flush_rows_of(entity)

    async def _flush_rows_of(self, entity: str) -> None:
        rows, size = self._pulled.pop(entity)
        self._pulled_told_at[entity] = self._clock.monotonic_ns()
        await self._write("pull", entity, "", "success", {"rows": rows, "bytes": size})

    async def cut(self, attempt: Attempt, resumes_after: int, cause: str) -> None:
        """The link broke while it was sent. Told the 1st, 2nd, 4th, 8th … time in a row."""
        cuts = self._cuts[attempt.lane] = self._cuts.get(attempt.lane, 0) + 1
        if cuts.bit_count() == 1:
            more = {"attempts": cuts, "resumes_after": resumes_after, "cause": one_line(cause)}
            await self._tell("push", attempt, "interrupted", more)

    async def refused(self, attempt: Attempt, delay: float, cause: str, *, failed: bool) -> None:
        """The hub does not take it; it is tried again after `delay` seconds."""
        more = {"attempts": attempt.tries, "next_in": round(delay, 1), "cause": one_line(cause)}
        await self._tell("retry", attempt, "failed" if failed else "waiting", more)

    async def refused_pull(
        self, refusals: int, delay: float, cause: str, *, failed: bool, of: str = ""
    ) -> None:
        """The hub does not answer a pull of the state, or what `of` says; it is asked again after `delay` seconds."""
        more = {"attempts": refusals, "next_in": round(delay, 1), "cause": one_line(cause)}
        status = "failed" if failed else "waiting"
        await self._write("retry", "pull", of, status, more)

    def newest(self, limit: int) -> list[sqlite3.Row]:
        """The newest lines, oldest first. Blocks shortly; not what the half minute before has brought (`flush`)."""
        with contextlib.closing(self._writer.reader()) as reader:
            rows = reader.execute(SQL["newest"], (limit,)).fetchall()
        return rows[::-1]

    def note_pulled(self, db: sqlite3.Connection, rows: Sequence[StateRow]) -> None:
        """The hub's rows have been taken over."""
        for row in rows[:_ROWS_OF_A_PULL]:
            more = {"rev": row.rev, "deleted": row.deleted, "bytes": len(bytes(row.body))}
            self._add(db, "pull", row.entity, row.id, "success", more)
        if len(rows) > _ROWS_OF_A_PULL:
            more = {"rows": len(rows) - _ROWS_OF_A_PULL}
            self._add(db, "pull", "state", "", "success", more)

    def note_conflict(self, db: sqlite3.Connection, hubs: StateRow, ours: StateRow | None) -> None:
        """The hub prefers another version; without `ours` there is none. Bodies are no part of the log."""
        if ours is not None:
            more = {"hub": _version(hubs), "node": _version(ours)}
            self._add(db, "conflict", hubs.entity, hubs.id, "resolved", more)

    def note_edit(
        self,
        db: sqlite3.Connection,
        entity: str,
        row_id: str,
        outcome: str,
        hubs: Version,
        ours: Version,
    ) -> None:
        """An edit of a shared row met another one: the hub has put both together, kept its own, or asks a person."""
        more = {"outcome": outcome, "hub": _version(hubs), "node": _version(ours)}
        status = "waiting" if outcome == "conflict" else "resolved"
        self._add(db, "conflict", entity, row_id, status, more)

    def note_decided(self, db: sqlite3.Connection, entity: str, row_id: str) -> None:
        """A conflict of a shared row is over: a person has decided."""
        self._add(db, "resolve", entity, row_id, "success", {})

    def note_repair(
        self, db: sqlite3.Connection, entity: str, details: Mapping[str, object]
    ) -> None:
        """Shared rows here were compared with the hub's, since their digests differed."""
        self._add(db, "repair", entity, "", "success", details)

    async def _tell(
        self, operation: str, attempt: Attempt, status: str, more: Mapping[str, object]
    ) -> None:
        details = {"bytes": attempt.bytes, **more}
        span = f"{attempt.first}..{attempt.last}"
        await self._write(operation, attempt.lane, span, status, details)

    async def _write(
        self, operation: str, kind: str, name: str, status: str, details: Mapping[str, object]
    ) -> None:
        try:
            await self._writer.run(
                lambda db: self._add(db, operation, kind, name, status, details),
                label="sync-log",
                durable=False,
            )
        except Transient as error:
            log.info("%s", error)

    def _add(
        self,
        db: sqlite3.Connection,
        operation: str,
        kind: str,
        name: str,
        status: str,
        details: Mapping[str, object],
    ) -> None:
        now = f"{iso(self._clock.wall_ns())[:23]}Z"
        row = (uuid7(self._clock), operation, kind, name, status, now, encode(details).decode())
        db.execute(SQL["add"], row)
        db.execute(SQL["drop_old"], (KEPT,))


def _version(row: StateRow | Version) -> dict[str, object]:
    return {"rev": row.rev, "hlc": row.hlc, "origin": row.origin, "deleted": row.deleted}
