"""The REST front: bytes to the agent's socket and back, and patience while the agent restarts.

A request waits until somebody answers at that socket. Once it has been passed on it is not passed on again, for it may
have been done: a connection that ends in the middle of a request is answered with 502.

Nobody takes the connections of others: who has not sent a whole head makes room (`strangers`), at the latest after ten
seconds, and costs the agent nothing; the others have a share by their token, without one by their address. The rest of a
request, and reading the answer, is bounded by the agent (`kit.reception`) and by `IDLE_SECONDS`.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable

from skerry.gate import REQUESTS
from skerry.gate.digests import sha256
from skerry.gate.door import Door
from skerry.gate.journal import SHARE
from skerry.gate.strangers import Strangers
from skerry.gate.streams import Stream
from skerry.gate.tokens import Tokens
from skerry.keeper.loop import Loop

HOLD_SECONDS = 20.0
IDLE_SECONDS = 120.0
HEAD_SECONDS = 10.0
MOST_SILENT = 256
"""Connections whose first request has no whole head yet."""

_RESTING = 5.0
"""Seconds without a byte after which a connection makes room for another one of the same client's."""

_HEAD = 64 * 1024
_SCHEMES = frozenset((b"token", b"bearer"))
_UNAVAILABLE = "the node's agent does not answer; try again"
_CUT = "the node's agent ended before it had answered; the request may have been done"
_CROWDED = "too many connections of this client; use fewer, or try again"
_LATE = "the request did not come in time"
_LONG = "the head of the request is too long"
_REASONS = {
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    502: "Bad Gateway",
    503: "Service Unavailable",
}


class Splices:
    """The connections of the REST front; `agent` leads to whoever answers."""

    def __init__(
        self, loop: Loop, agent: Door, monotonic: Callable[[], float], tokens: Tokens
    ) -> None:
        self.loop = loop
        self.agent = agent
        self.monotonic = monotonic
        self._tokens = tokens
        self._silent = Strangers(MOST_SILENT, HEAD_SECONDS, loop, monotonic)
        self._splices: dict[Splice, str] = {}
        """By whose they are."""
        self._of: Counter[str] = Counter()
        self._looking = False

    def welcome(self, sock: socket.socket) -> None:
        """A connection has been accepted. Raises OSError if it is gone, or nothing more can be watched."""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        splice = Splice(sock, self)
        self._silent.enter(splice, splice.address, splice.end_late)

    def admits(self, splice: Splice, head: bytes) -> bool:
        """Whether there is room for one more of whoever sends that head; it is counted then."""
        token = _token_of(head)
        digest = sha256(token) if token else ""
        client = digest if self._tokens.scope_of(digest) else splice.address
        if not self._has_share(client):
            resting = (
                each
                for each, its in self._splices.items()
                if its == client and each.rested > _RESTING
            )
            if (oldest := next(resting, None)) is not None:
                oldest.end()
        if not self._has_share(client):
            return False
        self._silent.leave(splice)
        self._splices[splice] = client
        self._of[client] += 1
        if not self._looking:
            self._looking = True
            self.loop.later(IDLE_SECONDS / 4, self._look)
        return True

    def left(self, splice: Splice) -> None:
        """It is gone."""
        self._silent.leave(splice)
        if (client := self._splices.pop(splice, None)) is not None:
            self._of[client] -= 1
            self._of += Counter()  # forgets who has none

    def _has_share(self, client: str) -> bool:
        left = REQUESTS - len(self._splices) - 1
        return self._of[client] + 1 <= SHARE * left

    def _look(self) -> None:
        for splice in list(self._splices):
            splice.end_if_idle()
        self._looking = bool(self._splices)
        if self._looking:
            self.loop.later(IDLE_SECONDS / 4, self._look)


class Splice:
    """One connection of a client, and the one to the agent that it gets with its first request's whole head."""

    def __init__(self, sock: socket.socket, splices: Splices) -> None:
        self._splices = splices
        self.address = str(sock.getpeername()[0])
        self._client = Stream(sock, splices.loop, self._asked, self.end)
        self._agent: Stream | None = None
        self._first = bytearray()
        self._entering = self._unanswered = False
        self._active = splices.monotonic()

    @property
    def rested(self) -> float:
        """Seconds since anything has moved; 0 while an answer is due."""
        return 0.0 if self._unanswered else self._splices.monotonic() - self._active

    def end_if_idle(self) -> None:
        """Nothing has moved for too long."""
        if self._splices.monotonic() - self._active > IDLE_SECONDS:
            self.end()

    def end_late(self) -> None:
        """It had time to say what it wants."""
        if self._first:
            self._say(408, _LATE)
        else:
            self.end()

    def end(self) -> None:
        """Hangs up, on both sides."""
        self._client.finish()
        if self._agent:
            self._agent.close()
        self._splices.left(self)

    def _asked(self, data: bytes) -> None:
        if self._agent is None:
            known = len(self._first)
            self._first += data
            if not self._entering:
                self._begin(max(known - len("\r\n\r"), 0))
            if len(self._first) >= _HEAD:
                self._client.pause("agent")
            return
        self._active = self._splices.monotonic()
        self._unanswered = True
        self._agent.send(data)
        if self._agent.when_relieved(lambda: self._client.resume("full")):
            self._client.pause("full")

    def _begin(self, looked: int) -> None:
        """With its first whole head it is somebody's, and goes to the agent; the head's end is not before `looked`."""
        end = _end_of_head(self._first, looked)
        if not end:
            if len(self._first) >= _HEAD:
                self._say(431, _LONG)
        elif self._splices.admits(self, bytes(self._first[:end])):
            self._entering = self._unanswered = True
            self._active = self._splices.monotonic()
            self._splices.agent.enter(HOLD_SECONDS, self._arrived)
        else:
            self._say(503, _CROWDED, "Retry-After: 2\r\n")

    def _arrived(self, sock: socket.socket | None) -> None:
        if not self._client.open:
            if sock is not None:
                sock.close()
                self._splices.agent.through()
            return
        if sock is None:
            self._say(503, _UNAVAILABLE, "Retry-After: 2\r\n")
            return
        self._agent = Stream(sock, self._splices.loop, self._answered, self._agent_gone)
        self._splices.agent.through()
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
            self._say(502, _CUT)
        else:
            self.end()

    def _say(self, status: int, text: str, header: str = "") -> None:
        body = f'{{"detail": "{text}"}}'
        head = (
            f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: application/json\r\n{header}"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self._client.send((head + body).encode())
        self.end()


def _end_of_head(data: bytearray, looked: int) -> int:
    """Behind the first empty line that does not begin before `looked`; 0: there is none."""
    breaks = (b"\n\n", b"\n\r\n")
    return min(
        (at + len(each) for each in breaks if (at := data.find(each, looked)) >= 0), default=0
    )


def _token_of(head: bytes) -> bytes:
    """The token in a head's `Authorization`; empty: it has none."""
    for line in head.split(b"\n"):
        name, _, value = line.partition(b":")
        words = value.split()
        if name.lower() == b"authorization" and len(words) > 1 and words[0].lower() in _SCHEMES:
            return words[1]
    return b""
