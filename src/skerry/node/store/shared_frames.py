"""Edits of shared rows on their way to the hub: frozen into frames of their lane, and what the hub's answer makes of them.

A row's next edit waits until the answer to the one before is here. Then it is rebased: the hub's version becomes what
it was made on, by the hub's own judgement (`core.merging`). Where that would lose it, it goes as it is: the hub decides
and keeps the loser.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

import msgspec

from skerry.core.lanes import extend
from skerry.core.merging import Version, apply, diff, rebase
from skerry.kit.errors import InvalidInput
from skerry.kit.sealing.cipher import Cipher
from skerry.node.store.bodies import CONFLICT_BASE, CONFLICT_OURS, SHARED_FRAME
from skerry.node.store.shared_rows import SharedRows
from skerry.node.store.shared_table import (
    NOTHING,
    SQL,
    Held,
    Sums,
    frozen_through,
    mark_of,
    signed,
)
from skerry.node.store.state import FrozenFrame
from skerry.node.store.sync_log import SyncLog
from skerry.wire.codec import decode, encode
from skerry.wire.shared import DECLARATIONS, Edit, EditFrame, Judged, SharedRow
from skerry.wire.sync import NO_CHAIN, Lane, LanePoint

MAX_FRAME = 256 * 1024
"""Bytes of a frame's edits, unless a single one has more: so much a row of a more urgent lane waits for."""

PATCHED = 1024
"""Bytes of a body from which on a patch is tried."""

UNNUMBERED = -1
"""The revision of a base that the hub has never had: an edit of this node on which the hub has put another version."""

_AROUND = 64
"""Bytes that travel with an edit besides its id and body."""


class Conflict(msgspec.Struct, frozen=True):
    """An edit of this node that waits for a person. `base` is what it was made on, None: a new row, or not known."""

    id: str
    rev: int
    deleted: bool
    base: bytes | None
    ours: bytes


class SharedFrames:
    """The row lanes of one node's store."""

    def __init__(self, rows: SharedRows, cipher: Cipher, log: SyncLog) -> None:
        self._rows = rows
        self._table = rows.table
        self._cipher = cipher
        self._log = log
        self._served: dict[Lane, str] = {}

    async def freeze(self, lane: Lane) -> bool:
        """Freezes waiting edits of one entity of `lane` into the next frame. False: there was nothing to freeze."""
        return await self._rows.writer.run(lambda db: self._freeze(db, lane), label="shared.freeze")

    async def frames(self, lane: Lane, after_n: int, limit: int) -> list[FrozenFrame]:
        """Frozen frames after `after_n`, oldest first."""
        frames: list[FrozenFrame] = []
        found = self._rows.reader.execute(SQL["frames_after"], (lane, after_n, limit)).fetchall()
        for row in found:
            previous = frames[-1].chain if frames else await self.chain(lane, row["n"] - 1)
            body = self._cipher.open(row["body"], SHARED_FRAME.place(lane, row["n"]))
            frames.append(FrozenFrame(row["n"], previous or NO_CHAIN, row["chain"], body))
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

    async def has_more(self, lane: Lane) -> bool:
        """Whether another frame is there, or could be frozen now."""
        reader = self._rows.reader
        frames = reader.execute(SQL["count_frames"], (lane,)).fetchone()[0]
        return frames > 1 or any(
            reader.execute(SQL["newest_place"], (entity,)).fetchone()[0]
            > frozen_through(reader, entity)
            for entity in self._entities(lane)
        )

    async def failing(self, lane: Lane, n: int) -> None:
        """The hub has refused frame `n` so often that its rows count as failed; it is kept and tried on."""
        await self._rows.writer.run(
            lambda db: db.execute(SQL["fail_frame"], (lane, n)).rowcount,
            label="shared.failing",
            durable=False,
        )

    async def acknowledge(
        self, lane: Lane, point: LanePoint, revs: Sequence[int], judged: Sequence[Judged]
    ) -> None:
        """The hub has taken the frames up to `point`: edit by edit the revision it got, or what became of it.

        Raises InvalidInput when the answer is not one to these frames.
        """
        fates = {each.index: each for each in judged}
        entities = await self._rows.writer.run(
            lambda db: self._acknowledge(db, lane, point, revs, fates),
            label="shared.acknowledge",
            durable=False,
        )
        if DECLARATIONS in entities:
            self._rows.read_declarations()
        self._rows.changed.ring()

    def _entities(self, lane: Lane) -> list[str]:
        declared = self._rows.declared.items()
        return [entity for entity, how in declared if lane == f"rows-{how.priority}"]

    def _freeze(self, db: sqlite3.Connection, lane: Lane) -> bool:
        names = self._entities(lane)
        last = self._served.get(lane, "")
        turns = sorted(names, key=lambda name: (name <= last, name))
        return any(self._freeze_entity(db, lane, entity) for entity in turns)

    def _freeze_entity(self, db: sqlite3.Connection, lane: Lane, entity: str) -> bool:
        through = frozen_through(db, entity)
        limit = self._rows.declaration(entity).batch_size
        edits: list[Edit] = []
        size = first = last = 0
        for row in db.execute(SQL["waiting"], (entity, through, limit)):
            edit = self._edit_of(db, entity, Held.of(row))
            size += len(edit.id) + len(bytes(edit.body)) + len(bytes(edit.base_body)) + _AROUND
            if edits and size > MAX_FRAME:
                break
            edits.append(edit)
            first, last = first or row["seq"], row["seq"]
        if not edits:
            return False
        body = encode(EditFrame(entity, edits))
        before = self._newest(db, lane)
        n, chain = before.n + 1, extend(before.chain, body)
        sealed = self._cipher.seal(body, SHARED_FRAME.place(lane, n))
        db.execute(SQL["put_frame"], (lane, n, chain, entity, first, last, sealed))
        self._served[lane] = entity
        return True

    def _newest(self, db: sqlite3.Connection, lane: Lane) -> LanePoint:
        row = db.execute(SQL["newest_frame"], (lane,)).fetchone()
        if row is not None:
            return LanePoint(row["n"], row["chain"])
        row = db.execute(SQL["lane"], (lane,)).fetchone()
        return LanePoint() if row is None else LanePoint(row["acknowledged"], row["chain"])

    def _edit_of(self, db: sqlite3.Connection, entity: str, held: Held) -> Edit:
        if held.deleted:
            return Edit(held.id, held.rev, held.hlc, "delete", settles=held.settles)
        body = self._table.body(entity, held)
        whole = Edit(held.id, held.rev, held.hlc, "put", msgspec.Raw(body), held.settles)
        told = held.whole or held.rev == UNNUMBERED
        if not held.rev or (len(body) <= PATCHED and not told):
            return whole
        base = self._table.base(db, entity, held.id)
        if base is None or base.deleted or base.rev != held.rev:
            return whole
        if told:
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
        for row in db.execute(SQL["frames_through"], (lane, point.n)).fetchall():
            body = self._cipher.open(row["body"], SHARED_FRAME.place(lane, row["n"]))
            frame = decode(body, EditFrame, f"frame {row['n']} of lane «{lane}»")
            end = start + len(frame.edits)
            if len(revs) < end:
                raise InvalidInput(
                    f"cannot use the hub's answer: it tells of {len(revs)} edits, {end} were sent"
                )
            answered = [
                (edit, rev, fates.get(index))
                for index, (edit, rev) in enumerate(
                    zip(frame.edits, revs[start:end], strict=True), start
                )
            ]
            db.execute(SQL["unqueue"], (frame.entity, row["first"], row["last"]))
            _Answer(self._rows, self._cipher, self._log, db, frame.entity).take(answered)
            entities.add(frame.entity)
            start = end
        db.execute(SQL["drop_frames"], (lane, point.n))
        db.execute(SQL["set_lane"], (lane, point.n, point.chain))
        return entities


