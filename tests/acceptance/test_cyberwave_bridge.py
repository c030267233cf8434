"""Every message that the node's endpoint took arrives at the hub once, over an outage of the hub and ends of broker and agent."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest
from tests.cyberwave_sdk import FIXTURES
from tests.cyberwave_site import DEVICE, CyberwaveSite, cyberwave_site, native
from tests.gate_rig import Agent, until

from skerry.keeper.protocol import Message
from skerry.kit.errors import SkerryError
from skerry.node.twins.presence import presence_entity
from skerry.testing.waiting import eventually
from skerry.wire.rows import RowView

pytestmark = pytest.mark.timeout(240)
BROKER = "cyberwave-broker"


async def goes_on(site: CyberwaveSite, driver: str, hundreds: int = 1) -> None:
    """Returns when the driver has sent some hundred messages more."""

    def last() -> int:
        return max((int(line.get("hundreds", 0)) for line in site.said(driver)), default=0)

    wanted = last() + hundreds
    await eventually(lambda: last() >= wanted, f"{hundreds * 100} more are sent")


async def end(site: CyberwaveSite, driver: str, pid: int) -> int:
    """Ends the driver while nobody is there to start it again; returns how many messages its client has sent."""
    os.kill(pid, signal.SIGTERM)
    await site.tells(driver, dropped=0)
    return int(next(line["sent"] for line in site.said(driver) if "sent" in line))


def _captured(site: CyberwaveSite) -> int:
    """How many messages this run of the gate has taken, which it tells nobody else while an agent is attached.

    While a client is there it may still have something to read.
    """
    said: list[Message] = []

    def is_left() -> bool:
        with Agent(site.node.directory / "run" / "broker") as agent:
            said[:] = [agent.hello()]
        return said[0].number("clients") == 0

    until(is_left, "the gate has no client any more")
    return said[0].number("last")


async def arrived(site: CyberwaveSite, twin: str, pid: int) -> list[int]:
    """The numbers that this process has given to what is at the hub."""
    rows = []
    for kind in ("event", "position"):
        rows += await site.site.hub.rows(f"cyberwave/twin/{twin}/{kind}")
    bodies = [json.loads(str(row.value)) for row in rows if row.kind != "gap"]
    assert all(body["x"] is None for body in bodies)
    return [body["n"] for body in bodies if body["pid"] == pid]


@pytest.mark.guarantee("G1")
@pytest.mark.guarantee("G8")
async def test_what_the_gate_took_arrives_once(short_dir: Path) -> None:
    async with cyberwave_site(short_dir) as site:
        hub, node = site.site.hub, site.node
        site.variables = {"CYBERWAVE_MQTT_TOPIC_PREFIX": "lab-", "CYBERWAVE_ENVIRONMENT": "dev"}
        site.sign_in()
        [twin] = await site.join(native(sys.executable, FIXTURES / "counting.py"))
        site.sign_in()
        driver = site.driver(twin)
        await goes_on(site, driver)
        broker, pid = await node.pid(BROKER), await node.pid(driver)
        await hub.kill()
        await goes_on(site, driver)
        os.kill(broker, signal.SIGKILL)
        await goes_on(site, driver)
        await node.kill()
        await goes_on(site, driver)
        await node.start()
        await goes_on(site, driver)
        await hub.start()
        await goes_on(site, driver)
        assert await node.pid(driver) == pid
        await node.kill()
        sent = await end(site, driver, pid)
        captured = await asyncio.to_thread(_captured, site)
        await node.start()

        async def all_there() -> bool:
            await asyncio.sleep(0.5)  # the hub has better things to do than to answer this
            return len(await arrived(site, twin, pid)) >= captured

        await eventually(all_there, f"{captured} have arrived", timeout=90)
        found = await arrived(site, twin, pid)
        assert Counter(Counter(found).values()) == {1: captured}
        assert captured <= sent
        assert site.count(driver, connected=0) >= 2
        await site.power_off()


async def test_a_device_is_there_before_its_drivers_are(short_dir: Path) -> None:
    async with cyberwave_site(short_dir) as site:
        [twin] = await site.join({})  # nobody has signed in, so no driver is started
        path = f"/api/v1/entities/{presence_entity(site.environment)}/rows/{twin}"

        async def told() -> bool:
            async with site.site.hub.api() as api:
                try:
                    body = (await api.get(path, RowView)).body
                except SkerryError:
                    return False
            return {"online": True, "edge_id": DEVICE}.items() <= json.loads(bytes(body)).items()

        await eventually(told, "the hub knows that the twin's device is there")
