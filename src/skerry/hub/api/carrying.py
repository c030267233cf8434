"""What people's tunnels and commands have in common: bytes between a WebSocket and a node, until either end, or the hub, ends it.

The hub ends it when it is idle or lasts too long, and, at the latest after CHECK_EVERY and a little, when the person's
token is not good any more, or `judge` finds another reason.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from litestar import WebSocket
from litestar.datastructures import State
from litestar.exceptions import WebSocketDisconnect

from skerry.hub.api.auth import Authenticator, Principal
from skerry.hub.heartbeat import GONE
from skerry.hub.link import receive_message
from skerry.hub.settings import AccessSection
from skerry.hub.trust.standing import Judge
from skerry.hub.tunnels import Tunnel
from skerry.kit.clock import NS, Clock
from skerry.kit.errors import InvalidInput, Refused, Transient
from skerry.wire.link import Bytes, Close, End, Opened, to_frame, to_text

CHECK_EVERY = 15.0
"""Seconds between two looks whether the person still may."""

MOST_FAILURES = 3
"""Looks in a row that may fail because the database does not answer; then the tunnel ends, whoever it is for."""

_LAST_WORDS = 1.0

PersonSocket = WebSocket[Principal, Any, State]


class Carrying:
    """One tunnel under way. `up` and `down` count bytes to and from the node; `heard` is told what comes from it.

    `judge`, if there is one, raises Refused when it may not go on.
    """

    def __init__(
        self,
        socket: PersonSocket,
        limits: AccessSection,
        authenticator: Authenticator,
        clock: Clock,
        heard: Callable[[bytes, int], None] = lambda _data, _stream: None,
    ) -> None:
        self._heard = heard
        self.up = 0
        self.down = 0
        self.judge: Judge | None = None
        self._socket = socket
        self._limits = limits
        self._authenticator = authenticator
        self._clock = clock
        self._moved = clock.monotonic_ns()
        self._gone = asyncio.Event()
        # While a node takes nothing more, nobody reads the socket, and its end neither.
        socket.scope["state"][GONE] = self._gone.set

    async def run(self, tunnel: Tunnel) -> None:
        """Until it ends. Raises what ended it early."""
        works = []
        try:
            await self._socket.send_text(to_text(Opened(0)))
            parts = (self._up(tunnel), self._down(tunnel), self._watch(), self._lost())
            works = [asyncio.ensure_future(part) for part in parts]
            done, _ = await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for work in works:
                work.cancel()
            if works:
                await asyncio.wait(works)
            await tunnel.close()
        for work in done:
            work.result()

    async def _up(self, tunnel: Tunnel) -> None:
        while True:
            match await receive_message(self._socket):
                case Bytes(data=data, stream=stream):
                    await tunnel.send(data, stream)
                    self.up += len(data)
                    self._moved = self._clock.monotonic_ns()
                case End():
                    await tunnel.send_end()
                case Close():
                    return
                case _:
                    raise InvalidInput("cannot carry on: a tunnel has bytes, «end» and «close»")

    async def _down(self, tunnel: Tunnel) -> None:
        while (taken := await tunnel.receive()) is not None:
            data, stream = taken
            if data:
                self._heard(data, stream)
                await self._socket.send_bytes(to_frame(Bytes(0, data, stream)))
            else:
                await self._socket.send_text(to_text(End(0)))
            self.down += len(data)
            self._moved = self._clock.monotonic_ns()

    async def _lost(self) -> None:
        """Returns when the person has gone, and what came before would have been taken."""
        await self._gone.wait()
        await self._clock.sleep(_LAST_WORDS)

    async def _watch(self) -> None:
        """Ends, by raising, what has lasted too long and what is not allowed any more."""
        begun, failures = self._clock.monotonic_ns(), 0
        step = min(CHECK_EVERY, self._limits.tunnel_idle / 4, self._limits.tunnel_duration / 4)
        while True:
            await self._clock.sleep(step)
            now = self._clock.monotonic_ns()
            if now - self._moved > self._limits.tunnel_idle * NS:
                raise Refused(
                    f"the tunnel has ended: nothing moved for {self._limits.tunnel_idle:.0f} s (access.tunnel_idle of the hub)"
                )
            if now - begun > self._limits.tunnel_duration * NS:
                raise Refused(
                    f"the tunnel has ended: it lasted {self._limits.tunnel_duration:.0f} s (access.tunnel_duration of the hub)"
                )
            try:
                await self._authenticator.permit(self._socket, self._socket.route_handler)
                if self.judge is not None:
                    await self.judge()
                failures = 0
            except Transient:
                failures += 1
                if failures >= MOST_FAILURES:
                    raise


async def say_good_bye(socket: PersonSocket, words: str) -> None:
    """Says why it has ended, if that can still be said."""
    with contextlib.suppress(TimeoutError, OSError, WebSocketDisconnect, RuntimeError):
        async with asyncio.timeout(_LAST_WORDS):
            await socket.send_text(to_text(Close(0, words)))
            await socket.close()
