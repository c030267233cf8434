"""Edits that the hub makes itself, for people (`shared_rows`) and their programs (`model_rows`).

They are judged like those of nodes, in the transaction that reads what they are made on; their origin is empty.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

import msgspec
from sqlalchemy import Connection

from skerry.hub.store import locks
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.shared import Stored
from skerry.hub.sync import rows_push
from skerry.hub.sync.declarations import HELD_BY_NONE, Declarations
from skerry.hub.sync.row_fates import Fate
from skerry.kit.clock import Clock
from skerry.kit.hlc import time_after
from skerry.wire.shared import DECLARATIONS, Edit, EditFrame

T = TypeVar("T")


class Judge:
    """One transaction of such edits. It has the fleet's lock; `changed` are the entities whose rows are others now."""

    def __init__(self, connection: Connection, declarations: Declarations, at: int) -> None:
        locks.of_fleet(connection)
        self.connection = connection
        self.changed: set[str] = set()
        self.declarations = declarations
        self._at = at

    def apply(
        self, entity: str, edits: Sequence[Edit], held: Mapping[str, Stored], who: str = ""
    ) -> Sequence[Fate]:
        """What becomes of edits of now by `who`, each later than all that the hub knew of its row (`held`, by id)."""
        made = [
            msgspec.structs.replace(
                each, hlc=time_after(self._at, held[each.id].hlc if each.id in held else 0)
            )
            for each in edits
        ]
        frames = [EditFrame(entity, made)]
        fates, changed = rows_push.apply(self.connection, frames, "", self._at, who)
        if entity == DECLARATIONS:
            self.declarations.hold(self.connection, [each.id for each in made], self._at)
        self.changed |= changed
        return fates


class OwnEdits:
    """`changed` is called with the entities whose rows were changed, after the commit."""

    def __init__(
        self,
        store: HubStore,
        clock: Clock,
        changed: Callable[[Collection[str]], None],
        declarations: Declarations = HELD_BY_NONE,
    ) -> None:
        self._store = store
        self._clock = clock
        self._changed = changed
        self._declarations = declarations

    async def make(self, work: Callable[[Judge], T]) -> T:
        """Runs `work` in one transaction; returns its result after the commit, raises what it raised."""

        def judged(connection: Connection) -> tuple[T, Collection[str]]:
            judge = Judge(connection, self._declarations, self._clock.wall_ns())
            return work(judge), judge.changed

        result, changed = await self._store.write(judged)
        if changed:
            self._changed(changed)
            await asyncio.sleep(0)  # the news leave before the answer is made
        return result
