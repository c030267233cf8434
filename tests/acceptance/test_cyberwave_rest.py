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

from tests.cyberwave_sdk import Sdk, documented_driver
from tests.gate_rig import GateRig, held_by_nobody
from tests.rest_rig import DRIVER, DRIVER_WORKLOAD, RestSite, rest_site
from tests.twin_bodies import ARM, ARM_ASSET, DEVICE, ENVIRONMENT

from skerry.kit.clock import SystemClock
from skerry.node.broker.link import GateLink
from skerry.testing.waiting import eventually

PATIENCE = 120.0
"""Seconds: importing the SDK alone takes half a minute where six others work."""

CASE_49 = """
import json, sys
from cyberwave import Cyberwave
asked = json.load(sys.stdin)
cw = Cyberwave()
twin = cw.twin(twin_id=asked["twin"])
alert = twin.alerts.create("Hot", description="J3", severity="error", alert_type="hot", metadata={"k": 1})
alert.update(metadata={"k": 2})
listed = [one.uuid for one in twin.alerts.list(status="active")]
alert.resolve()
twin.edit_position(x=1, y=0, z=0.5)
cw.mqtt.connect()
cw.mqtt.update_joint_state(twin.uuid, "j1", position=0.5)
cw.mqtt.disconnect()
read = cw.twin(twin_id=asked["twin"])
print(json.dumps({
    "uuid": twin.uuid, "alert": alert.uuid, "status": alert.status, "metadata": alert.metadata,
    "listed": listed, "position": [read._data.position_x, read._data.position_y, read._data.position_z],
    "active": [one.uuid for one in read.alerts.list(status="active")],
    "resolved": [one.uuid for one in read.alerts.list(status="resolved")],
}))
"""

