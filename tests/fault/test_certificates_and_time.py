"""Certificates end while devices are away, and devices do not know what time it is: a real agent, a hub whose clock moves."""

import asyncio
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from msgspec.structs import replace
from tests.installation import Node, sleeper

from skerry.cli.http import node_api
from skerry.kit.disk import RealDisk
from skerry.node.enrolment import Site, enrol_node
from skerry.node.identity import Identity, read_identity
from skerry.testing.chaos_proxy import ChaosProxy
from skerry.testing.running_hub import RunningHub, running_hub
from skerry.testing.shifted_clock import ShiftedClock
from skerry.testing.waiting import eventually
from skerry.wire.codec import decode, encode
from skerry.wire.local import Doctor
from skerry.wire.people import Apply, Rows, TokenRequest
from skerry.wire.records import PublishedRecord
from skerry.wire.sync import Enrol

pytestmark = pytest.mark.timeout(120)

DAY = 86_400.0


@dataclass
class Scene:
    """A hub in this process with a clock of its own, and one agent that reaches it over a way that can be cut."""

    hub: RunningHub
    clock: ShiftedClock
    way: ChaosProxy
    node: Node

    async def publish(self, value: int) -> None:
        record = PublishedRecord("t.value", value, value)
        await asyncio.to_thread(
            self.node.publisher("feeder").publish, "measurement", [record], 30.0
        )

    async def arrived(self) -> list[object]:
        async with (
            aiohttp.ClientSession(self.hub.address, headers=self.hub.person) as people,
            people.get("/api/v1/records?name=t.value&limit=100") as answer,
        ):
            return sorted(row.value for row in decode(await answer.read(), Rows, "rows").rows)

    async def has(self, *values: int) -> bool:
        return await self.arrived() == list(values)

    async def checked(self, name: str) -> str:
        async with node_api(self.node.directory) as api:
            doctor = await api.get("/v1/doctor", Doctor)
        [found] = [each for each in doctor.checks if each.name == name]
        return f"{found.outcome}: {found.detail}; {found.fix}"


async def enrolled(node: Node, hub: RunningHub, *, again: bool = False) -> Identity:
    node.directory.mkdir(mode=0o700, exist_ok=True)
    asked = Enrol((await hub.token(TokenRequest(600.0))).token, "n1", {}, "test", "")
    site = Site(node.directory, RealDisk())
    return await enrol_node(hub.nodes_address, asked, site, again=again)


async def is_unknown(node: Node) -> bool:
    status = await node.status()
    return status is not None and status.link.unknown


@pytest.fixture
async def scene(short_dir: Path) -> AsyncIterator[Scene]:
    clock = ShiftedClock()
    async with running_hub(short_dir / "hub", method="certificate", clock=clock) as hub:
        port = int(hub.nodes_address.rpartition(":")[2])
        async with ChaosProxy("127.0.0.1", port) as way:
            node = Node(short_dir, "n1", f"https://127.0.0.1:{way.port}")
            await enrolled(node, hub)
            async with (
                aiohttp.ClientSession(hub.address, headers=hub.person) as people,
                people.put("/api/v1/workloads", data=encode(Apply([sleeper("feeder")]))) as answer,
            ):
                assert answer.status == 200, await answer.text()
            try:
                yield Scene(hub, clock, way, node)
            finally:
                if node.process.runs:
                    await node.process.end(signal.SIGKILL)
                node.clean()


async def online(scene: Scene) -> None:
    await eventually(partial(scene.node.link_is, "online"), f"it is online; {scene.node.log}")


def kept(node: Node) -> bytes:
    return (node.directory / "trust/node.pem").read_bytes()


async def test_a_device_that_boots_in_1970_connects(scene: Scene) -> None:
    await scene.node.start(ahead="1970")
    await online(scene)
    await eventually(partial(scene.node.runs, "feeder"), "its workload runs")
    await scene.publish(1)
    await eventually(partial(scene.has, 1), "the value arrives")
    assert (await scene.checked("certificate")).startswith("ok: until 20")


@pytest.mark.guarantee("G1")
@pytest.mark.parametrize("ahead", ["0", "432000", "1970"], ids=["true", "moved", "1970"])
async def test_after_five_days_without_the_hub_it_renews_and_nothing_is_lost(
    scene: Scene, ahead: str
) -> None:
    """Its certificate has ended meanwhile; where its own clock is wrong, the hub's refusal tells it."""
    node = scene.node
    await node.start()
    await online(scene)
    await eventually(partial(node.runs, "feeder"), "its workload runs")
    await scene.publish(1)
    await eventually(partial(scene.has, 1), "the value arrives")
    pids, before = await node.pids(), kept(node)
    assert await node.process.end() == 0
    scene.clock.ahead = 5 * DAY
    scene.way.refuse()
    await node.start(ahead=ahead)
    await node.ready()
    await scene.publish(2)
    scene.way.heal()
    await online(scene)
    await eventually(partial(scene.has, 1, 2), "what was published meanwhile arrives")
    assert await node.pids() == pids
    after = kept(node)
    assert after != before
    assert after.partition(b"-----BEGIN CERT")[0] == before.partition(b"-----BEGIN CERT")[0]
    assert (await scene.checked("certificate")).startswith("ok: until 20")


async def test_an_agent_that_runs_all_the_time_comes_back_by_itself(scene: Scene) -> None:
    node = scene.node
    await node.start()
    await online(scene)
    await eventually(partial(node.runs, "feeder"), "its workload runs")
    before = kept(node)
    scene.way.refuse()
    scene.way.reset_all()
    await eventually(partial(node.link_is, "offline"), "it is cut off")
    scene.clock.ahead = 20 * DAY
    await scene.publish(1)
    scene.way.heal()
    await online(scene)
    await eventually(partial(scene.has, 1), "what was published meanwhile arrives")
    assert kept(node) != before


@pytest.mark.guarantee("G9")
async def test_after_too_long_only_a_person_lets_it_in_again(short_dir: Path) -> None:
    ahead = 94 * DAY
    async with running_hub(short_dir / "hub", method="certificate") as hub:
        identity = await enrolled(Node(short_dir, "n1", hub.nodes_address), hub)
    clock = ShiftedClock(ahead)
    async with (
        running_hub(short_dir / "hub", method="certificate", clock=clock) as hub,
        ChaosProxy("127.0.0.1", int(hub.nodes_address.rpartition(":")[2])) as way,
    ):
        node = Node(short_dir, "n1", f"https://127.0.0.1:{way.port}")
        scene = Scene(hub, clock, way, node)
        try:
            await node.start(ahead=str(ahead))
            await eventually(partial(is_unknown, node), "the hub does not let it in")
            assert "failed: ended at 20" in await scene.checked("certificate")
            assert "skerry node enroll --again" in await scene.checked("certificate")
            assert await node.process.end() == 0
            await enrolled(node, hub, again=True)
            assert read_identity(node.directory) == replace(identity, hub_url=hub.nodes_address)
            await node.start(ahead=str(ahead))
            await online(scene)
        finally:
            if node.process.runs:
                await node.process.end(signal.SIGKILL)
            node.clean()
