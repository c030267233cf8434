"""Every request is watched while it is open: when its principal may no longer use the route, its connection is cut.

Except where the route asks by itself: there its peer is told why.
"""

from __future__ import annotations

from typing import cast

from litestar.connection import ASGIConnection
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from skerry.hub.api.auth import Door, Principal
from skerry.hub.http_protocol import CUT
from skerry.hub.trust.standing import Standing


class StandingRequests(ASGIMiddleware):
    """Asks the guard again, as if the request came now."""

    scopes = (ScopeType.HTTP, ScopeType.WEBSOCKET)

    def __init__(self, standing: Standing, door: Door) -> None:
        self._standing = standing
        self._door = door

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        async def judge() -> None:
            user: Principal | None = scope.get("user")
            if user is None or user.kind == "nobody":
                return  # not let in yet, or open to anyone
            # A copy: the request goes on under its own principal meanwhile.
            asked = cast("Scope", {**scope})
            await self._door.permit(ASGIConnection(asked), scope["route_handler"])

        if scope["route_handler"].opt.get("judges_itself"):
            await next_app(scope, receive, send)
            return
        with self._standing.watch(judge, scope["state"][CUT]):
            await next_app(scope, receive, send)
