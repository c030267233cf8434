"""A command beside a workload over the admin socket: a WebSocket that says what a channel of the hub's says.

First comes the wish (`wire.executions`), then what a tunnel has (`wire.link`, channel 0). Loaded with the first one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Mapping
from typing import Any, Protocol

from aiohttp import WSMsgType
from aiohttp.web_ws import WebSocketResponse
from msgspec.structs import replace

from skerry.core.audit_entries import Deed
from skerry.core.execution_rules import read_wish
from skerry.core.roles import may, role_named
from skerry.kit.errors import InvalidInput, SkerryError, Transient
from skerry.node.api import web
from skerry.node.channel_port import ServedChannel
from skerry.wire.executions import Wish
from skerry.wire.link import LARGEST, Bytes, Close, End, Opened, to_frame, to_text, tunnel_message

_FIRST_WORDS = 10.0
"""Seconds in which whoever has connected says what is wanted."""

_MOST = 1 << 20

_LOOK_EVERY = 5.0
"""Seconds between two pings. While a command takes nothing nobody reads here, so only what is sent tells that the other side has gone."""


class Run(Protocol):
    """Runs what is wished, on an accepted channel."""

    async def __call__(self, channel: ServedChannel, *, wish: Wish) -> None: ...


class SocketChannel:
    """Implements `ServedChannel` on a WebSocket, where the socket's own buffer is what credit is on the link."""

    arguments: Mapping[str, str] = {}

    def __init__(self, socket: WebSocketResponse) -> None:
        self._socket = socket

    async def accept(self) -> None:
        await self._say(self._socket.send_str(to_text(Opened(0))))

    async def send(self, data: bytes, stream: int = 0) -> None:
        for start in range(0, len(data), LARGEST):
            frame = to_frame(Bytes(0, data[start : start + LARGEST], stream))
            await self._say(self._socket.send_bytes(frame))
            await asyncio.sleep(0)  # as on the link: others want their turn

    async def end(self) -> None:
        await self._say(self._socket.send_str(to_text(End(0))))

    async def receive(self) -> tuple[bytes, int] | None:
        frame = await self._socket.receive()
        said = frame.type in {WSMsgType.TEXT, WSMsgType.BINARY}
        match tunnel_message(frame.data if said else None):
            case Bytes(data=data, stream=stream):
                return data, stream
            case End():
                return None
            case None | Close():
                raise Transient("cannot go on: whoever asked has gone")
            case _:
                raise InvalidInput("cannot read on: a command has bytes, «end» and «close»")

    async def _say(self, saying: Coroutine[Any, Any, None]) -> None:
        try:
            await saying
        except ConnectionError as error:
            raise Transient("cannot go on: whoever asked has gone") from error


async def converse(request: web.Request, run: Run, deed: Deed) -> web.StreamResponse:
    """The answer to a request for a command: a WebSocket, until the command has ended. `deed` says who asks, in which role."""
    socket = WebSocketResponse(max_msg_size=_MOST)
    await socket.prepare(request)
    channel = SocketChannel(socket)
    words = ""
    try:
        wish = replace(
            read_wish(await _first(socket)),
            by=deed.actor,
            writes=may(role_named(deed.role), "write"),
        )
        await channel.accept()
        looking = asyncio.ensure_future(_look(socket))
        try:
            await run(channel, wish=wish)
        finally:
            looking.cancel()
    except SkerryError as error:
        words = str(error)
    with contextlib.suppress(ConnectionError):
        await socket.send_str(to_text(Close(0, words)))
    await socket.close()
    return socket


async def _look(socket: WebSocketResponse) -> None:
    """To who has gone a ping fails, and that ends the request (`sites`)."""
    with contextlib.suppress(ConnectionError):
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            await socket.ping()


async def _first(socket: WebSocketResponse) -> str:
    try:
        frame = await socket.receive(timeout=_FIRST_WORDS)
    except TimeoutError as error:
        raise InvalidInput("cannot run a command: nothing was said that could be it") from error
    if frame.type is not WSMsgType.TEXT:
        raise InvalidInput("cannot run a command: it comes first, as text")
    return str(frame.data)
