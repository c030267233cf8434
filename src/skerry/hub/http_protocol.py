"""uvicorn's HTTP protocol with limits: half a request does not hold a connection, and connections are counted.

uvicorn bounds only the pause between two requests; `kit.reception` has the limits. uvicorn is pinned;
`tests/integration/test_half_requests.py` proves that this still works.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from skerry.hub.trust.attempts import network_of
from skerry.hub.trust.certificates import read_peer
from skerry.kit.reception import Crowd, Member, Reception, RequestLimits
from skerry.wire.last_words import CROWDED, LATE, NO_HTTP, last_words

MAX_HEAD = 64 * 1024
"""Bytes of a head that has not ended: httptools would collect it without end."""


CUT = "skerry.cut"
"""Key in a connection's state: a callable without arguments that ends the connection at once."""

PEER = "skerry.peer"
"""Key in a connection's state: whom the certificate names that its peer has proved, None without one."""


class Listener:
    """What the connections of one listener share.

    `by_certificate`: who has proved none is a stranger for as long as the connection lasts, whatever it asks.
    """

    def __init__(self, limits: RequestLimits, *, by_certificate: bool = False) -> None:
        self.limits = limits
        self._by_certificate = by_certificate
        self.crowd = Crowd(limits.connections)
        self.greeting: set[Member] = set()
        """Those of the crowd whose TLS handshake is under way."""

    def others(self, connections: Collection[object], *, but: int = 0) -> int:
        """Of these, which uvicorn knows, so many are no HTTP connections (any more) but links; `but` are new."""
        return max(len(connections) - but - (len(self.crowd) - len(self.greeting)), 0)

    def stranger_at(self, transport: asyncio.BaseTransport) -> str:
        """The network address of a stranger; empty where nobody is one."""
        return network_of(transport.get_extra_info("peername")[0]) if self._by_certificate else ""

    def greeted(self, member: Member) -> None:
        """Its handshake is over, in whatever way."""
        self.greeting.discard(member)
        self.crowd.leave(member)


class BoundedProtocol(HttpToolsProtocol):
    """One HTTP connection; within TLS its handshake is over."""

    def __init__(self, *given: Any, listener: Listener, **named: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*given, **named)
        self.greeting: Member | None = None
        """The TLS of this connection, until it is over with its handshake."""
        self._listener = listener
        self._crowd = listener.crowd
        self._heard = False
        self._head_size = 0
        self._reception = Reception(
            listener.limits, self.loop, self._late, lambda: self.flow.read_paused
        )

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        shown = tls.getpeercert(binary_form=True) if tls else None
        peer = read_peer(shown) if shown else None
        self.app_state = {**self.app_state, CUT: transport.abort, PEER: peer}
        if self.greeting is not None:
            self._listener.greeted(self.greeting)
        others = self._listener.others(self.connections, but=1)
        stranger_at = "" if peer else self._listener.stranger_at(transport)
        if not self._crowd.enter(self, others=others, stranger_at=stranger_at):
            self._end_with(HTTPStatus.SERVICE_UNAVAILABLE, CROWDED)
            return
        self._reception.begin()
        self._reception.watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._crowd.leave(self)
        self._reception.close()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._heard = True
        super().data_received(data)
        self._reception.watch()
        self._head_size = self._head_size + len(data) if self._reception.in_head else 0
        if self._head_size > MAX_HEAD:
            self._end_with(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, NO_HTTP)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._reception.begin()

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._reception.head_complete()

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._reception.body(len(body))

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._reception.end()

    def handle_websocket_upgrade(self) -> None:
        self._crowd.leave(self)
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - it says what the Problem says
        self._reception.end()
        self._end_with(HTTPStatus.BAD_REQUEST, NO_HTTP)

    @property
    def is_idle(self) -> bool:
        """Whether it lies between two requests."""
        cycle: RequestResponseCycle | None = self.cycle
        return self._reception.is_idle and cycle is not None and cycle.response_complete

    def make_room(self) -> None:
        """Ends it; one that is not idle at once, since its peer may wait for ever with its last word."""
        if self.is_idle:
            self.transport.close()
        else:
            self.transport.abort()

    def _late(self) -> None:
        cycle: RequestResponseCycle | None = self.cycle
        is_answering = cycle is not None and cycle.response_started and not cycle.response_complete
        if self._heard and not is_answering:
            self._end_with(HTTPStatus.REQUEST_TIMEOUT, LATE)
        else:
            self.transport.close()

    def _end_with(self, status: HTTPStatus, problem: str) -> None:
        self.transport.write(last_words(status, problem))
        self.transport.close()
