"""Tunnels of people through a real hub and a node's live link: bytes both ways, fair to others, ended in time."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import aiohttp
import pytest
from tests.http_client import Client
from tests.tunnel_rig import Entered, Person, echo, linked, opened, serving, tunnel

from skerry.core.audit_entries import Deed
from skerry.hub.api import carrying
from skerry.hub.settings import AccessSection
from skerry.kit.errors import Transient
from skerry.testing.running_hub import EnrolledNode, RunningHub, running_hub
from skerry.testing.waiting import eventually
from skerry.wire.audit import AuditPage
from skerry.wire.codec import decode, encode
from skerry.wire.link import WINDOW, Close
from skerry.wire.people import Apply
from skerry.wire.workload import ProcessSpec, Selector, WorkloadSpec

MUCH = 3 * WINDOW + 17


async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(bytes(65536))
        await writer.drain()


async def test_bytes_go_both_ways_and_each_side_may_end_first(
    hub: RunningHub, node: EnrolledNode, client: Client
) -> None:
    sent = bytes(number % 251 for number in range(MUCH))
    async with (
        serving(echo) as port,
        linked(hub, node, [port]),
        opened(client, hub.person, port) as person,
        asyncio.TaskGroup() as group,
    ):
        _ = group.create_task(person.send(sent))
        assert await person.read(MUCH) == sent
        await person.end()
        assert await person.rest() == b"over"
        assert person.words == ""


async def test_a_service_that_reads_late_gets_everything(
    hub: RunningHub, node: EnrolledNode, client: Client
) -> None:
    """What it does not take waits with the person: the hub and the node hold a window of it each."""
    read = asyncio.Event()

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read.wait()
        writer.write(str(len(await reader.read())).encode())

    much = 100 * WINDOW
    async with (
        serving(late) as port,
        serving(echo) as other,
        linked(hub, node, [port, other]),
        opened(client, hub.person, port) as person,
        opened(client, hub.person, other) as beside,
        asyncio.TaskGroup() as group,
    ):
        sending = group.create_task(_send_all(person, much))
        await beside.send(bytes(MUCH))
        assert await beside.read(MUCH) == bytes(MUCH)
        assert not sending.done()
        read.set()
        assert await person.rest() == str(much).encode()
        assert person.words == ""


async def _send_all(person: Person, size: int) -> None:
    await person.send(bytes(size))
    await person.end()


async def test_the_node_says_why_there_is_no_tunnel(
    hub: RunningHub, node: EnrolledNode, client: Client
) -> None:
    async with serving(echo) as port:
        pass
    words = {}
    async with linked(hub, node, [port]):
        for wanted in (port, 5432, 70000):
            async with tunnel(client, hub.person, wanted) as person:
                answer = await person.message()
                assert isinstance(answer, Close)
                words[wanted] = answer.error
        async with tunnel(client, hub.person, port, "nobody") as person:
            assert await person.message() == Close(
                0, "cannot open a tunnel: there is no node «nobody»"
            )
    assert "Does anything listen" in words[port]
    assert "access: {forward: [5432]}" in words[5432]
    assert "70000 is not a port" in words[70000]
    async with tunnel(client, hub.person, port) as person:
        answer = await person.message()
        assert isinstance(answer, Close)
        assert "no live link" in answer.error


async def test_a_node_that_knows_no_tunnels_says_so(
    hub: RunningHub, node: EnrolledNode, client: Client
) -> None:
    async with linked(hub, node, services={}), tunnel(client, hub.person, 22) as person:
        words = "cannot open channel: this node knows no kind «tunnel»"
        assert await person.message() == Close(0, words)


async def test_a_link_that_carries_only_high_priority_refuses_tunnels_of_a_lower_class(
    hub: RunningHub, node: EnrolledNode, client: Client
) -> None:
    async with (
        serving(echo) as port,
        linked(hub, node, [port], held=lambda: "a modem"),
        tunnel(client, hub.person, port) as person,
    ):
        answer = await person.message()
        assert isinstance(answer, Close)
        assert "only high priority goes over the link now: a modem" in answer.error


async def test_tunnels_at_full_speed_hold_up_neither_news_nor_logs_nor_each_other(
    hub: RunningHub, node: EnrolledNode, client: Client
) -> None:
    """One person reads as fast as bytes come, one does not read at all; both fill what they may."""
    async with (
        serving(flood) as port,
        serving(echo) as other,
        linked(hub, node, [port, other]) as (bells, logs),
        opened(client, hub.person, port) as fast,
        opened(client, hub.person, port),  # nobody reads
        opened(client, hub.person, other) as person,
    ):
        logs.lines["w"] = [f"line {number}" for number in range(2000)]
        reading = asyncio.create_task(_read_on(fast))
        await eventually(lambda: fast_read(fast) > 2 * WINDOW, "the tunnel runs")
        path = "/api/v1/nodes/a/logs/w"
        async with client.get(path, headers=hub.person) as response:
            assert len((await response.text()).splitlines()) == 2000
        await person.send(b"hello")
        assert await person.read(5) == b"hello"
        before = bells.news.count
        spec = WorkloadSpec(name="w", process=ProcessSpec(command=["true"]), on=Selector(node="a"))
        body = encode(Apply([spec]))
        async with client.put("/api/v1/workloads", data=body, headers=hub.person) as response:
            assert response.status == 200
        await eventually(lambda: bells.news.count > before, "the news are there")
        assert not reading.done()
        reading.cancel()
        await asyncio.wait([reading])


_READ: dict[int, int] = {}


def fast_read(person: Person) -> int:
    return _READ.get(id(person), 0)


async def _read_on(person: Person) -> None:
    while True:
        _READ[id(person)] = fast_read(person) + len(await person.read(1))


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrying, "CHECK_EVERY", 0.1)


@pytest.mark.usefixtures("often")
@pytest.mark.guarantee("G9")
async def test_a_tunnel_ends_when_its_person_may_no_more(
    hub: RunningHub, node: EnrolledNode, client: Client, tmp_path: Path
) -> None:
    async with serving(echo) as port, linked(hub, node, [port]):
        revoked = await hub.access_token("ann", "operator")
        async with opened(client, revoked, port) as person:
            await person.send(b"x")
            assert await person.read(1) == b"x"
            async with client.delete("/api/v1/access/tokens/ann", headers=hub.person) as response:
                assert response.status == 200
            assert await person.rest() == b""
            assert person.words
            assert "was revoked" in person.words
        expiring = await hub.access_token("bob", "operator")
        async with opened(client, expiring, port) as person:
            with contextlib.closing(sqlite3.connect(tmp_path / "hub.db")) as database, database:
                database.execute("UPDATE api_token SET expires_at = created_at")
            assert await person.rest() == b""
            assert person.words
            assert "was good until" in person.words


async def test_a_tunnel_ends_with_its_node(
    hub: RunningHub, node: EnrolledNode, client: Client
) -> None:
    async with (
        serving(echo) as port,
        linked(hub, node, [port]),
        opened(client, hub.person, port) as person,
    ):
        async with client.delete("/api/v1/nodes/a", headers=hub.person) as response:
            assert response.status == 200
        assert await person.rest() == b""
        assert person.words
        assert "the link to the node was cut" in person.words


@pytest.mark.parametrize(
    ("access", "words"),
    [
        (AccessSection(tunnel_idle=0.4), "nothing moved for"),
        (AccessSection(tunnel_duration=0.4), "it lasted"),
    ],
)
async def test_a_tunnel_ends_when_it_is_idle_or_old(
    tmp_path: Path, access: AccessSection, words: str
) -> None:
    async with running_hub(tmp_path, access=access) as hub:
        node = await hub.enrol("a")
        async with (
            aiohttp.ClientSession(hub.address) as client,
            serving(echo) as port,
            linked(hub, node, [port]),
            tunnel(client, hub.person, port) as person,
        ):
            assert await person.rest() == b""
            assert person.words
            assert words in person.words


async def test_only_who_may_execute_opens_tunnels(
    hub: RunningHub, node: EnrolledNode, client: Client
) -> None:
    monitor = await hub.access_token("eve", "monitor")
    for headers in (monitor, {}, hub.node(node)):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with tunnel(client, headers, 22):
                pass
        assert refused.value.status == 403


async def test_the_audit_log_tells_who_when_where_and_how_much(
    hub: RunningHub, node: EnrolledNode, client: Client
) -> None:
    ann = await hub.access_token("ann", "operator")
    async with (
        serving(echo) as port,
        linked(hub, node, [port]),
        opened(client, ann, port) as person,
    ):
        await person.send(b"12345")
        assert await person.read(5) == b"12345"
        await person.end()
        _ = await person.rest()
    found: list[tuple[str, str, str]] = []

    async def entered() -> bool:
        async with client.get("/api/v1/audit?after=0&limit=100", headers=hub.person) as response:
            page = decode(await response.read(), AuditPage, "page")
        found[:] = [
            (row.entry.outcome, row.entry.object, row.entry.detail)
            for row in page.entries
            if row.entry.actor == "ann"
        ]
        return len(found) == 2

    await eventually(entered, "both entries are there")
    path = f"/api/v1/nodes/a/tunnel/{port}"
    assert found[0] == ("begun", path, "")
    assert found[1][:2] == ("done", path)
    assert found[1][2].startswith("5 bytes to it, 9 back, ")


async def test_the_node_enters_who_opens_what_and_what_came_of_it(
    hub: RunningHub, node: EnrolledNode, client: Client
) -> None:
    """Nobody says in whose name, but the administrator, whose token hub processes use."""
    entered = Entered()
    ann = await hub.access_token("ann", "operator")
    lie = {"Skerry-Forwarded": "1", "Skerry-Asked-By": "bob"}
    async with serving(echo) as port, linked(hub, node, [port, 1], entered=entered):
        async with opened(client, ann | lie, port) as person:
            await person.send(b"hello")
            await person.end()
            assert await person.rest() == b"helloover"
        for headers, wrong in ((ann, 2), (hub.person, 1)):
            async with tunnel(client, headers, wrong) as person:
                assert isinstance(await person.message(), Close)
        async with opened(client, hub.person | lie, port):
            pass
        await eventually(lambda: len(entered.deeds) == 7, "all outcomes are entered")
    assert {(each.actor, each.action) for each in entered.deeds} == {("hub", "open_tunnel")}
    told = [(each.object, each.detail, each.status, each.of) for each in entered.deeds]
    here = f"port {port}"
    assert told[:2] == [
        (here, "for «ann»", 0, 0),
        (here, "for «ann», 5 bytes to it, 9 back", 200, 1),
    ]
    assert told[2][1].startswith("for «ann», cannot open a tunnel to port 2: the node does not")
    assert (entered.deeds[2].outcome, told[2][2]) == ("refused", 409)
    assert told[3] == ("port 1", "for «admin»", 0, 0)
    assert told[4][1].startswith("for «admin», 0 bytes to it, 0 back, cannot open a tunnel to")
    assert told[4][2:] == (409, 4)
    assert [each[1:3] for each in told[5:]] == [
        ("for «bob»", 0),
        ("for «bob», 0 bytes to it, 0 back", 200),
    ]


class Full(Entered):
    """Nothing can be entered."""

    async def begun(self, deed: Deed) -> int:
        raise Transient(f"cannot enter {deed.action}: the disk is full")


async def test_a_disk_that_is_full_keeps_nobody_out_who_may_make_room(
    hub: RunningHub, node: EnrolledNode, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        serving(echo) as port,
        linked(hub, node, [port], entered=Full()),
        opened(client, hub.person, port) as person,
    ):
        await person.send(b"hello")
        assert await person.read(5) == b"hello"
    assert "cannot enter open_tunnel: the disk is full" in caplog.text


async def test_a_person_who_hangs_up_hangs_up_the_service(
    hub: RunningHub, node: EnrolledNode, client: Client
) -> None:
    left = asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await reader.read()
        left.set()

    async with serving(wait) as port, linked(hub, node, [port]):
        async with opened(client, hub.person, port):
            pass
        async with asyncio.timeout(30):
            await left.wait()
