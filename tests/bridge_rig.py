"""The agent's half of what clients publish, beside a real gate and broker: link, bridge and real stores, to be ended and begun anew."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
from tests.file_rig import FileRig, file_rig
from tests.gate_rig import PATIENCE, GateRig, held_by_nobody

from skerry.core.cyberwave.intake import Rules
from skerry.kit.blob_bytes import PlainBytes
from skerry.kit.clock import NS, Clock, SystemClock
from skerry.kit.disk import Disk, RealDisk
from skerry.kit.errors import StorageFull
from skerry.node.broker.bridge import Bridge, Store
from skerry.node.broker.link import GateLink
from skerry.node.broker.shares import Room, Shares
from skerry.node.files.store import FileStore
from skerry.node.store.record_jobs import Submission
from skerry.wire.codec import decode
from skerry.wire.files import StoredFile, read_reference
from skerry.wire.records import Batch, Kind, Meta, Publish, Published, Value
from skerry.wire.sync import RECORD_LANES, Lane


class Seen(msgspec.Struct, frozen=True):
    """A record as the node has it."""

    lane: Lane
    kind: Kind
    source: str
    session: str
    counter: int
    name: str
    at: int
    value: Value
    meta: Meta


class Files:
    """As `node.files.on_demand`, whose room the agent builds."""

    def __init__(self, store: FileStore) -> None:
        self._store = store

    async def put(self, sha256: str, size: int | None, body: AsyncIterator[bytes]) -> StoredFile:
        return await self._store.put(size, sha256, body)

    async def published(
        self, request: Publish, accept: Callable[[], Awaitable[Published]]
    ) -> Published:
        refs = [read_reference(record.value) for record in request.records]
        return await self._store.named(refs, accept)


class Full:
    """A store that has no room for some lanes, while it is told so."""

    def __init__(self, node: FileRig) -> None:
        self._node = node
        self.lanes: set[Lane] = set()
        self.refused = 0

    async def append(self, submission: Submission) -> Published:
        if self.lanes & {lane for lane, _ in submission.parts}:
            self.refused += 1
            raise StorageFull("no room")
        return await self._node.records.append(submission)


class Listener:
    """Hears what is no record."""

    def __init__(self) -> None:
        self.healths: list[tuple[str, bytes]] = []
        self.replies: list[tuple[str, bytes]] = []
        self.pings: list[str] = []

    def health(self, twin: str, payload: bytes, at: int) -> None:
        assert abs(at - SystemClock().wall_ns()) < 3600 * NS
        self.healths.append((twin, payload))

    def reply(self, twin: str, topic: str, payload: bytes) -> None:
        assert twin in topic
        self.replies.append((topic, payload))

    def ping(self, twin: str, at: int) -> None:
        assert abs(at - SystemClock().wall_ns()) < 3600 * NS
        self.pings.append(twin)


def shares_of(
    node: FileRig, clock: Clock, told: list[str] | None = None, files: int = 10**12
) -> Shares:
    """Of a node's store, and of so many bytes of files; `told` is who was told to have taken too much."""

    async def tell(source: str, _words: str) -> None:
        if told is not None:
            told.append(source)

    records = node.records
    room = Room(
        records.kept_room,
        lambda: max(files - node.store.rows.totals().unsent, 0),
        lambda lane: records.head(lane).n,
        records.acknowledged,
        tell,
    )
    return Shares(room, clock)


class Agent:
    """One run of an agent: its stores, its link, its bridge."""

    def __init__(self, rig: GateRig, node: FileRig, rules: Rules, files: int) -> None:
        self.node = node
        self.heard = Listener()
        self.records = Full(node)
        clock = SystemClock()
        self.told: list[str] = []
        shares = shares_of(node, clock, self.told, files)
        names = {1: "arm", 3: "wrist"}
        store = Store(self.records, Files(node.store), lambda: "synced", names.get, shares)
        self.bridge = Bridge(store, lambda: rules, self.heard, clock, random.Random(1))
        self.link = GateLink(rig.run, rig.journal, clock, self.bridge.stored_of, held_by_nobody)

    def all(self, kind: Kind | None = None) -> list[Seen]:
        """Every record, lane by lane, in their order."""
        found = []
        for lane in RECORD_LANES:
            for segment in self.node.records.segments(lane):
                for frame in self.node.records.frames(lane, segment):
                    batch = decode(frame.payload, Batch, "frame")
                    found += [
                        Seen(lane, batch.kind, batch.source, batch.session, batch.counter + each.offset, each.name, each.at, each.value, each.meta or {})
                        for each in batch.records
                    ]  # fmt: skip
        return [each for each in found if kind in (None, each.kind)]

    def values(self, name: str) -> list[Value]:
        return [each.value for each in self.all() if each.name == name]

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 - nothing announces it
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def agent(
    rig: GateRig,
    directory: Path,
    *,
    rules: Rules = Rules(),  # noqa: B008 - frozen
    disk: Disk | None = None,
    limit: int = 10**9,
    keep: int = 10**9,
    files: int = 10**12,
) -> AsyncIterator[Agent]:
    """Runs within the block, and is then cut off wherever it is. The same directory again is the next agent."""
    directory.mkdir(exist_ok=True)
    used = disk or RealDisk()
    async with file_rig(
        directory, disk=used, limit=limit, blobs=PlainBytes(used), keep=keep
    ) as node:
        one = Agent(rig, node, rules, files)
        tasks = [
            asyncio.create_task(one.link.keep()),
            asyncio.create_task(one.bridge.run(one.link)),
        ]
        try:
            yield one
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            one.link.close()
