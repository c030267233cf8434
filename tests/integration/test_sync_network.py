"""A node's sync over real sockets, through a path that breaks in every way; the hub behind it is a fake."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.sync_rig import NodeRig
from yarl import URL

from skerry.kit.clock import SystemClock
from skerry.kit.errors import InvalidInput, Refused, Transient
from skerry.node.sync.connections import Patience, open_session
from skerry.node.sync.uplink import HttpUplink
from skerry.testing.chaos_proxy import ChaosProxy
from skerry.testing.fake_hub import NODE_ID, FakeHub
from skerry.testing.fake_hub_server import SECRET, serve_fake_hub
from skerry.testing.running_hub import client_context, running_hub
from skerry.testing.waiting import eventually
from skerry.wire.sync import Hello, Pull

A = "a" * 32
HASTY = Patience(connect=0.3, answer=0.5, ping_every=0.2, silence=0.6)
HELLO = Hello((1, 1), "1" * 32, "0", "boot")


class Site:
    """A hub at a port of its own, a spoilt way to it, and a node beyond."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.hub = FakeHub()
        self.stack = AsyncExitStack()

    async def open(self) -> None:
        self.serving = AsyncExitStack()
        self.port = await self.serving.enter_async_context(serve_fake_hub(self.hub))
        self.proxy = await self.stack.enter_async_context(ChaosProxy("127.0.0.1", self.port))
        self.session = await self.stack.enter_async_context(open_session(HASTY))
        url = f"http://127.0.0.1:{self.proxy.port}"
        self.uplink = HttpUplink(self.session, url, NODE_ID, SECRET, HASTY)
        self.node = NodeRig(self.directory, self.uplink, SystemClock())
        await self.node.start()

    async def stop_hub(self) -> None:
        await self.serving.aclose()

    async def start_hub(self) -> None:
        await self.serving.enter_async_context(serve_fake_hub(self.hub, self.port))

    async def close(self) -> None:
        await self.node.stop()
        await self.stack.aclose()
        await self.serving.aclose()

    def arrived(self) -> list[int]:
        return sorted(counter for _, counter in self.hub.records)

    async def has(self, count: int) -> None:
        await eventually(
            lambda: self.arrived() == list(range(1, count + 1)), f"{count} records are at the hub"
        )

    async def becomes(self, state: str) -> None:
        await eventually(
            lambda: self.node.reachability.status.state == state, f"the node is {state}"
        )


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(tmp_path / "node")
    await site.open()
    yield site
    await site.close()


async def test_a_hub_that_is_far_away_is_reached(tmp_path: Path) -> None:
    """As by a narrow band: TLS wants an answer, which takes 2.4 s, before the first question."""
    async with (
        running_hub(tmp_path, method="certificate") as hub,
        ChaosProxy("127.0.0.1", URL(hub.nodes_address).port or 0) as proxy,
    ):
        node = await hub.certify("far")
        proxy.path.delay = 1.2
        tls = client_context(node.trust.roots, node.certificate, node.key)
        async with open_session(tls=tls) as session:
            uplink = HttpUplink(session, f"https://127.0.0.1:{proxy.port}", node.node_id, "")
            assert (await uplink.hello(HELLO)).trust is not None


async def test_news_come_through_the_live_link(site: Site) -> None:
    site.node.sync_on()
    await site.becomes("online")
    site.hub.write("assignment", "cam", b'{"x":"' + b"y" * 5000 + b'"}')  # large enough for zstd

    async def held() -> bool:
        return [row.id for row in await site.node.store.rows("assignment")] == ["cam"]

    await eventually(held, "the assignment is here")


@pytest.mark.parametrize("connects", ["accepted", "hanging"])
async def test_a_black_hole_is_noticed_and_healed(site: Site, connects: str) -> None:
    site.node.sync_on()
    await site.becomes("online")
    site.proxy.black_hole(connects=connects)  # type: ignore[arg-type]
    await site.node.publish(A, 1, 100)
    await site.becomes("offline")
    assert site.node.reachability.status.cause.startswith("cannot reach hub http://127.0.0.1")
    await site.node.publish(A, 101, 100)
    assert site.arrived() == []
    site.proxy.heal()
    await site.has(200)
    await site.becomes("online")


