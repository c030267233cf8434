"""One life of a node's whole store, on a volume that may lose its power."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import msgspec
from tests.file_rig import RoomLeft
from tests.power_moments import BreathClock
from tests.sealing_rig import wanted, where

from skerry.kit.blob_bytes import PlainBytes
from skerry.kit.disk import Disk
from skerry.kit.sealing.cipher import Cipher
from skerry.node.files.room import named_in
from skerry.node.files.store import FileStore
from skerry.node.files.store import Lane as FileLane
from skerry.node.identity import seal_secret
from skerry.node.store.encryption import open_encryption
from skerry.node.store.files import FileRows
from skerry.node.store.instances import InstanceStore
from skerry.node.store.opening import OpenedStore, opened
from skerry.node.store.record_jobs import Limits
from skerry.node.store.records import RecordStore
from skerry.node.store.rotation import Beside, Rotation
from skerry.testing.apsw_driver import ApswDriver
from skerry.testing.power_cut import Volume
from skerry.testing.power_cut_disk import PowerCutDisk
from skerry.testing.power_cut_vfs import power_cut_vfs
from skerry.wire.records import Meta, Value

LIMITS = Limits(reserve=4096, segment=6_000)


class Powered(msgspec.Struct):
    """One life: the store, opened on a volume."""

    volume: Volume
    clock: BreathClock
    store: OpenedStore
    records: RecordStore
    instances: InstanceStore
    files: FileStore
    rotation: Rotation | None
    rotating: asyncio.Task[None] | None = None


async def _tell_nobody(_name: str, _value: Value, _meta: Meta) -> None:
    """Events of the node's own are not looked at here."""


async def _no_blobs() -> int:
    """Files lie in plain here."""
    return 0


def _seal_secrets(store: OpenedStore, directory: Path, cipher: Cipher, *, disk: Disk) -> bool:
    sealed = seal_secret(directory, cipher, disk)
    return store.started.seal_again(cipher) or sealed


@contextlib.asynccontextmanager
async def powered(volume: Volume, boot: str, *, sealed: bool) -> AsyncIterator[Powered]:
    """A start as the agent makes it."""
    directory = volume.root / "data"
    disk, clock = PowerCutDisk(volume), BreathClock(boot)
    with power_cut_vfs(volume) as vfs:
        driver = ApswDriver(vfs)
        wish_ = wanted() if sealed else None
        keys = partial(open_encryption, wish_, where(directory), disk, clock, driver=driver)
        async with opened(directory, "n1", clock, disk, keys, driver=driver) as store:
            encryption = store.encryption
            records = RecordStore(
                directory / "records",
                disk=disk,
                clock=clock,
                cipher=encryption.cipher("records"),
                limits=LIMITS,
            )
            await records.start()
            lane = FileLane(lambda: records.head("event").n, lambda: 0, lambda: 0)
            files = FileStore(
                directory, 10**9, FileRows(store.writer, store.reader), PlainBytes(disk), disk, clock,
                lane=lane, room=RoomLeft(), tell=_tell_nobody,
            )  # fmt: skip
            beside = Beside(partial(_seal_secrets, store, directory, disk=disk), _no_blobs)
            ring = encryption.ring
            rotation = ring and Rotation(ring, store.writer, records, beside, disk, clock)
            instances = InstanceStore(store.writer, store.reader, store.cipher, store.started)
            try:
                await files.open(partial(named_in, records))
                node = Powered(volume, clock, store, records, instances, files, rotation)
                yield node
                if node.rotating is not None:
                    node.rotating.cancel()
                    await asyncio.wait([node.rotating])
            finally:
                await records.stop()
