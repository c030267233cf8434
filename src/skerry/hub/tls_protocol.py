"""TLS before HTTP on the nodes' listener: counted among the connections from the first byte on, and bounded in time.

asyncio's own servers tell nobody of a connection whose handshake is under way, so whoever never ends one would hold
descriptors beside every limit. `tests/integration/test_node_listener.py` proves that this still works.
"""

from __future__ import annotations

import asyncio
import ssl
from asyncio import sslproto

from skerry.hub.http_protocol import BoundedProtocol, Listener

END_SECONDS = 5
"""For which a connection that we end waits for its peer's last word."""


class BoundedTls(sslproto.SSLProtocol):
    """One connection; `http` gets its contents once the handshake is over."""

    max_size = 32 * 1024
    """Bytes of its buffer, which is there for as long as the connection: asyncio's are 256 KiB."""

    def __init__(self, http: BoundedProtocol, context: ssl.SSLContext, listener: Listener) -> None:
        super().__init__(
            asyncio.get_running_loop(),
            http,
            context,
            None,  # type: ignore[arg-type]  # nobody waits for it
            server_side=True,
            ssl_handshake_timeout=listener.limits.head,  # type: ignore[arg-type]  # in fact any number
            ssl_shutdown_timeout=END_SECONDS,
        )
        http.greeting = self
        self._http = http
        self._listener = listener
        self._raw: asyncio.Transport | None = None

    is_idle = False

    def make_room(self) -> None:
        """Ends it at once."""
        self._listener.greeted(self)
        if self._raw is not None:
            self._raw.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        self._raw = transport
        self._listener.greeting.add(self)
        others = self._listener.others(self._http.connections)
        stranger_at = self._listener.stranger_at(transport)
        if self._listener.crowd.enter(self, others=others, stranger_at=stranger_at):
            super().connection_made(transport)
        else:
            transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._listener.greeted(self)
        super().connection_lost(exc)
