"""Many simulated nodes in one process, for the hub's bench: `python -m bench.load URL NODES SECONDS`.

NODES is a file with one «node id.secret» a line. Each node does what a real one does: hello, a live link whose pings
it answers, and twelve values every ten seconds on a connection of its own. Prints one JSON line when the measured
seconds begin (how many links are open), and one at their end (latencies in ms, failures).
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from pathlib import Path

import aiohttp
import msgspec

from bench.rig import HostFigures
from skerry.core.lanes import extend
from skerry.kit.errors import SkerryError
from skerry.node.sync.connections import PATIENCE
from skerry.node.sync.uplink import HttpUplink
from skerry.wire.codec import encode
from skerry.wire.records import Batch, Record
from skerry.wire.sync import NO_CHAIN, PROTOCOL, Hello, LanePoint, PushUnit

EVERY = 10.0
RAMP = 30.0
BOOT = "00000000-0000-4000-8000-000000000001"


class Clients:
    """What all nodes share: the session, when the measured time begins and ends, and what was seen in it."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, begins: float, ends: float
    ) -> None:
        self.session = session
        self.url = url
        self.begins = begins
        self.ends = ends
        self.latencies: list[float] = []
        self.links = 0
        self.failures: list[str] = []


class Simulated:
    """One node."""

    def __init__(self, number: int, bearer: str, clients: Clients) -> None:
        node_id, _, secret = bearer.partition(".")
        self._uplink = HttpUplink(clients.session, clients.url, node_id, secret)
        self._clients = clients
        self._source = HostFigures(number)
        self._session = f"{number:032x}"
        self._incarnation = f"bench-{number}"
        self._point = LanePoint(0, NO_CHAIN)
        self._phase = random.Random(number).random()

    async def run(self) -> None:
        """Joins somewhere in the ramp, then reports until the end."""
        clients = self._clients
        await asyncio.sleep(self._phase * RAMP)
        try:
            await self._uplink.hello(Hello((PROTOCOL, PROTOCOL), self._incarnation, "bench", BOOT))
            link = asyncio.create_task(self._link())
            due = time.monotonic()
            while due < clients.ends:
                await asyncio.sleep(due - time.monotonic())
                await self._report(due)
                due += EVERY
            link.cancel()
        except SkerryError as error:
            clients.failures.append(str(error))

    async def _link(self) -> None:
        link = await self._uplink.live()
        self._clients.links += 1
        try:
            while True:
                await link.receive()
        except SkerryError as error:
            self._clients.failures.append(str(error))
        finally:
            self._clients.links -= 1

    async def _report(self, due: float) -> None:
        frame = self._frame()
        count = len(HostFigures.NAMES)
        unit = PushUnit(
            self._incarnation,
            "keep",
            self._point.n + 1,
            self._point.chain,
            BOOT,
            [msgspec.Raw(frame)],
        )
        started = time.monotonic()
        reply = await self._uplink.push(unit)
        ended = time.monotonic()
        self._point = LanePoint(self._point.n + count, extend(self._point.chain, frame))
        assert reply.point == self._point, reply
        if self._clients.begins <= due < self._clients.ends:
            self._clients.latencies.append((ended - started) * 1000)

    def _frame(self) -> bytes:
        now = time.time_ns()
        records = [
            Record(offset, name, now, value)
            for offset, (name, value) in enumerate(self._source.next())
        ]
        return encode(
            Batch(
                "measurement",
                "host-sensors",
                self._session,
                self._point.n + 1,
                now,
                time.monotonic_ns(),
                "synced",
                records,
            )
        )


def _session() -> aiohttp.ClientSession:
    """As the node's own session, but for all nodes: no connection is left for the next push, which is another node's."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, force_close=True),
        timeout=PATIENCE.of(0),
        auto_decompress=False,
        headers={"Accept-Encoding": "zstd"},
        cookie_jar=aiohttp.DummyCookieJar(),
    )


async def main(url: str, nodes: Path, seconds: float) -> None:
    """Joins within the ramp, lets things settle for one interval, then measures."""
    begins = time.monotonic() + RAMP + EVERY
    async with _session() as session:
        clients = Clients(session, url, begins, begins + seconds)
        simulated = [
            Simulated(number, bearer, clients)
            for number, bearer in enumerate(nodes.read_text().split(), 1)
        ]
        running = [asyncio.create_task(node.run()) for node in simulated]
        await asyncio.sleep(begins - time.monotonic())
        print(json.dumps({"links": clients.links}), flush=True)
        await asyncio.sleep(clients.ends - time.monotonic())
        told = {"latencies": clients.latencies, "failures": clients.failures}
        print(json.dumps(told), flush=True)
        await asyncio.gather(*running)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])))
