"""The REST front: bytes to the agent's socket and back, and patience while the agent restarts.

A request waits until somebody answers at that socket. Once it has been passed on it is not passed on again, for it may
have been done: a connection that ends in the middle of a request is answered with 502.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from skerry.gate.door import Door
from skerry.gate.streams import Stream
from skerry.keeper.loop import Loop

HOLD_SECONDS = 20.0
IDLE_SECONDS = 120.0
MOST = 128
_HEAD = 64 * 1024
_UNAVAILABLE = "the node's agent does not answer; try again"
_CUT = "the node's agent ended before it had answered; the request may have been done"


class Splices:
    """The connections of the REST front; `agent` leads to whoever answers."""

    def __init__(self, loop: Loop, agent: Door, monotonic: Callable[[], float]) -> None:
        self.loop = loop
        self.agent = agent
        self.monotonic = monotonic
        self._splices: set[Splice] = set()
        self._looking = False

    def has_room(self) -> bool:
        """Whether one more may connect."""
        return len(self._splices) < MOST

    def welcome(self, sock: socket.socket) -> None:
        """A connection has been accepted."""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._splices.add(Splice(sock, self))
        if not self._looking:
            self._looking = True
            self.loop.later(IDLE_SECONDS / 4, self._look)

    def left(self, splice: Splice) -> None:
        """It is gone."""
        self._splices.discard(splice)

    def _look(self) -> None:
        for splice in list(self._splices):
            splice.end_if_idle()
        self._looking = bool(self._splices)
        if self._looking:
            self.loop.later(IDLE_SECONDS / 4, self._look)


class Splice:
    """One connection of a client, and the one to the agent that it gets with its first bytes."""

    def __init__(self, sock: socket.socket, splices: Splices) -> None:
        self._splices = splices
        self._client = Stream(sock, splices.loop, self._asked, self._end)
        self._agent: Stream | None = None
        self._first = bytearray()
        self._entering = self._unanswered = False
        self._active = splices.monotonic()

    def end_if_idle(self) -> None:
        """Nothing has moved for too long."""
        if self._splices.monotonic() - self._active > IDLE_SECONDS:
            self._end()

    def _asked(self, data: bytes) -> None:
        self._active = self._splices.monotonic()
        if self._agent is None:
            self._first += data
            if len(self._first) >= _HEAD:
                self._client.pause("agent")
            if not self._entering:
                self._entering = True
                self._splices.agent.enter(HOLD_SECONDS, self._arrived)
            return
        self._unanswered = True
        self._agent.send(data)
        if self._agent.when_relieved(lambda: self._client.resume("full")):
            self._client.pause("full")

    def _arrived(self, sock: socket.socket | None) -> None:
        if sock is not None:
            self._splices.agent.through()
        if not self._client.open:
            if sock is not None:
                sock.close()
            return
        if sock is None:
            self._say(503, _UNAVAILABLE, "Retry-After: 2\r\n")
            return
        self._agent = Stream(sock, self._splices.loop, self._answered, self._agent_gone)
        first, self._first = bytes(self._first), bytearray()
        self._asked(first)
        self._client.resume("agent")

    def _answered(self, data: bytes) -> None:
        self._active = self._splices.monotonic()
        self._unanswered = False
        self._client.send(data)
        agent = self._agent
        if agent and self._client.when_relieved(lambda: agent.resume("full")):
            agent.pause("full")

    def _agent_gone(self) -> None:
        if self._unanswered:
            self._say(502, _CUT, "")
        else:
            self._end()

    def _say(self, status: int, text: str, header: str) -> None:
        body = f'{{"detail": "{text}"}}'
        reason = "Service Unavailable" if status == 503 else "Bad Gateway"
        head = (
            f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\n{header}"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self._client.send((head + body).encode())
        self._end()

    def _end(self) -> None:
        self._client.finish()
        if self._agent:
            self._agent.close()
        self._splices.left(self)
