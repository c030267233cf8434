"""Every message that the node's endpoint took arrives at the hub once, over an outage of the hub and ends of broker and agent."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.cyberwave_sdk import FIXTURES
from tests.cyberwave_site import CyberwaveSite, cyberwave_site
from tests.gate_rig import Agent

from skerry.testing.waiting import eventually
from skerry.wire.records import Row

pytestmark = pytest.mark.timeout(240)
GATE, BROKER = "cyberwave-gate", "cyberwave-broker"


class Publisher:
    """The program of the fixtures, with a token of its own."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log

    def said(self) -> list[dict[str, int]]:
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    async def goes_on(self, hundreds: int = 3) -> None:
        """Returns when it has sent some hundred messages more."""

        def last() -> int:
            return max((line.get("hundreds", 0) for line in self.said()), default=0)

        wanted = last() + hundreds
        await eventually(lambda: last() >= wanted, f"{hundreds * 100} more are sent")

    async def end(self) -> dict[str, int]:
        self._process.terminate()
        await self._process.wait()
        return self.said()[-1]


@contextlib.asynccontextmanager
async def publisher(site: CyberwaveSite, twin: str) -> AsyncIterator[Publisher]:
    token = "cw_of_a_test"
    entry = {
        "n": 7,
        "role": "driver",
        "twins": [twin],
        "prefix": "",
        "workload": "counting",
        "environment": "",
        "workflows": [],
    }
    tokens = site.node.directory / "run" / "broker" / "tokens.json"
    tokens.write_text(json.dumps({hashlib.sha256(token.encode()).hexdigest(): entry}))
    os.kill((await site.node.pids())[GATE], signal.SIGKILL)
    log = site.site.directory / "publisher.log"
    environment = {
        "CYBERWAVE_TWIN_UUID": twin,
        "CYBERWAVE_API_KEY": token,
        "CYBERWAVE_MQTT_HOST": "127.0.0.1",
        "CYBERWAVE_MQTT_PORT": str(site.mqtt_port),
    }
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable, FIXTURES / "counting.py", env=environment, stdout=out
        )
    try:
        yield Publisher(process, log)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _captured(site: CyberwaveSite) -> int:
    """How many messages this run of the gate has taken, which tells nobody while an agent is attached."""
    with Agent(site.node.directory / "run" / "broker") as agent:
        return agent.hello().number("last")


def _numbers(rows: list[Row]) -> list[int]:
    return [json.loads(str(row.value))["n"] for row in rows if row.kind != "gap"]


@pytest.mark.guarantee("G1")
async def test_what_the_gate_took_arrives_once(short_dir: Path) -> None:
    async with cyberwave_site(short_dir) as site:
        hub, node = site.site.hub, site.node
        [twin] = await site.join({})
        topic = f"cyberwave/twin/{twin}"
        await eventually(lambda: node.runs(GATE, BROKER), "broker and gate run")
        async with publisher(site, twin) as driver:
            await driver.goes_on()
            await hub.kill()
            await driver.goes_on()
            os.kill((await node.pids())[BROKER], signal.SIGKILL)
            await driver.goes_on()
            await node.kill()
            await driver.goes_on()
            sent = await driver.end()
        await node.start()
        await hub.start()
        await node.ready()

        async def arrived() -> list[int]:
            return _numbers(
                [*await hub.rows(f"{topic}/event"), *await hub.rows(f"{topic}/position")]
            )

        await eventually(lambda: node.link_is("online"), "the node is back")

        async def settled() -> bool:
            before = await arrived()
            await asyncio.sleep(1)
            return bool(before) and await arrived() == before

        await eventually(settled, "nothing more comes")
        found = await arrived()
        await node.kill()
        captured = await asyncio.to_thread(_captured, site)
        assert set(Counter(found).values()) == {1}
        assert len(found) == captured
        assert captured <= sent["sent"]
