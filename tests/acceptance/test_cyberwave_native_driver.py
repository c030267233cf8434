"""A driver that is a command on the device itself: what it is started with, and what people are told of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.cyberwave_site import cyberwave_site, native
from tests.driver_image import PROGRAM
from tests.gate_rig import Device

from skerry.testing.waiting import eventually

Json = Mapping[str, Any]

TALKS = """
import time
while True:
    print("WARN: still here", flush=True)
    time.sleep(0.2)
"""


def _heard(port: int, token: str, twin: str) -> tuple[str, Json]:
    """A line of the driver's log, as the driver itself may hear it; it says that it is there, too."""
    with contextlib.closing(Device(port, token)) as device:
        device.connect().subscribe(f"labcyberwave/twin/{twin}/driverlog")
        device.publish(f"labcyberwave/twin/{twin}/telemetry", '{"type": "connected"}', 1)
        while True:
            topic, payload = device.hear()
            said = dict(json.loads(payload))
            if "still here" in said["message"]:
                return topic, said


async def test_a_native_driver_runs_on_the_device_with_the_same_environment(
    short_dir: Path,
) -> None:
    async with cyberwave_site(short_dir) as site:
        site.variables["CYBERWAVE_MQTT_TOPIC_PREFIX"] = "lab"
        site.sign_in()
        data = short_dir / "data"
        data.mkdir()
        talks = PROGRAM.replace("signal.pause()", TALKS)
        [arm] = await site.join(native("python", "-c", talks, LIVES=data / "lives"))
        await site.tells(site.driver(arm), life=1)
        seen = json.loads((data / "seen.json").read_text())
        assert seen["env"]["CYBERWAVE_TWIN_JSON_FILE"] == str(site.config / f"{arm}.json")
        topic, said = await asyncio.to_thread(
            _heard, site.mqtt_port, seen["env"]["CYBERWAVE_API_KEY"], arm
        )
        assert topic == f"labcyberwave/twin/{arm}/driverlog"
        assert (said["message"], said["level"]) == ("WARN: still here", "WARNING")
        assert said["container_name"] == site.driver(arm)
        assert (seen["twin"], seen["writable"]) == ("arm", True)
        assert "cw_of_the_device" not in json.dumps(seen)
        name = f"cyberwave/twin/{arm}/telemetry"

        async def arrives() -> bool:
            return bool(await site.site.hub.rows(name))

        await eventually(arrives, "the hub has what was said with the device's prefix")
        await site.power_off()
