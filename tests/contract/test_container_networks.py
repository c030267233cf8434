"""At which address a container reaches this device, as each engine says."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.container_networks import bridge
from tests.engines import IMAGE, TestEngine

from skerry.kit.bell import Bell
from skerry.kit.errors import Refused
from skerry.node.workloads.runtimes.containers.answers import Ipam, Network, Range
from skerry.node.workloads.runtimes.containers.engine import Engine, EngineGone
from skerry.node.workloads.runtimes.containers.networks import gateway
from skerry.node.workloads.runtimes.containers.room import ContainerRoom
from skerry.node.workloads.runtimes.lazy_containers import LazyContainers
from skerry.testing.container_device import ContainerDevice

pytestmark = pytest.mark.timeout(120)  # the first test starts the engines


@pytest.fixture
async def client(engine: TestEngine) -> AsyncIterator[Engine]:
    found = Engine([engine.socket])
    yield found
    await found.close()


@pytest.fixture
async def device(engine: TestEngine, short_dir: Path) -> AsyncIterator[ContainerDevice]:
    containers = ContainerDevice(short_dir, engine.socket, IMAGE)
    yield containers
    await containers.end()


@pytest.fixture
def network(engine: TestEngine) -> Iterator[tuple[str, str]]:
    """A bridge of its own, and the device's address in it."""
    with bridge(engine) as made:
        yield made


async def test_the_bridge_says_where_the_device_is(
    client: Engine, network: tuple[str, str]
) -> None:
    name, address = network
    assert await gateway(client, name) == address


async def test_a_network_is_known_by_its_id_and_by_no_path_that_ends_like_one(
    client: Engine, network: tuple[str, str]
) -> None:
    name, address = network
    found = await client.network(name)
    assert found is not None
    assert await gateway(client, found.id[:12]) == address
    with pytest.raises(Refused, match="has no network"):
        await gateway(client, f"a/../{found.id[:12]}")


async def test_the_devices_own_network_is_its_loopback(client: Engine) -> None:
    assert await gateway(client, "host") == "127.0.0.1"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("local", r"^the container engine has no network «local»\. Make it \(«docker network create local»\)"),
        ("a/../b", "^the container engine has no network «a/../b»"),
        ("none", "^network «none» leads nowhere"),
        ("container:abc", "^network «container:abc» is another container's"),
    ],
)  # fmt: skip
async def test_a_network_without_this_device_is_named(
    client: Engine, name: str, words: str
) -> None:
    with pytest.raises(Refused, match=words):
        await gateway(client, name)


async def test_of_several_addresses_the_first_of_ipv4() -> None:
    class Told:
        def __init__(self, driver: str, *gateways: str) -> None:
            ranges = [Range(one) for one in gateways]
            self.network_ = Network("n", driver, ipam=Ipam(ranges))
            self.asked = ""

        async def network(self, name: str) -> Network:
            self.asked = name
            return self.network_

    both = Told("bridge", "fd00::1", "172.18.0.1/16", "172.19.0.1")
    assert await gateway(both, "") == "172.18.0.1"
    assert both.asked == "bridge"
    assert await gateway(Told("bridge", "fd00::1"), "six") == "fd00::1"
    with pytest.raises(Refused, match="it has no gateway"):
        await gateway(Told("bridge"), "n")
    with pytest.raises(Refused, match="it is a macvlan network, not a bridge"):
        await gateway(Told("macvlan", "10.0.0.1"), "n")


async def test_it_is_asked_by_the_room_of_containers(
    device: ContainerDevice, network: tuple[str, str]
) -> None:
    runtime = device.agent()

    def open_room(_changed: Bell) -> ContainerRoom:
        return ContainerRoom(runtime, None, device.usb(), None)  # type: ignore[arg-type]  # not asked

    name, address = network
    assert await LazyContainers(open_room, known=False).gateway(name) == address


async def test_without_an_engine_there_is_no_answer(short_dir: Path) -> None:
    lost = Engine([short_dir / "nothing.sock"])
    with pytest.raises(EngineGone):
        await gateway(lost, "local")
    await lost.close()
