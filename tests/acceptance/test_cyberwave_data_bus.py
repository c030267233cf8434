"""The data bus of a device: its router is there before the drivers, and what they exchange is at the hub."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

from tests.bus_rig import Program
from tests.container_site import state, with_engine
from tests.cyberwave_sdk import FIXTURES, Sdk
from tests.cyberwave_site import REGISTRY_ID, CyberwaveSite, cyberwave_site
from tests.driver_image import with_driver
from tests.engines import TestEngine
from tests.ports import free_port

from skerry.testing.waiting import eventually

REACHES = """
import json, os, signal, socket, sys, time
signal.signal(15, lambda *_: sys.exit(0))
endpoint = os.environ["ZENOH_CONNECT"]
host, _, port = endpoint.removeprefix("tcp/").rpartition(":")
tries = 0
while True:
    tries += 1
    with socket.socket() as probe:
        if probe.connect_ex((host, int(port))) == 0:
            break
    time.sleep(0.1)
print(json.dumps({"endpoint": endpoint, "tries": tries}), flush=True)
signal.pause()
"""


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


async def test_case_47_the_router_is_there_first_and_drivers_reach_it(
    short_dir: Path, engine: TestEngine
) -> None:
    async with routed(short_dir) as (site, port):
        with_engine(site.node, engine)
        program = short_dir / "program"
        program.mkdir()
        (program / "reaches").write_text(f"#!/usr/bin/python3{REACHES}")
        (program / "reaches").chmod(0o755)
        mounted = ["-v", f"{program}:/program", "--entrypoint", "/program/reaches"]
        entry = {"docker_image": with_driver(engine), "params": mounted}
        metadata = {"drivers": {"default": entry}}
        [arm] = await site.join({}, asset={"registry_id": REGISTRY_ID, "metadata": metadata})
        name = site.driver(arm)
        try:
            await eventually(
                lambda: bool(site.said(name)), "the driver reaches the router", timeout=60
            )
        except AssertionError as error:
            shown = [await state(site.node, each) for each in (name, "cyberwave-zenoh")]
            alerts = await site.alerts()
            raise AssertionError(f"{error}: {shown} {site.log(name)} {alerts}") from None
        [said, *_] = site.said(name)
        assert said == {"endpoint": f"tcp/127.0.0.1:{port}", "tries": 1}
        router = await state(site.node, "cyberwave-zenoh")
        assert router
        assert router.phase == "running"
        assert "cyberwave-zenoh" not in str(await site.site.hub.rows("*"))


async def test_what_drivers_exchange_comes_to_the_hub_once(
    short_dir: Path, cyberwave_sdk: Sdk, tmp_path: Path
) -> None:
    """Over a kill of the agent; drivers are on the SDK and know nothing of it."""
    record = "cyberwave.record={cw/*/data/joint_states: {class: keep}}"
    async with routed(short_dir, record) as (site, port):
        [arm] = await site.join({})
        key = f"cw/{arm}/data/joint_states"
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
