"""What a program on a node does with shared rows, by the requests that its SDK makes: as short calls for tests."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence

import msgspec

from skerry.kit.errors import NotFound, Refused
from skerry.node.store.entity_rows import EntityRows
from skerry.node.store.shared_frames import SharedFrames
from skerry.node.store.shared_rows import SharedRows
from skerry.wire.entities import MAX_CHANGES, Change, Changes, EntityRow, Find, Reading, Written


class RowProgram:
    """Of one node, whose stores are open."""

    def __init__(self, rows: SharedRows, frames: SharedFrames) -> None:
        self.entities = EntityRows(rows, frames)

    async def get(self, entity: str, row_id: str) -> EntityRow | None:
        """None: there is no such row."""
        found = await self.entities.find(entity, Find(ids=[row_id]))
        return found.rows[0] if found.rows else None

    async def list(self, entity: str, prefix: str = "") -> Sequence[EntityRow]:
        """All rows whose ids begin so, in the order of their ids."""
        rows: list[EntityRow] = []
        asked = Find(prefix=prefix)
        while True:
            found = await self.entities.find(entity, asked)
            rows += found.rows
            if not found.next:
                return rows
            asked = msgspec.structs.replace(asked, after=found.next)

    async def put(self, entity: str, row_id: str, body: bytes) -> None:
        """Creates the row, or changes it as it is now."""
        await self._change(entity, Change("put", row_id, msgspec.Raw(body)))

    async def bulk(self, entity: str, rows: Iterable[tuple[str, bytes]]) -> None:
        """As `put`, many at once."""
        changes = [Change("put", row_id, msgspec.Raw(body)) for row_id, body in rows]
        for start in range(0, len(changes), MAX_CHANGES):
            await self._change(entity, *changes[start : start + MAX_CHANGES])

    async def edit(self, entity: str, row_id: str, read: EntityRow | None, body: bytes) -> None:
        """Makes the row this of what was `read`. Raises Refused where there was none and is one, NotFound where it was deleted meanwhile."""
        if read is None:
            await self._change(entity, Change("create", row_id, msgspec.Raw(body)))
            return
        reading = Reading(read.revision, read.rev, read.body)
        await self._change(entity, Change("update", row_id, msgspec.Raw(body), read=reading))

    async def upsert(
        self, entity: str, row_id: str, change: Callable[[bytes | None], bytes]
    ) -> None:
        """Makes the row what `change` makes of its body (None: there is none)."""
        while True:
            read = await self.get(entity, row_id)
            body = change(None if read is None else bytes(read.body))
            with contextlib.suppress(NotFound, Refused):  # it came, or was deleted, meanwhile
                return await self.edit(entity, row_id, read, body)

    async def settle(
        self, entity: str, row_id: str, body: bytes, expected: int | None = None
    ) -> None:
        """Decides about an edit of this node that waits. Raises NotFound where none does, Refused when the row is not at `expected`."""
        await self._change(entity, Change("settle", row_id, msgspec.Raw(body), expected))

    async def delete(self, entity: str, row_id: str, expected: int | None = None) -> bool:
        """Whether there was one. Raises Refused when the row is not at the revision `expected`."""
        [made] = await self._change(entity, Change("delete", row_id, expected=expected))
        return made.there

    async def _change(self, entity: str, *changes: Change) -> Sequence[Written]:
        return (await self.entities.change(entity, Changes(list(changes)))).rows
