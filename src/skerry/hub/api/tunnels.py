"""A person's tunnel to a port of a node: a WebSocket that carries bytes until either end, or the hub, ends it.

The hub ends it when it is idle or lasts too long, and, at the latest after CHECK_EVERY and a little, when the person's
token is not good any more, or the SSH certificate that it may carry. Its beginning and end stand in the audit log. See docs/operate/developer-access.md.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from litestar import Router, WebSocket, websocket
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.exceptions import WebSocketDisconnect
from litestar.params import FromPath

from skerry.hub.api.auditing import Auditing
from skerry.hub.api.auth import EXECUTE_ON, Authenticator, Principal, find_node
from skerry.hub.api.nodes import GivenClock
from skerry.hub.api.problems import status_of
from skerry.hub.fleet.nodes import Nodes
from skerry.hub.link import receive_message
from skerry.hub.settings import AccessSection
from skerry.hub.tails import FORWARDED
from skerry.hub.trust.api_tokens import ADMINISTRATOR
from skerry.hub.trust.ssh_authority import SshAuthority
from skerry.hub.trust.standing import Judge
from skerry.hub.tunnels import Tunnel, Tunnels
from skerry.kit.clock import NS, Clock
from skerry.kit.errors import InvalidInput, Refused, SkerryError, Transient
from skerry.wire.link import Bytes, Close, End, Opened, to_frame, to_text

CHECK_EVERY = 15.0
"""Seconds between two looks whether the person still may."""

MOST_FAILURES = 3
"""Looks in a row that may fail because the database does not answer; then the tunnel ends, whoever it is for."""

_LAST_WORDS = 1.0

PersonSocket = WebSocket[Principal, Any, State]


@websocket("/api/v1/nodes/{node:str}/tunnel/{port:int}", opt=EXECUTE_ON)
async def open_tunnel(  # noqa: PLR0913 - all that takes part
    *,
    socket: PersonSocket,
    node: FromPath[str],
    port: FromPath[int],
    nodes: NamedDependency[Nodes],
    tunnels: NamedDependency[Tunnels],
    auditing: NamedDependency[Auditing],
    authenticator: NamedDependency[Authenticator],
    ssh_authority: NamedDependency[SshAuthority],
    clock: GivenClock,
) -> None:
    """Bytes to and from a port of a node that its settings allow, through its live link."""
    await socket.accept()
    carrying = _Carrying(socket, tunnels.limits, authenticator, clock)
    status, words, begun = 499, "the hub ended", clock.monotonic_ns()
    try:
        node_id = await _found(socket, nodes, node, port)
        forwarded = FORWARDED in socket.headers
        if not (
            forwarded and socket.user.id == ADMINISTRATOR
        ):  # else it is the first hub's to judge
            carrying.judge = await ssh_authority.login(socket.user.id, node_id, port)
        await carrying.run(await tunnels.open(node_id, node, port, forwarded=forwarded))
        status, words = 200, ""
    except SkerryError as error:
        status, words = status_of(error), str(error)
    except (WebSocketDisconnect, OSError):  # the person has gone
        status, words = 200, ""
    finally:
        lasted = (clock.monotonic_ns() - begun) / NS
        told = f"{carrying.up} bytes to it, {carrying.down} back, {lasted:.0f} s"
        await auditing.ended(socket, status, f"{told}; {words}".rstrip("; "))
    with contextlib.suppress(TimeoutError, OSError, WebSocketDisconnect, RuntimeError):
        async with asyncio.timeout(_LAST_WORDS):
            await socket.send_text(to_text(Close(0, words)))
            await socket.close()


async def _found(socket: PersonSocket, nodes: Nodes, node: str, port: int) -> str:
    if not 1 <= port <= 65535:
        raise InvalidInput(f"cannot open a tunnel: {port} is not a port from 1 to 65535")
    return await find_node(socket, nodes, node, "open a tunnel")


class _Carrying:
    """One tunnel under way. `up` and `down` count bytes to and from the node; `judge`, if there is one, raises when it must end."""

    def __init__(
        self,
        socket: PersonSocket,
        limits: AccessSection,
        authenticator: Authenticator,
        clock: Clock,
    ) -> None:
        self.up = 0
        self.down = 0
        self.judge: Judge | None = None
        self._socket = socket
        self._limits = limits
        self._authenticator = authenticator
        self._clock = clock
        self._moved = clock.monotonic_ns()

    async def run(self, tunnel: Tunnel) -> None:
        """Until it ends. Raises what ended it early."""
        works = []
        try:
            await self._socket.send_text(to_text(Opened(0)))
            parts = (self._up(tunnel), self._down(tunnel), self._watch())
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
                case Bytes(data=data):
                    await tunnel.send(data)
                    self.up += len(data)
                    self._moved = self._clock.monotonic_ns()
                case End():
                    await tunnel.send_end()
                case Close():
                    return
                case _:
                    raise InvalidInput("cannot carry on: a tunnel has bytes, «end» and «close»")

    async def _down(self, tunnel: Tunnel) -> None:
        while (data := await tunnel.receive()) is not None:
            if data:
                await self._socket.send_bytes(to_frame(Bytes(0, data)))
            else:
                await self._socket.send_text(to_text(End(0)))
            self.down += len(data)
            self._moved = self._clock.monotonic_ns()

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


def tunnel_routes() -> Router:
    """The routes of tunnels."""
    return Router("/", route_handlers=[open_tunnel])
