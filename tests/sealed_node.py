"""A node's stores with encryption and rotation, without processes or hub; as a program one that can be killed.

`python tests/sealed_node.py DIR [LABEL NTH]` publishes, edits and rotates without end, SIGKILLs itself at the NTH
operation of that label, and prints «accepted N», «kept N» and «uploaded N» for what it was told.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
from tests.file_rig import RoomLeft
from tests.record_rig import submission
from tests.sealing_rig import wanted, where
from tests.workload_cases import live, wish

from skerry.kit.clock import SystemClock
from skerry.kit.disk import Disk, RealDisk
from skerry.kit.errors import Transient
from skerry.kit.sealing.cipher import Cipher
from skerry.kit.tasks import Tasks, supervised
from skerry.node.data.publish import Publisher
from skerry.node.files.on_demand import FilesOnDemand
from skerry.node.files.room import FileRoom, named_in
from skerry.node.files.store import FileStore, Lane
from skerry.node.identity import seal_secret
from skerry.node.on_demand import blob_bytes
from skerry.node.ports import Room
from skerry.node.store.encryption import open_encryption
from skerry.node.store.files import FileRows
from skerry.node.store.instances import InstanceStore, Transition
from skerry.node.store.opening import OpenedStore, Recover, opened
from skerry.node.store.own_events import OwnEvents
from skerry.node.store.record_jobs import Limits
from skerry.node.store.records import RecordStore
from skerry.node.store.rotation import Beside, Rotation
from skerry.testing.faulty_disk import KillingDisk
from skerry.wire.files import FileRef
from skerry.wire.records import Publish, PublishedRecord

FIRST = 6
"""Files that are uploaded once, so that only a rotation seals them again; others come over and over."""

PAUSE = 0.02
"""Seconds between two of a kind: three hundred lives must not heap up so much that a rotation takes a minute."""

LIMITS = Limits(reserve=4096, segment=60_000)


@dataclass(frozen=True)
class SealedNode:
    store: OpenedStore
    records: RecordStore
    instances: InstanceStore
    rotation: Rotation | None
    files: FilesOnDemand


@contextlib.asynccontextmanager
async def sealed_node(
    directory: Path,
    *,
    on: bool = True,
    disk: Disk | None = None,
    limits: Limits = LIMITS,
    database: Path | None = None,
    recover: Recover = lambda _path, _encryption: None,
    suspect: str = "",
) -> AsyncIterator[SealedNode]:
    disk, clock = disk or RealDisk(), SystemClock()
    wish = wanted() if on else None
    keys = partial(open_encryption, wish, where(directory), disk, clock, database=database)
    async with opened(
        directory, "n1", clock, disk, keys, database=database, recover=recover, suspect=suspect
    ) as store:
        cipher = store.encryption.cipher("records")
        records = RecordStore(
            directory / "records", disk=disk, clock=clock, cipher=cipher, limits=limits
        )
        await records.start()
        ring = store.encryption.ring

        def secrets(cipher: Cipher) -> bool:
            sealed = seal_secret(directory, cipher, disk)
            return store.started.seal_again(cipher) or sealed

        try:
            async with supervised() as tasks:
                files = await _files(directory, store, records, disk, tasks)
                beside = Beside(secrets, files.renew)
                rotation = (
                    None
                    if ring is None
                    else Rotation(ring, store.writer, records, beside, disk, clock)
                )
                instances = InstanceStore(store.writer, store.reader, store.cipher, store.started)
                yield SealedNode(store, records, instances, rotation, files)
        finally:
            await records.stop()


async def _files(
    directory: Path, opened: OpenedStore, records: RecordStore, disk: Disk, tasks: Tasks
) -> FilesOnDemand:
    """Without a hub."""
    clock, rows = SystemClock(), FileRows(opened.writer, opened.reader)

    def build(room: Room) -> FileRoom:
        lane = Lane(lambda: records.head("event").n, lambda: 0, lambda: 0)
        blobs = blob_bytes(opened.encryption, disk)
        tell = OwnEvents(records, clock, lambda: "synced").tell
        store = FileStore(
            directory, 10**10, rows, blobs, disk, clock, lane=lane, room=room, tell=tell
        )
        return FileRoom(store, None, partial(named_in, records), clock, random.Random(1))

    files = FilesOnDemand(directory, rows, 10**10, build)
    files.room = RoomLeft()
    files.follow(tasks)
    return files


async def publish(node: SealedNode, first: int, count: int = 10, text: str = "") -> None:
    values = [f"{text}value {number}" for number in range(first, first + count)]
    sent = submission(first, *values)
    if text:
        [(lane, records)] = sent.parts
        noted = [msgspec.structs.replace(each, meta={"note": text}) for each in records]
        sent = msgspec.structs.replace(sent, parts=[(lane, noted)])
    await node.records.append(sent)


async def upload(node: SealedNode, data: bytes) -> FileRef:
    """One file: its bytes and its record."""

    async def body() -> AsyncIterator[bytes]:
        yield data

    stored = await node.files.put(hashlib.sha256(data).hexdigest(), len(data), body())
    ref = FileRef(stored.sha256, stored.size)
    record = PublishedRecord("cam/a.bin", str(ref), 5, {})
    request = Publish([record], "file", "ab" * 16, node.records.head("event").n + 1)
    publisher = Publisher(node.records, SystemClock(), lambda: "synced")
    await node.files.published(request, partial(publisher.publish, "cam", request, {}))
    return ref


async def download(node: SealedNode, ref: FileRef) -> bytes:
    """What is there of a file. Raises Corrupt."""
    room = node.files.loaded
    assert room is not None
    store = await room.opened()
    row = store.rows.row(ref.sha256)
    assert row is not None
    return await asyncio.to_thread(store.read, row, 0, ref.size)


async def edit(node: SealedNode, number: int, text: str = "") -> None:
    """A twin, and a workload with its environment."""
    body = f'{{"text":"{text}","number":{number}}}'.encode()
    await node.store.state.put("twin", f"t{number % 700:03}", body, durable=True)
    name = f"w{number % 5}"
    assignment = wish(name, env={"TOKEN": text or "none"})
    await node.instances.save([Transition(live(assignment, instance=f"i-{name}"))], label="test")


async def _main(directory: str, label: str = "", nth: str = "0") -> None:
    disk = KillingDisk(label, int(nth)) if label else RealDisk()
    async with sealed_node(Path(directory), disk=disk) as node, asyncio.TaskGroup() as tasks:
        tasks.create_task(_publish(node))
        tasks.create_task(_edit(node))
        tasks.create_task(_upload(node))
        tasks.create_task(_rotate(node))


async def _publish(node: SealedNode) -> None:
    first = node.records.head("keep").n + 1
    while True:
        await publish(node, first)
        first += 10
        _tell("accepted", first - 1)
        await asyncio.sleep(PAUSE)


async def _edit(node: SealedNode) -> None:
    number = len(await node.store.state.rows("twin"))
    while True:
        await edit(node, number)
        _tell("kept", number)
        number += 1
        await asyncio.sleep(PAUSE)


def file_number(number: int) -> bytes:
    """The content of that file: some need one segment, some several and more than one piece."""
    size = (100, 70_000, 1_200_000)[number % 3]
    return (f"file {number} ".encode() * (size // 8))[:size]


def again(number: int) -> int:
    """The file that is uploaded as that one: from `FIRST` on they repeat."""
    return number if number < FIRST else FIRST + number % 24


async def _upload(node: SealedNode) -> None:
    number = node.records.head("event").n
    while True:
        with contextlib.suppress(
            Transient
        ):  # keys were changed while it came: again, as the SDK would
            await upload(node, file_number(again(number)))
            _tell("uploaded", number)
            number += 1
        await asyncio.sleep(PAUSE)


def _tell(what: str, number: int) -> None:
    sys.stdout.write(f"{what} {number}\n")
    sys.stdout.flush()


async def _rotate(node: SealedNode) -> None:
    assert node.rotation is not None
    while True:
        node.rotation.ask()
        await node.rotation.once()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
