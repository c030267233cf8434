"""Many nodes in one process that push to hubs as real ones do, and remember what was acknowledged to them."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Sequence

import aiohttp
import msgspec
import psycopg
from tests.installation import Hub

from skerry.core.lanes import extend
from skerry.kit.clock import SystemClock
from skerry.kit.errors import SkerryError, Transient
from skerry.node.hub_addresses import HubAddresses, ranked
from skerry.node.sync.connections import PATIENCE
from skerry.node.sync.link import UNREACHED
from skerry.node.sync.uplink import HttpUplink
from skerry.testing.running_hub import EnrolledNode, RunningHub
from skerry.testing.waiting import eventually
from skerry.wire.codec import encode
from skerry.wire.records import Batch, Record
from skerry.wire.sync import NO_CHAIN, PROTOCOL, Hello, LanePoint, PushUnit

VALUES = 12
BOOT = "boot-1"


def open_many() -> aiohttp.ClientSession:
    """As the node's own session, for all nodes."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=4.0),
        timeout=PATIENCE.of(0),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
    )


class SimulatedNode:
    """Lane «keep» of one node: twelve values every so many seconds, each sent until it is acknowledged."""

    def __init__(
        self,
        number: int,
        enrolled: EnrolledNode,
        hubs: Sequence[str],
        session: aiohttp.ClientSession,
        every: float,
    ) -> None:
        self.addresses = HubAddresses(ranked(enrolled.node_id, hubs))
        self.node_id = enrolled.node_id
        self.acknowledged = 0
        self.acknowledged_at = 0.0
        self.greeted_at = 0.0
        self.links = 0
        self.producing = True
        self.may_lose = False
        """The hub's database may be put back."""
        self.forgotten = 0
        """Up to here it has let go what the hub has in a backup, as it may."""
        self._uplink = HttpUplink(session, self.addresses, enrolled.node_id, enrolled.secret)
        self._session = f"{number:032x}"
        self._every = every
        self._chance = random.Random(number)
        self._clock = SystemClock()
        self._points = [LanePoint(0, NO_CHAIN)]
        self._frames: list[bytes] = []

    @property
    def produced(self) -> int:
        return self._points[-1].n

    async def run(self) -> None:
        """Produces and pushes until `producing` is taken away and all is acknowledged."""
        making = asyncio.create_task(self._make())
        failures = 0
        while self.producing or self.acknowledged < self.produced:
            try:
                reply = await self._uplink.hello(Hello((PROTOCOL, PROTOCOL), "i", "0", BOOT, "r"))
                self.greeted_at = time.monotonic()
                failures = 0
                link = asyncio.create_task(self._link())
                try:
                    await self._push(reply.lanes["keep"], link)
                finally:
                    link.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await link
            except Transient:
                failures += 1
                await asyncio.sleep(UNREACHED.delay(failures, self._chance))
        making.cancel()

    async def _make(self) -> None:
        await asyncio.sleep(self._chance.random() * self._every)
        while self.producing:
            now, last = self._clock.wall_ns(), self._points[-1]
            records = [Record(i, f"v{i}", now, self._chance.random()) for i in range(VALUES)]
            batch = Batch(
                "measurement", "s", self._session, last.n + 1, now, 1, "synced", records
            )  # fmt: skip
            frame = encode(batch)
            self._frames.append(frame)
            self._points.append(LanePoint(last.n + VALUES, extend(last.chain, frame)))
            await asyncio.sleep(self._every)

    async def _push(self, point: LanePoint, link: asyncio.Task[None]) -> None:
        """Until the link ends, as a real node: then only a hello tells how things are."""
        assert point in self._points, "the hub knows another history"
        assert self.may_lose or point.n >= self.acknowledged, "the hub lost what it acknowledged"
        assert point.n >= self.forgotten, "the hub lost what it said is in a backup"
        self.acknowledged = point.n
        index = self._points.index(point)
        while not link.done() and (self.producing or index < len(self._frames)):
            if index == len(self._frames):
                await asyncio.sleep(0.02)
                continue
            before, frames = self._points[index], self._frames[index : index + 20]
            unit = PushUnit(
                "i", "keep", before.n + 1, before.chain, BOOT, [msgspec.Raw(f) for f in frames]
            )
            reply = await self._uplink.push(unit)
            if reply.outcome != "ok":
                raise Transient(f"the hub is at {reply.point.n}: {reply.outcome}")
            index = self._points.index(reply.point)
            self.acknowledged, self.acknowledged_at = reply.point.n, time.monotonic()
            self.forgotten = max(self.forgotten, reply.backed_up_through)

    async def _link(self) -> None:
        with contextlib.suppress(SkerryError):
            socket = await self._uplink.live("r")
            self.links += 1
            try:
                while True:
                    await socket.receive()
            finally:
                self.links -= 1
                await socket.close()


async def enrolled(
    hubs: list[Hub], session: aiohttp.ClientSession, count: int, every: float
) -> list[SimulatedNode]:
    token = (hubs[0].directory / "admin.token").read_text().strip()
    urls = [hub.url for hub in hubs]
    doors = [RunningHub(url, token) for url in urls]
    return [
        SimulatedNode(
            number, await doors[number % len(doors)].enrol(f"n{number}"), urls, session, every
        )
        for number in range(count)
    ]


async def moved(nodes: list[SimulatedNode], dead: str, within: float) -> float:
    """Waits until every node has been greeted elsewhere and has its live link; returns how long that took."""
    since = time.monotonic()

    def all_have() -> bool:
        return all(node.addresses.current != dead and node.links == 1 for node in nodes)

    await eventually(all_have, "every node is at another hub", within)
    return time.monotonic() - since


async def back(nodes: list[SimulatedNode], since: float, within: float) -> None:
    """Waits until every node has had something acknowledged after `since` and has its live link."""

    def all_are() -> bool:
        return all(node.acknowledged_at > since and node.links == 1 for node in nodes)

    await eventually(all_are, "every node pushes again and has its live link", within)


def held(url: str) -> dict[str, tuple[int, int]]:
    """Rows and distinct records of each node."""
    query = (
        "SELECT node_id, count(*), count(DISTINCT (session_id, counter)) "
        "FROM record JOIN series ON series.id = series_id GROUP BY node_id"
    )
    with psycopg.connect(url) as connection:
        return {row[0]: (row[1], row[2]) for row in connection.execute(query).fetchall()}


async def kills(hubs: list[Hub], url: str, count: int, every: float, within: float) -> list[float]:
    times = []
    async with open_many() as session:
        nodes = await enrolled(hubs, session, count, every)
        running = [asyncio.create_task(node.run()) for node in nodes]
        try:
            await back(nodes, 0.0, 300)
            assert {node.addresses.current for node in nodes} == {hub.url for hub in hubs}
            for hub in hubs:
                await asyncio.sleep(2.0)  # some load before the kill
                await hub.kill()
                killed_at = time.monotonic()
                times.append(await moved(nodes, hub.url, within))
                await back(nodes, killed_at, 4 * every + 30)
                await hub.start()
        finally:
            for node in nodes:
                node.producing = False
            async with asyncio.timeout(60):
                await asyncio.gather(*running)
        expected = {node.node_id: (node.produced, node.produced) for node in nodes}
        assert held(url) == expected
    return times
