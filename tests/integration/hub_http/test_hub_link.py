"""The live link as a node sees it: news, one connection per node, signs of life, log tails with credit."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest
from tests.http_client import Client
from tests.web_sockets import next_frame

from skerry.hub.link import Links
from skerry.hub.web_server import Keepalive
from skerry.kit.errors import Transient
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
    Credit,
    Data,
    Message,
    News,
    Open,
    Opened,
    from_text,
    to_text,
)
from skerry.wire.people import Apply, NodeDeleted
from skerry.wire.sync import Enrolled
from skerry.wire.workload import ProcessSpec, Selector, WorkloadSpec

Socket = aiohttp.ClientWebSocketResponse

LINK = "/sync/v1/link"
LOGS = "/api/v1/nodes/a/logs/w"


@pytest.fixture
async def link(hub: RunningHub, node: Enrolled, client: Client) -> AsyncIterator[Socket]:
    async with client.ws_connect(LINK, headers=hub.node(node)) as socket:
        yield socket


async def receive(link: Socket) -> Message:
    frame = await next_frame(link)
    assert frame.type is aiohttp.WSMsgType.TEXT, frame
    return from_text(frame.data)


async def send(link: Socket, message: Message) -> None:
    await link.send_str(to_text(message))


async def opened(link: Socket) -> Open:
    message = await receive(link)
    assert isinstance(message, Open)
    return message


async def test_a_new_assignment_is_news(hub: RunningHub, client: Client, link: Socket) -> None:
    spec = WorkloadSpec(name="w", process=ProcessSpec(command=["true"]), on=Selector(node="a"))
    async with client.put(
        "/api/v1/workloads", data=encode(Apply([spec])), headers=hub.person
    ) as response:
        assert response.status == 200
    assert await receive(link) == News()


@pytest.mark.parametrize(("run", "code"), [("run-1", REPLACED), ("run-2", OTHER_AGENT)])
async def test_a_newer_connection_replaces_the_older_and_says_whose_it_is(
    hub: RunningHub, node: Enrolled, client: Client, run: str, code: int
) -> None:
    async with (
        client.ws_connect(LINK, headers=hub.node(node) | {RUN_HEADER: "run-1"}) as link,
        client.ws_connect(LINK, headers=hub.node(node) | {RUN_HEADER: run}) as newer,
    ):
        frame = await next_frame(link)
        assert (frame.type, frame.data) == (aiohttp.WSMsgType.CLOSE, code)
        async with asyncio.TaskGroup() as group:
            request = group.create_task(read_text(client, LOGS, hub.person))
            channel = (await opened(newer)).channel
            await send(newer, Data(channel, "by the newer\n"))
            await send(newer, Close(channel))
        assert request.result() == (200, "by the newer\n")


@pytest.mark.guarantee("G9")
async def test_a_deleted_node_loses_its_link_and_every_right_at_once(
    hub: RunningHub, node: Enrolled, client: Client, link: Socket
) -> None:
    async with client.delete("/api/v1/nodes/a", headers=hub.person) as response:
        deleted = decode(await response.read(), NodeDeleted, "answer")
        assert (response.status, deleted) == (200, NodeDeleted(node.node_id, "a", []))
    frame = await next_frame(link)
    assert (frame.type, frame.data) == (aiohttp.WSMsgType.CLOSE, DELETED)
    for call in ("hello", "push", "pull"):
        async with client.post(f"/sync/v1/{call}", headers=hub.node(node), data=b"{}") as response:
            assert response.status == 401
    async with client.delete("/api/v1/nodes/a", headers=hub.person) as response:
        assert response.status == 404


@pytest.mark.guarantee("G5")
async def test_pongs_are_signs_of_life(tmp_path: Path) -> None:
    keepalive = Keepalive(interval=0.05, timeout=5.0)
    async with running_hub(tmp_path, keepalive=keepalive) as hub:
        node = await hub.enrol("a")
        async with (
            aiohttp.ClientSession(hub.address) as client,
            client.ws_connect(LINK, headers=hub.node(node)) as link,
        ):
            answering = asyncio.create_task(
                link.receive()
            )  # reading answers pings, nothing else is sent
            first = await last_seen(client, hub)

            async def later() -> bool:
                return await last_seen(client, hub) > first

            await eventually(later, "the hub takes note of a pong")
            answering.cancel()
            await asyncio.wait([answering])


@pytest.mark.guarantee("G5")
async def test_pings_of_the_node_are_signs_of_life(
    hub: RunningHub, client: Client, link: Socket
) -> None:
    first = await last_seen(client, hub)
    await link.ping()

    async def later() -> bool:
        return await last_seen(client, hub) > first

    await eventually(later, "the hub takes note of a ping")


async def test_a_dead_peer_loses_its_link(tmp_path: Path) -> None:
    async with running_hub(tmp_path, keepalive=Keepalive(interval=0.05, timeout=0.1)) as hub:
        node = await hub.enrol("a")
        host, _, port = hub.address.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        lines = [
            f"GET {LINK} HTTP/1.1",
            f"Host: {host}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}",
            f"Authorization: {hub.node(node)['Authorization']}",
        ]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 101")
        async with asyncio.timeout(30):
            await reader.read()  # to the end: pings that nobody answers, and the close
        writer.close()


async def test_nonsense_ends_the_link(link: Socket) -> None:
    await link.send_str("nonsense")
    frame = await next_frame(link)
    assert frame.type is aiohttp.WSMsgType.CLOSE
    assert "link message" in frame.extra


async def test_a_log_is_streamed(hub: RunningHub, client: Client, link: Socket) -> None:
    async with asyncio.TaskGroup() as group:
        request = group.create_task(
            read_text(client, f"{LOGS}?since=5&until=9&level=error&follow=true", hub.person)
        )
        message = await opened(link)
        assert (message.kind, message.arguments) == (
            "logs",
            {"workload": "w", "since": "5", "until": "9", "level": "error", "follow": "true"},
        )
        await send(link, Data(message.channel, "one\n"))
        assert await receive(link) == Credit(message.channel, 4)
        await send(link, Data(message.channel, "zwölf\n"))
        assert await receive(link) == Credit(message.channel, len("zwölf\n".encode()))
        await send(link, Close(message.channel))
    assert request.result() == (200, "one\nzwölf\n")


async def test_what_the_node_declines_is_an_error(
    hub: RunningHub, client: Client, link: Socket
) -> None:
    async with asyncio.TaskGroup() as group:
        request = group.create_task(read_text(client, LOGS, hub.person))
        message = await opened(link)
        await send(link, Close(message.channel, "cannot read logs: there is no workload «w»"))
    status, text = request.result()
    assert status == 409
    assert json.loads(text) == {"error": "cannot read logs: there is no workload «w»"}


async def test_a_cut_link_ends_the_log_with_its_reason(
    hub: RunningHub, client: Client, link: Socket
) -> None:
    async with asyncio.TaskGroup() as group:
        request = group.create_task(read_text(client, LOGS, hub.person))
        message = await opened(link)
        await send(link, Data(message.channel, "one\n"))
        await receive(link)
        await link.close()
    status, text = request.result()
    assert status == 200
    assert text.startswith("one\nskerry: cannot read on")


async def test_a_reader_who_leaves_closes_the_channel(
    hub: RunningHub, client: Client, link: Socket
) -> None:
    response = await asyncio.gather(client.get(LOGS, headers=hub.person), say_one_line(link))
    response[0].close()
    while not isinstance(await receive(link), Close):
        pass


async def say_one_line(link: Socket) -> None:
    message = await opened(link)
    await send(link, Data(message.channel, "one\n"))


@pytest.mark.guarantee("G4")
async def test_a_slow_reader_stops_the_sender(
    hub: RunningHub, client: Client, link: Socket
) -> None:
    total = 64 * 1024 * 1024
    piece = "x" * 32_767 + "\n"
    async with asyncio.TaskGroup() as group:
        request = group.create_task(client.get(LOGS, headers=hub.person))
        channel = (await opened(link)).channel
        await send(link, Data(channel, piece))
        response = await request
        sent, credit = len(piece), WINDOW - len(piece)
        stalled = False
        while sent < total and not stalled:
            if credit >= len(piece):
                await send(link, Data(channel, piece))
                sent += len(piece)
                credit -= len(piece)
                continue
            try:
                frame = await link.receive(timeout=1.0)
            except TimeoutError:
                stalled = True  # nobody reads the response, so nothing is granted any more
            else:
                message = from_text(frame.data)
                assert isinstance(message, Credit)
                credit += message.size
    assert sent < total / 2
    await send(link, Close(channel))
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
    assert size == sent


async def test_more_than_the_credit_ends_the_link(
    hub: RunningHub, client: Client, link: Socket
) -> None:
    async with asyncio.TaskGroup() as group:
        request = group.create_task(read_text(client, LOGS, hub.person))
        channel = (await opened(link)).channel
        await send(link, Data(channel, "x" * (WINDOW + 1)))
        frame = await next_frame(link)
    assert frame.type is aiohttp.WSMsgType.CLOSE
    assert "credit" in frame.extra
    assert request.result()[0] == 503


class ScriptedSocket:
    """A WebSocket that keeps what it is sent, and holds sending back until it is let go."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.free = asyncio.Event()
        self.over = asyncio.Event()

    async def send_text(self, text: str) -> None:
        await self.free.wait()
        self.sent.append(from_text(text))

    async def receive(self) -> dict[str, object]:
        await self.over.wait()
        return {"type": "websocket.disconnect", "code": 1000}


