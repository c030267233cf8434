"""`GET /sync/status` as monitoring scripts search it: the word «success» stands there only while all is well."""

import asyncio
import shlex
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from tests.ports import free_port
from tests.sync_rig import NodeRig, passing

from skerry.kit.own_hosts import own_hosts
from skerry.node.api.admin import public_app
from skerry.node.api.sites import Apps, LocalApi
from skerry.node.sync.reachability import Reachability
from skerry.node.sync.sync import Stores, Sync
from skerry.testing.fake_hub import FakeHub
from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually
from skerry.wire.local import SyncStatus

CHECK = "curl -s http://localhost:8000/sync/status | grep -q 'success'"
"""As the edge-infrastructure document prints it; here the port is another one, and the answer is read by the test."""


class Site:
    """A node's read-only port beside its real sync."""

    def __init__(self, node: NodeRig, hub: FakeHub, port: int) -> None:
        self.node = node
        self.hub = hub
        self.sync = node.sync
        self.port = port
        self._url = f"http://localhost:{port}/sync/status"

    async def sync_status(self) -> SyncStatus:
        return await self.sync.status()

    async def answer(self) -> bytes:
        async with aiohttp.ClientSession() as session, session.get(self._url) as response:
            return await response.read()

    async def check(self) -> int:
        """The exit code of the documented check."""
        grep = await asyncio.create_subprocess_exec(
            *shlex.split(CHECK.partition("|")[2]), stdin=asyncio.subprocess.PIPE
        )
        await grep.communicate(await self.answer())
        assert grep.returncode is not None
        return grep.returncode


@pytest.fixture
async def site(short_dir: Path, manual_clock: ManualClock) -> AsyncIterator[Site]:
    hub = FakeHub()
    node = NodeRig(short_dir / "node", hub, manual_clock)
    await node.start()
    found = Site(node, hub, free_port())
    services: Any = found
    api = LocalApi(short_dir / "run")
    public = public_app(services, own_hosts("edge-1"))
    await api.start(Apps(web.Application(), web.Application(), public), found.port)
    time = asyncio.create_task(passing(manual_clock))
    yield found
    time.cancel()
    await asyncio.wait([time])
    await api.stop()
    await node.stop()


async def result_is(site: Site, result: str) -> None:
    async def so() -> bool:
        return (await site.sync.status()).result == result

    await eventually(so, f"the result is «{result}»")


async def test_the_documented_check_of_a_linked_node_and_of_one_that_is_cut_off(site: Site) -> None:
    assert await site.check() == 1
    site.node.sync_on()
    await result_is(site, "success")
    assert await site.check() == 0
    site.hub.reachable = False
    site.hub.cut()
    await result_is(site, "failing")
    assert await site.check() == 1


async def test_the_documented_check_of_a_node_without_a_hub(
    site: Site, manual_clock: ManualClock
) -> None:
    node = site.node
    alone = Reachability(node.store, manual_clock, None)
    site.sync = Sync(Stores(node.store, node.records), alone, None, manual_clock, None)  # type: ignore[arg-type]  # unused
    assert await site.check() == 1


async def test_what_a_hub_says_about_its_refusal_does_not_count(site: Site) -> None:
    said = "cannot push: unsuccessful"
    status = await site.sync.status()
    link = msgspec.structs.replace(status.link, cause=said)

    async def refused() -> SyncStatus:
        return msgspec.structs.replace(status, link=link, last_synced=1)

    site.sync_status = refused  # type: ignore[method-assign]
    assert await site.check() == 1
    assert msgspec.json.decode(await site.answer(), type=SyncStatus).link.cause == said
