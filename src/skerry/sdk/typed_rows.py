"""The rows of one model, as a program works with them: typed, on a node or at the hub. See docs/reference/entities.md."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

import msgspec

from skerry.kit.errors import NotFound
from skerry.sdk.entity_doors import Door
from skerry.sdk.row_codec import Kind, Model, RowCodec, reading_of
from skerry.wire.entities import (
    MAX_CHANGES,
    MAX_FOUND,
    Change,
    Changes,
    ChangesMade,
    Count,
    Declare,
    Find,
    Found,
    RowStatus,
    WaitingEdits,
    Written,
)

T = TypeVar("T")
A = TypeVar("A")

_PIECE = 4 * 1024 * 1024
"""Bytes of bodies in one request."""


@dataclasses.dataclass(frozen=True)
class Info:
    """What is known of a row besides its fields.

    `revision` changes with the row; compare it for equality only, and only where it was read. `by` made this version: a
    node, or «hub». `status` is «local_only» where the model is not shared; else «pending» (the hub does not have the edit yet), «syncing»
    (it is on its way), «synced», «conflict» (an edit waits for a decision) or «failed» (the hub refuses it; it is tried on).
    """

    id: str
    revision: int
    status: RowStatus
    by: str


@dataclasses.dataclass(frozen=True)
class Conflict(Generic[T]):
    """An edit that waits for a decision; `node` made it. `row` serves meanwhile. None: deleted, or not known.

    `base` is what the edit was made on.
    """

    id: str
    node: str
    row: T | None
    ours: T | None
    base: T | None


class Repository(Generic[T]):
    """Every call may raise Transient (no answer in time), InvalidInput (wrong words, or a contradiction to what is declared).

    The model is declared with the first call. May be used from any thread.
    """

    def __init__(self, model: Model[T], door: Door) -> None:
        self._model = model
        self._door = door
        self._codec = RowCodec(model)
        self._is_declared = False

    def declare(self, *, replace: bool = False) -> None:
        """Says how the rows are kept; the first call of anything does. `replace`: even where they are declared otherwise."""
        asked = Declare(self._model.declaration, self._model.local, replace)
        self._door.ask("PUT", self._model.entity, "", lambda _again: msgspec.json.encode(asked))
        self._is_declared = True

    def create(self, row: T) -> T:
        """A new row; returns it with its id, a UUIDv7 where it had none. Raises Refused when there is one with this id."""
        return self.create_many([row])[0]

    def read(self, row_id: str) -> T:
        """Raises NotFound; InvalidInput when its fields do not fit the class."""
        found = self.find(row_id)
        if found is None:
            raise NotFound(f"cannot read row «{row_id}» of «{self._model.entity}»: there is none")
        return found

    def find(self, row_id: str) -> T | None:
        """As `read`, but None where there is none."""
        rows = self._find(Find(ids=[row_id])).rows
        return self._codec.row(rows[0]) if rows else None

    def update(self, row: T, *, read: T | None = None, expected: int | None = None) -> T:
        """Replaces the fields of the row with this id; returns the row as it is now.

        When it has changed since `row` was read (or `read`, for a changed copy), the model's strategy decides. With
        `expected` (`revision`), any change since raises Refused instead. Raises NotFound.
        """
        change = self._codec.change("update", row, read, expected)
        return self._made([(row, change)])[0]

    def upsert(self, row: T) -> T:
        """Creates or updates; returns the row as it is now."""
        return self.upsert_many([row])[0]

    def delete(self, row_id: str, *, expected: int | None = None) -> bool:
        """Whether there was one. Raises Refused when it is not as `expected`."""
        [made] = self._change([Change("delete", row_id, expected=expected)])
        return made.there

    def create_many(self, rows: Iterable[T]) -> Sequence[T]:
        """As `create`. Pieces of up to 5,000 rows and 4 MiB are made one after the other, each whole or not at all."""
        return self._made_all("create", [self._codec.with_id("create", row) for row in rows])

    def update_many(self, rows: Iterable[T]) -> Sequence[T]:
        """As `update`, in pieces like `create_many`."""
        return self._made_all("update", list(rows))

    def upsert_many(self, rows: Iterable[T]) -> Sequence[T]:
        """As `upsert`, in pieces like `create_many`."""
        return self._made_all("put", [self._codec.with_id("put", row) for row in rows])

    def delete_many(self, ids: Iterable[str]) -> int:
        """How many there were."""
        return sum(made.there for made in self._change([Change("delete", each) for each in ids]))

    def list(
        self,
        *,
        where: Mapping[str, object] | None = None,
        prefix: str = "",
        limit: int = 100,
        after: str = "",
    ) -> Sequence[T]:
        """Rows in the order of their ids, after the id `after`: those whose ids begin with `prefix` and whose fields are as in `where`.

        Fields are named by dotted paths («address.city»).
        """
        rows: list[T] = []
        for row in self.each(where=where, prefix=prefix, after=after, page=limit):
            if len(rows) >= limit:
                break
            rows.append(row)
        return rows

    def each(
        self,
        *,
        where: Mapping[str, object] | None = None,
        prefix: str = "",
        after: str = "",
        page: int = MAX_FOUND,
    ) -> Iterator[T]:
        """All rows that fit, as in `list`, read page by page."""
        filters = self._codec.filters(where or {})
        while True:
            limit = min(max(page, 1), MAX_FOUND)
            found = self._find(Find(None, prefix, filters, after, limit))
            for row in found.rows:
                yield self._codec.row(row)
            after = found.next
            if not after:
                return

    def count(self, *, where: Mapping[str, object] | None = None, prefix: str = "") -> int:
        """How many rows fit. Takes time with their number."""
        asked = Find(None, prefix, self._codec.filters(where or {}))
        return self._ask("POST", "/count", Count, asked).rows

    def info(self, row_id: str) -> Info:
        """What is known of a row. Raises NotFound."""
        rows = self._find(Find(ids=[row_id])).rows
        if not rows:
            raise NotFound(f"cannot show row «{row_id}» of «{self._model.entity}»: there is none")
        return Info(row_id, rows[0].revision, rows[0].status, rows[0].by or "hub")

    def revision(self, row: T) -> int | None:
        """The revision that a row had when it was read or written; None for one that was not. For `expected`."""
        reading = reading_of(row)
        return None if reading is None else reading.revision

    def conflicts(self) -> Sequence[Conflict[T]]:
        """The edits that wait for a decision: on a node its own, at the hub those of all nodes."""
        waiting = self._ask("GET", "/conflicts", WaitingEdits, None).edits
        serving = self._by_id({each.id for each in waiting})
        codec = self._codec
        return [
            Conflict(
                each.id, each.node, serving.get(each.id), codec.body(each.id, each.ours), codec.body(each.id, each.base)
            )
            for each in waiting
        ]  # fmt: skip

    def settle(self, row: T) -> T:
        """Decides what waits for the row with this id: it is this one from now on, for all. Raises Refused, NotFound."""
        change = msgspec.structs.replace(
            self._codec.change("update", row, row, None), kind="settle", read=None
        )
        return self._made([(row, change)])[0]  # fmt: skip

    def _by_id(self, ids: Iterable[str]) -> dict[str, T]:
        wanted = sorted(ids)
        found: dict[str, T] = {}
        for start in range(0, len(wanted), MAX_FOUND):
            asked = Find(ids=wanted[start : start + MAX_FOUND])
            while True:
                answer = self._find(asked)
                found |= {row.id: self._codec.row(row) for row in answer.rows}
                if not answer.next:
                    break
                asked = msgspec.structs.replace(asked, after=answer.next)
        return found

    def _made_all(self, kind: Kind, rows: Sequence[T]) -> Sequence[T]:
        return self._made([(row, self._codec.change(kind, row, None, None)) for row in rows])

    def _made(self, pairs: Sequence[tuple[T, Change]]) -> Sequence[T]:
        made = self._change([change for _, change in pairs])
        return [
            self._codec.after(row, change, written)
            for (row, change), written in zip(pairs, made, strict=True)
        ]

    def _change(self, changes: Sequence[Change]) -> Sequence[Written]:
        made: list[Written] = []
        for piece in _pieces(changes):

            def body(again: bool, piece: list[Change] = piece) -> bytes:  # noqa: FBT001 - as a door calls it
                return msgspec.json.encode(Changes(piece, again))

            answer = self._asked("POST", "/changes", body)
            made += msgspec.json.decode(answer, type=ChangesMade).rows
        return made

    def _find(self, asked: Find) -> Found:
        return self._ask("POST", "/find", Found, asked)

    def _ask(self, method: str, what: str, kind: type[A], asked: object) -> A:
        body = None if asked is None else msgspec.json.encode(asked)
        return msgspec.json.decode(self._asked(method, what, lambda _again: body), type=kind)

    def _asked(self, method: str, what: str, body: Callable[[bool], bytes | None]) -> bytes:
        if not self._is_declared:
            self.declare()
        try:
            return self._door.ask(method, self._model.entity, what, body)
        except NotFound:  # a row, or the entity itself: the node was put back meanwhile
            self.declare()
        return self._door.ask(method, self._model.entity, what, body)


def _pieces(changes: Sequence[Change]) -> Iterator[list[Change]]:
    piece: list[Change] = []
    size = 0
    for change in changes:
        more = len(bytes(change.body)) + (len(bytes(change.read.body)) if change.read else 0)
        if piece and (len(piece) == MAX_CHANGES or size + more > _PIECE):
            yield piece
            piece, size = [], 0
        piece.append(change)
        size += more
    if piece:
        yield piece
