"""Rows of models on the node: what workloads read and change, of entities that are shared and of those that stay here.

Both lie in the table of shared rows; `shared_rows` puts edits of the former into the outbox, the latter are in none.
Loaded with the first request of a workload.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence

import msgspec

from skerry.core.cyberwave.ownership import SHARED_NAMES, guarded
from skerry.core.entity_changes import (
    check_changes,
    check_entity,
    is_same,
    kept_body,
    together,
)
from skerry.core.entity_search import Wanted, fits, longest_sign, read_filters
from skerry.core.entity_words import decided, left_alone, names_in
from skerry.core.merging.bodies import Body, decoded, encoded
from skerry.kit.errors import NotFound, Refused
from skerry.kit.one_line import one_line
from skerry.kit.sqlite_connections import Reader
from skerry.node.store.entity_writes import Changing
from skerry.node.store.row_standing import Standing
from skerry.node.store.shared_answers import UNNUMBERED
from skerry.node.store.shared_frames import SharedFrames
from skerry.node.store.shared_rows import SharedRows
from skerry.node.store.shared_table import SQL, Held
from skerry.wire.codec import decode, encode
from skerry.wire.entities import (
    MAX_ANSWER,
    MAX_FOUND,
    Changes,
    ChangesMade,
    Count,
    Declare,
    Declared,
    EntityRow,
    Find,
    Found,
    WaitingEdit,
    WaitingEdits,
    Written,
)
from skerry.wire.shared import Declaration

_PAGE, _PAGE_BYTES = 500, 1024 * 1024
"""Rows that are looked at in one statement, and about how many bytes of them are kept in memory."""

_COUNTED = 5000
"""Rows that are counted in one statement: nobody else reads meanwhile."""

_NULL = msgspec.Raw(b"null")


class EntityRows:
    """The rows of all entities of one node."""

    def __init__(self, rows: SharedRows, frames: SharedFrames) -> None:
        self._rows = rows
        self._frames = frames
        self._table = rows.table

    def declared(self, entity: str) -> Declared:
        """How an entity is kept. Raises NotFound."""
        found = self._find_declared(entity)
        if found is None:
            raise NotFound(
                f"cannot use entity «{entity}»: this node does not have it. Declare it first."
            )
        return found

    def is_the_nodes_own(self, entity: str) -> bool:
        """Whether no workload may use it: what twins and their assets say decides what runs here, and with which rights."""
        if guarded(entity) is None:
            return False
        twins = (name for name in self._rows.declared if name.startswith("twins_"))
        return entity not in SHARED_NAMES or any(guarded(name) for name in twins)

    async def declare(self, entity: str, asked: Declare) -> Declared:
        """Keeps the entity as asked from now on. Raises InvalidInput when it is declared otherwise.

        What the node's settings say of conflicts takes the place of what is asked.
        """
        check_entity(entity)
        held = self._find_declared(entity)
        declaration = self._wanted(entity, held, asked)
        if held is not None and held.declaration == declaration:
            return held
        if asked.local:
            words = (entity, encode(declaration).decode())
            await self._rows.writer.run(
                lambda db: db.execute(SQL["keep_local"], words).rowcount, label="entity.declare"
            )
        else:
            await self._rows.declare(entity, declaration)
        return self.declared(entity)

    async def change(
        self,
        entity: str,
        asked: Changes,
        beside: Callable[[sqlite3.Connection], None] | None = None,
    ) -> ChangesMade:
        """Makes all changes in one transaction, at its end what is written `beside` them, or none. Raises InvalidInput, NotFound, Refused."""
        kept = self.declared(entity)
        check_changes(entity, asked)
        self._check_settled(entity, kept, asked)

        def work(db: sqlite3.Connection) -> list[Written]:
            written = Changing(self._rows, db, entity, kept).make(asked)
            if not kept.local:
                self._frames.edited(db, entity)
            if beside is not None:
                beside(db)
            return written

        made = await self._rows.writer.run(work, label="entity.change")
        if not kept.local:
            self._rows.changed.ring()
        return ChangesMade(made)

    async def revise(
        self, entity: str, row_id: str, make: Callable[[Body, int], Body]
    ) -> tuple[Body, int]:
        """A shared row becomes all that `make` says of what it is at this moment and of its revision; returns both as they are then.

        What `make` raises leaves the row alone. Raises NotFound, InvalidInput, TooLarge.
        """

        def work(db: sqlite3.Connection) -> tuple[Body, int]:
            held = self._table.find(db, entity, [row_id])
            row = held.get(row_id)
            if row is None or row.deleted:
                raise NotFound(
                    f"cannot change row «{one_line(row_id)}» of «{entity}»: there is none"
                )
            before = self._table.body(entity, row)
            body = kept_body(entity, row_id, encoded(make(decoded(before), row.hlc)))
            if is_same(body, before):
                return decoded(before), row.hlc
            [after] = self._rows.save(
                db, entity, [(row_id, body)], held, deleted=False, settles=False
            )
            self._frames.edited(db, entity)
            return decoded(body), after.hlc

        found = await self._rows.writer.run(work, label="entity.revise")
        self._rows.changed.ring()
        return found

    async def find(self, entity: str, asked: Find) -> Found:
        """Rows that fit."""
        kept = self.declared(entity)
        filters = read_filters(asked)
        return await self._rows.search(lambda db: self._find(db, entity, kept, asked, filters))

    async def count(self, entity: str, asked: Find) -> Count:
        """How many fit, whatever `limit` says. Takes time with the number of rows."""
        self.declared(entity)
        filters = read_filters(asked)
        if filters or asked.ids is not None:
            return Count(
                await self._rows.search(
                    lambda db: sum(1 for _ in self._fitting(db, entity, asked, filters))
                )
            )
        return Count(await self._rows.search(lambda db: self._count(db, entity, asked)))

    async def waiting(self, entity: str) -> WaitingEdits:
        """The edits of this node that wait for a decision."""
        if self.declared(entity).local:
            return WaitingEdits([])
        found = await self._frames.conflicts(entity)
        return WaitingEdits(
            [
                WaitingEdit(
                    each.id,
                    self._rows.node_id,
                    _NULL if each.base is None else msgspec.Raw(each.base),
                    _NULL if each.deleted else msgspec.Raw(each.ours),
                )
                for each in found
            ]
        )

    def _check_settled(self, entity: str, kept: Declared, asked: Changes) -> None:
        wanted = [each.id for each in asked.changes if each.kind == "settle"]
        if wanted and kept.local:
            raise Refused(f"cannot settle rows of «{entity}»: they are this node's only")
        if not wanted or asked.again:
            return
        waiting = {row["id"] for row in self._rows.reader.execute(SQL["conflicting"], (entity,))}
        if unknown := [each for each in wanted if each not in waiting]:
            raise NotFound(
                f"cannot settle row «{unknown[0]}» of «{entity}»: no edit of this node waits for it"
            )

    def _wanted(self, entity: str, held: Declared | None, asked: Declare) -> Declaration:
        words = msgspec.structs.replace(self._rows.words(entity), priority=None, batch_size=None)
        say = decided(words, asked.declaration)
        if held is None:
            return say
        if not asked.replace:
            say = left_alone(names_in(words), held.declaration, asked.declaration)
        return together(entity, held, msgspec.structs.replace(asked, declaration=say))

    def _find_declared(self, entity: str) -> Declared | None:
        for row in self._rows.reader.execute(SQL["local_entities"]):
            if row["entity"] == entity:
                told = row["local"].encode()
                return Declared(decode(told, Declaration, f"declaration of «{entity}»"), local=True)
        shared = self._rows.said.get(entity)
        return None if shared is None else Declared(shared, local=False)

    def _find(
        self,
        db: Reader,
        entity: str,
        kept: Declared,
        asked: Find,
        filters: Sequence[Wanted],
    ) -> Found:
        standing = Standing(db, entity)
        most = min(max(asked.limit, 1), MAX_FOUND)
        rows: list[EntityRow] = []
        size = 0
        for held, body in self._fitting(db, entity, asked, filters):
            if len(rows) == most or (rows and size + len(body) > MAX_ANSWER):
                return Found(rows, rows[-1].id)
            status = "local_only" if kept.local else standing.of(held)
            rev = UNNUMBERED if held.queued else held.rev
            rows.append(EntityRow(held.id, held.hlc, rev, status, held.origin, msgspec.Raw(body)))
            size += len(body)
        return Found(rows)

    def _fitting(
        self, db: Reader, entity: str, asked: Find, filters: Sequence[Wanted]
    ) -> Iterator[tuple[Held, bytes]]:
        sign = b"" if self._table.seals else longest_sign(filters)
        for held in self._candidates(db, entity, asked, sign):
            body = self._table.body(entity, held)
            if fits(filters, body):
                yield held, body

    def _candidates(self, db: Reader, entity: str, asked: Find, sign: bytes) -> Iterator[Held]:
        if asked.ids is not None:
            found = self._table.find(db, entity, asked.ids)
            yield from (
                found[each]
                for each in sorted(found)
                if not found[each].deleted and each > asked.after
            )
            return
        after: str | None = asked.after
        while after is not None:  # page by page: an open statement keeps the log from being emptied
            page, after = self._page(db, entity, after, asked.prefix, sign)
            yield from page

    def _page(
        self, db: Reader, entity: str, after: str, prefix: str, sign: bytes
    ) -> tuple[list[Held], str | None]:
        """Rows whose stored bodies have `sign`, and the id after which the next page begins; None: there is none."""
        words = (sign, entity, after, prefix, _PAGE)
        found: list[Held] = []
        seen = size = 0
        with contextlib.closing(db.execute(SQL["live_page"], words)) as rows:
            for row in rows:
                after = row["id"]
                if not after.startswith(prefix):
                    return found, None
                seen += 1
                if row["body"] is not None:
                    found.append(Held.of(row))
                    size += len(row["body"])
                if size > _PAGE_BYTES:
                    return found, after
        return found, after if seen == _PAGE else None

    def _count(self, db: Reader, entity: str, asked: Find) -> int:
        counted, after = 0, asked.after
        rows: int
        while True:
            words = (entity, after, asked.prefix, _COUNTED, asked.prefix, asked.prefix)
            rows, last = db.execute(SQL["count_page"], words).fetchone()
            counted += rows
            if rows < _COUNTED:
                return counted
            after = last
