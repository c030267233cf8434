"""The rows that this node shares with its hub and, through it, with other nodes: read and edited here, with or without a hub.

An edit writes the row, its reference in the outbox and the hub's version beside it in one transaction; it is sent by
`shared_frames`, what others have edited comes by `shared_pulled`. Loaded with the first entity that is declared.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count, islice
from typing import Literal, TypeVar

import msgspec

from skerry.core.entity_words import carried
from skerry.core.merging import canonical
from skerry.core.names import entity_fault, row_id_fault
from skerry.core.synced_words import SAY_NOTHING, EntityWords
from skerry.kit.bell import Bell
from skerry.kit.clock import Clock
from skerry.kit.errors import InvalidInput, NotFound
from skerry.kit.hlc import HybridClock
from skerry.kit.patterns import matches
from skerry.kit.sealing.cipher import Cipher
from skerry.kit.sqlite import Reader, SqliteWriter
from skerry.node.store.shared_table import NOTHING, SQL, Held, SharedTable, frozen_through
from skerry.wire.codec import decode, encode
from skerry.wire.shared import DECLARATIONS, OF_DECLARATIONS, Declaration, Priority

T = TypeVar("T")

Status = Literal["pending", "syncing", "synced", "conflict", "failed"]
"""pending: waits for the hub; syncing: is on its way; conflict: an edit of it waits for a person; failed: the hub refuses it."""

TOGETHER = 5000
"""Rows of `bulk` in one transaction."""

MAX_ROW = 4 * 1024 * 1024
"""Bytes of a body: a frame of it is one request."""


class LocalRow(msgspec.Struct, frozen=True):
    """A row as it is here. `rev` is the hub's revision that it is, or that its unsent edit was made on; 0: none."""

    id: str
    body: bytes
    status: Status
    rev: int
    hlc: int
    origin: str


class _Edit(msgspec.Struct, frozen=True):
    """What rows become that are edited together: one clock for all. Places up to `through` are on their way."""

    hlc: int
    origin: str
    deleted: bool
    settles: bool
    through: int

    def made_on(self, row_id: str, held: Held | None, place: int) -> Held:
        """The edited row; `place` is a new one in the outbox, 0 where it has one."""
        if held is None:
            return Held(row_id, 0, self.hlc, self.origin, queued=place, settles=self.settles)
        waits = held.queued > self.through
        return msgspec.structs.replace(
            held,
            hlc=self.hlc,
            origin=self.origin,
            deleted=self.deleted,
            queued=place or held.queued,
            settles=self.settles or (waits and held.settles),
        )


