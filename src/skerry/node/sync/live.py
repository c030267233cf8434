"""The live link's WebSocket, node side: frames to messages, pings, and noticing that nobody is there.

Opened by `uplink`; `live_link` uses it through its small protocol `LiveSocket`.
"""

from __future__ import annotations

import aiohttp
from aiohttp import WSMsgType

from skerry.kit.errors import Transient
from skerry.node.ports import Turns
from skerry.node.sync.live_link import Evicted
from skerry.wire.link import (
    OTHER_AGENT,
    Bytes,
    Data,
    Message,
    from_frame,
    from_text,
    to_frame,
    to_text,
)

FRAME = 50
"""Bytes of a frame besides its text: its head and that of its packet."""

_ENDED = frozenset({WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR})


class WebSocketLive:
    """One open WebSocket: `receive` has one caller, `send` any number.

    After `ping_every` seconds of silence the hub is pinged; after `silence` seconds it counts as gone. Log lines, for
    which somebody waits, take `turns`, and so do tunnels in their own class; the rest is short, and only counted.
    """

    def __init__(
        self,
        socket: aiohttp.ClientWebSocketResponse,
        *,
        ping_every: float,
        silence: float,
        turns: Turns | None = None,
    ) -> None:
        self._socket = socket
        self._turns = turns
        self._ping_every = ping_every
        self._silence = silence

    async def send(self, message: Message) -> None:
        """Returns when the message is on its way. Raises Transient when the link is gone."""
        is_binary = isinstance(message, Bytes)
        frame = to_frame(message) if isinstance(message, Bytes) else to_text(message).encode()
        if self._turns is None:
            await self._send(frame, is_binary=is_binary)
            return
        size = FRAME + len(frame)
        if isinstance(message, Data | Bytes):
            priority = self._turns.of_lane("tunnels") if is_binary else "high"
            async with self._turns.turn(priority, size) as turn:
                await self._send(frame, is_binary=is_binary)
                turn.note(size)
        else:
            self._turns.note(size)
            await self._send(frame, is_binary=is_binary)

    async def _send(self, frame: bytes, *, is_binary: bool) -> None:
        kind = WSMsgType.BINARY if is_binary else WSMsgType.TEXT
        try:
            await self._socket.send_frame(frame, kind)
        except ConnectionError as error:
            raise Transient("cannot use the live link: it is closed") from error

    async def receive(self) -> Message:
        """The next message. Raises Transient (Evicted) when the link has ended, InvalidInput when it is no message."""
        silent = 0.0
        while True:
            patience = min(self._ping_every, self._silence - silent)
            try:
                frame = await self._socket.receive(timeout=patience)
            except TimeoutError:
                silent += patience
                await self._ping(silent)
                continue
            silent = 0.0
            self._count(FRAME)
            if frame.type is WSMsgType.PING:
                self._count(FRAME)
                await self._socket.pong(frame.data)
            elif frame.type in _ENDED:
                raise self._ending()
            elif frame.type is not WSMsgType.PONG:
                self._count(len(frame.data))
                is_binary = frame.type is WSMsgType.BINARY
                return from_frame(frame.data) if is_binary else from_text(frame.data)

    def _count(self, size: int) -> None:
        if self._turns is not None:
            self._turns.note(size)

    async def close(self) -> None:
        """Says good-bye; waits a second at most."""
        await self._socket.close()

    def _ending(self) -> Transient:
        if self._socket.close_code == OTHER_AGENT:
            return Evicted(
                "cannot use the live link: another agent with this node's identity has it"
            )
        return Transient("cannot use the live link: the hub closed it")

    async def _ping(self, silent: float) -> None:
        if silent >= self._silence:
            raise Transient(f"cannot use the live link: nothing heard for {silent:.0f} s")
        self._count(FRAME)
        try:
            await self._socket.ping()
        except ConnectionError as error:
            raise Transient("cannot use the live link: it is closed") from error
