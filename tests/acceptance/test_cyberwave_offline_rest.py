"""A driver on the unmodified SDK under a real agent that has no hub from its first second: what it asks, tells and reads back."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cyberwave_sdk import PYTHON, Sdk
from tests.cyberwave_site import cyberwave_site, native

from skerry.testing.waiting import eventually

pytestmark = pytest.mark.timeout(400)
PATIENCE = 120.0

PROGRAM = """
import asyncio, json
from cyberwave.driver import BaseDriver

class Arm(BaseDriver):
    REGISTRY_ID = "acme/arm"
    TICK_RATE_HZ = 2.0

    @classmethod
    def create(cls):
        return cls()

    async def on_configure(self): pass
    async def on_connect_to_device(self): pass
    async def on_register_callbacks(self): pass
    async def on_activate(self): pass
    async def on_shutdown(self): pass

    async def on_tick(self):
        self.client.mqtt.update_joint_state(self.twin_uuid, "pan", position=0.5)
        found = await asyncio.to_thread(self.client.twins.get_joint_states, self.twin_uuid)
        print(json.dumps({"joints": dict(zip(found.name, found.position))}), flush=True)

asyncio.run(Arm.create_and_run_async())
"""


@pytest.mark.guarantee("G2")
async def test_case_49_a_joint_that_a_driver_moves_is_read_back_and_its_alerts_reach_the_hub(
    short_dir: Path, cyberwave_sdk: Sdk
) -> None:
    assert cyberwave_sdk.packages
    program = short_dir / "arm.py"
    program.write_text(PROGRAM)
    async with cyberwave_site(short_dir) as site:
        [twin] = await site.join(native(PYTHON, program))
        await site.power_off()
        await site.boot_without_hub()
        driver = site.driver(twin)
        await eventually(
            lambda: site.count(driver, joints={"pan": 0.5}) > 0, "it reads its joint back", PATIENCE
        )
        await site.node.kill()
        before = site.count(driver, joints={"pan": 0.5})
        await site.node.start()
        await eventually(
            lambda: site.count(driver, joints={"pan": 0.5}) > before,
            "it goes on with the next agent",
            PATIENCE,
        )
        await site.site.hub.start()

        async def told() -> bool:
            names = [each["name"] for each in await site.alerts()]
            return names.count("Driver active") == 1

        await eventually(told, "the hub has the driver's alert, once")
        [active] = [each for each in await site.alerts() if each["name"] == "Driver active"]
        assert (active["twin_uuid"], active["alert_type"]) == (twin, "driver_lifecycle")