class SharedRows:
    """All shared rows of one node; `node_id` signs its edits. `changed` rings when there is something to send.

    `words` is what the settings say of entities, by name.
    """

    def __init__(
        self,
        writer: SqliteWriter,
        reader: Reader,
        clock: Clock,
        node_id: str,
        cipher: Cipher,
        words: Mapping[str, EntityWords] = {},
    ) -> None:
        self._words = words
        self._writer = writer
        self._reader = reader
        self._node_id = node_id
        self.table = SharedTable(cipher)
        self.changed = Bell()
        self.arrived = Bell()
        """Rings when others' edits have come."""
        self._declared: dict[str, Declaration] = {}
        self._said: dict[str, Declaration] = {}
        self._when_declared: Callable[[], None] = lambda: None
        seen = [
            row["hlc"]
            for which in ("entities", "local_entities")
            for row in reader.execute(SQL[which])
        ]
        self.hlc = HybridClock(clock, max(seen, default=0))
        self.read_declarations()

    def when_declared(self, tell: Callable[[], None]) -> None:
        """`tell` is called after each declaration: there is more to pull."""
        self._when_declared = tell

    @property
    def reader(self) -> Reader:
        """For short reads."""
        return self._reader

    @property
    def writer(self) -> SqliteWriter:
        """The database's."""
        return self._writer

    @property
    def node_id(self) -> str:
        """Who signs the edits that are made here."""
        return self._node_id

    @property
    def declared(self) -> Mapping[str, Declaration]:
        """The entities that this node shares, declarations themselves among them, urgent ones first.

        Priority and size of batches are this node's, where its settings say them.
        """
        return self._declared

    @property
    def said(self) -> Mapping[str, Declaration]:
        """The same as the fleet has declared them."""
        return self._said

    def may_wait(self, entity: str) -> bool:
        """Whether the entity is of a class that keeps to a schedule."""
        declared = self._declared.get(entity)
        return declared is None or declared.priority != "high"

    def words(self, entity: str) -> EntityWords:
        """What this node's settings say of the entity."""
        return self._words.get(entity, SAY_NOTHING)

    def declaration(self, entity: str) -> Declaration:
        """How the entity is synced. Raises NotFound."""
        try:
            return self._declared[entity]
        except KeyError:
            raise NotFound(
                f"cannot use entity «{entity}»: this node does not share it. Declare it first."
            ) from None

    def read_declarations(self) -> None:
        """Takes up declarations that may have come from elsewhere. One that is gone leaves the entity as if undeclared."""
        found = {}
        for entity, *_ in self._reader.execute(SQL["entities"]).fetchall():
            row = self.table.row(self._reader, DECLARATIONS, entity)
            if entity == DECLARATIONS:
                found[entity] = OF_DECLARATIONS
            elif row is None or row.deleted:
                found[entity] = Declaration()
            else:
                body = self.table.body(DECLARATIONS, row)
                found[entity] = decode(body, Declaration, f"declaration of «{entity}»")
        urgency: dict[Priority, int] = {"high": 0, "medium": 1, "low": 2}
        self._said = found
        ours = {entity: carried(self.words(entity), how) for entity, how in found.items()}
        self._declared = dict(sorted(ours.items(), key=lambda each: urgency[each[1].priority]))

    async def declare(self, entity: str, declaration: Declaration) -> None:
        """From now on this node shares the entity, and says so to all others. Raises InvalidInput for its name."""
        fault = entity_fault(entity)
        if fault or entity == DECLARATIONS:
            raise InvalidInput(
                f"cannot declare entity «{entity}»: {fault or 'it is the one of declarations'}"
            )
        body = canonical(encode(declaration))

        def work(db: sqlite3.Connection) -> None:
            for each in (DECLARATIONS, entity):
                db.execute(SQL["share"], (each,))
            self._edit(db, DECLARATIONS, [(entity, body)])

        await self._writer.run(work, label="shared.declare")
        self.read_declarations()
        self.changed.ring()
        self._when_declared()

    async def search(self, work: Callable[[Reader], T]) -> T:
        """What `work` finds, in a thread and on its own connection: all that is read on one sees the moment of an open statement."""

        def search() -> T:
            with contextlib.closing(self._writer.reader()) as db:
                db.told = self._reader.told
                return work(db)

        return await asyncio.to_thread(search)

    async def get(self, entity: str, row_id: str) -> LocalRow | None:
        """The row, or None where there is none or it is deleted."""
        self.declaration(entity)
        held = self.table.row(self._reader, entity, row_id)
        if held is None or held.deleted:
            return None
        return self._local(entity, held, Standing(self._reader, entity))

    async def list(
        self, entity: str, glob: str = "*", *, limit: int = 100, after: str = ""
    ) -> Sequence[LocalRow]:
        """Up to `limit` rows whose ids fit `glob` («*» for any run), in the order of their ids, those after `after`."""
        self.declaration(entity)
        return await self.search(lambda db: self._list(db, entity, glob, limit, after))

    async def count(self, entity: str) -> int:
        """How many rows there are. Takes time with their number."""
        self.declaration(entity)
        found = await self.search(lambda db: db.execute(SQL["count"], (entity,)).fetchone())
        return int(found[0])

    async def unsent(self, entity: str) -> int:
        """How many of its edits the hub does not have, as far as is known here."""
        return int(self._reader.execute(SQL["count_unsent"], (entity,)).fetchone()[0])

    async def put(
        self, entity: str, row_id: str, body: bytes, *, settles: bool = False, durable: bool = True
    ) -> None:
        """The row has this body from now on. An unchanged one is no edit, unless it `settles` a conflict.

        Raises InvalidInput unless `body` is a JSON object, and for ids with control characters.
        """
        self.declaration(entity)
        rows = [(checked(row_id), checked_body(body))]
        await self._change(
            entity, lambda db: self._edit(db, entity, rows, settles=settles), durable=durable
        )

    async def upsert(
        self,
        entity: str,
        row_id: str,
        change: Callable[[bytes | None], bytes],
        *,
        durable: bool = True,
    ) -> None:
        """Makes the row what `change` makes of its body (None: there is none), without another edit in between."""
        self.declaration(entity)
        checked(row_id)

        def work(db: sqlite3.Connection) -> bool:
            held = self.table.row(db, entity, row_id)
            now = None if held is None or held.deleted else self.table.body(entity, held)
            return bool(self._edit(db, entity, [(row_id, checked_body(change(now)))]))

        await self._change(entity, work, durable=durable)

    async def bulk(
        self, entity: str, rows: Iterable[tuple[str, bytes]], *, durable: bool = True
    ) -> int:
        """As `put` for many rows, TOGETHER in a transaction; returns how many were edits. A wrong one ends it: those before stay."""
        self.declaration(entity)
        waiting, edited = iter(rows), 0
        while some := list(islice(waiting, TOGETHER)):

            def work(db: sqlite3.Connection, some: Sequence[tuple[str, bytes]] = some) -> int:
                bodies = {checked(row_id): checked_body(body) for row_id, body in some}
                return self._edit(db, entity, bodies.items())

            edited += await self._writer.run(work, label="shared.put", durable=durable)
            self.changed.ring()
        return edited

    async def delete(
        self, entity: str, row_id: str, *, settles: bool = False, durable: bool = True
    ) -> bool:
        """Deletes the row here, and at the hub when its strategy lets it; whether there was one."""
        self.declaration(entity)

        def work(db: sqlite3.Connection) -> bool:
            held = self.table.row(db, entity, row_id)
            if held is None or held.deleted:
                return False
            if self.drop_unseen(db, entity, held):
                return True
            self.save(
                db, entity, [(row_id, NOTHING)], {row_id: held}, deleted=True, settles=settles
            )
            return True

        return await self._change(entity, work, durable=durable)

    async def _change(
        self, entity: str, work: Callable[[sqlite3.Connection], int], *, durable: bool
    ) -> bool:
        edited = await self._writer.run(work, label="shared.put", durable=durable)
        if edited:
            self.changed.ring()
            if entity == DECLARATIONS:
                self.read_declarations()
        return bool(edited)

    def _edit(
        self,
        db: sqlite3.Connection,
        entity: str,
        rows: Iterable[tuple[str, bytes]],
        *,
        settles: bool = False,
    ) -> int:
        """Edits of now; returns how many they are."""
        wanted = list(rows)
        held = self.table.find(db, entity, (row_id for row_id, _ in wanted))
        changed = [
            (row_id, body)
            for row_id, body in wanted
            if settles or not self._is_same(entity, held.get(row_id), body)
        ]
        if changed:
            self.save(db, entity, changed, held, deleted=False, settles=settles)
        return len(changed)

    def _is_same(self, entity: str, held: Held | None, body: bytes) -> bool:
        return held is not None and not held.deleted and self.table.body(entity, held) == body

    def save(
        self,
        db: sqlite3.Connection,
        entity: str,
        rows: Sequence[tuple[str, bytes]],
        held: Mapping[str, Held],
        *,
        deleted: bool,
        settles: bool,
    ) -> Sequence[Held]:
        """Edits within the caller's transaction: rows that are `held` as said get these bodies, or are `deleted`."""
        edit = _Edit(self.hlc.tick(), self._node_id, deleted, settles, frozen_through(db, entity))
        clean = [
            one for row_id, _ in rows if (one := held.get(row_id)) is not None and not one.queued
        ]
        self.table.put_bases(
            db, entity, ((one.id, self.table.version(entity, one)) for one in clean)
        )
        queued = [row_id for row_id, _ in rows if row_id not in held or not held[row_id].queued]
        places = dict(zip(queued, count(self.table.queue(db, entity, queued)), strict=False))
        edited = [
            edit.made_on(row_id, held.get(row_id), places.get(row_id, 0)) for row_id, _ in rows
        ]
        bodies = (body for _, body in rows)
        self.table.put(db, entity, zip(edited, bodies, strict=True))
        db.execute(SQL["set_hlc"], (edit.hlc, entity))
        return edited

    def drop_unseen(self, db: sqlite3.Connection, entity: str, held: Held) -> bool:
        """Takes back a row that nobody else has seen; False: somebody may have, so it has to be deleted."""
        if held.rev or held.queued <= frozen_through(db, entity):
            return False
        db.execute(SQL["unqueue"], (entity, held.queued, held.queued))
        self.table.drop(db, entity, [held.id])
        return True

    def _list(
        self, db: Reader, entity: str, glob: str, limit: int, after: str
    ) -> Sequence[LocalRow]:
        standing = Standing(db, entity)
        fitting = (each for each in self._live(db, entity, glob, after) if matches(glob, each.id))
        return [self._local(entity, each, standing) for each in islice(fitting, max(limit, 0))]

    def _live(self, db: Reader, entity: str, glob: str, after: str) -> Iterator[Held]:
        start, star, _ = glob.partition("*")
        for row in db.execute(SQL["live"], (entity, after, start)):
            if not row["id"].startswith(start) or (not star and row["id"] != start):
                return
            yield Held.of(row)

    def _local(self, entity: str, held: Held, standing: Standing) -> LocalRow:
        body = self.table.body(entity, held)
        return LocalRow(held.id, body, standing.of(held), held.rev, held.hlc, held.origin)


class Standing:
    """What the sync knows of an entity's rows at one moment."""

    def __init__(self, db: sqlite3.Connection, entity: str) -> None:
        self._frames = [tuple(row) for row in db.execute(SQL["frames_of"], (entity,))]
        self._through = max((last for _, last, _ in self._frames), default=0)
        self._conflicts = {row["id"] for row in db.execute(SQL["conflicting"], (entity,))}

    def of(self, held: Held) -> Status:
        """That of a row."""
        if held.queued > self._through:
            return "pending"
        if held.queued:
            failed = any(bad and first <= held.queued <= last for first, last, bad in self._frames)
            return "failed" if failed else "syncing"
        return "conflict" if held.id in self._conflicts else "synced"


def checked(row_id: str) -> str:
    """The id of a row. Raises InvalidInput."""
    if fault := row_id_fault(row_id):
        raise InvalidInput(f"cannot keep a row: {fault}")
    return row_id


def checked_body(body: bytes) -> bytes:
    """A row's body as it is kept. Raises InvalidInput."""
    if len(body) > MAX_ROW:
        raise InvalidInput(f"cannot keep a row of {len(body)} bytes: at most {MAX_ROW} are")
    return canonical(body)
