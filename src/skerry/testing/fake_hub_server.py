"""A FakeHub behind real sockets: the nodes' routes over HTTP and the live link as a WebSocket.

For tests of everything between a node's sync and the network that need no real hub.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from aiohttp import WSCloseCode, WSMsgType, web

from skerry.kit.errors import Busy, InvalidInput, SkerryError, Transient
from skerry.node.sync.live_link import Evicted
from skerry.testing.fake_hub import NODE_ID, FakeHub, FakeLive
from skerry.wire.codec import compress, decode, decompress, encode
from skerry.wire.link import (
    OTHER_AGENT,
    RUN_HEADER,
    Bytes,
    from_frame,
    from_text,
    to_frame,
    to_text,
)
from skerry.wire.people import Problem
from skerry.wire.sync import Hello, Pull, PushUnit

SECRET = "0123456789abcdef"  # noqa: S105 - the test's own

Request = TypeVar("Request")


@contextlib.asynccontextmanager
async def serve_fake_hub(hub: FakeHub, port: int = 0) -> AsyncIterator[int]:
    """Serves `hub` on a loopback port and yields it. Leaving drops every connection at once."""
    app = web.Application(middlewares=[_problems], client_max_size=16 * 1024 * 1024)
    app.router.add_post("/sync/v1/hello", _call(Hello, hub.hello))
    app.router.add_post("/sync/v1/push", _call(PushUnit, hub.push))
    app.router.add_post("/sync/v1/pull", _call(Pull, hub.pull))
    app.router.add_get("/sync/v1/link", _link_of(hub))
    runner = web.AppRunner(app, shutdown_timeout=0.1, auto_decompress=False)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, reuse_address=True)
    await site.start()
    assert runner.addresses
    try:
        yield runner.addresses[0][1]
    finally:
        hub.cut()
        await runner.cleanup()


def _call(
    kind: type[Request], serve: Callable[[Request], Awaitable[object]]
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        _authenticate(request)
        body = await request.read()
        if request.headers.get("Content-Encoding") == "zstd":
            body = decompress(body, "body")
        answer = encode(await serve(decode(body, kind, "body")))
        if len(answer) <= 1024:
            return web.Response(body=answer, content_type="application/json")
        return web.Response(
            body=compress(answer),
            content_type="application/json",
            headers={"Content-Encoding": "zstd"},
        )

    return handle


def _link_of(hub: FakeHub) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        _authenticate(request)
        link = await hub.live(request.headers.get(RUN_HEADER, ""))
        opened = web.WebSocketResponse()
        await opened.prepare(request)
        speaking = asyncio.create_task(_speak(link, opened))
        try:
            async for frame in opened:
                if frame.type is WSMsgType.TEXT:
                    await link.send(from_text(frame.data))
                elif frame.type is WSMsgType.BINARY:
                    await link.send(from_frame(frame.data))
        except Transient:
            pass  # cut by the test while the node was speaking
        finally:
            speaking.cancel()
            await asyncio.wait([speaking])
        return opened

    return handle


async def _speak(link: FakeLive, opened: web.WebSocketResponse) -> None:
    code: int = WSCloseCode.OK
    try:
        while True:
            message = await link.receive()
            if isinstance(message, Bytes):
                await opened.send_bytes(to_frame(message))
            else:
                await opened.send_str(to_text(message))
    except Evicted:
        code = OTHER_AGENT
    except (Transient, ConnectionError):
        pass  # cut by the test, or the node is gone
    await opened.close(code=code)


def _authenticate(request: web.Request) -> None:
    if request.headers.get("Authorization") != f"Bearer {NODE_ID}.{SECRET}":
        raise web.HTTPUnauthorized


@web.middleware
async def _problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except SkerryError as error:
        if isinstance(error, Transient):
            status = 429 if isinstance(error, Busy) else 503
        else:
            status = 400 if isinstance(error, InvalidInput) else 409
        headers = {"Retry-After": str(error.after)} if isinstance(error, Busy) else None
        return web.Response(body=encode(Problem(str(error))), status=status, headers=headers)
