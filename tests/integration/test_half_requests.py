"""Half a request holds no connection, on any listener; whole ones and long streams are left alone."""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from msgspec.structs import replace
from tests.ports import free_port
from tests.web_sockets import next_frame

from skerry.kit.reception import RequestLimits
from skerry.node.api.answers import problems
from skerry.node.api.sites import Apps, LocalApi, admin_socket, workload_socket
from skerry.testing.running_hub import RunningHub, running_hub
from skerry.testing.waiting import eventually
from skerry.wire.codec import encode
from skerry.wire.link import Data, Open, from_text, to_text
from skerry.wire.people import TokenRequest

SHORT = RequestLimits(connections=100, head=0.3, stall=0.3, slowest=1.0)
LINES = 20
"""Of a stream, one every 0.05 s: more than three times what a request may take."""

Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Door = Callable[[], Awaitable[Wire]]


async def read_all(request: web.Request) -> web.StreamResponse:
    return web.json_response({"size": len(await request.read())})


async def stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(LINES):
        await response.write(b"line\n")
        await asyncio.sleep(0.05)
    return response


def app() -> web.Application:
    made = web.Application(middlewares=[problems], client_max_size=16 * 1024 * 1024)
    made.router.add_post("/read", read_all)
    made.router.add_get("/stream", stream)
    return made


@contextlib.asynccontextmanager
async def node_door(run_dir: Path, limits: RequestLimits, listener: str) -> AsyncIterator[Door]:
    api, port = LocalApi(run_dir, limits), free_port()
    await api.start(Apps(app(), app(), app()), port)
    await api.serve_workloads({"w"}, set())
    try:
        yield {
            "admin": partial(asyncio.open_unix_connection, admin_socket(run_dir)),
            "workload": partial(asyncio.open_unix_connection, workload_socket(run_dir, "w")),
            "port": partial(asyncio.open_connection, "127.0.0.1", port),
        }[listener]
    finally:
        await api.stop()


Opener = Callable[[RequestLimits], contextlib.AbstractAsyncContextManager[Door]]


@pytest.fixture(params=["hub", "admin", "workload", "port"])
def opener(request: pytest.FixtureRequest, tmp_path: Path, short_dir: Path) -> Opener:
    @contextlib.asynccontextmanager
    async def opened(limits: RequestLimits) -> AsyncIterator[Door]:
        if request.param == "hub":
            async with running_hub(tmp_path, limits=limits) as hub:
                host, _, port = hub.address.removeprefix("http://").partition(":")
                yield partial(asyncio.open_connection, host, int(port))
        else:
            async with node_door(short_dir, limits, request.param) as door:
                yield door

    return opened


POST = b"POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
ENROL = b"POST /enrol/v1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"


def post(request: pytest.FixtureRequest, size: int) -> bytes:
    return (ENROL if "hub" in request.node.name else POST) % size


async def rest(reader: asyncio.StreamReader) -> bytes:
    """What still comes; the connection must end. A write into an ended one must not hide what came before."""
    came = b""
    async with asyncio.timeout(30):
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            while piece := await reader.read(65536):
                came += piece
    return came


async def drip(writer: asyncio.StreamWriter) -> None:
    """Sends one byte each 0.05 s for as long as the other side takes it.

    Past asyncio's transport, which forgets what has come and is not read yet when a write fails.
    """
    wire = socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno()))
    with wire, contextlib.suppress(ConnectionResetError, BrokenPipeError):
        while True:
            wire.send(b"x")
            await asyncio.sleep(0.05)


async def served(reader: asyncio.StreamReader) -> int:
    """The status of the next answer, which is read to its end."""
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
    size = int(head.lower().partition(b"content-length: ")[2].split()[0])
    await reader.readexactly(size)
    return int(head[9:12])


def problem(answer: bytes) -> str:
    return str(json.loads(answer.partition(b"\r\n\r\n")[2])["error"])


async def test_half_a_head_is_ended(opener: Opener) -> None:
    async with opener(SHORT) as door:
        for half in (b"", b"G", b"GET / HTTP/1.1\r\nHost: local"):
            reader, writer = await door()
            writer.write(half)
            answer = await rest(reader)
            assert answer[:12] == (b"HTTP/1.1 408" if half else b"")
            assert not half or "did not come in time" in problem(answer)
            writer.close()


async def test_a_head_that_drips_is_ended(opener: Opener) -> None:
    async with opener(SHORT) as door:
        reader, writer = await door()
        writer.write(b"GET / HTTP/1.1\r\nX: ")
        dripping = asyncio.create_task(drip(writer))
        assert b" 408 " in await rest(reader)
        await dripping
        writer.close()


async def test_half_a_body_is_ended(opener: Opener, request: pytest.FixtureRequest) -> None:
    async with opener(SHORT) as door:
        reader, writer = await door()
        writer.write(post(request, 1000) + b"abc")
        answer = await rest(reader)
        assert answer[:12] == b"HTTP/1.1 408"
        assert answer.count(b"HTTP/1.1") == 1
        writer.close()


async def test_a_body_that_is_too_slow_on_average_is_ended(
    opener: Opener, request: pytest.FixtureRequest
) -> None:
    async with opener(replace(SHORT, slowest=100_000.0)) as door:
        reader, writer = await door()
        writer.write(post(request, 1000))
        dripping = asyncio.create_task(drip(writer))
        assert b" 408 " in await rest(reader)
        await dripping
        writer.close()


