"""A copied data directory that runs beside the original: both are told, the hub says so, the link does not flap."""

import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from tests.sync_rig import NodeRig, passing

from skerry.kit.clock import SystemClock
from skerry.node.sync.connections import open_session
from skerry.node.sync.uplink import HttpUplink
from skerry.testing.fake_hub import FakeHub, FakeLive
from skerry.testing.manual_clock import ManualClock
from skerry.testing.running_hub import RunningHub, running_hub
from skerry.testing.waiting import eventually
from skerry.wire.codec import decode
from skerry.wire.link import RUN_HEADER
from skerry.wire.people import NodeView
from skerry.wire.sync import Enrolled, Hello


@dataclass
class Site:
    """A hub, one enrolled node, and agents with its identity."""

    hub: RunningHub
    people: aiohttp.ClientSession
    session: aiohttp.ClientSession
    enrolled: Enrolled

    def uplink(self) -> HttpUplink:
        secret = self.hub.node(self.enrolled)["Authorization"].rpartition(".")[2]
        return HttpUplink(self.session, self.hub.address, self.enrolled.node_id, secret)

    def agent(self, directory: Path) -> NodeRig:
        return NodeRig(directory, self.uplink(), SystemClock())

    async def problem(self) -> str:
        async with self.people.get("/api/v1/nodes", headers=self.hub.person) as answer:
            [view] = decode(await answer.read(), list[NodeView], "nodes")
        return view.problem


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with (
        running_hub(tmp_path / "hub") as hub,
        aiohttp.ClientSession(hub.address) as people,
        open_session() as session,
    ):
        yield Site(hub, people, session, await hub.enrol("a"))


async def is_online(node: NodeRig) -> bool:
    return node.reachability.status.state == "online"


async def test_a_clone_is_told_to_everybody(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="skerry.hub.fleet.nodes")
    original, clone = site.agent(tmp_path / "original"), site.agent(tmp_path / "clone")
    await original.start()
    await original.stop()
    original.copy_to(tmp_path / "clone")
    async with contextlib.AsyncExitStack() as stack:
        for node in (original, clone):
            await node.start()
            stack.push_async_callback(node.stop)
            node.sync_on()
            await eventually(lambda node=node: is_online(node), "the agent is online")

        async def both_know() -> bool:
            statuses = [await node.sync.status() for node in (original, clone)]
            return all("127.0.0.1" in status.double for status in statuses)

        await eventually(both_know, "both agents know")
        assert "two agents use this node's identity" in await site.problem()
        warnings = [record for record in caplog.records if "two agents" in record.getMessage()]
        assert len(warnings) == 1


async def test_a_node_that_comes_back_beside_its_own_half_open_links_is_no_clone(
    site: Site, tmp_path: Path
) -> None:
    """The links stay open at the hub and nobody reads them, as after power cuts."""
    node = site.agent(tmp_path / "node")
    async with contextlib.AsyncExitStack() as stack:
        for run in ("run-1", "run-2", "run-3"):
            headers = site.hub.node(site.enrolled) | {RUN_HEADER: run}
            await stack.enter_async_context(
                site.people.ws_connect("/sync/v1/link", headers=headers)
            )
            await node.start()
            node.sync_on()
            await eventually(lambda: is_online(node), "the node is online")
            await eventually(lambda: node.sync.clock_skew is not None, "it has said hello")
            assert (await node.sync.status()).double == ""
            assert await site.problem() == ""
            await node.stop()


async def test_without_live_links_the_hellos_tell(site: Site) -> None:
    uplink = site.uplink()
    replies = [
        await uplink.hello(Hello((1, 1), "1" * 32, "0.1", "boot", run, host))
        for run, host in [("run-1", "edge-1"), ("run-2", "edge-2")] * 4
    ]
    assert [reply.double for reply in replies[:3]] == ["", "", ""]
    assert [reply.double for reply in replies[-2:]] == [
        "edge-2 (127.0.0.1)",
        "edge-1 (127.0.0.1)",
    ]
    assert "edge-1 (127.0.0.1)" in await site.problem()


async def test_an_agent_is_the_same_run_in_hello_and_link(tmp_path: Path) -> None:
    hub = FakeHub()
    for _ in range(2):
        node = NodeRig(tmp_path / "node", hub, SystemClock())
        await node.start()
        node.sync_on()
        await eventually(lambda: bool(hub.links and hub.hellos), "hello and link")
        assert {hello.run for hello in hub.hellos} == {hub.links[0].run}
        await node.stop()
        hub.hellos.clear()
        hub.links.clear()


async def test_two_agents_give_the_link_to_each_other_ever_more_rarely(tmp_path: Path) -> None:
    hub, clock = FakeHub(), ManualClock()
    opened: list[str] = []

    class CountingHub(FakeHub):
        async def live(self, run: str) -> FakeLive:
            opened.append(run)
            return await hub.live(run)

    nodes = [NodeRig(tmp_path / name, CountingHub(), clock) for name in "ab"]
    for node in nodes:
        await node.start()
        node.sync_on()
    await passing(clock, 600.0)
    assert len(set(opened)) == 2
    assert len(opened) < 60
    for node in nodes:
        await node.stop()
