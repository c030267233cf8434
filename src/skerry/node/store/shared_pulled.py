"""The hub's versions of shared rows on the node: pages of changes, digests over what is held, and the repair of differences.

A row with an unsent edit is left alone whatever comes: the answer to the edit brings the hub's version or a newer one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

import msgspec

from skerry.core.merging import apply, marks
from skerry.core.row_digests import bucket_of, digest
from skerry.kit.errors import InvalidInput
from skerry.kit.sqlite_connections import Reader
from skerry.node.store.shared_answers import UNNUMBERED
from skerry.node.store.shared_rows import SharedRows
from skerry.node.store.shared_table import (
    SQL,
    Head,
    Held,
    Sums,
    frozen_through,
    read_sums,
)
from skerry.node.store.sync_log import SyncLog
from skerry.wire.shared import DECLARATIONS, RowsPart, SharedRow
from skerry.wire.shared import Held as AtHub

Undecided = AbstractSet[tuple[str, int]]
"""Ids and clocks of edits."""


_NONE = (0, 0, 0)
"""The head of a row that is not here."""


class Repaired(msgspec.Struct, frozen=True):
    """What a comparison with the hub's rows led to, as numbers of rows: dropped here, sent again, asked for."""

    dropped: int = 0
    again: int = 0
    wanted: int = 0

    def and_then(self, more: Repaired) -> Repaired:
        """Both together."""
        return Repaired(
            self.dropped + more.dropped, self.again + more.again, self.wanted + more.wanted
        )


