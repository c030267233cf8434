"""uvicorn's WebSocket protocol, which also tells the application that a ping or pong came.

ASGI has no message for pings. Without them the hub would not know that an idle node lives, so a node's
age could only be guessed. uvicorn is pinned; `tests/integration/test_hub_link.py` proves that this still works.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

HEARD = "skerry.heard"
"""Key in a connection's state: a callable without arguments, called at every ping and pong of the peer."""


class HeartbeatProtocol(WebSocketsSansIOProtocol):
    """One WebSocket connection."""

    def handle_ping(self) -> None:
        super().handle_ping()
        self._heard()

    def handle_pong(self, event: Frame) -> None:
        super().handle_pong(event)
        self._heard()

    def _heard(self) -> None:
        state: dict[str, object] = self.scope.get("state", {})
        heard: Any = state.get(HEARD)
        if heard is not None:
            heard()
