"""Hub processes die at any moment while they rotate keys under load: everything is readable, and no old key is left."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.hub_rig import HubRig
from tests.postgres import Postgres
from tests.sealed_hub import CANARY, key_ids, raw, rotation, wish

from skerry.hub.store import rows
from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually


class Writer:
    """One process of `tests.sealed_writer`; `acknowledged` collects what it said is durable."""

    def __init__(self, url: str, directory: Path, acknowledged: set[str]) -> None:
        self._words = ("-m", "tests.sealed_writer", url, str(directory))
        self._acknowledged = acknowledged
        self.said = 0

    async def start(self) -> None:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, *self._words, stdout=pipe
        )
        self.said = 0
        self._reading = asyncio.create_task(self._read())
        await eventually(lambda: self.said > 40, "it writes")

    async def die(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        await self._process.wait()
        await self._reading

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            if line.endswith(b"\n") and not line.startswith(b"#"):
                self._acknowledged.add(line.decode().strip())
                self.said += 1


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'hub.db'}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    with server.database() as url:
        yield url


@pytest.mark.guarantee("G1")
@pytest.mark.timeout(120)
async def test_deaths_during_rotation(
    database_url: str, tmp_path: Path, manual_clock: ManualClock
) -> None:
    await live_through(database_url, tmp_path, manual_clock, 3)


@pytest.mark.soak
@pytest.mark.timeout(1800)
async def test_twenty_deaths_during_rotation(
    database_url: str, tmp_path: Path, manual_clock: ManualClock
) -> None:
    await live_through(database_url, tmp_path, manual_clock, 20)


async def live_through(url: str, directory: Path, clock: ManualClock, deaths: int) -> None:
    chance, acknowledged = random.Random(deaths), set[str]()
    count = 2 if url.startswith("postgresql") else 1
    writers = [Writer(url, directory, acknowledged) for _ in range(count)]
    for writer in writers:
        await writer.start()
    for death in range(deaths):
        await asyncio.sleep(chance.random() * 0.5)  # at any moment
        victim = writers[death % count]
        await victim.die()
        if death < deaths - count:
            await victim.start()
    hub = HubRig(url, clock, wish(directory))
    await hub.start()
    try:
        await check(hub, acknowledged)
    finally:
        hub.stop()


async def check(hub: HubRig, acknowledged: set[str]) -> None:
    held = [row.value for row in (await hub.query.records(limit=100_000)).rows]
    assert acknowledged <= set(held)
    assert len(held) == len(set(held))
    shared = await hub.store.read(lambda c: rows.find(c, "n", "status", "w"))
    assert shared is not None
    assert CANARY.encode() in bytes(shared.body)
    before = await hub.store.read(key_ids)
    await rotation(hub).rotate()
    await rotation(hub).once()
    after = await hub.store.read(key_ids)
    assert hub.store.keys is not None
    assert after == {key.id for key in hub.store.keys.keys.keys}
    assert len(after) == 1
    assert not before & after
    assert [row.value for row in (await hub.query.records(limit=100_000)).rows] == held
    assert CANARY.encode() not in raw(hub.url)
