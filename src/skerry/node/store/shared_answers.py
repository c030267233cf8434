"""What the hub's answer makes of the edits of one frame: rows that stand, that the hub has otherwise, that go again.

`shared_frames` sends and asks; where an edit was made meanwhile it is rebased by `core.merging`, as the hub would judge.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from itertools import repeat

import msgspec

from skerry.core.merging import Version, apply, mark, marks, rebase
from skerry.kit.sealing.cipher import Cipher
from skerry.node.store.bodies import CONFLICT_BASE, CONFLICT_OURS
from skerry.node.store.shared_rows import SharedRows
from skerry.node.store.shared_table import (
    NOTHING,
    SQL,
    Held,
    Sums,
    mark_of,
    plain_tuples,
    signed,
)
from skerry.node.store.sync_log import SyncLog
from skerry.wire.shared import Edit, Judged, SharedRow

UNNUMBERED = -1
"""The revision of a base that the hub does not have: an edit of this node on which the hub has put another version, or that
of a row that it has lost."""

Answered = tuple[Edit, int, Judged | None]
"""An edit, its revision, and what became of it if it is not simply the row now."""

_Places = tuple[str, int, int]
"""Of an entity's outbox, the first and the last."""

_Standing = tuple[tuple[str, int, int, int, int, int], int, Edit]
"""Of an edit that stands: the row as in query «sent», the revision, the edit."""


class Answer:
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

    def take(self, answered: Iterable[Answered], first: int, last: int) -> None:
        """Takes over what became of the edits at the places `first` to `last` of the outbox."""
        places = (self._entity, first, last)
        others = list(answered)
        if all(
            fate is None and edit.kind == "put" and not edit.base and not edit.settles
            for edit, _, fate in others
        ):
            taken = self._accept_new(others, places)
            if len(taken) == len(others):
                others = []
            else:
                others = [each for each in others if each[0].id not in taken]
        if others:
            self._take_each(others, places)
        self._db.execute(SQL["unqueue"], places)
        self._queue_again()
        self._sums.save(self._db, self._entity)

    def _accept_new(self, answered: Sequence[Answered], places: _Places) -> AbstractSet[str]:
        """New rows, as nearly all are in a backlog, without reading them: the ids of those that are as they were sent."""
        entity, node_id, first, last = self._entity, self._rows.node_id, *places[1:]
        ids, revs = [edit.id for edit, _, _ in answered], [rev for _, rev, _ in answered]
        found = marks(ids, revs, [bytes(edit.body) for edit, _, _ in answered])
        now = dict(zip(ids, found, strict=True))
        clocks = [edit.hlc for edit, _, _ in answered]
        accepted = self._db.executemany(
            SQL["accept_new"],
            zip(
                revs, map(signed, found), repeat(node_id), repeat(entity), ids, clocks, repeat(first), repeat(last),
                strict=False,  # of which four are endless
            ),
        )  # fmt: skip
        if accepted.rowcount < len(now):
            taken = {
                row_id for (row_id,) in plain_tuples(self._db).execute(SQL["accepted"], places)
            }
            now = {row_id: each for row_id, each in now.items() if row_id in taken}
        self._sums.come(now)
        return now.keys()

    def _take_each(self, answered: Sequence[Answered], places: _Places) -> None:
        rows = {row[0]: row for row in plain_tuples(self._db).execute(SQL["sent"], places)}
        standing: list[_Standing] = []
        others: list[Answered] = []
        for each in answered:
            edit, rev, fate = each
            row = rows.get(edit.id)
            if row is None:
                continue
            if fate is None and row[2] == edit.hlc:
                standing.append((row, rev, edit))
            else:
                others.append(each)
        self._stand(standing)
        held = self._table.find(self._db, self._entity, [edit.id for edit, _, _ in others])
        for edit, rev, fate in others:
            self._judged(edit, rev, fate, held[edit.id])

    def _stand(self, rows: Sequence[_Standing]) -> None:
        """Edits that are the hub's rows now, and were not edited since."""
        entity, node_id = self._entity, self._rows.node_id
        accepted: list[tuple[int, int, str, str, str]] = []
        deleted: list[str] = []
        for (row_id, _, _, settles, seen, before), rev, edit in rows:
            now = self._mark(edit, rev)
            self._sums.change(row_id, before % 2**64, now)
            if edit.kind == "delete":
                deleted.append(row_id)
                self._rows.deletions.note(entity, row_id, rev)
            else:
                accepted.append((rev, signed(now), node_id, entity, row_id))
            if settles and self._db.execute(SQL["drop_conflict"], (entity, row_id)).rowcount:
                self._log.note_decided(self._db, entity, row_id)
            if seen > rev:
                self._want(row_id)
        self._db.executemany(SQL["accept"], accepted)
        self._table.drop(self._db, entity, deleted)
        self._table.drop_bases(self._db, entity, [row[0] for row, _, _ in rows if row[1]])

    def _mark(self, edit: Edit, rev: int) -> int:
        if edit.kind == "delete":
            return 0
        if edit.kind == "put":
            return mark(edit.id, rev, bytes(edit.body))
        row = self._table.row(self._db, self._entity, edit.id)
        assert row is not None  # noqa: S101 - it was among those of the outbox
        return mark(edit.id, rev, self._table.body(self._entity, row))

    def _judged(self, edit: Edit, rev: int, fate: Judged | None, row: Held) -> None:
        if fate is not None and fate.outcome == "whole":
            self._again.append((msgspec.structs.replace(row, whole=True), self._body(row)))
            return
        sent = self._sent(edit, row)
        hubs = self._hubs(row, rev, fate, sent)
        if hubs is None:  # a patch against what is not here: the row comes whole
            self._want(row.id)
            hubs = Version(rev, row.hlc, row.origin, sent.deleted, sent.body)
        if fate is not None and not (fate.outcome == "lost" and _says(hubs) == _says(sent)):
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
        hubs_mark = mark_of(row.id, hubs)
        if hubs.deleted:
            self._table.drop(self._db, self._entity, [row.id])
            self._rows.deletions.note(self._entity, row.id, hubs.rev)
        else:
            now = Held(row.id, hubs.rev, hubs.hlc, hubs.origin, mark=hubs_mark)
            self._table.put(self._db, self._entity, [(now, hubs.body)])
        self._table.drop_bases(self._db, self._entity, [row.id])
        self._sums.change(row.id, row.mark, hubs_mark)
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
                clock = self._rows.hlc.tick_after(verdict.version.hlc)
                now = msgspec.structs.replace(verdict.version, hlc=clock)
            elif verdict.outcome != "edit":
                base = msgspec.structs.replace(sent, rev=UNNUMBERED)
        hubs_mark = mark_of(row.id, hubs)
        self._sums.change(row.id, row.mark, hubs_mark)
        self._table.put_bases(self._db, self._entity, [(row.id, base)])
        row = msgspec.structs.replace(
            row, rev=base.rev, hlc=now.hlc, deleted=now.deleted, mark=hubs_mark, whole=False
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


def _says(version: Version) -> tuple[bool, bytes]:
    return version.deleted, version.body
