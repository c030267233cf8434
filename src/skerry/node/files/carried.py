"""The files of a node as an export to a stick takes them, and as its receipt brings word of them."""

from __future__ import annotations

from skerry.kit.clock import Clock
from skerry.node.files.chunks import manifest_of
from skerry.node.files.on_demand import FilesOnDemand
from skerry.node.files.store import FileStore
from skerry.node.store.files import FileRow, Moment
from skerry.wire.files import FileManifest

_ALL = 1_000_000


class CarriedFiles:
    """Implements `sync.carrying.FilesHere`."""

    def __init__(self, files: FilesOnDemand, clock: Clock) -> None:
        self._files = files
        self._clock = clock
        self._store: FileStore | None = None

    async def waiting(self) -> list[FileRow]:
        self._store = await self._files.store()
        return [] if self._store is None else self._store.rows.waiting(_ALL)

    def manifest(self, row: FileRow) -> FileManifest:
        return manifest_of(row.sha256, row.size, lambda start, size: self.read(row, start, size))

    def read(self, row: FileRow, start: int, size: int) -> bytes:
        assert self._store is not None  # noqa: S101 - `waiting` found the row in it
        return self._store.read(row, start, size)

    async def sent(self, sha256s: list[str]) -> int:
        store = await self._files.store()
        if store is None:
            return 0
        rows = [store.rows.row(one) for one in sha256s]
        fresh = [row for row in rows if row is not None and row.sent_at is None]
        for row in fresh:
            await store.rows.sent(row.sha256, Moment.now(self._clock), store.lane.head() + 1)
        return len(fresh)

    async def lost(self) -> None:
        store = await self._files.store()
        if store is not None:
            await store.lost()
