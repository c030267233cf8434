"""The issue's main scene: a value that was accepted is at the hub exactly once, whatever happens in between."""

import asyncio
import contextlib
import os
import shutil
import signal
import sqlite3
import threading
from functools import partial
from pathlib import Path

import pytest
from tests.files_in_use import copy_tree
from tests.installation import Node, installation, sleeper

from skerry.cli.http import Unreachable, node_api
from skerry.node.sync.reachability import OFFLINE_SINCE
from skerry.sdk.client import Client
from skerry.testing.chaos_proxy import ChaosProxy
from skerry.testing.waiting import eventually
from skerry.wire.local import StopRequest
from skerry.wire.people import WorkloadView
from skerry.wire.records import PublishedRecord, Row

pytestmark = pytest.mark.timeout(180)

BASE = 1_790_000_000_000_000_000


def publish(
    client: Client, name: str, first: int, count: int, pause: threading.Event | None = None
) -> None:
    """Values first … first+count-1, each in a call of its own, with its own nanosecond."""
    for value in range(first, first + count):
        client.publish("measurement", [_record(name, value)], 60.0)
        if pause is not None:
            pause.wait(0.001)


def _record(name: str, value: int) -> PublishedRecord:
    return PublishedRecord(name, value, BASE + value * 1_000_003)


def check(rows: list[Row], count: int) -> None:
    """Exactly the values 0 … count-1, once each, with their nanoseconds."""
    assert sorted((row.value, row.at) for row in rows) == [
        (n, BASE + n * 1_000_003) for n in range(count)
    ]


@pytest.mark.guarantee("G1")
async def test_a_thousand_values_through_a_black_hole_and_four_kills(short_dir: Path) -> None:
    async with (
        installation(short_dir) as site,
        ChaosProxy("127.0.0.1", site.hub.nodes_port) as proxy,
    ):
        node = await site.started(sleeper("feeder"), url=f"https://127.0.0.1:{proxy.port}")
        await eventually(lambda: node.link_is("online"), "the node is online")
        proxy.black_hole()
        publishing = asyncio.create_task(
            asyncio.to_thread(publish, node.publisher("feeder"), "t.value", 0, 1000)
        )
        for accepted in (200, 600):
            await eventually(partial(_accepted, node, accepted), f"{accepted} values accepted")
            await node.kill()
            await node.start()
            await node.ready()
        await publishing
        await eventually(lambda: node.link_is("offline"), "the node knows that it is offline")
        assert await site.hub.rows("t.value") == []
        proxy.path.rate = 20_000  # bytes a second: the replay takes long enough to be hit
        proxy.heal()
        for arrived in (1, 400):
            await eventually(
                partial(site.hub.has, "t.value", arrived), f"{arrived} values at the hub"
            )
            await site.hub.kill()
            await site.hub.start()
        proxy.path.rate = None
        await eventually(lambda: site.hub.has("t.value", 1000), "all values at the hub", 60)
        check(await site.hub.rows("t.value"), 1000)


@pytest.mark.guarantee("G1")
async def test_values_arrive_after_the_nodes_store_was_put_back(short_dir: Path) -> None:
    async with installation(short_dir) as site:
        node = await site.started(sleeper("feeder"))
        await asyncio.to_thread(publish, node.publisher("feeder"), "t.value", 0, 50)
        await node.process.end(signal.SIGTERM)
        copy_tree(node.directory, short_dir / "hour-old")
        await node.start()
        await node.ready()
        await asyncio.to_thread(publish, node.publisher("feeder"), "t.value", 50, 50)
        await eventually(lambda: site.hub.has("t.value", 100), "the first hundred values")
        await node.kill()
        _put_back(short_dir / "hour-old", node.directory)
        await site.hub.kill()
        await node.start()
        await node.ready()
        await asyncio.to_thread(publish, node.publisher("feeder"), "t.value", 100, 1000)
        await site.hub.start()
        await eventually(lambda: site.hub.has("t.value", 1100), "the thousand new values", 60)
        check(await site.hub.rows("t.value"), 1100)


@pytest.mark.guarantee("G1")
async def test_nothing_acknowledged_is_missing_after_the_hubs_store_was_put_back(
    short_dir: Path,
) -> None:
    async with installation(short_dir) as site:
        node = await site.started(sleeper("feeder"))
        client = node.publisher("feeder")
        await asyncio.to_thread(publish, client, "t.value", 0, 200)
        await eventually(lambda: site.hub.has("t.value", 200), "the first values")
        await site.hub.process.end(signal.SIGTERM)
        shutil.copytree(site.hub.directory, short_dir / "hour-old")
        await site.hub.start()
        await asyncio.to_thread(publish, client, "t.value", 200, 800)
        await eventually(lambda: _all_acknowledged(node), "everything acknowledged")
        check(await site.hub.rows("t.value"), 1000)
        await site.hub.kill()
        shutil.rmtree(site.hub.directory)
        shutil.copytree(short_dir / "hour-old", site.hub.directory)
        await site.hub.start()
        await eventually(lambda: site.hub.has("t.value", 1000), "what the hub had lost", 60)
        check(await site.hub.rows("t.value"), 1000)


