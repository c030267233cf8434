"""Commands in workloads whose bytes one side does not take for a while: none is cut off, and none outlives who asked."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from tests.hub_execution_rig import OneWorkload, Person, asked, launched, shell
from tests.tunnel_rig import Entered, linked

from skerry.hub.web_server import Keepalive
from skerry.node.access.executions import Executions
from skerry.testing.running_hub import RunningHub, running_hub
from skerry.testing.waiting import eventually
from skerry.wire.executions import STDIN, STDOUT, Ending
from skerry.wire.link import Bytes, to_frame

pytestmark = pytest.mark.guarantee("G9")

PULSE = Keepalive(0.5, 1.0)


@pytest.fixture
async def workload(short_dir: Path) -> AsyncIterator[OneWorkload]:
    async with launched(short_dir) as one:
        yield one


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[RunningHub]:
    """It soon gives up who does not answer its pings."""
    async with running_hub(tmp_path, keepalive=PULSE) as running:
        yield running


@pytest.fixture
async def client(hub: RunningHub, workload: OneWorkload) -> AsyncIterator[aiohttp.ClientSession]:
    node = await hub.enrol("a")
    service = Executions(workload, Entered(), lambda: "")
    async with (
        linked(hub, node, services={"exec": lambda: service.serve}),
        aiohttp.ClientSession(hub.address) as client,
    ):
        yield client


async def fill(person: Person) -> None:
    """Writes until it is not taken any more."""
    with contextlib.suppress(TimeoutError):
        while True:
            async with asyncio.timeout(0.5):
                await person.socket.send_bytes(to_frame(Bytes(0, bytes(32768), STDIN)))


async def test_who_waits_for_a_slow_command_is_not_cut_off(
    hub: RunningHub, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """Its answers to pings stand behind bytes that nobody takes."""
    go = tmp_path / "go"
    slow = shell(f"until [ -e {go} ]; do sleep 0.1; done; head -c 1000 | wc -c", stdin=True)
    async with asked(client, hub.person, slow) as person:
        hearing = asyncio.ensure_future(person.rest())
        await fill(person)
        await asyncio.wait([hearing], timeout=3 * (PULSE.interval + PULSE.timeout))
        go.touch()
        await hearing
    assert (person.ending, bytes(person.streams[STDOUT])) == (Ending(0), b"1000\n")


async def test_who_reads_late_is_not_cut_off(
    hub: RunningHub, client: aiohttp.ClientSession
) -> None:
    """Who does not read does not answer either."""
    script = "head -c 300000 /dev/zero; read -r word; echo $word"
    async with asked(client, hub.person, shell(script, stdin=True)) as person:
        await asyncio.sleep(3 * (PULSE.interval + PULSE.timeout))
        await person.socket.send_bytes(to_frame(Bytes(0, b"over\n", STDIN)))
        await person.rest()
    assert (person.ending, bytes(person.streams[STDOUT])) == (Ending(0), bytes(300_000) + b"over\n")


async def test_a_command_that_takes_nothing_ends_with_who_writes_to_it(
    hub: RunningHub, client: aiohttp.ClientSession, workload: OneWorkload
) -> None:
    instance = workload.launch.instance
    before = workload.device.processes(instance)
    wish = shell("echo up; exec sleep 1000", stdin=True)
    async with asked(client, hub.person, wish) as person:
        await person.until(b"up")
        await fill(person)
        connection = person.socket._response.connection
        assert connection is not None
        assert connection.transport is not None
        connection.transport.abort()
        await eventually(
            lambda: workload.device.processes(instance) == before, "nothing of it is left"
        )
