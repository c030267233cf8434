"""What only containers do, on each engine: images that vanish, USB devices that are unplugged, output, their own names."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.engines import IMAGE, TestEngine
from tests.unit.test_usb_devices import Tree

from skerry.node.ports import NeedGone
from skerry.node.workloads.runtimes.containers.creation import (
    OWNER,
    Findings,
    container_name,
    creation,
)
from skerry.node.workloads.runtimes.containers.engine import Engine
from skerry.testing.container_device import ContainerDevice
from skerry.testing.exits import Exits
from skerry.testing.waiting import eventually

READS = "import sys, signal\nprint(open('/dev/modem', 'rb').read(3), flush=True)\nsignal.signal(15, lambda *_: sys.exit(0))\nsignal.pause()"


@pytest.fixture
async def device(engine: TestEngine, short_dir: Path) -> AsyncIterator[ContainerDevice]:
    containers = ContainerDevice(short_dir, engine.socket, IMAGE)
    yield containers
    await containers.end()


async def test_an_image_that_is_gone_is_no_failure_of_the_launch(device: ContainerDevice) -> None:
    runtime = device.agent()
    exits = Exits()
    await runtime.connect(exits)
    lost = device.launch("true", image="localhost/nobody/has:1")
    with pytest.raises(NeedGone, match="cannot start workload «w»"):
        await runtime.start(lost)
    assert device.images.lost == ["localhost/nobody/has:1"]
    await runtime.shut_down()


async def test_what_was_made_and_never_started_is_removed(device: ContainerDevice) -> None:
    launch = device.waits()
    engine = Engine([device.socket])
    await engine.create(container_name(launch), creation(device.owner, launch, Findings()))
    runtime = device.agent()
    assert await runtime.connect(Exits()) == []
    assert await engine.listed(f"{OWNER}={device.owner}") == []
    await engine.close()


async def test_callers_that_come_together_share_a_session(device: ContainerDevice) -> None:
    engine = Engine([device.socket])
    label = f"{OWNER}={device.owner}"
    assert await asyncio.gather(*(engine.listed(label) for _ in range(20))) == [[]] * 20
    await engine.close()


async def test_a_usb_device_is_handed_over_and_missed(
    device: ContainerDevice, short_dir: Path
) -> None:
    tree = Tree(short_dir / "sys")
    item = "usb:0403:6001:A5=/dev/modem"
    exits = Exits()
    runtime = device.agent()
    await runtime.connect(exits)
    with pytest.raises(NeedGone, match="USB device with serial A5 is not plugged in"):
        await runtime.start(device.launch("python3", "-c", READS, devices=[item]))

    path = tree.plug("1-2", "0403:6001", "A5", tty="zero")  # a node that this machine has
    (path / "uevent").write_text("")
    launch = device.launch("python3", "-c", READS, devices=[item])
    await runtime.start(launch)
    await eventually(lambda: "b'\\x00\\x00\\x00'" in device.log_text(), "it reads its device")
    await runtime.close()

    runtime = device.agent()  # the next agent knows what the container was given
    await runtime.connect(exits)
    tree.unplug("1-2")
    device.plugged()
    exit_ = await exits.of(launch.instance)
    assert (exit_.reason, exit_.ok) == ("its USB device was unplugged", False)