@pytest.mark.guarantee("G2")
@pytest.mark.guarantee("G5")
async def test_a_node_starts_every_workload_with_no_hub_and_says_since_when_it_is_alone(
    short_dir: Path,
) -> None:
    async with installation(short_dir) as site:
        names = ["one", "two", "three"]
        node = await site.started(*(sleeper(name) for name in names))
        await site.hub.kill()
        await eventually(lambda: node.link_is("offline"), "the node notices")
        status = await node.status()
        assert status is not None
        since, cause = status.link.since, status.link.cause
        assert "cannot reach hub" in cause
        await eventually(lambda: stored_outage(node) == str(since), "the node has noted since when")
        await node.kill()
        node.clean()  # power off: agent, keeper and workloads are gone
        assert node.processes() == []
        await node.start()
        await node.ready()
        await eventually(lambda: node.runs(*names), "every workload runs again")

        async def remembers() -> bool:
            status = await node.status()
            return status is not None and (status.link.state, status.link.since) == (
                "offline",
                since,
            )

        await eventually(remembers, "it says since when, as soon as it has read that")


@pytest.mark.guarantee("G8")
async def test_workloads_live_through_the_agents_death_and_are_supervised_after_it(
    short_dir: Path,
) -> None:
    async with installation(short_dir) as site:
        node = await site.started(sleeper("one"), sleeper("two"))
        before = await node.pids()
        await node.kill()
        await node.start()
        await node.ready()
        assert await node.pids() == before
        os.kill(before["one"], signal.SIGKILL)

        async def restarted() -> bool:
            now = await node.pids()
            return now.keys() == before.keys() and now["one"] != before["one"]

        await eventually(restarted, "the killed workload runs again")
        assert (await node.pids())["two"] == before["two"]


@pytest.mark.guarantee("G5")
async def test_a_node_that_is_stopped_with_its_workloads_says_so(short_dir: Path) -> None:
    async with installation(short_dir) as site:
        node = await site.started(sleeper("one"), sleeper("two"))
        client = node.publisher("one")
        await asyncio.to_thread(publish, client, "t.value", 0, 20)
        async with node_api(node.directory) as api:
            await api.patient(60).order("POST", "/v1/stop", StopRequest(workloads=True))
        async with site.hub.api() as api:
            views = await api.get("/api/v1/workloads", list[WorkloadView])
        phases = {view.name: view.nodes[node.name].status for view in views}
        assert {name: status and status.phase for name, status in phases.items()} == {
            "one": "stopped",
            "two": "stopped",
        }
        check(await site.hub.rows("t.value"), 20)


@pytest.mark.guarantee("G4")
async def test_a_living_agent_opens_its_sockets_again(short_dir: Path) -> None:
    async with installation(short_dir) as site:
        node = await site.started(sleeper("one"))
        before = await node.pids()
        # At once: it may be made anew at any moment.
        (node.directory / "run").rename(short_dir / "tidied")
        shutil.rmtree(short_dir / "tidied")
        await node.ready()
        assert await node.pids() == before
        door = node.directory / "run/w/one/sock"
        await eventually(door.exists, "the workload's socket is there again")
        await asyncio.to_thread(publish, node.publisher("one"), "t.value", 0, 3)
        await eventually(lambda: site.hub.has("t.value", 3), "and works")


def stored_outage(node: Node) -> str:
    with contextlib.closing(sqlite3.connect(node.directory / "node.db")) as db:
        found = db.execute("SELECT value FROM fact WHERE name = ?", (OFFLINE_SINCE,)).fetchone()
    return found[0] if found else ""


async def _accepted(node: Node, count: int) -> bool:
    try:
        status = await node.sync()
    except Unreachable:  # between two lives
        return False
    return sum(lane.head for lane in status.lanes if lane.lane == "keep") >= count


async def _all_acknowledged(node: Node) -> bool:
    return all(lane.waiting == 0 for lane in (await node.sync()).lanes)


def _put_back(copy: Path, directory: Path) -> None:
    """The store as it was; what runs goes on running."""
    for name in ("node.db", "node.db-wal", "node.db-shm"):
        (directory / name).unlink(missing_ok=True)
    shutil.rmtree(directory / "records")
    for name in ("node.db", "node.db-wal", "node.db-shm"):
        if (copy / name).exists():
            shutil.copy2(copy / name, directory / name)
    shutil.copytree(copy / "records", directory / "records")