async def test_a_slow_but_steady_body_is_read(
    opener: Opener, request: pytest.FixtureRequest
) -> None:
    async with opener(SHORT) as door:
        answer, pause = await said_steadily(door, post(request, LINES))
        while pause >= SHORT.stall / 2:  # the machine had no time for whoever sends
            answer, pause = await said_steadily(door, post(request, LINES))
        assert b" 200 " in answer or b" 400 " in answer  # the hub's route reads no «xxx»


async def said_steadily(door: Door, head: bytes) -> tuple[bytes, float]:
    """The answer to a body of a byte each 0.05 s, and the longest that one of them let wait."""
    reader, writer = await door()
    writer.write(head)
    loop, longest = asyncio.get_running_loop(), 0.0
    for _ in range(LINES):
        before = loop.time()
        await asyncio.sleep(0.05)
        writer.write(b"x")
        longest = max(longest, loop.time() - before)
    try:
        return await asyncio.wait_for(reader.readline(), 30), longest
    except ConnectionError:
        return b"", longest
    finally:
        writer.close()


async def test_the_next_request_of_a_connection_is_bounded_too_but_not_the_pause(
    opener: Opener, request: pytest.FixtureRequest
) -> None:
    async with opener(SHORT) as door:
        reader, writer = await door()
        for _ in range(2):
            writer.write(post(request, 2) + b"[]")
            assert await served(reader) in {200, 400}
            await asyncio.sleep(1.0)
        writer.write(b"POST /")
        assert b" 408 " in await rest(reader)
        writer.close()


async def test_connections_are_counted(opener: Opener, request: pytest.FixtureRequest) -> None:
    async with opener(RequestLimits(connections=4)) as door:
        open_ones = [await door() for _ in range(4)]
        # Served in the order of their opening, so the four are counted now.
        reader, writer = await door()
        answer = await rest(reader)
        assert answer[:12] == b"HTTP/1.1 503"
        assert "too many connections" in problem(answer)
        writer.close()
        # One that has been answered and is forgotten by its client makes room.
        reader, writer = open_ones[2]
        writer.write(post(request, 2) + b"[]")
        assert await served(reader) in {200, 400}
        newcomer = await door()
        newcomer[1].write(post(request, 2) + b"[]")
        assert await served(newcomer[0]) in {200, 400}
        assert await rest(reader) == b""
        for each in (*open_ones, newcomer):
            each[1].close()


@pytest.mark.parametrize("listener", ["admin", "workload", "port"])
async def test_a_nodes_stream_may_last(short_dir: Path, listener: str) -> None:
    async with node_door(short_dir, SHORT, listener) as door:
        reader, writer = await door()
        writer.write(b"GET /stream HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert (await rest(reader)).count(b"line\n") == LINES
        writer.close()


async def test_the_hubs_links_and_tails_may_last(tmp_path: Path) -> None:
    async with running_hub(tmp_path, limits=SHORT) as hub:
        node = await hub.enrol("a")
        async with (
            aiohttp.ClientSession(hub.address) as client,
            client.ws_connect("/sync/v1/link", headers=hub.node(node)) as link,
        ):
            asked = asyncio.create_task(
                client.get("/api/v1/nodes/a/logs/w?follow=true", headers=hub.person)
            )
            message = from_text((await next_frame(link)).data)
            assert isinstance(message, Open)
            for _ in range(LINES):
                await link.send_str(to_text(Data(message.channel, "line\n")))
                await asyncio.sleep(0.05)
            answer = await asked
            received = b""
            while received.count(b"line\n") < LINES:
                received += await asyncio.wait_for(answer.content.readany(), 30)
            answer.close()


async def test_links_count_as_long_as_they_are_open(tmp_path: Path) -> None:
    async with running_hub(tmp_path, limits=RequestLimits(connections=3)) as hub:
        nodes = [await hub.enrol(name) for name in "abc"]
        for _ in range(3):
            async with contextlib.AsyncExitStack() as stack:
                client = await stack.enter_async_context(aiohttp.ClientSession(hub.address))
                for node in nodes:
                    await stack.enter_async_context(
                        client.ws_connect("/sync/v1/link", headers=hub.node(node))
                    )
                async with client.get("/healthz") as answer:
                    assert answer.status == 503
            await eventually(partial(answers, hub), "the hub answers when they are closed")


async def answers(hub: RunningHub) -> bool:
    async with aiohttp.ClientSession(hub.address) as client, client.get("/healthz") as answer:
        return answer.status == 200


async def test_a_body_that_was_cut_off_is_no_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_hub(tmp_path, limits=SHORT) as hub:
        host, _, port = hub.address.removeprefix("http://").partition(":")
        for half in (ENROL % 1000 + b"abc", token_request(hub)):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(half)
            assert b" 408 " in await rest(reader)
            writer.close()
    assert [record for record in caplog.records if record.exc_info] == []


def token_request(hub: RunningHub) -> bytes:
    body = encode(TokenRequest(60.0))
    head = f"POST /api/v1/tokens HTTP/1.1\r\nHost: x\r\nAuthorization: {hub.person['Authorization']}\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % (len(body) + 1) + body