class SharedPulled:
    """What comes from the hub, for all entities of one node's store."""

    def __init__(self, rows: SharedRows, log: SyncLog) -> None:
        self._rows = rows
        self._table = rows.table
        self._log = log

    def cursors(self) -> dict[str, str]:
        """How far each entity has the hub's changes, urgent ones first; empty: it has none."""
        held = {row["entity"]: row["cursor"] for row in self._rows.reader.execute(SQL["entities"])}
        return {entity: held[entity] for entity in self._rows.declared}

    def digest(self, entity: str) -> str:
        """Over the hub's versions that are held here, to be compared with the hub's own."""
        return digest(self.sums(entity))

    def sums(self, entity: str) -> list[int]:
        """What the digest is over."""
        return read_sums(self._rows.reader, entity)

    def may_have_lost(self, entity: str) -> bool:
        """Whether the hub was put back and this entity not compared with it since."""
        return _may_have_lost(self._rows.reader, entity)

    def wanted(self, entity: str, limit: int) -> dict[str, int]:
        """Rows to be asked for whole, each with its revision here; 0: there is none."""
        found = self._rows.reader.execute(SQL["wanted"], (entity, limit))
        return {row["id"]: row["rev"] for row in found}

    def wants_any(self) -> bool:
        """Whether some rows are to be asked for whole."""
        return bool(self._rows.reader.execute(SQL["wants_any"]).fetchone()[0])

    async def hub_went_back(self) -> None:
        """The hub was put back: what it lacks is not deleted but lost, for every entity until it has been compared."""
        await self._rows.writer.run(
            lambda db: db.execute(SQL["set_lost"]).rowcount, label="shared.lost"
        )

    async def compared(self, entity: str, cursor: str) -> None:
        """The entity is what the hub has, or on its way there; `cursor` as of a `RowsPart`, empty: as it was."""

        def work(db: sqlite3.Connection) -> None:
            db.execute(SQL["clear_lost"], (entity,))
            if cursor:
                db.execute(SQL["set_cursor"], (cursor, entity))

        await self._rows.writer.run(work, label="shared.compared")

    def undecided(self, entity: str) -> Undecided:
        """The edits of this node that wait for a person, as far as is known here."""
        found = self._rows.reader.execute(SQL["conflicting"], (entity,))
        return {(row["id"], row["hlc"]) for row in found}

    async def apply_part(self, part: RowsPart, undecided: Undecided = frozenset()) -> None:
        """Takes over changes together with the cursor after them.

        Conflicts that were `undecided` before the hub was asked, and wait there no more, are decided. What answers to
        edits have deleted since then (`Deletions.noted`) stays deleted: the changes may be older.
        """

        def work(db: sqlite3.Connection) -> int:
            self._want(db, part)
            taken = self._take(db, part.entity, part.rows, newer_only=True)
            if not part.more:
                for row_id, hlc in sorted(undecided):
                    decided = row_id not in part.waiting
                    if decided and db.execute(SQL["decided"], (part.entity, row_id, hlc)).rowcount:
                        self._log.note_decided(db, part.entity, row_id)
            db.execute(SQL["set_cursor"], (part.cursor, part.entity))
            return taken

        self._told(
            part.entity, await self._rows.writer.run(work, label="shared.pull", durable=False)
        )

    async def take_whole(
        self, entity: str, rows: Sequence[SharedRow], asked: Mapping[str, int]
    ) -> None:
        """Takes over rows that were asked for, `asked` as of `wanted`; those that are not among them are not at the hub.

        Such a row goes, or where the hub may have lost it is sent again. A row that has another revision by now stays
        wanted: the answer may be older.
        """

        def work(db: sqlite3.Connection) -> tuple[int, bool]:
            held = self._table.heads(db, entity, asked)
            still = {row_id for row_id, rev in asked.items() if held.get(row_id, _NONE)[0] == rev}
            db.executemany(SQL["drop_wanted"], [(entity, row_id) for row_id in still])
            fitting = [row for row in rows if row.id in still]
            missing = still.difference(row.id for row in rows)
            taken = self._take(db, entity, fitting, newer_only=False)
            if not _may_have_lost(db, entity):
                return taken + self._drop(db, entity, missing), False
            again = [row_id for row_id in missing if row_id in held and not held[row_id][1]]
            self._send_again(db, entity, dict.fromkeys(again, UNNUMBERED))
            return taken, bool(again)

        taken, again = await self._rows.writer.run(work, label="shared.whole", durable=False)
        if again:
            self._rows.changed.ring()
        self._told(entity, taken)

    async def reconcile(
        self, entity: str, differing: Mapping[int, Sequence[AtHub]], *, lost: bool
    ) -> Repaired:
        """Compares the rows of some buckets with the hub's.

        What the hub has and we have not, or another version of, will be asked for. What only we have was deleted there;
        where the hub may have `lost` it, it is sent again, and so is what is newer here.
        """

        def work(db: sqlite3.Connection) -> Repaired:
            found = self._compare(db, entity, differing, lost=lost)
            self._log.note_repair(db, entity, msgspec.structs.asdict(found))
            return found

        repaired = await self._rows.writer.run(work, label="shared.repair")
        if repaired.again:
            self._rows.changed.ring()
        self._told(entity, repaired.dropped)
        return repaired

    def _want(self, db: sqlite3.Connection, part: RowsPart) -> None:
        """The first changes of an entity are without what was deleted: rows that the hub has of us already may be."""
        db.execute(SQL["want_held"], (part.entity, frozen_through(db, part.entity)))
        if db.execute(SQL["wants"], (part.entity,)).fetchone()[0]:
            db.executemany(SQL["drop_wanted"], [(part.entity, row.id) for row in part.rows])

    def _told(self, entity: str, changed: int) -> None:
        if changed:
            if entity == DECLARATIONS:
                self._rows.read_declarations()
            self._rows.arrived.ring()

    def _take(
        self, db: sqlite3.Connection, entity: str, rows: Sequence[SharedRow], *, newer_only: bool
    ) -> int:
        self._rows.hlc.observe(max((row.hlc for row in rows), default=0))
        db.execute(SQL["set_hlc"], (self._rows.hlc.last, entity))
        held = self._table.heads(db, entity, (row.id for row in rows))
        rows = self._to_take(db, entity, rows, held, newer_only=newer_only)
        put, gone = self._outcome(db, entity, rows, held)
        versions, bodies = zip(*put.values(), strict=True) if put else ((), ())
        now = marks(put, (row.rev for row in versions), bodies)
        sums = Sums()
        for row_id, new in zip(put, now, strict=True):
            sums.change(row_id, held.get(row_id, _NONE)[2], new)
        for row_id in gone:
            sums.change(row_id, held.get(row_id, _NONE)[2], 0)
        self._table.take(db, entity, versions, bodies, now)
        self._table.drop(db, entity, gone)
        sums.save(db, entity)
        return len(put) + len(gone)

    def _to_take(
        self,
        db: sqlite3.Connection,
        entity: str,
        rows: Sequence[SharedRow],
        held: Mapping[str, Head],
        *,
        newer_only: bool,
    ) -> list[SharedRow]:
        """Those that are not edited here, and news where only news count. Of an edited row is kept what has been seen."""
        passed = [(row.rev, entity, row.id) for row in rows if held.get(row.id, _NONE)[1]]
        db.executemany(SQL["set_seen"], passed)
        deleted = self._rows.deletions.revision
        found: list[SharedRow] = []
        for row in rows:
            rev, queued, _ = held.get(row.id, _NONE)
            if not queued and (not newer_only or row.rev > max(rev, deleted(entity, row.id))):
                found.append(row)
        return found

    def _outcome(
        self,
        db: sqlite3.Connection,
        entity: str,
        rows: Sequence[SharedRow],
        held: Mapping[str, Head],
    ) -> tuple[dict[str, tuple[SharedRow, bytes]], set[str]]:
        """What changes in their order come to: versions with their bodies, and rows that go."""
        put: dict[str, tuple[SharedRow, bytes]] = {}
        gone: set[str] = set()
        for row in rows:
            if row.deleted:
                put.pop(row.id, None)
                gone.add(row.id)
                continue
            if row.base:
                body = self._patched(db, entity, row, held, put.get(row.id))
                if body is None or row.id in gone:
                    db.execute(SQL["want"], (entity, row.id))
                    continue
            else:
                body = bytes(row.body)
            gone.discard(row.id)
            put[row.id] = (row, body)
        return put, gone

    def _patched(
        self,
        db: sqlite3.Connection,
        entity: str,
        row: SharedRow,
        held: Mapping[str, Head],
        before: tuple[SharedRow, bytes] | None,
    ) -> bytes | None:
        """The body; None for a patch against a version that is not here. `before` is of this page, if any."""
        if row.base != (held.get(row.id, _NONE)[0] if before is None else before[0].rev):
            return None
        if before is None:
            ours = self._table.row(db, entity, row.id)
            if ours is None:
                return None
            body = self._table.body(entity, ours)
        else:
            body = before[1]
        try:
            return apply(body, bytes(row.body))
        except InvalidInput:
            return None

    def _drop(self, db: sqlite3.Connection, entity: str, ids: Iterable[str]) -> int:
        """Rows that the hub does not have, unless they are edited here."""
        held = self._table.find(db, entity, ids)
        gone = [row for row in held.values() if not row.queued]
        sums = Sums()
        for row in gone:
            sums.change(row.id, row.mark, 0)
        self._table.drop(db, entity, (row.id for row in gone))
        sums.save(db, entity)
        return len(gone)

    def _compare(
        self,
        db: sqlite3.Connection,
        entity: str,
        differing: Mapping[int, Sequence[AtHub]],
        *,
        lost: bool,
    ) -> Repaired:
        theirs = {row.id: row for rows in differing.values() for row in rows}
        gone: list[str] = []
        again: dict[str, int] = {}
        for row_id, rev, hlc, queued, ours in db.execute(SQL["versions"], (entity,)).fetchall():
            if bucket_of(row_id) not in differing:
                continue
            hubs = theirs.pop(row_id, None)
            if queued or (hubs is not None and hubs.mark == ours % 2**64):
                continue
            if lost and (hubs is None or hlc > hubs.hlc):
                again[row_id] = UNNUMBERED if hubs is None else hubs.rev
            elif hubs is None and rev:
                gone.append(row_id)
            elif hubs is not None:
                theirs[row_id] = hubs
        db.executemany(SQL["want"], [(entity, row_id) for row_id in theirs])
        dropped = self._drop(db, entity, gone)
        self._send_again(db, entity, again)
        return Repaired(dropped, len(again), len(theirs))

    def _send_again(self, db: sqlite3.Connection, entity: str, bases: Mapping[str, int]) -> None:
        """As edits on what the hub has, with their own clocks: several nodes may send the same.

        Where it has nothing their base is not known, rather than nothing: as new rows they would undo a deletion that
        somebody has made since.
        """
        held = self._table.find(db, entity, bases)
        first = self._table.queue(db, entity, list(held))
        sums = Sums()
        put: list[tuple[Held, bytes]] = []
        for place, row in enumerate(held.values(), first):
            sums.change(row.id, row.mark, 0)
            queued = msgspec.structs.replace(
                row, rev=bases[row.id], queued=place, mark=0, whole=True
            )
            put.append((queued, self._table.body(entity, row)))
        self._table.put(db, entity, put)
        sums.save(db, entity)


def _may_have_lost(db: sqlite3.Connection | Reader, entity: str) -> bool:
    found = db.execute(SQL["entities"])
    return any(row["lost"] for row in found if row["entity"] == entity)
