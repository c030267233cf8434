"""The files of one node without the agent: real disk, database and lanes; the hub and the room are the test's."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

from tests.sync_rig import MIGRATIONS

from skerry.kit.blob_bytes import BlobBytes, PlainBytes
from skerry.kit.clock import Clock, SystemClock
from skerry.kit.disk import Disk, RealDisk
from skerry.kit.sealing.cipher import NullCipher
from skerry.kit.sqlite import SqliteWriter
from skerry.kit.sqlite_connections import connect
from skerry.node.data.publish import Publisher
from skerry.node.files.room import named_in
from skerry.node.files.store import FileStore, Lane
from skerry.node.store.files import FileRows
from skerry.node.store.record_jobs import Limits
from skerry.node.store.records import RecordStore
from skerry.wire.files import FileRef
from skerry.wire.records import Meta, Publish, Published, PublishedRecord, Value


class RoomLeft:
    """Implements `node.ports.Room`."""

    def __init__(self, left: int | None = None) -> None:
        self.bytes = left
        self.asked: list[int] = []

    def left(self) -> int | None:
        return self.bytes

    async def make_room(self, wanted: int) -> None:
        self.asked.append(wanted)

    def added(self, size: int) -> None:
        if self.bytes is not None:
            self.bytes -= size


class FileRig:
    """One node's files. `acknowledged` and `backed_up` are the hub's word about the lane."""

    def __init__(
        self, directory: Path, store: FileStore, records: RecordStore, clock: Clock
    ) -> None:
        self.directory = directory
        self.store = store
        self.records = records
        self.acknowledged = 0
        self.backed_up = 0
        self.events: list[tuple[str, Value, Meta]] = []
        self._publisher = Publisher(records, clock, lambda: "synced")
        self._counter = 0

    async def put(
        self, data: bytes, sha: str, *, size: int | None = -1, pieces: int = 1
    ) -> FileRef:
        """`size` is what the sender says; -1: the truth."""

        async def body() -> AsyncIterator[bytes]:
            step = -(-len(data) // pieces) or 1
            for start in range(0, len(data), step):
                yield data[start : start + step]

        said = len(data) if size == -1 else size
        stored = await self.store.put(said, sha, body())
        return FileRef(stored.sha256, stored.size)

    async def publish(self, *refs: FileRef, first: int | None = None) -> Published:
        if first is None:
            self._counter += 1
            first = self._counter
        request = Publish(
            [PublishedRecord("cam/a.bin", str(ref), 5, {"lens": "wide"}) for ref in refs],
            "file", "ab" * 16, first,
        )  # fmt: skip
        accept = partial(self._publisher.publish, "cam", request, {})
        return await self.store.named(refs, accept)

    def path_of(self, ref: FileRef) -> Path:
        return self.directory / "files" / ref.sha256[:2] / ref.sha256[2:]

    def bytes_of(self, ref: FileRef) -> bytes:
        row = self.store.rows.row(ref.sha256)
        assert row is not None
        return self.store.read(row, 0, ref.size)

    async def tell(self, name: str, value: Value, meta: Meta) -> None:
        self.events.append((name, value, meta))

    def on_disk(self) -> list[str]:
        """What lies there, whatever it is."""
        return sorted(p.parent.name + p.name for p in (self.directory / "files").glob("??/*"))


@contextlib.asynccontextmanager
async def file_rig(
    directory: Path,
    *,
    limit: int = 10**9,
    disk: Disk | None = None,
    clock: Clock | None = None,
    room: RoomLeft | None = None,
    opened: bool = True,
    blobs: BlobBytes | None = None,
    keep: int = 10**9,
) -> AsyncIterator[FileRig]:
    """The agent's part of it within the block; the same directory again is a restart. Without `blobs` bytes are plain."""
    disk, clock = disk or RealDisk(), clock or SystemClock()
    writer = SqliteWriter(directory / "node.db", MIGRATIONS, disk)
    writer.start()
    records = RecordStore(
        directory / "records",
        disk=disk,
        clock=clock,
        cipher=NullCipher(),
        limits=Limits(keep=keep, reserve=4096),
    )
    try:
        await records.start()
        try:
            with contextlib.closing(connect(directory / "node.db", read_only=True)) as reader:
                rig: FileRig
                lane = Lane(
                    lambda: records.head("event").n, lambda: rig.acknowledged, lambda: rig.backed_up
                )
                store = FileStore(
                    directory, limit, FileRows(writer, reader), blobs or PlainBytes(disk), disk, clock,
                    lane=lane, room=room or RoomLeft(), tell=lambda name, value, meta: rig.tell(name, value, meta),  # noqa: PLW0108 - made below
                )  # fmt: skip
                rig = FileRig(directory, store, records, clock)
                if opened:
                    await store.open(partial(named_in, records))
                yield rig
        finally:
            await records.stop()
    finally:
        writer.stop()
