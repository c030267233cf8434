"""The person's end of a tunnel through the hub: a WebSocket, and bytes between it and two streams."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Protocol
from urllib.parse import quote

import aiohttp

from skerry.cli.http import (
    AWAY,
    HERE,
    Patience,
    Unreachable,
    hub_session,
    is_here,
    node_session,
)
from skerry.cli.session import Session
from skerry.kit.errors import Refused, Transient
from skerry.wire.link import (
    LARGEST,
    Bytes,
    Close,
    End,
    TunnelMessage,
    refusal,
    to_frame,
    to_text,
    tunnel_message,
)

_FIRST_ANSWER = 10.0
"""Seconds in which a node says whether it serves the tunnel; the hub itself waits less."""

_GOODBYE = 1.0
"""Seconds for the other side to answer that this one closes; then the connection is cut, which says the same."""

_ELSEWHERE = "it leads elsewhere, where the token is not shown"
_NO_RIGHT = (
    "cannot {verb}: the hub refuses it. The token must be good, and may «execute»: ask for one with role operator "
    "or admin."
)
_NO_RIGHT_HERE = (
    "cannot {verb}: the node refuses it. The settings access.local.operator and access.local.admin say who else than root "
    "and the node's own user may."
)


class Source(Protocol):
    """Where bytes come from: nothing at the end."""

    async def read(self, size: int) -> bytes: ...


class Sink(Protocol):
    """Where bytes go."""

    def write(self, data: bytes) -> None: ...

    async def drain(self) -> None: ...


@contextlib.asynccontextmanager
async def open_tunnel(
    session: Session, node: str, port: int
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """An open tunnel. Raises Unreachable, and Refused in the node's words or the hub's."""
    path = f"/api/v1/nodes/{quote(node, safe='')}/tunnel/{port}"
    async with open_at_hub(session, path, "open a tunnel") as socket:
        yield socket


@contextlib.asynccontextmanager
async def open_at_hub(
    session: Session, path: str, verb: str, first: str = ""
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A WebSocket at the hub that has said `Opened`; `first` is what it hears before. Raises as `open_tunnel`."""
    hub = session.target.hub
    patience = HERE if is_here(hub) else AWAY
    client = hub_session(hub, session.target.token_file, session.target.ca_file)
    unreachable = Unreachable(f"the hub at {hub}", "", "Name another with --hub.")
    async with _opened(
        client, path, patience, first, unreachable, _NO_RIGHT.format(verb=verb)
    ) as socket:
        yield socket


@contextlib.asynccontextmanager
async def open_here(
    session: Session, path: str, verb: str, first: str
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """The same at the node here, by its admin socket."""
    data_dir = session.target.data_dir
    unreachable = Unreachable(
        f"the node in {data_dir}",
        "",
        f"Start it with «skerry node run --data-dir {data_dir}», or name another with --data-dir.",
    )
    refused = _NO_RIGHT_HERE.format(verb=verb)
    async with _opened(node_session(data_dir), path, HERE, first, unreachable, refused) as socket:
        yield socket


@contextlib.asynccontextmanager
async def _opened(
    client: aiohttp.ClientSession,
    path: str,
    patience: Patience,
    first: str,
    unreachable: Unreachable,
    no_right: str,
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with client:
        try:
            async with asyncio.timeout(patience.connect + patience.answer):
                socket = await client.ws_connect(path, max_msg_size=2 * LARGEST)
        except aiohttp.WSServerHandshakeError as error:
            if error.status // 100 == 3:
                raise Unreachable(
                    unreachable.what, _ELSEWHERE, "Name its own address with --hub."
                ) from error
            raise Refused(no_right) from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unreachable(unreachable.what, str(error), unreachable.way_out) from error
        try:
            if first:
                await socket.send_str(first)
            async with asyncio.timeout(_FIRST_ANSWER):
                refused = refusal(await heard(socket))
            if refused is not None:
                raise refused
            yield socket
        finally:
            # aiohttp waits for the answer while anything comes: without an end, from a command that prints for ever.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GOODBYE):
                    await socket.close()


async def carry(
    socket: aiohttp.ClientWebSocketResponse, source: Source, sink: Sink, end: EndOf
) -> None:
    """Bytes both ways until the tunnel ends. Raises Refused and Transient when that was early.

    `end` is called when the node sends no more. When `source` ends the node is told, and what it still sends arrives.
    """
    up = asyncio.ensure_future(_up(socket, source))
    down = asyncio.ensure_future(_down(socket, sink, end))
    try:
        await asyncio.wait([up, down], return_when=asyncio.FIRST_EXCEPTION)
        if up.done() and up.exception() is not None:
            up.result()
        down.result()
    finally:
        for way in (up, down):
            way.cancel()
        await asyncio.wait([up, down])


class EndOf(Protocol):
    """What is to be done when the node sends no more."""

    def __call__(self) -> None: ...


async def _up(socket: aiohttp.ClientWebSocketResponse, source: Source) -> None:
    with contextlib.suppress(ConnectionError):  # `_down` says why the tunnel has ended
        while data := await source.read(LARGEST):
            await socket.send_bytes(to_frame(Bytes(0, data)))
        await socket.send_str(to_text(End(0)))


async def _down(socket: aiohttp.ClientWebSocketResponse, sink: Sink, end: EndOf) -> None:
    while True:
        match await heard(socket):
            case Bytes(data=data):
                sink.write(data)
                await sink.drain()
            case End():
                end()
            case Close(_, words):
                if words:
                    raise Refused(words)
                return
            case _:
                raise Transient("the tunnel was cut: the hub, or the way to it, is gone")


async def heard(socket: aiohttp.ClientWebSocketResponse) -> TunnelMessage | None:
    """The next message; None: it has ended without a word."""
    frame = await socket.receive()
    said = frame.type in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}
    return tunnel_message(frame.data if said else None)
