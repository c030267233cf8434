"""Enrolment: a thousand devices become nodes with certificates, by one token for all of them.

Each device is a key of its own, a request for a certificate, a first connection that asks for the roots and a second one,
which the right root vouches for, that enrols: as `skerry node enroll` does, but all in one process beside the hub's.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from tests.installation import Hub

from bench.figures import Figure, summary
from skerry.testing.running_hub import RunningHub
from skerry.wire.people import TokenRequest

DEVICES = 1000
TOGETHER = 20
TARGET = 60.0


async def run(place: Path) -> list[Figure]:
    """Enrols all of them, TOGETHER at a time."""
    hub = Hub(place)
    await hub.start()
    try:
        seconds, each = await _enrol_all(hub)
    finally:
        await hub.process.end()
    return [
        Figure(
            "enrolment", f"{DEVICES} devices enrol with keys of their own", seconds, "s", TARGET,
            note=f"{TOGETHER} at a time; seconds of one: {summary(each)}",
        )
    ]  # fmt: skip


async def _enrol_all(hub: Hub) -> tuple[float, list[float]]:
    token = (hub.directory / "admin.token").read_text().strip()
    known = RunningHub(hub.url, token, hub.nodes_url)
    bulk = (await known.token(TokenRequest(3600.0, DEVICES))).token
    gate = asyncio.Semaphore(TOGETHER)
    each: list[float] = []

    async def one(number: int) -> None:
        async with gate:
            began = time.perf_counter()
            await known.certify(f"device-{number}", bulk)
            each.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(DEVICES)))
    return time.perf_counter() - began, each
