"""What people are told of a device of Cyberwave's, and where: its native drivers, their logs, what is missing, what is wrong."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.command_line import CommandLine
from tests.container_site import state
from tests.cyberwave_site import CyberwaveSite, cyberwave_site, native
from tests.driver_image import PROGRAM
from tests.gate_rig import MOSQUITTO, Device

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


async def _alerts_of(site: CyberwaveSite, kind: str) -> list[Json]:
    return [one for one in await site.alerts() if one["alert_type"] == kind]


async def test_a_broken_file_and_a_missing_broker_are_told_until_they_are_right(
    short_dir: Path,
) -> None:
    async with cyberwave_site(short_dir) as site:
        site.sign_in()
        program = short_dir / "bin" / "mosquitto"
        site.node.options += ["--set", f"cyberwave.mosquitto={program}"]
        shell = CommandLine(site.site)
        [arm] = await site.join({"name": "arm"})
        words = f"cyberwave.mosquitto is {program}, which is no program"

        async def told(kind: str, said: str, *, active: bool) -> bool:
            found = await _alerts_of(site, kind)
            return [
                (one["twin_uuid"], one["status"] == "active", said in one["description"])
                for one in found
            ] == [(arm, active, True)]

        file = site.config / f"{arm}.json"
        good = file.read_text()
        file.write_text(good[:50])
        await eventually(lambda: told("twin_file", str(file), active=True), "the file is told of")
        file.write_text(good)
        await eventually(lambda: told("twin_file", str(file), active=False), "it is right again")
        await eventually(lambda: told("mqtt_broker", words, active=True), "the hub has the alert")
        status = await shell.run("node", "status")
        assert status.code == 1
        assert f"✗ MQTT broker: {words}" in status.out
        doctor = await shell.run("doctor")
        assert doctor.code == 1
        assert words in doctor.out
        assert "Set it to where mosquitto is" in doctor.out
        program.parent.mkdir()
        program.symlink_to(MOSQUITTO)
        await eventually(lambda: told("mqtt_broker", words, active=False), "the alert is over")
        await eventually(lambda: site.node.runs("cyberwave-broker"), "the broker runs")
        await site.power_off()


async def test_a_driver_that_flaps_is_started_by_a_person_here_or_at_the_hub(
    short_dir: Path,
) -> None:
    async with cyberwave_site(short_dir) as site:
        site.sign_in()
        data = short_dir / "data"
        data.mkdir()
        shell = CommandLine(site.site)
        # Its fifth end counts with its sixth start, which is taken back before its program has said anything, or after that.
        twin = native("python", "-c", PROGRAM, LIVES=data / "lives", CYBERWAVE_ENDS="6")
        [arm] = await site.join(twin)
        driver = site.driver(arm)

        async def is_stopped() -> bool:
            shown = await state(site.node, driver)
            return shown is not None and shown.phase == "stopped"

        async def loops(*, active: bool) -> bool:
            found = [
                one for one in await site.alerts() if one["alert_type"] == "driver_restart_loop"
            ]
            return [one["status"] == "active" for one in found] == [active]

        await eventually(lambda: loops(active=True), "it is told that it flaps", 60)
        assert ", flapping for" in (await shell.run("node", "status")).out
        await eventually(is_stopped, "it is stopped")
        assert site.count(driver) in {5, 6}
        unknown = await shell.run("node", "start-driver", "f" * 8 + arm[8:])
        assert unknown.code == 1
        assert "no driver on this device" in unknown.err
        started = await shell.run("node", "start-driver", arm)
        assert started.code == 0, started.err
        assert "is started" in started.out
        await site.tells(driver, life=7)
        await eventually(lambda: loops(active=False), "the alert is over")
        assert "flapping" not in (await shell.run("node", "status")).out
        lives = site.count(driver)
        ordered = await shell.run("twin", "start-driver", site.node.name, arm)
        assert ordered.code == 0, ordered.err
        assert "it was not flapping" in ordered.out
        assert site.count(driver) == lives
        await site.power_off()
