"""Signs of life before drivers run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.driver_rig import ARM, DEVICE, OTHER, device, twin, with_config

from skerry.kit.bell import Bell
from skerry.kit.errors import Transient
from skerry.node.drivers.health import PATIENCE, BootstrapHealth
from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually


class Site:
    """Two twins, and a broker that may be away."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.device = device(Path("/srv/nowhere"))
        self.twins = [twin(), twin(OTHER)]
        self.running: set[str] = set()
        self.changes = Bell()
        self.away = False
        self.tries = 0
        self.told: list[tuple[str, dict[str, object]]] = []
        self.health = BootstrapHealth(
            self, lambda: self.twins, lambda: self.device, lambda: self.running, self.changes, self.clock
        )  # fmt: skip

    async def publish(self, topic: str, payload: bytes, qos: int) -> None:
        self.tries += 1
        assert qos == 0
        if self.away:
            raise Transient("the gate is not there")
        self.told.append((topic, json.loads(payload)))

    async def after(self, seconds: float) -> int:
        """How many were told once so much more time has passed."""
        await self.rests()
        self.clock.advance(seconds)
        await self.rests()
        return len(self.told)

    async def rests(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    @asynccontextmanager
    async def runs(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.health.run())
        await self.rests()
        yield
        task.cancel()


async def test_case_7_every_twin_is_heard_of_each_five_seconds_until_a_driver_runs() -> None:
    site = Site()
    assert site.health.holds()
    async with site.runs():
        assert [topic for topic, _ in site.told] == [
            f"cyberwave/twin/{uuid}/edge_health" for uuid in (ARM, OTHER)
        ]
        payload = site.told[0][1]
        assert (payload["type"], payload["edge_id"], payload["twin_uuid"]) == (
            "edge_health",
            DEVICE,
            ARM,
        )
        assert (payload["streams"], payload["stream_count"], payload["source_type"]) == (
            {},
            0,
            "edge",
        )
        assert not site.health.holds()
        assert await site.after(4.9) == 2
        assert await site.after(0.1) == 4
        assert await site.after(5) == 6
        site.running = {"driver"}
        site.changes.ring()
        assert await site.after(60) == 6
        site.running = (
            set()
        )  # its own signs of life stop with it, and that is what people are to see
        site.changes.ring()
        assert await site.after(60) == 6
        site.health.again()
        assert await site.after(0) == 8


async def test_interval_and_prefix_are_the_devices() -> None:
    site = Site()
    variables = {
        "CYBERWAVE_EDGE_HEALTH_PUBLISH_INTERVAL_SECONDS": "2",
        "CYBERWAVE_ENVIRONMENT": "Dev",
        "CYBERWAVE_TOPIC_PREFIX": "lab-",
    }
    site.device = with_config(site.device, variables=variables)
    async with site.runs():
        assert site.told[0][0] == f"lab-cyberwave/twin/{ARM}/edge_health"
        assert await site.after(2) == 4


async def test_without_a_broker_it_tries_on_and_holds_no_driver_up_for_long() -> None:
    site = Site()
    site.away = True
    async with site.runs():
        for _ in range(3):
            await site.after(0.2)
        assert site.tries >= 3
        assert site.health.holds()
        assert site.health.told.count == 0
        await site.after(PATIENCE)
        assert not site.health.holds()
        assert site.health.told.count == 1
        site.away = False
        assert await site.after(0.2) == 2


async def test_where_a_driver_runs_already_nothing_is_told() -> None:
    site = Site()
    site.running = {"driver"}
    async with site.runs():
        assert await site.after(30) == 0
        assert not site.health.holds()


async def test_a_device_that_gets_its_first_twin_later_is_heard_of_then() -> None:
    site = Site()
    twins, site.twins = site.twins, []
    async with site.runs():
        assert await site.after(5) == 0
        site.twins = twins
        site.changes.ring()
        await eventually(lambda: len(site.told) == 2, "both are told")


async def test_its_topics_begin_as_the_device_says() -> None:
    site = Site()
    site.device = with_config(site.device, variables={"CYBERWAVE_MQTT_TOPIC_PREFIX": "lab"})
    async with site.runs():
        assert await site.after(0) == 2
    assert site.told[0][0] == f"labcyberwave/twin/{ARM}/edge_health"
