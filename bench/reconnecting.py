"""Many nodes in one process that come back at once, for the sync bench: `python -m bench.reconnecting URL NODES ENTITY`.

NODES is a file with one «node id.secret» a line. Each node speaks with the agent's own modules on connections of its own, and does
what an agent does: hello, live link, hello, pushes, pulls, and a pull again whenever the link brings news. A node in ten has
edited a row meanwhile, every node has twelve values. Prints {"ready": …} when all have the entity's rows; a line on its input
lets them come back; prints {"times", "rows", "failures"} when every one of them has everything.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec

from bench import rig
from skerry.kit.errors import Busy, SkerryError, Transient
from skerry.node.sync.connections import open_session
from skerry.node.sync.link import UNREACHED, when_asked
from skerry.node.sync.row_hub import HttpRowHub
from skerry.node.sync.uplink import HttpUplink
from skerry.wire.codec import encode
from skerry.wire.link import News
from skerry.wire.records import Batch, Record
from skerry.wire.shared import DECLARATIONS, Edit, EditFrame, RowsPull
from skerry.wire.sync import NO_CHAIN, PROTOCOL, Hello, Lane, Pull, PushUnit

TOGETHER = 20
EDITORS = 10
WITHIN = 120.0
BOOT = "00000000-0000-4000-8000-000000000001"


class Fleet:
    """What all nodes share: where the hub is, what they pull, and what went wrong."""

    def __init__(self, url: str, entity: str) -> None:
        self.url = url
        self.entity = entity
        self.busy = 0
        self.failures: list[str] = []


class Simulated:
    """One node. `digest` is the hub's as it heard it last, at `heard` (monotonic seconds)."""

    def __init__(self, number: int, bearer: str, fleet: Fleet) -> None:
        self._node_id, _, self._secret = bearer.partition(".")
        self._number = number
        self._fleet = fleet
        self._chance = random.Random(number)
        self._cursors = dict.fromkeys((DECLARATIONS, fleet.entity), "")
        self._news = asyncio.Event()
        self._at = time.time_ns()
        self.pushed = False
        self.rows = 0
        self.pulls = 0
        self.digest = ""
        self.heard = 0.0
        self.linked = 0.0

    async def first(self, gate: asyncio.Semaphore) -> None:
        """Takes everything, long before."""
        async with gate, open_session() as session:
            uplink = self._uplink(session)
            await self._greet(uplink)
            await uplink.pull(Pull(None, ""))
            await self._pull(HttpRowHub(uplink))

    async def back(self, ended: asyncio.Event) -> None:
        """Comes back, sends what it has and takes what there is; stays until all have `ended`. A failure begins anew."""
        failures = 0
        while not ended.is_set():
            try:
                await self._once(ended)
            except Transient as error:
                failures += 1
                self._fleet.failures.append(str(error))
                await asyncio.sleep(UNREACHED.delay(failures, self._chance))

    async def _once(self, ended: asyncio.Event) -> None:
        async with open_session() as session:
            uplink = self._uplink(session)
            await self._greet(uplink)
            loops = [
                asyncio.create_task(loop)
                for loop in (self._link(uplink), self._pulling(uplink), self._push(uplink, ended))
            ]
            try:
                await asyncio.wait(loops, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in loops:
                    task.cancel()
                for outcome in await asyncio.gather(*loops, return_exceptions=True):
                    if isinstance(outcome, SkerryError):
                        raise outcome

    def _uplink(self, session: object) -> HttpUplink:
        return HttpUplink(session, self._fleet.url, self._node_id, self._secret)  # type: ignore[arg-type]

    async def _greet(self, uplink: HttpUplink) -> None:
        """As `node.sync.link`: a hub that is too busy for hellos is asked again, and nothing else is begun anew."""
        hello = Hello((PROTOCOL, PROTOCOL), "i", "bench", BOOT, f"run-{self._number}")
        while True:
            try:
                await uplink.hello(hello)
            except Busy as busy:
                self._fleet.busy += 1
                await asyncio.sleep(when_asked(busy, self._chance))
            else:
                return

    async def _link(self, uplink: HttpUplink) -> None:
        socket = await uplink.live(f"run-{self._number}")
        self.linked = time.monotonic()
        try:
            await self._greet(uplink)
            self._news.set()  # what changed before this link stood was told to nobody
            while True:
                if isinstance(await socket.receive(), News):
                    self._news.set()
        finally:
            await socket.close()

    async def _pulling(self, uplink: HttpUplink) -> None:
        await uplink.pull(Pull(None, ""))
        rows = HttpRowHub(uplink)
        while True:
            self._news.clear()
            await self._pull(rows)
            await self._news.wait()

    async def _pull(self, rows: HttpRowHub) -> None:
        cursors = dict(self._cursors)
        while cursors:
            self.pulls += 1
            page = await rows.rows(RowsPull(cursors))
            for part in page.parts:
                self.rows += len(part.rows)
                self._cursors[part.entity] = part.cursor
                if part.more:
                    cursors[part.entity] = part.cursor
                    continue
                cursors.pop(part.entity)
                if part.entity == self._fleet.entity:
                    self.digest, self.heard = part.digest, time.monotonic()

    async def _push(self, uplink: HttpUplink, ended: asyncio.Event) -> None:
        now, values = self._at, rig.HostFigures(self._number).next()
        records = [Record(offset, name, now, value) for offset, (name, value) in enumerate(values)]
        batch = Batch(
            "measurement", "host-sensors", f"{self._number:032x}", 1, now, 1, "synced", records
        )
        await uplink.push(_unit("keep", encode(batch)))
        if self._number % EDITORS == 0:
            edit = Edit(f"edit-{self._number}", 0, now // 10**6 << 16, "put", msgspec.Raw(b"{}"))
            await uplink.push(_unit("rows-medium", encode(EditFrame(self._fleet.entity, [edit]))))
            self._news.set()  # an edit of its own is not told to it, and its digest is older
        self.pushed = True
        await ended.wait()


def _unit(lane: Lane, frame: bytes) -> PushUnit:
    return PushUnit("i", lane, 1, NO_CHAIN, BOOT, [msgspec.Raw(frame)])


async def _all_have(nodes: Sequence[Simulated], begun: float) -> bool:
    """Whether all have pushed and have their links, and the hub told all of them one and the same digest."""
    there = all(node.pushed and node.linked > begun and node.digest for node in nodes)
    return there and len({node.digest for node in nodes}) == 1


async def main(url: str, bearers: Sequence[str], entity: str) -> None:
    """Prints as the module says."""
    fleet, gate = Fleet(url, entity), asyncio.Semaphore(TOGETHER)
    nodes = [Simulated(number, bearer, fleet) for number, bearer in enumerate(bearers)]
    await asyncio.gather(*(node.first(gate) for node in nodes))
    print(json.dumps({"ready": len(nodes)}), flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    for node in nodes:
        node.digest, node.rows, node.pulls = "", 0, 0
    ended, begun = asyncio.Event(), time.monotonic()
    running = [asyncio.create_task(node.back(ended)) for node in nodes]
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(WITHIN):
            await rig.until(partial(_all_have, nodes, begun), 0.05)
    had_all = await _all_have(nodes, begun)
    ended.set()
    await asyncio.gather(*running)
    times = [max(node.heard, node.linked) - begun for node in nodes]
    rows = sum(node.rows for node in nodes)
    told = {
        "all": had_all,
        "times": times,
        "rows": rows,
        "pulls": sum(node.pulls for node in nodes),
        "busy": fleet.busy,
        "failures": fleet.failures,
    }
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]).read_text().split(), sys.argv[3]))
