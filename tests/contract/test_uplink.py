"""What a node's sync relies on: the same for the hub in memory, the one behind sockets, and the real one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.hub_rig import INCARNATION, SESSION, Lanes, batch, spec, status

from skerry.core.cursors import set_digest
from skerry.kit.errors import InvalidInput, Refused, Transient
from skerry.node.sync.connections import open_session
from skerry.node.sync.live_link import Evicted
from skerry.node.sync.sync import Hub
from skerry.node.sync.uplink import HttpUplink
from skerry.testing.fake_hub import NODE_ID, FakeHub
from skerry.testing.fake_hub_server import SECRET, serve_fake_hub
from skerry.testing.running_hub import RunningHub, running_hub
from skerry.wire.codec import decode, encode
from skerry.wire.link import News
from skerry.wire.people import Apply, Rows
from skerry.wire.records import Batch, Value
from skerry.wire.sync import (
    LANES,
    Hello,
    LanePoint,
    Pull,
    PullReply,
    PushUnit,
    StateFrame,
    StateRow,
)

OTHER = "22" * 16
EMPTY = set_digest({})


@dataclass
class FakeParty:
    """A hub in memory; `uplink` may reach it through sockets."""

    uplink: Hub
    node_id: str
    hub: FakeHub

    async def values(self) -> list[Value]:
        held = self.hub.records
        return [held[key].value for key in sorted(held) if key[0] == SESSION]

    async def want(self, workload: str) -> None:
        self.hub.write("assignment", workload)

    async def forget(self, workload: str) -> None:
        self.hub.write("assignment", workload, deleted=True)


@dataclass
class RealParty:
    """The real hub with its web server and SQLite."""

    uplink: Hub
    node_id: str
    hub: RunningHub
    people: aiohttp.ClientSession

    async def values(self) -> list[Value]:
        async with self.people.get("/api/v1/records?name=env.*", headers=self.hub.person) as answer:
            rows = decode(await answer.read(), Rows, "rows").rows
        return [row.value for row in sorted(rows, key=lambda row: row.at)]

    async def want(self, workload: str) -> None:
        body = encode(Apply([spec(workload)]))
        async with self.people.put(
            "/api/v1/workloads", data=body, headers=self.hub.person
        ) as answer:
            assert answer.status == 200, await answer.text()

    async def forget(self, workload: str) -> None:
        async with self.people.delete(
            f"/api/v1/workloads/{workload}", headers=self.hub.person
        ) as answer:
            assert answer.status < 300, await answer.text()


Party = FakeParty | RealParty


async def real_party(stack: AsyncExitStack, directory: Path) -> RealParty:
    hub = await stack.enter_async_context(running_hub(directory))
    people = await stack.enter_async_context(aiohttp.ClientSession(hub.address))
    enrolled = await hub.enrol("n1")
    session = await stack.enter_async_context(open_session())
    uplink = HttpUplink(session, hub.address, enrolled.node_id, enrolled.secret)
    return RealParty(uplink, enrolled.node_id, hub, people)


async def served_party(stack: AsyncExitStack) -> FakeParty:
    hub = FakeHub()
    port = await stack.enter_async_context(serve_fake_hub(hub))
    session = await stack.enter_async_context(open_session())
    uplink = HttpUplink(session, f"http://127.0.0.1:{port}", NODE_ID, SECRET)
    return FakeParty(uplink, NODE_ID, hub)


@pytest.fixture(params=["memory", "sockets", "real"])
async def party(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Party]:
    async with AsyncExitStack() as stack:
        if request.param == "memory":
            hub = FakeHub()
            yield FakeParty(hub, NODE_ID, hub)
        elif request.param == "sockets":
            yield await served_party(stack)
        else:
            yield await real_party(stack, tmp_path)


def hello(incarnation: str = INCARNATION) -> Hello:
    return Hello((1, 1), incarnation, "0.1", "boot-1")


async def points(party: Party, incarnation: str = INCARNATION) -> dict[str, LanePoint]:
    return dict((await party.uplink.hello(hello(incarnation))).lanes)


def point(lanes: Lanes, lane: str = "keep") -> LanePoint:
    return LanePoint(*lanes.points[lane])  # type: ignore[index]


def numbered(first: int, count: int) -> Batch:
    return batch(*range(first, first + count), counter=first, at=1_760_000_000_000_000_000 + first)


async def test_of_an_unknown_incarnation_nothing_is_held(party: Party) -> None:
    reply = await party.uplink.hello(hello())
    assert reply.lanes == dict.fromkeys(LANES, LanePoint())
    assert reply.backed_up_through == dict.fromkeys(LANES, 0)
    assert reply.protocol == 1


async def test_no_common_protocol_is_refused(party: Party) -> None:
    with pytest.raises(Refused, match="protocol"):
        await party.uplink.hello(Hello((7, 9), INCARNATION, "9", "boot-1"))


async def test_what_was_pushed_is_held_and_a_repeat_changes_nothing(party: Party) -> None:
    lanes = Lanes()
    unit = lanes.unit("keep", [numbered(1, 3), numbered(4, 2)])
    for _ in range(2):
        reply = await party.uplink.push(unit)
        assert (reply.outcome, reply.point) == ("ok", point(lanes))
        assert (await points(party))["keep"] == point(lanes)
        assert await party.values() == [1, 2, 3, 4, 5]
    assert set((await points(party, OTHER)).values()) == {LanePoint()}


async def test_a_repeat_may_be_cut_otherwise(party: Party) -> None:
    first, second, third = numbered(1, 3), numbered(4, 2), numbered(6, 1)
    lanes, again = Lanes(), Lanes()
    await party.uplink.push(lanes.unit("keep", [first]))
    await party.uplink.push(lanes.unit("keep", [second]))
    reply = await party.uplink.push(again.unit("keep", [first, second, third]))
    assert (reply.outcome, reply.point) == ("ok", point(again))
    assert await party.values() == [1, 2, 3, 4, 5, 6]


async def test_a_gap_is_refused_unless_the_node_no_longer_holds_it(party: Party) -> None:
    lanes = Lanes()
    await party.uplink.push(lanes.unit("keep", [numbered(1, 2)]))
    held = point(lanes)
    lanes.unit("keep", [numbered(3, 2)])  # never sent
    late = lanes.unit("keep", [numbered(5, 2)])
    reply = await party.uplink.push(late)
    assert (reply.outcome, reply.point) == ("gap", held)
    assert await party.values() == [1, 2]
    reply = await party.uplink.push(msgspec.structs.replace(late, skipped=True))
    assert (reply.outcome, reply.point) == ("ok", point(lanes))
    assert await party.values() == [1, 2, 5, 6]


async def test_another_history_is_noticed_where_it_passes_the_held_point(party: Party) -> None:
    lanes, other = Lanes(), Lanes()
    await party.uplink.push(lanes.unit("keep", [numbered(1, 4)]))
    below = other.unit("keep", [numbered(101, 2)])
    across = other.unit("keep", [numbered(103, 2)])
    beyond = other.unit("keep", [numbered(105, 2)])
    # Entirely below what is held, the two cannot be told apart: the answer is the hub's own point.
    reply = await party.uplink.push(below)
    assert (reply.outcome, reply.point) == ("ok", point(lanes))
    for unit in (across, beyond):
        reply = await party.uplink.push(unit)
        assert (reply.outcome, reply.point) == ("diverged", point(lanes))
    assert await party.values() == [1, 2, 3, 4]


async def test_an_incarnation_may_begin_in_the_middle_without_frames(party: Party) -> None:
    lanes = Lanes()
    lanes.unit("keep", [numbered(1, 4)])
    middle = point(lanes)
    begin = PushUnit(OTHER, "keep", middle.n + 1, middle.chain, "boot-1", [], skipped=True)
    reply = await party.uplink.push(begin)
    assert (reply.outcome, reply.point) == ("ok", middle)
    assert (await points(party, OTHER))["keep"] == middle
    following = msgspec.structs.replace(lanes.unit("keep", [numbered(5, 2)]), incarnation=OTHER)
    assert (await party.uplink.push(following)).outcome == "ok"
    assert await party.values() == [5, 6]


async def test_state_rows_come_back_as_the_hub_has_them(party: Party) -> None:
    lanes = Lanes()
    unit = lanes.unit(
        "state", [StateFrame([status("w", "starting")]), StateFrame([status("w", hlc=2)])]
    )
    reply = await party.uplink.push(unit)
    assert (reply.outcome, reply.point) == ("ok", point(lanes, "state"))
    (row,) = reply.rows
    assert (row.entity, row.id, row.hlc) == ("status", "w", 2)
    assert row.rev > 0
    again = await party.uplink.push(unit)
    assert (again.point, again.rows) == (reply.point, reply.rows)


async def test_a_node_may_not_write_the_hubs_rows(party: Party) -> None:
    row = StateRow("assignment", "w", 0, 1, "node")
    with pytest.raises(Refused, match="may not write"):
        await party.uplink.push(Lanes().unit("state", [StateFrame([row])]))


async def test_frames_that_are_none_are_invalid(party: Party) -> None:
    unit = Lanes().unit("keep", [numbered(1, 1)])
    with pytest.raises(InvalidInput):
        await party.uplink.push(msgspec.structs.replace(unit, frames=[msgspec.Raw(b'{"no": 1}')]))
    assert (await points(party))["keep"] == LanePoint()


async def pull(
    party: Party, last: PullReply | None, *held: StateRow, limit: int = 500
) -> PullReply:
    digest = set_digest({(row.entity, row.id): row.rev for row in held})
    return await party.uplink.pull(Pull(last.cursor if last else None, digest, limit))


async def test_a_first_pull_gives_everything_and_later_ones_what_changed(party: Party) -> None:
    await party.want("a")
    first = await pull(party, None)
    assert (first.full, first.more) == (True, False)
    (a,) = first.rows
    assert (a.entity, a.id) == ("assignment", "a")
    nothing = await pull(party, first, a)
    assert (nothing.full, nothing.rows) == (False, [])
    await party.want("b")
    await party.want("c")
    some = await pull(party, nothing, a, limit=1)
    assert ([row.id for row in some.rows], some.more, some.full) == (["b"], True, False)
    rest = await pull(party, some, a, *some.rows)
    assert ([row.id for row in rest.rows], rest.more) == (["c"], False)
    await party.forget("b")
    gone = await pull(party, rest, a, *some.rows, *rest.rows)
    assert [(row.id, row.deleted) for row in gone.rows] == [("b", True)]


async def test_another_set_or_an_unusable_cursor_brings_everything(party: Party) -> None:
    await party.want("a")
    first = await pull(party, None)
    differs = await pull(party, first)
    assert differs.full
    assert [row.id for row in differs.rows] == ["a"]
    unusable = await party.uplink.pull(Pull("bm90IGEgY3Vyc29y", EMPTY))
    assert unusable.full
    assert [row.id for row in unusable.rows] == ["a"]


async def test_the_live_link_tells_that_there_is_news(party: Party) -> None:
    link = await party.uplink.live("run-1")
    await party.want("a")
    assert await link.receive() == News()
    await link.close()


async def test_a_live_link_says_who_took_it_over(party: Party) -> None:
    first = await party.uplink.live("run-1")
    second = await party.uplink.live("run-1")
    with pytest.raises(Transient) as own:
        await first.receive()
    assert not isinstance(own.value, Evicted)
    third = await party.uplink.live("run-2")
    with pytest.raises(Evicted, match="another agent"):
        await second.receive()
    for link in (first, second, third):
        await link.close()


async def test_a_live_link_that_has_ended_says_so(party: Party) -> None:
    link = await party.uplink.live("run-1")
    await link.close()
    with pytest.raises(Transient, match="closed"):
        await link.send(News())


@pytest.mark.guarantee("G9")
async def test_a_live_link_does_not_go_where_somebody_else_leads_it() -> None:
    asked: list[web.Request] = []

    async def lead(request: web.Request) -> web.StreamResponse:
        asked.append(request)
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    app = web.Application()
    app.router.add_get("/{path:.*}", lead)
    async with TestServer(app) as server, open_session() as session:
        uplink = HttpUplink(session, str(server.make_url("")).rstrip("/"), NODE_ID, SECRET)
        with pytest.raises(Refused, match="the hub answered 302"):
            await uplink.live("run-1")
    assert [request.path for request in asked] == ["/sync/v1/link"]
