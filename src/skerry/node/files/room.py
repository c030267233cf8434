"""The files of a node as one object: the store, and what sends, opened once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection

from skerry.kit.clock import Clock
from skerry.kit.tasks import Guard
from skerry.node.files.sending import FileSending
from skerry.node.files.store import FileStore
from skerry.node.store.records import RecordStore
from skerry.wire.codec import decode
from skerry.wire.files import FilesWaiting, read_reference
from skerry.wire.records import Batch

_LOOKED_AT = 100


class FileRoom:
    """`sending` is None on a node without a hub."""

    def __init__(
        self,
        store: FileStore,
        sending: FileSending | None,
        named: Callable[[Collection[str]], set[str]],
        clock: Clock,
        chance: random.Random,
    ) -> None:
        self._clock = clock
        self._chance = chance
        self.store = store
        self._sending = sending
        self._named = named

    async def _open(self) -> None:
        await self.store.open(self._named)

    async def opened(self) -> FileStore:
        """The store, put right after a crash. Raises Transient."""
        await self._open()
        return self.store

    async def renew(self) -> int:
        """Has every content sealed as it would be now; returns for how many that was needed."""
        await self.store.all_settled()
        renewed, after = 0, ""
        while rows := self.store.rows.page(after, _LOOKED_AT):
            for row in rows:
                renewed += not row.problem and await self.store.renew(row)
            after = rows[-1].sha256
        return renewed

    async def run(self) -> None:
        """Sends for ever."""
        guard = Guard("opening files", self._clock, self._chance)
        while not await guard.run(self._open):
            pass
        if self._sending is None:
            await asyncio.get_running_loop().create_future()
        else:
            await self._sending.run()

    def waiting(self) -> FilesWaiting:
        """For people."""
        return self.store.waiting(self._sending.problem if self._sending else "")


def named_in(records: RecordStore, wanted: Collection[str]) -> set[str]:
    """Which of these contents a record that is still here names. Reads the lane: not for the event loop."""
    found: set[str] = set()
    for segment in records.segments("event"):
        for frame in records.frames("event", segment):
            batch = decode(frame.payload, Batch, "a record")
            if batch.kind == "file":
                found |= {read_reference(each.value).sha256 for each in batch.records}
    return found & set(wanted)
