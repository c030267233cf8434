"""The data bus of a device: its router is there before the drivers, and what they exchange is at the hub."""

from __future__ import annotations

import contextlib
import json
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.bus_rig import Program
from tests.command_line import CommandLine
from tests.container_networks import bridge
from tests.container_site import container, state, with_engine
from tests.cyberwave_image import SDK_IMAGE
from tests.cyberwave_sdk import FIXTURES, Sdk
from tests.cyberwave_site import CyberwaveSite, Json, cyberwave_site, native
from tests.engines import TestEngine
from tests.ports import free_port

from skerry.testing.waiting import eventually


@contextlib.asynccontextmanager
async def routed(directory: Path, *settings: str) -> AsyncIterator[tuple[CyberwaveSite, int]]:
    """A device with a router at a port of its own."""
    port = free_port()
    async with cyberwave_site(directory) as site:
        site.node.prefix = ["env", "ZENOH_ROUTER_ENABLED=true", f"ZENOH_ROUTER_PORT={port}"]
        for setting in settings:
            site.node.options += ["--set", setting]
        site.sign_in()
        yield site, port
        await site.power_off()


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "engine", ["docker", pytest.param("podman", marks=pytest.mark.soak)], indirect=True
)
async def test_case_47_the_router_is_there_first_and_containers_of_any_network_speak_through_it(
    short_dir: Path, sdk_engine: TestEngine
) -> None:
    """Of two drivers one is in the device's own network and one behind a bridge: REST, MQTT, samples and `latest()` work."""
    with bridge(sdk_engine) as (network, gateway):
        async with routed(short_dir) as (site, port):
            with_engine(site.node, sdk_engine)
            one, other = await site.join({"name": "one"}, {"name": "other"})
            await site.change_twin(one, _neighbour("one", other, "--network", network))
            await site.change_twin(other, _neighbour("other", one))
            for twin in (one, other):
                await site.tells(site.driver(twin), active=twin)
                await site.tells(site.driver(twin), heard=["elbow"])
                await site.tells(site.driver(twin), latest=["elbow"])
                await eventually(lambda twin=twin: site.has(twin, 10), "the hub has its events")  # type: ignore[misc]
            for twin, host, mode in ((one, gateway, "client"), (other, "127.0.0.1", None)):
                shown = container(sdk_engine, site.driver(twin))
                assert (network in shown["NetworkSettings"]["Networks"]) == (mode is not None)
                assert (
                    site.count(site.driver(twin), addresses=_addresses(site, host, port, mode)) == 1
                )
                status = await state(site.node, site.driver(twin))
                assert status
                assert (status.restarts, shown["RestartCount"]) == (0, 0)
            router = await state(site.node, "cyberwave-zenoh")
            assert router
            assert router.phase == "running"
            assert "cyberwave-zenoh" not in str(await site.site.hub.rows("*"))


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "engine", ["docker", pytest.param("podman", marks=pytest.mark.soak)], indirect=True
)
async def test_containers_of_drivers_share_memory(short_dir: Path, sdk_engine: TestEngine) -> None:
    """Each has a /dev/shm of its own but for the node. IPC_LOCK: so that it is shown also where nobody may raise a container's limit for locked memory."""
    own = ("-e", "ZENOH_SHARED_MEMORY=true", "--cap-add", "IPC_LOCK", "-e", "FIXTURE=sharing.py")
    async with routed(short_dir) as (site, _):
        with_engine(site.node, sdk_engine)
        one, other = await site.join({"name": "one"}, {"name": "other"})
        await site.change_twin(one, _neighbour("one", other, *own))
        await site.change_twin(other, _neighbour("other", one, *own))
        for twin in (one, other):
            await site.tells(site.driver(twin), shm=True)


def _neighbour(name: str, of: str, *params: str) -> Json:
    entry = {
        "docker_image": SDK_IMAGE,
        "params": ["-e", "FIXTURE=neighbour.py", "-e", f"NEIGHBOUR={of}", *params],
    }
    return {"name": name, "metadata": {"drivers": {"default": entry}}}