EVERY_CALL = """
import json, sys
from cyberwave import Cyberwave
asked = json.load(sys.stdin)
cw, twin = Cyberwave(), asked["twin"]
said = {}
[workspace] = cw.workspaces.list()
[project] = cw.projects.list()
[around] = cw.environments.list(project.uuid)
said["environment"] = [around.uuid, cw.environments.get(around.uuid).uuid, cw.environments.get_by_slug(around.slug).uuid]
said["listed"] = [one.uuid for one in cw.environments.list()]
[asset] = cw.assets.list()
said["asset"] = [asset.uuid, cw.assets.get(asset.uuid).uuid, cw.assets.get_by_registry_id("x/arm").uuid, cw.assets.search("ar")[0].uuid]
said["twins"] = [one.uuid for one in cw.twins.list()] + [one.uuid for one in cw.twins.list(around.uuid)]
said["unnamed"] = Cyberwave().twin("x/arm").uuid
said["by"] = [cw.twins.get("x/twins/arm").uuid, cw.twin("x/arm", environment_id=around.uuid).uuid]
cw.twins.update_joint_state(twin, "j1", 0.5, effort=1.0)
said["joints"] = cw.twins.get_joint_states(twin).position
joint = {"range_min": 0, "range_max": 9, "homing_offset": 1.5, "drive_mode": 0, "id": 1}
cw.twins.update_calibration(twin, {"pan": joint}, "leader")
said["calibration"] = cw.twins.get_calibration(twin, "leader").joint_calibration["pan"].homing_offset
cw.twins.delete_calibration(twin, "leader")
said["name"] = cw.twins.update(twin, name="new", metadata={"thing": {"a": 1}}).name
said["sources"] = cw.twins.bind_sensor(twin, "slot", asked["twin"], "channel")
said["unbound"] = cw.twins.unbind_sensor(twin, "slot")
handle = cw.twin(twin_id=twin)
revision = handle.driver.get_revision()
schema = {"registry_id": "x/arm", "mqtt": {"twin": {"command": {"direction": "subscribe", "description": "c"}}, "commands": {"supported": ["stop"]}}}
said["commands"] = handle.driver.set_schema(schema, expected_revision=revision) and handle.driver.get_supported_commands()
try:
    handle.driver.set_schema({"mqtt": {"commands": {"supported": ["go"]}}}, expected_revision=revision)
    said["stale"] = "taken"
except Exception as error:
    said["stale"] = "409" in str(error)
[edge] = cw.edges.list()
said["edge"] = [edge.fingerprint, cw.edges.get(edge.uuid).uuid == edge.uuid, cw.edges.create(edge.fingerprint).uuid == edge.uuid]
said["discovered"] = cw.edges.discover(edge.fingerprint)["twins"][0]["twin_uuid"]
said["models"] = [one.name for one in cw.mlmodels.list()] if hasattr(cw, "mlmodels") else []
logs = cw.api.src_app_api_twins_get_twin_driver_logs(twin)
said["logs"] = [len(logs.items), logs.has_more]
alert = handle.alerts.create("Ask", metadata={"buttons": [{}]})
alert.acknowledge(); alert.press_button(0); alert.silence(); alert.refresh()
said["alert"] = alert.status
alert.delete()
print(json.dumps(said))
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
            timeout=PATIENCE,
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
        link = GateLink(gate.run, gate.journal, SystemClock(), lambda _session: 0, held_by_nobody)
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
    """The whole one of docs/reference/cyberwave-drivers.md."""
    async with sdk_site(short_dir, memory_dir, cyberwave_sdk) as site:
        alerts = site.rest.alerts
        output = short_dir / "driver.log"
        driver = site.start(documented_driver(), output)

        async def named(name: str, *statuses: str) -> bool:
            assert driver.poll() is None or name == "Driver stopped", output.read_text()
            found = [one.body for one in await alerts.of_twin(ARM)]
            return any(one["name"] == name and one["status"] in statuses for one in found)

        try:
            await eventually(
                lambda: named("Driver active", "active", "resolved"), "it is active", PATIENCE
            )
            await site.rest.twins.read()
            twin = site.rest.twins.twin(ARM)
            assert twin is not None
            assert "mqtt" in twin.body["metadata"]  # type: ignore[operator]
            await eventually(lambda: named("Driver active", "resolved"), "over by itself", PATIENCE)
            driver.terminate()
            await eventually(lambda: named("Driver stopped", "active"), "it ends", PATIENCE)
            assert await asyncio.to_thread(driver.wait, PATIENCE) == 0
        finally:
            driver.kill()
            driver.wait()
        assert "Traceback" not in output.read_text()


async def test_case_49_a_script_of_the_sdk_needs_no_hub(
    short_dir: Path, memory_dir: Path, cyberwave_sdk: Sdk
) -> None:
    async with sdk_site(short_dir, memory_dir, cyberwave_sdk) as site:
        said = await site.ask(CASE_49, {"twin": ARM})
        assert (said["uuid"], said["status"], said["metadata"]) == (ARM, "resolved", {"k": 2})
        assert said["position"] == [1, 0, 0.5]
        assert (said["listed"], said["active"]) == ([said["alert"]], [])
        assert said["resolved"] == [said["alert"]]
        row = site.rest.twins.twin(ARM)
        assert row is not None
        assert row.body["position_z"] == 0.5
        topics = [entry.topic for entry in site.gate.entries()]
        assert f"cyberwave/joint/{ARM}/update" in topics


async def test_the_sdk_reads_every_answer(
    short_dir: Path, memory_dir: Path, cyberwave_sdk: Sdk
) -> None:
    """Its models are strict: what they cannot read, they raise."""
    async with sdk_site(short_dir, memory_dir, cyberwave_sdk) as site:
        said = await site.ask(EVERY_CALL, {"twin": ARM})
        assert said["environment"] == [ENVIRONMENT] * 3
        assert said["asset"] == [ARM_ASSET] * 4
        assert said["twins"] == said["by"] == [ARM, ARM]
        assert said["unnamed"] == ARM
        assert (said["joints"], said["name"], said["calibration"]) == ([0.5], "new", 1.5)
        assert (list(said["sources"]), said["unbound"]) == (["slot"], {})
        assert (said["commands"], said["stale"]) == (["stop"], True)
        assert (said["edge"], said["discovered"]) == ([DEVICE, True, True], ARM)
        assert (said["logs"], said["alert"], said["models"]) == ([0, False], "silenced", [])
