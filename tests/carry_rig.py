"""A node and a hub in this process that never meet: what passes between them are files in a directory."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

from tests.file_rig import RoomLeft
from tests.hub_rig import HubRig
from tests.model_cases import sha256
from tests.sync_rig import NodeRig

from skerry.cli.stick_files import Unpacking, blocks_of, data_files, header_of, write_whole
from skerry.hub.sync.carrying import Carrying as HubCarrying
from skerry.kit.blob_bytes import PlainBytes
from skerry.kit.clock import Clock
from skerry.kit.disk import RealDisk
from skerry.kit.errors import InvalidInput
from skerry.node.data.publish import Publisher
from skerry.node.files.carried import CarriedFiles
from skerry.node.files.on_demand import FilesOnDemand
from skerry.node.files.room import FileRoom, named_in
from skerry.node.files.store import FileStore, Lane
from skerry.node.identity import Enrolled, Identity
from skerry.node.ports import Room
from skerry.node.store.files import FileRow, FileRows
from skerry.node.sync.carrying import Carrying, FilesHere
from skerry.testing.fake_hub import FakeHub
from skerry.testing.running_hub import EnrolledNode
from skerry.wire.codec import decode
from skerry.wire.files import FileManifest, FileRef
from skerry.wire.records import Meta, Publish, PublishedRecord, Value
from skerry.wire.stick import (
    PROBLEM,
    PROGRESS,
    Progress,
    ReceiptTaken,
    frame,
    split,
)

SESSION = "cd" * 16
PART = 10**9


class NoFiles:
    """Implements `carrying.FilesHere`."""

    async def waiting(self) -> list[FileRow]:
        return []

    def manifest(self, row: FileRow) -> FileManifest:
        raise NotImplementedError

    def read(self, row: FileRow, start: int, size: int) -> bytes:
        raise NotImplementedError

    async def sent(self, sha256s: list[str]) -> int:
        return len(sha256s)

    async def lost(self) -> None:
        pass


async def _tell_nobody(_name: str, _value: Value, _meta: Meta) -> None:
    pass


def _built_already(_room: Room) -> FileRoom:
    raise NotImplementedError


class CarryRig:
    """`node` is real but for the network; `published` counts its records, whose values are 1, 2, 3, …

    `files_brought` counts files that the hub has called new.
    """

    def __init__(self, directory: Path, hub: HubRig, clock: Clock) -> None:
        self.hub = hub
        self.clock = clock
        self.directory = directory
        self.node = NodeRig(directory / "node", FakeHub(clock), clock)
        self.at_hub = HubCarrying(hub.store, hub.receiver, hub.arrivals, clock)
        self.published = 0
        self.files_brought = 0
        self.files: FilesHere = NoFiles()

    async def start(self, name: str = "n1") -> None:
        self.enrolled = await self.hub.enrol(name)
        await self.open()

    async def open(self) -> None:
        """The node's process begins."""
        await self.node.start()
        await self.node.sync.reload()
        self.carrying = self.carrying_as(self.enrolled)

    def keep_files(self) -> FileStore:
        """The node may have files from now on."""
        rows, records = FileRows(self.node._writer, self.node._writer.reader()), self.node.records
        lane = Lane(
            lambda: records.head("event").n, lambda: records.acknowledged("event"), lambda: 0
        )
        store = FileStore(
            self.node.directory, PART, rows, PlainBytes(RealDisk()), RealDisk(), self.clock,
            lane=lane, room=RoomLeft(), tell=_tell_nobody,
        )  # fmt: skip
        files = FilesOnDemand(self.node.directory, rows, PART, _built_already)
        named = partial(named_in, records)
        files.loaded = FileRoom(store, None, named, self.clock, random.Random(1))
        self.files = CarriedFiles(files, self.clock)
        self.carrying = self.carrying_as(self.enrolled)
        return store

    async def give(self, store: FileStore, data: bytes, number: int) -> FileRef:
        """A workload uploads it and publishes its record."""

        async def body() -> AsyncIterator[bytes]:
            yield data

        stored = await store.put(len(data), sha256(data), body())
        ref = FileRef(stored.sha256, stored.size)
        request = Publish([PublishedRecord("cam/a.bin", str(ref), 5)], "file", "ef" * 16, number)
        publisher = Publisher(self.node.records, self.clock, lambda: "synced")
        await store.named([ref], partial(publisher.publish, "cam", request, {}))
        return ref

    def carrying_as(self, enrolled: EnrolledNode) -> Carrying:
        identity = Identity(enrolled.node_id, enrolled.name, {}, "http://hub", enrolled.hub_id)
        member = Enrolled(identity, enrolled.secret)
        return Carrying(
            member, self.node.store, self.node.records, self.files, self.node.sync, self.clock
        )

    async def publish(self, count: int, noise: int = 0) -> None:
        await self.node.publish(SESSION, self.published + 1, count, noise=noise)
        self.published += count

    def stick(self, name: str) -> Path:
        path = self.directory / name
        path.mkdir(exist_ok=True)
        return path

    async def export(self, stick: Path, *, room: int = PART, part: int = PART) -> Progress:
        unpacking, end = Unpacking(stick), Progress(0, 0, 0, 0)
        try:
            async for data in self.carrying.export(room, part):
                found = split(bytearray(data))
                assert found is not None
                kind, content = found
                assert kind != PROBLEM, content
                if kind == PROGRESS:
                    end = decode(content, Progress, "progress")
                else:
                    unpacking.take(kind, content)
        finally:
            unpacking.stop()
        return end

    async def bring(
        self, stick: Path, change: Callable[[bytes], bytes] = bytes
    ) -> tuple[int, list[str]]:
        """Every file to the hub; how many records were new, and what it complained of."""
        new, problems = 0, []
        for path in data_files(stick):
            _, head = header_of(path)
            for number, (kind, content) in enumerate(blocks_of(path)):
                try:
                    taken = await self.at_hub.take(change(head + frame(kind, content)), number)
                except InvalidInput as error:
                    problems.append(str(error))
                    continue
                new += taken.new
                self.files_brought += taken.files
                problems += [taken.problem] if taken.problem else []
                if taken.receipt:
                    write_whole(path.with_suffix(".receipt"), taken.receipt)
        return new, problems

    async def take_receipts(self, stick: Path) -> list[ReceiptTaken]:
        return [
            await self.carrying.take_receipt(path.read_bytes())
            for path in sorted(stick.glob("*.receipt"))
        ]

    async def round_trip(self, stick: Path) -> list[ReceiptTaken]:
        await self.export(stick)
        await self.bring(stick)
        return await self.take_receipts(stick)

    async def values(self) -> list[object]:
        found = await self.hub.query.records(name="v", limit=100_000)
        return sorted(row.value for row in found.rows)  # type: ignore[type-var]

    async def has_all_once(self) -> bool:
        return await self.values() == list(range(1, self.published + 1))

    async def waiting(self) -> int:
        return sum(
            lane.waiting for lane in (await self.node.sync.status()).lanes if lane.lane != "state"
        )

    async def stop(self) -> None:
        await self.node.stop()
        await asyncio.sleep(0)
