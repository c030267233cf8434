"""Cyberwave's unmodified SDK on a node: real drivers and workers, with the hub unreachable from the first second of a boot."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from tests.container_site import state
from tests.cyberwave_image import SDK_IMAGE
from tests.cyberwave_sdk import FIXTURES, Sdk
from tests.cyberwave_site import SLOW, CyberwaveSite, contained, cyberwave_site, native
from tests.engines import TestEngine

from skerry.testing.waiting import eventually

pytestmark = pytest.mark.timeout(240)

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
    found = await state(site.node, driver)
    assert found
    assert (found.phase, found.restarts) == ("running", 0), "that life is the first of this boot"
    assert site.count(driver, configured="arm") > 0
    for hook in ("pinned", "wildcard", "joints", "event"):
        await site.hears(hook, FRAMES)
    await site.site.hub.start()
    await eventually(lambda: site.has(arm, 2 * FRAMES), "the hub has events of the driver")
    numbers = await site.events(arm)
    assert len(numbers) == len(set(numbers))
    assert set(numbers) >= set(range(FRAMES))

    async def alerted() -> bool:
        kinds = {alert["alert_type"] for alert in await site.alerts()}
        return kinds >= {"driver_lifecycle", "frame_seen", "worker_load_error"}

    await eventually(alerted, "the hub has the alerts of driver and worker")
    done = await site.order("twin_command", arm, command="wiggle", data={"times": 2})
    assert done.state == "done", done

    def wiggled() -> int:
        return site.count(driver, command="wiggle", data={"times": 2})

    await eventually(lambda: wiggled() > 0, "the driver's line is in its log")
    assert wiggled() == 1


@pytest.mark.guarantee("G1")
async def test_what_the_gate_took_arrives_once_whatever_is_killed(
    short_dir: Path, cyberwave_sdk: Sdk
) -> None:
    """Three numbers: what the SDK's client has sent, what the SDK itself let go while it had no connection, what arrived.

    The broker's end cuts the connection; what the client has written by then, and until it notices, is taken.
    """
    async with cyberwave_site(short_dir) as site:
        words = cyberwave_sdk.words(FIXTURES / "driver.py")
        [arm] = await site.join(native(*words, DRIVER_TICKS="40", DRIVER_FRAMES="0"))
        await site.power_off()
        await site.boot_without_hub()
        driver = site.driver(arm)
        await site.tells(driver, ticks=50)
        before = await site.node.pid("cyberwave-broker")
        os.kill(before, signal.SIGKILL)
        await eventually(
            lambda: site.log(driver).count("Connected to MQTT broker") > 1, "again", SLOW
        )
        await site.ticks(driver, 50)
        await site.node.kill()
        await site.ticks(driver, 100)
        await site.node.start()
        await site.ticks(driver, 50)
        await site.site.hub.start()
        await site.ticks(driver, 50)
        await site.change_twin(arm, {"metadata": {"drivers": None}})
        await eventually(lambda: _ended(site, driver), "the driver has ended", SLOW)
        [end] = [line for line in site.said(driver) if "sent" in line]
        await eventually(lambda: site.has(arm, end["sent"]), "all is at the hub", SLOW)
        await eventually(site.drained, "the hub has everything", SLOW)
        numbers = await site.events(arm)
        print(f"sent {end['sent']}, dropped by the SDK {end['dropped']}, arrived {len(numbers)}")  # noqa: T201
        assert len(numbers) == len(set(numbers)) == end["sent"]
        assert end["dropped"] > 0
        assert set(numbers) < set(range(end["sent"] + end["dropped"]))
        assert (await site.node.pids())["cyberwave-broker"] != before


def _ended(site: CyberwaveSite, driver: str) -> bool:
    return any("sent" in line for line in site.said(driver))
