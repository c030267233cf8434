"""Cyberwave's unmodified SDK on a node: real drivers and workers, with the hub unreachable from the first second of a boot."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cyberwave_image import SDK_IMAGE
from tests.cyberwave_sdk import FIXTURES, Sdk
from tests.cyberwave_site import CyberwaveSite, contained, cyberwave_site, native
from tests.engines import TestEngine

from skerry.testing.waiting import eventually

pytestmark = pytest.mark.timeout(240)

EVENT = "cyberwave/twin/{}/event"
FRAMES = 5


@pytest.mark.guarantee("G2")
@pytest.mark.parametrize("backend", ["zenoh", "filesystem"])
async def test_driver_and_worker_natively(
    short_dir: Path, cyberwave_sdk: Sdk, backend: str
) -> None:
    async with cyberwave_site(short_dir) as site:
        site.variables["CYBERWAVE_DATA_BACKEND"] = backend
        site.variables["CYBERWAVE_DATA_DIR"] = str(short_dir / "bus")
        site.work_natively(cyberwave_sdk.words("-m", "cyberwave.workers.main"))
        twin = native(*cyberwave_sdk.words(FIXTURES / "driver.py"))
        await _works_without_a_hub(site, twin)


@pytest.mark.guarantee("G2")
@pytest.mark.parametrize(
    ("engine", "backend"),
    [
        ("docker", "zenoh"),
        ("podman", "filesystem"),
        pytest.param("docker", "filesystem", marks=pytest.mark.soak),
        pytest.param("podman", "zenoh", marks=pytest.mark.soak),
    ],
    indirect=["engine"],
)
async def test_driver_and_worker_in_containers(
    short_dir: Path, sdk_engine: TestEngine, backend: str
) -> None:
    """The engine's and the bus' kinds are independent: the other two pairs are tried by `make soak`."""
    async with cyberwave_site(short_dir) as site:
        site.node.options += ["--set", f"containers.socket={sdk_engine.socket}"]
        site.variables["CYBERWAVE_DATA_BACKEND"] = backend
        site.variables["CYBERWAVE_WORKER_IMAGE"] = SDK_IMAGE
        await _works_without_a_hub(site, contained(SDK_IMAGE))


async def _works_without_a_hub(site: CyberwaveSite, twin: dict[str, object]) -> None:
    """The twin comes from the node's store; driver and worker speak with the node and with each other; the hub hears later."""
    site.add_workers("watching.py", "broken.py")
    [arm] = await site.join(twin)
    await site.power_off()
    await site.boot_without_hub()
    driver = site.driver(arm)
    await site.tells(driver, active=arm)
    assert site.count(driver, configured="arm") > 0
    for hook in ("pinned", "joints", "event"):
        await site.hears(hook, FRAMES)
    await site.site.hub.start()

    async def arrived() -> bool:
        return len(await site.records(EVENT.format(arm))) >= 2 * FRAMES

    await eventually(arrived, "the hub has events of the driver")
    numbers = [record["n"] for record in await site.records(EVENT.format(arm))]
    assert len(numbers) == len(set(numbers))
    assert set(numbers) >= set(range(FRAMES))

    async def alerted() -> bool:
        kinds = {alert["alert_type"] for alert in await site.alerts()}
        return kinds >= {"driver_lifecycle", "frame_seen", "worker_load_error"}

    await eventually(alerted, "the hub has the alerts of driver and worker")
