"""Two hubs on one PostgreSQL: what one is told, the other knows; whom one holds, the other reaches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import psycopg
import pytest
from tests.postgres import Postgres
from tests.pushes import Pushes
from tests.tunnel_rig import Entered, echo, linked, links, opened, serving, tunnel
from tests.web_sockets import next_frame

from skerry.hub.dashboard import pages
from skerry.hub.store import listening
from skerry.kit.errors import Refused
from skerry.testing.running_hub import RunningHub, running_hub
from skerry.testing.waiting import eventually
from skerry.wire.codec import decode, encode
from skerry.wire.link import (
    DELETED,
    OTHER_AGENT,
    REPLACED,
    RUN_HEADER,
    WINDOW,
    Close,
    Data,
    Message,
    News,
    Open,
    from_text,
    to_text,
)
from skerry.wire.people import Apply, LoginCode, NodeView, Rows
from skerry.wire.sync import Enrol, Enrolled, Hello, HelloReply
from skerry.wire.workload import ProcessSpec, Selector, WorkloadSpec

pytestmark = pytest.mark.postgres

Socket = aiohttp.ClientWebSocketResponse
LINK = "/sync/v1/link"


class Site:
    """Both hubs, and a session to each."""

    def __init__(
        self, hubs: tuple[RunningHub, RunningHub], sessions: list[aiohttp.ClientSession]
    ) -> None:
        self.first, self.second = hubs
        self.one, self.other = sessions

    @property
    def person(self) -> dict[str, str]:
        return self.first.person


@pytest.fixture
async def url(postgres: Postgres) -> AsyncIterator[str]:
    with postgres.prepared_database() as address:
        yield address


@pytest.fixture
async def site(tmp_path: Path, url: str) -> AsyncIterator[Site]:
    async with (
        running_hub(tmp_path, database=url) as first,
        running_hub(tmp_path, database=url) as second,
        aiohttp.ClientSession(first.address, cookie_jar=aiohttp.DummyCookieJar()) as one,
        aiohttp.ClientSession(second.address, cookie_jar=aiohttp.DummyCookieJar()) as other,
    ):
        yield Site((first, second), [one, other])


async def receive(link: Socket) -> Message:
    frame = await next_frame(link)
    assert frame.type is aiohttp.WSMsgType.TEXT, frame
    return from_text(frame.data)


async def code_of_end(link: Socket) -> int:
    async with asyncio.timeout(30):
        while (frame := await link.receive()).type is aiohttp.WSMsgType.TEXT:
            assert from_text(frame.data) == News()
    assert frame.type is aiohttp.WSMsgType.CLOSE, frame
    return frame.data


async def apply(session: aiohttp.ClientSession, site: Site, **fields: object) -> None:
    spec = WorkloadSpec(
        name="w", process=ProcessSpec(command=["true"]), on=Selector(node="a"), **fields
    )
    body = encode(Apply([spec]))
    async with session.put("/api/v1/workloads", data=body, headers=site.person) as response:
        assert response.status == 200


async def shown(session: aiohttp.ClientSession, site: Site, path: str, kind: type) -> object:
    async with session.get(path, headers=site.person) as response:
        assert response.status == 200
        return decode(await response.read(), kind, path)


async def test_a_node_of_one_hub_is_a_node_of_the_other_and_each_record_is_there_once(
    site: Site,
) -> None:
    node = await site.first.enrol("a")
    headers = site.first.node(node)
    pushes = Pushes()
    unit = encode(pushes.records("keep", [("v", 1, 1), ("v", 2, 2)]))
    for session in (site.other, site.one, site.other):
        async with session.post("/sync/v1/push", data=unit, headers=headers) as response:
            assert response.status == 200
    for session in (site.one, site.other):
        rows = await shown(session, site, "/api/v1/records", Rows)
        assert len(rows.rows) == 2
    wrong = {"Authorization": f"Bearer {node.node_id}.{'0' * 64}"}
    async with site.other.post("/sync/v1/push", data=unit, headers=wrong) as response:
        assert response.status == 401


async def test_news_reach_the_node_whose_link_is_at_the_other_hub(site: Site) -> None:
    node = await site.first.enrol("a")
    async with site.other.ws_connect(LINK, headers=site.second.node(node)) as link:
        await apply(site.one, site)
        assert await receive(link) == News()


def latest_turn(url: str) -> int:
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT coalesce(max(turn), 0) FROM live_link").fetchone()
    return found[0]


async def test_logs_are_read_through_the_hub_that_holds_the_link(site: Site, url: str) -> None:
    node = await site.first.enrol("a")

    async def read() -> tuple[int, str]:
        path = "/api/v1/nodes/a/logs/w?since=5&level=error"
        async with site.one.get(path, headers=site.person) as response:
            return response.status, await response.text()

    assert (await read())[0] == 503
    async with site.other.ws_connect(LINK, headers=site.second.node(node)) as link:
        await eventually(lambda: links(url) == 1, "the link is known")
        reading = asyncio.create_task(read())
        opened = await receive(link)
        assert isinstance(opened, Open)
        assert opened.arguments == {"workload": "w", "since": "5", "level": "error"}
        await link.send_str(to_text(Data(opened.channel, "grüße\n")))
        await link.send_str(to_text(Close(opened.channel)))
        assert await reading == (200, "grüße\n")
        reading = asyncio.create_task(read())
        opened = await receive(link)
        assert isinstance(opened, Open)
        await link.send_str(to_text(Close(opened.channel, "cannot read logs: there are none")))
        assert await reading == (409, '{"error":"cannot read logs: there are none"}')
    await eventually(lambda: _is(read, 503), "the link's end is known")


async def _is(read: object, status: int) -> bool:
    return (await read())[0] == status


@pytest.mark.guarantee("G9")
async def test_a_node_deleted_at_one_hub_loses_its_link_and_its_rights_at_the_other(
    site: Site,
) -> None:
    node = await site.second.enrol("a")
    headers = site.second.node(node)
    async with site.other.ws_connect(LINK, headers=headers) as link:
        async with site.one.delete("/api/v1/nodes/a", headers=site.person) as response:
            assert response.status == 200
        assert await code_of_end(link) == DELETED
    async with site.other.post("/sync/v1/pull", headers=headers, data=b"{}") as response:
        assert response.status == 401


@pytest.mark.guarantee("G9")
async def test_a_token_revoked_at_one_hub_is_refused_by_the_other_at_the_next_request(
    site: Site,
) -> None:
    token = await site.first.access_token("ci", "monitor")

    async def asked(session: aiohttp.ClientSession) -> int:
        async with session.get("/api/v1/nodes", headers=token) as response:
            return response.status

    assert [await asked(site.one), await asked(site.other)] == [200, 200]
    path = "/api/v1/access/tokens/ci"
    async with site.other.delete(path, headers=site.person) as response:
        assert response.status == 200
    assert [await asked(site.one), await asked(site.other)] == [401, 401]


@pytest.mark.parametrize(("run", "code"), [("run-1", REPLACED), ("run-2", OTHER_AGENT)])
async def test_a_node_that_moves_leaves_its_link_behind(
    site: Site, url: str, run: str, code: int
) -> None:
    node = await site.first.enrol("a")
    headers = site.first.node(node)
    async with site.one.ws_connect(LINK, headers=headers | {RUN_HEADER: "run-1"}) as older:
        await eventually(lambda: links(url) == 1, "the link is known")
        newer = await site.other.ws_connect(LINK, headers=headers | {RUN_HEADER: run})
        assert await code_of_end(older) == code
        await apply(site.one, site)
        assert await receive(newer) == News()
        await newer.close()


async def test_a_node_that_moved_while_a_hub_did_not_hear_it_leaves_its_link_there_too(
    site: Site, url: str
) -> None:
    node = await site.first.enrol("a")
    async with site.one.ws_connect(LINK, headers=site.first.node(node)) as older:
        await eventually(lambda: links(url) == 1, "the link is known")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("UPDATE live_link SET turn = turn + 1, hub = 'another'")
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
            )
        assert await code_of_end(older) == REPLACED


async def test_a_hub_hears_the_others_before_it_serves(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard, connect = asyncio.Event(), psycopg.AsyncConnection.connect

    async def late(*args: object, **options: object) -> object:
        await asyncio.sleep(1)  # far longer than a web server takes to listen
        connection = await connect(*args, **options)
        heard.set()
        return connection

    monkeypatch.setattr(psycopg.AsyncConnection, "connect", late)
    monkeypatch.setattr(listening, "BEGIN_WITHIN", 30.0)
    async with running_hub(tmp_path, database=url):
        assert heard.is_set()


async def test_two_agents_with_one_identity_at_two_hubs_are_noticed_by_both(
    site: Site, url: str
) -> None:
    node = await site.first.enrol("a")
    headers = site.first.node(node)
    older, last = None, 0
    for turn in range(9):
        session, run = ((site.one, "run-1"), (site.other, "run-2"))[turn % 2]
        newer = await session.ws_connect(LINK, headers=headers | {RUN_HEADER: run})
        await eventually(lambda t=last: latest_turn(url) > t, "its turn is known")
        last = latest_turn(url)
        if older is not None:
            assert await code_of_end(older) == OTHER_AGENT
            await older.close()
        older = newer

    async def told(session: aiohttp.ClientSession) -> bool:
        [view] = await shown(session, site, "/api/v1/nodes", list[NodeView])
        return "two agents use this node's identity" in view.problem

    for session in (site.one, site.other):
        await eventually(lambda s=session: told(s), "the double is told")
    await newer.close()


async def test_a_node_that_one_hub_hears_is_online_at_the_other(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await site.first.enrol("a")
    before = (await shown(site.other, site, "/api/v1/nodes", list[NodeView]))[0].last_seen
    hello = encode(Hello((1, 1), "incarnation-1", "0.1.0", "boot-1"))
    headers = site.first.node(node)
    async with site.one.post("/sync/v1/hello", data=hello, headers=headers) as response:
        assert response.status == 200

    async def later() -> bool:
        [view] = await shown(site.other, site, "/api/v1/nodes", list[NodeView])
        return view.online and view.last_seen > before

    await eventually(later, "the other hub knows")


async def test_a_login_code_and_a_session_of_one_hub_are_good_at_the_other(site: Site) -> None:
    async with site.one.post("/api/v1/login-codes", headers=site.person) as response:
        code = decode(await response.read(), LoginCode, "code")
    async with site.other.get(code.path, allow_redirects=False) as response:
        assert response.status == 303
        cookies = {name: morsel.value for name, morsel in response.cookies.items()}
    async with site.one.get("/", cookies=cookies, allow_redirects=False) as response:
        assert response.status == 200
    for session in (site.one, site.other):
        async with session.get(code.path, allow_redirects=False) as response:
            assert response.status == 401


async def test_the_page_of_one_hub_shows_at_once_what_changed_at_the_other(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "QUIET", 3600.0)  # nothing but a notice renders it anew
    async with site.other.get("/live", headers=site.person) as page:
        text = ""
        while "event: events" not in text:  # the last of the first fragments
            text += (await page.content.readany()).decode()
        await site.first.enrol("brand-new")
        async with asyncio.timeout(30):
            while "brand-new" not in text:
                text += (await page.content.readany()).decode()


async def test_enrolment_tells_every_hub(site: Site) -> None:
    async with site.one.post(
        "/api/v1/tokens", data=b'{"ttl":60.0}', headers=site.person
    ) as response:
        token = decode(await response.read(), dict, "token")["token"]
    body = encode(Enrol(token, "a", {}, "0.1.0", "1" * 64))
    async with site.other.post("/enrol/v1", data=body) as response:
        enrolled = decode(await response.read(), Enrolled, "enrolled")
    assert enrolled.hubs == sorted([site.first.address, site.second.address])


async def test_every_hub_tells_in_time_which_hubs_there_are(site: Site) -> None:
    headers = site.first.node(await site.first.enrol("a"))
    hello = encode(Hello((1, 1), "incarnation-1", "0.1.0", "boot-1"))

    async def told(session: aiohttp.ClientSession) -> bool:
        async with session.post("/sync/v1/hello", data=hello, headers=headers) as response:
            reply = decode(await response.read(), HelloReply, "reply")
        return reply.hubs == sorted([site.first.address, site.second.address])

    for session in (site.one, site.other):  # the first one did not know the second at its start
        await eventually(lambda s=session: told(s), "both are told")


async def test_another_token_on_the_same_database_is_refused(
    site: Site, url: str, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    with pytest.raises(Refused, match="its admin.token is another one"):
        async with running_hub(elsewhere, database=url):
            pass


async def test_a_tunnel_goes_through_the_hub_that_holds_the_link(site: Site, url: str) -> None:
    node, entered = await site.first.enrol("a"), Entered()
    ann = await site.first.access_token("ann", "operator")
    async with serving(echo) as port, linked(site.first, node, [port], entered=entered):
        await eventually(lambda: links(url) == 1, "the link is known")
        async with opened(site.other, ann, port) as person:
            assert entered.deeds[0].detail == "for «ann»"
            sent = bytes(3 * WINDOW)
            async with asyncio.TaskGroup() as group:
                _ = group.create_task(person.send(sent))
                assert await person.read(len(sent)) == sent
            await person.end()
            assert (await person.rest(), person.words) == (b"over", "")
        async with tunnel(site.other, site.person, 5432) as refused:
            answer = await refused.message()
        assert isinstance(answer, Close)
        assert "the node does not allow it" in answer.error
