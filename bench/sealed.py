"""A hub and nodes that encrypt what they keep, each node on a way of its own whose bytes are counted."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tests.installation import BY_SECRET, Installation, Node, installation, sleeper

from bench import rig
from bench.executions import Execution
from bench.processes import cpu_seconds
from skerry import sdk
from skerry.sdk import Repository
from skerry.testing.chaos_proxy import ChaosProxy, Direction

HUB = "encryption: {storage: {enabled: true}}\n"
WORKER = "worker"
"""The workload in whose name rows are written and read."""

NODE = ("--set", "encryption.storage.enabled=true")
PATIENCE = 300.0

T = TypeVar("T")


class Way(ChaosProxy):
    """Knows between which moments (monotonic seconds) bytes travelled since it was asked to `listen`."""

    asked = answered = 0.0

    def listen(self) -> None:
        """What follows is a question by the node, and its answers."""
        self.asked = self.answered = 0.0

    async def _forward(
        self, data: bytes, writer: asyncio.StreamWriter, direction: Direction
    ) -> None:
        if direction == "up":
            self.asked = self.asked or time.monotonic()
        await super()._forward(data, writer, direction)
        if direction == "down":
            self.answered = time.monotonic()


@dataclass(frozen=True)
class Placed:
    """A node, its way to the hub, and its rows."""

    node: Node
    way: Way
    rows: Repository[Execution]

    @property
    def socket(self) -> str:
        """Where the workload asks its node."""
        return workload_socket(self.node)

    def of(self, cls: type[T]) -> Repository[T]:
        """Rows of another model, as the workload has them."""
        return sdk.repository(cls, socket=self.socket, timeout=PATIENCE)

    async def synced(self, row_id: str) -> bool:
        """Whether a program on the node sees the row as the hub's."""
        return (await asyncio.to_thread(self.rows.info, row_id)).status == "synced"

    async def has(self, row_id: str) -> bool:
        """Whether a program on the node finds the row."""
        return await asyncio.to_thread(self.rows.find, row_id) is not None

    def cut(self) -> None:
        """Until `way.heal`, the hub cannot be reached."""
        self.way.refuse()
        self.way.reset_all()

    @property
    def travelled(self) -> int:
        """Bytes both ways so far, heads of HTTP among them."""
        return sum(self.way.forwarded.values())


class Site:
    """One hub, and nodes as they are asked for."""

    def __init__(self, found: Installation, ending: contextlib.AsyncExitStack) -> None:
        self.found = found
        self._ending = ending

    @property
    def hub_pid(self) -> int:
        process = self.found.hub.process.process
        assert process is not None
        return process.pid

    @property
    def token(self) -> str:
        """The administrator's."""
        return (self.found.hub.directory / "admin.token").read_text().strip()

    def at_hub(self, cls: type[T]) -> Repository[T]:
        """Rows as a person's program has them."""
        return sdk.repository(cls, hub=self.found.hub.url, token=self.token, timeout=PATIENCE)

    async def node(self, name: str, *options: str) -> Placed:
        """One more, online, with the workload WORKER; it shares nothing yet."""
        way = Way("127.0.0.1", self.found.hub.port)
        await self._ending.enter_async_context(way)
        url = f"http://127.0.0.1:{way.port}"
        node = await rig.joined(self.found, name, url, sleeper(WORKER), options=(*NODE, *options))
        rows = sdk.repository(Execution, socket=workload_socket(node), timeout=PATIENCE)
        return Placed(node, way, rows)


def workload_socket(node: Node) -> str:
    """Where WORKER asks its node."""
    return str(node.directory / "run" / "w" / WORKER / "sock")


@contextlib.asynccontextmanager
async def site(place: Path) -> AsyncIterator[Site]:
    """Nothing is left of it at the end."""
    place.mkdir(exist_ok=True)
    async with installation(place, HUB + BY_SECRET) as found, contextlib.AsyncExitStack() as ending:
        yield Site(found, ending)


def sealed(site: Site, needle: bytes) -> bool:
    """Whether `needle`, which all rows have, is in no file of a database."""
    files = [path for path in site.found.directory.rglob("*.db*") if path.is_file()]
    assert len(files) > 1, files
    return not any(needle in path.read_bytes() for path in files)


@dataclass(frozen=True)
class Leg:
    """Rows that travelled: seconds, bytes on the wire both ways, and seconds of processor at node and hub."""

    rows: int
    seconds: float
    size: int
    node_cpu: float
    hub_cpu: float

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.rows / self.seconds

    @property
    def each(self) -> float:
        """Bytes of a row."""
        return self.size / self.rows

    @property
    def work(self) -> str:
        """What a row costs in processor time."""
        node, hub = (cpu / self.rows * 1e6 for cpu in (self.node_cpu, self.hub_cpu))
        return f"processor time a row: node {node:.1f} us, hub {hub:.1f} us"


async def leg(site: Site, placed: Placed, rows: int, done: Callable[[], Awaitable[bool]]) -> Leg:
    """Opens the way of a node that was cut: from its first connection to its last success in a sync that is `done`.

    It is looked only when nothing travels, since looking takes time from what is measured.
    """
    way, pids = placed.way, (rig.agent_pid(placed.node), site.hub_pid)
    accepted = way.accepted
    before, travelled = [cpu_seconds([pid]) for pid in pids], placed.travelled
    way.heal()
    while way.accepted == accepted:  # noqa: ASYNC110 - its moment is what counts
        await asyncio.sleep(0.001)
    started = time.time_ns()
    async with asyncio.timeout(PATIENCE):
        await quiet(placed)
        while not await done():
            await quiet(placed)
        await quiet(placed)
    node_cpu, hub_cpu = (cpu_seconds([pid]) - cpu for pid, cpu in zip(pids, before, strict=True))
    ended = (await placed.node.sync()).last_synced or 0
    assert ended > started, (started, ended)
    size = placed.travelled - travelled
    return Leg(rows, (ended - started) / 1e9, size, node_cpu, hub_cpu)


async def quiet(placed: Placed, seconds: float = 0.1) -> None:
    """Waits until nothing has travelled for so long."""
    seen, since = placed.travelled, time.monotonic()
    while time.monotonic() - since < seconds:
        await asyncio.sleep(0.005)
        if placed.travelled != seen:
            seen, since = placed.travelled, time.monotonic()
