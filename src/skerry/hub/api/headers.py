"""What answers to people say besides their content: the date, and how little a browser may do with them.

Answers to nodes say nothing of the kind: no browser reads them, and a node pays for every byte.
"""

from __future__ import annotations

from email.utils import formatdate

from litestar.datastructures.headers import MutableScopeHeaders
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from skerry.kit.clock import NS, Clock

_OF_NODES = ("/sync/", "/enrol/")

_FOR_BROWSERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with «no-referrer» browsers hide the Origin of our own forms, too
}


class PeopleHeaders(ASGIMiddleware):
    """Adds them to whatever is answered outside the nodes' routes."""

    scopes = (ScopeType.HTTP,)

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableScopeHeaders.from_message(message)
                headers["Date"] = formatdate(self._clock.wall_ns() // NS, usegmt=True)
                for name, value in _FOR_BROWSERS.items():
                    headers[name] = value
            await send(message)

        for_node = scope["path"].startswith(_OF_NODES)
        await next_app(scope, receive, send if for_node else send_with_headers)
