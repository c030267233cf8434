"""A hub that only a proxy can reach: its name is known to nobody else."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from tests.model_cases import content, model
from tests.sync_rig import NodeRig

from skerry.kit.clock import SystemClock
from skerry.kit.disk import RealDisk
from skerry.kit.errors import Transient
from skerry.kit.pace import Pace
from skerry.node.models.download import Download
from skerry.node.node_settings import Proxies
from skerry.node.sync.connections import open_session
from skerry.node.sync.uplink import HttpUplink
from skerry.testing.chaos_proxy import ChaosProxy
from skerry.testing.fake_hub import NODE_ID, FakeHub
from skerry.testing.fake_hub_server import SECRET, serve_fake_hub
from skerry.testing.file_server import FileServer, serve_files
from skerry.testing.waiting import eventually
from skerry.wire.sync import Hello

HUB = "http://hub.invalid:8600"
HELLO = Hello((1, 1), "1" * 32, "0", "boot")


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_session() as session:
        yield session


def proxied(proxy: ChaosProxy, *direct: str) -> Proxies:
    return Proxies(f"http://ada:secret@127.0.0.1:{proxy.port}", "", direct)


async def test_records_and_the_live_link_take_the_proxy(
    short_dir: Path, session: aiohttp.ClientSession
) -> None:
    hub = FakeHub()
    async with serve_fake_hub(hub) as port, ChaosProxy("127.0.0.1", port) as proxy:
        uplink = HttpUplink(session, HUB, NODE_ID, SECRET, proxies=proxied(proxy))
        node = NodeRig(short_dir / "node", uplink, SystemClock())
        await node.start()
        await node.publish("a" * 32, 1, 5)
        node.sync_on()
        await eventually(lambda: len(hub.records) == 5, "the records are there")
        await eventually(
            lambda: node.reachability.status.state == "online", "the live link is open"
        )
        await node.stop()


async def test_models_take_it_too(short_dir: Path, session: aiohttp.ClientSession) -> None:
    blob = content(50_000)
    async with (
        serve_files(FileServer({"/w": blob})) as server,
        ChaosProxy("127.0.0.1", server.port) as proxy,
    ):
        pace = Pace(None, SystemClock())
        download = Download(session, None, RealDisk(), pace, proxies=proxied(proxy))
        part = short_dir / "part"
        url = "http://models.invalid/w"
        await download.fetch(url, model("w", blob).files[0], part, lambda _: None)
        assert part.read_bytes() == blob


async def test_who_is_named_in_no_proxy_does_not(session: aiohttp.ClientSession) -> None:
    async with ChaosProxy("127.0.0.1", 9) as proxy:
        uplink = HttpUplink(session, HUB, NODE_ID, SECRET, proxies=proxied(proxy, "hub.invalid"))
        with pytest.raises(Transient, match="name not found"):
            await uplink.hello(HELLO)
        assert proxy.accepted == 0


async def test_a_proxy_that_is_away_is_named_without_its_password(
    session: aiohttp.ClientSession,
) -> None:
    async with ChaosProxy("127.0.0.1", 9) as proxy:
        proxy.refuse()
        uplink = HttpUplink(session, HUB, NODE_ID, SECRET, proxies=proxied(proxy))
        with pytest.raises(Transient) as caught:
            await uplink.hello(HELLO)
        assert str(caught.value) == f"cannot reach hub {HUB}: the proxy does not answer"
