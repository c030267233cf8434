"""Edits of shared rows on their way to the hub: frozen into frames of their lane, and what the hub's answer makes of them.

A row's next edit waits until the answer to the one before is here. Then it is rebased: the hub's version becomes what
it was made on, by the hub's own judgement (`core.merging`). Where that would lose it, it goes as it is: the hub decides
and keeps the loser.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from skerry.core.lanes import extend
from skerry.core.merging import diff
from skerry.kit.errors import InvalidInput
from skerry.kit.sealing.cipher import Cipher
from skerry.node.store.bodies import CONFLICT_BASE, CONFLICT_OURS
from skerry.node.store.frame_bodies import FrameBodies, Frozen
from skerry.node.store.shared_answers import UNNUMBERED, Answer
from skerry.node.store.shared_rows import SharedRows
from skerry.node.store.shared_table import SQL, SharedTable, frozen_through, plain_tuples
from skerry.node.store.state import FrozenFrame
from skerry.node.store.sync_log import SyncLog
from skerry.wire.codec import encode
from skerry.wire.shared import DECLARATIONS, Edit, EditFrame, Judged, Priority
from skerry.wire.sync import NO_CHAIN, Lane, LanePoint

MAX_FRAME = 1024 * 1024
"""Bytes of a frame's edits, unless a single one has more: what a frame costs besides its rows is little beside them then."""

PATCHED = 1024
"""Bytes of a body from which on a patch is tried."""

_AROUND = 64
"""Bytes that travel with an edit besides its id and body."""

_LANE_OF: Mapping[Priority, Lane] = {
    "high": "rows-high",
    "medium": "rows-medium",
    "low": "rows-low",
}


class Conflict(msgspec.Struct, frozen=True):
    """An edit of this node that waits for a person. `base` is what it was made on, None: a new row, or not known."""

    id: str
    rev: int
    deleted: bool
    base: bytes | None
    ours: bytes


_Row = tuple[int, str, int, int, int, int, int, bytes]
"""Of an edit that goes as a whole, as query «waiting» has it: `body` is as it is stored."""


class _Waiting(msgspec.Struct, frozen=True):
    """Edits for one frame, from the outbox's places `first` to `last`."""

    edits: list[Edit | _Row]
    first: int
    last: int

    def opened(self, table: SharedTable, entity: str) -> list[Edit]:
        """With plain bodies."""
        whole = [each for each in self.edits if not isinstance(each, Edit)]
        bodies = table.bodies(entity, [(each[1], each[7]) for each in whole])
        plain = map(_whole, whole, bodies)
        if len(whole) == len(self.edits):
            return list(plain)
        return [each if isinstance(each, Edit) else next(plain) for each in self.edits]


_NO_BASE_BODY = msgspec.Raw(b"null")


def _whole(row: _Row, body: bytes) -> Edit:
    _, row_id, rev, hlc, _, settles, again, _ = row
    plain = msgspec.Raw(body)
    return Edit(row_id, rev, hlc, "put", plain, bool(settles), _NO_BASE_BODY, bool(again))


class Schedule(Protocol):
    """Whose edits go now (`node.sync.row_schedule`)."""

    def may_push(self, entity: str) -> bool: ...

    def pushed(self, entity: str) -> None: ...


