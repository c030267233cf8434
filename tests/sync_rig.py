"""A node with real stores and a real Sync, which tests put next to a hub, kill, copy and put back."""

import asyncio
import math
import os
import random
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec

from skerry.kit.clock import Clock
from skerry.kit.disk import Disk, RealDisk
from skerry.kit.errors import NotFound
from skerry.kit.sealing.cipher import NullCipher
from skerry.kit.sqlite import SqliteWriter, read_migrations
from skerry.node.store import state as state_module
from skerry.node.store.record_jobs import Limits, Submission
from skerry.node.store.records import RecordStore
from skerry.node.store.state import NodeStore
from skerry.node.sync.feeds import MAX_BYTES
from skerry.node.sync.pace import Pace, Tell, untold
from skerry.node.sync.reachability import Reachability
from skerry.node.sync.sync import Hub, Stores, Sync, connect
from skerry.testing.fake_hub import NODE_ID, FakeHub
from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually
from skerry.wire.logs import LogQuery
from skerry.wire.records import Record
from skerry.wire.sync import Lane

MIGRATIONS = read_migrations(Path(state_module.__file__).with_name("migrations"))
SMALL = Limits(segment=4096, reserve=0)
HUB_URL = "http://hub.test"
A = "a" * 32
B = "b" * 32
"""Two publishers' sessions."""


class Logs:
    """Log lines in memory, by workload."""

    def __init__(self, lines: dict[str, list[str]] | None = None) -> None:
        self.lines = lines or {}
        self.asked: list[tuple[str, LogQuery]] = []

    def read(self, workload: str, query: LogQuery) -> AsyncIterator[str]:
        self.asked.append((workload, query))
        if workload not in self.lines:
            raise NotFound(f"cannot read logs: there is no workload «{workload}»")
        return self._lines(workload)

    async def _lines(self, workload: str) -> AsyncIterator[str]:
        for line in self.lines[workload]:
            yield line


class NodeRig:
    """One node in `directory`. `start` and `kill` may follow each other for ever."""

    def __init__(
        self,
        directory: Path,
        hub: Hub,
        clock: Clock,
        *,
        disk: Disk | None = None,
        limits: Limits = SMALL,
        pace: Pace | None = None,
        address: Callable[[], str] = lambda: HUB_URL,
        most: int = MAX_BYTES,
        tell: Tell = untold,
    ) -> None:
        self._most = most
        self._tell = tell
        self._pace = pace or Pace()
        self.directory = directory
        self.logs = Logs()
        self.limits = limits
        self._hub = hub
        self._address = address
        self._clock = clock
        self._disk = disk or RealDisk()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Opens the stores and runs the sync."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._writer = SqliteWriter(self.directory / "node.db", MIGRATIONS, self._disk)
        self._writer.start()
        self.store = NodeStore(
            self.directory / "node.db", self._writer, self._clock, "node-1", NullCipher()
        )
        await self.store.open()
        await self.store.set_fact("node_id", NODE_ID)
        self.records = RecordStore(
            self.directory / "records",
            disk=self._disk,
            clock=self._clock,
            cipher=NullCipher(),
            limits=self.limits,
        )
        await self.records.start()
        chance = random.Random(7)
        stores = Stores(self.store, self.records)
        self.reachability = Reachability(self.store, self._clock, self._address)
        connection = connect(
            self._hub, stores, self.reachability, self.logs, self._clock, chance, pace=self._pace,
            most=self._most, tell=self._tell,
        )  # fmt: skip
        self.sync = Sync(stores, self.reachability, connection, self._clock, chance)

    def sync_on(self) -> None:
        """Talks to the hub from now on."""
        if self._task is None:
            self._task = asyncio.create_task(self.sync.run(), name="sync")

    async def sync_off(self) -> None:
        """Ends talking as a shutdown does."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            if not self._task.cancelled():
                self._task.result()
            self._task = None

    async def stop(self) -> None:
        """A shutdown."""
        await self.sync_off()
        self.store.close()
        await self.records.stop()
        await asyncio.to_thread(self._writer.stop)

    async def crash(self, scratch: Path) -> None:
        """A kill: what a shutdown would still have kept is lost. The state goes through `scratch`; leaves it stopped."""
        self._writer.submit(lambda _: None, label="test").result()  # nothing is half-written now
        self.copy_to(scratch)
        await self.stop()
        self.put_back(scratch)

    async def publish(
        self, session: str, first: int, count: int, lane: Lane = "keep", *, noise: int = 0
    ) -> None:
        """Accepts records whose values are their counters, with so many random characters each."""
        now = self._clock.wall_ns()
        records = [
            Record(offset, "v", now, first + offset, {"noise": os.urandom(noise // 2).hex()})
            for offset in range(count)
        ]
        await self.records.append(
            Submission(
                kind="event" if lane == "event" else "measurement",
                source="test",
                session=session,
                first=first,
                accepted_at=now,
                monotonic=self._clock.monotonic_ns(),
                quality="synced",
                parts=[(lane, records)],
            )
        )

    def refusals(self, lane: Lane) -> int:
        """How often in a row the hub refused the lane's next unit, as far as the node knows."""
        assert self.sync.connection is not None
        return self.sync.connection.pushes[lane].refusals

    def settled(self, lane: Lane) -> int:
        """Up to where the hub's answers have been taken over whole, the lines of the log too."""
        assert self.sync.connection is not None
        return self.sync.connection.pushes[lane].settled.n

    async def report(self, workload: str, body: object) -> None:
        """A status of a workload changes."""
        await self.store.put("status", workload, msgspec.json.encode(body))

    def copy_to(self, target: Path) -> None:
        """Copies the data directory; only while stopped."""
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.directory, target)

    def put_back(self, source: Path) -> None:
        """Replaces the data directory by a copy; only while stopped."""
        shutil.rmtree(self.directory)
        shutil.copytree(source, self.directory)


def counters(hub: FakeHub, session: str) -> list[int]:
    """What the hub has of a session."""
    return sorted(counter for held, counter in hub.records if held == session)


async def has(hub: FakeHub, session: str, through: int, first: int = 1) -> None:
    """Returns when the hub has these, and no others."""
    expected = list(range(first, through + 1))
    await eventually(
        lambda: counters(hub, session) == expected, f"{through} records of {session[0]} at the hub"
    )


async def passing(clock: ManualClock, seconds: float = math.inf) -> None:
    """Lets time pass in small steps, for as long as the caller does not cancel it."""
    step = 0.25
    passed = 0.0
    while passed < seconds:
        clock.advance(step)
        passed += step
        await asyncio.sleep(0.001)


async def status_of(node: NodeRig, state: str) -> None:
    await eventually(lambda: node.reachability.status.state == state, f"the node is {state}")
