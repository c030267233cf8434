"""uvicorn's WebSocket protocol, which also tells the application that a ping or pong came, and that a peer has gone.

ASGI has no message for pings. Without them the hub would not know that an idle node lives, so a node's
age could only be guessed. uvicorn is pinned; `tests/integration/test_hub_link.py` proves that this still works.
What is carried for people waits for whoever is slower. Then no pong is read, or none is sent, and that is no sign of
death; but that the peer has gone must be told, for nobody reads it either.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

HEARD = "skerry.heard"
"""Key in a connection's state: a callable without arguments, called at every ping and pong of the peer."""

GONE = "skerry.gone"
"""The same, called when the connection is lost. Whoever sets it bounds how long nothing may move."""


class HeartbeatProtocol(WebSocketsSansIOProtocol):
    """One WebSocket connection."""

    def __init__(self, *given: Any, **named: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*given, **named)
        self._sent = 0
        self._sent_before_ping = 0
        self._surely_read = 0

    async def send(self, message: ASGISendEvent) -> None:
        self._sent += 1
        await super().send(message)

    def handle_ping(self) -> None:
        super().handle_ping()
        self._tell(HEARD)

    def handle_pong(self, event: Frame) -> None:
        super().handle_pong(event)
        if self.pending_ping_payload is None:
            self._surely_read = self._sent_before_ping
        self._tell(HEARD)

    def send_keepalive_ping(self) -> None:
        self._sent_before_ping = self._sent
        super().send_keepalive_ping()

    def keepalive_timeout(self) -> None:
        if GONE in self._state and (self.read_paused or self._sent > self._surely_read):
            self.pong_timer = None
            self.schedule_ping()  # to a peer that has gone, this fails
        else:
            super().keepalive_timeout()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._tell(GONE)

    @property
    def _state(self) -> dict[str, object]:
        scope: Mapping[str, Any] = getattr(self, "scope", {})  # there is none before a handshake
        state: dict[str, object] = scope.get("state", {})
        return state

    def _tell(self, key: str) -> None:
        told: Any = self._state.get(key)
        if told is not None:
            told()