class SharedFrames:
    """The row lanes of one node's store. Without a `schedule` all edits go as soon as they are made."""

    def __init__(
        self,
        rows: SharedRows,
        cipher: Cipher,
        log: SyncLog,
        schedule: Schedule | None = None,
    ) -> None:
        self._schedule = schedule
        self._rows = rows
        self._table = rows.table
        self._cipher = cipher
        self._log = log
        self._bodies = FrameBodies(cipher)
        self._served: dict[Lane, str] = {}
        self._idle: dict[Lane, int] = {}
        """Of lanes that have nothing to send. Set by the event loop, taken by the writer's thread: never iterated."""

    def await_edit(self, lane: Lane, most: int) -> None:
        """The lane has nothing to send: the next edit is frozen by its own transaction, which saves one until it goes.

        `most` bytes as for `freeze`; 0: no longer.
        """
        self._idle[lane] = most

    def edited(self, db: sqlite3.Connection, entity: str) -> None:
        """At the end of a transaction that edits rows of the entity."""
        lane = _LANE_OF[self._rows.declaration(entity).priority]
        if most := self._idle.pop(lane, 0):
            self._freeze(db, lane, most)

    async def freeze(self, lane: Lane, most: int = MAX_FRAME) -> bool:
        """Freezes waiting edits of one entity of `lane` into the next frame, `most` bytes. False: there was nothing to freeze."""
        if self._schedule is None and not await self.has_waiting(lane):
            return False  # a look costs the writer nothing; each edit wakes all lanes
        return await self._rows.writer.run(
            lambda db: self._freeze(db, lane, most), label="shared.freeze"
        )

    async def frames(self, lane: Lane, after_n: int, limit: int) -> list[FrozenFrame]:
        """Frozen frames after `after_n`, oldest first."""
        frames: list[FrozenFrame] = []
        known = self._bodies.in_memory
        named = encode(list(known)).decode()
        found = self._rows.reader.execute(SQL["frames_after"], (named, lane, after_n, limit))
        for n, chain, stored in found.fetchall():
            previous = frames[-1].chain if frames else await self.chain(lane, n - 1)
            body = known[chain].body if stored is None else self._bodies.opened(lane, n, stored)
            frames.append(FrozenFrame(n, previous or NO_CHAIN, chain, body))
        return frames

    async def chain(self, lane: Lane, n: int) -> str | None:
        """The chain after frame `n`, when it is still known."""
        if n == 0:
            return NO_CHAIN
        row = self._rows.reader.execute(SQL["frame_at"], (lane, n)).fetchone()
        if row is not None:
            return str(row["chain"])
        point = await self.point(lane)
        return point.chain if point.n == n else None

    async def point(self, lane: Lane) -> LanePoint:
        """How far the hub has answered `lane`."""
        row = self._rows.reader.execute(SQL["lane"], (lane,)).fetchone()
        return LanePoint() if row is None else LanePoint(row["acknowledged"], row["chain"])

    async def unsent(self, lane: Lane) -> int:
        """How many edits of the lane's entities the hub does not have."""
        return sum([await self._rows.unsent(entity) for entity in self._entities(lane)])

    async def conflicts(self, entity: str) -> list[Conflict]:
        """The edits of this node that wait at the hub until a person decides."""
        found = self._rows.reader.execute(SQL["conflicts"], (entity,)).fetchall()
        return [self._conflict(entity, row) for row in found]

    def _conflict(self, entity: str, row: sqlite3.Row) -> Conflict:
        base = row["base"]
        if base is not None:
            base = self._cipher.open(base, CONFLICT_BASE.place(entity, row["id"]))
        ours = self._cipher.open(row["ours"], CONFLICT_OURS.place(entity, row["id"]))
        return Conflict(row["id"], row["rev"], bool(row["deleted"]), base, ours)

    async def has_after(self, lane: Lane, n: int) -> bool:
        """Whether there is a frozen frame after `n`."""
        return bool(self._rows.reader.execute(SQL["count_after"], (lane, n)).fetchone()[0])

    async def has_waiting(self, lane: Lane) -> bool:
        """Whether another frame could be frozen now."""
        reader = self._rows.reader
        return any(
            reader.execute(SQL["newest_place"], (entity,)).fetchone()[0]
            > frozen_through(reader, entity)
            for entity in self._going(lane)
        )

    async def failing(self, lane: Lane, n: int) -> None:
        """The hub has refused frame `n` so often that its rows count as failed; it is kept and tried on."""
        await self._rows.writer.run(
            lambda db: db.execute(SQL["fail_frame"], (lane, n)).rowcount,
            label="shared.failing",
            durable=False,
        )

    async def acknowledge(
        self,
        lane: Lane,
        point: LanePoint,
        revs: Sequence[int],
        judged: Sequence[Judged],
        *,
        freeze: int = 0,
        untold: str = "",
    ) -> None:
        """The hub has taken the frames up to `point`: edit by edit the revision it got, or what became of it.

        Raises InvalidInput when the answer is not one to these frames. The next frame is frozen, too, with up to `freeze` bytes.
        `untold` is kept with it until `told`.
        """
        fates = {each.index: each for each in judged}

        def work(db: sqlite3.Connection) -> set[str]:
            entities = self._acknowledge(db, lane, point, revs, fates)
            if untold:
                db.execute(SQL["note_untold"], (lane, untold))
            if freeze:
                self._freeze(db, lane, freeze)
            return entities

        entities = await self._rows.writer.run(
            work, label="shared.acknowledge", durable=bool(freeze)
        )
        if DECLARATIONS in entities:
            self._rows.read_declarations()
        self._rows.changed.ring()

    async def untold(self, lane: Lane) -> str:
        """What was to be told of answers of `lane`, and may not have been."""
        row = self._rows.reader.execute(SQL["untold"], (lane,)).fetchone()
        return "" if row is None else str(row["value"])

    async def told(self, lane: Lane) -> None:
        """Everything of `lane` has been told."""
        await self._rows.writer.run(
            lambda db: db.execute(SQL["drop_untold"], (lane,)).rowcount,
            label="shared.told",
            durable=False,
        )

    def _entities(self, lane: Lane) -> list[str]:
        declared = self._rows.declared.items()
        return [entity for entity, how in declared if lane == _LANE_OF[how.priority]]

    def _going(self, lane: Lane) -> list[str]:
        names, schedule = self._entities(lane), self._schedule
        return names if schedule is None else [name for name in names if schedule.may_push(name)]

    def _freeze(self, db: sqlite3.Connection, lane: Lane, most: int) -> bool:
        last = self._served.get(lane, "")
        for entity in sorted(self._going(lane), key=lambda name: (name <= last, name)):
            if self._freeze_entity(db, lane, entity, most):
                return True
            if self._schedule is not None:
                self._schedule.pushed(entity)
        return False

    def _freeze_entity(self, db: sqlite3.Connection, lane: Lane, entity: str, most: int) -> bool:
        waiting = self._waiting(db, entity, most)
        if not waiting.edits:
            return False
        edits = waiting.opened(self._table, entity)
        frame = EditFrame(entity, edits, self._unsent_declaration(db, entity))
        body = encode(frame)
        before = self._newest(db, lane)
        n, chain = before.n + 1, extend(before.chain, body)
        stored = self._bodies.stored(lane, n, chain, Frozen(frame, body))
        db.execute(SQL["put_frame"], (lane, n, chain, entity, waiting.first, waiting.last, stored))
        self._served[lane] = entity
        return True

    def _unsent_declaration(self, db: sqlite3.Connection, entity: str) -> Edit | None:
        held = None if entity == DECLARATIONS else self._table.row(db, DECLARATIONS, entity)
        if held is None or held.deleted or not held.queued:
            return None
        body = msgspec.Raw(self._table.body(DECLARATIONS, held))
        return Edit(entity, held.rev, held.hlc, "put", body)

    def _waiting(self, db: sqlite3.Connection, entity: str, most: int) -> _Waiting:
        """The edits that come next, as many as fit into a frame; one always does."""
        edits: list[Edit | _Row] = []
        first = last = total = 0
        limit = self._rows.declaration(entity).batch_size
        for row in plain_tuples(db).execute(
            SQL["waiting"], (entity, frozen_through(db, entity), limit)
        ):
            place, row_id, rev, hlc, deleted, settles, whole, body = row
            edit: Edit | _Row = row
            size = len(row_id) + len(body)
            if deleted:
                edit = Edit(row_id, rev, hlc, "delete", settles=bool(settles))
                size = len(row_id)
            elif rev and (whole or rev == UNNUMBERED or len(body) > PATCHED):
                edit = self._against_base(db, entity, row)
                size = len(row_id) + len(bytes(edit.body)) + len(bytes(edit.base_body))
            total += size + _AROUND
            if edits and total > most:
                break
            edits.append(edit)
            first, last = first or place, place
        return _Waiting(edits, first, last)

    def _newest(self, db: sqlite3.Connection, lane: Lane) -> LanePoint:
        row = db.execute(SQL["newest_frame"], (lane,)).fetchone()
        if row is not None:
            return LanePoint(row["n"], row["chain"])
        row = db.execute(SQL["lane"], (lane,)).fetchone()
        return LanePoint() if row is None else LanePoint(row["acknowledged"], row["chain"])

    def _against_base(self, db: sqlite3.Connection, entity: str, row: _Row) -> Edit:
        """With the body of its base, when the hub has told that it lacks it; else a patch, where that is less."""
        _, row_id, rev, _, _, _, told, stored = row
        (body,) = self._table.bodies(entity, [(row_id, stored)])
        whole = _whole(row, body)
        base = self._table.base(db, entity, row_id)
        if base is None or base.deleted or base.rev != rev:
            return whole
        if told or rev == UNNUMBERED:
            return msgspec.structs.replace(whole, base_body=msgspec.Raw(base.body))
        patch = diff(base.body, body)
        if patch is None:
            return whole
        return msgspec.structs.replace(whole, kind="patch", body=msgspec.Raw(patch))

    def _acknowledge(
        self,
        db: sqlite3.Connection,
        lane: Lane,
        point: LanePoint,
        revs: Sequence[int],
        fates: Mapping[int, Judged],
    ) -> set[str]:
        """Returns whose edits they were."""
        start = 0
        entities: set[str] = set()
        for n, chain, first, last in (
            plain_tuples(db).execute(SQL["frames_through"], (lane, point.n)).fetchall()
        ):
            frame = self._bodies.frame(db, lane, n, chain)
            end = start + len(frame.edits)
            if len(revs) < end:
                raise InvalidInput(
                    f"cannot use the hub's answer: it tells of {len(revs)} edits, {end} were sent"
                )
            answer = Answer(self._rows, self._cipher, self._log, db, frame.entity)
            answered = zip(
                frame.edits, revs[start:end], map(fates.get, range(start, end)), strict=True
            )
            answer.take(answered, first, last)
            entities.add(frame.entity)
            start = end
        db.execute(SQL["drop_frames"], (lane, point.n))
        db.execute(SQL["set_lane"], (lane, point.n, point.chain))
        return entities