Answered = tuple[Edit, int, Judged | None]


class _Answer:
    """The hub's answer to one frame, within the transaction that takes it over."""

    def __init__(
        self,
        rows: SharedRows,
        cipher: Cipher,
        log: SyncLog,
        db: sqlite3.Connection,
        entity: str,
    ) -> None:
        self._rows = rows
        self._table = rows.table
        self._cipher = cipher
        self._log = log
        self._db = db
        self._entity = entity
        self._declaration = rows.declaration(entity)
        self._sums = Sums()
        self._again: list[tuple[Held, bytes]] = []

    def take(self, answered: Sequence[Answered]) -> None:
        held = self._table.find(self._db, self._entity, (edit.id for edit, _, _ in answered))
        standing: list[tuple[Held, int, bool, int]] = []
        for edit, rev, fate in answered:
            row = held.get(edit.id)
            if row is None:
                continue
            if fate is None and row.hlc == edit.hlc:
                standing.append((row, rev, edit.kind == "delete", self._mark(edit, rev, row)))
            else:
                self._judged(edit, rev, fate, row)
        self._stand(standing)
        self._queue_again()
        self._sums.save(self._db, self._entity)

    def _mark(self, edit: Edit, rev: int, row: Held) -> int:
        body = bytes(edit.body) if edit.kind == "put" else self._table.body(self._entity, row)
        deleted = edit.kind == "delete"
        return mark_of(row.id, Version(rev, row.hlc, row.origin, deleted, body))

    def _stand(self, rows: Sequence[tuple[Held, int, bool, int]]) -> None:
        """Edits that are the hub's rows now, and were not edited since."""
        entity, node_id = self._entity, self._rows.node_id
        self._db.executemany(
            SQL["accept"],
            [
                (rev, signed(mark), node_id, entity, row.id)
                for row, rev, deleted, mark in rows
                if not deleted
            ],
        )
        self._table.drop(self._db, entity, (row.id for row, _, deleted, _ in rows if deleted))
        self._table.drop_bases(self._db, entity, (row.id for row, _, _, _ in rows if row.rev))
        for row, rev, _, mark in rows:
            self._sums.change(row.id, row.mark, mark)
            if row.settles:
                self._db.execute(SQL["drop_conflict"], (entity, row.id))
            if row.seen > rev:
                self._want(row.id)

    def _judged(self, edit: Edit, rev: int, fate: Judged | None, row: Held) -> None:
        if fate is not None and fate.outcome == "whole":
            self._again.append((msgspec.structs.replace(row, whole=True), self._body(row)))
            return
        sent = self._sent(edit, row)
        hubs = self._hubs(row, rev, fate, sent)
        if hubs is None:  # a patch against what is not here: the row comes whole
            self._want(row.id)
            hubs = Version(rev, row.hlc, row.origin, sent.deleted, sent.body)
        if fate is not None:
            self._log.note_edit(self._db, self._entity, row.id, fate.outcome, hubs, sent)
        if fate is not None and fate.outcome == "conflict":
            self._keep_conflict(row, sent)
        if row.hlc == edit.hlc:
            self._become(row, hubs)
        else:
            self._rebase(row, sent, hubs, fate)

    def _sent(self, edit: Edit, row: Held) -> Version:
        body = bytes(edit.body)
        if row.hlc == edit.hlc:
            body = self._body(row)
        elif edit.kind == "patch":
            base = self._table.base(self._db, self._entity, row.id)
            body = apply(base.body if base else NOTHING, body)
        deleted = edit.kind == "delete"
        return Version(0, edit.hlc, self._rows.node_id, deleted, NOTHING if deleted else body)

    def _hubs(self, row: Held, rev: int, fate: Judged | None, sent: Version) -> Version | None:
        """The row as the hub has it after the edit."""
        if fate is None:
            return Version(rev, sent.hlc, sent.origin, sent.deleted, sent.body)
        if fate.row is None:
            return Version(rev, sent.hlc, "", True, NOTHING)  # noqa: FBT003 - deleted
        return self._version(row, fate.row)

    def _version(self, row: Held, theirs: SharedRow) -> Version | None:
        self._rows.hlc.observe(theirs.hlc)
        body = bytes(theirs.body)
        if theirs.base:
            base = self._table.base(self._db, self._entity, row.id)
            if base is None or base.rev != theirs.base:
                return None
            body = apply(base.body, body)
        return Version(theirs.rev, theirs.hlc, theirs.origin, theirs.deleted, body)

    def _become(self, row: Held, hubs: Version) -> None:
        """The row is what the hub has."""
        mark = mark_of(row.id, hubs)
        if hubs.deleted:
            self._table.drop(self._db, self._entity, [row.id])
        else:
            now = Held(row.id, hubs.rev, hubs.hlc, hubs.origin, mark=mark)
            self._table.put(self._db, self._entity, [(now, hubs.body)])
        self._table.drop_bases(self._db, self._entity, [row.id])
        self._sums.change(row.id, row.mark, mark)
        if row.seen > hubs.rev:
            self._want(row.id)

    def _rebase(self, row: Held, sent: Version, hubs: Version, fate: Judged | None) -> None:
        """An edit was made while `sent` was on its way: it follows, made on what the hub has now."""
        now, base = self._table.version(self._entity, row), hubs
        if fate is not None and fate.outcome == "conflict":  # of which this edit takes the place
            self._again.append((row, now.body))
            return
        if fate is not None:
            verdict = rebase(self._declaration, sent, hubs, now)
            if verdict.outcome == "lost" and verdict.loser is None:
                self._become(row, hubs)
                return
            if verdict.outcome == "merged" and verdict.loser != now:  # else the hub is to keep it
                now = msgspec.structs.replace(verdict.version, hlc=self._rows.hlc.tick())
            elif verdict.outcome != "edit":
                base = msgspec.structs.replace(sent, rev=UNNUMBERED)
        mark = mark_of(row.id, hubs)
        self._sums.change(row.id, row.mark, mark)
        self._table.put_bases(self._db, self._entity, [(row.id, base)])
        row = msgspec.structs.replace(
            row, rev=base.rev, hlc=now.hlc, deleted=now.deleted, mark=mark, whole=False
        )
        self._again.append((row, now.body))

    def _keep_conflict(self, row: Held, sent: Version) -> None:
        entity = self._entity
        base = self._table.base(self._db, entity, row.id)
        before = None
        if base is not None and not base.deleted:
            before = self._cipher.seal(base.body, CONFLICT_BASE.place(entity, row.id))
        ours = self._cipher.seal(sent.body, CONFLICT_OURS.place(entity, row.id))
        self._db.execute(
            SQL["put_conflict"], (entity, row.id, row.rev, sent.hlc, sent.deleted, before, ours)
        )

    def _queue_again(self) -> None:
        ids = [row.id for row, _ in self._again]
        first = self._table.queue(self._db, self._entity, ids)
        queued = [
            (msgspec.structs.replace(row, queued=place), body)
            for place, (row, body) in enumerate(self._again, first)
        ]
        self._table.put(self._db, self._entity, queued)

    def _want(self, row_id: str) -> None:
        self._db.execute(SQL["want"], (self._entity, row_id))

    def _body(self, row: Held) -> bytes:
        return self._table.body(self._entity, row)
