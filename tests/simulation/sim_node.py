"""One node of a simulation: the shipped stores and sync on a simulated machine, and what workloads and people do there."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import TypeVar

import msgspec
from tests.row_program import RowProgram
from tests.simulation.machine import Life, Machine
from tests.simulation.network import Network
from tests.simulation.sim_hub import SimHub, SimSocket
from tests.simulation.storage import SimDisk, Storage
from tests.sync_rig import HUB_URL, Logs

from skerry.kit.backoff import Backoff
from skerry.kit.disk import RealDisk
from skerry.kit.sealing.cipher import NullCipher
from skerry.kit.sqlite import SqliteWriter, read_migrations
from skerry.node.store.opening import MIGRATIONS, OpenedStore, opened
from skerry.node.store.record_jobs import Limits, Submission
from skerry.node.store.records import RecordStore
from skerry.node.store.shared_frames import SharedFrames
from skerry.node.store.shared_pulled import SharedPulled
from skerry.node.store.shared_rows import SharedRows
from skerry.node.sync.pace import Pace
from skerry.node.sync.reachability import Reachability
from skerry.node.sync.row_lanes import RowLanes, Shared, Way
from skerry.node.sync.sync import Stores, Sync, connect
from skerry.node.sync.uplink import read_answer
from skerry.wire.codec import encode
from skerry.wire.records import Record
from skerry.wire.shared import (
    Buckets,
    BucketsReply,
    Round,
    RoundReply,
    RowsPage,
    RowsPart,
    RowsPull,
    RowsWanted,
)
from skerry.wire.sync import Hello, HelloReply, Lane, Pull, PullReply, PushReply, PushUnit

T = TypeVar("T")

PACE = Pace(pull_every=300.0, refused=Backoff(5.0, 120.0, jitter=0.1))
LIMITS = Limits(segment=4096, reserve=0)


class SimUplink:
    """Implements `node.ports.Uplink`, `RowHub` and `RoundHub` for one life of a node: in place of `uplink.HttpUplink`."""

    def __init__(self, node: SimNode, life: NodeLife, network: Network, hub: SimHub) -> None:
        self._node = node
        self._life = life
        self._network = network
        self._hub = hub

    async def hello(self, hello: Hello) -> HelloReply:
        return await self._ask("hello", hello, HelloReply)

    async def push(self, unit: PushUnit) -> PushReply:
        return await self._ask("push", unit, PushReply)

    async def pull(self, pull: Pull) -> PullReply:
        return await self._ask("pull", pull, PullReply)

    async def rows(self, pull: RowsPull) -> RowsPage:
        return await self._ask("rows/pull", pull, RowsPage)

    async def round(self, asked: Round) -> RoundReply:
        return await self._ask("round", asked, RoundReply)

    async def buckets(self, sums: Buckets) -> BucketsReply:
        return await self._ask("rows/buckets", sums, BucketsReply)

    async def wanted(self, wanted: RowsWanted) -> RowsPart:
        return await self._ask("rows/wanted", wanted, RowsPart)

    async def live(self, run: str) -> SimSocket:
        await self._alive()
        return await self._network.link(self._node.name, lambda: self._hub.link(self._node.id, run))

    async def _ask(self, what: str, question: object, kind: type[T]) -> T:
        await self._alive()
        body = encode(question)
        answer = await self._network.call(
            self._node.name, what, body, lambda got: self._hub.serve(self._node.id, what, got)
        )
        await self._alive()
        return read_answer(answer, kind, what)

    async def _alive(self) -> None:
        """A process that is dead says nothing, and hears nothing."""
        if self._life.is_dead:
            await asyncio.get_running_loop().create_future()


class NodeLife(Life):
    """One start of a node's agent."""

    opened: OpenedStore
    records: RecordStore
    rows: SharedRows
    frames: SharedFrames
    pulled: SharedPulled
    program: RowProgram
    sync: Sync

    def __init__(self, node: SimNode, network: Network, hub: SimHub, seed: int) -> None:
        super().__init__(node.storage)
        self._node = node
        self._network = network
        self._hub = hub
        self._seed = seed
        self._task: asyncio.Task[None] | None = None
        self.session = f"{seed:032x}"
        self.counter = 1

    async def open(self) -> None:
        node, clock, chance = self._node, self._node.clock, random.Random(self._seed)
        driver = self.stack.enter_context(self.storage.mounted())
        volume = self.storage.volume
        volume.full = node.is_full
        volume.told = self.power_failed
        disk = SimDisk(volume)
        self.opened = await self.stack.enter_async_context(
            opened(self.storage.now, node.id, clock, disk, driver=driver)
        )
        state, cipher = self.opened.state, NullCipher()
        self.records = RecordStore(
            self.storage.now / "records", disk=disk, clock=clock, cipher=cipher, limits=LIMITS
        )
        await self.records.start()
        self.stack.push_async_callback(self.records.stop)
        self.rows = SharedRows(self.opened.writer, self.opened.reader, clock, node.id, cipher)
        self.frames = SharedFrames(self.rows, cipher, state.log)
        self.pulled = SharedPulled(self.rows, state.log)
        self.program = RowProgram(self.rows, self.frames)
        uplink = SimUplink(node, self, self._network, self._hub)
        stores = Stores(state, self.records)
        reachability = Reachability(state, clock, lambda: HUB_URL)
        connection = connect(uplink, stores, reachability, Logs(), clock, chance, pace=PACE)
        self.sync = Sync(stores, reachability, connection, clock, chance)
        shared = Shared(self.rows, self.frames, self.pulled)
        lanes = RowLanes(
            shared, state, Way(uplink, uplink, together=uplink), clock, chance, pace=PACE
        )
        await self.sync.join(lanes)
        self._task = asyncio.get_running_loop().create_task(self.sync.run(), name=node.name)

    async def end(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            if not self._task.cancelled():
                self._task.result()

    async def publish(self, lane: Lane, values: list[str]) -> None:
        """Accepts records, numbered from `counter` on."""
        now, first = self._node.clock.wall_ns(), self.counter
        self.counter += len(values)
        records = [Record(n, "v", now, value) for n, value in enumerate(values)]
        await self.records.append(
            Submission(
                kind="event" if lane == "event" else "measurement",
                source="test",
                session=self.session,
                first=first,
                accepted_at=now,
                monotonic=self._node.clock.monotonic_ns(),
                quality="synced",
                parts=[(lane, records)],
            )
        )

    async def report(self, workload: str, body: object) -> None:
        """A status of a workload changes."""
        await self.opened.state.put("status", workload, msgspec.json.encode(body))


class SimNode(Machine[NodeLife]):
    """A node over its lives; `id` is what the hub calls it."""

    def __init__(
        self,
        name: str,
        node_id: str,
        storage: Storage,
        network: Network,
        hub: SimHub,
        chance: random.Random,
    ) -> None:
        super().__init__(name, storage, chance, hub.seen)
        self.id = node_id
        self._network = network
        self._hub = hub

    def new_life(self) -> NodeLife:
        return NodeLife(self, self._network, self._hub, self._chance.getrandbits(64))


class _NoRoom(RealDisk):
    def free_bytes(self, path: Path) -> int:  # noqa: ARG002
        return 0


def make_template(directory: Path) -> None:
    """A new node's database."""
    writer = SqliteWriter(directory / "node.db", read_migrations(MIGRATIONS), _NoRoom())
    writer.start()
    writer.stop()
