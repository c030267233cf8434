"""An agent that is killed while drivers ask it by REST: what was answered is there once, what was cut at most once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from tests.gate_rig import GateRig
from tests.rest_rig import DRIVER
from tests.twin_bodies import ARM

ROUNDS, AT_ONCE = 8, 4
CUT = 502
HEADERS = {"Authorization": f"Bearer {DRIVER}"}


@contextlib.asynccontextmanager
async def agent(directory: Path, rest: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """One that answers, until it is killed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.rest_rig", str(directory), str(rest),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"listening\n"
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def post(session: aiohttp.ClientSession, name: str) -> int:
    """The status of the one answer; nothing is asked twice. The gate ends connections that are idle when the agent ends."""
    body = {"name": name, "twin_uuid": ARM}
    try:
        async with session.post("/api/v1/alerts", json=body, headers=HEADERS) as response:
            await response.read()
            return response.status
    except aiohttp.ClientConnectionError:
        return CUT


@pytest.mark.guarantee("G1")
async def test_an_agent_killed_in_the_middle_of_posts(short_dir: Path, memory_dir: Path) -> None:
    chance = random.Random(os.getpid())
    node = short_dir / "node"
    node.mkdir()
    statuses: dict[str, int] = {}
    with GateRig(short_dir, memory_dir) as gate:
        await asyncio.to_thread(gate.start_gate)
        connector = aiohttp.TCPConnector(limit=AT_ONCE)
        address = f"http://127.0.0.1:{gate.rest_port}"
        async with aiohttp.ClientSession(address, connector=connector) as session:

            async def ask(name: str) -> None:
                statuses[name] = await post(session, name)

            asked: list[asyncio.Task[None]] = []
            for number in range(ROUNDS):
                async with agent(node, gate.run / "rest") as process:
                    # The first of these wait since the agent before was killed.
                    asked += [asyncio.create_task(ask(f"{number} {n}")) for n in range(12)]
                    await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
                    await asyncio.sleep(chance.random() * 0.02)
                    process.kill()
                    await process.wait()
                asked = [one for one in asked if not one.done()]
                asked += [asyncio.create_task(ask(f"{number} away {n}")) for n in range(2)]
            async with agent(node, gate.run / "rest"):
                await asyncio.gather(*asked)
                async with session.get("/api/v1/alerts?limit=500", headers=HEADERS) as response:
                    found = await response.json()
    made = Counter(alert["name"] for alert in found)
    assert len(statuses) == ROUNDS * 14
    assert set(statuses.values()) <= {200, CUT}
    assert all(made[name] == 1 for name, status in statuses.items() if status == 200)
    assert set(made.values()) == {1}
    assert {alert["dedupe_count"] for alert in found} == {0}
    assert Counter(statuses.values())[200] > ROUNDS
