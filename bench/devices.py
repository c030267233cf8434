"""The list of devices: a page of a hundred out of a thousand, as scripts and the page of the hub ask for it.

Every device has enrolled with a certificate and said hello, so that its row is what the hub writes of a real one. Asked is
one page after the other, by one client, over HTTP: by name, by when they were seen, and by a label that half of them have.
Source of the target: specs/edge-platform.md V5 («1000 simulated devices: list p95 < 100 ms»).
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import aiohttp
from tests.installation import Hub

from bench.figures import Figure, summary
from skerry.testing.running_hub import RunningHub
from skerry.wire.codec import decode, encode
from skerry.wire.devices import DevicePage
from skerry.wire.people import TokenRequest
from skerry.wire.sync import Hello

DEVICES = 1000
PAGE = 100
ROUNDS = 30
TOGETHER = 20
TARGET = 100.0
WISHES = {
    "by name": "sort=name",
    "the last seen first": "sort=-last_seen",
    "of one label": "label=half%3Dyes",
}


async def run(place: Path) -> list[Figure]:
    """Fills a hub, and asks for each page ROUNDS times."""
    hub = Hub(place)
    await hub.start()
    try:
        token = (hub.directory / "admin.token").read_text().strip()
        known = RunningHub(hub.url, token, hub.nodes_url)
        await _fill(known)
        return [await _asked(known, name, wish) for name, wish in WISHES.items()]
    finally:
        await hub.process.end()


async def _fill(hub: RunningHub) -> None:
    bulk = (await hub.token(TokenRequest(3600.0, DEVICES))).token
    gate = asyncio.Semaphore(TOGETHER)

    async def one(number: int) -> None:
        labels = {"site": f"s{number % 20}", "half": "yes" if number % 2 else "no"}
        async with gate:
            node = await hub.certify(f"device-{number:04}", bulk, labels=labels)
            hello = Hello((1, 1), f"{number:032x}", "0.1.0", f"boot-{number}", trust=1)
            async with (
                node.session(hub) as session,
                session.post("/sync/v1/hello", data=encode(hello)) as response,
            ):
                assert response.status == 200, await response.text()

    await asyncio.gather(*(one(number) for number in range(DEVICES)))


async def _asked(hub: RunningHub, name: str, wish: str) -> Figure:
    each: list[float] = []
    async with aiohttp.ClientSession(hub.address, headers=hub.person) as person:
        for _ in range(ROUNDS):
            offset, total = 0, 1
            while offset < total:
                began = time.perf_counter()
                path = f"/api/devices?{wish}&limit={PAGE}&offset={offset}"
                async with person.get(path) as response:
                    body = await response.read()
                each.append(1000 * (time.perf_counter() - began))
                page = decode(body, DevicePage, "devices")
                assert len(page.devices) == PAGE
                offset, total = offset + PAGE, page.total
    p95 = sorted(each)[int(len(each) * 0.95)]
    what = f"a page of {PAGE} of {DEVICES} devices, {name}: p95"
    return Figure("devices", what, p95, "ms", TARGET, note=summary(each))
