"""A hub at several addresses: the node moves when one does not answer, and no transfer is lost or doubled."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest
from tests.sync_rig import NodeRig

from skerry.kit.clock import SystemClock
from skerry.kit.disk import RealDisk
from skerry.kit.errors import Busy, Transient
from skerry.node.hub_addresses import HubAddresses, account_of, ranked
from skerry.node.identity import (
    Enrolled,
    Identity,
    keep_identity,
    read_identity,
    write_identity,
)
from skerry.node.ports import NotKnown
from skerry.node.settings import declared
from skerry.node.sync.connections import Patience, open_session
from skerry.node.sync.uplink import HttpUplink
from skerry.testing.fake_hub import NODE_ID, FakeHub
from skerry.testing.fake_hub_server import SECRET, serve_fake_hub
from skerry.testing.waiting import eventually
from skerry.wire.sync import Hello

A = "a" * 32
HASTY = Patience(connect=0.3, answer=0.5, ping_every=0.2, silence=0.6)
HELLO = Hello((1, 1), "1" * 32, "0", "boot")


class Site:
    """One hub behind two doors, and a node that knows both."""

    def __init__(self, directory: Path) -> None:
        self.hub = FakeHub()
        self.doors = [AsyncExitStack(), AsyncExitStack()]
        self.stack = AsyncExitStack()
        self.directory = directory

    async def open(self) -> None:
        self.ports = [
            await door.enter_async_context(serve_fake_hub(self.hub)) for door in self.doors
        ]
        self.urls = [f"http://127.0.0.1:{port}" for port in self.ports]
        self.session = await self.stack.enter_async_context(open_session(HASTY))
        self.addresses = HubAddresses(self.urls)
        self.uplink = HttpUplink(self.session, self.addresses, NODE_ID, SECRET, HASTY)
        self.node = NodeRig(
            self.directory, self.uplink, SystemClock(), address=lambda: self.addresses.current
        )
        await self.node.start()

    async def close(self) -> None:
        await self.node.stop()
        await self.stack.aclose()
        for door in self.doors:
            await door.aclose()

    async def has(self, count: int) -> None:
        def arrived() -> bool:
            found = sorted(counter for _, counter in self.hub.records)
            return found == list(range(1, count + 1))

        await eventually(arrived, f"{count} records are at the hub, each once")


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(tmp_path / "node")
    await site.open()
    yield site
    await site.close()


async def publish(site: Site, first: int) -> None:
    for counter in range(first, first + 6000, 600):
        await site.node.publish(A, counter, 600, noise=40)


@pytest.mark.guarantee("G1")
async def test_a_node_moves_to_the_next_address_in_the_middle_of_its_pushes(site: Site) -> None:
    site.node.sync_on()
    await eventually(lambda: site.node.reachability.status.state == "online", "online")
    for round_, door in enumerate((0, 1, 0)):
        first = 1 + round_ * 6000
        publishing = asyncio.create_task(publish(site, first))
        await eventually(lambda n=first: len(site.hub.records) >= n, "the push has begun")
        await site.doors[door].aclose()
        await publishing
        await site.has(first + 5999)
        other = site.urls[1 - door]

        def moved(url: str = other) -> bool:
            status = site.node.reachability.status
            return (status.state, status.hub) == ("online", url)

        await eventually(moved, "the live link is there, too")
        assert site.addresses.current == other
        port = site.ports[door]
        await site.doors[door].enter_async_context(serve_fake_hub(site.hub, port))


async def test_a_busy_hub_is_left_for_another_and_named_when_no_other_answers(site: Site) -> None:
    site.hub.busy = 1
    await site.uplink.hello(HELLO)
    assert site.addresses.current == site.urls[1]
    await site.doors[0].aclose()
    site.hub.busy, site.hub.busy_after = 1, 7
    with pytest.raises(
        Busy, match="answered 429: cannot say hello: the hub is kept busy.*; cannot reach"
    ) as busy:
        await site.uplink.hello(HELLO)
    assert busy.value.after == 7


async def test_it_stays_where_it_was_answered_and_says_where_nobody_was(site: Site) -> None:
    await site.doors[0].aclose()
    await site.uplink.hello(HELLO)
    await site.doors[0].enter_async_context(serve_fake_hub(site.hub, site.ports[0]))
    await site.uplink.hello(HELLO)
    assert site.addresses.current == site.urls[1]
    for door in site.doors:
        await door.aclose()
    with pytest.raises(Transient) as failure:
        await site.uplink.hello(HELLO)
    assert all(url in str(failure.value) for url in site.urls)


async def test_a_hello_tells_where_else_hubs_are_and_it_outlives_the_agent(
    site: Site, tmp_path: Path
) -> None:
    disk = RealDisk()
    write_identity(tmp_path, Identity(NODE_ID, "n", {}, site.urls[0], "h"), SECRET, disk)

    def uplink() -> tuple[HttpUplink, HubAddresses]:
        identity = read_identity(tmp_path)
        assert identity is not None
        keep = partial(keep_identity, tmp_path, disk)
        account = account_of(None, Enrolled(identity, SECRET), keep)
        assert account is not None
        return HttpUplink(
            site.session, account.addresses, NODE_ID, SECRET, HASTY
        ), account.addresses

    site.hub.hubs = site.urls
    await uplink()[0].hello(HELLO)
    await site.doors[0].aclose()
    again, addresses = uplink()
    await again.hello(HELLO)
    assert addresses.current == site.urls[1]


async def test_a_refusal_is_an_answer(site: Site) -> None:
    stranger = HttpUplink(site.session, HubAddresses(site.urls), NODE_ID, "guess", HASTY)
    with pytest.raises(NotKnown):
        await stranger.hello(HELLO)


async def test_a_hub_that_takes_connections_and_answers_none_is_passed_over(site: Site) -> None:
    writers: list[asyncio.StreamWriter] = []

    def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    addresses = HubAddresses([f"http://127.0.0.1:{port}", site.urls[0]])
    uplink = HttpUplink(site.session, addresses, NODE_ID, SECRET, HASTY)
    await uplink.hello(HELLO)
    assert addresses.current == site.urls[0]
    for writer in writers:
        writer.close()
        await writer.wait_closed()
    server.close()


def test_addresses_come_round_from_the_one_that_answered() -> None:
    addresses = HubAddresses(["http://a/", "http://b", "http://a", "http://c"])
    assert addresses.in_turn() == ("http://a", "http://b", "http://c")
    addresses.answered("http://b")
    assert addresses.in_turn() == ("http://b", "http://c", "http://a")


def test_the_setting_goes_before_what_the_hub_told_and_nodes_spread() -> None:
    told = ["http://a", "http://b", "http://c"]
    known = Enrolled(Identity("n1", "n", {}, "http://door", "h", told), "secret")
    kept: list[Identity] = []
    assert account_of(None, None, kept.append) is None
    of_setting = account_of("http://x, http://y", known, kept.append)
    assert of_setting is not None
    assert of_setting.addresses.in_turn() == ("http://x", "http://y")
    of_setting.addresses.told(["http://new"])
    assert of_setting.addresses.in_turn() == ("http://x", "http://y")
    own = account_of(None, known, kept.append)
    assert own is not None
    assert own.addresses.in_turn() == (*ranked("n1", told), "http://door")
    own.addresses.told(told[::-1])
    own.addresses.told([])
    assert kept == []
    own.addresses.answered("http://b")
    own.addresses.told(["http://c", "http://d"])
    assert own.addresses.current == "http://b"
    assert set(own.addresses.in_turn()) == {"http://b", "http://c", "http://d", "http://door"}
    assert [identity.hub_urls for identity in kept] == [["http://c", "http://d"]]
    first = [ranked(f"n{number}", told)[0] for number in range(300)]
    assert min(first.count(address) for address in told) > 60


def test_a_wrong_one_among_several_addresses_is_told() -> None:
    [setting] = [one for one in declared(Path("/"), root=False, host="h") if one.path == "hub.url"]
    assert setting.check is not None
    assert setting.check("http://a:1,https://b") is None
    assert "«ftp://b» is not a URL" in str(setting.check("http://a, ftp://b"))
