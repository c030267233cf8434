"""The files of a node that may never have any: what keeps and sends them is loaded with the first one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from skerry.kit.errors import SkerryError
from skerry.kit.tasks import Tasks
from skerry.node.ports import Room
from skerry.node.store.files import FILES_DIRECTORY, FileRows
from skerry.wire.files import FilesWaiting, StoredFile, read_reference
from skerry.wire.records import Publish

if TYPE_CHECKING:
    from skerry.node.files.room import FileRoom
    from skerry.node.files.store import FileStore

T = TypeVar("T")


class Shed:
    """What of the files may go when room is needed. Implements `limits.eviction.Unneeded`."""

    def __init__(self, files: FilesOnDemand, *, safely: bool) -> None:
        self._files = files
        self._safely = safely

    def evictable(self) -> int:
        """Bytes that may go."""
        loaded = self._files.loaded
        return 0 if loaded is None else loaded.store.evictable(safely=self._safely)

    async def evict(self, size: int) -> int:
        """Lets about so many go."""
        loaded = self._files.loaded
        return 0 if loaded is None else await loaded.store.evict(size, safely=self._safely)


class FilesOnDemand:
    """`build` loads and makes the room; `room` must be set before the first file comes. `data_dir` may have files."""

    def __init__(
        self, data_dir: Path, rows: FileRows, limit: int, build: Callable[[Room], FileRoom]
    ) -> None:
        self._root = data_dir / FILES_DIRECTORY
        self.room: Room | None = None
        self.loaded: FileRoom | None = None
        self.backed_up = Shed(self, safely=True)
        self.at_hub = Shed(self, safely=False)
        self._rows = rows
        self._limit = limit
        self._build = build
        self._tasks: Tasks | None = None

    def follow(self, tasks: Tasks) -> None:
        """From now on files are sent, for as long as the tasks run."""
        self._tasks = tasks
        if self._rows.totals().count or (self._rows.lost_some and self._root.is_dir()):
            self._load()

    async def put(self, sha256: str, size: int | None, body: AsyncIterator[bytes]) -> StoredFile:
        """Takes a content. Raises as `FileStore.put`."""
        store = await self._load().opened()
        return await store.put(size, sha256, body)

    async def published(self, request: Publish, accept: Callable[[], Awaitable[T]]) -> T:
        """Has records of files accepted. Raises NotFound when the bytes of one are not here, and what `accept` raises."""
        try:
            refs = [read_reference(record.value) for record in request.records]
        except SkerryError:
            return await accept()  # which refuses it in its own words
        store = await self._load().opened()
        return await store.named(refs, accept)

    def left(self) -> int:
        """Bytes of contents that may still come before the hub has some."""
        return max(self._limit - self._rows.totals().unsent, 0)

    async def renew(self) -> int:
        """Seals again what is not sealed as it would be now; returns how many files. Raises Transient, StorageFull."""
        if not self._root.is_dir():
            return 0
        room = self._load()
        await room.opened()
        return await room.renew()

    async def store(self) -> FileStore | None:
        """Where they are; None: there are no files here. Raises Transient."""
        return None if self.loaded is None else await self.loaded.opened()

    def waiting(self) -> FilesWaiting | None:
        """For people; None: there are no files here."""
        return None if self.loaded is None else self.loaded.waiting()

    def _load(self) -> FileRoom:
        if self.loaded is None:
            assert self.room is not None  # noqa: S101 - see the docstring of the class
            assert self._tasks is not None  # noqa: S101 - the API answers after `follow`
            self.loaded = self._build(self.room)
            self._tasks.forever(self.loaded.run(), name="files")
        return self.loaded
