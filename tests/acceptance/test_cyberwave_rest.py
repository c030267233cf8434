"""Cyberwave's own SDK, unmodified, against a node that has never had a hub: its gate, its broker, its REST."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.cyberwave_sdk import Sdk
from tests.gate_rig import GateRig
from tests.rest_rig import DRIVER, DRIVER_WORKLOAD, RestSite, rest_site
from tests.twin_bodies import ARM, ENVIRONMENT

from skerry.kit.clock import SystemClock
from skerry.node.broker.link import GateLink
from skerry.testing.waiting import eventually

DRIVER_PROGRAM = """
import asyncio
from cyberwave.driver import BaseDriver

class Arm(BaseDriver):
    REGISTRY_ID = "x/arm"

    @classmethod
    def create(cls):
        return cls()

    async def on_configure(self): pass
    async def on_connect_to_device(self): pass
    async def on_register_callbacks(self): pass
    async def on_activate(self): pass
    async def on_shutdown(self): pass
    async def on_tick(self): pass

asyncio.run(Arm.create_and_run_async())
"""


class SdkSite:
    """A gate with its broker, and the agent's REST behind it."""

    def __init__(self, gate: GateRig, rest: RestSite, link: GateLink, sdk: Sdk) -> None:
        self.gate = gate
        self.rest = rest
        self.link = link
        self._sdk = sdk

    def environment(self) -> dict[str, str]:
        """What a driver's process sees."""
        return {
            "HOME": "/nonexistent",
            "PATH": os.environ["PATH"],
            "CYBERWAVE_API_KEY": DRIVER,
            "CYBERWAVE_BASE_URL": f"http://127.0.0.1:{self.gate.rest_port}",
            "CYBERWAVE_MQTT_HOST": "127.0.0.1",
            "CYBERWAVE_MQTT_PORT": str(self.gate.mqtt_port),
            "CYBERWAVE_TWIN_UUID": ARM,
        }

    async def ask(self, script: str, question: object) -> Any:
        """What a script of the SDK's Python prints, as JSON."""
        return await asyncio.to_thread(self._ask, script, question)

    def start(self, script: str, output: Path) -> subprocess.Popen[bytes]:
        """A program that goes on."""
        words = self._sdk.words("-c", script)
        with output.open("wb") as file:
            return subprocess.Popen(words, env=self.environment(), stdout=file, stderr=file)

    def _ask(self, script: str, question: object) -> Any:
        done = subprocess.run(
            self._sdk.words("-c", script),
            input=json.dumps(question),
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])


@contextlib.asynccontextmanager
async def sdk_site(directory: Path, memory: Path, sdk: Sdk) -> AsyncIterator[SdkSite]:
    """Everything on; the token is a driver's."""
    with GateRig(directory, memory) as gate:
        scope = {"twins": [ARM], "workload": DRIVER_WORKLOAD, "environment": ENVIRONMENT}
        assert gate.token("driver", **scope) == DRIVER
        await asyncio.to_thread(gate.start)
        link = GateLink(gate.run, gate.journal, SystemClock(), lambda _session: 0)
        keeping = asyncio.create_task(link.keep())
        try:
            async with rest_site(directory, link, gate.run / "rest") as rest, rest.serving():
                yield SdkSite(gate, rest, link, sdk)
        finally:
            keeping.cancel()
            await asyncio.wait([keeping])
            link.close()


async def test_a_driver_of_the_sdk_starts_and_ends_without_a_hub(
    short_dir: Path, memory_dir: Path, cyberwave_sdk: Sdk
) -> None:
    async with sdk_site(short_dir, memory_dir, cyberwave_sdk) as site:
        alerts = site.rest.alerts
        output = short_dir / "driver.log"
        driver = site.start(DRIVER_PROGRAM, output)

        async def named(name: str, status: str) -> bool:
            assert driver.poll() is None or name == "Driver stopped", output.read_text()
            found = [one.body for one in await alerts.of_twin(ARM)]
            return any((one["name"], one["status"]) == (name, status) for one in found)

        try:
            await eventually(lambda: named("Driver active", "active"), "it says that it is active")
            await site.rest.twins.read()
            twin = site.rest.twins.twin(ARM)
            assert twin is not None
            assert "mqtt" in twin.body["metadata"]  # type: ignore[operator]
            await eventually(lambda: named("Driver active", "resolved"), "that is over by itself")
            driver.terminate()
            await eventually(lambda: named("Driver stopped", "active"), "it says that it ends")
            assert await asyncio.to_thread(driver.wait, 30) == 0
        finally:
            driver.kill()
            driver.wait()
        assert "Traceback" not in output.read_text()