async def test_an_idle_node_notices_a_black_hole_by_its_pings(site: Site) -> None:
    site.node.sync_on()
    await site.becomes("online")
    site.proxy.black_hole()
    await site.becomes("offline")
    site.proxy.heal()
    await site.becomes("online")


async def test_a_hub_that_is_restarted_is_found_again(site: Site) -> None:
    site.node.sync_on()
    await site.becomes("online")
    await site.stop_hub()
    await site.becomes("offline")
    await site.node.publish(A, 1, 100)
    await site.start_hub()
    await site.has(100)
    await site.becomes("online")


async def test_a_refusing_path_says_so(site: Site) -> None:
    site.proxy.refuse()
    site.node.sync_on()
    await eventually(
        lambda: site.node.reachability.status.cause.endswith(": connection refused"),
        "the cause is «connection refused»",
    )
    site.proxy.heal()
    await site.becomes("online")


async def test_resets_in_the_middle_of_everything_lose_and_double_nothing(site: Site) -> None:
    site.node.sync_on()
    await site.becomes("online")
    sent = 0
    for size, direction in ((50, "up"), (700, "up"), (5000, "up"), (1, "down"), (150, "down")):
        site.proxy.cut_after(size, direction)  # type: ignore[arg-type]
        for _ in range(20):
            await site.node.publish(A, sent + 1, 50)
            sent += 50
        await site.has(sent)
        site.proxy.reset_all()
    await site.becomes("online")


async def test_a_slow_path_carries_a_unit_that_takes_longer_than_an_answer_may(site: Site) -> None:
    site.proxy.path.rate = 16_000
    await site.node.publish(A, 1, 100, noise=500)  # 25 kB when compressed: 1.5 s
    site.node.sync_on()
    await site.has(100)
    assert len({unit.first for unit in site.hub.units if unit.lane == "keep"}) == 1
    assert len(site.hub.units) == 1


async def test_calls_after_the_hub_closed_idle_connections_just_work(site: Site) -> None:
    await site.uplink.hello(HELLO)
    site.proxy.reset_all()
    assert (await site.uplink.hello(HELLO)).hub_id == "fake-hub"


@pytest.mark.guarantee("G9")
async def test_a_wrong_secret_is_refused_and_never_shown(site: Site) -> None:
    wrong = HttpUplink(site.session, f"http://127.0.0.1:{site.port}", NODE_ID, "guess", HASTY)
    with pytest.raises(Refused, match="does not know this node or what it shows") as refusal:
        await wrong.hello(HELLO)
    assert "guess" not in str(refusal.value)
    with pytest.raises(Refused, match="401"):
        await wrong.live("run-1")


async def test_causes_are_plain_words(site: Site) -> None:
    nowhere = HttpUplink(site.session, "http://no-such-host.invalid", NODE_ID, SECRET, HASTY)
    with pytest.raises(Transient, match="no-such-host.invalid: name not found"):
        await nowhere.hello(HELLO)
    site.proxy.black_hole()
    with pytest.raises(Transient, match="no answer for 0.5 s"):
        await site.uplink.pull(Pull(None, ""))
    site.proxy.heal()
    site.proxy.black_hole(connects="hanging")
    site.proxy.reset_all()
    with pytest.raises(Transient, match="no connection within 0.3 s"):
        await site.uplink.hello(HELLO)
    async with open_session() as session:
        patient = HttpUplink(session, f"http://127.0.0.1:{site.proxy.port}", NODE_ID, SECRET)
        with pytest.raises(Transient, match="no answer to a connection"):
            await patient.hello(HELLO)


async def test_what_answers_but_is_no_hub_is_named(site: Site) -> None:
    async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b"<html>router login</html>"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(page, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    uplink = HttpUplink(site.session, f"http://127.0.0.1:{port}", NODE_ID, SECRET, HASTY)
    with pytest.raises(InvalidInput, match="cannot read the hub's answer to hello"):
        await uplink.hello(HELLO)
    server.close()
