"""Tunnels of people to a node's ports, and to commands in its workloads: from its live link here, or through the hub process that holds it.

A person's WebSocket (`api.tunnels`, `api.executions`) and one to another hub process speak the same: `Opened` or `Close`
first, then bytes, `End` and `Close` (wire.link, channel 0). For a command, the wish (`wire.executions`) comes before.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Protocol
from urllib.parse import quote

import aiohttp

from skerry.hub.channel import Channel
from skerry.hub.link import FIRST_ANSWER, Links
from skerry.hub.other_hub import ASKED_BY, FORWARDED, connections
from skerry.hub.peers import Peers
from skerry.hub.settings import AccessSection
from skerry.kit.errors import Refused, Transient
from skerry.kit.redirects import none_followed
from skerry.wire.codec import encode
from skerry.wire.executions import Wish
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

_GONE = "cannot carry on: the hub that holds the node's link ended. Open the tunnel again."


class Tunnel(Protocol):
    """Bytes to and from a node, for one person, who closes it. A port has stream 0 only."""

    async def send(self, data: bytes, stream: int = 0) -> None:
        """Returns when there is room for them on the way."""
        ...

    async def send_end(self) -> None:
        """No more bytes come from here."""
        ...

    async def receive(self) -> tuple[bytes, int] | None:
        """The next bytes and their stream; none of them when the node sends no more; None when it has ended. Raises what ended it early."""
        ...

    async def close(self) -> None:
        """Ends it, if it has not ended."""
        ...


class Tunnels:
    """Opens tunnels."""

    def __init__(self, links: Links, peers: Peers, admin_token: str, limits: AccessSection) -> None:
        self.limits = limits
        self._links = links
        self._peers = peers
        self._admin_token = admin_token

    async def open(self, node_id: str, name: str, port: int, *, by: str, forwarded: bool) -> Tunnel:
        """To a port of the node that people call `name`, for `by`. Raises as `Links.open`, and Transient when the other process does not answer."""
        holder = None if forwarded else await self._elsewhere(node_id)
        if holder is not None:
            path = f"{holder}/api/v1/nodes/{node_id}/tunnel/{port}"
            return await _forward(path, self._admin_token, by=by)
        wanted = {"port": str(port), "by": by}
        return _Direct(await self._links.open(node_id, name, "tunnel", wanted))

    async def execute(
        self, node_id: str, name: str, workload: str, wish: Wish, *, forwarded: bool
    ) -> Tunnel:
        """To a command in a workload of the node. Raises as `open`."""
        holder = None if forwarded else await self._elsewhere(node_id)
        if holder is not None:
            path = f"{holder}/api/v1/nodes/{node_id}/exec/{quote(workload, safe='')}"
            return await _forward(path, self._admin_token, encode(wish).decode(), by=wish.by)
        wanted = {"workload": workload, "wish": encode(wish).decode()}
        return _Direct(await self._links.open(node_id, name, "exec", wanted))

    async def _elsewhere(self, node_id: str) -> str | None:
        """The address of the hub process that holds the node's link; None: this one, or nobody."""
        return None if self._links.connected(node_id) else await self._peers.holder(node_id)


class _Direct:
    """A channel on a link of this process."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._heard_out = False

    async def send(self, data: bytes, stream: int = 0) -> None:
        await self._channel.send(data, stream)

    async def send_end(self) -> None:
        self._channel.send_end()

    async def receive(self) -> tuple[bytes, int] | None:
        message = await self._channel.receive()
        while message is not None and not isinstance(message, Bytes):  # of no meaning in a tunnel
            message = await self._channel.receive()
        if message is not None:
            return message.data, message.stream
        if not self._heard_out:
            self._heard_out = True
            return b"", 0
        await self._channel.ended()
        if self._channel.error is not None:
            raise self._channel.error
        return None

    async def close(self) -> None:
        self._channel.close()


class _Forwarded:
    """A WebSocket to another hub process."""

    def __init__(
        self, session: aiohttp.ClientSession, socket: aiohttp.ClientWebSocketResponse
    ) -> None:
        self._session = session
        self._socket = socket

    async def send(self, data: bytes, stream: int = 0) -> None:
        for start in range(0, len(data), LARGEST):
            await self._say(to_frame(Bytes(0, data[start : start + LARGEST], stream)))

    async def send_end(self) -> None:
        await self._say(to_text(End(0)))

    async def _say(self, frame: bytes | str) -> None:
        try:
            if isinstance(frame, bytes):
                await self._socket.send_bytes(frame)
            else:
                await self._socket.send_str(frame)
        except ConnectionError as error:
            raise Transient(_GONE) from error

    async def receive(self) -> tuple[bytes, int] | None:
        match await _heard(self._socket):
            case Bytes(data=data, stream=stream):
                return data, stream
            case Close(_, words):
                if words:
                    raise Refused(words)
                return None
            case None:
                raise Transient(_GONE)
            case _:
                return b"", 0

    async def close(self) -> None:
        await self._socket.close()
        await self._session.close()


async def _heard(socket: aiohttp.ClientWebSocketResponse) -> TunnelMessage | None:
    frame = await socket.receive()
    said = frame.type in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}
    return tunnel_message(frame.data if said else None)


async def _forward(path: str, token: str, first: str = "", *, by: str) -> _Forwarded:
    """`first` is what the other one hears before anything else."""
    headers = {"Authorization": f"Bearer {token}", FORWARDED: "1", ASKED_BY: quote(by)}
    async with contextlib.AsyncExitStack() as unless_opened:
        session = aiohttp.ClientSession(
            connector=connections(), headers=headers, trace_configs=[none_followed()]
        )
        unless_opened.push_async_callback(session.close)
        try:
            # The other one waits for its node so long before it begins to answer.
            async with asyncio.timeout(2 * FIRST_ANSWER):
                socket = await session.ws_connect(path, max_msg_size=2 * LARGEST)
                unless_opened.push_async_callback(socket.close)
                if first:
                    await socket.send_str(first)
                answer = await _heard(socket)
        except (aiohttp.ClientError, OSError) as error:
            raise Transient(
                "cannot reach the hub that holds the node's link. Try again in a few seconds."
            ) from error
        refused = refusal(answer)
        if refused is not None:
            raise refused
        unless_opened.pop_all()
    return _Forwarded(session, socket)