async def test_news_from_any_thread_are_told_once_while_the_line_is_busy() -> None:
    links = Links()
    socket = ScriptedSocket()
    turn = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(links.run("node-1", socket, None, lambda: None, turn))  # type: ignore[arg-type]
    await eventually(lambda: links.connected("node-1"), "the link runs")
    in_thread(lambda: [links.notify("node-1") for _ in range(50)])
    links.notify("node-2")  # not connected: no harm
    await asyncio.sleep(0)
    socket.free.set()
    await eventually(lambda: bool(socket.sent), "news are sent")
    links.notify("node-1")
    await eventually(lambda: len(socket.sent) > 1, "later news are told too")
    assert set(socket.sent) == {News()}
    assert len(socket.sent) <= 3  # the one in the line, one for all that waited, the last
    socket.over.set()
    await running


async def test_news_from_the_loop_leave_at_its_next_turn() -> None:
    links = Links()
    socket = ScriptedSocket()
    socket.free.set()
    turn = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(links.run("node-1", socket, None, lambda: None, turn))  # type: ignore[arg-type]
    await eventually(lambda: links.connected("node-1"), "the link runs")
    for _ in range(10):  # until its sender waits
        await asyncio.sleep(0)
    links.notify_rows("node-1")
    await asyncio.sleep(0)
    assert socket.sent == [News(rows=True)]
    socket.over.set()
    await running


