"""Shared rows as they lie in the node's database: rows, the hub's versions beside edited ones, places in the outbox, sums.

Everything here happens in the caller's transaction. `shared_rows` edits, `shared_frames` sends, `shared_pulled` takes over.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from skerry.core.merging import Version, mark
from skerry.core.row_digests import bucket_of, buckets_of, replaced
from skerry.kit.sealing.cipher import Cipher
from skerry.kit.sqlite import read_queries
from skerry.node.store.bodies import SHARED, SHARED_BASE
from skerry.wire.codec import encode
from skerry.wire.shared import BUCKETS, SharedRow

SQL = read_queries(Path(__file__).with_name("shared_rows.sql"))

NOTHING = b"{}"
"""The body of a deleted row."""

_HALF, _WHOLE = 2**63, 2**64


class Held(msgspec.Struct, frozen=True):
    """A row as it is kept; `body` is sealed, `mark` unsigned. What the numbers say stands in migration 0010."""

    id: str
    rev: int
    hlc: int
    origin: str
    deleted: bool = False
    queued: int = 0
    settles: bool = False
    whole: bool = False
    seen: int = 0
    mark: int = 0
    body: bytes = NOTHING

    @classmethod
    def of(cls, row: sqlite3.Row) -> Held:
        """From a query of rows."""
        *_, hidden = found = tuple(row)[-11:]
        name, rev, hlc, origin, deleted, queued, settles, whole, seen, signed = found[:10]
        return cls(
            name, rev, hlc, origin, bool(deleted), queued, bool(settles), bool(whole), seen,
            signed % _WHOLE, hidden,
        )  # fmt: skip


Head = tuple[int, int, int]
"""Of a row: `rev`, `queued` and `mark`."""


def plain_tuples(db: sqlite3.Connection) -> sqlite3.Cursor:
    """A cursor for many rows: its tuples are unpacked faster than `sqlite3.Row`."""
    cursor = db.cursor()
    cursor.row_factory = None
    return cursor


class SharedTable:
    """The rows of all entities. `cipher` is that of the database."""

    def __init__(self, cipher: Cipher) -> None:
        self._cipher = cipher

    @property
    def seals(self) -> bool:
        """Whether bodies are encrypted."""
        return self._cipher.seals

    def row(self, db: sqlite3.Connection, entity: str, row_id: str) -> Held | None:
        """The row, a deleted one too."""
        found = db.execute(SQL["row"], (entity, row_id)).fetchone()
        return None if found is None else Held.of(found)

    def find(self, db: sqlite3.Connection, entity: str, ids: Iterable[str]) -> dict[str, Held]:
        """Those of the rows that there are."""
        wanted = encode(list(ids)).decode()
        found = db.execute(SQL["found"], (wanted, entity))
        return {row["id"]: Held.of(row) for row in found}

    def heads(self, db: sqlite3.Connection, entity: str, ids: Iterable[str]) -> dict[str, Head]:
        """What there is of the rows, without their bodies."""
        wanted = encode(list(ids)).decode()
        found = plain_tuples(db).execute(SQL["heads"], (wanted, entity))
        return {row_id: (rev, queued, mark % _WHOLE) for row_id, rev, queued, mark in found}

    def put(self, db: sqlite3.Connection, entity: str, rows: Iterable[tuple[Held, bytes]]) -> None:
        """Writes rows with their plain bodies."""
        found = list(rows)
        sealed = self._cipher.seal_rows(
            [(row.id, body) for row, body in found], SHARED.place(entity)
        )
        db.executemany(
            SQL["put_row"],
            [
                (
                    entity, row.id, row.rev, row.hlc, row.origin, row.deleted, row.queued, row.settles, row.whole,
                    row.seen, signed(row.mark), body,
                )
                for (row, _), body in zip(found, sealed, strict=True)
            ],
        )  # fmt: skip

    def take(
        self,
        db: sqlite3.Connection,
        entity: str,
        rows: Sequence[SharedRow],
        bodies: Sequence[bytes],
        marks: Sequence[int],
    ) -> None:
        """Writes versions of the hub's with their plain bodies and marks."""
        ids = [row.id for row in rows]
        sealed = self._cipher.seal_rows(list(zip(ids, bodies, strict=True)), SHARED.place(entity))
        db.executemany(
            SQL["take_row"],
            (
                (entity, row.id, row.rev, row.hlc, row.origin, signed(mark), body)
                for row, mark, body in zip(rows, marks, sealed, strict=True)
            ),
        )

    def drop(self, db: sqlite3.Connection, entity: str, ids: Iterable[str]) -> None:
        """Removes rows."""
        db.executemany(SQL["drop_row"], [(entity, row_id) for row_id in ids])

    def body(self, entity: str, row: Held) -> bytes:
        """Its plain body."""
        return self._cipher.open(row.body, SHARED.place(entity, row.id))

    def bodies(self, entity: str, rows: Iterable[tuple[str, bytes]]) -> list[bytes]:
        """The plain bodies of rows, from their ids and what is stored."""
        return self._cipher.open_rows(rows, SHARED.place(entity))

    def version(self, entity: str, row: Held) -> Version:
        """The row as `core.merging` sees it."""
        return Version(row.rev, row.hlc, row.origin, row.deleted, self.body(entity, row))

    def base(self, db: sqlite3.Connection, entity: str, row_id: str) -> Version | None:
        """The hub's version of an edited row; None: the hub had none, or it is not known here."""
        found = db.execute(SQL["base"], (entity, row_id)).fetchone()
        if found is None:
            return None
        rev, hlc, origin, deleted, sealed = found
        body = self._cipher.open(sealed, SHARED_BASE.place(entity, row_id))
        return Version(rev, hlc, origin, bool(deleted), body)

    def put_bases(
        self, db: sqlite3.Connection, entity: str, bases: Iterable[tuple[str, Version]]
    ) -> None:
        """Keeps the hub's versions of rows that are edited from now on."""
        seal = self._cipher.seal
        db.executemany(
            SQL["put_base"],
            [
                (
                    entity, row_id, base.rev, base.hlc, base.origin, base.deleted,
                    seal(base.body, SHARED_BASE.place(entity, row_id)),
                )
                for row_id, base in bases
            ],
        )  # fmt: skip

    def drop_bases(self, db: sqlite3.Connection, entity: str, ids: Iterable[str]) -> None:
        """Their rows are what the hub has."""
        db.executemany(SQL["drop_base"], [(entity, row_id) for row_id in ids])

    def queue(self, db: sqlite3.Connection, entity: str, ids: Sequence[str]) -> int:
        """Puts references at the end of the outbox; returns the place of the first one."""
        first = int(db.execute(SQL["newest_place"], (entity,)).fetchone()[0]) + 1
        places = [(entity, place, row_id) for place, row_id in enumerate(ids, first)]
        db.executemany(SQL["queue"], places)
        return first


