"""What a driver's container has of memory on each engine: the shared one, its own, and never two."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.driver_rig import ARM, Rig, twin
from tests.driver_rig import device as described
from tests.engines import IMAGE, TestEngine, ask
from tests.small_disk import small_disk

from skerry.node.contracts.cyberwave import SharedMemory
from skerry.node.drivers.limits import DriverLimits
from skerry.node.ports import ContainerExtras, ContainerLaunch
from skerry.testing.container_device import ContainerDevice
from skerry.testing.exits import Exits
from skerry.testing.waiting import eventually

pytestmark = pytest.mark.timeout(120)  # the first test starts the engines

SAYS = """
import os
room = os.statvfs("/dev/shm")
mounts = [line for line in open("/proc/mounts") if line.split()[1] == "/dev/shm"]
print("memory", room.f_blocks * room.f_frsize >> 20, len(mounts), flush=True)
"""


@pytest.fixture
async def device(engine: TestEngine, short_dir: Path) -> AsyncIterator[ContainerDevice]:
    containers = ContainerDevice(short_dir, engine.socket, IMAGE)
    yield containers
    await containers.end()


@pytest.mark.parametrize(
    ("own", "megabytes"),
    [("", 4), ("--shm-size 3m", 3), ("--tmpfs /dev/shm:size=2m", 2), ("--mount type=tmpfs,target=/dev/shm", None), ("-v /dev/shm", None)],
)  # fmt: skip
async def test_a_driver_has_one_memory_and_its_limits(
    device: ContainerDevice, engine: TestEngine, short_dir: Path, own: str, megabytes: int | None
) -> None:
    with small_disk(short_dir / "shared", 4) as shared:
        shared.chmod(0o1777)
        limits = DriverLimits(64 << 20, 100)
        on = replace(described(short_dir / "rig"), shared=SharedMemory(shared), limits=limits)
        (short_dir / "rig").mkdir()
        params = ["-e", "ZENOH_SHARED_MEMORY=true", *own.split()]
        driver = await Rig(short_dir / "rig", twin(ARM, *params), on=on).launch()
        assert isinstance(driver, ContainerLaunch)
        host = driver.extras.host
        memory = [mount for mount in host["Mounts"] if mount["Target"] == "/dev/shm"]  # noqa: S108 - in the container
        extras = ContainerExtras(
            name=driver.extras.name,
            host={**host, "RestartPolicy": {"Name": "no"}, "Mounts": memory},
        )
        runtime, exits = device.agent(), Exits()
        await runtime.connect(exits)
        launch = replace(device.launch("python3", "-c", SAYS), extras=extras)
        await runtime.start(launch)
        _, answer = ask(engine.socket, "GET", f"/v1.40/containers/{driver.extras.name}/json")
        assert (await exits.of(launch.instance)).ok
        await eventually(lambda: "memory" in device.log_text(), "it says what it has")
        found = re.search(r"memory (\d+) (\d+)", device.log_text())
        assert found
        assert found[2] == "1"
        assert megabytes is None or int(found[1]) == megabytes
        given = json.loads(answer)["HostConfig"]
        assert (given["Memory"], given["PidsLimit"]) == (64 << 20, 100)
