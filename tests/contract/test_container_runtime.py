"""What only containers do, on each engine: images that vanish, USB devices that are unplugged, output, their own names."""

import asyncio
import random
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.engines import IMAGE, TestEngine
from tests.usb_tree import Tree

from skerry.kit.bell import Bell
from skerry.kit.clock import SystemClock
from skerry.kit.errors import Refused
from skerry.node.drivers.disk_measure import held_in, space_of, unnamed
from skerry.node.ports import NeedGone, RunningInstance
from skerry.node.workloads.runtimes.containers.creation import (
    OWNER,
    Findings,
    container_name,
    creation,
)
from skerry.node.workloads.runtimes.containers.engine import Engine
from skerry.node.workloads.runtimes.containers.images import Images, Voice
from skerry.node.workloads.runtimes.containers.written import layer_size, written
from skerry.node.workloads.runtimes.engine_look import look_for_engine
from skerry.testing.container_device import ContainerDevice
from skerry.testing.exits import Exits
from skerry.testing.waiting import eventually
from skerry.wire.records import Meta
from skerry.wire.workload import Assignment, Exit, Resources

pytestmark = pytest.mark.timeout(120)  # the first test starts the engines

TELLS = """
import os, socket
def fault(path):
    try:
        open(path, "w").close()
    except OSError as error:
        return error.errno
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(os.getuid(), os.getgid(), [name for _, name in socket.if_nameindex()], open("/data/file").read(),
      fault("/x"), fault("/data/file"), status["CapBnd"].strip(), flush=True)
"""
WRITES = """
import os, signal, socket
for path, size in (("/file", 2_000_000), ("/data/file", 1_000_000), ("/nameless", 500_000)):
    kept = open(path, "wb")
    kept.write(bytes(size))
    kept.flush()
os.unlink("/nameless")
try:
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0x300)
except PermissionError:
    print("written no packets", flush=True)
signal.signal(15, lambda *_: os._exit(0))
signal.pause()
"""
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


async def test_a_file_that_holds_no_images_is_named(engine: TestEngine, short_dir: Path) -> None:
    def say(_assignment: Assignment, _line: str) -> None:
        """Nobody waits for these images."""

    async def announce(_name: str, _value: str, _meta: Meta) -> None:
        """Nobody waits for these images."""

    async def no_credentials(_image: str, _users: object) -> None:
        return None

    client, chance = Engine([engine.socket]), random.Random(1)
    images = Images(client, Voice(say, announce), no_credentials, Bell(), SystemClock(), chance)
    junk, files, cut = short_dir / "junk", short_dir / "files.tgz", short_dir / "cut.tgz"
    junk.write_bytes(b"no archive" * 1000)
    with tarfile.open(files, "w:gz") as tar:
        tar.add(junk, "etc/junk")
    cut.write_bytes(files.read_bytes()[:100])
    for archive in (junk, files, cut):
        with pytest.raises(Refused, match=f"^cannot load {archive}: it is no image archive, .* «podman save -o FILE IMAGE».$"):  # fmt: skip
            await images.load(archive)
    await client.close()


async def test_the_doctor_finds_it(engine: TestEngine) -> None:
    look = await look_for_engine([engine.socket])
    assert look.words.lower().startswith(f"{engine.name} ")
    assert look.words.endswith(f"at {engine.socket}")


async def test_callers_that_come_together_share_a_session(device: ContainerDevice) -> None:
    engine = Engine([device.socket])
    label = f"{OWNER}={device.owner}"
    assert await asyncio.gather(*(engine.listed(label) for _ in range(20))) == [[]] * 20
    await engine.close()


async def test_what_the_spec_says_holds_inside(device: ContainerDevice, short_dir: Path) -> None:
    (short_dir / "data").mkdir()
    (short_dir / "data/file").write_text("from outside")
    launch = device.launch(
        "python3", "-c", TELLS, user="1000:1000", network="none", read_only=True, cap_drop=["ALL"],
        volumes=[f"{short_dir}/data:/data:ro"],
    )  # fmt: skip
    exits, runtime = Exits(), device.agent()
    await runtime.connect(exits)
    await runtime.start(launch)
    assert (await exits.of(launch.instance)).ok
    told = "1000 1000 ['lo'] from outside 30 30 0000000000000000"
    await eventually(lambda: told in device.log_text(), f"it is so: {device.log_text()}")
    added = device.launch("python3", "-c", TELLS, workload="a", cap_drop=["ALL"], cap_add=["NET_RAW"],
                          volumes=[f"{short_dir}/data:/data"])  # fmt: skip
    await runtime.start(added)
    assert (await exits.of(added.instance)).ok
    await eventually(lambda: " None 0000000000002000" in device.log_text("a"), "the other way")


async def test_what_it_writes_is_found_where_the_engine_puts_it(device: ContainerDevice) -> None:
    """In the device's own network, where it hears nobody."""
    launch = device.launch(
        "python3", "-c", WRITES, network="host",
        volumes=[f"v-{device.owner}:/data", f"r-{device.owner}:/read:ro"],
    )  # fmt: skip
    exits, runtime = Exits(), device.agent()
    await runtime.connect(exits)
    await runtime.start(launch)
    await eventually(lambda: "written no packets" in device.log_text(), f"{device.log_text()}")
    container = runtime.container(launch.instance)
    found = await written(runtime.engine, container)
    assert found.layer is not None
    [(where, space)] = [space_of(found.layer)]
    assert 2_000_000 <= held_in(found.layer, {where: space}) < 3_000_000
    [volume] = found.volumes
    assert 1_000_000 <= held_in(volume, {where: space}) < 1_500_000
    assert 2_000_000 <= await layer_size(runtime.engine, container) < 3_000_000
    identity = await runtime.start(launch)  # the one that it has
    assert 500_000 <= sum(unnamed(identity.pid).values()) < 900_000


async def test_an_engine_may_restart_it_while_no_agent_is_there(device: ContainerDevice) -> None:
    unattended = Resources(unattended_restart=True)
    exits, runtime = Exits(), device.agent()
    await runtime.connect(exits)
    failing = replace(device.ends(Exit(3, None, 0), "failing"), resources=unattended)
    await runtime.start(failing)
    assert (await exits.of(failing.instance)).code == 3  # the agent is there: its policy holds
    await runtime.acknowledge(failing.instance)
    launch = replace(device.waits(), resources=unattended)
    identity = await runtime.start(launch)
    await device.settled(launch)
    await runtime.close()
    device.kill(RunningInstance(launch.instance, "w", identity))
    engine = Engine([device.socket])

    async def again() -> bool:
        [one] = await engine.listed(f"{OWNER}={device.owner}")
        found = await engine.inspect(one.id)
        return found is not None and found.state.pid not in {0, identity.pid}

    await eventually(again, "the engine has started it again")
    await engine.close()
    runtime = device.agent()
    [running] = await runtime.connect(exits)
    assert (running.instance, running.identity == identity) == (launch.instance, False)
    await eventually(lambda: device.log_text().count("ready") == 2, "both outputs are in the log")


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