class Sums:
    """What a transaction adds to the sums of an entity; `save` writes it."""

    def __init__(self) -> None:
        self._changes: dict[int, int] = {}

    def change(self, row_id: str, old: int, new: int) -> None:
        """A row's mark was `old` and is `new`; 0: the hub has no such row."""
        if old != new:
            bucket = bucket_of(row_id)
            self._changes[bucket] = self._changes.get(bucket, 0) + new - old

    def come(self, marks: Mapping[str, int]) -> None:
        """The hub had none of these rows, and has them with these marks."""
        changes = self._changes
        for bucket, now in zip(buckets_of(marks), marks.values(), strict=True):
            changes[bucket] = changes.get(bucket, 0) + now

    def save(self, db: sqlite3.Connection, entity: str) -> None:
        """Within the transaction of the rows themselves."""
        if not self._changes:
            return
        held = read_sums(db, entity)
        db.executemany(
            SQL["set_sum"],
            [
                (entity, bucket, signed(replaced(held[bucket], 0, more)))
                for bucket, more in self._changes.items()
            ],
        )


def read_sums(db: sqlite3.Connection, entity: str) -> list[int]:
    """The sums of an entity, by bucket."""
    sums = [0] * BUCKETS
    for bucket, value in db.execute(SQL["sums"], (entity,)):
        sums[bucket] = value % _WHOLE
    return sums


def frozen_through(db: sqlite3.Connection, entity: str) -> int:
    """The last place in the outbox that is on its way."""
    return int(db.execute(SQL["frozen_through"], (entity,)).fetchone()[0])


def mark_of(row_id: str, version: Version) -> int:
    """The mark of the hub's version of a row."""
    return 0 if version.deleted else mark(row_id, version.rev, version.body)


def signed(number: int) -> int:
    """64 bits as SQLite keeps them."""
    return number - _WHOLE if number >= _HALF else number
