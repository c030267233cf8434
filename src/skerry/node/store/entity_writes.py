"""One request of a workload's that changes rows, within its transaction: checked against what is there, then written."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

import msgspec

from skerry.core.entity_changes import (
    Now,
    edit_of,
    kept_body,
    new_body,
    was_made,
)
from skerry.core.merging import canonical
from skerry.node.store.shared_answers import UNNUMBERED
from skerry.node.store.shared_rows import SharedRows
from skerry.node.store.shared_table import NOTHING, SQL, Held
from skerry.wire.entities import (
    Change,
    Changes,
    Declared,
    Written,
)


class Changing:
    """Changes of one entity within one transaction."""

    def __init__(
        self, rows: SharedRows, db: sqlite3.Connection, entity: str, kept: Declared
    ) -> None:
        self._rows = rows
        self._table = rows.table
        self._db = db
        self._entity = entity
        self._kept = kept

    def make(self, asked: Changes) -> list[Written]:
        ids = [each.id for each in asked.changes]
        held = self._table.find(self._db, self._entity, ids)
        now = {each.id: self._now(held.get(each.id)) for each in asked.changes}
        done = self._made_before(asked, now, held)
        rewound = [
            each
            for each in asked.changes
            if each.id not in done and self._is_older(each, held.get(each.id))
        ]
        if rewound:
            now |= self._rewind(rewound, held)
            held = self._table.find(self._db, self._entity, ids)
        bodies: dict[str, bytes] = {}
        put: list[tuple[str, bytes]] = []
        settled: list[tuple[str, bytes]] = []
        gone: list[str] = []
        for each in asked.changes:
            is_now = now[each.id]
            body = is_now.body if each.id in done else self._after(each, is_now)
            if body is None:
                if is_now.body is not None:
                    gone.append(each.id)
                continue
            bodies[each.id] = body
            if each.kind == "settle" and each.id not in done:
                settled.append((each.id, body))
            elif body != is_now.body:
                put.append((each.id, body))
        self._delete(gone, held)
        written = {
            one.id: one
            for some, settles in ((put, False), (settled, True))
            for one in self._put(some, held, settles=settles)
        }
        return [
            _written(each, written.get(each.id) or held.get(each.id), now[each.id], bodies)
            for each in asked.changes
        ]

    def _made_before(
        self, asked: Changes, now: Mapping[str, Now], held: Mapping[str, Held]
    ) -> set[str]:
        if not asked.again:
            return set()
        declaration = self._kept.declaration
        conflicts = {row["id"] for row in self._db.execute(SQL["conflicting"], (self._entity,))}
        waiting = {each for each in conflicts if each not in held or not held[each].settles}
        return {
            each.id
            for each in asked.changes
            if was_made(self._entity, declaration, each, now[each.id], waits=each.id in waiting)
        }

    def _after(self, change: Change, now: Now) -> bytes | None:
        body = new_body(self._entity, self._kept.declaration, change, now)
        if body is None or body is now.body:
            return body
        return kept_body(self._entity, change.id, body)

    def _now(self, held: Held | None) -> Now:
        if held is None or held.deleted:
            return Now(None, 0 if held is None else held.hlc)
        return Now(self._table.body(self._entity, held), held.hlc)

    def _is_older(self, change: Change, held: Held | None) -> bool:
        """Whether the update was made on a version that the hub's has replaced meanwhile: so the hub is to judge it."""
        if held is None or held.deleted or held.queued or not held.rev or change.read is None:
            return False
        return (
            change.expected is None
            and change.read.revision != held.hlc
            and change.read.rev != held.rev
            and edit_of(self._kept.declaration, change) is not None
        )

    def _rewind(self, changes: Sequence[Change], held: dict[str, Held]) -> dict[str, Now]:
        """Puts rows back to what the updates were made on, so that they are edits of that.

        The mark stays that of the hub's version: it is what the hub's digest has.
        """
        put: list[tuple[Held, bytes]] = []
        for change in changes:
            assert change.read is not None  # noqa: S101 - `_is_older` has looked
            row, read = held[change.id], change.read
            base = msgspec.structs.replace(
                row, rev=read.rev or UNNUMBERED, hlc=read.revision, seen=row.rev
            )
            put.append((base, canonical(bytes(read.body))))
        self._table.put(self._db, self._entity, put)
        return {row.id: Now(body, row.hlc) for row, body in put}

    def _put(
        self, rows: Sequence[tuple[str, bytes]], held: dict[str, Held], *, settles: bool
    ) -> Sequence[Held]:
        if not rows:
            return []
        if not self._kept.local:
            return self._rows.save(
                self._db, self._entity, rows, held, deleted=False, settles=settles
            )
        edited = [Held(row_id, 0, self._rows.hlc.tick(), self._rows.node_id) for row_id, _ in rows]
        bodies = (body for _, body in rows)
        self._table.put(self._db, self._entity, zip(edited, bodies, strict=True))
        self._db.execute(SQL["set_hlc"], (edited[-1].hlc, self._entity))
        return edited

    def _delete(self, ids: Sequence[str], held: dict[str, Held]) -> None:
        if self._kept.local:
            self._table.drop(self._db, self._entity, ids)
            return
        told = [
            row_id
            for row_id in ids
            if not self._rows.drop_unseen(self._db, self._entity, held[row_id])
        ]
        if told:
            rows = [(row_id, NOTHING) for row_id in told]
            self._rows.save(self._db, self._entity, rows, held, deleted=True, settles=False)


def _written(change: Change, row: Held | None, before: Now, bodies: Mapping[str, bytes]) -> Written:
    there = before.body is not None
    if row is None or change.id not in bodies:
        return Written(0, 0, there)
    rev = UNNUMBERED if row.queued else row.rev
    body = bodies[change.id]
    if body == bytes(change.body):
        return Written(row.hlc, rev, there)
    return Written(row.hlc, rev, there, msgspec.Raw(body))
