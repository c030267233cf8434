"""The entities that this node shares with its hub and, through it, with other nodes: what is declared, and what an edit writes.

Programs read and change rows by `entity_rows`. An edit writes the row, its reference in the outbox and the hub's version
beside it in one transaction (`SharedRows.save`); it is sent by `shared_frames`, what others have edited comes by
`shared_pulled`. Loaded with the first entity that is declared.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import TypeVar

import msgspec

from skerry.core.entity_words import carried
from skerry.core.merging import canonical
from skerry.core.names import entity_fault
from skerry.core.synced_words import SAY_NOTHING, EntityWords
from skerry.kit.bell import Bell
from skerry.kit.clock import Clock
from skerry.kit.errors import InvalidInput, NotFound
from skerry.kit.hlc import HybridClock
from skerry.kit.sealing.cipher import Cipher
from skerry.kit.sqlite import SqliteWriter
from skerry.kit.sqlite_connections import Reader
from skerry.node.store.deletions import Deletions
from skerry.node.store.shared_table import SQL, Held, SharedTable, frozen_through
from skerry.wire.codec import decode, encode
from skerry.wire.shared import DECLARATIONS, OF_DECLARATIONS, Declaration, Priority

T = TypeVar("T")


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
        self.deletions = Deletions()
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
            held = self.table.find(db, DECLARATIONS, [entity])
            if not self._is_same(held.get(entity), body):
                self.save(db, DECLARATIONS, [(entity, body)], held, deleted=False, settles=False)

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

    async def unsent(self, entity: str) -> int:
        """How many of its edits the hub does not have, as far as is known here."""
        return int(self._reader.execute(SQL["count_unsent"], (entity,)).fetchone()[0])

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
        """Edits within the caller's transaction: rows that are `held` as said get these bodies, or are `deleted`.

        Each edit is later than the row that it is made on, however slow this node's clock is.
        """
        made_on = max((held[row_id].hlc for row_id, _ in rows if row_id in held), default=0)
        clock, through = self.hlc.tick_after(made_on), frozen_through(db, entity)
        edit = _Edit(clock, self._node_id, deleted, settles, through)
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
        db.execute(SQL["set_hlc"], (self.hlc.last, entity))
        return edited

    def drop_unseen(self, db: sqlite3.Connection, entity: str, held: Held) -> bool:
        """Takes back a row that nobody else has seen or made; False: somebody may have, so it has to be deleted."""
        if held.rev or held.seen or held.queued <= frozen_through(db, entity):
            return False
        db.execute(SQL["unqueue"], (entity, held.queued, held.queued))
        self.table.drop(db, entity, [held.id])
        return True

    def _is_same(self, held: Held | None, body: bytes) -> bool:
        """Whether a row of declarations says this already."""
        return held is not None and not held.deleted and self.table.body(DECLARATIONS, held) == body