def _addresses(site: CyberwaveSite, host: str, router: int, mode: str | None) -> Json:
    return {
        "CYBERWAVE_BASE_URL": f"http://{host}:{site.mqtt_port + 1}",
        "CYBERWAVE_MQTT_HOST": host,
        "CYBERWAVE_MQTT_PORT": str(site.mqtt_port),
        "ZENOH_CONNECT": f"tcp/{host}:{router}",
        "ZENOH_MODE": mode,
    }


async def test_what_drivers_exchange_comes_to_the_hub_once(
    short_dir: Path, cyberwave_sdk: Sdk, tmp_path: Path
) -> None:
    """Over a kill of the agent. What publishes is a client outside the node, on the SDK's own bus, which knows nothing of it: no driver that the node runs."""
    record = "cyberwave.record={cw/*/data/joint_states: {class: keep}}"
    async with routed(short_dir, record) as (site, port):
        [arm] = await site.join({})
        key = f"cw/{arm}/data/joint_states"

        async def listens() -> bool:
            router = await state(site.node, "cyberwave-zenoh")
            return router is not None and router.phase == "running" and router.ready

        await eventually(listens, "the router listens", 60)
        program = Program(
            cyberwave_sdk.words(FIXTURES / "bus_peer.py"),
            {
                "CYBERWAVE_DATA_BACKEND": "zenoh",
                "ZENOH_MODE": "client",
                "ZENOH_CONNECT": f"tcp/127.0.0.1:{port}",
                "HOME": str(tmp_path),
            },
        )
        with contextlib.closing(program):
            header = {"content_type": "application/json"}

            async def known() -> bool:
                return bool(program.ask("subscribers", key=key))

            await eventually(known, "the program knows of the recorder")
            for n in range(100):
                data = json.dumps({"n": n}).encode().hex()
                program.ask("frame", key=key, header=header, data=data)
                if n == 50:
                    await site.node.kill()
            await site.node.start()
            await eventually(lambda: site.site.hub.has(key, 100), "all of them are at the hub")
            rows = await site.site.hub.rows(key)
            assert [json.loads(str(row.value)) for row in rows] == [{"n": n} for n in range(100)]


REPLAYED = """
import json, sys
from pathlib import Path
from cyberwave.data.header import decode
from cyberwave.data.recording import replay
class Heard:
    samples = []
    def publish(self, channel, payload):
        self.samples.append([channel, json.loads(decode(payload)[1])])
replay(Heard(), Path(json.load(sys.stdin)), speed=0)
print(json.dumps(Heard.samples))
"""


@pytest.mark.timeout(240)
async def test_the_last_minutes_before_an_event_are_one_file_at_the_hub(
    short_dir: Path, cyberwave_sdk: Sdk
) -> None:
    """Whatever the agent is doing: it is killed after the event, and a hub that was away has it then."""
    rule = {"cw/*/data/joint_states": {"class": "ring", "on": "cyberwave/twin/*/event"}}
    settings = f"cyberwave.record={json.dumps(rule)}", "cyberwave.ring_size=9MB"
    async with routed(short_dir, *settings) as (site, _):
        words = cyberwave_sdk.words(FIXTURES / "falling.py")
        [arm] = await site.join(native(*words, BEFORE="50", DRIVER_TICKS="40"))
        name, shell = f"cw/{arm}/recording.tar", CommandLine(site.site)
        await site.site.hub.kill()
        await site.tells(site.driver(arm), fell=50)
        child = await site.node.pid("cyberwave-zenoh")
        assert b'"ring":{"size":9000000}' in Path(f"/proc/{child}/cmdline").read_bytes()
        await site.node.kill()
        await site.node.start()
        await site.site.hub.start()

        async def arrived() -> bool:
            return (
                await shell.run("files", "get", name, "--to", str(short_dir / "it.tar"))
            ).code == 0

        await eventually(arrived, "the recording is at the hub", 60)
        [row] = await site.site.hub.rows(name)
        assert (row.meta["event"], row.meta["format"]) == (
            f"cyberwave/twin/{arm}/event",
            "cyberwave recording 1",
        )
        with tarfile.open(short_dir / "it.tar") as tar:
            tar.extractall(short_dir / "recording", filter="data")
        heard = cyberwave_sdk.ask(REPLAYED, str(short_dir / "recording"))
        assert heard[:50] == [[f"cw/{arm}/data/joint_states", {"elbow": n}] for n in range(50)]