async def test_news_of_rows_alone_say_so_and_never_hide_other_news() -> None:
    links = Links()
    socket = ScriptedSocket()
    turn = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(links.run("node-1", socket, None, lambda: None, turn))  # type: ignore[arg-type]
    await eventually(lambda: links.connected("node-1"), "the link runs")
    socket.free.set()
    links.notify_rows("node-1")
    await eventually(lambda: socket.sent == [News(rows=True)], "rows are told")
    told = (links.notify_rows, links.notify), (links.notify, links.notify_rows)
    for number, (first, second) in enumerate(told, 2):
        first("node-1")
        second("node-1")
        await eventually(lambda number=number: len(socket.sent) == number, "both are told at once")
        assert socket.sent[-1] == News()
    socket.over.set()
    await running
    with pytest.raises(Transient, match="no live link"):
        await links.open("node-1", "a", "logs", {})


async def test_a_node_that_does_not_answer_is_named() -> None:
    links = Links(first_answer=0.05)
    socket = ScriptedSocket()
    socket.free.set()
    turn = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(links.run("node-1", socket, None, lambda: None, turn))  # type: ignore[arg-type]
    await eventually(lambda: links.connected("node-1"), "the link runs")
    with pytest.raises(Transient, match="node «a»: it does not answer.*«skerry node status»"):
        await links.open("node-1", "a", "logs", {})
    await eventually(lambda: len(socket.sent) > 1, "the node is told that nobody waits")
    assert socket.sent == [Open(1, "logs", {}), Close(1)]
    socket.over.set()
    await running


async def test_a_quiet_log_is_no_silent_node(hub: RunningHub, client: Client, link: Socket) -> None:
    async with asyncio.TaskGroup() as group:
        request = group.create_task(client.get(f"{LOGS}?follow=true", headers=hub.person))
        await send(link, Opened((await opened(link)).channel))
        response = await request  # before there is a line
    assert response.status == 200
    response.close()


def in_thread(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


async def read_text(client: Client, path: str, headers: dict[str, str]) -> tuple[int, str]:
    async with client.get(path, headers=headers) as response:
        return response.status, await response.text()


async def last_seen(client: Client, hub: RunningHub) -> int:
    async with client.get("/api/v1/nodes", headers=hub.person) as response:
        [view] = await response.json()
        return view["last_seen"]
